//! Owns the tables of every file on the disk, each one walk; refuses to open what is not a regular file.

mod acl;
mod bodyfile;
mod executables;
mod oddities;
mod suid;

use std::io::{self, Read};

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::ItemKind;
use sha2::{Digest, Sha256};

use crate::source::{Folder, Looked, OpenFile, Step, walk};
use crate::state::TableCapture;

pub(super) use bodyfile::TABLE as BODYFILE;
pub(super) use executables::TABLE as EXECUTABLE_HASHES;
pub(super) use oddities::TABLE as FILE_ODDITIES;
pub(super) use suid::TABLE as SUID_BIN;

/// One entry of a folder.
struct Entry<'a> {
    folder: &'a Folder,
    name: &'a [u8],
    looked: &'a Looked,
}

impl Entry<'_> {
    fn path(&self) -> Vec<u8> {
        self.folder.join(self.name)
    }

    /// Permission bits, with set-user-id, set-group-id and sticky.
    fn mode(&self) -> u32 {
        u32::from(self.looked.statx().stx_mode) & 0o7777
    }

    fn is_file(&self) -> bool {
        self.looked.kind == ItemKind::File
    }
}

/// Hands every entry of the disk to `each`; what the walk passed becomes a gap.
fn each_entry(
    capture: &mut TableCapture<'_>,
    each: &mut dyn FnMut(&mut TableCapture<'_>, &Entry<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let root = capture.root();
    let mut entries = 0u64;
    walk(root, &mut |step| match step {
        Step::Entry { folder, name, looked } => {
            entries += 1;
            if entries.is_multiple_of(256) {
                capture.go_on()?;
            }
            each(capture, &Entry { folder, name, looked })
        }
        Step::Passed { path, reason } => {
            capture.gap(super::text::text(path).0, &reason);
            Ok(())
        }
    })
}

/// The largest file that is hashed, in bytes; a sparse file can claim more than can ever be read.
const HASH_CAP: u64 = 4 << 30;

/// Hashes an open file from its start, `begun` being what was read of it before.
fn digest(
    capture: &TableCapture<'_>,
    entry: &Entry<'_>,
    begun: &[u8],
    open: &mut OpenFile,
) -> io::Result<Sha256Digest> {
    if entry.looked.size > HASH_CAP {
        let reason = format!("{} bytes, too large to hash", entry.looked.size);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    let mut hasher = Sha256::new_with_prefix(begun);
    let mut chunk = vec![0; 128 << 10];
    let mut left = HASH_CAP;
    loop {
        capture.go_on()?;
        let read = match open.file.read(&mut chunk) {
            // A signal, not the end of the collection, which `go_on` tells.
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(rest) = left.checked_sub(read as u64) else {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "grew past what is hashed"));
        };
        if read == 0 {
            return Ok(Sha256Digest::from(hasher));
        }
        left = rest;
        hasher.update(chunk.get(..read).unwrap_or_default());
    }
}

/// Gives what could be had of an entry, or records a gap for it; the end of the collection is handed on.
fn noted<T>(capture: &mut TableCapture<'_>, entry: &Entry<'_>, got: io::Result<T>) -> io::Result<Option<T>> {
    match got {
        Ok(got) => Ok(Some(got)),
        Err(reason) if reason.kind() == io::ErrorKind::Interrupted => Err(reason),
        // Removed since it was looked at: a host at work.
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(reason) => {
            capture.gap(super::text::text(&entry.path()).0, &reason);
            Ok(None)
        }
    }
}

/// The word for a kind of file in these tables.
fn kind_word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::File => "file",
        ItemKind::Directory => "directory",
        ItemKind::Symlink => "symlink",
        ItemKind::Fifo => "fifo",
        ItemKind::Socket => "socket",
        ItemKind::CharDevice => "char_device",
        ItemKind::BlockDevice => "block_device",
        _ => "unknown",
    }
}
