//! Owns a collection from its first clock reading to its sealed package: live state in the order of volatility, then
//! files, then the seal; refuses to let anything but its own output stop it.

mod copy;
mod files;
mod host;
mod host_commands;
mod live;
mod progress;
mod recover;
mod request;
mod second_look;
mod space;
mod stop;
mod summary;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use holdfast_schemas::action::Action;
use holdfast_schemas::collection::{
    Clock, ClockReading, Collection, DefinitionUse, FORMAT, Footprint, Interruption,
};
use holdfast_schemas::item::{EvidenceRoute, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::text::{Base64Bytes, Salt};

use crate::catalogue::Definition;
use crate::clock;
use crate::package::{Destination, PackageError, PackageWriter, create_private};
use crate::seal::{self, SealingKeys};
use crate::source::{FileIdentity, Folder, Mounts, Owners, Root, User, Watchdog};
use crate::state::{self, Table};
use files::FileSearch;
use host_commands::CommandRow;
pub use progress::{Progress, ProgressMode};
pub use recover::recover;
pub use request::{Details, Limits, Request, RequestError, Scope};
use second_look::FirstLook;
use space::SpaceWatch;
pub use stop::StopSignal;
pub use summary::{NamedException, Summary};

/// Why a collection could not be brought to its seal.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The output cannot be used; nothing was collected.
    #[error("cannot collect into {folder}: {reason}; choose another folder with --output")]
    Unusable {
        /// The output folder.
        folder: String,
        /// Why.
        reason: String,
    },
    /// The root that was to be examined cannot be used; nothing was collected.
    #[error("cannot examine --root {folder}: {reason}")]
    UnusableRoot {
        /// The folder.
        folder: String,
        /// Why.
        reason: String,
    },
    /// Writing failed on the way; what was captured until then is in the partial file.
    #[error("{error}\n{advice}")]
    Interrupted {
        /// What failed.
        error: PackageError,
        /// What is left and what to do with it.
        advice: String,
    },
    /// An interrupted package cannot be taken up again.
    #[error("{0}")]
    NotRecoverable(String),
    /// Randomness or keys are not to be had.
    #[error(transparent)]
    Seal(#[from] seal::SealError),
}

/// Before a file larger than this, free space is looked at; small ones are looked at together.
const LARGE: u64 = 64 << 10;

/// Most users whose homes are searched.
const MAX_USERS: usize = 10_000;

/// The artifact that records of home folders themselves belong to.
const HOME_FOLDERS: &str = "HomeFolders";

/// What ends collecting before everything was looked for.
enum Halt {
    /// The package cannot be written any more.
    Package(PackageError),
    /// Collecting is to end, and what there is to be sealed.
    Stop(Interruption),
}

/// A collection under way.
struct Session<'p> {
    package: PackageWriter,
    root: Root,
    owners: Owners,
    progress: &'p Progress,
    stop: StopSignal,
    space: SpaceWatch,
    mounts: Mounts,
    scope: Scope,
    limits: Limits,
    watchdog: Watchdog,
    output_folder: Option<FileIdentity>,
    /// Files and folders whose access time could not be left alone.
    access_times_changed: u64,
    commands_run: Vec<CommandRow>,
    visits: u64,
    exceptions: Vec<NamedException>,
}

/// Collects and seals.
pub fn collect(
    request: &Request,
    keys: SealingKeys,
    progress: &Progress,
    stop: &StopSignal,
) -> Result<Summary, CollectError> {
    let start = clock::reading();
    let id = collection_id(&start)?;
    let name = package_name(request.details.case.as_deref(), &start, &id);
    let root = examined(&request.scope)?;
    let mut collection = planned(request, &id, start, &root);
    let mut session = open_session(request, &name, &collection, root, (progress, stop))?;

    let first_look = FirstLook::take(&session, &collection.clock.start);
    let outcome = capture(&mut session, request);
    let halted = match outcome {
        Ok(()) => None,
        Err(Halt::Stop(interruption)) => Some(interruption),
        Err(Halt::Package(error)) => {
            return Err(interrupted(session.package, error, &request.destination, &name));
        }
    };
    collection.interruptions.extend(halted);
    progress.artifact("sealing");

    // Also where collecting ended early: what was to be searched for is part of the account.
    let defined = live::write_definitions(&mut session, &request.definitions);
    let run = session.write_commands();
    let looked_again = first_look.map_or(Ok(()), |first| first.compare(&mut session));
    let ended = defined
        .and(run)
        .and(looked_again)
        .and_then(|()| Ok(session.package.log(Action::End, None, None, "ok")?));
    if let Err(Halt::Package(error)) = ended {
        return Err(interrupted(session.package, error, &request.destination, &name));
    }
    collection.clock.end = clock::reading();
    collection.counts = session.package.counts().to_vec();
    collection.footprint = footprint(&session);
    let (payload_bytes, exceptions) = (session.package.totals().bytes, session.exceptions);
    let advice = |error| CollectError::Interrupted { error, advice: advice(&request.destination, &name) };
    let tagged = session.package.finish(&collection, keys.timestamp_authorities()).map_err(advice)?;
    let sealed =
        seal::seal(tagged, &collection, keys, &request.destination, &name).map_err(|error| match error {
            seal::SealError::Package(error) => advice(error),
            other => CollectError::Seal(other),
        })?;
    progress.finish();
    Ok(Summary::new(&collection, sealed, payload_bytes, exceptions))
}

/// Live state first, then files.
fn capture(session: &mut Session<'_>, request: &Request) -> Result<(), Halt> {
    session.package.log(Action::Start, None, None, "ok")?;
    for table in &request.tables {
        live::capture(session, table)?;
    }
    let by_user = request.definitions.iter().any(Definition::names_users);
    let users = if by_user { users_with_homes(session)? } else { Vec::new() };
    let mut search = FileSearch::new(session, users);
    request.definitions.iter().try_for_each(|definition| search.collect(definition))
}

/// Users whose home folders exist: those of /etc/passwd, root whatever that file says, and one for each folder below
/// /home, since a directory service may know its owner. A home that is named and not there is recorded once, instead of
/// once for each file that might have been in it.
fn users_with_homes(session: &mut Session<'_>) -> Result<Vec<User>, Halt> {
    let mut users: Vec<User> = Vec::new();
    let mut homes: BTreeSet<Vec<u8>> = BTreeSet::new();
    let named = session.owners.homes().to_vec();
    for user in named.into_iter().take(MAX_USERS + 1) {
        let first = homes.insert(user.home.clone());
        // The way is judged first: a home on a dead server would hold whoever looks at it.
        let way = session.mounts.way_to(&session.root, &user.home);
        match way.and_then(|real| session.root.folder_at(&real)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                if first {
                    absent_home(session, &user.home)?;
                }
            }
            // Let the search meet a refusal and record it.
            _ => users.push(user),
        }
    }
    let way = session.mounts.way_to(&session.root, b"/home");
    let below_home = way.and_then(|real| session.root.names(&real)).unwrap_or_default();
    let unnamed = below_home.into_iter().map(|name| [b"/home/", name.as_slice()].concat());
    for home in [b"/root".to_vec()].into_iter().chain(unnamed) {
        if homes.insert(home.clone()) {
            let name = home.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            users.push(User { name, home, login: true });
        }
    }
    if users.len() > MAX_USERS {
        let (kind, outcome) = (ItemKind::Unknown, Outcome::SkippedByLimit);
        let mut record = session.draft(HOME_FOLDERS, kind, EvidenceRoute::Copied, outcome);
        record.error = Some(format!("more than {MAX_USERS} users: the homes of the others are not searched"));
        session.record(record, Action::Record)?;
        users.truncate(MAX_USERS);
    }
    Ok(users)
}

fn absent_home(session: &mut Session<'_>, home: &[u8]) -> Result<(), Halt> {
    let mut record = session.draft(HOME_FOLDERS, ItemKind::Unknown, EvidenceRoute::Copied, Outcome::Missing);
    record.source_path = std::str::from_utf8(home).ok().map(str::to_owned);
    record.source_path_raw = Some(Base64Bytes(home.to_vec()));
    record.error = Some("named in /etc/passwd, not on this host".to_owned());
    session.record(record, Action::Record).map(drop)
}

impl Session<'_> {
    /// A record with nothing in it yet but what every record has.
    fn draft(
        &self,
        artifact: &str,
        kind: ItemKind,
        evidence_route: EvidenceRoute,
        outcome: Outcome,
    ) -> Box<ItemRecord> {
        let mut salt = [0u8; 16];
        // Randomness was had when the collection began; a kernel does not lose it again.
        getrandom::fill(&mut salt).expect("the kernel's random source stays open");
        Box::new(ItemRecord {
            id: 0,
            artifact: artifact.to_owned(),
            member: None,
            source_path: None,
            source_path_raw: None,
            kind,
            evidence_route,
            outcome,
            error: None,
            size: None,
            sha256: None,
            size_after: None,
            extents: None,
            same_as: None,
            metadata: None,
            read_started: None,
            read_finished: None,
            atime_preserved: None,
            salt: Salt(salt),
        })
    }

    /// Adds an item and its entry in the acquisition log.
    fn record(&mut self, record: Box<ItemRecord>, action: Action) -> Result<u64, Halt> {
        let outcome = record.outcome;
        NamedException::add(&mut self.exceptions, &record);
        let id = self.package.record(record)?;
        self.progress.items(self.package.totals().files);
        self.package.log(action, None, Some(id), outcome.name())?;
        Ok(id)
    }

    /// Ends collecting when it was asked to, or when the output is nearly full; `next` is the size of what comes next.
    fn check(&mut self, next: u64) -> Result<(), Halt> {
        let stopped = |reason: &str, consequence: &str| {
            Halt::Stop(Interruption {
                at: clock::now(),
                reason: reason.to_owned(),
                consequence: consequence.to_owned(),
            })
        };
        if let Some(reason) = self.stop.reason() {
            return Err(stopped(reason.in_words(), "what had not been looked for by then was not collected"));
        }
        self.visits += 1;
        let worth_a_look = self.visits % 64 == 1 || next > LARGE;
        if worth_a_look && self.space.is_short() {
            return Err(stopped(
                "the output was nearly full",
                "what had not been looked for by then was not collected, so that the rest could be sealed",
            ));
        }
        Ok(())
    }

    /// Whether an entry is what an earlier collection left in the output folder.
    fn is_earlier_output(&self, folder: &Folder, name: &[u8]) -> bool {
        const ENDINGS: [&[u8]; 4] = [b".zip", b".zip.partial", b".zip.journal", b".zip.custody.jsonl"];
        let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(*ending));
        self.output_folder == Some(folder.identity()) && stem.is_some_and(is_package_name)
    }
}

/// The root that is to be examined.
fn examined(scope: &Scope) -> Result<Root, CollectError> {
    let folder = scope.root.as_deref().unwrap_or(Path::new("/"));
    let root = if scope.root.is_some() { Root::mounted(folder) } else { Root::live() };
    root.map_err(|error| CollectError::UnusableRoot {
        folder: folder.display().to_string(),
        reason: error.to_string(),
    })
}

fn open_session<'p>(
    request: &Request,
    name: &str,
    collection: &Collection,
    root: Root,
    (progress, stop): (&'p Progress, &StopSignal),
) -> Result<Session<'p>, CollectError> {
    let folder = request.destination.folder();
    let unusable = |reason: String| CollectError::Unusable { folder: folder.display().to_string(), reason };
    space::prepare(folder).map_err(&unusable)?;
    let output_folder = std::fs::File::open(folder).and_then(|open| FileIdentity::of(&open)).ok();
    let context = serde_json::to_vec(collection).map_err(|error| unusable(error.to_string()))?;
    let package = PackageWriter::create(&request.destination, name, request.workers, &context)
        .map_err(|error| unusable(error.to_string()))?;
    let space = SpaceWatch::new(&package).map_err(|error| unusable(error.to_string()))?;
    progress.watch(package.meter());
    Ok(Session {
        package,
        owners: Owners::of(&root),
        // Without the list a search judges each file system when it enters it.
        mounts: Mounts::of(&root).unwrap_or_default(),
        root,
        scope: request.scope.clone(),
        limits: request.limits.clone(),
        watchdog: Watchdog::default(),
        progress,
        stop: match request.limits.deadline {
            Some(deadline) => stop.with_deadline(deadline),
            None => stop.clone(),
        },
        space,
        output_folder,
        access_times_changed: 0,
        commands_run: Vec::new(),
        visits: 0,
        exceptions: Vec::new(),
    })
}

fn planned(request: &Request, id: &str, start: ClockReading, root: &Root) -> Collection {
    let details = &request.details;
    let tables = request.tables.iter().copied().map(live::definition);
    let artifacts = request.definitions.iter().map(|definition: &Definition| DefinitionUse {
        name: definition.name.clone(),
        origin: definition.origin.clone(),
        sha256: definition.digest(),
    });
    Collection {
        format: FORMAT.to_owned(),
        collection_id: id.to_owned(),
        case: details.case.clone(),
        incident: details.incident.clone(),
        impact: details.impact.clone(),
        exercise: details.exercise,
        agency: details.agency.clone(),
        secretariat: details.secretariat.clone(),
        authority: details.authority.clone(),
        examiner: details.examiner.clone(),
        trigger: details.trigger.clone(),
        handling_label: details.handling_label.clone(),
        recipients: Vec::new(),
        profile: request.selection.clone(),
        definitions: tables.chain(artifacts).collect(),
        root: request.scope.root.as_ref().map(|folder| folder.display().to_string()),
        host: host::describe(root),
        tool: host::this_program(),
        clock: Clock { start: start.clone(), end: start },
        footprint: Footprint {
            files_created: Vec::new(),
            output_on_examined_volume: None,
            bytes_written: 0,
            cpu_ms: 0,
            peak_memory_bytes: None,
            access_times_changed: 0,
        },
        counts: Vec::new(),
        interruptions: Vec::new(),
    }
}

fn footprint(session: &Session<'_>) -> Footprint {
    use std::sync::atomic::Ordering::Relaxed;
    let own = session.package.own();
    let paths = own.package.iter().chain([&own.journal]);
    let root = Folder::root().map(|root| root.identity().device()).ok();
    let meter = session.package.meter();
    Footprint {
        files_created: paths.map(|path| path.display().to_string()).collect(),
        output_on_examined_volume: root.zip(own.device()).map(|(root, output)| root == output),
        bytes_written: meter.package.load(Relaxed) + meter.journal.load(Relaxed),
        cpu_ms: clock::cpu_ms(),
        peak_memory_bytes: host::peak_memory(),
        access_times_changed: session.access_times_changed,
    }
}

/// A UUID version 7 (RFC 9562 5.7) of the collection's start.
fn collection_id(start: &ClockReading) -> Result<String, CollectError> {
    let mut random = [0u8; 10];
    getrandom::fill(&mut random).map_err(|error| seal::SealError::Randomness(error.to_string()))?;
    let millis = u64::try_from(start.utc.to_chrono().timestamp_millis()).unwrap_or_default();
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().hyphenated().to_string())
}

/// The package's name: case, start and the end of the collection's id.
pub(crate) fn package_name(case: Option<&str>, start: &ClockReading, id: &str) -> String {
    let tail = id.get(id.len().saturating_sub(6)..).unwrap_or_default();
    format!("{}_{}_{tail}", case.unwrap_or("unassigned"), start.utc.basic())
}

/// Whether a name ends as [`package_name`] ends it: `_20261124T150405Z_9f3a1c`.
fn is_package_name(name: &[u8]) -> bool {
    const FORM: &[u8; 24] = b"_00000000T000000Z_ffffff";
    let tail = name.len().checked_sub(FORM.len()).and_then(|from| name.get(from..)).unwrap_or_default();
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'f' => byte.is_ascii_hexdigit(),
        _ => byte == form,
    };
    tail.len() == FORM.len() && tail.iter().zip(FORM).all(fits)
}

fn interrupted(
    package: PackageWriter,
    error: PackageError,
    destination: &Destination,
    name: &str,
) -> CollectError {
    CollectError::Interrupted { error: package.abandon(error), advice: advice(destination, name) }
}

fn advice(destination: &Destination, name: &str) -> String {
    match destination {
        Destination::Folder(folder) => {
            let partial = folder.join(format!("{name}.zip.partial"));
            format!(
                "what was captured until then is in {} and its journal beside it; it is not sealed and no package. Keep \
                 both files, make room, and run: holdfast-agent recover {}",
                partial.display(),
                partial.display()
            )
        }
        Destination::Pipe(_) => {
            "what was sent until then is not sealed and no package; its receiver must not keep it as one"
                .to_owned()
        }
    }
}

/// Creates the file that a test of the output folder writes and removes again.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".holdfast-probe-{}", std::process::id()));
    drop(create_private(&path)?);
    std::fs::remove_file(&path)
}

/// The tables of live state, for a request.
pub fn live_tables() -> &'static [Table] {
    state::tables()
}
