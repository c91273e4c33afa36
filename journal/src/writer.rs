//! What a leader of one partition owes.
//!
//! The rule decides what a record means; it is complete only with writers that keep these duties:
//!
//! 1. Any doubt (a new process, a new producer): a new writer id and a new takeover. Never two producers in one epoch.
//! 2. No commit before its own takeover was read back accepted; then one at once, which binds everything before it.
//! 3. In order without holes: the [`Producer`](crate::log::Producer)'s duty. Only a suffix of what was appended may be missing.
//! 4. A commit counts when it was read back accepted and is the one appended. Another record in its place: stop, page.
//! 5. Reading another's takeover accepted: stop, forget what was not observed, follow.
//! 6. At most [`UNOBSERVED`] commits appended and not observed.
//! 7. Claim only with a [reason](crate::silence), and only after reading to high watermarks asked for after the decision to claim, here
//!    and on the platform's chain.
//!
//! [`Writer`] is these duties as steps. It does no I/O, reads no clock and draws nothing: records come in, [`Output`]s come out, and whoever
//! drives it hands [`Append`]s to the producer *in the order in which they came out*.
//!
//! ```text
//!                 want, high watermarks, claim            own takeover accepted
//!   Following ───────────────────────────────▶ Taking ───────────────────────────▶ Leading
//!       ▲                                        │ another's takeover accepted,       │ the same, or
//!       └────────────────────────────────────────┴─ or the producer failed ───────────┘
//!   any ──▶ Stopped: the chain is broken, or another record lies where an own one was appended
//! ```

mod lead;
mod past;

use chrono::{DateTime, SubsecRound, Utc};
use schemas::record::{Commit, Digest, Genesis, Header, PlatformPosition, Position, Seen, Takeover, WriterId};
use serde::{Deserialize, Serialize};

use self::lead::Lead;
pub use self::lead::{Append, AppendRefused, Appended, Draft};
pub use self::past::{Answered, GoesBack, Past};
use crate::follower::{Followed, Follower, NotThisChain, StoredReader};
use crate::log::{ReadFrom, Stored};
use crate::rule::{Broken, ReaderState};

/// Commits that may be appended and not yet observed: the same rate as with 20,000, at a twentieth of the latency.
pub const UNOBSERVED: usize = 1_000;

/// What to store to resume a writer (as a follower): belongs into the decider's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredWriter {
    /// The reader.
    pub reader: StoredReader,
    /// What later commits may not go behind.
    pub past: Past,
}

/// A commit of another writer, or of this one before it lost the lead, accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its Kafka offset.
    pub offset: i64,
    /// The commit.
    pub commit: Commit,
    /// The reader behind it.
    pub after: ReaderState,
}

/// What a step brought, in this order.
#[derive(Debug)]
pub enum Output {
    /// Hand this to the producer now.
    Append(Append),
    /// Fold this: it was decided elsewhere. Also what this process had appended and forgotten when it lost the lead comes this way.
    Accepted(Box<Accepted>),
    /// Somebody leads since this record; `own` says whether it is this writer, which may append from now on.
    TakenOver {
        /// The epoch that begins.
        epoch: u64,
        /// Who leads.
        writer: WriterId,
        /// Whether it is this writer.
        own: bool,
        /// Kafka time of the takeover, in milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// An own commit was read back as it was appended. Now it is true, inside and outside. Commits are observed in their order.
    Observed {
        /// Its place.
        position: Position,
        /// Its Kafka offset.
        offset: i64,
        /// Head behind it.
        head: Digest,
    },
    /// The lead, or the claim, is gone. Drop everything that was not observed.
    Deposed {
        /// Why.
        reason: Deposed,
        /// Commits dropped. They may still turn up accepted, and come as [`Output::Accepted`] then.
        dropped: usize,
    },
    /// Assign the partition again, from its beginning: what was stored did not fit this copy of the topic.
    Restart,
    /// Nothing goes on here without a person.
    Stopped(Stopped),
}

/// Why a lead or a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deposed {
    /// Another's takeover was accepted.
    TakenOver,
    /// The producer failed.
    ProducerFailed,
}

/// Why a writer stopped for good. Page somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The chain cannot be read any further.
    #[error(transparent)]
    Broken(Broken),
    /// Somebody writes under this writer's id.
    #[error("{position}: another record was accepted where this writer appended its own, under its own epoch")]
    Impostor {
        /// Where.
        position: Position,
    },
}

/// Why there can be no claim now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimRefused {
    /// It leads, claims already, or has stopped.
    #[error("only a follower can claim")]
    NotFollowing,
    /// Ask for high watermarks, and read to them.
    #[error("the logs have not been read to high watermarks asked for after the decision to claim")]
    NotCaughtUp,
    /// Draw a new one.
    #[error("writer id {0} has been used")]
    WriterIdUsed(WriterId),
}

/// How far the platform's chain has been read by this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformRead {
    /// First offset of the platform's partition not read yet.
    pub next_offset: i64,
    /// Its last accepted position.
    pub position: PlatformPosition,
}

/// What a writer does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It reads.
    Following,
    /// Its takeover is on the way.
    Taking,
    /// It may append.
    Leading,
    /// It does nothing any more.
    Stopped,
}

/// The writer of one partition; see the module.
#[derive(Debug)]
pub struct Writer {
    genesis: Genesis,
    follower: Follower,
    past: Past,
    state: State,
    wish: Option<Wish>,
    last_writer: Option<WriterId>,
}

#[derive(Debug)]
enum State {
    Following,
    Taking(Claim),
    Leading(Lead),
    Stopped,
}

/// A takeover on its way.
#[derive(Debug)]
struct Claim {
    epoch: u64,
    writer: WriterId,
    platform: PlatformPosition,
    time: DateTime<Utc>,
    value: Digest,
}

/// A decision to claim: high watermarks must be asked for after it.
#[derive(Debug)]
struct Wish {
    ask: u64,
    own: Option<i64>,
    platform: Option<i64>,
}

impl Writer {
    /// A writer of the chain that begins with `genesis`, following from where it was stored.
    ///
    /// # Errors
    ///
    /// When the stored reader is of another generation or partition.
    pub fn new(genesis: Genesis, stored: Option<StoredWriter>) -> Result<Self, NotThisChain> {
        let follower = Follower::new(genesis, stored.map(|stored| stored.reader))?;
        let past = stored.map(|stored| stored.past).unwrap_or_default();
        Ok(Self { genesis, follower, past, state: State::Following, wish: None, last_writer: None })
    }

    /// Where the partition has to be assigned: at the beginning of a life and after [`Output::Restart`].
    pub fn read_from(&self) -> ReadFrom {
        self.follower.read_from()
    }

    /// What it does at the moment.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Following => Phase::Following,
            State::Taking(_) => Phase::Taking,
            State::Leading(_) => Phase::Leading,
            State::Stopped => Phase::Stopped,
        }
    }

    /// The reader's state: everything accepted so far.
    pub fn read_state(&self) -> &ReaderState {
        self.follower.state()
    }

    /// First offset not read yet.
    pub fn next_offset(&self) -> i64 {
        self.follower.next_offset()
    }

    /// How far this chain was read, for the claims of others; meaningful for the platform's.
    pub fn platform_read(&self) -> PlatformRead {
        PlatformRead { next_offset: self.next_offset(), position: own_position(self.follower.state()) }
    }

    /// What may be stored now: the observed state, never what was only appended.
    pub fn stored(&self) -> StoredWriter {
        StoredWriter { reader: self.follower.stored(), past: self.past }
    }

    /// The past that the next commit may not go behind: for a leader, including what it has appended.
    pub fn past(&self) -> &Past {
        match &self.state {
            State::Leading(lead) => &lead.past,
            _ => &self.past,
        }
    }

    /// The time to decide at: the clock, or the last commit's time where the clock is behind it. Whole microseconds.
    pub fn time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now = now.trunc_subsecs(6);
        self.past().time.map_or(now, |last| last.max(now))
    }

    /// How many commits may be appended now.
    pub fn room(&self) -> usize {
        match &self.state {
            State::Leading(lead) => UNOBSERVED.saturating_sub(lead.unobserved.len()),
            _ => 0,
        }
    }

    /// How many commits are appended and not observed.
    pub fn unobserved(&self) -> usize {
        match &self.state {
            State::Leading(lead) => lead.unobserved.len(),
            _ => 0,
        }
    }

    /// Decides to claim. Now ask, under this number, for the high watermark of this partition and of the platform's, and tell
    /// [`high_watermark`](Self::high_watermark). An earlier decision is forgotten, and so are the answers to it.
    pub fn want(&mut self, ask: u64) {
        self.wish = Some(Wish { ask, own: None, platform: None });
    }

    /// Whether it was decided to claim, and the claim has not been made.
    pub fn wants(&self) -> bool {
        self.wish.is_some()
    }

    /// An answer from the broker. Answers to other questions and of other partitions change nothing, so all may be told to all writers.
    pub fn high_watermark(&mut self, partition: u32, ask: u64, high: i64) -> Vec<Output> {
        if let Some(wish) = self.wish.as_mut().filter(|wish| wish.ask == ask) {
            if partition == self.genesis.partition {
                wish.own = Some(high);
            }
            if partition == self.genesis.partitions {
                wish.platform = Some(high);
            }
        }
        let mut outputs = Vec::new();
        if partition == self.genesis.partition
            && let Some(found) = self.follower.ends_at(high)
        {
            Self::unusual(&mut self.state, found, &mut outputs);
        }
        outputs
    }

    /// Whether [`claim`](Self::claim) would be allowed.
    pub fn may_claim(&self, platform: PlatformRead) -> bool {
        let read_to = |high: Option<i64>, next: i64| high.is_some_and(|high| next >= high);
        matches!(self.state, State::Following)
            && self.follower.is_level()
            && self.wish.as_ref().is_some_and(|wish| read_to(wish.own, self.next_offset()) && read_to(wish.platform, platform.next_offset))
    }

    /// Claims the lead under a writer id drawn for this claim alone.
    ///
    /// # Errors
    ///
    /// When it is no follower, has not read far enough, or the id is the last one.
    pub fn claim(&mut self, writer: WriterId, platform: PlatformRead, now: DateTime<Utc>) -> Result<Append, ClaimRefused> {
        if !matches!(self.state, State::Following) {
            return Err(ClaimRefused::NotFollowing);
        }
        if !self.may_claim(platform) {
            return Err(ClaimRefused::NotCaughtUp);
        }
        if self.last_writer == Some(writer) {
            return Err(ClaimRefused::WriterIdUsed(writer));
        }
        let read = self.follower.state();
        let epoch = read.epoch + 1;
        let takeover =
            Takeover { epoch, writer, seen: Seen { seq: read.seq, head: read.head }, genesis: (epoch == 1).then_some(self.genesis) };
        let time = self.time(now);
        let value = takeover.encode().expect("a takeover that names its genesis in epoch 1 alone can be encoded");
        self.wish = None;
        self.last_writer = Some(writer);
        self.state = State::Taking(Claim { epoch, writer, platform: platform.position, time, value: Digest::of(&value) });
        Ok(Append { timestamp_ms: time.timestamp_millis(), value: value.into() })
    }

    /// Appends a commit behind everything appended before.
    ///
    /// # Errors
    ///
    /// When it does not lead, has no room, or the draft cannot follow what is there. The writer is unchanged then.
    pub fn append(&mut self, draft: Draft) -> Result<Appended, AppendRefused> {
        let position = self.follower.state().position();
        let State::Leading(lead) = &mut self.state else { return Err(AppendRefused::NotLeading) };
        if lead.unobserved.len() >= UNOBSERVED {
            return Err(AppendRefused::NoRoom);
        }
        let (head, append) = lead.append(draft)?;
        Ok(Appended { position: Position { seq: lead.seq, ..position }, head, append })
    }

    /// Reads the next record of the partition; `now` is only used for the commit that confirms an own takeover.
    pub fn read(&mut self, record: &Stored, now: DateTime<Utc>, outputs: &mut Vec<Output>) {
        if matches!(self.state, State::Stopped) {
            return;
        }
        match self.follower.read(record.offset, &record.value) {
            Followed::Accepted(Header::Takeover(takeover)) => self.taken_over(&takeover, record, now, outputs),
            Followed::Accepted(Header::Commit(link)) => {
                self.past = self.past.after(&link);
                let after = *self.follower.state();
                let position = after.position();
                let State::Leading(lead) = &mut self.state else {
                    outputs.push(Output::Accepted(Box::new(Accepted { offset: record.offset, commit: link.into_owned(), after })));
                    return;
                };
                if lead.unobserved.pop_front() == Some(after.head) {
                    outputs.push(Output::Observed { position, offset: record.offset, head: after.head });
                } else {
                    self.state = State::Stopped;
                    outputs.push(Output::Stopped(Stopped::Impostor { position }));
                }
            }
            found => Self::unusual(&mut self.state, found, outputs),
        }
    }

    /// The broker does not have what was to be read next.
    pub fn lost(&mut self, reason: &str, outputs: &mut Vec<Output>) {
        if !matches!(self.state, State::Stopped) {
            Self::unusual(&mut self.state, self.follower.lost(reason), outputs);
        }
    }

    /// The producer failed: whatever it carried is in doubt, and so is everything that would follow it.
    pub fn producer_failed(&mut self, outputs: &mut Vec<Output>) {
        if matches!(self.state, State::Taking(_) | State::Leading(_)) {
            self.depose(Deposed::ProducerFailed, outputs);
        }
    }

    /// Gives the lead up, e.g. to shut down. What was not observed is forgotten, not withdrawn.
    pub fn follow(&mut self) {
        if !matches!(self.state, State::Stopped) {
            self.state = State::Following;
            self.wish = None;
        }
    }

    fn taken_over(&mut self, takeover: &Takeover, record: &Stored, now: DateTime<Utc>, outputs: &mut Vec<Output>) {
        let read = *self.follower.state();
        let claim = match &self.state {
            State::Taking(claim) if claim.epoch == takeover.epoch && claim.writer == takeover.writer => Some(claim),
            _ => None,
        };
        outputs.push(Output::TakenOver {
            epoch: takeover.epoch,
            writer: takeover.writer,
            own: claim.is_some(),
            timestamp_ms: record.timestamp_ms,
        });
        let Some(claim) = claim else {
            if matches!(self.state, State::Taking(_) | State::Leading(_)) {
                self.depose(Deposed::TakenOver, outputs);
            }
            return;
        };
        if claim.value != Digest::of(&record.value) {
            self.state = State::Stopped;
            outputs.push(Output::Stopped(Stopped::Impostor { position: read.position() }));
            return;
        }
        let own_chain = self.genesis.partition == self.genesis.partitions;
        let platform = if own_chain { own_position(&read) } else { claim.platform };
        let confirmation = Draft {
            platform: platform.max(self.past.platform),
            command: None,
            actor: None,
            time: self.time(claim.time.max(now)),
            events: Vec::new(),
        };
        let (epoch, writer) = (claim.epoch, claim.writer);
        let mut lead = Lead::begin(epoch, writer, &read, self.past);
        let (_, append) = lead.append(confirmation).expect("an empty commit at or behind the past of the chain can be appended");
        self.state = State::Leading(lead);
        outputs.push(Output::Append(append));
    }

    fn depose(&mut self, reason: Deposed, outputs: &mut Vec<Output>) {
        let dropped = self.unobserved();
        self.state = State::Following;
        self.wish = None;
        outputs.push(Output::Deposed { reason, dropped });
    }

    /// What is no accepted record.
    fn unusual(state: &mut State, found: Followed<'_>, outputs: &mut Vec<Output>) {
        match found {
            Followed::Accepted(_) | Followed::Void(..) | Followed::Passed => {}
            Followed::Restart => outputs.push(Output::Restart),
            Followed::Broken(broken) => {
                *state = State::Stopped;
                outputs.push(Output::Stopped(Stopped::Broken(broken)));
            }
        }
    }
}

/// A chain's own position as a platform position; what the platform's commits name.
fn own_position(state: &ReaderState) -> PlatformPosition {
    PlatformPosition { generation: state.generation, seq: state.seq }
}

#[cfg(test)]
mod tests;
