//! A decider process: the product's turns, taken when the schedule says.

use super::network::{JOURNAL, View};
use chrono::{DateTime, TimeDelta, Utc};
use domain::partition::Partition;
use journal::{
    membership::{Change, Membership},
    twin::{TwinGroup, TwinMembership},
    writer::StoredWriter,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, time::Duration};
use workers::decider::turning::Turning;

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

/// What a decider keeps on its disk.
pub type Disk = BTreeMap<u32, (StoredWriter, Partition)>;

impl DeciderHost {
    pub fn start(name: String, view: View, group: &TwinGroup, disk: &Disk, now: DateTime<Utc>, skew: TimeDelta, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let turning = Turning::start(JOURNAL, view.topics(), |p| disk.get(&p).cloned(), now + skew, &mut random).unwrap();
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
    pub fn snapshots(&self) -> Disk {
        (0..JOURNAL.all_partitions()).filter_map(|p| Some((p, self.turning.engine().snapshot(p)?))).collect()
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
