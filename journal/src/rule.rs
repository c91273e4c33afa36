//! The rule: one record, one verdict.
//!
//! | record | condition, in this order | verdict |
//! |---|---|---|
//! | takeover | epoch <= current | void: lost the race, or late |
//! | takeover | epoch = current + 1 | accepted: its writer leads |
//! | takeover | epoch > current + 1 | broken |
//! | commit | epoch < current | void: the tail of a deposed writer |
//! | commit | epoch > current, or another writer | broken: its takeover is missing |
//! | commit | seq <= since | broken: no leader writes at or below its own takeover |
//! | commit | seq <= current seq | void: a repeated delivery |
//! | commit | seq = current seq + 1 and prev = head | accepted |
//! | anything else, or unreadable | | broken |
//!
//! The first takeover is held against the genesis that the reader expects: the head of the empty chain is the genesis' digest, so the
//! state alone tells whether the takeover belongs to this journal and partition.
//!
//! *Broken* means that a record is missing or was altered, or that somebody wrote who may not. It is final: a broken reader stays broken,
//! and a person decides. Void records are normal; they are what fencing looks like in the log.

use std::fmt;

use schemas::record::{DecodeError, Digest, Genesis, Header, Position, Record, WriterId};
use serde::{Deserialize, Serialize};

/// Everything that a reader of a partition holds of what it has accepted. Always stored whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderState {
    /// Generation of the chain.
    pub generation: u32,
    /// Partition of the chain.
    pub partition: u32,
    /// Epoch of the last accepted takeover; 0 before the first.
    pub epoch: u64,
    /// Writer of that takeover; none before the first.
    pub writer: Option<WriterId>,
    /// Seq of that takeover; before the first, seq of the empty chain.
    pub since: u64,
    /// Number of accepted records, takeovers included, over all generations.
    pub seq: u64,
    /// `SHA-256(head before || value)` of the last accepted record; the genesis' digest before the first.
    pub head: Digest,
}

impl ReaderState {
    /// A reader that has read nothing of the chain that begins with `genesis`.
    pub fn empty(genesis: &Genesis) -> Self {
        Self {
            generation: genesis.generation,
            partition: genesis.partition,
            epoch: 0,
            writer: None,
            since: genesis.seq(),
            seq: genesis.seq(),
            head: genesis.head(),
        }
    }

    /// The last accepted position.
    pub fn position(&self) -> Position {
        Position { generation: self.generation, partition: self.partition, seq: self.seq }
    }

    /// The state after `record`, whose stored bytes are `value`, was accepted.
    #[must_use]
    fn after<J>(&self, record: &Record<J>, value: &[u8]) -> Self {
        let mut after = Self { seq: self.seq + 1, head: self.head.then(value), ..*self };
        if let Record::Takeover(takeover) = record {
            after.epoch = takeover.epoch;
            after.writer = Some(takeover.writer);
            after.since = after.seq;
        }
        after
    }
}

/// What the rule says about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next link of the chain.
    Accepted,
    /// It has no effect, for a reason that is part of normal life.
    Void(VoidReason),
    /// The chain cannot be read any further.
    Broken(Break),
}

/// Why a record has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VoidReason {
    /// Another takeover came first, or this one is a repeated or late delivery.
    #[error("the takeover lost the race or came late")]
    LateTakeover,
    /// Written under an epoch that has ended.
    #[error("the tail of a deposed writer")]
    DeposedWriter,
    /// The same commit again.
    #[error("a repeated delivery")]
    Repeated,
}

/// Which condition of the rule did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// A takeover skipped an epoch.
    #[error("a takeover of epoch {found} follows epoch {current}: the takeovers between are missing")]
    EpochSkipped {
        /// Epoch of the reader.
        current: u64,
        /// Epoch of the record.
        found: u64,
    },
    /// The first takeover belongs to another journal, partition, number of partitions or base.
    #[error("the first takeover names another genesis than this journal's")]
    OtherGenesis,
    /// A commit of an epoch or writer whose takeover was not accepted here.
    #[error("a commit of epoch {epoch} by {writer} without its takeover")]
    TakeoverMissing {
        /// Epoch of the record.
        epoch: u64,
        /// Writer of the record.
        writer: WriterId,
    },
    /// No leader writes at or below its own takeover.
    #[error("a commit with seq {seq}, at or below its own takeover at {since}")]
    BelowTakeover {
        /// Seq of the record.
        seq: u64,
        /// Seq of the takeover.
        since: u64,
    },
    /// Commits between are missing.
    #[error("a commit with seq {found} follows seq {current}")]
    SeqSkipped {
        /// Seq of the reader.
        current: u64,
        /// Seq of the record.
        found: u64,
    },
    /// The commit was written on another past than the one read here.
    #[error("the commit was written after head {found}, this chain has head {head}")]
    OtherPast {
        /// Head of the reader.
        head: Digest,
        /// `prev` of the record.
        found: Digest,
    },
}

/// The rule. Pure: the same state and record give the same verdict to every reader.
pub fn verdict<J>(state: &ReaderState, record: &Record<J>) -> Verdict {
    match record {
        Record::Takeover(takeover) => {
            if takeover.epoch <= state.epoch {
                Verdict::Void(VoidReason::LateTakeover)
            } else if takeover.epoch > state.epoch + 1 {
                Verdict::Broken(Break::EpochSkipped { current: state.epoch, found: takeover.epoch })
            } else if takeover.genesis.is_some_and(|genesis| genesis.head() != state.head) {
                Verdict::Broken(Break::OtherGenesis)
            } else {
                Verdict::Accepted
            }
        }
        Record::Commit(commit) => {
            if commit.epoch < state.epoch {
                Verdict::Void(VoidReason::DeposedWriter)
            } else if commit.epoch > state.epoch || Some(commit.writer) != state.writer {
                Verdict::Broken(Break::TakeoverMissing { epoch: commit.epoch, writer: commit.writer })
            } else if commit.seq <= state.since {
                Verdict::Broken(Break::BelowTakeover { seq: commit.seq, since: state.since })
            } else if commit.seq <= state.seq {
                Verdict::Void(VoidReason::Repeated)
            } else if commit.seq > state.seq + 1 {
                Verdict::Broken(Break::SeqSkipped { current: state.seq, found: commit.seq })
            } else if commit.prev != state.head {
                Verdict::Broken(Break::OtherPast { head: state.head, found: commit.prev })
            } else {
                Verdict::Accepted
            }
        }
    }
}

/// Why a partition cannot be read any further, and where: `g1.p3.48113: ...`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The last position that was accepted.
    pub after: Position,
    /// Kafka offset of the record that broke it, where one did.
    pub offset: Option<i64>,
    /// A sentence for the person who is paged.
    pub reason: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: broken after this position", self.after)?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Broken {}

/// What reading one record brought.
#[derive(Debug)]
pub enum Read<'a> {
    /// The next link; the reader's state has moved behind it.
    Accepted(Header<'a>),
    /// No effect.
    Void(VoidReason, Header<'a>),
    /// The reader was broken by this record or before it.
    Broken(Broken),
}

/// Applies the rule to the records of one partition, in their order.
#[derive(Debug, Clone)]
pub struct Reader {
    state: ReaderState,
    broken: Option<Broken>,
}

impl Reader {
    /// A reader that goes on behind `state`.
    pub fn new(state: ReaderState) -> Self {
        Self { state, broken: None }
    }

    /// What has been accepted.
    pub fn state(&self) -> &ReaderState {
        &self.state
    }

    /// Why it stopped, if it did.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Reads the record with this value as stored; `offset` is only named in messages.
    pub fn read<'a>(&mut self, offset: i64, value: &'a [u8]) -> Read<'a> {
        if let Some(broken) = &self.broken {
            return Read::Broken(broken.clone());
        }
        let record: Header<'a> = match Record::decode(value) {
            Ok(record) => record,
            Err(error) => return Read::Broken(self.stop(Some(offset), unreadable(&error))),
        };
        match verdict(&self.state, &record) {
            Verdict::Accepted => {
                self.state = self.state.after(&record, value);
                Read::Accepted(record)
            }
            Verdict::Void(reason) => Read::Void(reason, record),
            Verdict::Broken(reason) => Read::Broken(self.stop(Some(offset), reason.to_string())),
        }
    }

    /// Stops for a reason outside the rule, e.g. records that the broker no longer has. The first reason stays.
    pub fn stop(&mut self, offset: Option<i64>, reason: String) -> Broken {
        let after = self.state.position();
        self.broken.get_or_insert(Broken { after, offset, reason }).clone()
    }
}

fn unreadable(error: &DecodeError) -> String {
    format!("unreadable: {error}")
}

#[cfg(test)]
mod tests;
