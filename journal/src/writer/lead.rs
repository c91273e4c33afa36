//! A lead and what is appended under it.

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use schemas::record::{CommandRef, Commit, Digest, EncodeError, PlatformPosition, Position, WriterId};
use serde_json::value::RawValue;

use super::{GoesBack, Past, UNOBSERVED};
use crate::rule::ReaderState;

/// A record for the producer, on this writer's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The record's Kafka time: for a commit its own, for a takeover that of the claim. Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The record.
    pub value: Bytes,
}

/// Everything that one command decided, before it has a place in the chain.
#[derive(Debug, Clone)]
pub struct Draft {
    /// How far the platform's chain had been folded.
    pub platform: PlatformPosition,
    /// The command that it answers.
    pub command: Option<CommandRef>,
    /// Who asked.
    pub actor: Option<Box<RawValue>>,
    /// When it was decided, see [`Writer::time`](super::Writer::time).
    pub time: DateTime<Utc>,
    /// What happened.
    pub events: Vec<Box<RawValue>>,
}

/// A commit on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its place, if it is accepted.
    pub position: Position,
    /// Head of the chain behind it: what proves, when it is observed, that it is this commit.
    pub head: Digest,
    /// For the producer.
    pub append: Append,
}

/// Why a draft was not appended. Nothing has changed; the lead goes on.
#[derive(Debug, thiserror::Error)]
pub enum AppendRefused {
    /// There is no lead.
    #[error("this writer does not lead")]
    NotLeading,
    /// Observe some first.
    #[error("{UNOBSERVED} commits are not observed yet")]
    NoRoom,
    /// It would go behind the past of the chain.
    #[error(transparent)]
    GoesBack(#[from] GoesBack),
    /// It cannot be a record.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A lead: the chain as it will be once everything appended was accepted.
#[derive(Debug)]
pub(super) struct Lead {
    epoch: u64,
    writer: WriterId,
    pub(super) seq: u64,
    pub(super) head: Digest,
    pub(super) past: Past,
    /// Heads behind the commits not observed, the oldest first; the last of them has `seq`.
    pub(super) unobserved: VecDeque<Digest>,
}

impl Lead {
    /// The lead that begins behind an own takeover, which the reader `read` has just accepted.
    pub(super) fn begin(epoch: u64, writer: WriterId, read: &ReaderState, past: Past) -> Self {
        Self { epoch, writer, seq: read.seq, head: read.head, past, unobserved: VecDeque::new() }
    }

    pub(super) fn append(&mut self, draft: Draft) -> Result<(Digest, Append), AppendRefused> {
        let commit = Commit {
            epoch: self.epoch,
            writer: self.writer,
            seq: self.seq + 1,
            prev: self.head,
            platform: draft.platform,
            command: draft.command,
            actor: draft.actor,
            time: draft.time.trunc_subsecs(6),
            events: draft.events,
        };
        self.past.allows(&commit)?;
        let value = commit.encode()?;
        self.past = self.past.after(&commit);
        self.seq = commit.seq;
        self.head = self.head.then(&value);
        self.unobserved.push_back(self.head);
        Ok((self.head, Append { timestamp_ms: commit.time.timestamp_millis(), value: value.into() }))
    }
}
