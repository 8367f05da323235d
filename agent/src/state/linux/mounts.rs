//! Owns the table of mounts; refuses to touch the file systems themselves, one of which may not answer.

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;

use super::process_folders::keep_small;
use super::text::{number, text};
use crate::source::kernel_lines;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "mounts",
    about: "Mounts of the agent's mount namespace.",
    sources: &["/proc/self/mountinfo"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_mounts,
};

/// One mount of the examiner's mount namespace, one line of `/proc/self/mountinfo`.
#[derive(Serialize)]
struct MountRow {
    /// osquery: Device or source as given to mount.
    device: String,
    /// Derived: Base64 of the exact bytes behind `device`; null where `device` is those bytes verbatim.
    device_raw: Option<String>,
    /// osquery: Mount point, relative to the process's root.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: File system type.
    r#type: String,
    /// Derived: Base64 of the exact bytes behind `type`; null where `type` is those bytes verbatim.
    type_raw: Option<String>,
    /// osquery: Options of the mount, then of the file system, joined by a comma.
    flags: String,
    /// Derived: Base64 of the exact bytes behind `flags`; null where `flags` is those bytes verbatim.
    flags_raw: Option<String>,
    /// Derived: Identifier of the mount.
    mount_id: u64,
    /// Derived: Identifier of the mount it lies in.
    parent_id: u64,
    /// Derived: `major:minor` of the files on it.
    device_number: String,
    /// Derived: Folder of the file system that is mounted.
    root: String,
    /// Derived: Base64 of the exact bytes behind `root`; null where `root` is those bytes verbatim.
    root_raw: Option<String>,
    /// Derived: Propagation fields, such as `shared:1`; empty where private.
    propagation: String,
    /// Derived: Base64 of the exact bytes behind `propagation`; null where `propagation` is those bytes
    /// verbatim.
    propagation_raw: Option<String>,
}

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Captures the table.
pub(super) fn capture_mounts(capture: &mut TableCapture<'_>) -> io::Result<()> {
    keep_small(capture, MOUNTINFO);
    let mut unreadable = 0;
    let too_long = kernel_lines(MOUNTINFO, &mut |line| match parse_mount(line) {
        Some(row) => capture.row(&row),
        None => {
            unreadable += 1;
            Ok(())
        }
    })?;
    if unreadable + too_long > 0 {
        let reason = format!("{} lines unreadable", unreadable + too_long);
        capture.gap(MOUNTINFO, &io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(())
}

/// Where file systems of `kind` are mounted in the agent's namespace; such mounts are few.
pub(super) fn mounted(capture: &mut TableCapture<'_>, kind: &str) -> Vec<Vec<u8>> {
    let mut found = BTreeSet::new();
    let listed = kernel_lines(MOUNTINFO, &mut |line| {
        let mut columns = line.split(|byte| *byte == b' ');
        let point = columns.nth(4).unwrap_or_default();
        if columns.skip_while(|column| *column != b"-").nth(1) == Some(kind.as_bytes()) && found.len() < 1000
        {
            found.insert(unescaped(point));
        }
        Ok(())
    });
    if let Err(reason) = listed {
        capture.gap(MOUNTINFO, &reason);
    }
    found.into_iter().collect()
}

/// `id parent major:minor root point options [propagation ...] - type device options`
fn parse_mount(line: &[u8]) -> Option<MountRow> {
    let mut columns = line.split(|byte| *byte == b' ');
    let mount_id = number(columns.next()?)?;
    let parent_id = number(columns.next()?)?;
    let device_number = text(columns.next()?).0;
    let (root, root_raw) = text(&unescaped(columns.next()?));
    let (path, path_raw) = text(&unescaped(columns.next()?));
    let own_options = columns.next()?;
    let propagation: Vec<&[u8]> = columns.by_ref().take_while(|column| *column != b"-").collect();
    let (propagation, propagation_raw) = text(&propagation.join(&b' '));
    let (r#type, type_raw) = text(&unescaped(columns.next()?));
    let (device, device_raw) = text(&unescaped(columns.next()?));
    let options = [own_options, columns.next()?].join(&b',');
    let (flags, flags_raw) = text(&unescaped(&options));
    Some(MountRow {
        device,
        device_raw,
        path,
        path_raw,
        r#type,
        type_raw,
        flags,
        flags_raw,
        mount_id,
        parent_id,
        device_number,
        root,
        root_raw,
        propagation,
        propagation_raw,
    })
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let escape = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &rest[4..] } else { behind };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        b"36 35 98:0 /mnt1 /mnt\\0402\\134 rw,noatime master:1 shared:2 - ext3 /dev/ro\\012ot rw,errors=continue";

    #[test]
    fn mount_line_is_read_with_its_escapes_undone() {
        let row = parse_mount(LINE).unwrap();
        assert_eq!((row.mount_id, row.parent_id, row.device_number.as_str()), (36, 35, "98:0"));
        assert_eq!((row.path.as_str(), row.device.as_str()), ("/mnt 2\\", "/dev/ro\not"));
        assert_eq!(
            (row.flags.as_str(), row.propagation.as_str()),
            ("rw,noatime,rw,errors=continue", "master:1 shared:2")
        );
    }

    #[test]
    fn empty_device_does_not_shift_the_fields() {
        let row = parse_mount(b"1 0 0:1 / / rw - tmpfs  rw,size=4k").unwrap();
        assert_eq!((row.device.as_str(), row.flags.as_str()), ("", "rw,rw,size=4k"));
    }

    #[test]
    fn every_cut_and_every_garbage_byte_of_a_line_is_harmless() {
        for end in 0..LINE.len() {
            let _ = parse_mount(&LINE[..end]);
            for byte in [0, b' ', b'-', b'\\', 0xff] {
                let mut garbage = LINE.to_vec();
                garbage[end] = byte;
                let _ = parse_mount(&garbage);
            }
        }
        assert_eq!(unescaped(b"\\\\777\\40"), b"\\\\777\\40");
    }
}
