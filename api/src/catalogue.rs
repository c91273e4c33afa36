//! What can be ordered, and where: services, flavors, regions, zones.

use crate::{
    problem::Problem,
    state::Api,
    view::{Asking, At},
};
use axum::{extract::State, response::Response};
use domain::{
    catalogue::{Flavor, Service},
    id::{RegionName, ZoneName},
    platform::{ServiceState, ZoneState},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The services.
#[derive(Debug, Serialize, ToSchema)]
pub struct Catalogue {
    /// By name, retired ones included: what exists of them can be operated.
    services: Vec<ServiceBody>,
}

/// A service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceBody {
    /// Its definition; `spec` is the JSON Schema of its specs, as they are stored.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    service: Service,
    /// published, paused or retired.
    #[schema(value_type = String)]
    state: ServiceState,
}

/// The flavors.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flavors {
    /// By name.
    #[schema(value_type = Vec<crate::platform::NewFlavor>)]
    flavors: Vec<Flavor>,
}

/// The regions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Regions {
    /// By name.
    regions: Vec<RegionBody>,
}

/// A region.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegionBody {
    /// Its name.
    #[schema(value_type = String)]
    region: RegionName,
    /// For people.
    title: String,
}

/// The availability zones.
#[derive(Debug, Serialize, ToSchema)]
pub struct Zones {
    /// By name.
    zones: Vec<ZoneBody>,
}

/// An availability zone.
#[derive(Debug, Serialize, ToSchema)]
pub struct ZoneBody {
    /// Its name.
    #[schema(value_type = String)]
    zone: ZoneName,
    /// Where it is.
    #[schema(value_type = String)]
    region: RegionName,
    /// open, draining (takes nothing new) or closed.
    #[schema(value_type = String)]
    state: ZoneState,
}

/// Everything that can be ordered.
#[utoipa::path(get, path = "/v1/catalogue", tag = "catalogue", responses((status = 200, body = At<Catalogue>)),
    extensions(("x-permission" = json!("any token"))))]
pub async fn services(State(api): State<Api>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, None).await?;
    let rows = view.snapshot.services().await?;
    let services = rows.into_iter().map(|row| ServiceBody { service: row.service, state: row.state }).collect();
    Ok(view.one(Catalogue { services }, None))
}

/// Named sizes of machines.
#[utoipa::path(get, path = "/v1/flavors", tag = "catalogue", responses((status = 200, body = At<Flavors>)),
    extensions(("x-permission" = json!("any token"))))]
pub async fn flavors(State(api): State<Api>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, None).await?;
    let flavors = view.snapshot.flavors().await?;
    Ok(view.one(Flavors { flavors }, None))
}

/// Regions.
#[utoipa::path(get, path = "/v1/regions", tag = "catalogue", responses((status = 200, body = At<Regions>)),
    extensions(("x-permission" = json!("any token"))))]
pub async fn regions(State(api): State<Api>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, None).await?;
    let rows = view.snapshot.regions().await?;
    let regions = rows.into_iter().map(|(region, title)| RegionBody { region, title }).collect();
    Ok(view.one(Regions { regions }, None))
}

/// Availability zones.
#[utoipa::path(get, path = "/v1/zones", tag = "catalogue", responses((status = 200, body = At<Zones>)),
    extensions(("x-permission" = json!("any token"))))]
pub async fn zones(State(api): State<Api>, asking: Asking) -> Result<Response, Problem> {
    let view = api.view(asking, None).await?;
    let rows = view.snapshot.zones().await?;
    let zones = rows.into_iter().map(|row| ZoneBody { zone: row.name, region: row.region, state: row.state }).collect();
    Ok(view.one(Zones { zones }, None))
}
