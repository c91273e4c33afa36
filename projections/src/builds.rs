//! Builds of read models: listing, filling anew, comparing, dropping.
//!
//! A rebuild fills new tables from the beginning of the journal, beside the ones that answer and with a reader of its own. It can be cancelled at any
//! moment; the next one goes on where it stopped. When it has nearly caught up it makes the indexes that only queries need, then holds the live
//! runner for an instant, reads the last records up to what that one has read, and becomes current in the same transaction. From the next batch on the live runner carries it.

use crate::{
    build::{self, Build, CarryError},
    database::Database,
    digest::{self, Digested},
    model::{ReadModel, Tables, by_name},
    snapshot::ReadError,
    source::{BATCH, Source},
};
use deadpool_postgres::{ClientWrapper, Object, Transaction};
use domain::Timestamp;
use journal::{log::Log, tail::TailError, topics::Journal};
use schemas::record::Position;
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::timeout};
use tokio_postgres::GenericClient;

/// A build, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildInfo {
    /// Its read model.
    pub model: String,
    /// The version of its tables.
    pub version: i32,
    /// Its number.
    pub build: i32,
    /// True for the one that answers.
    pub current: bool,
    /// True when this program knows the model in this version.
    pub known: bool,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Records that it has read in all partitions.
    pub records: u64,
    /// Partitions in which it passed over an event that it did not know, with the first seq.
    pub incomplete: BTreeMap<u32, u64>,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The build.
    pub build: i32,
    /// Records read.
    pub read: u64,
    /// Records to read until it has caught up, as far as is known.
    pub behind: u64,
}

/// A build could not be filled, compared or dropped.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No such read model.
    #[error("there is no read model {0}")]
    NoSuchModel(String),
    /// No such build.
    #[error("{model} has no build {build}")]
    NoSuchBuild {
        /// Of which model.
        model: String,
        /// The number asked for.
        build: i32,
    },
    /// The build answers questions.
    #[error("build {build} of {model} is the current one and cannot be dropped")]
    Current {
        /// Of which model.
        model: String,
        /// Its number.
        build: i32,
    },
    /// Somebody else is filling a build of the same model.
    #[error("{0} is being rebuilt already")]
    Running(String),
    /// It was told to stop. What it has filled is kept; the next rebuild goes on with it.
    #[error("stopped; the next rebuild goes on from here")]
    Stopped,
    /// A partition cannot be read to where the live build has read it.
    #[error("partition {partition} cannot be read any further: {reason}")]
    Broken {
        /// Which partition.
        partition: u32,
        /// Why.
        reason: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// A batch could not be applied.
    #[error(transparent)]
    Carry(#[from] CarryError),
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<tokio_postgres::Error> for RebuildError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Read(error.into())
    }
}

/// A rebuild that is this near tries to become current: one batch is left to read while the live runner is held.
const NEAR: u64 = BATCH as u64;

/// The live runner is not held longer than this.
const HELD: Duration = Duration::from_secs(5);

/// All builds, those of unknown models and versions included.
///
/// # Errors
///
/// When PostgreSQL does not answer.
pub async fn list(database: &Database) -> Result<Vec<BuildInfo>, ReadError> {
    let rows = database
        .client()
        .await?
        .query(
            "SELECT b.model, b.version, b.build, b.current, b.created_at, coalesce(sum(c.seq), 0)::bigint,
               array_remove(array_agg(c.partition ORDER BY c.partition) FILTER (WHERE c.incomplete_from IS NOT NULL), NULL),
               array_remove(array_agg(c.incomplete_from ORDER BY c.partition) FILTER (WHERE c.incomplete_from IS NOT NULL), NULL)
             FROM read_model_builds b LEFT JOIN read_model_checkpoints c USING (model, version, build)
             GROUP BY b.model, b.version, b.build ORDER BY b.model, b.version, b.build",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let (model, version): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
            let partitions: Option<Vec<i32>> = row.try_get(6)?;
            let seqs: Option<Vec<i64>> = row.try_get(7)?;
            let incomplete = partitions.into_iter().flatten().zip(seqs.into_iter().flatten()).map(|(p, s)| (p as u32, s as u64));
            Ok(BuildInfo {
                known: by_name(&model).is_some_and(|known| known.version() == version),
                model,
                version,
                build: row.try_get(2)?,
                current: row.try_get(3)?,
                created_at: row.try_get(4)?,
                records: row.try_get::<_, i64>(5)? as u64,
                incomplete: incomplete.collect(),
            })
        })
        .collect()
}

/// Fills a new build of a read model and makes it current; returns its number. Goes on with one that was stopped.
///
/// # Errors
///
/// [`RebuildError::Stopped`] once `stop` is true. Every error leaves the live build as it was.
pub async fn rebuild(
    database: &Database,
    log: &dyn Log,
    journal: &Journal,
    name: &str,
    stop: watch::Receiver<bool>,
    progress: impl Fn(Progress),
) -> Result<i32, RebuildError> {
    let model = by_name(name).ok_or_else(|| RebuildError::NoSuchModel(name.to_owned()))?;
    let mut filler = Filler::begin(database, journal, model, stop).await?;
    loop {
        let from = Build::earliest([&filler.build]);
        let mut source = Source::open(log, journal, &from, None)?;
        loop {
            let target = live(&*filler.client).await?;
            let behind = filler.build.behind(&target).max(behind_the_end(&filler.build, &source));
            progress(filler.progress(behind));
            if behind <= NEAR && level(&source) {
                if !filler.indexed {
                    filler.index().await?;
                    // Meanwhile the journal has moved on.
                    continue;
                }
                if filler.switch(&mut source).await? {
                    return Ok(filler.build.tables.build);
                }
                // What was read for the attempt was rolled back with it: read it again.
                break;
            }
            filler.fill_one(&mut source, Duration::from_secs(1)).await?;
        }
    }
}

/// Fills a fresh build up to exactly where the current one stands, digests both, and drops the fresh one.
///
/// # Errors
///
/// Like [`rebuild`]; a difference is no error but a pair of digests that differ.
pub async fn compare(
    database: &Database,
    log: &dyn Log,
    journal: &Journal,
    name: &str,
    stop: watch::Receiver<bool>,
    progress: impl Fn(Progress),
) -> Result<Comparison, RebuildError> {
    let model = by_name(name).ok_or_else(|| RebuildError::NoSuchModel(name.to_owned()))?;
    let mut filler = Filler::begin_afresh(database, journal, model, stop).await?;
    let build = filler.build.tables.build;
    let compared = async {
        let live = digest::of(database, model, None).await?.ok_or(ReadError::NotFilled(model.name()))?;
        let mut source = Source::open(log, journal, &Build::earliest([&filler.build]), Some(live.positions.clone()))?;
        loop {
            let behind = filler.build.behind(&live.positions);
            progress(filler.progress(behind));
            if behind == 0 {
                break;
            }
            filler.fill_one(&mut source, Duration::from_secs(1)).await?;
        }
        let rebuilt = digest::of(database, model, Some(build)).await?;
        let rebuilt = rebuilt.ok_or_else(|| RebuildError::NoSuchBuild { model: name.to_owned(), build })?;
        Ok(Comparison { live, rebuilt })
    }
    .await;
    // However it went: nobody asked for a build to keep.
    let dropped = drop_build(database, name, None, build).await;
    compared.and_then(|compared| dropped.map(|()| compared))
}

/// The digests of the current build and of a fresh one at the same positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Of the build that answers.
    pub live: Digested,
    /// Of the fresh one.
    pub rebuilt: Digested,
}

impl Comparison {
    /// True when the live rows are what the journal says.
    pub fn is_equal(&self) -> bool {
        self.live.digest == self.rebuilt.digest && self.live.positions == self.rebuilt.positions
    }
}

/// Drops a build of a read model; in the version of this program when none is named. Of another version the current one, too: whoever answered
/// from it is of another release, and has to be gone.
///
/// # Errors
///
/// [`RebuildError::Current`] for the one that answers.
pub async fn drop_build(database: &Database, name: &str, version: Option<i32>, build: i32) -> Result<(), RebuildError> {
    let model = by_name(name).ok_or_else(|| RebuildError::NoSuchModel(name.to_owned()))?;
    let tables = Tables { version: version.unwrap_or(model.version()), build };
    let mut client = database.client().await?;
    let tx = client.transaction().await?;
    tx.batch_execute("LOCK TABLE read_model_builds IN EXCLUSIVE MODE").await?;
    let sql = "SELECT current FROM read_model_builds WHERE (model, version, build) = ($1, $2, $3)";
    let row = tx.query_opt(sql, &[&name, &tables.version, &build]).await?;
    let named = |model: &dyn ReadModel| model.name().to_owned();
    match row.map(|row| row.try_get::<_, bool>(0)).transpose()? {
        None => return Err(RebuildError::NoSuchBuild { model: named(model), build }),
        Some(true) if tables.version == model.version() => return Err(RebuildError::Current { model: named(model), build }),
        Some(_) => Build::remove(&tx, model, tables).await?,
    }
    Ok(tx.commit().await?)
}

/// How far the current builds have read: the furthest of them, a partition.
async fn live(client: &impl GenericClient) -> Result<BTreeMap<u32, Position>, tokio_postgres::Error> {
    let mut furthest: BTreeMap<u32, Position> = BTreeMap::new();
    for (build, _) in Build::all(client).await?.into_iter().filter(|(_, current)| *current) {
        for (partition, position) in build.positions() {
            let most = furthest.entry(partition).or_insert(position);
            if (most.generation, most.seq) < (position.generation, position.seq) {
                *most = position;
            }
        }
    }
    Ok(furthest)
}

/// Records between a build and the ends of the partitions, as far as they are known.
fn behind_the_end(build: &Build, source: &Source) -> u64 {
    let lag = |at: &journal::tail::Standing| {
        let read = build.at.get(&at.partition).map_or(0, |reader| reader.state.seq);
        at.lag.unwrap_or(0) + at.state.seq.saturating_sub(read)
    };
    source.standing().iter().map(lag).sum()
}

/// True once the end of every partition is known, so that being near it means something.
fn level(source: &Source) -> bool {
    source.standing().iter().all(|at| at.lag.is_some() || at.broken.is_some())
}

/// A build that is being filled.
struct Filler {
    /// Holds the lock that keeps others from filling the same model.
    client: ClientWrapper,
    build: Build,
    /// Whether it has all its indexes.
    indexed: bool,
    stop: watch::Receiver<bool>,
}

impl Filler {
    /// Goes on with the youngest build that has never been current, or begins one.
    async fn begin(
        database: &Database,
        journal: &Journal,
        model: &'static dyn ReadModel,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, RebuildError> {
        let mut client = alone(database, model).await?;
        let builds = Build::all(&*client).await?;
        let of_model = |(build, _): &&(Build, bool)| build.model.name() == model.name();
        let current = builds.iter().filter(of_model).find(|(_, current)| *current).map_or(0, |(build, _)| build.tables.build);
        let unfinished = builds.iter().filter(of_model).map(|(build, _)| build).filter(|build| build.tables.build > current);
        let build = match unfinished.max_by_key(|build| build.tables.build) {
            Some(build) => build.clone(),
            None => new_build(&mut client, journal, model).await?,
        };
        Ok(Self { client, build, indexed: false, stop })
    }

    async fn begin_afresh(
        database: &Database,
        journal: &Journal,
        model: &'static dyn ReadModel,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, RebuildError> {
        let mut client = alone(database, model).await?;
        let build = new_build(&mut client, journal, model).await?;
        Ok(Self { client, build, indexed: false, stop })
    }

    fn progress(&self, behind: u64) -> Progress {
        let read = self.build.at.values().map(|reader| reader.state.seq).sum();
        Progress { build: self.build.tables.build, read, behind }
    }

    /// Applies what arrives next, if anything does before `patience` ends.
    async fn fill_one(&mut self, source: &mut Source, patience: Duration) -> Result<(), RebuildError> {
        if *self.stop.borrow() {
            return Err(RebuildError::Stopped);
        }
        let arrived = tokio::select! {
            arrived = timeout(patience, source.next()) => arrived,
            _ = self.stop.wait_for(|stop| *stop) => return Err(RebuildError::Stopped),
        };
        let Ok(Some(arrived)) = arrived else { return Ok(()) };
        let tx = self.client.transaction().await?;
        let builds = std::slice::from_mut(&mut self.build);
        let moved = build::apply(&tx, builds, &arrived.batches).await?;
        tx.commit().await?;
        moved.note(builds);
        refuse_broken(arrived.broken)
    }

    /// Makes the indexes, which takes as long as it takes.
    async fn index(&mut self) -> Result<(), RebuildError> {
        tokio::select! {
            indexed = self.build.index(&*self.client) => indexed?,
            _ = self.stop.wait_for(|stop| *stop) => return Err(RebuildError::Stopped),
        }
        self.indexed = true;
        Ok(())
    }

    /// Holds the live runner, reads up to where it stands, and takes its place; all of it or, when that takes too long, nothing.
    async fn switch(&mut self, source: &mut Source) -> Result<bool, RebuildError> {
        let Self { client, build, .. } = self;
        let tx = client.transaction().await?;
        tx.batch_execute("LOCK TABLE read_model_builds IN EXCLUSIVE MODE").await?;
        let target = live(&*tx).await?;
        let mut filled = [build.clone()];
        let catch_up = async {
            while filled[0].behind(&target) > 0 {
                let Some(arrived) = source.next().await else { return Err(RebuildError::Stopped) };
                build::apply(&tx, &filled, &arrived.batches).await?.note(&mut filled);
                refuse_broken(arrived.broken)?;
            }
            Ok(())
        };
        match timeout(HELD, catch_up).await {
            Ok(caught_up) => caught_up?,
            Err(_) => return Ok(false),
        }
        make_current(&tx, &filled[0]).await?;
        tx.commit().await?;
        [*build] = filled;
        Ok(true)
    }
}

fn refuse_broken(broken: Vec<(u32, journal::rule::Broken)>) -> Result<(), RebuildError> {
    match broken.into_iter().next() {
        None => Ok(()),
        Some((partition, why)) => Err(RebuildError::Broken { partition, reason: why.to_string() }),
    }
}

/// A connection of its own that holds the right to fill this model.
async fn alone(database: &Database, model: &dyn ReadModel) -> Result<ClientWrapper, RebuildError> {
    let client = Object::take(database.client().await?);
    client.batch_execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
    let sql = "SELECT pg_try_advisory_lock(hashtextextended('cirrus read model ' || $1, 0))";
    if client.query_one(sql, &[&model.name()]).await?.try_get(0)? {
        Ok(client)
    } else {
        Err(RebuildError::Running(model.name().to_owned()))
    }
}

async fn new_build(client: &mut ClientWrapper, journal: &Journal, model: &'static dyn ReadModel) -> Result<Build, RebuildError> {
    let tx = client.transaction().await?;
    let sql = "SELECT coalesce(max(build), 0) + 1 FROM read_model_builds WHERE (model, version) = ($1, $2)";
    let number: i32 = tx.query_one(sql, &[&model.name(), &model.version()]).await?.try_get(0)?;
    let build = Build::create(&tx, model, number, journal, false).await?;
    tx.commit().await?;
    Ok(build)
}

async fn make_current(tx: &Transaction<'_>, build: &Build) -> Result<(), tokio_postgres::Error> {
    let (name, version) = (build.model.name(), build.tables.version);
    tx.execute("UPDATE read_model_builds SET current = false WHERE (model, version) = ($1, $2) AND current", &[&name, &version]).await?;
    let sql = "UPDATE read_model_builds SET current = true WHERE (model, version, build) = ($1, $2, $3)";
    tx.execute(sql, &[&name, &version, &build.tables.build]).await?;
    Ok(())
}
