//! The platform's own chain: operators, regions and zones, the catalogue, flavors, defaults.

use crate::{catalogue, cloud::*};
use domain::{
    catalogue::{Flavor, Service},
    command::{Command, Origin},
    people::Actor,
    platform::{FORMAT, Platform, PlatformEvent, RunningRole, ZoneState},
    quota::{Limit, Limits},
    refusal::Refusal,
};

fn server(version: u32) -> Box<Service> {
    Box::new(Service { version, ..catalogue::services().remove(0) })
}

fn publish(service: Box<Service>) -> Command {
    Command::PublishService { service }
}

#[test]
fn the_first_operator_comes_from_the_console_and_the_last_one_stays() {
    let mut cloud = Cloud::open();
    let appointed = |cloud: &mut Cloud, origin| {
        let request = cloud.request(Actor::Service("console".to_owned()), None, appoint("otto"));
        cloud.send(&request, origin)
    };
    appointed(&mut cloud, Origin::Commands).refused_with(Refusal::OperatorsOnly);
    let dismiss = |who| Command::DismissOperator { operator: principal(who) };
    cloud.runs(dismiss("olga")).refused_with(Refusal::LastOperator);
    appointed(&mut cloud, Origin::Reports).is("platform.operator_appointed");
    cloud.runs(appoint("otto")).is("command.nothing_to_do");
    cloud.runs(appoint(" ")).is("refused: bad_field");
    cloud.runs(dismiss("nobody")).is("command.nothing_to_do");
    cloud.runs(dismiss("olga")).is("platform.operator_dismissed");
    cloud.runs(dismiss("otto")).refused_with(Refusal::OperatorsOnly);
}

#[test]
fn a_zone_that_drains_takes_nothing_new_and_what_is_there_is_operated() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let state = |state| Command::SetZoneState { zone: "az1".parse().unwrap(), state };
    for closed in [ZoneState::Draining, ZoneState::Closed] {
        cloud.runs(state(closed)).is("platform.zone_state_set");
        cloud.runs(state(closed)).is("command.nothing_to_do");
        cloud.ada(cloud.order("server")).refused_with(Refusal::ZoneNotOpen { zone: "az1".parse().unwrap() });
        cloud.ada(cloud.order("server").in_zone("az2")).accepted();
    }
    cloud.ada(act(server, domain::catalogue::Action::Stop)).accepted();
    cloud.runs(state(ZoneState::Open)).accepted();
    cloud.ada(cloud.order("server")).accepted();
}

#[test]
fn regions_and_zones_are_declared_once() {
    let mut cloud = Cloud::open();
    let region = |title: &str| Command::DeclareRegion { region: "eu-1".parse().unwrap(), title: title.to_owned() };
    cloud.runs(region("Europe")).is("command.nothing_to_do");
    cloud.runs(region("Europa")).is("platform.region_declared");
    cloud.runs(region("")).is("refused: bad_field");
    let zone = |region: &str| Command::DeclareZone { zone: "az1".parse().unwrap(), region: region.parse().unwrap() };
    cloud.runs(zone("eu-1")).is("command.nothing_to_do");
    cloud.runs(zone("eu-9")).refused_with(Refusal::NoSuchRegion { region: "eu-9".parse().unwrap() });
    cloud.runs(Command::DeclareRegion { region: "eu-2".parse().unwrap(), title: "North".to_owned() }).accepted();
    cloud.runs(zone("eu-2")).is("refused: bad_field");
}

#[test]
fn a_service_is_published_version_by_version_paused_and_retired() {
    let mut cloud = Cloud::open();
    cloud.runs(publish(server(1))).is("command.nothing_to_do");
    cloud.runs(publish(server(3))).refused_with(Refusal::ServiceVersion { service: kind("server"), expected: 2 });
    cloud.runs(publish(server(2))).is("platform.service_published");
    cloud.ada(cloud.order("server")).refused_with(Refusal::CatalogueMoved { service: kind("server"), checked: 1, current: 2 });
    cloud.ada(cloud.order("server").of_version(2)).accepted();

    let (pause, retire) = (Command::PauseService { service: kind("server") }, Command::RetireService { service: kind("server") });
    cloud.runs(pause.clone()).is("platform.service_paused");
    cloud.runs(pause.clone()).is("command.nothing_to_do");
    let refused = |state: &str| Refusal::ServiceNotOrderable { service: kind("server"), state: state.to_owned() };
    cloud.ada(cloud.order("server").of_version(2)).refused_with(refused("paused"));
    cloud.runs(publish(server(2))).is("platform.service_published");
    cloud.ada(cloud.order("server").of_version(2)).accepted();

    cloud.runs(retire.clone()).is("platform.service_retired");
    cloud.runs(retire).is("command.nothing_to_do");
    cloud.runs(pause).is("command.nothing_to_do");
    cloud.runs(publish(server(3))).refused_with(refused("retired"));
    cloud.ada(cloud.order("server").of_version(2)).refused_with(refused("retired"));
    cloud.runs(Command::PauseService { service: kind("boat") }).is("refused: no_such_service");
}

#[test]
fn what_exists_outlives_the_retirement_of_its_service() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    cloud.runs(Command::RetireService { service: kind("server") }).accepted();
    cloud.ada(act(id, domain::catalogue::Action::Stop)).accepted();
    cloud.done(id).accepted();
    cloud.removes(id);
}

#[test]
fn a_flavor_never_changes_its_size() {
    let mut cloud = Cloud::open();
    let flavor = |vcpus| Command::DefineFlavor { flavor: Flavor { name: "m1".parse().unwrap(), vcpus, memory_mib: 8192 } };
    cloud.runs(flavor(4)).is("command.nothing_to_do");
    cloud.runs(flavor(5)).is("refused: bad_field");
}

#[test]
fn a_quota_names_only_dimensions_that_some_service_declares() {
    let mut cloud = Cloud::open();
    let unknown = || Refusal::UnknownDimension { dimension: dimension("boats") };
    let boats = || limits([("boats", Limit::At(1))]);
    cloud.runs(Command::SetDefaultQuota { tenant: boats(), cell: Limits::new() }).refused_with(unknown());
    cloud.asks("olga", Command::SetTenantQuota { limits: boats(), cell_default: changes([]) }).refused_with(unknown());
    cloud.ada(Command::SetCellQuota { cell: cloud.b, limits: changes([("boats", None)]) }).refused_with(unknown());
    cloud.ada(Command::CreateCell { name: "d".to_owned(), billing_account: None, limits: boats(), parent: None }).refused_with(unknown());
}

#[test]
fn while_the_platform_is_not_known_whatever_needs_it_waits_and_the_rest_goes_on() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    cloud.stale = true;
    let units = || changes([("units", Some(Limit::At(1)))]);
    for command in [
        cloud.order("server").into(),
        change(server, serde_json::json!({ "vcpus": 4, "memory_mib": 2048 })),
        Command::SetCellQuota { cell: cloud.b, limits: units() },
        Command::SetTenantQuota { limits: Limits::new(), cell_default: units() },
        Command::CreateCell { name: "d".to_owned(), billing_account: None, limits: limits([("units", Limit::At(1))]), parent: None },
    ] {
        cloud.ada(command).refused_with(Refusal::PlatformStale);
    }
    for command in [suspend(), Command::ResumeTenant {}, close(true)] {
        cloud.asks("olga", command).refused_with(Refusal::PlatformStale);
    }
    cloud.ada(cell("d")).is("cell.created");
    cloud.ada(rename(server, "other")).is("resource.renamed");
    cloud.ada(act(server, domain::catalogue::Action::Stop)).accepted();
    cloud.done(server).is("resource.stopped");
    cloud.removes(server);
}

#[test]
fn a_format_is_raised_one_by_one() {
    let mut cloud = Cloud::open();
    let raise = |format| Command::RaiseFormat { format, running: vec![] };
    cloud.runs(raise(2)).refused_with(Refusal::FormatOutOfOrder { asked: 2, current: 0 });
    cloud.runs(raise(1)).is("platform.format_raised");
    cloud.runs(raise(1)).refused_with(Refusal::FormatOutOfOrder { asked: 1, current: 1 });
}

#[test]
fn a_format_that_a_running_process_cannot_read_is_not_raised() {
    let mut cloud = Cloud::open();
    let process = nobody();
    let running = |role: &str, reads| RunningRole { role: role.to_owned(), process, reads };
    let raise = |running| Command::RaiseFormat { format: 1, running };
    let refusal = Refusal::FormatNotRead { asked: 1, reads: 0, role: "projector".to_owned(), process };
    cloud.runs(raise(vec![running("decider", 1), running("projector", 0)])).refused_with(refusal);
    cloud.runs(raise(vec![running("decider", 1), running("projector", 2)])).is("platform.format_raised");
}

#[test]
fn a_format_above_what_this_program_reads_stops_its_fold() {
    let mut platform = Platform::default();
    let problem = platform.evolve(&PlatformEvent::FormatRaised { format: FORMAT + 1 }).unwrap_err();
    assert!(problem.to_string().contains("this program reads formats up to"), "{problem}");
}

#[test]
fn a_command_for_another_chain_is_refused() {
    let mut cloud = Cloud::open();
    cloud.runs(suspend()).refused_with(Refusal::WrongChain);
    cloud.asks("olga", appoint("otto")).refused_with(Refusal::WrongChain);
    let elsewhere = domain::id::TenantId(nobody());
    let request = cloud.request(person("ada"), Some(elsewhere), cell("d"));
    cloud.send(&request, Origin::Commands).refused_with(Refusal::NoSuchTenant { tenant: elsewhere });
}
