//! A portal: somebody who asks a whole platform over HTTP, with tenants of its own.

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::platform::{Platform, server};
use uuid::Uuid;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Roles that have nothing to do with a command's outcome.
const WORKERS: [&str; 4] = ["worker-zone-a", "worker-zone-b", "worker-regional", "provider-sim"];

/// Asks the first API process as the administrator of all its tenants.
pub struct Portal {
    http: Client,
    api: String,
    token: String,
    tenants: Vec<Tenant>,
}

struct Tenant {
    id: String,
    cell: String,
}

impl Portal {
    /// Opens so many tenants without limits that could be reached.
    pub async fn open(platform: &Platform, tenants: usize) -> anyhow::Result<Self> {
        let http = Client::builder().timeout(PATIENCE).tcp_nodelay(true).build()?;
        let mut portal =
            Self { http, api: platform.apis[0].clone(), token: platform.token("ada").to_owned(), tenants: Vec::with_capacity(tenants) };
        let opening = stream::iter(0..tenants).map(|number| portal.open_tenant(platform, number)).buffer_unordered(8);
        portal.tenants = opening.try_collect().await?;
        Ok(portal)
    }

    async fn open_tenant(&self, platform: &Platform, number: usize) -> anyhow::Result<Tenant> {
        let limits = json!({"servers": 1_i64 << 40, "vcpus": 1_i64 << 40, "memory_mib": 1_i64 << 50});
        let body = json!({"reference": format!("bench-{number}"), "name": format!("Bench {number}"),
            "administrator": {"issuer": "https://cirrus.development", "subject": "ada"}, "limits": limits, "cell_default": limits});
        let opened = platform.call(0, "trace", Method::POST, "/v1/tenants", Some(&format!("bench-{number}")), body).await?;
        ensure!(opened.status.is_success(), "{opened:?}");
        let id = opened.body["id"].as_str().context("a tenant has an id")?.to_owned();
        let cell = self.write(Method::POST, &format!("/v1/tenants/{id}/cells"), &json!({"name": "cell"})).await?;
        let cell = cell["id"].as_str().context("a cell has an id")?.to_owned();
        Ok(Tenant { id, cell })
    }

    /// Orders a server for a tenant, by its number.
    pub async fn claim(&self, tenant: usize) -> anyhow::Result<()> {
        let Tenant { id, cell } = &self.tenants[tenant % self.tenants.len()];
        self.write(Method::POST, &format!("/v1/tenants/{id}/resources"), &server(cell, "server")).await.map(|_| ())
    }

    /// Gives the cell of a tenant another name.
    pub async fn rename(&self, tenant: usize) -> anyhow::Result<()> {
        let Tenant { id, cell } = &self.tenants[tenant % self.tenants.len()];
        self.write(Method::PATCH, &format!("/v1/tenants/{id}/cells/{cell}"), &json!({"name": Uuid::new_v4()})).await.map(|_| ())
    }

    /// Waits until the read models show so many resources of all tenants.
    pub async fn shows(&self, resources: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shown = 0;
            for Tenant { id, .. } in &self.tenants {
                let request = self.http.get(format!("{}/v1/tenants/{id}", self.api)).bearer_auth(&self.token);
                let tenant: Value = request.send().await?.json().await?;
                shown += tenant["resources"].as_u64().unwrap_or(0);
            }
            if shown == resources as u64 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{shown} of {resources} resources are shown");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn write(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}{path}", self.api)).bearer_auth(&self.token);
        let response = request.header("Idempotency-Key", Uuid::new_v4().to_string()).json(body).send().await?;
        let status = response.status();
        let answer = response.json().await?;
        // 202 would be an answer without an outcome.
        ensure!(status.is_success() && status != 202, "{path}: {status}: {answer}");
        Ok(answer)
    }
}

/// Holds everything that would act upon an order, so that what is measured ends with the outcome.
pub fn hold_workers(platform: &Platform) -> anyhow::Result<()> {
    WORKERS.iter().try_for_each(|role| platform.signal(role, "STOP"))
}
