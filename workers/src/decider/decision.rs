//! One record of a commands topic against one state: the events of its commit.
//!
//! Whatever the record holds, exactly one commit comes of it. What cannot be read becomes `Unreadable`; a decision that panics, contradicts
//! the fold or grows too large becomes `Failed`. All of that is decided before anything is appended, so poison never reaches the log.

use chrono::{DateTime, Utc};
use domain::{
    command::{Origin, Request},
    event::{CommandEvent, Event},
    id::CommandId,
    partition::{Committed, Partition},
    people::Actor,
    refusal::Refusal,
    tenant::Facts,
};
use schemas::{
    command::{CommandRecord, fingerprint},
    event::{NotYet, encode},
    record::{CommandRef, Digest, Origin as Topic},
};
use serde_json::value::RawValue;
use std::panic::{AssertUnwindSafe, catch_unwind};
use uuid::Uuid;

/// A command record that waits for its commit.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its offset on its topic.
    pub offset: i64,
    /// When it was written, by its sender's clock.
    pub written: DateTime<Utc>,
    /// What it holds; what cannot be read keeps its digest and the problem.
    pub content: Result<Box<CommandRecord>, (Digest, String)>,
}

impl Waiting {
    /// Reads a record.
    pub fn new(offset: i64, timestamp_ms: i64, value: &[u8]) -> Self {
        let content = CommandRecord::decode(value).map(Box::new).map_err(|e| (Digest::of(value), e.to_string()));
        Self { offset, written: DateTime::from_timestamp_millis(timestamp_ms).unwrap_or_default(), content }
    }

    /// The platform seq that has to be folded first.
    pub fn after_platform(&self) -> u64 {
        self.content.as_ref().map_or(0, |c| c.after_platform)
    }
}

/// What one record comes to.
#[derive(Debug)]
pub struct Decision {
    /// The command that the commit answers.
    pub command: CommandRef,
    /// Who asked.
    pub actor: Option<Box<RawValue>>,
    /// What happened, as it goes into the commit.
    pub events: Vec<Box<RawValue>>,
    /// The state with it.
    pub after: Partition,
}

/// Where and when something is decided.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Whether the record may concern this chain: false when its tenant belongs to another partition.
    pub is_home: bool,
    /// Which topic the record lies on.
    pub topic: Topic,
    /// The generation of that topic.
    pub generation: u32,
    /// The seq that the commit will have.
    pub seq: u64,
    /// What a decision may know.
    pub facts: Facts<'a>,
}

/// Decides one record. `state` is unchanged; the state with the commit comes with the decision.
pub fn decide(state: &Partition, waiting: &Waiting, place: Place<'_>) -> Decision {
    let events = match &waiting.content {
        Err((_, problem)) => vec![Event::Command(CommandEvent::Unreadable { problem: problem.clone() })],
        Ok(record) => {
            let request = record.to_request();
            if place.is_home { handle(state, &request, place) } else { vec![Event::refused(Refusal::WrongChain, None)] }
        }
    };
    settle(state, waiting, place, events)
}

/// The decision that this record fails without being looked at, for a record that has brought down its deciders.
pub fn fail(state: &Partition, waiting: &Waiting, place: Place<'_>, problem: &str) -> Decision {
    settle(state, waiting, place, vec![failed(problem)])
}

fn failed(problem: impl Into<String>) -> Event {
    Event::Command(CommandEvent::Failed { problem: problem.into() })
}

fn handle(state: &Partition, request: &Request, place: Place<'_>) -> Vec<Event> {
    let origin = match place.topic {
        Topic::Commands => Origin::Commands,
        Topic::Reports => Origin::Reports,
    };
    // The state is only read here, so a panic leaves nothing half done.
    catch_unwind(AssertUnwindSafe(|| state.handle(request, origin, place.facts))).unwrap_or_else(|_| vec![failed("deciding it panicked")])
}

/// Evolves and writes before anything is appended: what does not evolve, or cannot be written in the format of the platform, fails instead.
fn settle(state: &Partition, waiting: &Waiting, place: Place<'_>, events: Vec<Event>) -> Decision {
    let (command, actor) = reference(waiting, place);
    let apply = |events: &[Event]| {
        let mut after = state.clone();
        let commit = Committed {
            seq: place.seq,
            time: place.facts.now,
            command: Some((CommandId(command.id), fingerprint(&command.digest))),
            events,
        };
        catch_unwind(AssertUnwindSafe(move || after.apply(commit).map(|()| after).map_err(|e| e.to_string())))
            .unwrap_or_else(|_| Err("folding it panicked".to_owned()))
    };
    let write =
        |events: &[Event]| -> Result<Vec<_>, NotYet> { events.iter().map(|event| encode(event, place.facts.platform.format)).collect() };
    let settled = apply(&events).and_then(|after| Ok((after, write(&events).map_err(|e| e.to_string())?)));
    let (after, events) = settled.unwrap_or_else(|problem| {
        tracing::error!(request = command.request, command = %command.id, problem, "a decision cannot stand; recorded as failed");
        let events = [failed("its outcome cannot stand; operators find the cause in the decider's log")];
        let after = apply(&events).expect("an outcome that changes nothing can always be folded");
        (after, write(&events).expect("every format has it"))
    });
    Decision { command, actor, events, after }
}

fn reference(waiting: &Waiting, place: Place<'_>) -> (CommandRef, Option<Box<RawValue>>) {
    let common = |id, kind: &str, request: &str, digest, traceparent| CommandRef {
        id,
        kind: kind.to_owned(),
        origin: place.topic,
        generation: place.generation,
        offset: waiting.offset,
        request: request.to_owned(),
        digest,
        traceparent,
    };
    match &waiting.content {
        Ok(r) => {
            let command = common(r.id.0, r.command.kind(), &r.request, r.digest, r.traceparent.clone());
            (command, Some(raw_actor(&r.actor)))
        }
        Err((digest, _)) => (common(Uuid::nil(), "unreadable", "", *digest, None), None),
    }
}

fn raw_actor(actor: &Actor) -> Box<RawValue> {
    serde_json::value::to_raw_value(actor).expect("texts are always JSON")
}
