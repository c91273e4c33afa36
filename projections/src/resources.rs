//! What exists, for the tenant that ordered it and for the workers that make it.
//!
//! A row holds the resource itself as the domain folds it, so there is no second copy of its life cycle here; the columns beside it are what
//! rows are found by. When a resource is gone its row stays with phase `deleted`, without its state, for ever: its id is never used again, its history
//! is still asked for and authorised by tenant and cell, and a bare row costs about 200 bytes. Lists do not show it.
//!
//! Open work is part of it, because an open step is part of a resource: see [`crate::open_work`].

mod list;

pub use list::{Filter, InCell, Named, Order};

use crate::{
    columns::{count, int, text, time},
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    snapshot::{ReadError, Snapshot, value},
};
use domain::{
    Timestamp,
    event::Event,
    id::{CellId, ResourceId, ServiceName, TenantId},
    resource::{Remains, Requested, Resource, ResourceEvent as E, Step},
};
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

/// The read model.
pub struct Resources;

const TABLES: &[Table] = &[Table {
    name: "resources",
    key: "id, partition",
    ddl: r#"
    CREATE TABLE {resources} (
        partition   integer     NOT NULL,
        id          uuid        NOT NULL,
        tenant      uuid        NOT NULL,
        cell        uuid,
        kind        text        NOT NULL,
        version     integer     NOT NULL,
        name        text        NOT NULL COLLATE "C",
        subscriber  text,
        zone        text,
        phase       text        NOT NULL,
        -- For filters: tenant, key and value of each label in one text, so that PostgreSQL knows how rare it is within its tenant.
        labels      text[]      NOT NULL,
        generation  bigint      NOT NULL,
        external    text,
        attached_to uuid,
        -- The resources that its spec names.
        uses        uuid[]      NOT NULL,
        -- Failures since something last went well, and the last of them in plain words.
        failures    integer     NOT NULL,
        problem     text,
        created_seq bigint      NOT NULL,
        created_at  timestamptz NOT NULL,
        changed_seq bigint      NOT NULL,
        changed_at  timestamptz NOT NULL,
        -- The open step: what is to be done, until when, who is at it until when.
        work        text,
        work_place  text,
        deadline    timestamptz,
        overdue     boolean     NOT NULL,
        worker      text,
        busy_until  timestamptz,
        -- The domain's own state; none once the resource is gone.
        state       json,
        -- What turned up at the provider afterwards and is being removed.
        remains     json,
        PRIMARY KEY (id, partition)
    ) WITH (fillfactor = 80);
    CREATE INDEX {resources}_tenant ON {resources} (tenant, created_seq, partition, id) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_cell   ON {resources} (tenant, cell, created_seq, partition, id) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_kind   ON {resources} (tenant, kind, created_seq, partition, id) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_phase  ON {resources} (tenant, phase, created_seq, partition, id) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_zone   ON {resources} (tenant, zone, created_seq, partition, id) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_name   ON {resources} (tenant, name, partition, id) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_labels ON {resources} USING gin (labels) WHERE state IS NOT NULL;
    CREATE INDEX {resources}_uses   ON {resources} USING gin (uses) WHERE uses <> ARRAY[]::uuid[];
    CREATE INDEX {resources}_attached ON {resources} (attached_to) WHERE attached_to IS NOT NULL;
    CREATE INDEX {resources}_work   ON {resources} (work_place, deadline, partition, id) WHERE work IS NOT NULL;
    CREATE INDEX {resources}_remains ON {resources} (tenant) WHERE remains IS NOT NULL;
    CREATE INDEX {resources}_late   ON {resources} (deadline, partition, id) WHERE work IS NOT NULL AND NOT overdue;
    "#,
}];

impl ReadModel for Resources {
    fn name(&self) -> &'static str {
        "resources"
    }

    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn indexes_last(&self) -> bool {
        true
    }

    fn apply<'a>(&'a self, on: On<'a>, commits: &'a [Applied]) -> BoxFuture<'a, Result<Effects, ApplyError>> {
        Box::pin(async move {
            let mut effects = Effects::default();
            let events: Vec<_> = effects.events(commits).filter_map(|(commit, event)| about(event).map(|a| (commit, a))).collect();
            let touched: BTreeSet<Uuid> = events.iter().map(|(_, (_, id, _))| id.0).collect();
            if touched.is_empty() {
                return Ok(effects);
            }
            let touched: Vec<Uuid> = touched.into_iter().collect();
            let select = format!("SELECT {COLUMNS} FROM {{resources}} r WHERE r.partition = $1 AND r.id = ANY ($2)");
            let mut rows = BTreeMap::new();
            for row in on.query(&select, &[&on.partition, &touched]).await? {
                let row = read(&row)?;
                rows.insert(row.id, row);
            }
            let mut written = BTreeSet::new();
            for (commit, (tenant, id, event)) in events {
                let before = rows.get(&id).and_then(ResourceRow::step).map(|step| (step.intent, step.deadline));
                match fold(rows.get(&id), commit, tenant, id, event) {
                    Ok(None) => {}
                    Ok(Some(after)) => {
                        let opened = after.step().filter(|step| before != Some((step.intent, step.deadline)));
                        effects.work.extend(opened.map(|_| after.place().to_owned()));
                        written.insert(id);
                        rows.insert(id, after);
                    }
                    Err(state) => effects.pass_over(commit, &format!("`{}` on {id}: {state}", event.name())),
                }
            }
            rows.retain(|id, _| written.contains(id));
            write(&on, rows.into_values().collect()).await?;
            Ok(effects)
        })
    }
}

/// A resource as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRow {
    /// Its partition.
    pub partition: u32,
    /// Its id.
    pub id: ResourceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it sits; the tenant itself when absent.
    pub cell: Option<CellId>,
    /// The service of the catalogue.
    pub kind: ServiceName,
    /// The service's version when it was ordered.
    pub version: u32,
    /// For people.
    pub name: String,
    /// The logical subscriber identity of the BSS.
    pub subscriber: Option<String>,
    /// The provider's own id.
    pub external: Option<String>,
    /// Failures since something last went well.
    pub failures: u32,
    /// The last of them, in plain words.
    pub problem: Option<String>,
    /// Seq of the commit that it began with: its place in lists.
    pub created_seq: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Seq of the last commit about it.
    pub changed_seq: u64,
    /// Time of that commit.
    pub changed_at: Timestamp,
    /// What it is; none once it is gone.
    pub state: Option<Resource>,
    /// What is being removed of it after it was gone.
    pub remains: Option<Remains>,
}

impl ResourceRow {
    /// Whether it was ever asked for here.
    fn is_known(&self) -> bool {
        self.version > 0
    }

    /// Where it is in its life: a phase of the domain, or `deleted`.
    pub fn phase(&self) -> &'static str {
        self.state.as_ref().map_or("deleted", |r| r.phase.name())
    }

    /// The open step.
    pub fn step(&self) -> Option<&Step> {
        self.state.as_ref().map_or(self.remains.as_ref().map(|r| &r.step), |r| r.step.as_ref())
    }

    /// The zone whose workers do its open step; empty when it belongs to no zone.
    pub fn place(&self) -> &str {
        let zone = self.state.as_ref().map_or(self.remains.as_ref().and_then(|r| r.zone.as_ref()), |r| r.zone.as_ref());
        zone.map_or("", |zone| zone.as_str())
    }
}

fn about(event: &Event) -> Option<(TenantId, ResourceId, &E)> {
    match event {
        Event::Resource { tenant, resource, event } => Some((*tenant, *resource, event)),
        Event::Command(_) | Event::Platform(_) | Event::Tenant { .. } | Event::Cell { .. } | Event::Member { .. } => None,
    }
}

/// The row after an event, nothing when it does not change, or the state that the event does not fit.
fn fold(row: Option<&ResourceRow>, commit: &Applied, tenant: TenantId, id: ResourceId, event: &E) -> Result<Option<ResourceRow>, String> {
    let touched = |row: ResourceRow| Ok(Some(ResourceRow { changed_seq: commit.seq(), changed_at: commit.time, ..row }));
    match (event, row) {
        // A worker may have told of its id before, when nothing was there.
        (E::Requested(_), Some(row)) if row.is_known() => Err("it exists".to_owned()),
        (E::Requested(requested), _) => Ok(Some(begin(commit, tenant, id, requested))),
        (E::RemainsFound { kind, zone, made_by, step }, row) if row.is_none_or(|row| row.state.is_none()) => {
            let row = row.cloned().unwrap_or_else(|| nameless(commit, tenant, id, kind.clone()));
            touched(ResourceRow { remains: Some(Remains::found(kind, zone, *made_by, step)), ..row })
        }
        (E::RemainsRemoved { .. }, Some(row)) => touched(ResourceRow { remains: None, ..row.clone() }),
        (E::ObservedLate { .. } | E::LifecycleCorrected { .. }, _) => Ok(None),
        (_, None) => Err("it is not there".to_owned()),
        (event, Some(row)) => {
            let mut row = row.clone();
            match (&mut row.state, &mut row.remains) {
                (Some(state), _) => {
                    state.evolve(event)?;
                    if matches!(event, E::Deleted { .. }) {
                        row.state = None;
                    }
                }
                (None, Some(remains)) => remains.evolve(event)?,
                (None, None) => return Err("it is deleted".to_owned()),
            }
            row.note(event);
            touched(row)
        }
    }
}

impl ResourceRow {
    /// What an event says beside the life cycle: the provider's id, what went wrong and that something went well.
    fn note(&mut self, event: &E) {
        match event {
            E::Provisioned { external, .. } => self.external.clone_from(external),
            E::ProvisioningFailed { problem, .. }
            | E::ProvisioningAbandoned { problem, .. }
            | E::StepFailed { problem, .. }
            | E::AttemptFailed { problem, .. } => {
                self.failures = self.failures.saturating_add(1);
                self.problem = Some(problem.clone());
                return;
            }
            E::Changed { .. }
            | E::Started { .. }
            | E::Stopped { .. }
            | E::Rebooted { .. }
            | E::Attached { .. }
            | E::Detached { .. }
            | E::Deleted { .. } => {}
            E::Renamed { name, .. } => {
                self.name.clone_from(name);
                return;
            }
            E::Requested(_)
            | E::Cleaned { .. }
            | E::ChangeRequested { .. }
            | E::StartRequested { .. }
            | E::StopRequested { .. }
            | E::RebootRequested { .. }
            | E::AttachRequested { .. }
            | E::DetachRequested { .. }
            | E::Released { .. }
            | E::DeleteRequested { .. }
            | E::Pending { .. }
            | E::Overdue { .. }
            | E::Resolved { .. }
            | E::Reopened { .. }
            | E::Vanished { .. }
            | E::ObservedLate { .. }
            | E::RemainsFound { .. }
            | E::RemainsRemoved { .. }
            | E::LifecycleCorrected { .. } => return,
        }
        (self.failures, self.problem) = (0, None);
    }
}

fn begin(commit: &Applied, tenant: TenantId, id: ResourceId, r: &Requested) -> ResourceRow {
    ResourceRow {
        cell: r.cell,
        version: r.version,
        name: r.name.clone(),
        subscriber: r.subscriber.clone(),
        created_at: r.at,
        state: Some(Resource::begin(r)),
        ..nameless(commit, tenant, id, r.kind.clone())
    }
}

/// A row for something that turned up at a provider and was never asked for here.
fn nameless(commit: &Applied, tenant: TenantId, id: ResourceId, kind: ServiceName) -> ResourceRow {
    ResourceRow {
        partition: commit.position.partition,
        id,
        tenant,
        cell: None,
        kind,
        version: 0,
        name: String::new(),
        subscriber: None,
        external: None,
        failures: 0,
        problem: None,
        created_seq: commit.seq(),
        created_at: commit.time,
        changed_seq: commit.seq(),
        changed_at: commit.time,
        state: None,
        remains: None,
    }
}

/// What [`read`] reads.
pub(crate) const COLUMNS: &str =
    "r.partition, r.id, r.tenant, r.cell, r.kind, r.version, r.name, r.subscriber, r.external, r.failures, r.problem,
    r.created_seq, r.created_at, r.changed_seq, r.changed_at, r.state, r.remains";

pub(crate) fn read(row: &Row) -> Result<ResourceRow, ReadError> {
    let state: Option<Json<Resource>> = row.try_get(15)?;
    let remains: Option<Json<Remains>> = row.try_get(16)?;
    Ok(ResourceRow {
        partition: row.try_get::<_, i32>(0)? as u32,
        id: ResourceId(row.try_get(1)?),
        tenant: TenantId(row.try_get(2)?),
        cell: row.try_get::<_, Option<Uuid>>(3)?.map(CellId),
        kind: value("kind", row.try_get::<_, &str>(4)?.parse())?,
        version: row.try_get::<_, i32>(5)? as u32,
        name: row.try_get(6)?,
        subscriber: row.try_get(7)?,
        external: row.try_get(8)?,
        failures: row.try_get::<_, i32>(9)? as u32,
        problem: row.try_get(10)?,
        created_seq: count(row.try_get(11)?),
        created_at: row.try_get(12)?,
        changed_seq: count(row.try_get(13)?),
        changed_at: row.try_get(14)?,
        state: state.map(|json| json.0),
        remains: remains.map(|json| json.0),
    })
}

async fn write(on: &On<'_>, rows: Vec<ResourceRow>) -> Result<(), tokio_postgres::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$row:ident| $value:expr) => {
            &rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let labels = |row: &ResourceRow| match &row.state {
        Some(state) => state.labels.iter().map(|(key, value)| label(row.tenant, key, value)).collect::<Vec<_>>(),
        None => Vec::new(),
    };
    on.execute(
        "INSERT INTO {resources} (partition, id, tenant, cell, kind, version, name, subscriber, zone, phase, labels, generation, external,
             attached_to, uses, failures, problem, created_seq, created_at, changed_seq, changed_at,
             work, work_place, deadline, overdue, worker, busy_until, state, remains)
         SELECT $1, id, tenant, cell, kind, version, name, subscriber, zone, phase,
             ARRAY(SELECT json_array_elements_text(labels)), generation, external,
             attached_to, uses::uuid[], failures, problem, created_seq, created_at, changed_seq, changed_at,
             work, work_place, deadline, overdue, worker, busy_until, state, remains
         FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[],
             $11::json[], $12::bigint[], $13::text[], $14::uuid[], $15::text[], $16::integer[], $17::text[], $18::bigint[],
             $19::timestamptz[], $20::bigint[], $21::timestamptz[], $22::text[], $23::text[], $24::timestamptz[], $25::boolean[],
             $26::text[], $27::timestamptz[], $28::json[], $29::json[])
           AS n (id, tenant, cell, kind, version, name, subscriber, zone, phase, labels, generation, external,
             attached_to, uses, failures, problem, created_seq, created_at, changed_seq, changed_at,
             work, work_place, deadline, overdue, worker, busy_until, state, remains)
         ON CONFLICT (id, partition) DO UPDATE SET
             cell = EXCLUDED.cell, kind = EXCLUDED.kind, version = EXCLUDED.version, subscriber = EXCLUDED.subscriber,
             created_seq = EXCLUDED.created_seq, created_at = EXCLUDED.created_at, name = EXCLUDED.name, phase = EXCLUDED.phase,
             labels = EXCLUDED.labels, generation = EXCLUDED.generation,
             external = EXCLUDED.external, attached_to = EXCLUDED.attached_to, uses = EXCLUDED.uses, failures = EXCLUDED.failures,
             problem = EXCLUDED.problem, changed_seq = EXCLUDED.changed_seq, changed_at = EXCLUDED.changed_at, zone = EXCLUDED.zone,
             work = EXCLUDED.work, work_place = EXCLUDED.work_place, deadline = EXCLUDED.deadline, overdue = EXCLUDED.overdue,
             worker = EXCLUDED.worker, busy_until = EXCLUDED.busy_until, state = EXCLUDED.state, remains = EXCLUDED.remains",
        &[
            &on.partition,
            column!(|r| r.id.0),
            column!(|r| r.tenant.0),
            column!(|r| r.cell.map(|c| c.0)),
            column!(|r| r.kind.as_str()),
            column!(|r| r.version as i32),
            column!(|r| text(&r.name)),
            column!(|r| r.subscriber.as_deref().map(text)),
            column!(|r| r.state.as_ref().and_then(|s| s.zone.as_ref()).map(|z| z.as_str())),
            column!(|r| r.phase()),
            column!(|r| Json(labels(r))),
            column!(|r| r.state.as_ref().map_or(0, |s| int(s.generation))),
            column!(|r| r.external.as_deref().map(text)),
            column!(|r| r.state.as_ref().and_then(|s| s.attached_to).map(|a| a.0)),
            column!(|r| array(r.state.as_ref().map_or(&[], |s| &s.terms.uses))),
            column!(|r| r.failures as i32),
            column!(|r| r.problem.as_deref().map(text)),
            column!(|r| int(r.created_seq)),
            column!(|r| time(r.created_at)),
            column!(|r| int(r.changed_seq)),
            column!(|r| time(r.changed_at)),
            column!(|r| r.step().map(|s| s.work.name())),
            column!(|r| r.step().map(|_| r.place())),
            column!(|r| r.step().map(|s| time(s.deadline))),
            column!(|r| r.step().is_some_and(|s| s.overdue)),
            column!(|r| r.step().and_then(|s| s.pending.as_ref()).map(|p| text(&p.worker))),
            column!(|r| r.step().and_then(|s| s.pending.as_ref()).map(|p| time(p.call_deadline))),
            column!(|r| r.state.as_ref().map(Json)),
            column!(|r| r.remains.as_ref().map(Json)),
        ],
    )
    .await?;
    Ok(())
}

/// A label as it is filtered by. No key or value holds a control character, so the text is unambiguous.
fn label(tenant: TenantId, key: &str, value: &str) -> String {
    format!("{}\u{1f}{}\u{1f}{}", tenant.0.simple(), text(key), text(value))
}

/// Ids as the text of an array: `unnest` would flatten an array of arrays.
fn array(ids: &[ResourceId]) -> String {
    format!("{{{}}}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

impl Snapshot {
    /// A resource of a tenant, also one that is gone.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn resource(&self, tenant: TenantId, id: ResourceId) -> Result<Option<ResourceRow>, ReadError> {
        let sql = format!("SELECT {COLUMNS} FROM {{resources}} r WHERE r.id = $1 AND r.tenant = $2");
        self.query_opt(&sql, &[&id.0, &tenant.0]).await?.as_ref().map(read).transpose()
    }

    /// Who names a resource in its spec or is attached to it, at most 100 of them.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn users_of(&self, tenant: TenantId, id: ResourceId) -> Result<Vec<ResourceId>, ReadError> {
        let rows = self
            .query(
                "SELECT id FROM {resources} WHERE tenant = $1 AND uses @> ARRAY[$2::uuid] AND uses <> ARRAY[]::uuid[]
                 UNION SELECT id FROM {resources} WHERE tenant = $1 AND attached_to = $2 ORDER BY id LIMIT 100",
                &[&tenant.0, &id.0],
            )
            .await?;
        rows.iter().map(|row| Ok(ResourceId(row.try_get(0)?))).collect()
    }
}
