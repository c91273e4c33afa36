//! A service of the catalogue: what a spec looks like to the decider, and what it counts against quota.
//!
//! The whole definition travels in [`crate::platform::PlatformEvent::ServicePublished`], so a replay needs no file. The JSON Schema of the spec is
//! checked where a request enters; the decider reads only what quota, references and changes need, and refuses what it cannot read. Its
//! [`Meter`]s are read by metering alone.

use crate::{
    id::{Dimension, FlavorName, ResourceId, ServiceName},
    metering::Meter,
    quota::Amounts,
    refusal::Refusal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a customer asked for, as JSON. Small: the API refuses bodies over its limit.
pub type Spec = Value;

/// One service, one kind of resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The kind of its resources.
    pub name: ServiceName,
    /// Counts up with every published change.
    pub version: u32,
    /// For people.
    pub title: String,
    /// Which driver makes it.
    pub driver: String,
    /// Where its resources may be placed.
    pub levels: Levels,
    /// True when a resource lives in one availability zone; otherwise it belongs to the region.
    pub zonal: bool,
    /// True when it can be stopped and started.
    #[serde(default)]
    pub power: bool,
    /// Day-2 actions beyond change, attach and delete.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// The kind that its resources can be attached to.
    #[serde(default)]
    pub attaches_to: Option<ServiceName>,
    /// Quota dimensions and how much of each a spec claims.
    pub dimensions: Vec<Measure>,
    /// What is measured of its resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meters: Vec<Meter>,
    /// Fields of the spec that name other resources.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// Fields of the spec that may change while the resource lives.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// JSON Schema (2020-12) of the spec.
    pub spec: Value,
}

/// At which levels a resource may sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// In a cell.
    pub cell: bool,
    /// At the tenant itself, shared by its cells.
    pub tenant: bool,
}

/// A day-2 action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Begin to run.
    Start,
    /// Cease to run; the resource stays.
    Stop,
    /// Stop and start at once.
    Reboot,
}

impl Action {
    /// The name in routes and logs.
    pub fn name(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Reboot => "reboot",
        }
    }
}

/// How much of a quota dimension one resource claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The dimension.
    pub dimension: Dimension,
    /// Its unit, for people: `MiB`, `GiB`, `1`.
    pub unit: String,
    /// What it means, for people.
    pub meaning: String,
    /// The field of the spec that holds the amount (a whole number); without one each resource claims 1.
    #[serde(default)]
    pub field: Option<String>,
}

/// A field of the spec that names other resources, by id or by a list of ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The field.
    pub field: String,
    /// The kind that it must name.
    pub kind: ServiceName,
}

/// A field of the spec that may change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The field.
    pub field: String,
    /// True when a number may only grow, as the size of a volume.
    #[serde(default)]
    pub grows_only: bool,
}

/// Seconds until a step counts as overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// To create.
    pub create_s: u32,
    /// To change, start, stop, reboot, attach or detach.
    pub change_s: u32,
    /// To delete, or to clean up after a failed create.
    pub delete_s: u32,
}

/// A named size of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Flavor {
    /// Its name.
    pub name: FlavorName,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory.
    pub memory_mib: u64,
}

impl Service {
    /// What a spec claims. A measured field must be a whole number.
    pub fn claim(&self, spec: &Spec) -> Result<Amounts, Refusal> {
        self.dimensions
            .iter()
            .map(|m| match &m.field {
                None => Ok((m.dimension.clone(), 1)),
                Some(field) => match spec.get(field) {
                    None => Ok((m.dimension.clone(), 0)),
                    Some(v) => {
                        let n = v.as_u64().ok_or_else(|| Refusal::field(format!("#/spec/{field}"), "not a whole number"))?;
                        Ok((m.dimension.clone(), n))
                    }
                },
            })
            .collect()
    }

    /// The resources that a spec names, with the field's pointer and the kind each must have.
    pub fn references(&self, spec: &Spec) -> Result<Vec<(String, ServiceName, ResourceId)>, Refusal> {
        let mut found = Vec::new();
        for reference in &self.references {
            let pointer = format!("#/spec/{}", reference.field);
            let one = |pointer: String, v: &Value| -> Result<_, Refusal> {
                let id = v.as_str().and_then(|s| s.parse().ok());
                let id = id.ok_or_else(|| Refusal::field(pointer.clone(), "not the id of a resource"))?;
                Ok((pointer, reference.kind.clone(), id))
            };
            match spec.get(&reference.field) {
                None | Some(Value::Null) => {}
                Some(Value::Array(list)) => {
                    for (i, v) in list.iter().enumerate() {
                        found.push(one(format!("{pointer}/{i}"), v)?);
                    }
                }
                Some(v) => found.push(one(pointer, v)?),
            }
        }
        Ok(found)
    }

    /// Refuses the first field, in order, that differs and may not, or may not in this direction.
    pub fn check_change(&self, old: &Spec, new: &Spec) -> Result<(), Refusal> {
        let empty = serde_json::Map::new();
        let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
        let fields: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for field in fields {
            let (before, after) = (old.get(field), new.get(field));
            if before == after {
                continue;
            }
            let Some(change) = self.changes.iter().find(|c| c.field == *field) else {
                return Err(Refusal::field(format!("#/spec/{field}"), "cannot change while the resource lives"));
            };
            let shrinks = || before.and_then(Value::as_u64) > after.and_then(Value::as_u64);
            if change.grows_only && shrinks() {
                return Err(Refusal::field(format!("#/spec/{field}"), "can only grow"));
            }
        }
        Ok(())
    }
}
