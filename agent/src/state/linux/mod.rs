//! Owns the list of Linux tables and their order, most volatile first (RFC 3227 2.1); refuses every source but kernel
//! interfaces and the login and account files beside them.
//!
//! # Text
//!
//! A hostile host chooses many of these bytes. Each such column `x` is followed by `x_raw`:
//!
//! - `x_raw` is null: `x` is valid UTF-8 without NUL and is the bytes verbatim.
//! - `x_raw` is not null: `x` is a rendering to read, and `x_raw` is the exact bytes in base64. In a rendering a byte that
//!   is not UTF-8 is `\xNN` and, where there is one, a backslash is `\\`; NUL is `\x00`, save in `cmdline` (a space, as in
//!   osquery) and in the names of unix sockets (`@`, as in `/proc/net/unix`). The mark ` (deleted)` that the kernel puts
//!   behind a path is left out of `x` and stands in `x_raw`.
//!
//! # Gaps
//!
//! A process that ends while it is read is no gap; such processes are counted, and one gap states the count. Everything
//! else that could not be read is a gap by its own name. Where a read could wait for ever it is given up.
//!
//! # Traces
//!
//! Asking `sock_diag` for a protocol whose handler is a module that is not loaded would make the kernel load it. That
//! would change the host, so in that case the listing in `/proc/net` is read instead.

mod adjtimex;
pub mod clock;
mod hidden_processes;
mod interfaces;
mod modules;
mod mounts;
mod neighbours;
mod netlink;
mod open_files;
mod process_folders;
mod process_stat;
mod processes;
mod routes;
mod sessions;
mod sock_diag;
mod socket_owners;
mod socket_text;
mod sockets;
mod text;
mod users;
mod utmp;

use super::Table;

/// The tables of live state, in the order they are to be captured.
pub fn tables() -> &'static [Table] {
    TABLES
}

const TABLES: &[Table] = &[
    Table {
        name: "process_open_sockets",
        about: "Every socket of every network namespace with the processes that hold it, and sockets nothing holds.",
        sources: &[
            "netlink sock_diag",
            "/proc/net/{tcp,tcp6,udp,udp6,udplite,udplite6,raw,raw6,icmp,icmp6,unix,packet,netlink}",
            "/proc/<pid>/net/*",
            "/proc/<pid>/fd",
            "/proc/<pid>/ns/net",
        ],
        capture: sockets::capture_sockets,
    },
    Table {
        name: "logged_in_users",
        about: "Login sessions, and the other records of the login accounting file.",
        sources: &["/run/utmp", "/run/systemd/sessions/*"],
        capture: sessions::capture_sessions,
    },
    Table {
        name: "arp_cache",
        about: "Neighbours with their link-layer addresses: the ARP cache and IPv6 neighbour discovery.",
        sources: &["netlink rtnetlink RTM_GETNEIGH", "/proc/net/arp", "/proc/<pid>/net/arp"],
        capture: neighbours::capture_neighbours,
    },
    Table {
        name: "routes",
        about: "Routes of every routing table.",
        sources: &["netlink rtnetlink RTM_GETROUTE", "/proc/net/{route,ipv6_route}", "/proc/<pid>/net/*"],
        capture: routes::capture_routes,
    },
    Table {
        name: "processes",
        about: "Processes with their executables' digests, and processes that listing /proc does not show.",
        sources: &[
            "/proc/<pid>/{stat,status,cmdline,exe,cwd,root,cgroup,loginuid,sessionid}",
            "/proc/<pid>/ns/{pid,net,mnt,user}",
            "/proc/stat",
            "kill(2) with signal 0",
        ],
        capture: processes::capture_processes,
    },
    Table {
        name: "kernel_modules",
        about: "Kernel modules with the reasons they taint the kernel.",
        sources: &["/proc/modules", "/sys/module/*", "/proc/sys/kernel/tainted"],
        capture: modules::capture_modules,
    },
    Table {
        name: "mounts",
        about: "Mounts of the agent's mount namespace.",
        sources: &["/proc/self/mountinfo"],
        capture: mounts::capture_mounts,
    },
    Table {
        name: "process_open_files",
        about: "Open files, pipes and kernel objects of every process, with the deleted ones marked.",
        sources: &["/proc/<pid>/fd", "/proc/<pid>/fdinfo"],
        capture: open_files::capture_open_files,
    },
    Table {
        name: "interface_details",
        about: "Network interfaces, with the promiscuous ones marked.",
        sources: &["netlink rtnetlink RTM_GETLINK", "/proc/net/dev", "/proc/<pid>/net/dev"],
        capture: interfaces::capture_details,
    },
    Table {
        name: "interface_addresses",
        about: "Addresses of network interfaces.",
        sources: &["netlink rtnetlink RTM_GETADDR", "/proc/net/if_inet6", "/proc/<pid>/net/if_inet6"],
        capture: interfaces::capture_addresses,
    },
    Table {
        name: "users",
        about: "Local user accounts, without their password digests.",
        sources: &["/etc/passwd"],
        capture: users::capture_users,
    },
    Table {
        name: "groups",
        about: "Local groups and their members.",
        sources: &["/etc/group"],
        capture: users::capture_groups,
    },
];
