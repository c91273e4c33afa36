use std::sync::Arc;

use chrono::DateTime;
use schemas::record::{PlatformPosition, WriterId};

use super::*;
use crate::log::{Log as _, Producer as _};
use crate::topics::Journal;
use crate::twin::Twin;
use crate::writer::{Draft, Output, PlatformRead, Writer};

const JOURNAL: Journal = Journal { id: Uuid::from_u128(1), generation: 1, partitions: 1 };

/// A log of a takeover, its confirmation and `commits` more.
fn log(journal: Journal, commits: usize) -> Twin {
    let twin = Twin::new(journal.events(), journal.all_partitions());
    let producer = twin.producer();
    let mut writer = Writer::new(journal.genesis(0), None).unwrap();
    let platform = PlatformRead { next_offset: 0, position: PlatformPosition { generation: 1, seq: 0 } };
    writer.want(1);
    writer.high_watermark(0, 1, 0);
    writer.high_watermark(1, 1, 0);
    let claim = writer.claim(WriterId([1; 16]), platform, DateTime::UNIX_EPOCH).unwrap();
    producer.append(0, None, 0, &claim.value).unwrap();
    let mut outputs = Vec::new();
    writer.read(&twin.record(0, 0).unwrap(), DateTime::UNIX_EPOCH, &mut outputs);
    for output in outputs {
        if let Output::Append(append) = output {
            producer.append(0, None, 0, &append.value).unwrap();
        }
    }
    for _ in 0..commits {
        let draft = Draft { platform: platform.position, command: None, actor: None, time: DateTime::UNIX_EPOCH, events: Vec::new() };
        producer.append(0, None, 0, &writer.append(draft).unwrap().append.value).unwrap();
    }
    twin
}

/// Reads as far as it goes; says what was accepted, and what ended it.
fn follow(follower: &mut Follower, twin: &Twin) -> (Vec<u64>, Option<Followed<'static>>) {
    let mut accepted = Vec::new();
    while let Some(record) = twin.record(0, follower.next_offset()) {
        match follower.read(record.offset, &record.value) {
            Followed::Accepted(_) => accepted.push(follower.state().seq),
            Followed::Void(..) | Followed::Passed => {}
            Followed::Restart => return (accepted, Some(Followed::Restart)),
            Followed::Broken(broken) => return (accepted, Some(Followed::Broken(broken))),
        }
    }
    let ended = follower.ends_at(twin.watermarks(0).unwrap().high);
    (accepted, ended)
}

/// What a reader had stored after `records` records.
fn stored_after(twin: &Twin, records: usize) -> StoredReader {
    let mut follower = Follower::new(JOURNAL.genesis(0), None).unwrap();
    for record in twin.records(0).iter().take(records) {
        assert!(matches!(follower.read(record.offset, &record.value), Followed::Accepted(_)));
    }
    follower.stored()
}

#[test]
fn a_reader_resumes_at_the_hinted_offset_and_sees_only_what_is_new() {
    let twin = log(JOURNAL, 4);
    let mut follower = Follower::new(JOURNAL.genesis(0), Some(stored_after(&twin, 3))).unwrap();
    assert_eq!(follower.read_from(), ReadFrom::Offset(2));
    let (accepted, ended) = follow(&mut follower, &twin);
    assert_eq!(accepted, [4, 5, 6]);
    assert!(ended.is_none());
}

#[test]
fn without_a_usable_hint_it_reads_from_the_start_and_still_sees_only_what_is_new() {
    let twin = log(JOURNAL, 4);
    let stored = stored_after(&twin, 3);
    let hint = stored.hint.unwrap();
    let other_cluster = Hint { journal: Uuid::from_u128(9), ..hint };
    for hint in [None, Some(other_cluster)] {
        let mut follower = Follower::new(JOURNAL.genesis(0), Some(StoredReader { hint, ..stored })).unwrap();
        assert_eq!(follower.read_from(), ReadFrom::Beginning);
        assert_eq!(follow(&mut follower, &twin).0, [4, 5, 6], "{hint:?}");
    }
}

#[test]
fn a_hint_that_names_another_record_or_none_makes_it_start_again() {
    let twin = log(JOURNAL, 4);
    let stored = stored_after(&twin, 3);
    let hint = stored.hint.unwrap();
    for wrong in [Hint { offset: 1, ..hint }, Hint { before: Digest::of(b"other"), ..hint }, Hint { offset: 6, ..hint }] {
        let mut follower = Follower::new(JOURNAL.genesis(0), Some(StoredReader { hint: Some(wrong), ..stored })).unwrap();
        assert!(matches!(follow(&mut follower, &twin).1, Some(Followed::Restart)), "{wrong:?}");
        assert_eq!(follower.read_from(), ReadFrom::Beginning);
        assert_eq!(*follower.state(), stored.state, "what was stored stays what is known");
        assert_eq!(follow(&mut follower, &twin).0, [4, 5, 6], "{wrong:?}");
    }
}

#[test]
fn an_offset_that_the_broker_does_not_have_makes_it_start_again_and_the_second_time_is_a_loss() {
    let twin = log(JOURNAL, 4);
    let mut follower = Follower::new(JOURNAL.genesis(0), Some(stored_after(&twin, 3))).unwrap();
    assert!(matches!(follower.lost("out of range"), Followed::Restart));
    assert!(matches!(follower.lost("out of range"), Followed::Broken(_)));
}

#[test]
fn a_log_that_ends_before_what_was_stored_is_a_loss() {
    let twin = log(JOURNAL, 4);
    let stored = stored_after(&twin, 5);
    twin.replace(0, twin.records(0).into_iter().take(4));
    let mut follower = Follower::new(JOURNAL.genesis(0), Some(stored)).unwrap();
    assert!(matches!(follow(&mut follower, &twin).1, Some(Followed::Restart)), "the hint is beyond the end");
    let Some(Followed::Broken(broken)) = follow(&mut follower, &twin).1 else { panic!("the loss was not seen") };
    assert!(broken.reason.contains("g1.p0.5 had been read before"), "{broken}");
}

#[test]
fn a_log_with_another_past_than_was_stored_is_broken_even_if_it_is_a_chain_of_its_own() {
    let stored = stored_after(&log(JOURNAL, 4), 5);
    let rewritten = log(JOURNAL, 1);
    let records = rewritten.records(0);
    let head = stored_after(&rewritten, 3).state.head;
    let mut follower =
        Follower::new(JOURNAL.genesis(0), Some(StoredReader { hint: None, state: ReaderState { seq: 3, ..stored.state } })).unwrap();
    assert_ne!(head, stored.state.head);
    assert_eq!(records.len(), 3);
    let Some(Followed::Broken(broken)) = follow(&mut follower, &rewritten).1 else { panic!("another past was taken for the own") };
    assert!(broken.reason.starts_with("the log has another past than was read before"), "{broken}");
}

#[test]
fn what_was_stored_of_another_chain_is_refused() {
    let twin = log(JOURNAL, 1);
    let stored = stored_after(&twin, 2);
    assert!(Follower::new(JOURNAL.genesis(1), Some(stored)).is_err(), "another partition");
    assert!(Follower::new(Journal { generation: 2, ..JOURNAL }.genesis(0), Some(stored)).is_err(), "another generation");
}

#[test]
fn what_is_stored_survives_being_written_down() {
    let stored = stored_after(&log(JOURNAL, 1), 2);
    let text = serde_json::to_string(&stored).unwrap();
    assert_eq!(serde_json::from_str::<StoredReader>(&text).unwrap(), stored);
    let fresh = Follower::new(JOURNAL.genesis(0), None).unwrap().stored();
    let mut follower = Follower::new(JOURNAL.genesis(0), Some(fresh)).unwrap();
    assert!(follower.is_level(), "a reader stored before its first record begins at the beginning");
    let twin = Arc::new(log(JOURNAL, 1));
    assert_eq!(follow(&mut follower, &twin).0, [1, 2, 3]);
}
