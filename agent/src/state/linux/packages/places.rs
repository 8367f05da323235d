//! Owns the search for folders that software is installed into, by patterns; refuses to search whole trees.

use std::collections::HashSet;
use std::io;

use crate::source::{FileIdentity, Mounts, Owners};
use crate::state::TableCapture;
use crate::state::linux::text::text;

/// Most folders that a pattern may lead to.
const PLACES_CAP: usize = 10_000;

/// The folders that patterns lead to, each once; `~` at the start of a pattern stands for every user's home, and one `*`
/// in a component for any part of a name.
pub(super) fn places(capture: &mut TableCapture<'_>, patterns: &[&str]) -> Vec<Vec<u8>> {
    let mut homes: Vec<Vec<u8>> = Vec::new();
    for user in Owners::of(capture.root()).homes() {
        // Accounts without a home of their own have one of the host's folders.
        const NO_HOMES: [&[u8]; 4] = [b"/", b"/dev", b"/proc", b"/sys"];
        if !NO_HOMES.contains(&user.home.as_slice()) && !homes.contains(&user.home) {
            homes.push(user.home.clone());
        }
    }
    let mounts = Mounts::of(capture.root()).unwrap_or_default();
    homes.retain(|home| can_reach(capture, &mounts, home));
    let mut found = Vec::new();
    let mut seen: HashSet<FileIdentity> = HashSet::new();
    for pattern in patterns {
        let starts = match pattern.strip_prefix('~') {
            Some(rest) => homes.iter().map(|home| (home.clone(), rest)).collect(),
            None => vec![(Vec::new(), *pattern)],
        };
        for (start, rest) in starts {
            for place in expand(capture, &mounts, start, rest) {
                if !can_reach(capture, &mounts, &place) {
                    continue;
                }
                let Ok(folder) = capture.root().folder_at(&place) else { continue };
                if seen.insert(folder.identity()) {
                    found.push(place);
                }
            }
        }
    }
    found
}

fn expand(capture: &mut TableCapture<'_>, mounts: &Mounts, start: Vec<u8>, pattern: &str) -> Vec<Vec<u8>> {
    let mut reached = vec![start];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        let join = |folder: &[u8], name: &[u8]| [folder, b"/", name].concat();
        reached = match component.split_once('*') {
            None => reached.iter().map(|folder| join(folder, component.as_bytes())).collect(),
            Some((before, after)) => {
                let mut next = Vec::new();
                for folder in reached {
                    if !can_reach(capture, mounts, &folder) {
                        continue;
                    }
                    for name in super::names(capture, if folder.is_empty() { b"/" } else { &folder }) {
                        let matches = name.len() >= before.len() + after.len()
                            && name.starts_with(before.as_bytes())
                            && name.ends_with(after.as_bytes());
                        if matches {
                            next.push(join(&folder, &name));
                        }
                    }
                }
                if next.len() > PLACES_CAP {
                    let reason = format!("only {PLACES_CAP} of {} folders were looked at", next.len());
                    capture.gap(pattern, &io::Error::new(io::ErrorKind::FileTooLarge, reason));
                    next.truncate(PLACES_CAP);
                }
                next
            }
        };
    }
    reached
}

fn can_reach(capture: &mut TableCapture<'_>, mounts: &Mounts, folder: &[u8]) -> bool {
    match mounts.way_to(capture.root(), folder) {
        Ok(_) => true,
        Err(reason) => {
            capture.gap(text(folder).0, &reason);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;

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
        let found = places(&mut capture, &patterns);
        assert_eq!(found, [&b"/usr/lib/python3.2/x"[..], b"/home/a/.local/lib/python3.1/x"]);
    }
}
