//! Owns the capture of live state: each table becomes a member, its kernel text lies beside it, its gaps are named;
//! refuses to let one failing table keep the others from being captured.

use std::io;

use holdfast_schemas::action::Action;
use holdfast_schemas::collection::DefinitionUse;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{EvidenceRoute, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::text::Base64Bytes;

use super::{Halt, Session};
use crate::clock;
use crate::package::{Content, PackageError};
use crate::state::{Captured, Gap, RawText, Table, TableCapture};

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
    session.progress.artifact(table.name);
    let started = clock::now();
    let (member, mut writer) =
        session.package.begin("data/state", table.member_name().as_bytes(), started.unix_seconds(), 0);
    let stop = session.stop;
    let ended = || stop.is_set();
    let mut rows = TableCapture::new(&mut writer, &session.root, &ended);
    let result = (table.capture)(&mut rows);
    let captured = rows.finish();
    let content = writer.finish()?;

    let mut record = session.draft(table.name, ItemKind::Table, EvidenceRoute::Generated, Outcome::Collected);
    if let Err(error) = result {
        record.outcome = Outcome::ReadError;
        record.error = Some(error.to_string());
    }
    record.read_started = Some(started);
    record.read_finished = Some(clock::now()).max(record.read_started);
    hold(&mut record, member, content);
    session.record(record, Action::CaptureTable)?;
    keep_beside(session, table, captured)
}

fn keep_beside(session: &mut Session<'_>, table: &Table, captured: Captured) -> Result<(), Halt> {
    for raw in captured.raw {
        keep_raw(session, table, &raw)?;
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

/// Keeps kernel text as it was read.
fn keep_raw(session: &mut Session<'_>, table: &Table, raw: &RawText) -> Result<(), Halt> {
    let now = clock::now();
    let bound = raw.bytes.len() as u64;
    let (member, mut writer) =
        session.package.begin("data/raw", raw.path.as_bytes(), now.unix_seconds(), bound);
    writer.read_from(&mut raw.bytes.as_slice(), bound)?;
    let content = writer.finish()?;
    let mut record =
        session.draft(table.name, ItemKind::KernelText, EvidenceRoute::Copied, Outcome::Collected);
    record.source_path = Some(raw.path.clone());
    record.source_path_raw = Some(Base64Bytes(raw.path.clone().into_bytes()));
    hold(&mut record, member, content);
    session.record(record, Action::ReadFile)
}

fn name_gap(session: &mut Session<'_>, table: &Table, gap: Gap) -> Result<(), Halt> {
    let mut record = session.draft(table.name, ItemKind::Unknown, EvidenceRoute::Generated, gap.outcome);
    record.source_path_raw = Some(Base64Bytes(gap.subject.clone().into_bytes()));
    record.source_path = Some(gap.subject);
    record.error = Some(gap.reason);
    session.record(record, Action::Record)
}

fn hold(record: &mut ItemRecord, member: String, content: Content) {
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
