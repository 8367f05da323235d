//! Owns the table of sockets and their processes; refuses to leave out a socket because one of its two views is silent.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::net::netlink::SOCK_DIAG;
use serde::Serialize;

use super::module_presence::Presence;
use super::netlink::{Netlink, until_nul};
use super::network_namespaces::{NetworkNamespace, not_entered};
use super::process_folders::{has_ended, keep_small};
use super::sock_diag;
use super::socket_owners::{Held, SocketOwners};
use super::socket_text::{LISTINGS, Listing, parse_line};
use super::text::{text, text_showing};
use crate::source::{KernelFolder, each_line, open_kernel_file};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "process_open_sockets",
    about: "Every socket of every network namespace with the processes that hold it, and sockets nothing holds.",
    sources: &[
        "netlink sock_diag",
        "/proc/net/{tcp,tcp6,udp,udp6,udplite,udplite6,raw,raw6,icmp,icmp6,unix,packet,netlink}",
        "/proc/<pid>/net/*",
        "/proc/<pid>/fd",
        "every network namespace",
    ],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_sockets,
};

/// One socket as held by one file descriptor of one process, or by none that was found.
#[derive(Serialize)]
struct SocketRow {
    /// osquery: Process that holds the socket; null where no process was found to hold it.
    pid: Option<u32>,
    /// osquery: File descriptor number in that process; null with `pid`.
    fd: Option<u32>,
    /// osquery: Socket inode number; 0 for sockets that no longer belong to a descriptor, such as TIME_WAIT.
    socket: u64,
    /// osquery: Address family as in `sys/socket.h` (1 unix, 2 inet, 10 inet6, 16 netlink, 17 packet, 40 vsock); null
    /// where a process holds a socket that no listing shows.
    family: Option<u16>,
    /// osquery: Transport protocol (6 tcp, 17 udp, 262 mptcp, ...); for packet sockets the EtherType, for netlink the
    /// netlink protocol, for unix 0; null where unknown.
    protocol: Option<u16>,
    /// osquery: Local IP address, of a vsock its context id; null for families without one.
    local_address: Option<String>,
    /// osquery: Remote IP address, of a vsock its context id; null for families without one.
    remote_address: Option<String>,
    /// osquery: Local port; null for families without ports and for raw sockets.
    local_port: Option<u32>,
    /// osquery: Remote port; null for families without ports and for raw sockets.
    remote_port: Option<u32>,
    /// osquery: Unix socket name; each NUL byte, such as the first of an abstract name, is shown as `@`. Null
    /// for unnamed sockets and other families.
    path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: Connection state in the kernel's words (LISTEN, ESTABLISHED, UNCONNECTED, ...); null where
    /// the family has none.
    state: Option<String>,
    /// osquery: Inode number of the network namespace the listing belongs to; null where no listing shows the
    /// socket.
    net_namespace: Option<String>,
    /// Derived: Socket type (stream, dgram, raw, seqpacket, ...); null where unknown.
    r#type: Option<String>,
    /// Derived: User id the kernel notes as the socket's owner; null where the listing has none.
    uid: Option<u32>,
    /// Derived: Inode of the unix socket at the other end; null where there is none or the listing does not
    /// tell.
    peer: Option<u64>,
    /// Derived: Index of the interface the socket is bound to; null where it is bound to none.
    interface_index: Option<u32>,
    /// Derived: Bytes waiting to be read, or for a listening socket connections waiting; null where unknown.
    receive_queue: Option<u64>,
    /// Derived: Bytes waiting to be sent, or for a listening socket the backlog; null where unknown.
    send_queue: Option<u64>,
    /// Derived: Base64 of the classic BPF program that chooses the packets of a packet socket (`struct sock_filter`
    /// each); null where none or the listing does not tell.
    filter: Option<String>,
    /// Derived: Protocol in the kernel's word (AF_VSOCK, ALG, TCP, XDP, ...) of a socket that only a descriptor shows;
    /// null for the others, and where it was closed meanwhile.
    protocol_name: Option<String>,
    /// Derived: Where the socket was seen: `sock_diag`, `/proc/net/...` of that namespace, `/proc/<pid>/net/...`
    /// where it could not be entered, or `descriptor` where only a process's descriptor shows it.
    listed_by: String,
}

/// A socket as one of the listings shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) inode: u64,
    pub(super) family: u16,
    pub(super) protocol: u16,
    pub(super) local: Option<String>,
    pub(super) remote: Option<String>,
    pub(super) ports: Option<(u32, u32)>,
    pub(super) path: Option<Vec<u8>>,
    pub(super) state: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) peer: Option<u64>,
    pub(super) interface_index: Option<u32>,
    pub(super) receive_queue: Option<u64>,
    pub(super) send_queue: Option<u64>,
    pub(super) filter: Option<Vec<u8>>,
}

/// Captures the table: raw listings first, then who holds what, then the sockets of every network namespace, then the
/// descriptors that no listing explains.
pub(super) fn capture_sockets(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for listing in LISTINGS.iter().filter(|listing| listing.text) {
        keep_small(capture, &format!("/proc/net/{}", listing.name));
    }
    let (mut owners, namespaces) = SocketOwners::find(capture)?;
    let presence = Presence::read();
    let mut answered = Vec::new();
    for listing in LISTINGS {
        answered.push(sock_diag::answers(listing, &presence).unwrap_or_else(|reason| {
            // Where there is a text it is read instead.
            if !listing.text {
                capture.gap(format!("sock_diag {}: not asked", listing.name), &reason);
            }
            false
        }));
    }
    for namespace in &namespaces {
        capture.go_on()?;
        let mut netlink = match namespace.netlink(Some(SOCK_DIAG)) {
            Ok(netlink) => Some(netlink),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => {
                not_entered(capture, namespace, &reason);
                continue;
            }
            // What needs no entering is still listed.
            Err(reason) => {
                not_entered(capture, namespace, &reason);
                None
            }
        };
        for (listing, answered) in LISTINGS.iter().zip(&answered) {
            let asked = netlink.as_mut().filter(|_| *answered);
            list(capture, &mut owners, namespace, asked, listing)?;
        }
    }
    list_descriptors(capture, &owners)
}

/// Lists the descriptors whose socket no listing has shown.
fn list_descriptors(capture: &mut TableCapture<'_>, owners: &SocketOwners) -> io::Result<()> {
    let mut without_module = 0u64;
    for held in owners.unlisted() {
        let socket = Socket { inode: held.inode, ..Socket::default() };
        let mut row = row(&socket, Some(held), None, "descriptor");
        // A process that ended, or a descriptor that was closed, tells nothing any more.
        let protocol = KernelFolder::of_process(held.pid)
            .and_then(|process| process.socket_protocol(held.fd, held.inode))
            .ok();
        row.protocol_name = protocol.map(|name| text(until_nul(&name)).0);
        without_module += u64::from(row.protocol_name.as_deref() == Some("AF_VSOCK"));
        capture.row(&row)?;
    }
    if without_module > 0 {
        let reason = format!("the kernel has no listing of them: of {without_module} only descriptors show");
        capture.gap("sock_diag vsock", &io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    Ok(())
}

/// Lists one kind of socket of one namespace, through `sock_diag` where that was opened there and answers, else through
/// the text.
fn list(
    capture: &mut TableCapture<'_>,
    owners: &mut SocketOwners,
    namespace: &NetworkNamespace,
    netlink: Option<&mut Netlink>,
    listing: &Listing,
) -> io::Result<()> {
    if let Some(netlink) = netlink
        && list_asking(capture, owners, namespace, netlink, listing)?
    {
        return Ok(());
    }
    if listing.text { list_text(capture, owners, namespace, listing) } else { Ok(()) }
}

/// False where the kernel does not answer at all.
fn list_asking(
    capture: &mut TableCapture<'_>,
    owners: &mut SocketOwners,
    namespace: &NetworkNamespace,
    netlink: &mut Netlink,
    listing: &Listing,
) -> io::Result<bool> {
    let subject = format!("sock_diag {} of network namespace {}", listing.name, namespace.inode);
    let mut sockets = 0u64;
    let mut unreadable = 0u64;
    let mut written = Ok(());
    let end = sock_diag::dump_sockets(netlink, listing, &mut |socket| {
        let Some(socket) = socket else {
            unreadable += 1;
            return Ok(());
        };
        sockets += 1;
        written = write_rows(capture, owners, &socket, namespace, "sock_diag");
        // The message is lost on the way through the dump; `written` keeps the reason.
        if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    });
    written?;
    match end {
        Ok(end) => {
            unreadable += end.malformed;
            if end.interrupted {
                capture.gap(&subject, &io::Error::other("the list changed while it was dumped"));
            }
        }
        // Without a text only the kernel's word that it has no such sockets is an answer.
        Err(reason) if sockets == 0 && (listing.text || has_ended(&reason)) => return Ok(false),
        Err(reason) => capture.gap(&subject, &reason),
    }
    note_unreadable(capture, &subject, unreadable);
    Ok(true)
}

/// Lists through the text, read inside the namespace or, where that was refused, through a process that lives in it.
fn list_text(
    capture: &mut TableCapture<'_>,
    owners: &mut SocketOwners,
    namespace: &NetworkNamespace,
    listing: &Listing,
) -> io::Result<()> {
    let mut path = format!("/proc/net/{}", listing.name);
    let opened = namespace.text(listing.name).or_else(|reason| {
        // A kernel without the protocol has no such text.
        if has_ended(&reason) {
            return Err(reason);
        }
        let pid = namespace.living_process().ok_or(reason)?;
        path = format!("/proc/{pid}/net/{}", listing.name);
        open_kernel_file(&path)
    });
    let mut heading = true;
    let mut unreadable = 0;
    let mut written = Ok(());
    let end = opened.and_then(|file| {
        each_line(file, &mut |line| {
            if std::mem::take(&mut heading) || line.is_empty() {
                return Ok(());
            }
            match parse_line(listing, line) {
                Some(socket) => written = write_rows(capture, owners, &socket, namespace, &path),
                None => unreadable += 1,
            }
            if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
        })
    });
    written?;
    let subject = format!("{path} of network namespace {}", namespace.inode);
    match end {
        Ok(too_long) => unreadable += too_long,
        Err(reason) if has_ended(&reason) => {}
        Err(reason) => capture.gap(&subject, &reason),
    }
    note_unreadable(capture, &subject, unreadable);
    Ok(())
}

fn note_unreadable(capture: &mut TableCapture<'_>, subject: &str, unreadable: u64) {
    if unreadable > 0 {
        let reason = io::Error::new(io::ErrorKind::InvalidData, format!("{unreadable} entries unreadable"));
        capture.gap(subject, &reason);
    }
}

fn write_rows(
    capture: &mut TableCapture<'_>,
    owners: &mut SocketOwners,
    socket: &Socket,
    namespace: &NetworkNamespace,
    listed_by: &str,
) -> io::Result<()> {
    let namespace = namespace.inode;
    let holders = if socket.inode == 0 { &[] } else { owners.holders(socket.inode) };
    if holders.is_empty() {
        return capture.row(&row(socket, None, Some(namespace), listed_by));
    }
    holders.iter().try_for_each(|held| capture.row(&row(socket, Some(held), Some(namespace), listed_by)))
}

fn row(socket: &Socket, held: Option<&Held>, namespace: Option<u64>, listed_by: &str) -> SocketRow {
    let path = socket.path.as_deref().map(|path| text_showing(path, path, "@"));
    let (path, path_raw) = path.map_or((None, None), |(shown, raw)| (Some(shown), raw));
    // Without a namespace no listing has shown it, and nothing but its holder is known.
    let listed = namespace.is_some();
    SocketRow {
        pid: held.map(|held| held.pid),
        fd: held.map(|held| held.fd),
        socket: socket.inode,
        family: listed.then_some(socket.family),
        protocol: listed.then_some(socket.protocol),
        local_address: socket.local.clone(),
        remote_address: socket.remote.clone(),
        local_port: socket.ports.map(|ports| ports.0),
        remote_port: socket.ports.map(|ports| ports.1),
        path,
        path_raw,
        state: socket.state.clone(),
        net_namespace: namespace.map(|namespace| namespace.to_string()),
        r#type: socket.kind.clone(),
        uid: socket.uid,
        peer: socket.peer,
        interface_index: socket.interface_index,
        receive_queue: socket.receive_queue,
        send_queue: socket.send_queue,
        filter: socket.filter.as_ref().map(|filter| STANDARD.encode(filter)),
        protocol_name: None,
        listed_by: listed_by.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_without_holder_has_no_process_and_is_still_a_row() {
        let socket = Socket { inode: 9, family: 2, protocol: 6, ..Socket::default() };
        let row = serde_json::to_value(row(&socket, None, Some(1), "sock_diag")).unwrap();
        assert_eq!(row["pid"], serde_json::Value::Null);
        assert_eq!(row["socket"], 9);
        assert_eq!(row["family"], 2);
    }

    #[test]
    fn abstract_name_is_shown_with_at_sign_and_kept_raw() {
        let socket = Socket { path: Some(b"\0bus".to_vec()), ..Socket::default() };
        let row = row(&socket, None, Some(1), "sock_diag");
        assert_eq!(row.path.as_deref(), Some("@bus"));
        assert_eq!(row.path_raw.as_deref(), Some("AGJ1cw=="));
    }

    #[test]
    fn both_views_show_the_same_listening_sockets() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let unix = std::os::unix::net::UnixListener::bind(folder.path().join("s p")).unwrap();
        let mut netlink = Netlink::open(None).unwrap();
        // The kernel lists a netlink socket once it has sent something.
        netlink.dump(18, &[0; 16], 16, &mut |_| Ok(())).unwrap();
        let sockets = [
            ("tcp", tcp.as_raw_fd()),
            ("udp6", udp.as_raw_fd()),
            ("unix", unix.as_raw_fd()),
            ("netlink", netlink.as_raw_fd()),
        ];
        for (name, fd) in sockets {
            let listing = LISTINGS.iter().find(|listing| listing.name == name).unwrap();
            if !sock_diag::answers(listing, &Presence::read()).unwrap() {
                continue;
            }
            let link = crate::source::kernel_link(&format!("/proc/self/fd/{fd}")).unwrap();
            let inode = crate::state::linux::text::bracketed(&link, b"socket").unwrap();
            let mut views = Vec::new();
            let mut keep = |socket: Option<Socket>| {
                views.extend(socket.filter(|socket| socket.inode == inode));
                Ok(())
            };
            sock_diag::dump_sockets(&mut Netlink::open(Some(SOCK_DIAG)).unwrap(), listing, &mut keep)
                .unwrap();
            let text = open_kernel_file(&format!("/proc/net/{name}")).unwrap();
            each_line(text, &mut |line| keep(parse_line(listing, line))).unwrap();
            let comparable = |socket: &Socket| Socket {
                uid: None,
                receive_queue: None,
                send_queue: None,
                ..socket.clone()
            };
            let [diag, text] = &views[..] else { panic!("{name}: {views:?}") };
            assert_eq!(comparable(diag), comparable(text));
        }
    }
}
