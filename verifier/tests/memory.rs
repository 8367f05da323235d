//! Owns the proof that the verifier's memory does not grow with the package; refuses to measure anything but the program
//! itself.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_schemas::report::{Report, Verdict};
use support::{FOLDER, Story, archive, deflate};

/// The bound that the design states, in KiB.
const BOUND: u64 = 64 * 1024;

/// Runs the program on `package`; its report and its peak of resident memory in KiB.
#[expect(clippy::disallowed_methods, reason = "memory is measured from outside")]
fn measure(package: &Path) -> (Report, u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast-verifier"))
        .args(["verify", "--json"])
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    // The peak never falls, so that the last reading is the peak but for the last two milliseconds.
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), peak)
}

#[test]
fn a_hundred_thousand_members_fit_the_stated_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{FOLDER}.zip"));
    fs::write(&path, small_files().package()).unwrap();
    let (report, peak) = measure(&path);
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert!(found.contains(&"integrity.payload_matches"), "{found:?}");
    assert_eq!(report.basis.files_compared, 100_000);
    assert!(peak < BOUND, "{peak} KiB");
}

#[test]
fn bombs_of_every_kind_fit_the_stated_memory() {
    let endless = vec![b'z'; 300 << 20];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{FOLDER}.zip"));
    // One line that never ends, and many names of artifacts of nearly a mebibyte each.
    let line = |id: u64| {
        let mut item = support::item(id, "/x", holdfast_schemas::item::Outcome::Missing);
        item.artifact = format!("{id}{}", "a".repeat(900_000));
        support::line(&item)
    };
    let records: Vec<u8> = (1..=250).flat_map(line).collect();
    for (member, content) in [
        ("items.jsonl", &endless),
        ("items.jsonl", &records),
        ("manifest-sha256.txt", &endless),
        ("collection.json", &endless),
        ("bagit.txt", &endless),
    ] {
        let mut members = Story::small().sealed();
        let bomb = members.iter_mut().find(|found| found.name == member).unwrap();
        bomb.stream = Some(deflate(content));
        bomb.content.clone_from(content);
        fs::write(&path, archive(&members)).unwrap();
        let (report, peak) = measure(&path);
        assert!(matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine), "{member}");
        assert!(peak < BOUND, "{member}: {peak} KiB");
    }
}

/// For measuring by hand: `HOLDFAST_BENCH=/tmp/x cargo test --test memory -- --ignored` writes `/tmp/x.logs.zip` with
/// 400 MB of log lines in 200 files, and `/tmp/x.small.zip` with 100,000 small files.
#[test]
#[ignore = "writes large files for measuring by hand"]
fn write_large_packages() {
    let Some(path) = std::env::var("HOLDFAST_BENCH").ok() else { return };
    fs::write(format!("{path}.small.zip"), small_files().package()).unwrap();
    let mut state = 1u32;
    let mut line = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (host, port) = (state >> 24, state >> 8 & 0xffff);
        format!(
            "Nov 24 15:{:02}:{:02} web01 sshd[{}]: Failed password for root from 10.0.3.{host} port {port} ssh2\n",
            n / 60 % 60,
            n % 60,
            state >> 16
        )
    };
    let contents: Vec<Vec<u8>> =
        (0..200).map(|_| (0..22_000).flat_map(|n| line(n).into_bytes()).collect()).collect();
    let names: Vec<String> = (0..200).map(|n| format!("/var/log/auth.log.{n}")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&contents).map(|(name, content)| (&**name, &**content)).collect();
    fs::write(format!("{path}.logs.zip"), Story::of(&files).package()).unwrap();
}

fn small_files() -> Story {
    let names: Vec<String> = (0..100_000).map(|n| format!("/var/spool/{}/{n}", n / 1_000)).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, name.as_bytes())).collect();
    Story::of(&files)
}
