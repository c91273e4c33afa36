//! Personal data: read back on purpose, and erased for ever.
//!
//! The journal and the read models hold it sealed under a key of its person. Erasing deletes that key: the log still verifies, and what the key
//! sealed is noise in every copy of it.

use crate::{
    asked::Asked,
    position::Positions,
    problem::{
        Problem,
        extract::{JsonBody, PathParameters},
    },
    refusals,
    seal::{self, Subject},
    spec::{is_personal, person_named, personal_fields},
    state::Api,
    view::{Asking, At},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    id::{ResourceId, TenantId},
    people::Permission,
    refusal::Refusal,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// The personal fields of a spec.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonalData {
    /// Their values by name.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Those whose person was erased.
    erased: Vec<String>,
}

/// Whom to forget.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// What names the person, exactly as it was given in a personal field.
    person: String,
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct Erased {
    /// Whether there was anything of this person. Either way nothing can be stored under this name any more.
    erased: bool,
}

/// The personal data of a resource, in clear.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/resources/{resource}/personal-data", tag = "personal data",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path)), responses((status = 200, body = At<PersonalData>)),
    extensions(("x-permission" = json!(Permission::OperateResources))))]
pub async fn read(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asking: Asking,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let row = view.snapshot.resource(tenant, resource).await?;
    let row = view.standing.see(Permission::OperateResources, row, |row| row.cell)?;
    let spec = row.state.map_or(Value::Null, |state| state.terms.spec);
    let sealed: Map<String, Value> = spec.as_object().into_iter().flatten().filter(|(_, value)| is_personal(value)).map(own).collect();
    let client = api.database.client().await?;
    let client: &tokio_postgres::Client = &client;
    let opened = api.sealer.open(client, tenant.0, &sealed.into()).await?;
    let erased: Vec<String> = opened.erased.iter().map(|(pointer, _)| pointer.trim_start_matches('/').to_owned()).collect();
    let Value::Object(mut values) = opened.document else { unreachable!("an object was opened") };
    values.retain(|name, _| !erased.contains(name));
    Ok(view.one(PersonalData { values, erased }, None))
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Forget a person: what was and will be sealed for them in this tenant cannot be read by anybody any more.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/erasures", tag = "personal data", params(("tenant" = Uuid, Path)),
    request_body = Erasure, responses((status = 200, body = Erased)), extensions(("x-permission" = json!(Permission::ManageMembers))))]
pub async fn erase(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asked: Asked,
    body: JsonBody<Erasure>,
) -> Result<Response, Problem> {
    asked.unconditional()?;
    asked.finish_query()?;
    let permission = Permission::ManageMembers;
    let view = api.view(Asking { caller: asked.caller, at_least: Positions::default() }, Some(tenant)).await?;
    if !view.standing.may(permission, None) {
        return Err(refusals::problem(&Refusal::Forbidden { permission }));
    }
    let mut erased = false;
    if asked.validate_only {
        return Ok(Json(Erased { erased }).into_response());
    }
    let client = api.database.client().await?;
    let client: &tokio_postgres::Client = &client;
    for field in personal_fields(&view.snapshot.services().await?) {
        let person: Uuid = person_named(&api.sealer, client, tenant, &field, &body.value.person).await?;
        erased |= seal::erase(client, tenant.0, Subject::Person(person)).await?;
    }
    Ok(Json(Erased { erased }).into_response())
}
