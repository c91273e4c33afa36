//! What the creations of resources that are gone came to, on disk, so that a repeated create finds its outcome for ever and memory stays bounded.
//!
//! One file for all partitions, a cache like the snapshots: it is filled from the states that they are taken of, and only what the disk has is
//! shed from memory. It may know more than the snapshot that is loaded, never less.

use domain::{
    id::CommandId,
    partition::{Decided, Partition, Tombstones},
};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    fmt, fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// By partition and command: its fingerprint and the seq of its commit.
const GONE: TableDefinition<'_, (u32, u128), (u64, u64)> = TableDefinition::new("gone");

/// By partition: how many were kept.
const KEPT: TableDefinition<'_, u32, u64> = TableDefinition::new("kept");

/// Tombstones of one partition, kept outside of its fold.
pub trait Kept: Tombstones + Send {
    /// Of how many of the first that went the outcome is kept.
    fn kept(&self) -> u64;
}

impl Kept for () {
    fn kept(&self) -> u64 {
        0
    }
}

/// Tombstones of all partitions in a file.
pub struct TombstoneFile {
    database: Database,
    kept: Vec<AtomicU64>,
}

/// Those of one partition.
struct OfPartition {
    file: Arc<TombstoneFile>,
    partition: u32,
}

impl TombstoneFile {
    /// Opens the file of a fold in `dir`, and removes those of other folds.
    pub fn open(dir: &Path, fold: &str, partitions: u32) -> Result<Self, redb::Error> {
        let path = dir.join(format!("{fold}.tombstones"));
        remove_others(dir, &path)?;
        let database = match Database::create(&path) {
            Err(damaged @ DatabaseError::Storage(_)) => {
                tracing::warn!(%damaged, "the tombstones are dropped; they are filled again");
                fs::remove_file(&path)?;
                Database::create(&path)?
            }
            opened => opened?,
        };
        let mut kept = Vec::new();
        let write = database.begin_write()?;
        {
            write.open_table(GONE)?;
            let counts = write.open_table(KEPT)?;
            for partition in 0..partitions {
                kept.push(AtomicU64::new(counts.get(partition)?.map_or(0, |count| count.value())));
            }
        }
        write.commit()?;
        Ok(Self { database, kept })
    }

    /// Those of one partition.
    pub fn of(file: &Arc<Self>, partition: u32) -> impl Kept + use<> {
        OfPartition { file: Arc::clone(file), partition }
    }

    /// How many of a partition are on disk.
    pub fn kept(&self, partition: u32) -> u64 {
        self.kept[partition as usize].load(Ordering::Acquire)
    }

    /// Writes what a state has not shed of the gone, and returns how many of the partition are on disk then.
    pub fn keep(&self, partition: u32, state: &Partition) -> Result<u64, redb::Error> {
        let (shed, gone) = state.gone();
        let write = self.database.begin_write()?;
        let mut kept = shed;
        {
            let mut table = write.open_table(GONE)?;
            for (id, decided) in gone {
                table.insert((partition, id.0.as_u128()), (decided.fingerprint, decided.seq))?;
                kept += 1;
            }
            kept = kept.max(self.kept(partition));
            write.open_table(KEPT)?.insert(partition, kept)?;
        }
        write.commit()?;
        self.kept[partition as usize].store(kept, Ordering::Release);
        Ok(kept)
    }

    fn find(&self, partition: u32, id: CommandId) -> Result<Option<Decided>, redb::Error> {
        let table = self.database.begin_read()?.open_table(GONE)?;
        Ok(table.get((partition, id.0.as_u128()))?.map(|found| {
            let (fingerprint, seq) = found.value();
            Decided { fingerprint, seq }
        }))
    }
}

fn remove_others(dir: &Path, path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let other = entry?.path();
        if other.extension().is_some_and(|extension| extension == "tombstones") && other != path {
            fs::remove_file(other)?;
        }
    }
    Ok(())
}

impl Tombstones for OfPartition {
    fn find(&self, id: CommandId) -> Option<Decided> {
        // A command that panics is recorded as failed, which frees its key: better than to create a second time.
        self.file.find(self.partition, id).unwrap_or_else(|problem| panic!("the tombstones cannot be read: {problem}"))
    }
}

impl Kept for OfPartition {
    fn kept(&self) -> u64 {
        self.file.kept(self.partition)
    }
}

impl fmt::Debug for OfPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tombstones of partition {}", self.kept(), self.partition)
    }
}
