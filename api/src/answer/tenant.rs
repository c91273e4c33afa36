//! What a commit says about a tenant, its cells and its members.

use super::{Done, cell_path, tenant_path};
use axum::http::StatusCode;
use domain::{
    Labels,
    event::Event,
    id::{CellId, TenantId},
    people::{Grant, Principal},
    quota::{LimitChanges, Limits},
    tenant::{CellEvent, Clock, MemberEvent, TenantEvent},
};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A tenant, as far as the commit says it: what did not change is absent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TenantAnswer {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: TenantId,
    /// Always true: this commit changed something.
    pub changed: bool,
    /// Its party in the BSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people and billing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub labels: Option<Labels>,
    /// open, suspended, closing or closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// By which clock its events happen: journal or effective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub clock: Option<Clock>,
    /// Its own limits that were set, a dimension: a whole number or `unlimited`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub limits: Limits,
    /// Default limits of its cells that were set; `null` took a default away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub cell_default: LimitChanges,
    /// Dimensions in which cells had limits of their own above the new limit; those are the new limit now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub clamped: Limits,
    /// What has to be deleted before it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
}

/// What a closing tenant still held when the closing began.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Draining {
    /// Resources.
    pub resources: u64,
    /// Cells.
    pub cells: u64,
}

/// A cell, as far as the commit says it: what did not change is absent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CellAnswer {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: CellId,
    /// Its tenant.
    #[schema(value_type = uuid::Uuid)]
    pub tenant: TenantId,
    /// Always true: this commit changed something.
    pub changed: bool,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its account in the BSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_account: Option<String>,
    /// open or closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Limits of its own that were set; `null` inherits again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub limits: LimitChanges,
}

/// A role that was granted or revoked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MemberAnswer {
    /// The tenant.
    #[schema(value_type = uuid::Uuid)]
    pub tenant: TenantId,
    /// Always true: this commit changed something.
    pub changed: bool,
    /// Who.
    #[schema(value_type = crate::members::PrincipalBody)]
    pub principal: Principal,
    /// Which role, and in which cell if it is a role of a cell.
    #[serde(flatten)]
    #[schema(value_type = crate::members::GrantBody)]
    pub grant: Grant,
    /// True while it is held.
    pub granted: bool,
}

/// What the commit says about its tenant.
pub(super) fn done(events: &[Event]) -> Done {
    let mut told: Option<TenantAnswer> = None;
    let mut opened = false;
    for event in events {
        if let Event::Tenant { tenant, event } = event {
            opened |= matches!(event, TenantEvent::Opened(_));
            told.get_or_insert_with(|| TenantAnswer::of(*tenant)).tell(event);
        }
    }
    let told = told.expect("asked only about commits that hold an event of a tenant");
    let status = if opened { StatusCode::CREATED } else { StatusCode::OK };
    let done = Done::new(status, &told);
    if opened { done.at(tenant_path(told.id)) } else { done }
}

/// What the commit says about a cell.
pub(super) fn cell_done(tenant: TenantId, id: CellId, events: &[Event]) -> Done {
    let mut told = CellAnswer { id, tenant, changed: true, name: None, billing_account: None, status: None, limits: LimitChanges::new() };
    let mut created = false;
    for event in events {
        let Event::Cell { event, .. } = event else { continue };
        match event {
            CellEvent::Created { name, billing_account, limits } => {
                created = true;
                (told.name, told.billing_account, told.status) = (Some(name.clone()), billing_account.clone(), Some("open"));
                told.limits = limits.iter().map(|(dimension, limit)| (dimension.clone(), Some(*limit))).collect();
            }
            CellEvent::Renamed { name } => told.name = Some(name.clone()),
            CellEvent::LimitsSet { limits } => told.limits = limits.clone(),
            CellEvent::Closed {} => told.status = Some("closed"),
        }
    }
    if created { Done::new(StatusCode::CREATED, &told).at(cell_path(tenant, id)) } else { Done::new(StatusCode::OK, &told) }
}

/// What the commit says about a role.
pub(super) fn member_done(tenant: TenantId, event: &MemberEvent) -> Done {
    let (principal, grant, granted) = match event {
        MemberEvent::RoleGranted { principal, grant } => (principal, grant, true),
        MemberEvent::RoleRevoked { principal, grant } => (principal, grant, false),
    };
    let status = if granted { StatusCode::CREATED } else { StatusCode::OK };
    Done::new(status, &MemberAnswer { tenant, changed: true, principal: principal.clone(), grant: *grant, granted })
}

impl TenantAnswer {
    fn of(id: TenantId) -> Self {
        Self {
            id,
            changed: true,
            reference: None,
            name: None,
            labels: None,
            status: None,
            clock: None,
            limits: Limits::new(),
            cell_default: LimitChanges::new(),
            clamped: Limits::new(),
            draining: None,
        }
    }

    fn tell(&mut self, event: &TenantEvent) {
        match event {
            TenantEvent::Opened(reservation) => {
                let r = reservation.as_ref().clone();
                (self.reference, self.name, self.labels) = (Some(r.reference), Some(r.name), Some(r.labels));
                (self.status, self.clock, self.limits) = (Some("open"), Some(r.clock), r.limits);
                self.cell_default = r.cell_default.into_iter().map(|(dimension, limit)| (dimension, Some(limit))).collect();
            }
            TenantEvent::Renamed { name, labels } => (self.name, self.labels) = (Some(name.clone()), Some(labels.clone())),
            TenantEvent::Suspended { .. } => self.status = Some("suspended"),
            TenantEvent::Resumed {} => self.status = Some("open"),
            TenantEvent::LimitsSet { limits } => self.limits = limits.clone(),
            TenantEvent::CellDefaultSet { limits } => self.cell_default = limits.clone(),
            TenantEvent::CellLimitsClamped { dimension, ceiling } => drop(self.clamped.insert(dimension.clone(), *ceiling)),
            TenantEvent::ClosingBegan { resources, cells } => {
                (self.status, self.draining) = (Some("closing"), Some(Draining { resources: *resources, cells: *cells }));
            }
            TenantEvent::Closed {} => self.status = Some("closed"),
        }
    }
}
