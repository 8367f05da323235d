//! Owns the search for files and what becomes of each: read once, recorded always; refuses to follow links, to open
//! what is not a regular file, and to collect its own output.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;

use holdfast_schemas::action::Action;
use holdfast_schemas::item::{EvidenceRoute, FileMetadata, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::text::Base64Bytes;

use super::{Halt, Session};
use crate::catalogue::{Component, Definition, Pattern};
use crate::clock;
use crate::package::{Content, MemberWriter, ReadEnd};
use crate::source::{self, Folder, Looked, OpenFile, User};

/// Folders below folders that a search goes down; a file system can nest without end.
const MAX_DEPTH: usize = 128;
/// Bytes read of one file before free space is looked at again.
const STRETCH: u64 = 4 << 20;

/// Where member names of copied files begin.
const ROOT: &str = "data/fs";

/// The search over one host's files.
pub(super) struct FileSearch<'s, 'p> {
    session: &'s mut Session<'p>,
    seen: HashSet<u64>,
    hasher: RandomState,
    users: Vec<User>,
    access_times_changed: u64,
}

/// One artifact being searched for.
struct Artifact {
    name: String,
    exclusions: Vec<Pattern>,
    exclude_why: Option<String>,
}

/// A file or folder that is not there, or could not be looked at or read.
struct Failure<'a> {
    path: &'a [u8],
    looked: Option<&'a Looked>,
    error: io::Error,
}

impl<'s, 'p> FileSearch<'s, 'p> {
    /// A search that has seen nothing yet.
    pub(super) fn new(session: &'s mut Session<'p>, users: Vec<User>) -> Self {
        Self { session, seen: HashSet::new(), hasher: RandomState::new(), users, access_times_changed: 0 }
    }

    /// Files and folders whose access time could not be left alone.
    pub(super) fn access_times_changed(&self) -> u64 {
        self.access_times_changed
    }

    /// Collects everything that a definition names.
    pub(super) fn collect(&mut self, definition: &Definition) -> Result<(), Halt> {
        self.session.package.log(Action::SearchArtifact, Some(definition.name.clone()), None, "ok")?;
        self.session.progress.artifact(&definition.name);
        // Definitions were checked when they were read.
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let patterns = definition.patterns(&self.users).map_err(invalid)?;
        let exclusions = definition.exclusions(&self.users).map_err(invalid)?;
        let artifact = Artifact {
            name: definition.name.clone(),
            exclusions,
            exclude_why: definition.exclude_why.clone(),
        };
        let root = self.session.root.folder()?;
        for pattern in &patterns {
            if !self.descend(&root, &pattern.components, &artifact, 0)? {
                let error = io::Error::from(io::ErrorKind::NotFound);
                self.fail(&artifact, Failure { path: &pattern.text, looked: None, error })?;
            }
        }
        Ok(())
    }

    /// Goes down from `folder`; returns whether anything was found, refusals included.
    fn descend(
        &mut self,
        folder: &Folder,
        components: &[Component],
        artifact: &Artifact,
        depth: usize,
    ) -> Result<bool, Halt> {
        let Some((first, rest)) = components.split_first() else { return Ok(false) };
        match first {
            Component::Literal(name) => match folder.look(name) {
                Err(error) if is_absent(&error) => Ok(false),
                Err(error) => {
                    let path = folder.join(name);
                    self.fail(artifact, Failure { path: &path, looked: None, error })?;
                    Ok(true)
                }
                Ok(looked) => self.matched(folder, name, &looked, rest, artifact, depth),
            },
            Component::Glob(_) => self.each_entry(folder, artifact, |search, name| {
                if !first.matches(name) {
                    return Ok(false);
                }
                match folder.look(name) {
                    Ok(looked) => search.matched(folder, name, &looked, rest, artifact, depth),
                    Err(error) => search.vanished(folder, name, artifact, error),
                }
            }),
            Component::AnyDepth(_) => {
                let here = !rest.is_empty() && self.descend(folder, rest, artifact, depth)?;
                let below = self.each_entry(folder, artifact, |search, name| match folder.look(name) {
                    Ok(looked) if rest.is_empty() => {
                        search.matched(folder, name, &looked, components, artifact, depth)
                    }
                    Ok(looked) if looked.kind == ItemKind::Directory => {
                        search.enter(folder, name, &looked, components, artifact, depth)
                    }
                    Ok(_) => Ok(false),
                    Err(error) => search.vanished(folder, name, artifact, error),
                })?;
                Ok(here || below)
            }
        }
    }

    /// Deals with an entry that matches so far: collects it at a pattern's end, else goes on below it.
    fn matched(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        rest: &[Component],
        artifact: &Artifact,
        depth: usize,
    ) -> Result<bool, Halt> {
        let at_end = matches!(rest, [] | [Component::AnyDepth(_)]);
        if looked.kind == ItemKind::Directory && !rest.is_empty() {
            return Ok(self.enter(folder, name, looked, rest, artifact, depth)? || at_end);
        }
        // A link on the way is recorded, since what lies behind it is not searched.
        let recorded = at_end || looked.kind == ItemKind::Symlink;
        if recorded {
            self.visit(folder, name, looked, artifact)?;
        }
        Ok(recorded)
    }

    /// Goes on below a folder; the folder itself is recorded where everything below it is asked for.
    fn enter(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        components: &[Component],
        artifact: &Artifact,
        depth: usize,
    ) -> Result<bool, Halt> {
        let path = folder.join(name);
        let below = match folder.descend(name) {
            Ok(below) => below,
            Err(error) => {
                self.fail(artifact, Failure { path: &path, looked: Some(looked), error })?;
                return Ok(true);
            }
        };
        let crosses = looked.crosses_mount(folder);
        let obstacle = match () {
            () if depth >= MAX_DEPTH => Some("nested deeper than 128 folders"),
            () if crosses && source::kernel_made(&below) => {
                Some("a file system that the kernel makes up as it is read")
            }
            () if crosses && source::remote(&below) => Some("a network file system"),
            () => None,
        };
        if let Some(why) = obstacle {
            // It was asked for and is not here: an exception, unlike what a definition leaves out.
            let error = io::Error::other(why);
            self.fail(artifact, Failure { path: &path, looked: Some(looked), error })?;
            return Ok(true);
        }
        if matches!(components, [Component::AnyDepth(_)]) {
            self.visit(folder, name, looked, artifact)?;
        }
        self.descend(&below, components, artifact, depth + 1)
    }

    fn each_entry(
        &mut self,
        folder: &Folder,
        artifact: &Artifact,
        mut each: impl FnMut(&mut Self, &[u8]) -> Result<bool, Halt>,
    ) -> Result<bool, Halt> {
        let mut found = false;
        let mut listing = match folder.list() {
            Ok(listing) => listing,
            Err(error) => {
                self.fail(artifact, Failure { path: folder.path(), looked: None, error })?;
                return Ok(true);
            }
        };
        self.access_times_changed += u64::from(!listing.atime_preserved);
        loop {
            match listing.next_chunk() {
                Ok(names) if names.is_empty() => return Ok(found),
                Ok(names) => {
                    for name in names {
                        found |= each(self, &name)?;
                    }
                }
                Err(error) => {
                    self.fail(artifact, Failure { path: folder.path(), looked: None, error })?;
                    return Ok(true);
                }
            }
        }
    }

    fn vanished(
        &mut self,
        folder: &Folder,
        name: &[u8],
        artifact: &Artifact,
        error: io::Error,
    ) -> Result<bool, Halt> {
        let path = folder.join(name);
        self.fail(artifact, Failure { path: &path, looked: None, error })?;
        Ok(true)
    }

    /// Collects or records one entry, unless an earlier artifact already did.
    fn visit(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        artifact: &Artifact,
    ) -> Result<(), Halt> {
        self.session.check(looked.size)?;
        let path = folder.join(name);
        if !self.seen.insert(self.hasher.hash_one(&path)) {
            return Ok(());
        }
        if self.session.package.own().contains(looked.identity) {
            return self.skip(&path, looked, artifact, "this collection's own output");
        }
        if looked.kind == ItemKind::File && self.session.is_earlier_output(folder, name) {
            return self.skip(
                &path,
                looked,
                artifact,
                "an earlier package of this program in its output folder",
            );
        }
        if artifact.exclusions.iter().any(|pattern| pattern.matches(&path)) && looked.kind == ItemKind::File {
            let why = artifact.exclude_why.clone().unwrap_or_default();
            return self.skip(&path, looked, artifact, &why);
        }
        match looked.kind {
            ItemKind::File => match folder.open(name, looked) {
                Ok(file) => self.read(&path, looked, file, artifact),
                Err(error) => self.fail(artifact, Failure { path: &path, looked: Some(looked), error }),
            },
            _ => {
                let mut record = self.draft(&path, artifact, looked.kind, Outcome::NotRegular);
                let mut metadata = looked.metadata(&self.session.owners);
                if looked.kind == ItemKind::Symlink
                    && let Ok(target) = folder.read_link(name)
                {
                    metadata.link_target = String::from_utf8(target.clone()).ok();
                    metadata.link_target_raw = Some(Base64Bytes(target));
                }
                record.metadata = Some(metadata);
                self.record(record, Action::Record)
            }
        }
    }

    /// Reads a regular file into the package: at most as many bytes as it had when it was looked at.
    fn read(
        &mut self,
        path: &[u8],
        looked: &Looked,
        mut source: OpenFile,
        artifact: &Artifact,
    ) -> Result<(), Halt> {
        let mut metadata = looked.metadata(&self.session.owners);
        metadata.xattrs = source.xattrs();
        let mut record = self.draft(path, artifact, ItemKind::File, Outcome::Collected);
        record.read_started = Some(clock::now());
        record.atime_preserved = Some(source.atime_preserved);
        self.access_times_changed += u64::from(!source.atime_preserved);

        let copied = self.copy(path, looked, &mut source)?;
        record.read_finished = Some(clock::now()).max(record.read_started);
        let after = source.look().ok().filter(|after| after.differs_from(looked));
        record.size_after = after.as_ref().map(|after| after.size).filter(|size| *size != metadata.size);
        let whole = copied.content.is_some_and(|content| content.size == looked.size);
        record.outcome = match (&copied.error, &copied.limit) {
            (Some(_), _) => Outcome::ReadError,
            (None, Some(_)) => Outcome::TruncatedByLimit,
            (None, None) if after.is_some() || !whole => Outcome::ChangedWhileRead,
            (None, None) => Outcome::Collected,
        };
        record.error =
            copied.error.map(|error| error.to_string()).or_else(|| copied.limit.map(str::to_owned));
        if let Some(content) = copied.content {
            record.member = Some(copied.member);
            record.size = Some(content.size);
            record.sha256 = Some(content.sha256);
        }
        record.metadata = Some(metadata);
        self.record(record, Action::ReadFile)
    }

    fn copy(&mut self, path: &[u8], looked: &Looked, source: &mut OpenFile) -> Result<Copied, Halt> {
        let bound = looked.size.min(self.session.max_file_size);
        let progress = &self.session.progress;
        let free = self.session.space.clone();
        let (member, mut writer) = self.session.package.begin(ROOT, path, looked.modified_seconds(), bound);
        let mut limit =
            (bound < looked.size).then_some("cut at the size limit for one file (--max-file-size)");
        let mut error = None;
        loop {
            let until = writer.size().saturating_add(STRETCH).min(bound);
            match writer.read_from(&mut source.file, until)? {
                ReadEnd::Failed(failure) => error = Some(failure),
                ReadEnd::Reached if writer.size() == until && until < bound => {
                    progress.bytes(STRETCH);
                    if !free.is_short() {
                        continue;
                    }
                    limit = Some("cut because the output is nearly full");
                }
                ReadEnd::Reached => {}
            }
            break;
        }
        let content = match writer {
            writer if error.is_some() && writer.size() == 0 => writer.withdraw(),
            writer => Some(writer),
        };
        let content = content.map(MemberWriter::finish).transpose()?;
        progress.bytes(content.map_or(0, |content| content.size % STRETCH));
        Ok(Copied { member, content, error, limit })
    }

    /// Records something that could not be looked at, opened or listed.
    fn fail(&mut self, artifact: &Artifact, failure: Failure<'_>) -> Result<(), Halt> {
        let outcome = source::outcome_of(&failure.error);
        let kind = failure.looked.map_or(ItemKind::Unknown, |looked| looked.kind);
        let path = if failure.path.is_empty() { b"/" } else { failure.path };
        let mut record = self.draft(path, artifact, kind, outcome);
        record.error = Some(failure.error.to_string());
        record.metadata = failure.looked.map(|looked| looked.metadata(&self.session.owners));
        self.record(record, Action::ReadFile)
    }

    fn skip(&mut self, path: &[u8], looked: &Looked, artifact: &Artifact, why: &str) -> Result<(), Halt> {
        let mut record = self.draft(path, artifact, looked.kind, Outcome::SkippedByScope);
        record.error = Some(why.to_owned());
        let metadata: FileMetadata = looked.metadata(&self.session.owners);
        record.metadata = Some(metadata);
        self.record(record, Action::Record)
    }

    fn draft(&self, path: &[u8], artifact: &Artifact, kind: ItemKind, outcome: Outcome) -> Box<ItemRecord> {
        let mut record = self.session.draft(&artifact.name, kind, EvidenceRoute::Copied, outcome);
        record.source_path = std::str::from_utf8(path).ok().map(str::to_owned);
        record.source_path_raw = Some(Base64Bytes(path.to_vec()));
        record
    }

    fn record(&mut self, record: Box<ItemRecord>, action: Action) -> Result<(), Halt> {
        self.session.record(record, action)
    }
}

/// What became of one file's bytes.
struct Copied {
    member: String,
    content: Option<Content>,
    error: Option<io::Error>,
    limit: Option<&'static str>,
}

/// Whether a path simply is not there, also because something on its way is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
