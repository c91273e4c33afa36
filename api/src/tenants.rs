//! Tenants: opened by whoever runs the platform, then led by their own people.
//!
//! Opening takes two chains: the platform's, where the external reference is unique, and then the tenant's own. The second command's id is
//! derived from the first's, so an opening that was cut in two goes on when it is sent again.

use crate::{
    answer::TenantAnswer,
    asked::Asked,
    command::{Admission, Admitted, Decided, UnderWay, decode, under_way},
    position::page::PageKey,
    problem::{
        Problem, ProblemType,
        extract::{JsonBody, Parameters, PathParameters},
    },
    state::Api,
    view::{Asking, At, List, Page},
};
use axum::{extract::State, response::Response};
use domain::{
    Labels, Timestamp,
    command::Command,
    id::{CommandId, TenantId},
    people::{Permission, Principal},
    quota::Limits,
    tenant::{Clock, TenantStatus},
};
use projections::{page::ByCreation, tenants::TenantRow};
use schemas::command::CommandRecord;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A tenant to be opened.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// The party of the BSS; unique over all tenants.
    reference: String,
    /// For people.
    name: String,
    /// The first Tenant Super Administrator.
    #[schema(value_type = crate::members::PrincipalBody)]
    administrator: Principal,
    /// By which clock its events happen: `journal` (the usual) or `effective` (for imports and simulations). Never changed afterwards.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    clock: Clock,
    /// For people and billing.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    /// Limits of its own instead of the platform's defaults, a dimension: a whole number or `unlimited`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    limits: Limits,
    /// Default limits of its cells instead of the platform's.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    cell_default: Limits,
}

/// What is to be changed; absent stays.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantChange {
    /// For people.
    #[serde(default)]
    name: Option<String>,
    /// All labels that it is to have.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Option<Labels>,
}

/// Why it is suspended.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// For the tenant's people to read.
    reason: String,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantBody {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    id: TenantId,
    /// The party of the BSS.
    reference: String,
    /// For people.
    name: String,
    /// For people and billing.
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    /// open, suspended, closing or closed.
    #[schema(value_type = String)]
    status: TenantStatus,
    /// By which clock its events happen: journal or effective.
    #[schema(value_type = String)]
    clock: Clock,
    /// Why it is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Resources that it holds.
    resources: u64,
    /// How far its closing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    closing: Option<Closing>,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When a fact about itself was recorded last.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
}

/// How far the closing of a tenant is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Closing {
    /// Resources when it began.
    at_first: u64,
    /// Resources left.
    left: u64,
}

impl From<TenantRow> for TenantBody {
    fn from(row: TenantRow) -> Self {
        Self {
            id: row.id,
            reference: row.reference,
            name: row.name,
            labels: row.labels,
            status: row.status,
            clock: row.clock,
            reason: row.reason,
            resources: row.resources,
            closing: row.closing.map(|at_first| Closing { at_first, left: row.resources }),
            created_at: row.created_at,
            changed_at: row.changed_at,
        }
    }
}

/// Which page of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// Most items, 1 to 1,000; 100 if absent.
    pub limit: Option<u32>,
    /// Token of the page, from `next` of the one before.
    pub page: Option<String>,
}

impl Paging {
    /// The list with this filter, by creation.
    pub fn list<'a>(&'a self, filter: &'a str) -> List<'a> {
        List { filter, order: "created", limit: self.limit, page: self.page.as_deref() }
    }
}

/// The place in the order of creation that a page token stands for.
///
/// # Errors
/// 400 for a token of another order.
pub fn by_creation(key: Option<PageKey>) -> Result<Option<ByCreation>, Problem> {
    match key {
        None => Ok(None),
        Some(PageKey::Created { seq, partition, id }) => Ok(Some(ByCreation { seq, partition, id })),
        Some(PageKey::Named { .. }) => Err(ProblemType::InvalidPageToken.into()),
    }
}

/// Open a tenant. Answers when the tenant's own chain says that it is open.
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", request_body = NewTenant,
    responses((status = 201, body = TenantAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn open(State(api): State<Api>, asked: Asked, body: JsonBody<NewTenant>) -> Result<Response, Problem> {
    asked.unconditional()?;
    let asked = asked.with_body(body.document);
    let id = api.command_id(&asked, None);
    let NewTenant { reference, name, administrator, clock, labels, limits, cell_default } = body.value;
    let command = Command::ReserveTenant { reference, name, administrator, clock, labels, limits, cell_default };
    let (tenant, opening) = (TenantId::from(id), id.derive("open"));
    let later = || Ok(under_way(&asked, Some(tenant), opening));
    let Admission { admitted, permit: _permit, .. } = api.admit(&asked, None, id, command).await?;
    let (reserved, record) = match admitted {
        Admitted::Before(row) => (Decided { position: row.position, events: decode(&row.events)? }, row.digest),
        Admitted::Ready(record) if asked.validate_only => return api.advise(&record).await,
        Admitted::Ready(record) => match api.send(&asked, &record).await? {
            Some(decided) => (decided, record.digest),
            None => return later(),
        },
    };
    // A repetition names the commit that reserved it; the tenant's decider has to have read that far.
    let after_platform = api.judge(&asked, reserved.position, &reserved.events)?.map_or_else(|of| of, |_| reserved.position.seq);
    let record = open_record(&api, &asked, tenant, opening, record, after_platform);
    match api.send(&asked, &record).await? {
        Some(decided) => api.conclude(&asked, &record, decided).await,
        None => later(),
    }
}

fn open_record(
    api: &Api,
    asked: &Asked,
    tenant: TenantId,
    opening: CommandId,
    digest: schemas::record::Digest,
    after_platform: u64,
) -> CommandRecord {
    CommandRecord { after_platform, ..api.record(asked, Some(tenant), opening, digest, Command::OpenTenant {}) }
}

/// The tenants that the caller may know of: all of them for whoever runs the platform.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", params(Paging),
    responses((status = 200, body = Page<TenantBody>)), extensions(("x-permission" = json!("read"))))]
pub async fn list(State(api): State<Api>, asking: Asking, Parameters(paging): Parameters<Paging>) -> Result<Response, Problem> {
    let principal = crate::standing::principal(&asking.caller);
    let caller = asking.caller.clone();
    let view = api.view_all(asking).await?;
    let only: Option<Vec<TenantId>> = if view.standing.operator {
        None
    } else {
        let grants = view.snapshot.grants_anywhere(&principal).await?;
        Some(grants.into_keys().filter(|tenant| caller.can_belong_to(tenant.0)).collect())
    };
    let list = paging.list("GET /v1/tenants");
    let (after, limit) = view.walk(list)?;
    let rows = view.snapshot.tenants(only.as_deref(), by_creation(after)?, limit).await?;
    view.page(list, rows, |row| created(row.created_seq, row.partition, row.id.0), |row| Some(TenantBody::from(row)))
}

/// A place in the order of creation.
pub fn created(seq: u64, partition: u32, id: uuid::Uuid) -> PageKey {
    PageKey::Created { seq, partition, id }
}

/// One tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = uuid::Uuid, Path)),
    responses((status = 200, body = At<TenantBody>)), extensions(("x-permission" = json!("any role"))))]
pub async fn read(State(api): State<Api>, PathParameters(tenant): PathParameters<TenantId>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let row = view.snapshot.tenant(tenant).await?.ok_or(ProblemType::NotFound)?;
    Ok(view.one(TenantBody::from(row), None))
}

/// Give it another name or other labels.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = uuid::Uuid, Path)), request_body = TenantChange,
    responses((status = 200, body = TenantAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::Rename))))]
pub async fn change(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<TenantChange>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let TenantChange { name, labels } = body.value;
    api.write(asked.with_body(body.document), Some(tenant), Command::RenameTenant { name, labels }).await
}

/// Close it: at once when it is empty; with `drain=true` everything in it is deleted first.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = uuid::Uuid, Path), ("drain" = Option<bool>, Query, description = "Delete everything in it first.")),
    responses((status = 200, body = TenantAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!("close, or operator"))))]
pub async fn close(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let drain = asked.flag("drain")?;
    api.write(asked, Some(tenant), Command::CloseTenant { drain }).await
}

/// From now on accept only stop, detach and delete.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/suspend", tag = "tenants", params(("tenant" = uuid::Uuid, Path)),
    request_body = Suspension, responses((status = 200, body = TenantAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!("operator"))))]
pub async fn suspend(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<Suspension>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    api.write(asked.with_body(body.document), Some(tenant), Command::SuspendTenant { reason: body.value.reason }).await
}

/// Accept everything again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resume", tag = "tenants", params(("tenant" = uuid::Uuid, Path)),
    responses((status = 200, body = TenantAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn resume(State(api): State<Api>, PathParameters(tenant): PathParameters<TenantId>, asked: Asked) -> Result<Response, Problem> {
    asked.unconditional()?;
    api.write(asked, Some(tenant), Command::ResumeTenant {}).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tenant_path;

    #[test]
    fn a_tenant_is_found_where_its_opening_says() {
        let command = CommandId(uuid::Uuid::from_u128(7));
        assert_eq!(tenant_path(TenantId::from(command)), "/v1/tenants/00000000-0000-0000-0000-000000000007");
    }
}
