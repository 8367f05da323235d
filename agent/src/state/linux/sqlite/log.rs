//! Owns SQLite's write-ahead logs, as far as what stands in them was committed; refuses frames whose checksum does not
//! hold, and all that follow.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{be32, damaged};

/// The most pages of a log that are looked at.
const LOG_CAP: u64 = 1 << 20;

/// The committed part of a write-ahead log.
pub(super) struct Log {
    /// The file.
    pub(super) file: File,
    /// The size of its pages, in bytes.
    pub(super) page_size: usize,
    /// Where in the log the last committed form of a page begins.
    pub(super) pages: HashMap<u64, u64>,
    /// How many pages the database has after the last commit.
    pub(super) last_page: u64,
}

impl Log {
    /// Reads frames as long as their salts and checksums hold; what follows the last commit does not count.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is longer than is read here; those of the operating system. What is no log is none.
    pub(super) fn read(file: File) -> io::Result<Option<Self>> {
        let mut head = [0; 32];
        if !filled(&file, &mut head, 0)? {
            return Ok(None);
        }
        let little = match be32(&head, 0)? {
            0x377f_0682 => true,
            0x377f_0683 => false,
            _ => return Ok(None),
        };
        let page_size = usize::try_from(be32(&head, 8)?).unwrap_or_default();
        let mut sum = checksum((0, 0), &head[..24], little);
        if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() || !holds(&head[24..], sum) {
            return Ok(None);
        }
        let mut log = Self { file, page_size, pages: HashMap::new(), last_page: 0 };
        let mut uncommitted = Vec::new();
        let mut frame = vec![0; 24 + page_size];
        for number in 0.. {
            let at = 32 + number * frame.len() as u64;
            if !filled(&log.file, &mut frame, at)? {
                break;
            }
            let (header, page) = frame.split_at(24);
            sum = checksum(checksum(sum, header.get(..8).unwrap_or_default(), little), page, little);
            let (salts, sums) = (header.get(8..16), header.get(16..24).unwrap_or_default());
            if salts != Some(&head[16..24]) || !holds(sums, sum) {
                break;
            }
            if number == LOG_CAP {
                return Err(damaged("a write-ahead log longer than is read here"));
            }
            uncommitted.push((be32(header, 0)?, at + 24));
            let committed = be32(header, 4)?;
            if committed != 0 {
                log.pages.extend(uncommitted.drain(..));
                log.last_page = committed;
            }
        }
        Ok(Some(log))
    }
}

/// Fills `space` from what stands at `at`; not where the file ends before.
fn filled(file: &File, space: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(space, at) {
        Ok(()) => Ok(true),
        Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(reason) => Err(reason),
    }
}

fn checksum(sum: (u32, u32), bytes: &[u8], little: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    };
    bytes.chunks_exact(8).fold(sum, |(first, second), pair| {
        let (left, right) = pair.split_at(4);
        let first = first.wrapping_add(word(left)).wrapping_add(second);
        (first, second.wrapping_add(word(right)).wrapping_add(first))
    })
}

fn holds(stored: &[u8], sum: (u32, u32)) -> bool {
    be32(stored, 0).ok() == Some(sum.0.into()) && be32(stored, 4).ok() == Some(sum.1.into())
}
