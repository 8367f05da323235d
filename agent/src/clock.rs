//! Owns the one place where the agent reads the host's clocks; refuses to correct them.

use holdfast_schemas::collection::ClockReading;
use holdfast_schemas::time::UtcTime;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Reads the wall clock, UTC; the host's own claim.
pub fn now() -> UtcTime {
    let time = clock_gettime(ClockId::Realtime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    // A wall clock outside the years 0 to 9999 cannot be written down; the epoch stands for "nonsense".
    UtcTime::from_unix(time.tv_sec, nanoseconds)
        .or_else(|| UtcTime::from_unix(0, 0))
        .expect("the epoch is a time")
}

/// Reads the monotonic clock, nanoseconds; it never steps back.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Reads processor time used by this process, milliseconds.
pub fn cpu_ms() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime)) / 1_000_000
}

/// Reads every clock and what the kernel believes of them.
pub fn reading() -> ClockReading {
    let kernel = crate::state::clock::kernel_clock();
    ClockReading {
        utc: now(),
        monotonic_ns: monotonic_ns(),
        boottime_ns: Some(kernel.boottime_ns),
        time_zone: kernel.time_zone,
        synchronised: kernel.synchronised,
        estimated_error_us: whole(kernel.estimated_error_us),
        maximum_error_us: whole(kernel.max_error_us),
    }
}

/// A number that the kernel keeps signed and that is never negative.
fn whole(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}
