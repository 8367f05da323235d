//! Owns the reading of the socket listings in `/proc/net`; refuses lines that do not have the kernel's shape.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket_names::{inet_state, socket_type};
use super::sockets::Socket;
use super::text::{fields, hexadecimal, number};

/// One listing of sockets: a text in `/proc/net`, a question to `sock_diag`, or both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    /// The name of its text, or the protocol's where there is no text.
    pub(super) name: &'static str,
    /// The address family of its sockets.
    pub(super) family: u16,
    /// The protocol of its sockets, where the listing does not say it line by line.
    pub(super) protocol: u16,
    /// The modules that answer for it through `sock_diag`; none where only the text shows it.
    pub(super) answered_by: &'static [&'static str],
    /// Whether `/proc/net` has it as a text.
    pub(super) text: bool,
}

impl Listing {
    const fn of(
        name: &'static str,
        family: u16,
        protocol: u16,
        answered_by: &'static [&'static str],
    ) -> Self {
        Self { name, family, protocol, answered_by, text: true }
    }

    const fn without_text(self) -> Self {
        Self { text: false, ..self }
    }
}

/// Every listing that is read, the most volatile first.
pub(super) const LISTINGS: &[Listing] = &[
    Listing::of("tcp", AF_INET, 6, &["inet_diag", "tcp_diag"]),
    Listing::of("tcp6", AF_INET6, 6, &["inet_diag", "tcp_diag"]),
    Listing::of("mptcp", AF_INET, MPTCP, &["inet_diag", "mptcp_diag"]).without_text(),
    Listing::of("mptcp6", AF_INET6, MPTCP, &["inet_diag", "mptcp_diag"]).without_text(),
    Listing::of("udp", AF_INET, 17, &["inet_diag", "udp_diag"]),
    Listing::of("udp6", AF_INET6, 17, &["inet_diag", "udp_diag"]),
    Listing::of("raw", AF_INET, RAW, &["inet_diag", "raw_diag"]),
    Listing::of("raw6", AF_INET6, RAW, &["inet_diag", "raw_diag"]),
    Listing::of("unix", AF_UNIX, 0, &["unix_diag"]),
    Listing::of("packet", AF_PACKET, 0, &["af_packet_diag"]),
    Listing::of("netlink", AF_NETLINK, 0, &["netlink_diag"]),
    Listing::of("vsock", AF_VSOCK, 0, &["vsock_diag"]).without_text(),
    Listing::of("icmp", AF_INET, 1, &[]),
    Listing::of("icmp6", AF_INET6, 58, &[]),
    Listing::of("udplite", AF_INET, 136, &[]),
    Listing::of("udplite6", AF_INET6, 136, &[]),
];

/// `IPPROTO_RAW`: sockets of any protocol, each of which its listing says.
pub(super) const RAW: u16 = 255;
/// `IPPROTO_MPTCP`.
pub(super) const MPTCP: u16 = 262;

pub(super) const AF_UNIX: u16 = 1;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
pub(super) const AF_NETLINK: u16 = 16;
pub(super) const AF_PACKET: u16 = 17;
pub(super) const AF_VSOCK: u16 = 40;

/// Reads one line of a listing; nothing where it does not have the kernel's shape.
pub(super) fn parse_line(listing: &Listing, line: &[u8]) -> Option<Socket> {
    match listing.family {
        AF_UNIX => parse_unix(line),
        AF_PACKET => parse_packet(line),
        AF_NETLINK => parse_netlink(line),
        _ => parse_inet(listing, line),
    }
}

/// `sl local rem st tx:rx tr:when retransmit uid timeout inode ...`
fn parse_inet(listing: &Listing, line: &[u8]) -> Option<Socket> {
    let mut columns = fields(line);
    columns.next()?.strip_suffix(b":")?;
    let (local_address, local_port) = parse_endpoint(columns.next()?)?;
    let (remote_address, remote_port) = parse_endpoint(columns.next()?)?;
    let state = u8::try_from(hexadecimal(columns.next()?)?).ok()?;
    let (send, receive) = parse_pair(columns.next()?)?;
    let uid = columns.nth(2).and_then(number)?;
    let inode = columns.nth(1).and_then(number)?;
    // A raw socket's protocol stands where others have their port.
    let (protocol, ports) = match listing.protocol {
        RAW => (local_port, None),
        protocol => (protocol, Some((local_port.into(), remote_port.into()))),
    };
    Some(Socket {
        inode,
        family: listing.family,
        protocol,
        local: Some(local_address.to_string()),
        remote: Some(remote_address.to_string()),
        ports,
        state: Some(inet_state(protocol, state)),
        kind: Some(match listing.protocol {
            6 => "stream".to_owned(),
            RAW => "raw".to_owned(),
            _ => "dgram".to_owned(),
        }),
        uid: Some(uid),
        receive_queue: Some(receive),
        send_queue: Some(send),
        ..Socket::default()
    })
}

/// An address as 32-bit words in the host's byte order, and a port.
fn parse_endpoint(field: &[u8]) -> Option<(IpAddr, u16)> {
    let (address, port) = field.split_at_checked(field.iter().position(|byte| *byte == b':')?)?;
    let port = u16::try_from(hexadecimal(port.strip_prefix(b":")?)?).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in address.chunks(8) {
        bytes.extend_from_slice(&u32::try_from(hexadecimal(word)?).ok()?.to_ne_bytes());
    }
    let address = match (
        address.len(),
        <[u8; 4]>::try_from(bytes.as_slice()),
        <[u8; 16]>::try_from(bytes.as_slice()),
    ) {
        (8, Ok(four), _) => Ipv4Addr::from(four).into(),
        (32, _, Ok(sixteen)) => Ipv6Addr::from(sixteen).into(),
        _ => return None,
    };
    Some((address, port))
}

fn parse_pair(field: &[u8]) -> Option<(u64, u64)> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    Some((hexadecimal(&field[..colon])?, hexadecimal(&field[colon + 1..])?))
}

/// `Num: RefCount Protocol Flags Type St Inode Path`, the path to the end of the line.
fn parse_unix(line: &[u8]) -> Option<Socket> {
    let mut columns = fields(line);
    columns.next()?.strip_suffix(b":")?;
    let flags = columns.nth(2).and_then(hexadecimal)?;
    let kind = columns.next().and_then(hexadecimal)?;
    let state = columns.next().and_then(hexadecimal)?;
    let inode = columns.next()?;
    let rest = line.get(inode.as_ptr().addr() - line.as_ptr().addr() + inode.len()..)?;
    // SO_ACCEPTCON, the mark of a listening socket.
    let state = match (flags & 0x1_0000 != 0, state) {
        (true, _) => "LISTEN",
        (_, 1) => "UNCONNECTED",
        (_, 2) => "CONNECTING",
        (_, 3) => "ESTABLISHED",
        (_, 4) => "DISCONNECTING",
        _ => "UNKNOWN",
    };
    Some(Socket {
        inode: number(inode)?,
        family: AF_UNIX,
        path: rest.strip_prefix(b" ").filter(|path| !path.is_empty()).map(<[u8]>::to_vec),
        state: Some(state.to_owned()),
        kind: Some(socket_type(kind)),
        ..Socket::default()
    })
}

/// `sk RefCnt Type Proto Iface R Rmem User Inode`
fn parse_packet(line: &[u8]) -> Option<Socket> {
    let mut columns = fields(line);
    let kind = columns.nth(2).and_then(number)?;
    let protocol = u16::try_from(hexadecimal(columns.next()?)?).ok()?;
    let interface: u32 = columns.next().and_then(number)?;
    let receive = columns.nth(1).and_then(number)?;
    let uid = columns.next().and_then(number)?;
    Some(Socket {
        inode: columns.next().and_then(number)?,
        family: AF_PACKET,
        protocol,
        kind: Some(socket_type(kind)),
        uid: Some(uid),
        interface_index: (interface != 0).then_some(interface),
        receive_queue: Some(receive),
        ..Socket::default()
    })
}

/// `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`
fn parse_netlink(line: &[u8]) -> Option<Socket> {
    let mut columns = fields(line);
    let protocol = columns.nth(1).and_then(number)?;
    let receive = columns.nth(2).and_then(number)?;
    let send = columns.next().and_then(number)?;
    Some(Socket {
        inode: columns.nth(3).and_then(number)?,
        family: AF_NETLINK,
        protocol,
        kind: Some("raw".to_owned()),
        receive_queue: Some(receive),
        send_queue: Some(send),
        ..Socket::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &[u8] = b"   1: 0100007F:1F90 0200007F:C350 01 00000002:00000003 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0";

    fn listing(name: &str) -> &'static Listing {
        LISTINGS.iter().find(|listing| listing.name == name).unwrap()
    }

    #[test]
    fn tcp_line_gives_both_ends_in_network_order() {
        let socket = parse_line(listing("tcp"), TCP).unwrap();
        assert_eq!(socket.inode, 4711);
        assert_eq!(socket.local.as_deref(), Some("127.0.0.1"));
        assert_eq!(socket.remote.as_deref(), Some("127.0.0.2"));
        assert_eq!(socket.ports, Some((8080, 50000)));
        assert_eq!(socket.state.as_deref(), Some("ESTABLISHED"));
        assert_eq!((socket.uid, socket.send_queue, socket.receive_queue), (Some(1000), Some(2), Some(3)));
    }

    #[test]
    fn ipv6_address_is_read_word_by_word() {
        let line = b"0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1";
        let socket = parse_line(listing("tcp6"), line).unwrap();
        assert_eq!(socket.local.as_deref(), Some("::1"));
        assert_eq!(socket.state.as_deref(), Some("LISTEN"));
    }

    #[test]
    fn raw_socket_has_its_protocol_and_no_port() {
        let line = b"1: 00000000:003A 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 12 2 0 0";
        let socket = parse_line(listing("raw"), line).unwrap();
        assert_eq!((socket.protocol, socket.ports), (58, None));
    }

    #[test]
    fn unix_path_keeps_its_spaces_and_bytes() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 77 /run/a b\xff ";
        let socket = parse_line(listing("unix"), line).unwrap();
        assert_eq!(socket.path.as_deref(), Some(&b"/run/a b\xff "[..]));
        assert_eq!(socket.state.as_deref(), Some("LISTEN"));
    }

    #[test]
    fn packet_and_netlink_lines_give_their_protocol() {
        let packet = parse_line(listing("packet"), b"ffff 3 3 0003 2 1 0 1000 99").unwrap();
        assert_eq!((packet.inode, packet.protocol, packet.interface_index), (99, 3, Some(2)));
        let netlink =
            parse_line(listing("netlink"), b"000000007bd8b69f 15 812 00000001 5 6 0 2 0 4").unwrap();
        assert_eq!((netlink.inode, netlink.protocol, netlink.receive_queue), (4, 15, Some(5)));
    }

    #[test]
    fn every_cut_and_every_garbage_byte_is_refused_or_read_but_never_panics() {
        for listing in LISTINGS {
            for end in 0..TCP.len() {
                let _ = parse_line(listing, &TCP[..end]);
                for byte in [0, b' ', b':', b'\\', 0xff] {
                    let mut garbage = TCP.to_vec();
                    garbage[end] = byte;
                    let _ = parse_line(listing, &garbage);
                }
            }
        }
    }
}
