//! A tenant's life: opened from a reservation, suspended, resumed, closed; and its cells.

use crate::cloud::*;
use domain::{
    catalogue::Action,
    command::{Command, Origin},
    event::Event,
    id::{CellId, TenantId},
    people::Role,
    quota::{Limit, Limits},
    refusal::Refusal,
    resource::Phase,
    tenant::{TenantEvent, TenantStatus},
};
use serde_json::json;

#[test]
fn an_external_reference_belongs_to_one_tenant_for_ever() {
    let mut cloud = Cloud::open();
    cloud.runs(reserve("acme", Default::default())).refused_with(Refusal::ReferenceTaken { reference: "acme".to_owned() });
    cloud.asks("olga", close(true)).is("cell.closed cell.closed tenant.closed");
    cloud.runs(reserve("acme", Default::default())).is("refused: reference_taken");
}

#[test]
fn a_tenant_opens_with_what_was_reserved_whoever_asks_for_it() {
    let mut cloud = Cloud::open();
    cloud
        .runs(Command::SetDefaultQuota { tenant: limits([("units", Limit::At(7)), ("servers", Limit::At(3))]), cell: Limits::new() })
        .accepted();
    let Command::ReserveTenant { reference, name, administrator, clock, labels, cell_default, .. } = reserve("beta", Default::default())
    else {
        unreachable!()
    };
    let own = limits([("servers", Limit::Unlimited)]);
    let beta: TenantId = cloud
        .runs(Command::ReserveTenant { reference, name, administrator, clock, labels, limits: own, cell_default })
        .accepted()
        .id
        .into();
    // A later default does not concern what is reserved.
    cloud.runs(Command::SetDefaultQuota { tenant: Limits::new(), cell: Limits::new() }).accepted();
    let open = cloud.request(person("stranger"), Some(beta), Command::OpenTenant {});
    let answer = cloud.send(&open, Origin::Commands).is("tenant.opened");
    let Event::Tenant { event: TenantEvent::Opened(reservation), .. } = &answer.events[0] else { unreachable!() };
    assert_eq!(reservation.limits, limits([("units", Limit::At(7)), ("servers", Limit::Unlimited)]));
    assert_eq!(reservation.administrator, principal("ada"));
    let again = cloud.request(person("ada"), Some(beta), Command::OpenTenant {});
    cloud.send(&again, Origin::Commands).is("command.nothing_to_do");
}

#[test]
fn what_was_not_reserved_cannot_be_opened() {
    let mut cloud = Cloud::open();
    let nowhere = TenantId(nobody());
    let open = cloud.request(person("ada"), Some(nowhere), Command::OpenTenant {});
    cloud.stale = true;
    cloud.send(&open, Origin::Commands).refused_with(Refusal::PlatformStale);
    cloud.stale = false;
    cloud.send(&open, Origin::Commands).refused_with(Refusal::NoSuchTenant { tenant: nowhere });
}

#[test]
fn a_suspended_tenant_can_only_stop_detach_and_delete() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let volume = cloud.volume_on(server);
    let free = cloud.has(cloud.order("volume"));
    cloud.asks("olga", suspend()).is("tenant.suspended");
    assert_eq!((cloud.phase(server), cloud.used("servers")), (Phase::Active, 1), "nothing that runs is touched");
    let b = cloud.b;
    let refused: Vec<Command> = vec![
        cloud.order("server").into(),
        act(server, Action::Start),
        act(server, Action::Reboot),
        rename(server, "other"),
        change(free, json!({ "size_gib": 20 })),
        attach(free, server),
        cell("d"),
        Command::RenameCell { cell: b, name: "bee".to_owned() },
        Command::CloseCell { cell: cloud.c },
        Command::SetCellQuota { cell: b, limits: changes([]) },
        Command::SetTenantQuota { limits: Limits::new(), cell_default: changes([("units", None)]) },
        Command::RenameTenant { name: Some("x".to_owned()), labels: None },
        grant("nina", Role::TenantViewer, None),
        revoke("ada", Role::TenantAdministrator, None),
    ];
    for command in refused {
        cloud.ada(command).refused_with(Refusal::TenantSuspended);
    }
    cloud.ada(act(server, Action::Stop)).is("resource.stop_requested");
    cloud.ada(detach(volume)).is("resource.detach_requested");
    cloud.ada(delete(free)).is("resource.delete_requested");
    // What workers saw is written down as ever, and operators go on.
    cloud.done(server).is("resource.stopped");
    cloud.done(volume).is("resource.detached");
    cloud.done(free).is("resource.deleted");
    cloud.asks("olga", Command::SetTenantQuota { limits: limits([("units", Limit::At(1))]), cell_default: changes([]) }).accepted();
    cloud.asks("olga", suspend()).is("command.nothing_to_do");
    cloud.asks("olga", Command::ResumeTenant {}).is("tenant.resumed");
    cloud.asks("olga", Command::ResumeTenant {}).is("command.nothing_to_do");
    cloud.ada(act(server, Action::Start)).is("resource.start_requested");
}

#[test]
fn a_tenant_is_closed_only_when_it_is_empty() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    cloud.ada(close(false)).refused_with(Refusal::NotEmpty { resources: 1, cells: 2 });
    cloud.removes(server);
    cloud.ada(close(false)).refused_with(Refusal::NotEmpty { resources: 0, cells: 2 });
    for cell in [cloud.b, cloud.c] {
        cloud.ada(Command::CloseCell { cell }).is("cell.closed");
    }
    cloud.ada(close(false)).is("tenant.closed");
    cloud.ada(close(false)).is("command.nothing_to_do");
    cloud.ada(cell("e")).refused_with(Refusal::TenantClosed);
    cloud.ada(cloud.order("server")).refused_with(Refusal::TenantClosed);
    cloud.asks("olga", Command::ResumeTenant {}).refused_with(Refusal::TenantClosed);
}

#[test]
fn a_drained_tenant_deletes_everything_takes_nothing_new_and_is_closed_when_empty() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let volume = cloud.volume_on(server);
    let half_made = cloud.ada(cloud.order("server")).resource();
    cloud.ada(close(true)).is("tenant.closing_began");
    for command in [cloud.order("server").into(), cell("d"), grant("nina", Role::TenantViewer, None), act(server, Action::Reboot)] {
        cloud.ada(command).refused_with(Refusal::TenantClosing);
    }
    cloud.asks("olga", suspend()).refused_with(Refusal::TenantClosing);
    cloud.asks("olga", Command::ResumeTenant {}).refused_with(Refusal::TenantClosing);
    cloud.ada(close(true)).is("command.nothing_to_do");
    // The process sends one command a thing, again and again; what is in use comes later.
    for id in [volume, server, half_made] {
        let answer = cloud.reports(delete(id));
        assert_eq!(answer.brief(), if id == volume { "refused: in_use" } else { "resource.delete_requested" });
    }
    cloud.done(server).is("resource.released resource.deleted");
    cloud.reports(close(true)).is("refused: not_empty");
    cloud.reports(delete(volume)).is("resource.delete_requested");
    cloud.done(volume).is("resource.deleted");
    cloud.done(half_made).is("resource.deleted");
    cloud.reports(close(true)).is("cell.closed cell.closed tenant.closed");
    cloud.reports(close(true)).is("command.nothing_to_do");
    assert_eq!((cloud.acme().status, cloud.acme().used.is_empty()), (TenantStatus::Closed, true));
}

#[test]
fn a_suspended_tenant_can_be_drained_and_closed() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    cloud.asks("olga", suspend()).accepted();
    cloud.ada(close(false)).is("refused: not_empty");
    cloud.ada(close(true)).is("tenant.closing_began");
    cloud.reports(delete(server)).is("resource.delete_requested");
    cloud.done(server).is("resource.deleted");
    // Once it is closing it need not be said again that it drains.
    cloud.reports(close(false)).is("cell.closed cell.closed tenant.closed");
}

#[test]
fn what_turns_up_after_the_end_of_a_tenant_is_still_removed() {
    let mut cloud = Cloud::open();
    let server = cloud.ada(cloud.order("server")).resource();
    let made = cloud.intent(server);
    cloud.ada(close(true)).accepted();
    cloud.reports(delete(server)).accepted();
    cloud.done(server).is("resource.deleted");
    cloud.reports(close(true)).accepted();
    cloud.reports_done(server, made, Some("ext-9")).is("resource.observed_late resource.remains_found");
    assert_eq!(cloud.acme().contents().0, 1);
    cloud.done(server).is("resource.remains_removed");
    assert_eq!(cloud.acme().contents().0, 0);
}

#[test]
fn a_cell_is_closed_when_it_is_empty_and_never_used_again() {
    let mut cloud = Cloud::open();
    let b = cloud.b;
    let server = cloud.server();
    cloud.ada(Command::CloseCell { cell: b }).refused_with(Refusal::NotEmpty { resources: 1, cells: 0 });
    cloud.removes(server);
    cloud.ada(Command::CloseCell { cell: b }).is("cell.closed");
    cloud.ada(Command::CloseCell { cell: b }).is("command.nothing_to_do");
    for command in [
        cloud.order("server").into(),
        Command::RenameCell { cell: b, name: "bee".to_owned() },
        Command::SetCellQuota { cell: b, limits: changes([]) },
    ] {
        cloud.ada(command).refused_with(Refusal::CellClosed { cell: b });
    }
    let nowhere = CellId(nobody());
    cloud.ada(Command::CloseCell { cell: nowhere }).refused_with(Refusal::NoSuchCell { cell: nowhere });
}

#[test]
fn names_and_labels_are_short_texts_of_which_no_change_is_no_event() {
    let mut cloud = Cloud::open();
    let rename = |name: &str| Command::RenameTenant { name: Some(name.to_owned()), labels: None };
    cloud.ada(rename("acme")).is("command.nothing_to_do");
    cloud.ada(rename(&"ä".repeat(255))).is("tenant.renamed");
    for bad in ["", "  ", "a\nb", &"ä".repeat(256)] {
        cloud.ada(rename(bad)).is("refused: bad_field");
    }
    let labels = |n: usize| Command::RenameTenant { name: None, labels: Some((0..n).map(|i| (format!("l{i}"), String::new())).collect()) };
    cloud.ada(labels(64)).is("tenant.renamed");
    cloud.ada(labels(65)).is("refused: bad_field");
    let odd = [("a/b~c".to_owned(), "\u{7}".to_owned())].into();
    cloud.ada(cloud.order("server").labelled(odd)).refused_with(Refusal::field("#/labels/a~1b~0c", "holds control characters"));
}
