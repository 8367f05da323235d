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
