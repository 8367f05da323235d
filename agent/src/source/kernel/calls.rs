//! Owns the system calls that no safe crate offers, each in its reading form; refuses to change anything. The one module
//! of this platform with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// The packet filters of before nftables that the kernel tells about through getsockopt(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyFilter {
    /// iptables.
    Ip,
    /// ip6tables.
    Ip6,
    /// arptables.
    Arp,
}

/// What is asked of one of their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyAnswer {
    /// `IPT_SO_GET_INFO` and its like.
    Information,
    /// `IPT_SO_GET_ENTRIES` and its like.
    Entries,
}

/// Asks for a table of a packet filter; `buffer` holds the question and receives the answer, whose length is returned.
/// The name in it must be that of a table that is there, since the kernel would make another one.
///
/// # Errors
///
/// `InvalidInput` for a buffer past 2 GiB; whatever the operating system answers.
pub fn legacy_table(
    socket: BorrowedFd<'_>,
    filter: LegacyFilter,
    answer: LegacyAnswer,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let (level, base) = match filter {
        LegacyFilter::Ip => (libc::IPPROTO_IP, 64),
        LegacyFilter::Ip6 => (libc::IPPROTO_IPV6, 64),
        LegacyFilter::Arp => (libc::IPPROTO_IP, 96),
    };
    let option = base + i32::from(answer == LegacyAnswer::Entries);
    let room = i32::try_from(buffer.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut length =
        libc::socklen_t::try_from(room).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the pointers are to live, exclusively borrowed memory, of which the kernel writes at most `length` bytes to
    // the first; it keeps neither.
    let asked = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len()))
}
