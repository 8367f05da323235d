//! Owns the proof that every path of the built-in catalogue is one that real hosts have; refuses typos.

use std::collections::BTreeSet;

use holdfast_agent::catalogue::{Catalogue, Component, Definition, OptIn, Pattern, Take};
use holdfast_agent::source::User;
use holdfast_agent::state::Sensitivity;

/// Paths as they are found on real hosts, written down independently of the patterns.
const HOST_PATHS: &str = include_str!("fixtures/host-paths.txt");

/// One path of the list.
struct HostPath {
    definition: &'static str,
    path: &'static str,
    withheld: bool,
}

/// Reads the list: `[Definition]` opens a section; `!` stands before a path whose content is not taken.
fn host_paths() -> Vec<HostPath> {
    let mut definition = "";
    let mut paths = Vec::new();
    for line in HOST_PATHS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            definition = name;
            continue;
        }
        let path = line.strip_prefix('!').unwrap_or(line);
        assert!(path.starts_with('/') && path.trim() == path, "not a path: {line:?}");
        paths.push(HostPath { definition, path, withheld: path != line });
    }
    paths
}

fn users() -> Vec<User> {
    [("root", "/root"), ("alice", "/home/alice"), ("jenkins", "/var/lib/jenkins")]
        .map(|(name, home)| User { name: name.into(), home: home.into(), login: true })
        .into()
}

fn catalogue() -> Catalogue {
    Catalogue::built_in().expect("the built-in files are good")
}

/// The texts that a text with `{a,b}` in it stands for, so that a typo in one of them cannot hide behind another.
fn alternatives(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return vec![text.to_owned()] };
    let (inside, after) = rest.split_once('}').expect("braces are closed and not nested");
    inside.split(',').flat_map(|one| alternatives(&format!("{before}{one}{after}"))).collect()
}

/// A definition whose patterns were parsed, each kept beside its text.
struct Finder {
    definition: Definition,
    paths: Vec<(String, Vec<Pattern>)>,
    exclude: Vec<(String, Vec<Pattern>)>,
    names: Vec<Component>,
    exclude_names: Vec<Component>,
}

fn finders() -> Vec<Finder> {
    catalogue().definitions().iter().cloned().map(Finder::new).collect()
}

impl Finder {
    fn new(definition: Definition) -> Self {
        let parsed = |texts: &[String]| {
            let texts = texts.iter().flat_map(|text| alternatives(text));
            let one = |text: String| {
                let paths = vec![text.clone()];
                let patterns = Definition { paths, ..definition.clone() }.patterns(&users());
                (text, patterns.expect("good"))
            };
            texts.map(one).collect()
        };
        let globs =
            |names: &[String]| names.iter().map(|name| Component::of_name(name).expect("good")).collect();
        Self {
            paths: parsed(&definition.paths),
            exclude: parsed(&definition.exclude),
            names: globs(&definition.only.names),
            exclude_names: globs(&definition.only.exclude_names),
            definition,
        }
    }

    fn finds(&self, path: &str) -> bool {
        let fits = |glob: &Component| glob.matches(last(path));
        let named = self.names.is_empty() || self.names.iter().any(fits);
        named
            && !self.exclude_names.iter().any(fits)
            && self.paths.iter().any(|(_, patterns)| any(patterns, path))
    }

    fn leaves_out(&self, path: &str) -> bool {
        self.exclude.iter().any(|(_, patterns)| any_above(patterns, path))
    }
}

fn last(path: &str) -> &[u8] {
    path.rsplit('/').next().unwrap_or_default().as_bytes()
}

fn any(patterns: &[Pattern], path: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(path.as_bytes()))
}

/// Whether the path or a folder above it matches.
fn any_above(patterns: &[Pattern], path: &str) -> bool {
    let folders = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    folders.chain([path]).any(|path| any(patterns, path))
}

fn beside<'f>(finders: &'f [Finder], host: &HostPath) -> &'f Finder {
    let found = finders.iter().find(|finder| finder.definition.name == host.definition);
    found.unwrap_or_else(|| panic!("no definition is named {}", host.definition))
}

#[test]
fn every_pattern_matches_a_path_that_hosts_have() {
    let paths = host_paths();
    let mut unmatched = Vec::new();
    for finder in finders() {
        let name = &finder.definition.name;
        let here: Vec<&HostPath> = paths.iter().filter(|host| finder.finds(host.path)).collect();
        for (text, patterns) in &finder.paths {
            if !here.iter().any(|host| any(patterns, host.path)) {
                unmatched.push(format!("{name}: path {text}"));
            }
        }
        for (text, patterns) in &finder.exclude {
            if !here.iter().any(|host| host.withheld && any_above(patterns, host.path)) {
                unmatched.push(format!("{name}: exclude {text}"));
            }
        }
        for (text, glob) in finder.definition.only.names.iter().zip(&finder.names) {
            if !here.iter().any(|host| glob.matches(last(host.path))) {
                unmatched.push(format!("{name}: name {text}"));
            }
        }
    }
    assert!(unmatched.is_empty(), "matched by nothing on the list:\n{}", unmatched.join("\n"));
}

#[test]
fn every_path_that_hosts_have_is_found_by_the_definition_beside_it() {
    let finders = finders();
    let lost = host_paths().into_iter().filter(|host| !beside(&finders, host).finds(host.path));
    let lost: Vec<String> = lost.map(|host| format!("{}: {}", host.definition, host.path)).collect();
    assert!(lost.is_empty(), "not found:\n{}", lost.join("\n"));
}

#[test]
fn content_is_withheld_exactly_where_the_list_says_so() {
    let finders = finders();
    let wrong = host_paths().into_iter().filter(|host| {
        let finder = beside(&finders, host);
        let withheld = finder.leaves_out(host.path) || finder.definition.take == Take::Record;
        withheld != host.withheld
    });
    let wrong: Vec<String> = wrong.map(|host| format!("{}: {}", host.definition, host.path)).collect();
    assert!(wrong.is_empty(), "marked wrongly:\n{}", wrong.join("\n"));
}

/// Whoever meets a file first collects it, so that leaving out is a matter of all definitions that come with a chapter.
#[test]
fn content_withheld_by_one_definition_is_taken_by_no_other_that_was_not_asked_for_by_name() {
    let finders = finders();
    let mut leaks = Vec::new();
    for host in host_paths().iter().filter(|host| host.withheld) {
        // A record of what is not private by its nature, such as a program, may be taken elsewhere.
        if beside(&finders, host).definition.take == Take::Record && !host.definition.starts_with("Ssh") {
            continue;
        }
        for finder in &finders {
            let definition = &finder.definition;
            let ordinary = definition.sensitivity == Sensitivity::Ordinary;
            let takes = definition.take == Take::Content && finder.finds(host.path);
            if ordinary && takes && !finder.leaves_out(host.path) {
                leaks.push(format!("{}: {}", definition.name, host.path));
            }
        }
    }
    assert!(leaks.is_empty(), "content would be taken:\n{}", leaks.join("\n"));
}

#[test]
fn the_list_can_be_planted_as_files() {
    let paths: BTreeSet<&str> = host_paths().iter().map(|host| host.path).collect();
    for path in &paths {
        let folder = format!("{path}/");
        assert!(!paths.iter().any(|other| other.starts_with(&folder)), "{path} is a file and a folder");
    }
}

#[test]
fn profiles_grow_from_quick_to_full() {
    let catalogue = catalogue();
    let chosen = |profile: &str| {
        let selection = catalogue.select(&[profile.to_owned()], &[], OptIn::ByName).expect(profile);
        let names: BTreeSet<String> = selection.definitions.into_iter().map(|one| one.name).collect();
        (names, selection.deadline_seconds)
    };
    let [quick, quarantine, triage, full] = ["quick", "quarantine", "triage", "full"].map(chosen);
    assert!(quick.0.is_subset(&quarantine.0) && quick.0.is_subset(&triage.0) && triage.0.is_subset(&full.0));
    assert!(quarantine.0.is_subset(&full.0));
    assert_eq!([quick.1, quarantine.1, triage.1, full.1], [None, Some(60), None, None]);
    for definition in catalogue.definitions() {
        let ordinary = definition.sensitivity == Sensitivity::Ordinary;
        assert_eq!(full.0.contains(&definition.name), ordinary, "{}", definition.name);
    }
}
