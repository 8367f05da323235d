//! Owns the table of open files; refuses to open any of them.

use std::io;

use serde::Serialize;

use super::process_folders::{each_descriptor, each_process, has_ended, noted};
use super::process_stat::status_value;
use super::text::{bracketed, link_text, number, text};
use crate::source::KernelFolder;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "process_open_files",
    about: "Open files, pipes and kernel objects of every process, with the deleted ones marked.",
    sources: &["/proc/<pid>/fd", "/proc/<pid>/fdinfo"],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_open_files,
};

/// One file descriptor of one process that is not a socket.
#[derive(Serialize, Default)]
struct OpenFileRow {
    /// osquery: Process id.
    pid: u32,
    /// osquery: File descriptor number.
    fd: u32,
    /// osquery: What it is open on: a path without the kernel's ` (deleted)` mark, which only `path_raw`
    /// keeps, or a kernel object such as `pipe:[123]` or `anon_inode:bpf-prog`.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: What `path` names: file, memfd, pipe, anon_inode, or other.
    kind: String,
    /// Derived: Whether the kernel marks the file as deleted.
    deleted: bool,
    /// Derived: Names the deleted file still has elsewhere; null where not deleted.
    links: Option<u32>,
    /// Derived: Size of the deleted file in bytes; null where not deleted.
    size: Option<u64>,
    /// Derived: Inode number of the deleted file; null where not deleted.
    inode: Option<u64>,
    /// Derived: Device of the deleted file, `major:minor`; null where not deleted.
    device: Option<String>,
    /// Derived: Position in the file in bytes; null where unreadable.
    pos: Option<u64>,
    /// Derived: Open flags, octal as the kernel prints them; null where unreadable.
    flags: Option<String>,
    /// Derived: Access that `flags` gives: r, w, rw or path; null where unreadable.
    access: Option<String>,
}

/// Captures the table.
pub(super) fn capture_open_files(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_process(capture, &mut |capture, pid, process| {
        each_descriptor(capture, process, &mut |capture, fd, target| {
            // Sockets have a table of their own.
            if bracketed(target, b"socket").is_some() {
                return Ok(());
            }
            capture_descriptor(capture, pid, process, fd, target)
        })
    })
}

fn capture_descriptor(
    capture: &mut TableCapture<'_>,
    pid: u32,
    process: &KernelFolder,
    fd: u32,
    target: &[u8],
) -> io::Result<()> {
    let link = format!("fd/{fd}");
    let mut row = target_row(pid, fd, target);
    if row.deleted
        && let Some(file) = noted(capture, process, &link, process.link_target(&link))
    {
        row.links = Some(file.links);
        row.size = Some(file.size);
        row.inode = Some(file.inode);
        row.device = Some(format!("{}:{}", file.device.0, file.device.1));
    }
    match process.prefix(&format!("fdinfo/{fd}"), 64 << 10) {
        Ok(info) => add_position(&mut row, &info.bytes),
        // The descriptor was closed meanwhile; what it was open on is known.
        Err(reason) if has_ended(&reason) => {}
        Err(reason) => capture.gap(format!("{}/fdinfo/{fd}", process.path()), &reason),
    }
    capture.row(&row)
}

fn target_row(pid: u32, fd: u32, target: &[u8]) -> OpenFileRow {
    let is_path = target.starts_with(b"/");
    let ((path, path_raw), deleted) = if is_path { link_text(target) } else { (text(target), false) };
    let kind = match target {
        target if target.starts_with(b"/memfd:") => "memfd",
        _ if is_path => "file",
        target if bracketed(target, b"pipe").is_some() => "pipe",
        target if target.starts_with(b"anon_inode:") => "anon_inode",
        _ => "other",
    };
    OpenFileRow { pid, fd, path, path_raw, kind: kind.to_owned(), deleted, ..OpenFileRow::default() }
}

/// Adds the position and the flags, which `/proc/<pid>/fdinfo` gives in octal.
fn add_position(row: &mut OpenFileRow, info: &[u8]) {
    row.pos = status_value(info, "pos").and_then(number);
    let Some(flags) = status_value(info, "flags") else { return };
    row.flags = Some(text(flags).0);
    row.access = std::str::from_utf8(flags)
        .ok()
        .and_then(|flags| u64::from_str_radix(flags, 8).ok())
        .map(|flags| access(flags).to_owned());
}

/// `O_PATH`, else the two lowest bits.
fn access(flags: u64) -> &'static str {
    match (flags & 0o10_000_000 != 0, flags & 3) {
        (true, _) => "path",
        (_, 0) => "r",
        (_, 1) => "w",
        _ => "rw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart_by_what_they_name() {
        let kind = |target: &[u8]| target_row(1, 2, target).kind;
        assert_eq!(kind(b"/var/log/x"), "file");
        assert_eq!(kind(b"/memfd:x (deleted)"), "memfd");
        assert_eq!(kind(b"pipe:[12]"), "pipe");
        assert_eq!(kind(b"anon_inode:bpf-prog"), "anon_inode");
        assert_eq!(kind(b"net:[4026531840]"), "other");
        assert!(target_row(1, 2, b"/x (deleted)").deleted);
        assert!(!target_row(1, 2, b"x (deleted)").deleted);
    }

    #[test]
    fn garbage_descriptor_text_leaves_position_and_access_unknown() {
        for garbage in [&b""[..], b"pos:", b"pos:\t-1\nflags:\t9\n", b"\xff:\0\n"] {
            let mut row = OpenFileRow::default();
            add_position(&mut row, garbage);
            assert_eq!((row.pos, row.access), (None, None));
        }
        let mut row = OpenFileRow::default();
        add_position(&mut row, b"pos:\t42\nflags:\t02100002\nmnt_id:\t9\n");
        assert_eq!((row.pos, row.access.as_deref()), (Some(42), Some("rw")));
    }
}
