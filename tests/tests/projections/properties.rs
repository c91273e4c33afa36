//! What holds for every read model, over random histories.

use super::database::{apply, builds, database, digests};
use domain::{
    catalogue::Action,
    command::{Command, LifecycleFact, Origin, Verdict},
    id::{CellId, CommandId, ResourceId, TenantId},
    people::{Actor, Grant, Role},
    platform::ZoneState,
    quota::Limit,
    tenant::Clock,
};
use projections::snapshot::Shown;
use proptest::prelude::*;
use std::{sync::OnceLock, time::Duration};
use tests::cloud::{Cloud, person, together};
use tokio::runtime::Runtime;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// One thing that somebody does, as numbers that always mean something.
type Choice = (u8, u8, u8, u8);

/// A cloud in which all of it was tried.
fn play(choices: &[Choice]) -> Cloud {
    let mut cloud = Cloud::new();
    let mut tenants = vec![cloud.open_tenant("acme", Clock::Journal), cloud.open_tenant("beta", Clock::Effective)];
    let mut cells: Vec<(TenantId, CellId)> = Vec::new();
    let mut resources: Vec<(TenantId, ResourceId)> = Vec::new();
    let mut sent: Vec<(CommandId, TenantId, Command)> = Vec::new();
    for choice in choices {
        let (what, a, b, c) = *choice;
        let pick = |n: u8, of: usize| usize::from(n) % of.max(1);
        let tenant = tenants[pick(a, tenants.len())];
        let cell = cells.iter().filter(|(t, _)| *t == tenant).map(|(_, cell)| *cell).nth(pick(b, 3));
        let target = resources.get(pick(a, resources.len())).copied();
        match what % 24 {
            0 | 1 => {
                let order = match c % 3 {
                    0 => Cloud::server(&format!("s{b}"), cell),
                    1 => Cloud::volume(&format!("v{b}"), cell),
                    _ => Cloud::network(&format!("n{b}"), cell),
                };
                let answer = cloud.ask(tenant, order.clone());
                resources.push((tenant, answer.id.into()));
                sent.push((answer.id, tenant, order));
            }
            2 => {
                let create = Command::CreateCell {
                    name: format!("cell {b}"),
                    billing_account: (c % 2 == 0).then(|| "a-1".to_owned()),
                    limits: [("servers".parse().unwrap(), Limit::At(u64::from(c % 4)))].into(),
                    parent: None,
                };
                cells.push((tenant, cloud.ask(tenant, create).id.into()));
            }
            3..=9 => {
                // Most of what happens is what workers report.
                let Some((tenant, resource)) = target else { continue };
                report(&mut cloud, tenant, resource, b, c);
            }
            10 => {
                let Some((tenant, resource)) = target else { continue };
                cloud.ask(tenant, Command::DeleteResource { resource, if_generation: None });
            }
            11 => {
                let Some((tenant, resource)) = target else { continue };
                let spec = match c % 3 {
                    0 => serde_json::json!({"vcpus": b % 5 + 1, "memory_mib": 1024, "image": "debian-13"}),
                    1 => serde_json::json!({"size_gib": u32::from(b) + 10}),
                    _ => serde_json::json!({"cidr": "10.0.0.0/16"}),
                };
                cloud.ask(tenant, change(resource, None, Some(spec)));
            }
            12 => {
                let Some((tenant, resource)) = target else { continue };
                cloud.ask(tenant, change(resource, Some(format!("renamed {b}")), None));
            }
            13 => {
                let Some((tenant, resource)) = target else { continue };
                let action = [Action::Start, Action::Stop, Action::Reboot][pick(b, 3)];
                cloud.ask(tenant, Command::ActOnResource { resource, if_generation: None, action });
            }
            14 => {
                let Some((tenant, resource)) = target else { continue };
                let (_, to) = resources[pick(b, resources.len())];
                cloud.ask(tenant, Command::AttachResource { resource, if_generation: None, to });
            }
            15 => {
                let Some((tenant, resource)) = target else { continue };
                cloud.ask(tenant, Command::DetachResource { resource, if_generation: None });
            }
            16 => {
                let grant = match cell {
                    Some(cell) if c % 2 == 0 => Grant { role: Role::CellUser, cell: Some(cell) },
                    _ => Grant { role: Role::ALL[pick(c, 4)], cell: None },
                };
                let principal = person(["ulf", "vera", "olga"][pick(b, 3)]);
                let command = if c % 3 == 0 { Command::RevokeRole { principal, grant } } else { Command::GrantRole { principal, grant } };
                cloud.ask(tenant, command);
            }
            17 => {
                let limit = if b % 4 == 0 { Limit::Unlimited } else { Limit::At(u64::from(b)) };
                let limits = [("vcpus".parse().unwrap(), limit), ("servers".parse().unwrap(), Limit::At(u64::from(c % 6)))].into();
                let cell_default = [("servers".parse().unwrap(), (c % 2 == 0).then_some(Limit::At(2)))].into();
                operate(&mut cloud, tenant, Command::SetTenantQuota { limits, cell_default });
            }
            18 => {
                let Some(cell) = cell else { continue };
                let limits = [("vcpus".parse().unwrap(), (c % 3 > 0).then_some(Limit::At(u64::from(c))))].into();
                let command = match b % 3 {
                    0 => Command::RenameCell { cell, name: format!("cell {c}") },
                    1 => Command::SetCellQuota { cell, limits },
                    _ => Command::CloseCell { cell },
                };
                cloud.ask(tenant, command);
            }
            19 => {
                // The same again, or something else under the same key.
                let Some((id, tenant, command)) = sent.get(pick(a, sent.len())).cloned() else { continue };
                let command = if b % 3 == 0 { Cloud::network("another", None) } else { command };
                cloud.send(id, Some(tenant), Origin::Commands, Actor::Principal(person("olga")), command);
            }
            20 => {
                let command = match b % 8 {
                    0 => Command::SuspendTenant { reason: "unpaid".to_owned() },
                    1 | 2 => Command::ResumeTenant {},
                    3 if c % 4 == 0 => Command::CloseTenant { drain: true },
                    3 => Command::CloseTenant { drain: false },
                    _ => Command::RenameTenant { name: Some(format!("name {c}")), labels: Some([("c".to_owned(), c.to_string())].into()) },
                };
                if matches!(command, Command::RenameTenant { .. }) {
                    cloud.ask(tenant, command)
                } else {
                    operate(&mut cloud, tenant, command)
                };
            }
            21 => {
                let service = "volume".parse().unwrap();
                let zone = "north-b".parse().unwrap();
                cloud.operate(match b % 4 {
                    0 => Command::PauseService { service },
                    1 => {
                        let volume = schemas::catalogue::bundled().into_iter().find(|s| s.name == service).unwrap();
                        Command::PublishService { service: Box::new(volume) }
                    }
                    2 => Command::SetZoneState { zone, state: [ZoneState::Open, ZoneState::Draining, ZoneState::Closed][pick(c, 3)] },
                    _ => Command::SetDefaultQuota { tenant: [("vcpus".parse().unwrap(), Limit::At(c.into()))].into(), cell: [].into() },
                });
            }
            22 if tenants.len() < 4 => tenants.push(cloud.open_tenant(&format!("tenant {}", tenants.len()), Clock::Journal)),
            22 => drop(cloud.operate(Command::AppointOperator { operator: person(["x", "y"][pick(a, 2)]) })),
            _ => cloud.wait(Duration::from_secs(60 * u64::from(a) * u64::from(b))),
        }
    }
    cloud
}

fn change(resource: ResourceId, name: Option<String>, spec: Option<serde_json::Value>) -> Command {
    Command::ChangeResource { resource, if_generation: None, name, labels: None, spec, version: 1 }
}

fn operate(cloud: &mut Cloud, tenant: TenantId, command: Command) -> tests::cloud::Answer {
    let id = cloud.next_id();
    cloud.send(id, Some(tenant), Origin::Commands, Actor::Principal(person("operator")), command)
}

/// Something about the open step of a resource, of its remains, or about what has long been over.
fn report(cloud: &mut Cloud, tenant: TenantId, resource: ResourceId, b: u8, c: u8) {
    let state = cloud.tenant(tenant);
    let open = state.resources.get(&resource).and_then(|r| r.step.as_ref()).or_else(|| state.remains.get(&resource).map(|r| &r.step));
    let intent = open.map_or_else(|| CommandId(resource.0).into(), |step| step.intent);
    let kind = state.resources.get(&resource).map_or_else(|| "server".parse().unwrap(), |r| r.kind.clone());
    let zone = Some("north-a".parse().unwrap());
    let problem = format!("problem {c}");
    let command = match b % 16 {
        0 => Command::ReportFailed { resource, intent, problem, remains: c.is_multiple_of(2) },
        1 => Command::ReportAttempt { resource, intent, attempts: c.into(), problem },
        2 | 3 => {
            let call_deadline = cloud.now + Duration::from_secs(c.into());
            Command::ReportPending { resource, intent, worker: format!("w{}", c % 2), epoch: c.into(), call_deadline }
        }
        4 => Command::ReportVanished { resource },
        5 => Command::DeadlinePassed { resource, intent },
        6 => {
            let verdict = [Verdict::Done, Verdict::Failed, Verdict::Retry][usize::from(c) % 3];
            operate(cloud, tenant, Command::ResolveStep { resource, intent, verdict, reason: "seen".to_owned() });
            return;
        }
        7 => {
            let at = cloud.now;
            let correct = Command::CorrectLifecycle { resource, fact: LifecycleFact::Provisioned, at, reason: "late".to_owned() };
            operate(cloud, tenant, correct);
            return;
        }
        _ => Command::ReportDone { resource, intent, external: Some(format!("x{c}")), kind, zone },
    };
    cloud.report(Some(tenant), command);
}

/// Read models say exactly what the domain's own fold says.
async fn agrees(cloud: &Cloud, database: &projections::database::Database) {
    let snapshot = database.snapshot(Shown::All).await.unwrap();
    for partition in 0..cloud.journal.partitions {
        for (id, tenant) in &cloud.state(partition).tenants {
            let row = snapshot.tenant(*id).await.unwrap().unwrap();
            assert_eq!((row.status, &row.name, &row.labels), (tenant.status, &tenant.name, &tenant.labels));
            assert_eq!(row.resources, (tenant.resources.len() + tenant.remains.len()) as u64);
            let quota = snapshot.quota(*id).await.unwrap().unwrap();
            assert_eq!(
                (quota.limits, quota.cell_default, quota.used),
                (tenant.limits.clone(), tenant.cell_default.clone(), tenant.used.clone())
            );
            for (cell_id, cell) in &tenant.cells {
                let (_, quota) = snapshot.quota_of_cell(*id, *cell_id).await.unwrap().unwrap();
                assert_eq!((quota.limits, quota.used), (cell.limits.clone(), cell.used.clone()));
                let row = snapshot.cell(*id, *cell_id).await.unwrap().unwrap();
                assert_eq!((row.name, row.closed), (cell.name.clone(), cell.closed));
            }
            for member in snapshot.members(*id, None, 100).await.unwrap() {
                assert_eq!(Some(&member.grants), tenant.members.get(&member.principal));
            }
            assert_eq!(snapshot.members(*id, None, 100).await.unwrap().len(), tenant.members.len());
            let order = projections::resources::Order::Creation(None);
            let listed = snapshot.resources(*id, &Default::default(), &order, 1000).await.unwrap();
            assert_eq!(listed.len(), tenant.resources.len());
            for row in listed {
                assert_eq!(row.state.as_ref(), tenant.resources.get(&row.id).map(|r| &**r));
            }
            for (resource, remains) in &tenant.remains {
                assert_eq!(snapshot.resource(*id, *resource).await.unwrap().unwrap().remains.as_ref(), Some(remains));
            }
        }
    }
    let platform = &cloud.state(cloud.journal.platform()).platform;
    assert_eq!(snapshot.default_quota().await.unwrap(), platform.default_quota);
    assert_eq!(snapshot.operators().await.unwrap().len(), platform.operators.len());
    for row in snapshot.services().await.unwrap() {
        let entry = &platform.services[&row.service.name];
        assert_eq!((&row.service, row.state), (&*entry.service, entry.state));
    }
    assert_eq!(snapshot.incomplete().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_history_into_batches_gives_equal_rows_and_what_the_domain_says(
        choices in prop::collection::vec(any::<Choice>(), 20..160),
        cuts in prop::collection::vec(1..40usize, 1..20),
    ) {
        let cloud = play(&choices);
        runtime().block_on(async {
            let database = database(&cloud).await;
            let mut at_once = builds(&database, &cloud, 1, true).await;
            apply(&database, &mut at_once, &together(&cloud.records)).await.unwrap();

            let mut one_by_one = builds(&database, &cloud, 2, false).await;
            for record in &cloud.records {
                apply(&database, &mut one_by_one, std::slice::from_ref(record)).await.unwrap();
            }

            let mut in_pieces = builds(&database, &cloud, 3, false).await;
            let (mut rest, mut cuts) = (&cloud.records[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                apply(&database, &mut in_pieces, &together(piece)).await.unwrap();
                rest = after;
            }

            let expected = digests(&database, Some(1)).await;
            assert_eq!(digests(&database, Some(2)).await, expected, "one commit at a time");
            assert_eq!(digests(&database, Some(3)).await, expected, "in pieces");
            agrees(&cloud, &database).await;
        });
    }
}
