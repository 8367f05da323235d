//! Owns the body file of the whole disk in the form of The Sleuth Kit 3; refuses to open any file but folders.

use std::fmt::Write;
use std::io;

use holdfast_schemas::item::ItemKind;
use rustix::fs::StatxFlags;

use super::{Entry, each_entry, noted};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "bodyfile",
    about: "Every file of the disk with its four times, in the body file form of The Sleuth Kit 3.",
    sources: &["statx(2) of every file"],
    group: Group::Disk,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_bodyfile,
};

/// Captures the table: `MD5|name|inode|mode_as_string|UID|GID|size|atime|mtime|ctime|crtime`, seconds, 0 for unknown.
fn capture_bodyfile(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_entry(capture, &mut |capture, entry| {
        let target = match entry.looked.kind {
            ItemKind::Symlink => noted(capture, entry, entry.folder.read_link(entry.name))?,
            _ => None,
        };
        capture.line(line(entry, target.as_deref()).as_bytes())
    })
}

fn line(entry: &Entry<'_>, target: Option<&[u8]>) -> String {
    let stat = entry.looked.statx();
    let mut name = escaped(&entry.path());
    if let Some(target) = target {
        name.push_str(" -> ");
        name.push_str(&escaped(target));
    }
    let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let born = if known { stat.stx_btime.tv_sec } else { 0 };
    format!(
        "0|{name}|{}|{}|{}|{}|{}|{}|{}|{}|{born}",
        stat.stx_ino,
        mode_text(entry.looked.kind, entry.looked.mode()),
        stat.stx_uid,
        stat.stx_gid,
        stat.stx_size,
        stat.stx_atime.tv_sec,
        stat.stx_mtime.tv_sec,
        stat.stx_ctime.tv_sec,
    )
}

/// Writes `|` and bytes that are not UTF-8 as `%XX`, which mactime undoes. Control characters are `%25XX` and `%` itself is
/// `%2525`, of which mactime shows `%XX` and `%25`: it drops a name with a line feed, and would hand on what acts on a
/// terminal.
fn escaped(name: &[u8]) -> String {
    let mut written = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '|' => percent(&mut written, "%", b'|'),
                // What breaks a line for some readers counts as control too.
                '%' | '\u{2028}' | '\u{2029}' => percent_all(&mut written, character),
                _ if character.is_control() => percent_all(&mut written, character),
                _ => written.push(character),
            }
        }
        for byte in chunk.invalid() {
            percent(&mut written, "%", *byte);
        }
    }
    written
}

fn percent_all(written: &mut String, character: char) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        percent(written, "%25", byte);
    }
}

fn percent(written: &mut String, mark: &str, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(written, "{mark}{byte:02X}");
}

/// `r/rrwxr-xr-x`: the type in the folder, the type in the inode, the permissions.
fn mode_text(kind: ItemKind, mode: u32) -> String {
    let kind = match kind {
        ItemKind::File => 'r',
        ItemKind::Directory => 'd',
        ItemKind::Symlink => 'l',
        ItemKind::Fifo => 'p',
        ItemKind::Socket => 's',
        ItemKind::CharDevice => 'c',
        ItemKind::BlockDevice => 'b',
        _ => '-',
    };
    let mut text = format!("{kind}/{kind}");
    for (shift, special, with, without) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_column_or_line() {
        assert_eq!(escaped(b"/a|b\n%41\xff\r"), "/a%7Cb%250A%252541%FF%250D");
        assert_eq!(escaped("/caf\u{e9}\u{85}".as_bytes()), "/caf\u{e9}%25C2%2585");
    }

    #[test]
    fn modes_are_spelled_as_in_a_long_listing() {
        assert_eq!(mode_text(ItemKind::File, 0o4755), "r/rrwsr-xr-x");
        assert_eq!(mode_text(ItemKind::Directory, 0o1777), "d/drwxrwxrwt");
        assert_eq!(mode_text(ItemKind::File, 0o6640), "r/rrwSr-S---");
    }
}
