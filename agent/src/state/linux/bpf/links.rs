//! Owns the table of BPF links, which hold programs to what they are attached to; refuses to detach one.

use std::io;

use serde::Serialize;

use super::names::{attach_type, link_type};
use super::{each_object, holders, joined};
use crate::source::{BPF_INFO, BpfKind, BpfObject, BpfPointed};
use crate::state::linux::netlink::{read_u32, read_u64, until_nul};
use crate::state::linux::text::optional;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "bpf_links",
    about: "What programs in the kernel (eBPF) are held attached to.",
    sources: &["bpf(2): BPF_LINK_GET_NEXT_ID, BPF_OBJ_GET_INFO_BY_FD", "/proc/<pid>/fdinfo"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_links,
};

/// One BPF link. What its type does not have is null.
#[derive(Serialize, Default)]
struct LinkRow {
    /// Derived: Number of the link.
    id: u32,
    /// Derived: Type, such as cgroup, perf_event or xdp; a number where it has no name here.
    r#type: String,
    /// Derived: Number of the program it holds.
    program_id: u32,
    /// Derived: Place in the kernel, such as cgroup_inet_ingress.
    attach_type: Option<String>,
    /// Derived: What is behind a perf_event link: uprobe, uretprobe, kprobe, kretprobe, tracepoint or event.
    probe: Option<String>,
    /// Derived: Name of the tracepoint, kernel function, probed file or iterator.
    target: Option<String>,
    /// Derived: Base64 of the exact bytes behind `target`; null where `target` is those bytes verbatim.
    target_raw: Option<String>,
    /// Derived: Where in the function or file the probe lies, bytes from its beginning.
    offset: Option<u32>,
    /// Derived: Addresses of kernel functions in hexadecimal, separated by commas, the first 64; zero where
    /// the kernel hides them.
    addresses: Option<String>,
    /// Derived: Functions or places that a link of several probes has.
    count: Option<u32>,
    /// Derived: Number of the control group, the inode of its folder.
    cgroup_id: Option<u64>,
    /// Derived: Inode of the network namespace.
    network_namespace: Option<u32>,
    /// Derived: Index of the network interface, in its own network namespace.
    ifindex: Option<u32>,
    /// Derived: Process a user probe is limited to; 0 for all.
    probed_pid: Option<u32>,
    /// Derived: Number of the map that is attached (struct_ops, sockmap).
    map_id: Option<u32>,
    /// Derived: Number of the program or type information (BTF) a tracing program is attached in.
    target_object_id: Option<u32>,
    /// Derived: Type in it that a tracing program is attached to.
    target_btf_id: Option<u32>,
    /// Derived: Protocol family of a netfilter hook.
    protocol_family: Option<u32>,
    /// Derived: Number of a netfilter hook.
    hook: Option<u32>,
    /// Derived: Priority at a netfilter hook.
    priority: Option<i32>,
    /// Derived: Processes that hold it by a descriptor, separated by commas; empty for none: then a pin does.
    pids: String,
    /// Derived: Whether the kernel's listing shows it; false where only a holder led to it.
    listed: bool,
}

/// The longest name that is asked for.
const NAME: usize = 4096;

/// The most that is asked for of the addresses of kernel functions, in bytes: asked for fewer than there are, the kernel
/// answers with an error.
const ASKED: usize = 8 << 20;

/// The most addresses of kernel functions that are shown.
const ADDRESSES: usize = 64;

fn capture_links(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let held = holders(capture, BpfKind::Link)?;
    each_object(capture, BpfKind::Link, held.keys().copied(), &mut |capture, id, link, listed| {
        match link.describe(None) {
            Err(reason) => capture.gap(format!("bpf(2) Link {id}"), &reason),
            Ok(described) => {
                if let Some(mut row) = parse_link(&described.info) {
                    add_target(capture, link, &mut row);
                    row.pids = held.get(&id).map(|pids| joined(pids.iter().copied())).unwrap_or_default();
                    row.listed = listed;
                    capture.row(&row)?;
                }
            }
        }
        Ok(())
    })
}

/// `struct bpf_link_info`.
fn parse_link(info: &[u8; BPF_INFO]) -> Option<LinkRow> {
    let word = |at| read_u32(info, at);
    let mut row =
        LinkRow { r#type: link_type(word(0)?), id: word(4)?, program_id: word(8)?, ..LinkRow::default() };
    match row.r#type.as_str() {
        "tracing" => {
            row.attach_type = word(16).map(attach_type);
            (row.target_object_id, row.target_btf_id) = (word(20), word(24));
        }
        "cgroup" => {
            row.cgroup_id = read_u64(info, 16);
            row.attach_type = word(24).map(attach_type);
        }
        "netns" => {
            row.network_namespace = word(16);
            row.attach_type = word(20).map(attach_type);
        }
        "xdp" => row.ifindex = word(16),
        "tcx" | "netkit" => {
            row.ifindex = word(16);
            row.attach_type = word(20).map(attach_type);
        }
        "struct_ops" => row.map_id = word(16),
        "sockmap" => {
            row.map_id = word(16);
            row.attach_type = word(20).map(attach_type);
        }
        "netfilter" => {
            (row.protocol_family, row.hook) = (word(16), word(20));
            row.priority = word(24).map(u32::cast_signed);
        }
        "kprobe_multi" => row.count = word(24),
        "uprobe_multi" => (row.count, row.probed_pid) = (word(52), word(60)),
        "perf_event" => add_probe(&mut row, word(16)?, word(36)),
        _ => {}
    }
    Some(row)
}

/// `enum bpf_perf_event_type`; older kernels say nothing, 0.
fn add_probe(row: &mut LinkRow, kind: u32, offset: Option<u32>) {
    let (probe, has_offset) = match kind {
        1 => ("uprobe", true),
        2 => ("uretprobe", true),
        3 => ("kprobe", true),
        4 => ("kretprobe", true),
        5 => ("tracepoint", false),
        6 => ("event", false),
        _ => return,
    };
    row.probe = Some(probe.to_owned());
    row.offset = offset.filter(|_| has_offset);
}

/// Adds the name, or the addresses, that the description points at.
fn add_target(capture: &mut TableCapture<'_>, link: &BpfObject, row: &mut LinkRow) {
    let pointed = match row.r#type.as_str() {
        "raw_tracepoint" | "iter" => (BpfPointed::LinkName, NAME),
        "perf_event" if row.probe.as_deref().is_some_and(|probe| probe != "event") => {
            (BpfPointed::PerfName, NAME)
        }
        "uprobe_multi" => (BpfPointed::UserProbePath, NAME),
        "kprobe_multi" => {
            let count = row.count.unwrap_or_default() as usize;
            (BpfPointed::KernelProbeAddresses, count.saturating_mul(8).min(ASKED))
        }
        _ => return,
    };
    match link.describe(Some(pointed)) {
        Ok(described) if pointed.0 == BpfPointed::KernelProbeAddresses => {
            row.addresses = Some(addresses(&described.pointed));
        }
        Ok(described) => {
            (row.target, row.target_raw) = optional(Some(until_nul(&described.pointed)));
        }
        Err(reason) => capture.gap(format!("bpf(2) Link {}: what it is attached to", row.id), &reason),
    }
}

fn addresses(bytes: &[u8]) -> String {
    let shown = bytes.chunks_exact(8).take(ADDRESSES).filter_map(|address| read_u64(address, 0));
    shown.map(|address| format!("0x{address:x}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_of_link_has_its_own_columns() {
        let mut info = [0; BPF_INFO];
        (info[0], info[4], info[8], info[16], info[24]) = (3, 9, 5, 77, 1);
        let row = parse_link(&info).unwrap();
        assert_eq!((row.id, row.program_id, row.cgroup_id), (9, 5, Some(77)));
        assert_eq!((row.attach_type.as_deref(), row.ifindex), (Some("cgroup_inet_egress"), None));
        (info[0], info[16], info[36]) = (7, 3, 4);
        let row = parse_link(&info).unwrap();
        assert_eq!((row.probe.as_deref(), row.offset), (Some("kprobe"), Some(4)));
    }

    #[test]
    fn description_of_garbage_is_read_and_never_panics() {
        for kind in 0..=255 {
            let mut info = [0xff; BPF_INFO];
            info[..4].copy_from_slice(&u32::to_ne_bytes(kind));
            assert!(parse_link(&info).is_some());
        }
        assert_eq!(addresses(&[0; 8 * 100]).split(',').count(), ADDRESSES);
        assert_eq!(addresses(&[1, 0, 0, 0, 0, 0, 0, 0, 9]), "0x1");
    }
}
