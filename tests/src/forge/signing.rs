//! Owns the liar's keys: anybody's, the examiner's stolen one, and whatever an authority stamps for who asks; refuses
//! encrypted key files.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::ssh_wire::WireReader;
use holdfast_schemas::sshsig::{SshSignature, ed25519_signature_blob, to_be_signed};
use holdfast_schemas::timestamp::TimestampToken;

use crate::Authority;

/// Armored SSHSIG by `key` over `message`.
pub fn sign(key: &SigningKey, namespace: &str, message: &[u8]) -> String {
    let signature = key.sign(&to_be_signed(namespace, message)).to_bytes();
    SshSignature::new(public_key(key), namespace, ed25519_signature_blob(&signature)).to_armored()
}

/// The public half, as SSH knows it.
pub fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey::ed25519(&key.verifying_key().to_bytes()).unwrap()
}

/// A key that anybody can make, by a number.
pub fn stranger(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The examiner's key from the unencrypted file that `holdfast-agent init` wrote (PROTOCOL.key of OpenSSH).
pub fn stolen_key(path: &Path) -> SigningKey {
    let text = fs::read_to_string(path).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = STANDARD.decode(body).unwrap();
    let mut outer = WireReader::new(bytes.strip_prefix(b"openssh-key-v1\0").unwrap());
    assert_eq!(outer.string().unwrap(), b"none", "the key is encrypted");
    let _ = (outer.string().unwrap(), outer.string().unwrap(), outer.u32().unwrap(), outer.string().unwrap());
    let mut inner = WireReader::new(outer.string().unwrap());
    assert_eq!(inner.u32().unwrap(), inner.u32().unwrap());
    assert_eq!(inner.string().unwrap(), b"ssh-ed25519");
    let _public = inner.string().unwrap();
    SigningKey::from_keypair_bytes(inner.string().unwrap().try_into().unwrap()).unwrap()
}

/// A token by `authority` over `data`, as a package stores it.
pub fn token(authority: &Authority, data: &[u8]) -> Vec<u8> {
    let path = authority.folder.join("stamped");
    fs::write(&path, data).unwrap();
    TimestampToken::from_response(&authority.stamp(&path)).unwrap().to_stored_response()
}
