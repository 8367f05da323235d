//! Owns the walk below a mount of one of the kernel's own file systems; refuses links and other mounts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FsWord, Mode, OFlags};

use super::{KernelNames, Prefix, READING, checked_file, open_beneath, read_prefix};

/// Magic numbers of `linux/magic.h`: proc, cgroup, cgroup2, bpf, binfmt_misc, efivarfs.
const KERNEL_MADE: &[u32] = &[0x9fa0, 0x0027_e0eb, 0x6367_7270, 0xcafe_4a11, 0x4249_4e4d, 0xde5e_81e4];

/// One folder of a file system that the kernel makes up, held open.
#[derive(Debug)]
pub struct KernelTree {
    folder: OwnedFd,
    path: Vec<u8>,
}

/// One entry that is no folder, by its metadata only.
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
        let folder = rustix::fs::open(path, READING | OFlags::DIRECTORY, Mode::empty())?;
        let found = rustix::fs::fstatfs(&folder)?.f_type;
        if !KERNEL_MADE.iter().any(|magic| found & 0xffff_ffff == FsWord::from(*magic)) {
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

    /// Opens the folders in it, in the order the kernel gives them, each with its path.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` for a folder that something is mounted over; whatever the operating system answers.
    pub fn folders(&self) -> io::Result<Vec<(Vec<u8>, io::Result<Self>)>> {
        let mut entries = self.entries()?;
        entries.retain(|entry| FileType::from_raw_mode(entry.mode) == FileType::Directory);
        let open = |entry: KernelEntry| {
            let folder = open_beneath(&self.folder, entry.name(), READING | OFlags::DIRECTORY);
            (entry.path.clone(), folder.map(|folder| Self { folder, path: entry.path }))
        };
        Ok(entries.into_iter().map(open).collect())
    }

    /// Reads at most `cap` bytes of the file `name`.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` where something is mounted over the file; whatever the operating system answers.
    pub fn prefix(&self, name: &[u8], cap: usize) -> io::Result<Prefix> {
        read_prefix(checked_file(open_beneath(&self.folder, name, READING)?)?, cap)
    }

    /// Lists what is in it and is no folder.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn files(&self) -> io::Result<Vec<KernelEntry>> {
        let mut entries = self.entries()?;
        entries.retain(|entry| FileType::from_raw_mode(entry.mode) != FileType::Directory);
        Ok(entries)
    }

    fn entries(&self) -> io::Result<Vec<KernelEntry>> {
        // The folder's own position is shared by every listing: list a fresh opening of it.
        let listing = rustix::fs::openat(&self.folder, c".", READING | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = Vec::new();
        for name in KernelNames::of(listing)?.take(ENTRIES) {
            let name = name?;
            let Ok(found) = rustix::fs::statat(&self.folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            let path = [self.path.as_slice(), b"/", &name].concat();
            entries.push(KernelEntry {
                path,
                uid: found.st_uid,
                gid: found.st_gid,
                mode: found.st_mode,
                mtime: found.st_mtime,
                inode: found.st_ino,
            });
        }
        Ok(entries)
    }
}

/// Entries of one folder that are looked at most.
const ENTRIES: usize = 100_000;
