//! Owns the proofs that the whole-disk tables find what was really planted; refuses to leave a mount behind.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a planting that fails is a failed test")]
#![allow(clippy::disallowed_methods, reason = "these tests start the stock tools that plant and cross-check")]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use holdfast_agent::source::Root;
use holdfast_agent::state::{Captured, TableCapture, tables};
use serde_json::Value;
use sha2::{Digest, Sha256};

mod support;

fn written(name: &str, root: &Path) -> (Vec<u8>, Captured) {
    support::written(name, &Root::mounted(root).expect("the root opens"))
}

fn rows(name: &str, root: &Path) -> Vec<Value> {
    support::capture(name, &Root::mounted(root).expect("the root opens")).0
}

fn lines(root: &Path) -> Vec<String> {
    let out = String::from_utf8(written("bodyfile", root).0).expect("UTF-8");
    out.lines().map(str::to_owned).collect()
}

fn at<'a>(rows: &'a [Value], path: &str) -> &'a Value {
    rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("no row for {path}"))
}

fn run(program: &str, arguments: &[&OsStr]) -> Vec<u8> {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A mount that goes away with it.
struct Mounted(PathBuf);

impl Mounted {
    fn new(point: &Path, arguments: &[&str]) -> Self {
        fs::create_dir_all(point).unwrap();
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        all.push(point.as_os_str());
        run("mount", &all);
        Self(point.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn plant(root: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn host() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path(), "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    plant(folder.path(), "etc/group", "root:x:0:\n", 0o644);
    folder
}

#[test]
fn suid_and_executable_files_are_found_with_their_digests() {
    let host = host();
    plant(host.path(), "usr/bin/su", "#!x\n", 0o4755);
    plant(host.path(), "usr/lib/plain", "\x7fELF rest", 0o644);
    plant(host.path(), "usr/share/text", "words", 0o644);
    let hex =
        |content: &str| Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let suid = rows("suid_bin", host.path());
    assert_eq!(suid.len(), 1);
    let row = at(&suid, "/usr/bin/su");
    assert_eq!((row["permissions"].as_str(), row["username"].as_str()), (Some("S"), Some("root")));
    assert_eq!(row["sha256"], hex("#!x\n"));
    let executables = rows("executable_hashes", host.path());
    assert_eq!(executables.len(), 2);
    assert_eq!(at(&executables, "/usr/bin/su")["kind"], "script");
    let row = at(&executables, "/usr/lib/plain");
    assert_eq!((row["kind"].as_str(), row["directory"].as_str()), (Some("elf"), Some("/usr/lib")));
    assert_eq!(row["sha256"], hex("\x7fELF rest"));
}

#[test]
fn every_planted_oddity_is_found_for_its_reason() {
    let host = host();
    let image = host.path().join("image");
    File::create(&image).unwrap().set_len(16 << 20).unwrap();
    run("mkfs.ext4", &[OsStr::new("-q"), image.as_os_str()]);
    let disk = host.path().join("opt");
    let mounted = Mounted::new(&disk, &["-o", "loop", image.to_str().unwrap()]);
    let capable = plant(&disk, "capable", "x", 0o755);
    run("setcap", &[OsStr::new("cap_net_raw,cap_sys_admin=ep"), capable.as_os_str()]);
    let listed = plant(&disk, "listed", "x", 0o640);
    run(
        "setfacl",
        &["-m", "u:1234:rw"].map(OsStr::new).iter().copied().chain([listed.as_os_str()]).collect::<Vec<_>>(),
    );
    let fixed = plant(&disk, "fixed", "x", 0o644);
    run("chattr", &[OsStr::new("+i"), fixed.as_os_str()]);
    let log = plant(&disk, "log", "x", 0o644);
    run("chattr", &[OsStr::new("+a"), log.as_os_str()]);
    plant(&disk, "open", "x", 0o666);
    plant(&disk, ".hidden", "x", 0o755);
    plant(&disk, "...", "x", 0o644);
    let strange = plant(&disk, "strange", "x", 0o644);
    chown(&strange, Some(4242), Some(4243)).unwrap();
    chown(plant(&disk, "other", "x", 0o755), Some(4242), None).unwrap();
    fs::set_permissions(disk.join("other"), Permissions::from_mode(0o4755)).unwrap();
    fs::create_dir(disk.join("drop")).unwrap();
    fs::set_permissions(disk.join("drop"), Permissions::from_mode(0o777)).unwrap();
    run("mknod", &[disk.join("disk").as_os_str(), OsStr::new("b"), OsStr::new("8"), OsStr::new("0")]);
    plant(host.path(), "tmp/run", "x", 0o755);
    let found = rows("file_oddities", host.path());
    run("chattr", &[OsStr::new("-ia"), fixed.as_os_str(), log.as_os_str()]);
    drop(mounted);

    let reasons = |path: &str| at(&found, path)["reasons"].to_string();
    assert!(reasons("/opt/capable").contains("file_capability"));
    assert_eq!(at(&found, "/opt/capable")["capabilities"], "cap_net_raw=ep cap_sys_admin=ep");
    assert_eq!(at(&found, "/opt/listed")["acl"], "user:1234:rw-");
    for (path, reason) in [
        ("/opt/fixed", "\"immutable\""),
        ("/opt/log", "\"append_only\""),
        ("/opt/open", "\"world_writable_file\""),
        ("/opt/.hidden", "\"hidden_executable\""),
        ("/opt/...", "\"deceptive_name\""),
        ("/opt/strange", "\"unknown_owner\",\"unknown_group\""),
        ("/opt/other", "\"setuid_not_root\""),
        ("/opt/drop", "\"world_writable_folder\""),
        ("/opt/disk", "\"device_outside_dev\""),
        ("/tmp/run", "\"executable_in_temporary_folder\""),
    ] {
        assert!(reasons(path).contains(reason), "{path}: {}", reasons(path));
    }
    assert_eq!(at(&found, "/opt/disk")["device_node"], "8:0");
    assert!(found.iter().all(|row| row["path"] != "/etc/passwd"), "an ordinary file is not odd");
}

#[test]
fn body_file_is_read_by_mactime_with_the_right_birth_time() {
    let host = host();
    plant(host.path(), "na|me\n%41", "x", 0o644);
    fs::write(host.path().join(OsStr::from_bytes(b"by\xffte")), "x").unwrap();
    symlink("/etc/pass|wd", host.path().join("link")).unwrap();
    let sparse = host.path().join("sparse");
    File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    // Long before its birth, so that the birth stands in a line of its own.
    run("touch", &[OsStr::new("-d"), OsStr::new("2001-02-03T04:05:06Z"), sparse.as_os_str()]);
    let began = Instant::now();
    let lines = lines(host.path());
    assert!(began.elapsed().as_secs() < 5, "a sparse file is not read");
    let validator = support::schema("bodyfile");
    for line in &lines {
        assert!(validator.is_valid(&Value::String(line.clone())), "{line}");
    }
    let has = |name: &str| lines.iter().any(|line| line.split('|').nth(1) == Some(name));
    assert!(has("/na%7Cme%250A%252541") && has("/by%FFte") && has("/link -> /etc/pass%7Cwd"), "{lines:#?}");

    let body = host.path().join("body");
    fs::write(&body, lines.join("\n") + "\n").unwrap();
    let output = Command::new("mactime").args(["-y", "-d", "-z", "UTC", "-b"]).arg(&body).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let timeline = String::from_utf8_lossy(&output.stdout).into_owned();
    let born = fs::metadata(&sparse).unwrap().created().expect("this file system keeps births");
    let born = born.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let stamp = run("date", &["-u", "-d", &format!("@{born}"), "+%Y-%m-%dT%H:%M:%SZ"].map(OsStr::new));
    let stamp = String::from_utf8(stamp).unwrap();
    let of_sparse: Vec<_> = timeline.lines().filter(|line| line.contains("/sparse\"")).collect();
    assert!(
        of_sparse.iter().any(|line| line.starts_with(stamp.trim()) && line.contains("b,")),
        "{stamp}: {of_sparse:#?}"
    );
    assert!(
        of_sparse
            .iter()
            .any(|line| line.starts_with("2001-02-03T04:05:06Z") && line.contains("1099511627776"))
    );
    assert!(timeline.contains("/na|me%0A%2541"), "mactime shows the name");
}

#[test]
fn mount_that_never_answers_is_passed_by_name_and_not_touched() {
    let host = host();
    let point = host.path().join("mnt/dead");
    fs::create_dir_all(&point).unwrap();
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse is here");
    // Nobody will ever read a request from the descriptor, which mount(8) has as its standard input.
    let mount = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "dead"])
        .arg(&point)
        .stdin(device.try_clone().unwrap())
        .status();
    assert!(mount.unwrap().success(), "a FUSE file system can be mounted");
    let mounted = Mounted(point);
    let (root, (done, ended)) = (host.path().to_owned(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        for table in ["bodyfile", "suid_bin", "file_oddities", "executable_hashes"] {
            let captured = written(table, &root).1;
            let named =
                captured.gaps.iter().any(|gap| gap.subject == "/mnt/dead" && gap.reason.contains("FUSE"));
            done.send((table, named)).unwrap();
        }
    });
    let answers: Vec<_> =
        (0..4).map_while(|_| ended.recv_timeout(std::time::Duration::from_secs(20)).ok()).collect();
    // Ends every wait in it, so that a failing test fails and does not hang.
    drop(device);
    drop(mounted);
    assert_eq!(answers.len(), 4, "a look hung");
    assert!(answers.iter().all(|(_, named)| *named), "{answers:?}");
}

#[test]
fn bind_mount_of_the_folder_it_lies_in_is_a_loop_that_is_named() {
    let host = host();
    let point = host.path().join("a/loop");
    let _mounted = Mounted::new(&point, &["--rbind", host.path().to_str().unwrap()]);
    let (out, captured) = written("bodyfile", host.path());
    let lines = String::from_utf8(out).unwrap();
    assert!(lines.contains("|/etc/passwd|") && !lines.contains("|/a/loop/etc"), "{lines}");
    assert!(captured.gaps.iter().any(|gap| gap.subject == "/a/loop" && gap.reason.contains("loop")));
}

#[test]
fn listing_leaves_access_times_alone() {
    let host = host();
    let file = plant(host.path(), "bin/tool", "#!x", 0o755);
    for path in [host.path().join("bin"), file.clone()] {
        run(
            "touch",
            &[OsStr::new("-a"), OsStr::new("-d"), OsStr::new("2001-01-01T00:00:00Z"), path.as_os_str()],
        );
    }
    for table in ["bodyfile", "suid_bin", "file_oddities", "executable_hashes"] {
        written(table, host.path());
    }
    for path in [host.path().join("bin"), file] {
        assert_eq!(fs::metadata(&path).unwrap().atime(), 978_307_200, "{}", path.display());
    }
}

#[test]
fn set_user_id_files_of_this_host_are_those_that_find_finds_and_proc_is_passed_by_name() {
    let table = tables().iter().find(|table| table.name == "suid_bin").expect("the table exists");
    let (mut out, root) = (Vec::new(), Root::live().unwrap());
    let mut capture = TableCapture::new(&mut out, &root, &|| false);
    (table.capture)(&mut capture).unwrap();
    let gaps = capture.finish().gaps;
    assert!(gaps.iter().any(|gap| gap.subject == "/proc"));
    let rows: Vec<Value> =
        serde_json::Deserializer::from_slice(&out).into_iter().map(Result::unwrap).collect();
    let arguments = ["/usr", "-xdev", "-type", "f", "-perm", "/6000"].map(OsStr::new);
    let listed = String::from_utf8(run("find", &arguments)).unwrap();
    let expected: std::collections::BTreeSet<_> = listed.lines().collect();
    let found = rows.iter().filter_map(|row| row["path"].as_str()).filter(|path| path.starts_with("/usr/"));
    assert_eq!(found.collect::<std::collections::BTreeSet<_>>(), expected);
    assert!(!expected.is_empty());
}
