//! Owns the table of swap areas; refuses to read them.

use std::io;

use serde::Serialize;

use crate::source::unescaped;
use crate::state::linux::process_folders::keep_small;
use crate::state::linux::text::{Twin, fields, link_text, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "swaps",
    about: "Swap areas in use.",
    sources: &["/proc/swaps"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_swaps,
};

/// One swap area, one line of `/proc/swaps`.
#[derive(Serialize)]
struct SwapRow {
    /// Derived: Device or file.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: Whether the kernel marks the file as deleted.
    deleted: bool,
    /// Derived: partition or file.
    r#type: String,
    /// Derived: Size in bytes.
    size: u64,
    /// Derived: Bytes of it in use.
    used: u64,
    /// Derived: Priority.
    priority: i64,
}

fn capture_swaps(capture: &mut TableCapture<'_>) -> io::Result<()> {
    // A kernel without swap has no such file.
    let listed = keep_small(capture, "/proc/swaps").unwrap_or_default();
    for line in listed.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        match parse_swap(line) {
            Some(row) => capture.row(&row)?,
            None => {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "a line is no swap area");
                capture.gap("/proc/swaps", &reason);
            }
        }
    }
    Ok(())
}

fn parse_swap(line: &[u8]) -> Option<SwapRow> {
    let mut columns = fields(line);
    let ((path, path_raw), deleted): (Twin, bool) = link_text(&unescaped(columns.next()?));
    let r#type = text(columns.next()?).0;
    let mut kilobytes = || number::<u64>(columns.next()?)?.checked_mul(1024);
    let (size, used) = (kilobytes()?, kilobytes()?);
    Some(SwapRow { path, path_raw, deleted, r#type, size, used, priority: number(columns.next()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_line_is_read_in_bytes() {
        let row = parse_swap(b"/swap\\040file\\040(deleted)   file\t\t1024\t\t0\t\t-2").unwrap();
        assert_eq!(
            (row.path.as_str(), row.deleted, row.size, row.priority),
            ("/swap file", true, 1 << 20, -2)
        );
    }

    #[test]
    fn garbage_swap_lines_are_refused() {
        for garbage in
            [&b""[..], b"a", b"a b 1", b"a b -1 0 0", b"a b 18446744073709551615 0 0", b"\xff \xff 1 1 x"]
        {
            assert!(parse_swap(garbage).is_none());
        }
    }
}
