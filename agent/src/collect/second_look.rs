//! Owns the comparison of the host at the end of a collection with the host at its start: boot, clock and processes;
//! refuses to call a change of the host an error.

use std::collections::BTreeMap;

use holdfast_schemas::collection::ClockReading;
use serde::Serialize;

use super::{Halt, Session, live};
use crate::clock;
use crate::source::{KernelFolder, kernel_dir, kernel_prefix};

/// The table's name.
pub(super) const NAME: &str = "changes_during_capture";
/// The wall clock may move this far against the monotonic one before it is said to have been set.
const STEP_NS: i128 = 500_000_000;

/// The host when it was first looked at.
pub(super) struct FirstLook {
    boot_id: Option<String>,
    clock: ClockReading,
    processes: BTreeMap<u32, Seen>,
}

/// A process: its start tells it from another one with the same number.
#[derive(PartialEq, Eq)]
struct Seen {
    start_ticks: u64,
    name: String,
}

/// One change.
#[derive(Serialize)]
struct ChangeRow {
    /// Derived: `boot_id_changed`, `clock_set`, `process_started`, `process_ended` or `own_footprint`.
    change: &'static str,
    /// Derived: Process id; null where the change is not of a process.
    pid: Option<u32>,
    /// Derived: Start of the process in clock ticks since boot; null where the change is not of a process.
    start_ticks: Option<u64>,
    /// Derived: The process's own name, bytes that are not UTF-8 replaced; null where the change is not of a process.
    name: Option<String>,
    /// Derived: What changed, in words.
    detail: String,
}

impl FirstLook {
    /// Looks at the live host; at a mounted root there is nothing to be seen that changes by itself.
    pub(super) fn take(session: &Session<'_>, clock: &ClockReading) -> Option<Self> {
        let live = session.root.is_live();
        live.then(|| Self { boot_id: boot_id(), clock: clock.clone(), processes: processes() })
    }

    /// Looks again, and records what differs as a table of the package.
    pub(super) fn compare(&self, session: &mut Session<'_>) -> Result<(), Halt> {
        let rows = self.changes(session);
        live::write_rows(session, NAME, rows)
    }

    fn changes(&self, session: &Session<'_>) -> Vec<ChangeRow> {
        let mut rows = Vec::new();
        let now = clock::reading();
        let boot = boot_id();
        if boot != self.boot_id {
            let detail = format!("boot id was {:?} and is {boot:?}", self.boot_id);
            rows.push(ChangeRow::of_host("boot_id_changed", detail));
        }
        let nanoseconds = |reading: &ClockReading| {
            reading.utc.to_chrono().timestamp_nanos_opt().map_or(0, i128::from)
                - i128::from(reading.monotonic_ns)
        };
        let moved = nanoseconds(&now) - nanoseconds(&self.clock);
        if moved.abs() >= STEP_NS {
            let detail = format!("the wall clock moved {moved} ns against the monotonic clock");
            rows.push(ChangeRow::of_host("clock_set", detail));
        }
        let after = processes();
        for (pid, seen) in &after {
            if self.processes.get(pid) != Some(seen) {
                rows.push(ChangeRow::of_process("process_started", *pid, seen, "not there at the start"));
            }
        }
        for (pid, seen) in &self.processes {
            if after.get(pid).is_none_or(|now| now.start_ticks != seen.start_ticks) {
                rows.push(ChangeRow::of_process("process_ended", *pid, seen, "not there any more"));
            }
        }
        rows.push(ChangeRow::of_host("own_footprint", own_footprint(session)));
        rows
    }
}

impl ChangeRow {
    fn of_host(change: &'static str, detail: String) -> Self {
        Self { change, pid: None, start_ticks: None, name: None, detail }
    }

    fn of_process(change: &'static str, pid: u32, seen: &Seen, detail: &str) -> Self {
        let name = Some(seen.name.clone());
        Self { change, pid: Some(pid), start_ticks: Some(seen.start_ticks), name, detail: detail.to_owned() }
    }
}

fn own_footprint(session: &Session<'_>) -> String {
    let footprint = super::footprint(session);
    format!(
        "this program, process {}: {} files created, {} bytes written until now, {} ms of processor time, {} bytes of memory at most, {} access times changed",
        std::process::id(),
        footprint.files_created.len(),
        footprint.bytes_written,
        footprint.cpu_ms,
        footprint.peak_memory_bytes.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string()),
        footprint.access_times_changed,
    )
}

fn boot_id() -> Option<String> {
    let text = kernel_prefix("/proc/sys/kernel/random/boot_id", 64).ok()?;
    Some(String::from_utf8_lossy(&text.bytes).trim().to_owned())
}

/// Every process that /proc lists; those that end while they are looked at are left out.
fn processes() -> BTreeMap<u32, Seen> {
    let names = kernel_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|name| std::str::from_utf8(&name).ok()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = KernelFolder::of_process(pid).and_then(|process| process.prefix("stat", 4096)).ok()?;
        Some((pid, parse_stat(&stat.bytes)?))
    })
    .collect()
}

/// The name in brackets and the 22nd field of `/proc/PID/stat`; the name may hold anything, brackets too.
fn parse_stat(stat: &[u8]) -> Option<Seen> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let start_ticks = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Seen { start_ticks, name: String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_whatever_its_name_holds() {
        let stat = b"7 (a) b (c) S 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let seen = parse_stat(stat).unwrap();
        assert_eq!((seen.start_ticks, seen.name.as_str()), (12345, "a) b (c"));
        for garbage in [&b""[..], b"7", b"7 (x", b")(", b"7 (x) S 1", b"\xff(\xff)\xff"] {
            assert!(parse_stat(garbage).is_none());
        }
        assert!(processes().contains_key(&std::process::id()));
    }
}
