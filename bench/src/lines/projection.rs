//! Filling the read models on a real PostgreSQL, beside the same rows put there without thinking.
//!
//! Ours folds batches of 500 commits into all read models as the projector does: rows are read, events folded, rows and checkpoints written in one
//! transaction. The peers write the rows that came of it into tables of the same definition, with the same indexes, in as many transactions:
//! by one `INSERT ... SELECT FROM unnest(...)` a table, and by `COPY`. Servers are ordered and made within a batch, so a resource's row is written
//! once or, at the edge of a batch, twice. The throw-away server does not wait for its disk (`fsync=off`), which is the same for all.

use super::Line;
use crate::{
    history,
    measure::{Goal, Row, Scale},
};
use anyhow::ensure;
use futures::{SinkExt, TryStreamExt, pin_mut};
use journal::topics::Journal;
use projections::{
    build::{self, Build},
    commit::Batch,
    database::{Database, Settings},
    model::{ALL, Tables},
};
use std::{path::Path, time::Instant};
use tests::{
    cloud::{Cloud, together},
    servers::Postgres,
};
use tokio_postgres::{Client, NoTls};

/// Records that the projector takes into one transaction.
const BATCH: usize = 500;

/// See the module.
pub const LINE: Line = Line { name: "projection", about: "fill the read models, beside UNNEST and COPY of the same rows", run };

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(scale))
}

async fn measure(scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let mut cloud = Cloud::with_partitions(1);
    history::each_server(&mut cloud, scale.amount(10_000, 2_000), |_, _, _| {});
    let batches: Vec<Vec<Batch>> = cloud.records.chunks(BATCH).map(together).collect();
    let commits = batches.iter().flatten().flat_map(|batch| &batch.commits);
    let events: usize = commits.map(|commit| commit.facts.len()).sum();
    let [mut ours, mut unnest, mut copy] = [const { Vec::new() }; 3];
    for _ in 0..scale.runs {
        let url = Postgres::shared().database();
        let database = Database::connect(&Settings::new(&url))?;
        database.migrate().await?;
        database.remember(&cloud.journal).await?;
        let [mut live, by_unnest, by_copy] = [
            builds(&database, &cloud.journal, 1).await?,
            builds(&database, &cloud.journal, 2).await?,
            builds(&database, &cloud.journal, 3).await?,
        ];
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        let connection = tokio::spawn(connection);
        // What is measured is the work, not whether a checkpoint of the server happens to fall into it.
        client.batch_execute("CHECKPOINT").await?;
        ours.push(events as f64 / fold(&database, &mut live, &batches).await?);
        let rows = Rows::of(&client, &live).await?;
        client.batch_execute("CHECKPOINT").await?;
        unnest.push(events as f64 / rows.unnest(&client, &by_unnest, batches.len()).await?);
        client.batch_execute("CHECKPOINT").await?;
        copy.push(events as f64 / rows.copy(&client, &by_copy, batches.len()).await?);
        drop(client);
        connection.await??;
    }
    eprintln!("  {ours:.0?} {unnest:.0?} {copy:.0?}");
    let what = "fill all read models, batches of 500 commits";
    Ok(vec![
        Row::beside(what, "events/s", &ours, "the same rows through bare UNNEST", &unnest, Some(Goal::AtLeast(0.5))),
        Row::beside(what, "events/s", &ours, "the same rows through COPY", &copy, Some(Goal::AtLeast(0.5))),
    ])
}

async fn builds(database: &Database, journal: &Journal, number: i32) -> anyhow::Result<Vec<Build>> {
    let mut client = database.client().await?;
    let tx = client.transaction().await?;
    let mut builds = Vec::new();
    for model in ALL {
        let build = Build::create(&tx, model, number, journal, number == 1).await?;
        build.index(&*tx).await?;
        builds.push(build);
    }
    tx.commit().await?;
    Ok(builds)
}

/// Folds all batches; gives the seconds that it took.
async fn fold(database: &Database, builds: &mut [Build], batches: &[Vec<Batch>]) -> anyhow::Result<f64> {
    let mut client = database.client().await?;
    let began = Instant::now();
    for batch in batches {
        let tx = client.transaction().await?;
        let moved = build::apply(&tx, builds, batch).await?;
        tx.commit().await?;
        moved.note(builds);
    }
    Ok(began.elapsed().as_secs_f64())
}

/// The rows of every table of a build, as text, in the order in which they lie there.
struct Rows {
    tables: Vec<TableRows>,
}

struct TableRows {
    /// Place of its model among the builds, and its name there.
    model: usize,
    name: &'static str,
    /// Name and type of each column.
    columns: Vec<(String, String)>,
    /// As `COPY` writes them.
    lines: Vec<String>,
    /// The same, column by column.
    values: Vec<Vec<Option<String>>>,
}

impl Rows {
    async fn of(client: &Client, builds: &[Build]) -> anyhow::Result<Self> {
        let mut tables = Vec::new();
        for (model, build) in builds.iter().enumerate() {
            for table in build.model.tables() {
                tables.push(TableRows::of(client, model, table.name, build.tables).await?);
            }
        }
        Ok(Self { tables })
    }

    async fn unnest(&self, client: &Client, into: &[Build], batches: usize) -> anyhow::Result<f64> {
        let statements: Vec<String> = self.tables.iter().map(|table| table.insert(into)).collect();
        let mut prepared = Vec::new();
        for sql in &statements {
            prepared.push(client.prepare(sql).await?);
        }
        let began = Instant::now();
        for batch in 0..batches {
            client.batch_execute("BEGIN").await?;
            for (table, statement) in self.tables.iter().zip(&prepared) {
                let range = table.share(batch, batches);
                if range.is_empty() {
                    continue;
                }
                let columns: Vec<&[Option<String>]> = table.values.iter().map(|column| &column[range.clone()]).collect();
                let params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
                client.execute(statement, &params).await?;
            }
            client.batch_execute("COMMIT").await?;
        }
        Ok(began.elapsed().as_secs_f64())
    }

    async fn copy(&self, client: &Client, into: &[Build], batches: usize) -> anyhow::Result<f64> {
        let began = Instant::now();
        for batch in 0..batches {
            client.batch_execute("BEGIN").await?;
            for table in &self.tables {
                let range = table.share(batch, batches);
                if range.is_empty() {
                    continue;
                }
                let sink = client.copy_in(&format!("COPY {} FROM STDIN", into[table.model].tables.name(table.name))).await?;
                pin_mut!(sink);
                sink.send(bytes::Bytes::from(table.lines[range].concat())).await?;
                sink.finish().await?;
            }
            client.batch_execute("COMMIT").await?;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

impl TableRows {
    async fn of(client: &Client, model: usize, name: &'static str, tables: Tables) -> anyhow::Result<Self> {
        let table = tables.name(name);
        let sql = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
                   WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        let columns: Vec<(String, String)> = client.query(sql, &[&table]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        let out = client.copy_out(&format!("COPY (SELECT * FROM {table} ORDER BY ctid) TO STDOUT")).await?;
        let text = out.map_ok(|bytes| String::from_utf8(bytes.to_vec()).expect("COPY writes text")).try_collect::<Vec<_>>().await?.concat();
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let list = columns.iter().map(|(column, _)| format!("\"{column}\"::text")).collect::<Vec<_>>().join(", ");
        let rows = client.query(&format!("SELECT {list} FROM {table} ORDER BY ctid"), &[]).await?;
        ensure!(rows.len() == lines.len(), "{table} has {} rows and {} lines", rows.len(), lines.len());
        let values = (0..columns.len()).map(|column| rows.iter().map(|row| row.get(column)).collect()).collect();
        Ok(Self { model, name, columns, lines, values })
    }

    fn insert(&self, into: &[Build]) -> String {
        let names = (1..=self.columns.len()).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
        let arrays = (1..=self.columns.len()).map(|n| format!("${n}::text[]")).collect::<Vec<_>>().join(", ");
        let typed = (1..).zip(&self.columns).map(|(n, (_, kind))| format!("c{n}::{kind}")).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} SELECT {typed} FROM unnest({arrays}) AS r ({names})", into[self.model].tables.name(self.name))
    }

    /// The rows of one batch of several.
    fn share(&self, batch: usize, of: usize) -> std::ops::Range<usize> {
        let at = |batch: usize| self.lines.len() * batch / of;
        at(batch)..at(batch + 1)
    }
}
