//! Owns the judgement of the way to a folder before anything on it is touched; refuses ways through file systems that may
//! never answer, that the kernel makes up, or that looking would mount.

use std::io;

use super::{Mounts, Obstacle, Root};

/// `PATH_MAX` of `linux/limits.h`.
const LONGEST: usize = 4096;
/// Most links that are followed on one way, as the kernel has it.
const LINKS_CAP: usize = 40;

impl Mounts {
    /// The path of a folder without links, as far as there is something on it.
    ///
    /// # Errors
    ///
    /// `Unsupported` where something lies in the way; `CrossesDevices` where that is only a file system that the kernel
    /// makes up, in which nothing is kept.
    pub fn way_to(&self, root: &Root, folder: &[u8]) -> io::Result<Vec<u8>> {
        if folder.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path longer than the kernel takes"));
        }
        let parts =
            |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let mut waiting = parts(folder);
        let mut real = Vec::new();
        let mut links = 0;
        while let Some(part) = waiting.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    real.truncate(real.iter().rposition(|byte| *byte == b'/').unwrap_or_default());
                    continue;
                }
                part => {
                    if let Some(obstacle) = self.obstacle(&real, part).filter(|found| !found.is_repetition())
                    {
                        return Err(refusal(obstacle));
                    }
                }
            }
            let next = [&real[..], b"/", &part].concat();
            match root.read_link(&next) {
                Ok(target) if links < LINKS_CAP => {
                    links += 1;
                    if target.starts_with(b"/") {
                        real.clear();
                    }
                    waiting.extend(parts(&target));
                }
                _ => real = next,
            }
        }
        Ok(real)
    }

    /// Whether an entry of a folder, whose path has no links, can be looked at without waiting for anybody.
    ///
    /// # Errors
    ///
    /// `Unsupported` where it cannot.
    pub fn way_to_entry(&self, folder: &[u8], name: &[u8]) -> io::Result<()> {
        match self.obstacle(folder, name) {
            // The top of such a file system is an ordinary folder.
            None | Some(Obstacle::KernelMade | Obstacle::Repeated | Obstacle::Layered) => Ok(()),
            Some(obstacle) => Err(refusal(obstacle)),
        }
    }
}

fn refusal(obstacle: Obstacle) -> io::Error {
    let reason = match obstacle {
        Obstacle::KernelMade => "lies on a file system that the kernel makes up, not read",
        Obstacle::Network | Obstacle::Fuse => {
            "lies on a file system that a server or a program has to answer for, not read"
        }
        Obstacle::Repeated | Obstacle::Layered => obstacle.in_words(),
        Obstacle::Automount => "lies where looking would mount something, not read",
    };
    let kind = match obstacle {
        Obstacle::KernelMade => io::ErrorKind::CrossesDevices,
        _ => io::ErrorKind::Unsupported,
    };
    io::Error::new(kind, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_the_way_are_followed_inside_the_root_and_circles_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/lib/x")).unwrap();
        for (target, link) in [("usr/lib", "lib"), ("/usr/../../lib", "up"), ("round", "round")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let root = Root::mounted(folder.path()).unwrap();
        let mounts = Mounts::of(&root).unwrap();
        assert_eq!(mounts.way_to(&root, b"/lib/x/").unwrap(), b"/usr/lib/x");
        assert_eq!(mounts.way_to(&root, b"/up/x/../none").unwrap(), b"/usr/lib/none");
        assert_eq!(mounts.way_to(&root, b"/").unwrap(), b"");
        assert!(mounts.way_to(&root, b"/round/x").is_ok());
    }

    #[test]
    fn way_through_what_the_kernel_makes_up_is_refused() {
        let root = Root::live().unwrap();
        let mounts = Mounts::of(&root).unwrap();
        assert_eq!(mounts.way_to(&root, b"/proc/self").unwrap_err().kind(), io::ErrorKind::CrossesDevices);
        assert!(mounts.way_to_entry(b"", b"proc").is_ok());
        assert!(mounts.way_to(&root, b"/usr/bin").is_ok());
    }
}
