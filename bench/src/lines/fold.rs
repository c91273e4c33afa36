//! The decider's start: folding the log, or reading a snapshot; and what a resource costs it, living and gone.
//!
//! The fold is the one that a decider runs over each record it follows: rule, events, state. Memory is what a process of its own grows by when it
//! loads a snapshot of many such resources, so that nothing else is counted.

use super::Line;
use crate::{
    history,
    measure::{Row, Scale, in_turn, rate_of_core},
};
use anyhow::{Context, ensure};
use domain::{id::CommandId, partition::Partition};
use journal::{log::Stored, topics::Journal, writer::StoredWriter};
use replay::chain::Chain;
use std::{hint::black_box, path::Path, process::Command};
use uuid::Uuid;
use workers::decider::snapshot::{SnapshotDir, Snapshots};

/// See the module.
pub const LINE: Line = Line { name: "fold", about: "a decider's start by fold and by snapshot, tombstones, memory a resource", run };

/// The partition that holds the tenants.
const TENANTS: u32 = 0;

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let resources = scale.amount(100_000, 20_000);
    let living = Folded::of(&history::of_servers(resources))?;
    let gone = Folded::of(&history::of_gone_servers(resources))?;
    let directory = tempfile::tempdir()?;
    let [live_dir, gone_dir] = ["living", "gone"].map(|name| directory.path().join(name));
    living.save(&live_dir)?;
    gone.save(&gone_dir)?;
    let events: usize = living.events;
    let [fold, snapshot, found, missed] = in_turn(
        scale.runs,
        [
            Box::new(|| rate_of_core(events, || living.fold())),
            Box::new(|| rate_of_core(resources, || load(&live_dir, &living.journal).map(|_| ()))),
            Box::new(|| look_up(&gone_dir, &gone, true)),
            Box::new(|| look_up(&gone_dir, &gone, false)),
        ],
    )?;
    let alive = grown(&live_dir, &living.journal)? / resources as f64;
    let dead = grown(&gone_dir, &gone.journal)? / resources as f64;
    let disk = tombstone_bytes(&gone_dir, &gone.journal)? / resources as f64;
    Ok(vec![
        Row::alone("fold: rule, decode, apply, one core", "events/s", fold),
        Row::alone("load a snapshot, one core", "resources/s", snapshot),
        Row::alone("look up the outcome of a create whose resource is gone", "1/s", found),
        Row::alone("look up a create that never was", "1/s", missed),
        Row::alone("memory of a living server in the decider", "bytes", vec![alive]),
        Row::alone("memory of a gone server in the decider, once shed", "bytes", vec![dead]),
        Row::alone("disk of a gone server beside the decider", "bytes", vec![disk]),
    ])
}

/// A log in memory and what it folds to.
pub struct Folded {
    journal: Journal,
    records: Vec<Vec<Stored>>,
    chain: Chain,
    /// Events of the tenants' partition.
    pub events: usize,
}

impl Folded {
    /// Reads and folds a log.
    pub fn of(source: &replay::source::Source) -> anyhow::Result<Self> {
        let (journal, records) = (source.journal(), history::records(source)?);
        let (mut chain, mut events) = (Chain::new(&journal, TENANTS)?, 0);
        for stored in &records[TENANTS as usize] {
            events += chain.read(stored).map_or(0, |read| read.events.len());
        }
        ensure!(chain.problems.is_empty(), "{:?}", chain.problems);
        Ok(Self { journal, records, chain, events })
    }

    /// Folds it once more.
    pub fn fold(&self) -> anyhow::Result<()> {
        let mut chain = Chain::new(&self.journal, TENANTS)?;
        for stored in &self.records[TENANTS as usize] {
            black_box(chain.read(stored));
        }
        ensure!(chain.state == self.chain.state, "two folds differ");
        Ok(())
    }

    /// Keeps a snapshot, with tombstones of what is gone.
    fn save(&self, directory: &Path) -> anyhow::Result<()> {
        let mut snapshots = SnapshotDir::open(directory, &self.journal)?;
        snapshots.save(TENANTS, stored(&self.chain)?, self.chain.state.clone());
        // Dropped, it waits until everything is on disk.
        Ok(())
    }
}

/// A snapshot is of a writer; of this one only the reader matters.
fn stored(chain: &Chain) -> anyhow::Result<StoredWriter> {
    let past = serde_json::json!({"time": null, "platform": {"generation": 1, "seq": 0}, "commands": null, "reports": null});
    Ok(serde_json::from_value(serde_json::json!({"reader": {"state": chain.reader()}, "past": past}))?)
}

fn load(directory: &Path, journal: &Journal) -> anyhow::Result<(StoredWriter, Partition)> {
    SnapshotDir::open(directory, journal)?.load(TENANTS).context("the snapshot that was just saved is not there")
}

fn look_up(directory: &Path, gone: &Folded, there: bool) -> anyhow::Result<f64> {
    const LOOKS: usize = 20_000;
    let snapshots = SnapshotDir::open(directory, &gone.journal)?;
    let tombstones = snapshots.tombstones(TENANTS);
    let ids: Vec<CommandId> = if there { gone.chain.state.gone().1.map(|(id, _)| id).collect() } else { vec![] };
    rate_of_core(LOOKS, || {
        for number in 0..LOOKS {
            // Far apart, as retries are.
            let id = if there { ids[number * 7_919 % ids.len()] } else { CommandId(Uuid::from_u128(number as u128)) };
            ensure!(tombstones.find(id).is_some() == there, "{id:?}");
        }
        Ok(())
    })
}

/// Bytes by which a new process grows when it loads the snapshot.
fn grown(directory: &Path, journal: &Journal) -> anyhow::Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--weigh", &directory.to_string_lossy(), "--journal", &serde_json::to_string(journal)?])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Loads a snapshot and prints by how many bytes this process has grown: the other side of the measurement of memory.
pub fn weigh(directory: &Path, journal: &str) -> anyhow::Result<()> {
    let journal: Journal = serde_json::from_str(journal)?;
    let before = resident()?;
    let loaded = load(directory, &journal)?;
    let after = resident()?;
    black_box(&loaded);
    println!("{}", after.saturating_sub(before));
    Ok(())
}

fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

fn tombstone_bytes(directory: &Path, journal: &Journal) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory.join(journal.id.to_string()))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "tombstones") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes as f64)
}
