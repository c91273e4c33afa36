//! Which fields of a document are personal or secret: a JSON Schema with the keyword `x-cirrus-sensitivity`.
//!
//! A mark holds for the value at its place, with everything below. Where a schema offers alternatives (`anyOf`, `oneOf`, `if`), a mark in
//! any of them holds, whichever the document follows: a field sealed without need does less harm than one forgotten. For the same
//! reason a schema is refused, when the platform starts, if a mark stands where this walk cannot find it.

use schemas::catalogue::Sensitivity;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// The keyword.
pub const KEYWORD: &str = "x-cirrus-sensitivity";

/// A value that must be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where it stands in the document (RFC 6901); empty for the whole of it.
    pub pointer: String,
    /// What it is about.
    pub sensitivity: Sensitivity,
}

/// Why a schema cannot be relied upon. Pointers are into the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The keyword has another value than `personal` or `secret`.
    #[error("{pointer}: x-cirrus-sensitivity is personal or secret")]
    Mark {
        /// Where.
        pointer: String,
    },
    /// A mark stands below a keyword that the walk does not follow.
    #[error("{pointer}: a mark below this keyword would not be found")]
    Hidden {
        /// Where.
        pointer: String,
    },
    /// A reference that is not `#` or `#/...`, or leads nowhere.
    #[error("{pointer}: the reference {reference:?} does not lead to a place in this schema")]
    Reference {
        /// Where.
        pointer: String,
        /// To what.
        reference: String,
    },
    /// A schema within the schema has an `$id` of its own, by which references would mean something else.
    #[error("{pointer}: an $id within the schema changes what references mean")]
    Id {
        /// Where.
        pointer: String,
    },
}

/// Keywords whose value is a schema for the same value.
const IN_PLACE: [&str; 3] = ["if", "then", "else"];
/// Keywords whose value is a list of schemas for the same value.
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value maps names to schemas which are followed, or referred to.
const MAPS: [&str; 4] = ["properties", "dependentSchemas", "$defs", "definitions"];
/// Keywords whose value is a schema for parts of the value.
const PARTS: [&str; 3] = ["additionalProperties", "items", "contains"];
/// Keywords that contain data, not schemas, whatever stands in them.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// A schema whose marks can all be found.
#[derive(Debug, Clone)]
pub struct SensitiveSchema {
    root: Value,
    marked: bool,
}

impl SensitiveSchema {
    /// Checks a schema.
    ///
    /// # Errors
    /// Any [`SchemaError`].
    pub fn new(schema: Value) -> Result<Self, SchemaError> {
        let marked = mentions(&schema);
        if marked {
            check(&schema, &schema, &mut String::new())?;
        }
        Ok(Self { root: schema, marked })
    }

    /// False when no document of this schema has anything to seal.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// What must be sealed in this document, by place; nothing is listed below another mark.
    pub fn marks(&self, document: &Value) -> Vec<Mark> {
        if !self.marked {
            return Vec::new();
        }
        let mut walk = Walk { root: &self.root, found: BTreeMap::new(), followed: HashSet::new() };
        walk.visit(&self.root, document, &mut String::new());
        let within = |pointer: &str| pointer.rmatch_indices('/').any(|(end, _)| walk.found.contains_key(&pointer[..end]));
        let outermost = walk.found.iter().filter(|(pointer, _)| !within(pointer));
        outermost.map(|(pointer, sensitivity)| Mark { pointer: pointer.clone(), sensitivity: *sensitivity }).collect()
    }
}

/// True when the keyword stands anywhere in it, in a schema or not.
fn mentions(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.contains_key(KEYWORD) || members.values().any(mentions),
        Value::Array(items) => items.iter().any(mentions),
        _ => false,
    }
}

fn check(root: &Value, schema: &Value, pointer: &mut String) -> Result<(), SchemaError> {
    let Value::Object(keywords) = schema else { return Ok(()) };
    let at = |pointer: &String| pointer.clone();
    for (keyword, value) in keywords {
        let length = pointer.len();
        push(pointer, keyword);
        match (keyword.as_str(), value) {
            (KEYWORD, value) if mark(value).is_none() => return Err(SchemaError::Mark { pointer: at(pointer) }),
            ("$id", _) if length > 0 => return Err(SchemaError::Id { pointer: at(pointer) }),
            ("$ref", reference) if resolve(root, reference).is_none() => {
                let reference = reference.as_str().unwrap_or_default().to_owned();
                return Err(SchemaError::Reference { pointer: at(pointer), reference });
            }
            ("$dynamicRef" | "$recursiveRef", _) => return Err(SchemaError::Hidden { pointer: at(pointer) }),
            (name, Value::Object(_)) if IN_PLACE.contains(&name) || PARTS.contains(&name) => check(root, value, pointer)?,
            (name, Value::Array(schemas)) if IN_PLACE_LISTS.contains(&name) || name == "prefixItems" => {
                for (index, schema) in schemas.iter().enumerate() {
                    let length = pointer.len();
                    push(pointer, &index.to_string());
                    check(root, schema, pointer)?;
                    pointer.truncate(length);
                }
            }
            (name, Value::Object(schemas)) if MAPS.contains(&name) => {
                for (name, schema) in schemas {
                    let length = pointer.len();
                    push(pointer, name);
                    check(root, schema, pointer)?;
                    pointer.truncate(length);
                }
            }
            (name, value) if !DATA.contains(&name) && mentions(value) => return Err(SchemaError::Hidden { pointer: at(pointer) }),
            _ => {}
        }
        pointer.truncate(length);
    }
    Ok(())
}

fn mark(value: &Value) -> Option<Sensitivity> {
    Sensitivity::deserialize(value).ok()
}

/// The schema that a reference within the document leads to. Percent escapes and anchors are not followed.
fn resolve<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    let pointer = reference.as_str()?.strip_prefix('#')?;
    if pointer.contains('%') { None } else { root.pointer(pointer) }
}

/// Appends a name to a JSON Pointer (RFC 6901).
pub(super) fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

struct Walk<'a> {
    root: &'a Value,
    found: BTreeMap<String, Sensitivity>,
    /// References that were followed at a place: each once, so that circles end.
    followed: HashSet<(String, String)>,
}

impl Walk<'_> {
    fn visit(&mut self, schema: &Value, value: &Value, pointer: &mut String) {
        let Value::Object(keywords) = schema else { return };
        if let Some(sensitivity) = keywords.get(KEYWORD).and_then(mark) {
            // Marked twice in different ways: a secret is forgotten sooner.
            let found = self.found.entry(pointer.clone()).or_insert(sensitivity);
            *found = (*found).max(sensitivity);
            return;
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && self.followed.insert((reference.to_owned(), pointer.clone()))
            && let Some(target) = resolve(self.root, &keywords["$ref"])
        {
            self.visit(target, value, pointer);
        }
        let lists = IN_PLACE_LISTS.iter().filter_map(|list| keywords.get(*list)?.as_array()).flatten();
        let dependent = keywords.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(|schemas| schemas.values());
        for same in IN_PLACE.iter().filter_map(|keyword| keywords.get(*keyword)).chain(lists).chain(dependent) {
            self.visit(same, value, pointer);
        }
        match value {
            Value::Object(members) => {
                let properties = keywords.get("properties").and_then(Value::as_object);
                for (name, member) in members {
                    let named = properties.and_then(|properties| properties.get(name));
                    if let Some(schema) = named.or_else(|| keywords.get("additionalProperties")) {
                        self.descend(schema, member, name, pointer);
                    }
                }
            }
            Value::Array(items) => {
                let first = keywords.get("prefixItems").and_then(Value::as_array);
                for (index, item) in items.iter().enumerate() {
                    let placed = first.and_then(|schemas| schemas.get(index));
                    let schemas = [placed.or_else(|| keywords.get("items")), keywords.get("contains")];
                    for schema in schemas.into_iter().flatten() {
                        self.descend(schema, item, &index.to_string(), pointer);
                    }
                }
            }
            _ => {}
        }
    }

    fn descend(&mut self, schema: &Value, value: &Value, name: &str, pointer: &mut String) {
        let length = pointer.len();
        push(pointer, name);
        self.visit(schema, value, pointer);
        pointer.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn marks(schema: Value, document: Value) -> Vec<(String, Sensitivity)> {
        let schema = SensitiveSchema::new(schema).unwrap();
        schema.marks(&document).into_iter().map(|mark| (mark.pointer, mark.sensitivity)).collect()
    }

    fn secret() -> Value {
        json!({ "type": "string", KEYWORD: "secret" })
    }

    fn personal() -> Value {
        json!({ "type": "string", KEYWORD: "personal" })
    }

    const SECRET: Sensitivity = Sensitivity::Secret;
    const PERSONAL: Sensitivity = Sensitivity::Personal;

    #[test]
    fn a_mark_is_found_through_every_keyword_that_leads_to_a_value() {
        let user = json!({ "user": { "password": "x" } });
        let inner = json!({ "properties": { "password": secret() } });
        let found = vec![("/user/password".to_owned(), SECRET)];
        for schema in [
            json!({ "properties": { "user": inner } }),
            json!({ "additionalProperties": inner }),
            json!({ "properties": { "other": true }, "additionalProperties": inner }),
            json!({ "allOf": [true, { "properties": { "user": inner } }] }),
            json!({ "anyOf": [{ "type": "string" }, { "properties": { "user": inner } }] }),
            json!({ "oneOf": [{ "properties": { "user": { "oneOf": [inner] } } }] }),
            json!({ "if": { "required": ["user"] }, "then": { "properties": { "user": inner } } }),
            json!({ "if": true, "else": { "properties": { "user": inner } } }),
            json!({ "dependentSchemas": { "user": { "properties": { "user": inner } } } }),
            json!({ "properties": { "user": { "$ref": "#/$defs/user" } }, "$defs": { "user": inner } }),
            json!({ "$ref": "#/definitions/a~1b", "definitions": { "a/b": { "properties": { "user": inner } } } }),
            json!({ "properties": { "user": { "$ref": "#/$defs/one" } }, "$defs": { "one": { "$ref": "#/$defs/two" }, "two": inner } }),
        ] {
            assert_eq!(marks(schema.clone(), user.clone()), found, "{schema}");
        }
    }

    #[test]
    fn each_item_of_a_list_is_marked_by_its_own_schema() {
        let schema = json!({ "prefixItems": [personal()], "items": secret() });
        assert_eq!(marks(schema, json!(["a", "b", "c"])), [("/0".into(), PERSONAL), ("/1".into(), SECRET), ("/2".into(), SECRET)]);
        assert_eq!(marks(json!({ "contains": secret() }), json!(["a"])), [("/0".into(), SECRET)]);
    }

    #[test]
    fn a_marked_value_is_sealed_whole_whatever_it_is() {
        let schema = json!({ "properties": { "a/b~": { KEYWORD: "secret", "properties": { "inner": personal() } } } });
        for value in [json!("x"), json!(null), json!(7), json!({ "inner": "x" }), json!([1])] {
            assert_eq!(marks(schema.clone(), json!({ "a/b~": value })), [("/a~1b~0".into(), SECRET)]);
        }
        assert_eq!(marks(secret(), json!("all of it")), [(String::new(), SECRET)]);
        assert_eq!(marks(schema, json!({ "other": 1 })), []);
    }

    #[test]
    fn a_mark_below_another_is_not_listed() {
        let schema = json!({ "allOf": [
            { "properties": { "user": { "properties": { "name": personal() } } } },
            { "properties": { "user": { KEYWORD: "secret" }, "user2": { "properties": { "name": personal() } } } },
        ] });
        let document = json!({ "user": { "name": "ada" }, "user2": { "name": "bob" } });
        assert_eq!(marks(schema, document), [("/user".into(), SECRET), ("/user2/name".into(), PERSONAL)]);
    }

    #[test]
    fn what_is_marked_as_both_is_a_secret() {
        for both in [json!({ "allOf": [personal(), secret()] }), json!({ "allOf": [secret(), personal()] })] {
            assert_eq!(marks(both, json!("x")), [(String::new(), SECRET)]);
        }
    }

    #[test]
    fn schemas_that_refer_to_themselves_end() {
        let tree = json!({
            "properties": { "key": secret(), "children": { "items": { "$ref": "#" } } },
            "allOf": [{ "$ref": "#" }],
        });
        let document = json!({ "key": "a", "children": [{ "key": "b", "children": [{ "key": "c" }] }] });
        let found: Vec<String> = marks(tree, document).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(found, ["/children/0/children/0/key", "/children/0/key", "/key"]);
    }

    #[test]
    fn a_schema_whose_marks_would_be_missed_is_refused() {
        let refused = |schema: Value| SensitiveSchema::new(schema).unwrap_err();
        let hidden = |pointer: &str| SchemaError::Hidden { pointer: pointer.to_owned() };
        assert_eq!(refused(json!({ "patternProperties": { "^p": secret() } })), hidden("/patternProperties"));
        assert_eq!(refused(json!({ "not": { "properties": { "a": secret() } } })), hidden("/not"));
        assert_eq!(refused(json!({ "items": [secret()] })), hidden("/items"));
        assert_eq!(
            refused(json!({ "properties": { "a": { "unevaluatedProperties": secret() } } })),
            hidden("/properties/a/unevaluatedProperties")
        );
        assert_eq!(refused(json!({ "allOf": [{ "$dynamicRef": "#x" }, secret()] })), hidden("/allOf/0/$dynamicRef"));
        assert_eq!(refused(json!({ KEYWORD: "Secret" })), SchemaError::Mark { pointer: format!("/{KEYWORD}") });
        for reference in ["https://example.org/s", "#anchor", "#/$defs/absent", "other.json#/a", "#/%24defs/a"] {
            let schema = json!({ "properties": { "a": { "$ref": reference }, "b": secret() }, "$defs": { "a": true } });
            assert_eq!(refused(schema), SchemaError::Reference { pointer: "/properties/a/$ref".into(), reference: reference.into() });
        }
        let nested = json!({ "$id": "https://a", "properties": { "a": { "$id": "b" }, "b": secret() } });
        assert_eq!(refused(nested), SchemaError::Id { pointer: "/properties/a/$id".into() });
    }

    #[test]
    fn a_property_may_be_named_like_a_keyword_and_data_is_not_a_schema() {
        let schema = json!({
            "properties": { "patternProperties": { "properties": { "not": secret() } }, "$ref": { "type": "string" }, KEYWORD: personal() },
            "default": { KEYWORD: "not a mark" },
        });
        let document = json!({ "patternProperties": { "not": "x" }, "$ref": "#y", KEYWORD: "z" });
        assert_eq!(marks(schema, document), [("/patternProperties/not".into(), SECRET), (format!("/{KEYWORD}"), PERSONAL)]);
    }
}
