//! Random histories of two or three writers over one log, checked against what the rule promises.
//!
//! Real [`Writer`]s and [`Reader`]s over the in-memory twin; nothing of the rule is written down a second time. Processes crash, pause,
//! resume from what they had stored, pipeline and take over from each other; the network delivers each producer's records in order, may
//! repeat one, and may never deliver a suffix. In every history:
//!
//! - no reader finds the chain broken, and all of them agree;
//! - what was observed is accepted for ever, as it was appended;
//! - removing, altering or swapping any accepted record before the last accepted commit breaks every reader.
//!
//! `CIRRUS_SEEDS=100000 cargo test -p journal --test simulation` tries more, `CIRRUS_FIRST_SEED` begins elsewhere. A failing seed prints its
//! history.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use journal::log::{Log as _, Producer as _, Stored};
use journal::rule::{Read, Reader, ReaderState};
use journal::topics::Journal;
use journal::twin::{Twin, TwinProducer};
use journal::writer::{Append, Draft, Output, Phase, PlatformRead, StoredWriter, Writer};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use schemas::record::{CommandRef, Digest, Header, Origin, PlatformPosition, Record, WriterId};
use serde_json::value::RawValue;
use uuid::Uuid;

const JOURNAL: Journal = Journal { id: Uuid::from_u128(7), generation: 1, partitions: 1 };
const PARTITION: u32 = 0;
const STEPS: usize = 400;
/// Nothing was written to the platform's chain.
const PLATFORM: PlatformRead = PlatformRead { next_offset: 0, position: PlatformPosition { generation: 1, seq: 0 } };

#[test]
fn in_random_histories_no_alarm_is_false_nothing_observed_is_lost_and_no_forgery_is_missed() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (first, seeds) = (number("CIRRUS_FIRST_SEED", 0), number("CIRRUS_SEEDS", 2_000));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let found = std::thread::scope(|scope| {
        let run = |thread| (first + thread..first + seeds).step_by(threads as usize).map(check).fold(Found::default(), Found::plus);
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a history failed")).fold(Found::default(), Found::plus)
    });
    println!("{seeds} histories: {found:?}");
    // A simulation in which nothing happens proves nothing.
    assert!(
        found.accepted > 20 * seeds && found.observed > 3 * seeds && found.forged > 2 * seeds && found.takeovers > 3 * seeds,
        "{found:?}"
    );
}

/// What was seen, so that nobody is fooled by an idle simulation.
#[derive(Debug, Default)]
struct Found {
    accepted: u64,
    takeovers: u64,
    voids: u64,
    observed: u64,
    deposed: u64,
    resumed: u64,
    forged: u64,
}

impl Found {
    fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            takeovers: self.takeovers + other.takeovers,
            voids: self.voids + other.voids,
            observed: self.observed + other.observed,
            deposed: self.deposed + other.deposed,
            resumed: self.resumed + other.resumed,
            forged: self.forged + other.forged,
        }
    }
}

/// One process: what it holds is gone when it crashes, but for what it stored.
struct Process {
    name: usize,
    writer: Writer,
    producer: Arc<TwinProducer>,
    appended: BTreeMap<u64, (i64, Digest)>,
    stored: Option<StoredWriter>,
    paused: bool,
}

struct History {
    random: StdRng,
    twin: Twin,
    processes: Vec<Process>,
    now: DateTime<Utc>,
    drawn: u128,
    commands: i64,
    /// Command to the head behind its commit.
    observed: BTreeMap<i64, Digest>,
    told: String,
    found: Found,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let twin = Twin::new(JOURNAL.events(), JOURNAL.all_partitions());
        twin.hold();
        let start = |name| Process {
            name,
            writer: Writer::new(JOURNAL.genesis(PARTITION), None).unwrap(),
            producer: twin.producer(),
            appended: BTreeMap::new(),
            stored: None,
            paused: false,
        };
        let processes = (0..random.random_range(2..=3)).map(start).collect();
        let told = format!("seed {seed}\n");
        Self {
            random,
            twin,
            processes,
            now: DateTime::UNIX_EPOCH,
            drawn: 0,
            commands: 0,
            observed: BTreeMap::new(),
            told,
            found: Found::default(),
        }
    }

    fn step(&mut self) {
        self.now += TimeDelta::milliseconds(self.random.random_range(-20..100));
        let at = self.random.random_range(0..self.processes.len());
        let action = self.random.random_range(0..1_000);
        if self.processes[at].paused {
            self.processes[at].paused = !self.random.random_bool(0.1);
            return;
        }
        match action {
            0..350 => self.deliver(),
            350..600 => {
                let records = self.random.random_range(1..=4);
                self.read(at, records);
            }
            600..700 => self.claim(at),
            700..900 => self.append(at),
            900..920 => self.processes[at].stored = Some(self.processes[at].writer.stored()),
            920..950 => self.crash(at),
            950..980 => self.processes[at].paused = true,
            _ => self.cut(at),
        }
    }

    fn deliver(&mut self) {
        let busy: Vec<_> = (0..self.twin.wires()).map(journal::twin::WireId).filter(|wire| self.twin.on_wire(*wire) > 0).collect();
        let Some(wire) = busy.choose(&mut self.random).copied() else { return };
        self.twin.deliver(wire, 1);
        let _ = writeln!(self.told, "  wire {} delivers one", wire.0);
        if self.random.random_bool(0.05) {
            self.twin.repeat(wire);
            let _ = writeln!(self.told, "  wire {} delivers it again", wire.0);
        }
    }

    fn read(&mut self, at: usize, records: usize) {
        for _ in 0..records {
            let offset = self.processes[at].writer.next_offset();
            let Some(record) = self.twin.record(PARTITION, offset) else { return };
            let mut outputs = Vec::new();
            self.processes[at].writer.read(&record, self.now, &mut outputs);
            self.obey(at, outputs);
        }
    }

    fn claim(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if process.writer.phase() != Phase::Following {
            return;
        }
        let mut outputs = Vec::new();
        if !process.writer.wants() {
            self.drawn += 1;
            let ask = u64::try_from(self.drawn).unwrap();
            process.writer.want(ask);
            for partition in [PARTITION, JOURNAL.platform()] {
                outputs.extend(process.writer.high_watermark(partition, ask, self.twin.watermarks(partition).unwrap().high));
            }
        }
        if process.writer.may_claim(PLATFORM) {
            self.drawn += 1;
            let append = process.writer.claim(WriterId(self.drawn.to_be_bytes()), PLATFORM, self.now).unwrap();
            let _ = writeln!(self.told, "{}: claims as {}", process.name, self.drawn);
            process.send(&append);
        }
        self.obey(at, outputs);
    }

    fn append(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if process.writer.room() == 0 {
            return;
        }
        self.commands += 1;
        let offset = self.commands;
        let command = CommandRef {
            id: Uuid::from_u128(offset.unsigned_abs().into()),
            kind: "count".into(),
            origin: Origin::Commands,
            generation: 1,
            offset,
            request: "simulated".into(),
            digest: Digest::of(b"count"),
            traceparent: None,
        };
        let draft = Draft {
            platform: PLATFORM.position,
            command: Some(command),
            actor: None,
            time: process.writer.time(self.now),
            events: vec![RawValue::from_string(format!("{{\"counted\":{offset}}}")).unwrap()],
        };
        let appended = process.writer.append(draft).unwrap();
        let _ = writeln!(self.told, "{}: appends {offset} as {}", process.name, appended.position);
        process.appended.insert(appended.position.seq, (offset, appended.head));
        process.send(&appended.append);
    }

    fn crash(&mut self, at: usize) {
        let process = &mut self.processes[at];
        // Half of them have lost what they stored, too.
        let stored = process.stored.filter(|_| self.random.random_bool(0.5));
        self.found.resumed += u64::from(stored.is_some());
        let _ = writeln!(self.told, "{}: crashes, resumes from {:?}", process.name, stored.map(|stored| stored.reader.state.seq));
        process.writer = Writer::new(JOURNAL.genesis(PARTITION), stored).unwrap();
        process.producer = self.twin.producer();
        process.appended.clear();
        if let journal::log::ReadFrom::Beginning = process.writer.read_from() {
            assert_eq!(process.writer.next_offset(), 0);
        }
    }

    fn cut(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let wire = process.producer.wire();
        let arriving = self.random.random_range(0..=self.twin.on_wire(wire));
        let _ = writeln!(self.told, "{}: loses its connection, {arriving} arrive", process.name);
        self.twin.fail(wire, arriving);
        let mut outputs = Vec::new();
        process.writer.producer_failed(&mut outputs);
        process.producer = self.twin.producer();
        self.obey(at, outputs);
    }

    fn obey(&mut self, at: usize, outputs: Vec<Output>) {
        let process = &mut self.processes[at];
        for output in outputs {
            match output {
                Output::Append(append) => process.send(&append),
                Output::Observed { position, head, .. } => {
                    if let Some((command, appended)) = process.appended.remove(&position.seq) {
                        assert_eq!(appended, head, "{} observes something else at {position}\n{}", process.name, self.told);
                        self.observed.insert(command, head);
                        self.found.observed += 1;
                    }
                }
                Output::Deposed { reason, dropped } => {
                    let _ = writeln!(self.told, "{}: deposed, {reason:?}, drops {dropped}", process.name);
                    process.appended.clear();
                    self.found.deposed += 1;
                }
                Output::Restart => panic!("{} cannot find what it had stored\n{}", process.name, self.told),
                Output::Stopped(stopped) => panic!("false alarm of {}: {stopped}\n{}", process.name, self.told),
                Output::Accepted(_) | Output::TakenOver { .. } => {}
            }
        }
    }
}

impl Process {
    fn send(&self, append: &Append) {
        self.producer.append(PARTITION, None, append.timestamp_ms, &append.value).expect("a producer is replaced when it fails");
    }
}

/// What a fresh reader finds.
struct Whole {
    state: ReaderState,
    accepted: Vec<Stored>,
    commits: BTreeMap<i64, Digest>,
    last_commit: usize,
    takeovers: u64,
    voids: u64,
    broken: Option<String>,
}

fn read_all(log: &[Stored]) -> Whole {
    let mut reader = Reader::new(ReaderState::empty(&JOURNAL.genesis(PARTITION)));
    let mut whole = Whole {
        state: *reader.state(),
        accepted: Vec::new(),
        commits: BTreeMap::new(),
        last_commit: 0,
        takeovers: 0,
        voids: 0,
        broken: None,
    };
    for (offset, record) in (0..).zip(log) {
        match reader.read(offset, &record.value) {
            Read::Accepted(header) => {
                match header {
                    Header::Commit(link) => {
                        whole.last_commit = whole.accepted.len();
                        if let Some(command) = link.command {
                            whole.commits.insert(command.offset, reader.state().head);
                        }
                    }
                    Header::Takeover(_) => whole.takeovers += 1,
                }
                whole.accepted.push(record.clone());
            }
            Read::Void(..) => whole.voids += 1,
            Read::Broken(broken) => {
                whole.broken = Some(broken.to_string());
                break;
            }
        }
    }
    whole.state = *reader.state();
    whole
}

fn check(seed: u64) -> Found {
    let mut history = History::new(seed);
    for _ in 0..STEPS {
        history.step();
    }
    history.twin.release();
    // Everybody sees the end, also of what they did not expect to arrive any more.
    history.twin.hold();
    for at in 0..history.processes.len() {
        history.read(at, usize::MAX);
    }
    let log = history.twin.records(PARTITION);
    let whole = read_all(&log);
    let told = || format!("{}\nlog:\n{}", history.told, shown(&log));
    assert_eq!(whole.broken, None, "false alarm\n{}", told());
    for process in &history.processes {
        assert_eq!(*process.writer.read_state(), whole.state, "{} disagrees\n{}", process.name, told());
    }
    for (command, head) in &history.observed {
        assert_eq!(whole.commits.get(command), Some(head), "command {command} was observed and is lost or replaced\n{}", told());
    }
    for _ in 0..if whole.last_commit > 2 { 6 } else { 0 } {
        let (forgery, forged) = forge(&mut history.random, &log, &whole);
        let read = read_all(&forged);
        assert!(read.broken.is_some() || same(&read.accepted, &whole.accepted), "missed: {forgery}\n{}", told());
        history.found.forged += 1;
    }
    history.found.accepted = whole.accepted.len() as u64;
    history.found.takeovers = whole.takeovers;
    history.found.voids = whole.voids;
    history.found
}

fn same(left: &[Stored], right: &[Stored]) -> bool {
    left.iter().map(|record| &record.value).eq(right.iter().map(|record| &record.value))
}

/// Removes, alters or swaps one accepted record before the last accepted commit.
fn forge(random: &mut StdRng, log: &[Stored], whole: &Whole) -> (String, Vec<Stored>) {
    let victim_at = random.random_range(0..whole.last_commit);
    let victim = &whole.accepted[victim_at];
    let mut forged = log.to_vec();
    let kind = *["remove", "alter", "flip a bit of", "swap"].choose(random).unwrap();
    match kind {
        // With all its repetitions: removing one of two equal records changes nothing that counts.
        "remove" => forged.retain(|record| record.value != victim.value),
        "alter" | "flip a bit of" => {
            let altered = if kind == "alter" { altered(victim) } else { flipped(random, victim) };
            for record in forged.iter_mut().filter(|record| record.value == victim.value) {
                record.value = altered.clone().into();
            }
        }
        _ => {
            let next = &whole.accepted[victim_at + 1];
            let place = |wanted: &Stored| log.iter().position(|record| record.value == wanted.value).unwrap();
            forged.swap(place(victim), place(next));
        }
    }
    (format!("{kind} accepted record {victim_at}: {}", String::from_utf8_lossy(&victim.value)), forged)
}

fn altered(victim: &Stored) -> Vec<u8> {
    let altered = match Record::decode(&victim.value).unwrap() {
        Record::Takeover(takeover) => Record::Takeover(schemas::record::Takeover { writer: WriterId([255; 16]), ..takeover }),
        Record::Commit(commit) => {
            let events = vec![RawValue::from_string("{\"forged\":true}".into()).unwrap()];
            Record::Commit(schemas::record::Commit::<Box<RawValue>> { events, ..commit })
        }
    };
    altered.encode().unwrap()
}

fn flipped(random: &mut StdRng, victim: &Stored) -> Vec<u8> {
    let mut value = victim.value.to_vec();
    let at = random.random_range(0..value.len());
    value[at] ^= 1 << random.random_range(0..8);
    value
}

fn shown(log: &[Stored]) -> String {
    let mut seen = BTreeSet::new();
    let line = |record: &Stored| {
        let again = if seen.insert(record.value.clone()) { "" } else { " (again)" };
        format!("{}{again} {}\n", record.offset, String::from_utf8_lossy(&record.value))
    };
    log.iter().map(line).collect()
}
