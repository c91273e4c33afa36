//! Which settings lose data. Pure: what the broker answered comes in, sentences go out.

use std::collections::BTreeMap;
use std::fmt;

use crate::topics::Journal;

/// One reason to refuse a topic, as a sentence: which setting of which topic, what it is, what it should be, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The topic.
    pub topic: String,
    /// What is wrong, going on from the topic's name.
    pub sentence: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}: {}", self.topic, self.sentence)
    }
}

/// All faults, a line each.
pub(super) fn sentences(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// A topic of the journal.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Events,
    Commands,
    Reports,
}

/// A setting that a topic is made with and checked for.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// What it is made with.
    pub(super) value: &'static str,
    /// What else does.
    fits: Fits,
    /// What happens otherwise.
    why: &'static str,
}

enum Fits {
    Exactly,
    /// The number or more; -1 means without limit.
    AtLeast,
    /// The number or less.
    AtMost,
}

const fn setting(name: &'static str, value: &'static str, fits: Fits, why: &'static str) -> Setting {
    Setting { name, value, fits, why }
}

/// A week in milliseconds: as long as a platform may be down without a command being forgotten undecided.
const WEEK: &str = "604800000";

const EVENTS: [Setting; 7] = [
    setting("cleanup.policy", "delete", Fits::Exactly, "compaction would remove links from the chains"),
    setting("retention.ms", "-1", Fits::Exactly, "the chains would lose their beginning after that time"),
    setting("retention.bytes", "-1", Fits::Exactly, "the chains would lose their beginning above that size"),
    setting("message.timestamp.type", "CreateTime", Fits::Exactly, "a record's time is its commit's, also in a mirrored copy"),
    setting(
        "message.timestamp.after.max.ms",
        "10000",
        Fits::AtMost,
        "the broker is the second clock: a decider that is ahead must be refused",
    ),
    setting(
        "max.message.bytes",
        "1048576",
        Fits::AtLeast,
        "the largest commit has 512 KiB, and a refused one would end its decider's lead",
    ),
    setting("unclean.leader.election.enable", "false", Fits::Exactly, "a replica that missed records would become the truth"),
];

const REQUESTS: [Setting; 6] = [
    setting("cleanup.policy", "delete", Fits::Exactly, "compaction would remove commands that nobody has decided"),
    setting("retention.ms", WEEK, Fits::AtLeast, "commands would be forgotten undecided while the platform is down"),
    setting("retention.bytes", "-1", Fits::Exactly, "commands would be forgotten undecided under load"),
    setting("message.timestamp.type", "CreateTime", Fits::Exactly, "how long a command waits is counted from when it was sent"),
    setting("max.message.bytes", "1048576", Fits::AtLeast, "large requests would be refused by the broker instead of by the API"),
    setting("unclean.leader.election.enable", "false", Fits::Exactly, "offsets that were decided would come again with other commands"),
];

impl Kind {
    pub(super) fn topic(self, journal: &Journal) -> String {
        match self {
            Self::Events => journal.events(),
            Self::Commands => journal.commands(),
            Self::Reports => journal.reports(),
        }
    }

    pub(super) fn settings(self) -> &'static [Setting] {
        match self {
            Self::Events => &EVENTS,
            Self::Commands | Self::Reports => &REQUESTS,
        }
    }
}

impl Topic {
    /// What is wrong with a topic that has so many partitions and these settings.
    pub(super) fn faults(&self, journal: &Journal, partitions: usize, found: Option<&BTreeMap<String, String>>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |sentence| faults.push(Fault { topic: self.name.clone(), sentence });
        let wanted = journal.all_partitions();
        if partitions != wanted as usize {
            fault(format!(
                "it has {partitions} partitions, and must have {wanted} ({} for tenants and one for the platform): tenants would be looked for in other chains than their own",
                journal.partitions
            ));
        }
        for setting in self.kind.settings() {
            let value = found.and_then(|found| found.get(setting.name)).map_or("unknown", String::as_str);
            if !setting.fits(value) {
                fault(format!("{} is {value}, and must be {}: {}", setting.name, setting.wanted(), setting.why));
            }
        }
        faults
    }
}

impl Setting {
    fn fits(&self, found: &str) -> bool {
        let numbers = || Some((found.parse::<i64>().ok()?, self.value.parse::<i64>().ok()?));
        match self.fits {
            Fits::Exactly => found == self.value,
            Fits::AtLeast => numbers().is_some_and(|(found, wanted)| found == -1 || found >= wanted),
            Fits::AtMost => numbers().is_some_and(|(found, wanted)| found <= wanted),
        }
    }

    fn wanted(&self) -> String {
        match self.fits {
            Fits::Exactly => self.value.to_owned(),
            Fits::AtLeast => format!("at least {}", self.value),
            Fits::AtMost => format!("at most {}", self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const JOURNAL: Journal = Journal { id: Uuid::nil(), generation: 1, partitions: 4 };

    fn faults_with(kind: Kind, changed: &[(&str, &str)]) -> Vec<String> {
        let topic = Topic { name: kind.topic(&JOURNAL), kind };
        let mut found: BTreeMap<String, String> =
            kind.settings().iter().map(|setting| (setting.name.into(), setting.value.into())).collect();
        found.extend(changed.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        topic.faults(&JOURNAL, 5, Some(&found)).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn a_topic_as_it_was_created_has_no_fault() {
        for kind in [Kind::Events, Kind::Commands, Kind::Reports] {
            assert_eq!(faults_with(kind, &[]), Vec::<String>::new(), "{kind:?}");
        }
    }

    #[test]
    fn each_setting_that_would_lose_data_is_named_with_what_it_should_be() {
        let cases = [
            (Kind::Events, "cleanup.policy", "compact", "must be delete"),
            (Kind::Events, "cleanup.policy", "compact,delete", "must be delete"),
            (Kind::Events, "retention.ms", "604800000", "must be -1"),
            (Kind::Events, "retention.bytes", "1073741824", "must be -1"),
            (Kind::Events, "message.timestamp.type", "LogAppendTime", "must be CreateTime"),
            (Kind::Events, "message.timestamp.after.max.ms", "3600000", "must be at most 10000"),
            (Kind::Events, "max.message.bytes", "100000", "must be at least 1048576"),
            (Kind::Events, "unclean.leader.election.enable", "true", "must be false"),
            (Kind::Commands, "retention.ms", "3600000", "must be at least 604800000"),
            (Kind::Reports, "cleanup.policy", "compact", "must be delete"),
        ];
        for (kind, name, value, wanted) in cases {
            let faults = faults_with(kind, &[(name, value)]);
            assert_eq!(faults.len(), 1, "{name}={value}");
            let start = format!("topic {}: {name} is {value}, and {wanted}: ", kind.topic(&JOURNAL));
            assert!(faults[0].starts_with(&start), "{}", faults[0]);
        }
    }

    #[test]
    fn commands_kept_for_longer_than_a_week_are_as_good() {
        assert_eq!(faults_with(Kind::Commands, &[("retention.ms", "-1")]), Vec::<String>::new());
    }

    #[test]
    fn a_setting_that_the_broker_does_not_tell_is_not_taken_for_granted() {
        let topic = Topic { name: JOURNAL.events(), kind: Kind::Events };
        assert_eq!(topic.faults(&JOURNAL, 5, None).len(), EVENTS.len());
    }

    #[test]
    fn another_number_of_partitions_is_refused_because_tenants_would_move() {
        let topic = Topic { name: JOURNAL.commands(), kind: Kind::Commands };
        let found: BTreeMap<String, String> = REQUESTS.iter().map(|setting| (setting.name.into(), setting.value.into())).collect();
        let faults = topic.faults(&JOURNAL, 4, Some(&found));
        assert!(faults[0].sentence.starts_with("it has 4 partitions, and must have 5"), "{}", faults[0]);
    }
}
