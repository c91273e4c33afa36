//! The catalogue of the stories: small, and with one kind for each thing that a service can be.

use domain::catalogue::{Action, Change, Deadlines, Levels, Measure, Reference, Service};

/// Seconds for a create, a change and a delete of every kind.
pub const CREATE_S: i64 = 600;
pub const CHANGE_S: i64 = 300;
pub const DELETE_S: i64 = 900;

fn service(name: &str) -> Service {
    Service {
        name: name.parse().unwrap(),
        version: 1,
        title: name.to_owned(),
        driver: "simulated".to_owned(),
        levels: Levels { cell: true, tenant: true },
        zonal: false,
        power: false,
        actions: vec![],
        attaches_to: None,
        dimensions: vec![],
        meters: vec![],
        references: vec![],
        changes: vec![],
        deadlines: Deadlines { create_s: CREATE_S as u32, change_s: CHANGE_S as u32, delete_s: DELETE_S as u32 },
        spec: serde_json::json!({ "type": "object" }),
    }
}

fn measure(dimension: &str, field: Option<&str>) -> Measure {
    Measure { dimension: dimension.parse().unwrap(), unit: "1".to_owned(), meaning: dimension.to_owned(), field: field.map(str::to_owned) }
}

fn change(field: &str, grows_only: bool) -> Change {
    Change { field: field.to_owned(), grows_only }
}

fn reference(field: &str, kind: &str) -> Reference {
    Reference { field: field.to_owned(), kind: kind.parse().unwrap() }
}

/// Every service. `pool` claims `units` at either level: the plain case of quota.
pub fn services() -> Vec<Service> {
    vec![
        Service {
            levels: Levels { cell: true, tenant: false },
            zonal: true,
            power: true,
            actions: vec![Action::Start, Action::Stop, Action::Reboot],
            dimensions: vec![measure("servers", None), measure("vcpus", Some("vcpus")), measure("memory_mib", Some("memory_mib"))],
            references: vec![reference("networks", "network"), reference("disk", "volume")],
            changes: vec![change("vcpus", false), change("memory_mib", false), change("networks", false)],
            ..service("server")
        },
        Service {
            zonal: true,
            attaches_to: Some("server".parse().unwrap()),
            dimensions: vec![measure("volumes", None), measure("volume_gib", Some("size_gib"))],
            changes: vec![change("size_gib", true)],
            ..service("volume")
        },
        Service { dimensions: vec![measure("networks", None)], ..service("network") },
        Service { attaches_to: Some("server".parse().unwrap()), dimensions: vec![measure("public_ips", None)], ..service("public_ip") },
        Service {
            references: vec![reference("peers", "security_group")],
            changes: vec![change("peers", false)],
            ..service("security_group")
        },
        Service { levels: Levels { cell: false, tenant: true }, ..service("bucket") },
        Service { dimensions: vec![measure("units", Some("units"))], changes: vec![change("units", false)], ..service("pool") },
    ]
}
