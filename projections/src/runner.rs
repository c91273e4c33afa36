//! Keeps all read models up to date: one live runner, any number in standby.
//!
//! *Live* is the runner whose connection holds an advisory lock of PostgreSQL; it applies on that same connection, so when the connection is lost
//! its lead is lost with it. The lock only spares work. What keeps rows true is that checkpoints move in the transaction that writes the rows, and
//! only from the value that the runner knows. Programs with other versions of the read models have a lock of their own: while a platform is
//! upgraded two runners are live, and each passes over what the other has applied to the builds that they share.
//!
//! One round: what has arrived of all partitions is applied to the current build of every read model in one transaction, which also tells
//! waiting readers and workers. A build that was switched in meanwhile is picked up by the next round. A broken partition stops alone. When
//! PostgreSQL or Kafka is away the runner tries again, later each time, and never gives up; [`Health`] says so.

use crate::{
    build::{self, Build, CarryError, Moved},
    builds::{self, RebuildError},
    database::Database,
    identity::IdentityError,
    model::{ALL, EDITION},
    positions::{MOVED, OPEN_WORK},
    snapshot::ReadError,
    source::{Arrived, Source},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use deadpool_postgres::{ClientWrapper, Object, Transaction};
use journal::{log::Log, tail::TailError, topics::Journal};
use metrics::{counter, gauge, histogram};
use schemas::record::Position;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

/// Runners of two releases apply one after the other, so that neither waits for rows that the other has.
const APPLYING: i64 = 0x0063_6972_7275_7302;

/// How often lag is measured and the connection looked at while nothing arrives.
const TICK: Duration = Duration::from_secs(1);

/// What a runner is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It is not connected yet.
    #[default]
    Starting,
    /// Another runner is live; this one takes over when that one ends.
    Standby,
    /// It applies.
    Live,
    /// It cannot go on at the moment, for this reason, and tries again.
    Waiting(String),
    /// It was told to stop and has.
    Stopped,
}

/// How a runner is, for health endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What it is doing.
    pub duty: Duty,
    /// Partitions that cannot be read any further, and why. People have to look.
    pub broken: BTreeMap<u32, String>,
    /// Read models that passed over an event, and the first such position. They are to be rebuilt by a program that knows it.
    pub incomplete: BTreeMap<&'static str, Position>,
    /// Records that each read model is behind the journal; none while the journal's end is not known.
    pub lag: BTreeMap<&'static str, Option<u64>>,
    /// Read models that are being filled for the first time beside the live ones.
    pub filling: Vec<&'static str>,
}

/// Keeps read models up to date; see the module.
pub struct Runner {
    database: Database,
    log: Arc<dyn Log>,
    journal: Journal,
    health: watch::Sender<Health>,
    stop: watch::Receiver<bool>,
}

/// A round failed; the next attempt begins with a new connection.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Carry(#[from] CarryError),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error("the reader of the journal has ended")]
    SourceEnded,
    #[error("the connection to PostgreSQL is closed")]
    Closed,
}

impl From<tokio_postgres::Error> for Interrupted {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Read(error.into())
    }
}

impl Runner {
    /// A runner for this journal. `stop` becoming true, or its sender being dropped, makes it finish what it has read and return.
    pub fn new(database: Database, log: Arc<dyn Log>, journal: Journal, stop: watch::Receiver<bool>) -> Self {
        Self { database, log, journal, health: watch::channel(Health::default()).0, stop }
    }

    /// How it is, from now on.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Runs until it is stopped.
    ///
    /// # Errors
    ///
    /// Only before it begins: when the database belongs to another journal or its tables cannot be migrated. It waits for a server that is away.
    pub async fn run(mut self) -> Result<(), IdentityError> {
        let mut backoff = delays();
        let mut admitted = false;
        loop {
            let interrupted: String = if admitted {
                let began = Instant::now();
                match self.serve().await {
                    Ok(()) => break,
                    Err(interrupted) => {
                        if began.elapsed() > Duration::from_secs(30) {
                            backoff = delays();
                        }
                        chain(&interrupted)
                    }
                }
            } else {
                match self.admit().await {
                    Ok(()) => {
                        admitted = true;
                        continue;
                    }
                    Err(IdentityError::Read(away)) => chain(&away),
                    Err(refused) => return Err(refused),
                }
            };
            let pause = backoff.next().expect("these delays never end");
            tracing::warn!(problem = interrupted, ?pause, "the read models stand still: {interrupted}; trying again in {pause:?}");
            self.health.send_modify(|health| health.duty = Duty::Waiting(interrupted));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut self.stop) => break,
            }
        }
        self.health.send_modify(|health| health.duty = Duty::Stopped);
        Ok(())
    }

    async fn admit(&self) -> Result<(), IdentityError> {
        self.database.migrate().await?;
        self.database.check(&self.journal).await
    }

    /// One life of a connection: waits for the lead, then applies until stopped or interrupted.
    async fn serve(&mut self) -> Result<(), Interrupted> {
        let mut client = Object::take(self.database.client().await?);
        client.batch_execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
        if !self.lead(&client).await? {
            return Ok(());
        }
        let missing = ensure_builds(&mut client, &self.journal).await?;
        let mut live = Live { builds: current(&client).await?, filling: self.fill(missing), client, runner: self };
        live.go_on().await
    }

    /// Waits for the lead. False when stopped first.
    async fn lead(&mut self, client: &ClientWrapper) -> Result<bool, Interrupted> {
        if client.query_one("SELECT pg_try_advisory_lock($1)", &[&*EDITION]).await?.try_get(0)? {
            return Ok(true);
        }
        self.health.send_modify(|health| health.duty = Duty::Standby);
        tracing::info!("another runner keeps the read models; standing by");
        let lock = format!("SELECT pg_advisory_lock({})", *EDITION);
        tokio::select! {
            led = client.execute(&lock, &[]) => Ok(led.map(|_| true)?),
            () = stopped(&mut self.stop) => Ok(false),
        }
    }

    /// Fills models that this database does not have yet beside the others; they are switched in when they have caught up.
    fn fill(&self, missing: Vec<&'static str>) -> JoinSet<Result<i32, RebuildError>> {
        let mut filling = JoinSet::new();
        self.health.send_modify(|health| health.filling.clone_from(&missing));
        for model in missing {
            let (database, log, journal, stop) = (self.database.clone(), Arc::clone(&self.log), self.journal, self.stop.clone());
            filling.spawn(async move { builds::rebuild(&database, &*log, &journal, model, stop, |_| {}).await });
        }
        filling
    }
}

/// Waits until it is true, or nobody is left to make it so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A server that is back is found within seconds: there are few projectors to trouble it, and reads are refused while they wait.
fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times()
        .build()
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    line
}

/// Makes the first build of every model in a new database. In one that has others, returns the models that are missing.
async fn ensure_builds(client: &mut ClientWrapper, journal: &Journal) -> Result<Vec<&'static str>, tokio_postgres::Error> {
    let tx = client.transaction().await?;
    let known = Build::all(&*tx).await?;
    let any: bool = tx.query_one("SELECT EXISTS (SELECT 1 FROM read_model_builds)", &[]).await?.try_get(0)?;
    let mut missing = Vec::new();
    for model in ALL {
        if known.iter().any(|(build, current)| *current && build.model.name() == model.name()) {
            continue;
        }
        if any {
            missing.push(model.name());
        } else {
            Build::create(&tx, model, 1, journal, true).await?;
        }
    }
    tx.commit().await?;
    Ok(missing)
}

async fn current(client: &ClientWrapper) -> Result<Vec<Build>, tokio_postgres::Error> {
    Ok(Build::all(&**client).await?.into_iter().filter(|(_, current)| *current).map(|(build, _)| build).collect())
}

/// The runner while it leads.
struct Live<'a> {
    runner: &'a mut Runner,
    client: ClientWrapper,
    builds: Vec<Build>,
    filling: JoinSet<Result<i32, RebuildError>>,
}

impl Live<'_> {
    async fn go_on(&mut self) -> Result<(), Interrupted> {
        let from = Build::earliest(&self.builds);
        let mut source = Source::open(&*self.runner.log, &self.runner.journal, &from, None)?;
        self.runner.health.send_modify(|health| (health.duty, health.broken) = (Duty::Live, BTreeMap::new()));
        tracing::info!("keeping the read models");
        let mut tick = tokio::time::interval(TICK);
        let (mut stop, mut stopping) = (self.runner.stop.clone(), false);
        loop {
            tokio::select! {
                arrived = source.next() => match arrived {
                    Some(arrived) => self.take(arrived).await?,
                    None if stopping => return Ok(()),
                    None => return Err(Interrupted::SourceEnded),
                },
                () = stopped(&mut stop), if !stopping => {
                    stopping = true;
                    source.stop();
                }
                Some(filled) = self.filling.join_next() => {
                    self.filled(filled);
                    self.builds = current(&self.client).await?;
                }
                _ = tick.tick() => {
                    if self.client.is_closed() {
                        return Err(Interrupted::Closed);
                    }
                    self.measure(&source);
                }
            }
        }
    }

    async fn take(&mut self, arrived: Arrived) -> Result<(), Interrupted> {
        for (partition, why) in &arrived.broken {
            tracing::error!(partition, reason = %why, "partition {partition} is broken and is not read any further: {why}");
            self.runner.health.send_modify(|health| drop(health.broken.insert(*partition, why.to_string())));
        }
        let commits: usize = arrived.batches.iter().map(|batch| batch.commits.len()).sum();
        let began = Instant::now();
        while !self.apply(&arrived).await? {
            self.builds = current(&self.client).await?;
        }
        histogram!("cirrus_projection_apply_seconds").record(began.elapsed().as_secs_f64());
        histogram!("cirrus_projection_batch_commits").record(commits as f64);
        counter!("cirrus_projection_commits_total").increment(commits as u64);
        Ok(())
    }

    /// Applies what arrived. False, and nothing done, when other builds have become current than are known here, or somebody else has moved a
    /// checkpoint.
    async fn apply(&mut self, arrived: &Arrived) -> Result<bool, Interrupted> {
        let tx = self.client.transaction().await?;
        if !are_current(&tx, &self.builds).await? {
            return Ok(false);
        }
        let moved = match build::apply(&tx, &self.builds, &arrived.batches).await {
            Err(CarryError::Rival) => return Ok(false),
            moved => moved?,
        };
        tell(&tx, &moved, &self.builds).await?;
        tx.commit().await?;
        moved.note(&mut self.builds);
        Ok(true)
    }

    fn filled(&self, filled: Result<Result<i32, RebuildError>, tokio::task::JoinError>) {
        match filled {
            Ok(Ok(build)) => tracing::info!(build, "a new read model is filled and answers from now on"),
            // What it had filled is kept; the next runner that leads goes on with it.
            Ok(Err(problem)) => tracing::error!(%problem, "a new read model could not be filled: {problem}"),
            Err(panicked) => tracing::error!(%panicked, "filling a new read model ended in a panic"),
        }
        if self.filling.is_empty() {
            self.runner.health.send_modify(|health| health.filling.clear());
        }
    }

    fn measure(&self, source: &Source) {
        let standing = source.standing();
        let mut lags = BTreeMap::new();
        let mut incomplete = BTreeMap::new();
        for build in &self.builds {
            let name = build.model.name();
            let mut all = Some(0);
            for at in &standing {
                let ahead = build.at.get(&at.partition).map_or(0, |reader| at.state.seq.saturating_sub(reader.state.seq));
                let lag = at.lag.map(|lag| lag + ahead);
                if let Some(lag) = lag {
                    gauge!("cirrus_projection_lag_records", "model" => name, "partition" => at.partition.to_string()).set(lag as f64);
                }
                all = all.zip(lag).map(|(all, lag)| all + lag);
            }
            lags.insert(name, all);
            if let Some((partition, seq)) = build.incomplete.first_key_value() {
                incomplete.insert(name, Position { generation: self.runner.journal.generation, partition: *partition, seq: *seq });
            }
        }
        self.runner.health.send_if_modified(|health| {
            let changed = (&health.lag, &health.incomplete) != (&lags, &incomplete);
            (health.lag, health.incomplete) = (lags, incomplete);
            changed
        });
    }
}

/// True when exactly `builds` are current, and stay so until this transaction ends.
async fn are_current(tx: &Transaction<'_>, builds: &[Build]) -> Result<bool, tokio_postgres::Error> {
    tx.batch_execute(&format!("SELECT pg_advisory_xact_lock({APPLYING}); LOCK TABLE read_model_builds IN ROW SHARE MODE")).await?;
    let statement = tx.prepare_cached("SELECT model, version, build FROM read_model_builds WHERE current").await?;
    let rows = tx.query(&statement, &[]).await?;
    let mut found = 0;
    for row in rows {
        let (name, version, build): (&str, i32, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if !ALL.iter().any(|model| model.name() == name && model.version() == version) {
            continue;
        }
        if !builds.iter().any(|b| (b.model.name(), b.tables.build) == (name, build)) {
            return Ok(false);
        }
        found += 1;
    }
    Ok(found == builds.len())
}

/// Tells waiting readers and workers; PostgreSQL delivers it when the transaction commits.
async fn tell(tx: &Transaction<'_>, moved: &Moved, builds: &[Build]) -> Result<(), tokio_postgres::Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let mut told = vec![(MOVED, moved.payload(builds))];
    told.extend(moved.work().iter().map(|place| (OPEN_WORK, place.clone())));
    let (channels, payloads): (Vec<&str>, Vec<String>) = told.into_iter().unzip();
    let statement =
        tx.prepare_cached("SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload)").await?;
    tx.execute(&statement, &[&channels, &payloads]).await?;
    Ok(())
}
