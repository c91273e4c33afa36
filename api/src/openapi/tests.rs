use crate::router::documented;
use serde_json::Value;
use std::{fs, path::Path};

/// Compares with a file that a person has looked at.
fn compare(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, found).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == golden, "{name} differs: run the tests with UPDATE_GOLDEN=1 and look at the difference");
}

fn document() -> Value {
    serde_json::to_value(documented().1).unwrap()
}

#[test]
fn the_document_is_the_one_that_was_looked_at() {
    compare("openapi.json", &(serde_json::to_string_pretty(&document()).unwrap() + "\n"));
}

#[test]
fn every_route_says_who_may_use_it() {
    let document = document();
    let mut lines = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(_, operation)| operation.get("responses").is_some()) {
            let permission = operation["x-permission"].as_str();
            assert!(permission.is_some() || !path.starts_with("/v1/"), "{method} {path} names no permission");
            lines.push(format!("{:<7}{path:<62}{}", method.to_uppercase(), permission.unwrap_or("nobody is asked")));
        }
    }
    lines.sort_by(|a, b| a[7..].cmp(&b[7..]));
    compare("routes.txt", &(lines.join("\n") + "\n"));
}

#[test]
fn every_write_needs_a_key_and_every_reference_leads_somewhere() {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["post", "put", "patch", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            let named = |p: &&Value| p["name"] == "Idempotency-Key" && p["required"] == true;
            assert!(operation["parameters"].as_array().unwrap().iter().find(named).is_some(), "{method} {path}");
        }
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
