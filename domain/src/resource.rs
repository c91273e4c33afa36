//! A resource of any catalogue kind, and its life.
//!
//! ```text
//!  Requested ─▶ creating ─ Provisioned ──────────────────────────▶ active ⇄ stopped      one step at a time:
//!                  │                                                 │  ▲               Change, Start, Stop, Reboot, Attach, Detach
//!                  ├─ ProvisioningFailed (nothing left) ─▶ failed    │  └── done, or StepFailed (back to what was before)
//!                  └─ ProvisioningAbandoned ─▶ failing ─ Cleaned ─▶ failed
//!                                                                    ├─ Vanished ─▶ lost
//!  from every phase: DeleteRequested ─▶ deleting ─ Deleted ─▶ gone (only its id is remembered)
//! ```
//!
//! - One step is open at a time; a second change meanwhile is refused as busy. A delete is accepted in every phase and replaces the open step.
//! - `generation` counts what is wanted; `observed_generation` follows when no step is left open.
//! - The claim is made by the request, raised before a change and lowered after it, and released once: by `Deleted`, or by the failure of a
//!   create of which nothing is left at the provider.
//! - What comes too late changes nothing that is wanted (`ObservedLate`); about something that is gone or failed it opens a clean-up
//!   (`RemainsFound`).
//! - Every step has a deadline in the chain's time. An overdue create is given up and cleaned up; an overdue change goes back; an overdue delete
//!   or clean-up is shown as overdue and goes on until it is done or an operator resolves it.

mod evolve;
mod report;
mod request;

use crate::{
    Labels, Timestamp,
    catalogue::Spec,
    command::{LifecycleFact, Verdict},
    id::{CellId, IntentId, ResourceId, ServiceName, ZoneName},
    quota::Amounts,
};
use serde::{Deserialize, Serialize};

/// Facts about a resource. `at` is when it happened; the commit's time is when it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum ResourceEvent {
    /// The customer asked for the resource and both quotas had room; the claim is part of this fact.
    ///
    /// Nothing exists yet; `Provisioned` says so. Workers act on this event and may see it twice: the step's intent is the key under which a
    /// provider must treat both as one.
    Requested(Box<Requested>),
    /// The provider confirmed that the resource exists. Metering counts from `at`.
    Provisioned {
        intent: IntentId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external: Option<String>,
        at: Timestamp,
    },
    /// The create failed and nothing of it is left at the provider; its claim is released.
    ProvisioningFailed { intent: IntentId, problem: String, at: Timestamp },
    /// The create is given up, but something of it may be left: `step` removes it. The claim stays.
    ProvisioningAbandoned { intent: IntentId, problem: String, step: Opened, at: Timestamp },
    /// Nothing of a failed create is left; its claim is released.
    Cleaned { intent: IntentId, at: Timestamp },

    /// Another spec is wanted. The claim covers both the old and the new one until the step ends.
    ChangeRequested { generation: u64, terms: Box<Terms>, step: Opened, at: Timestamp },
    /// The provider runs the new spec. From here on only that is claimed and used.
    Changed { intent: IntentId, at: Timestamp },
    /// It is to run.
    StartRequested { generation: u64, step: Opened, at: Timestamp },
    /// It runs.
    Started { intent: IntentId, at: Timestamp },
    /// It is to cease running.
    StopRequested { generation: u64, step: Opened, at: Timestamp },
    /// It does not run.
    Stopped { intent: IntentId, at: Timestamp },
    /// It is to stop and start at once.
    RebootRequested { generation: u64, step: Opened, at: Timestamp },
    /// It was rebooted and runs.
    Rebooted { intent: IntentId, at: Timestamp },
    /// It is to be attached to another resource of the tenant, which it uses from here on.
    AttachRequested { generation: u64, to: ResourceId, step: Opened, at: Timestamp },
    /// It is attached.
    Attached { intent: IntentId, to: ResourceId, at: Timestamp },
    /// It is to be detached.
    DetachRequested { generation: u64, from: ResourceId, step: Opened, at: Timestamp },
    /// It is detached.
    Detached { intent: IntentId, from: ResourceId, at: Timestamp },
    /// What it was attached to is gone, and the attachment with it.
    Released { from: ResourceId, at: Timestamp },
    /// The change, action, attach or detach failed for good; what is wanted is again what was before, and so is the claim.
    StepFailed { intent: IntentId, problem: String, at: Timestamp },

    /// Name or labels changed; both as they are now. No provider is concerned.
    Renamed { generation: u64, name: String, labels: Labels },

    /// It is to be deleted for ever. Billing ends at `at`, however long the deletion takes.
    DeleteRequested { generation: u64, step: Opened, at: Timestamp },
    /// It is gone from the provider; its claim is released.
    Deleted { intent: IntentId, at: Timestamp },

    /// A worker holds the step and makes one call that it will not wait for beyond `call_deadline`.
    Pending { intent: IntentId, worker: String, epoch: u64, call_deadline: Timestamp },
    /// An attempt failed; the step stays open. `attempts` counts within the step.
    AttemptFailed { intent: IntentId, attempts: u32, problem: String },
    /// The step's deadline passed and it stays open.
    Overdue { intent: IntentId },
    /// An operator resolved a stuck step; the events beside this one say what followed.
    Resolved { intent: IntentId, verdict: Verdict, reason: String },
    /// The operator had the step begun again, with a new deadline.
    Reopened { step: Opened },

    /// It is gone from the provider though nobody asked for that. Seen last at `at`.
    Vanished { at: Timestamp },
    /// Something reported for a step that is not open any more. It changes nothing that is wanted.
    ObservedLate { intent: IntentId, observed: String },
    /// Something of a resource that is gone, or that failed, turned up at the provider; `step` removes it. Nothing is claimed for it.
    RemainsFound {
        kind: ServiceName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<ZoneName>,
        /// The intent under which it was made.
        made_by: IntentId,
        step: Opened,
    },
    /// It was removed.
    RemainsRemoved { intent: IntentId },
    /// It became known late when something had happened. The times of earlier events stand corrected by this one.
    LifecycleCorrected { fact: LifecycleFact, at: Timestamp, reason: String },
}

/// All that a resource begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Requested {
    /// Where it sits; the tenant itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellId>,
    /// The service of the catalogue.
    pub kind: ServiceName,
    /// The service's version at that time.
    pub version: u32,
    /// For people.
    pub name: String,
    /// For people and billing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The logical subscriber identity of the BSS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// Its zone, for zonal kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// What was asked for.
    #[serde(flatten)]
    pub terms: Terms,
    /// True when it can be stopped and started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub power: bool,
    /// The step that makes it.
    pub step: Opened,
    /// When it was asked for.
    pub at: Timestamp,
}

/// A spec and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Terms {
    /// What was asked for, with everything that was looked up written into it.
    pub spec: Spec,
    /// What it claims of quota.
    pub claim: Amounts,
    /// Resources of the tenant that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ResourceId>,
}

/// A step that an event opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Opened {
    /// Its intent.
    pub intent: IntentId,
    /// When it counts as overdue, in the chain's time.
    pub deadline: Timestamp,
}

/// Where a resource is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asked for; nothing is confirmed.
    Creating,
    /// It exists and runs, or is of a kind that does not run.
    Active,
    /// It exists and does not run.
    Stopped,
    /// The create is given up; what is left of it is being removed.
    Failing,
    /// The create failed; nothing is left and nothing is claimed.
    Failed,
    /// It is being deleted.
    Deleting,
    /// It vanished at the provider.
    Lost,
}

impl Phase {
    /// The name shown to people and kept in read models.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Creating => "creating",
            Phase::Active => "active",
            Phase::Stopped => "stopped",
            Phase::Failing => "failing",
            Phase::Failed => "failed",
            Phase::Deleting => "deleting",
            Phase::Lost => "lost",
        }
    }
}

/// What is being done, and for changes what to go back to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Make it.
    Create,
    /// Give it the wanted spec.
    Change {
        /// What to go back to if it fails.
        before: Box<Terms>,
        /// What holds once it is done.
        after: Box<Terms>,
    },
    /// Let it run.
    Start,
    /// Let it cease to run.
    Stop,
    /// Stop and start it.
    Reboot,
    /// Attach it.
    Attach {
        /// To what.
        to: ResourceId,
    },
    /// Detach it.
    Detach {
        /// From what.
        from: ResourceId,
    },
    /// Remove what is left of a failed create.
    CleanUp,
    /// Delete it.
    Delete,
}

impl Work {
    /// The name shown to people and kept in read models.
    pub fn name(&self) -> &'static str {
        match self {
            Work::Create => "create",
            Work::Change { .. } => "change",
            Work::Start => "start",
            Work::Stop => "stop",
            Work::Reboot => "reboot",
            Work::Attach { .. } => "attach",
            Work::Detach { .. } => "detach",
            Work::CleanUp => "clean_up",
            Work::Delete => "delete",
        }
    }
}

/// The open step of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The key under which a provider treats repeated calls as one.
    pub intent: IntentId,
    /// What is to be done.
    pub work: Work,
    /// When it counts as overdue, in the chain's time.
    pub deadline: Timestamp,
    /// True once it does.
    pub overdue: bool,
    /// Who is calling the provider: worker, its epoch, and until when.
    pub pending: Option<Pending>,
    /// Attempts that failed.
    pub attempts: u32,
}

/// A call to a provider that may be under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The worker process.
    pub worker: String,
    /// Its count of calls for this step.
    pub epoch: u64,
    /// It waits no longer than this.
    pub call_deadline: Timestamp,
}

/// A resource as of a position of its tenant's chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Where it sits; the tenant itself when absent.
    pub cell: Option<CellId>,
    /// The service of the catalogue.
    pub kind: ServiceName,
    /// For people.
    pub name: String,
    /// For people and billing.
    pub labels: Labels,
    /// Its zone, for zonal kinds.
    pub zone: Option<ZoneName>,
    /// What is wanted; while a change is under way, the claim and the uses of both what was and what will be.
    pub terms: Terms,
    /// Counts what is wanted.
    pub generation: u64,
    /// The last generation that is in place.
    pub observed_generation: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// True when it can be stopped and started.
    pub power: bool,
    /// The intent that made it, and by which a provider names it.
    pub made_by: IntentId,
    /// What it is attached to, or is being attached to.
    pub attached_to: Option<ResourceId>,
    /// What is being done.
    pub step: Option<Step>,
    /// The last accepted time of its life.
    pub last_at: Timestamp,
}

/// Something of a gone resource that is being removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remains {
    /// Its kind.
    pub kind: ServiceName,
    /// Its zone, for zonal kinds.
    pub zone: Option<ZoneName>,
    /// The intent under which it was made.
    pub made_by: IntentId,
    /// The step that removes it.
    pub step: Step,
}

impl Remains {
    /// Remains as they are found, with their clean-up open.
    pub fn found(kind: &ServiceName, zone: &Option<ZoneName>, made_by: IntentId, opened: &Opened) -> Self {
        Self { kind: kind.clone(), zone: zone.clone(), made_by, step: Step::open(opened, Work::CleanUp) }
    }
}

impl Step {
    fn open(opened: &Opened, work: Work) -> Self {
        Self { intent: opened.intent, work, deadline: opened.deadline, overdue: false, pending: None, attempts: 0 }
    }
}
