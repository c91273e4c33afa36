//! One file a role: what it needs, what it starts, how it ends.

pub mod api;
pub mod decider;
pub mod journal;
pub mod operator;
pub mod projections;
pub mod projector;
pub mod provider_sim;
pub mod worker;

use crate::config::Config;
use ::journal::{birth, follower::StoredReader, kafka::KafkaLog, log::Log, topics::Journal};
use ::projections::{
    database::Database,
    running::REPORT_EVERY,
    snapshot::{ReadError, Shown},
};
use anyhow::{Context, ensure};
use axum::Router;
use domain::platform::{FORMAT, RunningRole};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use schemas::record::Origin;
use std::{io::IsTerminal, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};
use uuid::Uuid;

/// What a running role says when nobody asks for more or less: libraries only warn.
pub const RUNNING: &str = "info,refinery_core=warn,tokio_postgres=warn";

/// What a command says beside its result.
pub const COMMAND: &str = "error";

/// Logs to standard error; `RUST_LOG` chooses instead of the default, `CIRRUS_LOG=json` writes one JSON object a line.
pub fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    if std::env::var("CIRRUS_LOG").is_ok_and(|format| format == "json") {
        subscriber.json().init();
    } else {
        subscriber.with_target(false).init();
    }
}

/// What every role stands on.
pub struct Ground {
    /// The read models.
    pub database: Database,
    /// The journal that they belong to.
    pub journal: Journal,
    /// How far they have read it.
    pub checkpoints: Vec<StoredReader>,
}

/// What every role stands on, checked: a program that finds another journal, less of it than the read models hold, or an event format that it
/// does not read, does not start.
pub async fn ground(config: &Config) -> anyhow::Result<Ground> {
    let database = Database::connect(&config.postgres)?;
    database.migrate().await.context("PostgreSQL cannot be used")?;
    let journal = database.journal().await?;
    readable(raised(&database).await?)?;
    let (kafka, checkpoints) = (config.kafka.clone(), database.checkpoints().await?);
    let read = checkpoints.clone();
    let check =
        move || birth::check(&kafka, &journal).and_then(|warnings| birth::check_reaches(&kafka, &journal, &read).map(|()| warnings));
    let warnings = tokio::task::spawn_blocking(check).await??;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(Ground { database, journal, checkpoints })
}

/// Runs a role, and reports meanwhile that it runs and which event format it reads. It ends when a format is raised that it does not read.
pub async fn run<F: Future<Output = anyhow::Result<()>>>(
    config: Config,
    role: &str,
    run: impl FnOnce(Config, Ground) -> F,
) -> anyhow::Result<()> {
    let ground = ground(&config).await?;
    let database = ground.database.clone();
    let running = RunningRole { role: role.to_owned(), process: Uuid::new_v4(), reads: FORMAT };
    database.report(&running).await?;
    let report = async {
        loop {
            tokio::time::sleep(REPORT_EVERY).await;
            // PostgreSQL may be away for a while: then nobody raises a format either.
            match tokio::try_join!(database.report(&running), raised(&database)) {
                Ok(((), format)) => readable(format)?,
                Err(problem) => tracing::debug!(%problem, "not reported"),
            }
        }
    };
    let ended = tokio::select! {
        ended = run(config, ground) => ended,
        unreadable = report => unreadable,
    };
    // It counts for a minute at most if this fails.
    let _ = database.forget(running.process).await;
    ended
}

/// The event format as the read models show it. They may be late; whoever folds the journal finds out by itself.
async fn raised(database: &Database) -> Result<u32, ReadError> {
    match database.snapshot(Shown::Partitions(&[])).await?.format().await {
        Err(ReadError::NotFilled(_)) => Ok(0),
        format => format,
    }
}

/// Refuses a journal in which events may stand that this program does not read.
fn readable(format: u32) -> anyhow::Result<()> {
    ensure!(
        format <= FORMAT,
        "the journal is written in event format {format}, and this program reads formats up to {FORMAT}: it is too old"
    );
    Ok(())
}

/// The journal's own topic.
pub fn events(config: &Config, journal: &Journal) -> anyhow::Result<KafkaLog> {
    Ok(KafkaLog::new(&config.kafka, &journal.events(), journal.all_partitions())?)
}

/// The topic of commands of an origin.
pub fn commands(config: &Config, journal: &Journal, origin: Origin) -> anyhow::Result<KafkaLog> {
    Ok(KafkaLog::new(&config.kafka, &journal.topic_of(origin), journal.all_partitions())?)
}

/// A log that can be shared.
pub fn shared(log: KafkaLog) -> Arc<dyn Log> {
    Arc::new(log)
}

/// Collects metrics of this process.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("metrics cannot be collected")
}

/// Becomes true when the process is asked to end.
pub fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        // Everybody who listened may have ended already.
        let _ = stop.send(true);
    });
    Ok(stopped)
}

/// Resolves once `stop` is true.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves health and figures until `stop` is true; nothing where no address is configured.
pub async fn show(listen: Option<SocketAddr>, router: Router, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let Some(listen) = listen else {
        stopped(stop).await;
        return Ok(());
    };
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!("health and figures on http://{listen}");
    axum::serve(listener, router).with_graceful_shutdown(stopped(stop)).await?;
    Ok(())
}
