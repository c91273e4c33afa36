//! The twin's consumer: moves records of assigned partitions into an inbox, by a thread of its own or when told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Shared, State, Twin};
use crate::inbox::Inbox;
use crate::log::{Consumer, Log, LogError, Producer, ReadFrom, Sender, Source, Watermarks, What};

/// How late a queue that was emptied is filled again.
const FULL_TURN: Duration = Duration::from_millis(2);
/// Otherwise the thread is woken by whoever changes something.
const TURN: Duration = Duration::from_millis(500);

/// See [`Consumer`].
pub(super) struct TwinConsumer {
    source: Source,
    reading: Arc<Reading>,
    thread: Option<JoinHandle<()>>,
}

/// A [`Twin`] as one process sees it whose consumers have no thread: they read when [`read`](Self::read) is called, and no sooner. Clones are the same.
#[derive(Clone)]
pub struct ByHand {
    twin: Twin,
    readings: Arc<Mutex<Vec<Weak<Reading>>>>,
}

struct Reading {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    source: Source,
    assigned: Mutex<BTreeMap<u32, Assigned>>,
    stopping: AtomicBool,
}

struct Assigned {
    session: u64,
    from: ReadFrom,
    asked: Vec<u64>,
    lost: bool,
}

impl TwinConsumer {
    pub(super) fn open(shared: Arc<Shared>, source: Source, inbox: Arc<Inbox>) -> Self {
        let mut consumer = Self::without_thread(shared, source, inbox);
        let running = Arc::clone(&consumer.reading);
        let thread = std::thread::Builder::new().name("twin-read".into()).spawn(move || running.run());
        consumer.thread = Some(thread.expect("a test can start a thread"));
        consumer
    }

    fn without_thread(shared: Arc<Shared>, source: Source, inbox: Arc<Inbox>) -> Self {
        let reading = Arc::new(Reading { shared, inbox, source, assigned: Mutex::default(), stopping: AtomicBool::new(false) });
        Self { source, reading, thread: None }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, Assigned>)) {
        // Under the lock that the thread waits with: otherwise it could go to sleep between the change and the wake-up.
        let _state = self.reading.shared.lock();
        change(&mut self.reading.assigned.lock().unwrap_or_else(PoisonError::into_inner));
        self.reading.shared.changed.notify_all();
    }
}

impl Consumer for TwinConsumer {
    fn assign(&self, partition: u32, from: ReadFrom) {
        self.change(|assigned| {
            let session = self.reading.inbox.begin(self.source, partition);
            assigned.insert(partition, Assigned { session, from, asked: Vec::new(), lost: false });
        });
    }

    fn unassign(&self, partition: u32) {
        self.change(|assigned| {
            self.reading.inbox.begin(self.source, partition);
            assigned.remove(&partition);
        });
    }

    fn ask_high_watermark(&self, partition: u32, ask: u64) {
        self.change(|assigned| {
            let session = self.reading.inbox.session(self.source, partition);
            let unread = Assigned { session, from: ReadFrom::Beginning, asked: Vec::new(), lost: true };
            assigned.entry(partition).or_insert(unread).asked.push(ask);
        });
    }
}

impl Drop for TwinConsumer {
    fn drop(&mut self) {
        self.reading.stopping.store(true, Ordering::Relaxed);
        self.change(|_| {});
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a twin's consumer panicked");
        }
    }
}

impl Reading {
    fn run(&self) {
        let mut state = self.shared.lock();
        while !self.stopping.load(Ordering::Relaxed) {
            let turn = if self.fill(&state, usize::MAX) { FULL_TURN } else { TURN };
            state = self.shared.changed.wait_timeout(state, turn).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Moves what there is, at most so much of each partition; says whether something was left behind.
    fn fill(&self, state: &State, most: usize) -> bool {
        let mut behind = false;
        for (number, assigned) in self.assigned.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let partition = &state.partitions[*number as usize];
            let offer = |what| self.inbox.offer(self.source, *number, assigned.session, what);
            let ends = partition.ends();
            if state.answers {
                for ask in assigned.asked.drain(..) {
                    offer(What::HighWatermark { ask, high: ends.high });
                }
            }
            if assigned.lost {
                continue;
            }
            let mut next = match assigned.from {
                ReadFrom::Beginning => ends.low,
                ReadFrom::Offset(offset) => offset,
            };
            if next < ends.low || next > ends.high {
                offer(What::Lost(format!("it has offsets {} to {}, {next} was to be read", ends.low, ends.high)));
                assigned.lost = true;
                continue;
            }
            let mut wants_more = self.inbox.wants_more(self.source, *number);
            let mut moved = 0;
            while wants_more
                && moved < most
                && let Some(record) = partition.get(next)
            {
                wants_more = offer(What::Stored(record.clone()));
                next += 1;
                moved += 1;
            }
            behind |= next < ends.high;
            if next > ends.low || assigned.from != ReadFrom::Beginning {
                assigned.from = ReadFrom::Offset(next);
            }
        }
        behind
    }
}

impl ByHand {
    /// Another process' view of the topic.
    pub fn new(twin: &Twin) -> Self {
        Self { twin: twin.clone(), readings: Arc::default() }
    }

    /// Moves what there is into the inboxes of its consumers, at most `most` records of each partition.
    pub fn read(&self, most: usize) {
        let state = self.twin.shared.lock();
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|reading| reading.strong_count() > 0);
        for reading in readings.iter().filter_map(Weak::upgrade) {
            reading.fill(&state, most);
        }
    }
}

impl Log for ByHand {
    fn topic(&self) -> &str {
        self.twin.topic()
    }

    fn partitions(&self) -> u32 {
        self.twin.partitions()
    }

    fn open_producer(&self) -> Result<Arc<dyn Producer>, LogError> {
        self.twin.open_producer()
    }

    fn open_sender(&self) -> Result<Arc<dyn Sender>, LogError> {
        self.twin.open_sender()
    }

    fn open_consumer(&self, source: Source, inbox: &Arc<Inbox>) -> Result<Box<dyn Consumer>, LogError> {
        let consumer = TwinConsumer::without_thread(Arc::clone(&self.twin.shared), source, Arc::clone(inbox));
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&consumer.reading));
        Ok(Box::new(consumer))
    }

    fn watermarks(&self, partition: u32) -> Result<Watermarks, LogError> {
        self.twin.watermarks(partition)
    }
}
