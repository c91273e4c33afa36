//! Operations: what became of a command whose caller did not wait for it.

use crate::{
    answer::{Outcome, answer},
    command::decode,
    problem::{Problem, ProblemType, extract::PathParameters},
    state::Api,
    view::{Asking, At, View},
};
use axum::{extract::State, response::Response};
use domain::{
    id::{CommandId, TenantId},
    people::Actor,
};
use projections::operations::OperationRow;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// What became of an operation.
#[derive(Debug, Serialize, ToSchema)]
pub struct OperationBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    operation: CommandId,
    /// done, refused, expired, failed, or unknown: nothing of it is on the journal, as far as this answer shows.
    state: &'static str,
    /// What to do about an unknown one.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    /// The status with which it is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The body with which it is answered: of a success as the route says, otherwise a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    answer: Option<Value>,
    /// Where what it made can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

impl OperationBody {
    fn unknown(operation: CommandId) -> Self {
        Self { operation, state: "unknown", advice: Some("send it again with the same key"), status: None, answer: None, location: None }
    }

    fn of(row: &OperationRow) -> Result<Self, Problem> {
        let base = Self { state: row.outcome.name(), advice: None, ..Self::unknown(row.id) };
        Ok(match answer(&decode(&row.events)?) {
            Outcome::Done(done) => {
                Self { status: Some(done.status.as_u16()), answer: Some(done.body.into()), location: done.location, ..base }
            }
            Outcome::Refused(problem) => {
                let status = Some(problem.kind().status().as_u16());
                Self { status, answer: serde_json::to_value(problem.document()).ok(), ..base }
            }
            // A repetition never replaces the outcome that it repeats.
            Outcome::Repeated { .. } => return Err(ProblemType::Internal.into()),
        })
    }
}

/// What became of an operation in a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/operations/{operation}", tag = "operations",
    params(("tenant" = Uuid, Path), ("operation" = Uuid, Path)), responses((status = 200, body = At<OperationBody>)),
    extensions(("x-permission" = json!("whoever asked for it, or operator"))))]
pub async fn read(
    State(api): State<Api>,
    PathParameters((tenant, operation)): PathParameters<(TenantId, Uuid)>,
    asking: Asking,
) -> Result<Response, Problem> {
    show(&api, asking, Some(tenant), CommandId(operation)).await
}

/// What became of an operation on the platform.
#[utoipa::path(get, path = "/v1/operations/{operation}", tag = "operations", params(("operation" = Uuid, Path)),
    responses((status = 200, body = At<OperationBody>)), extensions(("x-permission" = json!("whoever asked for it, or operator"))))]
pub async fn read_of_platform(
    State(api): State<Api>,
    PathParameters(operation): PathParameters<Uuid>,
    asking: Asking,
) -> Result<Response, Problem> {
    show(&api, asking, None, CommandId(operation)).await
}

async fn show(api: &Api, asking: Asking, tenant: Option<TenantId>, id: CommandId) -> Result<Response, Problem> {
    let asker = Actor::Principal(crate::standing::principal(&asking.caller));
    let view: View = api.view(asking, tenant).await?;
    let row = view.snapshot.operation(api.deciders.partition_of(tenant), id).await?;
    // Somebody else's operation is answered like one that never was: its outcome may tell what its asker may see and this caller may not.
    let own = row.filter(|row| view.standing.operator || row.actor.as_ref() == Some(&asker));
    let body = own.as_ref().map_or_else(|| Ok(OperationBody::unknown(id)), OperationBody::of)?;
    Ok(view.one(body, None))
}
