//! `cirrus operator`: how the first operator comes to be.

use crate::config::Config;
use anyhow::bail;
use clap::Args as ClapArgs;
use domain::{command::Command, id::CommandId, people::Principal};
use journal::{caller::Caller, inbox::Capacity, tail::Tail};
use schemas::record::Origin;
use std::sync::Arc;
use uuid::Uuid;
use workers::provisioning::{reporter::JournalReporter, round::Reported};

#[derive(ClapArgs)]
pub struct Args {
    /// Who vouches for the operator: the `iss` of the tokens.
    #[arg(long)]
    issuer: String,
    /// The operator at that issuer: the `sub` of the tokens.
    #[arg(long)]
    subject: String,
}

pub async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    appoint(&config, &args.issuer, &args.subject).await?;
    println!("{}#{} is an operator of the platform", args.issuer, args.subject);
    Ok(())
}

/// Appoints an operator past the API; again changes nothing.
pub async fn appoint(config: &Config, issuer: &str, subject: &str) -> anyhow::Result<()> {
    let super::Ground { journal, checkpoints, .. } = super::ground(config).await?;
    let (commands, reports) = (super::commands(config, &journal, Origin::Commands)?, super::commands(config, &journal, Origin::Reports)?);
    let tail = Tail::open(&super::events(config, &journal)?, &journal, &checkpoints, Capacity::default())?;
    let caller = Arc::new(Caller::start(journal, &commands, Some(&reports), tail, |_| {})?);
    let operator = Principal { issuer: issuer.into(), subject: subject.into() };
    let reporter = JournalReporter::new(caller, "console");
    let id = CommandId(Uuid::new_v4());
    match reporter.send(None, id, 0, Command::AppointOperator { operator }).await {
        Reported::Accepted(_) => Ok(()),
        Reported::Refused(refusal, _) => bail!("{refusal}"),
        Reported::Unknown => bail!("no decider answered; is one running?"),
    }
}
