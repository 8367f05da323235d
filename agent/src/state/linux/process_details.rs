//! Owns the table of everything else the kernel says of each process: all of its status, limits, counters and namespaces;
//! refuses to interpret a field whose meaning may change with the kernel.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::capabilities;
use super::process_folders::{each_process, noted};
use super::text::{bracketed, text};
use crate::source::KernelFolder;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "process_details",
    about: "All of each process's status, capabilities by name, limits, input and output, and namespaces.",
    sources: &[
        "/proc/<pid>/{status,stat,limits,io,oom_score_adj,wchan,stack,personality}",
        "/proc/<pid>/ns/*",
    ],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_details,
};

/// The most that is read of one text of a process.
const CAP: usize = 64 << 10;

/// One process.
#[derive(Serialize)]
struct DetailsRow {
    /// Derived: Process id.
    pid: u32,
    /// Derived: Every line of `status`, by the kernel's own names; bytes that are not UTF-8 are escaped as `\xNN`.
    status: BTreeMap<String, String>,
    /// Derived: The line of `stat` as the kernel wrote it; null where unreadable.
    stat: Option<String>,
    /// Derived: Effective capabilities by name, from `CapEff`; a number stands for one without a name here.
    effective_capabilities: Vec<String>,
    /// Derived: Resource limits, by the kernel's own names: soft limit, hard limit and unit.
    limits: BTreeMap<String, [String; 3]>,
    /// Derived: Counters of input and output in bytes and calls, by the kernel's own names; null where unreadable.
    io: Option<BTreeMap<String, u64>>,
    /// Derived: Inode numbers of the namespaces it runs in, by kind.
    namespaces: BTreeMap<String, u64>,
    /// Derived: Adjustment of its chance to be killed when memory runs out, -1000 to 1000; null where unreadable.
    oom_score_adj: Option<i32>,
    /// Derived: Kernel function it waits in; null where it does not wait or the kernel does not tell.
    wchan: Option<String>,
    /// Derived: Functions of the kernel that its first thread is in, one a line; null where the kernel does not tell.
    kernel_stack: Option<String>,
    /// Derived: Execution domain, hexadecimal; null where unreadable.
    personality: Option<String>,
}

fn capture_details(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_process(capture, &mut |capture, pid, process| {
        let Some(status) = noted(capture, process, "status", process.prefix("status", CAP)) else {
            return Ok(());
        };
        let status = parse_status(&status.bytes);
        let effective_capabilities =
            status.get("CapEff").map(|set| capability_names(set)).unwrap_or_default();
        let limits = noted(capture, process, "limits", process.prefix("limits", CAP));
        let io = noted(capture, process, "io", process.prefix("io", CAP));
        let mut line = |name: &str| noted(capture, process, name, one_line(process, name));
        let row = DetailsRow {
            pid,
            effective_capabilities,
            limits: limits.map(|limits| parse_limits(&limits.bytes)).unwrap_or_default(),
            io: io.map(|io| parse_counters(&io.bytes)),
            stat: line("stat"),
            oom_score_adj: line("oom_score_adj").and_then(|value| value.parse().ok()),
            wchan: line("wchan").filter(|name| name != "0" && !name.is_empty()),
            kernel_stack: line("stack").filter(|stack| !stack.is_empty()),
            personality: line("personality"),
            namespaces: namespaces(process),
            status,
        };
        capture.row(&row)
    })
}

fn one_line(process: &KernelFolder, name: &str) -> io::Result<String> {
    Ok(text(process.prefix(name, CAP)?.bytes.trim_ascii()).0)
}

fn parse_status(status: &[u8]) -> BTreeMap<String, String> {
    let lines = status.split(|byte| *byte == b'\n');
    let pairs = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((text(line.get(..colon)?).0, text(line.get(colon + 1..)?.trim_ascii()).0))
    });
    pairs.collect()
}

fn capability_names(set: &str) -> Vec<String> {
    let set = u64::from_str_radix(set, 16).unwrap_or_default();
    let held = (0..64usize).filter(|bit| set >> bit & 1 == 1);
    held.map(capabilities::name).collect()
}

/// `Max open files            1024                 4096                 files`: columns of fixed width.
fn parse_limits(limits: &[u8]) -> BTreeMap<String, [String; 3]> {
    let lines = limits.split(|byte| *byte == b'\n').skip(1);
    let parsed = lines.filter_map(|line| {
        let column = |from: usize, to: usize| {
            let part = line.get(from..to.min(line.len())).unwrap_or_default();
            text(part.trim_ascii()).0
        };
        let name = column(0, 26);
        (!name.is_empty()).then(|| (name, [column(26, 47), column(47, 68), column(68, usize::MAX)]))
    });
    parsed.collect()
}

fn parse_counters(io: &[u8]) -> BTreeMap<String, u64> {
    parse_status(io).into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
}

fn namespaces(process: &KernelFolder) -> BTreeMap<String, u64> {
    const KINDS: [&str; 10] = [
        "cgroup",
        "ipc",
        "mnt",
        "net",
        "pid",
        "pid_for_children",
        "time",
        "time_for_children",
        "user",
        "uts",
    ];
    let inode = |kind: &str| {
        let target = process.link(&format!("ns/{kind}")).ok()?;
        bracketed(&target, kind.trim_end_matches("_for_children").as_bytes())
    };
    KINDS.into_iter().filter_map(|kind| Some((kind.to_owned(), inode(kind)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_by_their_columns() {
        let limits = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 524288               files     \n\
            Max nice priority         0                    0                    \n\nx";
        let parsed = parse_limits(limits);
        assert_eq!(parsed["Max open files"], ["1024", "524288", "files"]);
        assert_eq!(parsed["Max nice priority"], ["0", "0", ""]);
    }

    #[test]
    fn capabilities_have_names_and_garbage_has_none() {
        assert_eq!(capability_names("0000000000000401"), ["chown", "net_bind_service"]);
        assert_eq!(capability_names("8000000000000000"), ["63"]);
        assert!(capability_names("xyz").is_empty());
    }
}
