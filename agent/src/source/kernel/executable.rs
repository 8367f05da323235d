//! Owns the hashing of running executables; refuses to hash a file twice, or one that is too large or does not answer.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_schemas::digest::Sha256Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{KernelFolder, LinkTarget, READING, Watchdog, checked_file};

/// The largest executable that is hashed, in bytes.
const EXECUTABLE_CAP: u64 = 1 << 30;

/// The most that one [`ExecutableDigests`] hashes in all, in bytes.
const EXECUTABLES_CAP: u64 = 16 << 30;

/// The digest of an executable, and how it was read.
#[derive(Debug, Clone, Copy)]
pub struct ExecutableDigest {
    /// SHA-256 of the whole file.
    pub sha256: Sha256Digest,
    /// Bytes hashed.
    pub bytes: u64,
    /// Whether the file could be read without changing its access time (`O_NOATIME`).
    pub access_time_kept: bool,
}

/// Hashes executables through `/proc/<pid>/exe`, each file once however many processes run it.
#[derive(Default)]
pub struct ExecutableDigests {
    known: HashMap<LinkTarget, Result<ExecutableDigest, (io::ErrorKind, String)>>,
    watchdog: Watchdog,
    hashed: u64,
}

impl ExecutableDigests {
    /// Hashes the executable of `process`, or repeats what was found for the same file before.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` past 1 GiB; `QuotaExceeded` past 16 GiB of executables in all; `TimedOut` where the file's
    /// server does not answer; `NotFound` for a kernel thread; whatever the operating system answers.
    pub fn digest_executable(&mut self, process: &Arc<KernelFolder>) -> io::Result<ExecutableDigest> {
        let file = process.link_target("exe")?;
        if let Some(known) = self.known.get(&file) {
            return known.clone().map_err(|(kind, reason)| io::Error::new(kind, reason));
        }
        let digest = self.hash(process, file.size);
        // The process's end says nothing about the file, which another process may run.
        if digest.as_ref().is_err_and(|reason| reason.raw_os_error().is_some_and(is_process_end)) {
            return digest;
        }
        let kept = digest.as_ref().copied().map_err(|reason| (reason.kind(), reason.to_string()));
        self.known.insert(file, kept);
        digest
    }

    fn hash(&mut self, process: &Arc<KernelFolder>, size: u64) -> io::Result<ExecutableDigest> {
        if size > EXECUTABLE_CAP {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{size} bytes, too large to hash"),
            ));
        }
        if self.hashed.saturating_add(size) > EXECUTABLES_CAP {
            let reason = format!("more than {EXECUTABLES_CAP} bytes of executables, not hashed");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        self.hashed += size;
        let process = Arc::clone(process);
        self.watchdog.within(move |progress| hash_executable(&process, progress))
    }
}

fn is_process_end(code: i32) -> bool {
    [Errno::SRCH, Errno::NOENT].iter().any(|end| end.raw_os_error() == code)
}

fn hash_executable(process: &KernelFolder, progress: &AtomicU64) -> io::Result<ExecutableDigest> {
    let flags = READING.difference(OFlags::NOFOLLOW);
    let (file, access_time_kept) =
        match rustix::fs::openat(&process.folder, "exe", flags | OFlags::NOATIME, Mode::empty()) {
            Ok(file) => (file, true),
            // Only the owner and CAP_FOWNER may ask for O_NOATIME.
            Err(Errno::PERM) => (rustix::fs::openat(&process.folder, "exe", flags, Mode::empty())?, false),
            Err(reason) => return Err(reason.into()),
        };
    let mut file = checked_file(file)?.take(EXECUTABLE_CAP);
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 128 << 10];
    let mut bytes = 0;
    loop {
        let read = match file.read(&mut chunk) {
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(ExecutableDigest { sha256: Sha256Digest::from(hasher), bytes, access_time_kept });
        }
        hasher.update(&chunk[..read]);
        bytes += read as u64;
        progress.store(bytes, Ordering::Relaxed);
    }
}
