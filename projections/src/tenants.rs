//! The tenants and their cells, for their people and for operators: who they are, whether they are open, and how far a closing has come.

use crate::{
    columns::{count, int, text, time, variant, word},
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    page::ByCreation,
    snapshot::{ReadError, Snapshot},
};
use domain::{
    Labels, Timestamp,
    event::Event,
    id::{CellId, TenantId},
    resource::ResourceEvent,
    tenant::{CellEvent, Clock, TenantEvent, TenantStatus},
};
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

/// The read model.
pub struct Tenants;

const TABLES: &[Table] = &[
    Table {
        name: "tenants",
        key: "id, partition",
        ddl: r#"
        CREATE TABLE {tenants} (
            partition   integer     NOT NULL,
            id          uuid        NOT NULL,
            reference   text        NOT NULL,
            name        text        NOT NULL COLLATE "C",
            labels      jsonb       NOT NULL,
            status      text        NOT NULL,
            clock       text        NOT NULL,
            -- Why it is suspended.
            reason      text,
            -- Living resources.
            resources   bigint      NOT NULL,
            -- How many there were when the closing began.
            closing     bigint,
            created_seq bigint      NOT NULL,
            created_at  timestamptz NOT NULL,
            changed_at  timestamptz NOT NULL,
            PRIMARY KEY (id, partition)
        ) WITH (fillfactor = 70);
        CREATE INDEX {tenants}_created ON {tenants} (created_seq, partition, id);
        CREATE INDEX {tenants}_reference ON {tenants} (reference);
        CREATE INDEX {tenants}_closing ON {tenants} (created_seq, partition, id) WHERE status = 'closing';
        "#,
    },
    Table {
        name: "cells",
        key: "id, partition",
        ddl: r#"
        CREATE TABLE {cells} (
            partition       integer     NOT NULL,
            id              uuid        NOT NULL,
            tenant          uuid        NOT NULL,
            name            text        NOT NULL COLLATE "C",
            billing_account text,
            closed          boolean     NOT NULL,
            created_seq     bigint      NOT NULL,
            created_at      timestamptz NOT NULL,
            changed_at      timestamptz NOT NULL,
            PRIMARY KEY (id, partition)
        );
        CREATE INDEX {cells}_tenant ON {cells} (tenant, created_seq, partition, id);
        "#,
    },
];

impl ReadModel for Tenants {
    fn name(&self) -> &'static str {
        "tenants"
    }

    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn apply<'a>(&'a self, on: On<'a>, commits: &'a [Applied]) -> BoxFuture<'a, Result<Effects, ApplyError>> {
        Box::pin(async move {
            let mut effects = Effects::default();
            let events: Vec<_> = effects.events(commits).filter(|(_, event)| concerns(event)).collect();
            if events.is_empty() {
                return Ok(effects);
            }
            let ids: BTreeSet<Uuid> = events.iter().filter_map(|(_, event)| Some(event.tenant()?.0)).collect();
            let mut tenants = load(&on, TENANT, "tenants", ids, read_tenant, |t| t.id.0).await?;
            let ids: BTreeSet<Uuid> = events.iter().filter_map(|(_, event)| cell_of(event)).collect();
            let mut cells = load(&on, CELL, "cells", ids, read_cell, |c| c.id.0).await?;
            for (commit, event) in events {
                let fits = match event {
                    Event::Tenant { tenant, event } => fold_tenant(&mut tenants, *tenant, commit, event),
                    Event::Cell { tenant, cell, event } => fold_cell(&mut cells, *tenant, *cell, commit, event),
                    Event::Resource { tenant, event, .. } => fold_contents(&mut tenants, *tenant, event),
                    Event::Command(_) | Event::Platform(_) | Event::Member { .. } => true,
                };
                if !fits {
                    effects.pass_over(commit, "its tenant or cell is not there");
                }
            }
            write_tenants(&on, tenants.into_values().collect()).await?;
            write_cells(&on, cells.into_values().collect()).await?;
            Ok(effects)
        })
    }
}

/// Most events of a resource say nothing about its tenant; those that do change how much there is.
fn concerns(event: &Event) -> bool {
    match event {
        Event::Tenant { .. } | Event::Cell { .. } => true,
        Event::Resource { event, .. } => matches!(event, ResourceEvent::Requested(_) | ResourceEvent::Deleted { .. }),
        Event::Command(_) | Event::Platform(_) | Event::Member { .. } => false,
    }
}

fn cell_of(event: &Event) -> Option<Uuid> {
    match event {
        Event::Cell { cell, .. } => Some(cell.0),
        _ => None,
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRow {
    /// Its partition.
    pub partition: u32,
    /// Its id.
    pub id: TenantId,
    /// The party of the BSS.
    pub reference: String,
    /// For people.
    pub name: String,
    /// For people and billing.
    pub labels: Labels,
    /// Where it is in its life.
    pub status: TenantStatus,
    /// By which clock its events happen.
    pub clock: Clock,
    /// Why it is suspended.
    pub reason: Option<String>,
    /// Resources and remains of resources: what is left to delete.
    pub resources: u64,
    /// How many there were when the closing began.
    pub closing: Option<u64>,
    /// Seq of the commit that opened it.
    pub created_seq: u64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When a fact about itself was recorded last.
    pub changed_at: Timestamp,
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellRow {
    /// Its partition.
    pub partition: u32,
    /// Its id.
    pub id: CellId,
    /// Its tenant.
    pub tenant: TenantId,
    /// For people.
    pub name: String,
    /// Its account in the BSS.
    pub billing_account: Option<String>,
    /// True once closed.
    pub closed: bool,
    /// Seq of the commit that created it.
    pub created_seq: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When a fact about it was recorded last.
    pub changed_at: Timestamp,
}

fn fold_tenant(tenants: &mut BTreeMap<Uuid, TenantRow>, id: TenantId, commit: &Applied, event: &TenantEvent) -> bool {
    if let TenantEvent::Opened(reservation) = event {
        let row = TenantRow {
            partition: commit.position.partition,
            id,
            reference: reservation.reference.clone(),
            name: reservation.name.clone(),
            labels: reservation.labels.clone(),
            status: TenantStatus::Open,
            clock: reservation.clock,
            reason: None,
            resources: 0,
            closing: None,
            created_seq: commit.seq(),
            created_at: commit.time,
            changed_at: commit.time,
        };
        return tenants.insert(id.0, row).is_none();
    }
    let Some(row) = tenants.get_mut(&id.0) else { return false };
    row.changed_at = commit.time;
    match event {
        TenantEvent::Opened(_) => {}
        TenantEvent::Renamed { name, labels } => (row.name, row.labels) = (name.clone(), labels.clone()),
        TenantEvent::Suspended { reason } => (row.status, row.reason) = (TenantStatus::Suspended, Some(reason.clone())),
        TenantEvent::Resumed {} => (row.status, row.reason) = (TenantStatus::Open, None),
        TenantEvent::ClosingBegan { resources, .. } => (row.status, row.closing) = (TenantStatus::Closing, Some(*resources)),
        TenantEvent::Closed {} => row.status = TenantStatus::Closed,
        TenantEvent::LimitsSet { .. } | TenantEvent::CellDefaultSet { .. } | TenantEvent::CellLimitsClamped { .. } => {}
    }
    true
}

fn fold_cell(cells: &mut BTreeMap<Uuid, CellRow>, tenant: TenantId, id: CellId, commit: &Applied, event: &CellEvent) -> bool {
    if let CellEvent::Created { name, billing_account, .. } = event {
        let row = CellRow {
            partition: commit.position.partition,
            id,
            tenant,
            name: name.clone(),
            billing_account: billing_account.clone(),
            closed: false,
            created_seq: commit.seq(),
            created_at: commit.time,
            changed_at: commit.time,
        };
        return cells.insert(id.0, row).is_none();
    }
    let Some(row) = cells.get_mut(&id.0) else { return false };
    row.changed_at = commit.time;
    match event {
        CellEvent::Created { .. } | CellEvent::LimitsSet { .. } => {}
        CellEvent::Renamed { name } => row.name = name.clone(),
        CellEvent::Closed {} => row.closed = true,
    }
    true
}

fn fold_contents(tenants: &mut BTreeMap<Uuid, TenantRow>, id: TenantId, event: &ResourceEvent) -> bool {
    let Some(row) = tenants.get_mut(&id.0) else { return false };
    let left = match event {
        ResourceEvent::Requested(_) => row.resources.checked_add(1),
        ResourceEvent::Deleted { .. } => row.resources.checked_sub(1),
        _ => Some(row.resources),
    };
    row.resources = left.unwrap_or(row.resources);
    left.is_some()
}

const TENANT: &str = "t.partition, t.id, t.reference, t.name, t.labels, t.status, t.clock, t.reason, t.resources, t.closing, t.created_seq,
    t.created_at, t.changed_at";
/// The same with what is left of resources that are gone: few rows, on an index of their own.
const SHOWN: &str = "t.partition, t.id, t.reference, t.name, t.labels, t.status, t.clock, t.reason,
    t.resources + (SELECT count(*) FROM {resources} r WHERE r.tenant = t.id AND r.remains IS NOT NULL), t.closing, t.created_seq,
    t.created_at, t.changed_at";
const CELL: &str = "t.partition, t.id, t.tenant, t.name, t.billing_account, t.closed, t.created_seq, t.created_at, t.changed_at";

async fn load<R>(
    on: &On<'_>,
    columns: &str,
    table: &'static str,
    ids: BTreeSet<Uuid>,
    read: fn(&Row) -> Result<R, ReadError>,
    id: fn(&R) -> Uuid,
) -> Result<BTreeMap<Uuid, R>, ApplyError> {
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let sql = format!("SELECT {columns} FROM {{{table}}} t WHERE t.partition = $1 AND t.id = ANY ($2)");
    let mut rows = BTreeMap::new();
    for row in on.query(&sql, &[&on.partition, &ids]).await? {
        let row = read(&row)?;
        rows.insert(id(&row), row);
    }
    Ok(rows)
}

async fn write_tenants(on: &On<'_>, rows: Vec<TenantRow>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$row:ident| $value:expr) => {
            &rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    on.execute(
        "INSERT INTO {tenants} (partition, id, reference, name, labels, status, clock, reason, resources, closing, created_seq, created_at, changed_at)
         SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::text[], $8::text[], $9::bigint[],
             $10::bigint[], $11::bigint[], $12::timestamptz[], $13::timestamptz[])
         ON CONFLICT (id, partition) DO UPDATE SET name = EXCLUDED.name, labels = EXCLUDED.labels, status = EXCLUDED.status,
             reason = EXCLUDED.reason, resources = EXCLUDED.resources, closing = EXCLUDED.closing, changed_at = EXCLUDED.changed_at",
        &[
            &on.partition,
            column!(|t| t.id.0),
            column!(|t| text(&t.reference)),
            column!(|t| text(&t.name)),
            column!(|t| Json(&t.labels)),
            column!(|t| word(&t.status)),
            column!(|t| word(&t.clock)),
            column!(|t| t.reason.as_deref().map(text)),
            column!(|t| int(t.resources)),
            column!(|t| t.closing.map(int)),
            column!(|t| int(t.created_seq)),
            column!(|t| time(t.created_at)),
            column!(|t| time(t.changed_at)),
        ],
    )
    .await?;
    Ok(())
}

async fn write_cells(on: &On<'_>, rows: Vec<CellRow>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$row:ident| $value:expr) => {
            &rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    on.execute(
        "INSERT INTO {cells} (partition, id, tenant, name, billing_account, closed, created_seq, created_at, changed_at)
         SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::boolean[], $7::bigint[], $8::timestamptz[],
             $9::timestamptz[])
         ON CONFLICT (id, partition) DO UPDATE SET name = EXCLUDED.name, closed = EXCLUDED.closed, changed_at = EXCLUDED.changed_at",
        &[
            &on.partition,
            column!(|c| c.id.0),
            column!(|c| c.tenant.0),
            column!(|c| text(&c.name)),
            column!(|c| c.billing_account.as_deref().map(text)),
            column!(|c| c.closed),
            column!(|c| int(c.created_seq)),
            column!(|c| time(c.created_at)),
            column!(|c| time(c.changed_at)),
        ],
    )
    .await?;
    Ok(())
}

fn read_tenant(row: &Row) -> Result<TenantRow, ReadError> {
    let Json(labels) = row.try_get(4)?;
    Ok(TenantRow {
        partition: row.try_get::<_, i32>(0)? as u32,
        id: TenantId(row.try_get(1)?),
        reference: row.try_get(2)?,
        name: row.try_get(3)?,
        labels,
        status: variant("status", row.try_get(5)?)?,
        clock: variant("clock", row.try_get(6)?)?,
        reason: row.try_get(7)?,
        resources: count(row.try_get(8)?),
        closing: row.try_get::<_, Option<i64>>(9)?.map(count),
        created_seq: count(row.try_get(10)?),
        created_at: row.try_get(11)?,
        changed_at: row.try_get(12)?,
    })
}

fn read_cell(row: &Row) -> Result<CellRow, ReadError> {
    Ok(CellRow {
        partition: row.try_get::<_, i32>(0)? as u32,
        id: CellId(row.try_get(1)?),
        tenant: TenantId(row.try_get(2)?),
        name: row.try_get(3)?,
        billing_account: row.try_get(4)?,
        closed: row.try_get(5)?,
        created_seq: count(row.try_get(6)?),
        created_at: row.try_get(7)?,
        changed_at: row.try_get(8)?,
    })
}

impl TenantRow {
    /// Its place in a list.
    pub fn by_creation(&self) -> ByCreation {
        ByCreation { seq: self.created_seq, partition: self.partition, id: self.id.0 }
    }
}

impl CellRow {
    /// Its place in a list.
    pub fn by_creation(&self) -> ByCreation {
        ByCreation { seq: self.created_seq, partition: self.partition, id: self.id.0 }
    }
}

/// The key that comes before all others.
fn start(after: Option<ByCreation>) -> (i64, i32, Uuid) {
    after.map_or((-1, -1, Uuid::nil()), |key| (int(key.seq), key.partition as i32, key.id))
}

impl Snapshot {
    /// A tenant, also a closed one.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<TenantRow>, ReadError> {
        let sql = format!("SELECT {SHOWN} FROM {{tenants}} t WHERE t.id = $1");
        self.query_opt(&sql, &[&id.0]).await?.as_ref().map(read_tenant).transpose()
    }

    /// A page of all tenants, or of those in `only`, by creation behind `after`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn tenants(&self, only: Option<&[TenantId]>, after: Option<ByCreation>, limit: u32) -> Result<Vec<TenantRow>, ReadError> {
        let only: Option<Vec<Uuid>> = only.map(|ids| ids.iter().map(|id| id.0).collect());
        let (seq, partition, id) = start(after);
        let sql = format!(
            "SELECT {SHOWN} FROM {{tenants}} t WHERE (t.created_seq, t.partition, t.id) > ($1, $2, $3) AND ($4::uuid[] IS NULL OR t.id = ANY ($4))
             ORDER BY t.created_seq, t.partition, t.id LIMIT $5"
        );
        self.query(&sql, &[&seq, &partition, &id, &only, &i64::from(limit)]).await?.iter().map(read_tenant).collect()
    }

    /// Tenants that are being closed, oldest first. One with no resources left can be closed.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn closing_tenants(&self, limit: u32) -> Result<Vec<TenantRow>, ReadError> {
        let sql =
            format!("SELECT {SHOWN} FROM {{tenants}} t WHERE t.status = 'closing' ORDER BY t.created_seq, t.partition, t.id LIMIT $1");
        self.query(&sql, &[&i64::from(limit)]).await?.iter().map(read_tenant).collect()
    }

    /// A cell of a tenant, also a closed one.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn cell(&self, tenant: TenantId, id: CellId) -> Result<Option<CellRow>, ReadError> {
        let sql = format!("SELECT {CELL} FROM {{cells}} t WHERE t.id = $1 AND t.tenant = $2");
        self.query_opt(&sql, &[&id.0, &tenant.0]).await?.as_ref().map(read_cell).transpose()
    }

    /// A page of the cells of a tenant, or of those in `only`, by creation behind `after`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn cells(
        &self,
        tenant: TenantId,
        only: Option<&[CellId]>,
        after: Option<ByCreation>,
        limit: u32,
    ) -> Result<Vec<CellRow>, ReadError> {
        let only: Option<Vec<Uuid>> = only.map(|ids| ids.iter().map(|id| id.0).collect());
        let (seq, partition, id) = start(after);
        let sql = format!(
            "SELECT {CELL} FROM {{cells}} t WHERE t.tenant = $1 AND (t.created_seq, t.partition, t.id) > ($2, $3, $4)
             AND ($5::uuid[] IS NULL OR t.id = ANY ($5)) ORDER BY t.created_seq, t.partition, t.id LIMIT $6"
        );
        self.query(&sql, &[&tenant.0, &seq, &partition, &id, &only, &i64::from(limit)]).await?.iter().map(read_cell).collect()
    }
}
