//! Owns the proofs that the tables of installed software say what the managers themselves say, here and in roots built
//! for the purpose; refuses to change this host.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "these tests ask the managers themselves")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a fixture that cannot be built is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use holdfast_agent::source::Root;
use serde_json::Value;

mod support;

use support::capture;

fn rows(name: &str, root: &Root) -> Vec<Value> {
    let (rows, captured) = capture(name, root);
    for gap in &captured.gaps {
        println!("gap {}: {}", gap.subject, gap.reason);
    }
    rows
}

fn text(row: &Value, column: &str) -> String {
    match &row[column] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env("LC_ALL", "C").output().expect("the program runs")
}

fn lines(output: &Output) -> BTreeSet<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The differences as `dpkg --verify` and `rpm -V` write them.
fn verified(rows: &[Value], manager: &str) -> BTreeSet<String> {
    rows.iter()
        .filter(|row| row["manager"] == manager && row["result"] != "summary")
        .map(|row| {
            let attribute = row["attribute"].as_str().unwrap_or(" ");
            // rpm writes what it does not compare as it writes what is equal.
            let shown = if manager == "rpm" { "." } else { "?" };
            format!("{:<9} {attribute} {}", text(row, "flags").replace('?', shown), text(row, "path"))
        })
        .collect()
}

#[test]
fn debian_packages_are_those_of_dpkg_query() {
    let format = "${Package}\t${Version}\t${Architecture}\t${Status}\t${Installed-Size}\t${Maintainer}\t${Section}\t${Priority}\n";
    let expected = lines(&run("dpkg-query", &["-W", "-f", format]));
    let root = Root::live().unwrap();
    let found: BTreeSet<String> = rows("deb_packages", &root)
        .iter()
        .map(|row| {
            let size = row["size"].as_u64().map_or(String::new(), |size| (size / 1024).to_string());
            let rest = ["maintainer", "section", "priority"].map(|column| text(row, column)).join("\t");
            let first = ["name", "version", "arch", "status"].map(|column| text(row, column)).join("\t");
            format!("{first}\t{size}\t{rest}")
        })
        .collect();
    assert!(expected.len() > 10);
    assert_eq!(found, expected);
}

#[test]
fn debian_packages_are_those_of_dpkg_l() {
    let listed: BTreeSet<String> = lines(&run("dpkg", &["-l", "--no-pager"]))
        .iter()
        .filter(|line| line.as_bytes().get(2..4).is_some_and(|gap| gap[0] == b' ' || gap[1] == b' '))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let name = words.next()?.split(':').next()?.to_owned();
            Some(format!("{name} {} {}", words.next()?, words.next()?))
        })
        .filter(|line| !line.starts_with("Name ") && !line.contains('='))
        .collect();
    let found: BTreeSet<String> = rows("deb_packages", &Root::live().unwrap())
        .iter()
        .map(|row| format!("{} {} {}", text(row, "name"), text(row, "version"), text(row, "arch")))
        .collect();
    assert!(found.is_subset(&listed), "{:?}", found.difference(&listed).collect::<Vec<_>>());
}

#[test]
fn integrity_on_this_host_is_what_dpkg_verify_says() {
    let expected = lines(&run("dpkg", &["--verify"]));
    let rows = rows("package_file_integrity", &Root::live().unwrap());
    // Overrides of what no package holds are not looked at by dpkg.
    let of_packages: Vec<Value> = rows.iter().filter(|row| row["package"].is_string()).cloned().collect();
    let found = verified(&of_packages, "dpkg");
    assert!(found == expected, "{:?}", found.symmetric_difference(&expected).take(20).collect::<Vec<_>>());
    let summary = rows.iter().find(|row| row["result"] == "summary").unwrap();
    assert!(summary["files_checked"].as_u64().unwrap() > 1_000);
}

/// A root with a package of Debian whose files are as they should be.
fn debian_root() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let kept = ["/usr/bin/kept", "/usr/bin/changed", "/usr/bin/gone", "/usr/bin/linked", "/usr/bin/moved"];
    for path in kept.iter().chain(&["/etc/set", "/etc/set2", "/usr/bin/taken", "/usr/share/dir-now"]) {
        write(root, path, "content\n");
    }
    let digest = "f75b8179e4bbe7e2b4a074dcef62de95";
    let status = format!(
        "Package: fixture\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1-2\nMaintainer: x\n\
         Description: x\nConffiles:\n /etc/set {digest}\n /etc/set2 {digest}\n /etc/new newconffile\n\n\
         Package: removed\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 3\nMaintainer: x\n\
         Description: x\nConffiles:\n /etc/left {digest}\n"
    );
    write(root, "/var/lib/dpkg/status", status);
    write(root, "/etc/left", "content\n");
    let paths: Vec<&str> = kept.into_iter().chain(["/usr/share/dir-now"]).collect();
    let list = format!("/.\n/usr\n/usr/bin\n{}\n/etc/set\n/etc/set2\n", paths.join("\n"));
    write(root, "/var/lib/dpkg/info/fixture.list", list);
    write(root, "/var/lib/dpkg/info/removed.list", "/etc/left\n");
    let digests: String = paths.iter().map(|path| format!("{digest}  {}\n", &path[1..])).collect();
    // A file that another package took over stays in the digests, but not in the list.
    write(root, "/var/lib/dpkg/info/fixture.md5sums", format!("{digests}{digest}  usr/bin/taken\n"));
    write(root, "/var/lib/dpkg/info/format", "1\n");
    write(root, "/var/lib/dpkg/diversions", "/usr/bin/moved\n/usr/bin/moved.old\n:\n");
    fs::rename(root.join("usr/bin/moved"), root.join("usr/bin/moved.old")).unwrap();
    folder
}

#[test]
fn planted_changes_are_found_as_dpkg_verify_finds_them() {
    let folder = debian_root();
    let path = folder.path();
    let root = Root::mounted(path).unwrap();
    let (clean, captured) = capture("package_file_integrity", &root);
    assert_eq!((clean.len(), captured.gap_count), (1, 0), "{clean:?}");
    assert_eq!((clean[0]["packages"].as_u64(), clean[0]["files_checked"].as_u64()), (Some(2), Some(12)));

    write(path, "/usr/bin/changed", "Content\n");
    write(path, "/usr/bin/moved.old", "evil\n");
    write(path, "/usr/bin/moved", "what diverted it\n");
    write(path, "/usr/bin/taken", "by another package\n");
    write(path, "/etc/set", "set\n");
    write(path, "/etc/left", "set\n");
    fs::remove_file(path.join("etc/set2")).unwrap();
    fs::remove_file(path.join("usr/bin/gone")).unwrap();
    fs::remove_file(path.join("usr/bin/linked")).unwrap();
    symlink("kept", path.join("usr/bin/linked")).unwrap();

    let rows = rows("package_file_integrity", &root);
    // dpkg reads through the link, where this reads nothing.
    let found =
        verified(&rows, "dpkg").iter().map(|row| row.replace("?M???", "?M.??")).collect::<BTreeSet<_>>();
    let outside = format!("--root={}", path.display());
    let expected = lines(&run("dpkg", &[&outside, "--verify"]));
    // dpkg only looks whether a file that was moved is there.
    let moved = "??5??????   /usr/bin/moved.old".to_owned();
    assert_eq!(found, expected.into_iter().chain([moved]).collect());
    let row = rows.iter().find(|row| row["path"] == "/usr/bin/moved.old").unwrap();
    assert_eq!(row["diverted_from"], "/usr/bin/moved");
    let row = rows.iter().find(|row| row["path"] == "/usr/bin/linked").unwrap();
    assert_eq!((row["type"].as_str(), row["target"].as_str()), (Some("symlink"), Some("kept")));
    let row = rows.iter().find(|row| row["path"] == "/usr/bin/changed").unwrap();
    assert_eq!(row["expected_digest"], "f75b8179e4bbe7e2b4a074dcef62de95");
    assert_eq!((row["package"].as_str(), row["package_version"].as_str()), (Some("fixture"), Some("1-2")));

    fs::remove_file(path.join("usr/share/dir-now")).unwrap();
    fs::create_dir(path.join("usr/share/dir-now")).unwrap();
    let found = verified(&self::rows("package_file_integrity", &root), "dpkg");
    assert!(found.contains("?M???????   /usr/share/dir-now"), "{found:?}");
}

#[test]
fn files_that_lost_their_list_of_digests_are_counted() {
    let folder = debian_root();
    let root = Root::mounted(folder.path()).unwrap();
    let without_digest = || {
        let rows = rows("package_file_integrity", &root);
        let summary = rows.iter().find(|row| row["result"] == "summary");
        summary.and_then(|row| row["files_without_digest"].as_u64()).unwrap()
    };
    let before = without_digest();
    fs::remove_file(folder.path().join("var/lib/dpkg/info/fixture.md5sums")).unwrap();
    assert!(without_digest() > before);
}

#[test]
fn override_that_is_not_in_effect_is_found() {
    let folder = debian_root();
    write(
        folder.path(),
        "/var/lib/dpkg/statoverride",
        "root root 0755 /usr/bin/kept\n#0 #5 4755 /usr/bin/changed\nroot root 0 /not/there\n",
    );
    fs::set_permissions(folder.path().join("usr/bin/kept"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.path().join("usr/bin/changed"), fs::Permissions::from_mode(0o755)).unwrap();
    let rows = rows("package_file_integrity", &Root::mounted(folder.path()).unwrap());
    let expected = BTreeSet::from(["?M.??.G??   /usr/bin/changed".to_owned()]);
    assert_eq!(verified(&rows, "dpkg"), expected);
}

/// A file system of a program that never answers.
struct Hanging {
    folder: std::path::PathBuf,
    /// Closing it would end the waiting.
    _device: fs::File,
}

impl Hanging {
    fn at(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
        rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::empty()).unwrap();
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
        let mounted =
            run("mount", &["-i", "-t", "fuse", "-o", &options, "hanging", folder.to_str().unwrap()]);
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::CLOEXEC).unwrap();
        Self { folder: folder.to_owned(), _device: device }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        run("umount", &["-l", self.folder.to_str().unwrap()]);
    }
}

#[test]
fn file_system_that_never_answers_is_a_gap_and_nothing_waits_for_it() {
    let folder = debian_root();
    let digest = "f75b8179e4bbe7e2b4a074dcef62de95";
    symlink("usr/hung", folder.path().join("alias")).unwrap();
    write(folder.path(), "/etc/passwd", "u:x:1:1::/alias/home:/bin/sh\n");
    write(
        folder.path(),
        "/var/lib/dpkg/info/fixture.list",
        "/usr/hung\n/usr/hung/tool\n/alias/tool\n/usr/bin/kept\n",
    );
    let digests = ["usr/hung/tool", "alias/tool", "usr/bin/kept"].map(|path| format!("{digest}  {path}\n"));
    write(folder.path(), "/var/lib/dpkg/info/fixture.md5sums", digests.concat());
    let _hanging = Hanging::at(&folder.path().join("usr/hung"));
    let root = Root::mounted(folder.path()).unwrap();
    let (rows, captured) = capture("package_file_integrity", &root);
    let unreadable: BTreeSet<String> =
        rows.iter().filter(|row| row["result"] == "unreadable").map(|row| text(row, "path")).collect();
    assert_eq!(unreadable, ["/usr/hung", "/usr/hung/tool", "/alias/tool"].map(str::to_owned).into());
    assert_eq!(captured.gap_count, 3);
    let (_, captured) = capture("python_packages", &root);
    assert_eq!(captured.gaps.first().map(|gap| gap.subject.as_str()), Some("/alias/home"));
}

#[test]
fn image_without_dpkg_is_read_from_its_folder_of_entries() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "/var/lib/dpkg/status.d/base",
        "Package: base-files\nVersion: 12\nArchitecture: all\n",
    );
    let digest = "f75b8179e4bbe7e2b4a074dcef62de95";
    write(
        folder.path(),
        "/var/lib/dpkg/status.d/base.md5sums",
        format!("{digest}  etc/a\n{digest}  etc/b\n"),
    );
    write(folder.path(), "/etc/a", "content\n");
    write(folder.path(), "/etc/b", "other\n");
    let root = Root::mounted(folder.path()).unwrap();
    let found = rows("deb_packages", &root);
    assert_eq!((found.len(), text(&found[0], "database").as_str()), (1, "status.d/base"));
    let found = verified(&rows("package_file_integrity", &root), "dpkg");
    assert_eq!(found, BTreeSet::from(["??5??????   /etc/b".to_owned()]));
}

#[test]
fn hostile_database_of_dpkg_neither_leaves_its_root_nor_stops_the_capture() {
    let folder = debian_root();
    let digest = "f75b8179e4bbe7e2b4a074dcef62de95";
    write(
        folder.path(),
        "/var/lib/dpkg/info/fixture.list",
        b"/../../../../../../etc/passwd\nrelative\n\n/\n/usr/bin/..\n/nul\0name\n/\xff\xfe\n/usr/bin/kept\n",
    );
    let digests: Vec<u8> = ["../../../../../../etc/passwd", "relative", "", "usr/bin/..", "nul\0name"]
        .iter()
        .flat_map(|path| format!("{digest}  {path}\n").into_bytes())
        .collect();
    write(folder.path(), "/var/lib/dpkg/info/fixture.md5sums", [&digests[..], b"\xff  \xff\n"].concat());
    let rows = rows("package_file_integrity", &Root::mounted(folder.path()).unwrap());
    // The host's own account file was not read, so its digest is nowhere.
    assert!(
        rows.iter().any(|row| row["path"] == "/../../../../../../etc/passwd" && row["result"] == "missing")
    );
    assert!(rows.iter().any(|row| row["result"] == "summary"));
}

const SPEC: &str = r#"
Name: fixture
Epoch: 3
Version: 1.2
Release: 4
Summary: Files of every kind
License: MIT
Group: Fixtures
Vendor: Example
BuildArch: noarch
AutoReqProv: no
%description
Files of every kind.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/share/many %{buildroot}/var/log %{buildroot}/usr/lib/folder
for name in kept changed gone mode linked capable grown timed; do echo content > %{buildroot}/usr/bin/$name; done
echo set > %{buildroot}/etc/set.conf
echo set > %{buildroot}/etc/free.conf
echo doc > %{buildroot}/usr/share/note
ln -s kept %{buildroot}/usr/bin/link
ln -s kept %{buildroot}/usr/bin/relinked
for number in $(seq 1200); do echo $number > %{buildroot}/usr/share/many/file-with-a-long-name-$number; done
%files
%defattr(0644,root,root,0755)
%attr(0755,root,root) /usr/bin/kept
/usr/bin/changed
/usr/bin/gone
/usr/bin/mode
/usr/bin/linked
/usr/bin/grown
/usr/bin/timed
/usr/bin/link
/usr/bin/relinked
%caps(cap_net_raw=ep) /usr/bin/capable
%config /etc/set.conf
%config(noreplace) %verify(not md5 size mtime) /etc/free.conf
%doc /usr/share/note
%ghost /var/log/ghost.log
%dir /usr/lib/folder
/usr/share/many
"#;

/// A package that rpm's own tools built.
fn build_rpm(folder: &Path) -> String {
    write(folder, "fixture.spec", SPEC);
    let top = format!("_topdir {}", folder.display());
    let spec = folder.join("fixture.spec");
    let digest = "_binary_filedigest_algorithm 8";
    let built = run("rpmbuild", &["-bb", "--define", &top, "--define", digest, spec.to_str().unwrap()]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join("RPMS/noarch/fixture-1.2-4.noarch.rpm").to_str().unwrap().to_owned()
}

/// Has rpm itself look at, or work on, another root.
fn rpm(root: &Path, arguments: &[&str]) -> Output {
    let root = root.to_str().unwrap();
    let settled = [
        "--root",
        root,
        "--dbpath",
        "/var/lib/rpm",
        "--define",
        "_db_backend sqlite",
        "--define",
        "_pkgverify_level none",
    ];
    run("rpm", &[&settled[..], arguments].concat())
}

/// A root where rpm itself installed the package.
fn rpm_root(package: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "/etc/passwd", "root:x:0:0::/:/bin/sh\ndaemon:x:1:1::/:/bin/sh\n");
    write(folder.path(), "/etc/group", "root:x:0:\ndaemon:x:1:\n");
    fs::create_dir_all(folder.path().join("var/lib/rpm")).unwrap();
    let done = rpm(folder.path(), &["-i", "--nodeps", "--ignorearch", "--ignoreos", package]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder
}

/// The headers of a database of SQLite, by SQLite's own program: number and hexadecimal bytes.
fn headers(root: &Path) -> Vec<(u32, String)> {
    let file = root.join("var/lib/rpm/rpmdb.sqlite");
    let dump = run("sqlite3", &[file.to_str().unwrap(), "select hnum, lower(hex(blob)) from Packages"]);
    let header = |line: &String| {
        let (number, blob) = line.split_once('|').unwrap();
        (number.parse().unwrap(), blob.to_owned())
    };
    lines(&dump).iter().map(header).collect()
}

/// Turns a database of SQLite into one of ndb, which Debian's rpm is built without, by its format in rpm's `rpmpkg.c`.
fn to_ndb(root: &Path) {
    let mut slots = Vec::new();
    let mut blobs = Vec::new();
    for (number, blob) in headers(root) {
        let blob: Vec<u8> = (0..blob.len() / 2)
            .map(|at| u8::from_str_radix(&blob[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let start = 256 + u32::try_from(blobs.len() / 16).unwrap();
        let length = u32::try_from(blob.len()).unwrap();
        blobs.extend([b"BlbS".to_vec(), words(&[number, 1, length]), blob].concat());
        // The checksum in the tail is not looked at.
        blobs.resize((blobs.len() + 12).next_multiple_of(16) - 12, 0);
        blobs.extend([words(&[0, length]), b"BlbE".to_vec()].concat());
        let blocks = 256 + u32::try_from(blobs.len() / 16).unwrap() - start;
        slots.extend([b"Slot".to_vec(), words(&[number, start, blocks])].concat());
    }
    let head = [b"RpmP".to_vec(), words(&[0, 1, 1, 2, 0, 0, 0])].concat();
    let mut file = [head, slots].concat();
    while file.len() < 4096 {
        file.extend([b"Slot".to_vec(), words(&[0, 0, 0])].concat());
    }
    write(root, "/var/lib/rpm/Packages.db", [file, blobs].concat());
    fs::remove_file(root.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Turns a database of SQLite into one of Berkeley DB with its own loader.
fn to_berkeley(root: &Path) {
    let folder = root.join("var/lib/rpm");
    let sqlite = folder.join("rpmdb.sqlite");
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let mut text = format!(" {}\n {}\n", escaped(&[0; 4]), escaped(&[9, 0, 0, 0]));
    for (number, blob) in headers(root) {
        let blob: String = blob
            .as_bytes()
            .chunks(2)
            .map(|pair| format!("\\{}", std::str::from_utf8(pair).unwrap()))
            .collect();
        text += &format!(" {}\n {blob}\n", escaped(&number.to_le_bytes()));
    }
    let text = text.replace("\n ", "\n").trim_start().to_owned();
    write(root, "dump", text);
    let loaded = run(
        "db5.3_load",
        &[
            "-T",
            "-t",
            "hash",
            "-f",
            root.join("dump").to_str().unwrap(),
            folder.join("Packages").to_str().unwrap(),
        ],
    );
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    fs::remove_file(sqlite).unwrap();
}

#[test]
fn packages_of_rpm_are_read_from_each_of_its_three_stores() {
    let folder = tempfile::tempdir().unwrap();
    let package = build_rpm(folder.path());
    let query = "%{NAME}\t%{VERSION}\t%{RELEASE}\t%{SOURCERPM}\t%{SIZE}\t%{SHA1HEADER}\t%{ARCH}\t%{EPOCH}\t%{INSTALLTIME}\t%{VENDOR}\t%{GROUP}\n";
    for (store, file) in [("sqlite", "rpmdb.sqlite"), ("ndb", "Packages.db"), ("berkeley", "Packages")] {
        let image = rpm_root(&package);
        let expected = lines(&rpm(image.path(), &["-qa", "--qf", query]));
        assert_eq!(expected.len(), 1);
        match store {
            "berkeley" => to_berkeley(image.path()),
            "ndb" => to_ndb(image.path()),
            _ => {}
        }
        let (found, captured) = capture("rpm_packages", &Root::mounted(image.path()).unwrap());
        assert_eq!(
            captured.gap_count,
            0,
            "{store} {:?}",
            captured.gaps.first().map(|gap| (&gap.subject, &gap.reason))
        );
        let columns = [
            "name",
            "version",
            "release",
            "source",
            "size",
            "sha1",
            "arch",
            "epoch",
            "install_time",
            "vendor",
            "package_group",
        ];
        let shown: BTreeSet<String> =
            found.iter().map(|row| columns.map(|column| text(row, column)).join("\t")).collect();
        assert_eq!(shown, expected, "{store}");
        assert_eq!(found[0]["database"], format!("/var/lib/rpm/{file}"));
        let integrity = rows("package_file_integrity", &Root::mounted(image.path()).unwrap());
        assert_eq!(
            (integrity.len(), integrity[0]["files_checked"].as_u64()),
            (1, Some(1216)),
            "{integrity:?}"
        );
        damage(&image.path().join("var/lib/rpm").join(file), image.path());
    }
}

#[test]
fn rows_of_rpm_that_hold_no_header_are_gaps() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "/var/lib/rpm/Packages", "");
    let file = folder.path().join("var/lib/rpm/rpmdb.sqlite");
    let rows = "create table Packages(hnum integer primary key, blob); insert into Packages values (7, 'text'), (8, null);";
    assert!(run("sqlite3", &[file.to_str().unwrap(), rows]).status.success());
    let gaps = capture("rpm_packages", &Root::mounted(folder.path()).unwrap()).1.gaps;
    let of = |number: &str| gaps.iter().find(|gap| gap.subject.ends_with(number)).unwrap();
    assert!(of("sqlite header 7").reason.contains("damaged header"), "text is read as its bytes");
    assert!(of("sqlite header 8").reason.contains("no header"));
}

/// Changes bytes of a database at random: what is read of it may be wrong, but the reading ends.
fn damage(file: &Path, image: &Path) {
    let sound = fs::read(file).unwrap();
    let mut state = 7_u32;
    for round in 0..60 {
        let mut bytes = sound.clone();
        for _ in 0..=round {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let span = if round % 2 == 0 { 8_192.min(bytes.len()) } else { bytes.len() };
            let at = state as usize % span;
            bytes[at] = state.to_le_bytes()[3];
        }
        bytes.truncate(if round % 5 == 0 { state as usize % sound.len() } else { sound.len() });
        fs::write(file, bytes).unwrap();
        capture("rpm_packages", &Root::mounted(image).unwrap());
    }
}

#[test]
fn planted_changes_are_found_as_rpm_verify_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let image = rpm_root(&build_rpm(folder.path()));
    let path = image.path();
    write(path, "/usr/bin/changed", "Content\n");
    write(path, "/usr/bin/grown", "content and more\n");
    write(path, "/etc/set.conf", "other\n");
    write(path, "/etc/free.conf", "other\n");
    write(path, "/usr/share/note", "other\n");
    write(path, "/var/log/ghost.log", "other\n");
    write(path, "/usr/bin/timed", "content\n");
    fs::set_permissions(path.join("usr/bin/mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(path.join("usr/bin/kept"), Some(1), Some(77)).unwrap();
    std::os::unix::fs::chown(path.join("usr/bin/capable"), Some(0), Some(0)).unwrap();
    for name in ["gone", "linked", "relinked"] {
        fs::remove_file(path.join("usr/bin").join(name)).unwrap();
    }
    symlink("kept", path.join("usr/bin/linked")).unwrap();
    symlink("/usr/bin/changed", path.join("usr/bin/relinked")).unwrap();
    fs::remove_dir(path.join("usr/lib/folder")).unwrap();
    write(path, "/usr/lib/folder", "no folder\n");
    let expected = lines(&rpm(path, &["-Va", "--nodeps"]));
    // rpm has two spaces behind the flags, where dpkg has one.
    let narrow =
        |line: &String| if line.starts_with("missing") { line.clone() } else { line.replacen("  ", " ", 1) };
    let rows = rows("package_file_integrity", &Root::mounted(path).unwrap());
    assert_eq!(verified(&rows, "rpm"), expected.iter().map(narrow).collect::<BTreeSet<_>>());
}

fn sha1_base64(content: &[u8]) -> String {
    use base64::Engine;
    use sha1::Digest;
    base64::engine::general_purpose::STANDARD.encode(sha1::Sha1::digest(content))
}

#[test]
fn packages_of_apk_and_their_files_are_read_from_its_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["kept", "changed", "mode", "piped"] {
        write(path, &format!("/usr/bin/{name}"), "content\n");
        fs::set_permissions(path.join("usr/bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    write(path, "/etc/set", "set\n");
    fs::set_permissions(path.join("etc/set"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("kept", path.join("usr/bin/link")).unwrap();
    symlink("kept", path.join("usr/bin/relinked")).unwrap();
    let (file, link, set) = (sha1_base64(b"content\n"), sha1_base64(b"kept"), sha1_base64(b"set\n"));
    let file = |name: &str| format!("R:{name}\na:0:0:755\nZ:Q1{file}\n");
    write(
        path,
        "/lib/apk/db/installed",
        format!(
            "C:Q1sum=\nP:fixture\nV:1.2-r3\nA:x86_64\nS:10\nI:4096\nT:Of every kind\nU:https://example.gov\nL:MIT\n\
             o:origin\nm:Nobody <n@example.gov>\nt:1700000000\nc:0123\nD:so:libc\nF:etc\nR:set\nZ:Q1{set}\nF:usr\nF:usr/bin\nM:0:0:755\n{}{}{}{}{}\
             R:link\na:0:0:777\nZ:Q1{link}\nR:relinked\na:0:0:777\nZ:Q1{link}\n\nP:second\nV:2\n\n",
            file("changed"),
            file("gone"),
            file("kept"),
            file("mode"),
            file("piped"),
        ),
    );
    let root = Root::mounted(path).unwrap();
    let found = rows("apk_packages", &root);
    assert_eq!(found.len(), 2);
    let columns =
        ["name", "version", "source", "arch", "size", "url", "license", "build_time", "commit", "checksum"];
    assert_eq!(
        columns.map(|column| text(&found[0], column)).join("|"),
        "fixture|1.2-r3|origin|x86_64|4096|https://example.gov|MIT|1700000000|0123|Q1sum="
    );
    write(path, "/usr/bin/changed", "Content\n");
    write(path, "/etc/set", "other\n");
    fs::set_permissions(path.join("usr/bin/mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::remove_file(path.join("usr/bin/relinked")).unwrap();
    symlink("changed", path.join("usr/bin/relinked")).unwrap();
    fs::remove_file(path.join("usr/bin/piped")).unwrap();
    assert!(run("mkfifo", &["-m", "755", path.join("usr/bin/piped").to_str().unwrap()]).status.success());
    let rows = rows("package_file_integrity", &root);
    let expected = [
        "?.5??..??   /usr/bin/changed",
        "?.5??..?? c /etc/set",
        "?M.??..??   /usr/bin/mode",
        "????L..??   /usr/bin/relinked",
        "?M???..??   /usr/bin/piped",
        "missing     /usr/bin/gone",
    ];
    assert_eq!(verified(&rows, "apk"), expected.map(str::to_owned).into());
    let summary = rows.iter().find(|row| row["result"] == "summary").unwrap();
    assert_eq!((summary["packages"].as_u64(), summary["files_checked"].as_u64()), (Some(2), Some(11)));
}

/// A root with a package of Arch whose files are as they should be.
fn arch_root() -> tempfile::TempDir {
    use sha2::Digest;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut mtree = "#mtree\n/set type=file uid=0 gid=0 mode=644\n./.PKGINFO time=1.0 size=1\n\
        ./usr time=1.0 mode=755 type=dir\n./usr/bin time=1.0 mode=755 type=dir\n"
        .to_owned();
    for name in ["usr/bin/changed", "usr/bin/gone", "usr/bin/kept\\040it", "usr/bin/mode", "etc/set"] {
        let real = path.join(name.replace("\\040", " "));
        write(path, real.strip_prefix(path).unwrap().to_str().unwrap(), "content\n");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
        let time = fs::File::options().write(true).open(&real).unwrap();
        time.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
        let digest: String =
            sha2::Sha256::digest(b"content\n").iter().map(|byte| format!("{byte:02x}")).collect();
        mtree += &format!("./{name} time=1700000000.0 size=8 sha256digest={digest}\n");
    }
    for folder in ["usr", "usr/bin", "etc"] {
        fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let link = path.join("usr/bin/link");
    symlink("mode", &link).unwrap();
    assert!(run("touch", &["-h", "-d", "@1", link.to_str().unwrap()]).status.success());
    mtree += "./usr/bin/link time=1.0 mode=777 type=link link=mode\n";
    let database = "/var/lib/pacman/local/fixture-1:2-3";
    write(path, "/var/lib/pacman/local/ALPM_DB_VERSION", "9\n");
    write(
        path,
        &format!("{database}/desc"),
        "%NAME%\nfixture\n\n%VERSION%\n1:2-3\n\n%BASE%\nbase\n\n%DESC%\nOf every kind\n\n%ARCH%\nany\n\n%BUILDDATE%\n1\n\n\
         %INSTALLDATE%\n2\n\n%PACKAGER%\nNobody\n\n%SIZE%\n40\n\n%REASON%\n1\n\n%LICENSE%\nMIT\nISC\n\n%VALIDATION%\nsha256\npgp\n\n",
    );
    write(
        path,
        &format!("{database}/files"),
        "%FILES%\netc/\netc/set\nusr/\nusr/bin/\nusr/bin/changed\nusr/bin/gone\nusr/bin/kept it\nusr/bin/link\nusr/bin/mode\n\n\
         %BACKUP%\netc/set\tf75b8179e4bbe7e2b4a074dcef62de95\n\n",
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, mtree.as_bytes()).unwrap();
    write(path, &format!("{database}/mtree"), packed.finish().unwrap());
    folder
}

/// What pacman itself says of another root's files: path and flag.
fn pacman_differences(root: &Path) -> BTreeSet<String> {
    let database = root.join("var/lib/pacman");
    write(root, "pacman.conf", "[options]\n");
    let checked = run(
        "pacman",
        &[
            "--root",
            root.to_str().unwrap(),
            "--dbpath",
            database.to_str().unwrap(),
            "--config",
            root.join("pacman.conf").to_str().unwrap(),
            "-Qkk",
        ],
    );
    let flags = [
        ("(Size mismatch)", 'S'),
        ("(Permissions mismatch)", 'M'),
        ("(SHA256 checksum mismatch)", '5'),
        ("(Symlink path mismatch)", 'L'),
        ("(UID mismatch)", 'U'),
        ("(Modification time mismatch)", 'T'),
        ("(No such file or directory)", '-'),
    ];
    let all = [checked.stdout, checked.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    let difference = |line: &str| {
        let (_, flag) = flags.iter().find(|(words, _)| line.ends_with(words))?;
        let path = line.split_once(root.to_str()?)?.1.rsplit_once(" (")?.0;
        Some(format!("/{} {flag}", path.trim_start_matches('/')))
    };
    all.lines().filter_map(difference).collect()
}

#[test]
fn planted_changes_are_found_as_pacman_finds_them() {
    let folder = arch_root();
    let path = folder.path();
    let root = Root::mounted(path).unwrap();
    let found = rows("pacman_packages", &root);
    let columns = [
        "name",
        "version",
        "source",
        "arch",
        "size",
        "licenses",
        "install_time",
        "install_reason",
        "validation",
    ];
    assert_eq!(
        columns.map(|column| text(&found[0], column)).join("|"),
        "fixture|1:2-3|base|any|40|MIT,ISC|2|dependency|sha256,pgp"
    );
    let clean = rows("package_file_integrity", &root);
    assert_eq!((clean.len(), pacman_differences(path).len()), (1, 0), "{clean:?}");
    write(path, "/usr/bin/changed", "Content!\n");
    write(path, "/etc/set", "content\n");
    fs::remove_file(path.join("usr/bin/gone")).unwrap();
    fs::set_permissions(path.join("usr/bin/mode"), fs::Permissions::from_mode(0o4644)).unwrap();
    std::os::unix::fs::chown(path.join("usr/bin/kept it"), Some(1), None).unwrap();
    fs::remove_file(path.join("usr/bin/link")).unwrap();
    symlink("changed", path.join("usr/bin/link")).unwrap();
    let mut found = BTreeSet::new();
    for row in rows("package_file_integrity", &root).iter().filter(|row| row["result"] != "summary") {
        let flags = if row["result"] == "missing" { "-".to_owned() } else { text(row, "flags") };
        for flag in flags.chars().filter(|flag| !".?".contains(*flag)) {
            found.insert(format!("{} {flag}", text(row, "path")));
        }
    }
    assert!(found.len() >= 7, "{found:?}");
    assert_eq!(found, pacman_differences(path));
}

#[test]
fn python_packages_of_an_environment_are_those_of_pip_list() {
    let folder = tempfile::tempdir().unwrap();
    let environment = folder.path().join("opt/app/venv");
    let made = run("python3", &["-m", "venv", environment.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let listed = run(environment.join("bin/pip").to_str().unwrap(), &["list", "--format=freeze"]);
    let site =
        fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    let mut expected = lines(&listed);
    assert!(!expected.is_empty());
    let place = site.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
    write(folder.path(), &format!("{place}/old.egg-info"), "Name: old\nVersion: 1\nSummary: Before wheels\n");
    write(folder.path(), &format!("{place}/broken-1.dist-info/METADATA"), b"\xff\xff");
    // A user's link to what only root may read is not read for them.
    write(folder.path(), "etc/shadow", "root:$y$secret:1::::::\n");
    write(folder.path(), &format!("{place}/sly-1.dist-info/METADATA"), "Name: sly\nVersion: 1\n");
    symlink("/etc/shadow", folder.path().join(&place).join("sly-1.dist-info/INSTALLER")).unwrap();
    expected.insert("sly==1".to_owned());
    expected.insert("old==1".to_owned());
    let (found, captured) = capture("python_packages", &Root::mounted(folder.path()).unwrap());
    let shown: BTreeSet<String> =
        found.iter().map(|row| format!("{}=={}", text(row, "name"), text(row, "version"))).collect();
    assert_eq!(shown, expected);
    assert_eq!(captured.gap_count, 2);
    assert!(!format!("{found:?}").contains("secret"));
    assert!(found.iter().any(|row| row["installer"] == "pip"));
    assert!(found.iter().all(|row| row["directory"] == format!("/{place}")));
}

#[test]
fn node_packages_are_found_nested_scoped_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "/etc/passwd", "u:x:1:1::/home/u:/bin/sh\n");
    let manifest = |name: &str| {
        format!(r#"{{"name":"{name}","version":"1.0","license":"MIT","scripts":{{"install":"x"}}}}"#)
    };
    let modules = "/usr/lib/node_modules";
    write(path, &format!("{modules}/top/package.json"), manifest("top"));
    write(path, &format!("{modules}/top/node_modules/below/package.json"), manifest("below"));
    write(path, &format!("{modules}/@scope/one/package.json"), manifest("@scope/one"));
    write(path, &format!("{modules}/broken/package.json"), "{");
    write(path, "/home/u/.nvm/versions/node/v20/lib/node_modules/mine/package.json", manifest("mine"));
    // A package that holds itself, and a link that leaves the root.
    symlink("/usr/lib/node_modules", path.join("usr/lib/node_modules/@scope/one/node_modules")).unwrap();
    symlink("../../../../../../../../usr/share", path.join("usr/lib/node_modules/out")).unwrap();
    let (found, captured) = capture("npm_packages", &Root::mounted(path).unwrap());
    let shown: BTreeSet<String> =
        found.iter().map(|row| format!("{} {}", text(row, "name"), row["depth"])).collect();
    assert_eq!(shown, ["top 0", "below 1", "@scope/one 0", "mine 0"].map(str::to_owned).into());
    assert_eq!((found.len(), captured.gap_count), (4, 1));
    assert_eq!(found[0]["install_scripts"], "x");
}

#[test]
fn node_packages_nested_without_end_are_cut_and_named_and_the_others_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let deep = "node_modules/z/".repeat(20);
    write(folder.path(), &format!("/usr/lib/{deep}package.json"), r#"{"name":"z"}"#);
    write(folder.path(), "/usr/lib/node_modules/a/node_modules/b/package.json", r#"{"name":"b"}"#);
    let (found, captured) = capture("npm_packages", &Root::mounted(folder.path()).unwrap());
    assert_eq!(found.iter().map(|row| text(row, "name")).collect::<Vec<_>>(), ["b"]);
    assert_eq!(captured.gap_count, 1);
}

#[test]
fn node_packages_of_this_host_are_those_of_npm() {
    let listed = run("npm", &["list", "--global", "--depth=0", "--parseable", "--prefix=/usr"]);
    let expected: BTreeSet<String> =
        lines(&listed).into_iter().filter(|line| line.contains("/node_modules/")).collect();
    let found: BTreeSet<String> = rows("npm_packages", &Root::live().unwrap())
        .iter()
        .filter(|row| row["directory"] == "/usr/lib/node_modules" && row["depth"] == 0)
        .map(|row| text(row, "path").trim_end_matches("/package.json").to_owned())
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
}

#[test]
fn gems_are_read_from_their_specifications() {
    let folder = tempfile::tempdir().unwrap();
    let place = "/var/lib/gems/3.1.0/specifications";
    write(
        folder.path(),
        &format!("{place}/rack-2.2.gemspec"),
        "Gem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.summary = \"Serves\".freeze\nend\n",
    );
    let found = rows("gem_packages", &Root::mounted(folder.path()).unwrap());
    let columns = ["name", "version", "summary", "path"];
    assert_eq!(
        columns.map(|column| text(&found[0], column)).join("|"),
        format!("rack|2.2|Serves|{place}/rack-2.2.gemspec")
    );
    assert!(found[0]["files_written"].is_i64());
}

#[test]
fn snaps_are_read_from_the_state_of_snapd_and_from_their_mounts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let state = r#"{"data":{"auth":{"secret":"x"},"snaps":{
        "core22":{"type":"base","sequence":[{"name":"core22","snap-id":"id1","revision":"10"},{"name":"core22","snap-id":"id1","revision":"12"}],
            "active":true,"current":"12","channel":"latest/stable"},
        "tool":{"type":"app","sequence":[{"snap":{"name":"tool","revision":"x1"},"components":[]}],"active":false,"current":"x1","devmode":true},
        "../../etc":{"sequence":[{"revision":"1"}]}}},"changes":{}}"#;
    write(path, "/var/lib/snapd/state.json", state);
    write(
        path,
        "/snap/core22/12/meta/snap.yaml",
        "name: core22\nversion: '20240111'\nsummary: Base\ntype: base\ngrade: stable\n",
    );
    write(path, "/snap/core22/10/meta/snap.yaml", b"version: '1'\nsummary: \xff\n");
    write(path, "/snap/tool/x1/meta/snap.yaml", "a: &a [*a, *a]\n: :\n - [");
    let (found, captured) = capture("snap_packages", &Root::mounted(path).unwrap());
    let columns =
        ["name", "revision", "version", "snap_id", "channel", "type", "current", "active", "devmode"];
    let shown: Vec<String> =
        found.iter().map(|row| columns.map(|column| text(row, column)).join("|")).collect();
    assert_eq!(
        shown,
        [
            "../../etc|1|||||false|false|false",
            "core22|10||id1|latest/stable|base|false|true|false",
            "core22|12|20240111|id1|latest/stable|base|true|true|false",
            "tool|x1||||app|true|false|true",
        ]
    );
    assert_eq!(captured.gap_count, 2);
}

#[test]
fn flatpaks_are_read_from_where_they_are_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "/etc/passwd", "u:x:1:1::/home/u:/bin/sh\n");
    for (place, kind) in [("/var/lib/flatpak", "app"), ("/home/u/.local/share/flatpak", "runtime")] {
        let branch = format!("{place}/{kind}/gov.example.Tool/x86_64/stable");
        write(
            path,
            &format!("{branch}/0123/metadata"),
            "[Application]\nname=gov.example.Tool\nruntime=gov.example.Platform/x86_64/1\n",
        );
        write(path, &format!("{branch}/0123/deploy"), b"flathub\x000123\0rest");
        write(path, &format!("{branch}/0123/files/bin/tool"), "x");
        symlink("0123", path.join(&branch[1..]).join("active")).unwrap();
        symlink("x86_64/stable", path.join(&branch[1..]).join("../../current")).unwrap();
    }
    write(path, "/etc/shadow", "root:$y$secret:1::::::\n");
    let sly = path.join("home/u/.local/share/flatpak/app/sly/x86_64/stable");
    fs::create_dir_all(sly.join("1/files/bin")).unwrap();
    symlink("1", sly.join("active")).unwrap();
    symlink("/etc/shadow", sly.join("active/deploy")).unwrap();
    let (mut found, captured) = capture("flatpak_packages", &Root::mounted(path).unwrap());
    assert!(captured.gaps.iter().any(|gap| gap.subject.ends_with("/sly/x86_64/stable/active/deploy")));
    assert!(!format!("{found:?}").contains("secret"));
    found.retain(|row| row["app_id"] != "sly");
    let columns = ["app_id", "arch", "branch", "commit_hash", "origin", "runtime", "type", "installation"];
    let shown: Vec<String> =
        found.iter().map(|row| columns.map(|column| text(row, column)).join("|")).collect();
    let rest = "gov.example.Tool|x86_64|stable|0123|flathub|gov.example.Platform/x86_64/1";
    assert_eq!(shown, [format!("{rest}|app|system"), format!("{rest}|runtime|user")]);
    assert_eq!(captured.gap_count, 1);
}

#[test]
fn sources_of_apt_on_this_host_are_those_it_would_fetch_from() {
    let expected: BTreeSet<String> =
        lines(&run("apt-get", &["indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"]));
    let found: BTreeSet<String> = rows("apt_sources", &Root::live().unwrap())
        .iter()
        .filter(|row| row["enabled"] == true)
        .flat_map(|row| {
            let first = format!("{} {}", text(row, "base_uri").trim_end_matches('/'), text(row, "release"));
            text(row, "components")
                .split(' ')
                .map(|component| format!("{first} {component}"))
                .collect::<Vec<_>>()
        })
        .collect();
    let expected: BTreeSet<String> = expected.iter().map(|line| line.replacen("/ ", " ", 1)).collect();
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
}

#[test]
fn sources_of_apt_and_yum_are_read_from_all_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(
        path,
        "/etc/apt/sources.list",
        "deb [trusted=yes] http://example.gov/a/ stable main\n# deb http://x y z\n",
    );
    write(
        path,
        "/etc/apt/sources.list.d/b.sources",
        "Types: deb deb-src\nURIs: https://me:secret@example.gov/b\nSuites: one two\nComponents: c d\nEnabled: no\nSigned-By:\n -----BEGIN\n .\n x\n",
    );
    write(path, "/etc/apt/sources.list.d/ignored.bak", "deb http://x y z\n");
    let many = format!("Types: deb\nURIs:{}\nSuites:{}\n", " http://a".repeat(101), " s".repeat(100));
    write(path, "/etc/apt/sources.list.d/many.sources", many);
    write(
        path,
        "/var/lib/apt/lists/example.gov_a_dists_stable_InRelease",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Example\nSuite: stable\nVersion: 12\n",
    );
    write(
        path,
        "/etc/yum.repos.d/r.repo",
        "[main]\nx=1\n[base]\nname=Base $releasever\nbaseurl=http://example.gov/r\ngpgcheck=0\n",
    );
    let root = Root::mounted(path).unwrap();
    let (found, captured) = capture("apt_sources", &root);
    assert!(captured.gaps.iter().any(|gap| gap.subject.ends_with("/many.sources")));
    let columns = ["name", "type", "components", "maintainer", "version", "trusted", "enabled"];
    let shown: Vec<String> =
        found.iter().map(|row| columns.map(|column| text(row, column)).join("|")).collect();
    assert_eq!(shown.len(), 5);
    assert_eq!(shown[0], "example.gov/a stable|deb|main|Example|12|yes|true");
    assert_eq!(shown[4], "***@example.gov/b two|deb-src|c d||||false");
    assert!(!found.iter().any(|row| row.to_string().contains("secret")));
    let found = rows("yum_sources", &root);
    assert_eq!(
        (found.len(), text(&found[0], "id"), text(&found[0], "gpgcheck")),
        (1, "base".to_owned(), "0".to_owned())
    );
}
