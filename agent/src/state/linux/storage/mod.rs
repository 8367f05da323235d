//! Owns what the tables of storage share: names and attributes of block devices; refuses to open a device.

pub(super) mod block_devices;
pub(super) mod device_mapper;
pub(super) mod loop_devices;
pub(super) mod md_devices;
pub(super) mod swaps;

use super::kernel::{self, names};
use crate::state::TableCapture;

const FOLDER: &str = "/sys/class/block";

/// The names of block devices, sorted.
fn block_names(capture: &mut TableCapture<'_>) -> Vec<String> {
    names(capture, FOLDER)
}

/// An attribute of a block device, as [`kernel::attribute`].
fn attribute(device: &str, file: &str) -> Option<Vec<u8>> {
    kernel::attribute(&format!("{FOLDER}/{device}/{file}"))
}

/// The names in a folder of a block device, sorted and joined by commas; empty for none.
fn neighbours(capture: &mut TableCapture<'_>, device: &str, folder: &str) -> String {
    names(capture, &format!("{FOLDER}/{device}/{folder}")).join(",")
}

/// Where the device file of a block device is by custom; a slash in the name is `!` in `/sys`.
fn device_path(device: &str) -> String {
    format!("/dev/{}", device.replace('!', "/"))
}
