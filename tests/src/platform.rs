//! The whole platform as a user runs it: real servers, and every role a process of the real binary.

use crate::servers::{Kafka, Postgres, USER};
use anyhow::{Context, bail, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A running platform with its demo cloud. Dropping it kills everything.
pub struct Platform {
    /// The broker.
    pub kafka: Kafka,
    /// The database server.
    pub postgres: Postgres,
    /// The URL of the read models.
    pub database: String,
    /// Base URLs of the API processes.
    pub apis: Vec<String>,
    /// Base URLs of the deciders' health and figures; of a single one the first.
    pub deciders: Vec<String>,
    /// Base URL of the provider.
    pub provider: String,
    /// Configuration, logs, keys.
    pub state: tempfile::TempDir,
    roles: BTreeMap<String, Role>,
    tokens: BTreeMap<String, String>,
}

/// One process of the binary, which dies with the test however the test dies: its wrapper kills it when the pipe to the test closes.
struct Role {
    wrapper: Child,
    pid: u32,
    order: Order,
}

/// How a process is started.
#[derive(Debug, Clone)]
struct Order {
    binary: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// How many of each there are, and how they talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One of each role but two API processes.
    Single,
    /// The same on a journal of as many partitions as in production.
    Wide,
    /// The same over TLS, with a login.
    Secured,
    /// Two of each role, on a journal with three copies.
    Redundant,
}

/// The roles that act on the platform, by the names of their processes. The second of each has `-2` behind it.
const ROLES: [(&str, &[&str]); 6] = [
    ("decider", &["decider"]),
    ("projector", &["projector"]),
    ("worker-zone-a", &["worker", "--zone", "zone-a"]),
    ("worker-zone-b", &["worker", "--zone", "zone-b"]),
    ("worker-regional", &["worker", "--regional"]),
    ("api", &["api"]),
];

const WRAPPER: &str = r#""$@" </dev/null >>"$LOG" 2>&1 & echo $!; cat >/dev/null; kill -KILL $! 2>/dev/null"#;

impl Platform {
    /// Starts everything and opens the demo cloud.
    pub async fn start() -> anyhow::Result<Self> {
        Self::on(Kafka::start(), Postgres::start(), Shape::Single, None).await
    }

    /// The same on a broker that is there already.
    pub async fn start_on(kafka: Kafka) -> anyhow::Result<Self> {
        Self::on(kafka, Postgres::start(), Shape::Single, None).await
    }

    /// The same with 64 partitions.
    pub async fn start_wide() -> anyhow::Result<Self> {
        Self::on(Kafka::start(), Postgres::start(), Shape::Wide, None).await
    }

    /// The same over TLS, with a login at both servers.
    pub async fn start_secured() -> anyhow::Result<Self> {
        Self::on(Kafka::secured(), Postgres::secured(), Shape::Secured, None).await
    }

    /// Three brokers, and two processes of every role: what one of them cannot do any more, another does. The processes are of the release whose
    /// binaries lie in `release`, or else of this one.
    pub async fn start_redundant(release: Option<&Path>) -> anyhow::Result<Self> {
        Self::on(Kafka::cluster(), Postgres::start(), Shape::Redundant, release).await
    }

    async fn on(kafka: Kafka, postgres: Postgres, shape: Shape, release: Option<&Path>) -> anyhow::Result<Self> {
        let state = tempfile::Builder::new().prefix("cirrus-platform.").tempdir()?;
        let ports = Ports::free();
        let database = postgres.database();
        let configuration = configuration(state.path(), &kafka, &postgres, &database, shape, &ports);
        std::fs::create_dir_all(state.path().join("keys"))?;
        std::fs::write(state.path().join("cirrus.toml"), configuration)?;
        let provider = format!("127.0.0.1:{}", ports.provider);
        let mut platform = Self {
            kafka,
            postgres,
            database,
            apis: ports.api.map(|port| format!("http://127.0.0.1:{port}")).to_vec(),
            deciders: ports.decider.map(|port| format!("http://127.0.0.1:{port}")).to_vec(),
            provider: format!("http://{provider}"),
            state,
            roles: BTreeMap::new(),
            tokens: BTreeMap::new(),
        };
        let (replication, in_sync) = if shape == Shape::Redundant { ("3", "2") } else { ("1", "1") };
        let partitions = if shape == Shape::Wide { "64" } else { "4" };
        platform.run(&["journal", "create", "--partitions", partitions, "--replication", replication, "--min-insync-replicas", in_sync])?;
        // The API reads the public key of the development issuer when it starts.
        platform.run(&["token", "nobody"])?;
        let provider_state = platform.state.path().join("provider").to_string_lossy().into_owned();
        platform.launch("provider-sim", Order::new(release, &["provider-sim", "--state", &provider_state, "--listen", &provider]))?;
        for (name, arguments) in ROLES {
            platform.launch(name, Order::new(release, arguments))?;
            if shape == Shape::Redundant || name == "api" {
                let second = Order { variables: ports.second(platform.state.path()), ..Order::new(release, arguments) };
                platform.launch(&format!("{name}-2"), second)?;
            }
        }
        platform.wait_ready().await?;
        platform.run(&["demo"])?;
        let tokens: Value = serde_json::from_str(&std::fs::read_to_string(platform.state.path().join("tokens.json"))?)?;
        for (person, token) in tokens["tokens"].as_object().context("no tokens")? {
            platform.tokens.insert(person.clone(), token.as_str().context("a token is text")?.to_owned());
        }
        Ok(platform)
    }

    /// Runs the binary to its end and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command("cirrus", arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "cirrus {arguments:?}: {said}{}", self.logs());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `cirrus-replay` to its end and gives what it printed; an error when it found something wrong.
    pub fn replay(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command("cirrus-replay", arguments).output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "cirrus-replay {arguments:?}: {out}{err}");
        Ok(out.into_owned())
    }

    /// Kills a role as by `kill -9` and starts it again.
    pub fn kill_and_restart(&mut self, name: &str) -> anyhow::Result<()> {
        let order = self.end(name)?;
        self.launch(name, order)
    }

    /// Kills a role as by `kill -9` and starts it again with other variables of the environment beside its own.
    pub fn restart_with(&mut self, name: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut order = self.end(name)?;
        order.variables.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
        order.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.launch(name, order)
    }

    /// Ends a role, as an operator does or as by `kill -9`, and starts it again as it is in another release, or in this one.
    pub fn replace(&mut self, name: &str, release: Option<&Path>, politely: bool) -> anyhow::Result<()> {
        if politely {
            self.signal(name, "TERM")?;
            let deadline = Instant::now() + DEADLINE;
            while self.roles[name].is_alive() {
                ensure!(Instant::now() < deadline, "{name} does not end within {DEADLINE:?}{}", self.logs());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let order = Order { binary: self::binary("cirrus", release), ..self.end(name)? };
        self.launch(name, order)
    }

    /// Sends a signal to a role, by name: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid(name)?.to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status()?;
        ensure!(sent.success(), "{name} ({pid}) cannot be told {signal}");
        Ok(())
    }

    /// The process of a role.
    pub fn pid(&self, name: &str) -> anyhow::Result<u32> {
        Ok(self.roles.get(name).with_context(|| format!("no role {name}"))?.pid)
    }

    /// The file that names the process of a role.
    pub fn pid_file(&self, name: &str) -> PathBuf {
        self.state.path().join(format!("{name}.pid"))
    }

    /// The names of all roles.
    pub fn roles(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    /// Starts again what has ended by itself, as a supervisor does, and says which these were.
    pub fn restart_dead(&mut self) -> anyhow::Result<Vec<String>> {
        let dead: Vec<String> = self.roles.iter().filter(|(_, role)| !role.is_alive()).map(|(name, _)| name.clone()).collect();
        for name in &dead {
            self.kill_and_restart(name)?;
        }
        Ok(dead)
    }

    fn end(&mut self, name: &str) -> anyhow::Result<Order> {
        let mut role = self.roles.remove(name).with_context(|| format!("no role {name}"))?;
        role.kill();
        Ok(role.order.clone())
    }

    /// A token of one of the demo cloud's people.
    pub fn token(&self, person: &str) -> &str {
        &self.tokens[person]
    }

    /// One request; `key` makes it a write.
    pub async fn call(
        &self,
        api: usize,
        person: &str,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Value,
    ) -> anyhow::Result<Answer> {
        let request = Client::new().request(method, format!("{}{path}", self.apis[api])).bearer_auth(self.token(person));
        let request = match key {
            Some(key) => request.header("Idempotency-Key", key).json(&body),
            None => request,
        };
        let response = request.timeout(Duration::from_secs(30)).send().await?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (position, etag) = (header("Cirrus-Position"), header("ETag"));
        Ok(Answer { status: response.status(), position, etag, body: response.json().await.unwrap_or(Value::Null) })
    }

    /// A read.
    pub async fn get(&self, person: &str, path: &str) -> anyhow::Result<Answer> {
        self.call(0, person, Method::GET, path, None, Value::Null).await
    }

    /// The demo tenant and its cell *production*, as paths of the API.
    pub async fn demo(&self) -> anyhow::Result<(String, String)> {
        // Vera is in no other tenant, whatever a test has opened.
        let me = self.get("vera", "/v1/me").await?;
        let tenant = me.body["tenants"][0]["tenant"].as_str().context("vera has no tenant")?.to_owned();
        let cells = self.get("ada", &format!("/v1/tenants/{tenant}/cells")).await?;
        let cells = cells.body["items"].as_array().context("no cells")?.clone();
        let cell = cells.iter().find(|c| c["name"] == "production").and_then(|c| c["id"].as_str()).context("no cell production")?;
        Ok((tenant, cell.to_owned()))
    }

    /// Asks again until `done` says so.
    pub async fn eventually(&self, person: &str, path: &str, what: &str, done: impl Fn(&Answer) -> bool) -> anyhow::Result<Answer> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.get(person, path).await;
            if let Ok(answer) = &answer
                && done(answer)
            {
                return Ok(answer.clone());
            }
            if Instant::now() > deadline {
                bail!("{what}: not within {DEADLINE:?}; last {answer:?}{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        for api in &self.apis {
            loop {
                let ready = Client::new().get(format!("{api}/readyz")).timeout(Duration::from_secs(2)).send().await;
                if ready.is_ok_and(|r| r.status().is_success()) {
                    break;
                }
                ensure!(Instant::now() < deadline, "{api} is not ready within {DEADLINE:?}{}", self.logs());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// A binary of the workspace with this platform's configuration, to be run.
    pub fn command(&self, binary: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self::binary(binary, None));
        command.args(arguments).env("CIRRUS_CONFIG", self.state.path().join("cirrus.toml")).stdin(Stdio::null());
        command
    }

    fn launch(&mut self, name: &str, order: Order) -> anyhow::Result<()> {
        let log = self.state.path().join(format!("{name}.log"));
        OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new("sh");
        command.args(["-c", WRAPPER, "sh"]).arg(&order.binary).args(&order.arguments);
        command.env("CIRRUS_CONFIG", self.state.path().join("cirrus.toml")).env("LOG", log);
        command.envs(order.variables.iter().map(|(name, value)| (name, value)));
        let mut wrapper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(wrapper.stdout.take().context("a piped output")?).read_line(&mut line)?;
        std::fs::write(self.pid_file(name), &line)?;
        self.roles.insert(name.to_owned(), Role { wrapper, pid: line.trim().parse()?, order });
        Ok(())
    }

    /// The end of every log, for the message of a test that failed.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for name in self.roles.keys() {
            let log = std::fs::read_to_string(self.state.path().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            all += &format!("\n--- {name}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        all
    }
}

impl Order {
    fn new(release: Option<&Path>, arguments: &[&str]) -> Self {
        Self {
            binary: binary("cirrus", release),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            variables: Vec::new(),
        }
    }
}

impl Role {
    /// False as soon as it has ended: its wrapper waits for something else, so a zombie is all that is left of it.
    fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    fn kill(&mut self) {
        // The wrapper ends, too, once its pipe closes; a process that has ended already is no error.
        let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).stderr(Stdio::null()).status();
        drop(self.wrapper.stdin.take());
        let _ = self.wrapper.wait();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its position token.
    pub position: Option<String>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// Its body.
    pub body: Value,
}

/// A binary of a release that lies in a directory; or else of this workspace, built beside the program that runs, or beside the directory in which
/// cargo puts tests.
fn binary(name: &str, release: Option<&Path>) -> PathBuf {
    if let Some(release) = release {
        return release.join(name);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built beside {}: cargo build --workspace --bins", own.display()))
}

/// Ports that are free, and that neither the kernel gives to an outgoing connection nor `dev/servers` to a server.
fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 8_000) as u16;
    std::array::from_fn(|_| {
        let mut ports = std::iter::repeat_with(|| 22_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000).take(8_000);
        ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port between 22000 and 29999")
    })
}

/// Where the roles listen: the first and the second of each.
struct Ports {
    api: [u16; 2],
    decider: [u16; 2],
    projector: [u16; 2],
    provider: u16,
}

impl Ports {
    fn free() -> Self {
        let [a, b, c, d, e, f, provider] = free_ports();
        Self { api: [a, b], decider: [c, d], projector: [e, f], provider }
    }

    /// What makes a process the second of its role.
    fn second(&self, state: &Path) -> Vec<(String, String)> {
        let listens = [("API", self.api), ("DECIDER", self.decider), ("PROJECTOR", self.projector)];
        let mut variables: Vec<_> =
            listens.map(|(role, ports)| (format!("CIRRUS_{role}__LISTEN"), format!("127.0.0.1:{}", ports[1]))).to_vec();
        variables.push(("CIRRUS_STATE".to_owned(), state.join("second").to_string_lossy().into_owned()));
        variables
    }
}

fn configuration(state: &Path, kafka: &Kafka, postgres: &Postgres, url: &str, shape: Shape, ports: &Ports) -> String {
    let Ports { api: [api, _], decider: [decider, decider_2], projector: [projector, _], provider } = ports;
    let second_decider = if shape == Shape::Redundant { format!(", \"http://127.0.0.1:{decider_2}\"") } else { String::new() };
    let (state, bootstrap) = (state.display(), kafka.bootstrap());
    let (kafka_tls, postgres_tls) = if shape == Shape::Secured {
        let kafka = format!(
            "security_protocol = \"sasl_ssl\"\nca_file = {:?}\nsasl_mechanism = \"SCRAM-SHA-512\"\nsasl_user = {USER:?}\nsasl_password_file = {:?}",
            kafka.ca_file(),
            kafka.password_file()
        );
        (kafka, format!("ca_file = {:?}", postgres.ca_file()))
    } else {
        Default::default()
    };
    format!(
        r#"
state = "{state}"
[kafka]
bootstrap = "{bootstrap}"
{kafka_tls}
[postgres]
url = "{url}"
{postgres_tls}
[decider]
listen = "127.0.0.1:{decider}"
[projector]
listen = "127.0.0.1:{projector}"
[worker]
provider = "http://127.0.0.1:{provider}"
region = "region-1"
settle_s = 1
sweep_s = 1
[api]
listen = "127.0.0.1:{api}"
position_key_files = ["{state}/keys/position"]
master_key_file = "{state}/keys/master"
deciders = ["http://127.0.0.1:{decider}"{second_decider}]
[[api.issuers]]
issuer = "https://cirrus.development"
audience = "cirrus"
scope = "platform"
source = {{ file = "{state}/keys/jwks.json" }}
[development]
issuer = "https://cirrus.development"
audience = "cirrus"
private_key_file = "{state}/keys/private.pem"
jwks_file = "{state}/keys/jwks.json"
tokens_file = "{state}/tokens.json"
zones = ["zone-a", "zone-b"]
"#
    )
}

/// An order of a small server.
pub fn server(cell: &str, name: &str) -> Value {
    json!({"cell": cell, "kind": "server", "zone": "zone-a", "name": name, "flavor": "m1.small", "spec": {"image": "debian-13"}})
}
