//! What each read model makes of commits.

use super::database::{Shows, shown};
use domain::{
    Timestamp,
    command::{Command, Origin, Verdict},
    id::{CellId, CommandId, RegionName, ResourceId, TenantId, ZoneName},
    people::{Actor, Grant, Role},
    platform::{ServiceState, ZoneState},
    quota::{Limit, Limits, Source},
    resource::Phase,
    tenant::{Clock, TenantStatus},
};
use projections::{open_work::Free, operations::Outcome, page::ByEvent};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tests::cloud::{Answer, Cloud, person};

fn acme() -> (Cloud, TenantId) {
    let mut cloud = Cloud::new();
    let tenant = cloud.open_tenant("acme", Clock::Journal);
    (cloud, tenant)
}

fn delete(resource: ResourceId) -> Command {
    Command::DeleteResource { resource, if_generation: None }
}

fn limits(dimension: &str, n: u64) -> Limits {
    [(dimension.parse().unwrap(), Limit::At(n))].into()
}

#[tokio::test]
async fn a_tenant_is_shown_through_its_life_and_its_closing_counts_down() {
    let (mut cloud, tenant) = acme();
    let network: ResourceId = cloud.ask(tenant, Cloud::network("net", None)).created();
    cloud.finish(tenant, network);
    let operator = Actor::Principal(person("operator"));
    let id = cloud.next_id();
    cloud.send(id, Some(tenant), Origin::Commands, operator.clone(), Command::SuspendTenant { reason: "unpaid".to_owned() });
    let mut shows = shown(&cloud).await;
    let row = shows.snapshot().await.tenant(tenant).await.unwrap().unwrap();
    assert_eq!((row.status, row.reason.as_deref(), row.resources), (TenantStatus::Suspended, Some("unpaid"), 1));
    assert_eq!((row.name.as_str(), row.reference.as_str(), row.clock), ("The acme company", "acme", Clock::Journal));

    let id = cloud.next_id();
    cloud.send(id, Some(tenant), Origin::Commands, operator, Command::CloseTenant { drain: true });
    shows.follow(&cloud).await;
    let closing = shows.snapshot().await.closing_tenants(10).await.unwrap();
    assert_eq!((closing[0].id, closing[0].resources, closing[0].closing), (tenant, 1, Some(1)));

    cloud.report(Some(tenant), delete(network));
    cloud.finish(tenant, network);
    shows.follow(&cloud).await;
    assert_eq!(shows.snapshot().await.closing_tenants(10).await.unwrap()[0].resources, 0);
    cloud.report(Some(tenant), Command::CloseTenant { drain: true });
    shows.follow(&cloud).await;
    let snapshot = shows.snapshot().await;
    assert_eq!(snapshot.tenant(tenant).await.unwrap().unwrap().status, TenantStatus::Closed);
    assert_eq!(snapshot.closing_tenants(10).await.unwrap(), []);
}

#[tokio::test]
async fn cells_are_listed_in_the_order_of_their_creation() {
    let (mut cloud, tenant) = acme();
    let cells: Vec<CellId> = ["c", "a", "b"].map(|name| cloud.create_cell(tenant, name)).into();
    cloud.ask(tenant, Command::RenameCell { cell: cells[0], name: "z".to_owned() });
    cloud.ask(tenant, Command::CloseCell { cell: cells[1] });
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    let first = snapshot.cells(tenant, None, None, 2).await.unwrap();
    let rest = snapshot.cells(tenant, None, Some(first[1].by_creation()), 2).await.unwrap();
    let names: Vec<_> = first.iter().chain(&rest).map(|cell| (cell.name.as_str(), cell.closed)).collect();
    assert_eq!(names, [("z", false), ("a", true), ("b", false)]);
    let mine = snapshot.cells(tenant, Some(&cells[2..]), None, 10).await.unwrap();
    assert_eq!(mine.iter().map(|cell| cell.id).collect::<Vec<_>>(), cells[2..]);
    let stranger = TenantId(uuid::Uuid::from_u128(1));
    assert_eq!(snapshot.cell(stranger, cells[0]).await.unwrap(), None);
}

#[tokio::test]
async fn quota_shows_limit_use_and_where_the_limit_comes_from() {
    let (mut cloud, tenant) = acme();
    let operator = Actor::Principal(person("operator"));
    let set = |cloud: &mut Cloud, command| {
        let id = cloud.next_id();
        cloud.send(id, Some(tenant), Origin::Commands, operator.clone(), command)
    };
    let default = [("vcpus".parse().unwrap(), Some(Limit::At(8)))].into();
    set(&mut cloud, Command::SetTenantQuota { limits: limits("vcpus", 20), cell_default: default });
    let own: CellId = cloud
        .ask(tenant, Command::CreateCell { name: "own".into(), billing_account: None, limits: limits("vcpus", 12), parent: None })
        .created();
    let inherits = cloud.create_cell(tenant, "inherits");
    cloud.ask(tenant, Cloud::server("one", Some(own)));
    cloud.ask(tenant, Cloud::server("two", Some(inherits)));
    cloud.ask(tenant, Cloud::server("three", None));
    set(&mut cloud, Command::SetTenantQuota { limits: limits("vcpus", 6), cell_default: BTreeMap::new() });
    let mut shows = shown(&cloud).await;
    let line = async |shows: &Shows, cell| {
        let (tenant, cell) = shows.snapshot().await.quota_of_cell(tenant, cell).await.unwrap().unwrap();
        let line = tenant.lines_of(&cell).into_iter().find(|line| line.dimension.as_str() == "vcpus").unwrap();
        (line.limit, line.source, line.used)
    };
    assert_eq!(line(&shows, own).await, (Limit::At(6), Source::Own, 2));
    assert_eq!(line(&shows, inherits).await, (Limit::At(6), Source::Tenant, 2));

    set(&mut cloud, Command::SetTenantQuota { limits: limits("vcpus", 20), cell_default: BTreeMap::new() });
    shows.follow(&cloud).await;
    assert_eq!(line(&shows, own).await, (Limit::At(6), Source::Own, 2), "what was clamped stays clamped");
    assert_eq!(line(&shows, inherits).await, (Limit::At(8), Source::Default, 2), "what is inherited rises again");
    let quota = shows.snapshot().await.quota(tenant).await.unwrap().unwrap();
    assert_eq!(quota.used.get(&"vcpus".parse().unwrap()), 6);
}

#[tokio::test]
async fn a_change_holds_the_greater_claim_until_it_is_done_and_a_failed_create_holds_nothing() {
    let (mut cloud, tenant) = acme();
    let used = async |shows: &Shows| {
        let quota = shows.snapshot().await.quota(tenant).await.unwrap().unwrap();
        (quota.used.get(&"vcpus".parse().unwrap()), quota.used.get(&"servers".parse().unwrap()))
    };
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", None)).created();
    cloud.finish(tenant, server);
    let spec = json!({"vcpus": 1, "memory_mib": 4096, "image": "debian-13"});
    let change = Command::ChangeResource { resource: server, if_generation: None, name: None, labels: None, spec: Some(spec), version: 1 };
    cloud.ask(tenant, change);
    let mut shows = shown(&cloud).await;
    assert_eq!(used(&shows).await, (2, 1));
    cloud.finish(tenant, server);
    shows.follow(&cloud).await;
    assert_eq!(used(&shows).await, (1, 1));

    let fails: ResourceId = cloud.ask(tenant, Cloud::server("fails", None)).created();
    cloud.fail(tenant, fails, "no host has room", true);
    shows.follow(&cloud).await;
    assert_eq!(used(&shows).await, (3, 2), "something may be left at the provider");
    cloud.finish(tenant, fails);
    shows.follow(&cloud).await;
    assert_eq!(used(&shows).await, (1, 1));
    cloud.ask(tenant, delete(server));
    cloud.finish(tenant, server);
    shows.follow(&cloud).await;
    assert_eq!(used(&shows).await, (0, 0));
}

#[tokio::test]
async fn a_resource_tells_its_last_problem_in_plain_words_until_something_goes_well() {
    let (mut cloud, tenant) = acme();
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", None)).created();
    let (intent, ..) = cloud.open_step(tenant, server);
    for attempts in 1..=2 {
        let problem = format!("attempt {attempts} timed out");
        cloud.report(Some(tenant), Command::ReportAttempt { resource: server, intent, attempts, problem });
    }
    let mut shows = shown(&cloud).await;
    let row = shows.snapshot().await.resource(tenant, server).await.unwrap().unwrap();
    assert_eq!((row.phase(), row.failures, row.problem.as_deref()), ("creating", 2, Some("attempt 2 timed out")));
    cloud.finish(tenant, server);
    shows.follow(&cloud).await;
    let row = shows.snapshot().await.resource(tenant, server).await.unwrap().unwrap();
    assert_eq!((row.phase(), row.failures, row.problem.as_deref()), ("active", 0, None));
    assert_eq!(row.external, Some(format!("ext-{intent}")));
    assert_eq!(row.state.as_ref(), Some(&*cloud.tenant(tenant).resources[&server]));
}

#[tokio::test]
async fn a_deleted_resource_is_remembered_but_not_listed() {
    let (mut cloud, tenant) = acme();
    let cell = cloud.create_cell(tenant, "cell");
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", Some(cell))).created();
    cloud.finish(tenant, server);
    cloud.ask(tenant, delete(server));
    cloud.finish(tenant, server);
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    let row = snapshot.resource(tenant, server).await.unwrap().unwrap();
    assert_eq!((row.phase(), row.cell, row.name.as_str(), row.state), ("deleted", Some(cell), "web", None));
    let order = projections::resources::Order::Creation(None);
    assert_eq!(snapshot.resources(tenant, &Default::default(), &order, 10).await.unwrap(), []);
    assert_eq!(snapshot.open_work_by_place().await.unwrap(), []);
}

#[tokio::test]
async fn remains_of_what_is_gone_are_open_work_until_they_are_removed() {
    let (mut cloud, tenant) = acme();
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", None)).created();
    let (create, kind, zone) = cloud.open_step(tenant, server);
    cloud.ask(tenant, delete(server));
    cloud.finish(tenant, server);
    let late = Command::ReportDone { resource: server, intent: create, external: Some("vm-7".into()), kind, zone };
    cloud.report(Some(tenant), late);
    let (clean_up, ..) = cloud.open_step(tenant, server);
    let call_deadline = cloud.now + Duration::from_secs(30);
    let pending = Command::ReportPending { resource: server, intent: clean_up, worker: "w1".into(), epoch: 1, call_deadline };
    cloud.report(Some(tenant), pending);
    let mut shows = shown(&cloud).await;
    let work = shows.snapshot().await.work_on(tenant, server).await.unwrap().unwrap();
    assert_eq!(work.resource.remains.as_ref(), cloud.tenant(tenant).remains.get(&server));
    assert_eq!(work.resource.place(), "north-a");
    assert_eq!(shows.snapshot().await.tenant(tenant).await.unwrap().unwrap().resources, 1, "it is still to be removed");

    cloud.finish(tenant, server);
    shows.follow(&cloud).await;
    assert_eq!(shows.snapshot().await.work_on(tenant, server).await.unwrap(), None);
    assert_eq!(shows.snapshot().await.tenant(tenant).await.unwrap().unwrap().resources, 0);
}

#[tokio::test]
async fn a_worker_sees_its_zone_and_leaves_alone_what_another_may_still_be_doing() {
    let (mut cloud, tenant) = acme();
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", None)).created();
    let network: ResourceId = cloud.ask(tenant, Cloud::network("net", None)).created();
    let (intent, ..) = cloud.open_step(tenant, server);
    let call_deadline = cloud.now + Duration::from_secs(30);
    let pending = Command::ReportPending { resource: server, intent, worker: "w1".into(), epoch: 1, call_deadline };
    cloud.report(Some(tenant), pending);
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    let (here, there): (ZoneName, ZoneName) = ("north-a".parse().unwrap(), "north-b".parse().unwrap());
    let seen = async |zone: Option<&ZoneName>, worker: &str, since: Timestamp| {
        let work = snapshot.open_work(zone, Free { worker, since }, None, 10).await.unwrap();
        work.into_iter().map(|row| row.resource.id).collect::<Vec<_>>()
    };
    assert_eq!(seen(Some(&here), "w1", cloud.now).await, [server]);
    assert_eq!(seen(Some(&here), "w2", cloud.now).await, []);
    assert_eq!(seen(Some(&here), "w2", call_deadline + Duration::from_secs(1)).await, [server]);
    assert_eq!(seen(Some(&there), "w1", cloud.now).await, []);
    assert_eq!(seen(None, "w1", cloud.now).await, [network]);
}

#[tokio::test]
async fn an_attachment_knows_by_which_intent_the_other_side_was_made() {
    let (mut cloud, tenant) = acme();
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", None)).created();
    let (made_by, ..) = cloud.open_step(tenant, server);
    let volume: ResourceId = cloud.ask(tenant, Cloud::volume("data", None)).created();
    cloud.finish(tenant, server);
    cloud.finish(tenant, volume);
    cloud.ask(tenant, Command::AttachResource { resource: volume, if_generation: None, to: server });
    let mut shows = shown(&cloud).await;
    let work = shows.snapshot().await.work_on(tenant, volume).await.unwrap().unwrap();
    assert_eq!(work.named[&server].made_by, made_by);
    assert_eq!(work.named[&server].external, Some(format!("ext-{made_by}")));
    cloud.finish(tenant, volume);
    shows.follow(&cloud).await;
    let snapshot = shows.snapshot().await;
    assert_eq!(snapshot.users_of(tenant, server).await.unwrap(), [volume]);
    let next = snapshot.next_to_delete(tenant, 10).await.unwrap();
    assert_eq!(next, [(server, 1)], "an attached volume goes after its server");
}

#[tokio::test]
async fn what_another_names_is_deleted_after_it() {
    let (mut cloud, tenant) = acme();
    let network: ResourceId = cloud.ask(tenant, Cloud::network("net", None)).created();
    cloud.finish(tenant, network);
    let Command::CreateResource { kind, zone, mut spec, .. } = Cloud::server("web", None) else { unreachable!() };
    spec["networks"] = json!([network]);
    let (labels, name) = (Default::default(), "web".to_owned());
    let order = Command::CreateResource { cell: None, kind, version: 1, name, zone, labels, subscriber: None, flavor: None, spec };
    let server: ResourceId = cloud.ask(tenant, order).created();
    let mut shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    assert_eq!(snapshot.users_of(tenant, network).await.unwrap(), [server]);
    assert_eq!(snapshot.next_to_delete(tenant, 10).await.unwrap(), [(server, 1)]);
    assert_eq!(snapshot.work_on(tenant, server).await.unwrap().unwrap().named[&network].kind.as_str(), "network");
    drop(snapshot);
    cloud.ask(tenant, delete(server));
    cloud.finish(tenant, server);
    shows.follow(&cloud).await;
    assert_eq!(shows.snapshot().await.next_to_delete(tenant, 10).await.unwrap(), [(network, 1)]);
}

#[tokio::test]
async fn a_step_is_past_its_deadline_until_somebody_has_said_so() {
    let (mut cloud, tenant) = acme();
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", None)).created();
    cloud.ask(tenant, delete(server));
    cloud.wait(Duration::from_secs(7200));
    let mut shows = shown(&cloud).await;
    let late = shows.snapshot().await.past_deadline(cloud.now, 10).await.unwrap();
    assert_eq!(late.iter().map(|row| (row.tenant, row.resource)).collect::<Vec<_>>(), [(tenant, server)]);
    cloud.report(Some(tenant), Command::DeadlinePassed { resource: server, intent: late[0].intent });
    shows.follow(&cloud).await;
    let snapshot = shows.snapshot().await;
    assert_eq!(snapshot.past_deadline(cloud.now, 10).await.unwrap(), []);
    let row = snapshot.resource(tenant, server).await.unwrap().unwrap();
    assert!(row.step().is_some_and(|step| step.overdue), "it is still to be deleted");
    drop(snapshot);
    let retry =
        Command::ResolveStep { resource: server, intent: late[0].intent, verdict: Verdict::Retry, reason: "the host is back".into() };
    let id = cloud.next_id();
    cloud.send(id, Some(tenant), Origin::Commands, Actor::Principal(person("operator")), retry);
    shows.follow(&cloud).await;
    let row = shows.snapshot().await.resource(tenant, server).await.unwrap().unwrap();
    assert!(row.step().is_some_and(|step| !step.overdue && step.deadline > cloud.now));
    assert_eq!(row.state.unwrap().phase, Phase::Deleting);
}

#[tokio::test]
async fn the_platform_is_shown_as_its_operators_left_it() {
    let mut cloud = Cloud::new();
    cloud.operate(Command::SetZoneState { zone: "north-b".parse().unwrap(), state: ZoneState::Draining });
    cloud.operate(Command::PauseService { service: "volume".parse().unwrap() });
    cloud.operate(Command::SetDefaultQuota { tenant: limits("vcpus", 9), cell: limits("vcpus", 3) });
    cloud.operate(Command::AppointOperator { operator: person("second") });
    cloud.operate(Command::DismissOperator { operator: person("operator") });
    let flavor = domain::catalogue::Flavor { name: "m1".parse().unwrap(), vcpus: 2, memory_mib: 4096 };
    let id = cloud.next_id();
    let define = Command::DefineFlavor { flavor: flavor.clone() };
    cloud.send(id, None, Origin::Commands, Actor::Principal(person("second")), define);
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    let states: Vec<_> = snapshot.zones().await.unwrap().into_iter().map(|zone| (zone.name.to_string(), zone.state)).collect();
    assert_eq!(states, [("north-a".to_owned(), ZoneState::Open), ("north-b".to_owned(), ZoneState::Draining)]);
    let north: RegionName = "north".parse().unwrap();
    assert_eq!(snapshot.regions().await.unwrap(), [(north, "The north".to_owned())]);
    let volume = snapshot.service(&"volume".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(volume.state, ServiceState::Paused);
    let bundled = schemas::catalogue::bundled();
    assert_eq!(Some(&volume.service), bundled.iter().find(|service| service.name.as_str() == "volume"));
    assert_eq!(snapshot.services().await.unwrap().len(), bundled.len());
    assert_eq!(snapshot.flavors().await.unwrap(), [flavor]);
    assert_eq!(snapshot.default_quota().await.unwrap(), (limits("vcpus", 9), limits("vcpus", 3)));
    assert_eq!(snapshot.operators().await.unwrap(), [person("second")]);
    assert!(!snapshot.is_operator(&person("operator")).await.unwrap());
}

#[tokio::test]
async fn a_reserved_tenant_waits_until_its_own_chain_has_opened_it() {
    let mut cloud = Cloud::new();
    let reserve = Command::ReserveTenant {
        reference: "acme".into(),
        name: "Acme".into(),
        administrator: person("olga"),
        clock: Clock::Effective,
        labels: Default::default(),
        limits: Limits::new(),
        cell_default: Limits::new(),
    };
    let reserved = cloud.operate(reserve);
    let tenant: TenantId = reserved.created();
    let mut shows = shown(&cloud).await;
    let waiting = shows.snapshot().await.reserved_and_not_open(10).await.unwrap();
    assert_eq!(waiting.iter().map(|row| (row.tenant, row.seq)).collect::<Vec<_>>(), [(tenant, reserved.position.seq)]);
    assert_eq!(shows.snapshot().await.tenant_of_reference("acme").await.unwrap(), Some(tenant));
    cloud.report(Some(tenant), Command::OpenTenant {});
    shows.follow(&cloud).await;
    assert_eq!(shows.snapshot().await.reserved_and_not_open(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_role_is_held_from_its_grant_to_its_revocation_and_nowhere_else() {
    let (mut cloud, tenant) = acme();
    let other = cloud.open_tenant("other", Clock::Journal);
    let cell = cloud.create_cell(tenant, "cell");
    let (viewer, user) = (Grant { role: Role::TenantViewer, cell: None }, Grant { role: Role::CellUser, cell: Some(cell) });
    for grant in [viewer, user] {
        cloud.ask(tenant, Command::GrantRole { principal: person("ulf"), grant });
    }
    cloud.ask(tenant, Command::GrantRole { principal: person("vera"), grant: viewer });
    cloud.ask(tenant, Command::RevokeRole { principal: person("ulf"), grant: viewer });
    cloud.ask(tenant, Command::RevokeRole { principal: person("vera"), grant: viewer });
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    assert_eq!(snapshot.grants(tenant, &person("ulf")).await.unwrap(), (BTreeSet::from([user]), Clock::Journal));
    assert_eq!(snapshot.grants(other, &person("ulf")).await.unwrap().0, BTreeSet::new());
    let top = BTreeSet::from([Grant { role: Role::TenantSuperAdministrator, cell: None }]);
    assert_eq!(snapshot.grants_anywhere(&person("olga")).await.unwrap(), BTreeMap::from([(tenant, top.clone()), (other, top)]));
    let first = snapshot.members(tenant, None, 1).await.unwrap();
    let rest = snapshot.members(tenant, Some(&first[0].principal), 5).await.unwrap();
    let names: Vec<_> = first.iter().chain(&rest).map(|member| member.principal.clone()).collect();
    assert_eq!(names, [person("olga"), person("ulf")]);
}

#[tokio::test]
async fn the_first_answer_to_a_command_stands_and_one_worth_retrying_does_not() {
    let (mut cloud, tenant) = acme();
    let olga = || Actor::Principal(person("olga"));
    let first = cloud.ask(tenant, Cloud::server("web", None));
    let again = cloud.send(first.id, Some(tenant), Origin::Commands, olga(), Cloud::server("web", None));
    let reused = cloud.send(first.id, Some(tenant), Origin::Commands, olga(), Cloud::server("other", None));
    let server: ResourceId = first.created();
    let busy = cloud.next_id();
    let stop = || Command::ActOnResource { resource: server, if_generation: None, action: domain::catalogue::Action::Stop };
    cloud.send(busy, Some(tenant), Origin::Commands, olga(), stop());
    let expired = cloud.next_id();
    cloud.send_before(cloud.now, expired, Some(tenant), Origin::Commands, olga(), stop());
    let mut shows = shown(&cloud).await;
    let partition = cloud.partition_of(tenant);
    let row = async |shows: &Shows, id: CommandId| shows.snapshot().await.operation(partition, id).await.unwrap().unwrap();

    let stands = row(&shows, first.id).await;
    assert_eq!((stands.position, stands.outcome), (first.position, Outcome::Done));
    assert_ne!((again.position, reused.position), (first.position, first.position));
    assert_eq!(stands.events.len(), 1);
    assert_eq!(schemas::event::decode(&stands.events[0]).unwrap(), first.events[0]);
    assert_eq!(stands.actor, Some(olga()));
    assert_eq!(row(&shows, busy).await.outcome, Outcome::Refused);
    assert_eq!(row(&shows, expired).await.outcome, Outcome::Expired);

    cloud.finish(tenant, server);
    let done = cloud.send(busy, Some(tenant), Origin::Commands, olga(), stop());
    shows.follow(&cloud).await;
    let row = row(&shows, busy).await;
    assert_eq!((row.outcome, row.position), (Outcome::Done, done.position));
}

#[tokio::test]
async fn an_operation_is_forgotten_after_thirty_days_unless_it_created_something() {
    let (mut cloud, tenant) = acme();
    let created = cloud.ask(tenant, Cloud::server("web", None));
    let renamed = cloud.ask(tenant, Command::RenameTenant { name: Some("New".into()), labels: None });
    cloud.wait(Duration::from_secs(31 * 24 * 3600));
    cloud.create_cell(tenant, "later");
    let shows = shown(&cloud).await;
    let (snapshot, partition) = (shows.snapshot().await, cloud.partition_of(tenant));
    assert!(snapshot.operation(partition, created.id).await.unwrap().is_some());
    assert!(snapshot.operation(partition, renamed.id).await.unwrap().is_none());
}

#[tokio::test]
async fn history_tells_every_event_once_newest_first() {
    let (mut cloud, tenant) = acme();
    let (mine, other) = (cloud.create_cell(tenant, "mine"), cloud.create_cell(tenant, "other"));
    let server: ResourceId = cloud.ask(tenant, Cloud::server("web", Some(mine))).created();
    cloud.ask(tenant, Cloud::server("hidden", Some(other)));
    cloud.finish(tenant, server);
    let refused: Answer = cloud.ask(tenant, Command::RenameTenant { name: Some(String::new()), labels: None });
    assert_eq!(refused.events.len(), 1);
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    let mut names = Vec::new();
    let mut before: Option<ByEvent> = None;
    loop {
        let page = snapshot.history_of_tenant(tenant, None, before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.key());
        names.extend(page.into_iter().map(|row| row.name));
    }
    let story = ["resource.provisioned", "resource.requested", "resource.requested", "cell.created", "cell.created", "tenant.opened"];
    assert_eq!(names, story);
    let visible = snapshot.history_of_tenant(tenant, Some(&[mine]), None, 10).await.unwrap();
    let visible: Vec<_> = visible.into_iter().map(|row| row.name).collect();
    assert_eq!(visible, ["resource.provisioned", "resource.requested", "cell.created"]);
    let of_server = snapshot.history_of_resource(tenant, server, None, 10).await.unwrap();
    assert_eq!(of_server.len(), 2);
    assert_eq!(of_server[0].actor, Some(Actor::Service("worker".to_owned())));
    assert!(of_server[0].at.is_some());
}
