//! Who a caller is: a stranger, a member of a tenant, somebody who runs the platform.
//!
//! To a stranger a tenant does not exist, whatever is asked of it. What a member may *do* is decided by the decider; what a member may
//! *see* is decided here, on the roles in the same snapshot as the rows.

use crate::{
    auth::{Caller, Scope},
    problem::{Problem, ProblemType},
    refusals,
    state::Api,
};
use domain::{
    id::{CellId, TenantId},
    people::{Grant, Permission, Principal, allows, permits},
    refusal::Refusal,
    tenant::Clock,
};
use projections::snapshot::{ReadError, Snapshot};
use std::{collections::BTreeSet, sync::Arc};

/// A caller as the domain names it.
pub fn principal(caller: &Caller) -> Principal {
    Principal { issuer: Arc::clone(&caller.issuer), subject: Arc::clone(&caller.subject) }
}

/// Who somebody is in a tenant, as far as a snapshot shows it.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Roles in the tenant.
    pub grants: BTreeSet<Grant>,
    /// Whether they run the platform.
    pub operator: bool,
    /// By which clock the tenant's events happen.
    pub clock: Clock,
}

/// What somebody may see of something that is spread over cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// All of the tenant.
    All,
    /// What belongs to these cells.
    In(Vec<CellId>),
}

impl Visible {
    /// The cells, if it is only some.
    pub fn cells(&self) -> Option<&[CellId]> {
        match self {
            Visible::All => None,
            Visible::In(cells) => Some(cells),
        }
    }
}

impl Standing {
    /// True for somebody to whom the tenant does not exist.
    pub fn is_stranger(&self) -> bool {
        self.grants.is_empty() && !self.operator
    }

    /// True when `permission` is given there. Who runs the platform sees everything but money.
    pub fn may(&self, permission: Permission, cell: Option<CellId>) -> bool {
        let shown = matches!(permission, Permission::Read | Permission::ReadResources);
        (self.operator && shown) || permits(&self.grants, permission, cell)
    }

    /// What may be seen with `permission`.
    ///
    /// # Errors
    /// 403 when it is given nowhere.
    pub fn visible(&self, permission: Permission) -> Result<Visible, Problem> {
        if self.may(permission, None) {
            return Ok(Visible::All);
        }
        let cells: Vec<CellId> = self.grants.iter().filter(|grant| allows(grant.role, permission)).filter_map(|grant| grant.cell).collect();
        if cells.is_empty() { Err(refusals::problem(&Refusal::Forbidden { permission })) } else { Ok(Visible::In(cells)) }
    }

    /// Lets somebody see one thing that sits in `cell`, or nothing that is there.
    ///
    /// # Errors
    /// 404 for what is out of sight, as for what is not there; 403 for somebody who sees nothing of this sort anywhere.
    pub fn see<T>(&self, permission: Permission, found: Option<T>, cell: impl Fn(&T) -> Option<CellId>) -> Result<T, Problem> {
        self.visible(permission)?;
        found.filter(|thing| self.may(permission, cell(thing))).ok_or_else(|| ProblemType::NotFound.into())
    }
}

impl Api {
    /// Who the caller is in the tenant. An issuer that speaks for one tenant names nobody in another, and no operator.
    ///
    /// # Errors
    /// When the read models cannot be asked.
    pub async fn standing(&self, snapshot: &Snapshot, caller: &Caller, tenant: Option<TenantId>) -> Result<Standing, ReadError> {
        if tenant.is_some_and(|tenant| !caller.can_belong_to(tenant.0)) {
            return Ok(Standing::default());
        }
        let principal = principal(caller);
        let grants = async {
            match tenant {
                Some(tenant) => snapshot.grants(tenant, &principal).await,
                None => Ok(Default::default()),
            }
        };
        let operator = async {
            match caller.scope {
                Scope::Platform => snapshot.is_operator(&principal).await,
                Scope::Tenant(_) => Ok(false),
            }
        };
        // Both questions go out at once.
        let ((grants, clock), operator) = futures::try_join!(grants, operator)?;
        Ok(Standing { grants, operator, clock })
    }

    /// Turns a stranger away, and counts it.
    ///
    /// # Errors
    /// 404 where there is a tenant; 403 on the platform.
    pub fn turn_away(&self, standing: &Standing, tenant: Option<TenantId>, principal: &Principal) -> Result<(), Problem> {
        let problem = match tenant {
            Some(_) if standing.is_stranger() => ProblemType::NotFound.into(),
            None if !standing.operator => refusals::problem(&Refusal::OperatorsOnly),
            _ => return Ok(()),
        };
        self.refusals.refused(principal);
        Err(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::people::Role;
    use uuid::Uuid;

    fn in_cell(role: Role, cell: u128) -> Standing {
        Standing {
            grants: BTreeSet::from([Grant { role, cell: Some(CellId(Uuid::from_u128(cell))) }]),
            operator: false,
            clock: Clock::Journal,
        }
    }

    #[test]
    fn who_has_a_role_in_one_cell_sees_that_cell_and_not_that_another_exists() {
        let viewer = in_cell(Role::CellViewer, 1);
        let [own, other] = [1, 2].map(|n| Some(CellId(Uuid::from_u128(n))));

        assert_eq!(viewer.visible(Permission::ReadResources).unwrap(), Visible::In(vec![own.unwrap()]));
        assert_eq!(viewer.see(Permission::ReadResources, Some("mine"), |_| own).unwrap(), "mine");
        let hidden = viewer.see(Permission::ReadResources, Some("theirs"), |_| other).unwrap_err();
        let absent = viewer.see(Permission::ReadResources, None::<&str>, |_| None).unwrap_err();
        assert_eq!(hidden, absent);
        assert_eq!(hidden.kind(), ProblemType::NotFound);
    }

    #[test]
    fn who_sees_nothing_of_a_sort_is_told_so_whether_it_is_there_or_not() {
        let billing = Standing {
            grants: BTreeSet::from([Grant { role: Role::TenantBillingAdmin, cell: None }]),
            operator: false,
            clock: Clock::Journal,
        };
        for found in [Some("there"), None] {
            assert_eq!(billing.see(Permission::ReadResources, found, |_| None).unwrap_err().kind(), ProblemType::Forbidden);
        }
    }

    #[test]
    fn who_runs_the_platform_sees_everything_but_money() {
        let operator = Standing { grants: BTreeSet::new(), operator: true, clock: Clock::Journal };
        assert_eq!(operator.visible(Permission::ReadResources).unwrap(), Visible::All);
        assert!(operator.visible(Permission::ReadBilling).is_err() && !operator.may(Permission::OperateResources, None));
    }
}
