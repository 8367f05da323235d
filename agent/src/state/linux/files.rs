//! Owns the reading of small files and folders into tables, where what is not there is no gap and everything else that
//! cannot be read is one; refuses to wait for a file system that does not answer.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

    /// The file at `path`, open; none that the kernel makes up, which a link in a home may point at: such a file can change
    /// as it is read, or say what was not asked for.
    pub(super) fn open(&mut self, path: &[u8]) -> io::Result<OpenFile> {
        let (root, asked) = (Arc::clone(&self.root), path.to_vec());
        self.watchdog.within(move |_| not_of_the_kernel(root.open_file(&asked)?))
    }

    /// The whole file at `path`, as [`Self::open`] opens it, at most `cap` bytes.
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
        self.timed(move |root, _| not_of_the_kernel(root.open_file(&asked)?)?.text(cap))
    }

    /// As [`Self::text`], and a gap where `path` is a link: its owner may have no right to what it leads to.
    pub(super) fn own_text(
        &mut self,
        capture: &mut TableCapture<'_>,
        path: &[u8],
        cap: usize,
    ) -> Option<Vec<u8>> {
        let (folder, name) = split(path)?;
        let (folder, name) = (folder.to_vec(), name.to_vec());
        self.within(capture, path, move |root, _| {
            let folder = root.folder_at(&folder)?;
            let looked = folder.look(&name)?;
            match looked.kind {
                ItemKind::File => not_of_the_kernel(folder.open(&name, &looked)?)?.text(cap),
                ItemKind::Symlink => Err(invalid("a link, not followed")),
                _ => Err(invalid("not a regular file")),
            }
        })
    }

    /// Which folder there is at `path`.
    pub(super) fn folder(&mut self, path: &[u8]) -> io::Result<FileIdentity> {
        let asked = path.to_vec();
        self.timed(move |root, _| Ok(root.folder_at(&asked)?.identity()))
    }

    /// The names in the folder at `path`, sorted; none where it is not there.
    pub(super) fn names(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Vec<Vec<u8>> {
        let asked = path.to_vec();
        let listed =
            self.within(capture, path, move |root, progress| names_of(&root.folder_at(&asked)?, progress));
        let Some((names, cut)) = listed else { return Vec::new() };
        gap_where_cut(capture, path, cut);
        names
    }

    /// Where the link at `path` points.
    pub(super) fn link(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Option<Vec<u8>> {
        let asked = path.to_vec();
        self.within(capture, path, move |root, _| root.read_link(&asked))
    }

    /// The entries of the folder at `path`, sorted by name; none where it is not there.
    pub(super) fn entries(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Vec<Entry> {
        let asked = path.to_vec();
        let listed =
            self.within(capture, path, move |root, progress| entries_of(&root.folder_at(&asked)?, progress));
        let Some(listed) = listed else { return Vec::new() };
        gap_where_cut(capture, path, listed.cut);
        if let Some((count, reason)) = listed.failed {
            capture.gap(format!("{}: {count} entries", text(path).0), &reason);
        }
        listed.entries
    }

    /// The entry at `path` itself.
    pub(super) fn entry(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Option<Entry> {
        let (folder, name) = split(path)?;
        let (folder, name) = (folder.to_vec(), name.to_vec());
        self.within(capture, path, move |root, _| entry_of(&root.folder_at(&folder)?, name))
    }

    /// What a link at `path` leads to in the end, and its permission bits; the entry itself where it is no link. What is
    /// neither a file nor a folder is unknown, without any.
    pub(super) fn followed(
        &mut self,
        capture: &mut TableCapture<'_>,
        path: &[u8],
    ) -> Option<(ItemKind, u32)> {
        let asked = path.to_vec();
        self.within(capture, path, move |root, _| match root.open_file(&asked) {
            Ok(open) => Ok((ItemKind::File, open.look()?.mode())),
            Err(reason) => match root.folder_at(&asked).and_then(|folder| folder.look(b".")) {
                Ok(looked) => Ok((ItemKind::Directory, looked.mode())),
                Err(_) if reason.kind() == io::ErrorKind::InvalidInput => Ok((ItemKind::Unknown, 0)),
                Err(_) => Err(reason),
            },
        })
    }

    /// Which folder is at `path`, whichever links lead to it.
    pub(super) fn identity(&mut self, capture: &mut TableCapture<'_>, path: &[u8]) -> Option<FileIdentity> {
        let asked = path.to_vec();
        self.within(capture, path, move |root, _| Ok(root.folder_at(&asked)?.identity()))
    }

    /// The homes in `/etc/passwd`, each with its first user, and the folders in `/home` and `/root` that no line there
    /// names.
    pub(super) fn homes(&mut self, capture: &mut TableCapture<'_>) -> Vec<Home> {
        let mut seen = BTreeSet::new();
        let mut homes = self.every_account(capture);
        homes.retain(|home| seen.insert(home.path.clone()));
        capped(capture, homes)
    }

    /// As [`Self::homes`], and every user of a home that several share.
    pub(super) fn accounts(&mut self, capture: &mut TableCapture<'_>) -> Vec<Home> {
        let accounts = self.every_account(capture);
        capped(capture, accounts)
    }

    fn every_account(&mut self, capture: &mut TableCapture<'_>) -> Vec<Home> {
        let passwd = self.text(capture, b"/etc/passwd", SMALL).unwrap_or_default();
        let mut accounts = accounts_of(&passwd);
        let named: BTreeSet<Vec<u8>> = accounts.iter().map(|account| account.path.clone()).collect();
        let others = self.entries(capture, b"/home").into_iter().chain(self.entry(capture, b"/root"));
        for entry in others.filter(|entry| entry.kind == ItemKind::Directory && !named.contains(&entry.path))
        {
            accounts.push(Home { uid: entry.uid, user: entry.name, path: entry.path });
        }
        accounts
    }

    /// Does `read`, which counts its progress, within a time; a gap where it fails for another reason than that nothing is
    /// there.
    pub(super) fn within<T: Send + 'static>(
        &mut self,
        capture: &mut TableCapture<'_>,
        path: &[u8],
        read: impl FnOnce(&Root, &AtomicU64) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let read = self.timed(read);
        noted(capture, path, read)
    }

    /// Does `read`, which counts its progress, within a time.
    pub(super) fn timed<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Root, &AtomicU64) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let root = Arc::clone(&self.root);
        self.watchdog.within(move |progress| read(&root, progress))
    }
}

fn capped(capture: &mut TableCapture<'_>, mut homes: Vec<Home>) -> Vec<Home> {
    if homes.len() > HOMES_CAP {
        let reason = format!("{} homes, {HOMES_CAP} of them are looked into", homes.len());
        capture.gap("/etc/passwd", &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        homes.truncate(HOMES_CAP);
    }
    homes
}

fn not_of_the_kernel(open: OpenFile) -> io::Result<OpenFile> {
    if open.kernel_made() { Err(invalid("leads to a file of the kernel, not read")) } else { Ok(open) }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
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

fn gap_where_cut(capture: &mut TableCapture<'_>, path: &[u8], cut: bool) {
    if cut {
        let reason = format!("more than {NAMES_CAP} entries, the others are not looked at");
        capture.gap(text(path).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
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

/// The lines of a text with the lines that continue them, numbered by where they begin. A line goes on behind an odd number
/// of backslashes at its very end; `glue` stands for the last of them. Lines that open with one of `comments` are left
/// out, even among those that continue another.
pub(super) fn logical_lines<'a>(
    file: &'a [u8],
    glue: &'a [u8],
    comments: &'a [u8],
) -> impl Iterator<Item = (u64, Cow<'a, [u8]>)> {
    let is_comment =
        |line: &[u8]| line.trim_ascii_start().first().is_some_and(|byte| comments.contains(byte));
    let mut rest = lines(file).filter(move |(_, line)| !is_comment(line));
    std::iter::from_fn(move || {
        let (number, line) = rest.next()?;
        let (part, mut goes_on) = continued(line);
        let mut whole = Cow::Borrowed(part);
        while goes_on && let Some((_, line)) = rest.next() {
            let (part, more) = continued(line);
            let whole = whole.to_mut();
            if !glue.is_empty() {
                whole.truncate(whole.trim_ascii_end().len());
                whole.extend_from_slice(glue);
            }
            whole.extend_from_slice(part.trim_ascii_start());
            goes_on = more;
        }
        Some((number, whole))
    })
}

/// A line without the backslash that continues it, and whether one does.
fn continued(line: &[u8]) -> (&[u8], bool) {
    let backslashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
    match line.strip_suffix(b"\\") {
        Some(part) if backslashes % 2 == 1 => (part, true),
        _ => (line, false),
    }
}

/// What a listing gave.
struct Listed {
    entries: Vec<Entry>,
    /// Whether there are more entries than are looked at.
    cut: bool,
    /// How many could not be looked at, and why the first could not.
    failed: Option<(u64, io::Error)>,
}

fn names_of(folder: &Folder, progress: &AtomicU64) -> io::Result<(Vec<Vec<u8>>, bool)> {
    let mut listing = folder.list()?;
    let mut names = Vec::new();
    loop {
        let chunk = listing.next_chunk()?;
        progress.fetch_add(1, Ordering::Relaxed);
        let cut = !chunk.is_empty() && names.len() >= NAMES_CAP;
        if chunk.is_empty() || cut {
            names.sort_unstable();
            return Ok((names, cut));
        }
        names.extend(chunk);
    }
}

fn entries_of(folder: &Folder, progress: &AtomicU64) -> io::Result<Listed> {
    let (names, cut) = names_of(folder, progress)?;
    let mut listed = Listed { entries: Vec::new(), cut, failed: None };
    for name in names {
        progress.fetch_add(1, Ordering::Relaxed);
        match entry_of(folder, name) {
            Ok(entry) => listed.entries.push(entry),
            // An entry that went away since the folder was listed is no entry.
            Err(reason) if is_absent(&reason) => {}
            Err(reason) => listed.failed.get_or_insert((0, reason)).0 += 1,
        }
    }
    Ok(listed)
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

fn accounts_of(passwd: &[u8]) -> Vec<Home> {
    let mut accounts: Vec<Home> = Vec::new();
    for (_, line) in lines(passwd) {
        let mut columns = line.split(|byte| *byte == b':');
        let (Some(user), Some(uid), Some(path)) = (columns.next(), columns.nth(1), columns.nth(2)) else {
            continue;
        };
        let Some(uid) = number::<u32>(uid) else { continue };
        let path = path.strip_suffix(b"/").filter(|path| !path.is_empty()).unwrap_or(path);
        if path.starts_with(b"/") && !path.contains(&0) {
            accounts.push(Home { uid, user: user.to_vec(), path: path.to_vec() });
        }
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0::/root/:/bin/sh\ntoor:x:0:0::/root:\nbad\nx:y:z:0::/x:\nd:x:1:1::/:\n\xff:x:7:7::/h/\xff\n";

    #[test]
    fn accounts_share_homes_and_the_root_is_one() {
        let found: Vec<_> = accounts_of(PASSWD).into_iter().map(|home| (home.user, home.path)).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"root", b"/root"), (b"toor", b"/root"), (b"d", b"/"), (b"\xff", b"/h/\xff")];
        assert_eq!(found, expected.map(|(user, path)| (user.to_vec(), path.to_vec())));
    }

    #[test]
    fn each_home_is_named_once_by_its_first_user() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), PASSWD).unwrap();
        let root = Root::mounted(folder.path()).unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let homes = Files::of(&capture).unwrap().homes(&mut capture);
        let found: Vec<_> = homes.iter().map(|home| (home.uid, home.path.as_slice())).collect();
        assert_eq!(found, [(0, &b"/root"[..]), (1, b"/"), (7, b"/h/\xff")]);
    }

    #[test]
    fn lines_go_on_behind_an_odd_number_of_backslashes_at_their_very_end() {
        let found = |file: &'static [u8], glue: &'static [u8]| {
            logical_lines(file, glue, b"#;").map(|(at, line)| (at, line.into_owned())).collect::<Vec<_>>()
        };
        let one = |at: u64, line: &[u8]| (at, line.to_vec());
        assert_eq!(found(b"a=\\\n   /x\nb\\", b""), [one(1, b"a=/x"), one(3, b"b")]);
        assert_eq!(found(b"a \\\n# no\n = \\\n b", b" "), [one(1, b"a = b")]);
        assert_eq!(found(b"a\\\\\nb\\ \nc", b" "), [one(1, b"a\\\\"), one(2, b"b\\ "), one(3, b"c")]);
        assert_eq!(found(b"a\\\\\\\nb", b""), [one(1, b"a\\\\b")]);
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
        let mut files = Files::of(&capture).unwrap();
        assert_eq!(files.text(&mut capture, &path, 1 << 20), None);
        assert_eq!(files.followed(&mut capture, b"/dev/null"), Some((ItemKind::Unknown, 0)));
        assert_eq!(files.open(&path).err().map(|reason| reason.kind()), Some(io::ErrorKind::InvalidInput));
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
