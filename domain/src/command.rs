//! What somebody asks for, or a worker reports. A command may be refused; an event may not.

use crate::{
    Labels, Timestamp,
    catalogue::{Action, Flavor, Service, Spec},
    id::{CellId, CommandId, FlavorName, IntentId, RegionName, ResourceId, ServiceName, TenantId, ZoneName},
    people::{Actor, Grant, Principal},
    platform::{RunningRole, ZoneState},
    quota::{LimitChanges, Limits},
    tenant::Clock,
};
use serde::{Deserialize, Serialize};

/// A command with everything that deciding it may know beside state and facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The same id again is the same command again.
    pub id: CommandId,
    /// The tenant whose chain it is for; none for the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Who asks.
    pub actor: Actor,
    /// The first 8 bytes of the digest of the whole request: the same id with another fingerprint is another request under a used key.
    pub fingerprint: u64,
    /// When it happened, for tenants with the effective clock and for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// After this time nobody waits for the outcome any more.
    pub expires: Timestamp,
    /// The seq of the platform's chain that must have been read before this is decided.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_platform: u64,
    /// What is asked.
    pub command: Command,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Everything that can be asked or reported. On the wire `{"kind": "create_resource", "body": {...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", content = "body", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum Command {
    // On the platform's chain, by its operators.
    /// A region exists.
    DeclareRegion { region: RegionName, title: String },
    /// A zone exists in a region, and is open.
    DeclareZone { zone: ZoneName, region: RegionName },
    /// Open, drain or close a zone.
    SetZoneState { zone: ZoneName, state: ZoneState },
    /// Publish a service or its next version.
    PublishService { service: Box<Service> },
    /// Take no new orders until it is published again.
    PauseService { service: ServiceName },
    /// Take no new orders ever.
    RetireService { service: ServiceName },
    /// A flavor exists; sizes never change under a name.
    DefineFlavor { flavor: Flavor },
    /// What a tenant gets when it is opened.
    SetDefaultQuota { tenant: Limits, cell: Limits },
    /// Make somebody an operator. From a worker's console this needs no operator: it is how the first one comes to be.
    AppointOperator { operator: Principal },
    /// Take the right of an operator away.
    DismissOperator { operator: Principal },
    /// New event versions may be written from here on. The roles that run are looked up by whoever sends it.
    RaiseFormat {
        format: u32,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        running: Vec<RunningRole>,
    },
    /// First half of opening a tenant: its external reference is unique over all tenants.
    ReserveTenant {
        /// The party of the BSS.
        reference: String,
        /// For people.
        name: String,
        /// The first Tenant Super Administrator.
        administrator: Principal,
        /// By which clock its events happen.
        #[serde(default)]
        clock: Clock,
        /// For people and billing.
        #[serde(default)]
        labels: Labels,
        /// Limits of its own instead of the defaults, by dimension.
        #[serde(default)]
        limits: Limits,
        /// Default limits of its cells instead of the platform's, by dimension.
        #[serde(default)]
        cell_default: Limits,
    },

    // On a tenant's chain.
    /// Second half of opening a tenant. Holds nothing: all of it comes from the reservation.
    OpenTenant {},
    /// Give it another name or other labels.
    RenameTenant {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        labels: Option<Labels>,
    },
    /// Accept only stop, detach and delete from now on.
    SuspendTenant { reason: String },
    /// Accept everything again.
    ResumeTenant {},
    /// End it: at once when empty; with `drain` everything is deleted first.
    CloseTenant {
        #[serde(default)]
        drain: bool,
    },
    /// Change the tenant's own limits and its default for cells.
    SetTenantQuota {
        #[serde(default)]
        limits: Limits,
        #[serde(default)]
        cell_default: LimitChanges,
    },
    /// Create a division.
    CreateCell {
        name: String,
        /// Its account in the BSS.
        #[serde(default)]
        billing_account: Option<String>,
        /// Limits of its own.
        #[serde(default)]
        limits: Limits,
        /// Always refused: cells do not nest.
        #[serde(default)]
        parent: Option<CellId>,
    },
    /// Give a cell another name.
    RenameCell { cell: CellId, name: String },
    /// End an empty cell.
    CloseCell { cell: CellId },
    /// Change a cell's own limits; `null` inherits again.
    SetCellQuota { cell: CellId, limits: LimitChanges },
    /// Give a role to somebody.
    GrantRole { principal: Principal, grant: Grant },
    /// Take a role from somebody.
    RevokeRole { principal: Principal, grant: Grant },
    /// Order something of the catalogue.
    CreateResource {
        #[serde(default)]
        cell: Option<CellId>,
        kind: ServiceName,
        /// The version of the service whose schema the spec was checked against.
        version: u32,
        name: String,
        #[serde(default)]
        zone: Option<ZoneName>,
        #[serde(default)]
        labels: Labels,
        /// The logical subscriber identity of the BSS.
        #[serde(default)]
        subscriber: Option<String>,
        /// Sizes by name; what it stands for is written into the spec.
        #[serde(default)]
        flavor: Option<FlavorName>,
        spec: Spec,
    },
    /// Change name, labels or spec. Absent is unchanged.
    ChangeResource {
        resource: ResourceId,
        #[serde(default)]
        if_generation: Option<u64>,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        labels: Option<Labels>,
        #[serde(default)]
        spec: Option<Spec>,
        /// The version of the service whose schema the spec was checked against.
        version: u32,
    },
    /// Start, stop or reboot.
    ActOnResource {
        resource: ResourceId,
        #[serde(default)]
        if_generation: Option<u64>,
        action: Action,
    },
    /// Attach to another resource: a volume to a server.
    AttachResource {
        resource: ResourceId,
        #[serde(default)]
        if_generation: Option<u64>,
        to: ResourceId,
    },
    /// Detach from what it is attached to.
    DetachResource {
        resource: ResourceId,
        #[serde(default)]
        if_generation: Option<u64>,
    },
    /// Delete for ever.
    DeleteResource {
        resource: ResourceId,
        #[serde(default)]
        if_generation: Option<u64>,
    },
    /// An operator says how a stuck step ended.
    ResolveStep { resource: ResourceId, intent: IntentId, verdict: Verdict, reason: String },
    /// An operator corrects when something happened, because it became known late.
    CorrectLifecycle { resource: ResourceId, fact: LifecycleFact, at: Timestamp, reason: String },

    // Reports, on a tenant's chain, by workers.
    /// A worker is about to make one call for a step.
    ReportPending { resource: ResourceId, intent: IntentId, worker: String, epoch: u64, call_deadline: Timestamp },
    /// A step is done.
    ReportDone {
        resource: ResourceId,
        intent: IntentId,
        /// The provider's own id, where the step made something.
        #[serde(default)]
        external: Option<String>,
        /// Where it was made, so that late news about what is gone can be cleaned up.
        kind: ServiceName,
        #[serde(default)]
        zone: Option<ZoneName>,
    },
    /// A step failed for good.
    ReportFailed {
        resource: ResourceId,
        intent: IntentId,
        /// In plain words, for the tenant.
        problem: String,
        /// True when something of it may be left at the provider.
        remains: bool,
    },
    /// An attempt failed; others will follow.
    ReportAttempt { resource: ResourceId, intent: IntentId, attempts: u32, problem: String },
    /// What was there is gone from the provider; seen last at `at`.
    ReportVanished { resource: ResourceId },
    /// The deadline of a step has passed.
    DeadlinePassed { resource: ResourceId, intent: IntentId },
}

/// How an operator resolves a stuck step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It happened.
    Done,
    /// It did not happen and nothing of it is left.
    Failed,
    /// Begin again with a new deadline.
    Retry,
}

/// A time of a resource's life that can be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LifecycleFact {
    /// When it began to exist.
    Provisioned,
    /// When its deletion was asked for.
    DeleteRequested,
    /// When it was seen last.
    Vanished,
}

/// Which topic a command came by; only Cirrus' own parts may write reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The commands topic.
    Commands,
    /// The reports topic.
    Reports,
}

impl Command {
    /// The name on the wire and in commits.
    pub fn kind(&self) -> &'static str {
        use Command::*;
        match self {
            DeclareRegion { .. } => "declare_region",
            DeclareZone { .. } => "declare_zone",
            SetZoneState { .. } => "set_zone_state",
            PublishService { .. } => "publish_service",
            PauseService { .. } => "pause_service",
            RetireService { .. } => "retire_service",
            DefineFlavor { .. } => "define_flavor",
            SetDefaultQuota { .. } => "set_default_quota",
            AppointOperator { .. } => "appoint_operator",
            DismissOperator { .. } => "dismiss_operator",
            RaiseFormat { .. } => "raise_format",
            ReserveTenant { .. } => "reserve_tenant",
            OpenTenant {} => "open_tenant",
            RenameTenant { .. } => "rename_tenant",
            SuspendTenant { .. } => "suspend_tenant",
            ResumeTenant {} => "resume_tenant",
            CloseTenant { .. } => "close_tenant",
            SetTenantQuota { .. } => "set_tenant_quota",
            CreateCell { .. } => "create_cell",
            RenameCell { .. } => "rename_cell",
            CloseCell { .. } => "close_cell",
            SetCellQuota { .. } => "set_cell_quota",
            GrantRole { .. } => "grant_role",
            RevokeRole { .. } => "revoke_role",
            CreateResource { .. } => "create_resource",
            ChangeResource { .. } => "change_resource",
            ActOnResource { .. } => "act_on_resource",
            AttachResource { .. } => "attach_resource",
            DetachResource { .. } => "detach_resource",
            DeleteResource { .. } => "delete_resource",
            ResolveStep { .. } => "resolve_step",
            CorrectLifecycle { .. } => "correct_lifecycle",
            ReportPending { .. } => "report_pending",
            ReportDone { .. } => "report_done",
            ReportFailed { .. } => "report_failed",
            ReportAttempt { .. } => "report_attempt",
            ReportVanished { .. } => "report_vanished",
            DeadlinePassed { .. } => "deadline_passed",
        }
    }
}
