//! A million resources of one tenant: filling their read model anew, and reading pages of a list while writes go on.
//!
//! The journal lies in memory, so that what is measured is what the read models cost and not how fast a broker's disk is.

mod lists;
mod rebuild;

use super::Line;
use crate::{
    history,
    measure::{Row, Scale},
};
use anyhow::ensure;
use domain::{id::TenantId, tenant::Clock};
use projections::{
    database::{Database, Settings},
    runner::Runner,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tests::{cloud::Cloud, servers::Postgres};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};

/// See the module.
pub const LINE: Line =
    Line { name: "million", about: "rebuild of, and pages of lists over, a million resources, beside COPY and bare SQL", run };

/// How long the read models may take to show everything.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// The read models of a cloud, kept up to date in this process.
struct Shown {
    cloud: Cloud,
    tenant: TenantId,
    url: String,
    database: Database,
    _stop: watch::Sender<bool>,
    _running: JoinHandle<()>,
}

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let resources = scale.amount(1_000_000, 50_000);
    let (mut shown, fill) = runtime.block_on(fill(resources))?;
    let mut rows = vec![Row::alone(format!("fill all read models live up to {resources} resources"), "events/s", vec![fill])];
    rows.extend(runtime.block_on(rebuild::rows(scale, &shown, resources))?);
    rows.extend(lists::rows(&runtime, scale, &mut shown, resources)?);
    Ok(rows)
}

/// A cloud in which one tenant has so many servers, its read models, and how many events a second they took in.
async fn fill(resources: usize) -> anyhow::Result<(Shown, f64)> {
    let mut cloud = Cloud::with_partitions(1);
    let tenant = cloud.open_tenant("big", Clock::Journal);
    let cell = cloud.create_cell(tenant, "cell");
    let mut events = 0;
    for number in 0..resources {
        history::order(&mut cloud, tenant, cell, number);
        events += 2;
        cloud.records.clear();
    }
    let url = Postgres::shared().database();
    let database = Database::connect(&Settings::new(&url))?;
    database.migrate().await?;
    database.remember(&cloud.journal).await?;
    let (stop, stopped) = watch::channel(false);
    let runner = Runner::new(database.clone(), Arc::new(cloud.twin.clone()), cloud.journal, stopped);
    let began = Instant::now();
    let running = tokio::spawn(async move {
        if let Err(problem) = runner.run().await {
            eprintln!("the read models ended: {problem}");
        }
    });
    let shown = Shown { cloud, tenant, url, database, _stop: stop, _running: running };
    shown.caught_up().await?;
    Ok((shown, events as f64 / began.elapsed().as_secs_f64()))
}

impl Shown {
    /// Waits until all read models show all that has happened.
    async fn caught_up(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let wanted = self.cloud.positions();
        while self.database.follow().wait_for(&wanted, tokio::time::Instant::now() + Duration::from_secs(5)).await.is_err() {
            ensure!(Instant::now() < deadline, "the read models do not catch up");
        }
        Ok(())
    }
}
