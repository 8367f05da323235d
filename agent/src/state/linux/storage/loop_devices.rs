//! Owns the table of files that are used as disks; refuses to open them.

use std::io;

use serde::Serialize;

use super::{attribute, block_names, device_path};
use crate::state::linux::text::{link_text, number};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "loop_devices",
    about: "Files that are used as disks (loop devices), the deleted ones marked.",
    sources: &["/sys/class/block/loop*/loop"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_loops,
};

/// One loop device that is in use.
#[derive(Serialize)]
struct LoopRow {
    /// Derived: Device file, by custom.
    name: String,
    /// Derived: File behind it, without the kernel's ` (deleted)` mark, which only `backing_file_raw` keeps.
    backing_file: String,
    /// Derived: Base64 of the exact bytes behind `backing_file`; null where `backing_file` is those bytes
    /// verbatim.
    backing_file_raw: Option<String>,
    /// Derived: Whether the kernel marks the file as deleted.
    deleted: bool,
    /// Derived: Where in the file the disk begins, bytes.
    offset: Option<u64>,
    /// Derived: Length of the disk in bytes; 0 for up to the file's end.
    size_limit: Option<u64>,
    /// Derived: Whether it ends with its last user.
    autoclear: Option<bool>,
    /// Derived: Whether partitions are looked for on it.
    partition_scan: Option<bool>,
    /// Derived: Whether the file is read past the kernel's cache.
    direct_io: Option<bool>,
    /// Derived: Whether it is read-only.
    read_only: Option<bool>,
}

fn capture_loops(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for name in block_names(capture) {
        let Some(file) = attribute(&name, "loop/backing_file") else { continue };
        let value = |file: &str| attribute(&name, file).and_then(|value| number::<u64>(&value));
        let switch = |file: &str| value(file).map(|on| on != 0);
        let ((backing_file, backing_file_raw), deleted) = link_text(&file);
        capture.row(&LoopRow {
            name: device_path(&name),
            backing_file,
            backing_file_raw,
            deleted,
            offset: value("loop/offset"),
            size_limit: value("loop/sizelimit"),
            autoclear: switch("loop/autoclear"),
            partition_scan: switch("loop/partscan"),
            direct_io: switch("loop/dio"),
            read_only: switch("ro"),
        })?;
    }
    Ok(())
}
