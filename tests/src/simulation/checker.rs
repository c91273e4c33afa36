//! What must hold at every position of the log, and at the end. Reads the journal like anybody: by the product's rule and the domain's fold.

use super::network::{JOURNAL, Network, View};
use crate::quota::Count;
use domain::{
    event::{CommandEvent, Event},
    id::CommandId,
    partition::{Committed, Partition},
};
use journal::{
    caller::Outcome,
    follower::StoredReader,
    inbox::Capacity,
    tail::{Tail, Told},
    writer::StoredWriter,
};
use schemas::{
    command::fingerprint,
    event::decode,
    record::{Commit, Origin},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// One partition as far as it was read.
#[derive(Default)]
pub struct Chain {
    pub seq: u64,
    pub fold: Partition,
    /// The fold behind every commit, by its seq.
    folds: BTreeMap<u64, Partition>,
    /// The epoch, writer, head before it and events of every commit: what it said.
    commits: BTreeMap<u64, Commit>,
    quota: Count,
    /// First offset of the commands and of the reports without a commit.
    next: [i64; 2],
}

pub struct Checker {
    view: View,
    tail: Tail,
    pub chains: Vec<Chain>,
    /// Which commit gave a command its effect.
    effects: HashMap<CommandId, (u32, u64)>,
    /// What callers were told, to be looked up again at the end.
    acknowledged: Vec<Outcome>,
    pub figures: Figures,
}

/// What was seen, so that nobody is fooled by an idle simulation.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub commits: u64,
    pub takeovers: u64,
    pub acknowledged: u64,
    pub repeated: u64,
    pub refused: u64,
    pub claims: u64,
}

impl Figures {
    pub fn plus(self, other: Self) -> Self {
        Self {
            commits: self.commits + other.commits,
            takeovers: self.takeovers + other.takeovers,
            acknowledged: self.acknowledged + other.acknowledged,
            repeated: self.repeated + other.repeated,
            refused: self.refused + other.refused,
            claims: self.claims + other.claims,
        }
    }
}

/// What was violated, in a sentence.
pub type Violated = String;

impl Checker {
    pub fn new(network: &Network) -> Self {
        let view = network.view();
        let tail = Tail::open(&view.events, &JOURNAL, &[], Capacity::default()).unwrap();
        let chains = (0..JOURNAL.all_partitions()).map(|_| Chain::default()).collect();
        Self { view, tail, chains, effects: HashMap::new(), acknowledged: Vec::new(), figures: Figures::default() }
    }

    /// Reads on to the end of the log; tells what it found.
    pub fn step(&mut self, told: &mut Vec<String>) -> Result<(), Violated> {
        self.view.events.read(usize::MAX);
        for event in self.tail.next(usize::MAX, Duration::ZERO) {
            match event.what {
                Told::Commit(commit) => self.commit(event.partition, commit.record, told)?,
                Told::Takeover(takeover) => {
                    self.figures.takeovers += 1;
                    self.chains[event.partition as usize].seq = takeover.after.state.seq;
                    told.push(format!("p{}.{} taken over, epoch {}", event.partition, takeover.after.state.seq, takeover.record.epoch));
                }
                Told::Broken(broken) => return Err(format!("p{}: the chain is broken: {broken}", event.partition)),
                Told::Void { .. } => {}
            }
        }
        Ok(())
    }

    fn commit(&mut self, partition: u32, commit: Commit, told: &mut Vec<String>) -> Result<(), Violated> {
        let place = format!("p{partition}.{}", commit.seq);
        let events: Vec<Event> =
            commit.events.iter().map(|raw| decode(raw)).collect::<Result<_, _>>().map_err(|e| format!("{place}: {e}"))?;
        let kind = commit.command.as_ref().map_or("-", |c| c.kind.as_str());
        told.push(format!("{place} {kind} {} {}", commit.prev, commit.events.iter().map(|e| e.get()).collect::<Vec<_>>().join(" ")));
        self.figures.commits += 1;
        let chain = &mut self.chains[partition as usize];
        let command = commit.command.as_ref().map(|c| (CommandId(c.id), fingerprint(&c.digest)));
        chain
            .fold
            .apply(Committed { seq: commit.seq, time: commit.time, command, events: &events })
            .map_err(|impossible| format!("{place}: {impossible}"))?;
        for event in &events {
            self.figures.claims += u64::from(chain.quota.take(event).map_err(|problem| format!("{place}: {problem}"))?);
        }
        if let Some(command) = &commit.command {
            let next = &mut chain.next[command.origin as usize];
            if command.offset != *next {
                return Err(format!("{place}: answers {:?} {} where {next} has no answer", command.origin, command.offset));
            }
            *next += 1;
            self.outcome_of(partition, &commit, CommandId(command.id), &events).map_err(|problem| format!("{place}: {problem}"))?;
        }
        let chain = &mut self.chains[partition as usize];
        chain.seq = commit.seq;
        chain.folds.insert(commit.seq, chain.fold.clone());
        chain.commits.insert(commit.seq, commit);
        Ok(())
    }

    /// One outcome a key, and repetitions point to it.
    fn outcome_of(&mut self, partition: u32, commit: &Commit, id: CommandId, events: &[Event]) -> Result<(), Violated> {
        for event in events {
            match event {
                Event::Command(CommandEvent::Repeated { of }) => {
                    self.figures.repeated += 1;
                    let first = self.chains[partition as usize].commits.get(of).and_then(|c| c.command.as_ref());
                    if first.is_none_or(|first| first.id != id.0) {
                        return Err(format!("repeats {of}, which answers another command"));
                    }
                }
                Event::Command(CommandEvent::Failed { problem }) if problem.contains("contradicts") || problem.contains("panicked") => {
                    return Err(format!("{id} failed: {problem}"));
                }
                Event::Command(CommandEvent::Refused { .. }) => self.figures.refused += 1,
                Event::Command(_) => {}
                _ => {
                    let place = (partition, commit.seq);
                    if let Some((p, seq)) = self.effects.insert(id, place).filter(|before| *before != place) {
                        return Err(format!("{id} has had its effect at p{p}.{seq}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// A caller was told this outcome: it is on the log and stays there.
    pub fn acknowledge(&mut self, outcome: Outcome) -> Result<(), Violated> {
        self.is_on_log(&outcome)?;
        self.figures.acknowledged += 1;
        self.acknowledged.push(outcome);
        Ok(())
    }

    fn is_on_log(&self, outcome: &Outcome) -> Result<(), Violated> {
        let position = outcome.position;
        let found = self.chains[position.partition as usize].commits.get(&position.seq);
        let said = |commit: &Commit| {
            (commit.epoch, commit.writer, commit.prev, commit.events.iter().map(|e| e.get().to_owned()).collect::<Vec<_>>())
        };
        if found.map(said) == Some(said(&outcome.commit)) {
            Ok(())
        } else {
            Err(format!("{position} was acknowledged and is not what the log says"))
        }
    }

    /// What a decider holds as observed is what the log said up to there.
    pub fn agrees(&self, name: &str, partition: u32, stored: &StoredWriter, observed: &Partition) -> Result<(), Violated> {
        let seq = stored.reader.state.seq;
        let chain = &self.chains[partition as usize];
        let mut fold = chain.folds.range(..=seq).next_back().map_or_else(Partition::default, |(_, fold)| fold.clone());
        fold.shed(observed.gone().0, usize::MAX);
        if seq > chain.seq || fold != *observed {
            return Err(format!("{name} holds something else for p{partition}.{seq} than the log says"));
        }
        Ok(())
    }

    /// Where readers may begin.
    pub fn stored(&self) -> Vec<StoredReader> {
        (0..JOURNAL.all_partitions()).filter_map(|partition| self.tail.stored(partition)).collect()
    }

    /// True when every command and report has its commit.
    pub fn all_answered(&self, network: &Network) -> bool {
        (0..JOURNAL.all_partitions()).all(|p| {
            let next = self.chains[p as usize].next;
            let high = |twin: &journal::twin::Twin| twin.records(p).len() as i64;
            next[Origin::Commands as usize] == high(&network.commands) && next[Origin::Reports as usize] == high(&network.reports)
        })
    }

    /// Reads the whole log again, from its beginning: the same commits, and everything acknowledged among them.
    pub fn read_again(&self, network: &Network) -> Result<(), Violated> {
        let mut again = Self::new(network);
        again.step(&mut Vec::new())?;
        for (p, (chain, other)) in self.chains.iter().zip(&again.chains).enumerate() {
            if chain.fold != other.fold || chain.seq != other.seq {
                return Err(format!("p{p} read again is another chain"));
            }
        }
        self.acknowledged.iter().try_for_each(|outcome| again.is_on_log(outcome))
    }
}
