//! A collector: readings with sensible defaults, and what is known of resources.

use domain::{
    Timestamp,
    id::{ResourceId, TenantId},
    metering::*,
};
use serde_json::{Value, json};
use uuid::Uuid;

pub const TENANT: TenantId = TenantId(Uuid::from_u128(0x7e));
pub const OTHER: TenantId = TenantId(Uuid::from_u128(0x07));
pub const SERVER: ResourceId = ResourceId(Uuid::from_u128(0x5e));
/// A resource of [`OTHER`].
pub const FOREIGN: ResourceId = ResourceId(Uuid::from_u128(0x5f));
/// A resource that is too young to be known where readings come in.
pub const YOUNG: ResourceId = ResourceId(Uuid::from_u128(0x50));

pub fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

/// A meter of readings.
pub fn meter(name: &str, unit: &str, readings: Value) -> Meter {
    serde_json::from_value(json!({"name": name, "unit": unit, "meaning": name, "from": {"readings": readings}})).unwrap()
}

/// Traffic by direction, a counter of it, the largest temperature, and how many users there were.
pub fn meters() -> Meters {
    let meters = [
        meter("traffic", "bytes", json!({"type": "traffic", "aggregation": "sum", "value": "$.bytes", "group_by": {"way": "$.way"}})),
        meter("packets", "counts", json!({"type": "traffic", "aggregation": "count"})),
        meter("port", "bytes", json!({"type": "port", "aggregation": "sum", "value": "$.octets", "counter": {"rolls_over_at": "65536"}})),
        meter("peak", "bytes", json!({"type": "level", "aggregation": "max", "value": "$.level"})),
        meter("last", "bytes", json!({"type": "level", "aggregation": "latest", "value": "$.level"})),
        meter("users", "counts", json!({"type": "user", "aggregation": "unique_count", "value": "$.name"})),
    ];
    Meters::new(&meters).unwrap()
}

pub struct Known;

impl Subjects for Known {
    fn resolve(&self, subject: &str) -> Option<(ResourceId, Option<TenantId>)> {
        let resource = subject.parse().ok()?;
        let tenant = [(SERVER, TENANT), (FOREIGN, OTHER)].into_iter().find(|(known, _)| *known == resource).map(|(_, tenant)| tenant);
        Some((resource, tenant))
    }
}

/// An event as OpenMeter's clients send them.
pub fn event(event_type: &str, data: Value) -> Offered {
    Offered {
        id: Some("e1".to_owned()),
        source: Some("agent".to_owned()),
        specversion: Some("1.0".to_owned()),
        event_type: Some(event_type.to_owned()),
        subject: Some(SERVER.to_string()),
        time: Some("2026-11-21T10:00:00Z".to_owned()),
        data: Some(data),
        ..Offered::default()
    }
}

/// A reading of a source that numbers.
pub fn numbered(number: u64, event_type: &str, data: Value) -> Offered {
    let number = Some(number.to_string());
    Offered { id: number.clone(), sequence: number, ..event(event_type, data) }
}

pub fn check(sender: Sender, batch: &[Offered]) -> Result<Vec<Reading>, BadBatch> {
    let meters = meters();
    let batch: Vec<_> = batch.iter().cloned().map(Ok).collect();
    Door { meters: &meters, subjects: &Known, sender, now: at("10:00:00") }.check(&batch)
}

pub fn reading(offered: Offered) -> Reading {
    check(Sender::Tenant(TENANT), &[offered]).unwrap().remove(0)
}
