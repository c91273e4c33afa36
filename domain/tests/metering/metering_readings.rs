//! Each reading counts once: in any order, however often it comes, and whatever is missing.

use crate::metering_collector::*;
use chrono::TimeDelta;
use domain::{Timestamp, metering::*, rating::Quantity};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn gathering() -> Gathering {
    Gathering::new(Calendar::of("Asia/Kolkata").unwrap())
}

/// `meter slot`: quantity of the aggregation of the meter.
fn totals(gathering: &Gathering) -> BTreeMap<(String, Timestamp), i128> {
    let meters = meters();
    let value = |place: &Place, tally: &Tally| tally.value(meters.rule(&place.meter).unwrap().aggregation).unwrap().0;
    gathering.tallies().iter().map(|(place, tally)| ((place.meter.to_string(), place.slot), value(place, tally))).collect()
}

#[test]
fn a_reading_that_comes_again_changes_nothing() {
    let mut gathering = gathering();
    let one = reading(event("traffic", json!({"bytes": 7})));
    assert_eq!(gathering.take(&one, at("10:00:00"), true), Verdict::Counted);
    let once = gathering.tallies().clone();
    assert_eq!(gathering.take(&one, at("10:00:01"), true), Verdict::Repeated);
    assert_eq!(gathering.take(&Reading { time: at("09:00:00"), ..one.clone() }, at("10:00:02"), true), Verdict::Repeated);
    assert_eq!(gathering.tallies(), &once);
    let elsewhere = Reading { source: "another".into(), ..one };
    assert_eq!(gathering.take(&elsewhere, at("10:00:03"), true), Verdict::Counted);
}

#[test]
fn an_unnumbered_reading_that_is_older_than_the_ids_that_are_kept_is_for_a_person() {
    let mut gathering = gathering();
    let one = reading(event("traffic", json!({"bytes": 7})));
    let late = one.time + KEPT;
    assert_eq!(gathering.take(&one, late + TimeDelta::microseconds(1), true), Verdict::Aside(Reason::TooOld));
    let in_time = Reading { key: Key::Id("e2".into()), ..one.clone() };
    assert_eq!(gathering.take(&in_time, late, true), Verdict::Counted);
    gathering.forget(late + KEPT);
    assert_eq!(gathering.take(&in_time, late + KEPT, true), Verdict::Aside(Reason::TooOld), "forgotten, and yet not counted twice");
    let numbered = reading(numbered(1, "traffic", json!({"bytes": 7})));
    assert_eq!(gathering.take(&numbered, late + KEPT, true), Verdict::Counted);
}

#[test]
fn a_reading_of_what_was_not_there_is_for_a_person_and_leaves_no_gap() {
    let mut gathering = gathering();
    let after_the_end = reading(numbered(1, "traffic", json!({"bytes": 7})));
    assert_eq!(gathering.take(&after_the_end, at("10:00:00"), false), Verdict::Aside(Reason::NotThere));
    assert_eq!(gathering.take(&after_the_end, at("10:00:00"), false), Verdict::Repeated);
    assert!(gathering.tallies().is_empty());
    assert_eq!(gathering.holes().count(), 0);
}

#[test]
fn a_hole_is_a_gap_after_an_hour_until_what_is_missing_comes() {
    let mut gathering = gathering();
    let mut take = |number, arrival| gathering.take(&reading(numbered(number, "traffic", json!({"bytes": 1}))), arrival, true);
    take(1, at("10:00:00"));
    take(4, at("10:00:00"));
    let gaps = |g: &Gathering, now| g.gaps(now).map(|(source, gap)| (source.to_owned(), gap.first, gap.last)).collect::<Vec<_>>();
    assert_eq!(gaps(&gathering, at("10:59:59")), []);
    assert_eq!(gaps(&gathering, at("11:00:00")), [("agent".to_owned(), 2, 3)]);
    for number in [3, 2] {
        gathering.take(&reading(numbered(number, "traffic", json!({"bytes": 1}))), at("11:00:00"), true);
    }
    assert_eq!(gaps(&gathering, at("12:00:00")), []);
}

#[test]
fn a_level_that_is_counted_over_time_is_the_level_times_the_time() {
    let mut gathering = gathering();
    for (id, time, level) in [("a", "18:00:01", 5), ("b", "18:00:03", 3), ("c", "18:00:02", 9)] {
        let sent = event("level", json!({"level": level}));
        gathering.take(&Reading { key: Key::Id(id.into()), time: at(time), ..reading(sent) }, at("18:01:00"), true);
    }
    let slot = Calendar::of("Asia/Kolkata").unwrap().slot(at("18:00:00"));
    let said = totals(&gathering);
    assert_eq!(said[&("peak".to_owned(), slot.start)], 9);
    assert_eq!(said[&("last".to_owned(), slot.start)], 3);
    let stored = meter("last", "byte_microseconds", json!({"type": "level", "aggregation": "latest", "value": "$.level"}));
    let tally = gathering.tallies().iter().find(|(place, _)| place.meter == stored.name).unwrap().1;
    assert_eq!(stored.quantity(tally, slot.microseconds()), Some(Quantity(3 * 1_800_000_000)), "a slot to the half hour of midnight");
    let level = meter("last", "bytes", json!({"type": "level", "aggregation": "latest", "value": "$.level"}));
    assert_eq!(level.quantity(tally, slot.microseconds()), Some(Quantity(3)));
}

/// A reading of one of two sources, of one of the types, at some minute around a local midnight.
#[derive(Debug, Clone)]
struct Sent {
    source: usize,
    minute: i64,
    kind: usize,
    shows: u64,
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..2usize, 0..200i64, 0..4usize, 0..65_536u64).prop_map(|(source, minute, kind, shows)| Sent { source, minute, kind, shows })
}

/// The readings as their sources number them: from 1 each, in the order of the list.
fn readings(sent: &[Sent]) -> Vec<Reading> {
    let (mut numbers, mut made) = ([0u64; 2], Vec::new());
    for Sent { source, minute, kind, shows } in sent {
        numbers[*source] += 1;
        let data = json!({"bytes": shows, "way": shows % 2, "octets": shows, "level": shows, "name": shows % 5});
        let number = numbered(numbers[*source], ["traffic", "port", "level", "user"][*kind], data);
        let source = ["a", "b"][*source].into();
        made.push(Reading { source, time: at("17:00:00") + TimeDelta::minutes(*minute), ..reading(number) });
    }
    made
}

/// What counters rose by, looked at all at once: each pair of readings of a counter between which its source lacks none.
fn risen(all: &[Reading], there: &[bool]) -> i128 {
    let mut total = 0;
    for source in ["a", "b"] {
        let of: Vec<(&Reading, bool)> = all.iter().zip(there.iter().copied()).filter(|(r, _)| &*r.source == source).collect();
        let mut before = None;
        for (reading, there) in of {
            let shows = reading.measured.iter().find_map(|m| match m.value {
                Measurement::Counter { shows, .. } => Some(shows.0),
                _ => None,
            });
            if !there {
                before = None;
            } else if let Some(shows) = shows {
                total += before.map_or(0, |before: i128| match shows - before {
                    rise @ 0.. => rise,
                    fall if fall + 65_536 < 32_768 => fall + 65_536,
                    _ => shows,
                });
                before = Some(shows);
            }
        }
    }
    total
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_of_readings_gives_the_same_totals(
        (list, order) in proptest::collection::vec(sent(), 1..60).prop_flat_map(|list| {
            let indices: Vec<usize> = (0..list.len()).chain(0..list.len() / 2).collect();
            (Just(list), Just(indices).prop_shuffle())
        }),
    ) {
        let readings = readings(&list);
        let mut in_order = gathering();
        for reading in &readings {
            prop_assert_eq!(in_order.take(reading, at("21:00:00"), true), Verdict::Counted);
        }
        let mut shuffled = gathering();
        for index in order {
            shuffled.take(&readings[index], at("21:00:00"), true);
        }
        prop_assert_eq!(shuffled.tallies(), in_order.tallies());
        prop_assert_eq!(shuffled.holes().count(), 0);
        let port: i128 = totals(&in_order).iter().filter(|((meter, _), _)| meter == "port").map(|(_, quantity)| quantity).sum();
        prop_assert_eq!(port, risen(&readings, &vec![true; readings.len()]));
    }

    #[test]
    fn what_is_missing_is_named_exactly_and_its_coming_brings_exactly_what_was_missing(
        (list, kept) in proptest::collection::vec(sent(), 1..60).prop_flat_map(|list| {
            let kept = proptest::collection::vec(any::<bool>(), list.len());
            (Just(list), kept)
        }),
    ) {
        let readings = readings(&list);
        let mut gathering = gathering();
        for (reading, _) in readings.iter().zip(&kept).filter(|(_, kept)| **kept) {
            gathering.take(reading, at("21:00:00"), true);
        }
        let port: i128 = totals(&gathering).iter().filter(|((meter, _), _)| meter == "port").map(|(_, quantity)| quantity).sum();
        prop_assert_eq!(port, risen(&readings, &kept));
        let named: Vec<(String, u64)> = gathering
            .holes()
            .flat_map(|(source, hole)| (hole.first..=hole.last).map(move |number| (source.to_owned(), number)))
            .collect();
        let number = |r: &Reading| match r.key { Key::Number(n) => n, Key::Id(_) => 0 };
        let mut lacking: Vec<(String, u64)> = Vec::new();
        for source in ["a", "b"] {
            let of = |wanted: bool| readings.iter().zip(&kept).filter(move |(r, kept)| &*r.source == source && **kept == wanted);
            let mark = of(true).map(|(r, _)| number(r)).max().unwrap_or(0);
            lacking.extend(of(false).map(|(r, _)| number(r)).filter(|n| *n < mark).map(|n| (source.to_owned(), n)));
        }
        prop_assert_eq!(named, lacking);
        for reading in &readings {
            gathering.take(reading, at("22:00:00"), true);
        }
        let mut clean = self::gathering();
        for reading in &readings {
            clean.take(reading, at("21:00:00"), true);
        }
        prop_assert_eq!(gathering.tallies(), clean.tallies());
    }
}
