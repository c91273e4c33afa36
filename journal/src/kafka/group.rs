//! Membership of the consumer group on the commands topic: classic protocol, sticky, nothing consumed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;

use super::{KafkaSettings, TURN};
use crate::log::LogError;
use crate::membership::{Change, Membership};

/// A member of the group that shares out who leads.
pub struct KafkaMembership {
    changes: Receiver<Change>,
    assigned: BTreeSet<u32>,
    leaving: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
}

/// Tells the member what the group decided. The channel is unbounded, and holds a few entries a rebalance.
struct Rebalances(Sender<Change>);

impl ClientContext for Rebalances {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka group");
    }
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.tell(Change::Revoked(numbers(partitions)));
        }
    }

    fn post_rebalance(&self, member: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // The commands are read by a consumer of the decider's own, from the position that its chain names.
            if let Err(error) = member.pause(partitions) {
                tracing::warn!(%error, "cannot pause partitions of the group; they are read in vain");
            }
            self.tell(Change::Assigned(numbers(partitions)));
        }
    }
}

impl Rebalances {
    fn tell(&self, change: Change) {
        // A member that is being dropped does not listen any more.
        let _dropped = self.0.send(change);
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<u32> {
    partitions.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

impl KafkaMembership {
    /// Joins the group of this name on a commands topic.
    ///
    /// # Errors
    ///
    /// When the client cannot be made. An unreachable broker is no error here.
    pub fn join(settings: &KafkaSettings, topic: &str, group: &str) -> Result<Self, LogError> {
        let failed = |source| LogError { topic: topic.to_owned(), doing: "cannot join the group of deciders", source };
        let mut config = settings.client().map_err(|error| failed(error.into()))?;
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            // A partition moves only when it must: a moved lead is a takeover and a cold overlay.
            .set("partition.assignment.strategy", "cooperative-sticky")
            // The broker's minimum; silence takes over sooner.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1500")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest");
        let (told, changes) = unbounded();
        let member: BaseConsumer<Rebalances> = config.create_with_context(Rebalances(told)).map_err(|error| failed(error.into()))?;
        member.subscribe(&[topic]).map_err(|error| failed(error.into()))?;
        let leaving = Arc::new(AtomicBool::new(false));
        let left = Arc::clone(&leaving);
        let polling = std::thread::Builder::new().name("kafka-group".into()).spawn(move || {
            while !left.load(Ordering::Relaxed) {
                if let Some(Err(error)) = member.poll(TURN) {
                    tracing::debug!(%error, "kafka group");
                }
            }
        });
        let polling = polling.map_err(|error| failed(error.into()))?;
        Ok(Self { changes, assigned: BTreeSet::new(), leaving, polling: Some(polling) })
    }
}

impl Membership for KafkaMembership {
    fn changes(&mut self) -> Vec<Change> {
        let changes: Vec<Change> = self.changes.try_iter().collect();
        for change in &changes {
            match change {
                Change::Assigned(partitions) => self.assigned.extend(partitions),
                Change::Revoked(partitions) => self.assigned.retain(|partition| !partitions.contains(partition)),
            }
        }
        changes
    }

    fn assigned(&self) -> &BTreeSet<u32> {
        &self.assigned
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        if let Some(polling) = self.polling.take()
            && polling.join().is_err()
        {
            tracing::error!("the polling thread of a group member panicked");
        }
    }
}
