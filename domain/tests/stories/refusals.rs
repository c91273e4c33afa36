//! Every refusal: one way to get it, the sentence that people read, and whether it frees the key.

use crate::cloud::*;
use chrono::TimeDelta;
use domain::{
    catalogue::{Action, Service},
    command::{Command, Origin, Request},
    id::{CellId, ResourceId, TenantId},
    people::Role,
    platform::{RunningRole, ZoneState},
    quota::{Limit, Limits},
    refusal::Refusal,
    tenant::Clock,
};
use serde_json::json;
use std::collections::BTreeSet;

struct Case {
    /// The `reason` on the wire.
    reason: &'static str,
    /// Whether the same request may be accepted later.
    frees_the_key: bool,
    /// What people read.
    says: &'static str,
    get: fn(&mut Cloud) -> Answer,
}

const STAYS: bool = false;
const FREES: bool = true;

const fn case(reason: &'static str, frees_the_key: bool, says: &'static str, get: fn(&mut Cloud) -> Answer) -> Case {
    Case { reason, frees_the_key, says, get }
}

const CASES: [Case; 47] = [
    case("key_reused", STAYS, "this idempotency key was used for another request", |cloud| {
        let request = cloud.request(person("ada"), Some(cloud.tenant), cell("d"));
        cloud.send(&request, Origin::Commands).accepted();
        cloud.send(&Request { fingerprint: 0, ..request }, Origin::Commands)
    }),
    case("forbidden", FREES, "this needs the permission Rename", |cloud| {
        cloud.gives("vera", Role::TenantViewer).asks("vera", Command::RenameTenant { name: None, labels: None })
    }),
    case("operators_only", FREES, "only an operator of the platform may do this", |cloud| cloud.ada(suspend())),
    case("workers_only", STAYS, "this may only be reported by a worker", |cloud| {
        let id = cloud.server();
        cloud.ada(vanished(id))
    }),
    case("wrong_chain", STAYS, "this command does not belong to this chain", |cloud| cloud.runs(suspend())),
    case("platform_stale", FREES, "the platform's facts are stale here; try again", |cloud| {
        cloud.stale = true;
        cloud.ada(cloud.order("server"))
    }),
    case("no_such_tenant", FREES, "there is no tenant 00000000-0000-0000-0000-00000000dead", |cloud| {
        let request = cloud.request(person("ada"), Some(TenantId(nobody())), cell("d"));
        cloud.send(&request, Origin::Commands)
    }),
    case("reference_taken", STAYS, "the external reference \"acme\" belongs to another tenant", |cloud| {
        cloud.runs(reserve("acme", Clock::Journal))
    }),
    case("tenant_suspended", FREES, "the tenant is suspended: only stop, detach and delete are accepted", |cloud| {
        cloud.asks("olga", suspend()).accepted();
        cloud.ada(cell("d"))
    }),
    case("tenant_closing", STAYS, "the tenant is closing", |cloud| {
        cloud.server();
        cloud.ada(close(true)).accepted();
        cloud.ada(cloud.order("server"))
    }),
    case("tenant_closed", STAYS, "the tenant is closed", |cloud| {
        cloud.ada(close(true)).is("cell.closed cell.closed tenant.closed");
        cloud.ada(cell("d"))
    }),
    case("not_empty", FREES, "not empty: 1 resources, 2 cells", |cloud| {
        cloud.server();
        cloud.ada(close(false))
    }),
    case("no_such_cell", STAYS, "there is no cell 00000000-0000-0000-0000-00000000dead", |cloud| {
        cloud.ada(Command::CloseCell { cell: CellId(nobody()) })
    }),
    case("cell_closed", STAYS, "cell 00000000-0000-0000-0000-00c000000012 is closed", |cloud| {
        let cell = cloud.ada(cell("d")).id.into();
        cloud.ada(Command::CloseCell { cell }).accepted();
        cloud.ada(cloud.order("server").in_cell(cell))
    }),
    case("cells_do_not_nest", STAYS, "cells do not nest: a cell has a tenant as its parent", |cloud| {
        cloud.ada(Command::CreateCell { name: "d".to_owned(), billing_account: None, limits: Limits::new(), parent: Some(cloud.b) })
    }),
    case("quota_exceeded", FREES, "quota of the cell: units has limit 3, used 0, asked 4", |cloud| {
        cloud.ada(Command::SetCellQuota { cell: cloud.b, limits: changes([("units", Some(Limit::At(3)))]) }).accepted();
        cloud.ada(cloud.order("pool").with("units", 4))
    }),
    case("above_tenant_limit", FREES, "units: unlimited is above the tenant's limit 2", |cloud| {
        cloud.asks("olga", Command::SetTenantQuota { limits: limits([("units", Limit::At(2))]), cell_default: changes([]) }).accepted();
        cloud.ada(Command::SetCellQuota { cell: cloud.b, limits: changes([("units", Some(Limit::Unlimited))]) })
    }),
    case("unknown_dimension", FREES, "no service declares the quota dimension boats", |cloud| {
        cloud.ada(Command::SetCellQuota { cell: cloud.b, limits: changes([("boats", None)]) })
    }),
    case("role_level", STAYS, "CellUser is granted in a cell", |cloud| cloud.ada(grant("nina", Role::CellUser, None))),
    case("last_super_administrator", FREES, "the last super administrator of a tenant cannot be removed", |cloud| {
        cloud.ada(revoke("ada", Role::TenantSuperAdministrator, None))
    }),
    case("last_operator", FREES, "the last operator of the platform cannot be dismissed", |cloud| {
        cloud.runs(Command::DismissOperator { operator: principal("olga") })
    }),
    case("no_such_region", FREES, "there is no region eu-9", |cloud| {
        cloud.runs(Command::DeclareZone { zone: "az9".parse().unwrap(), region: "eu-9".parse().unwrap() })
    }),
    case("no_such_zone", FREES, "there is no availability zone az9", |cloud| cloud.ada(cloud.order("server").in_zone("az9"))),
    case("zone_not_open", FREES, "the availability zone az1 takes nothing new", |cloud| {
        cloud.runs(Command::SetZoneState { zone: "az1".parse().unwrap(), state: ZoneState::Draining }).accepted();
        cloud.ada(cloud.order("server"))
    }),
    case("zone_mismatch", STAYS, "server needs an availability zone", |cloud| cloud.ada(cloud.order("server").in_no_zone())),
    case("no_such_service", FREES, "the catalogue has no service boat", |cloud| cloud.ada(cloud.order("boat"))),
    case("service_not_orderable", FREES, "server cannot be ordered: it is paused", |cloud| {
        cloud.runs(Command::PauseService { service: kind("server") }).accepted();
        cloud.ada(cloud.order("server"))
    }),
    case("catalogue_moved", FREES, "server has version 1 now; the request was checked against 2", |cloud| {
        cloud.ada(cloud.order("server").of_version(2))
    }),
    case("service_version", STAYS, "server must be published as version 2", |cloud| {
        let service = crate::catalogue::services().remove(0);
        cloud.runs(Command::PublishService { service: Box::new(Service { version: 7, ..service }) })
    }),
    case("no_such_flavor", FREES, "there is no flavor m9", |cloud| cloud.ada(cloud.order("server").spec(json!({})).flavored("m9"))),
    case("wrong_level", STAYS, "server cannot be placed at the tenant's own level", |cloud| cloud.ada(cloud.order("server").at_tenant())),
    case("bad_field", STAYS, "#/spec/vcpus: not a whole number", |cloud| cloud.ada(cloud.order("server").with("vcpus", "two"))),
    case("no_such_resource", STAYS, "there is no resource 00000000-0000-0000-0000-00000000dead", |cloud| {
        cloud.ada(delete(ResourceId(nobody())))
    }),
    case(
        "bad_reference",
        STAYS,
        "#/spec/disk: 00000000-0000-0000-0000-00000000dead cannot be referred to: there is none in this cell or at the tenant's level",
        |cloud| cloud.ada(cloud.order("server").with("disk", nobody().to_string())),
    ),
    case("in_use", FREES, "in use by 1 others", |cloud| {
        let server = cloud.server();
        let volume = cloud.volume_on(server);
        cloud.ada(delete(volume))
    }),
    case("no_such_action", STAYS, "volume has no action stop", |cloud| {
        let volume = cloud.has(cloud.order("volume"));
        cloud.ada(act(volume, Action::Stop))
    }),
    case("wrong_phase", FREES, "not possible while the resource is deleting", |cloud| {
        let server = cloud.server();
        cloud.ada(delete(server)).accepted();
        cloud.ada(act(server, Action::Stop))
    }),
    case("busy", FREES, "another step is under way: create", |cloud| {
        let server = cloud.ada(cloud.order("server")).resource();
        cloud.ada(act(server, Action::Stop))
    }),
    case("generation_mismatch", STAYS, "the generation is 1, not 4", |cloud| {
        let resource = cloud.server();
        cloud.ada(Command::DeleteResource { resource, if_generation: Some(4) })
    }),
    case("step_not_open", STAYS, "intent 00000000-0000-0000-0000-00000000dead is not the open step", |cloud| {
        let resource = cloud.server();
        cloud.reports(Command::DeadlinePassed { resource, intent: domain::id::IntentId(nobody()) })
    }),
    case("step_taken", FREES, "another worker holds the step until 2026-01-01 00:00:30 UTC", |cloud| {
        let server = cloud.ada(cloud.order("server")).resource();
        cloud.calls("w1", server, 30).accepted();
        cloud.calls("w2", server, 30)
    }),
    case("deadline_ahead", FREES, "the deadline 2026-01-01 00:10:00 UTC has not passed", |cloud| {
        let server = cloud.ada(cloud.order("server")).resource();
        cloud.deadline(server)
    }),
    case("at_ahead", FREES, "2026-01-01 00:06:00 UTC is more than five minutes ahead", |cloud| {
        *cloud = Cloud::opened(Clock::Effective);
        let at = cloud.now + TimeDelta::minutes(6);
        cloud.ada_at(at, cloud.order("server"))
    }),
    case("at_before_last", STAYS, "2025-12-31 23:59:00 UTC is before the last accepted time 2026-01-01 00:00:00 UTC", |cloud| {
        *cloud = Cloud::opened(Clock::Effective);
        let server = cloud.server();
        let at = cloud.now - TimeDelta::minutes(1);
        cloud.ada_at(at, delete(server))
    }),
    case("clock_is_not_effective", STAYS, "this tenant runs by the clock: a time cannot be given", |cloud| {
        let now = cloud.now;
        cloud.ada_at(now, cloud.order("server"))
    }),
    case("format_out_of_order", STAYS, "format 3 cannot be raised: the format is 0", |cloud| {
        cloud.runs(Command::RaiseFormat { format: 3, running: vec![] })
    }),
    case(
        "format_not_read",
        FREES,
        "format 1 cannot be raised: a process that reads formats up to 0 is running, projector 00000000-0000-0000-0000-000000000000",
        |cloud| {
            let old = RunningRole { role: "projector".to_owned(), process: uuid::Uuid::nil(), reads: 0 };
            cloud.runs(Command::RaiseFormat { format: 1, running: vec![old] })
        },
    ),
];

/// Every reason, from serde's own list.
fn all_reasons() -> BTreeSet<String> {
    let message = serde_json::from_value::<Refusal>(json!({ "reason": "?" })).unwrap_err().to_string();
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_refusal_can_be_reached_reads_well_and_frees_the_key_when_it_should() {
    for case in &CASES {
        let mut cloud = Cloud::open();
        let answer = (case.get)(&mut cloud);
        let Some(refusal) = answer.refusal() else { panic!("{}: {answer:?}", case.reason) };
        assert_eq!(reason(refusal), case.reason, "{refusal}");
        assert_eq!(refusal.to_string(), case.says);
        assert_eq!(refusal.is_worth_retrying(), case.frees_the_key, "{}", case.reason);
        let wire = serde_json::to_string(refusal).unwrap();
        assert_eq!(serde_json::from_str::<Refusal>(&wire).unwrap(), *refusal);
    }
    let reached: BTreeSet<String> = CASES.iter().map(|case| case.reason.to_owned()).collect();
    assert_eq!(reached, all_reasons());
}
