//! Owns what rpm's headers expect of installed files, as `rpm -V` does; refuses to expect what a package left out.

use std::io;

use holdfast_schemas::item::ItemKind;

use super::super::capabilities;
use super::compare::Comparison;
use super::expected::{Algorithm, Expected, Owner, Package};
use super::from_hexadecimal;
use super::rpm_header::{Header, tag};
use super::rpm_store::each_header;
use crate::state::TableCapture;
use crate::state::linux::text::text;

// What a package wants verified of a file (`rpmverify.h`).
const DIGEST: u64 = 1;
const SIZE: u64 = 1 << 1;
const LINK: u64 = 1 << 2;
const USER: u64 = 1 << 3;
const GROUP: u64 = 1 << 4;
const MTIME: u64 = 1 << 5;
const MODE: u64 = 1 << 6;
const CAPABILITIES: u64 = 1 << 8;

// What a file is to its package (`rpmfiles.h`).
const CONFIG: u64 = 1;
const DOC: u64 = 1 << 1;
const MISSING_OK: u64 = 1 << 3;
const GHOST: u64 = 1 << 6;
const LICENSE: u64 = 1 << 7;
const README: u64 = 1 << 8;

/// The most folders of one package.
const FOLDERS_CAP: usize = 1 << 20;

/// Compares the installed files of every package.
pub(super) fn compare(capture: &mut TableCapture<'_>, comparison: &mut Comparison) -> io::Result<()> {
    comparison.begin("rpm");
    each_header(capture, &mut |capture, _, _, header| compare_package(capture, comparison, header))?;
    comparison.write_summary(capture)
}

fn compare_package(
    capture: &mut TableCapture<'_>,
    comparison: &mut Comparison,
    header: &Header<'_>,
) -> io::Result<()> {
    let version = [tag::VERSION, tag::RELEASE].map(|tag| header.text(tag).unwrap_or_default()).join(&b'-');
    let package = Package { name: header.text(tag::NAME).unwrap_or_default().to_vec(), version };
    let algorithm = match header.number(tag::FILE_DIGEST_ALGORITHM) {
        None | Some(1) => Some(Algorithm::Md5),
        Some(2) => Some(Algorithm::Sha1),
        Some(8) => Some(Algorithm::Sha256),
        Some(9) => Some(Algorithm::Sha384),
        Some(10) => Some(Algorithm::Sha512),
        Some(11) => Some(Algorithm::Sha224),
        Some(other) => {
            let reason = format!("digests of a kind that is not computed here: {other}");
            capture.gap(text(&package.name).0, &io::Error::new(io::ErrorKind::Unsupported, reason));
            None
        }
    };
    comparison.begin_package();
    let mut files = Files::of(header);
    if files.folders.len() > FOLDERS_CAP {
        let reason = format!("more than {FOLDERS_CAP} folders, its files are not compared");
        capture.gap(text(&package.name).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        return Ok(());
    }
    while let Some(file) = files.next_file() {
        let file = match file {
            Ok(file) => file,
            Err(reason) => {
                capture.gap(text(&package.name).0, &reason);
                continue;
            }
        };
        if let Some(expected) = file.expected(algorithm) {
            comparison.compare(capture, &package, &expected)?;
        }
    }
    Ok(())
}

/// One file by its header.
#[derive(Default)]
struct HeaderFile<'a> {
    path: Vec<u8>,
    state: u64,
    mode: Option<u64>,
    size: Option<u64>,
    mtime: Option<u64>,
    digest: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    flags: u64,
    verify: u64,
    user: Option<&'a [u8]>,
    group: Option<&'a [u8]>,
    capabilities: Option<&'a [u8]>,
}

type Texts<'a> = Box<dyn Iterator<Item = &'a [u8]> + 'a>;
type Numbers<'a> = Box<dyn Iterator<Item = u64> + 'a>;

/// The files of a header: columns that are walked side by side.
struct Files<'a> {
    folders: Vec<&'a [u8]>,
    folder_of: Numbers<'a>,
    names: Texts<'a>,
    old_names: Texts<'a>,
    states: Numbers<'a>,
    modes: Numbers<'a>,
    sizes: Numbers<'a>,
    mtimes: Numbers<'a>,
    digests: Texts<'a>,
    targets: Texts<'a>,
    flags: Numbers<'a>,
    verify: Numbers<'a>,
    users: Texts<'a>,
    groups: Texts<'a>,
    capabilities: Texts<'a>,
}

impl<'a> Files<'a> {
    fn of(header: &'a Header<'a>) -> Self {
        let numbers = |tag| Box::new(header.numbers(tag)) as Numbers<'a>;
        let texts = |tag| Box::new(header.texts(tag)) as Texts<'a>;
        let long = header.number(tag::LONG_FILE_SIZES).is_some();
        Self {
            folders: header.texts(tag::FOLDER_NAMES).take(FOLDERS_CAP + 1).collect(),
            folder_of: numbers(tag::FOLDER_INDEXES),
            names: texts(tag::BASE_NAMES),
            old_names: texts(tag::OLD_FILE_NAMES),
            states: numbers(tag::FILE_STATES),
            modes: numbers(tag::FILE_MODES),
            sizes: numbers(if long { tag::LONG_FILE_SIZES } else { tag::FILE_SIZES }),
            mtimes: numbers(tag::FILE_MTIMES),
            digests: texts(tag::FILE_DIGESTS),
            targets: texts(tag::FILE_LINKS),
            flags: numbers(tag::FILE_FLAGS),
            verify: numbers(tag::FILE_VERIFY),
            users: texts(tag::FILE_USERS),
            groups: texts(tag::FILE_GROUPS),
            capabilities: texts(tag::FILE_CAPABILITIES),
        }
    }

    /// The next file; an error where the header does not say in which of its folders it lies.
    fn next_file(&mut self) -> Option<io::Result<HeaderFile<'a>>> {
        let path = match (self.names.next(), self.folder_of.next()) {
            (Some(name), folder) => {
                let folder = folder.and_then(|folder| self.folders.get(usize::try_from(folder).ok()?));
                folder.map(|folder| [folder, name].concat()).ok_or_else(|| {
                    let reason = format!("{} is in no folder of its package", text(name).0);
                    io::Error::new(io::ErrorKind::InvalidData, reason)
                })
            }
            // Before version 4 of rpm.
            _ => Ok(self.old_names.next()?.to_vec()),
        };
        // Every column moves on, whatever became of the path.
        let file = HeaderFile {
            path: Vec::new(),
            state: self.states.next().unwrap_or_default(),
            mode: self.modes.next(),
            size: self.sizes.next(),
            mtime: self.mtimes.next(),
            digest: self.digests.next(),
            target: self.targets.next(),
            flags: self.flags.next().unwrap_or_default(),
            verify: self.verify.next().unwrap_or(u64::MAX),
            user: self.users.next(),
            group: self.groups.next(),
            capabilities: self.capabilities.next(),
        };
        Some(path.map(|path| HeaderFile { path, ..file }))
    }
}

impl HeaderFile<'_> {
    /// What is expected of it; nothing where it was not installed.
    fn expected(self, algorithm: Option<Algorithm>) -> Option<Expected> {
        let ghost = self.flags & GHOST != 0;
        let mut verify = match self.state {
            // Replaced by another package: it can only be there.
            1 => 0,
            // Not installed, or shared from elsewhere.
            2 | 3 => return None,
            // Of another architecture than the one that was installed.
            4 => self.verify & !(DIGEST | SIZE | MTIME),
            _ => self.verify,
        };
        if self.mode.is_some_and(|mode| mode & 0o170_000 == 0o120_000) {
            // Links are made when they are installed.
            verify &= !MTIME;
        }
        if ghost {
            verify &= !(DIGEST | SIZE | MTIME | LINK);
        }
        let wanted = |flag: u64| verify & flag != 0;
        let owner = |name: &[u8]| Owner::Name(name.to_vec());
        let mode = self.mode.and_then(|mode| u32::try_from(mode & 0xffff).ok()).filter(|_| wanted(MODE));
        let digest = self.digest.and_then(from_hexadecimal).filter(|_| wanted(DIGEST));
        Some(Expected {
            path: self.path,
            diverted_from: None,
            attribute: attribute(self.flags),
            may_be_missing: ghost || self.flags & MISSING_OK != 0,
            // A ghost is made by whoever runs the program: only its permissions are the package's.
            kind: mode.filter(|_| !ghost).and_then(kind_of),
            digest: algorithm.and_then(|algorithm| Some((algorithm, digest?))),
            size: self.size.filter(|_| wanted(SIZE)),
            mode: mode.map(|mode| mode & 0o7777),
            user: self.user.filter(|_| wanted(USER)).map(owner),
            group: self.group.filter(|_| wanted(GROUP)).map(owner),
            target: self.target.filter(|_| wanted(LINK)).map(<[u8]>::to_vec),
            mtime: self.mtime.filter(|_| wanted(MTIME)).and_then(|mtime| i64::try_from(mtime).ok()),
            capabilities: wanted(CAPABILITIES)
                .then(|| capabilities::of_text(self.capabilities.unwrap_or_default()))
                .flatten(),
        })
    }
}

fn attribute(flags: u64) -> Option<char> {
    let letters = [(DOC, 'd'), (CONFIG, 'c'), (GHOST, 'g'), (LICENSE, 'l'), (README, 'r')];
    letters.iter().find(|(flag, _)| flags & flag != 0).map(|(_, letter)| *letter)
}

fn kind_of(mode: u32) -> Option<ItemKind> {
    Some(match mode & 0o170_000 {
        0o100_000 => ItemKind::File,
        0o040_000 => ItemKind::Directory,
        0o120_000 => ItemKind::Symlink,
        0o020_000 => ItemKind::CharDevice,
        0o060_000 => ItemKind::BlockDevice,
        0o010_000 => ItemKind::Fifo,
        0o140_000 => ItemKind::Socket,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_in_a_folder_that_its_package_does_not_name_is_an_error_and_those_behind_it_are_read() {
        let entries: [[u32; 4]; 4] = [
            [tag::BASE_NAMES, 8, 0, 2],
            [tag::FOLDER_NAMES, 8, 4, 1],
            [tag::FOLDER_INDEXES, 4, 8, 2],
            [tag::FILE_SIZES, 4, 16, 2],
        ];
        let store = [&b"x\0y\0/a/\0"[..], &[0, 0, 0, 9, 0, 0, 0, 0], &[0, 0, 0, 1, 0, 0, 0, 2]].concat();
        let words = [4, 24].into_iter().chain(entries.into_iter().flatten());
        let blob: Vec<u8> = words.flat_map(u32::to_be_bytes).chain(store).collect();
        let header = Header::parse(&blob).unwrap();
        let mut files = Files::of(&header);
        assert!(files.next_file().unwrap().is_err());
        let file = files.next_file().unwrap().unwrap();
        assert_eq!((&file.path[..], file.size), (&b"/a/y"[..], Some(2)));
        assert!(files.next_file().is_none());
    }
}
