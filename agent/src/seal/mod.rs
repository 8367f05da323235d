//! Owns the seal: the statement, its signatures, its timestamps and the first entries of the ledger; refuses to
//! announce a signer that has not signed, and keeps no key once it is done.

mod authority;
mod custody;
mod keys;
mod ssh_agent;

use std::path::{Path, PathBuf};

use holdfast_schemas::collection::Collection;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::json::write_record;
use holdfast_schemas::seal::{
    Prefix, Role, SEAL_FORMAT, SEAL_MEMBER, SealStatement, Signer, signature_member, timestamp_member,
};
use holdfast_schemas::sshsig::{NAMESPACE_SEAL, SshSignature};
use holdfast_schemas::time::UtcTime;

use crate::clock;
use crate::package::{Destination, PackageError, SealMember, TaggedPackage};
pub use authority::{AuthorityAnswer, AuthorityUrl};
pub use keys::{CollectionKey, ExaminerKey, KeyError, Passphrase, make_examiner_key};

/// Why a package could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The kernel gives no randomness.
    #[error("the kernel gives no random bytes: {0}")]
    Randomness(String),
    /// The package could not be written.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The statement could not be written down.
    #[error("cannot write the sealed statement: {0}")]
    Statement(String),
}

/// What signs and timestamps.
pub struct SealingKeys {
    /// The examiner's key, where one was given.
    pub examiner: Option<ExaminerKey>,
    /// Authorities to ask for a timestamp.
    pub authorities: Vec<AuthorityUrl>,
    addresses: Vec<String>,
}

impl SealingKeys {
    /// Keys and authorities for one seal.
    pub fn new(examiner: Option<ExaminerKey>, authorities: Vec<AuthorityUrl>) -> Self {
        let addresses = authorities.iter().map(AuthorityUrl::recordable).collect();
        Self { examiner, authorities, addresses }
    }

    /// The authorities' addresses as records may hold them.
    pub fn timestamp_authorities(&self) -> &[String] {
        &self.addresses
    }
}

/// A sealed package.
pub struct Sealed {
    /// The file, unless it went to a pipe.
    pub package: Option<PathBuf>,
    /// The ledger, or why it could not be written.
    pub ledger: Result<PathBuf, String>,
    /// SHA-256 of the sealed statement.
    pub package_id: Sha256Digest,
    /// When, by the host's clock.
    pub sealed_at: UtcTime,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// Items attempted.
    pub items: u64,
    /// Who signed: role and fingerprint.
    pub signers: Vec<(Role, String)>,
    /// Why the examiner's key did not sign, where it was to.
    pub examiner_failure: Option<String>,
    /// What each authority answered.
    pub timestamps: Vec<AuthorityAnswer>,
}

/// Seals a package and begins its ledger. The collection key lives in this call only.
pub(crate) fn seal(
    tagged: TaggedPackage,
    collection: &Collection,
    keys: SealingKeys,
    destination: &Destination,
    name: &str,
) -> Result<Sealed, SealError> {
    let collector = CollectionKey::generate()?;
    let sealed_at = clock::now();
    let statement = statement(&tagged, collection, &keys, sealed_at);
    let signed = sign(statement, &collector, keys.examiner.as_ref())?;
    let package_id = Sha256Digest::of(&signed.statement);
    let imprint = signed
        .signatures
        .first()
        .map_or_else(|| Sha256Digest::of(b""), |(_, armored)| Sha256Digest::of(armored.as_bytes()));
    let timestamps = authority::ask_all(&keys.authorities, &imprint);

    let mut members = vec![SealMember { name: SEAL_MEMBER.to_owned(), content: signed.statement }];
    for (role, armored) in &signed.signatures {
        members.push(SealMember { name: signature_member(*role), content: armored.clone().into_bytes() });
    }
    let tokens = timestamps.iter().filter_map(|answer| answer.token.as_ref());
    for (position, token) in tokens.enumerate() {
        members.push(SealMember { name: timestamp_member(position + 1), content: token.clone() });
    }
    let items = tagged.items;
    let finished = tagged.seal(&members, sealed_at.unix_seconds())?;
    let ledger = ledger_path(finished.path.as_deref(), destination, name);
    let begun =
        custody::begin(&ledger, &collector, collection, &finished, package_id, sealed_at, &timestamps);
    Ok(Sealed {
        package: finished.path,
        ledger: begun.map(|()| ledger).map_err(|error| error.to_string()),
        package_id,
        sealed_at,
        bytes: finished.bytes,
        sha256: finished.sha256,
        items,
        signers: signed.signers,
        examiner_failure: signed.examiner_failure,
        timestamps,
    })
}

fn ledger_path(package: Option<&Path>, destination: &Destination, name: &str) -> PathBuf {
    let file = format!("{name}.zip.custody.jsonl");
    match package {
        Some(package) => package.with_file_name(file),
        None => destination.folder().join(file),
    }
}

fn statement(
    tagged: &TaggedPackage,
    collection: &Collection,
    keys: &SealingKeys,
    sealed_at: UtcTime,
) -> SealStatement {
    let (bytes, sha256) = tagged.prefix();
    SealStatement {
        format: SEAL_FORMAT.to_owned(),
        collection_id: collection.collection_id.clone(),
        case: collection.case.clone(),
        exercise: collection.exercise,
        prefix: Prefix { bytes, sha256 },
        tagmanifest_sha256: tagged.tagmanifest_sha256,
        items_root: tagged.items_root,
        items: tagged.items,
        payload_files: tagged.totals.files,
        payload_bytes: tagged.totals.bytes,
        order: None,
        signers: Vec::new(),
        timestamp_authorities: keys.addresses.clone(),
        sealed_at,
    }
}

struct Signed {
    statement: Vec<u8>,
    signatures: Vec<(Role, String)>,
    signers: Vec<(Role, String)>,
    examiner_failure: Option<String>,
}

/// Signs the statement in both roles. An examiner's key that fails now is left out of the statement: evidence is
/// sealed all the same.
fn sign(
    mut statement: SealStatement,
    collector: &CollectionKey,
    examiner: Option<&ExaminerKey>,
) -> Result<Signed, SealError> {
    let announced =
        |role, key: &holdfast_schemas::ssh_key::PublicKey| Signer { role, public_key: key.to_openssh() };
    let mut examiner_failure = None;
    if let Some(examiner) = examiner {
        statement.signers = vec![
            announced(Role::Collector, collector.public_key()),
            announced(Role::Examiner, examiner.public_key()),
        ];
        let bytes = bytes_of(&statement)?;
        match examiner.sign(NAMESPACE_SEAL, &bytes) {
            Ok(signature) => {
                let own = collector.sign(NAMESPACE_SEAL, &bytes);
                return Ok(signed(bytes, vec![(Role::Collector, own), (Role::Examiner, signature)], None));
            }
            Err(error) => examiner_failure = Some(error.to_string()),
        }
    }
    statement.signers = vec![announced(Role::Collector, collector.public_key())];
    let bytes = bytes_of(&statement)?;
    let own = collector.sign(NAMESPACE_SEAL, &bytes);
    Ok(signed(bytes, vec![(Role::Collector, own)], examiner_failure))
}

fn signed(
    statement: Vec<u8>,
    signatures: Vec<(Role, SshSignature)>,
    examiner_failure: Option<String>,
) -> Signed {
    Signed {
        statement,
        signers: signatures.iter().map(|(role, made)| (*role, made.public_key().fingerprint())).collect(),
        signatures: signatures.into_iter().map(|(role, made)| (role, made.to_armored())).collect(),
        examiner_failure,
    }
}

fn bytes_of(statement: &SealStatement) -> Result<Vec<u8>, SealError> {
    write_record(statement).map_err(|error| SealError::Statement(error.to_string()))
}
