//! Owns the capture of live state: each table becomes a member, its kernel text lies beside it, its gaps are named;
//! refuses to let one failing table keep the others from being captured.

use std::io::{self, Read, Write};

use holdfast_schemas::action::Action;
use holdfast_schemas::collection::DefinitionUse;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{EvidenceRoute, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::text::Base64Bytes;
use serde::Serialize;

use super::{Halt, Session};
use crate::catalogue::Definition;
use crate::clock;
use crate::package::{Content, PackageError, ReadEnd};
use crate::state::{Captured, Gap, Kept, KeptContent, Reads, Table, TableCapture};

/// Where member names begin of what was read through the kernel's own paths.
pub(super) const RAW: &str = "data/raw";

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
    for kept in captured.kept {
        keep(session, table, kept)?;
    }
    let named = captured.gaps.len() as u64;
    for gap in captured.gaps {
        name_gap(session, table, gap)?;
    }
    if captured.gap_count > named {
        let more = captured.gap_count - named;
        let outcome = format!("{more} further gaps are counted, not named");
        session.package.log(Action::Notice, Some(table.name.to_owned()), None, &outcome)?;
    }
    Ok(())
}

/// Keeps something beside the table that named it; what cannot be opened any more is an outcome.
fn keep(session: &mut Session<'_>, table: &Table, kept: Kept) -> Result<(), Halt> {
    session.check(u64::MAX)?;
    let failed = match kept.content {
        KeptContent::Text(bytes) => return keep_text(session, table, &kept.path, &bytes),
        KeptContent::File(open) => match open() {
            Ok((file, looked)) => {
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

/// Keeps kernel text as it was read.
fn keep_text(session: &mut Session<'_>, table: &Table, path: &[u8], bytes: &[u8]) -> Result<(), Halt> {
    let bound = bytes.len() as u64;
    let (member, mut writer) = session.package.begin(RAW, path, clock::now().unix_seconds(), bound);
    writer.read_from(&mut &*bytes, bound)?;
    let content = writer.finish()?;
    let mut record = session.draft_of_path(path, table.name, ItemKind::KernelText, Outcome::Collected);
    hold(&mut record, member, content);
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
    const STRETCH: u64 = 4 << 20;
    let started = clock::now();
    let bound = most.min(session.limits.file_size);
    let (stop, free, progress) = (session.stop.clone(), session.space.clone(), session.progress);
    let (member, mut writer) = session.package.begin(RAW, path, started.unix_seconds(), bound);
    let mut record_error = None;
    let outcome = loop {
        let until = writer.size().saturating_add(STRETCH).min(bound);
        let begun = writer.size();
        if let ReadEnd::Failed(error) = writer.read_from(&mut &mut *stream, until)? {
            record_error = Some(error.to_string());
            break Outcome::ReadError;
        }
        progress.bytes(writer.size() - begun);
        if writer.size() < until {
            break Outcome::Collected;
        }
        let cut = match () {
            () if stop.reason().is_some() => "cut because collecting was to end",
            () if free.is_short() => "cut because the output is nearly full",
            () if until == bound && bound < most => "cut at the size limit for one file (--max-file-size)",
            () if until == bound => break Outcome::Collected,
            () => continue,
        };
        record_error = Some(cut.to_owned());
        break Outcome::TruncatedByLimit;
    };
    let content = writer.finish()?;
    let mut record = session.draft_of_path(path, table.name, ItemKind::KernelText, outcome);
    record.error = record_error;
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

pub(super) fn hold(record: &mut ItemRecord, member: String, content: Content) {
    record.member = Some(member);
    record.size = Some(content.size);
    record.sha256 = Some(content.sha256);
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
