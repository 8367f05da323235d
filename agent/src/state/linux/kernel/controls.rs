//! Owns the table of kernel settings; refuses to read those that act when they are read and to keep those that are
//! secrets.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::configured::configured;
use super::{Walk, each_folder, listed};
use crate::source::{KernelEntry, KernelTree, Watchdog};
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::{number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "system_controls",
    about: "Kernel settings (sysctl) in force, without those that are secrets.",
    sources: &["/proc/sys", "/{etc,run,usr/lib}/sysctl.d/*.conf", "/etc/sysctl.conf"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_controls,
};

/// One setting. Those below `net` are of the agent's network namespace.
#[derive(Serialize)]
struct ControlRow {
    /// osquery: Name with dots for the parts; a dot inside a part is a slash, as in sysctl(8).
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: First part of the name.
    subsystem: String,
    /// osquery: Value in force, without its last line feed; null where `omitted` or a gap says why.
    current_value: Option<String>,
    /// Derived: Base64 of the exact bytes behind `current_value`; null where `current_value` is those bytes
    /// verbatim.
    current_value_raw: Option<String>,
    /// osquery: Value that the files of sysctl.d(5) and sysctl.conf(5) ask for, the last of them; null where
    /// none does, where only a pattern does, and for a secret.
    config_value: Option<String>,
    /// Derived: Base64 of the exact bytes behind `config_value`; null where `config_value` is those bytes
    /// verbatim.
    config_value_raw: Option<String>,
    /// osquery: What the value looks like: int, ints (several) or string; null where there is no value.
    r#type: Option<String>,
    /// Derived: Permissions of the file, octal.
    mode: String,
    /// Derived: Why it was not read: secret, changes (it is another with every reading), acts (reading does
    /// something), write_only; null where it was.
    omitted: Option<String>,
}

/// The folders of settings; the kernel has fewer, and is less deep. Registered program formats are another file system
/// with a table of its own, which opening the folder may mount.
const FOLDERS: Walk =
    Walk { what: "folders", depth: 16, most: 200_000, unopened: &[b"/proc/sys/fs/binfmt_misc"] };

/// The longest value that is read.
const VALUE: usize = 64 << 10;

fn capture_controls(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let settings = configured(capture);
    let mut watchdog = Watchdog::default();
    each_folder(capture, vec![b"/proc/sys".to_vec()], &FOLDERS, &mut |capture, folder| {
        for file in listed(capture, folder, folder.files()) {
            capture_control(capture, &mut watchdog, &settings, folder, &file)?;
        }
        Ok(())
    })
}

fn capture_control(
    capture: &mut TableCapture<'_>,
    watchdog: &mut Watchdog,
    settings: &BTreeMap<Vec<u8>, Vec<u8>>,
    folder: &Arc<KernelTree>,
    file: &KernelEntry,
) -> io::Result<()> {
    let exact = dotted(file.path.strip_prefix(b"/proc/sys/").unwrap_or(&file.path));
    let (name, name_raw) = text(&exact);
    let subsystem = name.split('.').next().unwrap_or_default().to_owned();
    let omitted = omitted(&name, file.mode);
    let value = match omitted {
        Some(_) => None,
        None => {
            let (folder, leaf) = (Arc::clone(folder), file.name().to_vec());
            match watchdog.within(move |_| folder.prefix(&leaf, VALUE)) {
                Ok(value) => {
                    if value.cut {
                        let reason = io::Error::new(io::ErrorKind::FileTooLarge, "not read to its end");
                        capture.gap(String::from_utf8_lossy(&file.path), &reason);
                    }
                    Some(value.bytes)
                }
                Err(reason) if has_ended(&reason) => return Ok(()),
                Err(reason) => {
                    capture.gap(String::from_utf8_lossy(&file.path), &reason);
                    None
                }
            }
        }
    };
    let value = value.as_deref().map(|value| value.strip_suffix(b"\n").unwrap_or(value));
    let (current_value, current_value_raw) = optional(value);
    let asked = settings.get(&exact).filter(|_| omitted != Some("secret"));
    let (config_value, config_value_raw) = optional(asked.map(Vec::as_slice));
    capture.row(&ControlRow {
        name,
        name_raw,
        subsystem,
        config_value,
        config_value_raw,
        r#type: value.map(|value| kind(value).to_owned()),
        current_value,
        current_value_raw,
        mode: format!("{:04o}", file.mode & 0o7777),
        omitted: omitted.map(str::to_owned),
    })
}

/// The parts of a path joined by dots, with the dots inside a part as slashes, such as `net.ipv4.conf.eth0/1.forwarding`.
pub(super) fn dotted(path: &[u8]) -> Vec<u8> {
    path.iter()
        .map(|byte| match byte {
            b'/' => b'.',
            b'.' => b'/',
            byte => *byte,
        })
        .collect()
}

/// Why a setting is not read.
fn omitted(name: &str, mode: u32) -> Option<&'static str> {
    let leaf = name.rsplit('.').next().unwrap_or_default();
    match name {
        _ if mode & 0o444 == 0 => Some("write_only"),
        "kernel.random.uuid" => Some("changes"),
        // Folds the counters of every processor together.
        "vm.stat_refresh" => Some("acts"),
        _ if leaf == "stable_secret" || leaf.starts_with("tcp_fastopen_key") => Some("secret"),
        _ => None,
    }
}

fn kind(value: &[u8]) -> &'static str {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).peekable();
    let is_number = |word: &[u8]| number::<i64>(word).is_some() || number::<u64>(word).is_some();
    if words.peek().is_none() {
        return "string";
    }
    let words: Vec<bool> = words.map(is_number).collect();
    match (words.iter().all(|is_number| *is_number), words.len()) {
        (true, 1) => "int",
        (true, _) => "ints",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_dots_and_secrets_are_never_read() {
        assert_eq!(dotted(b"net/ipv4/conf/eth0.1/forwarding"), b"net.ipv4.conf.eth0/1.forwarding");
        assert_eq!(omitted("net.ipv6.conf.eth0.stable_secret", 0o600), Some("secret"));
        assert_eq!(omitted("net.ipv4.tcp_fastopen_key", 0o600), Some("secret"));
        assert_eq!(omitted("kernel.random.uuid", 0o444), Some("changes"));
        assert_eq!(omitted("vm.compact_memory", 0o200), Some("write_only"));
        assert_eq!(omitted("kernel.core_pattern", 0o644), None);
    }

    #[test]
    fn values_are_told_apart_by_how_they_look() {
        for (value, expected) in [
            (&b"1"[..], "int"),
            (b"-1", "int"),
            (b"18446744073709551615", "int"),
            (b"4096\t87380 6291456", "ints"),
            (b"|/bin/x %p", "string"),
            (b"", "string"),
            (b"\xff", "string"),
        ] {
            assert_eq!(kind(value), expected);
        }
    }
}
