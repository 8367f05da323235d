//! Owns the walk over every file of the examined host; refuses links, file systems that may not answer, loops, and to
//! remember more than the folders on the way down.

use std::io;

use holdfast_schemas::item::ItemKind;

use super::{FileIdentity, Folder, Looked, Mounts, Obstacle, Root, kernel_made, remote};

/// Folders below folders that a walk goes down, as everywhere in the search for files.
const MAX_DEPTH: usize = 128;
/// Entries looked at in one walk: a damaged file system can list the same ones over and over.
const MAX_ENTRIES: u64 = 1 << 30;

/// What a walk comes by.
pub enum Step<'a> {
    /// An entry of a folder; a folder comes before what lies in it.
    Entry {
        /// The folder it stands in.
        folder: &'a Folder,
        /// Its name there.
        name: &'a [u8],
        /// What the file system says of it.
        looked: &'a Looked,
    },
    /// Something that was not looked at or not gone into, and why: mounts, loops, refusals.
    Passed {
        /// Its absolute path.
        path: &'a [u8],
        /// Why.
        reason: io::Error,
    },
}

/// What is done with each step.
pub type EachStep<'a> = &'a mut dyn FnMut(Step<'_>) -> io::Result<()>;

/// Walks depth-first over everything below `root`, names sorted within each chunk of a folder, and hands each step to
/// `each`. Which mounts are passed is decided from the kernel's list before any of them is touched.
///
/// # Errors
///
/// Where the root or the list of mounts cannot be read, and as `each` answers.
pub fn walk(root: &Root, each: EachStep<'_>) -> io::Result<()> {
    let folder = root.folder()?;
    let on_the_way = vec![folder.identity()];
    let mut walk = Walk { mounts: Mounts::of(root)?, on_the_way, entries: 0, access_times: 0, each };
    walk.go_through(&folder)?;
    if walk.access_times == 0 {
        return Ok(());
    }
    let reason = format!("the access times of {} folders could not be left alone", walk.access_times);
    (walk.each)(Step::Passed { path: b"/", reason: io::Error::other(reason) })
}

struct Walk<'a> {
    mounts: Mounts,
    on_the_way: Vec<FileIdentity>,
    entries: u64,
    access_times: u64,
    each: EachStep<'a>,
}

impl Walk<'_> {
    fn go_through(&mut self, folder: &Folder) -> io::Result<()> {
        let here = if folder.path().is_empty() { b"/" } else { folder.path() };
        let mut listing = match folder.list() {
            Ok(listing) => listing,
            Err(reason) => return self.pass(here, reason),
        };
        self.access_times += u64::from(!listing.atime_preserved);
        let any_mount = self.mounts.any_below(folder.path());
        loop {
            match listing.next_chunk() {
                Ok(names) if names.is_empty() => return Ok(()),
                Ok(names) => {
                    for name in names {
                        self.visit(folder, &name, any_mount)?;
                    }
                }
                Err(reason) => return self.pass(here, reason),
            }
        }
    }

    fn visit(&mut self, folder: &Folder, name: &[u8], any_mount: bool) -> io::Result<()> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "more than 2^30 entries, not walked further",
            ));
        }
        if any_mount {
            let path = folder.join(name);
            if let Some(why) = self.mounts.obstacle_at(&path).map(Obstacle::in_words) {
                return self.pass(&path, io::Error::other(why));
            }
        }
        match folder.look(name) {
            Ok(looked) => {
                (self.each)(Step::Entry { folder, name, looked: &looked })?;
                if looked.kind == ItemKind::Directory { self.enter(folder, name, &looked) } else { Ok(()) }
            }
            // Removed since it was listed: a host at work, not a gap.
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(reason) => self.pass(&folder.join(name), reason),
        }
    }

    fn enter(&mut self, folder: &Folder, name: &[u8], looked: &Looked) -> io::Result<()> {
        let below = match folder.descend(name) {
            Ok(below) => below,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(reason) => return self.pass(&folder.join(name), reason),
        };
        let crosses = looked.crosses_mount(folder);
        let obstacle = match () {
            () if self.on_the_way.len() > MAX_DEPTH => Some("nested deeper than 128 folders"),
            () if self.on_the_way.contains(&below.identity()) => Some("a folder that it lies in: a loop"),
            // Mounted since the list was read.
            () if crosses && kernel_made(&below) => {
                Some("a file system that the kernel makes up as it is read")
            }
            () if crosses && remote(&below) => Some("a network file system"),
            () => None,
        };
        if let Some(why) = obstacle {
            return self.pass(below.path(), io::Error::other(why));
        }
        self.on_the_way.push(below.identity());
        let gone = self.go_through(&below);
        self.on_the_way.pop();
        gone
    }

    fn pass(&mut self, path: &[u8], reason: io::Error) -> io::Result<()> {
        (self.each)(Step::Passed { path, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(root: &std::path::Path) -> (Vec<String>, Vec<String>) {
        let (mut entries, mut passed) = (Vec::new(), Vec::new());
        walk(&Root::mounted(root).unwrap(), &mut |step| {
            match step {
                Step::Entry { folder, name, .. } => {
                    entries.push(String::from_utf8_lossy(&folder.join(name)).into_owned());
                }
                Step::Passed { path, reason } => {
                    passed.push(format!("{}: {reason}", String::from_utf8_lossy(path)));
                }
            }
            Ok(())
        })
        .unwrap();
        (entries, passed)
    }

    #[test]
    fn folders_come_before_what_lies_in_them_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("b/c")).unwrap();
        std::fs::write(folder.path().join("b/c/d"), "").unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("a")).unwrap();
        let (entries, passed) = walked(folder.path());
        assert_eq!(entries, ["/a", "/b", "/b/c", "/b/c/d"]);
        assert!(passed.is_empty());
    }

    #[test]
    fn nesting_without_end_is_cut_and_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("d/".repeat(140))).unwrap();
        let (entries, passed) = walked(folder.path());
        assert_eq!(entries.len(), MAX_DEPTH + 1);
        assert_eq!(passed.len(), 1);
        assert!(passed[0].ends_with("nested deeper than 128 folders"));
    }
}
