//! Owns the table of the packet filters of before nftables: iptables, ip6tables, arptables; refuses to name a table that
//! the kernel does not list, which would make it.

mod entries;
mod extensions;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::netlink::{read_u16, until_nul};
use super::network_namespaces::{NetworkNamespace, network_namespaces, not_entered};
use super::process_folders::has_ended;
use super::text::{link_address, optional, text, to_hexadecimal};
use crate::source::{LegacyAnswer, LegacyFilter, each_line, legacy_table};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};
use entries::{Chain, Entries, Entry, Extension, Information, entries_offset};
pub(super) use extensions::detail;

/// The table.
pub(super) const TABLE: Table = Table {
    name: "iptables",
    about: "Chains and rules of iptables, ip6tables and arptables (legacy) of every network namespace.",
    sources: &[
        "/proc/net/{ip,ip6,arp}_tables_names",
        "getsockopt IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES, ARPT_SO_GET_ENTRIES",
        "every network namespace",
    ],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_filters,
};

/// One chain, or one rule of the chain before it in the order they are tried.
#[derive(Serialize, Default)]
struct IptablesRow {
    /// osquery: Table: filter, nat, mangle, raw, security.
    filter_name: String,
    /// Derived: Base64 of the exact bytes behind `filter_name`; null where `filter_name` is those bytes verbatim.
    filter_name_raw: Option<String>,
    /// osquery: Chain.
    chain: String,
    /// Derived: Base64 of the exact bytes behind `chain`; null where `chain` is those bytes verbatim.
    chain_raw: Option<String>,
    /// osquery: What the chain does with packets that no rule decides on: ACCEPT or DROP; null for a chain that is not
    /// built in.
    policy: Option<String>,
    /// osquery: What the rule does: a verdict, a chain or an extension; null where it only counts, and for a chain.
    target: Option<String>,
    /// Derived: Base64 of the exact bytes behind `target`; null where `target` is those bytes verbatim.
    target_raw: Option<String>,
    /// osquery: IP protocol (6 tcp, 17 udp, ...), 0 for any; null for a chain and for arptables.
    protocol: Option<u16>,
    /// osquery: Source port, or first and last with a colon; null where any.
    src_port: Option<String>,
    /// osquery: Destination port, or first and last with a colon; null where any.
    dst_port: Option<String>,
    /// osquery: Source address; null for a chain.
    src_ip: Option<String>,
    /// osquery: Bits of the source address that count, as an address; null for a chain.
    src_mask: Option<String>,
    /// osquery: Interface packets come in through; null where any. A `+` stands for any further
    /// letters.
    iniface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `iniface`; null where `iniface` is those bytes verbatim.
    iniface_raw: Option<String>,
    /// osquery: Bytes of that name that count, in hexadecimal: one more than the name has for a whole name, as many for
    /// the beginning of one; null where any.
    iniface_mask: Option<String>,
    /// osquery: Destination address; null for a chain.
    dst_ip: Option<String>,
    /// osquery: Bits of the destination address that count, as an address; null for a chain.
    dst_mask: Option<String>,
    /// osquery: Interface packets leave through; null where any. A `+` stands for any further
    /// letters.
    outiface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `outiface`; null where `outiface` is those bytes verbatim.
    outiface_raw: Option<String>,
    /// osquery: Bytes of that name that count, as in `iniface_mask`.
    outiface_mask: Option<String>,
    /// osquery: Names of the matches, separated by commas; null where none.
    r#match: Option<String>,
    /// Derived: Base64 of the exact bytes behind `match`; null where `match` is those bytes verbatim.
    match_raw: Option<String>,
    /// osquery: Packets the rule, or the chain's policy, has met.
    packets: u64,
    /// osquery: Bytes of those packets.
    bytes: u64,
    /// Derived: ip, ip6 or arp.
    family: &'static str,
    /// Derived: Number of the rule in its chain, from 1; null for a chain.
    rule: Option<u64>,
    /// Derived: Comment of the rule; null where none.
    comment: Option<String>,
    /// Derived: Base64 of the exact bytes behind `comment`; null where `comment` is those bytes verbatim.
    comment_raw: Option<String>,
    /// Derived: Columns that hold for the packets that do not fit.
    inverted: Vec<String>,
    /// Derived: Whether it fits only further fragments of a packet; null for a chain, ip6tables and arptables.
    fragment: Option<bool>,
    /// Derived: Whether the chain in `target` returns to where this one was called from.
    goto: bool,
    /// Derived: The matches in order: `name`, `revision`, `data` in base64, and in `detail` what it is set to where that
    /// is read.
    matches: Vec<Value>,
    /// Derived: What the target is set to, such as the address of DNAT; null where none or not read.
    target_detail: Option<String>,
    /// Derived: Base64 of the target's data; null for verdicts and chains.
    target_data: Option<String>,
    /// Derived: What arptables tests besides: `operation`, `hardware_type`, `protocol_type`, `source_mac`, `target_mac`
    /// and the mask of each; null for the others.
    arp: Option<Map<String, Value>>,
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
}

/// The packet filters: kind, name in the rows, and the list of its tables.
const FILTERS: &[(LegacyFilter, &str, &str)] = &[
    (LegacyFilter::Ip, "ip", "ip_tables_names"),
    (LegacyFilter::Ip6, "ip6", "ip6_tables_names"),
    (LegacyFilter::Arp, "arp", "arp_tables_names"),
];

/// Tables of one filter that are asked for; the kernel has five.
const TABLE_CAP: usize = 64;

/// Length of a table's name with the NUL behind it (`XT_TABLE_MAXNAMELEN`).
const NAME: usize = 32;

/// The largest table that is asked for, in bytes.
const SIZE_CAP: usize = 64 << 20;

/// How often a table that changes meanwhile is asked for.
const TRIES: usize = 4;

/// Captures the table.
fn capture_filters(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for namespace in network_namespaces(capture)? {
        for (filter, family, list) in FILTERS {
            capture.go_on()?;
            let mut names = Vec::new();
            let listed = namespace.text(list).and_then(|text| {
                each_line(text, &mut |line| {
                    if line.is_empty() || line.len() >= NAME {
                        return Ok(());
                    }
                    if names.len() == TABLE_CAP {
                        let reason =
                            format!("more than {TABLE_CAP} tables are listed, the others not asked for");
                        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                    }
                    names.push(line.to_vec());
                    Ok(())
                })
            });
            match listed {
                Ok(_) => {}
                // A kernel without this filter.
                Err(reason) if has_ended(&reason) => continue,
                // Those listed first are still asked for.
                Err(reason) if reason.kind() == io::ErrorKind::QuotaExceeded => {
                    capture
                        .gap(format!("/proc/net/{list} of network namespace {}", namespace.inode), &reason);
                }
                Err(reason) => {
                    not_entered(capture, &namespace, &reason);
                    continue;
                }
            }
            for name in names {
                capture_table(capture, &namespace, (*filter, family), &name)?;
            }
        }
    }
    Ok(())
}

fn capture_table(
    capture: &mut TableCapture<'_>,
    namespace: &NetworkNamespace,
    (filter, family): (LegacyFilter, &'static str),
    name: &[u8],
) -> io::Result<()> {
    let subject = format!("{family}tables table {} of network namespace {}", text(name).0, namespace.inode);
    let (information, bytes) =
        match namespace.within(move || socket(filter)).and_then(|socket| ask(&socket, filter, name)) {
            Ok(answer) => answer,
            Err(reason) => {
                capture.gap(subject, &reason);
                return Ok(());
            }
        };
    let entries = Entries::parse(filter, &information, bytes.get(entries_offset()..).unwrap_or_default());
    for chain in &entries.chains {
        let head = chain_row(namespace, family, name, chain);
        capture.row(&head)?;
        for (rule, number) in entries.rules(chain).zip(1..) {
            let mut row = rule_row(filter, &entries, &rule, chain_row(namespace, family, name, chain));
            row.rule = Some(number);
            capture.row(&row)?;
        }
    }
    if entries.malformed {
        capture.gap(subject, &io::Error::new(io::ErrorKind::InvalidData, "entries contradict each other"));
    }
    Ok(())
}

/// Any socket of the family takes the question.
fn socket(filter: LegacyFilter) -> io::Result<OwnedFd> {
    let family = if filter == LegacyFilter::Ip6 { AddressFamily::INET6 } else { AddressFamily::INET };
    Ok(rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// Asks how large the table is, and then for its entries.
fn ask(socket: &OwnedFd, filter: LegacyFilter, name: &[u8]) -> io::Result<(Information, Vec<u8>)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the answer is too short");
    for _ in 0..TRIES {
        let mut answer = vec![0; Information::length(filter)];
        answer.get_mut(..name.len()).ok_or_else(invalid)?.copy_from_slice(name);
        let length = legacy_table(socket.as_fd(), filter, LegacyAnswer::Information, &mut answer)?;
        let information =
            answer.get(..length).and_then(|answer| Information::parse(filter, answer)).ok_or_else(invalid)?;
        if information.size > SIZE_CAP {
            let reason = format!("{} bytes, not asked for", information.size);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let mut entries = vec![0; entries_offset() + information.size];
        entries.get_mut(..name.len()).ok_or_else(invalid)?.copy_from_slice(name);
        let size = u32::try_from(information.size).map_err(io::Error::other)?;
        entries.get_mut(32..36).ok_or_else(invalid)?.copy_from_slice(&size.to_ne_bytes());
        match legacy_table(socket.as_fd(), filter, LegacyAnswer::Entries, &mut entries) {
            // Its size changed since.
            Err(reason) if reason.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {}
            Err(reason) => return Err(reason),
            Ok(length) => {
                entries.truncate(length);
                return Ok((information, entries));
            }
        }
    }
    Err(io::Error::other("it changed each time it was asked for"))
}

fn chain_row(namespace: &NetworkNamespace, family: &'static str, name: &[u8], chain: &Chain) -> IptablesRow {
    let (filter_name, filter_name_raw) = text(name);
    let (chain_name, chain_raw) = text(&chain.name);
    IptablesRow {
        filter_name,
        filter_name_raw,
        chain: chain_name,
        chain_raw,
        policy: chain.policy.map(str::to_owned),
        packets: chain.packets,
        bytes: chain.bytes,
        family,
        net_namespace: namespace.name(),
        ..IptablesRow::default()
    }
}

fn rule_row(
    filter: LegacyFilter,
    entries: &Entries<'_>,
    rule: &Entry<'_>,
    chain: IptablesRow,
) -> IptablesRow {
    let mut row = IptablesRow { packets: rule.packets, bytes: rule.bytes, ..chain };
    (row.target, row.target_raw) = optional(entries.target_name(rule).as_deref());
    if !rule.target.name.is_empty() {
        row.target_data = Some(STANDARD.encode(rule.target.data));
        row.target_detail = detail(rule.target.name, rule.target.revision, rule.target.data);
    }
    let mut names = Vec::new();
    for extension in rule.matches() {
        add_match(&mut row, &extension);
        names.push(extension.name);
    }
    if !names.is_empty() {
        (row.r#match, row.match_raw) = optional(Some(&names.join(&b',')));
    }
    // A header that is too short was refused with its entry.
    let _ = match filter {
        LegacyFilter::Ip => add_header(&mut row, rule.header, 4),
        LegacyFilter::Ip6 => add_header(&mut row, rule.header, 16),
        LegacyFilter::Arp => add_arp_header(&mut row, rule.header),
    };
    row
}

fn add_match(row: &mut IptablesRow, extension: &Extension<'_>) {
    if let Some(sides) = extensions::ports(extension.name, extension.data) {
        let columns = [("src_port", &mut row.src_port), ("dst_port", &mut row.dst_port)];
        for (ports, (name, column)) in sides.into_iter().zip(columns) {
            // A second match of ports stands among the matches.
            if let (Some(shown), None) = (ports.shown(), &column) {
                *column = Some(shown);
                row.inverted.extend(ports.inverted.then(|| name.to_owned()));
            }
        }
    }
    if let Some(comment) = extensions::comment(extension.name, extension.data) {
        (row.comment, row.comment_raw) = optional(Some(comment));
    }
    let (name, name_raw) = text(extension.name);
    row.matches.push(json!({
        "name": name,
        "name_raw": name_raw,
        "revision": extension.revision,
        "data": STANDARD.encode(extension.data),
        "detail": detail(extension.name, extension.revision, extension.data),
    }));
}

/// `struct ipt_ip` and `struct ip6t_ip6`, with addresses of `width` bytes.
fn add_header(row: &mut IptablesRow, header: &[u8], width: usize) -> Option<()> {
    const INVERTED: &[&str] = &["iniface", "outiface", "tos", "src_ip", "dst_ip", "fragment", "protocol"];
    let address = |at: usize| {
        let bytes = header.get(at * width..(at + 1) * width)?;
        super::netlink::ip_address(bytes).map(|address| address.to_string())
    };
    (row.src_ip, row.dst_ip, row.src_mask, row.dst_mask) = (address(0), address(1), address(2), address(3));
    add_interfaces(row, header.get(4 * width..4 * width + 64)?);
    let behind = header.get(4 * width + 64..)?;
    row.protocol = read_u16(behind, 0);
    // Version 6 has its traffic class before the flags.
    let flags = if width == 4 { 2 } else { 3 };
    row.goto = behind.get(flags)? & if width == 4 { 2 } else { 4 } != 0;
    row.fragment = (width == 4).then_some(behind.get(flags)? & 1 != 0);
    row.inverted.extend(inverted(u16::from(*behind.get(flags + 1)?), INVERTED));
    Some(())
}

/// `struct arpt_arp`.
fn add_arp_header(row: &mut IptablesRow, header: &[u8]) -> Option<()> {
    const INVERTED: &[&str] = &[
        "iniface",
        "outiface",
        "src_ip",
        "dst_ip",
        "source_mac",
        "target_mac",
        "operation",
        "hardware_type",
        "protocol_type",
        "hardware_length",
    ];
    let address = |at: usize| Some(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?).to_string());
    (row.src_ip, row.dst_ip, row.src_mask, row.dst_mask) = (address(0), address(4), address(8), address(12));
    // The bytes of an address that are tested; none is null.
    let tested = |mask: usize| {
        let mask = header.get(mask..mask + 16)?;
        mask.iter().rposition(|byte| *byte != 0).map(|last| last + 1)
    };
    let mac = |at: usize, mask: usize| header.get(at..at + tested(mask)?).and_then(link_address);
    let number = |at| read_u16(header, at).map(u16::from_be);
    row.arp = Some(Map::from_iter([
        ("source_mac".to_owned(), mac(18, 34).into()),
        ("source_mac_mask".to_owned(), mac(34, 34).into()),
        ("target_mac".to_owned(), mac(50, 66).into()),
        ("target_mac_mask".to_owned(), mac(66, 66).into()),
        ("operation".to_owned(), number(82).into()),
        ("operation_mask".to_owned(), number(84).into()),
        ("hardware_type".to_owned(), number(86).into()),
        ("hardware_type_mask".to_owned(), number(88).into()),
        ("protocol_type".to_owned(), number(90).into()),
        ("protocol_type_mask".to_owned(), number(92).into()),
    ]));
    add_interfaces(row, header.get(94..158)?);
    row.inverted.extend(inverted(read_u16(header, 160)?, INVERTED));
    Some(())
}

/// Two names and two masks of 16 bytes.
fn add_interfaces(row: &mut IptablesRow, names: &[u8]) {
    let mut parts = names.chunks(16);
    let (input, output) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (input_mask, output_mask) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mask = |mask: &[u8]| {
        let length = mask.iter().rposition(|byte| *byte != 0)? + 1;
        mask.get(..length).map(to_hexadecimal)
    };
    (row.iniface_mask, row.outiface_mask) = (mask(input_mask), mask(output_mask));
    let named = |name, mask: &Option<String>| optional(mask.is_some().then(|| until_nul(name)));
    (row.iniface, row.iniface_raw) = named(input, &row.iniface_mask);
    (row.outiface, row.outiface_raw) = named(output, &row.outiface_mask);
}

fn inverted(flags: u16, names: &[&str]) -> impl Iterator<Item = String> {
    let set = names.iter().zip(0..16u16).filter(move |(_, bit)| flags >> bit & 1 == 1);
    set.map(|(name, _)| (*name).to_owned())
}

#[cfg(test)]
#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
mod tests {
    use super::*;

    /// The table `filter` as a kernel told it: the policy DROP for FORWARD, and in INPUT
    /// `-i lo -s 192.0.2.1 -p tcp --dport 22 -m comment --comment why -j REJECT`.
    const INFORMATION: &str = "ZmlsdGVyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAOAAAA/////wAAAACAAgAAGAMAAP//////////6AEAAIACAAAYAwAA/////wUAAABgBAAA";
    const ENTRIES: &str = concat!(
        "ZmlsdGVyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABgBAAAAAAAAMAAAgEAAAAA/////wAAAABsbwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAP///wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABgAAAAAAAADAAegBAgAAAAAAAAAAAAAAAAAAAAAAAAAwAHRjcAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAA//8WABYAAAAAAAAAAAAgAWNvbW1lbnQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHdoeQAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAoAFJFSkVDVAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHAAmAACAAAAAAAAAAAAAAAAAAAAAAAAACgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "/v///wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAcACYAAQAAAAAAAAAAAAAAAAAAAAAAAAAKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD/////AAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABwAJgA",
        "CAAAAAAAAAAAAAAAAAAAAAAAAAAoAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP7///8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHAAsAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAEAARVJST1IAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAARVJST1IAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    );

    #[test]
    fn table_as_a_kernel_told_it_is_read_whole() {
        let bytes = STANDARD.decode(ENTRIES).unwrap();
        let information =
            Information::parse(LegacyFilter::Ip, &STANDARD.decode(INFORMATION).unwrap()).unwrap();
        assert_eq!(information.size + entries_offset(), bytes.len());
        let entries = Entries::parse(LegacyFilter::Ip, &information, &bytes[entries_offset()..]);
        assert!(!entries.malformed);
        let chains: Vec<_> = entries.chains.iter().map(|chain| (&chain.name[..], chain.policy)).collect();
        let expected =
            [(&b"INPUT"[..], Some("ACCEPT")), (b"FORWARD", Some("DROP")), (b"OUTPUT", Some("ACCEPT"))];
        assert_eq!(chains, expected);
        let rule = entries.rules(&entries.chains[0]).next().unwrap();
        let head = chain_row(&NetworkNamespace::default(), "ip", b"filter", &entries.chains[0]);
        let told = rule_row(LegacyFilter::Ip, &entries, &rule, head);
        assert_eq!((told.iniface.as_deref(), told.iniface_mask.as_deref()), (Some("lo"), Some("ffffff")));
        assert_eq!(
            (told.src_ip.as_deref(), told.src_mask.as_deref()),
            (Some("192.0.2.1"), Some("255.255.255.255"))
        );
        assert_eq!((told.protocol, told.dst_port.as_deref(), told.src_port), (Some(6), Some("22"), None));
        assert_eq!((told.r#match.as_deref(), told.comment.as_deref()), (Some("tcp,comment"), Some("why")));
        assert_eq!((told.target.as_deref(), told.policy.as_deref()), (Some("REJECT"), Some("ACCEPT")));
    }
}
