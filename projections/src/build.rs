//! One build of a read model: its tables, how far it has read, and the one transaction that moves both.

use crate::{
    commit::{Applied, Batch},
    model::{ALL, ApplyError, On, ReadModel, Tables},
    positions::payload,
};
use deadpool_postgres::Transaction;
use futures::future::try_join_all;
use journal::{follower::StoredReader, rule::ReaderState, topics::Journal};
use schemas::record::Position;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{GenericClient, types::Json};

/// A build as of the checkpoints that were read or written last.
#[derive(Clone)]
pub struct Build {
    /// Whose tables.
    pub model: &'static dyn ReadModel,
    /// Which tables.
    pub tables: Tables,
    /// How far it has read, a partition.
    pub at: BTreeMap<u32, StoredReader>,
    /// The first position, a partition, with an event that was passed over.
    pub incomplete: BTreeMap<u32, u64>,
}

/// What one transaction moves.
#[derive(Debug, Default)]
pub struct Moved {
    /// New checkpoints: index of the build, and the reader.
    checkpoints: Vec<(usize, StoredReader)>,
    /// Index of the build, partition and seq where one passed over an event.
    incomplete: Vec<(usize, u32, u64)>,
    /// Where work was opened.
    work: BTreeSet<String>,
}

/// A batch was not applied; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// Another runner has moved a checkpoint: what is known here is out of date.
    #[error("another runner has moved the checkpoints")]
    Rival,
    /// The batch begins behind what was read: something would be left out.
    #[error("{model} has read up to {at}, but the next records are those after seq {from}")]
    Gap {
        /// Whose build.
        model: &'static str,
        /// How far it has read.
        at: Position,
        /// Where the batch begins.
        from: u64,
    },
    /// The journal has a partition that the build was not made for.
    #[error("{model} knows no partition {partition}")]
    NoSuchPartition {
        /// Whose build.
        model: &'static str,
        /// Which partition.
        partition: u32,
    },
    /// A read model could not be written.
    #[error("cannot write {model}")]
    Apply {
        /// Which.
        model: &'static str,
        /// Why.
        source: ApplyError,
    },
    /// PostgreSQL refused or went away.
    #[error("PostgreSQL")]
    Sql(#[from] tokio_postgres::Error),
}

/// Later in the same chain. Generations follow each other, so the pair is ordered.
fn order(state: &ReaderState) -> (u32, u64) {
    (state.generation, state.seq)
}

impl Build {
    /// Makes the tables of a build and its checkpoints, at the beginning of every partition. One that is not current may lack
    /// [its indexes](Self::index).
    ///
    /// # Errors
    ///
    /// When PostgreSQL refuses.
    pub async fn create(
        tx: &Transaction<'_>,
        model: &'static dyn ReadModel,
        build: i32,
        journal: &Journal,
        current: bool,
    ) -> Result<Self, tokio_postgres::Error> {
        let tables = Tables { version: model.version(), build };
        let sql = "INSERT INTO read_model_builds (model, version, build, current) VALUES ($1, $2, $3, $4)";
        tx.execute(sql, &[&model.name(), &tables.version, &tables.build, &current]).await?;
        for table in model.tables() {
            tx.batch_execute(&tables.sql(table.statements().0)).await?;
        }
        let start = |partition| StoredReader { state: ReaderState::empty(&journal.genesis(partition)), hint: None };
        let at: BTreeMap<u32, StoredReader> = (0..journal.all_partitions()).map(|partition| (partition, start(partition))).collect();
        tx.execute(
            "INSERT INTO read_model_checkpoints (model, version, build, partition, generation, seq, reader)
             SELECT $1, $2, $3, * FROM unnest($4::integer[], $5::integer[], $6::bigint[], $7::jsonb[])",
            &[
                &model.name(),
                &tables.version,
                &tables.build,
                &at.keys().map(|p| *p as i32).collect::<Vec<_>>(),
                &at.values().map(|r| r.state.generation as i32).collect::<Vec<_>>(),
                &at.values().map(|r| r.state.seq as i64).collect::<Vec<_>>(),
                &at.values().map(Json).collect::<Vec<_>>(),
            ],
        )
        .await?;
        let build = Self { model, tables, at, incomplete: BTreeMap::new() };
        if current || !model.indexes_last() {
            build.index(&**tx).await?;
        }
        Ok(build)
    }

    /// Makes the indexes that it lacks.
    ///
    /// # Errors
    ///
    /// When PostgreSQL refuses.
    pub async fn index(&self, client: &impl GenericClient) -> Result<(), tokio_postgres::Error> {
        for table in self.model.tables() {
            client.batch_execute(&self.tables.sql(&table.statements().1)).await?;
        }
        Ok(())
    }

    /// Drops the tables and the checkpoints of a build.
    ///
    /// # Errors
    ///
    /// When PostgreSQL refuses.
    pub async fn remove(tx: &Transaction<'_>, model: &dyn ReadModel, tables: Tables) -> Result<(), tokio_postgres::Error> {
        for table in model.tables() {
            tx.batch_execute(&format!("DROP TABLE IF EXISTS {}", tables.name(table.name))).await?;
        }
        let sql = "DELETE FROM read_model_builds WHERE (model, version, build) = ($1, $2, $3)";
        tx.execute(sql, &[&model.name(), &tables.version, &tables.build]).await?;
        Ok(())
    }

    /// Every build of every read model of this program, current ones first.
    ///
    /// # Errors
    ///
    /// When PostgreSQL refuses.
    pub async fn all(client: &impl GenericClient) -> Result<Vec<(Self, bool)>, tokio_postgres::Error> {
        let rows = client
            .query(
                "SELECT b.model, b.version, b.build, b.current, c.partition, c.reader, c.incomplete_from
                 FROM read_model_builds b LEFT JOIN read_model_checkpoints c USING (model, version, build)
                 ORDER BY b.current DESC, b.model, b.version, b.build, c.partition",
                &[],
            )
            .await?;
        let mut builds: Vec<(Self, bool)> = Vec::new();
        for row in rows {
            let (name, version, build): (&str, i32, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let Some(model) = ALL.into_iter().find(|model| model.name() == name && model.version() == version) else {
                continue;
            };
            let tables = Tables { version, build };
            if builds.last().is_none_or(|(last, _)| (last.model.name(), last.tables) != (name, tables)) {
                builds.push((Self { model, tables, at: BTreeMap::new(), incomplete: BTreeMap::new() }, row.try_get(3)?));
            }
            let (Some((into, _)), Some(Json(reader))) = (builds.last_mut(), row.try_get::<_, Option<Json<StoredReader>>>(5)?) else {
                continue;
            };
            into.at.insert(reader.state.partition, reader);
            if let Some(from) = row.try_get::<_, Option<i64>>(6)? {
                into.incomplete.insert(reader.state.partition, from as u64);
            }
        }
        Ok(builds)
    }

    /// Where a reader has to begin to miss nothing for any of these builds.
    pub fn earliest<'a>(builds: impl IntoIterator<Item = &'a Self>) -> Vec<StoredReader> {
        let mut earliest: BTreeMap<u32, StoredReader> = BTreeMap::new();
        for reader in builds.into_iter().flat_map(|build| build.at.values()) {
            let least = earliest.entry(reader.state.partition).or_insert(*reader);
            if order(&reader.state) < order(&least.state) {
                *least = *reader;
            }
        }
        earliest.into_values().collect()
    }

    /// How many records this build is behind `target` in all.
    pub fn behind(&self, target: &BTreeMap<u32, Position>) -> u64 {
        let lag = |(partition, wanted): (&u32, &Position)| match self.at.get(partition) {
            Some(at) if order(&at.state) >= (wanted.generation, wanted.seq) => 0,
            Some(at) if at.state.generation == wanted.generation => wanted.seq - at.state.seq,
            _ => wanted.seq.max(1),
        };
        target.iter().map(lag).sum()
    }

    /// Its positions.
    pub fn positions(&self) -> BTreeMap<u32, Position> {
        self.at.iter().map(|(partition, reader)| (*partition, reader.state.position())).collect()
    }
}

/// Applies batches to builds and moves their checkpoints, all in this transaction. A build that has read a commit already passes over it.
///
/// The checkpoints go first and each only from the value known here, so of two runners the second waits for the first and then finds that it
/// is out of date, before it has written a row.
///
/// # Errors
///
/// Then the transaction must be dropped. [`CarryError::Rival`] asks for reading the checkpoints again.
pub async fn apply(tx: &Transaction<'_>, builds: &[Build], batches: &[Batch]) -> Result<Moved, CarryError> {
    let mut steps = Vec::new();
    for (index, build) in builds.iter().enumerate() {
        for batch in batches {
            let (model, partition) = (build.model.name(), batch.partition());
            let at = build.at.get(&partition).ok_or(CarryError::NoSuchPartition { model, partition })?;
            if order(&batch.after.state) <= order(&at.state) {
                continue;
            }
            if at.state.seq < batch.from {
                return Err(CarryError::Gap { model, at: at.state.position(), from: batch.from });
            }
            let new = batch.commits.partition_point(|commit| commit.seq() <= at.state.seq);
            steps.push(Step { index, build, at, after: batch.after, commits: &batch.commits[new..] });
        }
    }
    if steps.is_empty() {
        return Ok(Moved::default());
    }
    move_checkpoints(tx, &steps).await?;
    let effects = try_join_all(steps.iter().filter(|step| !step.commits.is_empty()).map(|step| async move {
        let partition = step.after.state.partition;
        let on = On { tx, tables: &step.build.tables, partition: partition as i32 };
        let apply = step.build.model.apply(on, step.commits).await;
        let effects = apply.map_err(|source| CarryError::Apply { model: step.build.model.name(), source })?;
        Ok::<_, CarryError>((step.index, partition, effects))
    }))
    .await?;
    let mut moved = Moved { checkpoints: steps.iter().map(|step| (step.index, step.after)).collect(), ..Moved::default() };
    for (index, partition, effects) in effects {
        moved.work.extend(effects.work);
        if let Some(seq) = effects.incomplete_from {
            mark_incomplete(tx, &builds[index], partition, seq).await?;
            moved.incomplete.push((index, partition, seq));
        }
    }
    Ok(moved)
}

struct Step<'a> {
    index: usize,
    build: &'a Build,
    at: &'a StoredReader,
    after: StoredReader,
    commits: &'a [Applied],
}

async fn move_checkpoints(tx: &Transaction<'_>, steps: &[Step<'_>]) -> Result<(), CarryError> {
    let statement = tx
        .prepare_cached(
            "UPDATE read_model_checkpoints c SET generation = n.generation, seq = n.seq, reader = n.reader
             FROM unnest($1::text[], $2::integer[], $3::integer[], $4::integer[], $5::jsonb[], $6::integer[], $7::bigint[], $8::jsonb[])
               AS n (model, version, build, partition, before, generation, seq, reader)
             WHERE (c.model, c.version, c.build, c.partition) = (n.model, n.version, n.build, n.partition) AND c.reader = n.before",
        )
        .await?;
    macro_rules! column {
        (|$step:ident| $value:expr) => {
            &steps.iter().map(|$step| $value).collect::<Vec<_>>()
        };
    }
    let moved = tx
        .execute(
            &statement,
            &[
                column!(|step| step.build.model.name()),
                column!(|step| step.build.tables.version),
                column!(|step| step.build.tables.build),
                column!(|step| step.after.state.partition as i32),
                column!(|step| Json(step.at)),
                column!(|step| step.after.state.generation as i32),
                column!(|step| step.after.state.seq as i64),
                column!(|step| Json(step.after)),
            ],
        )
        .await?;
    if moved == steps.len() as u64 { Ok(()) } else { Err(CarryError::Rival) }
}

async fn mark_incomplete(tx: &Transaction<'_>, build: &Build, partition: u32, seq: u64) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE read_model_checkpoints SET incomplete_from = coalesce(incomplete_from, $5)
               WHERE (model, version, build, partition) = ($1, $2, $3, $4)";
    let (name, tables) = (build.model.name(), &build.tables);
    tx.execute(sql, &[&name, &tables.version, &tables.build, &(partition as i32), &(seq as i64)]).await?;
    Ok(())
}

impl Moved {
    /// Notes in `builds` what the transaction has moved; to be called once it has been committed.
    pub fn note(self, builds: &mut [Build]) {
        for (index, reader) in self.checkpoints {
            builds[index].at.insert(reader.state.partition, reader);
        }
        for (index, partition, seq) in self.incomplete {
            builds[index].incomplete.entry(partition).or_insert(seq);
        }
    }

    /// The payload that tells where all of `builds` will stand in the partitions that were moved; nothing when too much has moved.
    pub(crate) fn payload(&self, builds: &[Build]) -> String {
        let mut reached: BTreeMap<u32, Position> = BTreeMap::new();
        let partitions: BTreeSet<u32> = self.checkpoints.iter().map(|(_, reader)| reader.state.partition).collect();
        for partition in partitions {
            let stands = |(index, build): (usize, &Build)| {
                let moved = self.checkpoints.iter().find(|(i, reader)| *i == index && reader.state.partition == partition);
                moved.map(|(_, reader)| reader.state).or_else(|| build.at.get(&partition).map(|reader| reader.state))
            };
            let least = builds.iter().enumerate().filter_map(stands).min_by_key(order);
            reached.extend(least.map(|state| (partition, state.position())));
        }
        payload(reached.into_values())
    }

    /// Where work was opened.
    pub(crate) fn work(&self) -> &BTreeSet<String> {
        &self.work
    }

    /// Number of checkpoints moved.
    pub fn len(&self) -> usize {
        self.checkpoints.len()
    }

    /// True when every build had read all of it already.
    pub fn is_empty(&self) -> bool {
        self.checkpoints.is_empty()
    }
}
