//! Whether what the processes hold stays level.
//!
//! The first ten minutes of a process are its start: caches fill, pools open. What comes after is cut into three parts of equal length, and the median of the
//! last part may be above that of the first only by an allowance. Medians pass over the peaks that faults make; a leak they do not pass over. A process
//! that starts again begins anew. One that did not live long enough is not judged, and that is said.

use super::watch::Sample;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The start of a process, in seconds.
pub const START: u64 = 600;

/// What comes after must be at least so long to be judged, in seconds.
const SHORTEST: u64 = 540;

const MIB: f64 = 1_048_576.0;

/// What a decider remembers of each byte of the journal: every command of the last 30 days, and everything that was ever created. The journal's commits
/// are about a KiB each, and what is remembered of one about 150 bytes.
const REMEMBERED: f64 = 0.2;

/// Something that is held, and how far it may rise without being called a leak.
pub struct Measure {
    /// Its name.
    pub name: &'static str,
    /// Its unit, where it is no number of things.
    pub unit: &'static str,
    /// In that unit.
    pub of: fn(&Sample) -> f64,
    /// A tenth of what was there may come, and so much.
    slack: f64,
    /// What may come with so many bytes of the journal.
    history: fn(process: &str, journal: f64) -> f64,
}

/// All measures.
pub const MEASURES: [Measure; 3] = [
    Measure { name: "memory", unit: " MiB", of: |sample| sample.memory as f64 / MIB, slack: 16.0, history },
    Measure { name: "open files", unit: "", of: |sample| sample.files as f64, slack: 12.0, history: |_, _| 0.0 },
    Measure { name: "connections", unit: "", of: |sample| sample.connections as f64, slack: 8.0, history: |_, _| 0.0 },
];

/// In MiB.
fn history(process: &str, journal: f64) -> f64 {
    if process.starts_with("decider") { REMEMBERED * journal / MIB } else { 0.0 }
}

/// The course of one measure of one process after its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The name of the process.
    pub process: String,
    /// The name of the measure.
    pub measure: &'static str,
    unit: &'static str,
    /// When it is judged, in seconds of the watch.
    from: u64,
    until: u64,
    /// The medians of the first and the last third.
    first: f64,
    last: f64,
    allowed: f64,
}

impl Course {
    /// It does not rise by more than is allowed.
    pub fn is_flat(&self) -> bool {
        self.last <= self.allowed
    }

    /// Per hour.
    fn slope(&self) -> f64 {
        let between = (self.until - self.from) as f64 * 2.0 / 3.0;
        (self.last - self.first) / between * 3_600.0
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, measure, unit, from, until, first, last, allowed } = self;
        let verdict = if self.is_flat() { "" } else { ": NOT FLAT" };
        write!(
            f,
            "{process:<17} {measure:<11} minute {:>2} to {:>2}: {first:>5.0} to {last:>5.0}{unit}, {:>+6.1}{unit} an hour, allowed {allowed:.0}{unit}{verdict}",
            from / 60,
            until / 60,
            self.slope()
        )
    }
}

/// The courses of everything that lived long enough.
pub fn courses(samples: &[Sample]) -> Vec<Course> {
    lives(samples).values().flat_map(|life| MEASURES.iter().filter_map(|measure| course(measure, life))).collect()
}

/// Who never lived long enough.
pub fn not_judged(samples: &[Sample]) -> BTreeSet<&str> {
    let judged: BTreeSet<String> = courses(samples).into_iter().map(|course| course.process).collect();
    samples.iter().map(|sample| sample.process.as_str()).filter(|process| !judged.contains(*process)).collect()
}

/// What was seen of each process, in order.
pub fn lives(samples: &[Sample]) -> BTreeMap<(&str, i32), Vec<&Sample>> {
    let mut lives: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        lives.entry((sample.process.as_str(), sample.pid)).or_default().push(sample);
    }
    lives
}

fn course(measure: &Measure, life: &[&Sample]) -> Option<Course> {
    let (from, until) = (life.first()?.second + START, life.last()?.second);
    let third = until.checked_sub(from).filter(|length| *length >= SHORTEST)? / 3;
    let level = |from: u64, of: &dyn Fn(&Sample) -> f64| {
        let part = life.iter().filter(|sample| (from..=from + third).contains(&sample.second));
        let mut values: Vec<f64> = part.map(|sample| of(sample)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let both = |of: &dyn Fn(&Sample) -> f64| Some((level(from, of)?, level(until - third, of)?));
    let (first, last) = both(&measure.of)?;
    let (journal, longer) = both(&|sample| sample.journal as f64)?;
    let process = life.first()?.process.clone();
    let allowed = first * 1.1 + measure.slack + (measure.history)(&process, longer - journal);
    Some(Course { process, measure: measure.name, unit: measure.unit, from, until, first, last, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::watch::PERIOD;

    /// An hour of one process, whose memory, in MiB, depends on the second.
    fn hour(process: &str, memory: impl Fn(u64) -> u64) -> Vec<Sample> {
        let seconds = (0..3_600).step_by(PERIOD.as_secs() as usize);
        let sample = |second| Sample { second, process: process.to_owned(), pid: 1, memory: memory(second) << 20, ..Sample::default() };
        seconds.map(sample).collect()
    }

    fn is_flat(samples: &[Sample]) -> bool {
        courses(samples).iter().all(Course::is_flat)
    }

    #[test]
    fn a_process_that_fills_its_caches_in_ten_minutes_and_peaks_later_is_flat() {
        assert!(is_flat(&hour("api", |second| 50 + second.min(600) + if (1_800..2_100).contains(&second) { 500 } else { 0 })));
    }

    #[test]
    fn a_process_that_grows_by_a_mib_a_minute_is_found() {
        assert!(!is_flat(&hour("api", |second| 50 + second / 60)));
        assert!(is_flat(&hour("api", |second| 50 + second / 600)), "six in an hour are within what allocators do");
    }

    #[test]
    fn a_decider_may_remember_what_is_on_the_journal_and_no_other_may() {
        let with_journal = |process| {
            let mut samples = hour(process, |second| 50 + second / 60);
            samples.iter_mut().for_each(|sample| sample.journal = sample.second << 17);
            samples
        };
        assert!(is_flat(&with_journal("decider-2")));
        assert!(!is_flat(&with_journal("projector")));
    }

    #[test]
    fn a_process_that_starts_again_begins_anew_and_one_that_lives_too_short_is_named() {
        let mut samples = hour("worker", |second| 50 + second % 1_000 / 10);
        samples.iter_mut().for_each(|sample| sample.pid = i32::try_from(sample.second / 1_000).unwrap());
        assert_eq!(courses(&samples), vec![]);
        assert_eq!(not_judged(&samples), BTreeSet::from(["worker"]));
    }

    #[test]
    fn files_and_connections_are_judged_as_memory_is() {
        let mut samples = hour("api", |_| 50);
        samples.iter_mut().for_each(|sample| (sample.files, sample.connections) = (20 + sample.second / 60, 20));
        let risen: Vec<&str> = courses(&samples).iter().filter(|course| !course.is_flat()).map(|course| course.measure).collect();
        assert_eq!(risen, ["open files"]);
    }
}
