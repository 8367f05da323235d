//! Owns the table of Ruby's gems; refuses to evaluate a specification, which is a program.

use std::io;

use serde::Serialize;

use super::lines;
use super::places::places;
use crate::state::linux::files::Files;
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// Where specifications lie.
const PLACES: [&str; 13] = [
    "/var/lib/gems/*/specifications",
    "/usr/share/rubygems-integration/*/specifications",
    "/usr/share/gems/specifications",
    "/usr/lib*/ruby/gems/*/specifications",
    "/usr/lib*/ruby/gems/*/specifications/default",
    "/usr/local/lib/ruby/gems/*/specifications",
    "/usr/local/lib/ruby/gems/*/specifications/default",
    "/usr/local/bundle/specifications",
    "/opt/*/embedded/lib/ruby/gems/*/specifications",
    "~/.gem/ruby/*/specifications",
    "~/.local/share/gem/ruby/*/specifications",
    "~/.rbenv/versions/*/lib/ruby/gems/*/specifications",
    "~/.rvm/gems/*/specifications",
];

/// The longest specification that is read, in bytes.
const FILE_CAP: usize = 4 << 20;

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "gem_packages",
    about: "Ruby gems by their specifications.",
    sources: &["{/var/lib,/usr/lib/ruby,/usr/local,homes}/**/specifications/*.gemspec"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One Ruby gem by its specification.
#[derive(Serialize, Default)]
struct GemRow {
    /// Derived: Gem name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Version, with the platform where the file name has one.
    version: String,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// Derived: Summary; null where none is stated.
    summary: Option<String>,
    /// Derived: Base64 of the exact bytes behind `summary`; null where `summary` is those bytes verbatim.
    summary_raw: Option<String>,
    /// Derived: Project page; null where none is stated.
    homepage: Option<String>,
    /// Derived: Base64 of the exact bytes behind `homepage`; null where `homepage` is those bytes verbatim.
    homepage_raw: Option<String>,
    /// Derived: Path of the specification.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: When the specification was last written, Unix seconds: about when it was installed; null
    /// where unknown.
    files_written: Option<i64>,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for directory in places(capture, &mut files, &PLACES)? {
        for entry in files.entries(capture, &directory) {
            let Some(stem) = entry.name.strip_suffix(b".gemspec") else { continue };
            let Some(content) = files.text(capture, &entry.path, FILE_CAP) else { continue };
            let mut row = row(&content, stem);
            (row.path, row.path_raw) = text(&entry.path);
            row.files_written = Some(entry.modified);
            capture.row(&row)?;
        }
    }
    Ok(())
}

fn row(content: &[u8], stem: &[u8]) -> GemRow {
    let mut row = GemRow::default();
    let stated = assigned(content, b".name");
    // The version begins behind the last hyphen that a digit follows, where the specification does not say the name.
    let by_digit = stem.windows(2).rposition(|pair| matches!(pair, [b'-', b'0'..=b'9']));
    let end = match stated {
        Some(name) if stem.starts_with(name) && stem.get(name.len()) == Some(&b'-') => Some(name.len()),
        _ => by_digit,
    };
    let (name, version) = match end {
        Some(end) => (stem.get(..end).unwrap_or(stem), stem.get(end + 1..).unwrap_or_default()),
        None => (stem, &b""[..]),
    };
    (row.name, row.name_raw) = text(name);
    (row.version, row.version_raw) = text(version);
    (row.summary, row.summary_raw) = optional(assigned(content, b".summary"));
    (row.homepage, row.homepage_raw) = optional(assigned(content, b".homepage"));
    row
}

/// The text in quotes that a line such as `s.summary = "text".freeze` assigns.
fn assigned<'c>(content: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    lines(content).find_map(|line| {
        let line = line.trim_ascii();
        let dot = line.iter().position(|byte| *byte == b'.')?;
        let value =
            line.get(dot..)?.strip_prefix(name)?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let quote = *value.first().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let end = value.get(1..)?.iter().position(|byte| *byte == quote)?;
        value.get(1..=end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_version_are_parted_by_what_the_specification_says() {
        let content = b"Gem::Specification.new do |s|\n  s.name = \"net-2-x\".freeze\n  s.summary = 'Nets'\n  s.homepage = \"a";
        let found = row(content, b"net-2-x-1.0-x86_64-linux");
        assert_eq!((found.name.as_str(), found.version.as_str()), ("net-2-x", "1.0-x86_64-linux"));
        assert_eq!((found.summary.as_deref(), found.homepage), (Some("Nets"), None));
        let found = row(b"\xff\0", b"net-http-1.2");
        assert_eq!((found.name.as_str(), found.version.as_str()), ("net-http", "1.2"));
        assert_eq!(row(b"", b"odd").version, "");
    }
}
