//! Owns the walk over `/proc` and the telling of ended processes from unreadable ones; refuses to call a process that
//! ended a gap.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::text::number;
use crate::source::{KernelFolder, kernel_dir};
use crate::state::TableCapture;

/// What is done with one process.
pub(super) type EachProcess<'a> =
    &'a mut dyn FnMut(&mut TableCapture<'_>, u32, &Arc<KernelFolder>) -> io::Result<()>;

/// Opens every process that `/proc` lists, one at a time, and hands it to `each`; states how many ended meanwhile.
///
/// # Errors
///
/// Only where `/proc` itself cannot be listed, or as `each` answers for reasons other than the process's end.
pub(super) fn each_process(capture: &mut TableCapture<'_>, each: EachProcess<'_>) -> io::Result<()> {
    let mut ended = 0u64;
    for name in kernel_dir("/proc")? {
        let Some(pid) = number::<u32>(&name?) else { continue };
        match KernelFolder::of_process(pid).map(Arc::new) {
            Ok(process) => match each(capture, pid, &process) {
                Err(reason) if has_ended(&reason) => ended += 1,
                done => done?,
            },
            Err(reason) if has_ended(&reason) => ended += 1,
            Err(reason) => capture.gap(format!("/proc/{pid}"), &reason),
        }
    }
    if ended > 0 {
        let reason = io::Error::new(io::ErrorKind::NotFound, format!("{ended} ended while they were read"));
        capture.gap("/proc: processes", &reason);
    }
    Ok(())
}

/// Whether `reason` only says that the process, or the descriptor, is not there any more.
pub(super) fn has_ended(reason: &io::Error) -> bool {
    [Errno::SRCH, Errno::NOENT].iter().any(|gone| reason.raw_os_error() == Some(gone.raw_os_error()))
}

/// Gives what could be read of a process, or records a gap for it; nothing for what is not there.
pub(super) fn noted<T>(
    capture: &mut TableCapture<'_>,
    process: &KernelFolder,
    name: &str,
    read: io::Result<T>,
) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(format!("{}/{name}", process.path()), &reason);
            }
            None
        }
    }
}

/// What is done with one descriptor and what it is open on.
pub(super) type EachDescriptor<'a> = &'a mut dyn FnMut(&mut TableCapture<'_>, u32, &[u8]) -> io::Result<()>;

/// Hands every open descriptor of `process` to `each` with what it is open on; what is denied becomes one gap.
pub(super) fn each_descriptor(
    capture: &mut TableCapture<'_>,
    process: &KernelFolder,
    each: EachDescriptor<'_>,
) -> io::Result<()> {
    let mut denied = 0u64;
    let mut reason = None;
    let Some(names) = noted(capture, process, "fd", process.names("fd")) else { return Ok(()) };
    for name in names {
        let Some(name) = noted(capture, process, "fd", name) else { break };
        let Some(fd) = number::<u32>(&name) else { continue };
        match process.link(&format!("fd/{fd}")) {
            Ok(target) => each(capture, fd, &target)?,
            // Closed since the folder was listed.
            Err(closed) if has_ended(&closed) => {}
            Err(other) => {
                denied += 1;
                reason = Some(other);
            }
        }
    }
    if let Some(reason) = reason {
        capture.gap(format!("{}/fd: {denied} descriptors", process.path()), &reason);
    }
    Ok(())
}

/// The largest text that is kept beside a table.
const SMALL: usize = 4 << 20;

/// Keeps the text at `path` beside the table where it is small; a text that is not there is no gap.
pub(super) fn keep_small(capture: &mut TableCapture<'_>, path: &str) -> Option<Vec<u8>> {
    match crate::source::kernel_prefix(path, SMALL) {
        Ok(prefix) if prefix.cut => {
            let reason = format!("longer than {SMALL} bytes, not kept");
            capture.gap(path, &io::Error::new(io::ErrorKind::FileTooLarge, reason));
            None
        }
        Ok(prefix) => {
            capture.keep_bytes(path, prefix.bytes.clone());
            Some(prefix.bytes)
        }
        Err(reason) => {
            if !has_ended(&reason) {
                capture.gap(path, &reason);
            }
            None
        }
    }
}
