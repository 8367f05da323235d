//! Owns the bytes of the package file: the only place that writes them, front to back, hashing as it goes; refuses to
//! seek back.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_schemas::container::{Directory, MemberHeader, MemberSizes, Method, ZipTime};
use holdfast_schemas::digest::Sha256Digest;
use sha2::{Digest, Sha256};

use super::journal::{Journal, JournalMember, Kind};
use super::output::Output;
use super::pipeline::{MemberEnd, Packed, Part};

/// Bytes on their way out, for progress and for the watch on free space; read by others while the sink writes.
#[derive(Default)]
pub(crate) struct Meter {
    /// Bytes of the package so far.
    pub package: AtomicU64,
    /// Bytes of the journal so far.
    pub journal: AtomicU64,
}

/// The package file being written.
pub(super) struct Sink {
    output: Output,
    hasher: Sha256,
    offset: u64,
    pub(super) journal: Journal,
    folder: String,
    open: Option<OpenMember>,
    meter: Arc<Meter>,
}

struct OpenMember {
    header: MemberHeader,
    offset: u64,
    compressed: u64,
}

impl Sink {
    pub(super) fn new(output: Output, journal: Journal, folder: String, meter: Arc<Meter>) -> Self {
        Self { output, hasher: Sha256::new(), offset: 0, journal, folder, open: None, meter }
    }

    /// A package that is gone on with after `offset` bytes, which `hasher` has seen.
    pub(super) fn resumed(
        output: Output,
        journal: Journal,
        folder: String,
        meter: Arc<Meter>,
        hasher: Sha256,
        offset: u64,
    ) -> Self {
        Self { hasher, offset, ..Self::new(output, journal, folder, meter) }
    }

    /// Bytes written so far and their SHA-256.
    pub(super) fn prefix(&self) -> (u64, Sha256Digest) {
        (self.offset, self.hasher.clone().into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes what the workers made of one batch.
    pub(super) fn accept(&mut self, packed: &mut Packed) -> io::Result<()> {
        for part in packed.parts.drain(..) {
            match part {
                Part::Begin(header) => self.begin(header)?,
                Part::Bytes(range) => {
                    let bytes = packed.bytes.get(range).unwrap_or_default();
                    self.write(bytes)?;
                    if let Some(open) = &mut self.open {
                        open.compressed += bytes.len() as u64;
                    }
                }
                Part::End(end) => self.end(end)?,
                Part::Line(kind, range) => {
                    self.journal.append(kind, packed.lines.get(range).unwrap_or_default())?
                }
            }
        }
        self.meter.package.store(self.offset, Ordering::Relaxed);
        self.meter.journal.store(self.journal.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn begin(&mut self, header: MemberHeader) -> io::Result<()> {
        let offset = self.offset;
        self.write(&header.render_local(None))?;
        self.open = Some(OpenMember { header, offset, compressed: 0 });
        Ok(())
    }

    fn end(&mut self, end: MemberEnd) -> io::Result<()> {
        let open = self.open.take().ok_or_else(|| io::Error::other("a member ended that had not begun"))?;
        let sizes = MemberSizes { crc32: end.crc32, compressed: open.compressed, size: end.size };
        self.write(&open.header.render_descriptor(&sizes))?;
        self.note(&open.header, &sizes, open.offset, end.sha256)
    }

    fn note(
        &mut self,
        header: &MemberHeader,
        sizes: &MemberSizes,
        offset: u64,
        sha256: Sha256Digest,
    ) -> io::Result<()> {
        let name = header.name.get(self.folder.len() + 1..).unwrap_or_default().to_owned();
        self.journal.append_member(&JournalMember {
            name,
            modified: header.modified.unix_seconds(),
            stored: header.method == Method::Stored,
            zip64: header.zip64,
            crc32: sizes.crc32,
            compressed: sizes.compressed,
            size: sizes.size,
            offset,
            sha256,
        })
    }

    /// Writes a stored member whole.
    pub(super) fn write_stored(&mut self, name: &str, modified: ZipTime, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        let sizes = MemberSizes { crc32: crc32fast::hash(content), compressed: size, size };
        let name = format!("{}/{name}", self.folder);
        let header = MemberHeader { name, modified, method: Method::Stored, zip64: false };
        let offset = self.offset;
        self.write(&header.render_local(Some(&sizes)))?;
        self.write(content)?;
        self.note(&header, &sizes, offset, Sha256Digest::of(content))
    }

    /// Writes directory and end records, flushes everything to the medium and gives the file its name. Returns the
    /// whole file's length and digest.
    pub(super) fn close(mut self) -> io::Result<(u64, Sha256Digest)> {
        let offset = self.offset;
        let mut entries = 0;
        for member in self.journal.members()? {
            let member = member?;
            let (header, sizes) = member.header(&self.folder);
            self.write(&header.render_central(&sizes, member.offset))?;
            entries += 1;
        }
        let directory = Directory { entries, offset, bytes: self.offset - offset };
        self.write(&directory.render_end())?;
        self.output.finish()?;
        Ok((self.offset, self.hasher.into()))
    }

    /// Gives up after a failed write: brings the journal to the medium, for `recover`.
    pub(super) fn give_up(mut self) {
        // Where even this fails, the journal is as long as it is.
        let _ = self.journal.save();
    }

    /// Appends the collection as planned to the journal, for `recover`.
    pub(super) fn note_context(&mut self, json: &[u8]) -> io::Result<()> {
        self.journal.append(Kind::Context, json)
    }
}
