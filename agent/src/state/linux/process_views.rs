//! Owns the table of processes that not every view of the kernel shows; refuses to name one that only began or ended
//! while it looked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;

use super::hidden_processes::{ListedPids, each_unlisted};
use super::process_folders::each_process;
use super::process_stat::status_value;
use super::text::{fields, number, text};
use crate::source::{KernelFolder, kernel_dir, kernel_text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "hidden_processes",
    about: "Processes that one view of the kernel shows and another one does not.",
    sources: &[
        "/proc",
        "kill(2) with signal 0",
        "/sys/fs/cgroup/**/cgroup.procs",
        "/proc/<pid>/task/<tid>/children",
        "/proc/net/netlink",
    ],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_hidden,
};

/// Most control groups, and folders one below the other.
const MAX_GROUPS: usize = 20_000;
const MAX_DEPTH: usize = 32;

/// A view of the kernel, in the order a row names them.
const LISTING: &str = "listing of /proc";
const PROBE: &str = "probe by number";
const GROUPS: &str = "control groups";
const CHILDREN: &str = "children of processes";
const NETLINK: &str = "owners of netlink sockets";

/// One process about which the views disagree.
#[derive(Serialize)]
struct HiddenRow {
    /// Derived: Process id.
    pid: u32,
    /// Derived: Its own name; null where its folder cannot be read.
    name: Option<String>,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Views that show it.
    seen_in: Vec<&'static str>,
    /// Derived: Views that must show every process and do not show it.
    missing_from: Vec<&'static str>,
}

/// What each view shows.
type Views = BTreeMap<&'static str, BTreeSet<u32>>;

fn capture_hidden(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let first = disagreements(&look(capture)?);
    if first.is_empty() {
        return Ok(());
    }
    // Whoever began or ended meanwhile agrees the second time, or is gone.
    let second = look(capture)?;
    for (pid, missing_from) in disagreements(&second) {
        if first.get(&pid) != Some(&missing_from) {
            continue;
        }
        let seen_in: Vec<&str> =
            second.iter().filter(|(_, pids)| pids.contains(&pid)).map(|(view, _)| *view).collect();
        let name = KernelFolder::of_process(pid).and_then(|process| process.prefix("comm", 64)).ok();
        let (name, name_raw) = super::text::optional(name.as_ref().map(|name| name.bytes.trim_ascii()));
        capture.row(&HiddenRow { pid, name, name_raw, seen_in, missing_from })?;
    }
    Ok(())
}

/// Processes that a view misses which must show every process: the listing and the probe.
fn disagreements(views: &Views) -> BTreeMap<u32, Vec<&'static str>> {
    let all: BTreeSet<u32> = views.values().flatten().copied().collect();
    let misses = |pid: u32| -> Vec<&'static str> {
        let complete = [LISTING, PROBE].into_iter();
        complete.filter(|view| views.get(view).is_some_and(|pids| !pids.contains(&pid))).collect()
    };
    all.into_iter().map(|pid| (pid, misses(pid))).filter(|(_, missing)| !missing.is_empty()).collect()
}

fn look(capture: &mut TableCapture<'_>) -> io::Result<Views> {
    let mut views = Views::new();
    let (mut listed, mut listing, mut children) = (ListedPids::default(), BTreeSet::new(), BTreeSet::new());
    each_process(capture, &mut |_, pid, process| {
        listed.add(pid);
        listing.insert(pid);
        for task in process.names("task").into_iter().flatten().flatten() {
            let Some(task) = number::<u32>(&task) else { continue };
            let Ok(text) = process.prefix(&format!("task/{task}/children"), 1 << 20) else { continue };
            children.extend(fields(&text.bytes).filter_map(number::<u32>));
        }
        Ok(())
    })?;
    let mut probed = listing.clone();
    each_unlisted(capture, &listed, &mut |_, pid, _, _| {
        probed.insert(pid);
        Ok(())
    })?;
    // A number that is listed and does not answer is missing from the probe.
    probed.retain(|pid| super::hidden_processes::answers(*pid));
    let (groups, netlink) = (of_control_groups(), of_netlink());
    let first_threads = |pids: BTreeSet<u32>| pids.into_iter().filter(|pid| is_first_thread(*pid)).collect();
    views.insert(CHILDREN, first_threads(children));
    views.insert(GROUPS, first_threads(groups));
    views.insert(NETLINK, first_threads(netlink));
    views.insert(LISTING, listing);
    views.insert(PROBE, probed);
    Ok(views)
}

/// Whether a number is a process's own, not another thread's, by a folder that need not be listed.
fn is_first_thread(pid: u32) -> bool {
    match KernelFolder::of_process(pid).and_then(|process| process.prefix("status", 64 << 10)) {
        Ok(status) => status_value(&status.bytes, "Tgid").and_then(number) == Some(pid),
        // It ended, or its folder is hidden as well: then only the probe by number can tell.
        Err(_) => super::hidden_processes::answers(pid),
    }
}

/// Members of every control group of every hierarchy.
fn of_control_groups() -> BTreeSet<u32> {
    let mut pids = BTreeSet::new();
    let mut waiting = vec![("/sys/fs/cgroup".to_owned(), 0)];
    let mut groups = 0;
    while let Some((folder, depth)) = waiting.pop() {
        groups += 1;
        if groups > MAX_GROUPS || depth > MAX_DEPTH {
            break;
        }
        if let Ok(members) = kernel_text(&format!("{folder}/cgroup.procs")) {
            pids.extend(fields(&members).filter_map(number::<u32>).filter(|pid| *pid != 0));
        }
        for name in kernel_dir(&folder).into_iter().flatten().flatten() {
            // Files hold a dot; control groups may, and then end in a kind of unit.
            let name = text(&name).0;
            let is_group = !name.contains('.')
                || [".slice", ".scope", ".service", ".mount"].iter().any(|end| name.ends_with(end));
            if is_group {
                waiting.push((format!("{folder}/{name}"), depth + 1));
            }
        }
    }
    pids
}

/// Port numbers of netlink sockets, which programs by custom give their own process number.
fn of_netlink() -> BTreeSet<u32> {
    let list = kernel_text("/proc/net/netlink").unwrap_or_default();
    let lines = list.split(|byte| *byte == b'\n').skip(1);
    lines.filter_map(|line| number::<u32>(fields(line).nth(2)?)).filter(|pid| *pid != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_a_complete_view_misses_is_named_with_that_view() {
        let set = |pids: &[u32]| pids.iter().copied().collect::<BTreeSet<u32>>();
        let views = Views::from([
            (LISTING, set(&[1, 2])),
            (PROBE, set(&[1, 2, 3])),
            (GROUPS, set(&[4])),
            (CHILDREN, set(&[2])),
        ]);
        let found = disagreements(&views);
        assert_eq!(found, BTreeMap::from([(3, vec![LISTING]), (4, vec![LISTING, PROBE])]));
    }

    #[test]
    fn this_process_is_in_its_control_group_and_is_a_first_thread() {
        assert!(is_first_thread(std::process::id()));
    }
}
