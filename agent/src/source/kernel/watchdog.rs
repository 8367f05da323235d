//! Owns reads that may never end; refuses to wait for one that makes no progress.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long a read may go on without any progress.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many times [`PATIENCE`] a read may take even with progress.
const PATIENCES: u32 = 24;

/// How many reads may be given up before no further one is tried.
const GIVEN_UP_CAP: u32 = 32;

type Job = Box<dyn FnOnce(&AtomicU64) + Send>;

/// Does reads that a hostile or broken host can make wait for ever (a file server that does not answer, memory mapped
/// from one) on a thread of their own, and gives up on those that make no progress for five seconds.
pub struct Watchdog {
    worker: Option<(mpsc::Sender<Job>, Arc<AtomicU64>)>,
    given_up: u32,
    patience: Duration,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { worker: None, given_up: 0, patience: PATIENCE }
    }
}

impl Watchdog {
    /// Does `job`, which counts its progress in the number it is given.
    ///
    /// # Errors
    ///
    /// `TimedOut` where the job was given up, or 32 earlier ones were; whatever the job answers.
    pub fn within<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&AtomicU64) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self.given_up >= GIVEN_UP_CAP {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "not tried: too many earlier reads never ended",
            ));
        }
        let (jobs, progress) = self.worker.take().map_or_else(start_worker, Ok)?;
        let (answer, answered) = mpsc::sync_channel(1);
        let work: Job = Box::new(move |progress| {
            // The receiver is gone only where this job was given up.
            let _ = answer.send(job(progress));
        });
        jobs.send(work).map_err(|_| io::Error::other("the reading thread ended"))?;
        let mut seen = 0;
        for _ in 0..PATIENCES {
            match answered.recv_timeout(self.patience) {
                Ok(answer) => {
                    self.worker = Some((jobs, progress));
                    return answer;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the reading thread ended"));
                }
                Err(RecvTimeoutError::Timeout) if progress.load(Ordering::Relaxed) == seen => break,
                Err(RecvTimeoutError::Timeout) => seen = progress.load(Ordering::Relaxed),
            }
        }
        self.given_up += 1;
        Err(io::Error::new(io::ErrorKind::TimedOut, "given up: the read did not end"))
    }
}

fn start_worker() -> io::Result<(mpsc::Sender<Job>, Arc<AtomicU64>)> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let progress = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&progress);
    thread::Builder::new().name("kernel-read".to_owned()).stack_size(256 << 10).spawn(move || {
        while let Ok(job) = queue.recv() {
            counted.store(0, Ordering::Relaxed);
            job(&counted);
        }
    })?;
    Ok((jobs, progress))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_without_progress_is_given_up_and_the_next_one_is_done() {
        let mut watchdog = Watchdog { patience: Duration::from_millis(20), ..Watchdog::default() };
        let (hold, held) = mpsc::channel::<()>();
        let stuck = watchdog.within(move |_| held.recv().map_err(io::Error::other));
        assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(watchdog.within(|_| Ok(7)).unwrap(), 7);
        drop(hold);
    }

    #[test]
    fn job_with_progress_is_waited_for() {
        let mut watchdog = Watchdog { patience: Duration::from_millis(50), ..Watchdog::default() };
        let answer = watchdog.within(|progress| {
            for step in 1..=8 {
                thread::sleep(Duration::from_millis(20));
                progress.store(step, Ordering::Relaxed);
            }
            Ok("done")
        });
        assert_eq!(answer.unwrap(), "done");
    }

    #[test]
    fn nothing_is_tried_after_too_many_jobs_were_given_up() {
        let mut watchdog = Watchdog { given_up: GIVEN_UP_CAP, ..Watchdog::default() };
        assert_eq!(watchdog.within(|_| Ok(())).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn job_that_panics_is_an_error() {
        let mut watchdog = Watchdog::default();
        assert!(watchdog.within::<()>(|_| panic!("a bug")).is_err());
        assert!(watchdog.within(|_| Ok(())).is_ok());
    }
}
