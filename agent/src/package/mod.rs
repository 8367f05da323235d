//! Owns the writing of packages: evidence in, members, records and bag out, in one forward pass (schemas/README.md,
//! sections 1 to 5); refuses to look back at evidence, and to call anything a package before it is sealed.

mod deflate;
mod journal;
mod member;
mod output;
mod pipeline;
mod resume;
mod sink;
mod tags;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_schemas::action::{Action, ActionRecord};
use holdfast_schemas::collection::ArtifactCounts;
use holdfast_schemas::container::ZipTime;
use holdfast_schemas::item::ItemRecord;
use holdfast_schemas::name::{Collision, NameSet, member_name};

use crate::clock;
use crate::source::FileIdentity;
use journal::Journal;
pub(crate) use member::{Content, MemberWriter, ReadEnd};
use output::Output;
pub(crate) use output::{create_private, sync_folder};
use pipeline::{Event, Pipeline};
pub(crate) use resume::{ResumeError, resume};
pub(crate) use sink::Meter;
use sink::Sink;
pub(crate) use tags::{FinishedPackage, SealMember, TaggedPackage};

/// Why a package could not be written; what was written stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The output could not be written or flushed.
    #[error("cannot write the package: {0}")]
    Output(#[from] io::Error),
    /// Writing stopped earlier; the writing thread knows why.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Writing stopped; see [`PackageWriter::abandon`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Stopped(pipeline::Stopped);

impl From<pipeline::Stopped> for PackageError {
    fn from(stopped: pipeline::Stopped) -> Self {
        Self::Stopped(Stopped(stopped))
    }
}

/// Where a package goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A new file in this folder.
    Folder(PathBuf),
    /// Standard output; journal and ledger go to this folder.
    Pipe(PathBuf),
}

impl Destination {
    /// The folder that journal and ledger lie in.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) | Self::Pipe(folder) => folder,
        }
    }
}

/// A package that takes evidence.
pub(crate) struct PackageWriter {
    pipeline: Pipeline,
    folder: String,
    names: NameSet,
    items: u64,
    actions: u64,
    totals: Totals,
    counts: Vec<ArtifactCounts>,
    meter: Arc<Meter>,
    own: OwnFiles,
    workers: usize,
}

/// Payload so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Items with content.
    pub files: u64,
    /// Bytes of that content.
    pub bytes: u64,
}

/// The files this writer itself made.
pub(crate) struct OwnFiles {
    /// The package, unless it goes to a pipe.
    pub package: Option<PathBuf>,
    /// The journal.
    pub journal: PathBuf,
    identities: Vec<FileIdentity>,
    volume: File,
}

impl OwnFiles {
    fn new(
        package: Option<PathBuf>,
        journal: PathBuf,
        journal_file: &File,
        output: &Output,
    ) -> io::Result<Self> {
        let mut identities = vec![FileIdentity::of(journal_file)?];
        if let Output::File { out, .. } = output {
            identities.push(FileIdentity::of(out.get_ref())?);
        }
        Ok(Self { package, journal, identities, volume: journal_file.try_clone()? })
    }

    /// Whether `file` is one of them.
    pub(crate) fn contains(&self, file: FileIdentity) -> bool {
        self.identities.contains(&file)
    }

    /// A file on the volume that the package and its journal are written to.
    pub(crate) fn volume(&self) -> io::Result<File> {
        self.volume.try_clone()
    }

    /// The device that the output lies on, `major, minor`.
    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        self.identities.first().map(FileIdentity::device)
    }
}

impl PackageWriter {
    /// Creates output and journal and starts the pipeline with `workers` compressing threads. `context` is the
    /// collection as planned, one JSON text.
    pub(crate) fn create(
        destination: &Destination,
        name: &str,
        workers: usize,
        context: &[u8],
    ) -> Result<Self, PackageError> {
        let (output, package) = match destination {
            Destination::Folder(folder) => {
                (Output::file(folder, name)?, Some(folder.join(format!("{name}.zip"))))
            }
            Destination::Pipe(_) => (Output::pipe(), None),
        };
        let journal_path = destination.folder().join(format!("{name}.zip.journal"));
        let begun = create_private(&journal_path).and_then(|file| {
            resume::lock(&file)?;
            Ok((OwnFiles::new(package, journal_path, &file, &output)?, file))
        });
        let (own, journal) = begun.inspect_err(|_| output.discard())?;
        let meter = Arc::new(Meter::default());
        let mut sink = Sink::new(output, Journal::new(journal), name.to_owned(), Arc::clone(&meter));
        sink.note_context(context)?;
        Ok(Self::over(Pipeline::start(sink, workers)?, name.to_owned(), meter, own, workers))
    }

    /// A writer over a running pipeline, with nothing recorded yet.
    fn over(pipeline: Pipeline, folder: String, meter: Arc<Meter>, own: OwnFiles, workers: usize) -> Self {
        Self {
            pipeline,
            folder,
            names: NameSet::default(),
            items: 0,
            actions: 0,
            totals: Totals::default(),
            counts: Vec::new(),
            meter,
            own,
            workers,
        }
    }

    /// Bytes written so far.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The files this writer made.
    pub(crate) fn own(&self) -> &OwnFiles {
        &self.own
    }

    /// Payload so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Items by artifact and outcome so far.
    pub(crate) fn counts(&self) -> &[ArtifactCounts] {
        &self.counts
    }

    /// Begins a member below `root` (`data/fs` or the like) for the source `path`, which was modified at `modified`
    /// (Unix seconds) and can have at most `bound` bytes. Returns its name below the package folder as well.
    pub(crate) fn begin(
        &mut self,
        root: &str,
        path: &[u8],
        modified: i64,
        bound: u64,
    ) -> (String, MemberWriter<'_>) {
        let free = |name: &String| self.names.insert(name) == Collision::None;
        // Variants differ in their letters; a path that is a file here and a folder there may have none.
        let chosen = (0..64).map(|variant| member_name(root, path, variant)).find(free);
        let chosen = chosen.unwrap_or_else(|| format!("{root}/=~again/{}", self.items + 1));
        let header = member::deflated(format!("{}/{chosen}", self.folder), ZipTime::nearest(modified), bound);
        (chosen, MemberWriter::begin(&mut self.pipeline, header))
    }

    /// Adds an item record; its id is set here. Returns the id.
    pub(crate) fn record(&mut self, mut record: Box<ItemRecord>) -> Result<u64, PackageError> {
        self.items += 1;
        record.id = self.items;
        if record.member.is_some() {
            self.totals.files += 1;
            self.totals.bytes += record.size.unwrap_or_default();
        }
        ArtifactCounts::add(&mut self.counts, &record.artifact, record.outcome);
        self.pipeline.push(Event::Item(record))?;
        Ok(self.items)
    }

    /// Adds an entry to the acquisition log.
    pub(crate) fn log(
        &mut self,
        action: Action,
        subject: Option<String>,
        item: Option<u64>,
        outcome: &str,
    ) -> Result<(), PackageError> {
        self.actions += 1;
        let record = ActionRecord {
            seq: self.actions,
            at: clock::now(),
            monotonic_ns: clock::monotonic_ns(),
            action,
            subject,
            item,
            outcome: outcome.to_owned(),
        };
        Ok(self.pipeline.push(Event::Action(record))?)
    }

    /// Gives up after `error`: what was written stays. Returns the reason, from the writing thread where it has one.
    pub(crate) fn abandon(self, error: PackageError) -> PackageError {
        self.pipeline.finish().err().map_or(error, PackageError::from)
    }
}
