//! Owns the search for folders that software is installed into, by patterns; refuses to search whole trees.

use std::collections::HashSet;
use std::io;

use crate::source::{FileIdentity, Mounts};
use crate::state::TableCapture;
use crate::state::linux::files::{Files, join, noted};

/// Most folders that a pattern may lead to.
const PLACES_CAP: usize = 10_000;

/// The folders that patterns lead to, each once; `~` at the start of a pattern stands for every user's home, and one `*`
/// in a component for any part of a name.
///
/// # Errors
///
/// As [`TableCapture::go_on`].
pub(super) fn places(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    patterns: &[&str],
) -> io::Result<Vec<Vec<u8>>> {
    let mut search = Search { mounts: mounts(capture), files };
    let mut homes: Vec<Vec<u8>> = search.files.homes(capture).into_iter().map(|home| home.path).collect();
    // Accounts without a home of their own have one of the host's folders.
    const NO_HOMES: [&[u8]; 3] = [b"/dev", b"/proc", b"/sys"];
    homes.retain(|home| !NO_HOMES.contains(&home.as_slice()) && can_reach(capture, &search.mounts, home));
    let mut found = Vec::new();
    let mut seen: HashSet<FileIdentity> = HashSet::new();
    for pattern in patterns {
        let (starts, rest) = match pattern.strip_prefix('~') {
            Some(rest) => (homes.clone(), rest),
            None => (vec![Vec::new()], *pattern),
        };
        for start in starts {
            for place in search.expand(capture, start, rest)? {
                capture.go_on()?;
                if !can_reach(capture, &search.mounts, &place) {
                    continue;
                }
                let identity = search.files.folder(&place);
                if noted(capture, &place, identity).is_some_and(|identity| seen.insert(identity)) {
                    found.push(place);
                }
            }
        }
    }
    Ok(found)
}

struct Search<'a> {
    mounts: Mounts,
    files: &'a mut Files,
}

impl Search<'_> {
    fn expand(
        &mut self,
        capture: &mut TableCapture<'_>,
        start: Vec<u8>,
        pattern: &str,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut reached = vec![start];
        for component in pattern.split('/').filter(|component| !component.is_empty()) {
            reached = match component.split_once('*') {
                None => reached.iter().map(|folder| join(folder, component.as_bytes())).collect(),
                Some((before, after)) => self.matching(capture, pattern, &reached, before, after)?,
            };
        }
        Ok(reached)
    }

    /// What lies in `folders` by a name that begins with `before` and ends with `after`.
    fn matching(
        &mut self,
        capture: &mut TableCapture<'_>,
        pattern: &str,
        folders: &[Vec<u8>],
        before: &str,
        after: &str,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for folder in folders {
            capture.go_on()?;
            if !can_reach(capture, &self.mounts, folder) {
                continue;
            }
            for name in self.files.names(capture, if folder.is_empty() { b"/" } else { folder }) {
                let matches = name.len() >= before.len() + after.len()
                    && name.starts_with(before.as_bytes())
                    && name.ends_with(after.as_bytes());
                if !matches {
                    continue;
                }
                if found.len() >= PLACES_CAP {
                    let reason =
                        format!("leads to more than {PLACES_CAP} folders, the others are not looked at");
                    capture.gap(pattern, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                    return Ok(found);
                }
                found.push(join(folder, &name));
            }
        }
        Ok(found)
    }
}

/// The mounts of the host; a gap where they cannot be read, and then none stands in the way.
pub(super) fn mounts(capture: &mut TableCapture<'_>) -> Mounts {
    Mounts::of(capture.root()).unwrap_or_else(|reason| {
        capture.gap("mounts", &reason);
        Mounts::default()
    })
}

/// Whether nothing lies on the way to `folder` that may never answer; a gap where something does. No software is
/// installed into what the kernel makes up, which is no gap.
pub(super) fn can_reach(capture: &mut TableCapture<'_>, mounts: &Mounts, folder: &[u8]) -> bool {
    match mounts.way_to(capture.root(), folder) {
        Err(reason) if reason.kind() == io::ErrorKind::CrossesDevices => false,
        way => noted(capture, folder, way).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;

    #[test]
    fn a_pattern_that_leads_into_what_the_kernel_makes_up_finds_nothing_and_is_no_gap() {
        let root = Root::live().unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let mounts = mounts(&mut capture);
        assert!(!can_reach(&mut capture, &mounts, b"/proc/venv"));
        assert!(can_reach(&mut capture, &mounts, b"/usr/lib"));
        assert!(capture.finish().gaps.is_empty());
    }

    #[test]
    fn patterns_lead_to_homes_and_any_names_and_each_folder_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["etc", "home/a/.local/lib/python3.1/x", "usr/lib/python3.2/x", "usr/lib/ruby/x"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::os::unix::fs::symlink("usr/lib", folder.path().join("lib")).unwrap();
        let passwd = "root:x:0:0::/:/s\na:x:1:1::/home/a:/s\nb:x:2:2::/home/a:/s\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        let root = Root::mounted(folder.path()).unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let patterns = ["/usr/lib/python*/x", "/lib/python3*/x", "~/.local/lib/*/x", "/none/*/x"];
        let mut files = Files::of(&capture).unwrap();
        let found = places(&mut capture, &mut files, &patterns).unwrap();
        assert_eq!(found, [&b"/usr/lib/python3.2/x"[..], b"/home/a/.local/lib/python3.1/x"]);
    }
    #[test]
    fn pattern_that_leads_everywhere_is_cut_and_named() {
        let folder = tempfile::tempdir().unwrap();
        for (outer, inner) in (0..101).flat_map(|outer| (0..100).map(move |inner| (outer, inner))) {
            std::fs::create_dir_all(folder.path().join(format!("opt/{outer}/{inner}"))).unwrap();
        }
        let root = Root::mounted(folder.path()).unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let mut files = Files::of(&capture).unwrap();
        assert_eq!(places(&mut capture, &mut files, &["/opt/*/*"]).unwrap().len(), PLACES_CAP);
        assert!(capture.finish().gaps.iter().any(|gap| gap.subject == "/opt/*/*"));
    }
}
