//! `cirrus decider`.

use crate::config::Config;
use journal::kafka::KafkaMembership;
use schemas::record::Origin;
use std::sync::Arc;
use workers::decider::{
    advice,
    shell::{Decider, Topics},
    snapshot::SnapshotDir,
};

pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let metrics = super::metrics()?;
    let (_, journal) = super::ground(&config).await?;
    let topics = Topics {
        events: Box::new(super::events(&config, &journal)?),
        commands: Box::new(super::commands(&config, &journal, Origin::Commands)?),
        reports: Box::new(super::commands(&config, &journal, Origin::Reports)?),
    };
    let membership = KafkaMembership::join(&config.kafka, &journal.commands(), "cirrus-deciders")?;
    let snapshots = SnapshotDir::open(&config.state.join("snapshots"), &journal)?;
    let decider = Decider::start(journal, topics, Box::new(membership), Box::new(snapshots))?;
    tracing::info!(journal = %journal.id, partitions = journal.partitions, "deciding");
    super::show(config.decider.listen, advice::router(decider, journal, Arc::new(move || metrics.render())), stop).await
}
