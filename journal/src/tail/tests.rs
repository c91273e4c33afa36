use chrono::DateTime;
use schemas::record::{PlatformPosition, WriterId};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::log::Producer as _;
use crate::twin::{Twin, TwinProducer};
use crate::writer::{Draft, Output, Writer};

const JOURNAL: Journal = Journal { id: Uuid::from_u128(1), generation: 1, partitions: 4 };
const PATIENCE: Duration = Duration::from_secs(20);

/// Leads every partition of a topic.
struct Leader {
    twin: Twin,
    producer: Arc<TwinProducer>,
    writers: Vec<Writer>,
}

impl Leader {
    fn new() -> Self {
        let twin = Twin::new(JOURNAL.events(), JOURNAL.all_partitions());
        let writers = (0..JOURNAL.all_partitions()).map(|partition| Writer::new(JOURNAL.genesis(partition), None).unwrap()).collect();
        let mut leader = Self { producer: twin.producer(), twin, writers };
        for partition in 0..JOURNAL.all_partitions() {
            leader.lead(partition, WriterId([partition as u8; 16]));
        }
        leader
    }

    fn lead(&mut self, partition: u32, id: WriterId) {
        let platform = self.writers[JOURNAL.platform() as usize].platform_read();
        let writer = &mut self.writers[partition as usize];
        writer.want(1);
        writer.high_watermark(partition, 1, writer.next_offset());
        writer.high_watermark(JOURNAL.platform(), 1, platform.next_offset);
        let claim = writer.claim(id, platform, DateTime::UNIX_EPOCH).unwrap();
        self.producer.append(partition, None, 0, &claim.value).unwrap();
        self.read(partition);
    }

    fn read(&mut self, partition: u32) {
        let writer = &mut self.writers[partition as usize];
        while let Some(record) = self.twin.record(partition, writer.next_offset()) {
            let mut outputs = Vec::new();
            writer.read(&record, DateTime::UNIX_EPOCH, &mut outputs);
            for output in outputs {
                if let Output::Append(append) = output {
                    self.producer.append(partition, None, 0, &append.value).unwrap();
                }
            }
        }
    }

    fn commit(&mut self, partition: u32, number: u64) {
        let events = vec![RawValue::from_string(number.to_string()).unwrap()];
        let platform = PlatformPosition { generation: 1, seq: 9 };
        let draft = Draft { platform, command: None, actor: None, time: DateTime::UNIX_EPOCH, events };
        let appended = self.writers[partition as usize].append(draft).unwrap();
        self.producer.append(partition, None, 0, &appended.append.value).unwrap();
        self.read(partition);
    }
}

fn open(twin: &Twin, stored: &[StoredReader]) -> Tail {
    Tail::open(twin, &JOURNAL, stored, Capacity::default()).unwrap()
}

/// Everything told until the tail has reached the ends asked for now.
fn told(tail: &mut Tail) -> Vec<TailEvent> {
    let asked = tail.ask_high_watermarks();
    let deadline = Instant::now() + PATIENCE;
    let mut told = Vec::new();
    while !tail.has_reached(asked) {
        assert!(Instant::now() < deadline, "the tail does not reach the ends: {:?}", tail.standing());
        told.extend(tail.next(100, Duration::from_millis(50)));
    }
    told
}

/// The numbers in the commits of a partition.
fn numbers(told: &[TailEvent], partition: u32) -> Vec<u64> {
    let commits = told.iter().filter(|event| event.partition == partition).filter_map(|event| match &event.what {
        Told::Commit(commit) => Some(commit),
        Told::Takeover(_) | Told::Void { .. } | Told::Broken(_) => None,
    });
    commits.flat_map(|commit| &commit.record.events).map(|event| event.get().parse().unwrap()).collect()
}

#[test]
fn commits_of_all_partitions_come_once_and_in_the_order_of_their_chain() {
    let mut leader = Leader::new();
    for number in 0..50 {
        leader.commit(0, number);
        leader.commit(3, number);
    }
    let mut tail = open(&leader.twin, &[]);
    let first = told(&mut tail);
    assert_eq!(numbers(&first, 0), (0..50).collect::<Vec<_>>());
    assert_eq!(numbers(&first, 3), (0..50).collect::<Vec<_>>());
    assert_eq!(numbers(&first, 1), [] as [u64; 0]);
    leader.commit(0, 50);
    assert_eq!(numbers(&told(&mut tail), 0), [50]);
}

#[test]
fn a_tail_that_goes_on_from_what_was_stored_tells_each_commit_once() {
    let mut leader = Leader::new();
    (0..5).for_each(|number| leader.commit(0, number));
    let mut tail = open(&leader.twin, &[]);
    told(&mut tail);
    let stored: Vec<StoredReader> = (0..JOURNAL.all_partitions()).filter_map(|partition| tail.stored(partition)).collect();
    drop(tail);
    (5..8).for_each(|number| leader.commit(0, number));
    assert_eq!(numbers(&told(&mut open(&leader.twin, &stored)), 0), [5, 6, 7]);
    let without_hints: Vec<StoredReader> = stored.iter().map(|stored| StoredReader { hint: None, ..*stored }).collect();
    assert_eq!(numbers(&told(&mut open(&leader.twin, &without_hints)), 0), [5, 6, 7]);
}

#[test]
fn what_is_told_carries_the_reader_to_store_with_it() {
    let mut leader = Leader::new();
    (0..3).for_each(|number| leader.commit(2, number));
    let events = told(&mut open(&leader.twin, &[]));
    let commits: Vec<_> =
        events.iter().filter_map(|event| if let Told::Commit(commit) = &event.what { Some(commit) } else { None }).collect();
    let middle = commits.iter().find(|commit| commit.after.state.partition == 2 && commit.record.seq == 4).unwrap();
    assert_eq!(numbers(&told(&mut open(&leader.twin, &[middle.after])), 2), [2]);
}

#[test]
fn a_broken_partition_is_told_once_and_the_others_go_on() {
    let mut leader = Leader::new();
    (0..4).for_each(|number| leader.commit(1, number));
    let mut records = leader.twin.records(1);
    records.remove(3);
    leader.twin.replace(1, records);
    let mut tail = open(&leader.twin, &[]);
    let events = told(&mut tail);
    assert_eq!(numbers(&events, 1), [0]);
    let broken: Vec<_> = events.iter().filter(|event| matches!(event.what, Told::Broken(_))).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(tail.standing()[1].broken.as_ref().unwrap().after.to_string(), "g1.p1.3");
    leader.commit(2, 7);
    assert_eq!(numbers(&told(&mut tail), 2), [7]);
}

#[test]
fn records_that_retention_removed_are_a_break_and_not_a_late_start() {
    let mut leader = Leader::new();
    (0..4).for_each(|number| leader.commit(1, number));
    leader.twin.forget(1, 3);
    let events = told(&mut open(&leader.twin, &[]));
    assert_eq!(numbers(&events, 1), [] as [u64; 0]);
    assert!(events.iter().any(|event| event.partition == 1 && matches!(event.what, Told::Broken(_))));
}

#[test]
fn void_records_are_told_to_those_who_ask() {
    let mut leader = Leader::new();
    leader.commit(0, 1);
    leader.twin.repeat(leader.producer.wire());
    let mut auditor = open(&leader.twin, &[]).showing_voids();
    let voids =
        |events: &[TailEvent]| events.iter().filter(|event| matches!(event.what, Told::Void { reason: VoidReason::Repeated, .. })).count();
    assert_eq!(voids(&told(&mut auditor)), 1);
    assert_eq!(voids(&told(&mut open(&leader.twin, &[]))), 0);
}

#[test]
fn the_lag_is_the_distance_to_the_high_watermark() {
    let mut leader = Leader::new();
    let mut tail = open(&leader.twin, &[]);
    told(&mut tail);
    assert_eq!(tail.standing()[0].lag, Some(0));
    leader.twin.answer(false);
    let asked = tail.ask_high_watermarks();
    leader.commit(0, 1);
    tail.next(100, Duration::ZERO);
    assert!(!tail.has_reached(asked), "what the broker has not answered is not reached");
}

#[test]
fn a_wake_up_from_another_thread_ends_the_wait() {
    let leader = Leader::new();
    let mut tail = open(&leader.twin, &[]);
    told(&mut tail);
    let waker = tail.waker();
    std::thread::scope(|scope| {
        scope.spawn(move || waker.wake());
        assert!(tail.next(100, PATIENCE).is_empty());
    });
}

#[test]
fn a_topic_or_a_stored_reader_of_another_journal_is_refused() {
    let twin = Twin::new(JOURNAL.events(), 9);
    assert!(matches!(Tail::open(&twin, &JOURNAL, &[], Capacity::default()), Err(TailError::Partitions { found: 9, expected: 5, .. })));
    let twin = Twin::new(JOURNAL.events(), 5);
    let foreign = ReaderState { seq: 3, ..ReaderState::empty(&Journal { generation: 2, ..JOURNAL }.genesis(0)) };
    let stored = [StoredReader { state: foreign, hint: None }];
    assert!(matches!(Tail::open(&twin, &JOURNAL, &stored, Capacity::default()), Err(TailError::NotThisChain(_))));
}
