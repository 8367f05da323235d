//! Owns the end of a package: tag files from the journal, then the seal's members, then the directory; refuses to
//! write a seal before everything it covers is written.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use holdfast_schemas::bag::{BAGIT_TXT, BagInfo, TAG_MANIFEST, manifest_line};
use holdfast_schemas::collection::Collection;
use holdfast_schemas::container::ZipTime;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::merkle::MerkleTree;

use super::journal::{JournalLines, Kind};
use super::member::{MemberWriter, deflated};
use super::pipeline::Pipeline;
use super::sink::{Meter, Sink};
use super::{OwnFiles, PackageError, PackageWriter, Totals, sync_folder};

/// A package whose evidence and tag files are written and which waits for its seal.
pub(crate) struct TaggedPackage {
    sink: Sink,
    own: OwnFiles,
    /// SHA-256 of the tag manifest.
    pub tagmanifest_sha256: Sha256Digest,
    /// Merkle root over the item records.
    pub items_root: Sha256Digest,
    /// Item records.
    pub items: u64,
    /// Payload.
    pub totals: Totals,
}

/// A member below `seal/`.
pub(crate) struct SealMember {
    /// Name below the package folder.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A finished package.
pub(crate) struct FinishedPackage {
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// The file, unless it went to a pipe.
    pub path: Option<PathBuf>,
}

impl PackageWriter {
    /// Ends the payload and writes the tag files. Nothing but the seal can follow.
    pub(crate) fn finish(
        self,
        collection: &Collection,
        timestamp_authorities: &[String],
    ) -> Result<TaggedPackage, PackageError> {
        let mut sink = self.pipeline.finish()?;
        let mut items = sink.journal.lines(Kind::Item)?;
        let mut actions = sink.journal.lines(Kind::Action)?;
        let payload = sink.journal.members()?;
        // No tag file is longer than the journal it comes from, but for collection.json, which is small.
        let bound = sink.journal.bytes();
        let modified = ZipTime::nearest(collection.clock.end.utc.unix_seconds());
        let pipeline = Pipeline::start(sink, self.workers)?;
        let mut tags = TagWriter { pipeline, folder: self.folder, modified, bound, manifest: String::new() };
        let mut items_root = MerkleTree::default();

        tags.write("collection.json", |out| {
            serde_json::to_writer_pretty(&mut *out, collection)?;
            out.write_all(b"\n")
        })?;
        tags.write("items.jsonl", |out| copy_lines(&mut items, out, |line| items_root.push(line)))?;
        tags.write("actions.jsonl", |out| copy_lines(&mut actions, out, |_| ()))?;
        tags.write("bagit.txt", |out| out.write_all(BAGIT_TXT.as_bytes()))?;
        let info = bag_info(collection, self.totals, timestamp_authorities);
        tags.write("bag-info.txt", |out| out.write_all(info.render().as_bytes()))?;
        tags.write("manifest-sha256.txt", |out| {
            for member in payload {
                let member = member?;
                out.write_all(manifest_line(&member.sha256, &member.name).as_bytes())?;
            }
            Ok(())
        })?;
        let manifest = std::mem::take(&mut tags.manifest);
        let tagmanifest_sha256 = tags.write(TAG_MANIFEST, |out| out.write_all(manifest.as_bytes()))?;

        Ok(TaggedPackage {
            sink: tags.pipeline.finish()?,
            own: self.own,
            tagmanifest_sha256,
            items_root: items_root.root(),
            items: self.items,
            totals: self.totals,
        })
    }
}

fn copy_lines(
    lines: &mut JournalLines,
    out: &mut MemberWriter<'_>,
    mut seen: impl FnMut(&[u8]),
) -> io::Result<()> {
    while let Some(line) = lines.next_line()? {
        seen(line);
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn bag_info(collection: &Collection, totals: Totals, timestamp_authorities: &[String]) -> BagInfo {
    BagInfo {
        collection_id: collection.collection_id.clone(),
        bagging_date: collection.clock.end.utc.to_chrono().format("%Y-%m-%d").to_string(),
        payload_bytes: totals.bytes,
        payload_files: totals.files,
        exercise: collection.exercise,
        software: format!("{} {}", collection.tool.name, collection.tool.version),
        timestamp_authorities: timestamp_authorities.to_vec(),
    }
}

/// Writes tag files and notes their digests for the tag manifest.
struct TagWriter {
    pipeline: Pipeline,
    folder: String,
    modified: ZipTime,
    bound: u64,
    manifest: String,
}

impl TagWriter {
    fn write(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut MemberWriter<'_>) -> io::Result<()>,
    ) -> Result<Sha256Digest, PackageError> {
        let header = deflated(format!("{}/{name}", self.folder), self.modified, self.bound);
        let mut member = MemberWriter::begin(&mut self.pipeline, header);
        fill(&mut member)?;
        let content = member.finish()?;
        self.manifest.push_str(&manifest_line(&content.sha256, name));
        Ok(content.sha256)
    }
}

impl TaggedPackage {
    /// Length and digest of everything written so far.
    pub(crate) fn prefix(&self) -> (u64, Sha256Digest) {
        self.sink.prefix()
    }

    /// Writes the seal's members, directory and end, flushes and names the file, and removes the journal.
    pub(crate) fn seal(
        mut self,
        members: &[SealMember],
        sealed_at: i64,
    ) -> Result<FinishedPackage, PackageError> {
        for member in members {
            self.sink.write_stored(&member.name, ZipTime::nearest(sealed_at), &member.content)?;
        }
        let (bytes, sha256) = self.sink.close()?;
        // The package is sealed; a journal that stays behind is untidy and no more.
        let _ = std::fs::remove_file(&self.own.journal).and_then(|()| sync_folder(&self.own.journal));
        Ok(FinishedPackage { bytes, sha256, path: self.own.package })
    }
}

impl Meter {
    /// Bytes that records, manifests and directory can still take once collecting ends.
    pub(crate) fn reserve(&self) -> u64 {
        self.journal.load(Ordering::Relaxed).saturating_add(16 << 20)
    }
}
