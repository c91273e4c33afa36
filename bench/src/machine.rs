//! The machine in words: figures say little without it.

use anyhow::Context;
use serde::Serialize;
use std::{fmt, fs};

/// What was measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    cores: usize,
    processor: String,
    memory_gib: u64,
    kernel: String,
    /// Whether the programs were built with optimisation, which all sides of a comparison share.
    optimised: bool,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> anyhow::Result<Self> {
        let processor = field("/proc/cpuinfo", "model name")?;
        let memory = field("/proc/meminfo", "MemTotal")?;
        let kib: u64 = memory.trim_end_matches(" kB").parse().context("MemTotal is a number of kB")?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor,
            memory_gib: kib.div_ceil(1 << 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            optimised: !cfg!(debug_assertions),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, memory_gib, kernel, optimised } = self;
        let built = if *optimised { "release build" } else { "DEBUG build: no figure here means anything" };
        write!(f, "{cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}; servers and clients share them; {built}")
    }
}

/// Processes that ran or waited to run, on average over the last minute.
pub fn load() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split(' ').next().and_then(|load| load.parse().ok()).context("/proc/loadavg begins with a number")
}

fn field(path: &str, name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("{path} has no {name}"))?;
    Ok(line.split_once(':').with_context(|| format!("{path}: {line}"))?.1.trim().to_owned())
}
