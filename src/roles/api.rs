//! `cirrus api`.

use crate::config::Config;
use anyhow::Context;
use api::Ground;
use schemas::record::Origin;

pub async fn run(mut config: Config, on: super::Ground) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let metrics = super::metrics()?;
    let super::Ground { database, journal, checkpoints } = on;
    let api = config.api.take().context("the configuration has no [api]")?;
    let (events, commands) = (super::events(&config, &journal)?, super::commands(&config, &journal, Origin::Commands)?);
    let ground = Ground { journal, commands: &commands, events: &events, checkpoints: &checkpoints, database, metrics: Some(metrics) };
    Ok(api::serve(api, ground, super::stopped(stop)).await?)
}
