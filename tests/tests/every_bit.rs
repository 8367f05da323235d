//! Owns the proof that no bit of a package is free: every bit flipped, every byte deleted, every length cut to, and the
//! verifier reports each; refuses to sample where all can be tried.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its numbers"
)]

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};
use std::time::Instant;

use holdfast_schemas::report::Verdict;
use holdfast_tests::forge::{Random, Specimen};
use holdfast_tests::workplace;

/// Changes that a thread takes at a time.
const BATCH: usize = 64;
/// Changes that are told one by one when they went unreported.
const TOLD: usize = 20;

/// Tries `count` changes on all cores and tells which of them went unreported. `change` makes one of them of a copy of the
/// package and undoes it when it is asked again.
fn try_all(
    what: &str,
    specimen: &Specimen,
    count: usize,
    is_reported: impl Fn(usize, &mut Vec<u8>) -> bool + Sync,
) {
    assert!(
        !specimen.is_reported(&specimen.package, 1),
        "the package itself is reported, so that nothing could be missed"
    );
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let begun = Instant::now();
    scope(|scope| {
        for _ in 0..available_parallelism().unwrap().get() {
            scope.spawn(|| {
                let mut copy = specimen.package.clone();
                loop {
                    let from = next.fetch_add(BATCH, Ordering::Relaxed);
                    if from >= count {
                        return;
                    }
                    for number in from..count.min(from + BATCH) {
                        if !is_reported(number, &mut copy) {
                            missed.lock().unwrap().push(number);
                        }
                        debug_assert_eq!(copy.len(), specimen.package.len());
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    let (bytes, caught) = (specimen.package.len(), count - missed.len());
    println!(
        "{what} of {bytes} bytes: tried {count}, caught {caught}, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(missed.is_empty(), "{what}: unreported are {:?}", &missed[..missed.len().min(TOLD)]);
}

/// One tiny file, packed, signed by collector and examiner, with one token.
fn small(workplace: &tempfile::TempDir) -> Specimen {
    let file = workplace.path().join("f");
    fs::write(&file, "x\n").unwrap();
    Specimen::collect(workplace.path(), file.to_str().unwrap())
}

fn with_flipped<T>(copy: &mut Vec<u8>, bit: usize, judge: impl FnOnce(&Vec<u8>) -> T) -> T {
    copy[bit / 8] ^= 1 << (bit % 8);
    let judged = judge(copy);
    copy[bit / 8] ^= 1 << (bit % 8);
    judged
}

#[test]
fn every_single_flipped_bit_is_reported_without_the_help_of_a_ledger() {
    let workplace = workplace();
    let specimen = small(&workplace);
    try_all("flipped bits", &specimen, specimen.package.len() * 8, |bit, copy| {
        with_flipped(copy, bit, |changed| specimen.is_reported(changed, 1))
    });
}

#[test]
fn every_flipped_byte_fails_beside_the_ledger() {
    let workplace = workplace();
    let specimen = small(&workplace);
    try_all(
        "bytes with a flipped bit, beside the ledger",
        &specimen,
        specimen.package.len(),
        |byte, copy| {
            with_flipped(copy, byte * 8 + byte % 8, |changed| {
                let report = specimen.judge(changed, Some(&specimen.ledger), 1);
                // Where the form of the file breaks, it is not read as far as its ledger.
                matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine)
            })
        },
    );
}

#[test]
fn every_single_deleted_byte_is_reported() {
    let workplace = workplace();
    let specimen = small(&workplace);
    try_all("deleted bytes", &specimen, specimen.package.len(), |byte, copy| {
        let mut changed = copy.clone();
        changed.remove(byte);
        specimen.is_reported(&changed, 1)
    });
}

#[test]
fn every_single_length_that_a_package_is_cut_to_is_reported() {
    let workplace = workplace();
    let specimen = small(&workplace);
    try_all("cut lengths", &specimen, specimen.package.len(), |length, copy| {
        specimen.is_reported(&copy[..length].to_vec(), 1)
    });
}

#[test]
fn thousands_of_flipped_bits_of_a_large_package_are_reported_by_several_threads() {
    const FLIPS: usize = 3_000;
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut random = Random(1);
    // Large enough that the verifier reads it with several threads, which it does from one MiB on.
    for number in 0..40 {
        fs::write(tree.join(format!("small {number}")), format!("{number}\n").repeat(number)).unwrap();
        fs::write(tree.join(format!("random {number}")), random.bytes(30_000)).unwrap();
    }
    let specimen = Specimen::collect(workplace.path(), &format!("{}/**", tree.display()));
    assert!(specimen.package.len() > 1 << 20);
    let bits = specimen.package.len() * 8;
    // A third anywhere, a third among the last members and the directory, a third in the seal and behind it.
    let places: Vec<usize> = (0..FLIPS)
        .map(|number| {
            let last = [bits, 40_000 * 8, 14_000 * 8][number % 3];
            bits - 1 - random.below(last)
        })
        .collect();
    try_all("flipped bits", &specimen, FLIPS, |number, copy| {
        with_flipped(copy, places[number], |changed| specimen.is_reported(changed, 2))
    });
}
