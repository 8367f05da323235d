//! Owns the table of what firmware and boot loader measured; refuses to replay it against the TPM.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::tpm_events::{Event, Events, algorithm, event_name};
use crate::state::linux::kernel::{names, note_unmounted};
use crate::state::linux::process_folders::has_ended;
use crate::state::linux::text::to_hexadecimal;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "tpm_event_log",
    about: "What firmware and boot loader measured into the TPM at boot.",
    sources: &["/sys/kernel/security/tpm*/binary_bios_measurements"],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_logs,
};

/// One event.
#[derive(Serialize)]
struct EventRow {
    /// Derived: Which TPM, such as tpm0.
    tpm: String,
    /// Derived: Number of the event in the log, from 0.
    number: u64,
    /// Derived: Register that it was added to.
    pcr: u32,
    /// Derived: Type of event.
    event_type: u32,
    /// Derived: The same by its name; null for one that has none here.
    event_name: Option<String>,
    /// Derived: Digests, each with its algorithm, separated by commas: `sha1:...,sha256:...`.
    digests: String,
    /// Derived: Length of the event's data in bytes.
    event_size: u64,
    /// Derived: The event's data in base64, at most 16 KiB of it; data/raw has all.
    event: String,
    /// Derived: The data as text, without NUL at its end, where it is printable ASCII; else null.
    event_text: Option<String>,
}

/// The most of an event's data that a row has.
const DATA: usize = 16 << 10;

fn capture_logs(capture: &mut TableCapture<'_>) -> io::Result<()> {
    const FOLDER: &str = "/sys/kernel/security";
    note_unmounted(capture, FOLDER);
    for tpm in names(capture, FOLDER).into_iter().filter(|name| name.starts_with("tpm")) {
        let path = format!("{FOLDER}/{tpm}/binary_bios_measurements");
        match capture.keep_raw(&path) {
            Ok(log) => capture_log(capture, &tpm, &path, &log)?,
            Err(reason) if has_ended(&reason) => {}
            Err(reason) => capture.gap(path, &reason),
        }
    }
    Ok(())
}

fn capture_log(capture: &mut TableCapture<'_>, tpm: &str, path: &str, log: &[u8]) -> io::Result<()> {
    let mut events = Events::of(log);
    for (number, event) in (0..).zip(events.by_ref()) {
        capture.row(&event_row(tpm, number, &event))?;
    }
    if events.left() > 0 {
        let reason = format!("the last {} bytes are no events", events.left());
        capture.gap(path, &io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(())
}

fn event_row(tpm: &str, number: u64, event: &Event<'_>) -> EventRow {
    let digest =
        |(number, digest): &(u16, &[u8])| format!("{}:{}", algorithm(*number), to_hexadecimal(digest));
    let shown = event.data.get(..DATA).unwrap_or(event.data);
    let end = shown.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let written = shown.get(..end).unwrap_or_default();
    let printable =
        !written.is_empty() && written.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'));
    EventRow {
        tpm: tpm.to_owned(),
        number,
        pcr: event.pcr,
        event_type: event.event_type,
        event_name: event_name(event.event_type).map(str::to_owned),
        digests: event.digests.iter().map(digest).collect::<Vec<_>>().join(","),
        event_size: event.data.len() as u64,
        event: STANDARD.encode(shown),
        event_text: printable.then(|| String::from_utf8_lossy(written).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_has_its_digests_and_its_data_as_text() {
        let event = Event {
            pcr: 8,
            event_type: 13,
            digests: vec![(4, &[0xab; 2]), (11, &[1])],
            data: b"grub_cmd: x\0",
        };
        let row = event_row("tpm0", 3, &event);
        assert_eq!(
            (row.digests.as_str(), row.event_name.as_deref()),
            ("sha1:abab,sha256:01", Some("EV_IPL"))
        );
        assert_eq!((row.event_text.as_deref(), row.event_size), (Some("grub_cmd: x"), 12));
        let event = Event { pcr: 0, event_type: 99, digests: vec![], data: b"\xff\0" };
        assert_eq!(event_row("tpm0", 0, &event).event_text, None);
    }
}
