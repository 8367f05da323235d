//! Owns the opening of kernel pseudo files and of the few state files beside them; refuses links, writing, waiting
//! without limit and reading without limit.

mod calls;
mod executable;
mod memory;
mod messages;
mod namespace;
mod tree;
mod watchdog;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FsWord, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

pub use calls::{
    BPF_INFO, BpfDescription, BpfKind, BpfObject, BpfPointed, BpfProbe, BpfTarget, Discipline, LegacyAnswer,
    LegacyFilter, bpf_attached, bpf_next_id, bpf_probe, discipline, legacy_table, yield_disks,
};
pub use executable::{ExecutableDigest, ExecutableDigests};
pub use memory::{LimeStream, MemoryRange, physical_ranges};
pub use messages::{KernelMessages, kernel_messages};
pub use namespace::{NamespacePlace, within_network_namespace};
pub use tree::{KernelEntry, KernelTree};
pub use watchdog::Watchdog;

use super::folder::{Looked, OpenFile, reopened};
use super::lines::each_line;

/// The most that [`kernel_text`] reads, in bytes; a longer text is an error, never a silent cut.
pub const KERNEL_TEXT_CAP: usize = 16 << 20;

/// The longest line that [`kernel_lines`] hands on, in bytes without its line feed.
pub const KERNEL_LINE_CAP: usize = super::lines::LINE_CAP;

/// `SYSFS_MAGIC` of `linux/magic.h`, which rustix does not name.
const SYSFS_MAGIC: FsWord = 0x6265_6572;

/// Folders where the kernel's own file systems, and a tmpfs among them, belong over `/proc` and `/sys`, with the magic
/// numbers of `linux/magic.h` that are right there.
const BELOW: &[(&str, &[u32])] = &[
    ("/proc/sys/fs/binfmt_misc", &[0x4249_4e4d]),
    ("/sys/fs/bpf", &[0xcafe_4a11]),
    ("/sys/fs/cgroup", &[0x0102_1994, 0x0027_e0eb, 0x6367_7270]),
    ("/sys/firmware/efi/efivars", &[0xde5e_81e4]),
    ("/sys/kernel/debug", &[0x6462_6720]),
    ("/sys/kernel/security", &[0x7363_6673]),
    ("/sys/kernel/tracing", &[0x7472_6163]),
];

const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW);

/// Reads a whole kernel text, such as `/proc/net/tcp`, or a state file such as `/run/utmp`.
///
/// # Errors
///
/// `FileTooLarge` past [`KERNEL_TEXT_CAP`]; `InvalidInput` where `path` is not a regular file, or lies under `/proc` or
/// `/sys` and something else is mounted over it; whatever the operating system answers.
pub fn kernel_text(path: &str) -> io::Result<Vec<u8>> {
    let prefix = kernel_prefix(path, KERNEL_TEXT_CAP)?;
    if prefix.cut {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {KERNEL_TEXT_CAP} bytes, not read further"),
        ));
    }
    Ok(prefix.bytes)
}

/// The beginning of a text.
#[derive(Debug)]
pub struct Prefix {
    /// The bytes read.
    pub bytes: Vec<u8>,
    /// Whether more bytes follow that were not read.
    pub cut: bool,
}

/// Reads at most `cap` bytes of a kernel text and tells whether there is more.
///
/// # Errors
///
/// As [`kernel_text`], without `FileTooLarge`.
pub fn kernel_prefix(path: &str, cap: usize) -> io::Result<Prefix> {
    read_prefix(open_kernel_file(path)?, cap)
}

/// Hands every line of a kernel text to `each`, without its line feed and without ever holding the whole text.
///
/// Returns how many lines were longer than [`KERNEL_LINE_CAP`] and therefore left out.
///
/// # Errors
///
/// As [`kernel_text`] (the cap is 1 GiB), and whatever `each` answers.
pub fn kernel_lines(path: &str, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    each_line(open_kernel_file(path)?, each)
}

/// Reads where a link points, as the raw bytes the kernel gives.
///
/// # Errors
///
/// Whatever the operating system answers.
pub fn kernel_link(path: &str) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlink(path, Vec::new())?.into_bytes())
}

/// Lists a folder as it is read, without `.` and `..`: raw names in the order the kernel gives them.
///
/// # Errors
///
/// `InvalidInput` where something else is mounted over a folder of `/proc` or `/sys`; whatever the operating system
/// answers.
pub fn kernel_dir(path: &str) -> io::Result<KernelNames> {
    KernelNames::of(open_checked(path, READING | OFlags::DIRECTORY)?)
}

/// The names in one folder, read as they are asked for.
pub struct KernelNames {
    names: rustix::fs::Dir,
}

impl KernelNames {
    fn of(folder: OwnedFd) -> io::Result<Self> {
        Ok(Self { names: rustix::fs::Dir::new(folder)? })
    }
}

impl Iterator for KernelNames {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.names.next()? {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => return Some(Ok(entry.file_name().to_bytes().to_vec())),
                Err(reason) => return Some(Err(reason.into())),
            }
        }
    }
}

/// One folder of `/proc`, held open so that every file read through it belongs to the same process, even where its
/// number is given to another one meanwhile.
#[derive(Debug)]
pub struct KernelFolder {
    folder: OwnedFd,
    path: String,
}

impl KernelFolder {
    /// Opens `/proc/<pid>`.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` where something is mounted over the folder, which hides a process from simpler tools.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let proc = open_checked("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let folder =
            open_beneath(&proc, &pid.to_string(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        Ok(Self { folder, path: format!("/proc/{pid}") })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads at most `cap` bytes of the file `name`, which may lie deeper, such as `fdinfo/3`.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` where something is mounted over the file; whatever the operating system answers.
    pub fn prefix(&self, name: &str, cap: usize) -> io::Result<Prefix> {
        read_prefix(checked_file(open_beneath(&self.folder, name, READING)?)?, cap)
    }

    /// Reads where the link `name` points.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn link(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.folder, name, Vec::new())?.into_bytes())
    }

    /// Lists the folder `name`.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` where something is mounted over the folder; whatever the operating system answers.
    pub fn names(&self, name: &str) -> io::Result<KernelNames> {
        KernelNames::of(open_beneath(&self.folder, name, READING | OFlags::DIRECTORY)?)
    }

    /// Tells what the link `name` points at, from what the kernel has in memory: no file server is asked.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn link_target(&self, name: &str) -> io::Result<LinkTarget> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let found = rustix::fs::statx(&self.folder, name, flags, StatxFlags::BASIC_STATS)?;
        Ok(LinkTarget {
            links: found.stx_nlink,
            size: found.stx_size,
            inode: found.stx_ino,
            device: (found.stx_dev_major, found.stx_dev_minor),
            changed: [found.stx_mtime, found.stx_ctime].map(|time| (time.tv_sec, time.tv_nsec)),
        })
    }
}

impl KernelFolder {
    /// Tells the protocol of the socket `inode` that descriptor `fd` of a process is open on, in the kernel's word.
    ///
    /// # Errors
    ///
    /// `NotFound` where the descriptor is open on something else by now; whatever the operating system answers.
    pub fn socket_protocol(&self, fd: u32, inode: u64) -> io::Result<Vec<u8>> {
        let path = format!("fd/{fd}");
        let opened = rustix::fs::openat(&self.folder, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        // What it is open on may be a file of a server that does not answer: only a socket is asked further.
        let asked = StatxFlags::TYPE | StatxFlags::INO;
        let found = rustix::fs::statx(&opened, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, asked)?;
        if FileType::from_raw_mode(u32::from(found.stx_mode)) != FileType::Socket || found.stx_ino != inode {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is not open on that socket any more"));
        }
        let mut name = vec![0; 64];
        let opened = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let length = rustix::fs::getxattr(opened, "system.sockprotoname", &mut name)?;
        name.truncate(length);
        Ok(name)
    }
}

impl KernelFolder {
    /// Opens the file `name` for reading at places of one's choice, such as `mem`.
    ///
    /// # Errors
    ///
    /// As [`Self::prefix`]; `PermissionDenied` without the right to trace the process.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        checked_file(open_beneath(&self.folder, name, READING)?)
    }

    /// Opens the regular file that the link `name`, such as `exe` or `fd/7`, leads to, deleted or not. The holder's own
    /// position in it does not move.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where it is no regular file, which is then not opened; whatever the operating system answers.
    pub fn open_target(&self, name: &str) -> io::Result<(OpenFile, Looked)> {
        reopened(&rustix::fs::openat(&self.folder, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// The file a link of `/proc` points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkTarget {
    /// How many names the file still has; 0 where it was deleted.
    pub links: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its inode number.
    pub inode: u64,
    /// The major and minor number of the device it lies on.
    pub device: (u32, u32),
    /// When its content and its metadata were last changed: seconds and nanoseconds.
    pub changed: [(i64, u32); 2],
}

/// Opens a kernel text to be read later, even by another thread.
///
/// # Errors
///
/// As [`kernel_text`], without `FileTooLarge`.
pub fn open_kernel_file(path: &str) -> io::Result<File> {
    checked_file(open_checked(path, READING)?)
}

/// Opens `path`, and where it lies under `/proc` or `/sys` makes sure that those file systems answer.
fn open_checked(path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let magic = match path.split('/').nth(1) {
        Some("proc") => rustix::fs::PROC_SUPER_MAGIC,
        Some("sys") => SYSFS_MAGIC,
        _ => return open_state_file(path, flags),
    };
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let found = rustix::fs::fstatfs(&file)?.f_type;
    if found != magic && !belongs(path, found) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "another file system is mounted over it"));
    }
    Ok(file)
}

/// Whether a file system of this kind belongs over the folder that `path` lies in.
fn belongs(path: &str, found: FsWord) -> bool {
    BELOW.iter().any(|(folder, magics)| {
        let beneath = path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // The type is signed on some architectures; the magic number is its low half.
        beneath && magics.iter().any(|magic| found & 0xffff_ffff == FsWord::from(*magic))
    })
}

/// Opens a file beside the kernel's own, such as `/etc/passwd`, and leaves its access time alone where that is allowed.
fn open_state_file(path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(rustix::fs::open(path, flags, Mode::empty())?),
        opened => Ok(opened?),
    }
}

/// Opens `name` under `folder` without leaving the mount that `folder` is in.
fn open_beneath(
    folder: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder.as_fd(), name, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, and in sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?),
        Err(Errno::XDEV) => Err(io::Error::new(
            io::ErrorKind::CrossesDevices,
            "something is mounted over it, which hides what the kernel shows there",
        )),
        opened => Ok(opened?),
    }
}

/// Refuses everything but regular files: a pipe or device at a well-known path could hold the reader for ever.
fn checked_file(file: OwnedFd) -> io::Result<File> {
    let mode = rustix::fs::fstat(&file)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(File::from(file))
}

fn read_prefix(file: File, cap: usize) -> io::Result<Prefix> {
    let mut bytes = Vec::new();
    file.take(cap as u64 + 1).read_to_end(&mut bytes)?;
    let cut = bytes.len() > cap;
    bytes.truncate(cap);
    Ok(Prefix { bytes, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_path(folder: &tempfile::TempDir, name: &str) -> String {
        folder.path().join(name).into_os_string().into_string().unwrap()
    }

    #[test]
    fn pipe_device_folder_and_link_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = text_path(&folder, "pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let link = text_path(&folder, "link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        for refused in [pipe.as_str(), link.as_str(), "/dev/zero", "/etc"] {
            assert!(kernel_text(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn text_past_the_cap_is_an_error_and_a_prefix_says_that_it_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = text_path(&folder, "large");
        File::create(&path).unwrap().set_len(KERNEL_TEXT_CAP as u64 + 1).unwrap();
        assert_eq!(kernel_text(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let prefix = kernel_prefix(&path, 10).unwrap();
        assert_eq!((prefix.bytes.len(), prefix.cut), (10, true));
    }

    #[test]
    fn line_past_the_cap_is_counted_and_the_lines_around_it_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = text_path(&folder, "lines");
        let long = vec![b'x'; KERNEL_LINE_CAP + 1];
        std::fs::write(&path, [b"a\n", long.as_slice(), b"\n", &long[1..], b"\n\nlast"].concat()).unwrap();
        let mut lengths = Vec::new();
        let too_long = kernel_lines(&path, &mut |line| {
            lengths.push(line.len());
            Ok(())
        });
        assert_eq!(too_long.unwrap(), 1);
        assert_eq!(lengths, [1, KERNEL_LINE_CAP, 0, 4]);
    }

    #[test]
    fn folder_names_come_without_the_two_every_folder_has() {
        let names: Vec<_> = kernel_dir("/proc/self/ns").unwrap().flatten().collect();
        assert!(names.contains(&b"net".to_vec()));
        assert!(!names.contains(&b"..".to_vec()));
    }

    #[test]
    fn process_folder_reads_its_own_process_and_follows_no_link_out_of_proc() {
        let missing = KernelFolder::of_process(u32::MAX).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let own = KernelFolder::of_process(std::process::id()).unwrap();
        assert!(own.prefix("stat", 64).unwrap().bytes.starts_with(std::process::id().to_string().as_bytes()));
        assert_eq!(own.link_target("exe").unwrap().links, 1);
        assert!(own.prefix("exe", 64).is_err(), "a link out of /proc is not followed");
    }
}
