//! Owns member names: how any path becomes a name safe on every system; refuses names no writer may emit.
//!
//! Format clause "Names": printable ASCII from an allow-list, every other byte written `=XX` (RFC 2045 6.7,
//! upper case). The encoding is reversible except for over-long components, which carry a digest instead;
//! the exact path always stands in the item record.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::digest::Sha256Digest;

/// Longest encoded component; Linux, macOS and Windows allow 255 units.
pub const MAX_COMPONENT: usize = 200;
/// Longest member name below the package folder, in bytes.
pub const MAX_NAME: usize = 3_000;

const CUT_COMPONENT: usize = 160;

/// Encodes an absolute or relative source path, given as raw bytes, below `root` (such as `data/fs`).
///
/// `variant` 0 is the ordinary name. Higher variants encode letters of the last component that need no encoding,
/// so that names that collide when case is folded become distinct and still decode to the same path.
pub fn member_name(root: &str, path: &[u8], variant: u32) -> String {
    let components: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    let mut name = root.to_owned();
    for (position, component) in components.iter().enumerate() {
        let last = position + 1 == components.len();
        name.push('/');
        name.push_str(&encode_component(component, if last { variant } else { 0 }));
    }
    if name.len() > MAX_NAME {
        return format!("{root}/=~long/{}", Sha256Digest::of(&[path, &variant.to_le_bytes()].concat()));
    }
    name
}

fn encode_component(component: &[u8], variant: u32) -> String {
    let mut encoded = String::with_capacity(component.len());
    let mut letters = 0;
    let reserved = is_device_name(component);
    let only_dots = component.iter().all(|byte| *byte == b'.');
    for (position, byte) in component.iter().enumerate() {
        let edge = position == 0 || position + 1 == component.len();
        let unsafe_here = !is_plain(*byte)
            || (position + 1 == component.len() && *byte == b'.')
            || (edge && *byte == b' ')
            || (position == 0 && (reserved || only_dots || *byte == b'~'));
        let chosen = byte.is_ascii_alphabetic() && {
            letters += 1;
            letters <= 32 && variant >> (letters - 1) & 1 == 1
        };
        if unsafe_here || chosen {
            encoded.push_str(&format!("={byte:02X}"));
        } else {
            encoded.push(char::from(*byte));
        }
    }
    if encoded.len() > MAX_COMPONENT {
        let digest = Sha256Digest::of(&[component, &variant.to_le_bytes()].concat()).to_string();
        let mut cut = CUT_COMPONENT;
        // An escape is never cut in two.
        if let Some(escape) = encoded.as_bytes()[..cut].iter().rposition(|byte| *byte == b'=')
            && escape + 3 > cut
        {
            cut = escape;
        }
        encoded.truncate(cut);
        encoded.push_str("=~");
        encoded.push_str(&digest[..32]);
    }
    encoded
}

/// Bytes that stand for themselves: safe in every file system, shell, manifest and spreadsheet we know of.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+@,~#()[]{} ".contains(&byte)
}

/// Names that Windows gives to devices, with or without an extension.
fn is_device_name(component: &[u8]) -> bool {
    let stem = component.split(|byte| *byte == b'.').next().unwrap_or_default().to_ascii_uppercase();
    let stem = stem.trim_ascii_end();
    matches!(stem, b"CON" | b"PRN" | b"AUX" | b"NUL" | b"CONIN$" | b"CONOUT$")
        || matches!(stem, [b'C', b'O', b'M', b'0'..=b'9'] | [b'L', b'P', b'T', b'0'..=b'9'])
}

/// Why a name may not stand in a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or longer than the format allows.
    #[error("name is empty or too long")]
    Length,
    /// A component is empty, `.` or `..`, or the name is absolute.
    #[error("name has an empty, `.` or `..` component")]
    Traversal,
    /// A byte outside the allow-list, or an `=` that starts no escape.
    #[error("name holds a byte that must be encoded")]
    Unencoded,
    /// A trailing dot or space, a leading space or tilde, or a device name.
    #[error("name has a component that some systems treat specially")]
    Reserved,
}

/// Checks that `name` (below the package folder) is one a writer may emit.
pub fn check_member_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    name.split('/').try_for_each(check_component)
}

fn check_component(component: &str) -> Result<(), NameError> {
    let bytes = component.as_bytes();
    if bytes.len() > MAX_COMPONENT {
        return Err(NameError::Length);
    }
    if matches!(component, "" | "." | "..") {
        return Err(NameError::Traversal);
    }
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'=', [b'~', tail @ ..]) => tail,
            (b'=', [high, low, tail @ ..]) if is_upper_hex(*high) && is_upper_hex(*low) => tail,
            (byte, tail) if is_plain(*byte) => tail,
            _ => return Err(NameError::Unencoded),
        };
    }
    let edges = (bytes.first(), bytes.last());
    let special = matches!(edges, (Some(b' ' | b'~'), _) | (_, Some(b' ' | b'.')));
    if special || is_device_name(bytes) { Err(NameError::Reserved) } else { Ok(()) }
}

fn is_upper_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)
}

/// How a name stands to the names that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collision {
    /// No other name is the same, in any case of its letters, and none is a folder of this one or below it.
    None,
    /// Another name is equal once case is folded, or one is a file where the other needs a folder.
    ///
    /// Names are remembered by a 64-bit keyed hash, so this can be wrong about once in 10^13 names.
    Suspected,
}

/// The names seen so far, folded, in eight bytes each: bounded memory for millions of members.
#[derive(Default)]
pub struct NameSet {
    hasher: RandomState,
    files: HashSet<u64>,
    folders: HashSet<u64>,
}

impl NameSet {
    /// Adds `name` unless it collides.
    pub fn insert(&mut self, name: &str) -> Collision {
        // One pass gives the hashes of the name and of every folder it stands in.
        let mut hasher = self.hasher.build_hasher();
        let mut folders = Vec::new();
        for byte in name.bytes() {
            if byte == b'/' {
                folders.push(hasher.finish());
            }
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        let file = hasher.finish();
        if self.files.contains(&file) || self.folders.contains(&file) {
            return Collision::Suspected;
        }
        let mut parents = Vec::new();
        for folder in folders.into_iter().rev() {
            // A known folder's own parents are known as well.
            if self.folders.contains(&folder) {
                break;
            }
            if self.files.contains(&folder) {
                return Collision::Suspected;
            }
            parents.push(folder);
        }
        self.folders.extend(parents);
        self.files.insert(file);
        Collision::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_stand_for_themselves() {
        assert_eq!(member_name("data/fs", b"/etc/passwd", 0), "data/fs/etc/passwd");
        assert_eq!(member_name("data/fs", b"/var/log/a b (1).log", 0), "data/fs/var/log/a b (1).log");
    }

    #[test]
    fn hostile_bytes_are_encoded() {
        let cases: [(&[u8], &str); 10] = [
            (b"/a=b%c", "=61"),
            (b"/\xff\n", "=FF=0A"),
            (b"/$HOME", "=24HOME"),
            (b"/end.", "end=2E"),
            (b"/ x ", "=20x=20"),
            (b"/con.txt", "=63on.txt"),
            (b"/~root", "=7Eroot"),
            (b"/../..", "=2E=2E/=2E=2E"),
            (b"/a\\b:c", "a=5Cb=3Ac"),
            (b"/\x1b[2J", "=1B[2J"),
        ];
        for (path, expected) in cases.into_iter().skip(1) {
            assert_eq!(member_name("data/fs", path, 0), format!("data/fs/{expected}"));
        }
        assert_eq!(member_name("data/fs", b"/a=b%c", 0), "data/fs/a=3Db=25c");
    }

    #[test]
    fn variants_are_distinct_when_folded_and_checked_good() {
        let mut names = NameSet::default();
        assert_eq!(names.insert(&member_name("d", b"/README", 0)), Collision::None);
        assert_eq!(names.insert(&member_name("d", b"/readme", 0)), Collision::Suspected);
        let variant = member_name("d", b"/readme", 1);
        assert_eq!(variant, "d/=72eadme");
        assert_eq!(check_member_name(&variant), Ok(()));
        assert_eq!(names.insert(&variant), Collision::None);
    }

    #[test]
    fn a_file_never_stands_where_a_folder_is_needed() {
        let mut names = NameSet::default();
        assert_eq!(names.insert("data/fs/a/b"), Collision::None);
        assert_eq!(names.insert("data/fs/A"), Collision::Suspected);
        assert_eq!(names.insert("data/fs/a/B/c"), Collision::Suspected);
        assert_eq!(names.insert("data/fs/a/c"), Collision::None);
    }

    #[test]
    fn long_components_and_paths_are_cut_with_a_digest() {
        let name = member_name("d", &[b'\xe3'; 255], 0);
        assert!(name.len() <= MAX_COMPONENT + 2 && name.contains("=~"), "{name}");
        assert_eq!(check_member_name(&name), Ok(()));
        let deep = b"/abc".repeat(2_000);
        assert_eq!(check_member_name(&member_name("d", &deep, 0)), Ok(()));
    }

    #[test]
    fn names_no_writer_emits_are_refused() {
        for (bad, error) in [
            ("", NameError::Length),
            ("/etc/passwd", NameError::Traversal),
            ("a/../b", NameError::Traversal),
            ("a//b", NameError::Traversal),
            ("a\\b", NameError::Unencoded),
            ("a=3d", NameError::Unencoded),
            ("a=4", NameError::Unencoded),
            ("caf\u{e9}", NameError::Unencoded),
            ("a:b", NameError::Unencoded),
            ("nul.txt", NameError::Reserved),
            ("a./b", NameError::Reserved),
            ("a ", NameError::Reserved),
        ] {
            assert_eq!(check_member_name(bad), Err(error), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_path_gets_a_good_name(path in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..400), variant in 0u32..9) {
            let name = member_name("data/fs", &path, variant);
            if path.iter().any(|byte| *byte != b'/') {
                proptest::prop_assert_eq!(check_member_name(&name), Ok(()));
            }
        }
    }
}
