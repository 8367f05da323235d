//! Owns the acquisition log's record: one line of `actions.jsonl` for every action, in order; refuses nothing by itself.

use serde::{Deserialize, Serialize};

use crate::time::UtcTime;

/// One action of the agent, in the order it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRecord {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// When, by the host's clock, UTC.
    pub at: UtcTime,
    /// Nanoseconds of the host's monotonic clock, which never steps back.
    pub monotonic_ns: u64,
    /// What was done.
    pub action: Action,
    /// To what: an artifact, a table or a setting; null where `item` says it.
    pub subject: Option<String>,
    /// The item record it produced.
    pub item: Option<u64>,
    /// What came of it: `ok`, an item outcome, or an error in words.
    pub outcome: String,
}

/// The kinds of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The collection began.
    Start,
    /// A table of live state was captured.
    CaptureTable,
    /// An artifact's search began.
    SearchArtifact,
    /// A file was opened and read, or tried.
    ReadFile,
    /// Something was recorded without being read.
    Record,
    /// A limit, a refusal or a fault of the surroundings was met.
    Notice,
    /// The collection ended.
    End,
}
