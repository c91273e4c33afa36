//! What happened, for the people of a tenant and of a resource: one row an event, newest first.
//!
//! Events that this program does not know are shown as they are, so this model is never incomplete. What became of a command that changed
//! nothing is no event of a tenant: see [`crate::operations`].

use crate::{
    columns::{count, int, text, time},
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    page::ByEvent,
    snapshot::{ReadError, Snapshot},
};
use domain::{
    Timestamp,
    event::Event,
    id::{CellId, ResourceId, TenantId},
    people::Actor,
    resource::ResourceEvent,
};
use futures::future::BoxFuture;
use schemas::record::Position;
use serde_json::value::RawValue;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

/// The read model.
pub struct History;

const TABLES: &[Table] = &[Table {
    name: "history",
    key: "partition, generation, seq, index",
    ddl: r#"
    CREATE TABLE {history} (
        partition  integer     NOT NULL,
        generation integer     NOT NULL,
        seq        bigint      NOT NULL,
        index      integer     NOT NULL,
        tenant     uuid,
        -- The cell that the event names; that of a resource stands in its first event alone.
        cell       uuid,
        resource   uuid,
        type       text        NOT NULL,
        time       timestamptz NOT NULL,
        at         timestamptz,
        actor      json,
        command    uuid,
        request    text,
        event      json        NOT NULL,
        PRIMARY KEY (partition, generation, seq, index)
    );
    CREATE INDEX {history}_tenant   ON {history} (tenant, seq, index) WHERE tenant IS NOT NULL;
    CREATE INDEX {history}_cell     ON {history} (tenant, cell, seq, index) WHERE cell IS NOT NULL;
    CREATE INDEX {history}_resource ON {history} (resource, seq, index) WHERE resource IS NOT NULL;
    "#,
}];

impl ReadModel for History {
    fn name(&self) -> &'static str {
        "history"
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
            let facts = |commit: &'a Applied| commit.facts.iter().enumerate().map(move |(index, fact)| (commit, index, fact));
            let rows: Vec<_> =
                commits.iter().flat_map(facts).filter(|(_, _, fact)| !matches!(fact.event, Some(Event::Command(_)))).collect();
            if rows.is_empty() {
                return Ok(Effects::default());
            }
            macro_rules! column {
                (|$commit:ident, $index:ident, $fact:ident| $value:expr) => {
                    &rows.iter().map(|($commit, $index, $fact)| $value).collect::<Vec<_>>()
                };
            }
            on.execute(
                "INSERT INTO {history} (partition, generation, seq, index, tenant, cell, resource, type, time, at, actor, command, request, event)
                 SELECT $1, * FROM unnest($2::integer[], $3::bigint[], $4::integer[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[],
                     $9::timestamptz[], $10::timestamptz[], $11::json[], $12::uuid[], $13::text[], $14::json[])",
                &[
                    &on.partition,
                    column!(|commit, _i, _f| commit.position.generation as i32),
                    column!(|commit, _i, _f| int(commit.seq())),
                    column!(|_c, index, _f| *index as i32),
                    column!(|_c, _i, fact| fact.tenant.map(|t| t.0)),
                    column!(|_c, _i, fact| fact.cell.or_else(|| born_in(fact.event.as_ref())).map(|c| c.0)),
                    column!(|_c, _i, fact| fact.resource.map(|r| r.0)),
                    column!(|_c, _i, fact| text(&fact.name)),
                    column!(|commit, _i, _f| time(commit.time)),
                    column!(|_c, _i, fact| fact.at.map(time)),
                    column!(|commit, _i, _f| commit.actor.as_ref().map(Json)),
                    column!(|commit, _i, _f| commit.command.as_ref().map(|c| c.id)),
                    column!(|commit, _i, _f| commit.command.as_ref().map(|c| text(&c.request))),
                    column!(|_c, _i, fact| Json(&*fact.raw)),
                ],
            )
            .await?;
            Ok(Effects::default())
        })
    }
}

fn born_in(event: Option<&Event>) -> Option<CellId> {
    match event {
        Some(Event::Resource { event: ResourceEvent::Requested(requested), .. }) => requested.cell,
        _ => None,
    }
}

/// One event.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// Its commit.
    pub position: Position,
    /// Its place in the commit.
    pub index: u32,
    /// The tenant that it is about.
    pub tenant: Option<TenantId>,
    /// The cell that it names.
    pub cell: Option<CellId>,
    /// The resource that it is about.
    pub resource: Option<ResourceId>,
    /// `resource.provisioned`.
    pub name: String,
    /// When it was recorded.
    pub time: Timestamp,
    /// When it happened, if it says so.
    pub at: Option<Timestamp>,
    /// Who caused it.
    pub actor: Option<Actor>,
    /// The command that it follows from.
    pub command: Option<Uuid>,
    /// The attempt of that command.
    pub request: Option<String>,
    /// As it lies on the journal.
    pub event: Box<RawValue>,
}

impl HistoryRow {
    /// Its place in a list.
    pub fn key(&self) -> ByEvent {
        ByEvent { seq: self.position.seq, index: self.index }
    }
}

impl Snapshot {
    /// A page of what happened to a resource, newest first, before `before`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn history_of_resource(
        &self,
        tenant: TenantId,
        resource: ResourceId,
        before: Option<ByEvent>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, ReadError> {
        let (seq, index) = key(before);
        let sql = format!(
            "SELECT {COLUMNS} FROM {{history}} h WHERE h.resource = $1 AND h.tenant = $2 AND (h.seq, h.index) < ($3, $4)
             ORDER BY h.seq DESC, h.index DESC LIMIT $5"
        );
        self.query(&sql, &[&resource.0, &tenant.0, &seq, &index, &i64::from(limit)]).await?.iter().map(read).collect()
    }

    /// A page of what happened in a tenant, newest first, before `before`; with `visible` only what happened in these cells and to what sits in them.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn history_of_tenant(
        &self,
        tenant: TenantId,
        visible: Option<&[CellId]>,
        before: Option<ByEvent>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, ReadError> {
        let (seq, index) = key(before);
        let limit = i64::from(limit);
        let Some(visible) = visible else {
            let sql = format!(
                "SELECT {COLUMNS} FROM {{history}} h WHERE h.tenant = $1 AND (h.seq, h.index) < ($2, $3)
                 ORDER BY h.seq DESC, h.index DESC LIMIT $4"
            );
            return self.query(&sql, &[&tenant.0, &seq, &index, &limit]).await?.iter().map(read).collect();
        };
        let visible: Vec<Uuid> = visible.iter().map(|cell| cell.0).collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM {{history}} h LEFT JOIN {{resources}} r ON r.id = h.resource AND r.partition = h.partition
             WHERE h.tenant = $1 AND (h.seq, h.index) < ($2, $3) AND coalesce(h.cell, r.cell) = ANY ($5)
             ORDER BY h.seq DESC, h.index DESC LIMIT $4"
        );
        self.query(&sql, &[&tenant.0, &seq, &index, &limit, &visible]).await?.iter().map(read).collect()
    }
}

fn key(before: Option<ByEvent>) -> (i64, i32) {
    before.map_or((i64::MAX, i32::MAX), |key| (int(key.seq), key.index as i32))
}

const COLUMNS: &str = "h.partition, h.generation, h.seq, h.index, h.tenant, h.cell, h.resource, h.type, h.time, h.at, h.actor, h.command,
    h.request, h.event";

fn read(row: &Row) -> Result<HistoryRow, ReadError> {
    let (partition, generation): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
    let actor: Option<Json<Actor>> = row.try_get(10)?;
    let Json(event) = row.try_get(13)?;
    Ok(HistoryRow {
        position: Position { generation: generation as u32, partition: partition as u32, seq: count(row.try_get(2)?) },
        index: row.try_get::<_, i32>(3)? as u32,
        tenant: row.try_get::<_, Option<Uuid>>(4)?.map(TenantId),
        cell: row.try_get::<_, Option<Uuid>>(5)?.map(CellId),
        resource: row.try_get::<_, Option<Uuid>>(6)?.map(ResourceId),
        name: row.try_get(7)?,
        time: row.try_get(8)?,
        at: row.try_get(9)?,
        actor: actor.map(|json| json.0),
        command: row.try_get(11)?,
        request: row.try_get(12)?,
        event,
    })
}
