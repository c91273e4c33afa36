//! What each fact does to a resource and to the quota it counts against.

use super::{Pending, Phase, Remains, Requested, Resource, ResourceEvent as E, Step, Terms, Work};
use crate::{
    Timestamp,
    event::Impossible,
    id::{IntentId, ResourceId},
    quota::Amounts,
    tenant::Tenant,
};
use std::{collections::BTreeSet, sync::Arc};

impl Tenant {
    /// Applies a fact about a resource.
    pub(crate) fn evolve_resource(&mut self, id: ResourceId, event: &E) -> Result<(), Impossible> {
        match event {
            E::Requested(requested) => return self.begin(id, requested),
            E::RemainsFound { kind, zone, made_by, step } if !self.resources.contains_key(&id) => {
                return match self.remains.insert(id, Remains::found(kind, zone, *made_by, step)) {
                    None => Ok(()),
                    Some(_) => Err(Impossible::new(event.name(), format!("remains of {id}"))),
                };
            }
            E::RemainsRemoved { intent } => {
                return match self.remains.remove(&id).filter(|r| r.step.intent == *intent) {
                    Some(_) => Ok(()),
                    None => Err(Impossible::new(event.name(), format!("no such remains of {id}"))),
                };
            }
            // Of what is gone only a note is kept.
            E::ObservedLate { .. } | E::LifecycleCorrected { .. } if !self.resources.contains_key(&id) => {
                return Ok(());
            }
            _ => {}
        }
        if let Some(remains) = self.remains.get_mut(&id) {
            return remains.evolve(event).map_err(|state| Impossible::new(event.name(), format!("remains {state}")));
        }
        let Some(resource) = self.resources.get(&id).cloned() else {
            return Err(Impossible::new(event.name(), format!("no resource {id}")));
        };
        let mut after = (*resource).clone();
        let fate = after.evolve(event).map_err(|state| Impossible::new(event.name(), format!("{id}: {state}")))?;
        if after.terms.claim != resource.terms.claim {
            self.reclaim(resource.cell, &resource.terms.claim, &after.terms.claim)?;
        }
        let gone = fate == Fate::Gone;
        if gone || after.attached_to != resource.attached_to || after.terms.uses != resource.terms.uses {
            for named in resource.named() {
                self.users.remove(&(named, id));
            }
            self.users.extend(after.named().filter(|_| !gone).map(|named| (named, id)));
        }
        if !gone {
            self.resources.insert(id, Arc::new(after));
            return Ok(());
        }
        self.resources.remove(&id);
        if let Some(cell) = resource.cell.and_then(|c| self.cells.get_mut(&c)) {
            cell.resources = cell.resources.checked_sub(1).ok_or_else(|| Impossible::new(event.name(), "an empty cell"))?;
        }
        Ok(())
    }

    fn begin(&mut self, id: ResourceId, requested: &Requested) -> Result<(), Impossible> {
        self.reclaim(requested.cell, &Amounts::default(), &requested.terms.claim)?;
        if let Some(cell) = requested.cell.and_then(|c| self.cells.get_mut(&c)) {
            cell.resources += 1;
        }
        self.users.extend(requested.terms.uses.iter().map(|named| (*named, id)));
        match self.resources.insert(id, Arc::new(Resource::begin(requested))) {
            None => Ok(()),
            Some(_) => Err(Impossible::new("resource.requested", format!("{id} exists"))),
        }
    }

    /// Who names this resource in a spec or is attached to it.
    pub fn users_of(&self, id: ResourceId) -> impl Iterator<Item = ResourceId> {
        let first = (id, ResourceId(uuid::Uuid::nil()));
        self.users.range(first..).take_while(move |(named, _)| *named == id).map(|(_, user)| *user)
    }
}

/// Whether a resource is there after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is, as it was changed.
    Lives,
    /// It is gone for ever.
    Gone,
}

impl Step {
    /// What happens to a step without ending it.
    fn evolve(&mut self, event: &E) -> Result<(), String> {
        match event {
            E::Pending { intent, worker, epoch, call_deadline } if *intent == self.intent => {
                self.pending = Some(Pending { worker: worker.clone(), epoch: *epoch, call_deadline: *call_deadline });
            }
            E::AttemptFailed { intent, attempts, .. } if *intent == self.intent => {
                // The call that failed may still take effect, so its announcement stands.
                self.attempts = *attempts;
            }
            E::Overdue { intent } if *intent == self.intent => self.overdue = true,
            E::Resolved { intent, .. } if *intent == self.intent => {}
            // A call may be under way, whatever the operator decided.
            E::Reopened { step } => *self = Step { pending: self.pending.take(), ..Step::open(step, self.work.clone()) },
            E::ObservedLate { .. } => {}
            _ => return Err(format!("step {} {:?}", self.work.name(), self.intent)),
        }
        Ok(())
    }
}

impl Remains {
    /// What happens to the clean-up without ending it. The error is the state, in words.
    pub fn evolve(&mut self, event: &E) -> Result<(), String> {
        self.step.evolve(event)
    }
}

impl Resource {
    /// A resource as it begins.
    pub fn begin(r: &Requested) -> Self {
        Self {
            cell: r.cell,
            kind: r.kind.clone(),
            name: r.name.clone(),
            labels: r.labels.clone(),
            zone: r.zone.clone(),
            terms: r.terms.clone(),
            generation: 1,
            observed_generation: 0,
            phase: Phase::Creating,
            power: r.power,
            made_by: r.step.intent,
            attached_to: None,
            step: Some(Step::open(&r.step, Work::Create)),
            last_at: r.at,
        }
    }

    /// The resources that it names in its spec or is attached to.
    pub fn named(&self) -> impl Iterator<Item = ResourceId> {
        self.terms.uses.iter().copied().chain(self.attached_to)
    }

    /// The table: each event on the states that it can meet. The error is the state, in words; the resource is then as it was.
    pub fn evolve(&mut self, event: &E) -> Result<Fate, String> {
        use Phase::*;
        match event {
            E::Requested(_) | E::RemainsRemoved { .. } => return Err(self.state()),
            // It was never handed over, and its claim was released when nothing seemed to be left.
            E::RemainsFound { step, .. } if self.phase == Failed => {
                (self.phase, self.step) = (Failing, Some(Step::open(step, Work::CleanUp)));
            }
            E::RemainsFound { .. } => return Err(self.state()),
            E::Provisioned { intent, at, .. } => {
                self.close(*intent, |w| matches!(w, Work::Create))?;
                self.done(Active, *at);
            }
            E::ProvisioningFailed { intent, at, .. } => {
                self.close(*intent, |w| matches!(w, Work::Create))?;
                self.fail(*at);
            }
            E::ProvisioningAbandoned { intent, step, at, .. } => {
                let given_up = self.close(*intent, |w| matches!(w, Work::Create))?;
                self.done(Failing, *at);
                // A call of the create may still take effect; the clean-up waits for its deadline before it believes in absence.
                self.step = Some(Step { pending: given_up.pending, ..Step::open(step, Work::CleanUp) });
            }
            E::Cleaned { intent, at } => {
                self.close(*intent, |w| matches!(w, Work::CleanUp))?;
                self.fail(*at);
            }
            E::ChangeRequested { generation, terms: after, step, at } => {
                let before = Box::new(self.terms.clone());
                let both: BTreeSet<ResourceId> = before.uses.iter().chain(&after.uses).copied().collect();
                let during =
                    Terms { spec: after.spec.clone(), claim: before.claim.greatest(&after.claim), uses: both.into_iter().collect() };
                self.want(*generation, Step::open(step, Work::Change { before, after: after.clone() }), *at)?;
                self.terms = during;
            }
            E::Changed { intent, at } => {
                if let Work::Change { after, .. } = self.close(*intent, |w| matches!(w, Work::Change { .. }))?.work {
                    self.terms = *after;
                }
                self.done(self.phase, *at);
            }
            E::StartRequested { generation, step, at } => self.want(*generation, Step::open(step, Work::Start), *at)?,
            E::StopRequested { generation, step, at } => self.want(*generation, Step::open(step, Work::Stop), *at)?,
            E::RebootRequested { generation, step, at } => self.want(*generation, Step::open(step, Work::Reboot), *at)?,
            E::Started { intent, at } => {
                self.close(*intent, |w| matches!(w, Work::Start))?;
                self.done(Active, *at);
            }
            E::Rebooted { intent, at } => {
                self.close(*intent, |w| matches!(w, Work::Reboot))?;
                self.done(Active, *at);
            }
            E::Stopped { intent, at } => {
                self.close(*intent, |w| matches!(w, Work::Stop))?;
                self.done(Stopped, *at);
            }
            E::AttachRequested { generation, to, step, at } => {
                self.want(*generation, Step::open(step, Work::Attach { to: *to }), *at)?;
                self.attached_to = Some(*to);
            }
            E::Attached { intent, at, .. } => {
                self.close(*intent, |w| matches!(w, Work::Attach { .. }))?;
                self.done(self.phase, *at);
            }
            E::DetachRequested { generation, from, step, at } => {
                self.want(*generation, Step::open(step, Work::Detach { from: *from }), *at)?;
            }
            E::Detached { intent, at, .. } => {
                self.close(*intent, |w| matches!(w, Work::Detach { .. }))?;
                self.attached_to = None;
                self.done(self.phase, *at);
            }
            E::Released { from, at } => {
                if self.attached_to != Some(*from) {
                    return Err(self.state());
                }
                self.attached_to = None;
                if matches!(&self.step, Some(Step { work: Work::Attach { .. } | Work::Detach { .. }, .. })) {
                    self.done(self.phase, *at);
                }
            }
            E::StepFailed { intent, at, .. } => {
                match self.close(*intent, |w| !matches!(w, Work::Create | Work::CleanUp | Work::Delete))?.work {
                    Work::Change { before, .. } => self.terms = *before,
                    Work::Attach { .. } => self.attached_to = None,
                    Work::Start | Work::Stop | Work::Reboot | Work::Detach { .. } | Work::Create | Work::CleanUp | Work::Delete => {}
                }
                self.done(self.phase, *at);
            }
            E::Renamed { generation, name, labels } => {
                self.count(*generation)?;
                (self.name, self.labels) = (name.clone(), labels.clone());
                if self.step.is_none() {
                    self.observed_generation = self.generation;
                }
            }
            E::DeleteRequested { generation, step, at } => {
                if self.phase == Deleting {
                    return Err(self.state());
                }
                self.count(*generation)?;
                // A call of the replaced step may still be under way; the delete waits for its deadline before it believes in absence.
                let pending = self.step.take().and_then(|s| s.pending);
                self.step = Some(Step { pending, ..Step::open(step, Work::Delete) });
                (self.phase, self.last_at) = (Deleting, *at);
            }
            E::Deleted { intent, .. } => {
                self.close(*intent, |w| matches!(w, Work::Delete))?;
                self.terms.claim = Amounts::default();
                return Ok(Fate::Gone);
            }
            E::Vanished { at } => match (self.phase, &self.step) {
                (Active | Stopped, None) => self.done(Lost, *at),
                _ => return Err(self.state()),
            },
            E::ObservedLate { .. } | E::LifecycleCorrected { .. } => {}
            E::Pending { .. } | E::AttemptFailed { .. } | E::Overdue { .. } | E::Resolved { .. } | E::Reopened { .. } => {
                match &mut self.step {
                    Some(step) => step.evolve(event)?,
                    None => return Err(self.state()),
                }
            }
        }
        Ok(Fate::Lives)
    }

    fn state(&self) -> String {
        match &self.step {
            Some(s) => format!("{} with step {} {}", self.phase.name(), s.work.name(), s.intent),
            None => self.phase.name().to_owned(),
        }
    }

    /// Takes the open step, which must be this one and of this work.
    fn close(&mut self, intent: IntentId, of: impl Fn(&Work) -> bool) -> Result<Step, String> {
        self.step.take_if(|step| step.intent == intent && of(&step.work)).ok_or_else(|| self.state())
    }

    fn count(&mut self, generation: u64) -> Result<(), String> {
        if generation != self.generation + 1 {
            return Err(format!("generation {}", self.generation));
        }
        self.generation = generation;
        Ok(())
    }

    fn want(&mut self, generation: u64, step: Step, at: Timestamp) -> Result<(), String> {
        if self.step.is_some() || !matches!(self.phase, Phase::Active | Phase::Stopped) {
            return Err(self.state());
        }
        self.count(generation)?;
        (self.step, self.last_at) = (Some(step), at);
        Ok(())
    }

    fn done(&mut self, phase: Phase, at: Timestamp) {
        (self.phase, self.last_at) = (phase, at.max(self.last_at));
        self.settle();
    }

    fn settle(&mut self) {
        self.step = None;
        self.observed_generation = self.generation;
    }

    fn fail(&mut self, at: Timestamp) {
        self.terms.claim = Amounts::default();
        self.done(Phase::Failed, at);
    }
}

impl E {
    /// The name on the wire, with its family.
    pub fn name(&self) -> &'static str {
        match self {
            E::Requested(_) => "resource.requested",
            E::Provisioned { .. } => "resource.provisioned",
            E::ProvisioningFailed { .. } => "resource.provisioning_failed",
            E::ProvisioningAbandoned { .. } => "resource.provisioning_abandoned",
            E::Cleaned { .. } => "resource.cleaned",
            E::ChangeRequested { .. } => "resource.change_requested",
            E::Changed { .. } => "resource.changed",
            E::StartRequested { .. } => "resource.start_requested",
            E::Started { .. } => "resource.started",
            E::StopRequested { .. } => "resource.stop_requested",
            E::Stopped { .. } => "resource.stopped",
            E::RebootRequested { .. } => "resource.reboot_requested",
            E::Rebooted { .. } => "resource.rebooted",
            E::AttachRequested { .. } => "resource.attach_requested",
            E::Attached { .. } => "resource.attached",
            E::DetachRequested { .. } => "resource.detach_requested",
            E::Detached { .. } => "resource.detached",
            E::Released { .. } => "resource.released",
            E::StepFailed { .. } => "resource.step_failed",
            E::Renamed { .. } => "resource.renamed",
            E::DeleteRequested { .. } => "resource.delete_requested",
            E::Deleted { .. } => "resource.deleted",
            E::Pending { .. } => "resource.pending",
            E::AttemptFailed { .. } => "resource.attempt_failed",
            E::Overdue { .. } => "resource.overdue",
            E::Resolved { .. } => "resource.resolved",
            E::Reopened { .. } => "resource.reopened",
            E::Vanished { .. } => "resource.vanished",
            E::ObservedLate { .. } => "resource.observed_late",
            E::RemainsFound { .. } => "resource.remains_found",
            E::RemainsRemoved { .. } => "resource.remains_removed",
            E::LifecycleCorrected { .. } => "resource.lifecycle_corrected",
        }
    }
}
