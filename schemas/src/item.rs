//! Owns the item record: one line of `items.jsonl` for everything attempted; refuses records that contradict themselves.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::json::RecordError;
use crate::name::check_member_name;
use crate::text::{Base64Bytes, Salt};
use crate::time::UtcTime;

/// One attempt to acquire something and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemRecord {
    /// Position in `items.jsonl`, from 1, without gaps.
    pub id: u64,
    /// Name of the definition or table that asked for it.
    pub artifact: String,
    /// Name of the member that holds the content, below the package folder; null where there is none.
    pub member: Option<String>,
    /// Absolute path on the examined host, where it is valid UTF-8.
    pub source_path: Option<String>,
    /// The same path's raw bytes; null only for generated tables, which come from no single path.
    pub source_path_raw: Option<Base64Bytes>,
    /// What stood at that path.
    pub kind: ItemKind,
    /// How a court would have it authenticated.
    pub evidence_route: EvidenceRoute,
    /// What became of the attempt.
    pub outcome: Outcome,
    /// Why, in the operating system's words, where the outcome is not plain success.
    pub error: Option<String>,
    /// Bytes of content in the member.
    pub size: Option<u64>,
    /// SHA-256 of those bytes, computed as they were read.
    pub sha256: Option<Sha256Digest>,
    /// The source's size after reading, where that differs from `metadata.size`.
    pub size_after: Option<u64>,
    /// For a sparse file: the ranges the member holds, one after another; everything else was a hole and reads as zeros.
    /// Null where the member is the file from its first byte.
    pub extents: Option<Vec<Extent>>,
    /// For a further name of a file that is here already: the item that holds its content.
    pub same_as: Option<u64>,
    /// What the file system said of the source before it was read.
    pub metadata: Option<FileMetadata>,
    /// Before the first byte was read, by the host's clock.
    pub read_started: Option<UtcTime>,
    /// After the last byte was read, by the host's clock.
    pub read_finished: Option<UtcTime>,
    /// Whether reading left the access time alone; null where nothing was read.
    pub atime_preserved: Option<bool>,
    /// Random bytes of this record, so that its hash gives nothing away.
    pub salt: Salt,
}

/// A range of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// Its length, bytes; never 0.
    pub length: u64,
}

/// What the file system says of a file, taken before reading; times by the file system, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMetadata {
    /// Size in bytes.
    pub size: u64,
    /// Permission bits with set-user-ID, set-group-ID and sticky: the low twelve bits of `st_mode`.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name by the host's own /etc/passwd, where it has one; bytes that are not UTF-8 are escaped as `\xNN`.
    pub user: Option<String>,
    /// Group's name by the host's own /etc/group, where it has one; escaped likewise.
    pub group: Option<String>,
    /// Device that holds the file, `major:minor`.
    pub device: String,
    /// Inode number.
    pub inode: u64,
    /// Hard links.
    pub nlink: u64,
    /// Content last changed.
    pub mtime: Option<UtcTime>,
    /// Inode last changed.
    pub ctime: Option<UtcTime>,
    /// Last read, before this acquisition.
    pub atime: Option<UtcTime>,
    /// Created, where the file system keeps it.
    pub btime: Option<UtcTime>,
    /// Target of a symbolic link, where it is valid UTF-8.
    pub link_target: Option<String>,
    /// Raw bytes of that target.
    pub link_target_raw: Option<Base64Bytes>,
    /// Extended attributes, in the order the kernel lists them.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xattr {
    /// Name with its namespace, such as `security.capability`; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Value.
    pub value: Base64Bytes,
}

/// What an item is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link; recorded, never followed.
    Symlink,
    /// Named pipe; never opened.
    Fifo,
    /// Socket; never opened.
    Socket,
    /// Character device; never opened.
    CharDevice,
    /// Block device; never opened.
    BlockDevice,
    /// Table generated from kernel interfaces.
    Table,
    /// Text of a kernel interface, kept as it was read.
    KernelText,
    /// Output of a program of the host, run because the examiner allowed it: the word of that program, no more.
    CommandOutput,
    /// Not known, because it could not be looked at.
    Unknown,
}

/// How content came to be, which decides how it is authenticated (Fed. R. Evid. 902(13) and 902(14)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceRoute {
    /// Bytes copied from the host.
    Copied,
    /// A record this program generated.
    Generated,
}

/// What became of an attempt. "Found none", "could not look" and "was not asked" are never the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Read whole, unchanged while read.
    Collected,
    /// Read, but size or modification time differed afterwards; the member holds exactly the bytes that were read.
    ChangedWhileRead,
    /// Read up to a limit.
    TruncatedByLimit,
    /// The operating system refused.
    Denied,
    /// The definition named it and the host has none, or it vanished before it was opened.
    Missing,
    /// A link, socket, pipe, device or directory: recorded without content.
    NotRegular,
    /// Reading failed; a member, where there is one, holds the bytes before the failure.
    ReadError,
    /// Found, but outside what was asked for.
    SkippedByScope,
    /// Found, but left out because a stated limit of the collection was reached.
    SkippedByLimit,
    /// A further name of a file whose content another item holds.
    HardLink,
    /// Asked for, but of a kind this host cannot have, such as a Windows registry key.
    NotApplicable,
}

impl Outcome {
    /// Every outcome, in the order reports list them.
    pub const ALL: [Self; 11] = [
        Self::Collected,
        Self::ChangedWhileRead,
        Self::TruncatedByLimit,
        Self::Denied,
        Self::Missing,
        Self::NotRegular,
        Self::ReadError,
        Self::SkippedByScope,
        Self::SkippedByLimit,
        Self::HardLink,
        Self::NotApplicable,
    ];

    /// Whether the package holds content for this outcome; `None` where either may be.
    pub fn has_content(self) -> Option<bool> {
        match self {
            Self::Collected | Self::ChangedWhileRead | Self::TruncatedByLimit => Some(true),
            Self::ReadError => None,
            Self::Denied
            | Self::Missing
            | Self::NotRegular
            | Self::SkippedByScope
            | Self::SkippedByLimit
            | Self::HardLink
            | Self::NotApplicable => Some(false),
        }
    }

    /// Whether a reader must be told: something asked for and present is not here whole and still.
    pub fn is_exception(self) -> bool {
        matches!(
            self,
            Self::ChangedWhileRead
                | Self::TruncatedByLimit
                | Self::Denied
                | Self::ReadError
                | Self::SkippedByLimit
        )
    }

    /// The outcome as records write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collected => "collected",
            Self::ChangedWhileRead => "changed_while_read",
            Self::TruncatedByLimit => "truncated_by_limit",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::NotRegular => "not_regular",
            Self::ReadError => "read_error",
            Self::SkippedByScope => "skipped_by_scope",
            Self::SkippedByLimit => "skipped_by_limit",
            Self::HardLink => "hard_link",
            Self::NotApplicable => "not_applicable",
        }
    }

    /// The outcome in plain words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Collected => "collected",
            Self::ChangedWhileRead => "changed while being read",
            Self::TruncatedByLimit => "cut at a size limit",
            Self::Denied => "access denied",
            Self::Missing => "not on this host",
            Self::NotRegular => "recorded without content (link, folder, pipe, socket or device)",
            Self::ReadError => "could not be read",
            Self::SkippedByScope => "outside what was asked for",
            Self::SkippedByLimit => "left out by a limit",
            Self::HardLink => "further names of files that are here already",
            Self::NotApplicable => "of a kind this host cannot have",
        }
    }
}

impl ItemRecord {
    /// Checks that the record does not contradict itself.
    pub fn check(&self) -> Result<(), RecordError> {
        let content = [self.member.is_some(), self.size.is_some(), self.sha256.is_some()];
        let expected = self.outcome.has_content().unwrap_or(self.member.is_some());
        if content != [expected; 3] {
            return Err(RecordError::new(
                "member, size and sha256 stand exactly where the outcome has content",
            ));
        }
        if let Some(member) = &self.member {
            check_payload_name(member)?;
        }
        if let Some(metadata) = &self.metadata {
            metadata.check()?;
        }
        if self.source_path.is_some() && self.source_path_raw.is_none() {
            return Err(RecordError::new("source_path stands without source_path_raw"));
        }
        if let (Some(text), Some(raw)) = (&self.source_path, &self.source_path_raw)
            && text.as_bytes() != raw.0
        {
            return Err(RecordError::new("source_path and source_path_raw differ"));
        }
        if let (Some(started), Some(finished)) = (self.read_started, self.read_finished)
            && started > finished
        {
            return Err(RecordError::new("reading finished before it started"));
        }
        let must_explain = matches!(
            self.outcome,
            Outcome::Denied | Outcome::ReadError | Outcome::TruncatedByLimit | Outcome::SkippedByLimit
        );
        if must_explain && self.error.is_none() {
            return Err(RecordError::new("the outcome needs an error text"));
        }
        self.check_links()
    }

    fn check_links(&self) -> Result<(), RecordError> {
        if (self.outcome == Outcome::HardLink) != self.same_as.is_some() {
            return Err(RecordError::new("same_as stands exactly where the outcome is hard_link"));
        }
        if self.same_as.is_some_and(|same| same == 0 || same >= self.id) {
            return Err(RecordError::new("same_as is not an earlier item"));
        }
        let Some(extents) = &self.extents else { return Ok(()) };
        let mut end = 0u64;
        let mut held = 0u64;
        for extent in extents {
            let next = extent.offset.checked_add(extent.length);
            let (Some(next), true, true) = (next, extent.offset >= end, extent.length > 0) else {
                return Err(RecordError::new("extents do not follow each other"));
            };
            (end, held) = (next, held + extent.length);
        }
        if self.size != Some(held) {
            return Err(RecordError::new("extents do not add up to size"));
        }
        Ok(())
    }
}

/// Checks that a member's name is one that evidence may have.
fn check_payload_name(member: &str) -> Result<(), RecordError> {
    if !["data/fs/", "data/state/", "data/raw/"].iter().any(|root| member.starts_with(root)) {
        return Err(RecordError::new("member is not below data/fs, data/state or data/raw"));
    }
    check_member_name(member).map_err(|error| RecordError::new(format!("member: {error}")))
}

impl FileMetadata {
    fn check(&self) -> Result<(), RecordError> {
        if self.mode > 0o7777 {
            return Err(RecordError::new("mode has more than the low twelve bits"));
        }
        let number = |text: &str| text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
        if !self.device.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor)) {
            return Err(RecordError::new("device is not written major:minor"));
        }
        Ok(())
    }
}
