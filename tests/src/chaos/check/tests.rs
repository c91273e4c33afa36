//! Each rule is shown to bite: an honest piece of evidence passes all of them, and the same evidence with one lie in it is found by the rule that the
//! lie is against.

use super::violations;
use crate::chaos::{
    evidence::{Entry, Evidence},
    history::{Answer, Asked, Record},
    load::{ADMINISTRATOR, ISSUER, Write},
};
use api::{
    answer::{Outcome, answer},
    position::{Positions, Tokens},
};
use chrono::{DateTime, TimeDelta};
use domain::{
    command::{Command, Origin as Topic},
    event::{CommandEvent, Event},
    id::{CommandId, ResourceId, TenantId},
    partition::{Committed, Partition},
    people::{Actor, Principal},
    refusal::Refusal,
    tenant::{Clock, Facts},
};
use journal::topics::Journal;
use schemas::{
    command::{CommandRecord, fingerprint},
    record::{CommandRef, Digest, Origin, Position},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const TENANTS: u32 = 0;
const PLATFORM: u32 = 1;

/// A world in which everything is decided by the domain, one command after the other, and everybody tells the truth.
struct Honest {
    evidence: Evidence,
    states: [Partition; 2],
    tenant: TenantId,
    clock: u64,
}

impl Honest {
    /// A platform with one zone, one service and one tenant, whose limit is two servers.
    fn platform() -> Self {
        let journal = Journal { id: Uuid::from_u128(7), generation: 1, partitions: 1 };
        let evidence = Evidence {
            journal,
            tokens: Tokens::new(journal.id, vec![vec![1; 32].into()]).unwrap(),
            tenants: BTreeSet::new(),
            log: vec![Vec::new(), Vec::new()],
            problems: Vec::new(),
            commands: BTreeMap::new(),
            failing: BTreeSet::new(),
            history: Vec::new(),
            objects: Vec::new(),
        };
        let mut world = Self { evidence, states: Default::default(), tenant: TenantId(Uuid::nil()), clock: 0 };
        let console = || Actor::Service("console".to_owned());
        world.report(PLATFORM, None, console(), Command::AppointOperator { operator: principal("olga") });
        let limits: Value = json!({"servers": 2, "vcpus": 100, "memory_mib": 1_000_000});
        let server = schemas::catalogue::bundled().into_iter().find(|service| service.name.as_str() == "server").unwrap();
        for command in [
            Command::DeclareRegion { region: "region-1".parse().unwrap(), title: "Region".to_owned() },
            Command::DeclareZone { zone: "zone-a".parse().unwrap(), region: "region-1".parse().unwrap() },
            Command::PublishService { service: Box::new(server) },
            Command::ReserveTenant {
                reference: "one".to_owned(),
                name: "One".to_owned(),
                administrator: principal(ADMINISTRATOR),
                clock: Clock::Journal,
                labels: Default::default(),
                limits: serde_json::from_value(limits).unwrap(),
                cell_default: Default::default(),
            },
        ] {
            let id = CommandId(Uuid::from_u128(100 + u128::from(world.clock)));
            world.tenant = TenantId(id.0);
            let request = record(id, None, Actor::Principal(principal("olga")), Digest::of(b""), command);
            world.decide(PLATFORM, Origin::Commands, request);
        }
        let open = CommandId(world.tenant.0).derive("open");
        let request = record(open, Some(world.tenant), Actor::Principal(principal("olga")), Digest::of(b""), Command::OpenTenant {});
        world.decide(TENANTS, Origin::Commands, request);
        world.evidence.tenants.insert(world.tenant);
        world
    }

    /// The platform, two servers, of which one was ordered twice under its key, a third that was refused, one that was deleted, and a read of each.
    fn day() -> Self {
        let mut world = Self::platform();
        let first = world.order("first");
        world.order("first");
        world.done(first);
        let second = world.order("second");
        world.done(second);
        world.order("third");
        world.write("gone", &Write::delete(second), |id| Command::DeleteResource { resource: id.unwrap(), if_generation: None });
        world.done(second);
        world.read(Some(first));
        world.read(None);
        world
    }

    fn order(&mut self, key: &str) -> ResourceId {
        let write = Write::server(None, "zone-a", key, 1);
        let spec = write.body["spec"].clone();
        let name = key.to_owned();
        let id = self.write(key, &write, |_| Command::CreateResource {
            cell: None,
            kind: "server".parse().unwrap(),
            version: 1,
            name,
            zone: Some("zone-a".parse().unwrap()),
            labels: Default::default(),
            subscriber: None,
            flavor: None,
            spec,
        });
        ResourceId(id.0)
    }

    fn write(&mut self, key: &str, write: &Write, command: impl FnOnce(Option<ResourceId>) -> Command) -> CommandId {
        let asked = Asked {
            api: 0,
            person: ADMINISTRATOR.to_owned(),
            route: write.route.to_owned(),
            tenant: self.tenant,
            resource: write.resource,
            action: None,
            key: Some(key.to_owned()),
            at_least: None,
            body: write.body.clone(),
        };
        let began = self.tick();
        let id = asked.command(ISSUER).unwrap();
        let actor = Actor::Principal(principal(ADMINISTRATOR));
        let request = record(id, Some(self.tenant), actor, asked.digest().unwrap(), command(write.resource));
        let mut at = self.decide(TENANTS, Origin::Commands, request);
        let told = match answer(&self.evidence.entry(at).unwrap().events) {
            Outcome::Repeated { of } => {
                at.seq = of;
                answer(&self.evidence.entry(at).unwrap().events)
            }
            told => told,
        };
        let (status, body) = match told {
            Outcome::Done(done) => (done.status.as_u16(), Value::Object(done.body)),
            Outcome::Refused(problem) => (problem.kind().status().as_u16(), Value::Null),
            Outcome::Repeated { of } => panic!("{of} is a repetition, too"),
        };
        let answer = Answer { status, position: Some(self.token(at)), body };
        let ended = self.tick();
        self.evidence.history.push(Record { began, ended, asked, answer: Some(answer) });
        id
    }

    /// The open step of a resource is done, and the provider has what it leads to.
    fn done(&mut self, resource: ResourceId) {
        let open = self.states[TENANTS as usize].tenants[&self.tenant].resources[&resource].step.clone().unwrap();
        let (kind, zone) = ("server".parse().unwrap(), Some("zone-a".parse().unwrap()));
        let command = Command::ReportDone { resource, intent: open.intent, external: None, kind, zone };
        self.report(TENANTS, Some(self.tenant), Actor::Service("worker".to_owned()), command);
        self.evidence.objects.retain(|object| object.tags["resource"] != resource.to_string());
        if self.states[TENANTS as usize].tenants[&self.tenant].resources.contains_key(&resource) {
            self.evidence.objects.push(machine(resource));
        }
    }

    fn read(&mut self, resource: Option<ResourceId>) {
        let at = self.evidence.log[TENANTS as usize].last().unwrap().position;
        let tenant = &self.states[TENANTS as usize].tenants[&self.tenant];
        let shown = |id: &ResourceId| {
            let resource = &tenant.resources[id];
            json!({"id": id, "phase": resource.phase.name(), "name": resource.name, "generation": resource.generation,
                "observed_generation": resource.observed_generation, "spec": resource.terms.spec})
        };
        let body = match &resource {
            Some(id) => shown(id),
            None => json!({"items": tenant.resources.keys().map(shown).collect::<Vec<_>>()}),
        };
        let answer = Answer { status: 200, position: Some(self.token(at)), body };
        let asked = Asked {
            api: 1,
            person: ADMINISTRATOR.to_owned(),
            route: "GET /v1/tenants/{tenant}/resources".to_owned(),
            tenant: self.tenant,
            resource,
            action: None,
            key: None,
            at_least: answer.position.clone(),
            body: Value::Null,
        };
        let (began, ended) = (self.tick(), self.tick());
        self.evidence.history.push(Record { began, ended, asked, answer: Some(answer) });
    }

    fn report(&mut self, partition: u32, tenant: Option<TenantId>, actor: Actor, command: Command) {
        let id = CommandId(Uuid::from_u128(1_000 + u128::from(self.clock)));
        self.decide(partition, Origin::Reports, record(id, tenant, actor, Digest::of(b""), command));
    }

    fn decide(&mut self, partition: u32, origin: Origin, record: CommandRecord) -> Position {
        let time = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(i64::try_from(self.tick()).unwrap());
        let platform = self.states[PLATFORM as usize].platform.clone();
        let topic = if origin == Origin::Reports { Topic::Reports } else { Topic::Commands };
        let facts = Facts { now: time, platform: &platform, stale: false, tombstones: &() };
        let state = &mut self.states[partition as usize];
        let events = state.handle(&record.to_request(), topic, facts);
        let chain = &mut self.evidence.log[partition as usize];
        let position = Position { generation: 1, partition, seq: chain.len() as u64 + 1 };
        let command = Some((record.id, fingerprint(&record.digest)));
        state.apply(Committed { seq: position.seq, time, command, events: &events }).unwrap();
        let records = self.evidence.commands.entry((origin, partition)).or_default();
        let command = CommandRef {
            id: record.id.0,
            kind: record.command.kind().to_owned(),
            origin,
            generation: 1,
            offset: records.len() as i64,
            request: record.request.clone(),
            digest: record.digest,
            traceparent: None,
        };
        let actor = Some(record.actor.clone());
        records.push(Ok(record));
        let platform = self.evidence.log[PLATFORM as usize].len() as u64;
        let entry =
            Entry { position, time, platform, command: Some(command), actor, events, after: self.states[partition as usize].clone() };
        self.evidence.log[partition as usize].push(entry);
        position
    }

    fn token(&self, at: Position) -> String {
        self.evidence.tokens.issue(&Positions::from_iter([at]))
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The request of the history that was sent under this key first.
    fn told(&mut self, key: &str) -> &mut Record {
        self.evidence.history.iter_mut().find(|record| record.asked.key.as_deref() == Some(key)).unwrap()
    }

    fn chain(&mut self) -> &mut Vec<Entry> {
        &mut self.evidence.log[TENANTS as usize]
    }
}

fn principal(subject: &str) -> Principal {
    Principal { issuer: ISSUER.into(), subject: subject.into() }
}

fn record(id: CommandId, tenant: Option<TenantId>, actor: Actor, digest: Digest, command: Command) -> CommandRecord {
    let expires = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
    let request = format!("request-{id}");
    CommandRecord { id, tenant, actor, digest, request, traceparent: None, at: None, expires, after_platform: 0, command }
}

fn machine(resource: ResourceId) -> workers::provider::Object {
    let object = json!({"id": format!("machine-{resource}"), "kind": "server", "zone": "zone-a", "project": "p", "name": "n", "properties": {},
        "tags": {"resource": resource}, "status": "ACTIVE", "task": null, "power": "running", "attached_to": null, "fault": null,
        "created_at": "2027-01-01T00:00:00Z", "updated_at": "2027-01-01T00:00:00Z"});
    serde_json::from_value(object).unwrap()
}

/// Tells a lie about an honest day, and expects that this rule finds it.
fn bites(rule: &str, lie: impl FnOnce(&mut Honest)) {
    let mut world = Honest::day();
    lie(&mut world);
    let found = violations(&world.evidence);
    assert!(found.iter().any(|problem| problem.starts_with(&format!("{rule}:"))), "{rule} found nothing; found was {found:#?}");
}

#[test]
fn an_honest_day_contradicts_no_rule() {
    let world = Honest::day();
    assert_eq!(violations(&world.evidence), Vec::<String>::new());
    let refused = |entry: &Entry| matches!(&entry.events[..], [Event::Command(_)]);
    assert_eq!(
        world.evidence.log[TENANTS as usize].iter().filter(|entry| refused(entry)).count(),
        2,
        "a repetition and a refusal are part of it"
    );
}

#[test]
fn a_broken_chain_is_found() {
    bites("whole", |world| world.evidence.problems.push("g1.p0.3: broken".to_owned()));
}

#[test]
fn an_acknowledged_order_that_is_not_in_the_log_is_found() {
    bites("acknowledged", |world| drop(world.chain().pop().and_then(|_| world.chain().pop())));
    bites("acknowledged", |world| world.told("first").answer.as_mut().unwrap().body["name"] = "another".into());
    bites("acknowledged", |world| world.told("third").answer.as_mut().unwrap().status = 201);
    bites("acknowledged", |world| world.told("first").answer.as_mut().unwrap().position = None);
}

#[test]
fn a_command_that_nobody_asked_for_or_in_other_words_is_found() {
    bites("asked", |world| world.evidence.history.retain(|record| record.asked.key.as_deref() != Some("second")));
    bites("asked", |world| world.told("second").asked.body["spec"]["vcpus"] = 64.into());
    bites("asked", |world| world.told("third").asked.person = "vera".to_owned());
}

#[test]
fn a_commit_that_the_domain_would_not_decide_so_is_found() {
    bites("decided", |world| {
        let refusal = Refusal::TenantSuspended;
        world.chain()[1].events = vec![Event::refused(refusal, None)];
    });
    bites("decided", |world| world.chain()[1].command.as_mut().unwrap().offset += 2);
    bites("decided", |world| world.chain()[1].actor = Some(Actor::Service("somebody".to_owned())));
}

#[test]
fn a_second_outcome_of_a_key_is_found() {
    bites("one outcome", |world| {
        let again = Entry { position: Position { generation: 1, partition: TENANTS, seq: 99 }, ..world.chain()[1].clone() };
        world.chain().push(again);
    });
    bites("one outcome", |world| {
        let mut twice = world.told("first").clone();
        twice.answer.as_mut().unwrap().body["id"] = "another".into();
        world.evidence.history.push(twice);
    });
    bites("one outcome", |world| {
        let mut changed = world.told("first").clone();
        changed.asked.body["spec"]["vcpus"] = 3.into();
        world.evidence.history.push(changed);
    });
}

#[test]
fn an_order_that_ended_before_another_began_and_lies_behind_it_is_found() {
    bites("in order", |world| {
        let late = world.clock + 10;
        for record in world.evidence.history.iter_mut().filter(|record| record.asked.key.as_deref() == Some("first")) {
            (record.began, record.ended) = (late, late + 1);
        }
    });
}

#[test]
fn a_read_that_is_older_than_its_token_or_shows_what_was_not_so_is_found() {
    bites("reads", |world| {
        let old = world.token(Position { generation: 1, partition: TENANTS, seq: 2 });
        world.evidence.history.last_mut().unwrap().answer.as_mut().unwrap().position = Some(old);
    });
    bites("reads", |world| {
        let list = world.evidence.history.last_mut().unwrap().answer.as_mut().unwrap();
        drop(list.body["items"].as_array_mut().unwrap().pop());
    });
    bites("reads", |world| {
        let list = world.evidence.history.last_mut().unwrap().answer.as_mut().unwrap();
        list.body["items"][0]["phase"] = "stopped".into();
    });
}

#[test]
fn a_machine_of_nobody_a_twin_and_a_missing_machine_are_found() {
    bites("machines", |world| world.evidence.objects.push(machine(ResourceId(Uuid::from_u128(1)))));
    bites("machines", |world| world.evidence.objects.push(world.evidence.objects[0].clone()));
    bites("machines", |world| world.evidence.objects.clear());
    bites("machines", |world| {
        world.order("fourth");
    });
}

#[test]
fn a_claim_beyond_its_limit_and_a_refusal_of_what_fitted_are_found() {
    bites("quota", |world| {
        let claim = world.chain()[1].events.clone();
        for number in [901, 902] {
            let mut another = claim.clone();
            let Event::Resource { resource, .. } = &mut another[0] else { panic!("the first order claims: {claim:?}") };
            *resource = ResourceId(Uuid::from_u128(number));
            world.chain()[1].events.extend(another);
        }
    });
    bites("quota", |world| {
        for event in world.chain().iter_mut().flat_map(|entry| &mut entry.events) {
            if let Event::Command(CommandEvent::Refused { refusal: Refusal::QuotaExceeded { used, .. }, .. }) = event {
                *used = 0;
            }
        }
    });
}

#[test]
fn a_failure_is_found_unless_the_scenario_brought_it_about() {
    let fail = |world: &mut Honest| {
        let failed = CommandEvent::Failed { problem: "deciding it panicked".to_owned() };
        world.chain()[1].events = vec![Event::Command(failed)];
        CommandId(world.chain()[1].command.as_ref().unwrap().id)
    };
    bites("decided", |world| {
        fail(world);
    });
    let mut world = Honest::day();
    let failing = fail(&mut world);
    world.evidence.failing.insert(failing);
    let at = world.chain()[1].position.to_string();
    let found = violations(&world.evidence);
    assert!(!found.iter().any(|problem| problem.starts_with(&format!("decided: {at}:"))), "{found:#?}");
}
