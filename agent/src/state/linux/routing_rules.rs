//! Owns the table of the rules that choose a routing table; refuses to resolve any address.

use std::io;

use serde::Serialize;

use super::interfaces::dump_noting;
use super::netlink::{attribute, ip_address, read_u16, read_u32, until_nul};
use super::network_namespaces::each_rtnetlink;
use super::text::optional;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "routing_rules",
    about: "Rules of every network namespace that choose the routing table of a packet, in the order they are tried.",
    sources: &["netlink rtnetlink RTM_GETRULE", "every network namespace"],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_rules,
};

/// One rule of policy routing.
#[derive(Serialize)]
struct RuleRow {
    /// Derived: Address family (2 inet, 10 inet6, 128 and 129 their multicast routing).
    family: u16,
    /// Derived: Place in the order of rules, the lowest first.
    priority: u32,
    /// Derived: What it does: lookup, goto, nop, blackhole, unreachable, prohibit, or its number.
    action: String,
    /// Derived: Routing table that is looked up (254 main, 255 local); 0 where the action looks up none.
    table: u32,
    /// Derived: Whether it holds for the packets that do not fit.
    inverted: bool,
    /// Derived: Network that packets come from, without its length; null where any.
    source: Option<String>,
    /// Derived: Length of that network's prefix in bits.
    source_length: u8,
    /// Derived: Network that packets go to, without its length; null where any.
    destination: Option<String>,
    /// Derived: Length of that network's prefix in bits.
    destination_length: u8,
    /// Derived: Interface packets come in through; null where any.
    input_interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `input_interface`; null where `input_interface` is those bytes
    /// verbatim.
    input_interface_raw: Option<String>,
    /// Derived: Interface packets are bound to leave through; null where any.
    output_interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `output_interface`; null where `output_interface` is those bytes
    /// verbatim.
    output_interface_raw: Option<String>,
    /// Derived: Mark of packets; null where any.
    mark: Option<u32>,
    /// Derived: Bits of the mark that count; null where any.
    mark_mask: Option<u32>,
    /// Derived: Type of service of packets; 0 where any.
    tos: u8,
    /// Derived: First user id of the sockets that packets come from; null where any.
    uid_first: Option<u32>,
    /// Derived: Last such user id; null where any.
    uid_last: Option<u32>,
    /// Derived: IP protocol of packets (6 tcp, 17 udp, ...); null where any.
    ip_protocol: Option<u8>,
    /// Derived: First source port; null where any.
    source_port_first: Option<u16>,
    /// Derived: Last source port; null where any.
    source_port_last: Option<u16>,
    /// Derived: First destination port; null where any.
    destination_port_first: Option<u16>,
    /// Derived: Last destination port; null where any.
    destination_port_last: Option<u16>,
    /// Derived: Rule that `goto` goes to, by its priority; null for other actions.
    target: Option<u32>,
    /// Derived: Routes with no longer prefix than this are passed over; null where none are.
    suppress_prefix_length: Option<u32>,
    /// Derived: Whether the table is that of the packet's layer 3 master device (VRF).
    l3mdev: bool,
    /// Derived: Who made the rule, as in `linux/rtnetlink.h` (2 kernel, 3 boot, 4 static, ...); null where the kernel
    /// does not tell.
    protocol: Option<u8>,
    /// Derived: `FIB_RULE_*` flags as one number.
    flags: u32,
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
}

const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FIB_RULE_INVERT: u32 = 2;

/// Captures the table.
fn capture_rules(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_rtnetlink(capture, &[], &mut |capture, namespace, netlink| {
        let request = (RTM_GETRULE, &[0; 12][..], RTM_NEWRULE);
        dump_noting(capture, namespace, netlink, "RTM_GETRULE", request, &mut |body| {
            rule_row(body, namespace.name())
        })
    })
}

/// `struct fib_rule_hdr` and its attributes.
fn rule_row(body: &[u8], net_namespace: String) -> Option<RuleRow> {
    let [family, destination_length, source_length, tos, table, _, _, action] = *body.first_chunk()?;
    let flags = read_u32(body, 8)?;
    let rest = body.get(12..)?;
    let number = |kind| attribute(rest, kind).and_then(|value| read_u32(value, 0));
    let byte = |kind| attribute(rest, kind).and_then(|value| value.first().copied());
    let address = |kind| attribute(rest, kind).and_then(ip_address).map(|address| address.to_string());
    let range = |kind, at| attribute(rest, kind).and_then(|value| read_u16(value, at));
    let (input_interface, input_interface_raw) = optional(attribute(rest, FRA_IIFNAME).map(until_nul));
    let (output_interface, output_interface_raw) = optional(attribute(rest, FRA_OIFNAME).map(until_nul));
    let uids = attribute(rest, FRA_UID_RANGE).unwrap_or_default();
    Some(RuleRow {
        family: u16::from(family),
        // The first rule of all has no attribute for its zero.
        priority: number(FRA_PRIORITY).unwrap_or(0),
        action: action_name(action),
        table: number(FRA_TABLE).unwrap_or_else(|| u32::from(table)),
        inverted: flags & FIB_RULE_INVERT != 0,
        source: address(FRA_SRC),
        source_length,
        destination: address(FRA_DST),
        destination_length,
        input_interface,
        input_interface_raw,
        output_interface,
        output_interface_raw,
        mark: number(FRA_FWMARK),
        mark_mask: number(FRA_FWMASK),
        tos,
        uid_first: read_u32(uids, 0),
        uid_last: read_u32(uids, 4),
        ip_protocol: byte(FRA_IP_PROTO),
        source_port_first: range(FRA_SPORT_RANGE, 0),
        source_port_last: range(FRA_SPORT_RANGE, 2),
        destination_port_first: range(FRA_DPORT_RANGE, 0),
        destination_port_last: range(FRA_DPORT_RANGE, 2),
        target: number(FRA_GOTO),
        // All bits set is how the kernel says that nothing is passed over.
        suppress_prefix_length: number(FRA_SUPPRESS_PREFIXLEN).filter(|length| *length != u32::MAX),
        l3mdev: byte(FRA_L3MDEV).is_some_and(|set| set != 0),
        protocol: byte(FRA_PROTOCOL),
        flags,
        net_namespace,
    })
}

fn action_name(action: u8) -> String {
    match action {
        1 => "lookup",
        2 => "goto",
        3 => "nop",
        6 => "blackhole",
        7 => "unreachable",
        8 => "prohibit",
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_rule_messages_are_refused_and_never_panic() {
        for length in 0..96 {
            for fill in [0, 1, 3, 4, 8, 20, 0xff] {
                assert_eq!(rule_row(&vec![fill; length], String::new()).is_some(), length >= 12);
            }
        }
    }

    #[test]
    fn rule_without_attributes_is_the_first_and_looks_up_the_table_of_its_header() {
        let row = rule_row(&[2, 0, 0, 0, 255, 0, 0, 1, 2, 0, 0, 0], String::new()).unwrap();
        assert_eq!((row.priority, row.table, row.action.as_str(), row.inverted), (0, 255, "lookup", true));
        assert_eq!((row.source, row.mark, row.uid_first), (None, None, None));
    }
}
