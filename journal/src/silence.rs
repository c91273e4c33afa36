//! When to claim the lead of a partition.
//!
//! Epochs make it safe for anybody to claim at any time; these rules only keep the lead where it does work. An *assignment* by the consumer
//! group is a reason once: whoever lost the partition claims it again only after a new assignment or silence. *Silence* is that commands
//! wait and nothing has been accepted for 1 s plus a random 0 to 500 ms, doubled for each takeover that brought no outcome since the command
//! waits. Three such takeovers in a row mean that the command itself kills its deciders; the next leader records it as failed.
//!
//! Time and randomness come in as arguments.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Time without anything accepted after which waiting commands are a reason to claim, before the random part and doubling.
pub const SILENCE: Duration = Duration::from_secs(1);
/// The random part is drawn from zero to this.
pub const SPREAD: Duration = Duration::from_millis(500);
/// After so many takeovers without outcome a command is given up.
pub const FATAL_TAKEOVERS: usize = 3;
/// Silence stops doubling at 2^6 seconds: a platform that nobody could lead for a night must not need another night.
const DOUBLINGS: usize = 6;

/// Why to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The group gave this process the partition.
    Assigned,
    /// Commands wait and nobody decides them.
    Silence,
}

/// The reasons to claim one partition, seen by one process.
#[derive(Debug, Clone)]
pub struct Reasons {
    assigned: bool,
    waiting_since: Option<DateTime<Utc>>,
    quiet_since: DateTime<Utc>,
    spread: TimeDelta,
    takeovers: VecDeque<DateTime<Utc>>,
}

impl Reasons {
    /// Nothing known yet. `spread` is drawn anew for each partition and process, from zero to [`SPREAD`].
    pub fn new(now: DateTime<Utc>, spread: Duration) -> Self {
        Self { assigned: false, waiting_since: None, quiet_since: now, spread: delta(spread), takeovers: VecDeque::new() }
    }

    /// The group assigned the partition to this process.
    pub fn assigned(&mut self) {
        self.assigned = true;
    }

    /// The group took it away again before it was claimed.
    pub fn revoked(&mut self) {
        self.assigned = false;
    }

    /// The oldest command that no accepted commit answers, by the Kafka time of its record, or that none waits.
    pub fn waiting(&mut self, oldest: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        if self.waiting_since.is_none() && oldest.is_some() {
            self.quiet_since = self.quiet_since.max(now);
        }
        self.waiting_since = oldest;
    }

    /// Any record was accepted.
    pub fn accepted(&mut self, now: DateTime<Utc>) {
        self.quiet_since = now;
    }

    /// A takeover was accepted, anybody's; `at` is the Kafka time of its record. `spread` is drawn anew.
    pub fn taken_over(&mut self, at: DateTime<Utc>, now: DateTime<Utc>, spread: Duration) {
        self.accepted(now);
        self.spread = delta(spread);
        if self.takeovers.len() > DOUBLINGS {
            self.takeovers.pop_front();
        }
        self.takeovers.push_back(at);
    }

    /// A commit that answers a command was accepted.
    pub fn outcome(&mut self, now: DateTime<Utc>) {
        self.accepted(now);
        self.takeovers.clear();
    }

    /// This process claims: an assignment is used up, whether the claim wins or not.
    pub fn claimed(&mut self, now: DateTime<Utc>) {
        self.assigned = false;
        self.quiet_since = now;
    }

    /// Whether there is a reason to claim now, for a process that does not lead.
    pub fn reason(&self, now: DateTime<Utc>) -> Option<Reason> {
        if self.assigned {
            return Some(Reason::Assigned);
        }
        self.silent_at().filter(|at| *at <= now).map(|_| Reason::Silence)
    }

    /// When silence will be a reason, if nothing is accepted until then.
    pub fn silent_at(&self) -> Option<DateTime<Utc>> {
        self.waiting_since?;
        let doublings = self.fruitless().min(DOUBLINGS);
        Some(self.quiet_since + (delta(SILENCE) + self.spread) * (1 << doublings))
    }

    /// For a leader that is about to decide the oldest waiting command: whether three leaders before it were lost on that command, so that
    /// it has to be recorded as failed without being decided.
    pub fn is_fatal(&self) -> bool {
        self.fruitless() > FATAL_TAKEOVERS
    }

    /// Takeovers in a row without outcome while the oldest command waited. Takeovers of an idle partition do not count.
    fn fruitless(&self) -> usize {
        let Some(since) = self.waiting_since else { return 0 };
        self.takeovers.iter().filter(|at| **at >= since).count()
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
