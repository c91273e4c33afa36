//! What every role is told: one TOML file, and environment variables over it (`CIRRUS_KAFKA__BOOTSTRAP` is `bootstrap` in `[kafka]`).

use anyhow::Context;
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use journal::kafka::KafkaSettings;
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf};

/// The whole configuration. A role reads the parts that it needs; an unknown field is refused, since it is usually a misspelt one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where snapshots and other things that can be lost are kept.
    #[serde(default = "state")]
    pub state: PathBuf,
    /// How to reach Kafka.
    pub kafka: KafkaSettings,
    /// How to reach PostgreSQL.
    pub postgres: projections::database::Settings,
    /// The decider.
    #[serde(default)]
    pub decider: DeciderConfig,
    /// The projector.
    #[serde(default)]
    pub projector: Listen,
    /// The workers.
    #[serde(default)]
    pub worker: Option<WorkerConfig>,
    /// The API.
    #[serde(default)]
    pub api: Option<api::ApiConfig>,
    /// An issuer of one's own, for development and tests; never in production.
    #[serde(default)]
    pub development: Option<Development>,
}

/// The development issuer, and where its tokens are used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Development {
    /// The `iss` of its tokens, as in `[[api.issuers]]`.
    pub issuer: String,
    /// Their `aud`.
    pub audience: String,
    /// Its private key, drawn where it is absent. Whoever can read this file is anybody.
    pub private_key_file: PathBuf,
    /// Its public keys, as `[[api.issuers]]` reads them.
    pub jwks_file: PathBuf,
    /// Where the tokens of the demo cloud are written.
    pub tokens_file: PathBuf,
    /// The availability zones of the demo cloud.
    pub zones: Vec<String>,
}

/// Where a role shows its health and figures.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port; nowhere when absent.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
}

/// What deciders need.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeciderConfig {
    /// Where it shows its health and figures; nowhere when absent.
    pub listen: Option<SocketAddr>,
    /// The consumer group whose members share out who leads. All deciders of a journal are in one; where they are not, they depose each other without an
    /// end, and nothing worse.
    pub group: String,
}

impl Default for DeciderConfig {
    fn default() -> Self {
        Self { listen: None, group: "cirrus-deciders".to_owned() }
    }
}

/// What workers need.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// The URL of the provider.
    pub provider: String,
    /// The region's name at the provider, for what has no zone.
    pub region: String,
    /// The most calls a second to the provider, of one worker.
    #[serde(default = "calls_per_second")]
    pub calls_per_second: u32,
    /// The most steps that one worker works on at a time.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// How long an effect may stay invisible at the provider after a call has ended, in seconds.
    #[serde(default = "settle_s")]
    pub settle_s: u64,
    /// How often the provider is searched for what has vanished, in seconds.
    #[serde(default = "sweep_s")]
    pub sweep_s: u64,
}

fn state() -> PathBuf {
    ".cirrus".into()
}

fn calls_per_second() -> u32 {
    500
}

fn concurrency() -> usize {
    64
}

fn settle_s() -> u64 {
    5
}

fn sweep_s() -> u64 {
    60
}

impl Config {
    /// The file at `path`, and the environment over it.
    pub fn load(path: &std::path::Path) -> anyhow::Result<Self> {
        anyhow::ensure!(path.exists(), "there is no configuration file {}", path.display());
        let figment = Figment::from(Toml::file(path)).merge(Env::prefixed("CIRRUS_").only(OVERRIDES).split("__"));
        figment.extract().with_context(|| format!("the configuration {} cannot be used", path.display()))
    }
}

/// The variables that may override the file; others of the prefix belong to scripts and tests.
const OVERRIDES: &[&str] = &[
    "state",
    "kafka__bootstrap",
    "postgres__url",
    "api__listen",
    "decider__listen",
    "decider__group",
    "projector__listen",
    "worker__settle_s",
];
