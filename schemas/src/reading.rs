//! Readings on the wire: CloudEvents 1.0 in JSON, one or a batch of them, as OpenMeter's clients send them.
//!
//! A batch is read as far as it can be: an item that is no event, or has an attribute of another JSON type, is a flaw of that item alone, so that
//! one answer can say everything that is wrong with a batch.

use chrono::SecondsFormat;
use domain::metering::{Flaw, Key, Offered, Problem, Reading};
use serde_json::{Map, Value, json};

/// What can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/cloudevents+json`: one event.
    Event,
    /// `application/cloudevents-batch+json`: a list of events.
    Batch,
    /// `application/json`: either.
    Either,
}

/// Why a body holds no events at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReadings {
    /// Another content type.
    #[error("must be application/cloudevents+json, application/cloudevents-batch+json or application/json")]
    ContentType,
    /// No JSON.
    #[error("no JSON: at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An event where a batch was announced, or a batch where an event was.
    #[error("must be {0}")]
    Shape(&'static str),
}

impl Form {
    /// The form that a content type announces.
    ///
    /// # Errors
    ///
    /// It is none of the three.
    pub fn of(content_type: &str) -> Result<Self, NotReadings> {
        match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Ok(Form::Event),
            "application/cloudevents-batch+json" => Ok(Form::Batch),
            "application/json" => Ok(Form::Either),
            _ => Err(NotReadings::ContentType),
        }
    }

    /// The events of a body, each as far as it could be read.
    ///
    /// # Errors
    ///
    /// The body is no JSON, or of the other shape.
    pub fn decode(self, body: &[u8]) -> Result<Vec<Result<Offered, Vec<Flaw>>>, NotReadings> {
        let body: Value = serde_json::from_slice(body).map_err(|e| NotReadings::Syntax { line: e.line(), column: e.column() })?;
        match (self, body) {
            (Form::Event | Form::Either, Value::Object(event)) => Ok(vec![offered(event)]),
            (Form::Batch | Form::Either, Value::Array(events)) => Ok(events.into_iter().map(item).collect()),
            (Form::Event, _) => Err(NotReadings::Shape("one event")),
            (Form::Batch, _) => Err(NotReadings::Shape("a list of events")),
            (Form::Either, _) => Err(NotReadings::Shape("an event or a list of events")),
        }
    }
}

fn item(item: Value) -> Result<Offered, Vec<Flaw>> {
    match item {
        Value::Object(event) => offered(event),
        _ => Err(vec![Flaw::new("", Problem::NotAnObject)]),
    }
}

fn offered(mut event: Map<String, Value>) -> Result<Offered, Vec<Flaw>> {
    let mut flaws = Vec::new();
    let mut text = |name: &str| match event.remove(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        // The sequence extension is a text; some send the number.
        Some(Value::Number(number)) if name == "sequence" => Some(number.to_string()),
        Some(_) => {
            flaws.push(Flaw::new(name, Problem::NotText));
            None
        }
    };
    let mut offered = Offered {
        specversion: text("specversion"),
        id: text("id"),
        source: text("source"),
        event_type: text("type"),
        subject: text("subject"),
        time: text("time"),
        datacontenttype: text("datacontenttype"),
        sequence: text("sequence"),
        tenant: text("tenant"),
        data: None,
    };
    if event.contains_key("data_base64") {
        flaws.push(Flaw::new("data_base64", Problem::NotJson));
    }
    offered.data = event.remove("data");
    if flaws.is_empty() { Ok(offered) } else { Err(flaws) }
}

/// The record of a reading on the readings topic: its event with what was found out when it came in (the tenant, the resource, the time), so that
/// whoever reads it again by [`Form::Event`] and [`domain::metering::Sender::Collector`] finds the same.
pub fn record(offered: &Offered, reading: &Reading) -> Vec<u8> {
    let mut event = json!({
        "specversion": "1.0",
        "source": &*reading.source,
        "type": offered.event_type,
        "subject": reading.resource,
        "time": reading.time.to_rfc3339_opts(SecondsFormat::Micros, true),
        "datacontenttype": "application/json",
        "tenant": reading.tenant,
        "data": offered.data,
    });
    match &reading.key {
        Key::Number(number) => {
            event["id"] = number.to_string().into();
            event["sequence"] = number.to_string().into();
        }
        Key::Id(id) => event["id"] = Value::from(&**id),
    }
    serde_json::to_vec(&event).expect("a JSON value can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(body: Value) -> Vec<String> {
        let items = Form::Either.decode(body.to_string().as_bytes()).unwrap();
        items.into_iter().flat_map(|item| item.err().unwrap_or_default()).map(|f| format!("{}: {}", f.field, f.problem)).collect()
    }

    #[test]
    fn a_content_type_announces_one_event_or_a_list() {
        let one = json!({"id": "a"});
        let decode = |content_type: &str, body: &Value| Form::of(content_type).and_then(|form| form.decode(body.to_string().as_bytes()));
        for (content_type, body, events) in [
            ("application/cloudevents+json; charset=utf-8", one.clone(), 1),
            ("application/cloudevents-batch+json", json!([one, one]), 2),
            ("Application/JSON", one.clone(), 1),
            ("application/json", json!([]), 0),
        ] {
            assert_eq!(decode(content_type, &body).unwrap().len(), events, "{content_type}");
        }
        assert_eq!(decode("application/xml", &one), Err(NotReadings::ContentType));
        assert_eq!(decode("application/cloudevents+json", &json!([one])), Err(NotReadings::Shape("one event")));
        assert_eq!(decode("application/cloudevents-batch+json", &one), Err(NotReadings::Shape("a list of events")));
        assert_eq!(Form::Either.decode(b"{\"id\":\n}"), Err(NotReadings::Syntax { line: 2, column: 1 }));
    }

    #[test]
    fn an_item_that_is_no_event_is_a_flaw_of_that_item_alone() {
        let found = flaws(json!([{"id": "a"}, 5, {"id": 5, "time": {}}, {"data_base64": "AA=="}]));
        assert_eq!(found, [": must be an object", "id: must be a text", "time: must be a text", "data_base64: must be application/json"]);
    }

    #[test]
    fn what_is_null_is_absent_and_a_sequence_may_be_a_number() {
        let items = Form::Either.decode(br#"{"id": "7", "sequence": 7, "subject": null}"#).unwrap();
        let expected = Offered { id: Some("7".to_owned()), sequence: Some("7".to_owned()), ..Offered::default() };
        assert_eq!(items, [Ok(expected)]);
    }
}
