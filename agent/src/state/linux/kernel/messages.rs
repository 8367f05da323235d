//! Owns the table of the kernel's messages; refuses to take one from the buffer.

use std::io;

use serde::Serialize;

use crate::source::kernel_messages;
use crate::state::linux::text::{number, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "kernel_messages",
    about: "Messages that the kernel's buffer still holds (dmesg).",
    sources: &["/dev/kmsg"],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_messages,
};

/// One message.
#[derive(Serialize)]
struct MessageRow {
    /// Derived: Number of the message since boot, from 0; a number that is left out was overwritten.
    sequence: u64,
    /// Derived: Priority, 0 emergency to 7 debug.
    priority: u64,
    /// Derived: Facility of syslog(3); 0 for the kernel. Any user who may write to the buffer chooses another.
    facility: u64,
    /// Derived: When it was written, microseconds since boot; sleep may not count.
    monotonic_us: u64,
    /// Derived: Text, with the kernel's escapes undone.
    message: String,
    /// Derived: Base64 of the exact bytes behind `message`; null where `message` is those bytes verbatim.
    message_raw: Option<String>,
    /// Derived: Lines of `KEY=value` about the device, joined by line feeds; null for none.
    device: Option<String>,
    /// Derived: Base64 of the exact bytes behind `device`; null where `device` is those bytes verbatim.
    device_raw: Option<String>,
}

/// The most that is kept as it was read, in bytes.
const KEPT: usize = 8 << 20;

fn capture_messages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let messages = match kernel_messages() {
        Ok(messages) => messages,
        Err(reason) => {
            capture.gap("/dev/kmsg", &reason);
            return Ok(());
        }
    };
    let mut kept = Vec::new();
    let (mut unreadable, mut overwritten, mut unkept) = (0u64, 0u64, 0u64);
    for record in messages {
        match record {
            Ok(record) => {
                if kept.len() + record.len() <= KEPT {
                    kept.extend_from_slice(&record);
                } else {
                    unkept += 1;
                }
                match parse_message(&record) {
                    Some(row) => capture.row(&row)?,
                    None => unreadable += 1,
                }
            }
            Err(reason) if reason.kind() == io::ErrorKind::BrokenPipe => overwritten += 1,
            Err(reason) => capture.gap("/dev/kmsg", &reason),
        }
    }
    capture.keep_bytes("/dev/kmsg", kept);
    if unreadable + overwritten + unkept > 0 {
        let reason = format!(
            "{unreadable} records unreadable, {overwritten} times overwritten while read, {unkept} not kept raw"
        );
        capture.gap("/dev/kmsg: records", &io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(())
}

/// `prefix,sequence,microseconds,flags[,...];text`, then lines of `KEY=value` that begin with a space
/// (Documentation/ABI/testing/dev-kmsg).
fn parse_message(record: &[u8]) -> Option<MessageRow> {
    let (head, body) = record.split_at(record.iter().position(|byte| *byte == b';')?);
    let mut numbers = head.split(|byte| *byte == b',');
    let prefix: u64 = number(numbers.next()?)?;
    let (sequence, monotonic_us) = (number(numbers.next()?)?, number(numbers.next()?)?);
    let mut lines = body.get(1..)?.split(|byte| *byte == b'\n');
    let (message, message_raw) = text(&unescaped(lines.next()?));
    let device: Vec<&[u8]> = lines.filter_map(|line| line.strip_prefix(b" ")).collect();
    let device = (!device.is_empty()).then(|| unescaped(&device.join(&b'\n')));
    let (device, device_raw) = optional(device.as_deref());
    Some(MessageRow {
        sequence,
        priority: prefix & 7,
        facility: prefix >> 3,
        monotonic_us,
        message,
        message_raw,
        device,
        device_raw,
    })
}

/// Undoes the kernel's escapes: `\x` and two hexadecimal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let digits = rest.strip_prefix(br"\x").and_then(|digits| digits.get(..2));
        let escape = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { rest.get(4..).unwrap_or_default() } else { behind };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_read_with_its_device_and_its_escapes_undone() {
        let row = parse_message(b"30,5,1234567,-,caller=T1;a\\x0ab\\x5c;c\n SUBSYSTEM=pci\n DEVICE=+pci:1\n")
            .unwrap();
        assert_eq!((row.sequence, row.priority, row.facility, row.monotonic_us), (5, 6, 3, 1_234_567));
        assert_eq!(row.message, "a\nb\\;c");
        assert_eq!(row.device.as_deref(), Some("SUBSYSTEM=pci\nDEVICE=+pci:1"));
    }

    #[test]
    fn garbage_records_are_refused_or_read_but_never_panic() {
        for garbage in [&b""[..], b";", b"1;x", b"1,2;x", b"a,b,c;x", b"-1,2,3;", b"\xff\xff"] {
            assert!(parse_message(garbage).is_none());
        }
        assert_eq!(parse_message(b"6,0,0,-;").unwrap().message, "");
        assert_eq!(unescaped(br"\x\xg1\x4"), br"\x\xg1\x4");
    }
}
