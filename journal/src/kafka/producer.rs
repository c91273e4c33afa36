//! The producer of chains: in order, without holes, and ended by its first error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, Message as _};

use super::{SERVING_TURN, wire};
use crate::log::{Producer, ProducerFailed};

/// See [`Producer`].
pub(super) struct KafkaProducer {
    shared: Arc<Shared>,
    polling: Option<JoinHandle<()>>,
}

struct Shared {
    client: BaseProducer<Failure>,
    topic: Arc<str>,
    stopping: AtomicBool,
}

/// The first error, which is the only one that matters.
#[derive(Default)]
struct Failure(OnceLock<ProducerFailed>);

impl Failure {
    fn fail(&self, reason: String) -> ProducerFailed {
        self.0.get_or_init(|| ProducerFailed { reason }).clone()
    }
}

impl ClientContext for Failure {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => drop(self.fail(format!("fatal error: {reason}"))),
            // Transport errors are retried by the client until the broker is back; the records wait in order meanwhile.
            _ => tracing::debug!(%error, reason, "kafka producer"),
        }
    }
}

impl ProducerContext for Failure {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = delivery {
            self.fail(format!("a record for partition {} was not delivered: {error}", record.partition()));
        }
    }
}

impl KafkaProducer {
    pub(super) fn open(config: ClientConfig, topic: Arc<str>) -> KafkaResult<Self> {
        let client = config.create_with_context(Failure::default())?;
        let shared = Arc::new(Shared { client, topic, stopping: AtomicBool::new(false) });
        let polled = Arc::clone(&shared);
        let polling = std::thread::Builder::new().name("kafka-produce".into()).spawn(move || polled.poll());
        let polling = polling.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { shared, polling: Some(polling) })
    }
}

impl Shared {
    /// Serves events until it is told to stop. `poll` stays for its whole time-out even after events, and serves those that come
    /// meanwhile; on a thread of its own that is what is wanted.
    fn poll(&self) {
        while !self.stopping.load(Ordering::Relaxed) {
            self.client.poll(SERVING_TURN);
            if let Some((code, reason)) = self.client.client().fatal_error() {
                self.client.context().fail(format!("fatal error {code}: {reason}"));
            }
        }
    }
}

impl Producer for KafkaProducer {
    fn append(&self, partition: u32, key: Option<&[u8]>, timestamp_ms: i64, value: &[u8]) -> Result<(), ProducerFailed> {
        if let Some(failed) = self.failure() {
            return Err(failed);
        }
        let record = BaseRecord::<[u8], [u8]>::to(&self.shared.topic).partition(wire(partition)).timestamp(timestamp_ms).payload(value);
        let record = match key {
            Some(key) => record.key(key),
            None => record,
        };
        // A record that was not taken would be a hole in front of the next one, whatever the reason.
        self.shared.client.send(record).map_err(|(error, _)| self.shared.client.context().fail(format!("not taken: {error}")))
    }

    fn failure(&self) -> Option<ProducerFailed> {
        self.shared.client.context().0.get().cloned()
    }

    fn in_flight(&self) -> usize {
        usize::try_from(self.shared.client.in_flight_count()).unwrap_or(0)
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(polling) = self.polling.take()
            && polling.join().is_err()
        {
            tracing::error!("the polling thread of a kafka producer panicked");
        }
    }
}
