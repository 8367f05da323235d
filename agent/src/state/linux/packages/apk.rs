//! Owns the table of Alpine's packages and what apk's database expects of their files; refuses to ask apk.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_schemas::item::ItemKind;
use serde::Serialize;

use super::compare::Comparison;
use super::control::{Paragraph, Paragraphs};
use super::expected::{Algorithm, Expected, Owner, Package};
use crate::state::linux::files::{Files, noted};
use crate::state::linux::text::{number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// Where the database lies; the second since `/lib` is a link to `/usr/lib`.
const FOLDERS: [&str; 2] = ["/lib/apk/db", "/usr/lib/apk/db"];

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "apk_packages",
    about: "Packages by apk's database (Alpine).",
    sources: &["/{lib,usr/lib}/apk/db/installed"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One package that apk's database (Alpine) names as installed.
#[derive(Serialize, Default)]
struct ApkRow {
    /// Derived: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Package version, with its release.
    version: String,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// Derived: Package that it was built from (origin); null where none is stated.
    source: Option<String>,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
    /// Derived: Architecture; null where none is stated.
    arch: Option<String>,
    /// Derived: Base64 of the exact bytes behind `arch`; null where `arch` is those bytes verbatim.
    arch_raw: Option<String>,
    /// Derived: Installed size in bytes; null where none is stated.
    size: Option<u64>,
    /// Derived: Description; null where none is stated.
    description: Option<String>,
    /// Derived: Base64 of the exact bytes behind `description`; null where `description` is those bytes
    /// verbatim.
    description_raw: Option<String>,
    /// Derived: Project page; null where none is stated.
    url: Option<String>,
    /// Derived: Base64 of the exact bytes behind `url`; null where `url` is those bytes verbatim.
    url_raw: Option<String>,
    /// Derived: Licence; null where none is stated.
    license: Option<String>,
    /// Derived: Base64 of the exact bytes behind `license`; null where `license` is those bytes verbatim.
    license_raw: Option<String>,
    /// Derived: Maintainer; null where none is stated.
    maintainer: Option<String>,
    /// Derived: Base64 of the exact bytes behind `maintainer`; null where `maintainer` is those bytes
    /// verbatim.
    maintainer_raw: Option<String>,
    /// Derived: When it was built, Unix seconds; null where none is stated.
    build_time: Option<u64>,
    /// Derived: Commit of the build recipe; null where none is stated.
    commit: Option<String>,
    /// Derived: Base64 of the exact bytes behind `commit`; null where `commit` is those bytes verbatim.
    commit_raw: Option<String>,
    /// Derived: Checksum of the package as the database writes it; null where none is stated.
    checksum: Option<String>,
    /// Derived: Base64 of the exact bytes behind `checksum`; null where `checksum` is those bytes verbatim.
    checksum_raw: Option<String>,
    /// Derived: File of the database.
    database: String,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_package(capture, &mut |capture, database, fields| capture.row(&row(fields, database)))
}

type Each<'e> = dyn FnMut(&mut TableCapture<'_>, &str, &Paragraph) -> io::Result<()> + 'e;

fn each_package(capture: &mut TableCapture<'_>, each: &mut Each<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut seen = Vec::new();
    for folder in FOLDERS {
        let identity = files.folder(folder.as_bytes());
        let Some(identity) = noted(capture, folder.as_bytes(), identity) else { continue };
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        let path = format!("{folder}/installed");
        let opened = files.open(path.as_bytes());
        let Some(open) = noted(capture, path.as_bytes(), opened) else { continue };
        let mut paragraphs = Paragraphs::of(open.file);
        loop {
            match paragraphs.next_paragraph() {
                Ok(None) => break,
                Ok(Some(fields)) => each(capture, &path, &fields)?,
                Err(reason) => {
                    capture.gap(&path, &reason);
                    break;
                }
            }
        }
        if let Some(reason) = paragraphs.left_out() {
            capture.gap(&path, &reason);
        }
    }
    Ok(())
}

/// The value of a field, whose name is one letter and counts with its case.
fn field(fields: &Paragraph, letter: u8) -> Option<&[u8]> {
    fields.all().find(|(name, _)| *name == [letter]).map(|(_, value)| value)
}

fn row(fields: &Paragraph, database: &str) -> ApkRow {
    let field = |letter| field(fields, letter);
    let mut row = ApkRow { database: database.to_owned(), ..ApkRow::default() };
    (row.name, row.name_raw) = text(field(b'P').unwrap_or_default());
    (row.version, row.version_raw) = text(field(b'V').unwrap_or_default());
    (row.source, row.source_raw) = optional(field(b'o'));
    (row.arch, row.arch_raw) = optional(field(b'A'));
    row.size = field(b'I').and_then(number);
    (row.description, row.description_raw) = optional(field(b'T'));
    (row.url, row.url_raw) = optional(field(b'U'));
    (row.license, row.license_raw) = optional(field(b'L'));
    (row.maintainer, row.maintainer_raw) = optional(field(b'm'));
    row.build_time = field(b't').and_then(number);
    (row.commit, row.commit_raw) = optional(field(b'c'));
    (row.checksum, row.checksum_raw) = optional(field(b'C'));
    row
}

/// Compares the installed files of every package.
pub(super) fn compare(capture: &mut TableCapture<'_>, comparison: &mut Comparison) -> io::Result<()> {
    comparison.begin("apk");
    each_package(capture, &mut |capture, _, fields| {
        let package = Package {
            name: field(fields, b'P').unwrap_or_default().to_vec(),
            version: field(fields, b'V').unwrap_or_default().to_vec(),
        };
        comparison.begin_package();
        each_file(fields, &mut |expected| comparison.compare(capture, &package, &expected))
    })?;
    comparison.write_summary(capture)
}

/// Folders (F) hold files (R), each with its owner and mode (a) where they are not root's and 644, and its checksum (Z).
fn each_file(fields: &Paragraph, each: &mut dyn FnMut(Expected) -> io::Result<()>) -> io::Result<()> {
    let mut folder: &[u8] = b"";
    let mut file: Option<Expected> = None;
    for (name, value) in fields.all() {
        match name {
            b"F" | b"R" => {
                if let Some(file) = file.take() {
                    each(file)?;
                }
                if name == b"R" {
                    file = Some(expected_file(folder, value));
                } else {
                    folder = value;
                    if !folder.is_empty() {
                        let path = [b"/", folder].concat();
                        each(Expected { path, kind: Some(ItemKind::Directory), ..Expected::default() })?;
                    }
                }
            }
            b"a" => {
                if let Some(file) = &mut file {
                    add_owner_and_mode(file, value);
                }
            }
            b"Z" => {
                if let Some(file) = &mut file {
                    file.digest = checksum(value);
                }
            }
            _ => {}
        }
    }
    file.map_or(Ok(()), each)
}

fn expected_file(folder: &[u8], name: &[u8]) -> Expected {
    let path = if folder.is_empty() { [b"/", name].concat() } else { [b"/", folder, b"/", name].concat() };
    Expected {
        // What apk protects is what was meant to be edited.
        attribute: (folder == b"etc" || folder.starts_with(b"etc/")).then_some('c'),
        path,
        user: Some(Owner::Id(0)),
        group: Some(Owner::Id(0)),
        mode: Some(0o644),
        ..Expected::default()
    }
}

/// `uid:gid:mode`, and in some versions a checksum of extended attributes.
fn add_owner_and_mode(file: &mut Expected, value: &[u8]) {
    let mut columns = value.split(|byte| *byte == b':');
    let mut next = |radix| u32::from_str_radix(std::str::from_utf8(columns.next()?).ok()?, radix).ok();
    file.user = next(10).map(Owner::Id);
    file.group = next(10).map(Owner::Id);
    file.mode = next(8).map(|mode| mode & 0o7777);
}

/// `Q1` and SHA-1, or `Q2` and SHA-256, in base64; of the target where the file is a link.
fn checksum(value: &[u8]) -> Option<(Algorithm, Vec<u8>)> {
    let (algorithm, length, encoded) = match value.split_at_checked(2)? {
        (b"Q1", encoded) => (Algorithm::Sha1, 20, encoded),
        (b"Q2", encoded) => (Algorithm::Sha256, 32, encoded),
        _ => return None,
    };
    let digest = STANDARD.decode(encoded).ok()?;
    (digest.len() == length).then_some((algorithm, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_with_owner_mode_and_checksum() {
        let entry = b"P:musl\nV:1.2-r0\nF:\nF:lib\nR:libc.so\na:0:5:755\nZ:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nR:plain\nF:etc\nR:set\nZ:Q9\n";
        let mut found = Vec::new();
        each_file(&Paragraph::parse(entry.to_vec()), &mut |file| {
            found.push(file);
            Ok(())
        })
        .unwrap();
        let paths: Vec<&[u8]> = found.iter().map(|file| &file.path[..]).collect();
        assert_eq!(paths, [&b"/lib"[..], b"/lib/libc.so", b"/lib/plain", b"/etc", b"/etc/set"]);
        assert_eq!((found[1].mode, found[2].mode), (Some(0o755), Some(0o644)));
        assert_eq!(found[1].digest, Some((Algorithm::Sha1, vec![0; 20])));
        assert_eq!((&found[4].digest, found[4].attribute), (&None, Some('c')));
    }

    #[test]
    fn garbage_is_no_file() {
        let entry = b"a:x\nZ:Q1\nR:\nZ:Q1!!!\na:\xff:\n";
        let mut count = 0;
        each_file(&Paragraph::parse(entry.to_vec()), &mut |file| {
            count += 1;
            assert!(file.digest.is_none() && file.mode.is_none());
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 1);
        assert_eq!(row(&Paragraph::parse(b"I:-1\nt:x".to_vec()), "").size, None);
    }
}
