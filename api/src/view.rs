//! Reads: one consistent view, authorised in the same snapshot as its rows, which says the position that it shows.

use crate::{
    answer::{POSITION, by_clock, entity_tag, header},
    asked::at_least,
    auth::{Authenticator, Caller},
    limits::Permit,
    position::{
        Positions, Tokens,
        page::{PageKey, Walk},
    },
    problem::{Problem, ProblemType},
    standing::{Standing, principal},
    state::Api,
};
use axum::{
    Json,
    extract::{FromRef, FromRequestParts},
    http::{HeaderValue, header::CACHE_CONTROL, header::ETAG, request::Parts},
    response::{IntoResponse, Response},
};
use domain::id::TenantId;
use projections::snapshot::{Shown, Snapshot};
use schemas::record::Position;
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Items on a page when the caller names no number.
const USUAL_LIMIT: u32 = 100;
/// Most items on a page.
const GREATEST_LIMIT: u32 = 1_000;

/// A read: who asks, and of what position at least.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Who asks.
    pub caller: Caller,
    /// What the answer must show.
    pub at_least: Positions,
}

impl<S: Send + Sync> FromRequestParts<S> for Asking
where
    Arc<Authenticator>: FromRef<S>,
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let at_least = at_least(&parts.headers, &Tokens::from_ref(state))?;
        Ok(Self { caller, at_least })
    }
}

/// A view of the read models for one caller.
pub struct View {
    /// The rows.
    pub snapshot: Snapshot,
    /// Who the caller is.
    pub standing: Standing,
    caller: Caller,
    tokens: Tokens,
    _permit: Permit,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Token of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Token of the position that the page shows.
    pub position: String,
}

/// Something with the position at which it was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct At<T> {
    /// What was read.
    #[serde(flatten)]
    pub what: T,
    /// Token of the position that it shows.
    pub position: String,
}

/// A list that is being walked: its filter in a form that is equal for equal lists, its order, and where the caller stands.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// Route and filters.
    pub filter: &'a str,
    /// The order.
    pub order: &'a str,
    /// Most items that the caller wants.
    pub limit: Option<u32>,
    /// Token of the page.
    pub page: Option<&'a str>,
}

impl Api {
    /// A view of a tenant, or of what concerns no tenant.
    ///
    /// # Errors
    /// 404 to a stranger; 503 when the read models are behind or cannot be asked.
    pub async fn view(&self, asking: Asking, tenant: Option<TenantId>) -> Result<View, Problem> {
        let partition = self.deciders.partition_of(tenant);
        let view = self.look_at(asking, tenant, Some(partition)).await?;
        if tenant.is_some() {
            self.turn_away(&view.standing, tenant, &principal(&view.caller))?;
        }
        Ok(view)
    }

    /// A view of all tenants, of which the caller may know some.
    ///
    /// # Errors
    /// 503 when the read models are behind or cannot be asked.
    pub async fn view_all(&self, asking: Asking) -> Result<View, Problem> {
        self.look_at(asking, None, None).await
    }

    async fn look_at(&self, asking: Asking, tenant: Option<TenantId>, partition: Option<u32>) -> Result<View, Problem> {
        let Asking { caller, at_least } = asking;
        self.refusals.admit(&principal(&caller))?;
        self.wait_for(&at_least).await?;
        self.check_fresh(|of| partition.is_none_or(|partition| partition == of))?;
        let one = partition.as_ref().map(std::slice::from_ref);
        let snapshot = self.database.snapshot(one.map_or(Shown::All, Shown::Partitions)).await?;
        let standing = self.standing(&snapshot, &caller, tenant).await?;
        // Strangers take no place of the tenant's, and so do not learn from a full one that it exists.
        let place = tenant.filter(|_| !standing.is_stranger()).map_or(Uuid::nil(), |tenant| tenant.0);
        let permit = self.in_flight.enter(place)?;
        Ok(View { snapshot, standing, caller, tokens: self.tokens.clone(), _permit: permit })
    }

    /// Waits until the read models show these positions, five seconds at most.
    ///
    /// # Errors
    /// 503 with `Retry-After`.
    pub async fn wait_for(&self, wanted: &Positions) -> Result<(), Problem> {
        let wanted: Vec<Position> = wanted.iter().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + projections::positions::LONGEST_WAIT;
        let waited = self.database.follow().wait_for(&wanted, deadline).await;
        waited.map_err(|_| Problem::new(ProblemType::PositionNotReached).retry_after(Duration::from_secs(1)))
    }

    /// Refuses reads while the read models have been behind for too long.
    ///
    /// # Errors
    /// 503 with `Retry-After`.
    pub fn check_fresh(&self, concerned: impl Fn(u32) -> bool) -> Result<(), Problem> {
        let behind = self.seen.behind(Instant::now(), concerned);
        if behind <= Duration::from_secs(self.limits.stale_after_s) {
            return Ok(());
        }
        Err(Problem::new(ProblemType::ReadsStale).with("behind_s", behind.as_secs()).retry_after(Duration::from_secs(2)))
    }
}

impl View {
    /// Token of the position that this view shows.
    pub fn token(&self) -> String {
        self.tokens.issue(&self.snapshot.positions().values().copied().collect())
    }

    /// The answer with one thing; `generation` is its entity tag.
    pub fn one(&self, what: impl Serialize, generation: Option<u64>) -> Response {
        let position = self.token();
        let mut response = self.shown(&position, Json(At { what, position: position.clone() }).into_response());
        if let Some(generation) = generation {
            response.headers_mut().insert(ETAG, entity_tag(generation));
        }
        response
    }

    /// Where a walk goes on, and how many rows to ask for: one more than the page holds, which tells whether there is a next one.
    ///
    /// # Errors
    /// 400 for a token of another list or a limit out of bounds.
    pub fn walk(&self, list: List<'_>) -> Result<(Option<PageKey>, u32), Problem> {
        let limit = limit(list.limit)?;
        let after = list.page.map(|token| self.tokens.read_page(walk(&self.caller, list), token)).transpose()?;
        Ok((after, limit + 1))
    }

    /// The answer with a page of the rows that were found; `key` names a row's place, `shape` shows it, or hides it from this caller.
    ///
    /// # Errors
    /// 400 as in [`walk`](Self::walk).
    pub fn page<R, T: Serialize>(
        &self,
        list: List<'_>,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> PageKey,
        shape: impl Fn(R) -> Option<T>,
    ) -> Result<Response, Problem> {
        let limit = limit(list.limit)? as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(key);
        let next = last.map(|last| self.tokens.issue_page(walk(&self.caller, list), &last));
        let position = self.token();
        let page = Page { items: rows.into_iter().filter_map(shape).collect(), next, position: position.clone() };
        Ok(self.shown(&position, Json(page).into_response()))
    }

    fn shown(&self, position: &str, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(POSITION, header(position));
        // What is shown depends on the caller's roles at this moment.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        by_clock(self.standing.clock, response)
    }
}

fn walk<'a>(caller: &'a Caller, list: List<'a>) -> Walk<'a> {
    Walk { caller: (&caller.issuer, &caller.subject), filter: list.filter.as_bytes(), order: list.order }
}

fn limit(wanted: Option<u32>) -> Result<u32, Problem> {
    match wanted.unwrap_or(USUAL_LIMIT) {
        limit @ 1..=GREATEST_LIMIT => Ok(limit),
        _ => Err(Problem::new(ProblemType::InvalidParameter).detail(format!("limit is 1 to {GREATEST_LIMIT}.")).with("parameter", "limit")),
    }
}
