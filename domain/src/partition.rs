//! The fold of one chain, and where a command meets it.
//!
//! [`Partition::handle`] takes one record of the commands or reports topic and gives the events of exactly one commit; [`Partition::apply`] folds a
//! commit. A clone shares structure with its original, so speculation on commits that are not observed yet is a clone that can be dropped.
//!
//! A create finds its outcome for ever, so the id of whatever was created is never forgotten. Those of resources that are gone would fill the
//! memory in time: they can be kept elsewhere as [`Tombstones`], and then [`Partition::shed`].

use crate::{
    Timestamp,
    command::{Command, Origin, Request},
    event::{CommandEvent, Event, Impossible},
    id::{CommandId, TenantId},
    platform::{Platform, Reservation},
    refusal::Refusal,
    resource::ResourceEvent,
    tenant::{CellEvent, Facts, Tenant, TenantEvent},
};
use chrono::TimeDelta;
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt::Debug, sync::Arc};

/// An outcome is remembered this long in the chain's time, so that the same command finds it; what created something is remembered for ever.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// A refusal carries the body that was refused up to this size.
const REFUSED_BODY: usize = 8 * 1024;

/// What became of a command, in brief.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The fingerprint of its request.
    pub fingerprint: u64,
    /// The seq of its commit.
    pub seq: u64,
}

/// The commands that created what is gone and was [`shed`](Partition::shed).
pub trait Tombstones: Debug + Sync {
    /// What this command came to.
    fn find(&self, id: CommandId) -> Option<Decided>;
}

/// No tombstones: nothing was ever shed.
impl Tombstones for () {
    fn find(&self, _: CommandId) -> Option<Decided> {
        None
    }
}

/// The state of one partition as of a position of its chain. The platform's own chain has a [`Platform`], the others have tenants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// The platform's state, on its own chain.
    pub platform: Platform,
    /// The tenants of this partition.
    pub tenants: OrdMap<TenantId, Arc<Tenant>>,
    /// Commands of the last 30 days whose outcome stands.
    decided: OrdMap<CommandId, Decided>,
    /// The same by age, oldest first.
    by_age: Vector<(Timestamp, CommandId)>,
    /// Commands that created something, but for those that were shed.
    created: OrdMap<CommandId, Decided>,
    /// Commands that created what is gone, in the order in which it went, but for those that were shed.
    gone: Vector<CommandId>,
    /// How many were shed.
    shed: u64,
    /// The time of the last commit.
    pub time: Timestamp,
}

/// A commit as the fold sees it.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// Its seq.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
    /// The command it answers, and the fingerprint of its request. None in the commit that confirms a takeover.
    pub command: Option<(CommandId, u64)>,
    /// Its events.
    pub events: &'a [Event],
}

impl Partition {
    /// The events of the one commit that answers this request.
    ///
    /// The order is: what was decided before stays decided; then what came too late; then what the state says.
    pub fn handle(&self, request: &Request, origin: Origin, facts: Facts<'_>) -> Vec<Event> {
        if let Some(before) = self.decided.get(&request.id).copied().or_else(|| self.creation(request.id, facts)) {
            return vec![if before.fingerprint == request.fingerprint {
                Event::Command(CommandEvent::Repeated { of: before.seq })
            } else {
                Event::refused(Refusal::KeyReused, body(request))
            }];
        }
        if request.expires < facts.now {
            return vec![Event::Command(CommandEvent::Expired)];
        }
        self.decide(request, origin, facts).unwrap_or_else(|refusal| vec![Event::refused(refusal, body(request))])
    }

    /// The same decision without repetition and expiry: also what `validate_only` asks for.
    pub fn decide(&self, request: &Request, origin: Origin, facts: Facts<'_>) -> Result<Vec<Event>, Refusal> {
        match (request.tenant, &request.command) {
            (None, _) => self.platform.decide(request, origin),
            (Some(tenant), Command::OpenTenant {}) => self.open(tenant, facts),
            (Some(id), _) => {
                let tenant = self.tenants.get(&id).ok_or(Refusal::NoSuchTenant { tenant: id })?;
                let events = tenant.decide(id, request, origin, facts)?;
                match &request.command {
                    // A tenant forgets what is gone; that it was ever there is known here.
                    Command::CorrectLifecycle { resource, .. } if self.creation(CommandId(resource.0), facts).is_none() => {
                        Err(Refusal::NoSuchResource { resource: *resource })
                    }
                    _ => Ok(events),
                }
            }
        }
    }

    fn creation(&self, id: CommandId, facts: Facts<'_>) -> Option<Decided> {
        self.created.get(&id).copied().or_else(|| facts.tombstones.find(id))
    }

    /// Opens what was reserved; all of it comes from the reservation, so there is nothing to forge.
    fn open(&self, tenant: TenantId, facts: Facts<'_>) -> Result<Vec<Event>, Refusal> {
        if self.tenants.contains_key(&tenant) {
            return Ok(vec![Event::Command(CommandEvent::NothingToDo { generation: None })]);
        }
        let reservation = facts.platform.reservations.get(&tenant);
        let unknown = if facts.stale { Refusal::PlatformStale } else { Refusal::NoSuchTenant { tenant } };
        let reservation: &Reservation = reservation.ok_or(unknown)?;
        Ok(vec![Event::Tenant { tenant, event: TenantEvent::Opened(Box::new(reservation.clone())) }])
    }

    /// Folds a commit. On an error the state is as it was.
    pub fn apply(&mut self, commit: Committed<'_>) -> Result<(), Impossible> {
        let mut after = self.clone();
        for event in commit.events {
            after.evolve(event)?;
        }
        after.time = commit.time.max(after.time);
        if let Some((id, fingerprint)) = commit.command {
            after.remember(id, Decided { fingerprint, seq: commit.seq }, commit.events);
        }
        *self = after;
        Ok(())
    }

    fn evolve(&mut self, event: &Event) -> Result<(), Impossible> {
        match event {
            Event::Command(_) => Ok(()),
            Event::Platform(event) => self.platform.evolve(event),
            Event::Tenant { tenant, event: TenantEvent::Opened(reservation) } => {
                match self.tenants.insert(*tenant, Arc::new(Tenant::open(reservation))) {
                    None => Ok(()),
                    Some(_) => Err(Impossible::new("tenant.opened", format!("{tenant} is open"))),
                }
            }
            Event::Tenant { tenant, .. } | Event::Cell { tenant, .. } | Event::Member { tenant, .. } | Event::Resource { tenant, .. } => {
                let state =
                    self.tenants.get_mut(tenant).ok_or_else(|| Impossible::new(format!("{event:?}"), format!("no tenant {tenant}")))?;
                Arc::make_mut(state).evolve(event)?;
                if let Event::Resource { resource, event: ResourceEvent::Deleted { .. }, .. } = event
                    && self.created.contains_key(&CommandId(resource.0))
                {
                    self.gone.push_back(CommandId(resource.0));
                }
                Ok(())
            }
        }
    }

    /// The commands that created what is gone and were not shed yet, in the order in which it went, and how many were shed before them.
    pub fn gone(&self) -> (u64, impl Iterator<Item = (CommandId, Decided)>) {
        (self.shed, self.gone.iter().filter_map(|id| Some((*id, *self.created.get(id)?))))
    }

    /// Forgets, `at_most` so many at once, those of the first `kept` commands that created what is gone: tombstones answer for them.
    pub fn shed(&mut self, kept: u64, at_most: usize) {
        for _ in 0..kept.saturating_sub(self.shed).min(at_most as u64) {
            let Some(id) = self.gone.pop_front() else { return };
            self.created.remove(&id);
            self.shed += 1;
        }
    }

    fn remember(&mut self, id: CommandId, decided: Decided, events: &[Event]) {
        while let Some((time, oldest)) = self.by_age.front().copied().filter(|(time, _)| *time + REMEMBERED < self.time) {
            debug_assert!(time <= self.time);
            self.by_age.pop_front();
            self.decided.remove(&oldest);
        }
        // A repetition points to the first outcome, which is remembered already; what may be tried again leaves the key free.
        let stands = events.iter().all(|e| match e {
            Event::Command(CommandEvent::Refused { refusal, .. }) => !refusal.is_worth_retrying() && *refusal != Refusal::KeyReused,
            Event::Command(
                CommandEvent::Repeated { .. } | CommandEvent::Expired | CommandEvent::Failed { .. } | CommandEvent::Unreadable { .. },
            ) => false,
            _ => true,
        });
        if !stands {
            return;
        }
        if events.iter().any(creates) {
            self.created.insert(id, decided);
        } else {
            self.decided.insert(id, decided);
            self.by_age.push_back((self.time, id));
        }
    }
}

fn creates(event: &Event) -> bool {
    use crate::platform::PlatformEvent;
    matches!(
        event,
        Event::Platform(PlatformEvent::TenantReserved { .. })
            | Event::Tenant { event: TenantEvent::Opened(_), .. }
            | Event::Cell { event: CellEvent::Created { .. }, .. }
            | Event::Resource { event: ResourceEvent::Requested(_), .. }
    )
}

fn body(request: &Request) -> Option<Value> {
    let body = serde_json::to_value(&request.command).ok()?;
    (body.to_string().len() <= REFUSED_BODY).then_some(body)
}
