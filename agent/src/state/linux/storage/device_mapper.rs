//! Owns the table of mapped devices: logical volumes, encrypted disks, multipath; refuses to ask the mapper for its
//! tables, which hold keys.

use std::io;

use serde::Serialize;

use super::{attribute, block_names, device_path, neighbours};
use crate::state::linux::text::{number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "device_mapper",
    about: "Logical volumes, encrypted disks and other mapped devices, with what they are made of.",
    sources: &["/sys/class/block/dm-*/{dm,slaves,holders}"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_mapped,
};

/// One mapped device.
#[derive(Serialize)]
struct MappedRow {
    /// Derived: Device file, by custom.
    device: String,
    /// Derived: Name given to the mapping, below /dev/mapper.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Identifier that its maker gave it; empty for none.
    uuid: String,
    /// Derived: Base64 of the exact bytes behind `uuid`; null where `uuid` is those bytes verbatim.
    uuid_raw: Option<String>,
    /// Derived: What made it, by the beginning of `uuid`: lvm, luks1, luks2, crypt, verity, integrity,
    /// multipath, partition, raid; other where none of these, unknown where it has no `uuid`.
    kind: String,
    /// Derived: Whether it is held still.
    suspended: Option<bool>,
    /// Derived: Devices that it is made of, separated by commas; empty for none.
    slaves: String,
    /// Derived: Devices that are made of it, separated by commas; empty for none.
    holders: String,
}

/// Beginnings of identifiers, the longer ones first.
const KINDS: &[(&[u8], &str)] = &[
    (b"LVM-", "lvm"),
    (b"CRYPT-LUKS1-", "luks1"),
    (b"CRYPT-LUKS2-", "luks2"),
    (b"CRYPT-VERITY-", "verity"),
    (b"CRYPT-INTEGRITY-", "integrity"),
    (b"CRYPT-", "crypt"),
    (b"mpath-", "multipath"),
    (b"DMRAID-", "raid"),
    (b"part", "partition"),
];

fn capture_mapped(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for device in block_names(capture) {
        let Some(name) = attribute(&device, "dm/name") else { continue };
        let uuid = attribute(&device, "dm/uuid").unwrap_or_default();
        let (name, name_raw) = text(&name);
        let kind = kind(&uuid).to_owned();
        let (uuid, uuid_raw) = text(&uuid);
        let suspended = attribute(&device, "dm/suspended").and_then(|on| number::<u8>(&on));
        let (slaves, holders) =
            (neighbours(capture, &device, "slaves"), neighbours(capture, &device, "holders"));
        capture.row(&MappedRow {
            device: device_path(&device),
            name,
            name_raw,
            uuid,
            uuid_raw,
            kind,
            suspended: suspended.map(|on| on != 0),
            slaves,
            holders,
        })?;
    }
    Ok(())
}

fn kind(uuid: &[u8]) -> &'static str {
    if uuid.is_empty() {
        return "unknown";
    }
    KINDS.iter().find(|(beginning, _)| uuid.starts_with(beginning)).map_or("other", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maker_is_told_by_the_beginning_of_the_identifier() {
        assert_eq!(kind(b"LVM-abc"), "lvm");
        assert_eq!(kind(b"CRYPT-LUKS2-abc-x"), "luks2");
        assert_eq!(kind(b"CRYPT-PLAIN-x"), "crypt");
        assert_eq!(kind(b"part1-mpath-x"), "partition");
        assert_eq!((kind(b""), kind(b"\xff")), ("unknown", "other"));
    }
}
