//! Owns the search for files: from path patterns to the entries they name, links followed inside the examined root only;
//! refuses to touch a mount that could hang, and to go round in circles.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;

use holdfast_schemas::action::Action;
use holdfast_schemas::item::{EvidenceRoute, ItemKind, Outcome};

use super::copy::Failure;
use super::{Halt, Session};
use crate::catalogue::{Component, Definition, Filter, Pattern, Platform, Take};
use crate::source::{self, FileIdentity, Folder, Looked, Obstacle, User};

/// Folders below folders that a search goes down; a file system can nest without end.
const MAX_DEPTH: usize = 128;
/// Links that lead to links, as many as are followed.
const MAX_LINKS: u8 = 8;

/// The search over one host's files.
pub(super) struct FileSearch<'s, 'p> {
    pub(super) session: &'s mut Session<'p>,
    /// Entries that were dealt with for good.
    seen: HashSet<u64>,
    /// Files whose content an artifact left out as a rule of its own; another artifact may still take it.
    withheld: HashSet<u64>,
    hasher: RandomState,
    users: Vec<User>,
    /// Files with several names, and the item that holds the content of each.
    pub(super) held: HashMap<FileIdentity, u64>,
}

/// One artifact being searched for.
pub(super) struct Artifact {
    pub(super) name: String,
    pub(super) only: Filter,
    pub(super) take: Take,
    names: Vec<Component>,
    exclude_names: Vec<Component>,
    paths: Vec<Pattern>,
    exclusions: Vec<Pattern>,
    exclude_why: Option<String>,
}

/// How far a search has gone.
#[derive(Debug, Clone, Copy, Default)]
struct Reach {
    /// Folders gone down.
    depth: usize,
    /// Folders gone down for the `**` at hand.
    within: u32,
    /// Links followed.
    links: u8,
}

/// How an entry was come by: a link is followed only where the pattern names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Glob,
    Depth,
}

impl<'s, 'p> FileSearch<'s, 'p> {
    /// A search that has seen nothing yet.
    pub(super) fn new(session: &'s mut Session<'p>, users: Vec<User>) -> Self {
        Self {
            session,
            seen: HashSet::new(),
            withheld: HashSet::new(),
            hasher: RandomState::new(),
            users,
            held: HashMap::new(),
        }
    }

    /// Collects everything that a definition names.
    pub(super) fn collect(&mut self, definition: &Definition) -> Result<(), Halt> {
        self.session.package.log(Action::SearchArtifact, Some(definition.name.clone()), None, "ok")?;
        self.session.progress.artifact(&definition.name);
        if let Some(why) = not_applicable(definition) {
            return self.not_applicable(definition, &why);
        }
        // Definitions were checked when they were read.
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let patterns = definition.patterns(&self.users).map_err(invalid)?;
        let artifact = Artifact::of(definition, &self.users).map_err(invalid)?;
        self.session.run_commands(definition)?;
        let root = self.session.root.folder()?;
        for pattern in &patterns {
            if !self.descend(&root, &pattern.components, &artifact, Reach::default())? {
                let error = io::Error::from(io::ErrorKind::NotFound);
                self.fail(&artifact, Failure { path: &pattern.text, looked: None, error })?;
            }
        }
        Ok(())
    }

    fn not_applicable(&mut self, definition: &Definition, why: &str) -> Result<(), Halt> {
        let (kind, route) = (ItemKind::Unknown, EvidenceRoute::Copied);
        let mut record = self.session.draft(&definition.name, kind, route, Outcome::NotApplicable);
        record.error = Some(why.to_owned());
        self.session.record(record, Action::Record).map(drop)
    }

    /// Goes down from `folder`; returns whether anything was found, refusals included.
    fn descend(
        &mut self,
        folder: &Folder,
        components: &[Component],
        artifact: &Artifact,
        reach: Reach,
    ) -> Result<bool, Halt> {
        let Some((first, rest)) = components.split_first() else { return Ok(false) };
        match first {
            Component::Literal(name) => self.named(folder, name, (rest, By::Name), artifact, reach),
            Component::Glob(_) => self.each_entry(folder, artifact, |search, name| {
                if !first.matches(name) {
                    return Ok(false);
                }
                search.named(folder, name, (rest, By::Glob), artifact, reach)
            }),
            Component::AnyDepth(most) => {
                let here =
                    !rest.is_empty() && self.descend(folder, rest, artifact, Reach { within: 0, ..reach })?;
                if most.is_some_and(|most| reach.within >= most) {
                    return Ok(here);
                }
                let below = Reach { within: reach.within + 1, ..reach };
                let last = rest.is_empty();
                let found = self.each_entry(folder, artifact, |search, name| {
                    if let Some(obstacle) = search.obstacle(folder, name, (components, By::Depth), reach) {
                        return search.turn_back(folder, name, artifact, obstacle);
                    }
                    match folder.look(name) {
                        Ok(looked) if last => {
                            search.matched(folder, name, &looked, (components, By::Depth), artifact, below)
                        }
                        Ok(looked) if looked.kind == ItemKind::Directory => {
                            search.enter(folder, name, &looked, components, artifact, below)
                        }
                        Ok(_) => Ok(false),
                        Err(error) => search.failed(folder, name, artifact, error),
                    }
                })?;
                Ok(here || found)
            }
        }
    }

    /// Looks at an entry that the pattern names.
    fn named(
        &mut self,
        folder: &Folder,
        name: &[u8],
        (rest, by): (&[Component], By),
        artifact: &Artifact,
        reach: Reach,
    ) -> Result<bool, Halt> {
        if let Some(obstacle) = self.obstacle(folder, name, (rest, by), reach) {
            if obstacle == Obstacle::KernelMade && by == By::Name && reach.links == 0 {
                // It was asked for by its name, and is not here: an exception.
                return self.failed(folder, name, artifact, io::Error::other(obstacle.in_words()));
            }
            return self.turn_back(folder, name, artifact, obstacle);
        }
        match folder.look(name) {
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => self.failed(folder, name, artifact, error),
            Ok(looked) => {
                self.matched(folder, name, &looked, (rest, by), artifact, Reach { within: 0, ..reach })
            }
        }
    }

    /// What keeps the search from touching an entry, by the kernel's list of mounts alone.
    fn obstacle(
        &self,
        folder: &Folder,
        name: &[u8],
        (rest, by): (&[Component], By),
        reach: Reach,
    ) -> Option<Obstacle> {
        let obstacle = self.session.mounts.obstacle(folder.path(), name)?;
        // A text of the kernel may be asked for by its full name, though never through a link that the host has laid.
        let spelled_out = rest.iter().all(|component| matches!(component, Component::Literal(_)));
        let taken = match obstacle {
            Obstacle::KernelMade => !rest.is_empty() && spelled_out && reach.links == 0,
            Obstacle::Network | Obstacle::Fuse => self.session.scope.network_file_systems,
            Obstacle::Automount => false,
            // Met on the way down it would be taken twice; named, it may be the only name that was asked for.
            Obstacle::Repeated | Obstacle::Layered => by != By::Depth,
        };
        (!taken).then_some(obstacle)
    }

    /// Records a mount that is not entered. What is left out as a rule is no exception; what a server holds is.
    fn turn_back(
        &mut self,
        folder: &Folder,
        name: &[u8],
        artifact: &Artifact,
        obstacle: Obstacle,
    ) -> Result<bool, Halt> {
        let path = folder.join(name);
        if self.seen.insert(self.hasher.hash_one(&path)) {
            let (outcome, hint) = match obstacle {
                Obstacle::KernelMade | Obstacle::Repeated | Obstacle::Layered => {
                    (Outcome::SkippedByScope, "")
                }
                Obstacle::Network | Obstacle::Fuse => {
                    (Outcome::SkippedByLimit, "; --network-filesystems takes it")
                }
                Obstacle::Automount => (Outcome::SkippedByLimit, ""),
            };
            let why = format!("{}{hint}", obstacle.in_words());
            self.leave_out(&path, None, artifact, outcome, &why)?;
        }
        Ok(true)
    }

    /// Deals with an entry that matches so far: collects it at a pattern's end, else goes on below it.
    fn matched(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        (rest, by): (&[Component], By),
        artifact: &Artifact,
        reach: Reach,
    ) -> Result<bool, Halt> {
        let at_end = matches!(rest, [] | [Component::AnyDepth(_)]);
        if looked.kind == ItemKind::Directory && !rest.is_empty() {
            return Ok(self.enter(folder, name, looked, rest, artifact, reach)? || at_end);
        }
        let is_link = looked.kind == ItemKind::Symlink;
        if is_link && by != By::Depth {
            self.visit(folder, name, looked, artifact)?;
            self.follow(folder, name, rest, artifact, reach)?;
            return Ok(true);
        }
        if at_end {
            self.visit(folder, name, looked, artifact)?;
        }
        Ok(at_end)
    }

    /// Goes on where a link leads, as a path inside the root: its target is searched for by its own name.
    fn follow(
        &mut self,
        folder: &Folder,
        name: &[u8],
        rest: &[Component],
        artifact: &Artifact,
        reach: Reach,
    ) -> Result<bool, Halt> {
        let target = match folder.read_link(name) {
            Ok(target) if reach.links < MAX_LINKS => target,
            _ => return Ok(false),
        };
        let path = if target.starts_with(b"/") { target } else { folder.join(&target) };
        let mut pattern = Pattern::of_path(&path);
        let plain: Vec<u8> = pattern.components.iter().fold(Vec::new(), |mut path, component| {
            if let Component::Literal(name) = component {
                path.push(b'/');
                path.extend(name);
            }
            path
        });
        // A link is no way round what is left out.
        if artifact.exclusions.iter().any(|exclusion| exclusion.matches(&plain)) {
            return Ok(false);
        }
        pattern.components.extend(rest.iter().cloned());
        let root = self.session.root.folder()?;
        let reach = Reach { depth: 0, within: 0, links: reach.links + 1 };
        self.descend(&root, &pattern.components, artifact, reach)
    }

    /// Goes on below a folder; the folder itself is recorded where everything below it is asked for.
    fn enter(
        &mut self,
        folder: &Folder,
        name: &[u8],
        looked: &Looked,
        components: &[Component],
        artifact: &Artifact,
        reach: Reach,
    ) -> Result<bool, Halt> {
        let path = folder.join(name);
        if artifact.excludes(&path) {
            let why = artifact.exclude_why.clone().unwrap_or_default();
            self.leave_out(&path, Some(looked), artifact, Outcome::SkippedByScope, &why)?;
            return Ok(true);
        }
        if self.session.scope.one_file_system && looked.crosses_mount(folder) {
            let why = "another file system (--one-file-system)";
            self.leave_out(&path, Some(looked), artifact, Outcome::SkippedByScope, why)?;
            return Ok(true);
        }
        let below = match folder.descend(name) {
            Ok(below) => below,
            Err(error) => return self.failed(folder, name, artifact, error),
        };
        if let Some(why) = self.unexpected(folder, &below, looked, components, reach) {
            // It was asked for and is not here: an exception, unlike what a definition leaves out.
            let error = io::Error::other(why);
            self.fail(artifact, Failure { path: &path, looked: Some(looked), error })?;
            return Ok(true);
        }
        if matches!(components, [Component::AnyDepth(_)]) {
            self.visit(folder, name, looked, artifact)?;
        }
        self.descend(&below, components, artifact, Reach { depth: reach.depth + 1, ..reach })
    }

    /// What keeps the search from going below a folder that was opened: depth, and a file system that the list of mounts
    /// did not have when the collection began.
    fn unexpected(
        &self,
        folder: &Folder,
        below: &Folder,
        looked: &Looked,
        components: &[Component],
        reach: Reach,
    ) -> Option<&'static str> {
        if reach.depth >= MAX_DEPTH {
            return Some("nested deeper than 128 folders");
        }
        if !looked.crosses_mount(folder) {
            return None;
        }
        let spelled_out = components.iter().all(|component| matches!(component, Component::Literal(_)));
        if source::kernel_made(below) && !(spelled_out && reach.links == 0) {
            return Some(Obstacle::KernelMade.in_words());
        }
        (source::remote(below) && !self.session.scope.network_file_systems)
            .then(|| Obstacle::Network.in_words())
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
        self.session.access_times_changed += u64::from(!listing.atime_preserved);
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

    fn failed(
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
        let key = self.hasher.hash_one(&path);
        if !artifact.wants(&path, name, looked, &self.session.owners) || self.seen.contains(&key) {
            return Ok(());
        }
        let is_file = looked.kind == ItemKind::File;
        let rule = match artifact.take {
            _ if is_file && artifact.excludes(&path) => {
                Some(artifact.exclude_why.as_deref().unwrap_or_default())
            }
            Take::Record if is_file => Some("only recorded: its content was not asked for"),
            _ => None,
        };
        if let Some(why) = rule {
            // The same rule, or another one like it, need not be told twice.
            if self.withheld.insert(key) {
                self.leave_out(&path, Some(looked), artifact, Outcome::SkippedByScope, why)?;
            }
            return Ok(());
        }
        self.seen.insert(key);
        let left_out = match () {
            () if self.session.package.own().contains(looked.identity) => {
                Some("this collection's own output")
            }
            () if is_file && self.session.is_earlier_output(folder, name) => {
                Some("an earlier package of this program in its output folder")
            }
            () => None,
        };
        match left_out {
            Some(why) => self.leave_out(&path, Some(looked), artifact, Outcome::SkippedByScope, why),
            None => self.take(folder, name, looked, artifact),
        }
    }
}

impl Artifact {
    fn of(definition: &Definition, users: &[User]) -> Result<Self, crate::catalogue::PatternError> {
        let names =
            |globs: &[String]| globs.iter().map(|glob| Component::of_name(glob)).collect::<Result<_, _>>();
        Ok(Self {
            name: definition.name.clone(),
            only: definition.only.clone(),
            take: definition.take,
            names: names(&definition.only.names)?,
            exclude_names: names(&definition.only.exclude_names)?,
            paths: definition.filter_patterns(users)?,
            exclusions: definition.exclusions(users)?,
            exclude_why: definition.exclude_why.clone(),
        })
    }

    fn excludes(&self, path: &[u8]) -> bool {
        self.exclusions.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether the definition's filter lets an entry through; a size above its most is dealt with when it is taken.
    fn wants(&self, path: &[u8], name: &[u8], looked: &Looked, owners: &source::Owners) -> bool {
        let only = &self.only;
        let (user, group) = looked.owner();
        let mode = looked.mode();
        (self.names.is_empty() || self.names.iter().any(|glob| glob.matches(name)))
            && !self.exclude_names.iter().any(|glob| glob.matches(name))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path)))
            && (only.kinds.is_empty() || only.kinds.contains(&looked.kind))
            && (looked.kind != ItemKind::File || only.min_size.is_none_or(|least| looked.size >= least))
            && only.mode_is.is_none_or(|bits| mode == bits)
            && only.mode_all.is_none_or(|bits| mode & bits == bits)
            && only.mode_any.is_none_or(|bits| mode & bits != 0)
            && (!only.unknown_user || owners.user(user).is_none())
            && (!only.unknown_group || owners.group(group).is_none())
    }
}

/// Why a definition has nothing to say of a Linux host, where it has not.
fn not_applicable(definition: &Definition) -> Option<String> {
    let foreign = !definition.platforms.contains(&Platform::Linux);
    definition.not_applicable.clone().or_else(|| {
        let platforms: Vec<String> = definition.platforms.iter().map(crate::catalogue::name_of).collect();
        foreign.then(|| format!("for {} only", platforms.join(", ")))
    })
}

/// Whether a path simply is not there, also because something on its way is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
