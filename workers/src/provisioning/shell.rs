//! The running worker of one place: takes open work, runs rounds, waits, and looks again.

use super::{
    plan::Job,
    round::{Ended, Reporter, Round, report_id},
};
use crate::provider::Provider;
use chrono::TimeDelta;
use domain::{
    command::Command,
    id::{IntentId, ZoneName},
};
use futures::future::BoxFuture;
use journal::environment::Environment;
use projections::open_work::ByDeadline;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

/// The inbox is read again at least this often, so that a lost wake-up costs no more than this.
const RESCAN: Duration = Duration::from_secs(5);

/// Two readings of the inbox are at least this far apart.
const BREATH: Duration = Duration::from_millis(10);

/// After a report the inbox may lag this long behind the log before the same step is looked at again all the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// Jobs read from the inbox at a time.
const PAGE: u32 = 500;

/// A step in the inbox.
#[derive(Debug, Clone)]
pub struct Open {
    /// What is to be done.
    pub job: Job,
    /// The seq of its chain at which this was so.
    pub seq: u64,
    /// Its place in the list.
    pub place: ByDeadline,
}

/// Where a place's open work comes from: a read model in production, a fold in the simulation.
pub trait Inbox: Send + Sync {
    /// Open steps of a place (a zone, or what has none) behind `after`, at most `limit`, in an order that never changes.
    fn open<'a>(
        &'a self,
        zone: Option<&'a ZoneName>,
        after: Option<ByDeadline>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Open>, Unreadable>>;
}

/// The inbox cannot be read now; it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("the open work cannot be read: {0}")]
pub struct Unreadable(pub String);

/// One worker: its place, its means, its limits.
pub struct Worker {
    /// The zone that it serves; none for what belongs to the region.
    pub zone: Option<ZoneName>,
    /// The region's name at the provider.
    pub region: String,
    /// Its name in announcements; no two processes share one.
    pub name: String,
    /// Where work comes from.
    pub inbox: Arc<dyn Inbox>,
    /// What makes it.
    pub provider: Arc<dyn Provider>,
    /// Where reports go.
    pub reporter: Arc<dyn Reporter>,
    /// Time, waiting and chance.
    pub environment: Arc<dyn Environment>,
    /// The most steps worked on at a time.
    pub concurrency: usize,
}

/// What a worker remembers of a step between rounds. Forgetting it costs a look, nothing else.
#[derive(Debug, Clone)]
struct Later {
    /// Not before, by the worker's uptime.
    at: Duration,
    /// Rounds in a row that failed.
    failures: u32,
    /// The inbox has to have passed this seq, or this much time.
    passed: Option<(u64, Duration)>,
}

impl Worker {
    /// Runs until `stop` says so; rounds that have begun are finished.
    pub async fn run(self, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        let this = Arc::new(self);
        let mut running: JoinSet<(Job, Ended)> = JoinSet::new();
        let mut busy: HashSet<IntentId> = HashSet::new();
        let mut later: HashMap<IntentId, Later> = HashMap::new();
        while !*stop.borrow() {
            let now = this.environment.uptime();
            let open = this.start_rounds(&mut running, &mut busy, &later).await;
            later.retain(|intent, _| open.contains(intent) || busy.contains(intent));
            let next = later.values().map(|l| l.at).filter(|at| *at > now).min().unwrap_or(now + RESCAN).min(now + RESCAN);
            tokio::select! {
                biased;
                () = wake.notified() => {}
                () = this.environment.sleep(next.max(now + BREATH).saturating_sub(this.environment.uptime())) => {}
                Some(ended) = running.join_next(), if !running.is_empty() => this.ended(ended, &mut busy, &mut later),
                _ = stop.changed() => {}
            }
            while let Some(ended) = running.try_join_next() {
                this.ended(ended, &mut busy, &mut later);
            }
            this.environment.sleep((now + BREATH).saturating_sub(this.environment.uptime())).await;
        }
        while running.join_next().await.is_some() {}
    }

    /// Starts rounds for what is open and due, as far as there is room. Gives all that is open.
    async fn start_rounds(
        self: &Arc<Self>,
        running: &mut JoinSet<(Job, Ended)>,
        busy: &mut HashSet<IntentId>,
        later: &HashMap<IntentId, Later>,
    ) -> HashSet<IntentId> {
        let mut open = HashSet::new();
        let mut last: Option<ByDeadline> = None;
        loop {
            let page = match self.inbox.open(self.zone.as_ref(), last, PAGE).await {
                Ok(page) => page,
                Err(problem) => {
                    tracing::warn!(worker = self.name, %problem, "{problem}");
                    return later.keys().copied().collect();
                }
            };
            let now = self.environment.uptime();
            for Open { job, seq, .. } in &page {
                open.insert(job.intent);
                let waits = later.get(&job.intent).is_some_and(|l| {
                    let stale = l.passed.is_some_and(|(passed, since)| *seq < passed && now < since + PATIENCE);
                    l.at > now || stale
                });
                if waits || running.len() >= self.concurrency || !busy.insert(job.intent) {
                    continue;
                }
                let (this, job) = (Arc::clone(self), job.clone());
                running.spawn(async move { (job.clone(), this.round(job).await) });
            }
            if page.len() < PAGE as usize {
                return open;
            }
            last = page.last().map(|open| open.place);
        }
    }

    async fn round(&self, job: Job) -> Ended {
        let round = Round {
            provider: self.provider.as_ref(),
            place: self.zone.as_ref().map_or(self.region.as_str(), ZoneName::as_str),
            reporter: self.reporter.as_ref(),
            worker: &self.name,
        };
        let ended = round.run(job.clone()).await;
        // A tenant reads why it takes long; the log need not hold each of a hundred equal attempts.
        if let Ended::Again { failed: Some(problem), .. } = &ended
            && (job.attempts + 1).is_power_of_two()
        {
            tracing::warn!(worker = self.name, resource = %job.resource, problem, "an attempt failed: {problem}");
            let attempts = job.attempts + 1;
            let report = Command::ReportAttempt { resource: job.resource, intent: job.intent, attempts, problem: problem.clone() };
            self.reporter.report(&job, report_id(&job, "attempt", &attempts.to_string()), report).await;
        }
        ended
    }

    fn ended(
        &self,
        ended: Result<(Job, Ended), tokio::task::JoinError>,
        busy: &mut HashSet<IntentId>,
        later: &mut HashMap<IntentId, Later>,
    ) {
        let (job, ended) = match ended {
            Ok(ended) => ended,
            Err(problem) => {
                // The step of a round that panicked stays busy until the worker restarts: it would only panic again.
                tracing::error!(worker = self.name, %problem, "a round panicked");
                return;
            }
        };
        busy.remove(&job.intent);
        let now = self.environment.uptime();
        let failures = later.get(&job.intent).map_or(0, |l| l.failures);
        let next = match ended {
            Ended::Over(seq) => Later { at: now, failures: 0, passed: Some((seq, now)) },
            Ended::Again { at, failed } => {
                let failures = if failed.is_some() { failures + 1 } else { 0 };
                let asked = (at - self.reporter.now()).to_std().unwrap_or_default();
                Later { at: now + asked.max(self.backoff(failures)), failures, passed: None }
            }
        };
        later.insert(job.intent, next);
    }

    /// Half a second doubling to a minute, spread by half to either side so that many steps do not come back at once.
    fn backoff(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let base = TimeDelta::milliseconds(250 << failures.min(8)).to_std().unwrap_or_default().min(Duration::from_secs(60));
        let chance = self.environment.draw().as_bytes()[15];
        base.mul_f64(0.5 + f64::from(chance) / 256.0)
    }
}
