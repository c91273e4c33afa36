//! One round for one step: look, plan, announce, call, report.

use super::plan::{Call, Job, Next, Seen, Task, plan, provider_name};
use crate::provider::{Filter, Object, Outcome, Provider};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    command::Command,
    event::{CommandEvent, Event},
    id::CommandId,
    refusal::Refusal,
    resource::Pending,
};
use futures::future::BoxFuture;
use uuid::Uuid;

/// How long a worker waits for the answer to one call.
pub const CALL: TimeDelta = TimeDelta::seconds(30);

/// A look may take this long.
const LOOK: TimeDelta = TimeDelta::seconds(30);

/// What a report came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// It is on the log at this seq of the tenant's chain.
    Accepted(u64),
    /// The decider refused it, on the log at this seq.
    Refused(Refusal, u64),
    /// Nobody knows; the same report may be sent again.
    Unknown,
}

/// Sends reports and waits until their outcome has been read back.
pub trait Reporter: Send + Sync {
    /// Reports about a tenant's resource. The id makes a repeated report the same one.
    fn report<'a>(&'a self, job: &'a Job, id: CommandId, command: Command) -> BoxFuture<'a, Reported>;

    /// The time.
    fn now(&self) -> DateTime<Utc>;
}

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The step is not open any more as of this seq.
    Over(u64),
    /// Another round is due at this time; `failed` says whether an attempt failed.
    Again {
        /// When.
        at: DateTime<Utc>,
        /// True when it is to be counted against the step.
        failed: Option<String>,
    },
}

/// Does what can be done for a step now.
pub struct Round<'a> {
    /// The provider of the place.
    pub provider: &'a dyn Provider,
    /// The place's name at the provider: a zone, or the region.
    pub place: &'a str,
    /// Where reports go.
    pub reporter: &'a dyn Reporter,
    /// This worker process.
    pub worker: &'a str,
}

impl Round<'_> {
    /// Runs until the step is over, or nothing more can be done at once.
    pub async fn run(&self, mut job: Job) -> Ended {
        let settle = TimeDelta::from_std(self.provider.settle_time()).unwrap_or(TimeDelta::MAX);
        let mut called = false;
        let mut just_made = None;
        // Each pass makes at most one call, and a step needs few; the bound only guards against a provider that contradicts itself.
        for _ in 0..8 {
            // What was not there when the look began may be there when its answer comes: an absence is as old as the question.
            let looked_at = self.reporter.now();
            let seen = match just_made.take() {
                Some(object) => Seen { objects: vec![object], called },
                None => match self.look(&job, called).await {
                    Ok(seen) => seen,
                    Err(problem) => return self.again(TimeDelta::seconds(1), Some(problem)),
                },
            };
            match plan(&job, &seen, looked_at, self.worker, settle) {
                Next::LookAgain(at) => return Ended::Again { at, failed: None },
                Next::Done { external } => {
                    let digest = external.clone().unwrap_or_default();
                    let (kind, zone) = (job.kind.clone(), job.zone.clone());
                    let done = Command::ReportDone { resource: job.resource, intent: job.intent, external, kind, zone };
                    return self.finish(&job, "done", &digest, done).await;
                }
                Next::Failed { problem, remains } => return self.fail(&job, problem, remains).await,
                Next::Call(call) => {
                    if let Err(ended) = self.announce(&mut job).await {
                        return ended;
                    }
                    let deadline = job.pending.as_ref().map_or_else(|| self.reporter.now(), |p| p.call_deadline);
                    match self.call(&job, call, deadline).await {
                        Outcome::Done(object) => {
                            called = true;
                            // The answer to a create shows what was made; where it is ready at once, no second look is needed.
                            just_made = object.filter(|o| o.is_settled() && job.task == Task::Create);
                        }
                        // A delete is never given up: what is still there still costs.
                        Outcome::Refused { reason, retryable: false, .. } if job.task != Task::Delete => {
                            return self.fail(&job, reason, false).await;
                        }
                        Outcome::Refused { reason, .. } => return self.again(TimeDelta::seconds(5), Some(reason)),
                        Outcome::Busy { retry_after, .. } => {
                            let wait = retry_after.and_then(|d| TimeDelta::from_std(d).ok()).unwrap_or(TimeDelta::seconds(1));
                            return self.again(wait, None);
                        }
                        Outcome::Absent => {}
                        Outcome::Unknown { why, .. } => {
                            let wait = deadline + settle - self.reporter.now();
                            return self.again(wait.max(TimeDelta::zero()), Some(why));
                        }
                    }
                }
            }
        }
        self.again(TimeDelta::seconds(5), Some("the provider contradicts itself".to_owned()))
    }

    fn again(&self, wait: TimeDelta, failed: Option<String>) -> Ended {
        Ended::Again { at: self.reporter.now() + wait, failed }
    }

    async fn look(&self, job: &Job, called: bool) -> Result<Seen, String> {
        let mut objects = self.find(self.place, provider_name(job.made_by), job.kind.as_str()).await?;
        objects.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(Seen { objects, called })
    }

    async fn find(&self, place: &str, name: String, kind: &str) -> Result<Vec<Object>, String> {
        match self.provider.find(place, Filter::by_name(name).of_kind(kind), self.reporter.now() + LOOK).await {
            Outcome::Done(objects) => Ok(objects),
            Outcome::Absent => Ok(Vec::new()),
            Outcome::Refused { reason, .. } | Outcome::Busy { reason, .. } => Err(reason),
            Outcome::Unknown { why, .. } => Err(why),
        }
    }

    /// Announces a call and waits until the announcement is on the log, unless an own one still covers it.
    async fn announce(&self, job: &mut Job) -> Result<(), Ended> {
        let now = self.reporter.now();
        if job.pending.as_ref().is_some_and(|p| p.worker == self.worker && p.call_deadline > now + CALL / 2) {
            return Ok(());
        }
        let epoch = job.pending.as_ref().map_or(1, |p| p.epoch + 1);
        let call_deadline = now + CALL;
        let announcement =
            Command::ReportPending { resource: job.resource, intent: job.intent, worker: self.worker.to_owned(), epoch, call_deadline };
        let digest = format!("{} {epoch} {call_deadline}", self.worker);
        match self.reporter.report(job, report_id(job, "pending", &digest), announcement).await {
            Reported::Accepted(_) => {
                job.pending = Some(Pending { worker: self.worker.to_owned(), epoch, call_deadline });
                Ok(())
            }
            // One that has passed already was not known here: the inbox will show it in a moment.
            Reported::Refused(Refusal::StepTaken { until }, _) => {
                Err(Ended::Again { at: until.max(now + TimeDelta::seconds(1)), failed: None })
            }
            Reported::Refused(refusal, seq) => {
                if let Refusal::BadField { .. } = refusal {
                    tracing::error!(resource = %job.resource, %refusal, "a call may not be announced: {refusal}; is the clock of this machine right?");
                }
                Err(Ended::Over(seq))
            }
            Reported::Unknown => Err(self.again(TimeDelta::seconds(1), None)),
        }
    }

    async fn call(&self, job: &Job, call: Call, deadline: DateTime<Utc>) -> Outcome<Option<Object>> {
        match call {
            Call::Create(new) => self.provider.create(self.place, job.kind.as_str(), new, deadline).await.map(Some),
            Call::Change(object, properties) => self.provider.change(&object.address(), properties, deadline).await.map(Some),
            Call::Act(object, action) => self.provider.act(&object.address(), action, deadline).await.map(Some),
            Call::Delete(object) => self.provider.delete(&object.address(), deadline).await.map(|()| None),
        }
    }

    async fn fail(&self, job: &Job, problem: String, remains: bool) -> Ended {
        // A call that nobody answered may have left something behind, whatever was seen since.
        let remains = remains || (job.task == Task::Create && job.attempts > 0);
        let digest = format!("{problem} {remains}");
        let failed = Command::ReportFailed { resource: job.resource, intent: job.intent, problem, remains };
        self.finish(job, "failed", &digest, failed).await
    }

    async fn finish(&self, job: &Job, what: &str, digest: &str, command: Command) -> Ended {
        match self.reporter.report(job, report_id(job, what, digest), command).await {
            Reported::Accepted(seq) | Reported::Refused(_, seq) => Ended::Over(seq),
            Reported::Unknown => self.again(TimeDelta::seconds(1), None),
        }
    }
}

/// The id of a report: the same observation of the same step is the same report.
pub fn report_id(job: &Job, what: &str, digest: &str) -> CommandId {
    CommandId(Uuid::new_v5(&job.resource.0, format!("{} {what} {digest}", job.intent).as_bytes()))
}

/// What the events of a report's commit say to the worker.
pub fn reported(events: &[Event], seq: u64) -> Reported {
    match events.first() {
        Some(Event::Command(CommandEvent::Refused { refusal, .. })) => Reported::Refused(refusal.clone(), seq),
        Some(Event::Command(CommandEvent::Expired | CommandEvent::Failed { .. } | CommandEvent::Unreadable { .. })) => Reported::Unknown,
        _ => Reported::Accepted(seq),
    }
}
