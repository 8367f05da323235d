//! Owns strict reading of a package's bytes: evidence at an offset, directory entries as they stand, members as streams;
//! refuses to hold more than a stated window of any of them.

mod directory;
mod member;

#[cfg(unix)]
use std::fs::File;
use std::io;
#[cfg(unix)]
use std::path::Path;

pub(crate) use directory::{DirectoryWalk, Entry, WalkError};
pub(crate) use member::{ContentFault, LineFault, Lines, MemberReader, MemberTotals, Scratch};

/// Longest line of a record file or manifest.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// Largest tag file that is read whole. As values it may take fifty times its size, twice.
pub(crate) const MAX_WHOLE: u64 = 1 << 20;

/// Bytes that can be read at any offset, by several threads at once.
pub trait Evidence: Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills as much of `buffer` as there is from `offset` on; returns how much that was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The bytes of a range, as far as they are there.
    fn range(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let within = self.len().saturating_sub(offset).min(len as u64);
        let mut bytes = vec![0; usize::try_from(within).unwrap_or(len)];
        let read = self.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl Evidence for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or_default();
        let taken = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..taken), rest.get(..taken)) {
            to.copy_from_slice(from);
        }
        Ok(taken)
    }
}

impl Evidence for Vec<u8> {
    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }
}

/// A package in a regular file.
#[cfg(unix)]
pub struct FileEvidence {
    file: File,
    len: u64,
}

#[cfg(unix)]
impl FileEvidence {
    /// Opens a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let kind = std::fs::metadata(path)?;
        if !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = File::open(path)?;
        // Asked again of what was opened, in case another file took its place.
        let opened = file.metadata()?;
        if !opened.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(Self { file, len: opened.len() })
    }
}

#[cfg(unix)]
impl Evidence for FileEvidence {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
