//! The `cirrus` binary: one role a process.

mod config;
mod demo;
mod roles;

use clap::{Parser, Subcommand};
use config::Config;
use std::{path::PathBuf, process::ExitCode};

/// The event-sourced backend of a sovereign cloud.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The configuration that all roles share.
    #[arg(long, env = "CIRRUS_CONFIG", default_value = ".cirrus/cirrus.toml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Decides: commands and reports become commits of the journal.
    Decider,
    /// Projects: commits of the journal become rows of PostgreSQL.
    Projector,
    /// Provisions: open work becomes machines at the provider.
    Worker(roles::worker::Args),
    /// Answers: HTTP for portals.
    Api,
    /// A provider for development and tests, as unpleasant as real ones.
    ProviderSim(roles::provider_sim::Args),
    /// The journal itself.
    #[command(subcommand)]
    Journal(roles::journal::Command),
    /// Read models: list, rebuild, drop.
    #[command(subcommand)]
    Projections(roles::projections::Command),
    /// Appoints the first operator of the platform, past the API: needs the right to write reports.
    Operator(roles::operator::Args),
    /// Prints a token of the development issuer.
    Token(demo::TokenArgs),
    /// Opens a demo cloud through the API, where it is not open yet, and shows how to go on.
    Demo,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    roles::log_to_stderr(match cli.role {
        Role::Decider | Role::Projector | Role::Worker(_) | Role::Api | Role::ProviderSim(_) => roles::RUNNING,
        Role::Journal(_) | Role::Projections(_) | Role::Operator(_) | Role::Token(_) | Role::Demo => roles::COMMAND,
    });
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cirrus: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Role::ProviderSim(args) = cli.role {
        return roles::provider_sim::run(args).await;
    }
    let config = Config::load(&cli.config)?;
    match cli.role {
        Role::Decider => roles::run(config, "decider", roles::decider::run).await,
        Role::Projector => roles::run(config, "projector", roles::projector::run).await,
        Role::Worker(args) => roles::run(config, "worker", |config, on| roles::worker::run(config, on, args)).await,
        Role::Api => roles::run(config, "api", roles::api::run).await,
        Role::Journal(command) => roles::journal::run(config, command).await,
        Role::Projections(command) => roles::projections::run(config, command).await,
        Role::Operator(args) => roles::operator::run(config, args).await,
        Role::Token(args) => demo::token(&config, &args),
        Role::Demo => demo::run(config).await,
        Role::ProviderSim(args) => roles::provider_sim::run(args).await,
    }
}
