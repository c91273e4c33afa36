//! Appending commits to the journal and reading each back, beside a bare producer.
//!
//! Ours encodes each commit as JSON, chains it by SHA-256, hands it to the producer, reads it back, hashes it again and compares; at most
//! a thousand of a partition are under way. The peer hands the same number of records of the same size to rdkafka with the producer settings of
//! the journal, reads nothing, and is done when the broker has acknowledged all. Kafka's own measuring tool does the same in Java.

use super::Line;
use crate::{
    journals,
    measure::{Goal, Row, Scale, in_turn, rate},
};
use anyhow::{Context, bail, ensure};
use chrono::Utc;
use journal::{
    inbox::{Capacity, Inbox},
    kafka::KafkaLog,
    log::{Consumer, Log, Producer, Source, What},
    topics::Journal,
    writer::{Draft, Output, Phase, Writer},
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use schemas::record::{PlatformPosition, WriterId};
use serde_json::value::RawValue;
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tests::servers::Kafka;

/// See the module.
pub const LINE: Line =
    Line { name: "append", about: "append to the journal and observe, beside rdkafka and Kafka's ProducerPerformance", run };

/// Of a record, in bytes.
const SIZE: usize = 1_024;

/// How long a broker may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let kafka = Kafka::shared();
    let records = scale.amount(200_000, 50_000);
    let mut rows = Vec::new();
    for partitions in [1, 8] {
        let [ours, rdkafka, java] = in_turn(
            scale.runs,
            [
                Box::new(|| ours(kafka, partitions, records)),
                Box::new(|| bare(kafka, partitions, records)),
                Box::new(|| performance_tool(kafka, partitions, records)),
            ],
        )?;
        let what = format!("append and observe, {SIZE} bytes, {partitions} partition{}", if partitions == 1 { "" } else { "s" });
        rows.push(Row::beside(&what, "commits/s", &ours, "rdkafka alone, not observed", &rdkafka, Some(Goal::AtLeast(0.7))));
        rows.push(Row::beside(&what, "commits/s", &ours, "Kafka's ProducerPerformance", &java, Some(Goal::AtLeast(1.0))));
    }
    Ok(rows)
}

/// Commits appended and observed a second, on a journal of its own with so many partitions.
pub fn ours(kafka: &Kafka, partitions: u32, records: usize) -> anyhow::Result<f64> {
    let (settings, journal) = journals::born(kafka, partitions)?;
    let log = journals::events(&settings, &journal)?;
    let mut leader = Leader::lead(&log, journal)?;
    let each = records / partitions as usize;
    rate(each * partitions as usize, || leader.append_to_all(each))
}

/// One thread that leads all tenants' partitions of a journal.
struct Leader {
    journal: Journal,
    inbox: Arc<Inbox>,
    /// Reads as long as it is there.
    _consumer: Box<dyn Consumer>,
    producer: Arc<dyn Producer>,
    writers: Vec<Writer>,
    /// Commits read back as they were appended, by partition.
    observed: Vec<usize>,
}

impl Leader {
    fn lead(log: &Arc<KafkaLog>, journal: Journal) -> anyhow::Result<Self> {
        let inbox = Inbox::new(Capacity::default(), 1);
        let consumer = log.open_consumer(Source(0), &inbox)?;
        let writers = (0..journal.all_partitions()).map(|partition| Writer::new(journal.genesis(partition), None));
        let writers = writers.collect::<Result<Vec<_>, _>>()?;
        for (partition, writer) in (0..).zip(&writers) {
            consumer.assign(partition, writer.read_from());
            consumer.ask_high_watermark(partition, 1);
        }
        let producer = log.open_producer()?;
        let observed = vec![0; writers.len()];
        let mut leader = Self { journal, inbox, _consumer: consumer, producer, writers, observed };
        leader.writers.iter_mut().for_each(|writer| writer.want(1));
        let deadline = Instant::now() + PATIENCE;
        while !leader.writers.iter().all(|writer| writer.phase() == Phase::Leading && writer.unobserved() == 0) {
            ensure!(Instant::now() < deadline, "no lead");
            leader.turn()?;
            let platform = leader.writers[journal.platform() as usize].platform_read();
            for (partition, writer) in (0..).zip(&mut leader.writers) {
                if writer.may_claim(platform) {
                    let claim = writer.claim(WriterId(rand::random()), platform, Utc::now())?;
                    leader.producer.append(partition, None, claim.timestamp_ms, &claim.value)?;
                }
            }
        }
        // What confirms a takeover is not counted.
        leader.observed.fill(0);
        Ok(leader)
    }

    /// Appends so many commits to each partition and returns when all have been read back.
    fn append_to_all(&mut self, each: usize) -> anyhow::Result<()> {
        let tenants = self.journal.partitions as usize;
        let platform = PlatformPosition { generation: self.journal.generation, seq: 1_000_000 };
        let mut appended = vec![0; tenants];
        let mut event = event(0)?;
        while self.observed[..tenants].iter().any(|observed| *observed < each) {
            for (partition, appended) in (0..).zip(&mut appended) {
                let writer = &mut self.writers[partition as usize];
                for _ in 0..writer.room().min(each - *appended) {
                    let time = writer.time(Utc::now());
                    let made = writer.append(Draft { platform, command: None, actor: None, time, events: vec![event.clone()] })?;
                    let size = made.append.value.len();
                    if size < SIZE {
                        // The first one says how much an empty commit takes.
                        event = self::event(event.get().len() + SIZE - size - 2)?;
                    }
                    self.producer.append(partition, None, made.append.timestamp_ms, &made.append.value)?;
                    *appended += 1;
                }
            }
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        if let Some(failed) = self.producer.failure() {
            bail!(failed);
        }
        let mut outputs = Vec::new();
        for arrival in self.inbox.receive(0, 1_000, Duration::from_millis(20)) {
            let mut brought = Vec::new();
            match arrival.what {
                What::Stored(record) => self.writers[arrival.partition as usize].read(&record, Utc::now(), &mut brought),
                What::HighWatermark { ask, high } => {
                    for (partition, writer) in (0..).zip(&mut self.writers) {
                        outputs.extend(writer.high_watermark(arrival.partition, ask, high).into_iter().map(|output| (partition, output)));
                    }
                }
                What::Lost(reason) => bail!("partition {} is lost: {reason}", arrival.partition),
            }
            outputs.extend(brought.into_iter().map(|output| (arrival.partition, output)));
        }
        for (partition, output) in outputs {
            match output {
                Output::Append(append) => self.producer.append(partition, None, append.timestamp_ms, &append.value)?,
                Output::Observed { .. } => self.observed[partition as usize] += 1,
                Output::TakenOver { .. } => {}
                other => bail!("partition {partition}: {other:?}"),
            }
        }
        Ok(())
    }
}

/// An event of so many bytes and two quotation marks.
fn event(bytes: usize) -> anyhow::Result<Box<RawValue>> {
    Ok(RawValue::from_string(format!("\"{}\"", "e".repeat(bytes)))?)
}

/// The same through rdkafka alone, with the settings of the journal's producer.
fn bare(kafka: &Kafka, partitions: u32, records: usize) -> anyhow::Result<f64> {
    let (settings, journal) = journals::born(kafka, partitions)?;
    let producer: BaseProducer = settings.producer()?.create()?;
    let topic = journal.events();
    // The client connects and learns who leads before the clock runs, as ours does when it takes the lead.
    producer.client().fetch_metadata(Some(&topic), PATIENCE)?;
    let payload = vec![b'e'; SIZE];
    let stopping = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stopping.load(Ordering::Relaxed) {
                producer.poll(Duration::from_millis(200));
            }
        });
        let measured = rate(records, || {
            for number in 0..records {
                let partition = i32::try_from(number % partitions as usize)?;
                let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).payload(&payload);
                producer.send(record).map_err(|(error, _)| error)?;
            }
            let deadline = Instant::now() + PATIENCE;
            while producer.in_flight_count() > 0 {
                ensure!(Instant::now() < deadline, "{} records are not acknowledged", producer.in_flight_count());
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        stopping.store(true, Ordering::Relaxed);
        measured
    })
}

/// The same with the tool that Kafka brings for it; its own figure, which leaves out the start of the JVM.
fn performance_tool(kafka: &Kafka, partitions: u32, records: usize) -> anyhow::Result<f64> {
    let (_, journal) = journals::born(kafka, partitions)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/lib/producer-performance.sh");
    let output = Command::new("bash")
        .arg(&script)
        .args(["--topic", &journal.events(), "--num-records", &records.to_string(), "--record-size", &SIZE.to_string()])
        .args(["--throughput", "-1", "--bootstrap-server", &kafka.bootstrap()])
        .args(["--command-property", "acks=all", "--command-property", "enable.idempotence=true"])
        .output()
        .with_context(|| format!("{} does not run", script.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    // `200000 records sent, 61728.4 records/sec (60.28 MB/sec), ...`, and again for each quarter of a minute before; the last counts.
    let rate = said.lines().rev().find_map(|line| line.split_once(" records/sec")?.0.rsplit(", ").next()?.trim().parse().ok());
    rate.with_context(|| format!("ProducerPerformance said: {said}{}", String::from_utf8_lossy(&output.stderr)))
}
