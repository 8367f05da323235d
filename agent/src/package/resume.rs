//! Owns the return to an interrupted package: what its journal and its bytes both vouch for is kept, and sealing goes on
//! from there; refuses files that another agent is still writing, and keeps a copy of what it cuts off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use holdfast_schemas::action::ActionRecord;
use holdfast_schemas::collection::{ArtifactCounts, Collection};
use holdfast_schemas::container::Method;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::ItemRecord;
use holdfast_schemas::json::read_record;
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};

use super::journal::{Journal, JournalMember};
use super::output::{Output, create_private};
use super::sink::Sink;
use super::{Meter, OwnFiles, PackageWriter, Pipeline};

/// Why an interrupted package cannot be taken up again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    /// The name is not one that an interrupted package has.
    #[error("{0} is not an interrupted package: its name ends with .zip.partial")]
    Name(String),
    /// A file cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another agent holds the journal.
    #[error("another agent is still writing this package")]
    InUse,
    /// The journal does not begin like one.
    #[error("{0} does not begin like a journal; nothing can be recovered with it")]
    Journal(String),
    /// Nothing was captured before the interruption.
    #[error("nothing was captured before the interruption; there is nothing to seal")]
    Nothing,
    /// Reading or cutting failed.
    #[error("cannot recover: {0}; nothing is lost: mend the cause and run it again")]
    Read(#[from] io::Error),
}

/// A package taken up again.
pub(crate) struct Resumed {
    /// Ready to be finished.
    pub writer: PackageWriter,
    /// The collection as planned, one JSON text.
    pub context: Vec<u8>,
    /// The last action that the journal holds.
    pub last_action: Option<ActionRecord>,
    /// Bytes of an unfinished member that were cut off, and where they were kept.
    pub cut: Option<(u64, PathBuf)>,
}

/// What journal and package agree on.
#[derive(Default)]
struct Agreed {
    context: Vec<u8>,
    package_bytes: u64,
    journal_bytes: u64,
    items: u64,
    counts: Vec<ArtifactCounts>,
    files: u64,
    bytes: u64,
    last_action: Option<ActionRecord>,
    actions: u64,
}

/// Takes up `<name>.zip.partial`, whose journal lies beside it.
pub(crate) fn resume(partial: &Path, workers: usize) -> Result<Resumed, ResumeError> {
    let name = partial.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder_name =
        name.strip_suffix(".zip.partial").ok_or_else(|| ResumeError::Name(name.clone()))?.to_owned();
    let journal_path = partial.with_file_name(format!("{folder_name}.zip.journal"));
    let mut journal = open(&journal_path)?;
    lock(&journal).map_err(|_| ResumeError::InUse)?;
    let mut package = open(partial)?;
    let agreed = agree(&journal, &package, &folder_name)
        .map_err(ResumeError::Read)?
        .ok_or_else(|| ResumeError::Journal(journal_path.display().to_string()))?;
    // Journal and package that do not belong together agree on nothing; cutting would destroy them.
    if name_in(&agreed.context).as_deref() != Some(folder_name.as_str()) {
        return Err(ResumeError::Journal(journal_path.display().to_string()));
    }
    if agreed.items == 0 {
        return Err(ResumeError::Nothing);
    }
    let cut = keep_tail(&package, agreed.package_bytes, partial)?;
    package.set_len(agreed.package_bytes)?;
    journal.set_len(agreed.journal_bytes)?;
    journal.seek(SeekFrom::End(0))?;
    let hasher = hash(&mut package)?;

    let finished = partial.with_file_name(format!("{folder_name}.zip"));
    let output = Output::resumed(package, partial.to_owned(), finished.clone());
    let own = OwnFiles::new(Some(finished), journal_path, &journal, &output)?;
    let meter = Arc::new(Meter::default());
    let journal = Journal::resumed(journal, agreed.journal_bytes);
    let sink =
        Sink::resumed(output, journal, folder_name.clone(), Arc::clone(&meter), hasher, agreed.package_bytes);
    let mut writer = PackageWriter::over(Pipeline::start(sink, workers)?, folder_name, meter, own, workers);
    writer.items = agreed.items;
    writer.actions = agreed.actions;
    writer.totals = super::Totals { files: agreed.files, bytes: agreed.bytes };
    writer.counts = agreed.counts;
    Ok(Resumed { writer, context: agreed.context, last_action: agreed.last_action, cut })
}

/// The package's name by the collection that the journal begins with.
fn name_in(context: &[u8]) -> Option<String> {
    let collection: Collection = read_record(context).ok()?;
    let start = &collection.clock.start;
    Some(crate::collect::package_name(collection.case.as_deref(), start, &collection.collection_id))
}

/// Takes the lock that says that an agent is writing; it goes with the process.
pub(super) fn lock(journal: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(journal, FlockOperation::NonBlockingLockExclusive)?)
}

fn open(path: &Path) -> Result<File, ResumeError> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc_nofollow()).open(path);
    opened.map_err(|source| ResumeError::Open { path: path.display().to_string(), source })
}

/// `O_NOFOLLOW`, as the standard library wants its flags.
fn libc_nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// Reads the journal up to the last item that package and journal both hold whole. `None` when it has no beginning.
fn agree(journal: &File, package: &File, folder: &str) -> io::Result<Option<Agreed>> {
    let mut reader = BufReader::with_capacity(256 * 1024, journal);
    let mut agreed = Agreed::default();
    let mut pending: Option<JournalMember> = None;
    let (mut line, mut read_bytes) = (Vec::new(), 0u64);
    loop {
        line.clear();
        read_bytes += reader.read_until(b'\n', &mut line)? as u64;
        let Some((kind, json)) = split(&line) else { break };
        match kind {
            b'c' if read_bytes == line.len() as u64 => agreed.context = json.to_vec(),
            b'm' => {
                let Ok(member) = serde_json::from_slice::<JournalMember>(json) else { break };
                // Records, manifests and seal are written anew; evidence stands where the member before it ends.
                let follows = member.name.starts_with("data/") && member.offset == agreed.package_bytes;
                if !follows || end(&member, folder).is_none() || !is_whole(package, &member, folder)? {
                    break;
                }
                pending = Some(member);
            }
            b'i' => {
                let Ok(record) = serde_json::from_slice::<ItemRecord>(json) else { break };
                let member = pending.take();
                let content = member.as_ref().map(|member| (member.size, member.sha256));
                if record.check().is_err() || content != record.size.zip(record.sha256) {
                    break;
                }
                if member.as_ref().map(|member| &member.name) != record.member.as_ref()
                    || record.id != agreed.items + 1
                {
                    break;
                }
                if let Some(member) = member {
                    agreed.files += 1;
                    agreed.bytes += member.size;
                    agreed.package_bytes = end(&member, folder).unwrap_or(agreed.package_bytes);
                }
                agreed.items += 1;
                ArtifactCounts::add(&mut agreed.counts, &record.artifact, record.outcome);
            }
            b'a' => {
                let Ok(action) = serde_json::from_slice::<ActionRecord>(json) else { break };
                if action.seq != agreed.actions + 1 {
                    break;
                }
                agreed.actions = action.seq;
                agreed.last_action = Some(action);
            }
            _ => break,
        }
        if pending.is_none() {
            agreed.journal_bytes = read_bytes;
        }
    }
    Ok(Some(agreed).filter(|agreed| !agreed.context.is_empty()))
}

fn split(line: &[u8]) -> Option<(u8, &[u8])> {
    match line {
        [kind, b' ', json @ .., b'\n'] => Some((*kind, json)),
        _ => None,
    }
}

/// Offset after a member's data descriptor; `None` past the end of numbers.
fn end(member: &JournalMember, folder: &str) -> Option<u64> {
    let (header, sizes) = member.header(folder);
    let around = header.render_local(None).len() + header.render_descriptor(&sizes).len();
    member.offset.checked_add(around as u64)?.checked_add(member.compressed)
}

/// Whether a member's frame and content are in the file as the journal says; a power cut can leave holes.
fn is_whole(package: &File, member: &JournalMember, folder: &str) -> io::Result<bool> {
    let (header, sizes) = member.header(folder);
    if header.method != Method::Deflated {
        return Ok(false);
    }
    let (local, descriptor) = (header.render_local(None), header.render_descriptor(&sizes));
    let content = member.offset + local.len() as u64;
    let framed =
        holds(package, member.offset, &local)? && holds(package, content + member.compressed, &descriptor)?;
    Ok(framed && inflated_digest(package, content, member.compressed)? == Some(member.sha256))
}

fn holds(package: &File, offset: u64, expected: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; expected.len()];
    match package.read_exact_at(&mut found, offset) {
        Ok(()) => Ok(found == expected),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Digest of a deflated range's content; `None` where it does not inflate to its end.
fn inflated_digest(package: &File, mut offset: u64, mut left: u64) -> io::Result<Option<Sha256Digest>> {
    let mut inflate = Decompress::new(false);
    let mut hasher = Sha256::new();
    let (mut window, mut out) = (vec![0; 128 * 1024], vec![0; 256 * 1024]);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(window.len());
        let read = package.read_at(&mut window[..wanted], offset)?;
        if read == 0 {
            return Ok(None);
        }
        (offset, left) = (offset + read as u64, left - read as u64);
        let mut at = 0;
        loop {
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let Ok(status) = inflate.decompress(&window[at..read], &mut out, FlushDecompress::None) else {
                return Ok(None);
            };
            let taken = usize::try_from(inflate.total_in() - before_in).unwrap_or_default();
            let made = usize::try_from(inflate.total_out() - before_out).unwrap_or_default();
            hasher.update(&out[..made]);
            at += taken;
            if status == Status::StreamEnd {
                return Ok((at == read && left == 0).then(|| hasher.into()));
            }
            if at == read && made < out.len() {
                break;
            }
            if taken == 0 && made == 0 {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Copies what stands behind the last whole member to a file of its own; it may be of use to an examiner.
fn keep_tail(package: &File, from: u64, partial: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    let len = package.metadata()?.len();
    if len <= from {
        return Ok(None);
    }
    // An earlier attempt may have left one.
    let numbered = (1..).map(|number| PathBuf::from(format!("{}.tail{number}", partial.display())));
    let path = numbered.into_iter().find(|path| !path.exists()).unwrap_or_default();
    let copied = create_private(&path).and_then(|mut tail| {
        let mut reader = package;
        reader.seek(SeekFrom::Start(from))?;
        io::copy(&mut reader.take(len - from), &mut tail)?;
        tail.sync_all()
    });
    copied.inspect_err(|_| {
        // Half a copy is of no use, and room is short.
        let _ = std::fs::remove_file(&path);
    })?;
    Ok(Some((len - from, path)))
}

/// Hashes the file and leaves its position at the end.
fn hash(package: &mut File) -> io::Result<Sha256> {
    package.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match package.read(&mut buffer)? {
            0 => return Ok(hasher),
            read => hasher.update(&buffer[..read]),
        }
    }
}
