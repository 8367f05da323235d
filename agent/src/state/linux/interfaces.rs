//! Owns the tables of network interfaces and their addresses, and the names that other tables need; refuses to change a
//! flag.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::netlink::{
    DumpEnd, Netlink, attribute, attributes, ip_address, read_u16, read_u32, read_u64, until_nul,
};
use super::network_namespaces::{NetworkNamespace, each_rtnetlink};
use super::socket_text::AF_INET;
use super::text::{link_address, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const DETAILS: Table = Table {
    name: "interface_details",
    about: "Interfaces of every network namespace, with the promiscuous ones marked.",
    sources: &["netlink rtnetlink RTM_GETLINK", "/proc/net/dev", "/proc/<pid>/net/dev"],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_details,
};

/// The table.
pub(super) const ADDRESSES: Table = Table {
    name: "interface_addresses",
    about: "Addresses of the interfaces of every network namespace.",
    sources: &["netlink rtnetlink RTM_GETADDR", "/proc/net/if_inet6", "/proc/<pid>/net/if_inet6"],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_addresses,
};

/// One network interface.
#[derive(Serialize)]
struct InterfaceRow {
    /// osquery: Interface name.
    interface: String,
    /// Derived: Base64 of the exact bytes behind `interface`; null where `interface` is those bytes verbatim.
    interface_raw: Option<String>,
    /// osquery: Link-layer address; null where there is none.
    mac: Option<String>,
    /// osquery: Hardware type as in `net/if_arp.h` (1 Ethernet, 772 loopback, ...).
    r#type: u16,
    /// osquery: Maximum transmission unit in bytes.
    mtu: Option<u32>,
    /// osquery: `IFF_*` flags as one number.
    flags: u32,
    /// osquery: Packets received.
    ipackets: Option<u64>,
    /// osquery: Packets sent.
    opackets: Option<u64>,
    /// osquery: Bytes received.
    ibytes: Option<u64>,
    /// osquery: Bytes sent.
    obytes: Option<u64>,
    /// osquery: Receive errors.
    ierrors: Option<u64>,
    /// osquery: Send errors.
    oerrors: Option<u64>,
    /// osquery: Received packets dropped.
    idrops: Option<u64>,
    /// osquery: Packets dropped instead of sent.
    odrops: Option<u64>,
    /// osquery: Collisions.
    collisions: Option<u64>,
    /// Derived: Index of the interface.
    interface_index: u32,
    /// Derived: Whether it takes every packet, by its flag or by the count of those who asked for that.
    promiscuous: Option<bool>,
    /// Derived: How many asked for promiscuous mode; a packet capture shows here and not in `flags`.
    promiscuity: Option<u32>,
    /// Derived: up, down, dormant, unknown, notpresent, lowerlayerdown or testing.
    operational_state: Option<String>,
    /// Derived: Kind of virtual interface, such as `veth` or `bridge`; null for hardware.
    kind: Option<String>,
    /// Derived: Base64 of the exact bytes behind `kind`; null where `kind` is those bytes verbatim.
    kind_raw: Option<String>,
    /// Derived: Description set for the interface; null where none.
    alias: Option<String>,
    /// Derived: Base64 of the exact bytes behind `alias`; null where `alias` is those bytes verbatim.
    alias_raw: Option<String>,
    /// Derived: Index of the bridge or bond it belongs to; null where none.
    master_index: Option<u32>,
    /// Derived: Link-layer address of the hardware, which differs from `mac` where that was changed; null
    /// where the driver tells none.
    permanent_mac: Option<String>,
    /// Derived: Numbers of the XDP programs attached to it, separated by commas; null where none.
    xdp_programs: Option<String>,
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
}

/// One address of one network interface.
#[derive(Serialize)]
struct AddressRow {
    /// osquery: Interface name; null where the index has no name any more.
    interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `interface`; null where `interface` is those bytes verbatim.
    interface_raw: Option<String>,
    /// osquery: IP address.
    address: String,
    /// osquery: Network mask that belongs to `prefix_length`.
    mask: String,
    /// osquery: Broadcast address; null where none.
    broadcast: Option<String>,
    /// osquery: Address at the other end of a point-to-point link; null where none.
    point_to_point: Option<String>,
    /// Derived: Address family (2 inet, 10 inet6).
    family: u16,
    /// Derived: Length of the network's prefix in bits.
    prefix_length: u8,
    /// Derived: Scope of the address (0 everywhere, 253 link, 254 host).
    scope: u8,
    /// Derived: `IFA_F_*` flags as one number (128 permanent, 1 temporary or secondary, ...).
    flags: u32,
    /// Derived: Index of that interface.
    interface_index: u32,
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
}

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_PROMISCUITY: u16 = 30;
pub(super) const IFLA_XDP: u16 = 43;
/// `IFLA_XDP_PROG_ID` and the three that name where it runs.
const IFLA_XDP_PROGRAMS: std::ops::RangeInclusive<u16> = 4..=7;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFF_PROMISC: u32 = 0x100;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;

/// Captures the table of interfaces.
pub(super) fn capture_details(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_rtnetlink(capture, &["dev"], &mut |capture, namespace, netlink| {
        let request = (RTM_GETLINK, &[0; 16][..], RTM_NEWLINK);
        dump_noting(capture, namespace, netlink, "RTM_GETLINK", request, &mut |body| {
            interface_row(body, namespace.name())
        })
    })
}

/// Captures the table of addresses.
pub(super) fn capture_addresses(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_rtnetlink(capture, &["if_inet6"], &mut |capture, namespace, netlink| {
        let names = InterfaceNames::read(capture, namespace, netlink);
        let request = (RTM_GETADDR, &[0; 8][..], RTM_NEWADDR);
        dump_noting(capture, namespace, netlink, "RTM_GETADDR", request, &mut |body| {
            address_row(body, &names, namespace.name())
        })
    })
}

/// The names of interfaces by their index.
#[derive(Default)]
pub(super) struct InterfaceNames(BTreeMap<u32, Vec<u8>>);

impl InterfaceNames {
    /// Asks the kernel for all names; without an answer there are none.
    pub(super) fn read(
        capture: &mut TableCapture<'_>,
        namespace: &NetworkNamespace,
        netlink: &mut Netlink,
    ) -> Self {
        let mut names = BTreeMap::new();
        let end = netlink.dump(RTM_GETLINK, &[0; 16], RTM_NEWLINK, &mut |body| {
            let name = body.get(16..).and_then(|rest| attribute(rest, IFLA_IFNAME)).map(until_nul);
            if let (Some(index), Some(name)) = (read_u32(body, 4), name) {
                names.insert(index, name.to_vec());
            }
            Ok(())
        });
        note_dump(capture, namespace, "RTM_GETLINK (names)", end, 0);
        Self(names)
    }

    /// The name of interface `index`.
    pub(super) fn name(&self, index: u32) -> Option<&[u8]> {
        self.0.get(&index).map(Vec::as_slice)
    }
}

/// Dumps what `request` names (type, body, type of the answers), writes a row for each message and notes what went wrong.
pub(super) fn dump_noting<Row: Serialize>(
    capture: &mut TableCapture<'_>,
    namespace: &NetworkNamespace,
    netlink: &mut Netlink,
    asked: &str,
    request: (u16, &[u8], u16),
    read: &mut dyn FnMut(&[u8]) -> Option<Row>,
) -> io::Result<()> {
    let (kind, body, answers) = request;
    let mut unreadable = 0;
    let mut written = Ok(());
    let end = netlink.dump(kind, body, answers, &mut |body| {
        match read(body) {
            Some(row) => written = capture.row(&row),
            None => unreadable += 1,
        }
        if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    });
    written?;
    note_dump(capture, namespace, asked, end, unreadable);
    Ok(())
}

/// Notes how a dump ended where it did not end well.
pub(super) fn note_dump(
    capture: &mut TableCapture<'_>,
    namespace: &NetworkNamespace,
    asked: &str,
    end: io::Result<DumpEnd>,
    unreadable: u64,
) {
    note_end(capture, &format!("netlink {asked} of network namespace {}", namespace.inode), end, unreadable);
}

/// Notes how the dump `subject` ended where it did not end well.
pub(super) fn note_end(
    capture: &mut TableCapture<'_>,
    subject: &str,
    end: io::Result<DumpEnd>,
    unreadable: u64,
) {
    match end {
        Ok(end) => {
            if end.interrupted {
                capture.gap(subject, &io::Error::other("the list changed while it was dumped"));
            }
            if unreadable + end.malformed > 0 {
                let reason = format!("{} messages unreadable", unreadable + end.malformed);
                capture.gap(subject, &io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        Err(reason) => capture.gap(subject, &reason),
    }
}

/// `struct ifinfomsg` and its attributes.
fn interface_row(body: &[u8], net_namespace: String) -> Option<InterfaceRow> {
    let flags = read_u32(body, 8)?;
    let rest = body.get(16..)?;
    let number = |kind| attribute(rest, kind).and_then(|value| read_u32(value, 0));
    let statistics = attribute(rest, IFLA_STATS64).unwrap_or_default();
    let count = |at: usize| read_u64(statistics, at * 8);
    let (interface, interface_raw) = text(until_nul(attribute(rest, IFLA_IFNAME)?));
    let kind = attribute(rest, IFLA_LINKINFO).and_then(|link| attribute(link, IFLA_INFO_KIND));
    let (kind, kind_raw) = optional(kind.map(until_nul));
    let (alias, alias_raw) = optional(attribute(rest, IFLA_IFALIAS).map(until_nul));
    let promiscuity = number(IFLA_PROMISCUITY);
    Some(InterfaceRow {
        interface,
        interface_raw,
        mac: attribute(rest, IFLA_ADDRESS).and_then(link_address),
        r#type: read_u16(body, 2)?,
        mtu: number(IFLA_MTU),
        flags,
        ipackets: count(0),
        opackets: count(1),
        ibytes: count(2),
        obytes: count(3),
        ierrors: count(4),
        oerrors: count(5),
        idrops: count(6),
        odrops: count(7),
        collisions: count(9),
        interface_index: read_u32(body, 4)?,
        promiscuous: promiscuity.map(|count| count > 0 || flags & IFF_PROMISC != 0),
        promiscuity,
        operational_state: attribute(rest, IFLA_OPERSTATE)
            .and_then(|value| value.first())
            .map(operational_state),
        kind,
        kind_raw,
        alias,
        alias_raw,
        master_index: number(IFLA_MASTER),
        permanent_mac: attribute(rest, IFLA_PERM_ADDRESS).and_then(link_address),
        xdp_programs: attribute(rest, IFLA_XDP).and_then(xdp_programs),
        net_namespace,
    })
}

/// One that runs in one place stands twice; there may be one in each.
fn xdp_programs(nested: &[u8]) -> Option<String> {
    let programs = attributes(nested).filter(|(kind, _)| IFLA_XDP_PROGRAMS.contains(kind));
    let programs: BTreeSet<u32> =
        programs.filter_map(|(_, value)| read_u32(value, 0)).filter(|program| *program != 0).collect();
    let numbers: Vec<_> = programs.iter().map(u32::to_string).collect();
    (!numbers.is_empty()).then(|| numbers.join(","))
}

/// The names of RFC 2863 `ifOperStatus`, as `/sys/class/net/*/operstate` spells them.
fn operational_state(state: &u8) -> String {
    const NAMES: [&str; 7] = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
    NAMES.get(usize::from(*state)).map_or_else(|| state.to_string(), |name| (*name).to_owned())
}

/// `struct ifaddrmsg` and its attributes.
fn address_row(body: &[u8], names: &InterfaceNames, net_namespace: String) -> Option<AddressRow> {
    let [family, prefix_length, flags, scope] = *body.first_chunk()?;
    let interface_index = read_u32(body, 4)?;
    let rest = body.get(8..)?;
    let address = |kind| attribute(rest, kind).and_then(ip_address);
    // Where both are there, the interface's own address is the local one, and the other is its peer's.
    let (own, peer) = match (address(IFA_LOCAL), address(IFA_ADDRESS)) {
        (Some(local), peer) => (local, peer.filter(|peer| *peer != local)),
        (None, own) => (own?, None),
    };
    let (interface, interface_raw) = optional(names.name(interface_index));
    let flags = attribute(rest, IFA_FLAGS).and_then(|value| read_u32(value, 0)).unwrap_or(u32::from(flags));
    Some(AddressRow {
        interface,
        interface_raw,
        address: own.to_string(),
        mask: mask(family, prefix_length),
        broadcast: address(IFA_BROADCAST).map(|address| address.to_string()),
        point_to_point: peer.map(|peer| peer.to_string()),
        family: u16::from(family),
        prefix_length,
        scope,
        flags,
        interface_index,
        net_namespace,
    })
}

fn mask(family: u8, prefix_length: u8) -> String {
    let host_bits = |width: u32| width.saturating_sub(u32::from(prefix_length));
    if u16::from(family) == AF_INET {
        Ipv4Addr::from(u32::MAX.checked_shl(host_bits(32)).unwrap_or(0)).to_string()
    } else {
        Ipv6Addr::from(u128::MAX.checked_shl(host_bits(128)).unwrap_or(0)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_interface_and_address_messages_never_panic() {
        for length in 0..300 {
            for fill in [0, 1, 3, 4, 23, 0xff] {
                let body = vec![fill; length];
                assert!(interface_row(&body, String::new()).is_none() || length >= 16);
                assert!(
                    address_row(&body, &InterfaceNames::default(), String::new()).is_none() || length >= 8
                );
                xdp_programs(&body);
            }
        }
    }

    #[test]
    fn masks_follow_from_prefix_lengths_even_impossible_ones() {
        assert_eq!(mask(2, 24), "255.255.255.0");
        assert_eq!(mask(2, 0), "0.0.0.0");
        assert_eq!(mask(2, 255), "255.255.255.255");
        assert_eq!(mask(10, 64), "ffff:ffff:ffff:ffff::");
        assert_eq!(mask(10, 0), "::");
    }

    #[test]
    fn every_program_of_an_interface_is_told_once() {
        let program = |kind: u16, number: u32| {
            [&8u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &number.to_ne_bytes()].concat()
        };
        let nested = [program(5, 9), program(6, 3), program(7, 9)].concat();
        assert_eq!(xdp_programs(&nested).as_deref(), Some("3,9"));
        assert_eq!(xdp_programs(&program(4, 0)), None);
    }

    #[test]
    fn capture_without_the_flag_is_still_promiscuous() {
        let body = [&[0u8; 16][..], &[8, 0, 3, 0, b'e', b'0', 0, 0], &[8, 0, 30, 0, 1, 0, 0, 0]].concat();
        let row = interface_row(&body, String::new()).unwrap();
        assert_eq!((row.flags & IFF_PROMISC, row.promiscuous), (0, Some(true)));
    }
}
