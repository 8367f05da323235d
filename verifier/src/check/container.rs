//! Owns the checks of the container (schemas/README.md, sections 1 to 3): end records, directory, order and names;
//! refuses every archive that a Holdfast writer would not have written.

use std::collections::HashSet;
use std::io;

use holdfast_schemas::bag::{TAG_FILES, TAG_MANIFEST};
use holdfast_schemas::container::{Directory, END_LEN, END64_LEN, Method};
use holdfast_schemas::name::{Collision, MAX_NAME, NameSet, check_member_name};
use holdfast_schemas::seal::{MAX_PROOFS, Role, SEAL_MEMBER, signature_member, timestamp_member};

use super::findings::Findings;
use super::{ending, rules};
use crate::open::{DirectoryWalk, Entry, Evidence, WalkError};

/// The signed order that a collection ran under: both files or neither.
pub(super) const ORDER_FILES: [&str; 2] = ["order.json", "order.json.sig"];

/// What the directory says, in bounded memory.
pub(super) struct Layout {
    /// The end records.
    pub directory: Directory,
    /// The one folder.
    pub folder: String,
    /// Payload members: they are the first entries.
    pub payload: u64,
    /// Compressed bytes of the payload.
    pub payload_compressed: u64,
    /// The members after the payload, in order.
    pub tail: Vec<Entry>,
}

impl Layout {
    /// A member after the payload, by its name below the folder.
    pub(super) fn tail_member(&self, name: &str) -> Option<&Entry> {
        self.tail.iter().find(|entry| entry.name_below(&self.folder) == name)
    }

    /// Offset of the first member below `seal/`, or of the directory where there is none.
    pub(super) fn prefix_len(&self) -> u64 {
        let seal = self.tail.iter().find(|entry| entry.name_below(&self.folder).starts_with("seal/"));
        seal.map_or(self.directory.offset, |entry| entry.offset)
    }
}

/// Reads end records and directory. `None` when nothing further can be read.
pub(super) fn check(evidence: &dyn Evidence, findings: &mut Findings) -> io::Result<Option<Layout>> {
    let Some(directory) = find_directory(evidence, findings)? else { return Ok(None) };
    walk(evidence, directory, findings)
}

fn find_directory(evidence: &dyn Evidence, findings: &mut Findings) -> io::Result<Option<Directory>> {
    let len = evidence.len();
    let tail_len = (END_LEN + END64_LEN).min(len);
    let tail = evidence.range(len - tail_len, usize::try_from(tail_len).unwrap_or_default())?;
    match Directory::parse_end(&tail, len) {
        Ok(directory) => Ok(Some(directory)),
        Err(_) => {
            ending::tell(evidence, findings)?;
            Ok(None)
        }
    }
}

/// Walks the directory once: form, contiguity, names and order.
fn walk(
    evidence: &dyn Evidence,
    directory: Directory,
    findings: &mut Findings,
) -> io::Result<Option<Layout>> {
    let mut layout =
        Layout { directory, folder: String::new(), payload: 0, payload_compressed: 0, tail: Vec::new() };
    let mut names = NameSet::default();
    let mut suspects = HashSet::new();
    let mut expected_offset = 0;
    let mut entries = DirectoryWalk::new(evidence, &directory);
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(WalkError::Read(error)) => return Err(error),
            Err(WalkError::Form(error)) => {
                findings.add(
                    &rules::DIRECTORY_MALFORMED,
                    None,
                    format!("The list of members is damaged or was changed: {error}."),
                );
                return Ok(None);
            }
        };
        if entry.offset != expected_offset {
            let name = Some(entry.header.name.as_str());
            if expected_offset == 0 {
                findings.add(
                    &rules::LEADING_DATA,
                    name,
                    "There are bytes before this member, which is the first.",
                );
            } else {
                let found = "This member does not stand where the one before it ends.";
                findings.add(&rules::MEMBER_MALFORMED, name, found);
            }
            return Ok(None);
        }
        expected_offset = match entry.end() {
            Some(end) if end <= directory.offset => end,
            _ => {
                findings.add(
                    &rules::MEMBER_MALFORMED,
                    Some(&entry.header.name),
                    "This member reaches past its place.",
                );
                return Ok(None);
            }
        };
        check_name(&entry, &mut layout, &mut names, &mut suspects, findings);
        if !place(entry, &mut layout, findings) {
            return Ok(None);
        }
    }
    if expected_offset != directory.offset {
        findings.add(
            &rules::MEMBER_MALFORMED,
            None,
            "There are bytes between the last member and the list of members.",
        );
        return Ok(None);
    }
    confirm_duplicates(evidence, &directory, &suspects, findings)?;
    check_order(&layout, findings);
    Ok(Some(layout))
}

fn check_name(
    entry: &Entry,
    layout: &mut Layout,
    names: &mut NameSet,
    suspects: &mut HashSet<String>,
    findings: &mut Findings,
) {
    let name = &entry.header.name;
    if layout.folder.is_empty() {
        layout.folder = name.split('/').next().unwrap_or_default().to_owned();
    }
    let below = entry.name_below(&layout.folder);
    if check_member_name(&layout.folder).is_err() || check_member_name(below).is_err() {
        findings.add(&rules::NAME_FORBIDDEN, Some(name), "This member has a name that no package may hold.");
    }
    // Bounded: an endless name is told already, and past this many suspects more change nothing.
    if name.len() <= 2 * MAX_NAME && names.insert(name) == Collision::Suspected && suspects.len() < 1_000 {
        suspects.insert(name.to_ascii_lowercase());
    }
}

/// Sorts a member into payload or tail; false when the tail grows past what a package can have.
fn place(entry: Entry, layout: &mut Layout, findings: &mut Findings) -> bool {
    if entry.header.method == Method::Stored && entry.header.zip64 {
        let found = "This member is kept uncompressed with its sizes in 64 bits, which no writer does.";
        findings.add(&rules::MEMBER_MALFORMED, Some(&entry.header.name), found);
    }
    let below = entry.name_below(&layout.folder);
    if below.starts_with("data/") && layout.tail.is_empty() {
        layout.payload += 1;
        layout.payload_compressed = layout.payload_compressed.saturating_add(entry.sizes.compressed);
        if entry.header.method != Method::Deflated {
            findings.add(
                &rules::MEMBER_MALFORMED,
                Some(&entry.header.name),
                "This member is not compressed, and must be.",
            );
        }
        return true;
    }
    if layout.tail.len() >= TAG_FILES.len() + 4 + 2 + MAX_PROOFS {
        findings.add(
            &rules::MEMBER_ORDER,
            Some(&entry.header.name),
            "There are more members here than a package can have.",
        );
        return false;
    }
    layout.tail.push(entry);
    true
}

/// A second walk that tells whether the suspected names really collide.
fn confirm_duplicates(
    evidence: &dyn Evidence,
    directory: &Directory,
    suspects: &HashSet<String>,
    findings: &mut Findings,
) -> io::Result<()> {
    if suspects.is_empty() {
        return Ok(());
    }
    let folders: HashSet<&str> =
        suspects.iter().flat_map(|name| name.rmatch_indices('/').map(|(slash, _)| &name[..slash])).collect();
    let mut seen = HashSet::new();
    let mut entries = DirectoryWalk::new(evidence, directory);
    while let Ok(Some(entry)) = entries.next_entry() {
        let folded = entry.header.name.to_ascii_lowercase();
        let again = suspects.contains(&folded) && !seen.insert(folded.clone());
        let below_a_file = folded
            .rmatch_indices('/')
            .any(|(slash, _)| suspects.contains(folded.get(..slash).unwrap_or_default()));
        let above_a_file = folders.contains(folded.as_str());
        if again || below_a_file || above_a_file {
            let found = "Two members have the same name, or names that are the same on Windows and macOS.";
            findings.add(&rules::NAME_DUPLICATE, Some(&entry.header.name), found);
        }
    }
    Ok(())
}

/// The order of section 1: tag files, then the seal.
fn check_order(layout: &Layout, findings: &mut Findings) {
    let found: Vec<(&str, Method)> =
        layout.tail.iter().map(|entry| (entry.name_below(&layout.folder), entry.header.method)).collect();
    let order_files = found.iter().any(|(name, _)| name.starts_with("order.json"));
    let mut expected: Vec<(String, Method)> = Vec::new();
    for name in TAG_FILES {
        if name == "bagit.txt" && order_files {
            expected.extend(ORDER_FILES.map(|name| (name.to_owned(), Method::Deflated)));
        }
        expected.push((name.to_owned(), Method::Deflated));
    }
    expected.push((TAG_MANIFEST.to_owned(), Method::Deflated));
    let seals = found.iter().filter(|(name, _)| name.starts_with("seal/")).count();
    let tokens = found.iter().filter(|(name, _)| name.ends_with(".tsr")).count();
    if seals > 0 {
        expected.push((SEAL_MEMBER.to_owned(), Method::Stored));
    }
    let signatures = seals.saturating_sub(1 + tokens);
    expected.extend(
        [Role::Collector, Role::Examiner]
            .into_iter()
            .take(signatures)
            .map(|role| (signature_member(role), Method::Stored)),
    );
    expected.extend((1..=tokens).map(|number| (timestamp_member(number), Method::Stored)));
    let missing = expected.iter().position(|(name, method)| !found.contains(&(name, *method)));
    if let Some((name, _)) = missing.and_then(|at| expected.get(at)) {
        findings.add(
            &rules::MEMBER_ORDER,
            Some(name),
            "This member is missing, or kept in another way than it must be.",
        );
    }
    let wrong = found.iter().zip(&expected).find(|((name, _), (expected, _))| name != expected);
    let extra = found.get(expected.len());
    if let Some((name, _)) = wrong.map(|(found, _)| found).or(extra) {
        findings.add(
            &rules::MEMBER_ORDER,
            Some(name),
            "This member does not belong here, or stands in the wrong place.",
        );
    }
}

impl From<WalkError> for io::Error {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Read(error) => error,
            WalkError::Form(form) => Self::new(io::ErrorKind::InvalidData, form),
        }
    }
}
