//! Owns the table of names that keep BPF objects alive; refuses to open any of them.

use std::io;

use serde::Serialize;

use crate::source::KernelTree;
use crate::state::linux::kernel::{folders_of, trees};
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

/// Names that are listed at most.
const NAMES: usize = 100_000;

/// How deep folders are followed.
const DEPTH: usize = 32;

fn capture_pinned(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut names = 0;
    for root in trees(capture, "bpf") {
        walk(capture, root, &mut names)?;
    }
    Ok(())
}

fn walk(capture: &mut TableCapture<'_>, root: KernelTree, names: &mut usize) -> io::Result<()> {
    let mut waiting = vec![(root, 0)];
    while let Some((folder, depth)) = waiting.pop() {
        capture.go_on()?;
        for entry in folder.files()? {
            *names += 1;
            let (path, path_raw) = text(&entry.path);
            capture.row(&PinnedRow {
                path,
                path_raw,
                uid: entry.uid,
                gid: entry.gid,
                mode: format!("{:04o}", entry.mode & 0o7777),
                mtime: entry.mtime,
                inode: entry.inode,
            })?;
        }
        if *names > NAMES || depth > DEPTH {
            let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more names than are followed");
            capture.gap(String::from_utf8_lossy(folder.path()), &reason);
            return Ok(());
        }
        waiting.extend(folders_of(capture, &folder).into_iter().map(|folder| (folder, depth + 1)));
    }
    Ok(())
}
