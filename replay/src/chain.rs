//! One partition read again: the rule, then the fold.

use domain::{
    event::Event,
    id::CommandId,
    partition::{Committed, Partition},
};
use journal::{
    follower::{Followed, Follower, NotThisChain},
    log::Stored,
    rule::{ReaderState, VoidReason},
    topics::Journal,
};
use schemas::{
    command::fingerprint,
    event::decode,
    record::{Commit, Header, Origin, Position},
};
use std::collections::BTreeMap;

/// A partition and what was found in it.
pub struct Chain {
    follower: Follower,
    /// What the accepted commits say.
    pub state: Partition,
    /// Takeovers accepted.
    pub takeovers: u64,
    /// Commits accepted.
    pub commits: u64,
    /// Records without effect, by reason.
    pub voids: BTreeMap<String, u64>,
    /// What is wrong; the first is where reading stopped.
    pub problems: Vec<String>,
    next: [i64; 2],
}

/// An accepted commit with its events.
pub struct Read {
    /// Where it is.
    pub position: Position,
    /// The commit.
    pub commit: Commit,
    /// Its events; those that this program does not know are missing.
    pub events: Vec<Event>,
}

impl Chain {
    /// The chain of a partition, nothing read.
    pub fn new(journal: &Journal, partition: u32) -> Result<Self, NotThisChain> {
        Ok(Self {
            follower: Follower::new(journal.genesis(partition), None)?,
            state: Partition::default(),
            takeovers: 0,
            commits: 0,
            voids: BTreeMap::new(),
            problems: Vec::new(),
            next: [0; 2],
        })
    }

    /// All chains of a journal.
    pub fn all(journal: &Journal) -> Result<Vec<Self>, NotThisChain> {
        (0..journal.all_partitions()).map(|partition| Self::new(journal, partition)).collect()
    }

    /// Where it was read to.
    pub fn reader(&self) -> &ReaderState {
        self.follower.state()
    }

    /// Reads the next record. An accepted commit is handed out once it is folded.
    pub fn read(&mut self, stored: &Stored) -> Option<Read> {
        if self.follower.broken().is_some() {
            return None;
        }
        match self.follower.read(stored.offset, &stored.value) {
            Followed::Accepted(Header::Takeover(_)) => self.takeovers += 1,
            Followed::Accepted(Header::Commit(link)) => {
                let commit = link.into_owned();
                return Some(self.fold(commit));
            }
            Followed::Void(reason, _) => *self.voids.entry(name(reason)).or_default() += 1,
            Followed::Broken(broken) => self.problems.push(broken.to_string()),
            Followed::Passed | Followed::Restart => {}
        }
        None
    }

    fn fold(&mut self, commit: Commit) -> Read {
        self.commits += 1;
        let position = self.follower.state().position();
        let mut events = Vec::new();
        for raw in &commit.events {
            match decode(raw) {
                Ok(event) => events.push(event),
                Err(problem) => self.problems.push(format!("{position}: {problem}")),
            }
        }
        if let Some(command) = &commit.command {
            let next = &mut self.next[usize::from(command.origin == Origin::Reports)];
            if command.offset != *next {
                self.problems.push(format!("{position}: answers {:?} {}, the next one was {next}", command.origin, command.offset));
            }
            *next = command.offset + 1;
        }
        let folded = Committed {
            seq: commit.seq,
            time: commit.time,
            command: commit.command.as_ref().map(|c| (CommandId(c.id), fingerprint(&c.digest))),
            events: &events,
        };
        if let Err(impossible) = self.state.apply(folded) {
            self.problems.push(format!("{position}: {impossible}"));
        }
        Read { position, commit, events }
    }

    /// Commands and reports answered.
    pub fn answered(&self) -> [i64; 2] {
        self.next
    }
}

fn name(reason: VoidReason) -> String {
    reason.to_string()
}
