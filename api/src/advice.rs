//! `validate_only`: what would become of a command, as a decider sees it now. Advice, not a promise.

use crate::{
    answer::{Outcome, POSITION, answer, header},
    position::{Positions, Tokens},
    problem::{Problem, ProblemType},
    refusals,
    state::Api,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use domain::{event::Event, quota::Amounts, resource::ResourceEvent};
use schemas::advice::{Advice, Foreseen};
use schemas::command::CommandRecord;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use utoipa::ToSchema;

/// What would become of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdviceBody {
    /// Always true: nothing was done.
    advice: bool,
    /// The status that it would have.
    status: u16,
    /// The body that it would have.
    #[schema(value_type = Object)]
    answer: Value,
    /// The quota that it would use, a dimension: of a change, what holds until it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    claim: Option<Amounts>,
    /// Token of the position at which it was considered.
    position: String,
}

impl Api {
    /// Asks a decider and shapes its advice.
    ///
    /// # Errors
    /// The refusal that it would meet; 503 when no decider gives advice.
    pub async fn advise(&self, record: &CommandRecord) -> Result<Response, Problem> {
        let advice = self.advisers.ask(record).await.map_err(|none| {
            Problem::new(ProblemType::Overloaded).detail(refusals::sentence(&none.to_string())).retry_after(Duration::from_secs(1))
        })?;
        shape(advice, &self.tokens)
    }
}

fn shape(advice: Advice, tokens: &Tokens) -> Result<Response, Problem> {
    let position = tokens.issue(&Positions::from_iter([advice.position]));
    let marked = |problem: Problem| problem.with("advice", true).header(POSITION, header(&position));
    let events = match advice.outcome {
        Foreseen::Refusal(refusal) => return Err(marked(refusals::problem(&refusal))),
        Foreseen::Events(events) => events.into_iter().map(|wire| wire.into_event()).collect::<Result<Vec<Event>, _>>(),
    };
    let events = events.map_err(|problem| {
        tracing::error!(%problem, "advice cannot be read: {problem}");
        Problem::new(ProblemType::Internal)
    })?;
    match answer(&events) {
        Outcome::Done(done) => {
            let body = AdviceBody {
                advice: true,
                status: done.status.as_u16(),
                answer: done.body.into(),
                claim: claim(&events),
                position: position.clone(),
            };
            Ok(([(POSITION, header(&position))], Json(body)).into_response())
        }
        Outcome::Refused(problem) => Err(marked(*problem)),
        Outcome::Repeated { .. } => Err(Problem::new(ProblemType::Internal)),
    }
}

fn claim(events: &[Event]) -> Option<Amounts> {
    events.iter().find_map(|event| match event {
        Event::Resource { event: ResourceEvent::Requested(requested), .. } => Some(requested.terms.claim.clone()),
        Event::Resource { event: ResourceEvent::ChangeRequested { terms, .. }, .. } => Some(terms.claim.clone()),
        _ => None,
    })
}
