//! Owns the table of names that keep BPF objects alive; refuses to open any of them.

use std::io;

use serde::Serialize;

use crate::source::KernelEntry;
use crate::state::linux::kernel::{Walk, each_folder, listed};
use crate::state::linux::mounts::mounted;
use crate::state::linux::text::text;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "bpf_pinned_objects",
    about: "Names below the mounts of the BPF file system, which keep programs, maps and links alive.",
    sources: &["bpf mounts, such as /sys/fs/bpf"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_pinned,
};

/// One name in a BPF file system.
#[derive(Serialize)]
struct PinnedRow {
    /// Derived: Path of the name.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: Owner's user id.
    uid: u32,
    /// Derived: Owner's group id.
    gid: u32,
    /// Derived: Permissions, octal.
    mode: String,
    /// Derived: Last change of the name's content, Unix seconds by the host's clock; for a pin, when it was made.
    mtime: i64,
    /// Derived: Inode number in its file system.
    inode: u64,
}

/// The folders of names, and how deep they are followed.
const FOLDERS: Walk = Walk { what: "folders", depth: 32, most: 100_000, unopened: &[] };

/// Names that are listed at most.
const NAMES: usize = 100_000;

fn capture_pinned(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut names = 0;
    let roots = mounted(capture, "bpf");
    each_folder(capture, roots, &FOLDERS, &mut |capture, folder| {
        for entry in listed(capture, folder, folder.files()) {
            if names == NAMES {
                let reason = format!("more than {NAMES} names, the others are not shown");
                capture.gap("bpf mounts", &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                return Ok(());
            }
            names += 1;
            capture.row(&pinned_row(&entry))?;
        }
        Ok(())
    })
}

fn pinned_row(entry: &KernelEntry) -> PinnedRow {
    let (path, path_raw) = text(&entry.path);
    PinnedRow {
        path,
        path_raw,
        uid: entry.uid,
        gid: entry.gid,
        mode: format!("{:04o}", entry.mode & 0o7777),
        mtime: entry.mtime,
        inode: entry.inode,
    }
}
