//! `cirrus worker`: one availability zone, or what belongs to the region, and then also what goes on by itself.

use crate::config::Config;
use anyhow::Context;
use chrono::TimeDelta;
use clap::Args as ClapArgs;
use domain::id::ZoneName;
use journal::{caller::Caller, inbox::Capacity, tail::Tail};
use projections::{database::Database, positions::OpenWork};
use schemas::record::Origin;
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::sync::{Notify, broadcast::error::RecvError};
use uuid::Uuid;
use workers::{
    processes::Processes,
    provider::{Client, Provider},
    provisioning::{inbox::ReadModelInbox, paced::Paced, reporter::JournalReporter, shell::Worker, sweep::Sweep},
};

#[derive(ClapArgs)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// The availability zone.
    #[arg(long)]
    zone: Option<ZoneName>,
    /// What has no zone, and processes over tenants.
    #[arg(long)]
    regional: bool,
}

pub async fn run(config: Config, on: super::Ground, args: Args) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let super::Ground { database, journal, checkpoints } = on;
    let settings = config.worker.as_ref().context("the configuration has no [worker]")?;
    let (commands, reports) = (super::commands(&config, &journal, Origin::Commands)?, super::commands(&config, &journal, Origin::Reports)?);
    let tail = Tail::open(&super::events(&config, &journal)?, &journal, &checkpoints, Capacity::default())?;
    let caller = Arc::new(Caller::start(journal, &commands, Some(&reports), tail, |_| {})?);

    let place = args.zone.as_ref().map_or("regional", |zone| zone.as_str());
    // No two processes share a name, and none is used again: an announcement of a process that died is another's.
    let name = format!("{place}-{}", Uuid::new_v4().simple());
    let settle = Duration::from_secs(settings.settle_s);
    let rate = NonZeroU32::new(settings.calls_per_second).context("calls_per_second is not zero")?;
    let provider = Paced::new(Client::new(&settings.provider, &name, settle)?, rate);
    let provider: Arc<dyn Provider> = Arc::new(provider);
    let inbox = ReadModelInbox::new(database.clone(), &name, TimeDelta::from_std(settle)?);
    let worker = Worker {
        zone: args.zone.clone(),
        region: settings.region.clone(),
        name,
        inbox: Arc::new(inbox),
        provider: Arc::clone(&provider),
        reporter: Arc::new(JournalReporter::new(Arc::clone(&caller), format!("worker {place}"))),
        environment: Arc::clone(caller.environment()),
        concurrency: settings.concurrency,
    };
    let sweep = Sweep {
        zone: args.zone.clone(),
        place: args.zone.as_ref().map_or_else(|| settings.region.clone(), ToString::to_string),
        database: database.clone(),
        provider,
        reporter: JournalReporter::new(Arc::clone(&caller), format!("sweep {place}")),
        every: Duration::from_secs(settings.sweep_s),
    };
    let wake = Arc::new(Notify::new());
    tokio::spawn(listen(database.clone(), args.zone.clone(), Arc::clone(&wake)));
    tracing::info!(place, "working");
    let processes = async {
        if args.regional {
            let processes = Processes { schedule: Arc::new(database), reporter: JournalReporter::new(caller, "process") };
            processes.run(Arc::new(Notify::new()), stop.clone()).await;
        }
    };
    tokio::join!(worker.run(wake, stop.clone()), sweep.run(stop.clone()), processes);
    Ok(())
}

/// Wakes the worker when work was opened in its place. A lost wake-up costs latency only.
async fn listen(database: Database, zone: Option<ZoneName>, wake: Arc<Notify>) {
    let mut told = database.follow().open_work();
    loop {
        let concerned = match told.recv().await {
            Ok(OpenWork::In(place)) => Some(place) == zone,
            Ok(OpenWork::Regional) => zone.is_none(),
            Ok(OpenWork::Anywhere) | Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return,
        };
        if concerned {
            wake.notify_one();
        }
    }
}
