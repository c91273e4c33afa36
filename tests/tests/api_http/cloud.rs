//! The platform that all tests share, and what a caller of it sees.

use api::{
    ApiConfig, Ground,
    auth::{
        IssuerConfig, Scope,
        mint::{SigningKey, TokenContent},
        source::KeySource,
    },
    config::Limits,
};
use domain::{
    command::Command,
    id::CommandId,
    people::{Actor, Principal},
};
use journal::{
    birth::{self, Durability},
    caller::Caller,
    inbox::Capacity,
    kafka::{KafkaLog, KafkaMembership, KafkaSettings},
    log::Log,
    tail::Tail,
    topics::Journal,
};
use projections::{
    database::{Database, Settings},
    runner::Runner,
};
use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use schemas::{
    command::CommandRecord,
    record::{Digest, Origin},
};
use serde_json::{Value, json};
use std::{
    num::NonZeroU32,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tests::servers::{Kafka, Postgres};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use uuid::Uuid;
use workers::decider::{
    advice,
    shell::{Decider, Topics},
    snapshot::NoSnapshots,
};

pub const ISSUER: &str = "https://id.test";
/// Who runs the platform.
pub const OPERATOR: &str = "olga";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A platform with two APIs.
pub struct Cloud {
    pub runtime: Runtime,
    pub journal: Journal,
    apis: [String; 2],
    key: SigningKey,
    http: Client,
    _state: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

/// The platform, started by the first test that asks.
pub fn cloud() -> &'static Cloud {
    static CLOUD: OnceLock<Cloud> = OnceLock::new();
    CLOUD.get_or_init(Cloud::start)
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The same, if it is a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{self:?}");
        self
    }

    /// The slug of the problem.
    #[track_caller]
    pub fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_else(|| panic!("no problem: {self:?}"));
        kind.strip_prefix("/problems/").unwrap()
    }

    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    pub fn position(&self) -> &str {
        self.header("cirrus-position")
    }
}

/// A request on its way.
pub struct Ask<'a> {
    cloud: &'a Cloud,
    request: reqwest::RequestBuilder,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    /// With a key that nobody has used.
    pub fn fresh(self) -> Self {
        let key = self.cloud.unique("key");
        self.key(&key)
    }

    pub fn at_least(self, answer: &Answer) -> Self {
        self.header("Cirrus-At-Least", answer.position())
    }

    pub fn json(mut self, body: Value) -> Self {
        self.request = self.request.json(&body);
        self
    }

    pub async fn answer(self) -> Answer {
        let response = self.request.timeout(PATIENCE).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }
}

/// A tenant with two cells, and its super administrator.
pub struct Acme {
    pub tenant: String,
    pub admin: String,
    pub cells: [String; 2],
}

impl Acme {
    pub fn path(&self) -> String {
        format!("/v1/tenants/{}", self.tenant)
    }

    pub fn resources(&self) -> String {
        format!("{}/resources", self.path())
    }
}

/// An order of a network at the tenant itself.
pub fn network(name: &str) -> Value {
    json!({ "kind": "network", "name": name, "spec": { "cidr": "10.0.0.0/24" } })
}

/// An order of a server in a cell.
pub fn server(cell: &str, name: &str, vcpus: u64) -> Value {
    json!({ "kind": "server", "cell": cell, "zone": "zone-1", "name": name, "spec": { "vcpus": vcpus, "memory_mib": 2048, "image": "debian-13" } })
}

impl Cloud {
    /// Runs a test's story on the platform's runtime.
    pub fn run<T>(&'static self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }

    /// A name that no other test uses.
    pub fn unique(&self, name: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub fn token(&self, subject: &str) -> String {
        let content = TokenContent { issuer: ISSUER, audience: "cirrus", subject, name: None, lifetime: Duration::from_secs(3600) };
        self.key.sign(content, SystemTime::now()).unwrap()
    }

    /// A request to the first API.
    pub fn ask(&self, subject: &str, method: Method, path: &str) -> Ask<'_> {
        self.ask_at(0, subject, method, path)
    }

    /// A request to one of the two APIs.
    pub fn ask_at(&self, api: usize, subject: &str, method: Method, path: &str) -> Ask<'_> {
        let request = self.http.request(method, format!("{}{path}", self.apis[api])).bearer_auth(self.token(subject));
        Ask { cloud: self, request }
    }

    pub fn get(&self, subject: &str, path: &str) -> Ask<'_> {
        self.ask(subject, Method::GET, path)
    }

    pub fn post(&self, subject: &str, path: &str, body: Value) -> Ask<'_> {
        self.ask(subject, Method::POST, path).json(body)
    }

    /// A request without a token.
    pub fn bare(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { cloud: self, request: self.http.request(method, format!("{}{path}", self.apis[0])) }
    }

    /// Opens a tenant with room for ten networks and a hundred processors.
    pub async fn acme(&self) -> Acme {
        let admin = self.unique("ada");
        let body = json!({
            "reference": self.unique("acme"), "name": "Acme", "administrator": { "issuer": ISSUER, "subject": admin },
            "limits": { "networks": 10, "servers": 100, "vcpus": 100, "memory_mib": 1_000_000, "volumes": 10, "volume_gib": 1000, "security_groups": 10 },
        });
        let opened = self.post(OPERATOR, "/v1/tenants", body).fresh().answer().await.ok();
        let tenant = opened.id().to_owned();
        let mut cells = Vec::new();
        for name in ["blue", "green"] {
            let cell = self.post(&admin, &format!("/v1/tenants/{tenant}/cells"), json!({ "name": name })).fresh().answer().await.ok();
            cells.push(cell.id().to_owned());
        }
        Acme { tenant, admin, cells: cells.try_into().unwrap() }
    }

    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let state = tempfile::tempdir().unwrap();
        let (stop, stopped) = watch::channel(false);
        let key = SigningKey::open_or_create(&state.path().join("issuer.pem"), &state.path().join("jwks.json")).unwrap();
        let (journal, apis) = runtime.block_on(start(state.path(), stopped));
        let http = Client::builder().build().unwrap();
        let cloud = Self { runtime, journal, apis, key, http, _state: state, _stop: stop };
        cloud.runtime.block_on(cloud.furnish());
        cloud
    }

    /// A region, two zones and the catalogue.
    async fn furnish(&self) {
        let post = |path: &'static str, body: Value| async move { self.post(OPERATOR, path, body).fresh().answer().await.ok() };
        post("/v1/regions", json!({ "region": "region-1", "title": "Region 1" })).await;
        for zone in ["zone-1", "zone-2"] {
            post("/v1/zones", json!({ "zone": zone, "region": "region-1" })).await;
        }
        for service in schemas::catalogue::bundled() {
            post("/v1/services", serde_json::to_value(service).unwrap()).await;
        }
        post("/v1/flavors", json!({ "name": "m1.small", "vcpus": 1, "memory_mib": 2048 })).await;
    }
}

async fn start(state: &Path, stopped: watch::Receiver<bool>) -> (Journal, [String; 2]) {
    let settings = KafkaSettings::plaintext(Kafka::shared().bootstrap());
    let journal = Journal { id: Uuid::from_u128(rand::random()), generation: Kafka::shared().generation(), partitions: 4 };
    let made = settings.clone();
    tokio::task::spawn_blocking(move || birth::create(&made, &journal, Durability::SINGLE_BROKER)).await.unwrap().unwrap();
    let log = |topic: String| KafkaLog::new(&settings, &topic, journal.all_partitions()).unwrap();
    let database = Database::connect(&Settings::new(Postgres::shared().database())).unwrap();
    database.migrate().await.unwrap();
    database.remember(&journal).await.unwrap();

    let topics = Topics {
        events: Box::new(log(journal.events())),
        commands: Box::new(log(journal.commands())),
        reports: Box::new(log(journal.topic_of(Origin::Reports))),
    };
    let membership = KafkaMembership::join(&settings, &journal.commands(), &format!("deciders-{}", journal.id)).unwrap();
    let decider = Decider::start(journal, topics, Box::new(membership), Box::new(NoSnapshots)).unwrap();
    let adviser = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let advice_url = format!("http://{}", adviser.local_addr().unwrap());
    let router = advice::router(decider, journal, Arc::new(String::new));
    tokio::spawn(async move { axum_serve(adviser, router).await });
    let runner = Runner::new(database.clone(), Arc::new(log(journal.events())), journal, stopped.clone());
    tokio::spawn(runner.run());

    appoint(&journal, &log(journal.commands()), &log(journal.topic_of(Origin::Reports)), &log(journal.events())).await;
    let mut apis = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        apis.push(format!("http://{}", listener.local_addr().unwrap()));
        let (commands, events) = (log(journal.commands()), log(journal.events()));
        let (config, database) = (config(state, &advice_url), database.clone());
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let ground = Ground { journal, commands: &commands, events: &events, checkpoints: &[], database, metrics: None };
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            api::serve_on(listener, config, ground, until).await.unwrap();
        });
    }
    (journal, apis.try_into().unwrap())
}

/// The decider's own routes, served as its role does.
async fn axum_serve(listener: TcpListener, router: axum::Router) {
    axum::serve(listener, router).await.unwrap();
}

fn config(state: &Path, adviser: &str) -> ApiConfig {
    let issuer = IssuerConfig {
        issuer: ISSUER.into(),
        audience: "cirrus".into(),
        source: KeySource::File(state.join("jwks.json")),
        scope: Scope::Platform,
    };
    ApiConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        issuers: vec![issuer],
        position_key_files: vec![state.join("positions.key")],
        master_key_file: state.join("master.key"),
        older_master_key_files: vec![],
        deciders: vec![adviser.to_owned()],
        limits: Limits {
            refusals_at_once: NonZeroU32::new(20).unwrap(),
            refusals_per_minute: NonZeroU32::new(1).unwrap(),
            ..Limits::default()
        },
    }
}

/// Makes [`OPERATOR`] the first operator, as the console does.
async fn appoint(journal: &Journal, commands: &dyn Log, reports: &dyn Log, events: &dyn Log) {
    let tail = Tail::open(events, journal, &[], Capacity::default()).unwrap();
    let caller = Caller::start(*journal, commands, Some(reports), tail, |_| {}).unwrap();
    let operator = Principal { issuer: ISSUER.into(), subject: OPERATOR.into() };
    let record = CommandRecord {
        id: CommandId(Uuid::from_u128(rand::random())),
        tenant: None,
        actor: Actor::Service("console".into()),
        digest: Digest::of(b"appoint"),
        request: "appoint".into(),
        traceparent: None,
        at: None,
        expires: (SystemTime::now() + PATIENCE).into(),
        after_platform: 0,
        command: Command::AppointOperator { operator },
    };
    let outcome = tokio::time::timeout(PATIENCE, caller.call(Origin::Reports, &record).outcome()).await.expect("a decider in time");
    assert!(outcome.unwrap().commit.events[0].get().contains("operator_appointed"));
}
