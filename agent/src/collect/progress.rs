//! Owns what a person or a program sees while a collection runs, on standard error; refuses to show names that come
//! from evidence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::clock;
use crate::package::Meter;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// A line that is redrawn, for a terminal.
    Line,
    /// One JSON object a line, for a program.
    Json,
    /// Nothing.
    Quiet,
}

/// Progress of one collection.
pub struct Progress {
    mode: ProgressMode,
    line: ProgressBar,
    read: AtomicU64,
    files: AtomicU64,
    meter: OnceLock<Arc<Meter>>,
    artifact: Mutex<String>,
}

impl Progress {
    /// Progress that is shown in `mode`.
    pub fn new(mode: ProgressMode) -> Self {
        let line = match mode {
            ProgressMode::Line => ProgressBar::new_spinner(),
            ProgressMode::Json | ProgressMode::Quiet => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}");
        line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        if mode == ProgressMode::Line {
            line.enable_steady_tick(Duration::from_millis(120));
        }
        Self {
            mode,
            line,
            read: AtomicU64::new(0),
            files: AtomicU64::new(0),
            meter: OnceLock::new(),
            artifact: Mutex::new(String::new()),
        }
    }

    /// Shows what the writer has written.
    pub(super) fn watch(&self, meter: &Arc<Meter>) {
        let _ = self.meter.set(Arc::clone(meter));
    }

    /// An artifact or table begins.
    pub(super) fn artifact(&self, name: &str) {
        if let Ok(mut artifact) = self.artifact.lock() {
            name.clone_into(&mut artifact);
        }
        if self.mode == ProgressMode::Json {
            let event = serde_json::json!({
                "event": "artifact",
                "artifact": name,
                "at": clock::now(),
                "bytes_read": self.read.load(Ordering::Relaxed),
            });
            write_line(&event.to_string());
        }
        self.show();
    }

    /// Bytes were read.
    pub(super) fn bytes(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
        if bytes >= 1 << 20 {
            self.show();
        }
    }

    /// Items with content so far.
    pub(super) fn items(&self, files: u64) {
        self.files.store(files, Ordering::Relaxed);
        // Composing the line costs more than reading a small file.
        if files.is_multiple_of(64) {
            self.show();
        }
    }

    fn show(&self) {
        if self.mode != ProgressMode::Line {
            return;
        }
        let artifact = self.artifact.lock().map(|artifact| artifact.clone()).unwrap_or_default();
        let written = self.meter.get().map_or(0, |meter| meter.package.load(Ordering::Relaxed));
        let read = HumanBytes(self.read.load(Ordering::Relaxed));
        let files = self.files.load(Ordering::Relaxed);
        let files = if files > 0 { format!("  {files} files") } else { String::new() };
        self.line.set_message(format!("{artifact}{files}  {read} read, {} written", HumanBytes(written)));
    }

    /// The collection is over.
    pub(super) fn finish(&self) {
        self.line.finish_and_clear();
    }
}

fn write_line(line: &str) {
    use std::io::Write;
    // Nobody may be listening; that is no reason to stop collecting.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
