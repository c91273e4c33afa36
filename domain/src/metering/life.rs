//! When a resource was there, as its events on the journal tell, and what it was.
//!
//! Only facts decide: it is there from the `at` of `Provisioned` to the `at` of `DeleteRequested`, however long the deletion takes; a lost one to
//! when it was seen last. A create that failed never was. A change counts from when the provider runs it (`Changed`), a stop and a start likewise.
//! A correction puts another time in the place of a fact's own. Whatever else is reported, in whatever order: nothing counts outside of that.

use super::calendar::Slot;
use crate::{
    Timestamp,
    catalogue::Spec,
    command::LifecycleFact,
    id::{CellId, IntentId, ServiceName, ZoneName},
    resource::ResourceEvent as E,
};
use std::{collections::BTreeMap, sync::Arc};

/// What the events of one resource say about its existence. Begin with the default, and apply every event in the order of the chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Life {
    /// What it is and where; nothing before `Requested`.
    pub origin: Option<Origin>,
    provisioned: Fact,
    delete_requested: Fact,
    vanished: Fact,
    marks: Vec<Mark>,
    /// Specs that the provider does not run yet, by the step that is to bring them.
    wanted: BTreeMap<IntentId, Arc<Spec>>,
}

/// What a resource is from the beginning to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its service.
    pub kind: ServiceName,
    /// Its cell; the tenant itself when absent.
    pub cell: Option<CellId>,
    /// Its zone, for zonal kinds.
    pub zone: Option<ZoneName>,
}

/// When something happened: by its own event, and by what a person corrected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fact {
    reported: Option<Timestamp>,
    corrected: Option<Timestamp>,
}

impl Fact {
    fn at(self) -> Option<Timestamp> {
        self.corrected.or(self.reported)
    }

    /// The first report of a fact is the fact.
    fn report(&mut self, at: Timestamp) {
        self.reported.get_or_insert(at);
    }
}

/// From a time on something else holds.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    at: Timestamp,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Spec(Arc<Spec>),
    Running(bool),
}

/// A piece of a life in which nothing changed: [start, end), without an end while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its first microsecond.
    pub start: Timestamp,
    /// The first one after it.
    pub end: Option<Timestamp>,
    /// What the provider ran.
    pub spec: Arc<Spec>,
    /// False while it was stopped.
    pub running: bool,
}

impl Life {
    /// Takes in an event of the resource.
    pub fn apply(&mut self, event: &E) {
        match event {
            E::Requested(r) => {
                self.origin = Some(Origin { kind: r.kind.clone(), cell: r.cell, zone: r.zone.clone() });
                // It holds from the beginning, whenever that will have been.
                self.mark(Timestamp::MIN_UTC, What::Spec(Arc::new(r.terms.spec.clone())));
            }
            E::Provisioned { at, .. } => self.provisioned.report(*at),
            E::DeleteRequested { at, .. } => self.delete_requested.report(*at),
            E::Vanished { at } => self.vanished.report(*at),
            E::LifecycleCorrected { fact, at, .. } => {
                let corrected = match fact {
                    LifecycleFact::Provisioned => &mut self.provisioned,
                    LifecycleFact::DeleteRequested => &mut self.delete_requested,
                    LifecycleFact::Vanished => &mut self.vanished,
                };
                corrected.corrected = Some(*at);
            }
            E::ChangeRequested { terms, step, .. } => {
                self.wanted.insert(step.intent, Arc::new(terms.spec.clone()));
            }
            E::Changed { intent, at } => {
                if let Some(spec) = self.wanted.remove(intent) {
                    self.mark(*at, What::Spec(spec));
                }
            }
            E::StepFailed { intent, .. } => {
                self.wanted.remove(intent);
            }
            E::Stopped { at, .. } => self.mark(*at, What::Running(false)),
            E::Started { at, .. } | E::Rebooted { at, .. } => self.mark(*at, What::Running(true)),
            // Nothing of these says that anything is there, or what it is.
            E::ProvisioningFailed { .. } | E::ProvisioningAbandoned { .. } | E::Cleaned { .. } | E::Deleted { .. } => {}
            E::StartRequested { .. } | E::StopRequested { .. } | E::RebootRequested { .. } => {}
            E::AttachRequested { .. } | E::Attached { .. } | E::DetachRequested { .. } | E::Detached { .. } | E::Released { .. } => {}
            E::Renamed { .. } | E::Pending { .. } | E::AttemptFailed { .. } | E::Overdue { .. } => {}
            E::Resolved { .. } | E::Reopened { .. } | E::ObservedLate { .. } | E::RemainsFound { .. } | E::RemainsRemoved { .. } => {}
        }
    }

    /// Of two at the same time the later event holds, so marks stay in the order in which they came.
    fn mark(&mut self, at: Timestamp, what: What) {
        let behind = self.marks.partition_point(|mark| mark.at <= at);
        self.marks.insert(behind, Mark { at, what });
    }

    /// When it began to be there; nothing when it never was.
    pub fn start(&self) -> Option<Timestamp> {
        let start = self.provisioned.at()?;
        self.end().is_none_or(|end| start < end).then_some(start)
    }

    /// When it ceased to count; nothing while it does.
    pub fn end(&self) -> Option<Timestamp> {
        let (deleted, vanished) = (self.delete_requested.at(), self.vanished.at());
        deleted.into_iter().chain(vanished).min()
    }

    /// True when it was there at a time.
    pub fn was_there(&self, time: Timestamp) -> bool {
        self.start().is_some_and(|start| start <= time) && self.end().is_none_or(|end| time < end)
    }

    /// For how much of a slot it was there, in microseconds; what is still there was there for all that is left of it.
    pub fn microseconds_in(&self, slot: Slot) -> i64 {
        let Some(start) = self.start() else { return 0 };
        let (start, end) = (start.max(slot.start), self.end().map_or(slot.end, |end| end.min(slot.end)));
        if start < end { (Slot { start, end }).microseconds() } else { 0 }
    }

    /// Its life in pieces, one after the other, without holes and without empty ones.
    pub fn spans(&self) -> Vec<Span> {
        let (Some(start), end) = (self.start(), self.end()) else { return Vec::new() };
        let (mut spans, mut spec, mut running): (Vec<Span>, Arc<Spec>, bool) = (Vec::new(), Arc::default(), true);
        let mut begins = start;
        for Mark { at, what } in self.marks.iter().filter(|mark| end.is_none_or(|end| mark.at < end)) {
            let (before, ran) = (spec.clone(), running);
            match what {
                What::Spec(after) => spec = after.clone(),
                What::Running(after) => running = *after,
            }
            if *at > begins && (&before, ran) != (&spec, running) {
                spans.push(Span { start: begins, end: Some(*at), spec: before, running: ran });
                begins = *at;
            }
        }
        spans.push(Span { start: begins, end, spec, running });
        spans
    }
}
