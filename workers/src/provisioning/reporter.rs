//! Reports over the journal: sent on the reports topic, answered when their outcome was read back.

use super::{
    plan::Job,
    round::{Reported, Reporter, reported},
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use domain::{
    command::Command,
    event::{CommandEvent, Event},
    id::{CommandId, TenantId},
    people::Actor,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use journal::{caller::Caller, environment::Environment};
use schemas::{
    command::CommandRecord,
    event::decode,
    record::{Digest, Origin},
};
use std::{pin::pin, sync::Arc, time::Duration};

/// A report that is not answered for this long is sent again, under the same id.
const ANSWER: Duration = Duration::from_secs(10);

/// Nobody waits for the outcome of a report longer than this.
const EXPIRES: TimeDelta = TimeDelta::seconds(60);

/// Sends reports as one of Cirrus' own parts.
pub struct JournalReporter {
    caller: Arc<Caller>,
    name: String,
}

impl JournalReporter {
    /// A reporter with this name, which stands in the commits as the actor.
    pub fn new(caller: Arc<Caller>, name: impl Into<String>) -> Self {
        Self { caller, name: name.into() }
    }

    /// Its time, waiting and chance.
    pub fn environment(&self) -> &Arc<dyn Environment> {
        self.caller.environment()
    }

    /// Sends a command as a report, on a tenant's chain or on the platform's, and waits for its outcome.
    pub async fn send(&self, tenant: Option<TenantId>, id: CommandId, after_platform: u64, command: Command) -> Reported {
        let environment = self.environment();
        let now = now(environment.as_ref());
        let record = CommandRecord {
            id,
            tenant,
            actor: Actor::Service(self.name.clone()),
            digest: Digest::of(&serde_json::to_vec(&command).expect("a command is always JSON")),
            request: environment.draw().to_string(),
            traceparent: None,
            at: Some(now),
            expires: now + EXPIRES,
            after_platform,
            command,
        };
        let outcome = pin!(self.caller.call(Origin::Reports, &record).outcome());
        match select(outcome, environment.sleep(ANSWER)).await {
            Either::Left((Ok(outcome), _)) => {
                let events: Result<Vec<Event>, _> = outcome.commit.events.iter().map(|raw| decode(raw)).collect();
                match events.as_deref() {
                    Ok([Event::Command(CommandEvent::Repeated { of })]) => Reported::Accepted(*of),
                    Ok(events) => reported(events, outcome.position.seq),
                    Err(problem) => {
                        tracing::error!(worker = self.name, %problem, "an outcome cannot be read here: {problem}");
                        Reported::Unknown
                    }
                }
            }
            Either::Left((Err(problem), _)) => {
                tracing::warn!(worker = self.name, %problem, "a report was not sent: {problem}");
                Reported::Unknown
            }
            Either::Right(_) => Reported::Unknown,
        }
    }
}

impl Reporter for JournalReporter {
    fn report<'a>(&'a self, job: &'a Job, id: CommandId, command: Command) -> BoxFuture<'a, Reported> {
        self.send(Some(job.tenant), id, 0, command).boxed()
    }

    fn now(&self) -> DateTime<Utc> {
        now(self.environment().as_ref())
    }
}

/// The time in whole microseconds, as everything on the log.
fn now(environment: &dyn Environment) -> DateTime<Utc> {
    environment.now().trunc_subsecs(6)
}
