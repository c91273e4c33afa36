//! How time is cut: at the hours of UTC, and at the midnights of a tenant's time zone.

use crate::Timestamp;
use chrono::{DurationRound, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// The time zone in which a tenant's days and periods begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    zone: Tz,
}

/// No time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone such as Europe/Berlin")]
pub struct UnknownZone(String);

/// A piece of time, [start, end): at most an hour, in one hour of UTC and one day of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Its first microsecond.
    pub start: Timestamp,
    /// The first one after it.
    pub end: Timestamp,
}

impl Slot {
    /// How long it is, in microseconds.
    pub fn microseconds(self) -> i64 {
        (self.end - self.start).num_microseconds().expect("a slot is at most an hour")
    }
}

impl Calendar {
    /// The version of the time-zone data, which a close notes.
    pub const DATA: &str = chrono_tz::IANA_TZDB_VERSION;

    /// Days as UTC has them.
    pub const UTC: Self = Self { zone: Tz::UTC };

    /// The calendar of a time zone by its IANA name.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn of(zone: &str) -> Result<Self, UnknownZone> {
        zone.parse().map(|zone| Self { zone }).map_err(|_| UnknownZone(zone.chars().take(80).collect()))
    }

    /// When a day begins: at the first midnight that the clocks show; where they skip it, at the first moment after.
    ///
    /// A day that a zone left out, as Samoa did with 30 December 2011, begins with the next one and has no length.
    pub fn day_start(&self, day: NaiveDate) -> Timestamp {
        let midnight = day.and_time(chrono::NaiveTime::MIN);
        if let Some(start) = self.zone.from_local_datetime(&midnight).earliest() {
            return start.to_utc();
        }
        // Clocks are never further than 15 hours from UTC.
        let (mut before, mut after) = (midnight.and_utc() - TimeDelta::hours(26), midnight.and_utc() + TimeDelta::hours(26));
        while after - before > TimeDelta::microseconds(1) {
            let middle = before + TimeDelta::microseconds((after - before).num_microseconds().expect("52 hours") / 2);
            *(if self.shown(middle) < day { &mut before } else { &mut after }) = middle;
        }
        after
    }

    /// The day of which a moment is part. Days follow one another, also where clocks show a midnight twice.
    pub fn day_of(&self, time: Timestamp) -> NaiveDate {
        let mut day = self.shown(time);
        while self.day_start(next(day)) <= time {
            day = next(day);
        }
        while self.day_start(day) > time {
            day = day.pred_opt().expect("times have years of four digits");
        }
        day
    }

    /// What a calendar on the wall shows.
    fn shown(&self, time: Timestamp) -> NaiveDate {
        time.with_timezone(&self.zone).date_naive()
    }

    /// The slot of which a moment is part.
    pub fn slot(&self, time: Timestamp) -> Slot {
        let day = self.day_of(time);
        let hour = hour_of(time);
        let (start, end) = (self.day_start(day), self.day_start(next(day)));
        Slot { start: start.max(hour), end: end.min(hour + TimeDelta::hours(1)) }
    }

    /// [start, end) cut at every hour and every midnight.
    pub fn slots(&self, start: Timestamp, end: Timestamp) -> impl Iterator<Item = Slot> {
        let mut day_end = start;
        let mut from = start;
        std::iter::from_fn(move || {
            if from >= end {
                return None;
            }
            if from >= day_end {
                day_end = self.day_start(next(self.day_of(from)));
            }
            let to = end.min(day_end).min(hour_of(from) + TimeDelta::hours(1));
            let slot = Slot { start: from, end: to };
            from = to;
            Some(slot)
        })
    }
}

fn next(day: NaiveDate) -> NaiveDate {
    day.succ_opt().expect("times have years of four digits")
}

fn hour_of(time: Timestamp) -> Timestamp {
    time.duration_trunc(TimeDelta::hours(1)).expect("an hour is a length, and the time has a year of four digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(zone: &str, from: &str, days: usize) -> Vec<String> {
        let day: NaiveDate = from.parse().unwrap();
        day.iter_days().take(days).map(|day| Calendar::of(zone).unwrap().day_start(day).to_rfc3339()).collect()
    }

    #[test]
    fn a_day_has_the_hours_that_clocks_give_it() {
        // Clocks go forward on 29 March 2026, a day of 23 hours.
        let berlin = starts("Europe/Berlin", "2026-03-28", 3);
        assert_eq!(berlin, ["2026-03-27T23:00:00+00:00", "2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"]);
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_begins_when_clocks_go_on() {
        // Beirut goes from 23:59:59 to 01:00 on 29 March 2026; Samoa left out a whole day.
        assert_eq!(starts("Asia/Beirut", "2026-03-29", 1), ["2026-03-28T22:00:00+00:00"]);
        let samoa = starts("Pacific/Apia", "2011-12-29", 3);
        assert_eq!(samoa, ["2011-12-29T10:00:00+00:00", "2011-12-30T10:00:00+00:00", "2011-12-30T10:00:00+00:00"]);
    }

    #[test]
    fn a_midnight_that_clocks_show_twice_begins_one_day() {
        // St. John's went from 00:01 back to 23:01 on 29 October 2006.
        let calendar = Calendar::of("America/St_Johns").unwrap();
        let start = calendar.day_start("2006-10-29".parse().unwrap());
        let in_the_second_evening = start + TimeDelta::minutes(30);
        assert_eq!(calendar.shown(in_the_second_evening).to_string(), "2006-10-28");
        assert_eq!(calendar.day_of(in_the_second_evening).to_string(), "2006-10-29");
        assert_eq!(calendar.slot(in_the_second_evening).start, start.max(hour_of(in_the_second_evening)));
    }

    #[test]
    fn time_is_cut_at_hours_and_at_midnights_between_them() {
        let calendar = Calendar::of("Asia/Kolkata").unwrap();
        let time = |t: &str| format!("2026-11-21T{t}Z").parse::<Timestamp>().unwrap();
        let cut: Vec<String> = calendar.slots(time("17:50:00.5"), time("19:00:00")).map(|s| s.start.format("%T%.f").to_string()).collect();
        assert_eq!(cut, ["17:50:00.500", "18:00:00", "18:30:00"]);
        assert_eq!(calendar.slot(time("18:29:59.999999")), Slot { start: time("18:00:00"), end: time("18:30:00") });
        assert_eq!(Calendar::UTC.slot(time("18:30:00")), Slot { start: time("18:00:00"), end: time("19:00:00") });
        assert_eq!(calendar.slots(time("18:00:00"), time("18:00:00")).count(), 0);
    }

    #[test]
    fn a_zone_that_does_not_exist_is_refused() {
        assert_eq!(Calendar::of("Mars/Olympus").unwrap_err().to_string(), "\"Mars/Olympus\" is no time zone such as Europe/Berlin");
        assert!(Calendar::DATA.starts_with("20"), "{}", Calendar::DATA);
    }
}
