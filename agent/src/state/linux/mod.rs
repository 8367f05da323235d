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
//! would change the host, so in that case the listing in `/proc/net` is read instead. For the same reason nf_tables is
//! asked only where it is there, and iptables only for tables that the kernel lists.
//!
//! # Network namespaces
//!
//! A network namespace is entered on a short-lived thread of the agent's own, where a socket or a text is opened; reading
//! happens outside, since both stay in the namespace they were opened in. Each row names its namespace by inode number.

mod bpf;
mod capabilities;
pub mod clock;
mod containers;
mod crontab;
mod deleted_files;
mod disk;
mod etc_hosts;
mod files;
mod firmware;
mod hidden_processes;
mod interfaces;
mod iptables;
mod kernel;
mod last;
mod lastlog;
mod memory;
mod module_presence;
mod modules;
mod mounts;
mod neighbours;
mod netlink;
mod network_namespaces;
mod nftables;
mod open_files;
mod os_version;
mod packages;
mod process_details;
mod process_envs;
mod process_folders;
mod process_memory_map;
mod process_stat;
mod process_views;
mod processes;
mod routes;
mod routing_rules;
mod row;
mod sessions;
mod shadow;
mod shell_history;
mod sock_diag;
mod socket_names;
mod socket_owners;
mod socket_text;
mod sockets;
mod sqlite;
mod ssh_access;
mod startup_items;
mod startup_places;
mod storage;
mod sudoers;
mod systemd_units;
mod text;
mod unit_files;
mod user_groups;
mod user_ssh_keys;
mod users;
mod utmp;

use super::Table;

/// The tables of live state, in the order they are to be captured.
pub fn tables() -> &'static [Table] {
    TABLES
}

const TABLES: &[Table] = &[
    sockets::TABLE,
    network_namespaces::TABLE,
    sessions::TABLE,
    neighbours::TABLE,
    routes::TABLE,
    routing_rules::TABLE,
    memory::PHYSICAL,
    processes::TABLE,
    process_details::TABLE,
    process_views::TABLE,
    process_memory_map::TABLE,
    process_envs::TABLE,
    deleted_files::TABLE,
    memory::PROCESSES,
    bpf::programs::TABLE,
    bpf::maps::TABLE,
    bpf::links::TABLE,
    bpf::attachments::TABLE,
    bpf::pinned::TABLE,
    modules::TABLE,
    kernel::hidden_modules::TABLE,
    kernel::info::TABLE,
    kernel::messages::TABLE,
    kernel::keys::TABLE,
    kernel::controls::TABLE,
    kernel::formats::TABLE,
    kernel::texts::TABLE,
    mounts::TABLE,
    open_files::TABLE,
    interfaces::DETAILS,
    interfaces::ADDRESSES,
    nftables::TABLE,
    iptables::TABLE,
    etc_hosts::RESOLVERS,
    etc_hosts::HOSTS,
    storage::swaps::TABLE,
    storage::loop_devices::TABLE,
    storage::device_mapper::TABLE,
    storage::md_devices::TABLE,
    storage::block_devices::TABLE,
    firmware::ima::TABLE,
    firmware::tpm_log::TABLE,
    firmware::efi_variables::TABLE,
    firmware::acpi_tables::TABLE,
    firmware::platform::PLATFORM,
    firmware::platform::DMI,
    firmware::pci_devices::TABLE,
    firmware::usb_devices::TABLE,
    users::USERS,
    users::GROUPS,
    last::TABLE,
    lastlog::TABLE,
    user_groups::TABLE,
    shadow::TABLE,
    sudoers::TABLE,
    ssh_access::AUTHORIZED_KEYS,
    ssh_access::KNOWN_HOSTS,
    user_ssh_keys::TABLE,
    systemd_units::UNITS,
    systemd_units::TIMERS,
    crontab::CRONTAB,
    crontab::AT_JOBS,
    startup_items::TABLE,
    os_version::TABLE,
    shell_history::TABLE,
    packages::dpkg::TABLE,
    packages::rpm::TABLE,
    packages::apk::TABLE,
    packages::pacman::TABLE,
    packages::snap::TABLE,
    packages::flatpak::TABLE,
    packages::python::TABLE,
    packages::npm::TABLE,
    packages::gem::TABLE,
    packages::sources::APT,
    packages::sources::YUM,
    packages::integrity::TABLE,
    containers::DOCKER_CONTAINERS,
    containers::CONTAINERS,
    containers::KUBERNETES_PODS,
    disk::BODYFILE,
    disk::SUID_BIN,
    disk::FILE_ODDITIES,
    disk::EXECUTABLE_HASHES,
];
