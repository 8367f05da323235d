//! Owns the live-state tables and the seam between them and the collection; refuses to run any program.

use std::io::{self, Read, Write};

use holdfast_schemas::item::Outcome;
use serde::{Deserialize, Serialize};

use crate::source::{Looked, OpenFile, Root};

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{clock, tables};

/// One table of state, named and typed after osquery's table where one exists.
pub struct Table {
    /// The table's name, which is also its file name; see [`Table::member_name`].
    pub name: &'static str,
    /// What a row is, in one sentence for people.
    pub about: &'static str,
    /// What the rows are derived from, such as `/proc/net/tcp` or `netlink sock_diag`.
    pub sources: &'static [&'static str],
    /// The chapter it belongs to; profiles choose by chapter or by name.
    pub group: Group,
    /// Whether a mounted root has it too.
    pub reads: Reads,
    /// Whether it is captured only where it was asked for by name.
    pub sensitivity: Sensitivity,
    /// Reads the sources and gives every row to the capture.
    pub capture: fn(&mut TableCapture<'_>) -> io::Result<()>,
}

impl Table {
    /// The file name of its member in `data/state`: JSON lines, but for the body file, whose readers want its own form.
    pub fn member_name(&self) -> String {
        match self.name {
            "bodyfile" => "bodyfile.txt".to_owned(),
            name => format!("{name}.jsonl"),
        }
    }
}

/// Chapters of state, roughly in the order of volatility (RFC 3227 2.1, SP 800-86 5.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Sockets, neighbours, routes, interfaces, packet filters.
    Network,
    /// Login sessions.
    Sessions,
    /// Processes, what they hold open and what they run in.
    Processes,
    /// Modules, programs in the kernel, its settings and messages.
    Kernel,
    /// Mounts, block devices and what is stacked on them.
    Storage,
    /// Firmware, measured boot.
    Firmware,
    /// Users, groups, what they may do, when they logged in.
    Accounts,
    /// What starts by itself: units, timers, cron.
    Services,
    /// Installed software.
    Packages,
    /// Containers and pods.
    Containers,
    /// Every file of every disk: body file, digests of executables, odd modes, changes against the package databases.
    Disk,
}

/// What a table is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The running kernel: only a live host has it.
    Kernel,
    /// Files, through [`TableCapture::root`] only: a mounted image or a container's root has it too.
    Files,
}

/// Whether need-to-know rules keep something out unless it was asked for (M.G.L. c. 66A).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// No more than any system data.
    #[default]
    Ordinary,
    /// Personal data or secrets by its nature: only where a profile or person names it, or asks for all of that kind.
    Personal,
    /// Everything there is, such as the machine's memory: only by its own name.
    Memory,
}

/// Something kept beside the table that names it, as `data/raw/<path>`.
pub struct Kept {
    /// The absolute path it was read from, raw bytes.
    pub path: Vec<u8>,
    /// What is kept.
    pub content: KeptContent,
}

impl Kept {
    /// The bytes, where they are at hand.
    pub fn text(&self) -> Option<&[u8]> {
        match &self.content {
            KeptContent::Text(bytes) => Some(bytes),
            KeptContent::File(_) | KeptContent::Stream { .. } => None,
        }
    }
}

/// What is kept beside a table; all but texts is read after the table's last row, straight into the package.
pub enum KeptContent {
    /// Exactly the bytes the kernel gave.
    Text(Vec<u8>),
    /// A regular file, such as a deleted one that a process still holds.
    File(Opening<(OpenFile, Looked)>),
    /// Bytes as they come, such as a process's memory.
    Stream {
        /// Gives the bytes.
        open: Opening<Box<dyn Read + Send>>,
        /// The most that is taken, in bytes.
        most: u64,
    },
}

impl KeptContent {
    /// Bytes that it has at least, as far as is known before it is opened.
    pub fn least(&self) -> u64 {
        match self {
            Self::Text(bytes) => bytes.len() as u64,
            Self::File(_) | Self::Stream { .. } => 0,
        }
    }
}

/// Opens something when its turn comes.
pub type Opening<T> = Box<dyn FnOnce() -> io::Result<T> + Send>;

/// Something a table could not look at: not a row, not an error, but an exception to be counted and named.
#[derive(Debug, PartialEq, Eq)]
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
    root: &'a Root,
    ended: &'a dyn Fn() -> bool,
    chosen: &'a [u32],
    rows: u64,
    kept: Vec<Kept>,
    gaps: Vec<Gap>,
    gap_count: u64,
}

/// Gaps kept by name for each table; further ones are only counted.
const NAMED_GAPS: usize = 1_000;

impl<'a> TableCapture<'a> {
    /// A capture of the host below `root`, whose rows are written to `out` as JSON lines, until `ended` says so.
    pub fn new(out: &'a mut dyn Write, root: &'a Root, ended: &'a dyn Fn() -> bool) -> Self {
        Self { out, root, ended, chosen: &[], rows: 0, kept: Vec::new(), gaps: Vec::new(), gap_count: 0 }
    }

    /// Names the processes whose memory is asked for; none leaves the choice to the table.
    #[must_use]
    pub fn choosing(mut self, processes: &'a [u32]) -> Self {
        self.chosen = processes;
        self
    }

    /// The processes whose memory is asked for.
    pub fn chosen_processes(&self) -> &'a [u32] {
        self.chosen
    }

    /// The root of the examined host, through which files are read.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// Writes one row as one JSON line.
    ///
    /// # Errors
    ///
    /// As [`Self::go_on`], and where the package cannot be written.
    pub fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        if self.rows.is_multiple_of(64) {
            self.go_on()?;
        }
        serde_json::to_writer(&mut *self.out, row)?;
        self.out.write_all(b"\n")?;
        self.rows += 1;
        Ok(())
    }

    /// Writes one line of text that is no JSON, for the few tables whose readers want another form.
    ///
    /// # Errors
    ///
    /// As [`Self::row`].
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.rows.is_multiple_of(64) {
            self.go_on()?;
        }
        self.out.write_all(line)?;
        self.out.write_all(b"\n")?;
        self.rows += 1;
        Ok(())
    }

    /// Fails where the collection was asked to end; long work between two rows calls it now and then.
    ///
    /// # Errors
    ///
    /// `Interrupted`, which a table hands on as it is.
    pub fn go_on(&self) -> io::Result<()> {
        if (self.ended)() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// Reads kernel text from `path`, keeps its bytes for `data/raw` and returns them for parsing.
    pub fn keep_raw(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let bytes = crate::source::kernel_text(path)?;
        let content = KeptContent::Text(bytes.clone());
        self.kept.push(Kept { path: path.as_bytes().to_vec(), content });
        Ok(bytes)
    }

    /// Keeps a regular file beside the table, under the path it was opened by.
    pub fn keep_file(&mut self, path: Vec<u8>, open: Opening<(OpenFile, Looked)>) {
        self.kept.push(Kept { path, content: KeptContent::File(open) });
    }

    /// Keeps bytes as they come beside the table, at most `most` of them.
    pub fn keep_stream(&mut self, path: Vec<u8>, most: u64, open: Opening<Box<dyn Read + Send>>) {
        self.kept.push(Kept { path, content: KeptContent::Stream { open, most } });
    }

    /// Keeps bytes that were read already for `data/raw`; `path` names where they came from.
    pub fn keep_bytes(&mut self, path: impl Into<String>, bytes: Vec<u8>) {
        self.kept.push(Kept { path: path.into().into_bytes(), content: KeptContent::Text(bytes) });
    }

    /// Records that `subject` could not be looked at.
    pub fn gap(&mut self, subject: impl Into<String>, reason: &io::Error) {
        let (subject, outcome) = (subject.into(), crate::source::outcome_of(reason));
        let gap = Gap { subject, reason: reason.to_string(), outcome };
        // A table that looks twice meets the same gap twice.
        if self.gaps.contains(&gap) {
            return;
        }
        self.gap_count += 1;
        if self.gaps.len() < NAMED_GAPS {
            self.gaps.push(gap);
        }
    }

    /// Ends the capture: rows written, raw texts kept, gaps named and the number of gaps in all.
    pub fn finish(self) -> Captured {
        Captured { rows: self.rows, kept: self.kept, gaps: self.gaps, gap_count: self.gap_count }
    }
}

/// What came of one table.
pub struct Captured {
    /// Rows written.
    pub rows: u64,
    /// What is to be kept beside the table.
    pub kept: Vec<Kept>,
    /// The first gaps, by name.
    pub gaps: Vec<Gap>,
    /// All gaps, named or not.
    pub gap_count: u64,
}
