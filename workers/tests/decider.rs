//! Deciders over the in-memory log: what a caller notices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use chrono::{TimeDelta, Utc};
use domain::{
    catalogue::Service,
    command::Command,
    event::{CommandEvent, Event},
    id::{CommandId, TenantId},
    people::{Actor, Principal},
    refusal::Refusal,
    resource::ResourceEvent,
    tenant::TenantEvent,
};
use journal::{
    caller::{Caller, Outcome},
    inbox::Capacity,
    tail::{Tail, Told},
    topics::Journal,
    twin::{Twin, TwinGroup},
};
use schemas::{
    command::CommandRecord,
    event::decode,
    record::{Digest, Origin},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use uuid::Uuid;
use workers::decider::{
    shell::{Decider, Topics},
    snapshot::NoSnapshots,
};

const DEADLINE: Duration = Duration::from_secs(20);

struct Cloud {
    journal: Journal,
    events: Twin,
    commands: Twin,
    reports: Twin,
    group: TwinGroup,
    caller: Caller,
}

fn principal(subject: &str) -> Principal {
    Principal { issuer: "https://issuer.test".into(), subject: subject.into() }
}

fn server() -> Service {
    serde_json::from_value(serde_json::json!({
        "name": "server", "version": 1, "title": "Server", "driver": "simulated", "levels": {"cell": true, "tenant": true}, "zonal": false,
        "dimensions": [{"dimension": "servers", "unit": "1", "meaning": "machines"}],
        "deadlines": {"create_s": 60, "change_s": 60, "delete_s": 60}, "spec": {}
    }))
    .unwrap()
}

impl Cloud {
    fn new(partitions: u32) -> Self {
        let journal = Journal { id: Uuid::new_v4(), generation: 1, partitions };
        let topic = |name: String| Twin::new(name, journal.all_partitions());
        let (events, commands, reports) = (topic(journal.events()), topic(journal.commands()), topic(journal.reports()));
        let tail = Tail::open(&events, &journal, &[], Capacity::default()).unwrap();
        let caller = Caller::start(journal, &commands, Some(&reports), tail, |_| {}).unwrap();
        Self { journal, events, commands, reports, group: TwinGroup::new(journal.all_partitions()), caller }
    }

    fn decider(&self) -> Decider {
        let topics = Topics {
            events: Box::new(self.events.clone()),
            commands: Box::new(self.commands.clone()),
            reports: Box::new(self.reports.clone()),
        };
        Decider::start(self.journal, topics, Box::new(self.group.join()), Box::new(NoSnapshots)).unwrap()
    }

    fn record(&self, id: Uuid, tenant: Option<TenantId>, who: &str, command: Command) -> CommandRecord {
        CommandRecord {
            id: CommandId(id),
            tenant,
            actor: Actor::Principal(principal(who)),
            digest: Digest::of(&serde_json::to_vec(&command).unwrap()),
            request: Uuid::new_v4().to_string(),
            traceparent: None,
            at: None,
            expires: Utc::now() + TimeDelta::seconds(60),
            after_platform: 0,
            command,
        }
    }

    async fn send(&self, origin: Origin, record: CommandRecord) -> (Outcome, Vec<Event>) {
        let kind = record.command.kind();
        let outcome = tokio::time::timeout(DEADLINE, self.caller.call(origin, &record).outcome()).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{kind} was not answered")).unwrap();
        let events = outcome.commit.events.iter().map(|raw| decode(raw).unwrap()).collect();
        (outcome, events)
    }

    async fn ask(&self, tenant: Option<TenantId>, who: &str, command: Command) -> (Outcome, Vec<Event>) {
        self.send(Origin::Commands, self.record(Uuid::new_v4(), tenant, who, command)).await
    }

    /// A platform with one service and one tenant whose administrator is "ada".
    async fn opened(&self) -> TenantId {
        let appoint = Command::AppointOperator { operator: principal("olga") };
        self.send(Origin::Reports, self.record(Uuid::new_v4(), None, "console", appoint)).await;
        self.ask(None, "olga", Command::PublishService { service: Box::new(server()) }).await;
        let id = Uuid::new_v4();
        let reserve = Command::ReserveTenant {
            reference: format!("party-{id}"),
            name: "A tenant".into(),
            administrator: principal("ada"),
            clock: Default::default(),
            labels: Default::default(),
            limits: BTreeMap::from([("servers".parse().unwrap(), domain::quota::Limit::At(1_000))]),
            cell_default: Default::default(),
        };
        let (outcome, _) = self.send(Origin::Commands, self.record(id, None, "olga", reserve)).await;
        let tenant = TenantId(id);
        let open = CommandRecord {
            after_platform: outcome.position.seq,
            ..self.record(CommandId(id).derive("open").0, Some(tenant), "olga", Command::OpenTenant {})
        };
        let (_, events) = self.send(Origin::Commands, open).await;
        assert!(matches!(events.as_slice(), [Event::Tenant { event: TenantEvent::Opened(_), .. }]), "{events:?}");
        tenant
    }

    /// Every commit of every partition that answers a command, in the order of its chain.
    fn answers(&self) -> Vec<(u32, Origin, i64)> {
        let mut tail = Tail::open(&self.events, &self.journal, &[], Capacity::default()).unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut answers = Vec::new();
        let asked = tail.ask_high_watermarks();
        while !tail.has_reached(asked) {
            assert!(Instant::now() < deadline, "the journal cannot be read to its end");
            for event in tail.next(1_000, Duration::from_millis(20)) {
                match event.what {
                    Told::Commit(told) => answers.extend(told.record.command.map(|c| (event.partition, c.origin, c.offset))),
                    Told::Broken(broken) => panic!("{broken}"),
                    Told::Takeover(_) | Told::Void { .. } => {}
                }
            }
        }
        answers
    }
}

fn order(name: &str) -> Command {
    Command::CreateResource {
        cell: None,
        kind: "server".parse().unwrap(),
        version: 1,
        name: name.into(),
        zone: None,
        labels: Default::default(),
        subscriber: None,
        flavor: None,
        spec: serde_json::json!({}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_opened_and_orders_a_server_that_carries_the_id_of_its_command() {
    let cloud = Cloud::new(4);
    let _decider = cloud.decider();
    let tenant = cloud.opened().await;
    let id = Uuid::new_v4();
    let (_, events) = cloud.send(Origin::Commands, cloud.record(id, Some(tenant), "ada", order("one"))).await;
    let [Event::Resource { resource, event: ResourceEvent::Requested(_), .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(resource.0, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_again_points_to_its_first_commit() {
    let cloud = Cloud::new(4);
    let _decider = cloud.decider();
    let tenant = cloud.opened().await;
    let id = Uuid::new_v4();
    let (first, _) = cloud.send(Origin::Commands, cloud.record(id, Some(tenant), "ada", order("one"))).await;
    let (_, events) = cloud.send(Origin::Commands, cloud.record(id, Some(tenant), "ada", order("one"))).await;
    assert_eq!(events, [Event::Command(CommandEvent::Repeated { of: first.position.seq })]);
    let (_, events) = cloud.send(Origin::Commands, cloud.record(id, Some(tenant), "ada", order("two"))).await;
    assert!(matches!(events.as_slice(), [Event::Command(CommandEvent::Refused { refusal: Refusal::KeyReused, .. })]));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_goes_away_another_decides_every_command_once() {
    let cloud = Cloud::new(4);
    let first = cloud.decider();
    let second = cloud.decider();
    let tenant = cloud.opened().await;
    let mut created = 0;
    let mut decider = Some(first);
    for n in 0..60 {
        if n == 20 {
            // Mid-way its process ends; a third one comes instead.
            decider.take();
        }
        if n == 40 {
            decider = Some(cloud.decider());
        }
        let (_, events) = cloud.ask(Some(tenant), "ada", order(&format!("server {n}"))).await;
        created += usize::from(matches!(events.as_slice(), [Event::Resource { event: ResourceEvent::Requested(_), .. }]));
    }
    drop(second);
    assert_eq!(created, 60);
    let answers = cloud.answers();
    for partition in 0..cloud.journal.all_partitions() {
        for origin in [Origin::Commands, Origin::Reports] {
            let offsets: Vec<i64> = answers.iter().filter(|a| (a.0, a.1) == (partition, origin)).map(|a| a.2).collect();
            let every: Vec<i64> = (0..offsets.len() as i64).collect();
            assert_eq!(offsets, every, "partition {partition} {origin:?}: one commit a command, in order, without a hole");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_command_gets_its_commit_and_the_next_command_its_answer() {
    let cloud = Cloud::new(4);
    let _decider = cloud.decider();
    let tenant = cloud.opened().await;
    let partition = cloud.journal.partition_of(Some(tenant));
    let sender = journal::log::Log::open_sender(&cloud.commands).unwrap();
    for poison in [&b"not json"[..], b"", b"{}", b"\xff\xfe", b"[[[[[["] {
        sender.send(partition, None, Utc::now().timestamp_millis(), poison, Box::new(|_| {}));
    }
    let (_, events) = cloud.ask(Some(tenant), "ada", order("after the poison")).await;
    assert!(matches!(events.as_slice(), [Event::Resource { .. }]), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_comes_by_the_commands_topic_is_refused() {
    let cloud = Cloud::new(4);
    let _decider = cloud.decider();
    let tenant = cloud.opened().await;
    let id = Uuid::new_v4();
    cloud.send(Origin::Commands, cloud.record(id, Some(tenant), "ada", order("one"))).await;
    let done = Command::ReportDone {
        resource: domain::id::ResourceId(id),
        intent: domain::id::IntentId(id),
        external: Some("forged".into()),
        kind: "server".parse().unwrap(),
        zone: None,
    };
    let (_, events) = cloud.ask(Some(tenant), "ada", done).await;
    assert!(matches!(events.as_slice(), [Event::Command(CommandEvent::Refused { refusal: Refusal::WorkersOnly, .. })]), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_waits_for_any_more_expires() {
    let cloud = Cloud::new(4);
    let _decider = cloud.decider();
    let tenant = cloud.opened().await;
    let late =
        CommandRecord { expires: Utc::now() - TimeDelta::seconds(1), ..cloud.record(Uuid::new_v4(), Some(tenant), "ada", order("late")) };
    let (_, events) = cloud.send(Origin::Commands, late).await;
    assert_eq!(events, [Event::Command(CommandEvent::Expired)]);
}
