//! Owns the proof of what a capture does on a real host that is odd, hostile, busy or full; refuses simulated hosts.

#![allow(clippy::disallowed_methods, reason = "tests start programs and threads of their own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_schemas::action::ActionRecord;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{ItemKind, ItemRecord, Outcome};
use holdfast_schemas::json::read_record;
use holdfast_tests::package::{collection, item, items, member};
use holdfast_tests::{Authority, Capture, Captured, agent, run, stock, verifier, workplace};

fn everything_below(folder: &Path) -> String {
    format!("{}/**", folder.display())
}

/// Waits until `done` or panics after a minute.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn partial_in(folder: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "partial"))
}

fn noise(path: &Path, bytes: u64) {
    let mut random = fs::File::open("/dev/urandom").unwrap().take(bytes);
    std::io::copy(&mut random, &mut fs::File::create(path).unwrap()).unwrap();
}

/// Starts a capture of many files that do not shrink, and returns once evidence is being written.
fn capture_under_way(workplace: &Path) -> (Child, PathBuf) {
    let tree = workplace.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..3_000 {
        noise(&tree.join(format!("f{number:04}")), 100_000);
    }
    let output = workplace.join("evidence");
    let mut command = agent();
    command.args(["collect", "--path", &everything_below(&tree), "--output"]).arg(&output);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("evidence in the partial file", || {
        partial_in(&output).is_some_and(|path| path.metadata().is_ok_and(|found| found.len() > 20 << 20))
    });
    (child, output)
}

#[test]
fn hostile_names_and_kinds_survive_exactly_and_nothing_hangs() {
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let names: [&[u8]; 12] = [
        b"plain",
        b"\xff\xfe not text",
        b"new\nline",
        b"a=b%c$HOME",
        b"-rf",
        b"dot.",
        b" space ",
        b"CON.txt",
        b"README",
        b"readme",
        b"\x1b[2J\xe2\x80\xae",
        &[b'n'; 255],
    ];
    for (number, name) in names.iter().enumerate() {
        fs::write(tree.join(OsStr::from_bytes(name)), format!("content {number}")).unwrap();
    }
    stock("mkfifo", &["pipe"], &tree);
    let _listener = UnixListener::bind(tree.join("socket")).unwrap();
    symlink("loop", tree.join("loop")).unwrap();
    symlink("/nowhere", tree.join("dangling")).unwrap();
    symlink("/etc", tree.join("etc")).unwrap();
    fs::create_dir_all(tree.join("folder/empty")).unwrap();

    let captured = Capture::of_path(workplace.path(), &everything_below(&tree)).run();

    let items = items(&captured.package);
    let path = |name: &[u8]| [tree.as_os_str().as_bytes(), b"/", name].concat();
    let mut members = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let item = item(&items, &path(name));
        assert_eq!(item.outcome, Outcome::Collected);
        assert_eq!(item.source_path.is_some(), std::str::from_utf8(name).is_ok());
        let name = item.member.as_deref().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{name}");
        assert_eq!(member(&captured.package, name), format!("content {number}").as_bytes());
        members.push(name.to_ascii_lowercase());
    }
    members.sort();
    members.dedup();
    assert_eq!(members.len(), names.len(), "names that differ in case only stay apart");
    for (name, kind) in [
        (&b"pipe"[..], ItemKind::Fifo),
        (b"socket", ItemKind::Socket),
        (b"loop", ItemKind::Symlink),
        (b"dangling", ItemKind::Symlink),
        (b"etc", ItemKind::Symlink),
        (b"folder", ItemKind::Directory),
        (b"folder/empty", ItemKind::Directory),
    ] {
        let item = item(&items, &path(name));
        assert_eq!((item.kind, item.outcome), (kind, Outcome::NotRegular));
    }
    assert_eq!(item(&items, &path(b"etc")).metadata.as_ref().unwrap().link_target.as_deref(), Some("/etc"));
    assert!(
        !items
            .iter()
            .any(|item| item.source_path_raw.as_ref().is_some_and(|raw| raw.0.ends_with(b"/passwd"))),
        "a link was followed"
    );
    run(verifier().arg("verify").arg("--trust").arg(&captured.trust).arg(&captured.package), 10);
}

#[test]
fn endless_and_acting_files_of_the_kernel_are_left_alone() {
    let workplace = workplace();
    let begun = Instant::now();
    let mut capture = Capture::of_path(workplace.path(), "/proc/**");
    capture.arguments =
        ["--path", "/proc/**", "/dev/null", "/dev/zero", "/sys/**"].map(str::to_owned).to_vec();
    capture.status = 20;
    let captured = capture.run();
    assert!(begun.elapsed() < Duration::from_secs(60));
    let items = items(&captured.package);
    assert_eq!(item(&items, b"/proc").outcome, Outcome::ReadError);
    assert_eq!(item(&items, b"/dev/zero").kind, ItemKind::CharDevice);
}

#[test]
fn the_capture_never_collects_itself_or_what_earlier_ones_left() {
    let workplace = workplace();
    fs::write(workplace.path().join("evidence.txt"), "the evidence").unwrap();
    for round in 0..2 {
        let captured = Capture::of_path(workplace.path(), &everything_below(workplace.path())).run();
        for item in items(&captured.package) {
            let Some(path) = item.source_path.clone() else { continue };
            let own = path.contains("/evidence/unassigned_");
            assert_eq!(item.outcome == Outcome::SkippedByScope, own, "round {round}: {path}");
        }
    }
}

#[test]
fn access_times_are_left_alone_and_metadata_is_from_before_reading() {
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let file = tree.join("log");
    fs::write(&file, "line\n").unwrap();
    stock("touch", &["-a", "-d", "2020-01-02T03:04:05.678Z", "log"], &tree);
    rustix::fs::setxattr(&file, "user.origin", b"web", rustix::fs::XattrFlags::CREATE).unwrap();
    let before = file.metadata().unwrap();
    let captured = Capture::of_path(workplace.path(), &everything_below(&tree)).run();
    let after = file.metadata().unwrap();
    assert_eq!((before.atime(), before.atime_nsec()), (after.atime(), after.atime_nsec()));
    let items = items(&captured.package);
    let item = item(&items, file.as_os_str().as_bytes());
    assert_eq!(item.atime_preserved, Some(true));
    let metadata = item.metadata.as_ref().unwrap();
    assert_eq!(metadata.atime.unwrap().to_string(), "2020-01-02T03:04:05.678000000Z");
    assert_eq!(
        (metadata.inode, metadata.mode, metadata.uid),
        (before.ino(), before.mode() & 0o7777, before.uid())
    );
    assert!(metadata.xattrs.iter().any(|xattr| xattr.name == "user.origin" && xattr.value.0 == b"web"));
    assert_eq!(collection(&captured.package).footprint.access_times_changed, 0);
}

#[test]
fn a_log_that_grows_is_taken_up_to_its_size_when_opened_and_says_so() {
    let workplace = workplace();
    let log = workplace.path().join("log");
    noise(&log, 300 << 20);
    let stop = AtomicBool::new(false);
    let captured = thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::OpenOptions::new().append(true).open(&log).unwrap();
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"another line\n").unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut capture = Capture::of_path(workplace.path(), &log.display().to_string());
        capture.status = 10;
        let captured = capture.run();
        stop.store(true, Ordering::Relaxed);
        captured
    });
    let items = items(&captured.package);
    let item = item(&items, log.as_os_str().as_bytes());
    assert_eq!(item.outcome, Outcome::ChangedWhileRead);
    let size = item.metadata.as_ref().unwrap().size;
    assert_eq!(item.size, Some(size));
    assert!(item.size_after.unwrap() > size);
    let mut prefix = vec![0; usize::try_from(size).unwrap()];
    fs::File::open(&log).unwrap().read_exact(&mut prefix).unwrap();
    assert_eq!(
        item.sha256,
        Some(Sha256Digest::of(&prefix)),
        "exactly the bytes there were when it was opened"
    );
}

#[test]
fn without_root_everything_readable_is_taken_and_the_rest_is_named() {
    let workplace = workplace();
    fs::set_permissions(workplace.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (tree, output) = (workplace.path().join("tree"), workplace.path().join("evidence"));
    for folder in [&tree, &output] {
        fs::create_dir(folder).unwrap();
    }
    fs::set_permissions(&output, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(tree.join("open"), "open").unwrap();
    fs::write(tree.join("secret"), "secret").unwrap();
    fs::set_permissions(tree.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    // The programs may lie where only root can look.
    let program = workplace.path().join("holdfast-agent");
    fs::copy(holdfast_tests::programs().join("holdfast-agent"), &program).unwrap();
    let mut command = Command::new(&program);
    command.uid(65_534).gid(65_534).current_dir("/");
    command.args(["collect", "--path", &everything_below(&tree), "--output"]).arg(&output);
    let printed = run(&mut command, 10);
    assert!(String::from_utf8_lossy(&printed.stderr).contains("not running as root"));
    assert!(String::from_utf8_lossy(&printed.stdout).contains("access denied"));
    let package = fs::read_dir(&output)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension() == Some(OsStr::new("zip")));
    let items = items(&package.unwrap());
    assert_eq!(item(&items, tree.join("open").as_os_str().as_bytes()).outcome, Outcome::Collected);
    let denied = item(&items, tree.join("secret").as_os_str().as_bytes());
    assert_eq!(denied.outcome, Outcome::Denied);
    assert!(denied.error.is_some() && denied.metadata.is_some());
}

#[test]
fn every_item_has_its_entry_in_the_acquisition_log() {
    let workplace = workplace();
    let mut capture = Capture::of_path(workplace.path(), "");
    capture.arguments = Vec::new();
    capture.status = captured_status();
    let captured = capture.run();
    let items = items(&captured.package);
    let log = member(&captured.package, "actions.jsonl");
    let actions: Vec<ActionRecord> = log
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| read_record(line).unwrap())
        .collect();
    let logged: Vec<u64> = actions.iter().filter_map(|action| action.item).collect();
    assert_eq!(logged, items.iter().map(|item| item.id).collect::<Vec<_>>());
    assert!(actions.is_sorted_by_key(|action| action.monotonic_ns));
    let searched =
        |item: &ItemRecord| item.member.as_deref().is_some_and(|name| name.starts_with("data/fs/"));
    let first_file = items.iter().position(searched).unwrap();
    // The account of the capture itself comes last.
    let closing = ["definitions", "changes_during_capture"];
    let is_state =
        |item: &ItemRecord| item.kind == ItemKind::Table && !closing.contains(&item.artifact.as_str());
    let last_table = items.iter().rposition(is_state).unwrap();
    assert!(last_table < first_file, "live state comes first");
    assert_eq!(
        items.iter().find(|item| item.kind == ItemKind::Table).unwrap().artifact,
        "process_open_sockets"
    );
}

/// This very host may refuse something, as a sandbox does; a capture of it then ends with 10.
fn captured_status() -> i32 {
    if fs::read_link("/proc/1/exe").is_ok() { 0 } else { 10 }
}

#[test]
fn a_signal_ends_collecting_and_what_there_is_gets_sealed() {
    let workplace = workplace();
    let (child, output) = capture_under_way(workplace.path());
    stock("kill", &["-TERM", &child.id().to_string()], workplace.path());
    let printed = child.wait_with_output().unwrap();
    assert_eq!(printed.status.code(), Some(10), "{}", String::from_utf8_lossy(&printed.stderr));
    assert!(String::from_utf8_lossy(&printed.stdout).contains("stopped by a signal"));
    assert_eq!(partial_in(&output), None);
    let package = fs::read_dir(&output)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension() == Some(OsStr::new("zip")));
    assert_eq!(collection(package.as_ref().unwrap()).interruptions.len(), 1);
    let report = run(verifier().args(["verify", "--json"]).arg(package.unwrap()), 30);
    assert!(String::from_utf8_lossy(&report.stdout).contains("completeness.interrupted"));
}

#[test]
fn a_killed_capture_is_no_package_and_its_whole_items_are_recovered() {
    let workplace = workplace();
    let (mut child, output) = capture_under_way(workplace.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let partial = partial_in(&output).unwrap();
    let report = run(verifier().arg("verify").arg(&partial), 20);
    assert!(String::from_utf8_lossy(&report.stdout).contains("container.cut_off"));
    assert!(!Command::new("unzip").arg("-tq").arg(&partial).output().unwrap().status.success());

    let recovered = run(agent().arg("recover").arg(&partial), 10);
    assert!(String::from_utf8_lossy(&recovered.stdout).contains("recovered"));
    let package = partial.with_extension("");
    let report = run(verifier().args(["verify", "--json"]).arg(&package), 30);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    for code in ["integrity.payload_matches", "completeness.interrupted", "custody.chain_unbroken"] {
        assert!(report.contains(code), "{code}: {report}");
    }
    stock("unzip", &["-tq", &package.display().to_string()], workplace.path());
    let items = items(&package);
    assert!(items.iter().filter(|item| item.member.is_some()).count() > 20);
    for item in items.iter().filter(|item| item.kind == ItemKind::File) {
        let source = fs::read(item.source_path.as_ref().unwrap()).unwrap();
        assert_eq!(item.sha256, Some(Sha256Digest::of(&source)));
    }
    run(agent().arg("recover").arg(&partial), 64);
}

#[test]
fn recovery_refuses_a_capture_that_is_still_under_way() {
    let workplace = workplace();
    let (mut child, output) = capture_under_way(workplace.path());
    stock("kill", &["-STOP", &child.id().to_string()], workplace.path());
    let refused = run(agent().arg("recover").arg(partial_in(&output).unwrap()), 64);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("still writing"));
    stock("kill", &["-CONT", &child.id().to_string()], workplace.path());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A file system of its own with little room, for as long as the guard lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir(&at).unwrap();
        let path = at.display().to_string();
        stock("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &path], Path::new("/"));
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_ends_in_a_sealed_package_or_a_recoverable_one() {
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..150 {
        noise(&tree.join(format!("f{number}")), 1_000_000);
    }
    let disk = SmallDisk::mount(workplace.path().join("disk"), "100m");
    let collect = |output: PathBuf| {
        let mut command = agent();
        command.args(["collect", "--path", &everything_below(&tree), "--output"]).arg(output);
        command
    };
    // Filled by the capture itself: it stops in time and seals.
    let printed = run(&mut collect(disk.0.join("own")), 10);
    assert!(String::from_utf8_lossy(&printed.stdout).contains("nearly full"));
    let package = fs::read_dir(disk.0.join("own"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension() == Some(OsStr::new("zip")));
    run(verifier().arg("verify").arg(package.unwrap()), 30);

    // Too full to begin: said before anything is read.
    let refused = run(&mut collect(disk.0.join("more")), 64);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("MiB are free"));
    fs::remove_dir_all(disk.0.join("own")).unwrap();

    // Filled by somebody else behind its back.
    let output = disk.0.join("other");
    let child = collect(output.clone()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("evidence in the partial file", || {
        partial_in(&output).is_some_and(|path| path.metadata().is_ok_and(|found| found.len() > 5 << 20))
    });
    let mut filler = fs::File::create(disk.0.join("filler")).unwrap();
    while filler.write_all(&[0; 1 << 16]).is_ok() {}
    let printed = child.wait_with_output().unwrap();
    match printed.status.code() {
        Some(75) => {
            let advice = String::from_utf8_lossy(&printed.stderr).into_owned();
            assert!(
                advice.contains("No space left") && advice.contains("holdfast-agent recover"),
                "{advice}"
            );
            drop(filler);
            // Still full: said, and nothing is lost.
            let refused = agent().arg("recover").arg(partial_in(&output).unwrap()).output().unwrap();
            assert!(String::from_utf8_lossy(&refused.stderr).contains("No space left"));
            fs::remove_file(disk.0.join("filler")).unwrap();
            run(agent().arg("recover").arg(partial_in(&output).unwrap()), 10);
        }
        // It noticed in time and sealed.
        status => {
            assert!(matches!(status, Some(10 | 0)), "{status:?} {}", String::from_utf8_lossy(&printed.stderr))
        }
    }
    let package = fs::read_dir(&output)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension() == Some(OsStr::new("zip")));
    run(verifier().arg("verify").arg(package.unwrap()), 30);
}

#[test]
fn a_package_sent_through_a_pipe_verifies_with_its_ledger() {
    let workplace = workplace();
    let source = workplace.path().join("source");
    noise(&source, 3_000_000);
    let output = run(
        agent().current_dir(workplace.path()).args(["collect", "--output", "-", "--path"]).arg(&source),
        0,
    );
    let package = workplace.path().join("received.zip");
    fs::write(&package, &output.stdout).unwrap();
    let mut names = fs::read_dir(workplace.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ledger = names.find(|name| name.ends_with(".custody.jsonl")).unwrap();
    let report = run(
        verifier().args(["verify", "--json", "--custody"]).arg(workplace.path().join(ledger)).arg(&package),
        30,
    );
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(
        report.contains("integrity.payload_matches") && report.contains("custody.chain_unbroken"),
        "{report}"
    );
    assert!(!workplace.path().join("received.zip.journal").exists());
}

#[test]
fn an_examiner_a_trusted_time_and_a_ledger_give_verified() {
    let workplace = workplace();
    let authority = Authority::start(workplace.path(), "authority");
    let source = workplace.path().join("source");
    fs::write(&source, "evidence").unwrap();
    let mut capture = Capture::of_path(workplace.path(), &source.display().to_string());
    capture.authority = Some(&authority);
    capture.arguments.extend(["--case", "IR-2026-041"].map(str::to_owned));
    let Captured { package, trust, output, .. } = capture.run();
    let last = String::from_utf8_lossy(&output.stdout).trim_end().lines().last().unwrap().to_owned();
    assert!(last.contains(&package.display().to_string()) && last.contains("  id "), "{last}");
    assert!(package.file_name().unwrap().to_str().unwrap().starts_with("IR-2026-041_"));
    let report = run(verifier().arg("verify").arg("--trust").arg(&trust).arg(&package), 0);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.starts_with("VERIFIED\nEvery file matches what was sealed."), "{report}");
    let id = last.split("  id ").nth(1).unwrap();
    assert!(report.contains(id), "the agent and the verifier speak of the same package id");
}

#[test]
fn an_unreachable_authority_costs_no_evidence_and_is_said_in_summary_package_and_ledger() {
    let workplace = workplace();
    let source = workplace.path().join("source");
    fs::write(&source, "evidence").unwrap();
    let mut capture = Capture::of_path(workplace.path(), &source.display().to_string());
    capture.arguments.extend(["--tsa", "http://127.0.0.1:9/tsr"].map(str::to_owned));
    capture.status = 10;
    let captured = capture.run();
    let summary = String::from_utf8_lossy(&captured.output.stdout).into_owned();
    assert!(
        summary.contains("No timestamp from http://127.0.0.1:9/tsr")
            && summary.contains("host's clock alone"),
        "{summary}"
    );
    assert!(
        String::from_utf8_lossy(&member(&captured.package, "bag-info.txt"))
            .contains("asked for from http://127.0.0.1:9/tsr")
    );
    assert!(
        fs::read_to_string(&captured.ledger).unwrap().contains("no timestamp from http://127.0.0.1:9/tsr")
    );
    let report =
        run(verifier().args(["verify", "--json", "--trust"]).arg(&captured.trust).arg(&captured.package), 10);
    assert!(String::from_utf8_lossy(&report.stdout).contains("none came from http://127.0.0.1:9/tsr"));
}

#[test]
fn a_drill_is_marked_everywhere() {
    let workplace = workplace();
    let source = workplace.path().join("source");
    fs::write(&source, "evidence").unwrap();
    let mut capture = Capture::of_path(workplace.path(), &source.display().to_string());
    capture.arguments.push("--exercise".to_owned());
    let captured = capture.run();
    assert!(String::from_utf8_lossy(&captured.output.stdout).starts_with("EXERCISE"));
    assert!(
        String::from_utf8_lossy(&member(&captured.package, "bag-info.txt"))
            .contains("Holdfast-Exercise: true")
    );
    let report = run(verifier().arg("verify").arg("--trust").arg(&captured.trust).arg(&captured.package), 10);
    assert!(String::from_utf8_lossy(&report.stdout).starts_with("EXERCISE"));
}

#[test]
fn what_cannot_work_is_said_before_anything_is_written() {
    let workplace = workplace();
    let output = workplace.path().join("evidence");
    let definitions = workplace.path().join("bad.yaml");
    fs::write(&definitions, "- name: Bad\n  description: d\n  why: w\n  paths: [relative]\n").unwrap();
    let definitions = definitions.display().to_string();
    for (arguments, told) in [
        (&["--profile", "everything"][..], "unknown profile `everything`"),
        (&["--artifact", "Nothing"], "unknown artifact `Nothing`"),
        (&["--path", "etc/passwd"], "not absolute"),
        (&["--case", "../../etc"], "cannot stand in a file name"),
        (&["--definitions", &definitions], "not absolute"),
        (&["--definitions", "/nowhere.yaml"], "cannot read definitions /nowhere.yaml"),
        (&["--key", "/nowhere"], "cannot read key /nowhere"),
        (&["--key", "/etc/passwd"], "is not an OpenSSH key"),
        (&["--key", "agent"], "SSH_AUTH_SOCK is not set"),
        (&["--tsa", "http://user:secret@tsa.example.gov/"], "must not hold credentials"),
        (&["--max-file-size", "big"], "a size is a number with K, M, G or T"),
    ] {
        let refused = run(agent().arg("collect").args(arguments).arg("--output").arg(&output), 64);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(message.contains(told), "{arguments:?}: {message}");
        assert!(!message.contains("panicked") && !output.exists(), "{arguments:?}");
    }
    let refused = run(agent().args(["collect", "--output", "/proc/evidence"]), 64);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("choose another folder with --output"));
}
