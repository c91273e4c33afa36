//! Who the caller is to this platform.

use crate::{
    answer::{POSITION, header},
    auth::Scope,
    members::{GrantBody, PrincipalBody},
    problem::Problem,
    standing::principal,
    state::Api,
    view::Asking,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    id::TenantId,
    people::{Grant, Principal},
};
use serde::Serialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// As tokens name them.
    #[schema(value_type = PrincipalBody)]
    principal: Principal,
    /// What the token calls them.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whether they run the platform.
    operator: bool,
    /// Their roles, by tenant.
    tenants: Vec<Membership>,
    /// Token of the position that this shows.
    position: String,
}

/// The caller's roles in one tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Membership {
    /// The tenant.
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    /// What they hold.
    #[schema(value_type = Vec<GrantBody>)]
    roles: BTreeSet<Grant>,
}

/// Who the caller is, and their roles in all tenants.
#[utoipa::path(get, path = "/v1/me", tag = "me", responses((status = 200, body = Me)), extensions(("x-permission" = json!("any token"))))]
pub async fn me(State(api): State<Api>, asking: Asking) -> Result<Response, Problem> {
    let caller = asking.caller.clone();
    let view = api.view_all(asking).await?;
    let principal = principal(&caller);
    let grants = view.snapshot.grants_anywhere(&principal).await?;
    let tenants = grants
        .into_iter()
        .filter(|(tenant, _)| caller.can_belong_to(tenant.0))
        .map(|(tenant, roles)| Membership { tenant, roles })
        .collect();
    let position = view.token();
    let operator = view.standing.operator && caller.scope == Scope::Platform;
    let me = Me { principal, name: caller.name, operator, tenants, position: position.clone() };
    Ok(([(POSITION, header(&position))], Json(me)).into_response())
}
