//! `cirrus-chaos`: faults on a whole platform under load, and the checker that says whether anything was lost, doubled or untrue. Run by `dev/chaos`.

use anyhow::{Context, ensure};
use clap::Parser;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tests::chaos::{
    field::Field,
    flat::{Course, courses, not_judged},
    plot::plot,
    scenarios::{ALL, ROLLING, Scenario, Told},
    watch::{Sample, Watch},
};

/// Faults on a whole platform under load.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Which scenarios, by number or name; all when none is named.
    scenarios: Vec<String>,
    /// How long all of them inject faults, together.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// What all dice follow from; drawn when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Only those of the short run.
    #[arg(long)]
    short: bool,
    /// Plays the rolling upgrade, from the release whose binaries lie there to this one.
    #[arg(long, conflicts_with_all = ["scenarios", "short"])]
    previous: Option<PathBuf>,
    /// Says what there is.
    #[arg(long)]
    list: bool,
    /// Where what the processes held is kept, and of a run that failed the history, logs and journal.
    #[arg(long, default_value = ".cirrus/chaos")]
    keep: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("chaos: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    if cli.list {
        for Scenario { number, name, short, .. } in ALL.iter().chain([&ROLLING]) {
            println!("{number:>2} {name}{}", if *short { " (short run)" } else { "" });
        }
        return Ok(());
    }
    let seed = cli.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    let wanted = choose(&cli)?;
    let share = Duration::from_secs_f64(cli.minutes * 60.0 / wanted.len() as f64);
    println!("seed {seed}, {} scenarios, {:.0} s each", wanted.len(), share.as_secs_f64());
    let kept = cli.keep.join(format!("seed-{seed}-{}", std::process::id()));
    let mut field = Field::start(seed, cli.previous.clone()).await?;
    let watch = Watch::start(field.watched(), &kept)?;
    let mut outcome = play_all(&mut field, &wanted, share, cli.short).await;
    let samples = watch.end()?;
    plot(&samples, &kept)?;
    for (name, times) in &field.ended {
        println!("{name} ended by itself {times} times and was started again");
    }
    let level = stays_level(&samples);
    println!("what every process held is in {}", kept.display());
    outcome = outcome.and(level);
    if let Err(problem) = outcome {
        keep(field, &kept)?;
        return Err(problem.context(format!("with seed {seed}; what is left is in {}", kept.display())));
    }
    println!("passed with seed {seed}");
    Ok(())
}

async fn play_all(field: &mut Field, wanted: &[&Scenario], share: Duration, short: bool) -> anyhow::Result<()> {
    for (n, scenario) in (1..).zip(wanted) {
        let began = Instant::now();
        let since = field.clients.history.now();
        // The short run is checked as a whole.
        let checked = !short || n == wanted.len();
        let outcome = play(field, scenario, Told { time: share }, checked).await;
        let figures = field.figures(since);
        let Scenario { number, name, .. } = scenario;
        println!("{number:>2} {name:<21} {:>4.0} s  {figures}", began.elapsed().as_secs_f64());
        outcome.with_context(|| format!("scenario {number} ({name})"))?;
    }
    Ok(())
}

/// Says how memory, open files and connections went after the start of each process, and fails when something rose.
fn stays_level(samples: &[Sample]) -> anyhow::Result<()> {
    let courses = courses(samples);
    for course in &courses {
        println!("{course}");
    }
    let not_judged = not_judged(samples);
    if !not_judged.is_empty() {
        println!("never lived long enough to be judged: {}", not_judged.into_iter().collect::<Vec<_>>().join(", "));
    }
    let risen: Vec<&Course> = courses.iter().filter(|course| !course.is_flat()).collect();
    let named: Vec<String> = risen.iter().map(|course| format!("{} of {}", course.measure, course.process)).collect();
    ensure!(risen.is_empty(), "not flat: {}", named.join(", "));
    Ok(())
}

async fn play(field: &mut Field, scenario: &Scenario, told: Told, checked: bool) -> anyhow::Result<()> {
    field.begin().await?;
    let outcome = (scenario.run)(field, told).await;
    // The clients' history is whole only when they have ended.
    field.end().await?;
    outcome?;
    if checked {
        let looked_at = field.check().await?;
        println!("   no violation in {looked_at}");
    }
    Ok(())
}

fn choose(cli: &Cli) -> anyhow::Result<Vec<&'static Scenario>> {
    let named = |scenario: &&Scenario| cli.scenarios.iter().any(|name| name == scenario.name || name.parse() == Ok(scenario.number));
    for name in &cli.scenarios {
        let known = ALL.iter().any(|scenario| name == scenario.name || name.parse() == Ok(scenario.number));
        ensure!(known, "there is no scenario {name}");
    }
    if cli.previous.is_some() {
        return Ok(vec![&ROLLING]);
    }
    let wanted: Vec<&Scenario> = match (cli.short, cli.scenarios.is_empty()) {
        (true, _) => ALL.iter().filter(|scenario| scenario.short).collect(),
        (false, true) => ALL.iter().collect(),
        (false, false) => ALL.iter().filter(named).collect(),
    };
    Ok(wanted)
}

/// Moves what is left of a failed run to where it stays.
fn keep(mut field: Field, kept: &Path) -> anyhow::Result<()> {
    field.platform.state.disable_cleanup(true);
    let state = field.platform.state.path().to_owned();
    // The processes end first.
    drop(field);
    let moved = std::process::Command::new("cp").arg("-a").arg(state.join(".")).arg(kept).status()?;
    ensure!(moved.success(), "{} cannot be copied to {}", state.display(), kept.display());
    std::fs::remove_dir_all(state)?;
    Ok(())
}
