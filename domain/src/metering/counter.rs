//! Counters: from what they show to what they rose by, in whatever order their readings come.
//!
//! What a counter rose by lies between two readings that follow one another, so they are numbered, and only the number says what follows what:
//! clocks are not trusted for it. Between two readings with a hole between them nothing is known to have risen: what was in the hole is counted
//! when it comes. So a total only grows, is the same in any order, and each rise is counted once.
//!
//! A counter that shows less than before rolled over or was reset. If it is declared to roll over and that would be a rise of less than half its
//! range, it did; otherwise it began anew at zero and rose to what it shows. The rise counts to the time of the later reading.

use super::numbers::Numbers;
use crate::{Timestamp, rating::Quantity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One counter, read by one source. Bounded by the holes of its source: of readings without a hole between them only the ends are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Stretches without a hole, by the number of their first reading.
    runs: BTreeMap<u64, Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: Point,
    last: Point,
    last_number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    time: Timestamp,
    shows: Quantity,
}

/// What a counter rose by, and when that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rise {
    /// Of the reading that showed it.
    pub time: Timestamp,
    /// By how much.
    pub quantity: Quantity,
}

impl Series {
    /// Adds a reading that was not there before; says what it makes known. `numbers` are those of its source, this one included.
    pub fn add(&mut self, number: u64, time: Timestamp, shows: Quantity, rolls_over_at: Option<Quantity>, numbers: &Numbers) -> Vec<Rise> {
        let point = Point { time, shows };
        self.runs.insert(number, Run { first: point, last: point, last_number: number });
        let next = self.runs.range(number + 1..).next().map(|(next, _)| *next);
        [Some(number), next].into_iter().flatten().filter_map(|at| self.link(at, rolls_over_at, numbers)).collect()
    }

    /// Joins what has no hole between it any more; says what that makes known. Due whenever a hole of the source was filled.
    pub fn join(&mut self, rolls_over_at: Option<Quantity>, numbers: &Numbers) -> Vec<Rise> {
        let begins: Vec<u64> = self.runs.keys().copied().collect();
        begins.into_iter().filter_map(|at| self.link(at, rolls_over_at, numbers)).collect()
    }

    /// Appends the stretch that begins at a number to the one before, if nothing is missing between them.
    fn link(&mut self, at: u64, rolls_over_at: Option<Quantity>, numbers: &Numbers) -> Option<Rise> {
        let run = *self.runs.get(&at)?;
        let (_, before) = self.runs.range_mut(..at).next_back()?;
        if !numbers.has_all(before.last_number + 1..=at) {
            return None;
        }
        let rise = Rise { time: run.first.time, quantity: rise(before.last.shows, run.first.shows, rolls_over_at) };
        (before.last, before.last_number) = (run.last, run.last_number);
        self.runs.remove(&at);
        Some(rise)
    }

    /// True when something of it waits for a hole to be filled.
    pub fn waits(&self) -> bool {
        self.runs.len() > 1
    }
}

fn rise(before: Quantity, after: Quantity, rolls_over_at: Option<Quantity>) -> Quantity {
    if after >= before {
        return Quantity(after.0 - before.0);
    }
    let over = rolls_over_at.map(|end| (end.0 - before.0 + after.0, end.0));
    match over {
        Some((rise, end)) if rise < end / 2 => Quantity(rise),
        _ => after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[i128], rolls_over_at: Option<i128>) -> Vec<i128> {
        let (mut series, mut numbers) = (Series::default(), Numbers::default());
        let mut rises = Vec::new();
        for (number, shows) in (1..).zip(values) {
            numbers.record(number, Timestamp::UNIX_EPOCH);
            let end = rolls_over_at.map(Quantity);
            rises.extend(series.add(number, Timestamp::UNIX_EPOCH, Quantity(*shows), end, &numbers).iter().map(|r| r.quantity.0));
        }
        assert_eq!(series.runs.len(), 1);
        rises
    }

    #[test]
    fn a_counter_that_shows_less_was_reset_unless_it_rolls_over() {
        assert_eq!(shown(&[100, 150, 150, 30], None), [50, 0, 30]);
        assert_eq!(shown(&[4_294_967_290, 10], Some(1 << 32)), [16]);
    }

    #[test]
    fn a_reset_long_before_the_end_of_the_range_is_no_rise_of_nearly_the_whole_range() {
        assert_eq!(shown(&[1000, 10], Some(1 << 32)), [10]);
    }

    #[test]
    fn what_lies_in_a_hole_is_not_counted_until_it_comes() {
        let (mut series, mut numbers) = (Series::default(), Numbers::default());
        let minute = |n| Timestamp::UNIX_EPOCH + chrono::TimeDelta::minutes(n);
        let mut read = |number: u64, shows| {
            numbers.record(number, minute(9));
            series.add(number, minute(number as i64), Quantity(shows), None, &numbers)
        };
        assert_eq!(read(1, 10), []);
        assert_eq!(read(3, 40), []);
        assert_eq!(read(4, 45), [Rise { time: minute(4), quantity: Quantity(5) }]);
        let filled = read(2, 20);
        assert_eq!(filled, [(2, 10), (3, 20)].map(|(m, q)| Rise { time: minute(m), quantity: Quantity(q) }));
        assert!(!series.waits());
    }
}
