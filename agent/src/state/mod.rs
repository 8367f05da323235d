//! Owns the live-state tables and the seam between them and the collection; refuses to run any program.

use std::io::{self, Write};

use holdfast_schemas::item::Outcome;
use serde::Serialize;

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{clock, tables};

/// One table of live state, named and typed after osquery's table where one exists.
pub struct Table {
    /// The table's name, which is also its file name: `data/state/<name>.jsonl`.
    pub name: &'static str,
    /// What a row is, in one sentence for people.
    pub about: &'static str,
    /// The kernel interfaces the rows are derived from, such as `/proc/net/tcp` or `netlink sock_diag`.
    pub sources: &'static [&'static str],
    /// Reads the kernel interfaces and gives every row to the capture.
    pub capture: fn(&mut TableCapture<'_>) -> io::Result<()>,
}

/// Kernel text kept beside the table that was derived from it, as `data/raw/<path>`.
pub struct RawText {
    /// The absolute path it was read from.
    pub path: String,
    /// Exactly the bytes the kernel gave.
    pub bytes: Vec<u8>,
}

/// Something a table could not look at: not a row, not an error, but an exception to be counted and named.
pub struct Gap {
    /// What was looked at, such as `/proc/812/exe`.
    pub subject: String,
    /// Why it could not be read, in the operating system's words.
    pub reason: String,
    /// What became of the attempt: denied, missing or a read error.
    pub outcome: Outcome,
}

/// What a table hands over while it is captured: rows as they come, raw text, and gaps.
pub struct TableCapture<'a> {
    out: &'a mut dyn Write,
    rows: u64,
    raw: Vec<RawText>,
    gaps: Vec<Gap>,
    gap_count: u64,
}

/// Gaps kept by name for each table; further ones are only counted.
const NAMED_GAPS: usize = 1_000;

impl<'a> TableCapture<'a> {
    /// A capture whose rows are written to `out` as JSON lines.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, rows: 0, raw: Vec::new(), gaps: Vec::new(), gap_count: 0 }
    }

    /// Writes one row as one JSON line.
    pub fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, row)?;
        self.out.write_all(b"\n")?;
        self.rows += 1;
        Ok(())
    }

    /// Reads kernel text from `path`, keeps its bytes for `data/raw` and returns them for parsing.
    pub fn keep_raw(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let bytes = crate::source::kernel_text(path)?;
        self.raw.push(RawText { path: path.to_owned(), bytes: bytes.clone() });
        Ok(bytes)
    }

    /// Records that `subject` could not be looked at.
    pub fn gap(&mut self, subject: impl Into<String>, reason: &io::Error) {
        self.gap_count += 1;
        if self.gaps.len() < NAMED_GAPS {
            let outcome = crate::source::outcome_of(reason);
            self.gaps.push(Gap { subject: subject.into(), reason: reason.to_string(), outcome });
        }
    }

    /// Ends the capture: rows written, raw texts kept, gaps named and the number of gaps in all.
    pub fn finish(self) -> Captured {
        Captured { rows: self.rows, raw: self.raw, gaps: self.gaps, gap_count: self.gap_count }
    }
}

/// What came of one table.
pub struct Captured {
    /// Rows written.
    pub rows: u64,
    /// Kernel texts to be kept beside the table.
    pub raw: Vec<RawText>,
    /// The first gaps, by name.
    pub gaps: Vec<Gap>,
    /// All gaps, named or not.
    pub gap_count: u64,
}
