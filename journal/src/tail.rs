//! Accepted commits, for everybody who does not write: projections, the API's waiters, replay.
//!
//! A [`Tail`] reads all partitions through the rule and hands out what was accepted, each commit once and in the order of its chain; there
//! is no order between partitions. It pulls: nothing is read ahead beyond the bounded queues, so a slow reader slows its consumer and nobody
//! else. A partition that breaks is reported once and left alone; the others go on.
//!
//! It is to be driven by one thread. [`Tail::waker`] lets another thread end the wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::record::{Commit, Header, Takeover};

use crate::follower::{Followed, Follower, NotThisChain, StoredReader};
use crate::inbox::{Capacity, Inbox};
use crate::log::{Arrival, Consumer, Log, LogError, Source, Stored, What};
use crate::rule::{Broken, ReaderState, VoidReason};
use crate::topics::Journal;

/// Something that the tail has to tell about a partition.
#[derive(Debug)]
pub struct TailEvent {
    /// Which partition.
    pub partition: u32,
    /// What.
    pub what: Told,
}

/// What the tail tells.
#[derive(Debug)]
pub enum Told {
    /// A commit was accepted.
    Commit(Box<Followable<Commit>>),
    /// A takeover was accepted.
    Takeover(Box<Followable<Takeover>>),
    /// A record without effect; told only by a tail [that shows them](Tail::showing_voids).
    Void {
        /// Its Kafka offset.
        offset: i64,
        /// Why it has none.
        reason: VoidReason,
    },
    /// The partition cannot be read any further. Told once.
    Broken(Broken),
}

/// An accepted record and the reader behind it.
#[derive(Debug)]
pub struct Followable<R> {
    /// Its Kafka offset.
    pub offset: i64,
    /// Its Kafka time, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The record.
    pub record: R,
    /// To be stored by whoever has applied the record, in the same transaction.
    pub after: StoredReader,
}

/// Where the tail stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which partition.
    pub partition: u32,
    /// What was accepted and handed out.
    pub state: ReaderState,
    /// Records between it and the high watermark last heard of; none before the first answer. A lag of 0 is as old as the question.
    pub lag: Option<u64>,
    /// The question, see [`Tail::ask_high_watermarks`], that the lag answers.
    pub asked: u64,
    /// Why it stopped, if it did.
    pub broken: Option<Broken>,
}

/// A tail could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The consumer could not be made.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A stored reader is of another generation or has a partition that the journal has not.
    #[error(transparent)]
    NotThisChain(#[from] NotThisChain),
    /// The topic is not this journal's.
    #[error("topic {topic} has {found} partitions, the journal has {expected}")]
    Partitions {
        /// The topic.
        topic: String,
        /// What it has.
        found: u32,
        /// What the journal has.
        expected: u32,
    },
}

/// Reads all partitions of a journal; see the module.
pub struct Tail {
    inbox: Arc<Inbox>,
    consumer: Box<dyn Consumer>,
    partitions: Vec<Partition>,
    asks: u64,
    shows_voids: bool,
}

struct Partition {
    follower: Follower,
    high: Option<(u64, i64)>,
}

const JOURNAL: Source = Source(0);

impl Tail {
    /// Reads every partition of the journal, those in `stored` from where they were stored, the others from their beginning.
    ///
    /// # Errors
    ///
    /// When the topic or a stored reader is not this journal's, or the consumer cannot be made.
    pub fn open(log: &dyn Log, journal: &Journal, stored: &[StoredReader], capacity: Capacity) -> Result<Self, TailError> {
        if log.partitions() != journal.all_partitions() {
            let topic = log.topic().to_owned();
            return Err(TailError::Partitions { topic, found: log.partitions(), expected: journal.all_partitions() });
        }
        if let Some(stray) = stored.iter().find(|stored| stored.state.partition >= journal.all_partitions()) {
            return Err(NotThisChain { stored: Box::new(stray.state), chain: Box::new(journal.genesis(journal.platform())) }.into());
        }
        let mut partitions = Vec::new();
        for partition in 0..journal.all_partitions() {
            let stored = stored.iter().find(|stored| stored.state.partition == partition).copied();
            partitions.push(Partition { follower: Follower::new(journal.genesis(partition), stored)?, high: None });
        }
        let inbox = Inbox::new(capacity, 1);
        let consumer = log.open_consumer(JOURNAL, &inbox)?;
        for (partition, held) in (0..).zip(&partitions) {
            consumer.assign(partition, held.follower.read_from());
        }
        let mut tail = Self { inbox, consumer, partitions, asks: 0, shows_voids: false };
        tail.ask_high_watermarks();
        Ok(tail)
    }

    /// Tells void records, too: for auditors.
    #[must_use]
    pub fn showing_voids(mut self) -> Self {
        self.shows_voids = true;
        self
    }

    /// What has arrived, waiting up to `timeout` for the first: at most `max` records were read for it. Empty after the timeout, after a
    /// wake-up, or when nothing that arrived was worth telling.
    pub fn next(&mut self, max: usize, timeout: Duration) -> Vec<TailEvent> {
        let mut told = Vec::new();
        for arrival in self.inbox.receive(0, max, timeout) {
            self.arrived(arrival, &mut told);
        }
        told
    }

    /// Like [`next`](Self::next), but goes on until something is worth telling or the deadline has passed.
    pub fn next_before(&mut self, max: usize, deadline: Instant) -> Vec<TailEvent> {
        loop {
            let told = self.next(max, deadline.saturating_duration_since(Instant::now()));
            if !told.is_empty() || Instant::now() >= deadline {
                return told;
            }
        }
    }

    /// Asks the broker for all high watermarks; the answers show in [`standing`](Self::standing) while [`next`](Self::next) is called.
    /// Returns the number of the question.
    pub fn ask_high_watermarks(&mut self) -> u64 {
        self.asks += 1;
        for (partition, _) in (0..).zip(&self.partitions) {
            self.consumer.ask_high_watermark(partition, self.asks);
        }
        self.asks
    }

    /// Where it stands in each partition.
    pub fn standing(&self) -> Vec<Standing> {
        (0..).zip(&self.partitions).map(|(partition, held)| held.standing(partition)).collect()
    }

    /// Whether every partition that is not broken has been read to high watermarks answered to question `asked` or a later one.
    pub fn has_reached(&self, asked: u64) -> bool {
        (0..)
            .zip(&self.partitions)
            .map(|(partition, held)| held.standing(partition))
            .all(|at| at.broken.is_some() || (at.asked >= asked && at.lag == Some(0)))
    }

    /// What to store for a partition to go on behind everything handed out.
    pub fn stored(&self, partition: u32) -> Option<StoredReader> {
        self.partitions.get(partition as usize).map(|held| held.follower.stored())
    }

    /// For another thread that wants [`next`](Self::next) to return at once.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.inbox))
    }

    fn arrived(&mut self, Arrival { partition, what, .. }: Arrival, told: &mut Vec<TailEvent>) {
        let Some(held) = self.partitions.get_mut(partition as usize) else { return };
        if held.follower.broken().is_some() {
            return;
        }
        let mut tell = |what| told.push(TailEvent { partition, what });
        let found = match &what {
            What::Stored(record) => match held.follower.read(record.offset, &record.value) {
                Followed::Accepted(accepted) => {
                    let after = held.follower.stored();
                    tell(match accepted {
                        Header::Commit(link) => Told::Commit(Followable::boxed(record, link.into_owned(), after)),
                        Header::Takeover(takeover) => Told::Takeover(Followable::boxed(record, takeover, after)),
                    });
                    return;
                }
                Followed::Void(reason, _) => {
                    if self.shows_voids {
                        tell(Told::Void { offset: record.offset, reason });
                    }
                    return;
                }
                found => found,
            },
            What::HighWatermark { ask, high } => {
                held.high = Some((*ask, *high));
                match held.follower.ends_at(*high) {
                    Some(found) => found,
                    None => return,
                }
            }
            What::Lost(reason) => held.follower.lost(reason),
        };
        match found {
            Followed::Broken(broken) => {
                self.consumer.unassign(partition);
                tell(Told::Broken(broken));
            }
            Followed::Restart => {
                self.consumer.assign(partition, held.follower.read_from());
                self.consumer.ask_high_watermark(partition, self.asks);
            }
            Followed::Passed | Followed::Void(..) | Followed::Accepted(_) => {}
        }
    }
}

impl Partition {
    fn standing(&self, partition: u32) -> Standing {
        let lag = self.high.map(|(_, high)| u64::try_from(high - self.follower.next_offset()).unwrap_or(0));
        Standing {
            partition,
            state: *self.follower.state(),
            lag,
            asked: self.high.map_or(0, |(asked, _)| asked),
            broken: self.follower.broken().cloned(),
        }
    }
}

impl<R> Followable<R> {
    fn boxed(stored: &Stored, record: R, after: StoredReader) -> Box<Self> {
        Box::new(Self { offset: stored.offset, timestamp_ms: stored.timestamp_ms, record, after })
    }
}

/// Ends the wait of a tail from another thread.
#[derive(Clone)]
pub struct Waker(Arc<Inbox>);

impl Waker {
    /// Makes the current or next wait return.
    pub fn wake(&self) {
        self.0.wake(0);
    }
}

#[cfg(test)]
mod tests;
