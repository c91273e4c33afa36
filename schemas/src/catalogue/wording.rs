//! What is wrong with a value, for people: where, and what would be right. Values are not quoted; they may be huge, or a secret.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// A field that has no acceptable value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON pointer, as the fragment of a URI: `#/spec/memory_mib`.
    pub pointer: String,
    /// What is wrong with it: `must be at least 1`.
    pub problem: String,
}

impl Violation {
    pub(super) fn new(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), problem: problem.into() }
    }
}

/// Longest name of a field that is repeated in an answer, in bytes.
const LONGEST_NAME: usize = 100;

/// The violations of one error of the schema's check, with pointers below `root`.
pub(super) fn of(root: &str, error: &ValidationError<'_>) -> Vec<Violation> {
    let at = fragment(&format!("{root}{}", error.instance_path()));
    let one = |problem: String| vec![Violation::new(at.clone(), problem)];
    match error.kind() {
        Kind::Required { property } => {
            vec![Violation::new(child(&at, property.as_str().unwrap_or_default()), "is missing")]
        }
        Kind::AdditionalProperties { unexpected } => unexpected.iter().map(|name| unknown(&at, name)).collect(),
        Kind::Type { kind: TypeKind::Single(kind) } => one(format!("must be {}", noun(*kind))),
        Kind::Minimum { limit } => one(format!("must be at least {limit}")),
        Kind::Maximum { limit } => one(format!("must be at most {limit}")),
        Kind::MultipleOf { multiple_of } => one(format!("must be a multiple of {multiple_of}")),
        Kind::MinLength { limit: 1 } => one("must not be empty".to_owned()),
        Kind::MinLength { limit } => one(format!("must have at least {limit} characters")),
        Kind::MaxLength { limit } => one(format!("must have at most {limit} characters")),
        Kind::MinItems { limit } => one(format!("must hold at least {limit}")),
        Kind::MaxItems { limit } => one(format!("must hold at most {limit}")),
        Kind::UniqueItems => one("must not hold the same value twice".to_owned()),
        Kind::Enum { options } => one(format!("must be one of {}", listed(options))),
        Kind::Pattern { pattern } => one(format!("must match {pattern}")),
        Kind::Format { format } => one(format!("must be {}", formatted(format))),
        other => one(format!("is not acceptable ({})", other.keyword())),
    }
}

/// The pointer to a field of what `pointer` points to.
pub(super) fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", fragment(&name.replace('~', "~0").replace('/', "~1")))
}

fn unknown(at: &str, name: &str) -> Violation {
    if name.len() > LONGEST_NAME {
        return Violation::new(at, format!("has a field that does not exist, with a name of {} bytes", name.len()));
    }
    Violation::new(child(at, name), "does not exist")
}

/// Percent-encodes what may not stand in the fragment of a URI (RFC 3986, 3.5).
fn fragment(pointer: &str) -> String {
    let mut text = String::with_capacity(pointer.len());
    for (i, byte) in pointer.bytes().enumerate() {
        match byte {
            b'#' if i == 0 => text.push('#'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => text.push(byte.into()),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
            | b'/' | b'?' => {
                text.push(byte.into());
            }
            _ => write!(text, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    text
}

fn noun(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
        JsonType::Boolean => "true or false",
        JsonType::Null => "null",
    }
}

fn formatted(format: &str) -> &str {
    match format {
        "uuid" => "an id (a UUID)",
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        "date-time" => "a time (RFC 3339)",
        "email" => "an e-mail address",
        "hostname" => "a host name",
        "uri" => "a URI",
        "regex" => "a regular expression",
        other => other,
    }
}

fn listed(options: &Value) -> String {
    let names = options.as_array().into_iter().flatten().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    names.collect::<Vec<_>>().join(", ")
}
