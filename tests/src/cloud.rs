//! A cloud without brokers: commands are decided by the domain's own partitions, and the commits lie as a true chain on a journal in memory.
//!
//! What cannot happen panics: this is for tests and measurements alone.

use domain::{
    Timestamp,
    command::{Command, Origin, Request},
    event::Event,
    id::{CellId, CommandId, IntentId, ResourceId, TenantId},
    partition::{Committed, Partition},
    people::{Actor, Principal},
    platform::FORMAT,
    quota::{Limit, Limits},
    tenant::{Clock, Facts},
};
use journal::{
    follower::{Followed, Follower},
    log::Producer,
    topics::Journal,
    twin::Twin,
};
use projections::commit::{Applied, Batch};
use schemas::{
    event::encode,
    record::{CommandRef, Commit, Digest, Header, PlatformPosition, Position, Record, Seen, Takeover, WriterId},
};
use serde_json::json;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// All that a test needs of a cloud.
pub struct Cloud {
    /// Which journal.
    pub journal: Journal,
    /// The journal's topic.
    pub twin: Twin,
    /// Every record in the order in which it was written, as a batch of its own.
    pub records: Vec<Batch>,
    /// The time of the last commit; each command is decided a second later than the one before.
    pub now: Timestamp,
    producer: Arc<dyn Producer>,
    chains: Vec<Chain>,
    asked: u64,
}

struct Chain {
    state: Partition,
    follower: Follower,
    next_offset: i64,
    /// Records of the commands and of the reports topic answered so far.
    answered: [i64; 2],
}

/// What became of a command.
#[derive(Debug)]
pub struct Answer {
    /// The command.
    pub id: CommandId,
    /// Its commit.
    pub position: Position,
    /// What it decided.
    pub events: Vec<Event>,
}

impl Answer {
    /// The id of what the command created.
    pub fn created<I: From<CommandId>>(&self) -> I {
        assert!(!matches!(self.events[0], Event::Command(_)), "{:?}", self.events);
        self.id.into()
    }
}

/// Somebody known to the platform's one issuer of tokens.
pub fn person(name: &str) -> Principal {
    Principal { issuer: "https://id.example".into(), subject: name.into() }
}

fn writer() -> WriterId {
    WriterId([7; 16])
}

impl Default for Cloud {
    fn default() -> Self {
        Self::new()
    }
}

impl Cloud {
    /// An empty platform with two partitions of tenants, one operator, two zones and the catalogue.
    pub fn new() -> Self {
        Self::with_partitions(2)
    }

    /// The same with so many.
    pub fn with_partitions(partitions: u32) -> Self {
        let journal = Journal { id: Uuid::from_u128(0xC1_5505), generation: 1, partitions };
        let twin = Twin::new(journal.events(), journal.all_partitions());
        let chain = |partition| Chain {
            state: Partition::default(),
            follower: Follower::new(journal.genesis(partition), None).unwrap(),
            next_offset: 0,
            answered: [0; 2],
        };
        let mut cloud = Self {
            chains: (0..journal.all_partitions()).map(chain).collect(),
            producer: twin.producer(),
            journal,
            twin,
            records: Vec::new(),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            asked: 0,
        };
        for partition in 0..journal.all_partitions() {
            let genesis = journal.genesis(partition);
            let seen = Seen { seq: genesis.seq(), head: genesis.head() };
            cloud.append(partition, &Record::Takeover(Takeover { epoch: 1, writer: writer(), seen, genesis: Some(genesis) }));
        }
        cloud.report(None, Command::AppointOperator { operator: person("operator") });
        cloud.operate(Command::DeclareRegion { region: "north".parse().unwrap(), title: "The north".to_owned() });
        for zone in ["north-a", "north-b"] {
            cloud.operate(Command::DeclareZone { zone: zone.parse().unwrap(), region: "north".parse().unwrap() });
        }
        for service in schemas::catalogue::bundled() {
            cloud.operate(Command::PublishService { service: Box::new(service) });
        }
        cloud
    }

    /// The state of a partition.
    pub fn state(&self, partition: u32) -> &Partition {
        &self.chains[partition as usize].state
    }

    /// The state of a tenant.
    pub fn tenant(&self, tenant: TenantId) -> &domain::tenant::Tenant {
        &self.state(self.partition_of(tenant)).tenants[&tenant]
    }

    /// The partition of a tenant's chain.
    pub fn partition_of(&self, tenant: TenantId) -> u32 {
        self.journal.partition_of(Some(tenant))
    }

    /// Where every partition stands.
    pub fn positions(&self) -> Vec<Position> {
        self.chains.iter().map(|chain| chain.follower.state().position()).collect()
    }

    /// A tenant without limits that `olga` administers.
    pub fn open_tenant(&mut self, reference: &str, clock: Clock) -> TenantId {
        let limits: Limits =
            ["servers", "vcpus", "memory_mib", "volumes", "volume_gib", "networks"].map(|d| (d.parse().unwrap(), Limit::Unlimited)).into();
        let reserve = Command::ReserveTenant {
            reference: reference.to_owned(),
            name: format!("The {reference} company"),
            administrator: person("olga"),
            clock,
            labels: [("line".to_owned(), "gold".to_owned())].into(),
            limits,
            cell_default: Limits::new(),
        };
        let tenant: TenantId = self.operate(reserve).created();
        self.report(Some(tenant), Command::OpenTenant {});
        tenant
    }

    /// A cell without limits of its own.
    pub fn create_cell(&mut self, tenant: TenantId, name: &str) -> CellId {
        let create = Command::CreateCell { name: name.to_owned(), billing_account: None, limits: Limits::new(), parent: None };
        self.ask(tenant, create).created()
    }

    /// An order for a server of 2 processors.
    pub fn server(name: &str, cell: Option<CellId>) -> Command {
        Command::CreateResource {
            cell,
            kind: "server".parse().unwrap(),
            version: 1,
            name: name.to_owned(),
            zone: Some("north-a".parse().unwrap()),
            labels: Default::default(),
            subscriber: None,
            flavor: None,
            spec: json!({"vcpus": 2, "memory_mib": 4096, "image": "debian-13"}),
        }
    }

    /// An order for a volume of 10 GiB.
    pub fn volume(name: &str, cell: Option<CellId>) -> Command {
        let Command::CreateResource { zone, labels, .. } = Self::server(name, cell) else { unreachable!() };
        let (kind, spec) = ("volume".parse().unwrap(), json!({"size_gib": 10}));
        Command::CreateResource { cell, kind, version: 1, name: name.to_owned(), zone, labels, subscriber: None, flavor: None, spec }
    }

    /// An order for a network.
    pub fn network(name: &str, cell: Option<CellId>) -> Command {
        let (kind, spec) = ("network".parse().unwrap(), json!({"cidr": "10.0.0.0/16"}));
        let labels = Default::default();
        Command::CreateResource { cell, kind, version: 1, name: name.to_owned(), zone: None, labels, subscriber: None, flavor: None, spec }
    }

    /// Reports the open step of a resource as done.
    pub fn finish(&mut self, tenant: TenantId, resource: ResourceId) -> Answer {
        let (intent, kind, zone) = self.open_step(tenant, resource);
        let external = Some(format!("ext-{intent}"));
        self.report(Some(tenant), Command::ReportDone { resource, intent, external, kind, zone })
    }

    /// Reports the open step of a resource as failed for good.
    pub fn fail(&mut self, tenant: TenantId, resource: ResourceId, problem: &str, remains: bool) -> Answer {
        let (intent, ..) = self.open_step(tenant, resource);
        self.report(Some(tenant), Command::ReportFailed { resource, intent, problem: problem.to_owned(), remains })
    }

    /// The open step of a resource or of remains, with kind and zone.
    pub fn open_step(&self, tenant: TenantId, id: ResourceId) -> (IntentId, domain::id::ServiceName, Option<domain::id::ZoneName>) {
        let tenant = self.tenant(tenant);
        match (tenant.resources.get(&id), tenant.remains.get(&id)) {
            (Some(r), _) => (r.step.as_ref().expect("a step is open").intent, r.kind.clone(), r.zone.clone()),
            (None, Some(r)) => (r.step.intent, r.kind.clone(), r.zone.clone()),
            (None, None) => panic!("no resource {id}"),
        }
    }

    /// The operator asks something of the platform.
    pub fn operate(&mut self, command: Command) -> Answer {
        let id = self.next_id();
        self.send(id, None, Origin::Commands, Actor::Principal(person("operator")), command)
    }

    /// Olga asks something of her tenant.
    pub fn ask(&mut self, tenant: TenantId, command: Command) -> Answer {
        let id = self.next_id();
        self.send(id, Some(tenant), Origin::Commands, Actor::Principal(person("olga")), command)
    }

    /// A worker reports.
    pub fn report(&mut self, tenant: Option<TenantId>, command: Command) -> Answer {
        let id = self.next_id();
        self.send(id, tenant, Origin::Reports, Actor::Service("worker".to_owned()), command)
    }

    /// An id for a command.
    pub fn next_id(&mut self) -> CommandId {
        self.asked += 1;
        CommandId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.asked.to_be_bytes()))
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Decides a command and writes its commit.
    pub fn send(&mut self, id: CommandId, tenant: Option<TenantId>, origin: Origin, actor: Actor, command: Command) -> Answer {
        self.send_before(self.now + Duration::from_secs(60), id, tenant, origin, actor, command)
    }

    /// The same for a command that expires then.
    pub fn send_before(
        &mut self,
        expires: Timestamp,
        id: CommandId,
        tenant: Option<TenantId>,
        origin: Origin,
        actor: Actor,
        command: Command,
    ) -> Answer {
        self.now += Duration::from_secs(1);
        let partition = self.journal.partition_of(tenant);
        let kind = command.kind().to_owned();
        let digest = Digest::of(&serde_json::to_vec(&command).unwrap());
        let fingerprint = schemas::command::fingerprint(&digest);
        let request = Request { id, tenant, actor: actor.clone(), fingerprint, at: None, expires, after_platform: 0, command };
        let platform = self.state(self.journal.platform()).platform.clone();
        let facts = Facts { now: self.now, platform: &platform, stale: false, tombstones: &() };
        let events = self.chains[partition as usize].state.handle(&request, origin, facts);
        let seq = self.next_seq(partition);
        let committed = Committed { seq, time: self.now, command: Some((id, fingerprint)), events: &events };
        self.chains[partition as usize].state.apply(committed).unwrap_or_else(|e| panic!("decided, yet {e}: {events:#?}"));
        let origin = match origin {
            Origin::Commands => schemas::record::Origin::Commands,
            Origin::Reports => schemas::record::Origin::Reports,
        };
        let next = &mut self.chains[partition as usize].answered[usize::from(origin == schemas::record::Origin::Reports)];
        let offset = std::mem::replace(next, *next + 1);
        let request = format!("req-{}", self.asked);
        let command = CommandRef { id: id.0, kind, origin, generation: 1, offset, request, digest, traceparent: None };
        let position = self.commit(
            partition,
            command,
            Some(actor),
            events.iter().map(|e| encode(e, FORMAT).expect("it is what this program writes")).collect(),
        );
        Answer { id, position, events }
    }

    /// Writes a commit with these events, whatever they are.
    pub fn commit(&mut self, partition: u32, command: CommandRef, actor: Option<Actor>, events: Vec<Box<RawValue>>) -> Position {
        let state = *self.chains[partition as usize].follower.state();
        let commit = Commit {
            epoch: 1,
            writer: writer(),
            seq: state.seq + 1,
            prev: state.head,
            platform: PlatformPosition { generation: 1, seq: 0 },
            command: Some(command),
            actor: actor.map(|actor| serde_json::value::to_raw_value(&actor).unwrap()),
            time: self.now,
            events,
        };
        self.append(partition, &Record::Commit(commit));
        Position { generation: 1, partition, seq: state.seq + 1 }
    }

    /// A record that no chain allows.
    pub fn break_partition(&mut self, partition: u32) {
        self.producer.append(partition, None, self.now.timestamp_millis(), b"not a record").unwrap();
    }

    fn next_seq(&self, partition: u32) -> u64 {
        self.chains[partition as usize].follower.state().seq + 1
    }

    fn append(&mut self, partition: u32, record: &Record) {
        let value = record.encode().unwrap();
        self.producer.append(partition, None, self.now.timestamp_millis(), &value).unwrap();
        let chain = &mut self.chains[partition as usize];
        let from = chain.follower.state().seq;
        let commits = match chain.follower.read(chain.next_offset, &value) {
            Followed::Accepted(Header::Commit(link)) => vec![Applied::decode(1, partition, link.into_owned())],
            Followed::Accepted(Header::Takeover(_)) => vec![],
            other => panic!("{other:?}"),
        };
        chain.next_offset += 1;
        self.records.push(Batch { from, commits, after: chain.follower.stored() });
    }
}

/// One batch a partition.
pub fn together(records: &[Batch]) -> Vec<Batch> {
    let mut all: Vec<Batch> = Vec::new();
    for record in records {
        match all.iter_mut().find(|batch| batch.partition() == record.partition()) {
            Some(batch) => {
                batch.commits.extend(record.commits.iter().cloned());
                batch.after = record.after;
            }
            None => all.push(record.clone()),
        }
    }
    all
}
