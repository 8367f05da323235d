//! Owns OpenSSH's detached signature format (PROTOCOL.sshsig); refuses every text that ssh-keygen would not write.
//!
//! A signature file is accepted only if writing it again gives the same bytes. So nothing in it can change
//! without either the form or the signature breaking, and `ssh-keygen -Y verify` reads what is read here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

use crate::ssh_key::{KeyError, PublicKey, SignatureError, shown};
use crate::ssh_wire::{WireError, WireReader, WireWriter};

/// Namespace of a signature over the sealed statement of a package.
pub const NAMESPACE_SEAL: &str = "holdfast-seal-v1";
/// Namespace of a signature over an entry of a custody ledger.
pub const NAMESPACE_CUSTODY: &str = "holdfast-custody-v1";
/// Namespace of a signature over a collection order.
pub const NAMESPACE_ORDER: &str = "holdfast-order-v1";

/// Largest signature file read, in bytes: one by an 8192-bit RSA key takes about 3 KiB.
pub const MAX_ARMORED_BYTES: usize = 16 * 1024;

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HEADER: &str = "-----BEGIN SSH SIGNATURE-----\n";
const FOOTER: &str = "-----END SSH SIGNATURE-----\n";
/// Base64 characters on a line, as ssh-keygen writes them.
const COLUMNS: usize = 70;

/// Why a signature file is refused or does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshsigError {
    /// The file is larger than any signature this program reads.
    #[error("signature file is larger than {MAX_ARMORED_BYTES} bytes")]
    TooLarge,
    /// The first or last line is not the one that marks an SSH signature.
    #[error("not an armored SSH signature")]
    NotArmored,
    /// What stands between the marks is not base64, or is base64 of more bits than bytes.
    #[error("armor holds non-canonical base64")]
    Base64,
    /// Same signature, but other line lengths, line endings or spaces than ssh-keygen writes.
    #[error("armor is not laid out as ssh-keygen writes it")]
    Layout,
    /// The decoded bytes do not begin with `SSHSIG`.
    #[error("no SSHSIG magic")]
    Magic,
    /// The format version is not 1.
    #[error("SSHSIG version {0} is not supported")]
    Version(u32),
    /// A field ends early.
    #[error("signature ends early")]
    Truncated,
    /// Bytes follow the last field.
    #[error("bytes follow the signature")]
    Trailing,
    /// The reserved field, which no signature covers, is not empty.
    #[error("reserved field is not empty")]
    Reserved,
    /// The namespace is empty or is not text.
    #[error("namespace is empty or not text")]
    Namespace,
    /// The message hash is neither `sha512` nor `sha256`.
    #[error("hash algorithm {0:?} is not supported")]
    HashAlgorithm(String),
    /// The embedded public key is refused.
    #[error("public key: {0}")]
    Key(#[from] KeyError),
    /// The signature was made for another purpose.
    #[error("signature is for namespace {found:?}, not {wanted:?}")]
    WrongNamespace {
        /// The namespace in the signature.
        found: String,
        /// The namespace asked for.
        wanted: String,
    },
    /// The signature does not verify over the message.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl From<WireError> for SshsigError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Truncated => Self::Truncated,
            WireError::Trailing => Self::Trailing,
        }
    }
}

/// The hash of the message, named inside what is signed (PROTOCOL.sshsig 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageHash {
    Sha256,
    Sha512,
}

impl MessageHash {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// The bytes a key signs for `message` under `namespace` (PROTOCOL.sshsig 3), with SHA-512 as message hash.
///
/// Hand these to an Ed25519 key or to ssh-agent; the answer goes to [`SshSignature::new`].
pub fn to_be_signed(namespace: &str, message: &[u8]) -> Vec<u8> {
    signed_bytes(namespace, MessageHash::Sha512, message)
}

fn signed_bytes(namespace: &str, hash: MessageHash, message: &[u8]) -> Vec<u8> {
    let mut writer = WireWriter::new();
    writer.bytes(MAGIC).string(namespace.as_bytes()).string(b"");
    writer.string(hash.name().as_bytes()).string(&hash.digest(message));
    writer.into_bytes()
}

/// The SSH signature blob (RFC 8709 6) around the 64 bytes of an Ed25519 signature (RFC 8032 5.1.6).
pub fn ed25519_signature_blob(signature: &[u8; 64]) -> Vec<u8> {
    let mut writer = WireWriter::new();
    writer.string(b"ssh-ed25519").string(signature);
    writer.into_bytes()
}

/// A well-formed SSH signature, which still has to be verified and whose key still has to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature {
    public_key: PublicKey,
    namespace: String,
    hash: MessageHash,
    signature_blob: Vec<u8>,
}

impl SshSignature {
    /// A signature from the answer to signing [`to_be_signed`]: `signature_blob` is algorithm and signature.
    pub fn new(public_key: PublicKey, namespace: impl Into<String>, signature_blob: Vec<u8>) -> Self {
        Self { public_key, namespace: namespace.into(), hash: MessageHash::Sha512, signature_blob }
    }

    /// Reads a signature file, all of it; refuses what differs from its own re-armoring in a single byte.
    pub fn parse(armored: &[u8]) -> Result<Self, SshsigError> {
        if armored.len() > MAX_ARMORED_BYTES {
            return Err(SshsigError::TooLarge);
        }
        let text = str::from_utf8(armored).map_err(|_| SshsigError::NotArmored)?;
        let body = text.strip_prefix(HEADER).ok_or(SshsigError::NotArmored)?;
        let (body, end) = body.split_once(FOOTER.trim_end()).ok_or(SshsigError::NotArmored)?;
        if !end.trim_start().is_empty() {
            return Err(SshsigError::Trailing);
        }
        let body: String = body.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(body).map_err(|_| SshsigError::Base64)?;
        let signature = Self::from_bytes(&bytes)?;
        if signature.to_armored() == text { Ok(signature) } else { Err(SshsigError::Layout) }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, SshsigError> {
        let mut reader = WireReader::new(bytes);
        if reader.bytes(MAGIC.len()) != Ok(MAGIC) {
            return Err(SshsigError::Magic);
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(SshsigError::Version(version));
        }
        let public_key = reader.string()?;
        let namespace = reader.string()?;
        let reserved = reader.string()?;
        let hash = reader.string()?;
        let signature_blob = reader.string()?.to_vec();
        reader.finish()?;
        if !reserved.is_empty() {
            return Err(SshsigError::Reserved);
        }
        let namespace = str::from_utf8(namespace).map_err(|_| SshsigError::Namespace)?.to_owned();
        if namespace.is_empty() || namespace.contains(char::is_control) {
            return Err(SshsigError::Namespace);
        }
        let hash = match hash {
            b"sha512" => MessageHash::Sha512,
            b"sha256" => MessageHash::Sha256,
            other => return Err(SshsigError::HashAlgorithm(shown(other))),
        };
        Ok(Self { public_key: PublicKey::from_blob(public_key)?, namespace, hash, signature_blob })
    }

    /// The signature as `ssh-keygen -Y sign` writes it: header, base64 in lines of 70, footer, newline.
    pub fn to_armored(&self) -> String {
        let mut writer = WireWriter::new();
        writer.bytes(MAGIC).u32(VERSION).string(self.public_key.to_blob()).string(self.namespace.as_bytes());
        writer.string(b"").string(self.hash.name().as_bytes()).string(&self.signature_blob);
        let mut text = String::from(HEADER);
        for (position, character) in STANDARD.encode(writer.into_bytes()).chars().enumerate() {
            if position > 0 && position.is_multiple_of(COLUMNS) {
                text.push('\n');
            }
            text.push(character);
        }
        text.push('\n');
        text.push_str(FOOTER);
        text
    }

    /// The key the signature claims to be by. It is part of the file: trust comes from elsewhere.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The purpose the signature was made for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Verifies that the embedded key signed exactly `message` for exactly `namespace`.
    pub fn verify(&self, namespace: &str, message: &[u8]) -> Result<(), SshsigError> {
        if self.namespace != namespace {
            let (found, wanted) = (self.namespace.clone(), namespace.to_owned());
            return Err(SshsigError::WrongNamespace { found, wanted });
        }
        let signed = signed_bytes(namespace, self.hash, message);
        Ok(self.public_key.verify(&signed, &self.signature_blob)?)
    }
}
