//! Owns the tables of containers, from the files of their engines; refuses to ask an engine.

mod docker;
mod engines;
mod pods;

use std::io;

use serde_json::Value;

use super::files::Files;
use super::text::{Twin, text};
use crate::state::TableCapture;

pub(super) use docker::TABLE as DOCKER_CONTAINERS;
pub(super) use engines::TABLE as CONTAINERS;
pub(super) use pods::TABLE as KUBERNETES_PODS;

/// The most that is read of one file, in bytes.
const FILE_CAP: usize = 8 << 20;
/// The most containers or pods that are looked at in one place.
const MOST: usize = 10_000;

/// A file of JSON; what is none is a gap.
fn json(capture: &mut TableCapture<'_>, files: &mut Files, path: &[u8]) -> Option<Value> {
    let bytes = files.text(capture, path, FILE_CAP)?;
    serde_json::from_slice(&bytes).map_err(|reason| damaged(capture, path, &reason.to_string())).ok()
}

/// An object in a file of JSON; anything else is a gap.
fn object(capture: &mut TableCapture<'_>, files: &mut Files, path: &[u8]) -> Option<Value> {
    let value = json(capture, files, path)?;
    if value.is_object() {
        return Some(value);
    }
    damaged(capture, path, "not a JSON object");
    None
}

fn damaged(capture: &mut TableCapture<'_>, path: &[u8], what: &str) {
    capture.gap(text(path).0, &io::Error::new(io::ErrorKind::InvalidData, what));
}

/// The first of what was found at `path`; a gap where there is more.
fn first<T>(capture: &mut TableCapture<'_>, path: &[u8], mut found: Vec<T>, most: usize) -> Vec<T> {
    if found.len() > most {
        let reason = format!("{} entries, {most} of them are looked at", found.len());
        capture.gap(text(path).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        found.truncate(most);
    }
    found
}

/// A text; none where the value is something else.
fn string(value: &Value) -> Option<Twin> {
    value.as_str().map(|value| text(value.as_bytes()))
}

/// The texts of an array, as a JSON array; `[]` where there is no array.
fn texts(value: &Value) -> String {
    Value::Array(elements(value).iter().filter(|value| value.is_string()).cloned().collect()).to_string()
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;

    #[test]
    fn more_than_is_looked_at_is_a_gap() {
        let (root, mut out) = (Root::live().unwrap(), Vec::new());
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        assert_eq!(first(&mut capture, b"/all", vec![1, 2], 2), [1, 2]);
        assert_eq!(first(&mut capture, b"/more", vec![1, 2, 3], 2), [1, 2]);
        let gaps = capture.finish().gaps;
        assert_eq!(gaps.iter().map(|gap| gap.subject.as_str()).collect::<Vec<_>>(), ["/more"]);
    }
}
