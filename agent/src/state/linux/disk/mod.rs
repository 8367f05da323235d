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
    let mut buffer = vec![0; 128 << 10];
    hash(capture, &mut open.file, HASH_CAP, &mut buffer, &mut |bytes| hasher.update(bytes))?;
    Ok(Sha256Digest::from(hasher))
}

/// Reads a file to its end in pieces of `buffer` and hands each to `update`.
///
/// # Errors
///
/// `FileTooLarge` past `most` bytes, as [`TableCapture::go_on`], and whatever the operating system answers.
pub(super) fn hash(
    capture: &TableCapture<'_>,
    file: &mut impl Read,
    most: u64,
    buffer: &mut [u8],
    update: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let mut left = most;
    loop {
        capture.go_on()?;
        let read = match file.read(buffer) {
            // A signal, not the end of the collection, which `go_on` tells.
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(());
        }
        left = left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("grew past {most} bytes, not hashed"))
        })?;
        update(buffer.get(..read).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;

    #[test]
    fn file_that_grows_past_what_is_hashed_has_no_digest() {
        let (root, mut out) = (Root::live().unwrap(), Vec::new());
        let capture = TableCapture::new(&mut out, &root, &|| false);
        let hashed =
            |bytes: u64| hash(&capture, &mut io::repeat(1).take(bytes), 100, &mut [0; 7], &mut |_| {});
        assert!(hashed(100).is_ok());
        assert_eq!(hashed(101).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
