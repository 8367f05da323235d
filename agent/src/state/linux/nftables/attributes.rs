//! Owns the reading of nf_tables attributes into typed JSON by their shapes; refuses to lose an attribute that has none:
//! it is kept in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::shapes;
use crate::state::linux::iptables::detail;
use crate::state::linux::netlink::{attribute, attributes, until_nul};
use crate::state::linux::text::{text, to_hexadecimal};

/// What the value of an attribute is. Numbers are in network byte order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Four bytes with a sign.
    I32,
    /// Eight bytes.
    U64,
    /// Four bytes that number one of these names.
    Named(&'static [&'static str]),
    /// Text that ends with NUL.
    Text,
    /// Bytes that only their user understands.
    Bytes,
    /// What stands in a register: a value or a verdict.
    Data,
    /// One expression.
    Expression,
    /// A list of expressions.
    Expressions,
    /// Attributes within.
    Nested(Shape),
    /// A list, each element with attributes within.
    List(Shape),
    /// A list of texts.
    Texts,
}

/// The attributes of one message, expression or nest: type, name and form.
pub(super) type Shape = &'static [(u16, &'static str, Form)];

/// Nests within nests that are read; deeper ones stay in base64.
const DEPTH: usize = 8;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;

/// Reads attributes by their shape; those without one stand under `unknown`, each with its type and its value in base64.
pub(super) fn read(shape: Shape, bytes: &[u8]) -> Map<String, Value> {
    read_within(shape, bytes, DEPTH)
}

fn read_within(shape: Shape, bytes: &[u8], depth: usize) -> Map<String, Value> {
    let mut read = Map::new();
    let mut unknown = Vec::new();
    for (kind, value) in attributes(bytes) {
        let known = shape.iter().find(|(number, _, _)| *number == kind);
        match known.and_then(|(_, name, form)| Some((*name, typed(*form, value, depth)?))) {
            Some((name, _)) if read.contains_key(name) => unknown.push(untyped(kind, value)),
            Some((name, Typed::Plain(plain))) => {
                read.insert(name.to_owned(), plain);
            }
            Some((name, Typed::Twin((shown, raw)))) => {
                read.insert(name.to_owned(), shown.into());
                if let Some(raw) = raw {
                    read.insert(format!("{name}_raw"), raw.into());
                }
            }
            None => unknown.push(untyped(kind, value)),
        }
    }
    if !unknown.is_empty() {
        read.insert("unknown".to_owned(), unknown.into());
    }
    read
}

enum Typed {
    Plain(Value),
    Twin((String, Option<String>)),
}

fn typed(form: Form, value: &[u8], depth: usize) -> Option<Typed> {
    let number = || Some(u32::from_be_bytes(value.try_into().ok()?));
    let within = || depth.checked_sub(1);
    Some(Typed::Plain(match form {
        Form::U8 => u8::from_be_bytes(value.try_into().ok()?).into(),
        Form::U16 => u16::from_be_bytes(value.try_into().ok()?).into(),
        Form::U32 => number()?.into(),
        Form::I32 => number()?.cast_signed().into(),
        Form::U64 => u64::from_be_bytes(value.try_into().ok()?).into(),
        Form::Named(names) => {
            let number = number()?;
            names.get(number as usize).map_or_else(|| number.into(), |name| (*name).into())
        }
        Form::Text => return Some(Typed::Twin(text(until_nul(value)))),
        Form::Bytes => STANDARD.encode(value).into(),
        Form::Data => data(value)?,
        Form::Expression => expression(value, within()?),
        Form::Expressions => {
            let depth = within()?;
            list(value).map(|element| expression(element, depth)).collect()
        }
        Form::Nested(shape) => read_within(shape, value, within()?).into(),
        Form::List(shape) => {
            let depth = within()?;
            list(value).map(|element| Value::from(read_within(shape, element, depth))).collect()
        }
        Form::Texts => list(value).map(|element| listed_text(until_nul(element))).collect(),
    }))
}

/// The text itself, or where it is not verbatim both its rendering and its exact bytes.
fn listed_text(bytes: &[u8]) -> Value {
    match text(bytes) {
        (shown, None) => shown.into(),
        (shown, Some(raw)) => json!({ "text": shown, "text_raw": raw }),
    }
}

fn untyped(kind: u16, value: &[u8]) -> Value {
    json!({ "type": kind, "value": STANDARD.encode(value) })
}

fn list(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    attributes(bytes).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).map(|(_, element)| element)
}

/// `{"expression": name, ...}`, and for a name without a shape its data in base64.
fn expression(bytes: &[u8], depth: usize) -> Value {
    let (name, name_raw) = text(until_nul(attribute(bytes, NFTA_EXPR_NAME).unwrap_or_default()));
    let content = attribute(bytes, NFTA_EXPR_DATA).unwrap_or_default();
    let mut read = match (shapes::expression(&name), depth) {
        (Some(shape), 1..) => read_within(shape, content, depth),
        _ => Map::from_iter([("data".to_owned(), STANDARD.encode(content).into())]),
    };
    if let Some(detail) = xtables_detail(&read) {
        read.insert("detail".to_owned(), detail.into());
    }
    read.insert("expression".to_owned(), name.into());
    if let Some(raw) = name_raw {
        read.insert("expression_raw".to_owned(), raw.into());
    }
    read.into()
}

/// What a match or target of xtables is set to, where that is read.
fn xtables_detail(read: &Map<String, Value>) -> Option<String> {
    let information = STANDARD.decode(read.get("information")?.as_str()?).ok()?;
    let revision = u8::try_from(read.get("revision")?.as_u64()?).ok()?;
    detail(read.get("name")?.as_str()?.as_bytes(), revision, &information)
}

/// A value in hexadecimal, as it stands in the register, with the name where it is that of an interface; or a verdict.
fn data(bytes: &[u8]) -> Option<Value> {
    if let Some(verdict) = attribute(bytes, NFTA_DATA_VERDICT) {
        let mut read = read_within(shapes::VERDICT, verdict, 1);
        if let Some(name) = read.get("verdict").and_then(Value::as_i64).and_then(verdict_name) {
            read.insert("verdict".to_owned(), name.into());
        }
        return Some(read.into());
    }
    let value = attribute(bytes, NFTA_DATA_VALUE)?;
    let name = until_nul(value);
    let mut read = Map::from_iter([("value".to_owned(), to_hexadecimal(value).into())]);
    if value.len() == 16 && !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
        read.insert("text".to_owned(), text(name).0.into());
    }
    Some(read.into())
}

fn verdict_name(code: i64) -> Option<&'static str> {
    Some(match code {
        0 => "drop",
        1 => "accept",
        2 => "stolen",
        3 => "queue",
        -1 => "continue",
        -2 => "break",
        -3 => "jump",
        -4 => "goto",
        -5 => "return",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(bytes: &[u8]) -> Vec<Value> {
        list(bytes).map(|element| expression(element, DEPTH)).collect()
    }

    fn nest(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn known_expression_is_typed_and_an_unknown_one_is_kept_in_base64() {
        let compare =
            [nest(1, &1u32.to_be_bytes()), nest(2, &0u32.to_be_bytes()), nest(3, &nest(1, &[0, 22]))];
        let known = nest(1, &[nest(1, b"cmp\0"), nest(2, &compare.concat())].concat());
        let unknown = nest(1, &[nest(1, b"new\xff"), nest(2, b"data")].concat());
        let read = expressions(&[known, unknown].concat());
        assert_eq!(
            read[0],
            json!({ "expression": "cmp", "register": 1, "operator": "eq", "data": { "value": "0016" } })
        );
        assert_eq!(read[1]["expression"], "new\\xff");
        assert_eq!((&read[1]["data"], &read[1]["expression_raw"]), (&json!("ZGF0YQ=="), &json!("bmV3/w==")));
    }

    #[test]
    fn attribute_of_the_wrong_length_or_seen_twice_is_kept_as_unknown() {
        let bytes = [nest(1, b"abc"), nest(2, &7u32.to_be_bytes()), nest(2, &8u32.to_be_bytes())].concat();
        let read = read(&[(1, "a", Form::U32), (2, "b", Form::U32)], &bytes);
        assert_eq!(read["b"], 7);
        assert_eq!(read["unknown"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn verdicts_are_named_and_values_are_hexadecimal() {
        let jump = nest(2, &[nest(1, &(-3i32).to_be_bytes()), nest(2, b"next\0")].concat());
        assert_eq!(data(&jump), Some(json!({ "verdict": "jump", "chain": "next" })));
        assert_eq!(data(&nest(1, b"eth0\0\0\0\0\0\0\0\0\0\0\0\0")).unwrap()["text"], "eth0");
        assert_eq!(data(b""), None);
    }

    #[test]
    fn garbage_and_endless_nests_never_panic() {
        let mut nested = nest(1, b"x");
        for _ in 0..200 {
            nested = nest(1, &[nest(1, b"dynset\0"), nest(2, &nest(10, &nested))].concat());
        }
        assert_eq!(expressions(&nested).len(), 1);
        for length in 0..120 {
            for fill in [0, 1, 2, 3, 4, 8, 0xff] {
                let bytes = vec![fill; length];
                expressions(&bytes);
                for shape in [shapes::TABLE, shapes::CHAIN, shapes::RULE, shapes::SET, shapes::ELEMENT] {
                    read(shape, &bytes);
                }
            }
        }
    }
}
