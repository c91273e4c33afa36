//! From the events of a resource to its usage: what counts, from when, until when, and how it is cut.

use chrono::TimeDelta;
use domain::{
    Timestamp,
    command::LifecycleFact,
    id::IntentId,
    metering::*,
    quota::Amounts,
    resource::{Opened, Requested, ResourceEvent as E, Terms},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

fn at(seconds: i64) -> Timestamp {
    "2026-03-28T20:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::seconds(seconds)
}

fn opened(n: u128) -> Opened {
    Opened { intent: intent(n), deadline: at(0) }
}

fn intent(n: u128) -> IntentId {
    IntentId(Uuid::from_u128(n))
}

fn terms(vcpus: u64) -> Terms {
    Terms { spec: json!({"vcpus": vcpus, "memory_mib": 1024}), claim: Amounts::default(), uses: Vec::new() }
}

fn requested(at: Timestamp) -> E {
    E::Requested(Box::new(Requested {
        cell: None,
        kind: "server".parse().unwrap(),
        version: 1,
        name: "web".to_owned(),
        labels: Default::default(),
        subscriber: None,
        zone: None,
        terms: terms(2),
        power: true,
        step: opened(0),
        at,
    }))
}

fn provisioned(seconds: i64) -> E {
    E::Provisioned { intent: intent(0), external: None, at: at(seconds) }
}

fn delete_requested(seconds: i64) -> E {
    E::DeleteRequested { generation: 2, step: opened(9), at: at(seconds) }
}

fn corrected(fact: LifecycleFact, seconds: i64) -> E {
    E::LifecycleCorrected { fact, at: at(seconds), reason: "the clock was wrong".to_owned() }
}

fn life(events: impl IntoIterator<Item = E>) -> Life {
    let mut life = Life::default();
    life.apply(&requested(at(0)));
    events.into_iter().for_each(|event| life.apply(&event));
    life
}

/// The time that exists, its processors and its memory; processors pause while it is stopped.
fn meters() -> Vec<Meter> {
    let meter = |name: &str, unit: &str, rule: Value| {
        let meter = json!({"name": name, "unit": unit, "meaning": name, "from": {"existence": rule}});
        serde_json::from_value(meter).unwrap()
    };
    vec![
        meter("time", "microseconds", json!({})),
        meter("vcpu_time", "count_microseconds", json!({"field": "vcpus", "while_stopped": false})),
        meter("memory_time", "byte_microseconds", json!({"field": "memory_mib", "factor": 1 << 20})),
    ]
}

/// Microseconds by the meter `time`, and processor seconds, of all that was ever there until a day later.
fn total(life: &Life) -> (i128, i128) {
    let meters = meters();
    let pieces = usage(life, &meters, &Calendar::UTC, at(-86_400)..at(86_400)).unwrap();
    let of = |name: &str| pieces.iter().filter(|p| p.meter.as_str() == name).map(|p| p.quantity.0).sum::<i128>();
    (of("time"), of("vcpu_time") / 1_000_000)
}

const SECOND: i128 = 1_000_000;

#[test]
fn a_resource_that_lived_for_thirty_seconds_shows() {
    assert_eq!(total(&life([provisioned(100), delete_requested(130)])), (30 * SECOND, 60));
}

#[test]
fn a_delete_that_is_stuck_costs_the_provider() {
    let stuck = [provisioned(0), delete_requested(10), E::Overdue { intent: intent(9) }, E::Deleted { intent: intent(9), at: at(5000) }];
    assert_eq!(total(&life(stuck)).0, 10 * SECOND);
}

#[test]
fn a_create_that_failed_costs_nothing_however_long_its_cleaning_takes() {
    let failed = E::ProvisioningAbandoned { intent: intent(0), problem: "no host".to_owned(), step: opened(1), at: at(10) };
    let late = E::ObservedLate { intent: intent(0), observed: "report_done".to_owned() };
    assert_eq!(total(&life([failed, late, E::Cleaned { intent: intent(1), at: at(4000) }])), (0, 0));
    assert_eq!(total(&life([delete_requested(10), provisioned(20)])), (0, 0), "deleted while it was being made");
}

#[test]
fn a_new_size_counts_from_when_the_provider_runs_it_and_one_that_failed_never() {
    let asked = |n, vcpus| E::ChangeRequested { generation: 2, terms: Box::new(terms(vcpus)), step: opened(n), at: at(10) };
    let grown = [provisioned(0), asked(1, 4), E::Changed { intent: intent(1), at: at(60) }, delete_requested(100)];
    assert_eq!(total(&life(grown)), (100 * SECOND, 60 * 2 + 40 * 4));
    let failed = E::StepFailed { intent: intent(1), problem: "no host".to_owned(), at: at(60) };
    assert_eq!(total(&life([provisioned(0), asked(1, 4), failed, delete_requested(100)])), (100 * SECOND, 200));
}

#[test]
fn the_catalogue_says_what_goes_on_while_it_is_stopped() {
    let step = |n| (2, opened(n), at(10));
    let (generation, opened, asked) = step(1);
    let stopped = [
        provisioned(0),
        E::StopRequested { generation, step: opened, at: asked },
        E::Stopped { intent: intent(1), at: at(20) },
        E::Started { intent: intent(2), at: at(80) },
        delete_requested(100),
    ];
    assert_eq!(total(&life(stopped)), (100 * SECOND, 2 * (20 + 20)));
}

#[test]
fn what_is_lost_is_billed_to_when_it_was_seen_last() {
    assert_eq!(total(&life([provisioned(0), E::Vanished { at: at(40) }, delete_requested(90)])).0, 40 * SECOND);
}

#[test]
fn a_correction_puts_another_time_in_the_place_of_a_fact() {
    let lived = [provisioned(10), delete_requested(100)];
    let and = |event: E| life(lived.iter().cloned().chain([event]));
    assert_eq!(total(&and(corrected(LifecycleFact::Provisioned, 5))).0, 95 * SECOND);
    assert_eq!(total(&and(corrected(LifecycleFact::Provisioned, 30))).0, 70 * SECOND);
    assert_eq!(total(&and(corrected(LifecycleFact::DeleteRequested, 60))).0, 50 * SECOND);
    assert_eq!(total(&and(corrected(LifecycleFact::Provisioned, 200))).0, 0);
}

#[test]
fn a_day_of_23_hours_is_cut_into_23_and_its_pieces_are_of_one_day_each() {
    let berlin = Calendar::of("Europe/Berlin").unwrap();
    let day = |d: &str| berlin.day_start(d.parse().unwrap());
    let life = life([provisioned(0)]);
    let meters = meters();
    let pieces = usage(&life, &meters[..1], &berlin, day("2026-03-29")..day("2026-03-30")).unwrap();
    assert_eq!(pieces.len(), 23);
    assert!(pieces.iter().all(|p| berlin.day_of(p.time.start).to_string() == "2026-03-29"));
}

#[test]
fn what_cannot_be_counted_is_an_error_and_no_wrong_number() {
    let mut life = Life::default();
    let E::Requested(mut request) = requested(at(0)) else { unreachable!() };
    request.terms.spec = json!({"memory_mib": u64::MAX});
    life.apply(&E::Requested(request));
    life.apply(&provisioned(0));
    let meter = json!({"name": "m", "unit": "byte_microseconds", "meaning": "M",
        "from": {"existence": {"field": "memory_mib", "factor": u64::MAX}}});
    let meters: Vec<Meter> = vec![serde_json::from_value(meter).unwrap()];
    assert_eq!(usage(&life, &meters, &Calendar::UTC, at(0)..at(10)).unwrap_err().to_string(), "what m measures is too large");
}

fn any_event() -> impl Strategy<Value = E> {
    let time = -1000..20_000i64;
    prop_oneof![
        time.clone().prop_map(provisioned),
        time.clone().prop_map(delete_requested),
        time.clone().prop_map(|s| E::Vanished { at: at(s) }),
        (1..4u128, 1..9u64, time.clone()).prop_map(|(n, vcpus, s)| E::ChangeRequested {
            generation: 2,
            terms: Box::new(terms(vcpus)),
            step: opened(n),
            at: at(s),
        }),
        (1..4u128, time.clone()).prop_map(|(n, s)| E::Changed { intent: intent(n), at: at(s) }),
        (1..4u128, time.clone()).prop_map(|(n, s)| E::StepFailed { intent: intent(n), problem: String::new(), at: at(s) }),
        time.clone().prop_map(|s| E::Stopped { intent: intent(5), at: at(s) }),
        time.clone().prop_map(|s| E::Started { intent: intent(5), at: at(s) }),
        time.clone().prop_map(|s| E::Rebooted { intent: intent(5), at: at(s) }),
        time.clone().prop_map(|s| E::Cleaned { intent: intent(1), at: at(s) }),
        time.clone().prop_map(|s| E::Deleted { intent: intent(9), at: at(s) }),
        (prop_oneof![Just(LifecycleFact::Provisioned), Just(LifecycleFact::DeleteRequested), Just(LifecycleFact::Vanished)], time)
            .prop_map(|(fact, s)| corrected(fact, s)),
    ]
}

fn zone() -> impl Strategy<Value = Calendar> {
    prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Asia/Kolkata"), Just("America/St_Johns"), Just("Asia/Beirut")]
        .prop_map(|zone| Calendar::of(zone).unwrap())
}

/// The last word of the events about a fact.
fn said(events: &[E], fact: LifecycleFact) -> Option<Timestamp> {
    let own = |event: &E| match (event, fact) {
        (E::Provisioned { at, .. }, LifecycleFact::Provisioned) => Some(*at),
        (E::DeleteRequested { at, .. }, LifecycleFact::DeleteRequested) => Some(*at),
        (E::Vanished { at }, LifecycleFact::Vanished) => Some(*at),
        _ => None,
    };
    let correction = |event: &E| match event {
        E::LifecycleCorrected { fact: of, at, .. } if *of == fact => Some(*at),
        _ => None,
    };
    events.iter().rev().find_map(correction).or_else(|| events.iter().find_map(own))
}

proptest! {
    #[test]
    fn under_any_order_of_events_nothing_accrues_before_it_was_there_nor_after_its_end(
        events in proptest::collection::vec(any_event(), 0..14),
        request_at in 0..14usize,
        calendar in zone(),
    ) {
        let mut all = events;
        all.insert(request_at.min(all.len()), requested(at(0)));
        let mut life = Life::default();
        all.iter().for_each(|event| life.apply(event));
        let meters = meters();
        let pieces = usage(&life, &meters, &calendar, at(-5000)..at(30_000)).unwrap();
        let begin = said(&all, LifecycleFact::Provisioned);
        let end = [LifecycleFact::DeleteRequested, LifecycleFact::Vanished].into_iter().filter_map(|fact| said(&all, fact)).min();
        for piece in &pieces {
            prop_assert!(begin.is_some_and(|begin| begin <= piece.time.start), "{piece:?} before {begin:?}");
            prop_assert!(end.is_none_or(|end| piece.time.end <= end), "{piece:?} after {end:?}");
            prop_assert!(life.was_there(piece.time.start));
            prop_assert!(piece.time.start < piece.time.end && piece.quantity.0 > 0);
            let slot = calendar.slot(piece.time.start);
            prop_assert!(slot.start <= piece.time.start && piece.time.end <= slot.end, "{piece:?} is of two slots");
        }
        // And it accrues for the whole time that it was there.
        let time: i128 = pieces.iter().filter(|p| p.meter.as_str() == "time").map(|p| p.quantity.0).sum();
        let there = begin.map(|begin| (end.unwrap_or(at(30_000)).min(at(30_000)) - begin).num_microseconds().unwrap().max(0));
        prop_assert_eq!(time, i128::from(there.unwrap_or(0)));
        let slots = calendar.slots(at(-5000), at(30_000));
        prop_assert_eq!(time, slots.map(|slot| i128::from(life.microseconds_in(slot))).sum::<i128>());
    }

    #[test]
    fn the_parts_add_up_to_the_whole_at_every_bound(
        events in proptest::collection::vec(any_event(), 0..14),
        mut bounds in proptest::collection::vec(-5_000_000_000..30_000_000_000i64, 0..8),
        calendar in zone(),
    ) {
        let life = life(events);
        let meters = meters();
        let sums = |calendar: &Calendar, from: Timestamp, to: Timestamp| {
            let pieces = usage(&life, &meters, calendar, from..to).unwrap();
            meters.iter().map(|m| pieces.iter().filter(|p| *p.meter == m.name).map(|p| p.quantity.0).sum::<i128>()).collect::<Vec<_>>()
        };
        bounds.extend([-5_000_000_000, 30_000_000_000]);
        bounds.sort();
        let bounds: Vec<Timestamp> = bounds.iter().map(|us| at(0) + TimeDelta::microseconds(*us)).collect();
        let mut parts = vec![0; meters.len()];
        for pair in bounds.windows(2) {
            for (part, sum) in parts.iter_mut().zip(sums(&calendar, pair[0], pair[1])) {
                *part += sum;
            }
        }
        prop_assert_eq!(&parts, &sums(&calendar, at(-5000), at(30_000)));
        prop_assert_eq!(&parts, &sums(&Calendar::UTC, at(-5000), at(30_000)), "however the days are cut");
    }
}
