//! What is to be done: the inbox of workers and of the processes that drive deadlines and closings.
//!
//! There is no table of it. An open step is part of a resource, so open work is a partial index over [`crate::resources`] and as true as the
//! resource itself; when the step ends the row leaves the index. A worker looks at the work of its own zone, oldest deadline first, and is woken by
//! [`crate::positions::Follow::open_work`] in between.

use crate::{
    columns::{time, variant},
    resources::{COLUMNS, ResourceRow, read},
    snapshot::{ReadError, Snapshot, value},
};
use domain::{
    Timestamp,
    id::{IntentId, ResourceId, ServiceName, TenantId, ZoneName},
    tenant::Clock,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One open step.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkRow {
    /// The resource, or the remains of one, with its step: [`ResourceRow::step`] is never none here.
    pub resource: ResourceRow,
    /// By which clock its tenant's events happen.
    pub clock: Clock,
    /// What it names in its spec or is, or is being, attached to.
    pub named: BTreeMap<ResourceId, NamedRow>,
}

/// What a provider has to know of a resource that another one names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRow {
    /// Its kind.
    pub kind: ServiceName,
    /// The intent that made it, and by which a provider names it.
    pub made_by: IntentId,
    /// The provider's own id.
    pub external: Option<String>,
}

/// A place in the list of open work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByDeadline {
    /// The step's deadline.
    pub deadline: Timestamp,
    /// The partition.
    pub partition: u32,
    /// The resource.
    pub id: ResourceId,
}

/// Whose work, and from when on somebody else's is free.
#[derive(Debug, Clone, Copy)]
pub struct Free<'a> {
    /// The worker: what it holds itself is shown.
    pub worker: &'a str,
    /// What another holds is shown once its call deadline is before this: the present less the provider's settle time.
    pub since: Timestamp,
}

/// Something that is settled, and so should be at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRow {
    /// The tenant.
    pub tenant: TenantId,
    /// The resource.
    pub resource: ResourceId,
    /// Its kind.
    pub kind: ServiceName,
    /// The intent that made it, and by which a provider names it.
    pub made_by: IntentId,
    /// Seq of the last commit about it.
    pub seq: u64,
}

/// A step whose deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateRow {
    /// The tenant.
    pub tenant: TenantId,
    /// The resource.
    pub resource: ResourceId,
    /// The step.
    pub intent: IntentId,
    /// Its deadline.
    pub deadline: Timestamp,
}

impl Snapshot {
    /// A page of the open steps of a zone, or of those that belong to none, oldest deadline first, behind `after`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn open_work(
        &self,
        zone: Option<&ZoneName>,
        free: Free<'_>,
        after: Option<ByDeadline>,
        limit: u32,
    ) -> Result<Vec<WorkRow>, ReadError> {
        let place = zone.map_or("", ZoneName::as_str);
        let (deadline, partition, id) =
            after.map_or((time(Timestamp::MIN_UTC), -1, Uuid::nil()), |key| (time(key.deadline), key.partition as i32, key.id.0));
        let sql = format!(
            "SELECT {COLUMNS}, t.clock FROM {{resources}} r LEFT JOIN {{tenants}} t ON t.id = r.tenant AND t.partition = r.partition
             WHERE r.work IS NOT NULL AND r.work_place = $1 AND (r.deadline, r.partition, r.id) > ($2, $3, $4)
               AND (r.busy_until IS NULL OR r.worker = $5 OR r.busy_until < $6)
             ORDER BY r.deadline, r.partition, r.id LIMIT $7"
        );
        let rows = self.query(&sql, &[&place, &deadline, &partition, &id, &free.worker, &time(free.since), &i64::from(limit)]).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let clock: Option<&str> = row.try_get(17)?;
            let clock = clock.map_or(Ok(Clock::Journal), |clock| variant("clock", clock))?;
            found.push(WorkRow { resource: read(row)?, clock, named: BTreeMap::new() });
        }
        self.fill_in_named(&mut found).await?;
        Ok(found)
    }

    /// The open step of one resource, whoever holds it.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn work_on(&self, tenant: TenantId, id: ResourceId) -> Result<Option<WorkRow>, ReadError> {
        let Some(resource) = self.resource(tenant, id).await?.filter(|row| row.step().is_some()) else {
            return Ok(None);
        };
        let clock = self.tenant(tenant).await?.map_or(Clock::Journal, |tenant| tenant.clock);
        let mut work = [WorkRow { resource, clock, named: BTreeMap::new() }];
        self.fill_in_named(&mut work).await?;
        Ok(work.into_iter().next())
    }

    async fn fill_in_named(&self, work: &mut [WorkRow]) -> Result<(), ReadError> {
        let ids: BTreeSet<Uuid> = work.iter().flat_map(|row| &row.resource.state).flat_map(|state| state.named()).map(|id| id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let sql = "SELECT id, kind, (state->>'made_by')::uuid, external FROM {resources} WHERE id = ANY ($1) AND state IS NOT NULL";
        let mut all = BTreeMap::new();
        for row in self.query(sql, &[&ids.into_iter().collect::<Vec<_>>()]).await? {
            let (kind, made_by) = (value("kind", row.try_get::<_, &str>(1)?.parse())?, IntentId(row.try_get(2)?));
            all.insert(ResourceId(row.try_get(0)?), NamedRow { kind, made_by, external: row.try_get(3)? });
        }
        for row in work {
            let named = row.resource.state.iter().flat_map(|state| state.named());
            row.named = named.filter_map(|id| Some((id, all.get(&id)?.clone()))).collect();
        }
        Ok(())
    }

    /// Open steps whose deadline is before `now` and that nobody has called overdue yet, oldest first.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn past_deadline(&self, now: Timestamp, limit: u32) -> Result<Vec<LateRow>, ReadError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {{resources}} r WHERE r.work IS NOT NULL AND NOT r.overdue AND r.deadline < $1
             ORDER BY r.deadline, r.partition, r.id LIMIT $2"
        );
        let mut late = Vec::new();
        for row in self.query(&sql, &[&time(now), &i64::from(limit)]).await? {
            let row = read(&row)?;
            late.extend(row.step().map(|s| LateRow { tenant: row.tenant, resource: row.id, intent: s.intent, deadline: s.deadline }));
        }
        Ok(late)
    }

    /// A page of what exists in a zone, or in none, with nothing being done to it, by id behind `after`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn standing(&self, zone: Option<&ZoneName>, after: Option<ResourceId>, limit: u32) -> Result<Vec<StandingRow>, ReadError> {
        let sql = "SELECT tenant, id, kind, (state->>'made_by')::uuid, changed_seq FROM {resources}
             WHERE id > $1 AND zone IS NOT DISTINCT FROM $2 AND phase IN ('active', 'stopped') AND work IS NULL ORDER BY id LIMIT $3";
        let after = after.map_or(Uuid::nil(), |id| id.0);
        let rows = self.query(sql, &[&after, &zone.map(ZoneName::as_str), &i64::from(limit)]).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(StandingRow {
                tenant: TenantId(row.try_get(0)?),
                resource: ResourceId(row.try_get(1)?),
                kind: value("kind", row.try_get::<_, &str>(2)?.parse())?,
                made_by: IntentId(row.try_get(3)?),
                seq: row.try_get::<_, i64>(4)? as u64,
            })
        };
        rows.iter().map(read).collect()
    }

    /// What is known of these ids, alive or gone, whoever's they are.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn known(&self, ids: &[ResourceId]) -> Result<Vec<ResourceRow>, ReadError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let sql = format!("SELECT {COLUMNS} FROM {{resources}} r WHERE r.id = ANY ($1)");
        self.query(&sql, &[&ids]).await?.iter().map(read).collect()
    }

    /// Resources of a tenant that can be deleted now, with their generation: not being deleted yet, not attached and named by none.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn next_to_delete(&self, tenant: TenantId, limit: u32) -> Result<Vec<(ResourceId, u64)>, ReadError> {
        let sql = "SELECT r.id, r.generation FROM {resources} r
             WHERE r.tenant = $1 AND r.state IS NOT NULL AND r.phase <> 'deleting' AND r.attached_to IS NULL
               AND NOT EXISTS (SELECT 1 FROM {resources} u WHERE u.uses @> ARRAY[r.id] AND u.uses <> ARRAY[]::uuid[] AND u.tenant = $1)
             ORDER BY r.created_seq, r.partition, r.id LIMIT $2";
        let rows = self.query(sql, &[&tenant.0, &i64::from(limit)]).await?;
        rows.iter().map(|row| Ok((ResourceId(row.try_get(0)?), row.try_get::<_, i64>(1)? as u64))).collect()
    }

    /// Open steps a place, for metrics.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn open_work_by_place(&self) -> Result<Vec<(String, u64)>, ReadError> {
        let sql = "SELECT work_place, count(*) FROM {resources} WHERE work IS NOT NULL GROUP BY 1 ORDER BY 1";
        self.query(sql, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)? as u64))).collect()
    }
}

impl WorkRow {
    /// Its place in the list.
    pub fn by_deadline(&self) -> Option<ByDeadline> {
        let deadline = self.resource.step()?.deadline;
        Some(ByDeadline { deadline, partition: self.resource.partition, id: self.resource.id })
    }
}
