//! What exists at a provider, and how a client describes what it wants there.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The kind whose objects have a power state and can be attached to.
pub const SERVER: &str = "server";

/// The specification of an object as the provider holds it, by field name.
pub type Properties = Map<String, Value>;

/// Where an object is found again: the provider answers "absent" when any part is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Availability zone, or region for kinds that span zones.
    pub zone: String,
    /// `server`, `volume`, `network`, ...
    pub kind: String,
    /// Made by the provider, never used again.
    pub id: String,
}

/// One object as its provider shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Made by the provider, never used again.
    pub id: String,
    /// `server`, `volume`, `network`, ...
    pub kind: String,
    /// Availability zone, or region for kinds that span zones.
    pub zone: String,
    /// The provider's account that owns the object; chosen by the client.
    pub project: String,
    /// Chosen by the client and not unique: two creates with one name make two objects.
    pub name: String,
    /// The specification in force. A change under way shows only when it is done.
    pub properties: Properties,
    /// Chosen by the client at creation.
    pub tags: BTreeMap<String, String>,
    /// Where in its life the object is.
    pub status: Status,
    /// What the provider is still doing to it; most other calls are refused as busy meanwhile.
    pub task: Option<TaskName>,
    /// Servers only, once they are built.
    pub power: Option<Power>,
    /// Id of the server that it is attached to (volumes, public IPs).
    pub attached_to: Option<String>,
    /// Why the status is [`Status::Error`], in the provider's words.
    pub fault: Option<String>,
    /// When the create was accepted.
    pub created_at: DateTime<Utc>,
    /// When anything of the above last changed.
    pub updated_at: DateTime<Utc>,
}

impl Object {
    /// Where to find it again.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { zone: self.zone.clone(), kind: self.kind.clone(), id: self.id.clone() }
    }

    /// Nothing is under way, and the object is usable.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.task.is_none() && matches!(self.status, Status::Active | Status::Shutoff)
    }
}

/// Where in its life an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// The create was accepted; nothing more is promised.
    Build,
    /// Usable; a server runs.
    Active,
    /// A server that is built and switched off.
    Shutoff,
    /// A step failed; `fault` says why. It still exists and still costs.
    Error,
    /// The delete was accepted; the object is still there.
    Deleting,
}

/// What the hypervisor says of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// It runs.
    Running,
    /// It is off.
    Shutdown,
}

/// What is under way, as OpenStack's `task_state` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// Being created.
    Spawning,
    /// Being deleted.
    Deleting,
    /// Being switched on.
    PoweringOn,
    /// Being switched off.
    PoweringOff,
    /// Being restarted.
    Rebooting,
    /// Its properties are being changed.
    Resizing,
    /// Being attached to a server.
    Attaching,
    /// Being detached from its server.
    Detaching,
}

impl TaskName {
    /// As the wire and the error texts spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spawning => "spawning",
            Self::Deleting => "deleting",
            Self::PoweringOn => "powering-on",
            Self::PoweringOff => "powering-off",
            Self::Rebooting => "rebooting",
            Self::Resizing => "resizing",
            Self::Attaching => "attaching",
            Self::Detaching => "detaching",
        }
    }
}

/// What a client asks to be created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewObject {
    /// The account that shall own it.
    pub project: String,
    /// Deterministic from the client's intent, so that the object is found again after a lost answer.
    pub name: String,
    /// Its specification.
    #[serde(default)]
    pub properties: Properties,
    /// Free labels, found again by [`Filter::tag`].
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Which objects of a zone are meant; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Exactly this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// This tag with this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<(String, String)>,
}

impl Filter {
    /// All objects with this name.
    #[must_use]
    pub fn by_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// All objects that carry this tag.
    #[must_use]
    pub fn by_tag(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { tag: Some((key.into(), value.into())), ..Self::default() }
    }

    /// Only objects of this kind as well.
    #[must_use]
    pub fn of_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Does the object match?
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == object.kind)
            && self.project.as_ref().is_none_or(|project| *project == object.project)
            && self.name.as_ref().is_none_or(|name| *name == object.name)
            && self.tag.as_ref().is_none_or(|(key, value)| object.tags.get(key) == Some(value))
    }
}

/// A part of a listing, oldest objects first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The objects of this part.
    pub objects: Vec<Object>,
    /// What to give as marker to get the next part; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
