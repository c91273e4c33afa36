//! The platform as processes: how fast another decider takes over, what an idle platform costs, and what a command leaves behind.
//!
//! *Take-over*: with two deciders on three brokers, the one that leads is killed as by `kill -9`; the time runs until a command sent
//! right then to a tenant of every partition has its outcome. *Idle*: processor time of all roles and both servers over some seconds in
//! which nobody asks for anything. *Left behind*: growth of the topics, of the database, and of the projector's memory by orders of servers.

use super::Line;
use crate::{
    measure::{Goal, Row, Scale},
    portal::{Portal, hold_workers},
};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tests::platform::Platform;
use tokio::runtime::Runtime;

/// See the module.
pub const LINE: Line = Line { name: "processes", about: "take-over after kill -9, cores of an idle platform, bytes a command", run };

/// Tenants, so that every partition has some.
const TENANTS: usize = 16;

/// Clock ticks a second in `/proc/<pid>/stat`, the same on every Linux that matters.
const TICKS: f64 = 100.0;

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let mut rows = runtime.block_on(idle(scale))?;
    rows.extend(runtime.block_on(left_behind(scale))?);
    rows.extend(runtime.block_on(take_over(scale))?);
    Ok(rows)
}

async fn take_over(scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let mut platform = Platform::start_redundant(None).await?;
    let portal = Portal::open(&platform, TENANTS).await?;
    let mut seconds = Vec::new();
    for run in 0..scale.runs {
        let victim = ["decider", "decider-2"][run % 2];
        platform.signal(victim, "KILL")?;
        let began = Instant::now();
        try_join_all((0..TENANTS).map(|tenant| portal.rename(tenant))).await?;
        seconds.push(began.elapsed().as_secs_f64());
        platform.restart_dead()?;
        // The revived one has joined, and leads what it is given, when nothing has to wait any more.
        settle(&portal).await?;
    }
    eprintln!("  take-over: {seconds:.2?} s");
    let goal = Some(Goal::AtMost(1.0));
    let limit = vec![3.0; seconds.len()];
    Ok(vec![Row::beside(
        "take-over after kill -9 of a decider that leads half of the partitions",
        "s",
        &seconds,
        "the limit",
        &limit,
        goal,
    )])
}

/// Waits until all partitions answer at once for a while.
async fn settle(portal: &Portal) -> anyhow::Result<()> {
    let (mut quick, deadline) = (0, Instant::now() + Duration::from_secs(120));
    while quick < 20 {
        ensure!(Instant::now() < deadline, "the platform does not settle");
        let began = Instant::now();
        try_join_all((0..TENANTS).map(|tenant| portal.rename(tenant))).await?;
        quick = if began.elapsed() < Duration::from_millis(500) { quick + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn idle(scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let platform = Platform::start_wide().await?;
    let watch = Duration::from_secs(scale.amount(20, 8) as u64);
    // What was begun by the start has ended.
    tokio::time::sleep(Duration::from_secs(scale.amount(20, 8) as u64)).await;
    let [mut broker, mut database, mut roles] = [const { Vec::new() }; 3];
    for _ in 0..scale.runs {
        let before = Spent::by(&platform)?;
        let began = Instant::now();
        tokio::time::sleep(watch).await;
        let after = Spent::by(&platform)?;
        let elapsed = began.elapsed().as_secs_f64();
        broker.push((after.broker - before.broker) / elapsed);
        database.push((after.database - before.database) / elapsed);
        roles.push(((after.roles - before.roles) - (after.workers - before.workers)) / elapsed);
    }
    let all: Vec<f64> = broker.iter().zip(&roles).map(|(broker, roles)| broker + roles).collect();
    let limit = vec![0.2; all.len()];
    let what = "idle, 64 partitions: decider, projector, two API processes and the broker";
    Ok(vec![
        Row::beside(what, "cores", &all, "the limit", &limit, Some(Goal::AtMost(1.0))),
        Row::alone("of which the broker", "cores", broker),
        Row::alone("idle PostgreSQL beside it", "cores", database),
    ])
}

async fn left_behind(scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let platform = Platform::start().await?;
    let portal = Portal::open(&platform, TENANTS).await?;
    hold_workers(&platform)?;
    let orders = scale.amount(20_000, 2_000);
    let data = platform.kafka.directory().join("data");
    let projector = platform.pid("projector")?;
    let before = (topic_bytes(&data, "events")?, topic_bytes(&data, "commands")?, database_bytes(&platform).await?, resident(projector)?);
    stream::iter((0..orders).map(|number| portal.claim(number))).buffer_unordered(64).try_collect::<()>().await?;
    portal.shows(orders).await?;
    let after = (topic_bytes(&data, "events")?, topic_bytes(&data, "commands")?, database_bytes(&platform).await?, resident(projector)?);
    let each = |before: u64, after: u64| vec![after.saturating_sub(before) as f64 / orders as f64];
    Ok(vec![
        Row::alone("an order of a server on the journal's topic", "bytes", each(before.0, after.0)),
        Row::alone("the same on the commands topic, for a week", "bytes", each(before.1, after.1)),
        Row::alone("the same in PostgreSQL, indexes included", "bytes", each(before.2, after.2)),
        Row::alone("growth of the projector's memory by an order", "bytes", each(before.3, after.3)),
    ])
}

/// Seconds of a core that were spent so far.
struct Spent {
    broker: f64,
    database: f64,
    roles: f64,
    workers: f64,
}

impl Spent {
    fn by(platform: &Platform) -> anyhow::Result<Self> {
        let mut spent = Self {
            broker: server(platform.kafka.directory())?,
            database: server(platform.postgres.directory())?,
            roles: 0.0,
            workers: 0.0,
        };
        for role in platform.roles() {
            let seconds = seconds_of(platform.pid(&role)?)?;
            spent.roles += seconds;
            if role.starts_with("worker") || role == "provider-sim" {
                spent.workers += seconds;
            }
        }
        Ok(spent)
    }
}

/// Of a server and its children, living and gone.
fn server(directory: &Path) -> anyhow::Result<f64> {
    let pid = fs::read_to_string(directory.join("pid"))?;
    let pid: u32 = pid.split_whitespace().next().context("the file names a process")?.parse()?;
    let mut seconds = seconds_of(pid)?;
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // What ended meanwhile is counted by its parent.
        if let Ok(stat) = Stat::of(child)
            && stat.parent == pid
        {
            seconds += stat.seconds;
        }
    }
    Ok(seconds)
}

fn seconds_of(pid: u32) -> anyhow::Result<f64> {
    Ok(Stat::of(pid)?.seconds)
}

/// `/proc/<pid>/stat`, see proc(5).
struct Stat {
    parent: u32,
    /// Of a core, with those of children that have ended.
    seconds: f64,
}

impl Stat {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().context("a name in brackets")?.split(' ').collect();
        let number = |at: usize| -> anyhow::Result<f64> { Ok(fields.get(at).context("a field")?.parse()?) };
        // The third field is the first after the name.
        let ticks: f64 = (11..15).map(number).sum::<anyhow::Result<f64>>()?;
        Ok(Self { parent: number(1)? as u32, seconds: ticks / TICKS })
    }
}

/// Bytes of a topic's segments.
fn topic_bytes(data: &Path, topic: &str) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for partition in fs::read_dir(data)? {
        let partition = partition?;
        if !partition.file_name().to_string_lossy().starts_with(&format!("cirrus.{topic}.")) {
            continue;
        }
        for file in fs::read_dir(partition.path())? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "log") {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

async fn database_bytes(platform: &Platform) -> anyhow::Result<u64> {
    let (client, connection) = tokio_postgres::connect(&platform.postgres.server_url(), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let bytes: i64 = client.query_one("SELECT sum(pg_database_size(oid))::bigint FROM pg_database", &[]).await?.get(0);
    Ok(u64::try_from(bytes)?)
}

fn resident(pid: u32) -> anyhow::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    Ok(statm.split(' ').nth(1).context("pages in memory")?.parse::<u64>()? * 4_096)
}
