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

use crate::source::{KernelTree, Watchdog, kernel_dir, kernel_prefix};
use crate::state::TableCapture;

use super::mounts::mounted;
use super::process_folders::has_ended;

/// Opens the roots of the mounts of one of the kernel's own file systems; what does not open, or does not answer because
/// another file system on the way to it waits for its server, becomes a gap.
pub(super) fn trees(capture: &mut TableCapture<'_>, kind: &str) -> Vec<KernelTree> {
    let mut watchdog = Watchdog::default();
    let mut opened = Vec::new();
    for mount in mounted(capture, kind) {
        let path = mount.clone();
        match watchdog.within(move |_| KernelTree::open(&path)) {
            Ok(tree) => opened.push(tree),
            Err(reason) => capture.gap(String::from_utf8_lossy(&mount), &reason),
        }
    }
    opened
}

/// The folders of `tree` that open; the others become gaps.
pub(super) fn folders_of(capture: &mut TableCapture<'_>, tree: &KernelTree) -> Vec<KernelTree> {
    let folders = match tree.folders() {
        Ok(folders) => folders,
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(String::from_utf8_lossy(tree.path()), &reason);
            }
            return Vec::new();
        }
    };
    let mut opened = Vec::new();
    for (path, folder) in folders {
        match folder {
            Ok(folder) => opened.push(folder),
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => capture.gap(String::from_utf8_lossy(&path), &reason),
        }
    }
    opened
}

/// Control groups that are looked at, of all hierarchies, and how deep.
const GROUPS: usize = 20_000;
const DEPTH: usize = 64;

/// What is done with one control group.
pub(super) type EachGroup<'a> = &'a mut dyn FnMut(&mut TableCapture<'_>, &KernelTree) -> io::Result<()>;

/// Hands every control group of the mounts of these kinds, `cgroup2` or `cgroup`, to `each`; what lies too deep, or is
/// too much, is a gap.
pub(super) fn each_control_group(
    capture: &mut TableCapture<'_>,
    kinds: &[&str],
    each: EachGroup<'_>,
) -> io::Result<()> {
    let mut waiting: Vec<(KernelTree, usize)> = Vec::new();
    for kind in kinds {
        waiting.extend(trees(capture, kind).into_iter().map(|tree| (tree, 0)));
    }
    let mut groups = 0;
    while let Some((group, depth)) = waiting.pop() {
        capture.go_on()?;
        groups += 1;
        if groups > GROUPS {
            let reason = format!("more than {GROUPS} control groups, the others are not looked at");
            capture.gap(String::from_utf8_lossy(group.path()), &io::Error::other(reason));
            return Ok(());
        }
        each(capture, &group)?;
        if depth == DEPTH {
            let reason = format!("deeper than {DEPTH} control groups, not looked below");
            capture.gap(String::from_utf8_lossy(group.path()), &io::Error::other(reason));
            continue;
        }
        waiting.extend(folders_of(capture, &group).into_iter().map(|folder| (folder, depth + 1)));
    }
    Ok(())
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

/// The value in a one-line file of `/proc` or `/sys`, without white space at its ends; nothing where it is not there, a
/// gap where it cannot be read.
pub(super) fn value(capture: &mut TableCapture<'_>, path: &str) -> Option<Vec<u8>> {
    match kernel_prefix(path, 64 << 10) {
        Ok(prefix) => Some(prefix.bytes.trim_ascii().to_vec()),
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(path, &reason);
            }
            None
        }
    }
}
