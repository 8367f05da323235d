//! Owns the table of keys in the kernel's keyrings; refuses to read a key itself.

use std::io;

use serde::Serialize;

use crate::state::linux::process_folders::keep_small;
use crate::state::linux::text::{fields, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "kernel_keys",
    about: "Keys in the kernel's keyrings, without what they hold.",
    sources: &["/proc/keys"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_keys,
};

/// One key that the agent may see, one line of `/proc/keys`.
#[derive(Serialize)]
struct KeyRow {
    /// osquery: Serial number, hexadecimal.
    serial_number: String,
    /// osquery: Letters: I instantiated, R revoked, D dead, Q counted in a quota, U being made, N negative, i
    /// invalidated.
    flags: String,
    /// osquery: References to it.
    usage: u64,
    /// osquery: Time until it ends, as the kernel prints it: perm, expd or a number with its unit.
    timeout: String,
    /// osquery: Permissions, hexadecimal.
    permissions: String,
    /// osquery: Owner's user id.
    uid: u64,
    /// osquery: Owner's group id; -1 for none.
    gid: i64,
    /// osquery: Type of key.
    r#type: String,
    /// Derived: Base64 of the exact bytes behind `type`; null where `type` is those bytes verbatim.
    type_raw: Option<String>,
    /// osquery: Description.
    description: String,
    /// Derived: Base64 of the exact bytes behind `description`; null where `description` is those bytes
    /// verbatim.
    description_raw: Option<String>,
}

fn capture_keys(capture: &mut TableCapture<'_>) -> io::Result<()> {
    // A kernel without keyrings has no such file.
    let listed = keep_small(capture, "/proc/keys").unwrap_or_default();
    let mut unreadable = 0;
    for line in listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse_key(line) {
            Some(row) => capture.row(&row)?,
            None => unreadable += 1,
        }
    }
    if unreadable > 0 {
        let reason = io::Error::new(io::ErrorKind::InvalidData, format!("{unreadable} lines unreadable"));
        capture.gap("/proc/keys", &reason);
    }
    Ok(())
}

/// `serial flags usage timeout permissions uid gid type description`, where the type may be padded.
fn parse_key(line: &[u8]) -> Option<KeyRow> {
    let mut columns = fields(line);
    let mut word = || columns.next().map(|word| text(word).0);
    let (serial_number, flags) = (word()?, word()?);
    let usage = word()?.parse().ok()?;
    let (timeout, permissions) = (word()?, word()?);
    let uid = word()?.parse().ok()?;
    let gid = number(columns.next()?)?;
    let kind = columns.next()?;
    let (r#type, type_raw) = text(kind);
    // What follows the type, with the spaces that are part of it.
    let behind = kind.as_ptr_range().end as usize - line.as_ptr() as usize;
    let (description, description_raw) = text(line.get(behind..)?.trim_ascii_start());
    Some(KeyRow {
        serial_number,
        flags,
        usage,
        timeout,
        permissions,
        uid,
        gid,
        r#type,
        type_raw,
        description,
        description_raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_line_keeps_the_spaces_of_its_description() {
        let row = parse_key(b"0b85b3c8 I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: a  b")
            .unwrap();
        assert_eq!((row.serial_number.as_str(), row.usage, row.gid), ("0b85b3c8", 1, 65534));
        assert_eq!((row.r#type.as_str(), row.description.as_str()), ("keyring", "_uid_ses.0: a  b"));
        assert_eq!(parse_key(b"1 I 1 perm 1 0 -1 user").unwrap().gid, -1);
    }

    #[test]
    fn garbage_key_lines_are_refused() {
        for garbage in [
            &b""[..],
            b"a",
            b"a b c d e f g h",
            b"\xff 1 1 1 1 -1 0 t",
            b"1 I 99999999999999999999 p 1 0 0 t",
        ] {
            assert!(parse_key(garbage).is_none());
        }
    }
}
