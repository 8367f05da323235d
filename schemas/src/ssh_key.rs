//! Owns SSH public keys and verification by them; refuses unsupported, weak and non-canonical keys.
//!
//! A key is what its blob says: re-encoding what was parsed must give the same bytes, so that one key has one
//! blob and one fingerprint. Signatures are verified as strictly: one key, one message, one accepted encoding
//! (an ECDSA `s` may still be negated by anyone; ssh-keygen does not normalise it, so neither can be required).

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha256, Sha512};

use crate::ssh_wire::{WireError, WireReader, WireWriter};

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
}

impl Algorithm {
    /// The key type name on the wire and at the start of a one-line key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Rsa => "ssh-rsa",
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
    /// The key type is none of the four supported ones.
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

#[derive(Clone)]
enum Material {
    Ed25519(ed25519_dalek::VerifyingKey),
    EcdsaP256(p256::ecdsa::VerifyingKey),
    EcdsaP384(p384::ecdsa::VerifyingKey),
    Rsa { key: Box<rsa::PublicKey>, bytes: usize },
}

impl PublicKey {
    /// Reads a key from its SSH wire blob (RFC 4253 6.6), of which every byte must belong to the key.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = WireReader::new(blob);
        let name = reader.string()?;
        let (material, canonical) = match name {
            b"ssh-ed25519" => read_ed25519(&mut reader)?,
            b"ecdsa-sha2-nistp256" => read_p256(&mut reader)?,
            b"ecdsa-sha2-nistp384" => read_p384(&mut reader)?,
            b"ssh-rsa" => read_rsa(&mut reader)?,
            other => return Err(KeyError::UnsupportedType(shown(other))),
        };
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
        let mut reader_input = WireWriter::new();
        reader_input.string(point);
        let (material, blob) = read_ed25519(&mut WireReader::new(&reader_input.into_bytes()))?;
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
        match self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::EcdsaP256(_) => Algorithm::EcdsaP256,
            Material::EcdsaP384(_) => Algorithm::EcdsaP384,
            Material::Rsa { .. } => Algorithm::Rsa,
        }
    }

    /// Verifies an SSH signature blob (`string` algorithm, `string` signature; RFC 4253 6.6) over `message`.
    ///
    /// Ed25519 is verified strictly (no small-order points, no malleable `s`). RSA takes `rsa-sha2-256` and
    /// `rsa-sha2-512` (RFC 8332 3) and never SHA-1; its signature is exactly as long as the modulus.
    pub fn verify(&self, message: &[u8], signature_blob: &[u8]) -> Result<(), SignatureError> {
        let mut reader = WireReader::new(signature_blob);
        let name = reader.string().map_err(|_| SignatureError::Encoding)?;
        let signature = reader.string().map_err(|_| SignatureError::Encoding)?;
        reader.finish().map_err(|_| SignatureError::Encoding)?;
        match (&self.material, name) {
            (Material::Ed25519(key), b"ssh-ed25519") => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let signature = signature.map_err(|_| SignatureError::Encoding)?;
                key.verify_strict(message, &signature).map_err(|_| SignatureError::Mismatch)
            }
            (Material::EcdsaP256(key), b"ecdsa-sha2-nistp256") => {
                let scalars = ecdsa_scalars::<32>(signature)?;
                let signature = p256::ecdsa::Signature::from_slice(&scalars);
                let signature = signature.map_err(|_| SignatureError::Encoding)?;
                key.verify(message, &signature).map_err(|_| SignatureError::Mismatch)
            }
            (Material::EcdsaP384(key), b"ecdsa-sha2-nistp384") => {
                let scalars = ecdsa_scalars::<48>(signature)?;
                let signature = p384::ecdsa::Signature::from_slice(&scalars);
                let signature = signature.map_err(|_| SignatureError::Encoding)?;
                key.verify(message, &signature).map_err(|_| SignatureError::Mismatch)
            }
            (Material::Rsa { bytes, .. }, b"rsa-sha2-256" | b"rsa-sha2-512") if signature.len() != *bytes => {
                Err(SignatureError::Encoding)
            }
            (Material::Rsa { key, .. }, b"rsa-sha2-256") => {
                key.pkcs1v15_verify::<Sha256>(message, signature).map_err(|_| SignatureError::Mismatch)
            }
            (Material::Rsa { key, .. }, b"rsa-sha2-512") => {
                key.pkcs1v15_verify::<Sha512>(message, signature).map_err(|_| SignatureError::Mismatch)
            }
            _ => Err(SignatureError::Algorithm),
        }
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

fn read_ed25519(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let point: &[u8; 32] =
        reader.string()?.try_into().map_err(|_| KeyError::Unusable("an Ed25519 key has 32 bytes"))?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(point)
        .map_err(|_| KeyError::Unusable("Ed25519 key is not a point of the curve"))?;
    if key.is_weak() {
        return Err(KeyError::Unusable("Ed25519 key is a point of small order"));
    }
    if !is_reduced(point) {
        return Err(KeyError::NotCanonical);
    }
    let mut blob = WireWriter::new();
    blob.string(b"ssh-ed25519").string(point);
    Ok((Material::Ed25519(key), blob.into_bytes()))
}

/// Whether the encoded y coordinate is below 2^255 - 19 (RFC 8032 5.1.3, step 1).
fn is_reduced(point: &[u8; 32]) -> bool {
    match point {
        [low, middle @ .., high] if high & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff) => {
            *low < 0xed
        }
        _ => true,
    }
}

fn read_p256(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let point = read_point(reader, b"nistp256", 65)?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
        .map_err(|_| KeyError::Unusable("ECDSA key is not a point of the curve"))?;
    let blob = ecdsa_blob(Algorithm::EcdsaP256, b"nistp256", key.to_sec1_point(false).as_bytes());
    Ok((Material::EcdsaP256(key), blob))
}

fn read_p384(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let point = read_point(reader, b"nistp384", 97)?;
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
        .map_err(|_| KeyError::Unusable("ECDSA key is not a point of the curve"))?;
    let blob = ecdsa_blob(Algorithm::EcdsaP384, b"nistp384", key.to_sec1_point(false).as_bytes());
    Ok((Material::EcdsaP384(key), blob))
}

/// Curve name and uncompressed point (RFC 5656 3.1); OpenSSH refuses compressed points, and so does this.
fn read_point<'a>(reader: &mut WireReader<'a>, curve: &[u8], size: usize) -> Result<&'a [u8], KeyError> {
    if reader.string()? != curve {
        return Err(KeyError::Unusable("ECDSA key names another curve than its type"));
    }
    let point = reader.string()?;
    if point.len() != size || point.first() != Some(&4) {
        return Err(KeyError::Unusable("ECDSA key is not an uncompressed point"));
    }
    Ok(point)
}

fn ecdsa_blob(algorithm: Algorithm, curve: &[u8], point: &[u8]) -> Vec<u8> {
    let mut blob = WireWriter::new();
    blob.string(algorithm.name().as_bytes()).string(curve).string(point);
    blob.into_bytes()
}

fn read_rsa(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let exponent = reader.string()?;
    let modulus = reader.string()?;
    let (exponent_bytes, modulus_bytes) =
        natural(exponent).zip(natural(modulus)).ok_or(KeyError::NotCanonical)?;
    let key = rsa_key(modulus_bytes, exponent_bytes)
        .ok_or(KeyError::Unusable("RSA modulus or exponent is out of bounds"))?;
    let mut blob = WireWriter::new();
    blob.string(b"ssh-rsa").string(exponent).string(modulus);
    Ok((Material::Rsa { key: Box::new(key), bytes: modulus_bytes.len() }, blob.into_bytes()))
}

/// The magnitude of a canonical positive `mpint` (RFC 4251 5), without its sign byte.
fn natural(mpint: &[u8]) -> Option<&[u8]> {
    match mpint {
        [] => None,
        [0, rest @ ..] => (*rest.first()? >= 0x80).then_some(rest),
        [first, ..] => (*first < 0x80).then_some(mpint),
    }
}

/// An RSA key from big-endian modulus and exponent without leading zeros; `None` out of bounds.
pub(crate) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Option<rsa::PublicKey> {
    // Checked before the numbers are built, so that the size of the input never decides what is allocated.
    if modulus.len() > RSA_MAX_BITS / 8 || exponent.len() > 8 {
        return None;
    }
    let number = |bytes: &[u8]| {
        let bits = u32::try_from(bytes.len()).ok()?.checked_mul(8)?;
        rsa::BoxedUint::from_be_slice(bytes, bits).ok()
    };
    let (n, e) = (number(modulus)?, number(exponent)?);
    rsa::PublicKey::new_with_size_limits(n, e, RSA_MIN_BITS..=RSA_MAX_BITS).ok()
}

/// The fixed-width `r || s` of an SSH ECDSA signature (RFC 5656 3.1.2).
fn ecdsa_scalars<const SIZE: usize>(signature: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let mut reader = WireReader::new(signature);
    let mut scalars = Vec::with_capacity(2 * SIZE);
    for _ in 0..2 {
        let mpint = reader.string().map_err(|_| SignatureError::Encoding)?;
        let scalar = natural(mpint).ok_or(SignatureError::Encoding)?;
        let padding = SIZE.checked_sub(scalar.len()).ok_or(SignatureError::Encoding)?;
        scalars.extend(std::iter::repeat_n(0, padding));
        scalars.extend_from_slice(scalar);
    }
    reader.finish().map_err(|_| SignatureError::Encoding)?;
    Ok(scalars)
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
