//! What clients do: they order, change, stop, start and delete servers of several tenants through both API processes, send again what was not answered,
//! now and then do not wait for an answer at all, and read with the token of their last write. Each client's choices come from the run's seed.

use super::history::{Answer, Asked, History, Record};
use crate::platform::Platform;
use anyhow::{Context, ensure};
use domain::id::{CellId, ResourceId, TenantId};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The issuer of everybody who asks here.
pub const ISSUER: &str = "https://cirrus.development";

/// Who may do everything in the tenants.
pub const ADMINISTRATOR: &str = "ada";

/// Servers that a tenant may have: few, so that the quota is reached again and again.
const SERVERS: u64 = 12;

/// A client that hears nothing asks again for so long.
const PATIENCE: Duration = Duration::from_secs(150);

/// How long a client waits for an answer that it wants.
pub const PATIENT: Duration = Duration::from_secs(20);

/// A tenant whose clients are at work.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its cell; servers also sit at the tenant itself.
    pub cell: CellId,
}

/// All clients, and what they know in common.
pub struct Clients {
    http: Client,
    apis: Vec<String>,
    tokens: BTreeMap<String, String>,
    seed: u64,
    /// What was asked and answered.
    pub history: History,
    /// Whose clients are at work.
    pub tenants: Vec<Tenant>,
    stop: AtomicBool,
    decided: AtomicU64,
    undecided: AtomicU64,
    /// Numbers of requests, for keys that are never used twice by mistake.
    next: AtomicU64,
}

/// A write, but for who asks and where.
#[derive(Debug, Clone)]
pub struct Write {
    /// Method and route template.
    pub route: &'static str,
    /// The resource.
    pub resource: Option<ResourceId>,
    /// The action.
    pub action: Option<&'static str>,
    /// The body.
    pub body: Value,
}

/// Orders of a resource.
pub const CREATE: &str = "POST /v1/tenants/{tenant}/resources";
const LIST: &str = "GET /v1/tenants/{tenant}/resources";
const ONE: &str = "GET /v1/tenants/{tenant}/resources/{resource}";
const CHANGE: &str = "PATCH /v1/tenants/{tenant}/resources/{resource}";
const DELETE: &str = "DELETE /v1/tenants/{tenant}/resources/{resource}";
const ACT: &str = "POST /v1/tenants/{tenant}/resources/{resource}/actions/{action}";

impl Write {
    /// An order of a server.
    pub fn server(cell: Option<CellId>, zone: &str, name: &str, vcpus: u64) -> Self {
        let mut body = json!({"kind": "server", "zone": zone, "name": name,
            "spec": {"image": "debian-13", "vcpus": vcpus, "memory_mib": 1_024 * vcpus}});
        if let Some(cell) = cell {
            body["cell"] = json!(cell);
        }
        Self { route: CREATE, resource: None, action: None, body }
    }

    /// A change of a server's size.
    pub fn resize(resource: ResourceId, vcpus: u64) -> Self {
        let body = json!({"spec": {"image": "debian-13", "vcpus": vcpus, "memory_mib": 1_024 * vcpus}});
        Self { route: CHANGE, resource: Some(resource), action: None, body }
    }

    /// The request that sends this write to an API process.
    pub fn asked(&self, api: usize, person: &str, tenant: TenantId, key: &str) -> Asked {
        Asked {
            api,
            person: person.to_owned(),
            route: self.route.to_owned(),
            tenant,
            resource: self.resource,
            action: self.action.map(str::to_owned),
            key: Some(key.to_owned()),
            at_least: None,
            body: self.body.clone(),
        }
    }

    /// The end of a resource.
    pub fn delete(resource: ResourceId) -> Self {
        Self { route: DELETE, resource: Some(resource), action: None, body: Value::Null }
    }

    /// A start, stop or reboot.
    pub fn act(resource: ResourceId, action: &'static str) -> Self {
        Self { route: ACT, resource: Some(resource), action: Some(action), body: Value::Null }
    }
}

impl Clients {
    /// Opens the tenants, at least one in each partition, and their cells.
    pub async fn open(platform: &Platform, history: History, seed: u64, number: usize) -> anyhow::Result<Self> {
        let people = ["ada", "ben", "vera", "trace", "olga"];
        let mut clients = Self {
            http: Client::builder().tcp_nodelay(true).build()?,
            apis: platform.apis.clone(),
            tokens: people.map(|person| (person.to_owned(), platform.token(person).to_owned())).into(),
            seed,
            history,
            tenants: Vec::new(),
            stop: AtomicBool::new(false),
            decided: AtomicU64::new(0),
            undecided: AtomicU64::new(0),
            next: AtomicU64::new(0),
        };
        for n in 0..number {
            let tenant = clients.open_tenant(platform, n).await?;
            clients.tenants.push(tenant);
        }
        Ok(clients)
    }

    async fn open_tenant(&self, platform: &Platform, number: usize) -> anyhow::Result<Tenant> {
        let name = format!("chaos-{number}");
        let limits = json!({"servers": SERVERS, "vcpus": 3 * SERVERS, "memory_mib": 1_024 * 3 * SERVERS});
        let body = json!({"reference": name, "name": name, "administrator": {"issuer": ISSUER, "subject": ADMINISTRATOR},
            "limits": limits, "cell_default": {"servers": SERVERS / 2}});
        let opened = platform.call(0, "trace", Method::POST, "/v1/tenants", Some(&name), body).await?;
        ensure!(opened.status.is_success(), "no tenant for the clients: {opened:?}");
        let id = opened.body["id"].as_str().context("a tenant has an id")?.parse()?;
        let write = Write { route: "POST /v1/tenants/{tenant}/cells", resource: None, action: None, body: json!({"name": "work"}) };
        let mut rng = StdRng::seed_from_u64(self.seed);
        let deadline = Instant::now() + PATIENCE;
        let answer = loop {
            let answer = self.insist(&mut rng, ADMINISTRATOR, id, &write, &name).await.context("the cell was never decided")?;
            // The other API process may not have heard of the tenant yet.
            if answer.is_done() {
                break answer;
            }
            ensure!(answer.status == 404 && Instant::now() < deadline, "no cell for the clients: {answer:?}");
        };
        Ok(Tenant { id, cell: answer.body["id"].as_str().context("a cell has an id")?.parse()? })
    }

    /// Sets `each` clients of every tenant to work; they end after [`Clients::stop`].
    pub fn work(self: &Arc<Self>, each: usize) -> tokio::task::JoinSet<()> {
        self.stop.store(false, Ordering::Relaxed);
        let mut running = tokio::task::JoinSet::new();
        for (place, tenant) in self.tenants.iter().enumerate() {
            for n in 0..each {
                let shift = self.next.fetch_add(1, Ordering::Relaxed);
                let rng = StdRng::seed_from_u64(self.seed ^ ((place * 1_000 + n) as u64) << 20 ^ shift);
                running.spawn(Arc::clone(self).client(*tenant, rng));
            }
        }
        running
    }

    /// Asks the clients to end after what they are at.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Writes of which the caller knows what became of them.
    pub fn decided(&self) -> u64 {
        self.decided.load(Ordering::Relaxed)
    }

    /// Writes that stayed undecided until their caller gave up.
    pub fn undecided(&self) -> u64 {
        self.undecided.load(Ordering::Relaxed)
    }

    /// A key that nobody has used.
    pub fn key(&self) -> String {
        format!("chaos-{}-{}", self.seed, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Works on the tenant's servers, whoever ordered them, in moods: it orders more than it deletes until its mood turns. So the quota is reached
    /// and left again and again, and clients get into each other's way.
    async fn client(self: Arc<Self>, tenant: Tenant, mut rng: StdRng) {
        let mut known = self.read(&mut rng, tenant.id, None, None).await;
        let mut grows = rng.random();
        while !self.stop.load(Ordering::Relaxed) {
            let key = self.key();
            let write = choose(&mut rng, tenant, &mut known, &key, grows);
            if let Some(answer) = self.insist(&mut rng, ADMINISTRATOR, tenant.id, &write, &key).await {
                if write.route == CREATE && answer.is_done() {
                    known.extend(answer.body["id"].as_str().and_then(|id| id.parse::<ResourceId>().ok()));
                }
                if answer.status == 404 {
                    known.retain(|id| Some(*id) != write.resource);
                }
                if rng.random_range(0..3) == 0 {
                    let resource = known.choose(&mut rng).copied().filter(|_| rng.random_bool(0.7));
                    let listed = self.read(&mut rng, tenant.id, resource, answer.position).await;
                    if resource.is_none() {
                        known = listed;
                    }
                }
            }
            if rng.random_range(0..15) == 0 {
                grows = !grows;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(40..200))).await;
        }
    }

    /// Sends under one key until it is decided or turned away: a lost answer, a 202, a 401, a 429 and a 5xx are sent again, to any API process. None
    /// when that takes so long that the client gives up.
    pub async fn insist(&self, rng: &mut StdRng, person: &str, tenant: TenantId, write: &Write, key: &str) -> Option<Answer> {
        let began = Instant::now();
        let mut pause = 10;
        while began.elapsed() < PATIENCE {
            let api = rng.random_range(0..self.apis.len());
            let patience = if rng.random_range(0..12) == 0 { Duration::from_millis(4) } else { PATIENT };
            let answer = self.send(api, person, tenant, write, key, patience).await;
            match answer {
                Some(answer) if answer.is_decided() && answer.status < 500 => {
                    self.decided.fetch_add(1, Ordering::Relaxed);
                    return Some(answer);
                }
                // Turned away before it was sent: what is asked of is gone, or the key is that of another request.
                Some(answer) if matches!(answer.status, 404 | 422) => return Some(answer),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(pause / 2..pause))).await;
            pause = (pause * 2).min(1_000);
        }
        self.undecided.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Sends a write once and waits so long for its answer.
    pub async fn send(&self, api: usize, person: &str, tenant: TenantId, write: &Write, key: &str, patience: Duration) -> Option<Answer> {
        self.exchange(write.asked(api, person, tenant, key), patience).await
    }

    /// Reads a resource, or the list of all, not older than the token. The ids of the list.
    async fn read(&self, rng: &mut StdRng, tenant: TenantId, resource: Option<ResourceId>, at_least: Option<String>) -> Vec<ResourceId> {
        let asked = Asked {
            api: rng.random_range(0..self.apis.len()),
            person: ADMINISTRATOR.to_owned(),
            route: if resource.is_some() { ONE } else { LIST }.to_owned(),
            tenant,
            resource,
            action: None,
            key: None,
            at_least,
            body: Value::Null,
        };
        let answer = self.exchange(asked, PATIENT).await;
        let items = answer.and_then(|answer| answer.body["items"].as_array().cloned()).unwrap_or_default();
        items.iter().filter_map(|item| item["id"].as_str()?.parse().ok()).collect()
    }

    /// One request, written down with whatever came of it.
    async fn exchange(&self, asked: Asked, patience: Duration) -> Option<Answer> {
        let method = asked.method().parse::<Method>().expect("routes begin with a method");
        let mut request = self.http.request(method, format!("{}{}", self.apis[asked.api], asked.path()));
        request = request.bearer_auth(&self.tokens[&asked.person]).timeout(patience);
        if let Some(key) = &asked.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(token) = &asked.at_least {
            request = request.header("Cirrus-At-Least", token);
        }
        if !asked.body.is_null() {
            request = request.json(&asked.body);
        }
        let began = self.history.now();
        let answer = answer(request).await;
        self.history.note(Record { began, ended: self.history.now(), asked, answer: answer.clone() });
        answer
    }
}

fn choose(rng: &mut StdRng, tenant: Tenant, known: &mut Vec<ResourceId>, key: &str, grows: bool) -> Write {
    let [create, delete] = if grows { [55, 70] } else { [10, 65] };
    let dice = rng.random_range(0..100);
    let Some(one) = known.choose(rng).copied().filter(|_| dice >= create) else {
        let zone = *["zone-a", "zone-b"].choose(rng).expect("there are two");
        return Write::server(Some(tenant.cell).filter(|_| rng.random()), zone, key, rng.random_range(1..5));
    };
    if dice < delete {
        known.retain(|id| *id != one);
        Write::delete(one)
    } else if dice < 88 {
        Write::resize(one, rng.random_range(1..5))
    } else {
        Write::act(one, ["stop", "start", "reboot"].choose(rng).expect("there are three"))
    }
}

/// The answer; none when it did not come whole and in time.
async fn answer(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let position = response.headers().get("Cirrus-Position").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.bytes().await.ok()?;
    Some(Answer { status, position, body: serde_json::from_slice(&body).unwrap_or_default() })
}
