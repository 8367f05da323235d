//! Owns the table of software RAID arrays; refuses to start a check of one.

use std::io;

use serde::Serialize;

use crate::state::linux::process_folders::keep_small;
use crate::state::linux::text::{fields, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "md_devices",
    about: "Software RAID arrays and their members.",
    sources: &["/proc/mdstat"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_arrays,
};

/// One array of `/proc/mdstat`.
#[derive(Serialize, Default)]
struct ArrayRow {
    /// osquery: Name, such as md0.
    device_name: String,
    /// osquery: State: active, inactive; with (read-only) or (auto-read-only) where the kernel says so.
    status: String,
    /// osquery: Level, such as raid1; null for an inactive array.
    raid_level: Option<String>,
    /// osquery: Size in blocks of 1024 bytes.
    size: Option<u64>,
    /// osquery: Disks the array is configured with.
    raid_disks: Option<u64>,
    /// osquery: Disks that are active.
    active_disks: Option<u64>,
    /// osquery: Members marked as failed.
    failed_disks: u64,
    /// osquery: Members marked as spare.
    spare_disks: u64,
    /// osquery: Version of the superblock.
    superblock_version: Option<String>,
    /// Derived: Members as the kernel lists them, separated by spaces, such as `sda1[0] sdb1[1](F)`.
    members: String,
    /// Derived: Line about a recovery, resync, reshape or check; null for none.
    progress: Option<String>,
}

fn capture_arrays(capture: &mut TableCapture<'_>) -> io::Result<()> {
    // A kernel without software RAID has no such file.
    let listed = keep_small(capture, "/proc/mdstat").unwrap_or_default();
    let mut array: Option<ArrayRow> = None;
    for line in listed.split(|byte| *byte == b'\n') {
        if let Some(next) = parse_head(line) {
            if let Some(row) = array.replace(next) {
                capture.row(&row)?;
            }
        } else if let Some(row) = &mut array {
            add_line(row, line);
        }
    }
    if let Some(row) = array {
        capture.row(&row)?;
    }
    Ok(())
}

/// `md0 : active (read-only) raid1 sdb1[1] sda1[0](F)`
fn parse_head(line: &[u8]) -> Option<ArrayRow> {
    let mut words = fields(line);
    let name = words.next().filter(|name| name.starts_with(b"md"))?;
    if words.next()? != b":" {
        return None;
    }
    let mut row = ArrayRow { device_name: text(name).0, ..ArrayRow::default() };
    let mut members = Vec::new();
    for word in words {
        match word {
            b"active" | b"inactive" => row.status = text(word).0,
            [b'(', ..] => row.status = format!("{} {}", row.status, text(word).0),
            _ if word.contains(&b'[') => {
                row.failed_disks += u64::from(word.ends_with(b"(F)"));
                row.spare_disks += u64::from(word.ends_with(b"(S)"));
                members.push(text(word).0);
            }
            _ => row.raid_level = Some(text(word).0),
        }
    }
    row.members = members.join(" ");
    Some(row)
}

/// `1046528 blocks super 1.2 [2/1] [U_]`, or a line about what is going on.
fn add_line(row: &mut ArrayRow, line: &[u8]) {
    let words: Vec<&[u8]> = fields(line).collect();
    if words.get(1) == Some(&&b"blocks"[..]) {
        row.size = words.first().and_then(|size| number(size));
        let version = words.iter().position(|word| *word == b"super").and_then(|at| words.get(at + 1));
        row.superblock_version = version.map(|version| text(version).0);
        let counts = words.iter().find_map(|word| {
            let counts = word.strip_prefix(b"[")?.strip_suffix(b"]")?;
            let slash = counts.iter().position(|byte| *byte == b'/')?;
            Some((number(counts.get(..slash)?)?, number(counts.get(slash + 1..)?)?))
        });
        (row.raid_disks, row.active_disks) = counts.unzip();
    } else if [&b"recovery"[..], b"resync", b"reshape", b"check"].iter().any(|word| {
        words
            .iter()
            .any(|found| found.strip_prefix(*word).is_some_and(|rest| rest.is_empty() || rest[0] == b'='))
    }) {
        row.progress = Some(text(line.trim_ascii()).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degraded_array_is_read_with_its_recovery() {
        let mut row =
            parse_head(b"md0 : active (auto-read-only) raid1 sdc1[2](S) sdb1[1](F) sda1[0]").unwrap();
        add_line(&mut row, b"      1046528 blocks super 1.2 [2/1] [U_]");
        add_line(&mut row, b"      [==>....]  recovery = 12.6% (37/292) finish=127.5min speed=33440K/sec");
        assert_eq!((row.device_name.as_str(), row.status.as_str()), ("md0", "active (auto-read-only)"));
        assert_eq!((row.raid_level.as_deref(), row.size), (Some("raid1"), Some(1_046_528)));
        assert_eq!(
            (row.raid_disks, row.active_disks, row.failed_disks, row.spare_disks),
            (Some(2), Some(1), 1, 1)
        );
        assert_eq!(
            (row.superblock_version.as_deref(), row.members.as_str()),
            (Some("1.2"), "sdc1[2](S) sdb1[1](F) sda1[0]")
        );
        assert!(row.progress.unwrap().contains("12.6%"));
    }

    #[test]
    fn garbage_is_no_array_and_never_panics() {
        for garbage in [&b""[..], b"Personalities : [raid1]", b"md0", b"md0 ;", b"\xff : active"] {
            assert!(parse_head(garbage).is_none());
            add_line(&mut ArrayRow::default(), garbage);
        }
        let mut row = ArrayRow::default();
        add_line(&mut row, b"99999999999999999999 blocks super [2/] [/] [");
        assert_eq!((row.size, row.raid_disks), (None, None));
    }
}
