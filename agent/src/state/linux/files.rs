//! Owns the reading of small files and folders into tables, where what is not there is no gap and everything else that
//! cannot be read is one; refuses to wait for a file system that does not answer.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use holdfast_schemas::item::ItemKind;

use super::text::{number, text};
use crate::source::{FileIdentity, Folder, OpenFile, Owners, Root, Watchdog};
use crate::state::TableCapture;

/// The largest file that is read whole.
pub(super) const SMALL: usize = 4 << 20;
/// The most names taken of one folder.
const NAMES_CAP: usize = 65_536;
/// The most homes that are looked into.
const HOMES_CAP: usize = 10_000;

/// The files of the examined host, each read within a time.
pub(super) struct Files {
    root: Arc<Root>,
    watchdog: Watchdog,
}

/// What the file system says of one entry; a link is not followed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) kind: ItemKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) size: u64,
    pub(super) modified: i64,
}

/// The home folder of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) uid: u32,
    pub(super) user: Vec<u8>,
    pub(super) path: Vec<u8>,
}

impl Files {
    /// The files of the host that `capture` captures.
    pub(super) fn of(capture: &TableCapture<'_>) -> io::Result<Self> {
        Ok(Self { root: Arc::new(capture.root().again()?), watchdog: Watchdog::default() })
    }

    /// The whole file at `path`, at most `cap` bytes; none that the kernel makes up, which a link in a home may point at:
    /// such a file can change as it is read, or say what was not asked for.
    pub(super) fn text(
        &mut self,
        capture: &mut TableCapture<'_>,
        path: &[u8],
        cap: usize,
    ) -> Option<Vec<u8>> {
        let read = self.read(path, cap);
        noted(capture, path, read)
    }

    /// As [`Self::text`], for whoever judges the error.
    pub(super) fn read(&mut self, path: &[u8], cap: usize) -> io::Result<Vec<u8>> {
        let asked = path.to_vec();
        self.timed(move |root| {
            let open = root.open_file(&asked)?;
            if !asked.starts_with(b"/sys/") {
                not_kernel_made(&open)?;
            }
            bounded(open, cap)
        })
    }

    /// Opens the regular file at `path`; none that the kernel makes up.
    pub(super) fn open(&mut self, path: &[u8]) -> io::Result<OpenFile> {
        let asked = path.to_vec();
        self.timed(move |root| {
            let open = root.open_file(&asked)?;
            not_kernel_made(&open)?;
            Ok(open)
        })
    }

    /// As [`Self::text`], of a file whose last name is no link: what a user's link leads to may be another's secret.
    pub(super) fn own_text(
        &mut self,
        capture: &mut TableCapture<'_>,
        path: &[u8],
        cap: usize,
    ) -> Option<Vec<u8>> {
        let (folder, name) = split(path)?;
        let (folder, name) = (folder.to_vec(), name.to_vec());
        self.within(capture, path, move |root| {
            let folder = root.folder_at(&folder)?;
            let looked = folder.look(&name)?;
            if looked.kind != ItemKind::File {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file, not read"));
            }
            let open = folder.open(&name, &looked)?;
            not_kernel_made(&open)?;
            bounded(open, cap)
        })
    }

    /// Which folder there is at `path`.
    pub(super) fn folder(&mut self, path: &[u8]) -> io::Result<FileIdentity> {
        let asked = path.to_vec();
        self.timed(move |root| Ok(root.folder_at(&asked)?.identity()))
    }

    /// The names in the folder at `path`, sorted; none where it is not there.
    pub(super) fn names(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Vec<Vec<u8>> {
        let asked = path.to_vec();
        let listed = self.within(capture, path, move |root| names_of(&root.folder_at(&asked)?));
        within_cap(capture, path, listed)
    }

    /// Where the link at `path` points.
    pub(super) fn link(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Option<Vec<u8>> {
        let asked = path.to_vec();
        self.within(capture, path, move |root| root.read_link(&asked))
    }

    /// The entries of the folder at `path`, sorted by name; none where it is not there.
    pub(super) fn entries(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Vec<Entry> {
        let asked = path.to_vec();
        let listed = self.within(capture, path, move |root| entries_of(&root.folder_at(&asked)?));
        within_cap(capture, path, listed)
    }

    /// The entry at `path` itself.
    pub(super) fn entry(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Option<Entry> {
        let (folder, name) = split(path)?;
        let (folder, name) = (folder.to_vec(), name.to_vec());
        self.within(capture, path, move |root| entry_of(&root.folder_at(&folder)?, name))
    }

    /// What a link at `path` leads to in the end; the entry itself where it is no link.
    pub(super) fn followed(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Option<ItemKind> {
        let asked = path.to_vec();
        self.within(capture, path, move |root| match root.open_file(&asked) {
            Ok(_) => Ok(ItemKind::File),
            Err(reason) => root.folder_at(&asked).map(|_| ItemKind::Directory).map_err(|_| reason),
        })
    }

    /// The homes in `/etc/passwd`, and the folders in `/home` and `/root` that no line there names.
    pub(super) fn homes(&mut self, capture: &mut TableCapture<'_>) -> Vec<Home> {
        let passwd = self.text(capture, b"/etc/passwd", SMALL).unwrap_or_default();
        let mut homes = homes_of(&passwd);
        let named: BTreeSet<Vec<u8>> = homes.iter().map(|home| home.path.clone()).collect();
        let others = self.entries(capture, b"/home").into_iter().chain(self.entry(capture, b"/root"));
        for entry in others.filter(|entry| entry.kind == ItemKind::Directory && !named.contains(&entry.path))
        {
            homes.push(Home { uid: entry.uid, user: entry.name, path: entry.path });
        }
        if homes.len() > HOMES_CAP {
            let reason = format!("{} homes, {HOMES_CAP} of them are looked into", homes.len());
            capture.gap("/etc/passwd", &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
            homes.truncate(HOMES_CAP);
        }
        homes
    }

    /// Does `read` within a time; a gap where it fails for another reason than that nothing is there.
    pub(super) fn within<T: Send + 'static>(
        &mut self,
        capture: &mut TableCapture<'_>,
        path: &[u8],
        read: impl FnOnce(&Root) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let read = self.timed(read);
        noted(capture, path, read)
    }

    /// Does `read` within a time.
    pub(super) fn timed<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Root) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let root = Arc::clone(&self.root);
        self.watchdog.within(move |_| read(&root))
    }
}

/// What was read; a gap where that failed for another reason than that nothing is there.
pub(super) fn noted<T>(capture: &mut TableCapture<'_>, path: &[u8], read: io::Result<T>) -> Option<T> {
    match read {
        Ok(found) => Some(found),
        Err(reason) => {
            if !is_absent(&reason) {
                capture.gap(text(path).0, &reason);
            }
            None
        }
    }
}

/// Whether `reason` only says that nothing is there.
pub(super) fn is_absent(reason: &io::Error) -> bool {
    matches!(reason.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A path's folder and its last name.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    let (folder, name) = path.split_at_checked(at)?;
    Some((if folder.is_empty() { b"/" } else { folder }, name.get(1..)?))
}

/// `folder` and `name` as one path.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    [folder.strip_suffix(b"/").unwrap_or(folder), b"/", name].concat()
}

/// The lines of a text with their numbers, from 1.
pub(super) fn lines(file: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = file.strip_suffix(b"\n").unwrap_or(file).split(|byte| *byte == b'\n');
    (1..).zip(lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)))
}

fn not_kernel_made(open: &OpenFile) -> io::Result<()> {
    if open.kernel_made() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "leads to a file of the kernel, not read"));
    }
    Ok(())
}

fn bounded(open: OpenFile, cap: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open.file.take(cap as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > cap {
        let reason = format!("longer than {cap} bytes, not read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// What was listed of the folder at `path`; a gap where that is not all of it.
fn within_cap<T>(capture: &mut TableCapture<'_>, path: &[u8], listed: Option<(Vec<T>, bool)>) -> Vec<T> {
    let Some((found, cut)) = listed else { return Vec::new() };
    if cut {
        let reason = format!("more than {NAMES_CAP} entries, the others are not looked at");
        capture.gap(text(path).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
    }
    found
}

fn names_of(folder: &Folder) -> io::Result<(Vec<Vec<u8>>, bool)> {
    let mut listing = folder.list()?;
    let mut names = Vec::new();
    loop {
        let chunk = listing.next_chunk()?;
        let cut = !chunk.is_empty() && names.len() >= NAMES_CAP;
        if chunk.is_empty() || cut {
            names.sort_unstable();
            return Ok((names, cut));
        }
        names.extend(chunk);
    }
}

fn entries_of(folder: &Folder) -> io::Result<(Vec<Entry>, bool)> {
    let (names, cut) = names_of(folder)?;
    // An entry that went away since the folder was listed is no entry.
    Ok((names.into_iter().filter_map(|name| entry_of(folder, name).ok()).collect(), cut))
}

fn entry_of(folder: &Folder, name: Vec<u8>) -> io::Result<Entry> {
    let looked = folder.look(&name)?;
    let metadata = looked.metadata(&Owners::default());
    Ok(Entry {
        path: folder.join(&name),
        name,
        kind: looked.kind,
        mode: metadata.mode,
        uid: metadata.uid,
        size: looked.size,
        modified: looked.modified_seconds(),
    })
}

fn homes_of(passwd: &[u8]) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    let mut seen = BTreeSet::new();
    for (_, line) in lines(passwd) {
        let mut columns = line.split(|byte| *byte == b':');
        let (Some(user), Some(uid), Some(path)) = (columns.next(), columns.nth(1), columns.nth(2)) else {
            continue;
        };
        let Some(uid) = number::<u32>(uid) else { continue };
        let path = path.strip_suffix(b"/").unwrap_or(path);
        // The homes of many services are `/` or a folder that they share; each is looked into once.
        if path.starts_with(b"/") && !path.contains(&0) && seen.insert(path.to_vec()) {
            homes.push(Home { uid, user: user.to_vec(), path: path.to_vec() });
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_home_is_named_once_by_its_first_user() {
        let homes = homes_of(
            b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root/:\nbad\nx:y:z:0::/x:\n\xff:x:7:7::/h/\xff\n",
        );
        let found: Vec<_> = homes.iter().map(|home| (home.uid, home.path.as_slice())).collect();
        assert_eq!(found, [(0, &b"/root"[..]), (7, b"/h/\xff")]);
    }

    #[test]
    fn link_to_a_file_of_the_kernel_is_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("history");
        std::os::unix::fs::symlink("/proc/self/environ", &link).unwrap();
        let root = Root::live().unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let path = link.to_str().unwrap().as_bytes().to_vec();
        assert_eq!(Files::of(&capture).unwrap().text(&mut capture, &path, 1 << 20), None);
        let captured = capture.finish();
        assert_eq!(captured.gaps[0].reason, "leads to a file of the kernel, not read");
    }

    #[test]
    fn paths_are_split_at_their_last_slash() {
        assert_eq!(split(b"/etc/x"), Some((&b"/etc"[..], &b"x"[..])));
        assert_eq!(split(b"/x"), Some((&b"/"[..], &b"x"[..])));
        assert_eq!(split(b"x"), None);
        assert_eq!(join(b"/", b"x"), b"/x");
    }

    #[test]
    fn last_line_counts_with_or_without_its_line_feed() {
        assert_eq!(lines(b"a\r\n\nb").collect::<Vec<_>>(), [(1, &b"a"[..]), (2, b""), (3, b"b")]);
        assert_eq!(lines(b"a\n").count(), 1);
    }
}
