//! Owns the table of sudo rules with the files they include; refuses to read a file twice.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use super::files::{Files, SMALL, join, logical_lines, split};
use super::row::row;
use super::text::{Twin, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "sudoers",
    about: "Rules, aliases and defaults of sudo, with every file that they include.",
    sources: &["/etc/sudoers", "/etc/sudoers.d/*", "/usr/local/etc/sudoers", "files that they include"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_sudoers,
};

row! {
    /// One line of a sudoers(5) file, with the lines that continue it.
    struct SudoersRow {
        /// osquery: File the line is in.
        source: Twin,
        /// osquery: First word: a user, a group, an alias or a keyword.
        header: Twin,
        /// osquery: The rest of the line.
        rule_details: Twin,
        /// Derived: Number of the line it begins on, from 1.
        line: u64,
    }
}

/// The most files that are read.
const FILES_CAP: usize = 1_024;

fn capture_sudoers(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut paths = Paths::default();
    for path in ["/etc/sudoers", "/usr/local/etc/sudoers"] {
        paths.add(capture, path.as_bytes().to_vec());
    }
    while let Some(path) = paths.left.pop_front() {
        capture.go_on()?;
        capture_file(capture, &mut files, &path, &mut paths)?;
    }
    Ok(())
}

/// The files to read, each once however often it is included.
#[derive(Default)]
struct Paths {
    seen: BTreeSet<Vec<u8>>,
    left: VecDeque<Vec<u8>>,
}

impl Paths {
    fn add(&mut self, capture: &mut TableCapture<'_>, path: Vec<u8>) {
        if self.seen.contains(&path) {
            return;
        }
        if self.seen.len() >= FILES_CAP {
            let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "not read: too many includes");
            capture.gap(text(&path).0, &reason);
            return;
        }
        self.seen.insert(path.clone());
        self.left.push_back(path);
    }
}

fn capture_file(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    path: &[u8],
    paths: &mut Paths,
) -> io::Result<()> {
    let Some(file) = files.text(capture, path, SMALL) else { return Ok(()) };
    for (number, line) in logical_lines(&file, b"", b"") {
        let Some((header, rule_details)) = parse_line(&line) else { continue };
        capture.row(&SudoersRow {
            source: text(path),
            header: text(header),
            rule_details: text(rule_details),
            line: number,
        })?;
        let is_folder = match header {
            b"#include" | b"@include" => false,
            b"#includedir" | b"@includedir" => true,
            _ => continue,
        };
        let at = resolved(path, rule_details);
        if at.windows(2).any(|window| window == b"%h") {
            let reason = "not read: `%h` stands for the name of the host that sudo runs on";
            capture.gap(text(&at).0, &io::Error::new(io::ErrorKind::Unsupported, reason));
        } else if is_folder {
            for entry in files.entries(capture, &at) {
                // sudo passes these by: they are left by editors and package managers.
                if !entry.name.ends_with(b"~") && !entry.name.contains(&b'.') {
                    paths.add(capture, entry.path);
                }
            }
        } else {
            paths.add(capture, at);
        }
    }
    Ok(())
}

/// The path that an include names, which may be quoted, and lies beside the including file where it is relative.
fn resolved(including: &[u8], named: &[u8]) -> Vec<u8> {
    let named = named.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(named);
    let named: Vec<u8> = named.iter().copied().filter(|byte| *byte != b'\\').collect();
    match split(including) {
        Some((folder, _)) if !named.starts_with(b"/") => join(folder, &named),
        _ => named,
    }
}

/// First word and rest of a line; nothing where it is empty or a comment.
fn parse_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (header, rest) = line.split_at_checked(end)?;
    // `#` opens a comment save before an include and before a user's number.
    let comment = header.starts_with(b"#")
        && !matches!(header, b"#include" | b"#includedir")
        && !header.get(1..).is_some_and(|number| {
            !number.is_empty() && number.iter().all(|byte| byte.is_ascii_digit()) && rest.contains(&b'=')
        });
    (!header.is_empty() && !comment).then_some((header, rest.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_from_comments() {
        assert_eq!(parse_line(b" root\tALL=(ALL) ALL "), Some((&b"root"[..], &b"ALL=(ALL) ALL"[..])));
        assert_eq!(parse_line(b"#1000 ALL=ALL"), Some((&b"#1000"[..], &b"ALL=ALL"[..])));
        assert_eq!(parse_line(b"#includedir /etc/x"), Some((&b"#includedir"[..], &b"/etc/x"[..])));
        assert_eq!(parse_line(b"%wheel"), Some((&b"%wheel"[..], &b""[..])));
        for nothing in [&b""[..], b"   ", b"# a comment", b"#include_me", b"#"] {
            assert_eq!(parse_line(nothing), None);
        }
    }

    #[test]
    fn includes_are_resolved_beside_the_file_that_includes() {
        assert_eq!(resolved(b"/etc/sudoers", b"more"), b"/etc/more");
        assert_eq!(resolved(b"/etc/sudoers", b"\"/opt/a b\""), b"/opt/a b");
        assert_eq!(resolved(b"/etc/sudoers", br"/opt/a\ b"), b"/opt/a b");
    }
}
