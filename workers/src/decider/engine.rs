//! All partitions of one decider as one step machine.
//!
//! Inputs are what arrived from the topics, what changed in the group, that the producer failed, and the time. Effects are records to append
//! and partitions to read. The production shell and the simulation drive this same machine.

use super::{
    chain::{Chain, Queue, SHED, Unobserved},
    decision::{self, Place, Waiting},
    snapshot::Snapshots,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    command::Request,
    event::Event,
    partition::{Committed, Partition},
    platform::Platform,
    refusal::Refusal,
    tenant::Facts,
};
use journal::{
    follower::NotThisChain,
    log::{Arrival, ReadFrom, Source, What},
    membership::Change,
    silence::Reasons,
    topics::Journal,
    writer::{Append, AppendRefused, Draft, Output, Phase, PlatformRead, StoredWriter, Writer},
};
use rand::{Rng, RngExt};
use schemas::record::{EncodeError, Origin, PlatformPosition, WriterId};
use std::{collections::VecDeque, time::Duration};

/// The journal in the inbox.
pub const EVENTS: Source = Source(0);

/// Platform facts are stale when no high watermark asked for within this time has been reached.
const STALE: TimeDelta = TimeDelta::seconds(5);

/// How often the platform's high watermark is asked for.
const ASK_EVERY: TimeDelta = TimeDelta::seconds(1);

/// A decision to claim is renewed when the broker has not answered for this long.
const WANT_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// A command that waits for the platform's fold is decided without it after this long.
const PLATFORM_PATIENCE: TimeDelta = TimeDelta::seconds(5);

/// The source of a commands topic in the inbox.
pub fn source_of(origin: Origin) -> Source {
    match origin {
        Origin::Commands => Source(1),
        Origin::Reports => Source(2),
    }
}

/// Something to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand a record to the producer.
    Append {
        /// The partition of the journal.
        partition: u32,
        /// The record.
        append: Append,
    },
    /// Read a partition of a topic.
    Assign {
        /// Which topic.
        source: Source,
        /// Which partition.
        partition: u32,
        /// From where.
        from: ReadFrom,
    },
    /// Cease to read a partition of a topic.
    Unassign {
        /// Which topic.
        source: Source,
        /// Which partition.
        partition: u32,
    },
    /// Ask the broker how far a partition of the journal goes.
    AskHighWatermark {
        /// Which partition.
        partition: u32,
        /// The number of the question.
        ask: u64,
    },
    /// Nothing goes on in this partition without a person.
    Page {
        /// Which partition.
        partition: u32,
        /// Why, in a sentence.
        problem: String,
    },
    /// Something worth a line of the log.
    Told(String),
}

/// Figures for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Partitions led.
    pub led: usize,
    /// Commands that wait, of all partitions.
    pub waiting: usize,
    /// Commits appended and not observed.
    pub unobserved: usize,
    /// Commits decided here and observed, since the start.
    pub decided: u64,
    /// Partitions in which nothing goes on.
    pub halted: usize,
}

/// All partitions of one decider; see the module.
pub struct Engine {
    journal: Journal,
    chains: Vec<Chain>,
    asks: u64,
    /// When each question about the platform's high watermark was asked; answered ones are dropped.
    platform_asks: VecDeque<(u64, DateTime<Utc>)>,
    /// The platform's high watermark to be read to, and when it was asked for.
    platform_high: Option<(i64, DateTime<Utc>)>,
    /// When the platform's fold was last known to be complete.
    fresh_at: Option<DateTime<Utc>>,
    decided: u64,
}

impl Engine {
    /// An engine for all partitions, each from its snapshot where there is one, and the partitions to read first.
    pub fn new(
        journal: Journal,
        snapshots: &dyn Snapshots,
        now: DateTime<Utc>,
        rng: &mut impl Rng,
    ) -> Result<(Self, Vec<Effect>), NotThisChain> {
        let mut chains = Vec::new();
        let mut effects = Vec::new();
        for partition in 0..journal.all_partitions() {
            let (stored, observed) = snapshots.load(partition).map_or((None, Partition::default()), |(w, p)| (Some(w), p));
            let writer = Writer::new(journal.genesis(partition), stored)?;
            effects.push(Effect::Assign { source: EVENTS, partition, from: writer.read_from() });
            chains.push(Chain {
                partition,
                writer,
                reasons: Reasons::new(now, spread(rng)),
                observed,
                tombstones: snapshots.tombstones(partition),
                ahead: VecDeque::new(),
                queues: Default::default(),
                wanted_at: None,
                waits_for_platform: None,
                halted: None,
            });
        }
        let mut engine = Self { journal, chains, asks: 0, platform_asks: VecDeque::new(), platform_high: None, fresh_at: None, decided: 0 };
        for partition in 0..journal.all_partitions() {
            engine.read_commands(partition, &mut effects);
        }
        Ok((engine, effects))
    }

    /// Takes in what arrived.
    pub fn arrived(&mut self, arrival: Arrival, now: DateTime<Utc>, rng: &mut impl Rng, effects: &mut Vec<Effect>) {
        let Arrival { source, partition, what } = arrival;
        if partition >= self.journal.all_partitions() {
            return;
        }
        match (source, what) {
            (EVENTS, What::Stored(record)) => {
                let mut outputs = Vec::new();
                self.chains[partition as usize].writer.read(&record, now, &mut outputs);
                self.carry_out(partition, outputs, now, rng, effects);
            }
            (EVENTS, What::HighWatermark { ask, high }) => {
                if partition == self.journal.platform()
                    && let Some(at) = self.platform_asks.iter().position(|(n, _)| *n == ask)
                {
                    let (_, asked) = self.platform_asks[at];
                    self.platform_asks.drain(..=at);
                    self.platform_high = Some((high, asked));
                }
                for chain in 0..self.journal.all_partitions() {
                    let outputs = self.chains[chain as usize].writer.high_watermark(partition, ask, high);
                    self.carry_out(chain, outputs, now, rng, effects);
                }
            }
            (EVENTS, What::Lost(reason)) => {
                let mut outputs = Vec::new();
                self.chains[partition as usize].writer.lost(&reason, &mut outputs);
                self.carry_out(partition, outputs, now, rng, effects);
            }
            (source, What::Stored(record)) => {
                let origin = if source == source_of(Origin::Commands) { Origin::Commands } else { Origin::Reports };
                let waiting = Waiting::new(record.offset, record.timestamp_ms, &record.value);
                if self.chains[partition as usize].queue(origin).push(waiting) {
                    effects.push(Effect::Unassign { source, partition });
                }
            }
            (_, What::HighWatermark { .. }) => {}
            (source, What::Lost(reason)) => {
                // Commands are kept a week; a decider that was away for longer goes on with what is there, and says so.
                effects.push(Effect::Told(format!(
                    "partition {partition}: commands are not there any more ({reason}); going on with the oldest"
                )));
                effects.push(Effect::Assign { source, partition, from: ReadFrom::Beginning });
            }
        }
    }

    /// What changed in the group.
    pub fn membership(&mut self, change: &Change) {
        let (partitions, assigned) = match change {
            Change::Assigned(partitions) => (partitions, true),
            Change::Revoked(partitions) => (partitions, false),
        };
        for partition in partitions {
            if let Some(chain) = self.chains.get_mut(*partition as usize) {
                if assigned { chain.reasons.assigned() } else { chain.reasons.revoked() }
            }
        }
    }

    /// The producer failed: every lead ends.
    pub fn producer_failed(&mut self, now: DateTime<Utc>, rng: &mut impl Rng, effects: &mut Vec<Effect>) {
        for partition in 0..self.journal.all_partitions() {
            let mut outputs = Vec::new();
            self.chains[partition as usize].writer.producer_failed(&mut outputs);
            self.carry_out(partition, outputs, now, rng, effects);
        }
    }

    /// Everything that follows from the present state: claims that are due, commands that can be decided, topics that can be read on.
    pub fn turn(&mut self, now: DateTime<Utc>, rng: &mut impl Rng, effects: &mut Vec<Effect>) {
        self.refresh_platform(now, effects);
        // The platform first, so that its facts are as new as can be for the others.
        for partition in std::iter::once(self.journal.platform()).chain(0..self.journal.partitions) {
            self.claim(partition, now, rng, effects);
            self.decide(partition, now, effects);
            self.read_on(partition, effects);
        }
    }

    /// Gives every lead up, to shut down; what was not observed is forgotten, not withdrawn.
    pub fn resign(&mut self) {
        for chain in &mut self.chains {
            chain.writer.follow();
            chain.forget();
        }
    }

    /// What a command would lead to now, without asking for it: advice, with the seq it was given at.
    pub fn advise(&self, request: &Request, now: DateTime<Utc>) -> Option<(Result<Vec<Event>, Refusal>, u64)> {
        let partition = self.journal.partition_of(request.tenant);
        let chain = self.chains.get(partition as usize).filter(|c| c.halted.is_none())?;
        let facts = Facts {
            now: chain.writer.time(now),
            platform: self.platform(),
            stale: self.is_stale(now),
            tombstones: chain.tombstones.as_ref(),
        };
        let advice = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            chain.state().decide(request, domain::command::Origin::Commands, facts)
        }));
        Some((advice.ok()?, chain.writer.read_state().seq))
    }

    /// The state of a partition as observed, and what to store with it.
    pub fn snapshot(&self, partition: u32) -> Option<(StoredWriter, Partition)> {
        let chain = self.chains.get(partition as usize).filter(|c| c.halted.is_none())?;
        Some((chain.writer.stored(), chain.observed.clone()))
    }

    /// Figures for people.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures { decided: self.decided, ..Figures::default() };
        for chain in &self.chains {
            figures.led += usize::from(chain.writer.phase() == Phase::Leading);
            figures.waiting += chain.queues.iter().map(Queue::len).sum::<usize>();
            figures.unobserved += chain.writer.unobserved();
            figures.halted += usize::from(chain.halted.is_some());
        }
        figures
    }

    /// The phase, the reader's position and the problem of each partition, for people.
    pub fn standing(&self) -> impl Iterator<Item = (u32, Phase, u64, Option<&str>)> {
        self.chains.iter().map(|c| (c.partition, c.writer.phase(), c.writer.read_state().seq, c.halted.as_deref()))
    }

    fn platform(&self) -> &Platform {
        &self.chains[self.journal.platform() as usize].observed.platform
    }

    fn platform_read(&self) -> PlatformRead {
        self.chains[self.journal.platform() as usize].writer.platform_read()
    }

    fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.fresh_at.is_none_or(|at| now - at > STALE)
    }

    fn refresh_platform(&mut self, now: DateTime<Utc>, effects: &mut Vec<Effect>) {
        if let Some((high, asked)) = self.platform_high
            && self.platform_read().next_offset >= high
        {
            self.fresh_at = self.fresh_at.max(Some(asked));
            self.platform_high = None;
        }
        if self.platform_asks.back().is_none_or(|(_, at)| now - *at >= ASK_EVERY) {
            self.asks += 1;
            // Unanswered questions are of use for no longer than the facts they would confirm.
            self.platform_asks.retain(|(_, at)| now - *at <= STALE);
            self.platform_asks.push_back((self.asks, now));
            effects.push(Effect::AskHighWatermark { partition: self.journal.platform(), ask: self.asks });
        }
    }

    fn carry_out(&mut self, partition: u32, outputs: Vec<Output>, now: DateTime<Utc>, rng: &mut impl Rng, effects: &mut Vec<Effect>) {
        for output in outputs {
            let chain = &mut self.chains[partition as usize];
            match output {
                Output::Append(append) => {
                    // Only the commit that confirms a takeover comes this way: it answers nothing, but the chain's time goes on with it.
                    let mut state = chain.state().clone();
                    let seq = chain.writer.read_state().seq + chain.writer.unobserved() as u64;
                    let time = chain.writer.past().time.unwrap_or(state.time);
                    state.apply(Committed { seq, time, command: None, events: &[] }).expect("without events nothing is contradicted");
                    chain.ahead.push_back(Unobserved { state, answers: None });
                    effects.push(Effect::Append { partition, append });
                }
                Output::Accepted(accepted) => match chain.follow(&accepted) {
                    Ok(Some(_)) => chain.reasons.outcome(now),
                    Ok(None) => chain.reasons.accepted(now),
                    Err(problem) => Self::halt(chain, format!("{}: {problem}", accepted.after.position()), effects),
                },
                Output::TakenOver { epoch, own, timestamp_ms, .. } => {
                    let at = DateTime::from_timestamp_millis(timestamp_ms).unwrap_or(now);
                    chain.reasons.taken_over(at, now, spread(rng));
                    if own {
                        effects.push(Effect::Told(format!("partition {partition}: leading, epoch {epoch}")));
                    }
                }
                Output::Observed { .. } => {
                    if chain.observe().is_some() {
                        self.decided += 1;
                        chain.reasons.outcome(now);
                    } else {
                        chain.reasons.accepted(now);
                    }
                }
                Output::Deposed { reason, dropped } => {
                    chain.forget();
                    effects.push(Effect::Told(format!("partition {partition}: deposed ({reason:?}), {dropped} commits not observed")));
                }
                Output::Restart => effects.push(Effect::Assign { source: EVENTS, partition, from: chain.writer.read_from() }),
                Output::Stopped(stopped) => Self::halt(chain, stopped.to_string(), effects),
            }
        }
    }

    fn halt(chain: &mut Chain, problem: String, effects: &mut Vec<Effect>) {
        chain.forget();
        chain.writer.follow();
        for source in [EVENTS, source_of(Origin::Commands), source_of(Origin::Reports)] {
            effects.push(Effect::Unassign { source, partition: chain.partition });
        }
        effects.push(Effect::Page { partition: chain.partition, problem: problem.clone() });
        chain.halted = Some(problem);
    }

    /// Claims the lead when there is a reason and the logs have been read far enough.
    fn claim(&mut self, partition: u32, now: DateTime<Utc>, rng: &mut impl Rng, effects: &mut Vec<Effect>) {
        let platform = self.platform_read();
        let chain = &mut self.chains[partition as usize];
        chain.reasons.waiting(chain.queues.iter().filter_map(Queue::oldest).map(|w| w.written).min(), now);
        if chain.halted.is_some() || chain.writer.phase() != Phase::Following {
            return;
        }
        if chain.writer.may_claim(platform) {
            if let Ok(append) = chain.writer.claim(WriterId(rng.random()), platform, now) {
                chain.reasons.claimed(now);
                chain.wanted_at = None;
                effects.push(Effect::Append { partition, append });
            }
            return;
        }
        let renew = chain.wanted_at.is_none_or(|at| now - at >= WANT_AGAIN);
        if renew && (chain.wanted_at.is_some() || chain.reasons.reason(now).is_some()) {
            self.asks += 1;
            chain.writer.want(self.asks);
            chain.wanted_at = Some(now);
            for partition in [partition, self.journal.platform()] {
                effects.push(Effect::AskHighWatermark { partition, ask: self.asks });
            }
        }
    }

    /// Decides what waits, reports and commands in turn, as far as there is room.
    fn decide(&mut self, partition: u32, now: DateTime<Utc>, effects: &mut Vec<Effect>) {
        if self.chains[partition as usize].writer.phase() != Phase::Leading {
            return;
        }
        loop {
            let mut progress = false;
            for origin in [Origin::Reports, Origin::Commands] {
                progress |= self.decide_one(partition, origin, now, effects);
            }
            if !progress {
                return;
            }
        }
    }

    fn decide_one(&mut self, partition: u32, origin: Origin, now: DateTime<Utc>, effects: &mut Vec<Effect>) -> bool {
        let is_platform = partition == self.journal.platform();
        let (stale, read) = (self.is_stale(now), self.platform_read().position);
        // Cheap: maps share their structure. The platform's own chain decides on what it has appended, not on what it has observed.
        let platform = self.platform().clone();
        let journal = self.journal;
        let chain = &mut self.chains[partition as usize];
        let Some(waiting) = chain.queues[origin as usize].undecided() else { return false };
        if chain.writer.room() == 0 {
            return false;
        }
        let seq = chain.writer.read_state().seq + chain.writer.unobserved() as u64 + 1;
        let at = if is_platform {
            // The platform's own chain is decided on all that stands before the commit.
            PlatformPosition { generation: journal.generation, seq: seq - 1 }
        } else {
            let behind = read < chain.writer.past().platform;
            if behind || read.seq < waiting.after_platform() {
                let since = *chain.waits_for_platform.get_or_insert(now);
                if behind || now - since < PLATFORM_PATIENCE {
                    return false;
                }
            }
            chain.waits_for_platform = None;
            read
        };
        let time = chain.writer.time(now);
        let facts = Facts { now: time, platform: &platform, stale, tombstones: chain.tombstones.as_ref() };
        let place = Place {
            is_home: waiting.content.as_ref().is_ok_and(|c| journal.partition_of(c.tenant) == partition),
            topic: origin,
            generation: journal.generation,
            seq,
            facts,
        };
        let decision = if chain.reasons.is_fatal() && chain.ahead.iter().all(|u| u.answers.is_none()) {
            decision::fail(chain.state(), waiting, place, "its deciders were lost three times in a row")
        } else {
            decision::decide(chain.state(), waiting, place)
        };
        let offset = waiting.offset;
        let draft = |d: &decision::Decision| Draft {
            platform: at,
            command: Some(d.command.clone()),
            actor: d.actor.clone(),
            time,
            events: d.events.clone(),
        };
        let mut decision = decision;
        let appended = match chain.writer.append(draft(&decision)) {
            Err(AppendRefused::Encode(EncodeError::TooLarge { bytes })) => {
                let problem = format!("its commit would have {bytes} bytes");
                let waiting = chain.queues[origin as usize].undecided().expect("it was there a moment ago");
                decision = decision::fail(chain.state(), waiting, place, &problem);
                chain.writer.append(draft(&decision))
            }
            appended => appended,
        };
        match appended {
            Ok(appended) => {
                decision.after.shed(chain.tombstones.kept(), SHED);
                chain.ahead.push_back(Unobserved { state: decision.after, answers: Some((origin, offset)) });
                chain.queue(origin).decided();
                effects.push(Effect::Append { partition, append: appended.append });
                true
            }
            Err(problem) => {
                Self::halt(chain, format!("partition {partition}: {problem}"), effects);
                false
            }
        }
    }

    /// Reads commands from where the chain stands.
    fn read_commands(&mut self, partition: u32, effects: &mut Vec<Effect>) {
        let generation = self.journal.generation;
        let chain = &mut self.chains[partition as usize];
        for origin in [Origin::Commands, Origin::Reports] {
            let next = chain.writer.past().next_offset(origin, generation);
            *chain.queue(origin) = Queue::from(next);
            let from = if next == 0 { ReadFrom::Beginning } else { ReadFrom::Offset(next) };
            effects.push(Effect::Assign { source: source_of(origin), partition, from });
        }
    }

    fn read_on(&mut self, partition: u32, effects: &mut Vec<Effect>) {
        let chain = &mut self.chains[partition as usize];
        if chain.halted.is_some() {
            return;
        }
        for origin in [Origin::Commands, Origin::Reports] {
            if let Some(next) = chain.queue(origin).resume() {
                effects.push(Effect::Assign { source: source_of(origin), partition, from: ReadFrom::Offset(next) });
            }
        }
    }
}

fn spread(rng: &mut impl Rng) -> Duration {
    rng.random_range(Duration::ZERO..=journal::silence::SPREAD)
}
