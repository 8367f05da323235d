//! Owns the table of kernel modules, seen from two sides; refuses to load or name any that neither side shows.

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;

use super::kernel::{self, noted, sys_name};
use super::process_folders::keep_small;
use super::text::{fields, number, one_line, optional, text};
use crate::source::KernelTree;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "kernel_modules",
    about: "Kernel modules with the reasons they taint the kernel.",
    sources: &["/proc/modules", "/sys/module/*", "/proc/sys/kernel/tainted"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_modules,
};

/// One kernel module, loaded or built in with a visible state.
#[derive(Serialize, Default)]
struct ModuleRow {
    /// osquery: Module name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Size in memory in bytes; null where only `/sys/module` shows it.
    size: Option<u64>,
    /// osquery: Modules that use it, separated by commas; `-` for none, empty where unknown.
    used_by: String,
    /// Derived: Base64 of the exact bytes behind `used_by`; null where `used_by` is those bytes verbatim.
    used_by_raw: Option<String>,
    /// osquery: Live, Loading or Unloading; for a module only in `/sys/module` its `initstate`.
    status: Option<String>,
    /// osquery: Load address; zero where the kernel hides it. Null where only `/sys/module` shows it.
    address: Option<String>,
    /// Derived: Reference count; null where unknown.
    references: Option<i64>,
    /// Derived: Why it taints the kernel, in the kernel's letters (O out of tree, E unsigned, P proprietary,
    /// ...); empty for none, null where unknown.
    taint: Option<String>,
    /// Derived: Version the module states; null where none.
    version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// Derived: Checksum of its source (`srcversion`); null where none.
    source_version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `source_version`; null where `source_version` is those bytes
    /// verbatim.
    source_version_raw: Option<String>,
    /// Derived: Whether `/proc/modules` shows it.
    in_proc: bool,
    /// Derived: Whether `/sys/module` shows it; a module in only one of the two hides from the other.
    in_sys: bool,
}

/// Captures the table: what `/proc/modules` lists, then what only `/sys/module` shows.
pub(super) fn capture_modules(capture: &mut TableCapture<'_>) -> io::Result<()> {
    keep_small(capture, "/proc/sys/kernel/tainted");
    let folder = noted(capture, "/sys/module", KernelTree::open_sys(b"/sys/module"));
    let mut listed = BTreeSet::new();
    match capture.keep_raw("/proc/modules") {
        // A kernel without modules has no such file, and neither has one that hides it.
        Err(reason) => capture.gap("/proc/modules", &reason),
        Ok(list) => {
            for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let (Some(mut row), Some(name)) = (parse_module(line), fields(line).next()) else {
                    capture
                        .gap(text(line).0, &io::Error::new(io::ErrorKind::InvalidData, "not a module line"));
                    continue;
                };
                let name = sys_name(name);
                add_attributes(&mut row, folder.as_ref(), &name);
                listed.insert(name);
                capture.row(&row)?;
            }
        }
    }
    folder.map_or(Ok(()), |folder| capture_unlisted(capture, &folder, &listed))
}

fn capture_unlisted(
    capture: &mut TableCapture<'_>,
    folder: &KernelTree,
    listed: &BTreeSet<Vec<u8>>,
) -> io::Result<()> {
    for entry in kernel::listed(capture, folder, folder.folders()) {
        if listed.contains(entry.name()) {
            continue;
        }
        let mut row = ModuleRow::default();
        (row.name, row.name_raw) = text(entry.name());
        add_attributes(&mut row, Some(folder), entry.name());
        // Only modules that were loaded have a state; what is built in has parameters at most.
        if row.status.is_some() {
            capture.row(&row)?;
        }
    }
    Ok(())
}

/// `name size references users state address (taint)`
fn parse_module(line: &[u8]) -> Option<ModuleRow> {
    let mut columns = fields(line);
    let (name, name_raw) = text(columns.next()?);
    let size = number(columns.next()?)?;
    let references = number(columns.next()?);
    let users = columns.next()?;
    let (used_by, used_by_raw) = text(users.strip_suffix(b",").unwrap_or(users));
    let status = columns.next().map(|status| text(status).0);
    let address = columns.next().map(|address| text(address).0);
    let taint = columns.next().map_or_else(String::new, |taint| text(taint).0);
    Some(ModuleRow {
        name,
        name_raw,
        size: Some(size),
        used_by,
        used_by_raw,
        status,
        address,
        references,
        taint: Some(taint.trim_matches(['(', ')']).to_owned()),
        in_proc: true,
        ..ModuleRow::default()
    })
}

/// Adds what `/sys/module/<name>` tells.
fn add_attributes(row: &mut ModuleRow, folder: Option<&KernelTree>, name: &[u8]) {
    let module = folder.filter(|_| !name.starts_with(b".")).and_then(|folder| folder.folder(name).ok());
    let attribute = |file: &str| {
        let value = module.as_ref()?.prefix(file.as_bytes(), 4096).ok()?;
        Some(one_line(&value.bytes).to_vec())
    };
    let state = attribute("initstate").map(|state| text(&state).0);
    let (version, version_raw) = optional(attribute("version").as_deref());
    let (source_version, source_version_raw) = optional(attribute("srcversion").as_deref());
    let taint = attribute("taint").map(|taint| text(&taint).0);
    let references = attribute("refcnt").and_then(|count| number(&count));
    row.in_sys = state.is_some();
    row.status = row.status.take().or(state);
    row.taint = row.taint.take().or(taint);
    row.references = row.references.or(references);
    (row.version, row.version_raw) = (version, version_raw);
    (row.source_version, row.source_version_raw) = (source_version, source_version_raw);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_line_gives_users_and_taint() {
        let row = parse_module(b"evil 16384 2 a,b, Live 0xffffffffc0a1b000 (OE)").unwrap();
        assert_eq!((row.name.as_str(), row.size, row.references), ("evil", Some(16384), Some(2)));
        assert_eq!((row.used_by.as_str(), row.taint.as_deref()), ("a,b", Some("OE")));
        assert_eq!(row.status.as_deref(), Some("Live"));
    }

    #[test]
    fn garbage_module_lines_are_refused_or_read_but_never_panic() {
        for garbage in [&b""[..], b"a", b"a b c d", b"a 1", b"a 1 -", b"\xff 99999999999999999999999 0 -"] {
            assert!(parse_module(garbage).is_none());
        }
        assert_eq!(parse_module(b"a\xff 1 - -").unwrap().references, None);
    }
}
