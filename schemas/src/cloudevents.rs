//! Events for other systems, as CloudEvents 1.0 (JSON attributes, with the Distributed Tracing extension).
//!
//! `source` and `id` together are unique for ever, in every region and in every copy of the journal, so a consumer that sees an event twice
//! can tell.

use crate::{
    event::WireEvent,
    record::{Commit, Position},
    schema,
};
use chrono::SecondsFormat;
use serde::Serialize;
use uuid::Uuid;

/// The attributes of one event; `data` of the CloudEvent is [`WireEvent::data`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attributes {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// Position of the commit and index of the event in it: `g1.p3.48113.0`.
    pub id: String,
    /// The journal: `urn:uuid:..`.
    pub source: String,
    /// `cirrus.resource.provisioned.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about, as a path: `tenants/../resources/..`; none for the platform and for what became of a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it was recorded, RFC 3339 with microseconds. When it happened is `at` in the data.
    pub time: String,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Id of the JSON Schema of the whole wire event.
    pub dataschema: String,
    /// W3C trace context of the request that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// The attributes of the event at `index` (from 0) of the commit at `position`.
pub fn attributes<J>(journal: Uuid, position: Position, commit: &Commit<J>, index: usize, event: &WireEvent) -> Attributes {
    let WireEvent { name, version, tenant, cell, resource, .. } = event;
    let subject = tenant.map(|tenant| match (cell, resource) {
        (_, Some(resource)) => format!("tenants/{tenant}/resources/{resource}"),
        (Some(cell), None) => format!("tenants/{tenant}/cells/{cell}"),
        (None, None) => format!("tenants/{tenant}"),
    });
    Attributes {
        specversion: "1.0",
        id: format!("{position}.{index}"),
        source: format!("urn:uuid:{journal}"),
        kind: format!("cirrus.{name}.v{version}"),
        subject,
        time: commit.time.to_rfc3339_opts(SecondsFormat::Micros, true),
        datacontenttype: "application/json",
        dataschema: schema::event_id(name, *version),
        traceparent: commit.command.as_ref().and_then(|c| c.traceparent.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event, record::Record};
    use serde_json::{Value, json};

    const JOURNAL: &str = "0b0e7f5e-3c1c-4b44-8c8f-1d2f3a4b5c6d";

    fn of(commit: &Value, index: usize) -> Value {
        let bytes = serde_json::to_vec(commit).unwrap();
        let Record::Commit(commit) = Record::decode(&bytes).unwrap() else { panic!("a commit") };
        let commit: Commit = commit;
        let position = Position { generation: 1, partition: 3, seq: commit.seq };
        let event: WireEvent = serde_json::from_str(commit.events[index].get()).unwrap();
        event::decode(&commit.events[index]).unwrap();
        serde_json::to_value(attributes(JOURNAL.parse().unwrap(), position, &commit, index, &event)).unwrap()
    }

    fn commit() -> Value {
        let tenant = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
        let id = "6f1f9c0e-58f7-4d0e-9d0c-0d7d0c9b4a11";
        json!({"commit": {
            "epoch": 4, "writer": "0".repeat(32), "seq": 48113, "prev": "0".repeat(64), "platform": {"generation": 1, "seq": 7},
            "command": {
                "id": id, "kind": "close_cell", "origin": "commands", "generation": 1, "offset": 9, "request": "req-1", "digest": "0".repeat(64),
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            },
            "time": "2026-11-21T10:00:00.25Z",
            "events": [
                {"type": "cell.closed", "version": 1, "tenant": tenant, "cell": id, "data": {}},
                {"type": "resource.vanished", "version": 1, "tenant": tenant, "resource": id, "data": {"at": "2026-11-21T09:00:00Z"}},
                {"type": "tenant.resumed", "version": 1, "tenant": tenant, "data": {}},
                {"type": "platform.format_raised", "version": 1, "data": {"format": 1}},
            ],
        }})
    }

    #[test]
    fn an_event_of_a_commit_has_the_attributes_that_cloudevents_asks_for() {
        assert_eq!(
            of(&commit(), 0),
            json!({
                "specversion": "1.0",
                "id": "g1.p3.48113.0",
                "source": "urn:uuid:0b0e7f5e-3c1c-4b44-8c8f-1d2f3a4b5c6d",
                "type": "cirrus.cell.closed.v1",
                "subject": "tenants/7d444840-9dc0-11d1-b245-5ffdce74fad2/cells/6f1f9c0e-58f7-4d0e-9d0c-0d7d0c9b4a11",
                "time": "2026-11-21T10:00:00.250000Z",
                "datacontenttype": "application/json",
                "dataschema": "urn:cirrus:event:cell.closed:v1",
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            })
        );
    }

    #[test]
    fn the_subject_is_what_the_event_is_about() {
        let subjects: Vec<Value> = (1..4).map(|i| of(&commit(), i)["subject"].clone()).collect();
        let tenant = "tenants/7d444840-9dc0-11d1-b245-5ffdce74fad2";
        assert_eq!(subjects, [json!(format!("{tenant}/resources/6f1f9c0e-58f7-4d0e-9d0c-0d7d0c9b4a11")), json!(tenant), Value::Null]);
    }

    #[test]
    fn the_events_of_one_commit_have_ids_of_their_own() {
        let ids: std::collections::BTreeSet<String> = (0..4).map(|i| of(&commit(), i)["id"].to_string()).collect();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn attribute_names_are_those_that_every_transport_can_carry() {
        let attributes = of(&commit(), 0);
        for (name, value) in attributes.as_object().unwrap() {
            assert!(name.len() <= 20 && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
            assert!(value.as_str().is_some_and(|v| !v.is_empty()), "{name}");
        }
    }

    #[test]
    fn a_commit_without_a_trace_has_no_traceparent() {
        let mut commit = commit();
        commit["commit"]["command"].as_object_mut().unwrap().remove("traceparent");
        assert_eq!(of(&commit, 0).get("traceparent"), None);
    }
}
