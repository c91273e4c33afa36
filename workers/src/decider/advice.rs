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
use domain::refusal::Refusal;
use schemas::{
    command::{CommandRecord, MAX_COMMAND_BYTES},
    event::WireEvent,
    record::Position,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The answer to `POST /advice`, whose body is the command record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Advised {
    /// The position that the advice was given at.
    pub position: Position,
    /// What would happen.
    pub outcome: Outlook,
}

/// What would happen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// These facts.
    Events(Vec<WireEvent>),
    /// A refusal.
    Refusal(Refusal),
}

/// What a role shows of itself: its gauges and counters as Prometheus text.
pub type Exposition = Arc<dyn Fn() -> String + Send + Sync>;

struct Shared {
    decider: Decider,
    generation: u32,
    partition_of: Box<dyn Fn(&CommandRecord) -> u32 + Send + Sync>,
    exposition: Exposition,
}

/// The routes of a decider: `POST /advice`, `GET /healthz`, `GET /status`, `GET /metrics`.
pub fn router(decider: Decider, journal: journal::topics::Journal, exposition: Exposition) -> Router {
    let partition_of = move |record: &CommandRecord| record.tenant.map_or(journal.platform(), |t| journal.partition_of(t.0));
    let shared = Shared { decider, generation: journal.generation, partition_of: Box::new(partition_of), exposition };
    Router::new()
        .route("/advice", post(advise))
        .route("/healthz", get(healthz))
        .route("/status", get(status))
        .route("/metrics", get(async |State(shared): State<Arc<Shared>>| (shared.exposition)()))
        .layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES))
        .with_state(Arc::new(shared))
}

async fn advise(State(shared): State<Arc<Shared>>, Json(record): Json<CommandRecord>) -> Response {
    let partition = (shared.partition_of)(&record);
    let Some((outcome, seq)) = shared.decider.advise(record.to_request()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response();
    };
    let outcome = match outcome {
        Ok(events) => Outlook::Events(events.iter().map(WireEvent::of).collect()),
        Err(refusal) => Outlook::Refusal(refusal),
    };
    Json(Advised { position: Position { generation: shared.generation, partition, seq }, outcome }).into_response()
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
