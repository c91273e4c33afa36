//! How much of each quota dimension a tenant and its cells may use, and how much they do.
//!
//! Limits stand here as they were set; what is in force follows from them by the domain's own rule, so an inherited limit is never stored. Use is
//! the exact sum of the claims. What each resource holds is kept in a table of its own, so that a release gives back what was claimed; the
//! events that do not touch a claim do not touch this model.

use crate::{
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    snapshot::{ReadError, Snapshot},
};
use domain::{
    event::Event,
    id::{CellId, Dimension, ResourceId, TenantId},
    quota::{Amounts, Limit, LimitChanges, Limits, Source, cell_limit, tenant_limit},
    resource::ResourceEvent as E,
    tenant::{CellEvent, TenantEvent},
};
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

/// The read model.
pub struct Quota;

const TABLES: &[Table] = &[
    Table {
        name: "quota_tenants",
        key: "tenant, partition",
        ddl: r#"
        CREATE TABLE {quota_tenants} (
            partition    integer NOT NULL,
            tenant       uuid    NOT NULL,
            -- Whole numbers or "unlimited", by dimension.
            limits       jsonb   NOT NULL,
            cell_default jsonb   NOT NULL,
            used         jsonb   NOT NULL,
            PRIMARY KEY (tenant, partition)
        ) WITH (fillfactor = 50);
        "#,
    },
    Table {
        name: "quota_cells",
        key: "cell, partition",
        ddl: r#"
        CREATE TABLE {quota_cells} (
            partition integer NOT NULL,
            cell      uuid    NOT NULL,
            tenant    uuid    NOT NULL,
            -- Its own limits alone.
            limits    jsonb   NOT NULL,
            used      jsonb   NOT NULL,
            PRIMARY KEY (cell, partition)
        ) WITH (fillfactor = 50);
        CREATE INDEX {quota_cells}_tenant ON {quota_cells} (tenant);
        "#,
    },
    Table {
        name: "quota_claims",
        key: "resource, partition",
        ddl: r#"
        CREATE TABLE {quota_claims} (
            partition integer NOT NULL,
            resource  uuid    NOT NULL,
            tenant    uuid    NOT NULL,
            cell      uuid,
            held      jsonb   NOT NULL,
            -- While a change is under way: what is held if it fails, and if it succeeds.
            change    jsonb,
            PRIMARY KEY (resource, partition)
        );
        "#,
    },
];

impl ReadModel for Quota {
    fn name(&self) -> &'static str {
        "quota"
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
            let mut books = Books::load(&on, events.iter().map(|(_, event)| *event)).await?;
            for (commit, event) in events {
                if let Err(problem) = books.fold(event) {
                    effects.pass_over(commit, &problem);
                }
            }
            books.write(&on).await?;
            Ok(effects)
        })
    }
}

fn concerns(event: &Event) -> bool {
    match event {
        Event::Tenant { event, .. } => matches!(
            event,
            TenantEvent::Opened(_)
                | TenantEvent::LimitsSet { .. }
                | TenantEvent::CellDefaultSet { .. }
                | TenantEvent::CellLimitsClamped { .. }
        ),
        Event::Cell { event, .. } => matches!(event, CellEvent::Created { .. } | CellEvent::LimitsSet { .. }),
        Event::Resource { event, .. } => matches!(
            event,
            E::Requested(_)
                | E::ChangeRequested { .. }
                | E::Changed { .. }
                | E::StepFailed { .. }
                | E::ProvisioningFailed { .. }
                | E::Cleaned { .. }
                | E::Deleted { .. }
        ),
        Event::Command(_) | Event::Platform(_) | Event::Member { .. } => false,
    }
}

/// The quota of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantQuota {
    /// Its limits; a dimension that is absent is not granted.
    pub limits: Limits,
    /// The default limits of its cells.
    pub cell_default: Limits,
    /// The claims of all its resources, added up.
    pub used: Amounts,
}

/// The quota of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellQuota {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its own limits; a dimension that is absent is inherited.
    pub limits: Limits,
    /// The claims of its resources, added up.
    pub used: Amounts,
}

/// One dimension as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The dimension.
    pub dimension: Dimension,
    /// The limit in force.
    pub limit: Limit,
    /// Where it comes from.
    pub source: Source,
    /// What is in use.
    pub used: u64,
}

impl TenantQuota {
    /// Every dimension that is limited or in use, in order.
    pub fn lines(&self) -> Vec<Line> {
        let dimensions: BTreeSet<&Dimension> = self.limits.keys().chain(self.used.iter().map(|(d, _)| d)).collect();
        lines(dimensions, &self.used, |d| tenant_limit(&self.limits, d))
    }

    /// The same for a cell of this tenant.
    pub fn lines_of(&self, cell: &CellQuota) -> Vec<Line> {
        let limits = self.limits.keys().chain(self.cell_default.keys()).chain(cell.limits.keys());
        lines(limits.chain(cell.used.iter().map(|(d, _)| d)).collect(), &cell.used, |d| {
            cell_limit(&self.limits, &self.cell_default, &cell.limits, d)
        })
    }
}

fn lines(dimensions: BTreeSet<&Dimension>, used: &Amounts, limit: impl Fn(&Dimension) -> (Limit, Source)) -> Vec<Line> {
    let line = |d: &Dimension| {
        let (limit, source) = limit(d);
        Line { dimension: d.clone(), limit, source, used: used.get(d) }
    };
    dimensions.into_iter().map(line).collect()
}

/// What one resource holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    tenant: TenantId,
    cell: Option<CellId>,
    held: Amounts,
    /// Before and after the change that is under way.
    change: Option<(Amounts, Amounts)>,
}

/// The rows that a batch touches.
#[derive(Debug, Default)]
struct Books {
    tenants: BTreeMap<Uuid, TenantQuota>,
    cells: BTreeMap<Uuid, CellQuota>,
    claims: BTreeMap<Uuid, Claim>,
    /// Claims that were there before the batch.
    stored: BTreeSet<Uuid>,
}

impl Books {
    fn fold(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Tenant { tenant, event } => self.fold_tenant(*tenant, event),
            Event::Cell { tenant, cell, event } => self.fold_cell(*tenant, *cell, event),
            Event::Resource { tenant, resource, event } => self.fold_resource(*tenant, *resource, event),
            Event::Command(_) | Event::Platform(_) | Event::Member { .. } => Ok(()),
        }
    }

    fn fold_tenant(&mut self, id: TenantId, event: &TenantEvent) -> Result<(), String> {
        if let TenantEvent::Opened(r) = event {
            let quota = TenantQuota { limits: r.limits.clone(), cell_default: r.cell_default.clone(), used: Amounts::default() };
            self.tenants.insert(id.0, quota);
            return Ok(());
        }
        let tenant = self.tenants.get_mut(&id.0).ok_or_else(|| format!("no tenant {id}"))?;
        match event {
            TenantEvent::LimitsSet { limits } => tenant.limits.extend(limits.iter().map(|(d, l)| (d.clone(), *l))),
            TenantEvent::CellDefaultSet { limits } => change(&mut tenant.cell_default, limits),
            TenantEvent::CellLimitsClamped { dimension, ceiling } => {
                let own = self.cells.values_mut().filter(|cell| cell.tenant == id).filter_map(|cell| cell.limits.get_mut(dimension));
                own.for_each(|limit| *limit = *ceiling.min(limit));
            }
            TenantEvent::Opened(_)
            | TenantEvent::Renamed { .. }
            | TenantEvent::Suspended { .. }
            | TenantEvent::Resumed {}
            | TenantEvent::ClosingBegan { .. }
            | TenantEvent::Closed {} => {}
        }
        Ok(())
    }

    fn fold_cell(&mut self, tenant: TenantId, id: CellId, event: &CellEvent) -> Result<(), String> {
        match event {
            CellEvent::Created { limits, .. } => {
                self.cells.insert(id.0, CellQuota { tenant, limits: limits.clone(), used: Amounts::default() });
            }
            CellEvent::LimitsSet { limits } => {
                let cell = self.cells.get_mut(&id.0).ok_or_else(|| format!("no cell {id}"))?;
                change(&mut cell.limits, limits);
            }
            CellEvent::Renamed { .. } | CellEvent::Closed {} => {}
        }
        Ok(())
    }

    fn fold_resource(&mut self, tenant: TenantId, id: ResourceId, event: &E) -> Result<(), String> {
        if let E::Requested(r) = event {
            let nothing = Claim { tenant, cell: r.cell, held: Amounts::default(), change: None };
            self.hold(&nothing, &r.terms.claim)?;
            self.claims.insert(id.0, Claim { held: r.terms.claim.clone(), ..nothing });
            return Ok(());
        }
        let before = self.claims.get(&id.0).cloned().ok_or_else(|| format!("nothing is claimed for {id}"))?;
        let (held, change) = match (event, &before.change) {
            (E::ChangeRequested { terms, .. }, _) => (before.held.greatest(&terms.claim), Some((before.held.clone(), terms.claim.clone()))),
            (E::Changed { .. }, Some((_, after))) => (after.clone(), None),
            (E::StepFailed { .. }, Some((before, _))) => (before.clone(), None),
            (E::ProvisioningFailed { .. } | E::Cleaned { .. } | E::Deleted { .. }, _) => (Amounts::default(), None),
            _ => return Ok(()),
        };
        self.hold(&before, &held)?;
        if matches!(event, E::Deleted { .. }) {
            self.claims.remove(&id.0);
        } else {
            self.claims.insert(id.0, Claim { held, change, ..before });
        }
        Ok(())
    }

    /// Replaces what a resource holds: the only place where use changes.
    fn hold(&mut self, before: &Claim, held: &Amounts) -> Result<(), String> {
        let tenant = self.tenants.get_mut(&before.tenant.0).ok_or_else(|| format!("no tenant {}", before.tenant))?;
        let mut used = vec![&mut tenant.used];
        if let Some(cell) = before.cell {
            used.push(&mut self.cells.get_mut(&cell.0).ok_or_else(|| format!("no cell {cell}"))?.used);
        }
        for used in used {
            used.subtract(&before.held).and_then(|()| used.add(held)).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn load<'a>(on: &On<'_>, events: impl Iterator<Item = &'a Event>) -> Result<Self, ApplyError> {
        let (mut tenants, mut cells, mut resources, mut clamped) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for event in events {
            tenants.extend(event.tenant().map(|tenant| tenant.0));
            match event {
                Event::Tenant { tenant, event: TenantEvent::CellLimitsClamped { .. } } => drop(clamped.insert(tenant.0)),
                Event::Cell { cell, .. } => drop(cells.insert(cell.0)),
                Event::Resource { resource, event, .. } => {
                    resources.insert(resource.0);
                    if let E::Requested(requested) = event {
                        cells.extend(requested.cell.map(|cell| cell.0));
                    }
                }
                Event::Command(_) | Event::Platform(_) | Event::Tenant { .. } | Event::Member { .. } => {}
            }
        }
        let list = |ids: BTreeSet<Uuid>| ids.into_iter().collect::<Vec<_>>();
        let (tenants, resources, clamped) = (list(tenants), list(resources), list(clamped));
        let mut books = Self::default();
        let sql = "SELECT resource, tenant, cell, held, change FROM {quota_claims} WHERE partition = $1 AND resource = ANY ($2)";
        for row in on.query(sql, &[&on.partition, &resources]).await? {
            let (id, cell): (Uuid, Option<Uuid>) = (row.try_get(0)?, row.try_get(2)?);
            let (Json(held), change) = (row.try_get(3)?, row.try_get::<_, Option<Json<_>>>(4)?);
            cells.extend(cell);
            books.stored.insert(id);
            let claim = Claim { tenant: TenantId(row.try_get(1)?), cell: cell.map(CellId), held, change: change.map(|json| json.0) };
            books.claims.insert(id, claim);
        }
        let sql = "SELECT limits, cell_default, used, tenant FROM {quota_tenants} WHERE partition = $1 AND tenant = ANY ($2)";
        for row in on.query(sql, &[&on.partition, &tenants]).await? {
            books.tenants.insert(row.try_get(3)?, read_tenant(&row)?);
        }
        let sql = "SELECT tenant, limits, used, cell FROM {quota_cells} WHERE partition = $1 AND (cell = ANY ($2) OR tenant = ANY ($3))";
        for row in on.query(sql, &[&on.partition, &list(cells), &clamped]).await? {
            books.cells.insert(row.try_get(3)?, read_cell(&row)?);
        }
        Ok(books)
    }

    async fn write(self, on: &On<'_>) -> Result<(), ApplyError> {
        if !self.tenants.is_empty() {
            let rows = self.tenants.values();
            on.execute(
                "INSERT INTO {quota_tenants} (partition, tenant, limits, cell_default, used)
                 SELECT $1, * FROM unnest($2::uuid[], $3::jsonb[], $4::jsonb[], $5::jsonb[])
                 ON CONFLICT (tenant, partition) DO UPDATE SET limits = EXCLUDED.limits, cell_default = EXCLUDED.cell_default, used = EXCLUDED.used",
                &[
                    &on.partition,
                    &self.tenants.keys().collect::<Vec<_>>(),
                    &rows.clone().map(|t| Json(&t.limits)).collect::<Vec<_>>(),
                    &rows.clone().map(|t| Json(&t.cell_default)).collect::<Vec<_>>(),
                    &rows.map(|t| Json(&t.used)).collect::<Vec<_>>(),
                ],
            )
            .await?;
        }
        if !self.cells.is_empty() {
            let rows = self.cells.values();
            on.execute(
                "INSERT INTO {quota_cells} (partition, cell, tenant, limits, used)
                 SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::jsonb[], $5::jsonb[])
                 ON CONFLICT (cell, partition) DO UPDATE SET limits = EXCLUDED.limits, used = EXCLUDED.used",
                &[
                    &on.partition,
                    &self.cells.keys().collect::<Vec<_>>(),
                    &rows.clone().map(|c| c.tenant.0).collect::<Vec<_>>(),
                    &rows.clone().map(|c| Json(&c.limits)).collect::<Vec<_>>(),
                    &rows.map(|c| Json(&c.used)).collect::<Vec<_>>(),
                ],
            )
            .await?;
        }
        if !self.claims.is_empty() {
            let rows = self.claims.values();
            on.execute(
                "INSERT INTO {quota_claims} (partition, resource, tenant, cell, held, change)
                 SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::jsonb[], $6::jsonb[])
                 ON CONFLICT (resource, partition) DO UPDATE SET held = EXCLUDED.held, change = EXCLUDED.change",
                &[
                    &on.partition,
                    &self.claims.keys().collect::<Vec<_>>(),
                    &rows.clone().map(|c| c.tenant.0).collect::<Vec<_>>(),
                    &rows.clone().map(|c| c.cell.map(|cell| cell.0)).collect::<Vec<_>>(),
                    &rows.clone().map(|c| Json(&c.held)).collect::<Vec<_>>(),
                    &rows.map(|c| c.change.as_ref().map(Json)).collect::<Vec<_>>(),
                ],
            )
            .await?;
        }
        let gone: Vec<Uuid> = self.stored.into_iter().filter(|id| !self.claims.contains_key(id)).collect();
        if !gone.is_empty() {
            on.execute("DELETE FROM {quota_claims} WHERE partition = $1 AND resource = ANY ($2)", &[&on.partition, &gone]).await?;
        }
        Ok(())
    }
}

fn change(limits: &mut Limits, changes: &LimitChanges) {
    for (dimension, change) in changes {
        match change {
            Some(limit) => drop(limits.insert(dimension.clone(), *limit)),
            None => drop(limits.remove(dimension)),
        }
    }
}

fn read_tenant(row: &Row) -> Result<TenantQuota, tokio_postgres::Error> {
    let (Json(limits), Json(cell_default), Json(used)) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(TenantQuota { limits, cell_default, used })
}

fn read_cell(row: &Row) -> Result<CellQuota, tokio_postgres::Error> {
    let (Json(limits), Json(used)) = (row.try_get(1)?, row.try_get(2)?);
    Ok(CellQuota { tenant: TenantId(row.try_get(0)?), limits, used })
}

impl Snapshot {
    /// The quota of a tenant.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn quota(&self, tenant: TenantId) -> Result<Option<TenantQuota>, ReadError> {
        let row = self.query_opt("SELECT limits, cell_default, used FROM {quota_tenants} WHERE tenant = $1", &[&tenant.0]).await?;
        Ok(row.as_ref().map(read_tenant).transpose()?)
    }

    /// The quota of a cell, and of its tenant that bounds it.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn quota_of_cell(&self, tenant: TenantId, cell: CellId) -> Result<Option<(TenantQuota, CellQuota)>, ReadError> {
        let sql = "SELECT tenant, limits, used FROM {quota_cells} WHERE cell = $1 AND tenant = $2";
        let Some(row) = self.query_opt(sql, &[&cell.0, &tenant.0]).await? else { return Ok(None) };
        let cell = read_cell(&row)?;
        Ok(self.quota(tenant).await?.map(|tenant| (tenant, cell)))
    }

    /// What all tenants together use.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn used_in_all(&self) -> Result<Vec<(String, i64)>, ReadError> {
        let sql = "SELECT d.key, sum(d.value::bigint)::bigint FROM {quota_tenants} q, jsonb_each_text(q.used) d GROUP BY 1 ORDER BY 1";
        self.query(sql, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(vcpus: u64) -> Amounts {
        [("vcpus".parse().expect("a name"), vcpus)].into_iter().collect()
    }

    #[test]
    fn use_that_contradicts_its_claims_is_reported_and_not_made_up() {
        let tenant = TenantId(Uuid::from_u128(1));
        let mut books = Books::default();
        books.tenants.insert(tenant.0, TenantQuota { used: amounts(2), ..TenantQuota::default() });
        let claim = Claim { tenant, cell: None, held: amounts(3), change: None };
        assert_eq!(books.hold(&claim, &Amounts::default()), Err("vcpus: 2 - 3 is not an amount".to_owned()));
    }
}
