//! Deciding what workers report, what deadlines bring, and what operators resolve.

use super::{
    Opened, Phase, Resource, ResourceEvent as E, Step, Work,
    request::{AHEAD, opened},
};
use crate::{
    Timestamp,
    command::{Command, LifecycleFact, Origin, Request, Verdict},
    event::Event,
    id::{IntentId, ResourceId, ServiceName, TenantId},
    refusal::Refusal,
    tenant::{Clock, Facts, Tenant, check_text},
};
use chrono::TimeDelta;

/// The time for a step that no service sets: of something whose service is not known here.
const UNKNOWN_S: u32 = 3600;

/// A worker waits no longer than this for one call, so that a dead one does not hold a step for ever.
const LONGEST_CALL: TimeDelta = TimeDelta::hours(1);

impl Tenant {
    /// Decides a report, or an operator's word on a stuck step.
    pub(crate) fn decide_report(
        &self,
        tenant: TenantId,
        request: &Request,
        origin: Origin,
        facts: Facts<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        let Some((id, intent)) = request.command.reported() else {
            return Err(Refusal::WrongChain);
        };
        match &request.command {
            Command::ResolveStep { .. } | Command::CorrectLifecycle { .. } => self.authorise_operator(&request.actor, facts)?,
            _ if origin != Origin::Reports => return Err(Refusal::WorkersOnly),
            _ => {}
        }
        let wrap = |events: Vec<E>| events.into_iter().map(|event| Event::Resource { tenant, resource: id, event }).collect();
        let (resource, remains) = (self.resources.get(&id), self.remains.get(&id));
        let step = resource.map_or(remains.map(|r| &r.step), |r| r.step.as_ref());
        match (&request.command, resource) {
            (Command::CorrectLifecycle { fact, at, reason, .. }, _) => {
                check_text("#/reason", reason)?;
                check_correction(resource.map(|r| r.phase), *fact)?;
                if *at > facts.now + AHEAD {
                    return Err(Refusal::AtAhead { at: *at });
                }
                return Ok(wrap(vec![E::LifecycleCorrected { fact: *fact, at: *at, reason: reason.clone() }]));
            }
            (Command::ReportVanished { .. }, Some(r)) if step.is_none() => {
                return match r.phase {
                    Phase::Active | Phase::Stopped => Ok(wrap(vec![E::Vanished { at: self.seen_at(r, request, facts) }])),
                    phase => Err(Refusal::WrongPhase { phase: phase.name().to_owned() }),
                };
            }
            _ => {}
        }
        let Some(step) = step.filter(|s| intent.is_none_or(|intent| intent == s.intent)) else {
            return self.decide_late(id, resource.map(|r| &**r), request, facts).map(wrap);
        };
        let Some(resource) = resource else {
            let kind = remains.map(|r| &r.kind);
            return decide_on_step(step, kind, request, facts, |end| match end {
                End::Failed { problem, remains: true } => again(step, problem),
                End::Done { .. } | End::Failed { .. } => E::RemainsRemoved { intent: step.intent },
            })
            .map(wrap);
        };
        let at = self.seen_at(resource, request, facts);
        let ended = |end: End<'_>| end_step(resource, step, end, at, request, facts);
        let mut events: Vec<Event> = decide_on_step(step, Some(&resource.kind), request, facts, ended).map(wrap)?;
        if matches!(events.last(), Some(Event::Resource { event: E::Deleted { .. }, .. })) {
            let attached = self.users_of(id).filter(|user| *user != id);
            let released: Vec<Event> =
                attached.map(|user| Event::Resource { tenant, resource: user, event: E::Released { from: id, at } }).collect();
            let deleted = events.len() - 1;
            events.splice(deleted..deleted, released);
        }
        Ok(events)
    }

    /// What is reported for a step that is not open: kept as a note; and if it says that something exists of what is gone or was never made,
    /// that is removed.
    fn decide_late(&self, id: ResourceId, resource: Option<&Resource>, request: &Request, facts: Facts<'_>) -> Result<Vec<E>, Refusal> {
        let note = |intent: IntentId| E::ObservedLate {
            intent,
            observed: match &request.command {
                Command::ReportDone { external: Some(external), .. } => format!("report_done {}", shortened(external)),
                other => other.kind().to_owned(),
            },
        };
        let gone = resource.is_none() && !self.remains.contains_key(&id);
        let failed = |made_by: IntentId| resource.is_some_and(|r| r.phase == Phase::Failed && r.made_by == made_by);
        match &request.command {
            Command::ReportDone { intent, external: Some(_), kind, zone, .. } if gone || failed(*intent) => {
                let step = opened(request, facts.now, seconds_for(&Work::CleanUp, Some(kind), facts));
                Ok(vec![note(*intent), E::RemainsFound { kind: kind.clone(), zone: zone.clone(), made_by: *intent, step }])
            }
            Command::ReportDone { intent, .. } | Command::ReportFailed { intent, .. } => Ok(vec![note(*intent)]),
            _ if gone => Err(Refusal::NoSuchResource { resource: id }),
            other => {
                let intent = other.reported().and_then(|(_, intent)| intent).or(resource.map(|r| r.made_by));
                Err(intent.map_or(Refusal::NoSuchResource { resource: id }, |intent| Refusal::StepNotOpen { intent }))
            }
        }
    }

    /// When a worker saw something: by the effective clock it happened at once; by the journal's clock when the report says, never before the
    /// last accepted time and never ahead of the chain.
    fn seen_at(&self, resource: &Resource, request: &Request, facts: Facts<'_>) -> Timestamp {
        match self.clock {
            Clock::Effective => resource.last_at,
            Clock::Journal => request.at.unwrap_or(facts.now).min(facts.now).max(resource.last_at),
        }
    }
}

/// Refuses to correct the time of what has not happened. Of what is gone everything may have happened.
fn check_correction(phase: Option<Phase>, fact: LifecycleFact) -> Result<(), Refusal> {
    use Phase::*;
    match (fact, phase) {
        (_, None | Some(Deleting)) => Ok(()),
        (LifecycleFact::Provisioned, Some(Active | Stopped | Lost)) => Ok(()),
        (LifecycleFact::Vanished, Some(Lost)) => Ok(()),
        (_, Some(phase)) => Err(Refusal::WrongPhase { phase: phase.name().to_owned() }),
    }
}

/// What a report or an operator does to an open step; `end` says what its end leads to.
fn decide_on_step(
    step: &Step,
    kind: Option<&ServiceName>,
    request: &Request,
    facts: Facts<'_>,
    end: impl Fn(End<'_>) -> E,
) -> Result<Vec<E>, Refusal> {
    let intent = step.intent;
    match &request.command {
        Command::ReportPending { call_deadline, .. } if *call_deadline > facts.now + LONGEST_CALL => {
            Err(Refusal::field("#/call_deadline", "more than an hour ahead"))
        }
        // Of a clock that is far behind: nobody would wait for such a call.
        Command::ReportPending { call_deadline, .. } if *call_deadline <= facts.now => Err(Refusal::field("#/call_deadline", "has passed")),
        Command::ReportPending { worker, epoch, call_deadline, .. } => match &step.pending {
            Some(p) if p.worker != *worker && p.call_deadline > facts.now => Err(Refusal::StepTaken { until: p.call_deadline }),
            // Whoever does not know of the last call has looked before it ended, and would make again what that call made.
            Some(p) if *epoch <= p.epoch => Err(Refusal::StepTaken { until: p.call_deadline }),
            _ => Ok(vec![E::Pending { intent, worker: worker.clone(), epoch: *epoch, call_deadline: *call_deadline }]),
        },
        Command::ReportAttempt { attempts, problem, .. } => {
            Ok(vec![E::AttemptFailed { intent, attempts: *attempts, problem: shortened(problem) }])
        }
        Command::ReportDone { external, .. } => Ok(vec![end(End::Done { external: external.clone() })]),
        Command::ReportFailed { problem, remains, .. } => Ok(vec![end(End::Failed { problem: &shortened(problem), remains: *remains })]),
        Command::ReportVanished { .. } => Err(Refusal::Busy { step: step.work.name().to_owned(), intent }),
        Command::DeadlinePassed { .. } if facts.now < step.deadline => Err(Refusal::DeadlineAhead { deadline: step.deadline }),
        Command::DeadlinePassed { .. } => match &step.work {
            _ if step.overdue => Err(Refusal::StepNotOpen { intent }),
            Work::Delete | Work::CleanUp => Ok(vec![E::Overdue { intent }]),
            _ => Ok(vec![E::Overdue { intent }, end(End::Failed { problem: "it took too long", remains: true })]),
        },
        Command::ResolveStep { verdict, reason, .. } => {
            check_text("#/reason", reason)?;
            let followed = match verdict {
                Verdict::Done => end(End::Done { external: None }),
                Verdict::Failed => end(End::Failed { problem: reason, remains: false }),
                Verdict::Retry => {
                    let seconds = i64::from(seconds_for(&step.work, kind, facts));
                    E::Reopened { step: Opened { intent, deadline: facts.now + TimeDelta::seconds(seconds) } }
                }
            };
            Ok(vec![E::Resolved { intent, verdict: *verdict, reason: reason.clone() }, followed])
        }
        _ => Err(Refusal::WrongChain),
    }
}

/// How long a step of this kind may take.
fn seconds_for(work: &Work, kind: Option<&ServiceName>, facts: Facts<'_>) -> u32 {
    let Some(entry) = kind.and_then(|kind| facts.platform.services.get(kind)) else {
        return UNKNOWN_S;
    };
    let deadlines = entry.service.deadlines;
    match work {
        Work::Create => deadlines.create_s,
        Work::Delete | Work::CleanUp => deadlines.delete_s,
        Work::Change { .. } | Work::Start | Work::Stop | Work::Reboot | Work::Attach { .. } | Work::Detach { .. } => deadlines.change_s,
    }
}

/// The step goes on after a failure.
fn again(step: &Step, problem: &str) -> E {
    E::AttemptFailed { intent: step.intent, attempts: step.attempts.saturating_add(1), problem: problem.to_owned() }
}

/// The fact that follows when a step ends.
fn end_step(resource: &Resource, step: &Step, end: End<'_>, at: Timestamp, request: &Request, facts: Facts<'_>) -> E {
    let intent = step.intent;
    match (&step.work, end) {
        (Work::Create, End::Done { external }) => E::Provisioned { intent, external, at },
        (Work::Create, End::Failed { problem, remains: false }) => E::ProvisioningFailed { intent, problem: problem.to_owned(), at },
        (Work::Create, End::Failed { problem, remains: true }) => {
            let step = opened(request, facts.now, seconds_for(&Work::CleanUp, Some(&resource.kind), facts));
            E::ProvisioningAbandoned { intent, problem: problem.to_owned(), step, at }
        }
        (Work::CleanUp, End::Done { .. } | End::Failed { remains: false, .. }) => E::Cleaned { intent, at },
        (Work::Delete, End::Done { .. }) => E::Deleted { intent, at },
        // There is nothing to go back to, and only `Done` says that a deletion is over.
        (Work::Delete | Work::CleanUp, End::Failed { problem, .. }) => again(step, problem),
        (Work::Change { .. }, End::Done { .. }) => E::Changed { intent, at },
        (Work::Start, End::Done { .. }) => E::Started { intent, at },
        (Work::Stop, End::Done { .. }) => E::Stopped { intent, at },
        (Work::Reboot, End::Done { .. }) => E::Rebooted { intent, at },
        (Work::Attach { to }, End::Done { .. }) => E::Attached { intent, to: *to, at },
        (Work::Detach { from }, End::Done { .. }) => E::Detached { intent, from: *from, at },
        (
            Work::Change { .. } | Work::Start | Work::Stop | Work::Reboot | Work::Attach { .. } | Work::Detach { .. },
            End::Failed { problem, .. },
        ) => E::StepFailed { intent, problem: problem.to_owned(), at },
    }
}

/// How a step ended.
enum End<'a> {
    Done { external: Option<String> },
    Failed { problem: &'a str, remains: bool },
}

impl Command {
    /// The resource and the step that a report or a resolution names.
    pub(crate) fn reported(&self) -> Option<(ResourceId, Option<IntentId>)> {
        match self {
            Command::ReportPending { resource, intent, .. }
            | Command::ReportDone { resource, intent, .. }
            | Command::ReportFailed { resource, intent, .. }
            | Command::ReportAttempt { resource, intent, .. }
            | Command::DeadlinePassed { resource, intent }
            | Command::ResolveStep { resource, intent, .. } => Some((*resource, Some(*intent))),
            Command::ReportVanished { resource } | Command::CorrectLifecycle { resource, .. } => Some((*resource, None)),
            _ => None,
        }
    }
}

/// Providers can be wordy; a tenant reads the first 500 characters.
fn shortened(problem: &str) -> String {
    problem.chars().filter(|c| !c.is_control()).take(500).collect()
}
