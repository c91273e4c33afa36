//! What a commit says to whoever asked for it: a pure function of the commit alone.
//!
//! The same function answers the request that waits for the commit, the same request sent again a week later, and the question what became
//! of an operation. So it knows nothing but the commit: an answer to a change of spec has no name in it, because the change has not.

mod platform;
mod resource;
mod tenant;

pub use platform::PlatformAnswer;
pub use resource::{ResourceAnswer, StepAnswer};
pub use tenant::{CellAnswer, MemberAnswer, TenantAnswer};

use crate::{
    position::{Positions, Tokens},
    problem::{Problem, ProblemType},
    refusals,
};
use axum::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ETAG, LOCATION},
    },
    response::{IntoResponse, Response},
};
use domain::{
    event::{CommandEvent, Event},
    id::{CellId, ResourceId, TenantId},
    tenant::Clock,
};
use schemas::record::Position;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::ToSchema;

/// The response header with the token of the position that an answer shows.
pub const POSITION: HeaderName = HeaderName::from_static("cirrus-position");

/// The response header of every answer about a tenant whose events do not happen by the journal's clock.
pub const CLOCK: HeaderName = HeaderName::from_static("cirrus-clock");

/// Marks an answer about a tenant with the effective clock.
pub fn by_clock(clock: Clock, mut response: Response) -> Response {
    if clock == Clock::Effective {
        response.headers_mut().insert(CLOCK, HeaderValue::from_static("effective"));
    }
    response
}

/// The response header of an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What became of a command, as far as its commit says it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It happened, or was so already.
    Done(Box<Done>),
    /// It did not happen.
    Refused(Box<Problem>),
    /// It had been decided before, by the commit with this seq of the same chain.
    Repeated {
        /// The seq.
        of: u64,
    },
}

/// A success.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// 201 when something came to be, otherwise 200.
    pub status: StatusCode,
    /// Where what came to be can be read.
    pub location: Option<String>,
    /// The resource's generation, which is its entity tag.
    pub generation: Option<u64>,
    /// The body, but for the position.
    pub body: Map<String, Value>,
}

/// The answer to a command that found everything as it asked for.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Unchanged {
    /// Always false: nothing had to be changed.
    pub changed: bool,
    /// The resource's generation, where there is a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// What a commit with these events says to whoever sent its command.
pub fn answer(events: &[Event]) -> Outcome {
    let Some(first) = events.first() else {
        return Outcome::Refused(Box::new(Problem::new(ProblemType::Internal)));
    };
    match first {
        Event::Command(event) => of_command(event),
        Event::Platform(event) => platform::done(event).into(),
        // A close also closes the cells; the answer is about the tenant.
        _ if events.iter().any(|e| matches!(e, Event::Tenant { .. })) => tenant::done(events).into(),
        Event::Tenant { .. } => tenant::done(events).into(),
        Event::Cell { tenant, cell, .. } => tenant::cell_done(*tenant, *cell, events).into(),
        Event::Member { tenant, event } => tenant::member_done(*tenant, event).into(),
        Event::Resource { tenant, resource, .. } => resource::done(*tenant, *resource, events).into(),
    }
}

fn of_command(event: &CommandEvent) -> Outcome {
    let again = "It changed nothing; send it again with the same key.";
    let problem = match event {
        CommandEvent::Refused { refusal, .. } => refusals::problem(refusal),
        CommandEvent::Repeated { of } => return Outcome::Repeated { of: *of },
        CommandEvent::NothingToDo { generation } => {
            return Done::new(StatusCode::OK, &Unchanged { changed: false, generation: *generation }).tagged(*generation).into();
        }
        CommandEvent::Expired => Problem::new(ProblemType::Overloaded)
            .detail(format!("Nobody decided it in time. {again}"))
            .with("reason", "expired")
            .with("retryable", true)
            .retry_after(Duration::from_secs(1)),
        CommandEvent::Failed { problem } => Problem::new(ProblemType::Internal)
            .detail(format!("Deciding it failed: {problem}. {again}"))
            .with("reason", "failed")
            .with("retryable", true),
        CommandEvent::Unreadable { .. } => Problem::new(ProblemType::Internal).with("reason", "unreadable"),
    };
    Outcome::Refused(Box::new(problem))
}

impl From<Done> for Outcome {
    fn from(done: Done) -> Self {
        Outcome::Done(Box::new(done))
    }
}

impl Done {
    fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = match serde_json::to_value(body).expect("ids, texts and numbers are always JSON") {
            Value::Object(body) => body,
            _ => unreachable!("every body is a struct"),
        };
        Self { status, location: None, generation: None, body }
    }

    fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    fn tagged(mut self, generation: Option<u64>) -> Self {
        self.generation = generation;
        self
    }

    /// The response, with the token of the commit's position in the header and in the body.
    pub fn respond(self, position: Position, tokens: &Tokens) -> Response {
        let token = tokens.issue(&Positions::from_iter([position]));
        let mut body = self.body;
        body.insert("position".to_owned(), token.clone().into());
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(POSITION, header(&token));
        if let Some(generation) = self.generation {
            headers.insert(ETAG, entity_tag(generation));
        }
        if let Some(location) = &self.location {
            headers.insert(LOCATION, header(location));
        }
        response
    }
}

/// A generation as an entity tag.
pub fn entity_tag(generation: u64) -> HeaderValue {
    header(&format!("\"{generation}\""))
}

/// A text of visible ASCII as a header's value.
pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("paths, tokens and numbers are visible ASCII")
}

/// Where a tenant can be read.
pub fn tenant_path(tenant: TenantId) -> String {
    format!("/v1/tenants/{tenant}")
}

/// Where a cell can be read.
pub fn cell_path(tenant: TenantId, cell: CellId) -> String {
    format!("/v1/tenants/{tenant}/cells/{cell}")
}

/// Where a resource can be read.
pub fn resource_path(tenant: TenantId, resource: ResourceId) -> String {
    format!("/v1/tenants/{tenant}/resources/{resource}")
}

#[cfg(test)]
mod tests;
