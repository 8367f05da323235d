//! Owns the proof of what the program prints and with which status it ends; refuses to repeat what the library proves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use holdfast_schemas::report::{Report, Verdict};
use support::{Story, allowed, key};

/// A folder with a good package, its ledger, a changed copy and a trust folder.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let mut story = Story::small();
        story.collection.host.name = Some("web\u{1b}[2J\u{202e}01".to_owned());
        let mut package = story.package();
        fs::write(desk.path("good.zip"), &package).unwrap();
        fs::write(desk.path("good.zip.custody.jsonl"), story.ledger(&package)).unwrap();
        fs::create_dir(desk.path("trust")).unwrap();
        fs::write(desk.path("trust/allowed_signers"), allowed(&key(2), "")).unwrap();
        let middle = package.len() / 2;
        package[middle] ^= 1;
        fs::write(desk.path("bad.zip"), package).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `verify` with these arguments; those that name a file of the desk are given its path.
    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-verifier"));
        command.arg("verify").current_dir(self.0.path());
        command.args(arguments).output().unwrap()
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_page_says_verdict_axes_and_what_to_do_without_a_colour() {
    let desk = Desk::new();
    let output = desk.verify(&["--trust", "trust", "good.zip"]);
    let page = text(&output.stdout);
    assert_eq!(status(&output), 10, "{page}");
    assert!(page.starts_with("VERIFIED WITH EXCEPTIONS\n"), "{page}");
    for told in
        ["Integrity", "Signer", "alex@example.gov", "custody.chain_unbroken", "What to do", "IR-2026-041"]
    {
        assert!(page.contains(told), "{told} in {page}");
    }
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_failed_package_says_to_stop() {
    let output = Desk::new().verify(&["bad.zip"]);
    let page = text(&output.stdout);
    assert_eq!(status(&output), 20);
    assert!(page.starts_with("FAILED\n") && page.contains("Do not repair, re-zip or re-save"), "{page}");
}

#[test]
fn several_packages_end_with_the_worst_and_one_report_a_line() {
    let output = Desk::new().verify(&["--json", "good.zip", "bad.zip", "good.zip"]);
    assert_eq!(status(&output), 20);
    let reports: Vec<Report> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<Verdict> = reports.iter().map(|report| report.headline).collect();
    assert_eq!(verdicts, [Verdict::CannotDetermine, Verdict::Failed, Verdict::CannotDetermine]);
}

#[test]
fn a_package_that_is_not_there_does_not_hide_the_others() {
    let desk = Desk::new();
    let output = desk.verify(&["--json", "absent.zip", "good.zip"]);
    assert_eq!((status(&output), text(&output.stdout).lines().count()), (64, 1));
    assert!(text(&output.stderr).contains("cannot open absent.zip"), "{}", text(&output.stderr));
    let output = desk.verify(&["--json", "absent.zip", "bad.zip"]);
    assert_eq!(status(&output), 20);
}

#[test]
fn wrong_usage_ends_with_64_and_prints_no_result() {
    let desk = Desk::new();
    for arguments in [
        &[][..],
        &["--at", "yesterday", "good.zip"],
        &["--expect-head", "abc", "good.zip"],
        &["--trust", "good.zip", "good.zip"],
        &["--trust", "nowhere", "good.zip"],
        &["--custody", "nowhere", "good.zip"],
        &["--custody", "trust", "good.zip"],
        &["--custody", "good.zip.custody.jsonl", "good.zip", "bad.zip"],
        &["trust"],
    ] {
        let output = desk.verify(arguments);
        assert_eq!((status(&output), &*output.stdout), (64, &b""[..]), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_no_package_cannot_be_determined() {
    let desk = Desk::new();
    fs::write(desk.path("note.zip"), "hello\n").unwrap();
    assert_eq!(status(&desk.verify(&["note.zip"])), 30);
}

#[test]
fn help_fits_a_screen_and_shows_examples() {
    let output = Desk::new().verify(&["--help"]);
    let help = text(&output.stdout);
    assert_eq!(status(&output), 0);
    assert!(help.lines().count() <= 40, "{help}");
    assert_eq!(help.matches("  holdfast-verifier verify").count(), 2, "{help}");
}

#[test]
fn a_renamed_package_is_judged_the_same() {
    let desk = Desk::new();
    // The folder inside has another name than the file.
    let output = desk.verify(&["--json", "good.zip"]);
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.findings.iter().any(|finding| finding.code == "container.well_formed"));
}
