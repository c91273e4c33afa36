//! Notifications of OpenStack about instances, as its message bus carries them and as archives keep them.
//!
//! Three shapes say the same: Nova's versioned notifications (`instance.create.end`, since Ocata), its old ones as ceilometer flattened them
//! (`compute.instance.create.end`, with `generated` and numbers as texts), and either of them in an `oslo.message` envelope.

use chrono::{DateTime, NaiveDateTime};
use domain::{
    Timestamp,
    metering::openstack::{Notification, Size},
};
use serde_json::Value;

/// Why a notification about an instance cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event}: {field} is missing, or not what it should be")]
pub struct BadNotification {
    /// Its type.
    pub event: String,
    /// The field.
    pub field: &'static str,
}

/// A notification about an instance; nothing when it is about something else.
///
/// # Errors
///
/// It is about an instance, and a field that is needed is missing or cannot be read.
pub fn decode(notification: &Value) -> Result<Option<Notification>, BadNotification> {
    if let Some(inner) = notification.get("oslo.message").and_then(Value::as_str) {
        let bad = |_| BadNotification { event: "oslo.message".to_owned(), field: "oslo.message" };
        return decode(&serde_json::from_str(inner).map_err(bad)?);
    }
    let event = notification.get("event_type").and_then(Value::as_str).unwrap_or_default();
    let versioned = notification.pointer("/payload/nova_object.data");
    let (kind, about, flavor) = match (event.strip_prefix("compute.instance."), event.strip_prefix("instance."), versioned) {
        (Some(kind), _, _) => (kind, notification, notification),
        (None, Some(kind), Some(about)) => (kind, about, about.pointer("/flavor/nova_object.data").unwrap_or(about)),
        _ => return Ok(None),
    };
    let bad = |field| BadNotification { event: event.to_owned(), field };
    let text = |of: &Value, field: &str| of.get(field).and_then(Value::as_str).map(str::to_owned);
    let number = |field: &'static str| {
        let value = flavor.get(field);
        value.and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok())).ok_or_else(|| bad(field))
    };
    let first = |fields: [&'static str; 2]| fields.into_iter().find_map(|field| text(about, field)).ok_or_else(|| bad(fields[0]));
    let made = ["timestamp", "generated"].into_iter().find_map(|field| text(notification, field));
    Ok(Some(Notification {
        message: text(notification, "message_id").ok_or_else(|| bad("message_id"))?,
        at: made.and_then(|time| utc(&time)).ok_or_else(|| bad("timestamp"))?,
        event: kind.to_owned(),
        instance: first(["uuid", "instance_id"])?,
        project: first(["tenant_id", "project_id"])?,
        state: text(about, "state"),
        size: Size {
            flavor: text(flavor, "name").or_else(|| text(flavor, "instance_type")).ok_or_else(|| bad("flavor"))?,
            vcpus: number("vcpus")?,
            memory_mib: number("memory_mb")?,
            root_gib: number("root_gb")?,
        },
    }))
}

/// A time of OpenStack, which is UTC whether it says so or not.
fn utc(time: &str) -> Option<Timestamp> {
    let naive = |format| NaiveDateTime::parse_from_str(time, format).ok().map(|t| t.and_utc());
    let zoned = || DateTime::parse_from_rfc3339(time).ok().map(|t| t.to_utc());
    naive("%Y-%m-%dT%H:%M:%S%.f").or_else(|| naive("%Y-%m-%d %H:%M:%S%.f")).or_else(zoned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_three_shapes_say_the_same() {
        let versioned = json!({
            "event_type": "instance.power_off.end", "message_id": "m", "timestamp": "2018-04-19 16:47:16.905308", "priority": "INFO",
            "payload": {"nova_object.data": {
                "uuid": "i", "tenant_id": "p", "state": "stopped",
                "flavor": {"nova_object.data": {"name": "c1.m4", "vcpus": 1, "memory_mb": 4096, "root_gb": 20}},
            }},
        });
        let flat = json!({
            "event_type": "compute.instance.power_off.end", "message_id": "m", "generated": "2018-04-19T16:47:16.905308",
            "instance_id": "i", "project_id": "p", "state": "stopped", "instance_type": "c1.m4", "vcpus": "1", "memory_mb": "4096", "root_gb": "20",
        });
        let enveloped = json!({"oslo.version": "2.0", "oslo.message": versioned.to_string()});
        let said = decode(&versioned).unwrap().unwrap();
        assert_eq!((said.event.as_str(), said.size.memory_mib), ("power_off.end", 4096));
        for other in [flat, enveloped] {
            assert_eq!(decode(&other).unwrap().as_ref(), Some(&said));
        }
    }

    #[test]
    fn what_is_about_something_else_is_passed_over_and_what_lacks_a_field_is_named() {
        assert_eq!(decode(&json!({"event_type": "port.create.end"})), Ok(None));
        let error = decode(&json!({"event_type": "compute.instance.exists", "message_id": "m"})).unwrap_err();
        assert_eq!(error.to_string(), "compute.instance.exists: timestamp is missing, or not what it should be");
    }
}
