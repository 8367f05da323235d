//! Owns the table of BPF maps; refuses to read what is in them.

use std::io;

use serde::Serialize;

use super::names::map_type;
use super::{each_object, holders, joined};
use crate::source::{BPF_INFO, BpfKind};
use crate::state::linux::netlink::{read_u32, read_u64, until_nul};
use crate::state::linux::text::text;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "bpf_maps",
    about: "Maps of programs in the kernel (eBPF), without their contents.",
    sources: &["bpf(2): BPF_MAP_GET_NEXT_ID, BPF_OBJ_GET_INFO_BY_FD", "/proc/<pid>/fdinfo"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_maps,
};

/// One BPF map. Numbers that an older kernel does not tell are 0.
#[derive(Serialize)]
struct MapRow {
    /// Derived: Number of the map.
    id: u32,
    /// Derived: Type, such as hash, array or ringbuf; a number where it has no name here.
    r#type: String,
    /// Derived: Name, at most 15 bytes; empty where it was given none.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Length of a key in bytes.
    key_size: u32,
    /// Derived: Length of a value in bytes.
    value_size: u32,
    /// Derived: Entries it can hold.
    max_entries: u32,
    /// Derived: `BPF_F_*` flags it was made with.
    flags: u32,
    /// Derived: What the type means by its extra number.
    extra: u64,
    /// Derived: Index of the interface it is bound to; 0 for none.
    ifindex: u32,
    /// Derived: Number of its type information (BTF); 0 for none.
    btf_id: u32,
    /// Derived: Processes that hold it by a descriptor, separated by commas; empty for none.
    pids: String,
    /// Derived: Whether the kernel's listing shows it; false where only a holder led to it.
    listed: bool,
}

fn capture_maps(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let held = holders(capture, BpfKind::Map)?;
    each_object(capture, BpfKind::Map, held.keys().copied(), &mut |capture, id, map, listed| {
        match map.describe(None) {
            Err(reason) => capture.gap(format!("bpf(2) Map {id}"), &reason),
            Ok(described) => {
                if let Some(mut row) = parse_map(&described.info) {
                    row.pids = held.get(&id).map(|pids| joined(pids.iter().copied())).unwrap_or_default();
                    row.listed = listed;
                    capture.row(&row)?;
                }
            }
        }
        Ok(())
    })
}

/// `struct bpf_map_info`.
fn parse_map(info: &[u8; BPF_INFO]) -> Option<MapRow> {
    let (name, name_raw) = text(until_nul(info.get(24..40)?));
    Some(MapRow {
        r#type: map_type(read_u32(info, 0)?),
        id: read_u32(info, 4)?,
        name,
        name_raw,
        key_size: read_u32(info, 8)?,
        value_size: read_u32(info, 12)?,
        max_entries: read_u32(info, 16)?,
        flags: read_u32(info, 20)?,
        extra: read_u64(info, 80)?,
        ifindex: read_u32(info, 40)?,
        btf_id: read_u32(info, 64)?,
        pids: String::new(),
        listed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_of_garbage_is_read_and_never_panics() {
        let row = parse_map(&[0xff; BPF_INFO]).unwrap();
        assert_eq!((row.r#type, row.max_entries), (u32::MAX.to_string(), u32::MAX));
    }
}
