//! What whoever runs the platform does to a tenant's resource: end a stuck step, correct when something happened.

use crate::{
    answer::ResourceAnswer,
    asked::Asked,
    command::UnderWay,
    problem::{
        Problem,
        extract::{JsonBody, PathParameters},
    },
    state::Api,
};
use axum::{extract::State, response::Response};
use domain::{
    Timestamp,
    command::{Command, LifecycleFact, Verdict},
    id::{IntentId, ResourceId, TenantId},
};
use serde::Deserialize;
use utoipa::ToSchema;

/// How a stuck step ended.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// The step.
    #[schema(value_type = Uuid)]
    intent: IntentId,
    /// `done`: it happened; `failed`: it did not and nothing of it is left; `retry`: begin again with a new deadline.
    #[schema(value_type = String)]
    verdict: Verdict,
    /// For the record.
    reason: String,
}

/// What happened at another time than was recorded.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// `provisioned`, `delete_requested` or `vanished`.
    #[schema(value_type = String)]
    fact: LifecycleFact,
    /// When it did happen.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// For the record.
    reason: String,
}

/// Say how a stuck step ended.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resources/{resource}/resolve", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)), request_body = Resolution,
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn resolve(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asked: Asked,
    body: JsonBody<Resolution>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let Resolution { intent, verdict, reason } = body.value;
    api.write(asked.with_body(body.document), Some(tenant), Command::ResolveStep { resource, intent, verdict, reason }).await
}

/// Correct when something happened, because it became known late.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resources/{resource}/correct", tag = "resources",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)), request_body = Correction,
    responses((status = 200, body = ResourceAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn correct(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asked: Asked,
    body: JsonBody<Correction>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    let Correction { fact, at, reason } = body.value;
    api.write(asked.with_body(body.document), Some(tenant), Command::CorrectLifecycle { resource, fact, at, reason }).await
}
