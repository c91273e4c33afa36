//! The API processes, and who stands before them.

use super::Told;
use crate::{
    chaos::{
        field::Field,
        history::Answer,
        load::{ADMINISTRATOR, ISSUER, PATIENT, Write},
    },
    platform::server,
};
use anyhow::{Context, ensure};
use domain::{
    command::Command,
    id::{CommandId, IntentId, ResourceId, TenantId},
    people::{Actor, Principal},
};
use futures::future::join_all;
use journal::kafka::KafkaLog;
use rand::seq::IndexedRandom;
use reqwest::Method;
use schemas::{
    command::CommandRecord,
    record::{Digest, Origin},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};
use uuid::Uuid;

const APIS: [&str; 2] = ["api", "api-2"];

/// Callers of one key.
const CALLERS: usize = 100;

/// Scenario 14: A hundred callers send one order under one key at once, through both API processes, a tenth of them with another body; one of the processes
/// is killed and starts again; the order is sent once more.
///
/// Finds: two servers of one key; two answers; an answer to the changed body that is not a refusal; a key that a restart forgets.
pub async fn one_key(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        let tenant = *field.clients.tenants.choose(&mut field.rng).context("there are tenants")?;
        let key = field.clients.key();
        let [order, other] = [1, 2].map(|vcpus| Write::server(None, "zone-a", &key, vcpus));
        let calls = (0..CALLERS).map(|n| {
            let write = if n % 10 == 9 { &other } else { &order };
            field.clients.send(n % APIS.len(), ADMINISTRATOR, tenant.id, write, &key, PATIENT)
        });
        let answers: Vec<Option<Answer>> = join_all(calls).await;
        let victim = *APIS.choose(&mut field.rng).expect("there are two");
        field.platform.kill_and_restart(victim)?;
        field.fault();
        field.decided(10).await?;
        // Whatever the first callers heard, the key still has its one outcome.
        let again = field.clients.insist(&mut field.rng, ADMINISTRATOR, tenant.id, &order, &key).await.context("never decided")?;
        let heard = answers.iter().flatten().filter(|answer| answer.is_done()).count();
        ensure!(heard == 0 || again.is_done() || again.status == 422, "{key} was done {heard} times and then answered {again:?}");
        if Instant::now() > until {
            return Ok(());
        }
    }
}

/// Scenario 15: An API process is killed with requests in flight, again and again. Its callers send them again, to whoever is there.
///
/// Finds: an outcome that only the process that died could tell; a retry that is a second order; a token or a key that another process does not know.
pub async fn kill_api(field: &mut Field, told: Told) -> anyhow::Result<()> {
    super::kill(field, told, &APIS, 300..3_000, 20).await
}

/// Scenario 18: A tenant's program, of a person of its own, orders far more than its quota as fast as it can, sixty orders at a time, while the others work.
///
/// Finds: tenants that are not decided any more because of another one's flood. Latencies are printed, not judged.
pub async fn flood(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let name = field.clients.key();
    let body = json!({"reference": name, "name": name, "administrator": {"issuer": ISSUER, "subject": "ben"}, "limits": {"servers": 1}});
    let opened = field.platform.call(0, "trace", Method::POST, "/v1/tenants", Some(&name), body).await?;
    let flooding: TenantId = opened.body["id"].as_str().with_context(|| format!("no tenant for the flood: {opened:?}"))?.parse()?;
    let before = field.latency(field.clients.history.now().saturating_sub(10_000_000));
    let since = field.clients.history.now();
    let until = Instant::now() + told.time.clamp(Duration::from_secs(5), Duration::from_secs(20));
    let clients = std::sync::Arc::clone(&field.clients);
    let flood = (0..60).map(|_| {
        let clients = std::sync::Arc::clone(&clients);
        tokio::spawn(async move {
            while Instant::now() < until {
                let key = clients.key();
                let write = Write::server(None, "zone-a", &key, 1);
                clients.send(0, "ben", flooding, &write, &key, PATIENT).await;
            }
        })
    });
    let flood: Vec<_> = flood.collect();
    field.fault();
    field.pass(until.saturating_duration_since(Instant::now())).await?;
    for sender in flood {
        sender.await?;
    }
    let (p50, p99) = field.latency(since);
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for record in field.clients.history.records().into_iter().filter(|record| record.asked.tenant == flooding) {
        *answers.entry(record.answer.map_or(0, |answer| answer.status)).or_default() += 1;
    }
    println!("   the flood's answers, by status: {answers:?}");
    println!("   others' writes: p50 {:?}, p99 {:?} before the flood; {p50:?}, {p99:?} in it", before.0, before.1);
    field.decided(20).await?;
    for tenant in &field.clients.tenants {
        let acknowledged = field.clients.history.records().iter().filter(|r| r.asked.tenant == tenant.id && r.ended >= since).count();
        ensure!(acknowledged > 0, "{} got no answer during the flood", tenant.id);
    }
    Ok(())
}

/// Scenario 22: A stranger floods the tenants with forbidden writes; and somebody who can write to the commands topic forges a worker's report.
///
/// Finds: anything of the stranger on the log (`asked` says so); a report that counts though it did not come by the reports topic.
pub async fn strangers(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        let tenant = *field.clients.tenants.choose(&mut field.rng).context("there are tenants")?;
        let calls = (0..40).map(|n| {
            let key = field.clients.key();
            let write = Write::server(Some(tenant.cell), "zone-a", &key, 1);
            let clients = &field.clients;
            async move { clients.send(n % APIS.len(), "vera", tenant.id, &write, &key, PATIENT).await }
        });
        for answer in join_all(calls).await.into_iter().flatten() {
            ensure!([404, 429, 503].contains(&answer.status), "a stranger was answered {answer:?}");
            field.fault();
        }
        forge(field).await?;
        field.decided(10).await?;
        if Instant::now() > until {
            return Ok(());
        }
    }
}

/// Puts a report where commands lie, as an API process might that somebody has taken over; in the demo tenant, whose clients write nothing down.
async fn forge(field: &mut Field) -> anyhow::Result<()> {
    let (tenant, cell) = field.platform.demo().await?;
    let path = format!("/v1/tenants/{tenant}/resources");
    let key = field.clients.key();
    let created = field.platform.call(0, "ben", Method::POST, &path, Some(&key), server(&cell, &key)).await?;
    let resource: ResourceId = created.body["id"].as_str().with_context(|| format!("no server: {created:?}"))?.parse()?;
    let intent: IntentId = created.body["step"]["intent"].as_str().with_context(|| format!("no step: {created:?}"))?.parse()?;
    let command = Command::ReportFailed { resource, intent, problem: "forged".to_owned(), remains: false };
    let tenant = tenant.parse()?;
    let record = CommandRecord {
        id: CommandId(Uuid::new_v4()),
        tenant: Some(tenant),
        actor: Actor::Principal(Principal { issuer: ISSUER.into(), subject: "ben".into() }),
        digest: Digest::of(&serde_json::to_vec(&json!({"forged": true}))?),
        request: format!("forged-{key}"),
        traceparent: None,
        at: None,
        expires: (SystemTime::now() + Duration::from_secs(60)).into(),
        after_platform: 0,
        command,
    };
    let journal = field.journal().await?;
    let log = KafkaLog::new(&field.kafka()?, &journal.topic_of(Origin::Commands), journal.all_partitions())?;
    super::put(&log, journal.partition_of(record.tenant), &record.encode())
        .await?
        .map_err(|problem| anyhow::anyhow!("{}", problem.reason))?;
    field.fault();
    let settled = |answer: &crate::platform::Answer| matches!(answer.body["phase"].as_str(), Some("active" | "failed"));
    let shown = field.platform.eventually("ben", &format!("{path}/{resource}"), "the forged server is decided", settled).await?;
    ensure!(shown.body["phase"] == "active", "a forged report counted: {shown:?}");
    Ok(())
}
