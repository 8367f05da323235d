//! Owns the capture of live state: each table becomes a member, its kernel text lies beside it, its gaps are named;
//! refuses to let one failing table keep the others from being captured.

use std::io::{self, Read, Write};

use holdfast_schemas::action::Action;
use holdfast_schemas::collection::DefinitionUse;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{EvidenceRoute, ItemKind, Outcome};
use holdfast_schemas::text::Base64Bytes;
use serde::Serialize;

use super::copy::{RAW, STRETCH, hold};
use super::{Halt, Session};
use crate::catalogue::Definition;
use crate::clock;
use crate::package::{PackageError, ReadEnd};
use crate::state::{Captured, Gap, Kept, KeptContent, Reads, Table, TableCapture};

/// The table of definitions.
pub(super) const DEFINITIONS: &str = "definitions";

/// What a table was captured by, for the collection's list of definitions.
pub(super) fn definition(table: &Table) -> DefinitionUse {
    let text = [table.name, table.about, &table.sources.join(" ")].join("\n");
    DefinitionUse {
        name: table.name.to_owned(),
        origin: "built-in".to_owned(),
        sha256: Sha256Digest::of(text.as_bytes()),
    }
}

/// Captures one table.
pub(super) fn capture(session: &mut Session<'_>, table: &Table) -> Result<(), Halt> {
    session.check(u64::MAX)?;
    if table.reads == Reads::Kernel && !session.root.is_live() {
        let (kind, route) = (ItemKind::Table, EvidenceRoute::Generated);
        let mut record = session.draft(table.name, kind, route, Outcome::NotApplicable);
        record.error =
            Some("only a running kernel has it, and --root names one that does not run".to_owned());
        return session.record(record, Action::Record).map(drop);
    }
    session.progress.artifact(table.name);
    let started = clock::now();
    let (member, mut writer) =
        session.package.begin("data/state", table.member_name().as_bytes(), started.unix_seconds(), 0);
    let stop = session.stop.clone();
    let ended = || stop.reason().is_some();
    let mut rows = TableCapture::new(&mut writer, &session.root, &ended).choosing(&session.scope.memory_of);
    let result = (table.capture)(&mut rows);
    let captured = rows.finish();
    let content = writer.finish()?;

    let mut record = session.draft(table.name, ItemKind::Table, EvidenceRoute::Generated, Outcome::Collected);
    if let Err(error) = result {
        let stopped = session.stop.reason().filter(|_| error.kind() == io::ErrorKind::Interrupted);
        record.outcome = stopped.map_or(Outcome::ReadError, |_| Outcome::TruncatedByLimit);
        record.error = Some(stopped.map_or_else(|| error.to_string(), |why| why.in_words().to_owned()));
    }
    record.read_started = Some(started);
    record.read_finished = Some(clock::now()).max(record.read_started);
    hold(&mut record, member, content);
    session.record(record, Action::CaptureTable)?;
    keep_beside(session, table, captured)
}

/// Writes a table of rows that are at hand.
pub(super) fn write_rows(
    session: &mut Session<'_>,
    name: &str,
    rows: impl IntoIterator<Item = impl Serialize>,
) -> Result<(), Halt> {
    let started = clock::now();
    let file = format!("{name}.jsonl");
    let (member, mut writer) =
        session.package.begin("data/state", file.as_bytes(), started.unix_seconds(), 0);
    for row in rows {
        serde_json::to_writer(&mut writer, &row).map_err(io::Error::from)?;
        writer.write_all(b"\n")?;
    }
    let content = writer.finish()?;
    let mut record = session.draft(name, ItemKind::Table, EvidenceRoute::Generated, Outcome::Collected);
    record.read_started = Some(started);
    record.read_finished = Some(clock::now()).max(record.read_started);
    hold(&mut record, member, content);
    session.record(record, Action::CaptureTable).map(drop)
}

/// The definitions that are searched for, as the texts whose digests `collection.json` states.
pub(super) fn write_definitions(session: &mut Session<'_>, definitions: &[Definition]) -> Result<(), Halt> {
    if definitions.is_empty() {
        return Ok(());
    }
    let row = |definition: &Definition| DefinitionRow {
        name: definition.name.clone(),
        origin: definition.origin.clone(),
        sha256: definition.digest(),
        definition: String::from_utf8(definition.json()).unwrap_or_default(),
    };
    write_rows(session, DEFINITIONS, definitions.iter().map(row))
}

/// One definition.
#[derive(Serialize)]
struct DefinitionRow {
    /// Derived: Its name, which item records give as `artifact`.
    name: String,
    /// Derived: Where it came from: `built-in`, `command line` or a file.
    origin: String,
    /// Derived: SHA-256 of `definition`.
    sha256: Sha256Digest,
    /// Derived: The definition as a JSON text, defaults left out.
    definition: String,
}

fn keep_beside(session: &mut Session<'_>, table: &Table, captured: Captured) -> Result<(), Halt> {
    // What is kept can be long; the gaps must not be lost where collecting ends before it.
    let named = captured.gaps.len() as u64;
    for gap in captured.gaps {
        name_gap(session, table, gap)?;
    }
    if captured.gap_count > named {
        let more = captured.gap_count - named;
        let outcome = format!("{more} further gaps are counted, not named");
        session.package.log(Action::Notice, Some(table.name.to_owned()), None, &outcome)?;
    }
    captured.kept.into_iter().try_for_each(|kept| keep(session, table, kept))
}

/// Keeps something beside the table that named it. What cannot be opened any more, and what a limit or the end of
/// collecting leaves out, is an outcome: the table's rows point at it.
fn keep(session: &mut Session<'_>, table: &Table, kept: Kept) -> Result<(), Halt> {
    let left_out = match session.check(u64::MAX) {
        Ok(()) => session.over_total(kept.content.least()),
        Err(Halt::Stop(interruption)) => Some(interruption.reason),
        Err(halt) => return Err(halt),
    };
    if let Some(why) = left_out {
        let outcome = Outcome::SkippedByLimit;
        let mut record = session.draft_of_path(&kept.path, table.name, ItemKind::Unknown, outcome);
        record.error = Some(why);
        return session.record(record, Action::Record).map(drop);
    }
    let failed = match kept.content {
        KeptContent::Text(bytes) => {
            let kind = ItemKind::KernelText;
            let record = session.draft_of_path(&kept.path, table.name, kind, Outcome::Collected);
            return session.write_bytes(&kept.path, &bytes, record).map(drop);
        }
        KeptContent::File(open) => match open() {
            Ok((file, looked)) => {
                if let Some(why) = session.over_total(looked.size.saturating_sub(looked.holes())) {
                    let (kind, outcome) = (ItemKind::File, Outcome::SkippedByLimit);
                    let mut record = session.draft_of_path(&kept.path, table.name, kind, outcome);
                    record.error = Some(why);
                    record.metadata = Some(looked.metadata(&session.owners));
                    return session.record(record, Action::Record).map(drop);
                }
                return session.read_file(RAW, &kept.path, &looked, file, table.name).map(drop);
            }
            Err(error) => error,
        },
        KeptContent::Stream { open, most } => match open() {
            Ok(mut stream) => return keep_stream(session, table, &kept.path, &mut stream, most),
            Err(error) => error,
        },
    };
    let outcome = crate::source::outcome_of(&failed);
    let mut record = session.draft_of_path(&kept.path, table.name, ItemKind::Unknown, outcome);
    record.error = Some(failed.to_string());
    session.record(record, Action::ReadFile).map(drop)
}

/// Keeps bytes as they come, until their end, a limit or the wish to stop.
fn keep_stream(
    session: &mut Session<'_>,
    table: &Table,
    path: &[u8],
    stream: &mut dyn Read,
    most: u64,
) -> Result<(), Halt> {
    let started = clock::now();
    let total = session.limits.total_size.map(|most| most.saturating_sub(session.package.totals().bytes));
    let bound = most.min(session.limits.file_size).min(total.unwrap_or(u64::MAX));
    let (ending, progress) = (session.ending(), session.progress);
    let (member, mut writer) = session.package.begin(RAW, path, started.unix_seconds(), bound);
    let (outcome, error) = loop {
        let (begun, until) = (writer.size(), writer.size().saturating_add(STRETCH).min(bound));
        if let ReadEnd::Failed(error) = writer.read_from(&mut &mut *stream, until)? {
            break (Outcome::ReadError, Some(error.to_string()));
        }
        progress.bytes(writer.size() - begun);
        if writer.size() < until {
            break (Outcome::Collected, None);
        }
        if until == bound {
            // Whether there is more can only be told by reading it.
            match stream.read(&mut [0; 1]) {
                Ok(0) => break (Outcome::Collected, None),
                Ok(_) => {
                    let why = "cut at a size limit (--max-file-size, --max-total-size)";
                    break (Outcome::TruncatedByLimit, Some(why.to_owned()));
                }
                Err(error) => break (Outcome::ReadError, Some(error.to_string())),
            }
        }
        if let Some(why) = ending.why_cut() {
            break (Outcome::TruncatedByLimit, Some(why.to_owned()));
        }
    };
    let content = writer.finish()?;
    let mut record = session.draft_of_path(path, table.name, ItemKind::KernelText, outcome);
    record.error = error;
    record.read_started = Some(started);
    record.read_finished = Some(clock::now()).max(record.read_started);
    hold(&mut record, member, content);
    session.record(record, Action::ReadFile).map(drop)
}

fn name_gap(session: &mut Session<'_>, table: &Table, gap: Gap) -> Result<(), Halt> {
    let mut record = session.draft(table.name, ItemKind::Unknown, EvidenceRoute::Generated, gap.outcome);
    record.source_path_raw = Some(Base64Bytes(gap.subject.clone().into_bytes()));
    record.source_path = Some(gap.subject);
    record.error = Some(gap.reason);
    session.record(record, Action::Record).map(drop)
}

impl From<PackageError> for Halt {
    fn from(error: PackageError) -> Self {
        Self::Package(error)
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Package(PackageError::Output(error))
    }
}
