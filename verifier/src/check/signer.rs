//! Owns the signatures over the statement and whose keys they are; refuses to call a key trusted that the trust folder
//! does not list for this purpose at the proven time.

use holdfast_schemas::allowed_signers::Standing;
use holdfast_schemas::report::Status;
use holdfast_schemas::seal::{Role, signature_member};
use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::sshsig::{NAMESPACE_SEAL, SshSignature};
use holdfast_schemas::time::UtcTime;

use super::findings::Findings;
use super::rules;
use super::seal::ReadSeal;
use crate::trust::Trust;

/// By which time keys are judged.
#[derive(Debug, Clone, Copy)]
pub(super) enum JudgedAt {
    /// A trusted timestamp.
    Proven(UtcTime),
    /// The time that the verifier's user names, which proves nothing.
    Asked(UtcTime),
    /// The verifier's clock, since nothing proves when the package was sealed.
    Now(UtcTime),
}

impl JudgedAt {
    fn time(self) -> UtcTime {
        let (Self::Proven(time) | Self::Asked(time) | Self::Now(time)) = self;
        time
    }
}

/// What the signatures come to.
#[derive(Default)]
pub(super) struct Signatures {
    /// The collector's key, once its signature verified.
    pub collector: Option<PublicKey>,
    /// Bytes of the collector's signature file: what timestamps cover.
    pub collector_file: Option<Vec<u8>>,
    /// The examiner's key, once its signature verified.
    pub examiner: Option<PublicKey>,
    /// Whether the seal announces an examiner at all.
    pub examiner_announced: bool,
}

/// Verifies every announced signature; `file` gives a member's bytes.
pub(super) fn check_signatures(
    seal: &ReadSeal,
    is_there: impl Fn(&str) -> bool,
    mut file: impl FnMut(&str, &mut Findings) -> Option<Vec<u8>>,
    findings: &mut Findings,
) -> Signatures {
    let mut signatures = Signatures::default();
    for signer in &seal.statement().signers {
        let member = signature_member(signer.role);
        signatures.examiner_announced |= signer.role == Role::Examiner;
        let Some(bytes) = file(&member, findings) else {
            // What is there and cannot be read has been told.
            if !is_there(&member) {
                let found =
                    format!("The seal announces a signature by the {}, and it is not there.", signer.role);
                findings.add(&rules::SIGNATURE_ABSENT, Some(&member), found);
            }
            continue;
        };
        let verified = verify(seal, &bytes, signer.key().ok(), signer.role, findings);
        match signer.role {
            Role::Collector => {
                // A timestamp over a signature that does not hold proves nothing of this package.
                signatures.collector_file = verified.is_some().then_some(bytes);
                signatures.collector = verified;
            }
            Role::Examiner => signatures.examiner = verified,
        }
    }
    if signatures.collector.is_some() {
        findings.add(
            &rules::UNCHANGED,
            None,
            "The seal is the one that the collection's one-time key signed; it has not changed since.",
        );
    }
    signatures
}

fn verify(
    seal: &ReadSeal,
    bytes: &[u8],
    announced: Option<PublicKey>,
    role: Role,
    findings: &mut Findings,
) -> Option<PublicKey> {
    let member = signature_member(role);
    let signature = match SshSignature::parse(bytes) {
        Ok(signature) if signature.namespace() == NAMESPACE_SEAL => signature,
        Ok(signature) => {
            let found =
                format!("The {role}'s signature was made for another purpose ({}).", signature.namespace());
            findings.add(&rules::SIGNATURE_MALFORMED, Some(&member), found);
            return None;
        }
        Err(error) => {
            findings.add(
                &rules::SIGNATURE_MALFORMED,
                Some(&member),
                format!("The {role}'s signature cannot be read: {error}."),
            );
            return None;
        }
    };
    if Some(signature.public_key()) != announced.as_ref() {
        let found = format!("The {role}'s signature was made with another key than the seal announces.");
        findings.add(&rules::SIGNATURE_DIFFERS, Some(&member), found);
        return None;
    }
    if let Err(error) = signature.verify(NAMESPACE_SEAL, seal.bytes()) {
        let found = format!("The {role}'s signature does not belong to this seal: {error}.");
        findings.add(&rules::SIGNATURE_DIFFERS, Some(&member), found);
        return None;
    }
    announced
}

/// Judges whose key sealed the package. Returns the principal, where the trust folder lists one.
pub(super) fn check_trust(
    signatures: &Signatures,
    trust: Option<&Trust>,
    at: JudgedAt,
    named: Option<&str>,
    findings: &mut Findings,
) -> Option<String> {
    let Some(trust) = trust else {
        let found = "No trust folder was given, so nobody's key can be recognised. Ask the organisation for it and give it with --trust.";
        findings.add(&rules::NO_TRUST_FOLDER, None, found);
        return None;
    };
    for problem in &trust.problems {
        findings.add(
            &rules::TRUST_MALFORMED,
            None,
            format!("The trust folder cannot be read whole: {problem}."),
        );
    }
    let keys = [signatures.examiner.as_ref(), signatures.collector.as_ref()];
    if let Some(revoked) =
        keys.into_iter().flatten().find(|key| trust.revoked.as_ref().is_some_and(|list| list.contains(key)))
    {
        let found = "The organisation has revoked the key that sealed this package.";
        findings.add(&rules::REVOKED_KEY, Some(&revoked.fingerprint()), found);
        return None;
    }
    let Some(examiner) = &signatures.examiner else {
        // Signatures that do not hold have been told; where not even the one-time key's does, nobody sealed this.
        if signatures.collector.is_some() && !signatures.examiner_announced {
            let found = "Only a one-time key sealed this package, and nobody vouches for it. Who sealed it must be shown in another way.";
            findings.add(&rules::NO_EXAMINER, None, found);
        }
        return None;
    };
    let principal = judge(examiner, trust, at, findings);
    if let (Some(principal), Some(named)) = (&principal, named)
        && let Some(list) = &trust.allowed_signers
        && !matches!(list.lookup_as(named, examiner, NAMESPACE_SEAL, at.time()), Standing::Good { .. })
    {
        let found = format!("The package names {named} as its examiner, and the key belongs to {principal}.");
        findings.add(&rules::OTHER_PRINCIPAL, Some(&examiner.fingerprint()), found);
    }
    principal
}

fn judge(key: &PublicKey, trust: &Trust, at: JudgedAt, findings: &mut Findings) -> Option<String> {
    let (time, status, clause) = match at {
        JudgedAt::Proven(time) => (time, Status::Bad, "the earliest proof of the package is of another time"),
        JudgedAt::Asked(time) => (time, Status::Bad, "the time that --at names is another"),
        JudgedAt::Now(time) => {
            (time, Status::Unknown, "nothing proves that the package was sealed within that time")
        }
    };
    let fingerprint = key.fingerprint();
    let subject = Some(fingerprint.as_str());
    let standing = trust
        .allowed_signers
        .as_ref()
        .map_or(Standing::UnknownKey, |list| list.lookup(key, NAMESPACE_SEAL, time));
    match standing {
        Standing::Good { principal } => {
            let found = format!("The seal was signed with a key that the trust folder lists as {principal}.");
            if let JudgedAt::Asked(time) = at {
                let time = time.for_people();
                let found = format!(
                    "{found} Nothing proves when; the key was judged at {time} because --at says so."
                );
                findings.add_as(&rules::TRUSTED, Status::Exception, subject, found);
            } else {
                findings.add(&rules::TRUSTED, subject, found);
            }
            return Some(principal);
        }
        Standing::UnknownKey => {
            let found = "The trust folder does not list the examiner's key that signed this package.";
            findings.add(&rules::UNKNOWN_KEY, subject, found);
        }
        Standing::WrongNamespace { principal, .. } => {
            let found =
                format!("The trust folder lists this key as {principal}, but not for sealing packages.");
            findings.add(&rules::NOT_FOR_SEALS, subject, found);
        }
        Standing::NotYetValid { principal, since } => {
            let found = format!("The key of {principal} is valid from {}, and {clause}.", since.for_people());
            findings.add_as(&rules::OUTSIDE_VALIDITY, status, subject, found);
        }
        Standing::Expired { principal, until } => {
            let found =
                format!("The key of {principal} was valid until {}, and {clause}.", until.for_people());
            findings.add_as(&rules::OUTSIDE_VALIDITY, status, subject, found);
        }
    }
    None
}
