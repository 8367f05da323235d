//! Owns the table of Arch's packages and what pacman's database expects of their files; refuses to ask pacman.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use holdfast_schemas::item::ItemKind;
use serde::Serialize;

use super::compare::Comparison;
use super::expected::{Algorithm, Expected, Owner, Package};
use super::{from_hexadecimal, lines};
use crate::source::unescaped;
use crate::state::linux::files::Files;
use crate::state::linux::text::{fields, number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The folder of the database.
const DATABASE: &str = "/var/lib/pacman";
/// The longest description that is read, in bytes.
const DESCRIPTION_CAP: usize = 1 << 20;
/// The longest list of files that is read, in bytes.
const LIST_CAP: usize = 64 << 20;
/// The most that one list of digests may hold when it is unpacked, in bytes.
const MTREE_CAP: u64 = 512 << 20;
/// The longest line of it, in bytes.
const LINE_CAP: u64 = 64 << 10;

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "pacman_packages",
    about: "Packages by pacman's database (Arch).",
    sources: &["/var/lib/pacman/local/*/desc"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One package that pacman's database (Arch) names as installed.
#[derive(Serialize, Default)]
struct PacmanRow {
    /// osquery: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Package version, with epoch and release.
    version: String,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Base package that it was built from; null where none is stated.
    source: Option<String>,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
    /// osquery: Description; null where none is stated.
    description: Option<String>,
    /// Derived: Base64 of the exact bytes behind `description`; null where `description` is those bytes
    /// verbatim.
    description_raw: Option<String>,
    /// osquery: Project page; null where none is stated.
    url: Option<String>,
    /// Derived: Base64 of the exact bytes behind `url`; null where `url` is those bytes verbatim.
    url_raw: Option<String>,
    /// osquery: Licences, separated by commas; null where none is stated.
    licenses: Option<String>,
    /// Derived: Base64 of the exact bytes behind `licenses`; null where `licenses` is those bytes verbatim.
    licenses_raw: Option<String>,
    /// osquery: Groups it belongs to, separated by commas; null where none is stated.
    groups: Option<String>,
    /// Derived: Base64 of the exact bytes behind `groups`; null where `groups` is those bytes verbatim.
    groups_raw: Option<String>,
    /// osquery: Architecture; null where none is stated.
    arch: Option<String>,
    /// Derived: Base64 of the exact bytes behind `arch`; null where `arch` is those bytes verbatim.
    arch_raw: Option<String>,
    /// osquery: Installed size in bytes; null where none is stated.
    size: Option<u64>,
    /// osquery: Person or process that built it; null where none is stated.
    packager: Option<String>,
    /// Derived: Base64 of the exact bytes behind `packager`; null where `packager` is those bytes verbatim.
    packager_raw: Option<String>,
    /// osquery: When it was built, Unix seconds; null where none is stated.
    build_time: Option<u64>,
    /// osquery: When it was installed, Unix seconds; null where none is stated.
    install_time: Option<u64>,
    /// osquery: explicit or dependency; null where the database says something else.
    install_reason: Option<&'static str>,
    /// osquery: How the package was validated, such as `sha256` or `pgp`, separated by commas; null where
    /// none is stated.
    validation: Option<String>,
    /// Derived: Base64 of the exact bytes behind `validation`; null where `validation` is those bytes
    /// verbatim.
    validation_raw: Option<String>,
    /// osquery: Folder of the database.
    dbpath: String,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_package(capture, &mut |capture, _, sections| capture.row(&row(sections)))
}

/// The sections of a description: `%NAME%` and the lines that follow it.
struct Sections(HashMap<Vec<u8>, Vec<Vec<u8>>>);

impl Sections {
    fn parse(text: &[u8]) -> Self {
        let mut sections: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
        let mut current = Vec::new();
        let mut begins = true;
        for line in text.split(|byte| *byte == b'\n') {
            match line.strip_prefix(b"%").and_then(|line| line.strip_suffix(b"%")) {
                // A line of a section may look like a name, but no empty line stands before it.
                Some(name) if begins => current = name.to_vec(),
                _ if line.is_empty() => {}
                _ => sections.entry(current.clone()).or_default().push(line.to_vec()),
            }
            begins = line.is_empty();
        }
        Self(sections)
    }

    fn lines(&self, name: &str) -> &[Vec<u8>] {
        self.0.get(name.as_bytes()).map_or(&[], Vec::as_slice)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.lines(name).first().map(Vec::as_slice)
    }

    fn joined(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.lines(name).join(&b',')).filter(|joined| !joined.is_empty())
    }
}

type Each<'e> = dyn FnMut(&mut TableCapture<'_>, &[u8], &Sections) -> io::Result<()> + 'e;

fn each_package(capture: &mut TableCapture<'_>, each: &mut Each<'_>) -> io::Result<()> {
    let local = format!("{DATABASE}/local");
    let mut files = Files::of(capture)?;
    for name in files.names(capture, local.as_bytes()) {
        if name == b"ALPM_DB_VERSION" {
            continue;
        }
        let folder = [local.as_bytes(), b"/", &name].concat();
        let path = [&folder[..], b"/desc"].concat();
        match files.read(&path, DESCRIPTION_CAP) {
            Ok(description) => each(capture, &folder, &Sections::parse(&description))?,
            Err(reason) => capture.gap(text(&path).0, &reason),
        }
    }
    Ok(())
}

fn row(sections: &Sections) -> PacmanRow {
    let mut row = PacmanRow { dbpath: DATABASE.to_owned(), ..PacmanRow::default() };
    (row.name, row.name_raw) = text(sections.first("NAME").unwrap_or_default());
    (row.version, row.version_raw) = text(sections.first("VERSION").unwrap_or_default());
    (row.source, row.source_raw) = optional(sections.first("BASE"));
    (row.description, row.description_raw) = optional(sections.first("DESC"));
    (row.url, row.url_raw) = optional(sections.first("URL"));
    (row.licenses, row.licenses_raw) = optional(sections.joined("LICENSE").as_deref());
    (row.groups, row.groups_raw) = optional(sections.joined("GROUPS").as_deref());
    (row.arch, row.arch_raw) = optional(sections.first("ARCH"));
    row.size = sections.first("SIZE").and_then(number);
    (row.packager, row.packager_raw) = optional(sections.first("PACKAGER"));
    row.build_time = sections.first("BUILDDATE").and_then(number);
    row.install_time = sections.first("INSTALLDATE").and_then(number);
    row.install_reason = match sections.first("REASON") {
        None | Some(b"0") => Some("explicit"),
        Some(b"1") => Some("dependency"),
        Some(_) => None,
    };
    (row.validation, row.validation_raw) = optional(sections.joined("VALIDATION").as_deref());
    row
}

/// Compares the installed files of every package.
pub(super) fn compare(capture: &mut TableCapture<'_>, comparison: &mut Comparison) -> io::Result<()> {
    comparison.begin("pacman");
    let mut files = Files::of(capture)?;
    each_package(capture, &mut |capture, folder, sections| {
        comparison.begin_package();
        compare_package(capture, &mut files, comparison, folder, sections)
    })?;
    comparison.write_summary(capture)
}

fn compare_package(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    comparison: &mut Comparison,
    folder: &[u8],
    sections: &Sections,
) -> io::Result<()> {
    let package = Package {
        name: sections.first("NAME").unwrap_or_default().to_vec(),
        version: sections.first("VERSION").unwrap_or_default().to_vec(),
    };
    let path = [folder, b"/files"].concat();
    let list = files.text(capture, &path, LIST_CAP).unwrap_or_default();
    let settings = settings(&list);
    let path = [folder, b"/mtree"].concat();
    let packed = match files.open(&path) {
        Ok(open) => open.file,
        Err(reason) => {
            capture.gap(text(&path).0, &reason);
            return Ok(());
        }
    };
    let mut unpacked = BufReader::new(MultiGzDecoder::new(BufReader::new(packed)).take(MTREE_CAP));
    let mut mtree = Mtree::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match unpacked.by_ref().take(LINE_CAP).read_until(b'\n', &mut line) {
            Ok(0) if unpacked.get_ref().limit() == 0 => {
                let reason = format!("longer than {MTREE_CAP} bytes, not read further");
                capture.gap(text(&path).0, &io::Error::new(io::ErrorKind::FileTooLarge, reason));
                return Ok(());
            }
            Ok(0) => return Ok(()),
            Err(reason) => {
                capture.gap(text(&path).0, &reason);
                return Ok(());
            }
            Ok(_) => {}
        }
        if let Some(mut expected) = mtree.entry(&line) {
            let below = expected.path.get(1..).unwrap_or_default();
            expected.attribute = settings.contains(below).then_some('c');
            comparison.compare(capture, &package, &expected)?;
        }
    }
}

/// The settings of a package, which stand last in its list of files, each with its digest behind a tab.
fn settings(files: &[u8]) -> HashSet<&[u8]> {
    let mut all = lines(files).skip_while(|line| *line != b"%BACKUP%").skip(1);
    std::iter::from_fn(|| {
        let line = all.next()?;
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        line.get(..tab)
    })
    .collect()
}

/// A list of files with digests (mtree(5)), read line by line.
#[derive(Default)]
struct Mtree {
    settled: Vec<u8>,
}

impl Mtree {
    /// What a line says of a file; nothing where it sets what holds for later ones, or names what is no file of the host.
    fn entry(&mut self, line: &[u8]) -> Option<Expected> {
        let line = line.trim_ascii();
        if let Some(settings) = line.strip_prefix(b"/set ") {
            self.settled = settings.to_vec();
            return None;
        }
        let mut words = fields(line);
        let path = unescaped(words.next()?.strip_prefix(b"./")?);
        // What the package holds for pacman itself lies at its top and begins with a dot.
        if path.starts_with(b".") && !path.contains(&b'/') {
            return None;
        }
        let mut expected = Expected { path: [b"/", &path[..]].concat(), ..Expected::default() };
        for word in fields(&self.settled).chain(words) {
            let equals = word.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (word.get(..equals)?, word.get(equals + 1..)?);
            match name {
                b"type" => expected.kind = kind_of(value),
                b"uid" => expected.user = number(value).map(Owner::Id),
                b"gid" => expected.group = number(value).map(Owner::Id),
                b"mode" => expected.mode = u32::from_str_radix(std::str::from_utf8(value).ok()?, 8).ok(),
                b"size" => expected.size = number(value),
                b"time" => expected.mtime = value.split(|byte| *byte == b'.').next().and_then(number),
                b"link" => expected.target = Some(unescaped(value)),
                b"sha256digest" | b"sha256" => {
                    expected.digest = from_hexadecimal(value).map(|digest| (Algorithm::Sha256, digest));
                }
                b"md5digest" | b"md5" if expected.digest.is_none() => {
                    expected.digest = from_hexadecimal(value).map(|digest| (Algorithm::Md5, digest));
                }
                _ => {}
            }
        }
        if expected.kind != Some(ItemKind::File) {
            (expected.size, expected.digest) = (None, None);
        }
        match expected.kind {
            Some(ItemKind::Symlink) => expected.mode = None,
            Some(ItemKind::Directory) => expected.mtime = None,
            _ => {}
        }
        Some(expected)
    }
}

fn kind_of(word: &[u8]) -> Option<ItemKind> {
    Some(match word {
        b"file" => ItemKind::File,
        b"dir" => ItemKind::Directory,
        b"link" => ItemKind::Symlink,
        b"char" => ItemKind::CharDevice,
        b"block" => ItemKind::BlockDevice,
        b"fifo" => ItemKind::Fifo,
        b"socket" => ItemKind::Socket,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_by_name() {
        let sections = Sections::parse(b"%NAME%\na\n\n%LICENSE%\nMIT\n%ISC%\n\n%SIZE%\n12\n\n%REASON%\n1\n");
        let found = row(&sections);
        assert_eq!((found.name.as_str(), found.licenses.as_deref()), ("a", Some("MIT,%ISC%")));
        assert_eq!((found.size, found.install_reason), (Some(12), Some("dependency")));
        assert_eq!(row(&Sections::parse(b"\xff\0%%\n%")).name, "");
    }

    #[test]
    fn entries_take_what_was_set_before_them() {
        let mut mtree = Mtree::default();
        assert!(mtree.entry(b"#mtree\n").is_none());
        assert!(mtree.entry(b"/set type=file uid=0 gid=0 mode=644\n").is_none());
        assert!(mtree.entry(b"./.PKGINFO time=1.0 size=3 sha256digest=00\n").is_none());
        let found = mtree.entry(b"./usr/a\\040b mode=755 time=12.5 size=3 md5digest=00ff\n").unwrap();
        assert_eq!((&found.path[..], found.mode, found.mtime), (&b"/usr/a b"[..], Some(0o755), Some(12)));
        assert_eq!(found.digest, Some((Algorithm::Md5, vec![0, 255])));
        let found = mtree.entry(b"./usr/l mode=777 type=link link=a\\134b").unwrap();
        assert_eq!((found.target.as_deref(), found.mode), (Some(&br"a\b"[..]), None));
    }

    #[test]
    fn garbage_entries_are_refused_or_expect_nothing() {
        let mut mtree = Mtree::default();
        for garbage in [&b""[..], b"usr", b"./a nonsense", b"\xff\xff", b"./a mode=\xff"] {
            assert!(mtree.entry(garbage).is_none());
        }
        assert!(mtree.entry(b"./a\\999 size=x sha256digest=x type=x").unwrap().digest.is_none());
    }
}
