//! Who may do what: principals, the seven organisation roles, and their permissions as one table.
//!
//! The decision is made on the state at a position of the log, by the decider. What stands in front of it (the API) only hides what a stranger
//! must not learn.

use crate::id::CellId;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// A person or program as its issuer names it. Opaque: the names of people are not kept here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Who vouches for the subject: the `iss` of its tokens.
    pub issuer: Arc<str>,
    /// The subject at that issuer: the `sub` of its tokens.
    pub subject: Arc<str>,
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.issuer, self.subject)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.issuer, self.subject)
    }
}

/// Who caused a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Somebody with a token, through the API.
    Principal(Principal),
    /// A part of Cirrus that reports what it saw: a zone's worker, a process, the operator's console.
    Service(String),
}

/// The seven organisation roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in the tenant, and the only role that may make another of its kind.
    TenantSuperAdministrator,
    /// Everything in the tenant but its own end and its super administrators.
    TenantAdministrator,
    /// Sees everything in the tenant but money.
    TenantViewer,
    /// Sees the tenant and its money.
    TenantBillingAdmin,
    /// Everything in one cell but its quota.
    CellAdministrator,
    /// Sees one cell.
    CellViewer,
    /// Orders and operates resources in one cell.
    CellUser,
}

impl Role {
    /// All roles, in the order of the table.
    pub const ALL: [Role; 7] = [
        Role::TenantSuperAdministrator,
        Role::TenantAdministrator,
        Role::TenantViewer,
        Role::TenantBillingAdmin,
        Role::CellAdministrator,
        Role::CellViewer,
        Role::CellUser,
    ];

    /// True for the roles that are granted in a cell, not in the tenant.
    pub fn is_of_cell(self) -> bool {
        matches!(self, Role::CellAdministrator | Role::CellViewer | Role::CellUser)
    }
}

/// What a role allows, in the tenant or, for the roles of a cell, in that cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See the tenant or cell: name, labels, quota, members.
    Read,
    /// See resources and their history.
    ReadResources,
    /// Create, change, act on and delete resources.
    OperateResources,
    /// Rename and label the tenant or cell.
    Rename,
    /// Create and close cells.
    ManageCells,
    /// Set the quota of cells and their default.
    ManageCellQuota,
    /// Grant and revoke any role but Tenant Super Administrator.
    ManageMembers,
    /// Grant and revoke Tenant Super Administrator.
    ManageSuperAdministrators,
    /// Close the tenant.
    Close,
    /// See charges and invoices.
    ReadBilling,
}

impl Permission {
    /// All permissions, in the order of the table.
    pub const ALL: [Permission; 10] = [
        Permission::Read,
        Permission::ReadResources,
        Permission::OperateResources,
        Permission::Rename,
        Permission::ManageCells,
        Permission::ManageCellQuota,
        Permission::ManageMembers,
        Permission::ManageSuperAdministrators,
        Permission::Close,
        Permission::ReadBilling,
    ];
}

/// The table: what each role may do. The roles of a cell do it in that cell only.
pub fn allows(role: Role, permission: Permission) -> bool {
    use Permission::*;
    match role {
        Role::TenantSuperAdministrator => true,
        Role::TenantAdministrator => !matches!(permission, ManageSuperAdministrators | Close),
        Role::TenantViewer => matches!(permission, Read | ReadResources),
        Role::TenantBillingAdmin => matches!(permission, Read | ReadBilling),
        Role::CellAdministrator => matches!(permission, Read | ReadResources | OperateResources | Rename | ManageMembers),
        Role::CellViewer => matches!(permission, Read | ReadResources),
        Role::CellUser => matches!(permission, Read | ReadResources | OperateResources),
    }
}

/// A role held by a principal, with the cell for the roles of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grant {
    /// What is held.
    pub role: Role,
    /// Where, for a role of a cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellId>,
}

/// True when one of `grants` allows `permission` on something in `cell`, or at the tenant's own level when `cell` is `None`.
pub fn permits(grants: &BTreeSet<Grant>, permission: Permission, cell: Option<CellId>) -> bool {
    grants.iter().any(|g| allows(g.role, permission) && (!g.role.is_of_cell() || (g.cell.is_some() && g.cell == cell)))
}

/// A map whose keys are not texts, written as a list of pairs in the order of the keys: JSON has only texts as keys.
pub(crate) mod as_pairs {
    use imbl::OrdMap;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize + Ord, V: Serialize, S: Serializer>(map: &OrdMap<K, V>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(d: D) -> Result<OrdMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord + Clone,
        V: Deserialize<'de> + Clone,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(d)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_role_of_one_cell_gives_nothing_in_another_or_at_the_tenant() {
        let (here, there) = (CellId(Uuid::from_u128(1)), CellId(Uuid::from_u128(2)));
        for role in Role::ALL.into_iter().filter(|r| r.is_of_cell()) {
            let grants = BTreeSet::from([Grant { role, cell: Some(here) }]);
            for permission in Permission::ALL {
                assert_eq!(permits(&grants, permission, Some(here)), allows(role, permission));
                assert!(!permits(&grants, permission, Some(there)));
                assert!(!permits(&grants, permission, None));
            }
        }
    }

    #[test]
    fn only_a_super_administrator_makes_another_or_closes_the_tenant() {
        for role in Role::ALL {
            let top = role == Role::TenantSuperAdministrator;
            assert_eq!(allows(role, Permission::ManageSuperAdministrators), top);
            assert_eq!(allows(role, Permission::Close), top);
        }
    }
}
