//! Owns the names of owners by the host's own /etc/passwd and /etc/group; refuses to ask a directory service.

use std::collections::HashMap;

use super::Root;

/// A user with a home folder. Both are raw bytes: the host chose them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Vec<u8>,
    /// Home folder, absolute.
    pub home: Vec<u8>,
    /// Whether the login shell is one that lets somebody in.
    pub login: bool,
}

/// Names of users and groups, and the users' home folders.
#[derive(Debug, Default)]
pub struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    homes: Vec<User>,
}

/// The most that is read of either file, in bytes.
const CAP: usize = 16 << 20;

impl Owners {
    /// Reads the examined host's own files; what cannot be read or parsed is left out.
    pub fn of(root: &Root) -> Self {
        let text = |path: &str| root.text(path, CAP).unwrap_or_default();
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let mut owners = Self::default();
        for line in passwd.split(|byte| *byte == b'\n') {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            let [name, _, uid, _, _, home, rest @ ..] = fields.as_slice() else { continue };
            let Some(uid) = number(uid) else { continue };
            owners.users.entry(uid).or_insert_with(|| shown(name));
            if home.starts_with(b"/") && !home.contains(&0) {
                let login = lets_in(rest.first().copied().unwrap_or_default());
                owners.homes.push(User { name: name.to_vec(), home: home.to_vec(), login });
            }
        }
        for line in group.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            if let (Some(name), Some(Some(gid))) = (fields.next(), fields.nth(1).map(number)) {
                owners.groups.entry(gid).or_insert_with(|| shown(name));
            }
        }
        owners
    }

    /// The user's name, where the host has one.
    pub fn user(&self, uid: u32) -> Option<String> {
        self.users.get(&uid).cloned()
    }

    /// The group's name, where the host has one.
    pub fn group(&self, gid: u32) -> Option<String> {
        self.groups.get(&gid).cloned()
    }

    /// Every user with an absolute home folder, in the order of /etc/passwd; several can share one.
    pub fn homes(&self) -> &[User] {
        &self.homes
    }
}

/// A name as text: verbatim, or with every byte that is no printable ASCII as `\xNN` where it is not UTF-8 or holds NUL.
fn shown(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => name.escape_ascii().to_string(),
    }
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Whether a login shell lets somebody in; an empty one stands for /bin/sh (passwd(5)).
fn lets_in(shell: &[u8]) -> bool {
    const SHUT: [&[u8]; 6] = [b"nologin", b"false", b"sync", b"halt", b"shutdown", b"true"];
    !SHUT.contains(&shell.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_are_left_out() {
        let owners = Owners::parse(
            b"root:x:0:0:root:/root:/bin/sh\nbroken\nx:y:notanumber:0::/x:\nbin:x:2:2:bin:/:/none\n\xff:x:7:7::/home/\xff:/s\n",
            b"root:x:0:\nadm:x:4:a,b\nbad:line\n",
        );
        assert_eq!(owners.user(0).as_deref(), Some("root"));
        assert_eq!(owners.group(4).as_deref(), Some("adm"));
        assert_eq!(owners.homes().first().map(|user| user.home.as_slice()), Some(&b"/root"[..]));
        assert_eq!(owners.user(7).as_deref(), Some("\\xff"));
        assert_eq!(owners.homes().len(), 3);
        assert_eq!(owners.homes().last().map(|user| user.home.as_slice()), Some(&b"/home/\xff"[..]));
    }
}
