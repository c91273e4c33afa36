//! Making a journal, and refusing one whose settings would lose data.
//!
//! A journal is born once, by [`create`], which an operator calls; no role makes a topic. It has three topics of equal partitions, one more
//! than there are tenant partitions, the last for the platform:
//!
//! | topic | holds | kept |
//! |---|---|---|
//! | `cirrus.events.<generation>` | the chains | for ever |
//! | `cirrus.commands.<generation>` | what people ask for | a week |
//! | `cirrus.reports.<generation>` | what workers and metering saw | a week |
//!
//! Every role calls [`check`] when it starts. A topic that would lose or reorder records is refused with one sentence for each setting that
//! is wrong. The journal's id, which PostgreSQL remembers, is compared with what the first record of each chain names, so that a role never
//! folds one journal into the read models of another.

mod first;
mod fitness;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use uuid::Uuid;

pub use self::fitness::Fault;
use self::fitness::{Kind, Topic};
use crate::follower::StoredReader;
use crate::kafka::{KafkaLog, KafkaSettings, SettingsError};
use crate::log::{Log as _, LogError};
use crate::topics::Journal;

/// How long one question to the broker may take: administrative requests hang on a dead broker unless they are told not to.
const ANSWER: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to be there.
const PAUSE: Duration = Duration::from_millis(50);

/// How safely the topics are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durability {
    /// Copies of each record: 3 in production.
    pub replication: u16,
    /// Copies that must be written before a record counts: 2 in production.
    pub min_insync_replicas: u16,
}

impl Durability {
    /// Survives the loss of one broker without loss of data or of writes.
    pub const PRODUCTION: Self = Self { replication: 3, min_insync_replicas: 2 };
    /// For one broker on one machine.
    pub const SINGLE_BROKER: Self = Self { replication: 1, min_insync_replicas: 1 };
}

/// Why there is no journal, or none that may be used.
#[derive(Debug, thiserror::Error)]
pub enum BirthError {
    /// Settings or topics would lose data, or belong to another journal.
    #[error("{}", fitness::sentences(.0))]
    Unfit(Vec<Fault>),
    /// A topic does not exist.
    #[error("topic {0} does not exist; `cirrus journal create` makes it")]
    Missing(String),
    /// A topic could not be made.
    #[error("topic {topic} was not created: {code}")]
    NotCreated {
        /// Which.
        topic: String,
        /// What the broker said.
        code: RDKafkaErrorCode,
    },
    /// A topic was made, and the cluster does not show it.
    #[error("topic {0} was created and is still not complete; look at the brokers, then run this again")]
    NotReady(String),
    /// The broker did not answer.
    #[error("cannot {doing}")]
    Broker {
        /// What was asked.
        doing: &'static str,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The first records could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The first records did not arrive.
    #[error("the first record of partition {partition} of {topic} was not delivered in time")]
    FirstRecord {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: u32,
    },
}

/// Something that an operator should know and that stops nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Whoever reaches the broker can write to the journal, and one stray record stops a partition.
    NoAuthorizer,
    /// A lost disk is a lost journal.
    OneReplica {
        /// Which topic.
        topic: String,
    },
    /// There are several replicas, and a record counts when one of them has it.
    OneAcknowledgement {
        /// Which topic.
        topic: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAuthorizer => f.write_str(
                "the brokers have no authorizer (authorizer.class.name is empty): whoever reaches them can write to the journal, and one stray record stops a partition",
            ),
            Self::OneReplica { topic } => write!(f, "topic {topic} has one replica: a lost disk is a lost journal"),
            Self::OneAcknowledgement { topic } => write!(
                f,
                "topic {topic} has min.insync.replicas 1, and should have 2: a lost disk loses records that were acknowledged"
            ),
        }
    }
}

/// Makes the topics of a journal and checks them. Repeatable: what exists is left as it is, so a creation that died half way is completed,
/// and a complete one is only checked. Blocks.
///
/// # Errors
///
/// When the broker refuses, or what exists is not fit for this journal.
pub fn create(settings: &KafkaSettings, journal: &Journal, durability: Durability) -> Result<Vec<Warning>, BirthError> {
    let broker = Broker::connect(settings)?;
    let copies = i32::from(durability.replication);
    let partitions = i32::try_from(journal.all_partitions()).expect("a journal has at most 1,025 partitions");
    let min_insync = durability.min_insync_replicas.to_string();
    let topics = Topic::all(journal);
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(copies)).set("min.insync.replicas", &min_insync);
            topic.kind.settings().iter().fold(new, |new, setting| new.set(setting.name, setting.value))
        })
        .collect();
    let results = block_on(broker.admin.create_topics(&wanted, &options())).map_err(asking("create topics"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(BirthError::NotCreated { topic, code }),
        }
    }
    broker.wait_for(&topics, partitions)?;
    // Each broker of a cluster learns of a topic by itself: another one than was just asked may still say that there is none.
    let deadline = Instant::now() + ANSWER;
    loop {
        match check(settings, journal) {
            Err(BirthError::Missing(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            checked => return checked,
        }
    }
}

/// Checks that the topics exist, would lose nothing, and are this journal's. Blocks for seconds at most when the broker answers.
///
/// # Errors
///
/// [`BirthError::Unfit`] with every fault that was found; another kind when the broker could not be asked.
pub fn check(settings: &KafkaSettings, journal: &Journal) -> Result<Vec<Warning>, BirthError> {
    let broker = Broker::connect(settings)?;
    let topics = Topic::all(journal);
    let configs = broker.topic_settings(&topics)?;
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    for topic in &topics {
        let found = broker.partitions(&topic.name)?;
        if found.is_empty() {
            return Err(BirthError::Missing(topic.name.clone()));
        }
        faults.extend(topic.faults(journal, found.len(), configs.get(&topic.name)));
        let in_sync = configs.get(&topic.name).and_then(|settings| settings.get("min.insync.replicas"));
        if found.iter().any(|replicas| *replicas < 2) {
            warnings.push(Warning::OneReplica { topic: topic.name.clone() });
        } else if in_sync.is_some_and(|in_sync| in_sync == "1") {
            warnings.push(Warning::OneAcknowledgement { topic: topic.name.clone() });
        }
    }
    // A topic with other partitions cannot be read as this journal; its settings are fault enough.
    if faults.is_empty() {
        let log = KafkaLog::new(settings, &journal.events(), journal.all_partitions())?;
        faults.extend(first::faults(&log, journal)?);
    }
    if !faults.is_empty() {
        return Err(BirthError::Unfit(faults));
    }
    if !broker.has_authorizer() {
        warnings.push(Warning::NoAuthorizer);
    }
    Ok(warnings)
}

/// Checks that the topic still holds all that somebody has read from it. Every record that counts takes an offset of its own, in whatever copy, so a
/// partition that ends below a seq that was read was made again, restored from an older copy, or is another cluster's. Blocks.
///
/// # Errors
///
/// [`BirthError::Unfit`] with every partition that is too short; another kind when the broker could not be asked.
pub fn check_reaches(settings: &KafkaSettings, journal: &Journal, read: &[StoredReader]) -> Result<(), BirthError> {
    let log = KafkaLog::new(settings, &journal.events(), journal.all_partitions())?;
    let mut faults = Vec::new();
    for state in read.iter().map(|stored| &stored.state).filter(|state| state.generation == journal.generation) {
        let (partition, read) = (state.partition, state.seq - journal.genesis(state.partition).seq());
        let high = log.watermarks(partition)?.high;
        if u64::try_from(high).is_ok_and(|high| high < read) {
            let sentence = format!(
                "partition {partition} ends at offset {high}, and {read} records of it were read before: it was made again, restored from an older copy, or is another cluster's"
            );
            faults.push(Fault { topic: log.topic().to_owned(), sentence });
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(BirthError::Unfit(faults)) }
}

/// The journal whose chains lie on the topic of this generation, by the first record that names one; none while nothing was written. For
/// auditors, who have no PostgreSQL that remembers it. Blocks.
///
/// # Errors
///
/// When the topic does not exist or its first records cannot be read.
pub fn identify(settings: &KafkaSettings, generation: u32) -> Result<Option<Journal>, BirthError> {
    let broker = Broker::connect(settings)?;
    let unknown = Journal { id: Uuid::nil(), generation, partitions: 0 };
    let found = broker.partitions(&unknown.events())?.len();
    let Some(partitions) = u32::try_from(found).ok().and_then(|found| found.checked_sub(1)) else {
        return Err(BirthError::Missing(unknown.events()));
    };
    let log = KafkaLog::new(settings, &unknown.events(), partitions + 1)?;
    first::identify(&log, Journal { partitions, ..unknown })
}

/// What can be asked of the cluster.
struct Broker {
    admin: AdminClient<DefaultClientContext>,
}

impl Broker {
    fn connect(settings: &KafkaSettings) -> Result<Self, BirthError> {
        let admin = settings.client()?.create().map_err(asking("make a client"))?;
        Ok(Self { admin })
    }

    /// Replicas of each partition of a topic, none if it does not exist.
    fn partitions(&self, topic: &str) -> Result<Vec<usize>, BirthError> {
        let found = self.metadata(Some(topic))?;
        let topics = found.topics().iter().filter(|found| found.name() == topic && found.error().is_none());
        Ok(topics.flat_map(|topic| topic.partitions()).map(|partition| partition.replicas().len()).collect())
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, BirthError> {
        self.admin.inner().fetch_metadata(topic, ANSWER).map_err(asking("ask for the topics"))
    }

    /// Waits until every partition of the topics has a leader: a topic exists for the cluster before its brokers know it.
    fn wait_for(&self, topics: &[Topic], partitions: i32) -> Result<(), BirthError> {
        let deadline = Instant::now() + ANSWER;
        for topic in topics {
            loop {
                let found = self.metadata(Some(&topic.name))?;
                let led = found.topics().iter().flat_map(|topic| topic.partitions()).filter(|partition| partition.leader() >= 0).count();
                // A topic with another number of partitions will never have the right one; the check says so.
                let complete = found
                    .topics()
                    .iter()
                    .any(|topic| topic.error().is_none() && !topic.partitions().is_empty() && led == topic.partitions().len());
                if complete || led >= usize::try_from(partitions).unwrap_or(usize::MAX) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(BirthError::NotReady(topic.name.clone()));
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Settings in force, by topic and name.
    fn topic_settings(&self, topics: &[Topic]) -> Result<BTreeMap<String, BTreeMap<String, String>>, BirthError> {
        let asked: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
        let answers = block_on(self.admin.describe_configs(&asked, &options())).map_err(asking("ask for the settings of topics"))?;
        let mut settings = BTreeMap::new();
        for (topic, answer) in topics.iter().zip(answers) {
            match answer {
                Ok(answer) => settings.insert(topic.name.clone(), named(&answer)),
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => return Err(BirthError::Missing(topic.name.clone())),
                Err(code) => return Err(BirthError::Broker { doing: "ask for the settings of topics", source: KafkaError::AdminOp(code) }),
            };
        }
        Ok(settings)
    }

    /// Whether somebody is kept from writing. Who may not even ask is being kept.
    fn has_authorizer(&self) -> bool {
        let Ok(metadata) = self.metadata(None) else { return true };
        let Some(broker) = metadata.brokers().first() else { return true };
        let answers = block_on(self.admin.describe_configs(&[ResourceSpecifier::Broker(broker.id())], &options()));
        let Ok(Some(Ok(answer))) = answers.map(|answers| answers.into_iter().next()) else { return true };
        named(&answer).get("authorizer.class.name").is_some_and(|class| !class.is_empty())
    }
}

fn named(answer: &ConfigResource) -> BTreeMap<String, String> {
    answer.entries.iter().filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

fn asking(doing: &'static str) -> impl Fn(KafkaError) -> BirthError {
    move |source| BirthError::Broker { doing, source }
}

impl Kind {
    /// The topics of a journal and what each is for.
    const ALL: [Self; 3] = [Self::Events, Self::Commands, Self::Reports];
}

impl Topic {
    fn all(journal: &Journal) -> Vec<Self> {
        Kind::ALL.map(|kind| Self { name: kind.topic(journal), kind }).into()
    }
}
