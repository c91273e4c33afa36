//! JSON Schemas (2020-12) of what is written: every event in its present version, the records of the journal, the record of a command.
//!
//! Events and commands are described by their types, with the doc comments as descriptions, so they cannot drift. The records of the journal
//! are written out here by hand: they are a format that others verify without this code, and a sample that fits neither the code nor the text
//! is found by the tests. The files in `golden/schema` are these schemas, and those of older versions as they were.

use crate::{
    command::CommandRecord,
    event::{NAMES, current_version},
    record::Digest,
};
use domain::{
    event::CommandEvent,
    people::Actor,
    platform::PlatformEvent,
    resource::ResourceEvent,
    tenant::{CellEvent, MemberEvent, TenantEvent},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// The dialect of all schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The `$id` of an event's schema, also its `dataschema` as a CloudEvent.
pub fn event_id(name: &str, version: u32) -> String {
    format!("urn:cirrus:event:{name}:v{version}")
}

/// All schemas by the name of their file without `.json`: `resource.provisioned.v1`, `commit`, `takeover`, `command`.
pub fn all() -> BTreeMap<String, Value> {
    let mut schemas = events();
    schemas.insert("command".to_owned(), command());
    schemas.insert("commit".to_owned(), commit());
    schemas.insert("takeover".to_owned(), takeover());
    schemas
}

/// The schema of every event in its present version, by `<type>.v<version>`.
fn events() -> BTreeMap<String, Value> {
    let families = BTreeMap::from([
        ("command", Family::of::<CommandEvent>(&[])),
        ("platform", Family::of::<PlatformEvent>(&[])),
        ("tenant", Family::of::<TenantEvent>(&["tenant"])),
        ("cell", Family::of::<CellEvent>(&["tenant", "cell"])),
        ("member", Family::of::<MemberEvent>(&["tenant"])),
        ("resource", Family::of::<ResourceEvent>(&["tenant", "resource"])),
    ]);
    let schema = |name: &&str| {
        let version = current_version(name).expect("it is one of the names");
        let (family, kind) = name.split_once('.').expect("a type has a family");
        (format!("{name}.v{version}"), families[family].event(name, kind, version))
    };
    NAMES.iter().map(schema).collect()
}

/// The events of one enum of the domain.
struct Family {
    ids: &'static [&'static str],
    variants: BTreeMap<String, Value>,
    defs: Map<String, Value>,
}

impl Family {
    fn of<E: JsonSchema>(ids: &'static [&'static str]) -> Self {
        let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<E>().to_value();
        let defs = schema.get_mut("$defs").map(Value::take).and_then(|v| if let Value::Object(defs) = v { Some(defs) } else { None });
        let variants = schema["oneOf"].as_array().into_iter().flatten();
        let by_kind = variants.map(|v| (v["properties"]["type"]["const"].as_str().unwrap_or_default().to_owned(), v.clone()));
        Self { ids, variants: by_kind.collect(), defs: defs.unwrap_or_default() }
    }

    /// The schema of the wire form of one variant.
    fn event(&self, name: &str, kind: &str, version: u32) -> Value {
        let variant = &self.variants[kind];
        let data = variant["properties"].get("data").cloned();
        let data = data.unwrap_or_else(|| json!({ "type": "object", "additionalProperties": false }));
        let mut properties = Map::from_iter([
            ("type".to_owned(), json!({ "const": name })),
            ("version".to_owned(), json!({ "const": version })),
            ("data".to_owned(), data),
        ]);
        for id in self.ids {
            properties.insert((*id).to_owned(), json!({ "type": "string", "format": "uuid" }));
        }
        let required: Vec<&str> = ["type", "version"].iter().chain(self.ids).chain(&["data"]).copied().collect();
        let mut schema = json!({
            "$schema": DIALECT,
            "$id": event_id(name, version),
            "title": name,
            "description": variant.get("description").cloned().unwrap_or_default(),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        define(&mut schema, &self.defs);
        schema
    }
}

/// Adds those definitions that the schema refers to, directly or through others.
fn define(schema: &mut Value, defs: &Map<String, Value>) {
    let mut used = BTreeSet::new();
    references(schema, &mut used);
    let mut wanted: Vec<String> = used.iter().cloned().collect();
    while let Some(name) = wanted.pop() {
        let mut more = BTreeSet::new();
        references(&defs[&name], &mut more);
        wanted.extend(more.into_iter().filter(|name| used.insert(name.clone())));
    }
    if !used.is_empty() {
        let used: Map<String, Value> = used.into_iter().map(|name| (name.clone(), defs[&name].clone())).collect();
        schema["$defs"] = used.into();
    }
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let target = fields.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
            found.extend(target.map(str::to_owned));
            fields.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

/// The record on the commands and reports topics, as it is accepted.
fn command() -> Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<CommandRecord>().to_value();
    schema["$id"] = json!("urn:cirrus:command");
    schema
}

/// A commit of the journal. Its events are whole wire events, each with a schema of its own.
fn commit() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let actor = generator.subschema_for::<Actor>().to_value();
    let mut schema = record(
        "commit",
        "Everything that one command decided: one link of a partition's chain.",
        json!({
            "epoch": count("Epoch of the takeover under which it was written."),
            "writer": hex::<16>("Writer of that takeover."),
            "seq": count("Its place in the chain, from 1."),
            "prev": hex::<32>("Head of the chain before it."),
            "platform": object(
                "How far the platform's chain had been folded. Within a chain it never goes back.",
                json!({ "generation": count("Generation of the platform's chain."), "seq": count("Its seq.") }),
                &["generation", "seq"],
            ),
            "command": object(
                "The command that it answers; none in the commit that confirms a takeover.",
                json!({
                    "id": { "type": "string", "format": "uuid" },
                    "kind": { "type": "string", "description": "The command's kind on the wire." },
                    "origin": { "enum": ["commands", "reports"], "description": "Its topic." },
                    "generation": count("Generation of its topic."),
                    "offset": count("Kafka offset in that topic and this partition."),
                    "request": { "type": "string", "description": "Id of the attempt, for logs." },
                    "digest": hex::<32>("SHA-256 of what was asked, in canonical form."),
                    "traceparent": { "type": "string", "description": "W3C trace context." },
                }),
                &["id", "kind", "origin", "generation", "offset", "request", "digest"],
            ),
            "actor": actor,
            "time": {
                "type": "string", "format": "date-time", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$",
                "description": "When it was decided, never before the commit in front of it.",
            },
            "events": {
                "type": "array",
                "description": "What happened; at least one unless it only confirms a takeover. Each has a schema of its own, by type and version.",
                "items": {
                    "type": "object",
                    "properties": { "type": { "type": "string" }, "version": { "type": "integer", "minimum": 1 }, "data": { "type": "object" } },
                    "required": ["type", "version", "data"],
                },
            },
        }),
        &["epoch", "writer", "seq", "prev", "platform", "time", "events"],
    );
    schema["properties"]["commit"]["if"] = json!({ "required": ["command"] });
    schema["properties"]["commit"]["then"] = json!({ "properties": { "events": { "minItems": 1 } } });
    define(&mut schema, generator.definitions());
    schema
}

/// A claim of the lead of a partition.
fn takeover() -> Value {
    let base = object(
        "Where the generation before this one ended; none in generation 1.",
        json!({ "generation": count("The generation."), "head": hex::<32>("Head at its end."), "seq": count("Last seq that counts.") }),
        &["generation", "head", "seq"],
    );
    let mut schema = record(
        "takeover",
        "A writer claims the lead of a partition; whether it gets it is decided by the place of this record in the log.",
        json!({
            "epoch": { "type": "integer", "minimum": 1, "description": "One more than the epoch that the writer had read." },
            "writer": hex::<16>("Drawn for this takeover alone."),
            "seen": object(
                "What the writer had read. For people; the rule does not look at it.",
                json!({ "seq": count("Seq of the last record that it had accepted."), "head": hex::<32>("Head after that record.") }),
                &["seq", "head"],
            ),
            "genesis": object(
                "Which journal this is and where the chain begins. In epoch 1 only.",
                json!({
                    "base": base,
                    "generation": count("The generation, from 1."),
                    "journal": { "type": "string", "format": "uuid", "description": "The journal's random id." },
                    "partition": count("The partition of this chain."),
                    "partitions": count("Number of partitions that hold tenants."),
                }),
                &["generation", "journal", "partition", "partitions"],
            ),
        }),
        &["epoch", "writer", "seen"],
    );
    let takeover = &mut schema["properties"]["takeover"];
    takeover["if"] = json!({ "properties": { "epoch": { "const": 1 } } });
    takeover["then"] = json!({ "required": ["genesis"] });
    takeover["else"] = json!({ "properties": { "genesis": false } });
    schema
}

/// A record of the journal: an object with one field, which names its kind.
fn record(kind: &str, description: &str, properties: Value, required: &[&str]) -> Value {
    let mut schema = object(description, json!({ kind: object(description, properties, required) }), &[kind]);
    schema["$schema"] = json!(DIALECT);
    schema["$id"] = json!(format!("urn:cirrus:record:{kind}"));
    schema["title"] = json!(kind);
    schema
}

fn object(description: &str, properties: Value, required: &[&str]) -> Value {
    json!({
        "description": description, "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn hex<const BYTES: usize>(description: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", 2 * BYTES), "description": description })
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}
