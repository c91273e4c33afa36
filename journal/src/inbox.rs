//! Bounded queues between the threads that poll a topic and those that do the work.
//!
//! One inbox may be filled by several consumers, so that a thread waits in one place for the journal, the commands and the reports. It has
//! one queue for each (source, partition); a full queue stops that partition at the broker and nothing else. Partitions are dealt to
//! *lanes*, one for each working thread, and a thread gets everything of its lane.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::log::{Arrival, Source, What};

/// How much may wait in one queue. A queue takes no more once either is reached, so it overshoots by what one poll had in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Records.
    pub records: usize,
    /// Bytes of their values.
    pub bytes: usize,
}

impl Default for Capacity {
    /// A thousand records, as many as a writer leaves unobserved, and 4 MiB, eight of the largest commits.
    fn default() -> Self {
        Self { records: 1_000, bytes: 4 << 20 }
    }
}

/// The queues; see the module.
#[derive(Debug)]
pub struct Inbox {
    capacity: Capacity,
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Queues {
    queues: HashMap<(Source, u32), Queue>,
    /// Queues that hold something, each once; served in turn.
    ready: VecDeque<(Source, u32)>,
    woken: bool,
}

#[derive(Debug, Default)]
struct Queue {
    /// Counts the assignments of the partition: what an earlier one still delivers is discarded.
    session: u64,
    waiting: VecDeque<What>,
    bytes: usize,
    /// Full until it was half emptied, so that pausing and resuming do not alternate with every record.
    full: bool,
}

/// Records taken from one queue before the next has its turn.
const TURN: usize = 64;

impl Inbox {
    /// An inbox whose partitions are dealt to `lanes` lanes (partition modulo lanes).
    ///
    /// # Panics
    ///
    /// Without lanes, or with a capacity of nothing.
    pub fn new(capacity: Capacity, lanes: usize) -> Arc<Self> {
        assert!(lanes > 0 && capacity.records > 0 && capacity.bytes > 0, "an inbox needs lanes and room");
        Arc::new(Self { capacity, lanes: (0..lanes).map(|_| Lane::default()).collect() })
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of a partition.
    pub fn lane_of(&self, partition: u32) -> usize {
        partition as usize % self.lanes.len()
    }

    /// What has arrived in a lane, at most `max`, waiting up to `timeout` for the first. In order for each source and partition; partitions
    /// take turns. Empty after the timeout or a wake-up.
    pub fn receive(&self, lane: usize, max: usize, timeout: Duration) -> Vec<Arrival> {
        let deadline = Instant::now() + timeout;
        let lane = &self.lanes[lane];
        let mut queues = lane.lock();
        while queues.ready.is_empty() && !queues.woken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queues = lane.arrived.wait_timeout(queues, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queues.woken = false;
        queues.take(max, self.capacity)
    }

    /// Makes the current or next wait of a lane return.
    pub fn wake(&self, lane: usize) {
        self.lanes[lane].lock().woken = true;
        self.lanes[lane].arrived.notify_all();
    }

    /// A new assignment of a partition begins: empties its queue. What is offered under an earlier session is discarded.
    pub(crate) fn begin(&self, source: Source, partition: u32) -> u64 {
        let mut queues = self.lane(partition).lock();
        queues.ready.retain(|key| *key != (source, partition));
        let queue = queues.queues.entry((source, partition)).or_default();
        let session = queue.session + 1;
        *queue = Queue { session, ..Queue::default() };
        session
    }

    /// Queues what arrived. Says whether the queue wants more; if not, the partition is to be paused until [`wants_more`](Self::wants_more).
    pub(crate) fn offer(&self, source: Source, partition: u32, session: u64, what: What) -> bool {
        let lane = self.lane(partition);
        let mut queues = lane.lock();
        let queue = queues.queues.entry((source, partition)).or_default();
        if queue.session != session {
            return true;
        }
        queue.bytes += bytes(&what);
        queue.waiting.push_back(what);
        queue.full |= queue.waiting.len() >= self.capacity.records || queue.bytes >= self.capacity.bytes;
        let wants_more = !queue.full;
        let first = queue.waiting.len() == 1;
        if first {
            queues.ready.push_back((source, partition));
        }
        drop(queues);
        if first {
            lane.arrived.notify_one();
        }
        wants_more
    }

    /// The session of a partition, for what is offered outside the order of its records.
    pub(crate) fn session(&self, source: Source, partition: u32) -> u64 {
        self.lane(partition).lock().queues.entry((source, partition)).or_default().session
    }

    /// Whether a queue that was full has been half emptied.
    pub(crate) fn wants_more(&self, source: Source, partition: u32) -> bool {
        self.lane(partition).lock().queues.get(&(source, partition)).is_none_or(|queue| !queue.full)
    }

    fn lane(&self, partition: u32) -> &Lane {
        &self.lanes[self.lane_of(partition)]
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Every change is made under one lock and completed in it, so a panic elsewhere leaves the queues whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn take(&mut self, max: usize, capacity: Capacity) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        while arrivals.len() < max
            && let Some((source, partition)) = self.ready.pop_front()
        {
            let queue = self.queues.get_mut(&(source, partition)).expect("a ready queue exists");
            let turn = queue.waiting.len().min(TURN).min(max - arrivals.len());
            for what in queue.waiting.drain(..turn) {
                queue.bytes -= bytes(&what);
                arrivals.push(Arrival { source, partition, what });
            }
            queue.full &= queue.waiting.len() > capacity.records / 2 || queue.bytes > capacity.bytes / 2;
            if !queue.waiting.is_empty() {
                self.ready.push_back((source, partition));
            }
        }
        arrivals
    }
}

fn bytes(what: &What) -> usize {
    match what {
        What::Stored(record) => record.value.len() + record.key.len(),
        What::HighWatermark { .. } | What::Lost(_) => 0,
    }
}

#[cfg(test)]
mod tests;
