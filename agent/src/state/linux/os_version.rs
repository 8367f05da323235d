//! Owns the table of the operating system's name and version; refuses to guess one from anything but its own files.

use std::io::{self, Read};

use super::files::{Files, SMALL, lines};
use super::row::row;
use super::text::{Twin, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "os_version",
    about: "Name and version of the operating system, and its identity.",
    sources: &[
        "/etc/os-release",
        "/usr/lib/os-release",
        "/etc/machine-id",
        "/etc/hostname",
        "/etc/timezone",
        "/etc/localtime",
        "/bin/sh",
    ],
    group: Group::Kernel,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_version,
};

row! {
    /// The operating system, by its own files.
    struct VersionRow {
        /// osquery: Name; empty where not said.
        name: Twin,
        /// osquery: Version in full; empty where not said.
        version: Twin,
        /// osquery: First number of the version; null where there is none.
        major: Option<u64>,
        /// osquery: Second number of the version; null where there is none.
        minor: Option<u64>,
        /// osquery: Third number of the version; null where there is none.
        patch: Option<u64>,
        /// osquery: Build; null where not said.
        build: Option<Twin>,
        /// osquery: Short name, such as debian; empty where not said.
        platform: Twin,
        /// osquery: Short names of systems it is like; null where not said.
        platform_like: Option<Twin>,
        /// osquery: Code name; null where not said.
        codename: Option<Twin>,
        /// osquery: Architecture of the host's programs, by the header of `/bin/sh`; null where that cannot be told.
        arch: Option<&'static str>,
        /// Derived: Name and version for people; null where not said.
        pretty_name: Option<Twin>,
        /// Derived: `/etc/machine-id`; null where there is none.
        machine_id: Option<Twin>,
        /// Derived: `/etc/hostname`; null where there is none.
        hostname: Option<Twin>,
        /// Derived: Time zone by the target of `/etc/localtime`, else by `/etc/timezone`; null where neither says.
        time_zone: Option<Twin>,
        /// Derived: File that names the system; null where there is none.
        source_file: Option<&'static str>,
    }
}

fn capture_version(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let found = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| files.text(capture, path.as_bytes(), SMALL).map(|file| (path, file)));
    let mut first_line = |capture: &mut TableCapture<'_>, path: &str| {
        let file = files.text(capture, path.as_bytes(), SMALL)?;
        lines(&file).map(|(_, line)| line.trim_ascii()).find(|line| !line.is_empty()).map(text)
    };
    let machine_id = first_line(capture, "/etc/machine-id");
    let hostname = first_line(capture, "/etc/hostname");
    let time_zone = first_line(capture, "/etc/timezone");
    let linked = files
        .entry(capture, b"/etc/localtime")
        .filter(|entry| entry.kind == holdfast_schemas::item::ItemKind::Symlink);
    let linked = linked.and_then(|entry| files.link(capture, &entry.path));
    let time_zone = linked.as_deref().and_then(zone_of).map(text).or(time_zone);
    let header = files.within(capture, b"/bin/sh", |root, _| {
        let mut header = Vec::with_capacity(20);
        root.open_file("/bin/sh")?.file.take(20).read_to_end(&mut header)?;
        Ok(header)
    });
    let arch = header.as_deref().and_then(arch_of);
    if found.is_none() && machine_id.is_none() && hostname.is_none() {
        return Ok(());
    }
    let (source_file, file) = found.map_or((None, Vec::new()), |(path, file)| (Some(path), file));
    let value = |name: &str| value_of(&file, name.as_bytes());
    let version = value("VERSION_ID").unwrap_or_default();
    let mut numbers = version.split(|byte| *byte == b'.').map(number);
    let mut next = || numbers.next().flatten();
    capture.row(&VersionRow {
        name: text(&value("NAME").unwrap_or_default()),
        version: text(&value("VERSION").unwrap_or_else(|| version.clone())),
        major: next(),
        minor: next(),
        patch: next(),
        build: value("BUILD_ID").map(|value| text(&value)),
        platform: text(&value("ID").unwrap_or_default()),
        platform_like: value("ID_LIKE").map(|value| text(&value)),
        codename: value("VERSION_CODENAME").map(|value| text(&value)),
        arch,
        pretty_name: value("PRETTY_NAME").map(|value| text(&value)),
        machine_id,
        hostname,
        time_zone,
        source_file,
    })
}

/// The architecture in an ELF header, as uname(1) calls it.
fn arch_of(header: &[u8]) -> Option<&'static str> {
    let big_endian = *header.strip_prefix(b"\x7fELF")?.get(1)? == 2;
    let machine = *header.get(18..)?.first_chunk::<2>()?;
    let machine = if big_endian { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    Some(match machine {
        3 => "i386",
        20 => "ppc",
        21 if big_endian => "ppc64",
        21 => "ppc64le",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        _ => return None,
    })
}

/// The zone's name in the target of `/etc/localtime`.
fn zone_of(target: &[u8]) -> Option<&[u8]> {
    let mark = b"/zoneinfo/";
    let at = target.windows(mark.len()).position(|window| window == mark)?;
    target.get(at + mark.len()..)
}

/// A value of os-release(5), without its quotes; the last one counts.
fn value_of(file: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let values =
        lines(file).filter_map(|(_, line)| line.trim_ascii().strip_prefix(wanted)?.strip_prefix(b"="));
    let value = values.last()?;
    let quoted = |mark: &[u8]| value.strip_prefix(mark)?.strip_suffix(mark);
    let (inner, double) = match (quoted(b"\""), quoted(b"'")) {
        (Some(inner), _) => (inner, true),
        (_, Some(inner)) => (inner, false),
        _ => (value, true),
    };
    let mut escaped = false;
    let unescaped = inner.iter().copied().filter(|byte| {
        escaped = double && *byte == b'\\' && !escaped;
        !escaped
    });
    Some(unescaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_and_the_last_counts() {
        let file = b"ID=old\nNAME=\"A \\\"B\\\"\"\nID='d\\x'\nBAD\nX=\"\n";
        assert_eq!(value_of(file, b"NAME").unwrap(), b"A \"B\"");
        assert_eq!(value_of(file, b"ID").unwrap(), b"d\\x");
        assert_eq!(value_of(file, b"X").unwrap(), b"\"");
        assert_eq!(value_of(b"\xff\0", b"ID"), None);
        assert_eq!(arch_of(b"\x7fELF\x02\x01\0\0\0\0\0\0\0\0\0\0\x03\0\xb7\0"), Some("aarch64"));
        for garbage in [&b""[..], b"#!/bin/sh and more text", b"\x7fELF", b"\x7fELF\x02\x01"] {
            assert_eq!(arch_of(garbage), None);
        }
        assert_eq!(zone_of(b"../usr/share/zoneinfo/Europe/Vienna"), Some(&b"Europe/Vienna"[..]));
    }
}
