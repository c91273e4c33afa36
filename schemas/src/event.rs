//! Events on the wire.
//!
//! ```json
//! {"type":"resource.provisioned","version":1,"tenant":"<uuid>","resource":"<uuid>","data":{"intent":"<uuid>","at":".."}}
//! ```
//!
//! The part of the type before the dot is what the event is about, and decides which ids stand beside it. `version` counts the shapes of `data`
//! under one type; an older one is brought up to the present by [`upcast`], JSON to JSON, one step a version, when it is read. What was written
//! is never rewritten.

use domain::{
    event::{CommandEvent, Event},
    id::{CellId, ResourceId, TenantId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// An event as it stands in a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireEvent {
    /// What happened, e.g. `resource.provisioned`.
    #[serde(rename = "type")]
    pub name: String,
    /// The shape of `data`.
    pub version: u32,
    /// The tenant that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The cell that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellId>,
    /// The resource that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// The rest.
    pub data: Value,
}

/// Why an event cannot be read here.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A type or version that this program does not know: written by a later one. Whoever decides or counts money stops; a read model passes
    /// over it and says that it is incomplete.
    #[error("unknown event {name} version {version}")]
    Unknown {
        /// Its type.
        name: String,
        /// Its version.
        version: u32,
    },
    /// Known, and not of its shape.
    #[error("{name} version {version}: {source}")]
    Shape {
        /// Its type.
        name: String,
        /// Its version.
        version: u32,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// Not an event at all.
    #[error("not an event: {0}")]
    NotAnEvent(#[from] serde_json::Error),
}

/// The version in which this program writes a type. A type that has changed its shape stands here with its number; all others are 1.
pub fn current_version(name: &str) -> Option<u32> {
    NAMES.contains(&name).then_some(1)
}

/// Brings `data` of an older version up by one. None exists yet: every type is at its first version.
pub fn upcast(_name: &str, _version: u32, data: Value) -> Value {
    data
}

/// Every type that this program reads and writes.
pub const NAMES: &[&str] = &[
    "command.expired",
    "command.failed",
    "command.nothing_to_do",
    "command.refused",
    "command.repeated",
    "command.unreadable",
    "platform.default_quota_set",
    "platform.flavor_defined",
    "platform.format_raised",
    "platform.operator_appointed",
    "platform.operator_dismissed",
    "platform.region_declared",
    "platform.service_paused",
    "platform.service_published",
    "platform.service_retired",
    "platform.tenant_reserved",
    "platform.zone_declared",
    "platform.zone_state_set",
    "tenant.cell_default_set",
    "tenant.cell_limits_clamped",
    "tenant.closed",
    "tenant.closing_began",
    "tenant.limits_set",
    "tenant.opened",
    "tenant.renamed",
    "tenant.resumed",
    "tenant.suspended",
    "cell.closed",
    "cell.created",
    "cell.limits_set",
    "cell.renamed",
    "member.role_granted",
    "member.role_revoked",
    "resource.attach_requested",
    "resource.attached",
    "resource.attempt_failed",
    "resource.change_requested",
    "resource.changed",
    "resource.cleaned",
    "resource.delete_requested",
    "resource.deleted",
    "resource.detach_requested",
    "resource.detached",
    "resource.lifecycle_corrected",
    "resource.observed_late",
    "resource.overdue",
    "resource.pending",
    "resource.provisioned",
    "resource.provisioning_abandoned",
    "resource.provisioning_failed",
    "resource.reboot_requested",
    "resource.rebooted",
    "resource.released",
    "resource.remains_found",
    "resource.remains_removed",
    "resource.renamed",
    "resource.reopened",
    "resource.requested",
    "resource.resolved",
    "resource.start_requested",
    "resource.started",
    "resource.step_failed",
    "resource.stop_requested",
    "resource.stopped",
    "resource.vanished",
];

impl WireEvent {
    /// The wire form of a fact, in the version that this program writes.
    pub fn of(event: &Event) -> Self {
        let (tenant, cell, resource) = match event {
            Event::Command(_) | Event::Platform(_) => (None, None, None),
            Event::Tenant { tenant, .. } | Event::Member { tenant, .. } => (Some(*tenant), None, None),
            Event::Cell { tenant, cell, .. } => (Some(*tenant), Some(*cell), None),
            Event::Resource { tenant, resource, .. } => (Some(*tenant), None, Some(*resource)),
        };
        let (family, tagged) = match event {
            Event::Command(e) => ("command", tagged(e)),
            Event::Platform(e) => ("platform", tagged(e)),
            Event::Tenant { event, .. } => ("tenant", tagged(event)),
            Event::Cell { event, .. } => ("cell", tagged(event)),
            Event::Member { event, .. } => ("member", tagged(event)),
            Event::Resource { event, .. } => ("resource", tagged(event)),
        };
        let name = format!("{family}.{}", tagged.name);
        let version = current_version(&name).unwrap_or(1);
        Self { name, version, tenant, cell, resource, data: tagged.data }
    }

    /// The fact.
    pub fn into_event(self) -> Result<Event, EventError> {
        let Self { name, version, tenant, cell, resource, mut data } = self;
        let unknown = || EventError::Unknown { name: name.clone(), version };
        let current = current_version(&name).ok_or_else(unknown)?;
        if version == 0 || version > current {
            return Err(unknown());
        }
        for v in version..current {
            data = upcast(&name, v, data);
        }
        let shape = |source| EventError::Shape { name: name.clone(), version, source };
        let absent = |what: &str| shape(serde::de::Error::custom(format!("no {what}")));
        let (family, kind) = name.split_once('.').ok_or_else(unknown)?;
        let tenant = || tenant.ok_or_else(|| absent("tenant"));
        Ok(match family {
            "command" => Event::Command(untagged::<CommandEvent>(kind, data).map_err(shape)?),
            "platform" => Event::Platform(untagged(kind, data).map_err(shape)?),
            "tenant" => Event::Tenant { tenant: tenant()?, event: untagged(kind, data).map_err(shape)? },
            "cell" => {
                Event::Cell { tenant: tenant()?, cell: cell.ok_or_else(|| absent("cell"))?, event: untagged(kind, data).map_err(shape)? }
            }
            "member" => Event::Member { tenant: tenant()?, event: untagged(kind, data).map_err(shape)? },
            _ => Event::Resource {
                tenant: tenant()?,
                resource: resource.ok_or_else(|| absent("resource"))?,
                event: untagged(kind, data).map_err(shape)?,
            },
        })
    }
}

/// The JSON of a fact, as it goes into a commit.
pub fn encode(event: &Event) -> Box<RawValue> {
    serde_json::value::to_raw_value(&WireEvent::of(event)).expect("ids, texts and JSON values are always JSON")
}

/// The fact in the JSON of a commit.
pub fn decode(raw: &RawValue) -> Result<Event, EventError> {
    serde_json::from_str::<WireEvent>(raw.get())?.into_event()
}

/// How the domain's enums serialise: type and data side by side.
#[derive(Serialize, Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    name: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    data: Value,
}

fn tagged<E: Serialize>(event: &E) -> Tagged {
    let json = serde_json::to_value(event).expect("ids, texts and JSON values are always JSON");
    serde_json::from_value(json).expect("the domain's enums are tagged with type and data")
}

fn untagged<E: DeserializeOwned>(name: &str, data: Value) -> Result<E, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(Tagged { name: name.to_owned(), data })?)
}
