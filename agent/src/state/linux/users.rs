//! Owns the tables of local users and groups; refuses to ask a name service and to collect a password digest.

use std::io;

use serde::Serialize;

use super::files::Files;
use super::row::row;
use super::text::{Twin, number, text};
use crate::source::each_line;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const USERS: Table = Table {
    name: "users",
    about: "Local user accounts, without their password digests.",
    sources: &["/etc/passwd"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_users,
};

/// The table.
pub(super) const GROUPS: Table = Table {
    name: "groups",
    about: "Local groups and their members.",
    sources: &["/etc/group"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_groups,
};

row! {
    /// One line of `/etc/passwd`; users that only a directory service knows are not seen.
    struct UserRow {
        /// osquery: User id.
        uid: u64,
        /// osquery: Default group id.
        gid: u64,
        /// osquery: User id as a signed 32-bit number.
        uid_signed: i64,
        /// osquery: Default group id as a signed 32-bit number.
        gid_signed: i64,
        /// osquery: User name.
        username: Twin,
        /// osquery: Full name and other text (GECOS).
        description: Twin,
        /// osquery: Home folder.
        directory: Twin,
        /// osquery: Login shell.
        shell: Twin,
        /// Derived: What the password field holds, never the digest itself: shadow (`x`), empty, locked (`*` or
        /// `!`), or digest.
        password_field: &'static str,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

row! {
    /// One line of `/etc/group`; groups that only a directory service knows are not seen.
    struct GroupRow {
        /// osquery: Group id.
        gid: u64,
        /// osquery: Group id as a signed 32-bit number.
        gid_signed: i64,
        /// osquery: Group name.
        groupname: Twin,
        /// Derived: User names in the group, separated by commas, as written.
        members: Twin,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

/// Captures the table of users.
pub(super) fn capture_users(capture: &mut TableCapture<'_>) -> io::Result<()> {
    capture_lines(capture, "/etc/passwd", &parse_user)
}

/// Captures the table of groups.
pub(super) fn capture_groups(capture: &mut TableCapture<'_>) -> io::Result<()> {
    capture_lines(capture, "/etc/group", &parse_group)
}

fn capture_lines<Row: Serialize>(
    capture: &mut TableCapture<'_>,
    path: &str,
    parse: &dyn Fn(&[u8], u64) -> Option<Row>,
) -> io::Result<()> {
    let open = match Files::of(capture)?.open(path.as_bytes()) {
        Ok(open) => open,
        Err(reason) => {
            capture.gap(path, &reason);
            return Ok(());
        }
    };
    let mut line_number = 0;
    let mut written = Ok(());
    let end = each_line(open.file, &mut |line| {
        line_number += 1;
        match parse(line, line_number) {
            Some(row) => written = capture.row(&row),
            None if line.is_empty() || line.starts_with(b"#") => {}
            None => {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "not an entry of this host");
                capture.gap(format!("{path} line {line_number}"), &reason);
            }
        }
        if line_number.is_multiple_of(4_096) {
            capture.go_on()?;
        }
        if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    });
    written?;
    match end {
        Ok(0) => {}
        Ok(too_long) => {
            let reason = io::Error::new(io::ErrorKind::InvalidData, format!("{too_long} lines too long"));
            capture.gap(path, &reason);
        }
        Err(reason) if reason.kind() == io::ErrorKind::Interrupted => return Err(reason),
        Err(reason) => capture.gap(path, &reason),
    }
    Ok(())
}

/// `name:password:uid:gid:description:directory:shell`, passwd(5).
fn parse_user(line: &[u8], line_number: u64) -> Option<UserRow> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, password, uid, gid, description, directory, shell] = columns[..] else { return None };
    let (uid, gid) = (number::<u32>(uid)?, number::<u32>(gid)?);
    Some(UserRow {
        uid: u64::from(uid),
        gid: u64::from(gid),
        uid_signed: i64::from(uid.cast_signed()),
        gid_signed: i64::from(gid.cast_signed()),
        username: text(name),
        description: text(description),
        directory: text(directory),
        shell: text(shell),
        password_field: password_kind(password),
        line: line_number,
    })
}

fn password_kind(field: &[u8]) -> &'static str {
    match field {
        b"x" => "shadow",
        b"" => "empty",
        [b'*' | b'!', ..] => "locked",
        _ => "digest",
    }
}

/// `name:password:gid:members`, group(5).
fn parse_group(line: &[u8], line_number: u64) -> Option<GroupRow> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, _, gid, members] = columns[..] else { return None };
    let gid = number::<u32>(gid)?;
    Some(GroupRow {
        gid: u64::from(gid),
        gid_signed: i64::from(gid.cast_signed()),
        groupname: text(name),
        members: text(members),
        line: line_number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_digest_is_named_and_never_copied() {
        let row = parse_user(b"eve:$6$salt$digest:0:0::/root:/bin/sh", 3).unwrap();
        assert_eq!(row.password_field, "digest");
        assert!(!serde_json::to_string(&row).unwrap().contains("salt"));
    }

    #[test]
    fn nobody_by_its_largest_number_is_negative_when_signed() {
        let row = parse_user(b"x:x:4294967294:1:a\xff:/:/", 1).unwrap();
        assert_eq!((row.uid, row.uid_signed), (4_294_967_294, -2));
        assert_eq!(row.description.0, "a\\xff");
    }

    #[test]
    fn garbage_account_lines_are_refused() {
        for garbage in
            [&b""[..], b"+::::::", b"a:b", b"a:x:-1:0:::", b"a:x:4294967296:0:::", b"a:x:0:0::::", b"\xff\0"]
        {
            assert!(parse_user(garbage, 1).is_none());
            assert!(parse_group(garbage, 1).is_none());
        }
        assert_eq!(parse_group(b"adm:*:4:a,b", 1).unwrap().members.0, "a,b");
    }
}
