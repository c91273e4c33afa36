//! A tenant: the consistency boundary. Its cells, quotas, claims, grants and resources live in one chain under one writer, so a quota can neither be
//! exceeded nor drift.
//!
//! ```text
//! reserved (platform) ─ Opened ─▶ open ⇄ suspended          Suspended, Resumed
//!                                  └──┬──┘
//!                                     ├─ Closed ─▶ closed    when empty
//!                                     └─ ClosingBegan ─▶ closing ─ (all resources deleted, cells closed) ─ Closed ─▶ closed
//! ```

mod administration;

use crate::{
    Labels, Timestamp,
    event::{Event, Impossible},
    id::{CellId, Dimension, ResourceId},
    partition::Tombstones,
    people::{Actor, Grant, Permission, Principal, permits},
    platform::{Platform, Reservation},
    quota::{Amounts, Level, Limit, LimitChanges, Limits, cell_limit, check_room, tenant_limit},
    refusal::Refusal,
    resource::{Remains, Resource},
};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// By which clock the events of a tenant happen. Chosen when it is opened, never changed, shown on every answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// `at` is the journal's time.
    #[default]
    Journal,
    /// `at` comes with the request: for imports and simulations.
    Effective,
}

/// Facts about a tenant as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum TenantEvent {
    /// The tenant exists from here on, with all that it begins with.
    Opened(Box<Reservation>),
    /// It has another name or other labels; both as they are now.
    Renamed { name: String, labels: Labels },
    /// Only stop, detach and delete are accepted. Nothing that runs is touched.
    Suspended { reason: String },
    /// Everything is accepted again.
    Resumed {},
    /// The tenant's own limits in these dimensions are now these.
    LimitsSet { limits: Limits },
    /// The default limits of its cells in these dimensions are now these; `null` takes a default away.
    CellDefaultSet { limits: LimitChanges },
    /// The own limit of every cell that was above is now the ceiling. Inherited limits are computed and are not concerned.
    CellLimitsClamped { dimension: Dimension, ceiling: Limit },
    /// Nothing new is accepted; everything is being deleted, and then the tenant is closed.
    ClosingBegan { resources: u64, cells: u64 },
    /// The tenant is closed. Its history stays.
    Closed {},
}

/// Facts about a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum CellEvent {
    /// The cell exists, with limits of its own in these dimensions.
    Created {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        billing_account: Option<String>,
        limits: Limits,
    },
    /// It has another name.
    Renamed { name: String },
    /// Its own limits in these dimensions are now these; `null` inherits again.
    LimitsSet { limits: LimitChanges },
    /// It is closed and empty.
    Closed {},
}

/// Facts about who may do what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum MemberEvent {
    /// The principal holds the role from here on.
    RoleGranted { principal: Principal, grant: Grant },
    /// The principal does not hold it any more.
    RoleRevoked { principal: Principal, grant: Grant },
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// Everything is accepted.
    Open,
    /// Only stop, detach and delete are accepted.
    Suspended,
    /// Everything is being deleted.
    Closing,
    /// It is history.
    Closed,
}

/// A division of a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// For people.
    pub name: String,
    /// Limits of its own; absent dimensions are inherited.
    pub limits: Limits,
    /// The claims of its resources, added up.
    pub used: Amounts,
    /// How many resources it holds.
    pub resources: u64,
    /// True once closed.
    pub closed: bool,
}

/// A tenant as of a position of its chain. Cloning is cheap: maps share structure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// For people.
    pub name: String,
    /// For people and billing.
    pub labels: Labels,
    /// Where it is in its life.
    pub status: TenantStatus,
    /// By which clock its events happen.
    pub clock: Clock,
    /// Its own limits; absent dimensions are not granted.
    pub limits: Limits,
    /// Default limits of its cells.
    pub cell_default: Limits,
    /// The claims of all its resources, added up.
    pub used: Amounts,
    /// Its cells, closed ones included.
    pub cells: OrdMap<CellId, Cell>,
    /// Who holds which roles; nobody without one.
    #[serde(with = "crate::people::as_pairs")]
    pub members: OrdMap<Principal, BTreeSet<Grant>>,
    /// What exists or is being made.
    pub resources: OrdMap<ResourceId, Arc<Resource>>,
    /// Who names whom in a spec or by attachment: (named, user).
    pub users: OrdSet<(ResourceId, ResourceId)>,
    /// What turned up at a provider after its end and is being removed.
    pub remains: OrdMap<ResourceId, Remains>,
}

/// What a decision about a tenant may know beside the tenant.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The chain's time: never goes back.
    pub now: Timestamp,
    /// The platform as folded here.
    pub platform: &'a Platform,
    /// True when the platform's facts may be older than five seconds.
    pub stale: bool,
    /// What the partition has shed of the gone.
    pub tombstones: &'a dyn Tombstones,
}

impl Facts<'_> {
    /// Refuses a dimension that no service declares, and any while the catalogue may have changed unseen.
    pub(crate) fn check_dimensions<'a>(&self, dimensions: impl Iterator<Item = &'a Dimension>) -> Result<(), Refusal> {
        let mut dimensions = dimensions.peekable();
        if self.stale && dimensions.peek().is_some() {
            return Err(Refusal::PlatformStale);
        }
        self.platform.check_dimensions(dimensions)
    }
}

impl Tenant {
    /// A tenant as it begins.
    pub fn open(reservation: &Reservation) -> Self {
        let first = Grant { role: crate::people::Role::TenantSuperAdministrator, cell: None };
        Self {
            name: reservation.name.clone(),
            labels: reservation.labels.clone(),
            status: TenantStatus::Open,
            clock: reservation.clock,
            limits: reservation.limits.clone(),
            cell_default: reservation.cell_default.clone(),
            used: Amounts::default(),
            cells: OrdMap::new(),
            members: OrdMap::unit(reservation.administrator.clone(), BTreeSet::from([first])),
            resources: OrdMap::new(),
            users: OrdSet::new(),
            remains: OrdMap::new(),
        }
    }

    /// True when `actor` holds a role that allows `permission` there.
    pub fn permits(&self, actor: &Actor, permission: Permission, cell: Option<CellId>) -> bool {
        matches!(actor, Actor::Principal(p) if self.members.get(p).is_some_and(|grants| permits(grants, permission, cell)))
    }

    /// Refuses who may not; operators of the platform may where `operators` says so.
    pub(crate) fn authorise(&self, actor: &Actor, permission: Permission, cell: Option<CellId>) -> Result<(), Refusal> {
        if self.permits(actor, permission, cell) { Ok(()) } else { Err(Refusal::Forbidden { permission }) }
    }

    /// The open cell of this id.
    pub(crate) fn open_cell(&self, cell: CellId) -> Result<&Cell, Refusal> {
        match self.cells.get(&cell) {
            None => Err(Refusal::NoSuchCell { cell }),
            Some(c) if c.closed => Err(Refusal::CellClosed { cell }),
            Some(c) => Ok(c),
        }
    }

    /// Refuses a claim that does not fit the cell or the tenant, in this order.
    pub(crate) fn check_claim(&self, cell: Option<CellId>, more: &Amounts) -> Result<(), Refusal> {
        if let Some(cell) = cell {
            let cell = self.open_cell(cell)?;
            check_room(Level::Cell, &cell.used, more, |d| cell_limit(&self.limits, &self.cell_default, &cell.limits, d).0)?;
        }
        check_room(Level::Tenant, &self.used, more, |d| tenant_limit(&self.limits, d).0)
    }

    /// Refuses while nothing new may begin.
    pub(crate) fn check_accepts_new(&self) -> Result<(), Refusal> {
        match self.status {
            TenantStatus::Open => Ok(()),
            TenantStatus::Suspended => Err(Refusal::TenantSuspended),
            TenantStatus::Closing => Err(Refusal::TenantClosing),
            TenantStatus::Closed => Err(Refusal::TenantClosed),
        }
    }

    /// How much is left to delete before the tenant can be closed: resources and open cells.
    pub fn contents(&self) -> (u64, u64) {
        let cells = self.cells.values().filter(|c| !c.closed).count();
        ((self.resources.len() + self.remains.len()) as u64, cells as u64)
    }

    /// Replaces the claim of one resource by another: the only place where usage changes.
    pub(crate) fn reclaim(&mut self, cell: Option<CellId>, old: &Amounts, new: &Amounts) -> Result<(), Impossible> {
        self.used.subtract(old)?;
        self.used.add(new)?;
        if let Some(id) = cell {
            let cell = self.cells.get_mut(&id).ok_or_else(|| Impossible::new("claim", format!("no cell {id}")))?;
            cell.used.subtract(old)?;
            cell.used.add(new)?;
        }
        Ok(())
    }

    /// Applies a fact about one of this tenant's parts. `Opened` makes a tenant and is handled by [`crate::partition`].
    pub fn evolve(&mut self, event: &Event) -> Result<(), Impossible> {
        // What turns up at a provider after the end is still removed.
        if self.status == TenantStatus::Closed && !matches!(event, Event::Resource { .. }) {
            return Err(Impossible::new(format!("{event:?}"), "a closed tenant"));
        }
        match event {
            Event::Tenant { event, .. } => self.evolve_tenant(event),
            Event::Cell { cell, event, .. } => self.evolve_cell(*cell, event),
            Event::Member { event, .. } => self.evolve_member(event),
            Event::Resource { resource, event, .. } => self.evolve_resource(*resource, event),
            Event::Command(_) | Event::Platform(_) => Err(Impossible::new(format!("{event:?}"), "a tenant")),
        }
    }

    fn evolve_tenant(&mut self, event: &TenantEvent) -> Result<(), Impossible> {
        match event {
            TenantEvent::Opened(_) => return Err(Impossible::new("tenant.opened", "an open tenant")),
            TenantEvent::Renamed { name, labels } => (self.name, self.labels) = (name.clone(), labels.clone()),
            TenantEvent::Suspended { .. } => match self.status {
                TenantStatus::Open => self.status = TenantStatus::Suspended,
                other => return Err(Impossible::new("tenant.suspended", format!("{other:?}"))),
            },
            TenantEvent::Resumed {} => match self.status {
                TenantStatus::Suspended => self.status = TenantStatus::Open,
                other => return Err(Impossible::new("tenant.resumed", format!("{other:?}"))),
            },
            TenantEvent::LimitsSet { limits } => self.limits.extend(limits.iter().map(|(d, l)| (d.clone(), *l))),
            TenantEvent::CellDefaultSet { limits } => apply(&mut self.cell_default, limits),
            TenantEvent::CellLimitsClamped { dimension, ceiling } => {
                let above: Vec<CellId> =
                    self.cells.iter().filter(|(_, c)| c.limits.get(dimension).is_some_and(|l| l > ceiling)).map(|(id, _)| *id).collect();
                for id in above {
                    if let Some(cell) = self.cells.get_mut(&id) {
                        cell.limits.insert(dimension.clone(), *ceiling);
                    }
                }
            }
            TenantEvent::ClosingBegan { .. } => match self.status {
                TenantStatus::Open | TenantStatus::Suspended => self.status = TenantStatus::Closing,
                other => return Err(Impossible::new("tenant.closing_began", format!("{other:?}"))),
            },
            TenantEvent::Closed {} => match self.contents() {
                (0, 0) => self.status = TenantStatus::Closed,
                (resources, cells) => {
                    return Err(Impossible::new("tenant.closed", format!("{resources} resources and {cells} cells")));
                }
            },
        }
        Ok(())
    }

    fn evolve_cell(&mut self, id: CellId, event: &CellEvent) -> Result<(), Impossible> {
        if let CellEvent::Created { name, limits, .. } = event {
            let cell = Cell { name: name.clone(), limits: limits.clone(), used: Amounts::default(), resources: 0, closed: false };
            return match self.cells.insert(id, cell) {
                None => Ok(()),
                Some(_) => Err(Impossible::new("cell.created", format!("cell {id} exists"))),
            };
        }
        let cell = self.cells.get_mut(&id).filter(|c| !c.closed);
        let cell = cell.ok_or_else(|| Impossible::new(format!("{event:?}"), format!("no open cell {id}")))?;
        match event {
            CellEvent::Created { .. } => {}
            CellEvent::Renamed { name } => cell.name = name.clone(),
            CellEvent::LimitsSet { limits } => apply(&mut cell.limits, limits),
            CellEvent::Closed {} if cell.resources > 0 => {
                return Err(Impossible::new("cell.closed", format!("{} resources", cell.resources)));
            }
            CellEvent::Closed {} => cell.closed = true,
        }
        Ok(())
    }

    fn evolve_member(&mut self, event: &MemberEvent) -> Result<(), Impossible> {
        match event {
            MemberEvent::RoleGranted { principal, grant } => {
                self.members.entry(principal.clone()).or_default().insert(*grant);
            }
            MemberEvent::RoleRevoked { principal, grant } => {
                let grants = self.members.get_mut(principal).filter(|g| g.contains(grant));
                let grants =
                    grants.ok_or_else(|| Impossible::new("role_revoked", format!("{principal} does not hold {:?}", grant.role)))?;
                grants.remove(grant);
                if grants.is_empty() {
                    self.members.remove(principal);
                }
            }
        }
        Ok(())
    }
}

fn apply(limits: &mut Limits, changes: &LimitChanges) {
    for (dimension, change) in changes {
        match change {
            Some(limit) => drop(limits.insert(dimension.clone(), *limit)),
            None => drop(limits.remove(dimension)),
        }
    }
}

/// Refuses a principal whose issuer or subject is not a short text.
pub(crate) fn check_principal(pointer: &str, principal: &Principal) -> Result<(), Refusal> {
    check_text(&format!("{pointer}/issuer"), &principal.issuer)?;
    check_text(&format!("{pointer}/subject"), &principal.subject)
}

/// Refuses a name or other short text for people that is empty, longer than 255 characters, or holds control characters.
pub(crate) fn check_text(pointer: &str, text: &str) -> Result<(), Refusal> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.chars().count() > 255 {
        "is longer than 255 characters"
    } else if text.chars().any(char::is_control) {
        "holds control characters"
    } else {
        return Ok(());
    };
    Err(Refusal::field(pointer, problem))
}

/// Refuses more than 64 labels, or one whose key or value is not a short text.
pub(crate) fn check_labels(labels: &Labels) -> Result<(), Refusal> {
    if labels.len() > 64 {
        return Err(Refusal::field("#/labels", "more than 64 labels"));
    }
    for (key, value) in labels {
        check_text("#/labels", key)?;
        if !value.is_empty() {
            // RFC 6901: a key may hold what a pointer is made of.
            check_text(&format!("#/labels/{}", key.replace('~', "~0").replace('/', "~1")), value)?;
        }
    }
    Ok(())
}
