//! The three topics, and the wires between them and the processes.

use chrono::{DateTime, TimeDelta, Utc};
use journal::{
    topics::Journal,
    twin::{ByHand, Twin, WireId},
};
use rand::{RngExt, rngs::StdRng};
use uuid::Uuid;
use workers::decider::shell::Topics;

pub const JOURNAL: Journal = Journal { id: Uuid::from_u128(0x51), generation: 1, partitions: 2 };

/// The topics as the broker has them.
pub struct Network {
    pub events: Twin,
    pub commands: Twin,
    pub reports: Twin,
    /// Until when each wire that stands still does so: its topic, its number.
    still: Vec<(usize, WireId, DateTime<Utc>)>,
}

/// The topics as one process sees them.
#[derive(Clone)]
pub struct View {
    pub events: ByHand,
    pub commands: ByHand,
    pub reports: ByHand,
}

impl Network {
    pub fn new() -> Self {
        let topic = |name: String| {
            let twin = Twin::new(name, JOURNAL.all_partitions());
            twin.hold();
            twin
        };
        Self { events: topic(JOURNAL.events()), commands: topic(JOURNAL.commands()), reports: topic(JOURNAL.reports()), still: Vec::new() }
    }

    pub fn view(&self) -> View {
        View { events: ByHand::new(&self.events), commands: ByHand::new(&self.commands), reports: ByHand::new(&self.reports) }
    }

    fn topics(&self) -> [&Twin; 3] {
        [&self.events, &self.commands, &self.reports]
    }

    /// Each wire that holds something delivers some of it, or nothing.
    pub fn deliver(&mut self, random: &mut StdRng, faults: bool, now: DateTime<Utc>) {
        let topics = [self.events.clone(), self.commands.clone(), self.reports.clone()];
        self.still.retain(|(topic, wire, until)| {
            let stays = faults && *until > now;
            if !stays {
                topics[*topic].pause(*wire, false);
            }
            stays
        });
        for (number, topic) in topics.iter().enumerate() {
            for wire in (0..topic.wires()).map(WireId) {
                let held = topic.on_wire(wire);
                if held == 0 {
                    continue;
                }
                let count = if faults { random.random_range(0..=held + 2) } else { held };
                topic.deliver(wire, count);
                if faults && random.random_ratio(1, 40) {
                    topic.repeat(wire);
                }
                if faults && random.random_ratio(1, 60) {
                    topic.pause(wire, true);
                    self.still.push((number, wire, now + TimeDelta::milliseconds(random.random_range(100..20_000))));
                }
            }
        }
    }

    /// A connection of some process is lost, with what was on its way.
    pub fn cut(&self, random: &mut StdRng) -> Option<String> {
        let topic = self.topics()[random.random_range(0..3)];
        let busy: Vec<WireId> = (0..topic.wires()).map(WireId).filter(|wire| topic.on_wire(*wire) > 0).collect();
        let wire = *busy.get(random.random_range(0..busy.len().max(1)))?;
        let arriving = random.random_range(0..=topic.on_wire(wire));
        topic.fail(wire, arriving);
        Some(format!("wire {} is cut, {arriving} arrive", wire.0))
    }

    /// True when nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.topics().iter().all(|topic| (0..topic.wires()).all(|wire| topic.on_wire(WireId(wire)) == 0))
    }
}

impl View {
    /// Moves what there is to this process, at most so many records of each partition.
    pub fn read(&self, most: usize) {
        self.events.read(most);
        self.commands.read(most);
        self.reports.read(most);
    }

    pub fn topics(&self) -> Topics {
        Topics { events: Box::new(self.events.clone()), commands: Box::new(self.commands.clone()), reports: Box::new(self.reports.clone()) }
    }
}
