//! Owns the proofs that definitions of ForensicArtifacts and UAC are read as they are and every source is accounted for;
//! refuses to take our own count for another's.
#![allow(clippy::disallowed_methods, reason = "the stock Python package counts for itself")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_agent::catalogue::{Catalogue, CatalogueError, Definition, Filter, OptIn, Take};
use holdfast_agent::source::User;
use holdfast_schemas::item::ItemKind;
use serde_json::Value;

fn user(name: &str, home: &str, login: bool) -> User {
    User { name: name.into(), home: home.into(), login }
}

fn added(text: &str) -> Vec<Definition> {
    let mut catalogue = Catalogue::built_in().unwrap();
    let names = catalogue.add_text(text, "x.yaml").expect(text);
    catalogue.definitions().iter().filter(|definition| names.contains(&definition.name)).cloned().collect()
}

fn refusal(text: &str) -> String {
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.add_text(text, "x.yaml").expect_err(text).to_string()
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/.venv/bin/python");
    let python = std::env::var_os("HOLDFAST_PYTHON").map_or(python, PathBuf::from);
    assert!(python.exists(), "tests/run makes {}", python.display());
    python
}

/// What the Python package itself makes of its definitions.
const COUNT: &str = r"
import json, os
import artifacts
from artifacts import reader
folder = os.path.join(os.path.dirname(artifacts.__file__), 'data')
sources = []
names = []
for definition in reader.YamlArtifactsReader().ReadDirectory(folder):
    names.append(definition.name)
    for source in definition.sources:
        values = source.AsDict()
        systems = source.supported_os or definition.supported_os
        sources.append({
            'name': definition.name, 'type': source.type_indicator, 'linux': not systems or 'Linux' in systems,
            'paths': values.get('paths', []), 'separator': values.get('separator', '/'), 'names': values.get('names', []),
            'argv': [values['cmd']] + values['args'] if 'cmd' in values else []})
print(json.dumps({'folder': folder, 'names': names, 'sources': sources}))
";

fn counted() -> Value {
    let output = Command::new(python()).args(["-c", COUNT]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_definition_of_forensic_artifacts_is_read_as_its_own_package_reads_it() {
    let counted = counted();
    let mut catalogue = Catalogue::built_in().unwrap();
    let names = catalogue.add_file(Path::new(counted["folder"].as_str().unwrap())).unwrap();
    let expected: BTreeSet<String> = strings(&counted["names"]).into_iter().collect();
    assert!(expected.len() > 700, "the package has hundreds of definitions");
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected);
    catalogue.resolve().unwrap();

    // What is looked for, by name: paths with content, paths recorded, members and programs.
    type Asked = BTreeMap<(String, &'static str), BTreeSet<String>>;
    let mut theirs = Asked::new();
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for source in counted["sources"].as_array().unwrap() {
        let name = source["name"].as_str().unwrap().to_owned();
        let kind = source["type"].as_str().unwrap();
        if !source["linux"].as_bool().unwrap() || kind.starts_with("REGISTRY") || kind == "WMI" {
            *left_out.entry(name).or_default() += 1;
            continue;
        }
        let (kind, asked) = match kind {
            "FILE" => ("content", strings(&source["paths"])),
            "PATH" => ("record", strings(&source["paths"])),
            "ARTIFACT_GROUP" => ("members", strings(&source["names"])),
            "COMMAND" => ("command", vec![strings(&source["argv"]).join("\0")]),
            other => panic!("a type that is new: {other}"),
        };
        let separator = source["separator"].as_str().unwrap();
        let meaningless = |path: &&String| path.replace("%%users.homedir%%", "").contains("%%");
        let (without, with): (Vec<_>, Vec<_>) = asked.iter().partition(|path| !meaningless(path));
        *left_out.entry(name.clone()).or_default() += usize::from(!with.is_empty());
        theirs
            .entry((name, kind))
            .or_default()
            .extend(without.iter().map(|path| path.replace(separator, "/")));
    }
    let mut ours = Asked::new();
    let mut not_applicable: BTreeMap<String, usize> = BTreeMap::new();
    for part in catalogue.definitions().iter().filter(|part| expected.contains(&part.name)) {
        let kind = if part.take == Take::Content { "content" } else { "record" };
        let argv = part.commands.iter().map(|command| command.argv.join("\0")).collect();
        let asked = [(kind, part.paths.clone()), ("members", part.members.clone()), ("command", argv)];
        for (kind, asked) in asked.into_iter().filter(|(_, asked)| !asked.is_empty()) {
            assert!(part.not_applicable.is_none(), "{}", part.name);
            ours.entry((part.name.clone(), kind)).or_default().extend(asked);
        }
        *not_applicable.entry(part.name.clone()).or_default() += usize::from(part.not_applicable.is_some());
        assert!(part.paths.is_empty() || part.default_depth == Some(10), "{}", part.name);
    }
    assert_eq!(ours, theirs);
    left_out.retain(|_, count| *count > 0);
    not_applicable.retain(|_, count| *count > 0);
    assert_eq!(not_applicable, left_out);
    println!(
        "{} definitions, {} sources, {} Linux paths, {} parts not applicable",
        expected.len(),
        counted["sources"].as_array().unwrap().len(),
        ours.iter()
            .filter(|((_, kind), _)| ["content", "record"].contains(kind))
            .map(|(_, paths)| paths.len())
            .sum::<usize>(),
        not_applicable.values().sum::<usize>()
    );
}

const GROUPED: &str = "# A comment.
name: Inner
aliases: [OtherInner]
doc: |
  First line.

  More of it.
sources:
- type: FILE
  attributes:
    paths: ['%%users.homedir%%/.x', '%%environ_systemroot%%/y', '/var/mail/%%users.username%%', 'relative']
  supported_os: [Linux]
- type: PATH
  attributes: {paths: ['\\srv\\a'], separator: '\\'}
- type: REGISTRY_VALUE
  attributes:
    key_value_pairs:
    - {key: 'HKEY_LOCAL_MACHINE\\Software', value: a}
  supported_os: [Windows]
- type: WMI
  attributes: {query: SELECT, base_object: winmgmts}
conditions: [os == 'Linux']
labels: [System]
provides: [x]
supported_os: [Linux, Windows]
urls: ['https://example.gov/']
---
name: Outer
doc: A group.
sources:
- type: ARTIFACT_GROUP
  attributes: {names: [OtherInner]}
- type: COMMAND
  attributes: {cmd: /bin/ps, args: ['-ef', '$(id); *']}
- type: COMMAND
  attributes: {cmd: /bin/sh, args: ['-c', 'id']}
supported_os: [Linux]
";

#[test]
fn every_source_of_a_definition_is_a_part_under_its_name() {
    let parts = added(GROUPED);
    let told: Vec<(&str, &[String], Option<&str>)> = parts
        .iter()
        .map(|part| (part.name.as_str(), part.paths.as_slice(), part.not_applicable.as_deref()))
        .collect();
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let first = paths(&["%%users.homedir%%/.x", "/var/mail/%%users.username%%"]);
    let second = paths(&["/srv/a"]);
    let none: &[String] = &[];
    assert_eq!(
        told,
        [
            ("Inner", first.as_slice(), None),
            ("Inner", none, Some("%%environ_systemroot%% means nothing on a Linux host")),
            ("Inner", none, Some("not an absolute path of a Linux host")),
            ("Inner", second.as_slice(), None),
            ("Inner", none, Some("for Windows only")),
            ("Inner", none, Some("a query of Windows Management Instrumentation")),
            ("Outer", none, None),
            ("Outer", none, None),
            ("Outer", none, Some("needs a shell: sh")),
        ]
    );
    assert_eq!(parts[0].description, "First line. More of it.");
    assert_eq!((parts[0].take, parts[3].take), (Take::Content, Take::Record));
    assert_eq!(parts[7].commands[0].argv, ["/bin/ps", "-ef", "$(id); *"]);
    assert_eq!(parts[0].urls, ["https://example.gov/"]);
    let digests: BTreeSet<String> = parts.iter().map(|part| part.digest().to_string()).collect();
    assert_eq!(digests.len(), parts.len(), "each part is recorded by its own digest");
}

#[test]
fn a_list_right_behind_its_key_is_a_list() {
    let text = "name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {paths:['/a', '/b']}\n  supported_os: [Linux]\n";
    assert_eq!(added(text)[0].paths, ["/a", "/b"]);
}

#[test]
fn whoever_chooses_a_group_chooses_every_part_of_its_members() {
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.add_text(GROUPED, "x.yaml").unwrap();
    let chosen = |name: &str| {
        let selection = catalogue.select(&[], &[name.to_owned()], OptIn::ByName).unwrap();
        selection.definitions.iter().map(|part| part.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(chosen("Outer").len(), 9);
    assert_eq!(chosen("OtherInner"), ["Inner"; 6]);
    let both = ["Inner".to_owned(), "Outer".to_owned()];
    assert_eq!(catalogue.select(&[], &both, OptIn::ByName).unwrap().definitions.len(), 9);
}

#[test]
fn groups_that_lead_nowhere_or_in_a_circle_are_named() {
    let group = |name: &str, member: &str| {
        format!(
            "name: {name}\ndoc: d\nsources:\n- type: ARTIFACT_GROUP\n  attributes: {{names: [{member}]}}\n"
        )
    };
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.add_text(&group("A", "B"), "a.yaml").expect("B may come later");
    let error = catalogue.resolve().unwrap_err();
    assert!(matches!(&error, CatalogueError::UnknownMember { group, name } if group == "A" && name == "B"));
    assert!(catalogue.select(&[], &["A".to_owned()], OptIn::ByName).is_err());
    catalogue.add_text(&group("B", "C"), "b.yaml").unwrap();
    let error = catalogue.add_text(&group("C", "A"), "c.yaml").unwrap_err().to_string();
    assert!(error.contains("contains itself") && error.contains("c.yaml"), "{error}");
    assert!(refusal(&group("A", "A")).contains("contains itself"));
}

#[test]
fn malformed_definitions_of_others_say_what_is_wrong() {
    for (text, expected) in [
        ("name: A\ndoc: d\nsources: []\n", "has no source"),
        ("name: A\ndoc: d\nsourcez: []\n", "sourcez"),
        ("name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {paths: []}\n", "empty list"),
        ("name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {keys: [a]}\n", "no keys"),
        ("name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {}\n", "needs paths"),
        ("name: A\ndoc: d\nsources:\n- type: FILES\n  attributes: {paths: [/a]}\n", "FILES"),
        ("name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {paths: [/a], separator: x}\n", "separator"),
        ("name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {paths: ['/a[']}\n", "/a["),
        ("name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {paths: ['/a**b']}\n", "stands alone"),
        (
            "name: A\ndoc: d\nsources:\n- type: FILE\n  attributes: {paths: [/a]}\nsupported_os: [BeOS]\n",
            "BeOS",
        ),
        ("name: A\nsources:\n- type: FILE\n  attributes: {paths: [/a]}\n", "doc"),
        ("what: ever\n", "neither"),
        ("artifacts:\n", "no source"),
        ("version: 1\nartifacts:\n  -\n    descr: x\n", "line 4: unknown field \"descr\""),
        ("version: 1\nvversion: 1\nartifacts:\n", "line 2: unknown field \"vversion\""),
        (
            "artifacts:\n  -\n    description: x\n    description: y\n",
            "line 4: field \"description\" stands twice",
        ),
        ("artifacts:\n  -\n    description: x\n    collector: file\n", "\"supported_os\" is missing"),
        ("artifacts:\n  description: x\n", "before the first `-`"),
        ("artifacts:\n  -\n    foreach: \"\"\"\n    a\n", "never ends"),
        ("artifacts:\n  - description: x\n", "stands before the first `-`"),
    ] {
        let error = refusal(text);
        assert!(error.contains(expected) && error.contains("x.yaml"), "{text}\n{error}");
    }
    let source =
        "artifacts:\n  -\n    description: x\n    supported_os: [linux]\n    collector: file\n    path: /a\n";
    for (line, expected) in [
        ("file_type: [x]", "file_type"),
        ("permissions: [99]", "permissions"),
        ("max_file_size: 5q", "a size"),
        ("max_depth: -1", "whole number"),
        ("no_user: yes", "true or false"),
        ("name_pattern: a", "a list in brackets"),
        ("name_pattern: [\"a]", "a list in brackets"),
    ] {
        let error = refusal(&format!("{source}    {line}\n"));
        assert!(error.contains(expected) && error.contains("line 7"), "{line}\n{error}");
    }
}

/// One source of every collector with every field there is.
const UAC: &str = r#"version: 1.0
output_directory: /files/everything # where UAC puts it
artifacts:
  -
    description: Everything that a search can say.
    supported_os: [linux, macos]
    collector: file
    path: %user_home%/.config /var/spool/mail/%user% "/opt/with space/*" /etc/*.d/
    path_pattern: ["*/logs/*"]
    name_pattern: ["*.log", "a{b}"]
    exclude_path_pattern: ["/opt/cache", "*/tmp*"]
    exclude_name_pattern: ["*.gz", 'x']
    exclude_file_system: [proc, procfs]
    exclude_nologin_users: true
    ignore_date_range: true
    file_type: [f, l]
    max_depth: 4
    min_file_size: 1k
    max_file_size: 1073741824 # 1GB
    permissions: [-4000]
    no_user: true
    no_group: true
    output_file: x.txt
  -
    description: Deep.
    supported_os: [all]
    collector: find
    path: %user_home%
    permissions: [-001, -010, -100]
    output_file: f
  -
    description: Digests.
    supported_os: [linux]
    collector: hash
    path: /
    output_file: h
  -
    description: Body file.
    supported_os: [linux]
    collector: stat
    path: /
    permissions: [0777]
    output_file: s
  -
    description: Plain.
    supported_os: [linux]
    collector: command
    condition: command_exists "ps"
    command: ps -eo "pid, args" '$x*' %mount_point%/etc
    compress_output_file: true
    redirect_stderr_to_stdout: true
    output_file: p
"#;

#[test]
fn a_uac_search_keeps_recursion_exclusions_limits_and_owners() {
    let parts = added(UAC);
    assert_eq!(parts.len(), 5);
    let part = &parts[0];
    assert_eq!((part.name.as_str(), part.take, part.not_applicable.as_ref()), ("uac.x", Take::Content, None));
    let paths = [
        "%%users.homedir%%/.config/**4",
        "/var/spool/mail/%%users.username%%/**4",
        "/opt/with space/[*]/**4",
        "/etc/*.d/**4",
    ];
    assert_eq!(part.paths, paths);
    assert_eq!(part.exclude, ["/opt/cache", "/**/tmp*", "/**/*.gz", "/**/x"]);
    assert!(part.exclude_why.is_some());
    let expected = Filter {
        paths: vec!["/**/logs/*".to_owned(), "/**/logs/*/**/*".to_owned()],
        names: vec!["*.log".to_owned(), "a[{]b[}]".to_owned()],
        kinds: vec![ItemKind::File, ItemKind::Symlink],
        min_size: Some(1025),
        max_size: Some((1 << 30) - 1),
        mode_all: Some(0o4000),
        unknown_user: true,
        unknown_group: true,
        login_users: true,
        ..Filter::default()
    };
    assert_eq!(part.only, expected);
    for note in [
        "exclude_file_system: [proc, procfs]",
        "ignore_date_range: true",
        "output_file: x.txt",
        "output_directory: /files/everything",
    ] {
        assert!(part.notes.iter().any(|known| known == note), "{note} {:?}", part.notes);
    }
    assert_eq!((parts[1].only.mode_any, parts[1].take), (Some(0o111), Take::Record));
    assert_eq!(parts[1].paths, ["%%users.homedir%%/**"]);
    assert_eq!((parts[2].take, parts[2].paths[0].as_str()), (Take::Record, "/**"));
    assert!(parts[2].notes.iter().any(|note| note.contains("digests")));
    assert_eq!((parts[3].take, parts[3].only.mode_is), (Take::Record, Some(0o777)));
    assert_eq!(parts[4].commands[0].argv, ["ps", "-eo", "pid, args", "$x*", "/etc"]);
}

#[test]
fn a_uac_home_is_every_users_and_roots() {
    let part = &added(UAC)[0];
    let users = [user("root", "/root", true), user("ann", "/home/ann", true), user("www", "/var/www", false)];
    let patterns = part.patterns(&users).unwrap();
    let matches = |path: &str| patterns.iter().any(|pattern| pattern.matches(path.as_bytes()));
    assert!(
        matches("/root/.config/a/b/c/d")
            && matches("/home/ann/.config/a")
            && matches("/var/spool/mail/ann/x")
    );
    assert!(!matches("/root/.config/a/b/c/d/e"), "no deeper than asked");
    assert!(!matches("/var/www/.config/a"), "nobody logs in as that user");
    let deep = added(UAC)[1].patterns(&users).unwrap();
    assert!(deep.iter().any(|pattern| pattern.matches(b"/var/www/1/2/3/4/5/6/7/8/9/10/11/12")));
}

#[test]
fn what_needs_a_shell_stays_behind_with_its_reason() {
    let source = |fields: &str| {
        format!("version: 1.0\nartifacts:\n  -\n    description: d\n    output_file: o\n{fields}")
    };
    let command = |line: &str| {
        source(&format!("    supported_os: [linux]\n    collector: command\n    command: {line}\n"))
    };
    let file =
        |path: &str| source(&format!("    supported_os: [linux]\n    collector: file\n    path: {path}\n"));
    for (text, expected) in [
        (command("ps | sort"), "a pipe"),
        (command("ps > x"), "a redirection"),
        (command("cat < x"), "a redirection"),
        (command("a && b"), "`&`"),
        (command("a; b"), "`;`"),
        (command("echo $HOME"), "a variable"),
        (command("echo `id`"), "a command in a command"),
        (command("echo \"$(id)\""), "`$` in quotes"),
        (command("(id)"), "a subshell"),
        (command("{ id }"), "braces"),
        (command("ls /etc/*"), "a pattern"),
        (command("ls ~/x"), "`~`"),
        (command("A=b id"), "an assignment"),
        (command("for x in y"), "`for`"),
        (command("/bin/sh -c id"), "needs a shell: sh"),
        (command("echo 'x"), "never ends"),
        (command("\"\"\"\n    id\n    id\n    \"\"\""), "several lines"),
        (command("cat %line%"), "%line%"),
        (command("ls %user_home%"), "one run for every user"),
        (command("ls %temp_directory%/x"), "UAC's own"),
        (command("avml %hostname%"), "UAC's own"),
        (command("id\n    foreach: ls"), "a loop"),
        (command("id\n    condition: ls /x"), "a condition"),
        (command("id\n    condition: command_exists \"other\""), "a condition"),
        (
            source("    supported_os: [aix, macos]\n    collector: command\n    command: ps\n"),
            "for aix, macos only",
        ),
        (file("/a\n    is_file_list: true"), "a list"),
        (file("/\"${X}\"/a"), "`$` in quotes"),
        (file("/%temp_directory%/a"), "UAC's own"),
        (file("/a\n    permissions: [-4000, -0022]"), "a choice"),
        (file("/a\n    path_pattern: [\"*/a?b\"]"), "path pattern"),
        (
            source("    supported_os: [linux]\n    collector: find\n    path: /a\n    command: ls\n"),
            "every file found",
        ),
        (command("id").replace("artifacts:", "modifier: true\nartifacts:"), "changes the state"),
        (command("id").replace("artifacts:", "condition: ls\nartifacts:"), "a condition"),
    ] {
        let parts = added(&text);
        let reason = parts[0].not_applicable.clone().unwrap_or_default();
        assert!(reason.contains(expected), "{text}\n{reason}");
        assert!(parts[0].commands.is_empty() && parts[0].paths.is_empty());
    }
}

#[test]
fn a_folder_of_uac_gives_names_by_path_and_profiles_that_choose() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("artifacts/files/logs/a.yaml", UAC);
    write("artifacts/files/b.yaml", UAC);
    write("profiles/p.yaml", "name: p\ndescription: d\nartifacts:\n  - files/* # all\n  - !files/logs/*\n");
    write(".hidden/c.yaml", "what: ever\n");
    let mut catalogue = Catalogue::built_in().unwrap();
    assert_eq!(catalogue.add_file(folder.path()).unwrap(), ["uac.files.b", "uac.files.logs.a"]);
    let selection = catalogue.select(&["uac.p".to_owned()], &[], OptIn::ByName).unwrap();
    assert!(selection.definitions.iter().all(|part| part.name == "uac.files.b"));
    assert_eq!(selection.definitions.len(), 5);
    let single = catalogue.add_file(&folder.path().join("artifacts/files/b.yaml")).unwrap();
    assert_eq!(single, ["uac.files.b"]);
    let endless = catalogue.add_file(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(endless.contains("more than"), "{endless}");
    write("artifacts/other.yaml", "what: ever\n");
    assert!(catalogue.add_file(folder.path()).unwrap_err().to_string().contains("other.yaml"));
}

/// Reads a real UAC tree where the environment names one, and tells what becomes of it.
#[test]
fn every_source_of_a_real_uac_is_accounted_for() {
    let Some(folder) = std::env::var_os("HOLDFAST_UAC").map(PathBuf::from) else {
        println!("HOLDFAST_UAC names no UAC tree: nothing to read");
        return;
    };
    let mut catalogue = Catalogue::built_in().unwrap();
    let names: BTreeSet<String> = catalogue.add_file(&folder).unwrap().into_iter().collect();
    let parts: Vec<&Definition> =
        catalogue.definitions().iter().filter(|part| names.contains(&part.name)).collect();
    let files: BTreeSet<&String> = parts.iter().map(|part| &part.origin).collect();
    let mut sources = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        sources += text.lines().filter(|line| line.trim_start().starts_with("collector:")).count();
    }
    assert_eq!(parts.len(), sources);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for part in
        parts.iter().filter(|part| part.platforms.contains(&holdfast_agent::catalogue::Platform::Linux))
    {
        *reasons.entry(part.not_applicable.as_deref().unwrap_or("accepted")).or_default() += 1;
    }
    println!("{} files, {sources} sources; those for Linux: {reasons:#?}", files.len());
}

#[test]
fn each_glob_feature_matches_what_it_says_on_a_real_tree() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let files =
        ["a1", "a2", "ab", "A1", ".hidden", "b/x", "b/.y", "b/c/x", "b/c/d/x", "b/c/d/e/x", "{q}", "l[1]"];
    for file in files {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), "").unwrap();
    }
    let found = |glob: &str, depth: &str| -> BTreeSet<String> {
        let path = format!("{}/{glob}", root.display());
        let text = format!("name: G\ndoc: d\nsources:\n- type: FILE\n  attributes: {{paths: ['{path}']}}\n");
        let mut catalogue = Catalogue::built_in().unwrap();
        catalogue.set_default_depth(depth.parse().unwrap());
        catalogue.add_text(&text, "g.yaml").unwrap();
        let patterns = catalogue.definition("G").unwrap().patterns(&[]).unwrap();
        let matches = |file: &str| {
            let path = root.join(file);
            patterns.iter().any(|pattern| pattern.matches(path.to_str().unwrap().as_bytes()))
        };
        files.iter().filter(|file| matches(file)).map(|file| (*file).to_owned()).collect()
    };
    let set = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
    for (glob, depth, expected) in [
        ("a*", "10", &["a1", "a2", "ab"][..]),
        ("*", "10", &["a1", "a2", "ab", "A1", ".hidden", "{q}", "l[1]"]),
        ("a?", "10", &["a1", "a2", "ab"]),
        ("a[0-9]", "10", &["a1", "a2"]),
        ("a[!0-9]", "10", &["ab"]),
        ("[Aa]1", "10", &["a1", "A1"]),
        ("a{1,b}", "10", &["a1", "ab"]),
        ("a1", "10", &["a1"]),
        ("l[[]1]", "10", &["l[1]"]),
        ("b/**", "10", &["b/x", "b/.y", "b/c/x", "b/c/d/x", "b/c/d/e/x"]),
        ("b/**", "3", &["b/x", "b/.y", "b/c/x", "b/c/d/x"]),
        ("b/**1", "10", &["b/x", "b/.y"]),
        ("b/**2", "10", &["b/x", "b/.y", "b/c/x"]),
        ("b/**/x", "10", &["b/x", "b/c/x", "b/c/d/x", "b/c/d/e/x"]),
        ("b/**/x", "1", &["b/x", "b/c/x"]),
        ("b/**2/x", "10", &["b/x", "b/c/x", "b/c/d/x"]),
        ("**/d/**1", "10", &["b/c/d/x"]),
        ("b/*/x", "10", &["b/c/x"]),
    ] {
        assert_eq!(found(glob, depth), set(expected), "{glob} {depth}");
    }
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let bomb: String = (1..30).fold("- &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let last = level - 1;
        let line =
            format!("- &a{level} [*a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}]\n");
        text + &line
    });
    refusal(&bomb);
    refusal(&bomb.replace("- &", "name: A\ndoc: d\nconditions: &").replace("\n---", ""));
    let as_document = format!("name: A\ndoc: d\nsources: [x]\nconditions:\n{bomb}");
    refusal(&as_document);
    for deep in
        ["[".repeat(100_000), format!("name: A\nconditions: {}", "[".repeat(100_000)), "- ".repeat(100_000)]
    {
        refusal(&deep);
    }
    let nested: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    refusal(&format!("name: A\nconditions:\n {nested}"));
    let chain: String = (0..900)
        .map(|at| {
            let next = at + 1;
            format!("---\nname: A{at}\ndoc: d\nsources:\n- type: ARTIFACT_GROUP\n  attributes: {{names: [A{next}]}}\n")
        })
        .collect();
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.add_text(&chain, "chain.yaml").unwrap();
    assert!(catalogue.select(&[], &["A0".to_owned()], OptIn::ByName).is_err(), "A900 is not there");
}

#[test]
fn garbage_and_every_prefix_of_a_definition_never_panic() {
    let catalogue = Catalogue::built_in().unwrap();
    let read = |text: &str| drop(catalogue.clone().add_text(text, "x.yaml"));
    for text in [GROUPED, UAC] {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            read(&text[..end]);
        }
    }
    // A plain generator: what fails once fails again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % 0xffff_fff1).unwrap()
    };
    const PIECES: &str = "\n \t-:[]{}'\"\\%#*?/,&!|>~$`()=abc\u{e9}\u{0}0123456789\u{2028}";
    let pieces: Vec<char> = PIECES.chars().collect();
    for round in 0..3_000 {
        let text = match round % 3 {
            0 => (0..random() % 200).map(|_| pieces[random() % pieces.len()]).collect(),
            kind => {
                let original = if kind == 1 { UAC } else { GROUPED };
                let mut characters: Vec<char> = original.chars().collect();
                for _ in 0..random() % 8 {
                    let at = random() % characters.len();
                    characters[at] = pieces[random() % pieces.len()];
                }
                characters.into_iter().collect::<String>()
            }
        };
        read(&text);
    }
}
