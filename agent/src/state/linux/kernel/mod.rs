//! Owns what the tables of the kernel itself share; refuses to write to it.

mod configured;
pub(super) mod controls;
pub(super) mod formats;
pub(super) mod hidden_modules;
pub(super) mod info;
pub(super) mod keys;
pub(super) mod messages;
pub(super) mod texts;

use std::io;
use std::sync::Arc;

use crate::source::{KernelEntry, KernelTree, Watchdog, kernel_dir, kernel_prefix};
use crate::state::TableCapture;

use super::mounts::mounted;
use super::process_folders::has_ended;
use super::text::one_line;

/// What `tree` holds of one kind, folders or files; what could not be listed becomes gaps.
pub(super) fn listed(
    capture: &mut TableCapture<'_>,
    tree: &KernelTree,
    entries: io::Result<Vec<io::Result<KernelEntry>>>,
) -> Vec<KernelEntry> {
    let path = String::from_utf8_lossy(tree.path());
    let entries = noted(capture, &path, entries).unwrap_or_default();
    entries.into_iter().filter_map(|entry| noted(capture, &path, entry)).collect()
}

/// How far a walk over folders goes.
pub(super) struct Walk {
    /// What the folders are, for people.
    pub(super) what: &'static str,
    /// How deep it follows them.
    pub(super) depth: usize,
    /// How many it looks at.
    pub(super) most: usize,
    /// Folders that it does not open: opening one may mount something.
    pub(super) unopened: &'static [&'static [u8]],
}

/// What is done with one folder.
pub(super) type EachFolder<'a> = &'a mut dyn FnMut(&mut TableCapture<'_>, &Arc<KernelTree>) -> io::Result<()>;

/// Hands the folders at `roots`, of the kernel's own file systems, and every folder below them to `each`, one at a time;
/// what does not open, does not answer because another file system on the way to it waits for its server, lies too deep,
/// or is too much, is a gap. Only the folders on the way to the one at hand are open.
pub(super) fn each_folder(
    capture: &mut TableCapture<'_>,
    roots: Vec<Vec<u8>>,
    walk: &Walk,
    each: EachFolder<'_>,
) -> io::Result<()> {
    let mut seen = 0;
    let mut watchdog = Watchdog::default();
    for root in roots {
        let path = root.clone();
        let opened = watchdog.within(move |_| KernelTree::open(&path));
        // Each folder on the way, with those in it that wait.
        let mut way: Vec<(Arc<KernelTree>, Vec<KernelEntry>)> = Vec::new();
        let mut next = match opened {
            Ok(root) => Some(root),
            Err(reason) => {
                capture.gap(String::from_utf8_lossy(&root), &reason);
                None
            }
        };
        loop {
            if let Some(folder) = next.take().map(Arc::new) {
                capture.go_on()?;
                let path = String::from_utf8_lossy(folder.path());
                seen += 1;
                if seen > walk.most {
                    let reason =
                        format!("more than {} {}, the others are not looked at", walk.most, walk.what);
                    capture.gap(path, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                    return Ok(());
                }
                each(capture, &folder)?;
                let mut below = listed(capture, &folder, folder.folders());
                below.retain(|entry| !walk.unopened.contains(&entry.path.as_slice()));
                if way.len() == walk.depth && !below.is_empty() {
                    let reason = format!("deeper than {} {}, not looked below", walk.depth, walk.what);
                    capture.gap(path, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                } else {
                    way.push((Arc::clone(&folder), below));
                }
            }
            let Some((folder, waiting)) = way.last_mut() else { break };
            match waiting.pop() {
                Some(entry) => {
                    let opened = folder.folder(entry.name());
                    next = noted(capture, &String::from_utf8_lossy(&entry.path), opened);
                }
                None => drop(way.pop()),
            }
        }
    }
    Ok(())
}

/// Control groups that are looked at, of all hierarchies, and how deep.
const GROUPS: Walk = Walk { what: "control groups", depth: 64, most: 20_000, unopened: &[] };

/// Hands every control group of the mounts of these kinds, `cgroup2` or `cgroup`, to `each`; what lies too deep, or is
/// too much, is a gap.
pub(super) fn each_control_group(
    capture: &mut TableCapture<'_>,
    kinds: &[&str],
    each: EachFolder<'_>,
) -> io::Result<()> {
    let mut roots = Vec::new();
    for kind in kinds {
        roots.extend(mounted(capture, kind));
    }
    each_folder(capture, roots, &GROUPS, each)
}

/// Gives what could be read of `path`, or records a gap for it; nothing for what is not there.
pub(super) fn noted<T>(capture: &mut TableCapture<'_>, path: &str, read: io::Result<T>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(path, &reason);
            }
            None
        }
    }
}

/// Entries of one folder of `/sys` that are looked at most.
const ENTRIES: usize = 50_000;

/// The sorted names in a folder of `/sys`; none where it is not there, gaps for what cannot be read, is no text or is
/// too much.
pub(super) fn names(capture: &mut TableCapture<'_>, folder: &str) -> Vec<String> {
    let Some(listed) = noted(capture, folder, kernel_dir(folder)) else { return Vec::new() };
    let mut names = Vec::new();
    for (name, number) in listed.zip(0..) {
        if number == ENTRIES {
            let reason = format!("more than {ENTRIES} entries, the others are not looked at");
            capture.gap(folder, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
            break;
        }
        let Some(name) = noted(capture, folder, name) else { break };
        match String::from_utf8(name) {
            Ok(name) => names.push(name),
            Err(name) => {
                let reason = io::Error::new(io::ErrorKind::InvalidData, "a name that is no text");
                capture.gap(format!("{folder}/{}", String::from_utf8_lossy(name.as_bytes())), &reason);
            }
        }
    }
    names.sort_unstable();
    names
}

/// A name as `/sys` has it, where a slash is `!`.
pub(super) fn sys_name(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'/' { b'!' } else { *byte }).collect()
}

/// What an attribute of a device says, without the line feed at its end; nothing where it has none or it cannot be read,
/// as many attributes of many drivers cannot.
pub(super) fn attribute(path: &str) -> Option<Vec<u8>> {
    Some(one_line(&kernel_prefix(path, 64 << 10).ok()?.bytes).to_vec())
}

/// Records that the file system which belongs over `folder` is not there, so that what it would show was not looked at;
/// nothing where the kernel has no such folder.
pub(super) fn note_unmounted(capture: &mut TableCapture<'_>, folder: &str) {
    if kernel_dir(folder).is_ok_and(|mut names| names.next().is_none()) {
        let reason =
            io::Error::new(io::ErrorKind::NotFound, "not mounted: what it would show was not looked at");
        capture.gap(folder, &reason);
    }
}

/// The value in a one-line file of `/proc` or `/sys`, without the line feed at its end; nothing where it is not there, a
/// gap where it cannot be read.
pub(super) fn value(capture: &mut TableCapture<'_>, path: &str) -> Option<Vec<u8>> {
    let read = noted(capture, path, kernel_prefix(path, 64 << 10))?;
    Some(one_line(&read.bytes).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;

    #[test]
    fn walk_keeps_only_the_folders_on_its_way_open_and_opens_none_that_it_leaves_out() {
        const SETTINGS: Walk =
            Walk { what: "folders", depth: 16, most: 100_000, unopened: &[b"/proc/sys/kernel"] };
        let root = crate::source::Root::live().unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let mut opened: Vec<Weak<KernelTree>> = Vec::new();
        let mut most = 0;
        each_folder(&mut capture, vec![b"/proc/sys".to_vec()], &SETTINGS, &mut |_, folder| {
            assert!(!folder.path().starts_with(b"/proc/sys/kernel"));
            opened.push(Arc::downgrade(folder));
            most = most.max(opened.iter().filter(|folder| folder.strong_count() > 0).count());
            Ok(())
        })
        .unwrap();
        assert!(opened.len() > 20 && most <= 8, "{} {most}", opened.len());
    }
}
