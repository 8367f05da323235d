//! Owns the one system call that no safe crate offers, adjtimex(2), in its reading form; refuses to change the clock.
#![allow(unsafe_code)]

use std::io;

/// What the kernel says about the discipline of its clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Discipline {
    /// The call's result: `TIME_OK` 0 to `TIME_ERROR` 5.
    pub(super) state: i32,
    /// `STA_*` flags.
    pub(super) status: i32,
    /// Estimated error, microseconds.
    pub(super) estimated_error: i64,
    /// Maximum error, microseconds.
    pub(super) max_error: i64,
}

/// Reads the discipline of the kernel's clock.
#[allow(clippy::useless_conversion, reason = "the fields are narrower on 32-bit systems")]
pub(super) fn discipline() -> io::Result<Discipline> {
    // SAFETY: `timex` is a plain C structure of integers, for which all bits zero is a valid value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // Already zero; written out because it is what makes the call a reading one.
    timex.modes = 0;
    // SAFETY: the pointer is to a live, exclusively borrowed `timex`, which the call fills and does not keep.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Discipline {
        state,
        status: timex.status,
        estimated_error: timex.esterror.into(),
        max_error: timex.maxerror.into(),
    })
}
