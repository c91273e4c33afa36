//! `cirrus-trace`: plays a trace of machines through the HTTP API of a platform, and says whether the platform ends up with what it should.

use anyhow::{Context, ensure};
use clap::Parser;
use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode, sync::Arc};
use tests::trace::{
    client::Client,
    compare,
    figures::{self, Figures, Lag},
    machines,
    play::{Manner, Player, commands},
    schedule::Schedule,
    stop_s,
};

/// Plays a trace of machines through the API, then compares machines alive, vCPUs and memory in use with the trace itself.
///
/// Ends with 0 when all is equal. A run that died goes on where it was when it is started again with the same arguments.
#[derive(Parser)]
struct Arguments {
    /// URL of the API.
    #[arg(long)]
    api: String,
    /// URL of the projector's metrics, to show the lag of each read model.
    #[arg(long)]
    projector: Option<String>,
    /// File with the tokens of the development issuer.
    #[arg(long)]
    tokens: PathBuf,
    /// Whose token is used: an operator of the platform, who will administer the tenants.
    #[arg(long, default_value = "trace")]
    subject: String,
    /// The trace.
    #[arg(long)]
    csv: PathBuf,
    /// Hours of the trace.
    #[arg(long, default_value_t = 6)]
    hours: u64,
    /// Times real time, or `max` to wait for nothing.
    #[arg(long, default_value = "max", value_parser = speed)]
    speed: Speed,
    /// Tenants that the batches of the trace are dealt out to.
    #[arg(long, default_value = "200")]
    tenants: NonZeroUsize,
    /// Most tenants played at once with `--speed max`.
    #[arg(long, default_value = "64")]
    at_once: NonZeroUsize,
    /// Availability zones, one machine each in turn.
    #[arg(long, value_delimiter = ',', default_value = "zone-a,zone-b")]
    zones: Vec<String>,
    /// What computes the figures from the trace alone.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../dev/trace-expect"))]
    oracle: PathBuf,
}

#[derive(Clone, Copy)]
struct Speed(Option<f64>);

fn speed(text: &str) -> Result<Speed, String> {
    match text {
        "max" => Ok(Speed(None)),
        text => match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed(Some(times))),
            _ => Err("a number above 0, or max".to_owned()),
        },
    }
}

// The platform is to have the processors.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    run(Arguments::parse()).await
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (tenants, stop_s) = (arguments.tenants.get(), stop_s(arguments.hours));
    let (expected, in_all) = compare::expect(&arguments.oracle, &arguments.csv, stop_s, tenants)?;
    let schedules = Schedule::of(machines::read(&arguments.csv, stop_s, tenants)?, stop_s, tenants);
    let (issuer, token) = token(&arguments)?;
    let manner = Manner {
        name: name(arguments.hours, tenants),
        administrator: (issuer, arguments.subject),
        zones: arguments.zones,
        speed: arguments.speed.0,
        at_once: arguments.at_once,
    };
    let machines: usize = schedules.iter().map(|schedule| schedule.machines.len()).sum();
    eprintln!("{machines} machines of {tenants} tenants, {} commands", commands(&schedules));

    let figures = Arc::new(Figures::default());
    let client = Client::new(&arguments.api, token, Arc::clone(&figures))?;
    let lag = Lag { api: arguments.api, projector: arguments.projector };
    let player = Player { manner: &manner, client: &client, figures: &figures };
    let played = async {
        let tenants = player.play(&schedules).await?;
        let played = figures.read();
        Ok::<_, anyhow::Error>((compare::observe(&client, &tenants).await?, tenants, played))
    };
    let (shown, opened, played) = tokio::select! {
        played = played => played?,
        () = figures::show(&figures, &lag, commands(&schedules)) => unreachable!("progress is shown for ever"),
    };

    let seconds = played.elapsed.as_secs_f64();
    println!(
        "{machines} machines, {} commands in {seconds:.1} s: {:.0}/s, acknowledged in p50 {:.1} ms, p99 {:.1} ms; settled and read after {:.1} s more",
        played.commands,
        played.commands as f64 / seconds,
        figures::milliseconds(played.p50),
        figures::milliseconds(played.p99),
        (figures.read().elapsed - played.elapsed).as_secs_f64(),
    );
    println!("sent again: {}", figures::listed(&figures.read().again));
    let differences = compare::differences(&expected, in_all, &opened, &shown);
    if differences.is_empty() {
        println!("alive after {} h: {in_all}; quota and lists of {tenants} tenants: equal", arguments.hours);
        return Ok(ExitCode::SUCCESS);
    }
    for line in differences {
        println!("{line}");
    }
    Ok(ExitCode::FAILURE)
}

/// Another length or another number of tenants is another trace.
fn name(hours: u64, tenants: usize) -> String {
    format!("trace-{hours}h-{tenants}t")
}

fn token(arguments: &Arguments) -> anyhow::Result<(String, String)> {
    ensure!(!arguments.zones.is_empty(), "machines need a zone");
    let path = arguments.tokens.display();
    let file = std::fs::read(&arguments.tokens).with_context(|| format!("cannot read {path}"))?;
    let file: serde_json::Value = serde_json::from_slice(&file).with_context(|| format!("{path} is not JSON"))?;
    let token = file["tokens"][&arguments.subject].as_str().with_context(|| format!("{path} has no token for {}", arguments.subject))?;
    let issuer = file["issuer"].as_str().with_context(|| format!("{path} names no issuer"))?;
    Ok((issuer.to_owned(), token.to_owned()))
}
