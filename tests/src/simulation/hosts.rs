//! A process that sends commands or reports: an API, or a worker with what goes on by itself. Killing it drops its runtime with all its tasks.

use super::{
    network::{JOURNAL, Network, View},
    provider::Far,
    shown::Shown,
    time::{Local, Time},
};
use chrono::{DateTime, TimeDelta, Utc};
use journal::{
    caller::{Caller, NotSent, Outcome, Outcomes},
    follower::StoredReader,
    inbox::Capacity,
    tail::{Followable, Tail},
};
use rand::{RngExt, rngs::StdRng};
use schemas::{
    command::CommandRecord,
    record::{Commit, Origin},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, watch},
    task::JoinHandle,
};
use workers::{
    processes::Processes,
    provisioning::{reporter::JournalReporter, shell::Worker},
};

pub struct Host {
    /// First: with it all tasks go.
    runtime: Runtime,
    pub environment: Arc<Local>,
    view: View,
    caller: Arc<Caller>,
    outcomes: Outcomes<fn(&Followable<Commit>)>,
    tasks: Vec<JoinHandle<()>>,
    /// For ever: nobody stops a worker but its end.
    stop: watch::Sender<bool>,
    pub paused_until: DateTime<Utc>,
}

/// What one attempt came to, once it is known.
pub type Answer = Arc<Mutex<Option<Result<Outcome, NotSent>>>>;

impl Host {
    /// A process that follows the journal from where the read models were.
    pub fn start(network: &Network, stored: &[StoredReader], time: &Time, skew: TimeDelta, seed: u64) -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        let environment = Local::new(time, skew, seed);
        let view = network.view();
        let tail = Tail::open(&view.events, &JOURNAL, stored, Capacity::default()).unwrap();
        let ignore: fn(&Followable<Commit>) = |_| {};
        let environment_of_caller = Arc::clone(&environment);
        let (caller, outcomes) =
            Caller::stepped(JOURNAL, &view.commands, Some(&view.reports), tail, ignore, environment_of_caller).unwrap();
        let (stop, _) = watch::channel(false);
        Self { runtime, environment, view, caller: Arc::new(caller), outcomes, tasks: Vec::new(), stop, paused_until: time.now() }
    }

    /// From now on it is a worker, too.
    pub fn work(&mut self, name: &str, shown: &Shown, far: &Far) {
        let worker = Worker {
            zone: Some("az1".parse().unwrap()),
            region: "r".into(),
            name: name.to_owned(),
            inbox: Arc::new(shown.clone()),
            provider: Arc::new(far.from(name, &self.environment)),
            reporter: Arc::new(JournalReporter::new(Arc::clone(&self.caller), name)),
            environment: Arc::clone(self.caller.environment()),
            concurrency: 8,
        };
        let reporter = JournalReporter::new(Arc::clone(&self.caller), format!("processes of {name}"));
        let processes = Processes { schedule: Arc::new(shown.clone()), reporter };
        self.tasks.push(self.runtime.spawn(worker.run(Arc::new(Notify::new()), self.stop.subscribe())));
        self.tasks.push(self.runtime.spawn(processes.run(Arc::new(Notify::new()), self.stop.subscribe())));
    }

    /// Sends a command; its outcome comes into the answer while the process lives.
    pub fn call(&self, origin: Origin, record: &CommandRecord) -> (Answer, JoinHandle<()>) {
        let answer = Answer::default();
        let (awaiting, slot) = (self.caller.call(origin, record), Arc::clone(&answer));
        let task = self.runtime.spawn(async move {
            let outcome = awaiting.outcome().await;
            *slot.lock().unwrap() = Some(outcome);
        });
        (answer, task)
    }

    /// Reads what it happens to read and runs every task as far as it goes.
    pub fn turn(&mut self, random: &mut StdRng, slow: bool) {
        self.view.events.read(if slow { random.random_range(0..8) } else { 1_000 });
        self.outcomes.step(Duration::ZERO);
        self.runtime.block_on(async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
        assert!(self.tasks.iter().all(|task| !task.is_finished()), "a worker has ended by itself");
    }
}
