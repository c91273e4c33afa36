//! Who may do what: every command that people send, by every role.

use crate::{catalogue, cloud::*};
use domain::{
    catalogue::Action,
    command::{Command, LifecycleFact, Origin, Verdict},
    id::{FlavorName, ResourceId},
    people::{Permission, Role, allows},
    platform::ZoneState,
    quota::{Limit, Limits},
    refusal::Refusal,
};
use serde_json::json;

/// What a command needs, as the table of the documentation has it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Needs {
    /// A role that allows it in the tenant.
    InTenant(Permission),
    /// A role that allows it in the tenant or in cell *b*.
    InCell(Permission),
    /// An operator of the platform.
    Operator,
    /// Either.
    InTenantOrOperator(Permission),
    /// Only Cirrus' own parts, by the reports topic.
    Worker,
}

/// A command of each kind that would be accepted from who may, on a stage with a server, a volume on it and a free volume in cell *b*.
fn sample(kind: &str, cloud: &Cloud, stage: &Stage) -> (Command, Needs) {
    use Needs::*;
    use Permission::*;
    let (server, volume, free) = (stage.server, stage.volume, stage.free);
    let intent = cloud.intent(stage.busy);
    match kind {
        "declare_region" => (Command::DeclareRegion { region: "eu-2".parse().unwrap(), title: "North".to_owned() }, Operator),
        "declare_zone" => (Command::DeclareZone { zone: "az3".parse().unwrap(), region: "eu-1".parse().unwrap() }, Operator),
        "set_zone_state" => (Command::SetZoneState { zone: "az1".parse().unwrap(), state: ZoneState::Draining }, Operator),
        "publish_service" => {
            let service = catalogue::services().remove(0);
            (Command::PublishService { service: Box::new(domain::catalogue::Service { version: 2, ..service }) }, Operator)
        }
        "pause_service" => (Command::PauseService { service: "server".parse().unwrap() }, Operator),
        "retire_service" => (Command::RetireService { service: "server".parse().unwrap() }, Operator),
        "define_flavor" => {
            let name: FlavorName = "m2".parse().unwrap();
            (Command::DefineFlavor { flavor: domain::catalogue::Flavor { name, vcpus: 1, memory_mib: 1 } }, Operator)
        }
        "set_default_quota" => (Command::SetDefaultQuota { tenant: Limits::new(), cell: limits([("units", Limit::At(1))]) }, Operator),
        "appoint_operator" => (appoint("oskar"), Operator),
        "dismiss_operator" => (Command::DismissOperator { operator: principal("otto") }, Operator),
        "raise_format" => (Command::RaiseFormat { format: 1, running: vec![] }, Operator),
        "reserve_tenant" => (reserve("other", Default::default()), Operator),
        "rename_tenant" => (Command::RenameTenant { name: Some("acme 2".to_owned()), labels: None }, InTenant(Rename)),
        "suspend_tenant" => (suspend(), Operator),
        "resume_tenant" => (Command::ResumeTenant {}, Operator),
        "close_tenant" => (close(true), InTenantOrOperator(Close)),
        "set_tenant_quota" => (
            Command::SetTenantQuota { limits: Limits::new(), cell_default: changes([("units", Some(Limit::At(5)))]) },
            InTenantOrOperator(ManageCellQuota),
        ),
        "create_cell" => (cell("d"), InTenant(ManageCells)),
        "rename_cell" => (Command::RenameCell { cell: cloud.b, name: "bee".to_owned() }, InCell(Rename)),
        "close_cell" => (Command::CloseCell { cell: stage.empty }, InTenant(ManageCells)),
        "set_cell_quota" => {
            (Command::SetCellQuota { cell: cloud.b, limits: changes([("units", Some(Limit::At(5)))]) }, InTenantOrOperator(ManageCellQuota))
        }
        "grant_role" => (grant("nina", Role::CellUser, Some(cloud.b)), InCell(ManageMembers)),
        "revoke_role" => (revoke("ulf", Role::CellUser, Some(cloud.b)), InCell(ManageMembers)),
        "create_resource" => (cloud.order("server").into(), InCell(OperateResources)),
        "change_resource" => (rename(server, "other"), InCell(OperateResources)),
        "act_on_resource" => (act(server, Action::Stop), InCell(OperateResources)),
        "attach_resource" => (attach(free, server), InCell(OperateResources)),
        "detach_resource" => (detach(volume), InCell(OperateResources)),
        "delete_resource" => (delete(free), InCell(OperateResources)),
        "resolve_step" => {
            (Command::ResolveStep { resource: stage.busy, intent, verdict: Verdict::Done, reason: "seen".to_owned() }, Operator)
        }
        "correct_lifecycle" => (correct(server, LifecycleFact::Provisioned, cloud.now), Operator),
        "report_pending" => (
            Command::ReportPending {
                resource: stage.busy,
                intent,
                worker: "w".to_owned(),
                epoch: 1,
                call_deadline: cloud.now + chrono::TimeDelta::seconds(30),
            },
            Worker,
        ),
        "report_done" => {
            (Command::ReportDone { resource: stage.busy, intent, external: None, kind: crate::cloud::kind("server"), zone: None }, Worker)
        }
        "report_failed" => (Command::ReportFailed { resource: stage.busy, intent, problem: "no".to_owned(), remains: false }, Worker),
        "report_attempt" => (Command::ReportAttempt { resource: stage.busy, intent, attempts: 1, problem: "no".to_owned() }, Worker),
        "report_vanished" => (vanished(server), Worker),
        "deadline_passed" => (Command::DeadlinePassed { resource: stage.busy, intent }, Worker),
        other => panic!("a new command needs a line in this table: {other}"),
    }
}

struct Stage {
    server: ResourceId,
    volume: ResourceId,
    free: ResourceId,
    busy: ResourceId,
    empty: domain::id::CellId,
}

/// The kinds of all commands, from serde's own list.
fn all_kinds() -> Vec<String> {
    let message = serde_json::from_value::<Command>(json!({ "kind": "?", "body": {} })).unwrap_err().to_string();
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

fn lacks_rights(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Forbidden { .. }
            | Refusal::OperatorsOnly
            | Refusal::WorkersOnly
            | Refusal::NoSuchResource { .. }
            | Refusal::NoSuchCell { .. }
    )
}

#[test]
fn every_command_is_refused_to_every_role_that_may_not_and_accepted_from_every_other() {
    let mut cloud = Cloud::open();
    for role in Role::ALL {
        let here = role.is_of_cell().then_some(cloud.b);
        cloud.ada(grant(&format!("{role:?}"), role, here)).accepted();
        if role.is_of_cell() {
            cloud.ada(grant(&format!("{role:?} elsewhere"), role, Some(cloud.c))).accepted();
        }
    }
    cloud.ada(grant("ulf", Role::CellUser, Some(cloud.b))).accepted();
    cloud.runs(appoint("otto")).accepted();
    let server = cloud.server();
    let volume = cloud.volume_on(server);
    let free = cloud.has(cloud.order("volume"));
    let busy = cloud.ada(cloud.order("server")).resource();
    let empty = cloud.ada(cell("empty")).accepted().id.into();
    cloud.waits(catalogue::CREATE_S);
    let stage = Stage { server, volume, free, busy, empty };

    let kinds = all_kinds();
    assert!(kinds.len() > 30, "{kinds:?}");
    for kind in kinds.iter().filter(|kind| *kind != "open_tenant") {
        let mut cloud = cloud.clone();
        if kind == "resume_tenant" {
            cloud.asks("olga", suspend()).accepted();
        }
        let (command, needs) = sample(kind, &cloud, &stage);
        let of_platform = needs == Needs::Operator && cloud.is_for_the_platform(&command);
        let expect = |cloud: &Cloud, who: &str, origin: Origin, may: bool| {
            let mut cloud = cloud.clone();
            let tenant = (!of_platform).then_some(cloud.tenant);
            let request = cloud.request(person(who), tenant, command.clone());
            let answer = cloud.send(&request, origin);
            match answer.refusal() {
                None => assert!(may, "{who} may {kind}"),
                Some(refusal) => assert!(!may && lacks_rights(refusal), "{who}, {kind}: {refusal:?}"),
            }
        };
        let operator = matches!(needs, Needs::Operator | Needs::InTenantOrOperator(_));
        expect(&cloud, "olga", Origin::Commands, operator);
        expect(&cloud, "stranger", Origin::Commands, false);
        for role in Role::ALL {
            let may = match needs {
                Needs::InTenant(p) | Needs::InTenantOrOperator(p) => !role.is_of_cell() && allows(role, p),
                Needs::InCell(p) => allows(role, p),
                Needs::Operator | Needs::Worker => false,
            };
            expect(&cloud, &format!("{role:?}"), Origin::Commands, may);
            if role.is_of_cell() {
                expect(&cloud, &format!("{role:?} elsewhere"), Origin::Commands, false);
            }
        }
        // On the reports topic only reports are taken at their word, and how the first operator comes to be.
        expect(&cloud, "stranger", Origin::Reports, needs == Needs::Worker || kind == "appoint_operator");
    }
}

impl Cloud {
    /// True for what a tenant's chain does not know: the commands of the platform's own.
    fn is_for_the_platform(&self, command: &Command) -> bool {
        let mut cloud = self.clone();
        cloud.asks("olga", command.clone()).refusal() == Some(&Refusal::WrongChain)
    }
}

#[test]
fn a_tenant_administrator_cannot_make_or_unmake_a_super_administrator() {
    let mut cloud = Cloud::open();
    cloud.gives("tom", Role::TenantAdministrator);
    let refused = Refusal::Forbidden { permission: Permission::ManageSuperAdministrators };
    cloud.asks("tom", grant("tom", Role::TenantSuperAdministrator, None)).refused_with(refused.clone());
    cloud.asks("tom", revoke("ada", Role::TenantSuperAdministrator, None)).refused_with(refused);
    for role in Role::ALL.into_iter().filter(|r| *r != Role::TenantSuperAdministrator) {
        let cell = role.is_of_cell().then_some(cloud.b);
        cloud.asks("tom", grant("nina", role, cell)).is("member.role_granted");
    }
}

#[test]
fn a_cell_administrator_grants_the_roles_of_a_cell_in_its_own_cell_and_nothing_else() {
    let mut cloud = Cloud::open();
    cloud.gives("carl", Role::CellAdministrator);
    let (b, c) = (cloud.b, cloud.c);
    for role in Role::ALL {
        let own = cloud.asks("carl", grant("nina", role, Some(b)));
        if role.is_of_cell() {
            own.is("member.role_granted");
        } else {
            own.is("refused: forbidden");
        }
        for cell in [None, Some(c)] {
            cloud.asks("carl", grant("nina", role, cell)).is("refused: forbidden");
            cloud.asks("carl", revoke("ada", role, cell)).is("refused: forbidden");
        }
    }
}

#[test]
fn a_role_is_granted_at_its_own_level_only() {
    let mut cloud = Cloud::open();
    for role in Role::ALL {
        let wrong = (!role.is_of_cell()).then_some(cloud.b);
        cloud.ada(grant("nina", role, wrong)).refused_with(Refusal::RoleLevel { role, of_cell: role.is_of_cell() });
    }
    let closed: domain::id::CellId = cloud.ada(cell("old")).id.into();
    cloud.ada(Command::CloseCell { cell: closed }).accepted();
    cloud.ada(grant("nina", Role::CellUser, Some(closed))).refused_with(Refusal::CellClosed { cell: closed });
}

#[test]
fn the_last_super_administrator_cannot_remove_himself_until_there_is_another() {
    let mut cloud = Cloud::open();
    let go = || revoke("ada", Role::TenantSuperAdministrator, None);
    cloud.ada(go()).refused_with(Refusal::LastSuperAdministrator);
    // Other roles of the same person do not count, nor does a second grant of another role.
    cloud.gives("ada", Role::TenantAdministrator);
    cloud.ada(go()).refused_with(Refusal::LastSuperAdministrator);
    cloud.gives("bea", Role::TenantSuperAdministrator);
    cloud.ada(go()).is("member.role_revoked");
    cloud.asks("bea", revoke("bea", Role::TenantSuperAdministrator, None)).refused_with(Refusal::LastSuperAdministrator);
}

#[test]
fn a_revoked_role_is_gone_from_the_next_command_on() {
    let mut cloud = Cloud::open();
    cloud.gives("uma", Role::CellUser);
    cloud.asks("uma", cloud.order("server")).accepted();
    cloud.ada(revoke("uma", Role::CellUser, Some(cloud.b))).is("member.role_revoked");
    cloud.asks("uma", cloud.order("server")).is("refused: no_such_cell");
    cloud.ada(revoke("uma", Role::CellUser, Some(cloud.b))).is("command.nothing_to_do");
}

#[test]
fn a_foreign_cell_and_resource_look_like_absent_ones() {
    let mut cloud = Cloud::open();
    cloud.gives("uma", Role::CellUser);
    let c = cloud.c;
    let theirs = cloud.has(cloud.order("server").in_cell(c));
    let absent = ResourceId(nobody());
    for id in [theirs, absent] {
        cloud.asks("uma", delete(id)).refused_with(Refusal::NoSuchResource { resource: id });
    }
    for cell in [c, domain::id::CellId(nobody())] {
        cloud.asks("uma", cloud.order("server").in_cell(cell)).refused_with(Refusal::NoSuchCell { cell });
    }
    let mine = cloud.asks("uma", cloud.order("volume")).resource();
    cloud.done(mine).accepted();
    let problem = |cloud: &mut Cloud, to| match cloud.asks("uma", attach(mine, to)).refusal() {
        Some(Refusal::BadReference { problem, .. }) => problem.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(&mut cloud, theirs), problem(&mut cloud, absent));
}

#[test]
fn who_reports_may_not_order() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    for command in [delete(server), act(server, Action::Stop), rename(server, "mine"), cloud.order("server").into(), close(true), suspend()]
    {
        let answer = cloud.reports(command);
        assert!(answer.refusal().is_some_and(lacks_rights), "{answer:?}");
    }
}
