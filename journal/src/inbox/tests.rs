use bytes::Bytes;

use super::*;
use crate::log::Stored;

const JOURNAL: Source = Source(0);
const COMMANDS: Source = Source(1);
const NOW: Duration = Duration::ZERO;

fn record(offset: i64, bytes: usize) -> What {
    What::Stored(Stored { offset, timestamp_ms: 0, key: Bytes::new(), value: vec![0; bytes].into() })
}

fn inbox(records: usize, bytes: usize) -> Arc<Inbox> {
    Inbox::new(Capacity { records, bytes }, 1)
}

fn offsets(arrivals: &[Arrival]) -> Vec<(Source, u32, i64)> {
    let offset = |arrival: &Arrival| if let What::Stored(record) = &arrival.what { record.offset } else { -1 };
    arrivals.iter().map(|arrival| (arrival.source, arrival.partition, offset(arrival))).collect()
}

#[test]
fn a_full_queue_stops_its_partition_only_and_goes_on_when_half_is_gone() {
    let inbox = inbox(4, 1_000);
    let (full, other) = (inbox.begin(JOURNAL, 0), inbox.begin(JOURNAL, 1));
    let took: Vec<bool> = (0..4).map(|offset| inbox.offer(JOURNAL, 0, full, record(offset, 1))).collect();
    assert_eq!(took, [true, true, true, false]);
    assert!(inbox.offer(JOURNAL, 1, other, record(0, 1)), "the other partition has room");
    assert_eq!(inbox.receive(0, 1, NOW).len(), 1);
    assert!(!inbox.wants_more(JOURNAL, 0), "three of four are left");
    inbox.receive(0, 10, NOW);
    assert!(inbox.wants_more(JOURNAL, 0));
}

#[test]
fn a_queue_is_full_by_bytes_as_well() {
    let inbox = inbox(100, 10);
    let session = inbox.begin(JOURNAL, 0);
    assert!(inbox.offer(JOURNAL, 0, session, record(0, 9)));
    assert!(!inbox.offer(JOURNAL, 0, session, record(1, 9)));
    inbox.receive(0, 10, NOW);
    assert!(inbox.wants_more(JOURNAL, 0));
}

#[test]
fn partitions_take_turns_and_each_keeps_its_order() {
    let inbox = inbox(1_000, 1_000);
    let (busy, calm) = (inbox.begin(JOURNAL, 0), inbox.begin(COMMANDS, 0));
    for offset in 0..200 {
        inbox.offer(JOURNAL, 0, busy, record(offset, 1));
    }
    inbox.offer(COMMANDS, 0, calm, record(7, 1));
    let arrivals = offsets(&inbox.receive(0, 100, NOW));
    assert!(arrivals.contains(&(COMMANDS, 0, 7)), "the calm queue does not wait for the busy one");
    let journal: Vec<i64> = arrivals.iter().filter(|arrival| arrival.0 == JOURNAL).map(|arrival| arrival.2).collect();
    assert!(journal.is_sorted());
}

#[test]
fn a_new_assignment_discards_what_an_earlier_one_brought_and_still_brings() {
    let inbox = inbox(4, 1_000);
    let earlier = inbox.begin(JOURNAL, 0);
    inbox.offer(JOURNAL, 0, earlier, record(1, 1));
    let later = inbox.begin(JOURNAL, 0);
    inbox.offer(JOURNAL, 0, earlier, record(2, 1));
    inbox.offer(JOURNAL, 0, later, record(3, 1));
    assert_eq!(offsets(&inbox.receive(0, 10, NOW)), [(JOURNAL, 0, 3)]);
}

#[test]
fn a_wake_up_ends_a_wait_also_when_it_comes_first() {
    let inbox = inbox(4, 1_000);
    inbox.wake(0);
    assert!(inbox.receive(0, 10, Duration::from_secs(60)).is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| inbox.wake(0));
        assert!(inbox.receive(0, 10, Duration::from_secs(60)).is_empty());
    });
}

#[test]
fn each_lane_gets_its_partitions_and_nothing_else() {
    let inbox = Inbox::new(Capacity::default(), 2);
    for partition in 0..4 {
        let session = inbox.begin(JOURNAL, partition);
        inbox.offer(JOURNAL, partition, session, record(0, 1));
    }
    let partitions = |lane| inbox.receive(lane, 10, NOW).iter().map(|arrival| arrival.partition).collect::<Vec<_>>();
    assert_eq!(partitions(0), [0, 2]);
    assert_eq!(partitions(1), [1, 3]);
}
