//! PostgreSQL and the projectors.

use super::Told;
use crate::chaos::field::Field;
use anyhow::{Context, ensure};
use rand::{RngExt, seq::IndexedRandom};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::task::block_in_place;
use tokio_postgres::NoTls;

const PROJECTORS: [&str; 2] = ["projector", "projector-2"];

/// Scenario 8: PostgreSQL dies in the middle of its work and starts again; then somebody else takes all the connections that it has.
///
/// Finds: rows without their checkpoint, or a checkpoint without its rows; a projector, worker or API process that does not come back by itself.
pub async fn postgres(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        block_in_place(|| field.platform.postgres.kill());
        field.fault();
        let pause = Duration::from_millis(field.rng.random_range(100..3_000));
        field.pass(pause).await?;
        block_in_place(|| field.platform.postgres.start_again());
        field.decided(20).await?;
        if Instant::now() > until {
            break;
        }
    }
    let mut taken = Vec::new();
    let url = field.platform.postgres.server_url();
    while let Ok(Ok((client, connection))) = tokio::time::timeout(Duration::from_secs(5), tokio_postgres::connect(&url, NoTls)).await {
        taken.push((client, tokio::spawn(connection)));
        ensure!(taken.len() < 1_000, "PostgreSQL has no end of connections");
    }
    ensure!(!taken.is_empty(), "PostgreSQL had no connection left");
    field.fault();
    field.pass(Duration::from_secs(5)).await?;
    drop(taken);
    field.decided(20).await
}

/// Scenario 9: Two projectors fill the same partitions; in turn one stands still in the middle of a batch, wakes up and goes on with it, or is killed.
///
/// Finds: a batch that is applied twice; a checkpoint that goes back.
pub async fn projectors(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        let victim = *PROJECTORS.choose(&mut field.rng).expect("there are two");
        field.fault();
        if field.rng.random() {
            field.platform.kill_and_restart(victim)?;
        } else {
            field.platform.signal(victim, "STOP")?;
            let pause = Duration::from_millis(field.rng.random_range(200..4_000));
            field.pass(pause).await?;
            field.platform.signal(victim, "CONT")?;
        }
        let pause = Duration::from_millis(field.rng.random_range(200..2_000));
        field.pass(pause).await?;
        if Instant::now() > until {
            return field.decided(10).await;
        }
    }
}

/// Scenario 10: Every read model is rebuilt while it is live: begun, killed in the middle, begun again, and switched to.
///
/// Finds: a rebuilt read model that misses what came meanwhile; a reader that sees half a build; a build that can not be gone on with.
pub async fn rebuild(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        for model in projections::model::ALL {
            let mut command = field.platform.command("cirrus", &["projections", "rebuild", model.name()]);
            let mut cancelled = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            let pause = Duration::from_millis(field.rng.random_range(50..900));
            field.pass(pause).await?;
            // It may have ended already; then the next one is a second build.
            let _ = cancelled.kill();
            cancelled.wait()?;
            field.fault();
            let said = block_in_place(|| field.platform.run(&["projections", "rebuild", model.name()]))?;
            ensure!(said.contains("is current"), "{} was not rebuilt: {said}", model.name());
            field.pass(Duration::from_millis(100)).await?;
            if Instant::now() > until {
                return field.decided(10).await.context("after the rebuilds");
            }
        }
    }
}
