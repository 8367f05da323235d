//! Owns the table of BPF programs attached to control groups, interfaces and probes; refuses to walk more groups than a host
//! should have.

use std::io;

use serde::Serialize;

use super::interfaces::programs_at_interfaces;
use super::names::{attach_type, cgroup_places};
use crate::source::{BpfProbe, BpfTarget, KernelTree, bpf_attached, bpf_probe};
use crate::state::linux::kernel::each_control_group;
use crate::state::linux::process_folders::{each_descriptor, each_process, has_ended};
use crate::state::linux::text::optional;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "bpf_attachments",
    about: "Programs in the kernel (eBPF) that are attached to control groups, interfaces and probes.",
    sources: &[
        "bpf(2): BPF_PROG_QUERY, BPF_TASK_FD_QUERY",
        "/proc/<pid>/fd",
        "cgroup2 mounts",
        "rtnetlink RTM_GETLINK, RTM_GETTFILTER",
    ],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_attachments,
};

/// One program in one place.
#[derive(Serialize, Default)]
struct AttachmentRow {
    /// Derived: Place in the kernel, such as cgroup_inet_ingress, xdp_driver, tc_ingress or uprobe.
    attach_type: String,
    /// Derived: Number of the program.
    program_id: u32,
    /// Derived: `BPF_F_*` flags it was attached with; 0 for none or where the kernel no longer tells.
    flags: u32,
    /// Derived: Folder of the control group; null for other places.
    cgroup: Option<String>,
    /// Derived: Base64 of the exact bytes behind `cgroup`; null where `cgroup` is those bytes verbatim.
    cgroup_raw: Option<String>,
    /// Derived: Network interface of the agent's namespace; null for other places.
    interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `interface`; null where `interface` is those bytes verbatim.
    interface_raw: Option<String>,
    /// Derived: Tracepoint, kernel function or probed file; null for other places.
    target: Option<String>,
    /// Derived: Base64 of the exact bytes behind `target`; null where `target` is those bytes verbatim.
    target_raw: Option<String>,
    /// Derived: Where in it the probe lies, bytes from its beginning; null for other places.
    offset: Option<u64>,
    /// Derived: Process that holds the perf event; null for other places.
    pid: Option<u32>,
    /// Derived: Its descriptor in that process; null for other places.
    fd: Option<u32>,
}

fn capture_attachments(capture: &mut TableCapture<'_>) -> io::Result<()> {
    // Which places this kernel knows does not differ between groups; nor does whether it tells.
    let (mut places, mut tells): (Vec<u32>, bool) = (cgroup_places().collect(), true);
    each_control_group(capture, &["cgroup2"], &mut |capture, group| {
        tells = tells && ask_group(capture, group, &mut places)?;
        Ok(())
    })?;
    capture_interfaces(capture)?;
    capture_probes(capture)
}

/// Asks for every place of one group; false where the kernel refuses to tell of any.
fn ask_group(capture: &mut TableCapture<'_>, group: &KernelTree, places: &mut Vec<u32>) -> io::Result<bool> {
    let mut refused = None;
    let mut unknown = Vec::new();
    for place in places.iter().copied() {
        match bpf_attached(BpfTarget::Open(group.fd()), place) {
            Ok((programs, flags)) => {
                for program_id in programs {
                    let (cgroup, cgroup_raw) = optional(Some(group.path()));
                    capture.row(&AttachmentRow {
                        attach_type: attach_type(place),
                        program_id,
                        flags,
                        cgroup,
                        cgroup_raw,
                        ..AttachmentRow::default()
                    })?;
                }
            }
            Err(reason) if reason.kind() == io::ErrorKind::InvalidInput => unknown.push(place),
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => refused = Some(reason),
        }
    }
    places.retain(|place| !unknown.contains(place));
    if let Some(reason) = &refused {
        capture.gap(format!("bpf(2) programs of {}", String::from_utf8_lossy(group.path())), reason);
    }
    Ok(refused.is_none_or(|reason| reason.kind() != io::ErrorKind::PermissionDenied))
}

fn capture_interfaces(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for found in programs_at_interfaces(capture)? {
        let (interface, interface_raw) = optional(Some(&found.interface));
        capture.row(&AttachmentRow {
            attach_type: found.place,
            program_id: found.program_id,
            flags: found.flags,
            interface,
            interface_raw,
            ..AttachmentRow::default()
        })?;
    }
    Ok(())
}

/// Captures the programs behind perf events, which tools before BPF links used and many still do.
fn capture_probes(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_process(capture, &mut |capture, pid, process| {
        each_descriptor(capture, process, &mut |capture, fd, target| {
            if target != b"anon_inode:[perf_event]" {
                return Ok(());
            }
            match bpf_probe(pid, fd) {
                Ok(probe) => capture.row(&probe_row(pid, fd, &probe)),
                // Most perf events have no program, and of some the kernel does not tell.
                Err(reason) if has_ended(&reason) || reason.kind() == io::ErrorKind::Unsupported => Ok(()),
                Err(reason) => {
                    capture.gap(format!("bpf(2) program of {}/fd/{fd}", process.path()), &reason);
                    Ok(())
                }
            }
        })
    })
}

/// `enum bpf_task_fd_type` names the place.
fn probe_row(pid: u32, fd: u32, probe: &BpfProbe) -> AttachmentRow {
    let place = match probe.kind {
        0 => "raw_tracepoint",
        1 => "tracepoint",
        2 => "kprobe",
        3 => "kretprobe",
        4 => "uprobe",
        5 => "uretprobe",
        _ => "perf_event",
    };
    let (target, target_raw) = optional(Some(probe.target.as_slice()).filter(|target| !target.is_empty()));
    AttachmentRow {
        attach_type: place.to_owned(),
        program_id: probe.program_id,
        target,
        target_raw,
        offset: (probe.kind >= 2).then_some(probe.offset),
        pid: Some(pid),
        fd: Some(fd),
        ..AttachmentRow::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_names_its_place_and_what_it_probes() {
        let probe = BpfProbe { program_id: 7, kind: 4, target: b"/bin/\xff".to_vec(), offset: 16 };
        let row = probe_row(1, 3, &probe);
        assert_eq!((row.attach_type.as_str(), row.offset, row.pid), ("uprobe", Some(16), Some(1)));
        assert!(row.target_raw.is_some());
        let probe = BpfProbe { kind: 99, target: Vec::new(), ..probe };
        assert_eq!(
            (probe_row(1, 3, &probe).attach_type.as_str(), probe_row(1, 3, &probe).target),
            ("perf_event", None)
        );
    }
}
