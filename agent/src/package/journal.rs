//! Owns the journal beside the output: every item, action and member as it comes, from which the records, manifests and
//! directory are written and an interrupted collection is recovered; refuses nothing and holds no evidence bytes.
//!
//! A line is one letter for its kind, a space, one JSON text and a newline.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};

use holdfast_schemas::container::{MemberHeader, MemberSizes, Method, ZipTime};
use holdfast_schemas::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// Kinds of journal line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The collection as planned, for `recover`.
    Context,
    /// A line of `items.jsonl`.
    Item,
    /// A line of `actions.jsonl`.
    Action,
    /// A finished member: [`JournalMember`].
    Member,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Self::Context => b'c',
            Self::Item => b'i',
            Self::Action => b'a',
            Self::Member => b'm',
        }
    }
}

/// A finished member, as manifest and directory need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalMember {
    /// Name below the package folder.
    pub name: String,
    pub modified: i64,
    pub stored: bool,
    pub zip64: bool,
    pub crc32: u32,
    pub compressed: u64,
    pub size: u64,
    /// Offset of the local header.
    pub offset: u64,
    pub sha256: Sha256Digest,
}

impl JournalMember {
    /// The header and sizes that the directory entry is rendered from.
    pub(super) fn header(&self, folder: &str) -> (MemberHeader, MemberSizes) {
        let header = MemberHeader {
            name: format!("{folder}/{}", self.name),
            modified: ZipTime::nearest(self.modified),
            method: if self.stored { Method::Stored } else { Method::Deflated },
            zip64: self.zip64,
        };
        (header, MemberSizes { crc32: self.crc32, compressed: self.compressed, size: self.size })
    }
}

/// The journal, open for appending and for reading back.
pub(super) struct Journal {
    out: BufWriter<File>,
    bytes: u64,
    /// The member being written down.
    member: Vec<u8>,
    /// Bytes of the file that have room on the medium already.
    reserved: u64,
}

const BUFFER: usize = 256 * 1024;
/// Room is reserved this far ahead, so that what is buffered can be saved when the disk is full.
const AHEAD: u64 = 4 * BUFFER as u64;

impl Journal {
    /// A journal in a new, empty file that can be read and written.
    pub(super) fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, file), bytes: 0, member: Vec::new(), reserved: 0 }
    }

    /// A journal that is gone on with: it has `bytes` bytes, and its file's position is its end.
    pub(super) fn resumed(file: File, bytes: u64) -> Self {
        Self { bytes, ..Self::new(file) }
    }

    /// Bytes appended so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Brings everything appended to the medium.
    pub(super) fn save(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_data()
    }

    /// Appends a line; `json` holds no newline.
    pub(super) fn append(&mut self, kind: Kind, json: &[u8]) -> io::Result<()> {
        self.reserve(json.len() as u64);
        self.out.write_all(&[kind.letter(), b' '])?;
        self.out.write_all(json)?;
        self.out.write_all(b"\n")?;
        self.bytes += json.len() as u64 + 3;
        Ok(())
    }

    fn reserve(&mut self, more: u64) {
        let needed = self.bytes + more + AHEAD / 2;
        if needed > self.reserved {
            let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
            // Not every file system can; a full disk may then cost the last lines of the journal.
            let _ = rustix::fs::fallocate(
                self.out.get_ref(),
                flags,
                self.reserved,
                needed + AHEAD / 2 - self.reserved,
            );
            self.reserved = needed + AHEAD / 2;
        }
    }

    /// Appends a member.
    pub(super) fn append_member(&mut self, member: &JournalMember) -> io::Result<()> {
        let mut json = std::mem::take(&mut self.member);
        json.clear();
        serde_json::to_writer(&mut json, member)?;
        self.append(Kind::Member, &json)?;
        self.member = json;
        Ok(())
    }

    /// Everything of one kind that has been appended so far, in order. Appending may go on meanwhile: the reader has a
    /// position of its own.
    pub(super) fn lines(&mut self, kind: Kind) -> io::Result<JournalLines> {
        self.out.flush()?;
        // Reading through /proc/self/fd reopens the same file, also when its name is gone.
        let mut file = reopen(self.out.get_ref())?;
        file.seek(SeekFrom::Start(0))?;
        Ok(JournalLines {
            reader: BufReader::with_capacity(256 * 1024, file),
            left: self.bytes,
            kind,
            line: Vec::new(),
        })
    }

    /// Every member so far.
    pub(super) fn members(&mut self) -> io::Result<impl Iterator<Item = io::Result<JournalMember>> + use<>> {
        let mut lines = self.lines(Kind::Member)?;
        Ok(std::iter::from_fn(move || match lines.next_line() {
            Ok(None) => None,
            Ok(Some(line)) => Some(serde_json::from_slice(line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }))
    }
}

fn reopen(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Reads journal lines of one kind.
pub(super) struct JournalLines {
    reader: BufReader<File>,
    left: u64,
    kind: Kind,
    line: Vec<u8>,
}

impl JournalLines {
    /// The next line's JSON text, without kind and newline.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let wanted = self.reader.fill_buf()?.first() == Some(&self.kind.letter());
            self.line.clear();
            let read = match wanted {
                true => self.reader.read_until(b'\n', &mut self.line)?,
                false => self.reader.skip_until(b'\n')?,
            };
            if read == 0 || read as u64 > self.left {
                return Ok(None);
            }
            self.left -= read as u64;
            if wanted {
                return Ok(self.line.get(2..self.line.len() - 1));
            }
        }
    }
}
