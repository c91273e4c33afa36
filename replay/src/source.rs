//! Where records come from: the broker, or a directory of dumped partitions.
//!
//! A dump is one file a partition, `<partition>.jsonl`, beside `journal.json`. Each line is a record as it lay on the broker:
//! `{"offset":0,"timestamp_ms":1790000000000,"value":"<base64>"}`; the value's bytes are what the chain's digests cover.

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use journal::{
    birth,
    inbox::{Capacity, Inbox},
    kafka::{KafkaLog, KafkaSettings},
    log::{Log, ReadFrom, Source as InboxSource, Stored, What},
    topics::Journal,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A log to be read again.
pub enum Source {
    /// On a broker.
    Broker {
        /// The topic of the journal.
        log: Box<dyn Log>,
        /// Which journal.
        journal: Journal,
    },
    /// In a directory.
    Dump {
        /// The directory.
        directory: PathBuf,
        /// Which journal.
        journal: Journal,
    },
}

/// A broker that says nothing for this long is away.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Line {
    offset: i64,
    timestamp_ms: i64,
    value: String,
}

impl Source {
    /// The journal on a broker, identified by its first records.
    pub fn broker(settings: &KafkaSettings, generation: u32) -> anyhow::Result<Self> {
        let journal = birth::identify(settings, generation)?.context("the journal is empty: nothing was ever written to it")?;
        let log = KafkaLog::new(settings, &journal.events(), journal.all_partitions())?;
        Ok(Self::Broker { log: Box::new(log), journal })
    }

    /// A directory that [`Source::dump`] wrote, or that somebody copied.
    pub fn directory(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join("journal.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let journal = serde_json::from_str(&text).with_context(|| format!("{} does not say which journal this is", path.display()))?;
        Ok(Self::Dump { directory: directory.to_owned(), journal })
    }

    /// Which journal.
    pub fn journal(&self) -> Journal {
        match self {
            Self::Broker { journal, .. } | Self::Dump { journal, .. } => *journal,
        }
    }

    /// Hands out every record that was there when this was called, in the order of its partition.
    pub fn read(&self, mut each: impl FnMut(u32, &Stored) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Self::Broker { log, journal } => read_broker(log.as_ref(), journal, &mut each),
            Self::Dump { directory, journal } => {
                for partition in 0..journal.all_partitions() {
                    let path = file(directory, partition);
                    let lines = BufReader::new(File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?).lines();
                    for (number, line) in (1..).zip(lines) {
                        let place = || format!("{}, line {number}", path.display());
                        let line: Line = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
                        let value = STANDARD.decode(&line.value).with_context(place)?;
                        let stored =
                            Stored { offset: line.offset, timestamp_ms: line.timestamp_ms, key: Default::default(), value: value.into() };
                        each(partition, &stored)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Writes all of it into a directory that does not exist yet.
    pub fn dump(&self, directory: &Path) -> anyhow::Result<u64> {
        ensure!(!directory.exists(), "{} exists", directory.display());
        std::fs::create_dir_all(directory)?;
        let journal = self.journal();
        let create = |partition| Ok(BufWriter::new(File::create(file(directory, partition))?));
        let mut files = (0..journal.all_partitions()).map(create).collect::<anyhow::Result<Vec<_>>>()?;
        let mut records = 0;
        self.read(|partition, stored| {
            records += 1;
            let line = Line { offset: stored.offset, timestamp_ms: stored.timestamp_ms, value: STANDARD.encode(&stored.value) };
            let into = &mut files[partition as usize];
            serde_json::to_writer(&mut *into, &line)?;
            Ok(into.write_all(b"\n")?)
        })?;
        for mut file in files {
            file.flush()?;
        }
        // Last: a directory without it is half a dump.
        std::fs::write(directory.join("journal.json"), serde_json::to_string_pretty(&journal)?)?;
        Ok(records)
    }
}

fn file(directory: &Path, partition: u32) -> PathBuf {
    directory.join(format!("{partition}.jsonl"))
}

fn read_broker(log: &dyn Log, journal: &Journal, each: &mut impl FnMut(u32, &Stored) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let inbox = Inbox::new(Capacity::default(), 1);
    let consumer = log.open_consumer(InboxSource(0), &inbox)?;
    let mut ends = Vec::new();
    for partition in 0..journal.all_partitions() {
        let high = log.watermarks(partition)?.high;
        ends.push(high);
        if high > 0 {
            consumer.assign(partition, ReadFrom::Beginning);
        }
    }
    let mut open = ends.iter().filter(|high| **high > 0).count();
    let mut heard = Instant::now();
    while open > 0 {
        let arrivals = inbox.receive(0, 2_000, Duration::from_millis(500));
        if !arrivals.is_empty() {
            heard = Instant::now();
        }
        ensure!(heard.elapsed() < SILENCE, "the broker has been silent for {} s", SILENCE.as_secs());
        for arrival in arrivals {
            let end = ends[arrival.partition as usize];
            match arrival.what {
                What::Stored(stored) if stored.offset < end => {
                    each(arrival.partition, &stored)?;
                    if stored.offset + 1 == end {
                        open -= 1;
                        consumer.unassign(arrival.partition);
                    }
                }
                What::Stored(_) | What::HighWatermark { .. } => {}
                What::Lost(reason) => bail!("partition {}: {reason}", arrival.partition),
            }
        }
    }
    Ok(())
}
