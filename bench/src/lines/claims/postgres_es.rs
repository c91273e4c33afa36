//! Claims through `cqrs-es` and `postgres-es`, with a snapshot every hundred events: their documents advise one for an aggregate of many events.

use super::{
    Claims,
    quota::{Amounts, Exceeded, Order, Quota},
};
use anyhow::bail;
use cqrs_es::{Aggregate, AggregateError, DomainEvent, event_sink::EventSink};
use postgres_es::{PostgresCqrs, postgres_snapshot_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

/// The tables of `db/init.sql` in `postgres-es`.
const TABLES: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence));
    CREATE TABLE snapshots (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL, last_sequence bigint CHECK (last_sequence >= 0) NOT NULL,
        current_snapshot bigint CHECK (current_snapshot >= 0) NOT NULL, payload json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, last_sequence));";

/// Tenants in a store of `postgres-es`.
pub struct PostgresEs {
    cqrs: PostgresCqrs<Tenant>,
    tenants: Vec<(String, Uuid)>,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Tenant {
    quota: Quota,
}

enum Asked {
    Open,
    Claim(Box<Order>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Happened {
    Opened { limit: Amounts },
    Claimed(Box<Order>),
}

impl DomainEvent for Happened {
    fn event_type(&self) -> String {
        match self {
            Self::Opened { .. } => "Opened".into(),
            Self::Claimed(_) => "Claimed".into(),
        }
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

impl Aggregate for Tenant {
    const TYPE: &'static str = "tenant";
    type Command = Asked;
    type Event = Happened;
    type Error = Exceeded;
    type Services = ();

    async fn handle(&mut self, command: Asked, (): &(), sink: &EventSink<Self>) -> Result<(), Exceeded> {
        let event = match command {
            Asked::Open => Happened::Opened { limit: Amounts::PLENTY },
            Asked::Claim(order) => {
                self.quota.check(&order)?;
                Happened::Claimed(order)
            }
        };
        // The sink applies the event, and so does a store that keeps snapshots: the sink gets a copy, lest it be counted twice.
        sink.write(event, &mut self.clone()).await;
        Ok(())
    }

    fn apply(&mut self, event: Happened) {
        match event {
            Happened::Opened { limit } => self.quota.limit(limit),
            Happened::Claimed(order) => self.quota.take(&order),
        }
    }
}

impl PostgresEs {
    /// A store with so many tenants.
    pub async fn open(url: &str, tenants: usize) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(super::CONNECTIONS).connect(url).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        let store = Self {
            cqrs: postgres_snapshot_cqrs(pool, vec![], 100, ()),
            tenants: (0..tenants).map(|_| (Uuid::new_v4().to_string(), Uuid::new_v4())).collect(),
        };
        for (tenant, _) in &store.tenants {
            store.cqrs.execute(tenant, Asked::Open).await?;
        }
        Ok(store)
    }
}

impl Claims for PostgresEs {
    async fn claim(&self, tenant: usize) -> anyhow::Result<()> {
        let (tenant, cell) = &self.tenants[tenant];
        let order = Order::server(*cell);
        loop {
            match self.cqrs.execute(tenant, Asked::Claim(Box::new(order.clone()))).await {
                Ok(()) => return Ok(()),
                Err(AggregateError::AggregateConflict) => {}
                Err(problem) => bail!(problem),
            }
        }
    }
}
