//! Owns the signature algorithms of timestamp authorities; refuses SHA-1, RSA-PSS and every other scheme.
//!
//! RSA PKCS#1 v1.5 and ECDSA over P-256 and P-384, each with SHA-256, SHA-384 or SHA-512. Verify only.

use const_oid::ObjectIdentifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use webpki::EndEntityCert;

use super::TimestampError;
use super::element::{Elements, INTEGER, NULL, SEQUENCE, magnitude};
use crate::ssh_key::rsa_key;

/// A hash that a token may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The hash an AlgorithmIdentifier's contents name, with NULL or absent parameters (RFC 5754 2).
    pub(super) fn from_identifier(content: &[u8]) -> Result<Self, TimestampError> {
        match algorithm(content)?.to_string().as_str() {
            "2.16.840.1.101.3.4.2.1" => Ok(Self::Sha256),
            "2.16.840.1.101.3.4.2.2" => Ok(Self::Sha384),
            "2.16.840.1.101.3.4.2.3" => Ok(Self::Sha512),
            _ => Err(TimestampError::Unsupported("digest algorithm")),
        }
    }

    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The OID of an AlgorithmIdentifier whose parameters are NULL or absent; other parameters are refused.
fn algorithm(content: &[u8]) -> Result<ObjectIdentifier, TimestampError> {
    let mut fields = Elements::new(content, "algorithm identifier");
    let oid = fields.oid()?;
    if fields.take_optional(NULL)?.is_some_and(|null| !null.is_empty()) {
        return Err(TimestampError::Malformed("algorithm identifier"));
    }
    fields.finish().map_err(|_| TimestampError::Unsupported("algorithm parameters"))?;
    Ok(oid)
}

/// The family of a CMS signature, before the signer's key says which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    Ecdsa,
}

impl Family {
    /// The family of a SignerInfo's signatureAlgorithm, which must go with its digest algorithm (RFC 5754 3).
    pub(super) fn from_identifier(content: &[u8], digest: Hash) -> Result<Self, TimestampError> {
        let (family, hash) = match algorithm(content)?.to_string().as_str() {
            "1.2.840.113549.1.1.1" => (Self::Rsa, digest),
            "1.2.840.113549.1.1.11" => (Self::Rsa, Hash::Sha256),
            "1.2.840.113549.1.1.12" => (Self::Rsa, Hash::Sha384),
            "1.2.840.113549.1.1.13" => (Self::Rsa, Hash::Sha512),
            "1.2.840.10045.4.3.2" => (Self::Ecdsa, Hash::Sha256),
            "1.2.840.10045.4.3.3" => (Self::Ecdsa, Hash::Sha384),
            "1.2.840.10045.4.3.4" => (Self::Ecdsa, Hash::Sha512),
            _ => return Err(TimestampError::Unsupported("signature algorithm")),
        };
        if hash != digest {
            return Err(TimestampError::Unsupported(
                "signature algorithm with another hash than the digest algorithm",
            ));
        }
        Ok(family)
    }
}

/// Verifies `signature` over `message` by the key of `signer`.
pub(super) fn verify_signature(
    signer: &EndEntityCert<'_>,
    family: Family,
    hash: Hash,
    message: &[u8],
    signature: &[u8],
) -> Result<(), TimestampError> {
    let suitable =
        |scheme: &&Scheme| scheme.hash == hash && (scheme.key == Key::Rsa) == (family == Family::Rsa);
    for scheme in SCHEMES.iter().filter(suitable) {
        match signer.verify_signature(scheme, message, signature) {
            Ok(()) => return Ok(()),
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Err(TimestampError::Broken("signature does not match the signed attributes")),
        }
    }
    Err(TimestampError::Broken("signature algorithm does not belong to the signer's key"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Rsa,
    P256,
    P384,
}

/// One kind of key with one hash, as webpki asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scheme {
    key: Key,
    hash: Hash,
}

const SCHEMES: [Scheme; 9] = [
    Scheme { key: Key::Rsa, hash: Hash::Sha256 },
    Scheme { key: Key::Rsa, hash: Hash::Sha384 },
    Scheme { key: Key::Rsa, hash: Hash::Sha512 },
    Scheme { key: Key::P256, hash: Hash::Sha256 },
    Scheme { key: Key::P256, hash: Hash::Sha384 },
    Scheme { key: Key::P256, hash: Hash::Sha512 },
    Scheme { key: Key::P384, hash: Hash::Sha256 },
    Scheme { key: Key::P384, hash: Hash::Sha384 },
    Scheme { key: Key::P384, hash: Hash::Sha512 },
];

/// Every scheme a certificate on the path may be signed with.
pub(super) fn path_schemes() -> [&'static dyn SignatureVerificationAlgorithm; 9] {
    const { &SCHEMES }.each_ref().map(|scheme| scheme as &dyn SignatureVerificationAlgorithm)
}

impl SignatureVerificationAlgorithm for Scheme {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let verified = match self.key {
            Key::Rsa => verify_rsa(key, self.hash, message, signature),
            Key::P256 => verify_p256(key, &self.hash.digest(message), signature),
            Key::P384 => verify_p384(key, &self.hash.digest(message), signature),
        };
        verified.ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.key {
            Key::Rsa => alg_id::RSA_ENCRYPTION,
            Key::P256 => alg_id::ECDSA_P256,
            Key::P384 => alg_id::ECDSA_P384,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match (self.key, self.hash) {
            (Key::Rsa, Hash::Sha256) => alg_id::RSA_PKCS1_SHA256,
            (Key::Rsa, Hash::Sha384) => alg_id::RSA_PKCS1_SHA384,
            (Key::Rsa, Hash::Sha512) => alg_id::RSA_PKCS1_SHA512,
            (_, Hash::Sha256) => alg_id::ECDSA_SHA256,
            (_, Hash::Sha384) => alg_id::ECDSA_SHA384,
            (_, Hash::Sha512) => alg_id::ECDSA_SHA512,
        }
    }
}

/// RSASSA-PKCS1-v1_5 (RFC 8017 8.2.2); the signature is exactly as long as the modulus.
fn verify_rsa(key: &[u8], hash: Hash, message: &[u8], signature: &[u8]) -> Option<()> {
    let mut numbers = Elements::only(key, SEQUENCE, "RSA key").ok()?;
    let modulus = magnitude(numbers.take(INTEGER).ok()?)?;
    let exponent = magnitude(numbers.take(INTEGER).ok()?)?;
    numbers.finish().ok()?;
    if signature.len() != modulus.len() {
        return None;
    }
    let key = rsa_key(modulus, exponent)?;
    match hash {
        Hash::Sha256 => key.pkcs1v15_verify::<Sha256>(message, signature),
        Hash::Sha384 => key.pkcs1v15_verify::<Sha384>(message, signature),
        Hash::Sha512 => key.pkcs1v15_verify::<Sha512>(message, signature),
    }
    .ok()
}

fn verify_p256(key: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
    let signature = p256::ecdsa::Signature::from_slice(&scalars::<32>(signature)?).ok()?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(uncompressed(key)?).ok()?;
    key.verify_prehash(digest, &signature).ok()
}

fn verify_p384(key: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
    let signature = p384::ecdsa::Signature::from_slice(&scalars::<48>(signature)?).ok()?;
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(uncompressed(key)?).ok()?;
    key.verify_prehash(digest, &signature).ok()
}

/// The point, if it is uncompressed (RFC 5480 2.2).
fn uncompressed(point: &[u8]) -> Option<&[u8]> {
    (point.first() == Some(&4)).then_some(point)
}

/// The fixed-width `r || s` of a DER Ecdsa-Sig-Value (RFC 3279 2.2.3).
fn scalars<const SIZE: usize>(signature: &[u8]) -> Option<Vec<u8>> {
    let mut numbers = Elements::only(signature, SEQUENCE, "ECDSA signature").ok()?;
    let mut scalars = Vec::with_capacity(2 * SIZE);
    for _ in 0..2 {
        let scalar = magnitude(numbers.take(INTEGER).ok()?)?;
        scalars.extend(std::iter::repeat_n(0, SIZE.checked_sub(scalar.len())?));
        scalars.extend_from_slice(scalar);
    }
    numbers.finish().ok()?;
    Some(scalars)
}
