//! Tokens of the development issuer, and the demo cloud.
//!
//! The demo cloud is opened through the API like any other, with idempotency keys that never change: opened again, it is found as it was.

use crate::{
    config::{Config, Development},
    roles,
};
use anyhow::{Context, bail};
use api::auth::mint::{SigningKey, TokenContent};
use clap::Args;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    time::{Duration, SystemTime},
};

/// Tokens are for trying things: they outlive a day's work.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Each person of the demo cloud and what they are in it.
const PEOPLE: [(&str, &str); 5] = [
    ("olga", "operator of the platform"),
    ("ada", "super administrator of the tenant"),
    ("ben", "user of the cell production"),
    ("vera", "viewer of the tenant"),
    ("trace", "opens and runs the tenants of a trace"),
];

#[derive(Args)]
pub struct TokenArgs {
    /// Whom it is for: the `sub`.
    subject: String,
}

/// Prints a token.
pub fn token(config: &Config, args: &TokenArgs) -> anyhow::Result<()> {
    println!("{}", mint(development(config)?, &args.subject)?);
    Ok(())
}

fn development(config: &Config) -> anyhow::Result<&Development> {
    config.development.as_ref().context("the configuration has no [development] issuer")
}

fn mint(development: &Development, subject: &str) -> anyhow::Result<String> {
    let key = SigningKey::open_or_create(&development.private_key_file, &development.jwks_file)?;
    let content = TokenContent { issuer: &development.issuer, audience: &development.audience, subject, name: None, lifetime: LIFETIME };
    Ok(key.sign(content, SystemTime::now())?)
}

/// Opens the demo cloud and shows how to go on.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let development = development(&config)?;
    let listen = config.api.as_ref().context("the configuration has no [api]")?.listen;
    let tokens: BTreeMap<&str, String> =
        PEOPLE.iter().map(|(person, _)| Ok((*person, mint(development, person)?))).collect::<anyhow::Result<_>>()?;
    write_tokens(development, &tokens)?;
    for operator in ["olga", "trace"] {
        roles::operator::appoint(&config, &development.issuer, operator).await?;
    }
    let mut cloud = Cloud { http: Client::new(), base: format!("http://{listen}"), position: None };
    let olga = &tokens["olga"];
    cloud.open_platform(olga, &development.zones).await?;
    let principal = |subject: &str| json!({"issuer": development.issuer, "subject": subject});
    let tenant = json!({"reference": "demo", "name": "Demo", "administrator": principal("ada"), "labels": {"purpose": "demo"}});
    let tenant = id(&cloud.write(olga, Method::POST, "/v1/tenants", "demo-tenant", &tenant).await?)?;
    let ada = &tokens["ada"];
    let path = format!("/v1/tenants/{tenant}");
    let mut cells = Vec::new();
    for name in ["production", "testing"] {
        cells.push(id(&cloud
            .write(ada, Method::POST, &format!("{path}/cells"), &format!("demo-cell-{name}"), &json!({"name": name}))
            .await?)?);
    }
    let members = format!("{path}/members");
    let user = json!({"principal": principal("ben"), "role": "cell_user", "cell": cells[0]});
    cloud.write(ada, Method::POST, &members, "demo-member-ben", &user).await?;
    let viewer = json!({"principal": principal("vera"), "role": "tenant_viewer"});
    cloud.write(ada, Method::POST, &members, "demo-member-vera", &viewer).await?;
    show(&config, development, &cloud.base, &tenant, &cells[0], &tokens);
    Ok(())
}

fn write_tokens(development: &Development, tokens: &BTreeMap<&str, String>) -> anyhow::Result<()> {
    let path = &development.tokens_file;
    let document = json!({"issuer": development.issuer, "tokens": tokens});
    let part = path.with_extension("part");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(serde_json::to_string_pretty(&document)?.as_bytes())?;
    std::fs::rename(part, path).with_context(|| format!("cannot write {}", path.display()))
}

fn show(config: &Config, development: &Development, base: &str, tenant: &str, cell: &str, tokens: &BTreeMap<&str, String>) {
    let zone = development.zones.first().map_or("", String::as_str);
    println!("\nThe platform runs.\n");
    println!("  API        {base}   description: {base}/openapi.json   errors: {base}/problems");
    println!("  Kafka      {}", config.kafka.bootstrap);
    println!("  PostgreSQL {}", config.postgres.url);
    println!("  state      {}", config.state.display());
    println!("\nTokens are in {} (valid for 30 days):\n", development.tokens_file.display());
    for (person, role) in PEOPLE {
        println!("  {person:<6} {role}");
    }
    println!("\nGo on with these, as ben:\n");
    println!("  TOKEN={}", tokens["ben"]);
    println!(
        "  curl -s {base}/v1/tenants/{tenant}/resources -H \"Authorization: Bearer $TOKEN\" -H 'Idempotency-Key: first-server' --json '{}'",
        json!({"cell": cell, "kind": "server", "zone": zone, "name": "web-1", "flavor": "m1.small", "spec": {"image": "debian-13"}})
    );
    println!("  curl -s '{base}/v1/tenants/{tenant}/resources?kind=server' -H \"Authorization: Bearer $TOKEN\"");
    println!("  curl -s {base}/v1/tenants/{tenant}/quota -H \"Authorization: Bearer {}\"\n", tokens["ada"]);
}

/// A caller of the API that reads its own writes.
struct Cloud {
    http: Client,
    base: String,
    position: Option<String>,
}

impl Cloud {
    async fn open_platform(&mut self, operator: &str, zones: &[String]) -> anyhow::Result<()> {
        self.write(operator, Method::POST, "/v1/regions", "demo-region", &json!({"region": "region-1", "title": "Region 1"})).await?;
        for zone in zones {
            self.write(operator, Method::POST, "/v1/zones", &format!("demo-{zone}"), &json!({"zone": zone, "region": "region-1"})).await?;
        }
        for service in schemas::catalogue::bundled() {
            let key = format!("demo-{}-v{}", service.name, service.version);
            self.write(operator, Method::POST, "/v1/services", &key, &serde_json::to_value(&service)?).await?;
        }
        for (name, vcpus, memory_mib) in [("m1.small", 1, 2_048), ("m1.medium", 2, 4_096), ("m1.large", 4, 8_192)] {
            let flavor = json!({"name": name, "vcpus": vcpus, "memory_mib": memory_mib});
            self.write(operator, Method::POST, "/v1/flavors", &format!("demo-{name}"), &flavor).await?;
        }
        let tenant = json!({"servers": 100, "vcpus": 200, "memory_mib": 409_600, "volumes": 100, "volume_gib": 10_000, "networks": 10,
            "public_ips": 20, "buckets": 20, "security_groups": 50});
        let cell = json!({"servers": 50, "vcpus": 100, "memory_mib": 204_800, "volumes": 50, "volume_gib": 5_000});
        self.write(operator, Method::PUT, "/v1/quota-defaults", "demo-quota", &json!({"tenant": tenant, "cell": cell})).await?;
        Ok(())
    }

    async fn write(&mut self, token: &str, method: Method, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(token).header("Idempotency-Key", key);
        if let Some(position) = &self.position {
            request = request.header("Cirrus-At-Least", position);
        }
        let response = request.json(body).send().await.context("the API does not answer")?;
        let status = response.status();
        if let Some(position) = response.headers().get("Cirrus-Position").and_then(|v| v.to_str().ok()) {
            self.position = Some(position.to_owned());
        }
        let answer: Value = response.json().await.unwrap_or(Value::Null);
        if !status.is_success() {
            bail!("{method} {path}: {status}: {answer}");
        }
        Ok(answer)
    }
}

fn id(answer: &Value) -> anyhow::Result<String> {
    answer["id"].as_str().map(str::to_owned).with_context(|| format!("the answer has no id: {answer}"))
}
