//! What people and the API may ask of a decider over HTTP: advice, health, figures.
//!
//! Advice is what a command would lead to now, by the same `decide`; nothing is written. It names its position and promises nothing.

use super::shell::Decider;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use journal::topics::Journal;
use schemas::{
    advice::{Advice, Foreseen},
    command::{CommandRecord, MAX_COMMAND_BYTES},
    event::WireEvent,
    record::Position,
};
use serde::Serialize;
use std::sync::Arc;

/// What a role shows of itself: its gauges and counters as Prometheus text.
pub type Exposition = Arc<dyn Fn() -> String + Send + Sync>;

struct Shared {
    decider: Decider,
    journal: Journal,
    exposition: Exposition,
}

/// The routes of a decider: `POST /advice`, `GET /healthz`, `GET /status`, `GET /metrics`.
pub fn router(decider: Decider, journal: Journal, exposition: Exposition) -> Router {
    let shared = Shared { decider, journal, exposition };
    Router::new()
        .route("/advice", post(advise))
        .route("/healthz", get(healthz))
        .route("/status", get(status))
        .route("/metrics", get(async |State(shared): State<Arc<Shared>>| (shared.exposition)()))
        .layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES))
        .with_state(Arc::new(shared))
}

async fn advise(State(shared): State<Arc<Shared>>, Json(record): Json<CommandRecord>) -> Response {
    let partition = shared.journal.partition_of(record.tenant);
    let Some((outcome, seq)) = shared.decider.advise(record.to_request()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response();
    };
    let outcome = match outcome {
        Ok(events) => Foreseen::Events(events.iter().map(WireEvent::of).collect()),
        Err(refusal) => Foreseen::Refusal(refusal),
    };
    Json(Advice { position: Position { generation: shared.journal.generation, partition, seq }, outcome }).into_response()
}

async fn healthz(State(shared): State<Arc<Shared>>) -> StatusCode {
    if shared.decider.is_alive() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[derive(Serialize)]
struct PartitionStatus {
    partition: u32,
    phase: &'static str,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.decider.status();
    let partitions =
        status.partitions.into_iter().map(|(partition, phase, seq, problem)| PartitionStatus { partition, phase, seq, problem });
    Json(serde_json::json!({
        "led": status.figures.led,
        "waiting": status.figures.waiting,
        "unobserved": status.figures.unobserved,
        "decided": status.figures.decided,
        "halted": status.figures.halted,
        "partitions": partitions.collect::<Vec<_>>(),
    }))
    .into_response()
}
