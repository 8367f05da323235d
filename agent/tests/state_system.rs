//! Owns the proofs that the tables read from files tell of a root what is planted in it; refuses to plant outside of it.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "these tests ask the stock tools for a second opinion")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast_agent::source::Root;
use holdfast_agent::state::{Captured, Reads, Sensitivity};
use serde_json::Value;

mod support;

use support::{capture, table};

/// A folder that is captured as the root of an examined host.
struct Planted(tempfile::TempDir);

impl Planted {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, path: impl AsRef<OsStr>) -> PathBuf {
        let path = path.as_ref().as_bytes();
        let at = self.0.path().join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap()));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        at
    }

    fn file(&self, path: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.at(path), content).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.at(path)).unwrap();
        self
    }

    fn capture(&self, name: &str) -> (Vec<Value>, Captured) {
        capture(name, &Root::mounted(self.0.path()).unwrap())
    }

    /// The rows of a table of which nothing may be a gap.
    fn rows(&self, name: &str) -> Vec<Value> {
        let (rows, captured) = self.capture(name);
        let gaps: Vec<_> =
            captured.gaps.iter().map(|gap| format!("{}: {}", gap.subject, gap.reason)).collect();
        assert!(gaps.is_empty(), "{name}: {gaps:?}");
        rows
    }
}

fn live(name: &str) -> Vec<Value> {
    capture(name, &Root::live().unwrap()).0
}

/// The row whose columns are as given.
#[track_caller]
fn row<'a>(rows: &'a [Value], columns: &[(&str, &str)]) -> &'a Value {
    let fits = |row: &&Value| columns.iter().all(|(column, value)| row[*column] == *value);
    rows.iter().find(fits).unwrap_or_else(|| panic!("no row with {columns:?} in {rows:#?}"))
}

fn raw(row: &Value, column: &str) -> Vec<u8> {
    STANDARD.decode(row[column].as_str().expect("a raw twin")).expect("base64")
}

fn output(program: &str, arguments: &[&OsStr]) -> Vec<u8> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    ran.unwrap_or_else(|reason| panic!("{program}: {reason}")).stdout
}

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\neve:x:1001:1001:E:/home/eve:/bin/sh\n\
    m\xffl:x:1002:1002::/home/m\xffl:/bin/sh\nbroken line\n";

#[test]
fn accounts_of_a_mounted_root_are_its_own() {
    let planted = Planted::new();
    planted
        .file("/etc/passwd", PASSWD)
        .file("/etc/group", "root:x:0:\neve:x:1001:\nwheel:x:10:eve,ghost\n")
        .file("/etc/shadow", "root:!:19000:0:99999:7:::\neve:$6$SALT$DIGEST:19001:0:99999:7:::\n");
    let (users, captured) = planted.capture("users");
    assert_eq!(users.len(), 3);
    assert_eq!(raw(&users[2], "username_raw"), b"m\xffl");
    assert_eq!(captured.gaps[0].subject, "/etc/passwd line 4");
    let groups = planted.rows("user_groups");
    assert_eq!(row(&groups, &[("username", "eve"), ("groupname", "wheel")])["uid"], 1001);
    assert!(row(&groups, &[("username", "ghost")])["uid"].is_null());
    assert_eq!(row(&groups, &[("username", "root")])["primary"], true);
    let shadow = planted.rows("shadow");
    let eve = row(&shadow, &[("username", "eve"), ("password_status", "active"), ("hash_alg", "6")]);
    assert_eq!((eve["last_change"].as_i64(), eve["inactive"].as_i64()), (Some(19001), None));
    row(&shadow, &[("username", "root"), ("password_status", "not_set")]);
    assert!(!format!("{shadow:?}").contains("DIGEST"));
}

#[test]
fn accounts_of_this_host_are_those_that_getent_reads_from_files() {
    for (table, database, columns) in [
        ("users", "passwd", &["username", "uid", "gid", "description", "directory", "shell"][..]),
        ("groups", "group", &["groupname", "gid", "members"][..]),
    ] {
        let listed =
            String::from_utf8(output("getent", &["-s".as_ref(), "files".as_ref(), database.as_ref()]))
                .unwrap();
        let expected: Vec<String> = listed
            .lines()
            .map(|line| {
                line.split(':')
                    .enumerate()
                    .filter(|(at, _)| *at != 1)
                    .map(|(_, field)| field)
                    .collect::<Vec<_>>()
                    .join(":")
            })
            .collect();
        let found: Vec<String> = live(table)
            .iter()
            .map(|row| {
                let field = |column: &&str| {
                    row[*column].as_str().map_or_else(|| row[*column].to_string(), str::to_owned)
                };
                columns.iter().map(field).collect::<Vec<_>>().join(":")
            })
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(found, expected, "{table}");
    }
}

#[test]
fn sudo_rules_are_found_through_every_include_and_none_leaves_the_root() {
    let planted = Planted::new();
    planted
        .file("/etc/sudoers", "Defaults env_reset\n# no\nroot ALL=(ALL:ALL) ALL\n@include \"more rules\"\n#includedir /etc/sudoers.d\n")
        .file("/etc/more rules", "eve ALL=\\\n    NOPASSWD: /bin/sh\n@include /etc/sudoers\n@include /etc/sudoers.%h\n")
        .file("/etc/sudoers.d/README.md", "ghost ALL=ALL\n")
        .file("/etc/sudoers.d/b\u{e4}d", b"\xffx ALL=ALL\n")
        .link("/etc/sudoers.d/absolute", "/opt/rules")
        .file("/opt/rules", "%staff ALL=ALL\n")
        .link("/etc/sudoers.d/outside", "/../../../../../../etc/hostname");
    let (rows, captured) = planted.capture("sudoers");
    row(
        &rows,
        &[("header", "eve"), ("rule_details", "ALL=NOPASSWD: /bin/sh"), ("source", "/etc/more rules")],
    );
    row(&rows, &[("header", "%staff"), ("source", "/etc/sudoers.d/absolute")]);
    assert_eq!(raw(row(&rows, &[("header", r"\xffx")]), "header_raw"), b"\xffx");
    assert!(rows.iter().all(|row| row["header"] != "ghost" && row["source"] != "/etc/sudoers.d/outside"));
    let named: Vec<_> = rows.iter().filter(|row| row["header"] == "root").collect();
    assert_eq!(named.len(), 1, "a ring of includes is read once");
    let gaps: Vec<_> = captured.gaps.iter().map(|gap| gap.subject.as_str()).collect();
    assert_eq!(gaps, ["/etc/sudoers.%h"]);
}

#[test]
fn ssh_keys_of_every_home_are_found_and_no_private_key_is_copied() {
    let planted = Planted::new();
    let key = |name: &str, passphrase: &str, kind: &str| {
        let path = planted.at(name);
        let arguments = ["-q", "-t", kind, "-N", passphrase, "-C", "c", "-f"].map(OsStr::new);
        output("ssh-keygen", &[&arguments[..], &[path.as_os_str()]].concat());
        let public = path.with_extension("pub");
        fs::read_to_string(public).expect("ssh-keygen made a key")
    };
    let open = key("/root/.ssh/id_ed25519", "", "ed25519");
    key("/home/eve/.ssh/oddly named", "long passphrase", "ecdsa");
    key("/home/orphan/.ssh/id_rsa", "", "rsa");
    planted
        .file("/etc/passwd", PASSWD)
        .file(
            "/etc/ssh/sshd_config",
            "Include sshd_config.d/*.conf\nMatch User eve\n AuthorizedKeysFile /etc/keys/%u\n",
        )
        .file(
            "/etc/ssh/sshd_config.d/a.conf",
            "authorizedkeysfile \".ssh/more\" none\nInclude /etc/ssh/sshd_config\n",
        )
        .file("/root/.ssh/authorized_keys", format!("# c\ncommand=\"a b\",no-pty {open}"))
        .file("/home/eve/.ssh/more", "ssh-rsa AAAA back door")
        .file("/etc/keys/eve", "sk-ssh-ed25519@openssh.com AAAAB")
        .file(OsStr::from_bytes(b"/home/m\xffl/.ssh/authorized_keys2"), b"ssh-ed25519 AAAAC \xff")
        .file("/home/eve/.ssh/known_hosts", "|1|aa|bb ssh-rsa AAAA\n#\n192.0.2.1 ssh-rsa AAAABBBB\n")
        .link("/home/orphan/.ssh/authorized_keys", "/home/eve/.ssh/more");
    let (rows, captured) = planted.capture("authorized_keys");
    let gaps: Vec<_> = captured.gaps.iter().map(|gap| (gap.subject.as_str(), gap.reason.as_str())).collect();
    assert_eq!(gaps, [("/home/orphan/.ssh/authorized_keys", "a link, not followed")]);
    let root = row(&rows, &[("key_file", "/root/.ssh/authorized_keys")]);
    assert_eq!(
        (root["options"].as_str(), root["comment"].as_str()),
        (Some("command=\"a b\",no-pty"), Some("c"))
    );
    assert_eq!(root["key"], open.split(' ').nth(1).unwrap());
    assert_eq!(row(&rows, &[("key_file", "/home/eve/.ssh/more")])["comment"], "back door");
    assert_eq!(row(&rows, &[("key_file", "/etc/keys/eve"), ("key", "AAAAB")])["uid"], 1001);
    assert_eq!(raw(row(&rows, &[("key", "AAAAC")]), "key_file_raw"), b"/home/m\xffl/.ssh/authorized_keys2");
    let known = planted.rows("known_hosts");
    assert_eq!(known.len(), 2);
    assert_eq!(row(&known, &[("key", "192.0.2.1 ssh-rsa AAAABBBB")])["line"], 3);
    let private = planted.rows("user_ssh_keys");
    assert_eq!(private.len(), 3);
    for (path, kind, encrypted) in [
        ("/root/.ssh/id_ed25519", "ed25519", 0),
        ("/home/eve/.ssh/oddly named", "ecdsa", 1),
        ("/home/orphan/.ssh/id_rsa", "rsa", 0),
    ] {
        assert_eq!(row(&private, &[("path", path), ("key_type", kind)])["encrypted"], encrypted);
    }
    let body = fs::read_to_string(planted.at("/root/.ssh/id_ed25519")).unwrap();
    let secret = body.lines().nth(2).unwrap();
    assert!(secret.len() > 20 && !format!("{private:?}").contains(secret));
}

#[test]
fn links_and_folders_in_a_home_show_nothing_of_the_secrets_they_lead_to() {
    let planted = Planted::new();
    let secret =
        "root:$6$SALT$DIGEST=:19000:0:99999:7:::\n-----BEGIN PRIVATE KEY-----\nMIIESECRET+x==\nSECRET==\n";
    planted
        .file("/etc/passwd", PASSWD)
        .file("/etc/shadow", secret)
        .file("/secrets/authorized_keys", secret)
        .file("/secrets/known_hosts", secret)
        .file("/secrets/environment", secret)
        .file("/secrets/x.conf", secret)
        .link("/home/eve/.ssh", "/secrets")
        .link("/home/eve/.pam_environment", "/etc/shadow")
        .link("/home/eve/.config/environment.d", "/secrets")
        .link("/home/eve/.config/autostart/x.desktop", "/etc/shadow")
        .link("/root/.config/environment.d/y.conf", "/etc/shadow")
        .link("/root/.ssh/authorized_keys", "/etc/shadow")
        .link("/root/.ssh/known_hosts", "/etc/shadow")
        .file("/root/.ssh/environment", "LD_PRELOAD=/tmp/x.so\n");
    let shown = ["authorized_keys", "known_hosts", "startup_items"].map(|table| {
        let (rows, captured) = planted.capture(table);
        assert!(captured.gaps.iter().all(|gap| gap.reason == "a link, not followed"));
        assert!(captured.gap_count > 0 && !rows.is_empty(), "{table}");
        format!("{rows:?}")
    });
    for word in ["DIGEST", "SECRET"] {
        assert!(shown.iter().all(|rows| !rows.contains(word)), "{word} in {shown:?}");
    }
    assert!(shown[2].contains("LD_PRELOAD=/tmp/x.so"));
}

#[test]
fn users_of_one_home_each_have_their_own_key_file() {
    let planted = Planted::new();
    planted
        .file("/etc/passwd", "a:x:1:1::/srv:/bin/sh\nb:x:2:2::/srv/:/bin/sh\n")
        .file("/etc/ssh/sshd_config", "\"AuthorizedKeysFile\" /etc/keys/%u\nInclude /etc/*/more.conf\n")
        .file("/etc/keys/b", "ssh-rsa AAAA b");
    let (rows, captured) = planted.capture("authorized_keys");
    assert_eq!(row(&rows, &[("key_file", "/etc/keys/b")])["uid"], 2);
    assert_eq!(captured.gaps[0].subject, "/etc/*/more.conf");
}

/// A record of utmp(5) as x86-64 has it.
fn login(kind: u16, user: &[u8], line: &[u8], host: &[u8], seconds: u32) -> Vec<u8> {
    let mut record = vec![0; 384];
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&4711u32.to_ne_bytes());
    record[8..8 + line.len()].copy_from_slice(line);
    record[44..44 + user.len()].copy_from_slice(user);
    record[76..76 + host.len()].copy_from_slice(host);
    record[340..344].copy_from_slice(&seconds.to_ne_bytes());
    record[348..352].copy_from_slice(&[192, 0, 2, 9]);
    record
}

#[test]
fn logins_are_found_in_every_rotated_file() {
    let planted = Planted::new();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&login(7, b"packed", b"pts/2", b"", 1_700_000_000)).unwrap();
    planted
        .file("/run/utmp", login(2, b"reboot", b"~", b"6.1", 1_700_000_001))
        .link("/var/run", "/run")
        .file(
            "/var/log/wtmp",
            [
                login(7, b"eve", b"pts/1", b"192.0.2.9", 1_700_000_002),
                vec![0; 768],
                login(8, b"", b"pts/1", b"", 3_000_000_000),
                vec![1; 7],
            ]
            .concat(),
        )
        .file("/var/log/btmp.1", login(6, b"\xff\xfe", b"ssh:notty", b"bad.example.gov", 1_700_000_003))
        .file("/var/log/wtmp-20260101.gz", packed.finish().unwrap())
        .file("/var/log/wtmp.2.gz", b"no gzip")
        .file("/var/log/btmp-20260101.xz", b"\xfd7zXZ\0")
        .link("/var/log/wtmp.9", "/dev/zero");
    let (rows, captured) = planted.capture("last");
    assert_eq!(rows.len(), 6);
    let eve = row(&rows, &[("username", "eve"), ("type_name", "user"), ("address", "192.0.2.9")]);
    assert_eq!(
        (eve["pid"].as_i64(), eve["time"].as_i64(), eve["type"].as_u64()),
        (Some(4711), Some(1_700_000_002), Some(7))
    );
    assert_eq!(rows.iter().filter(|row| row["zeroed"] == 2).count(), 1, "wiped records are told");
    assert_eq!(row(&rows, &[("type_name", "dead")])["time"], 3_000_000_000u32);
    let failed = row(&rows, &[("source_file", "/var/log/btmp.1")]);
    assert_eq!((failed["failed"].as_bool(), raw(failed, "username_raw")), (Some(true), b"\xff\xfe".to_vec()));
    row(&rows, &[("username", "packed"), ("source_file", "/var/log/wtmp-20260101.gz")]);
    row(&rows, &[("source_file", "/run/utmp"), ("type_name", "boot_time")]);
    let gaps: Vec<_> = captured.gaps.iter().map(|gap| gap.subject.as_str()).collect();
    assert_eq!(gaps, ["/var/log/btmp-20260101.xz", "/var/log/wtmp", "/var/log/wtmp.2.gz"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn logins_are_those_that_last_and_utmpdump_read() {
    let planted = Planted::new();
    let records: Vec<u8> = (0u32..200)
        .flat_map(|number| {
            let user = format!("user{number}");
            login(
                7,
                user.as_bytes(),
                format!("pts/{number}").as_bytes(),
                b"192.0.2.9",
                1_700_000_000 + number,
            )
        })
        .collect();
    planted.file("/var/log/wtmp", &records);
    let path = planted.at("/var/log/wtmp");
    let rows = planted.rows("last");
    let dumped = String::from_utf8(output("utmpdump", &[path.as_os_str()])).unwrap();
    let of_dump: Vec<(String, String)> = dumped
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.trim_matches(['[', ']']).split("] [").map(str::trim).collect();
            (fields[3].to_owned(), fields[4].to_owned())
        })
        .collect();
    let column = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let ours: Vec<_> = rows.iter().map(|row| (column(row, "username"), column(row, "tty"))).collect();
    assert_eq!(ours, of_dump);
    let listed =
        String::from_utf8(output("last", &["-w".as_ref(), "-f".as_ref(), path.as_os_str()])).unwrap();
    let mut of_last: Vec<(String, String)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let user = words.next()?;
            user.starts_with("user").then(|| (user.to_owned(), words.next().unwrap().to_owned()))
        })
        .collect();
    of_last.reverse();
    assert_eq!(ours, of_last);
}

#[test]
fn latest_logins_are_found_in_a_file_with_a_hole_of_a_terabyte() {
    let planted = Planted::new();
    planted.file("/etc/passwd", PASSWD);
    let file = File::create(planted.at("/var/log/lastlog")).unwrap();
    let mut record = [0; 292];
    record[..4].copy_from_slice(&1_700_000_000u32.to_ne_bytes());
    record[4..9].copy_from_slice(b"pts/3");
    record[36..45].copy_from_slice(b"192.0.2.9");
    for uid in [0u64, 1001, 3_999_999_999] {
        file.write_all_at(&record, uid * 292).unwrap();
    }
    assert!(file.metadata().unwrap().len() > 1_000_000_000_000);
    let began = std::time::Instant::now();
    let rows = planted.rows("lastlog");
    assert!(began.elapsed().as_secs() < 20, "holes are passed by");
    let found: Vec<_> =
        rows.iter().map(|row| (row["uid"].as_u64().unwrap(), row["username"].as_str())).collect();
    assert_eq!(found, [(0, Some("root")), (1001, Some("eve")), (3_999_999_999, None)]);
    assert_eq!((rows[1]["tty"].as_str(), rows[1]["host"].as_str()), (Some("pts/3"), Some("192.0.2.9")));
}

#[test]
fn units_are_found_in_every_path_with_what_changes_and_enables_them() {
    let planted = Planted::new();
    planted
        .file("/etc/passwd", PASSWD)
        .file("/usr/lib/systemd/system/a.service", "[Unit]\nDescription=A\n[Service]\nUser=eve\nExecStart=/bin/a \\\n  -x\nExecStop=/bin/b\n[Install]\nWantedBy=x.target\n")
        .file("/etc/systemd/system/a.service.d/10-odd.conf", "[Service]\nExecStart=\nExecStart=/tmp/evil\nEnvironment=LD_PRELOAD=/tmp/x.so\n")
        .link("/etc/systemd/system/multi-user.target.wants/a.service", "/usr/lib/systemd/system/a.service")
        .link("/lib", "usr/lib")
        .link("/etc/systemd/system/masked.service", "/dev/null")
        .file("/usr/lib/systemd/system/masked.service", "[Service]\nExecStart=/bin/m\n")
        .file("/run/systemd/generator/gen.mount", "[Unit]\nSourcePath=/etc/fstab\n[Mount]\nWhat=/dev/x\n")
        .file("/run/systemd/transient/run-1.service", "[Service]\nExecStart=/bin/t\n")
        .file("/usr/lib/systemd/system/t@.service", "[Service]\nExecStart=/bin/%i\n")
        .link("/etc/systemd/system/multi-user.target.wants/t@one.service", "../../../../usr/lib/systemd/system/t@.service")
        .link("/home/eve/.config/systemd/user/default.target.wants/gone.service", "/usr/lib/systemd/user/gone.service")
        .file("/etc/systemd/system/ghost.service.d/x.conf", "[Service]\nExecStart=/bin/ghost\n")
        .file("/home/eve/.config/systemd/user/mine.service", "[Service]\nExecStart=/home/eve/.x\n")
        .link("/etc/systemd/system/outside.service", "../../../../../../../../etc/hostname")
        .file(OsStr::from_bytes(b"/etc/systemd/system/b\xff.service"), b"[Service]\nExecStart=/bin/\xfe\n")
        .file("/usr/lib/systemd/system/a.timer", "[Timer]\nOnCalendar=daily\nOnBootSec=5\nPersistent=true\n")
        .file("/var/lib/systemd/timers/stamp-a.timer", "");
    let rows = planted.rows("systemd_units");
    let a = row(
        &rows,
        &[("id", "a.service"), ("unit_file_state", "enabled"), ("user", "eve"), ("description", "A")],
    );
    assert_eq!(a["exec_start"], "/bin/a -x\n\n/tmp/evil");
    assert_eq!(
        (a["exec_other"].as_str(), a["environment"].as_str()),
        (Some("ExecStop=/bin/b"), Some("LD_PRELOAD=/tmp/x.so"))
    );
    assert_eq!(a["drop_ins"], "/etc/systemd/system/a.service.d/10-odd.conf");
    assert_eq!(a["enabled_by"], "/etc/systemd/system/multi-user.target.wants/a.service");
    assert_eq!(rows.iter().filter(|row| row["id"] == "a.service").count(), 1, "/lib is /usr/lib");
    row(&rows, &[("id", "masked.service"), ("load_state", "masked"), ("unit_file_state", "masked")]);
    let hidden = row(&rows, &[("id", "masked.service"), ("load_state", "loaded")]);
    assert_eq!(hidden["overridden"], true);
    row(
        &rows,
        &[
            ("id", "gen.mount"),
            ("unit_file_state", "generated"),
            ("source_path", "/etc/fstab"),
            ("triggers", "What=/dev/x"),
        ],
    );
    row(&rows, &[("id", "run-1.service"), ("unit_file_state", "transient")]);
    row(&rows, &[("id", "t@.service"), ("unit_file_state", "enabled")]);
    row(&rows, &[("id", "t@one.service"), ("unit_file_state", "enabled"), ("load_state", "not-found")]);
    row(
        &rows,
        &[
            ("id", "gone.service"),
            ("scope", "user"),
            ("fragment_path", ""),
            ("enabled_by", "/home/eve/.config/systemd/user/default.target.wants/gone.service"),
        ],
    );
    row(&rows, &[("id", "ghost.service"), ("unit_file_state", "drop-in"), ("exec_start", "/bin/ghost")]);
    assert_eq!(row(&rows, &[("id", "mine.service"), ("scope", "user")])["uid"], 1001);
    let odd = row(&rows, &[("id", r"b\xff.service")]);
    assert_eq!(raw(odd, "exec_start_raw"), b"/bin/\xfe");
    assert!(row(&rows, &[("id", "outside.service")])["exec_start"].is_null());
    let timers = planted.rows("systemd_timers");
    let timer = row(
        &timers,
        &[("id", "a.timer"), ("unit", "a.service"), ("on_calendar", "daily"), ("on_other", "OnBootSec=5")],
    );
    assert!(timer["last_trigger"].as_i64().unwrap() > 1_700_000_000);
}

#[test]
fn a_unit_has_bounded_drop_ins_and_a_timer_is_read_without_the_other_units() {
    let planted = Planted::new();
    planted.file("/etc/systemd/system/t@a.service", "[Service]\n").file("/etc/systemd/system/x.timer", "a=");
    for number in 0..300 {
        planted.file(format!("/etc/systemd/system/t@.service.d/{number:03}.conf"), "Environment=x\n");
    }
    planted.file("/etc/systemd/system/u.service", vec![b'#'; 1 << 20]);
    planted.file("/etc/systemd/system/u.service.d/one.conf", "User=eve\n");
    let (rows, captured) = planted.capture("systemd_units");
    let drop_ins = row(&rows, &[("id", "t@a.service")])["drop_ins"].as_str().unwrap().lines().count();
    assert_eq!(drop_ins, 256);
    assert!(row(&rows, &[("id", "u.service")])["user"].is_null());
    let gaps: Vec<_> = captured.gaps.iter().map(|gap| gap.subject.as_str()).collect();
    assert_eq!(
        gaps,
        ["/etc/systemd/system/t@.service.d/256.conf", "/etc/systemd/system/u.service.d/one.conf"]
    );
    assert_eq!(planted.rows("systemd_timers").len(), 1, "and no gap of a service");
}

#[test]
fn units_of_this_host_have_the_state_that_systemctl_reads_from_files() {
    let arguments = ["--root=/", "list-unit-files", "--no-legend", "--no-pager"].map(OsStr::new);
    let listed = String::from_utf8(output("systemctl", &arguments)).unwrap();
    let rows = live("systemd_units");
    let mut compared = 0;
    let mut others = Vec::new();
    for line in listed.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(id), Some(state)) = (words.next(), words.next()) else { continue };
        let found =
            rows.iter().find(|row| row["id"] == id && row["scope"] == "system" && row["overridden"] == false);
        let found = found.unwrap_or_else(|| panic!("{id} is not found"));
        // What `Also=` of another unit makes of one is beyond the unit's own file.
        if state != "indirect" {
            compared += 1;
            if found["unit_file_state"] != state {
                others.push(format!("{id} is {state}: {found}"));
            }
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert!(compared > 50, "{compared}");
}

#[test]
fn jobs_of_cron_and_at_are_found_in_every_spool() {
    let planted = Planted::new();
    planted
        .file("/etc/crontab", "SHELL=/bin/sh\n17 * * * * root run-parts /x\n")
        .file("/etc/cron.d/odd", b"@reboot m\xffl /bin/\xff\n")
        .file("/etc/cron.daily/job", "#!/bin/sh\n")
        .file("/etc/anacrontab", "1 5 cron.daily run-parts /etc/cron.daily\n@monthly 45 m /bin/m\n")
        .file("/var/spool/cron/crontabs/eve", "*/5 * * * 1-5 /home/eve/.x %in\n")
        .file("/var/spool/cron/rh", "0 0 1 1 0 /bin/rh\n")
        .file("/etc/crontabs/alpine", "* * * * * /bin/alpine\n")
        .link("/var/spool/cron/crontabs/link", "/opt/jobs")
        .file("/opt/jobs", "1 2 3 4 5 /bin/linked\n")
        .link("/var/spool/cron/tabs", "../../../etc/crontabs")
        .file(
            "/var/spool/cron/atjobs/a0000101a8b6b8",
            "#!/bin/sh\nX=1; export X\ncd / || {\n\t exit 1\n}\n/bin/later\n",
        )
        .file("/var/spool/cron/atjobs/.SEQ", "00001\n");
    let rows = planted.rows("crontab");
    row(&rows, &[("event", "environment"), ("command", "SHELL=/bin/sh")]);
    row(
        &rows,
        &[("minute", "17"), ("username", "root"), ("command", "run-parts /x"), ("path", "/etc/crontab")],
    );
    assert_eq!(raw(row(&rows, &[("event", "@reboot")]), "command_raw"), b"/bin/\xff");
    row(&rows, &[("event", "@daily"), ("command", "/etc/cron.daily/job")]);
    row(&rows, &[("event", "1"), ("command", "run-parts /etc/cron.daily")]);
    row(&rows, &[("day_of_week", "1-5"), ("username", "eve"), ("command", "/home/eve/.x %in")]);
    for command in ["/bin/rh", "/bin/alpine", "/bin/linked", "/bin/m"] {
        assert_eq!(rows.iter().filter(|row| row["command"] == command).count(), 1, "{command}");
    }
    assert_eq!(row(&rows, &[("command", "/bin/linked")])["executable"], false, "by what the link leads to");
    let jobs = planted.rows("at_jobs");
    assert_eq!(jobs.len(), 1);
    let job = row(&jobs, &[("queue", "a"), ("command", "/bin/later")]);
    assert_eq!((job["job"].as_u64(), job["time"].as_i64()), (Some(1), Some(0x01a8_b6b8 * 60)));
}

#[test]
fn what_starts_by_itself_is_found_in_every_mechanism() {
    let planted = Planted::new();
    planted
        .file("/etc/passwd", PASSWD)
        .file("/etc/init.d/evil", "#!/bin/sh\n")
        .link("/etc/rc2.d/S01evil", "../init.d/evil")
        .link("/etc/rc6.d/K01evil", "../init.d/evil")
        .link("/etc/rc3.d/S01data", "/etc/profile.d/z.sh")
        .link("/etc/systemd/system-generators/masked", "/dev/null")
        .file("/etc/ld.so.preload", b"# c\n/tmp/\xff.so\n")
        .file("/etc/pam.d/sshd", "auth sufficient pam_evil.so\n")
        .file("/etc/udev/rules.d/9.rules", "KERNEL==\"sda\"\nACTION==\"add\", RUN+=\"/bin/evil\"\n")
        .file("/lib/udev/rules.d/8.rules", "RUN+=\"/bin/older\"\n")
        .file("/etc/apt/apt.conf.d/99x", "// c\nAPT::Update::Pre-Invoke {\n\"/bin/apt-evil\";\n};\n")
        .file("/etc/modprobe.d/x.conf", "install loop /bin/mod-evil\n")
        .file(
            "/home/eve/.config/autostart/x.desktop",
            "[Desktop Entry]\nName=X\nExec=/home/eve/x -d\nHidden=true\n[Desktop Action a]\nExec=/home/eve/y\n",
        )
        .file(
            "/usr/share/dbus-1/system-services/a.service",
            "[D-BUS Service]\nName=gov.example.A\nExec=/bin/bus\nUser=root\n",
        )
        .file("/root/.bashrc", "x\n")
        .file("/etc/profile.d/z.sh", "x\n")
        .link("/etc/update-motd.d", "/opt/motd")
        .file("/opt/motd/00-evil", "#!/bin/sh\n");
    fs::set_permissions(planted.at("/etc/init.d/evil"), fs::Permissions::from_mode(0o755)).unwrap();
    let rows = planted.rows("startup_items");
    let with = |columns: &[(&str, &str)]| row(&rows, columns).clone();
    with(&[("mechanism", "init.d"), ("path", "/etc/init.d/evil"), ("status", "enabled")]);
    with(&[("mechanism", "runlevel"), ("name", "S01evil"), ("status", "enabled")]);
    with(&[("mechanism", "runlevel"), ("name", "K01evil"), ("status", "disabled")]);
    with(&[("mechanism", "runlevel"), ("name", "S01data"), ("status", "disabled")]);
    with(&[("mechanism", "xdg_autostart"), ("path", "/home/eve/y")]);
    assert_eq!(raw(&with(&[("mechanism", "ld.so.preload")]), "path_raw"), b"/tmp/\xff.so");
    with(&[("mechanism", "pam"), ("name", "sshd"), ("path", "pam_evil.so")]);
    with(&[("mechanism", "udev"), ("path", "/bin/evil")]);
    with(&[("mechanism", "udev"), ("path", "/bin/older")]);
    with(&[("mechanism", "apt"), ("path", "/bin/apt-evil")]);
    with(&[("mechanism", "modprobe"), ("args", "install loop /bin/mod-evil")]);
    with(&[
        ("mechanism", "xdg_autostart"),
        ("args", "/home/eve/x -d"),
        ("status", "disabled"),
        ("username", "eve"),
    ]);
    with(&[
        ("mechanism", "dbus_service"),
        ("name", "gov.example.A"),
        ("path", "/bin/bus"),
        ("username", "root"),
    ]);
    with(&[("mechanism", "profile"), ("path", "/root/.bashrc"), ("username", "root")]);
    with(&[("mechanism", "profile"), ("path", "/etc/profile.d/z.sh")]);
    with(&[("mechanism", "motd"), ("name", "00-evil"), ("status", "disabled")]);
    with(&[("mechanism", "systemd_generator"), ("name", "masked"), ("status", "disabled")]);
    assert_eq!(rows.len(), 19);
}

#[test]
fn names_resolvers_and_version_are_those_of_the_root() {
    let planted = Planted::new();
    planted
        .file("/etc/hosts", b"127.0.0.1 localhost # c\n192.0.2.7\tupdate.example.gov  u\xff\n\n")
        .file("/run/systemd/resolve/stub-resolv.conf", "nameserver 192.0.2.53\nsearch a.example.gov b.example.gov\noptions edns0\nsortlist 192.0.2.0/255.255.255.0\n")
        .link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
        .file("/etc/systemd/resolved.conf.d/x.conf", "[Resolve]\n#DNS=\nDNS=192.0.2.54\n")
        .file("/usr/lib/os-release", "NAME=\"Example OS\"\nID=example\nVERSION_ID=\"12.4\"\nVERSION=\"12.4 (x)\"\n")
        .link("/etc/os-release", "../usr/lib/os-release")
        .file("/etc/machine-id", "0123\n")
        .link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    let hosts = planted.rows("etc_hosts");
    assert_eq!(hosts.len(), 2);
    assert_eq!(raw(row(&hosts, &[("address", "192.0.2.7")]), "hostnames_raw"), b"update.example.gov u\xff");
    let resolvers = planted.rows("dns_resolvers");
    row(&resolvers, &[("type", "nameserver"), ("address", "192.0.2.53"), ("options", "edns0")]);
    assert_eq!(row(&resolvers, &[("type", "search"), ("address", "b.example.gov")])["id"], 1);
    row(&resolvers, &[("type", "sortlist"), ("address", "192.0.2.0"), ("netmask", "255.255.255.0")]);
    row(&resolvers, &[("type", "DNS"), ("address", "192.0.2.54")]);
    let version = planted.rows("os_version");
    let version = row(
        &version,
        &[("name", "Example OS"), ("platform", "example"), ("version", "12.4 (x)"), ("time_zone", "Etc/UTC")],
    );
    assert_eq!(
        (version["major"].as_u64(), version["minor"].as_u64(), version["patch"].as_u64()),
        (Some(12), Some(4), None)
    );
    assert_eq!(version["machine_id"], "0123");
}

#[test]
fn version_of_this_host_is_what_uname_and_os_release_say() {
    let rows = live("os_version");
    let machine = String::from_utf8(output("uname", &["-m".as_ref()])).unwrap();
    assert_eq!(rows[0]["arch"], machine.trim());
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let id = release.lines().find_map(|line| line.strip_prefix("ID=")).unwrap();
    assert_eq!(rows[0]["platform"], id.trim_matches('"'));
}

#[test]
fn histories_of_every_home_are_read_where_they_are_asked_for() {
    assert_eq!(table("shell_history").sensitivity, Sensitivity::Personal);
    let planted = Planted::new();
    planted
        .file("/etc/passwd", PASSWD)
        .file("/root/.bash_history", "#1700000000\ncurl 192.0.2.9\n")
        .file(OsStr::from_bytes(b"/home/m\xffl/.zsh_history"), b": 1700000001:0;echo \xff\n")
        .file("/home/orphan/.local/share/fish/fish_history", "- cmd: id\n  when: 1700000002\n");
    let rows = planted.rows("shell_history");
    let found: Vec<_> = rows.iter().map(|row| row["time"].as_i64()).collect();
    assert_eq!(found, [Some(1_700_000_000), Some(1_700_000_001), Some(1_700_000_002)]);
    assert_eq!(row(&rows, &[("command", "curl 192.0.2.9")])["uid"], 0);
    assert_eq!(raw(&rows[1], "command_raw"), b"echo \xff");
}

#[test]
fn nothing_that_is_planted_waits_overflows_or_hides_what_could_not_be_read() {
    let planted = Planted::new();
    planted.file("/etc/passwd", PASSWD);
    let fifos = [
        ("authorized_keys", "/root/.ssh/authorized_keys"),
        ("known_hosts", "/root/.ssh/known_hosts"),
        ("sudoers", "/etc/sudoers"),
        ("last", "/var/log/wtmp"),
        ("lastlog", "/var/log/lastlog"),
        ("systemd_units", "/etc/systemd/system/x.service"),
        ("startup_items", "/etc/ld.so.preload"),
        ("etc_hosts", "/etc/hosts"),
        ("dns_resolvers", "/etc/resolv.conf"),
        ("os_version", "/etc/os-release"),
        ("shell_history", "/root/.bash_history"),
    ];
    for (_, path) in fifos {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, planted.at(path), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    planted.link("/etc/crontab", "/etc/crontab");
    File::create(planted.at("/etc/shadow")).unwrap().set_len(1 << 40).unwrap();
    File::create(planted.at("/etc/group")).unwrap().set_len(1 << 40).unwrap();
    File::create(planted.at("/var/lib/lastlog/lastlog2.db")).unwrap();
    let also = [
        ("shadow", "/etc/shadow"),
        ("crontab", "/etc/crontab"),
        ("user_groups", "/etc/group"),
        ("lastlog", "/var/lib/lastlog/lastlog2.db"),
    ];
    for (name, path) in fifos.into_iter().chain(also) {
        let began = std::time::Instant::now();
        let (_, captured) = planted.capture(name);
        assert!(captured.gaps.iter().any(|gap| gap.subject == path), "{name}: {path} is no gap");
        assert!(began.elapsed().as_secs() < 5, "{name} waits");
    }
}

#[test]
fn a_wiped_terabyte_of_logins_is_one_row() {
    let planted = Planted::new();
    let file = File::create(planted.at("/var/log/wtmp")).unwrap();
    let records = (1u64 << 40) / 384;
    file.write_all_at(&login(7, b"last", b"pts/1", b"", 1_700_000_000), (records - 1) * 384).unwrap();
    let (rows, captured) = planted.capture("last");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["zeroed"], (1 << 20) - 1);
    assert_eq!((rows[1]["username"].as_str(), rows[1]["record"].as_u64()), (Some("last"), Some(records - 1)));
    assert!(captured.gaps[0].reason.contains("oldest"), "{}", captured.gaps[0].reason);
}

#[test]
fn what_is_too_long_or_too_much_is_a_gap() {
    let planted = Planted::new();
    planted
        .file("/etc/passwd", format!("{}eve:x:1001:10:::\n", "broken\n".repeat(1_500)))
        .file("/etc/group", format!("wheel:x:10:eve\n{}:x:11:eve\n", "g".repeat(300)))
        .file("/etc/resolv.conf", "options x\n".repeat(2_000))
        .file("/etc/ssh/key", vec![b'x'; 100_000]);
    let (users, captured) = planted.capture("users");
    assert_eq!((users.len(), captured.gap_count), (1, 1_500));
    let (groups, captured) = planted.capture("user_groups");
    assert_eq!((groups.len(), captured.gap_count), (2, 1));
    for (table, path) in [("dns_resolvers", "/etc/resolv.conf"), ("user_ssh_keys", "/etc/ssh/key")] {
        let (rows, captured) = planted.capture(table);
        assert!(rows.is_empty() && captured.gaps[0].subject == path, "{table}");
    }
}

/// Names of the tables that these tests prove.
const PROVED: [&str; 19] = [
    "users",
    "groups",
    "user_groups",
    "shadow",
    "sudoers",
    "authorized_keys",
    "known_hosts",
    "user_ssh_keys",
    "last",
    "lastlog",
    "systemd_units",
    "systemd_timers",
    "crontab",
    "at_jobs",
    "startup_items",
    "etc_hosts",
    "dns_resolvers",
    "os_version",
    "shell_history",
];

#[test]
fn an_empty_root_has_no_rows() {
    let planted = Planted::new();
    for name in PROVED {
        assert_eq!(table(name).reads, Reads::Files, "{name}");
        let (rows, _) = planted.capture(name);
        assert!(rows.is_empty(), "{name}: {rows:?}");
    }
}

#[test]
fn tables_of_this_host_are_valid_by_their_schemas() {
    for name in PROVED {
        println!("{name}: {} rows", live(name).len());
    }
}
