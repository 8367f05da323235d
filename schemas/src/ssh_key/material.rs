//! Owns what differs from one kind of SSH key to another: fields, checks, signatures; refuses weak parameters.

use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha256, Sha512};

use super::{Algorithm, KeyError, RSA_MAX_BITS, RSA_MIN_BITS, SignatureError, shown};
use crate::ssh_wire::{WireReader, WireWriter};

/// The parsed parameters of a key.
#[derive(Clone)]
pub(super) enum Material {
    Ed25519(ed25519_dalek::VerifyingKey),
    EcdsaP256(p256::ecdsa::VerifyingKey),
    EcdsaP384(p384::ecdsa::VerifyingKey),
    Rsa { key: Box<rsa::PublicKey>, bytes: usize },
    SecurityKeyEd25519 { key: ed25519_dalek::VerifyingKey, application: Vec<u8> },
    SecurityKeyEcdsaP256 { key: p256::ecdsa::VerifyingKey, application: Vec<u8> },
}

impl Material {
    /// Reads the fields that follow the type `name`, and gives the canonical blob of what was read.
    pub(super) fn read(name: &[u8], reader: &mut WireReader<'_>) -> Result<(Self, Vec<u8>), KeyError> {
        match name {
            b"ssh-ed25519" => read_ed25519(reader),
            b"ecdsa-sha2-nistp256" => read_p256(reader),
            b"ecdsa-sha2-nistp384" => read_p384(reader),
            b"ssh-rsa" => read_rsa(reader),
            b"sk-ssh-ed25519@openssh.com" => read_security_key_ed25519(reader),
            b"sk-ecdsa-sha2-nistp256@openssh.com" => read_security_key_p256(reader),
            other => Err(KeyError::UnsupportedType(shown(other))),
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::EcdsaP256(_) => Algorithm::EcdsaP256,
            Self::EcdsaP384(_) => Algorithm::EcdsaP384,
            Self::Rsa { .. } => Algorithm::Rsa,
            Self::SecurityKeyEd25519 { .. } => Algorithm::SecurityKeyEd25519,
            Self::SecurityKeyEcdsaP256 { .. } => Algorithm::SecurityKeyEcdsaP256,
        }
    }

    /// Verifies an SSH signature blob over `message`; see [`super::PublicKey::verify`].
    pub(super) fn verify(&self, message: &[u8], signature_blob: &[u8]) -> Result<(), SignatureError> {
        let mut reader = WireReader::new(signature_blob);
        let name = reader.string().map_err(|_| SignatureError::Encoding)?;
        let signature = reader.string().map_err(|_| SignatureError::Encoding)?;
        let signature_name = match (self, name) {
            (Self::Rsa { .. }, b"rsa-sha2-256" | b"rsa-sha2-512") => name,
            (Self::Rsa { .. }, _) => return Err(SignatureError::Algorithm),
            _ => self.algorithm().name().as_bytes(),
        };
        if name != signature_name {
            return Err(SignatureError::Algorithm);
        }
        let token = match self {
            Self::SecurityKeyEd25519 { application, .. } | Self::SecurityKeyEcdsaP256 { application, .. } => {
                let flags_and_counter = reader.bytes(5).map_err(|_| SignatureError::Encoding)?;
                Some(signed_by_token(application, flags_and_counter, message))
            }
            _ => None,
        };
        reader.finish().map_err(|_| SignatureError::Encoding)?;
        let message = token.as_deref().unwrap_or(message);
        match self {
            Self::Ed25519(key) | Self::SecurityKeyEd25519 { key, .. } => {
                verify_ed25519(key, message, signature)
            }
            Self::EcdsaP256(key) | Self::SecurityKeyEcdsaP256 { key, .. } => {
                verify_p256(key, message, signature)
            }
            Self::EcdsaP384(key) => verify_p384(key, message, signature),
            Self::Rsa { bytes, .. } if signature.len() != *bytes => Err(SignatureError::Encoding),
            Self::Rsa { key, .. } if name == b"rsa-sha2-256" => {
                key.pkcs1v15_verify::<Sha256>(message, signature).map_err(|_| SignatureError::Mismatch)
            }
            Self::Rsa { key, .. } => {
                key.pkcs1v15_verify::<Sha512>(message, signature).map_err(|_| SignatureError::Mismatch)
            }
        }
    }
}

fn verify_ed25519(
    key: &ed25519_dalek::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| SignatureError::Encoding)?;
    key.verify_strict(message, &signature).map_err(|_| SignatureError::Mismatch)
}

fn verify_p256(
    key: &p256::ecdsa::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let scalars = ecdsa_scalars::<32>(signature)?;
    let signature = p256::ecdsa::Signature::from_slice(&scalars).map_err(|_| SignatureError::Encoding)?;
    key.verify(message, &signature).map_err(|_| SignatureError::Mismatch)
}

fn verify_p384(
    key: &p384::ecdsa::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let scalars = ecdsa_scalars::<48>(signature)?;
    let signature = p384::ecdsa::Signature::from_slice(&scalars).map_err(|_| SignatureError::Encoding)?;
    key.verify(message, &signature).map_err(|_| SignatureError::Mismatch)
}

/// What a FIDO token signs (PROTOCOL.u2f, SSH U2F signatures): hashes of application and message around its state.
fn signed_by_token(application: &[u8], flags_and_counter: &[u8], message: &[u8]) -> Vec<u8> {
    [&Sha256::digest(application)[..], flags_and_counter, &Sha256::digest(message)[..]].concat()
}

fn read_ed25519(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let (key, point) = read_ed25519_point(reader)?;
    Ok((Material::Ed25519(key), wire(&[b"ssh-ed25519", point])))
}

fn read_security_key_ed25519(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let (key, point) = read_ed25519_point(reader)?;
    let application = reader.string()?;
    let blob = wire(&[Algorithm::SecurityKeyEd25519.name().as_bytes(), point, application]);
    Ok((Material::SecurityKeyEd25519 { key, application: application.to_vec() }, blob))
}

/// A point that is on the curve, of large order, and written in the one reduced way.
fn read_ed25519_point<'a>(
    reader: &mut WireReader<'a>,
) -> Result<(ed25519_dalek::VerifyingKey, &'a [u8]), KeyError> {
    let point: &[u8; 32] =
        reader.string()?.try_into().map_err(|_| KeyError::Unusable("an Ed25519 key has 32 bytes"))?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(point)
        .map_err(|_| KeyError::Unusable("Ed25519 key is not a point of the curve"))?;
    if key.is_weak() {
        return Err(KeyError::Unusable("Ed25519 key is a point of small order"));
    }
    if is_reduced(point) { Ok((key, point)) } else { Err(KeyError::NotCanonical) }
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
    let (key, point) = read_p256_point(reader)?;
    Ok((Material::EcdsaP256(key), wire(&[b"ecdsa-sha2-nistp256", b"nistp256", &point])))
}

fn read_security_key_p256(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let (key, point) = read_p256_point(reader)?;
    let application = reader.string()?;
    let blob = wire(&[Algorithm::SecurityKeyEcdsaP256.name().as_bytes(), b"nistp256", &point, application]);
    Ok((Material::SecurityKeyEcdsaP256 { key, application: application.to_vec() }, blob))
}

fn read_p256_point(reader: &mut WireReader<'_>) -> Result<(p256::ecdsa::VerifyingKey, Vec<u8>), KeyError> {
    let point = read_point(reader, b"nistp256", 65)?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
        .map_err(|_| KeyError::Unusable("ECDSA key is not a point of the curve"))?;
    Ok((key, key.to_sec1_point(false).as_bytes().to_vec()))
}

fn read_p384(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let point = read_point(reader, b"nistp384", 97)?;
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
        .map_err(|_| KeyError::Unusable("ECDSA key is not a point of the curve"))?;
    let blob = wire(&[b"ecdsa-sha2-nistp384", b"nistp384", key.to_sec1_point(false).as_bytes()]);
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

/// The SSH strings of a blob, one after the other.
pub(super) fn wire(strings: &[&[u8]]) -> Vec<u8> {
    let mut blob = WireWriter::new();
    for string in strings {
        blob.string(string);
    }
    blob.into_bytes()
}

fn read_rsa(reader: &mut WireReader<'_>) -> Result<(Material, Vec<u8>), KeyError> {
    let exponent = reader.string()?;
    let modulus = reader.string()?;
    let (exponent_bytes, modulus_bytes) =
        natural(exponent).zip(natural(modulus)).ok_or(KeyError::NotCanonical)?;
    let key = rsa_key(modulus_bytes, exponent_bytes)
        .ok_or(KeyError::Unusable("RSA modulus or exponent is out of bounds"))?;
    let blob = wire(&[b"ssh-rsa", exponent, modulus]);
    Ok((Material::Rsa { key: Box::new(key), bytes: modulus_bytes.len() }, blob))
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
