//! Owns the verdict: every check in its order, and the report they add up to; refuses to judge anything it has not read
//! itself.

mod completeness;
mod container;
mod custody;
mod ending;
mod findings;
mod payload;
mod records;
pub mod rules;
mod seal;
mod signer;
mod tags;
mod time;

use std::io::{self, Read};

use holdfast_schemas::bag::TAG_FILES;
use holdfast_schemas::collection::Collection;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::{Axis, AxisReport, Basis, Claims, REPORT_FORMAT, Report, Status, Verdict};
use holdfast_schemas::seal::{SEAL_MEMBER, timestamp_member};
use holdfast_schemas::text::for_people;
use holdfast_schemas::time::UtcTime;

use crate::open::{Evidence, Lines, MAX_WHOLE, MemberReader};
use crate::trust::Trust;
use container::{Layout, ORDER_FILES};
use findings::Findings;
use records::{InStep, Tally, content_fault};
use seal::ReadSeal;
use signer::JudgedAt;
use tags::{TagDigests, read_whole};

/// Largest signature file and largest token that are read.
const MAX_PROOF: u64 = 64 << 10;
/// Largest sealed statement.
const MAX_STATEMENT: u64 = 1 << 20;

/// What a package is judged by.
pub struct Context<'a> {
    /// The trust folder.
    pub trust: Option<&'a Trust>,
    /// The custody ledger.
    pub ledger: Option<&'a mut dyn Read>,
    /// The head of the ledger that somebody else kept: SHA-256 of its last line.
    pub expected_head: Option<Sha256Digest>,
    /// The time that keys are judged at where no timestamp proves one.
    pub at: Option<UtcTime>,
    /// The verifying machine's clock.
    pub now: UtcTime,
    /// Threads to use.
    pub threads: usize,
}

/// Judges a package. `name` is the file's name, for the report. An error is the verifier's, not the package's.
pub fn verify(evidence: &dyn Evidence, name: &str, mut context: Context<'_>) -> io::Result<Report> {
    let mut findings = Findings::default();
    let supplied = (context.trust.is_some(), context.ledger.is_some());
    let mut outcome = Outcome::default();
    match container::check(evidence, &mut findings)? {
        Some(layout) => check_members(evidence, &layout, &mut context, &mut findings, &mut outcome)?,
        None => {
            completeness::check(&outcome.tally, None, &mut findings);
            findings.add(
                &rules::UNREAD,
                None,
                "Nothing further was checked, because the file does not have the form of a package.",
            );
        }
    }
    match findings.take_unreadable() {
        Some(error) => Err(error),
        None => Ok(report(name, evidence.len(), &context, supplied, findings, &outcome)),
    }
}

/// What checking brought to light beside findings.
#[derive(Default)]
struct Outcome {
    tally: Tally,
    seal: Option<ReadSeal>,
    collection: Option<Collection>,
    principal: Option<String>,
    proven: Option<UtcTime>,
}

fn check_members(
    evidence: &dyn Evidence,
    layout: &Layout,
    context: &mut Context<'_>,
    findings: &mut Findings,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let mut lines = |name: &str| open_lines(evidence, layout, name, findings);
    let (manifest, items) = (lines("manifest-sha256.txt"), lines("items.jsonl"));
    let actions = lines("actions.jsonl");
    let mut in_step = InStep::new(manifest, items);
    let digests =
        payload::read_all(evidence, layout, context.threads, |read| in_step.member(&read, findings))?;
    let (tally, [manifest, items]) = in_step.finish(findings);
    outcome.tally = tally;
    let actions = actions.and_then(|lines| records::check_actions(lines, findings));

    let mut whole = |name| read_whole(evidence, layout, name, MAX_WHOLE, findings);
    let [collection, declaration, info] = ["collection.json", "bagit.txt", "bag-info.txt"].map(&mut whole);
    let statement = read_whole(evidence, layout, SEAL_MEMBER, MAX_STATEMENT, findings);
    let mut tag_digests = TagDigests::default();
    let digest = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(Sha256Digest::of);
    let found = [digest(&collection), items, actions, digest(&declaration), digest(&info), manifest];
    for (name, digest) in TAG_FILES.into_iter().zip(found) {
        tag_digests.note(name, digest);
    }
    let [order, order_signature] =
        ORDER_FILES.map(|name| digest(&read_whole(evidence, layout, name, MAX_WHOLE, findings)));
    tag_digests.note(ORDER_FILES[0], order);
    tag_digests.note(ORDER_FILES[1], order_signature);
    let tagmanifest = tags::check_manifest(evidence, layout, &tag_digests, findings);
    outcome.collection = collection.and_then(|bytes| tags::read_collection(&bytes, findings));
    outcome.seal = seal::read(statement, layout, findings);
    let statement = outcome.seal.as_ref().map(ReadSeal::statement);
    tags::check_bag(
        declaration.as_deref(),
        info.as_deref(),
        outcome.collection.as_ref(),
        statement,
        findings,
    );
    if let Some(statement) = statement {
        seal::check_order(statement, layout, order, findings);
    }
    completeness::check(&outcome.tally, outcome.collection.as_ref(), findings);
    check_proofs(evidence, layout, context, digests, tagmanifest, findings, outcome)?;
    if !findings.worse_than_good(Axis::Integrity) {
        let (files, bytes) = (outcome.tally.files, outcome.tally.bytes);
        findings.add(
            &rules::WELL_FORMED,
            None,
            "The file has exactly the form of a sealed package, with nothing hidden in it.",
        );
        findings.add(
            &rules::PAYLOAD_MATCHES,
            None,
            format!("All {files} files ({bytes} bytes) and their records match what was sealed."),
        );
    }
    Ok(())
}

/// Seal, signatures, timestamps, trust and custody.
fn check_proofs(
    evidence: &dyn Evidence,
    layout: &Layout,
    context: &mut Context<'_>,
    digests: payload::FileDigests,
    tagmanifest: Option<Sha256Digest>,
    findings: &mut Findings,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let mut signatures = signer::Signatures::default();
    if let Some(seal) = &outcome.seal {
        seal::check(
            seal,
            layout,
            digests,
            tagmanifest,
            &outcome.tally,
            outcome.collection.as_ref(),
            findings,
        );
        let file =
            |name: &str, findings: &mut Findings| read_whole(evidence, layout, name, MAX_PROOF, findings);
        signatures =
            signer::check_signatures(seal, |name| layout.tail_member(name).is_some(), file, findings);
        let announced = seal.statement().signers.len();
        let signature_files = layout.tail.iter().filter(|entry| {
            entry.header.name.ends_with(".sig") && entry.name_below(&layout.folder).starts_with("seal/")
        });
        if signature_files.count() > announced {
            findings.add(
                &rules::MEMBER_ORDER,
                Some("seal/"),
                "There is a signature that the seal does not announce.",
            );
        }
        let tokens = read_tokens(evidence, layout, findings);
        outcome.proven = time::check(
            &tokens,
            &signatures,
            seal.statement(),
            outcome.collection.as_ref(),
            context.trust,
            findings,
        );
    }
    let at = match (outcome.proven, context.at) {
        (Some(time), _) => JudgedAt::Proven(time),
        (None, Some(time)) => JudgedAt::Asked(time),
        (None, None) => JudgedAt::Now(context.now),
    };
    let named = outcome.collection.as_ref().and_then(|collection| collection.examiner.principal.as_deref());
    outcome.principal = signer::check_trust(&signatures, context.trust, at, named, findings);
    let collector = outcome.seal.as_ref().and_then(ReadSeal::collector);
    let package = custody::Package {
        id: outcome.seal.as_ref().map(ReadSeal::package_id),
        file: (digests.whole, evidence.len()),
        collector: collector.as_ref(),
        expected_head: context.expected_head,
    };
    custody::check(context.ledger.take(), &package, findings)
}

fn read_tokens(evidence: &dyn Evidence, layout: &Layout, findings: &mut Findings) -> Vec<(String, Vec<u8>)> {
    let names = (1..).map(timestamp_member).take_while(|name| layout.tail_member(name).is_some());
    names
        .filter_map(|name| Some((name.clone(), read_whole(evidence, layout, &name, MAX_PROOF, findings)?)))
        .collect()
}

fn open_lines<'e>(
    evidence: &'e dyn Evidence,
    layout: &Layout,
    name: &str,
    findings: &mut Findings,
) -> Option<Lines<'e>> {
    let entry = layout.tail_member(name)?;
    match MemberReader::open(evidence, entry) {
        Ok(reader) => Some(Lines::new(reader)),
        Err(fault) => {
            content_fault(&fault, name, findings);
            None
        }
    }
}

fn report(
    name: &str,
    bytes: u64,
    context: &Context<'_>,
    supplied: (bool, bool),
    findings: Findings,
    outcome: &Outcome,
) -> Report {
    let findings = findings.into_list();
    let headline = Report::verdict(&findings);
    let axes = Axis::ALL.map(|axis| {
        let status = Report::axis_status(&findings, axis);
        AxisReport { axis, status, sentence: sentence(axis, status, outcome) }
    });
    Report {
        format: REPORT_FORMAT.to_owned(),
        verifier: format!("holdfast-verifier {}", env!("CARGO_PKG_VERSION")),
        verified_at: context.now,
        package: for_people(name),
        package_bytes: Some(bytes),
        package_id: outcome.seal.as_ref().map(ReadSeal::package_id),
        exercise: outcome.seal.as_ref().map(|seal| seal.statement().exercise),
        headline,
        axes: axes.to_vec(),
        findings,
        claims: outcome
            .seal
            .as_ref()
            .zip(outcome.collection.as_ref())
            .map(|(seal, collection)| claims(seal, collection)),
        basis: Basis {
            trust: supplied.0,
            custody: supplied.1,
            files_compared: outcome.tally.files,
            bytes_hashed: outcome.tally.bytes,
        },
    }
}

fn claims(seal: &ReadSeal, collection: &Collection) -> Claims {
    let examiner = &collection.examiner;
    let statement = seal.statement();
    Claims {
        collection_id: for_people(&collection.collection_id),
        case: collection.case.as_deref().map(for_people),
        host: collection.host.name.as_deref().map(for_people),
        examiner: examiner.name.as_deref().or(examiner.principal.as_deref()).map(for_people),
        profile: for_people(&collection.profile),
        tool: for_people(&format!("{} {}", collection.tool.name, collection.tool.version)),
        started_at: collection.clock.start.utc,
        sealed_at: statement.sealed_at,
        items: statement.items,
        payload_files: statement.payload_files,
        payload_bytes: statement.payload_bytes,
    }
}

/// The answer to an axis's question, in plain words.
fn sentence(axis: Axis, status: Status, outcome: &Outcome) -> String {
    let text = match (axis, status) {
        (Axis::Integrity, Status::Good) => "Every file matches what was sealed.",
        (Axis::Integrity, Status::Bad) => "At least one part differs from what was sealed.",
        (Axis::Integrity, _) => "Whether it is whole could not be determined.",
        (Axis::Signer, Status::Good) => {
            let principal = outcome.principal.as_deref().map(for_people).unwrap_or_default();
            return format!("Sealed with a key that the trust folder lists as {principal}.");
        }
        (Axis::Signer, Status::Bad) => "The seal's signature cannot be relied on.",
        (Axis::Signer, _) => "Whose it is could not be determined.",
        (Axis::Time, Status::Good) => {
            let time = outcome.proven.map(|time| time.for_people()).unwrap_or_default();
            return format!("It existed by {time}, by a trusted timestamp.");
        }
        (Axis::Time, Status::Bad) => "A timestamp does not belong to this package or was changed.",
        (Axis::Time, _) if outcome.proven.is_some() => {
            "A trusted timestamp shows when it existed; the host's clock differed."
        }
        (Axis::Time, _) => "No trusted timestamp shows when it existed.",
        (Axis::Completeness, Status::Good) => "Everything that was asked for and present was collected.",
        (Axis::Completeness, Status::Unknown) => "What is missing could not be determined.",
        (Axis::Completeness, _) => "Something that was asked for is not here whole.",
        (Axis::Custody, Status::Good) => "No custody gaps were found in the records supplied.",
        (Axis::Custody, Status::Bad) => "The custody ledger was changed or belongs to another package.",
        (Axis::Custody, Status::Unknown) => "Who held it could not be determined.",
        (Axis::Custody, Status::Exception) => "The custody ledger needs explaining.",
    };
    text.to_owned()
}

/// The sentence that stands under the verdict.
pub(crate) fn headline_sentence(report: &Report) -> String {
    match report.headline {
        Verdict::Verified => {
            let signer = report.axes.iter().find(|axis| axis.axis == Axis::Signer).map(|axis| axis.sentence.as_str()).unwrap_or_default();
            format!("Every file matches what was sealed. {signer} No custody gaps were found in the records supplied.")
        }
        Verdict::VerifiedWithExceptions => "The content is intact; the exceptions listed need explanation.".to_owned(),
        Verdict::Failed => "Do not rely on it; preserve it as it is. At least one part differs from what was sealed, or cannot be relied on.".to_owned(),
        Verdict::CannotDetermine => "Something that a verdict needs is missing or unreadable. This is neither a pass nor a failure.".to_owned(),
    }
}
