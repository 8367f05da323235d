//! Owns the table of BPF programs attached to control groups and interfaces; refuses to walk more groups than a host
//! should have.

use std::io;

use serde::Serialize;

use super::interfaces::programs_at_interfaces;
use super::names::{attach_type, cgroup_places};
use crate::source::{BpfTarget, KernelTree, bpf_attached};
use crate::state::linux::kernel::folders_of;
use crate::state::linux::mounts::mounted;
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::optional;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "bpf_attachments",
    about: "Programs in the kernel (eBPF) that are attached to control groups and interfaces.",
    sources: &["bpf(2): BPF_PROG_QUERY", "cgroup2 mounts", "rtnetlink RTM_GETLINK, RTM_GETTFILTER"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_attachments,
};

/// One program in one place.
#[derive(Serialize)]
struct AttachmentRow {
    /// Derived: Place in the kernel, such as cgroup_inet_ingress, xdp_driver, tc_ingress or tcx_egress.
    attach_type: String,
    /// Derived: Number of the program.
    program_id: u32,
    /// Derived: `BPF_F_*` flags it was attached with; 0 for none or where the kernel no longer tells.
    flags: u32,
    /// Derived: Folder of the control group; null for an interface.
    cgroup: Option<String>,
    /// Derived: Base64 of the exact bytes behind `cgroup`; null where `cgroup` is those bytes verbatim.
    cgroup_raw: Option<String>,
    /// Derived: Network interface of the agent's namespace; null for a control group.
    interface: Option<String>,
    /// Derived: Base64 of the exact bytes behind `interface`; null where `interface` is those bytes verbatim.
    interface_raw: Option<String>,
}

/// Control groups that are asked at most.
const GROUPS: usize = 20_000;

/// How deep control groups are followed.
const DEPTH: usize = 32;

fn capture_attachments(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut asked = 0;
    for mount in mounted(capture, "cgroup2") {
        match KernelTree::open(&mount) {
            Ok(root) => walk_groups(capture, root, &mut asked)?,
            Err(reason) => capture.gap(String::from_utf8_lossy(&mount), &reason),
        }
    }
    capture_interfaces(capture)
}

/// Asks `root` and every group below it, without recursion.
fn walk_groups(capture: &mut TableCapture<'_>, root: KernelTree, asked: &mut usize) -> io::Result<()> {
    let mut waiting = vec![(root, 0)];
    // Which places this kernel knows does not differ between groups.
    let mut places: Vec<u32> = cgroup_places().collect();
    while let Some((group, depth)) = waiting.pop() {
        capture.go_on()?;
        *asked += 1;
        if *asked > GROUPS || depth > DEPTH {
            let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more groups than are followed");
            capture.gap(String::from_utf8_lossy(group.path()), &reason);
            return Ok(());
        }
        if !ask_group(capture, &group, &mut places)? {
            return Ok(());
        }
        waiting.extend(folders_of(capture, &group).into_iter().map(|folder| (folder, depth + 1)));
    }
    Ok(())
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
                        interface: None,
                        interface_raw: None,
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
            cgroup: None,
            cgroup_raw: None,
            interface,
            interface_raw,
        })?;
    }
    Ok(())
}
