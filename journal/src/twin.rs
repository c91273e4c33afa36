//! The log in memory: Kafka's twin, for tests and simulations.
//!
//! Left alone it behaves like a healthy broker: what is appended is there at once. Under test control it behaves like the rest of the world.
//! Each producer and sender has a *wire* to the log, and the test decides what a wire does:
//!
//! | what happens | call |
//! |---|---|
//! | the network is slow | [`Twin::hold`], then [`Twin::deliver`] as much as and when it likes |
//! | one process is paused, its records come hours later | [`Twin::pause`] its wire |
//! | a process crashes | drop its producer; what is on its wire may still be delivered |
//! | a record is delivered twice | [`Twin::repeat`] |
//! | a connection is lost with everything unacknowledged | [`Twin::fail`]: a suffix never arrives, the producer has failed |
//! | somebody cuts, alters or swaps the log | [`Twin::records`], [`Twin::replace`] |
//! | retention removes the beginning | [`Twin::forget`] |
//! | the broker does not answer questions | [`Twin::answer`] |
//! | a reader is slow, or everything runs in one thread | [`ByHand`], whose consumers read when told to |
//! | the broker's clock | [`Twin::set_clock`]: records more than ten seconds ahead of it are refused |
//!
//! It passes the same contract as Kafka.

mod group;
mod reading;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use self::group::{TwinGroup, TwinMembership};
pub use self::reading::ByHand;
use crate::inbox::Inbox;
use crate::log::{Consumer, Delivered, Log, LogError, Producer, ProducerFailed, SendError, Sender, Source, Stored, Watermarks};

/// How far ahead of its clock the broker takes a record, in milliseconds: `message.timestamp.after.max.ms` of the journal.
const AHEAD_MS: i64 = 10_000;

/// A topic in memory. Clones are handles to the same topic.
#[derive(Clone)]
pub struct Twin {
    shared: Arc<Shared>,
}

struct Shared {
    topic: String,
    partitions: u32,
    state: Mutex<State>,
    /// Something was written, or a consumer was told something.
    changed: Condvar,
}

struct State {
    partitions: Vec<Partition>,
    wires: Vec<Wire>,
    held: bool,
    answers: bool,
    clock_ms: Option<i64>,
}

#[derive(Default)]
struct Partition {
    /// Offset of the first record.
    low: i64,
    records: Vec<Stored>,
}

/// What one producer or sender has appended and the log does not have yet.
#[derive(Default)]
struct Wire {
    queue: VecDeque<Sent>,
    failed: Option<ProducerFailed>,
    paused: bool,
    /// The last record delivered, to be repeated.
    last: Option<(u32, Stored)>,
}

struct Sent {
    partition: u32,
    record: Stored,
    delivered: Option<Delivered>,
}

/// The wire of a producer or sender: they are numbered as they are opened, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireId(pub usize);

impl Twin {
    /// A topic with so many partitions and no records.
    pub fn new(topic: impl Into<String>, partitions: u32) -> Self {
        let state = State {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            wires: Vec::new(),
            held: false,
            answers: true,
            clock_ms: None,
        };
        Self { shared: Arc::new(Shared { topic: topic.into(), partitions, state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// A producer together with its wire.
    pub fn producer(&self) -> Arc<TwinProducer> {
        Arc::new(TwinProducer { wire: self.shared.open_wire(), shared: Arc::clone(&self.shared) })
    }

    /// From now on records stay on their wires until [`deliver`](Self::deliver).
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Delivers everything that no paused wire holds, wire by wire, and from now on everything at once.
    pub fn release(&self) {
        self.shared.change(|state, done| {
            state.held = false;
            state.flow(done);
        });
    }

    /// Delivers up to `count` records of a wire, in their order; says how many. A paused wire delivers none.
    pub fn deliver(&self, wire: WireId, count: usize) -> usize {
        self.shared.change(|state, done| if state.wires[wire.0].paused { 0 } else { state.deliver(wire, count, done) })
    }

    /// Records on a wire.
    pub fn on_wire(&self, wire: WireId) -> usize {
        self.shared.lock().wires[wire.0].queue.len()
    }

    /// Number of wires opened so far.
    pub fn wires(&self) -> usize {
        self.shared.lock().wires.len()
    }

    /// Holds back one wire, or lets it go on.
    pub fn pause(&self, wire: WireId, paused: bool) {
        self.shared.change(|state, done| {
            state.wires[wire.0].paused = paused;
            if !state.held {
                state.flow(done);
            }
        });
    }

    /// Delivers the last delivered record of a wire once more.
    pub fn repeat(&self, wire: WireId) {
        self.shared.change(|state, _| {
            if let Some((partition, record)) = state.wires[wire.0].last.clone() {
                state.partitions[partition as usize].push(record);
            }
        });
    }

    /// The connection is lost: of what is on the wire only the first `arriving` records are delivered, and the producer has failed.
    pub fn fail(&self, wire: WireId, arriving: usize) {
        self.shared.change(|state, done| {
            state.deliver(wire, arriving, done);
            state.fail(wire, "the test cut the connection", done);
        });
    }

    /// Whether the broker answers questions about high watermarks.
    pub fn answer(&self, answers: bool) {
        self.shared.change(|state, _| state.answers = answers);
    }

    /// The broker's clock, in milliseconds since 1970; without one every time is taken.
    pub fn set_clock(&self, clock_ms: Option<i64>) {
        self.shared.lock().clock_ms = clock_ms;
    }

    /// All records of a partition.
    pub fn records(&self, partition: u32) -> Vec<Stored> {
        self.shared.lock().partitions[partition as usize].records.clone()
    }

    /// The record at an offset.
    pub fn record(&self, partition: u32, offset: i64) -> Option<Stored> {
        self.shared.lock().partitions[partition as usize].get(offset).cloned()
    }

    /// Replaces all records of a partition, offsets counted anew. Consumers that have read further see only what is appended later.
    pub fn replace(&self, partition: u32, records: impl IntoIterator<Item = Stored>) {
        self.shared.change(|state, _| {
            let replaced = &mut state.partitions[partition as usize];
            *replaced = Partition::default();
            for record in records {
                replaced.push(record);
            }
        });
    }

    /// Removes the records before an offset, as retention does.
    pub fn forget(&self, partition: u32, before: i64) {
        self.shared.change(|state, _| {
            let partition = &mut state.partitions[partition as usize];
            partition.records.retain(|record| record.offset >= before);
            partition.low = partition.low.max(before);
        });
    }
}

impl Log for Twin {
    fn topic(&self) -> &str {
        &self.shared.topic
    }

    fn partitions(&self) -> u32 {
        self.shared.partitions
    }

    fn open_producer(&self) -> Result<Arc<dyn Producer>, LogError> {
        Ok(self.producer())
    }

    fn open_sender(&self) -> Result<Arc<dyn Sender>, LogError> {
        Ok(Arc::new(TwinSender { wire: self.shared.open_wire(), shared: Arc::clone(&self.shared) }))
    }

    fn open_consumer(&self, source: Source, inbox: &Arc<Inbox>) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(reading::TwinConsumer::open(Arc::clone(&self.shared), source, Arc::clone(inbox))))
    }

    fn watermarks(&self, partition: u32) -> Result<Watermarks, LogError> {
        let state = self.shared.lock();
        let failed = |reason: &str| LogError {
            topic: self.shared.topic.clone(),
            doing: "cannot ask for the ends of a partition",
            source: reason.into(),
        };
        if !state.answers {
            return Err(failed("the test keeps the broker from answering"));
        }
        state.partitions.get(partition as usize).map(Partition::ends).ok_or_else(|| failed("unknown partition"))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, wakes consumers, and calls back whoever waits for a delivery, without the lock.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Answers) -> T) -> T {
        let mut done = Answers::default();
        let result = change(&mut self.lock(), &mut done);
        self.changed.notify_all();
        for (delivered, answer) in done.0 {
            delivered(answer);
        }
        result
    }

    fn open_wire(&self) -> WireId {
        let mut state = self.lock();
        state.wires.push(Wire::default());
        WireId(state.wires.len() - 1)
    }

    fn append(&self, wire: WireId, partition: u32, record: Stored, delivered: Option<Delivered>) {
        self.change(|state, done| {
            state.wires[wire.0].queue.push_back(Sent { partition, record, delivered });
            if !state.held && !state.wires[wire.0].paused {
                state.deliver(wire, usize::MAX, done);
            }
        });
    }
}

/// Callbacks to be made once the lock is released.
#[derive(Default)]
struct Answers(Vec<(Delivered, Result<i64, SendError>)>);

impl State {
    fn deliver(&mut self, wire: WireId, count: usize, done: &mut Answers) -> usize {
        let mut delivered = 0;
        while delivered < count
            && let Some(sent) = self.wires[wire.0].queue.pop_front()
        {
            if self.clock_ms.is_some_and(|clock| sent.record.timestamp_ms > clock + AHEAD_MS) {
                done.0.extend(sent.delivered.map(|delivered| (delivered, Err(unknown("the record's time is too far ahead")))));
                self.fail(wire, "a record's time is too far ahead of the broker's", done);
                break;
            }
            let offset = self.partitions[sent.partition as usize].push(sent.record.clone());
            self.wires[wire.0].last = Some((sent.partition, sent.record));
            done.0.extend(sent.delivered.map(|delivered| (delivered, Ok(offset))));
            delivered += 1;
        }
        delivered
    }

    fn flow(&mut self, done: &mut Answers) {
        for wire in (0..self.wires.len()).map(WireId) {
            if !self.wires[wire.0].paused {
                self.deliver(wire, usize::MAX, done);
            }
        }
    }

    fn fail(&mut self, wire: WireId, reason: &str, done: &mut Answers) {
        let wire = &mut self.wires[wire.0];
        wire.failed.get_or_insert_with(|| ProducerFailed { reason: reason.to_owned() });
        for sent in wire.queue.drain(..) {
            done.0.extend(sent.delivered.map(|delivered| (delivered, Err(unknown(reason)))));
        }
    }
}

fn unknown(reason: &str) -> SendError {
    SendError { reason: reason.to_owned(), never_sent: false }
}

impl Partition {
    fn push(&mut self, record: Stored) -> i64 {
        let offset = self.ends().high;
        self.records.push(Stored { offset, ..record });
        offset
    }

    fn ends(&self) -> Watermarks {
        let records = i64::try_from(self.records.len()).expect("records in memory can be counted");
        Watermarks { low: self.low, high: self.low + records }
    }

    fn get(&self, offset: i64) -> Option<&Stored> {
        self.records.get(usize::try_from(offset - self.low).ok()?)
    }
}

/// The producer of a [`Twin`].
pub struct TwinProducer {
    wire: WireId,
    shared: Arc<Shared>,
}

impl TwinProducer {
    /// Its wire.
    pub fn wire(&self) -> WireId {
        self.wire
    }
}

impl Producer for TwinProducer {
    fn append(&self, partition: u32, key: Option<&[u8]>, timestamp_ms: i64, value: &[u8]) -> Result<(), ProducerFailed> {
        if let Some(failed) = self.failure() {
            return Err(failed);
        }
        if partition >= self.shared.partitions {
            self.shared.change(|state, done| state.fail(self.wire, "unknown partition", done));
        } else {
            self.shared.append(self.wire, partition, stored(key, timestamp_ms, value), None);
        }
        self.failure().map_or(Ok(()), Err)
    }

    fn failure(&self) -> Option<ProducerFailed> {
        self.shared.lock().wires[self.wire.0].failed.clone()
    }

    fn in_flight(&self) -> usize {
        self.shared.lock().wires[self.wire.0].queue.len()
    }
}

/// The sender of a [`Twin`].
struct TwinSender {
    wire: WireId,
    shared: Arc<Shared>,
}

impl Sender for TwinSender {
    fn send(&self, partition: u32, key: Option<&[u8]>, timestamp_ms: i64, value: &[u8], delivered: Delivered) {
        if partition >= self.shared.partitions {
            delivered(Err(SendError { reason: "unknown partition".into(), never_sent: true }));
        } else {
            self.shared.append(self.wire, partition, stored(key, timestamp_ms, value), Some(delivered));
        }
    }
}

impl Drop for TwinSender {
    /// Like a client that is closed: what was not delivered is answered as not known.
    fn drop(&mut self) {
        self.shared.change(|state, done| state.fail(self.wire, "the sender was closed", done));
    }
}

fn stored(key: Option<&[u8]>, timestamp_ms: i64, value: &[u8]) -> Stored {
    Stored { offset: 0, timestamp_ms, key: key.map(Bytes::copy_from_slice).unwrap_or_default(), value: Bytes::copy_from_slice(value) }
}
