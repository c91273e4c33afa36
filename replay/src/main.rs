//! `cirrus-replay`: for auditors, and for whoever wants to know what did happen.

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use figment::{
    Figment,
    providers::{Format, Toml},
};
use journal::kafka::{KafkaLog, KafkaSettings};
use projections::{
    builds,
    database::{Database, Settings},
    model::ALL,
};
use replay::{digest::digest, show::show, source::Source, verify::verify};
use serde::Deserialize;
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::sync::watch;
use uuid::Uuid;

/// Reads the journal again. Nothing here can change anything but `dump`, which writes files, and `rebuild`, which fills tables of its own.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The configuration of the platform; its [kafka] and [postgres] are read.
    #[arg(long, env = "CIRRUS_CONFIG", default_value = ".cirrus/cirrus.toml", global = true)]
    config: PathBuf,
    /// Reads a directory of dumped partitions instead of the broker: no server is needed.
    #[arg(long, value_name = "DIRECTORY", global = true)]
    from: Option<PathBuf>,
    /// The generation of the journal on the broker.
    #[arg(long, default_value_t = 1, global = true)]
    generation: u32,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Is the log whole? Each partition: accepted, void with reason, broken with position.
    Verify,
    /// The story of a tenant, cell or resource: who, when, why.
    Show {
        /// Its id.
        id: Uuid,
    },
    /// One digest of every fold, and of every read model where PostgreSQL is configured.
    Digest,
    /// Fills read models afresh beside the live ones and compares.
    Rebuild {
        /// Says that the fresh rows are compared and dropped; to switch to fresh ones there is `cirrus projections rebuild`.
        #[arg(long, required = true)]
        compare: bool,
        /// Which; all when none is named.
        names: Vec<String>,
    },
    /// Copies the partitions into a directory that does not exist yet.
    Dump {
        /// The directory.
        directory: PathBuf,
    },
}

#[derive(Deserialize)]
struct Config {
    kafka: KafkaSettings,
    #[serde(default)]
    postgres: Option<Settings>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).with_target(false).init();
    match run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("cirrus-replay: {problem:#}");
            ExitCode::from(2)
        }
    }
}

/// True when all is as it should be.
async fn run(cli: Cli) -> anyhow::Result<bool> {
    let source = || match &cli.from {
        Some(directory) => Source::directory(directory),
        None => Source::broker(&config(&cli.config)?.kafka, cli.generation),
    };
    match &cli.what {
        What::Verify => {
            let report = verify(&source()?)?;
            println!("{report}");
            Ok(report.is_whole())
        }
        What::Show { id } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let lines = show(&source()?, *id, &mut out)?;
            out.flush()?;
            if lines == 0 {
                eprintln!("the log says nothing about {id}");
            }
            Ok(lines > 0)
        }
        What::Digest => {
            let report = verify(&source()?)?;
            let (folds, all) = digest(&report)?;
            for fold in folds {
                println!("{:<16} head {}  fold {}", fold.position.to_string(), fold.head, fold.fold);
            }
            println!("all folds        {all}");
            if cli.from.is_none()
                && let Some(postgres) = config(&cli.config)?.postgres
            {
                let database = Database::connect(&postgres)?;
                for model in ALL {
                    if let Some(found) = projections::digest::of(&database, model, None).await? {
                        println!("{:<16} {} rows, build {}  {}", model.name(), found.rows, found.build, found.digest);
                    }
                }
            }
            Ok(report.is_whole())
        }
        What::Rebuild { names, .. } => rebuild(&cli.config, names).await,
        What::Dump { directory } => {
            let records = source()?.dump(directory)?;
            println!("{records} records in {}", directory.display());
            Ok(true)
        }
    }
}

async fn rebuild(path: &Path, names: &[String]) -> anyhow::Result<bool> {
    let config = config(path)?;
    let database = Database::connect(&config.postgres.context("the configuration has no [postgres]")?)?;
    let journal = database.journal().await?;
    let log = KafkaLog::new(&config.kafka, &journal.events(), journal.all_partitions())?;
    let known: Vec<&str> = ALL.iter().map(|model| model.name()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no read model {unknown}; there are {}", known.join(", "));
    }
    let (_running, stop) = watch::channel(false);
    let mut equal = true;
    for name in known.into_iter().filter(|known| names.is_empty() || names.iter().any(|name| name == known)) {
        let compared = builds::compare(&database, &log, &journal, name, stop.clone(), |_| {}).await?;
        equal &= compared.is_equal();
        let verdict = if compared.is_equal() { "equal" } else { "DIFFERENT" };
        println!("{name:<12} {verdict:<10} {} rows live, {} rebuilt", compared.live.rows, compared.rebuilt.rows);
    }
    println!("{}", if equal { "equal" } else { "DIFFERENT" });
    Ok(equal)
}

fn config(path: &Path) -> anyhow::Result<Config> {
    anyhow::ensure!(path.exists(), "there is no configuration file {}; --from DIRECTORY needs none", path.display());
    Figment::from(Toml::file(path)).extract().with_context(|| format!("the configuration {} cannot be used", path.display()))
}
