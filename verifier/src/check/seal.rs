//! Owns the sealed statement against everything it covers (schemas/README.md, section 6); refuses statements that
//! belong to another package.

use holdfast_schemas::collection::Collection;
use holdfast_schemas::container::ZipTime;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::json::read_record;
use holdfast_schemas::seal::{SEAL_FORMAT, SEAL_MEMBER, SealStatement};
use holdfast_schemas::ssh_key::PublicKey;

use super::container::{Layout, ORDER_FILES};
use super::findings::Findings;
use super::payload::FileDigests;
use super::records::Tally;
use super::rules;
use super::tags::is_other_version;

/// A statement that could be read, with its exact bytes. Only this module makes one.
pub(super) struct ReadSeal {
    bytes: Vec<u8>,
    statement: SealStatement,
}

impl ReadSeal {
    /// The bytes that are signed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What they say.
    pub(super) fn statement(&self) -> &SealStatement {
        &self.statement
    }

    /// The collector's key, which the statement announces first.
    pub(super) fn collector(&self) -> Option<PublicKey> {
        self.statement.signers.first()?.key().ok()
    }

    /// The package id.
    pub(super) fn package_id(&self) -> Sha256Digest {
        Sha256Digest::of(&self.bytes)
    }
}

/// Reads the statement.
pub(super) fn read(bytes: Option<Vec<u8>>, layout: &Layout, findings: &mut Findings) -> Option<ReadSeal> {
    if layout.tail_member(SEAL_MEMBER).is_none() {
        findings.add(&rules::SEAL_ABSENT, Some(SEAL_MEMBER), "The package has no seal.");
        return None;
    }
    let bytes = bytes?;
    if is_other_version(&bytes, SEAL_FORMAT) {
        let found = "This seal has a format that this verifier does not know; use a newer verifier.";
        findings.add(&rules::VERSION_UNSUPPORTED, Some(SEAL_MEMBER), found);
        return None;
    }
    let statement = read_record::<SealStatement>(&bytes).and_then(|statement| {
        statement.check()?;
        Ok(statement)
    });
    match statement {
        Ok(statement) if statement.format == SEAL_FORMAT => Some(ReadSeal { bytes, statement }),
        Ok(_) => {
            findings.add(&rules::SEAL_MALFORMED, Some(SEAL_MEMBER), "The seal names no format of a seal.");
            None
        }
        Err(error) => {
            findings.add(
                &rules::SEAL_MALFORMED,
                Some(SEAL_MEMBER),
                format!("The seal cannot be read: {error}."),
            );
            None
        }
    }
}

/// Compares the statement with what it covers.
pub(super) fn check(
    seal: &ReadSeal,
    layout: &Layout,
    digests: FileDigests,
    tagmanifest: Option<Sha256Digest>,
    tally: &Tally,
    collection: Option<&Collection>,
    findings: &mut Findings,
) {
    let statement = seal.statement();
    if (statement.prefix.bytes, statement.prefix.sha256) != (layout.prefix_len(), digests.prefix) {
        findings.add(
            &rules::PREFIX_DIFFERS,
            Some(SEAL_MEMBER),
            "The evidence in this file is not what was sealed: at least one byte differs.",
        );
    }
    if tagmanifest.is_some_and(|found| found != statement.tagmanifest_sha256) {
        findings.add(
            &rules::TAGMANIFEST_DIFFERS,
            Some(SEAL_MEMBER),
            "The list of record files is not the one that was sealed.",
        );
    }
    if tally.complete && tally.items_root.root() != statement.items_root {
        findings.add(
            &rules::ITEMS_ROOT_DIFFERS,
            Some(SEAL_MEMBER),
            "The acquisition records are not those that were sealed.",
        );
    }
    let sealed = (statement.items, statement.payload_files, statement.payload_bytes);
    if tally.complete && sealed != (tally.items_root.leaves(), tally.files, tally.bytes) {
        findings.add(
            &rules::COUNTS_DIFFER,
            Some(SEAL_MEMBER),
            "The number of records, files or bytes is not what was sealed.",
        );
    }
    check_times(statement, layout, collection, findings);
    if let Some(collection) = collection {
        check_collection(statement, tally, collection, findings);
    }
    if statement.exercise {
        findings.add(&rules::EXERCISE, None, "This is a drill, not a real incident.");
    }
}

/// Compares the order that the statement names with the one in the package; `found` is the digest of that one.
pub(super) fn check_order(
    statement: &SealStatement,
    layout: &Layout,
    found: Option<Sha256Digest>,
    findings: &mut Findings,
) {
    let named = statement.order.as_ref().map(|order| order.sha256);
    let member = layout.tail_member(ORDER_FILES[0]);
    // An order that is there and could not be read has been told already.
    let unread = member.is_some() && found.is_none();
    if !unread && named != found {
        let found = "The order in the package is not the one that the seal names.";
        findings.add(&rules::IDENTITY_DIFFERS, Some(ORDER_FILES[0]), found);
    }
}

fn check_collection(
    statement: &SealStatement,
    tally: &Tally,
    collection: &Collection,
    findings: &mut Findings,
) {
    if tally.complete && !tally.uncounted && collection.counts != tally.counts {
        findings.add(
            &rules::COUNTS_DIFFER,
            Some("collection.json"),
            "The counts of items are not what the records add up to.",
        );
    }
    let order = statement.order.as_ref().map(|order| order.sha256);
    let same = statement.collection_id == collection.collection_id
        && statement.case == collection.case
        && statement.exercise == collection.exercise
        && order == collection.authority.order_sha256;
    if !same {
        let found = "The seal speaks of another collection, another case, or of a drill where the records do not (or the reverse).";
        findings.add(&rules::IDENTITY_DIFFERS, Some(SEAL_MEMBER), found);
    }
}

/// The members' times that the format fixes; those before the seal are covered by it, those of the seal only by this.
fn check_times(
    statement: &SealStatement,
    layout: &Layout,
    collection: Option<&Collection>,
    findings: &mut Findings,
) {
    let sealed_at = ZipTime::nearest(statement.sealed_at.unix_seconds());
    let ended_at = collection.map(|collection| ZipTime::nearest(collection.clock.end.utc.unix_seconds()));
    for entry in &layout.tail {
        let name = entry.name_below(&layout.folder);
        let expected = if name.starts_with("seal/") { Some(sealed_at) } else { ended_at };
        if expected.is_some_and(|expected| entry.header.modified != expected) {
            findings.add(
                &rules::MEMBER_MALFORMED,
                Some(name),
                "This member carries another time than it must.",
            );
        }
    }
}
