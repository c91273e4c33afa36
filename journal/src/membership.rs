//! Who should lead which partition.
//!
//! The consumer group on the commands topic only shares the partitions out among deciders. It says who is *meant* to lead; whether
//! somebody leads is decided by the log alone, so a group that is wrong, late or split costs time and never correctness. Nothing is consumed
//! and no offset is committed through it.

use std::collections::BTreeSet;

/// One process' membership of the group. Dropping it leaves the group, so that the others are given its partitions at once.
pub trait Membership: Send {
    /// What changed since the last call, in order. Never blocks.
    fn changes(&mut self) -> Vec<Change>;

    /// The partitions that are this member's now, as far as it knows.
    fn assigned(&self) -> &BTreeSet<u32>;
}

/// A change of what is this member's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These partitions are its own now: a reason to claim them, once.
    Assigned(Vec<u32>),
    /// These are not any more.
    Revoked(Vec<u32>),
}
