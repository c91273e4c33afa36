//! The sender of commands and reports: every record is answered, and the sender lives on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use rdkafka::{ClientConfig, Message as _};

use super::{SERVING_TURN, wire};
use crate::log::{Delivered, SendError, Sender};

/// See [`Sender`].
pub(super) struct KafkaSender {
    shared: Arc<Shared>,
    polling: Option<JoinHandle<()>>,
}

struct Shared {
    client: BaseProducer<Answers>,
    topic: Arc<str>,
    stopping: AtomicBool,
}

/// Hands delivery reports to whoever waits for them.
struct Answers;

impl ClientContext for Answers {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka sender");
    }
}

impl ProducerContext for Answers {
    /// What crosses the C library must be shareable; nobody shares it, so the lock is never waited for.
    type DeliveryOpaque = Box<Mutex<Delivered>>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, delivered: Self::DeliveryOpaque) {
        let delivered = delivered.into_inner().unwrap_or_else(PoisonError::into_inner);
        delivered(match delivery {
            Ok(record) => Ok(record.offset()),
            Err((error, _)) => Err(SendError { reason: error.to_string(), never_sent: false }),
        });
    }
}

impl KafkaSender {
    pub(super) fn open(mut config: ClientConfig, topic: Arc<str>) -> KafkaResult<Self> {
        config
            .set("acks", "all")
            // A repeated record decides nothing, since its command id is known; so plain retries do, and there is no producer state whose
            // loss would be fatal. One request in flight keeps the order.
            .set("enable.idempotence", "false")
            .set("max.in.flight", "1")
            .set("linger.ms", "0")
            // Whoever waits is told that it is not known, while a second try within the command's life still makes sense.
            .set("message.timeout.ms", "10000")
            .set("queue.buffering.max.messages", "20000")
            .set("queue.buffering.max.kbytes", "65536")
            .set("message.max.bytes", "1048576");
        let client = config.create_with_context(Answers)?;
        let shared = Arc::new(Shared { client, topic, stopping: AtomicBool::new(false) });
        let polled = Arc::clone(&shared);
        let polling = std::thread::Builder::new().name("kafka-send".into()).spawn(move || {
            while !polled.stopping.load(Ordering::Relaxed) {
                polled.client.poll(SERVING_TURN);
            }
        });
        let polling = polling.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { shared, polling: Some(polling) })
    }
}

impl Sender for KafkaSender {
    fn send(&self, partition: u32, key: Option<&[u8]>, timestamp_ms: i64, value: &[u8], delivered: Delivered) {
        let record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.shared.topic, Box::new(Mutex::new(delivered)))
            .partition(wire(partition))
            .timestamp(timestamp_ms)
            .payload(value);
        let record = match key {
            Some(key) => record.key(key),
            None => record,
        };
        if let Err((error, record)) = self.shared.client.send(record) {
            let delivered = record.delivery_opaque.into_inner().unwrap_or_else(PoisonError::into_inner);
            delivered(Err(SendError { reason: error.to_string(), never_sent: true }));
        }
    }
}

impl Drop for KafkaSender {
    /// What was not sent is answered as not known before this returns.
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(polling) = self.polling.take()
            && polling.join().is_err()
        {
            tracing::error!("the polling thread of a kafka sender panicked");
        }
    }
}
