//! Owns what becomes of one entry that was found: read once into the package, or recorded without content and why;
//! refuses to open what is not a regular file, and to read a byte more than there was when it was looked at.

use std::io;

use holdfast_schemas::action::Action;
use holdfast_schemas::item::{EvidenceRoute, Extent, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::text::Base64Bytes;

use super::files::{Artifact, FileSearch};
use super::space::SpaceWatch;
use super::{Halt, Session, StopSignal};
use crate::clock;
use crate::package::{Content, MemberWriter, ReadEnd};
use crate::source::{self, Folder, Looked, OpenFile};

/// Bytes read of one file before free space and the wish to stop are looked at again.
pub(super) const STRETCH: u64 = 4 << 20;
/// Bytes of holes from which on a file is stored as the ranges that hold data.
const SPARSE: u64 = 64 << 20;
/// Most ranges of one sparse file: its record must stay well below a line's 1 MiB.
const MAX_EXTENTS: usize = 8_192;
/// Most bytes of one text that the kernel makes up as it is read.
const KERNEL_TEXT: usize = 16 << 20;

/// Where member names of copied files begin.
const ROOT: &str = "data/fs";
/// Where member names begin of what was read through the kernel's own paths.
pub(super) const RAW: &str = "data/raw";

/// A file or folder that is not there, or could not be looked at or read.
pub(super) struct Failure<'a> {
    pub(super) path: &'a [u8],
    pub(super) looked: Option<&'a Looked>,
    pub(super) error: io::Error,
}

/// What became of one file's bytes.
struct Copied {
    member: String,
    content: Option<Content>,
    error: Option<io::Error>,
    limit: Option<&'static str>,
}

impl FileSearch<'_, '_> {
    /// Takes an entry: the bytes of a regular file, the record of everything else.
    pub(super) fn take(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        artifact: &Artifact,
    ) -> Result<(), Halt> {
        let path = folder.join(name);
        if looked.kind != ItemKind::File {
            return self.record_only(folder, name, looked, artifact);
        }
        if looked.has_further_names()
            && let Some(item) = self.held.get(&looked.identity).copied()
        {
            let mut record = self.draft(&path, artifact, ItemKind::File, Outcome::HardLink);
            record.same_as = Some(item);
            record.metadata = Some(looked.metadata(&self.session.owners));
            return self.record(record, Action::Record).map(drop);
        }
        if source::kernel_made(folder) && self.session.root.is_live() {
            return self.take_kernel_text(&path, looked, artifact);
        }
        if let Some(why) = self.over_limit(looked, artifact) {
            return self.leave_out(&path, Some(looked), artifact, Outcome::SkippedByLimit, &why);
        }
        match folder.open(name, looked) {
            Ok(file) => {
                let item = self.session.read_file(ROOT, &path, looked, file, &artifact.name)?;
                if let Some(item) = item.filter(|_| looked.has_further_names()) {
                    self.held.insert(looked.identity, item);
                }
                Ok(())
            }
            Err(error) => self.fail(artifact, Failure { path: &path, looked: Some(looked), error }),
        }
    }

    fn record_only(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        artifact: &Artifact,
    ) -> Result<(), Halt> {
        let mut record = self.draft(&folder.join(name), artifact, looked.kind, Outcome::NotRegular);
        let mut metadata = looked.metadata(&self.session.owners);
        if looked.kind == ItemKind::Symlink
            && let Ok(target) = folder.read_link(name)
        {
            metadata.link_target = String::from_utf8(target.clone()).ok();
            metadata.link_target_raw = Some(Base64Bytes(target));
        }
        record.metadata = Some(metadata);
        self.record(record, Action::Record).map(drop)
    }

    /// The limit that keeps a file's content out, in words.
    fn over_limit(&self, looked: &Looked, artifact: &Artifact) -> Option<String> {
        if let Some(most) = artifact.only.max_size.filter(|most| looked.size > *most) {
            return Some(format!("larger than the {most} bytes that {} takes of a file", artifact.name));
        }
        self.session.over_total(looked.size.saturating_sub(looked.holes()))
    }

    /// Keeps a text of the kernel that was asked for by its full name.
    fn take_kernel_text(&mut self, path: &[u8], looked: &Looked, artifact: &Artifact) -> Result<(), Halt> {
        let started = clock::now();
        let text = std::str::from_utf8(path).map(str::to_owned).map_err(io::Error::other);
        let read = text.and_then(|path| {
            self.session.watchdog.within(move |_| source::kernel_prefix(&path, KERNEL_TEXT))
        });
        let prefix = match read {
            Ok(prefix) => prefix,
            Err(error) => return self.fail(artifact, Failure { path, looked: Some(looked), error }),
        };
        let outcome = if prefix.cut { Outcome::TruncatedByLimit } else { Outcome::Collected };
        let mut record = self.draft(path, artifact, ItemKind::KernelText, outcome);
        record.error = prefix.cut.then(|| format!("cut at {KERNEL_TEXT} bytes: the kernel may never stop"));
        record.read_started = Some(started);
        record.read_finished = Some(clock::now()).max(record.read_started);
        self.session.write_bytes(path, &prefix.bytes, record).map(drop)
    }

    /// Records something that could not be looked at, opened or listed.
    pub(super) fn fail(&mut self, artifact: &Artifact, failure: Failure<'_>) -> Result<(), Halt> {
        let outcome = source::outcome_of(&failure.error);
        let kind = failure.looked.map_or(ItemKind::Unknown, |looked| looked.kind);
        let path = if failure.path.is_empty() { b"/" } else { failure.path };
        let mut record = self.draft(path, artifact, kind, outcome);
        record.error = Some(failure.error.to_string());
        record.metadata = failure.looked.map(|looked| looked.metadata(&self.session.owners));
        self.record(record, Action::ReadFile).map(drop)
    }

    /// Records something that was found and whose content is left out.
    pub(super) fn leave_out(
        &mut self,
        path: &[u8],
        looked: Option<&Looked>,
        artifact: &Artifact,
        outcome: Outcome,
        why: &str,
    ) -> Result<(), Halt> {
        let kind = looked.map_or(ItemKind::Unknown, |looked| looked.kind);
        let mut record = self.draft(path, artifact, kind, outcome);
        record.error = Some(why.to_owned());
        record.metadata = looked.map(|looked| looked.metadata(&self.session.owners));
        self.record(record, Action::Record).map(drop)
    }

    fn draft(&self, path: &[u8], artifact: &Artifact, kind: ItemKind, outcome: Outcome) -> Box<ItemRecord> {
        self.session.draft_of_path(path, &artifact.name, kind, outcome)
    }

    fn record(&mut self, record: Box<ItemRecord>, action: Action) -> Result<u64, Halt> {
        self.session.record(record, action)
    }
}

impl Session<'_> {
    /// The limit of the whole collection that `more` bytes would pass, in words.
    pub(super) fn over_total(&self, more: u64) -> Option<String> {
        let (limits, totals) = (&self.limits, self.package.totals());
        if limits.files.is_some_and(|most| totals.files >= most) {
            return Some("the collection's most files were reached (--max-files)".to_owned());
        }
        let reached = limits.total_size.is_some_and(|most| totals.bytes.saturating_add(more) > most);
        reached.then(|| "the collection's most bytes would be passed (--max-total-size)".to_owned())
    }

    /// Writes bytes that are at hand below [`RAW`] and adds their record; returns the member's name.
    pub(super) fn write_bytes(
        &mut self,
        path: &[u8],
        bytes: &[u8],
        mut record: Box<ItemRecord>,
    ) -> Result<String, Halt> {
        let bound = bytes.len() as u64;
        let (member, mut writer) = self.package.begin(RAW, path, clock::now().unix_seconds(), bound);
        writer.read_from(&mut &*bytes, bound)?;
        let content = writer.finish()?;
        hold(&mut record, member.clone(), content);
        self.record(record, Action::ReadFile)?;
        Ok(member)
    }

    /// Reads a regular file into the package: at most as many bytes as it had when it was looked at.
    ///
    /// Returns the item's number where it has content.
    pub(super) fn read_file(
        &mut self,
        root: &str,
        path: &[u8],
        looked: &Looked,
        mut source: OpenFile,
        artifact: &str,
    ) -> Result<Option<u64>, Halt> {
        let mut metadata = looked.metadata(&self.owners);
        metadata.xattrs = source.xattrs();
        let mut record = self.draft_of_path(path, artifact, ItemKind::File, Outcome::Collected);
        record.read_started = Some(clock::now());
        record.atime_preserved = Some(source.atime_preserved);
        self.access_times_changed += u64::from(!source.atime_preserved);

        let sparse = looked.holes() >= SPARSE;
        // A file system that cannot say where its holes are gives one range.
        let extents = sparse.then(|| source.extents(looked.size, MAX_EXTENTS).ok()).flatten();
        let whole = vec![(0, looked.size)];
        let mut ranges = extents.clone().unwrap_or(whole);
        let wanted: u64 = ranges.iter().map(|(_, length)| length).sum();
        let copied = self.copy(root, path, looked, &mut source, &ranges)?;
        record.read_finished = Some(clock::now()).max(record.read_started);
        let after = source.look().ok().filter(|after| after.differs_from(looked));
        record.size_after = after.as_ref().map(|after| after.size).filter(|size| *size != metadata.size);
        let whole = copied.content.is_some_and(|content| content.size == wanted);
        record.outcome = match (&copied.error, &copied.limit) {
            (Some(_), _) => Outcome::ReadError,
            (None, Some(_)) => Outcome::TruncatedByLimit,
            (None, None) if after.is_some() || !whole => Outcome::ChangedWhileRead,
            (None, None) => Outcome::Collected,
        };
        record.error =
            copied.error.map(|error| error.to_string()).or_else(|| copied.limit.map(str::to_owned));
        if let Some(content) = copied.content {
            hold(&mut record, copied.member, content);
            if extents.is_some() {
                shorten(&mut ranges, content.size);
                let extent = |(offset, length)| Extent { offset, length };
                record.extents = Some(ranges.into_iter().map(extent).collect());
            }
        }
        record.metadata = Some(metadata);
        let has_content = record.member.is_some();
        let item = self.record(record, Action::ReadFile)?;
        Ok(has_content.then_some(item))
    }

    /// Copies ranges of a file, one after another.
    fn copy(
        &mut self,
        root: &str,
        path: &[u8],
        looked: &Looked,
        source: &mut OpenFile,
        ranges: &[(u64, u64)],
    ) -> Result<Copied, Halt> {
        let data: u64 = ranges.iter().map(|(_, length)| length).sum();
        let bound = data.min(self.limits.file_size);
        let (progress, ending) = (self.progress, self.ending());
        let (member, mut writer) = self.package.begin(root, path, looked.modified_seconds(), bound);
        let mut limit = (bound < data).then_some("cut at the size limit for one file (--max-file-size)");
        let mut error = None;
        'ranges: for (from, length) in ranges {
            if *from > 0
                && let Err(failure) = io::Seek::seek(&mut source.file, io::SeekFrom::Start(*from))
            {
                error = Some(failure);
                break;
            }
            let end = writer.size().saturating_add(*length).min(bound);
            while writer.size() < end {
                let (begun, until) = (writer.size(), writer.size().saturating_add(STRETCH).min(end));
                if let ReadEnd::Failed(failure) = writer.read_from(&mut source.file, until)? {
                    error = Some(failure);
                    break 'ranges;
                }
                if writer.size() < until {
                    // It was cut short since it was looked at.
                    break 'ranges;
                }
                progress.bytes(writer.size() - begun);
                if writer.size() < bound
                    && let Some(why) = ending.why_cut()
                {
                    limit = Some(why);
                    break 'ranges;
                }
            }
        }
        let content = match writer {
            writer if error.is_some() && writer.size() == 0 => writer.withdraw(),
            writer => Some(writer),
        };
        let content = content.map(MemberWriter::finish).transpose()?;
        Ok(Copied { member, content, error, limit })
    }

    /// What a long reading looks at now and then.
    pub(super) fn ending(&self) -> Ending {
        Ending { stop: self.stop.clone(), space: self.space.clone() }
    }

    /// A record of a path, raw bytes.
    pub(super) fn draft_of_path(
        &self,
        path: &[u8],
        artifact: &str,
        kind: ItemKind,
        outcome: Outcome,
    ) -> Box<ItemRecord> {
        let mut record = self.draft(artifact, kind, EvidenceRoute::Copied, outcome);
        record.source_path = std::str::from_utf8(path).ok().map(str::to_owned);
        record.source_path_raw = Some(Base64Bytes(path.to_vec()));
        record
    }
}

/// What a long reading looks at now and then, apart from the session that it writes into.
pub(super) struct Ending {
    stop: StopSignal,
    space: SpaceWatch,
}

impl Ending {
    /// Why a reading is to be cut, where it is.
    pub(super) fn why_cut(&self) -> Option<&'static str> {
        match () {
            () if self.space.is_short() => Some("cut because the output is nearly full"),
            () if self.stop.reason().is_some() => Some("cut because collecting was to end"),
            () => None,
        }
    }
}

/// Gives a record the member that holds its content.
pub(super) fn hold(record: &mut ItemRecord, member: String, content: Content) {
    record.member = Some(member);
    record.size = Some(content.size);
    record.sha256 = Some(content.sha256);
}

/// Makes ranges hold no more than `size` bytes in all.
fn shorten(ranges: &mut Vec<(u64, u64)>, size: u64) {
    let mut left = size;
    for (_, length) in ranges.iter_mut() {
        *length = (*length).min(left);
        left -= *length;
    }
    ranges.retain(|(_, length)| *length > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_file_that_was_cut_short_say_what_was_read() {
        let mut ranges = vec![(0, 10), (100, 10), (200, 10)];
        shorten(&mut ranges, 15);
        assert_eq!(ranges, [(0, 10), (100, 5)]);
    }
}
