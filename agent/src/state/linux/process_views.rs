//! Owns the table of processes that not every view of the kernel shows; refuses to name one that only began or ended
//! while it looked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::io::Errno;
use serde::Serialize;

use super::hidden_processes::{ListedPids, each_answering, is_process};
use super::kernel::each_control_group;
use super::process_folders::has_ended;
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
        "pidfd_open(2)",
        "/sys/fs/cgroup/**/cgroup.procs",
        "/proc/<pid>/task/<tid>/children",
        "/proc/net/netlink",
    ],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_hidden,
};

/// A view of the kernel, in the order a row names them.
const LISTING: &str = "listing of /proc";
const FOLDER: &str = "its folder in /proc";
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

/// Processes that a view misses which must show every process: the listing, its folder and the probe.
fn disagreements(views: &Views) -> BTreeMap<u32, Vec<&'static str>> {
    let all: BTreeSet<u32> = views.values().flatten().copied().collect();
    let misses = |pid: u32| -> Vec<&'static str> {
        let complete = [LISTING, FOLDER, PROBE].into_iter();
        complete.filter(|view| views.get(view).is_some_and(|pids| !pids.contains(&pid))).collect()
    };
    all.into_iter().map(|pid| (pid, misses(pid))).filter(|(_, missing)| !missing.is_empty()).collect()
}

/// One look through every view. What a look itself cannot read is a gap of this table.
fn look(capture: &mut TableCapture<'_>) -> io::Result<Views> {
    let mut views = Views::new();
    let mut listed = ListedPids::default();
    for name in kernel_dir("/proc")? {
        if let Some(pid) = number(&name?) {
            listed.add(pid);
            views.entry(LISTING).or_default().insert(pid);
        }
    }
    let mut answering: BTreeSet<u32> = views.get(LISTING).into_iter().flatten().copied().collect();
    each_answering(capture, &listed, &mut |_, pid| {
        answering.insert(pid);
        Ok(())
    })?;
    answering.retain(|pid| is_process(*pid));
    for pid in &answering {
        let Ok(process) = KernelFolder::of_process(*pid) else { continue };
        if process.prefix("status", 1).is_ok() {
            views.entry(FOLDER).or_default().insert(*pid);
        }
        for task in process.names("task").into_iter().flatten().flatten() {
            let Some(task) = number::<u32>(&task) else { continue };
            let Ok(text) = process.prefix(&format!("task/{task}/children"), 1 << 20) else { continue };
            views.entry(CHILDREN).or_default().extend(processes_in(&text.bytes));
        }
    }
    views.insert(PROBE, answering);
    each_control_group(capture, &["cgroup2", "cgroup"], &mut |capture, group| {
        match group.prefix(b"cgroup.procs", MEMBERS) {
            Ok(members) => views.entry(GROUPS).or_default().extend(processes_in(&members.bytes)),
            // A group whose members are threads says so instead of naming processes.
            Err(reason)
                if reason.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) || has_ended(&reason) => {}
            Err(reason) => capture.gap(format!("{}/cgroup.procs", text(group.path()).0), &reason),
        }
        Ok(())
    })?;
    views.insert(NETLINK, of_netlink(capture));
    Ok(views)
}

/// The most that is read of the members of one control group.
const MEMBERS: usize = 16 << 20;

/// The numbers in a text that are those of processes by now.
fn processes_in(list: &[u8]) -> impl Iterator<Item = u32> {
    fields(list).filter_map(number::<u32>).filter(|pid| *pid != 0 && is_process(*pid))
}

/// Port numbers of netlink sockets, which programs by custom give their own process number.
fn of_netlink(capture: &mut TableCapture<'_>) -> BTreeSet<u32> {
    let list = match kernel_text("/proc/net/netlink") {
        Ok(list) => list,
        Err(reason) => {
            capture.gap("/proc/net/netlink", &reason);
            return BTreeSet::new();
        }
    };
    let lines = list.split(|byte| *byte == b'\n').skip(1);
    let ports = lines.filter_map(|line| number::<u32>(fields(line).nth(2)?));
    ports.filter(|pid| *pid != 0 && is_process(*pid)).collect()
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
    fn this_process_is_a_process_and_its_thread_is_none() {
        assert!(is_process(std::process::id()));
        let other = std::thread::spawn(|| {
            let own = rustix::thread::gettid().as_raw_nonzero().get();
            is_process(u32::try_from(own).unwrap())
        });
        assert!(!other.join().unwrap());
    }
}
