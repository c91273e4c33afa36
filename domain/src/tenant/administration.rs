//! Deciding what concerns a tenant, its cells, their quota and its members.

use super::{CellEvent, Facts, MemberEvent, Tenant, TenantEvent, TenantStatus, check_labels, check_principal, check_text};
use crate::{
    catalogue::Action,
    command::{Command, Origin, Request},
    event::{CommandEvent, Event},
    id::{CellId, TenantId},
    people::{Actor, Grant, Permission, Principal, Role},
    quota::{LimitChanges, Limits, tenant_limit},
    refusal::Refusal,
};

impl Tenant {
    /// Decides a command about an open tenant.
    pub(crate) fn decide(&self, id: TenantId, request: &Request, origin: Origin, facts: Facts<'_>) -> Result<Vec<Event>, Refusal> {
        let actor = &request.actor;
        let tenant = |event: TenantEvent| Ok(vec![Event::Tenant { tenant: id, event }]);
        let cell = |cell: CellId, event: CellEvent| Ok(vec![Event::Cell { tenant: id, cell, event }]);
        let nothing = || Ok(vec![Event::Command(CommandEvent::NothingToDo { generation: None })]);
        if self.status == TenantStatus::Closed && !accepted_after_the_end(&request.command) {
            return Err(Refusal::TenantClosed);
        }
        if self.status == TenantStatus::Suspended && !accepted_while_suspended(&request.command) {
            return Err(Refusal::TenantSuspended);
        }
        match &request.command {
            Command::RenameTenant { name, labels } => {
                self.authorise(actor, Permission::Rename, None)?;
                let (name, labels) = (name.as_ref().unwrap_or(&self.name), labels.as_ref().unwrap_or(&self.labels));
                check_text("#/name", name)?;
                check_labels(labels)?;
                if (name, labels) == (&self.name, &self.labels) {
                    return nothing();
                }
                tenant(TenantEvent::Renamed { name: name.clone(), labels: labels.clone() })
            }
            Command::SuspendTenant { reason } => {
                self.authorise_operator(actor, facts)?;
                check_text("#/reason", reason)?;
                match self.status {
                    TenantStatus::Open => tenant(TenantEvent::Suspended { reason: reason.clone() }),
                    TenantStatus::Suspended => nothing(),
                    TenantStatus::Closing => Err(Refusal::TenantClosing),
                    TenantStatus::Closed => Err(Refusal::TenantClosed),
                }
            }
            Command::ResumeTenant {} => {
                self.authorise_operator(actor, facts)?;
                match self.status {
                    TenantStatus::Suspended => tenant(TenantEvent::Resumed {}),
                    TenantStatus::Open => nothing(),
                    TenantStatus::Closing => Err(Refusal::TenantClosing),
                    TenantStatus::Closed => Err(Refusal::TenantClosed),
                }
            }
            Command::CloseTenant { drain } => {
                if !self.drains(origin) && !self.permits(actor, Permission::Close, None) {
                    self.authorise_operator(actor, facts)?;
                }
                let (resources, cells) = self.contents();
                let drain = *drain || self.status == TenantStatus::Closing;
                match (resources, cells, self.status) {
                    (_, _, TenantStatus::Closed) => nothing(),
                    (0, 0, _) => tenant(TenantEvent::Closed {}),
                    (0, _, _) if drain => {
                        let mut events: Vec<Event> =
                            self.open_cells().map(|cell| Event::Cell { tenant: id, cell, event: CellEvent::Closed {} }).collect();
                        events.push(Event::Tenant { tenant: id, event: TenantEvent::Closed {} });
                        Ok(events)
                    }
                    // The process that closes comes again under the same key, so what it hears may not stand.
                    (_, _, TenantStatus::Closing) if origin == Origin::Commands => nothing(),
                    (_, _, TenantStatus::Closing) => Err(Refusal::NotEmpty { resources, cells }),
                    _ if drain => tenant(TenantEvent::ClosingBegan { resources, cells }),
                    _ => Err(Refusal::NotEmpty { resources, cells }),
                }
            }
            Command::SetTenantQuota { limits, cell_default } => {
                if !limits.is_empty() || !self.permits(actor, Permission::ManageCellQuota, None) {
                    self.authorise_operator(actor, facts)?;
                } else if self.status == TenantStatus::Suspended && !facts.platform.is_operator(actor) {
                    return Err(Refusal::TenantSuspended);
                }
                facts.check_dimensions(limits.keys().chain(cell_default.keys()))?;
                Ok(self.set_limits(id, limits, cell_default))
            }
            Command::CreateCell { name, billing_account, limits, parent } => {
                self.authorise(actor, Permission::ManageCells, None)?;
                self.check_accepts_new()?;
                if parent.is_some() {
                    return Err(Refusal::CellsDoNotNest);
                }
                check_text("#/name", name)?;
                if let Some(account) = billing_account {
                    check_text("#/billing_account", account)?;
                }
                facts.check_dimensions(limits.keys())?;
                self.check_below_tenant(limits.iter().map(|(d, l)| (d, Some(*l))))?;
                let event = CellEvent::Created { name: name.clone(), billing_account: billing_account.clone(), limits: limits.clone() };
                cell(request.id.into(), event)
            }
            Command::RenameCell { cell: id, name } => {
                self.authorise(actor, Permission::Rename, Some(*id))?;
                check_text("#/name", name)?;
                if self.open_cell(*id)?.name == *name { nothing() } else { cell(*id, CellEvent::Renamed { name: name.clone() }) }
            }
            Command::CloseCell { cell: id } => {
                self.authorise(actor, Permission::ManageCells, None)?;
                match self.open_cell(*id) {
                    Err(Refusal::CellClosed { .. }) => nothing(),
                    Err(refusal) => Err(refusal),
                    Ok(c) if c.resources > 0 => Err(Refusal::NotEmpty { resources: c.resources, cells: 0 }),
                    Ok(_) => cell(*id, CellEvent::Closed {}),
                }
            }
            Command::SetCellQuota { cell: of, limits } => {
                if !self.permits(actor, Permission::ManageCellQuota, None) {
                    self.authorise_operator(actor, facts)?;
                }
                self.open_cell(*of)?;
                facts.check_dimensions(limits.keys())?;
                self.check_below_tenant(limits.iter().map(|(d, l)| (d, *l)))?;
                if limits.is_empty() { nothing() } else { cell(*of, CellEvent::LimitsSet { limits: limits.clone() }) }
            }
            Command::GrantRole { principal, grant } => {
                self.authorise_grant(actor, grant)?;
                self.check_accepts_new()?;
                check_principal("#/principal", principal)?;
                if let Some(cell) = grant.cell {
                    self.open_cell(cell)?;
                }
                if self.holds(principal, grant) {
                    return nothing();
                }
                Ok(vec![Event::Member { tenant: id, event: MemberEvent::RoleGranted { principal: principal.clone(), grant: *grant } }])
            }
            Command::RevokeRole { principal, grant } => {
                self.authorise_grant(actor, grant)?;
                if !self.holds(principal, grant) {
                    return nothing();
                }
                let supers = self.members.values().filter(|g| g.iter().any(|g| g.role == Role::TenantSuperAdministrator)).count();
                if grant.role == Role::TenantSuperAdministrator && supers == 1 {
                    return Err(Refusal::LastSuperAdministrator);
                }
                Ok(vec![Event::Member { tenant: id, event: MemberEvent::RoleRevoked { principal: principal.clone(), grant: *grant } }])
            }
            _ => self.decide_resource(id, request, origin, facts),
        }
    }

    /// Refuses who is no operator of the platform; refuses everybody while nobody here knows who is.
    pub(crate) fn authorise_operator(&self, actor: &Actor, facts: Facts<'_>) -> Result<(), Refusal> {
        if facts.stale {
            return Err(Refusal::PlatformStale);
        }
        if facts.platform.is_operator(actor) { Ok(()) } else { Err(Refusal::OperatorsOnly) }
    }

    fn authorise_grant(&self, actor: &Actor, grant: &Grant) -> Result<(), Refusal> {
        let of_cell = grant.role.is_of_cell();
        let permission = match grant.role {
            Role::TenantSuperAdministrator => Permission::ManageSuperAdministrators,
            _ => Permission::ManageMembers,
        };
        self.authorise(actor, permission, grant.cell.filter(|_| of_cell))?;
        if grant.cell.is_some() == of_cell { Ok(()) } else { Err(Refusal::RoleLevel { role: grant.role, of_cell }) }
    }

    /// True for the processes of Cirrus that delete and close what a closing tenant still holds: the only orders that need no role.
    pub(crate) fn drains(&self, origin: Origin) -> bool {
        origin == Origin::Reports && matches!(self.status, TenantStatus::Closing | TenantStatus::Closed)
    }

    fn holds(&self, principal: &Principal, grant: &Grant) -> bool {
        self.members.get(principal).is_some_and(|grants| grants.contains(grant))
    }

    fn open_cells(&self) -> impl Iterator<Item = CellId> {
        self.cells.iter().filter(|(_, c)| !c.closed).map(|(id, _)| *id)
    }

    /// A cell's own limit is never above its tenant's; children may add up to more than their parent.
    fn check_below_tenant<'a>(
        &self,
        mut limits: impl Iterator<Item = (&'a crate::id::Dimension, Option<crate::quota::Limit>)>,
    ) -> Result<(), Refusal> {
        limits.try_for_each(|(dimension, asked)| match (tenant_limit(&self.limits, dimension).0, asked) {
            (limit, Some(asked)) if asked > limit => Err(Refusal::AboveTenantLimit { dimension: dimension.clone(), limit, asked }),
            _ => Ok(()),
        })
    }

    /// New limits, then one clamp a dimension in which a cell's own limit is above the tenant's new one.
    fn set_limits(&self, id: TenantId, limits: &Limits, cell_default: &LimitChanges) -> Vec<Event> {
        let mut events = Vec::new();
        if !limits.is_empty() {
            events.push(TenantEvent::LimitsSet { limits: limits.clone() });
        }
        for (dimension, ceiling) in limits {
            if self.cells.values().any(|c| c.limits.get(dimension).is_some_and(|l| l > ceiling)) {
                events.push(TenantEvent::CellLimitsClamped { dimension: dimension.clone(), ceiling: *ceiling });
            }
        }
        if !cell_default.is_empty() {
            events.push(TenantEvent::CellDefaultSet { limits: cell_default.clone() });
        }
        if events.is_empty() {
            return vec![Event::Command(CommandEvent::NothingToDo { generation: None })];
        }
        events.into_iter().map(|event| Event::Tenant { tenant: id, event }).collect()
    }
}

/// What workers and operators know about resources is written down after the end, too; and who closes again is told that it is done.
fn accepted_after_the_end(command: &Command) -> bool {
    command.reported().is_some() || matches!(command, Command::CloseTenant { .. })
}

/// Stop, detach and delete by the tenant's people; and what workers and operators do.
fn accepted_while_suspended(command: &Command) -> bool {
    use Command::*;
    command.reported().is_some()
        || matches!(
            command,
            ActOnResource { action: Action::Stop, .. }
                | DetachResource { .. }
                | DeleteResource { .. }
                | SuspendTenant { .. }
                | ResumeTenant {}
                | CloseTenant { .. }
                | SetTenantQuota { .. }
        )
}
