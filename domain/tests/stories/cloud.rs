//! A cloud to tell stories about: one region with two open zones, the catalogue, and the tenant *acme* with the cells *b* and *c*.
//!
//! Everything is defaulted, so any value that a story writes matters. *ada* is acme's Tenant Super Administrator, *olga* an operator of the
//! platform.

use crate::catalogue;
use chrono::{DateTime, TimeDelta};
use domain::{
    Timestamp,
    catalogue::{Action, Flavor, Spec},
    command::{Command, LifecycleFact, Origin, Request, Verdict},
    event::{CommandEvent, Event},
    id::{CellId, CommandId, Dimension, IntentId, ResourceId, ServiceName, TenantId},
    partition::{Committed, Decided, Partition, Tombstones},
    people::{Actor, Grant, Principal, Role},
    platform::Platform,
    quota::{Limit, LimitChanges, Limits},
    refusal::Refusal,
    resource::{Phase, Resource, Step},
    tenant::{Clock, Facts, Tenant},
};
use serde_json::{Value, json};
use uuid::Uuid;

/// A chain: its state, and the log that it is the fold of.
#[derive(Clone, Default)]
pub struct Chain {
    pub state: Partition,
    pub log: Vec<Commit>,
}

/// Tombstones in memory.
#[derive(Debug, Clone, Default)]
pub struct Kept(pub std::collections::BTreeMap<CommandId, Decided>);

impl Tombstones for Kept {
    fn find(&self, id: CommandId) -> Option<Decided> {
        self.0.get(&id).copied()
    }
}

/// A commit as it lies on the log.
#[derive(Clone)]
pub struct Commit {
    seq: u64,
    time: Timestamp,
    command: (CommandId, u64),
    pub events: Vec<Event>,
}

impl Commit {
    fn borrowed(&self) -> Committed<'_> {
        Committed { seq: self.seq, time: self.time, command: Some(self.command), events: &self.events }
    }
}

impl Chain {
    /// Decides a request, folds the commit and keeps it.
    fn submit(&mut self, request: &Request, origin: Origin, facts: Facts<'_>) -> Vec<Event> {
        let events = self.state.handle(request, origin, facts);
        let commit =
            Commit { seq: self.log.len() as u64 + 1, time: facts.now, command: (request.id, request.fingerprint), events: events.clone() };
        self.state.apply(commit.borrowed()).unwrap_or_else(|e| panic!("decided, yet {e}: {events:#?}"));
        self.log.push(commit);
        events
    }

    /// The fold of the whole log from nothing.
    pub fn replayed(&self) -> Partition {
        let mut state = Partition::default();
        for commit in &self.log {
            state.apply(commit.borrowed()).unwrap_or_else(|e| panic!("on replay: {e}"));
        }
        state
    }
}

/// The stage of a story.
#[derive(Clone)]
pub struct Cloud {
    pub platform: Chain,
    pub chain: Chain,
    pub now: Timestamp,
    /// True while this decider does not know the platform's present.
    pub stale: bool,
    pub tombstones: Kept,
    pub tenant: TenantId,
    pub b: CellId,
    pub c: CellId,
    commands: u128,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    pub id: CommandId,
    pub events: Vec<Event>,
}

/// The name that an event has on the wire.
pub fn name(event: &Event) -> String {
    let (family, value) = match event {
        Event::Command(e) => ("command", serde_json::to_value(e)),
        Event::Platform(e) => ("platform", serde_json::to_value(e)),
        Event::Tenant { event, .. } => ("tenant", serde_json::to_value(event)),
        Event::Cell { event, .. } => ("cell", serde_json::to_value(event)),
        Event::Member { event, .. } => ("member", serde_json::to_value(event)),
        Event::Resource { event, .. } => ("resource", serde_json::to_value(event)),
    };
    format!("{family}.{}", value.unwrap()["type"].as_str().unwrap())
}

/// The `reason` of a refusal on the wire.
pub fn reason(refusal: &Refusal) -> String {
    serde_json::to_value(refusal).unwrap()["reason"].as_str().unwrap().to_owned()
}

impl Answer {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.events[..] {
            [Event::Command(CommandEvent::Refused { refusal, .. })] => Some(refusal),
            _ => None,
        }
    }

    /// Names of the facts, or `refused: <reason>`.
    pub fn brief(&self) -> String {
        match self.refusal() {
            Some(refusal) => format!("refused: {}", reason(refusal)),
            None => self.events.iter().map(name).collect::<Vec<_>>().join(" "),
        }
    }

    /// Exactly these facts, or this refusal, as [`Answer::brief`] writes them.
    #[track_caller]
    pub fn is(self, expected: &str) -> Self {
        assert_eq!(self.brief(), expected, "{:#?}", self.events);
        self
    }

    /// Some facts, no refusal.
    #[track_caller]
    pub fn accepted(self) -> Self {
        assert!(self.refusal().is_none(), "{:#?}", self.refusal());
        self
    }

    /// This refusal, with all that it says.
    #[track_caller]
    pub fn refused_with(self, expected: Refusal) {
        assert_eq!(self.refusal(), Some(&expected), "{:#?}", self.events);
    }

    /// The resource or cell that the request created.
    pub fn resource(&self) -> ResourceId {
        self.id.into()
    }
}

pub fn principal(subject: &str) -> Principal {
    Principal { issuer: "https://id.example".into(), subject: subject.into() }
}

pub fn person(subject: &str) -> Actor {
    Actor::Principal(principal(subject))
}

pub fn limits<const N: usize>(pairs: [(&str, Limit); N]) -> Limits {
    pairs.into_iter().map(|(d, l)| (d.parse().unwrap(), l)).collect()
}

pub fn changes<const N: usize>(pairs: [(&str, Option<Limit>); N]) -> LimitChanges {
    pairs.into_iter().map(|(d, l)| (d.parse().unwrap(), l)).collect()
}

pub fn dimension(name: &str) -> Dimension {
    name.parse().unwrap()
}

pub fn kind(name: &str) -> ServiceName {
    name.parse().unwrap()
}

/// An id that nothing has.
pub fn nobody() -> Uuid {
    Uuid::from_u128(0xdead)
}

/// An order for a new resource: of this kind, in cell *b*, in zone *az1* where it needs one.
pub struct New(Command);

impl Cloud {
    /// An order of `kind` with the smallest spec.
    pub fn order(&self, kind: &str) -> New {
        let spec = match kind {
            "server" => json!({ "vcpus": 2, "memory_mib": 2048 }),
            "volume" => json!({ "size_gib": 10 }),
            "pool" => json!({ "units": 1 }),
            _ => json!({}),
        };
        let zonal = matches!(kind, "server" | "volume");
        New(Command::CreateResource {
            cell: (kind != "bucket").then_some(self.b),
            kind: kind.parse().unwrap(),
            version: 1,
            name: kind.to_owned(),
            zone: zonal.then(|| "az1".parse().unwrap()),
            labels: Default::default(),
            subscriber: None,
            flavor: None,
            spec,
        })
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $field:ident = |$value:ident: $ty:ty| $to:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $value: $ty) -> Self {
            if let Command::CreateResource { $field, .. } = &mut self.0 {
                *$field = $to;
            }
            self
        }
    )*};
}

impl New {
    fields! {
        in_cell: cell = |id: CellId| Some(id);
        in_zone: zone = |name: &str| Some(name.parse().unwrap());
        named: name = |text: &str| text.to_owned();
        of_version: version = |n: u32| n;
        flavored: flavor = |name: &str| Some(name.parse().unwrap());
        spec: spec = |value: Value| value;
        labelled: labels = |all: domain::Labels| all;
        subscribed: subscriber = |id: &str| Some(id.to_owned());
    }

    pub fn at_tenant(mut self) -> Self {
        if let Command::CreateResource { cell, .. } = &mut self.0 {
            *cell = None;
        }
        self
    }

    pub fn in_no_zone(mut self) -> Self {
        if let Command::CreateResource { zone, .. } = &mut self.0 {
            *zone = None;
        }
        self
    }

    /// One more field of the spec.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Command::CreateResource { spec, .. } = &mut self.0 {
            spec[field] = value.into();
        }
        self
    }
}

impl From<New> for Command {
    fn from(new: New) -> Self {
        new.0
    }
}

impl Cloud {
    /// Acme with a quota that nobody reaches.
    pub fn open() -> Self {
        Self::opened(Clock::Journal)
    }

    /// The same with the clock of choice.
    pub fn opened(clock: Clock) -> Self {
        let mut cloud = Self {
            platform: Chain::default(),
            chain: Chain::default(),
            now: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
            stale: false,
            tombstones: Kept::default(),
            tenant: TenantId(Uuid::nil()),
            b: CellId(Uuid::nil()),
            c: CellId(Uuid::nil()),
            commands: 0,
        };
        let console = cloud.request(Actor::Service("console".to_owned()), None, appoint("olga"));
        cloud.send(&console, Origin::Reports).accepted();
        let region: domain::id::RegionName = "eu-1".parse().unwrap();
        cloud.runs(Command::DeclareRegion { region: region.clone(), title: "Europe".to_owned() }).accepted();
        for zone in ["az1", "az2"] {
            cloud.runs(Command::DeclareZone { zone: zone.parse().unwrap(), region: region.clone() }).accepted();
        }
        for service in catalogue::services() {
            cloud.runs(Command::PublishService { service: Box::new(service) }).accepted();
        }
        let flavor = Flavor { name: "m1".parse().unwrap(), vcpus: 4, memory_mib: 8192 };
        cloud.runs(Command::DefineFlavor { flavor }).accepted();
        let all = catalogue::services().into_iter().flat_map(|s| s.dimensions).map(|m| (m.dimension, Limit::Unlimited));
        cloud.runs(Command::SetDefaultQuota { tenant: all.collect(), cell: Limits::new() }).accepted();
        let reserved = cloud.runs(reserve("acme", clock)).accepted();
        cloud.tenant = reserved.id.into();
        let open = cloud.request(Actor::Service("opening".to_owned()), Some(cloud.tenant), Command::OpenTenant {});
        cloud.send(&open, Origin::Commands).is("tenant.opened");
        cloud.b = cloud.asks("ada", cell("b")).accepted().id.into();
        cloud.c = cloud.asks("ada", cell("c")).accepted().id.into();
        cloud
    }

    /// A request with a fresh id and a fingerprint of its own.
    pub fn request(&mut self, actor: Actor, tenant: Option<TenantId>, command: impl Into<Command>) -> Request {
        self.commands += 1;
        let id = Uuid::from_u128(0xc0_0000_0000 + self.commands);
        Request {
            id: CommandId(id),
            tenant,
            actor,
            fingerprint: self.commands as u64,
            at: None,
            expires: self.now + TimeDelta::seconds(60),
            after_platform: 0,
            command: command.into(),
        }
    }

    /// Sends a request to its chain.
    pub fn send(&mut self, request: &Request, origin: Origin) -> Answer {
        let facts = |platform| Facts { now: self.now, platform, stale: self.stale, tombstones: &self.tombstones };
        let events = match request.tenant {
            None => {
                let platform = Platform::default();
                self.platform.submit(request, origin, facts(&platform))
            }
            Some(_) => self.chain.submit(request, origin, facts(&self.platform.state.platform)),
        };
        Answer { id: request.id, events }
    }

    /// An operator of the platform runs a command on the platform's chain.
    pub fn runs(&mut self, command: impl Into<Command>) -> Answer {
        let request = self.request(person("olga"), None, command);
        self.send(&request, Origin::Commands)
    }

    /// Somebody asks something of acme.
    pub fn asks(&mut self, who: &str, command: impl Into<Command>) -> Answer {
        let request = self.request(person(who), Some(self.tenant), command);
        self.send(&request, Origin::Commands)
    }

    /// *ada*, who may do everything in acme, asks.
    pub fn ada(&mut self, command: impl Into<Command>) -> Answer {
        self.asks("ada", command)
    }

    /// *ada* asks, and says when it happened.
    pub fn ada_at(&mut self, at: Timestamp, command: impl Into<Command>) -> Answer {
        let request = self.request(person("ada"), Some(self.tenant), command);
        self.send(&Request { at: Some(at), ..request }, Origin::Commands)
    }

    /// A worker or process reports.
    pub fn reports(&mut self, command: impl Into<Command>) -> Answer {
        let request = self.request(Actor::Service("worker".to_owned()), Some(self.tenant), command);
        self.send(&request, Origin::Reports)
    }

    /// Time passes.
    pub fn waits(&mut self, seconds: i64) -> &mut Self {
        self.now += TimeDelta::seconds(seconds);
        self
    }

    /// Somebody gets a role; the roles of a cell in *b*.
    pub fn gives(&mut self, who: &str, role: Role) -> &mut Self {
        let cell = role.is_of_cell().then_some(self.b);
        self.ada(grant(who, role, cell)).accepted();
        self
    }

    pub fn acme(&self) -> &Tenant {
        &self.chain.state.tenants[&self.tenant]
    }

    #[track_caller]
    pub fn resource(&self, id: ResourceId) -> &Resource {
        self.acme().resources.get(&id).expect("the resource is there")
    }

    pub fn phase(&self, id: ResourceId) -> Phase {
        self.resource(id).phase
    }

    /// What acme uses of a dimension.
    pub fn used(&self, name: &str) -> u64 {
        self.acme().used.get(&dimension(name))
    }

    /// The intent of the open step.
    #[track_caller]
    pub fn intent(&self, id: ResourceId) -> IntentId {
        self.step(id).expect("a step is open").intent
    }

    fn step(&self, id: ResourceId) -> Option<&Step> {
        let tenant = self.acme();
        tenant.resources.get(&id).and_then(|r| r.step.as_ref()).or(tenant.remains.get(&id).map(|r| &r.step))
    }

    /// The kind for a report about a resource, gone or not.
    fn kind_of(&self, id: ResourceId) -> ServiceName {
        self.acme().resources.get(&id).map_or_else(|| kind("server"), |r| r.kind.clone())
    }

    /// *ada* orders a resource, and a worker makes it.
    #[track_caller]
    pub fn has(&mut self, new: New) -> ResourceId {
        let id = self.ada(new).accepted().resource();
        self.done(id).is("resource.provisioned");
        id
    }

    /// A server in cell *b* that runs.
    #[track_caller]
    pub fn server(&mut self) -> ResourceId {
        let new = self.order("server");
        self.has(new)
    }

    /// A volume in cell *b* that is attached to `server`.
    #[track_caller]
    pub fn volume_on(&mut self, server: ResourceId) -> ResourceId {
        let new = self.order("volume");
        let volume = self.has(new);
        self.ada(attach(volume, server)).is("resource.attach_requested");
        self.done(volume).is("resource.attached");
        volume
    }

    /// The worker did the open step.
    #[track_caller]
    pub fn done(&mut self, id: ResourceId) -> Answer {
        let intent = self.intent(id);
        self.reports_done(id, intent, Some("ext-1"))
    }

    /// A worker says that it did a step, whichever is open.
    pub fn reports_done(&mut self, resource: ResourceId, intent: IntentId, external: Option<&str>) -> Answer {
        let kind = self.kind_of(resource);
        let zone = Some("az1".parse().unwrap());
        self.reports(Command::ReportDone { resource, intent, external: external.map(str::to_owned), kind, zone })
    }

    /// The worker gave up the open step; `remains`: something may be left at the provider.
    #[track_caller]
    pub fn fails(&mut self, resource: ResourceId, remains: bool) -> Answer {
        let intent = self.intent(resource);
        self.reports(Command::ReportFailed { resource, intent, problem: "no host has room".to_owned(), remains })
    }

    /// The timer of the open step rings.
    #[track_caller]
    pub fn deadline(&mut self, resource: ResourceId) -> Answer {
        let intent = self.intent(resource);
        self.reports(Command::DeadlinePassed { resource, intent })
    }

    /// A worker that knows of all calls before begins one for the open step that lasts at most `seconds`.
    #[track_caller]
    pub fn calls(&mut self, worker: &str, resource: ResourceId, seconds: i64) -> Answer {
        let epoch = self.step(resource).and_then(|step| step.pending.as_ref()).map_or(1, |pending| pending.epoch + 1);
        self.calls_as(worker, resource, seconds, epoch)
    }

    /// A worker begins what it believes to be the call of this number for the open step.
    #[track_caller]
    pub fn calls_as(&mut self, worker: &str, resource: ResourceId, seconds: i64, epoch: u64) -> Answer {
        let (intent, call_deadline) = (self.intent(resource), self.now + TimeDelta::seconds(seconds));
        self.reports(Command::ReportPending { resource, intent, worker: worker.to_owned(), epoch, call_deadline })
    }

    /// An operator says how the open step ended.
    #[track_caller]
    pub fn resolves(&mut self, resource: ResourceId, verdict: Verdict) -> Answer {
        let intent = self.intent(resource);
        self.asks("olga", Command::ResolveStep { resource, intent, verdict, reason: "looked at the console".to_owned() })
    }

    /// It is deleted, and gone.
    #[track_caller]
    pub fn removes(&mut self, id: ResourceId) {
        self.ada(delete(id)).is("resource.delete_requested");
        self.done(id).accepted();
        assert!(!self.acme().resources.contains_key(&id));
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut replayed = self.chain.replayed();
            replayed.shed(self.chain.state.gone().0, usize::MAX);
            assert!(replayed == self.chain.state, "the replay of the log differs from the live state");
        }
    }
}

pub fn appoint(who: &str) -> Command {
    Command::AppointOperator { operator: principal(who) }
}

pub fn reserve(reference: &str, clock: Clock) -> Command {
    Command::ReserveTenant {
        reference: reference.to_owned(),
        name: reference.to_owned(),
        administrator: principal("ada"),
        clock,
        labels: Default::default(),
        limits: Limits::new(),
        cell_default: Limits::new(),
    }
}

pub fn cell(name: &str) -> Command {
    Command::CreateCell { name: name.to_owned(), billing_account: None, limits: Limits::new(), parent: None }
}

pub fn grant(who: &str, role: Role, cell: Option<CellId>) -> Command {
    Command::GrantRole { principal: principal(who), grant: Grant { role, cell } }
}

pub fn revoke(who: &str, role: Role, cell: Option<CellId>) -> Command {
    Command::RevokeRole { principal: principal(who), grant: Grant { role, cell } }
}

pub fn delete(resource: ResourceId) -> Command {
    Command::DeleteResource { resource, if_generation: None }
}

pub fn act(resource: ResourceId, action: Action) -> Command {
    Command::ActOnResource { resource, if_generation: None, action }
}

pub fn attach(resource: ResourceId, to: ResourceId) -> Command {
    Command::AttachResource { resource, if_generation: None, to }
}

pub fn detach(resource: ResourceId) -> Command {
    Command::DetachResource { resource, if_generation: None }
}

pub fn change(resource: ResourceId, spec: Spec) -> Command {
    Command::ChangeResource { resource, if_generation: None, name: None, labels: None, spec: Some(spec), version: 1 }
}

pub fn rename(resource: ResourceId, name: &str) -> Command {
    Command::ChangeResource { resource, if_generation: None, name: Some(name.to_owned()), labels: None, spec: None, version: 1 }
}

pub fn vanished(resource: ResourceId) -> Command {
    Command::ReportVanished { resource }
}

pub fn correct(resource: ResourceId, fact: LifecycleFact, at: Timestamp) -> Command {
    Command::CorrectLifecycle { resource, fact, at, reason: "the provider's log says so".to_owned() }
}

pub fn close(drain: bool) -> Command {
    Command::CloseTenant { drain }
}

pub fn suspend() -> Command {
    Command::SuspendTenant { reason: "unpaid".to_owned() }
}
