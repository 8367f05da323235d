//! Owns the table of mounts; refuses to touch the file systems themselves, one of which may not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;

use super::process_folders::{each_process, keep_small, noted};
use super::text::{bracketed, number, text};
use crate::source::{KERNEL_TEXT_CAP, KernelFolder, kernel_lines, kernel_link, unescaped};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "mounts",
    about: "Mounts of every mount namespace, with those that another mount hides.",
    sources: &["/proc/self/mountinfo", "/proc/<pid>/mountinfo", "/proc/<pid>/ns/mnt"],
    group: Group::Storage,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_mounts,
};

/// One mount of one mount namespace, one line of a `mountinfo`.
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
    /// Derived: Inode of the mount namespace.
    namespace: u64,
    /// Derived: A process in that namespace, through which it was seen; the agent's own for its namespace.
    pid: u32,
    /// Derived: Whether another mount lies over it, or over a folder above it, so that its path leads elsewhere.
    over_mounted: bool,
}

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Mount namespaces that are shown at most.
const NAMESPACES: usize = 1_000;

/// Captures the table: the agent's own namespace, then one process of every other.
pub(super) fn capture_mounts(capture: &mut TableCapture<'_>) -> io::Result<()> {
    keep_small(capture, MOUNTINFO);
    let mut seen = BTreeSet::new();
    // The number of the agent in the namespace of its `/proc`.
    let own = kernel_link("/proc/self").and_then(|pid| number(&pid).ok_or(io::ErrorKind::InvalidData.into()));
    match own.and_then(|pid| Ok((pid, KernelFolder::of_process(pid)?))) {
        Ok((pid, process)) => capture_once(capture, &process, pid, &mut seen)?,
        Err(reason) => capture.gap("/proc/self", &reason),
    }
    each_process(capture, &mut |capture, pid, process| capture_once(capture, process, pid, &mut seen))?;
    if seen.len() >= NAMESPACES {
        let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more namespaces than are shown");
        capture.gap(format!("mount namespaces past {NAMESPACES}"), &reason);
    }
    Ok(())
}

/// Captures the namespace of `process` where it was not `seen` yet.
fn capture_once(
    capture: &mut TableCapture<'_>,
    process: &KernelFolder,
    pid: u32,
    seen: &mut BTreeSet<u64>,
) -> io::Result<()> {
    let target = noted(capture, process, "ns/mnt", process.link("ns/mnt"));
    match target.and_then(|target| bracketed(&target, b"mnt")) {
        Some(namespace) if seen.len() < NAMESPACES && seen.insert(namespace) => {
            capture_namespace(capture, process, pid, namespace)
        }
        _ => Ok(()),
    }
}

fn capture_namespace(
    capture: &mut TableCapture<'_>,
    process: &KernelFolder,
    pid: u32,
    namespace: u64,
) -> io::Result<()> {
    let read = process.prefix("mountinfo", KERNEL_TEXT_CAP);
    let Some(listed) = noted(capture, process, "mountinfo", read) else { return Ok(()) };
    let lines = || listed.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let places = Places::of(lines());
    let mut unreadable = u64::from(listed.cut);
    for line in lines() {
        let Some(mut row) = parse_mount(line) else {
            unreadable += 1;
            continue;
        };
        (row.namespace, row.pid, row.over_mounted) = (namespace, pid, places.hides(row.mount_id));
        capture.row(&row)?;
    }
    if unreadable > 0 {
        let reason = io::Error::new(io::ErrorKind::InvalidData, format!("{unreadable} lines unreadable"));
        capture.gap(format!("/proc/{pid}/mountinfo"), &reason);
    }
    Ok(())
}

/// Where the mounts of one namespace lie.
#[derive(Default)]
struct Places<'a> {
    by_id: BTreeMap<u64, (u64, &'a [u8])>,
    by_path: BTreeMap<&'a [u8], Vec<u64>>,
}

/// How many mounts lie within one another at most, for the search; a host has a few.
const WITHIN: usize = 256;

impl<'a> Places<'a> {
    fn of(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut places = Self::default();
        for line in lines {
            let mut columns = line.split(|byte| *byte == b' ');
            let ids = (columns.next().and_then(number), columns.next().and_then(number));
            if let ((Some(id), Some(parent)), Some(path)) = (ids, columns.nth(2)) {
                places.by_id.insert(id, (parent, path));
                places.by_path.entry(path).or_default().push(id);
            }
        }
        places
    }

    /// Whether a mount that this one does not lie in is at its path or above: then the path leads there.
    fn hides(&self, id: u64) -> bool {
        let Some((_, path)) = self.by_id.get(&id) else { return false };
        let mut within = BTreeSet::from([id]);
        let mut above = id;
        while let Some((parent, _)) = self.by_id.get(&above)
            && within.len() < WITHIN
            && within.insert(*parent)
        {
            above = *parent;
        }
        let ends = (0..path.len()).filter(|end| path[*end] == b'/').chain([path.len()]);
        ends.filter_map(|end| self.by_path.get(if end == 0 { &b"/"[..] } else { &path[..end] }))
            .any(|mounts| mounts.iter().take(WITHIN).any(|other| !within.contains(other)))
    }
}

/// Mounts of one kind that are looked at most.
const MOUNTED: usize = 1_000;

/// Where file systems of `kind` are mounted in the agent's namespace.
pub(super) fn mounted(capture: &mut TableCapture<'_>, kind: &str) -> Vec<Vec<u8>> {
    let mut found = BTreeSet::new();
    let listed = kernel_lines(MOUNTINFO, &mut |line| {
        let mut columns = line.split(|byte| *byte == b' ');
        let point = columns.nth(4).unwrap_or_default();
        if columns.skip_while(|column| *column != b"-").nth(1) == Some(kind.as_bytes()) {
            if found.len() == MOUNTED {
                let reason = format!("more than {MOUNTED} mounts of {kind}, the others are not looked at");
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
            }
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
        namespace: 0,
        pid: 0,
        over_mounted: false,
    })
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
    fn mount_that_another_lies_over_is_hidden_and_the_upper_one_is_not() {
        let lines: Vec<&[u8]> = vec![
            b"1 0 0:1 / / rw",
            b"2 1 0:2 / /a rw",
            b"3 2 0:3 / /a/b rw",
            b"4 2 0:4 / /a rw",
            b"5 4 0:5 / /a/c rw",
            b"6 6 0:6 / /ab rw",
        ];
        let places = Places::of(lines.into_iter());
        let hidden: Vec<bool> = (1..=6).map(|id| places.hides(id)).collect();
        assert_eq!(hidden[..5], [false, true, true, false, false]);
        assert!(!places.hides(99));
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
    }
}
