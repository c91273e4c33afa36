//! Which journal, and which of its topics and partitions.

use schemas::record::{Genesis, Origin};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Number of slices that tenants are dealt into before slices are dealt to partitions.
const SLICES: u64 = 1024;

/// A journal's identity: what PostgreSQL remembers and every chain names in its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Random, for the journal's whole life.
    pub id: Uuid,
    /// The generation that is read and written, from 1.
    pub generation: u32,
    /// Number of partitions that hold tenants, at most 1,024. Each topic has one more: the platform's.
    pub partitions: u32,
}

impl Journal {
    /// Topic of the journal itself.
    pub fn events(&self) -> String {
        format!("cirrus.events.{}", self.generation)
    }

    /// Topic of what people ask for.
    pub fn commands(&self) -> String {
        format!("cirrus.commands.{}", self.generation)
    }

    /// Topic of what workers and the metering saw.
    pub fn reports(&self) -> String {
        format!("cirrus.reports.{}", self.generation)
    }

    /// Topic of commands of this origin.
    pub fn topic_of(&self, origin: Origin) -> String {
        match origin {
            Origin::Commands => self.commands(),
            Origin::Reports => self.reports(),
        }
    }

    /// The partition of the platform's own chain.
    pub fn platform(&self) -> u32 {
        self.partitions
    }

    /// Number of partitions of each topic, the platform's included.
    pub fn all_partitions(&self) -> u32 {
        self.partitions + 1
    }

    /// The partition of a tenant: slice * partitions / 1024, where the slice is the first 8 bytes of SHA-256 of the id's 16 bytes, as a
    /// big-endian number, modulo 1024. The partitioner of a Kafka client is never asked.
    pub fn partition_of(&self, tenant: Uuid) -> u32 {
        let hash: [u8; 32] = Sha256::digest(tenant.as_bytes()).into();
        let first = u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes"));
        let slice = first % SLICES;
        u32::try_from(slice * u64::from(self.partitions) / SLICES).expect("less than the number of partitions")
    }

    /// Where the chain of a partition of a journal's first generation begins.
    pub fn genesis(&self, partition: u32) -> Genesis {
        Genesis { base: None, generation: self.generation, journal: self.id, partition, partitions: self.partitions }
    }
}
