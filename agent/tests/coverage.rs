//! Owns the coverage table: docs/coverage.md as it follows from docs/coverage.yaml; refuses names that nothing has.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use holdfast_agent::catalogue::{Catalogue, name_of};
use holdfast_agent::state;
use serde::Deserialize;

/// What one tool takes in one of its groups.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    tool: String,
    group: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// What the tool calls it.
    theirs: Vec<String>,
    /// Tables, definitions and chapters that take it.
    #[serde(default)]
    ours: Vec<String>,
    /// What of it is not taken, or not without being asked for, and why.
    but: Option<String>,
}

fn parts() -> Vec<Part> {
    serde_saphyr::from_str(include_str!("../../docs/coverage.yaml")).expect("docs/coverage.yaml is good")
}

fn known_names() -> BTreeSet<String> {
    let catalogue = Catalogue::built_in().expect("good");
    let mut names = BTreeSet::new();
    for table in state::tables() {
        names.extend([table.name.to_owned(), name_of(&table.group)]);
    }
    for definition in catalogue.definitions() {
        names.extend([definition.name.clone(), name_of(&definition.group)]);
    }
    names
}

fn table_of(parts: &[Part]) -> String {
    let mut text = String::from(
        "# Coverage\n\nWhat UAC and acquire take on a Linux host, by their own names, and what of ours takes it: tables of live state \
         (`lower_case`)\nand definitions of the catalogue (`CamelCase`). Opt-in is what is personal or secret by its nature: only where it \
         is asked for, by name or with `--personal`.\nMade from `coverage.yaml`; `HOLDFAST_WRITE_COVERAGE=1 cargo test -p holdfast-agent --test coverage` writes \
         it again.\n",
    );
    for part in parts {
        let Part { tool, group, rows } = part;
        write!(text, "\n## {tool}: {group}\n\n| theirs | ours | but |\n|---|---|---|\n").expect("text grows");
        for row in rows {
            let ours: Vec<String> = row.ours.iter().map(|name| format!("`{name}`")).collect();
            let ours = if ours.is_empty() { "not taken".to_owned() } else { ours.join(", ") };
            let but = row.but.as_deref().unwrap_or_default();
            writeln!(text, "| {} | {ours} | {but} |", row.theirs.join(", ")).expect("text grows");
        }
    }
    text
}

#[test]
fn coverage_table_follows_from_its_source() {
    let made = table_of(&parts());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/coverage.md");
    if std::env::var_os("HOLDFAST_WRITE_COVERAGE").is_some() {
        std::fs::write(path, &made).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        made == kept,
        "docs/coverage.md differs: set HOLDFAST_WRITE_COVERAGE=1 and run this test to write it again"
    );
}

#[test]
fn coverage_table_names_only_what_there_is() {
    let known = known_names();
    for part in parts() {
        for row in part.rows {
            let unknown: Vec<&String> = row.ours.iter().filter(|name| !known.contains(*name)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", part.group);
            assert!(!row.theirs.is_empty() && (!row.ours.is_empty() || row.but.is_some()), "{}", part.group);
        }
    }
}

#[test]
fn coverage_table_leaves_no_definition_out() {
    let named: BTreeSet<String> =
        parts().into_iter().flat_map(|part| part.rows).flat_map(|row| row.ours).collect();
    let catalogue = Catalogue::built_in().expect("good");
    let left: Vec<&str> = catalogue
        .definitions()
        .iter()
        .map(|definition| definition.name.as_str())
        .filter(|name| !named.contains(*name))
        .collect();
    assert!(left.is_empty(), "in no row: {left:?}");
}
