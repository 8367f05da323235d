//! Owns the table of ACPI tables, which hold code that the kernel runs; refuses to interpret it.

use std::io;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::source::kernel_prefix;
use crate::state::linux::kernel::names;
use crate::state::linux::netlink::read_u32;
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::{filled_up, to_hexadecimal};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "acpi_tables",
    about: "Tables that firmware hands to the kernel, kept as they are.",
    sources: &["/sys/firmware/acpi/tables/*"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_acpi,
};

/// One ACPI table.
#[derive(Serialize)]
struct AcpiRow {
    /// osquery: Name, with a number where there are several; those loaded later begin with `dynamic/`.
    name: String,
    /// osquery: Length in bytes.
    size: u64,
    /// Derived: SHA-256 of it.
    sha256: String,
    /// Derived: Length that its header states; null where it is too short for one.
    stated_size: Option<u32>,
    /// Derived: Who made it, by its header.
    oem: Option<String>,
    /// Derived: Base64 of the exact bytes behind `oem`; null where `oem` is those bytes verbatim.
    oem_raw: Option<String>,
    /// Derived: Its maker's name for it, by its header.
    oem_table: Option<String>,
    /// Derived: Base64 of the exact bytes behind `oem_table`; null where `oem_table` is those bytes verbatim.
    oem_table_raw: Option<String>,
}

/// The longest table that is read.
const TABLE_CAP: usize = 4 << 20;

/// The most that is kept in all.
const KEPT: usize = 16 << 20;

fn capture_acpi(capture: &mut TableCapture<'_>) -> io::Result<()> {
    const FOLDER: &str = "/sys/firmware/acpi/tables";
    let mut tables: Vec<String> = names(capture, FOLDER)
        .into_iter()
        .filter(|name| !matches!(name.as_str(), "data" | "dynamic"))
        .collect();
    let later = names(capture, &format!("{FOLDER}/dynamic"));
    tables.extend(later.into_iter().map(|name| format!("dynamic/{name}")));
    let mut kept = 0;
    for name in tables {
        let path = format!("{FOLDER}/{name}");
        match kernel_prefix(&path, TABLE_CAP) {
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => capture.gap(path, &reason),
            Ok(table) if table.cut || kept + table.bytes.len() > KEPT => {
                let reason = io::Error::new(io::ErrorKind::FileTooLarge, "too long, not kept");
                capture.gap(path, &reason);
            }
            Ok(table) => {
                capture.row(&acpi_row(name, &table.bytes))?;
                kept += table.bytes.len();
                capture.keep_bytes(path, table.bytes);
            }
        }
    }
    Ok(())
}

/// The header: signature, length, revision, checksum, maker, maker's name (ACPI 6.5, 5.2.6).
fn acpi_row(name: String, table: &[u8]) -> AcpiRow {
    let words = |from: usize, to: usize| table.get(from..to).map(filled_up);
    let (oem, oem_raw) = words(10, 16).map_or((None, None), |(oem, raw)| (Some(oem), raw));
    let (oem_table, oem_table_raw) = words(16, 24).map_or((None, None), |(oem, raw)| (Some(oem), raw));
    AcpiRow {
        name,
        size: table.len() as u64,
        sha256: to_hexadecimal(&Sha256::digest(table)),
        stated_size: read_u32(table, 4),
        oem,
        oem_raw,
        oem_table,
        oem_table_raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_its_maker_and_a_short_table_none() {
        let row = acpi_row("DSDT".to_owned(), b"DSDT\x24\0\0\0\x02\0MAKER NAME1234\0\0\0\0");
        assert_eq!((row.stated_size, row.oem.as_deref()), (Some(36), Some("MAKER")));
        assert!(row.oem_raw.is_some() && row.oem_table_raw.is_none());
        assert_eq!(row.oem_table.as_deref(), Some("NAME1234"));
        let row = acpi_row("X".to_owned(), b"X");
        assert_eq!((row.stated_size, row.oem, row.size), (None, None, 1));
    }
}
