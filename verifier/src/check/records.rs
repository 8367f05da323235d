//! Owns the walk of manifest and item records in step with the payload (schemas/README.md, sections 4 and 5), and the
//! reading of the acquisition log; refuses records that can be read in two ways, and to hold more than two of them.

use std::collections::{HashMap, VecDeque};

use holdfast_schemas::action::ActionRecord;
use holdfast_schemas::bag::parse_manifest_line;
use holdfast_schemas::collection::ArtifactCounts;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{ItemRecord, Outcome};
use holdfast_schemas::json::read_record;
use holdfast_schemas::merkle::MerkleTree;

use super::findings::Findings;
use super::payload::Read;
use super::rules;
use crate::open::{ContentFault, LineFault, Lines};

/// Most artifacts that are counted one by one, and most bytes of their names.
const MAX_ARTIFACTS: usize = 10_000;
const MAX_ARTIFACT_NAMES: usize = 4 << 20;

/// Lines that cannot be read, after which no more are: the verdict is settled, and a small file can hold very many.
const MAX_BAD_LINES: u64 = 1_000;

/// What the records say, as far as they could be read.
#[derive(Default)]
pub(super) struct Tally {
    /// Leaves so far: the item records.
    pub items_root: MerkleTree,
    /// Items by artifact and outcome, in order of first appearance.
    pub counts: Vec<ArtifactCounts>,
    /// Payload members read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether every record could be read.
    pub complete: bool,
    /// Whether there were more artifacts than are counted, so that `counts` says less than the records.
    pub uncounted: bool,
    /// Where in `counts` each artifact stands.
    places: HashMap<String, usize>,
    names_bytes: usize,
}

/// Manifest and item records, walked in step with the payload.
pub(super) struct InStep<'e> {
    manifest: Side<'e, (Sha256Digest, String)>,
    items: Side<'e, ItemRecord>,
    tally: Tally,
    bad_lines: u64,
}

/// One of the two files: its lines, and those that were read ahead.
struct Side<'e, T> {
    lines: Option<Lines<'e>>,
    ahead: VecDeque<T>,
}

impl<T> Side<'_, T> {
    /// Whether a record ahead matches; a match that is not the first says that those before it have no member.
    fn position(&self, matches: impl Fn(&T) -> bool) -> Option<usize> {
        self.ahead.iter().position(matches)
    }
}

impl<'e> InStep<'e> {
    /// A walk that has not begun; a file that could not be opened is walked as if it were empty.
    pub(super) fn new(manifest: Option<Lines<'e>>, items: Option<Lines<'e>>) -> Self {
        let tally = Tally { complete: manifest.is_some() && items.is_some(), ..Tally::default() };
        Self {
            manifest: Side { lines: manifest, ahead: VecDeque::new() },
            items: Side { lines: items, ahead: VecDeque::new() },
            tally,
            bad_lines: 0,
        }
    }

    /// Compares one payload member with its manifest line and its item record.
    pub(super) fn member(&mut self, read: &Read, findings: &mut Findings) {
        self.tally.files += 1;
        let content = match &read.content {
            Ok(content) => {
                self.tally.bytes += content.size;
                Some(content)
            }
            Err(fault) => {
                content_fault(fault, &read.name, findings);
                None
            }
        };
        match self.manifest_line(&read.name, findings) {
            None => findings.add(
                &rules::MEMBER_UNLISTED,
                Some(&read.name),
                "This file is not in the list of sealed files.",
            ),
            Some(digest) if content.is_some_and(|content| content.sha256 != digest) => {
                let found = "The content of this file is not what the list of sealed files says.";
                findings.add(&rules::ITEM_DIGEST_DIFFERS, Some(&read.name), found);
            }
            Some(_) => {}
        }
        match self.item(&read.name, findings) {
            None => findings.add(
                &rules::RECORD_ABSENT,
                Some(&read.name),
                "There is no record of how this file was acquired.",
            ),
            Some(record) => {
                let differs = content.is_some_and(|content| {
                    (Some(content.sha256), Some(content.size)) != (record.sha256, record.size)
                });
                if differs {
                    let found = "The content of this file is not what its acquisition record says.";
                    findings.add(&rules::RECORD_DIFFERS, Some(&read.name), found);
                }
            }
        }
    }

    /// Reads what is left of both files and checks them as members.
    pub(super) fn finish(mut self, findings: &mut Findings) -> (Tally, [Option<Sha256Digest>; 2]) {
        while self.read_manifest_line(findings) {
            self.drop_lines(usize::MAX, findings);
        }
        self.drop_lines(usize::MAX, findings);
        while self.read_item(findings) {
            self.drop_items(usize::MAX, findings);
        }
        self.drop_items(usize::MAX, findings);
        let manifest = finish_lines(self.manifest.lines.take(), "manifest-sha256.txt", findings);
        let items = finish_lines(self.items.lines.take(), "items.jsonl", findings);
        self.tally.complete &= manifest.is_some() && items.is_some();
        (self.tally, [manifest, items])
    }

    fn manifest_line(&mut self, name: &str, findings: &mut Findings) -> Option<Sha256Digest> {
        while self.manifest.ahead.len() < 2 && self.read_manifest_line(findings) {}
        let at = self.manifest.position(|(_, listed)| listed == name)?;
        self.drop_lines(at, findings);
        self.manifest.ahead.pop_front().map(|(digest, _)| digest)
    }

    fn drop_lines(&mut self, count: usize, findings: &mut Findings) {
        let count = count.min(self.manifest.ahead.len());
        for (_, name) in self.manifest.ahead.drain(..count) {
            findings.add(
                &rules::LISTED_MEMBER_ABSENT,
                Some(&name),
                "This file was sealed and is not in the package any more.",
            );
        }
    }

    fn read_manifest_line(&mut self, findings: &mut Findings) -> bool {
        let Some(lines) = self.manifest.lines.as_mut().filter(|_| self.bad_lines < MAX_BAD_LINES) else {
            return false;
        };
        let parsed = match lines.next_line() {
            Ok(None) => return false,
            Ok(Some(line)) => std::str::from_utf8(line).ok().and_then(parse_manifest_line),
            Err(_) => None,
        };
        match parsed {
            Some((digest, name)) => self.manifest.ahead.push_back((digest, name.to_owned())),
            None => {
                self.bad_lines += 1;
                let found = "A line of this list is not in its one form.";
                findings.add(&rules::MANIFEST_MALFORMED, Some("manifest-sha256.txt"), found);
            }
        }
        true
    }

    fn item(&mut self, member: &str, findings: &mut Findings) -> Option<ItemRecord> {
        while self.items.ahead.len() < 2 && self.read_item(findings) {}
        let at = self.items.position(|record| record.member.as_deref() == Some(member))?;
        self.drop_items(at, findings);
        self.items.ahead.pop_front()
    }

    fn drop_items(&mut self, count: usize, findings: &mut Findings) {
        let count = count.min(self.items.ahead.len());
        for record in self.items.ahead.drain(..count) {
            let found = "The records say that this file was acquired, and it is not in the package.";
            findings.add(&rules::RECORDED_MEMBER_ABSENT, record.member.as_deref(), found);
        }
    }

    /// Reads one record; those without a member are only counted. False at the end.
    fn read_item(&mut self, findings: &mut Findings) -> bool {
        let Some(lines) = self.items.lines.as_mut().filter(|_| self.bad_lines < MAX_BAD_LINES) else {
            return false;
        };
        let number = self.tally.items_root.leaves() + 1;
        let place = || format!("items.jsonl, line {number}");
        let record = match lines.next_line() {
            Ok(None) => return false,
            Ok(Some(line)) => {
                self.tally.items_root.push(line);
                read_record::<ItemRecord>(line).map_err(|error| error.to_string())
            }
            Err(fault) => {
                self.tally.complete = false;
                findings.add(&rules::RECORD_MALFORMED, Some(&place()), line_fault(&fault));
                return fault != LineFault::TooLong;
            }
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                self.bad_lines += 1;
                self.tally.complete = false;
                findings.add(
                    &rules::RECORD_MALFORMED,
                    Some(&place()),
                    format!("This record cannot be read: {error}."),
                );
                return true;
            }
        };
        if let Err(error) = record.check() {
            findings.add(
                &rules::RECORD_INCONSISTENT,
                Some(&place()),
                format!("This record contradicts itself: {error}."),
            );
        }
        if record.id != number {
            findings.add(
                &rules::SEQUENCE_BROKEN,
                Some(&place()),
                "Records are not numbered one after the other.",
            );
        }
        if !self.tally.count(&record) {
            let found = "The records name more artifacts than this verifier counts, so their counts were not compared.";
            findings.add(&rules::LIMITS_EXCEEDED, Some("items.jsonl"), found);
        }
        if record.member.is_some() {
            self.items.ahead.push_back(record);
        }
        true
    }
}

impl Tally {
    /// Counts a record under its artifact; false the first time that there are too many artifacts to do so.
    fn count(&mut self, record: &ItemRecord) -> bool {
        let artifact = &record.artifact;
        let at = self.places.get(artifact).copied().or_else(|| {
            let names_bytes = self.names_bytes.saturating_add(artifact.len());
            if self.counts.len() == MAX_ARTIFACTS || names_bytes > MAX_ARTIFACT_NAMES {
                return None;
            }
            self.names_bytes = names_bytes;
            self.places.insert(artifact.clone(), self.counts.len());
            self.counts.push(ArtifactCounts::new(artifact));
            Some(self.counts.len() - 1)
        });
        match at.and_then(|at| self.counts.get_mut(at)) {
            Some(counts) => {
                *counts.count_mut(record.outcome) += 1;
                true
            }
            None => std::mem::replace(&mut self.uncounted, true),
        }
    }

    /// Items with `outcome`.
    pub(super) fn total(&self, outcome: Outcome) -> u64 {
        self.counts.iter().map(|counts| counts.count(outcome)).sum()
    }
}

/// Reads the acquisition log: form and sequence. Its digest, where the member is sound.
pub(super) fn check_actions(mut lines: Lines<'_>, findings: &mut Findings) -> Option<Sha256Digest> {
    let (mut number, mut bad_lines) = (0, 0);
    while bad_lines < MAX_BAD_LINES {
        let place = format!("actions.jsonl, line {}", number + 1);
        match lines.next_line() {
            Ok(None) => break,
            Ok(Some(line)) => match read_record::<ActionRecord>(line) {
                Ok(action) if action.seq == number + 1 => {}
                Ok(_) => findings.add(
                    &rules::SEQUENCE_BROKEN,
                    Some(&place),
                    "Actions are not numbered one after the other.",
                ),
                Err(error) => {
                    bad_lines += 1;
                    findings.add(
                        &rules::RECORD_MALFORMED,
                        Some(&place),
                        format!("This record cannot be read: {error}."),
                    );
                }
            },
            Err(fault) => {
                findings.add(&rules::RECORD_MALFORMED, Some(&place), line_fault(&fault));
                break;
            }
        }
        number += 1;
    }
    finish_lines(Some(lines), "actions.jsonl", findings)
}

fn line_fault(fault: &LineFault) -> &'static str {
    match fault {
        LineFault::TooLong => "This line is longer than a record may be.",
        LineFault::Unterminated => "The last line is cut off.",
    }
}

fn finish_lines(lines: Option<Lines<'_>>, name: &str, findings: &mut Findings) -> Option<Sha256Digest> {
    match lines?.finish() {
        Ok(totals) => Some(totals.sha256),
        Err(fault) => {
            content_fault(&fault, name, findings);
            None
        }
    }
}

/// Tells what is wrong with a member's bytes.
pub(super) fn content_fault(fault: &ContentFault, name: &str, findings: &mut Findings) {
    match fault {
        ContentFault::Read(error) => findings.unreadable(error),
        ContentFault::Directory => findings.add(
            &rules::DIRECTORY_MALFORMED,
            Some(name),
            "The list of members says something else of this member than the member itself.",
        ),
        ContentFault::Frame(what) => findings.add(
            &rules::MEMBER_MALFORMED,
            Some(name),
            format!("This member was changed or is damaged: {what}."),
        ),
        ContentFault::Content(what) => findings.add(
            &rules::CONTENT_MALFORMED,
            Some(name),
            format!("This member was changed or is damaged: {what}."),
        ),
    }
}
