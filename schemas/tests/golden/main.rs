//! The wire format, frozen: one sample of everything that was ever written, and the JSON Schemas.
//!
//! `golden/events`, `golden/records`, `golden/commands` and `golden/refusals` are append-only: logs hold such bytes for ever. A sample that is
//! missing is written by
//!
//! ```text
//! CIRRUS_GOLDEN=write cargo test -p schemas --test golden
//! ```
//!
//! which also writes `golden/schema` anew and adds new samples to `golden/SHA256SUMS`. It never changes or removes a sample.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod events;
mod files;
mod records;
mod refusals;

use domain::platform::FORMAT;
use files::{Golden, read_json, writing};
use schemas::{event, schema};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Compares samples of a kind with their files, writes the missing ones if asked to, and returns what the files hold.
fn frozen(directory: &str, samples: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let golden = Golden::open();
    for (name, sample) in samples {
        golden.write_missing(&format!("{directory}/{name}.json"), sample);
    }
    golden.all(directory)
}

fn schema_of(name: &str) -> jsonschema::Validator {
    let path = format!("schema/{name}.json");
    jsonschema::draft202012::options().should_validate_formats(true).build(&read_json(&path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn assert_fits(schema: &jsonschema::Validator, sample: &Value, name: &str) {
    let errors: Vec<String> = schema.iter_errors(sample).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{name} does not fit its schema: {errors:#?}");
}

/// Samples of old versions are made by nobody any more; those of the present version are made by `events::samples`.
fn event_files() -> BTreeMap<String, Value> {
    let present: BTreeMap<String, Value> = events::samples()
        .iter()
        .map(|e| {
            let wire = event::WireEvent::of(e);
            (format!("{}.v{}", wire.name, wire.version), serde_json::to_value(wire).unwrap())
        })
        .collect();
    frozen("events", &present)
}

#[test]
fn the_list_of_events_is_what_the_domain_can_say() {
    let said: Vec<String> = events::samples().iter().map(|e| event::WireEvent::of(e).name).collect();
    let distinct: BTreeSet<&str> = said.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), said.len(), "two variants share a name");
    assert_eq!(distinct, event::NAMES.iter().copied().collect(), "NAMES and the enums of the domain differ");
    assert_eq!(distinct.len(), event::NAMES.len(), "NAMES holds a name twice");
}

#[test]
fn every_version_of_every_event_has_a_sample_and_no_sample_is_of_nothing() {
    let versions = |name: &&str| {
        let name = (*name).to_owned();
        (1..=event::current_version(&name).unwrap()).map(move |v| format!("{name}.v{v}"))
    };
    let expected: BTreeSet<String> = event::NAMES.iter().flat_map(versions).collect();
    assert_eq!(event_files().into_keys().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_event_ever_written_can_be_read_and_the_present_version_is_written_as_it_was() {
    for (name, sample) in event_files() {
        let wire: event::WireEvent = serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(name, format!("{}.v{}", wire.name, wire.version), "the file's name is not what it holds");
        let present = Some(wire.version) == event::current_version(&wire.name);
        let event = wire.into_event().unwrap_or_else(|e| panic!("{name}: {e}"));
        if present {
            let again: Value = serde_json::from_str(event::encode(&event, FORMAT).unwrap().get()).unwrap();
            assert_eq!(again, sample, "{name} is written differently now: that needs a new version");
        }
    }
}

#[test]
fn what_is_written_now_is_read_back_the_same() {
    for event in events::samples() {
        assert_eq!(event::decode(&event::encode(&event, FORMAT).unwrap()).unwrap(), event);
    }
}

#[test]
fn every_refusal_ever_written_can_be_read_and_is_written_as_it_was() {
    for (reason, sample) in frozen("refusals", &refusals::samples()) {
        let refusal: domain::refusal::Refusal = serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{reason}: {e}"));
        assert_eq!(serde_json::to_value(&refusal).unwrap(), sample, "{reason} is written differently now");
        assert_eq!(sample["reason"], reason.as_str());
    }
}

#[test]
fn every_command_ever_written_can_be_read_and_is_written_as_it_was() {
    let samples: BTreeMap<String, Value> =
        commands::samples().iter().map(|r| (r.command.kind().to_owned(), serde_json::to_value(r).unwrap())).collect();
    assert_eq!(samples.len(), commands::samples().len(), "two commands share a kind");
    let schema = {
        schemas_are_written();
        schema_of("command")
    };
    for (kind, sample) in frozen("commands", &samples) {
        let record =
            schemas::command::CommandRecord::decode(&serde_json::to_vec(&sample).unwrap()).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(record.command.kind(), kind, "the kind in commits is not the kind on the wire");
        assert_eq!(serde_json::from_slice::<Value>(&record.encode()).unwrap(), sample, "{kind} is written differently now");
        assert_fits(&schema, &sample, &kind);
    }
}

#[test]
fn every_record_of_a_journal_ever_written_can_be_read_and_is_written_as_it_was() {
    schemas_are_written();
    for (name, sample) in frozen("records", &records::samples()) {
        let bytes = serde_json::to_vec(&sample).unwrap();
        let record = schemas::record::Record::<Box<serde_json::value::RawValue>>::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again: Value = serde_json::from_slice(&record.encode().unwrap()).unwrap();
        assert_eq!(again, sample, "{name} is written differently now");
        let kind = sample.as_object().unwrap().keys().next().unwrap();
        assert_fits(&schema_of(kind), &sample, &name);
        for event in sample.pointer("/commit/events").and_then(Value::as_array).into_iter().flatten() {
            assert_fits(&schema_of(&format!("{}.v{}", event["type"].as_str().unwrap(), event["version"])), event, &name);
        }
    }
}

#[test]
fn a_record_that_the_code_refuses_the_schema_refuses_too() {
    schemas_are_written();
    for (name, sample) in records::wrong() {
        let bytes = serde_json::to_vec(&sample).unwrap();
        assert!(schemas::record::Record::<Box<serde_json::value::RawValue>>::decode(&bytes).is_err(), "{name}");
        let kind = sample.as_object().unwrap().keys().next().unwrap();
        assert!(!schema_of(kind).is_valid(&sample), "{name}");
    }
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    schemas_are_written();
    for (name, schema) in schema::all() {
        let published = read_json(&format!("schema/{name}.json"));
        assert!(
            published == schema,
            "golden/schema/{name}.json is not what the code says; if the change is meant, write it anew and look at the diff"
        );
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn every_event_fits_the_schema_of_its_version() {
    schemas_are_written();
    for (name, sample) in event_files() {
        assert_fits(&schema_of(&name), &sample, &name);
    }
    for event in events::samples() {
        let wire = event::WireEvent::of(&event);
        let name = format!("{}.v{}", wire.name, wire.version);
        assert_fits(&schema_of(&name), &serde_json::to_value(wire).unwrap(), &name);
    }
}

#[test]
fn an_event_with_a_field_less_or_one_more_beside_its_data_does_not_fit() {
    schemas_are_written();
    for (name, sample) in event_files() {
        let schema = schema_of(&name);
        for field in sample.as_object().unwrap().keys() {
            let mut less = sample.clone();
            less.as_object_mut().unwrap().remove(field);
            assert!(!schema.is_valid(&less), "{name} without {field}");
        }
        let mut more = sample.clone();
        more["more"] = true.into();
        assert!(!schema.is_valid(&more), "{name} with one field more");
    }
}

#[test]
fn no_sample_was_altered_or_removed() {
    // The other tests write what is missing; all that is there when this one begins has to be listed.
    frozen("refusals", &refusals::samples());
    event_files();
    Golden::open().verify();
}

fn schemas_are_written() {
    if writing() {
        let golden = Golden::open();
        for (name, schema) in schema::all() {
            golden.write_derived(&format!("schema/{name}.json"), &schema);
        }
    }
}
