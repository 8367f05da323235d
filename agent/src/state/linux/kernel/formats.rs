//! Owns the table of program formats that start an interpreter; refuses to mount what would show more.

use std::io;

use serde::Serialize;

use super::{Walk, each_folder, listed};
use crate::source::{KernelTree, kernel_prefix};
use crate::state::linux::mounts::mounted;
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::{fields, number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "binfmt_misc",
    about: "Program formats that make the kernel start an interpreter, a home of persistence.",
    sources: &["binfmt_misc mounts, such as /proc/sys/fs/binfmt_misc"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_formats,
};

/// One registered format.
#[derive(Serialize, Default)]
struct FormatRow {
    /// Derived: Name it was registered under.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Path of its file, which tells the mount.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: Whether it is in force; the file system as a whole may still be switched off, see
    /// `all_enabled`.
    enabled: bool,
    /// Derived: Whether the kernel looks at registered formats at all; null where unknown.
    all_enabled: Option<bool>,
    /// Derived: Interpreter that is started.
    interpreter: Option<String>,
    /// Derived: Base64 of the exact bytes behind `interpreter`; null where `interpreter` is those bytes
    /// verbatim.
    interpreter_raw: Option<String>,
    /// Derived: Letters: P keeps the first argument, O opens the file, C takes its credentials (set-user-ID),
    /// F the interpreter is open already.
    flags: String,
    /// Derived: File extension that it matches; null where it matches by content.
    extension: Option<String>,
    /// Derived: Base64 of the exact bytes behind `extension`; null where `extension` is those bytes verbatim.
    extension_raw: Option<String>,
    /// Derived: Where in the file the content is looked for, bytes from its beginning.
    offset: Option<u64>,
    /// Derived: Content that it matches, in hexadecimal.
    magic: Option<String>,
    /// Derived: Bits of the content that count, in hexadecimal; null for all.
    mask: Option<String>,
    /// Derived: When it was registered, Unix seconds by the host's clock.
    mtime: i64,
}

const KIND: &str = "binfmt_misc";

/// Such a file system has no folders.
const MOUNTS: Walk = Walk { what: "folders", depth: 1, most: 1_000, unopened: &[] };

fn capture_formats(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let roots = mounted(capture, KIND);
    let known = kernel_prefix("/proc/filesystems", 64 << 10).is_ok_and(|listed| {
        listed.bytes.split(|byte| *byte == b'\n').any(|line| fields(line).last() == Some(KIND.as_bytes()))
    });
    if roots.is_empty() && known {
        // Formats stay in force when their file system is unmounted.
        let reason =
            io::Error::new(io::ErrorKind::NotFound, "not mounted: registered formats cannot be seen");
        capture.gap(KIND, &reason);
    }
    each_folder(capture, roots, &MOUNTS, &mut |capture, folder| capture_mount(capture, folder))
}

fn capture_mount(capture: &mut TableCapture<'_>, folder: &KernelTree) -> io::Result<()> {
    let all_enabled = folder.prefix(b"status", 64).ok().map(|status| status.bytes.starts_with(b"enabled"));
    for file in listed(capture, folder, folder.files()) {
        if matches!(file.name(), b"register" | b"status") {
            continue;
        }
        match folder.prefix(file.name(), 64 << 10) {
            Ok(format) => {
                let mut row = parse_format(&format.bytes);
                (row.name, row.name_raw) = text(file.name());
                (row.path, row.path_raw) = text(&file.path);
                (row.all_enabled, row.mtime) = (all_enabled, file.mtime);
                capture.row(&row)?;
            }
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => capture.gap(String::from_utf8_lossy(&file.path), &reason),
        }
    }
    Ok(())
}

fn parse_format(format: &[u8]) -> FormatRow {
    let mut lines = format.split(|byte| *byte == b'\n');
    let mut row = FormatRow { enabled: lines.next() == Some(b"enabled"), ..FormatRow::default() };
    for line in lines {
        let (key, value) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"interpreter" => (row.interpreter, row.interpreter_raw) = optional(Some(value)),
            b"flags:" => row.flags = text(value).0,
            b"extension" => {
                let extension = value.strip_prefix(b".").unwrap_or(value);
                (row.extension, row.extension_raw) = optional(Some(extension));
            }
            b"offset" => row.offset = number(value),
            b"magic" => row.magic = Some(text(value).0),
            b"mask" => row.mask = Some(text(value).0),
            _ => {}
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_format_is_read_with_what_it_matches() {
        let row =
            parse_format(b"enabled\ninterpreter /usr/bin/a b\nflags: OCF\noffset 2\nmagic 7f45\nmask ff00\n");
        assert!(row.enabled);
        assert_eq!((row.interpreter.as_deref(), row.flags.as_str()), (Some("/usr/bin/a b"), "OCF"));
        assert_eq!(
            (row.offset, row.magic.as_deref(), row.mask.as_deref()),
            (Some(2), Some("7f45"), Some("ff00"))
        );
        let row = parse_format(b"disabled\ninterpreter /x\xff\nflags: \nextension .evil\n");
        assert!(!row.enabled && row.interpreter_raw.is_some());
        assert_eq!(row.extension.as_deref(), Some("evil"));
    }

    #[test]
    fn garbage_is_no_format_and_never_panics() {
        for garbage in [&b""[..], b"\n\n", b"offset", b"\xff\0 \n interpreter", b"offset -1\nmagic"] {
            assert!(!parse_format(garbage).enabled);
        }
    }
}
