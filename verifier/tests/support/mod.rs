//! Owns sealed packages made for tests straight from schemas/README.md, without the agent; refuses to share code with
//! either program beyond the contract crate.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;

use ed25519_dalek::{Signer as _, SigningKey};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use holdfast_schemas::action::{Action, ActionRecord};
use holdfast_schemas::bag::{BAGIT_TXT, BagInfo, TAG_MANIFEST, manifest_line};
use holdfast_schemas::collection::{
    ArtifactCounts, Authority, Clock, ClockReading, Collection, FORMAT, Footprint, Host, Party, Tool,
    Trigger, TriggerKind,
};
use holdfast_schemas::container::{Directory, MemberHeader, MemberSizes, Method, ZipTime};
use holdfast_schemas::custody::{CustodyEntry, CustodyEvent, LedgerLine};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{EvidenceRoute, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::json::write_record;
use holdfast_schemas::merkle::MerkleTree;
use holdfast_schemas::report::{Axis, Report, Status};
use holdfast_schemas::seal::{
    Prefix, Role, SEAL_FORMAT, SEAL_MEMBER, SealStatement, Signer, signature_member,
};
use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::sshsig::{
    NAMESPACE_CUSTODY, NAMESPACE_SEAL, SshSignature, ed25519_signature_blob, to_be_signed,
};
use holdfast_schemas::text::{Base64Bytes, Salt};
use holdfast_schemas::time::UtcTime;
use holdfast_verifier::{Context, Evidence, Trust, verify};

/// The folder that every package here has.
pub const FOLDER: &str = "case_20261124T150405Z_abcdef";

/// A time in the life of the packages here: `second` seconds after the collection began.
pub fn at(second: i64) -> UtcTime {
    UtcTime::from_unix(1_795_532_645 + second, 0).unwrap()
}

/// A key from a number.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The public half, as the contract reads it.
pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey::ed25519(key.verifying_key().as_bytes()).unwrap()
}

/// The line of `allowed_signers` that lists `key`, with `options` such as `namespaces="holdfast-seal-v1"`.
pub fn allowed(key: &SigningKey, options: &str) -> String {
    format!("alex@example.gov {options} {}\n", public(key).to_openssh())
}

/// A trust folder with that line.
pub fn trust(line: &str) -> Trust {
    Trust::from_files(Some(line.as_bytes()), None, None)
}

/// A member before it is written.
#[derive(Clone)]
pub struct Member {
    /// Name below the folder.
    pub name: String,
    /// Content.
    pub content: Vec<u8>,
    /// How it is kept.
    pub method: Method,
    /// Its time in the archive.
    pub modified: UtcTime,
    /// The deflate stream, where it is to be another than that of the content.
    pub stream: Option<Vec<u8>>,
}

impl Member {
    /// A member kept as members before the seal are.
    pub fn deflated(name: &str, content: impl Into<Vec<u8>>) -> Self {
        let (name, content) = (name.to_owned(), content.into());
        Self { name, content, method: Method::Deflated, modified: at(60), stream: None }
    }

    /// A member kept as those of the seal are.
    pub fn stored(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { method: Method::Stored, modified: at(61), ..Self::deflated(name, content) }
    }
}

/// What a package tells, before it is written.
pub struct Story {
    /// `collection.json`.
    pub collection: Collection,
    /// `items.jsonl`.
    pub items: Vec<ItemRecord>,
    /// Names and contents, in the order they were taken.
    pub payload: Vec<(String, Vec<u8>)>,
    /// The one-time key.
    pub collector: SigningKey,
    /// The examiner's key.
    pub examiner: Option<SigningKey>,
}

impl Story {
    /// The collection of these files, below `data/fs`, examined by the holder of key 2.
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let mut story = Self {
            collection: collection(),
            items: Vec::new(),
            payload: Vec::new(),
            collector: key(1),
            examiner: Some(key(2)),
        };
        for (path, content) in files {
            story.take(path, content);
        }
        story
    }

    /// Two small files.
    pub fn small() -> Self {
        Self::of(&[("/etc/hosts", b"127.0.0.1 localhost\n"), ("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")])
    }

    fn take(&mut self, path: &str, content: &[u8]) {
        let name = format!("data/fs{path}");
        let mut item = item(self.items.len() as u64 + 1, path, Outcome::Collected);
        item.member = Some(name.clone());
        item.size = Some(content.len() as u64);
        item.sha256 = Some(Sha256Digest::of(content));
        ArtifactCounts::add(&mut self.collection.counts, &item.artifact, item.outcome);
        self.items.push(item);
        self.payload.push((name, content.to_vec()));
    }

    /// Records that `path` could not be had.
    pub fn refuse(&mut self, path: &str, outcome: Outcome) {
        let mut item = item(self.items.len() as u64 + 1, path, outcome);
        item.error = Some("Permission denied".to_owned());
        ArtifactCounts::add(&mut self.collection.counts, &item.artifact, item.outcome);
        self.items.push(item);
    }

    /// The members before the seal.
    pub fn members(&self) -> Vec<Member> {
        let payload = self.payload.iter().map(|(name, content)| Member::deflated(name, content.clone()));
        let mut members: Vec<Member> = payload.collect();
        let manifest = manifest_of(&members);
        let (action, subject) = (Action::Start, Some("triage".to_owned()));
        let action = ActionRecord {
            seq: 1,
            at: at(0),
            monotonic_ns: 1,
            action,
            subject,
            item: None,
            outcome: "ok".into(),
        };
        let info = BagInfo {
            collection_id: self.collection.collection_id.clone(),
            bagging_date: "2026-11-24".to_owned(),
            payload_bytes: self.payload.iter().map(|(_, content)| content.len() as u64).sum(),
            payload_files: self.payload.len() as u64,
            exercise: self.collection.exercise,
            software: "test-builder 1".to_owned(),
            timestamp_authorities: Vec::new(),
        };
        let tags = [
            Member::deflated("collection.json", write_record(&self.collection).unwrap()),
            Member::deflated("items.jsonl", self.items.iter().flat_map(line).collect::<Vec<u8>>()),
            Member::deflated("actions.jsonl", line(&action)),
            Member::deflated("bagit.txt", BAGIT_TXT),
            Member::deflated("bag-info.txt", info.render()),
            Member::deflated("manifest-sha256.txt", manifest),
        ];
        let tagmanifest = manifest_of(&tags);
        members.extend(tags);
        members.push(Member::deflated(TAG_MANIFEST, tagmanifest));
        members
    }

    /// Seals `members` after `lie` has changed the statement.
    pub fn seal(&self, members: &mut Vec<Member>, lie: impl FnOnce(&mut SealStatement)) {
        let mut prefix = archive(members);
        let directory = Directory::parse_end(&prefix, prefix.len() as u64).unwrap();
        prefix.truncate(usize::try_from(directory.offset).unwrap());
        let tagmanifest = members.iter().find(|member| member.name == TAG_MANIFEST).unwrap();
        let mut tree = MerkleTree::default();
        self.items.iter().for_each(|item| tree.push(&write_record(item).unwrap()));
        let signer = |role, key: &SigningKey| Signer { role, public_key: public(key).to_openssh() };
        let mut signers = vec![signer(Role::Collector, &self.collector)];
        signers.extend(self.examiner.as_ref().map(|key| signer(Role::Examiner, key)));
        let mut statement = SealStatement {
            format: SEAL_FORMAT.to_owned(),
            collection_id: self.collection.collection_id.clone(),
            case: self.collection.case.clone(),
            exercise: self.collection.exercise,
            prefix: Prefix { bytes: prefix.len() as u64, sha256: Sha256Digest::of(&prefix) },
            tagmanifest_sha256: Sha256Digest::of(&tagmanifest.content),
            items_root: tree.root(),
            items: self.items.len() as u64,
            payload_files: self.payload.len() as u64,
            payload_bytes: self.payload.iter().map(|(_, content)| content.len() as u64).sum(),
            order: None,
            signers,
            timestamp_authorities: Vec::new(),
            sealed_at: at(61),
        };
        lie(&mut statement);
        let statement = write_record(&statement).unwrap();
        let keys = [(Role::Collector, Some(&self.collector)), (Role::Examiner, self.examiner.as_ref())];
        let signatures = keys.into_iter().filter_map(|(role, key)| {
            let signature = sign(key?, NAMESPACE_SEAL, &statement);
            Some(Member::stored(&signature_member(role), signature))
        });
        let signatures: Vec<Member> = signatures.collect();
        members.push(Member::stored(SEAL_MEMBER, statement));
        members.extend(signatures);
    }

    /// The sealed members.
    pub fn sealed(&self) -> Vec<Member> {
        let mut members = self.members();
        self.seal(&mut members, |_| {});
        members
    }

    /// The package.
    pub fn package(&self) -> Vec<u8> {
        archive(&self.sealed())
    }

    /// The ledger that begins with `package`.
    pub fn ledger(&self, package: &[u8]) -> Vec<u8> {
        let sealed = self.sealed();
        let statement = sealed.iter().find(|member| member.name == SEAL_MEMBER).unwrap();
        let id = Sha256Digest::of(&statement.content);
        let collected = CustodyEntry::new(CustodyEvent::Collected, 1, id, at(60), at(60));
        let first = ledger_line(&collected, &self.collector);
        let link = Sha256Digest::of(first.trim_ascii_end());
        let mut entry = CustodyEntry::new(CustodyEvent::Sealed, 2, link, at(61), at(61));
        entry.package_sha256 = Some(Sha256Digest::of(package));
        entry.package_bytes = Some(package.len() as u64);
        [first, ledger_line(&entry, &self.collector)].concat()
    }
}

/// One line of a ledger, signed.
pub fn ledger_line(entry: &CustodyEntry, key: &SigningKey) -> Vec<u8> {
    let entry = String::from_utf8(write_record(entry).unwrap()).unwrap();
    let signature = sign(key, NAMESPACE_CUSTODY, entry.as_bytes());
    line(&LedgerLine { entry, signature, timestamps: Vec::new() })
}

/// A record as a line.
pub fn line<T: serde::Serialize + serde::de::DeserializeOwned>(record: &T) -> Vec<u8> {
    let mut bytes = write_record(record).unwrap();
    bytes.push(b'\n');
    bytes
}

fn manifest_of(members: &[Member]) -> String {
    members.iter().map(|member| manifest_line(&Sha256Digest::of(&member.content), &member.name)).collect()
}

/// An armored signature.
pub fn sign(key: &SigningKey, namespace: &str, message: &[u8]) -> String {
    let signature = key.sign(&to_be_signed(namespace, message)).to_bytes();
    SshSignature::new(public(key), namespace, ed25519_signature_blob(&signature)).to_armored()
}

/// A deflate stream.
pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(2));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Writes the container.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let (mut file, mut central) = (Vec::new(), Vec::new());
    for member in members {
        let (offset, modified) = (file.len() as u64, ZipTime::nearest(member.modified.unix_seconds()));
        let name = format!("{FOLDER}/{}", member.name);
        let header = MemberHeader { name, modified, method: member.method, zip64: false };
        let stream = member.stream.clone().unwrap_or_else(|| match member.method {
            Method::Deflated => deflate(&member.content),
            Method::Stored => member.content.clone(),
        });
        let sizes = MemberSizes {
            crc32: crc32fast::hash(&member.content),
            compressed: stream.len() as u64,
            size: member.content.len() as u64,
        };
        file.extend(header.render_local((member.method == Method::Stored).then_some(&sizes)));
        file.extend(stream);
        if member.method == Method::Deflated {
            file.extend(header.render_descriptor(&sizes));
        }
        central.extend(header.render_central(&sizes, offset));
    }
    let (offset, bytes) = (file.len() as u64, central.len() as u64);
    file.extend(central);
    file.extend(Directory { entries: members.len() as u64, offset, bytes }.render_end());
    file
}

/// An item record of `/etc`-like files.
pub fn item(id: u64, path: &str, outcome: Outcome) -> ItemRecord {
    ItemRecord {
        id,
        artifact: "TestFiles".to_owned(),
        member: None,
        source_path: Some(path.to_owned()),
        source_path_raw: Some(Base64Bytes(path.into())),
        kind: ItemKind::File,
        evidence_route: EvidenceRoute::Copied,
        outcome,
        error: None,
        size: None,
        sha256: None,
        size_after: None,
        extents: None,
        same_as: None,
        metadata: None,
        read_started: Some(at(1)),
        read_finished: Some(at(2)),
        atime_preserved: Some(true),
        salt: Salt(u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834).to_be_bytes()),
    }
}

fn collection() -> Collection {
    let reading = |second: i64| ClockReading {
        utc: at(second),
        monotonic_ns: u64::try_from(second).unwrap() * 1_000_000_000,
        boottime_ns: None,
        time_zone: None,
        synchronised: Some(true),
        estimated_error_us: None,
        maximum_error_us: None,
    };
    Collection {
        format: FORMAT.to_owned(),
        collection_id: "01934567-89ab-7def-8123-456789abcdef".to_owned(),
        case: Some("IR-2026-041".to_owned()),
        incident: None,
        impact: None,
        exercise: false,
        agency: None,
        secretariat: None,
        authority: Authority::default(),
        examiner: Party { name: Some("Alex Doe".to_owned()), ..Party::default() },
        trigger: Trigger { kind: TriggerKind::Interactive, rule: None, requester: None },
        handling_label: None,
        recipients: Vec::new(),
        profile: "triage".to_owned(),
        definitions: Vec::new(),
        root: None,
        host: Host {
            name: Some("web01".to_owned()),
            os: None,
            kernel: None,
            architecture: "x86_64".to_owned(),
            machine_id: None,
            boot_id: None,
            hardware: Vec::new(),
            addresses: Vec::new(),
            virtualisation: None,
        },
        tool: Tool {
            name: "test-builder".to_owned(),
            version: "1".to_owned(),
            sha256: None,
            build: "test".to_owned(),
            arguments: Vec::new(),
            privileges: "root".to_owned(),
            limits: Vec::new(),
        },
        clock: Clock { start: reading(0), end: reading(60) },
        footprint: Footprint {
            files_created: Vec::new(),
            output_on_examined_volume: None,
            bytes_written: 0,
            cpu_ms: 0,
            peak_memory_bytes: None,
            access_times_changed: 0,
        },
        counts: Vec::new(),
        interruptions: Vec::new(),
    }
}

/// What a package is judged by in a test.
#[derive(Default)]
pub struct Judged<'a> {
    /// The trust folder.
    pub trust: Option<&'a Trust>,
    /// The ledger.
    pub ledger: Option<&'a [u8]>,
    /// The head kept elsewhere.
    pub head: Option<Sha256Digest>,
    /// `--at`.
    pub at: Option<UtcTime>,
}

impl Judged<'_> {
    /// The verifier's report, by a clock one day after sealing.
    pub fn report(&self, package: &[u8]) -> Report {
        self.report_with(&package.to_vec(), 1)
    }

    /// The same with a number of threads.
    pub fn report_with(&self, evidence: &dyn Evidence, threads: usize) -> Report {
        let mut ledger = self.ledger;
        let context = Context {
            trust: self.trust,
            ledger: ledger.as_mut().map(|bytes| bytes as &mut dyn std::io::Read),
            expected_head: self.head,
            at: self.at,
            now: at(86_400),
            threads,
        };
        verify(evidence, &format!("{FOLDER}.zip"), context).unwrap()
    }
}

/// Judges with nothing but the package.
pub fn report(package: &[u8]) -> Report {
    Judged::default().report(package)
}

/// Codes on `axis` that are worse than good, in the order they were found, each once.
pub fn codes(report: &Report, axis: Axis) -> Vec<&str> {
    let mut codes: Vec<&str> = Vec::new();
    for finding in report.findings.iter().filter(|finding| finding.axis == axis) {
        if finding.status > Status::Good && !codes.contains(&finding.code.as_str()) {
            codes.push(&finding.code);
        }
    }
    codes
}

/// How an axis stands.
pub fn standing(report: &Report, axis: Axis) -> Status {
    report.axes.iter().find(|found| found.axis == axis).unwrap().status
}
