//! Owns the asking of `sock_diag` for sockets; refuses to ask where the answer would make the kernel load a module.

use std::io;

use super::module_presence::Presence;
use super::netlink::{DumpEnd, Netlink, attribute, attributes, ip_address, read_u16, read_u32};
use super::socket_names::{inet_state, socket_type};
use super::socket_text::{AF_INET, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, Listing, MPTCP, RAW};
use super::sockets::Socket;
use crate::source::kernel_dir;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET_DIAG_PROTOCOL: u16 = 10;
const PACKET_DIAG_INFO: u16 = 0;
const PACKET_DIAG_UID: u16 = 5;
const PACKET_DIAG_MEMINFO: u16 = 6;
const PACKET_DIAG_FILTER: u16 = 7;
/// `PACKET_SHOW_INFO | PACKET_SHOW_MEMINFO | PACKET_SHOW_FILTER`.
const PACKET_SHOW: u32 = 0x01 | 0x10 | 0x20;
const NETLINK_DIAG_MEMINFO: u16 = 0;
/// `NDIAG_SHOW_MEMINFO`.
const NETLINK_SHOW_MEMORY: u32 = 0x01;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_UID: u16 = 7;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID`.
const UNIX_SHOW: u32 = 0x01 | 0x04 | 0x10 | 0x40;

/// Whether the kernel can answer for the sockets of `listing` without loading a module.
///
/// # Errors
///
/// As [`Presence::has_all`].
pub(super) fn answers(listing: &Listing, presence: &Presence) -> io::Result<bool> {
    // Older kernels would take the question for multipath TCP as one for raw sockets.
    if listing.answered_by.is_empty()
        || (listing.protocol == MPTCP && kernel_dir("/proc/sys/net/mptcp").is_err())
    {
        return Ok(false);
    }
    presence.has_all(listing.answered_by)
}

/// Asks the kernel through a `sock_diag` socket for the sockets of `listing` and hands each to `each`; `None` stands for
/// a message that cannot be read.
pub(super) fn dump_sockets(
    netlink: &mut Netlink,
    listing: &Listing,
    each: &mut dyn FnMut(Option<Socket>) -> io::Result<()>,
) -> io::Result<DumpEnd> {
    let request = match listing.family {
        AF_UNIX => unix_request().to_vec(),
        AF_PACKET => short_request(listing, 0, PACKET_SHOW).to_vec(),
        AF_NETLINK => short_request(listing, 0xff, NETLINK_SHOW_MEMORY).to_vec(),
        AF_VSOCK => vsock_request().to_vec(),
        _ => inet_request(listing),
    };
    netlink.dump(SOCK_DIAG_BY_FAMILY, &request, SOCK_DIAG_BY_FAMILY, &mut |body| {
        each(match listing.family {
            AF_UNIX => parse_unix(body),
            AF_PACKET => parse_packet(body),
            AF_NETLINK => parse_netlink(body),
            AF_VSOCK => parse_vsock(body),
            _ => parse_inet(listing, body),
        })
    })
}

/// `struct inet_diag_req_v2`: every state, any address.
fn inet_request(listing: &Listing) -> Vec<u8> {
    let mut request = vec![0; 56];
    request[0] = listing.family.to_le_bytes()[0];
    // A protocol past one byte stands in an attribute behind the request.
    request[1] = u8::try_from(listing.protocol).unwrap_or(RAW.to_le_bytes()[0]);
    request[4..8].fill(0xff);
    if listing.protocol > RAW {
        request.extend_from_slice(&8u16.to_ne_bytes());
        request.extend_from_slice(&INET_DIAG_REQ_PROTOCOL.to_ne_bytes());
        request.extend_from_slice(&u32::from(listing.protocol).to_ne_bytes());
    }
    request
}

/// `struct packet_diag_req` and `struct netlink_diag_req`, which are alike: any inode.
fn short_request(listing: &Listing, protocol: u8, show: u32) -> [u8; 20] {
    let mut request = [0; 20];
    request[0] = listing.family.to_le_bytes()[0];
    request[1] = protocol;
    request[8..12].copy_from_slice(&show.to_ne_bytes());
    request
}

/// `struct vsock_diag_req`: every state.
fn vsock_request() -> [u8; 24] {
    let mut request = [0; 24];
    request[0] = AF_VSOCK.to_le_bytes()[0];
    request[4..8].fill(0xff);
    request
}

/// `struct unix_diag_req`: every state, any inode.
fn unix_request() -> [u8; 24] {
    let mut request = [0; 24];
    request[0] = AF_UNIX.to_le_bytes()[0];
    request[4..8].fill(0xff);
    request[12..16].copy_from_slice(&UNIX_SHOW.to_ne_bytes());
    request
}

/// `struct inet_diag_msg` and its attributes.
fn parse_inet(listing: &Listing, body: &[u8]) -> Option<Socket> {
    let family = u16::from(*body.first()?);
    let width = if family == AF_INET { 4 } else { 16 };
    let interface = read_u32(body, 40)?;
    let address = |at: usize| Some(ip_address(body.get(at..at + width)?)?.to_string());
    let port = |at| Some(u32::from(u16::from_be(read_u16(body, at)?)));
    let (local, remote) = (address(8)?, address(24)?);
    let own_protocol = attribute(body.get(72..)?, INET_DIAG_PROTOCOL).and_then(|value| value.first());
    let (protocol, ports, kind) = match (listing.protocol, own_protocol) {
        (RAW, own) => (own.map_or(RAW, |own| u16::from(*own)), None, "raw"),
        // A raw socket in the answer of a kernel that did not understand the question.
        (MPTCP, Some(_)) => return None,
        (17, _) => (17, Some((port(4)?, port(6)?)), "dgram"),
        (protocol, _) => (protocol, Some((port(4)?, port(6)?)), "stream"),
    };
    Some(Socket {
        inode: u64::from(read_u32(body, 68)?),
        family,
        protocol,
        local: Some(local),
        remote: Some(remote),
        ports,
        state: Some(inet_state(protocol, *body.get(1)?)),
        kind: Some(kind.to_owned()),
        uid: Some(read_u32(body, 64)?),
        interface_index: (interface != 0).then_some(interface),
        receive_queue: Some(u64::from(read_u32(body, 56)?)),
        send_queue: Some(u64::from(read_u32(body, 60)?)),
        ..Socket::default()
    })
}

/// `struct packet_diag_msg` and its attributes.
fn parse_packet(body: &[u8]) -> Option<Socket> {
    let mut socket = Socket {
        inode: u64::from(read_u32(body, 4)?),
        family: AF_PACKET,
        protocol: read_u16(body, 2)?,
        kind: Some(socket_type(u64::from(*body.get(1)?))),
        ..Socket::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            PACKET_DIAG_INFO => socket.interface_index = read_u32(value, 0).filter(|index| *index != 0),
            PACKET_DIAG_UID => socket.uid = read_u32(value, 0),
            PACKET_DIAG_MEMINFO => socket.receive_queue = read_u32(value, 0).map(u64::from),
            PACKET_DIAG_FILTER if !value.is_empty() => socket.filter = Some(value.to_vec()),
            _ => {}
        }
    }
    Some(socket)
}

/// `struct netlink_diag_msg` and its attributes.
fn parse_netlink(body: &[u8]) -> Option<Socket> {
    let memory = attribute(body.get(28..)?, NETLINK_DIAG_MEMINFO).unwrap_or_default();
    Some(Socket {
        inode: u64::from(read_u32(body, 16)?),
        family: AF_NETLINK,
        protocol: u16::from(*body.get(2)?),
        kind: Some(socket_type(u64::from(*body.get(1)?))),
        receive_queue: read_u32(memory, 0).map(u64::from),
        send_queue: read_u32(memory, 8).map(u64::from),
        ..Socket::default()
    })
}

/// `struct vsock_diag_msg`; the states are those of TCP.
fn parse_vsock(body: &[u8]) -> Option<Socket> {
    let _whole: &[u8; 32] = body.first_chunk()?;
    let context = |at| read_u32(body, at).map(|context| context.to_string());
    Some(Socket {
        inode: u64::from(read_u32(body, 20)?),
        family: AF_VSOCK,
        local: context(4),
        remote: context(12),
        ports: Some((read_u32(body, 8)?, read_u32(body, 16)?)),
        state: Some(inet_state(6, *body.get(2)?)),
        kind: Some(socket_type(u64::from(*body.get(1)?))),
        ..Socket::default()
    })
}

/// `struct unix_diag_msg` and its attributes.
fn parse_unix(body: &[u8]) -> Option<Socket> {
    let state = match *body.get(2)? {
        1 => "ESTABLISHED",
        7 => "UNCONNECTED",
        10 => "LISTEN",
        _ => "UNKNOWN",
    };
    let mut socket = Socket {
        inode: u64::from(read_u32(body, 4)?),
        family: AF_UNIX,
        state: Some(state.to_owned()),
        kind: Some(socket_type(u64::from(*body.get(1)?))),
        ..Socket::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            UNIX_DIAG_NAME => socket.path = unix_name(value),
            UNIX_DIAG_PEER => socket.peer = read_u32(value, 0).map(u64::from),
            UNIX_DIAG_RQLEN => {
                socket.receive_queue = read_u32(value, 0).map(u64::from);
                socket.send_queue = read_u32(value, 4).map(u64::from);
            }
            UNIX_DIAG_UID => socket.uid = read_u32(value, 0),
            _ => {}
        }
    }
    Some(socket)
}

/// A file name may be followed by a NUL that is not part of it; an abstract name begins with one that is.
fn unix_name(value: &[u8]) -> Option<Vec<u8>> {
    let name = if value.first() == Some(&0) { value } else { super::netlink::until_nul(value) };
    (!name.is_empty()).then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::linux::socket_text::LISTINGS;

    #[test]
    fn truncated_messages_are_refused_and_never_panic() {
        for listing in LISTINGS {
            for length in 0..128 {
                for fill in [0, 1, 2, 0xff] {
                    let body = vec![fill; length];
                    assert!(length >= 72 || parse_inet(listing, &body).is_none());
                    assert_eq!(length >= 16, parse_unix(&body).is_some());
                    assert_eq!(length >= 16, parse_packet(&body).is_some());
                    assert_eq!(length >= 28, parse_netlink(&body).is_some());
                    assert_eq!(length >= 32, parse_vsock(&body).is_some());
                }
            }
        }
    }

    #[test]
    fn vsock_message_gives_both_ends_as_context_and_port() {
        let numbers = [3u32, 1024, 2, 4_000_000_000, 77, 0, 0].map(u32::to_ne_bytes).concat();
        let socket = parse_vsock(&[&[40, 1, 10, 0][..], &numbers].concat()).unwrap();
        assert_eq!((socket.local.as_deref(), socket.remote.as_deref()), (Some("3"), Some("2")));
        assert_eq!((socket.ports, socket.inode), (Some((1024, 4_000_000_000)), 77));
        assert_eq!((socket.state.as_deref(), socket.kind.as_deref()), (Some("LISTEN"), Some("stream")));
    }

    #[test]
    fn raw_socket_has_the_protocol_its_attribute_says_and_is_no_multipath_one() {
        let raw = LISTINGS.iter().find(|listing| listing.name == "raw").unwrap();
        let mptcp = LISTINGS.iter().find(|listing| listing.name == "mptcp").unwrap();
        let mut body = vec![0; 72];
        body[0..2].copy_from_slice(&[2, 7]);
        body.extend_from_slice(&[5, 0, 10, 0, 1, 0, 0, 0]);
        let socket = parse_inet(raw, &body).unwrap();
        assert_eq!((socket.protocol, socket.ports, socket.kind.as_deref()), (1, None, Some("raw")));
        assert_eq!(parse_inet(mptcp, &body), None);
        assert_eq!(parse_inet(mptcp, &body[..72]).unwrap().protocol, MPTCP);
    }

    #[test]
    fn abstract_name_keeps_every_nul_and_file_name_loses_its_last() {
        assert_eq!(unix_name(b"\0a\0b"), Some(b"\0a\0b".to_vec()));
        assert_eq!(unix_name(b"/run/x\0"), Some(b"/run/x".to_vec()));
        assert_eq!(unix_name(b""), None);
    }
}
