//! Owns the table of Python packages; refuses to run Python, and to search for environments in whole trees.

use std::io;

use serde::Serialize;

use super::control::{Paragraph, Paragraphs};
use super::lines;
use super::places::places;
use crate::state::linux::files::{Files, is_absent, join};
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// What Python is installed below, or an environment of it.
const PREFIXES: [&str; 21] = [
    "/usr",
    "/usr/local",
    "/opt/*",
    "/opt/*/venv",
    "/opt/*/.venv",
    "/opt/pipx/venvs/*",
    "/opt/conda/envs/*",
    "/srv/*/venv",
    "/srv/*/.venv",
    "/var/www/*/venv",
    "/root/.local",
    "~/.local",
    "~/.local/pipx/venvs/*",
    "~/.local/share/pipx/venvs/*",
    "~/.pyenv/versions/*",
    "~/.virtualenvs/*",
    "~/venv",
    "~/.venv",
    "~/*/venv",
    "~/*/.venv",
    "~/*conda3",
];

/// Folders below a prefix that packages are installed into.
const FOLDERS: [&str; 4] = [
    "lib/python*/site-packages",
    "lib/python*/dist-packages",
    "lib64/python*/site-packages",
    "envs/*/lib/python*/site-packages",
];

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "python_packages",
    about: "Python packages by the metadata that their installers left.",
    sources: &[
        "{/usr,/usr/local,/opt/*,homes,environments}/lib/python*/{dist,site}-packages/*.{dist,egg}-info",
    ],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One Python package by the metadata that its installer left.
#[derive(Serialize, Default)]
struct PythonRow {
    /// osquery: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Version.
    version: String,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Summary; null where none is stated.
    summary: Option<String>,
    /// Derived: Base64 of the exact bytes behind `summary`; null where `summary` is those bytes verbatim.
    summary_raw: Option<String>,
    /// osquery: Author; null where none is stated.
    author: Option<String>,
    /// Derived: Base64 of the exact bytes behind `author`; null where `author` is those bytes verbatim.
    author_raw: Option<String>,
    /// osquery: Licence, or the expression for it; null where none is stated.
    license: Option<String>,
    /// Derived: Base64 of the exact bytes behind `license`; null where `license` is those bytes verbatim.
    license_raw: Option<String>,
    /// osquery: Path of its metadata.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: Folder that it is installed in.
    directory: String,
    /// Derived: Base64 of the exact bytes behind `directory`; null where `directory` is those bytes
    /// verbatim.
    directory_raw: Option<String>,
    /// Derived: Program that installed it, such as pip; null where none is stated.
    installer: Option<String>,
    /// Derived: Base64 of the exact bytes behind `installer`; null where `installer` is those bytes
    /// verbatim.
    installer_raw: Option<String>,
    /// Derived: When the metadata was last written, Unix seconds: about when it was installed; null where
    /// unknown.
    files_written: Option<i64>,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let patterns: Vec<String> = PREFIXES
        .iter()
        .flat_map(|prefix| FOLDERS.iter().map(move |folder| format!("{prefix}/{folder}")))
        .collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let mut files = Files::of(capture)?;
    for directory in places(capture, &mut files, &patterns)? {
        for name in files.names(capture, &directory) {
            if name.ends_with(b".dist-info") || name.ends_with(b".egg-info") {
                capture_package(capture, &mut files, &directory, &name)?;
            }
        }
    }
    Ok(())
}

fn capture_package(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    directory: &[u8],
    name: &[u8],
) -> io::Result<()> {
    let path = join(directory, name);
    let inside = join(&path, if name.ends_with(b".dist-info") { b"METADATA" } else { b"PKG-INFO" });
    let opened = match files.open(&inside) {
        // The oldest form is a file instead of a folder.
        Err(reason) if is_absent(&reason) && name.ends_with(b".egg-info") => files.open(&path),
        opened => opened,
    };
    let written = opened.as_ref().ok().and_then(|open| Some(open.look().ok()?.modified_seconds()));
    let fields = opened.and_then(|open| {
        let mut paragraphs = Paragraphs::of(open.file);
        let first = paragraphs.next_paragraph()?;
        paragraphs.left_out().map_or(Ok(first), Err)
    });
    match fields {
        Ok(Some(fields)) if fields.get("Name").is_some() => {
            let installer = files.own_text(capture, &join(&path, b"INSTALLER"), 4096);
            let installer = installer.as_deref().and_then(|installer| lines(installer).next());
            let mut row = row(&fields, directory, &path);
            (row.installer, row.installer_raw) = optional(installer.map(<[u8]>::trim_ascii));
            row.files_written = written;
            capture.row(&row)
        }
        Ok(_) => {
            capture
                .gap(text(&path).0, &io::Error::new(io::ErrorKind::InvalidData, "metadata without a name"));
            Ok(())
        }
        // What was half removed leaves folders without metadata.
        Err(reason) => {
            capture.gap(text(&inside).0, &reason);
            Ok(())
        }
    }
}

fn row(fields: &Paragraph, directory: &[u8], path: &[u8]) -> PythonRow {
    let stated = |name: &str| fields.get(name).filter(|value| !value.is_empty() && *value != b"UNKNOWN");
    let mut row = PythonRow::default();
    (row.name, row.name_raw) = text(fields.get("Name").unwrap_or_default());
    (row.version, row.version_raw) = text(fields.get("Version").unwrap_or_default());
    (row.summary, row.summary_raw) = optional(stated("Summary"));
    (row.author, row.author_raw) = optional(stated("Author").or_else(|| stated("Author-email")));
    (row.license, row.license_raw) = optional(stated("License-Expression").or_else(|| stated("License")));
    (row.path, row.path_raw) = text(path);
    (row.directory, row.directory_raw) = text(directory);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_fields_stand_in_for_older_ones_and_unknown_is_none() {
        let fields = Paragraph::parse(
            b"Name: a\nVersion: 1\nAuthor-email: x@example.gov\nLicense: UNKNOWN\nSummary:\n".to_vec(),
        );
        let found = row(&fields, b"/d", b"/d/a.dist-info");
        assert_eq!(
            (found.author.as_deref(), found.license, found.summary),
            (Some("x@example.gov"), None, None)
        );
    }
}
