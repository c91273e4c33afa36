//! One sample of every command, as its record lies on the topic. A new variant without one does not compile.

use crate::{
    events::{CELL, INTENT, NETWORK, SERVER, TENANT, VOLUME, at, id, labels, limit_changes, limits, name, principal, service},
    samples,
};
use domain::{
    catalogue::{Action, Flavor},
    command::{Command, LifecycleFact, Verdict},
    id::CommandId,
    people::{Actor, Grant, Role},
    platform::ZoneState,
    tenant::Clock,
};
use schemas::{command::CommandRecord, record::Digest};
use serde_json::json;

fn commands() -> Vec<Command> {
    let (resource, if_generation, reason) = (SERVER, Some(3), || "the provider was repaired".to_owned());
    let grant = Grant { role: Role::CellUser, cell: Some(CELL) };
    samples!(Command {
        DeclareRegion { region: name("eu-1"), title: "Europe 1".to_owned() },
        DeclareZone { zone: name("eu-1a"), region: name("eu-1") },
        SetZoneState { zone: name("eu-1a"), state: ZoneState::Draining },
        PublishService { service: service() },
        PauseService { service: name("server") },
        RetireService { service: name("server") },
        DefineFlavor { flavor: Flavor { name: name("m4"), vcpus: 4, memory_mib: 8192 } },
        SetDefaultQuota { tenant: limits(), cell: limits() },
        AppointOperator { operator: principal("olga") },
        DismissOperator { operator: principal("olga") },
        RaiseFormat { format: 1, running: vec![] },
        ReserveTenant {
            reference: "party-1001".to_owned(),
            name: "Acme".to_owned(),
            administrator: principal("ada"),
            clock: Clock::Journal,
            labels: labels(),
            limits: limits(),
            cell_default: limits(),
        },
        OpenTenant {},
        RenameTenant { name: Some("Acme & Sons".to_owned()), labels: Some(labels()) },
        SuspendTenant { reason: "invoice overdue".to_owned() },
        ResumeTenant {},
        CloseTenant { drain: true },
        SetTenantQuota { limits: limits(), cell_default: limit_changes() },
        CreateCell { name: "production".to_owned(), billing_account: Some("account-9".to_owned()), limits: limits(), parent: Some(CELL) },
        RenameCell { cell: CELL, name: "live".to_owned() },
        CloseCell { cell: CELL },
        SetCellQuota { cell: CELL, limits: limit_changes() },
        GrantRole { principal: principal("carl"), grant },
        RevokeRole { principal: principal("carl"), grant },
        CreateResource {
            cell: Some(CELL),
            kind: name("server"),
            version: 1,
            name: "web-1".to_owned(),
            zone: Some(name("eu-1a")),
            labels: labels(),
            subscriber: Some("subscriber-7".to_owned()),
            flavor: Some(name("m4")),
            spec: json!({ "image": "debian-13", "networks": [NETWORK], "contact": { "$sealed": "v1.k1.AAAA" } }),
        },
        ChangeResource {
            resource,
            if_generation,
            name: Some("web-2".to_owned()),
            labels: Some(labels()),
            spec: Some(json!({ "vcpus": 8, "memory_mib": 8192, "image": "debian-13" })),
            version: 1,
        },
        ActOnResource { resource, if_generation, action: Action::Reboot },
        AttachResource { resource: VOLUME, if_generation, to: SERVER },
        DetachResource { resource: VOLUME, if_generation },
        DeleteResource { resource, if_generation },
        ResolveStep { resource, intent: INTENT, verdict: Verdict::Failed, reason: reason() },
        CorrectLifecycle { resource, fact: LifecycleFact::Vanished, at: at("09:00:00"), reason: reason() },
        ReportPending { resource, intent: INTENT, worker: "eu-1a/worker-1".to_owned(), epoch: 1, call_deadline: at("10:01:00") },
        ReportDone { resource, intent: INTENT, external: Some("i-42".to_owned()), kind: name("server"), zone: Some(name("eu-1a")) },
        ReportFailed { resource, intent: INTENT, problem: "no host has room for it".to_owned(), remains: true },
        ReportAttempt { resource, intent: INTENT, attempts: 2, problem: "the provider did not answer".to_owned() },
        ReportVanished { resource },
        DeadlinePassed { resource, intent: INTENT },
    })
}

/// Every command's record.
pub fn samples() -> Vec<CommandRecord> {
    let record = |command: Command| {
        let report = command.kind().starts_with("report_");
        CommandRecord {
            id: CommandId(id(0xc0)),
            tenant: Some(TENANT),
            actor: if report { Actor::Service("eu-1a/worker-1".to_owned()) } else { Actor::Principal(principal("ada")) },
            digest: Digest([0xd1; 32]),
            request: "req-1".to_owned(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            at: report.then(|| at("09:59:59.5")),
            expires: at("10:01:00"),
            after_platform: 7,
            command,
        }
    };
    commands().into_iter().map(record).collect()
}
