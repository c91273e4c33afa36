//! The cases of OpenMeter's end-to-end tests: events in, values of meters out.

use crate::data;
use chrono::{DurationRound, TimeDelta};
use domain::{
    Timestamp,
    id::{ResourceId, TenantId},
    metering::*,
};
use schemas::reading::{Form, NotReadings, record};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

const TENANT: TenantId = TenantId(Uuid::from_u128(1));

/// OpenMeter measures customers; each stands for a resource of its name.
struct Customers;

impl Subjects for Customers {
    fn resolve(&self, subject: &str) -> Option<(ResourceId, Option<TenantId>)> {
        let known = subject.parse::<ResourceId>().ok();
        Some((known.unwrap_or(ResourceId(Uuid::new_v5(&Uuid::nil(), subject.as_bytes()))), Some(TENANT)))
    }
}

/// A meter of a case, declared as the catalogue declares it.
fn meter(case: &Value) -> Meter {
    let theirs = &case["meter"];
    let mut readings = json!({
        "type": theirs["eventType"],
        "aggregation": theirs["aggregation"].as_str().unwrap().to_lowercase(),
        "group_by": theirs.get("groupBy").cloned().unwrap_or(json!({})),
    });
    if let Some(path) = theirs.get("valueProperty") {
        readings["value"] = path.clone();
    }
    let name = &theirs["slug"];
    serde_json::from_value(json!({"name": name, "unit": "counts", "meaning": name, "from": {"readings": readings}})).unwrap()
}

struct Case {
    meter: Meter,
    now: Timestamp,
    gathering: Gathering,
    readings: Vec<Reading>,
}

impl Case {
    fn new(case: &Value, now: &str) -> Self {
        Self { meter: meter(case), now: now.parse().unwrap(), gathering: Gathering::new(Calendar::UTC), readings: Vec::new() }
    }

    /// Sends a body as OpenMeter's clients do; what is taken goes over the topic and is counted there.
    fn send(&mut self, content_type: &str, body: &[u8]) -> Result<(), String> {
        let items = Form::of(content_type).and_then(|form| form.decode(body)).map_err(|e| e.to_string())?;
        let meters = Meters::new([&self.meter]).unwrap();
        let door = |sender| Door { meters: &meters, subjects: &Customers, sender, now: self.now };
        let taken = door(Sender::Tenant(TENANT)).check(&items).map_err(|bad| match bad {
            BadBatch::Faults(faults) => faults.iter().map(|f| f.flaw.problem.to_string()).collect::<Vec<_>>().join("; "),
            other => other.to_string(),
        })?;
        for (item, reading) in items.iter().zip(taken) {
            let record = record(item.as_ref().unwrap(), &reading);
            let read = Form::Event.decode(&record).unwrap().remove(0).unwrap();
            assert_eq!(door(Sender::Collector).read(&read), Ok(reading.clone()), "the topic says what came in");
            if self.gathering.take(&reading, self.now, true) == Verdict::Counted {
                self.readings.push(reading);
            }
        }
        Ok(())
    }

    fn send_json(&mut self, body: &Value) -> Result<(), String> {
        self.send("application/json", body.to_string().as_bytes())
    }

    fn value(&self) -> i128 {
        let Evidence::Readings(rule) = &self.meter.from else { unreachable!() };
        self.gathering.tallies().values().map(|tally| tally.value(rule.aggregation).unwrap().0).sum()
    }
}

fn cases() -> BTreeMap<String, Value> {
    let cases = data("openmeter_meter_cases.jsonl");
    let cases = cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cases.map(|case| (case["id"].as_str().unwrap().to_owned(), case)).collect()
}

const NOW: &str = "2026-01-01T00:00:00Z";

#[test]
fn every_case_is_one_that_is_compared() {
    assert_eq!(cases().into_keys().collect::<Vec<_>>(), ["dedupe-1000", "invalid", "query-windows", "sum-3"]);
}

#[test]
fn three_events_of_100_sent_alone_and_as_a_list_are_300() {
    let case = &cases()["sum-3"];
    let mut sum = Case::new(case, NOW);
    for request in case["requests"].as_array().unwrap() {
        sum.send_json(request).unwrap();
    }
    assert_eq!(sum.value(), i128::from(case["expect"]["value"].as_i64().unwrap()));
}

#[test]
fn a_thousand_events_with_one_id_are_one_whatever_their_times() {
    let case = &cases()["dedupe-1000"];
    let repeat = &case["repeat"];
    // The times go thirty days ahead, which a clock of a month later takes.
    let mut count = Case::new(case, "2026-02-01T00:00:00Z");
    for n in 0..repeat["count"].as_i64().unwrap() {
        let time = NOW.parse::<Timestamp>().unwrap() + TimeDelta::days(n % 61 - 30) + TimeDelta::seconds(n);
        let mut event = json!({"specversion": "1.0", "type": "dedupe", "subject": "customer-1", "time": time});
        event["id"] = repeat["same_id"].clone();
        event["source"] = repeat["same_source"].clone();
        count.send_json(&event).unwrap();
    }
    assert_eq!(count.value(), i128::from(case["expect"]["value"].as_i64().unwrap()));
}

#[test]
fn what_openmeter_takes_and_marks_as_invalid_is_refused_with_its_reason() {
    let case = &cases()["invalid"];
    let mut invalid = Case::new(case, NOW);
    let expected = case["expect"]["validation_errors"].as_array().unwrap();
    let requests = case["requests"].as_array().unwrap();
    assert_eq!(requests.len(), expected.len());
    for (request, expected) in requests.iter().zip(expected) {
        assert_eq!(invalid.send_json(request).err().as_deref(), expected.as_str());
    }
    assert_eq!(invalid.value(), i128::from(case["expect"]["value"].as_i64().unwrap()));
    let together = invalid.send_json(&Value::from(requests.clone())).unwrap_err();
    let all: Vec<&str> = expected.iter().filter_map(Value::as_str).collect();
    assert_eq!(together, all.join("; "), "and in one batch all at once, of which nothing is taken");
    assert_eq!(invalid.value(), 100);
    let mut xml = requests[4].clone();
    xml["id"] = "f".into();
    xml["datacontenttype"] = "application/xml".into();
    assert_eq!(invalid.send_json(&xml).unwrap_err(), "must be application/json");
    assert_eq!(invalid.send("application/xml", b"<event/>").unwrap_err(), NotReadings::ContentType.to_string());
    assert!(invalid.send("application/json", br#"{"data": {"duration_ms": }}"#).is_err());
}

#[test]
fn five_customers_at_four_times_fill_four_windows() {
    let case = &cases()["query-windows"];
    let begin: Timestamp = "2026-01-01T10:00:23.5Z".parse().unwrap();
    let times = [TimeDelta::zero(), TimeDelta::minutes(1), TimeDelta::hours(1), TimeDelta::days(1)].map(|after| begin + after);
    let mut query = Case::new(case, "2026-01-03T00:00:00Z");
    for customer in 1..=5 {
        let event = |time: &Timestamp| {
            json!({
                "specversion": "1.0", "id": format!("{customer} {time}"), "source": "my-app", "type": "query",
                "subject": format!("customer-{customer}"), "time": time, "data": {"duration_ms": "100", "method": "GET", "path": "/"},
            })
        };
        query
            .send("application/cloudevents-batch+json", &serde_json::to_vec(&times.iter().map(event).collect::<Vec<_>>()).unwrap())
            .unwrap();
    }
    let expect = &case["expect"];
    assert_eq!(query.value(), i128::from(expect["total"].as_i64().unwrap()));
    let mut windows: BTreeMap<Timestamp, Tally> = BTreeMap::new();
    for reading in &query.readings {
        let minute = reading.time.duration_trunc(TimeDelta::minutes(1)).unwrap();
        let measured = &reading.measured[0];
        windows.entry(minute).or_default().add(reading, measured.aggregation, &measured.value);
    }
    let values: Vec<i128> = windows.values().map(|tally| tally.value(Aggregation::Sum).unwrap().0).collect();
    assert_eq!(json!(values.iter().map(|v| *v as i64).collect::<Vec<_>>()), expect["per_minute"]);
    let (first, last) = (windows.keys().next().unwrap(), windows.keys().next_back().unwrap());
    assert_eq!(
        (first.to_rfc3339(), *last + TimeDelta::minutes(1)),
        ("2026-01-01T10:00:00+00:00".to_owned(), *first + TimeDelta::minutes(1441))
    );
    let groups: Vec<_> = query.gathering.tallies().keys().map(|place| place.dimensions.values().cloned().collect::<Vec<_>>()).collect();
    assert!(groups.iter().all(|group| *group == ["GET", "/"]), "{groups:?}");
    assert_eq!(groups.len(), 15, "five customers in three hours");
}
