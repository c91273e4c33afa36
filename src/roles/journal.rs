//! `cirrus journal create`: the one way in which a journal is born.

use crate::config::Config;
use anyhow::ensure;
use clap::Subcommand;
use journal::{
    birth::{self, Durability},
    topics::Journal,
};
use projections::{database::Database, identity::IdentityError};
use uuid::Uuid;

#[derive(Subcommand)]
pub enum Command {
    /// Makes the topics of a new journal and has PostgreSQL remember its id. Repeatable: what a dead attempt left is completed.
    Create {
        /// Partitions that hold tenants, at most 1,024; the platform's own comes on top.
        #[arg(long, default_value_t = 64)]
        partitions: u32,
        /// Copies of each record.
        #[arg(long, default_value_t = Durability::PRODUCTION.replication)]
        replication: u16,
        /// Copies that must have a record before it counts.
        #[arg(long, default_value_t = Durability::PRODUCTION.min_insync_replicas)]
        min_insync_replicas: u16,
    },
    /// Checks the topics as every role does when it starts.
    Check,
}

pub async fn run(config: Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { partitions, replication, min_insync_replicas } => {
            ensure!((1..=1_024).contains(&partitions), "--partitions is a number from 1 to 1024, not {partitions}");
            let database = Database::connect(&config.postgres)?;
            database.migrate().await?;
            // The id is remembered first: topics without it are completed by the next attempt, an id without topics too.
            let journal = match database.journal().await {
                Ok(journal) => journal,
                Err(IdentityError::NoJournal) => {
                    let drawn = Journal { id: Uuid::new_v4(), generation: 1, partitions };
                    database.remember(&drawn).await?;
                    drawn
                }
                Err(problem) => return Err(problem.into()),
            };
            ensure!(journal.partitions == partitions, "the journal {} has {} partitions, not {partitions}", journal.id, journal.partitions);
            let durability = Durability { replication, min_insync_replicas };
            let kafka = config.kafka;
            let warnings = tokio::task::spawn_blocking(move || birth::create(&kafka, &journal, durability)).await??;
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            println!("journal {}, generation {}, {} partitions", journal.id, journal.generation, journal.partitions);
        }
        Command::Check => {
            let super::Ground { journal, .. } = super::ground(&config).await?;
            println!("journal {}, generation {}, {} partitions: nothing would be lost", journal.id, journal.generation, journal.partitions);
        }
    }
    Ok(())
}
