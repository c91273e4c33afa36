//! What a read model is, and the list of all of them.
//!
//! A read model answers one family of questions from tables of its own. Its `apply` is a fold: it sees the commits and rows of one
//! partition, in the transaction that also moves the checkpoint, and nothing else: no clock, no serial, no other partition, no other model.
//! So any split of the same commits into batches, at any time and on any machine, gives equal rows.

use crate::{commit::Applied, grants, history, operations, platform, quota, resources, snapshot::ReadError, tenants};
use deadpool_postgres::Transaction;
use domain::event::Event;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, sync::LazyLock};

/// All read models.
pub static ALL: [&dyn ReadModel; 7] = [
    &platform::Platform,
    &tenants::Tenants,
    &quota::Quota,
    &grants::Grants,
    &resources::Resources,
    &operations::Operations,
    &history::History,
];

/// The read model of this name.
pub fn by_name(name: &str) -> Option<&'static dyn ReadModel> {
    ALL.into_iter().find(|model| model.name() == name)
}

/// A number for the read models in their versions, equal for programs that keep the same ones. While a platform is upgraded the runners of two
/// releases work side by side, each on its own versions.
pub(crate) static EDITION: LazyLock<i64> = LazyLock::new(|| {
    let names = ALL.map(|model| format!("{} {}\n", model.name(), model.version()));
    let digest = Sha256::digest(names.concat());
    i64::from_be_bytes(*digest.first_chunk().expect("it has 32 bytes"))
});

/// One read model; see the module.
pub trait ReadModel: Send + Sync {
    /// Its name in commands, tables and metrics.
    fn name(&self) -> &'static str;

    /// Counts up when its tables or its fold change: a new version is filled from the journal beside the old one.
    fn version(&self) -> i32;

    /// Its tables.
    fn tables(&self) -> &'static [Table];

    /// True when `apply` finds its rows by their keys alone: a rebuild then makes the other indexes at its end, at once, which costs a
    /// fraction of keeping them up row by row.
    fn indexes_last(&self) -> bool {
        false
    }

    /// Folds commits of one partition into the rows of that partition.
    fn apply<'a>(&'a self, on: On<'a>, commits: &'a [Applied]) -> BoxFuture<'a, Result<Effects, ApplyError>>;
}

/// A table of a read model.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The name that stands in braces in SQL.
    pub name: &'static str,
    /// The columns of its key, in order: rows are compared in this order.
    pub key: &'static str,
    /// The statement that makes it, then those that make its indexes, with `{name}` for its name.
    pub ddl: &'static str,
}

impl Table {
    /// The statement that makes it with its key, and those that make the other indexes where there are none yet.
    pub(crate) fn statements(&self) -> (&'static str, String) {
        let indexes = self.ddl.find("CREATE INDEX").unwrap_or(self.ddl.len());
        let (table, indexes) = self.ddl.split_at(indexes);
        (table, indexes.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    }
}

/// Where a batch is applied.
#[derive(Clone, Copy)]
pub struct On<'a> {
    /// The transaction.
    pub tx: &'a Transaction<'a>,
    /// The tables of the build.
    pub tables: &'a Tables,
    /// The partition.
    pub partition: i32,
}

/// The tables of one build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// The version of the model.
    pub version: i32,
    /// The build.
    pub build: i32,
}

impl Tables {
    /// The name of a table in PostgreSQL.
    pub fn name(&self, table: &str) -> String {
        format!("{table}_v{}_b{}", self.version, self.build)
    }

    /// SQL with the names of this build's tables in place of `{table}`.
    pub fn sql(&self, template: &str) -> String {
        fill(template, |table, sql| sql.push_str(&self.name(table)))
    }
}

/// Replaces each `{name}` of an SQL template by what `put` writes.
pub(crate) fn fill(template: &str, mut put: impl FnMut(&str, &mut String)) -> String {
    let mut sql = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("the SQL of this crate closes its braces");
        sql.push_str(before);
        put(name, &mut sql);
        rest = after;
    }
    sql.push_str(rest);
    sql
}

impl On<'_> {
    /// Runs a statement template on this build's tables and returns the number of rows that it touched.
    pub async fn execute(
        &self,
        template: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        let statement = self.tx.prepare_cached(&self.tables.sql(template)).await?;
        self.tx.execute(&statement, params).await
    }

    /// Runs a query template on this build's tables.
    pub async fn query(
        &self,
        template: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        let statement = self.tx.prepare_cached(&self.tables.sql(template)).await?;
        self.tx.query(&statement, params).await
    }
}

/// What a batch brought beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// The first seq with an event that did not fit: it, or one before it, was passed over.
    pub incomplete_from: Option<u64>,
    /// Where work was opened or moved on: a zone's name, or nothing for work that belongs to no zone.
    pub work: BTreeSet<String>,
}

impl Effects {
    /// The fold went on without the event at `seq`, because of `reason`.
    pub fn pass_over(&mut self, commit: &Applied, reason: &str) {
        tracing::warn!(position = %commit.position, reason, "passed over an event at {}: {reason}", commit.position);
        let seq = commit.seq();
        self.incomplete_from = Some(self.incomplete_from.map_or(seq, |first| first.min(seq)));
    }

    /// Every event that this program knows, with its commit; the first one that it does not know is noted.
    pub fn events<'a>(&mut self, commits: &'a [Applied]) -> impl Iterator<Item = (&'a Applied, &'a Event)> + use<'a> {
        let unknown = commits.iter().find(|c| c.facts.iter().any(|fact| fact.event.is_none())).map(Applied::seq);
        self.incomplete_from = self.incomplete_from.into_iter().chain(unknown).min();
        commits.iter().flat_map(|commit| commit.events().map(move |event| (commit, event)))
    }
}

/// A batch could not be applied; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// PostgreSQL refused or went away.
    #[error("PostgreSQL")]
    Sql(#[from] tokio_postgres::Error),
    /// A row is not what this version of the model writes.
    #[error("a row is not of the shape that this program writes")]
    Row(#[source] ReadError),
}

impl From<ReadError> for ApplyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Sql(error) => ApplyError::Sql(error),
            error => ApplyError::Row(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_the_tables_of_one_build() {
        let tables = Tables { version: 2, build: 7 };
        assert_eq!(tables.sql("INSERT INTO {cells} SELECT '{tenants}'"), "INSERT INTO cells_v2_b7 SELECT 'tenants_v2_b7'");
    }

    #[test]
    fn every_table_belongs_to_one_model_and_has_the_partition_in_its_key() {
        let mut seen = BTreeSet::new();
        for model in ALL {
            for table in model.tables() {
                assert!(seen.insert(table.name), "{} twice", table.name);
                assert!(table.key.split(", ").any(|column| column == "partition"), "{}", table.name);
                assert!(table.ddl.contains(&format!("CREATE TABLE {{{}}}", table.name)), "{}", table.name);
                let (make, _) = table.statements();
                assert!(make.trim_end().ends_with(");"), "{}: {make}", table.name);
                assert!(!make.contains("INDEX"), "{} has an index that is not made by CREATE INDEX", table.name);
            }
        }
    }
}
