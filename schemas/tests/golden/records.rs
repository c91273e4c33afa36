//! Samples of the journal's records, and of what is none.

use crate::events::{self, CELL, TENANT, id, principal};
use domain::{event::Event, people::Actor, platform::FORMAT};
use schemas::{event, record::*};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn head(n: u8) -> Digest {
    Digest([n; 32])
}

fn genesis(base: Option<Base>) -> Genesis {
    Genesis { base, generation: if base.is_some() { 2 } else { 1 }, journal: id(0x10), partition: 3, partitions: 64 }
}

fn takeover(epoch: u64, genesis: Option<Genesis>) -> Record {
    Record::Takeover(Takeover { epoch, writer: WriterId([0xab; 16]), seen: Seen { seq: epoch - 1, head: head(1) }, genesis })
}

fn commit(origin: Option<Origin>, actor: Option<Actor>) -> Record {
    let events = events::samples();
    let closed = events.iter().find(|e| matches!(e, Event::Cell { cell: CELL, event: domain::tenant::CellEvent::Closed {}, .. }));
    let began =
        events.iter().find(|e| matches!(e, Event::Tenant { tenant: TENANT, event: domain::tenant::TenantEvent::ClosingBegan { .. } }));
    Record::Commit(Commit {
        epoch: 4,
        writer: WriterId([0xab; 16]),
        seq: 48_113,
        prev: head(2),
        platform: PlatformPosition { generation: 1, seq: 7 },
        command: origin.map(|origin| CommandRef {
            id: id(0xc0),
            kind: "close_tenant".to_owned(),
            origin,
            generation: 1,
            offset: 9_000,
            request: "req-1".to_owned(),
            digest: head(3),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        }),
        actor: actor.map(|actor| serde_json::value::to_raw_value(&actor).unwrap()),
        time: events::at("10:00:00.25"),
        events: if origin.is_some() {
            [closed, began].into_iter().flatten().map(|e| event::encode(e, FORMAT).unwrap()).collect()
        } else {
            vec![]
        },
    })
}

/// Every form of every record, by name.
pub fn samples() -> BTreeMap<String, Value> {
    let base = Base { generation: 1, head: head(4), seq: 70_000 };
    [
        ("takeover", takeover(5, None)),
        ("takeover_of_a_new_journal", takeover(1, Some(genesis(None)))),
        ("takeover_of_a_new_generation", takeover(1, Some(genesis(Some(base))))),
        ("commit", commit(Some(Origin::Commands), Some(Actor::Principal(principal("ada"))))),
        ("commit_of_a_report", commit(Some(Origin::Reports), Some(Actor::Service("eu-1a/worker-1".to_owned())))),
        ("commit_after_a_takeover", commit(None, None)),
    ]
    .into_iter()
    .map(|(name, record)| (name.to_owned(), serde_json::from_slice(&record.encode().unwrap()).unwrap()))
    .collect()
}

/// Records that must be refused.
pub fn wrong() -> BTreeMap<&'static str, Value> {
    let samples = samples();
    let altered = |name: &str, pointer: &str, value: Value| {
        let mut sample = samples[name].clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        sample.pointer_mut(parent).unwrap()[field] = value;
        sample
    };
    let genesis = samples["takeover_of_a_new_journal"]["takeover"]["genesis"].clone();
    BTreeMap::from([
        ("an answer without events", altered("commit", "/commit/events", json!([]))),
        ("an unknown field", altered("commit", "/commit/colour", json!("red"))),
        ("a negative seq", altered("commit", "/commit/seq", json!(-1))),
        ("a short digest", altered("commit", "/commit/prev", json!("00"))),
        ("another origin", altered("commit", "/commit/command/origin", json!("rumours"))),
        ("no time", altered("commit", "/commit/time", json!("yesterday"))),
        ("a genesis in epoch 5", altered("takeover", "/takeover/genesis", genesis)),
        ("no genesis in epoch 1", altered("takeover", "/takeover/epoch", json!(1))),
        ("another kind", altered("takeover", "/commit", samples["commit"]["commit"].clone())),
    ])
}
