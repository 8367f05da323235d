//! Owns what the tables of firmware and hardware share; refuses to write a variable or to probe a bus.

pub(super) mod acpi_tables;
pub(super) mod efi_variables;
pub(super) mod ima;
pub(super) mod pci_devices;
pub(super) mod platform;
mod tpm_events;
pub(super) mod tpm_log;
pub(super) mod usb_devices;
