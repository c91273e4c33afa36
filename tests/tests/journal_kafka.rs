//! The journal on a real broker: the contract of a log, birth and its refusals, leads that survive a broker's death, TLS and passwords.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use journal::birth::{self, BirthError, Durability, Warning};
use journal::contract::CASES;
use journal::follower::StoredReader;
use journal::inbox::{Capacity, Inbox};
use journal::kafka::{KafkaLog, KafkaMembership, KafkaSettings, SaslMechanism, SecurityProtocol};
use journal::log::{Consumer, Log, Producer, Source, What};
use journal::membership::{Change, Membership};
use journal::tail::{Tail, Told};
use journal::topics::Journal;
use journal::writer::{Append, Appended, Deposed, Draft, Output, Phase, Writer};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use schemas::record::{PlatformPosition, WriterId};
use serde_json::value::RawValue;
use tests::servers::{Kafka, USER};
use uuid::Uuid;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS: Source = Source(0);

/// A journal with topics of its own: tests share a broker and keep apart by generation.
fn born(kafka: &Kafka, partitions: u32) -> (KafkaSettings, Journal) {
    let settings = KafkaSettings::plaintext(kafka.bootstrap());
    let journal = unborn(partitions);
    birth::create(&settings, &journal, Durability::SINGLE_BROKER).unwrap();
    (settings, journal)
}

fn unborn(partitions: u32) -> Journal {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    Journal { id: Uuid::from_u128(rand::random()), generation: NEXT.fetch_add(1, Ordering::Relaxed), partitions }
}

fn events(settings: &KafkaSettings, journal: &Journal) -> Arc<KafkaLog> {
    Arc::new(KafkaLog::new(settings, &journal.events(), journal.all_partitions()).unwrap())
}

fn clock() -> DateTime<Utc> {
    DateTime::from(std::time::SystemTime::now())
}

/// A process that leads whatever it can.
struct Leader {
    journal: Journal,
    log: Arc<KafkaLog>,
    inbox: Arc<Inbox>,
    consumer: Box<dyn Consumer>,
    producer: Arc<dyn Producer>,
    writers: Vec<Writer>,
    asks: u64,
    /// What was observed, by partition.
    observed: BTreeMap<u32, Vec<u64>>,
    deposed: Vec<(u32, Deposed)>,
}

impl Leader {
    fn start(log: &Arc<KafkaLog>, journal: Journal) -> Self {
        let inbox = Inbox::new(Capacity::default(), 1);
        let consumer = log.open_consumer(EVENTS, &inbox).unwrap();
        let writers: Vec<Writer> =
            (0..journal.all_partitions()).map(|partition| Writer::new(journal.genesis(partition), None).unwrap()).collect();
        for (partition, writer) in (0..).zip(&writers) {
            consumer.assign(partition, writer.read_from());
        }
        let producer = log.open_producer().unwrap();
        let (observed, deposed) = (BTreeMap::new(), Vec::new());
        Self { journal, log: Arc::clone(log), inbox, consumer, producer, writers, asks: 0, observed, deposed }
    }

    /// Claims partitions and turns until it leads them with nothing unobserved.
    fn lead(&mut self, partitions: impl IntoIterator<Item = u32>) {
        let partitions: Vec<u32> = partitions.into_iter().collect();
        self.asks += 1;
        for partition in &partitions {
            self.writers[*partition as usize].want(self.asks);
            self.consumer.ask_high_watermark(*partition, self.asks);
        }
        self.consumer.ask_high_watermark(self.journal.platform(), self.asks);
        self.until("leads", |leader| {
            let platform = leader.writers[leader.journal.platform() as usize].platform_read();
            for partition in &partitions {
                let writer = &mut leader.writers[*partition as usize];
                if writer.may_claim(platform) {
                    let claim = writer.claim(WriterId(rand::random()), platform, clock()).unwrap();
                    leader.send(*partition, &claim);
                }
            }
            partitions.iter().all(|partition| {
                let writer = &leader.writers[*partition as usize];
                writer.phase() == Phase::Leading && writer.unobserved() == 0
            })
        });
    }

    fn commit(&mut self, partition: u32, number: usize) -> Appended {
        let writer = &mut self.writers[partition as usize];
        let events = vec![RawValue::from_string(number.to_string()).unwrap()];
        let platform = PlatformPosition { generation: self.journal.generation, seq: 1_000_000 };
        let draft = Draft { platform, command: None, actor: None, time: writer.time(clock()), events };
        let appended = writer.append(draft).unwrap();
        self.send(partition, &appended.append);
        appended
    }

    fn send(&self, partition: u32, append: &Append) {
        // A failure is seen in the next turn; the record is in doubt either way.
        let _failed = self.producer.append(partition, None, append.timestamp_ms, &append.value);
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "not in time: {what}; observed {:?}, failure {:?}", self.observed, self.producer.failure());
            self.turn();
        }
    }

    fn turn(&mut self) {
        let mut outputs = Vec::new();
        for arrival in self.inbox.receive(0, 1_000, Duration::from_millis(20)) {
            let mut brought = Vec::new();
            match arrival.what {
                What::Stored(record) => self.writers[arrival.partition as usize].read(&record, clock(), &mut brought),
                What::HighWatermark { ask, high } => {
                    for writer in &mut self.writers {
                        brought.extend(writer.high_watermark(arrival.partition, ask, high));
                    }
                }
                What::Lost(reason) => self.writers[arrival.partition as usize].lost(&reason, &mut brought),
            }
            outputs.extend(brought.into_iter().map(|output| (arrival.partition, output)));
        }
        if self.producer.failure().is_some() {
            self.producer = self.log.open_producer().unwrap();
            for (partition, writer) in (0..).zip(&mut self.writers) {
                let mut brought = Vec::new();
                writer.producer_failed(&mut brought);
                outputs.extend(brought.into_iter().map(|output| (partition, output)));
            }
        }
        for (partition, output) in outputs {
            match output {
                Output::Append(append) => self.send(partition, &append),
                Output::Observed { position, .. } => self.observed.entry(partition).or_default().push(position.seq),
                Output::Deposed { reason, .. } => self.deposed.push((partition, reason)),
                Output::Restart | Output::Stopped(_) => panic!("partition {partition}: {output:?}"),
                Output::Accepted(_) | Output::TakenOver { .. } => {}
            }
        }
    }

    fn all_observed(&mut self) {
        self.until("everything observed", |leader| leader.writers.iter().all(|writer| writer.unobserved() == 0));
    }
}

/// Numbers in the commits of each partition, by a reader of its own that begins at `stored`.
fn read_all(log: &KafkaLog, journal: &Journal, stored: &[StoredReader]) -> (BTreeMap<u32, Vec<usize>>, Vec<StoredReader>) {
    let mut tail = Tail::open(log, journal, stored, Capacity::default()).unwrap();
    let asked = tail.ask_high_watermarks();
    let (deadline, mut ask_again) = (Instant::now() + PATIENCE, Instant::now() + Duration::from_secs(1));
    let mut numbers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    while !tail.has_reached(asked) {
        assert!(Instant::now() < deadline, "the tail does not reach the end: {:?}", tail.standing());
        // A question that a broker did not answer, because it was just coming back, is answered by none: a later answer counts for it.
        if Instant::now() > ask_again {
            tail.ask_high_watermarks();
            ask_again = Instant::now() + Duration::from_secs(1);
        }
        for event in tail.next(1_000, Duration::from_millis(100)) {
            match event.what {
                Told::Commit(told) => {
                    let events = told.record.events.iter().map(|event| event.get().parse::<usize>().unwrap());
                    numbers.entry(event.partition).or_default().extend(events);
                }
                Told::Broken(broken) => panic!("{broken}"),
                Told::Takeover(_) | Told::Void { .. } => {}
            }
        }
    }
    let stored = (0..journal.all_partitions()).filter_map(|partition| tail.stored(partition)).collect();
    (numbers, stored)
}

#[test]
fn kafka_keeps_every_promise_of_a_log() {
    let kafka = Kafka::shared();
    for (promise, case) in CASES {
        println!("{promise}");
        let (settings, journal) = born(kafka, 3);
        case(events(&settings, &journal));
    }
}

#[test]
fn one_process_leads_sixty_four_tenants_partitions_and_the_platforms_with_one_producer() {
    let (settings, journal) = born(Kafka::shared(), 64);
    let log = events(&settings, &journal);
    let mut leader = Leader::start(&log, journal);
    leader.lead(0..65);
    for number in 0..20 {
        for partition in 0..65 {
            leader.commit(partition, number);
        }
    }
    leader.all_observed();
    let (numbers, stored) = read_all(&log, &journal, &[]);
    assert_eq!(numbers.len(), 65);
    assert!(numbers.values().all(|numbers| numbers.iter().copied().eq(0..20)));

    // When a reader goes on from what it stored, it sees what is new and nothing else.
    leader.commit(64, 20);
    leader.all_observed();
    assert_eq!(read_all(&log, &journal, &stored).0, BTreeMap::from([(64, vec![20])]));
}

#[test]
fn a_second_process_takes_over_and_the_first_follows_without_loss() {
    let (settings, journal) = born(Kafka::shared(), 3);
    let log = events(&settings, &journal);
    let mut first = Leader::start(&log, journal);
    first.lead([0]);
    (0..500).for_each(|number| drop(first.commit(0, number)));
    let mut second = Leader::start(&log, journal);
    second.lead([0]);
    first.until("deposed", |first| first.deposed == [(0, Deposed::TakenOver)]);
    let observed = first.observed.get(&0).map_or(0, |observed| observed.len() - 1);
    (500..510).for_each(|number| drop(second.commit(0, number)));
    second.all_observed();
    let numbers = &read_all(&log, &journal, &[]).0[&0];
    let (of_first, of_second) = numbers.split_at(numbers.len() - 10);
    assert!(of_first.iter().copied().eq(0..of_first.len()), "only a suffix of the first leader's commits is missing");
    assert!(of_first.len() >= observed, "what was observed is there");
    assert!(of_second.iter().copied().eq(500..510));
}

#[test]
fn a_broker_that_is_killed_under_a_leader_costs_time_and_no_observed_commit() {
    let kafka = Kafka::start();
    let (settings, journal) = born(&kafka, 3);
    let log = events(&settings, &journal);
    let mut leader = Leader::start(&log, journal);
    leader.lead([1]);
    (0..300).for_each(|number| drop(leader.commit(1, number)));
    kafka.kill();
    (300..400).for_each(|number| drop(leader.commit(1, number)));
    kafka.start_again();
    leader.until("everything observed, or deposed", |leader| leader.writers[1].unobserved() == 0);
    let observed = leader.observed[&1].len() - 1;
    if leader.deposed.is_empty() {
        assert_eq!(observed, 400);
    } else {
        leader.lead([1]);
    }
    let numbers = &read_all(&log, &journal, &[]).0[&1];
    assert!(numbers.len() >= observed && numbers.iter().copied().eq(0..numbers.len()), "{observed} observed, {} there", numbers.len());
}

#[test]
fn a_decider_whose_clock_is_ahead_is_refused_by_the_broker_and_its_producer_ends() {
    let (settings, journal) = born(Kafka::shared(), 3);
    let log = events(&settings, &journal);
    let producer = log.open_producer().unwrap();
    producer.append(0, None, (clock() + TimeDelta::seconds(60)).timestamp_millis(), b"from the future").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while producer.failure().is_none() {
        assert!(Instant::now() < deadline, "a record a minute ahead was not refused");
        std::thread::yield_now();
    }
    assert_eq!(log.watermarks(0).unwrap().high, 0);
}

#[test]
fn creating_a_journal_again_completes_and_checks_it_without_changing_anything() {
    let kafka = Kafka::shared();
    let (settings, journal) = born(kafka, 3);
    assert_eq!(birth::identify(&settings, journal.generation).unwrap(), None, "nothing was written yet");
    let log = events(&settings, &journal);
    Leader::start(&log, journal).lead([2]);
    let warnings = birth::create(&settings, &journal, Durability::SINGLE_BROKER).unwrap();
    assert!(warnings.contains(&Warning::NoAuthorizer) && warnings.contains(&Warning::OneReplica { topic: journal.events() }));
    assert_eq!(birth::identify(&settings, journal.generation).unwrap(), Some(journal));
    assert!(!read_all(&log, &journal, &[]).1.is_empty());
}

#[test]
fn a_journal_that_does_not_exist_is_named_with_the_command_that_makes_it() {
    let settings = KafkaSettings::plaintext(Kafka::shared().bootstrap());
    let journal = unborn(3);
    let error = birth::check(&settings, &journal).unwrap_err();
    assert_eq!(error.to_string(), format!("topic {} does not exist; `cirrus journal create` makes it", journal.events()));
}

#[test]
fn topics_that_would_lose_data_or_are_another_journals_are_refused_with_a_sentence_each() {
    let kafka = Kafka::shared();
    let (settings, journal) = born(kafka, 3);
    let log = events(&settings, &journal);
    Leader::start(&log, journal).lead([0]);
    let refusal = |journal: &Journal| match birth::check(&settings, journal) {
        Err(BirthError::Unfit(faults)) => faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("not refused: {other:?}"),
    };

    let other = Journal { id: Uuid::from_u128(rand::random()), ..journal };
    let said = refusal(&other);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(&format!("partition 0 belongs to journal {}, this platform's is {}", journal.id, other.id)), "{said:?}");

    let said = refusal(&Journal { partitions: 8, ..journal });
    assert_eq!(said.len(), 3, "each of the three topics: {said:?}");
    assert!(said[0].contains("it has 4 partitions, and must have 9"), "{said:?}");

    alter(kafka, &journal.events(), "retention.ms", "3600000");
    let said = refusal(&journal);
    assert!(said[0].starts_with(&format!("topic {}: retention.ms is 3600000, and must be -1", journal.events())), "{said:?}");
}

/// Sets one setting of a topic and leaves the others at the broker's defaults.
fn alter(kafka: &Kafka, topic: &str, name: &str, value: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let results = futures::executor::block_on(admin.alter_configs(&[change], &options)).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[test]
fn the_group_shares_partitions_out_and_gives_those_of_a_member_that_leaves_to_the_others() {
    let kafka = Kafka::shared();
    let (settings, journal) = born(kafka, 3);
    let group = kafka.unique("deciders");
    let join = || KafkaMembership::join(&settings, &journal.commands(), &group).unwrap();
    let until = |members: &mut [&mut KafkaMembership], shares: &[usize]| {
        let deadline = Instant::now() + PATIENCE;
        let mut changes: Vec<Change> = Vec::new();
        loop {
            changes.extend(members.iter_mut().flat_map(|member| member.changes()));
            let now: Vec<usize> = members.iter().map(|member| member.assigned().len()).collect();
            if now == shares {
                return changes;
            }
            assert!(Instant::now() < deadline, "shares are {now:?}, {shares:?} were expected");
            std::thread::yield_now();
        }
    };
    let mut first = join();
    until(&mut [&mut first], &[4]);
    let mut second = join();
    until(&mut [&mut first, &mut second], &[2, 2]);
    let kept = first.assigned().clone();
    drop(second);
    let changes = until(&mut [&mut first], &[4]);
    assert!(changes.iter().all(|change| matches!(change, Change::Assigned(_))), "what it had stays: {changes:?}");
    assert!(kept.is_subset(first.assigned()));
}

#[test]
fn every_client_speaks_tls_and_logs_in_where_the_broker_asks_for_it() {
    let kafka = Kafka::secured();
    let settings = KafkaSettings {
        security_protocol: SecurityProtocol::SaslSsl,
        ca_file: Some(kafka.ca_file()),
        sasl_mechanism: Some(SaslMechanism::ScramSha512),
        sasl_user: Some(USER.into()),
        sasl_password_file: Some(kafka.password_file()),
        ..KafkaSettings::plaintext(kafka.bootstrap())
    };
    let journal = unborn(3);
    birth::create(&settings, &journal, Durability::SINGLE_BROKER).unwrap();
    let log = events(&settings, &journal);
    let mut leader = Leader::start(&log, journal);
    leader.lead([0]);
    (0..10).for_each(|number| drop(leader.commit(0, number)));
    leader.all_observed();
    assert_eq!(read_all(&log, &journal, &[]).0[&0], (0..10).collect::<Vec<_>>());

    // Without the authority's certificate, nothing is said to the broker at all.
    let blind = KafkaSettings { ca_file: None, ..settings };
    assert!(events(&blind, &journal).watermarks(0).is_err());
}
