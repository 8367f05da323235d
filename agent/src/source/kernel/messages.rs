//! Owns the reading of the kernel's message buffer; refuses to wait for messages to come and takes none away.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::READING;

/// Longer records than the kernel makes (`PRINTKRB_RECORD_MAX`), in bytes.
const RECORD: usize = 16 << 10;

/// Records that are read at most, so that messages written as fast as they are read do not hold the reader.
const RECORDS: usize = 1 << 20;

/// The records of the buffer, oldest first, as reading them meets them.
pub struct KernelMessages {
    device: OwnedFd,
    left: usize,
}

/// Opens the buffer at its oldest message.
///
/// # Errors
///
/// `PermissionDenied` where `kernel.dmesg_restrict` asks for `CAP_SYSLOG`; `InvalidInput` where `/dev/kmsg` is something
/// else than the kernel's device; whatever the operating system answers.
pub fn kernel_messages() -> io::Result<KernelMessages> {
    let device = rustix::fs::open("/dev/kmsg", READING, Mode::empty())?;
    let found = rustix::fs::fstat(&device)?;
    let is_kmsg = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)) == (1, 11);
    if !is_kmsg {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the kernel's message device"));
    }
    // One more, to say that there may be more.
    Ok(KernelMessages { device, left: RECORDS + 1 })
}

impl Iterator for KernelMessages {
    type Item = io::Result<Vec<u8>>;

    /// The next record; `BrokenPipe` where messages were overwritten before they were read, and reading goes on behind
    /// them; `QuotaExceeded`, and nothing after it, where the most records were read.
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 {
            let reason = format!("not read past {RECORDS} records");
            return Some(Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason)));
        }
        let mut record = vec![0; RECORD];
        loop {
            match rustix::io::read(&self.device, record.as_mut_slice()) {
                Ok(0) | Err(Errno::AGAIN) => return None,
                Ok(length) => {
                    record.truncate(length);
                    return Some(Ok(record));
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => return Some(Err(io::ErrorKind::BrokenPipe.into())),
                Err(reason) => {
                    self.left = 0;
                    return Some(Err(reason.into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_that_ends_at_the_bound_says_so_once() {
        let device = rustix::fs::open("/dev/null", READING, Mode::empty()).unwrap();
        let mut messages = KernelMessages { device, left: 1 };
        assert!(messages.next().unwrap().is_err_and(|reason| reason.kind() == io::ErrorKind::QuotaExceeded));
        assert!(messages.next().is_none());
    }
}
