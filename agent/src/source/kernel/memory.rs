//! Owns the reading of memory, a process's or the machine's, as a LiME stream: ranges one after another, each behind a
//! header that says where it lies; refuses to write, and to pass bytes that could not be read off as zeros.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// A range of memory: where it lies, and where it is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRange {
    /// First address: physical, or of the process.
    pub start: u64,
    /// Length in bytes; never 0.
    pub length: u64,
    /// Where the first byte stands in the file that is read.
    pub offset: u64,
}

/// Memory as LiME writes it: for each range a header of 32 bytes, little-endian (magic `0x4C694D45`, version 1, first
/// address, last address inclusive, eight reserved bytes), then its bytes. A page that cannot be read ends its range;
/// what can be read after it is a range of its own. After 256 such pages in a row the rest of a range is given up: a
/// process can map terabytes that nothing lies behind.
pub struct LimeStream {
    file: File,
    ranges: VecDeque<MemoryRange>,
    ready: Vec<u8>,
    handed: usize,
    failures: u32,
}

const MAGIC: u32 = 0x4C69_4D45;
/// Bytes of memory behind one header at most: a header is written when its bytes were read.
const PIECE: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Pages in a row that could not be read, after which the rest of a range is given up.
const PATIENCE: u32 = 256;

impl LimeStream {
    /// A stream of `ranges` of `file`.
    pub fn new(file: File, ranges: impl IntoIterator<Item = MemoryRange>) -> Self {
        Self { file, ranges: ranges.into_iter().collect(), ready: Vec::new(), handed: 0, failures: 0 }
    }

    /// Reads the next piece that can be read; false at the end.
    fn advance(&mut self) -> bool {
        self.ready.clear();
        self.handed = 0;
        while let Some(range) = self.ranges.pop_front() {
            let length = range.length.min(PIECE);
            let read = self.read_piece(range, length);
            // What could not be read is left out, from its page on to the next.
            self.failures = if read == 0 { self.failures + 1 } else { 0 };
            if self.failures == PATIENCE {
                self.failures = 0;
                continue;
            }
            let done = if read == 0 { PAGE - range.start % PAGE } else { read };
            if let Some(left) = range.length.checked_sub(done).filter(|left| *left > 0) {
                let offset = range.offset.saturating_add(done);
                self.ranges.push_front(MemoryRange {
                    start: range.start.saturating_add(done),
                    length: left,
                    offset,
                });
            }
            if read > 0 {
                return true;
            }
        }
        false
    }

    /// Reads up to `length` bytes of the beginning of a range behind their header; returns how many could be read.
    fn read_piece(&mut self, range: MemoryRange, length: u64) -> u64 {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, range.offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // A read that ends within a page is one that failed in it: the page's end is tried again by itself.
        bytes.truncate(read);
        if read > 0 {
            let last = range.start.saturating_add(read as u64 - 1);
            self.ready.extend(MAGIC.to_le_bytes());
            self.ready.extend(1u32.to_le_bytes());
            self.ready.extend(range.start.to_le_bytes());
            self.ready.extend(last.to_le_bytes());
            self.ready.extend([0; 8]);
            self.ready.extend(bytes);
        }
        read as u64
    }
}

impl Read for LimeStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.ready.len() && !self.advance() {
            return Ok(0);
        }
        let ready = self.ready.get(self.handed..).unwrap_or_default();
        let count = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.handed += count;
        Ok(count)
    }
}

/// Ranges of physical memory that `/proc/kcore` gives, by its ELF program headers and the machine's own list of its
/// memory, `/proc/iomem`.
///
/// # Errors
///
/// `PermissionDenied` where the kernel hides the addresses; `InvalidData` where `kcore` is no ELF core of 64 bits.
pub fn physical_ranges(kcore: &File, iomem: &[u8]) -> io::Result<Vec<MemoryRange>> {
    let ram = system_ram(iomem);
    if ram.is_empty() {
        let reason =
            "/proc/iomem shows no addresses of memory (CAP_SYS_ADMIN is missing, or the kernel hides them)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    let mut head = vec![0; 1 << 20];
    let read = kcore.read_at(&mut head, 0)?;
    head.truncate(read);
    let segments = segments(&head)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no ELF core of 64 bits"))?;
    let mut ranges = Vec::new();
    for (physical, offset, size) in segments {
        for (from, to) in &ram {
            let (start, end) = (physical.max(*from), physical.saturating_add(size).min(*to));
            if start < end {
                ranges.push(MemoryRange {
                    start,
                    length: end - start,
                    offset: offset.saturating_add(start - physical),
                });
            }
        }
    }
    ranges.sort_by_key(|range| range.start);
    Ok(apart(ranges))
}

/// Ranges in order, each without what an earlier one holds: several segments can show the same memory.
fn apart(ranges: Vec<MemoryRange>) -> Vec<MemoryRange> {
    let mut end = 0;
    let mut kept = Vec::new();
    for range in ranges {
        let inside = end.max(range.start) - range.start;
        if let Some(length) = range.length.checked_sub(inside).filter(|length| *length > 0) {
            let (start, offset) = (range.start + inside, range.offset.saturating_add(inside));
            kept.push(MemoryRange { start, length, offset });
            end = start.saturating_add(length);
        }
    }
    kept
}

/// `System RAM` of the machine: first address and the one behind the last.
fn system_ram(iomem: &[u8]) -> Vec<(u64, u64)> {
    let text = String::from_utf8_lossy(iomem);
    let lines = text.lines().filter(|line| !line.starts_with(' ') && line.ends_with(" : System RAM"));
    let ranges = lines.filter_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        (to > from).then(|| (from, to.saturating_add(1)))
    });
    ranges.collect()
}

/// Loaded segments of an ELF core of 64 bits, little-endian: physical address, place in the file, size in bytes. Those
/// without a physical address are of the kernel's own mappings.
fn segments(head: &[u8]) -> Option<Vec<(u64, u64, u64)>> {
    const LOAD: u32 = 1;
    let word = |at: usize| Some(u64::from_le_bytes(head.get(at..at.checked_add(8)?)?.try_into().ok()?));
    let half = |at: usize| Some(u32::from_le_bytes(head.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_le_bytes(head.get(at..at.checked_add(2)?)?.try_into().ok()?));
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) =
        (usize::try_from(word(32)?).ok()?, usize::from(short(54)?), usize::from(short(56)?));
    let mut segments = Vec::new();
    for number in 0..count {
        let at = table.checked_add(number.checked_mul(size)?)?;
        let (kind, offset, physical, bytes) = (half(at)?, word(at + 8)?, word(at + 24)?, word(at + 40)?);
        if kind == LOAD && physical != u64::MAX && bytes > 0 {
            segments.push((physical, offset, bytes));
        }
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(stream: &[u8]) -> Vec<(u64, u64)> {
        let mut at = 0;
        let mut found = Vec::new();
        while at < stream.len() {
            assert_eq!(stream[at..at + 8], [0x45, 0x4d, 0x69, 0x4c, 1, 0, 0, 0]);
            let word = |from: usize| u64::from_le_bytes(stream[from..from + 8].try_into().unwrap());
            let (start, last) = (word(at + 8), word(at + 16));
            found.push((start, last));
            at += 32 + usize::try_from(last - start + 1).unwrap();
        }
        found
    }

    #[test]
    fn ranges_stand_behind_their_headers_and_what_cannot_be_read_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory");
        std::fs::write(&path, vec![7; 3 << 20]).unwrap();
        let ranges = [
            MemoryRange { start: 0x1000, length: 5, offset: 2 },
            MemoryRange { start: 0x20_0000, length: (1 << 20) + 10, offset: 0 },
            // Behind the file's end.
            MemoryRange { start: 0x4000_0000, length: 10_000, offset: 1 << 30 },
        ];
        let mut stream = Vec::new();
        LimeStream::new(File::open(&path).unwrap(), ranges).read_to_end(&mut stream).unwrap();
        let expected = [(0x1000, 0x1004), (0x20_0000, 0x2f_ffff), (0x30_0000, 0x30_0009)];
        assert_eq!(headers(&stream), expected);
    }

    #[test]
    fn terabytes_that_nothing_lies_behind_are_given_up_and_what_follows_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory");
        std::fs::write(&path, vec![7; 100]).unwrap();
        let nothing = MemoryRange { start: 0x1000, length: 1 << 46, offset: 1 << 40 };
        let behind = MemoryRange { start: 1 << 50, length: 100, offset: 0 };
        let mut stream = Vec::new();
        LimeStream::new(File::open(&path).unwrap(), [nothing, behind]).read_to_end(&mut stream).unwrap();
        assert_eq!(headers(&stream), [(1 << 50, (1 << 50) + 99)]);
    }

    #[test]
    fn segments_and_memory_are_matched_and_garbage_gives_none() {
        let mut head = vec![0; 64 + 2 * 56];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[32..40].copy_from_slice(&64u64.to_le_bytes());
        head[54..56].copy_from_slice(&56u16.to_le_bytes());
        head[56..58].copy_from_slice(&2u16.to_le_bytes());
        head[64..68].copy_from_slice(&1u32.to_le_bytes());
        head[72..80].copy_from_slice(&0x9000u64.to_le_bytes());
        head[88..96].copy_from_slice(&0x1000u64.to_le_bytes());
        head[104..112].copy_from_slice(&0x8000u64.to_le_bytes());
        assert_eq!(segments(&head).unwrap(), [(0x1000, 0x9000, 0x8000)]);
        for end in 0..head.len() {
            let _ = segments(&head[..end]);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kcore");
        std::fs::write(&path, &head).unwrap();
        let kcore = File::open(&path).unwrap();
        let iomem = b"00000000-00000fff : Reserved\n00002000-00003fff : System RAM\n  00002000-00002fff : Kernel code\n";
        let range = MemoryRange { start: 0x2000, length: 0x2000, offset: 0xa000 };
        assert_eq!(physical_ranges(&kcore, iomem).unwrap(), [range]);
        let range = |start, length, offset| MemoryRange { start, length, offset };
        let overlapping = vec![range(0, 10, 100), range(5, 10, 200), range(6, 2, 300)];
        assert_eq!(apart(overlapping), [range(0, 10, 100), range(10, 5, 205)]);
        let hidden = physical_ranges(&kcore, b"00000000-00000000 : System RAM\n").unwrap_err();
        assert_eq!(hidden.kind(), io::ErrorKind::PermissionDenied);
    }
}
