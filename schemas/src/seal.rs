//! Owns `seal/seal.json`, the sealed statement, and the names below `seal/`; refuses unknown formats and roles.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::json::RecordError;
use crate::ssh_key::{Algorithm, PublicKey};
use crate::text::is_uuid_v7;
use crate::time::UtcTime;

/// The format of the statement.
pub const SEAL_FORMAT: &str = "holdfast-seal/1";
/// Name of the statement below the package folder.
pub const SEAL_MEMBER: &str = "seal/seal.json";
/// Most signatures and most timestamps a seal may carry.
pub const MAX_PROOFS: usize = 16;

/// What is sealed. The SHA-256 of these bytes is the package id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealStatement {
    /// `holdfast-seal/1`.
    pub format: String,
    /// The collection's id.
    pub collection_id: String,
    /// The case, as given.
    pub case: Option<String>,
    /// True for a drill.
    pub exercise: bool,
    /// Every byte of the file before the first member below `seal/`.
    pub prefix: Prefix,
    /// SHA-256 of `tagmanifest-sha256.txt`.
    pub tagmanifest_sha256: Sha256Digest,
    /// RFC 9162 Merkle root over the lines of `items.jsonl`.
    pub items_root: Sha256Digest,
    /// Lines of `items.jsonl`.
    pub items: u64,
    /// Items that have a member.
    pub payload_files: u64,
    /// Bytes of content in those members.
    pub payload_bytes: u64,
    /// The order it was collected under.
    pub order: Option<OrderReference>,
    /// Who signs this statement.
    pub signers: Vec<Signer>,
    /// Timestamp authorities that are asked once this statement is signed; empty when none is.
    pub timestamp_authorities: Vec<String>,
    /// When, by the host's clock, UTC.
    pub sealed_at: UtcTime,
}

impl SealStatement {
    /// Checks what a schema can say and a type cannot: exactly one collector with an Ed25519 key, first; at most one
    /// examiner; authorities without credentials or query.
    pub fn check(&self) -> Result<(), RecordError> {
        if !is_uuid_v7(&self.collection_id) {
            return Err(RecordError::new("collection_id is not a UUID version 7"));
        }
        let roles: Vec<Role> = self.signers.iter().map(|signer| signer.role).collect();
        if !matches!(roles.as_slice(), [Role::Collector] | [Role::Collector, Role::Examiner]) {
            return Err(RecordError::new("signers are not one collector and at most one examiner"));
        }
        for signer in &self.signers {
            let key = signer.key()?;
            if signer.role == Role::Collector && key.algorithm() != Algorithm::Ed25519 {
                return Err(RecordError::new("the collector's key is not an Ed25519 key"));
            }
        }
        if self.timestamp_authorities.len() > MAX_PROOFS {
            return Err(RecordError::new("more timestamp authorities than a seal may have"));
        }
        let plain = |url: &String| {
            let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            rest.is_some_and(|rest| {
                !rest.is_empty()
                    && !rest.contains(['@', '?', '#'])
                    && rest.bytes().all(|byte| byte.is_ascii_graphic())
            })
        };
        if !self.timestamp_authorities.iter().all(plain) {
            return Err(RecordError::new("a timestamp authority is no plain http or https address"));
        }
        Ok(())
    }
}

impl Signer {
    /// The announced key.
    pub fn key(&self) -> Result<PublicKey, RecordError> {
        let key = PublicKey::from_openssh_line(&self.public_key);
        let key =
            key.map_err(|error| RecordError::new(format!("public_key of the {}: {error}", self.role)))?;
        if key.to_openssh() == self.public_key {
            Ok(key)
        } else {
            Err(RecordError::new(format!("public_key of the {} has more than type and base64", self.role)))
        }
    }
}

/// A range of bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// Length.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Sha256Digest,
}

/// The order a collection ran under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderReference {
    /// SHA-256 of `order.json`.
    pub sha256: Sha256Digest,
    /// The order's nonce.
    pub nonce: String,
}

/// A signer that the statement announces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// In which role.
    pub role: Role,
    /// The public key as OpenSSH writes it: type and base64.
    pub public_key: String,
}

/// In which role a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one-time key of the collection.
    Collector,
    /// The examiner's own key.
    Examiner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collector => "collector",
            Self::Examiner => "examiner",
        })
    }
}

/// Name of a role's signature below the package folder.
pub fn signature_member(role: Role) -> String {
    format!("{SEAL_MEMBER}.{role}.sig")
}

/// Name of the `number`th timestamp (from 1) over the collector's signature, below the package folder.
pub fn timestamp_member(number: usize) -> String {
    format!("{}.{number}.tsr", signature_member(Role::Collector))
}
