//! Owns the proof that each lie of `tests/vectors` is told apart: every folder through the library and the program, with
//! exactly the verdict, findings and exit status that the specification asks for; refuses a rule without a lie.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::{Report, Status, Verdict};
use holdfast_schemas::time::UtcTime;
use holdfast_tests::forge::{Ledger, Package};
use holdfast_tests::{run, verifier};
use holdfast_verifier::{Context, FileEvidence, Trust, rules, verify};
use serde_json::Value;

/// Rules of status bad that no vector needs to break, with the reason.
const WITHOUT_VECTOR: [(&str, &str); 0] = [];

/// Fewer vectors than this would not cover the format.
const LEAST_VECTORS: usize = 32;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// A folder of `tests/vectors`.
struct Vector {
    name: String,
    package: PathBuf,
    ledger: Option<PathBuf>,
    trust: PathBuf,
    verdict: Verdict,
    codes: BTreeSet<String>,
    absent: BTreeSet<String>,
    expect_head: Option<Sha256Digest>,
}

impl Vector {
    fn open(folder: &Path) -> Self {
        let expected: Value =
            serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let told = fs::read_to_string(folder.join("lie.txt")).unwrap();
        assert!(
            told.ends_with(".\n") && told.lines().count() == 1,
            "{}: a lie is one sentence",
            folder.display()
        );
        let set =
            |name: &str| -> BTreeSet<String> { serde_json::from_value(expected[name].clone()).unwrap() };
        let own = folder.join("trust");
        let ledger = folder.join("package.zip.custody.jsonl");
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            package: folder.join("package.zip"),
            ledger: ledger.exists().then_some(ledger),
            trust: if own.exists() { own } else { vectors().join("trust") },
            verdict: serde_json::from_value(expected["verdict"].clone()).unwrap(),
            codes: set("codes"),
            absent: set("absent"),
            expect_head: expected.get("expect_head").map(|head| head.as_str().unwrap().parse().unwrap()),
        }
    }

    /// Every folder but the trust folder that they share.
    fn all() -> Vec<Self> {
        let folders = fs::read_dir(vectors()).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<PathBuf> = folders.filter(|path| !path.ends_with("trust")).collect();
        folders.sort();
        folders.iter().map(|folder| Self::open(folder)).collect()
    }

    fn named(name: &str) -> Self {
        Self::open(&vectors().join(name))
    }

    /// What the library says, with or without the trust folder.
    fn by_the_library(&self, trust: Option<&Path>, now: UtcTime, threads: usize) -> Report {
        let trust = trust.map(|folder| Trust::open(folder).unwrap());
        let mut ledger = self.ledger.as_ref().map(|path| File::open(path).unwrap());
        let context = Context {
            trust: trust.as_ref(),
            ledger: ledger.as_mut().map(|file| file as &mut dyn Read),
            expected_head: self.expect_head,
            at: None,
            now,
            threads,
        };
        verify(&FileEvidence::open(&self.package).unwrap(), "package.zip", context).unwrap()
    }

    /// What the program says, with or without the trust folder; its exit status must be the verdict's.
    fn by_the_program(&self, trust: Option<&Path>, verdict: Verdict) -> Report {
        let mut command = verifier();
        command.arg("verify").arg("--json");
        if let Some(trust) = trust {
            command.arg("--trust").arg(trust);
        }
        if let Some(head) = self.expect_head {
            command.args(["--expect-head", &head.to_string()]);
        }
        let output = run(command.arg(&self.package), i32::from(verdict.exit_status()));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Later than every vector was made.
fn later() -> UtcTime {
    UtcTime::from_unix(2_000_000_000, 0).unwrap()
}

/// Codes of findings that are worse than good.
fn worse(report: &Report) -> BTreeSet<String> {
    let findings = report.findings.iter().filter(|finding| finding.status > Status::Good);
    findings.map(|finding| finding.code.clone()).collect()
}

/// What is wrong with a report, in words.
fn complaint(vector: &Vector, report: &Report) -> Option<String> {
    let (found, all) = (worse(report), report.findings.iter().map(|finding| finding.code.clone()).collect());
    let forbidden: Vec<&String> = vector.absent.intersection(&all).collect();
    let fits = report.headline == vector.verdict && found == vector.codes && forbidden.is_empty();
    (!fits).then(|| {
        let missing: Vec<&String> = vector.codes.difference(&found).collect();
        let unexpected: Vec<&String> = found.difference(&vector.codes).collect();
        format!(
            "{}: {} instead of {}; missing {missing:?}, unexpected {unexpected:?}, forbidden {forbidden:?}",
            vector.name, report.headline, vector.verdict
        )
    })
}

#[test]
fn every_lie_gets_exactly_the_verdict_and_the_findings_it_deserves() {
    let vectors = Vector::all();
    let mut complaints = Vec::new();
    for vector in &vectors {
        let library = vector.by_the_library(Some(&vector.trust), later(), 1);
        complaints.extend(complaint(vector, &library));
        let several = vector.by_the_library(Some(&vector.trust), later(), 4);
        assert_eq!(several, library, "{}: threads change the report", vector.name);
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    println!("{} vectors judged by the library", vectors.len());
}

#[test]
fn the_program_says_of_every_lie_what_the_library_says() {
    for vector in Vector::all() {
        let program = vector.by_the_program(Some(&vector.trust), vector.verdict);
        assert_eq!(complaint(&vector, &program), None);
        let library = vector.by_the_library(Some(&vector.trust), program.verified_at, 1);
        assert_eq!(program, library, "{}", vector.name);
    }
}

#[test]
fn every_rule_of_status_bad_is_broken_by_a_lie() {
    let broken: BTreeMap<String, Vec<String>> =
        Vector::all().into_iter().fold(BTreeMap::new(), |mut broken, vector| {
            for code in vector.codes {
                broken.entry(code).or_default().push(vector.name.clone());
            }
            broken
        });
    for (code, reason) in WITHOUT_VECTOR {
        assert!(!broken.contains_key(code), "{code} has a vector; {reason}");
    }
    let excepted = |code: &str| WITHOUT_VECTOR.iter().any(|(listed, _)| *listed == code);
    let unbroken: Vec<&str> = rules::ALL
        .iter()
        .filter(|rule| rule.status == Status::Bad)
        .map(|rule| rule.code)
        .filter(|code| !broken.contains_key(*code) && !excepted(code))
        .collect();
    assert_eq!(unbroken, Vec::<&str>::new());
    let known: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.code).collect();
    for code in broken.keys() {
        assert!(known.contains(code.as_str()), "{code} is no rule's");
    }
}

#[test]
fn every_folder_holds_one_whole_lie() {
    let folders: Vec<String> = Vector::all().iter().map(|vector| vector.name.clone()).collect();
    assert!(folders.len() >= LEAST_VECTORS, "{} vectors", folders.len());
    let known = ["package.zip", "package.zip.custody.jsonl", "expected.json", "lie.txt", "trust"];
    let untampered = fs::read(Vector::named("untampered").package).unwrap();
    let ledger = fs::read(Vector::named("untampered").ledger.unwrap()).unwrap();
    for name in &folders {
        let folder = vectors().join(name);
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().file_name();
            assert!(
                known.iter().any(|known| file == **known),
                "{name}: {} belongs to no vector",
                file.display()
            );
        }
        let vector = Vector::open(&folder);
        let package = fs::read(&vector.package).unwrap();
        assert!(package.len() < 16 << 10, "{name}: {} bytes", package.len());
        let same_ledger = vector.ledger.is_none_or(|path| fs::read(path).unwrap() == ledger);
        let own_trust = folder.join("trust").exists();
        let tells_nothing =
            package == untampered && same_ledger && !own_trust && vector.expect_head.is_none();
        assert_eq!(tells_nothing, name == "untampered", "{name} is the untampered package");
    }
}

#[test]
fn the_untampered_package_is_verified_with_trust_and_left_open_without() {
    let base = Vector::named("untampered");
    for report in [
        base.by_the_library(Some(&base.trust), later(), 1),
        base.by_the_program(Some(&base.trust), Verdict::Verified),
    ] {
        assert_eq!((report.headline, worse(&report)), (Verdict::Verified, BTreeSet::new()));
    }
    for report in [base.by_the_library(None, later(), 1), base.by_the_program(None, Verdict::CannotDetermine)]
    {
        let unknown = ["signer.no_trust_folder", "time.no_roots"].map(str::to_owned);
        let allowed: BTreeSet<String> =
            unknown.into_iter().chain(["time.clock_unsynchronised".to_owned()]).collect();
        assert_eq!(report.headline, Verdict::CannotDetermine);
        assert!(worse(&report).contains("signer.no_trust_folder") && worse(&report).is_subset(&allowed));
    }
}

#[test]
fn a_package_taken_apart_and_written_again_is_the_same_file() {
    let base = Vector::named("untampered");
    assert_eq!(Package::open(&base.package).write().bytes, fs::read(&base.package).unwrap());
    let ledger = base.ledger.unwrap();
    assert_eq!(Ledger::open(&ledger).write(), fs::read(&ledger).unwrap());
}
