//! Owns the table of BPF programs and the keeping of their instructions; refuses to run or detach one.

use std::io;

use serde::Serialize;

use super::names::program_type;
use super::{each_object, holders, joined};
use crate::source::{BPF_INFO, BpfDescription, BpfKind, BpfObject, BpfPointed};
use crate::state::linux::clock::boot_time;
use crate::state::linux::netlink::{read_u32, read_u64, until_nul};
use crate::state::linux::text::{text, to_hexadecimal};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "bpf_programs",
    about: "Programs in the kernel (eBPF), who loaded them and who holds them, with their instructions.",
    sources: &["bpf(2): BPF_PROG_GET_NEXT_ID, BPF_OBJ_GET_INFO_BY_FD", "/proc/<pid>/fdinfo"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_programs,
};

/// One BPF program. Numbers that an older kernel does not tell are 0.
#[derive(Serialize)]
struct ProgramRow {
    /// Derived: Number of the program.
    id: u32,
    /// Derived: Type, such as kprobe, xdp or cgroup_skb; a number where it has no name here.
    r#type: String,
    /// Derived: Name, at most 15 bytes; empty where it was given none.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: The kernel's digest of the instructions, 8 bytes in hexadecimal.
    tag: String,
    /// Derived: User id of who loaded it.
    uid: u32,
    /// Derived: When it was loaded, Unix seconds by the host's clock, from the time since boot; null where unknown.
    load_time: Option<u64>,
    /// Derived: When it was loaded, nanoseconds since boot.
    load_time_ns: u64,
    /// Derived: Length of the translated instructions in bytes.
    xlated_size: u32,
    /// Derived: Length of the compiled instructions in bytes; 0 where it is interpreted.
    jited_size: u32,
    /// Derived: Times it was run; counted only while `kernel.bpf_stats_enabled` is set.
    run_count: u64,
    /// Derived: Time it ran, nanoseconds; counted only while `kernel.bpf_stats_enabled` is set.
    run_time_ns: u64,
    /// Derived: Times it was not run because it was running already.
    recursion_misses: u64,
    /// Derived: Instructions the kernel's verifier looked at.
    verified_instructions: u32,
    /// Derived: Numbers of the maps it uses, separated by commas; empty for none.
    map_ids: String,
    /// Derived: Number of its type information (BTF); 0 for none.
    btf_id: u32,
    /// Derived: Number of the type information (BTF) of what it is attached to; 0 for none.
    attach_btf_object_id: u32,
    /// Derived: Type in that BTF of what it is attached to; 0 for none.
    attach_btf_id: u32,
    /// Derived: Index of the interface it is bound to; 0 for none.
    ifindex: u32,
    /// Derived: Whether it states a licence compatible with the GPL.
    gpl_compatible: bool,
    /// Derived: Processes that hold it by a descriptor, separated by commas; empty for none: then a link, a
    /// pin, a map or what it is attached to keeps it.
    pids: String,
    /// Derived: Whether the kernel's listing shows it; false where only a holder led to it.
    listed: bool,
    /// Derived: Whether the instructions were kept, as `data/raw/bpf/program/<id>/xlated`.
    instructions_kept: bool,
}

/// The most instructions that are kept of one program, in bytes.
const INSTRUCTIONS: usize = 1 << 20;

/// The most instructions that are kept in all, in bytes.
const INSTRUCTIONS_IN_ALL: usize = 16 << 20;

/// Numbers of maps that are read of one program; the kernel allows 64.
const MAPS: u32 = 1024;

fn capture_programs(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let held = holders(capture, BpfKind::Program)?;
    let booted = boot_time().ok();
    let mut kept = 0;
    each_object(capture, BpfKind::Program, held.keys().copied(), &mut |capture, id, program, listed| {
        let described = match program.describe(None) {
            Ok(described) => described,
            Err(reason) => {
                capture.gap(format!("bpf(2) Program {id}"), &reason);
                return Ok(());
            }
        };
        let Some(mut row) = parse_program(&described.info) else { return Ok(()) };
        row.load_time = booted.map(|booted| booted.saturating_add(row.load_time_ns / 1_000_000_000));
        row.map_ids = map_ids(program, &described.info);
        row.pids = held.get(&id).map(|pids| joined(pids.iter().copied())).unwrap_or_default();
        row.listed = listed;
        row.instructions_kept = keep_instructions(capture, program, &row, &mut kept);
        capture.row(&row)
    })
}

/// `struct bpf_prog_info`.
fn parse_program(info: &[u8; BPF_INFO]) -> Option<ProgramRow> {
    let (name, name_raw) = text(until_nul(info.get(64..80)?));
    Some(ProgramRow {
        r#type: program_type(read_u32(info, 0)?),
        id: read_u32(info, 4)?,
        name,
        name_raw,
        tag: to_hexadecimal(info.get(8..16)?),
        uid: read_u32(info, 48)?,
        load_time: None,
        load_time_ns: read_u64(info, 40)?,
        jited_size: read_u32(info, 16)?,
        xlated_size: read_u32(info, 20)?,
        run_time_ns: read_u64(info, 192)?,
        run_count: read_u64(info, 200)?,
        recursion_misses: read_u64(info, 208)?,
        verified_instructions: read_u32(info, 216)?,
        map_ids: String::new(),
        btf_id: read_u32(info, 128)?,
        attach_btf_object_id: read_u32(info, 220)?,
        attach_btf_id: read_u32(info, 224)?,
        ifindex: read_u32(info, 80)?,
        gpl_compatible: read_u32(info, 84)? & 1 == 1,
        pids: String::new(),
        listed: false,
        instructions_kept: false,
    })
}

fn map_ids(program: &BpfObject, info: &[u8; BPF_INFO]) -> String {
    let count = read_u32(info, 52).unwrap_or_default().min(MAPS) as usize;
    let described =
        if count == 0 { None } else { program.describe(Some((BpfPointed::MapIds, count * 4))).ok() };
    let ids = described.map(|described| described.pointed).unwrap_or_default();
    joined(ids.chunks_exact(4).filter_map(|id| read_u32(id, 0)).filter(|id| *id != 0))
}

/// Keeps the translated instructions beside the table, or says why not.
fn keep_instructions(
    capture: &mut TableCapture<'_>,
    program: &BpfObject,
    row: &ProgramRow,
    kept: &mut usize,
) -> bool {
    let size = row.xlated_size as usize;
    let subject = format!("/bpf/program/{}/xlated", row.id);
    if size > INSTRUCTIONS || kept.saturating_add(size) > INSTRUCTIONS_IN_ALL {
        let reason = io::Error::new(io::ErrorKind::FileTooLarge, "too many instructions, not kept");
        capture.gap(subject, &reason);
        return false;
    }
    let denied = || {
        // Zero as a pointer, or as a length, is how the kernel refuses.
        io::Error::new(io::ErrorKind::PermissionDenied, "the kernel does not show its instructions")
    };
    let shown = |described: &BpfDescription| size > 0 && read_u64(&described.info, 32) != Some(0);
    match program.describe(Some((BpfPointed::Instructions, size))) {
        Ok(described) if shown(&described) => {
            *kept += size;
            capture.keep_bytes(subject, described.pointed);
            true
        }
        Ok(_) => {
            capture.gap(subject, &denied());
            false
        }
        Err(reason) => {
            capture.gap(subject, &reason);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_is_read_at_the_places_of_the_kernels_header() {
        let mut info = [0; BPF_INFO];
        info[0] = 2;
        info[4] = 7;
        info[8..16].copy_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\xff");
        info[64..68].copy_from_slice(b"ho\xffk");
        info[84] = 1;
        let row = parse_program(&info).unwrap();
        assert_eq!((row.id, row.r#type.as_str(), row.tag.as_str()), (7, "kprobe", "01020304050607ff"));
        assert_eq!((row.name.as_str(), row.gpl_compatible), (r"ho\xffk", true));
        assert!(row.name_raw.is_some());
    }

    #[test]
    fn description_of_garbage_is_read_and_never_panics() {
        let row = parse_program(&[0xff; BPF_INFO]).unwrap();
        assert_eq!(row.r#type, u32::MAX.to_string());
    }
}
