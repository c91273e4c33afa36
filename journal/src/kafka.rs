//! The log on Kafka, through librdkafka.
//!
//! What a topic needs of the broker is in [`birth`](crate::birth). What a client needs is here, and each setting has a reason beside it:
//! producers carry the third duty of a [writer](crate::writer) (in order without holes), consumers are assigned by hand and never moved
//! silently. Every client has a thread of its own that polls it. Nothing blocks the caller but [`Log::watermarks`] and dropping a client,
//! which waits for its threads.

mod consumer;
mod group;
mod producer;
mod sender;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub use self::group::KafkaMembership;
pub use self::settings::{KafkaSettings, SaslMechanism, SecurityProtocol, SettingsError};
use crate::inbox::Inbox;
use crate::log::{Consumer, Log, LogError, Producer, Sender, Source, Watermarks};

/// How long a question to the broker may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long to wait before asking again for a leader.
const BETWEEN_LEADERS: Duration = Duration::from_millis(50);

/// How long a thread that reads waits for events when it has nothing else to do: how late it notices that it was told something.
const TURN: Duration = Duration::from_millis(50);

/// The same for threads that are told nothing but to stop; events are served as they come. rdkafka spins in the last millisecond of a
/// producer's turn, so short turns would keep an idle process busy.
const SERVING_TURN: Duration = Duration::from_millis(200);

/// One topic on Kafka.
pub struct KafkaLog {
    settings: KafkaSettings,
    topic: Arc<str>,
    partitions: u32,
    /// For questions alone: a broker answers the requests of a connection one after the other, so a question behind a reader's idle fetch
    /// would wait for half a second.
    asking: Arc<BaseConsumer>,
}

impl KafkaLog {
    /// The topic of this name, which has so many partitions. No broker is asked: [`birth::check`](crate::birth::check) has been.
    ///
    /// # Errors
    ///
    /// When the settings name files that cannot be read or librdkafka refuses them.
    pub fn new(settings: &KafkaSettings, topic: &str, partitions: u32) -> Result<Self, LogError> {
        let failed = |source| LogError { topic: topic.to_owned(), doing: "cannot make a client", source };
        let asking = settings.client().map_err(|error| failed(error.into()))?.create().map_err(|error| failed(error.into()))?;
        Ok(Self { settings: settings.clone(), topic: topic.into(), partitions, asking: Arc::new(asking) })
    }

    fn client(&self) -> Result<ClientConfig, LogError> {
        self.settings.client().map_err(|error| self.failed("cannot make a client", error))
    }

    fn failed(&self, doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LogError {
        LogError { topic: self.topic.to_string(), doing, source: source.into() }
    }
}

impl Log for KafkaLog {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn open_producer(&self) -> Result<Arc<dyn Producer>, LogError> {
        let config = self.settings.producer().map_err(|error| self.failed("cannot make a client", error))?;
        let opened = producer::KafkaProducer::open(config, Arc::clone(&self.topic));
        Ok(Arc::new(opened.map_err(|error| self.failed("cannot make a producer", error))?))
    }

    fn open_sender(&self) -> Result<Arc<dyn Sender>, LogError> {
        let opened = sender::KafkaSender::open(self.client()?, Arc::clone(&self.topic));
        Ok(Arc::new(opened.map_err(|error| self.failed("cannot make a sender", error))?))
    }

    fn open_consumer(&self, source: Source, inbox: &Arc<Inbox>) -> Result<Box<dyn Consumer>, LogError> {
        let opened =
            consumer::KafkaConsumer::open(self.client()?, Arc::clone(&self.asking), Arc::clone(&self.topic), source, Arc::clone(inbox));
        Ok(Box::new(opened.map_err(|error| self.failed("cannot make a consumer", error))?))
    }

    fn watermarks(&self, partition: u32) -> Result<Watermarks, LogError> {
        ends(&self.asking, &self.topic, partition).map_err(|error| self.failed("cannot ask for the ends of a partition", error))
    }
}

/// Asks the partition's leader for its ends.
fn ends(asking: &BaseConsumer, topic: &str, partition: u32) -> KafkaResult<Watermarks> {
    patiently(|| asking.fetch_watermarks(topic, wire(partition), ANSWER)).map(|(low, high)| Watermarks { low, high })
}

/// Asks for the high watermarks of several partitions at once.
fn high_watermarks(asking: &BaseConsumer, topic: &str, partitions: impl IntoIterator<Item = u32>) -> KafkaResult<BTreeMap<u32, i64>> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        // In the place of a time, "the end" asks for the offset that the next record will get.
        asked.add_partition_offset(topic, wire(partition), Offset::End)?;
    }
    let answers = patiently(|| asking.offsets_for_times(asked.clone(), ANSWER))?;
    let high = |answer: TopicPartitionListElem<'_>| match (u32::try_from(answer.partition()), answer.offset(), answer.error()) {
        (Ok(partition), Offset::Offset(high), Ok(())) => Some((partition, high)),
        _ => None,
    };
    Ok(answers.elements().into_iter().filter_map(high).collect())
}

/// Repeats a question while a partition, just made or bereft of its leader, has none.
fn patiently<T>(question: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + ANSWER;
    loop {
        match question() {
            Err(error) if Instant::now() < deadline && is_between_leaders(&error) => std::thread::sleep(BETWEEN_LEADERS),
            answer => return answer,
        }
    }
}

fn is_between_leaders(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(LeaderNotAvailable | NotLeaderForPartition | UnknownTopicOrPartition))
}

/// Kafka counts partitions in signed numbers.
fn wire(partition: u32) -> i32 {
    i32::try_from(partition).expect("a topic has fewer than 2^31 partitions")
}
