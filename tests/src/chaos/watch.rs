//! What the processes of a run hold, asked of the kernel every few seconds: memory, open files, connections.
//!
//! Whoever is watched has a file that names his process, which is read each time: processes come and go. PostgreSQL counts as the sum of all its processes.

use anyhow::Context;
use procfs::{
    ProcResult,
    net::TcpState,
    process::{FDTarget, Process, all_processes},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often the kernel is asked.
pub const PERIOD: Duration = Duration::from_secs(5);

/// Who is watched.
pub struct Watched {
    /// Names, and files that begin with the number of a process.
    pub processes: Vec<(String, PathBuf)>,
    /// The one of these names that means its children, too.
    pub with_children: &'static str,
    /// Where PostgreSQL listens.
    pub postgres: u16,
    /// Where a broker keeps the partitions of the journal.
    pub journal: PathBuf,
}

/// What one process held at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the watch began.
    pub second: u64,
    /// Its name.
    pub process: String,
    /// Which process of this name.
    pub pid: i32,
    /// Bytes of memory that it allocated and that are resident (`RssAnon`).
    pub memory: u64,
    /// All that is resident: also pages of files, which the kernel takes back as it likes, and PostgreSQL's shared buffers once for each of its
    /// processes.
    pub resident: u64,
    /// Open files, connections among them.
    pub files: u64,
    /// TCP connections, in both directions.
    pub connections: u64,
    /// Those of them that lead to PostgreSQL.
    pub to_postgres: u64,
    /// Bytes of the journal at that time.
    pub journal: u64,
}

/// A running watch. It writes `watch.csv` as it goes.
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<anyhow::Result<Vec<Sample>>>,
}

impl Watch {
    /// Begins to watch, and writes into a directory.
    pub fn start(watched: Watched, into: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(into).with_context(|| format!("{} cannot be made", into.display()))?;
        let path = into.join("watch.csv");
        let mut file = csv::Writer::from_path(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let began = Instant::now();
            let mut all = Vec::new();
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let samples = watched.look(began.elapsed().as_secs())?;
                for sample in &samples {
                    file.serialize(sample)?;
                }
                file.flush()?;
                all.extend(samples);
            }
            Ok(all)
        });
        Ok(Self { stop, thread })
    }

    /// Ends, and gives all that was seen.
    pub fn end(self) -> anyhow::Result<Vec<Sample>> {
        drop(self.stop);
        self.thread.join().expect("it returns its errors")
    }
}

impl Watched {
    fn look(&self, second: u64) -> anyhow::Result<Vec<Sample>> {
        let connections = connections()?;
        let journal = self.journal_bytes();
        let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
        for process in all_processes()?.flatten() {
            if let Ok(stat) = process.stat() {
                children.entry(stat.ppid).or_default().push(process);
            }
        }
        let mut samples = Vec::new();
        for (name, file) in &self.processes {
            let said = fs::read_to_string(file).unwrap_or_default();
            let Some(pid) = said.split_whitespace().next().and_then(|pid| pid.parse().ok()) else { continue };
            let mut sample = Sample { second, process: name.clone(), pid, journal, ..Sample::default() };
            // Who has ended holds nothing.
            if Process::new(pid).and_then(|process| sample.add(&process, &connections, self.postgres)).is_err() {
                continue;
            }
            for child in children.remove(&pid).filter(|_| name == self.with_children).into_iter().flatten() {
                // A child that ends meanwhile, too.
                let _ = sample.add(&child, &connections, self.postgres);
            }
            samples.push(sample);
        }
        Ok(samples)
    }

    fn journal_bytes(&self) -> u64 {
        let files = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
        let partitions = files(&self.journal).filter(|entry| entry.file_name().to_string_lossy().starts_with("cirrus.events."));
        let segments = partitions.flat_map(|partition| files(&partition.path()));
        let logs = segments.filter(|segment| segment.path().extension().is_some_and(|extension| extension == "log"));
        logs.filter_map(|log| Some(log.metadata().ok()?.len())).sum()
    }
}

impl Sample {
    /// Adds what a process holds; nothing when it has ended.
    fn add(&mut self, process: &Process, connections: &BTreeMap<u64, u16>, postgres: u16) -> ProcResult<()> {
        let status = process.status()?;
        let (Some(memory), Some(resident)) = (status.rssanon, status.vmrss) else {
            return Err(procfs::ProcError::NotFound(None));
        };
        for descriptor in process.fd()?.flatten() {
            self.files += 1;
            if let FDTarget::Socket(inode) = descriptor.target
                && let Some(remote) = connections.get(&inode)
            {
                self.connections += 1;
                self.to_postgres += u64::from(*remote == postgres);
            }
        }
        self.memory += memory * 1_024;
        self.resident += resident * 1_024;
        Ok(())
    }
}

/// Where the TCP connections of this machine lead, by inode of the socket.
fn connections() -> ProcResult<BTreeMap<u64, u16>> {
    let all = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6()?);
    Ok(all.filter(|entry| entry.state != TcpState::Listen).map(|entry| (entry.inode, entry.remote_address.port())).collect())
}
