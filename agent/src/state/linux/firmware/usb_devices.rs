//! Owns the table of USB devices that are connected; refuses to tell of those that were, which logs do.

use std::io;

use serde::Serialize;

use crate::source::kernel_link;
use crate::state::linux::kernel::{attribute, names};
use crate::state::linux::text::{number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "usb_devices",
    about: "USB devices that are connected, and what they claim to be.",
    sources: &["/sys/bus/usb/devices/*"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_devices,
};

/// One USB device; what it claims is its own word.
#[derive(Serialize)]
struct UsbRow {
    /// osquery: Number on its bus.
    usb_address: Option<u64>,
    /// osquery: Number of the bus.
    usb_port: Option<u64>,
    /// osquery: Maker.
    vendor: Option<String>,
    /// Derived: Base64 of the exact bytes behind `vendor`; null where `vendor` is those bytes verbatim.
    vendor_raw: Option<String>,
    /// osquery: Maker's number, hexadecimal.
    vendor_id: String,
    /// osquery: Version of the device.
    version: Option<String>,
    /// osquery: Model.
    model: Option<String>,
    /// Derived: Base64 of the exact bytes behind `model`; null where `model` is those bytes verbatim.
    model_raw: Option<String>,
    /// osquery: Model's number, hexadecimal.
    model_id: Option<String>,
    /// osquery: Serial number.
    serial: Option<String>,
    /// Derived: Base64 of the exact bytes behind `serial`; null where `serial` is those bytes verbatim.
    serial_raw: Option<String>,
    /// osquery: Class, hexadecimal.
    class: Option<String>,
    /// osquery: Class within the class, hexadecimal.
    subclass: Option<String>,
    /// osquery: Protocol, hexadecimal.
    protocol: Option<String>,
    /// osquery: 1 where it can be taken out, 0 where it is fixed, -1 where the kernel does not know.
    removable: i8,
    /// Derived: Where it is connected, such as 1-1.2.
    path: String,
    /// Derived: Whether the kernel lets it be used; null where it does not say.
    authorized: Option<bool>,
    /// Derived: Its interfaces, separated by commas, each `class/subclass/protocol:driver`.
    interfaces: String,
}

const FOLDER: &str = "/sys/bus/usb/devices";

fn capture_devices(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let all = names(capture, FOLDER);
    // Interfaces stand beside devices, as `device:configuration.interface`.
    for path in all.iter().filter(|name| !name.contains(':')) {
        let read = |file: &str| attribute(&format!("{FOLDER}/{path}/{file}"));
        let word = |file: &str| read(file).map(|value| text(&value).0);
        let count = |file: &str| read(file).and_then(|value| number(&value));
        let Some(vendor_id) = word("idVendor") else { continue };
        let (vendor, vendor_raw) = optional(read("manufacturer").as_deref());
        let (model, model_raw) = optional(read("product").as_deref());
        let (serial, serial_raw) = optional(read("serial").as_deref());
        let own = all
            .iter()
            .filter(|name| name.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with(':')));
        let row = UsbRow {
            usb_address: count("devnum"),
            usb_port: count("busnum"),
            vendor,
            vendor_raw,
            vendor_id,
            version: word("bcdDevice"),
            model,
            model_raw,
            model_id: word("idProduct"),
            serial,
            serial_raw,
            class: word("bDeviceClass"),
            subclass: word("bDeviceSubClass"),
            protocol: word("bDeviceProtocol"),
            removable: match word("removable").as_deref() {
                Some("removable") => 1,
                Some("fixed") => 0,
                _ => -1,
            },
            path: path.clone(),
            authorized: count("authorized").map(|on| on != 0),
            interfaces: own.map(|name| interface(name)).collect::<Vec<_>>().join(","),
        };
        capture.row(&row)?;
    }
    Ok(())
}

fn interface(name: &str) -> String {
    let word = |file: &str| {
        attribute(&format!("{FOLDER}/{name}/{file}")).map_or_else(String::new, |value| text(&value).0)
    };
    let target = kernel_link(&format!("{FOLDER}/{name}/driver")).unwrap_or_default();
    let driver = text(target.rsplit(|byte| *byte == b'/').next().unwrap_or_default()).0;
    let numbers = ["bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"].map(word).join("/");
    format!("{numbers}:{driver}")
}
