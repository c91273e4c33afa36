//! `cirrus projector`.

use crate::config::Config;
use axum::{Json, Router, http::StatusCode, routing::get};
use projections::runner::Runner;

pub async fn run(config: Config, on: super::Ground) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let metrics = super::metrics()?;
    let super::Ground { database, journal, .. } = on;
    let runner = Runner::new(database, super::shared(super::events(&config, &journal)?), journal, stop.clone());
    let health = runner.health();
    let router = Router::new().route("/metrics", get(async move || metrics.render())).route(
        "/healthz",
        get(async move || {
            let health = health.borrow().clone();
            let status = if health.broken.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, Json(health))
        }),
    );
    let (served, ran) = tokio::join!(super::show(config.projector.listen, router, stop), runner.run());
    ran?;
    served
}
