//! Owns the question what is missing: exceptions counted and named by artifact; refuses to call silence completeness.

use holdfast_schemas::collection::{ArtifactCounts, Collection};
use holdfast_schemas::item::Outcome;

use super::findings::Findings;
use super::records::Tally;
use super::rules;

/// Artifacts that are named with their exceptions.
const NAMED: usize = 3;

/// Judges what was asked for and is not here whole and still.
pub(super) fn check(tally: &Tally, collection: Option<&Collection>, findings: &mut Findings) {
    let Some(collection) = collection.filter(|_| tally.complete && !tally.uncounted) else {
        findings.add(
            &rules::UNREAD,
            None,
            "What was attempted cannot be told: the records could not be read, or not all be counted.",
        );
        return;
    };
    if tally.items_root.leaves() == 0 {
        findings.add(
            &rules::EXCEPTIONS,
            None,
            "Nothing was attempted: the package holds no record of anything.",
        );
        return;
    }
    for interruption in &collection.interruptions {
        let found = format!(
            "Collecting ended early on {}, {}: {}.",
            interruption.at.for_people(),
            interruption.reason,
            interruption.consequence
        );
        findings.add(&rules::INTERRUPTED, None, found);
    }
    let exceptions: Vec<(Outcome, u64)> = Outcome::ALL
        .into_iter()
        .filter(|outcome| outcome.is_exception())
        .map(|outcome| (outcome, tally.total(outcome)))
        .filter(|(_, count)| *count > 0)
        .collect();
    if exceptions.is_empty() {
        if collection.interruptions.is_empty() {
            let (missing, collected) = (tally.total(Outcome::Missing), tally.total(Outcome::Collected));
            let found = format!(
                "Everything that was asked for and present on the host was collected: {collected} items. {missing} that were looked for are not on that host."
            );
            findings.add(&rules::NOTHING_MISSING, None, found);
        }
        return;
    }
    let told: Vec<String> =
        exceptions.iter().map(|(outcome, count)| format!("{count} {}", outcome.in_words())).collect();
    let found = format!(
        "Not everything is here whole: {}. Most of them in {}.",
        told.join(", "),
        gravest(&tally.counts)
    );
    findings.add(&rules::EXCEPTIONS, None, found);
}

/// The artifacts with most exceptions.
fn gravest(counts: &[ArtifactCounts]) -> String {
    let exceptions = |counts: &ArtifactCounts| -> u64 {
        Outcome::ALL
            .into_iter()
            .filter(|outcome| outcome.is_exception())
            .map(|outcome| counts.count(outcome))
            .sum()
    };
    let mut ranked: Vec<(u64, &str)> =
        counts.iter().map(|counts| (exceptions(counts), counts.artifact.as_str())).collect();
    ranked.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let named = ranked.into_iter().filter(|(count, _)| *count > 0).take(NAMED);
    named.map(|(count, artifact)| format!("{artifact} ({count})")).collect::<Vec<_>>().join(", ")
}
