//! Owns the closing summary: what was captured, what was not and why, what it proves and where it is; refuses to print
//! names from evidence unescaped.

use std::fmt;

use holdfast_schemas::collection::{ArtifactCounts, Collection};
use holdfast_schemas::item::{ItemKind, ItemRecord, Outcome};
use holdfast_schemas::seal::Role;
use holdfast_schemas::text::for_people;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{live, second_look};
use crate::seal::Sealed;

/// Exceptions that a summary names, the gravest; all are in the package.
const NAMED: usize = 3;
/// Exceptions from which those are chosen.
const KEPT: usize = 64;

/// What a collection came to.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The package, unless it went to a pipe.
    pub package: Option<String>,
    /// SHA-256 of the sealed statement.
    pub package_id: String,
    /// SHA-256 of the file.
    pub package_sha256: String,
    /// Length of the file.
    pub package_bytes: u64,
    /// The ledger; null where it could not be written.
    pub ledger: Option<String>,
    /// The profile or selection.
    pub profile: String,
    /// Whether this was a drill.
    pub exercise: bool,
    /// Items by outcome, those that occurred.
    pub outcomes: Vec<OutcomeCount>,
    /// Bytes of content captured.
    pub payload_bytes: u64,
    /// Seconds from the first clock reading to the last.
    pub seconds: f64,
    /// What became of each artifact and table: what was found, missing, failed and limited.
    pub artifacts: Vec<ArtifactAccount>,
    /// The gravest exceptions by name.
    pub exceptions: Vec<NamedException>,
    /// Whether anything of the host was captured, beside the agent's own account of the capture.
    #[serde(skip)]
    usable: bool,
    /// What went wrong beside single items, in words.
    pub notices: Vec<String>,
    /// Who signed: role and fingerprint.
    pub signers: Vec<String>,
    /// What is known of the time of sealing.
    pub time: Vec<String>,
}

/// How often an outcome occurred.
#[derive(Debug, Serialize)]
pub struct OutcomeCount {
    /// The outcome.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
}

/// An item that is not here whole and still.
#[derive(Debug, Clone, Serialize)]
pub struct NamedException {
    /// The artifact.
    pub artifact: String,
    /// The path, escaped for people.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<String>,
}

/// What was asked of one artifact or table, and what became of it.
#[derive(Debug, Serialize)]
pub struct ArtifactAccount {
    /// Its name.
    pub artifact: String,
    /// Everything that was looked for or met: the sum of the other four and of what was left out as a rule.
    pub expected: u64,
    /// Taken, whole or not, or recorded as the link, folder, pipe, socket or device it is.
    pub found: u64,
    /// Named, and not on the host.
    pub missing: u64,
    /// Denied, unreadable or not still while it was read.
    pub failed: u64,
    /// Cut or left out by a limit.
    pub limited: u64,
}

impl ArtifactAccount {
    fn of(counts: &ArtifactCounts) -> Self {
        Self {
            artifact: counts.artifact.clone(),
            expected: Outcome::ALL.iter().map(|outcome| counts.count(*outcome)).sum(),
            found: counts.collected + counts.not_regular + counts.hard_link,
            missing: counts.missing,
            failed: counts.denied + counts.read_error + counts.changed_while_read,
            limited: counts.truncated_by_limit + counts.skipped_by_limit,
        }
    }
}

impl NamedException {
    /// How much an examiner may have lost by it; 0 is the gravest.
    fn rank(&self) -> u8 {
        match (self.kind, self.outcome) {
            (ItemKind::Table, _) => 0,
            (ItemKind::Directory | ItemKind::Unknown, Outcome::Denied | Outcome::ReadError) => 1,
            (_, Outcome::SkippedByLimit) => 2,
            (_, Outcome::Denied | Outcome::ReadError) => 3,
            (_, Outcome::TruncatedByLimit) => 4,
            _ => 5,
        }
    }

    /// Adds the exception that a record is, where it is one, and keeps the gravest.
    pub(super) fn add(exceptions: &mut Vec<Self>, record: &ItemRecord) {
        let Some(exception) = Self::of(record) else { return };
        let rank = exception.rank();
        let at = exceptions.partition_point(|known| known.rank() <= rank);
        // One artifact must not crowd out the others.
        let alike = |known: &Self| known.artifact == exception.artifact && known.rank() <= rank;
        if at < KEPT && exceptions.iter().filter(|known| alike(known)).count() < NAMED {
            exceptions.insert(at, exception);
            exceptions.truncate(KEPT);
        }
    }

    /// The few that a summary names: the gravest of different artifacts first.
    fn gravest(exceptions: Vec<Self>) -> Vec<Self> {
        let mut named: Vec<Self> = Vec::new();
        let (mut first, mut further) = (Vec::new(), Vec::new());
        for exception in exceptions {
            let told = first.iter().any(|known: &Self| known.artifact == exception.artifact);
            if told { further.push(exception) } else { first.push(exception) }
        }
        named.extend(first.into_iter().chain(further).take(NAMED));
        named
    }

    /// The exception that a record is, where it is one.
    fn of(record: &ItemRecord) -> Option<Self> {
        if !record.outcome.is_exception() {
            return None;
        }
        let raw = record.source_path_raw.as_ref().map(|raw| String::from_utf8_lossy(&raw.0).into_owned());
        Some(Self {
            artifact: record.artifact.clone(),
            path: for_people(&raw.unwrap_or_else(|| format!("table {}", record.artifact))),
            kind: record.kind,
            outcome: record.outcome,
            reason: record.error.as_deref().map(for_people),
        })
    }
}

impl Summary {
    pub(super) fn new(
        collection: &Collection,
        sealed: Sealed,
        payload_bytes: u64,
        exceptions: Vec<NamedException>,
    ) -> Self {
        let total = |outcome| collection.counts.iter().map(|counts| counts.count(outcome)).sum();
        let outcomes = Outcome::ALL.map(|outcome| OutcomeCount { outcome, count: total(outcome) });
        let own = [live::DEFINITIONS, second_look::NAME];
        let of_host = collection.counts.iter().filter(|counts| !own.contains(&counts.artifact.as_str()));
        let has_content = |outcome: &Outcome| outcome.has_content() == Some(true);
        let held = |counts: &ArtifactCounts| {
            Outcome::ALL
                .iter()
                .filter(|outcome| has_content(outcome))
                .any(|outcome| counts.count(*outcome) > 0)
        };
        Self {
            usable: of_host.into_iter().any(held),
            notices: notices(collection, &sealed),
            time: time(&sealed),
            signers: sealed
                .signers
                .iter()
                .map(|(role, fingerprint)| format!("{role} {fingerprint}"))
                .collect(),
            package: sealed.package.as_ref().map(|path| path.display().to_string()),
            package_id: sealed.package_id.to_string(),
            package_sha256: sealed.sha256.to_string(),
            package_bytes: sealed.bytes,
            ledger: sealed.ledger.ok().map(|path| path.display().to_string()),
            profile: collection.profile.clone(),
            exercise: collection.exercise,
            outcomes: outcomes.into_iter().filter(|counted| counted.count > 0).collect(),
            payload_bytes,
            seconds: seconds(collection),
            artifacts: collection.counts.iter().map(ArtifactAccount::of).collect(),
            exceptions: NamedException::gravest(exceptions),
        }
    }

    /// The exit status: 0 everything asked for was captured, 10 captured with exceptions, 20 nothing usable.
    pub fn exit_status(&self) -> u8 {
        let any = |wanted: fn(Outcome) -> bool| self.outcomes.iter().any(|counted| wanted(counted.outcome));
        if !self.usable {
            20
        } else if any(Outcome::is_exception) || !self.notices.is_empty() {
            10
        } else {
            0
        }
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.iter().filter(|counted| counted.outcome == outcome).map(|counted| counted.count).sum()
    }
}

fn seconds(collection: &Collection) -> f64 {
    let nanoseconds = collection.clock.end.monotonic_ns.saturating_sub(collection.clock.start.monotonic_ns);
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}

fn notices(collection: &Collection, sealed: &Sealed) -> Vec<String> {
    let mut notices: Vec<String> = collection
        .interruptions
        .iter()
        .map(|interruption| {
            format!("Collecting ended early, {}: {}.", interruption.reason, interruption.consequence)
        })
        .collect();
    if let Some(failure) = &sealed.examiner_failure {
        notices.push(format!(
            "The examiner's key did not sign ({failure}); the package is sealed by its one-time key only."
        ));
    }
    for answer in &sealed.timestamps {
        if let Some(failure) = &answer.failure {
            let failure = for_people(failure);
            notices.push(format!(
                "No timestamp from {}: {failure}. The package is whole without it.",
                answer.authority
            ));
        }
    }
    if let Err(failure) = &sealed.ledger {
        notices.push(format!(
            "The custody ledger could not be written ({failure}). The package is whole without it."
        ));
    }
    notices
}

fn time(sealed: &Sealed) -> Vec<String> {
    let trusted = |answer: &crate::seal::AuthorityAnswer| {
        let time = answer.time?.for_people();
        Some(format!("existed by {time}, by timestamp authority {}", answer.authority))
    };
    let times: Vec<String> = sealed.timestamps.iter().filter_map(trusted).collect();
    if times.is_empty() {
        let time = sealed.sealed_at.for_people();
        return vec![format!("no trusted timestamp; {time} rests on this host's clock alone")];
    }
    times
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.exercise {
            writeln!(f, "EXERCISE: this is a drill, and the package says so.\n")?;
        }
        let captured = self.count(Outcome::Collected)
            + self.count(Outcome::ChangedWhileRead)
            + self.count(Outcome::TruncatedByLimit);
        writeln!(
            f,
            "Captured {} files and tables, {}, in {:.1} s (profile {}).",
            HumanCount(captured),
            HumanBytes(self.payload_bytes),
            self.seconds,
            self.profile
        )?;
        self.write_exceptions(f)?;
        for notice in &self.notices {
            writeln!(f, "  ! {notice}")?;
        }
        writeln!(f)?;
        let examiner =
            self.signers.iter().find_map(|signer| signer.strip_prefix(&format!("{} ", Role::Examiner)));
        match examiner {
            Some(fingerprint) => {
                writeln!(f, "Signed   by examiner key {fingerprint} and by this collection's one-time key")?
            }
            None => writeln!(f, "Signed   by this collection's one-time key only (no --key was given)")?,
        }
        for time in &self.time {
            writeln!(f, "Time     {time}")?;
        }
        writeln!(f, "Proves   that nothing in the package has changed since it was sealed.")?;
        match examiner {
            Some(_) => writeln!(f, "         Not that what this host told was true.")?,
            None => writeln!(f, "         Not who sealed it, and not that what this host told was true.")?,
        }
        if let Some(ledger) = &self.ledger {
            writeln!(f, "Ledger   {ledger} (keep it with the package)")?;
        }
        let package = self.package.as_deref().unwrap_or("standard output");
        let spoken = self.package_id.parse().map(|id: holdfast_schemas::digest::Sha256Digest| id.spoken());
        write!(f, "Package  {package}  id {}", spoken.unwrap_or_default())
    }
}

impl Summary {
    fn write_exceptions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |outcome: &&OutcomeCount| outcome.outcome != Outcome::Collected;
        for counted in self.outcomes.iter().filter(listed) {
            let mark = if counted.outcome.is_exception() { '!' } else { ' ' };
            writeln!(
                f,
                "  {mark} {:>7}  {}",
                HumanCount(counted.count).to_string(),
                counted.outcome.in_words()
            )?;
        }
        if !self.exceptions.is_empty() {
            writeln!(f, "    The gravest:")?;
        }
        for exception in &self.exceptions {
            let reason = exception.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            writeln!(
                f,
                "      {}: {}: {}{reason}",
                exception.artifact,
                exception.path,
                exception.outcome.in_words()
            )?;
        }
        let exceptions: u64 = self
            .outcomes
            .iter()
            .filter(|counted| counted.outcome.is_exception())
            .map(|counted| counted.count)
            .sum();
        let named = self.exceptions.len() as u64;
        if exceptions > named {
            writeln!(f, "      and {} more, each named in items.jsonl", HumanCount(exceptions - named))?;
        }
        Ok(())
    }
}
