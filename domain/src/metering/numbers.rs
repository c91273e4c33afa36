//! What is kept of a source that numbers its readings: how far it has come, and what is missing below.

use crate::Timestamp;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// A hole that is older than this is a gap.
pub const GAP_AFTER: TimeDelta = TimeDelta::hours(1);

/// A source may have at most so many holes at once: it is the bound of what is kept of it.
pub const MOST_HOLES: usize = 10_000;

/// The numbers of one source that were seen: all from 1 to the mark, but for the holes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    mark: u64,
    /// By their first number.
    holes: BTreeMap<u64, Hole>,
}

/// Numbers that are missing, from the key under which it is kept up to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Hole {
    last: u64,
    /// When a greater number came in.
    since: Timestamp,
}

/// Readings that are missing: a fact that is listed and stands on the invoice line until they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first number that is missing.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Since when something after it is known.
    pub since: Timestamp,
}

/// What a number is to its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was not there before.
    New,
    /// It was: a reading that came again.
    Again,
    /// It would leave one more hole than are kept. Nothing was noted, so it can be sent again.
    TooManyHoles,
}

impl Numbers {
    /// Notes a number (from 1) that came in at `arrival`.
    pub fn record(&mut self, number: u64, arrival: Timestamp) -> Seen {
        if number == 0 {
            return Seen::Again;
        }
        if number > self.mark {
            if number > self.mark + 1 {
                if self.holes.len() >= MOST_HOLES {
                    return Seen::TooManyHoles;
                }
                self.holes.insert(self.mark + 1, Hole { last: number - 1, since: arrival });
            }
            self.mark = number;
            return Seen::New;
        }
        let Some((first, hole)) = self.hole_around(number) else { return Seen::Again };
        let splits = first < number && number < hole.last;
        if splits && self.holes.len() >= MOST_HOLES {
            return Seen::TooManyHoles;
        }
        self.holes.remove(&first);
        if first < number {
            self.holes.insert(first, Hole { last: number - 1, ..hole });
        }
        if number < hole.last {
            self.holes.insert(number + 1, hole);
        }
        Seen::New
    }

    fn hole_around(&self, number: u64) -> Option<(u64, Hole)> {
        self.holes.range(..=number).next_back().map(|(first, hole)| (*first, *hole)).filter(|(_, hole)| number <= hole.last)
    }

    /// The greatest number that was seen; 0 before the first.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// True when every number of the range was seen.
    pub fn has_all(&self, range: RangeInclusive<u64>) -> bool {
        let (first, last) = range.into_inner();
        let reaches_in = self.holes.range(..=last).next_back().is_some_and(|(_, hole)| hole.last >= first);
        first > last || last <= self.mark && !reaches_in
    }

    /// What is missing, in order.
    pub fn holes(&self) -> impl Iterator<Item = Gap> {
        self.holes.iter().map(|(first, hole)| Gap { first: *first, last: hole.last, since: hole.since })
    }

    /// The holes that are gaps by now; at a close all of [`Numbers::holes`] are.
    pub fn gaps(&self, now: Timestamp) -> impl Iterator<Item = Gap> {
        self.holes().filter(move |hole| now - hole.since >= GAP_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn minute(n: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::minutes(n)
    }

    fn ranges(holes: impl Iterator<Item = Gap>) -> Vec<(u64, u64)> {
        holes.map(|h| (h.first, h.last)).collect()
    }

    #[test]
    fn a_hole_is_a_gap_after_an_hour_and_none_once_its_readings_have_come() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.record(1, minute(0)), Seen::New);
        assert_eq!(numbers.record(5, minute(0)), Seen::New);
        assert_eq!(ranges(numbers.gaps(minute(59))), []);
        assert_eq!(ranges(numbers.gaps(minute(60))), [(2, 4)]);
        assert_eq!(numbers.record(3, minute(61)), Seen::New);
        assert_eq!(ranges(numbers.gaps(minute(61))), [(2, 2), (4, 4)]);
        assert_eq!(numbers.record(3, minute(62)), Seen::Again);
        for number in [4, 2] {
            assert_eq!(numbers.record(number, minute(62)), Seen::New);
        }
        assert_eq!(ranges(numbers.holes()), []);
        assert_eq!(numbers.mark(), 5);
    }

    #[test]
    fn a_source_that_begins_late_lacks_everything_before() {
        let mut numbers = Numbers::default();
        numbers.record(1000, minute(0));
        assert_eq!(ranges(numbers.holes()), [(1, 999)]);
    }

    #[test]
    fn a_source_that_loses_every_second_reading_is_bounded_and_nothing_is_noted_beyond() {
        let mut numbers = Numbers::default();
        let most = MOST_HOLES as u64;
        for n in 1..=most {
            assert_eq!(numbers.record(2 * n, minute(0)), Seen::New);
        }
        assert_eq!(numbers.record(2 * most + 2, minute(0)), Seen::TooManyHoles);
        assert_eq!(numbers.record(2 * most + 1, minute(0)), Seen::New);
        assert_eq!(numbers.record(1, minute(0)), Seen::New);
        assert_eq!(numbers.record(2 * most + 3, minute(0)), Seen::New);
    }

    proptest! {
        #[test]
        fn the_mark_and_the_holes_know_of_every_number_whether_it_was_there(sent in proptest::collection::vec(1u64..60, 1..80)) {
            let (mut numbers, mut seen) = (Numbers::default(), BTreeSet::new());
            for number in sent {
                let new = if seen.insert(number) { Seen::New } else { Seen::Again };
                prop_assert_eq!(numbers.record(number, minute(0)), new);
            }
            for number in 1..=numbers.mark() {
                prop_assert_eq!(numbers.has_all(number..=number), seen.contains(&number));
            }
            for first in 1..60 {
                for last in first..60 {
                    prop_assert_eq!(numbers.has_all(first..=last), (first..=last).all(|n| seen.contains(&n)));
                }
            }
        }
    }
}
