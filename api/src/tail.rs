//! How far the journal is, as this process has seen it, and how far the read models are behind.
//!
//! The thread that hands out outcomes sees every commit; it notes their positions here. What was answered from this process is therefore
//! always at or below [`Seen`], and a read model that has reached it shows every write that this process has acknowledged.

use schemas::record::Position;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The journal's end as seen here, a partition; see the module.
#[derive(Debug, Default)]
pub struct Seen(Mutex<BTreeMap<u32, Progress>>);

#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The newest commit.
    newest: Position,
    /// A commit that the read models have not reached, and since when it has been there.
    awaited: Option<(Position, Instant)>,
}

impl Seen {
    /// Notes a commit.
    pub fn note(&self, position: Position, now: Instant) {
        let mut seen = self.lock();
        let progress = seen.entry(position.partition).or_insert(Progress { newest: position, awaited: None });
        progress.newest = position;
        progress.awaited = progress.awaited.or(Some((position, now)));
    }

    /// Notes how far the read models have come.
    pub fn shown(&self, reached: &BTreeMap<u32, Position>, now: Instant) {
        for (partition, progress) in self.lock().iter_mut() {
            let Some(reached) = reached.get(partition) else { continue };
            if progress.awaited.is_some_and(|(awaited, _)| covers(reached, &awaited)) {
                progress.awaited = (!covers(reached, &progress.newest)).then_some((progress.newest, now));
            }
        }
    }

    /// The newest commit of a partition, if any was seen.
    pub fn newest(&self, partition: u32) -> Option<Position> {
        self.lock().get(&partition).map(|progress| progress.newest)
    }

    /// For how long, at least, the read models have not shown something that is on the journal; of the partitions that `concerned` picks.
    pub fn behind(&self, now: Instant, concerned: impl Fn(u32) -> bool) -> Duration {
        let seen = self.lock();
        let waits = seen.iter().filter(|(partition, _)| concerned(**partition)).filter_map(|(_, progress)| progress.awaited);
        waits.map(|(_, since)| now.saturating_duration_since(since)).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Progress>> {
        // Every statement leaves the map whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn covers(reached: &Position, wanted: &Position) -> bool {
    (reached.generation, reached.seq) >= (wanted.generation, wanted.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { generation: 1, partition: 3, seq }
    }

    #[test]
    fn reads_are_behind_for_as_long_as_the_oldest_commit_that_they_do_not_show() {
        let (seen, start) = (Seen::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let behind = |seconds| seen.behind(after(seconds), |_| true).as_secs();

        seen.note(at(5), after(0));
        seen.note(at(9), after(4));
        assert_eq!((behind(6), seen.newest(3)), (6, Some(at(9))));

        seen.shown(&BTreeMap::from([(3, at(4))]), after(6));
        assert_eq!(behind(7), 7, "what was awaited is not shown yet");

        seen.shown(&BTreeMap::from([(3, at(6))]), after(7));
        assert_eq!(behind(9), 2, "the newest is awaited now");

        seen.shown(&BTreeMap::from([(3, at(9))]), after(9));
        assert_eq!(behind(100), 0);
        assert_eq!(seen.behind(after(100), |partition| partition == 4), Duration::ZERO);
    }
}
