//! Every route, and what surrounds all of them.

use crate::{
    catalogue, cells, health, history, me, members, observe,
    openapi::{Document, complete},
    operations, personal, platform,
    problem::{self, Problem, ProblemType},
    quota, resources,
    state::Api,
    tenants,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{any::Any, time::Duration};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// All routes with their documentation.
pub fn documented() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(me::me))
        .routes(routes!(tenants::list, tenants::open))
        .routes(routes!(tenants::read, tenants::change, tenants::close))
        .routes(routes!(tenants::suspend))
        .routes(routes!(tenants::resume))
        .routes(routes!(quota::read, quota::set))
        .routes(routes!(cells::list, cells::create))
        .routes(routes!(cells::read, cells::change, cells::close))
        .routes(routes!(quota::read_of_cell, quota::set_of_cell))
        .routes(routes!(members::list, members::grant, members::revoke))
        .routes(routes!(resources::list::list, resources::create))
        .routes(routes!(resources::read, resources::change, resources::delete))
        .routes(routes!(resources::act))
        .routes(routes!(resources::attach))
        .routes(routes!(resources::detach))
        .routes(routes!(resources::operator::resolve))
        .routes(routes!(resources::operator::correct))
        .routes(routes!(personal::read))
        .routes(routes!(personal::erase))
        .routes(routes!(history::of_resource))
        .routes(routes!(history::of_tenant))
        .routes(routes!(operations::read))
        .routes(routes!(operations::read_of_platform))
        .routes(routes!(catalogue::services))
        .routes(routes!(platform::publish))
        .routes(routes!(platform::pause))
        .routes(routes!(platform::retire))
        .routes(routes!(catalogue::flavors, platform::define_flavor))
        .routes(routes!(catalogue::regions, platform::declare_region))
        .routes(routes!(catalogue::zones, platform::declare_zone))
        .routes(routes!(platform::set_zone_state))
        .routes(routes!(platform::set_default_quota))
        .routes(routes!(platform::format, platform::raise_format))
        .routes(routes!(platform::appoint, platform::dismiss))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .split_for_parts();
    (router, complete(document))
}

/// The service: routes, limits, and one form of error.
pub fn router(api: Api) -> Router {
    let (routes, document) = documented();
    let timeout = Duration::from_secs(api.limits.request_timeout_s);
    routes
        .route("/openapi.json", get(move || async move { Json(document) }))
        .merge(problem::routes())
        .fallback(|| async { Problem::new(ProblemType::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(ProblemType::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(api.limits.body_bytes))
        .layer(from_fn_with_state(api.clone(), limit_headers))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, timeout))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(problem::finish))
        .layer(from_fn(observe::observe))
        .layer(from_fn(observe::identify))
        .with_state(api)
}

/// Refuses requests whose headers are larger than all that the API can use.
async fn limit_headers(State(api): State<Api>, request: Request, next: Next) -> Response {
    let bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > api.limits.header_bytes {
        let problem = Problem::new(ProblemType::InvalidParameter);
        return problem.detail(format!("The headers have more than {} bytes.", api.limits.header_bytes)).into_response();
    }
    next.run(request).await
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("nothing");
    tracing::error!(said, "a handler panicked: {said}");
    Problem::new(ProblemType::Internal).into_response()
}
