//! Sends a command and waits until its outcome has been read back from the journal.
//!
//! A delivery report says that a command lies on its topic, not what becomes of it; the outcome is a commit, found by the request id of this
//! one attempt. What is not answered is not lost: sent again under the same command id it finds the first outcome.
//!
//! One [`Caller`] a process: a thread drives its [`Tail`], callers wait on channels. [`Caller::pressure`] says when a partition takes no more
//! for the time being.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemas::command::CommandRecord;
use schemas::record::{Commit, Origin, Position};
use tokio::sync::oneshot;

use crate::environment::{Environment, System};
use crate::log::{Log, LogError, Sender};
use crate::tail::{Followable, Tail, Told};
use crate::topics::Journal;

/// Commands that may lie undecided in a partition before it takes no more.
pub const LAG: i64 = 2_000;

/// A partition takes no more while an own command has been unanswered for this long.
pub const UNANSWERED: Duration = Duration::from_secs(2);

/// Requests that may wait in one process.
const WAITERS: usize = 20_000;

/// What became of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Where its commit is.
    pub position: Position,
    /// Its commit.
    pub commit: Arc<Commit>,
}

/// Why there is no outcome to wait for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The partition takes no more for the time being.
    #[error("the partition has {lag} undecided commands")]
    Pressure {
        /// About how many.
        lag: i64,
    },
    /// The broker did not take it. It may still be written, so the same id has to be used again.
    #[error("the command is not known to be written: {0}")]
    Unknown(String),
    /// This process is shutting down, or its partition is broken.
    #[error("outcomes are not followed here any more")]
    Gone,
}

/// Sends commands and hands out their outcomes; see the module.
pub struct Caller {
    journal: Journal,
    commands: Arc<dyn Sender>,
    reports: Option<Arc<dyn Sender>>,
    environment: Arc<dyn Environment>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Follows the journal for a [`Caller`]: without its steps no outcome is seen.
pub struct Outcomes<F> {
    tail: Tail,
    seen: F,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
}

struct State {
    waiters: HashMap<String, Waiter>,
    partitions: Vec<Standing>,
}

struct Waiter {
    partition: u32,
    answer: oneshot::Sender<Result<Outcome, NotSent>>,
}

#[derive(Clone, Default)]
struct Standing {
    /// When each request was sent, oldest first; answered ones are dropped when they come to the front.
    sent: VecDeque<(Instant, String)>,
    /// First offset of the commands topic known not to be written.
    written: i64,
    /// First offset of it without a commit.
    undecided: i64,
    broken: bool,
}

/// Waits for one outcome. Dropping it forgets the wait, not the command.
pub struct Awaiting {
    request: String,
    answer: oneshot::Receiver<Result<Outcome, NotSent>>,
    shared: Arc<Shared>,
}

impl Caller {
    /// A caller over the commands topic and, for Cirrus' own parts, the reports topic, with a thread that follows the journal. `seen` is told of
    /// every commit, in the order of its chain, on that thread: it must not block.
    ///
    /// # Errors
    ///
    /// When a client cannot be made.
    pub fn start(
        journal: Journal,
        commands: &dyn Log,
        reports: Option<&dyn Log>,
        tail: Tail,
        seen: impl FnMut(&Followable<Commit>) + Send + 'static,
    ) -> Result<Self, LogError> {
        let (mut caller, mut outcomes) = Self::stepped(journal, commands, reports, tail, seen, Arc::new(System))?;
        let run = move || {
            while !outcomes.shared.stop.load(Ordering::Acquire) {
                outcomes.step(Duration::from_millis(200));
            }
        };
        caller.thread = Some(std::thread::Builder::new().name("outcomes".to_owned()).spawn(run).expect("a thread can be spawned"));
        Ok(caller)
    }

    /// The same without a thread: whoever asks for it takes the steps.
    ///
    /// # Errors
    ///
    /// When a client cannot be made.
    pub fn stepped<F: FnMut(&Followable<Commit>)>(
        journal: Journal,
        commands: &dyn Log,
        reports: Option<&dyn Log>,
        tail: Tail,
        seen: F,
        environment: Arc<dyn Environment>,
    ) -> Result<(Self, Outcomes<F>), LogError> {
        let partitions = vec![Standing::default(); journal.all_partitions() as usize];
        let state = Mutex::new(State { waiters: HashMap::new(), partitions });
        let shared = Arc::new(Shared { state, stop: AtomicBool::new(false) });
        let commands = commands.open_sender()?;
        let reports = reports.map(Log::open_sender).transpose()?;
        let outcomes = Outcomes { tail, seen, shared: Arc::clone(&shared) };
        Ok((Self { journal, commands, reports, environment, shared, thread: None }, outcomes))
    }

    /// Its time, waiting and chance.
    pub fn environment(&self) -> &Arc<dyn Environment> {
        &self.environment
    }

    /// Refuses while a partition has too much to decide, or does not answer.
    pub fn pressure(&self, partition: u32) -> Result<(), NotSent> {
        let mut state = self.shared.lock();
        let State { waiters, partitions } = &mut *state;
        let Some(standing) = partitions.get_mut(partition as usize).filter(|s| !s.broken) else { return Err(NotSent::Gone) };
        let lag = standing.written - standing.undecided;
        while standing.sent.front().is_some_and(|(_, request)| !waiters.contains_key(request)) {
            standing.sent.pop_front();
        }
        let slow = standing.sent.front().is_some_and(|(since, _)| since.elapsed() > UNANSWERED);
        if lag > LAG || waiters.len() >= WAITERS || slow { Err(NotSent::Pressure { lag }) } else { Ok(()) }
    }

    /// Sends a command and waits for its outcome. The request id must be of this attempt alone.
    pub fn call(&self, origin: Origin, record: &CommandRecord) -> Awaiting {
        let partition = self.journal.partition_of(record.tenant);
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            state.waiters.insert(record.request.clone(), Waiter { partition, answer });
            state.partitions[partition as usize].sent.push_back((Instant::now(), record.request.clone()));
        }
        let awaiting = Awaiting { request: record.request.clone(), answer: receiver, shared: Arc::clone(&self.shared) };
        let sender = match origin {
            Origin::Commands => Some(&self.commands),
            Origin::Reports => self.reports.as_ref(),
        };
        let Some(sender) = sender else {
            self.shared.answer(&record.request, Err(NotSent::Gone));
            return awaiting;
        };
        let (shared, request) = (Arc::clone(&self.shared), record.request.clone());
        let delivered = move |result: Result<i64, crate::log::SendError>| match result {
            Ok(offset) if origin == Origin::Commands => {
                let mut state = shared.lock();
                let standing = &mut state.partitions[partition as usize];
                standing.written = standing.written.max(offset + 1);
                // Until the first commit is seen, what lay there before this process began counts as decided.
                if standing.undecided == 0 {
                    standing.undecided = offset;
                }
            }
            Ok(_) => {}
            Err(e) => shared.answer(&request, Err(NotSent::Unknown(e.reason))),
        };
        let timestamp = self.environment.now().timestamp_millis();
        let key = record.tenant.map(|t| *t.0.as_bytes());
        sender.send(partition, key.as_ref().map(|k| &k[..]), timestamp, &record.encode(), Box::new(delivered));
        awaiting
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows outcomes panicked");
        }
    }
}

impl Awaiting {
    /// The outcome.
    ///
    /// # Errors
    ///
    /// When the command was not sent, or its outcome cannot be seen here.
    pub async fn outcome(mut self) -> Result<Outcome, NotSent> {
        (&mut self.answer).await.unwrap_or(Err(NotSent::Gone))
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.shared.lock().waiters.remove(&self.request);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one insertion or removal, so a panic elsewhere leaves the maps whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &str, answer: Result<Outcome, NotSent>) {
        let waiter = self.lock().waiters.remove(request);
        if let Some(waiter) = waiter {
            // The caller may have gone away meanwhile.
            drop(waiter.answer.send(answer));
        }
    }
}

impl<F: FnMut(&Followable<Commit>)> Outcomes<F> {
    /// Reads what has arrived, waiting up to `timeout` for the first, and answers who waits for it.
    pub fn step(&mut self, timeout: Duration) {
        let Self { tail, seen, shared } = self;
        for event in tail.next(500, timeout) {
            match event.what {
                Told::Commit(told) => {
                    seen(&told);
                    let Some(command) = &told.record.command else { continue };
                    if command.origin == Origin::Commands {
                        let standing = &mut shared.lock().partitions[event.partition as usize];
                        standing.undecided = standing.undecided.max(command.offset + 1);
                        standing.written = standing.written.max(command.offset + 1);
                    }
                    let request = command.request.clone();
                    if shared.lock().waiters.contains_key(&request) {
                        let position = told.after.state.position();
                        shared.answer(&request, Ok(Outcome { position, commit: Arc::new(told.record) }));
                    }
                }
                Told::Broken(broken) => {
                    tracing::error!(partition = event.partition, %broken, "the journal is broken; outcomes of this partition are not seen");
                    let mut state = shared.lock();
                    state.partitions[event.partition as usize].broken = true;
                    state.waiters.retain(|_, w| w.partition != event.partition);
                }
                Told::Takeover(_) | Told::Void { .. } => {}
            }
        }
    }
}
