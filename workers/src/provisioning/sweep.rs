//! The sweep of one place: what should be at the provider and is not.
//!
//! A resource has *vanished* if and only if it is settled on the log, nothing is being done to it, and two looks in a row, at least the provider's settle
//! time apart, did not find its name. It is reported, becomes `lost`, and is kept for its tenant to see and delete. Nothing is made again by itself.

use super::{plan::provider_name, reporter::JournalReporter, round::Reported};
use crate::provider::{Filter, Outcome, Provider};
use chrono::{TimeDelta, Utc};
use domain::{
    command::Command,
    id::{CommandId, ResourceId, ZoneName},
};
use projections::{database::Database, open_work::StandingRow, snapshot::Shown};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use uuid::Uuid;

/// Resources read at a time.
const PAGE: u32 = 1_000;

/// How long one listing may take.
const LISTING: TimeDelta = TimeDelta::seconds(60);

/// Sweeps one place.
pub struct Sweep {
    /// The zone; none for what belongs to the region.
    pub zone: Option<ZoneName>,
    /// The place's name at the provider.
    pub place: String,
    /// The read models.
    pub database: Database,
    /// What is swept.
    pub provider: Arc<dyn Provider>,
    /// Where reports go.
    pub reporter: JournalReporter,
    /// How often; longer than the provider's settle time.
    pub every: Duration,
}

impl Sweep {
    /// Runs until `stop` says so.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut missing = BTreeSet::new();
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(self.every.max(self.provider.settle_time())) => {}
                _ = stop.changed() => return,
            }
            match self.look().await {
                Ok(seen) => {
                    for (resource, row) in seen.iter().filter(|(resource, _)| missing.contains(*resource)) {
                        self.report(*resource, row).await;
                    }
                    missing = seen.into_keys().collect();
                }
                Err(problem) => tracing::warn!(place = self.place, problem, "the sweep of {} has to be done again: {problem}", self.place),
            }
        }
    }

    /// What is settled on the log and not found at the provider. The log is read first: what is made meanwhile is not looked for.
    async fn look(&self) -> Result<BTreeMap<ResourceId, StandingRow>, String> {
        let mut standing = BTreeMap::new();
        let mut after = None;
        loop {
            let snapshot = self.database.snapshot(Shown::Partitions(&[])).await.map_err(|e| e.to_string())?;
            let page = snapshot.standing(self.zone.as_ref(), after, PAGE).await.map_err(|e| e.to_string())?;
            after = page.last().map(|row| row.resource);
            let is_last = page.len() < PAGE as usize;
            standing.extend(page.into_iter().map(|row| (row.resource, row)));
            if is_last {
                break;
            }
        }
        if standing.is_empty() {
            return Ok(standing);
        }
        let found = match self.provider.find(&self.place, Filter::default(), Utc::now() + LISTING).await {
            Outcome::Done(objects) => objects,
            Outcome::Absent => Vec::new(),
            Outcome::Refused { reason, .. } | Outcome::Busy { reason, .. } => return Err(reason),
            Outcome::Unknown { why, .. } => return Err(why),
        };
        let names: BTreeSet<(String, String)> = found.into_iter().map(|object| (object.kind, object.name)).collect();
        standing.retain(|_, row| !names.contains(&(row.kind.to_string(), provider_name(row.made_by))));
        Ok(standing)
    }

    async fn report(&self, resource: ResourceId, row: &StandingRow) {
        let id = CommandId(Uuid::new_v5(&resource.0, format!("vanished {}", row.seq).as_bytes()));
        let vanished = Command::ReportVanished { resource };
        match self.reporter.send(Some(row.tenant), id, 0, vanished).await {
            Reported::Accepted(_) => tracing::warn!(%resource, "{resource} is gone from the provider"),
            Reported::Refused(refusal, _) => tracing::info!(%resource, %refusal, "not vanished after all: {refusal}"),
            Reported::Unknown => {}
        }
    }
}
