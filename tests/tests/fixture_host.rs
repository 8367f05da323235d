//! Owns the proof that a `full` capture of a host finds every path that the fixture list names, by the definition that the
//! list names, and withholds what it says is withheld; refuses a fixture made from the catalogue's own patterns.

#![allow(clippy::disallowed_methods, reason = "tests start programs of their own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use holdfast_schemas::item::{ItemRecord, Outcome};
use holdfast_tests::package::{items, member, rows};
use holdfast_tests::{Capture, Captured, run, verifier, workplace};

/// Paths as they are found on real hosts; the agent's own tests hold every pattern against them.
const HOST_PATHS: &str = include_str!("../../agent/tests/fixtures/host-paths.txt");

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
    alice:x:1000:1000:Alice:/home/alice:/bin/bash\n\
    jenkins:x:110:110::/var/lib/jenkins:/bin/bash\n";

/// Plants every listed path as a file that holds its own name; returns the definition and whether content is withheld.
fn plant(root: &Path) -> BTreeMap<&'static str, Vec<(&'static str, bool)>> {
    let mut planted: BTreeMap<&str, Vec<(&str, bool)>> = BTreeMap::new();
    let mut definition = "";
    for line in HOST_PATHS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            definition = name;
            continue;
        }
        let path = line.strip_prefix('!').unwrap_or(line);
        let at = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        if !at.is_dir() {
            fs::write(&at, path).unwrap();
        }
        planted.entry(path).or_default().push((definition, path != line));
    }
    fs::write(root.join("etc/passwd"), PASSWD).unwrap();
    planted
}

/// Captures the planted host and gives its items by path; the last of several for one path stands, since a definition may
/// withhold what another one takes afterwards.
fn capture(workplace: &Path, root: &Path, further: &[&str]) -> (Captured, BTreeMap<String, ItemRecord>) {
    let mut capture = Capture::of_path(workplace, "");
    let at = root.display().to_string();
    let arguments = [&["--root", &at, "--profile", "full"], further].concat();
    capture.arguments = arguments.into_iter().map(str::to_owned).collect();
    let captured = capture.run_to_one_of(&[0, 10]);
    let found =
        items(&captured.package).into_iter().filter_map(|item| Some((item.source_path.clone()?, item)));
    let found =
        found.filter(|(_, item)| item.member.is_some() || item.outcome == Outcome::SkippedByScope).collect();
    (captured, found)
}

#[test]
fn everything_planted_on_a_fixture_host_is_found_and_what_is_to_be_withheld_is_withheld() {
    let workplace = workplace();
    let root = workplace.path().join("host");
    fs::create_dir(&root).unwrap();
    let planted = plant(&root);
    let mut faults = Vec::new();

    let (ordinary, found) = capture(workplace.path(), &root, &[]);
    for (path, definitions) in &planted {
        let withheld = definitions.iter().all(|(_, withheld)| *withheld);
        if let Some(item) = found.get(*path).filter(|item| withheld && item.member.is_some()) {
            faults.push(format!("{path}: content was to be withheld, and {} took it", item.artifact));
        }
    }
    run(verifier().arg("verify").arg("--trust").arg(&ordinary.trust).arg(&ordinary.package), 10);

    let (everything, found) = capture(workplace.path(), &root, &["--personal"]);
    for (path, definitions) in &planted {
        let withheld = definitions.iter().all(|(_, withheld)| *withheld);
        let below = |folder: &str| path.strip_prefix(folder).is_some_and(|below| below.starts_with('/'));
        match found.get(*path) {
            Some(item) if withheld || item.member.is_some() => {}
            Some(item) => {
                faults.push(format!("{path}: without content by {} ({:?})", item.artifact, item.error))
            }
            // A folder whose content is withheld is recorded itself and not entered.
            None if withheld && found.keys().any(|folder| below(folder)) => {}
            None => faults.push(format!("{path}: planted and not found ({definitions:?})")),
        }
    }
    let used: Vec<String> = rows(&everything.package, "definitions")
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    for (path, definitions) in &planted {
        for (definition, _) in definitions {
            if !used.iter().any(|name| name == definition) {
                faults.push(format!("{path}: {definition} is in no profile"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let item = &found["/var/spool/cron/crontabs/alice"];
    let content = member(&everything.package, item.member.as_deref().unwrap());
    assert_eq!(content, b"/var/spool/cron/crontabs/alice");
}
