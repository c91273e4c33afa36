//! A claim on a quota, from the call to its acknowledged outcome, beside libraries of event sourcing on PostgreSQL.
//!
//! All sides decide the same: a server of two processors fits the quota of its tenant and of its cell, or is refused; what was decided is an
//! event with the whole order in it. Ours also checks rights, catalogue, zone and idempotency, goes through the commands topic, is decided by a
//! decider, chained into the journal, read back, and told to the caller by its tail. The peers load their aggregate, decide, and append under
//! optimistic locking, as their documents show; a call that lost a race is made again. No side speaks HTTP, and each runs with as many
//! callers at a time as suit it best. Neither Kafka nor this PostgreSQL waits for its disk.

mod cirrus;
mod disintegrate;
pub mod http;
mod postgres_es;
mod quota;

use super::Line;
use crate::measure::{Goal, Row, Scale, in_turn};
use anyhow::Context;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tests::servers::{Kafka, Postgres};
use tokio::{runtime::Runtime, task::JoinSet};

/// See the module.
pub const LINE: Line =
    Line { name: "claims", about: "quota claims to acknowledged outcome, beside postgres-es and disintegrate-postgres", run };

/// Callers at a time that each side is tried with.
const CALLERS: [usize; 5] = [1, 4, 16, 128, 512];

/// Connections that a peer's pool may hold: more than the machine has cores, fewer than would crowd the server.
const CONNECTIONS: u32 = 16;

/// Something that answers claims for servers.
trait Claims: Send + Sync + 'static {
    /// Claims for one more server of a tenant, by the tenant's number; returns when that is acknowledged.
    fn claim(&self, tenant: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Which tenants are asked.
#[derive(Clone, Copy)]
enum Asked {
    /// One after another.
    Many(usize),
    /// Always the same.
    Hot,
}

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let tenants = scale.amount(1_000, 100);
    let cirrus = Arc::new(runtime.block_on(cirrus::Cirrus::open(Kafka::shared(), tenants))?);
    let url = Postgres::shared().database();
    let postgres_es = Arc::new(runtime.block_on(postgres_es::PostgresEs::open(&url, tenants))?);
    let disintegrate = Arc::new(runtime.block_on(disintegrate::Disintegrate::open(&url, tenants))?);
    let mut rows = Vec::new();
    for (asked, words, goal) in [(Asked::Many(tenants), format!("{tenants} tenants"), 3.0), (Asked::Hot, "one hot tenant".into(), 10.0)] {
        let time = Duration::from_secs(scale.amount(5, 2) as u64);
        let (c, p, d) = (
            best(&runtime, &cirrus, asked, &CALLERS)?,
            best(&runtime, &postgres_es, asked, &CALLERS)?,
            best(&runtime, &disintegrate, asked, &CALLERS)?,
        );
        let [ours, es, dis] = in_turn(
            scale.runs,
            [
                Box::new(|| runtime.block_on(load(&cirrus, asked, c, time))),
                Box::new(|| runtime.block_on(load(&postgres_es, asked, p, time))),
                Box::new(|| runtime.block_on(load(&disintegrate, asked, d, time))),
            ],
        )?;
        let what = format!("quota claims, {words}, {c} callers");
        let goal = Some(Goal::AtLeast(goal));
        rows.push(Row::beside(&what, "1/s", &ours, format!("postgres-es, {p} callers"), &es, goal));
        rows.push(Row::beside(&what, "1/s", &ours, format!("disintegrate-postgres, {d} callers"), &dis, goal));
    }
    Ok(rows)
}

/// With how many callers of these it is fastest.
fn best(runtime: &Runtime, claims: &Arc<impl Claims>, asked: Asked, of: &[usize]) -> anyhow::Result<usize> {
    let mut tried = Vec::new();
    for callers in of {
        tried.push((runtime.block_on(load(claims, asked, *callers, Duration::from_secs(1)))?, *callers));
    }
    eprintln!("  claims a second by callers: {tried:.0?}");
    let (_, callers) = tried.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)).context("something was tried")?;
    Ok(callers)
}

/// Claims a second that so many callers get acknowledged, each asking again as soon as it is answered.
async fn load(claims: &Arc<impl Claims>, asked: Asked, callers: usize, time: Duration) -> anyhow::Result<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        let (claims, next) = (Arc::clone(claims), Arc::clone(&next));
        calling.spawn(async move {
            let mut acknowledged = 0_usize;
            while began.elapsed() < time {
                let tenant = match asked {
                    Asked::Many(tenants) => next.fetch_add(1, Ordering::Relaxed) % tenants,
                    Asked::Hot => 0,
                };
                claims.claim(tenant).await?;
                acknowledged += 1;
            }
            anyhow::Ok(acknowledged)
        });
    }
    let mut acknowledged = 0;
    while let Some(caller) = calling.join_next().await {
        acknowledged += caller??;
    }
    Ok(acknowledged as f64 / began.elapsed().as_secs_f64())
}
