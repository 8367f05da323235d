//! Owns the walk over BPF objects and the search for the processes that hold them; refuses to load, attach, pin or change
//! any.

pub(super) mod attachments;
mod interfaces;
pub(super) mod links;
pub(super) mod maps;
mod names;
pub(super) mod pinned;
pub(super) mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::source::{BpfKind, BpfObject, bpf_next_id};
use crate::state::TableCapture;

use super::process_folders::{each_descriptor, each_process};
use super::process_stat::status_value;
use super::text::number;

/// Objects of one kind that are walked at most; a kernel that counts on for ever is not followed.
const OBJECTS: usize = 100_000;

/// Holders of objects that are remembered at most.
const HELD: usize = 1_000_000;

/// The processes that hold objects of one kind, by the object's number.
pub(super) type Holders = BTreeMap<u32, BTreeSet<u32>>;

/// What is done with one object; the last argument tells whether the kernel's listing shows it.
type EachObject<'a> = &'a mut dyn FnMut(&mut TableCapture<'_>, u32, &BpfObject, bool) -> io::Result<()>;

/// Hands every object that the kernel lists to `each`, then those of `others` that exist and that it did not list.
fn each_object(
    capture: &mut TableCapture<'_>,
    kind: BpfKind,
    others: impl Iterator<Item = u32>,
    each: EachObject<'_>,
) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    let mut id = 0;
    loop {
        match bpf_next_id(kind, id) {
            Ok(Some(next)) if next > id && seen.len() < OBJECTS => id = next,
            Ok(Some(next)) => {
                let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more than are followed");
                capture.gap(format!("bpf(2) {kind:?} {next}"), &reason);
                break;
            }
            Ok(None) => break,
            Err(reason) => {
                capture.gap(format!("bpf(2) {kind:?} numbers"), &reason);
                break;
            }
        }
        seen.insert(id);
        visit(capture, kind, id, true, each)?;
    }
    for id in others.filter(|id| !seen.contains(id)) {
        // One made since the listing is not hidden.
        let listed = matches!(bpf_next_id(kind, id.saturating_sub(1)), Ok(Some(next)) if next == id);
        visit(capture, kind, id, listed, each)?;
    }
    Ok(())
}

fn visit(
    capture: &mut TableCapture<'_>,
    kind: BpfKind,
    id: u32,
    listed: bool,
    each: EachObject<'_>,
) -> io::Result<()> {
    capture.go_on()?;
    match BpfObject::open(kind, id) {
        Ok(object) => each(capture, id, &object, listed),
        // Gone since it was listed.
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(reason) => {
            capture.gap(format!("bpf(2) {kind:?} {id}"), &reason);
            Ok(())
        }
    }
}

/// Finds the processes that hold objects of `kind` open, from their descriptors.
fn holders(capture: &mut TableCapture<'_>, kind: BpfKind) -> io::Result<Holders> {
    let (target, key) = match kind {
        BpfKind::Program => ("bpf-prog", "prog_id"),
        BpfKind::Map => ("bpf-map", "map_id"),
        BpfKind::Link => ("bpf_link", "link_id"),
    };
    let mut found = Holders::new();
    let mut held = 0;
    each_process(capture, &mut |capture, pid, process| {
        each_descriptor(capture, process, &mut |capture, fd, open_on| {
            // An iterator and a perf event have other names and are shown as links and programs.
            let named = open_on.strip_prefix(b"anon_inode:").unwrap_or_default();
            if named.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(named)
                != target.as_bytes()
            {
                return Ok(());
            }
            if held == HELD {
                let reason = format!("more than {HELD} holders, the others are not looked at");
                let reason = io::Error::new(io::ErrorKind::QuotaExceeded, reason);
                capture.gap(format!("bpf(2) {kind:?} holders"), &reason);
                return Ok(());
            }
            // Closed since it was listed: then the process holds it no more.
            if let Ok(info) = process.prefix(&format!("fdinfo/{fd}"), 64 << 10)
                && let Some(id) = status_value(&info.bytes, key).and_then(number)
            {
                held += 1;
                found.entry(id).or_default().insert(pid);
            }
            Ok(())
        })
    })?;
    Ok(found)
}

/// Numbers, separated by commas; empty for none.
fn joined(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}
