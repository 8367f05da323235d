//! Owns the reading of memory, a process's or the machine's, as a LiME stream: ranges one after another, each behind a
//! header that says where it lies; refuses to write, and to pass bytes that could not be read off as zeros.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::KernelFolder;

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
/// address, last address inclusive, eight reserved bytes), then its bytes. Of a process only pages that are in memory or
/// swapped out are read: reading any other would give zeros or the mapped file's bytes, and change the process. A page
/// that cannot be read is left out; the stream then ends with an error that says how much is missing.
pub struct LimeStream {
    file: File,
    pages: Option<File>,
    ranges: VecDeque<MemoryRange>,
    ready: Vec<u8>,
    handed: usize,
    failures: u32,
    absent: u64,
    unread: u64,
}

const MAGIC: u32 = 0x4C69_4D45;
/// Bytes of memory behind one header at most: a header is written when its bytes were read.
const PIECE: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Pages in a row that could not be read, after which the rest of a range is given up.
const PATIENCE: u32 = 256;
/// Pages whose presence is asked for at once.
const ASKED: u64 = 1 << 14;
/// Absent pages, of a whole process, after which the rest is given up: 4 TiB, which takes seconds to ask for.
const ABSENT: u64 = 1 << 30;

impl LimeStream {
    /// A stream of `ranges` of `file`, in their order.
    pub fn new(file: File, ranges: impl IntoIterator<Item = MemoryRange>) -> Self {
        Self {
            file,
            pages: None,
            ranges: ranges.into_iter().collect(),
            ready: Vec::new(),
            handed: 0,
            failures: 0,
            absent: 0,
            unread: 0,
        }
    }

    /// A stream of those pages of `ranges` that a process has in memory or swapped out.
    ///
    /// # Errors
    ///
    /// Whatever the operating system answers.
    pub fn of_process(process: &KernelFolder, ranges: Vec<MemoryRange>) -> io::Result<Self> {
        let (file, pages) = (process.open_file("mem")?, process.open_file("pagemap").ok());
        Ok(Self { pages, ..Self::new(file, ranges) })
    }

    /// Reads the next piece that can be read; false at the end.
    fn advance(&mut self) -> bool {
        self.ready.clear();
        self.handed = 0;
        while let Some(range) = self.ranges.pop_front() {
            let (skipped, length) = self.present(range);
            if self.absent > ABSENT {
                let rest =
                    self.ranges.drain(..).fold(range.length, |sum, range| sum.saturating_add(range.length));
                self.unread = self.unread.saturating_add(rest);
                return false;
            }
            let Some(range) = range.behind(skipped) else { continue };
            let length = length.min(PIECE).min(range.length);
            if length == 0 {
                self.ranges.push_front(range);
                continue;
            }
            let read = self.read_piece(range, length);
            self.failures = if read == 0 { self.failures + 1 } else { 0 };
            if self.failures == PATIENCE {
                self.failures = 0;
                self.unread = self.unread.saturating_add(range.length);
                continue;
            }
            // What could not be read is left out, from its page on to the next.
            let done = if read == 0 { (PAGE - range.start % PAGE).min(range.length) } else { read };
            self.unread += if read == 0 { done } else { 0 };
            if let Some(rest) = range.behind(done) {
                self.ranges.push_front(rest);
            }
            if read > 0 {
                return true;
            }
        }
        false
    }

    /// How many bytes at the beginning of a range are absent, and how many behind them are not.
    fn present(&mut self, range: MemoryRange) -> (u64, u64) {
        let Some(pages) = &self.pages else { return (0, range.length) };
        let count = range.length.div_ceil(PAGE).min(ASKED);
        let mut entries = vec![0; usize::try_from(count * 8).unwrap_or_default()];
        let Ok(read) = pages.read_at(&mut entries, range.start / PAGE * 8) else { return (0, range.length) };
        entries.truncate(read);
        // Bit 63: in memory; bit 62: swapped out (admin-guide/mm/pagemap).
        let mut held = entries.chunks_exact(8).map(|entry| entry.last().is_some_and(|top| top & 0xc0 != 0));
        let absent = held.by_ref().take_while(|held| !held).count() as u64;
        // The page that ended the run of absent ones was taken from the iterator.
        let whole = absent * PAGE >= range.length || absent == (read / 8) as u64;
        let present = if whole { 0 } else { 1 + held.take_while(|held| *held).count() as u64 };
        self.absent += absent;
        if read == 0 { (0, range.length) } else { (absent * PAGE, present * PAGE) }
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

impl MemoryRange {
    /// What lies behind its first `done` bytes; nothing where that is all of it.
    fn behind(self, done: u64) -> Option<Self> {
        let length = self.length.checked_sub(done).filter(|left| *left > 0)?;
        Some(Self {
            start: self.start.saturating_add(done),
            length,
            offset: self.offset.saturating_add(done),
        })
    }
}

impl Read for LimeStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.ready.len() && !self.advance() {
            return match std::mem::take(&mut self.unread) {
                0 => Ok(0),
                unread => Err(io::Error::other(format!("{unread} bytes of memory could not be read"))),
            };
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
    // Kernels before about 4.11 write 0 for every segment: there is no telling which of them is which memory.
    if segments.iter().filter(|(physical, ..)| *physical == 0).count() > 1 {
        let reason = "this kernel's /proc/kcore does not state physical addresses";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
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

    fn read_all(mut stream: LimeStream) -> (Vec<u8>, Option<String>) {
        let mut bytes = Vec::new();
        let error = stream.read_to_end(&mut bytes).err();
        (bytes, error.map(|error| error.to_string()))
    }

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
        let (stream, error) = read_all(LimeStream::new(File::open(&path).unwrap(), ranges));
        assert!(error.unwrap().contains("10000 bytes"));
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
        let (stream, error) = read_all(LimeStream::new(File::open(&path).unwrap(), [nothing, behind]));
        assert_eq!(headers(&stream), [(1 << 50, (1 << 50) + 99)]);
        assert!(error.unwrap().contains(&format!("{} bytes", 1u64 << 46)));
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
        // A kernel that writes 0 for every physical address.
        head[88..96].fill(0);
        head[120..124].copy_from_slice(&1u32.to_le_bytes());
        head[160..168].copy_from_slice(&0x8000u64.to_le_bytes());
        let old = folder.path().join("old");
        std::fs::write(&old, &head).unwrap();
        let refused = physical_ranges(&File::open(&old).unwrap(), iomem).unwrap_err();
        assert!(refused.to_string().contains("does not state physical addresses"));
        let hidden = physical_ranges(&kcore, b"00000000-00000000 : System RAM\n").unwrap_err();
        assert_eq!(hidden.kind(), io::ErrorKind::PermissionDenied);
    }
}
