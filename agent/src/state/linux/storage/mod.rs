//! Owns what the tables of storage share: names and attributes of block devices; refuses to open a device.

pub(super) mod block_devices;
pub(super) mod device_mapper;
pub(super) mod loop_devices;
pub(super) mod md_devices;
pub(super) mod swaps;

use std::io;

use crate::source::{kernel_dir, kernel_prefix};
use crate::state::TableCapture;

use super::process_folders::has_ended;

/// Block devices that are looked at most.
const DEVICES: usize = 50_000;

/// The names in `/sys/class/block` that are paths without a surprise, sorted.
fn block_names(capture: &mut TableCapture<'_>) -> Vec<String> {
    const FOLDER: &str = "/sys/class/block";
    let names = match kernel_dir(FOLDER) {
        Ok(names) => names,
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(FOLDER, &reason);
            }
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for name in names.take(DEVICES) {
        match name.map(String::from_utf8) {
            Ok(Ok(name)) => found.push(name),
            Ok(Err(name)) => {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "no name of a device");
                capture.gap(format!("{FOLDER}/{}", String::from_utf8_lossy(name.as_bytes())), &reason);
            }
            Err(reason) => {
                capture.gap(FOLDER, &reason);
                break;
            }
        }
    }
    found.sort_unstable();
    found
}

/// An attribute of a block device without white space at its ends; nothing where it has none or it cannot be read, as
/// many attributes of many drivers cannot.
fn attribute(device: &str, file: &str) -> Option<Vec<u8>> {
    let value = kernel_prefix(&format!("/sys/class/block/{device}/{file}"), 64 << 10).ok()?;
    Some(value.bytes.trim_ascii().to_vec())
}

/// The names in a folder of a block device, sorted and joined by commas; empty for none.
fn neighbours(device: &str, folder: &str) -> String {
    let Ok(names) = kernel_dir(&format!("/sys/class/block/{device}/{folder}")) else { return String::new() };
    let mut names: Vec<String> =
        names.flatten().take(DEVICES).map(|name| String::from_utf8_lossy(&name).into_owned()).collect();
    names.sort_unstable();
    names.join(",")
}

/// Where the device file of a block device is by custom; a slash in the name is `!` in `/sys`.
fn device_path(device: &str) -> String {
    format!("/dev/{}", device.replace('!', "/"))
}
