//! The life of a resource: every order in every situation, and every end of every step.

use crate::{catalogue::*, cloud::*};
use domain::{
    catalogue::Action,
    command::{Command, Verdict},
    event::Event,
    id::ResourceId,
    refusal::Refusal,
    resource::{Phase, ResourceEvent},
};
use serde_json::json;

/// A situation in which a resource can be, and how it comes there.
type Situation = (&'static str, fn(&mut Cloud) -> ResourceId);

/// What somebody does to a resource.
type Deed<'a> = (&'a str, &'a dyn Fn(&mut Cloud, ResourceId) -> Answer);

const SITUATIONS: [Situation; 10] = [
    ("creating", |cloud| cloud.ada(cloud.order("server")).resource()),
    ("active", |cloud| cloud.server()),
    ("changing", |cloud| {
        let id = cloud.server();
        cloud.ada(change(id, json!({ "vcpus": 4, "memory_mib": 2048 }))).accepted();
        id
    }),
    ("stopping", |cloud| {
        let id = cloud.server();
        cloud.ada(act(id, Action::Stop)).accepted();
        id
    }),
    ("stopped", |cloud| {
        let id = cloud.server();
        cloud.ada(act(id, Action::Stop)).accepted();
        cloud.done(id).is("resource.stopped");
        id
    }),
    ("failing", |cloud| {
        let id = cloud.ada(cloud.order("server")).resource();
        cloud.fails(id, true).is("resource.provisioning_abandoned");
        id
    }),
    ("failed", |cloud| {
        let id = cloud.ada(cloud.order("server")).resource();
        cloud.fails(id, false).is("resource.provisioning_failed");
        id
    }),
    ("deleting", |cloud| {
        let id = cloud.server();
        cloud.ada(delete(id)).accepted();
        id
    }),
    ("lost", |cloud| {
        let id = cloud.server();
        cloud.reports(vanished(id)).is("resource.vanished");
        id
    }),
    ("in use", |cloud| {
        let disk = cloud.has(cloud.order("volume"));
        cloud.has(cloud.order("server").with("disk", disk.to_string()));
        disk
    }),
];

/// One line a situation: what each of `deeds` leads to in it.
fn table(deeds: &[Deed<'_>]) -> String {
    let mut lines = String::new();
    for (situation, come_there) in SITUATIONS {
        let mut cloud = Cloud::open();
        let id = come_there(&mut cloud);
        lines += &format!("{situation}\n");
        for (deed, does) in deeds {
            let mut cloud = cloud.clone();
            let brief = does(&mut cloud, id).brief().replace("resource.", "").replace("command.", "");
            let after = match cloud.acme().resources.get(&id) {
                None => "gone".to_owned(),
                Some(r) => match &r.step {
                    None => r.phase.name().to_owned(),
                    Some(step) => format!("{} [{}]", r.phase.name(), step.work.name()),
                },
            };
            lines += &format!("  {deed:<10} {brief} -> {after}\n");
        }
    }
    lines
}

#[track_caller]
fn is_the_table(actual: &str, expected: &str) {
    assert!(actual.trim() == expected.trim(), "the table is now\n{actual}");
}

#[test]
fn every_order_has_a_defined_outcome_in_every_situation() {
    let actual = table(&[
        ("change", &|cloud, id| cloud.ada(change(id, json!({ "vcpus": 8, "memory_mib": 2048 })))),
        ("rename", &|cloud, id| cloud.ada(rename(id, "other"))),
        ("start", &|cloud, id| cloud.ada(act(id, Action::Start))),
        ("stop", &|cloud, id| cloud.ada(act(id, Action::Stop))),
        ("reboot", &|cloud, id| cloud.ada(act(id, Action::Reboot))),
        ("delete", &|cloud, id| cloud.ada(delete(id))),
        ("vanished", &|cloud, id| cloud.reports(vanished(id))),
    ]);
    is_the_table(&actual, include_str!("orders.txt"));
}

#[test]
fn every_end_of_every_step_has_a_defined_outcome() {
    let named = |cloud: &Cloud, id| cloud.resource(id).step.as_ref().map_or(nobody().into_intent(), |s| s.intent);
    let actual = table(&[
        ("done", &|cloud, id| {
            let intent = named(cloud, id);
            cloud.reports_done(id, intent, None)
        }),
        ("failed", &|cloud, id| {
            let intent = named(cloud, id);
            cloud.reports(Command::ReportFailed { resource: id, intent, problem: "no".to_owned(), remains: false })
        }),
        ("remains", &|cloud, id| {
            let intent = named(cloud, id);
            cloud.reports(Command::ReportFailed { resource: id, intent, problem: "no".to_owned(), remains: true })
        }),
        ("attempt", &|cloud, id| {
            let intent = named(cloud, id);
            cloud.reports(Command::ReportAttempt { resource: id, intent, attempts: 3, problem: "no".to_owned() })
        }),
        ("early", &|cloud, id| {
            let intent = named(cloud, id);
            cloud.reports(Command::DeadlinePassed { resource: id, intent })
        }),
        ("deadline", &|cloud, id| {
            let intent = named(cloud, id);
            cloud.waits(DELETE_S).reports(Command::DeadlinePassed { resource: id, intent })
        }),
        ("is done", &|cloud, id| resolve(cloud, id, Verdict::Done)),
        ("has failed", &|cloud, id| resolve(cloud, id, Verdict::Failed)),
        ("again", &|cloud, id| resolve(cloud, id, Verdict::Retry)),
    ]);
    is_the_table(&actual, include_str!("ends.txt"));
}

fn resolve(cloud: &mut Cloud, resource: ResourceId, verdict: Verdict) -> Answer {
    let intent = cloud.resource(resource).step.as_ref().map_or(nobody().into_intent(), |s| s.intent);
    cloud.asks("olga", Command::ResolveStep { resource, intent, verdict, reason: "looked".to_owned() })
}

trait IntoIntent {
    fn into_intent(self) -> domain::id::IntentId;
}

impl IntoIntent for uuid::Uuid {
    fn into_intent(self) -> domain::id::IntentId {
        domain::id::IntentId(self)
    }
}

#[test]
fn a_server_lives_from_request_to_deletion_and_counts_generations() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).is("resource.requested").resource();
    let generations = |cloud: &Cloud| (cloud.resource(id).generation, cloud.resource(id).observed_generation);
    assert_eq!((cloud.phase(id), generations(&cloud), cloud.used("vcpus")), (Phase::Creating, (1, 0), 2));
    cloud.done(id).is("resource.provisioned");
    assert_eq!(generations(&cloud), (1, 1));
    cloud.ada(act(id, Action::Stop)).accepted();
    assert_eq!(generations(&cloud), (2, 1));
    // A name is nobody's work, and does not make the open step look done.
    cloud.ada(rename(id, "other")).is("resource.renamed");
    assert_eq!(generations(&cloud), (3, 1));
    cloud.done(id).is("resource.stopped");
    assert_eq!(generations(&cloud), (3, 3));
    cloud.ada(delete(id)).is("resource.delete_requested");
    assert_eq!(cloud.used("vcpus"), 2, "claimed until it is gone");
    cloud.done(id).is("resource.deleted");
    assert!(cloud.acme().used.is_empty() && cloud.acme().resources.is_empty());
    assert_eq!(cloud.acme().cells[&cloud.b].resources, 0);
}

#[test]
fn a_change_after_the_generation_that_was_seen_is_refused() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    let if_generation = Some(2);
    for command in [
        Command::DeleteResource { resource: id, if_generation },
        Command::ActOnResource { resource: id, if_generation, action: Action::Stop },
        Command::DetachResource { resource: id, if_generation },
        Command::AttachResource { resource: id, if_generation, to: id },
        Command::ChangeResource { resource: id, if_generation, name: None, labels: None, spec: None, version: 1 },
    ] {
        cloud.ada(command).refused_with(Refusal::GenerationMismatch { expected: 2, current: 1 });
    }
    cloud.ada(Command::DeleteResource { resource: id, if_generation: Some(1) }).accepted();
}

#[test]
fn a_failed_create_releases_its_claim_once_and_only_when_nothing_is_left() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    cloud.fails(id, true).is("resource.provisioning_abandoned");
    assert_eq!((cloud.phase(id), cloud.used("servers")), (Phase::Failing, 1));
    cloud.fails(id, true).is("resource.attempt_failed");
    assert_eq!(cloud.used("servers"), 1);
    cloud.done(id).is("resource.cleaned");
    assert_eq!((cloud.phase(id), cloud.used("servers")), (Phase::Failed, 0));
    // It is listed until its owner deletes it, which releases nothing a second time.
    cloud.server();
    cloud.removes(id);
    assert_eq!(cloud.used("servers"), 1);
}

#[test]
fn a_delete_during_create_replaces_it_and_waits_for_the_call_under_way() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    let create = cloud.intent(id);
    cloud.calls("w1", id, 60).is("resource.pending");
    cloud.ada(delete(id)).is("resource.delete_requested");
    let until = cloud.now + chrono::TimeDelta::seconds(60);
    cloud.calls("w2", id, 60).refused_with(Refusal::StepTaken { until });
    cloud.reports_done(id, create, Some("ext-1")).is("resource.observed_late");
    assert_eq!(cloud.phase(id), Phase::Deleting);
    cloud.waits(60).calls("w2", id, 60).is("resource.pending");
    cloud.done(id).is("resource.deleted");
    assert_eq!(cloud.used("servers"), 0);
}

#[test]
fn a_second_change_during_a_change_is_busy_and_the_same_one_is_nothing_to_do() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    let bigger = json!({ "vcpus": 4, "memory_mib": 2048 });
    cloud.ada(change(id, bigger.clone())).accepted();
    let intent = cloud.intent(id);
    let busy = || Refusal::Busy { step: "change".to_owned(), intent };
    cloud.ada(change(id, json!({ "vcpus": 8, "memory_mib": 2048 }))).refused_with(busy());
    cloud.ada(act(id, Action::Stop)).refused_with(busy());
    cloud.ada(change(id, bigger)).is("command.nothing_to_do");
}

#[test]
fn a_step_that_failed_goes_back_to_what_was_before() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let before = cloud.resource(server).clone();
    let orders = [change(server, json!({ "vcpus": 4, "memory_mib": 2048 })), act(server, Action::Stop), act(server, Action::Reboot)];
    for order in orders {
        cloud.ada(order).accepted();
        cloud.fails(server, true).is("resource.step_failed");
        let after = cloud.resource(server);
        assert_eq!((&after.terms, after.phase, &after.step), (&before.terms, before.phase, &None));
        assert_eq!(after.generation, after.observed_generation);
    }
    let volume = cloud.has(cloud.order("volume"));
    cloud.ada(attach(volume, server)).accepted();
    cloud.fails(volume, true).is("resource.step_failed");
    assert_eq!(cloud.resource(volume).attached_to, None);
    cloud.ada(attach(volume, server)).accepted();
    cloud.done(volume).is("resource.attached");
    cloud.ada(detach(volume)).accepted();
    cloud.fails(volume, true).is("resource.step_failed");
    assert_eq!(cloud.resource(volume).attached_to, Some(server));
}

#[test]
fn deleting_a_server_releases_what_is_attached_to_it() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let (volume, address) = (cloud.volume_on(server), cloud.has(cloud.order("public_ip")));
    cloud.ada(attach(address, server)).accepted();
    cloud.ada(delete(server)).is("resource.delete_requested");
    cloud.done(server).is("resource.released resource.released resource.deleted");
    for id in [volume, address] {
        let left = cloud.resource(id);
        assert_eq!((left.attached_to, left.phase, &left.step), (None, Phase::Active, &None));
        cloud.removes(id);
    }
}

#[test]
fn an_attached_volume_cannot_be_deleted_until_it_is_detached() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let volume = cloud.volume_on(server);
    cloud.ada(delete(volume)).refused_with(Refusal::InUse { by: vec![server] });
    cloud.ada(detach(volume)).accepted();
    cloud.ada(delete(volume)).refused_with(Refusal::InUse { by: vec![server] });
    cloud.done(volume).is("resource.detached");
    cloud.ada(detach(volume)).is("command.nothing_to_do");
    cloud.removes(volume);
}

#[test]
fn what_vanished_while_attached_can_be_deleted() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let volume = cloud.volume_on(server);
    cloud.reports(vanished(volume)).is("resource.vanished");
    cloud.ada(delete(volume)).is("resource.delete_requested");
    cloud.ada(delete(server)).is("resource.delete_requested");
    cloud.done(server).is("resource.released resource.deleted");
    cloud.done(volume).is("resource.deleted");
}

#[test]
fn a_volume_is_attached_to_one_server_at_a_time() {
    let mut cloud = Cloud::open();
    let (first, second) = (cloud.server(), cloud.server());
    let volume = cloud.volume_on(first);
    cloud.ada(attach(volume, first)).is("command.nothing_to_do");
    cloud.ada(attach(volume, second)).refused_with(Refusal::InUse { by: vec![first] });
    cloud.ada(attach(first, second)).is("refused: no_such_action");
    cloud.ada(act(volume, Action::Stop)).is("refused: no_such_action");
}

#[test]
fn the_operator_can_end_or_restart_what_is_stuck() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    cloud.ada(delete(id)).accepted();
    cloud.waits(DELETE_S).deadline(id).is("resource.overdue");
    cloud.deadline(id).is("refused: step_not_open");
    assert!(cloud.resource(id).step.as_ref().unwrap().overdue);
    cloud.calls("w1", id, 60).accepted();
    cloud.resolves(id, Verdict::Retry).is("resource.resolved resource.reopened");
    let step = cloud.resource(id).step.clone().unwrap();
    assert_eq!((step.overdue, step.deadline), (false, cloud.now + chrono::TimeDelta::seconds(DELETE_S)));
    assert!(step.pending.is_some(), "the call goes on, whatever the operator decides");
    cloud.deadline(id).is("refused: deadline_ahead");
    cloud.waits(DELETE_S).deadline(id).is("resource.overdue");
    cloud.resolves(id, Verdict::Done).is("resource.resolved resource.deleted");
}

#[test]
fn an_overdue_create_is_cleaned_up_after_the_call_under_way() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    cloud.waits(CREATE_S - 1).calls("w1", id, 60).accepted();
    cloud.waits(1).deadline(id).is("resource.overdue resource.provisioning_abandoned");
    cloud.calls("w2", id, 60).is("refused: step_taken");
    cloud.waits(59).calls("w2", id, 60).is("resource.pending");
    cloud.done(id).is("resource.cleaned");
}

#[test]
fn a_step_is_held_by_one_worker_until_its_call_deadline() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    cloud.calls("w1", id, 30).accepted();
    cloud.calls("w2", id, 30).is("refused: step_taken");
    cloud.calls("w1", id, 30).is("resource.pending");
    cloud.waits(30).calls("w2", id, 30).is("resource.pending");
    let intent = cloud.intent(id);
    cloud.reports(Command::ReportAttempt { resource: id, intent, attempts: 1, problem: "timed out".to_owned() }).accepted();
    // A call that failed may still take effect; and nobody may hold a step for days.
    cloud.calls("w1", id, 30).is("refused: step_taken");
    cloud.calls("w2", id, 3601).is("refused: bad_field");
    cloud.calls("w2", id, 0).is("refused: bad_field");
}

#[test]
fn a_worker_that_does_not_know_of_the_last_call_may_not_begin_another_however_late() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    cloud.calls_as("w1", id, 30, 1).is("resource.pending");
    // Both looked at the provider before w1's call, which may have made the server since.
    cloud.waits(40).calls_as("w2", id, 30, 1).is("refused: step_taken");
    cloud.calls_as("w1", id, 30, 1).is("refused: step_taken");
    cloud.calls_as("w2", id, 30, 2).is("resource.pending");
}

#[test]
fn what_a_provider_says_is_shortened_and_counted_without_overflow() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    cloud.ada(delete(id)).accepted();
    let intent = cloud.intent(id);
    let wordy = Command::ReportAttempt { resource: id, intent, attempts: u32::MAX, problem: "x\u{7}".repeat(600) };
    let answer = cloud.reports(wordy);
    let Event::Resource { event: ResourceEvent::AttemptFailed { problem, .. }, .. } = &answer.events[0] else { unreachable!() };
    assert_eq!(*problem, "x".repeat(500));
    cloud.fails(id, true).is("resource.attempt_failed");
    assert_eq!(cloud.resource(id).step.as_ref().unwrap().attempts, u32::MAX);
}

#[test]
fn a_flavor_is_written_out_into_the_spec() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server").spec(json!({})).flavored("m1")).accepted().resource();
    assert_eq!(cloud.resource(id).terms.spec, json!({ "flavor": "m1", "vcpus": 4, "memory_mib": 8192 }));
    assert_eq!((cloud.used("vcpus"), cloud.used("memory_mib")), (4, 8192));
    cloud.ada(cloud.order("server").flavored("m1")).is("refused: bad_field");
    cloud.ada(cloud.order("server").spec(json!([])).flavored("m1")).is("refused: bad_field");
    cloud.ada(cloud.order("volume").flavored("m1")).is("refused: bad_field");
    cloud.ada(cloud.order("server").spec(json!({})).flavored("m9")).is("refused: no_such_flavor");
}

#[test]
fn only_declared_fields_change_and_some_only_grow() {
    let mut cloud = Cloud::open();
    let volume = cloud.has(cloud.order("volume"));
    let server = cloud.server();
    cloud.ada(change(volume, json!({ "size_gib": 9 }))).refused_with(Refusal::field("#/spec/size_gib", "can only grow"));
    for shrunk in [json!({}), json!({ "size_gib": 9.5 }), json!({ "size_gib": "11" })] {
        cloud.ada(change(volume, shrunk)).is("refused: bad_field");
    }
    cloud.ada(change(volume, json!({ "size_gib": 11 }))).accepted();
    cloud
        .ada(change(server, json!({ "vcpus": 2, "memory_mib": 2048, "image": "x" })))
        .refused_with(Refusal::field("#/spec/image", "cannot change while the resource lives"));
    let Command::ChangeResource { resource, if_generation, labels, spec, version, .. } =
        change(server, json!({ "vcpus": 3, "memory_mib": 2048 }))
    else {
        unreachable!()
    };
    let both = Command::ChangeResource { resource, if_generation, name: Some("other".to_owned()), labels, spec, version };
    cloud.ada(both).is("refused: bad_field");
    cloud.ada(rename(server, "server")).is("command.nothing_to_do");
}
