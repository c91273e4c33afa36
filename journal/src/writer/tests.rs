use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use schemas::record::{CommandRef, Origin, Record};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::log::{Log as _, Producer as _};
use crate::topics::Journal;
use crate::twin::{Twin, TwinProducer};

const JOURNAL: Journal = Journal { id: Uuid::from_u128(1), generation: 1, partitions: 4 };
const PARTITION: u32 = 2;
const A: WriterId = WriterId([0xa; 16]);
const B: WriterId = WriterId([0xb; 16]);

/// A writer, its producer, and everything that came out of it.
struct Process {
    writer: Writer,
    producer: Arc<TwinProducer>,
    twin: Twin,
    outputs: Vec<Output>,
    asks: u64,
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_000_000).unwrap()
}

fn platform(next_offset: i64, seq: u64) -> PlatformRead {
    PlatformRead { next_offset, position: PlatformPosition { generation: 1, seq } }
}

fn command(offset: i64) -> CommandRef {
    CommandRef {
        id: Uuid::from_u128(offset.unsigned_abs().into()),
        kind: "count".into(),
        origin: Origin::Commands,
        generation: 1,
        offset,
        request: "r".into(),
        digest: Digest::of(b""),
        traceparent: None,
    }
}

fn draft(offset: i64) -> Draft {
    let events = vec![RawValue::from_string(format!("{{\"counted\":{offset}}}")).unwrap()];
    Draft { platform: platform(0, 0).position, command: Some(command(offset)), actor: None, time: now(), events }
}

fn topic() -> Twin {
    Twin::new(JOURNAL.events(), JOURNAL.all_partitions())
}

impl Process {
    fn start(twin: &Twin) -> Self {
        let writer = Writer::new(JOURNAL.genesis(PARTITION), None).unwrap();
        Self { writer, producer: twin.producer(), twin: twin.clone(), outputs: Vec::new(), asks: 0 }
    }

    /// A process that leads, with its confirmation observed.
    fn leading(twin: &Twin, writer: WriterId) -> Self {
        let mut process = Self::start(twin);
        process.read();
        process.claim(writer);
        process.read();
        process.outputs.clear();
        assert_eq!(process.writer.phase(), Phase::Leading);
        assert_eq!(process.writer.unobserved(), 0);
        process
    }

    fn want(&mut self) {
        self.asks += 1;
        self.writer.want(self.asks);
        for partition in [PARTITION, JOURNAL.platform()] {
            let high = self.twin.watermarks(partition).unwrap().high;
            self.writer.high_watermark(partition, self.asks, high);
        }
    }

    fn claim(&mut self, writer: WriterId) {
        self.want();
        let append = self.writer.claim(writer, platform(0, 0), now()).unwrap();
        self.producer.append(PARTITION, None, append.timestamp_ms, &append.value).unwrap();
    }

    fn append(&mut self, draft: Draft) -> Appended {
        let appended = self.writer.append(draft).unwrap();
        self.producer.append(PARTITION, None, appended.append.timestamp_ms, &appended.append.value).unwrap();
        appended
    }

    /// Reads one record, if there is one.
    fn read_one(&mut self) -> bool {
        let Some(record) = self.twin.record(PARTITION, self.writer.next_offset()) else { return false };
        let before = self.outputs.len();
        self.writer.read(&record, now(), &mut self.outputs);
        for output in &self.outputs[before..] {
            if let Output::Append(append) = output {
                self.producer.append(PARTITION, None, append.timestamp_ms, &append.value).unwrap();
            }
        }
        true
    }

    /// Reads to the end, appending what comes out.
    fn read(&mut self) {
        while self.read_one() {}
    }

    fn observed(&self) -> Vec<u64> {
        let observed = |output: &Output| if let Output::Observed { position, .. } = output { Some(position.seq) } else { None };
        self.outputs.iter().filter_map(observed).collect()
    }

    fn accepted(&self) -> Vec<u64> {
        let accepted = |output: &Output| if let Output::Accepted(accepted) = output { Some(accepted.after.seq) } else { None };
        self.outputs.iter().filter_map(accepted).collect()
    }

    fn deposed(&self) -> Option<(Deposed, usize)> {
        self.outputs
            .iter()
            .find_map(|output| if let Output::Deposed { reason, dropped } = output { Some((*reason, *dropped)) } else { None })
    }

    fn stopped(&self) -> Option<&Stopped> {
        self.outputs.iter().find_map(|output| if let Output::Stopped(stopped) = output { Some(stopped) } else { None })
    }
}

#[test]
fn a_claim_is_refused_until_both_logs_were_read_to_high_watermarks_asked_for_after_the_decision() {
    let twin = topic();
    let mut leader = Process::leading(&twin, A);
    leader.append(draft(1));
    let mut process = Process::start(&twin);
    let refused = |process: &mut Process, platform| process.writer.claim(B, platform, now()).unwrap_err();

    assert_eq!(refused(&mut process, platform(0, 0)), ClaimRefused::NotCaughtUp, "nothing was asked");
    process.writer.high_watermark(PARTITION, 7, 0);
    process.writer.high_watermark(JOURNAL.platform(), 7, 0);
    assert_eq!(refused(&mut process, platform(0, 0)), ClaimRefused::NotCaughtUp, "the answers were asked for before the decision");
    process.writer.want(8);
    process.writer.high_watermark(PARTITION, 8, 3);
    assert_eq!(refused(&mut process, platform(0, 0)), ClaimRefused::NotCaughtUp, "the platform's answer is missing");
    process.writer.high_watermark(JOURNAL.platform(), 8, 5);
    assert_eq!(refused(&mut process, platform(5, 5)), ClaimRefused::NotCaughtUp, "the partition was not read");
    process.read();
    assert_eq!(refused(&mut process, platform(4, 4)), ClaimRefused::NotCaughtUp, "the platform's chain was not read");
    assert!(process.writer.claim(B, platform(5, 5), now()).is_ok());
    assert_eq!(process.writer.phase(), Phase::Taking);
}

#[test]
fn nothing_is_appended_before_the_own_takeover_was_read_back_and_then_a_confirmation_at_once() {
    let twin = topic();
    let mut process = Process::start(&twin);
    process.claim(A);
    assert!(matches!(process.writer.append(draft(1)), Err(AppendRefused::NotLeading)));
    assert!(process.read_one());
    assert!(matches!(&process.outputs[..], [Output::TakenOver { epoch: 1, own: true, .. }, Output::Append(_)]));
    let confirmation: Record = Record::decode(&twin.records(PARTITION)[1].value).unwrap();
    assert!(matches!(confirmation, Record::Commit(commit) if commit.command.is_none() && commit.events.is_empty() && commit.seq == 2));
    assert!(process.writer.append(draft(1)).is_ok(), "commits may follow before the confirmation is observed");
}

#[test]
fn a_commit_counts_only_when_it_was_read_back() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    twin.hold();
    let (first, second) = (process.append(draft(1)), process.append(draft(2)));
    process.read();
    assert_eq!(process.observed(), [] as [u64; 0]);
    twin.deliver(process.producer.wire(), 1);
    process.read();
    assert_eq!(process.observed(), [first.position.seq]);
    assert_eq!(process.writer.stored().reader.state.head, first.head, "only what was observed is stored");
    twin.release();
    process.read();
    assert_eq!(process.observed(), [first.position.seq, second.position.seq]);
    assert_eq!(process.writer.stored().reader.state.head, second.head);
}

#[test]
fn another_takeover_deposes_a_leader_and_what_it_had_not_observed_is_void() {
    let twin = topic();
    let mut old = Process::leading(&twin, A);
    let mut new = Process::start(&twin);
    new.read();
    twin.pause(old.producer.wire(), true);
    old.append(draft(1));
    old.append(draft(2));
    new.claim(B);
    new.read();
    twin.pause(old.producer.wire(), false);
    old.read();
    new.read();
    assert_eq!(old.deposed(), Some((Deposed::TakenOver, 2)));
    assert!(matches!(old.writer.append(draft(1)), Err(AppendRefused::NotLeading)));
    assert_eq!(old.observed(), [] as [u64; 0]);
    assert_eq!(old.accepted(), [4], "it follows: the new leader's confirmation");
    assert_eq!(old.writer.read_state(), new.writer.read_state());
}

#[test]
fn of_two_claims_the_first_in_the_log_wins_and_the_other_follows() {
    let twin = topic();
    twin.hold();
    let (mut first, mut second) = (Process::start(&twin), Process::start(&twin));
    first.claim(A);
    second.claim(B);
    twin.deliver(second.producer.wire(), 1);
    twin.release();
    first.read();
    second.read();
    first.read();
    assert_eq!(second.writer.phase(), Phase::Leading);
    assert_eq!(first.writer.phase(), Phase::Following);
    assert_eq!(first.deposed(), Some((Deposed::TakenOver, 0)));
    assert!(first.stopped().is_none(), "the lost claim is void, not a break");
}

#[test]
fn a_failed_producer_ends_the_lead_and_a_new_claim_needs_a_new_writer_id() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    twin.hold();
    process.append(draft(1));
    process.append(draft(2));
    twin.fail(process.producer.wire(), 1);
    twin.release();
    process.writer.producer_failed(&mut process.outputs);
    assert_eq!(process.deposed(), Some((Deposed::ProducerFailed, 2)));
    process.producer = twin.producer();
    process.read();
    assert_eq!(process.accepted(), [3], "what had arrived comes back as somebody's commit");
    process.want();
    assert_eq!(process.writer.claim(A, platform(0, 0), now()).unwrap_err(), ClaimRefused::WriterIdUsed(A));
    process.claim(B);
    process.read();
    assert_eq!(process.writer.phase(), Phase::Leading);
}

#[test]
fn another_record_in_the_place_of_an_own_commit_stops_the_writer() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    let before = twin.records(PARTITION).len();
    process.append(draft(1));
    let mut forged = twin.records(PARTITION);
    let mut commit = match Record::<Box<RawValue>>::decode(&forged[before].value).unwrap() {
        Record::Commit(commit) => commit,
        Record::Takeover(_) => unreachable!("the last record is the commit"),
    };
    commit.events = vec![RawValue::from_string("{\"forged\":1}".into()).unwrap()];
    forged[before].value = commit.encode().unwrap().into();
    twin.replace(PARTITION, forged);
    process.read();
    let position = Position { generation: 1, partition: PARTITION, seq: 3 };
    assert_eq!(process.stopped(), Some(&Stopped::Impostor { position }));
    assert_eq!(process.writer.phase(), Phase::Stopped);
    process.want();
    assert!(process.writer.claim(B, platform(0, 0), now()).is_err(), "it does nothing any more");
}

#[test]
fn a_missing_record_stops_a_follower_and_names_the_position() {
    let twin = topic();
    let mut leader = Process::leading(&twin, A);
    for offset in 1..=3 {
        leader.append(draft(offset));
    }
    let mut records = twin.records(PARTITION);
    records.remove(3);
    twin.replace(PARTITION, records);
    let mut follower = Process::start(&twin);
    follower.read();
    let Some(Stopped::Broken(broken)) = follower.stopped() else { panic!("the loss was not seen") };
    assert_eq!(broken.after.to_string(), "g1.p2.3");
}

#[test]
fn at_most_a_thousand_commits_are_unobserved() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    assert_eq!(process.writer.room(), UNOBSERVED);
    for offset in 1..=1_000 {
        process.append(draft(offset));
    }
    assert_eq!(process.writer.room(), 0);
    assert!(matches!(process.writer.append(draft(1_001)), Err(AppendRefused::NoRoom)));
    process.read_one();
    assert_eq!(process.writer.room(), 1);
}

#[test]
fn a_draft_that_goes_behind_the_past_is_refused_and_the_lead_goes_on() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    process.append(Draft { platform: platform(0, 5).position, ..draft(7) });
    let later = |offset| Draft { platform: platform(0, 5).position, ..draft(offset) };
    let refusals = [
        ("an earlier time", Draft { time: now() - TimeDelta::microseconds(1), ..later(8) }),
        ("an earlier platform position", Draft { platform: platform(0, 4).position, ..later(8) }),
        ("a command that has its commit", later(7)),
        ("a command before that", later(3)),
    ];
    for (what, draft) in refusals {
        assert!(matches!(process.writer.append(draft), Err(AppendRefused::GoesBack(_))), "{what}");
    }
    let report = CommandRef { origin: Origin::Reports, ..command(1) };
    process.append(Draft { command: Some(report), ..later(0) });
    process.append(later(8));
    process.read();
    assert_eq!(process.observed(), [3, 4, 5]);
    assert_eq!(process.writer.past().next_offset(Origin::Commands, 1), 9);
    assert_eq!(process.writer.past().next_offset(Origin::Reports, 1), 2);
    assert_eq!(process.writer.past().next_offset(Origin::Commands, 2), 0, "each generation has its own commands, read from their start");
}

#[test]
fn a_chains_time_never_goes_back_when_the_clock_does() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    let late = now() + TimeDelta::seconds(9);
    process.append(Draft { time: process.writer.time(late), ..draft(1) });
    assert_eq!(process.writer.time(now()), late);
    process.read();
    let mut next = Process::leading(&twin, B);
    next.append(Draft { time: next.writer.time(now()), ..draft(2) });
    let times: Vec<_> = twin.records(PARTITION).iter().map(|record| record.timestamp_ms).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_writer_that_resumes_from_what_it_stored_knows_which_commands_have_their_commit() {
    let twin = topic();
    let mut process = Process::leading(&twin, A);
    process.append(draft(1));
    process.read();
    let stored: StoredWriter = serde_json::from_str(&serde_json::to_string(&process.writer.stored()).unwrap()).unwrap();
    process.append(draft(2));
    process.append(draft(3));
    let mut resumed = Process::start(&twin);
    resumed.writer = Writer::new(JOURNAL.genesis(PARTITION), Some(stored)).unwrap();
    assert_eq!(resumed.writer.read_from(), ReadFrom::Offset(2));
    resumed.read();
    assert_eq!(resumed.accepted(), [4, 5]);
    assert_eq!(resumed.writer.past().next_offset(Origin::Commands, 1), 4);
}

#[test]
fn a_leader_of_the_platforms_chain_names_its_own_past_as_platform_position() {
    let twin = topic();
    let mut process = Process::start(&twin);
    process.writer = Writer::new(JOURNAL.genesis(JOURNAL.platform()), None).unwrap();
    process.writer.want(1);
    process.writer.high_watermark(JOURNAL.platform(), 1, 0);
    let claim = process.writer.claim(A, process.writer.platform_read(), now()).unwrap();
    let record = Stored { offset: 0, timestamp_ms: claim.timestamp_ms, key: Bytes::new(), value: claim.value };
    process.writer.read(&record, now(), &mut process.outputs);
    let Some(Output::Append(append)) = process.outputs.last() else { panic!("no confirmation") };
    let Record::<Box<RawValue>>::Commit(confirmation) = Record::decode(&append.value).unwrap() else { panic!("no commit") };
    assert_eq!(confirmation.platform, PlatformPosition { generation: 1, seq: 1 });
}
