//! `cirrus provider-sim`.

use anyhow::Context;
use clap::Args as ClapArgs;
use std::{net::SocketAddr, path::PathBuf};
use tokio::net::TcpListener;
use workers::provider::{Latencies, Simulator};

#[derive(ClapArgs)]
pub struct Args {
    /// Where its objects are kept.
    #[arg(long)]
    state: PathBuf,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:7090")]
    listen: SocketAddr,
    /// A table of measured durations (source,resource_id,operation,seconds); without it everything is done at once.
    #[arg(long)]
    latencies: Option<PathBuf>,
    /// How many times faster than measured.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// What its random draws begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let latencies = args.latencies.map_or(Ok(Latencies::none()), |file| Latencies::of_file(&file, args.speed))?;
    let simulator = Simulator::open(&args.state, false, latencies, args.seed)?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!("the simulated provider listens on http://{}", args.listen);
    Ok(simulator.serve(listener, super::stopped(stop)).await?)
}
