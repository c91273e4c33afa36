//! One partition in one decider.
//!
//! `observed` is what was read back accepted; it alone is stored and shown. `ahead` is the speculation of a leader: the state after each
//! commit that is appended and not observed. The states share structure, so each costs what its commit touched. Losing the lead drops
//! `ahead`; the commands it answered still wait, since a command leaves the queue only when its commit was observed.

use super::{decision::Waiting, tombstones::Kept};
use chrono::{DateTime, Utc};
use domain::partition::{Committed, Partition};
use journal::{
    silence::Reasons,
    writer::{Accepted, Writer},
};
use schemas::{
    command::fingerprint,
    event::{EventError, decode},
    record::{CommandRef, Origin},
};
use std::{collections::VecDeque, sync::Arc};

/// Commands held of one topic and partition. Above, the partition's topic is not read until half of them are gone.
pub const HELD: usize = 2_000;

/// With each commit so many of the gone are forgotten at most that tombstones answer for: little work, and more than a commit can delete.
pub const SHED: usize = 64;

/// A commit that is appended and not observed.
#[derive(Debug)]
pub struct Unobserved {
    /// The state with it.
    pub state: Partition,
    /// The command it answers; none for the confirmation of a takeover.
    pub answers: Option<(Origin, i64)>,
}

/// The commands of one topic that wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many of them have a commit that is not observed.
    decided: usize,
    /// The next offset to be held.
    next: i64,
    /// True while the topic's partition is not read because enough is held.
    paused: bool,
}

impl Queue {
    /// A queue that begins at `next`.
    pub fn from(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Holds a record. True when it is the last one to be held for the time being.
    pub fn push(&mut self, waiting: Waiting) -> bool {
        if waiting.offset < self.next || self.paused {
            return false;
        }
        self.next = waiting.offset + 1;
        self.waiting.push_back(waiting);
        self.paused = self.waiting.len() >= HELD;
        self.paused
    }

    /// From where to read on when enough has gone.
    pub fn resume(&mut self) -> Option<i64> {
        (self.paused && self.waiting.len() <= HELD / 2).then(|| {
            self.paused = false;
            self.next
        })
    }

    /// The next record without a commit.
    pub fn undecided(&self) -> Option<&Waiting> {
        self.waiting.get(self.decided)
    }

    /// It has a commit, appended and not observed.
    pub fn decided(&mut self) {
        self.decided += 1;
    }

    /// The oldest record without an accepted commit.
    pub fn oldest(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everything up to `offset` has an accepted commit.
    fn answered(&mut self, offset: i64) {
        while self.waiting.front().is_some_and(|w| w.offset <= offset) {
            self.waiting.pop_front();
            self.decided = self.decided.saturating_sub(1);
        }
        self.next = self.next.max(offset + 1);
    }
}

/// One partition.
pub struct Chain {
    /// Its number.
    pub partition: u32,
    /// The duties of a leader.
    pub writer: Writer,
    /// When to claim.
    pub reasons: Reasons,
    /// What was read back accepted.
    pub observed: Partition,
    /// What the states have shed of the gone.
    pub tombstones: Arc<dyn Kept>,
    /// What is appended and not observed, oldest first.
    pub ahead: VecDeque<Unobserved>,
    /// Commands and reports that wait.
    pub queues: [Queue; 2],
    /// When the decision to claim was taken, until the claim is made.
    pub wanted_at: Option<DateTime<Utc>>,
    /// Since when the first command waits for the platform's fold.
    pub waits_for_platform: Option<DateTime<Utc>>,
    /// Why nothing goes on here.
    pub halted: Option<String>,
}

/// Why a chain cannot be folded here.
#[derive(Debug, thiserror::Error)]
pub enum Unfoldable {
    /// Written by a later program, or not an event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It contradicts the state.
    #[error(transparent)]
    Impossible(#[from] domain::event::Impossible),
}

impl Chain {
    /// The state that the next command meets.
    pub fn state(&self) -> &Partition {
        self.ahead.back().map_or(&self.observed, |u| &u.state)
    }

    /// The queue of a topic.
    pub fn queue(&mut self, origin: Origin) -> &mut Queue {
        &mut self.queues[origin as usize]
    }

    /// The record that has waited longest, by the time it was written.
    pub fn oldest_wait(&self) -> Option<DateTime<Utc>> {
        self.queues.iter().filter_map(Queue::oldest).map(|w| w.written).min()
    }

    /// The oldest own commit was read back: what it answers is answered.
    pub fn observe(&mut self) -> Option<(Origin, i64)> {
        let Unobserved { state, answers } = self.ahead.pop_front()?;
        self.observed = state;
        self.answered(answers);
        answers
    }

    /// Folds a commit that was decided elsewhere, or here before the lead was lost.
    pub fn follow(&mut self, accepted: &Accepted) -> Result<Option<(Origin, i64)>, Unfoldable> {
        let commit = &accepted.commit;
        let events = commit.events.iter().map(|raw| decode(raw)).collect::<Result<Vec<_>, _>>()?;
        let command = commit.command.as_ref();
        self.observed.apply(Committed {
            seq: commit.seq,
            time: commit.time,
            command: command.map(|c| (domain::id::CommandId(c.id), fingerprint(&c.digest))),
            events: &events,
        })?;
        self.observed.shed(self.tombstones.kept(), SHED);
        let answers = command.map(|c: &CommandRef| (c.origin, c.offset));
        self.answered(answers);
        Ok(answers)
    }

    /// The lead is gone: forget what was not observed; its commands wait again.
    pub fn forget(&mut self) {
        self.ahead.clear();
        self.wanted_at = None;
        for queue in &mut self.queues {
            queue.decided = 0;
        }
    }

    fn answered(&mut self, answers: Option<(Origin, i64)>) {
        if let Some((origin, offset)) = answers {
            self.queue(origin).answered(offset);
        }
    }
}
