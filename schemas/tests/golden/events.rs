//! One sample of every event. A new variant without one does not compile.

use domain::{
    Labels, Timestamp,
    catalogue::Flavor,
    command::{LifecycleFact, Verdict},
    event::{CommandEvent, Event},
    id::{CellId, Dimension, IntentId, ResourceId, TenantId},
    people::{Grant, Principal, Role},
    platform::{PlatformEvent, Reservation, ZoneState},
    quota::{Amounts, Level, Limit, LimitChanges, Limits},
    refusal::Refusal,
    resource::{Opened, Requested, ResourceEvent, Terms},
    tenant::{CellEvent, Clock, MemberEvent, TenantEvent},
};
use serde_json::json;
use uuid::Uuid;

/// Samples of all variants of an enum. The match has no `_`, so a variant without a sample is a compile error.
#[macro_export]
macro_rules! samples {
    ($enum:ident { $($variant:ident $fields:tt),+ $(,)? }) => {{
        fn _every_variant_has_a_sample(e: &$enum) {
            match e { $($enum::$variant { .. } => {}),+ }
        }
        let all: Vec<$enum> = vec![$($enum::$variant $fields),+];
        all
    }};
}

pub const TENANT: TenantId = TenantId(id(0x7e));
pub const CELL: CellId = CellId(id(0xce));
pub const SERVER: ResourceId = ResourceId(id(0x5e));
pub const VOLUME: ResourceId = ResourceId(id(0x70));
pub const NETWORK: ResourceId = ResourceId(id(0x4e));
pub const INTENT: IntentId = IntentId(id(0x14));

pub const fn id(n: u8) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_5000_8000_0000_0000_0000 | n as u128)
}

pub fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

pub fn name<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

pub fn principal(subject: &str) -> Principal {
    Principal { issuer: "https://id.example.org/realms/acme".into(), subject: subject.into() }
}

pub fn labels() -> Labels {
    Labels::from([("cost-centre".to_owned(), "4711".to_owned())])
}

pub fn limits() -> Limits {
    Limits::from([(name("memory_mib"), Limit::Unlimited), (name("vcpus"), Limit::At(100))])
}

pub fn limit_changes() -> LimitChanges {
    LimitChanges::from([(name("memory_mib"), None), (name("servers"), Some(Limit::Unlimited)), (name("vcpus"), Some(Limit::At(10)))])
}

fn opened() -> Opened {
    Opened { intent: INTENT, deadline: at("10:30:00") }
}

fn reservation() -> Box<Reservation> {
    Box::new(Reservation {
        reference: "party-1001".to_owned(),
        name: "Acme".to_owned(),
        administrator: principal("ada"),
        clock: Clock::Effective,
        labels: labels(),
        limits: limits(),
        cell_default: Limits::from([(name("vcpus"), Limit::At(10))]),
    })
}

fn terms() -> Terms {
    Terms {
        spec: json!({
            "vcpus": 4, "memory_mib": 8192, "flavor": "m4", "image": "debian-13", "networks": [NETWORK], "contact": { "$sealed": "v1.k1.AAAA" },
        }),
        claim: [("servers", 1), ("vcpus", 4), ("memory_mib", 8192)]
            .into_iter()
            .map(|(d, n)| (name::<Dimension>(d), n))
            .collect::<Amounts>(),
        uses: vec![NETWORK],
    }
}

fn requested() -> Box<Requested> {
    Box::new(Requested {
        cell: Some(CELL),
        kind: name("server"),
        version: 1,
        name: "web-1".to_owned(),
        labels: labels(),
        subscriber: Some("subscriber-7".to_owned()),
        zone: Some(name("eu-1a")),
        terms: terms(),
        power: true,
        step: opened(),
        at: at("10:00:00"),
    })
}

/// A service as it was when its sample was frozen; the catalogue goes on.
pub fn service() -> Box<domain::catalogue::Service> {
    Box::new(schemas::catalogue::bundled().into_iter().find(|s| s.name.as_str() == "server").unwrap())
}

fn of_commands() -> Vec<CommandEvent> {
    let refusal = Refusal::QuotaExceeded { level: Level::Cell, dimension: name("vcpus"), limit: Limit::At(10), used: 8, asked: 4 };
    samples!(CommandEvent {
        Refused { refusal, body: Some(json!({ "name": "web-1" })) },
        Repeated { of: 48_113 },
        NothingToDo { generation: Some(3) },
        Expired {},
        Failed { problem: "the decision ended abnormally".to_owned() },
        Unreadable { problem: "not a command: syntax at line 1, column 1".to_owned() },
    })
}

fn of_platform() -> Vec<PlatformEvent> {
    samples!(PlatformEvent {
        RegionDeclared { region: name("eu-1"), title: "Europe 1".to_owned() },
        ZoneDeclared { zone: name("eu-1a"), region: name("eu-1") },
        ZoneStateSet { zone: name("eu-1a"), state: ZoneState::Draining },
        ServicePublished { service: service() },
        ServicePaused { service: name("server") },
        ServiceRetired { service: name("server") },
        FlavorDefined { flavor: Flavor { name: name("m4"), vcpus: 4, memory_mib: 8192 } },
        DefaultQuotaSet { tenant: limits(), cell: limits() },
        OperatorAppointed { operator: principal("olga") },
        OperatorDismissed { operator: principal("olga") },
        FormatRaised { format: 1 },
        TenantReserved { tenant: TENANT, reservation: reservation() },
    })
}

fn of_tenants() -> Vec<TenantEvent> {
    samples!(TenantEvent {
        Opened (reservation()),
        Renamed { name: "Acme & Sons".to_owned(), labels: labels() },
        Suspended { reason: "invoice overdue".to_owned() },
        Resumed {},
        LimitsSet { limits: limits() },
        CellDefaultSet { limits: limit_changes() },
        CellLimitsClamped { dimension: name("vcpus"), ceiling: Limit::At(6) },
        ClosingBegan { resources: 12, cells: 2 },
        Closed {},
    })
}

fn of_cells() -> Vec<CellEvent> {
    samples!(CellEvent {
        Created { name: "production".to_owned(), billing_account: Some("account-9".to_owned()), limits: limits() },
        Renamed { name: "live".to_owned() },
        LimitsSet { limits: limit_changes() },
        Closed {},
    })
}

fn of_members() -> Vec<MemberEvent> {
    let grant = Grant { role: Role::CellAdministrator, cell: Some(CELL) };
    samples!(MemberEvent {
        RoleGranted { principal: principal("carl"), grant },
        RoleRevoked { principal: principal("carl"), grant },
    })
}

fn of_resources() -> Vec<ResourceEvent> {
    let (at, later, step, problem) = (at("10:00:00"), at("10:05:00.123456"), opened(), || "no host has room for it".to_owned());
    samples!(ResourceEvent {
        Requested (requested()),
        Provisioned { intent: INTENT, external: Some("i-42".to_owned()), at: later },
        ProvisioningFailed { intent: INTENT, problem: problem(), at: later },
        ProvisioningAbandoned { intent: INTENT, problem: problem(), step, at: later },
        Cleaned { intent: INTENT, at: later },
        ChangeRequested { generation: 2, terms: Box::new(terms()), step, at },
        Changed { intent: INTENT, at: later },
        StartRequested { generation: 2, step, at },
        Started { intent: INTENT, at: later },
        StopRequested { generation: 2, step, at },
        Stopped { intent: INTENT, at: later },
        RebootRequested { generation: 2, step, at },
        Rebooted { intent: INTENT, at: later },
        AttachRequested { generation: 2, to: SERVER, step, at },
        Attached { intent: INTENT, to: SERVER, at: later },
        DetachRequested { generation: 3, from: SERVER, step, at },
        Detached { intent: INTENT, from: SERVER, at: later },
        Released { from: SERVER, at: later },
        StepFailed { intent: INTENT, problem: problem(), at: later },
        Renamed { generation: 2, name: "web-2".to_owned(), labels: labels() },
        DeleteRequested { generation: 4, step, at },
        Deleted { intent: INTENT, at: later },
        Pending { intent: INTENT, worker: "eu-1a/worker-1".to_owned(), epoch: 1, call_deadline: later },
        AttemptFailed { intent: INTENT, attempts: 2, problem: problem() },
        Overdue { intent: INTENT },
        Resolved { intent: INTENT, verdict: Verdict::Retry, reason: "the provider was repaired".to_owned() },
        Reopened { step },
        Vanished { at: later },
        ObservedLate { intent: INTENT, observed: "done".to_owned() },
        RemainsFound { kind: name("server"), zone: Some(name("eu-1a")), made_by: INTENT, step },
        RemainsRemoved { intent: INTENT },
        LifecycleCorrected { fact: LifecycleFact::Provisioned, at, reason: "the provider's clock was wrong".to_owned() },
    })
}

/// Every event that can be written.
pub fn samples() -> Vec<Event> {
    let tenant = TENANT;
    let mut all = Vec::new();
    all.extend(of_commands().into_iter().map(Event::Command));
    all.extend(of_platform().into_iter().map(Event::Platform));
    all.extend(of_tenants().into_iter().map(|event| Event::Tenant { tenant, event }));
    all.extend(of_cells().into_iter().map(|event| Event::Cell { tenant, cell: CELL, event }));
    all.extend(of_members().into_iter().map(|event| Event::Member { tenant, event }));
    all.extend(of_resources().into_iter().map(|event| Event::Resource { tenant, resource: VOLUME, event }));
    // A family without samples is a compile error like a variant without one.
    for event in &all {
        match event {
            Event::Command(_)
            | Event::Platform(_)
            | Event::Tenant { .. }
            | Event::Cell { .. }
            | Event::Member { .. }
            | Event::Resource { .. } => {}
        }
    }
    all
}
