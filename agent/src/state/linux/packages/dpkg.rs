//! Owns the table of Debian packages and the reading of dpkg's database; refuses to guess what an entry leaves out.

use std::io;

use serde::Serialize;

use super::control::{Paragraph, Paragraphs};
use crate::state::linux::files::{Files, noted};
use crate::state::linux::text::{fields, number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The folder of the database.
pub(super) const ADMIN: &str = "/var/lib/dpkg";

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "deb_packages",
    about: "Packages by dpkg's database.",
    sources: &["/var/lib/dpkg/status", "/var/lib/dpkg/status.d/*", "/var/lib/dpkg/info/*.list"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One package that dpkg's database names, in whatever state; entries that were never installed are left out.
#[derive(Serialize, Default)]
struct DebRow {
    /// osquery: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Package version, with epoch and revision.
    version: String,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Source package, with its version in parentheses where that differs; null where it is named
    /// as the package is.
    source: Option<String>,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
    /// osquery: Installed size in bytes, as the package states it (in units of 1024 bytes); null where it
    /// does not.
    size: Option<u64>,
    /// osquery: Architecture.
    arch: String,
    /// Derived: Base64 of the exact bytes behind `arch`; null where `arch` is those bytes verbatim.
    arch_raw: Option<String>,
    /// osquery: Debian revision, the part of the version behind its last hyphen; null where there is none.
    revision: Option<String>,
    /// Derived: Base64 of the exact bytes behind `revision`; null where `revision` is those bytes verbatim.
    revision_raw: Option<String>,
    /// osquery: Wanted state, error flag and state, such as `install ok installed`.
    status: String,
    /// Derived: Base64 of the exact bytes behind `status`; null where `status` is those bytes verbatim.
    status_raw: Option<String>,
    /// osquery: Maintainer; null where none is stated.
    maintainer: Option<String>,
    /// Derived: Base64 of the exact bytes behind `maintainer`; null where `maintainer` is those bytes
    /// verbatim.
    maintainer_raw: Option<String>,
    /// osquery: Section; null where none is stated.
    section: Option<String>,
    /// Derived: Base64 of the exact bytes behind `section`; null where `section` is those bytes verbatim.
    section_raw: Option<String>,
    /// osquery: Priority; null where none is stated.
    priority: Option<String>,
    /// Derived: Base64 of the exact bytes behind `priority`; null where `priority` is those bytes verbatim.
    priority_raw: Option<String>,
    /// osquery: Folder of the database.
    admindir: String,
    /// Derived: File that the entry stands in: `status`, or a file of `status.d` in images without dpkg.
    database: String,
    /// Derived: Base64 of the exact bytes behind `database`; null where `database` is those bytes verbatim.
    database_raw: Option<String>,
    /// Derived: When dpkg last wrote the list of its files, Unix seconds: about when it was installed or
    /// upgraded; null where there is no list.
    files_written: Option<i64>,
}

/// One entry of the database and where it stands.
pub(super) struct Entry {
    /// The fields.
    pub(super) fields: Paragraph,
    /// The file, below the database's folder.
    pub(super) database: Vec<u8>,
}

impl Entry {
    /// The package's name; every entry that is handed on has one.
    pub(super) fn name(&self) -> &[u8] {
        self.fields.get("Package").unwrap_or_default()
    }

    /// The package's version.
    pub(super) fn version(&self) -> &[u8] {
        self.fields.get("Version").unwrap_or_default()
    }

    /// Whether it stands in an image without dpkg, where every entry is installed and has its own file.
    pub(super) fn without_dpkg(&self) -> bool {
        self.database != b"status"
    }

    /// What the names of its files in `info` begin with: `name`, or `name:arch` for what can be installed for several
    /// architectures at once.
    pub(super) fn info_name(&self) -> Vec<u8> {
        match (self.fields.get("Multi-Arch"), self.fields.get("Architecture")) {
            (Some(b"same"), Some(arch)) => [self.name(), b":", arch].concat(),
            _ => self.name().to_vec(),
        }
    }
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    each_package(capture, &mut |capture, entry| {
        let list = [&entry.info_name()[..], b".list"].concat();
        // A name that is a path would lead out of the folder.
        let path = Some([ADMIN.as_bytes(), b"/info/", &list].concat()).filter(|_| !list.contains(&b'/'));
        let looked = path.and_then(|path| files.entry(capture, &path));
        capture.row(&row(&entry, looked.map(|looked| looked.modified)))
    })
}

/// Hands on every entry of the database that is installed or was.
pub(super) fn each_package(
    capture: &mut TableCapture<'_>,
    each: &mut dyn FnMut(&mut TableCapture<'_>, Entry) -> io::Result<()>,
) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut databases = vec![b"status".to_vec()];
    let folder = format!("{ADMIN}/status.d");
    let packages = files.names(capture, folder.as_bytes());
    databases.extend(
        packages
            .iter()
            .filter(|name| !name.ends_with(b".md5sums"))
            .map(|name| [&b"status.d/"[..], name].concat()),
    );
    for database in databases {
        let path = [ADMIN.as_bytes(), b"/", &database].concat();
        let opened = files.open(&path);
        let Some(open) = noted(capture, &path, opened) else { continue };
        let mut paragraphs = Paragraphs::of(open.file);
        loop {
            let fields = match paragraphs.next_paragraph() {
                Ok(None) => break,
                Ok(Some(fields)) => fields,
                Err(reason) => {
                    capture.gap(text(&path).0, &reason);
                    break;
                }
            };
            let entry = Entry { fields, database: database.clone() };
            if entry.name().is_empty() {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "an entry without a package name");
                capture.gap(text(&path).0, &reason);
            } else if entry.fields.get("Status").is_none_or(|status| !status.ends_with(b" not-installed")) {
                each(capture, entry)?;
            }
        }
        if let Some(reason) = paragraphs.left_out() {
            capture.gap(text(&path).0, &reason);
        }
    }
    name_pending(capture, &mut files);
    Ok(())
}

/// Changes that an interrupted dpkg left to be merged into `status` are not merged here: they are named.
fn name_pending(capture: &mut TableCapture<'_>, files: &mut Files) {
    let folder = format!("{ADMIN}/updates");
    let pending = files.names(capture, folder.as_bytes());
    if !pending.is_empty() {
        let reason = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} changes that dpkg had not yet merged into its database", pending.len()),
        );
        capture.gap(folder, &reason);
    }
}

fn row(entry: &Entry, files_written: Option<i64>) -> DebRow {
    let field = |name: &str| entry.fields.get(name);
    let mut row = DebRow { admindir: ADMIN.to_owned(), files_written, ..DebRow::default() };
    (row.name, row.name_raw) = text(entry.name());
    (row.version, row.version_raw) = text(entry.version());
    (row.source, row.source_raw) = optional(field("Source"));
    row.size = field("Installed-Size").and_then(number::<u64>).and_then(|units| units.checked_mul(1024));
    (row.arch, row.arch_raw) = text(field("Architecture").unwrap_or_default());
    let hyphen = entry.version().iter().rposition(|byte| *byte == b'-');
    (row.revision, row.revision_raw) = optional(hyphen.and_then(|at| entry.version().get(at + 1..)));
    let status = field("Status").map(|status| fields(status).collect::<Vec<_>>().join(&b' '));
    // Images without dpkg state none: what has a file there is installed.
    (row.status, row.status_raw) = text(status.as_deref().unwrap_or(b"install ok installed"));
    (row.maintainer, row.maintainer_raw) = optional(field("Maintainer"));
    (row.section, row.section_raw) = optional(field("Section"));
    (row.priority, row.priority_raw) = optional(field("Priority"));
    (row.database, row.database_raw) = text(&entry.database);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> DebRow {
        row(&Entry { fields: Paragraph::parse(text.to_vec()), database: b"status".to_vec() }, None)
    }

    #[test]
    fn entry_gives_its_revision_source_and_size_in_bytes() {
        let found = of(b"Package: a\nStatus: deinstall  ok config-files\nInstalled-Size: 3\nVersion: 1:2-rc-4\nSource: b (1)\n");
        assert_eq!((found.name.as_str(), found.version.as_str()), ("a", "1:2-rc-4"));
        assert_eq!((found.revision.as_deref(), found.size), (Some("4"), Some(3072)));
        assert_eq!(
            (found.status.as_str(), found.source.as_deref()),
            ("deinstall ok config-files", Some("b (1)"))
        );
        assert_eq!(of(b"Package: a\nVersion: 2\n").revision, None);
    }

    #[test]
    fn garbage_in_an_entry_is_kept_as_bytes_or_null() {
        let found = of(b"Package: \xff\nVersion: -\nInstalled-Size: 18446744073709551615\n");
        assert_eq!((found.name.as_str(), found.name_raw.as_deref()), (r"\xff", Some("/w==")));
        assert_eq!((found.revision.as_deref(), found.size), (Some(""), None));
    }
}
