//! Owns the tag files: each against the tag manifest, the bag's own texts against what they must say; refuses an unknown
//! format.

use std::io::Read as _;

use holdfast_schemas::bag::{BAGIT_TXT, BagInfo, TAG_MANIFEST, parse_manifest_line};
use holdfast_schemas::collection::{Collection, FORMAT};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::json::read_record;
use holdfast_schemas::seal::SealStatement;

use super::container::Layout;
use super::findings::Findings;
use super::records::content_fault;
use super::rules;
use crate::open::{Evidence, MemberReader};

/// Largest tag manifest: it lists nine files with short names. Lines made short would take fifty times their size.
const MAX_TAG_MANIFEST: u64 = 64 << 10;

/// Reads a member of the tail whole, checks its frame and content, and returns its bytes.
pub(super) fn read_whole(
    evidence: &dyn Evidence,
    layout: &Layout,
    name: &str,
    most: u64,
    findings: &mut Findings,
) -> Option<Vec<u8>> {
    let entry = layout.tail_member(name)?;
    if entry.sizes.size > most {
        findings.add(
            &rules::LIMITS_EXCEEDED,
            Some(name),
            format!("This member is larger than the {most} bytes that are read of it."),
        );
        return None;
    }
    let mut content = Vec::new();
    let read = MemberReader::open(evidence, entry).and_then(|mut reader| {
        // What goes wrong here is kept by the reader and told by `finish`.
        let _ = reader.read_to_end(&mut content);
        reader.finish()
    });
    match read {
        Ok(_) => Some(content),
        Err(fault) => {
            content_fault(&fault, name, findings);
            None
        }
    }
}

/// Digests of the tag files as they are, by name, in the order of the members.
#[derive(Default)]
pub(super) struct TagDigests(Vec<(&'static str, Sha256Digest)>);

impl TagDigests {
    /// Notes a tag file's digest, where the member is sound.
    pub(super) fn note(&mut self, name: &'static str, digest: Option<Sha256Digest>) {
        self.0.extend(digest.map(|digest| (name, digest)));
    }

    fn of(&self, name: &str) -> Option<Sha256Digest> {
        self.0.iter().find(|(noted, _)| *noted == name).map(|(_, digest)| *digest)
    }
}

/// Compares the tag manifest with the tag files; returns the manifest's own digest.
pub(super) fn check_manifest(
    evidence: &dyn Evidence,
    layout: &Layout,
    digests: &TagDigests,
    findings: &mut Findings,
) -> Option<Sha256Digest> {
    let bytes = read_whole(evidence, layout, TAG_MANIFEST, MAX_TAG_MANIFEST, findings)?;
    let text = String::from_utf8_lossy(&bytes);
    let expected: Vec<&str> = layout
        .tail
        .iter()
        .map(|entry| entry.name_below(&layout.folder))
        .take_while(|name| *name != TAG_MANIFEST)
        .collect();
    let lines: Vec<Option<(Sha256Digest, &str)>> =
        text.split_terminator('\n').map(parse_manifest_line).collect();
    if !text.ends_with('\n') || lines.iter().any(Option::is_none) {
        findings.add(
            &rules::MANIFEST_MALFORMED,
            Some(TAG_MANIFEST),
            "A line of this list is not in its one form.",
        );
    }
    let lines: Vec<(Sha256Digest, &str)> = lines.into_iter().flatten().collect();
    for name in &expected {
        match lines.iter().find(|(_, listed)| listed == name) {
            None => findings.add(
                &rules::MEMBER_UNLISTED,
                Some(name),
                "This record file is not in the list of sealed record files.",
            ),
            Some((digest, _)) if digests.of(name).is_some_and(|found| found != *digest) => {
                let found =
                    "The content of this record file is not what the list of sealed record files says.";
                findings.add(&rules::TAG_DIGEST_DIFFERS, Some(name), found);
            }
            Some(_) => {}
        }
    }
    for (_, name) in lines.iter().filter(|(_, name)| !expected.contains(name)) {
        findings.add(
            &rules::LISTED_MEMBER_ABSENT,
            Some(name),
            "This record file was sealed and is not in the package any more.",
        );
    }
    let listed: Vec<&str> =
        lines.iter().map(|(_, name)| *name).filter(|name| expected.contains(name)).collect();
    if listed != expected.iter().copied().filter(|name| listed.contains(name)).collect::<Vec<_>>() {
        findings.add(
            &rules::MANIFEST_MALFORMED,
            Some(TAG_MANIFEST),
            "The lines of this list do not stand in the order of the members.",
        );
    }
    Some(Sha256Digest::of(&bytes))
}

/// Reads `collection.json`.
pub(super) fn read_collection(bytes: &[u8], findings: &mut Findings) -> Option<Collection> {
    const NAME: &str = "collection.json";
    if is_other_version(bytes, FORMAT) {
        let found = "This package has a format that this verifier does not know; use a newer verifier.";
        findings.add(&rules::VERSION_UNSUPPORTED, Some(NAME), found);
        return None;
    }
    match read_record::<Collection>(bytes) {
        Ok(collection) if collection.format != FORMAT => {
            findings.add(&rules::RECORD_MALFORMED, Some(NAME), "This record names no format of a package.");
            None
        }
        Ok(collection) => {
            if let Err(error) = collection.check() {
                findings.add(
                    &rules::RECORD_INCONSISTENT,
                    Some(NAME),
                    format!("This record contradicts itself: {error}."),
                );
            }
            Some(collection)
        }
        Err(error) => {
            findings.add(
                &rules::RECORD_MALFORMED,
                Some(NAME),
                format!("This record cannot be read: {error}."),
            );
            None
        }
    }
}

/// Whether a record names a format of the same family with another version.
pub(super) fn is_other_version(bytes: &[u8], known: &str) -> bool {
    /// Of a record this alone, whatever else it holds; nothing else is kept.
    #[derive(serde::Deserialize)]
    struct Named {
        format: String,
    }
    let family = known.split('/').next().unwrap_or(known);
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    let named = is_object.then(|| serde_json::from_slice::<Named>(bytes).ok()).flatten();
    named.is_some_and(|Named { format }| format != known && format.split('/').next() == Some(family))
}

/// Compares the bag's two texts with what they must say.
pub(super) fn check_bag(
    declaration: Option<&[u8]>,
    info: Option<&[u8]>,
    collection: Option<&Collection>,
    seal: Option<&SealStatement>,
    findings: &mut Findings,
) {
    if declaration.is_some_and(|bytes| bytes != BAGIT_TXT.as_bytes()) {
        findings.add(
            &rules::DECLARATION_DIFFERS,
            Some("bagit.txt"),
            "This file is not what it must be, byte for byte.",
        );
    }
    let (Some(info), Some(collection), Some(seal)) = (info, collection, seal) else { return };
    let expected = BagInfo {
        collection_id: collection.collection_id.clone(),
        bagging_date: collection.clock.end.utc.to_chrono().format("%Y-%m-%d").to_string(),
        payload_bytes: seal.payload_bytes,
        payload_files: seal.payload_files,
        exercise: collection.exercise,
        software: format!("{} {}", collection.tool.name, collection.tool.version),
        timestamp_authorities: seal.timestamp_authorities.clone(),
    };
    if info != expected.render().as_bytes() {
        let found = "This file does not say what the collection's own record and the seal say.";
        findings.add(&rules::INFO_DIFFERS, Some("bag-info.txt"), found);
    }
}
