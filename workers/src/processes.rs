//! What goes on by itself over many chains or many things: one command a thing, with an id that makes it the same command at every attempt.
//!
//! - A tenant that is reserved on the platform's chain is opened on its own. The API does so at once; this is for an API that died in between.
//! - A tenant that is closing has its resources deleted, what nothing uses first, and is closed when it is empty.
//! - A step whose deadline has passed is told to the decider, which decides by the chain's time.
//!
//! Level-triggered and repeatable: any number of processes may run this at once.

use crate::provisioning::{reporter::JournalReporter, round::Reported, shell::Unreadable};
use chrono::{DateTime, Utc};
use domain::{
    command::Command,
    id::{CommandId, ResourceId, TenantId},
};
use futures::{FutureExt, future::BoxFuture};
use projections::{
    database::Database,
    open_work::LateRow,
    snapshot::{ReadError, Shown},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Without a wake-up everything is looked at this often.
const RESCAN: Duration = Duration::from_secs(5);

/// Things done of each kind in one round.
const PAGE: u32 = 200;

/// What is due at a time.
#[derive(Debug, Default)]
pub struct Due {
    /// Tenants that are reserved and not open, with the seq of their reservation on the platform's chain.
    pub reserved: Vec<(TenantId, u64)>,
    /// Steps whose deadline has passed.
    pub late: Vec<LateRow>,
    /// Resources of closing tenants that can be deleted now, with their generation.
    pub deletions: Vec<(TenantId, ResourceId, u64)>,
    /// Closing tenants without resources.
    pub empty: Vec<TenantId>,
}

/// Where it shows what is due: the read models in production, a fold in the simulation.
pub trait Schedule: Send + Sync {
    /// What is due now, of each kind at most so much.
    fn due(&self, now: DateTime<Utc>, limit: u32) -> BoxFuture<'_, Result<Due, Unreadable>>;
}

impl Schedule for Database {
    fn due(&self, now: DateTime<Utc>, limit: u32) -> BoxFuture<'_, Result<Due, Unreadable>> {
        read(self, now, limit).map(|due| due.map_err(|e| Unreadable(e.to_string()))).boxed()
    }
}

async fn read(database: &Database, now: DateTime<Utc>, limit: u32) -> Result<Due, ReadError> {
    let snapshot = database.snapshot(Shown::Partitions(&[])).await?;
    let reserved = snapshot.reserved_and_not_open(limit).await?;
    let mut due = Due {
        reserved: reserved.into_iter().map(|row| (row.tenant, row.seq)).collect(),
        late: snapshot.past_deadline(now, limit).await?,
        ..Due::default()
    };
    for tenant in snapshot.closing_tenants(limit).await? {
        if tenant.resources == 0 {
            due.empty.push(tenant.id);
        }
        let next = snapshot.next_to_delete(tenant.id, limit).await?;
        due.deletions.extend(next.into_iter().map(|(resource, generation)| (tenant.id, resource, generation)));
    }
    Ok(due)
}

/// The processes of one platform.
pub struct Processes {
    /// What is due.
    pub schedule: Arc<dyn Schedule>,
    /// Where commands go.
    pub reporter: JournalReporter,
}

impl Processes {
    /// Runs until `stop` says so.
    pub async fn run(self, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let more = match self.round().await {
                Ok(done) => done >= PAGE as usize,
                Err(problem) => {
                    tracing::warn!(%problem, "{problem}");
                    false
                }
            };
            let pause = if more { Duration::from_millis(50) } else { RESCAN };
            tokio::select! {
                biased;
                () = wake.notified() => {}
                () = self.reporter.environment().sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// One look at everything; says how much was sent.
    async fn round(&self) -> Result<usize, Unreadable> {
        let Due { reserved, late, deletions, empty } = self.schedule.due(self.reporter.environment().now(), PAGE).await?;
        let sent = reserved.len() + late.len() + deletions.len() + empty.len();
        for (tenant, seq) in reserved {
            self.send(tenant, CommandId(tenant.0).derive("open"), seq, Command::OpenTenant {}).await;
        }
        for row in late {
            let id = CommandId(Uuid::new_v5(&row.intent.0, format!("deadline {}", row.deadline).as_bytes()));
            self.send(row.tenant, id, 0, Command::DeadlinePassed { resource: row.resource, intent: row.intent }).await;
        }
        for (tenant, resource, generation) in deletions {
            let id = CommandId(resource.0).derive(&format!("drain {generation}"));
            self.send(tenant, id, 0, Command::DeleteResource { resource, if_generation: Some(generation) }).await;
        }
        for tenant in empty {
            self.send(tenant, CommandId(tenant.0).derive("close"), 0, Command::CloseTenant { drain: true }).await;
        }
        Ok(sent)
    }

    async fn send(&self, tenant: TenantId, id: CommandId, after_platform: u64, command: Command) {
        let kind = command.kind();
        match self.reporter.send(Some(tenant), id, after_platform, command).await {
            Reported::Refused(refusal, _) => tracing::info!(%tenant, kind, %refusal, "{kind} was refused: {refusal}"),
            Reported::Accepted(_) | Reported::Unknown => {}
        }
    }
}
