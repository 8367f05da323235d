//! Owns the table of PCI devices by their numbers; refuses to name them, which is a database's work.

use std::io;

use serde::Serialize;

use crate::source::kernel_link;
use crate::state::linux::kernel::{attribute, names};
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "pci_devices",
    about: "PCI devices and their drivers.",
    sources: &["/sys/bus/pci/devices/*"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_devices,
};

/// One PCI device; numbers in hexadecimal as the kernel writes them.
#[derive(Serialize)]
struct PciRow {
    /// osquery: Slot, `domain:bus:device.function`.
    pci_slot: String,
    /// osquery: Class.
    pci_class_id: Option<String>,
    /// osquery: Class within the class.
    pci_subclass_id: Option<String>,
    /// osquery: Maker.
    vendor_id: Option<String>,
    /// osquery: Model.
    model_id: Option<String>,
    /// osquery: Maker of the card.
    subsystem_vendor_id: Option<String>,
    /// osquery: Model of the card.
    subsystem_model_id: Option<String>,
    /// osquery: Driver; null for none.
    driver: Option<String>,
    /// Derived: Base64 of the exact bytes behind `driver`; null where `driver` is those bytes verbatim.
    driver_raw: Option<String>,
    /// Derived: Revision.
    revision: Option<String>,
}

fn capture_devices(capture: &mut TableCapture<'_>) -> io::Result<()> {
    const FOLDER: &str = "/sys/bus/pci/devices";
    for pci_slot in names(capture, FOLDER) {
        let value =
            |file: &str| attribute(&format!("{FOLDER}/{pci_slot}/{file}")).map(|value| text(&value).0);
        // Six digits: class, class within it, interface.
        let class = value("class");
        let digits =
            |from: usize| class.as_deref().and_then(|class| class.get(from..from + 2)).map(str::to_owned);
        let target = kernel_link(&format!("{FOLDER}/{pci_slot}/driver")).ok();
        let driver = target.as_deref().and_then(|target| target.rsplit(|byte| *byte == b'/').next());
        let (driver, driver_raw) = optional(driver);
        let row = PciRow {
            pci_class_id: digits(2),
            pci_subclass_id: digits(4),
            vendor_id: value("vendor"),
            model_id: value("device"),
            subsystem_vendor_id: value("subsystem_vendor"),
            subsystem_model_id: value("subsystem_device"),
            driver,
            driver_raw,
            revision: value("revision"),
            pci_slot,
        };
        capture.row(&row)?;
    }
    Ok(())
}
