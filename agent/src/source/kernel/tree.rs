//! Owns the walk below a mount of one of the kernel's own file systems; refuses links and other mounts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FsWord, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::{KernelNames, Prefix, READING, checked_file, open_beneath, read_prefix};

/// Magic numbers of `linux/magic.h`: proc, cgroup, cgroup2, bpf, binfmt_misc, efivarfs.
const KERNEL_MADE: &[u32] = &[0x9fa0, 0x0027_e0eb, 0x6367_7270, 0xcafe_4a11, 0x4249_4e4d, 0xde5e_81e4];

/// That of sysfs, over whose folders others belong.
const SYSFS: &[u32] = &[0x6265_6572];

/// One folder of a file system that the kernel makes up, held open.
#[derive(Debug)]
pub struct KernelTree {
    folder: OwnedFd,
    path: Vec<u8>,
}

/// One entry of a folder, by its metadata only.
#[derive(Debug)]
pub struct KernelEntry {
    /// Path from the root of the agent.
    pub path: Vec<u8>,
    /// Owner's user id.
    pub uid: u32,
    /// Owner's group id.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Last change of the content, Unix seconds.
    pub mtime: i64,
    /// Inode number.
    pub inode: u64,
}

impl KernelEntry {
    /// The last part of the path.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

impl KernelTree {
    /// Opens the root of a mount.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where it is not on a file system that the kernel makes up; whatever the operating system answers.
    pub fn open(path: &[u8]) -> io::Result<Self> {
        Self::of(path, KERNEL_MADE)
    }

    /// Opens a folder of `/sys` that no other file system belongs over.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where one is; whatever the operating system answers.
    pub fn open_sys(path: &[u8]) -> io::Result<Self> {
        Self::of(path, SYSFS)
    }

    fn of(path: &[u8], kinds: &[u32]) -> io::Result<Self> {
        let folder = rustix::fs::open(path, READING | OFlags::DIRECTORY, Mode::empty())?;
        let found = rustix::fs::fstatfs(&folder)?.f_type;
        if !kinds.iter().any(|magic| found & 0xffff_ffff == FsWord::from(*magic)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "another file system is mounted over it",
            ));
        }
        Ok(Self { folder, path: path.to_vec() })
    }

    /// The path it was reached by.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The open folder.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Opens the folder `name` in it.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` where something is mounted over it; whatever the operating system answers.
    pub fn folder(&self, name: &[u8]) -> io::Result<Self> {
        let folder = open_beneath(&self.folder, name, READING | OFlags::DIRECTORY)?;
        Ok(Self { folder, path: self.path_of(name) })
    }

    /// Reads at most `cap` bytes of the file `name`.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` where something is mounted over the file; whatever the operating system answers.
    pub fn prefix(&self, name: &[u8], cap: usize) -> io::Result<Prefix> {
        read_prefix(checked_file(open_beneath(&self.folder, name, READING)?)?, cap)
    }

    /// Lists the folders in it, in the order the kernel gives them, and opens none.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers. Among the entries: what it answers for one of them, and `QuotaExceeded`
    /// behind the last one that is looked at where there are more.
    pub fn folders(&self) -> io::Result<Vec<io::Result<KernelEntry>>> {
        self.entries(true)
    }

    /// Lists what is in it and is no folder.
    ///
    /// # Errors
    ///
    /// As [`Self::folders`].
    pub fn files(&self) -> io::Result<Vec<io::Result<KernelEntry>>> {
        self.entries(false)
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        [self.path.as_slice(), b"/", name].concat()
    }

    fn entries(&self, folders: bool) -> io::Result<Vec<io::Result<KernelEntry>>> {
        // The folder's own position is shared by every listing: list a fresh opening of it.
        let listing = rustix::fs::openat(&self.folder, c".", READING | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = Vec::new();
        for (name, number) in KernelNames::of(listing)?.zip(0..) {
            let name = match name {
                Ok(name) => name,
                Err(reason) => {
                    entries.push(Err(reason));
                    break;
                }
            };
            if number == ENTRIES {
                let reason = format!("more than {ENTRIES} entries, the others are not looked at");
                entries.push(Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason)));
                break;
            }
            match self.entry(&name) {
                Ok(entry) if (FileType::from_raw_mode(entry.mode) == FileType::Directory) != folders => {}
                // Gone since it was listed.
                Err(Errno::NOENT) => {}
                entry => entries.push(entry.map_err(io::Error::from)),
            }
        }
        Ok(entries)
    }

    /// What the kernel has in memory of an entry: the server of a file system that is mounted over it is not asked.
    fn entry(&self, name: &[u8]) -> Result<KernelEntry, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let found = rustix::fs::statx(&self.folder, name, flags, StatxFlags::BASIC_STATS)?;
        Ok(KernelEntry {
            path: self.path_of(name),
            uid: found.stx_uid,
            gid: found.stx_gid,
            mode: u32::from(found.stx_mode),
            mtime: found.stx_mtime.tv_sec,
            inode: found.stx_ino,
        })
    }
}

/// Entries of one folder that are looked at most.
const ENTRIES: usize = 100_000;
