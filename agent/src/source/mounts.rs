//! Owns the decision at which mounts a search stops, made from the kernel's list of mounts; refuses to touch a mount point
//! to decide, since one whose server is dead would never answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::{Root, kernel_lines};

/// The mounts of the agent's own mount namespace, as they were when the list was read.
#[derive(Debug, Default)]
pub struct Mounts {
    /// By mount point; a point has several where one was mounted over another, each known by what it was mounted on.
    points: BTreeMap<Vec<u8>, HashMap<u64, Mount>>,
    /// The mount that the root lies on.
    root: u64,
    /// Where the examined root lies; empty for the live one.
    below: Vec<u8>,
    /// Mounts of folders that are also reached under another path.
    repeated: HashSet<u64>,
}

/// One line of the list.
#[derive(Debug, Clone)]
struct Mount {
    id: u64,
    parent: u64,
    device: Vec<u8>,
    /// The folder of the file system that is mounted.
    folder: Vec<u8>,
    point: Vec<u8>,
    kind: Vec<u8>,
    options: Vec<u8>,
}

/// The most mounts that are kept; the kernel's own limit for a namespace is 100,000.
const CAP: usize = 200_000;

/// Why a search does not go into a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The kernel makes the files up as they are read: /proc, /sys and their kind.
    KernelMade,
    /// A server has to answer: NFS, CIFS and their kind.
    Network,
    /// A program has to answer.
    Fuse,
    /// Looking makes something be mounted.
    Automount,
    /// The same folder is reached under another path.
    Repeated,
    /// The layers of the overlay are reached where they lie.
    Layered,
}

impl Obstacle {
    /// Whether it only spares a search what it reaches elsewhere: nothing in it can hang or act.
    pub fn is_repetition(self) -> bool {
        matches!(self, Self::Repeated | Self::Layered)
    }

    /// What it is, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::KernelMade => "a file system that the kernel makes up as it is read",
            Self::Network => "a network file system",
            Self::Fuse => "a file system that a program answers for (FUSE)",
            Self::Automount => "an automount point, which looking at would mount",
            Self::Repeated => "the same folder is reached under another path (bind mount)",
            Self::Layered => "an overlay whose layers are reached where they lie",
        }
    }
}

impl Mounts {
    /// The mounts of the live host.
    ///
    /// # Errors
    ///
    /// Where `/proc/self/mountinfo` cannot be read.
    pub fn of_this_host() -> io::Result<Self> {
        Self::listed("/proc/self/mountinfo", Vec::new())
    }

    /// The mounts at and below an examined root; paths are those of the examined host.
    ///
    /// # Errors
    ///
    /// As [`Self::of_this_host`].
    pub fn of(root: &Root) -> io::Result<Self> {
        if let Some(process) = root.process() {
            // Its list names mount points as the process sees them.
            return Self::listed(&format!("/proc/{process}/mountinfo"), Vec::new());
        }
        let at = root.mounted_at().map_or(&b""[..], |folder| folder.as_os_str().as_bytes());
        Self::listed("/proc/self/mountinfo", at.strip_suffix(b"/").unwrap_or(at).to_vec())
    }

    fn listed(list: &str, below: Vec<u8>) -> io::Result<Self> {
        let mut mounts = Vec::new();
        kernel_lines(list, &mut |line| {
            if mounts.len() < CAP {
                mounts.extend(parse(line));
            }
            Ok(())
        })?;
        Ok(Self::arranged(mounts, below))
    }

    fn arranged(mounts: Vec<Mount>, below: Vec<u8>) -> Self {
        let known: HashSet<u64> = mounts.iter().map(|mount| mount.id).collect();
        let mut outermost = mounts.iter().filter(|mount| !known.contains(&mount.parent));
        // The root's own mount is not listed where the root is a folder in the midst of one.
        let root = outermost.clone().find(|mount| mount.point == b"/").map(|mount| mount.id);
        let root = root.or_else(|| outermost.next().map(|mount| mount.parent)).unwrap_or_default();
        let mut arranged = Self { root, below, ..Self::default() };
        for mount in &mounts {
            arranged.points.entry(mount.point.clone()).or_default().insert(mount.parent, mount.clone());
        }
        arranged.repeated = arranged.repeats(&mounts);
        arranged
    }

    /// Why a search does not go on at the entry `name` of the folder at `folder`, empty for the root.
    pub fn obstacle(&self, folder: &[u8], name: &[u8]) -> Option<Obstacle> {
        self.obstacle_at(&[folder, b"/", name].concat())
    }

    /// Why a search does not go on at `path`; nothing where it is no mount point, or one that can be searched.
    ///
    /// An absolute path of the examined host, without `.`, `..` and links.
    pub fn obstacle_at(&self, path: &[u8]) -> Option<Obstacle> {
        let at = [self.below.as_slice(), path].concat();
        let mount = self.mounted_on(&at)?;
        if let Some(reason) = kind_obstacle(&mount.kind) {
            return Some(reason);
        }
        // What is repeated elsewhere on this machine need not be so below a mounted root.
        if !self.below.is_empty() {
            return None;
        }
        if self.repeated.contains(&mount.id) {
            return Some(Obstacle::Repeated);
        }
        self.is_layered(mount).then_some(Obstacle::Layered)
    }

    /// Whether a server or a program has to answer for files of this device, `major` and `minor`.
    pub fn is_remote(&self, (major, minor): (u32, u32)) -> bool {
        let device = format!("{major}:{minor}");
        let serves =
            |mount: &Mount| matches!(kind_obstacle(&mount.kind), Some(Obstacle::Network | Obstacle::Fuse));
        self.points
            .values()
            .flat_map(HashMap::values)
            .any(|mount| mount.device == device.as_bytes() && serves(mount))
    }

    /// Whether anything is mounted below a folder or on it, so that its entries have to be asked for one by one.
    pub fn any_below(&self, folder: &[u8]) -> bool {
        let at = [self.below.as_slice(), folder.strip_suffix(b"/").unwrap_or(folder), b"/"].concat();
        self.points.range(at.clone()..).next().is_some_and(|(point, _)| point.starts_with(&at))
    }

    /// The mount that is seen at exactly this path.
    fn mounted_on(&self, path: &[u8]) -> Option<&Mount> {
        self.points.get(path)?;
        self.reached(path).filter(|mount| mount.point == path)
    }

    /// The mount that a path leads into: at each folder on the way the topmost of those mounted there is entered. Nothing
    /// where that is the root's own.
    fn reached(&self, path: &[u8]) -> Option<&Mount> {
        let mut reached: Option<&Mount> = None;
        let ends = (1..=path.len()).filter(|end| path.get(*end).is_none_or(|byte| *byte == b'/'));
        for here in ends.filter_map(|end| path.get(..end)).filter(|here| *here != b"/") {
            let Some(candidates) = self.points.get(here) else { continue };
            // Each is entered at most once.
            for _ in 0..candidates.len() {
                let at = reached.map_or(self.root, |mount| mount.id);
                let Some(next) = candidates.get(&at) else { break };
                reached = Some(next);
            }
        }
        reached
    }

    /// Mounts all of whose files are reached through a mount that stands earlier in the list.
    fn repeats(&self, mounts: &[Mount]) -> HashSet<u64> {
        let mut walked: BTreeMap<&[u8], Vec<&Mount>> = BTreeMap::new();
        let mut repeated = HashSet::new();
        // Of a stack only the topmost is seen; it is looked for once for each point.
        let seen: HashSet<u64> =
            self.points.keys().filter_map(|point| self.reached(point)).map(|mount| mount.id).collect();
        for mount in mounts {
            let is_root = mount.id == self.root;
            if !is_root && (!seen.contains(&mount.id) || kind_obstacle(&mount.kind).is_some()) {
                continue;
            }
            let earlier = walked.entry(&mount.device).or_default();
            if earlier.iter().any(|other| self.shows(other, mount)) {
                repeated.insert(mount.id);
            } else if earlier.len() < 64 {
                earlier.push(mount);
            }
        }
        repeated
    }

    /// Whether the folder that `mount` shows is also seen through `other`, with nothing mounted over it there.
    fn shows(&self, other: &Mount, mount: &Mount) -> bool {
        let inside = match mount.folder.strip_prefix(other.folder.as_slice()) {
            Some(inside) if inside.is_empty() || other.folder == b"/" || inside.starts_with(b"/") => inside,
            _ => return false,
        };
        let inside = inside.strip_prefix(b"/").unwrap_or(inside);
        let point = other.point.strip_suffix(b"/").unwrap_or(&other.point);
        let path = if inside.is_empty() { other.point.clone() } else { [point, b"/", inside].concat() };
        self.reached(&path).map_or(self.root, |seen| seen.id) == other.id
    }

    /// Whether an overlay's upper folder lies where the search comes by.
    fn is_layered(&self, mount: &Mount) -> bool {
        if mount.kind != b"overlay" {
            return false;
        }
        let upper =
            mount.options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(b"upperdir="));
        upper.is_some_and(|upper| {
            upper.starts_with(b"/")
                && self
                    .reached(upper)
                    .is_none_or(|seen| kind_obstacle(&seen.kind).is_none() && seen.kind != b"overlay")
        })
    }
}

/// Why a search never enters file systems of this type.
fn kind_obstacle(kind: &[u8]) -> Option<Obstacle> {
    match kind {
        b"proc" | b"sysfs" | b"debugfs" | b"tracefs" | b"cgroup" | b"cgroup2" | b"devpts" | b"securityfs"
        | b"pstore" | b"bpf" | b"configfs" | b"fusectl" | b"mqueue" | b"selinuxfs" | b"smackfs"
        | b"binfmt_misc" | b"efivarfs" | b"nfsd" | b"rpc_pipefs" | b"resctrl" | b"functionfs"
        | b"apparmorfs" | b"ibmasmfs" | b"gadgetfs" | b"binder" | b"xenfs" => Some(Obstacle::KernelMade),
        b"nfs" | b"nfs4" | b"cifs" | b"smb3" | b"smbfs" | b"9p" | b"ceph" | b"afs" | b"coda" | b"ncpfs"
        | b"ncp" | b"lustre" | b"orangefs" | b"pvfs2" | b"gpfs" | b"beegfs" | b"beegfs_nodev"
        | b"glusterfs" | b"gfs2" | b"ocfs2" | b"vboxsf" | b"prl_fs" | b"vmhgfs" => Some(Obstacle::Network),
        b"fuse" | b"fuseblk" | b"virtiofs" => Some(Obstacle::Fuse),
        b"autofs" => Some(Obstacle::Automount),
        _ if kind.starts_with(b"fuse.") || kind.starts_with(b"fuseblk.") => Some(Obstacle::Fuse),
        _ => None,
    }
}

/// `id parent major:minor folder point options [propagation ...] - type device options`, proc(5).
fn parse(line: &[u8]) -> Option<Mount> {
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let mut columns = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(columns.next()?)?, number(columns.next()?)?);
    let device = columns.next()?.to_vec();
    let (folder, point) = (unescaped(columns.next()?), unescaped(columns.next()?));
    let mut columns = columns.skip_while(|column| *column != b"-").skip(1);
    let kind = unescaped(columns.next()?);
    let options = unescaped(columns.nth(1)?);
    Some(Mount { id, parent, device, folder, point, kind, options })
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
pub fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = rest {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(lines: &[&str], below: &str) -> Mounts {
        let parsed = lines.iter().filter_map(|line| parse(line.as_bytes())).collect();
        Mounts::arranged(parsed, below.as_bytes().to_vec())
    }

    const LINES: [&str; 10] = [
        "27 1 254:0 / / rw - ext4 /dev/vda rw",
        "22 27 0:21 / /proc rw - proc proc rw",
        "40 27 0:40 / /mnt/dead\\040share rw shared:1 - nfs4 192.0.2.1:/x rw",
        "41 27 0:41 / /mnt/user rw - fuse.sshfs x rw",
        "42 27 254:0 /var/lib /srv rw - ext4 /dev/vda rw",
        "43 27 254:0 / /mnt/all rw - ext4 /dev/vda rw",
        "44 27 0:44 / /hidden rw - tmpfs t rw",
        "45 27 254:0 /hidden /shown rw - ext4 /dev/vda rw",
        "46 27 0:46 / /merged rw - overlay o rw,lowerdir=/a,upperdir=/var/upper,workdir=/w",
        "47 27 0:47 / /auto rw - autofs systemd-1 rw",
    ];

    #[test]
    fn mounts_that_may_not_answer_are_told_by_their_path_alone() {
        let mounts = mounts(&LINES, "");
        assert_eq!(mounts.obstacle_at(b"/proc"), Some(Obstacle::KernelMade));
        assert_eq!(mounts.obstacle_at(b"/mnt/dead share"), Some(Obstacle::Network));
        assert_eq!(mounts.obstacle_at(b"/mnt/user"), Some(Obstacle::Fuse));
        assert_eq!(mounts.obstacle_at(b"/auto"), Some(Obstacle::Automount));
        assert_eq!(mounts.obstacle_at(b"/mnt"), None);
        assert!(mounts.any_below(b"/mnt") && mounts.any_below(b"") && !mounts.any_below(b"/mnt/user"));
    }

    #[test]
    fn folder_seen_twice_is_searched_once_and_a_covered_one_where_it_is_seen() {
        let mounts = mounts(&LINES, "");
        assert_eq!(mounts.obstacle_at(b"/srv"), Some(Obstacle::Repeated));
        assert_eq!(mounts.obstacle_at(b"/mnt/all"), Some(Obstacle::Repeated));
        assert_eq!(mounts.obstacle_at(b"/shown"), None, "its other name is covered by a tmpfs");
        assert_eq!(mounts.obstacle_at(b"/merged"), Some(Obstacle::Layered));
        assert_eq!(mounts.obstacle_at(b"/"), None);
    }

    #[test]
    fn mount_hidden_by_one_above_it_is_no_obstacle() {
        let covered = [
            "27 1 254:0 / / rw - ext4 /dev/vda rw",
            "30 27 0:30 / /mnt/a rw - nfs s:/ rw",
            "31 27 0:31 / /mnt rw - tmpfs t rw",
            "32 31 0:32 / /mnt/b rw - tmpfs t rw",
            "33 32 0:33 / /mnt/b rw - fuse f rw",
        ];
        let mounts = mounts(&covered, "");
        assert_eq!(mounts.obstacle_at(b"/mnt/a"), None);
        assert_eq!(mounts.obstacle_at(b"/mnt/b"), Some(Obstacle::Fuse));
    }

    #[test]
    fn paths_of_a_mounted_root_are_looked_up_where_it_lies() {
        let lines = ["27 1 254:0 / / rw - ext4 d rw", "50 27 0:50 / /image/proc rw - proc p rw"];
        let mounts = mounts(&lines, "/image");
        assert_eq!(mounts.obstacle_at(b"/proc"), Some(Obstacle::KernelMade));
        assert_eq!(mounts.obstacle_at(b"/image/proc"), None);
        assert!(mounts.any_below(b""));
    }

    #[test]
    fn garbage_lines_are_left_out() {
        for garbage in
            [&b""[..], b"1", b"1 x 0:1 / / rw - t d o", b"1 0 0:1 / / rw", b"\xff \xff", b"1 0 0:1 / / rw -"]
        {
            assert!(parse(garbage).is_none());
        }
        assert!(Mounts::of_this_host().unwrap().obstacle_at(b"/proc").is_some());
    }
}
