//! What Cirrus costs, measured beside the bare work and beside others, in one run on one machine.
//!
//! A machine that is shared is noisy, and its noise lasts longer than one measurement. So nothing here is judged by an absolute figure: each
//! [line](lines) runs its sides in turn (ours, the peer, ours, the peer, ...), a ratio is taken of each pair, and the median of the ratios is
//! held against the goal. Absolute figures are printed beside it with the machine and its load, for whoever wants to compare.
//!
//! Servers are started for the run and end with it.

mod history;
mod journals;
mod lines;
mod machine;
mod measure;
mod portal;
mod report;

use anyhow::{Context, ensure};
use clap::Parser;
use lines::{ALL, Line};
use machine::Machine;
use measure::Scale;
use std::path::PathBuf;

/// Measures Cirrus beside the bare work and beside others.
#[derive(Parser)]
#[command(name = "dev/bench", after_help = lines::help())]
struct Cli {
    /// What to measure; everything when none is named.
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
    /// Measurements of each side, taken in turn; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Smaller amounts: minutes instead of an hour, and more noise.
    #[arg(long)]
    quick: bool,
    /// Where the figures are kept, one JSON file a line, and plots.
    #[arg(long, default_value = ".cirrus/bench")]
    into: PathBuf,
    /// Loads a snapshot and says what it weighs: how this program measures memory, in a process of its own.
    #[arg(long, hide = true, requires = "journal")]
    weigh: Option<PathBuf>,
    /// The journal of that snapshot.
    #[arg(long, hide = true)]
    journal: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let (Some(snapshot), Some(journal)) = (&cli.weigh, &cli.journal) {
        return lines::fold::weigh(snapshot, journal);
    }
    ensure!(cli.runs > 0, "--runs must be at least 1");
    let chosen = choose(&cli.lines)?;
    std::fs::create_dir_all(&cli.into).with_context(|| format!("{} cannot be made", cli.into.display()))?;
    let scale = Scale { runs: cli.runs, quick: cli.quick };
    let machine = Machine::look()?;
    println!("{machine}\n");
    let mut reports = Vec::new();
    for line in chosen {
        eprintln!("{}: {}", line.name, line.about);
        let before = machine::load()?;
        let rows = (line.run)(&scale, &cli.into).with_context(|| format!("`{}` could not be measured", line.name))?;
        let load = [before, machine::load()?];
        let report = report::Report { line: line.name, scale, machine: machine.clone(), load, rows };
        report.keep(&cli.into)?;
        reports.push(report);
    }
    println!("{}", report::table(&reports));
    Ok(())
}

fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Line>> {
    let find =
        |name: &String| ALL.iter().find(|line| line.name == name).with_context(|| format!("there is no line `{name}`; {}", lines::help()));
    if names.is_empty() { Ok(ALL.iter().collect()) } else { names.iter().map(find).collect() }
}
