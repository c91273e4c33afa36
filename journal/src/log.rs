//! One topic, seen narrowly enough that Kafka and an in-memory twin can both stand behind it.
//!
//! There are three ways to touch a topic. A [`Producer`] writes a chain: without blocking, in order, without holes, and the first error ends
//! it. A [`Sender`] writes commands and reports: every record is answered by its offset or an error, and the sender lives on. A [`Consumer`]
//! reads partitions that it was told to, from offsets that it was told, into an [`Inbox`]; there is no group and no committed offset.
//!
//! Both implementations pass one suite, `contract`.

use std::sync::Arc;

use bytes::Bytes;

use crate::inbox::Inbox;

/// One topic.
pub trait Log: Send + Sync {
    /// Its name.
    fn topic(&self) -> &str;

    /// Number of its partitions, the platform's included.
    fn partitions(&self) -> u32;

    /// A new producer of chains. A process that leads has one; after a failure it is dropped and another is opened under new writer ids.
    ///
    /// # Errors
    ///
    /// When the client cannot be made. An unreachable broker is no error here.
    fn open_producer(&self) -> Result<Arc<dyn Producer>, LogError>;

    /// A new sender of commands or reports.
    ///
    /// # Errors
    ///
    /// When the client cannot be made. An unreachable broker is no error here.
    fn open_sender(&self) -> Result<Arc<dyn Sender>, LogError>;

    /// A new consumer with nothing assigned yet, which fills the queues of `source` in `inbox`.
    ///
    /// # Errors
    ///
    /// When the client cannot be made. An unreachable broker is no error here.
    fn open_consumer(&self, source: Source, inbox: &Arc<Inbox>) -> Result<Box<dyn Consumer>, LogError>;

    /// Asks the broker for the ends of a partition. Blocks, for five seconds at most.
    ///
    /// # Errors
    ///
    /// When the broker does not answer in time or does not know the partition.
    fn watermarks(&self, partition: u32) -> Result<Watermarks, LogError>;
}

/// Writes chains: in the order of the calls for each partition, without holes; only a suffix of what was appended may be missing.
///
/// Whether a record was written is known by reading it back. Dropping a producer discards what it has not sent.
pub trait Producer: Send + Sync {
    /// Takes a record for a partition. Never blocks.
    ///
    /// # Errors
    ///
    /// When the producer has failed, now or before. What was taken earlier may or may not be written.
    fn append(&self, partition: u32, key: Option<&[u8]>, timestamp_ms: i64, value: &[u8]) -> Result<(), ProducerFailed>;

    /// Why it failed, if it did; to be asked in every turn of the loop that uses it.
    fn failure(&self) -> Option<ProducerFailed>;

    /// Records taken and neither acknowledged by the broker nor given up. For a shutdown that drains.
    fn in_flight(&self) -> usize;
}

/// Writes commands and reports.
pub trait Sender: Send + Sync {
    /// Takes a record for a partition and says later, on another thread, what became of it. Never blocks.
    fn send(&self, partition: u32, key: Option<&[u8]>, timestamp_ms: i64, value: &[u8], delivered: Delivered);
}

/// Called once with the record's offset or with why it is not known to be written.
pub type Delivered = Box<dyn FnOnce(Result<i64, SendError>) + Send>;

/// Reads assigned partitions into an [`Inbox`]. Dropping it stops and joins its threads.
pub trait Consumer: Send + Sync {
    /// Reads a partition from `from` on. What an earlier assignment of it still had in the inbox is discarded.
    fn assign(&self, partition: u32, from: ReadFrom);

    /// Stops reading a partition and discards what it still had in the inbox.
    fn unassign(&self, partition: u32);

    /// Asks the broker for the high watermark without blocking. The answer arrives in the inbox as [`What::HighWatermark`] with the same
    /// `ask`; if the broker does not answer, none arrives.
    fn ask_high_watermark(&self, partition: u32, ask: u64);
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The first record that the topic has.
    Beginning,
    /// Exactly this offset. If the topic does not hold it and is not about to, [`What::Lost`] arrives: a reader is never moved silently.
    Offset(i64),
}

/// Tells apart the consumers that fill one inbox, e.g. 0 for the journal, 1 for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(pub u8);

/// Something that arrived from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Which consumer of the inbox.
    pub source: Source,
    /// Which partition.
    pub partition: u32,
    /// What.
    pub what: What,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The next record.
    Stored(Stored),
    /// The answer to [`Consumer::ask_high_watermark`]: the offset that the next record written will get.
    HighWatermark {
        /// As asked.
        ask: u64,
        /// First offset not yet written.
        high: i64,
    },
    /// The partition cannot be read from where it was assigned or where it stood; nothing more arrives until it is assigned again.
    Lost(String),
}

/// A record as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its offset: a local name, different in every copy.
    pub offset: i64,
    /// Milliseconds since 1970, as its producer set them.
    pub timestamp_ms: i64,
    /// Its key; empty if it has none.
    pub key: Bytes,
    /// Its value; empty if it has none.
    pub value: Bytes,
}

/// The ends of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Offset of the first record that is still there.
    pub low: i64,
    /// Offset that the next record will get.
    pub high: i64,
}

/// A topic cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("topic {topic}: {doing}")]
pub struct LogError {
    /// The topic.
    pub topic: String,
    /// What was tried.
    pub doing: &'static str,
    /// What the client said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A producer of chains has ended. Its process leads nothing any more; it needs a new producer and new writer ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the producer has failed: {reason}")]
pub struct ProducerFailed {
    /// What the client said.
    pub reason: String,
}

/// A command or report is not known to be written. It may still be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not known to be written: {reason}")]
pub struct SendError {
    /// What the client said.
    pub reason: String,
    /// The record certainly never left this process.
    pub never_sent: bool,
}
