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

use super::deflate::{Deflater, Position};
use super::journal::Kind;
use super::sink::Sink;

/// Bytes of content in one batch.
pub(super) const BATCH: usize = 512 * 1024;
/// A batch is handed on when it has this many events, however little content they have.
const EVENTS: usize = 4_096;

/// Content and events, in the order they happened.
#[derive(Default)]
pub(super) struct Batch {
    pub data: Vec<u8>,
    pub events: Vec<Event>,
}

/// What happened while a batch was filled.
pub(super) enum Event {
    /// A member began.
    Begin(Box<MemberHeader>),
    /// Content of the open member, a range of the batch's data.
    Data(Range<usize>),
    /// The open member ended.
    End(Box<MemberEnd>),
    /// An item record.
    Item(Box<ItemRecord>),
    /// An entry of the acquisition log.
    Action(Box<ActionRecord>),
}

/// What is known of a member once all its content has passed.
pub(super) struct MemberEnd {
    pub crc32: u32,
    pub size: u64,
    pub sha256: Sha256Digest,
}

/// A batch as the sink wants it; ranges are of `bytes` and `lines`.
pub(super) struct Packed {
    pub parts: Vec<Part>,
    pub bytes: Vec<u8>,
    pub lines: Vec<u8>,
    batch: Batch,
}

/// What the sink is to do next.
pub(super) enum Part {
    Begin(Box<MemberHeader>),
    Bytes(Range<usize>),
    End(Box<MemberEnd>),
    Line(Kind, Range<usize>),
}

impl Batch {
    fn empty() -> Self {
        Self { data: Vec::with_capacity(BATCH), events: Vec::new() }
    }

    /// Bytes of content that still fit.
    pub(super) fn room(&self) -> usize {
        BATCH - self.data.len().min(BATCH)
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len() >= BATCH || self.events.len() >= EVENTS
    }
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
        let depth = workers * 2 + 2;
        let (jobs, job_queue) = bounded::<(u64, Batch)>(depth);
        let (packed, packed_queue) = bounded::<(u64, Packed)>(depth);
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
        self.batch.events.push(event);
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

fn pack_all(jobs: &Receiver<(u64, Batch)>, out: &Sender<(u64, Packed)>) {
    let mut deflater = Deflater::new();
    for (number, batch) in jobs {
        if out.send((number, pack(batch, &mut deflater))).is_err() {
            return;
        }
    }
}

fn pack(mut batch: Batch, deflater: &mut Deflater) -> Packed {
    let (mut parts, mut bytes, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let mut events = mem::take(&mut batch.events).into_iter().peekable();
    while let Some(event) = events.next() {
        match event {
            Event::Begin(header) => parts.push(Part::Begin(header)),
            Event::Data(range) => {
                let ends = matches!(events.peek(), Some(Event::End(_)));
                let position = if ends { Position::Last } else { Position::Inner };
                let from = bytes.len();
                deflater.piece(&batch.data[range], position, &mut bytes);
                parts.push(Part::Bytes(from..bytes.len()));
            }
            Event::End(end) => parts.push(Part::End(end)),
            Event::Item(record) => line(Kind::Item, &*record, &mut lines, &mut parts),
            Event::Action(record) => line(Kind::Action, &*record, &mut lines, &mut parts),
        }
    }
    batch.data.clear();
    Packed { parts, bytes, lines, batch }
}

fn line(kind: Kind, record: &impl serde::Serialize, lines: &mut Vec<u8>, parts: &mut Vec<Part>) {
    let from = lines.len();
    serde_json::to_writer(&mut *lines, record).expect("records have text keys, and memory does not fail");
    parts.push(Part::Line(kind, from..lines.len()));
}

fn write_all(
    mut sink: Sink,
    queue: &Receiver<(u64, Packed)>,
    idle: &Sender<Batch>,
) -> Result<Sink, io::Error> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, packed) in queue {
        early.insert(number, packed);
        while let Some(mut packed) = early.remove(&next) {
            if let Err(error) = sink.accept(&mut packed) {
                sink.give_up();
                return Err(error);
            }
            next += 1;
            // The reader is gone once it has submitted everything; then nobody needs the batch.
            let _ = idle.send(packed.batch);
        }
    }
    Ok(sink)
}
