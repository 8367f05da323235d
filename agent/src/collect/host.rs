//! Owns the description of the host and of this program, by the host's own word; refuses to guess what it cannot read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use holdfast_schemas::collection::{HardwareId, Host, Tool};
use holdfast_schemas::digest::Sha256Digest;
use sha2::{Digest, Sha256};

use crate::source::{self, Root};

/// Describes the examined host: the live one, or what the files of a mounted root say of theirs.
pub(super) fn describe(root: &Root) -> Host {
    if root.is_live() { describe_live() } else { describe_mounted(root) }
}

/// Nothing of the machine that reads a mounted root may pass for the host it came from.
fn describe_mounted(root: &Root) -> Host {
    let text = |path: &str| {
        let bytes = root.text(path, 64 << 10).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|text| !text.is_empty())
    };
    let release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"));
    let pretty = release.as_deref().and_then(|release| {
        let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(value.trim_matches('"').to_owned())
    });
    Host {
        name: text("/etc/hostname"),
        os: pretty,
        kernel: None,
        architecture: "unknown".to_owned(),
        machine_id: text("/etc/machine-id"),
        boot_id: None,
        hardware: Vec::new(),
        addresses: Vec::new(),
        virtualisation: None,
    }
}

fn describe_live() -> Host {
    let networks = sysinfo::Networks::new_with_refreshed_list();
    let mut addresses: Vec<String> = networks
        .iter()
        .flat_map(|networks| networks.values())
        .flat_map(sysinfo::NetworkData::ip_networks)
        .filter(|network| !network.addr.is_loopback())
        .map(|network| network.addr.to_string())
        .collect();
    addresses.sort();
    addresses.dedup();
    Host {
        name: sysinfo::System::host_name().ok(),
        os: sysinfo::System::long_os_version().ok(),
        kernel: sysinfo::System::kernel_version().ok(),
        architecture: std::env::consts::ARCH.to_owned(),
        machine_id: line("/etc/machine-id"),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        hardware: hardware(),
        addresses,
        virtualisation: virtualisation(),
    }
}

fn hardware() -> Vec<HardwareId> {
    const KINDS: [&str; 6] =
        ["sys_vendor", "product_name", "product_serial", "product_uuid", "board_serial", "chassis_asset_tag"];
    let read = |kind: &str| {
        let value = line(&format!("/sys/class/dmi/id/{kind}"))?;
        Some(HardwareId { kind: kind.to_owned(), value })
    };
    KINDS.into_iter().filter_map(read).collect()
}

/// A container by its marks, else a virtual machine by the processor's hypervisor flag.
fn virtualisation() -> Option<String> {
    if let Some(manager) = line("/run/systemd/container") {
        return Some(format!("container ({manager})"));
    }
    if Path::new("/.dockerenv").exists() {
        return Some("container (docker)".to_owned());
    }
    if Path::new("/run/.containerenv").exists() {
        return Some("container (podman)".to_owned());
    }
    let cpuinfo = source::kernel_text("/proc/cpuinfo").ok()?;
    let flags = String::from_utf8_lossy(&cpuinfo).lines().any(|line| {
        line.starts_with("flags") && line.split_ascii_whitespace().any(|flag| flag == "hypervisor")
    });
    flags.then(|| "virtual machine".to_owned())
}

/// The first line of a small file, without blanks; nothing where it is empty or cannot be read.
fn line(path: &str) -> Option<String> {
    let text = source::kernel_text(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line =
        text.lines().next()?.trim_matches(|character: char| character.is_whitespace() || character == '\0');
    (!line.is_empty()).then(|| line.to_owned())
}

/// Describes the running program and what it may do here.
pub(super) fn this_program() -> Tool {
    let root = rustix::process::geteuid().is_root();
    let capabilities = status_field("CapEff");
    let limits = if root {
        Vec::new()
    } else {
        vec![
            "files and processes of other users that only root may read".to_owned(),
            "access times are left alone only for this user's own files".to_owned(),
        ]
    };
    Tool {
        name: "holdfast-agent".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sha256: own_digest().ok(),
        build: format!(
            "{} {}",
            std::env::consts::ARCH,
            if cfg!(debug_assertions) { "debug" } else { "release" }
        ),
        arguments: std::env::args_os()
            .skip(1)
            .map(|argument| recordable(&argument.to_string_lossy()))
            .collect(),
        privileges: format!(
            "uid {}, effective uid {}, effective capabilities {}",
            rustix::process::getuid().as_raw(),
            rustix::process::geteuid().as_raw(),
            capabilities.as_deref().unwrap_or("unknown")
        ),
        limits,
    }
}

/// An argument as it may be recorded: the query of an address can hold a credential.
fn recordable(argument: &str) -> String {
    match (argument.contains("://"), argument.split_once('?')) {
        (true, Some((address, _))) => format!("{address}?[not recorded]"),
        _ => argument.to_owned(),
    }
}

fn own_digest() -> io::Result<Sha256Digest> {
    let mut executable = File::open("/proc/self/exe")?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match executable.read(&mut buffer)? {
            0 => return Ok(hasher.into()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Peak resident memory of this process, bytes.
pub(super) fn peak_memory() -> Option<u64> {
    let field = status_field("VmHWM")?;
    let kib: u64 = field.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn status_field(name: &str) -> Option<String> {
    let status = source::kernel_text("/proc/self/status").ok()?;
    let status = String::from_utf8_lossy(&status);
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_recorded_without_its_query() {
        assert_eq!(
            recordable("http://tsa.example.gov/x?token=secret"),
            "http://tsa.example.gov/x?[not recorded]"
        );
        assert_eq!(recordable("--path=/var/log/a?.log"), "--path=/var/log/a?.log");
    }
}
