//! Owns the proof that what is deleted and still held comes back whole, with everybody who holds it; refuses simulated
//! processes.

#![allow(clippy::disallowed_methods, reason = "tests start programs of their own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{ItemRecord, Outcome};
use holdfast_tests::package::{item, items, member, rows};
use holdfast_tests::{Capture, workplace};
use rustix::fs::{MemfdFlags, SeekFrom};
use serde_json::Value;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, stdin: Stdio) -> Running {
    Running(Command::new(program).arg("600").stdin(stdin).spawn().unwrap())
}

fn recovered<'a>(items: &'a [ItemRecord], row: &Value) -> &'a ItemRecord {
    item(items, row["source_path"].as_str().unwrap().as_bytes())
}

fn holders(row: &Value) -> BTreeSet<u64> {
    row["holders"].as_array().unwrap().iter().map(|holder| holder["pid"].as_u64().unwrap()).collect()
}

#[test]
fn everything_deleted_that_is_still_held_comes_back_whole_with_its_holders() {
    let workplace = workplace();
    // An executable that is deleted while it runs, by two processes.
    let program = workplace.path().join("implant");
    fs::copy("/bin/sleep", &program).unwrap();
    let (first, second) = (start(&program, Stdio::null()), start(&program, Stdio::null()));
    fs::remove_file(&program).unwrap();
    // A file of 50 MB that this process and a child hold, and that has no name any more.
    let log = workplace.path().join("log");
    let mut noise = vec![0; 50_000_000];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(&log, &noise).unwrap();
    let held = fs::File::open(&log).unwrap();
    let position = rustix::fs::seek(&held, SeekFrom::Start(17)).unwrap();
    let reader = start(Path::new("/bin/sleep"), Stdio::from(held.try_clone().unwrap()));
    fs::remove_file(&log).unwrap();
    // A program that was never on a disk.
    let memfd = rustix::fs::memfd_create("payload", MemfdFlags::empty()).unwrap();
    let mut memory = fs::File::from(memfd);
    memory.write_all(&fs::read("/bin/sleep").unwrap()).unwrap();
    let unpacked = start(Path::new(&format!("/proc/self/fd/{}", memory.as_raw_fd())), Stdio::null());
    // A deleted file of a terabyte that is nearly all hole.
    let sparse = workplace.path().join("sparse");
    let hollow = fs::File::options().read(true).write(true).create_new(true).open(&sparse).unwrap();
    hollow.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hollow, b"needle", 1 << 39).unwrap();
    fs::remove_file(&sparse).unwrap();

    let mut capture = Capture::of_path(workplace.path(), "");
    capture.arguments = ["--artifact", "deleted_files"].map(str::to_owned).to_vec();
    let captured = capture.run_to_one_of(&[0, 10]);

    let (items, rows) = (items(&captured.package), rows(&captured.package, "deleted_files"));
    let row = |pid: u64, inode: u64| {
        let found = rows.iter().find(|row| row["inode"] == inode && holders(row).contains(&pid));
        found.unwrap_or_else(|| panic!("inode {inode} of {pid} in {rows:#?}"))
    };
    let content = |row: &Value| {
        let item = recovered(&items, row);
        assert_eq!(item.outcome, Outcome::Collected, "{item:?}");
        (item, member(&captured.package, item.member.as_deref().unwrap()))
    };
    let pid = |running: &Running| u64::from(running.0.id());
    let inode = |path: String| fs::metadata(path).unwrap().ino();

    let executable = row(pid(&first), inode(format!("/proc/{}/exe", pid(&first))));
    assert_eq!((executable["kind"].as_str(), executable["links"].as_u64()), (Some("executable"), Some(0)));
    assert_eq!(executable["path"].as_str().unwrap(), program.to_str().unwrap());
    assert!(holders(executable).contains(&pid(&second)), "{executable}");
    assert_eq!(content(executable).1, fs::read("/bin/sleep").unwrap());

    let open = row(u64::from(std::process::id()), held.metadata().unwrap().ino());
    assert!(holders(open).contains(&pid(&reader)), "{open}");
    let (item, bytes) = content(open);
    assert_eq!(item.sha256, Some(Sha256Digest::of(&noise)));
    assert!(bytes == noise);
    assert_eq!(rustix::fs::tell(&held).unwrap(), position, "the holder's position stays where it was");

    let memfd = row(pid(&unpacked), memory.metadata().unwrap().ino());
    assert_eq!((memfd["kind"].as_str(), memfd["path"].as_str()), (Some("memfd"), Some("/memfd:payload")));
    assert_eq!(content(memfd).1, fs::read("/bin/sleep").unwrap());

    let hole = row(u64::from(std::process::id()), hollow.metadata().unwrap().ino());
    let (item, bytes) = content(hole);
    assert_eq!(item.metadata.as_ref().unwrap().size, 1 << 40);
    assert!(
        item.extents.is_some() && bytes.len() < 1 << 20 && bytes.windows(6).any(|window| window == b"needle")
    );
}

#[test]
fn deleted_open_files_are_those_that_lsof_names() {
    let workplace = workplace();
    let path = workplace.path().join("deleted");
    fs::write(&path, "deleted").unwrap();
    let _held = fs::File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let lsof = || {
        let listed = Command::new("lsof").args(["+L1", "-nP", "-F", "ptDi"]).output().unwrap();
        let mut found = BTreeSet::new();
        let (mut pid, mut regular) = (0, false);
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            match line.split_at(1) {
                ("p", number) => pid = number.parse().unwrap(),
                ("t", kind) => regular = kind == "REG",
                ("i", inode) if regular => drop(found.insert((pid, inode.parse().unwrap()))),
                _ => {}
            }
        }
        found
    };
    let before: BTreeSet<(u64, u64)> = lsof();
    let mut capture = Capture::of_path(workplace.path(), "");
    capture.arguments = ["--artifact", "deleted_files"].map(str::to_owned).to_vec();
    let captured = capture.run_to_one_of(&[0, 10]);
    let after = lsof();
    let mut ours = BTreeSet::new();
    for row in rows(&captured.package, "deleted_files") {
        for pid in holders(&row) {
            ours.insert((pid, row["inode"].as_u64().unwrap()));
        }
    }
    assert!(!before.is_empty());
    let missed: Vec<_> = before.intersection(&after).filter(|held| !ours.contains(held)).collect();
    assert!(missed.is_empty(), "lsof names what the table does not: {missed:?}");
}

/// A process with writable and executable memory of no file that holds a needle, an environment, and 9 GiB that it never
/// touched, which would fill every limit with zeros.
fn injected() -> Running {
    let script = "import mmap, sys, time\n\
        memory = mmap.mmap(-1, 1 << 20, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n\
        memory[4096:4096 + 17] = b'in' + b'jected-' + b'needle-7'\n\
        untouched = mmap.mmap(-1, 9 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n\
        print('ready', flush=True)\n\
        time.sleep(600)";
    let mut command = Command::new("python3");
    command.args(["-c", script]).env("PLANTED_SECRET", "a b=c").stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut ready = [0; 6];
    running.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    running
}

#[test]
fn memory_of_a_named_process_comes_back_in_lime_ranges() {
    let workplace = workplace();
    let running = injected();
    let pid = running.0.id();
    let mut capture = Capture::of_path(workplace.path(), "");
    let arguments = ["--memory-of", &pid.to_string(), "--artifact", "process_memory_map", "process_envs"];
    capture.arguments = arguments.map(str::to_owned).to_vec();
    let captured = capture.run_to_one_of(&[0, 10]);
    let of_it = |table: &str| {
        let rows = rows(&captured.package, table).into_iter();
        rows.filter(|row| row["pid"] == pid).collect::<Vec<_>>()
    };
    let mapped = of_it("process_memory_map");
    let injected = mapped.iter().find(|row| row["writable_executable"] == true).unwrap();
    assert_eq!(injected["anonymous_executable"], injected["inode"] == 0);
    let environment = of_it("process_envs");
    assert!(environment.iter().any(|row| row["key"] == "PLANTED_SECRET" && row["value"] == "a b=c"));

    let memory = of_it("process_memory");
    assert_eq!(memory[0]["reason"], "named");
    let items = items(&captured.package);
    let item = recovered(&items, &memory[0]);
    assert_eq!(item.outcome, Outcome::Collected, "{item:?}");
    let stream = member(&captured.package, item.member.as_deref().unwrap());
    let start =
        u64::from_str_radix(injected["start"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let word = |at: usize| u64::from_le_bytes(stream[at..at + 8].try_into().unwrap());
    let mut at = 0;
    let mut found = false;
    while at < stream.len() {
        assert_eq!(stream[at..at + 4], 0x4C69_4D45u32.to_le_bytes());
        let (first, last) = (word(at + 8), word(at + 16));
        let bytes = &stream[at + 32..at + 32 + usize::try_from(last - first + 1).unwrap()];
        let at_needle = first <= start + 4096 && start + 4096 <= last;
        if at_needle {
            let offset = usize::try_from(start + 4096 - first).unwrap();
            found = bytes[offset..].starts_with(b"injected-needle-7");
        }
        at += 32 + bytes.len();
    }
    assert!(found, "the needle lies where the map says");
    assert!(stream.len() < 512 << 20, "untouched memory is not read: {}", stream.len());
}

#[test]
fn environments_and_memory_are_left_out_unless_they_are_asked_for() {
    let workplace = workplace();
    let _running = injected();
    let mut capture = Capture::of_path(workplace.path(), "");
    capture.arguments = ["--artifact", "processes"].map(str::to_owned).to_vec();
    let captured = capture.run_to_one_of(&[0, 10]);
    let artifacts: BTreeSet<String> =
        items(&captured.package).into_iter().map(|item| item.artifact).collect();
    let opt_in = ["process_envs", "process_memory", "physical_memory"];
    assert!(artifacts.contains("process_details") && !opt_in.iter().any(|table| artifacts.contains(*table)));
}

#[test]
fn physical_memory_is_kept_or_the_exact_reason_is_given() {
    let workplace = workplace();
    let mut capture = Capture::of_path(workplace.path(), "");
    let arguments = ["--artifact", "physical_memory", "--max-file-size", "8M"];
    capture.arguments = arguments.map(str::to_owned).to_vec();
    let captured = capture.run_to_one_of(&[10]);
    let items = items(&captured.package);
    let item = item(&items, b"/proc/kcore");
    if Path::new("/proc/kcore").exists() && item.member.is_some() {
        let stream = member(&captured.package, item.member.as_deref().unwrap());
        assert_eq!((item.outcome, stream.len()), (Outcome::TruncatedByLimit, 8 << 20));
        assert_eq!(stream[..4], 0x4C69_4D45u32.to_le_bytes());
    } else {
        let error = item.error.as_deref().unwrap();
        assert!(error.contains("lockdown") && error.contains("/dev/crash is"), "{error}");
    }
}

/// The first word of a process's name; nothing for a kernel thread (a child of 2), which is renamed with each work it does.
fn name_that_stays(parent: u64, name: &str) -> String {
    let word = name.split_ascii_whitespace().next().unwrap_or_default();
    if parent == 2 { String::new() } else { word.to_owned() }
}

#[test]
fn processes_are_those_that_ps_names() {
    let workplace = workplace();
    let ps = || {
        let listed = Command::new("ps").args(["-e", "-o", "pid=,ppid=,uid=,comm="]).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let line = |line: &str| {
            let mut fields = line.split_ascii_whitespace().map(str::to_owned);
            let numbers: Vec<u64> = fields.by_ref().take(3).map(|field| field.parse().unwrap()).collect();
            let name = name_that_stays(numbers[1], &fields.next().unwrap_or_default());
            (numbers, name)
        };
        text.lines().map(line).collect::<BTreeSet<_>>()
    };
    let before = ps();
    let mut capture = Capture::of_path(workplace.path(), "");
    capture.arguments = ["--artifact", "processes"].map(str::to_owned).to_vec();
    let captured = capture.run_to_one_of(&[0, 10]);
    let after = ps();
    let number = |row: &Value, column: &str| row[column].as_u64().unwrap();
    let ours: BTreeSet<(Vec<u64>, String)> = rows(&captured.package, "processes")
        .iter()
        .map(|row| {
            let numbers = vec![number(row, "pid"), number(row, "parent"), number(row, "uid")];
            let name = name_that_stays(numbers[1], row["name"].as_str().unwrap());
            (numbers, name)
        })
        .collect();
    let missed: Vec<_> = before.intersection(&after).filter(|process| !ours.contains(process)).collect();
    assert!(missed.is_empty(), "ps names what the table does not: {missed:?}");
    let known: BTreeSet<u64> = before.union(&after).map(|(numbers, _)| numbers[0]).collect();
    let details = rows(&captured.package, "process_details");
    assert!(
        details.iter().filter(|row| known.contains(&number(row, "pid"))).count() + 3
            >= before.intersection(&after).count()
    );
    let own = details.iter().find(|row| row["pid"] == std::process::id()).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    assert_eq!(own["status"]["CapEff"], effective);
    assert!(own["limits"]["Max open files"][0].as_str().unwrap().parse::<u64>().is_ok());
    assert!(own["namespaces"]["net"].as_u64().is_some());
}

#[test]
fn a_process_whose_folder_is_covered_is_named_with_the_views_that_show_it() {
    let workplace = workplace();
    let hidden = start(Path::new("/bin/sleep"), Stdio::null());
    let pid = hidden.0.id();
    let (empty, output) = (workplace.path().join("empty"), workplace.path().join("evidence"));
    fs::create_dir(&empty).unwrap();
    // The mount is seen in this namespace of its own only, and ends with it.
    let script =
        "mount --bind \"$0\" /proc/$1 && exec \"$2\" collect --artifact hidden_processes --output \"$3\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&empty).arg(pid.to_string());
    command.arg(holdfast_tests::programs().join("holdfast-agent")).arg(&output);
    let printed = command.output().unwrap();
    assert!(printed.status.code().is_some_and(|code| code == 0 || code == 10), "{printed:?}");
    let package = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|end| end == "zip")).unwrap();
    let found = rows(&package, "hidden_processes");
    let row = found.iter().find(|row| row["pid"] == pid).unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(row["missing_from"], serde_json::json!(["its folder in /proc"]));
    let seen = row["seen_in"].as_array().unwrap();
    assert!(
        ["listing of /proc", "probe by number"].iter().all(|view| seen.contains(&Value::from(*view))),
        "{row}"
    );
    assert!(found.iter().all(|row| row["pid"] == pid), "nothing else is hidden here: {found:#?}");
}
