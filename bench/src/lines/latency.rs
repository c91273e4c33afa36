//! How long a caller waits for an acknowledged outcome, beside a bare round trip through the same broker.
//!
//! Ours is one HTTP request through the whole platform, every role a process: authentication, the command on its topic, the decision, the commit
//! on the journal and back, the answer. The peer hands a record to rdkafka and waits until a consumer has it. Requests leave by a schedule, not
//! when the one before is done, and are timed from when they were due: whoever falls behind pays for it.

use super::Line;
use crate::measure::{Goal, Row, Scale};
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use journal::{
    birth::{self, Durability},
    kafka::KafkaSettings,
    topics::Journal,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord},
};
use reqwest::Client;
use serde_json::json;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tests::platform::Platform;
use uuid::Uuid;

/// See the module.
pub const LINE: Line =
    Line { name: "latency", about: "HTTP request to acknowledged outcome, beside a bare round trip through the broker", run };

/// Bytes of the peer's record.
const SIZE: usize = 1_024;

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is told of a distribution.
const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seconds = scale.amount(10, 4);
    let platform = runtime.block_on(Platform::start())?;
    let caller = runtime.block_on(Caller::new(&platform))?;
    // Connections, caches and the JVM of the broker are warm.
    runtime.block_on(caller.load(100, 200))?;
    let mut rows = Vec::new();
    let rates: &[(usize, f64)] = if scale.quick { &[(100, 3.0), (1_000, 3.0)] } else { &[(100, 3.0), (1_000, 3.0), (5_000, 6.0)] };
    for (rate, goal) in rates {
        let [mut ours, mut bare] = [const { Vec::new() }; 2];
        for _ in 0..scale.runs {
            ours.push(runtime.block_on(caller.load(*rate, rate * seconds))?);
            bare.push(round_trips(&platform.kafka.bootstrap(), *rate, rate * seconds)?);
        }
        for (quantile, name) in QUANTILES {
            let at = |histograms: &[Histogram<u64>]| -> Vec<f64> {
                histograms.iter().map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3).collect()
            };
            let goal = (name == "p99").then_some(Goal::AtMost(*goal));
            let what = format!("command over HTTP to outcome at {rate}/s, {name}");
            rows.push(Row::beside(what, "ms", &at(&ours), "produce and consume", &at(&bare), goal));
        }
    }
    Ok(rows)
}

/// Somebody who renames a cell again and again.
struct Caller {
    http: Client,
    url: String,
    token: String,
}

impl Caller {
    async fn new(platform: &Platform) -> anyhow::Result<Self> {
        let (tenant, cell) = platform.demo().await?;
        let url = format!("{}/v1/tenants/{tenant}/cells/{cell}", platform.apis[0]);
        let http = Client::builder().timeout(PATIENCE).tcp_nodelay(true).build()?;
        Ok(Self { http, url, token: platform.token("ada").to_owned() })
    }

    /// Sends so many requests at this rate; microseconds from when each was due.
    async fn load(&self, rate: usize, requests: usize) -> anyhow::Result<Histogram<u64>> {
        let schedule = Schedule::new(rate);
        let mut under_way = tokio::task::JoinSet::new();
        for number in 0..requests {
            let due = schedule.due(number);
            tokio::time::sleep_until(due.into()).await;
            let key = Uuid::new_v4().to_string();
            let request = self.http.patch(&self.url).bearer_auth(&self.token).header("Idempotency-Key", &key);
            let request = request.json(&json!({"name": format!("production-{key}")}));
            under_way.spawn(async move {
                let response = request.send().await?;
                ensure!(response.status().is_success(), "{}: {}", response.status(), response.text().await?);
                response.bytes().await?;
                Ok(due.elapsed())
            });
        }
        let mut histogram = Histogram::new(3)?;
        while let Some(answered) = under_way.join_next().await {
            histogram.record(micros(answered??))?;
        }
        Ok(histogram)
    }
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
fn round_trips(bootstrap: &str, rate: usize, records: usize) -> anyhow::Result<Histogram<u64>> {
    let topic = fresh_topic(bootstrap)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("socket.nagle.disable", "true");
    let producer: BaseProducer = config.clone().set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0").create()?;
    let consumer: BaseConsumer =
        config.set("group.id", "bench").set("fetch.wait.max.ms", "500").set("fetch.queue.backoff.ms", "1").create()?;
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&assigned)?;
    let (stopping, payload) = (AtomicBool::new(false), vec![b'e'; SIZE]);
    // The first record finds out who leads and begins the fetching.
    producer.send(BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(&payload)).map_err(|(error, _)| error)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stopping.load(Ordering::Relaxed) {
                producer.poll(Duration::from_millis(100));
            }
        });
        let measured = (|| -> anyhow::Result<Histogram<u64>> {
            receive(&consumer)?;
            let schedule = Schedule::new(rate);
            let sending = scope.spawn({
                let (producer, topic, payload) = (&producer, &topic, &payload);
                move || -> anyhow::Result<()> {
                    for number in 0..records {
                        std::thread::sleep(schedule.due(number).saturating_duration_since(Instant::now()));
                        producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(payload)).map_err(|(error, _)| error)?;
                    }
                    Ok(())
                }
            });
            let mut histogram = Histogram::new(3)?;
            for number in 0..records {
                receive(&consumer)?;
                histogram.record(micros(schedule.due(number).elapsed()))?;
            }
            sending.join().expect("it returns its errors")?;
            Ok(histogram)
        })();
        stopping.store(true, Ordering::Relaxed);
        measured
    })
}

/// The next record.
fn receive(consumer: &BaseConsumer) -> anyhow::Result<()> {
    let record = consumer.poll(PATIENCE).context("no record came back")??;
    ensure!(record.partition() == 0, "a record of another partition");
    Ok(())
}

/// A topic of one partition and the settings of a journal's.
fn fresh_topic(bootstrap: &str) -> anyhow::Result<String> {
    let generation = u32::from_be_bytes(*Uuid::new_v4().as_bytes().first_chunk().expect("a uuid has 16 bytes"));
    let journal = Journal { id: Uuid::new_v4(), generation, partitions: 1 };
    birth::create(&KafkaSettings::plaintext(bootstrap), &journal, Durability::SINGLE_BROKER)?;
    Ok(journal.events())
}
