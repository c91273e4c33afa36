//! A commit of the journal, decoded once for all read models.

use crate::columns::text;
use domain::{
    Timestamp,
    event::Event,
    id::{CellId, ResourceId, TenantId},
    people::Actor,
};
use journal::follower::StoredReader;
use schemas::{
    event::{EventError, RawEvent},
    record::{CommandRef, Commit, Position},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A commit, ready to be applied.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Where it stands.
    pub position: Position,
    /// When it was decided.
    pub time: Timestamp,
    /// The command that it answers; none in the commit that confirms a takeover.
    pub command: Option<CommandRef>,
    /// Who asked.
    pub actor: Option<Actor>,
    /// What happened, in order.
    pub facts: Vec<Fact>,
}

/// One event of a commit.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Its type, `resource.provisioned`.
    pub name: String,
    /// The tenant that it is about.
    pub tenant: Option<TenantId>,
    /// The cell that it is about.
    pub cell: Option<CellId>,
    /// The resource that it is about.
    pub resource: Option<ResourceId>,
    /// When it happened, for events that say so themselves.
    pub at: Option<Timestamp>,
    /// As it lies on the journal.
    pub raw: Box<RawValue>,
    /// None for an event that this program does not know.
    pub event: Option<Event>,
}

impl Applied {
    /// Decodes a commit of `partition` in `generation`. What this program cannot read stays raw.
    pub fn decode(generation: u32, partition: u32, commit: Commit) -> Self {
        let position = Position { generation, partition, seq: commit.seq };
        let facts = commit.events.into_iter().map(|raw| Fact::decode(position, raw)).collect();
        let actor = commit.actor.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Self { position, time: commit.time, command: commit.command, actor, facts }
    }

    /// Its place in the chain.
    pub fn seq(&self) -> u64 {
        self.position.seq
    }

    /// The events that this program knows.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.facts.iter().filter_map(|fact| fact.event.as_ref())
    }
}

/// When an event says that it happened.
#[derive(Deserialize)]
struct Happened<'a> {
    #[serde(borrow)]
    at: Cow<'a, str>,
}

impl Fact {
    fn decode(position: Position, raw: Box<RawValue>) -> Self {
        let wire: RawEvent<'_> = match serde_json::from_str(raw.get()) {
            Ok(wire) => wire,
            Err(problem) => {
                tracing::warn!(%position, %problem, "passed over an event of unknown shape at {position}");
                return Self { name: "unknown".to_owned(), tenant: None, cell: None, resource: None, at: None, raw, event: None };
            }
        };
        let name = text(&wire.name).into_owned();
        let (tenant, cell, resource) = (wire.tenant, wire.cell, wire.resource);
        let at = serde_json::from_str(wire.data.get()).ok().and_then(|Happened { at }| at.parse().ok());
        let event = match wire.into_event() {
            Ok(event) => Some(event),
            Err(problem @ (EventError::Unknown { .. } | EventError::Shape { .. } | EventError::NotAnEvent(_))) => {
                tracing::warn!(%position, %problem, "passed over an event at {position}: {problem}");
                None
            }
        };
        Self { name, tenant, cell, resource, at, raw, event }
    }
}

/// What one partition brought: commits without a gap, and the reader behind them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The reader's seq before the first record of the batch.
    pub from: u64,
    /// The commits; takeovers between them only count in seq.
    pub commits: Vec<Applied>,
    /// To be stored with the rows.
    pub after: StoredReader,
}

impl Batch {
    /// The partition.
    pub fn partition(&self) -> u32 {
        self.after.state.partition
    }
}
