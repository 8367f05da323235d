//! Owns the search for processes that listing `/proc` does not show; refuses to send a signal, to stay beyond its time
//! and to take a thread for a process.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};

use super::process_folders::{has_ended, noted};
use super::process_stat::status_value;
use super::text::number;
use crate::source::{KernelFolder, kernel_dir, kernel_text};
use crate::state::TableCapture;

/// `PID_MAX_LIMIT` of 64-bit kernels: no process number is larger.
const LARGEST: u32 = 1 << 22;

/// How long the search may take.
const SEARCH_CAP: Duration = Duration::from_secs(5);

/// The process numbers that listing `/proc` showed, one bit each.
#[derive(Default)]
pub(super) struct ListedPids(Vec<u64>);

impl ListedPids {
    /// Lists `/proc`.
    pub(super) fn now() -> io::Result<Self> {
        let mut listed = Self::default();
        for name in kernel_dir("/proc")? {
            if let Some(pid) = number(&name?) {
                listed.add(pid);
            }
        }
        Ok(listed)
    }

    /// Remembers `pid`; a number no kernel gives is not remembered.
    pub(super) fn add(&mut self, pid: u32) {
        if pid > LARGEST {
            return;
        }
        let at = (pid / 64) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (pid % 64);
    }

    fn has(&self, pid: u32) -> bool {
        self.0.get((pid / 64) as usize).is_some_and(|bits| bits >> (pid % 64) & 1 == 1)
    }
}

/// What is done with a process that was not listed; the last argument tells whether it is listed by now.
pub(super) type EachUnlisted<'a> =
    &'a mut dyn FnMut(&mut TableCapture<'_>, u32, &Arc<KernelFolder>, bool) -> io::Result<()>;

/// Asks for every process number that was not listed (kill(2) with signal 0, which sends nothing) and hands those that
/// answer to `each`: processes and threads. Where that takes too long it is ended, with a gap.
pub(super) fn each_answering(
    capture: &mut TableCapture<'_>,
    listed: &ListedPids,
    each: &mut dyn FnMut(&mut TableCapture<'_>, u32) -> io::Result<()>,
) -> io::Result<()> {
    let largest =
        kernel_text("/proc/sys/kernel/pid_max").ok().and_then(|value| number::<u32>(value.trim_ascii()));
    let began = Instant::now();
    for pid in 1..=largest.unwrap_or(LARGEST).min(LARGEST) {
        if pid.is_multiple_of(4096) && began.elapsed() > SEARCH_CAP {
            let reason = io::Error::new(io::ErrorKind::TimedOut, "the search took too long and was ended");
            capture.gap(format!("process numbers from {pid}"), &reason);
            break;
        }
        if !listed.has(pid) && answers(pid) {
            each(capture, pid)?;
        }
    }
    Ok(())
}

/// Hands every process that was not listed to `each`.
pub(super) fn each_unlisted(
    capture: &mut TableCapture<'_>,
    listed: &ListedPids,
    each: EachUnlisted<'_>,
) -> io::Result<()> {
    each_answering(capture, listed, &mut |capture, pid| match look_at(capture, pid, each) {
        Err(reason) if has_ended(&reason) => {
            // It answers, and its folder is missing: either it ended just now or the folder is hidden.
            if is_process(pid) {
                let reason =
                    io::Error::new(io::ErrorKind::NotFound, "exists, and /proc has no folder for it");
                capture.gap(format!("/proc/{pid}"), &reason);
            }
            Ok(())
        }
        done => done,
    })
}

/// Whether a number is that of a process, not of one of its other threads, without asking `/proc`: pidfd_open(2) is for
/// processes. Before Linux 5.3 whatever answers passes for one.
pub(super) fn is_process(pid: u32) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match pidfd_open(id, PidfdFlags::empty()) {
        Ok(_) => true,
        Err(Errno::NOSYS) => answers(pid),
        Err(_) => false,
    }
}

fn look_at(capture: &mut TableCapture<'_>, pid: u32, each: EachUnlisted<'_>) -> io::Result<()> {
    let process = match KernelFolder::of_process(pid) {
        Ok(process) => Arc::new(process),
        Err(reason) if has_ended(&reason) => return Err(reason),
        Err(reason) => {
            capture.gap(format!("/proc/{pid}"), &reason);
            return Ok(());
        }
    };
    let Some(status) = noted(capture, &process, "status", process.prefix("status", 64 << 10)) else {
        return Ok(());
    };
    // Every thread has a folder that is not listed; only the first thread's number is the process's.
    if status_value(&status.bytes, "Tgid").and_then(number) != Some(pid) {
        return Ok(());
    }
    // Most often it has only begun since `/proc` was listed.
    let shown = kernel_dir("/proc")?.flatten().any(|name| number(&name) == Some(pid));
    match each(capture, pid, &process, shown) {
        Err(reason) if has_ended(&reason) => Ok(()),
        done => done,
    }
}

/// Whether the number belongs to a process or a thread.
fn answers(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_process_is_found_by_its_number_and_threads_are_not_taken_for_processes() {
        let own = std::process::id();
        let (ready, started) = std::sync::mpsc::channel();
        let (done, ending) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            ready.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            ending.recv().unwrap_err();
        });
        let thread_id = u32::try_from(started.recv().unwrap()).unwrap();
        let mut out = Vec::new();
        let root = crate::source::Root::live().unwrap();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let mut found = Vec::new();
        each_unlisted(&mut capture, &ListedPids::default(), &mut |_, pid, _, shown| {
            found.push((pid, shown));
            Ok(())
        })
        .unwrap();
        drop(done);
        thread.join().unwrap();
        assert!(found.contains(&(own, true)));
        assert!(found.iter().all(|(pid, _)| *pid != thread_id));
    }

    #[test]
    fn listed_numbers_are_remembered_up_to_the_largest() {
        let mut listed = ListedPids::default();
        for pid in [0, 1, 63, 64, LARGEST, u32::MAX] {
            listed.add(pid);
        }
        assert!([1, 63, 64, LARGEST].iter().all(|pid| listed.has(*pid)));
        assert!([2, 65, u32::MAX].iter().all(|pid| !listed.has(*pid)));
    }
}
