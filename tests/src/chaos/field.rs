//! A running platform under load, with everything that a scenario may do to it.
//!
//! All waiting of a scenario goes through the field, which meanwhile starts again what has ended by itself, as any supervisor would.

use super::{
    check::violations,
    evidence::Evidence,
    history::{History, Record},
    load::Clients,
    watch::Watched,
};
use crate::{platform::Platform, servers::BROKERS};
use anyhow::{Context, bail, ensure};
use domain::id::{CommandId, TenantId};
use journal::{birth, kafka::KafkaSettings, topics::Journal};
use rand::{SeedableRng, rngs::StdRng};
use replay::source::Source;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use workers::provider::{Admin, Filter, Object};

/// Nothing that is waited for takes longer, on a slow machine either.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// What is being done ends by itself within this time: a worker whose clock was five minutes ahead may have announced a call that ends only then.
const SETTLES: Duration = Duration::from_secs(8 * 60);

/// How often dead processes are looked for, and conditions asked.
const TICK: Duration = Duration::from_millis(100);

/// Clients of each tenant.
const CLIENTS: usize = 3;

/// Tenants; more than partitions, so that each has some to do.
const TENANTS: usize = 6;

/// A platform, its clients, and the dice of the run.
pub struct Field {
    /// The processes.
    pub platform: Platform,
    /// The clients.
    pub clients: Arc<Clients>,
    /// The simulated provider's back door.
    pub provider: Admin,
    /// The schedule of the faults.
    pub rng: StdRng,
    /// The binaries of the release before, when the processes began with them.
    pub previous: Option<PathBuf>,
    /// Commands whose decision was made to panic.
    pub failing: BTreeSet<CommandId>,
    /// Processes that ended by themselves, and how often.
    pub ended: BTreeMap<String, u32>,
    faults: u64,
    running: JoinSet<()>,
    checks: u32,
}

/// What a scenario shows.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Faults injected.
    pub faults: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Writes refused by a decision.
    pub refused: u64,
    /// Requests of which the client never knew what became of them.
    pub unanswered: u64,
    /// Reads answered.
    pub reads: u64,
    /// The longest time in which nothing was decided for some tenant.
    pub silence: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, acknowledged, refused, unanswered, reads, silence } = self;
        write!(
            f,
            "{faults} faults, {acknowledged} commands acknowledged, {refused} refused, {unanswered} unanswered, {reads} reads, {:.1} s without service",
            silence.as_secs_f64()
        )
    }
}

impl Field {
    /// Starts everything, with the binaries of the release `previous` if there is one; what the clients' and the scenarios' dice show follows from
    /// `seed`.
    pub async fn start(seed: u64, previous: Option<PathBuf>) -> anyhow::Result<Self> {
        let platform = Platform::start_redundant(previous.as_deref()).await?;
        let history = History::create(&platform.state.path().join("history.jsonl"))?;
        let clients = Arc::new(Clients::open(&platform, history, seed, TENANTS).await?);
        let provider = Admin::new(&platform.provider)?;
        let rng = StdRng::seed_from_u64(seed);
        let (failing, ended) = Default::default();
        Ok(Self { platform, clients, provider, rng, previous, failing, ended, faults: 0, running: JoinSet::new(), checks: 0 })
    }

    /// Sets the clients to work, and waits until they get something done.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        self.running = self.clients.work(CLIENTS);
        self.decided(20).await
    }

    /// Lets the clients end what they are at.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        self.clients.stop();
        let deadline = Instant::now() + DEADLINE;
        while !self.running.is_empty() {
            ensure!(Instant::now() < deadline, "clients do not end{}", self.platform.logs());
            self.keep_running()?;
            let ended = tokio::time::timeout(TICK, self.running.join_next()).await;
            if let Ok(Some(ended)) = ended {
                ended.context("a client")?;
            }
        }
        ensure!(self.clients.undecided() == 0, "{} writes were never decided{}", self.clients.undecided(), self.platform.logs());
        Ok(())
    }

    /// Counts a fault.
    pub fn fault(&mut self) {
        self.faults += 1;
    }

    /// Lets time pass.
    pub async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.keep_running()?;
            tokio::time::sleep(TICK.min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    /// Waits until so many more writes are decided.
    pub async fn decided(&mut self, more: u64) -> anyhow::Result<()> {
        let wanted = self.clients.decided() + more;
        let deadline = Instant::now() + DEADLINE;
        while self.clients.decided() < wanted {
            ensure!(Instant::now() < deadline, "nothing is decided for {DEADLINE:?}{}", self.platform.logs());
            self.pass(TICK).await?;
        }
        Ok(())
    }

    /// What has happened since `since`, a time of the history.
    pub fn figures(&mut self, since: u64) -> Figures {
        let records: Vec<Record> = self.clients.history.records().into_iter().filter(|record| record.ended >= since).collect();
        let mut figures = Figures { faults: std::mem::take(&mut self.faults), ..Figures::default() };
        let mut last: BTreeMap<TenantId, u64> = self.clients.tenants.iter().map(|tenant| (tenant.id, since)).collect();
        for record in &records {
            match &record.answer {
                None => figures.unanswered += 1,
                Some(_) if record.asked.key.is_none() => figures.reads += 1,
                Some(answer) if answer.is_decided() => {
                    if answer.is_done() {
                        figures.acknowledged += 1;
                    } else {
                        figures.refused += 1;
                    }
                    let last = last.entry(record.asked.tenant).or_insert(since);
                    figures.silence = figures.silence.max(Duration::from_micros(record.ended.saturating_sub(*last)));
                    *last = record.ended.max(*last);
                }
                Some(_) => {}
            }
        }
        figures
    }

    /// Waits until nothing is being done any more and the provider has what the log says, then holds everything against the rules. What it looked at.
    pub async fn check(&mut self) -> anyhow::Result<String> {
        self.checks += 1;
        let dump = self.platform.state.path().join(format!("dump-{}", self.checks));
        let evidence = self.settled(&dump).await?;
        let mut found = violations(&evidence);
        if let Err(problem) = self.platform.replay(&["rebuild", "--compare"]) {
            found.push(format!("read models: {problem:#}"));
        }
        if !found.is_empty() {
            bail!("{} violations\n  {}", found.len(), found.join("\n  "));
        }
        std::fs::remove_dir_all(&dump)?;
        let commits: usize = evidence.log.iter().map(Vec::len).sum();
        Ok(format!("{commits} commits, {} requests, {} machines", evidence.history.len(), evidence.objects.len()))
    }

    /// The evidence, once nothing is left to be done; or as it is when the time for that is over, for the rule to say what is left.
    async fn settled(&mut self, dump: &Path) -> anyhow::Result<Evidence> {
        let deadline = Instant::now() + SETTLES;
        loop {
            self.keep_running()?;
            let before = self.provider.objects(&Filter::default()).await?;
            let evidence = self.gather(dump, before)?;
            let settled = super::check::is_settled(&evidence);
            if settled || Instant::now() > deadline {
                return Ok(evidence);
            }
            std::fs::remove_dir_all(dump)?;
            self.pass(Duration::from_millis(500)).await?;
        }
    }

    fn gather(&self, dump: &Path, objects: Vec<Object>) -> anyhow::Result<Evidence> {
        let state = self.platform.state.path();
        let settings = self.kafka()?;
        let tenants: BTreeSet<TenantId> = self.clients.tenants.iter().map(|tenant| tenant.id).collect();
        tokio::task::block_in_place(|| {
            Source::broker(&settings, 1)?.dump(dump)?;
            let history = self.clients.history.records();
            let evidence = Evidence::gather(&settings, dump, &state.join("keys/position"), tenants, history, objects)?;
            Ok(Evidence { failing: self.failing.clone(), ..evidence })
        })
    }

    /// Which journal.
    pub async fn journal(&self) -> anyhow::Result<Journal> {
        let settings = self.kafka()?;
        let journal = tokio::task::spawn_blocking(move || birth::identify(&settings, 1)).await??;
        journal.context("there is no journal")
    }

    /// The median and the 99th percentile of how long the clients' writes took since a time of the history.
    pub fn latency(&self, since: u64) -> (Duration, Duration) {
        let theirs: BTreeSet<TenantId> = self.clients.tenants.iter().map(|tenant| tenant.id).collect();
        let records = self.clients.history.records();
        let of_theirs = |record: &&Record| theirs.contains(&record.asked.tenant) && record.asked.key.is_some();
        let theirs = records.iter().filter(|record| record.began >= since).filter(of_theirs);
        let mut took: Vec<u64> = theirs.filter(|record| record.answer.is_some()).map(|record| record.ended - record.began).collect();
        took.sort_unstable();
        let at = |share: usize| Duration::from_micros(took.get(took.len() * share / 100).copied().unwrap_or_default());
        (at(50), at(99))
    }

    /// How to reach the brokers.
    pub fn kafka(&self) -> anyhow::Result<KafkaSettings> {
        Ok(serde_json::from_value(json!({"bootstrap": self.platform.kafka.bootstrap()}))?)
    }

    /// Everybody whom a run can wear out.
    pub fn watched(&self) -> Watched {
        let Platform { kafka, postgres, .. } = &self.platform;
        let roles = self.platform.roles().into_iter().map(|name| (name.clone(), self.platform.pid_file(&name)));
        let brokers = (1..=BROKERS).map(|broker| (format!("broker-{broker}"), kafka.pid_file(broker)));
        let postgres_process = ("postgres".to_owned(), postgres.pid_file());
        let processes = roles.chain(brokers).chain([postgres_process]).collect();
        Watched { processes, with_children: "postgres", postgres: postgres.port(), journal: kafka.data(1) }
    }

    fn keep_running(&mut self) -> anyhow::Result<()> {
        for name in self.platform.restart_dead()? {
            *self.ended.entry(name).or_default() += 1;
        }
        Ok(())
    }
}
