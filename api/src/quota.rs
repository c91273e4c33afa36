//! Quota of a tenant and of a cell: what is allowed, by whom, and what is in use.

use crate::{
    answer::{CellAnswer, TenantAnswer},
    asked::Asked,
    command::UnderWay,
    problem::{
        Problem,
        extract::{JsonBody, PathParameters},
    },
    state::Api,
    view::{Asking, At},
};
use axum::{extract::State, response::Response};
use domain::{
    command::Command,
    id::{CellId, Dimension, TenantId},
    people::Permission,
    quota::{Limit, LimitChanges, Limits, Source},
};
use projections::quota::Line;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Limits to be set; a dimension that is absent stays as it is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantLimits {
    /// The tenant's own limits, a dimension: a whole number or `unlimited`. Only whoever runs the platform sets these.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    limits: Limits,
    /// The default limits of its cells; `null` takes a default away.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    cell_default: LimitChanges,
}

/// Limits to be set; a dimension that is absent stays as it is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CellLimits {
    /// The cell's own limits, a dimension: a whole number or `unlimited`; `null` inherits again.
    #[schema(value_type = BTreeMap<String, Object>)]
    limits: LimitChanges,
}

/// The quota of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantQuotaBody {
    /// Every dimension that is limited or in use.
    quota: Vec<QuotaLine>,
    /// The default limits of its cells.
    #[schema(value_type = BTreeMap<String, Object>)]
    cell_default: Limits,
}

/// The quota of a cell.
#[derive(Debug, Serialize, ToSchema)]
pub struct CellQuotaBody {
    /// Every dimension that is limited or in use. A claim also needs room in the tenant.
    quota: Vec<QuotaLine>,
}

/// One dimension.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaLine {
    /// Its name, as the catalogue declares it.
    #[schema(value_type = String)]
    dimension: Dimension,
    /// The limit in force: a whole number or `unlimited`.
    #[schema(value_type = Object)]
    limit: Limit,
    /// Where the limit comes from: own, default (of the tenant for its cells), tenant (its own limit is the smaller one) or none.
    #[schema(value_type = String)]
    source: Source,
    /// In use.
    used: u64,
    /// True when more is in use than is allowed: new claims are refused, what runs goes on.
    over_limit: bool,
}

impl From<Line> for QuotaLine {
    fn from(line: Line) -> Self {
        let over_limit = Limit::At(line.used) > line.limit;
        Self { dimension: line.dimension, limit: line.limit, source: line.source, used: line.used, over_limit }
    }
}

/// The tenant's quota.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/quota", tag = "quota", params(("tenant" = uuid::Uuid, Path)),
    responses((status = 200, body = At<TenantQuotaBody>)), extensions(("x-permission" = json!(Permission::Read))))]
pub async fn read(State(api): State<Api>, PathParameters(tenant): PathParameters<TenantId>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let quota = view.standing.see(Permission::Read, view.snapshot.quota(tenant).await?, |_| None)?;
    let lines = quota.lines().into_iter().map(QuotaLine::from).collect();
    Ok(view.one(TenantQuotaBody { quota: lines, cell_default: quota.cell_default }, None))
}

/// Set limits of the tenant, or the default limits of its cells.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/quota", tag = "quota", params(("tenant" = uuid::Uuid, Path)),
    request_body = TenantLimits, responses((status = 200, body = TenantAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!("operator; manage_cell_quota for cell_default"))))]
pub async fn set(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<TenantLimits>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let TenantLimits { limits, cell_default } = body.value;
    api.write(asked.with_body(body.document), Some(tenant), Command::SetTenantQuota { limits, cell_default }).await
}

/// The cell's quota.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/cells/{cell}/quota", tag = "quota",
    params(("tenant" = uuid::Uuid, Path), ("cell" = uuid::Uuid, Path)), responses((status = 200, body = At<CellQuotaBody>)),
    extensions(("x-permission" = json!(Permission::Read))))]
pub async fn read_of_cell(
    State(api): State<Api>,
    PathParameters((tenant, cell)): PathParameters<(TenantId, CellId)>,
    asking: Asking,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let found = view.snapshot.quota_of_cell(tenant, cell).await?;
    let (of_tenant, of_cell) = view.standing.see(Permission::Read, found, |_| Some(cell))?;
    let lines = of_tenant.lines_of(&of_cell).into_iter().map(QuotaLine::from).collect();
    Ok(view.one(CellQuotaBody { quota: lines }, None))
}

/// Set limits of the cell.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/cells/{cell}/quota", tag = "quota",
    params(("tenant" = uuid::Uuid, Path), ("cell" = uuid::Uuid, Path)), request_body = CellLimits,
    responses((status = 200, body = CellAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!("manage_cell_quota, or operator"))))]
pub async fn set_of_cell(
    State(api): State<Api>,
    PathParameters((tenant, cell)): PathParameters<(TenantId, CellId)>,
    asked: Asked,
    body: JsonBody<CellLimits>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let limits = body.value.limits;
    api.write(asked.with_body(body.document), Some(tenant), Command::SetCellQuota { cell, limits }).await
}
