//! Owns the digests of every executable on the disk; refuses to hash a file larger than 4 GiB.

use std::collections::HashMap;
use std::io::{self, Read};

use holdfast_schemas::digest::Sha256Digest;
use serde::Serialize;

use super::super::text::text;
use super::{Entry, digest, each_entry, noted};
use crate::source::FileIdentity;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "executable_hashes",
    about: "SHA-256 of every regular file that may be executed or begins as a program does.",
    sources: &["every regular file with an execute bit, ELF or #! at its start"],
    group: Group::Disk,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_executables,
};

/// One executable file.
#[derive(Serialize)]
struct ExecutableRow {
    /// osquery `hash`: Path of the file.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery `hash`: Folder it lies in.
    directory: String,
    /// Derived: Base64 of the exact bytes behind `directory`; null where `directory` is those bytes verbatim.
    directory_raw: Option<String>,
    /// osquery `hash`: SHA-256 of its content; null where it could not be read whole, which a gap tells.
    sha256: Option<String>,
    /// Derived: Size in bytes.
    size: u64,
    /// Derived: Inode number.
    inode: u64,
    /// Derived: Device it lies on, `major:minor`.
    device: String,
    /// Derived: Permission bits, octal.
    mode: String,
    /// Derived: What its first bytes say: elf, script or other.
    kind: String,
    /// Derived: Owner's user id.
    uid: u32,
    /// Derived: Last change of its content, Unix seconds.
    mtime: i64,
    /// Derived: Last change of its inode, Unix seconds.
    ctime: i64,
}

/// Digests of files with several names that are remembered, so that each is read once.
const REMEMBERED: usize = 65_536;

fn capture_executables(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut linked = HashMap::new();
    each_entry(capture, &mut |capture, entry| {
        if !entry.is_file() || entry.looked.size == 0 {
            return Ok(());
        }
        match row(capture, entry, &mut linked) {
            Ok(Some(row)) => capture.row(&row),
            Ok(None) => Ok(()),
            Err(reason) => noted::<()>(capture, entry, Err(reason)).map(|_| ()),
        }
    })
}

fn row(
    capture: &mut TableCapture<'_>,
    entry: &Entry<'_>,
    linked: &mut HashMap<FileIdentity, Sha256Digest>,
) -> io::Result<Option<ExecutableRow>> {
    let mut open = entry.folder.open(entry.name, entry.looked)?;
    let mut begun = Vec::with_capacity(4);
    open.file.by_ref().take(4).read_to_end(&mut begun)?;
    let kind = match begun.as_slice() {
        b"\x7fELF" => "elf",
        [b'#', b'!', ..] => "script",
        _ => "other",
    };
    if kind == "other" && entry.looked.mode() & 0o111 == 0 {
        return Ok(None);
    }
    let known = linked.get(&entry.looked.identity).copied();
    let sha256 = match known {
        Some(known) => Some(known),
        None => {
            let digested = digest(capture, entry, &begun, &mut open);
            noted(capture, entry, digested)?
        }
    };
    let stat = entry.looked.statx();
    if let Some(sha256) = sha256
        && stat.stx_nlink > 1
        && linked.len() < REMEMBERED
    {
        linked.insert(entry.looked.identity, sha256);
    }
    let (path, path_raw) = text(&entry.path());
    let folder = entry.folder.path();
    let (directory, directory_raw) = text(if folder.is_empty() { b"/" } else { folder });
    Ok(Some(ExecutableRow {
        path,
        path_raw,
        directory,
        directory_raw,
        sha256: sha256.map(|sha256| sha256.to_string()),
        size: entry.looked.size,
        inode: stat.stx_ino,
        device: format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor),
        mode: format!("{:04o}", entry.looked.mode()),
        kind: kind.to_owned(),
        uid: stat.stx_uid,
        mtime: stat.stx_mtime.tv_sec,
        ctime: stat.stx_ctime.tv_sec,
    }))
}
