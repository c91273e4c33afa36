//! One partition, read from where somebody left off.
//!
//! What is stored of a reader is its whole [`ReaderState`] and a local [`Hint`] where in this copy of the topic that state was reached. A
//! reader resumes *at* the hinted offset and must find the same record there. Otherwise (another cluster, a topic copied anew, a hint that
//! was never kept) it reads from the start, in silence up to the stored seq, and there its head must be the stored one. So a reader that
//! starts early is always right, none starts late, and whoever stored a state sees each later commit once.

use schemas::record::{Digest, Genesis, Header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::log::ReadFrom;
use crate::rule::{Broken, Read, Reader, ReaderState, VoidReason};

/// What is stored of a reader, by projections beside their rows and by deciders in their snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredReader {
    /// What had been accepted.
    pub state: ReaderState,
    /// Where in this copy of the topic. Only saves time; may be dropped at will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
}

/// Where the last accepted record lay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// The journal that the offset belongs to.
    pub journal: Uuid,
    /// Its Kafka offset.
    pub offset: i64,
    /// The head of the chain before it: behind that, its value must give the stored head. Earlier programs kept a digest of the value, which is
    /// read as a hint that does not hold.
    #[serde(alias = "digest")]
    pub before: Digest,
}

/// A stored state that belongs to another chain than the one to be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored reader is of generation {}, partition {}; the chain is generation {}, partition {}", stored.generation, stored.partition, chain.generation, chain.partition)]
pub struct NotThisChain {
    /// What was stored.
    pub stored: Box<ReaderState>,
    /// What was to be read.
    pub chain: Box<Genesis>,
}

/// What one record brought.
#[derive(Debug)]
pub enum Followed<'a> {
    /// The next link, new to whoever stored the state.
    Accepted(Header<'a>),
    /// No effect.
    Void(VoidReason, Header<'a>),
    /// Known already: read again on the way to the stored state.
    Passed,
    /// The hint did not hold: the partition has to be assigned again from its beginning.
    Restart,
    /// Broken, by this record or before.
    Broken(Broken),
}

/// Reads one partition through the rule; see the module.
#[derive(Debug, Clone)]
pub struct Follower {
    genesis: Genesis,
    reader: Reader,
    resume: Resume,
    hint: Option<Hint>,
    next_offset: i64,
}

#[derive(Debug, Clone)]
enum Resume {
    /// The next record must be the hinted one.
    Expecting(Hint),
    /// Below the stored state, reading in silence.
    Passing(ReaderState),
    /// Level with it or beyond.
    Done,
}

impl Follower {
    /// A follower of the chain that begins with `genesis`, which goes on behind what was stored.
    ///
    /// # Errors
    ///
    /// When the stored state is of another generation or partition.
    pub fn new(genesis: Genesis, stored: Option<StoredReader>) -> Result<Self, NotThisChain> {
        let empty = ReaderState::empty(&genesis);
        let Some(StoredReader { state, hint }) = stored.filter(|stored| stored.state != empty) else {
            return Ok(Self { genesis, reader: Reader::new(empty), resume: Resume::Done, hint: None, next_offset: 0 });
        };
        if (state.generation, state.partition) != (genesis.generation, genesis.partition) {
            return Err(NotThisChain { stored: Box::new(state), chain: Box::new(genesis) });
        }
        Ok(match hint.filter(|hint| hint.journal == genesis.journal) {
            Some(hint) => {
                Self { genesis, reader: Reader::new(state), resume: Resume::Expecting(hint), hint: Some(hint), next_offset: hint.offset }
            }
            None => Self { genesis, reader: Reader::new(empty), resume: Resume::Passing(state), hint: None, next_offset: 0 },
        })
    }

    /// Where the partition has to be assigned now.
    pub fn read_from(&self) -> ReadFrom {
        match self.resume {
            Resume::Passing(_) if self.next_offset == 0 => ReadFrom::Beginning,
            Resume::Done if self.next_offset == 0 => ReadFrom::Beginning,
            _ => ReadFrom::Offset(self.next_offset),
        }
    }

    /// First offset not read yet; to be compared with a high watermark.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// What has been handed out as accepted, or was stored as such.
    pub fn state(&self) -> &ReaderState {
        match &self.resume {
            Resume::Passing(stored) => stored,
            _ => self.reader.state(),
        }
    }

    /// What to store to go on behind [`state`](Self::state).
    pub fn stored(&self) -> StoredReader {
        StoredReader { state: *self.state(), hint: self.hint }
    }

    /// Why it stopped, if it did.
    pub fn broken(&self) -> Option<&Broken> {
        self.reader.broken()
    }

    /// The stored state has been reached: what is accepted from here on is new.
    pub fn is_level(&self) -> bool {
        matches!(self.resume, Resume::Done)
    }

    /// Reads the next record of the partition.
    pub fn read<'a>(&mut self, offset: i64, value: &'a [u8]) -> Followed<'a> {
        if let Resume::Expecting(hint) = self.resume {
            if offset != hint.offset || hint.before.then(value) != self.reader.state().head {
                return self.restart();
            }
            self.resume = Resume::Done;
            self.next_offset = offset + 1;
            return Followed::Passed;
        }
        self.next_offset = offset + 1;
        let before = self.reader.state().head;
        match self.reader.read(offset, value) {
            Read::Accepted(record) => {
                let hint = Hint { journal: self.genesis.journal, offset, before };
                if let Resume::Passing(stored) = self.resume {
                    self.pass(stored, hint)
                } else {
                    self.hint = Some(hint);
                    Followed::Accepted(record)
                }
            }
            Read::Void(..) if !self.is_level() => Followed::Passed,
            Read::Void(reason, record) => Followed::Void(reason, record),
            Read::Broken(broken) => Followed::Broken(broken),
        }
    }

    /// One more record on the way to the stored state: at its seq the two pasts must be the same.
    fn pass(&mut self, stored: ReaderState, hint: Hint) -> Followed<'static> {
        let read = *self.reader.state();
        if read.seq < stored.seq {
            return Followed::Passed;
        }
        if read != stored {
            let reason = format!("the log has another past than was read before: head {} here, {} stored", read.head, stored.head);
            return Followed::Broken(self.reader.stop(Some(hint.offset), reason));
        }
        self.resume = Resume::Done;
        self.hint = Some(hint);
        Followed::Passed
    }

    /// The broker no longer has, or never had, what was to be read next.
    pub fn lost(&mut self, reason: &str) -> Followed<'static> {
        match self.resume {
            Resume::Expecting(_) => self.restart(),
            _ => Followed::Broken(self.reader.stop(Some(self.next_offset), format!("the broker does not have the next record: {reason}"))),
        }
    }

    /// The topic ended at `high` when it was asked. A follower that has read to there and still misses what was stored has found a loss:
    /// what was once accepted had been below a high watermark.
    pub fn ends_at(&mut self, high: i64) -> Option<Followed<'static>> {
        if self.next_offset < high {
            return None;
        }
        match self.resume {
            Resume::Done => None,
            Resume::Expecting(_) => Some(self.restart()),
            Resume::Passing(stored) => {
                let reason = format!("the log ends here, although {} had been read before", stored.position());
                Some(Followed::Broken(self.reader.stop(None, reason)))
            }
        }
    }

    fn restart(&mut self) -> Followed<'static> {
        let stored = *self.reader.state();
        self.reader = Reader::new(ReaderState::empty(&self.genesis));
        self.resume = Resume::Passing(stored);
        self.hint = None;
        self.next_offset = 0;
        Followed::Restart
    }
}

#[cfg(test)]
mod tests;
