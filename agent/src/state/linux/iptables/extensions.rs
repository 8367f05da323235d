//! Owns the reading of what the common matches and targets of xtables are set to; refuses to guess at the others, whose
//! bytes stand in base64 beside.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::state::linux::netlink::{read_u16, read_u32, until_nul};
use crate::state::linux::text::text;

/// The ports of one side of a match, all where it does not test them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    first: u16,
    last: u16,
    /// Whether the other ports are meant.
    pub(super) inverted: bool,
}

impl Ports {
    /// One port, or first and last with a colon; nothing where any will do.
    pub(super) fn shown(self) -> Option<String> {
        match (self.first, self.last, self.inverted) {
            (0, u16::MAX, false) => None,
            (first, last, _) if first == last => Some(first.to_string()),
            (first, last, _) => Some(format!("{first}:{last}")),
        }
    }
}

/// The ports of the source and of the destination that a match tests: `struct xt_tcp`, `xt_udp`, `xt_dccp_info` and
/// `xt_sctp_info`.
pub(super) fn ports(name: &[u8], data: &[u8]) -> Option<[Ports; 2]> {
    // Bit 0 inverts the source, bit 1 the destination.
    let (source, destination, flags) = match name {
        b"tcp" => (0, 4, u32::from(*data.get(11)?)),
        b"udp" => (0, 4, u32::from(*data.get(8)?)),
        b"dccp" => (4, 0, u32::from(read_u16(data, 10)?)),
        b"sctp" => (4, 0, read_u32(data, 64)?),
        _ => return None,
    };
    let side = |at: usize, bit: u32| {
        let (first, last) = (read_u16(data, at)?, read_u16(data, at + 2)?);
        Some(Ports { first, last, inverted: flags & bit != 0 })
    };
    Some([side(source, 1)?, side(destination, 2)?])
}

/// The text of a comment.
pub(super) fn comment<'a>(name: &[u8], data: &'a [u8]) -> Option<&'a [u8]> {
    (name == b"comment").then(|| until_nul(data))
}

/// What a match or a target is set to, in the words of its options; nothing for those that are not read.
pub(in crate::state::linux) fn detail(name: &[u8], revision: u8, data: &[u8]) -> Option<String> {
    match name {
        b"multiport" => multiport(data),
        b"state" => Some(states(read_u32(data, 0)?, &[(1 << 6, "UNTRACKED")])),
        b"conntrack" if revision >= 2 => conntrack(data),
        b"string" => {
            let length = usize::from(*data.get(148)?);
            Some(format!("{}{}", not(data.get(149)? & 1 != 0), text(data.get(20..20 + length)?).0))
        }
        b"comment" => Some(text(until_nul(data)).0),
        b"mark" => {
            let (mark, mask) = (read_u32(data, 0)?, read_u32(data, 4)?);
            Some(format!("{}{mark:#x}/{mask:#x}", not(*data.get(8)? != 0)))
        }
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
    let not = not(data.get(47).is_some_and(|inverted| *inverted != 0));
    Some(format!("{not}{sides} {}", shown.trim_end_matches([',', ':'])))
}

/// What stands before an option whose opposite is meant.
fn not(inverted: bool) -> &'static str {
    if inverted { "! " } else { "" }
}

/// `struct xt_conntrack_mtinfo2` and what follows it: the states, where it tests them.
fn conntrack(data: &[u8]) -> Option<String> {
    /// `XT_CONNTRACK_STATE`.
    const STATE: u16 = 1;
    let (tested, inverted, mask) = (read_u16(data, 146)?, read_u16(data, 148)?, read_u16(data, 150)?);
    let own = [(1 << 6, "SNAT"), (1 << 7, "DNAT"), (1 << 8, "UNTRACKED")];
    let shown = || format!("{}{}", not(inverted & STATE != 0), states(u32::from(mask), &own));
    (tested & STATE != 0).then(shown)
}

/// The names of the bits of `mask`; those past the first four are each match's `own`.
fn states(mask: u32, own: &[(u32, &str)]) -> String {
    const NAMES: [(u32, &str); 4] = [(1, "INVALID"), (2, "ESTABLISHED"), (4, "RELATED"), (8, "NEW")];
    let named = NAMES.iter().chain(own);
    let known: Vec<_> = named.filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
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
    fn what_a_match_negates_is_told_and_what_it_does_not_test_is_not() {
        let mut conntrack = vec![0; 160];
        conntrack[150..152].copy_from_slice(&0x1c2u16.to_ne_bytes());
        assert_eq!(detail(b"conntrack", 3, &conntrack), None);
        conntrack[146..148].copy_from_slice(&1u16.to_ne_bytes());
        let states = "ESTABLISHED,SNAT,DNAT,UNTRACKED (0x1c2)";
        assert_eq!(detail(b"conntrack", 3, &conntrack).as_deref(), Some(states));
        conntrack[148..150].copy_from_slice(&1u16.to_ne_bytes());
        assert_eq!(detail(b"conntrack", 3, &conntrack), Some(format!("! {states}")));
        assert_eq!(detail(b"state", 0, &64u32.to_ne_bytes()).as_deref(), Some("UNTRACKED (0x40)"));
        let mark = [&1u32.to_ne_bytes()[..], &u32::MAX.to_ne_bytes(), &[1, 0, 0, 0]].concat();
        assert_eq!(detail(b"mark", 1, &mark).as_deref(), Some("! 0x1/0xffffffff"));
        let mut string = vec![0; 160];
        (string[20], string[148], string[149]) = (b'x', 1, 1);
        assert_eq!(detail(b"string", 1, &string).as_deref(), Some("! x"));
    }

    #[test]
    fn ports_stand_and_are_inverted_where_each_match_has_them() {
        for (name, length, source, destination, flags) in
            [("tcp", 12, 0, 4, 11), ("udp", 10, 0, 4, 8), ("dccp", 16, 4, 0, 10), ("sctp", 68, 4, 0, 64)]
        {
            let mut data = vec![0; length];
            data[source..source + 4].copy_from_slice(&[1u16.to_ne_bytes(), 9u16.to_ne_bytes()].concat());
            data[destination..destination + 4].copy_from_slice(&22u16.to_ne_bytes().repeat(2));
            let flag = if name == "tcp" || name == "udp" { vec![2] } else { 2u16.to_ne_bytes().to_vec() };
            data[flags..flags + flag.len()].copy_from_slice(&flag);
            let told = ports(name.as_bytes(), &data).unwrap();
            assert_eq!(told.map(Ports::shown), [Some("1:9".to_owned()), Some("22".to_owned())], "{name}");
            assert_eq!(told.map(|ports| ports.inverted), [false, true], "{name}");
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
