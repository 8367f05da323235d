//! Owns the reading of tables from SQLite's files (sqlite.org/fileformat2.html), with what stands committed in the
//! write-ahead log; refuses to write, to lock, and to guess at what is damaged.

mod log;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use self::log::Log;
use crate::source::Root;

/// The most pages that are visited for one table.
const VISITS_CAP: usize = 1 << 22;
/// The largest record, in bytes; SQLite's own bound is 2^31.
const RECORD_CAP: u64 = 64 << 20;
/// The most columns of a row, by SQLite's own bound.
const COLUMNS_CAP: usize = 32_767;
/// The deepest a tree can be: even the smallest pages hold enough for more rows than there are numbers.
const DEPTH_CAP: usize = 24;

/// A database, open for reading.
pub(in crate::state::linux) struct Sqlite {
    file: File,
    log: Option<Log>,
    page_size: usize,
    reserved: usize,
    pages: u64,
    interrupted: bool,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::state::linux) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// One row: its number, which is also the value of a column `INTEGER PRIMARY KEY`, and its columns as they are stored;
/// columns added to the table later can be missing at the end.
pub(in crate::state::linux) struct Row {
    pub(in crate::state::linux) id: i64,
    pub(in crate::state::linux) values: Vec<Value>,
}

impl Sqlite {
    /// Opens the database at `path` and its write-ahead log, where it has one.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is no database of SQLite or one in UTF-16; whatever the operating system answers.
    pub(in crate::state::linux) fn open(root: &Root, path: &str) -> io::Result<Self> {
        let file = root.open_file(path)?.file;
        let log = match root.open_file(format!("{path}-wal")) {
            Ok(open) => Log::read(open.file)?,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => return Err(reason),
        };
        let interrupted = match root.open_file(format!("{path}-journal")) {
            Ok(open) => holds_journal(&open.file),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => false,
            Err(reason) => return Err(reason),
        };
        let mut head = vec![0; 100];
        match log.as_ref().and_then(|log| Some((log, log.pages.get(&1)?))) {
            Some((log, at)) => log.file.read_exact_at(&mut head, *at)?,
            None => file.read_exact_at(&mut head, 0)?,
        }
        if !head.starts_with(b"SQLite format 3\0") {
            return Err(damaged("not a database of SQLite"));
        }
        let page_size = match be16(&head, 16)? {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => size,
            _ => return Err(damaged("a page size that cannot be")),
        };
        let reserved = usize::from(*head.get(20).unwrap_or(&0));
        if page_size - reserved < 480 || be32(&head, 56)? > 1 {
            return Err(damaged("a text encoding or page layout that is not read here"));
        }
        if log.as_ref().is_some_and(|log| log.page_size != page_size) {
            return Err(damaged("a write-ahead log of another page size"));
        }
        let length = file.metadata()?.len().div_ceil(page_size as u64);
        let pages = log.as_ref().map_or(length, |log| log.last_page.max(length));
        Ok(Self { file, log, page_size, reserved, pages, interrupted })
    }

    /// Whether a transaction was broken off and not rolled back: what is read may be half of it.
    pub(in crate::state::linux) fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Hands on every row of a table in the order of their numbers.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such table; `InvalidData` where it is damaged or has no row numbers; whatever the
    /// operating system or `each` answers.
    pub(in crate::state::linux) fn rows(
        &self,
        table: &str,
        each: &mut dyn FnMut(Row) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut found = None;
        self.walk(1, &mut |row| {
            let [Value::Text(kind), Value::Text(name), _, Value::Integer(page), ..] = &row.values[..] else {
                return Ok(());
            };
            if kind == b"table" && name.eq_ignore_ascii_case(table.as_bytes()) {
                found = u64::try_from(*page).ok();
            }
            Ok(())
        })?;
        let page =
            found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no table {table}")))?;
        self.walk(page, each)
    }

    fn walk(&self, start: u64, each: &mut dyn FnMut(Row) -> io::Result<()>) -> io::Result<()> {
        let mut visits = Visits::new();
        let mut waiting = vec![(start, 0)];
        while let Some((number, depth)) = waiting.pop() {
            let page = self.page(number, &mut visits)?;
            let header = if number == 1 { 100 } else { 0 };
            let cells = be16(&page, header + 3)?;
            match page.get(header) {
                Some(0x0d) => {
                    // Cells do not share bytes: those of one page are no longer than it.
                    let mut left = page.len();
                    for cell in 0..cells {
                        let at = be16(&page, header + 8 + 2 * cell)?;
                        let (row, length) = self.record(&page, at, &mut visits)?;
                        left = left
                            .checked_sub(length)
                            .ok_or_else(|| damaged("cells longer than their page"))?;
                        each(row)?;
                    }
                }
                Some(0x05) if depth < DEPTH_CAP => {
                    waiting.push((be32(&page, header + 8)?, depth + 1));
                    for cell in (0..cells).rev() {
                        let at = be16(&page, header + 12 + 2 * cell)?;
                        waiting.push((be32(&page, at)?, depth + 1));
                    }
                }
                _ => return Err(damaged("a page that belongs to no table with row numbers")),
            }
        }
        Ok(())
    }

    fn page(&self, number: u64, visits: &mut Visits) -> io::Result<Vec<u8>> {
        if number == 0 || number > self.pages {
            return Err(damaged("a page past the end"));
        }
        if visits.len() >= VISITS_CAP {
            return Err(damaged("more pages than are read here"));
        }
        if !visits.insert(number) {
            return Err(damaged("a page that belongs to two places"));
        }
        let mut page = vec![0; self.page_size];
        match self.log.as_ref().and_then(|log| Some((log, log.pages.get(&number)?))) {
            Some((log, at)) => log.file.read_exact_at(&mut page, *at)?,
            None => self.file.read_exact_at(&mut page, (number - 1) * self.page_size as u64)?,
        }
        page.truncate(self.page_size - self.reserved);
        Ok(page)
    }

    /// The cell of a leaf at `at`: length, row number, and the record, the end of which can lie on other pages; and the
    /// cell's own length.
    fn record(&self, page: &[u8], at: usize, visits: &mut Visits) -> io::Result<(Row, usize)> {
        let behind = page.get(at..).ok_or_else(|| damaged("a cell past its page"))?;
        let mut cell = Bytes(behind);
        let length = cell.varint()?;
        let id = cell.varint()?.cast_signed();
        if length > RECORD_CAP {
            return Err(damaged("a record longer than is read here"));
        }
        let length = usize::try_from(length).map_err(|_| damaged("a record length"))?;
        let usable = page.len();
        let (most, least) = (usable - 35, (usable - 12) * 32 / 255 - 23);
        let here = if length <= most {
            length
        } else {
            let here = least + (length - least) % (usable - 4);
            if here <= most { here } else { least }
        };
        let mut record = cell.take(here)?.to_vec();
        if here < length {
            let mut next = be32(cell.take(4)?, 0)?;
            while record.len() < length {
                let more = self.page(next, visits)?;
                next = be32(&more, 0)?;
                let content = more.get(4..).unwrap_or_default();
                record.extend_from_slice(content.get(..length - record.len()).unwrap_or(content));
            }
        }
        Ok((Row { id, values: values(&record)? }, behind.len() - cell.0.len()))
    }
}

/// The pages that were visited for one table: each belongs to one place of one tree.
type Visits = HashSet<u64>;

fn values(record: &[u8]) -> io::Result<Vec<Value>> {
    let mut types = Bytes(record);
    let header = usize::try_from(types.varint()?).map_err(|_| damaged("a record header"))?;
    let read = record.len() - types.0.len();
    let types_length = header.checked_sub(read).ok_or_else(|| damaged("a record header"))?;
    let mut content = Bytes(record.get(header..).ok_or_else(|| damaged("a record header"))?);
    let mut types = Bytes(types.take(types_length)?);
    let mut values = Vec::new();
    while !types.0.is_empty() {
        if values.len() >= COLUMNS_CAP {
            return Err(damaged("more columns than there can be"));
        }
        values.push(match types.varint()? {
            0 => Value::Null,
            kind @ 1..=4 => integer(content.take(usize::try_from(kind).unwrap_or_default())?),
            5 => integer(content.take(6)?),
            6 => integer(content.take(8)?),
            7 => {
                let bytes = content.take(8)?.try_into().map_err(|_| damaged("a number"))?;
                Value::Real(f64::from_be_bytes(bytes))
            }
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            10 | 11 => return Err(damaged("a type of value that does not exist")),
            kind => {
                let length = usize::try_from((kind - 12) / 2).map_err(|_| damaged("a length"))?;
                let bytes = content.take(length)?.to_vec();
                if kind % 2 == 0 { Value::Blob(bytes) } else { Value::Text(bytes) }
            }
        });
    }
    Ok(values)
}

fn integer(bytes: &[u8]) -> Value {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let mut whole = if negative { [0xff; 8] } else { [0; 8] };
    if let Some(end) = 8_usize.checked_sub(bytes.len()).and_then(|start| whole.get_mut(start..)) {
        end.copy_from_slice(bytes);
    }
    Value::Integer(i64::from_be_bytes(whole))
}

/// Bytes that are taken from their front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| damaged("a value that is cut"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Up to eight bytes of seven bits and a ninth of eight.
    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for count in 0..9 {
            let byte = *self.take(1)?.first().unwrap_or(&0);
            if count == 8 {
                return Ok(value << 8 | u64::from(byte));
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }
}

/// Whether a rollback journal holds something: SQLite empties or cuts it where a transaction ends well.
fn holds_journal(file: &File) -> bool {
    let mut head = [0; 8];
    file.read_exact_at(&mut head, 0).is_ok() && head == [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]
}

fn be16(bytes: &[u8], at: usize) -> io::Result<usize> {
    let pair = bytes.get(at..at + 2).and_then(|pair| pair.try_into().ok());
    pair.map(|pair| usize::from(u16::from_be_bytes(pair))).ok_or_else(|| damaged("a page that is cut"))
}

fn be32(bytes: &[u8], at: usize) -> io::Result<u64> {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(|word| u64::from(u32::from_be_bytes(word))).ok_or_else(|| damaged("a page that is cut"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged database: {what}"))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "SQLite's own program writes the databases that are read here")]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    fn sqlite(folder: &Path, commands: &str) {
        let mut program =
            Command::new("sqlite3").arg(folder.join("db")).stdin(Stdio::piped()).spawn().unwrap();
        program.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(program.wait().unwrap().success());
    }

    fn rows(folder: &Path, table: &str) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        Sqlite::open(&Root::mounted(folder)?, "/db")?.rows(table, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    const MANY: &str = "with recursive n(i) as (select 1 union all select i+1 from n where i<3000) \
        insert into t select i, i*-7, 'text '||i, case when i%500=0 then zeroblob(i*40) else x'00ff' end, i/4.0, null from n;";

    #[test]
    fn rows_of_every_type_and_length_are_read_at_every_page_size() {
        for page_size in [512, 4096, 65_536] {
            let folder = tempfile::tempdir().unwrap();
            sqlite(
                folder.path(),
                &format!(
                    "pragma page_size={page_size}; create table t(a integer primary key, b, c text, d blob, e real, f); {MANY}"
                ),
            );
            let found = rows(folder.path(), "T").unwrap();
            assert_eq!(found.len(), 3000);
            for (number, row) in (1..).zip(&found) {
                let [Value::Null, Value::Integer(b), Value::Text(c), Value::Blob(d), e, Value::Null] =
                    &row.values[..]
                else {
                    panic!("{:?}", row.values)
                };
                assert_eq!((row.id, *b, c), (number, number * -7, &format!("text {number}").into_bytes()));
                let length = if number % 500 == 0 { usize::try_from(number * 40).unwrap() } else { 2 };
                assert_eq!(d.len(), length);
                let quarter = number as f64 / 4.0;
                // Whole numbers are stored short, even in a column of reals.
                assert!(*e == Value::Real(quarter) || *e == Value::Integer(number / 4) && number % 4 == 0);
            }
        }
    }

    #[test]
    fn committed_part_of_a_write_ahead_log_is_read_and_the_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let copy = tempfile::tempdir().unwrap();
        // The copy is made while the program has the database open: it empties the log as it ends.
        sqlite(
            folder.path(),
            &format!(
                "pragma journal_mode=wal; create table t(a); insert into t values(1); pragma wal_checkpoint;\n\
                 insert into t values(2); delete from t where a=1;\n.system cp {0}/db {0}/db-wal {1}/\n",
                folder.path().display(),
                copy.path().display()
            ),
        );
        let found = rows(copy.path(), "t").unwrap();
        assert_eq!(found.iter().map(|row| row.values.clone()).collect::<Vec<_>>(), [[Value::Integer(2)]]);
        let log = copy.path().join("db-wal");
        let mut bytes = std::fs::read(&log).unwrap();
        // The second frame is the deletion; behind it stands what an earlier log held.
        let last = 32 + 2 * (24 + 4096) - 1;
        bytes[last] ^= 1;
        std::fs::write(&log, bytes).unwrap();
        let found = rows(copy.path(), "t").unwrap();
        assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn damaged_databases_are_errors_and_never_panic_or_run_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        sqlite(
            folder.path(),
            &format!("pragma page_size=512; create table t(a integer primary key, b, c, d, e, f); {MANY}"),
        );
        let sound = std::fs::read(folder.path().join("db")).unwrap();
        assert_eq!(rows(folder.path(), "none").err().unwrap().kind(), io::ErrorKind::NotFound);
        let mut state = 1_u32;
        for round in 0..400 {
            let mut bytes = sound.clone();
            for _ in 0..=round % 20 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Mostly the first pages, where a change leads furthest.
                let span = if round % 2 == 0 { 2_000 } else { bytes.len() };
                let at = state as usize % span;
                bytes[at] = (state >> 24) as u8;
            }
            bytes.truncate(if round % 5 == 0 { state as usize % sound.len() } else { sound.len() });
            std::fs::write(folder.path().join("db"), bytes).unwrap();
            let _ = rows(folder.path(), "t");
        }
        // An inner page whose only child is itself.
        let mut bytes = sound;
        bytes[100] = 5;
        bytes[108..112].copy_from_slice(&[0, 0, 0, 1]);
        std::fs::write(folder.path().join("db"), bytes).unwrap();
        assert!(rows(folder.path(), "t").is_err());
    }

    #[test]
    fn page_or_cell_that_is_named_twice_is_damage_and_columns_have_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        sqlite(
            folder.path(),
            "pragma page_size=512; create table t(a); insert into t values(zeroblob(300)); insert into t values(1);",
        );
        let sound = std::fs::read(&path).unwrap();
        assert_eq!(rows(folder.path(), "t").unwrap().len(), 2);
        // The second page is the table's leaf: both of its cells are the longer one.
        let mut bytes = sound;
        let first: [u8; 2] = bytes[520..522].try_into().unwrap();
        bytes[522..524].copy_from_slice(&first);
        std::fs::write(&path, &bytes).unwrap();
        assert!(rows(folder.path(), "t").is_err());

        std::fs::remove_file(&path).unwrap();
        sqlite(folder.path(), &format!("pragma page_size=512; create table t(a, b, c, d, e, f); {MANY}"));
        let mut bytes = std::fs::read(&path).unwrap();
        // The second page is the table's inner one: two of its cells lead to one leaf.
        let cell = |bytes: &[u8], number: usize| {
            usize::from(u16::from_be_bytes([bytes[524 + 2 * number], bytes[525 + 2 * number]]))
        };
        let (one, two) = (512 + cell(&bytes, 0), 512 + cell(&bytes, 1));
        bytes.copy_within(one..one + 4, two);
        std::fs::write(&path, &bytes).unwrap();
        assert!(rows(folder.path(), "t").is_err());

        assert!(values(&[&[0x83, 0x00][..], &[0; 384 - 2]].concat()).is_ok());
        assert!(values(&[&[0x84, 0x80, 0x00][..], &[0; 65_536]].concat()).is_err());
    }

    #[test]
    fn error_in_a_write_ahead_log_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write_only = File::create(folder.path().join("log")).unwrap();
        assert!(Log::read(write_only).is_err());
        std::fs::write(folder.path().join("short"), "x").unwrap();
        let short = File::open(folder.path().join("short")).unwrap();
        assert!(Log::read(short).unwrap().is_none());
    }
}
