//! Owns SSH public keys and verification by them; refuses unsupported, weak and non-canonical keys.
//!
//! A key is what its blob says: re-encoding what was parsed must give the same bytes, so that one key has one
//! blob and one fingerprint. Signatures are verified as strictly: one key, one message, one accepted encoding
//! (an ECDSA `s` may still be negated by anyone; ssh-keygen does not normalise it, so neither can be required).

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use self::material::{Material, wire};
use crate::ssh_wire::{WireError, WireReader};

pub(crate) use self::material::rsa_key;

mod material;

/// Smallest RSA modulus accepted, in bits.
pub const RSA_MIN_BITS: usize = 2048;
/// Largest RSA modulus accepted, in bits: larger ones only cost time.
pub const RSA_MAX_BITS: usize = 8192;

/// The signature algorithm a key belongs to, as OpenSSH names it (RFC 8332, RFC 5656, RFC 8709).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `ssh-ed25519`.
    Ed25519,
    /// `ecdsa-sha2-nistp256`.
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`.
    EcdsaP384,
    /// `ssh-rsa` keys, whose signatures are `rsa-sha2-256` or `rsa-sha2-512`.
    Rsa,
    /// `sk-ssh-ed25519@openssh.com`: Ed25519 in a FIDO2 token (PROTOCOL.u2f).
    SecurityKeyEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`: ECDSA P-256 in a FIDO token (PROTOCOL.u2f).
    SecurityKeyEcdsaP256,
}

impl Algorithm {
    /// The key type name on the wire and at the start of a one-line key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Rsa => "ssh-rsa",
            Self::SecurityKeyEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SecurityKeyEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes are not a public key this program accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The wire form ends early or goes on too long.
    #[error("key blob: {0}")]
    Wire(#[from] WireError),
    /// The key type is none of [`Algorithm`]'s.
    #[error("key type {0:?} is not supported")]
    UnsupportedType(String),
    /// The point, modulus or exponent is not one that may be used.
    #[error("{0}")]
    Unusable(&'static str),
    /// The blob holds a key, but not in the one canonical encoding.
    #[error("key is not encoded canonically")]
    NotCanonical,
    /// A text is not `type base64 [comment]` on one line.
    #[error("not a one-line OpenSSH public key: {0}")]
    Line(&'static str),
}

/// Why a signature does not verify by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature names an algorithm that this key does not make.
    #[error("signature algorithm does not belong to the key's type")]
    Algorithm,
    /// The signature is not in the one canonical encoding of its algorithm.
    #[error("signature is not encoded canonically")]
    Encoding,
    /// The signature is well-formed, but was not made over this message by this key.
    #[error("signature does not match message and key")]
    Mismatch,
}

/// A public key whose blob is known to be canonical and whose parameters are known to be usable.
///
/// Two keys are equal when their blobs are.
#[derive(Clone)]
pub struct PublicKey {
    blob: Vec<u8>,
    material: Material,
}

impl PublicKey {
    /// Reads a key from its SSH wire blob (RFC 4253 6.6), of which every byte must belong to the key.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = WireReader::new(blob);
        let name = reader.string()?;
        let (material, canonical) = Material::read(name, &mut reader)?;
        reader.finish()?;
        if canonical != blob {
            return Err(KeyError::NotCanonical);
        }
        Ok(Self { blob: canonical, material })
    }

    /// Reads a key from one line `type base64 [comment]`, as `ssh-keygen` writes a `.pub` file.
    ///
    /// One line ending is allowed at the end; options in front of the type are refused.
    pub fn from_openssh_line(line: &str) -> Result<Self, KeyError> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\n', '\r', '\0']) {
            return Err(KeyError::Line("more than one line"));
        }
        let (name, blob) = blob_of_line(line)?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm().name() != name {
            return Err(KeyError::Line("type differs from the type inside the key"));
        }
        Ok(key)
    }

    /// The key with these 32 bytes as its encoded point (RFC 8032 5.1.2); refuses weak and non-canonical points.
    pub fn ed25519(point: &[u8; 32]) -> Result<Self, KeyError> {
        let (material, blob) = Material::read(b"ssh-ed25519", &mut WireReader::new(&wire(&[point])))?;
        Ok(Self { blob, material })
    }

    /// The SSH wire blob.
    pub fn to_blob(&self) -> &[u8] {
        &self.blob
    }

    /// The one-line form without comment and without line ending: `type base64`.
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.algorithm(), STANDARD.encode(&self.blob))
    }

    /// `SHA256:` and the unpadded base64 of the blob's SHA-256, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> Algorithm {
        self.material.algorithm()
    }

    /// Verifies an SSH signature blob (`string` algorithm, `string` signature; RFC 4253 6.6) over `message`.
    ///
    /// Ed25519 is verified strictly (no small-order points, no malleable `s`). RSA takes `rsa-sha2-256` and
    /// `rsa-sha2-512` (RFC 8332 3) and never SHA-1; its signature is exactly as long as the modulus.
    /// A FIDO token's signature carries flags and a counter after that (PROTOCOL.u2f); both are under the
    /// signature, and whether the token demanded a touch is not judged here, nor is it by ssh-keygen.
    pub fn verify(&self, message: &[u8], signature_blob: &[u8]) -> Result<(), SignatureError> {
        self.material.verify(message, signature_blob)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.blob.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.fingerprint())
    }
}

/// The type name and blob of a one-line key, not yet parsed as a key.
pub(crate) fn blob_of_line(line: &str) -> Result<(&str, Vec<u8>), KeyError> {
    let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
    let name = fields.next().ok_or(KeyError::Line("empty"))?;
    let text = fields.next().ok_or(KeyError::Line("no key after the type"))?;
    let blob = STANDARD.decode(text).map_err(|_| KeyError::Line("key is not canonical base64"))?;
    Ok((name, blob))
}

/// Bytes from evidence as a short printable text for an error message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..64).unwrap_or(bytes);
    let mut text = start.escape_ascii().to_string();
    if bytes.len() > start.len() {
        text.push_str("...");
    }
    text
}
