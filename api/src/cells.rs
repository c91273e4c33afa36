//! Cells: the divisions of a tenant.

use crate::{
    answer::CellAnswer,
    asked::Asked,
    command::UnderWay,
    problem::{
        Problem,
        extract::{JsonBody, Parameters, PathParameters},
    },
    state::Api,
    tenants::{Paging, by_creation, created},
    view::{Asking, At, Page},
};
use axum::{extract::State, response::Response};
use domain::{
    Timestamp,
    command::Command,
    id::{CellId, TenantId},
    people::Permission,
    quota::Limits,
};
use projections::tenants::CellRow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A cell to be created.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCell {
    /// For people.
    name: String,
    /// Its account in the BSS.
    #[serde(default)]
    billing_account: Option<String>,
    /// Limits of its own, a dimension; what is absent is inherited.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    limits: Limits,
    /// Always refused: cells do not nest.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    parent: Option<CellId>,
}

/// What is to be changed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CellChange {
    /// For people.
    name: String,
}

/// A cell.
#[derive(Debug, Serialize, ToSchema)]
pub struct CellBody {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    id: CellId,
    /// Its tenant.
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    /// For people.
    name: String,
    /// Its account in the BSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_account: Option<String>,
    /// open or closed.
    status: &'static str,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When a fact about it was recorded last.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
}

impl From<CellRow> for CellBody {
    fn from(row: CellRow) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            name: row.name,
            billing_account: row.billing_account,
            status: if row.closed { "closed" } else { "open" },
            created_at: row.created_at,
            changed_at: row.changed_at,
        }
    }
}

/// Create a cell.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/cells", tag = "cells", params(("tenant" = uuid::Uuid, Path)), request_body = NewCell,
    responses((status = 201, body = CellAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::ManageCells))))]
pub async fn create(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<NewCell>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let NewCell { name, billing_account, limits, parent } = body.value;
    api.write(asked.with_body(body.document), Some(tenant), Command::CreateCell { name, billing_account, limits, parent }).await
}

/// The cells that the caller may see, in the order of their creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/cells", tag = "cells", params(("tenant" = uuid::Uuid, Path), Paging),
    responses((status = 200, body = Page<CellBody>)), extensions(("x-permission" = json!(Permission::Read))))]
pub async fn list(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asking: Asking,
    Parameters(paging): Parameters<Paging>,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let visible = view.standing.visible(Permission::Read)?;
    let filter = format!("GET /v1/tenants/{tenant}/cells");
    let list = paging.list(&filter);
    let (after, limit) = view.walk(list)?;
    let rows = view.snapshot.cells(tenant, visible.cells(), by_creation(after)?, limit).await?;
    view.page(list, rows, |row| created(row.created_seq, row.partition, row.id.0), |row| Some(CellBody::from(row)))
}

/// One cell.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/cells/{cell}", tag = "cells",
    params(("tenant" = uuid::Uuid, Path), ("cell" = uuid::Uuid, Path)), responses((status = 200, body = At<CellBody>)),
    extensions(("x-permission" = json!(Permission::Read))))]
pub async fn read(
    State(api): State<Api>,
    PathParameters((tenant, cell)): PathParameters<(TenantId, CellId)>,
    asking: Asking,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let row = view.snapshot.cell(tenant, cell).await?;
    let row = view.standing.see(Permission::Read, row, |row| Some(row.id))?;
    Ok(view.one(CellBody::from(row), None))
}

/// Give it another name.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/cells/{cell}", tag = "cells",
    params(("tenant" = uuid::Uuid, Path), ("cell" = uuid::Uuid, Path)), request_body = CellChange,
    responses((status = 200, body = CellAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::Rename))))]
pub async fn change(
    State(api): State<Api>,
    PathParameters((tenant, cell)): PathParameters<(TenantId, CellId)>,
    asked: Asked,
    body: JsonBody<CellChange>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    api.write(asked.with_body(body.document), Some(tenant), Command::RenameCell { cell, name: body.value.name }).await
}

/// Close it; it has to be empty.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/cells/{cell}", tag = "cells",
    params(("tenant" = uuid::Uuid, Path), ("cell" = uuid::Uuid, Path)),
    responses((status = 200, body = CellAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::ManageCells))))]
pub async fn close(
    State(api): State<Api>,
    PathParameters((tenant, cell)): PathParameters<(TenantId, CellId)>,
    asked: Asked,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    api.write(asked, Some(tenant), Command::CloseCell { cell }).await
}
