//! The thread that turns a decider on Kafka.
//!
//! A watchdog leaves the consumer group when the thread has not turned for two seconds, so that another decider is given its partitions at once;
//! safety never depends on it.

use super::{engine::Figures, snapshot::Snapshots, turning::Turning};
use chrono::Utc;
use domain::{command::Request, event::Event, refusal::Refusal};
use journal::{
    follower::NotThisChain,
    inbox::Inbox,
    log::{Log, LogError},
    membership::Membership,
    topics::Journal,
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// What arrives is taken in portions of this many records, so that no partition keeps the others waiting.
const PORTION: usize = 512;

/// The engine turns at least this often, for claims that become due.
const TICK: Duration = Duration::from_millis(50);

/// Without a turn for this long the process leaves the group.
const HUNG: Duration = Duration::from_secs(2);

/// Questions that may wait; beyond, a caller is told to come again.
const ADVICE: usize = 64;

/// The topics of a journal.
pub struct Topics {
    /// The journal itself.
    pub events: Box<dyn Log>,
    /// What people ask for.
    pub commands: Box<dyn Log>,
    /// What workers saw.
    pub reports: Box<dyn Log>,
}

/// Why a decider cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A topic cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A snapshot is of another journal.
    #[error(transparent)]
    NotThisChain(#[from] NotThisChain),
}

/// What would become of a command, and the seq at which that was true.
pub type Advice = (Result<Vec<Event>, Refusal>, u64);

type Question = (Request, oneshot::Sender<Option<Advice>>);

/// A running decider. Dropping it stops it: leads are given up, what is in flight is left to the log.
pub struct Decider {
    shared: Arc<Shared>,
    questions: SyncSender<Question>,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    /// Milliseconds since the start at which the engine last turned.
    turned: AtomicU64,
    started: Instant,
    membership: Mutex<Option<Box<dyn Membership>>>,
    status: Mutex<Status>,
}

/// What people may want to know of a decider.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Figures.
    pub figures: Figures,
    /// Partition, what it does there, seq read to, and what is wrong.
    pub partitions: Vec<(u32, &'static str, u64, Option<String>)>,
}

impl Decider {
    /// Starts a decider.
    pub fn start(
        journal: Journal,
        topics: Topics,
        membership: Box<dyn Membership>,
        snapshots: Box<dyn Snapshots>,
    ) -> Result<Self, StartError> {
        let turning = Turning::start(journal, topics, snapshots.as_ref(), Utc::now(), &mut rand::rng())?;
        let inbox = Arc::clone(turning.inbox());
        let (questions, asked) = sync_channel(ADVICE);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            turned: AtomicU64::new(0),
            started: Instant::now(),
            membership: Mutex::new(Some(membership)),
            status: Mutex::default(),
        });
        let running = Running { turning, shared: Arc::clone(&shared), asked, snapshots, saved: vec![0; journal.all_partitions() as usize] };
        let thread = spawn("decider", move || running.run());
        let watched = Arc::clone(&shared);
        let watchdog = spawn("decider-watchdog", move || watch(&watched));
        Ok(Self { shared, questions, inbox, thread: Some(thread), watchdog: Some(watchdog) })
    }

    /// Asks what would become of a command. None when the decider is too busy or cannot say.
    pub async fn advise(&self, request: Request) -> Option<Advice> {
        let (answer, advice) = oneshot::channel();
        match self.questions.try_send((request, answer)) {
            Ok(()) => self.inbox.wake(0),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return None,
        }
        advice.await.ok().flatten()
    }

    /// What it does at the moment.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// False when the engine has not turned for two seconds.
    pub fn is_alive(&self) -> bool {
        self.shared.idle() < HUNG && self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.inbox.wake(0);
        for thread in [self.thread.take(), self.watchdog.take()].into_iter().flatten() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the decider panicked");
            }
        }
    }
}

impl Shared {
    fn turn(&self) {
        self.turned.store(self.started.elapsed().as_millis() as u64, Ordering::Release);
    }

    fn idle(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.turned.load(Ordering::Acquire)))
    }
}

struct Running {
    turning: Turning,
    shared: Arc<Shared>,
    asked: Receiver<Question>,
    snapshots: Box<dyn Snapshots>,
    /// The seq of the last snapshot of each partition.
    saved: Vec<u64>,
}

/// A snapshot is taken after this many commits of a partition: folding them takes well under a second.
const SNAPSHOT_EVERY: u64 = 20_000;

impl Running {
    fn run(mut self) {
        let mut rng = rand::rng();
        let mut told = Instant::now();
        while !self.shared.stop.load(Ordering::Acquire) {
            let arrivals = self.turning.inbox().receive(0, PORTION, TICK);
            self.shared.turn();
            let now = Utc::now();
            let changes = lock(&self.shared.membership).as_mut().map(|membership| membership.changes()).unwrap_or_default();
            self.turning.turn(arrivals, &changes, now, &mut rng);
            while let Ok((request, answer)) = self.asked.try_recv() {
                // Whoever asked may be gone.
                drop(answer.send(self.turning.engine().advise(&request, now)));
            }
            if told.elapsed() >= Duration::from_millis(500) {
                told = Instant::now();
                self.tell();
                self.save();
            }
        }
        self.turning.resign();
        // Leaving the group hands the partitions on at once.
        lock(&self.shared.membership).take();
    }

    fn tell(&self) {
        let figures = self.turning.engine().figures();
        metrics::gauge!("cirrus_decider_led_partitions").set(figures.led as f64);
        metrics::gauge!("cirrus_decider_waiting_commands").set(figures.waiting as f64);
        metrics::gauge!("cirrus_decider_unobserved_commits").set(figures.unobserved as f64);
        metrics::gauge!("cirrus_decider_halted_partitions").set(figures.halted as f64);
        metrics::counter!("cirrus_decider_decided_total").absolute(figures.decided);
        let partitions =
            self.turning.engine().standing().map(|(p, phase, seq, problem)| (p, phase_name(phase), seq, problem.map(str::to_owned)));
        *lock(&self.shared.status) = Status { figures, partitions: partitions.collect() };
    }

    /// One partition at a time, the one with the most commits since its last snapshot.
    fn save(&mut self) {
        let due = self.turning.engine().standing().map(|(p, _, seq, _)| (seq - self.saved[p as usize].min(seq), p, seq)).max();
        if let Some((since, partition, seq)) = due
            && since >= SNAPSHOT_EVERY
            && let Some((stored, state)) = self.turning.engine().snapshot(partition)
        {
            self.saved[partition as usize] = seq;
            self.snapshots.save(partition, stored, state);
        }
    }
}

fn phase_name(phase: journal::writer::Phase) -> &'static str {
    use journal::writer::Phase;
    match phase {
        Phase::Following => "following",
        Phase::Taking => "taking",
        Phase::Leading => "leading",
        Phase::Stopped => "stopped",
    }
}

fn watch(shared: &Shared) {
    while !shared.stop.load(Ordering::Acquire) {
        std::thread::park_timeout(Duration::from_millis(250));
        if shared.idle() > HUNG
            && let Some(membership) = lock(&shared.membership).take()
        {
            tracing::error!("the decider has not turned for two seconds; leaving the group");
            drop(membership);
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread can be spawned")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded is replaced as a whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
