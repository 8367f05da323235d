//! Owns the proof that programs of other people read, check and refuse a freshly captured package; refuses to skip one
//! that is not installed.

#![allow(clippy::disallowed_methods, reason = "tests start the programs of other people")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_tests::{Authority, Capture, Captured, hostile, run, run_to_one_of, stock, verifier, workplace};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use walkdir::WalkDir;
use zip::ZipArchive;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const STOCK_CHECK: &str = "<!-- stock-check -->";
const OTHERS: &str = "<!-- stock-check-others -->";

/// A package with the folder that everything about it lies in.
struct Scene {
    place: TempDir,
    captured: Captured,
}

impl Scene {
    fn of_this_host() -> Self {
        let place = workplace();
        let authority = Authority::start(place.path(), "authority");
        let capture = Capture { authority: Some(&authority), ..Capture::of_this_host(place.path()) };
        let captured = capture.run_with_what_the_host_allows();
        Self { place, captured }
    }

    /// A capture of what `plant` puts into the folder `tree`.
    fn of_tree(plant: impl FnOnce(&Path)) -> Self {
        let place = workplace();
        let tree = place.path().join("tree");
        plant(&tree);
        let authority = Authority::start(place.path(), "authority");
        let everything = format!("{}/**", tree.display());
        let captured =
            Capture { authority: Some(&authority), ..Capture::of_path(place.path(), &everything) }.run();
        Self { place, captured }
    }

    /// A `full` capture of the root that `plant` makes of the folder `tree`.
    fn of_root(plant: impl FnOnce(&Path)) -> Self {
        let place = workplace();
        let tree = place.path().join("tree");
        plant(&tree);
        let mut capture = Capture::of_this_host(place.path());
        let root = tree.display().to_string();
        capture.arguments = ["--root", &root, "--profile", "full"].map(str::to_owned).to_vec();
        let captured = capture.run_with_what_the_host_allows();
        Self { place, captured }
    }

    fn tree(&self) -> PathBuf {
        self.place.path().join("tree")
    }

    fn name(&self) -> String {
        self.captured.package.file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// The package folder, unzipped by `unzip` unless it is already.
    fn opened(&self) -> PathBuf {
        let folder = self.place.path().join("opened");
        if !folder.exists() {
            let package = self.captured.package.to_str().unwrap();
            stock("unzip", &["-q", package, "-d", folder.to_str().unwrap()], self.place.path());
        }
        folder.join(self.name())
    }

    /// Types the lines of the README that stand below `marker`, in the folder of this scene.
    fn type_lines_of_readme(&self, marker: &str) -> Output {
        let lines = lines_of_readme(marker);
        type_lines(&lines, &self.captured.package, &self.captured.trust, self.place.path())
    }

    /// Types all of them; each must succeed.
    fn pass_the_readme_checks(&self) {
        for marker in [STOCK_CHECK, OTHERS] {
            let output = self.type_lines_of_readme(marker);
            assert!(output.status.success(), "{marker}: {}", printed(&output));
        }
    }
}

fn lines_of_readme(marker: &str) -> String {
    let readme = fs::read_to_string(README).unwrap();
    let behind = readme.split_once(marker).unwrap_or_else(|| panic!("README.md has no {marker}")).1;
    let block =
        behind.trim_start().strip_prefix("```bash\n").expect("a fenced bash block follows the marker");
    block.split_once("\n```").expect("the block ends").0.to_owned()
}

fn type_lines(lines: &str, package: &Path, trust: &Path, folder: &Path) -> Output {
    for tool in ["unzip", "jq", "openssl", "ssh-keygen", "sha256sum", "diff", "7z"] {
        let found =
            std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|place| place.join(tool).exists());
        assert!(found, "{tool} is not installed; tests/run installs what the tests need");
    }
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", lines]).current_dir(folder);
    command.env("PACKAGE", package).env("TRUST", trust).env("PATH", path_with_python_tools());
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The folder of the Python tools that tests/run installs.
fn python_tools() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin");
    assert!(
        folder.join("bagit.py").exists(),
        "{} lacks the Python tools; tests/run installs them",
        folder.display()
    );
    folder
}

fn path_with_python_tools() -> std::ffi::OsString {
    let others = std::env::var_os("PATH").unwrap();
    std::env::join_paths(std::iter::once(python_tools()).chain(std::env::split_paths(&others))).unwrap()
}

/// Runs a script of tests/interop, which prints JSON.
fn python(script: &str, arguments: &[&Path]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(script);
    let output = run(Command::new(python_tools().join("python")).arg(script).args(arguments), 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn digest(content: &mut impl Read) -> String {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match content.read(&mut buffer).unwrap() {
            0 => break hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Name and digest of every member, by the `zip` crate.
fn members_by_zip_crate(package: &Path) -> Vec<(String, String)> {
    let mut archive = ZipArchive::new(File::open(package).unwrap()).unwrap();
    let members = (0..archive.len()).map(|index| {
        let mut member = archive.by_index(index).unwrap();
        (member.name().unwrap().into_owned(), digest(&mut member))
    });
    members.collect()
}

fn members_by_zipfile(package: &Path) -> Vec<(String, String)> {
    serde_json::from_value(python("members.py", &[package])).unwrap()
}

/// Name and digest of every file below a folder, by `walkdir`.
fn files_below(folder: &Path) -> BTreeMap<String, String> {
    let files =
        WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| !entry.file_type().is_dir());
    let named = files.map(|entry| {
        let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        assert!(entry.file_type().is_file(), "{name} is no regular file");
        (name, digest(&mut File::open(entry.path()).unwrap()))
    });
    named.collect()
}

fn all_readers_agree(scene: &Scene) {
    let package = &scene.captured.package;
    let members = members_by_zip_crate(package);
    assert_eq!(members, members_by_zipfile(package));
    assert_eq!(
        members.iter().cloned().collect::<BTreeMap<_, _>>(),
        files_below(scene.opened().parent().unwrap())
    );
}

fn records_are_accepted(scene: &Scene) -> Value {
    let place = scene.place.path();
    let report = place.join("report.json");
    let mut verify = verifier();
    verify.args(["verify", "--json", "--trust"]).arg(&scene.captured.trust).arg(&scene.captured.package);
    fs::write(&report, run_to_one_of(&mut verify, &[0, 10]).stdout).unwrap();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1");
    python("records.py", &[&scene.opened(), &scene.captured.ledger, &schemas, &report])
}

#[test]
fn the_commands_of_the_readme_pass_on_a_triage_of_this_host() {
    Scene::of_this_host().pass_the_readme_checks();
}

#[test]
fn the_commands_of_the_readme_pass_on_a_tree_of_hostile_names() {
    Scene::of_tree(hostile::plant).pass_the_readme_checks();
}

#[test]
fn unzip_the_zip_crate_and_pythons_zipfile_read_the_same_members_of_a_triage() {
    all_readers_agree(&Scene::of_this_host());
}

#[test]
fn unzip_the_zip_crate_and_pythons_zipfile_read_the_same_members_of_hostile_names() {
    all_readers_agree(&Scene::of_tree(hostile::plant));
}

#[test]
fn pythons_jsonschema_accepts_every_record_of_a_triage_and_the_report_on_it() {
    let counts = records_are_accepted(&Scene::of_this_host());
    let count =
        |record: &str| counts[record].as_u64().unwrap_or_else(|| panic!("no count of {record} in {counts}"));
    for record in
        ["item", "action", "state/processes", "state/users", "state/process_open_files", "state/mounts"]
    {
        assert!(count(record) > 1, "{record}: {counts}");
    }
    for record in ["collection", "seal", "report"] {
        assert_eq!(count(record), 1, "{record}");
    }
    assert_eq!((count("custody-line"), count("custody-entry")), (2, 2));
}

#[test]
fn pythons_jsonschema_accepts_every_record_of_hostile_names_and_the_report_on_them() {
    let counts = records_are_accepted(&Scene::of_tree(hostile::plant));
    assert!(counts["item"].as_u64().unwrap() > 80, "{counts}");
}

/// One item for each path of the tree, with its content where it has one.
fn every_path_is_an_item(scene: &Scene) {
    let opened = scene.opened();
    let text = fs::read_to_string(opened.join("items.jsonl")).unwrap();
    let (mut items, mut members) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let item: Value = serde_json::from_str(line).unwrap();
        members.insert(item["id"].as_u64(), (item["member"].clone(), item["sha256"].clone()));
        // A table comes from no single path.
        let Some(path) = item["source_path_raw"].as_str() else { continue };
        let path = STANDARD.decode(path).unwrap();
        assert!(items.insert(path, item).is_none(), "two items for one path: {line}");
    }
    let mut kinds = BTreeMap::new();
    for entry in WalkDir::new(scene.tree()).min_depth(1).into_iter().map(Result::unwrap) {
        let path = entry.path().as_os_str().as_bytes();
        // A folder is an item only where something in it could not be taken.
        if entry.file_type().is_dir() && !items.contains_key(path) {
            continue;
        }
        let item = items.remove(path).unwrap_or_else(|| panic!("no item for {}", path.escape_ascii()));
        *kinds.entry(item["kind"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        if entry.file_type().is_file() {
            let outcome = item["outcome"].as_str().unwrap();
            assert!(item["kind"] == "file" && ["collected", "hard_link"].contains(&outcome), "{item}");
            // A further name of a file points at the item that holds its content.
            let holder = if outcome == "hard_link" { &item["same_as"] } else { &item["id"] };
            let (member, sha256) = &members[&holder.as_u64()];
            let found = digest(&mut File::open(opened.join(member.as_str().unwrap())).unwrap());
            assert_eq!(found, digest(&mut File::open(entry.path()).unwrap()), "{}", path.escape_ascii());
            assert_eq!(Some(found.as_str()), sha256.as_str());
        } else {
            assert_eq!(item["outcome"], "not_regular", "{item}");
        }
    }
    for (kind, least) in [("file", 70), ("symlink", 8), ("fifo", 1), ("socket", 1)] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= least), "{kind}: {kinds:?}");
    }
    items.retain(|path, _| path.starts_with(scene.tree().as_os_str().as_bytes()));
    items.remove(scene.tree().as_os_str().as_bytes());
    assert!(items.is_empty(), "items for what is not there: {items:?}");
}

#[test]
fn every_file_with_a_hostile_name_comes_back_byte_for_byte_and_every_other_kind_is_recorded() {
    every_path_is_an_item(&Scene::of_tree(hostile::plant));
}

#[test]
fn dissect_opens_the_captured_data_as_a_linux_target_and_reads_the_users_of_this_host() {
    let scene = Scene::of_this_host();
    let target = python("target.py", &[&scene.opened().join("data")]);
    assert!(["linux", "debian"].contains(&target["os"].as_str().unwrap()), "{target}");
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let named = passwd.lines().filter_map(|line| line.split(':').next());
    let read: Vec<&str> =
        target["users"].as_array().unwrap().iter().map(|user| user[0].as_str().unwrap()).collect();
    for name in named.filter(|name| !name.is_empty() && !name.starts_with(['+', '-', '#'])) {
        assert!(read.contains(&name), "{name} is not among {read:?}");
    }
}

#[test]
fn dissect_reads_accounts_and_authentication_log_out_of_a_full_capture_of_a_mounted_root() {
    let scene = Scene::of_root(|root| {
        for (path, content) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nmallory:x:1001:1001::/home/mallory:/bin/sh\n"),
            ("etc/hostname", "mailhub\n"),
            ("etc/sysctl.conf", "kernel.sysrq = 0\n"),
            (
                "var/log/auth.log",
                "2026-11-24T03:04:05.000000+00:00 mailhub sshd[812]: Accepted password for mallory from 192.0.2.7 port 4711 ssh2\n",
            ),
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
        }
    });
    let system = scene.opened().join("data");
    let target = python("target.py", &[&system]);
    assert_eq!(target["hostname"], "mailhub");
    assert_eq!(target["users"][1], serde_json::json!(["mallory", 1001, "/home/mallory", "/bin/sh"]));
    let entry = &target["authlog"][0];
    assert_eq!((entry[1].as_str(), entry[2].as_u64()), (Some("sshd"), Some(812)), "{target}");
    assert!(entry[3].as_str().unwrap().starts_with("Accepted password for mallory"), "{target}");
}

/// Slower: 70,000 files.
#[test]
fn a_package_of_more_members_than_65535_passes_the_commands_of_the_readme() {
    const FILES: usize = 70_000;
    let scene = Scene::of_tree(|tree| hostile::plant_many(tree, FILES));
    let package = fs::read(&scene.captured.package).unwrap();
    assert!(
        package.windows(4).rev().take(200).any(|bytes| bytes == b"PK\x06\x06"),
        "the end records are in ZIP64 form"
    );
    scene.pass_the_readme_checks();
    assert!(members_by_zip_crate(&scene.captured.package).len() > FILES);
    assert!(members_by_zipfile(&scene.captured.package).len() > FILES);
}

/// Slower: 4.1 GB are read, and written again by `unzip`.
#[test]
fn a_member_larger_than_four_gigabytes_passes_the_commands_of_the_readme() {
    const SIZE: u64 = 4_300_000_000;
    let scene = Scene::of_tree(|tree| {
        hostile::plant_huge(tree, SIZE);
    });
    scene.pass_the_readme_checks();
    let mut archive = ZipArchive::new(File::open(&scene.captured.package).unwrap()).unwrap();
    let sizes: Vec<u64> =
        (0..archive.len()).map(|index| archive.by_index_raw(index).unwrap().size()).collect();
    assert!(sizes.contains(&SIZE), "{sizes:?}");
}

mod refusals {
    //! What each step of the README's commands is there for, by a forgery that this step and none before it refuses.

    use super::*;

    /// A copy of the scene's package and ledger, forged by `forge`, and the step that refuses it; 8 for none.
    fn step_that_refuses(scene: &Scene, forge: impl FnOnce(&Path, &Path)) -> usize {
        let folder = tempfile::tempdir_in(scene.place.path()).unwrap();
        let package = folder.path().join(scene.captured.package.file_name().unwrap());
        fs::copy(&scene.captured.package, &package).unwrap();
        fs::copy(&scene.captured.ledger, ledger(&package)).unwrap();
        let trust = folder.path().join("trust");
        fs::create_dir(&trust).unwrap();
        for file in ["allowed_signers", "tsa-roots.pem"] {
            fs::copy(scene.captured.trust.join(file), trust.join(file)).unwrap();
        }
        forge(&package, &trust);
        let examined = folder.path().join("examined");
        fs::create_dir(&examined).unwrap();
        let lines = format!(
            "{}\necho STEP PASSED",
            lines_of_readme(STOCK_CHECK).replace("\n# ", "\necho STEP PASSED\n# ")
        );
        let output = type_lines(&lines, &package, &trust, &examined);
        let passed = printed(&output).lines().filter(|line| *line == "STEP PASSED").count();
        assert_eq!(output.status.success(), passed == 7, "{}", printed(&output));
        passed + 1
    }

    fn ledger(package: &Path) -> PathBuf {
        PathBuf::from(format!("{}.custody.jsonl", package.display()))
    }

    fn small_scene() -> Scene {
        Scene::of_tree(|tree| {
            fs::create_dir(tree).unwrap();
            fs::write(tree.join("exhibit"), "not so long a story\n".repeat(100)).unwrap();
        })
    }

    fn shell(lines: &str, package: &Path, folder: &Path) {
        let output = type_lines(lines, package, folder, folder);
        assert!(output.status.success(), "{}", printed(&output));
    }

    fn flip(file: &Path, offset: usize, bit: u8) {
        let mut bytes = fs::read(file).unwrap();
        bytes[offset] ^= bit;
        fs::write(file, bytes).unwrap();
    }

    /// Where the content of the first member begins: behind its local header, name and extra field (APPNOTE 4.3.7).
    fn first_content(package: &Path) -> usize {
        let bytes = fs::read(package).unwrap();
        let length = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        30 + length(26) + length(28)
    }

    /// Puts the stored member `name` of another package, equally long, into this one, checksum included.
    fn transplant(from: &Path, into: &Path, name: &str) {
        let read = |package: &Path| {
            let mut archive = ZipArchive::new(File::open(package).unwrap()).unwrap();
            let index = (0..archive.len())
                .find(|index| archive.by_index_raw(*index).unwrap().name().unwrap().ends_with(name));
            let mut member = archive.by_index(index.unwrap()).unwrap();
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            (content, member.crc32().to_le_bytes().to_vec())
        };
        let ((theirs, their_crc), (ours, our_crc)) = (read(from), read(into));
        assert_eq!(theirs.len(), ours.len());
        let mut bytes = fs::read(into).unwrap();
        for (old, new) in [(ours, theirs), (our_crc, their_crc)] {
            let places: Vec<usize> =
                (0..=bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(&old)).collect();
            assert!(!places.is_empty());
            for at in places {
                bytes[at..at + new.len()].copy_from_slice(&new);
            }
        }
        fs::write(into, bytes).unwrap();
    }

    #[test]
    fn an_untouched_package_is_refused_by_no_step() {
        assert_eq!(step_that_refuses(&small_scene(), |_, _| ()), 8);
    }

    #[test]
    fn step_1_refuses_a_damaged_exhibit_and_a_planted_one() {
        let scene = small_scene();
        let damage = |package: &Path, _: &Path| flip(package, first_content(package) + 3, 1);
        assert_eq!(step_that_refuses(&scene, damage), 1);
        let planting = r#"name=$(basename "$PACKAGE" .zip) && mkdir -p "$name/data" && echo > "$name/data/planted" && zip -qg "$PACKAGE" "$name/data/planted""#;
        assert_eq!(step_that_refuses(&scene, |package, trust| shell(planting, package, trust)), 1);
    }

    #[test]
    fn step_2_refuses_an_exhibit_changed_together_with_its_manifests_and_a_changed_header() {
        let scene = small_scene();
        let forging = r#"
            unzip -q "$PACKAGE" && rm "$PACKAGE" && cd "$(basename "$PACKAGE" .zip)"
            exhibit=$(find data -name exhibit) && echo "another story" > "$exhibit"
            find data -type f -exec sha256sum {} + > manifest-sha256.txt
            sha256sum $(cut -c67- tagmanifest-sha256.txt) > new && mv new tagmanifest-sha256.txt
            cd .. && zip -qr "$PACKAGE" "$(basename "$PACKAGE" .zip)""#;
        assert_eq!(step_that_refuses(&scene, |package, trust| shell(forging, package, trust)), 2);
        // The DOS time of the first local header, which no unzipping program looks at.
        assert_eq!(step_that_refuses(&scene, |package, _| flip(package, 10, 1)), 2);
    }

    #[test]
    fn step_3_refuses_the_collectors_signature_of_another_package() {
        let (scene, other) = (small_scene(), small_scene());
        let forge = |package: &Path, _: &Path| {
            transplant(&other.captured.package, package, "seal.json.collector.sig")
        };
        assert_eq!(step_that_refuses(&scene, forge), 3);
    }

    #[test]
    fn step_4_refuses_a_stranger_and_the_examiners_signature_of_another_package() {
        let (scene, other) = (small_scene(), small_scene());
        let stranger = |_: &Path, trust: &Path| {
            fs::copy(other.captured.trust.join("allowed_signers"), trust.join("allowed_signers")).unwrap();
        };
        assert_eq!(step_that_refuses(&scene, stranger), 4);
        let forge = |package: &Path, trust: &Path| {
            stranger(package, trust);
            transplant(&other.captured.package, package, "seal.json.examiner.sig");
        };
        assert_eq!(step_that_refuses(&scene, forge), 4);
    }

    #[test]
    fn step_5_refuses_an_authority_that_the_organisation_does_not_list() {
        let (scene, other) = (small_scene(), small_scene());
        let forge = |_: &Path, trust: &Path| {
            fs::copy(other.captured.trust.join("tsa-roots.pem"), trust.join("tsa-roots.pem")).unwrap();
        };
        assert_eq!(step_that_refuses(&scene, forge), 5);
    }

    #[test]
    fn step_6_refuses_a_ledger_with_a_removed_or_an_edited_entry_or_of_another_package() {
        let (scene, other) = (small_scene(), small_scene());
        for edit in ["1d", "p", "s/collected/collecteD/", "2s/recorded_at/recorded_At/"] {
            let forge = |package: &Path, trust: &Path| {
                shell(&format!("sed -i '{edit}' \"$PACKAGE.custody.jsonl\""), package, trust);
            };
            assert_eq!(step_that_refuses(&scene, forge), 6, "{edit}");
        }
        let theirs = |package: &Path, _: &Path| {
            fs::copy(&other.captured.ledger, ledger(package)).unwrap();
        };
        assert_eq!(step_that_refuses(&scene, theirs), 6);
    }

    #[test]
    fn step_7_refuses_a_ledger_cut_short_or_signed_by_another_key_and_a_file_changed_behind_its_seal() {
        let scene = small_scene();
        let cut =
            |package: &Path, trust: &Path| shell("sed -i 2d \"$PACKAGE.custody.jsonl\"", package, trust);
        assert_eq!(step_that_refuses(&scene, cut), 7);
        let resigning = r#"
            ledger=$PACKAGE.custody.jsonl
            ssh-keygen -q -t ed25519 -N '' -f stranger
            sign() { ssh-keygen -q -Y sign -f stranger -n holdfast-custody-v1; }
            first=$(sed -n 1p "$ledger" | jq -rj .entry)
            second=$(sed -n 2p "$ledger" | jq -rj .entry)
            line() { jq -cn --arg entry "$1" --arg signature "$(printf %s "$1" | sign)"$'\n' '{entry: $entry, signature: $signature}'; }
            line "$first" > new
            previous=$(head -n 1 new | tr -d '\n' | sha256sum | cut -c1-64)
            line "$(jq -c --arg previous "$previous" '.prev = $previous' <<< "$second")" >> new
            mv new "$ledger""#;
        assert_eq!(step_that_refuses(&scene, |package, trust| shell(resigning, package, trust)), 7);
        // The DOS time of the first central entry.
        let central = |package: &Path, _: &Path| {
            let bytes = fs::read(package).unwrap();
            let entry = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
            flip(package, entry + 12, 1);
        };
        assert_eq!(step_that_refuses(&scene, central), 7);
    }
}
