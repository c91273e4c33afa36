//! A decider process: the product's turns, taken when the schedule says.

use super::network::{JOURNAL, View};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    id::CommandId,
    partition::{Decided, Partition, Tombstones},
};
use journal::{
    membership::{Change, Membership},
    twin::{TwinGroup, TwinMembership},
    writer::StoredWriter,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use workers::decider::{snapshot::Snapshots, tombstones::Kept, turning::Turning};

pub struct DeciderHost {
    pub name: String,
    view: View,
    turning: Turning,
    membership: TwinMembership,
    skew: TimeDelta,
    random: StdRng,
    /// A zombie until then.
    pub paused_until: DateTime<Utc>,
    told: Vec<Change>,
}

/// What a decider keeps on its disk: snapshots, and the tombstones that they rely on.
#[derive(Clone, Default)]
pub struct Disk(BTreeMap<u32, (StoredWriter, Partition, Arc<Gone>)>);

#[derive(Debug, Default)]
struct Gone(BTreeMap<CommandId, Decided>);

impl Tombstones for Gone {
    fn find(&self, id: CommandId) -> Option<Decided> {
        self.0.get(&id).copied()
    }
}

impl Kept for Gone {
    fn kept(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Snapshots for Disk {
    fn load(&self, partition: u32) -> Option<(StoredWriter, Partition)> {
        self.0.get(&partition).map(|(stored, state, _)| (*stored, state.clone()))
    }

    fn tombstones(&self, partition: u32) -> Arc<dyn Kept> {
        self.0.get(&partition).map_or_else(|| Arc::new(Gone::default()), |(.., gone)| Arc::clone(gone)) as Arc<dyn Kept>
    }

    fn save(&mut self, partition: u32, stored: StoredWriter, mut state: Partition) {
        let mut gone = self.0.remove(&partition).map_or_else(BTreeMap::new, |(.., gone)| gone.0.clone());
        gone.extend(state.gone().1);
        state.shed(gone.len() as u64, usize::MAX);
        self.0.insert(partition, (stored, state, Arc::new(Gone(gone))));
    }
}

impl DeciderHost {
    pub fn start(name: String, view: View, group: &TwinGroup, disk: &Disk, now: DateTime<Utc>, skew: TimeDelta, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let turning = Turning::start(JOURNAL, view.topics(), disk, now + skew, &mut random).unwrap();
        Self { name, view, turning, membership: group.join(), skew, random, paused_until: now, told: Vec::new() }
    }

    /// Somebody tells it that it leads everything, whoever else was told so.
    pub fn told_to_lead(&mut self) {
        self.told.push(Change::Assigned((0..JOURNAL.all_partitions()).collect()));
    }

    /// Its clock is right again, without a restart.
    pub fn correct_clock(&mut self) {
        self.skew = TimeDelta::zero();
    }

    /// One turn with what it happens to have read.
    pub fn turn(&mut self, now: DateTime<Utc>, slow: bool) {
        let (read, taken) = if slow { (self.random.random_range(0..8), self.random.random_range(0..16)) } else { (1_000, 1_000) };
        self.view.read(read);
        let arrivals = self.turning.inbox().receive(0, taken, Duration::ZERO);
        let mut changes = self.membership.changes();
        changes.append(&mut self.told);
        self.turning.turn(arrivals, &changes, now + self.skew, &mut self.random);
    }

    /// What it would store now.
    pub fn snapshots(&self) -> impl Iterator<Item = (u32, (StoredWriter, Partition))> {
        (0..JOURNAL.all_partitions()).filter_map(|p| Some((p, self.turning.engine().snapshot(p)?)))
    }

    /// Why a partition does not go on, if one does not.
    pub fn problem(&self) -> Option<String> {
        self.turning.engine().standing().find_map(|(_, _, _, problem)| problem.map(str::to_owned))
    }

    pub fn waiting(&self) -> usize {
        let figures = self.turning.engine().figures();
        figures.waiting + figures.unobserved
    }
}
