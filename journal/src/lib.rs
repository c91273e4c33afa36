//! How it is stored and carried: the rule, Kafka, its in-memory twin, checkpoints.
//!
//! The journal is a fenced hash chain on a plain topic. Nothing here needs a transaction or a conditional append: every reader applies one
//! pure rule to the same order of records and so reaches the same verdict about each of them. Read in this order:
//!
//! 1. [`rule`]: one record, one verdict. Everything else exists to feed it.
//! 2. [`follower`]: one partition read from where somebody left off; what is stored of a reader.
//! 3. [`writer`]: what a leader of one partition owes, as steps without I/O; [`silence`]: when it may claim the lead.
//! 4. [`log`]: the narrow trait under which Kafka ([`kafka`]) and its in-memory [`twin`] stand; [`inbox`]: the bounded queues in between.
//! 5. [`tail`]: accepted commits for everybody who does not write; [`caller`]: a command and its outcome for those who ask.
//! 6. [`topics`]: which journal, topic and partition; [`membership`]: who is meant to lead.
//! 7. [`environment`]: time, waiting and chance, for whoever needs them.
//! 8. [`birth`]: making a journal, and refusing one whose settings would lose data.

pub mod birth;
pub mod caller;
#[cfg(feature = "contract")]
pub mod contract;
pub mod environment;
pub mod follower;
pub mod inbox;
pub mod kafka;
pub mod log;
pub mod membership;
pub mod rule;
pub mod silence;
pub mod tail;
pub mod topics;
pub mod twin;
pub mod writer;
