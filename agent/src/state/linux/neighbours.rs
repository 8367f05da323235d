//! Owns the table of neighbours; refuses to probe any of them.

use std::io;

use serde::Serialize;

use super::interfaces::{InterfaceNames, dump_noting};
use super::netlink::{attribute, ip_address, read_u16, read_u32};
use super::network_namespaces::each_rtnetlink;
use super::text::{link_address, optional};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "arp_cache",
    about: "Neighbours with their link-layer addresses, of every network namespace: the ARP cache and IPv6 neighbour discovery.",
    sources: &["netlink rtnetlink RTM_GETNEIGH", "/proc/net/arp", "/proc/<pid>/net/arp"],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_neighbours,
};

/// One neighbour the kernel has or seeks a link-layer address for: ARP and IPv6 neighbour discovery.
#[derive(Serialize)]
struct NeighbourRow {
    /// osquery: IP address of the neighbour.
    address: Option<String>,
    /// osquery: Link-layer address, lower-case hexadecimal with colons; null where not resolved.
    mac: Option<String>,
    /// osquery: Interface it is reached through; null where the index has no name any more.
    interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `interface`; null where `interface` is those bytes verbatim.
    interface_raw: Option<String>,
    /// osquery: `1` for an entry set by hand, `0` for a learned one.
    permanent: String,
    /// Derived: Address family (2 inet, 10 inet6).
    family: u16,
    /// Derived: Neighbour states joined by `|`: INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED, NOARP,
    /// PERMANENT, or NONE.
    state: String,
    /// Derived: Whether the neighbour announced itself as a router.
    router: bool,
    /// Derived: `NTF_*` flags of `linux/neighbour.h` as one number.
    flags: u32,
    /// Derived: Index of that interface.
    interface_index: u32,
    /// Derived: Seconds since the neighbour was last confirmed reachable; null where the kernel does not
    /// tell.
    confirmed_seconds_ago: Option<u64>,
    /// Derived: Seconds since the entry was last used; null where the kernel does not tell.
    used_seconds_ago: Option<u64>,
    /// Derived: Seconds since the entry last changed; null where the kernel does not tell.
    updated_seconds_ago: Option<u64>,
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
}

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_CACHEINFO: u16 = 3;
const NTF_ROUTER: u8 = 0x80;
const NUD_PERMANENT: u16 = 0x80;

/// Ticks of `USER_HZ` in a second, fixed by the kernel's interface on every architecture that is built for.
const TICKS: u64 = 100;

/// Captures the table.
pub(super) fn capture_neighbours(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_rtnetlink(capture, &["arp"], &mut |capture, namespace, netlink| {
        let names = InterfaceNames::read(capture, namespace, netlink);
        let request = (RTM_GETNEIGH, &[0; 12][..], RTM_NEWNEIGH);
        dump_noting(capture, namespace, netlink, "RTM_GETNEIGH", request, &mut |body| {
            neighbour_row(body, &names, namespace.name())
        })
    })
}

/// `struct ndmsg` and its attributes.
fn neighbour_row(body: &[u8], names: &InterfaceNames, net_namespace: String) -> Option<NeighbourRow> {
    let interface_index = read_u32(body, 4)?;
    let state = read_u16(body, 8)?;
    let flags = *body.get(10)?;
    let rest = body.get(12..)?;
    let (interface, interface_raw) = optional(names.name(interface_index));
    let times = attribute(rest, NDA_CACHEINFO).unwrap_or_default();
    let seconds = |at| read_u32(times, at).map(|ticks| u64::from(ticks) / TICKS);
    Some(NeighbourRow {
        address: attribute(rest, NDA_DST).and_then(ip_address).map(|address| address.to_string()),
        mac: attribute(rest, NDA_LLADDR).and_then(link_address),
        interface,
        interface_raw,
        permanent: if state & NUD_PERMANENT != 0 { "1" } else { "0" }.to_owned(),
        family: u16::from(*body.first()?),
        state: state_names(state),
        router: flags & NTF_ROUTER != 0,
        flags: u32::from(flags),
        interface_index,
        confirmed_seconds_ago: seconds(0),
        used_seconds_ago: seconds(4),
        updated_seconds_ago: seconds(8),
        net_namespace,
    })
}

fn state_names(state: u16) -> String {
    const NAMES: [(u16, &str); 8] = [
        (0x01, "INCOMPLETE"),
        (0x02, "REACHABLE"),
        (0x04, "STALE"),
        (0x08, "DELAY"),
        (0x10, "PROBE"),
        (0x20, "FAILED"),
        (0x40, "NOARP"),
        (NUD_PERMANENT, "PERMANENT"),
    ];
    if state == 0 {
        return "NONE".to_owned();
    }
    NAMES.iter().filter(|(bit, _)| state & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_neighbour_messages_are_refused_and_never_panic() {
        let names = InterfaceNames::default();
        for length in 0..64 {
            for fill in [0, 1, 4, 0xff] {
                assert_eq!(neighbour_row(&vec![fill; length], &names, String::new()).is_some(), length >= 12);
            }
        }
    }

    #[test]
    fn states_are_named_by_their_bits() {
        assert_eq!(state_names(0), "NONE");
        assert_eq!(state_names(0x82), "REACHABLE|PERMANENT");
    }
}
