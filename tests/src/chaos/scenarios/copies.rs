//! Altered copies of the log, and poison.

use super::Told;
use crate::chaos::field::Field;
use anyhow::{Context, ensure};
use journal::kafka::KafkaLog;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use replay::{source::Source, verify::verify};
use schemas::record::Origin;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokio::task::block_in_place;

/// Copies that are altered.
const COPIES: u32 = 60;

/// Scenario 16: In copies of the log a record is altered, removed, exchanged with its neighbour, replaced by another, or the end of the file is cut off.
///
/// Finds: a reader that goes on over an altered history, or that stops without saying where. (A tail that is cut off between two records is invisible to
/// the chain itself; here the cut goes through a record.)
pub async fn alter(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let state = field.platform.state.path().to_owned();
    let whole = state.join("whole");
    let settings = field.kafka()?;
    block_in_place(|| Source::broker(&settings, 1)?.dump(&whole))?;
    ensure!(verify(&Source::directory(&whole)?)?.is_whole(), "the log is not whole before anything was altered");
    for n in 0..COPIES {
        let copy = state.join(format!("altered-{n}"));
        block_in_place(|| one(&mut field.rng, &whole, &copy))?;
        field.fault();
        fs::remove_dir_all(copy)?;
        field.pass(std::time::Duration::ZERO).await?;
    }
    Ok(fs::remove_dir_all(whole)?)
}

fn one(rng: &mut StdRng, whole: &Path, copy: &Path) -> anyhow::Result<()> {
    fs::create_dir(copy)?;
    let mut files: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for entry in fs::read_dir(whole)? {
        let path = entry?.path();
        let to = copy.join(path.file_name().context("a file has a name")?);
        fs::copy(&path, &to)?;
        let lines: Vec<String> = fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
        if path.extension().is_some_and(|extension| extension == "jsonl") && lines.len() > 6 {
            files.push((to, lines));
        }
    }
    files.sort();
    let (path, mut lines) = files.choose(rng).context("no partition has records")?.clone();
    let partition = path.file_stem().and_then(|stem| stem.to_str()).context("a partition has a number")?.to_owned();
    // The last record is bound by nothing behind it; what is said of it is said by a position that somebody remembers.
    let at = rng.random_range(1..lines.len() - 2);
    let what = ["altered", "removed", "exchanged", "replaced", "cut"].choose(rng).copied().expect("there are five");
    match what {
        "altered" => lines[at] = altered(&lines[at], rng)?,
        "removed" => drop(lines.remove(at)),
        "exchanged" => lines.swap(at, at + 1),
        "replaced" => lines[at] = lines[at - 1].clone(),
        _ => {
            lines.truncate(at + 1);
            let half = lines[at].len() / 2;
            lines[at].truncate(half);
        }
    }
    fs::write(&path, lines.join("\n"))?;
    let found = match verify(&Source::directory(copy)?) {
        Ok(report) => report.chains.into_iter().flat_map(|chain| chain.problems).collect(),
        Err(problem) => vec![format!("{problem:#}")],
    };
    let named =
        found.iter().any(|problem| problem.contains(&format!("g1.p{partition}.")) || problem.contains(&format!("{partition}.jsonl, line")));
    ensure!(named, "record {at} of partition {partition} was {what}, and what was found is {found:?}");
    Ok(())
}

/// A record with one byte of its value changed.
fn altered(line: &str, rng: &mut StdRng) -> anyhow::Result<String> {
    let mut line: Value = serde_json::from_str(line)?;
    let mut value: Vec<u8> = line["value"].as_str().context("a record has a value")?.bytes().collect();
    let place = rng.random_range(0..value.len() - 4);
    value[place] = if value[place] == b'A' { b'B' } else { b'A' };
    line["value"] = String::from_utf8(value)?.into();
    Ok(line.to_string())
}

/// Scenario 19: Poison on the commands topic: what is not JSON, what is half a command, a kind that nobody knows, a record larger than any command, and one of
/// 10 MiB, which the client refuses to send.
///
/// Finds: a decider that dies of what it reads, or stands still before it; a poison without a commit of its own.
pub async fn poison(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let journal = field.journal().await?;
    let log = KafkaLog::new(&field.kafka()?, &journal.topic_of(Origin::Commands), journal.all_partitions())?;
    let doses: [(&str, Vec<u8>); 6] = [
        ("not JSON", b"\xff\xfe poison".to_vec()),
        ("empty", Vec::new()),
        ("half a command", br#"{"id":"018f0000-0000-7000-8000-000000000000","tenant":"#.to_vec()),
        ("an unknown kind", br#"{"command":{"kind":"explode","body":{}}}"#.to_vec()),
        ("deep", [b"[".repeat(20_000), b"]".repeat(20_000)].concat()),
        ("large", vec![b'a'; 700 * 1024]),
    ];
    for partition in 0..journal.all_partitions() {
        for (name, dose) in &doses {
            let put = super::put(&log, partition, dose).await?;
            ensure!(put.is_ok(), "{name} could not be put on the topic: {put:?}");
            field.fault();
        }
        ensure!(super::put(&log, partition, &vec![b'a'; 10 << 20]).await?.is_err(), "10 MiB were taken");
    }
    field.decided(30).await?;
    ensure!(field.ended.keys().all(|role| !role.starts_with("decider")), "a decider died of poison: {:?}", field.ended);
    Ok(())
}
