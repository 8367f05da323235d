//! Owns the table of deleted files that processes still run, hold open or have mapped, and keeps their whole content;
//! refuses to open anything but regular files, and to move a holder's position.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::process_folders::{each_descriptor, each_process, has_ended, noted};
use super::process_memory_map::mappings;
use super::text::link_text;
use crate::source::{KernelFolder, LinkTarget, Looked, Mounts, OpenFile, Watchdog};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "deleted_files",
    about: "Deleted files that processes still run, hold open or have mapped, memfds too; their content is kept.",
    sources: &["/proc/<pid>/exe", "/proc/<pid>/fd", "/proc/<pid>/maps", "/proc/<pid>/map_files"],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_deleted_files,
};

/// Most files that are told apart, and most holders that are named of each.
const MAX_FILES: usize = 100_000;
const MAX_HOLDERS: usize = 1_000;
/// The kernel's mark behind the path of a deleted file.
const MARK: &[u8] = b" (deleted)";

/// One deleted file.
#[derive(Serialize)]
struct DeletedFileRow {
    /// Derived: The path it was deleted from, without the kernel's ` (deleted)` mark.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: How it is held at the place it was read from: executable, open, memfd or mapped.
    kind: &'static str,
    /// Derived: Size in bytes.
    size: u64,
    /// Derived: Device it lies on, `major:minor`.
    device: String,
    /// Derived: Inode number.
    inode: u64,
    /// Derived: Names it still has elsewhere.
    links: u32,
    /// Derived: The path it was read from; the item with this source path holds its content, or says why not.
    source_path: String,
    /// Derived: Everybody who holds it.
    holders: Vec<Holder>,
    /// Derived: Holders that are not named because there are more than 1,000.
    further_holders: u64,
}

/// One way in which a process holds a file.
#[derive(Serialize)]
struct Holder {
    /// Derived: Process id.
    pid: u32,
    /// Derived: `exe`, `fd/N` or `map_files/START-END`, as below `/proc/<pid>`.
    by: String,
}

/// A deleted file as it was first met.
struct Found {
    target: Vec<u8>,
    file: LinkTarget,
    process: Arc<KernelFolder>,
    opened: Option<io::Result<(OpenFile, Looked)>>,
    holders: Vec<Holder>,
    further_holders: u64,
}

/// The search over all processes.
struct Search {
    found: HashMap<((u32, u32), u64), Found>,
    mounts: Mounts,
    watchdog: Watchdog,
    may_open: u64,
    unlisted: u64,
}

fn capture_deleted_files(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(4096);
    let mounts = Mounts::of(capture.root())?;
    let mut search = Search {
        found: HashMap::new(),
        mounts,
        watchdog: Watchdog::default(),
        may_open: limit / 2,
        unlisted: 0,
    };
    each_process(capture, &mut |capture, pid, process| {
        capture.go_on()?;
        search.executable(capture, pid, process);
        each_descriptor(capture, process, &mut |capture, fd, target| {
            if target.starts_with(b"/") && target.ends_with(MARK) {
                search.look(capture, pid, process, format!("fd/{fd}"), target);
            }
            Ok(())
        })?;
        search.mappings(capture, pid, process);
        Ok(())
    })?;
    if search.unlisted > 0 {
        let reason = format!("{} more than the {MAX_FILES} that are told apart", search.unlisted);
        capture.gap("deleted files", &io::Error::other(reason));
    }
    let mut found: Vec<Found> = search.found.into_values().collect();
    found.sort_by_key(|found| found.holders.first().map(|holder| (holder.pid, holder.by.clone())));
    for file in found {
        keep(capture, file)?;
    }
    Ok(())
}

impl Search {
    fn executable(&mut self, capture: &mut TableCapture<'_>, pid: u32, process: &Arc<KernelFolder>) {
        match process.link("exe") {
            Ok(target) if target.ends_with(MARK) => {
                self.look(capture, pid, process, "exe".to_owned(), &target)
            }
            // A kernel thread has none; a process that ended is counted elsewhere.
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => capture.gap(format!("{}/exe", process.path()), &reason),
            Ok(_) => {}
        }
    }

    /// Deleted files among a process's mappings: libraries and data that were replaced or removed.
    fn mappings(&mut self, capture: &mut TableCapture<'_>, pid: u32, process: &Arc<KernelFolder>) {
        for mapping in mappings(capture, &mut self.watchdog, process) {
            if !mapping.path.ends_with(MARK) {
                continue;
            }
            let name = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
            // Shared memory that has no file is listed with the same mark, and is no link.
            if let Ok(target) = process.link(&name) {
                self.look(capture, pid, process, name, &target);
            }
        }
    }

    fn look(
        &mut self,
        capture: &mut TableCapture<'_>,
        pid: u32,
        process: &Arc<KernelFolder>,
        by: String,
        target: &[u8],
    ) {
        let Some(file) = noted(capture, process, &by, process.link_target(&by)) else { return };
        let holder = Holder { pid, by };
        let key = (file.device, file.inode);
        if let Some(known) = self.found.get_mut(&key) {
            known.add(holder);
            return;
        }
        if self.found.len() >= MAX_FILES {
            self.unlisted += 1;
            return;
        }
        let opened = self.open(process, &holder.by, file.device);
        // A device or a pipe can be deleted too; it has no content of its own.
        if let Some(Err(reason)) = &opened
            && reason.kind() == io::ErrorKind::InvalidInput
        {
            return;
        }
        let process = Arc::clone(process);
        let found = Found {
            target: target.to_vec(),
            file,
            process,
            opened,
            holders: vec![holder],
            further_holders: 0,
        };
        self.found.insert(key, found);
    }

    /// Opens at once, since a holder may end; nothing where too many are open already.
    fn open(
        &mut self,
        process: &KernelFolder,
        by: &str,
        device: (u32, u32),
    ) -> Option<io::Result<(OpenFile, Looked)>> {
        if self.mounts.is_remote(device) {
            let reason = "it lies on a file system that a server or a program serves, which may never answer";
            return Some(Err(io::Error::other(reason)));
        }
        self.may_open = self.may_open.checked_sub(1)?;
        Some(process.open_target(by))
    }
}

impl Found {
    fn add(&mut self, holder: Holder) {
        if self.holders.len() < MAX_HOLDERS {
            self.holders.push(holder);
        } else {
            self.further_holders += 1;
        }
    }

    fn kind(&self) -> &'static str {
        let by = self.holders.first().map(|holder| holder.by.as_str()).unwrap_or_default();
        match by {
            _ if self.target.starts_with(b"/memfd:") => "memfd",
            "exe" => "executable",
            by if by.starts_with("fd/") => "open",
            _ => "mapped",
        }
    }
}

fn keep(capture: &mut TableCapture<'_>, found: Found) -> io::Result<()> {
    let Some(first) = found.holders.first() else { return Ok(()) };
    let by = first.by.clone();
    let source_path = format!("{}/{by}", found.process.path());
    let ((path, path_raw), _) = link_text(&found.target);
    capture.row(&DeletedFileRow {
        path,
        path_raw,
        kind: found.kind(),
        size: found.file.size,
        device: format!("{}:{}", found.file.device.0, found.file.device.1),
        inode: found.file.inode,
        links: found.file.links,
        source_path: source_path.clone(),
        holders: found.holders,
        further_holders: found.further_holders,
    })?;
    let (process, wanted) = (found.process, (found.file.device, found.file.inode));
    let open = move || {
        if let Some(opened) = found.opened {
            return opened;
        }
        let now = process.link_target(&by)?;
        if (now.device, now.inode) != wanted {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "its holder let go of it before it could be read",
            ));
        }
        process.open_target(&by)
    };
    capture.keep_file(source_path.into_bytes(), Box::new(open));
    Ok(())
}
