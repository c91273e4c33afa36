//! When things happened: the journal's clock, the effective clock, corrections.

use crate::cloud::*;
use chrono::TimeDelta;
use domain::{
    Timestamp,
    catalogue::Action,
    command::{Command, LifecycleFact, Origin, Request},
    event::Event,
    id::ResourceId,
    people::Actor,
    refusal::Refusal,
    resource::{Phase, ResourceEvent},
    tenant::Clock,
};

fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}

/// The `at` of the only fact in an answer.
fn at(answer: &Answer) -> Timestamp {
    match &answer.events[0] {
        Event::Resource { event: ResourceEvent::Requested(r), .. } => r.at,
        Event::Resource { event: ResourceEvent::Provisioned { at, .. } | ResourceEvent::StopRequested { at, .. }, .. } => *at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tenant_that_runs_by_the_clock_takes_no_times_from_its_people() {
    let mut cloud = Cloud::open();
    let now = cloud.now;
    cloud.ada_at(now, cloud.order("server")).refused_with(Refusal::ClockIsNotEffective);
    let server = cloud.server();
    cloud.ada_at(now, delete(server)).refused_with(Refusal::ClockIsNotEffective);
}

#[test]
fn with_the_effective_clock_things_happen_when_the_request_says() {
    let mut cloud = Cloud::opened(Clock::Effective);
    let start = cloud.now - TimeDelta::days(400);
    let created = cloud.ada_at(start, cloud.order("server"));
    assert_eq!(at(&created), start);
    let id = created.resource();
    // A provider answers at once in effective time.
    assert_eq!(at(&cloud.done(id)), start);
    cloud.ada_at(start - minutes(1), act(id, Action::Stop)).refused_with(Refusal::AtBeforeLast { at: start - minutes(1), last: start });
    assert_eq!(at(&cloud.ada_at(start + minutes(9), act(id, Action::Stop))), start + minutes(9));
    cloud.done(id).accepted();
    // Without a time it is now; and then what was before now is a correction.
    cloud.ada(act(id, Action::Start)).accepted();
    cloud.done(id).accepted();
    let (late, now) = (start + minutes(10), cloud.now);
    cloud.ada_at(late, delete(id)).refused_with(Refusal::AtBeforeLast { at: late, last: now });
}

#[test]
fn a_time_may_be_five_minutes_ahead_and_no_more() {
    let mut cloud = Cloud::opened(Clock::Effective);
    let limit = cloud.now + minutes(5);
    cloud.ada_at(limit, cloud.order("server")).accepted();
    let beyond = limit + TimeDelta::microseconds(1);
    cloud.ada_at(beyond, cloud.order("server")).refused_with(Refusal::AtAhead { at: beyond });
}

#[test]
fn a_report_by_the_clock_is_never_ahead_and_never_before_what_was_accepted() {
    let mut cloud = Cloud::open();
    let requested = cloud.now;
    for (said, written) in [(-10, 0), (30, 30), (90, 60)] {
        let mut cloud = cloud.clone();
        let id = cloud.ada(cloud.order("server")).resource();
        let intent = cloud.intent(id);
        cloud.waits(60);
        let report = Command::ReportDone { resource: id, intent, external: None, kind: kind("server"), zone: None };
        let request = cloud.request(Actor::Service("w".to_owned()), Some(cloud.tenant), report);
        let answer = cloud.send(&Request { at: Some(requested + TimeDelta::seconds(said)), ..request }, Origin::Reports);
        assert_eq!(at(&answer), requested + TimeDelta::seconds(written), "said {said}");
    }
    cloud.waits(0);
}

#[test]
fn what_became_known_late_is_corrected_by_an_operator_with_a_reason() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    let earlier = cloud.now - minutes(30);
    cloud.asks("olga", correct(id, LifecycleFact::Provisioned, earlier)).is("resource.lifecycle_corrected");
    cloud.ada(correct(id, LifecycleFact::Provisioned, earlier)).refused_with(Refusal::OperatorsOnly);
    let ahead = cloud.now + minutes(6);
    cloud.asks("olga", correct(id, LifecycleFact::Provisioned, ahead)).refused_with(Refusal::AtAhead { at: ahead });
    let why = Command::CorrectLifecycle { resource: id, fact: LifecycleFact::Provisioned, at: earlier, reason: " ".to_owned() };
    cloud.asks("olga", why).is("refused: bad_field");
    // The gone can be corrected, too: that is when it mostly becomes known. What never was cannot.
    cloud.removes(id);
    for fact in [LifecycleFact::Provisioned, LifecycleFact::DeleteRequested, LifecycleFact::Vanished] {
        cloud.asks("olga", correct(id, fact, earlier)).is("resource.lifecycle_corrected");
    }
    let never = ResourceId(nobody());
    cloud.asks("olga", correct(never, LifecycleFact::Provisioned, earlier)).refused_with(Refusal::NoSuchResource { resource: never });
    cloud.ada(correct(never, LifecycleFact::Provisioned, earlier)).refused_with(Refusal::OperatorsOnly);
}

#[test]
fn the_time_of_what_has_not_happened_cannot_be_corrected() {
    use LifecycleFact::*;
    let mut cloud = Cloud::open();
    let creating = cloud.ada(cloud.order("server")).resource();
    let active = cloud.server();
    let lost = cloud.server();
    cloud.reports(vanished(lost)).accepted();
    let deleting = cloud.server();
    cloud.ada(delete(deleting)).accepted();
    let now = cloud.now;
    for (id, possible) in [
        (creating, &[][..]),
        (active, &[Provisioned]),
        (lost, &[Provisioned, Vanished]),
        (deleting, &[Provisioned, DeleteRequested, Vanished]),
    ] {
        for fact in [Provisioned, DeleteRequested, Vanished] {
            let answer = cloud.asks("olga", correct(id, fact, now)).brief();
            let expected = if possible.contains(&fact) { "resource.lifecycle_corrected" } else { "refused: wrong_phase" };
            assert_eq!(answer, expected, "{fact:?} of {:?}", cloud.phase(id));
        }
    }
    assert_eq!(cloud.phase(lost), Phase::Lost);
}

#[test]
fn a_chains_time_never_goes_back_and_deadlines_go_by_it() {
    let mut cloud = Cloud::opened(Clock::Effective);
    let years_ago = cloud.now - TimeDelta::days(1000);
    let created = cloud.ada_at(years_ago, cloud.order("server"));
    let step = cloud.resource(created.resource()).step.clone().unwrap();
    assert_eq!(step.deadline, cloud.now + TimeDelta::seconds(crate::catalogue::CREATE_S));
    let before = cloud.chain.state.time;
    cloud.waits(-3600).ada(cell("d")).accepted();
    assert_eq!(cloud.chain.state.time, before);
}
