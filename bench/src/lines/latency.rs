//! How long a caller waits for an acknowledged outcome, beside a bare round trip through the same broker.
//!
//! Ours is one HTTP request through the whole platform, every role a process: authentication, rights and repeated keys in PostgreSQL, the
//! command on its topic, the decision, the commit on the journal and back, the answer; meanwhile the projector writes each outcome into the
//! read models. Tenants take turns. The peer hands a record of about a commit's size to rdkafka and waits until a consumer has it. Requests
//! leave by a schedule, not when the one before is done, and are timed from when they were due: whoever falls behind pays for it. Whoever
//! asks runs on the same cores.

use super::Line;
use crate::{
    journals,
    measure::{Goal, Row, Scale},
    portal::{PATIENCE, Portal},
};
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tests::{platform::Platform, servers::Kafka};
use tokio::task::JoinSet;

/// See the module.
pub const LINE: Line =
    Line { name: "latency", about: "HTTP request to acknowledged outcome, beside a bare round trip through the broker", run };

/// Bytes of the peer's record.
const SIZE: usize = 1_024;

/// Requests a second, and what the 99th percentile is to be at most, as a multiple of the peer's.
const RATES: [(usize, f64); 3] = [(100, 3.0), (1_000, 3.0), (5_000, 6.0)];

/// Tenants who ask.
const TENANTS: usize = 64;

/// Beyond so many requests under way there is no use in sending more: the API takes no more.
const UNDER_WAY: usize = 3_000;

/// What is told of a distribution.
const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let seconds = scale.amount(10, 4);
    let platform = runtime.block_on(Platform::start())?;
    let portal = Arc::new(runtime.block_on(Portal::open(&platform, TENANTS))?);
    // Connections, caches and the JVM of the broker are warm.
    runtime.block_on(load(&portal, 500, 5_000))?;
    let mut rows = Vec::new();
    for (rate, goal) in RATES {
        let [mut ours, mut bare] = [const { Vec::new() }; 2];
        for _ in 0..scale.runs {
            match runtime.block_on(load(&portal, rate, rate * seconds))? {
                Some(histogram) => ours.push(histogram),
                None => break,
            }
            bare.push(round_trips(&platform.kafka, rate, rate * seconds)?);
        }
        if ours.len() < scale.runs {
            eprintln!("  {rate}/s is more than this machine answers: requests pile up");
            rows.push(Row::alone(format!("command over HTTP at {rate}/s: more than was answered"), "ms", vec![f64::INFINITY]));
            continue;
        }
        for (quantile, name) in QUANTILES {
            let at = |histograms: &[Histogram<u64>]| -> Vec<f64> {
                histograms.iter().map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3).collect()
            };
            let goal = (name == "p99").then_some(Goal::AtMost(goal));
            let what = format!("command over HTTP to outcome at {rate}/s, {name}");
            eprintln!("  {what}: {:.2?} {:.2?}", at(&ours), at(&bare));
            rows.push(Row::beside(what, "ms", &at(&ours), "produce and consume", &at(&bare), goal));
        }
    }
    Ok(rows)
}

/// Sends so many requests at this rate; microseconds from when each was due. None when they pile up.
async fn load(portal: &Arc<Portal>, rate: usize, requests: usize) -> anyhow::Result<Option<Histogram<u64>>> {
    let schedule = Schedule::new(rate);
    let mut under_way: JoinSet<anyhow::Result<Duration>> = JoinSet::new();
    let mut histogram = Histogram::new(3)?;
    for number in 0..requests {
        let due = schedule.due(number);
        tokio::time::sleep_until(due.into()).await;
        while let Some(answered) = under_way.try_join_next() {
            histogram.record(micros(answered??))?;
        }
        if under_way.len() > UNDER_WAY {
            while let Some(answered) = under_way.join_next().await {
                answered??;
            }
            return Ok(None);
        }
        let portal = Arc::clone(portal);
        under_way.spawn(async move {
            portal.rename(number).await?;
            Ok(due.elapsed())
        });
    }
    while let Some(answered) = under_way.join_next().await {
        histogram.record(micros(answered??))?;
    }
    Ok(Some(histogram))
}

/// When each request of a steady rate is due.
#[derive(Clone, Copy)]
struct Schedule {
    begin: Instant,
    between: Duration,
}

impl Schedule {
    fn new(rate: usize) -> Self {
        Self { begin: Instant::now() + Duration::from_millis(50), between: Duration::from_secs(1) / u32::try_from(rate).expect("a rate") }
    }

    fn due(&self, number: usize) -> Instant {
        self.begin + self.between * u32::try_from(number).expect("fewer than 2^32 requests")
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Records through the broker and back at this rate; microseconds from when each was due.
fn round_trips(kafka: &Kafka, rate: usize, records: usize) -> anyhow::Result<Histogram<u64>> {
    let (settings, journal) = journals::born(kafka, 1)?;
    let topic = journal.events();
    let producer: BaseProducer = settings.producer()?.create()?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap()).set("group.id", "bench").set("socket.nagle.disable", "true");
    let consumer: BaseConsumer = config.set("fetch.wait.max.ms", "500").set("fetch.queue.backoff.ms", "1").create()?;
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&assigned)?;
    let (stopping, payload) = (AtomicBool::new(false), vec![b'e'; SIZE]);
    let send = || producer.send(BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(&payload)).map_err(|(error, _)| error);
    // The first record finds out who leads and begins the fetching.
    send()?;
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            while !stopping.load(Ordering::Relaxed) {
                producer.poll(Duration::from_millis(100));
            }
        });
        let measured = (|| {
            receive(&consumer)?;
            let schedule = Schedule::new(rate);
            let sending = scope.spawn(move || {
                (0..records).try_for_each(|number| {
                    std::thread::sleep(schedule.due(number).saturating_duration_since(Instant::now()));
                    send()
                })
            });
            let mut histogram = Histogram::new(3)?;
            for number in 0..records {
                receive(&consumer)?;
                histogram.record(micros(schedule.due(number).elapsed()))?;
            }
            sending.join().expect("it returns its errors")?;
            anyhow::Ok(histogram)
        })();
        stopping.store(true, Ordering::Relaxed);
        serving.join().expect("it only polls");
        measured
    })
}

/// The next record.
fn receive(consumer: &BaseConsumer) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    // `poll` also comes back with nothing when it has served something else.
    while Instant::now() < deadline {
        if let Some(record) = consumer.poll(Duration::from_millis(200)) {
            return record?.payload().context("a record has a payload").map(|_| ());
        }
    }
    bail!("no record came back")
}
