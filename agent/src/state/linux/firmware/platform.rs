//! Owns the tables of what firmware says about the machine; refuses to read its memory.

use std::io;

use serde::Serialize;

use crate::source::kernel_prefix;
use crate::state::linux::kernel::{attribute, names};
use crate::state::linux::process_folders::{has_ended, keep_small};
use crate::state::linux::text::{one_line, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const PLATFORM: Table = Table {
    name: "platform_info",
    about: "The machine's firmware.",
    sources: &["/sys/devices/virtual/dmi/id/bios_*", "/sys/firmware/efi"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_platform,
};

/// The table.
pub(in crate::state::linux) const DMI: Table = Table {
    name: "dmi_values",
    about: "Maker, model and serial numbers of the machine and its parts, as firmware states them.",
    sources: &["/sys/devices/virtual/dmi/id/*", "/sys/firmware/dmi/tables/{DMI,smbios_entry_point}"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_dmi,
};

/// The machine's firmware, one row. Null where it does not say.
#[derive(Serialize)]
struct PlatformRow {
    /// osquery: Who made the firmware.
    vendor: Option<String>,
    /// Derived: Base64 of the exact bytes behind `vendor`; null where `vendor` is those bytes verbatim.
    vendor_raw: Option<String>,
    /// osquery: Its version.
    version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Its date.
    date: Option<String>,
    /// Derived: Base64 of the exact bytes behind `date`; null where `date` is those bytes verbatim.
    date_raw: Option<String>,
    /// osquery: Its revision.
    revision: Option<String>,
    /// Derived: Base64 of the exact bytes behind `revision`; null where `revision` is those bytes verbatim.
    revision_raw: Option<String>,
    /// osquery: uefi where the kernel was started by it, else unknown.
    firmware_type: String,
}

/// One value.
#[derive(Serialize)]
struct DmiRow {
    /// Derived: Name of the value, such as product_serial.
    name: String,
    /// Derived: The value, as firmware states it.
    value: String,
    /// Derived: Base64 of the exact bytes behind `value`; null where `value` is those bytes verbatim.
    value_raw: Option<String>,
}

/// The folder itself: `/sys/class/dmi/id` is a link to it, and links are not followed.
const FOLDER: &str = "/sys/devices/virtual/dmi/id";

fn capture_platform(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let value = |name: &str| optional(attribute(&format!("{FOLDER}/{name}")).as_deref());
    let (vendor, vendor_raw) = value("bios_vendor");
    let (version, version_raw) = value("bios_version");
    let (date, date_raw) = value("bios_date");
    let (revision, revision_raw) = value("bios_release");
    let firmware_type =
        if kernel_prefix("/sys/firmware/efi/fw_platform_size", 16).is_ok() { "uefi" } else { "unknown" };
    capture.row(&PlatformRow {
        vendor,
        vendor_raw,
        version,
        version_raw,
        date,
        date_raw,
        revision,
        revision_raw,
        firmware_type: firmware_type.to_owned(),
    })
}

fn capture_dmi(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for table in ["DMI", "smbios_entry_point"] {
        keep_small(capture, &format!("/sys/firmware/dmi/tables/{table}"));
    }
    for name in names(capture, FOLDER) {
        if matches!(name.as_str(), "power" | "subsystem" | "uevent" | "modalias") {
            continue;
        }
        let path = format!("{FOLDER}/{name}");
        match kernel_prefix(&path, 64 << 10) {
            Ok(read) => {
                let (value, value_raw) = text(one_line(&read.bytes));
                capture.row(&DmiRow { name, value, value_raw })?;
            }
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => capture.gap(path, &reason),
        }
    }
    Ok(())
}
