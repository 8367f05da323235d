//! Owns the plain-text `revoked_keys` file: keys nobody may rely on any more; refuses binary KRLs and bad lines.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::allowed_signers::{TrustFileError, lines};
use crate::ssh_key::{KeyError, PublicKey, blob_of_line};
use crate::ssh_wire::WireReader;

const KRL_MAGIC: &[u8] = b"SSHKRL\n\0";

/// The keys an organisation has revoked, by the SHA-256 of their blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedKeys {
    fingerprints: BTreeSet<[u8; 32]>,
}

impl RevokedKeys {
    /// Reads a file of public keys `type base64 [comment]` and fingerprints `SHA256:...` or `hash: SHA256:...`.
    ///
    /// `#` comments and blank lines may stand between. Key lines are what `ssh-keygen -Y verify -r` reads;
    /// fingerprint lines are those of ssh-keygen's KRL specifications. Keys of types or sizes that are never
    /// accepted may be listed. Certificates may not: OpenSSH takes one to revoke its key, so list the key.
    pub fn parse(file: &[u8]) -> Result<Self, TrustFileError> {
        if file.starts_with(KRL_MAGIC) {
            return Err(TrustFileError { line: 0, reason: "binary KRL not supported yet".to_owned() });
        }
        let mut fingerprints = BTreeSet::new();
        for (line, text) in lines(file) {
            let fingerprint = text.and_then(|text| parse_line(&text));
            fingerprints.insert(fingerprint.map_err(|reason| TrustFileError { line, reason })?);
        }
        Ok(Self { fingerprints })
    }

    /// Whether `key` is revoked.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.fingerprints.contains::<[u8; 32]>(&Sha256::digest(key.to_blob()).into())
    }

    /// How many keys are revoked.
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether no key is revoked.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }
}

fn parse_line(line: &str) -> Result<[u8; 32], String> {
    let hash = line.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("hash:"));
    let is_fingerprint = hash.is_some() || line.starts_with("SHA256:");
    if is_fingerprint {
        let text = line.get(hash.map_or(0, str::len)..).unwrap_or_default();
        // ssh-keygen writes the type of the key behind a `#` when it lists a KRL.
        let text = text.split_once('#').map_or(text, |(text, _)| text).trim_matches([' ', '\t']);
        let digits = text.strip_prefix("SHA256:").ok_or("fingerprint is not a SHA256 one")?;
        let bytes = STANDARD_NO_PAD.decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
        return bytes.ok_or_else(|| "fingerprint is not 32 bytes in canonical unpadded base64".to_owned());
    }
    let (name, blob) = blob_of_line(line).map_err(|error| error.to_string())?;
    if name.contains("-cert-v0") {
        return Err("a certificate; list the key itself".to_owned());
    }
    if WireReader::new(&blob).string() != Ok(name.as_bytes()) {
        return Err("type differs from the type inside the key".to_owned());
    }
    match PublicKey::from_blob(&blob) {
        // A key that is never accepted may be revoked all the same.
        Ok(_) | Err(KeyError::Unusable(_)) => {}
        Err(KeyError::UnsupportedType(_)) if is_whole(&blob) => {}
        Err(error) => return Err(error.to_string()),
    }
    Ok(Sha256::digest(&blob).into())
}

/// Whether a blob is a sequence of whole strings, as keys of every plain type are: a key cut short revokes nothing.
fn is_whole(blob: &[u8]) -> bool {
    let mut reader = WireReader::new(blob);
    while reader.finish().is_err() {
        if reader.string().is_err() {
            return false;
        }
    }
    true
}
