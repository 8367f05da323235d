//! Owns the custody ledger's records: a line, the entry it carries and the events; refuses entries that break the chain's form.

use serde::{Deserialize, Serialize};

use crate::collection::Party;
use crate::digest::Sha256Digest;
use crate::json::{RecordError, read_record, write_record};
use crate::sshsig::{NAMESPACE_CUSTODY, SshSignature, SshsigError};
use crate::text::Base64Bytes;
use crate::time::UtcTime;

/// Longest line of a ledger, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// One line of `<package>.custody.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerLine {
    /// The entry's exact JSON text: the bytes that are signed.
    pub entry: String,
    /// Armored SSHSIG over those bytes, namespace `holdfast-custody-v1`.
    pub signature: String,
    /// RFC 3161 tokens over the bytes of `signature`.
    pub timestamps: Vec<Base64Bytes>,
}

/// One event in the life of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodyEntry {
    /// Position in the ledger, from 1, without gaps.
    pub seq: u64,
    /// SHA-256 of the previous line without its newline; the package id for the first.
    pub prev: Sha256Digest,
    /// What happened.
    pub event: CustodyEvent,
    /// When it happened, by the clock of who recorded it.
    pub occurred_at: UtcTime,
    /// When it was recorded, by the same clock.
    pub recorded_at: UtcTime,
    /// Why it was recorded late.
    pub late_reason: Option<String>,
    /// Who acted.
    pub actor: Party,
    /// The other party.
    pub counterparty: Option<Party>,
    /// From where.
    pub from: Option<String>,
    /// To where.
    pub to: Option<String>,
    /// Where it lies.
    pub location: Option<String>,
    /// Why.
    pub purpose: Option<String>,
    /// Under whose authority.
    pub authority: Option<String>,
    /// SHA-256 of the file as held.
    pub package_sha256: Option<Sha256Digest>,
    /// Its size in bytes.
    pub package_bytes: Option<u64>,
    /// Condition of the medium or file.
    pub condition: Option<String>,
    /// Number of a physical seal.
    pub seal_number: Option<String>,
    /// How many copies.
    pub copies: Option<u64>,
    /// Who witnessed.
    pub witness: Option<Party>,
    /// SHA-256 of the verification report made at this event.
    pub verification_report_sha256: Option<Sha256Digest>,
    /// Anything else, in words.
    pub note: Option<String>,
    /// SHA-256 of attached documents.
    pub attachments: Vec<Sha256Digest>,
}

/// The events of a ledger. The agent writes the first two; the others are made by people with the verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the event's name is its meaning; schemas/README.md describes each")]
pub enum CustodyEvent {
    Collected,
    Sealed,
    Stored,
    TransferReleased,
    TransferReceived,
    TransferRefused,
    Returned,
    Accessed,
    Examined,
    Copied,
    Encrypted,
    Decrypted,
    Disclosed,
    IntegrityChecked,
    SealBroken,
    Resealed,
    HoldPlaced,
    HoldLifted,
    KeyCompromised,
    Amended,
    Disposed,
}

impl CustodyEntry {
    /// An entry of `event` with everything else unsaid.
    pub fn new(
        event: CustodyEvent,
        seq: u64,
        prev: Sha256Digest,
        occurred_at: UtcTime,
        recorded_at: UtcTime,
    ) -> Self {
        Self {
            seq,
            prev,
            event,
            occurred_at,
            recorded_at,
            late_reason: None,
            actor: Party::default(),
            counterparty: None,
            from: None,
            to: None,
            location: None,
            purpose: None,
            authority: None,
            package_sha256: None,
            package_bytes: None,
            condition: None,
            seal_number: None,
            copies: None,
            witness: None,
            verification_report_sha256: None,
            note: None,
            attachments: Vec::new(),
        }
    }

    /// Checks what a schema can say and a type cannot.
    pub fn check(&self) -> Result<(), RecordError> {
        let says_file = self.package_sha256.is_some() && self.package_bytes.is_some();
        if self.event == CustodyEvent::Sealed && !says_file {
            return Err(RecordError::new("a sealed entry states digest and size of the file"));
        }
        Ok(())
    }
}

impl LedgerLine {
    /// The exact bytes of a line, without its newline.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        write_record(self)
    }

    /// Reads a line, without its newline, and the entry and signature it carries; the signature is verified.
    pub fn parse(line: &[u8]) -> Result<(CustodyEntry, SshSignature), LineError> {
        let parsed: Self = read_record(line)?;
        if parsed.to_bytes()? != line {
            return Err(RecordError::new("line is not written in its one form").into());
        }
        let entry: CustodyEntry = read_record(parsed.entry.as_bytes())?;
        entry.check()?;
        let signature = SshSignature::parse(parsed.signature.as_bytes())?;
        signature.verify(NAMESPACE_CUSTODY, parsed.entry.as_bytes())?;
        Ok((entry, signature))
    }
}

/// Why a line is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line or its entry is not a record of its form.
    #[error(transparent)]
    Malformed(#[from] RecordError),
    /// The signature is not one over this entry.
    #[error(transparent)]
    Signature(#[from] SshsigError),
}
