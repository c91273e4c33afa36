//! What people must be able to forget: fields that are sealed before anything reaches a topic.
//!
//! A log cannot be mended, so what somebody may have to forget is never written to it in the clear. The value is replaced, where it
//! stands, by `{"$sealed": {...}}`: AES-256-GCM under the key of its *subject*, a person or a resource's intent. That key is wrapped by
//! the tenant's, and the tenant's by a master key from a file. Erasing the subject's key makes every copy unreadable, in every region
//! and every backup of the log, while each record keeps its bytes and the chain still verifies.
//!
//! A sealed value is bound to its tenant, its subject and its place: moved elsewhere it does not open. The place is a JSON Pointer in the
//! document as it was sealed, so a document is opened as it was sealed (the spec, not the event around it).
//!
//! A digest of a short secret can be searched for, so a fingerprint must not cover it: [`Sealer::blind`] replaces marked values by keyed
//! digests, equal for equal values of one tenant, and it is over that document that a request's fingerprint is taken.

pub mod cipher;
pub mod schema;
pub mod table;

use crate::idempotency::length_prefixed;
use crate::key_file::{self, KeyFileError};
use crate::problem::{Problem, ProblemType, push_segment};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cipher::{Key, KeyId};
use schema::Mark;
use schemas::catalogue::Sensitivity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::GenericClient;
use uuid::Uuid;

pub use table::{Subject, erase};

/// The table of keys, as a migration.
pub const MIGRATION: &str = include_str!("../migrations/V1__sealed_keys.sql");

/// The only member of an object that stands for a sealed value.
const SEALED: &str = "$sealed";

/// The tenant under which people of the platform itself are sealed: no tenant has this id.
pub const PLATFORM: Uuid = Uuid::nil();

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The subject's key was erased: what it sealed is gone, and it seals nothing more.
    #[error("the data of {0} was erased")]
    Erased(Subject),
    /// There is no key, and no trace of one: the table was lost, or this is another platform's.
    #[error("there is no key of {0}")]
    KeyMissing(Subject),
    /// The row does not open with the key above it: it was altered or moved.
    #[error("the key of {0} was altered")]
    KeyAltered(Subject),
    /// The tenant's key is wrapped by a master key that is not configured.
    #[error("the master key that wrapped this tenant's key is not configured")]
    UnknownMasterKey,
    /// The field was altered, or stands at another place than where it was sealed.
    #[error("the sealed field {0:?} was altered or moved")]
    Altered(String),
    /// Somebody sent what looks like a sealed field.
    #[error("{0:?} has a member $sealed, which only the platform may write")]
    AlreadySealed(String),
    /// A field is marked, but there is nobody for whose sake it could be forgotten.
    #[error("the field {0:?} is marked, but has no subject")]
    NoSubject(String),
    /// The database.
    #[error("the table of keys")]
    Database(#[from] tokio_postgres::Error),
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        match error {
            SealError::AlreadySealed(pointer) => {
                let mut fragment = String::from("#");
                let names = pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
                names.for_each(|name| push_segment(&mut fragment, &name));
                Problem::new(ProblemType::InvalidBody).field(fragment, "The member $sealed is written by the platform only.")
            }
            SealError::Erased(_) => Problem::new(ProblemType::Erased),
            SealError::Database(error) if is_away(&error) => Problem::new(ProblemType::Overloaded).retry_after(Duration::from_secs(1)),
            _ => Problem::new(ProblemType::Internal),
        }
    }
}

/// True when the connection broke, or the server is going down or coming up (SQLSTATE class 57): not our fault, and soon over.
fn is_away(error: &tokio_postgres::Error) -> bool {
    let broken = std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    broken || error.is_closed() || error.code().is_some_and(|state| state.code().starts_with("57"))
}

/// Whom the marked fields of a document concern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subjects {
    /// The person whom personal fields are about.
    pub person: Option<Uuid>,
    /// The resource's intent that secret fields are for.
    pub intent: Option<Uuid>,
}

impl Subjects {
    fn of(&self, mark: &Mark) -> Result<Subject, SealError> {
        let subject = match mark.sensitivity {
            Sensitivity::Personal => self.person.map(Subject::Person),
            Sensitivity::Secret => self.intent.map(Subject::Intent),
        };
        subject.ok_or_else(|| SealError::NoSubject(mark.pointer.clone()))
    }
}

/// The keys that wrap the tenants' keys.
#[derive(Clone)]
pub struct MasterKeys {
    keys: Vec<Key>,
}

impl MasterKeys {
    /// Tenants' keys are wrapped with the first and unwrapped with any.
    pub fn new(first: Key, older: Vec<Key>) -> Self {
        Self { keys: [vec![first], older].concat() }
    }

    /// Reads each from a file of mode 0600 that holds 32 bytes in hexadecimal or base64.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_files(first: &PathBuf, older: &[PathBuf]) -> Result<Self, KeyFileError> {
        let read = |path: &PathBuf| key_file::read_key(path).map(Key::new);
        Ok(Self::new(read(first)?, older.iter().map(read).collect::<Result<_, _>>()?))
    }

    fn first(&self) -> &Key {
        &self.keys[0]
    }

    fn named(&self, id: KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

/// What stands in a document instead of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedField {
    /// The form of this object and of what is authenticated.
    v: u8,
    /// Whose key: `person:` or `intent:` and a UUID.
    #[serde(rename = "for")]
    subject: String,
    /// What it is about.
    #[serde(rename = "as")]
    sensitivity: Sensitivity,
    /// Nonce, ciphertext and tag in base64url.
    data: String,
}

/// A document that was opened as far as it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The document; what was erased in it is still sealed.
    pub document: Value,
    /// What was erased: place and subject.
    pub erased: Vec<(String, Subject)>,
}

impl Opened {
    /// The document, if nothing in it was erased.
    ///
    /// # Errors
    /// [`SealError::Erased`].
    pub fn complete(self) -> Result<Value, SealError> {
        self.erased.first().map_or(Ok(self.document), |(_, subject)| Err(SealError::Erased(*subject)))
    }
}

/// Seals and opens fields.
#[derive(Clone)]
pub struct Sealer {
    keys: MasterKeys,
}

impl Sealer {
    /// With these master keys.
    pub fn new(keys: MasterKeys) -> Self {
        Self { keys }
    }

    /// Replaces the marked values of a document by sealed ones. Commit before the document leaves the process.
    ///
    /// # Errors
    /// [`SealError`]; the document is then unchanged. A document that brings a member `$sealed` of its own is always refused: it could pass
    /// another's secret off as the sender's.
    pub async fn seal(
        &self,
        client: &impl GenericClient,
        tenant: Uuid,
        subjects: Subjects,
        marks: &[Mark],
        document: &mut Value,
    ) -> Result<(), SealError> {
        if let Some(pointer) = places(document).into_iter().next() {
            return Err(SealError::AlreadySealed(pointer));
        }
        let mut keys: Vec<(Subject, Key)> = Vec::new();
        for mark in marks {
            let subject = subjects.of(mark)?;
            if !keys.iter().any(|(known, _)| *known == subject) {
                keys.push((subject, self.keys.key_or_new(client, tenant, subject).await?));
            }
        }
        for mark in marks {
            let subject = subjects.of(mark)?;
            if let Some((_, key)) = keys.iter().find(|(known, _)| *known == subject)
                && let Some(value) = document.pointer_mut(&mark.pointer)
            {
                *value = sealed(key, tenant, subject, mark, value);
            }
        }
        Ok(())
    }

    /// Opens every sealed value of a document.
    ///
    /// # Errors
    /// [`SealError`] but `Erased`: what was erased is listed, and the rest is opened.
    pub async fn open(&self, client: &impl GenericClient, tenant: Uuid, document: &Value) -> Result<Opened, SealError> {
        let mut opened = Opened { document: document.clone(), erased: Vec::new() };
        let mut keys: Vec<(Subject, Option<Key>)> = Vec::new();
        for pointer in places(document) {
            let value = opened.document.pointer_mut(&pointer).ok_or_else(|| SealError::Altered(pointer.clone()))?;
            let (field, subject) = read(value).ok_or_else(|| SealError::Altered(pointer.clone()))?;
            if !keys.iter().any(|(known, _)| *known == subject) {
                let key = match self.keys.key(client, tenant, subject).await {
                    Ok(key) => Some(key.ok_or(SealError::KeyMissing(subject))?),
                    // The tenant's key, too, may be what was erased.
                    Err(SealError::Erased(_)) => None,
                    Err(error) => return Err(error),
                };
                keys.push((subject, key));
            }
            match keys.iter().find(|(known, _)| *known == subject) {
                Some((_, Some(key))) => *value = unsealed(key, tenant, subject, &pointer, &field)?,
                _ => opened.erased.push((pointer, subject)),
            }
        }
        Ok(opened)
    }

    /// The document with its marked values replaced by keyed digests: for fingerprints, and never to be stored.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn blind(&self, client: &impl GenericClient, tenant: Uuid, marks: &[Mark], document: &Value) -> Result<Value, SealError> {
        let mut blinded = document.clone();
        if marks.is_empty() {
            return Ok(blinded);
        }
        let key = self.keys.key_or_new(client, tenant, Subject::Tenant).await?;
        for mark in marks {
            if let Some(value) = blinded.pointer_mut(&mark.pointer) {
                let canonical = serde_json_canonicalizer::to_vec(value).expect("a JSON value is always JSON");
                let digest = key.blind(&length_prefixed(&[tenant.as_bytes(), mark.pointer.as_bytes(), &canonical]));
                *value = json!({ "$blinded": hex::encode(digest) });
            }
        }
        Ok(blinded)
    }
}

/// The document for readers who may know that something is there, but not what: each sealed value becomes `{"$sealed": "secret"}` or
/// `{"$sealed": "personal"}`.
pub fn redact(document: &Value) -> Value {
    let mut redacted = document.clone();
    for pointer in places(document) {
        if let Some(value) = redacted.pointer_mut(&pointer) {
            *value = json!({ SEALED: read(value).map_or("unknown", |(field, _)| field.sensitivity.as_str()) });
        }
    }
    redacted
}

/// Where objects with a member `$sealed` stand, the outermost ones, in the order of the document.
fn places(document: &Value) -> Vec<String> {
    fn visit(value: &Value, pointer: &mut String, found: &mut Vec<String>) {
        let length = pointer.len();
        match value {
            Value::Object(members) if members.contains_key(SEALED) => found.push(pointer.clone()),
            Value::Object(members) => {
                for (name, member) in members {
                    schema::push(pointer, name);
                    visit(member, pointer, found);
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    schema::push(pointer, &index.to_string());
                    visit(item, pointer, found);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    visit(document, &mut String::new(), &mut found);
    found
}

fn read(value: &Value) -> Option<(SealedField, Subject)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let field = SealedField::deserialize(members.get(SEALED)?).ok().filter(|field| field.v == 1)?;
    let subject = field.subject.parse().ok()?;
    Some((field, subject))
}

/// What a sealed value is bound to.
fn bound(tenant: Uuid, subject: Subject, sensitivity: Sensitivity, pointer: &str) -> Vec<u8> {
    let (kind, id) = (subject.kind().as_bytes(), subject.id(tenant));
    let parts =
        [b"cirrus sealed field 1", tenant.as_bytes().as_slice(), kind, id.as_bytes(), sensitivity.as_str().as_bytes(), pointer.as_bytes()];
    length_prefixed(&parts)
}

fn sealed(key: &Key, tenant: Uuid, subject: Subject, mark: &Mark, value: &Value) -> Value {
    let plain = zeroize::Zeroizing::new(value.to_string());
    let data = key.encrypt(plain.as_bytes(), &bound(tenant, subject, mark.sensitivity, &mark.pointer));
    let field = SealedField { v: 1, subject: subject.to_string(), sensitivity: mark.sensitivity, data: URL_SAFE_NO_PAD.encode(data) };
    json!({ SEALED: field })
}

fn unsealed(key: &Key, tenant: Uuid, subject: Subject, pointer: &str, field: &SealedField) -> Result<Value, SealError> {
    let altered = || SealError::Altered(pointer.to_owned());
    let data = URL_SAFE_NO_PAD.decode(&field.data).map_err(|_| altered())?;
    let plain = key.decrypt(&data, &bound(tenant, subject, field.sensitivity, pointer)).map_err(|_| altered())?;
    serde_json::from_slice(&plain).map_err(|_| altered())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    const TENANT: Uuid = Uuid::from_u128(1);
    const SUBJECT: Subject = Subject::Intent(Uuid::from_u128(2));

    fn key() -> Key {
        Key::new(Zeroizing::new([3; 32]))
    }

    fn secret(pointer: &str) -> Mark {
        Mark { pointer: pointer.into(), sensitivity: Sensitivity::Secret }
    }

    fn open(tenant: Uuid, subject: Subject, pointer: &str, value: &Value) -> Result<Value, SealError> {
        unsealed(&key(), tenant, subject, pointer, &read(value).unwrap().0)
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_tenant_its_subject_and_its_place() {
        for value in [json!("pa55word"), json!(null), json!({ "a": [1, 2.5, "ä"] })] {
            let sealed = sealed(&key(), TENANT, SUBJECT, &secret("/a"), &value);

            assert_eq!(open(TENANT, SUBJECT, "/a", &sealed).unwrap(), value);
            assert!(!sealed.to_string().contains("pa55word"));
            for moved in [
                open(Uuid::from_u128(9), SUBJECT, "/a", &sealed),
                open(TENANT, Subject::Intent(Uuid::from_u128(9)), "/a", &sealed),
                open(TENANT, Subject::Person(Uuid::from_u128(2)), "/a", &sealed),
                open(TENANT, SUBJECT, "/b", &sealed),
            ] {
                assert!(matches!(moved, Err(SealError::Altered(_))));
            }
        }
    }

    #[test]
    fn another_sensitivity_or_any_altered_byte_does_not_open() {
        let value = sealed(&key(), TENANT, SUBJECT, &secret("/a"), &json!("x"));
        let mut relabelled = value.clone();
        relabelled[SEALED]["as"] = json!("personal");
        assert!(open(TENANT, SUBJECT, "/a", &relabelled).is_err());
        let data = URL_SAFE_NO_PAD.decode(value[SEALED]["data"].as_str().unwrap()).unwrap();
        for index in 0..data.len() {
            let (mut altered, mut data) = (value.clone(), data.clone());
            data[index] ^= 1;
            altered[SEALED]["data"] = json!(URL_SAFE_NO_PAD.encode(data));
            assert!(open(TENANT, SUBJECT, "/a", &altered).is_err(), "byte {index}");
        }
    }

    #[test]
    fn only_the_exact_form_is_read() {
        let good = sealed(&key(), TENANT, SUBJECT, &secret("/a"), &json!("x"));
        assert_eq!(read(&good).unwrap().1, SUBJECT);
        let with = |name: &str, value: Value| {
            let mut field = good.clone();
            field[SEALED][name] = value;
            field
        };
        for bad in [
            with("v", json!(2)),
            with("for", json!("tenant")),
            with("for", json!("person:x")),
            with("as", json!("Secret")),
            with("more", json!(1)),
        ] {
            assert!(read(&bad).is_none(), "{bad}");
        }
        let mut neighbour = good.clone();
        neighbour["other"] = json!(1);
        assert!(read(&neighbour).is_none());
    }

    #[test]
    fn sealed_places_are_found_wherever_they_stand_and_can_be_hidden() {
        let field = sealed(&key(), TENANT, SUBJECT, &secret("/a~1b/0"), &json!("x"));
        let document = json!({ "a/b": [field, 1], "c": { "$sealed": "forged" }, "d": "$sealed" });
        assert_eq!(places(&document), ["/a~1b/0", "/c"]);
        assert_eq!(redact(&document), json!({ "a/b": [{ "$sealed": "secret" }, 1], "c": { "$sealed": "unknown" }, "d": "$sealed" }));
    }

    #[test]
    fn a_forged_field_is_a_problem_that_points_to_it() {
        let problem = Problem::from(SealError::AlreadySealed("/spec/a~1b".into()));
        assert_eq!(problem.errors()[0].pointer, "#/spec/a~1b");
    }

    #[test]
    fn equal_values_blind_alike_under_one_key_only() {
        let digest = |key: u8, value: &str| Key::new(Zeroizing::new([key; 32])).blind(value.as_bytes());
        assert_eq!(digest(1, "a"), digest(1, "a"));
        assert_ne!(digest(1, "a"), digest(1, "b"));
        assert_ne!(digest(1, "a"), digest(2, "a"));
    }
}
