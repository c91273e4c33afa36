//! Altered copies of the log, and poison.

use super::Told;
use crate::chaos::{
    field::Field,
    load::{ADMINISTRATOR, ISSUER, PATIENT, Write},
};
use anyhow::{Context, ensure};
use domain::{
    id::CommandId,
    partition::{Decided, Partition, Tombstones},
};
use journal::{
    kafka::{KafkaLog, KafkaMembership},
    writer::StoredWriter,
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use replay::{source::Source, verify::verify};
use schemas::record::Origin;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::block_in_place;
use workers::decider::{
    shell::{Decider, Topics},
    snapshot::Snapshots,
    tombstones::Kept,
};

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

/// Scenario 19, too: a decision that panics. No command is known to do that, so one decider is started that panics when it looks for the first outcome of one key;
/// in all else it is the real one, and the only one for the time. Then the real ones decide the same key again.
///
/// Finds: a decider that dies of a panic, or passes over its command without a commit; a key that stays taken by a failure.
pub async fn panic(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let tenant = field.clients.tenants[0];
    let key = field.clients.key();
    let order = Write::server(None, "zone-a", &key, 1);
    let id = order.asked(0, ADMINISTRATOR, tenant.id, &key).command(ISSUER)?;
    field.failing.insert(id);
    let journal = field.journal().await?;
    let settings = field.kafka()?;
    let topic = |name: &str| KafkaLog::new(&settings, name, journal.all_partitions()).map(Box::new);
    let topics = Topics {
        events: topic(&journal.events())?,
        commands: topic(&journal.topic_of(Origin::Commands))?,
        reports: topic(&journal.topic_of(Origin::Reports))?,
    };
    for decider in ["decider", "decider-2"] {
        field.platform.signal(decider, "STOP")?;
    }
    let membership = KafkaMembership::join(&settings, &journal.commands(), "cirrus-deciders")?;
    let decider = block_in_place(|| Decider::start(journal, topics, Box::new(membership), Box::new(Panicking(id))))?;
    field.decided(20).await?;
    let answer = field.clients.send(0, ADMINISTRATOR, tenant.id, &order, &key, PATIENT).await.context("a panic is not answered")?;
    ensure!(answer.status == 500 && answer.is_decided(), "a decision that panics is answered as {answer:?}");
    field.fault();
    field.decided(20).await?;
    ensure!(decider.is_alive(), "the decider died of a panic");
    block_in_place(|| drop(decider));
    for decider in ["decider", "decider-2"] {
        field.platform.signal(decider, "CONT")?;
    }
    let again = field.clients.insist(&mut field.rng, ADMINISTRATOR, tenant.id, &order, &key).await.context("never decided")?;
    ensure!(again.is_done() || again.status == 409, "a key whose command failed is answered as {again:?}");
    field.decided(20).await
}

/// The cache of a decider that panics at one command. It holds nothing else.
#[derive(Debug, Clone, Copy)]
struct Panicking(CommandId);

impl Tombstones for Panicking {
    fn find(&self, id: CommandId) -> Option<Decided> {
        if id == self.0 {
            // A panic that nobody prints.
            std::panic::resume_unwind(Box::new("as the scenario wants it"));
        }
        None
    }
}

impl Kept for Panicking {
    fn kept(&self) -> u64 {
        0
    }
}

impl Snapshots for Panicking {
    fn load(&self, _: u32) -> Option<(StoredWriter, Partition)> {
        None
    }

    fn tombstones(&self, _: u32) -> Arc<dyn Kept> {
        Arc::new(*self)
    }

    fn save(&mut self, _: u32, _: StoredWriter, _: Partition) {}
}
