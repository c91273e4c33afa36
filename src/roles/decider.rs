//! `cirrus decider`.

use crate::config::Config;
use journal::{kafka::KafkaMembership, topics::Journal};
use schemas::record::Origin;
use std::sync::Arc;
use workers::decider::{
    advice,
    shell::{Decider, Topics},
    snapshot::{NoSnapshots, SnapshotDir, Snapshots},
};

pub async fn run(config: Config, on: super::Ground) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let metrics = super::metrics()?;
    let super::Ground { journal, .. } = on;
    let topics = Topics {
        events: Box::new(super::events(&config, &journal)?),
        commands: Box::new(super::commands(&config, &journal, Origin::Commands)?),
        reports: Box::new(super::commands(&config, &journal, Origin::Reports)?),
    };
    let membership = KafkaMembership::join(&config.kafka, &journal.commands(), &config.decider.group)?;
    let decider = Decider::start(journal, topics, Box::new(membership), snapshots(&config, &journal))?;
    tracing::info!(journal = %journal.id, partitions = journal.partitions, "deciding");
    super::show(config.decider.listen, advice::router(decider, journal, Arc::new(move || metrics.render())), stop).await
}

/// A decider can do without its cache: it starts more slowly then, and remembers in memory what is gone.
fn snapshots(config: &Config, journal: &Journal) -> Box<dyn Snapshots> {
    let dir = config.state.join("snapshots");
    match SnapshotDir::open(&dir, journal) {
        Ok(snapshots) => Box::new(snapshots),
        Err(problem) => {
            let dir = dir.display();
            tracing::warn!(%dir, %problem, "no snapshots in {dir} ({problem}): each decider needs a state directory of its own");
            Box::new(NoSnapshots)
        }
    }
}
