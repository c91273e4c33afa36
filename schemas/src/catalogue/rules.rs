//! What a service owes beyond its shape: rules by itself, and rules among all services.

use super::{
    FLAVOR, FROM_FLAVOR,
    check::{Sensitivity, compile, property, sensitive},
    meters,
    wording::{self, Violation, child},
};
use domain::catalogue::{Action, Service};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Largest whole number that every JSON reader keeps exactly (RFC 7493): 2^53 - 1.
const LARGEST: u64 = 9_007_199_254_740_991;

/// Formats whose check is a promise here.
const FORMATS: [&str; 7] = ["date-time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];

/// What is wrong with a service by itself.
pub(super) fn of(service: &Service) -> Vec<Violation> {
    let mut found = Vec::new();
    plain_fields(service, &mut found);
    let before = found.len();
    schema(&service.spec, "#/spec", &mut found);
    if service.spec.get("type") != Some(&json!("object")) {
        found.push(Violation::new("#/spec/type", "a spec is an object"));
    }
    if found.len() == before {
        let faulty = jsonschema::draft202012::meta::validate(&service.spec).err().or_else(|| compile(&service.spec).err());
        found.extend(faulty.iter().flat_map(|e| wording::of("#/spec", e)));
    }
    marks(service, &mut found);
    named_fields(service, &mut found);
    found.extend(meters::of(service));
    found
}

/// What is wrong among services, each with the index of the service to blame.
pub(super) fn across(services: &[&Service]) -> Vec<(usize, Violation)> {
    let mut found = Vec::new();
    let names: BTreeSet<&str> = services.iter().map(|s| s.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    let mut dimensions = BTreeMap::new();
    for (i, service) in services.iter().enumerate() {
        if !seen.insert(&service.name) {
            found.push((i, Violation::new("#/name", format!("there are two services {}", service.name))));
        }
        for (n, measure) in service.dimensions.iter().enumerate() {
            let first = dimensions.entry(&measure.dimension).or_insert((service, measure));
            for (part, theirs, ours) in [("unit", &first.1.unit, &measure.unit), ("meaning", &first.1.meaning, &measure.meaning)] {
                if theirs != ours {
                    let problem = format!("{} is {theirs:?} in {}", measure.dimension, first.0.name);
                    found.push((i, Violation::new(format!("#/dimensions/{n}/{part}"), problem)));
                }
            }
        }
        let absent = |name: &str| format!("there is no service {name}");
        for (n, reference) in service.references.iter().enumerate() {
            if !names.contains(reference.kind.as_str()) {
                found.push((i, Violation::new(format!("#/references/{n}/kind"), absent(reference.kind.as_str()))));
            }
        }
        if let Some(to) = service.attaches_to.as_ref().filter(|to| !names.contains(to.as_str())) {
            found.push((i, Violation::new("#/attaches_to", absent(to.as_str()))));
        }
    }
    found.extend(meters::across(services));
    found
}

fn plain_fields(service: &Service, found: &mut Vec<Violation>) {
    let mut refuse = |wrong: bool, pointer: &str, problem: &str| {
        if wrong {
            found.push(Violation::new(pointer, problem));
        }
    };
    refuse(service.version == 0, "#/version", "versions count from 1");
    refuse(service.title.trim().is_empty(), "#/title", "is empty");
    refuse(service.driver.trim().is_empty(), "#/driver", "is empty");
    refuse(!service.levels.cell && !service.levels.tenant, "#/levels", "can be placed nowhere");
    let has = |action: Action| service.actions.contains(&action);
    refuse(service.power && !(has(Action::Start) && has(Action::Stop)), "#/power", "what has power can be started and stopped");
    refuse(!service.power && !service.actions.is_empty(), "#/actions", "what has no power cannot be started, stopped or rebooted");
    for (name, seconds) in
        [("create_s", service.deadlines.create_s), ("change_s", service.deadlines.change_s), ("delete_s", service.deadlines.delete_s)]
    {
        refuse(seconds == 0, &format!("#/deadlines/{name}"), "a step takes at least a second");
    }
    for (n, action) in service.actions.iter().enumerate() {
        refuse(service.actions[..n].contains(action), &format!("#/actions/{n}"), "stands here twice");
    }
    refuse(service.dimensions.is_empty(), "#/dimensions", "what counts against no quota could be ordered without end");
    for (n, measure) in service.dimensions.iter().enumerate() {
        refuse(measure.unit.trim().is_empty(), &format!("#/dimensions/{n}/unit"), "is empty");
        refuse(measure.meaning.trim().is_empty(), &format!("#/dimensions/{n}/meaning"), "is empty");
        let twice = service.dimensions[..n].iter().any(|m| m.dimension == measure.dimension);
        refuse(twice, &format!("#/dimensions/{n}/dimension"), "stands here twice");
    }
}

/// The subset of JSON Schema that a spec may use.
fn schema(schema: &Value, pointer: &str, found: &mut Vec<Violation>) {
    let mut refuse = |pointer: String, problem: String| found.push(Violation::new(pointer, problem));
    let Some(fields) = schema.as_object() else {
        return refuse(pointer.to_owned(), "must be a schema with a type".to_owned());
    };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let own: &[&str] = match kind {
        "object" => &["properties", "required", "additionalProperties"],
        "array" => &["items", "minItems", "maxItems", "uniqueItems"],
        "string" => &["minLength", "maxLength", "pattern", "format", "readOnly", "x-cirrus-sensitivity"],
        "integer" => &["minimum", "maximum", "multipleOf"],
        "boolean" => &[],
        _ => return refuse(format!("{pointer}/type"), "must be object, array, string, integer or boolean".to_owned()),
    };
    for keyword in fields.keys() {
        if !own.contains(&keyword.as_str()) && !["type", "title", "description", "examples", "enum"].contains(&keyword.as_str()) {
            refuse(child(pointer, keyword), format!("the keyword {keyword} cannot be used with the type {kind}"));
        }
    }
    let within = |name: &str, most: u64| fields.get(name).and_then(Value::as_u64).is_some_and(|n| n <= most);
    let listed = fields.get("enum").and_then(Value::as_array).is_some_and(|options| !options.is_empty());
    match kind {
        "string" if !listed && !within("maxLength", 65_535) => {
            refuse(pointer.to_owned(), "a text needs a maxLength, at most 65535, or an enum".to_owned());
        }
        "integer" if !(listed || fields.get("minimum").is_some_and(Value::is_u64) && within("maximum", LARGEST)) => {
            refuse(pointer.to_owned(), format!("a number needs a minimum, at least 0, and a maximum, at most {LARGEST}, or an enum"));
        }
        "array" if !within("maxItems", 1_000) => refuse(pointer.to_owned(), "a list needs maxItems, at most 1000".to_owned()),
        "object" if fields.get("additionalProperties") != Some(&json!(false)) => {
            refuse(pointer.to_owned(), "an object needs additionalProperties: false".to_owned());
        }
        _ => {}
    }
    if let Some(format) = fields.get("format").filter(|f| !FORMATS.iter().any(|known| f == known)) {
        refuse(format!("{pointer}/format"), format!("{format} is not among {}", FORMATS.join(", ")));
    }
    match kind {
        "array" => match fields.get("items") {
            Some(items) => self::schema(items, &format!("{pointer}/items"), found),
            None => refuse(pointer.to_owned(), "a list needs items".to_owned()),
        },
        "object" => object(fields, pointer, found),
        _ => {}
    }
}

fn object(fields: &Map<String, Value>, pointer: &str, found: &mut Vec<Violation>) {
    let empty = Map::new();
    let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    for (name, property) in properties {
        let at = child(&format!("{pointer}/properties"), name);
        let described = property.get("description").and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
        if !described {
            found.push(Violation::new(at.clone(), "a field needs a description"));
        }
        schema(property, &at, found);
    }
    for (n, name) in fields.get("required").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if !name.as_str().is_some_and(|name| properties.contains_key(name)) {
            found.push(Violation::new(format!("{pointer}/required/{n}"), format!("there is no field {name}")));
        }
    }
}

/// Sensitive and read-only fields.
fn marks(service: &Service, found: &mut Vec<Violation>) {
    let properties = service.spec.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let at = child("#/spec/properties", name);
        if let Some(mark) = property.get("x-cirrus-sensitivity")
            && serde_json::from_value::<Sensitivity>(mark.clone()).is_err()
        {
            found.push(Violation::new(format!("{at}/x-cirrus-sensitivity"), "must be personal or secret"));
        }
        if property.get("readOnly").is_some() && name != FLAVOR {
            found.push(Violation::new(format!("{at}/readOnly"), "only a flavor is written by Cirrus"));
        }
        nested_marks(property, &at, found);
    }
    let Some(flavor) = property(&service.spec, FLAVOR) else { return };
    let at = child("#/spec/properties", FLAVOR);
    if flavor.get("readOnly") != Some(&json!(true)) || is_required(service, FLAVOR) {
        found.push(Violation::new(at.clone(), "a flavor is named beside the spec: it is readOnly and not required"));
    }
    for name in FROM_FLAVOR {
        if kind_of(service, name) != Some("integer") || !is_required(service, name) {
            found.push(Violation::new(at.clone(), format!("a flavor gives {name}, which must be a required whole number")));
        }
    }
}

fn nested_marks(schema: &Value, at: &str, found: &mut Vec<Violation>) {
    let items = schema.get("items").map(|items| (format!("{at}/items"), items));
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let below = items.into_iter().chain(properties.map(|(name, p)| (child(&format!("{at}/properties"), name), p)));
    for (at, schema) in below {
        for mark in ["x-cirrus-sensitivity", "readOnly"].into_iter().filter(|mark| schema.get(mark).is_some()) {
            found.push(Violation::new(format!("{at}/{mark}"), "only a field at the top of a spec can be marked"));
        }
        nested_marks(schema, &at, found);
    }
}

/// Dimensions, references and changes name fields of the spec.
fn named_fields(service: &Service, found: &mut Vec<Violation>) {
    let sealed = sensitive(&service.spec);
    let mut refuse = |pointer: String, problem: String| found.push(Violation::new(pointer, problem));
    let absent = |field: &str| format!("the spec has no field {field}");
    for (n, measure) in service.dimensions.iter().enumerate() {
        let Some(field) = &measure.field else { continue };
        let at = format!("#/dimensions/{n}/field");
        match kind_of(service, field) {
            None => refuse(at, absent(field)),
            Some("integer") if is_required(service, field) => {}
            Some(_) => refuse(at, format!("{field} must be a required whole number to count against quota")),
        }
    }
    for (n, reference) in service.references.iter().enumerate() {
        let at = format!("#/references/{n}/field");
        let Some(property) = property(&service.spec, &reference.field) else {
            refuse(at, absent(&reference.field));
            continue;
        };
        let one = property.get("items").unwrap_or(property);
        if one.get("format") != Some(&json!("uuid")) {
            refuse(at, format!("{} must be an id (format: uuid) or a list of ids", reference.field));
        } else if sealed.contains_key(&reference.field) {
            refuse(at, format!("{} is sealed: nobody could follow it", reference.field));
        } else if service.references[..n].iter().any(|r| r.field == reference.field) {
            refuse(at, "stands here twice".to_owned());
        }
    }
    for (n, change) in service.changes.iter().enumerate() {
        let at = format!("#/changes/{n}/field");
        match kind_of(service, &change.field) {
            None => refuse(at, absent(&change.field)),
            Some(kind) if change.grows_only && kind != "integer" => refuse(at, format!("{} is no number that can grow", change.field)),
            Some(_) if service.changes[..n].iter().any(|c| c.field == change.field) => refuse(at, "stands here twice".to_owned()),
            Some(_) => {}
        }
    }
}

pub(super) fn kind_of<'a>(service: &'a Service, field: &str) -> Option<&'a str> {
    property(&service.spec, field).map(|p| p.get("type").and_then(Value::as_str).unwrap_or_default())
}

pub(super) fn is_required(service: &Service, field: &str) -> bool {
    service.spec.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == field))
}
