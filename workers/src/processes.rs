//! What goes on by itself over many chains or many things: one command a thing, with an id that makes it the same command at every attempt.
//!
//! - A tenant that is reserved on the platform's chain is opened on its own. The API does so at once; this is for an API that died in between.
//! - A tenant that is closing has its resources deleted, what nothing uses first, and is closed when it is empty.
//! - A step whose deadline has passed is told to the decider, which decides by the chain's time.
//!
//! Level-triggered and repeatable: any number of processes may run this at once.

use crate::provisioning::{reporter::JournalReporter, round::Reported};
use chrono::Utc;
use domain::{
    command::Command,
    id::{CommandId, TenantId},
};
use projections::{
    database::Database,
    snapshot::{ReadError, Shown},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Without a wake-up everything is looked at this often.
const RESCAN: Duration = Duration::from_secs(5);

/// Things done of each kind in one round.
const PAGE: u32 = 200;

/// The processes of one platform.
pub struct Processes {
    /// The read models.
    pub database: Database,
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
                    tracing::warn!(%problem, "the read models cannot be read: {problem}");
                    false
                }
            };
            let pause = if more { Duration::from_millis(50) } else { RESCAN };
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// One look at everything; says how much was sent.
    async fn round(&self) -> Result<usize, ReadError> {
        let mut sent = 0;
        let snapshot = self.database.snapshot(Shown::Partitions(&[])).await?;
        let reserved = snapshot.reserved_and_not_open(PAGE).await?;
        let late = snapshot.past_deadline(Utc::now(), PAGE).await?;
        let mut deletions = Vec::new();
        let mut empty = Vec::new();
        for tenant in snapshot.closing_tenants(PAGE).await? {
            if tenant.resources == 0 {
                empty.push(tenant.id);
            }
            let next = snapshot.next_to_delete(tenant.id, PAGE).await?;
            deletions.extend(next.into_iter().map(|(resource, generation)| (tenant.id, resource, generation)));
        }
        drop(snapshot);
        for row in reserved {
            let id = CommandId(row.tenant.0).derive("open");
            self.send(row.tenant, id, row.seq, Command::OpenTenant {}).await;
            sent += 1;
        }
        for row in late {
            let id = CommandId(Uuid::new_v5(&row.intent.0, format!("deadline {}", row.deadline).as_bytes()));
            self.send(row.tenant, id, 0, Command::DeadlinePassed { resource: row.resource, intent: row.intent }).await;
            sent += 1;
        }
        for (tenant, resource, generation) in deletions {
            let id = CommandId(resource.0).derive(&format!("drain {generation}"));
            self.send(tenant, id, 0, Command::DeleteResource { resource, if_generation: Some(generation) }).await;
            sent += 1;
        }
        for tenant in empty {
            self.send(tenant, CommandId(tenant.0).derive("close"), 0, Command::CloseTenant { drain: true }).await;
            sent += 1;
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
