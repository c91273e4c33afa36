//! Why a command was refused, as sentences.
//!
//! A refusal is recorded like any outcome. [`Refusal::is_worth_retrying`] says which ones free the idempotency key: the same request may succeed later
//! without being changed.

use crate::{
    Timestamp,
    id::{CellId, Dimension, FlavorName, IntentId, RegionName, ResourceId, ServiceName, TenantId, ZoneName},
    people::{Permission, Role},
    quota::{Level, Limit},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A reason to change nothing. Serialised as `{"reason": "...", ...fields}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// The same idempotency key came with another request.
    #[error("this idempotency key was used for another request")]
    KeyReused,
    /// The principal may not do this, and may know that it exists.
    #[error("this needs the permission {permission:?}")]
    Forbidden {
        /// What is missing.
        permission: Permission,
    },
    /// Only an operator of the platform may do this.
    #[error("only an operator of the platform may do this")]
    OperatorsOnly,
    /// This command may come only from Cirrus' own workers.
    #[error("this may only be reported by a worker")]
    WorkersOnly,
    /// The command was sent to a chain that it does not concern.
    #[error("this command does not belong to this chain")]
    WrongChain,
    /// The platform's own facts are too old here to decide on them.
    #[error("the platform's facts are stale here; try again")]
    PlatformStale,

    /// No such tenant.
    #[error("there is no tenant {tenant}")]
    NoSuchTenant {
        /// The id asked for.
        tenant: TenantId,
    },
    /// Another tenant holds this external reference.
    #[error("the external reference {reference:?} belongs to another tenant")]
    ReferenceTaken {
        /// The reference of the BSS.
        reference: String,
    },
    /// While suspended only stop, detach and delete are accepted.
    #[error("the tenant is suspended: only stop, detach and delete are accepted")]
    TenantSuspended,
    /// The tenant is being closed.
    #[error("the tenant is closing")]
    TenantClosing,
    /// The tenant was closed.
    #[error("the tenant is closed")]
    TenantClosed,
    /// The tenant or cell still holds something.
    #[error("not empty: {resources} resources, {cells} cells")]
    NotEmpty {
        /// Resources that are left.
        resources: u64,
        /// Open cells that are left.
        cells: u64,
    },
    /// No such cell in this tenant.
    #[error("there is no cell {cell}")]
    NoSuchCell {
        /// The id asked for.
        cell: CellId,
    },
    /// The cell was closed.
    #[error("cell {cell} is closed")]
    CellClosed {
        /// Its id.
        cell: CellId,
    },
    /// Cells do not nest.
    #[error("cells do not nest: a cell has a tenant as its parent")]
    CellsDoNotNest,

    /// A claim would pass a limit.
    #[error("quota of the {}: {dimension} has limit {limit}, used {used}, asked {asked}", match level { Level::Tenant => "tenant", Level::Cell => "cell" })]
    QuotaExceeded {
        /// Whose limit.
        level: Level,
        /// In which dimension.
        dimension: Dimension,
        /// The limit in force.
        limit: Limit,
        /// In use before.
        used: u64,
        /// Asked for on top.
        asked: u64,
    },
    /// A cell's limit may not be above its tenant's.
    #[error("{dimension}: {asked} is above the tenant's limit {limit}")]
    AboveTenantLimit {
        /// In which dimension.
        dimension: Dimension,
        /// The tenant's limit.
        limit: Limit,
        /// What was asked for.
        asked: Limit,
    },
    /// A dimension that no service of the catalogue declares.
    #[error("no service declares the quota dimension {dimension}")]
    UnknownDimension {
        /// The name asked for.
        dimension: Dimension,
    },

    /// The role cannot be granted like this.
    #[error("{role:?} is granted {}", if *.of_cell { "in a cell" } else { "in the tenant, not in a cell" })]
    RoleLevel {
        /// The role.
        role: Role,
        /// True when it needs a cell.
        of_cell: bool,
    },
    /// The last Tenant Super Administrator cannot go.
    #[error("the last super administrator of a tenant cannot be removed")]
    LastSuperAdministrator,
    /// The last operator of the platform cannot go.
    #[error("the last operator of the platform cannot be dismissed")]
    LastOperator,

    /// No such region.
    #[error("there is no region {region}")]
    NoSuchRegion {
        /// The name asked for.
        region: RegionName,
    },
    /// No such zone.
    #[error("there is no availability zone {zone}")]
    NoSuchZone {
        /// The name asked for.
        zone: ZoneName,
    },
    /// The zone takes nothing new.
    #[error("the availability zone {zone} takes nothing new")]
    ZoneNotOpen {
        /// Its name.
        zone: ZoneName,
    },
    /// The service needs a zone, or is regional and takes none.
    #[error("{service} {}", if *.zonal { "needs an availability zone" } else { "is regional and takes no availability zone" })]
    ZoneMismatch {
        /// The service.
        service: ServiceName,
        /// True when a zone is missing.
        zonal: bool,
    },
    /// No such service in the catalogue.
    #[error("the catalogue has no service {service}")]
    NoSuchService {
        /// The name asked for.
        service: ServiceName,
    },
    /// The service is not sold at the moment or any more.
    #[error("{service} cannot be ordered: it is {state}")]
    ServiceNotOrderable {
        /// The service.
        service: ServiceName,
        /// `paused` or `retired`.
        state: String,
    },
    /// The catalogue moved on between the check of the spec and the decision.
    #[error("{service} has version {current} now; the request was checked against {checked}")]
    CatalogueMoved {
        /// The service.
        service: ServiceName,
        /// The version that the request was checked against.
        checked: u32,
        /// The version now.
        current: u32,
    },
    /// A version of a service must be one above the last.
    #[error("{service} must be published as version {expected}")]
    ServiceVersion {
        /// The service.
        service: ServiceName,
        /// The next version.
        expected: u32,
    },
    /// No such flavor.
    #[error("there is no flavor {flavor}")]
    NoSuchFlavor {
        /// The name asked for.
        flavor: FlavorName,
    },
    /// The service does not exist at this level.
    #[error("{service} cannot be placed {}", if *.cell { "in a cell" } else { "at the tenant's own level" })]
    WrongLevel {
        /// The service.
        service: ServiceName,
        /// True when a cell was asked for.
        cell: bool,
    },

    /// A field of the request has no acceptable value.
    #[error("{pointer}: {problem}")]
    BadField {
        /// JSON pointer into the request: `#/spec/size_gib`.
        pointer: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No such resource in this tenant.
    #[error("there is no resource {resource}")]
    NoSuchResource {
        /// The id asked for.
        resource: ResourceId,
    },
    /// A reference points to something that cannot be used here.
    #[error("{pointer}: {resource} cannot be referred to: {problem}")]
    BadReference {
        /// Where in the request.
        pointer: String,
        /// What it points to.
        resource: ResourceId,
        /// Why not: absent, another kind, another cell, another zone, being deleted.
        problem: String,
    },
    /// Others use it.
    #[error("in use by {} others", by.len())]
    InUse {
        /// The users, at most 100 of them.
        by: Vec<ResourceId>,
    },
    /// The kind has no such action.
    #[error("{service} has no action {action}")]
    NoSuchAction {
        /// The service.
        service: ServiceName,
        /// The action.
        action: String,
    },
    /// The state of the resource does not allow this.
    #[error("not possible while the resource is {phase}")]
    WrongPhase {
        /// The phase it is in.
        phase: String,
    },
    /// Another change is under way.
    #[error("another step is under way: {step}")]
    Busy {
        /// The step.
        step: String,
        /// Its intent.
        intent: IntentId,
    },
    /// `If-Match` names a generation that is not the present one.
    #[error("the generation is {current}, not {expected}")]
    GenerationMismatch {
        /// What the caller had seen.
        expected: u64,
        /// What it is.
        current: u64,
    },
    /// The step of a report or of an operator is not the open one.
    #[error("intent {intent} is not the open step")]
    StepNotOpen {
        /// The intent named.
        intent: IntentId,
    },
    /// Another worker holds the step until its call deadline, or a later call than the worker knows of has been announced.
    #[error("another worker holds the step until {until}")]
    StepTaken {
        /// The call deadline.
        until: Timestamp,
    },
    /// The deadline is still ahead in the chain's time.
    #[error("the deadline {deadline} has not passed")]
    DeadlineAhead {
        /// The deadline.
        deadline: Timestamp,
    },
    /// `at` is too far ahead of the clock.
    #[error("{at} is more than five minutes ahead")]
    AtAhead {
        /// The time given.
        at: Timestamp,
    },
    /// `at` lies before what was accepted last for the resource; that is a correction, a command of its own.
    #[error("{at} is before the last accepted time {last}")]
    AtBeforeLast {
        /// The time given.
        at: Timestamp,
        /// The last one accepted.
        last: Timestamp,
    },
    /// Times can be given only to tenants opened with the effective clock.
    #[error("this tenant runs by the clock: a time cannot be given")]
    ClockIsNotEffective,
    /// Formats are raised one by one.
    #[error("format {asked} cannot be raised: the format is {current}")]
    FormatOutOfOrder {
        /// The format asked for.
        asked: u32,
        /// The format now.
        current: u32,
    },
    /// A new event format needs every role to read it.
    #[error("format {asked} cannot be raised: a process that reads formats up to {reads} is running, {role} {process}")]
    FormatNotRead {
        /// The format asked for.
        asked: u32,
        /// The highest that the process reads.
        reads: u32,
        /// Its role.
        role: String,
        /// The process.
        process: Uuid,
    },
}

impl Refusal {
    /// True when the same request, unchanged, may be accepted later. Such a refusal frees the idempotency key.
    ///
    /// What is missing on the platform's chain counts among these: it may have been declared a moment ago and not be seen here yet.
    pub fn is_worth_retrying(&self) -> bool {
        use Refusal::*;
        match self {
            PlatformStale
            | FormatNotRead { .. }
            | NoSuchTenant { .. }
            | QuotaExceeded { .. }
            | AboveTenantLimit { .. }
            | UnknownDimension { .. }
            | NoSuchRegion { .. }
            | NoSuchZone { .. }
            | NoSuchService { .. }
            | NoSuchFlavor { .. }
            | LastSuperAdministrator
            | LastOperator
            | TenantSuspended
            | CatalogueMoved { .. }
            | Busy { .. }
            | StepTaken { .. }
            | DeadlineAhead { .. }
            | InUse { .. }
            | ZoneNotOpen { .. }
            | NotEmpty { .. }
            | WrongPhase { .. }
            | ServiceNotOrderable { .. }
            | AtAhead { .. }
            | Forbidden { .. }
            | OperatorsOnly => true,
            KeyReused
            | WorkersOnly
            | WrongChain
            | ReferenceTaken { .. }
            | TenantClosing
            | TenantClosed
            | NoSuchCell { .. }
            | CellClosed { .. }
            | CellsDoNotNest
            | RoleLevel { .. }
            | ZoneMismatch { .. }
            | ServiceVersion { .. }
            | WrongLevel { .. }
            | BadField { .. }
            | NoSuchResource { .. }
            | BadReference { .. }
            | NoSuchAction { .. }
            | StepNotOpen { .. }
            | AtBeforeLast { .. }
            | ClockIsNotEffective
            | GenerationMismatch { .. }
            | FormatOutOfOrder { .. } => false,
        }
    }

    /// A fault at `pointer` of the request.
    pub fn field(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Refusal::BadField { pointer: pointer.into(), problem: problem.into() }
    }
}
