//! Owns the root of the examined host, the live one or a mounted one, and the reading of its small files by path; refuses
//! to resolve a link, a `..` or a mount out of a mounted root.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::folder::{Folder, OpenFile, reopened};
use super::lines::each_line;

/// The root of the examined host.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    mounted_at: Option<PathBuf>,
    process: Option<u32>,
}

impl Root {
    /// The root of the live host.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn live() -> io::Result<Self> {
        Self::open(Path::new("/"), None)
    }

    /// The root that a mounted image or a container has at `folder`.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers; `Unsupported` before Linux 5.6, which cannot resolve links inside a root.
    pub fn mounted(folder: &Path) -> io::Result<Self> {
        // A process's root is entered as the kernel knows it: by its path it would be another folder, or this host's own.
        let process = process_of(folder);
        let absolute = if process.is_some() { folder.to_owned() } else { folder.canonicalize()? };
        let root = Self { process, ..Self::open(&absolute, Some(absolute.clone()))? };
        // Fails at once where the kernel lacks openat2.
        root.resolve(b"/", OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(root)
    }

    fn open(folder: &Path, mounted_at: Option<PathBuf>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::openat(CWD, folder, flags, Mode::empty())?, mounted_at, process: None })
    }

    /// Where a mounted root lies on the machine that reads it; `None` for the live host.
    pub fn mounted_at(&self) -> Option<&Path> {
        self.mounted_at.as_deref()
    }

    /// The process whose root this is, where it was given as `/proc/<pid>/root`.
    pub(super) fn process(&self) -> Option<u32> {
        self.process
    }

    /// Whether this is the live host.
    pub fn is_live(&self) -> bool {
        self.mounted_at.is_none()
    }

    /// The root folder, to search below.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn folder(&self) -> io::Result<Folder> {
        Folder::at_root(self.resolve(b"/", OFlags::RDONLY | OFlags::DIRECTORY)?.0)
    }

    /// Opens the regular file at an absolute path of the examined host; links are followed inside the root.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where it is no regular file; whatever the operating system answers.
    pub fn open_file(&self, path: impl AsRef<[u8]>) -> io::Result<OpenFile> {
        // Looked at before it is opened: opening some devices, a watchdog or a tape, already acts on them.
        let (place, _) = self.resolve(path.as_ref(), OFlags::PATH)?;
        Ok(reopened(&place)?.0)
    }

    /// Reads the whole file at `path`, at most `cap` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::open_file`]; `FileTooLarge` past `cap`, never a silent cut.
    pub fn text(&self, path: impl AsRef<[u8]>, cap: usize) -> io::Result<Vec<u8>> {
        self.open_file(path)?.text(cap)
    }

    /// Hands every line of the file at `path` to `each`, without its line feed and without ever holding the whole file.
    ///
    /// Returns how many lines were too long (64 KiB) and therefore left out.
    ///
    /// # Errors
    ///
    /// As [`Self::open_file`]; `FileTooLarge` past 1 GiB; whatever `each` answers.
    pub fn lines(
        &self,
        path: impl AsRef<[u8]>,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        each_line(self.open_file(path)?.file, each)
    }

    /// The same root again, for a thread of its own.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, mounted_at: self.mounted_at.clone(), process: self.process })
    }

    /// Opens the folder at an absolute path of the examined host; links are followed inside the root.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn folder_at(&self, path: impl AsRef<[u8]>) -> io::Result<Folder> {
        let path = path.as_ref();
        let (fd, _) = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Folder::opened(fd, path.strip_suffix(b"/").unwrap_or(path).to_vec())
    }

    /// Lists the folder at `path`, sorted; not for folders that can hold millions.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn names(&self, path: impl AsRef<[u8]>) -> io::Result<Vec<Vec<u8>>> {
        let mut listing = self.folder_at(path)?.list()?;
        let mut names = Vec::new();
        loop {
            match listing.next_chunk()? {
                chunk if chunk.is_empty() => break,
                chunk => names.extend(chunk),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Target of the link at `path`, raw bytes; links on the way are followed, the last one is not.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> io::Result<Vec<u8>> {
        let (fd, _) = self.resolve(path.as_ref(), OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(rustix::fs::readlinkat(&fd, c"", Vec::new())?.into_bytes())
    }

    /// Opens `path` and tells whether the kernel leaves its access time alone.
    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<(OwnedFd, bool)> {
        let below: Vec<u8> = path.iter().copied().skip_while(|byte| *byte == b'/').collect();
        let name = if below.is_empty() { c".".to_owned() } else { CString::new(below)? };
        // openat2 refuses what O_PATH makes meaningless.
        let reading = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
        let flags = flags | OFlags::CLOEXEC | reading;
        let open = |flags| match &self.mounted_at {
            // The live root is `/`: an ordinary look-up cannot leave it.
            None => rustix::fs::openat(&self.fd, &name, flags, Mode::empty()),
            Some(_) => {
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                rustix::fs::openat2(&self.fd, &name, flags, Mode::empty(), resolve)
            }
        };
        if flags.contains(OFlags::PATH) {
            return Ok((open(flags).map_err(explained)?, true));
        }
        match open(flags | OFlags::NOATIME) {
            Ok(fd) => Ok((fd, true)),
            // Only the owner and privileged users may ask for that.
            Err(Errno::PERM) => Ok((open(flags).map_err(explained)?, false)),
            Err(error) => Err(explained(error)),
        }
    }
}

/// The process of a path `/proc/<pid>/root`.
fn process_of(folder: &Path) -> Option<u32> {
    let text = folder.to_str()?.trim_end_matches('/');
    text.strip_prefix("/proc/")?.strip_suffix("/root")?.parse().ok()
}

fn explained(error: Errno) -> io::Error {
    match error {
        Errno::NOSYS => io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel cannot keep links inside another root (openat2 came with Linux 5.6)",
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_not_even_opened() {
        use rustix::fs::inotify;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/pipe", folder.path().join("link")).unwrap();
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, &pipe, inotify::WatchFlags::OPEN).unwrap();
        let root = Root::mounted(folder.path()).unwrap();
        assert_eq!(root.open_file("/link").err().unwrap().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            rustix::io::read(&watch, &mut [0; 256]),
            Err(Errno::AGAIN),
            "opening some devices acts on them"
        );
    }

    #[test]
    fn links_and_dots_stay_inside_a_mounted_root() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("image");
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        std::fs::write(inside.join("etc/real"), "inside").unwrap();
        for (link, target) in [("abs", "/etc/real"), ("up", "../../../../etc/real"), ("out", "/secret")] {
            std::os::unix::fs::symlink(target, inside.join(link)).unwrap();
        }
        let root = Root::mounted(&inside).unwrap();
        assert_eq!(root.text("/abs", 100).unwrap(), b"inside");
        assert_eq!(root.text("/up", 100).unwrap(), b"inside");
        assert_eq!(root.text("/out", 100).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(root.text("/../secret", 100).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(root.read_link("/abs").unwrap(), b"/etc/real");
        assert_eq!(root.names("/").unwrap(), [&b"abs"[..], b"etc", b"out", b"up"]);
        assert_eq!(root.text("/etc/real", 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn lines_are_handed_on_and_those_too_long_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), [&b"a\n"[..], &[b'x'; 70_000], b"\nb"].concat()).unwrap();
        let root = Root::mounted(folder.path()).unwrap().again().unwrap();
        let mut found = Vec::new();
        let too_long = root.lines("/file", &mut |line| {
            found.push(line.to_vec());
            Ok(())
        });
        assert_eq!((too_long.unwrap(), found), (1, vec![b"a".to_vec(), b"b".to_vec()]));
    }
}
