//! Owns the table of files whose modes, owners, names or places are odd; refuses to judge them.

use std::io;

use holdfast_schemas::item::{ItemKind, Xattr};
use rustix::fs::StatxAttributes;
use serde::Serialize;

use super::super::capabilities;
use super::super::text::text;
use super::acl::named_entries;
use super::{Entry, each_entry, noted};
use crate::source::Owners;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "file_oddities",
    about: "Files with capabilities, attributes, access lists, owners, modes, names or places that are worth a look.",
    sources: &["statx(2) of every file", "extended attributes", "/etc/passwd", "/etc/group"],
    group: Group::Disk,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_oddities,
};

/// One file and everything about it that is odd.
#[derive(Serialize)]
struct OddityRow {
    /// Derived: Path of the file.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: What it is: file, directory, symlink, fifo, socket, char_device or block_device.
    kind: ItemKind,
    /// Derived: What is odd: file_capability, immutable, append_only, acl, unknown_owner, unknown_group,
    /// world_writable_file, world_writable_folder (without sticky bit), hidden_executable (dot name in a system
    /// folder), deceptive_name, device_outside_dev, executable_in_temporary_folder, setuid_not_root.
    reasons: Vec<&'static str>,
    /// Derived: Permission bits, octal.
    mode: String,
    /// Derived: Owner's user id.
    uid: u32,
    /// Derived: Owner's group id.
    gid: u32,
    /// Derived: Size in bytes.
    size: u64,
    /// Derived: Inode number.
    inode: u64,
    /// Derived: Device it lies on, `major:minor`.
    device: String,
    /// Derived: For a device node the device it stands for, `major:minor`; else null.
    device_node: Option<String>,
    /// Derived: File capabilities, such as `cap_net_raw=ep`; `unreadable` where not in the kernel's form; null
    /// where none.
    capabilities: Option<String>,
    /// Derived: Entries of the access list beyond the mode, such as `user:1000:rwx`; `unreadable` where not in
    /// the kernel's form; null where none.
    acl: Option<String>,
    /// Derived: Last change of its content, Unix seconds.
    mtime: i64,
    /// Derived: Last change of its inode, Unix seconds.
    ctime: i64,
}

fn capture_oddities(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let owners = Owners::of(capture.root());
    each_entry(capture, &mut |capture, entry| {
        let path = entry.path();
        let mut reasons = reasons(entry, &path, &owners);
        let attributes = attributes(capture, entry)?;
        let value =
            |name: &str| attributes.iter().find(|xattr| xattr.name == name).map(|xattr| &xattr.value.0);
        let unreadable = || "unreadable".to_owned();
        let granted =
            value("security.capability").map(|value| capabilities::spelled(value).unwrap_or_else(unreadable));
        let acl =
            value("system.posix_acl_access").map(|value| named_entries(value).unwrap_or_else(unreadable));
        let acl = acl.filter(|entries| !entries.is_empty());
        reasons.extend(granted.is_some().then_some("file_capability"));
        reasons.extend(acl.is_some().then_some("acl"));
        if reasons.is_empty() { Ok(()) } else { capture.row(&row(entry, &path, reasons, granted, acl)) }
    })
}

fn row(
    entry: &Entry<'_>,
    path: &[u8],
    reasons: Vec<&'static str>,
    capabilities: Option<String>,
    acl: Option<String>,
) -> OddityRow {
    let stat = entry.looked.statx();
    let (path, path_raw) = text(path);
    let device_node = is_device(entry.looked.kind);
    OddityRow {
        path,
        path_raw,
        kind: entry.looked.kind,
        reasons,
        mode: format!("{:04o}", entry.looked.mode()),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        inode: stat.stx_ino,
        device: format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor),
        device_node: device_node.then(|| format!("{}:{}", stat.stx_rdev_major, stat.stx_rdev_minor)),
        capabilities,
        acl,
        mtime: stat.stx_mtime.tv_sec,
        ctime: stat.stx_ctime.tv_sec,
    }
}

/// Extended attributes of a regular file or folder, for which it is opened; nothing else has those that count here.
fn attributes(capture: &mut TableCapture<'_>, entry: &Entry<'_>) -> io::Result<Vec<Xattr>> {
    let read = match entry.looked.kind {
        ItemKind::File => entry.folder.open(entry.name, entry.looked).map(|open| open.xattrs()),
        ItemKind::Directory => entry.folder.descend(entry.name).map(|below| below.xattrs()),
        _ => return Ok(Vec::new()),
    };
    Ok(noted(capture, entry, read)?.unwrap_or_default())
}

/// What is odd by what was looked at, without opening it.
fn reasons(entry: &Entry<'_>, path: &[u8], owners: &Owners) -> Vec<&'static str> {
    let (stat, mode, kind) = (entry.looked.statx(), entry.looked.mode(), entry.looked.kind);
    let is_executable = entry.is_file() && mode & 0o111 != 0;
    let is_whiteout = stat.stx_rdev_major == 0 && stat.stx_rdev_minor == 0;
    let found = [
        (stat.stx_attributes.contains(StatxAttributes::IMMUTABLE), "immutable"),
        (stat.stx_attributes.contains(StatxAttributes::APPEND), "append_only"),
        (owners.user(stat.stx_uid).is_none(), "unknown_owner"),
        (owners.group(stat.stx_gid).is_none(), "unknown_group"),
        (kind == ItemKind::File && mode & 0o002 != 0, "world_writable_file"),
        (kind == ItemKind::Directory && mode & 0o1002 == 0o002, "world_writable_folder"),
        (is_executable && entry.name.starts_with(b".") && in_any(path, &SYSTEM), "hidden_executable"),
        (is_deceptive(entry.name), "deceptive_name"),
        // An overlay marks what was removed with a device 0:0.
        (is_device(kind) && !is_whiteout && !path.starts_with(b"/dev/"), "device_outside_dev"),
        (is_executable && in_any(path, &TEMPORARY), "executable_in_temporary_folder"),
        (entry.is_file() && mode & 0o4000 != 0 && stat.stx_uid != 0, "setuid_not_root"),
    ];
    found.into_iter().filter_map(|(is_so, reason)| is_so.then_some(reason)).collect()
}

/// Folders where nothing that runs hides behind a dot.
const SYSTEM: [&[u8]; 11] = [
    b"/bin/", b"/sbin/", b"/lib/", b"/lib64/", b"/usr/", b"/etc/", b"/boot/", b"/dev/", b"/opt/", b"/var/",
    b"/run/",
];

/// Folders that anybody may write to, or that a restart empties.
const TEMPORARY: [&[u8]; 4] = [b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/"];

fn in_any(path: &[u8], folders: &[&[u8]]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn is_device(kind: ItemKind) -> bool {
    matches!(kind, ItemKind::CharDevice | ItemKind::BlockDevice)
}

/// Whether a name is made to be overlooked: only dots and white space, white space at an end, or control characters.
fn is_deceptive(name: &[u8]) -> bool {
    let blank = |byte: &u8| *byte == b'.' || byte.is_ascii_whitespace();
    let at_an_end =
        name.first().is_some_and(u8::is_ascii_whitespace) || name.last().is_some_and(u8::is_ascii_whitespace);
    name.iter().all(blank) || at_an_end || name.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_made_to_be_overlooked_are_told_from_ordinary_hidden_ones() {
        for odd in [&b"..."[..], b".. ", b" ", b"ssh ", b" ssh", b"a\nb", b"\x1b[2K"] {
            assert!(is_deceptive(odd), "{odd:?}");
        }
        for ordinary in [&b".bashrc"[..], b"a b", b"x.", b"\xff", b"..data"] {
            assert!(!is_deceptive(ordinary), "{ordinary:?}");
        }
    }
}
