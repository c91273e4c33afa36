//! The decision that the peers make: the quota of a tenant and of its cell.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is ordered, as it stands in the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    resource: Uuid,
    cell: Uuid,
    kind: String,
    name: String,
    zone: String,
    image: String,
    claim: Amounts,
    requested_by: String,
    at: chrono::DateTime<chrono::Utc>,
}

impl Order {
    /// A server of two processors.
    pub fn server(cell: Uuid) -> Self {
        let resource = Uuid::new_v4();
        Self {
            resource,
            cell,
            kind: "server".into(),
            name: format!("server-{resource}"),
            zone: "north-a".into(),
            image: "debian-13".into(),
            claim: Amounts { servers: 1, vcpus: 2, memory_mib: 4_096 },
            requested_by: "https://id.example#olga".into(),
            at: chrono::Utc::now(),
        }
    }
}

/// An amount of each dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    servers: u64,
    vcpus: u64,
    memory_mib: u64,
}

impl Amounts {
    /// More than is ever asked for.
    pub const PLENTY: Self = Self { servers: 1 << 40, vcpus: 1 << 40, memory_mib: 1 << 50 };

    fn and(self, other: Self) -> Self {
        Self { servers: self.servers + other.servers, vcpus: self.vcpus + other.vcpus, memory_mib: self.memory_mib + other.memory_mib }
    }

    fn fits(self, limit: Self) -> bool {
        self.servers <= limit.servers && self.vcpus <= limit.vcpus && self.memory_mib <= limit.memory_mib
    }
}

/// A limit and what is used of it, of a tenant and of its cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    tenant: (Amounts, Amounts),
    cell: (Amounts, Amounts),
}

/// It does not fit.
#[derive(Debug, thiserror::Error)]
#[error("the quota is exceeded")]
pub struct Exceeded;

impl Quota {
    /// Whether a claim fits.
    pub fn check(&self, order: &Order) -> Result<(), Exceeded> {
        let fits = |(limit, used): (Amounts, Amounts)| used.and(order.claim).fits(limit);
        if fits(self.tenant) && fits(self.cell) { Ok(()) } else { Err(Exceeded) }
    }

    /// The limits are these.
    pub fn limit(&mut self, limit: Amounts) {
        (self.tenant.0, self.cell.0) = (limit, limit);
    }

    /// This was claimed.
    pub fn take(&mut self, order: &Order) {
        self.tenant.1 = self.tenant.1.and(order.claim);
        self.cell.1 = self.cell.1.and(order.claim);
    }
}
