//! The answers of the simulated cloud, worded as OpenStack's services word theirs.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    fault::Instead,
    object::{Object, Status},
};

/// What the caller gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// An answer, so much later.
    Reply(Reply, Duration),
    /// Nothing, on a connection that stays open.
    Silence,
    /// Nothing, on a connection that is closed.
    Cut,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// What `Retry-After` says, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// As the journal of calls notes it.
    pub(super) fn as_note(&self) -> String {
        match self {
            Self::Reply(reply, _) => reply.status.to_string(),
            Self::Silence => "silence".to_owned(),
            Self::Cut => "cut".to_owned(),
        }
    }

    pub(super) fn instead(instead: Instead, late: Duration) -> Self {
        match instead {
            Instead::Silence => Self::Silence,
            Instead::Cut => Self::Cut,
            Instead::Error => Self::Reply(Reply::error(500, "Unexpected API Error. Please report this."), late),
            Instead::Refusal { status, text } => Self::Reply(Reply::error(status, &text), late),
            Instead::TooFast { retry_after } => {
                Self::Reply(Reply { retry_after: Some(retry_after), ..Reply::error(429, "This request was rate-limited.") }, late)
            }
            Instead::Unavailable { retry_after } => {
                let reply = Reply::error(503, "The server is currently unavailable. Please try again at a later time.");
                Self::Reply(Reply { retry_after: Some(retry_after), ..reply }, late)
            }
        }
    }
}

impl Reply {
    pub(super) fn ok(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("objects and pages have string keys and no failing serialiser");
        Self { status, retry_after: None, body }
    }

    /// `{"conflictingRequest": {"code": 409, "message": "..."}}`: the outer name goes with the status.
    pub(super) fn error(status: u16, message: &str) -> Self {
        let name = match status {
            400 => "badRequest",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "itemNotFound",
            409 => "conflictingRequest",
            413 | 429 => "overLimit",
            503 => "serviceUnavailable",
            _ => "computeFault",
        };
        Self { status, retry_after: None, body: json!({ name: { "code": status, "message": message } }) }
    }

    pub(super) fn absent(kind: &str, id: &str) -> Self {
        let kind = if kind == "server" { "Instance" } else { kind };
        Self::error(404, &format!("{kind} {id} could not be found."))
    }

    pub(super) fn busy(verb: &str, object: &Object) -> Self {
        let task = object.task.map_or("none", |task| task.as_str());
        Self::error(409, &format!("Cannot '{verb}' {} {} while it is in task_state {task}", object.kind, object.id))
    }

    pub(super) fn wrong_state(verb: &str, object: &Object) -> Self {
        let state = match object.status {
            Status::Build => "building",
            Status::Active => "active",
            Status::Shutoff => "stopped",
            Status::Error => "error",
            Status::Deleting => "deleted",
        };
        Self::error(409, &format!("Cannot '{verb}' {} {} while it is in vm_state {state}", object.kind, object.id))
    }

    /// Nova answers 403, Cinder 413 with `Retry-After: 0`, Neutron 409, each with a sentence of its own.
    pub(super) fn over_quota(kind: &str, dimension: &str, asked: u64, used: u64, limit: u64) -> Self {
        match kind {
            "server" => Self::error(
                403,
                &format!("Quota exceeded for {dimension}: Requested {asked}, but already used {used} of {limit} {dimension}"),
            ),
            "volume" | "snapshot" => {
                let text = format!(
                    "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed {dimension} quota. \
                     Requested {asked}, quota is {limit} and {used} has been consumed."
                );
                Self { retry_after: Some(0), ..Self::error(413, &text) }
            }
            _ => Self::error(409, &format!("Quota exceeded for resources: ['{dimension}'].")),
        }
    }
}
