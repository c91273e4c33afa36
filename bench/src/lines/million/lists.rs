//! Pages of a filtered list over HTTP, beside the bare query that finds their rows.
//!
//! Thirty-two readers ask ten times a second each, for the first page or for the ten-thousandth, while servers are ordered and projected. Ours is
//! the API with all that it does: token, rights, position, page token, JSON. The peer is the one statement that finds the rows through the index that
//! fits, prepared, on a connection a reader. Reads are timed from when they were due.

use super::Shown;
use crate::{
    history,
    measure::{Goal, Row, Scale},
};
use anyhow::{Context, ensure};
use api::{
    ApiConfig,
    auth::{
        IssuerConfig,
        mint::{SigningKey, TokenContent},
    },
};
use hdrhistogram::Histogram;
use reqwest::Client;
use serde_json::Value;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tests::cloud::person;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// Readers.
const READERS: u32 = 32;

/// Time between two reads of one reader.
const PAUSE: Duration = Duration::from_millis(100);

/// Time between two orders: a hundred a second.
const BETWEEN_WRITES: Duration = Duration::from_millis(10);

/// Items of a page.
const LIMIT: usize = 50;

/// The filter: half of the resources.
const ZONE: &str = "north-a";

/// A place in the list: seq of the creation, partition, id.
type Place = (i64, i32, Uuid);

pub fn rows(runtime: &Runtime, scale: &Scale, shown: &mut Shown, resources: usize) -> anyhow::Result<Vec<Row>> {
    let state = tempfile::tempdir()?;
    let portal = Arc::new(runtime.block_on(Portal::open(state.path(), shown))?);
    // Half of the resources are in the zone, and the last of the pages that all exist is asked for.
    let far = (resources / 2 / LIMIT).min(10_000);
    let mut rows = Vec::new();
    for page in [1, far] {
        let (token, after) = runtime.block_on(portal.walk(page))?;
        let url = portal.url(token.as_deref());
        let [mut ours, mut bare] = [const { Vec::new() }; 2];
        for _ in 0..scale.runs {
            let time = Duration::from_secs(scale.amount(10, 4) as u64);
            ours.push(while_writing(shown, || runtime.block_on(read_pages(&portal, &url, time)))?);
            let tenant = shown.tenant.0;
            let sql_url = shown.url.clone();
            bare.push(while_writing(shown, || runtime.block_on(read_rows(&sql_url, tenant, after, time)))?);
        }
        for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
            let at = |histograms: &[Histogram<u64>]| -> Vec<f64> {
                histograms.iter().map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3).collect()
            };
            let what = format!("page {page} of a filtered list over {resources} resources, over HTTP, {name}");
            eprintln!("  {what}: {:.2?} {:.2?}", at(&ours), at(&bare));
            let goal = (name == "p99").then_some(Goal::AtMost(3.0));
            rows.push(Row::beside(what, "ms", &at(&ours), "its statement alone", &at(&bare), goal));
        }
    }
    Ok(rows)
}

/// Measures while somebody orders servers and the read models follow.
fn while_writing<T>(shown: &mut Shown, measure: impl FnOnce() -> T) -> T {
    let (done, tenant) = (AtomicBool::new(false), shown.tenant);
    let cloud = &mut shown.cloud;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let cell = cloud.create_cell(tenant, &Uuid::new_v4().to_string());
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                history::order(cloud, tenant, cell, number);
                cloud.records.clear();
                std::thread::sleep(BETWEEN_WRITES);
            }
        });
        let measured = measure();
        done.store(true, Ordering::Relaxed);
        measured
    })
}

/// An API in this process, and somebody who reads from it.
struct Portal {
    http: Client,
    list: String,
    token: String,
}

impl Portal {
    async fn open(state: &Path, shown: &Shown) -> anyhow::Result<Self> {
        let (olga, audience) = (person("olga"), "cirrus");
        let jwks = state.join("jwks.json");
        let key = SigningKey::open_or_create(&state.join("issuer.pem"), &jwks)?;
        let content = TokenContent { issuer: &olga.issuer, audience, subject: &olga.subject, name: None, lifetime: super::PATIENCE };
        let token = key.sign(content, SystemTime::now())?;
        let issuer: IssuerConfig = serde_json::from_value(
            serde_json::json!({"issuer": olga.issuer, "audience": audience, "scope": "platform", "source": {"file": jwks}}),
        )?;
        let config = ApiConfig {
            listen: "127.0.0.1:0".parse()?,
            issuers: vec![issuer],
            position_key_files: vec![state.join("positions.key")],
            master_key_file: state.join("master.key"),
            older_master_key_files: vec![],
            deciders: vec![],
            limits: Default::default(),
        };
        let listener = TcpListener::bind(config.listen).await?;
        let list = format!("http://{}/v1/tenants/{}/resources?zone={ZONE}", listener.local_addr()?, shown.tenant);
        let (database, journal, events) = (shown.database.clone(), shown.cloud.journal, shown.cloud.twin.clone());
        let checkpoints = database.checkpoints().await?;
        tokio::spawn(async move {
            // Nobody writes through it: any log does for the commands.
            let ground = api::Ground { journal, commands: &events, events: &events, checkpoints: &checkpoints, database, metrics: None };
            if let Err(problem) = api::serve_on(listener, config, ground, std::future::pending()).await {
                eprintln!("the API ended: {problem}");
            }
        });
        Ok(Self { http: Client::builder().timeout(Duration::from_secs(60)).tcp_nodelay(true).build()?, list, token })
    }

    fn url(&self, page: Option<&str>) -> String {
        let page = page.map_or(String::new(), |token| format!("&page={token}"));
        format!("{}&limit={LIMIT}{page}", self.list)
    }

    /// The token of a page, from 1, and the place behind which it begins.
    async fn walk(&self, page: usize) -> anyhow::Result<(Option<String>, Place)> {
        let (mut token, mut after) = (None, (0, 0, Uuid::nil()));
        let mut left = (page - 1) * LIMIT;
        while left > 0 {
            let limit = left.min(1_000);
            let page = token.as_deref().map_or(String::new(), |token| format!("&page={token}"));
            let answer = self.get(&format!("{}&limit={limit}{page}", self.list)).await?;
            let answer: Value = serde_json::from_slice(&answer)?;
            let items = answer["items"].as_array().context("a list has items")?;
            ensure!(items.len() == limit, "the list has ended");
            let last = items.last().and_then(|last| last["id"].as_str()).context("an item has an id")?;
            (token, after.2) = (answer["next"].as_str().map(str::to_owned), last.parse()?);
            left -= limit;
        }
        Ok((token, after))
    }

    async fn get(&self, url: &str) -> anyhow::Result<bytes::Bytes> {
        let response = self.http.get(url).bearer_auth(&self.token).send().await?;
        ensure!(response.status().is_success(), "{url}: {}: {}", response.status(), response.text().await?);
        Ok(response.bytes().await?)
    }
}

async fn read_pages(portal: &Arc<Portal>, url: &str, time: Duration) -> anyhow::Result<Histogram<u64>> {
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let (portal, url) = (Arc::clone(portal), url.to_owned());
        readers.spawn(async move { paced(reader, time, || async { Ok(drop(portal.get(&url).await?)) }).await });
    }
    together(readers).await
}

async fn read_rows(database: &str, tenant: Uuid, after: Place, time: Duration) -> anyhow::Result<Histogram<u64>> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
    tokio::spawn(connection);
    let current = "SELECT 'resources_v' || version || '_b' || build FROM read_model_builds WHERE current AND model = 'resources'";
    let table: String = client.query_one(current, &[]).await?.get(0);
    // The walk knows the id of the last row before the page; the rest of its place is in its row.
    let place = client.query_opt(&format!("SELECT created_seq, partition FROM {table} WHERE id = $1"), &[&after.2]).await?;
    let (seq, partition): (i64, i32) = place.map_or((0, 0), |row| (row.get(0), row.get(1)));
    let sql = format!(
        "SELECT * FROM {table} WHERE state IS NOT NULL AND tenant = $1 AND zone = '{ZONE}' AND (created_seq, partition, id) > ($2, $3, $4)
         ORDER BY created_seq, partition, id LIMIT {LIMIT}"
    );
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
        tokio::spawn(connection);
        let statement = client.prepare(&sql).await?;
        readers.spawn(async move {
            let read = || async {
                let rows = client.query(&statement, &[&tenant, &seq, &partition, &after.2]).await?;
                ensure!(rows.len() == LIMIT, "{} rows", rows.len());
                Ok(())
            };
            paced(reader, time, read).await
        });
    }
    together(readers).await
}

/// Reads every [`PAUSE`], one after the other; microseconds from when each was due.
async fn paced<F: Future<Output = anyhow::Result<()>>>(
    reader: u32,
    time: Duration,
    read: impl Fn() -> F,
) -> anyhow::Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    // The first read connects.
    read().await?;
    let begin = Instant::now() + Duration::from_millis(200) + PAUSE * reader / READERS;
    let mut due = begin;
    while due < begin + time {
        tokio::time::sleep_until(due.into()).await;
        read().await?;
        histogram.record(u64::try_from(due.elapsed().as_micros())?)?;
        due += PAUSE;
    }
    Ok(histogram)
}

async fn together(mut readers: JoinSet<anyhow::Result<Histogram<u64>>>) -> anyhow::Result<Histogram<u64>> {
    let mut all = Histogram::new(3)?;
    while let Some(one) = readers.join_next().await {
        all.add(one??)?;
    }
    Ok(all)
}
