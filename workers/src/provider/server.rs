//! The simulated cloud as a process: HTTP in front of [`Cloud`], a file behind it.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/{zone}/{kind}` | create ([`NewObject`]): 202 |
//! | `GET /v1/{zone}?kind=&project=&name=&tag=key=value&limit=&marker=` | a part of the listing ([`Page`]) |
//! | `GET`, `PATCH`, `DELETE /v1/{zone}/{kind}/{id}` | look, change properties (202), delete (202, then 404) |
//! | `POST /v1/{zone}/{kind}/{id}/action` | an [`Action`]: 202 |
//! | `GET`, `PUT /admin/faults` | the [`Rule`]s in force |
//! | `GET /admin/calls?operation=&kind=&name=&did=&after=&limit=` | the journal of calls ([`CallReport`]) |
//! | `GET /admin/objects?kind=&project=&name=&tag=&limit=&marker=` | what is there in truth, in all zones |
//! | `DELETE`, `PATCH /admin/objects/{id}` | let it vanish; change it behind the client's back ([`Alteration`]) |
//! | `GET /health` | how many objects there are |
//!
//! Who calls is taken from `User-Agent`, for the journal alone. Nothing is authenticated: it listens on the local machine only.

use std::{
    future::Future,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path as UrlPath, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use chrono::{DateTime, Utc};
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::{
    answer::{Answer, Reply},
    calls::{CallQuery, CallReport},
    cloud::{Alteration, Cloud},
    fault::Rule,
    latency::Latencies,
    object::{Address, Filter, NewObject, Object, Page, Properties},
    request::{Action, Request},
    store::{Store, StoreError},
};

/// A running cloud. Clones share it.
#[derive(Debug, Clone)]
pub struct Simulator {
    shared: Arc<Mutex<Shared>>,
    /// Set when the server stops, so that nobody is kept waiting for an answer that never comes.
    stopping: watch::Sender<bool>,
}

#[derive(Debug)]
struct Shared {
    cloud: Cloud,
    rng: StdRng,
    store: Option<Store>,
}

impl Simulator {
    /// A cloud that is gone with the process.
    #[must_use]
    pub fn in_memory(latencies: Latencies, seed: u64) -> Self {
        Self::of(Cloud::new(latencies), seed, None)
    }

    /// The cloud whose state is in this directory, or an empty one. What was being built goes on being built. With `sync` every change is on disk
    /// before it is answered.
    ///
    /// # Errors
    /// The state is damaged, in use, or cannot be written.
    pub fn open(directory: &Path, sync: bool, latencies: Latencies, seed: u64) -> Result<Self, StoreError> {
        let (mut store, records) = Store::open(directory, sync)?;
        let cloud = Cloud::restore(latencies, records);
        store.rewrite(cloud.snapshot())?;
        Ok(Self::of(cloud, seed, Some(store)))
    }

    fn of(cloud: Cloud, seed: u64, store: Option<Store>) -> Self {
        // Another stream after each restart, or ids would be given twice.
        let rng = StdRng::seed_from_u64(seed.wrapping_add(cloud.created().wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        Self { shared: Arc::new(Mutex::new(Shared { cloud, rng, store })), stopping: watch::Sender::new(false) }
    }

    /// Does something to the cloud and keeps what it changed.
    ///
    /// # Errors
    /// The change cannot be kept; from then on nothing works until a restart.
    pub fn with<T>(&self, f: impl FnOnce(&mut Cloud, DateTime<Utc>, &mut StdRng) -> T) -> Result<T, StoreError> {
        let mut guard = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { cloud, rng, store } = &mut *guard;
        let value = f(cloud, SystemTime::now().into(), rng);
        let records = cloud.drain();
        if let Some(store) = store {
            store.append(&records)?;
            if store.is_long(cloud.len()) {
                store.rewrite(cloud.snapshot())?;
            }
        }
        Ok(value)
    }

    /// Serves until `shutdown` is done, then answers what is being answered and returns.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let stopping = self.stopping.clone();
        let stop = async move {
            shutdown.await;
            stopping.send_replace(true);
        };
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }

    fn router(self) -> Router {
        Router::new()
            .route("/v1/{zone}", get(list))
            .route("/v1/{zone}/{kind}", post(create))
            .route("/v1/{zone}/{kind}/{id}", get(show).patch(change).delete(delete))
            .route("/v1/{zone}/{kind}/{id}/action", post(act))
            .route("/admin/faults", get(faults).put(set_faults))
            .route("/admin/calls", get(calls))
            .route("/admin/objects", get(inventory))
            .route("/admin/objects/{id}", patch(alter).delete(vanish))
            .route("/health", get(health))
            .with_state(self)
    }

    fn admin<T>(&self, f: impl FnOnce(&mut Cloud, DateTime<Utc>) -> T) -> Result<T, Reply> {
        self.with(|cloud, now, _| f(cloud, now)).map_err(|error| not_kept(&error))
    }

    async fn call(&self, headers: &HeaderMap, request: Request) -> Response {
        let caller = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut stopping = self.stopping.subscribe();
        let stopped = async {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        match self.with(|cloud, now, rng| cloud.handle(caller, &request, now, rng)) {
            Ok(Answer::Reply(reply, late)) if late.is_zero() => reply.into_response(),
            Ok(Answer::Reply(reply, late)) => tokio::select! {
                () = tokio::time::sleep(late) => reply.into_response(),
                () = stopped => cut(),
            },
            Ok(Answer::Silence) => {
                stopped.await;
                cut()
            }
            Ok(Answer::Cut) => cut(),
            Err(error) => not_kept(&error).into_response(),
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// An answer whose body fails before its first byte: the server drops the connection without having sent anything.
fn cut() -> Response {
    Response::new(Body::from_stream(futures::stream::once(async { Err::<Bytes, _>(io::Error::other("cut on purpose")) })))
}

fn not_kept(error: &StoreError) -> Reply {
    tracing::error!(%error, "the simulated provider cannot keep its state");
    Reply::error(500, &error.to_string())
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| Reply::error(400, &format!("Malformed request body: {error}")))
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    kind: Option<String>,
    project: Option<String>,
    name: Option<String>,
    tag: Option<String>,
    limit: Option<usize>,
    marker: Option<String>,
}

impl ListQuery {
    fn split(self) -> Result<(Filter, usize, Option<String>), Reply> {
        let tag = self.tag.map(|tag| match tag.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Reply::error(400, &format!("Invalid tag filter '{tag}': it is key=value."))),
        });
        let filter = Filter { kind: self.kind, project: self.project, name: self.name, tag: tag.transpose()? };
        Ok((filter, self.limit.unwrap_or(1000), self.marker))
    }
}

async fn list(
    State(simulator): State<Simulator>,
    UrlPath(zone): UrlPath<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Reply> {
    let (filter, limit, marker) = query.split()?;
    Ok(simulator.call(&headers, Request::List { zone, filter, limit, marker }).await)
}

async fn create(
    State(simulator): State<Simulator>,
    UrlPath((zone, kind)): UrlPath<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Reply> {
    let new: NewObject = parse(&body)?;
    Ok(simulator.call(&headers, Request::Create { zone, kind, new }).await)
}

async fn show(State(simulator): State<Simulator>, UrlPath(address): UrlPath<Address>, headers: HeaderMap) -> Response {
    simulator.call(&headers, Request::Get { address }).await
}

async fn change(
    State(simulator): State<Simulator>,
    UrlPath(address): UrlPath<Address>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Reply> {
    let properties: Properties = parse(&body)?;
    Ok(simulator.call(&headers, Request::Change { address, properties }).await)
}

async fn act(
    State(simulator): State<Simulator>,
    UrlPath(address): UrlPath<Address>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Reply> {
    let action: Action = parse(&body)?;
    Ok(simulator.call(&headers, Request::Act { address, action }).await)
}

async fn delete(State(simulator): State<Simulator>, UrlPath(address): UrlPath<Address>, headers: HeaderMap) -> Response {
    simulator.call(&headers, Request::Delete { address }).await
}

async fn faults(State(simulator): State<Simulator>) -> Result<Json<Vec<Rule>>, Reply> {
    simulator.admin(|cloud, _| cloud.rules().to_vec()).map(Json)
}

async fn set_faults(State(simulator): State<Simulator>, body: Bytes) -> Result<StatusCode, Reply> {
    let rules: Vec<Rule> = parse(&body)?;
    simulator.admin(|cloud, now| cloud.set_rules(rules, now))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn calls(State(simulator): State<Simulator>, Query(query): Query<CallQuery>) -> Result<Json<CallReport>, Reply> {
    simulator.admin(|cloud, _| cloud.calls(&query)).map(Json)
}

async fn inventory(State(simulator): State<Simulator>, Query(query): Query<ListQuery>) -> Result<Json<Page>, Reply> {
    let (filter, limit, marker) = query.split()?;
    simulator.admin(|cloud, now| cloud.inventory(&filter, limit, marker.as_deref(), now)).map(Json)
}

async fn vanish(State(simulator): State<Simulator>, UrlPath(id): UrlPath<String>) -> Result<StatusCode, Reply> {
    let vanished = simulator.admin(|cloud, now| cloud.vanish(&id, now))?;
    if vanished { Ok(StatusCode::NO_CONTENT) } else { Err(Reply::absent("object", &id)) }
}

async fn alter(State(simulator): State<Simulator>, UrlPath(id): UrlPath<String>, body: Bytes) -> Result<Json<Object>, Reply> {
    let alteration: Alteration = parse(&body)?;
    let altered = simulator.admin(|cloud, now| cloud.alter(&id, alteration, now))?;
    altered.map(Json).ok_or_else(|| Reply::absent("object", &id))
}

async fn health(State(simulator): State<Simulator>) -> Result<Json<Value>, Reply> {
    simulator.admin(|cloud, _| Json(json!({ "objects": cloud.len() })))
}
