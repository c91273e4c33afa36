//! Assigned partitions into an inbox: one client, one polling thread, no group, no committed offsets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::{TURN, ends, high_watermarks, wire};
use crate::inbox::Inbox;
use crate::log::{Consumer, ReadFrom, Source, Stored, Watermarks, What};

/// How long the polling thread waits while a partition is paused: how late a queue that was emptied is filled again.
const PAUSED_TURN: Duration = Duration::from_millis(2);

/// Records taken from the client before the thread looks at what it was told.
const BATCH: usize = 512;

/// See [`Consumer`].
pub(super) struct KafkaConsumer {
    source: Source,
    inbox: Arc<Inbox>,
    orders: Sender<Order>,
    questions: Sender<Question>,
    reading: Option<JoinHandle<()>>,
    asking: Option<JoinHandle<()>>,
}

/// What the polling thread is told.
enum Order {
    Assign {
        partition: u32,
        session: u64,
        from: ReadFrom,
    },
    Unassign {
        partition: u32,
    },
    /// Answer to a [`Question::Check`].
    Ends {
        partition: u32,
        session: u64,
        ends: Watermarks,
    },
    Stop,
}

/// What the asking thread is to ask the broker.
enum Question {
    /// For somebody outside.
    HighWatermark {
        partition: u32,
        ask: u64,
    },
    /// For the polling thread: the client has said that *some* partition cannot be read where it stands, and not which.
    Check {
        partition: u32,
        session: u64,
    },
    Stop,
}

/// librdkafka's own view of transport errors is a log line: it reconnects by itself.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Quiet {}

impl KafkaConsumer {
    /// `other` is the client of questions.
    pub(super) fn open(
        mut config: ClientConfig,
        other: Arc<BaseConsumer>,
        topic: Arc<str>,
        source: Source,
        inbox: Arc<Inbox>,
    ) -> KafkaResult<Self> {
        config
            // Demanded by the client although no group is joined and nothing is committed.
            .set("group.id", "cirrus-unused")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Never moved silently: an offset that is not there is for the reader to judge.
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            // An idle fetch waits on the broker; a record ends the wait at once.
            .set("fetch.wait.max.ms", "500")
            .set("fetch.min.bytes", "1")
            .set("fetch.queue.backoff.ms", "1")
            // Bounds, per partition, what the client reads ahead of the inbox.
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "8192")
            .set("message.max.bytes", "1048576");
        let client: Arc<BaseConsumer<Quiet>> = Arc::new(config.create_with_context(Quiet)?);
        let (orders, to_poll) = bounded(4_096);
        let (questions, to_ask) = bounded(4_096);
        let reading = Reading {
            client,
            topic: Arc::clone(&topic),
            source,
            inbox: Arc::clone(&inbox),
            questions: questions.clone(),
            held: HashMap::new(),
            paused: Vec::new(),
        };
        let asking = Asking { client: other, topic, source, inbox: Arc::clone(&inbox), orders: orders.clone() };
        let started = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map(Some).map_err(|error| KafkaError::ClientCreation(error.to_string()))
        };
        let mut opened = Self { source, inbox, orders, questions, reading: None, asking: None };
        opened.reading = started("kafka-read", Box::new(move || reading.run(&to_poll)))?;
        opened.asking = started("kafka-ask", Box::new(move || asking.run(&to_ask)))?;
        Ok(opened)
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the polling thread of a kafka consumer has ended");
        }
    }
}

impl Consumer for KafkaConsumer {
    fn assign(&self, partition: u32, from: ReadFrom) {
        let session = self.inbox.begin(self.source, partition);
        self.order(Order::Assign { partition, session, from });
    }

    fn unassign(&self, partition: u32) {
        self.inbox.begin(self.source, partition);
        self.order(Order::Unassign { partition });
    }

    fn ask_high_watermark(&self, partition: u32, ask: u64) {
        // A full queue means a broker that does not answer: one more question would not be answered either.
        let _full_or_ended = self.questions.try_send(Question::HighWatermark { partition, ask });
    }
}

impl Drop for KafkaConsumer {
    /// The asking thread first, since it tells the polling thread things; after at most one answer's time both are gone.
    fn drop(&mut self) {
        let _ended = self.questions.send(Question::Stop);
        let asking = self.asking.take().map(JoinHandle::join);
        let _ended = self.orders.send(Order::Stop);
        let reading = self.reading.take().map(JoinHandle::join);
        if matches!(asking, Some(Err(_))) || matches!(reading, Some(Err(_))) {
            tracing::error!("a thread of a kafka consumer panicked");
        }
    }
}

/// The polling thread.
struct Reading {
    client: Arc<BaseConsumer<Quiet>>,
    topic: Arc<str>,
    source: Source,
    inbox: Arc<Inbox>,
    questions: Sender<Question>,
    held: HashMap<u32, Held>,
    paused: Vec<u32>,
}

/// An assigned partition.
struct Held {
    session: u64,
    /// Offset of the next record; unknown until the first when it began at the beginning.
    next: Option<i64>,
    /// An offset in front of which a gap was seen and read again.
    reread: Option<i64>,
}

impl Reading {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return,
                Ok(order) => {
                    self.obey(order);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
            }
            self.resume();
            let mut wait = if self.paused.is_empty() { TURN } else { PAUSED_TURN };
            let client = Arc::clone(&self.client);
            for _ in 0..BATCH {
                match client.poll(wait) {
                    None => break,
                    Some(Ok(record)) => self.read(&record),
                    Some(Err(error)) => self.failed(&error),
                }
                wait = Duration::ZERO;
            }
            if let Some((code, reason)) = self.client.client().fatal_error() {
                self.lose_all(&format!("fatal error {code}: {reason}"));
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Assign { partition, session, from } => {
                let next = match from {
                    ReadFrom::Beginning => None,
                    ReadFrom::Offset(offset) => Some(offset),
                };
                self.release(partition);
                self.held.insert(partition, Held { session, next, reread: None });
                self.assign(partition, next);
            }
            Order::Unassign { partition } => self.release(partition),
            Order::Ends { partition, session, ends } => {
                let Some(held) = self.held.get(&partition).filter(|held| held.session == session) else { return };
                match held.next {
                    Some(next) if next < ends.low || next > ends.high => {
                        self.lose(partition, format!("it has offsets {} to {}, {next} was to be read", ends.low, ends.high));
                    }
                    // Not the one that the client meant, or it is well again.
                    next => {
                        self.unassign(partition);
                        self.assign(partition, next);
                    }
                }
            }
            Order::Stop => {}
        }
    }

    fn read(&mut self, record: &BorrowedMessage<'_>) {
        let Ok(partition) = u32::try_from(record.partition()) else { return };
        let Some(held) = self.held.get_mut(&partition) else { return };
        let offset = record.offset();
        if let Some(next) = held.next {
            // After pausing the client may hand out a record twice.
            if offset < next {
                return;
            }
            // A gap is in the log or in the client. To a chain it would mean loss, so the client is not believed before a second reading.
            if offset > next && held.reread != Some(next) {
                tracing::warn!(topic = %self.topic, partition, next, offset, "records were skipped; reading again");
                held.reread = Some(next);
                self.unassign(partition);
                self.assign(partition, Some(next));
                return;
            }
        }
        held.next = Some(offset + 1);
        let stored = Stored {
            offset,
            timestamp_ms: record.timestamp().to_millis().unwrap_or(0),
            key: record.key().map(Bytes::copy_from_slice).unwrap_or_default(),
            value: record.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
        };
        let session = held.session;
        if !self.inbox.offer(self.source, partition, session, What::Stored(stored)) && !self.paused.contains(&partition) {
            self.paused.push(partition);
            self.done("pause a partition", self.client.pause(&self.list(&[partition], Offset::Invalid)));
        }
    }

    /// Goes on with the partitions whose queues were half emptied.
    fn resume(&mut self) {
        let wants_more = |partition: &u32| self.inbox.wants_more(self.source, *partition);
        let (again, paused): (Vec<u32>, Vec<u32>) = self.paused.iter().partition(|partition| wants_more(partition));
        if !again.is_empty() {
            self.done("resume partitions", self.client.resume(&self.list(&again, Offset::Invalid)));
            self.paused = paused;
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                for (partition, held) in &self.held {
                    let _full_or_ended = self.questions.try_send(Question::Check { partition: *partition, session: held.session });
                }
            }
            _ => tracing::debug!(topic = %self.topic, %error, "kafka consumer"),
        }
    }

    fn lose(&mut self, partition: u32, reason: String) {
        if let Some(held) = self.held.get(&partition) {
            self.inbox.offer(self.source, partition, held.session, What::Lost(reason));
        }
        self.release(partition);
    }

    fn lose_all(&mut self, reason: &str) {
        let held: Vec<u32> = self.held.keys().copied().collect();
        for partition in held {
            self.lose(partition, reason.to_owned());
        }
    }

    fn release(&mut self, partition: u32) {
        if self.held.remove(&partition).is_some() {
            self.unassign(partition);
        }
    }

    fn assign(&self, partition: u32, next: Option<i64>) {
        let from = next.map_or(Offset::Beginning, Offset::Offset);
        self.done("assign a partition", self.client.incremental_assign(&self.list(&[partition], from)));
    }

    fn unassign(&mut self, partition: u32) {
        self.paused.retain(|paused| *paused != partition);
        self.done("unassign a partition", self.client.incremental_unassign(&self.list(&[partition], Offset::Invalid)));
    }

    fn list(&self, partitions: &[u32], offset: Offset) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(&self.topic, wire(*partition), offset).expect("an offset that was read or is a name");
        }
        list
    }

    fn done(&self, doing: &str, result: KafkaResult<()>) {
        if let Err(error) = result {
            tracing::error!(topic = %self.topic, %error, "cannot {doing}");
        }
    }
}

/// The asking thread: questions to the broker block, and the polling thread must not.
struct Asking {
    client: Arc<BaseConsumer>,
    topic: Arc<str>,
    source: Source,
    inbox: Arc<Inbox>,
    orders: Sender<Order>,
}

impl Asking {
    fn run(self, questions: &Receiver<Question>) {
        while let Ok(first) = questions.recv() {
            let mut asked = Vec::new();
            for question in std::iter::once(first).chain(questions.try_iter()) {
                match question {
                    // With the session before the answer, so that an answer about an earlier assignment is discarded.
                    Question::HighWatermark { partition, ask } => asked.push((partition, ask, self.inbox.session(self.source, partition))),
                    Question::Check { partition, session } => self.check(partition, session),
                    Question::Stop => return,
                }
            }
            self.answer(&asked);
        }
    }

    /// One request for all that was asked meanwhile.
    fn answer(&self, asked: &[(u32, u64, u64)]) {
        let partitions: BTreeSet<u32> = asked.iter().map(|(partition, ..)| *partition).collect();
        if partitions.is_empty() {
            return;
        }
        let answers = high_watermarks(&self.client, &self.topic, partitions).unwrap_or_else(|error| {
            tracing::debug!(topic = %self.topic, %error, "no answer about high watermarks");
            BTreeMap::new()
        });
        for (partition, ask, session) in asked {
            if let Some(high) = answers.get(partition) {
                self.inbox.offer(self.source, *partition, *session, What::HighWatermark { ask: *ask, high: *high });
            }
        }
    }

    fn check(&self, partition: u32, session: u64) {
        match ends(&self.client, &self.topic, partition) {
            Ok(ends) => {
                let _ended = self.orders.send(Order::Ends { partition, session, ends });
            }
            Err(error) => tracing::debug!(topic = %self.topic, partition, %error, "no answer about the ends of a partition"),
        }
    }
}
