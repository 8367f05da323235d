//! Owns the first two entries of a package's ledger, `collected` and `sealed` (schemas/README.md, section 7); refuses to
//! overwrite a ledger.

use std::io::{self, Write};
use std::path::Path;

use holdfast_schemas::collection::{Collection, Party};
use holdfast_schemas::custody::{CustodyEntry, CustodyEvent, LedgerLine};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::json::{RecordError, write_record};
use holdfast_schemas::sshsig::NAMESPACE_CUSTODY;
use holdfast_schemas::time::UtcTime;

use super::{AuthorityAnswer, CollectionKey};
use crate::clock;
use crate::package::{FinishedPackage, create_private, sync_folder};

/// Writes the ledger and flushes it to the medium.
pub(super) fn begin(
    path: &Path,
    collector: &CollectionKey,
    collection: &Collection,
    package: &FinishedPackage,
    package_id: Sha256Digest,
    sealed_at: UtcTime,
    timestamps: &[AuthorityAnswer],
) -> io::Result<()> {
    let now = clock::now();
    let collected_at = collection.clock.end.utc;
    let mut collected = CustodyEntry::new(CustodyEvent::Collected, 1, package_id, collected_at, now);
    collected.actor = actor(collection);
    collected.location.clone_from(&collection.host.name);
    collected.authority.clone_from(&collection.authority.policy);
    collected.note = Some(format!("profile {}", collection.profile));
    let first = line(&collected, collector)?;

    let mut sealed = CustodyEntry::new(CustodyEvent::Sealed, 2, Sha256Digest::of(&first), sealed_at, now);
    sealed.actor = collected.actor.clone();
    sealed.location.clone_from(&collected.location);
    sealed.package_sha256 = Some(package.sha256);
    sealed.package_bytes = Some(package.bytes);
    sealed.note = Some(timestamp_note(timestamps));
    let second = line(&sealed, collector)?;

    let mut file = create_private(path)?;
    file.write_all(&[&first[..], b"\n", &second, b"\n"].concat())?;
    file.sync_all()?;
    sync_folder(path)
}

/// Who acted: the examiner as given, or the program where nobody was named.
fn actor(collection: &Collection) -> Party {
    if collection.examiner == Party::default() {
        return Party { name: Some(collection.tool.name.clone()), ..Party::default() };
    }
    collection.examiner.clone()
}

fn timestamp_note(timestamps: &[AuthorityAnswer]) -> String {
    if timestamps.is_empty() {
        return "no trusted timestamp: none was asked for".to_owned();
    }
    let told = timestamps.iter().map(|answer| match (&answer.time, &answer.failure) {
        (Some(time), _) => format!("timestamp of {time} from {}", answer.authority),
        (None, failure) => {
            format!("no timestamp from {}: {}", answer.authority, failure.as_deref().unwrap_or("no answer"))
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn line(entry: &CustodyEntry, collector: &CollectionKey) -> io::Result<Vec<u8>> {
    let words = |error: RecordError| io::Error::other(error.to_string());
    let entry = write_record(entry).map_err(words)?;
    let signature = collector.sign(NAMESPACE_CUSTODY, &entry).to_armored();
    let entry = String::from_utf8(entry).map_err(io::Error::other)?;
    LedgerLine { entry, signature, timestamps: Vec::new() }.to_bytes().map_err(words)
}
