//! Whose journal lies on a topic: the first record of each chain names it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::record::{Genesis, Header, Record};

use super::{BirthError, Fault};
use crate::inbox::{Capacity, Inbox};
use crate::log::{Log, ReadFrom, Source, Stored, What};
use crate::topics::Journal;

/// How long the first records may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the first records say against this being the journal.
pub(super) fn faults(log: &dyn Log, journal: &Journal) -> Result<Vec<Fault>, BirthError> {
    let mut faults = Vec::new();
    let mut fault = |sentence| faults.push(Fault { topic: log.topic().to_owned(), sentence });
    for (partition, first) in records(log)? {
        let wanted = journal.genesis(partition);
        if first.offset > 0 {
            fault(format!("partition {partition} begins at offset {}: its first records were deleted", first.offset));
        } else {
            match genesis(&first) {
                Some(found) if found == wanted => {}
                Some(found) if found.journal != wanted.journal => fault(format!(
                    "partition {partition} belongs to journal {}, this platform's is {}: it is another cluster, or another database",
                    found.journal, wanted.journal
                )),
                Some(found) => fault(format!("partition {partition} names the genesis {found:?}, and must name {wanted:?}")),
                None => fault(format!("partition {partition} does not begin with the first takeover of a chain")),
            }
        }
    }
    Ok(faults)
}

/// The journal that the first records name.
pub(super) fn identify(log: &dyn Log, unknown: Journal) -> Result<Option<Journal>, BirthError> {
    let first = records(log)?;
    let named = first.values().find_map(genesis);
    Ok(named.map(|genesis| Journal { id: genesis.journal, ..unknown }))
}

fn genesis(first: &Stored) -> Option<Genesis> {
    match Record::decode(&first.value) {
        Ok(Header::Takeover(takeover)) => takeover.genesis,
        Ok(Header::Commit(_)) | Err(_) => None,
    }
}

/// The first record of each partition that has one.
fn records(log: &dyn Log) -> Result<BTreeMap<u32, Stored>, BirthError> {
    let inbox = Inbox::new(Capacity { records: 1, bytes: 1 }, 1);
    let consumer = log.open_consumer(Source(0), &inbox)?;
    let mut awaited = Vec::new();
    for partition in 0..log.partitions() {
        let ends = log.watermarks(partition)?;
        if ends.low < ends.high {
            consumer.assign(partition, ReadFrom::Beginning);
            awaited.push(partition);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut first = BTreeMap::new();
    while let Some(partition) = awaited.iter().copied().find(|partition| !first.contains_key(partition)) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BirthError::FirstRecord { topic: log.topic().to_owned(), partition });
        }
        for arrival in inbox.receive(0, 64, left) {
            if let What::Stored(record) = arrival.what {
                first.entry(arrival.partition).or_insert(record);
                consumer.unassign(arrival.partition);
            }
        }
    }
    Ok(first)
}
