//! The journal as batches, decoded on a thread of its own.
//!
//! The thread pulls from the tail and hands batches over a bounded channel. Whoever applies them slowly fills the channel, the thread stops
//! pulling, the tail's queues fill, and the broker is asked for no more.

use crate::commit::{Applied, Batch};
use journal::{
    follower::StoredReader,
    inbox::Capacity,
    log::Log,
    rule::Broken,
    tail::{Standing, Tail, TailError, TailEvent, Told, Waker},
    topics::Journal,
};
use schemas::record::Position;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Records in one batch at most: enough that a transaction is worth its commit, few enough that the first waits milliseconds.
pub const BATCH: usize = 500;

/// Batches decoded ahead.
const AHEAD: usize = 2;

/// How often the ends of the partitions are asked for, so that lag is known.
const ASK: Duration = Duration::from_secs(1);

/// What the journal brought.
#[derive(Debug, Default)]
pub struct Arrived {
    /// One batch a partition.
    pub batches: Vec<Batch>,
    /// Partitions that cannot be read any further.
    pub broken: Vec<(u32, Broken)>,
}

/// Reads the journal; see the module. Dropping it stops the thread.
pub struct Source {
    arrived: mpsc::Receiver<Arrived>,
    standing: watch::Receiver<Vec<Standing>>,
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Source {
    /// Begins to read behind `from`; up to exactly `until` where it is given.
    ///
    /// # Errors
    ///
    /// When the topic or a stored reader is not this journal's.
    pub fn open(
        log: &dyn Log,
        journal: &Journal,
        from: &[StoredReader],
        until: Option<BTreeMap<u32, Position>>,
    ) -> Result<Self, TailError> {
        let tail = Tail::open(log, journal, from, Capacity::default())?;
        let (send, arrived) = mpsc::channel(AHEAD);
        let (show, standing) = watch::channel(tail.standing());
        let stop = Arc::new(AtomicBool::new(false));
        let waker = tail.waker();
        let reading = Reading { tail, generation: journal.generation, until, send, show, stop: Arc::clone(&stop) };
        thread::Builder::new().name("projections".to_owned()).spawn(|| reading.run()).expect("the system can start a thread");
        Ok(Self { arrived, standing, stop, waker })
    }

    /// What has arrived next. None once it was stopped and everything before has been handed over.
    pub async fn next(&mut self) -> Option<Arrived> {
        self.arrived.recv().await
    }

    /// Where the tail stands in each partition, ahead of what was handed over.
    pub fn standing(&self) -> Vec<Standing> {
        self.standing.borrow().clone()
    }

    /// Reads no more; what was read is still handed over.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
        self.arrived.close();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Reading {
    tail: Tail,
    generation: u32,
    until: Option<BTreeMap<u32, Position>>,
    send: mpsc::Sender<Arrived>,
    show: watch::Sender<Vec<Standing>>,
    stop: Arc<AtomicBool>,
}

impl Reading {
    fn run(mut self) {
        let mut asked = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            if asked.elapsed() >= ASK {
                self.tail.ask_high_watermarks();
                asked = Instant::now();
            }
            let told = self.tail.next(BATCH, ASK);
            let arrived = self.gather(told);
            self.show.send_replace(self.tail.standing());
            if !(arrived.batches.is_empty() && arrived.broken.is_empty()) && self.send.blocking_send(arrived).is_err() {
                return;
            }
        }
    }

    fn gather(&self, told: Vec<TailEvent>) -> Arrived {
        let mut batches: BTreeMap<u32, Batch> = BTreeMap::new();
        let mut broken = Vec::new();
        for TailEvent { partition, what } in told {
            let (after, commit) = match what {
                Told::Commit(followed) => (followed.after, Some(followed.record)),
                Told::Takeover(followed) => (followed.after, None),
                Told::Broken(why) => {
                    broken.push((partition, why));
                    continue;
                }
                Told::Void { .. } => continue,
            };
            let beyond = |until: &Position| after.state.seq > until.seq;
            if self.until.as_ref().is_some_and(|until| until.get(&partition).is_none_or(beyond)) {
                continue;
            }
            let batch = batches.entry(partition).or_insert_with(|| Batch { from: after.state.seq - 1, commits: Vec::new(), after });
            batch.after = after;
            batch.commits.extend(commit.map(|commit| Applied::decode(self.generation, partition, commit)));
        }
        Arrived { batches: batches.into_values().collect(), broken }
    }
}
