//! The unpleasant behaviours of a provider, and the rules that say when they show.
//!
//! Rules are looked at in their order for every call. Those that shape how work goes (slow, ends in error, ...) add up; of those that replace the
//! answer the first wins, one before the work and one after it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::request::Verb;

/// When which behaviour shows. What is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only in this zone or region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Only for this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only for this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Verb>,
    /// Only for objects whose name begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Shows in this share of the calls that match.
    #[serde(default = "always")]
    pub probability: f64,
    /// Shows so many times more; absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// What shows.
    pub behaviour: Behaviour,
}

fn always() -> f64 {
    1.0
}

/// What a provider may do to its client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Does nothing and never answers.
    TimeoutBeforeDoing,
    /// Does it and never answers.
    TimeoutAfterDoing,
    /// Does nothing and answers 500.
    ErrorBeforeDoing,
    /// Does it and answers 500.
    ErrorAfterDoing,
    /// Does nothing and cuts the connection.
    CutBeforeDoing,
    /// Does it and cuts the connection.
    CutAfterDoing,
    /// Does it and answers late.
    LateAnswer {
        /// So much later.
        seconds: f64,
    },
    /// Does nothing and answers with this status.
    Refuse {
        /// 400 unless said otherwise.
        #[serde(default = "bad_request")]
        status: u16,
        /// The reason that it gives.
        text: String,
    },
    /// The project's quota at the provider: refuses a create or change that would pass it, as the service of that kind does.
    Quota {
        /// A property that is added up (`vcpus`), or a kind or its plural, of which the objects are counted (`servers`).
        dimension: String,
        /// 0 refuses everything that matches.
        limit: u64,
    },
    /// Answers 429 to what comes faster.
    RateLimit {
        /// Calls a second that pass.
        per_second: u32,
        /// What `Retry-After` says.
        retry_after_seconds: u64,
    },
    /// Does nothing and answers 503.
    Unavailable {
        /// What `Retry-After` says.
        retry_after_seconds: u64,
    },
    /// The work takes longer.
    Slow {
        /// So many times as long.
        factor: f64,
    },
    /// The work is accepted and ends in `ERROR`.
    EndsInError {
        /// The fault that the object then shows.
        text: String,
    },
    /// The work is accepted and never ends.
    NeverEnds,
    /// The object is created and later is gone, without any call.
    Vanishes {
        /// Counted from the create.
        after_seconds: f64,
    },
    /// Listings and looks show the state of so long ago, but no older than the rule.
    Lag {
        /// How far behind.
        seconds: f64,
    },
}

fn bad_request() -> u16 {
    400
}

impl Behaviour {
    fn applies_to(&self, verb: Verb) -> bool {
        match self {
            Self::Lag { .. } => !verb.mutates(),
            Self::Vanishes { .. } => verb == Verb::Create,
            Self::Quota { .. } => matches!(verb, Verb::Create | Verb::Change),
            Self::Slow { .. } | Self::EndsInError { .. } | Self::NeverEnds => verb.mutates(),
            _ => true,
        }
    }
}

impl Rule {
    /// Shows on every call, without end.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> Self {
        Self { zone: None, kind: None, operation: None, name_prefix: None, probability: 1.0, count: None, behaviour }
    }

    /// Only for this operation.
    #[must_use]
    pub fn on(mut self, operation: Verb) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only for this kind.
    #[must_use]
    pub fn of_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Only in this zone or region.
    #[must_use]
    pub fn in_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Only for objects whose name begins so.
    #[must_use]
    pub fn named(mut self, prefix: impl Into<String>) -> Self {
        self.name_prefix = Some(prefix.into());
        self
    }

    /// So many times and then no more.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// In this share of the calls, from 0 to 1.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Does the call match? What the call does not say (the kind in a listing of all kinds) does not speak against it.
    fn matches(&self, call: &Subject<'_>) -> bool {
        let agrees = |wanted: &Option<String>, said: Option<&str>| match (wanted, said) {
            (Some(wanted), Some(said)) => wanted == said,
            _ => true,
        };
        self.behaviour.applies_to(call.verb)
            && self.operation.is_none_or(|operation| operation == call.verb)
            && agrees(&self.zone, Some(call.zone))
            && agrees(&self.kind, call.kind)
            && match (&self.name_prefix, call.name) {
                (Some(prefix), Some(name)) => name.starts_with(prefix),
                _ => true,
            }
    }
}

/// What rules are matched against.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub verb: Verb,
    pub zone: &'a str,
    pub kind: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// What comes instead of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Instead {
    Silence,
    Cut,
    Error,
    Refusal { status: u16, text: String },
    TooFast { retry_after: u64 },
    Unavailable { retry_after: u64 },
}

/// What the rules have in store for one call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub before: Option<Instead>,
    pub after: Option<Instead>,
    pub late: Duration,
    pub quotas: Vec<(String, u64)>,
    pub slowness: f64,
    pub fails: Option<String>,
    pub never_ends: bool,
    pub vanishes_after: Option<Duration>,
    pub lag: Option<Duration>,
    /// A rule with a count has shown, so the rules differ from what was kept of them.
    pub counted: bool,
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// For each rule the second that is running and the calls in it.
    windows: Vec<(i64, u32)>,
}

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { windows: vec![(0, 0); rules.len()], rules }
    }

    pub fn as_slice(&self) -> &[Rule] {
        &self.rules
    }

    /// How far back a look may have to go.
    pub fn longest_lag(&self) -> Option<Duration> {
        let lags = self.rules.iter().filter_map(|rule| match rule.behaviour {
            Behaviour::Lag { seconds } => Some(span(seconds)),
            _ => None,
        });
        lags.max()
    }

    /// Decides what shows on this call, and counts it.
    pub fn plan<R: Rng>(&mut self, call: &Subject<'_>, now: DateTime<Utc>, rng: &mut R) -> Plan {
        let mut plan = Plan {
            before: None,
            after: None,
            late: Duration::ZERO,
            quotas: Vec::new(),
            slowness: 1.0,
            fails: None,
            never_ends: false,
            vanishes_after: None,
            lag: None,
            counted: false,
        };
        for (rule, window) in self.rules.iter_mut().zip(&mut self.windows) {
            if !rule.matches(call) || rule.count == Some(0) {
                continue;
            }
            if rule.probability < 1.0 && rng.random::<f64>() >= rule.probability {
                continue;
            }
            if !plan.take(&rule.behaviour, window, now) {
                continue;
            }
            if let Some(count) = &mut rule.count {
                *count -= 1;
                plan.counted = true;
            }
        }
        plan
    }
}

impl Plan {
    /// Adds a behaviour; false when it does not show because another came first or because the rate is kept.
    fn take(&mut self, behaviour: &Behaviour, window: &mut (i64, u32), now: DateTime<Utc>) -> bool {
        let before = match behaviour {
            Behaviour::TimeoutBeforeDoing => Some(Instead::Silence),
            Behaviour::CutBeforeDoing => Some(Instead::Cut),
            Behaviour::ErrorBeforeDoing => Some(Instead::Error),
            Behaviour::Refuse { status, text } => Some(Instead::Refusal { status: *status, text: text.clone() }),
            Behaviour::Unavailable { retry_after_seconds } => Some(Instead::Unavailable { retry_after: *retry_after_seconds }),
            Behaviour::RateLimit { per_second, retry_after_seconds } => {
                if window.0 != now.timestamp() {
                    *window = (now.timestamp(), 0);
                }
                window.1 = window.1.saturating_add(1);
                if window.1 <= *per_second {
                    return false;
                }
                Some(Instead::TooFast { retry_after: *retry_after_seconds })
            }
            _ => None,
        };
        if before.is_some() {
            let shows = self.before.is_none();
            self.before = self.before.take().or(before);
            return shows;
        }
        let after = match behaviour {
            Behaviour::TimeoutAfterDoing => Some(Instead::Silence),
            Behaviour::CutAfterDoing => Some(Instead::Cut),
            Behaviour::ErrorAfterDoing => Some(Instead::Error),
            _ => None,
        };
        if after.is_some() {
            let shows = self.before.is_none() && self.after.is_none();
            self.after = self.after.take().or(after);
            return shows;
        }
        match behaviour {
            Behaviour::LateAnswer { seconds } => self.late += span(*seconds),
            Behaviour::Quota { dimension, limit } => self.quotas.push((dimension.clone(), *limit)),
            Behaviour::Slow { factor } => self.slowness *= factor,
            Behaviour::EndsInError { text } => self.fails = Some(text.clone()),
            Behaviour::NeverEnds => self.never_ends = true,
            Behaviour::Vanishes { after_seconds } => self.vanishes_after = Some(span(*after_seconds)),
            Behaviour::Lag { seconds } => self.lag = self.lag.max(Some(span(*seconds))),
            _ => {}
        }
        true
    }
}

/// Seconds of a rule as a duration, at most a century, so that adding it to a time cannot overflow; what is no duration counts as none.
pub(super) fn span(seconds: f64) -> Duration {
    const CENTURY: f64 = 3_155_760_000.0;
    Duration::try_from_secs_f64(seconds.min(CENTURY)).unwrap_or_default()
}
