//! Owns the reading of every payload member, side by side on the cores, results in the order of the members; refuses to
//! hold more than a fixed number of members at a time.

use std::collections::BTreeMap;
use std::io;
use std::thread;

use crossbeam_channel::bounded;
use holdfast_schemas::digest::Sha256Digest;
use sha2::{Digest, Sha256};

use super::container::Layout;
use crate::open::{ContentFault, DirectoryWalk, Entry, Evidence, MemberReader, MemberTotals, Scratch};

/// A batch ends with this many members, bytes of their names or bytes of the archive.
const BATCH_MEMBERS: usize = 256;
const BATCH_NAMES: usize = 64 * 1024;
const BATCH_BYTES: u64 = 1 << 20;
/// Most threads that inflate. Each may take 1.5 MiB, buffers and batches together.
const MOST_THREADS: usize = 16;
/// Batches under way at once for each thread.
const WINDOW: usize = 8;
/// A payload smaller than this is read on one thread: starting more costs more.
const SMALL: u64 = 1 << 20;

/// A payload member and what was found in it.
pub(super) struct Read {
    /// Name below the package folder.
    pub name: String,
    /// Its content, or what is wrong with it.
    pub content: Result<MemberTotals, ContentFault>,
}

/// The file's digests that the seal and the ledger speak of.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileDigests {
    /// Of every byte before the seal.
    pub prefix: Sha256Digest,
    /// Of the whole file.
    pub whole: Sha256Digest,
}

/// Reads every payload member and hashes the file. `each` gets the members in order.
pub(super) fn read_all(
    evidence: &dyn Evidence,
    layout: &Layout,
    threads: usize,
    mut each: impl FnMut(Read),
) -> io::Result<FileDigests> {
    let threads = threads.min(MOST_THREADS);
    if threads < 2 || evidence.len() < SMALL {
        let mut walk = DirectoryWalk::new(evidence, &layout.directory);
        let mut spare = None;
        for _ in 0..layout.payload {
            let Some(entry) = walk.next_entry()? else { break };
            each(read(evidence, layout, &entry, &mut spare));
        }
        return hash_file(evidence, layout.prefix_len());
    }
    thread::scope(|scope| {
        let (jobs, job_queue) = bounded::<(u64, Vec<Entry>)>(WINDOW * threads);
        let (results, result_queue) = bounded::<(u64, Vec<Read>)>(WINDOW * threads);
        // A permit for each batch under way, given back once its results are taken in order: a large member that takes
        // long does not let results behind it pile up.
        let (permits, permit_queue) = bounded::<()>(WINDOW * threads);
        let digests = scope.spawn(|| hash_file(evidence, layout.prefix_len()));
        let producer = scope.spawn(move || produce(evidence, layout, &jobs, &permits));
        for _ in 0..threads {
            let (queue, results) = (job_queue.clone(), results.clone());
            scope.spawn(move || {
                let mut spare = None;
                for (number, batch) in queue {
                    let done = batch.iter().map(|entry| read(evidence, layout, entry, &mut spare)).collect();
                    if results.send((number, done)).is_err() {
                        return;
                    }
                }
            });
        }
        drop((job_queue, results));
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, done) in result_queue {
            early.insert(number, done);
            while let Some(done) = early.remove(&next) {
                done.into_iter().for_each(&mut each);
                next += 1;
                let _ = permit_queue.recv();
            }
        }
        let failed = || io::Error::other("a reading thread failed");
        producer.join().map_err(|_| failed())??;
        digests.join().map_err(|_| failed())?
    })
}

fn produce(
    evidence: &dyn Evidence,
    layout: &Layout,
    jobs: &crossbeam_channel::Sender<(u64, Vec<Entry>)>,
    permits: &crossbeam_channel::Sender<()>,
) -> io::Result<()> {
    let mut walk = DirectoryWalk::new(evidence, &layout.directory);
    let (mut batch, mut bytes, mut names, mut number) = (Vec::new(), 0_u64, 0, 0);
    for position in 1..=layout.payload {
        let Some(entry) = walk.next_entry()? else { break };
        bytes = bytes.saturating_add(entry.sizes.compressed);
        names += entry.header.name.len();
        batch.push(entry);
        let is_full = batch.len() == BATCH_MEMBERS || names >= BATCH_NAMES || bytes >= BATCH_BYTES;
        if is_full || position == layout.payload {
            let full = std::mem::take(&mut batch);
            if permits.send(()).is_err() || jobs.send((number, full)).is_err() {
                break;
            }
            (bytes, names, number) = (0, 0, number + 1);
        }
    }
    Ok(())
}

/// Reads a member; `spare` holds buffers from one to the next.
fn read(evidence: &dyn Evidence, layout: &Layout, entry: &Entry, spare: &mut Option<Scratch>) -> Read {
    let content = MemberReader::open_with(evidence, entry, spare.take().unwrap_or_default());
    let content = content.and_then(|reader| {
        let (totals, scratch) = reader.finish_with();
        *spare = Some(scratch);
        totals
    });
    Read { name: entry.name_below(&layout.folder).to_owned(), content }
}

fn hash_file(evidence: &dyn Evidence, prefix_len: u64) -> io::Result<FileDigests> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    let mut hash_until = |until: u64, hasher: &mut Sha256| -> io::Result<()> {
        while offset < until {
            let wanted = usize::try_from(until - offset).unwrap_or(usize::MAX).min(buffer.len());
            let window = buffer.get_mut(..wanted).unwrap_or_default();
            let read = evidence.read_at(window, offset)?;
            if read == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file became shorter while it was read",
                ));
            }
            hasher.update(window.get(..read).unwrap_or_default());
            offset += read as u64;
        }
        Ok(())
    };
    hash_until(prefix_len, &mut hasher)?;
    let prefix = Sha256Digest::from(hasher.clone());
    hash_until(evidence.len(), &mut hasher)?;
    Ok(FileDigests { prefix, whole: hasher.into() })
}
