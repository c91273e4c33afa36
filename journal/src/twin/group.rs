//! The twin of the consumer group: shares partitions out among members, moving as few as it must.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::membership::{Change, Membership};

/// A group over so many partitions. Clones are handles to the same group.
#[derive(Clone)]
pub struct TwinGroup {
    partitions: u32,
    members: Arc<Mutex<Members>>,
}

#[derive(Default)]
struct Members {
    joined: u64,
    /// What each member was given, and the changes that it has not heard of.
    now: BTreeMap<u64, (BTreeSet<u32>, Vec<Change>)>,
}

/// A member of a [`TwinGroup`].
pub struct TwinMembership {
    group: TwinGroup,
    number: u64,
    assigned: BTreeSet<u32>,
}

impl TwinGroup {
    /// A group without members.
    pub fn new(partitions: u32) -> Self {
        Self { partitions, members: Arc::default() }
    }

    /// Joins; partitions are shared out anew at once.
    pub fn join(&self) -> TwinMembership {
        let mut members = self.lock();
        members.joined += 1;
        let number = members.joined;
        members.now.insert(number, Default::default());
        members.share(self.partitions);
        TwinMembership { group: self.clone(), number, assigned: BTreeSet::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn share(&mut self, partitions: u32) {
        let Some(fair) = (partitions as usize).checked_div(self.now.len()) else { return };
        let extra = partitions as usize % self.now.len();
        let mut free: BTreeSet<u32> = (0..partitions).collect();
        for (rank, (held, changes)) in self.now.values_mut().enumerate() {
            let most = fair + usize::from(rank < extra);
            let given_up: Vec<u32> = held.iter().skip(most).copied().collect();
            held.retain(|partition| !given_up.contains(partition));
            free.retain(|partition| !held.contains(partition));
            if !given_up.is_empty() {
                changes.push(Change::Revoked(given_up));
            }
        }
        for (rank, (held, changes)) in self.now.values_mut().enumerate() {
            let most = fair + usize::from(rank < extra);
            let given: Vec<u32> = free.iter().take(most - held.len()).copied().collect();
            free.retain(|partition| !given.contains(partition));
            held.extend(&given);
            if !given.is_empty() {
                changes.push(Change::Assigned(given));
            }
        }
    }
}

impl Membership for TwinMembership {
    fn changes(&mut self) -> Vec<Change> {
        let changes = self.group.lock().now.get_mut(&self.number).map(|(_, changes)| std::mem::take(changes)).unwrap_or_default();
        for change in &changes {
            match change {
                Change::Assigned(partitions) => self.assigned.extend(partitions),
                Change::Revoked(partitions) => self.assigned.retain(|partition| !partitions.contains(partition)),
            }
        }
        changes
    }

    fn assigned(&self) -> &BTreeSet<u32> {
        &self.assigned
    }
}

impl Drop for TwinMembership {
    fn drop(&mut self) {
        let mut members = self.group.lock();
        members.now.remove(&self.number);
        members.share(self.group.partitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_leaves_hands_its_partitions_to_those_who_stay_and_moves_no_others() {
        let group = TwinGroup::new(5);
        let mut first = group.join();
        assert_eq!(first.changes(), [Change::Assigned(vec![0, 1, 2, 3, 4])]);
        let mut second = group.join();
        assert_eq!(first.changes(), [Change::Revoked(vec![3, 4])]);
        assert_eq!(second.changes(), [Change::Assigned(vec![3, 4])]);
        drop(first);
        assert_eq!(second.changes(), [Change::Assigned(vec![0, 1, 2])]);
        assert_eq!(second.assigned().len(), 5);
    }
}
