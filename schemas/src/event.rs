//! Events on the wire.
//!
//! ```json
//! {"type":"resource.provisioned","version":1,"tenant":"<uuid>","resource":"<uuid>","data":{"intent":"<uuid>","at":".."}}
//! ```
//!
//! The part of the type before the dot is what the event is about, and decides which ids stand beside it. `data` is always an object. `version`
//! counts the shapes of `data` under one type; an older one is brought up to the present by [`upcast`], JSON to JSON, one step a version, when it
//! is read. What was written is never rewritten.

mod versions;

pub use versions::{NAMES, current_version, upcast};

use domain::{
    event::Event,
    id::{CellId, ResourceId, TenantId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};
use versions::Versions;

/// An event as it stands in a commit; `D` is JSON, parsed or raw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireEvent<D = Value> {
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
    pub data: D,
}

/// An event whose `data` still lies in the bytes of its commit.
pub type RawEvent<'a> = WireEvent<&'a RawValue>;

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

/// An event that cannot be written yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} as it is needs format {needed}")]
pub struct NotYet {
    /// Its type.
    pub name: String,
    /// The format that has to be raised first.
    pub needed: u32,
}

impl WireEvent {
    /// The wire form of a fact, in the highest version that this program knows.
    pub fn of(event: &Event) -> Self {
        let (tenant, cell, resource) = match event {
            Event::Command(_) | Event::Platform(_) => (None, None, None),
            Event::Tenant { tenant, .. } | Event::Member { tenant, .. } => (Some(*tenant), None, None),
            Event::Cell { tenant, cell, .. } => (Some(*tenant), Some(*cell), None),
            Event::Resource { tenant, resource, .. } => (Some(*tenant), None, Some(*resource)),
        };
        let (family, (kind, data)) = match event {
            Event::Command(e) => ("command", tagged(e)),
            Event::Platform(e) => ("platform", tagged(e)),
            Event::Tenant { event, .. } => ("tenant", tagged(event)),
            Event::Cell { event, .. } => ("cell", tagged(event)),
            Event::Member { event, .. } => ("member", tagged(event)),
            Event::Resource { event, .. } => ("resource", tagged(event)),
        };
        let name = format!("{family}.{kind}");
        let version = current_version(&name).expect("a test compares the list of names with the domain's enums");
        Self { name, version, tenant, cell, resource, data }
    }

    /// The same in the highest version that may be written in this format.
    fn lower(self, format: u32, versions: &Versions) -> Result<Self, NotYet> {
        match versions.lower(format, &self.name, self.version, self.data) {
            Ok((version, data)) => Ok(Self { version, data, ..self }),
            Err(needed) => Err(NotYet { name: self.name, needed }),
        }
    }

    /// The fact.
    ///
    /// # Errors
    ///
    /// A type or version that is not known here, or a known one that is not of its shape.
    pub fn into_event(self) -> Result<Event, EventError> {
        self.read(&versions::PRESENT)
    }

    fn read(mut self, versions: &Versions) -> Result<Event, EventError> {
        match versions.bring_up(&self.name, self.version, self.data.take()) {
            Some(data) => self.fact(&data.to_string()),
            None => Err(EventError::Unknown { name: self.name, version: self.version }),
        }
    }
}

impl RawEvent<'_> {
    /// The fact.
    ///
    /// # Errors
    ///
    /// A type or version that is not known here, or a known one that is not of its shape.
    pub fn into_event(self) -> Result<Event, EventError> {
        if current_version(&self.name) == Some(self.version) {
            return self.fact(self.data.get());
        }
        let Self { name, version, tenant, cell, resource, data } = self;
        let data: Value = serde_json::from_str(data.get())?;
        WireEvent::<Value> { name, version, tenant, cell, resource, data }.into_event()
    }
}

impl<D> WireEvent<D> {
    /// The fact that data of the present version tell.
    fn fact(&self, data: &str) -> Result<Event, EventError> {
        let Self { name, version, tenant, cell, resource, .. } = self;
        let unknown = || EventError::Unknown { name: name.clone(), version: *version };
        let (family, kind) = name.split_once('.').ok_or_else(unknown)?;
        let shape = |source| EventError::Shape { name: name.clone(), version: *version, source };
        let misplaced = || shape(serde::de::Error::custom("the ids beside `data` are not those of its family"));
        Ok(match (family, *tenant, *cell, *resource) {
            ("command", None, None, None) => Event::Command(untagged(kind, data).map_err(shape)?),
            ("platform", None, None, None) => Event::Platform(untagged(kind, data).map_err(shape)?),
            ("tenant", Some(tenant), None, None) => Event::Tenant { tenant, event: untagged(kind, data).map_err(shape)? },
            ("cell", Some(tenant), Some(cell), None) => Event::Cell { tenant, cell, event: untagged(kind, data).map_err(shape)? },
            ("member", Some(tenant), None, None) => Event::Member { tenant, event: untagged(kind, data).map_err(shape)? },
            ("resource", Some(tenant), None, Some(resource)) => {
                Event::Resource { tenant, resource, event: untagged(kind, data).map_err(shape)? }
            }
            _ => return Err(misplaced()),
        })
    }
}

/// The JSON of a fact, as it goes into a commit while this format may be written.
///
/// # Errors
///
/// When it says what no version of this format can say.
pub fn encode(event: &Event, format: u32) -> Result<Box<RawValue>, NotYet> {
    let written = WireEvent::of(event).lower(format, &versions::PRESENT)?;
    Ok(serde_json::value::to_raw_value(&written).expect("ids, texts and JSON values are always JSON"))
}

/// The fact in the JSON of a commit.
pub fn decode(raw: &RawValue) -> Result<Event, EventError> {
    serde_json::from_str::<RawEvent<'_>>(raw.get())?.into_event()
}

/// Takes the domain's form of an event, type and data side by side, apart.
fn tagged<E: Serialize>(event: &E) -> (String, Value) {
    let json = serde_json::to_value(event).expect("ids, texts and JSON values are always JSON");
    let Value::Object(mut fields) = json else { unreachable!("the domain's events are tagged with a type") };
    let Some(Value::String(kind)) = fields.remove("type") else { unreachable!("the domain's events are tagged with a type") };
    (kind, fields.remove("data").unwrap_or_else(|| Map::new().into()))
}

/// Puts the domain's form of an event together. The type stands first: so it is read in one pass, straight into its variant.
fn untagged<E: DeserializeOwned>(kind: &str, data: &str) -> Result<E, serde_json::Error> {
    match serde_json::from_str(&format!(r#"{{"type":"{kind}","data":{data}}}"#)) {
        // A variant without braces has no data in the domain's form.
        Err(error) if serde_json::from_str(data).is_ok_and(|data: Map<String, Value>| data.is_empty()) => {
            serde_json::from_str(&format!(r#"{{"type":"{kind}"}}"#)).map_err(|_| error)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests;
