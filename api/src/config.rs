//! What the API is told at its start.

use crate::auth::IssuerConfig;
use serde::Deserialize;
use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

/// The configuration of the API. Durations are in the unit that their name ends with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whose tokens are accepted.
    pub issuers: Vec<IssuerConfig>,
    /// Files with the keys of position and page tokens: the first signs, all are accepted. Drawn and written if the first does not exist.
    pub position_key_files: Vec<PathBuf>,
    /// File with the master key of sealed fields. Drawn and written if it does not exist.
    pub master_key_file: PathBuf,
    /// Files with master keys that were in use before.
    #[serde(default)]
    pub older_master_key_files: Vec<PathBuf>,
    /// Base URLs of deciders that give advice, `http://127.0.0.1:7001`.
    #[serde(default)]
    pub deciders: Vec<String>,
    /// How much is taken.
    #[serde(default)]
    pub limits: Limits,
}

/// How much the API takes, from whom.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of all headers of a request together.
    pub header_bytes: usize,
    /// Seconds that a request may take in all; above the longest wait for an outcome.
    pub request_timeout_s: u64,
    /// Requests under way in one process.
    pub in_flight: u32,
    /// Requests under way of one tenant.
    pub in_flight_per_tenant: u32,
    /// Refusals of one principal a minute in the long run.
    pub refusals_per_minute: NonZeroU32,
    /// Refusals of one principal at once.
    pub refusals_at_once: NonZeroU32,
    /// Seconds that the read models may be behind the journal before reads are refused.
    pub stale_after_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            header_bytes: 16 * 1024,
            request_timeout_s: 45,
            in_flight: 4_000,
            in_flight_per_tenant: 500,
            refusals_per_minute: const { NonZeroU32::new(600).expect("not zero") },
            refusals_at_once: const { NonZeroU32::new(1_000).expect("not zero") },
            stale_after_s: 10,
        }
    }
}
