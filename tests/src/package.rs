//! Owns the reading of a package's records and members for tests, by an independent ZIP library; refuses to judge them.

use std::fs;
use std::io::Read;
use std::path::Path;

use holdfast_schemas::collection::Collection;
use holdfast_schemas::item::ItemRecord;
use holdfast_schemas::json::read_record;

/// Reads a member of a package by its name below the package folder.
pub fn member(package: &Path, name: &str) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(package).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let full =
        names.into_iter().find(|full| full.split_once('/').is_some_and(|(_, below)| below == name)).unwrap();
    let mut content = Vec::new();
    archive.by_name(&full).unwrap().read_to_end(&mut content).unwrap();
    content
}

/// The item records of a package.
pub fn items(package: &Path) -> Vec<ItemRecord> {
    let lines = member(package, "items.jsonl");
    lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| read_record(line).unwrap())
        .collect()
}

/// The item of a source path, raw bytes.
pub fn item<'a>(items: &'a [ItemRecord], path: &[u8]) -> &'a ItemRecord {
    let found = items.iter().find(|item| item.source_path_raw.as_ref().is_some_and(|raw| raw.0 == path));
    found.unwrap_or_else(|| panic!("no item for {}", String::from_utf8_lossy(path)))
}

/// The collection record of a package.
pub fn collection(package: &Path) -> Collection {
    read_record(&member(package, "collection.json")).unwrap()
}

/// The rows of a table of state, each valid by the table's schema.
pub fn rows(package: &Path, table: &str) -> Vec<serde_json::Value> {
    let lines = member(package, &format!("data/state/{table}.jsonl"));
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1/state");
    let schema = fs::read(schemas.join(format!("{table}.schema.json"))).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    let rows: Vec<serde_json::Value> =
        serde_json::Deserializer::from_slice(&lines).into_iter().map(Result::unwrap).collect();
    for row in &rows {
        assert!(validator.is_valid(row), "{table}: {row}");
    }
    rows
}
