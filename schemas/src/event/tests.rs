//! Old versions are brought up, unknown ones are refused, and an event carries the ids of its family.

use super::{versions::Upcast, *};
use domain::{event::CommandEvent, resource::ResourceEvent, tenant::TenantEvent};
use serde_json::json;

const ID: &str = "6f1f9c0e-58f7-4d0e-9d0c-0d7d0c9b4a11";

fn wire(json: Value) -> WireEvent {
    serde_json::from_value(json).unwrap()
}

fn provisioned(version: u32, data: Value) -> WireEvent {
    wire(json!({"type": "resource.provisioned", "version": version, "tenant": ID, "resource": ID, "data": data}))
}

/// A history in which `resource.provisioned` has had three shapes, `when`, then `time`, then `at`; `resource.vanished` came with format 3, and
/// `resource.changed` has said since format 2 whether somebody asked for it.
const AGED: Versions = Versions {
    names: NAMES,
    added: &[("resource.vanished", 3)],
    upcasts: &[
        Upcast {
            name: "resource.provisioned",
            from: 1,
            format: 1,
            apply: |data| renamed(data, "when", "time"),
            back: |data| renamed(data, "time", "when"),
        },
        Upcast {
            name: "resource.provisioned",
            from: 2,
            format: 2,
            apply: |data| renamed(data, "time", "at"),
            back: |data| renamed(data, "at", "time"),
        },
        Upcast {
            name: "resource.changed",
            from: 1,
            format: 2,
            apply: |mut data| {
                data["asked"] = true.into();
                data
            },
            back: |mut data| {
                data.as_object_mut().unwrap().remove("asked");
                data
            },
        },
    ],
};

fn renamed(mut data: Value, from: &str, to: &str) -> Value {
    if let Some(fields) = data.as_object_mut()
        && let Some(value) = fields.remove(from)
    {
        fields.insert(to.to_owned(), value);
    }
    data
}

#[test]
fn an_old_version_is_brought_up_one_step_a_version() {
    let at = "2026-11-21T10:00:00Z";
    let Ok(Event::Resource { event: ResourceEvent::Provisioned { at: present, .. }, .. }) =
        provisioned(3, json!({"intent": ID, "at": at})).read(&AGED)
    else {
        panic!("the present version is read as it is");
    };
    for old in [provisioned(1, json!({"intent": ID, "when": at})), provisioned(2, json!({"intent": ID, "time": at}))] {
        let version = old.version;
        let Ok(Event::Resource { event: ResourceEvent::Provisioned { at, .. }, .. }) = old.read(&AGED) else {
            panic!("version {version} is not brought up");
        };
        assert_eq!(at, present, "version {version}");
    }
}

#[test]
fn an_old_shape_under_a_new_version_is_no_event() {
    for (version, field) in [(1, "at"), (2, "when"), (3, "time")] {
        let data = json!({"intent": ID, field: "2026-11-21T10:00:00Z"});
        // A step leaves what it does not know, so `at` under version 1 arrives unharmed; the golden samples are what binds a version to a shape.
        let result = provisioned(version, data).read(&AGED);
        assert_eq!(matches!(result, Err(EventError::Shape { .. })), field != "at", "version {version} with {field}: {result:?}");
    }
}

#[test]
fn what_a_later_program_wrote_is_unknown_and_said_to_be() {
    for (version, versions) in [(0, &AGED), (4, &AGED), (2, &versions::PRESENT), (u32::MAX, &versions::PRESENT)] {
        let result = provisioned(version, json!({"intent": ID, "at": "2026-11-21T10:00:00Z"})).read(versions);
        assert!(matches!(&result, Err(EventError::Unknown { version: v, .. }) if *v == version), "{result:?}");
    }
    for name in ["resource.teleported", "resource", "", "resource.provisioned.again", "world.ended"] {
        let result = wire(json!({"type": name, "version": 1, "data": {}})).into_event();
        assert!(matches!(result, Err(EventError::Unknown { .. })), "{name}: {result:?}");
    }
}

#[test]
fn until_a_format_is_raised_everything_is_written_as_older_programs_read_it() {
    let lower = |format, name: &str, data: &Value| AGED.lower(format, name, AGED.current(name).unwrap(), data.clone());
    let at = json!({"intent": ID, "at": "2026-11-21T10:00:00Z"});
    for (format, version, field) in [(0, 1, "when"), (1, 2, "time"), (2, 3, "at"), (9, 3, "at")] {
        let (written, data) = lower(format, "resource.provisioned", &at).unwrap();
        assert_eq!((written, &data[field]), (version, &at["at"]), "format {format}");
        assert_eq!(AGED.bring_up("resource.provisioned", written, data).as_ref(), Some(&at), "format {format}");
    }
}

#[test]
fn what_an_older_version_cannot_say_waits_for_its_format() {
    let lower = |format, name: &str, data: Value| AGED.lower(format, name, AGED.current(name).unwrap(), data);
    assert_eq!(lower(1, "resource.changed", json!({"asked": true})), Ok((1, json!({}))));
    assert_eq!(lower(1, "resource.changed", json!({"asked": false})), Err(2), "an older program would take it for asked");
    assert_eq!(lower(2, "resource.changed", json!({"asked": false})), Ok((2, json!({"asked": false}))));
    assert_eq!(lower(2, "resource.vanished", json!({})), Err(3), "an older program would not know it");
    assert_eq!(lower(3, "resource.vanished", json!({})), Ok((1, json!({}))));
}

#[test]
fn an_event_with_the_ids_of_another_family_is_refused() {
    for event in [
        json!({"type": "tenant.resumed", "version": 1, "data": {}}),
        json!({"type": "tenant.resumed", "version": 1, "tenant": ID, "resource": ID, "data": {}}),
        json!({"type": "cell.closed", "version": 1, "tenant": ID, "data": {}}),
        json!({"type": "resource.vanished", "version": 1, "tenant": ID, "cell": ID, "data": {"at": "2026-11-21T10:00:00Z"}}),
        json!({"type": "command.expired", "version": 1, "tenant": ID, "data": {}}),
    ] {
        let result = wire(event).into_event();
        assert!(matches!(result, Err(EventError::Shape { .. })), "{result:?}");
    }
}

#[test]
fn data_is_an_object_even_when_there_is_nothing_to_say() {
    let tenant = TenantId(uuid::Uuid::nil());
    for event in [Event::Command(CommandEvent::Expired), Event::Tenant { tenant, event: TenantEvent::Resumed {} }] {
        let wire = WireEvent::of(&event);
        assert_eq!(wire.data, json!({}));
        assert_eq!(wire.into_event().unwrap(), event);
    }
}

#[test]
fn what_is_not_of_its_shape_names_its_type_and_version() {
    let error = provisioned(1, json!({})).into_event().unwrap_err();
    assert!(error.to_string().starts_with("resource.provisioned version 1: missing field `intent`"), "{error}");
    let raw = RawValue::from_string("[1]".to_owned()).unwrap();
    assert!(matches!(decode(&raw), Err(EventError::NotAnEvent(_))));
}
