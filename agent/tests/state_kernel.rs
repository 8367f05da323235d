//! Owns the proofs that the tables of kernel, storage and firmware show what was really made in this very kernel; refuses
//! to leave behind what it made.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "these tests start programs whose traces are to be found")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

mod support;

use support::live as capture;

fn rows(name: &str) -> Vec<Value> {
    capture(name).0
}

/// Runs a program of this host and gives what it wrote; its failure fails the test.
fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|reason| panic!("{program}: {reason}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(kind: &str, source: &str, at: &Path) -> Self {
        output("mount", &["-t", kind, source, at.to_str().expect("a path of text")]);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A child that waits for the end of its input, which it has when this is dropped.
struct Holding(Child, Vec<String>);

impl Holding {
    /// Starts a Python program, which writes one line of words once it is ready.
    fn python(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        let written = child.stdout.take().expect("a pipe");
        BufReader::new(written).read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the program is ready");
        Self(child, line.split_whitespace().map(str::to_owned).collect())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A control group that ends with the test, and with it what is attached to it.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new(path: PathBuf) -> Self {
        fs::create_dir(&path).expect("a new group");
        Self(path)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Makes a map, a program that uses it, attaches it to a control group by a link and by itself, and pins the map.
const BPF: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
group, pin = sys.argv[1], sys.argv[2]
def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes.ljust(128, b'\0'), 128)
    result = libc.syscall(321 if os.uname().machine == 'x86_64' else 280, command, attributes, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), 'bpf %d' % command)
    return result
table = bpf(0, struct.pack('=IIIII', 1, 4, 8, 3, 0).ljust(28, b'\0') + b'hf_map\0\0')
code = struct.pack('=BBhi', 0x18, 0x11, 0, table) + struct.pack('=BBhi', 0, 0, 0, 0) \
    + struct.pack('=BBhi', 0xb7, 0, 0, 1) + struct.pack('=BBhi', 0x95, 0, 0, 0)
code = ctypes.create_string_buffer(code, len(code))
licence = ctypes.create_string_buffer(b'GPL')
def program(name, place):
    return bpf(5, struct.pack('=IIQQIIQII', 8, 4, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0)
        + name.ljust(16, b'\0') + struct.pack('=II', 0, place))
first, second = program(b'hf_link', 1), program(b'hf_attach', 0)
folder = os.open(group, os.O_RDONLY)
link = bpf(28, struct.pack('=IIII', first, folder, 1, 0))
bpf(8, struct.pack('=IIII', folder, second, 0, 2))
path = ctypes.create_string_buffer(pin.encode())
bpf(6, struct.pack('=QI', ctypes.addressof(path), table))
def number(fd, key):
    return next(line.split()[1] for line in open('/proc/self/fdinfo/%d' % fd) if line.startswith(key))
print(number(table, 'map_id'), number(first, 'prog_id'), number(second, 'prog_id'), number(link, 'link_id'), flush=True)
sys.stdin.read()
"#;

#[test]
fn bpf_program_map_link_attachment_and_pin_are_found_with_their_holder() {
    let folder = tempfile::tempdir().unwrap();
    let (groups, pins) = (folder.path().join("groups"), folder.path().join("pins"));
    fs::create_dir(&groups).unwrap();
    fs::create_dir(&pins).unwrap();
    let _groups = Mounted::new("cgroup2", "none", &groups);
    let _pins = Mounted::new("bpf", "none", &pins);
    let group = groups.join(format!("holdfast-{}", std::process::id()));
    let group = ControlGroup::new(group);
    let pin = pins.join("hf_pin");
    let holder = Holding::python(BPF, &[group.0.to_str().unwrap(), pin.to_str().unwrap()]);
    let [map, linked, attached, link] =
        holder.1.iter().map(|id| id.parse::<u64>().unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("four numbers")
    };
    let pid = holder.0.id().to_string();
    let found = |rows: &[Value], id: u64| rows.iter().find(|row| row["id"] == id).expect("listed").clone();

    let (programs, captured) = capture("bpf_programs");
    let row = found(&programs, linked);
    assert_eq!(
        (&row["name"], &row["type"], &row["pids"]),
        (&"hf_link".into(), &"cgroup_skb".into(), &pid.as_str().into())
    );
    assert_eq!((&row["map_ids"], &row["listed"]), (&map.to_string().into(), &true.into()));
    assert_eq!(
        (&row["gpl_compatible"], &row["xlated_size"], &row["uid"]),
        (&true.into(), &32.into(), &0.into())
    );
    let kept = captured
        .kept
        .iter()
        .find(|raw| raw.path == format!("/bpf/program/{linked}/xlated").as_bytes())
        .unwrap();
    let bytes = kept.text().unwrap();
    assert_eq!((bytes.len(), bytes[0], bytes[24]), (32, 0x18, 0x95));
    let row = found(&rows("bpf_maps"), map);
    assert_eq!(
        (&row["name"], &row["type"], &row["pids"]),
        (&"hf_map".into(), &"hash".into(), &pid.as_str().into())
    );
    assert_eq!(
        (&row["key_size"], &row["value_size"], &row["max_entries"]),
        (&4.into(), &8.into(), &3.into())
    );
    let row = found(&rows("bpf_links"), link);
    assert_eq!(
        (&row["type"], &row["program_id"], &row["pids"]),
        (&"cgroup".into(), &linked.into(), &pid.as_str().into())
    );
    assert_eq!(row["attach_type"], "cgroup_inet_egress");
    let pinned = rows("bpf_pinned_objects");
    assert!(pinned.iter().any(|row| row["path"] == pin.to_str().unwrap()));

    let attachments = rows("bpf_attachments");
    for (program, place) in [(linked, "cgroup_inet_egress"), (attached, "cgroup_inet_ingress")] {
        let row = attachments
            .iter()
            .find(|row| row["program_id"] == program && row["cgroup"] == group.0.to_str().unwrap());
        assert_eq!(row.expect("attached")["attach_type"], place);
    }
    let listed: Vec<Value> = serde_json::from_str(&output("bpftool", &["-j", "prog", "list"])).unwrap();
    let row = found(&programs, linked);
    let theirs = found(&listed, linked);
    assert_eq!((&theirs["tag"], &theirs["bytes_xlated"]), (&row["tag"], &row["xlated_size"]));
    let drift = row["load_time"].as_i64().unwrap() - theirs["loaded_at"].as_i64().unwrap();
    assert!(drift.abs() <= 2, "{drift}");
}

/// Pins a program of the type in the second argument at the path in the first.
const PINNED: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes.ljust(128, b'\0'), 128)
    result = libc.syscall(321 if os.uname().machine == 'x86_64' else 280, command, attributes, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), 'bpf %d' % command)
    return result
code = ctypes.create_string_buffer(struct.pack('=BBhi', 0xb7, 0, 0, 2) + struct.pack('=BBhi', 0x95, 0, 0, 0), 16)
licence = ctypes.create_string_buffer(b'GPL')
program = bpf(5, struct.pack('=IIQQIIQII', int(sys.argv[2]), 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0))
path = ctypes.create_string_buffer(sys.argv[1].encode())
bpf(6, struct.pack('=QI', ctypes.addressof(path), program))
print(next(line.split()[1] for line in open('/proc/self/fdinfo/%d' % program) if line.startswith('prog_id')))
"#;

#[test]
fn folder_that_is_too_deep_hides_no_pin_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let _pins = Mounted::new("bpf", "none", folder.path());
    let deep = (0..40).fold(folder.path().join("m"), |path, _| path.join("deep"));
    fs::create_dir_all(&deep).unwrap();
    let pins = ["a", "z", "m/deep/deep"].map(|beside| folder.path().join(beside).join("pin"));
    for pin in &pins {
        fs::create_dir_all(pin.parent().unwrap()).unwrap();
        output("python3", &["-c", PINNED, pin.to_str().unwrap(), "6"]);
    }
    let (rows, captured) = capture("bpf_pinned_objects");
    for pin in &pins {
        assert!(rows.iter().any(|row| row["path"] == pin.to_str().unwrap()), "{}", pin.display());
    }
    let named = |gap: &&holdfast_agent::state::Gap| gap.subject.starts_with(folder.path().to_str().unwrap());
    assert_eq!(captured.gaps.iter().filter(named).count(), 1);
}

/// A pair of interfaces that ends with the test.
struct Interface(String);

impl Drop for Interface {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.0]).status();
    }
}

#[test]
fn programs_at_an_interface_are_found_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let _pins = Mounted::new("bpf", "none", folder.path());
    let pin = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (express, filter) = (pin("express"), pin("filter"));
    let id = |path: &str, kind: &str| {
        output("python3", &["-c", PINNED, path, kind]).trim().parse::<u64>().unwrap()
    };
    let (express_id, filter_id) = (id(&express, "6"), id(&filter, "3"));
    let name = format!("hf{}", std::process::id() % 1_000_000);
    output("ip", &["link", "add", &name, "type", "veth", "peer", "name", &format!("{name}p")]);
    let _interface = Interface(name.clone());
    output("ip", &["link", "set", "dev", &name, "xdpgeneric", "pinned", &express]);
    output("tc", &["qdisc", "add", "dev", &name, "clsact"]);
    output("tc", &["filter", "add", "dev", &name, "egress", "bpf", "da", "object-pinned", &filter]);
    let rows = rows("bpf_attachments");
    let found: BTreeSet<_> = rows
        .iter()
        .filter(|row| row["interface"] == name.as_str())
        .map(|row| (row["attach_type"].as_str().unwrap(), row["program_id"].as_u64().unwrap()))
        .collect();
    assert_eq!(found, BTreeSet::from([("xdp_generic", express_id), ("tc_egress", filter_id)]));
}

/// Attaches a program to a user probe by a perf event, as tools did before there were links.
const PROBE: &str = r#"
import ctypes, fcntl, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
intel = os.uname().machine == 'x86_64'
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), 'call %d' % number)
    return result
code = ctypes.create_string_buffer(struct.pack('=BBhi', 0xb7, 0, 0, 0) + struct.pack('=BBhi', 0x95, 0, 0, 0), 16)
licence = ctypes.create_string_buffer(b'GPL')
attributes = struct.pack('=IIQQ', 2, 2, ctypes.addressof(code), ctypes.addressof(licence)).ljust(128, b'\0')
program = call(321 if intel else 280, 5, ctypes.create_string_buffer(attributes, 128), 128)
kind = int(open('/sys/bus/event_source/devices/uprobe/type').read())
path = ctypes.create_string_buffer(os.path.realpath(sys.argv[1]).encode())
event = struct.pack('=IIQQQQQIIQQ', kind, 112, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(path), 64).ljust(112, b'\0')
event = call(298 if intel else 241, ctypes.create_string_buffer(event, 112), os.getpid(), -1, -1, 8)
fcntl.ioctl(event, 0x40042408, program)
print(next(line.split()[1] for line in open('/proc/self/fdinfo/%d' % program) if line.startswith('prog_id')), event, flush=True)
sys.stdin.read()
"#;

#[test]
fn program_behind_a_perf_event_is_found_with_what_it_probes() {
    let folder = tempfile::tempdir().unwrap();
    let probed = folder.path().join("probed");
    fs::copy("/bin/true", &probed).unwrap();
    let holder = Holding::python(PROBE, &[probed.to_str().unwrap()]);
    let [program, event] = holder.1.iter().map(|id| id.parse::<u64>().unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("two numbers")
    };
    let rows = rows("bpf_attachments");
    let row = rows
        .iter()
        .find(|row| row["pid"] == holder.0.id() && row["fd"] == event)
        .expect("the event is found");
    assert_eq!((&row["program_id"], &row["attach_type"]), (&program.into(), &"uprobe".into()));
    assert_eq!((&row["target"], &row["offset"]), (&probed.to_str().unwrap().into(), &64.into()));
}

#[test]
fn registered_program_format_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mounted::new("binfmt_misc", "none", folder.path());
    let name = format!("holdfast-{}", std::process::id());
    fs::write(folder.path().join("register"), format!(":{name}:M:1:\\x00HF:\\xff\\xff\\x00:/bin/true:O"))
        .unwrap();
    let found = rows("binfmt_misc");
    fs::write(folder.path().join(&name), "-1").unwrap();
    drop(mount);
    let row = found.iter().find(|row| row["name"] == name.as_str()).expect("registered");
    assert_eq!(
        (&row["interpreter"], &row["flags"], &row["enabled"]),
        (&"/bin/true".into(), &"O".into(), &true.into())
    );
    assert_eq!(
        (&row["offset"], &row["magic"], &row["mask"]),
        (&1.into(), &"004846".into(), &"ffff00".into())
    );
    assert_eq!(row["all_enabled"], true);
}

#[test]
fn settings_are_those_of_sysctl_without_the_secrets() {
    let before = output("sh", &["-c", "sysctl -a 2>/dev/null"]);
    let rows = rows("system_controls");
    let after = output("sh", &["-c", "sysctl -a 2>/dev/null"]);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, after) = (lines(&before), lines(&after));
    let ours: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| Some((row["name"].as_str()?, row["current_value"].as_str()?)))
        .flat_map(|(name, value)| {
            value.split('\n').map(|line| format!("{name} = {line}").trim_end().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let secret = |line: &str| {
        ["stable_secret", "tcp_fastopen_key", "random.uuid", "stat_refresh"]
            .iter()
            .any(|name| line.contains(name))
    };
    // Counters may come back to where they were.
    let counts = |line: &str| {
        [
            "fs.dentry-state",
            "fs.inode-",
            "fs.file-nr",
            "kernel.ns_last_pid",
            "kernel.random.",
            "kernel.pty.nr",
        ]
        .iter()
        .any(|name| line.starts_with(name))
    };
    // What stays the same in between is in both.
    let stable: Vec<&String> =
        before.intersection(&after).filter(|line| !secret(line) && !counts(line)).collect();
    assert!(stable.len() > 300, "{}", stable.len());
    let missing: Vec<_> =
        stable.into_iter().filter(|line| line.contains(" = ") && !ours.contains(line.trim_end())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!ours.iter().any(|line| secret(line)));
    let omitted = rows.iter().find(|row| row["name"] == "kernel.random.uuid").expect("a row without a value");
    assert_eq!((&omitted["omitted"], &omitted["current_value"]), (&"changes".into(), &Value::Null));
}

#[test]
fn kernel_messages_are_those_of_dmesg() {
    let theirs = output("dmesg", &["--raw", "--noescape"]);
    let ours = rows("kernel_messages");
    let ours: BTreeSet<String> = ours
        .iter()
        .flat_map(|row| {
            let micros = row["monotonic_us"].as_u64().unwrap();
            let prefix = row["facility"].as_u64().unwrap() * 8 + row["priority"].as_u64().unwrap();
            let stamp = format!("<{prefix}>[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
            row["message"]
                .as_str()
                .unwrap()
                .lines()
                .map(move |line| format!("{stamp}{line}"))
                .collect::<Vec<_>>()
        })
        .collect();
    let lines: Vec<_> = theirs.lines().filter(|line| line.starts_with('<')).collect();
    assert!(lines.len() > 20, "{}", lines.len());
    let missing: Vec<_> =
        lines.iter().filter(|line| !ours.contains(line.trim_end()) && !ours.contains(**line)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn kernel_itself_is_told_by_its_own_files() {
    let text = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    let (info, captured) = capture("kernel_info");
    let [row] = &info[..] else { panic!("one row") };
    assert_eq!(row["version"], output("uname", &["-r"]).trim());
    assert_eq!(row["boot_id"], text("/proc/sys/kernel/random/boot_id").as_str());
    assert_eq!(row["taint"].as_u64().unwrap().to_string(), text("/proc/sys/kernel/tainted"));
    assert!(captured.kept.iter().any(|raw| raw.path == b"/proc/cmdline"));
    assert!(captured.gaps.iter().all(|gap| gap.subject == "/sys/kernel/security"));
    assert!(!rows("kernel_keys").is_empty());
}

#[test]
fn no_module_of_this_host_is_hidden_and_texts_are_kept() {
    assert_eq!(rows("hidden_kernel_modules"), Vec::<Value>::new());
    let (texts, captured) = capture("kernel_texts");
    assert_eq!(texts.len(), captured.kept.len());
    assert!(texts.iter().any(|row| row["path"] == "/proc/iomem"));
}

#[test]
fn loop_device_is_found_with_its_backing_file_even_when_that_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    // A blank at its end is part of a name.
    let file = folder.path().join("back ing ");
    fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let device =
        output("losetup", &["--find", "--show", "--read-only", "--offset", "4096", file.to_str().unwrap()]);
    let device = Detached(device.trim().to_owned());
    let found =
        |rows: Vec<Value>| rows.into_iter().find(|row| row["name"] == device.0.as_str()).expect("listed");
    let row = found(rows("loop_devices"));
    assert_eq!((&row["backing_file"], &row["deleted"]), (&file.to_str().unwrap().into(), &false.into()));
    assert_eq!((&row["offset"], &row["read_only"]), (&4096.into(), &true.into()));
    let row = found(rows("block_devices"));
    assert_eq!((&row["size"], &row["read_only"]), (&(((1 << 20) - 4096) / 512).into(), &true.into()));
    fs::remove_file(&file).unwrap();
    let row = found(rows("loop_devices"));
    assert_eq!((&row["backing_file"], &row["deleted"]), (&file.to_str().unwrap().into(), &true.into()));
}

struct Detached(String);

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn block_devices_are_those_of_lsblk() {
    let theirs: Value = serde_json::from_str(&output(
        "lsblk",
        &["--json", "--bytes", "--list", "--all", "-o", "PATH,SIZE,MAJ:MIN"],
    ))
    .unwrap();
    let ours = rows("block_devices");
    for device in theirs["blockdevices"].as_array().unwrap() {
        // Another test's device comes and goes.
        if device["path"].as_str().unwrap().starts_with("/dev/loop") {
            continue;
        }
        let row = ours.iter().find(|row| row["name"] == device["path"]).expect("listed");
        assert_eq!(row["device_number"].as_str(), device["maj:min"].as_str().map(str::trim));
        assert_eq!(row["size"].as_u64().unwrap() * 512, device["size"].as_u64().unwrap());
    }
    assert!(!ours.is_empty());
    for table in ["swaps", "device_mapper", "md_devices"] {
        assert_eq!(capture(table).1.gap_count, 0);
    }
}

/// Mounts twice over one folder, and once below it, in a namespace of its own.
const MOUNTS: &str = r"
import os, subprocess, sys
os.unshare(os.CLONE_NEWNS) if hasattr(os, 'unshare') else __import__('ctypes').CDLL(None).unshare(0x20000)
run = lambda *words: subprocess.run(words, check=True)
run('mount', '--make-rprivate', '/')
run('mount', '-t', 'tmpfs', 'lower', sys.argv[1])
os.mkdir(sys.argv[1] + '/below')
run('mount', '-t', 'tmpfs', 'below', sys.argv[1] + '/below')
run('mount', '-t', 'tmpfs', 'upper', sys.argv[1])
print('ready', flush=True)
sys.stdin.read()
";

#[test]
fn mounts_of_another_namespace_are_shown_and_the_hidden_ones_marked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let holder = Holding::python(MOUNTS, &[path]);
    let rows = rows("mounts");
    let hidden = |device: &str| {
        let row = rows
            .iter()
            .find(|row| row["device"] == device && row["path"].as_str().unwrap().starts_with(path));
        let row = row.unwrap_or_else(|| panic!("{device} is listed"));
        assert_eq!(row["pid"], holder.0.id());
        row["over_mounted"].as_bool().unwrap()
    };
    assert_eq!((hidden("lower"), hidden("below"), hidden("upper")), (true, true, false));
    let namespaces: BTreeSet<_> = rows.iter().map(|row| row["namespace"].as_u64()).collect();
    assert!(namespaces.len() > 1);
}

#[test]
fn mounts_of_this_namespace_are_those_of_findmnt() {
    // Other tests mount and unmount below the temporary folder.
    let own = |path: &str| !path.starts_with(std::env::temp_dir().to_str().unwrap());
    let theirs = output("findmnt", &["--noheadings", "--raw", "--output", "TARGET,FSTYPE"]);
    let theirs: Vec<(String, String)> = theirs
        .lines()
        .filter_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().ok())
        .map(|[target, kind]: [String; 2]| (target, kind))
        .filter(|(target, _)| own(target))
        .collect();
    let ours: Vec<(String, String)> = rows("mounts")
        .iter()
        .filter(|row| row["pid"] == std::process::id() && own(row["path"].as_str().unwrap()))
        .map(|row| (row["path"].as_str().unwrap().to_owned(), row["type"].as_str().unwrap().to_owned()))
        .collect();
    let sorted = |mut mounts: Vec<(String, String)>| {
        mounts.sort();
        mounts
    };
    assert!(theirs.len() > 5);
    assert_eq!(sorted(ours), sorted(theirs));
}

#[test]
fn firmware_and_buses_are_those_of_sys() {
    let (tables, captured) = capture("acpi_tables");
    for row in &tables {
        let path = format!("/sys/firmware/acpi/tables/{}", row["name"].as_str().unwrap());
        let bytes = fs::read(&path).unwrap();
        assert_eq!((&row["size"], &row["stated_size"]), (&bytes.len().into(), &bytes.len().into()));
        assert!(captured.kept.iter().any(|raw| raw.path == path.as_bytes() && raw.text() == Some(&bytes)));
        let digest = output("sha256sum", &[&path]);
        assert_eq!(row["sha256"].as_str(), digest.split_whitespace().next());
    }
    let count = |folder: &str| fs::read_dir(folder).map_or(0, Iterator::count);
    let devices = rows("pci_devices");
    assert_eq!(devices.len(), count("/sys/bus/pci/devices"));
    for row in &devices {
        let at = |file: &str| {
            fs::read_to_string(format!("/sys/bus/pci/devices/{}/{file}", row["pci_slot"].as_str().unwrap()))
        };
        assert_eq!(row["vendor_id"].as_str(), Some(at("vendor").unwrap().trim()));
        let class = at("class").unwrap();
        let ours = format!(
            "0x{}{}",
            row["pci_class_id"].as_str().unwrap(),
            row["pci_subclass_id"].as_str().unwrap()
        );
        assert!(class.starts_with(&ours), "{class} {ours}");
    }
    assert_eq!(rows("platform_info").len(), 1);
    // What this host has none of is no gap.
    for (table, source) in [("usb_devices", "/sys/bus/usb/devices"), ("efi_variables", "/sys/firmware/efi")] {
        let (rows, captured) = capture(table);
        if !Path::new(source).exists() {
            assert_eq!((rows.len(), captured.gap_count), (0, 0), "{table}");
        }
    }
    // The folder by the name that other tools know it by, which is a link.
    let (rows, captured) = capture("dmi_values");
    let named = fs::read_dir("/sys/class/dmi/id").into_iter().flatten().flatten();
    let values = named.filter(|entry| {
        !matches!(entry.file_name().to_str(), Some("uevent" | "modalias")) && fs::read(entry.path()).is_ok()
    });
    assert_eq!(rows.len(), values.count());
    assert!(!Path::new("/sys/class/dmi").exists() || !rows.is_empty());
    assert_eq!(captured.gap_count, 0);
    // A file system that is not mounted is not looked at, and that is said.
    let mounted = count("/sys/kernel/security") > 0;
    for table in ["ima_measurements", "tpm_event_log", "kernel_info"] {
        let named = capture(table).1.gaps.iter().any(|gap| gap.subject == "/sys/kernel/security");
        assert_eq!(named, !mounted, "{table}");
    }
}
