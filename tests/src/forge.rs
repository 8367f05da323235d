//! Owns the liar's workshop: takes a real package or ledger apart, lets a test edit it, and makes it whole again with as
//! much effort as a liar cares to spend; refuses nothing, and renders with the contract crate, so that a lie fails by what
//! it says and not by how it is written.

mod ledger;
mod signing;
mod specimen;

use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;

use ed25519_dalek::SigningKey;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use holdfast_schemas::bag::{BagInfo, TAG_MANIFEST, manifest_line};
use holdfast_schemas::collection::{ArtifactCounts, Collection};
use holdfast_schemas::container::{Directory, MemberHeader, MemberSizes, Method, ZipTime};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::ItemRecord;
use holdfast_schemas::json::{read_record, write_record};
use holdfast_schemas::merkle::MerkleTree;
use holdfast_schemas::seal::{Role, SEAL_MEMBER, SealStatement, Signer, signature_member, timestamp_member};
use holdfast_schemas::sshsig::NAMESPACE_SEAL;

use crate::Authority;

pub use ledger::Ledger;
pub use signing::{public_key, sign, stolen_key, stranger, token};
pub use specimen::{Random, Specimen, judge};

/// A package in pieces.
#[derive(Clone)]
pub struct Package {
    /// The one folder.
    pub folder: String,
    /// Bytes that nobody lists, in front of the first member.
    pub hidden: Vec<u8>,
    /// The members, in their order.
    pub members: Vec<Member>,
}

/// A member: what is said of it, what it holds, and how that lies in the archive.
#[derive(Clone)]
pub struct Member {
    /// Name below the package folder; one that begins with `/` stands as it is, outside the folder.
    pub name: String,
    /// Modification time.
    pub modified: ZipTime,
    /// How it is kept.
    pub method: Method,
    /// Whether its sizes are written in 64 bits.
    pub zip64: bool,
    /// Bytes that nobody lists, behind the member.
    pub hidden: Vec<u8>,
    content: Vec<u8>,
    stream: Vec<u8>,
}

/// A written package and where everything lies in it, for edits of single bytes.
pub struct Archive {
    /// The file.
    pub bytes: Vec<u8>,
    /// The members' places, in their order.
    pub places: Vec<Place>,
    /// What the end record says.
    pub directory: Directory,
}

/// Where one member lies.
#[derive(Clone)]
pub struct Place {
    /// The local header.
    pub local: Range<usize>,
    /// The content as it is kept.
    pub stream: Range<usize>,
    /// The data descriptor; empty for a stored member.
    pub descriptor: Range<usize>,
    /// The entry of the central directory.
    pub central: Range<usize>,
}

/// Who seals: the keys that sign and the authority that is asked.
pub struct Hands<'a> {
    /// The one-time key.
    pub collector: SigningKey,
    /// The examiner's key.
    pub examiner: Option<SigningKey>,
    /// The authority for one token.
    pub authority: Option<&'a Authority>,
}

impl Member {
    /// A member with this content, deflated where `method` says so.
    pub fn new(name: &str, modified: ZipTime, method: Method, content: &[u8]) -> Self {
        let mut member = Self {
            name: name.to_owned(),
            modified,
            method,
            zip64: false,
            hidden: Vec::new(),
            content: Vec::new(),
            stream: Vec::new(),
        };
        member.write(content);
        member
    }

    /// What it holds.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// How that lies in the archive: a deflate stream, or the content itself.
    pub fn stream(&self) -> &[u8] {
        &self.stream
    }

    /// Replaces the content, and how it lies in the archive with it.
    pub fn write(&mut self, content: &[u8]) {
        let stream = match self.method {
            Method::Deflated => deflate(content),
            Method::Stored => content.to_vec(),
        };
        (self.content, self.stream) = (content.to_vec(), stream);
    }

    /// Replaces the bytes that lie in the archive alone; size and CRC-32 stay those of the content.
    pub fn write_stream(&mut self, stream: Vec<u8>) {
        self.stream = stream;
    }

    /// Keeps the same content in another way.
    pub fn keep(&mut self, method: Method) {
        self.method = method;
        self.write(&self.content.clone());
    }

    /// Edits the content as text.
    pub fn edit_text(&mut self, edit: impl FnOnce(String) -> String) {
        let text = String::from_utf8(self.content.clone()).unwrap();
        let edited = edit(text.clone());
        assert_ne!(text, edited, "{}: the edit changed nothing", self.name);
        self.write(edited.as_bytes());
    }

    fn header(&self, folder: &str) -> MemberHeader {
        let is_outside = self.name.starts_with('/');
        let name = if is_outside { self.name.clone() } else { format!("{folder}/{}", self.name) };
        MemberHeader { name, modified: self.modified, method: self.method, zip64: self.zip64 }
    }

    fn sizes(&self) -> MemberSizes {
        MemberSizes {
            crc32: crc32fast::hash(&self.content),
            compressed: self.stream.len() as u64,
            size: self.content.len() as u64,
        }
    }
}

/// A deflate stream of `content`.
pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

impl Package {
    /// Takes the package at `path` apart.
    pub fn open(path: &Path) -> Self {
        Self::take_apart(&fs::read(path).unwrap())
    }

    /// Takes a package apart; every piece keeps the bytes that the agent wrote.
    pub fn take_apart(bytes: &[u8]) -> Self {
        let directory = Directory::parse_end(bytes, bytes.len() as u64).unwrap();
        let mut rest = &bytes[place(directory.offset)..];
        let mut package = Self { folder: String::new(), hidden: Vec::new(), members: Vec::new() };
        for _ in 0..directory.entries {
            let (header, sizes, offset, len) = MemberHeader::parse_central(rest).unwrap();
            rest = &rest[len..];
            let (_, _, local) = MemberHeader::parse_local(&bytes[place(offset)..]).unwrap();
            let from = place(offset) + local;
            let stream = bytes[from..from + place(sizes.compressed)].to_vec();
            let mut content = Vec::new();
            match header.method {
                Method::Deflated => drop(DeflateDecoder::new(&*stream).read_to_end(&mut content).unwrap()),
                Method::Stored => content.clone_from(&stream),
            }
            let (folder, name) = header.name.split_once('/').unwrap();
            folder.clone_into(&mut package.folder);
            let mut member = Member::new(name, header.modified, header.method, b"");
            member.zip64 = header.zip64;
            (member.content, member.stream) = (content, stream);
            package.members.push(member);
        }
        package
    }

    /// Writes the container again, from the members as they are.
    pub fn write(&self) -> Archive {
        let (mut bytes, mut places) = (self.hidden.clone(), Vec::new());
        for member in &self.members {
            let (header, sizes) = (member.header(&self.folder), member.sizes());
            let stated = (member.method == Method::Stored).then_some(&sizes);
            let local = append(&mut bytes, &header.render_local(stated));
            let stream = append(&mut bytes, &member.stream);
            let descriptor = match member.method {
                Method::Deflated => append(&mut bytes, &header.render_descriptor(&sizes)),
                Method::Stored => bytes.len()..bytes.len(),
            };
            bytes.extend(&member.hidden);
            places.push(Place { local, stream, descriptor, central: 0..0 });
        }
        let offset = bytes.len();
        for (member, place) in self.members.iter().zip(&mut places) {
            let central =
                member.header(&self.folder).render_central(&member.sizes(), place.local.start as u64);
            place.central = append(&mut bytes, &central);
        }
        let directory = Directory {
            entries: self.members.len() as u64,
            offset: offset as u64,
            bytes: (bytes.len() - offset) as u64,
        };
        bytes.extend(directory.render_end());
        Archive { bytes, places, directory }
    }

    /// Where the member with this name stands in the order.
    pub fn position(&self, name: &str) -> usize {
        self.members
            .iter()
            .position(|member| member.name == name)
            .unwrap_or_else(|| panic!("no member {name}"))
    }

    /// The member with this name.
    pub fn member(&mut self, name: &str) -> &mut Member {
        let at = self.position(name);
        &mut self.members[at]
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Member {
        self.members.remove(self.position(name))
    }

    /// Names of the payload members, in their order.
    pub fn payload(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| member.name.clone())
            .filter(|name| name.starts_with("data/"))
            .collect()
    }

    /// The collection's record.
    pub fn collection(&self) -> Collection {
        read_record(self.members[self.position("collection.json")].content()).unwrap()
    }

    /// Edits the collection's record.
    pub fn edit_collection(&mut self, edit: impl FnOnce(&mut Collection)) {
        let before = self.collection();
        self.write_collection(edit);
        assert_ne!(before, self.collection(), "the edit changed nothing");
    }

    fn write_collection(&mut self, edit: impl FnOnce(&mut Collection)) {
        let mut collection = self.collection();
        edit(&mut collection);
        self.member("collection.json").write(&write_record(&collection).unwrap());
    }

    /// The item records.
    pub fn items(&self) -> Vec<ItemRecord> {
        let lines = lines(self.members[self.position("items.jsonl")].content());
        lines.into_iter().map(|line| read_record(line).unwrap()).collect()
    }

    /// Edits the item records.
    pub fn edit_items(&mut self, edit: impl FnOnce(&mut Vec<ItemRecord>)) {
        let before = self.items();
        self.write_items(edit);
        assert_ne!(before, self.items(), "the edit changed nothing");
    }

    fn write_items(&mut self, edit: impl FnOnce(&mut Vec<ItemRecord>)) {
        let mut items = self.items();
        edit(&mut items);
        let mut text = Vec::new();
        for item in &items {
            text.extend(write_record(item).unwrap());
            text.push(b'\n');
        }
        self.member("items.jsonl").write(&text);
    }

    /// The sealed statement.
    pub fn statement(&self) -> SealStatement {
        read_record(self.members[self.position(SEAL_MEMBER)].content()).unwrap()
    }

    /// SHA-256 of the sealed statement: the package id.
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(self.members[self.position(SEAL_MEMBER)].content())
    }

    /// Makes item records, their counts and the bag's description fit the payload: records of members that are gone go,
    /// the others get the digest and size of their members.
    pub fn mend_records(&mut self) {
        let members = self.members.clone();
        self.write_items(|items| {
            items.retain(|item| {
                item.member.iter().all(|name| members.iter().any(|member| member.name == *name))
            });
            for (number, item) in (1..).zip(items) {
                item.id = number;
                if let Some(member) = members.iter().find(|member| Some(&member.name) == item.member.as_ref())
                {
                    item.size = Some(member.content.len() as u64);
                    item.sha256 = Some(Sha256Digest::of(&member.content));
                }
            }
        });
        self.mend_counts();
        self.mend_bag_info();
    }

    /// Makes the collection's counts fit the item records.
    pub fn mend_counts(&mut self) {
        let mut counts = Vec::new();
        for item in self.items() {
            ArtifactCounts::add(&mut counts, &item.artifact, item.outcome);
        }
        self.write_collection(|collection| collection.counts = counts);
    }

    /// Makes `bag-info.txt` fit collection and payload.
    pub fn mend_bag_info(&mut self) {
        let collection = self.collection();
        let (payload_files, payload_bytes) = self.payload_totals();
        let info = BagInfo {
            collection_id: collection.collection_id,
            bagging_date: collection.clock.end.utc.to_chrono().format("%Y-%m-%d").to_string(),
            payload_bytes,
            payload_files,
            exercise: collection.exercise,
            software: format!("{} {}", collection.tool.name, collection.tool.version),
            timestamp_authorities: self.statement().timestamp_authorities,
        };
        self.member("bag-info.txt").write(info.render().as_bytes());
    }

    /// Makes both manifests fit the members.
    pub fn mend_manifests(&mut self) {
        let listed = |members: &[Member], is_listed: &dyn Fn(&str) -> bool| -> String {
            let members = members.iter().filter(|member| is_listed(&member.name));
            members.map(|member| manifest_line(&Sha256Digest::of(&member.content), &member.name)).collect()
        };
        let manifest = listed(&self.members, &|name| name.starts_with("data/"));
        self.member("manifest-sha256.txt").write(manifest.as_bytes());
        self.mend_tag_manifest();
    }

    /// Makes the tag manifest fit the tag files.
    pub fn mend_tag_manifest(&mut self) {
        let tags = self.members.iter().filter(|member| {
            !member.name.starts_with("data/")
                && !member.name.starts_with("seal/")
                && member.name != TAG_MANIFEST
        });
        let manifest: String =
            tags.map(|member| manifest_line(&Sha256Digest::of(&member.content), &member.name)).collect();
        self.member(TAG_MANIFEST).write(manifest.as_bytes());
    }

    /// Makes the statement fit everything before it, and leaves the signatures as they are.
    pub fn mend_statement(&mut self) {
        let statement = self.fitting_statement();
        self.member(SEAL_MEMBER).write(&write_record(&statement).unwrap());
    }

    /// Seals anew, signed by `hands`: everything fits but for what `lie` does to the statement before it is signed.
    pub fn seal(&mut self, hands: &Hands<'_>, lie: impl FnOnce(&mut SealStatement)) {
        let mut statement = self.fitting_statement();
        let keys = [(Role::Collector, Some(&hands.collector)), (Role::Examiner, hands.examiner.as_ref())];
        let keys = keys.into_iter().filter_map(|(role, key)| Some((role, key?)));
        let announced =
            keys.clone().map(|(role, key)| Signer { role, public_key: public_key(key).to_openssh() });
        statement.signers = announced.collect();
        lie(&mut statement);
        let statement_bytes = write_record(&statement).unwrap();
        self.members.retain(|member| !member.name.starts_with("seal/"));
        let sealed_at = ZipTime::nearest(statement.sealed_at.unix_seconds());
        let mut add = |name: &str, content: &[u8]| {
            self.members.push(Member::new(name, sealed_at, Method::Stored, content));
        };
        add(SEAL_MEMBER, &statement_bytes);
        for (role, key) in keys {
            add(&signature_member(role), sign(key, NAMESPACE_SEAL, &statement_bytes).as_bytes());
        }
        if let Some(authority) = hands.authority {
            let token = token(authority, sign(&hands.collector, NAMESPACE_SEAL, &statement_bytes).as_bytes());
            add(&timestamp_member(1), &token);
        }
    }

    fn fitting_statement(&self) -> SealStatement {
        let mut statement = self.statement();
        let prefix = self.prefix();
        let mut tree = MerkleTree::default();
        let items = self.members.iter().find(|member| member.name == "items.jsonl");
        for line in lines(items.map(Member::content).unwrap_or_default()) {
            tree.push(line);
        }
        let tagmanifest = self.members.iter().find(|member| member.name == TAG_MANIFEST);
        statement.prefix.bytes = prefix.len() as u64;
        statement.prefix.sha256 = Sha256Digest::of(&prefix);
        statement.tagmanifest_sha256 = Sha256Digest::of(tagmanifest.map(Member::content).unwrap_or_default());
        (statement.items_root, statement.items) = (tree.root(), tree.leaves());
        (statement.payload_files, statement.payload_bytes) = self.payload_totals();
        statement
    }

    /// Every byte before the first member below `seal/`.
    fn prefix(&self) -> Vec<u8> {
        let mut before = self.clone();
        before.members.retain(|member| !member.name.starts_with("seal/"));
        let mut archive = before.write();
        archive.bytes.truncate(place(archive.directory.offset));
        archive.bytes
    }

    fn payload_totals(&self) -> (u64, u64) {
        let payload = self.members.iter().filter(|member| member.name.starts_with("data/"));
        payload.fold((0, 0), |(files, bytes), member| (files + 1, bytes + member.content.len() as u64))
    }
}

impl Archive {
    /// Replaces the bytes of a range by as many others.
    pub fn patch(&mut self, from: usize, bytes: &[u8]) {
        assert_ne!(&self.bytes[from..from + bytes.len()], bytes, "the patch changes nothing");
        self.bytes[from..from + bytes.len()].copy_from_slice(bytes);
    }
}

fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let from = bytes.len();
    bytes.extend(more);
    from..bytes.len()
}

fn lines(content: &[u8]) -> Vec<&[u8]> {
    content
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .collect()
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}
