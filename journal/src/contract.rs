//! What every [`Log`] promises: one suite for Kafka and its twin.
//!
//! A case gets a fresh topic of four partitions. It panics when a promise is broken, and every wait has a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::inbox::{Capacity, Inbox};
use crate::log::{Arrival, Consumer, Log, Producer, ReadFrom, Source, Stored, What};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
const SOURCE: Source = Source(3);

/// A promise and the case that shows it.
pub type Case = (&'static str, fn(Arc<dyn Log>));

/// All promises.
pub const CASES: &[Case] = &[
    ("what is appended is read in order with its key, time and value", appended_is_read),
    ("partitions are apart", partitions_are_apart),
    ("a reader begins exactly where it was told", begins_where_told),
    ("an assigned end is waited at", waits_at_the_end),
    ("an offset that is not there is told, not moved", tells_lost),
    ("a full queue pauses its partition only, and nothing is lost", pauses),
    ("an unassigned partition brings nothing, an assigned one again everything", unassigns),
    ("high watermarks are told", tells_watermarks),
    ("each sent record is answered with its offset", answers),
    ("two consumers see the same order", agree),
    ("a failed producer stays failed", stays_failed),
    ("what is open can be closed while it works", closes),
];

/// A topic that is being read.
struct Reading {
    inbox: Arc<Inbox>,
    consumer: Box<dyn Consumer>,
}

impl Reading {
    fn open(log: &dyn Log, capacity: usize) -> Self {
        let inbox = Inbox::new(Capacity { records: capacity, bytes: 64 << 20 }, 1);
        let consumer = log.open_consumer(SOURCE, &inbox).expect("a consumer");
        Self { inbox, consumer }
    }

    fn from_beginning(log: &dyn Log) -> Self {
        let reading = Self::open(log, 1_000);
        for partition in 0..log.partitions() {
            reading.consumer.assign(partition, ReadFrom::Beginning);
        }
        reading
    }

    /// Arrivals until so many of them are wanted.
    fn until(&self, count: usize, wanted: impl Fn(&Arrival) -> bool) -> Vec<Arrival> {
        let deadline = Instant::now() + PATIENCE;
        let mut arrivals = Vec::new();
        while arrivals.len() < count {
            assert!(Instant::now() < deadline, "{count} arrivals were expected, {} came: {arrivals:?}", arrivals.len());
            let batch = self.inbox.receive(0, count - arrivals.len(), Duration::from_millis(100));
            arrivals.extend(batch.into_iter().filter(&wanted));
        }
        arrivals
    }

    /// The next so many records of a partition.
    fn records(&self, partition: u32, count: usize) -> Vec<Stored> {
        let arrivals = self.until(count, |arrival| arrival.partition == partition && matches!(arrival.what, What::Stored(_)));
        arrivals.into_iter().filter_map(stored).collect()
    }
}

fn stored(arrival: Arrival) -> Option<Stored> {
    match arrival.what {
        What::Stored(record) => Some(record),
        What::HighWatermark { .. } | What::Lost(_) => None,
    }
}

fn append(producer: &dyn Producer, partition: u32, value: impl ToString) {
    producer.append(partition, None, 1_000, value.to_string().as_bytes()).expect("a working producer takes a record");
}

fn values(records: &[Stored]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

fn written(log: &dyn Log, partition: u32, count: usize) -> Arc<dyn Producer> {
    let producer = log.open_producer().expect("a producer");
    for number in 0..count {
        append(&*producer, partition, number);
    }
    let deadline = Instant::now() + PATIENCE;
    while log.watermarks(partition).expect("watermarks").high < i64::try_from(count).expect("few") {
        assert!(Instant::now() < deadline && producer.failure().is_none(), "{count} records were not written: {:?}", producer.failure());
        std::thread::yield_now();
    }
    producer
}

fn appended_is_read(log: Arc<dyn Log>) {
    let reading = Reading::from_beginning(&*log);
    let producer = log.open_producer().expect("a producer");
    producer.append(1, Some(b"ada"), 1_234, b"first").expect("taken");
    producer.append(1, None, 1_235, b"second").expect("taken");
    let records = reading.records(1, 2);
    let expected = [
        Stored { offset: 0, timestamp_ms: 1_234, key: "ada".into(), value: "first".into() },
        Stored { offset: 1, timestamp_ms: 1_235, key: "".into(), value: "second".into() },
    ];
    assert_eq!(records, expected);
    assert!(producer.failure().is_none());
}

fn partitions_are_apart(log: Arc<dyn Log>) {
    let reading = Reading::from_beginning(&*log);
    let producer = log.open_producer().expect("a producer");
    let all = log.partitions();
    for number in 0..50 {
        for partition in 0..all {
            append(&*producer, partition, format!("{partition}/{number}"));
        }
    }
    let arrivals = reading.until(50 * all as usize, |arrival| matches!(arrival.what, What::Stored(_)));
    for partition in 0..all {
        let records: Vec<Stored> = arrivals.iter().filter(|arrival| arrival.partition == partition).cloned().filter_map(stored).collect();
        assert_eq!(values(&records), (0..50).map(|number| format!("{partition}/{number}")).collect::<Vec<_>>());
        assert!(records.iter().map(|record| record.offset).eq(0..50), "offsets count from 0 without a hole");
    }
}

fn begins_where_told(log: Arc<dyn Log>) {
    let _producer = written(&*log, 2, 10);
    let reading = Reading::open(&*log, 1_000);
    reading.consumer.assign(2, ReadFrom::Offset(7));
    assert_eq!(values(&reading.records(2, 3)), ["7", "8", "9"]);
    reading.consumer.assign(2, ReadFrom::Offset(4));
    assert_eq!(values(&reading.records(2, 6)), ["4", "5", "6", "7", "8", "9"]);
}

fn waits_at_the_end(log: Arc<dyn Log>) {
    let producer = written(&*log, 0, 3);
    let reading = Reading::open(&*log, 1_000);
    reading.consumer.assign(0, ReadFrom::Offset(3));
    append(&*producer, 0, "new");
    let arrivals = reading.until(1, |_| true);
    assert_eq!(arrivals.into_iter().filter_map(stored).map(|record| record.offset).collect::<Vec<_>>(), [3]);
}

fn tells_lost(log: Arc<dyn Log>) {
    let producer = written(&*log, 0, 3);
    let reading = Reading::open(&*log, 1_000);
    reading.consumer.assign(1, ReadFrom::Beginning);
    reading.consumer.assign(0, ReadFrom::Offset(50));
    let arrivals = reading.until(1, |_| true);
    assert!(matches!(&arrivals[..], [Arrival { partition: 0, what: What::Lost(_), .. }]), "{arrivals:?}");
    append(&*producer, 1, "other");
    assert_eq!(values(&reading.records(1, 1)), ["other"], "the other partition goes on");
    reading.consumer.assign(0, ReadFrom::Beginning);
    assert_eq!(values(&reading.records(0, 3)), ["0", "1", "2"], "and the lost one, assigned again");
}

fn pauses(log: Arc<dyn Log>) {
    let busy = 500;
    let producer = written(&*log, 0, busy);
    let reading = Reading::open(&*log, 10);
    reading.consumer.assign(0, ReadFrom::Beginning);
    let first = reading.records(0, 1);
    reading.consumer.assign(1, ReadFrom::Beginning);
    append(&*producer, 1, "calm");
    // Taking a few at a time makes the queue full and half empty many times.
    let mut read = first;
    let mut calm = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while read.len() < busy || calm.is_empty() {
        assert!(Instant::now() < deadline, "{} of {busy} records came, calm: {calm:?}", read.len());
        for arrival in reading.inbox.receive(0, 3, Duration::from_millis(100)) {
            if arrival.partition == 0 { read.extend(stored(arrival)) } else { calm.extend(stored(arrival)) }
        }
    }
    assert_eq!(values(&read), (0..busy).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(values(&calm), ["calm"]);
}

fn unassigns(log: Arc<dyn Log>) {
    let producer = written(&*log, 0, 5);
    let reading = Reading::open(&*log, 1_000);
    reading.consumer.assign(0, ReadFrom::Beginning);
    reading.records(0, 5);
    reading.consumer.unassign(0);
    append(&*producer, 0, "5");
    append(&*producer, 1, "later");
    reading.consumer.assign(1, ReadFrom::Beginning);
    let arrivals = reading.until(1, |_| true);
    assert_eq!(arrivals[0].partition, 1, "an unassigned partition brought something");
    reading.consumer.assign(0, ReadFrom::Beginning);
    assert_eq!(values(&reading.records(0, 6)), ["0", "1", "2", "3", "4", "5"]);
}

fn tells_watermarks(log: Arc<dyn Log>) {
    let _producer = written(&*log, 3, 5);
    let reading = Reading::from_beginning(&*log);
    for (ask, partition) in [(41, 3), (42, 2)] {
        reading.consumer.ask_high_watermark(partition, ask);
    }
    let arrivals = reading.until(2, |arrival| matches!(arrival.what, What::HighWatermark { .. }));
    let mut answers: Vec<(u32, What)> = arrivals.into_iter().map(|arrival| (arrival.partition, arrival.what)).collect();
    answers.sort_by_key(|(partition, _)| *partition);
    assert_eq!(answers, [(2, What::HighWatermark { ask: 42, high: 0 }), (3, What::HighWatermark { ask: 41, high: 5 })]);
    let ends = log.watermarks(3).expect("watermarks");
    assert_eq!((ends.low, ends.high), (0, 5));
}

fn answers(log: Arc<dyn Log>) {
    let sender = log.open_sender().expect("a sender");
    let (told, answers) = bounded(100);
    for number in 0..100 {
        let told = told.clone();
        let delivered = move |answer| told.send((number, answer)).expect("the case waits");
        sender.send(number % 2, Some(b"ada"), 1_000, number.to_string().as_bytes(), Box::new(delivered));
    }
    let mut offsets: Vec<(u32, i64)> = Vec::new();
    while offsets.len() < 100 {
        let (number, answer) = answers.recv_timeout(PATIENCE).expect("every record is answered");
        offsets.push((number, answer.expect("written")));
    }
    offsets.sort_unstable();
    assert!(offsets.iter().all(|(number, offset)| *offset == i64::from(number / 2)), "in the order in which they were sent: {offsets:?}");
    let reading = Reading::from_beginning(&*log);
    assert_eq!(values(&reading.records(1, 50))[..2], ["1", "3"]);
}

fn agree(log: Arc<dyn Log>) {
    let (first, second) = (Reading::from_beginning(&*log), Reading::from_beginning(&*log));
    let (ada, bob) = (log.open_producer().expect("a producer"), log.open_producer().expect("a second producer"));
    for number in 0..100 {
        append(&*ada, 0, format!("ada {number}"));
        append(&*bob, 0, format!("bob {number}"));
    }
    let (first, second) = (values(&first.records(0, 200)), values(&second.records(0, 200)));
    assert_eq!(first, second);
    for name in ["ada", "bob"] {
        let own: Vec<_> = first.iter().filter(|value| value.starts_with(name)).cloned().collect();
        assert_eq!(own, (0..100).map(|number| format!("{name} {number}")).collect::<Vec<_>>(), "each producer's order is kept");
    }
}

fn stays_failed(log: Arc<dyn Log>) {
    let producer = log.open_producer().expect("a producer");
    append(&*producer, 0, "before");
    // A partition that the topic does not have: an error that no retry mends.
    let nowhere = log.partitions() + 7;
    let refused = producer.append(nowhere, None, 1_000, b"nowhere");
    let deadline = Instant::now() + PATIENCE;
    while refused.is_ok() && producer.failure().is_none() {
        assert!(Instant::now() < deadline, "a record that cannot be written did not fail its producer");
        std::thread::yield_now();
    }
    assert!(producer.append(0, None, 1_000, b"after").is_err(), "a failed producer takes nothing more");
    let next = log.open_producer().expect("another producer");
    append(&*next, 1, "after");
    assert_eq!(values(&Reading::from_beginning(&*log).records(1, 1)), ["after"]);
}

fn closes(log: Arc<dyn Log>) {
    let reading = Reading::open(&*log, 5);
    for partition in 0..log.partitions() {
        reading.consumer.assign(partition, ReadFrom::Beginning);
    }
    let (producer, sender) = (log.open_producer().expect("a producer"), log.open_sender().expect("a sender"));
    let (told, answers) = bounded(500);
    for number in 0..500 {
        append(&*producer, 0, number);
        let told = told.clone();
        sender.send(1, None, 1_000, b"x", Box::new(move |answer| told.send(answer.is_ok()).expect("the case waits")));
    }
    drop((sender, producer, reading));
    for _ in 0..500 {
        answers.recv_timeout(PATIENCE).expect("a sender that is closed answers what it took");
    }
}
