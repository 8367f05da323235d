//! Owns the table of what the kernel measured while it ran; refuses to check a measurement.

use std::io;

use serde::Serialize;

use crate::source::kernel_lines;
use crate::state::linux::kernel::note_unmounted;
use crate::state::linux::process_folders::{has_ended, keep_small};
use crate::state::linux::text::{number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "ima_measurements",
    about: "Files and other things that the kernel measured before it used them (IMA).",
    sources: &[LOG],
    group: Group::Firmware,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_measurements,
};

const LOG: &str = "/sys/kernel/security/ima/ascii_runtime_measurements";

/// One measurement.
#[derive(Serialize)]
struct MeasurementRow {
    /// Derived: Register of the TPM that it was added to.
    pcr: u32,
    /// Derived: Digest of the entry, hexadecimal.
    template_digest: String,
    /// Derived: Form of the entry, such as ima-ng or ima-sig.
    template: String,
    /// Derived: Digest of the file with its algorithm, as the log has it.
    file_digest: Option<String>,
    /// Derived: Path or other name of what was measured, with spaces as the log has them.
    path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// Derived: What follows: a signature in hexadecimal and other fields of the form; null for none.
    rest: Option<String>,
    /// Derived: Base64 of the exact bytes behind `rest`; null where `rest` is those bytes verbatim.
    rest_raw: Option<String>,
}

fn capture_measurements(capture: &mut TableCapture<'_>) -> io::Result<()> {
    note_unmounted(capture, "/sys/kernel/security");
    let kept = keep_small(capture, LOG);
    let mut unreadable = 0;
    let mut written = Ok(());
    let mut each = |line: &[u8]| {
        match parse_measurement(line) {
            Some(row) => written = capture.row(&row),
            None => unreadable += 1,
        }
        if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    };
    let end = match kept {
        Some(log) => log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .try_for_each(&mut each)
            .map(|()| 0),
        // Too long to be kept.
        None => kernel_lines(LOG, &mut each),
    };
    written?;
    match end {
        Ok(too_long) if unreadable + too_long > 0 => {
            let reason = format!("{} lines unreadable", unreadable + too_long);
            capture.gap(LOG, &io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        // A kernel that does not measure has no log.
        Err(reason) if !has_ended(&reason) => capture.gap(LOG, &reason),
        _ => {}
    }
    Ok(())
}

/// `pcr digest template digest-of-file path rest`, parted by one space each.
fn parse_measurement(line: &[u8]) -> Option<MeasurementRow> {
    let mut columns = line.splitn(6, |byte| *byte == b' ');
    let pcr = number(columns.next().map(<[u8]>::trim_ascii)?)?;
    let (template_digest, template) = (text(columns.next()?).0, text(columns.next()?).0);
    let file_digest = columns.next().map(|digest| text(digest).0);
    let (path, path_raw) = optional(columns.next());
    let (rest, rest_raw) = optional(columns.next());
    Some(MeasurementRow { pcr, template_digest, template, file_digest, path, path_raw, rest, rest_raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurement_is_read_with_its_signature() {
        let row = parse_measurement(b"10 91f3 ima-sig sha256:abcd /usr/bin/x 0302").unwrap();
        assert_eq!(
            (row.pcr, row.template.as_str(), row.file_digest.as_deref()),
            (10, "ima-sig", Some("sha256:abcd"))
        );
        assert_eq!((row.path.as_deref(), row.rest.as_deref()), (Some("/usr/bin/x"), Some("0302")));
        let row = parse_measurement(b"10 91f3 ima-ng sha1:00 boot_aggregate").unwrap();
        assert_eq!((row.path.as_deref(), row.rest), (Some("boot_aggregate"), None));
    }

    #[test]
    fn garbage_measurements_are_refused() {
        for garbage in [&b""[..], b"10", b"10 a", b"x a b c", b"-1 a b", b"\xff a b"] {
            assert!(parse_measurement(garbage).is_none());
        }
        assert!(parse_measurement(b"1 a b c /\xff").unwrap().path_raw.is_some());
    }
}
