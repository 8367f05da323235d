//! Owns the table of routes; refuses to resolve any address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::interfaces::{InterfaceNames, note_dump};
use super::netlink::{attribute, ip_address, read_u16, read_u32};
use super::network_namespaces::each_rtnetlink;
use super::socket_text::{AF_INET, AF_INET6};
use super::text::{optional, to_hexadecimal};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "routes",
    about: "Routes of every routing table of every network namespace.",
    sources: &["netlink rtnetlink RTM_GETROUTE", "/proc/net/{route,ipv6_route}", "/proc/<pid>/net/*"],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_routes,
};

/// One next hop of one route of any routing table of the kernel.
#[derive(Serialize)]
struct RouteRow {
    /// osquery: Destination network, without its length; `0.0.0.0` or `::` for a default route. Of a family that is not
    /// of IP (28 mpls), its bytes in hexadecimal.
    destination: String,
    /// osquery: Length of the destination network's prefix in bits.
    netmask: u8,
    /// osquery: Address of the next hop; null for a directly connected network.
    gateway: Option<String>,
    /// osquery: Preferred source address; null where none is set.
    source: Option<String>,
    /// osquery: `RTM_F_*` flags of the route, with the `RTNH_F_*` flags of the next hop, as one number.
    flags: u32,
    /// osquery: Interface the packets leave through; null where there is none.
    interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `interface`; null where `interface` is those bytes verbatim.
    interface_raw: Option<String>,
    /// osquery: Maximum transmission unit set for the route; null where none is set.
    mtu: Option<u32>,
    /// osquery: Cost of the route; null where none is set.
    metric: Option<u32>,
    /// osquery: Kind of route: unicast, local, broadcast, anycast, multicast, blackhole, unreachable,
    /// prohibit, throw, nat, or its number.
    r#type: String,
    /// osquery: Hop limit set for the route; null where none is set.
    hopcount: Option<u32>,
    /// Derived: Address family (2 inet, 10 inet6, 128 and 129 multicast of each, 28 mpls).
    family: u16,
    /// Derived: Routing table (254 main, 255 local).
    table: u32,
    /// Derived: Who made the route, as in `linux/rtnetlink.h` (2 kernel, 3 boot, 4 static, 16 dhcp, ...).
    protocol: u8,
    /// Derived: Scope of the destination (0 everywhere, 200 site, 253 link, 254 host).
    scope: u8,
    /// Derived: Network that packets must come from, with its length; null where any.
    source_network: Option<String>,
    /// Derived: Index of that interface.
    interface_index: Option<u32>,
    /// Derived: Number of the next hop object that the route uses; null where it uses none.
    nexthop_id: Option<u32>,
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
}

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;
const RTAX_HOPLIMIT: u16 = 10;

/// Captures the table.
pub(super) fn capture_routes(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_rtnetlink(capture, &["route", "ipv6_route"], &mut |capture, namespace, netlink| {
        let names = InterfaceNames::read(capture, namespace, netlink);
        let mut unreadable = 0;
        let mut written = Ok(());
        let end = netlink.dump(RTM_GETROUTE, &[0; 12], RTM_NEWROUTE, &mut |body| {
            match Route::parse(body) {
                Some(route) => {
                    written = route
                        .hops()
                        .iter()
                        .try_for_each(|hop| capture.row(&route.row(hop, &names, namespace.name())));
                }
                None => unreadable += 1,
            }
            if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
        });
        written?;
        note_dump(capture, namespace, "RTM_GETROUTE", end, unreadable);
        Ok(())
    })
}

/// `struct rtmsg` and the attributes behind it.
struct Route<'a> {
    header: &'a [u8; 8],
    flags: u32,
    attributes: &'a [u8],
}

/// One way a route may take.
struct NextHop<'a> {
    interface_index: Option<u32>,
    flags: u32,
    attributes: &'a [u8],
}

impl<'a> Route<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        Some(Self { header: body.first_chunk()?, flags: read_u32(body, 8)?, attributes: body.get(12..)? })
    }

    /// The next hops: those of a multipath attribute, or the route's own.
    fn hops(&self) -> Vec<NextHop<'a>> {
        let hops = attribute(self.attributes, RTA_MULTIPATH).map(multipath).unwrap_or_default();
        if !hops.is_empty() {
            return hops;
        }
        let interface_index = attribute(self.attributes, RTA_OIF).and_then(|value| read_u32(value, 0));
        vec![NextHop { interface_index, flags: 0, attributes: self.attributes }]
    }

    fn row(&self, hop: &NextHop<'_>, names: &InterfaceNames, net_namespace: String) -> RouteRow {
        let [family, destination_length, source_length, _, table, protocol, scope, kind] = *self.header;
        let number = |kind| attribute(self.attributes, kind).and_then(|value| read_u32(value, 0));
        let address = |kind| attribute(self.attributes, kind).and_then(ip_address);
        let metrics = attribute(self.attributes, RTA_METRICS).unwrap_or_default();
        let metric = |kind| attribute(metrics, kind).and_then(|value| read_u32(value, 0));
        let gateway = attribute(hop.attributes, RTA_GATEWAY)
            // A gateway of another family stands behind the number of that family.
            .or_else(|| attribute(hop.attributes, RTA_VIA).and_then(|via| via.get(2..)))
            .and_then(ip_address);
        let (interface, interface_raw) = optional(hop.interface_index.and_then(|index| names.name(index)));
        RouteRow {
            destination: destination(family, attribute(self.attributes, RTA_DST)),
            netmask: destination_length,
            gateway: gateway.map(|gateway| gateway.to_string()),
            source: address(RTA_PREFSRC).map(|source| source.to_string()),
            flags: self.flags | hop.flags,
            interface,
            interface_raw,
            mtu: metric(RTAX_MTU),
            metric: number(RTA_PRIORITY),
            r#type: kind_name(kind),
            hopcount: metric(RTAX_HOPLIMIT),
            family: u16::from(family),
            table: number(RTA_TABLE).unwrap_or_else(|| u32::from(table)),
            protocol,
            scope,
            source_network: address(RTA_SRC).map(|source| format!("{source}/{source_length}")),
            interface_index: hop.interface_index,
            nexthop_id: number(RTA_NH_ID),
            net_namespace,
        }
    }
}

/// `struct rtnexthop`, each with attributes of its own.
fn multipath(mut rest: &[u8]) -> Vec<NextHop<'_>> {
    let mut hops = Vec::new();
    while let Some(length) = read_u16(rest, 0).map(usize::from) {
        let (Some(attributes), Some(index), Some(flags)) =
            (rest.get(8..length), read_u32(rest, 4), rest.get(2))
        else {
            break;
        };
        hops.push(NextHop { interface_index: Some(index), flags: u32::from(*flags), attributes });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// `RTNL_FAMILY_IPMR` and `RTNL_FAMILY_IP6MR`: multicast routes of each version.
const MULTICAST: u16 = 128;
const MULTICAST6: u16 = 129;

fn destination(family: u8, bytes: Option<&[u8]>) -> String {
    let anywhere: IpAddr = match u16::from(family) {
        AF_INET | MULTICAST => Ipv4Addr::UNSPECIFIED.into(),
        AF_INET6 | MULTICAST6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return to_hexadecimal(bytes.unwrap_or_default()),
    };
    bytes.and_then(ip_address).unwrap_or(anywhere).to_string()
}

fn kind_name(kind: u8) -> String {
    const NAMES: [&str; 11] = [
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
        "xresolve",
    ];
    match usize::from(kind).checked_sub(1).and_then(|at| NAMES.get(at)) {
        Some(name) => (*name).to_owned(),
        None => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_route_messages_are_refused_and_never_panic() {
        let names = InterfaceNames::default();
        for length in 0..96 {
            for fill in [0, 1, 8, 9, 0xff] {
                let body = vec![fill; length];
                assert_eq!(Route::parse(&body).is_some(), length >= 12);
                if let Some(route) = Route::parse(&body) {
                    for hop in route.hops() {
                        route.row(&hop, &names, String::new());
                    }
                }
                multipath(&body);
            }
        }
    }

    #[test]
    fn destination_is_an_address_only_where_its_family_has_addresses() {
        assert_eq!(destination(129, None), "::");
        assert_eq!(destination(128, Some(&[224, 0, 0, 1])), "224.0.0.1");
        assert_eq!(destination(28, Some(&[0, 6, 65, 0])), "00064100");
    }

    #[test]
    fn route_through_a_next_hop_object_names_it() {
        let body = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 8, 0, 30, 0, 7, 0, 0, 0];
        let route = Route::parse(&body).unwrap();
        let row = route.row(&route.hops()[0], &InterfaceNames::default(), String::new());
        assert_eq!(row.nexthop_id, u32::from_ne_bytes([7, 0, 0, 0]).into());
    }

    #[test]
    fn each_hop_of_a_multipath_route_is_its_own_row() {
        let hop = |index: u8, gateway: u8| [16, 0, 0, 0, index, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, gateway];
        let hops = [hop(2, 1), hop(3, 254)].concat();
        let body = [&[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 36, 0, 9, 0][..], &hops].concat();
        let route = Route::parse(&body).unwrap();
        let rows: Vec<_> = route
            .hops()
            .iter()
            .map(|hop| route.row(hop, &InterfaceNames::default(), String::new()))
            .collect();
        let gateways: Vec<_> = rows.iter().map(|row| row.gateway.as_deref().unwrap()).collect();
        assert_eq!(gateways, ["192.0.2.1", "192.0.2.254"]);
        assert_eq!((rows[0].destination.as_str(), rows[0].r#type.as_str()), ("0.0.0.0", "unicast"));
    }
}
