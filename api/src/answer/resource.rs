//! What a commit says about a resource.

use super::{Done, resource_path};
use crate::seal::redact;
use axum::http::StatusCode;
use domain::{
    Labels, Timestamp,
    catalogue::Spec,
    event::Event,
    id::{CellId, IntentId, ResourceId, ServiceName, TenantId, ZoneName},
    quota::Amounts,
    resource::{Opened, ResourceEvent as E, Terms},
};
use serde::Serialize;
use utoipa::ToSchema;

/// A resource, as far as the commit says it: what did not change is absent. Read the resource for all of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ResourceAnswer {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: ResourceId,
    /// Its tenant.
    #[schema(value_type = uuid::Uuid)]
    pub tenant: TenantId,
    /// Always true: this commit changed something.
    pub changed: bool,
    /// Counts what is wanted; also the entity tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The cell that it sits in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub cell: Option<CellId>,
    /// The service of the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<ServiceName>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people and billing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub labels: Option<Labels>,
    /// The logical subscriber identity of the BSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// Its availability zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub zone: Option<ZoneName>,
    /// What is wanted, with everything that was looked up written into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub spec: Option<Spec>,
    /// What it claims of quota, a dimension.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    pub claim: Option<Amounts>,
    /// Where it is in its life: creating, active, stopped, failing, failed, deleting, deleted, lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'static str>,
    /// What is being done from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepAnswer>,
    /// What it is being attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub attached_to: Option<ResourceId>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// A step of a resource's life that a worker is to do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepAnswer {
    /// Its intent.
    #[schema(value_type = uuid::Uuid)]
    pub intent: IntentId,
    /// What is to be done: create, change, start, stop, reboot, attach, detach, clean_up, delete.
    pub work: &'static str,
    /// When it counts as overdue.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Timestamp,
}

impl StepAnswer {
    fn new(opened: &Opened, work: &'static str) -> Option<Self> {
        Some(Self { intent: opened.intent, work, deadline: opened.deadline })
    }
}

/// What the commit says about `resource`.
pub(super) fn done(tenant: TenantId, resource: ResourceId, events: &[Event]) -> Done {
    let mut told = ResourceAnswer::of(tenant, resource);
    let mut created = false;
    for event in events {
        if let Event::Resource { resource: about, event, .. } = event
            && *about == resource
        {
            created |= matches!(event, E::Requested(_));
            told.tell(event);
        }
    }
    let generation = told.generation;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let done = Done::new(status, &told).tagged(generation);
    if created { done.at(resource_path(tenant, resource)) } else { done }
}

impl ResourceAnswer {
    fn of(tenant: TenantId, id: ResourceId) -> Self {
        Self {
            id,
            tenant,
            changed: true,
            generation: None,
            cell: None,
            kind: None,
            name: None,
            labels: None,
            subscriber: None,
            zone: None,
            spec: None,
            claim: None,
            phase: None,
            step: None,
            attached_to: None,
            at: None,
        }
    }

    fn tell(&mut self, event: &E) {
        match event {
            E::Requested(requested) => {
                let r = requested.as_ref().clone();
                (self.cell, self.kind, self.zone, self.subscriber) = (r.cell, Some(r.kind), r.zone, r.subscriber);
                (self.name, self.labels) = (Some(r.name), Some(r.labels));
                self.wanted(1, Some(&r.terms), r.at);
                (self.phase, self.step) = (Some("creating"), StepAnswer::new(&r.step, "create"));
            }
            E::ChangeRequested { generation, terms, step, at } => {
                self.wanted(*generation, Some(terms), *at);
                self.step = StepAnswer::new(step, "change");
            }
            E::StartRequested { generation, step, at } => {
                self.wanted(*generation, None, *at);
                self.step = StepAnswer::new(step, "start");
            }
            E::StopRequested { generation, step, at } => {
                self.wanted(*generation, None, *at);
                self.step = StepAnswer::new(step, "stop");
            }
            E::RebootRequested { generation, step, at } => {
                self.wanted(*generation, None, *at);
                self.step = StepAnswer::new(step, "reboot");
            }
            E::AttachRequested { generation, to, step, at } => {
                self.wanted(*generation, None, *at);
                (self.attached_to, self.step) = (Some(*to), StepAnswer::new(step, "attach"));
            }
            E::DetachRequested { generation, step, at, .. } => {
                self.wanted(*generation, None, *at);
                self.step = StepAnswer::new(step, "detach");
            }
            E::DeleteRequested { generation, step, at } => {
                self.wanted(*generation, None, *at);
                (self.phase, self.step) = (Some("deleting"), StepAnswer::new(step, "delete"));
            }
            E::Renamed { generation, name, labels } => {
                (self.generation, self.name, self.labels) = (Some(*generation), Some(name.clone()), Some(labels.clone()));
            }
            E::Reopened { step } => self.step = StepAnswer::new(step, "again"),
            E::ProvisioningAbandoned { step, at, .. } => {
                (self.phase, self.step, self.at) = (Some("failing"), StepAnswer::new(step, "clean_up"), Some(*at));
            }
            E::Provisioned { at, .. } | E::Started { at, .. } | E::Rebooted { at, .. } => self.became(Some("active"), *at),
            E::Stopped { at, .. } => self.became(Some("stopped"), *at),
            E::ProvisioningFailed { at, .. } | E::Cleaned { at, .. } => self.became(Some("failed"), *at),
            E::Deleted { at, .. } => self.became(Some("deleted"), *at),
            E::Vanished { at } => self.became(Some("lost"), *at),
            E::Attached { to, at, .. } => {
                self.attached_to = Some(*to);
                self.became(None, *at);
            }
            E::Changed { at, .. }
            | E::Detached { at, .. }
            | E::Released { at, .. }
            | E::StepFailed { at, .. }
            | E::LifecycleCorrected { at, .. } => self.became(None, *at),
            E::RemainsFound { step, .. } => self.step = StepAnswer::new(step, "clean_up"),
            E::Pending { .. }
            | E::AttemptFailed { .. }
            | E::Overdue { .. }
            | E::Resolved { .. }
            | E::ObservedLate { .. }
            | E::RemainsRemoved { .. } => {}
        }
    }

    fn wanted(&mut self, generation: u64, terms: Option<&Terms>, at: Timestamp) {
        (self.generation, self.at) = (Some(generation), Some(at));
        if let Some(terms) = terms {
            (self.spec, self.claim) = (Some(redact(&terms.spec)), Some(terms.claim.clone()));
        }
    }

    fn became(&mut self, phase: Option<&'static str>, at: Timestamp) {
        (self.phase, self.at) = (phase.or(self.phase), Some(at));
    }
}
