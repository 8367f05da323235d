//! Owns the list of findings while checks run; refuses to grow without bound: past a number for each code they are
//! only counted.

use std::collections::HashMap;
use std::io;

use holdfast_schemas::report::{Axis, Finding, Status};
use holdfast_schemas::text::for_people;

use super::rules::Rule;

/// Findings of one code that are told one by one.
const TOLD: u64 = 20;
/// Longest subject, and longest words from evidence, in characters; a member's name has at most 3,000 and a folder.
const LONGEST: usize = 4_000;

/// What has been found so far.
#[derive(Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    counts: HashMap<&'static str, u64>,
    unreadable: Option<io::Error>,
}

impl Findings {
    /// Adds what `rule` found; `subject` may hold names from evidence.
    pub(super) fn add(&mut self, rule: &'static Rule, subject: Option<&str>, found: impl Into<String>) {
        self.add_as(rule, rule.status, subject, found);
    }

    /// Adds what `rule` found with another status than its usual one.
    pub(super) fn add_as(
        &mut self,
        rule: &'static Rule,
        status: Status,
        subject: Option<&str>,
        found: impl Into<String>,
    ) {
        let count = self.counts.entry(rule.code).or_default();
        *count += 1;
        if *count <= TOLD {
            self.list.push(Finding {
                code: rule.code.to_owned(),
                axis: rule.axis,
                status,
                subject: subject.map(shortened),
                found: shortened(&found.into()),
                shows: rule.shows.to_owned(),
                does_not_show: rule.does_not_show.to_owned(),
            });
        }
    }

    /// Notes that part of the file could not be read. That is the machine's failure, never a finding.
    pub(super) fn unreadable(&mut self, error: &io::Error) {
        self.unreadable.get_or_insert_with(|| io::Error::new(error.kind(), error.to_string()));
    }

    /// The first read error, which leaves nothing to be judged.
    pub(super) fn take_unreadable(&mut self) -> Option<io::Error> {
        self.unreadable.take()
    }

    /// Whether anything on `axis` is worse than good.
    pub(super) fn worse_than_good(&self, axis: Axis) -> bool {
        self.list.iter().any(|finding| finding.axis == axis && finding.status > Status::Good)
    }

    /// The findings, each code that was cut with the number of those left out.
    pub(super) fn into_list(mut self) -> Vec<Finding> {
        for finding in self.list.iter_mut().rev() {
            if let Some(more) = self
                .counts
                .remove(finding.code.as_str())
                .map(|count| count.saturating_sub(TOLD))
                .filter(|more| *more > 0)
            {
                finding.found.push_str(&format!(" ({more} more like this are counted, not listed.)"));
            }
        }
        self.list
    }
}

/// A text that may hold words from evidence, escaped, and cut where it is longer than a person reads.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => for_people(text),
        Some((cut, _)) => format!("{} [cut]", for_people(text.get(..cut).unwrap_or_default())),
    }
}
