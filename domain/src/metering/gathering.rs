//! The readings of a tenant, counted: every one once, in whatever order and however often they come.
//!
//! This is the rule as a program; whoever keeps it in tables keeps the same four things, each a row: the numbers of a source, the ids of a source
//! that does not number, the tally of a place, and the series of a counter. Nothing else decides.

use super::{
    calendar::Calendar,
    counter::Series,
    numbers::{Gap, Numbers, Seen},
    reading::{Dimensions, Key, Measured, Measurement, Reading},
    tally::Tally,
};
use crate::{
    Timestamp,
    id::ResourceId,
    rating::{MeterName, Quantity},
};
use chrono::TimeDelta;
use std::{collections::BTreeMap, sync::Arc};

/// For so long the ids of readings without a number are kept, after the reading's time and after it came in. What is older when it comes cannot be
/// told from a repetition.
pub const KEPT: TimeDelta = TimeDelta::days(100);

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counted,
    /// It was there before and changes nothing.
    Repeated,
    /// It does not count; a person decides.
    Aside(Reason),
}

/// Why a reading is laid aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It has no number and is older than [`KEPT`].
    #[error("it is older than the ids that are kept")]
    TooOld,
    /// Its source has lost too much: see [`super::numbers::MOST_HOLES`].
    #[error("its source lacks too many readings")]
    TooManyHoles,
    /// At its time the resource was not there: not yet, or no more.
    #[error("its resource was not there at that time")]
    NotThere,
}

/// What readings are counted for: one resource, meter, set of dimensions and slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of what.
    pub resource: ResourceId,
    /// By which meter.
    pub meter: MeterName,
    /// Kept apart by these.
    pub dimensions: Dimensions,
    /// When the slot begins, in the tenant's calendar.
    pub slot: Timestamp,
}

/// A counter of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CounterOf {
    resource: ResourceId,
    meter: MeterName,
    dimensions: Dimensions,
}

/// What is kept of a source.
#[derive(Debug, Clone, Default)]
struct Source {
    numbers: Numbers,
    /// With when each may be forgotten.
    ids: BTreeMap<Arc<str>, Timestamp>,
    /// With where each rolls over.
    counters: BTreeMap<CounterOf, (Option<Quantity>, Series)>,
}

/// The readings of one tenant so far.
#[derive(Debug, Clone)]
pub struct Gathering {
    sources: BTreeMap<Arc<str>, Source>,
    places: Places,
}

/// What was counted.
#[derive(Debug, Clone)]
struct Places {
    calendar: Calendar,
    tallies: BTreeMap<Place, Tally>,
}

impl Places {
    fn at(&mut self, counter: &CounterOf, time: Timestamp) -> &mut Tally {
        let CounterOf { resource, meter, dimensions } = counter.clone();
        let slot = self.calendar.slot(time).start;
        self.tallies.entry(Place { resource, meter, dimensions, slot }).or_default()
    }
}

impl Source {
    /// Notes the identity of a reading. Says whether it came again or is laid aside, or, as nothing, that it is new.
    fn note(&mut self, reading: &Reading, arrival: Timestamp) -> Option<Verdict> {
        match &reading.key {
            Key::Number(number) => match self.numbers.record(*number, arrival) {
                Seen::New => None,
                Seen::Again => Some(Verdict::Repeated),
                Seen::TooManyHoles => Some(Verdict::Aside(Reason::TooManyHoles)),
            },
            Key::Id(id) => {
                let until = self.ids.entry(id.clone()).or_insert(Timestamp::MIN_UTC);
                if *until > arrival {
                    return Some(Verdict::Repeated);
                }
                *until = arrival.max(reading.time) + KEPT;
                (reading.time < arrival - KEPT).then_some(Verdict::Aside(Reason::TooOld))
            }
        }
    }

    fn count(&mut self, reading: &Reading, places: &mut Places) {
        for Measured { meter, dimensions, aggregation, value } in &reading.measured {
            let of = CounterOf { resource: reading.resource, meter: meter.clone(), dimensions: dimensions.clone() };
            places.at(&of, reading.time).add(reading, *aggregation, value);
            if let (Measurement::Counter { shows, rolls_over_at }, Key::Number(number)) = (value, &reading.key) {
                let (_, series) = self.counters.entry(of.clone()).or_insert((*rolls_over_at, Series::default()));
                for rise in series.add(*number, reading.time, *shows, *rolls_over_at, &self.numbers) {
                    places.at(&of, rise.time).rise(rise.quantity);
                }
            }
        }
    }

    /// A hole was filled: counters may know more.
    fn join(&mut self, places: &mut Places) {
        for (of, (rolls_over_at, series)) in self.counters.iter_mut().filter(|(_, (_, series))| series.waits()) {
            for rise in series.join(*rolls_over_at, &self.numbers) {
                places.at(of, rise.time).rise(rise.quantity);
            }
        }
    }
}

impl Gathering {
    /// Nothing yet, of a tenant with this calendar.
    pub fn new(calendar: Calendar) -> Self {
        Self { sources: BTreeMap::new(), places: Places { calendar, tallies: BTreeMap::new() } }
    }

    /// Counts a reading that came in at `arrival`; `was_there` says whether its resource was, at the reading's time.
    pub fn take(&mut self, reading: &Reading, arrival: Timestamp, was_there: bool) -> Verdict {
        let source = self.sources.entry(reading.source.clone()).or_default();
        let mark = source.numbers.mark();
        if let Some(verdict) = source.note(reading, arrival) {
            return verdict;
        }
        if was_there {
            source.count(reading, &mut self.places);
        }
        if matches!(reading.key, Key::Number(number) if number < mark) {
            source.join(&mut self.places);
        }
        if was_there { Verdict::Counted } else { Verdict::Aside(Reason::NotThere) }
    }

    /// What was counted, by place.
    pub fn tallies(&self) -> &BTreeMap<Place, Tally> {
        &self.places.tallies
    }

    /// The gaps by now, by source.
    pub fn gaps(&self, now: Timestamp) -> impl Iterator<Item = (&str, Gap)> {
        self.sources.iter().flat_map(move |(name, source)| source.numbers.gaps(now).map(move |gap| (&**name, gap)))
    }

    /// Everything that is missing, by source: the gaps at a close.
    pub fn holes(&self) -> impl Iterator<Item = (&str, Gap)> {
        self.sources.iter().flat_map(|(name, source)| source.numbers.holes().map(move |gap| (&**name, gap)))
    }

    /// Forgets the ids whose time is over.
    pub fn forget(&mut self, now: Timestamp) {
        for source in self.sources.values_mut() {
            source.ids.retain(|_, until| *until > now);
        }
    }
}
