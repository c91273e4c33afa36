//! The API as a running process.

use crate::{
    auth::{Authenticator, ConfigError, source},
    config::ApiConfig,
    deciders::{Advisers, OnJournal},
    key_file::{self, KeyFileError},
    limits::{InFlight, RefusalLimit},
    position::{KeysError, Tokens},
    router::router,
    seal::{MasterKeys, Sealer},
    spec::SpecChecks,
    state::{Api, Parts},
    tail::Seen,
};
use deadpool_postgres::Object;
use journal::{
    caller::Caller,
    follower::StoredReader,
    inbox::Capacity,
    log::{Log, LogError},
    tail::{Tail, TailError},
    topics::Journal,
};
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{database::Database, snapshot::ReadError};
use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

/// How often the read models are compared with the journal, when neither of them says anything.
const COMPARED: Duration = Duration::from_millis(500);

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// Serialises migrations of several processes that start at once. The locks before it are those of the read models.
const MIGRATING: i64 = 0x0063_6972_7275_7303;

/// What the API stands on.
pub struct Ground<'a> {
    /// Which journal.
    pub journal: Journal,
    /// The topic of commands.
    pub commands: &'a dyn Log,
    /// The topic of the journal.
    pub events: &'a dyn Log,
    /// Where to begin to read the journal: a read model's checkpoints. What is older is seen in the read models.
    pub checkpoints: &'a [StoredReader],
    /// The read models.
    pub database: Database,
    /// Where metrics are rendered, if a recorder was installed.
    pub metrics: Option<PrometheusHandle>,
}

/// The API cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys of tokens.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// No key file for tokens is configured.
    #[error("position_key_files names no file")]
    NoKeyFile,
    /// An issuer.
    #[error(transparent)]
    Issuer(#[from] ConfigError),
    /// The HTTP client.
    #[error("cannot make an HTTP client")]
    Http(#[from] reqwest::Error),
    /// The journal.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// The commands topic.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The table of keys cannot be reached.
    #[error(transparent)]
    Database(#[from] ReadError),
    /// The table of keys cannot be brought to this version.
    #[error("cannot migrate the table of keys")]
    Migration(#[from] refinery::Error),
    /// The address, or the server behind it.
    #[error("{0}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// Serves until `until` resolves; then takes no new connections, and answers what is under way.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(config: ApiConfig, ground: Ground<'_>, until: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    let listen = config.listen;
    let failed = |error| ServeError::Listen(listen, error);
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    serve_on(listener, config, ground, until).await
}

/// The same on a listener that is bound already: for tests that do not choose the port.
///
/// # Errors
/// [`ServeError`].
pub async fn serve_on(
    listener: TcpListener,
    config: ApiConfig,
    ground: Ground<'_>,
    until: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let listen = listener.local_addr().map_err(|error| ServeError::Listen(config.listen, error))?;
    migrate(&ground.database).await?;
    let api = assemble(config, ground)?;
    let comparing = tokio::spawn(compare(api.clone()));
    tracing::info!(%listen, "the API listens on http://{listen}");
    let served = axum::serve(listener, router(api)).with_graceful_shutdown(until).await;
    comparing.abort();
    served.map_err(|error| ServeError::Listen(listen, error))
}

/// Brings the table of keys, the only one that replay cannot rebuild, to this program's version.
async fn migrate(database: &Database) -> Result<(), ServeError> {
    // Not given back to the pool: the lock belongs to the connection and ends with it.
    let mut client = Object::take(database.client().await?);
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATING]).await.map_err(ReadError::from)?;
    let mut runner = migrations::migrations::runner();
    runner.set_migration_table_name("api_migrations");
    runner.run_async(&mut *client).await?;
    Ok(())
}

fn assemble(config: ApiConfig, ground: Ground<'_>) -> Result<Api, ServeError> {
    let Ground { journal, commands, events, checkpoints, database, metrics } = ground;
    let tail = Tail::open(events, &journal, checkpoints, Capacity::default())?;
    let seen = Arc::new(Seen::default());
    let told = Arc::clone(&seen);
    let caller = Caller::start(journal, commands, None, tail, move |commit| told.note(commit.after.state.position(), Instant::now()))?;
    let http = source::http_client()?;
    let limits = config.limits;
    Ok(Api::new(Parts {
        deciders: Box::new(OnJournal { caller, journal }),
        advisers: Advisers::new(http.clone(), config.deciders),
        database,
        seen,
        tokens: Tokens::new(journal.id, token_keys(&config.position_key_files)?)?,
        authenticator: Arc::new(Authenticator::new(config.issuers, &http)?),
        refusals: RefusalLimit::new(limits.refusals_per_minute, limits.refusals_at_once),
        in_flight: InFlight::new(limits.in_flight_per_tenant, limits.in_flight),
        sealer: Sealer::new(master_keys(&config.master_key_file, &config.older_master_key_files)?),
        specs: SpecChecks::default(),
        limits,
        metrics,
    }))
}

fn token_keys(files: &[std::path::PathBuf]) -> Result<Vec<Zeroizing<Vec<u8>>>, ServeError> {
    let (first, others) = files.split_first().ok_or(ServeError::NoKeyFile)?;
    let bytes = |key: Zeroizing<[u8; 32]>| Zeroizing::new(key.to_vec());
    let mut keys = vec![bytes(key_file::read_or_create_key(first)?)];
    for file in others {
        keys.push(bytes(key_file::read_key(file)?));
    }
    Ok(keys)
}

fn master_keys(first: &Path, older: &[std::path::PathBuf]) -> Result<MasterKeys, KeyFileError> {
    drop(key_file::read_or_create_key(first)?);
    MasterKeys::from_files(&first.to_owned(), older)
}

/// Compares what the read models show with what this process has seen of the journal.
async fn compare(api: Api) {
    let mut positions = api.database.follow().positions();
    loop {
        // A sender that is gone only means that nothing changes until the next turn.
        let _ = tokio::time::timeout(COMPARED, positions.changed()).await;
        let reached = positions.borrow_and_update().clone();
        api.seen.shown(&reached, Instant::now());
    }
}
