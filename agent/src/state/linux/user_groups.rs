//! Owns the table of memberships, who is in which group; refuses to ask a name service.

use std::collections::BTreeMap;
use std::io;

use super::files::{Files, SMALL, lines};
use super::row::row;
use super::text::{Twin, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "user_groups",
    about: "Which local user is in which local group.",
    sources: &["/etc/passwd", "/etc/group"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_user_groups,
};

row! {
    /// One user in one group, by the user's line or by the group's.
    struct UserGroupRow {
        /// osquery: User id; null where the group names a user that `/etc/passwd` does not have.
        uid: Option<u32>,
        /// osquery: Group id.
        gid: u32,
        /// Derived: User name.
        username: Twin,
        /// Derived: Group name; null where `/etc/group` does not have the user's group.
        groupname: Option<Twin>,
        /// Derived: Whether it is the user's own group in `/etc/passwd`, rather than one that lists the user.
        primary: bool,
    }
}

/// The longest name: each of its memberships repeats it.
const NAME_CAP: usize = 256;

fn capture_user_groups(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let passwd = files.text(capture, b"/etc/passwd", SMALL).unwrap_or_default();
    let group = files.text(capture, b"/etc/group", SMALL).unwrap_or_default();
    let mut users: Vec<_> = lines(&passwd).filter_map(|(_, line)| user(line)).collect();
    let mut groups: Vec<_> = lines(&group).filter_map(|(_, line)| group_of(line)).collect();
    let all = users.len() + groups.len();
    users.retain(|(name, ..)| name.len() <= NAME_CAP);
    groups.retain(|(name, ..)| name.len() <= NAME_CAP);
    let left_out = all - users.len() - groups.len();
    if left_out > 0 {
        let reason = format!("{left_out} names longer than {NAME_CAP} bytes, left out");
        capture.gap("/etc/passwd, /etc/group", &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
    }
    let mut names = BTreeMap::new();
    for (name, gid, _) in &groups {
        names.entry(*gid).or_insert(*name);
    }
    let mut numbers = BTreeMap::new();
    for (name, uid, gid) in &users {
        numbers.entry(*name).or_insert(*uid);
        let groupname = names.get(gid).map(|name| text(name));
        capture.row(&UserGroupRow {
            uid: Some(*uid),
            gid: *gid,
            username: text(name),
            groupname,
            primary: true,
        })?;
    }
    for (name, gid, members) in &groups {
        for member in members.split(|byte| *byte == b',').filter(|member| !member.is_empty()) {
            capture.row(&UserGroupRow {
                uid: numbers.get(member).copied(),
                gid: *gid,
                username: text(member),
                groupname: Some(text(name)),
                primary: false,
            })?;
        }
    }
    Ok(())
}

fn user(line: &[u8]) -> Option<(&[u8], u32, u32)> {
    let mut columns = line.split(|byte| *byte == b':');
    Some((columns.next()?, number(columns.nth(1)?)?, number(columns.next()?)?))
}

fn group_of(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut columns = line.split(|byte| *byte == b':');
    Some((columns.next()?, number(columns.nth(1)?)?, columns.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_refused() {
        assert_eq!(user(b"a:x:1:2:::"), Some((&b"a"[..], 1, 2)));
        assert_eq!(group_of(b"g:x:3:a,b"), Some((&b"g"[..], 3, &b"a,b"[..])));
        for garbage in [&b""[..], b"a", b"a:b:c:d", b"a:x:-1:0", b"\xff:\0"] {
            assert!(user(garbage).is_none() && group_of(garbage).is_none());
        }
    }
}
