//! Owns the capture of one table for the tests of the tables; refuses a row that its table's schema does not allow.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::Path;

use holdfast_agent::source::Root;
use holdfast_agent::state::{Captured, Table, TableCapture, tables};
use serde_json::Value;

/// The table of this name.
pub(crate) fn table(name: &str) -> &'static Table {
    tables().iter().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}"))
}

/// What a table writes of the host below `root`, as it stands.
pub(crate) fn written(name: &str, root: &Root) -> (Vec<u8>, Captured) {
    let mut out = Vec::new();
    let mut capture = TableCapture::new(&mut out, root, &|| false);
    (table(name).capture)(&mut capture).expect("the table is captured");
    let captured = capture.finish();
    (out, captured)
}

/// The rows of a table of the host below `root`, each valid by its schema.
pub(crate) fn capture(name: &str, root: &Root) -> (Vec<Value>, Captured) {
    let (out, captured) = written(name, root);
    let rows: Vec<Value> = serde_json::Deserializer::from_slice(&out)
        .into_iter()
        .map(|row| row.expect("a row is JSON"))
        .collect();
    assert_eq!(rows.len() as u64, captured.rows);
    let validator = schema(name);
    for row in &rows {
        let faults: Vec<_> = validator.iter_errors(row).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {row}: {faults:?}");
    }
    (rows, captured)
}

/// The rows of a table of this very host.
pub(crate) fn live(name: &str) -> (Vec<Value>, Captured) {
    capture(name, &Root::live().expect("the root opens"))
}

/// The schema of a table's rows.
pub(crate) fn schema(name: &str) -> jsonschema::Validator {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1/state");
    let schema = std::fs::read(schemas.join(format!("{name}.schema.json"))).expect("each table has a schema");
    jsonschema::validator_for(&serde_json::from_slice(&schema).expect("a schema is JSON"))
        .expect("a valid schema")
}
