//! Owns the reading of what the common matches and targets of xtables are set to; refuses to guess at the others, whose
//! bytes stand in base64 beside.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::state::linux::netlink::{read_u16, read_u32, until_nul};
use crate::state::linux::text::text;

/// The ports of a match, first and last of the source and of the destination; all where it does not test them.
pub(super) fn ports(name: &[u8], data: &[u8]) -> Option<[(u16, u16); 2]> {
    let port = |at| read_u16(data, at);
    let (first, second) = ((port(0)?, port(2)?), (port(4)?, port(6)?));
    match name {
        b"tcp" | b"udp" => Some([first, second]),
        // These begin with the destination.
        b"sctp" | b"dccp" => Some([second, first]),
        _ => None,
    }
}

/// The text of a comment.
pub(super) fn comment<'a>(name: &[u8], data: &'a [u8]) -> Option<&'a [u8]> {
    (name == b"comment").then(|| until_nul(data))
}

/// What a match or a target is set to, in the words of its options; nothing for those that are not read.
pub(in crate::state::linux) fn detail(name: &[u8], revision: u8, data: &[u8]) -> Option<String> {
    match name {
        b"multiport" => multiport(data),
        b"state" => Some(states(read_u32(data, 0)?)),
        b"conntrack" if revision >= 2 => Some(states(u32::from(read_u16(data, 150)?))),
        b"string" => {
            let length = usize::from(*data.get(148)?);
            Some(text(data.get(20..20 + length)?).0)
        }
        b"comment" => Some(text(until_nul(data)).0),
        b"mark" => Some(format!("{:#x}/{:#x}", read_u32(data, 0)?, read_u32(data, 4)?)),
        b"LOG" => Some(text(until_nul(data.get(2..32)?)).0),
        b"NFQUEUE" => Some(format!("queue {}", read_u16(data, 0)?)),
        b"REJECT" => Some(format!("with {}", read_u32(data, 0)?)),
        b"DNAT" | b"SNAT" | b"REDIRECT" | b"MASQUERADE" | b"NETMAP" => {
            // The older form, for IPv4 only, begins with how many ranges follow.
            if data.len() < 36 { nat4(data.get(4..)?) } else { nat(data) }
        }
        _ => None,
    }
}

/// `struct xt_multiport_v1`.
fn multiport(data: &[u8]) -> Option<String> {
    let sides = match *data.first()? {
        0 => "sports",
        1 => "dports",
        _ => "ports",
    };
    let mut shown = String::new();
    for at in 0..usize::from(*data.get(1)?).min(15) {
        let port = read_u16(data, 2 + at * 2)?;
        shown.push_str(&port.to_string());
        // A port that begins a range is marked, and the next one ends it.
        shown.push(if data.get(32 + at).is_some_and(|range| *range != 0) { ':' } else { ',' });
    }
    let not = if data.get(47).is_some_and(|inverted| *inverted != 0) { "! " } else { "" };
    Some(format!("{not}{sides} {}", shown.trim_end_matches([',', ':'])))
}

fn states(mask: u32) -> String {
    const NAMES: [(u32, &str); 7] = [
        (1, "INVALID"),
        (2, "ESTABLISHED"),
        (4, "RELATED"),
        (8, "NEW"),
        (1 << 6, "UNTRACKED"),
        (1 << 7, "SNAT"),
        (1 << 8, "DNAT"),
    ];
    let known: Vec<_> = NAMES.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    format!("{} ({mask:#x})", known.join(","))
}

/// `NF_NAT_RANGE_MAP_IPS`.
const ADDRESSES: u32 = 1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`.
const PORTS: u32 = 2;

/// `struct nf_nat_ipv4_range`.
fn nat4(range: &[u8]) -> Option<String> {
    let address = |at: usize| Some(Ipv4Addr::from(*range.get(at..)?.first_chunk::<4>()?).to_string());
    nat_text(read_u32(range, 0)?, &address(4)?, &address(8)?, port(range, 12)?, port(range, 14)?)
}

/// `struct nf_nat_range`, also where more follows. An IPv4 address stands in the first four bytes.
fn nat(range: &[u8]) -> Option<String> {
    let address = |at: usize| {
        let bytes = *range.get(at..)?.first_chunk::<16>()?;
        let [a, b, c, d, rest @ ..] = bytes;
        Some(if rest == [0; 12] {
            Ipv4Addr::new(a, b, c, d).to_string()
        } else {
            format!("[{}]", Ipv6Addr::from(bytes))
        })
    };
    nat_text(read_u32(range, 0)?, &address(4)?, &address(20)?, port(range, 36)?, port(range, 38)?)
}

fn port(range: &[u8], at: usize) -> Option<u16> {
    read_u16(range, at).map(u16::from_be)
}

fn nat_text(flags: u32, first: &str, last: &str, from: u16, to: u16) -> Option<String> {
    let mut shown = String::new();
    if flags & ADDRESSES != 0 {
        shown.push_str(&if first == last { first.to_owned() } else { format!("{first}-{last}") });
    }
    if flags & PORTS != 0 {
        shown.push_str(&if from == to { format!(":{from}") } else { format!(":{from}-{to}") });
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_never_read_past_their_end() {
        let names = [
            "multiport",
            "state",
            "conntrack",
            "string",
            "comment",
            "mark",
            "LOG",
            "NFQUEUE",
            "REJECT",
            "DNAT",
            "tcp",
        ];
        for name in names {
            for length in 0..200 {
                for fill in [0, 1, 15, 0xff] {
                    let data = vec![fill; length];
                    detail(name.as_bytes(), 3, &data);
                    ports(name.as_bytes(), &data);
                }
            }
        }
    }

    #[test]
    fn redirection_is_told_in_both_forms() {
        let four =
            [&1u32.to_ne_bytes()[..], &3u32.to_ne_bytes(), &[192, 0, 2, 1, 192, 0, 2, 1, 0, 80, 0, 81]]
                .concat();
        assert_eq!(detail(b"DNAT", 0, &four).as_deref(), Some("192.0.2.1:80-81"));
        let mut six = [&1u32.to_ne_bytes()[..], &[0; 36]].concat();
        six[4..20].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        six[20..36].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(detail(b"DNAT", 1, &six).as_deref(), Some("[2001:db8::1]"));
    }
}
