//! The check of a spec against the schema of its service: at the door, before anything is sealed or sent.
//!
//! A spec comes from a stranger. It is small and shallow before the schema looks at it, patterns run in linear time, and no answer repeats what
//! was sent.

use super::{
    FLAVOR, FROM_FLAVOR,
    wording::{self, Violation, child},
};
use domain::catalogue::{Service, Spec};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The one field of an object that stands for a sealed value.
pub const SEALED: &str = "$sealed";

/// Root of the pointers into a spec.
const ROOT: &str = "#/spec";

/// Most values that a spec may hold, lists and objects included; the largest one of the bundled services has under 2,000.
const MOST_VALUES: usize = 10_000;

/// Deepest nesting of lists and objects in a spec.
const DEEPEST: usize = 16;

/// Most violations in one answer.
const MOST_VIOLATIONS: usize = 100;

/// Why a field is sealed before it reaches any topic, and so when it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// About a person; erased when the person must be forgotten.
    Personal,
    /// A password or the like; erased once the step that needed it is done.
    Secret,
}

impl Sensitivity {
    /// As it is written in a schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Secret => "secret",
        }
    }
}

/// A schema that cannot be used to check anything.
#[derive(Debug, thiserror::Error)]
#[error("the schema of {service} cannot be used: {problem}")]
pub struct UnusableSchema {
    /// The service.
    pub service: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The compiled schemas of one version of a service. Compiling takes about a millisecond: keep it.
#[derive(Debug)]
pub struct SpecCheck {
    by_size: Validator,
    by_flavor: Option<Validator>,
    stored: Validator,
    schema: Value,
    sensitive: BTreeMap<String, Sensitivity>,
}

impl SpecCheck {
    /// Compiles the schemas of a service.
    ///
    /// # Errors
    ///
    /// A service that [`super::review`] would refuse.
    pub fn new(service: &Service) -> Result<Self, UnusableSchema> {
        let unusable = |e: ValidationError<'_>| UnusableSchema { service: service.name.to_string(), problem: e.to_string() };
        let compiled = |without: &[&str]| compile(&reduced(&service.spec, without)).map_err(unusable);
        let takes_flavor = property(&service.spec, FLAVOR).is_some();
        let by_flavor = takes_flavor.then(|| compiled(&[FLAVOR, FROM_FLAVOR[0], FROM_FLAVOR[1]])).transpose()?;
        Ok(Self {
            by_size: compiled(&[FLAVOR])?,
            by_flavor,
            stored: compiled(&[])?,
            schema: service.spec.clone(),
            sensitive: sensitive(&service.spec),
        })
    }

    /// Checks the spec of an order, whose flavor stands beside the spec.
    ///
    /// # Errors
    ///
    /// All violations, at most 100.
    pub fn check(&self, spec: &Spec, flavor_named: bool) -> Result<(), Vec<Violation>> {
        let validator = match (flavor_named, &self.by_flavor) {
            (false, _) => &self.by_size,
            (true, Some(by_flavor)) => by_flavor,
            (true, None) => return Err(vec![Violation::new("#/flavor", "this service has no flavors")]),
        };
        let mut found = self.violations(validator, spec)?;
        for violation in &mut found {
            let name = violation.pointer.strip_prefix("#/spec/").unwrap_or_default();
            if name == FLAVOR && self.by_flavor.is_some() {
                violation.problem = "is named beside the spec, not in it".to_owned();
            } else if flavor_named && FROM_FLAVOR.contains(&name) {
                violation.problem = "comes with the flavor".to_owned();
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Checks the new spec of a resource that has the spec `before`.
    ///
    /// What was read can be sent back: sealed values that are the same, and the flavor as long as its sizes stay. Which fields may change is for
    /// the decider to say.
    ///
    /// # Errors
    ///
    /// All violations, at most 100.
    pub fn check_change(&self, before: &Spec, after: &Spec) -> Result<(), Vec<Violation>> {
        bounded(after)?;
        let mut opened = after.clone();
        let mut untouched = Vec::new();
        if let Some(fields) = opened.as_object_mut() {
            for name in self.sensitive.keys() {
                if fields.get(name).is_some_and(|v| is_sealed(v) && before.get(name) == Some(v)) {
                    fields.remove(name);
                    untouched.push(child(ROOT, name));
                }
            }
        }
        let mut found = self.violations(&self.stored, &opened)?;
        found.retain(|v| !untouched.contains(&v.pointer));
        for violation in &mut found {
            let name = violation.pointer.strip_prefix("#/spec/").unwrap_or_default();
            if self.sensitive.contains_key(name) && after.get(name).is_some_and(is_sealed) {
                violation.problem = "is sealed: send it as it was read, or a new value".to_owned();
            }
        }
        let same = |name: &str| before.get(name) == after.get(name);
        if after.get(FLAVOR).is_some() && !(same(FLAVOR) && FROM_FLAVOR.iter().all(|name| same(name))) {
            let problem = "leave it out and give vcpus and memory_mib: a flavor is chosen when ordering only";
            found.push(Violation::new(child(ROOT, FLAVOR), problem));
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// The fields to seal, and why.
    pub fn sensitive(&self) -> &BTreeMap<String, Sensitivity> {
        &self.sensitive
    }

    fn violations(&self, validator: &Validator, spec: &Spec) -> Result<Vec<Violation>, Vec<Violation>> {
        bounded(spec)?;
        let mut found: Vec<Violation> = validator.iter_errors(spec).flat_map(|e| wording::of(ROOT, &e)).take(MOST_VIOLATIONS).collect();
        fractions(&self.schema, spec, ROOT, &mut found);
        found.truncate(MOST_VIOLATIONS);
        Ok(found)
    }
}

/// True for what stands in place of a sealed value.
fn is_sealed(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key(SEALED))
}

/// Compiles a schema: linear-time patterns, formats asserted, nothing fetched.
pub(super) fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .build(schema)
}

/// The marked fields of a schema.
pub fn sensitive(schema: &Value) -> BTreeMap<String, Sensitivity> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let marked = |(name, p): (&String, &Value)| {
        let mark = serde_json::from_value(p.get("x-cirrus-sensitivity")?.clone()).ok()?;
        Some((name.clone(), mark))
    };
    properties.into_iter().flatten().filter_map(marked).collect()
}

/// The schema of a field at the top of a spec.
pub(super) fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

/// The schema without some fields at its top.
fn reduced(schema: &Value, without: &[&str]) -> Value {
    let mut schema = schema.clone();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !without.contains(&name.as_str()));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !without.iter().any(|w| name == w));
    }
    schema
}

/// Refuses what is too large or too deep to be looked at.
fn bounded(spec: &Spec) -> Result<(), Vec<Violation>> {
    let mut left = MOST_VALUES;
    let mut level: Vec<&Value> = vec![spec];
    for _ in 0..=DEEPEST {
        if level.is_empty() {
            return Ok(());
        }
        let children = level.iter().map(|v| v.as_array().map_or(0, Vec::len) + v.as_object().map_or(0, serde_json::Map::len)).sum();
        let Some(rest) = left.checked_sub(children) else {
            return Err(vec![Violation::new(ROOT, format!("holds more than {MOST_VALUES} values"))]);
        };
        left = rest;
        level = level
            .into_iter()
            .flat_map(|v| v.as_array().into_iter().flatten().chain(v.as_object().into_iter().flat_map(|o| o.values())))
            .collect();
    }
    Err(vec![Violation::new(ROOT, format!("is nested deeper than {DEEPEST} levels"))])
}

/// Finds whole numbers written as `2.0` or `2e0`: whole to JSON Schema, but not to the decider, which counts.
fn fractions(schema: &Value, value: &Value, pointer: &str, found: &mut Vec<Violation>) {
    match value {
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|n| n.fract() == 0.0) && schema.get("type") == Some(&json!("integer")) => {
            found.push(Violation::new(pointer, "must be a whole number, without a point or an exponent"));
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter().enumerate().for_each(|(i, item)| fractions(schema, item, &format!("{pointer}/{i}"), found));
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(schema) = property(schema, name) {
                    fractions(schema, field, &child(pointer, name), found);
                }
            }
        }
        _ => {}
    }
}
