//! The platform itself, for those who run it: regions, zones, services, flavors, default quotas, operators.

use crate::{
    answer::PlatformAnswer,
    asked::Asked,
    command::UnderWay,
    members::{PrincipalBody, principal_of},
    problem::{
        Problem, ProblemType,
        extract::{JsonBody, PathParameters},
    },
    refusals::{self, sentence},
    state::Api,
    view::{Asking, At},
};
use axum::{extract::State, response::Response};
use domain::{
    Timestamp,
    catalogue::{Flavor, Service},
    command::Command,
    id::{FlavorName, RegionName, ServiceName, ZoneName},
    people::Principal,
    platform::{RunningRole, ZoneState},
    quota::Limits,
    refusal::Refusal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A region to be declared.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegion {
    /// Its name.
    #[schema(value_type = String)]
    region: RegionName,
    /// For people.
    title: String,
}

/// An availability zone to be declared.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewZone {
    /// Its name.
    #[schema(value_type = String)]
    zone: ZoneName,
    /// Where it is.
    #[schema(value_type = String)]
    region: RegionName,
}

/// What a zone is to take.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewZoneState {
    /// open, draining (takes nothing new) or closed.
    #[schema(value_type = String)]
    state: ZoneState,
}

/// A named size of machine. Its sizes never change.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFlavor {
    /// Its name.
    #[schema(value_type = String)]
    name: FlavorName,
    /// Virtual processors.
    vcpus: u32,
    /// Memory in MiB.
    memory_mib: u64,
}

/// What a tenant gets when it is opened.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultQuota {
    /// Limits of the tenant, a dimension: a whole number or `unlimited`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    tenant: Limits,
    /// Default limits of its cells.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    cell: Limits,
}

/// The event format to be raised to.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFormat {
    /// One above the present one.
    format: u32,
}

/// The event format, and who has to read it.
#[derive(Debug, Serialize, ToSchema)]
pub struct FormatBody {
    /// Events are written in versions up to this one; 0 before any was raised.
    format: u32,
    /// The processes that have reported within the last minute.
    running: Vec<RunningBody>,
}

/// A process that runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunningBody {
    /// Its role, the process, and the highest format that it `reads`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    running: RunningRole,
    /// When it last said so.
    #[schema(value_type = String, format = DateTime)]
    reported: Timestamp,
}

impl Api {
    async fn of_platform(&self, asked: Asked, document: Option<Value>, command: Command) -> Result<Response, Problem> {
        asked.unconditional()?;
        let asked = match document {
            Some(document) => asked.with_body(document),
            None => asked,
        };
        self.write(asked, None, command).await
    }
}

/// Declare a region.
#[utoipa::path(post, path = "/v1/regions", tag = "platform", request_body = NewRegion,
    responses((status = 201, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn declare_region(State(api): State<Api>, asked: Asked, body: JsonBody<NewRegion>) -> Result<Response, Problem> {
    let NewRegion { region, title } = body.value;
    api.of_platform(asked, Some(body.document), Command::DeclareRegion { region, title }).await
}

/// Declare an availability zone, which is open from then on.
#[utoipa::path(post, path = "/v1/zones", tag = "platform", request_body = NewZone,
    responses((status = 201, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn declare_zone(State(api): State<Api>, asked: Asked, body: JsonBody<NewZone>) -> Result<Response, Problem> {
    let NewZone { zone, region } = body.value;
    api.of_platform(asked, Some(body.document), Command::DeclareZone { zone, region }).await
}

/// Open, drain or close a zone.
#[utoipa::path(put, path = "/v1/zones/{zone}/state", tag = "platform", params(("zone" = String, Path)), request_body = NewZoneState,
    responses((status = 200, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn set_zone_state(
    State(api): State<Api>,
    PathParameters(zone): PathParameters<ZoneName>,
    asked: Asked,
    body: JsonBody<NewZoneState>,
) -> Result<Response, Problem> {
    api.of_platform(asked, Some(body.document), Command::SetZoneState { zone, state: body.value.state }).await
}

/// Publish a service, or its next version.
#[utoipa::path(post, path = "/v1/services", tag = "platform", request_body(content = Object),
    responses((status = 201, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn publish(State(api): State<Api>, asked: Asked, body: JsonBody<Service>) -> Result<Response, Problem> {
    let faults = schemas::catalogue::review(&body.value);
    if !faults.is_empty() {
        let problem = Problem::new(ProblemType::InvalidBody);
        return Err(faults.into_iter().fold(problem, |problem, fault| problem.field(fault.pointer, sentence(&fault.problem))));
    }
    api.of_platform(asked, Some(body.document), Command::PublishService { service: Box::new(body.value) }).await
}

/// Take no new orders until it is published again.
#[utoipa::path(post, path = "/v1/services/{service}/pause", tag = "platform", params(("service" = String, Path)),
    responses((status = 200, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn pause(
    State(api): State<Api>,
    PathParameters(service): PathParameters<ServiceName>,
    asked: Asked,
) -> Result<Response, Problem> {
    api.of_platform(asked, None, Command::PauseService { service }).await
}

/// Take no new orders ever. What exists can be operated and deleted.
#[utoipa::path(post, path = "/v1/services/{service}/retire", tag = "platform", params(("service" = String, Path)),
    responses((status = 200, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn retire(
    State(api): State<Api>,
    PathParameters(service): PathParameters<ServiceName>,
    asked: Asked,
) -> Result<Response, Problem> {
    api.of_platform(asked, None, Command::RetireService { service }).await
}

/// Define a flavor.
#[utoipa::path(post, path = "/v1/flavors", tag = "platform", request_body = NewFlavor,
    responses((status = 201, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn define_flavor(State(api): State<Api>, asked: Asked, body: JsonBody<NewFlavor>) -> Result<Response, Problem> {
    let NewFlavor { name, vcpus, memory_mib } = body.value;
    let flavor = Flavor { name, vcpus, memory_mib };
    api.of_platform(asked, Some(body.document), Command::DefineFlavor { flavor }).await
}

/// Set what tenants get that are opened from then on.
#[utoipa::path(put, path = "/v1/quota-defaults", tag = "platform", request_body = DefaultQuota,
    responses((status = 200, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn set_default_quota(State(api): State<Api>, asked: Asked, body: JsonBody<DefaultQuota>) -> Result<Response, Problem> {
    let DefaultQuota { tenant, cell } = body.value;
    api.of_platform(asked, Some(body.document), Command::SetDefaultQuota { tenant, cell }).await
}

/// Make somebody an operator of the platform.
#[utoipa::path(post, path = "/v1/operators", tag = "platform", request_body = PrincipalBody,
    responses((status = 201, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn appoint(State(api): State<Api>, asked: Asked, body: JsonBody<Principal>) -> Result<Response, Problem> {
    api.of_platform(asked, Some(body.document), Command::AppointOperator { operator: body.value }).await
}

/// Take the right of an operator away. The operator is named in the query.
#[utoipa::path(delete, path = "/v1/operators", tag = "platform", params(("issuer" = String, Query), ("subject" = String, Query)),
    responses((status = 200, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn dismiss(State(api): State<Api>, mut asked: Asked) -> Result<Response, Problem> {
    let operator = principal_of(&mut asked)?;
    api.of_platform(asked, None, Command::DismissOperator { operator }).await
}

/// The event format, and who has to read it.
#[utoipa::path(get, path = "/v1/format", tag = "platform", responses((status = 200, body = At<FormatBody>)),
    extensions(("x-permission" = json!("operator"))))]
pub async fn format(State(api): State<Api>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, None).await?;
    if !view.standing.operator {
        return Err(refusals::problem(&Refusal::OperatorsOnly));
    }
    let (format, running) = futures::try_join!(view.snapshot.format(), api.database.running())?;
    let running = running.into_iter().map(|(running, reported)| RunningBody { running, reported }).collect();
    Ok(view.one(FormatBody { format, running }, None))
}

/// Write new event versions from then on. There is no way back: older programs do not start any more.
#[utoipa::path(put, path = "/v1/format", tag = "platform", request_body = NewFormat,
    responses((status = 200, body = PlatformAnswer), (status = 202, body = UnderWay)), extensions(("x-permission" = json!("operator"))))]
pub async fn raise_format(State(api): State<Api>, asked: Asked, body: JsonBody<NewFormat>) -> Result<Response, Problem> {
    let running = api.database.running().await?.into_iter().map(|(running, _)| running).collect();
    api.of_platform(asked, Some(body.document), Command::RaiseFormat { format: body.value.format, running }).await
}
