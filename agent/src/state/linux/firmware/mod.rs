//! Owns what the tables of firmware and hardware share; refuses to write a variable or to probe a bus.

pub(super) mod acpi_tables;
pub(super) mod efi_variables;
pub(super) mod ima;
pub(super) mod pci_devices;
pub(super) mod platform;
mod tpm_events;
pub(super) mod tpm_log;
pub(super) mod usb_devices;

use std::io;

use crate::source::{kernel_dir, kernel_prefix};
use crate::state::TableCapture;

use super::process_folders::has_ended;

/// Entries of one folder of `/sys` that are looked at most.
const ENTRIES: usize = 50_000;

/// The sorted names in a folder of `/sys`; none where it is not there, a gap where it cannot be read.
fn names(capture: &mut TableCapture<'_>, folder: &str) -> Vec<String> {
    let listed = match kernel_dir(folder) {
        Ok(listed) => listed,
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(folder, &reason);
            }
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for name in listed.take(ENTRIES) {
        match name.map(String::from_utf8) {
            Ok(Ok(name)) => names.push(name),
            Ok(Err(name)) => {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "a name that is no text");
                capture.gap(format!("{folder}/{}", String::from_utf8_lossy(name.as_bytes())), &reason);
            }
            Err(reason) => {
                capture.gap(folder, &reason);
                break;
            }
        }
    }
    names.sort_unstable();
    names
}

/// An attribute of a device without white space at its ends; nothing where it has none, as many do not.
fn attribute(path: &str) -> Option<Vec<u8>> {
    Some(kernel_prefix(path, 64 << 10).ok()?.bytes.trim_ascii().to_vec())
}
