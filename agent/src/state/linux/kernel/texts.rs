//! Owns the keeping of kernel texts that no table parses; refuses long ones.

use std::io;

use serde::Serialize;

use super::note_unmounted;
use crate::state::linux::process_folders::keep_small;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "kernel_texts",
    about: "Texts about processors, memory, disks and hooks in the kernel's functions, kept as they are.",
    sources: TEXTS,
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_texts,
};

/// One text, kept under data/raw.
#[derive(Serialize)]
struct TextRow {
    /// Derived: Path it was read from.
    path: String,
    /// Derived: Its length in bytes.
    size: u64,
}

const TEXTS: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/vmstat",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/partitions",
    "/proc/diskstats",
    "/proc/devices",
    "/proc/filesystems",
    "/proc/crypto",
    "/proc/locks",
    "/proc/misc",
    "/proc/key-users",
    "/proc/bus/input/devices",
    "/proc/net/snmp",
    "/proc/net/snmp6",
    "/proc/net/netstat",
    "/proc/net/sockstat",
    "/proc/net/rpc/nfs",
    "/proc/net/rpc/nfsd",
    "/sys/fs/selinux/enforce",
    "/sys/fs/selinux/policyvers",
    "/sys/kernel/notes",
    "/sys/kernel/debug/kprobes/list",
    "/sys/kernel/tracing/enabled_functions",
    "/sys/kernel/tracing/kprobe_events",
    "/sys/kernel/tracing/uprobe_events",
];

fn capture_texts(capture: &mut TableCapture<'_>) -> io::Result<()> {
    // Functions that are hooked stand in these.
    for folder in ["/sys/kernel/debug", "/sys/kernel/tracing"] {
        note_unmounted(capture, folder);
    }
    for path in TEXTS {
        if let Some(bytes) = keep_small(capture, path) {
            capture.row(&TextRow { path: (*path).to_owned(), size: bytes.len() as u64 })?;
        }
    }
    Ok(())
}
