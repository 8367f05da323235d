//! Owns the system calls that no safe crate offers, each in its reading form; refuses to change anything. The one module
//! of this platform with `unsafe`.
#![allow(unsafe_code)]

use std::io;

/// What the kernel says about the discipline of its clock.
#[derive(Debug, Clone, Copy)]
pub struct Discipline {
    /// The call's result: `TIME_OK` 0 to `TIME_ERROR` 5.
    pub state: i32,
    /// `STA_*` flags.
    pub status: i32,
    /// Estimated error, microseconds.
    pub estimated_error: i64,
    /// Maximum error, microseconds.
    pub max_error: i64,
}

/// Reads the discipline of the kernel's clock, adjtimex(2).
///
/// # Errors
///
/// Whatever the operating system answers.
#[allow(clippy::useless_conversion, reason = "the fields are narrower on 32-bit systems")]
pub fn discipline() -> io::Result<Discipline> {
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
