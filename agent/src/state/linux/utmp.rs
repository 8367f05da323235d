//! Owns the reading of login accounting records, utmp(5); refuses to guess at a record that is cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::{read_u16, read_u32, read_u64, until_nul};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login<'a> {
    /// `ut_type`.
    pub(super) code: u16,
    pub(super) kind: &'static str,
    pub(super) pid: i32,
    pub(super) line: &'a [u8],
    pub(super) id: &'a [u8],
    pub(super) user: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) session: i64,
    pub(super) seconds: i64,
    pub(super) microseconds: i64,
    pub(super) address: Option<IpAddr>,
}

/// Where the fields lie that differ between systems: glibc keeps 32-bit times where it also runs 32-bit programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of one record.
    pub(super) size: usize,
    wide: bool,
}

const NARROW: Layout = Layout { size: 384, wide: false };
const WIDE: Layout = Layout { size: 400, wide: true };

/// The layout of the machine that this program runs on: 384 bytes on x86-64 and others, 400 on AArch64.
const NATIVE: Layout = if cfg!(target_arch = "aarch64") { WIDE } else { NARROW };

/// The records of a file of the running host, and how many bytes at its end are no whole record.
pub(super) fn logins(file: &[u8]) -> (impl Iterator<Item = Login<'_>>, usize) {
    let records = file.chunks_exact(NATIVE.size);
    let left = records.remainder().len();
    (records.filter_map(|record| parse_login(record, NATIVE)), left)
}

/// The layout of a file of so many bytes: on the running host its machine's, else the one that fits, of two the
/// machine's.
pub(super) fn layout_of(length: u64, live: bool) -> Layout {
    let whole = |layout: Layout| length.is_multiple_of(layout.size as u64);
    match (live, whole(NARROW), whole(WIDE)) {
        (false, true, false) => NARROW,
        (false, false, true) => WIDE,
        _ => NATIVE,
    }
}

/// One whole record.
pub(super) fn parse_login(record: &[u8], layout: Layout) -> Option<Login<'_>> {
    let signed = |at| Some(i64::from(read_u32(record, at)?.cast_signed()));
    let wide = |at| Some(read_u64(record, at)?.cast_signed());
    let (session, seconds, microseconds, address) = if layout.wide {
        (wide(336)?, wide(344)?, wide(352)?, 360)
    } else {
        // Seconds count as unsigned, so that they last until 2106.
        (signed(336)?, i64::from(read_u32(record, 340)?), signed(344)?, 348)
    };
    let code = read_u16(record, 0)?;
    Some(Login {
        code,
        kind: kind_of(code),
        pid: read_u32(record, 4)?.cast_signed(),
        line: until_nul(record.get(8..40)?),
        id: until_nul(record.get(40..44)?),
        user: until_nul(record.get(44..76)?),
        host: until_nul(record.get(76..332)?),
        session,
        seconds,
        microseconds,
        address: address_of(*record.get(address..)?.first_chunk()?),
    })
}

fn kind_of(kind: u16) -> &'static str {
    match kind {
        0 => "empty",
        1 => "runlevel",
        2 => "boot_time",
        3 => "new_time",
        4 => "old_time",
        5 => "init",
        6 => "login",
        7 => "user",
        8 => "dead",
        9 => "accounting",
        _ => "unknown",
    }
}

/// An IPv4 address stands in the first four of sixteen bytes.
fn address_of(bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, rest @ ..] = bytes;
    match (bytes == [0; 16], rest == [0; 12]) {
        (true, _) => None,
        (_, true) => Some(Ipv4Addr::new(a, b, c, d).into()),
        _ => Some(Ipv6Addr::from(bytes).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut record = vec![0; 384];
        record[0] = 7;
        record[4..8].copy_from_slice(&812i32.to_ne_bytes());
        record[8..13].copy_from_slice(b"pts/3");
        record[44..49].copy_from_slice(b"ali\xffe");
        record[76..332].fill(b'h');
        record[340..344].copy_from_slice(&3_000_000_000u32.to_ne_bytes());
        record[348..352].copy_from_slice(&[192, 0, 2, 7]);
        record
    }

    #[test]
    fn user_record_is_read_field_by_field() {
        let file = record();
        let (mut records, left) = logins(&file);
        let login = records.next().unwrap();
        assert_eq!((login.kind, login.pid, login.line), ("user", 812, &b"pts/3"[..]));
        assert_eq!(login.user, b"ali\xffe");
        assert_eq!(login.host.len(), 256, "a host that fills its field has no NUL");
        assert_eq!(login.seconds, 3_000_000_000, "past 2038");
        assert_eq!(login.address.unwrap().to_string(), "192.0.2.7");
        assert_eq!(left, 0);
    }

    #[test]
    fn wide_record_is_read_with_64_bit_times() {
        let mut record = vec![0; 400];
        record[0] = 7;
        record[344..352].copy_from_slice(&5_000_000_000i64.to_ne_bytes());
        let login = parse_login(&record, layout_of(400, false)).unwrap();
        assert_eq!(login.seconds, 5_000_000_000);
    }

    #[test]
    fn length_tells_the_layout_of_another_machine_only() {
        assert_eq!((layout_of(384 * 3, false), layout_of(400 * 3, false)), (NARROW, WIDE));
        for length in [0, 384, 400, 9_600, 7] {
            assert_eq!(layout_of(length, true), NATIVE);
        }
    }

    #[test]
    fn truncated_file_gives_whole_records_and_the_rest_as_a_count() {
        let file = [record(), record()].concat();
        for length in 0..file.len() {
            let (records, left) = logins(&file[..length]);
            let whole = records.count();
            assert_eq!(whole * NATIVE.size + left, length);
        }
    }

    #[test]
    fn garbage_records_do_not_panic() {
        assert!(logins(&[0xff; 1920]).0.all(|login| login.kind == "unknown"));
    }
}
