//! The workers and what they work at.

use super::Told;
use crate::chaos::{
    field::Field,
    load::{ADMINISTRATOR, Write},
};
use anyhow::Context;
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};
use workers::provider::{Behaviour, Rule, Verb};

const WORKERS: [&str; 4] = ["worker-zone-a", "worker-zone-a-2", "worker-zone-b", "worker-zone-b-2"];

/// Scenario 11: Workers are killed while the provider answers half of the calls late: before a call, in the middle of it, and after it.
///
/// Finds: a machine that is made twice, or of which nobody knows; a step that nobody goes on with; a report that counts twice.
pub async fn kill(field: &mut Field, told: Told) -> anyhow::Result<()> {
    field.provider.set_faults(&[Rule::new(Behaviour::LateAnswer { seconds: 0.4 }).with_probability(0.5)]).await?;
    super::kill(field, told, &WORKERS, 200..2_500, 5).await?;
    field.provider.set_faults(&[]).await?;
    field.decided(10).await
}

/// Scenario 12: The provider does it and answers 500, does it and says nothing, cuts connections, answers late, refuses because of its rate, and lists what is there
/// late: first by a little, then by up to five minutes, two fifths of the scenario's time, always with workers whose settle time covers that. Then it says nothing to
/// anybody for a while.
///
/// Finds: a time-out or an error that is taken for *not done*; a retry that makes a second machine; a look that trusts a listing too early: a machine that was
/// made a moment ago and is taken for deleted.
pub async fn provider(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let some = |behaviour, share| Rule::new(behaviour).with_probability(share);
    let late = told.time.mul_f64(0.4).clamp(Duration::from_secs(4), Duration::from_secs(300)).as_secs();
    let nasty = |seconds| {
        [
            Rule::new(Behaviour::Lag { seconds }),
            some(Behaviour::ErrorAfterDoing, 0.15),
            some(Behaviour::ErrorBeforeDoing, 0.1),
            some(Behaviour::CutAfterDoing, 0.1),
            some(Behaviour::CutBeforeDoing, 0.05),
            some(Behaviour::TimeoutAfterDoing, 0.03),
            some(Behaviour::LateAnswer { seconds: 1.5 }, 0.2),
            Rule::new(Behaviour::RateLimit { per_second: 60, retry_after_seconds: 1 }),
        ]
    };
    field.provider.set_faults(&nasty(0.8)).await?;
    field.fault();
    field.pass(told.time.mul_f64(0.4)).await?;
    // What is deleted stays listed as long, so only little is done from here on.
    settle(field, late + 1)?;
    field.provider.set_faults(&nasty(late as f64)).await?;
    field.fault();
    field.pass(told.time.mul_f64(0.4)).await?;
    field.provider.set_faults(&[Rule::new(Behaviour::TimeoutBeforeDoing)]).await?;
    field.fault();
    field.pass(told.time.mul_f64(0.2)).await?;
    // Customers order and are answered whatever the provider does.
    field.decided(20).await?;
    field.provider.set_faults(&[]).await?;
    settle(field, 1)?;
    field.decided(10).await
}

/// Starts all workers again with this settle time, in seconds: what a provider lists later than that, no worker can know.
fn settle(field: &mut Field, seconds: u64) -> anyhow::Result<()> {
    let workers = field.platform.roles().into_iter().filter(|role| role.starts_with("worker"));
    workers
        .collect::<Vec<_>>()
        .iter()
        .try_for_each(|worker| field.platform.restart_with(worker, &[("CIRRUS_WORKER__SETTLE_S", &seconds.to_string())]))
}

/// Scenario 13: Servers are deleted while they are being created, or changed and at once deleted, while the provider is slow to answer: what a worker planned is old
/// when it calls.
///
/// Finds: a machine of a deleted server; a stale plan that undoes a newer one; a claim that is never given back.
pub async fn delete_while_creating(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    let slow = Rule::new(Behaviour::LateAnswer { seconds: 1.0 }).on(Verb::Create).with_probability(0.7);
    field.provider.set_faults(&[slow, Rule::new(Behaviour::LateAnswer { seconds: 0.5 }).with_probability(0.3)]).await?;
    loop {
        let lives: Vec<_> = field.clients.tenants.iter().map(|tenant| (*tenant, StdRng::seed_from_u64(field.rng.random()))).collect();
        let clients = &field.clients;
        let lives = lives.into_iter().map(async |(tenant, mut rng)| {
            let key = clients.key();
            let order = Write::server(None, "zone-b", &key, 1);
            let created = clients.insist(&mut rng, ADMINISTRATOR, tenant.id, &order, &key).await.context("never decided")?;
            let Some(id) = created.body["id"].as_str().filter(|_| created.is_done()) else { return Ok(()) };
            let id = id.parse()?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..2_000))).await;
            if rng.random() {
                clients.insist(&mut rng, ADMINISTRATOR, tenant.id, &Write::resize(id, 2), &clients.key()).await.context("never decided")?;
            }
            clients.insist(&mut rng, ADMINISTRATOR, tenant.id, &Write::delete(id), &clients.key()).await.context("never decided")?;
            anyhow::Ok(())
        });
        let ended = join_all(lives).await.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
        ended.iter().for_each(|()| field.fault());
        field.pass(Duration::from_millis(100)).await?;
        if Instant::now() > until {
            field.provider.set_faults(&[]).await?;
            return Ok(());
        }
    }
}
