//! The bytes of a journal record.
//!
//! The journal of a partition is a chain. One Kafka record is one link, of two kinds:
//!
//! ```json
//! {"takeover":{"epoch":1,"writer":"<32 hex>","seen":{"seq":0,"head":"<64 hex>"},"genesis":{"generation":1,"journal":"<uuid>","partition":3,"partitions":64}}}
//! {"commit":{"epoch":1,"writer":"<32 hex>","seq":2,"prev":"<64 hex>","platform":{"generation":1,"seq":7},"command":{..},"actor":{..},"time":"2026-11-21T10:00:00.000000Z","events":[{..}]}}
//! ```
//!
//! A reader that has accepted everything up to `head` moves to `SHA-256(head || value)`, where `value` is the record as stored. So a record
//! is hashed as it lies on the broker and is never serialised again to be hashed; field order and white space do not matter to the rule.
//! The one exception is [`Genesis`], whose canonical form gives the head of an empty chain before any record exists.
//!
//! There is one shape with two ownerships: [`Record`] owns its JSON, [`Header`] borrows it from the record's bytes. Readers that only apply
//! the rule use the second, so every reader, fast or not, refuses the same bytes: unknown or repeated fields, bytes after the end, a commit
//! that holds no events although it answers a command.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Largest commit that may be written, in bytes of its JSON.
///
/// Half of the broker's `max.message.bytes`, so that a record the writer let through is never refused by the broker: a refused record would
/// end the lead of every partition of the process.
pub const MAX_COMMIT_BYTES: usize = 512 * 1024;

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The head of a chain after the record `value` was accepted at this head: `SHA-256(head || value)`.
    #[must_use]
    pub fn then(&self, value: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(value);
        Self(hash.finalize().into())
    }
}

/// Who wrote: 128 bits drawn anew for each takeover, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId(pub [u8; 16]);

/// Text that is not the expected number of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits, found {found:?}")]
pub struct NotHex {
    digits: usize,
    found: String,
}

macro_rules! hex_text {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<Self, NotHex> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| NotHex { digits: 2 * $bytes, found: text.to_owned() })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; 2 * $bytes];
                hex::encode_to_slice(self.0, &mut text).expect("the buffer is twice as long");
                to.serialize_str(std::str::from_utf8(&text).expect("hexadecimal digits are ASCII"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} hexadecimal digits", 2 * $bytes)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Text)
            }
        }
    };
}

hex_text!(Digest, 32);
hex_text!(WriterId, 16);

/// A place in history, the same in every region and every copy: generation, partition and seq. Never a Kafka offset.
///
/// Written `g1.p3.48113`. Not ordered on purpose: the seq of two partitions or two generations says nothing about before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The journal's generation, from 1.
    pub generation: u32,
    /// The partition; the platform's own chain is the one after the tenants'.
    pub partition: u32,
    /// Number of records accepted in this chain up to and with this one, takeovers included.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}.p{}.{}", self.generation, self.partition, self.seq)
    }
}

/// Text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a position such as g1.p3.48113, found {0:?}")]
pub struct NotAPosition(String);

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let parts = || {
            let mut parts = text.split('.');
            let position = Self {
                generation: parts.next()?.strip_prefix('g')?.parse().ok()?,
                partition: parts.next()?.strip_prefix('p')?.parse().ok()?,
                seq: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(position)
        };
        parts().ok_or_else(|| NotAPosition(text.to_owned()))
    }
}

/// How far the platform's chain had been folded when something was decided. Ordered: a later generation goes on where the base ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformPosition {
    /// Generation of the platform's chain.
    pub generation: u32,
    /// Its seq.
    pub seq: u64,
}

/// Which journal, and where the chain of a partition begins. In the first takeover of a generation only.
///
/// The fields stand in alphabetical order, because the JSON of this struct without white space *is* the canonical form (RFC 8785) whose
/// SHA-256 is the head of the empty chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Where the generation before this one ended; none in generation 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The generation, from 1.
    pub generation: u32,
    /// The journal's random id, for its whole life.
    pub journal: Uuid,
    /// The partition of this chain.
    pub partition: u32,
    /// Number of partitions that hold tenants; the platform's own has this number.
    pub partitions: u32,
}

impl Genesis {
    /// Head of the chain before its first record: SHA-256 of the canonical form.
    ///
    /// With a base it covers (journal, generation, partition, seq and head of the base), so a chain of a later generation cannot be
    /// attached to any other history.
    pub fn head(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("numbers, a uuid and a digest are always JSON"))
    }

    /// Seq of the chain before its first record.
    pub fn seq(&self) -> u64 {
        self.base.map_or(0, |base| base.seq)
    }
}

/// The end of the generation that a new one continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The generation that ended.
    pub generation: u32,
    /// Head of its chain at `seq`.
    pub head: Digest,
    /// Last seq of it that counts.
    pub seq: u64,
}

/// What a writer had read when it claimed. For people who look at the log; the rule does not look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Seq of the last record that it had accepted.
    pub seq: u64,
    /// Head after that record.
    pub head: Digest,
}

/// A writer claims the lead of a partition. Whether it gets it is decided by the place of this record in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Takeover {
    /// One more than the epoch that the writer had read.
    pub epoch: u64,
    /// Drawn for this takeover alone.
    pub writer: WriterId,
    /// What it had read.
    pub seen: Seen,
    /// In epoch 1 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<Genesis>,
}

/// Where a command came from, which is also the topic that it lay on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Somebody asked through the API.
    Commands,
    /// A worker or the metering reported what it saw.
    Reports,
}

/// The command that a commit answers, by where it lay and what it said. Its place in the topic must not repeat and must have no hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRef {
    /// The command's id. The same id is answered once.
    pub id: Uuid,
    /// The command's kind as on the wire, e.g. `resource.request`.
    pub kind: String,
    /// Its topic.
    pub origin: Origin,
    /// Generation of its topic.
    pub generation: u32,
    /// Kafka offset in that topic and this partition. Only meaningful in the region that wrote this generation.
    pub offset: i64,
    /// Id of the HTTP request or of the worker's step, for logs.
    pub request: String,
    /// SHA-256 of what was asked, in canonical form: the same id with another digest is another request under a used key. Of a record that
    /// is no command, SHA-256 of its value.
    pub digest: Digest,
    /// W3C trace context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Everything that one command decided; `J` is raw JSON, owned or borrowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit<J = Box<RawValue>> {
    /// Epoch of the takeover under which it was written.
    pub epoch: u64,
    /// Writer of that takeover.
    pub writer: WriterId,
    /// Its place in the chain.
    pub seq: u64,
    /// Head of the chain before it.
    pub prev: Digest,
    /// How far the platform's chain had been folded. Within a chain it never goes back.
    pub platform: PlatformPosition,
    /// The command that it answers; none in the commit that confirms a takeover.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandRef>,
    /// The principal who asked.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub actor: Option<J>,
    /// When it was decided: microseconds, never before the commit in front of it.
    #[serde(with = "microseconds")]
    pub time: DateTime<Utc>,
    /// What happened, at least one unless the commit only confirms a takeover.
    pub events: Vec<J>,
}

/// A commit whose JSON still lies in the record's bytes.
pub type Link<'a> = Commit<&'a RawValue>;

impl Link<'_> {
    /// The same commit with JSON of its own.
    pub fn into_owned(self) -> Commit {
        Commit {
            epoch: self.epoch,
            writer: self.writer,
            seq: self.seq,
            prev: self.prev,
            platform: self.platform,
            command: self.command,
            actor: self.actor.map(RawValue::to_owned),
            time: self.time,
            events: self.events.into_iter().map(RawValue::to_owned).collect(),
        }
    }
}

/// One record of the journal; `J` is raw JSON, owned or borrowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record<J = Box<RawValue>> {
    /// A claim of the lead.
    Takeover(Takeover),
    /// A decision.
    Commit(Commit<J>),
}

/// A record whose JSON still lies in its bytes; what the rule is applied to.
pub type Header<'a> = Record<&'a RawValue>;

impl Header<'_> {
    /// The same record with JSON of its own.
    pub fn into_owned(self) -> Record {
        match self {
            Self::Takeover(takeover) => Record::Takeover(takeover),
            Self::Commit(link) => Record::Commit(link.into_owned()),
        }
    }
}

impl<J> Record<J> {
    /// The epoch that it was written in.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Takeover(takeover) => takeover.epoch,
            Self::Commit(commit) => commit.epoch,
        }
    }

    /// Who wrote it.
    pub fn writer(&self) -> WriterId {
        match self {
            Self::Takeover(takeover) => takeover.writer,
            Self::Commit(commit) => commit.writer,
        }
    }
}

impl<'a, J: Deserialize<'a>> Record<J> {
    /// Reads a record's value.
    ///
    /// # Errors
    ///
    /// Whatever is not exactly one record of the known shape. To a reader of the chain such bytes mean that it is broken.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let record = serde_json::from_slice(value)?;
        match &record {
            Self::Takeover(takeover) if takeover.genesis.is_some() != (takeover.epoch == 1) => Err(DecodeError::Genesis),
            Self::Commit(commit) if !commit.is_whole() => Err(DecodeError::NoEvents),
            _ => Ok(record),
        }
    }
}

impl<J: Serialize> Record<J> {
    /// The value to append.
    ///
    /// # Errors
    ///
    /// A commit that is too large or answers a command with nothing; the size of a takeover is bounded.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Takeover(takeover) => takeover.encode(),
            Self::Commit(commit) => commit.encode(),
        }
    }
}

impl Takeover {
    /// The value to append.
    ///
    /// # Errors
    ///
    /// A genesis outside epoch 1, or none in it.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        if self.genesis.is_some() != (self.epoch == 1) {
            return Err(EncodeError::Genesis);
        }
        #[derive(Serialize)]
        struct Wire<'a> {
            takeover: &'a Takeover,
        }
        Ok(serde_json::to_vec(&Wire { takeover: self })?)
    }
}

impl<J> Commit<J> {
    /// A commit that answers a command holds at least one event: also a refusal is one.
    fn is_whole(&self) -> bool {
        self.command.is_none() || !self.events.is_empty()
    }
}

impl<J: Serialize> Commit<J> {
    /// The value to append.
    ///
    /// # Errors
    ///
    /// Above [`MAX_COMMIT_BYTES`], or an answer to a command without events.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        if !self.is_whole() {
            return Err(EncodeError::NoEvents);
        }
        #[derive(Serialize)]
        struct Wire<'a, J> {
            commit: &'a Commit<J>,
        }
        let value = serde_json::to_vec(&Wire { commit: self })?;
        if value.len() > MAX_COMMIT_BYTES {
            return Err(EncodeError::TooLarge { bytes: value.len() });
        }
        Ok(value)
    }
}

/// Bytes that are no journal record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the known shape.
    #[error("not a journal record: {0}")]
    Shape(#[from] serde_json::Error),
    /// A genesis belongs into the first takeover and nowhere else.
    #[error("a takeover names a genesis if and only if its epoch is 1")]
    Genesis,
    /// A command was answered with nothing.
    #[error("a commit that answers a command holds no events")]
    NoEvents,
}

/// A record that must not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Split the decision: whatever touches an unbounded number of things is a process that sends one command a thing.
    #[error("the commit has {bytes} bytes; at most {MAX_COMMIT_BYTES} are written")]
    TooLarge {
        /// Bytes of its JSON.
        bytes: usize,
    },
    /// A command was answered with nothing.
    #[error("a commit that answers a command holds no events")]
    NoEvents,
    /// A genesis belongs into the first takeover and nowhere else.
    #[error("a takeover names a genesis if and only if its epoch is 1")]
    Genesis,
    /// An event or actor that is no JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// RFC 3339 in UTC with exactly six digits after the second, so that equal times are equal bytes.
mod microseconds {
    use super::{DateTime, Deserialize, Deserializer, SecondsFormat, Serializer, Utc, de};

    pub(super) fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        DateTime::parse_from_rfc3339(&text).map(|time| time.to_utc()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
