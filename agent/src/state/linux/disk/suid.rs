//! Owns the table of files that run as somebody else; refuses folders, where the bits mean something else.

use std::io;

use serde::Serialize;

use super::super::text::text;
use super::{digest, each_entry, noted};
use crate::source::Owners;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "suid_bin",
    about: "Regular files with the set-user-id or set-group-id bit, on the whole disk.",
    sources: &["statx(2) of every file", "/etc/passwd", "/etc/group"],
    group: Group::Disk,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_suid,
};

/// One file with such a bit.
#[derive(Serialize)]
struct SuidRow {
    /// osquery: Path of the file.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: Owner's name by the examined host's own `/etc/passwd`; null where it has none.
    username: Option<String>,
    /// osquery: Group's name by the examined host's own `/etc/group`; null where it has none.
    groupname: Option<String>,
    /// osquery: S for set-user-id, G for set-group-id, SG for both.
    permissions: String,
    /// Derived: Owner's user id.
    uid: u32,
    /// Derived: Owner's group id.
    gid: u32,
    /// Derived: Permission bits, octal.
    mode: String,
    /// Derived: SHA-256 of its content; null where it could not be read whole, which a gap tells.
    sha256: Option<String>,
    /// Derived: Size in bytes.
    size: u64,
    /// Derived: Inode number.
    inode: u64,
    /// Derived: Device it lies on, `major:minor`.
    device: String,
    /// Derived: Last change of its content, Unix seconds.
    mtime: i64,
    /// Derived: Last change of its inode, such as its mode, Unix seconds.
    ctime: i64,
}

fn capture_suid(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let owners = Owners::of(capture.root());
    each_entry(capture, &mut |capture, entry| {
        let permissions = match entry.looked.mode() & 0o6000 {
            0o4000 => "S",
            0o2000 => "G",
            0o6000 => "SG",
            _ => return Ok(()),
        };
        if !entry.is_file() {
            return Ok(());
        }
        let opened = entry.folder.open(entry.name, entry.looked);
        let digested = opened.and_then(|mut open| digest(capture, entry, b"", &mut open));
        // A row without a digest says why, even where the file was removed since it was looked at.
        let digested = digested.map_err(|reason| match reason.kind() {
            io::ErrorKind::NotFound => io::Error::other("removed since it was looked at"),
            _ => reason,
        });
        let sha256 = noted(capture, entry, digested)?;
        let (path, path_raw) = text(&entry.path());
        let stat = entry.looked.statx();
        capture.row(&SuidRow {
            path,
            path_raw,
            username: owners.user(stat.stx_uid),
            groupname: owners.group(stat.stx_gid),
            permissions: permissions.to_owned(),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: format!("{:04o}", entry.looked.mode()),
            sha256: sha256.map(|sha256| sha256.to_string()),
            size: stat.stx_size,
            inode: stat.stx_ino,
            device: format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor),
            mtime: stat.stx_mtime.tv_sec,
            ctime: stat.stx_ctime.tv_sec,
        })
    })
}
