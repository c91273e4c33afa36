//! Resources: whatever the catalogue offers, ordered, changed, acted on and deleted by the tenant's people.

pub mod list;
pub mod operator;

use crate::{
    answer::{ResourceAnswer, StepAnswer},
    asked::Asked,
    command::UnderWay,
    problem::{
        Problem,
        extract::{JsonBody, PathParameters},
    },
    seal::redact,
    state::Api,
    view::{Asking, At},
};
use axum::{extract::State, response::Response};
use domain::{
    Labels, Timestamp,
    catalogue::{Action, Spec},
    command::Command,
    id::{CellId, FlavorName, ResourceId, ServiceName, TenantId, ZoneName},
    people::Permission,
    quota::Amounts,
    resource::Step,
};
use projections::resources::ResourceRow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something to be ordered from the catalogue.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewResource {
    /// In which cell; at the tenant itself when absent, where the service allows that.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    cell: Option<CellId>,
    /// The service of the catalogue.
    #[schema(value_type = String, example = "server")]
    kind: ServiceName,
    /// For people.
    name: String,
    /// In which availability zone, for zonal services.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneName>,
    /// For people and billing.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    /// The logical subscriber identity of the BSS.
    #[serde(default)]
    subscriber: Option<String>,
    /// Sizes by name instead of in the spec.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    flavor: Option<FlavorName>,
    /// What the schema of the service asks for.
    #[schema(value_type = Object)]
    spec: Spec,
}

/// What is to be changed; absent stays. A new spec comes alone.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceChange {
    /// For people.
    #[serde(default)]
    name: Option<String>,
    /// All labels that it is to have.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Option<Labels>,
    /// The whole spec that it is to have. Sealed values are sent back as they were read.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    spec: Option<Spec>,
}

/// What to attach it to.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The other resource.
    #[schema(value_type = Uuid)]
    to: ResourceId,
}

/// A resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResourceBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    id: ResourceId,
    /// Its tenant.
    #[schema(value_type = Uuid)]
    tenant: TenantId,
    /// The cell that it sits in; absent at the tenant itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    cell: Option<CellId>,
    /// The service of the catalogue.
    #[schema(value_type = String)]
    kind: ServiceName,
    /// For people.
    name: String,
    /// Where it is in its life: creating, active, stopped, failing, failed, deleting, deleted, lost.
    phase: &'static str,
    /// The logical subscriber identity of the BSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriber: Option<String>,
    /// The provider's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<String>,
    /// All that is wanted; absent once it is deleted.
    #[serde(flatten)]
    wanted: Option<Wanted>,
    /// What is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepBody>,
    /// Failures since something last went well.
    failures: u32,
    /// The last of them, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When a fact about it was recorded last.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
}

/// What is wanted of a resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct Wanted {
    /// For people and billing.
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    /// Its availability zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneName>,
    /// As the schema of the service has it. A personal or secret value is `{"$sealed": "personal"}` or `{"$sealed": "secret"}`.
    #[schema(value_type = Object)]
    spec: Spec,
    /// What it claims of quota, a dimension.
    #[schema(value_type = BTreeMap<String, u64>)]
    claim: Amounts,
    /// Counts what is wanted; also the entity tag.
    generation: u64,
    /// The last generation that is in place.
    observed_generation: u64,
    /// What it is attached to, or is being attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    attached_to: Option<ResourceId>,
}

/// A step and how it goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepBody {
    /// The step.
    #[serde(flatten)]
    step: StepAnswer,
    /// True when its deadline has passed.
    overdue: bool,
    /// Attempts that failed.
    attempts: u32,
}

impl StepBody {
    fn of(step: &Step) -> Self {
        let told = StepAnswer { intent: step.intent, work: step.work.name(), deadline: step.deadline };
        Self { step: told, overdue: step.overdue, attempts: step.attempts }
    }
}

impl From<ResourceRow> for ResourceBody {
    fn from(row: ResourceRow) -> Self {
        let (phase, step) = (row.phase(), row.step().map(StepBody::of));
        let wanted = row.state.map(|state| Wanted {
            labels: state.labels,
            zone: state.zone,
            spec: redact(&state.terms.spec),
            claim: state.terms.claim,
            generation: state.generation,
            observed_generation: state.observed_generation,
            attached_to: state.attached_to,
        });
        Self {
            id: row.id,
            tenant: row.tenant,
            cell: row.cell,
            kind: row.kind,
            name: row.name,
            phase,
            subscriber: row.subscriber,
            external: row.external,
            wanted,
            step,
            failures: row.failures,
            problem: row.problem,
            created_at: row.created_at,
            changed_at: row.changed_at,
        }
    }
}

/// Order something. The answer says that it was accepted and has its place in the quota; `phase` and `step` tell when it exists.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resources", tag = "resources", params(("tenant" = Uuid, Path)),
    request_body = NewResource, responses((status = 201, body = ResourceAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn create(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<NewResource>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let NewResource { cell, kind, name, zone, labels, subscriber, flavor, spec } = body.value;
    // The version is that of the schema that the spec is checked against, and is noted then.
    let command = Command::CreateResource { cell, kind, version: 0, name, zone, labels, subscriber, flavor, spec };
    api.write(asked.with_body(body.document), Some(tenant), command).await
}

/// One resource, also a deleted one.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/resources/{resource}", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)), responses((status = 200, body = At<ResourceBody>)),
    extensions(("x-permission" = json!(Permission::ReadResources))))]
pub async fn read(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asking: Asking,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let row = view.snapshot.resource(tenant, resource).await?;
    let row = view.standing.see(Permission::ReadResources, row, |row| row.cell)?;
    let generation = row.state.as_ref().map(|state| state.generation);
    Ok(view.one(ResourceBody::from(row), generation))
}

/// Change its name, labels or spec.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/resources/{resource}", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)), request_body = ResourceChange,
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn change(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asked: Asked,
    body: JsonBody<ResourceChange>,
) -> Result<Response, Problem> {
    let ResourceChange { name, labels, spec } = body.value;
    let if_generation = asked.if_generation()?;
    let command = Command::ChangeResource { resource, if_generation, name, labels, spec, version: 0 };
    api.write(asked.with_body(body.document), Some(tenant), command).await
}

/// Delete it for ever.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/resources/{resource}", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)),
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn delete(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let if_generation = asked.if_generation()?;
    api.write(asked, Some(tenant), Command::DeleteResource { resource, if_generation }).await
}

/// Start, stop or reboot it.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resources/{resource}/actions/{action}", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path), ("action" = String, Path, description = "start, stop or reboot")),
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn act(
    State(api): State<Api>,
    PathParameters((tenant, resource, action)): PathParameters<(TenantId, ResourceId, Action)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let if_generation = asked.if_generation()?;
    api.write(asked, Some(tenant), Command::ActOnResource { resource, if_generation, action }).await
}

/// Attach it to another resource: a volume to a server.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resources/{resource}/attach", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)), request_body = Attachment,
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn attach(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asked: Asked,
    body: JsonBody<Attachment>,
) -> Result<Response, Problem> {
    let if_generation = asked.if_generation()?;
    let command = Command::AttachResource { resource, if_generation, to: body.value.to };
    api.write(asked.with_body(body.document), Some(tenant), command).await
}

/// Detach it from what it is attached to.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resources/{resource}/detach", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)),
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn detach(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let if_generation = asked.if_generation()?;
    api.write(asked, Some(tenant), Command::DetachResource { resource, if_generation }).await
}
