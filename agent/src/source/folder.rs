//! Owns folders and files of the examined host, reached one component at a time from an open folder, so that no
//! link swapped in behind our back is followed; refuses links, and files that are not the ones that were looked at.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use holdfast_schemas::item::{FileMetadata, ItemKind, Xattr};
use holdfast_schemas::text::Base64Bytes;
use holdfast_schemas::time::UtcTime;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, SeekFrom, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::Owners;

/// Names that are sorted and handed on at a time, so that a folder of millions stays in bounded memory.
const CHUNK: usize = 4_096;
/// Most bytes of extended attributes kept of one file.
const MAX_XATTRS: usize = 256 * 1024;

/// A folder of the examined host, open for looking at its entries.
pub struct Folder {
    fd: OwnedFd,
    path: Vec<u8>,
    identity: FileIdentity,
}

/// What makes a file the same file: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    device: (u32, u32),
    inode: u64,
}

/// What the file system says of one entry, without opening it.
pub struct Looked {
    statx: Statx,
    /// What it is.
    pub kind: ItemKind,
    /// Which file it is.
    pub identity: FileIdentity,
    /// Its size in bytes.
    pub size: u64,
}

/// A regular file, open for reading from its start.
pub struct OpenFile {
    /// The file; reading it moves its position.
    pub file: File,
    /// Whether the kernel leaves its access time alone.
    pub atime_preserved: bool,
}

impl Folder {
    /// Opens the root of the live host.
    pub fn root() -> io::Result<Self> {
        Self::at_root(open(CWD, c"/", OFlags::DIRECTORY)?.0)
    }

    /// The root of an examined host, opened before.
    pub(super) fn at_root(fd: OwnedFd) -> io::Result<Self> {
        Self::opened(fd, Vec::new())
    }

    /// A folder opened before, with its absolute path on the examined host; empty for the root.
    pub(super) fn opened(fd: OwnedFd, path: Vec<u8>) -> io::Result<Self> {
        let identity = look_at(fd.as_fd(), c"", AtFlags::EMPTY_PATH)?.identity;
        Ok(Self { fd, path, identity })
    }

    /// The folder's absolute path, raw bytes; empty for the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The absolute path of an entry.
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, &b"/"[..], name].concat()
    }

    /// Which folder this is.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Looks at an entry without opening or following it.
    pub fn look(&self, name: &[u8]) -> io::Result<Looked> {
        Ok(look_at(self.fd.as_fd(), &c_name(name)?, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a folder below this one.
    pub fn descend(&self, name: &[u8]) -> io::Result<Self> {
        Self::opened(open(self.fd.as_fd(), &c_name(name)?, OFlags::DIRECTORY)?.0, self.join(name))
    }

    /// Opens the regular file that `looked` was taken of.
    pub fn open(&self, name: &[u8], looked: &Looked) -> io::Result<OpenFile> {
        let (fd, atime_preserved) = open(self.fd.as_fd(), &c_name(name)?, OFlags::empty())?;
        let opened = look_at(fd.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        if opened.identity != looked.identity || opened.kind != ItemKind::File {
            return Err(io::Error::other("another file took its place while it was being opened"));
        }
        Ok(OpenFile { file: File::from(fd), atime_preserved })
    }

    /// Target of a symbolic link, raw bytes.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, c_name(name)?.as_c_str(), Vec::new())?.into_bytes())
    }

    /// Extended attributes of the folder itself, as [`OpenFile::xattrs`].
    pub fn xattrs(&self) -> Vec<Xattr> {
        xattrs(&self.fd)
    }

    /// Lists the folder's entries in sorted chunks.
    pub fn list(&self) -> io::Result<Listing> {
        // Opened again, so that two listings of one folder do not share a position.
        let (fd, atime_preserved) = open(self.fd.as_fd(), c".", OFlags::DIRECTORY)?;
        Ok(Listing { dir: Dir::new(fd)?, atime_preserved, ended: false })
    }
}

/// A folder being listed.
pub struct Listing {
    dir: Dir,
    /// Whether the kernel leaves the folder's access time alone.
    pub atime_preserved: bool,
    ended: bool,
}

/// Opens a regular file anew that is open only as a place (`O_PATH`): for reading, with a position of its own.
pub(super) fn reopened(place: &OwnedFd) -> io::Result<(OpenFile, Looked)> {
    let looked = look_at(place.as_fd(), c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC)?;
    if looked.kind != ItemKind::File {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let (fd, atime_preserved) = match rustix::fs::openat(CWD, &path, flags | OFlags::NOATIME, Mode::empty()) {
        Ok(fd) => (fd, true),
        Err(Errno::PERM) => (rustix::fs::openat(CWD, &path, flags, Mode::empty())?, false),
        Err(error) => return Err(error.into()),
    };
    Ok((OpenFile { file: File::from(fd), atime_preserved }, looked))
}

impl Listing {
    /// The next names, sorted within the chunk; readdir order differs between runs. Empty at the end.
    pub fn next_chunk(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        while !self.ended && names.len() < CHUNK {
            match self.dir.read() {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(error.into());
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        names.push(name.to_vec());
                    }
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl OpenFile {
    /// Whether the kernel makes the file up as it is read, as [`kernel_made`] says of folders.
    pub fn kernel_made(&self) -> bool {
        file_system(&self.file).is_some_and(is_made_up)
    }

    /// Reads the whole file, at most `cap` bytes.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` past `cap`, never a silent cut; whatever the operating system answers.
    pub fn text(self, cap: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.take(cap as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > cap {
            let reason = format!("longer than {cap} bytes, not read");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(bytes)
    }

    /// Looks at the open file, as it is now.
    pub fn look(&self) -> io::Result<Looked> {
        Ok(look_at(self.file.as_fd(), c"", AtFlags::EMPTY_PATH)?)
    }

    /// Extended attributes, as far as they are readable and within bounds; none where the file system has none.
    pub fn xattrs(&self) -> Vec<Xattr> {
        xattrs(&self.file)
    }

    /// The ranges of the file that hold data, ascending; the rest are holes, which read as zeros. Ranges that lie close
    /// together are joined, so that there are at most `most`.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn extents(&mut self, size: u64, most: usize) -> io::Result<Extents> {
        let mut extents: Extents = Vec::new();
        let mut joined = 0;
        let mut at = 0;
        while at < size {
            let from = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(from) if from < size => from,
                // Nothing but a hole is left.
                Ok(_) | Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            let to = rustix::fs::seek(&self.file, SeekFrom::Hole(from))?.min(size).max(from + 1);
            match extents.last_mut() {
                Some((begin, length)) if from - (*begin + *length) <= joined => *length = to - *begin,
                _ => extents.push((from, to - from)),
            }
            if extents.len() > most {
                // Twice as wide a gap is read as zeros from now on.
                joined = (joined * 2).max(1 << 20);
                extents = join(&extents, joined);
            }
            at = to;
        }
        rustix::fs::seek(&self.file, SeekFrom::Start(0))?;
        Ok(extents)
    }
}

/// Ranges of a file: where each begins and its length, in bytes.
pub type Extents = Vec<(u64, u64)>;

fn join(extents: &[(u64, u64)], gap: u64) -> Extents {
    let mut joined: Extents = Vec::with_capacity(extents.len());
    for (from, length) in extents {
        match joined.last_mut() {
            Some((begin, known)) if from - (*begin + *known) <= gap => *known = from + length - *begin,
            _ => joined.push((*from, *length)),
        }
    }
    joined
}

impl Looked {
    /// The record of what was seen; link target and extended attributes are the caller's to add.
    pub fn metadata(&self, owners: &Owners) -> FileMetadata {
        let stat = &self.statx;
        let has_btime = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        FileMetadata {
            size: stat.stx_size,
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            user: owners.user(stat.stx_uid),
            group: owners.group(stat.stx_gid),
            device: format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            nlink: u64::from(stat.stx_nlink),
            mtime: utc(&stat.stx_mtime),
            ctime: utc(&stat.stx_ctime),
            atime: utc(&stat.stx_atime),
            btime: if has_btime { utc(&stat.stx_btime) } else { None },
            link_target: None,
            link_target_raw: None,
            xattrs: Vec::new(),
        }
    }

    /// Permission bits: the low twelve of `st_mode`.
    pub fn mode(&self) -> u32 {
        u32::from(self.statx.stx_mode) & 0o7777
    }

    /// Owner and group.
    pub fn owner(&self) -> (u32, u32) {
        (self.statx.stx_uid, self.statx.stx_gid)
    }

    /// Whether the file has further names.
    pub fn has_further_names(&self) -> bool {
        self.statx.stx_nlink > 1
    }

    /// Bytes of the file that take no room on its disk: its holes.
    pub fn holes(&self) -> u64 {
        self.size.saturating_sub(self.statx.stx_blocks.saturating_mul(512))
    }

    /// Everything the kernel said of it, statx(2).
    pub fn statx(&self) -> &Statx {
        &self.statx
    }

    /// Modification time, Unix seconds.
    pub fn modified_seconds(&self) -> i64 {
        self.statx.stx_mtime.tv_sec
    }

    /// Whether content may have changed since `earlier`: size or modification time differ.
    pub fn differs_from(&self, earlier: &Self) -> bool {
        let stamp = |looked: &Self| {
            let time = &looked.statx.stx_mtime;
            (looked.size, time.tv_sec, time.tv_nsec)
        };
        stamp(self) != stamp(earlier)
    }

    /// Whether this is on another file system than `folder`.
    pub fn crosses_mount(&self, folder: &Folder) -> bool {
        self.identity.device != folder.identity.device
    }
}

fn xattrs(fd: &impl AsFd) -> Vec<Xattr> {
    let mut names = Vec::with_capacity(256);
    loop {
        match rustix::fs::flistxattr(fd, rustix::buffer::spare_capacity(&mut names)) {
            Ok(0) => return Vec::new(),
            Ok(_) => break,
            Err(Errno::RANGE) if names.capacity() < MAX_XATTRS => names.reserve(names.capacity() * 4),
            Err(_) => return Vec::new(),
        }
    }
    let mut left = MAX_XATTRS;
    let mut kept = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Some(xattr) = xattr(fd, name) else { continue };
        // One file's attributes must not make its record longer than a record may be.
        let Some(rest) = left.checked_sub(xattr.name.len() + xattr.value.0.len()) else { continue };
        left = rest;
        kept.push(xattr);
    }
    kept
}

fn xattr(fd: &impl AsFd, name: &[u8]) -> Option<Xattr> {
    let mut value = Vec::with_capacity(256);
    loop {
        match rustix::fs::fgetxattr(fd, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => break,
            Err(Errno::RANGE) if value.capacity() < MAX_XATTRS => value.reserve(value.capacity() * 4),
            Err(_) => return None,
        }
    }
    Some(Xattr { name: String::from_utf8_lossy(name).into_owned(), value: Base64Bytes(value) })
}

fn utc(time: &StatxTimestamp) -> Option<UtcTime> {
    UtcTime::from_unix(time.tv_sec, time.tv_nsec)
}

fn c_name(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Opens read-only, following nothing, blocking on nothing, and without moving the access time where the kernel
/// lets us: only the owner and privileged users may ask for that.
fn open(at: BorrowedFd<'_>, name: &CStr, more: OFlags) -> io::Result<(OwnedFd, bool)> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | more;
    match rustix::fs::openat(at, name, flags | OFlags::NOATIME, Mode::empty()) {
        Ok(fd) => Ok((fd, true)),
        Err(Errno::PERM) => Ok((rustix::fs::openat(at, name, flags, Mode::empty())?, false)),
        Err(error) => Err(error.into()),
    }
}

fn look_at(at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<Looked> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let statx = rustix::fs::statx(at, name, flags | AtFlags::NO_AUTOMOUNT, wanted)?;
    let kind = match rustix::fs::FileType::from_raw_mode(u32::from(statx.stx_mode)) {
        rustix::fs::FileType::RegularFile => ItemKind::File,
        rustix::fs::FileType::Directory => ItemKind::Directory,
        rustix::fs::FileType::Symlink => ItemKind::Symlink,
        rustix::fs::FileType::Fifo => ItemKind::Fifo,
        rustix::fs::FileType::Socket => ItemKind::Socket,
        rustix::fs::FileType::CharacterDevice => ItemKind::CharDevice,
        rustix::fs::FileType::BlockDevice => ItemKind::BlockDevice,
        rustix::fs::FileType::Unknown => ItemKind::Unknown,
    };
    let identity = FileIdentity { device: (statx.stx_dev_major, statx.stx_dev_minor), inode: statx.stx_ino };
    Ok(Looked { kind, identity, size: statx.stx_size, statx })
}

impl FileIdentity {
    /// The identity of an open file.
    pub fn of(file: &impl AsFd) -> io::Result<Self> {
        Ok(look_at(file.as_fd(), c"", AtFlags::EMPTY_PATH)?.identity)
    }

    /// The device, `major:minor`.
    pub fn device(&self) -> (u32, u32) {
        self.device
    }
}

/// Whether a folder belongs to a file system that the kernel makes up as it is read: /proc, /sys and their kind,
/// where files can be endless, block, or act when read.
pub fn kernel_made(folder: &Folder) -> bool {
    file_system(&folder.fd).is_some_and(is_made_up)
}

fn is_made_up(magic: u32) -> bool {
    const MADE_UP: [u32; 14] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x1cd1,      // devpts
        0x7363_6673, // securityfs
        0x6165_676c, // pstore
        0xcafe_4a11, // bpf
        0x6265_6570, // configfs
        0x6573_5543, // fusectl
        0x1980_0202, // mqueue
        0xf97c_ff8c, // selinux
    ];
    MADE_UP.contains(&magic)
}

/// Whether a folder belongs to a network file system, where a dead server blocks its reader.
pub fn remote(folder: &Folder) -> bool {
    const REMOTE: [u32; 7] = [
        0x6969,      // nfs
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x517b,      // smb
        0x0102_1997, // 9p
        0x00c3_6400, // ceph
        0x5346_414f, // afs
    ];
    file_system(&folder.fd).is_some_and(|magic| REMOTE.contains(&magic))
}

fn file_system(open: &impl AsFd) -> Option<u32> {
    let magic = rustix::fs::fstatfs(open).ok()?.f_type;
    // The type's width and sign differ between systems; the magic numbers have 32 bits.
    u32::try_from(i128::from(magic) & 0xffff_ffff).ok()
}

/// Bytes that can still be written to the file system of an open file.
pub fn free_bytes(file: &impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(file)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
