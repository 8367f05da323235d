//! Owns the entering of network namespaces, each on a short-lived thread of its own; refuses to move any other thread and
//! to open what is no namespace.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, FileType, FsWord, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Watchdog;

/// `NSFS_MAGIC` of `linux/magic.h`, which rustix does not name.
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// How many entries may be given up before no further one is tried: each leaves a thread behind.
const GIVEN_UP_CAP: u32 = 8;

/// The entries given up by this process.
static GIVEN_UP: AtomicU32 = AtomicU32::new(0);

/// Where a namespace can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespacePlace {
    /// A link of `/proc/<pid>`, in its `ns`, a thread's `ns` or its `fd`.
    Link(String),
    /// A mount, at `point` as seen from `root`: `/` or the link `/proc/<pid>/root`.
    Mount {
        /// The root that the mounts were listed from.
        root: String,
        /// The path below it, as the kernel lists it.
        point: Vec<u8>,
    },
}

impl NamespacePlace {
    /// Opens the network namespace with the number `inode`, after a look at what stands there.
    fn open(&self, inode: u64) -> io::Result<OwnedFd> {
        let looked = OFlags::PATH | OFlags::CLOEXEC;
        let place = match self {
            Self::Link(path) => rustix::fs::open(path, looked, Mode::empty())?,
            Self::Mount { root, point } => open_mounted(root, point, looked)?,
        };
        let found = rustix::fs::fstat(&place)?;
        if rustix::fs::fstatfs(&place)?.f_type != NSFS_MAGIC
            || FileType::from_raw_mode(found.st_mode) != FileType::RegularFile
            || found.st_ino != inode
        {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is not there any more"));
        }
        let again = format!("/proc/self/fd/{}", place.as_raw_fd());
        Ok(rustix::fs::open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// The kernel lists mount points without links, so that a link on the way is somebody's trick.
fn open_mounted(root: &str, point: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let root = rustix::fs::openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let below: Vec<u8> = point.iter().copied().skip_while(|byte| *byte == b'/').collect();
    match rustix::fs::openat2(&root, &below[..], flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Before Linux 5.6, and in sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            Ok(rustix::fs::openat(&root, &below[..], flags | OFlags::NOFOLLOW, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

/// Does `job` inside the network namespace with the number `inode`, on a thread that ends with it. Sockets and listings
/// of `/proc` that the job opens stay in that namespace wherever they are read.
///
/// # Errors
///
/// `NotFound` where it is at none of `places` any more; `PermissionDenied` where the kernel refuses to let the thread in;
/// `TimedOut` where it does not come back; whatever the job answers.
pub fn within_network_namespace<T: Send + 'static>(
    inode: u64,
    places: Vec<NamespacePlace>,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if GIVEN_UP.load(Ordering::Relaxed) >= GIVEN_UP_CAP {
        let reason = "not tried: too many earlier entries never came back";
        return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
    }
    // One watchdog for each entry: its thread is not used again once it stands elsewhere.
    let entered = Watchdog::default().within(move |_| {
        let mut refused = io::Error::new(io::ErrorKind::NotFound, "nothing leads into it any more");
        for place in &places {
            match place.open(inode) {
                Ok(namespace) => {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    return job();
                }
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    });
    if entered.as_ref().is_err_and(|reason| reason.kind() == io::ErrorKind::TimedOut) {
        GIVEN_UP.fetch_add(1, Ordering::Relaxed);
    }
    entered
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn link(path: &str) -> NamespacePlace {
        NamespacePlace::Link(path.to_owned())
    }

    #[test]
    fn what_is_no_network_namespace_is_not_opened() {
        let inode = std::fs::metadata("/etc/passwd").unwrap().ino();
        let mounted = NamespacePlace::Mount { root: "/".to_owned(), point: b"/etc/passwd".to_vec() };
        for place in [link("/etc/passwd"), link("/dev/zero"), link("/proc/self/fd/0"), mounted] {
            assert!(place.open(inode).is_err());
        }
        let own = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert!(link("/proc/self/ns/net").open(own).is_ok());
        assert_eq!(link("/proc/self/ns/net").open(own + 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn place_that_is_gone_is_passed_over_for_the_next_one() {
        let own = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        let entered = within_network_namespace(own, vec![link("/proc/self/ns/gone")], || Ok(()));
        assert_eq!(entered.unwrap_err().kind(), io::ErrorKind::NotFound);
        if rustix::process::geteuid().is_root() {
            let places = vec![link("/proc/self/ns/gone"), link("/proc/self/ns/net")];
            assert_eq!(within_network_namespace(own, places, || Ok(7)).unwrap(), 7);
        }
    }
}
