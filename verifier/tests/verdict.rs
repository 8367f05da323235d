//! Owns the proof of the five axes and the verdict for packages that nobody tampered with; refuses tampering, which
//! `tampering.rs` has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::Outcome;
use holdfast_schemas::report::{Axis, Status, Verdict};
use holdfast_verifier::Trust;
use support::{Judged, Story, allowed, at, codes, key, public, report, standing, trust};

const FOR_SEALS: &str = "namespaces=\"holdfast-seal-v1\"";

#[test]
fn good_package_with_trust_and_ledger_is_verified_but_for_its_missing_timestamp() {
    let story = Story::small();
    let package = story.package();
    let ledger = story.ledger(&package);
    let trust = trust(&allowed(&key(2), FOR_SEALS));
    let report = Judged { trust: Some(&trust), ledger: Some(&ledger), ..Judged::default() }.report(&package);
    assert_eq!(report.headline, Verdict::VerifiedWithExceptions);
    let axes = Axis::ALL.map(|axis| (standing(&report, axis), codes(&report, axis)));
    let good = || (Status::Good, Vec::new());
    let untimed = (Status::Exception, vec!["time.token_absent"]);
    assert_eq!(axes, [good(), good(), untimed, good(), good()]);
    assert_eq!((report.basis.files_compared, report.basis.bytes_hashed), (2, 46));
}

#[test]
fn without_a_trust_folder_the_signer_stays_unknown() {
    let report = report(&Story::small().package());
    assert_eq!(report.headline, Verdict::CannotDetermine);
    assert_eq!(codes(&report, Axis::Integrity), Vec::<&str>::new());
    assert_eq!(codes(&report, Axis::Signer), ["signer.no_trust_folder"]);
    assert_eq!(codes(&report, Axis::Custody), ["custody.no_ledger"]);
}

#[test]
fn a_one_time_key_alone_leaves_the_signer_unknown() {
    let story = Story { examiner: None, ..Story::small() };
    let trust = trust(&allowed(&key(2), FOR_SEALS));
    let report = Judged { trust: Some(&trust), ..Judged::default() }.report(&story.package());
    assert_eq!(
        (report.headline, codes(&report, Axis::Signer)),
        (Verdict::CannotDetermine, vec!["signer.no_examiner"])
    );
}

#[test]
fn keys_are_judged_by_the_trust_folder() {
    let package = Story::small().package();
    let unlisted = allowed(&key(9), FOR_SEALS);
    let for_git = allowed(&key(2), "namespaces=\"git\"");
    for (line, code, verdict) in [
        (&*unlisted, "signer.unknown_key", Verdict::CannotDetermine),
        (&*for_git, "signer.key_not_for_seals", Verdict::Failed),
        ("no key here\n", "signer.trust_malformed", Verdict::CannotDetermine),
    ] {
        let trust = trust(line);
        let report = Judged { trust: Some(&trust), ..Judged::default() }.report(&package);
        assert!(codes(&report, Axis::Signer).contains(&code), "{:?}", codes(&report, Axis::Signer));
        assert_eq!(report.headline, verdict, "{line}");
    }
    let (listed, revoked) = (allowed(&key(2), FOR_SEALS), public(&key(2)).to_openssh());
    let trust = Trust::from_files(Some(listed.as_bytes()), Some(revoked.as_bytes()), None);
    let report = Judged { trust: Some(&trust), ..Judged::default() }.report(&package);
    assert_eq!(
        (report.headline, codes(&report, Axis::Signer)),
        (Verdict::Failed, vec!["signer.revoked_key"])
    );
}

#[test]
fn an_expired_key_fails_at_a_named_time_and_leaves_the_question_open_now() {
    let package = Story::small().package();
    // Valid until two hours after sealing; "now" is a day after.
    let until = at(7_200).basic();
    let trust = trust(&allowed(&key(2), &format!("valid-before=\"{}\"", until.replace('T', ""))));
    let judged = |time| Judged { trust: Some(&trust), at: time, ..Judged::default() }.report(&package);
    let open = judged(None);
    let outside = vec!["signer.key_outside_validity"];
    assert_eq!((open.headline, codes(&open, Axis::Signer)), (Verdict::CannotDetermine, outside.clone()));
    let within = judged(Some(at(100)));
    // A time that nothing proves explains a good key and does not make it certain.
    assert_eq!(codes(&within, Axis::Signer), ["signer.trusted"]);
    assert_eq!(standing(&within, Axis::Signer), Status::Exception);
    let late = judged(Some(at(10_000)));
    assert_eq!((late.headline, codes(&late, Axis::Signer)), (Verdict::Failed, outside));
}

#[test]
fn what_could_not_be_had_is_an_exception_and_counted() {
    let mut story = Story::small();
    story.refuse("/etc/shadow", Outcome::Denied);
    story.refuse("/etc/nothing", Outcome::Missing);
    let report = report(&story.package());
    assert_eq!(codes(&report, Axis::Integrity), Vec::<&str>::new());
    assert_eq!(codes(&report, Axis::Completeness), ["completeness.exceptions"]);
    let finding = report.findings.iter().find(|finding| finding.code == "completeness.exceptions").unwrap();
    assert!(finding.found.contains("1 access denied"), "{}", finding.found);
}

#[test]
fn a_drill_says_so_and_stays_whole() {
    let mut story = Story::small();
    story.collection.exercise = true;
    let report = report(&story.package());
    assert_eq!((report.exercise, standing(&report, Axis::Integrity)), (Some(true), Status::Good));
    assert!(report.findings.iter().any(|finding| finding.code == "seal.exercise"));
}

#[test]
fn an_empty_collection_is_whole() {
    let report = report(&Story::of(&[]).package());
    assert_eq!(codes(&report, Axis::Integrity), Vec::<&str>::new());
    assert!(report.findings.iter().any(|finding| finding.code == "integrity.payload_matches"));
}

#[test]
fn the_head_kept_elsewhere_must_end_the_ledger() {
    let story = Story::small();
    let package = story.package();
    let ledger = story.ledger(&package);
    let lines: Vec<&[u8]> = ledger.split_inclusive(|byte| *byte == b'\n').collect();
    let [first, last] = [0, 1].map(|at: usize| Sha256Digest::of(lines[at].trim_ascii_end()));
    for (head, expected) in [(last, vec![]), (first, vec!["custody.head_differs"])] {
        let judged = Judged { ledger: Some(&ledger), head: Some(head), ..Judged::default() };
        assert_eq!(codes(&judged.report(&package), Axis::Custody), expected);
    }
}

#[test]
fn threads_do_not_change_the_report() {
    let noise: Vec<u8> =
        (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let names: Vec<String> = (0..700).map(|n| format!("/var/log/{n}")).collect();
    let mut files: Vec<(&str, &[u8])> =
        names.iter().zip(noise.chunks(3_000)).map(|(name, content)| (name.as_str(), content)).collect();
    files.insert(5, ("/var/log/big", &noise));
    let mut package = Story::of(&files).package();
    for threads in [2, 3, 8] {
        assert_eq!(Judged::default().report_with(&package, threads), report(&package), "{threads} threads");
    }
    package[500_000] ^= 1;
    let changed = report(&package);
    assert_eq!(changed.headline, Verdict::Failed);
    assert_eq!(Judged::default().report_with(&package, 4), changed);
}

#[test]
fn every_finding_says_what_its_check_shows_and_does_not_show() {
    let report = report(&Story::small().package());
    for finding in &report.findings {
        assert!(!finding.shows.is_empty() && !finding.does_not_show.is_empty(), "{}", finding.code);
        let told = format!("{} {}", finding.found, finding.shows).to_lowercase();
        for claim in ["authentic", "tamper-proof", "admissible"] {
            assert!(!told.contains(claim), "{told}");
        }
    }
}
