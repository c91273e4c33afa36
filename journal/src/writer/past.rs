//! What a later commit of the same chain may not go behind.

use chrono::{DateTime, Utc};
use schemas::record::{CommandRef, Commit, Origin, PlatformPosition};
use serde::{Deserialize, Serialize};

/// The last accepted values that may only grow: time, platform position, and the place in each command topic.
///
/// The position of the commands comes from here alone. Kafka's committed offsets are not used: they would be a second truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// Time of the last commit.
    pub time: Option<DateTime<Utc>>,
    /// Platform position of the last commit.
    pub platform: PlatformPosition,
    /// The last command answered.
    pub commands: Option<Answered>,
    /// The last report answered.
    pub reports: Option<Answered>,
}

/// Place of a command that has its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// Generation of the topic.
    pub generation: u32,
    /// Its offset there.
    pub offset: i64,
}

/// A draft that would go behind the chain's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GoesBack {
    /// Take `max(clock, time of the last commit)`.
    #[error("the commit's time {found} is before the last one's, {last}")]
    Time {
        /// Of the last commit.
        last: DateTime<Utc>,
        /// Of the draft.
        found: DateTime<Utc>,
    },
    /// Fold the platform's chain further before deciding.
    #[error("the commit was decided at platform position {found:?}, the last one at {last:?}")]
    Platform {
        /// Of the last commit.
        last: PlatformPosition,
        /// Of the draft.
        found: PlatformPosition,
    },
    /// The record has its commit already.
    #[error("the record at offset {found} of {origin:?} has been answered; the next one is {next}")]
    Command {
        /// Topic.
        origin: Origin,
        /// First offset without a commit.
        next: i64,
        /// Of the draft.
        found: i64,
    },
}

impl Past {
    /// First offset of the topic of this origin and generation that has no commit yet.
    pub fn next_offset(&self, origin: Origin, generation: u32) -> i64 {
        let answered = match origin {
            Origin::Commands => self.commands,
            Origin::Reports => self.reports,
        };
        answered.filter(|answered| answered.generation == generation).map_or(0, |answered| answered.offset + 1)
    }

    /// The past after a commit.
    #[must_use]
    pub fn after<J>(&self, commit: &Commit<J>) -> Self {
        self.with(commit.time, commit.platform, commit.command.as_ref())
    }

    fn with(&self, time: DateTime<Utc>, platform: PlatformPosition, command: Option<&CommandRef>) -> Self {
        let mut after = Self { time: Some(time), platform, ..*self };
        if let Some(command) = command {
            let answered = Some(Answered { generation: command.generation, offset: command.offset });
            match command.origin {
                Origin::Commands => after.commands = answered,
                Origin::Reports => after.reports = answered,
            }
        }
        after
    }

    /// Refuses what would go back.
    pub(super) fn allows<J>(&self, commit: &Commit<J>) -> Result<(), GoesBack> {
        if let Some(last) = self.time.filter(|last| commit.time < *last) {
            return Err(GoesBack::Time { last, found: commit.time });
        }
        if commit.platform < self.platform {
            return Err(GoesBack::Platform { last: self.platform, found: commit.platform });
        }
        if let Some(command) = &commit.command {
            let next = self.next_offset(command.origin, command.generation);
            if command.offset < next {
                return Err(GoesBack::Command { origin: command.origin, next, found: command.offset });
            }
        }
        Ok(())
    }
}
