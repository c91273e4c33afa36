//! Journals on a broker, to be measured on.

use journal::{
    birth::{self, Durability},
    kafka::{KafkaLog, KafkaSettings},
    topics::Journal,
};
use std::sync::Arc;
use tests::servers::Kafka;
use uuid::Uuid;

/// A journal with topics of its own on the broker of this process.
pub fn born(kafka: &Kafka, partitions: u32) -> anyhow::Result<(KafkaSettings, Journal)> {
    let settings = KafkaSettings::plaintext(kafka.bootstrap());
    let journal = Journal { id: Uuid::new_v4(), generation: kafka.generation(), partitions };
    birth::create(&settings, &journal, Durability::SINGLE_BROKER)?;
    Ok((settings, journal))
}

/// Its events.
pub fn events(settings: &KafkaSettings, journal: &Journal) -> anyhow::Result<Arc<KafkaLog>> {
    Ok(Arc::new(KafkaLog::new(settings, &journal.events(), journal.all_partitions())?))
}
