//! Owns the walk along the central directory, entry by entry; refuses entries that are not in their one form, and to
//! hold the directory.

use std::io;

use holdfast_schemas::container::{
    CENTRAL_FIXED, ContainerError, Directory, MemberHeader, MemberSizes, Method,
};

use super::Evidence;

/// Largest directory entry: fixed part, name and extra fields at their limits.
const MAX_ENTRY: usize = CENTRAL_FIXED + 2 * u16::MAX as usize;
const WINDOW: usize = 256 * 1024;

/// A member as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Header that both places must render from.
    pub header: MemberHeader,
    /// Sizes and CRC-32.
    pub sizes: MemberSizes,
    /// Offset of the local header.
    pub offset: u64,
}

impl Entry {
    /// The local header's one rendering.
    pub(crate) fn local_header(&self) -> Vec<u8> {
        self.header.render_local((self.header.method == Method::Stored).then_some(&self.sizes))
    }

    /// The data descriptor's one rendering; empty for a stored member.
    pub(crate) fn descriptor(&self) -> Vec<u8> {
        match self.header.method {
            Method::Deflated => self.header.render_descriptor(&self.sizes),
            Method::Stored => Vec::new(),
        }
    }

    /// Offset of the first byte after the member, descriptor included; `None` past the end of numbers.
    pub(crate) fn end(&self) -> Option<u64> {
        let around = (self.local_header().len() + self.descriptor().len()) as u64;
        self.offset.checked_add(around)?.checked_add(self.sizes.compressed)
    }

    /// The name below the package folder; empty where the name is not below `folder`.
    pub(crate) fn name_below<'a>(&'a self, folder: &str) -> &'a str {
        self.header.name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default()
    }
}

/// Why the walk cannot go on.
#[derive(Debug)]
pub enum WalkError {
    /// The file could not be read.
    Read(io::Error),
    /// An entry is not in its one form.
    Form(ContainerError),
}

/// A walk over the entries, in order.
pub(crate) struct DirectoryWalk<'e> {
    evidence: &'e dyn Evidence,
    left: u64,
    next: u64,
    end: u64,
    window: Vec<u8>,
    at: usize,
}

impl<'e> DirectoryWalk<'e> {
    /// A walk from the first entry.
    pub(crate) fn new(evidence: &'e dyn Evidence, directory: &Directory) -> Self {
        let end = directory.offset.saturating_add(directory.bytes);
        Self { evidence, left: directory.entries, next: directory.offset, end, window: Vec::new(), at: 0 }
    }

    /// The next entry; `None` after the last one. The entries must fill the directory exactly.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, WalkError> {
        if self.left == 0 {
            let unread = self.window.len() - self.at;
            let rest = self.end.saturating_sub(self.next).saturating_add(unread as u64);
            let cut_off = ContainerError::Form(holdfast_schemas::container::Structure::CentralEntry);
            return if rest == 0 { Ok(None) } else { Err(WalkError::Form(cut_off)) };
        }
        if self.window.len() - self.at < MAX_ENTRY && self.next < self.end {
            self.refill().map_err(WalkError::Read)?;
        }
        let rest = self.window.get(self.at..).unwrap_or_default();
        let (header, sizes, offset, len) = MemberHeader::parse_central(rest).map_err(WalkError::Form)?;
        self.at += len;
        self.left -= 1;
        Ok(Some(Entry { header, sizes, offset }))
    }

    fn refill(&mut self) -> io::Result<()> {
        self.window.drain(..self.at);
        self.at = 0;
        let wanted = self.end.saturating_sub(self.next).min(WINDOW as u64);
        let more = self.evidence.range(self.next, usize::try_from(wanted).unwrap_or(WINDOW))?;
        self.next += more.len() as u64;
        self.window.extend(more);
        Ok(())
    }
}
