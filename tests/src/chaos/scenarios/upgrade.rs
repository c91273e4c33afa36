//! A release that replaces another.

use super::Told;
use crate::chaos::field::{DEADLINE, Field};
use anyhow::{Context, bail, ensure};
use domain::platform::FORMAT;
use rand::RngExt;
use replay::source::Source;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::task::block_in_place;
use uuid::Uuid;

/// Who is replaced first, and who afterwards. A projector of the new release fills what it keeps in other versions; an API process of the new release
/// needs that, and one of the old release the projector that keeps its own.
const FIRST: [&str; 6] = ["projector-2", "api-2", "decider-2", "worker-zone-a-2", "worker-zone-b-2", "worker-regional-2"];
const THEN: [&str; 6] = ["api", "projector", "decider", "worker-zone-a", "worker-zone-b", "worker-regional"];

/// How the new release writes what the old one wrote as `"version":1`.
const NEW: &str = r#""type":"resource.stop_requested","version":2"#;

/// Scenario 21: Every process of one release is replaced by one of the next, which has a new version of an event and of a read model, while clients
/// are at work. Half way it goes back, and then on again. The new format is refused as long as somebody runs who does not read it; once it is
/// raised, the new version is written and the old release does not start any more.
///
/// Finds: an event that one of two releases cannot read; a reader that takes for shown what only the other release's read models show; a format that
/// is raised too early; an old program that works on what it does not understand.
pub async fn rolling(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let old = field.previous.clone().context("where is the release before? (--previous)")?;
    ensure!(raise(field, FORMAT - 1).await?.is_none(), "both releases read format {}", FORMAT - 1);
    for name in FIRST {
        replace(field, name, None).await?;
    }
    ensure!(raise(field, FORMAT).await?.is_some(), "the format was raised although half of the processes do not read it");
    for name in FIRST.iter().rev() {
        replace(field, name, Some(&old)).await?;
    }
    for name in FIRST.into_iter().chain(THEN) {
        replace(field, name, None).await?;
    }
    // Those that were killed count for another minute.
    let deadline = Instant::now() + DEADLINE;
    while let Some(refused) = raise(field, FORMAT).await? {
        ensure!(refused.contains("is running"), "refused for another reason: {refused}");
        ensure!(Instant::now() < deadline, "still refused after {DEADLINE:?}: {refused}");
        field.pass(Duration::from_secs(2)).await?;
    }
    written(field).await?;
    for role in [&["decider"][..], &["projector"], &["api"], &["worker", "--regional"]] {
        refuses_to_start(field, &old, role).await?;
    }
    field.decided(20).await
}

/// Ends a process, as by an operator or as by `kill -9`, and starts that of a release in its place, which has to serve.
async fn replace(field: &mut Field, name: &str, release: Option<&Path>) -> anyhow::Result<()> {
    let politely = field.rng.random();
    block_in_place(|| field.platform.replace(name, release, politely))?;
    field.fault();
    if let Some(api) = ["api", "api-2"].iter().position(|api| *api == name) {
        let ready = format!("{}/readyz", field.platform.apis[api]);
        let deadline = Instant::now() + DEADLINE;
        while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
            ensure!(Instant::now() < deadline, "{name} is not ready within {DEADLINE:?}{}", field.platform.logs());
            field.pass(Duration::from_millis(200)).await?;
        }
    }
    field.decided(20).await
}

/// Asks for a format. Why it was refused, if it was.
async fn raise(field: &mut Field, format: u32) -> anyhow::Result<Option<String>> {
    let deadline = Instant::now() + DEADLINE;
    let key = Uuid::new_v4().to_string();
    for api in [0, 1].into_iter().cycle() {
        let asked = field.platform.call(api, "olga", Method::PUT, "/v1/format", Some(&key), json!({"format": format})).await;
        match asked {
            Ok(answer) if answer.status == StatusCode::OK => break,
            Ok(answer) if answer.status == StatusCode::CONFLICT => return Ok(Some(answer.body["detail"].to_string())),
            other => ensure!(Instant::now() < deadline, "no answer to a raised format within {DEADLINE:?}: {other:?}"),
        }
        field.pass(Duration::from_millis(200)).await?;
    }
    Ok(None)
}

/// Waits until an event lies on the log in its new version.
async fn written(field: &mut Field) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let settings = field.kafka()?;
    loop {
        field.decided(10).await?;
        let mut found = false;
        block_in_place(|| {
            Source::broker(&settings, 1)?.read(|_, stored| {
                found |= String::from_utf8_lossy(&stored.value).contains(NEW);
                Ok(())
            })
        })?;
        if found {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nothing is written in its new version within {DEADLINE:?}");
    }
}

async fn refuses_to_start(field: &mut Field, release: &Path, role: &[&str]) -> anyhow::Result<()> {
    let state = field.platform.state.path();
    let log = state.join("too-old.log");
    let mut command = Command::new(release.join("cirrus"));
    command.args(role).env("CIRRUS_CONFIG", state.join("cirrus.toml")).stdin(Stdio::null()).stderr(File::create(&log)?);
    let mut process = command.spawn()?;
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            process.kill()?;
            bail!("{role:?} of the release before works on");
        }
        field.pass(Duration::from_millis(200)).await?;
    };
    let said = std::fs::read_to_string(&log)?;
    ensure!(!status.success() && said.contains("it is too old"), "{role:?} of the release before ended otherwise: {said}");
    Ok(())
}
