//! Owns the list of Linux tables and their order, most volatile first (RFC 3227 2.1); refuses every source but kernel
//! interfaces and files read through the examined host's root.
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

pub mod clock;
mod containers;
mod disk;
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
    sockets::TABLE,
    sessions::TABLE,
    neighbours::TABLE,
    routes::TABLE,
    processes::TABLE,
    modules::TABLE,
    mounts::TABLE,
    open_files::TABLE,
    interfaces::DETAILS,
    interfaces::ADDRESSES,
    users::USERS,
    users::GROUPS,
    containers::DOCKER_CONTAINERS,
    disk::BODYFILE,
    disk::SUID_BIN,
    disk::FILE_ODDITIES,
    disk::EXECUTABLE_HASHES,
];
