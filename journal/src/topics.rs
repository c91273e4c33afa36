//! Which journal, and which of its topics and partitions.

use domain::id::TenantId;
use schemas::record::{Genesis, Origin};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

    /// The partition of a tenant's chain ([`TenantId::partition`]), or of the platform's own. The partitioner of a Kafka client is never asked.
    pub fn partition_of(&self, tenant: Option<TenantId>) -> u32 {
        tenant.map_or(self.platform(), |tenant| tenant.partition(self.partitions))
    }

    /// Where the chain of a partition of a journal's first generation begins.
    pub fn genesis(&self, partition: u32) -> Genesis {
        Genesis { base: None, generation: self.generation, journal: self.id, partition, partitions: self.partitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(partitions: u32) -> Journal {
        Journal { id: Uuid::nil(), generation: 7, partitions }
    }

    fn tenant_of(number: u128) -> Option<TenantId> {
        Some(TenantId(Uuid::from_u128(number)))
    }

    #[test]
    fn a_tenant_stays_in_the_partition_where_its_history_lies() {
        // Worked out apart from this program: tenant, its partition of 64, its partition of 8.
        for (tenant, of_64, of_8) in [(1, 55, 6), (2, 26, 3), (3, 50, 6), (0xdead_beef, 5, 0)] {
            assert_eq!(journal(64).partition_of(tenant_of(tenant)), of_64, "{tenant}");
            assert_eq!(journal(8).partition_of(tenant_of(tenant)), of_8, "{tenant}");
        }
    }

    #[test]
    fn every_partition_gets_its_share_of_tenants_and_the_platforms_gets_none() {
        for partitions in [1, 4, 64, 1_000, 1_024] {
            let mut tenants = vec![0; partitions as usize + 1];
            for tenant in 0..20_000 {
                tenants[journal(partitions).partition_of(tenant_of(tenant)) as usize] += 1;
            }
            let platform = tenants.pop();
            assert_eq!(platform, Some(0), "{partitions}");
            assert!(tenants.iter().all(|tenants| *tenants > 0), "{partitions}");
        }
    }

    #[test]
    fn topics_are_named_after_their_generation() {
        let journal = journal(4);
        assert_eq!([journal.events(), journal.commands(), journal.reports()], ["cirrus.events.7", "cirrus.commands.7", "cirrus.reports.7"]);
        assert_eq!((journal.platform(), journal.all_partitions()), (4, 5));
    }
}
