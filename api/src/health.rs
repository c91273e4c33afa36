//! Whether this process lives, whether it can answer truthfully, and how it fares. Needs no token and tells nothing of any tenant.

use crate::{
    problem::{Problem, ProblemType},
    state::Api,
};
use axum::{
    Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use projections::snapshot::Shown;
use serde::Serialize;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// Whether requests should come here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Always true: the read models are near the journal.
    ready: bool,
    /// Seconds for which the read models have not shown something that is on the journal.
    behind_s: u64,
    /// Read models that passed over an event which this version does not know, with the position of the first.
    incomplete: Vec<String>,
}

/// This process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub async fn alive() -> &'static str {
    "alive\n"
}

/// Whether requests should come here: only while the read models are near the journal.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Readiness)))]
pub async fn ready(State(api): State<Api>) -> Response {
    let behind = api.seen.behind(Instant::now(), |_| true);
    let snapshot = api.database.snapshot(Shown::All).await;
    let (problem, incomplete) = match &snapshot {
        Err(_) => (Some("The read models cannot be asked."), Vec::new()),
        Ok(snapshot) => {
            let incomplete = snapshot.incomplete().iter().map(|(model, from)| format!("{model} from {from}")).collect();
            let problem = if snapshot.positions().is_empty() {
                Some("The read models are not filled yet.")
            } else if behind > Duration::from_secs(api.limits.stale_after_s) {
                Some("The read models are behind the journal.")
            } else {
                None
            };
            (problem, incomplete)
        }
    };
    if let Some(problem) = problem {
        let wait = Duration::from_secs(1);
        return Problem::new(ProblemType::ReadsStale).detail(problem).with("behind_s", behind.as_secs()).retry_after(wait).into_response();
    }
    Json(Readiness { ready: true, behind_s: behind.as_secs(), incomplete }).into_response()
}

/// Metrics in the format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub async fn metrics(State(api): State<Api>) -> Response {
    let Some(handle) = &api.metrics else { return Problem::from(ProblemType::NotFound).into_response() };
    metrics::gauge!("cirrus_api_requests_in_flight").set(f64::from(api.in_flight.total()));
    metrics::gauge!("cirrus_read_models_behind_seconds").set(api.seen.behind(Instant::now(), |_| true).as_secs_f64());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
}
