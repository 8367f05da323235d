//! Owns the table of logins and failed logins with every rotated file that is left; refuses to hold a whole file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use holdfast_schemas::item::ItemKind;

use super::files::{Entry, Files, is_absent};
use super::row::row;
use super::text::{Twin, text};
use super::utmp::{Layout, Login, layout_of, parse_login};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "last",
    about: "Logins, failed logins, boots and clock changes, with the rotated files that are left.",
    sources: &["/run/utmp", "/var/log/wtmp*", "/var/log/btmp*", "/var/run/utmp"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_logins,
};

row! {
    /// One record of a login accounting file, in the order of the file.
    struct LastRow {
        /// osquery: User name; what was typed there, for a failed login.
        username: Twin,
        /// osquery: Terminal, without `/dev/`.
        tty: Twin,
        /// osquery: Process that made the record.
        pid: i64,
        /// osquery: Kind of record, utmp(5): 7 is a login, 8 a logout.
        r#type: u32,
        /// osquery: Kind of record as a word: empty, runlevel, boot_time, new_time, old_time, init, login, user, dead,
        /// accounting, unknown.
        type_name: &'static str,
        /// osquery: When the record was made, Unix seconds by the host's clock.
        time: i64,
        /// osquery: Remote host as the login program wrote it; the kernel's release for a boot.
        host: Twin,
        /// Derived: Fraction of `time`, in microseconds.
        microseconds: i64,
        /// Derived: Remote IP address as the login program wrote it; null where it is zero.
        address: Option<String>,
        /// Derived: Session number.
        session: i64,
        /// Derived: `ut_id`, the inittab identifier.
        terminal_id: Twin,
        /// Derived: Whether it is a failed login (`btmp`).
        failed: bool,
        /// Derived: File the record was read from.
        source_file: Twin,
        /// Derived: Number of the record in the file, from 0.
        record: u64,
        /// Derived: How many records of nothing but zeros this one stands for, as tools leave them that wipe logins;
        /// 0 for a record that says something.
        zeroed: u64,
    }
}

/// Forms of compression that are not read.
const PACKED: [&[u8]; 5] = [b".xz", b".zst", b".bz2", b".lzma", b".Z"];
/// The most records taken of one file; of a longer one the newest.
const RECORDS_CAP: u64 = 1 << 20;
/// The most that is inflated of one file, in bytes: a multiple of 384 and of 400, so that a cut file keeps its layout.
const INFLATED_CAP: u64 = 9_600 * 43_690;

fn capture_logins(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let run = files.entry(capture, b"/run/utmp").into_iter();
    // Where /var/run is a link to /run, it has nothing of its own.
    let own_run = files.entry(capture, b"/var/run").is_some_and(|entry| entry.kind == ItemKind::Directory);
    let var_run = if own_run { files.entry(capture, b"/var/run/utmp") } else { None };
    let logs = files.entries(capture, b"/var/log").into_iter().filter(|entry| is_login_file(&entry.name));
    let all: Vec<Entry> = run.chain(var_run).chain(logs).collect();
    for entry in all {
        capture_file(capture, &mut files, &entry)?;
    }
    name_databases(capture, &mut files, &["/var/lib/wtmpdb/wtmp.db", "/var/log/wtmp.db"]);
    Ok(())
}

/// Names the databases that newer systems keep in place of these files, and that are not read.
pub(super) fn name_databases(capture: &mut TableCapture<'_>, files: &mut Files, paths: &[&str]) {
    for path in paths {
        if files.entry(capture, path.as_bytes()).is_some() {
            let reason =
                io::Error::new(io::ErrorKind::Unsupported, "an SQLite database, copied as a file only");
            capture.gap(*path, &reason);
        }
    }
}

/// `wtmp`, `btmp` and their rotated forms: `.1`, `-20260101`, and those compressed.
fn is_login_file(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b"wtmp").or_else(|| name.strip_prefix(b"btmp"));
    // `wtmp.db` is another thing: a database.
    rest.is_some_and(|rest| {
        (rest.first().is_none_or(|byte| b".-_".contains(byte))) && !rest.starts_with(b".db")
    })
}

fn capture_file(capture: &mut TableCapture<'_>, files: &mut Files, entry: &Entry) -> io::Result<()> {
    let shown = text(&entry.path).0;
    let packed = PACKED.iter().find(|end| entry.name.ends_with(end));
    let read = match packed {
        Some(end) => {
            let end = String::from_utf8_lossy(end);
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("compressed ({end}), copied as a file only"),
            ))
        }
        None => files.open(&entry.path).and_then(|open| {
            if entry.name.ends_with(b".gz") {
                capture_inflated(capture, entry, &open.file)
            } else {
                capture_plain(capture, entry, open.file)
            }
        }),
    };
    match read {
        Ok(0) => {}
        Ok(left) => {
            let reason = format!("{left} bytes at its end are no whole record");
            capture.gap(shown, &io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Err(reason) if reason.kind() == io::ErrorKind::Interrupted => return Err(reason),
        Err(reason) if is_absent(&reason) => {}
        Err(reason) => capture.gap(shown, &reason),
    }
    Ok(())
}

fn capture_plain(capture: &mut TableCapture<'_>, entry: &Entry, mut file: File) -> io::Result<usize> {
    let length = file.metadata()?.len();
    let layout = layout_of(length, capture.root().is_live());
    let records = length / layout.size as u64;
    let skipped = records.saturating_sub(RECORDS_CAP);
    if skipped > 0 {
        let reason = format!("the oldest {skipped} records are left out");
        capture.gap(text(&entry.path).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        file.seek(SeekFrom::Start(skipped * layout.size as u64))?;
    }
    // What is appended while the file is read is left for the next time: a busy host might never let it end.
    capture_records(capture, entry, file.take(length - skipped * layout.size as u64), layout, skipped)
}

fn capture_inflated(capture: &mut TableCapture<'_>, entry: &Entry, mut file: &File) -> io::Result<usize> {
    // The length decides the layout, and only a first pass tells it.
    let length = io::copy(&mut MultiGzDecoder::new(file).take(INFLATED_CAP), &mut io::sink());
    let layout = layout_of(length.as_ref().copied().unwrap_or_default(), capture.root().is_live());
    file.rewind()?;
    let inflated = MultiGzDecoder::new(file).take(INFLATED_CAP);
    let left = capture_records(capture, entry, inflated, layout, 0)?;
    if length? == INFLATED_CAP {
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "only its oldest records are read"));
    }
    Ok(left)
}

/// Writes a row for every record and returns how many bytes are left that are none.
fn capture_records(
    capture: &mut TableCapture<'_>,
    entry: &Entry,
    from: impl Read,
    layout: Layout,
    first: u64,
) -> io::Result<usize> {
    let failed = entry.name.starts_with(b"btmp");
    let mut from = io::BufReader::with_capacity(64 << 10, from);
    let mut record = Vec::with_capacity(layout.size);
    let mut zeroed: Option<(u64, u64)> = None;
    let nothing = vec![0; layout.size];
    let mut number = first;
    let left = loop {
        record.clear();
        let read = from.by_ref().take(layout.size as u64).read_to_end(&mut record);
        let end = read.is_err() || record.len() < layout.size;
        if !end && record == nothing {
            let run = zeroed.get_or_insert((number, 0));
            run.1 += 1;
        } else {
            if let (Some((at, count)), Some(login)) = (zeroed.take(), parse_login(&nothing, layout)) {
                capture.row(&LastRow { zeroed: count, ..login_row(&login, &entry.path, failed, at) })?;
            }
            if end {
                read?;
                break record.len();
            }
            if let Some(login) = parse_login(&record, layout) {
                capture.row(&login_row(&login, &entry.path, failed, number))?;
            }
        }
        number += 1;
        if number.is_multiple_of(4_096) {
            capture.go_on()?;
        }
    };
    Ok(left)
}

fn login_row(login: &Login<'_>, path: &[u8], failed: bool, record: u64) -> LastRow {
    LastRow {
        username: text(login.user),
        tty: text(login.line),
        pid: i64::from(login.pid),
        r#type: u32::from(login.code),
        type_name: login.kind,
        time: login.seconds,
        host: text(login.host),
        microseconds: login.microseconds,
        address: login.address.map(|address| address.to_string()),
        session: login.session,
        terminal_id: text(login.id),
        failed,
        source_file: text(path),
        record,
        zeroed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_cut_ends_with_a_whole_record_of_either_layout() {
        assert!(INFLATED_CAP.is_multiple_of(384) && INFLATED_CAP.is_multiple_of(400));
    }

    #[test]
    fn rotated_forms_are_login_files_and_others_are_not() {
        for name in ["wtmp", "btmp", "wtmp.1", "btmp-20260101", "wtmp.2.gz", "btmp-20260101.xz", "wtmp_old"] {
            assert!(is_login_file(name.as_bytes()), "{name}");
        }
        for name in ["wtmpx", "utmp", "wtmp.db", "xwtmp", ""] {
            assert!(!is_login_file(name.as_bytes()), "{name}");
        }
    }
}
