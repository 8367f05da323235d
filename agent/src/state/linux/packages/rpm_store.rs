//! Owns the three stores that rpm keeps its headers in: SQLite, ndb and Berkeley DB's hash; refuses to write and to lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::rpm_header::Header;
use crate::state::TableCapture;
use crate::state::linux::files::{Files, noted};
use crate::state::linux::sqlite::{Sqlite, Value};

/// Where rpm keeps its database: by tradition, on Fedora and SUSE, and on systems of ostree.
const FOLDERS: [&str; 4] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm", "/usr/lib/rpm-db"];

/// The largest header, in bytes: the longest of real packages have some MiB.
const HEADER_CAP: usize = 64 << 20;

/// The most pages of a hash of Berkeley DB that are looked at.
const PAGES_CAP: u64 = 1 << 22;

/// A header as it stands in a store, with its number there.
pub(super) type Each<'e> =
    dyn FnMut(&mut TableCapture<'_>, &str, Option<u64>, &Header<'_>) -> io::Result<()> + 'e;

/// Hands on every header of every database, with the path of its store; a damaged one is a gap.
pub(super) fn each_header(capture: &mut TableCapture<'_>, each: &mut Each<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut seen = Vec::new();
    for folder in FOLDERS {
        let identity = files.folder(folder.as_bytes());
        let Some(identity) = noted(capture, folder.as_bytes(), identity) else { continue };
        // One of them is often a link to another.
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        read_sqlite(capture, &mut files, format!("{folder}/rpmdb.sqlite"), each)?;
        read_plain(capture, &mut files, &format!("{folder}/Packages.db"), ndb, each)?;
        read_plain(capture, &mut files, &format!("{folder}/Packages"), berkeley, each)?;
    }
    Ok(())
}

fn hand_on(
    capture: &mut TableCapture<'_>,
    path: &str,
    number: Option<u64>,
    blob: &[u8],
    each: &mut Each<'_>,
) -> io::Result<()> {
    capture.go_on()?;
    match Header::parse(blob) {
        Ok(header) => each(capture, path, number, &header),
        Err(reason) => {
            capture.gap(format!("{path} header {}", number.unwrap_or_default()), &reason);
            Ok(())
        }
    }
}

fn read_sqlite(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    path: String,
    each: &mut Each<'_>,
) -> io::Result<()> {
    let asked = path.clone();
    let opened = files.timed(move |root, _| Sqlite::open(root, &asked));
    let Some(database) = noted(capture, path.as_bytes(), opened) else { return Ok(()) };
    let path = &path;
    if database.interrupted() {
        let reason = io::Error::new(
            io::ErrorKind::InvalidData,
            "a transaction was broken off: part of it may be read",
        );
        capture.gap(path, &reason);
    }
    let mut written = Ok(());
    let read = database.rows("Packages", &mut |row| {
        let number = u64::try_from(row.id).ok();
        match row.values.get(1) {
            // A value of the other type holds the same bytes: rpm reads either.
            Some(Value::Blob(blob) | Value::Text(blob)) => {
                written = hand_on(capture, path, number, blob, each);
            }
            _ => {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "a row that holds no header");
                capture.gap(format!("{path} header {}", number.unwrap_or_default()), &reason);
            }
        }
        if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    });
    written?;
    if let Err(reason) = read {
        capture.gap(path, &reason);
    }
    Ok(())
}

type EachBlob<'e> = dyn FnMut(Option<u64>, &[u8]) -> io::Result<()> + 'e;
type Store = fn(&File, &mut EachBlob<'_>) -> io::Result<()>;

fn read_plain(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    path: &str,
    store: Store,
    each: &mut Each<'_>,
) -> io::Result<()> {
    let opened = files.open(path.as_bytes());
    let Some(open) = noted(capture, path.as_bytes(), opened) else { return Ok(()) };
    let mut written = Ok(());
    let read = store(&open.file, &mut |number, blob| {
        written = hand_on(capture, path, number, blob, each);
        if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    });
    written?;
    if let Err(reason) = read {
        capture.gap(path, &reason);
    }
    Ok(())
}

/// ndb, rpm's own: pages of slots, each of which names a package's number and where its blob lies in units of 16 bytes.
fn ndb(file: &File, each: &mut EachBlob<'_>) -> io::Result<()> {
    const PAGE: u64 = 4096;
    const SLOT: usize = 16;
    let mut head = [0; 2 * SLOT];
    file.read_exact_at(&mut head, 0)?;
    if !head.starts_with(b"RpmP") || le32(&head, 4)? != 0 {
        return Err(damaged("not a database of ndb"));
    }
    let length = file.metadata()?.len();
    let pages = le32(&head, 12)?.min(length.div_ceil(PAGE));
    let mut page = vec![0; 4096];
    // Blobs cannot overlap: where all that are named are longer than the file, it is damaged.
    let mut left = length;
    for number in 0..pages {
        file.read_exact_at(&mut page, number * PAGE)?;
        let slots = page.chunks_exact(SLOT).skip(if number == 0 { 2 } else { 0 });
        for slot in slots {
            if !slot.starts_with(b"Slot") {
                return Err(damaged("a slot without its mark"));
            }
            let (package, block) = (le32(slot, 4)?, le32(slot, 8)?);
            if package == 0 || block == 0 {
                continue;
            }
            let mut head = [0; SLOT];
            file.read_exact_at(&mut head, block * 16)?;
            if !head.starts_with(b"BlbS") || le32(&head, 4)? != package {
                return Err(damaged("a blob without its mark"));
            }
            let length = le32(&head, 12)?;
            left = left.checked_sub(length).ok_or_else(|| damaged("blobs longer than their file"))?;
            let mut blob = allocate(length)?;
            file.read_exact_at(&mut blob, block * 16 + 16)?;
            each(Some(package), &blob)?;
        }
    }
    Ok(())
}

/// Berkeley DB's hash: pages of pairs, long values on chains of pages of their own.
fn berkeley(file: &File, each: &mut EachBlob<'_>) -> io::Result<()> {
    let mut head = [0; 72];
    file.read_exact_at(&mut head, 0)?;
    let order = match head.get(12..16) {
        Some([0x61, 0x15, 0x06, 0]) => Order::Little,
        Some([0, 0x06, 0x15, 0x61]) => Order::Big,
        _ => return Err(damaged("not a hash of Berkeley DB")),
    };
    let page_size = order.word(&head, 20)?;
    if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() || head.get(24) != Some(&0) {
        return Err(damaged("a page size or encryption that is not read here"));
    }
    let length = file.metadata()?.len();
    let pages = length / page_size;
    if pages > PAGES_CAP {
        return Err(damaged("more pages than are read here"));
    }
    let mut page = vec![0; usize::try_from(page_size).unwrap_or_default()];
    // Each page of a chain belongs to one value, and no two values share a byte of the file.
    let mut visits = pages;
    let mut left = length;
    for number in 1..pages {
        file.read_exact_at(&mut page, number * page_size)?;
        // Hashes whose pairs are in order, and those of before that was so.
        if !matches!(page.get(25), Some(13 | 2)) {
            continue;
        }
        let entries = usize::try_from(order.half(&page, 20)?).unwrap_or_default();
        let place = |entry: usize| {
            order.half(&page, 26 + 2 * entry).and_then(|at| usize::try_from(at).map_err(|_| damaged("")))
        };
        for pair in 0..entries / 2 {
            let (key, value) = (place(2 * pair)?, place(2 * pair + 1)?);
            let key = page.get(key + 1..key + 5).and_then(|key| order.word(key, 0).ok());
            let item = page.get(value..).unwrap_or_default();
            let blob = match item.first() {
                // A value ends where the item before it begins: items are laid down from the page's end.
                Some(1) => page.get(value + 1..place(2 * pair)?).unwrap_or_default().to_vec(),
                Some(3) => {
                    let (first, length) = (order.word(item, 4)?, order.word(item, 8)?);
                    chain(file, order, page_size, first, length, &mut visits)?
                }
                _ => return Err(damaged("a kind of item that is not read here")),
            };
            left = left
                .checked_sub(blob.len() as u64)
                .ok_or_else(|| damaged("headers longer than their file"))?;
            // Number 0 holds the next free number, not a header.
            if key != Some(0) {
                each(key, &blob)?;
            }
        }
    }
    Ok(())
}

fn chain(
    file: &File,
    order: Order,
    page_size: u64,
    first: u64,
    length: u64,
    visits: &mut u64,
) -> io::Result<Vec<u8>> {
    let mut value = allocate(length)?;
    let mut filled = 0;
    let mut next = first;
    let mut page = vec![0; usize::try_from(page_size).unwrap_or_default()];
    while filled < value.len() {
        *visits = visits.checked_sub(1).ok_or_else(|| damaged("pages that lead in circles"))?;
        file.read_exact_at(&mut page, next.saturating_mul(page_size))?;
        if page.get(25) != Some(&7) {
            return Err(damaged("a chain that leaves its pages"));
        }
        let here = usize::try_from(order.half(&page, 22)?).unwrap_or_default().min(value.len() - filled);
        let content = page.get(26..26 + here).ok_or_else(|| damaged("a page that is cut"))?;
        if let Some(space) = value.get_mut(filled..filled + here) {
            space.copy_from_slice(content);
        }
        filled += here;
        next = order.word(&page, 16)?;
    }
    Ok(value)
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn word(self, bytes: &[u8], at: usize) -> io::Result<u64> {
        let little = le32(bytes, at)?;
        Ok(match self {
            Self::Little => little,
            Self::Big => u64::from(u32::try_from(little).unwrap_or_default().swap_bytes()),
        })
    }

    fn half(self, bytes: &[u8], at: usize) -> io::Result<u64> {
        let pair = bytes
            .get(at..at + 2)
            .and_then(|pair| pair.try_into().ok())
            .ok_or_else(|| damaged("a page that is cut"))?;
        Ok(u64::from(match self {
            Self::Little => u16::from_le_bytes(pair),
            Self::Big => u16::from_be_bytes(pair),
        }))
    }
}

fn le32(bytes: &[u8], at: usize) -> io::Result<u64> {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(|word| u64::from(u32::from_le_bytes(word))).ok_or_else(|| damaged("a page that is cut"))
}

fn allocate(length: u64) -> io::Result<Vec<u8>> {
    match usize::try_from(length) {
        Ok(length) if length <= HEADER_CAP => Ok(vec![0; length]),
        _ => Err(damaged("a header longer than is read here")),
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged database: {what}"))
}
