//! One sample of every refusal: they lie in the log inside `command.refused`. A new variant without one does not compile.

use crate::{
    events::{CELL, INTENT, NETWORK, SERVER, TENANT, VOLUME, at, id, name},
    samples,
};
use domain::{
    people::{Permission, Role},
    quota::{Level, Limit},
    refusal::Refusal,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every refusal as JSON, by its reason.
pub fn samples() -> BTreeMap<String, Value> {
    let all = samples!(Refusal {
        KeyReused {},
        Forbidden { permission: Permission::OperateResources },
        OperatorsOnly {},
        WorkersOnly {},
        WrongChain {},
        PlatformStale {},
        NoSuchTenant { tenant: TENANT },
        ReferenceTaken { reference: "party-1001".to_owned() },
        TenantSuspended {},
        TenantClosing {},
        TenantClosed {},
        NotEmpty { resources: 3, cells: 1 },
        NoSuchCell { cell: CELL },
        CellClosed { cell: CELL },
        CellsDoNotNest {},
        QuotaExceeded { level: Level::Tenant, dimension: name("vcpus"), limit: Limit::At(20), used: 18, asked: 4 },
        AboveTenantLimit { dimension: name("vcpus"), limit: Limit::At(20), asked: Limit::Unlimited },
        UnknownDimension { dimension: name("wishes") },
        RoleLevel { role: Role::CellUser, of_cell: true },
        LastSuperAdministrator {},
        LastOperator {},
        NoSuchRegion { region: name("eu-9") },
        NoSuchZone { zone: name("eu-9a") },
        ZoneNotOpen { zone: name("eu-1a") },
        ZoneMismatch { service: name("server"), zonal: true },
        NoSuchService { service: name("teapot") },
        ServiceNotOrderable { service: name("server"), state: "paused".to_owned() },
        CatalogueMoved { service: name("server"), checked: 1, current: 2 },
        ServiceVersion { service: name("server"), expected: 2 },
        NoSuchFlavor { flavor: name("m9") },
        WrongLevel { service: name("server"), cell: false },
        BadField { pointer: "#/spec/size_gib".to_owned(), problem: "can only grow".to_owned() },
        NoSuchResource { resource: SERVER },
        BadReference { pointer: "#/spec/networks/0".to_owned(), resource: NETWORK, problem: "it is deleting".to_owned() },
        InUse { by: vec![SERVER, VOLUME] },
        NoSuchAction { service: name("volume"), action: "reboot".to_owned() },
        WrongPhase { phase: "deleting".to_owned() },
        Busy { step: "change".to_owned(), intent: INTENT },
        GenerationMismatch { expected: 2, current: 3 },
        StepNotOpen { intent: INTENT },
        StepTaken { until: at("10:01:00") },
        DeadlineAhead { deadline: at("10:30:00") },
        AtAhead { at: at("11:00:00") },
        AtBeforeLast { at: at("09:00:00"), last: at("10:00:00") },
        ClockIsNotEffective {},
        FormatOutOfOrder { asked: 3, current: 1 },
        FormatNotRead { asked: 2, reads: 1, role: "decider".to_owned(), process: id(7) },
    });
    let json: BTreeMap<String, Value> = all
        .iter()
        .map(|refusal| {
            let json = serde_json::to_value(refusal).unwrap();
            (json["reason"].as_str().unwrap().to_owned(), json)
        })
        .collect();
    assert_eq!(json.len(), all.len(), "two refusals share a reason");
    json
}
