//! Owns the two tables of memory, a process's and the machine's, and keeps what they name; refuses to be captured unless
//! it is asked for: memory holds everything.

use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::process_folders::each_process;
use super::process_memory_map::{Mapping, mappings};
use super::text::text;
use crate::source::{
    KernelFolder, LimeStream, MemoryRange, Watchdog, kernel_text, open_kernel_file, physical_ranges,
};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table of processes' memory.
pub(super) const PROCESSES: Table = Table {
    name: "process_memory",
    about: "Memory of the processes that are named, or of those with a deleted executable or injected code; kept as LiME ranges.",
    sources: &["/proc/<pid>/mem", "/proc/<pid>/maps", "/proc/<pid>/exe"],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Memory,
    capture: capture_processes,
};

/// The table of the machine's memory.
pub(super) const PHYSICAL: Table = Table {
    name: "physical_memory",
    about: "Physical memory of the machine by ranges, kept in LiME format.",
    sources: &["/proc/kcore", "/proc/iomem"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Memory,
    capture: capture_physical,
};

/// One process whose memory is kept.
#[derive(Serialize)]
struct ProcessMemoryRow {
    /// Derived: Process id.
    pid: u32,
    /// Derived: Why it was chosen: named, executable_deleted, writable_executable or anonymous_executable.
    reason: &'static str,
    /// Derived: Mappings that are readable; executable ones come first in the member.
    ranges: u64,
    /// Derived: Their bytes; the member holds the pages of them that are in memory or swapped out.
    bytes: u64,
    /// Derived: The item with this source path holds the memory.
    source_path: String,
}

/// One range of physical memory.
#[derive(Serialize)]
struct PhysicalMemoryRow {
    /// Derived: First physical address, hexadecimal.
    start: String,
    /// Derived: Last physical address, hexadecimal.
    last: String,
    /// Derived: Bytes.
    bytes: u64,
}

fn capture_processes(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let (own, chosen) = (std::process::id(), capture.chosen_processes().to_vec());
    let mut watchdog = Watchdog::default();
    each_process(capture, &mut |capture, pid, process| {
        if pid == own || (!chosen.is_empty() && !chosen.contains(&pid)) {
            return Ok(());
        }
        let mut mappings = mappings(capture, &mut watchdog, process);
        // Code first: a process could fill every limit with memory that lies below it.
        mappings.sort_by_key(|mapping| !mapping.permissions.contains('x'));
        let Some(reason) = reason(process, &mappings, !chosen.is_empty()) else { return Ok(()) };
        keep_process(capture, pid, process, &mappings, reason)
    })
}

fn reason(process: &KernelFolder, mappings: &[Mapping], named: bool) -> Option<&'static str> {
    match () {
        () if named => Some("named"),
        () if process.link("exe").is_ok_and(|exe| exe.ends_with(b" (deleted)")) => Some("executable_deleted"),
        () if mappings.iter().any(Mapping::writable_executable) => Some("writable_executable"),
        () if mappings.iter().any(Mapping::anonymous_executable) => Some("anonymous_executable"),
        () => None,
    }
}

fn keep_process(
    capture: &mut TableCapture<'_>,
    pid: u32,
    process: &Arc<KernelFolder>,
    mappings: &[Mapping],
    reason: &'static str,
) -> io::Result<()> {
    // Reading a device's registers can act on the device; the kernel's own pages are the same in every process.
    let kept = |mapping: &&Mapping| {
        mapping.permissions.starts_with('r')
            && !of_device(&mapping.path)
            && !matches!(mapping.path.as_slice(), b"[vvar]" | b"[vvar_vclock]" | b"[vsyscall]")
    };
    let ranges: Vec<MemoryRange> = mappings
        .iter()
        .filter(kept)
        .filter_map(|mapping| {
            let length = mapping.end.checked_sub(mapping.start).filter(|length| *length > 0)?;
            Some(MemoryRange { start: mapping.start, length, offset: mapping.start })
        })
        .collect();
    let bytes = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.length));
    let source_path = format!("{}/mem", process.path());
    capture.row(&ProcessMemoryRow {
        pid,
        reason,
        ranges: ranges.len() as u64,
        bytes,
        source_path: source_path.clone(),
    })?;
    let process = Arc::clone(process);
    let open = move || {
        let stream: Box<dyn io::Read + Send> = Box::new(LimeStream::of_process(&process, ranges)?);
        Ok(stream)
    };
    capture.keep_stream(source_path.into_bytes(), u64::MAX, Box::new(open));
    Ok(())
}

/// Whether a mapping is of a device. Shared memory of no file goes by the name of /dev/zero, and /dev/shm holds files.
fn of_device(path: &[u8]) -> bool {
    path.starts_with(b"/dev/") && !path.starts_with(b"/dev/zero") && !path.starts_with(b"/dev/shm/")
}

fn capture_physical(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let opened = open_kernel_file("/proc/kcore");
    let ranges = opened.and_then(|kcore| {
        let ranges = physical_ranges(&kcore, &kernel_text("/proc/iomem")?)?;
        Ok((kcore, ranges))
    });
    let (kcore, ranges) = match ranges {
        Ok(found) => found,
        Err(reason) => {
            // It was asked for by name: that this machine does not offer it is an exception, not an absence.
            let kind = match reason.kind() {
                io::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
                _ => io::ErrorKind::Unsupported,
            };
            let reason = io::Error::new(kind, format!("{reason}; {}", why_not()));
            capture.gap("/proc/kcore", &reason);
            return Ok(());
        }
    };
    for range in &ranges {
        let last = range.start.saturating_add(range.length.saturating_sub(1));
        let (start, last) = (format!("0x{:x}", range.start), format!("0x{last:x}"));
        capture.row(&PhysicalMemoryRow { start, last, bytes: range.length })?;
    }
    let open = move || {
        let stream: Box<dyn io::Read + Send> = Box::new(LimeStream::new(kcore, ranges));
        Ok(stream)
    };
    capture.keep_stream(b"/proc/kcore".to_vec(), u64::MAX, Box::new(open));
    Ok(())
}

/// What the host says of why its memory cannot be read.
fn why_not() -> String {
    let lockdown = match kernel_text("/sys/kernel/security/lockdown") {
        Ok(state) => format!("kernel lockdown: {}", text(state.trim_ascii()).0),
        Err(_) => "kernel lockdown: not known".to_owned(),
    };
    let there = |path: &str| if std::fs::symlink_metadata(path).is_ok() { "there" } else { "not there" };
    let devices: Vec<String> = ["/proc/kcore", "/dev/crash", "/dev/mem"]
        .iter()
        .map(|path| format!("{path} is {}", there(path)))
        .collect();
    format!(
        "{lockdown}; {}; this program runs as user {}",
        devices.join(", "),
        rustix::process::geteuid().as_raw()
    )
}
