//! Owns the comparison of the kernel's several views of its modules; refuses to call a module hidden that was loaded or
//! unloaded while it looked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;

use super::{listed, noted, sys_name};
use crate::source::{KernelTree, kernel_lines};
use crate::state::linux::text::{fields, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "hidden_kernel_modules",
    about: "Kernel modules that one view of the kernel shows and another does not, twice in a row.",
    sources: &["/proc/modules", "/sys/module/*/{initstate,holders}", "/proc/kallsyms"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_hidden,
};

/// One module on which the views disagree. A module whose code has no symbol is in no `/proc/kallsyms`, which alone
/// says little.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct HiddenRow {
    /// Derived: Module name, with `!` for a slash as in `/sys`.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Whether `/proc/modules` lists it.
    in_proc: bool,
    /// Derived: Whether `/sys/module` shows it with a state.
    in_sys: bool,
    /// Derived: Whether `/proc/kallsyms` has symbols of it.
    in_kallsyms: bool,
    /// Derived: Whether a module that is shown says that it is used by this one.
    named_by_others: bool,
    /// Derived: Views that are there and do not show it, separated by commas.
    missing_from: String,
    /// Derived: Symbols that `/proc/kallsyms` has of it.
    symbols: u64,
}

/// Names in brackets in `/proc/kallsyms` that are the kernel's own and no modules.
const NO_MODULES: &[&[u8]] =
    &[b"bpf", b"__builtin__ftrace", b"__builtin__kprobes", b"__builtin__optprobes", b"__builtin__misc"];

/// Modules that are remembered at most.
const MODULES: usize = 10_000;

/// What the views show at one time. A view that is not there is nothing.
#[derive(Default)]
struct Views {
    proc: Option<BTreeSet<Vec<u8>>>,
    sys: Option<BTreeSet<Vec<u8>>>,
    symbols: Option<BTreeMap<Vec<u8>, u64>>,
    named: BTreeSet<Vec<u8>>,
}

fn capture_hidden(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let first = Views::now(capture).disagreements();
    if first.is_empty() {
        return Ok(());
    }
    // What was loaded or unloaded meanwhile agrees by now.
    for row in Views::now(capture).disagreements() {
        if first.iter().any(|seen| (&seen.name, &seen.missing_from) == (&row.name, &row.missing_from)) {
            capture.row(&row)?;
        }
    }
    Ok(())
}

impl Views {
    fn now(capture: &mut TableCapture<'_>) -> Self {
        let mut views = Self::default();
        views.look_at_proc(capture);
        views.look_at_sys(capture);
        let mut symbols = BTreeMap::new();
        let read = kernel_lines("/proc/kallsyms", &mut |line| add_symbol(&mut symbols, line));
        if noted(capture, "/proc/kallsyms", read).is_some() {
            views.symbols = Some(symbols);
        }
        views
    }

    fn look_at_proc(&mut self, capture: &mut TableCapture<'_>) {
        let mut modules = BTreeSet::new();
        let read = kernel_lines("/proc/modules", &mut |line| {
            let mut columns = fields(line);
            let Some(name) = columns.next() else { return Ok(()) };
            if modules.len() == MODULES {
                return Err(too_many());
            }
            modules.insert(sys_name(name));
            let users = columns.nth(2).unwrap_or_default().split(|byte| *byte == b',');
            // In brackets stand marks such as [permanent], no names.
            self.named.extend(users.filter(|user| !matches!(*user, [] | b"-" | [b'[', ..])).map(sys_name));
            Ok(())
        });
        if noted(capture, "/proc/modules", read).is_some() {
            self.proc = Some(modules);
        }
    }

    fn look_at_sys(&mut self, capture: &mut TableCapture<'_>) {
        let Some(folder) = noted(capture, "/sys/module", KernelTree::open_sys(b"/sys/module")) else {
            return;
        };
        let mut modules = BTreeSet::new();
        for entry in listed(capture, &folder, folder.folders()) {
            let path = String::from_utf8_lossy(&entry.path);
            let Some(module) = noted(capture, &path, folder.folder(entry.name())) else { continue };
            // Only what was loaded has a state.
            if noted(capture, &format!("{path}/initstate"), module.prefix(b"initstate", 64)).is_none() {
                continue;
            }
            if modules.len() == MODULES {
                return capture.gap("/sys/module", &too_many());
            }
            if let Some(holders) = noted(capture, &format!("{path}/holders"), module.folder(b"holders")) {
                let holders = listed(capture, &holders, holders.files());
                self.named.extend(holders.iter().map(|holder| sys_name(holder.name())));
            }
            modules.insert(sys_name(entry.name()));
        }
        self.sys = Some(modules);
    }

    fn disagreements(&self) -> Vec<HiddenRow> {
        let mut names: BTreeSet<&Vec<u8>> = self.named.iter().collect();
        names.extend(self.proc.iter().flatten());
        names.extend(self.sys.iter().flatten());
        names.extend(self.symbols.iter().flatten().map(|(name, _)| name));
        names.into_iter().filter_map(|name| self.row(name)).collect()
    }

    fn row(&self, name: &Vec<u8>) -> Option<HiddenRow> {
        let shows = |view: &Option<BTreeSet<Vec<u8>>>| view.as_ref().map(|view| view.contains(name));
        let symbols = self.symbols.as_ref().map(|symbols| symbols.get(name).copied().unwrap_or_default());
        let views = [
            ("/proc/modules", shows(&self.proc)),
            ("/sys/module", shows(&self.sys)),
            ("/proc/kallsyms", symbols.map(|symbols| symbols > 0)),
        ];
        let missing: Vec<&str> =
            views.iter().filter(|(_, shown)| *shown == Some(false)).map(|(view, _)| *view).collect();
        if missing.is_empty() {
            return None;
        }
        let [proc, sys, kallsyms] = views.map(|(_, shown)| shown == Some(true));
        let (name_text, name_raw) = text(name);
        Some(HiddenRow {
            name: name_text,
            name_raw,
            in_proc: proc,
            in_sys: sys,
            in_kallsyms: kallsyms,
            named_by_others: self.named.contains(name),
            missing_from: missing.join(","),
            symbols: symbols.unwrap_or_default(),
        })
    }
}

fn too_many() -> io::Error {
    let reason = format!("more than {MODULES} modules, the view is not compared");
    io::Error::new(io::ErrorKind::QuotaExceeded, reason)
}

/// `address type symbol [module]`
fn add_symbol(symbols: &mut BTreeMap<Vec<u8>, u64>, line: &[u8]) -> io::Result<()> {
    let Some(name) = line.strip_suffix(b"]") else { return Ok(()) };
    let Some(open) = name.iter().rposition(|byte| *byte == b'[') else { return Ok(()) };
    let name = name.get(open + 1..).unwrap_or_default();
    if NO_MODULES.contains(&name) {
        return Ok(());
    }
    let name = sys_name(name);
    if let Some(count) = symbols.get_mut(&name) {
        *count += 1;
    } else if symbols.len() < MODULES {
        symbols.insert(name, 1);
    } else {
        return Err(too_many());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn module_hidden_from_one_view_is_named_with_that_view() {
        let mut symbols = BTreeMap::new();
        for line in [&b"0 t f [evil]"[..], b"0 t g [evil]", b"0 t h [fine]", b"0 t p\t[bpf]", b"0 T _text"] {
            add_symbol(&mut symbols, line).unwrap();
        }
        let views = Views {
            proc: Some(set(&["fine"])),
            sys: Some(set(&["fine"])),
            symbols: Some(symbols),
            named: set(&["fine"]),
        };
        let rows = views.disagreements();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].name.as_str(), rows[0].symbols), ("evil", 2));
        assert_eq!(rows[0].missing_from, "/proc/modules,/sys/module");
    }

    #[test]
    fn name_that_is_no_text_or_has_a_slash_is_the_same_in_every_view() {
        let mut symbols = BTreeMap::new();
        add_symbol(&mut symbols, b"0 t f [a/\xff]").unwrap();
        let sys = Some(BTreeSet::from([b"a!\xff".to_vec()]));
        let views = Views {
            proc: Some(BTreeSet::from([sys_name(b"a/\xff")])),
            sys,
            symbols: Some(symbols),
            ..Views::default()
        };
        assert_eq!(views.disagreements(), []);
    }

    #[test]
    fn view_that_is_not_there_hides_nothing_and_a_name_alone_is_enough() {
        let views = Views { sys: Some(set(&["fine"])), named: set(&["evil"]), ..Views::default() };
        let rows = views.disagreements();
        assert_eq!((rows.len(), rows[0].name.as_str(), rows[0].named_by_others), (1, "evil", true));
        assert_eq!(rows[0].missing_from, "/sys/module");
    }

    #[test]
    fn garbage_symbol_lines_are_harmless() {
        let mut symbols = BTreeMap::new();
        for line in [&b""[..], b"]", b"[]", b"[", b"\xff [\xfe]"] {
            add_symbol(&mut symbols, line).unwrap();
        }
        assert_eq!(symbols.len(), 2);
    }
}
