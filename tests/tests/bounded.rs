//! Owns the proof that the verifier's memory is bounded whatever it is given: packages and ledgers made to be large where a
//! careless reader holds them whole; refuses an estimate: the kernel itself denies more than the bound.

#![allow(clippy::disallowed_methods, reason = "tests start programs, also those of the host")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its numbers"
)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use holdfast_schemas::bag::TAG_MANIFEST;
use holdfast_schemas::container::Method;
use holdfast_schemas::custody::{CustodyEntry, CustodyEvent};
use holdfast_schemas::json::write_record;
use holdfast_schemas::report::{Report, Status, Verdict};
use holdfast_schemas::seal::SEAL_MEMBER;
use holdfast_schemas::text::Salt;
use holdfast_tests::forge::{Hands, Ledger, Member, Package, Random, stolen_key, stranger};
use holdfast_tests::{Capture, Captured, programs, workplace};

/// Memory that the verifier may have, whatever it reads.
const BOUND_MIB: usize = 64;
/// Memory that it may have besides for each core: a stack, and batches under way. The kernel counts a stack as a whole.
const EACH_CORE_MIB: usize = 4;

/// A real package by the real agent, to be made large.
struct Seed {
    captured: Captured,
    workplace: tempfile::TempDir,
}

impl Seed {
    fn collect() -> Self {
        let workplace = workplace();
        let file = workplace.path().join("f");
        fs::write(&file, "x\n").unwrap();
        let captured = Capture::of_path(workplace.path(), file.to_str().unwrap()).run();
        Self { captured, workplace }
    }

    fn package(&self) -> Package {
        Package::open(&self.captured.package)
    }

    /// An insider's hands: what they seal is refused for nothing but what it holds.
    fn insider(&self) -> Hands<'static> {
        let examiner = Some(stolen_key(&self.workplace.path().join("examiner")));
        Hands { collector: stranger(1), examiner, authority: None }
    }

    /// Judges a package by the program, within the bound.
    fn judge(&self, what: &str, package: &Package, ledger: Option<&dyn Fn(&Path)>) -> Report {
        let path = self.workplace.path().join("forged.zip");
        fs::write(&path, package.write().bytes).unwrap();
        if let Some(ledger) = ledger {
            ledger(&self.workplace.path().join("forged.zip.custody.jsonl"));
        }
        self.judge_file(what, &path)
    }

    fn judge_file(&self, what: &str, path: &Path) -> Report {
        let bound = (BOUND_MIB + EACH_CORE_MIB * available_parallelism().unwrap().get()) * 1024;
        let answer = self.workplace.path().join("report.json");
        let begun = Instant::now();
        // `ulimit -d` bounds every page that a process may write to; an allocation past it fails and ends the program.
        let wall = format!("ulimit -d {bound} && exec \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &wall, "sh"])
            .arg(programs().join("holdfast-verifier"))
            .args(["verify", "--json", "--trust"])
            .arg(&self.captured.trust)
            .arg(path)
            .stdout(File::create(&answer).unwrap())
            .spawn()
            .unwrap();
        let (status, peak) = wait(child);
        let size = path.metadata().unwrap().len() / 1024;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{what}, {size} KiB: status {status:?}, peak {peak} KiB of {bound}, in {seconds:.1} s");
        let text = fs::read(&answer).unwrap();
        let report: Report =
            serde_json::from_slice(&text).unwrap_or_else(|_| panic!("{what}: no report, status {status:?}"));
        assert_eq!(status, Some(i32::from(report.headline.exit_status())), "{what}");
        assert!(peak < bound, "{what}: peak of {peak} KiB");
        report
    }
}

/// Waits for a child; its exit status and the most memory it was seen to have had, in KiB.
fn wait(mut child: Child) -> (Option<i32>, usize) {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let seen = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = seen.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), peak);
        }
        sleep(Duration::from_millis(1));
    }
}

fn codes(report: &Report, at_least: Status) -> Vec<&str> {
    let mut codes: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.status >= at_least)
        .map(|finding| finding.code.as_str())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// The package with so many members more, each with its record.
fn with_members(seed: &Seed, count: usize, name: impl Fn(usize) -> String) -> Package {
    let mut package = seed.package();
    let (record, first) = (package.items().remove(0), package.members.remove(0));
    package.members.retain(|member| !member.name.starts_with("data/state/"));
    let (mut members, mut lines) = (Vec::new(), Vec::new());
    let mut random = Random(1);
    for (id, number) in (1..).zip(0..count) {
        let content = format!("{number}\n");
        let member = Member::new(&name(number), first.modified, Method::Deflated, content.as_bytes());
        let mut record = record.clone();
        (record.id, record.member) = (id, Some(member.name.clone()));
        record.size = Some(content.len() as u64);
        record.sha256 = Some(holdfast_schemas::digest::Sha256Digest::of(content.as_bytes()));
        record.salt = Salt(random.bytes(16).try_into().unwrap());
        lines.extend(write_record(&record).unwrap());
        lines.push(b'\n');
        members.push(member);
    }
    package.members.splice(0..0, members);
    package.member("items.jsonl").write(&lines);
    package.mend_counts();
    package.mend_bag_info();
    package.mend_manifests();
    package.seal(&seed.insider(), |_| {});
    package
}

#[test]
fn two_hundred_thousand_members_and_a_long_ledger_are_judged_within_the_bound() {
    const MEMBERS: usize = 200_000;
    const ENTRIES: usize = 20_000;
    let seed = Seed::collect();
    let package = with_members(&seed, MEMBERS, |number| format!("data/fs/many/{}/{number}", number / 1_000));
    let begun = Ledger::open(&seed.captured.ledger).for_package(&package, &stranger(1));
    let write_ledger = |path: &Path| {
        let mut ledger = begun.clone();
        for number in 3..=ENTRIES {
            let now = ledger.entry(2).recorded_at;
            let entry =
                CustodyEntry::new(CustodyEvent::Accessed, number as u64, ledger.link(number - 1), now, now);
            ledger.sign(number, &entry, &stranger(1));
        }
        fs::write(path, ledger.write()).unwrap();
    };
    let report = seed.judge("200,000 members and 20,000 custody entries", &package, Some(&write_ledger));
    assert_eq!(report.headline, Verdict::VerifiedWithExceptions);
    assert_eq!(report.basis.files_compared, MEMBERS as u64);
    assert_eq!(codes(&report, Status::Unknown), Vec::<&str>::new());
}

#[test]
fn members_with_the_longest_names_a_zip_can_hold_are_refused_within_the_bound() {
    let seed = Seed::collect();
    let long = "n".repeat(65_400);
    let package = with_members(&seed, 1_200, |number| format!("data/fs/{number}{long}"));
    let report = seed.judge("1,200 names of 64 KiB", &package, None);
    assert!(codes(&report, Status::Bad).contains(&"container.name_forbidden"));
}

#[test]
fn tag_files_made_to_be_held_whole_are_refused_within_the_bound() {
    const LARGEST: usize = 1 << 20;
    let seed = Seed::collect();
    // Texts that take many times their own size once they are parsed into values.
    let lists: [(&str, &str); 3] =
        [("empty lines", "\n"), ("arrays of nothing", "[],"), ("short keys", "{\"\":0},")];
    for (what, unit) in lists {
        for name in ["collection.json", "bag-info.txt", TAG_MANIFEST] {
            let mut package = seed.package();
            let body = unit.repeat((LARGEST - 64) / unit.len());
            let text = if unit == "\n" { body } else { format!("{{\"format\":[{body}0]}}") };
            package.member(name).write(text.as_bytes());
            package.seal(&seed.insider(), |_| {});
            let report = seed.judge(&format!("{name} of {what}"), &package, None);
            assert_ne!(
                codes(&report, Status::Unknown),
                ["custody.no_ledger"],
                "{name} of {what} goes unreported"
            );
        }
    }
}

#[test]
fn a_collection_whose_lists_are_endless_is_judged_within_the_bound() {
    let seed = Seed::collect();
    let mut package = seed.package();
    package.edit_collection(|collection| collection.recipients = vec![String::new(); 340_000]);
    // Written with spaces, as the agent does, it is not accepted for being the record's own rendering.
    let spaced = [b" ", package.member("collection.json").content()].concat();
    package.member("collection.json").write(&spaced);
    package.mend_tag_manifest();
    package.seal(&seed.insider(), |_| {});
    let report = seed.judge("340,000 recipients", &package, None);
    // Just small enough to be read whole.
    assert_eq!(report.headline, Verdict::VerifiedWithExceptions);
}

#[test]
fn a_statement_made_to_be_held_whole_is_refused_within_the_bound() {
    let seed = Seed::collect();
    let mut package = seed.package();
    let signers = "[],".repeat((1 << 20) / 3 - 30);
    package.member(SEAL_MEMBER).write(format!("{{\"signers\":[{signers}0]}}").as_bytes());
    let report = seed.judge("a statement of a million brackets", &package, None);
    assert!(codes(&report, Status::Bad).contains(&"seal.malformed"));
}

#[test]
fn records_without_an_end_are_refused_within_the_bound() {
    let seed = Seed::collect();
    for name in ["items.jsonl", "actions.jsonl", "manifest-sha256.txt"] {
        let mut package = seed.package();
        package.member(name).write(&vec![b' '; 256 << 20]);
        package.mend_tag_manifest();
        // The statement counts lines; this member has one.
        package.seal(&seed.insider(), |_| {});
        let report = seed.judge(&format!("{name} of one line of 256 MiB"), &package, None);
        assert_eq!(report.headline, Verdict::Failed);
    }
}

#[test]
fn records_that_all_name_other_artifacts_are_counted_within_the_bound() {
    const RECORDS: u64 = 150_000;
    let seed = Seed::collect();
    let mut package = seed.package();
    let mut record = package.items().remove(0);
    (record.member, record.size, record.sha256) = (None, None, None);
    record.outcome = holdfast_schemas::item::Outcome::Missing;
    record.metadata = None;
    let mut lines = package.member("items.jsonl").content().to_vec();
    for id in 2..RECORDS {
        (record.id, record.artifact) = (id, format!("{id} {}", "x".repeat(500)));
        lines.extend(write_record(&record).unwrap());
        lines.push(b'\n');
    }
    package.member("items.jsonl").write(&lines);
    package.mend_tag_manifest();
    package.seal(&seed.insider(), |_| {});
    let report = seed.judge("150,000 artifacts", &package, None);
    assert!(matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine));
}

#[test]
fn a_member_that_truly_holds_a_gigabyte_is_read_within_the_bound() {
    let seed = Seed::collect();
    let mut package = seed.package();
    package.members[0].write(&vec![0; 1 << 30]);
    package.mend_records();
    package.mend_manifests();
    package.seal(&seed.insider(), |_| {});
    let report = seed.judge("a member of 1 GiB", &package, None);
    assert_eq!(report.headline, Verdict::VerifiedWithExceptions);
    assert!(report.basis.bytes_hashed >= 1 << 30);
}

#[test]
fn ledgers_without_an_end_are_refused_within_the_bound() {
    let seed = Seed::collect();
    let package = seed.package();
    let endless = |path: &Path| File::create(path).unwrap().set_len(1 << 40).unwrap();
    let report = seed.judge("a ledger of one line of 1 TiB", &package, Some(&endless));
    assert!(codes(&report, Status::Bad).contains(&"custody.line_malformed"));
    let broken = |path: &Path| {
        let mut file = BufWriter::new(File::create(path).unwrap());
        (0..1_000_000).for_each(|_| file.write_all(b"{}\n").unwrap());
        file.flush().unwrap();
    };
    let report = seed.judge("a ledger of a million broken lines", &package, Some(&broken));
    assert!(codes(&report, Status::Bad).contains(&"custody.line_malformed"));
}

#[test]
fn a_directory_that_claims_more_than_there_is_is_refused_within_the_bound() {
    let seed = Seed::collect();
    let path = seed.workplace.path().join("sparse.zip");
    let bytes = seed.package().write().bytes;
    let mut file = File::create(&path).unwrap();
    file.write_all(&bytes[..4]).unwrap();
    // Nothing but zeros between the first signature and end records that call them the directory.
    let directory =
        holdfast_schemas::container::Directory { entries: 1 << 40, offset: 4, bytes: (1 << 41) - 4 };
    file.set_len(1 << 41).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(&directory.render_end()).unwrap();
    drop(file);
    let report = seed.judge_file("a directory of 2 TiB", &path);
    assert!(codes(&report, Status::Bad).contains(&"container.directory_malformed"));
}
