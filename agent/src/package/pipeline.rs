//! Owns the way of evidence through the cores: batches filled by one reader, compressed side by side by workers, written
//! in order by one sink; refuses to hold more than a fixed number of batches.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::ops::Range;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use holdfast_schemas::action::ActionRecord;
use holdfast_schemas::container::MemberHeader;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::ItemRecord;

use super::deflate::{self, Deflater, Position};
use super::journal::Kind;
use super::sink::Sink;

/// Bytes of content in one batch.
pub(super) const BATCH: usize = 512 * 1024;
/// A batch is handed on when it has this many events, however little content they have.
const EVENTS: usize = 1_024;

/// Content and events, in the order they happened, and later what a worker made of them. Batches go round and keep
/// their memory.
#[derive(Default)]
pub(super) struct Batch {
    pub data: Vec<u8>,
    pub events: Vec<Event>,
    /// Bytes that the records among the events hold beyond what any record does.
    held: usize,
    packed: Packed,
}

/// What happened while a batch was filled.
pub(super) enum Event {
    /// A member began.
    Begin(MemberHeader),
    /// Content of the open member, a range of the batch's data.
    Data(Range<usize>),
    /// The open member ended.
    End(MemberEnd),
    /// An item record.
    Item(Box<ItemRecord>),
    /// An entry of the acquisition log.
    Action(ActionRecord),
}

/// What is known of a member once all its content has passed.
pub(super) struct MemberEnd {
    pub crc32: u32,
    pub size: u64,
    pub sha256: Sha256Digest,
}

/// A batch as the sink wants it; ranges are of `bytes` and `lines`.
#[derive(Default)]
pub(super) struct Packed {
    pub parts: Vec<Part>,
    pub bytes: Vec<u8>,
    pub lines: Vec<u8>,
}

/// What the sink is to do next.
pub(super) enum Part {
    Begin(MemberHeader),
    Bytes(Range<usize>),
    End(MemberEnd),
    Line(Kind, Range<usize>),
}

impl Batch {
    fn empty() -> Self {
        // Room for what each piece may ask for, so that neither grows.
        let bytes = Vec::with_capacity(deflate::room(BATCH) + EVENTS * deflate::room(0));
        let packed = Packed { bytes, ..Packed::default() };
        Self { data: Vec::with_capacity(BATCH), events: Vec::with_capacity(EVENTS), held: 0, packed }
    }

    fn push(&mut self, event: Event) {
        if let Event::Item(record) = &event {
            self.held += variable_bytes(record);
        }
        self.events.push(event);
    }

    /// Bytes of content that still fit.
    pub(super) fn room(&self) -> usize {
        BATCH - self.data.len().min(BATCH)
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len() + self.held >= BATCH || self.events.len() >= EVENTS
    }

    /// Empties the batch for its next round.
    fn clear(&mut self) {
        self.data.clear();
        self.events.clear();
        self.held = 0;
        self.packed.parts.clear();
        self.packed.bytes.clear();
        self.packed.lines.clear();
    }
}

/// Bytes of a record's path and extended attributes, which can be made long to exhaust memory.
fn variable_bytes(record: &ItemRecord) -> usize {
    let path = record.source_path_raw.as_ref().map_or(0, |path| path.0.len());
    let xattrs = record.metadata.iter().flat_map(|metadata| &metadata.xattrs);
    path + xattrs.map(|xattr| xattr.name.len() + xattr.value.0.len()).sum::<usize>()
}

/// The running threads, the ends of their channels and the batch being filled.
pub(super) struct Pipeline {
    batch: Batch,
    /// Batches handed on so far.
    handed_on: u64,
    jobs: Sender<(u64, Batch)>,
    idle: Receiver<Batch>,
    workers: Vec<JoinHandle<()>>,
    sink: JoinHandle<Result<Sink, io::Error>>,
}

/// The pipeline has stopped because the sink could not write; [`Pipeline::finish`] says why.
#[derive(Debug, thiserror::Error)]
#[error("writing has stopped")]
pub(super) struct Stopped;

impl Pipeline {
    /// Starts `workers` compressing threads and one writing thread.
    pub(super) fn start(sink: Sink, workers: usize) -> io::Result<Self> {
        // One batch for each thread, the reader's and the sink's included, and one to hand over.
        let depth = workers + 3;
        let (jobs, job_queue) = bounded::<(u64, Batch)>(depth);
        let (packed, packed_queue) = bounded::<(u64, Batch)>(depth);
        let (idle_return, idle) = bounded::<Batch>(depth);
        for _ in 1..depth {
            // The channel has room for exactly these and the one that is being filled.
            let _ = idle_return.send(Batch::empty());
        }
        let start_worker = |number: usize| {
            let (queue, out) = (job_queue.clone(), packed.clone());
            Builder::new().name(format!("deflate-{number}")).spawn(move || pack_all(&queue, &out))
        };
        let workers = (0..workers).map(start_worker).collect::<io::Result<_>>()?;
        let sink = Builder::new()
            .name("write".into())
            .spawn(move || write_all(sink, &packed_queue, &idle_return))?;
        Ok(Self { batch: Batch::empty(), handed_on: 0, jobs, idle, workers, sink })
    }

    /// The batch being filled.
    pub(super) fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Batches handed on so far.
    pub(super) fn handed_on(&self) -> u64 {
        self.handed_on
    }

    /// Adds an event; hands the batch on when it is full.
    pub(super) fn push(&mut self, event: Event) -> Result<(), Stopped> {
        self.batch.push(event);
        if self.batch.is_full() { self.hand_on() } else { Ok(()) }
    }

    /// Hands the batch on and takes an empty one, as soon as there is one.
    pub(super) fn hand_on(&mut self) -> Result<(), Stopped> {
        self.submit()?;
        self.batch = self.idle.recv().map_err(|_| Stopped)?;
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Stopped> {
        self.jobs.send((self.handed_on, mem::take(&mut self.batch))).map_err(|_| Stopped)?;
        self.handed_on += 1;
        Ok(())
    }

    /// Waits until everything is written and gives the sink back; where the sink stopped, says why.
    pub(super) fn finish(mut self) -> Result<Sink, io::Error> {
        // Where the sink has stopped, joining it tells the reason.
        let _ = self.submit();
        drop(self.jobs);
        drop(self.idle);
        for worker in self.workers {
            worker.join().map_err(|_| io::Error::other("a compressing thread failed"))?;
        }
        self.sink.join().map_err(|_| io::Error::other("the writing thread failed"))?
    }
}

fn pack_all(jobs: &Receiver<(u64, Batch)>, out: &Sender<(u64, Batch)>) {
    let mut deflater = Deflater::new();
    for (number, mut batch) in jobs {
        pack(&mut batch, &mut deflater);
        if out.send((number, batch)).is_err() {
            return;
        }
    }
}

fn pack(batch: &mut Batch, deflater: &mut Deflater) {
    let Packed { parts, bytes, lines } = &mut batch.packed;
    let mut events = batch.events.drain(..).peekable();
    while let Some(event) = events.next() {
        match event {
            Event::Begin(header) => parts.push(Part::Begin(header)),
            Event::Data(range) => {
                let ends = matches!(events.peek(), Some(Event::End(_)));
                let position = if ends { Position::Last } else { Position::Inner };
                let from = bytes.len();
                deflater.piece(&batch.data[range], position, bytes);
                parts.push(Part::Bytes(from..bytes.len()));
            }
            Event::End(end) => parts.push(Part::End(end)),
            Event::Item(record) => line(Kind::Item, &*record, lines, parts),
            Event::Action(record) => line(Kind::Action, &record, lines, parts),
        }
    }
}

fn line(kind: Kind, record: &impl serde::Serialize, lines: &mut Vec<u8>, parts: &mut Vec<Part>) {
    let from = lines.len();
    serde_json::to_writer(&mut *lines, record).expect("records have text keys, and memory does not fail");
    parts.push(Part::Line(kind, from..lines.len()));
}

fn write_all(
    mut sink: Sink,
    queue: &Receiver<(u64, Batch)>,
    idle: &Sender<Batch>,
) -> Result<Sink, io::Error> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, batch) in queue {
        early.insert(number, batch);
        while let Some(mut batch) = early.remove(&next) {
            if let Err(error) = sink.accept(&mut batch.packed) {
                sink.give_up();
                return Err(error);
            }
            next += 1;
            batch.clear();
            // The reader is gone once it has submitted everything; then nobody needs the batch.
            let _ = idle.send(batch);
        }
    }
    Ok(sink)
}
