//! Owns the making of the tampering vectors: `cargo run -p holdfast-tests --example make-vectors` collects real packages
//! with the real agent and writes every folder of `tests/vectors` anew, or those of a new folder that it is given; refuses
//! to run the verifier, so that what a vector expects is what the specification says and never what the verifier finds.

#![allow(clippy::disallowed_methods, reason = "one lie is told by the host's own tools")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers fails by panicking")]

mod container;
mod custody;
mod proofs;
mod records;
mod workshop;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_schemas::report::Verdict;
use serde_json::json;

use workshop::{Lie, Workshop};

/// Largest package of a vector.
const MAX_PACKAGE: usize = 16 << 10;

fn main() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    // Elsewhere nothing is taken away.
    let vectors = std::env::args_os().nth(1).map_or_else(|| committed.clone(), PathBuf::from);
    if vectors == committed && vectors.exists() {
        fs::remove_dir_all(&vectors).unwrap();
    }
    assert!(!vectors.exists(), "{} is there already", vectors.display());
    let workshop = Workshop::open();
    for (name, content) in workshop.trust() {
        write(&vectors.join("trust").join(name), &content);
    }
    let mut names = BTreeSet::new();
    let untampered =
        Lie::new("untampered", "Nobody lied: this is the package that every other one was made from.");
    let untampered = untampered.package(workshop.base().write().bytes).ledger(workshop.ledger().write());
    let lies = [
        vec![untampered.expect(Verdict::Verified, &[])],
        container::lies(&workshop),
        records::lies(&workshop),
        proofs::lies(&workshop),
        custody::lies(&workshop),
    ];
    for lie in lies.into_iter().flatten() {
        assert!(names.insert(lie.name), "{} is told twice", lie.name);
        publish(&vectors.join(lie.name), &lie);
    }
    println!("{} vectors in {}", names.len(), vectors.display());
}

fn publish(folder: &Path, lie: &Lie) {
    assert!(
        !lie.package.is_empty() && lie.package.len() <= MAX_PACKAGE,
        "{}: {} bytes",
        lie.name,
        lie.package.len()
    );
    write(&folder.join("package.zip"), &lie.package);
    if let Some(ledger) = &lie.ledger {
        write(&folder.join("package.zip.custody.jsonl"), ledger);
    }
    for (name, content) in lie.trust.iter().flatten() {
        write(&folder.join("trust").join(name), content);
    }
    write(&folder.join("lie.txt"), format!("{}\n", lie.told).as_bytes());
    let mut expected = json!({ "verdict": lie.verdict, "codes": lie.codes, "absent": lie.absent });
    if let Some(head) = lie.expect_head {
        expected["expect_head"] = json!(head);
    }
    let expected = serde_json::to_string_pretty(&expected).unwrap();
    write(&folder.join("expected.json"), format!("{expected}\n").as_bytes());
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
