//! The twin's consumer: one thread that moves records of assigned partitions into an inbox.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Shared, State};
use crate::inbox::Inbox;
use crate::log::{Consumer, ReadFrom, Source, What};

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

struct Reading {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    source: Source,
    assigned: Mutex<HashMap<u32, Assigned>>,
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
        let reading = Arc::new(Reading { shared, inbox, source, assigned: Mutex::default(), stopping: AtomicBool::new(false) });
        let running = Arc::clone(&reading);
        let thread = std::thread::Builder::new().name("twin-read".into()).spawn(move || running.run());
        Self { source, reading, thread: Some(thread.expect("a test can start a thread")) }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<u32, Assigned>)) {
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
            let turn = if self.fill(&state) { FULL_TURN } else { TURN };
            state = self.shared.changed.wait_timeout(state, turn).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Moves what there is; says whether a full queue left something behind.
    fn fill(&self, state: &State) -> bool {
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
            while wants_more && let Some(record) = partition.get(next) {
                wants_more = offer(What::Stored(record.clone()));
                next += 1;
            }
            behind |= next < ends.high;
            if next > ends.low || assigned.from != ReadFrom::Beginning {
                assigned.from = ReadFrom::Offset(next);
            }
        }
        behind
    }
}
