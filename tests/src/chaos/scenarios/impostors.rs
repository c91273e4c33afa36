//! Logs that are not the platform's, or not any more.

use super::{Told, put};
use crate::{
    chaos::{
        field::{DEADLINE, Field},
        load::ISSUER,
    },
    platform::{Platform, server},
    servers::Kafka,
};
use anyhow::{Context, ensure};
use journal::{
    birth,
    kafka::{KafkaLog, KafkaSettings},
    topics::Journal,
};
use replay::{chain::Chain, source::Source};
use reqwest::Method;
use schemas::record::{Commit, Digest, PlatformPosition, Position, Record, Seen, Takeover, WriterId};
use serde_json::{Value, json, value::to_raw_value};
use std::{
    process::Stdio,
    time::{Duration, Instant, SystemTime},
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

fn settings(kafka: &Kafka) -> anyhow::Result<KafkaSettings> {
    Ok(serde_json::from_value(json!({"bootstrap": kafka.bootstrap()}))?)
}

/// Scenario 19, too: a newer program takes the lead of one partition and writes an event that nobody else knows, in a commit that is right in every other way; its
/// decider comes back while that is there.
///
/// Finds: a decider that goes on deciding on a fold that lacks a fact; a read model that passes over it and does not say so; a verifier that calls such a log
/// whole. The other partitions go on.
pub async fn unknown_event(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let platform = Platform::start().await?;
    let own = settings(&platform.kafka)?;
    let journal = block_in_place(|| birth::identify(&own, 1))?.context("there is no journal")?;
    let (tenant, cell) = platform.demo().await?;
    let partition = journal.partition_of(Some(tenant.parse()?));
    platform.signal("decider", "STOP")?;
    let mut chains = Chain::all(&journal)?;
    block_in_place(|| {
        Source::broker(&own, 1)?.read(|partition, stored| {
            chains[partition as usize].read(stored);
            Ok(())
        })
    })?;
    let log = KafkaLog::new(&own, &journal.events(), journal.all_partitions())?;
    let (records, at) = of_the_future(&chains, &journal, partition)?;
    for value in records {
        put(&log, partition, &value).await?.map_err(|problem| anyhow::anyhow!("{}", problem.reason))?;
    }
    field.fault();
    platform.signal("decider", "CONT")?;

    let said = |url: String| async move { anyhow::Ok(reqwest::get(url).await?.json::<Value>().await?) };
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = said(format!("{}/status", platform.deciders[0])).await?;
        let ready = said(format!("{}/readyz", platform.apis[0])).await?;
        let halted = status["partitions"].as_array().into_iter().flatten().filter(|of| of["problem"].is_string()).collect::<Vec<_>>();
        let names = |text: &Value| text.as_str().is_some_and(|text| text.contains(&at.to_string()));
        let stopped = matches!(halted[..], [one] if one["partition"] == partition && names(&one["problem"]));
        let incomplete = ready["incomplete"].as_array().is_some_and(|models| models.iter().any(names));
        if stopped && incomplete {
            break;
        }
        ensure!(Instant::now() < deadline, "{at} is an unknown event, and nobody says so: {status} {ready}{}", platform.logs());
        field.pass(Duration::from_millis(200)).await?;
    }
    let verified = block_in_place(|| platform.replay(&["verify"]));
    let problem = verified.err().map(|problem| problem.to_string()).unwrap_or_default();
    ensure!(problem.contains(&format!("{at}: unknown event")), "a log with an unknown event at {at} was verified: {problem}");
    let path = format!("/v1/tenants/{tenant}/resources");
    let order = platform.call(0, "ben", Method::POST, &path, Some("future"), server(&cell, "future"));
    let answer = tokio::time::timeout(Duration::from_secs(5), order).await;
    ensure!(!matches!(&answer, Ok(Ok(answer)) if answer.status == 201), "decided on a fold that lacks a fact: {answer:?}");
    let body = json!({"reference": "another", "name": "another", "administrator": {"issuer": ISSUER, "subject": "ada"}, "limits": {}});
    let opened = platform.call(0, "trace", Method::POST, "/v1/tenants", Some("another"), body).await?;
    ensure!(opened.status.is_success(), "the platform's own partition has stopped, too: {opened:?}");
    Ok(())
}

/// A takeover and a commit behind everything that lies on a partition, as its rightful leader would write them, with an event of a later format; and the commit's place.
fn of_the_future(chains: &[Chain], journal: &Journal, partition: u32) -> anyhow::Result<([Vec<u8>; 2], Position)> {
    let before = *chains[partition as usize].reader();
    let writer = WriterId(rand::random());
    let takeover =
        Takeover { epoch: before.epoch + 1, writer, seen: Seen { seq: before.seq, head: before.head }, genesis: None }.encode()?;
    let at = Position { seq: before.seq + 2, ..before.position() };
    let commit = Commit {
        epoch: before.epoch + 1,
        writer,
        seq: at.seq,
        prev: Digest::of(&[&before.head.0[..], &takeover].concat()),
        platform: PlatformPosition { generation: at.generation, seq: chains[journal.platform() as usize].reader().seq },
        command: None,
        actor: None,
        time: SystemTime::now().into(),
        events: vec![to_raw_value(&json!({"type": "resource.teleported", "version": 1, "data": {}}))?],
    };
    Ok(([takeover, Record::Commit(commit).encode()?], at))
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
