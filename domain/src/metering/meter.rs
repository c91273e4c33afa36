//! Meters as a service declares them in the catalogue, and the paths by which they find a value in a reading.

use crate::rating::{BaseUnit, MeterName, Quantity};
use jsonpath_rust::parser::{
    model::{JpQuery, Segment, Selector},
    parse_json_path,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One thing that is measured of every resource of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Its name, for ever: `server.vcpu_time`. Rate cards price by it.
    pub name: MeterName,
    /// What it counts in.
    pub unit: BaseUnit,
    /// What it means, for people.
    pub meaning: String,
    /// What it goes by.
    pub from: Evidence,
}

/// What a meter goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Evidence {
    /// That the resource exists, as the journal tells.
    Existence(Existence),
    /// What collectors read.
    Readings(Readings),
}

/// A meter of existence: an amount of the spec, times how long it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Existence {
    /// The field of the spec that holds the amount (a whole number); without one each resource is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How many of the unit make one of the field: 1073741824 for a field in GiB.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub factor: u64,
    /// False when it pauses while the resource is stopped.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub while_stopped: bool,
}

/// A meter of readings: which of them, and how many become one quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Readings {
    /// The `type` of the CloudEvents that it listens to.
    #[serde(rename = "type")]
    pub event_type: String,
    /// How the readings of an hour become one quantity.
    pub aggregation: Aggregation,
    /// JSONPath of the value in `data`; none for a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How many of the unit make one of the value: 1000 for milliseconds on a meter of microseconds.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub factor: u64,
    /// Dimensions by which quantities are kept apart: name to JSONPath in `data`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub group_by: BTreeMap<String, String>,
    /// Set when the value is the state of a counter, of which what it rose by counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<Counter>,
}

/// A counter that only rises until it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// After the value before this one it goes on with zero: `"4294967296"` for 32 bits, in the value's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_over_at: Option<Quantity>,
}

/// How many readings become one quantity. The names are OpenMeter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// All values added up.
    Sum,
    /// How many readings there were, whatever they say.
    Count,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
    /// The value with the latest time.
    Latest,
    /// How many different values there were.
    UniqueCount,
    /// All values added up, divided by how many there were, half even.
    Avg,
}

impl Aggregation {
    /// True when the quantity is a level at which something stood, not an amount that came to pass.
    pub fn is_level(self) -> bool {
        matches!(self, Aggregation::Max | Aggregation::Min | Aggregation::Latest | Aggregation::Avg)
    }
}

fn one() -> u64 {
    1
}

fn is_one(n: &u64) -> bool {
    *n == 1
}

fn yes() -> bool {
    true
}

fn is_yes(b: &bool) -> bool {
    *b
}

/// What is wrong with the declaration of a meter, by the field to blame, as in `from/readings/value`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadMeter {
    /// The field, below the meter.
    pub field: String,
    /// What is wrong.
    pub problem: String,
}

impl Meter {
    /// Everything that is wrong with the declaration by itself.
    pub fn faults(&self) -> Vec<BadMeter> {
        let mut found = Vec::new();
        let mut refuse = |wrong: bool, field: &str, problem: &str| {
            if wrong {
                found.push(BadMeter { field: field.to_owned(), problem: problem.to_owned() });
            }
        };
        refuse(self.meaning.trim().is_empty(), "meaning", "is empty");
        let timed = matches!(self.unit, BaseUnit::Microseconds | BaseUnit::CountMicroseconds | BaseUnit::ByteMicroseconds);
        match &self.from {
            Evidence::Existence(rule) => {
                refuse(!timed, "unit", "what exists is measured over time");
                refuse(self.unit == BaseUnit::Microseconds && rule.field.is_some(), "unit", "a field times its time is no plain time");
                refuse(rule.factor == 0, "from/existence/factor", "must be at least 1");
            }
            Evidence::Readings(rule) => {
                let at = |name: &str| format!("from/readings/{name}");
                let counted = matches!(rule.aggregation, Aggregation::Count | Aggregation::UniqueCount);
                refuse(rule.event_type.is_empty() || rule.event_type.len() > 255, &at("type"), "must have 1 to 255 bytes");
                refuse(counted && self.unit != BaseUnit::Counts, "unit", "what is counted is measured in counts");
                refuse(counted && rule.factor != 1, &at("factor"), "counts have none");
                refuse(rule.factor == 0, &at("factor"), "must be at least 1");
                let valued = rule.aggregation != Aggregation::Count;
                refuse(valued != rule.value.is_some(), &at("value"), if valued { "is missing" } else { "a count has none" });
                refuse(rule.counter.is_some() && rule.aggregation != Aggregation::Sum, &at("counter"), "what a counter rose by is a sum");
                let ends = rule.counter.and_then(|c| c.rolls_over_at);
                refuse(ends.is_some_and(|end| end.0 < 2), &at("counter/rolls_over_at"), "must be at least 2");
                let paths = rule.value.iter().map(|path| (at("value"), path));
                for (field, path) in paths.chain(rule.group_by.iter().map(|(name, path)| (at(&format!("group_by/{name}")), path))) {
                    if let Err(problem) = Path::parse(path) {
                        refuse(true, &field, &problem);
                    }
                }
            }
        }
        found
    }
}

/// A JSONPath (RFC 9535) that finds one value or none: names and indices only.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    text: String,
    query: JpQuery,
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let query = parse_json_path(text).map_err(|e| format!("is no JSONPath: {e}"))?;
        let single = |segment: &Segment| matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_)));
        match query.segments.iter().all(single) {
            true => Ok(Self { text: text.to_owned(), query }),
            false => Err("can find several values: only names and indices can stand in it".to_owned()),
        }
    }

    /// What stands there; nothing when there is nothing, or null.
    pub(super) fn find<'a>(&self, data: &'a Value) -> Option<&'a Value> {
        let found = jsonpath_rust::query::js_path_process(&self.query, data).ok()?;
        found.into_iter().next().map(|hit| hit.val()).filter(|v| !v.is_null())
    }

    /// The field for people: `data.duration_ms`.
    pub(super) fn field(&self) -> String {
        format!("data{}", self.text.strip_prefix('$').unwrap_or(&self.text))
    }
}

/// The meters of readings, made ready: their paths parsed, found by the type of an event.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    by_type: BTreeMap<String, Vec<Listener>>,
}

/// A meter that listens to a type of events.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub name: MeterName,
    pub rule: Readings,
    pub value: Option<Path>,
    pub group_by: Vec<(String, Path)>,
}

impl Meters {
    /// The meters of readings among these.
    ///
    /// # Errors
    ///
    /// The first meter with a fault: the catalogue refuses those, so there is none in what was published.
    pub fn new<'a>(meters: impl IntoIterator<Item = &'a Meter>) -> Result<Self, BadMeter> {
        let mut by_type: BTreeMap<String, Vec<Listener>> = BTreeMap::new();
        for meter in meters {
            if let Some(fault) = meter.faults().into_iter().next() {
                return Err(fault);
            }
            let Evidence::Readings(rule) = &meter.from else { continue };
            let parse = |path: &String| Path::parse(path).expect("a meter without faults has no bad path");
            let group_by = rule.group_by.iter().map(|(name, path)| (name.clone(), parse(path))).collect();
            let value = rule.value.as_ref().map(parse);
            let listener = Listener { name: meter.name.clone(), rule: rule.clone(), value, group_by };
            by_type.entry(rule.event_type.clone()).or_default().push(listener);
        }
        Ok(Self { by_type })
    }

    pub(super) fn listening(&self, event_type: &str) -> &[Listener] {
        self.by_type.get(event_type).map_or(&[], Vec::as_slice)
    }

    /// How the readings of a meter become a quantity.
    pub fn rule(&self, meter: &MeterName) -> Option<&Readings> {
        self.by_type.values().flatten().find(|l| l.name == *meter).map(|l| &l.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_that_could_find_several_values_is_refused_when_the_meter_is_declared() {
        for bad in ["$..a", "$.a[*]", "$.*", "$[0:2]", "$[?@.a]", "$['a','b']", "a", "$.", ""] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
        let data = json!({"a b": [{"c": 7}], "n": null});
        assert_eq!(Path::parse("$['a b'][0].c").unwrap().find(&data), Some(&json!(7)));
        assert_eq!(Path::parse("$['a b'][-1][\"c\"]").unwrap().find(&data), Some(&json!(7)));
        for absent in ["$.n", "$.x", "$['a b'][1]", "$['a b'].c"] {
            assert_eq!(Path::parse(absent).unwrap().find(&data), None, "{absent}");
        }
    }

    fn faults(meter: Value) -> Vec<String> {
        serde_json::from_value::<Meter>(meter).unwrap().faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_meter_that_contradicts_itself_is_refused_with_the_field_to_blame() {
        let existence = |unit: &str, rule: Value| json!({"name": "m", "unit": unit, "meaning": "M", "from": {"existence": rule}});
        let readings = |unit: &str, rule: Value| json!({"name": "m", "unit": unit, "meaning": "M", "from": {"readings": rule}});
        assert_eq!(faults(existence("byte_microseconds", json!({"field": "size_gib", "factor": 1 << 30}))), [""; 0]);
        assert_eq!(faults(existence("bytes", json!({}))), ["unit: what exists is measured over time"]);
        assert_eq!(faults(existence("microseconds", json!({"field": "a"}))), ["unit: a field times its time is no plain time"]);
        assert_eq!(faults(readings("counts", json!({"type": "t", "aggregation": "count"}))), [""; 0]);
        assert_eq!(
            faults(readings("bytes", json!({"type": "", "aggregation": "count", "value": "$.a", "factor": 2, "counter": {}}))),
            [
                "from/readings/type: must have 1 to 255 bytes",
                "unit: what is counted is measured in counts",
                "from/readings/factor: counts have none",
                "from/readings/value: a count has none",
                "from/readings/counter: what a counter rose by is a sum",
            ]
        );
        assert_eq!(faults(readings("bytes", json!({"type": "t", "aggregation": "sum"}))), ["from/readings/value: is missing"]);
    }
}
