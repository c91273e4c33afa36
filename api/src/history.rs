//! What happened, newest first: events of a tenant or of one resource, as they lie on the journal but for what is sealed.

use crate::{
    position::page::PageKey,
    problem::{
        Problem,
        extract::{Parameters, PathParameters},
    },
    seal::redact,
    state::Api,
    tenants::Paging,
    view::{Asking, List, Page, View},
};
use axum::{extract::State, response::Response};
use domain::{
    Timestamp,
    id::{ResourceId, TenantId},
    people::{Actor, Permission},
};
use projections::{history::HistoryRow, page::ByEvent};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryItem {
    /// Where it stands on the journal: generation, partition, seq, and its place in the commit.
    at_position: String,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// When it happened, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Who caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    actor: Option<Actor>,
    /// The operation that it follows from.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Uuid>,
    /// The event: type, version, ids and data.
    #[schema(value_type = Object)]
    event: Value,
}

impl HistoryItem {
    fn of(row: HistoryRow) -> Self {
        let event: Value = serde_json::from_str(row.event.get()).unwrap_or_default();
        Self {
            at_position: format!("{}.{}", row.position, row.index),
            time: row.time,
            at: row.at,
            actor: row.actor,
            operation: row.command,
            event: redact(&event),
        }
    }
}

/// What happened in a tenant. Who has roles in cells only sees what happened there.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/history", tag = "history", params(("tenant" = Uuid, Path), Paging),
    responses((status = 200, body = Page<HistoryItem>)), extensions(("x-permission" = json!(Permission::ReadResources))))]
pub async fn of_tenant(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asking: Asking,
    Parameters(paging): Parameters<Paging>,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let visible = view.standing.visible(Permission::ReadResources)?;
    let filter = format!("GET /v1/tenants/{tenant}/history");
    let list = newest_first(&paging, &filter);
    let (before, limit) = place(&view, list)?;
    let rows = view.snapshot.history_of_tenant(tenant, visible.cells(), before, limit).await?;
    view.page(list, rows, key, |row| Some(HistoryItem::of(row)))
}

/// What happened to a resource, also to a deleted one.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/resources/{resource}/history", tag = "history",
    params(("tenant" = Uuid, Path), ("resource" = Uuid, Path), Paging), responses((status = 200, body = Page<HistoryItem>)),
    extensions(("x-permission" = json!(Permission::ReadResources))))]
pub async fn of_resource(
    State(api): State<Api>,
    PathParameters((tenant, resource)): PathParameters<(TenantId, ResourceId)>,
    asking: Asking,
    Parameters(paging): Parameters<Paging>,
) -> Result<Response, Problem> {
    let view = api.view(asking, Some(tenant)).await?;
    let row = view.snapshot.resource(tenant, resource).await?;
    view.standing.see(Permission::ReadResources, row, |row| row.cell)?;
    let filter = format!("GET /v1/tenants/{tenant}/resources/{resource}/history");
    let list = newest_first(&paging, &filter);
    let (before, limit) = place(&view, list)?;
    let rows = view.snapshot.history_of_resource(tenant, resource, before, limit).await?;
    view.page(list, rows, key, |row| Some(HistoryItem::of(row)))
}

fn newest_first<'a>(paging: &'a Paging, filter: &'a str) -> List<'a> {
    List { order: "newest", ..paging.list(filter) }
}

/// A place in history is a seq and an index; both stand in a page token like the seq and partition of a thing's creation.
fn key(row: &HistoryRow) -> PageKey {
    let ByEvent { seq, index } = row.key();
    PageKey::Created { seq, partition: index, id: Uuid::nil() }
}

fn place(view: &View, list: List<'_>) -> Result<(Option<ByEvent>, u32), Problem> {
    let (before, limit) = view.walk(list)?;
    Ok((crate::tenants::by_creation(before)?.map(|key| ByEvent { seq: key.seq, index: key.partition }), limit))
}
