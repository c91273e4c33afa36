//! One decider process without its thread: the engine, what it reads and what it writes.
//!
//! One inbox, one producer. A turn feeds the engine what has arrived and carries out what follows. A producer error ends every lead of the
//! process: the producer is dropped, another one opened, and whoever claims again does so under a new writer id. The production thread and the
//! simulation take the same turns.

use super::{
    chain::HELD,
    engine::{EVENTS, Effect, Engine, source_of},
    shell::{StartError, Topics},
    snapshot::Snapshots,
};
use chrono::{DateTime, Utc};
use journal::{
    inbox::{Capacity, Inbox},
    log::{Arrival, Consumer, Log, Producer, Source},
    membership::Change,
    topics::Journal,
};
use rand::Rng;
use schemas::record::Origin;
use std::sync::Arc;

/// See the module.
pub struct Turning {
    engine: Engine,
    consumers: [(Source, Box<dyn Consumer>); 3],
    producer: Arc<dyn Producer>,
    log: Box<dyn Log>,
    inbox: Arc<Inbox>,
    effects: Vec<Effect>,
}

impl Turning {
    /// A decider that has not turned yet.
    ///
    /// # Errors
    ///
    /// When a client cannot be made or a snapshot is of another journal.
    pub fn start(
        journal: Journal,
        topics: Topics,
        snapshots: &dyn Snapshots,
        now: DateTime<Utc>,
        rng: &mut impl Rng,
    ) -> Result<Self, StartError> {
        // The engine holds what waits; the inbox only has to bridge one turn.
        let inbox = Inbox::new(Capacity { records: HELD, ..Capacity::default() }, 1);
        let (engine, effects) = Engine::new(journal, snapshots, now, rng)?;
        let consumers = [
            (EVENTS, topics.events.open_consumer(EVENTS, &inbox)?),
            (source_of(Origin::Commands), topics.commands.open_consumer(source_of(Origin::Commands), &inbox)?),
            (source_of(Origin::Reports), topics.reports.open_consumer(source_of(Origin::Reports), &inbox)?),
        ];
        let producer = topics.events.open_producer()?;
        let mut turning = Self { engine, consumers, producer, log: topics.events, inbox, effects };
        turning.carry_out();
        Ok(turning)
    }

    /// Where what it reads arrives, in one lane.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Its engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes in what has arrived and what changed in the group, and does what follows.
    pub fn turn(&mut self, arrivals: Vec<Arrival>, changes: &[Change], now: DateTime<Utc>, rng: &mut impl Rng) {
        for change in changes {
            tracing::info!(?change, "the group of deciders changed");
            self.engine.membership(change);
        }
        if let Some(failed) = self.producer.failure() {
            tracing::warn!(%failed, "the producer failed; every lead of this process ends");
            self.engine.producer_failed(now, rng, &mut self.effects);
            match self.log.open_producer() {
                Ok(producer) => self.producer = producer,
                Err(problem) => tracing::error!(%problem, "no new producer; trying again"),
            }
        }
        for arrival in arrivals {
            self.engine.arrived(arrival, now, rng, &mut self.effects);
        }
        self.engine.turn(now, rng, &mut self.effects);
        self.carry_out();
    }

    /// Gives every lead up, to shut down.
    pub fn resign(&mut self) {
        self.engine.resign();
    }

    fn carry_out(&mut self) {
        for effect in self.effects.drain(..) {
            let consumer = |source: Source| {
                let consumer = self.consumers.iter().find(|(s, _)| *s == source);
                consumer.expect("each source has a consumer").1.as_ref()
            };
            match effect {
                Effect::Append { partition, append } => {
                    // A failure shows in the next turn, and then ends the lead.
                    if let Err(problem) = self.producer.append(partition, None, append.timestamp_ms, &append.value) {
                        tracing::debug!(partition, %problem, "not appended");
                    }
                }
                Effect::Assign { source, partition, from } => consumer(source).assign(partition, from),
                Effect::Unassign { source, partition } => consumer(source).unassign(partition),
                Effect::AskHighWatermark { partition, ask } => consumer(EVENTS).ask_high_watermark(partition, ask),
                Effect::Page { partition, problem } => {
                    tracing::error!(partition, problem, "nothing goes on in this partition without a person")
                }
                Effect::Told(what) => tracing::info!("{what}"),
            }
        }
    }
}
