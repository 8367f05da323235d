//! Owns the proofs that the Linux tables show this very host as it is; refuses to depend on what else runs on it.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "these tests start programs of their own to be found")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_agent::state::{Group, Table, tables};
use serde_json::Value;
use sha2::{Digest, Sha256};

mod support;

use support::live as capture;

/// The tables, save the one that reads every installed file: its own tests validate its rows.
fn brief_tables() -> impl Iterator<Item = &'static Table> {
    tables().iter().filter(|table| table.group != Group::Disk)
}

fn rows(name: &str) -> Vec<Value> {
    capture(name).0
}

fn process_row(pid: u32) -> Value {
    rows("processes").into_iter().find(|row| row["pid"] == pid).expect("the process is listed")
}

fn raw(row: &Value, column: &str) -> Vec<u8> {
    STANDARD.decode(row[column].as_str().expect("a raw twin")).expect("base64")
}

/// A child that waits until it is dropped.
struct Waiting(Child);

impl Waiting {
    fn start(program: &Path, name: &OsStr) -> Self {
        // Another test's fork may hold the just written program open for a moment.
        let mut tries = 0;
        loop {
            match Command::new(program).arg0(name).arg("600").stdin(Stdio::null()).spawn() {
                Err(busy) if busy.kind() == ErrorKind::ExecutableFileBusy && tries < 100 => tries += 1,
                child => return Self(child.expect("the program starts")),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn own_process_is_found_with_the_digest_of_its_executable() {
    let own = process_row(std::process::id());
    let executable = fs::read("/proc/self/exe").unwrap();
    let digest: String = Sha256::digest(&executable).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(own["exe_sha256"], digest.as_str());
    assert_eq!(own["exe_size"], executable.len());
    assert_eq!(own["exe_deleted"], false);
    assert_eq!(own["on_disk"], 1);
    assert_eq!(own["listed"], true);
    assert_eq!(own["path"].as_str().unwrap(), fs::read_link("/proc/self/exe").unwrap().to_str().unwrap());
    assert_eq!(own["uid"], rustix::process::getuid().as_raw());
}

#[test]
fn sockets_opened_here_are_attributed_to_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a socket");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp6 = TcpListener::bind("[::1]:0").ok();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let name = format!("holdfast\0{}", std::process::id());
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let rows = rows("process_open_sockets");
    let mine = |fd: i32| {
        let pid = std::process::id();
        rows.iter().find(|row| row["pid"] == pid && row["fd"] == fd).expect("the socket is attributed")
    };
    let row = mine(tcp.as_raw_fd());
    assert_eq!(
        (row["local_port"].as_u64(), row["state"].as_str()),
        (Some(tcp.local_addr().unwrap().port().into()), Some("LISTEN"))
    );
    assert_eq!((row["family"].as_u64(), row["protocol"].as_u64()), (Some(2), Some(6)));
    assert_eq!(row["local_address"], "127.0.0.1");
    if let Some(tcp6) = tcp6 {
        assert_eq!(mine(tcp6.as_raw_fd())["local_address"], "::1");
    }
    assert_eq!(mine(udp.as_raw_fd())["local_port"], udp.local_addr().unwrap().port());
    let row = mine(unix.as_raw_fd());
    assert_eq!((row["path"].as_str(), row["state"].as_str()), (path.to_str(), Some("LISTEN")));
    let row = mine(hidden.as_raw_fd());
    assert_eq!(row["path"], format!("@holdfast@{}", std::process::id()).as_str());
    if row["listed_by"] == "sock_diag" {
        assert_eq!(raw(row, "path_raw"), format!("\0{name}").into_bytes());
    }
}

#[test]
fn socket_that_no_listing_shows_is_still_a_row_of_its_process() {
    let unbound =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    let fd = unbound.as_raw_fd();
    let rows = rows("process_open_sockets");
    let row = rows.iter().find(|row| row["pid"] == std::process::id() && row["fd"] == fd).unwrap();
    assert_eq!((row["listed_by"].as_str(), row["family"].as_u64()), (Some("descriptor"), None));
}

#[test]
fn child_whose_executable_was_deleted_is_marked_and_still_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("sleeper");
    fs::copy("/bin/sleep", &program).unwrap();
    let digest: String =
        Sha256::digest(fs::read(&program).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    let child = Waiting::start(&program, OsStr::new("sleeper"));
    fs::remove_file(&program).unwrap();
    let row = process_row(child.0.id());
    assert_eq!((row["exe_deleted"].as_bool(), row["on_disk"].as_i64()), (Some(true), Some(0)));
    assert_eq!(row["exe_sha256"], digest.as_str());
    assert_eq!(row["path"].as_str(), program.to_str());
    assert!(raw(&row, "path_raw").ends_with(b" (deleted)"));
}

#[test]
fn name_and_arguments_that_are_not_utf8_survive() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(OsStr::from_bytes(b"na\xffme\\"));
    fs::copy("/bin/sleep", &program).unwrap();
    let child = Waiting::start(&program, OsStr::from_bytes(b"arg\xfe\n"));
    let row = process_row(child.0.id());
    assert_eq!(row["name"], r"na\xffme\\");
    assert_eq!(raw(&row, "name_raw"), b"na\xffme\\");
    assert_eq!(row["cmdline"], "arg\\xfe\n 600");
    assert_eq!(raw(&row, "cmdline_raw"), b"arg\xfe\n\x00600\0");
    assert!(raw(&row, "path_raw").ends_with(b"na\xffme\\"));
}

#[test]
fn deleted_open_file_is_marked_with_its_size_and_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"evidence").unwrap();
    fs::remove_file(&path).unwrap();
    let kept = File::open("/etc/passwd").unwrap();
    let rows = rows("process_open_files");
    let mine = |fd: i32| rows.iter().find(|row| row["pid"] == std::process::id() && row["fd"] == fd).unwrap();
    let row = mine(file.as_raw_fd());
    assert_eq!((row["deleted"].as_bool(), row["links"].as_u64()), (Some(true), Some(0)));
    assert_eq!((row["size"].as_u64(), row["pos"].as_u64()), (Some(8), Some(8)));
    assert_eq!((row["path"].as_str(), row["access"].as_str()), (path.to_str(), Some("w")));
    let row = mine(kept.as_raw_fd());
    assert_eq!((row["deleted"].as_bool(), row["access"].as_str()), (Some(false), Some("r")));
}

#[test]
fn every_row_of_every_table_on_this_host_is_valid_by_its_schema() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1/state");
    for table in brief_tables() {
        let schema =
            fs::read(schemas.join(format!("{}.schema.json", table.name))).expect("each table has a schema");
        let schema: Value = serde_json::from_slice(&schema).expect("a schema is JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema is valid");
        for row in capture(table.name).0 {
            let faults: Vec<_> = validator.iter_errors(&row).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{}: {row}: {faults:?}", table.name);
        }
    }
}

#[test]
fn every_raw_twin_renders_to_its_column_or_is_null() {
    for table in brief_tables() {
        for row in capture(table.name).0 {
            for (column, value) in row.as_object().unwrap() {
                if let (Some(plain), Some(raw)) = (column.strip_suffix("_raw"), value.as_str()) {
                    let shown = row[plain].as_str().expect("a raw twin has a rendering");
                    assert_ne!(
                        STANDARD.decode(raw).expect("base64"),
                        shown.as_bytes(),
                        "{}.{plain}",
                        table.name
                    );
                }
            }
        }
    }
}

#[test]
fn mounts_are_as_many_as_lines_of_mountinfo() {
    let lines = fs::read("/proc/self/mountinfo").unwrap().iter().filter(|byte| **byte == b'\n').count();
    let (rows, captured) = capture("mounts");
    assert_eq!(rows.iter().filter(|row| row["pid"] == std::process::id()).count(), lines);
    assert!(captured.kept.iter().any(|kept| kept.path == b"/proc/self/mountinfo"));
}

#[test]
fn users_and_groups_are_those_of_the_account_files() {
    assert!(rows("users").iter().any(|row| row["username"] == "root" && row["uid"] == 0));
    assert!(rows("groups").iter().any(|row| row["groupname"] == "root" && row["gid"] == 0));
}

#[test]
fn loopback_interface_has_its_address_and_route() {
    let details = rows("interface_details");
    let loopback = details.iter().find(|row| row["interface"] == "lo").unwrap();
    assert_eq!((loopback["type"].as_u64(), loopback["promiscuous"].as_bool()), (Some(772), Some(false)));
    let addresses = rows("interface_addresses");
    assert!(addresses.iter().any(|row| row["address"] == "127.0.0.1" && row["mask"] == "255.0.0.0"));
    let local = rows("routes");
    assert!(
        local
            .iter()
            .any(|row| row["table"] == 255 && row["destination"] == "127.0.0.1" && row["type"] == "local")
    );
}

#[test]
fn tables_are_named_once_and_the_most_volatile_comes_first() {
    let names: Vec<_> = tables().iter().map(|table| table.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let at = |name| names.iter().position(|found| *found == name).unwrap();
    let order = [
        "process_open_sockets",
        "logged_in_users",
        "arp_cache",
        "routes",
        "processes",
        "kernel_modules",
        "mounts",
        "process_open_files",
        "interface_details",
        "users",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
}

#[test]
fn all_tables_together_take_less_than_a_minute() {
    let began = Instant::now();
    for table in brief_tables() {
        let start = Instant::now();
        let (rows, captured) = capture(table.name);
        let bytes: usize = captured.kept.iter().map(|kept| kept.path.len()).sum();
        println!(
            "{:22} {:6} rows {:3} gaps {:2} raw texts {:7} bytes {:9.3} ms",
            table.name,
            rows.len(),
            captured.gap_count,
            captured.kept.len(),
            bytes,
            start.elapsed().as_secs_f64() * 1000.0
        );
        for gap in captured.gaps {
            println!("    gap {}: {}", gap.subject, gap.reason);
        }
    }
    assert!(began.elapsed().as_secs() < 60);
}
