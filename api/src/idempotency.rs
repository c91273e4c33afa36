//! What makes a request the same request: its command id, and its fingerprint.
//!
//! The *command id* says which request a caller means: the same caller, tenant, route and `Idempotency-Key` give the same id in every
//! process and for ever, so that a request which is sent again decides nothing and finds its first answer. The *fingerprint* says what
//! was asked; the same id with another fingerprint is a mistake of the caller and is refused.
//!
//! Both are written to the journal. Neither the namespace, nor the order of parts, nor the form of the canonical document below can
//! change without making yesterday's retries today's new requests.

use crate::problem::{Problem, ProblemType, push_segment};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// The request header that carries the key.
pub const HEADER: &str = "idempotency-key";

/// The namespace of command ids (RFC 9562, section 5.5): drawn once, at random.
const COMMANDS: Uuid = Uuid::from_u128(0x9d1f_5c3e_6a0b_4c57_8b3e_2f64_71d0_ae95);

/// The greatest whole number that every JSON reader represents exactly (RFC 7493, section 2.2), as is its negative.
const GREATEST_EXACT: u64 = (1 << 53) - 1;

/// An `Idempotency-Key`: 1 to 255 visible ASCII characters, chosen by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a request has no usable `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no such header.
    #[error("every write needs the header Idempotency-Key")]
    Missing,
    /// There are two, and no rule says which of them counts.
    #[error("the header Idempotency-Key is given more than once")]
    Repeated,
    /// It is empty or longer than 255 characters.
    #[error("the header Idempotency-Key has {0} characters, not 1 to 255")]
    Length(usize),
    /// It has a space, a control character or a character outside ASCII.
    #[error("the header Idempotency-Key has a character that is not visible ASCII")]
    Character,
}

impl IdempotencyKey {
    /// Checks a key as it was sent.
    ///
    /// # Errors
    /// [`KeyError::Length`] or [`KeyError::Character`].
    pub fn parse(sent: &[u8]) -> Result<Self, KeyError> {
        if sent.is_empty() || sent.len() > 255 {
            return Err(KeyError::Length(sent.len()));
        }
        if !sent.iter().all(u8::is_ascii_graphic) {
            return Err(KeyError::Character);
        }
        Ok(Self(sent.iter().copied().map(char::from).collect()))
    }

    /// The key among these headers.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, KeyError> {
        let mut values = headers.get_all(HEADER).iter();
        let value = values.next().ok_or(KeyError::Missing)?;
        if values.next().is_some() {
            return Err(KeyError::Repeated);
        }
        Self::parse(value.as_bytes())
    }

    /// The key as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let kind = match error {
            KeyError::Missing => ProblemType::MissingIdempotencyKey,
            KeyError::Repeated | KeyError::Length(_) | KeyError::Character => ProblemType::InvalidIdempotencyKey,
        };
        Problem::new(kind).detail(format!("{error}.")).with("header", "Idempotency-Key")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::from_headers(&parts.headers)?)
    }
}

/// Who asks for what, as far as it identifies a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandOrigin<'a> {
    /// The tenant on whose chain the command is decided; `None` is the platform's own chain.
    pub tenant: Option<Uuid>,
    /// The issuer of the caller's token.
    pub issuer: &'a str,
    /// The caller's subject at that issuer.
    pub subject: &'a str,
    /// Method and route template, such as `POST /v1/tenants/{tenant}/servers`: never the path with its values.
    pub route: &'a str,
}

/// The id of the command that this caller means by this key: UUIDv5 over length-prefixed parts.
pub fn command_id(origin: CommandOrigin<'_>, key: &IdempotencyKey) -> Uuid {
    let tenant = origin.tenant.map_or_else(Vec::new, |tenant| tenant.as_bytes().to_vec());
    let parts = [&tenant, origin.issuer.as_bytes(), origin.subject.as_bytes(), origin.route.as_bytes(), key.0.as_bytes()];
    Uuid::new_v5(&COMMANDS, &length_prefixed(&parts))
}

/// Joins parts so that no two lists of parts give the same bytes: each is preceded by its length (8 bytes, big-endian).
pub(crate) fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

/// What a request asks for, as far as it must be equal in every repetition.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestContent {
    /// The values of the path's parameters by name.
    pub path: BTreeMap<String, String>,
    /// The values of each query parameter, in the order sent.
    pub query: BTreeMap<String, Vec<String>>,
    /// The header `If-Match`, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// The body, if any. Personal and secret fields are blinded first (`seal::blind`): a plain digest of a short secret could be
    /// searched for, and the fingerprint outlives the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

impl RequestContent {
    /// Adds the pairs of a query, already decoded.
    #[must_use]
    pub fn with_query<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, value) in pairs {
            self.query.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        self
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of this content.
    ///
    /// # Errors
    /// [`InexactNumber`]: canonical JSON writes numbers as IEEE 754 doubles, so that above 2^53 two different requests would have one
    /// fingerprint.
    pub fn fingerprint(&self) -> Result<Fingerprint, InexactNumber> {
        if let Some(body) = &self.body {
            exact(body, &mut String::from("#"))?;
        }
        let canonical = serde_json_canonicalizer::to_vec(self).expect("maps with string keys and finite numbers are always JSON");
        Ok(Fingerprint(Sha256::digest(&canonical).into()))
    }
}

/// A whole number in the body is too great for every JSON reader to represent it exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the number {number} cannot be represented exactly; send it as a string or not above 9007199254740991")]
pub struct InexactNumber {
    /// Where it stands.
    pub pointer: String,
    /// The number.
    pub number: Number,
}

impl From<InexactNumber> for Problem {
    fn from(error: InexactNumber) -> Self {
        Problem::new(ProblemType::InvalidBody).field(error.pointer.clone(), format!("{error}."))
    }
}

fn exact(value: &Value, pointer: &mut String) -> Result<(), InexactNumber> {
    let length = pointer.len();
    match value {
        Value::Number(number) if number.is_u64() || number.is_i64() => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|magnitude| magnitude > GREATEST_EXACT) {
                return Err(InexactNumber { pointer: pointer.clone(), number: number.clone() });
            }
        }
        // serde_json reads a whole number beyond 64 bits as a double, by which it has already lost digits.
        Value::Number(number) if number.as_f64().is_some_and(|double| double.fract() == 0.0 && double.abs() > GREATEST_EXACT as f64) => {
            return Err(InexactNumber { pointer: pointer.clone(), number: number.clone() });
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                exact(item, pointer)?;
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                push_segment(pointer, name);
                exact(member, pointer)?;
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

/// SHA-256 of what a request asks for. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The first 8 bytes, big-endian: what the decider keeps of a command for ever.
    pub fn short(self) -> u64 {
        let (first, _) = self.0.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_be_bytes(*first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ORIGIN: CommandOrigin<'_> =
        CommandOrigin { tenant: Some(Uuid::from_u128(7)), issuer: "https://id.example", subject: "ada", route: "POST /v1/servers" };

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::parse(text.as_bytes()).unwrap()
    }

    fn fingerprint(body: &str) -> Fingerprint {
        RequestContent { body: Some(serde_json::from_str(body).unwrap()), ..RequestContent::default() }.fingerprint().unwrap()
    }

    #[test]
    fn an_id_and_a_fingerprint_once_given_never_change() {
        assert_eq!(command_id(ORIGIN, &key("k-1")).to_string(), "a9cd1d39-7d30-546b-85e5-1aec7ef989ce");
        let content = RequestContent {
            path: BTreeMap::from([("tenant".into(), "7".into())]),
            if_match: Some("\"3\"".into()),
            body: Some(json!({"name": "web", "vcpus": 2})),
            ..RequestContent::default()
        }
        .with_query([("validate", "a"), ("validate", "b")]);
        assert_eq!(content.fingerprint().unwrap().short(), 0xc5f3_7abd_806b_ea7f);
        assert_eq!(content.fingerprint().unwrap().to_string(), "c5f37abd806bea7f4b2a329db7404a06b74c6c67ddf597e353705322ad4e0886");
    }

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        for good in ["a", "~!\"#", &"x".repeat(255)] {
            assert_eq!(key(good).as_str(), good);
        }
        assert_eq!(IdempotencyKey::parse(b""), Err(KeyError::Length(0)));
        assert_eq!(IdempotencyKey::parse(&[b'x'; 256]), Err(KeyError::Length(256)));
        for bad in ["a b", "a\t", "\u{7f}", "é"] {
            assert_eq!(IdempotencyKey::parse(bad.as_bytes()), Err(KeyError::Character), "{bad:?}");
        }
    }

    #[test]
    fn a_write_without_a_usable_key_is_a_problem_that_names_the_header() {
        let mut headers = HeaderMap::new();
        let problem = |headers: &HeaderMap| Problem::from(IdempotencyKey::from_headers(headers).unwrap_err());
        assert_eq!(problem(&headers).kind(), ProblemType::MissingIdempotencyKey);
        assert!(problem(&headers).to_string().contains("Idempotency-Key"));

        headers.append(HEADER, "first".parse().unwrap());
        assert_eq!(IdempotencyKey::from_headers(&headers), Ok(key("first")));

        headers.append(HEADER, "second".parse().unwrap());
        assert_eq!(problem(&headers).kind(), ProblemType::InvalidIdempotencyKey);
    }

    #[test]
    fn what_is_absent_differs_from_what_is_empty() {
        let absent = RequestContent::default().fingerprint().unwrap();
        let null = RequestContent { body: Some(Value::Null), ..RequestContent::default() }.fingerprint().unwrap();
        let unmatched = RequestContent { if_match: Some(String::new()), ..RequestContent::default() }.fingerprint().unwrap();
        assert!(absent != null && absent != unmatched && null != unmatched);

        let platform = CommandOrigin { tenant: None, ..ORIGIN };
        let nobody = CommandOrigin { tenant: Some(Uuid::nil()), ..ORIGIN };
        assert_ne!(command_id(platform, &key("k")), command_id(nobody, &key("k")));
    }

    #[test]
    fn numbers_are_compared_by_value_and_never_by_a_lost_digit() {
        assert_eq!(fingerprint(r#"{"a":1.0,"b":1e2}"#), fingerprint(r#"{"b":100,"a":1}"#));
        assert_ne!(fingerprint("9007199254740990"), fingerprint("9007199254740991"));
        for inexact in ["9007199254740992", "-9007199254740993", "18446744073709551616", "1e300"] {
            let body = serde_json::from_str(&format!(r#"{{"a/b":[0,{inexact}]}}"#)).unwrap();
            let refused = RequestContent { body: Some(body), ..RequestContent::default() }.fingerprint().unwrap_err();
            assert_eq!(refused.pointer, "#/a~1b/1", "{inexact}");
        }
    }

    /// The text of a document with its members in reverse order and white space wherever JSON allows it.
    fn rewritten(value: &Value) -> String {
        match value {
            Value::Array(items) => format!("[\n{}\r\n]", items.iter().map(rewritten).collect::<Vec<_>>().join(" ,\t")),
            Value::Object(members) => {
                let members = members.iter().rev().map(|(name, member)| format!("{} : {}", Value::from(name.as_str()), rewritten(member)));
                format!("{{ {} }}", members.collect::<Vec<_>>().join(" ,\t"))
            }
            other => other.to_string(),
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1_000_000_000_i64..1_000_000_000).prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn order_of_members_and_white_space_do_not_matter(body in document()) {
            prop_assert_eq!(fingerprint(&body.to_string()), fingerprint(&rewritten(&body)));
        }

        #[test]
        fn different_documents_have_different_fingerprints(one in document(), other in document()) {
            prop_assume!(one != other);
            // `-0.0` and `0` are one number in canonical JSON, and so are `1.0` and `1`.
            prop_assume!(serde_json_canonicalizer::to_vec(&one).unwrap() != serde_json_canonicalizer::to_vec(&other).unwrap());
            prop_assert_ne!(fingerprint(&one.to_string()), fingerprint(&other.to_string()));
        }

        #[test]
        fn the_same_text_split_in_two_ways_gives_two_ids(text in "[!-~]{4,40}", one in 1..20_usize, other in 1..20_usize) {
            let (one, other) = (one.min(text.len() - 1), other.min(text.len() - 1));
            prop_assume!(one != other);
            let split = |at: usize| CommandOrigin { subject: &text[..at], route: &text[at..], ..ORIGIN };
            prop_assert_ne!(command_id(split(one), &key("k")), command_id(split(other), &key("k")));
            let with_key = |at: usize| command_id(CommandOrigin { route: &text[..at], ..ORIGIN }, &key(&text[at..]));
            prop_assert_ne!(with_key(one), with_key(other));
        }

        #[test]
        fn different_lists_of_parts_never_join_to_the_same_bytes(
            one in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..5),
            other in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..5),
        ) {
            let join = |parts: &[Vec<u8>]| length_prefixed(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(join(&one) == join(&other), one == other);
        }

        #[test]
        fn a_change_of_any_part_changes_the_fingerprint(name in "[a-z]{1,6}", value in "[a-z]{0,6}") {
            let in_path = RequestContent { path: BTreeMap::from([(name.clone(), value.clone())]), ..RequestContent::default() };
            let in_query = RequestContent::default().with_query([(name.as_str(), value.as_str())]);
            let in_match = RequestContent { if_match: Some(value.clone()), ..RequestContent::default() };
            let in_body = RequestContent { body: Some(json!({ name: value })), ..RequestContent::default() };
            let all = [in_path, in_query, in_match, in_body].map(|content| content.fingerprint().unwrap().0);
            for (index, one) in all.iter().enumerate() {
                prop_assert!(!all[index + 1..].contains(one));
            }
        }
    }
}
