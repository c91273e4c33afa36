//! The pure part: from what is wanted and what was seen to the next thing to do.

use crate::provider::{Action, NewObject, Object, Power, Properties, Status};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    id::{IntentId, ResourceId, ServiceName, TenantId, ZoneName},
    resource::Pending,
};
use serde_json::Value;

/// What is to be done to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which resource.
    pub resource: ResourceId,
    /// The key of the step.
    pub intent: IntentId,
    /// The intent that made the resource: its name at the provider.
    pub made_by: IntentId,
    /// The kind.
    pub kind: ServiceName,
    /// Its zone, for zonal kinds.
    pub zone: Option<ZoneName>,
    /// The provider's account.
    pub project: String,
    /// What to do.
    pub task: Task,
    /// The spec that is wanted.
    pub spec: Value,
    /// Who may be calling the provider for it.
    pub pending: Option<Pending>,
    /// Attempts that failed so far.
    pub attempts: u32,
    /// When its life last changed. What was made before that may not be shown yet.
    pub since: Option<DateTime<Utc>>,
}

/// What a step asks of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Make it.
    Create,
    /// Give it the wanted spec.
    Change,
    /// Let it run.
    Start,
    /// Let it cease to run.
    Stop,
    /// Stop and start it.
    Reboot,
    /// Attach it to the server with this id at the provider; none when nobody knows the id.
    Attach(Option<String>),
    /// Detach it.
    Detach,
    /// Delete it, or what is left of it.
    Delete,
}

/// What was seen at the provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Everything of the resource's kind that carries its name, oldest first.
    pub objects: Vec<Object>,
    /// True when this worker has made the step's call and it was accepted.
    pub called: bool,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Something is under way: look again at this time.
    LookAgain(DateTime<Utc>),
    /// Make this call.
    Call(Call),
    /// The step is done.
    Done {
        /// The provider's id of it.
        external: Option<String>,
    },
    /// The step failed for good.
    Failed {
        /// In plain words, for the tenant.
        problem: String,
        /// True when something of it may be left.
        remains: bool,
    },
}

/// One call to the provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Make it.
    Create(NewObject),
    /// Give an object these properties.
    Change(Box<Object>, Properties),
    /// Act on an object.
    Act(Box<Object>, Action),
    /// Delete an object.
    Delete(Box<Object>),
}

/// How often something that is under way is looked at.
const POLL: TimeDelta = TimeDelta::milliseconds(500);

/// The name of a resource at a provider: deterministic, and never used again.
pub fn provider_name(made_by: IntentId) -> String {
    format!("cirrus-{made_by}")
}

/// The resource that an object of this name was made for: what a create makes has the id of its intent. None when it was not made here.
pub fn resource_named(name: &str) -> Option<ResourceId> {
    name.strip_prefix("cirrus-")?.parse().ok()
}

/// Plans the next thing to do for a step. `settle` is how long an effect may stay invisible after a call has ended.
pub fn plan(job: &Job, seen: &Seen, now: DateTime<Utc>, worker: &str, settle: TimeDelta) -> Next {
    let clear_at = job.pending.as_ref().map(|p| p.call_deadline + settle).filter(|at| *at > now);
    if let (Some(pending), Some(at)) = (&job.pending, clear_at)
        && pending.worker != worker
    {
        return Next::LookAgain(at);
    }
    // An absence counts when no call may be under way and whatever came before the step has had the time to show; an own call that was answered has
    // had its effect.
    let shown_at = job.since.map(|since| since + settle).filter(|at| *at > now);
    let absent = || if seen.called { None } else { clear_at.max(shown_at) };
    match &job.task {
        Task::Create => match seen.objects.as_slice() {
            [] => match clear_at {
                Some(at) => Next::LookAgain(if seen.called { now + POLL } else { at }),
                None => Next::Call(Call::Create(new_object(job))),
            },
            [_, .., twin] => Next::Call(Call::Delete(Box::new(twin.clone()))),
            [object] => match object.status {
                Status::Active | Status::Shutoff if object.is_settled() => Next::Done { external: Some(object.id.clone()) },
                Status::Error => Next::Failed { problem: fault(object), remains: true },
                Status::Active | Status::Shutoff | Status::Build | Status::Deleting => Next::LookAgain(now + POLL),
            },
        },
        Task::Delete => match seen.objects.iter().find(|o| o.status != Status::Deleting) {
            Some(object) if object.task.is_some() && object.status != Status::Error && object.status != Status::Build => {
                Next::LookAgain(now + POLL)
            }
            Some(object) => Next::Call(Call::Delete(Box::new(object.clone()))),
            None if !seen.objects.is_empty() => Next::LookAgain(now + POLL),
            None => match absent() {
                Some(at) => Next::LookAgain(at),
                None => Next::Done { external: None },
            },
        },
        task => {
            let Some(object) = seen.objects.first() else {
                return match (task, absent()) {
                    (_, Some(at)) => Next::LookAgain(at),
                    (Task::Detach, None) => Next::Done { external: None },
                    _ => Next::Failed { problem: "it is gone from the provider".to_owned(), remains: false },
                };
            };
            if object.status == Status::Error {
                return Next::Failed { problem: fault(object), remains: true };
            }
            if object.task.is_some() || object.status == Status::Build {
                return Next::LookAgain(now + POLL);
            }
            alter(job, task, object, seen)
        }
    }
}

/// What a settled object still needs.
fn alter(job: &Job, task: &Task, object: &Object, seen: &Seen) -> Next {
    let done = Next::Done { external: Some(object.id.clone()) };
    let act = |action| Next::Call(Call::Act(Box::new(object.clone()), action));
    match task {
        Task::Create | Task::Delete => done,
        Task::Change => {
            let wanted = properties(&job.spec);
            if wanted.iter().all(|(field, value)| object.properties.get(field) == Some(value)) {
                done
            } else {
                Next::Call(Call::Change(Box::new(object.clone()), wanted))
            }
        }
        Task::Start if object.power == Some(Power::Running) => done,
        Task::Start => act(Action::Start),
        Task::Stop if object.power == Some(Power::Shutdown) => done,
        Task::Stop => act(Action::Stop),
        // Looking does not tell whether a reboot happened: one that was not answered is asked for again.
        Task::Reboot if seen.called => done,
        Task::Reboot => act(Action::Reboot),
        Task::Attach(server) => match (server, &object.attached_to) {
            (Some(server), Some(now)) if now == server => done,
            (_, Some(_)) => Next::Failed { problem: "the provider has it attached to something else".to_owned(), remains: false },
            (Some(server), None) => act(Action::Attach { server: server.clone() }),
            (None, None) => Next::Failed { problem: "the provider does not know what it is to be attached to".to_owned(), remains: false },
        },
        Task::Detach if object.attached_to.is_none() => done,
        Task::Detach => act(Action::Detach),
    }
}

fn new_object(job: &Job) -> NewObject {
    let tags = [("intent", job.made_by.to_string()), ("resource", job.resource.to_string()), ("tenant", job.tenant.to_string())];
    NewObject {
        project: job.project.clone(),
        name: provider_name(job.made_by),
        properties: properties(&job.spec),
        tags: tags.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    }
}

fn properties(spec: &Value) -> Properties {
    spec.as_object().cloned().unwrap_or_default()
}

fn fault(object: &Object) -> String {
    object.fault.clone().unwrap_or_else(|| "the provider reports an error without a reason".to_owned())
}

#[cfg(test)]
mod tests;
