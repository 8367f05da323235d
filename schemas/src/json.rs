//! Owns exact reading of JSON records; refuses whatever two readers could understand differently.
//!
//! Refused: duplicate keys (also spelled through `\u` escapes), unknown or missing fields, an array where an
//! object is due, numbers that do not survive, trailing bytes, nesting deeper than [`MAX_DEPTH`].

use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};

/// Deepest nesting of arrays and objects that a record may have (serde_json stops at 128 by itself).
pub const MAX_DEPTH: usize = 128;

/// Why a text is not the record it should be: a lower-case fragment that names line and column where known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(String);

impl RecordError {
    /// An error that says `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Reads one record from exactly `bytes`.
///
/// A text that the record writes back byte for byte is accepted at once. Any other text (spaces, another
/// order of fields) must still hold, without duplicate keys, the very value that the record writes.
pub fn read_record<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let record: T = serde_json::from_slice(bytes).map_err(|error| RecordError(error.to_string()))?;
    let written = write_record(&record)?;
    if written != bytes {
        let theirs = read_value(bytes)?;
        let ours = read_value(&written)?;
        if theirs != ours {
            return Err(RecordError("holds a value in a form that the record does not have".to_owned()));
        }
    }
    Ok(record)
}

/// Writes a record compactly, fields in their declared order, without a final newline.
pub fn write_record<T: Serialize>(record: &T) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec(record).map_err(|error| RecordError(error.to_string()))
}

/// Reads any JSON value from exactly `bytes`, refusing duplicate keys.
pub fn read_value(bytes: &[u8]) -> Result<Value, RecordError> {
    serde_json::from_slice::<ExactValue>(bytes)
        .map(|exact| exact.0)
        .map_err(|error| RecordError(error.to_string()))
}

struct ExactValue(Value);

impl<'de> Deserialize<'de> for ExactValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExactVisitor).map(ExactValue)
    }
}

struct ExactVisitor;

impl<'de> Visitor<'de> for ExactVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without duplicate keys")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // An integer too large for 64 bits arrives here as a float that has lost digits.
        if value.fract() == 0.0 && value.abs() >= 9_007_199_254_740_992.0 {
            return Err(E::custom("number too large to be read exactly"));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(ExactValue(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let ExactValue(value) = access.next_value()?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("duplicate key {key:?}")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Record {
        name: String,
        size: Option<u64>,
    }

    #[test]
    fn spaces_and_order_do_not_matter() {
        let record: Record = read_record(b" {\"size\": 3,\n \"name\": \"a\"} ").expect("same value");
        assert_eq!(record, Record { name: "a".into(), size: Some(3) });
    }

    #[test]
    fn ambiguous_records_are_refused() {
        for bad in [
            r#"{"name":"a","name":"b","size":1}"#,
            r#"{"name":"a","n\u0061me":"b","size":1}"#,
            r#"{"name":"a"}"#,
            r#"{"name":"a","size":1,"more":1}"#,
            r#"["a",1]"#,
            r#"{"name":"a","size":18446744073709551616}"#,
            r#"{"name":"a","size":1.0}"#,
            r#"{"name":"a","size":-1}"#,
            r#"{"name":"a","size":1} x"#,
            r#"{"name":"\ud800","size":1}"#,
            "",
        ] {
            assert!(read_record::<Record>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_overflow() {
        let deep = "[".repeat(100_000);
        assert!(read_value(deep.as_bytes()).is_err());
    }
}
