//! The way to PostgreSQL.

use crate::{
    build::Build,
    positions::{self, Follow},
    snapshot::{ReadError, Shown, Snapshot},
};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use journal::follower::StoredReader;
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use serde::Deserialize;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_postgres::config::SslMode;

/// Where PostgreSQL is and how it is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A libpq connection string or URL. `sslmode=require` refuses a server without TLS.
    pub url: String,
    /// PEM file of the authorities that may vouch for the server, beside the system's. With it TLS is required.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Most connections at a time.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Longest time that one statement of a read may take, in milliseconds.
    #[serde(default = "default_statement_timeout_ms")]
    pub statement_timeout_ms: u64,
}

fn default_connections() -> usize {
    16
}

fn default_statement_timeout_ms() -> u64 {
    10_000
}

impl Settings {
    /// The defaults with this connection string.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_file: None, connections: default_connections(), statement_timeout_ms: default_statement_timeout_ms() }
    }
}

/// The settings do not lead to a server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a connection string.
    #[error("not a connection string of PostgreSQL")]
    Url(#[source] tokio_postgres::Error),
    /// The file of authorities cannot be read.
    #[error("cannot read {path}")]
    CaFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] native_tls::Error),
    /// The pool cannot be built.
    #[error("cannot build a pool of connections")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// PostgreSQL, as all roles of a process share it. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    follow: Arc<Follow>,
}

impl Database {
    /// A pool of connections. Nothing is connected before it is used; a server that is away is no error here.
    ///
    /// # Errors
    ///
    /// When the settings cannot lead to any server.
    pub fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        let (config, tls) = settings.resolve()?;
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config.clone(), tls.clone(), manager))
            .max_size(settings.connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(WAIT), create: Some(WAIT), recycle: Some(WAIT) })
            .build()?;
        Ok(Self { pool, follow: Arc::new(Follow::new(config, tls)) })
    }

    /// A connection, for tables that are no read models.
    ///
    /// # Errors
    ///
    /// When none was free or could be made within five seconds.
    pub async fn client(&self) -> Result<Object, ReadError> {
        Ok(self.pool.get().await?)
    }

    /// Where whoever needs only the tail of the journal may begin to read it: what is older is in the current read models. Empty before any
    /// read model was made.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn checkpoints(&self) -> Result<Vec<StoredReader>, ReadError> {
        let client = self.client().await?;
        let builds = Build::all(&**client).await?;
        Ok(Build::earliest(builds.iter().filter(|(_, current)| *current).map(|(build, _)| build)))
    }

    /// A consistent view that tells the positions of the partitions `shown`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL cannot be reached.
    pub async fn snapshot(&self, shown: Shown<'_>) -> Result<Snapshot, ReadError> {
        Snapshot::begin(self.pool.get().await?, shown).await
    }

    /// What read models have reached and where work was opened, followed on one connection of its own.
    pub fn follow(&self) -> &positions::Follow {
        &self.follow
    }
}

const WAIT: Duration = Duration::from_secs(5);

impl Settings {
    fn resolve(&self) -> Result<(tokio_postgres::Config, MakeTlsConnector), ConnectError> {
        let mut config: tokio_postgres::Config = self.url.parse().map_err(ConnectError::Url)?;
        let mut tls = TlsConnector::builder();
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).map_err(|source| ConnectError::CaFile { path: path.clone(), source })?;
            for authority in Certificate::stack_from_pem(&pem)? {
                tls.add_root_certificate(authority);
            }
            config.ssl_mode(SslMode::Require);
        }
        // A connection that went quiet in the middle of a snapshot must not keep old row versions alive for ever.
        let given = config.get_options().unwrap_or_default();
        let options = format!(
            "{given} -c TimeZone=UTC -c statement_timeout={} -c idle_in_transaction_session_timeout=60000",
            self.statement_timeout_ms
        );
        config.options(options).application_name("cirrus").connect_timeout(WAIT).keepalives_idle(Duration::from_secs(30));
        Ok((config, MakeTlsConnector::new(tls.build()?)))
    }
}
