//! Owns the table of each account's latest login; refuses to read the holes of a file that is as long as the largest user
//! number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::files::{Files, SMALL, is_absent, lines};
use super::last::name_databases;
use super::netlink::{read_u32, read_u64, until_nul};
use super::row::row;
use super::text::{Twin, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "lastlog",
    about: "The latest login of each account.",
    sources: &[PATH],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_lastlog,
};

const PATH: &str = "/var/log/lastlog";
/// The most bytes read of the parts that are no holes.
const DATA_CAP: u64 = 256 << 20;

row! {
    /// One record of lastlog(5) that is not all zeros.
    struct LastlogRow {
        /// Derived: User id: the number of the record.
        uid: u64,
        /// Derived: User name by `/etc/passwd`; null where it has none.
        username: Option<Twin>,
        /// Derived: When the user logged in last, Unix seconds by the host's clock.
        time: i64,
        /// Derived: Terminal, without `/dev/`.
        tty: Twin,
        /// Derived: Remote host as the login program wrote it; empty where there is none.
        host: Twin,
    }
}

fn capture_lastlog(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    name_databases(capture, &mut files, &["/var/lib/lastlog/lastlog2.db"]);
    let file = match files.open(PATH.as_bytes()) {
        Ok(open) => open.file,
        Err(reason) if is_absent(&reason) => return Ok(()),
        Err(reason) => {
            capture.gap(PATH, &reason);
            return Ok(());
        }
    };
    let passwd = files.text(capture, b"/etc/passwd", SMALL).unwrap_or_default();
    let names = names(&passwd);
    match capture_records(capture, &file, &names) {
        Err(reason) if reason.kind() == io::ErrorKind::Interrupted => Err(reason),
        Err(reason) => {
            capture.gap(PATH, &reason);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn capture_records(
    capture: &mut TableCapture<'_>,
    file: &File,
    names: &BTreeMap<u64, &[u8]>,
) -> io::Result<()> {
    let length = file.metadata()?.len();
    let size = record_size(length);
    let mut record = vec![0; usize::try_from(size).unwrap_or_default()];
    let mut left = DATA_CAP;
    let mut at = 0;
    while let Some((data, hole)) = next_data(file, at, length)? {
        let mut record_number = data / size;
        while record_number * size < hole && (record_number + 1) * size <= length {
            left = left.checked_sub(size).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("more than {DATA_CAP} bytes, not read further"),
                )
            })?;
            file.read_exact_at(&mut record, record_number * size)?;
            if record.iter().any(|byte| *byte != 0)
                && let Some(row) = parse_record(&record, record_number, names)
            {
                capture.row(&row)?;
            }
            record_number += 1;
            if record_number.is_multiple_of(4_096) {
                capture.go_on()?;
            }
        }
        // A record that reaches into the hole is read, and not read again.
        at = hole.max(record_number * size).max(data + 1);
    }
    if !length.is_multiple_of(size) {
        let reason = format!("{} bytes at its end are no whole record", length % size);
        capture.gap(PATH, &io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Ok(())
}

/// The next part that is no hole, from its first byte to the hole behind it.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(data) => Ok(Some((data, rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(data))?))),
        Err(Errno::NXIO) => Ok(None),
        // A file system that does not know of holes has none.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((at, length))),
        Err(reason) => Err(reason.into()),
    }
}

/// 292 bytes where the time has 32 bits, 296 where it has 64; where both fit, the machine decides.
fn record_size(length: u64) -> u64 {
    match (length.is_multiple_of(292), length.is_multiple_of(296)) {
        (false, true) => 296,
        (true, false) => 292,
        _ if cfg!(target_arch = "aarch64") => 296,
        _ => 292,
    }
}

fn parse_record(record: &[u8], uid: u64, names: &BTreeMap<u64, &[u8]>) -> Option<LastlogRow> {
    let (time, rest) = if record.len() == 296 {
        (read_u64(record, 0)?.cast_signed(), record.get(8..)?)
    } else {
        // Seconds count as unsigned, so that they last until 2106.
        (i64::from(read_u32(record, 0)?), record.get(4..)?)
    };
    Some(LastlogRow {
        uid,
        username: names.get(&uid).map(|name| text(name)),
        time,
        tty: text(until_nul(rest.get(..32)?)),
        host: text(until_nul(rest.get(32..288)?)),
    })
}

fn names(passwd: &[u8]) -> BTreeMap<u64, &[u8]> {
    let mut names = BTreeMap::new();
    for (_, line) in lines(passwd) {
        let mut columns = line.split(|byte| *byte == b':');
        if let (Some(name), Some(uid)) = (columns.next(), columns.nth(1).and_then(number::<u32>)) {
            names.entry(u64::from(uid)).or_insert(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read_and_cut_ones_refused() {
        let names = names(b"root:x:0:0:::\n");
        let mut narrow = vec![0; 292];
        narrow[..4].copy_from_slice(&3_000_000_000u32.to_ne_bytes());
        narrow[4..10].copy_from_slice(b"pts/\xff7");
        let row = parse_record(&narrow, 0, &names).unwrap();
        assert_eq!((row.time, row.tty.0.as_str()), (3_000_000_000, r"pts/\xff7"));
        assert_eq!(row.username.unwrap().0, "root");
        let mut wide = vec![0xff; 296];
        wide[..8].copy_from_slice(&5_000_000_000i64.to_ne_bytes());
        assert_eq!(parse_record(&wide, 9, &names).unwrap().time, 5_000_000_000);
        for length in 0..288 {
            assert!(parse_record(&narrow[..length], 0, &names).is_none());
        }
        assert_eq!((record_size(292 * 3), record_size(296 * 3)), (292, 296));
    }
}
