//! Owns the table of block devices; refuses to look for file systems on them, which udev did when they appeared.

use std::io;

use serde::Serialize;

use super::{attribute, block_names, device_path, neighbours};
use crate::source::{kernel_link, kernel_prefix};
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::{filled_up, number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "block_devices",
    about: "Disks, partitions and what is stacked on them.",
    sources: &["/sys/class/block/*", "/run/udev/data/b*"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_devices,
};

/// One disk, partition or virtual block device. What udev and the kernel do not tell is null.
#[derive(Serialize, Default)]
struct DeviceRow {
    /// osquery: Device file, by custom.
    name: String,
    /// osquery: Device file of the disk that a partition lies on; empty for a disk.
    parent: String,
    /// osquery: Vendor.
    vendor: Option<String>,
    /// Derived: Base64 of the exact bytes behind `vendor`; null where `vendor` is those bytes verbatim.
    vendor_raw: Option<String>,
    /// osquery: Model.
    model: Option<String>,
    /// Derived: Base64 of the exact bytes behind `model`; null where `model` is those bytes verbatim.
    model_raw: Option<String>,
    /// osquery: Size in sectors of 512 bytes.
    size: Option<u64>,
    /// osquery: Logical block size in bytes.
    block_size: Option<u64>,
    /// osquery: UUID of the file system, as udev found it.
    uuid: Option<String>,
    /// Derived: Base64 of the exact bytes behind `uuid`; null where `uuid` is those bytes verbatim.
    uuid_raw: Option<String>,
    /// osquery: Type of the file system or of what else is on it, as udev found it.
    r#type: Option<String>,
    /// Derived: Base64 of the exact bytes behind `type`; null where `type` is those bytes verbatim.
    type_raw: Option<String>,
    /// osquery: Label of the file system, as udev found it, with its `\x20` and the like.
    label: Option<String>,
    /// Derived: Base64 of the exact bytes behind `label`; null where `label` is those bytes verbatim.
    label_raw: Option<String>,
    /// Derived: Serial number, of the kernel or of udev.
    serial: Option<String>,
    /// Derived: Base64 of the exact bytes behind `serial`; null where `serial` is those bytes verbatim.
    serial_raw: Option<String>,
    /// Derived: `major:minor`.
    device_number: Option<String>,
    /// Derived: Number of the partition; null for a disk.
    partition: Option<u64>,
    /// Derived: First sector of the partition, in sectors of 512 bytes; null for a disk.
    start: Option<u64>,
    /// Derived: UUID of the partition in its table, as udev found it.
    partition_uuid: Option<String>,
    /// Derived: Base64 of the exact bytes behind `partition_uuid`; null where `partition_uuid` is those bytes
    /// verbatim.
    partition_uuid_raw: Option<String>,
    /// Derived: Whether it is read-only.
    read_only: Option<bool>,
    /// Derived: Whether the medium can be taken out; null for a partition.
    removable: Option<bool>,
    /// Derived: Devices that it is made of, separated by commas; empty for none.
    slaves: String,
    /// Derived: Devices that are made of it, separated by commas; empty for none.
    holders: String,
    /// Derived: Further names below /dev, as udev gave them, separated by spaces; null for none.
    links: Option<String>,
    /// Derived: Base64 of the exact bytes behind `links`; null where `links` is those bytes verbatim.
    links_raw: Option<String>,
    /// Derived: Where the kernel has the device, below /sys.
    sys_path: Option<String>,
}

fn capture_devices(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for name in block_names(capture) {
        let mut row = kernel_row(capture, &name);
        if let Some(number) = row.device_number.clone() {
            let path = format!("/run/udev/data/b{number}");
            match kernel_prefix(&path, 256 << 10) {
                Ok(known) => add_known(&mut row, &known.bytes),
                Err(reason) if has_ended(&reason) => {}
                Err(reason) => capture.gap(path, &reason),
            }
        }
        capture.row(&row)?;
    }
    Ok(())
}

fn kernel_row(capture: &mut TableCapture<'_>, name: &str) -> DeviceRow {
    let value = |file: &str| attribute(name, file).and_then(|value| number::<u64>(&value));
    let place = kernel_link(&format!("/sys/class/block/{name}")).ok();
    let partition = value("partition");
    // The folder of a partition lies in that of its disk.
    let disk = place.as_deref().and_then(|place| place.rsplit(|byte| *byte == b'/').nth(1));
    let disk = disk.filter(|_| partition.is_some()).map(|disk| String::from_utf8_lossy(disk).into_owned());
    let of_disk = disk.as_deref().unwrap_or(name);
    // Drivers fill some of them up with blanks.
    let twin = |value: Option<Vec<u8>>| {
        value.map_or((None, None), |value| {
            let (shown, raw) = filled_up(&value);
            (Some(shown), raw)
        })
    };
    let (vendor, vendor_raw) = twin(attribute(of_disk, "device/vendor"));
    let (model, model_raw) = twin(attribute(of_disk, "device/model"));
    let serial = attribute(of_disk, "device/serial").or_else(|| attribute(of_disk, "serial"));
    let (serial, serial_raw) = twin(serial.filter(|serial| !serial.trim_ascii().is_empty()));
    DeviceRow {
        name: device_path(name),
        parent: disk.as_deref().map(device_path).unwrap_or_default(),
        vendor,
        vendor_raw,
        model,
        model_raw,
        size: value("size"),
        block_size: attribute(of_disk, "queue/logical_block_size").and_then(|size| number(&size)),
        serial,
        serial_raw,
        device_number: attribute(name, "dev").map(|number| text(&number).0),
        partition,
        start: value("start"),
        read_only: value("ro").map(|on| on != 0),
        removable: value("removable").map(|on| on != 0),
        slaves: neighbours(capture, name, "slaves"),
        holders: neighbours(capture, name, "holders"),
        sys_path: place.map(|place| text(&place).0),
        ..DeviceRow::default()
    }
}

/// Adds what udev knows: `E:KEY=value` and `S:link` lines.
fn add_known(row: &mut DeviceRow, known: &[u8]) {
    let lines = || known.split(|byte| *byte == b'\n');
    let value = |key: &str| lines().find_map(|line| line.strip_prefix(key.as_bytes()));
    (row.uuid, row.uuid_raw) = optional(value("E:ID_FS_UUID="));
    (row.r#type, row.type_raw) = optional(value("E:ID_FS_TYPE="));
    (row.label, row.label_raw) = optional(value("E:ID_FS_LABEL_ENC=").or_else(|| value("E:ID_FS_LABEL=")));
    (row.partition_uuid, row.partition_uuid_raw) = optional(value("E:ID_PART_ENTRY_UUID="));
    if row.vendor.is_none() {
        (row.vendor, row.vendor_raw) = optional(value("E:ID_VENDOR="));
    }
    if row.model.is_none() {
        (row.model, row.model_raw) = optional(value("E:ID_MODEL="));
    }
    if row.serial.is_none() {
        let serial = value("E:ID_SERIAL_SHORT=").or_else(|| value("E:ID_SERIAL="));
        (row.serial, row.serial_raw) = optional(serial);
    }
    let links: Vec<&[u8]> = lines().filter_map(|line| line.strip_prefix(b"S:")).collect();
    if !links.is_empty() {
        (row.links, row.links_raw) = optional(Some(&links.join(&b' ')));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_udev_knows_is_added() {
        let mut row = DeviceRow::default();
        add_known(
            &mut row,
            b"S:disk/by-uuid/1-2\nS:disk/by-id/x\nE:ID_FS_UUID=1-2\nE:ID_FS_TYPE=ext4\nE:ID_FS_LABEL=my\xff\nE:ID_SERIAL=s\n",
        );
        assert_eq!((row.uuid.as_deref(), row.r#type.as_deref()), (Some("1-2"), Some("ext4")));
        assert_eq!((row.label.as_deref(), row.serial.as_deref()), (Some(r"my\xff"), Some("s")));
        assert_eq!(row.links.as_deref(), Some("disk/by-uuid/1-2 disk/by-id/x"));
        assert!(row.label_raw.is_some());
    }

    #[test]
    fn garbage_of_udev_adds_nothing() {
        let mut row = DeviceRow::default();
        add_known(&mut row, b"\xff\0\nE:ID_FS_UUID\nS\nE:=\n");
        assert_eq!((row.uuid, row.links), (None, None));
    }
}
