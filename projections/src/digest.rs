//! The digest of a build: SHA-256 over its rows sorted by key, at a stated position. Two builds that have read the same have equal digests.

use crate::{build::Build, database::Database, model::ReadModel, snapshot::ReadError};
use futures::{TryStreamExt, pin_mut};
use schemas::record::{Digest, Position};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tokio_postgres::IsolationLevel;

/// What a build holds, and as of where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digested {
    /// The build.
    pub build: i32,
    /// How far it had read, a partition.
    pub positions: BTreeMap<u32, Position>,
    /// SHA-256 over each table's name and rows, each with its length before it.
    pub digest: Digest,
    /// Number of rows.
    pub rows: u64,
}

/// Digests a build of `model`, the current one unless `build` says which. None when there is no such build.
///
/// # Errors
///
/// When PostgreSQL does not answer.
pub async fn of(database: &Database, model: &dyn ReadModel, build: Option<i32>) -> Result<Option<Digested>, ReadError> {
    let mut client = database.client().await?;
    let tx = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let builds = Build::all(&*tx).await?;
    let wanted = |(b, current): &&(Build, bool)| b.model.name() == model.name() && build.map_or(*current, |n| n == b.tables.build);
    let Some((found, _)) = builds.iter().find(wanted) else { return Ok(None) };
    let mut hash = Sha256::new();
    let mut rows = 0;
    for table in model.tables() {
        put(&mut hash, table.name);
        // A row as text is the same in every session: connections say UTC, and key columns of type text collate bytewise.
        let sql = format!("SELECT t::text FROM {} t ORDER BY {}", found.tables.name(table.name), table.key);
        let stream = tx.query_raw(&sql, std::iter::empty::<i32>()).await?;
        pin_mut!(stream);
        while let Some(row) = stream.try_next().await? {
            put(&mut hash, row.try_get(0)?);
            rows += 1;
        }
    }
    Ok(Some(Digested { build: found.tables.build, positions: found.positions(), digest: Digest(hash.finalize().into()), rows }))
}

fn put(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}
