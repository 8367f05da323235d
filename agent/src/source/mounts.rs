//! Owns where other file systems are mounted, by the kernel's own list, so that a mount can be judged before anything in
//! it is touched; refuses to ask the file systems themselves, since a dead one would never answer.

use std::collections::{HashMap, HashSet};

use super::Root;

/// Why a search does not go into a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The kernel makes the files up as they are read: /proc, /sys and their kind.
    KernelMade,
    /// A server or a program has to answer: NFS, CIFS, FUSE and their kind.
    Remote,
    /// Looking makes something be mounted.
    Automount,
}

/// Mount points below a root that a search must think about, by the folder they lie in.
#[derive(Debug, Default)]
pub struct Mounts {
    below: HashMap<Vec<u8>, Vec<(Vec<u8>, Obstacle)>>,
    remote_devices: HashSet<(u32, u32)>,
}

/// The most that is read of the kernel's list, in bytes.
const CAP: usize = 64 << 20;

impl Mounts {
    /// Reads the mounts of this process's namespace that lie below `root`; none where the list cannot be read.
    pub fn below(root: &Root) -> Self {
        let list =
            super::kernel_prefix("/proc/self/mountinfo", CAP).map(|list| list.bytes).unwrap_or_default();
        let prefix = root.mounted_at().map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default();
        Self::parse(&list, if prefix == b"/" { b"" } else { prefix })
    }

    fn parse(list: &[u8], prefix: &[u8]) -> Self {
        let mut mounts = Self::default();
        for line in list.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b' ');
            let (Some(device), Some(point)) = (fields.nth(2), fields.nth(1)) else { continue };
            let Some(kind) = fields.skip_while(|field| *field != b"-").nth(1) else { continue };
            if Obstacle::of(kind) == Some(Obstacle::Remote) {
                mounts.remote_devices.extend(device_number(device));
            }
            let point = unescaped(point);
            let Some(path) = point.strip_prefix(prefix).filter(|path| path.starts_with(b"/")) else {
                continue;
            };
            let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { continue };
            let (folder, name) =
                (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default());
            let entries = mounts.below.entry(folder.to_vec()).or_default();
            // The last mount at a point lies on top.
            entries.retain(|(known, _)| known != name);
            if let Some(obstacle) = Obstacle::of(kind) {
                entries.push((name.to_vec(), obstacle));
            }
        }
        mounts.below.retain(|_, entries| !entries.is_empty());
        mounts
    }

    /// What lies in the way at the entry `name` of the folder at the absolute path `folder`, empty for the root.
    pub fn obstacle(&self, folder: &[u8], name: &[u8]) -> Option<Obstacle> {
        let entries = self.below.get(folder)?;
        entries.iter().find(|(known, _)| known == name).map(|(_, obstacle)| *obstacle)
    }

    /// Whether a server or a program has to answer for files of this device, `major` and `minor`.
    pub fn is_remote(&self, device: (u32, u32)) -> bool {
        self.remote_devices.contains(&device)
    }
}

fn device_number(field: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Obstacle {
    /// What a file system of this type is, as mountinfo names it.
    fn of(kind: &[u8]) -> Option<Self> {
        const MADE_UP: [&[u8]; 19] = [
            b"proc",
            b"sysfs",
            b"debugfs",
            b"tracefs",
            b"cgroup",
            b"cgroup2",
            b"devpts",
            b"securityfs",
            b"pstore",
            b"bpf",
            b"configfs",
            b"fusectl",
            b"mqueue",
            b"selinuxfs",
            b"binfmt_misc",
            b"efivarfs",
            b"rpc_pipefs",
            b"nsfs",
            b"resctrl",
        ];
        const REMOTE: [&[u8]; 17] = [
            b"nfs",
            b"nfs4",
            b"cifs",
            b"smb3",
            b"smbfs",
            b"9p",
            b"ceph",
            b"afs",
            b"lustre",
            b"gpfs",
            b"ocfs2",
            b"gfs2",
            b"beegfs",
            b"orangefs",
            b"coda",
            b"fuse",
            b"ncpfs",
        ];
        match kind {
            b"autofs" => Some(Self::Automount),
            kind if MADE_UP.contains(&kind) => Some(Self::KernelMade),
            kind if REMOTE.contains(&kind) || kind.starts_with(b"fuse.") => Some(Self::Remote),
            _ => None,
        }
    }

    /// What it is, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::KernelMade => "a file system that the kernel makes up as it is read",
            Self::Remote => "a file system that a server or a program serves (network or FUSE)",
            Self::Automount => "a point at which looking would mount something (autofs)",
        }
    }
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
pub fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        22 21 0:20 / /proc rw shared:5 - proc proc rw\n\
        23 21 0:21 / /mnt/a\\040b rw master:1 propagate_from:2 - fuse.sshfs u@h: rw\n\
        24 21 0:22 / /net rw - autofs auto rw\n\
        25 21 0:23 / /srv rw - nfs4 h:/ rw\n\
        26 25 8:2 / /srv rw - ext4 /dev/sdb rw\n\
        broken\n27 21 0:9 / \\x - nfs\n";

    #[test]
    fn mounts_are_judged_by_the_kernels_list() {
        let mounts = Mounts::parse(LIST, b"");
        assert_eq!(mounts.obstacle(b"", b"proc"), Some(Obstacle::KernelMade));
        assert_eq!(mounts.obstacle(b"/mnt", b"a b"), Some(Obstacle::Remote));
        assert_eq!(mounts.obstacle(b"", b"net"), Some(Obstacle::Automount));
        assert_eq!(mounts.obstacle(b"", b"srv"), None, "what is mounted last lies on top");
        assert_eq!(mounts.obstacle(b"", b"etc"), None);
        assert!(mounts.is_remote((0, 23)) && !mounts.is_remote((8, 1)));
    }

    #[test]
    fn mounts_of_a_mounted_root_are_named_as_it_sees_them() {
        let mounts = Mounts::parse(LIST, b"/mnt");
        assert_eq!(mounts.obstacle(b"", b"a b"), Some(Obstacle::Remote));
        assert_eq!(mounts.obstacle(b"", b"proc"), None);
    }

    #[test]
    fn escapes_that_are_none_stay_as_they_are() {
        assert_eq!(unescaped(b"a\\040b\\\\134\\9zz\\1"), b"a b\\\\\\9zz\\1");
    }
}
