//! Owns the comparison of one installed file with what a database expects; refuses to follow its last link, to read
//! what is no regular file, and to wait for a file system that may never answer.

use std::io;

use holdfast_schemas::item::{FileMetadata, ItemKind};

use super::super::capabilities::of_attribute;
use super::expected::{Expected, Owner, Package};
use super::integrity::IntegrityRow;
use super::places::mounts;
use crate::source::{Folder, Looked, Mounts, Owners};
use crate::state::TableCapture;
use crate::state::linux::disk::hash;
use crate::state::linux::files::{is_absent, split};
use crate::state::linux::text::{optional, text, to_hexadecimal};

/// The largest file that is read, in bytes: no package holds one, but a hostile host can make one of holes.
const FILE_CAP: u64 = 16 << 30;

/// Compares the files of one database after the other and counts them.
pub(super) struct Comparison {
    owners: Owners,
    mounts: Mounts,
    /// The path of `folder` without links.
    real: Vec<u8>,
    manager: &'static str,
    folder: Option<Folder>,
    buffer: Vec<u8>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    packages: u64,
    checked: u64,
    missing: u64,
    differing: u64,
    unreadable: u64,
    without_digest: u64,
}

impl Comparison {
    /// A comparison on the host that is captured.
    pub(super) fn on(capture: &mut TableCapture<'_>) -> Self {
        Self {
            owners: Owners::of(capture.root()),
            mounts: mounts(capture),
            real: Vec::new(),
            manager: "",
            folder: None,
            buffer: vec![0; 128 << 10],
            counts: Counts::default(),
        }
    }

    /// Begins with the files of a database.
    pub(super) fn begin(&mut self, manager: &'static str) {
        self.manager = manager;
    }

    /// Counts one more package.
    pub(super) fn begin_package(&mut self) {
        self.counts.packages += 1;
    }

    /// Writes the counts of the database, if it had packages, and forgets them.
    ///
    /// # Errors
    ///
    /// As [`TableCapture::row`].
    pub(super) fn write_summary(&mut self, capture: &mut TableCapture<'_>) -> io::Result<()> {
        let counts = std::mem::take(&mut self.counts);
        self.folder = None;
        if counts.packages == 0 {
            return Ok(());
        }
        capture.row(&IntegrityRow {
            manager: self.manager,
            result: "summary",
            packages: Some(counts.packages),
            files_checked: Some(counts.checked),
            files_missing: Some(counts.missing),
            files_differing: Some(counts.differing),
            files_unreadable: Some(counts.unreadable),
            files_without_digest: Some(counts.without_digest),
            ..IntegrityRow::default()
        })
    }

    /// Compares one file and writes a row where it differs.
    ///
    /// # Errors
    ///
    /// As [`TableCapture::row`]; what the file answers is a row or a gap.
    pub(super) fn compare(
        &mut self,
        capture: &mut TableCapture<'_>,
        package: &Package,
        expected: &Expected,
    ) -> io::Result<()> {
        if self.counts.checked.is_multiple_of(64) {
            capture.go_on()?;
        }
        self.counts.checked += 1;
        let mut row = self.expected_row(package, expected);
        match self.find(capture, expected) {
            Err(reason) if is_absent(&reason) => {
                if expected.may_be_missing {
                    return Ok(());
                }
                self.counts.missing += 1;
                row.result = "missing";
                row.flags = Some("missing".to_owned());
                return capture.row(&row);
            }
            Err(reason) => {
                self.counts.unreadable += 1;
                capture.gap(text(&expected.path).0, &reason);
                row.result = "unreadable";
                row.flags = Some("?????????".to_owned());
                return capture.row(&row);
            }
            Ok((name, looked)) => self.compare_found(capture, expected, &name, &looked, &mut row)?,
        }
        match row.result {
            "" => return Ok(()),
            "unreadable" => self.counts.unreadable += 1,
            _ => self.counts.differing += 1,
        }
        capture.row(&row)
    }

    /// The file's name in `self.folder`, and what the file system says of it.
    fn find(&mut self, capture: &TableCapture<'_>, expected: &Expected) -> io::Result<(Vec<u8>, Looked)> {
        let path = &expected.path;
        let (parent, name) = split(path).unwrap_or((b"/", path));
        let (parent, name) =
            if matches!(name, b"" | b"." | b"..") { (&path[..], &b"."[..]) } else { (parent, name) };
        if self
            .folder
            .as_ref()
            .is_none_or(|folder| folder.path() != parent.strip_suffix(b"/").unwrap_or(parent))
        {
            self.folder = None;
            self.real = self.mounts.way_to(capture.root(), parent)?;
            self.folder = Some(capture.root().folder_at(parent)?);
        }
        self.mounts.way_to_entry(&self.real, name)?;
        let Some(folder) = &self.folder else { return Err(io::ErrorKind::NotFound.into()) };
        let looked = folder.look(name)?;
        if expected.kind == Some(ItemKind::Directory) && looked.kind == ItemKind::Symlink {
            let found = looked.metadata(&self.owners);
            // A link to a folder stands for the folder where its owner may make one, as rpm has it.
            let rightful = found.uid == 0
                || expected
                    .user
                    .as_ref()
                    .is_some_and(|owner| is_owner(owner, found.uid, found.user.as_deref()));
            if rightful {
                let way = self.mounts.way_to(capture.root(), path);
                match way.and_then(|real| Ok((real, capture.root().folder_at(path)?))) {
                    Ok((real, led_to)) => {
                        self.real = real;
                        let looked = led_to.look(b".")?;
                        self.folder = Some(led_to);
                        return Ok((b".".to_vec(), looked));
                    }
                    // It leads to no folder: it is compared as the link that it is.
                    Err(reason) if is_absent(&reason) => {}
                    Err(reason) => return Err(reason),
                }
            }
        }
        Ok((name.to_vec(), looked))
    }

    fn compare_found(
        &mut self,
        capture: &mut TableCapture<'_>,
        expected: &Expected,
        name: &[u8],
        looked: &Looked,
        row: &mut IntegrityRow,
    ) -> io::Result<()> {
        let found = looked.metadata(&self.owners);
        let points = match (looked.kind, &self.folder) {
            (ItemKind::Symlink, Some(folder)) => match folder.read_link(name) {
                Ok(points) => Some(points),
                Err(reason) => {
                    capture.gap(text(&expected.path).0, &reason);
                    None
                }
            },
            _ => None,
        };
        let mut flags = Flags(['?'; 9]);
        flags.set_by_metadata(expected, looked, &found, points.as_deref());
        let is_file = looked.kind == ItemKind::File;
        let mut unreadable = false;
        self.counts.without_digest += u64::from(is_file && expected.digest.is_none());
        if is_file && (expected.digest.is_some() || expected.capabilities.is_some()) {
            match self.read(capture, expected, name, looked, &mut flags) {
                Err(reason) if reason.kind() == io::ErrorKind::Interrupted => return Err(reason),
                Err(reason) => {
                    unreadable = true;
                    flags.0[2] = '?';
                    capture.gap(text(&expected.path).0, &reason);
                }
                Ok(digest) => row.digest = digest.map(|digest| to_hexadecimal(&digest)),
            }
        }
        row.result = match (flags.differ(), unreadable) {
            (true, _) => "differs",
            (false, true) => "unreadable",
            (false, false) => return Ok(()),
        };
        row.flags = Some(flags.0.iter().collect());
        add_found(row, looked, &found);
        (row.target, row.target_raw) = optional(points.as_deref());
        Ok(())
    }

    /// Hashes the file and reads its capabilities, as far as they are expected.
    fn read(
        &mut self,
        capture: &TableCapture<'_>,
        expected: &Expected,
        name: &[u8],
        looked: &Looked,
        flags: &mut Flags,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(folder) = &self.folder else { return Err(io::ErrorKind::NotFound.into()) };
        let mut open = folder.open(name, looked)?;
        if let Some(capabilities) = &expected.capabilities {
            let attributes = open.xattrs();
            let attribute = attributes.iter().find(|attribute| attribute.name == "security.capability");
            let found = of_attribute(attribute.map_or(&[], |attribute| &attribute.value.0));
            flags.set(8, Some(found.as_ref() == Some(capabilities)));
        }
        let Some((algorithm, digest)) = &expected.digest else { return Ok(None) };
        if looked.size > FILE_CAP {
            let reason = format!("longer than {FILE_CAP} bytes, not read");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let mut hasher = algorithm.start();
        hash(capture, &mut open.file, FILE_CAP, &mut self.buffer, &mut |bytes| hasher.update(bytes))?;
        let found = hasher.finalize().into_vec();
        flags.set(2, Some(found == *digest));
        Ok(Some(found))
    }

    fn expected_row(&self, package: &Package, expected: &Expected) -> IntegrityRow {
        let mut row = IntegrityRow { manager: self.manager, ..IntegrityRow::default() };
        (row.package, row.package_raw) = optional(Some(&package.name[..]).filter(|name| !name.is_empty()));
        (row.package_version, row.package_version_raw) =
            optional(Some(&package.version[..]).filter(|version| !version.is_empty()));
        (row.path, row.path_raw) = optional(Some(&expected.path));
        (row.diverted_from, row.diverted_from_raw) = optional(expected.diverted_from.as_deref());
        row.attribute = expected.attribute.map(String::from);
        if let Some((algorithm, digest)) = &expected.digest {
            row.digest_algorithm = Some(algorithm.name());
            row.expected_digest = Some(to_hexadecimal(digest));
        }
        row.expected_size = expected.size;
        row.expected_mode = expected.mode.map(octal);
        row.expected_type = expected.kind.map(type_name);
        (row.expected_user, row.expected_user_raw) = optional(expected.user.as_ref().map(name_of).as_deref());
        (row.expected_group, row.expected_group_raw) =
            optional(expected.group.as_ref().map(name_of).as_deref());
        (row.expected_target, row.expected_target_raw) =
            optional(expected.target.as_deref().filter(|target| !target.is_empty()));
        row.expected_mtime = expected.mtime;
        row
    }
}

/// What differs, one letter each, in the order of [`LETTERS`].
struct Flags([char; 9]);

const LETTERS: [char; 9] = ['S', 'M', '5', 'D', 'L', 'U', 'G', 'T', 'P'];

impl Flags {
    fn set(&mut self, at: usize, equal: Option<bool>) {
        if let (Some(flag), Some(letter), Some(equal)) = (self.0.get_mut(at), LETTERS.get(at), equal) {
            *flag = if equal { '.' } else { *letter };
        }
    }

    /// What owners, permissions, type, size, time and target tell.
    fn set_by_metadata(
        &mut self,
        expected: &Expected,
        looked: &Looked,
        found: &FileMetadata,
        points: Option<&[u8]>,
    ) {
        let (is_file, is_link) = (looked.kind == ItemKind::File, looked.kind == ItemKind::Symlink);
        if is_file {
            self.set(0, expected.size.map(|size| size == found.size));
        }
        if is_file || is_link && expected.kind == Some(ItemKind::Symlink) {
            self.set(7, expected.mtime.map(|mtime| mtime == looked.modified_seconds()));
        }
        let same_kind = match expected.kind {
            Some(kind) => Some(kind == looked.kind),
            // A digest is of a file's content or of a link's target: nothing else can have it.
            None if expected.digest.is_some() && !is_file && !is_link => Some(false),
            None => None,
        };
        if is_file && same_kind == Some(false) {
            // There is content where none should be.
            self.set(2, Some(false));
        }
        let same_mode = expected.mode.filter(|_| !is_link).map(|mode| mode == found.mode);
        match (expected.target.as_deref(), points) {
            (Some(target), Some(points)) => self.set(4, Some(target == points)),
            // apk says of a link what its target's digest is, and not that it is one.
            (None, Some(points)) if expected.kind.is_none() => {
                let digest = expected.digest.as_ref();
                self.set(4, digest.map(|(algorithm, digest)| algorithm.digest(points) == *digest));
            }
            // A database that knows no modes tells that the type is right only by the digest being right.
            _ if same_kind == Some(false) || same_mode.is_some() => {
                self.set(1, Some(same_kind != Some(false) && same_mode != Some(false)));
            }
            _ => {}
        }
        if let (Some(kind), true) = (expected.kind, expected.mode.is_some()) {
            let devices = [ItemKind::CharDevice, ItemKind::BlockDevice];
            let device = |kind: ItemKind| devices.contains(&kind);
            self.set(3, (device(kind) || device(looked.kind)).then_some(kind == looked.kind));
        }
        self.set(5, expected.user.as_ref().map(|owner| is_owner(owner, found.uid, found.user.as_deref())));
        self.set(6, expected.group.as_ref().map(|owner| is_owner(owner, found.gid, found.group.as_deref())));
    }

    fn differ(&self) -> bool {
        self.0.iter().any(|flag| LETTERS.contains(flag))
    }
}

fn add_found(row: &mut IntegrityRow, looked: &Looked, found: &FileMetadata) {
    row.size = Some(found.size);
    row.mode = Some(octal(found.mode));
    row.r#type = Some(type_name(looked.kind));
    let shown = |name: &Option<String>, id: u32| name.clone().unwrap_or_else(|| id.to_string());
    (row.user, row.user_raw) = optional(Some(shown(&found.user, found.uid).as_bytes()));
    (row.group, row.group_raw) = optional(Some(shown(&found.group, found.gid).as_bytes()));
    row.mtime = Some(looked.modified_seconds());
}

/// Whether a number is the owner's; 0 is root even where no file says so.
fn is_owner(owner: &Owner, id: u32, name: Option<&str>) -> bool {
    match owner {
        Owner::Id(expected) => *expected == id,
        Owner::Name(expected) if id == 0 && name.is_none() => expected == b"root",
        Owner::Name(expected) => name.is_some_and(|name| name.as_bytes() == expected),
    }
}

fn name_of(owner: &Owner) -> Vec<u8> {
    match owner {
        Owner::Name(name) => name.clone(),
        Owner::Id(id) => id.to_string().into_bytes(),
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn type_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::File => "regular",
        ItemKind::Directory => "directory",
        ItemKind::Symlink => "symlink",
        ItemKind::CharDevice => "character",
        ItemKind::BlockDevice => "block",
        ItemKind::Fifo => "fifo",
        ItemKind::Socket => "socket",
        _ => "unknown",
    }
}
