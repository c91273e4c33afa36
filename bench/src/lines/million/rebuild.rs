//! Filling the read model of resources anew, beside `COPY` of the same rows into a bare table and then building the same indexes.

use super::Shown;
use crate::measure::{Goal, Row, Scale};
use anyhow::ensure;
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt, pin_mut};
use projections::builds;
use std::time::Instant;
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls};

/// The table that holds the model's rows, without version and build.
const TABLE: &str = "resources_v1_b";

pub async fn rows(scale: &Scale, shown: &Shown, resources: usize) -> anyhow::Result<Vec<Row>> {
    let (client, connection) = tokio_postgres::connect(&shown.url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let lines: Vec<Bytes> = client.copy_out(&format!("COPY {TABLE}1 TO STDOUT")).await?.try_collect().await?;
    let [mut ours, mut copied] = [const { Vec::new() }; 2];
    let mut current = 1;
    for _ in 0..scale.runs {
        // What is measured is the work, not whether a checkpoint of the server happens to fall into it.
        client.batch_execute("CHECKPOINT").await?;
        let (_go, stop) = watch::channel(false);
        let (log, journal) = (shown.cloud.twin.clone(), shown.cloud.journal);
        let began = Instant::now();
        let next = builds::rebuild(&shown.database, &log, &journal, "resources", stop, |_| {}).await?;
        ours.push(began.elapsed().as_secs_f64());
        builds::drop_build(&shown.database, "resources", None, current).await?;
        current = next;
        client.batch_execute("CHECKPOINT").await?;
        copied.push(copy(&client, &format!("{TABLE}{current}"), &lines, resources).await?);
        eprintln!("  rebuild {:.1} s, COPY and indexes {:.1} s", ours[ours.len() - 1], copied[copied.len() - 1]);
    }
    drop(client);
    connection.await??;
    let what = format!("rebuild the read model of {resources} resources");
    Ok(vec![Row::beside(what, "s", &ours, "COPY of its rows, then the same indexes", &copied, Some(Goal::AtMost(2.0)))])
}

/// Seconds to copy the rows into a table like `like` and to build the indexes that it has.
async fn copy(client: &Client, like: &str, lines: &[Bytes], rows: usize) -> anyhow::Result<f64> {
    let sql = "SELECT replace(indexdef, $1, 'copied') FROM pg_indexes WHERE tablename = $1";
    let indexes: Vec<String> = client.query(sql, &[&like]).await?.iter().map(|row| row.get(0)).collect();
    let began = Instant::now();
    client.batch_execute(&format!("CREATE TABLE copied (LIKE {like})")).await?;
    let sink = client.copy_in("COPY copied FROM STDIN").await?;
    pin_mut!(sink);
    for line in lines {
        sink.feed(line.clone()).await?;
    }
    let copied = sink.finish().await?;
    client.batch_execute(&indexes.join(";")).await?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(copied == rows as u64 && indexes.len() > 10, "{copied} rows, {} indexes", indexes.len());
    client.batch_execute("DROP TABLE copied").await?;
    Ok(seconds)
}
