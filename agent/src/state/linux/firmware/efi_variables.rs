//! Owns the table of firmware variables; refuses to write one, and to wait for one that does not come.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::source::{KernelTree, Watchdog};
use crate::state::linux::kernel::listed;
use crate::state::linux::netlink::read_u32;
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::text;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "efi_variables",
    about: "Variables of UEFI firmware: boot entries, Secure Boot keys and what vendors keep.",
    sources: &["/sys/firmware/efi/efivars"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_variables,
};

const FOLDER: &str = "/sys/firmware/efi/efivars";

/// One variable.
#[derive(Serialize)]
struct VariableRow {
    /// Derived: Name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: GUID of whose name it is; null where the file's name ends in none.
    guid: Option<String>,
    /// Derived: Attributes (UEFI 2.10, 8.2); null where it could not be read.
    attributes: Option<u32>,
    /// Derived: Length of the value in bytes, as far as it was read; null where it could not be read.
    size: Option<u64>,
    /// Derived: Value in base64, at most 64 KiB; null where it could not be read.
    value: Option<String>,
    /// Derived: Whether there is more of the value.
    cut: bool,
}

/// The most that is read of a variable.
const VALUE: usize = 64 << 10;

fn capture_variables(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let folder = match KernelTree::open(FOLDER.as_bytes()) {
        Ok(folder) => Arc::new(folder),
        Err(reason) => {
            // A host that did not boot with UEFI has none; one whose folder has no file system on it shows none.
            if reason.kind() == io::ErrorKind::InvalidInput {
                let reason = io::Error::new(io::ErrorKind::NotFound, "efivarfs is not mounted");
                capture.gap(FOLDER, &reason);
            } else if !has_ended(&reason) {
                capture.gap(FOLDER, &reason);
            }
            return Ok(());
        }
    };
    let mut watchdog = Watchdog::default();
    for file in listed(capture, &folder, folder.files()) {
        capture.go_on()?;
        let (open, leaf) = (Arc::clone(&folder), file.name().to_vec());
        let read = watchdog.within(move |_| open.prefix(&leaf, VALUE + 4));
        let content = match read {
            Ok(content) => Some(content),
            Err(reason) if has_ended(&reason) => continue,
            Err(reason) => {
                capture.gap(String::from_utf8_lossy(&file.path), &reason);
                None
            }
        };
        let content = content.as_ref().map(|content| (content.bytes.as_slice(), content.cut));
        capture.row(&variable_row(file.name(), content))?;
    }
    Ok(())
}

/// The file begins with the attributes, and its name ends in the GUID.
fn variable_row(file: &[u8], content: Option<(&[u8], bool)>) -> VariableRow {
    let parted = file.len().checked_sub(37).and_then(|at| file.split_at_checked(at));
    let parted = parted.filter(|(_, guid)| {
        guid.iter().enumerate().all(|(at, byte)| match at {
            0 | 9 | 14 | 19 | 24 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    });
    let (name, name_raw) = text(parted.map_or(file, |(name, _)| name));
    let value = content.and_then(|(bytes, _)| bytes.get(4..));
    VariableRow {
        name,
        name_raw,
        guid: parted.and_then(|(_, guid)| Some(text(guid.get(1..)?).0)),
        attributes: content.and_then(|(bytes, _)| read_u32(bytes, 0)),
        size: value.map(|value| value.len() as u64),
        value: value.map(|value| STANDARD.encode(value)),
        cut: content.is_some_and(|(_, cut)| cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_is_parted_into_name_guid_attributes_and_value() {
        let row =
            variable_row(b"Boot-0-8be4df61-93ca-11d2-aa0d-00e098032b8c", Some((&[7, 0, 0, 0, 1, 2], false)));
        assert_eq!((row.name.as_str(), row.attributes, row.size), ("Boot-0", Some(7), Some(2)));
        assert_eq!(row.guid.as_deref(), Some("8be4df61-93ca-11d2-aa0d-00e098032b8c"));
        assert_eq!(row.value.as_deref(), Some("AQI="));
    }

    #[test]
    fn garbage_names_and_contents_are_harmless() {
        for name in [&b""[..], b"-", b"x-8be4df61-93ca-11d2-aa0d-00e098032b8z", &[0xff; 64]] {
            let row = variable_row(name, Some((&[1], true)));
            assert_eq!((row.guid, row.attributes, row.value), (None, None, None));
        }
        assert!(variable_row(b"x", None).size.is_none());
    }
}
