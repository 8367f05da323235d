//! Owns what dpkg's database expects of installed files: digests, diversions and overrides; refuses to expect files
//! that another package took over.

use std::collections::HashMap;
use std::io;

use holdfast_schemas::item::ItemKind;

use super::compare::Comparison;
use super::dpkg::{ADMIN, Entry, each_package};
use super::expected::{Algorithm, Expected, Owner, Package};
use super::{from_hexadecimal, lines};
use crate::state::TableCapture;
use crate::state::linux::files::{Files, is_absent};
use crate::state::linux::text::{fields, number, text};

/// The most that is read of one list of files, in bytes.
const LIST_CAP: usize = 16 << 20;
/// The most that is read of diversions or overrides, in bytes; hosts have some KiB.
const ADMIN_CAP: usize = 1 << 20;

/// Compares the installed files of every package.
pub(super) fn compare(capture: &mut TableCapture<'_>, comparison: &mut Comparison) -> io::Result<()> {
    comparison.begin("dpkg");
    let mut files = Files::of(capture)?;
    let (diversions, damaged) = Diversions::parse(&admin_text(capture, &mut files, "diversions"));
    name_damaged(capture, "diversions", damaged);
    let (mut overrides, damaged) = parse_overrides(&admin_text(capture, &mut files, "statoverride"));
    name_damaged(capture, "statoverride", damaged);
    each_package(capture, &mut |capture, entry| {
        compare_package(capture, &mut files, comparison, &entry, &diversions, &mut overrides)
    })?;
    // What no package's digests named is overridden all the same.
    let local = Package::default();
    for (_, expected) in overrides.drain().collect::<std::collections::BTreeMap<_, _>>() {
        comparison.compare(capture, &local, &expected)?;
    }
    comparison.write_summary(capture)
}

fn admin_text(capture: &mut TableCapture<'_>, files: &mut Files, name: &str) -> Vec<u8> {
    files.text(capture, format!("{ADMIN}/{name}").as_bytes(), ADMIN_CAP).unwrap_or_default()
}

fn name_damaged(capture: &mut TableCapture<'_>, name: &str, lines: usize) {
    if lines > 0 {
        let reason = format!("{lines} damaged lines, left out");
        capture.gap(format!("{ADMIN}/{name}"), &io::Error::new(io::ErrorKind::InvalidData, reason));
    }
}

fn compare_package(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    comparison: &mut Comparison,
    entry: &Entry,
    diversions: &Diversions,
    overrides: &mut HashMap<Vec<u8>, Expected>,
) -> io::Result<()> {
    let package = Package { name: entry.name().to_vec(), version: entry.version().to_vec() };
    let (digests, list) = read_lists(capture, files, entry);
    let digests = parse_digests(digests.as_deref().unwrap_or_default());
    let settings = entry.fields.get("Conffiles").map(parse_conffiles).unwrap_or_default();
    comparison.begin_package();
    let mut each = |path: &[u8]| {
        let setting = settings.get(path);
        let digest = digests.get(relative(path)).or(setting).and_then(|digest| from_hexadecimal(digest));
        // Folders, links and settings that were never written have none: they are only looked for.
        let digest = digest.filter(|digest| digest.len() == 16).map(|digest| (Algorithm::Md5, digest));
        let moved = diversions.of(path, &package.name);
        let place = moved.unwrap_or(path);
        let mut expected = overrides.remove(path).unwrap_or_default();
        expected.path = place.to_vec();
        expected.diverted_from = moved.map(|_| path.to_vec());
        expected.attribute = setting.map(|_| 'c');
        expected.kind = digest.as_ref().map(|_| ItemKind::File);
        expected.digest = digest;
        expected.may_be_missing = false;
        comparison.compare(capture, &package, &expected)
    };
    match list {
        Some(list) => lines(&list).try_for_each(&mut each),
        None => {
            let mut paths: Vec<Vec<u8>> = digests.keys().map(|path| [b"/", *path].concat()).collect();
            paths.extend(settings.keys().map(|path| path.to_vec()));
            paths.sort_unstable();
            paths.dedup();
            paths.iter().try_for_each(|path| each(path))
        }
    }
}

/// The package's digests, and the list of its files; none where it has no list and the digests must do.
fn read_lists(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    entry: &Entry,
) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    if entry.without_dpkg() {
        let path = [ADMIN.as_bytes(), b"/", &entry.database, b".md5sums"].concat();
        return (files.text(capture, &path, LIST_CAP), None);
    }
    let base = [ADMIN.as_bytes(), b"/info/", &entry.info_name()].concat();
    let path = [&base[..], b".list"].concat();
    let list = match files.read(&path, LIST_CAP) {
        Ok(list) => Some(list),
        Err(reason) => {
            // Not even its absence is ordinary: dpkg writes a list for whatever it installs.
            let installed = entry.fields.get("Status").is_some_and(|status| status.ends_with(b" installed"));
            if installed || !is_absent(&reason) {
                capture.gap(text(&path).0, &reason);
            }
            None
        }
    };
    (files.text(capture, &[&base[..], b".md5sums"].concat(), LIST_CAP), list)
}

/// `digest  path`, the path without its leading slash.
fn parse_digests(text: &[u8]) -> HashMap<&[u8], &[u8]> {
    lines(text)
        .filter_map(|line| {
            let space = line.iter().position(|byte| *byte == b' ').filter(|length| *length == 32)?;
            Some((relative(line.get(space..)?.trim_ascii_start()), line.get(..space)?))
        })
        .collect()
}

fn relative(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")).unwrap_or(path)
}

/// Lines of ` path digest`, some with marks behind.
fn parse_conffiles(text: &[u8]) -> HashMap<&[u8], &[u8]> {
    lines(text)
        .filter_map(|line| {
            let mut entry = line.trim_ascii();
            for mark in [&b" remove-on-upgrade"[..], b" obsolete"] {
                entry = entry.strip_suffix(mark).unwrap_or(entry);
            }
            let space = entry.iter().rposition(|byte| *byte == b' ')?;
            Some((entry.get(..space)?, entry.get(space + 1..)?))
        })
        .collect()
}

/// `user group mode path`, where `#` stands before a number; and how many lines are damaged.
fn parse_overrides(text: &[u8]) -> (HashMap<Vec<u8>, Expected>, usize) {
    let owner = |name: &[u8]| match name.strip_prefix(b"#") {
        Some(id) => number(id).map(Owner::Id),
        None => Some(Owner::Name(name.to_vec())),
    };
    let entry = |line| {
        let mut columns = fields(line);
        let (user, group) = (owner(columns.next()?)?, owner(columns.next()?)?);
        let mode = u32::from_str_radix(std::str::from_utf8(columns.next()?).ok()?, 8).ok()? & 0o7777;
        let path = line.iter().position(|byte| *byte == b'/').and_then(|at| line.get(at..))?.to_vec();
        let expected = Expected {
            path: path.clone(),
            user: Some(user),
            group: Some(group),
            mode: Some(mode),
            // An override of what is not installed is kept by dpkg for when it is.
            may_be_missing: true,
            ..Expected::default()
        };
        Some((path, expected))
    };
    let (sound, damaged): (Vec<_>, Vec<_>) = lines(text).map(entry).partition(Option::is_some);
    (sound.into_iter().flatten().collect(), damaged.len())
}

/// Where files of packages were moved to make room for others'.
#[derive(Default)]
struct Diversions(HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>);

impl Diversions {
    /// Three lines each: the path, where it was moved to, and for which package; `:` for the administrator. And how many
    /// lines at the end are no three.
    fn parse(text: &[u8]) -> (Self, usize) {
        let all: Vec<&[u8]> = lines(text).collect();
        let entries = all.chunks_exact(3).filter_map(|entry| {
            let [path, moved, package] = entry else { return None };
            Some((path.to_vec(), (moved.to_vec(), package.to_vec())))
        });
        (Self(entries.collect()), all.len() % 3)
    }

    /// Where that package's file lies, if it was moved; the package that asked for it keeps its own in place.
    fn of(&self, path: &[u8], package: &[u8]) -> Option<&[u8]> {
        let (moved, by) = self.0.get(path)?;
        (by != package).then_some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_settings_are_found_by_path() {
        let (one, two) = ("0123456789abcdef0123456789abcdef", "f75b8179e4bbe7e2b4a074dcef62de95");
        let text = format!("{one}  usr/a b\n{two}  ./etc/c\nbroken\n01  usr/short\n");
        let digests = parse_digests(text.as_bytes());
        assert_eq!(digests.get(&b"usr/a b"[..]), Some(&one.as_bytes()));
        assert_eq!(digests.get(&b"etc/c"[..]), Some(&two.as_bytes()));
        assert_eq!(digests.len(), 2);
        let settings =
            parse_conffiles(b"\n /etc/a b 01 obsolete\n /etc/c 02\n /etc/d 03 obsolete remove-on-upgrade\nx");
        assert_eq!(settings.get(&b"/etc/a b"[..]), Some(&&b"01"[..]));
        assert_eq!(settings.get(&b"/etc/d"[..]), Some(&&b"03"[..]));
        assert_eq!(settings.len(), 3);
    }

    #[test]
    fn diversion_moves_every_file_but_that_of_its_package() {
        let (diversions, damaged) = Diversions::parse(b"/bin/sh\n/bin/sh.distrib\ndash\n/a\n/b\n:\n/cut\n");
        assert_eq!(damaged, 1);
        assert_eq!(diversions.of(b"/bin/sh", b"bash"), Some(&b"/bin/sh.distrib"[..]));
        assert_eq!(diversions.of(b"/bin/sh", b"dash"), None);
        assert_eq!(diversions.of(b"/a", b"dash"), Some(&b"/b"[..]));
        assert_eq!(diversions.of(b"/cut", b"dash"), None);
    }

    #[test]
    fn damaged_overrides_are_left_out_and_counted() {
        let (overrides, damaged) =
            parse_overrides(b"root #4 4755 /usr/bin/a b\nroot root x /c\nroot\n\xff \xff 0 d\n");
        assert_eq!((overrides.len(), damaged), (1, 3));
        assert_eq!(overrides.get(&b"/usr/bin/a b"[..]).and_then(|found| found.mode), Some(0o4755));
    }
}
