//! One consistent view of all read models, with the position that it shows.
//!
//! A [`Snapshot`] is one `REPEATABLE READ READ ONLY` transaction. It begins by reading which builds are current and how far they have read, so
//! everything asked of it afterwards, the grants that authorise an answer included, is of the same moment and the same tables even while
//! a rebuild is switched in. Dropping it ends it.

use crate::model::{ALL, Tables, fill};
use deadpool_postgres::Object;
use futures::FutureExt;
use schemas::record::Position;
use std::collections::BTreeMap;
use tokio_postgres::{Row, types::ToSql};

/// A consistent view; see the module.
pub struct Snapshot {
    client: Object,
    builds: [Option<Tables>; ALL.len()],
    positions: BTreeMap<u32, Position>,
    incomplete: BTreeMap<&'static str, Position>,
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection was free or could be made in time.
    #[error("no connection to PostgreSQL")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// PostgreSQL refused or went away.
    #[error("PostgreSQL")]
    Sql(#[from] tokio_postgres::Error),
    /// The read model is still being filled for the first time.
    #[error("the read model {0} is not filled yet")]
    NotFilled(&'static str),
    /// A value in a row is none that this version writes.
    #[error("{column}: {problem}")]
    Value {
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Of which partitions a snapshot tells the position. Rows of other partitions can be read all the same.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// These.
    Partitions(&'a [u32]),
    /// All of them.
    All,
}

impl Snapshot {
    /// Begins a transaction on `client` and reads what it shows.
    pub(crate) async fn begin(client: Object, shown: Shown<'_>) -> Result<Self, ReadError> {
        let partitions: Option<Vec<i32>> = match shown {
            Shown::Partitions(some) => Some(some.iter().map(|p| *p as i32).collect()),
            Shown::All => None,
        };
        let mut snapshot = Self { client, builds: [None; ALL.len()], positions: BTreeMap::new(), incomplete: BTreeMap::new() };
        let begin = snapshot.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        let checkpoints = async {
            let statement = snapshot.client.prepare_cached(CHECKPOINTS).await?;
            snapshot.client.query(&statement, &[&partitions]).await
        };
        // Both go out at once; the server takes them in this order.
        let ((), rows) = futures::try_join!(begin, checkpoints)?;
        for row in rows {
            snapshot.read_checkpoint(&row)?;
        }
        Ok(snapshot)
    }

    fn read_checkpoint(&mut self, row: &Row) -> Result<(), ReadError> {
        let (name, version): (&str, i32) = (row.try_get(0)?, row.try_get(1)?);
        let Some(at) = ALL.iter().position(|model| model.name() == name && model.version() == version) else {
            return Ok(());
        };
        self.builds[at] = Some(Tables { version, build: row.try_get(2)? });
        let (Some(partition), Some(generation), Some(seq)) =
            (row.try_get::<_, Option<i32>>(3)?, row.try_get::<_, Option<i32>>(4)?, row.try_get::<_, Option<i64>>(5)?)
        else {
            return Ok(());
        };
        let position = Position { generation: generation as u32, partition: partition as u32, seq: seq as u64 };
        let behind = |other: &Position| (position.generation, position.seq) < (other.generation, other.seq);
        let shown = self.positions.entry(position.partition).or_insert(position);
        if behind(shown) {
            *shown = position;
        }
        if let Some(from) = row.try_get::<_, Option<i64>>(6)? {
            self.incomplete.entry(ALL[at].name()).or_insert(Position { seq: from as u64, ..position });
        }
        Ok(())
    }

    /// The position shown of each partition asked for: that of the read model that is furthest behind.
    pub fn positions(&self) -> &BTreeMap<u32, Position> {
        &self.positions
    }

    /// The position shown of a partition.
    pub fn position(&self, partition: u32) -> Option<Position> {
        self.positions.get(&partition).copied()
    }

    /// Read models that passed over an event of the partitions asked for, with the first position where one did so.
    pub fn incomplete(&self) -> &BTreeMap<&'static str, Position> {
        &self.incomplete
    }

    /// Runs a query in which `{table}` stands for a table of a read model.
    pub async fn query(&self, template: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ReadError> {
        let sql = self.sql(template)?;
        let statement = self.client.prepare_cached(&sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    /// The same for a query that finds one row or none.
    pub async fn query_opt(&self, template: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, ReadError> {
        Ok(self.query(template, params).await?.into_iter().next())
    }

    /// From here on every query is planned for the values that it is asked with, not once for all values.
    pub(crate) async fn plan_for_values(&self) -> Result<(), ReadError> {
        Ok(self.client.batch_execute("SET LOCAL plan_cache_mode = force_custom_plan").await?)
    }

    fn sql(&self, template: &str) -> Result<String, ReadError> {
        let mut missing = None;
        let sql = fill(template, |table, sql| {
            let at = ALL.iter().position(|model| model.tables().iter().any(|t| t.name == table)).expect("queries name tables that exist");
            match &self.builds[at] {
                Some(tables) => sql.push_str(&tables.name(table)),
                None => missing = Some(ALL[at].name()),
            }
        });
        missing.map_or(Ok(sql), |model| Err(ReadError::NotFilled(model)))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // The first poll sends the statement; whoever gets the connection next comes after it on the wire, so nobody has to wait for the answer.
        let _ = self.client.batch_execute("ROLLBACK").now_or_never();
    }
}

const CHECKPOINTS: &str = "
    SELECT b.model, b.version, b.build, c.partition, c.generation, c.seq, c.incomplete_from
    FROM read_model_builds b
    LEFT JOIN read_model_checkpoints c
      ON (c.model, c.version, c.build) = (b.model, b.version, b.build) AND ($1::integer[] IS NULL OR c.partition = ANY ($1))
    WHERE b.current";

/// A value of a row that has a shape of its own.
pub(crate) fn value<T, E: std::fmt::Display>(column: &'static str, parsed: Result<T, E>) -> Result<T, ReadError> {
    parsed.map_err(|e| ReadError::Value { column, problem: e.to_string() })
}
