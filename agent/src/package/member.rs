//! Owns one member while it is written: every byte is read once, hashed and handed on; refuses content beyond the
//! size its form can hold.

use std::io::{self, Read, Write};

use holdfast_schemas::container::{MemberHeader, Method, ZIP64_FROM, ZipTime};
use holdfast_schemas::digest::Sha256Digest;
use sha2::{Digest, Sha256};

use super::PackageError;
use super::pipeline::{Event, MemberEnd, Pipeline};

/// The header of a deflated member with at most `bound` bytes of content.
pub(super) fn deflated(name: String, modified: ZipTime, bound: u64) -> MemberHeader {
    MemberHeader { name, modified, method: Method::Deflated, zip64: bound > ZIP64_FROM }
}

/// A member that takes content.
pub(crate) struct MemberWriter<'a> {
    pipeline: &'a mut Pipeline,
    hasher: Sha256,
    crc: crc32fast::Hasher,
    size: u64,
    most: u64,
    /// Where in the batch the content begins that no event covers yet.
    from: usize,
    start: Start,
}

/// Where the member began, so that it can be withdrawn while nothing of it has been handed on.
struct Start {
    handed_on: u64,
    events: usize,
    data: usize,
}

/// What became of a finished member's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    /// Bytes.
    pub size: u64,
    /// Their digest.
    pub sha256: Sha256Digest,
}

/// How reading a source ended.
pub(crate) enum ReadEnd {
    /// At its end, or at the bound.
    Reached,
    /// With an error of the source.
    Failed(io::Error),
}

impl<'a> MemberWriter<'a> {
    pub(super) fn begin(pipeline: &'a mut Pipeline, header: MemberHeader) -> Self {
        let most = if header.zip64 { u64::MAX } else { ZIP64_FROM };
        let handed_on = pipeline.handed_on();
        let batch = pipeline.batch();
        let start = Start { handed_on, events: batch.events.len(), data: batch.data.len() };
        batch.events.push(Event::Begin(header));
        let from = start.data;
        Self { pipeline, hasher: Sha256::new(), crc: crc32fast::Hasher::new(), size: 0, most, from, start }
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads `source` to its end, but at most `bound` bytes in all.
    pub(crate) fn read_from(&mut self, source: &mut impl Read, bound: u64) -> Result<ReadEnd, PackageError> {
        while self.size < bound.min(self.most) {
            let room = self.room()?;
            let wanted = (bound.min(self.most) - self.size).min(room as u64);
            let batch = self.pipeline.batch();
            let before = batch.data.len();
            let read = source.by_ref().take(wanted).read_to_end(&mut batch.data);
            self.note(before);
            match read {
                Ok(read) if (read as u64) < wanted => break,
                Ok(_) => {}
                Err(error) => return Ok(ReadEnd::Failed(error)),
            }
        }
        Ok(ReadEnd::Reached)
    }

    /// Hashes what was appended to the batch since it had `before` bytes.
    fn note(&mut self, before: usize) {
        let new = self.pipeline.batch().data.get(before..).unwrap_or_default();
        self.hasher.update(new);
        self.crc.update(new);
        self.size += new.len() as u64;
    }

    /// Room in the batch, after handing on a full one.
    fn room(&mut self) -> Result<usize, PackageError> {
        if self.pipeline.batch().room() == 0 {
            self.cover();
            self.pipeline.hand_on()?;
            self.from = 0;
        }
        Ok(self.pipeline.batch().room())
    }

    /// Adds the event for the content that has none yet.
    fn cover(&mut self) {
        let batch = self.pipeline.batch();
        let until = batch.data.len();
        batch.events.push(Event::Data(self.from..until));
        self.from = until;
    }

    /// Ends the member.
    pub(crate) fn finish(mut self) -> Result<Content, PackageError> {
        self.cover();
        let content = Content { size: self.size, sha256: self.hasher.into() };
        let end = MemberEnd { crc32: self.crc.finalize(), size: content.size, sha256: content.sha256 };
        self.pipeline.push(Event::End(end))?;
        Ok(content)
    }

    /// Takes the member back as if it had never begun; gives it back when part of it has been handed on.
    pub(crate) fn withdraw(self) -> Option<Self> {
        if self.start.handed_on != self.pipeline.handed_on() {
            return Some(self);
        }
        let batch = self.pipeline.batch();
        batch.events.truncate(self.start.events);
        batch.data.truncate(self.start.data);
        None
    }
}

impl Write for MemberWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room().map_err(io::Error::other)?;
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        if self.size + taken.len() as u64 > self.most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "more content than the member was announced to have",
            ));
        }
        let batch = self.pipeline.batch();
        let before = batch.data.len();
        batch.data.extend_from_slice(taken);
        self.note(before);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
