//! Logs that are not the platform's.

use super::{Told, put};
use crate::{chaos::field::Field, platform::Platform, servers::Kafka};
use anyhow::{Context, ensure};
use journal::{
    birth,
    kafka::{KafkaLog, KafkaSettings},
};
use replay::source::Source;
use serde_json::json;
use std::{
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::task::block_in_place;

/// A role that is still there after this long has not refused.
const REFUSES: Duration = Duration::from_secs(60);

/// The roles that read or write the log.
const ROLES: [&[&str]; 4] = [&["decider"], &["projector"], &["api"], &["worker", "--zone", "zone-a"]];

/// Scenario 20: the roles of a platform that has worked are started on another cluster; on one where the topics were made again, under the right names and
/// empty; and on one that holds an older copy of the log. Each has to end at once, with a sentence that says why.
///
/// Finds: a leader that begins a second history, or goes on from an old one, under the journal's own name.
pub async fn another_log(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let platform = Platform::start().await?;
    let settings =
        |kafka: &Kafka| -> anyhow::Result<KafkaSettings> { Ok(serde_json::from_value(json!({"bootstrap": kafka.bootstrap()}))?) };
    let own = settings(&platform.kafka)?;
    let journal = block_in_place(|| birth::identify(&own, 1))?.context("there is no journal")?;
    let other = block_in_place(Kafka::start);
    refused(field, &platform, &other, "another cluster", "does not exist").await?;

    let create = ["journal", "create", "--partitions", "4", "--replication", "1", "--min-insync-replicas", "1"];
    let mut command = platform.command("cirrus", &create);
    let made =
        block_in_place(|| command.env("CIRRUS_KAFKA__BOOTSTRAP", other.bootstrap()).stdout(Stdio::null()).stderr(Stdio::null()).status())?;
    ensure!(made.success(), "the topics could not be made again");
    refused(field, &platform, &other, "topics that were made again", "records of it were read before").await?;

    let log = KafkaLog::new(&settings(&other)?, &journal.events(), journal.all_partitions())?;
    let mut records = Vec::new();
    block_in_place(|| {
        Source::broker(&own, 1)?.read(|partition, stored| {
            records.push((partition, stored.value.clone()));
            Ok(())
        })
    })?;
    for partition in 0..journal.all_partitions() {
        let all: Vec<_> = records.iter().filter(|(of, _)| *of == partition).collect();
        for (_, value) in &all[..all.len() / 2] {
            put(&log, partition, value).await?.map_err(|problem| anyhow::anyhow!("{}", problem.reason))?;
        }
    }
    refused(field, &platform, &other, "an older copy", "records of it were read before").await
}

/// Every role refuses this cluster, with this sentence.
async fn refused(field: &mut Field, platform: &Platform, other: &Kafka, what: &str, sentence: &str) -> anyhow::Result<()> {
    for arguments in ROLES {
        let mut command = platform.command("cirrus", arguments);
        let log = platform.state.path().join("impostor.log");
        command.env("CIRRUS_KAFKA__BOOTSTRAP", other.bootstrap()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        for role in ["API", "DECIDER", "PROJECTOR"] {
            command.env(format!("CIRRUS_{role}__LISTEN"), "127.0.0.1:0");
        }
        let mut role = command.spawn()?;
        field.fault();
        let deadline = Instant::now() + REFUSES;
        while role.try_wait()?.is_none() && Instant::now() < deadline {
            field.pass(Duration::from_millis(100)).await?;
        }
        let ended = role.try_wait()?;
        if ended.is_none() {
            role.kill()?;
            role.wait()?;
        }
        let said = std::fs::read_to_string(&log)?;
        ensure!(ended.is_some_and(|status| !status.success()), "{arguments:?} works on {what}:\n{said}");
        ensure!(said.contains(sentence), "{arguments:?} ended on {what} and did not say why:\n{said}");
    }
    Ok(())
}
