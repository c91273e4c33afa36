//! Claims through `disintegrate` and `disintegrate-postgres`, with a snapshot of the queried state.

use super::{
    CONNECTIONS, Claims,
    quota::{Amounts, Exceeded, Order, Quota},
};
use anyhow::bail;
use disintegrate::{Decision, DecisionError, Event, StateMutate, StateQuery, serde::json::Json};
use disintegrate_postgres::{PgDecisionMaker, PgEventStore, PgSnapshotter, WithPgSnapshot, decision_maker};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

/// Tenants in a store of `disintegrate-postgres`.
pub struct Disintegrate {
    maker: PgDecisionMaker<Happened, Json<Happened>, WithPgSnapshot>,
    tenants: Vec<(Uuid, Uuid)>,
}

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
enum Happened {
    Opened {
        #[id]
        tenant: Uuid,
        limit: Amounts,
    },
    Claimed {
        #[id]
        tenant: Uuid,
        order: Order,
    },
}

/// What is folded of a tenant for a decision.
#[derive(Default, Clone, StateQuery, Serialize, Deserialize)]
#[state_query(Happened)]
struct Tenant {
    #[id]
    tenant: Uuid,
    quota: Quota,
}

impl StateMutate for Tenant {
    fn mutate(&mut self, event: Happened) {
        match event {
            Happened::Opened { limit, .. } => self.quota.limit(limit),
            Happened::Claimed { order, .. } => self.quota.take(&order),
        }
    }
}

struct Open(Uuid);

impl Decision for Open {
    type Event = Happened;
    type StateQuery = Tenant;
    type Error = Exceeded;

    fn state_query(&self) -> Tenant {
        Tenant { tenant: self.0, quota: Quota::default() }
    }

    fn process(&self, _: &Tenant) -> Result<Vec<Happened>, Exceeded> {
        Ok(vec![Happened::Opened { tenant: self.0, limit: Amounts::PLENTY }])
    }
}

struct Claim(Uuid, Order);

impl Decision for Claim {
    type Event = Happened;
    type StateQuery = Tenant;
    type Error = Exceeded;

    fn state_query(&self) -> Tenant {
        Tenant { tenant: self.0, quota: Quota::default() }
    }

    fn process(&self, state: &Tenant) -> Result<Vec<Happened>, Exceeded> {
        state.quota.check(&self.1)?;
        Ok(vec![Happened::Claimed { tenant: self.0, order: self.1.clone() }])
    }
}

impl Disintegrate {
    /// A store with so many tenants.
    pub async fn open(url: &str, tenants: usize) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
        let snapshots = WithPgSnapshot::new(PgSnapshotter::try_new(pool.clone(), 10).await?);
        let events = PgEventStore::try_new(pool, Json::<Happened>::default()).await?;
        let tenants = (0..tenants).map(|_| (Uuid::new_v4(), Uuid::new_v4())).collect();
        let store = Self { maker: decision_maker(events, snapshots), tenants };
        for (tenant, _) in &store.tenants {
            store.maker.make(Open(*tenant)).await?;
        }
        Ok(store)
    }
}

impl Claims for Disintegrate {
    async fn claim(&self, tenant: usize) -> anyhow::Result<()> {
        let (tenant, cell) = self.tenants[tenant];
        let order = Order::server(cell);
        loop {
            match self.maker.make(Claim(tenant, order.clone())).await {
                Ok(_) => return Ok(()),
                Err(DecisionError::StateStore(problem)) if lost_a_race(problem.as_ref()) => {}
                Err(problem) => bail!(problem),
            }
        }
    }
}

/// Somebody else's events came in between: its own check found it, or the isolation of the transaction did.
fn lost_a_race(problem: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    match problem.downcast_ref::<disintegrate_postgres::Error>() {
        Some(disintegrate_postgres::Error::Concurrency) => true,
        Some(disintegrate_postgres::Error::Database(sqlx::Error::Database(error))) => error.code().as_deref() == Some("40001"),
        _ => false,
    }
}
