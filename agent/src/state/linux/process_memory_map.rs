//! Owns the table of memory mappings, and which of them no honest program needs; refuses to read what is mapped.

use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::process_folders::{each_process, noted};
use super::text::{fields, hexadecimal, link_text, number, text};
use crate::source::{KernelFolder, Watchdog};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "process_memory_map",
    about: "Memory mappings of every process, with those marked that are executable and writable, or of no file.",
    sources: &["/proc/<pid>/maps"],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_maps,
};

/// The most that is read of one process's list.
const CAP: usize = 64 << 20;

/// One mapping.
#[derive(Serialize)]
struct MappingRow {
    /// osquery: Process id.
    pid: u32,
    /// osquery: First address, hexadecimal.
    start: String,
    /// osquery: Address behind the last one, hexadecimal.
    end: String,
    /// osquery: r, w, x, and p (private) or s (shared).
    permissions: String,
    /// osquery: Where in the file the mapping begins, bytes.
    offset: u64,
    /// osquery: Device of the file, `major:minor`, hexadecimal as the kernel writes it.
    device: String,
    /// osquery: Inode number; 0 where no file is mapped.
    inode: u64,
    /// osquery: File without the kernel's ` (deleted)` mark, or a name in brackets such as `[heap]`; null where none.
    path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `path`, escaped as the kernel wrote them; null where `path` is those
    /// bytes verbatim.
    path_raw: Option<String>,
    /// osquery: 1 where `path` is no file.
    pseudo: u8,
    /// Derived: Whether the kernel marks the file as deleted.
    deleted: bool,
    /// Derived: Whether it can be written and executed at once.
    writable_executable: bool,
    /// Derived: Whether it can be executed and no file is behind it.
    anonymous_executable: bool,
}

/// One line of `maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First address.
    pub(super) start: u64,
    /// Address behind the last one.
    pub(super) end: u64,
    /// `rwxp` as the kernel writes it.
    pub(super) permissions: String,
    offset: u64,
    device: String,
    inode: u64,
    /// What is mapped, as the kernel wrote it; empty where nothing is.
    pub(super) path: Vec<u8>,
}

fn capture_maps(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut watchdog = Watchdog::default();
    each_process(capture, &mut |capture, pid, process| {
        for mapping in mappings(capture, &mut watchdog, process) {
            capture.row(&row(pid, &mapping))?;
        }
        Ok(())
    })
}

/// The mappings of a process; none where the list cannot be read, or does not come because somebody holds its lock. A cut
/// list and lines that are not understood are gaps.
pub(super) fn mappings(
    capture: &mut TableCapture<'_>,
    watchdog: &mut Watchdog,
    process: &Arc<KernelFolder>,
) -> Vec<Mapping> {
    let asked = Arc::clone(process);
    let read = watchdog.within(move |_| asked.prefix("maps", CAP));
    let Some(maps) = noted(capture, process, "maps", read) else { return Vec::new() };
    let lines = maps.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let mappings: Vec<Mapping> = parse_maps(&maps.bytes).collect();
    // The last line of a cut list is half a line.
    if maps.cut || mappings.len() < lines {
        let reason =
            format!("{} of {lines} lines were read; cut at {CAP} bytes: {}", mappings.len(), maps.cut);
        capture.gap(format!("{}/maps", process.path()), &io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    mappings
}

/// The mappings of a `maps` text; lines that are none are left out.
fn parse_maps(maps: &[u8]) -> impl Iterator<Item = Mapping> {
    maps.split(|byte| *byte == b'\n').filter_map(parse_line)
}

/// `55d0-55d4 r-xp 00002000 fe:01 1234                /usr/bin/x`
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let mut columns = fields(line);
    let range = columns.next()?;
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (start, end) = (hexadecimal(range.get(..dash)?)?, hexadecimal(range.get(dash + 1..)?)?);
    let permissions = text(columns.next()?).0;
    let offset = hexadecimal(columns.next()?)?;
    let device = text(columns.next()?).0;
    let inode = columns.next()?;
    // The path is the rest of the line: it may hold spaces.
    let path = columns.next().map_or(&b""[..], |first| {
        let at = (first.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
        line.get(at..).unwrap_or_default()
    });
    Some(Mapping { start, end, permissions, offset, device, inode: number(inode)?, path: path.to_vec() })
}

impl Mapping {
    /// Whether it can be written and executed at once.
    pub(super) fn writable_executable(&self) -> bool {
        self.permissions.contains('w') && self.permissions.contains('x')
    }

    /// Whether it can be executed and no file is behind it; the kernel's own helpers are no such memory.
    pub(super) fn anonymous_executable(&self) -> bool {
        self.permissions.contains('x')
            && self.inode == 0
            && !matches!(self.path.as_slice(), b"[vdso]" | b"[vsyscall]" | b"[uprobes]")
    }
}

fn row(pid: u32, mapping: &Mapping) -> MappingRow {
    let is_file = mapping.path.starts_with(b"/");
    let (path, path_raw, deleted) = match mapping.path.as_slice() {
        b"" => (None, None, false),
        path if is_file => {
            let ((path, raw), deleted) = link_text(path);
            (Some(path), raw, deleted)
        }
        path => {
            let (path, raw) = text(path);
            (Some(path), raw, false)
        }
    };
    MappingRow {
        pid,
        start: format!("0x{:x}", mapping.start),
        end: format!("0x{:x}", mapping.end),
        offset: mapping.offset,
        inode: mapping.inode,
        path,
        path_raw,
        pseudo: u8::from(!is_file),
        deleted,
        writable_executable: mapping.writable_executable(),
        anonymous_executable: mapping.anonymous_executable(),
        permissions: mapping.permissions.clone(),
        device: mapping.device.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_spaces_in_their_paths_and_garbage_is_left_out() {
        let maps = b"00400000-0040b000 r-xp 00002000 fe:01 1234    /opt/a b/c (deleted)\n\
            7f00-7f10 rwxp 00000000 00:00 0 \n7f20-7f30 r-xp 00000000 00:00 0                [vdso]\nxx\n-\n\xff-\xff r\n";
        let parsed: Vec<Mapping> = parse_maps(maps).collect();
        assert_eq!(parsed.len(), 3);
        let rows: Vec<MappingRow> = parsed.iter().map(|mapping| row(7, mapping)).collect();
        assert_eq!((rows[0].path.as_deref(), rows[0].deleted, rows[0].pseudo), (Some("/opt/a b/c"), true, 0));
        assert_eq!((rows[0].start.as_str(), rows[0].offset), ("0x400000", 0x2000));
        assert!(rows[1].writable_executable && rows[1].anonymous_executable && rows[1].path.is_none());
        assert!(!rows[2].anonymous_executable && rows[2].pseudo == 1);
    }
}
