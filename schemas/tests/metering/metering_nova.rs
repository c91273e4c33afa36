//! Nova's versioned notifications, as its own samples write them.

use crate::data;
use domain::{
    Timestamp,
    metering::openstack::{Notification, sessions},
};
use schemas::notification;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Nova's sample of a kind, with what the message bus adds to it: an id and a time.
fn samples() -> Vec<(String, Value)> {
    let lines = data("nova_notification_samples.jsonl");
    let samples = lines.lines().enumerate().map(|(n, line)| {
        let mut sample: Value = serde_json::from_str(line).unwrap();
        sample["message_id"] = json!(format!("m{n}"));
        sample["timestamp"] = json!("2026-11-21 10:00:00.123456");
        (sample["sample"].as_str().unwrap().to_owned(), sample)
    });
    samples.collect()
}

fn sample(name: &str, time: &str) -> Notification {
    let (_, mut sample) = samples().into_iter().find(|(sample, _)| sample == name).unwrap_or_else(|| panic!("no sample {name}"));
    sample["timestamp"] = json!(format!("2026-11-21 {time}.123456"));
    notification::decode(&sample).unwrap().unwrap()
}

#[test]
fn every_sample_about_an_instance_can_be_read_and_no_other_is() {
    let samples = samples();
    assert!(samples.len() >= 140, "{} samples", samples.len());
    for (name, sample) in samples {
        let event = sample["event_type"].as_str().unwrap();
        let read = notification::decode(&sample).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read.is_some(), event.starts_with("instance."), "{name}");
    }
}

#[test]
fn an_instance_told_by_nova_is_metered_from_its_creation_to_its_deletion() {
    let told = [
        sample("instance-create-end", "10:00:00"),
        sample("instance-exists", "11:00:00"),
        sample("instance-power_off-start", "11:30:00"),
        sample("instance-power_off-end", "11:30:05"),
        sample("instance-power_on-end", "12:00:00"),
        sample("instance-delete-start", "12:30:00"),
        sample("instance-delete-end", "12:30:09"),
    ];
    let time = |time: &str| format!("2026-11-21T{time}Z").parse::<Timestamp>().unwrap();
    let said: Vec<_> =
        sessions(&told, &BTreeSet::new(), time("13:00:00")).into_iter().map(|s| (s.active, s.start, s.end, s.open)).collect();
    let expected = [(true, "10:00:00", "11:30:00"), (false, "11:30:05", "12:00:00"), (true, "12:00:00", "12:30:00")];
    assert_eq!(said, expected.map(|(active, start, end)| (active, time(start), time(end), false)));
}
