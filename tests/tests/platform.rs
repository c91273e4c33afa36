//! The whole platform, as its users meet it.

use anyhow::Context;
use chrono::Utc;
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tests::platform::{Platform, server};
use tokio_postgres::NoTls;
use workers::provider::{Admin, Client, Filter, NewObject, Provider};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_create_five_times_through_two_apis_makes_one_server_and_five_equal_answers() -> anyhow::Result<()> {
    let platform = Platform::start().await?;
    let (tenant, cell) = platform.demo().await?;
    let path = format!("/v1/tenants/{tenant}/resources");
    let create = |api: usize| platform.call(api, "ben", Method::POST, &path, Some("five"), server(&cell, "web"));
    let answers = join_all([0, 1, 0, 1, 0].map(create)).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    let id = answers[0].body["id"].as_str().context("an id")?.to_owned();
    let active = |a: &tests::platform::Answer| a.body["phase"] == "active";
    platform.eventually("ben", &format!("{path}/{id}"), "the server is active", active).await?;
    let machines = Admin::new(&platform.provider)?.objects(&Filter::by_tag("resource", &id)).await?;
    assert_eq!(machines.len(), 1, "{machines:?}");
    let other = platform.call(1, "ben", Method::POST, &path, Some("five"), server(&cell, "another")).await?;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "{other:?}");

    // A stranger learns nothing: what is absent and what is another's answer alike.
    let absent = platform.get("trace", &format!("/v1/tenants/{}/resources/{id}", uuid::Uuid::new_v4())).await?;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");

    // The life of the server goes on: stop, resize, delete, and the quota is free again.
    let act = platform.call(0, "ben", Method::POST, &format!("{path}/{id}/actions/stop"), Some("stop"), Value::Null).await?;
    assert!(act.status.is_success(), "{act:?}");
    let stopped = |a: &tests::platform::Answer| a.body["phase"] == "stopped";
    let shown = platform.eventually("ben", &format!("{path}/{id}"), "the server is stopped", stopped).await?;
    let mut spec = shown.body["spec"].clone();
    spec["vcpus"] = json!(2);
    spec.as_object_mut().context("a spec")?.remove("flavor");
    let change = platform.call(1, "ben", Method::PATCH, &format!("{path}/{id}"), Some("resize"), json!({"spec": spec})).await?;
    assert!(change.status.is_success(), "{change:?}");
    let settled = |a: &tests::platform::Answer| a.body["generation"] == a.body["observed_generation"] && a.body["spec"]["vcpus"] == 2;
    platform.eventually("ben", &format!("{path}/{id}"), "the server is resized", settled).await?;
    let delete = platform.call(0, "ben", Method::DELETE, &format!("{path}/{id}"), Some("delete"), Value::Null).await?;
    assert!(delete.status.is_success(), "{delete:?}");
    let free = |a: &tests::platform::Answer| used(&a.body, "servers") == Some(0);
    platform.eventually("ada", &format!("/v1/tenants/{tenant}/quota"), "the quota is free", free).await?;
    assert!(Admin::new(&platform.provider)?.objects(&Filter::by_tag("resource", &id)).await?.is_empty());
    let story = platform.replay(&["show", &id])?;
    for what in ["resource.requested", "resource.provisioned", "resource.stopped", "resource.changed", "resource.deleted"] {
        assert!(story.contains(what), "{what} is missing:\n{story}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_is_raised_only_when_every_process_that_runs_reads_it() -> anyhow::Result<()> {
    let platform = Platform::start().await?;
    let shown = platform.get("olga", "/v1/format").await?;
    let roles: Vec<&str> = shown.body["running"].as_array().context("a list")?.iter().filter_map(|r| r["role"].as_str()).collect();
    assert_eq!((roles, &shown.body["format"]), (vec!["api", "api", "decider", "projector", "worker", "worker", "worker"], &json!(0)));
    let raise = |person, key| platform.call(0, person, Method::PUT, "/v1/format", Some(key), json!({"format": 1}));
    assert_eq!(raise("ada", "a").await?.status, StatusCode::FORBIDDEN);

    let (database, connection) = tokio_postgres::connect(&platform.database, NoTls).await?;
    let connection = tokio::spawn(connection);
    let old = "INSERT INTO running_roles (process, role, reads) VALUES (gen_random_uuid(), 'projector', 0)";
    database.batch_execute(old).await?;
    let refused = raise("olga", "b").await?;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let detail = refused.body["detail"].as_str().context("a sentence")?;
    assert!(detail.contains("reads formats up to 0 is running, projector"), "{detail}");

    database.batch_execute("DELETE FROM running_roles WHERE reads = 0").await?;
    let raised = raise("olga", "b").await?;
    assert_eq!((raised.status, &raised.body["format"]), (StatusCode::OK, &json!(1)), "{raised:?}");
    platform.eventually("olga", "/v1/format", "the format is shown", |a| a.body["format"] == 1).await?;
    drop(database);
    Ok(connection.await??)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_login_everything_works_as_it_does_without() -> anyhow::Result<()> {
    let platform = Platform::start_secured().await?;
    let (tenant, cell) = platform.demo().await?;
    let path = format!("/v1/tenants/{tenant}/resources");
    let created = platform.call(0, "ben", Method::POST, &path, Some("one"), server(&cell, "web")).await?;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let id = created.body["id"].as_str().context("an id")?;
    let active = |a: &tests::platform::Answer| a.body["phase"] == "active";
    platform.eventually("ben", &format!("{path}/{id}"), "the server is active", active).await?;
    platform.replay(&["verify"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_vanishes_at_the_provider_is_shown_as_lost_and_can_be_deleted() -> anyhow::Result<()> {
    let platform = Platform::start().await?;
    let (tenant, cell) = platform.demo().await?;
    let path = format!("/v1/tenants/{tenant}/resources");
    let created = platform.call(0, "ben", Method::POST, &path, Some("one"), server(&cell, "web")).await?;
    let id = created.body["id"].as_str().context("an id")?.to_owned();
    let phase = |wanted: &'static str| move |a: &tests::platform::Answer| a.body["phase"] == wanted;
    let shown = platform.eventually("ben", &format!("{path}/{id}"), "the server is active", phase("active")).await?;
    let external = shown.body["external"].as_str().context("the provider's id")?;
    Admin::new(&platform.provider)?.vanish(external).await?;
    platform.eventually("ben", &format!("{path}/{id}"), "the server is lost", phase("lost")).await?;
    let delete = platform.call(0, "ben", Method::DELETE, &format!("{path}/{id}"), Some("delete"), Value::Null).await?;
    assert!(delete.status.is_success(), "{delete:?}");
    let free = |a: &tests::platform::Answer| used(&a.body, "servers") == Some(0);
    platform.eventually("ada", &format!("/v1/tenants/{tenant}/quota"), "the quota is free", free).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exists_at_the_provider_beside_what_is_on_the_log_is_removed() -> anyhow::Result<()> {
    // given a server that lives, one that is deleted, and the provider's account of both
    let platform = Platform::start().await?;
    let (tenant, cell) = platform.demo().await?;
    let path = format!("/v1/tenants/{tenant}/resources");
    let admin = Admin::new(&platform.provider)?;
    let mut made = Vec::new();
    for name in ["lives", "goes"] {
        let created = platform.call(0, "ben", Method::POST, &path, Some(name), server(&cell, name)).await?;
        let id = created.body["id"].as_str().context("an id")?.to_owned();
        let active = |a: &tests::platform::Answer| a.body["phase"] == "active";
        platform.eventually("ben", &format!("{path}/{id}"), "the server is active", active).await?;
        made.push(admin.objects(&Filter::by_tag("resource", &id)).await?.remove(0));
    }
    let [lives, goes] = <[_; 2]>::try_from(made).map_err(|_| anyhow::anyhow!("two machines"))?;
    let gone = &goes.tags["resource"];
    platform.call(0, "ben", Method::DELETE, &format!("{path}/{gone}"), Some("delete"), Value::Null).await?;
    let absent = |a: &tests::platform::Answer| a.body["phase"] == "deleted";
    platform.eventually("ben", &format!("{path}/{gone}"), "the server is deleted", absent).await?;

    // when a second machine of each name turns up, and one that Cirrus never heard of
    let provider = Client::new(&platform.provider, "somebody", Duration::from_secs(1))?;
    let mut stranger = lives.clone();
    stranger.name = format!("cirrus-{}", uuid::Uuid::new_v4());
    let mut copies = Vec::new();
    for of in [&lives, &goes, &stranger] {
        let copy =
            NewObject { project: of.project.clone(), name: of.name.clone(), properties: of.properties.clone(), tags: of.tags.clone() };
        let made = provider.create(&of.zone, &of.kind, copy, Utc::now() + Duration::from_secs(30)).await;
        copies.push(made.done().context("the provider makes it")?.id);
    }

    // then the twin and the orphan are removed, and nothing else
    let deadline = Instant::now() + tests::platform::DEADLINE;
    let expected = BTreeSet::from([lives.id.clone(), copies[2].clone()]);
    loop {
        let there: BTreeSet<String> = admin.objects(&Filter::default()).await?.into_iter().map(|object| object.id).collect();
        if there == expected {
            break;
        }
        anyhow::ensure!(Instant::now() < deadline, "{there:?} exist, not {expected:?}{}", platform.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // and the log tells why
    let story = platform.replay(&["show", gone])?;
    assert!(story.contains("resource.remains_found") && story.contains("resource.remains_removed"), "{story}");
    let story = platform.replay(&["show", &lives.tags["resource"]])?;
    assert!(story.contains(&copies[0]), "{story}");
    Ok(())
}

/// Scenario: clients create, resize, delete, retry and disconnect at random while the decider, the projector, a worker and an API process are each
/// killed with -9. Whatever they were told was true; no quota was exceeded at any position; what fits was not refused; nothing was built twice; and the
/// read models are what the log says.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_retry_while_roles_are_killed_find_a_whole_log_and_one_machine_a_server() -> anyhow::Result<()> {
    let mut platform = Platform::start().await?;
    let (tenant, cell) = platform.demo().await?;
    let limits = json!({"limits": {"servers": 20, "vcpus": 60}});
    let quota = platform.call(0, "ada", Method::PUT, &format!("/v1/tenants/{tenant}/cells/{cell}/quota"), Some("limits"), limits).await?;
    assert!(quota.status.is_success(), "{quota:?}");
    let clients = Clients {
        http: reqwest::Client::new(),
        apis: platform.apis.clone(),
        token: platform.token("ben").to_owned(),
        path: format!("/v1/tenants/{tenant}/resources"),
        cell: cell.clone(),
        stop: AtomicBool::new(false),
        accepted: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    };
    let clients = Arc::new(clients);
    let running: Vec<_> = (0..64).map(|n| tokio::spawn(Arc::clone(&clients).run(n))).collect();
    for role in ["decider", "projector", "worker-zone-a", "api"] {
        let before = clients.accepted.load(Ordering::Relaxed);
        let deadline = Instant::now() + tests::platform::DEADLINE;
        // Each role is killed only when the platform has gone on after the one before.
        while clients.accepted.load(Ordering::Relaxed) < before + 40 {
            anyhow::ensure!(Instant::now() < deadline, "nothing goes on before {role} is killed{}", platform.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        platform.kill_and_restart(role)?;
    }
    let after = clients.accepted.load(Ordering::Relaxed);
    let deadline = Instant::now() + tests::platform::DEADLINE;
    while clients.accepted.load(Ordering::Relaxed) < after + 40 {
        anyhow::ensure!(Instant::now() < deadline, "nothing goes on after the last kill{}", platform.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    clients.stop.store(true, Ordering::Relaxed);
    for client in join_all(running).await {
        client??;
    }
    assert!(clients.refused.load(Ordering::Relaxed) > 0, "the quota was never reached: the test is too gentle");

    let list = format!("{}?limit=200", clients.path);
    let idle = |a: &tests::platform::Answer| a.body["items"].as_array().is_some_and(|items| items.iter().all(|i| i.get("step").is_none()));
    let shown = platform.eventually("ben", &list, "every step has ended", idle).await?;
    let items = shown.body["items"].as_array().context("items")?;
    let alive: BTreeSet<&str> = items.iter().filter(|i| i["phase"] == "active").filter_map(|i| i["id"].as_str()).collect();
    let machines = Admin::new(&platform.provider)?.objects(&Filter::default()).await?;
    let built: Vec<&str> = machines.iter().filter_map(|m| m.tags.get("resource").map(String::as_str)).collect();
    assert_eq!(built.len(), alive.len(), "one machine a server, and no other");
    assert_eq!(built.iter().copied().collect::<BTreeSet<_>>(), alive);
    platform.replay(&["verify"])?;
    let dump = platform.state.path().join("dump");
    platform.replay(&["dump", &dump.to_string_lossy()])?;
    let (claims, refusals) = tests::quota::check(&dump)?;
    assert!(claims > 0 && refusals > 0, "{claims} claims, {refusals} refusals: the quota was never reached");
    platform.replay(&["rebuild", "--compare"])?;
    Ok(())
}

fn used(quota: &Value, dimension: &str) -> Option<u64> {
    quota["quota"].as_array()?.iter().find(|line| line["dimension"] == dimension)?["used"].as_u64()
}

struct Clients {
    http: reqwest::Client,
    apis: Vec<String>,
    token: String,
    path: String,
    cell: String,
    stop: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Clients {
    async fn run(self: Arc<Self>, number: u64) -> anyhow::Result<()> {
        let mut rng = StdRng::seed_from_u64(number);
        let mut mine: Vec<String> = Vec::new();
        let mut count = 0;
        while !self.stop.load(Ordering::Relaxed) {
            count += 1;
            let key = format!("client-{number}-{count}");
            let dice = rng.random_range(0..10);
            if mine.is_empty() || dice < 4 {
                if let Some(answer) = self.write(&mut rng, Method::POST, &self.path, &key, server(&self.cell, &key)).await? {
                    mine.push(answer["id"].as_str().context("a created resource has an id")?.to_owned());
                }
            } else if dice < 7 {
                let id = mine.swap_remove(rng.random_range(0..mine.len()));
                self.write(&mut rng, Method::DELETE, &format!("{}/{id}", self.path), &key, Value::Null).await?;
            } else {
                let id = &mine[rng.random_range(0..mine.len())];
                let spec = json!({"image": "debian-13", "vcpus": rng.random_range(1..5), "memory_mib": 2_048});
                self.write(&mut rng, Method::PATCH, &format!("{}/{id}", self.path), &key, json!({"spec": spec})).await?;
            }
        }
        Ok(())
    }

    /// Sends until it is decided: a lost answer, a 5xx or a 202 is sent again under the same key, now and then by a client that does not wait for
    /// the first answer. The outcome, or none when it was refused.
    async fn write(&self, rng: &mut StdRng, method: Method, path: &str, key: &str, body: Value) -> anyhow::Result<Option<Value>> {
        let deadline = Instant::now() + tests::platform::DEADLINE;
        loop {
            anyhow::ensure!(Instant::now() < deadline, "{method} {path} ({key}) was never decided");
            let api = &self.apis[rng.random_range(0..self.apis.len())];
            let patience = if rng.random_range(0..10) == 0 { Duration::from_millis(3) } else { Duration::from_secs(20) };
            let request = self.http.request(method.clone(), format!("{api}{path}")).bearer_auth(&self.token).header("Idempotency-Key", key);
            let answer = request.json(&body).timeout(patience).send().await;
            let Ok(answer) = answer else {
                tokio::time::sleep(Duration::from_millis(rng.random_range(1..50))).await;
                continue;
            };
            match answer.status().as_u16() {
                200 | 201 => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    return Ok(Some(answer.json().await?));
                }
                // Busy, over quota, or gone meanwhile.
                403 | 404 | 409 | 422 => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
                202 | 429 | 500..=599 => tokio::time::sleep(Duration::from_millis(rng.random_range(10..100))).await,
                status => anyhow::bail!("{method} {path}: {status} {}", answer.text().await.unwrap_or_default()),
            }
        }
    }
}
