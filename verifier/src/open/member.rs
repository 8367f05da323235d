//! Owns a member's content as a stream, hashed as it passes; refuses streams that end early or late, and content that
//! is longer or other than its sizes and CRC-32 say.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use holdfast_schemas::container::{LOCAL_FIXED, MemberHeader, Method};
use holdfast_schemas::digest::Sha256Digest;
use sha2::{Digest, Sha256};

use super::{Entry, Evidence, MAX_LINE};

const WINDOW: usize = 128 * 1024;
/// Largest local header: fixed part, name and extra fields at their limits.
const MAX_LOCAL: usize = LOCAL_FIXED + 2 * u16::MAX as usize;

/// What is wrong with a member's bytes.
#[derive(Debug)]
pub(crate) enum ContentFault {
    /// The file could not be read.
    Read(io::Error),
    /// The local header is in its one form and says something else than the directory entry.
    Directory,
    /// The local header is not in its one form, or the data descriptor not the rendering of the directory entry.
    Frame(&'static str),
    /// The stream, its size or its CRC-32 is not what was stated.
    Content(&'static str),
}

/// What passed through a reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberTotals {
    /// Bytes of content.
    pub size: u64,
    /// Their digest.
    pub sha256: Sha256Digest,
}

/// Buffers that go from one member to the next: with many small members, making them anew would cost most of the time.
pub(crate) struct Scratch {
    window: Vec<u8>,
    content: Vec<u8>,
    inflate: Decompress,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { window: vec![0; WINDOW], content: vec![0; WINDOW], inflate: Decompress::new(false) }
    }
}

/// Reads one member's content.
pub(crate) struct MemberReader<'e> {
    evidence: &'e dyn Evidence,
    entry: Entry,
    scratch: Scratch,
    /// Where the window's unread content begins and ends; behind its end the descriptor may stand.
    unread: Range<usize>,
    /// How much of the window is filled.
    filled: usize,
    /// Offset of the first byte behind the window.
    next: u64,
    /// Compressed bytes behind the window.
    compressed_left: u64,
    hasher: Sha256,
    crc: crc32fast::Hasher,
    size: u64,
    ended: bool,
    fault: Option<ContentFault>,
}

impl<'e> MemberReader<'e> {
    /// Checks the local header and stands at the first byte of content.
    pub(crate) fn open(evidence: &'e dyn Evidence, entry: &Entry) -> Result<Self, ContentFault> {
        Self::open_with(evidence, entry, Scratch::default())
    }

    /// The same with buffers that served another member.
    pub(crate) fn open_with(
        evidence: &'e dyn Evidence,
        entry: &Entry,
        mut scratch: Scratch,
    ) -> Result<Self, ContentFault> {
        scratch.inflate.reset(false);
        let expected = entry.local_header();
        // A small member is read at once, header and descriptor included.
        let around = (expected.len() + entry.descriptor().len()) as u64;
        let wanted = entry.sizes.compressed.saturating_add(around).min(WINDOW as u64);
        let window = scratch.window.get_mut(..usize::try_from(wanted).unwrap_or(WINDOW)).unwrap_or_default();
        let filled = evidence.read_at(window, entry.offset).map_err(ContentFault::Read)?;
        if window.get(..expected.len().min(filled)) != Some(&expected) {
            return Err(header_fault(evidence, entry));
        }
        let in_window = entry.sizes.compressed.min((filled - expected.len()) as u64);
        let end = expected.len() + usize::try_from(in_window).unwrap_or_default();
        Ok(Self {
            evidence,
            scratch,
            unread: expected.len()..end,
            filled,
            next: entry.offset.saturating_add(filled as u64),
            compressed_left: entry.sizes.compressed - in_window,
            hasher: Sha256::new(),
            crc: crc32fast::Hasher::new(),
            size: 0,
            ended: false,
            fault: None,
            entry: entry.clone(),
        })
    }

    /// Reads what is left, then checks stream end, size, CRC-32 and descriptor.
    pub(crate) fn finish(self) -> Result<MemberTotals, ContentFault> {
        self.finish_with().0
    }

    /// The same, and gives the buffers back.
    pub(crate) fn finish_with(mut self) -> (Result<MemberTotals, ContentFault>, Scratch) {
        let mut rest = std::mem::take(&mut self.scratch.content);
        while self.read(&mut rest).is_ok_and(|made| made > 0) {}
        self.scratch.content = rest;
        let faultless = self.check_totals().and_then(|()| self.check_descriptor());
        let totals = faultless.map(|()| MemberTotals { size: self.size, sha256: self.hasher.into() });
        (totals, self.scratch)
    }

    fn check_totals(&mut self) -> Result<(), ContentFault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.size != self.entry.sizes.size {
            return Err(ContentFault::Content("its content is shorter than stated"));
        }
        if self.crc.clone().finalize() != self.entry.sizes.crc32 {
            return Err(ContentFault::Content("its content does not have the stated CRC-32"));
        }
        Ok(())
    }

    /// The descriptor stands behind the content, which has been read to its end.
    fn check_descriptor(&self) -> Result<(), ContentFault> {
        let expected = self.entry.descriptor();
        let end = self.unread.end;
        let is_equal = if end + expected.len() <= self.filled {
            self.scratch.window.get(end..end + expected.len()) == Some(&expected)
        } else {
            let place = self.next.saturating_sub((self.filled - end) as u64);
            self.evidence.range(place, expected.len()).map_err(ContentFault::Read)? == expected
        };
        if is_equal {
            Ok(())
        } else {
            Err(ContentFault::Frame("its data descriptor differs from its directory entry"))
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        let wanted = usize::try_from(self.compressed_left.min(WINDOW as u64)).unwrap_or(WINDOW);
        let window = self.scratch.window.get_mut(..wanted).unwrap_or_default();
        let read = self.evidence.read_at(window, self.next)?;
        (self.unread, self.filled) = (0..read, read);
        self.next += read as u64;
        self.compressed_left -= read as u64;
        if read == 0 && wanted > 0 {
            self.compressed_left = 0;
            self.end_with("the file ends within its content");
        }
        Ok(())
    }

    fn end_with(&mut self, what: &'static str) {
        self.fault.get_or_insert(ContentFault::Content(what));
        self.ended = true;
    }

    /// Some content into `out`; zero only when nothing more comes.
    fn advance(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            if self.unread.is_empty() && self.compressed_left > 0 {
                self.refill()?;
                continue;
            }
            let made = match self.entry.header.method {
                Method::Deflated => self.inflate(out),
                Method::Stored => self.copy(out),
            };
            if made > 0 {
                return Ok(made);
            }
        }
        Ok(0)
    }

    fn copy(&mut self, out: &mut [u8]) -> usize {
        let input = self.scratch.window.get(self.unread.clone()).unwrap_or_default();
        let taken = input.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..taken), input.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.unread.start += taken;
        self.ended = self.unread.is_empty() && self.compressed_left == 0;
        taken
    }

    fn inflate(&mut self, out: &mut [u8]) -> usize {
        let Scratch { window, inflate, .. } = &mut self.scratch;
        let input = window.get(self.unread.clone()).unwrap_or_default();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, out, FlushDecompress::None);
        let taken = usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
        let made = usize::try_from(inflate.total_out() - before_out).unwrap_or(usize::MAX);
        self.unread.start = self.unread.start.saturating_add(taken).min(self.unread.end);
        let input_left = !self.unread.is_empty() || self.compressed_left > 0;
        match status {
            Ok(Status::StreamEnd) if input_left => {
                self.end_with("bytes follow the end of its deflate stream")
            }
            Ok(Status::StreamEnd) => self.ended = true,
            Ok(_) if made == 0 && taken == 0 && !input_left => self.end_with("its deflate stream is cut off"),
            Ok(_) => {}
            Err(_) => self.end_with("its deflate stream is broken"),
        }
        made
    }
}

/// Tells a local header that contradicts the directory from one that no writer emits.
fn header_fault(evidence: &dyn Evidence, entry: &Entry) -> ContentFault {
    match evidence.range(entry.offset, MAX_LOCAL) {
        Ok(bytes) if MemberHeader::parse_local(&bytes).is_ok() => ContentFault::Directory,
        Ok(_) => ContentFault::Frame("its local header is not in its one form"),
        Err(error) => ContentFault::Read(error),
    }
}

impl Read for MemberReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let made = match self.advance(out) {
            Ok(made) => made,
            Err(error) => {
                self.fault = Some(ContentFault::Read(io::Error::new(error.kind(), error.to_string())));
                self.ended = true;
                return Err(error);
            }
        };
        let content = out.get(..made).unwrap_or_default();
        self.size += made as u64;
        if self.size > self.entry.sizes.size {
            // Never inflated past what was stated: a bomb ends here.
            self.end_with("its content is longer than stated");
            return Ok(0);
        }
        self.hasher.update(content);
        self.crc.update(content);
        Ok(made)
    }
}

/// Lines of a member, each of bounded length.
pub(crate) struct Lines<'e> {
    reader: BufReader<MemberReader<'e>>,
    line: Vec<u8>,
}

/// A line that cannot be handed out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// Longer than a line may be.
    TooLong,
    /// The last line has no newline.
    Unterminated,
}

impl<'e> Lines<'e> {
    /// The lines of a member.
    pub(crate) fn new(reader: MemberReader<'e>) -> Self {
        Self { reader: BufReader::with_capacity(WINDOW, reader), line: Vec::new() }
    }

    /// The next line without its newline.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>, LineFault> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(MAX_LINE as u64 + 1);
        // A read error is kept by the member's own reader and told by `finish`.
        let read = bounded.read_until(b'\n', &mut self.line).unwrap_or(0);
        match self.line.split_last() {
            None => Ok(None),
            Some((b'\n', line)) => Ok(Some(line)),
            Some(_) if read > MAX_LINE => Err(LineFault::TooLong),
            Some(_) => Err(LineFault::Unterminated),
        }
    }

    /// Reads what is left and checks the member.
    pub(crate) fn finish(self) -> Result<MemberTotals, ContentFault> {
        self.reader.into_inner().finish()
    }
}
