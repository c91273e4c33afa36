use super::*;
use domain::{
    id::{CellId, IntentId, ResourceId, TenantId},
    people::{Permission, Role},
    quota::{Level, Limit},
};
use serde_json::json;
use std::{collections::BTreeSet, fs, path::Path};
use uuid::Uuid;

/// One of every refusal. A missing one is found by [`every_refusal_has_a_status_that_a_person_has_looked_at`].
fn all() -> Vec<Refusal> {
    let (tenant, cell, resource) = (TenantId(Uuid::nil()), CellId(Uuid::nil()), ResourceId(Uuid::nil()));
    let intent = IntentId(Uuid::nil());
    let at = chrono::DateTime::from_timestamp(0, 0).unwrap();
    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>() -> T {
        "x".parse().unwrap()
    }
    vec![
        Refusal::KeyReused,
        Refusal::Forbidden { permission: Permission::Read },
        Refusal::OperatorsOnly,
        Refusal::WorkersOnly,
        Refusal::WrongChain,
        Refusal::PlatformStale,
        Refusal::NoSuchTenant { tenant },
        Refusal::ReferenceTaken { reference: "acme".into() },
        Refusal::TenantSuspended,
        Refusal::TenantClosing,
        Refusal::TenantClosed,
        Refusal::NotEmpty { resources: 2, cells: 1 },
        Refusal::NoSuchCell { cell },
        Refusal::CellClosed { cell },
        Refusal::CellsDoNotNest,
        Refusal::QuotaExceeded { level: Level::Cell, dimension: name(), limit: Limit::At(10), used: 8, asked: 4 },
        Refusal::AboveTenantLimit { dimension: name(), limit: Limit::At(20), asked: Limit::Unlimited },
        Refusal::UnknownDimension { dimension: name() },
        Refusal::RoleLevel { role: Role::CellUser, of_cell: true },
        Refusal::LastSuperAdministrator,
        Refusal::LastOperator,
        Refusal::NoSuchRegion { region: name() },
        Refusal::NoSuchZone { zone: name() },
        Refusal::ZoneNotOpen { zone: name() },
        Refusal::ZoneMismatch { service: name(), zonal: true },
        Refusal::NoSuchService { service: name() },
        Refusal::ServiceNotOrderable { service: name(), state: "paused".into() },
        Refusal::CatalogueMoved { service: name(), checked: 1, current: 2 },
        Refusal::ServiceVersion { service: name(), expected: 2 },
        Refusal::NoSuchFlavor { flavor: name() },
        Refusal::WrongLevel { service: name(), cell: true },
        Refusal::field("#/spec/size_gib", "can only grow"),
        Refusal::NoSuchResource { resource },
        Refusal::BadReference { pointer: "#/spec/networks/0".into(), resource, problem: "it is deleting".into() },
        Refusal::InUse { by: vec![resource] },
        Refusal::NoSuchAction { service: name(), action: "reboot".into() },
        Refusal::WrongPhase { phase: "failed".into() },
        Refusal::Busy { step: "change".into(), intent },
        Refusal::GenerationMismatch { expected: 1, current: 2 },
        Refusal::StepNotOpen { intent },
        Refusal::StepTaken { until: at },
        Refusal::DeadlineAhead { deadline: at },
        Refusal::AtAhead { at },
        Refusal::AtBeforeLast { at, last: at },
        Refusal::ClockIsNotEffective,
        Refusal::FormatOutOfOrder { asked: 3, current: 1 },
        Refusal::FormatNotRead { asked: 2, reads: 1, role: "decider".to_owned(), process: Uuid::nil() },
    ]
}

fn members(refusal: &Refusal) -> Value {
    serde_json::to_value(problem(refusal).document()).unwrap()
}

#[test]
fn every_refusal_has_a_status_that_a_person_has_looked_at() {
    let schema = serde_json::to_value(schemars::schema_for!(Refusal)).unwrap();
    let declared = |of: &Value| of["properties"]["reason"]["const"].as_str().map(str::to_owned);
    let declared: BTreeSet<String> = schema["oneOf"].as_array().unwrap().iter().filter_map(declared).collect();
    let reasons: BTreeSet<String> = all().iter().map(|refusal| members(refusal)["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, declared, "all() holds one of every refusal");

    let line = |refusal: &Refusal| {
        let (kind, reason) = (kind_of(refusal), members(refusal)["reason"].as_str().unwrap().to_owned());
        let again = if refusal.is_worth_retrying() { "  same key may succeed later" } else { "" };
        format!("{reason:<24} {} {:<24}{again}", kind.status().as_u16(), kind.slug()).trim_end().to_owned() + "\n"
    };
    let found: String = all().iter().map(line).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/refusals.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, golden, "look at the difference, then run the tests with UPDATE_GOLDEN=1");
}

#[test]
fn a_full_quota_says_where_it_is_full_and_by_how_much() {
    let refusal =
        Refusal::QuotaExceeded { level: Level::Cell, dimension: "vcpus".parse().unwrap(), limit: Limit::At(10), used: 8, asked: 4 };
    assert_eq!(
        members(&refusal),
        json!({
            "type": "/problems/quota-exceeded",
            "title": "The quota has no room for this",
            "status": 409,
            "detail": "Quota of the cell: vcpus has limit 10, used 8, asked 4.",
            "reason": "quota_exceeded",
            "retryable": true,
            "level": "cell",
            "dimension": "vcpus",
            "limit": 10,
            "used": 8,
            "asked": 4,
        })
    );
}

#[test]
fn a_field_that_the_decider_refuses_is_named_like_any_other_fault_of_a_body() {
    let found = members(&Refusal::field("#/spec/size_gib", "can only grow"));
    assert_eq!(found["errors"], json!([{ "pointer": "#/spec/size_gib", "detail": "Can only grow." }]));
    assert!(found.get("pointer").is_none() && found.get("problem").is_none());
}
