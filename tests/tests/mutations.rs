//! Owns the proof that no bytes bring the verifier down and none but the package's own are verified: garbage, and tens of
//! thousands of random changes of package, ledger and trust files; refuses to hide which change it was.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its numbers"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::scope;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_schemas::report::{Report, Verdict};
use holdfast_tests::forge::{Random, Specimen, judge, public_key, stolen_key};
use holdfast_tests::workplace;
use holdfast_verifier::Trust;

const MUTATIONS: u64 = 10_000;

/// Runs `test` for every number on two threads; a panic is told with its number.
fn for_each(what: &str, count: u64, test: impl Fn(u64) + Sync) {
    let one = |number: u64| {
        if catch_unwind(AssertUnwindSafe(|| test(number))).is_err() {
            panic!("{what}: number {number} failed; the panic above says how");
        }
    };
    scope(|scope| {
        scope.spawn(|| (0..count).step_by(2).for_each(one));
        (1..count).step_by(2).for_each(one);
    });
    println!("{what}: {count} tried");
}

fn specimen(workplace: &tempfile::TempDir) -> Specimen {
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(tree.join(name), format!("{name}\n").repeat(9)).unwrap();
    }
    Specimen::collect(workplace.path(), &format!("{}/**", tree.display()))
}

fn is_open_or_failed(report: &Report) -> bool {
    matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine)
}

#[test]
fn garbage_is_never_verified_and_never_brings_the_verifier_down() {
    let workplace = workplace();
    let specimen = specimen(&workplace);
    let end = specimen.package.len() - 22;
    for_each("random bytes", MUTATIONS, |number| {
        let mut random = Random(number);
        let length = random.below(3_000);
        let mut bytes = random.bytes(length);
        // Some begin like a package, some end like one, some do both.
        if number % 2 == 0 {
            bytes.splice(..0, specimen.package[..random.below(200)].iter().copied());
        }
        if number % 3 == 0 {
            let from = end - random.below(1_500);
            bytes.extend(&specimen.package[from..]);
        }
        assert!(is_open_or_failed(&specimen.judge(&bytes, Some(&bytes.clone()), 1)), "verdict is too good");
    });
}

#[test]
fn a_randomly_changed_package_is_never_verified() {
    let workplace = workplace();
    let specimen = specimen(&workplace);
    for_each("changed packages", MUTATIONS, |number| {
        let mut changed = specimen.package.clone();
        Random(number).mutate(&mut changed);
        if changed != specimen.package {
            assert!(specimen.is_reported(&changed, 1), "the change went unreported");
        }
    });
}

#[test]
fn a_randomly_changed_ledger_never_makes_a_package_verified() {
    let workplace = workplace();
    let specimen = specimen(&workplace);
    for_each("changed ledgers", MUTATIONS, |number| {
        let mut changed = specimen.ledger.clone();
        Random(number).mutate(&mut changed);
        if changed != specimen.ledger {
            let report = specimen.judge(&specimen.package, Some(&changed), 1);
            assert_ne!(report.headline, Verdict::Verified, "the change went unreported");
        }
    });
}

#[test]
fn a_randomly_changed_trust_folder_only_verifies_while_it_lists_the_very_key_and_root() {
    let workplace = workplace();
    let specimen = specimen(&workplace);
    let key = public_key(&stolen_key(&specimen.examiner)).to_openssh();
    let root = key_of_root(&specimen.trust[2]);
    let mut verified = 0;
    let counted = std::sync::Mutex::new(&mut verified);
    for_each("changed trust files", 3 * MUTATIONS, |number| {
        let mut files = specimen.trust.clone();
        Random(number).mutate(&mut files[usize::try_from(number % 3).unwrap()]);
        let [allowed, revoked, roots] = files.each_ref().map(Vec::as_slice);
        let trust = Trust::from_files(Some(allowed), Some(revoked), Some(roots));
        let report = judge(&specimen.package, Some(&specimen.ledger), &trust, 1);
        if report.headline == Verdict::Verified {
            **counted.lock().unwrap() += 1;
            assert!(String::from_utf8_lossy(allowed).contains(&key), "verified by a key that is not listed");
            assert!(!String::from_utf8_lossy(revoked).contains(&key), "verified by a revoked key");
            assert!(contains(&certificate(roots), &root), "verified by a root that is not listed");
        }
    });
    println!("changed trust files: {verified} of them still verify, and list key and root");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The bytes between the marks of a PEM file; empty where there are none.
fn certificate(pem: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(pem).into_owned();
    let body =
        text.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END"));
    let body: String = body.map(|(body, _)| body.split_whitespace().collect()).unwrap_or_default();
    STANDARD.decode(body).unwrap_or_default()
}

/// The uncompressed point of a root's P-256 key (RFC 5480 2.2), which follows its algorithm.
fn key_of_root(pem: &[u8]) -> Vec<u8> {
    let der = certificate(pem);
    // BIT STRING of 66 bytes, no unused bits, uncompressed.
    let at = der.windows(4).position(|window| window == [3, 0x42, 0, 4]).unwrap();
    der[at + 3..at + 68].to_vec()
}
