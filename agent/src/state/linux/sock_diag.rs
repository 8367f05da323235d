//! Owns the asking of `sock_diag` for sockets; refuses to ask where the answer would make the kernel load a module.

use std::io;

use rustix::net::netlink::SOCK_DIAG;

use super::netlink::{DumpEnd, Netlink, attributes, ip_address, read_u16, read_u32};
use super::socket_text::{AF_INET, AF_INET6, AF_UNIX, Listing};
use super::sockets::{Socket, inet_state, socket_type};
use crate::source::{kernel_dir, kernel_text};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_UID: u16 = 7;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID`.
const UNIX_SHOW: u32 = 0x01 | 0x04 | 0x10 | 0x40;

/// Whether the kernel can answer for the sockets of `listing` without loading a module.
pub(super) fn answers(listing: &Listing) -> bool {
    match (listing.family, listing.protocol) {
        (AF_INET | AF_INET6, 6) => is_present("inet_diag") && is_present("tcp_diag"),
        (AF_INET | AF_INET6, 17) => is_present("inet_diag") && is_present("udp_diag"),
        (AF_UNIX, _) => is_present("unix_diag"),
        _ => false,
    }
}

/// Whether a module is loaded or built in, or cannot be loaded because the kernel loads none.
fn is_present(module: &str) -> bool {
    let loads_none = kernel_text("/proc/modules")
        .is_err_and(|reason| reason.kind() == io::ErrorKind::NotFound)
        || kernel_text("/proc/sys/kernel/modules_disabled").is_ok_and(|value| value.trim_ascii() == b"1");
    if loads_none || kernel_dir(&format!("/sys/module/{module}")).is_ok() {
        return true;
    }
    let uname = rustix::system::uname();
    let Ok(release) = uname.release().to_str() else { return false };
    let file = format!("/{module}.ko");
    !release.contains('/')
        && kernel_text(&format!("/lib/modules/{release}/modules.builtin"))
            .is_ok_and(|list| list.split(|byte| *byte == b'\n').any(|line| line.ends_with(file.as_bytes())))
}

/// Asks the kernel for the sockets of `listing` and hands each to `each`; `None` stands for a message that cannot be
/// read.
pub(super) fn dump_sockets(
    listing: &Listing,
    each: &mut dyn FnMut(Option<Socket>) -> io::Result<()>,
) -> io::Result<DumpEnd> {
    let mut netlink = Netlink::open(Some(SOCK_DIAG))?;
    if listing.family == AF_UNIX {
        return netlink.dump(SOCK_DIAG_BY_FAMILY, &unix_request(), SOCK_DIAG_BY_FAMILY, &mut |body| {
            each(parse_unix(body))
        });
    }
    let request = inet_request(listing);
    netlink
        .dump(SOCK_DIAG_BY_FAMILY, &request, SOCK_DIAG_BY_FAMILY, &mut |body| each(parse_inet(listing, body)))
}

/// `struct inet_diag_req_v2`: every state, any address.
fn inet_request(listing: &Listing) -> [u8; 56] {
    let mut request = [0; 56];
    request[0] = listing.family.to_le_bytes()[0];
    request[1] = listing.protocol.to_le_bytes()[0];
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

/// `struct inet_diag_msg`.
fn parse_inet(listing: &Listing, body: &[u8]) -> Option<Socket> {
    let family = u16::from(*body.first()?);
    let width = if family == AF_INET { 4 } else { 16 };
    let interface = read_u32(body, 40)?;
    Some(Socket {
        inode: u64::from(read_u32(body, 68)?),
        family,
        protocol: listing.protocol,
        local: ip_address(body.get(8..8 + width)?),
        remote: ip_address(body.get(24..24 + width)?),
        ports: Some((u16::from_be(read_u16(body, 4)?), u16::from_be(read_u16(body, 6)?))),
        state: Some(inet_state(listing.protocol, *body.get(1)?)),
        kind: Some(if listing.protocol == 6 { "stream" } else { "dgram" }.to_owned()),
        uid: Some(read_u32(body, 64)?),
        interface_index: (interface != 0).then_some(interface),
        receive_queue: Some(u64::from(read_u32(body, 56)?)),
        send_queue: Some(u64::from(read_u32(body, 60)?)),
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
                    assert!(length >= 16 || parse_unix(&body).is_none());
                    let _ = parse_unix(&body);
                }
            }
        }
    }

    #[test]
    fn abstract_name_keeps_every_nul_and_file_name_loses_its_last() {
        assert_eq!(unix_name(b"\0a\0b"), Some(b"\0a\0b".to_vec()));
        assert_eq!(unix_name(b"/run/x\0"), Some(b"/run/x".to_vec()));
        assert_eq!(unix_name(b""), None);
    }
}
