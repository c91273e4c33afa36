//! Every fact that a commit can hold, under one roof.

use crate::{
    id::{CellId, ResourceId, TenantId},
    platform::PlatformEvent,
    refusal::Refusal,
    resource::ResourceEvent,
    tenant::{CellEvent, MemberEvent, TenantEvent},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fact, with the ids of what it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What became of a command that changed nothing else.
    Command(CommandEvent),
    /// On the platform's own chain.
    Platform(PlatformEvent),
    /// About a tenant as a whole.
    Tenant {
        /// Which tenant.
        tenant: TenantId,
        /// What happened.
        event: TenantEvent,
    },
    /// About a cell.
    Cell {
        /// Its tenant.
        tenant: TenantId,
        /// Which cell.
        cell: CellId,
        /// What happened.
        event: CellEvent,
    },
    /// About who may do what.
    Member {
        /// In which tenant.
        tenant: TenantId,
        /// What happened.
        event: MemberEvent,
    },
    /// About a resource.
    Resource {
        /// Its tenant.
        tenant: TenantId,
        /// Which resource.
        resource: ResourceId,
        /// What happened.
        event: ResourceEvent,
    },
}

/// What became of a command that changed nothing else. Together with the commits that changed something, each command has exactly one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum CommandEvent {
    /// It was refused; `body` is what had been asked (up to 8 KiB), so that an auditor sees what was not done.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The command's body, unless it was larger than 8 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// It had been decided before; the answer is the one at `of`.
    Repeated {
        /// The seq in this chain of the commit that decided it.
        of: u64,
    },
    /// It was found true already: nothing to change, and not a refusal.
    NothingToDo {
        /// The generation of the resource, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Nobody decided it in time; the caller was told so or is gone. Sending it again is safe.
    Expired,
    /// Deciding it failed inside Cirrus. It changed nothing. Operators find the cause in the decider's log under the request id.
    Failed {
        /// In one sentence, without data of the customer.
        problem: String,
    },
    /// The record on the commands topic is not a command.
    Unreadable {
        /// In one sentence, without quoting the record.
        problem: String,
    },
}

impl Event {
    /// The tenant that the event is about.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Event::Command(_) | Event::Platform(_) => None,
            Event::Tenant { tenant, .. } | Event::Cell { tenant, .. } | Event::Member { tenant, .. } | Event::Resource { tenant, .. } => {
                Some(*tenant)
            }
        }
    }

    /// A refusal with the body that was asked for.
    pub fn refused(refusal: Refusal, body: Option<Value>) -> Self {
        Event::Command(CommandEvent::Refused { refusal, body })
    }
}

/// An event met a state in which it cannot happen. A decider records the command as failed instead of appending; a replay stops here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` on {state}")]
pub struct Impossible {
    /// The event, by name.
    pub event: String,
    /// The state that it met, in words.
    pub state: String,
}

impl Impossible {
    /// `event` cannot happen on `state`.
    pub fn new(event: impl Into<String>, state: impl Into<String>) -> Self {
        Self { event: event.into(), state: state.into() }
    }
}

impl From<crate::quota::AmountOverflow> for Impossible {
    fn from(e: crate::quota::AmountOverflow) -> Self {
        Self::new("claim", e.to_string())
    }
}
