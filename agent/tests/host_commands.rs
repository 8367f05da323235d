//! Owns the proofs that a host's program is run without a shell, within its time and output, and leaves nothing behind;
//! refuses to take a program's word for it.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_agent::catalogue::HostCommand;
use holdfast_agent::commands::{CommandEnd, CommandOutcome, Examined, run};
use holdfast_schemas::digest::Sha256Digest;

fn command(argv: &[&str], timeout_seconds: u32) -> HostCommand {
    HostCommand { argv: argv.iter().map(|argument| (*argument).to_owned()).collect(), timeout_seconds }
}

fn ran(argv: &[&str], timeout_seconds: u32, limit: u64) -> (CommandOutcome, Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let outcome = run(&command(argv, timeout_seconds), Examined::RunningHost, limit, &mut out, &mut err)
        .expect("memory is written");
    (outcome, out, err)
}

/// A program of the test's own.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made a program");
    path
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_hanging_program_is_killed_with_its_child() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "sleep 1000 &\necho $! $$\nwait");
    let begun = Instant::now();
    let (outcome, out, _) = ran(&[program.to_str().expect("text")], 1, 1 << 20);
    assert_eq!(outcome.end, CommandEnd::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(20) && outcome.elapsed_ms >= 1_000);
    let pids = String::from_utf8(out).expect("text");
    assert_eq!(pids.split_whitespace().count(), 2, "what it wrote before is kept");
    std::thread::sleep(Duration::from_millis(200));
    for pid in pids.split_whitespace() {
        assert!(!is_running(pid), "{pid} is still there");
    }
}

#[test]
fn a_child_that_outlives_its_program_is_ended_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "sleep 1000 &\necho $!");
    let begun = Instant::now();
    let (outcome, out, _) = ran(&[program.to_str().expect("text")], 60, 1 << 20);
    assert_eq!(outcome.end, CommandEnd::Exited(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "nobody waits for the child");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!is_running(String::from_utf8(out).expect("text").trim()));
}

#[test]
fn a_child_that_left_the_group_and_holds_the_output_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "setsid sleep 15 &\nsleep 0.3\necho done");
    let begun = Instant::now();
    let (outcome, out, _) = ran(&[program.to_str().expect("text")], 60, 1 << 20);
    assert_eq!((outcome.end, out.as_slice()), (CommandEnd::Exited(0), &b"done\n"[..]));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_output_of_a_gigabyte_is_cut_at_the_limit() {
    let (outcome, out, _) = ran(&["head", "-c", "1073741824", "/dev/zero"], 60, 1_000_000);
    assert_eq!(outcome.end, CommandEnd::OutputFull);
    assert_eq!((out.len(), outcome.stdout.bytes, outcome.stdout.cut), (1_000_000, 1_000_000, true));
    let (outcome, out, _) = ran(&["head", "-c", "1000000", "/dev/zero"], 60, 1_000_000);
    assert_eq!((outcome.end, out.len(), outcome.stdout.cut), (CommandEnd::Exited(0), 1_000_000, false));
}

#[test]
fn arguments_reach_the_program_as_they_stand() {
    let hostile = [
        "$(touch /tmp/x)",
        "`id`",
        "a;b",
        "a|b",
        "&",
        "> /tmp/x",
        "*",
        "~",
        "$HOME",
        "'",
        "\"",
        "\\n",
        "",
        "-",
        "a\nb",
    ];
    let (outcome, out, err) = ran(&[&["printf", "[%s]"][..], &hostile[..]].concat(), 10, 1 << 20);
    let expected: String = hostile.iter().map(|argument| format!("[{argument}]")).collect();
    assert_eq!((outcome.end, String::from_utf8(out).expect("text")), (CommandEnd::Exited(0), expected));
    assert!(err.is_empty());
    let (outcome, ..) = ran(&["printf", "a\0b"], 10, 1 << 20);
    assert!(matches!(outcome.end, CommandEnd::Failed(_)), "{:?}", outcome.end);
}

#[test]
fn a_program_sees_only_what_is_fixed() {
    let (_, out, _) = ran(&["env"], 10, 1 << 20);
    let text = String::from_utf8(out).expect("text");
    let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(
        {
            let mut names = names;
            names.sort_unstable();
            names
        },
        ["HOME", "LANG", "LC_ALL", "PATH"]
    );
    assert_eq!(ran(&["pwd"], 10, 1 << 20).1, b"/\n");
    assert_eq!(ran(&["cat"], 10, 1 << 20).0.end, CommandEnd::Exited(0), "nothing to read");
}

#[test]
fn streams_statuses_and_programs_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "echo out; echo err >&2; exit 7");
    let path = program.to_str().expect("text");
    let (outcome, out, err) = ran(&[path], 10, 1 << 20);
    assert_eq!((out.as_slice(), err.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(outcome.end, CommandEnd::Exited(7));
    let known = outcome.program.expect("it was run");
    assert_eq!(
        (known.path.as_str(), known.sha256),
        (path, Some(Sha256Digest::of(&fs::read(&program).expect("read"))))
    );
    let killed = script(folder.path(), "kill -9 $$");
    assert_eq!(ran(&[killed.to_str().expect("text")], 10, 1).0.end, CommandEnd::Signalled(9));
}

#[test]
fn what_is_not_run_says_why() {
    let (outcome, ..) = ran(&["no-such-program-anywhere"], 10, 1);
    assert_eq!((outcome.end, outcome.program), (CommandEnd::NotFound, None));
    assert_eq!(ran(&["/etc"], 10, 1).0.end, CommandEnd::NotFound);
    assert!(matches!(ran(&["/etc/passwd"], 10, 1).0.end, CommandEnd::Failed(_)));
    assert!(matches!(ran(&["bin/ps"], 10, 1).0.end, CommandEnd::Refused(_)));
    assert!(matches!(ran(&[], 10, 1).0.end, CommandEnd::Refused(_)));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mounted = run(&command(&["id"], 10), Examined::MountedRoot, 1 << 20, &mut out, &mut err)
        .expect("nothing is written");
    assert!(matches!(mounted.end, CommandEnd::Refused(_)) && out.is_empty());
}

/// A sink that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_program_whose_output_cannot_be_kept_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let program = script(folder.path(), &format!("echo $$ > {}\nwhile :; do echo x; done", pid.display()));
    let asked = command(&[program.to_str().expect("text")], 60);
    let error = run(&asked, Examined::RunningHost, u64::MAX, &mut Full, &mut Vec::new())
        .expect_err("the sink is full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(!is_running(fs::read_to_string(pid).expect("it ran").trim()));
}
