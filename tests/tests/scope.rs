//! Owns the proof of how far a search goes and what it costs: links, mounts, holes, further names, limits, deadlines and
//! mounted roots; refuses simulated file systems.

#![allow(clippy::disallowed_methods, reason = "tests start programs and threads of their own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{Extent, ItemKind, ItemRecord, Outcome};
use holdfast_tests::package::{collection, item, items, member, rows};
use holdfast_tests::{Capture, Captured, agent, run, stock, verifier, workplace};

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn find<'a>(items: &'a [ItemRecord], path: &Path) -> &'a ItemRecord {
    item(items, path.as_os_str().as_bytes())
}

fn capture(workplace: &Path, arguments: &[&str], statuses: &[i32]) -> Captured {
    let mut capture = Capture::of_path(workplace, "");
    capture.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    capture.run_to_one_of(statuses)
}

fn verified(captured: &Captured) {
    let verdict = [0, 10];
    let status = verifier().arg("verify").arg("--trust").arg(&captured.trust).arg(&captured.package).output();
    let status = status.unwrap();
    assert!(verdict.contains(&status.status.code().unwrap()), "{}", String::from_utf8_lossy(&status.stdout));
}

#[test]
fn a_link_that_a_pattern_names_leads_to_its_target_and_no_other_link_does() {
    let workplace = workplace();
    let tree = workplace.path().canonicalize().unwrap().join("tree");
    fs::create_dir_all(tree.join("real/deep")).unwrap();
    fs::create_dir_all(tree.join("elsewhere")).unwrap();
    fs::write(tree.join("real/deep/unit"), "unit").unwrap();
    fs::write(tree.join("elsewhere/key"), "secret").unwrap();
    fs::write(tree.join("elsewhere/unasked"), "unasked").unwrap();
    symlink("real", tree.join("linked")).unwrap();
    symlink("../linked/../elsewhere/unasked", tree.join("real/within")).unwrap();
    symlink("elsewhere/key", tree.join("to-key")).unwrap();
    symlink("/proc/kmsg", tree.join("to-kernel")).unwrap();
    symlink("circle", tree.join("circle")).unwrap();
    let definitions = workplace.path().join("links.yaml");
    let below = |name: &str| text(&tree.join(name));
    fs::write(
        &definitions,
        format!(
            "- name: Links\n  description: d\n  why: w\n  paths: ['{}', '{}', '{}', '{}']\n  exclude: ['{}']\n  exclude_why: a key\n",
            below("linked/**"),
            below("to-key"),
            below("to-kernel"),
            below("circle"),
            below("elsewhere/key"),
        ),
    )
    .unwrap();
    let captured =
        capture(workplace.path(), &["--definitions", &text(&definitions), "--artifact", "Links"], &[0]);
    let items = items(&captured.package);
    assert_eq!(find(&items, &tree.join("linked")).outcome, Outcome::NotRegular);
    assert_eq!(find(&items, &tree.join("real/deep/unit")).outcome, Outcome::Collected);
    assert_eq!(find(&items, Path::new("/proc")).outcome, Outcome::SkippedByScope);
    let has = |name: &str| {
        items.iter().any(|item| item.source_path.as_deref().is_some_and(|path| path.ends_with(name)))
    };
    assert!(!has("elsewhere/key"), "a link is no way round what is left out");
    assert!(!has("elsewhere/unasked"), "a link met below a folder is recorded, not followed");
    verified(&captured);
}

#[test]
fn a_sparse_file_of_a_terabyte_costs_what_its_data_costs() {
    let workplace = workplace();
    let path = workplace.path().join("lastlog");
    let mut file = fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    for at in [0, 1 << 39, (1 << 40) - 4] {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(b"data").unwrap();
    }
    drop(file);
    let empty = workplace.path().join("hole");
    fs::File::create(&empty).unwrap().set_len(1 << 33).unwrap();
    let begun = Instant::now();
    let captured = capture(workplace.path(), &["--path", &text(&path), &text(&empty)], &[0]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(captured.package.metadata().unwrap().len() < 100_000);
    let items = items(&captured.package);
    let item = find(&items, &path);
    assert_eq!((item.outcome, item.metadata.as_ref().unwrap().size), (Outcome::Collected, 1 << 40));
    let content = member(&captured.package, item.member.as_deref().unwrap());
    assert_eq!(item.sha256, Some(Sha256Digest::of(&content)));
    // The ranges rebuild the file: whatever is not in them is zero in the original.
    let extents = item.extents.clone().unwrap();
    let mut at = 0;
    for Extent { offset, length } in &extents {
        let (offset, length) = (*offset, usize::try_from(*length).unwrap());
        let mut original = vec![0; length];
        let file = fs::File::open(&path).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut original, offset).unwrap();
        assert!(original == content[at..at + length]);
        at += length;
    }
    assert_eq!(at, content.len());
    assert!(content.windows(4).filter(|window| window == b"data").count() == 3);
    assert_eq!(find(&items, &empty).extents, Some(Vec::new()));
    verified(&captured);
}

#[test]
fn further_names_of_a_file_point_at_the_one_that_is_here() {
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), "content").unwrap();
    fs::hard_link(tree.join("a"), tree.join("b")).unwrap();
    fs::hard_link(tree.join("a"), tree.join("c")).unwrap();
    let captured = capture(workplace.path(), &["--path", &format!("{}/**", tree.display())], &[0]);
    let items = items(&captured.package);
    let first = find(&items, &tree.join("a"));
    assert_eq!(first.outcome, Outcome::Collected);
    for name in ["b", "c"] {
        let further = find(&items, &tree.join(name));
        assert_eq!((further.outcome, further.same_as), (Outcome::HardLink, Some(first.id)));
    }
    verified(&captured);
}

/// A FUSE file system whose program never answers, as a dead one is. Whoever looks into it waits for ever.
struct DeadMount {
    at: PathBuf,
    holder: Child,
}

impl DeadMount {
    fn at(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let script = "exec 9<>/dev/fuse && \
            mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 dead \"$0\" && echo mounted && exec sleep 600";
        let mut holder =
            Command::new("bash").args(["-c", script]).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.as_mut().unwrap()), &mut told)
            .unwrap();
        assert_eq!(told, "mounted\n", "a FUSE file system can be mounted here");
        Self { at: folder.to_owned(), holder }
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-i", "-l"]).arg(&self.at).status();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_dead_file_system_is_named_and_never_touched() {
    let workplace = workplace();
    let tree = workplace.path().canonicalize().unwrap().join("tree");
    fs::create_dir_all(tree.join("folder")).unwrap();
    fs::write(tree.join("folder/file"), "file").unwrap();
    let dead = DeadMount::at(&tree.join("dead"));
    let begun = Instant::now();
    let patterns = [
        format!("{}/**", tree.display()),
        text(&dead.at.join("inside")),
        format!("{}/*/file", tree.display()),
    ];
    let captured = capture(workplace.path(), &["--path", &patterns[0], &patterns[1], &patterns[2]], &[10]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    let items = items(&captured.package);
    assert_eq!(find(&items, &tree.join("folder/file")).outcome, Outcome::Collected);
    let item = find(&items, &dead.at);
    assert_eq!(item.outcome, Outcome::SkippedByLimit);
    assert!(item.error.as_deref().unwrap().contains("--network-filesystems"));
    let summary = String::from_utf8_lossy(&captured.output.stdout).into_owned();
    assert!(summary.contains("The gravest") && summary.contains("/dead"), "{summary}");
    verified(&captured);
}

/// A mount that goes away with it.
struct Bind(PathBuf);

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_bind_mount_of_a_folder_into_itself_ends() {
    let workplace = workplace();
    let tree = workplace.path().canonicalize().unwrap().join("tree");
    fs::create_dir_all(tree.join("again")).unwrap();
    fs::write(tree.join("file"), "file").unwrap();
    stock("mount", &["--bind", &text(&tree), &text(&tree.join("again"))], workplace.path());
    let _bind = Bind(tree.join("again"));
    let captured = capture(workplace.path(), &["--path", &format!("{}/**", tree.display())], &[0]);
    let items = items(&captured.package);
    assert_eq!(find(&items, &tree.join("file")).outcome, Outcome::Collected);
    assert!(items.len() < 10, "{}", items.len());
}

#[test]
fn every_limit_that_bites_is_named() {
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::write(tree.join(name), vec![b'x'; 1000]).unwrap();
    }
    let pattern = format!("{}/**", tree.display());
    for (limit, taken, told) in [
        (["--max-files", "3"], 3, "--max-files"),
        (["--max-total-size", "3K"], 3, "--max-total-size"),
        (["--max-file-size", "10"], 4, "--max-file-size"),
    ] {
        let captured = capture(workplace.path(), &["--path", &pattern, limit[0], limit[1]], &[10]);
        let items = items(&captured.package);
        let files = || items.iter().filter(|item| item.kind == ItemKind::File);
        assert_eq!(files().filter(|item| item.member.is_some()).count(), taken, "{limit:?}");
        let limited =
            |item: &&ItemRecord| matches!(item.outcome, Outcome::SkippedByLimit | Outcome::TruncatedByLimit);
        assert!(
            files().filter(limited).all(|item| item.error.as_deref().unwrap().contains(told)),
            "{limit:?}"
        );
        assert!(files().any(|item| limited(&item)), "{limit:?}");
        verified(&captured);
    }
}

#[test]
fn at_the_deadline_what_there_is_gets_sealed() {
    let workplace = workplace();
    let tree = workplace.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut random = fs::File::open("/dev/urandom").unwrap();
    for number in 0..40 {
        let mut bytes = vec![0; 8 << 20];
        std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
        fs::write(tree.join(number.to_string()), &bytes).unwrap();
        for copy in 0..10 {
            fs::write(tree.join(format!("{number}.{copy}")), &bytes).unwrap();
        }
    }
    let begun = Instant::now();
    let pattern = format!("{}/**", tree.display());
    let captured = capture(workplace.path(), &["--path", &pattern, "--deadline", "2"], &[10]);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let collection = collection(&captured.package);
    assert_eq!(collection.interruptions.first().unwrap().reason, "the deadline was reached");
    verified(&captured);
}

#[test]
fn kernel_texts_are_taken_where_they_are_spelled_out() {
    let workplace = workplace();
    let paths = ["/proc/version", "/proc/sys/kernel/ostype", "/proc/*", "/proc/self/environ"];
    let captured = capture(workplace.path(), &[&["--path"][..], &paths].concat(), &[0, 10]);
    let items = items(&captured.package);
    assert_eq!(member(&captured.package, "data/raw/proc/sys/kernel/ostype"), b"Linux\n");
    assert_eq!(item(&items, b"/proc/version").kind, ItemKind::KernelText);
    // `self` is a link that a pattern names; what a link leads to is not asked for by its full name.
    assert!(!items.iter().any(|item| {
        item.source_path.as_deref().is_some_and(|path| path.ends_with("/environ") && item.member.is_some())
    }));
}

#[test]
fn a_mounted_root_is_examined_as_if_it_were_the_host() {
    let workplace = workplace();
    let image = workplace.path().canonicalize().unwrap().join("image");
    for folder in ["etc/cron.d", "home/alice/.ssh", "srv/homes/bob", "usr/lib/systemd/system", "var/log"] {
        fs::create_dir_all(image.join(folder)).unwrap();
    }
    fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nbob:x:7:7::/homes/bob:/bin/sh\n")
        .unwrap();
    fs::write(image.join("etc/hostname"), "imaged.example.gov\n").unwrap();
    fs::write(image.join("etc/os-release"), "PRETTY_NAME=\"Imaged Linux 1\"\n").unwrap();
    fs::write(image.join("home/alice/.bash_history"), "id\n").unwrap();
    fs::write(image.join("srv/homes/bob/.bash_history"), "whoami\n").unwrap();
    fs::write(image.join("usr/lib/systemd/system/x.service"), "[Unit]\n").unwrap();
    fs::write(workplace.path().join("secret"), "outside").unwrap();
    symlink("/srv/homes", image.join("homes")).unwrap();
    symlink("usr/lib", image.join("lib")).unwrap();
    symlink("../../../../../../secret", image.join("etc/escape")).unwrap();
    let definitions = workplace.path().join("image.yaml");
    fs::write(
        &definitions,
        "- name: Image\n  description: d\n  why: w\n  paths: ['%%users.homedir%%/.bash_history', /lib/systemd/system/*, /etc/escape]\n",
    )
    .unwrap();
    let arguments = [
        "--root",
        &text(&image),
        "--definitions",
        &text(&definitions),
        "--artifact",
        "Image",
        "users",
        "processes",
    ];
    let captured = capture(workplace.path(), &arguments, &[0]);
    let items = items(&captured.package);
    for (path, content) in [
        ("/home/alice/.bash_history", "id\n"),
        ("/srv/homes/bob/.bash_history", "whoami\n"),
        ("/usr/lib/systemd/system/x.service", "[Unit]\n"),
    ] {
        let item = item(&items, path.as_bytes());
        assert_eq!(member(&captured.package, item.member.as_deref().unwrap()), content.as_bytes());
        assert_eq!(item.metadata.as_ref().unwrap().user.as_deref(), Some("root"));
    }
    assert!(
        items.iter().all(|item| item.sha256 != Some(Sha256Digest::of(b"outside"))),
        "nothing from outside"
    );
    assert_eq!(rows(&captured.package, "users").len(), 2);
    let processes = items.iter().find(|item| item.artifact == "processes").unwrap();
    assert_eq!(processes.outcome, Outcome::NotApplicable);
    let collection = collection(&captured.package);
    assert_eq!(collection.root, Some(text(&image)));
    assert_eq!(collection.host.name.as_deref(), Some("imaged.example.gov"));
    assert_eq!(collection.host.os.as_deref(), Some("Imaged Linux 1"));
    assert_eq!(collection.host.boot_id, None);
    verified(&captured);
    let refused =
        run(agent().args(["collect", "--root", "/nowhere", "--output"]).arg(workplace.path().join("no")), 64);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot examine --root /nowhere"));
    assert!(!workplace.path().join("no").exists());
}

#[test]
fn what_changed_meanwhile_and_what_was_searched_for_stand_in_the_package() {
    let workplace = workplace();
    let source = workplace.path().join("source");
    fs::write(&source, vec![b'x'; 64 << 20]).unwrap();
    let captured = capture(workplace.path(), &["--path", &text(&source), "--json"], &[0]);
    let changes = rows(&captured.package, "changes_during_capture");
    let own = changes.iter().find(|row| row["change"] == "own_footprint").unwrap();
    assert!(own["detail"].as_str().unwrap().contains("2 files created"), "{own}");
    let definitions = rows(&captured.package, "definitions");
    assert_eq!(definitions.len(), 1);
    let text = definitions[0]["definition"].as_str().unwrap();
    assert_eq!(definitions[0]["sha256"], Sha256Digest::of(text.as_bytes()).to_string().as_str());
    let stated = collection(&captured.package).definitions;
    assert_eq!(stated[0].sha256, Sha256Digest::of(text.as_bytes()));
    let summary: serde_json::Value = serde_json::from_slice(&captured.output.stdout).unwrap();
    let account =
        summary["artifacts"].as_array().unwrap().iter().find(|account| account["artifact"] == "ChosenPaths");
    assert_eq!((&account.unwrap()["expected"], &account.unwrap()["found"]), (&1.into(), &1.into()));
}

#[test]
fn with_low_priority_everybody_else_goes_first() {
    let workplace = workplace();
    for (argument, nice) in [(None, 0), (Some("--low-priority"), 19)] {
        let arguments: Vec<&str> = ["--artifact", "processes"].into_iter().chain(argument).collect();
        let captured = capture(workplace.path(), &arguments, &[0, 10]);
        let rows = rows(&captured.package, "processes");
        // A name is cut at fifteen bytes.
        let own = rows
            .iter()
            .filter(|row| row["path"].as_str().is_some_and(|path| path.ends_with("/holdfast-agent")));
        let priorities: Vec<i64> = own.map(|row| row["nice"].as_i64().unwrap()).collect();
        assert!(priorities.contains(&nice), "{argument:?}: {priorities:?}");
    }
}

#[test]
fn a_home_on_a_dead_file_system_holds_nobody() {
    let workplace = workplace();
    let image = workplace.path().canonicalize().unwrap().join("image");
    fs::create_dir_all(image.join("etc")).unwrap();
    fs::write(image.join("etc/passwd"), "eve:x:7:7::/home/eve/deep:/bin/sh\n").unwrap();
    let _dead = DeadMount::at(&image.join("home/eve"));
    let definitions = workplace.path().join("homes.yaml");
    fs::write(
        &definitions,
        "- name: Homes\n  description: d\n  why: w\n  paths: ['%%users.homedir%%/.profile']\n",
    )
    .unwrap();
    let arguments = ["--root", &text(&image), "--definitions", &text(&definitions), "--artifact", "Homes"];
    let begun = Instant::now();
    let captured = capture(workplace.path(), &arguments, &[20]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(item(&items(&captured.package), b"/home/eve").outcome, Outcome::SkippedByLimit);
}

#[test]
fn what_is_kept_beside_a_table_obeys_the_limits_of_the_whole() {
    let workplace = workplace();
    let path = workplace.path().join("deleted");
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    let held = fs::File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let arguments = ["--artifact", "deleted_files", "--max-total-size", "100K"];
    let captured = capture(workplace.path(), &arguments, &[10]);
    let rows = rows(&captured.package, "deleted_files");
    let inode = std::os::unix::fs::MetadataExt::ino(&held.metadata().unwrap());
    let row = rows.iter().find(|row| row["inode"] == inode).unwrap();
    let items = items(&captured.package);
    let item = item(&items, row["source_path"].as_str().unwrap().as_bytes());
    assert_eq!((item.outcome, item.size), (Outcome::SkippedByLimit, None));
    assert!(item.error.as_deref().unwrap().contains("--max-total-size"));
}

#[test]
fn attributes_that_decide_rights_are_not_crowded_out() {
    let workplace = workplace();
    let at = workplace.path().canonicalize().unwrap().join("memory");
    fs::create_dir(&at).unwrap();
    stock("mount", &["-t", "tmpfs", "none", &text(&at)], workplace.path());
    let _mount = Bind(at.clone());
    let file = at.join("program");
    fs::write(&file, "program").unwrap();
    stock("setcap", &["cap_net_raw=ep", &text(&file)], workplace.path());
    // More names than the kernel lists: it answers E2BIG past 64 KiB.
    for number in 0..2_000 {
        let name = format!("user.{number:04}.{}", "x".repeat(40));
        rustix::fs::setxattr(&file, &name, b"", rustix::fs::XattrFlags::CREATE).unwrap();
    }
    let captured = capture(workplace.path(), &["--path", &text(&file)], &[0]);
    let items = items(&captured.package);
    let attributes = &find(&items, &file).metadata.as_ref().unwrap().xattrs;
    assert!(attributes.iter().any(|attribute| attribute.name == "security.capability"), "{attributes:?}");
}

#[test]
fn the_root_of_a_process_in_another_mount_namespace_is_that_root_and_not_ours() {
    let workplace = workplace();
    let image = workplace.path().canonicalize().unwrap().join("image");
    fs::create_dir(&image).unwrap();
    let script = "mount -t tmpfs none \"$0\" && mkdir -p \"$0\"/bin \"$0\"/etc && echo inside > \"$0\"/etc/marker && \
        for file in /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*'); do \
            mkdir -p \"$0$(dirname $file)\" && cp -L $file \"$0$file\" || exit 1; done && \
        echo ready && exec chroot \"$0\" /bin/sleep 600";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&image).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut told)
        .unwrap();
    assert_eq!(told, "ready\n");
    let begun = Instant::now();
    let root = format!("/proc/{}/root", child.id());
    // The shell has become chroot, and chroot the program.
    while !Path::new(&root).join("etc/marker").exists() || Path::new(&root).join("proc/self").exists() {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    let captured = capture(workplace.path(), &["--root", &root, "--path", "/etc/*"], &[0]);
    child.kill().unwrap();
    child.wait().unwrap();
    let items = items(&captured.package);
    let item = item(&items, b"/etc/marker");
    assert_eq!(member(&captured.package, item.member.as_deref().unwrap()), b"inside\n");
    assert!(
        !items.iter().any(|item| item.source_path.as_deref() == Some("/etc/passwd")),
        "not this host's own"
    );
}

#[test]
fn more_users_than_are_searched_for_is_a_limit_that_is_named() {
    let workplace = workplace();
    let image = workplace.path().canonicalize().unwrap().join("image");
    fs::create_dir_all(image.join("etc")).unwrap();
    fs::create_dir_all(image.join("srv")).unwrap();
    fs::write(image.join("srv/.profile"), "run").unwrap();
    let users: String = (0..12_000).map(|number| format!("u{number}:x:{number}:7::/srv:/bin/sh\n")).collect();
    fs::write(image.join("etc/passwd"), users).unwrap();
    let definitions = workplace.path().join("homes.yaml");
    fs::write(
        &definitions,
        "- name: Homes\n  description: d\n  why: w\n  paths: ['%%users.homedir%%/.profile']\n",
    )
    .unwrap();
    let arguments = ["--root", &text(&image), "--definitions", &text(&definitions), "--artifact", "Homes"];
    let captured = capture(workplace.path(), &arguments, &[10]);
    let items = items(&captured.package);
    assert_eq!(item(&items, b"/srv/.profile").outcome, Outcome::Collected);
    let limit =
        items.iter().find(|item| item.artifact == "HomeFolders" && item.source_path.is_none()).unwrap();
    assert_eq!(limit.outcome, Outcome::SkippedByLimit);
}
