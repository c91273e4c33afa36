//! What comes in is checked as a whole, and everything that is wrong is said at once.

use crate::metering_collector::*;
use domain::{metering::*, rating::Quantity};
use serde_json::json;

/// `index field problem` of every fault.
fn faults(sender: Sender, batch: &[Offered]) -> Vec<String> {
    match check(sender, batch) {
        Ok(readings) => panic!("{readings:?} was taken"),
        Err(BadBatch::Faults(faults)) => faults.iter().map(|f| format!("{} {} {}", f.index, f.flaw.field, f.flaw.problem)).collect(),
        Err(other) => vec![other.to_string()],
    }
}

const OURS: Sender = Sender::Tenant(TENANT);

fn traffic() -> Offered {
    event("traffic", json!({"bytes": 7, "way": "out"}))
}

#[test]
fn an_event_is_one_reading_for_every_meter_that_listens_to_it() {
    let reading = reading(traffic());
    let said: Vec<_> = reading.measured.iter().map(|m| (m.meter.as_str(), m.dimensions.get("way").cloned(), m.value.clone())).collect();
    assert_eq!(said, [("traffic", Some("out".to_owned()), Measurement::Amount(Quantity(7))), ("packets", None, Measurement::Occurrence),]);
    assert_eq!((reading.tenant, reading.resource, &*reading.source), (TENANT, SERVER, "agent"));
}

#[test]
fn every_bad_item_is_listed_with_index_and_field_and_nothing_of_the_batch_is_taken() {
    let foreign = |tenant: &str| Offered { tenant: Some(tenant.to_owned()), ..traffic() };
    let batch = [
        traffic(),
        Offered { event_type: Some("steps".to_owned()), ..traffic() },
        event("traffic", json!({"bytes": "many", "way": ["a"]})),
        foreign(&OTHER.to_string()),
        foreign("acme"),
        Offered { subject: Some(FOREIGN.to_string()), ..traffic() },
        Offered { subject: Some("customer-1".to_owned()), ..traffic() },
        Offered { time: Some("2026-11-21T10:05:00.000001Z".to_owned()), ..traffic() },
        Offered { time: Some("yesterday".to_owned()), ..traffic() },
        Offered { datacontenttype: Some("application/xml".to_owned()), ..traffic() },
        Offered { specversion: Some("0.3".to_owned()), id: Some(String::new()), ..traffic() },
        traffic(),
    ];
    assert_eq!(
        faults(OURS, &batch),
        [
            "1 type no meter measures this type of event",
            "2 data.way value must be a text, a number or a truth",
            "3 tenant belongs to another tenant",
            "4 tenant is not a tenant",
            "5 subject belongs to another tenant",
            "6 subject is not a resource",
            "7 time is more than five minutes in the future",
            "8 time must be a time such as 2026-11-21T10:00:00Z",
            "9 datacontenttype must be application/json",
            "10 specversion must be 1.0",
            "10 id must have 1 to 255 bytes",
        ]
    );
    assert_eq!(
        faults(OURS, &[Offered::default()]),
        ["specversion", "id", "source", "type", "subject"].map(|field| format!("0 {field} is missing"))
    );
    assert_eq!(faults(OURS, &vec![traffic(); MOST + 1]), ["5001 events are more than the 5000 of a batch"]);
}

#[test]
fn the_same_event_twice_in_a_batch_is_no_fault_and_five_minutes_ahead_is_in_time() {
    let ahead = Offered { time: Some("2026-11-21T10:05:00Z".to_owned()), ..traffic() };
    assert_eq!(check(OURS, &[ahead.clone(), ahead]).unwrap().len(), 2);
}

#[test]
fn an_event_without_a_time_was_read_when_it_came_in() {
    assert_eq!(reading(Offered { time: None, ..traffic() }).time, at("10:00:00"));
}

#[test]
fn a_resource_that_is_too_young_to_be_known_is_taken() {
    assert_eq!(reading(Offered { subject: Some(YOUNG.to_string()), ..traffic() }).tenant, TENANT);
}

#[test]
fn a_collector_of_the_provider_sends_for_whoever_owns_the_resource() {
    let sends = |offered: Offered| check(Sender::Collector, &[offered]).map(|readings| readings[0].tenant);
    assert_eq!(sends(Offered { subject: Some(FOREIGN.to_string()), ..traffic() }), Ok(OTHER));
    let young = Offered { subject: Some(YOUNG.to_string()), ..traffic() };
    assert_eq!(sends(Offered { tenant: Some(OTHER.to_string()), ..young.clone() }), Ok(OTHER));
    assert_eq!(faults(Sender::Collector, &[young]), ["0 tenant is missing"]);
    let misled = Offered { tenant: Some(OTHER.to_string()), ..traffic() };
    assert_eq!(faults(Sender::Collector, &[misled]), ["0 subject belongs to another tenant"]);
}

#[test]
fn a_numbered_reading_is_identified_by_its_number_alone() {
    assert_eq!(reading(numbered(7, "traffic", json!({"bytes": 1}))).key, Key::Number(7));
    let other_id = Offered { id: Some("x".to_owned()), ..numbered(7, "traffic", json!({"bytes": 1})) };
    assert_eq!(faults(OURS, &[other_id]), ["0 id must be the same as sequence"]);
    for bad in ["0", "-1", "1.5", "+1", "", "18446744073709551615", "18446744073709551616"] {
        let bad = Offered { sequence: Some(bad.to_owned()), ..traffic() };
        assert_eq!(faults(OURS, &[bad]), ["0 sequence must be a whole number from 1, as text"]);
    }
}

#[test]
fn a_counter_is_read_by_number_and_below_its_end() {
    assert_eq!(faults(OURS, &[event("port", json!({"octets": 1}))]), ["0 sequence is missing: readings of a counter are numbered"]);
    let beyond = numbered(1, "port", json!({"octets": 65536}));
    assert_eq!(faults(OURS, &[beyond]), ["0 data.octets value is not below the one at which the counter rolls over"]);
}
