//! The record on the commands and reports topics.
//!
//! ```json
//! {"id":"<uuid>","tenant":"<uuid>","actor":{"principal":{"issuer":"..","subject":".."}},"digest":"<64 hex>","request":"req-1","expires":"..",
//!  "command":{"kind":"create_resource","body":{..}}}
//! ```
//!
//! Lies in the partition of its tenant's chain; what has no tenant lies in the platform's partition.

use crate::record::Digest;
use domain::{
    Timestamp,
    command::{Command, Request},
    id::{CommandId, TenantId},
    people::Actor,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest command record, in bytes. What the API takes as a body is smaller.
pub const MAX_COMMAND_BYTES: usize = 256 * 1024;

/// A command or report as it lies on its topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRecord {
    /// The same id again is the same command again.
    pub id: CommandId,
    /// The tenant whose chain it is for; none for the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Who asks.
    pub actor: Actor,
    /// SHA-256 of what is asked, in canonical form: the same id with another digest is another request under a used key.
    pub digest: Digest,
    /// Id of this one attempt (an HTTP request, a worker's report): how its caller finds its outcome, and for logs.
    pub request: String,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When it happened, for tenants with the effective clock and for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// After this nobody waits for the outcome any more.
    pub expires: Timestamp,
    /// The seq of the platform's chain that must have been read before this is decided.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_platform: u64,
    /// What is asked.
    pub command: Command,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why the bytes on a commands topic are no command. Never quotes them: they may hold what a person sent by mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACommand {
    /// Larger than any command.
    #[error("larger than {MAX_COMMAND_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or not of this shape.
    #[error("not a command: {problem} at line {line}, column {column}")]
    Shape {
        /// `syntax`, `data` or `end of input`.
        problem: &'static str,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
}

impl CommandRecord {
    /// Reads a record's value.
    pub fn decode(value: &[u8]) -> Result<Self, NotACommand> {
        if value.len() > MAX_COMMAND_BYTES {
            return Err(NotACommand::TooLarge);
        }
        serde_json::from_slice(value).map_err(|e| NotACommand::Shape {
            problem: match e.classify() {
                serde_json::error::Category::Io | serde_json::error::Category::Syntax => "syntax",
                serde_json::error::Category::Data => "data",
                serde_json::error::Category::Eof => "end of input",
            },
            line: e.line(),
            column: e.column(),
        })
    }

    /// The value to send.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("ids, texts and JSON values are always JSON")
    }

    /// What the decider sees of it.
    pub fn to_request(&self) -> Request {
        Request {
            id: self.id,
            tenant: self.tenant,
            actor: self.actor.clone(),
            fingerprint: fingerprint(&self.digest),
            at: self.at,
            expires: self.expires,
            after_platform: self.after_platform,
            command: self.command.clone(),
        }
    }
}

/// The first 8 bytes of a digest, big-endian: what a decider remembers of a request.
pub fn fingerprint(digest: &Digest) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest.0[..8]);
    u64::from_be_bytes(first)
}
