//! Owns the timestamps over the collector's signature and the host's clock against them; refuses tokens for other data.

use holdfast_schemas::collection::Collection;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::Axis;
use holdfast_schemas::seal::SealStatement;
use holdfast_schemas::time::UtcTime;
use holdfast_schemas::timestamp::{TimestampError, TimestampRoots, TimestampToken};

use super::findings::Findings;
use super::rules;
use super::signer::Signatures;
use crate::trust::Trust;

/// Seconds that the host's clock may differ from an authority's before it needs explaining.
const TOLERATED: i64 = 300;
/// Seconds by which a token may precede the statement that it covers: both clocks tick in seconds.
const TICK: i64 = 2;

/// Checks every token, in the order of the members; returns the earliest trusted time.
pub(super) fn check(
    tokens: &[(String, Vec<u8>)],
    signatures: &Signatures,
    statement: &SealStatement,
    collection: Option<&Collection>,
    trust: Option<&Trust>,
    findings: &mut Findings,
) -> Option<UtcTime> {
    let imprint = signatures.collector_file.as_deref().map(Sha256Digest::of);
    let roots = trust.and_then(|trust| trust.roots.as_ref());
    let trusted = tokens.iter().filter_map(|(name, bytes)| {
        let imprint = imprint?;
        let time = check_token(name, bytes, &imprint, roots, findings)?;
        compare_clock(name, time, statement, findings);
        Some(time)
    });
    let earliest = trusted.min();
    if tokens.is_empty() {
        let asked = if statement.timestamp_authorities.is_empty() {
            "none was asked for".to_owned()
        } else {
            format!("none came from {}", statement.timestamp_authorities.join(", "))
        };
        let sealed_at = statement.sealed_at.for_people();
        let found = format!(
            "The package has no trusted timestamp: {asked}. That it was sealed on {sealed_at} rests on the host's clock alone."
        );
        findings.add(&rules::TOKEN_ABSENT, None, found);
    }
    let unsynchronised =
        collection.is_some_and(|collection| collection.clock.end.synchronised == Some(false));
    if earliest.is_none() && unsynchronised && findings.worse_than_good(Axis::Time) {
        let found = "The host's system did not believe that its own clock was synchronised.";
        findings.add(&rules::CLOCK_UNSYNCHRONISED, None, found);
    }
    earliest
}

fn check_token(
    name: &str,
    bytes: &[u8],
    imprint: &Sha256Digest,
    roots: Option<&TimestampRoots>,
    findings: &mut Findings,
) -> Option<UtcTime> {
    let none = TimestampRoots::default();
    let judged =
        TimestampToken::from_stored(bytes).and_then(|token| token.verify(imprint, roots.unwrap_or(&none)));
    match judged {
        Ok(timestamp) => {
            let time = timestamp.gen_time;
            let found = format!(
                "The package existed by {}, by the clock of {}.",
                time.for_people(),
                timestamp.authority
            );
            findings.add(&rules::TOKEN_TRUSTED, Some(name), found);
            return Some(time);
        }
        Err(TimestampError::ImprintMismatch { .. }) => {
            findings.add(
                &rules::TOKEN_OTHER_DATA,
                Some(name),
                "This timestamp was made for something else, not for this package.",
            );
        }
        Err(TimestampError::UntrustedAuthority { authority, .. }) if roots.is_none() => {
            let found = format!(
                "This timestamp comes from {authority}, and no list of trusted authorities (tsa-roots.pem) was given."
            );
            findings.add(&rules::NO_ROOTS, Some(name), found);
        }
        Err(TimestampError::UntrustedAuthority { authority, reason }) => {
            let found = format!(
                "This timestamp comes from {authority}, which the organisation's list does not lead to: {reason}."
            );
            findings.add(&rules::AUTHORITY_UNPINNED, Some(name), found);
        }
        Err(error) => {
            findings.add(
                &rules::TOKEN_BROKEN,
                Some(name),
                format!("This timestamp was changed or is damaged: {error}."),
            );
        }
    }
    None
}

fn compare_clock(name: &str, time: UtcTime, statement: &SealStatement, findings: &mut Findings) {
    let ahead = statement.sealed_at.unix_seconds().saturating_sub(time.unix_seconds());
    if !(-TOLERATED..=TICK).contains(&ahead) {
        let (seconds, direction) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
        let found = format!(
            "When it was sealed, the host's clock was {seconds} seconds {direction} the timestamp authority's."
        );
        findings.add(&rules::CLOCK_DIFFERS, Some(name), found);
    }
}
