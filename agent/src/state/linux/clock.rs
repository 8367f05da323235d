//! Owns what the kernel says about its clocks; refuses to read the wall clock, which is read in one other place.

use std::io;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::text::{fields, number, text};
use crate::source::{discipline, kernel_link, kernel_prefix, kernel_text};

/// `STA_UNSYNC` of `linux/timex.h`.
const STA_UNSYNC: i32 = 0x40;

/// The kernel's clocks and how well it believes them to be set. Null where the kernel did not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelClock {
    /// `CLOCK_MONOTONIC`, nanoseconds; stands still while the host sleeps.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds since boot, sleep included.
    pub boottime_ns: u64,
    /// When the host booted, Unix seconds by its own clock (`btime` of `/proc/stat`).
    pub boot_time_unix: Option<u64>,
    /// Random identifier of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Option<String>,
    /// The host's time zone: the target of `/etc/localtime`, or the rule at the end of that file where it is no link.
    pub time_zone: Option<String>,
    /// Whether the kernel holds its clock to be synchronised (`STA_UNSYNC` not set).
    pub synchronised: Option<bool>,
    /// Estimated error of the clock, microseconds (`esterror`).
    pub estimated_error_us: Option<i64>,
    /// Maximum error of the clock, microseconds (`maxerror`).
    pub max_error_us: Option<i64>,
    /// `STA_*` flags of `linux/timex.h`.
    pub status_flags: Option<i32>,
    /// Result of adjtimex(2): 0 `TIME_OK`, 1 to 4 around a leap second, 5 `TIME_ERROR`.
    pub clock_state: Option<i32>,
}

/// Reads the kernel's clocks. What cannot be read is left out.
pub fn kernel_clock() -> KernelClock {
    let discipline = discipline().ok();
    KernelClock {
        monotonic_ns: nanoseconds(ClockId::Monotonic),
        boottime_ns: nanoseconds(ClockId::Boottime),
        boot_time_unix: boot_time().ok(),
        boot_id: boot_id().ok(),
        time_zone: time_zone(),
        synchronised: discipline.map(|discipline| discipline.status & STA_UNSYNC == 0),
        estimated_error_us: discipline.map(|discipline| discipline.estimated_error),
        max_error_us: discipline.map(|discipline| discipline.max_error),
        status_flags: discipline.map(|discipline| discipline.status),
        clock_state: discipline.map(|discipline| discipline.state),
    }
}

/// When the host booted, Unix seconds.
pub(super) fn boot_time() -> io::Result<u64> {
    parse_boot_time(&kernel_text("/proc/stat")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no boot time"))
}

fn parse_boot_time(stat: &[u8]) -> Option<u64> {
    stat.split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"btime "))
        .and_then(|value| fields(value).next())
        .and_then(number)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Random identifier of this boot.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(text(kernel_text("/proc/sys/kernel/random/boot_id")?.trim_ascii()).0)
}

fn time_zone() -> Option<String> {
    if let Ok(target) = kernel_link("/etc/localtime") {
        return Some(text(&target).0);
    }
    let prefix = kernel_prefix("/etc/localtime", 64 << 10).ok()?;
    if prefix.cut { None } else { zone_rule(&prefix.bytes) }
}

/// The rule between the last two line feeds of a version 2 TZif file (RFC 9636 3.3).
fn zone_rule(file: &[u8]) -> Option<String> {
    if !file.starts_with(b"TZif") {
        return None;
    }
    let body = file.strip_suffix(b"\n")?;
    let rule = body.rsplit(|byte| *byte == b'\n').next()?;
    (!rule.is_empty() && rule.is_ascii()).then(|| text(rule).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_clock_runs_and_knows_its_boot() {
        let first = kernel_clock();
        let second = kernel_clock();
        assert!(second.monotonic_ns > first.monotonic_ns);
        assert!(first.boottime_ns >= first.monotonic_ns);
        assert!(first.boot_time_unix.is_some());
        assert_eq!(first.boot_id.map(|id| id.len()), Some(36));
        assert!(first.synchronised.is_some());
    }

    #[test]
    fn garbage_gives_no_boot_time_and_no_zone() {
        for garbage in
            [&b""[..], b"btime", b"btime x\n", b"btime -1", b"btime 99999999999999999999999\n", b"\xff\n\n"]
        {
            assert_eq!(parse_boot_time(garbage), None);
            assert_eq!(zone_rule(garbage), None);
        }
        assert_eq!(parse_boot_time(b"cpu 1\nbtime 17\n"), Some(17));
    }

    #[test]
    fn zone_rule_is_the_last_line_of_the_file() {
        assert_eq!(
            zone_rule(b"TZif2\0\0\nEST5EDT,M3.2.0,M11.1.0\n"),
            Some("EST5EDT,M3.2.0,M11.1.0".to_owned())
        );
        assert_eq!(zone_rule(b"TZif2\n\n"), None);
    }
}
