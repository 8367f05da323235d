//! Owns the names of owners by the host's own /etc/passwd and /etc/group; refuses to ask a directory service.

use std::collections::HashMap;

/// A user with a home folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Home folder, absolute.
    pub home: String,
}

/// Names of users and groups, and the users' home folders.
#[derive(Debug, Default)]
pub struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    homes: Vec<User>,
}

impl Owners {
    /// Reads the host's own files; what cannot be read or parsed is left out.
    pub fn of_this_host() -> Self {
        let text = |path| super::kernel_text(path).unwrap_or_default();
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let mut owners = Self::default();
        for line in String::from_utf8_lossy(passwd).lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, _, _, home, ..] = fields.as_slice() else { continue };
            let Ok(uid) = uid.parse() else { continue };
            owners.users.entry(uid).or_insert_with(|| (*name).to_owned());
            let known = owners.homes.iter().any(|user| user.home == *home);
            if home.starts_with('/') && !known && !home.contains('\0') {
                owners.homes.push(User { name: (*name).to_owned(), home: (*home).to_owned() });
            }
        }
        for line in String::from_utf8_lossy(group).lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(Ok(gid))) = (fields.next(), fields.nth(1).map(str::parse)) {
                owners.groups.entry(gid).or_insert_with(|| name.to_owned());
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

    /// Every distinct home folder, in the order of /etc/passwd.
    pub fn homes(&self) -> &[User] {
        &self.homes
    }
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
        assert_eq!(owners.homes().first().map(|user| user.home.as_str()), Some("/root"));
        assert_eq!(owners.homes().len(), 3);
    }
}
