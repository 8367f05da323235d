//! Owns the agreement of records, JSON Schemas and examples; refuses an example that either side judges wrongly.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::Signer as _;
use holdfast_schemas::action::{Action, ActionRecord};
use holdfast_schemas::collection::{
    ArtifactCounts, Authority, Clock, ClockReading, Collection, DefinitionUse, FORMAT, Footprint, HardwareId,
    Host, Impact, ImpactRating, Interruption, Party, Tool, Trigger, TriggerKind,
};
use holdfast_schemas::custody::{CustodyEntry, CustodyEvent, LedgerLine};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{EvidenceRoute, FileMetadata, ItemKind, ItemRecord, Outcome, Xattr};
use holdfast_schemas::json::{RecordError, read_record, read_value, write_record};
use holdfast_schemas::report::{
    Axis, AxisReport, Basis, Claims, Finding, REPORT_FORMAT, Report, Status, Verdict,
};
use holdfast_schemas::seal::{
    OrderReference, Prefix, Role, SEAL_FORMAT, SealStatement, Signer, signature_member,
};
use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::sshsig::{
    NAMESPACE_CUSTODY, NAMESPACE_SEAL, SshSignature, ed25519_signature_blob, to_be_signed,
};
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde_json::{Value, json};

/// Reads a record by every rule this crate has for it alone, and writes it back.
type Reader = fn(&[u8]) -> Result<Vec<u8>, RecordError>;

/// Each record with the finding that says it is malformed and with its reader; nothing seals a report.
const RECORDS: [(&str, &str, Reader); 7] = [
    ("collection", "record.malformed", |bytes| accept(bytes, check_collection)),
    ("item", "record.malformed", |bytes| accept(bytes, ItemRecord::check)),
    ("action", "record.malformed", |bytes| accept(bytes, |_: &ActionRecord| Ok(()))),
    ("seal", "seal.malformed", |bytes| accept(bytes, check_seal)),
    ("custody-line", "custody.line_malformed", read_custody_line),
    ("custody-entry", "custody.line_malformed", |bytes| accept(bytes, CustodyEntry::check)),
    ("report", "json::read_record", |bytes| accept(bytes, check_report)),
];

/// Stands for the finding that says a record is malformed.
const MALFORMED: &str = "malformed";
const SPELLING: &str = "a schema sees values, not how they are spelled";
const INNER_TEXT: &str = "to a schema the entry is a text like any other";
const NO_KEYS: &str = "a schema decodes no key and verifies no signature";

/// Invalid examples that JSON Schema accepts, by the end of their name: the rule that refuses them and why JSON Schema
/// cannot.
const BEYOND_JSON_SCHEMA: [(&str, &str, &str); 27] = [
    ("/duplicate_key", MALFORMED, "a schema sees the object after its keys were merged"),
    ("/duplicate_key_spelled_with_an_escape", MALFORMED, "likewise, with escapes resolved"),
    ("/number_with_a_fraction", MALFORMED, "to JSON Schema 12.0 is the integer 12"),
    ("/number_with_an_exponent", MALFORMED, "to JSON Schema 1e3 is the integer 1000"),
    ("/number_minus_zero", MALFORMED, "to JSON Schema -0 is the integer 0"),
    ("/time_on_february_30", MALFORMED, "a pattern for months and leap years would not be readable"),
    ("item/source_paths_differ", "record.inconsistent", "a schema does not decode base64 and compare"),
    ("item/finished_before_started", "record.inconsistent", "a schema does not compare two fields"),
    ("item/extents_that_overlap", "record.inconsistent", "a schema does not compare two fields"),
    ("item/extents_that_do_not_add_up", "record.inconsistent", "a schema does not add"),
    ("item/hard_link_to_a_later_item", "record.inconsistent", "a schema does not compare two fields"),
    ("seal/key_of_small_order", MALFORMED, NO_KEYS),
    ("seal/key_cut_short", MALFORMED, NO_KEYS),
    ("seal/key_of_another_type_than_said", MALFORMED, NO_KEYS),
    ("custody-line/spaces_between_fields", MALFORMED, SPELLING),
    ("custody-line/fields_in_another_order", MALFORMED, SPELLING),
    ("custody-line/needless_escape", MALFORMED, SPELLING),
    ("custody-line/leading_space", MALFORMED, SPELLING),
    ("custody-line/entry_with_duplicate_key", MALFORMED, INNER_TEXT),
    ("custody-line/entry_with_unknown_field", MALFORMED, INNER_TEXT),
    ("custody-line/entry_without_a_field", MALFORMED, INNER_TEXT),
    ("custody-line/entry_with_text_after_it", MALFORMED, INNER_TEXT),
    ("custody-line/entry_changed_after_signing", "custody.signature_differs", NO_KEYS),
    ("custody-line/signature_for_seals", "custody.signature_differs", NO_KEYS),
    ("custody-line/signature_by_another_key_than_it_names", "custody.signature_differs", NO_KEYS),
    ("custody-line/signature_of_another_entry", "custody.signature_differs", NO_KEYS),
    ("report/axis_greener_than_its_finding", "Report::axis_status", "statuses would have to be ordered"),
];

/// Lies that a record's schema refuses and its reader does not: record, valid example, place, JSON value, and the
/// finding that catches them elsewhere.
const BEYOND_THE_READERS: [(&str, &str, &str, &str, &str); 5] = [
    ("action", "start", "/seq", "0", "record.sequence_broken"),
    ("item", "collected_file", "/id", "0", "record.sequence_broken"),
    ("custody-entry", "everything_said", "/seq", "0", "custody.sequence_broken"),
    ("report", "verified", "/findings/0/code", r#""container.fine""#, "none yet"),
    ("report", "verified", "/findings/0/code", r#""time.token_trusted""#, "none yet"),
];

#[test]
fn every_schema_is_valid_against_its_meta_schema_and_leaves_nothing_open() {
    for (record, ..) in RECORDS {
        let schema = schema(record);
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{record}: {error}"));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("https://example.gov/holdfast/v1/{record}.schema.json"));
        assert_closed(record, &schema);
    }
}

#[test]
fn every_valid_example_passes_its_schema_and_its_record_and_writes_back() {
    for (record, _, read) in RECORDS {
        let validator = validator(record);
        for path in examples("valid", record, 3) {
            let bytes = without_newline(fs::read(&path).expect("example"));
            let value = read_value(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let written = read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(read_value(&written).as_ref(), Ok(&value), "{}", path.display());
            if let Some(error) = validator.iter_errors(&value).next() {
                panic!("{}: {} {error}", path.display(), error.instance_path());
            }
        }
    }
}

#[test]
fn every_invalid_example_is_refused_by_its_record_and_by_its_schema_unless_listed() {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let rules = documented_codes();
    for (record, malformed, read) in RECORDS {
        let validator = validator(record);
        for path in examples("invalid", record, 8) {
            let name = format!("{record}/{}", path.file_stem().expect("name").to_string_lossy());
            let bytes = without_newline(fs::read(&path).expect("example"));
            assert!(read(&bytes).is_err(), "{name}: the record accepts it");
            // What an ordinary reader sees: the last of two equal keys. What it cannot parse is refused already.
            let value = serde_json::from_slice::<Value>(&bytes).ok();
            let accepted = value.is_some_and(|value| validator.is_valid(&value));
            let listed = BEYOND_JSON_SCHEMA.iter().find(|(end, ..)| format!("/{name}").ends_with(end));
            assert_eq!(accepted, listed.is_some(), "{name}: accepted by the schema, and listed");
            if let Some((end, rule, why)) = listed {
                let rule = if *rule == MALFORMED { malformed } else { rule };
                assert!(rules.contains(rule) || record == "report", "{name}: {rule} is no finding");
                println!("{name}: {rule}, not the schema: {why}");
                used.insert(end);
            }
        }
    }
    assert_eq!(used, BEYOND_JSON_SCHEMA.map(|(end, ..)| end).into(), "listed, but without example");
}

#[test]
fn what_only_a_schema_refuses_is_listed() {
    let rules = documented_codes();
    for (record, _, read) in RECORDS {
        let validator = validator(record);
        for (_, example, place, lie, rule) in BEYOND_THE_READERS.iter().filter(|lie| lie.0 == record) {
            let bytes = fs::read(folder("valid", record).join(format!("{example}.json"))).expect("example");
            let mut value = read_value(&bytes).expect("valid");
            *value.pointer_mut(place).expect("place") = read_value(lie.as_bytes()).expect("JSON");
            assert!(!validator.is_valid(&value), "{record}{place}: the schema accepts {lie}");
            let accepted = read(value.to_string().as_bytes());
            assert!(accepted.is_ok(), "{record}{place}: {lie} is refused now; make it an invalid example");
            assert!(rules.contains(*rule) || *rule == "none yet", "{record}{place}: {rule} is no finding");
        }
    }
}

#[test]
fn no_example_lies_where_no_test_looks() {
    let known: BTreeSet<String> = RECORDS.iter().map(|(record, ..)| (*record).to_owned()).collect();
    for kind in ["valid", "invalid"] {
        assert_eq!(names(&root().join("examples").join(kind)), known, "folders of {kind}");
    }
    let schemas = known.iter().map(|record| format!("{record}.schema.json"));
    let beside = ["examples".to_owned(), "state".to_owned()];
    assert_eq!(names(&root()), schemas.chain(beside).collect());
}

#[test]
fn schemas_and_records_have_the_same_enum_values() {
    let outcomes = Outcome::ALL.map(|outcome| serde_json::to_value(outcome).expect("text"));
    assert_eq!(schema("item")["properties"]["outcome"]["enum"], json!(outcomes));
    let axes = Axis::ALL.map(|axis| serde_json::to_value(axis).expect("text"));
    assert_eq!(schema("report")["$defs"]["axis"]["enum"], json!(axes));
    for (record, place, values) in [
        ("collection", "/$defs/impact/properties/rating", declared::<ImpactRating>()),
        ("collection", "/$defs/trigger/properties/kind", declared::<TriggerKind>()),
        ("item", "/properties/kind", declared::<ItemKind>()),
        ("item", "/properties/evidence_route", declared::<EvidenceRoute>()),
        ("item", "/properties/outcome", declared::<Outcome>()),
        ("action", "/properties/action", declared::<Action>()),
        ("seal", "/$defs/signer/properties/role", declared::<Role>()),
        ("custody-entry", "/properties/event", declared::<CustodyEvent>()),
        ("report", "/properties/headline", declared::<Verdict>()),
        ("report", "/$defs/axis", declared::<Axis>()),
        ("report", "/$defs/status", declared::<Status>()),
    ] {
        let schema = schema(record);
        assert_eq!(schema.pointer(place).expect("place")["enum"], json!(values), "{record} {place}");
    }
    let counted: Vec<&str> = declared::<ArtifactCounts>()[1..].to_vec();
    assert_eq!(counted, declared::<Outcome>(), "one counter for each outcome");
}

#[test]
fn schemas_and_records_have_the_same_fields_in_the_same_order() {
    for (record, shape, fields) in [
        ("collection", "", declared::<Collection>()),
        ("collection", "/$defs/impact", declared::<Impact>()),
        ("collection", "/$defs/authority", declared::<Authority>()),
        ("collection", "/$defs/party", declared::<Party>()),
        ("collection", "/$defs/trigger", declared::<Trigger>()),
        ("collection", "/$defs/definition_use", declared::<DefinitionUse>()),
        ("collection", "/$defs/host", declared::<Host>()),
        ("collection", "/$defs/hardware_id", declared::<HardwareId>()),
        ("collection", "/$defs/tool", declared::<Tool>()),
        ("collection", "/$defs/clock", declared::<Clock>()),
        ("collection", "/$defs/clock_reading", declared::<ClockReading>()),
        ("collection", "/$defs/footprint", declared::<Footprint>()),
        ("collection", "/$defs/artifact_counts", declared::<ArtifactCounts>()),
        ("collection", "/$defs/interruption", declared::<Interruption>()),
        ("item", "", declared::<ItemRecord>()),
        ("item", "/$defs/file_metadata", declared::<FileMetadata>()),
        ("item", "/$defs/xattr", declared::<Xattr>()),
        ("action", "", declared::<ActionRecord>()),
        ("seal", "", declared::<SealStatement>()),
        ("seal", "/$defs/prefix", declared::<Prefix>()),
        ("seal", "/$defs/order_reference", declared::<OrderReference>()),
        ("seal", "/$defs/signer", declared::<Signer>()),
        ("custody-line", "", declared::<LedgerLine>()),
        ("custody-entry", "", declared::<CustodyEntry>()),
        ("custody-entry", "/$defs/party", declared::<Party>()),
        ("report", "", declared::<Report>()),
        ("report", "/$defs/axis_report", declared::<AxisReport>()),
        ("report", "/$defs/finding", declared::<Finding>()),
        ("report", "/$defs/claims", declared::<Claims>()),
        ("report", "/$defs/basis", declared::<Basis>()),
    ] {
        let schema = schema(record);
        assert_eq!(schema.pointer(shape).expect("shape")["required"], json!(fields), "{record} {shape}");
    }
}

#[test]
fn the_report_schema_has_the_codes_of_the_specification() {
    let schema = schema("report");
    let codes = schema["$defs"]["finding"]["properties"]["code"]["enum"].as_array().expect("codes");
    let codes: BTreeSet<String> = codes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    assert_eq!(codes, documented_codes(), "report.schema.json and section 8 of schemas/README.md");
}

#[test]
fn signed_examples_are_signed_by_the_example_keys_and_linked() {
    let mut checked = 0;
    for path in examples("valid", "seal", 3) {
        let bytes = fs::read(&path).expect("example");
        let statement: SealStatement = read_record(&bytes).expect("valid");
        for signer in &statement.signers {
            let signature = fs::read_to_string(format!("{}.{}.sig", path.display(), signer.role));
            let made = sign(&signer.role.to_string(), NAMESPACE_SEAL, &bytes);
            assert_eq!(signature.expect("beside its statement"), made.to_armored(), "{}", path.display());
            assert_eq!(signer.public_key, made.public_key().to_openssh());
            assert!(signature_member(signer.role).ends_with(&format!(".{}.sig", signer.role)));
            checked += 1;
        }
    }
    let statement =
        fs::read(folder("valid", "seal").join("by_collector_and_examiner.json")).expect("example");
    let mut prev = Sha256Digest::of(&without_newline(statement));
    for (path, seq) in examples("valid", "custody-line", 3).into_iter().zip(1..) {
        let line = without_newline(fs::read(&path).expect("example"));
        let (entry, signature) = LedgerLine::parse(&line).expect("valid");
        assert_eq!((entry.prev, entry.seq), (prev, seq), "{}", path.display());
        let role = if seq <= 2 { "collector" } else { "examiner" };
        let text = read_value(&line).expect("valid")["entry"].as_str().expect("text").to_owned();
        assert_eq!(signature, sign(role, NAMESPACE_CUSTODY, text.as_bytes()), "{}", path.display());
        prev = Sha256Digest::of(&line);
        checked += 1;
    }
    let signatures = names(&folder("valid", "seal")).iter().filter(|name| name.ends_with(".sig")).count();
    assert_eq!(
        checked,
        signatures + examples("valid", "custody-line", 3).len(),
        "a signature without statement"
    );
}

fn accept<T: serde::Serialize + DeserializeOwned>(
    bytes: &[u8],
    check: impl Fn(&T) -> Result<(), RecordError>,
) -> Result<Vec<u8>, RecordError> {
    let record = read_record(bytes)?;
    check(&record)?;
    write_record(&record)
}

fn ensure(holds: bool, what: &str) -> Result<(), RecordError> {
    if holds { Ok(()) } else { Err(RecordError::new(what)) }
}

fn check_collection(record: &Collection) -> Result<(), RecordError> {
    ensure(record.format == FORMAT, "format")?;
    record.check()
}

fn check_seal(statement: &SealStatement) -> Result<(), RecordError> {
    ensure(statement.format == SEAL_FORMAT, "format")?;
    statement.check()
}

fn check_report(report: &Report) -> Result<(), RecordError> {
    ensure(report.format == REPORT_FORMAT, "format")?;
    ensure(report.headline == Report::verdict(&report.findings), "headline")?;
    let axes: Vec<_> = report.axes.iter().map(|axis| (axis.axis, axis.status)).collect();
    ensure(axes == Axis::ALL.map(|axis| (axis, Report::axis_status(&report.findings, axis))), "axes")
}

fn read_custody_line(bytes: &[u8]) -> Result<Vec<u8>, RecordError> {
    LedgerLine::parse(bytes).map_err(|error| RecordError::new(error.to_string()))?;
    read_record::<LedgerLine>(bytes)?.to_bytes()
}

/// The example key of `role`, whose secret is the SHA-256 of a published text, signs `message`.
fn sign(role: &str, namespace: &str, message: &[u8]) -> SshSignature {
    let seed = Sha256Digest::of(format!("holdfast example: {role}").as_bytes());
    let secret = ed25519_dalek::SigningKey::from_bytes(seed.as_bytes());
    let key = PublicKey::ed25519(secret.verifying_key().as_bytes()).expect("a strong key");
    let blob = ed25519_signature_blob(&secret.sign(&to_be_signed(namespace, message)).to_bytes());
    SshSignature::new(key, namespace, blob)
}

/// Asserts that every object shape is closed, requires all it has, and says in words what each field is.
fn assert_closed(record: &str, schema: &Value) {
    if let Some(properties) = schema.get("properties").filter(|_| schema["type"] == "object") {
        assert_eq!(schema["additionalProperties"], false, "{record}: an open shape");
        let required = schema["required"].as_array().expect("required");
        let required: BTreeSet<_> = required.iter().filter_map(Value::as_str).collect();
        let properties = properties.as_object().expect("properties");
        assert_eq!(required, properties.keys().map(String::as_str).collect(), "{record}: an optional field");
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{record}: {name} is not described");
        }
    }
    match schema {
        Value::Object(map) => map.values().for_each(|inner| assert_closed(record, inner)),
        Value::Array(list) => list.iter().for_each(|inner| assert_closed(record, inner)),
        _ => {}
    }
}

/// The finding codes in the last table of the specification.
fn documented_codes() -> BTreeSet<String> {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("specification");
    let (_, section) = text.split_once("\n## 8. Verdict").expect("section 8");
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|code| code.0.to_owned()))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("v1")
}

fn folder(kind: &str, record: &str) -> PathBuf {
    root().join("examples").join(kind).join(record)
}

fn schema(record: &str) -> Value {
    let bytes = fs::read(root().join(format!("{record}.schema.json"))).expect("schema");
    read_value(&bytes).unwrap_or_else(|error| panic!("{record}: {error}"))
}

fn validator(record: &str) -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema(record)).unwrap_or_else(|error| panic!("{record}: {error}"))
}

/// Every example of a record, in the order of their names; at least `least` of them.
fn examples(kind: &str, record: &str, least: usize) -> Vec<PathBuf> {
    let folder = folder(kind, record);
    let (examples, beside): (Vec<_>, Vec<_>) =
        names(&folder).into_iter().partition(|name| name.ends_with(".json"));
    assert!(
        examples.len() >= least,
        "{kind}/{record}: {} examples, at least {least} are due",
        examples.len()
    );
    let signature = |name: &String| record == "seal" && kind == "valid" && name.ends_with(".sig");
    assert!(beside.iter().all(signature), "{kind}/{record}: not examples: {beside:?}");
    examples.into_iter().map(|name| folder.join(name)).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.expect("entry").file_name().into_string().expect("text"));
    names.filter(|name| name != "README.md").collect()
}

/// Ledger lines are read without their newline; to the other records it means nothing.
fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.pop_if(|byte| *byte == b'\n');
    bytes
}

/// The field or variant names that `T` declares to serde, in order.
fn declared<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    let refused = T::deserialize(Declaration(&mut names));
    assert!(refused.is_err() && !names.is_empty(), "neither a struct nor an enum");
    names
}

/// A deserializer that holds nothing and only notes what it is asked for.
struct Declaration<'a>(&'a mut &'static [&'static str]);

#[derive(Debug)]
struct Noted;

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noted")
    }
}

impl std::error::Error for Noted {}

impl de::Error for Noted {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for Declaration<'_> {
    type Error = Noted;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Noted> {
        Err(Noted)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Noted> {
        *self.0 = fields;
        Err(Noted)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Noted> {
        *self.0 = variants;
        Err(Noted)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}
