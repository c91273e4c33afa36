//! Members of a tenant: who holds which role.

use crate::{
    answer::MemberAnswer,
    asked::{Asked, wrong_parameter},
    command::UnderWay,
    position::page::PageKey,
    problem::{
        Problem,
        extract::{JsonBody, Parameters, PathParameters},
    },
    state::Api,
    tenants::Paging,
    view::{Asking, List, Page},
};
use axum::{extract::State, response::Response};
use domain::{
    command::Command,
    id::{CellId, TenantId},
    people::{Grant, Permission, Principal, Role},
};
use projections::grants::MemberRow;
use serde::{Deserialize, Serialize, de::IntoDeserializer};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use uuid::Uuid;

/// A person or program as its issuer names it.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalBody {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `sub` of its tokens.
    pub subject: String,
}

/// A role, and in which cell if it is a role of a cell.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantBody {
    /// tenant_super_administrator, tenant_administrator, tenant_viewer, tenant_billing_admin, cell_administrator, cell_viewer, cell_user.
    #[schema(value_type = String)]
    pub role: Role,
    /// The cell, for a role of a cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub cell: Option<CellId>,
}

/// A role to be granted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// To whom.
    #[schema(value_type = PrincipalBody)]
    principal: Principal,
    /// Which role.
    #[schema(value_type = String)]
    role: Role,
    /// In which cell, for a role of a cell.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    cell: Option<CellId>,
}

/// A member and all roles that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberBody {
    /// Who.
    #[schema(value_type = PrincipalBody)]
    principal: Principal,
    /// What they hold.
    #[schema(value_type = Vec<GrantBody>)]
    roles: BTreeSet<Grant>,
}

/// Grant a role.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/members", tag = "members", params(("tenant" = Uuid, Path)), request_body = NewMember,
    responses((status = 201, body = MemberAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!("manage_members; manage_super_administrators for that role"))))]
pub async fn grant(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<NewMember>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let NewMember { principal, role, cell } = body.value;
    api.write(asked.with_body(body.document), Some(tenant), Command::GrantRole { principal, grant: Grant { role, cell } }).await
}

/// Revoke a role. It is named in the query, since a DELETE has no body that everybody passes on.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/members", tag = "members",
    params(("tenant" = Uuid, Path), ("issuer" = String, Query), ("subject" = String, Query), ("role" = String, Query),
        ("cell" = Option<Uuid>, Query)),
    responses((status = 200, body = MemberAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!("manage_members; manage_super_administrators for that role"))))]
pub async fn revoke(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let principal = principal_of(&mut asked)?;
    let role = asked.parameter("role")?;
    let role: Result<Role, serde::de::value::Error> = Role::deserialize(role.as_str().into_deserializer());
    let role = role.map_err(|_| wrong_parameter("role", "is none of the seven roles"))?;
    let cell =
        asked.optional("cell")?.map(|cell| cell.parse().map_err(|_| wrong_parameter("cell", "is not the id of a cell"))).transpose()?;
    api.write(asked, Some(tenant), Command::RevokeRole { principal, grant: Grant { role, cell } }).await
}

/// The principal that the query names.
///
/// # Errors
/// 400 when it names none.
pub fn principal_of(asked: &mut Asked) -> Result<Principal, Problem> {
    Ok(Principal { issuer: asked.parameter("issuer")?.into(), subject: asked.parameter("subject")?.into() })
}

/// The members, by issuer and subject. Who has roles in cells only sees the roles in those cells.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/members", tag = "members", params(("tenant" = Uuid, Path), Paging),
    responses((status = 200, body = Page<MemberBody>)), extensions(("x-permission" = json!(Permission::Read))))]
pub async fn list(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asking: Asking,
    Parameters(paging): Parameters<Paging>,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let visible = view.standing.visible(Permission::Read)?;
    let filter = format!("GET /v1/tenants/{tenant}/members");
    let list = List { order: "principal", ..paging.list(&filter) };
    let (after, limit) = view.walk(list)?;
    let mut rows = view.snapshot.members(tenant, after.and_then(place).as_ref(), limit).await?;
    if let Some(cells) = visible.cells() {
        for row in &mut rows {
            row.grants.retain(|grant| grant.cell.is_some_and(|cell| cells.contains(&cell)));
        }
    }
    let shape = |row: MemberRow| (!row.grants.is_empty()).then_some(MemberBody { principal: row.principal, roles: row.grants });
    view.page(list, rows, key, shape)
}

/// Issuer and subject hold no control characters, so that one between them separates them.
const BETWEEN: char = '\n';

fn key(row: &MemberRow) -> PageKey {
    PageKey::Named { name: format!("{}{BETWEEN}{}", row.principal.issuer, row.principal.subject), partition: 0, id: Uuid::nil() }
}

fn place(key: PageKey) -> Option<Principal> {
    let PageKey::Named { name, .. } = key else { return None };
    let (issuer, subject) = name.split_once(BETWEEN)?;
    Some(Principal { issuer: issuer.into(), subject: subject.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_behind_the_member_that_was_shown_last() {
        let principal = Principal { issuer: "https://id.example".into(), subject: "ada#1".into() };
        let row = MemberRow { principal: principal.clone(), grants: BTreeSet::new() };
        assert_eq!(place(key(&row)), Some(principal));
    }
}
