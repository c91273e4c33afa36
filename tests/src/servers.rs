//! Real servers for tests: a Kafka broker and a PostgreSQL, on free ports of 127.0.0.1.
//!
//! `shared()` is one server for all tests of a process, which keep apart by topic names ([`Kafka::generation`], [`Kafka::unique`]) and databases
//! ([`Postgres::database`]). `start()` is a server of a test's own, to stop and kill. `secured()` is one of its own that asks its clients
//! for TLS and a password.
//!
//! Each server is run by `dev/servers hold`, which ends it and removes its data as soon as this process closes a pipe, and a process
//! closes its pipes however it dies. So nothing is left behind by a test that is killed, and nothing has to be cleaned up by hand.
//! Ports are locked between holders: test binaries may run at once.
//!
//! Whatever fails here panics with the reason, because a test that cannot run must not pass.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_postgres::NoTls;

/// The user that a secured server knows; on PostgreSQL it owns every [`Postgres::database`].
pub const USER: &str = "cirrus";

/// Its password; PostgreSQL's URLs contain it already.
pub const PASSWORD: &str = "cirrus-test";

/// Brokers of a cluster.
pub const BROKERS: usize = 3;

/// A Kafka broker, or a cluster of three.
pub struct Kafka {
    holder: Holder,
}

/// A second way to a broker: whoever comes by it is told by the broker itself to come to `advertised`, where nobody listens until the test does.
#[derive(Debug, Clone, Copy)]
pub struct Detour {
    /// Where the test has to listen.
    pub advertised: u16,
    /// Where it has to pass on to.
    pub broker: u16,
}

impl Kafka {
    /// The broker of all tests of this process, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A broker of the caller's own.
    pub fn start() -> Self {
        Self { holder: Holder::start("kafka", "open") }
    }

    /// A broker of the caller's own whose only listener is SASL_SSL: clients trust [`Kafka::ca_file`] and log in by SCRAM-SHA-512 as
    /// [`USER`] with the password of [`Kafka::password_file`].
    pub fn secured() -> Self {
        Self { holder: Holder::start("kafka", "secured") }
    }

    /// A broker of the caller's own that keeps its data below this directory: on a file system that the caller can fill.
    pub fn start_in(directory: &Path) -> Self {
        Self { holder: Holder::start_in(Some(directory), "kafka", "open") }
    }

    /// A cluster of the caller's own: three brokers, which are its controllers, too.
    pub fn cluster() -> Self {
        Self { holder: Holder::start("kafka-cluster", "open") }
    }

    /// `host:port`, of all brokers, for `bootstrap.servers`; stays the same when a broker is started again.
    pub fn bootstrap(&self) -> String {
        // Of a cluster each broker has four ports, the first of which is for clients.
        let ports: Vec<String> = self.holder.ports.iter().step_by(4).map(|port| format!("127.0.0.1:{port}")).collect();
        ports.join(",")
    }

    /// The detours to the brokers of a [`Kafka::cluster`], in their order.
    pub fn detours(&self) -> Vec<Detour> {
        self.holder.ports.chunks_exact(4).map(|ports| Detour { broker: ports[2], advertised: ports[3] }).collect()
    }

    /// The file that names the process of one broker of a cluster, from 1.
    pub fn pid_file(&self, broker: usize) -> PathBuf {
        self.broker(broker).join("pid")
    }

    /// Where one broker of a cluster, from 1, keeps its partitions.
    pub fn data(&self, broker: usize) -> PathBuf {
        self.broker(broker).join("data")
    }

    fn broker(&self, broker: usize) -> PathBuf {
        self.holder.directory.join(broker.to_string())
    }

    /// Stops one broker of a cluster, from 1, cleanly: it hands its partitions over.
    pub fn stop_broker(&self, broker: usize) {
        self.holder.order(&format!("stop {broker}"));
    }

    /// Kills one broker of a cluster, from 1, without warning.
    pub fn kill_broker(&self, broker: usize) {
        self.holder.order(&format!("kill {broker}"));
    }

    /// Starts one broker of a cluster again and returns when it takes connections.
    pub fn start_broker(&self, broker: usize) {
        self.holder.order(&format!("start {broker}"));
    }

    /// A name, for a topic or a group, that no other test of this process uses.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", next_number())
    }

    /// A journal's generation that no other test of this process uses: the topics of a journal are named by it.
    pub fn generation(&self) -> u32 {
        next_number()
    }

    /// PEM file with the authority that signed the certificate of a [`Kafka::secured`] broker.
    pub fn ca_file(&self) -> PathBuf {
        self.holder.directory.join("tls/ca.pem")
    }

    /// File with [`PASSWORD`].
    pub fn password_file(&self) -> PathBuf {
        self.holder.directory.join("tls/password")
    }

    /// Stops the broker cleanly and returns when it has ended; what it keeps stays.
    pub fn stop(&self) {
        self.holder.order("stop");
    }

    /// Kills the broker without warning (SIGKILL) and returns when it is dead; what it keeps stays.
    pub fn kill(&self) {
        self.holder.order("kill");
    }

    /// Starts the broker again after [`Kafka::stop`] or [`Kafka::kill`], on the same port, and returns when it takes connections.
    pub fn start_again(&self) {
        self.holder.order("start");
    }

    /// Where the broker keeps everything: its log in `data`, its process in `pid`.
    pub fn directory(&self) -> &Path {
        &self.holder.directory
    }

    /// What the broker has written to its log; for the message of a test that failed.
    pub fn log(&self) -> String {
        self.holder.log()
    }
}

/// A PostgreSQL server.
pub struct Postgres {
    holder: Holder,
    secured: bool,
}

impl Postgres {
    /// The server of all tests of this process, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the caller's own.
    pub fn start() -> Self {
        Self { holder: Holder::start("postgres", "open"), secured: false }
    }

    /// A server of the caller's own that lets [`USER`] in only by TLS and password. Its certificate is signed by [`Postgres::ca_file`].
    pub fn secured() -> Self {
        Self { holder: Holder::start("postgres", "secured"), secured: true }
    }

    /// Makes an empty database and returns its URL, with everything that a client needs but the authority's file.
    pub fn database(&self) -> String {
        let name = format!("test_{}", next_number());
        let owner = if self.secured { USER } else { "postgres" };
        self.execute(format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0"));
        self.url(&name)
    }

    /// The URL of the server's own database, for its owner.
    pub fn server_url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port())
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.holder.port()
    }

    /// The file that names its first process, the parent of all others.
    pub fn pid_file(&self) -> PathBuf {
        self.holder.directory.join("pid")
    }

    /// PEM file with the authority that signed the certificate of a [`Postgres::secured`] server.
    pub fn ca_file(&self) -> PathBuf {
        self.holder.directory.join("tls/ca.pem")
    }

    /// Stops the server cleanly and returns when it has ended; what it keeps stays.
    pub fn stop(&self) {
        self.holder.order("stop");
    }

    /// Ends the server without a checkpoint (SIGQUIT, PostgreSQL's own way of a crash) and returns when it is dead.
    pub fn kill(&self) {
        self.holder.order("kill");
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::kill`], on the same port, and returns when it takes connections.
    pub fn start_again(&self) {
        self.holder.order("start");
    }

    /// Where the server keeps everything: its cluster in `data`, its process in `pid`.
    pub fn directory(&self) -> &Path {
        &self.holder.directory
    }

    /// What the server has written to its log; for the message of a test that failed.
    pub fn log(&self) -> String {
        self.holder.log()
    }

    fn url(&self, database: &str) -> String {
        let port = self.port();
        if self.secured {
            format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=require")
        } else {
            format!("postgresql://postgres@127.0.0.1:{port}/{database}")
        }
    }

    /// Runs one statement as the server's owner, on a thread and runtime of its own: the caller may be inside a runtime or outside.
    fn execute(&self, statement: String) {
        let url = self.server_url();
        let run = async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            let connection = tokio::spawn(connection);
            client.batch_execute(&statement).await?;
            drop(client);
            connection.await.expect("nothing aborts or panics the connection's task")
        };
        let worker = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only a few descriptors");
            runtime.block_on(run)
        });
        if let Err(error) = worker.join().expect("the thread returns its errors") {
            panic!("PostgreSQL refused an administrator's statement: {error}\n{}", self.log());
        }
    }
}

/// A number that is handed out once in this process.
fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A running `dev/servers hold`, which stops its server when `pipe` closes.
struct Holder {
    process: Child,
    pipe: Mutex<Option<Pipe>>,
    ports: Vec<u16>,
    directory: PathBuf,
}

struct Pipe {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Holder {
    fn start(server: &str, security: &str) -> Self {
        Self::start_in(None, server, security)
    }

    /// `directory` instead of where temporary files usually lie.
    fn start_in(directory: Option<&Path>, server: &str, security: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/servers");
        let mut process = Command::new(&script)
            .envs(directory.map(|directory| ("TMPDIR", directory)))
            .args(["hold", server, security])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not run: {error}", script.display()));
        let orders = process.stdin.take().expect("it was asked for");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for"));
        let mut pipe = Pipe { orders, answers };
        let ready = pipe.answer();
        let mut words = ready.splitn(3, ' ');
        let (Some("ready"), Some(ports), Some(directory)) = (words.next(), words.next(), words.next()) else {
            panic!("no {server} for this test: {ready}");
        };
        let ports = ports.split(',').map(|port| port.parse().expect("dev/servers says ports")).collect();
        Self { process, pipe: Mutex::new(Some(pipe)), ports, directory: directory.into() }
    }

    fn port(&self) -> u16 {
        self.ports[0]
    }

    fn order(&self, order: &str) {
        let mut pipe = self.pipe();
        let pipe = pipe.as_mut().expect("only drop takes it");
        writeln!(pipe.orders, "{order}").unwrap_or_else(|error| panic!("dev/servers has ended: {error}"));
        let answer = pipe.answer();
        assert_eq!(answer, "done", "the server did not {order}\n{}", self.log());
    }

    fn log(&self) -> String {
        let path = self.directory.join("server.log");
        std::fs::read_to_string(&path).unwrap_or_else(|error| format!("no log in {}: {error}", path.display()))
    }

    /// A test that panicked with the lock in hand has left no half-read answer that another could take for its own.
    fn pipe(&self) -> MutexGuard<'_, Option<Pipe>> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.pipe().take();
        // The server is gone when its holder is; what came of the holder tells nothing more.
        let _ = self.process.wait();
    }
}

impl Pipe {
    /// The next line; empty when the holder has ended.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap_or_else(|error| panic!("dev/servers says what is not text: {error}"));
        line.trim_end().to_owned()
    }
}
