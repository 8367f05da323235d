//! Owns the table of Node's packages; refuses to run what a package says, and to follow folders in circles.

use std::collections::HashSet;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::places::{can_reach, mounts, places};
use crate::source::FileIdentity;
use crate::state::linux::files::{Files, join, noted};
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// Where packages are installed for all projects.
const PLACES: [&str; 9] = [
    "/usr/lib/node_modules",
    "/usr/lib64/node_modules",
    "/usr/local/lib/node_modules",
    "/opt/*/lib/node_modules",
    "~/.npm-global/lib/node_modules",
    "~/.local/lib/node_modules",
    "~/.nvm/versions/node/*/lib/node_modules",
    "~/.config/yarn/global/node_modules",
    "~/node_modules",
];

/// The longest package.json that is read, in bytes.
const FILE_CAP: usize = 4 << 20;
/// How deep packages are followed into packages.
const DEPTH_CAP: u64 = 16;
/// Most folders of packages that are looked into.
const FOLDERS_CAP: usize = 100_000;

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "npm_packages",
    about: "Node packages in the folders that are installed into for all projects.",
    sources: &["{/usr/lib,/usr/local/lib,/opt/*/lib,homes}/node_modules/**/package.json"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One Node package by its package.json, in the folders that are installed into for all projects.
#[derive(Serialize, Default)]
struct NpmRow {
    /// osquery: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Version; null where none is stated.
    version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Description; null where none is stated.
    description: Option<String>,
    /// Derived: Base64 of the exact bytes behind `description`; null where `description` is those bytes
    /// verbatim.
    description_raw: Option<String>,
    /// osquery: Author; null where none is stated.
    author: Option<String>,
    /// Derived: Base64 of the exact bytes behind `author`; null where `author` is those bytes verbatim.
    author_raw: Option<String>,
    /// osquery: Licence; null where none is stated.
    license: Option<String>,
    /// Derived: Base64 of the exact bytes behind `license`; null where `license` is those bytes verbatim.
    license_raw: Option<String>,
    /// osquery: Project page; null where none is stated.
    homepage: Option<String>,
    /// Derived: Base64 of the exact bytes behind `homepage`; null where `homepage` is those bytes verbatim.
    homepage_raw: Option<String>,
    /// osquery: Path of its package.json.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: Folder node_modules that it was found below.
    directory: String,
    /// Derived: Base64 of the exact bytes behind `directory`; null where `directory` is those bytes
    /// verbatim.
    directory_raw: Option<String>,
    /// osquery: How deep it is nested in other packages; 0 where it is not.
    depth: u64,
    /// Derived: What npm runs as it installs the package: its scripts preinstall, install and postinstall,
    /// one a line; null where none.
    install_scripts: Option<String>,
    /// Derived: Base64 of the exact bytes behind `install_scripts`; null where `install_scripts` is those
    /// bytes verbatim.
    install_scripts_raw: Option<String>,
}

/// What a package says of itself; anything but text is left to the columns that know other forms.
#[derive(Deserialize, Default)]
struct Manifest {
    #[serde(default)]
    name: Value,
    #[serde(default)]
    version: Value,
    #[serde(default)]
    description: Value,
    #[serde(default)]
    author: Value,
    #[serde(default)]
    license: Value,
    #[serde(default)]
    homepage: Value,
    #[serde(default)]
    scripts: Value,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mounts = mounts(capture);
    for directory in places(capture, &mut files, &PLACES)? {
        let mut seen: HashSet<FileIdentity> = HashSet::new();
        let mut waiting = vec![(directory.clone(), 0)];
        while let Some((folder, depth)) = waiting.pop() {
            capture.go_on()?;
            if !can_reach(capture, &mounts, &folder) {
                continue;
            }
            let identity = files.folder(&folder);
            let Some(identity) = noted(capture, &folder, identity) else { continue };
            if depth > DEPTH_CAP {
                let reason = "packages deeper than are followed";
                capture.gap(text(&folder).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                continue;
            }
            if seen.len() >= FOLDERS_CAP {
                let reason = "more folders of packages than are followed";
                capture.gap(text(&folder).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                break;
            }
            if !seen.insert(identity) {
                continue;
            }
            for name in files.names(capture, &folder) {
                let package = join(&folder, &name);
                match name.first() {
                    Some(b'.') | None => {}
                    // A scope holds packages as node_modules does.
                    Some(b'@') => waiting.push((package, depth)),
                    Some(_) => {
                        capture_package(capture, &mut files, &directory, &package, depth)?;
                        waiting.push(([&package[..], b"/node_modules"].concat(), depth + 1));
                    }
                }
            }
        }
    }
    Ok(())
}

fn capture_package(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    directory: &[u8],
    package: &[u8],
    depth: u64,
) -> io::Result<()> {
    let path = [package, b"/package.json"].concat();
    let Some(manifest) = files.text(capture, &path, FILE_CAP) else { return Ok(()) };
    match serde_json::from_slice::<Manifest>(&manifest) {
        Ok(manifest) => {
            let mut row = row(&manifest, package);
            (row.path, row.path_raw) = text(&path);
            (row.directory, row.directory_raw) = text(directory);
            row.depth = depth;
            capture.row(&row)
        }
        Err(reason) => {
            capture.gap(text(&path).0, &reason.into());
            Ok(())
        }
    }
}

fn row(manifest: &Manifest, package: &[u8]) -> NpmRow {
    /// A text, or that of the first field an object has.
    fn shown<'v>(value: &'v Value, fields: &[&str]) -> Option<&'v [u8]> {
        value
            .as_str()
            .or_else(|| fields.iter().find_map(|field| value.get(field)?.as_str()))
            .map(str::as_bytes)
    }
    let folder = package.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let scripts: Vec<&str> = ["preinstall", "install", "postinstall"]
        .iter()
        .filter_map(|script| manifest.scripts.get(script)?.as_str())
        .collect();
    let scripts = Some(scripts.join("\n")).filter(|scripts| !scripts.is_empty());
    let mut row = NpmRow::default();
    (row.name, row.name_raw) = text(shown(&manifest.name, &[]).unwrap_or(folder));
    (row.version, row.version_raw) = optional(shown(&manifest.version, &[]));
    (row.description, row.description_raw) = optional(shown(&manifest.description, &[]));
    (row.author, row.author_raw) = optional(shown(&manifest.author, &["name", "email"]));
    (row.license, row.license_raw) = optional(shown(&manifest.license, &["type", "name"]));
    (row.homepage, row.homepage_raw) = optional(shown(&manifest.homepage, &["url"]));
    (row.install_scripts, row.install_scripts_raw) = optional(scripts.as_deref().map(str::as_bytes));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_of_any_form_is_shown() {
        let manifest = br#"{"name":7,"author":{"name":"A"},"license":{"type":"MIT"},"scripts":{"postinstall":"sh x"},"x":[[]]}"#;
        let found = row(&serde_json::from_slice(manifest).unwrap(), b"/n/folder");
        assert_eq!((found.name.as_str(), found.author.as_deref()), ("folder", Some("A")));
        assert_eq!((found.license.as_deref(), found.install_scripts.as_deref()), (Some("MIT"), Some("sh x")));
        assert_eq!(found.version, None);
        assert!(serde_json::from_slice::<Manifest>(b"[\xff]").is_err());
    }
}
