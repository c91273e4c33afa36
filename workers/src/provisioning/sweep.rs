//! The sweep of one place: what should be at the provider and is not, and what is there and should not be.
//!
//! Each is believed after two looks in a row, at least the provider's settle time apart, with the same result.
//!
//! - A resource that is settled on the log and whose name was not found has *vanished*. It is reported, becomes `lost`, and is kept for its tenant to
//!   see and delete. Nothing is made again by itself.
//! - An object with the name of a resource that is deleted or failed is an *orphan*. It is reported like a late answer to the create, which opens a
//!   clean-up on the log.
//! - An object with the name of a resource for which the log names another object is a *twin*: two creates took effect. It is reported, which leaves
//!   a note on the log, and deleted.
//!
//! What bears a name that this log does not know is left alone.

use super::{
    plan::{provider_name, resource_named},
    reporter::JournalReporter,
    round::Reported,
};
use crate::provider::{Filter, Object, Outcome, Provider, Status};
use chrono::{TimeDelta, Utc};
use domain::{
    command::Command,
    id::{CommandId, IntentId, ResourceId, ZoneName},
    resource::Phase,
};
use projections::{
    database::Database,
    open_work::StandingRow,
    resources::ResourceRow,
    snapshot::{ReadError, Shown},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use uuid::Uuid;

/// Resources read at a time.
const PAGE: u32 = 1_000;

/// How long one listing, and one deletion, may take.
const CALL: TimeDelta = TimeDelta::seconds(60);

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

/// Where the log and one look at the provider differ.
#[derive(Default)]
struct Differences {
    /// What was not found.
    missing: BTreeMap<ResourceId, StandingRow>,
    /// What was found and should not be there, by the provider's id.
    strays: BTreeMap<String, (Stray, ResourceRow, Object)>,
}

/// Why an object should not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stray {
    Orphan,
    Twin,
}

impl Sweep {
    /// Runs until `stop` says so.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut before = Differences::default();
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(self.every.max(self.provider.settle_time())) => {}
                _ = stop.changed() => return,
            }
            match self.look().await {
                Ok(seen) => {
                    for (resource, row) in seen.missing.iter().filter(|(resource, _)| before.missing.contains_key(*resource)) {
                        self.report_vanished(*resource, row).await;
                    }
                    for (stray, row, object) in seen.strays.values() {
                        if before.strays.get(&object.id).is_some_and(|(same, ..)| same == stray) {
                            self.remove(*stray, row, object).await;
                        }
                    }
                    before = seen;
                }
                Err(problem) => tracing::warn!(place = self.place, problem, "the sweep of {} has to be done again: {problem}", self.place),
            }
        }
    }

    /// What stands is read before the listing and what is gone after it: what is made or deleted meanwhile is not looked for.
    async fn look(&self) -> Result<Differences, String> {
        let mut missing = self.standing().await.map_err(|e| e.to_string())?;
        let found = match self.provider.find(&self.place, Filter::default(), Utc::now() + CALL).await {
            Outcome::Done(objects) => objects,
            Outcome::Absent => Vec::new(),
            Outcome::Refused { reason, .. } | Outcome::Busy { reason, .. } => return Err(reason),
            Outcome::Unknown { why, .. } => return Err(why),
        };
        let names: BTreeSet<(&str, &str)> = found.iter().map(|object| (object.kind.as_str(), object.name.as_str())).collect();
        missing.retain(|_, row| !names.contains(&(row.kind.as_str(), provider_name(row.made_by).as_str())));
        let strays = self.strays(&found).await.map_err(|e| e.to_string())?;
        Ok(Differences { missing, strays })
    }

    async fn standing(&self) -> Result<BTreeMap<ResourceId, StandingRow>, ReadError> {
        let mut standing = BTreeMap::new();
        let mut after = None;
        loop {
            let snapshot = self.database.snapshot(Shown::Partitions(&[])).await?;
            let page = snapshot.standing(self.zone.as_ref(), after, PAGE).await?;
            after = page.last().map(|row| row.resource);
            let is_last = page.len() < PAGE as usize;
            standing.extend(page.into_iter().map(|row| (row.resource, row)));
            if is_last {
                return Ok(standing);
            }
        }
    }

    async fn strays(&self, found: &[Object]) -> Result<BTreeMap<String, (Stray, ResourceRow, Object)>, ReadError> {
        let mut strays = BTreeMap::new();
        for page in found.chunks(PAGE as usize) {
            let ids: Vec<ResourceId> = page.iter().filter_map(|object| resource_named(&object.name)).collect();
            let rows = self.database.snapshot(Shown::Partitions(&[])).await?.known(&ids).await?;
            let rows: BTreeMap<ResourceId, ResourceRow> = rows.into_iter().map(|row| (row.id, row)).collect();
            for object in page {
                if let Some(row) = resource_named(&object.name).and_then(|id| rows.get(&id))
                    && let Some(stray) = stray(row, object)
                {
                    strays.insert(object.id.clone(), (stray, row.clone(), object.clone()));
                }
            }
        }
        Ok(strays)
    }

    async fn report_vanished(&self, resource: ResourceId, row: &StandingRow) {
        let id = CommandId(Uuid::new_v5(&resource.0, format!("vanished {}", row.seq).as_bytes()));
        let vanished = Command::ReportVanished { resource };
        match self.reporter.send(Some(row.tenant), id, 0, vanished).await {
            Reported::Accepted(_) => tracing::warn!(%resource, "{resource} is gone from the provider"),
            Reported::Refused(refusal, _) => tracing::info!(%resource, %refusal, "not vanished after all: {refusal}"),
            Reported::Unknown => {}
        }
    }

    async fn remove(&self, stray: Stray, row: &ResourceRow, object: &Object) {
        let (resource, external) = (row.id, &object.id);
        let id = CommandId(Uuid::new_v5(&resource.0, format!("stray {external} {}", row.changed_seq).as_bytes()));
        let found = Command::ReportDone {
            resource,
            intent: IntentId(resource.0),
            external: Some(external.clone()),
            kind: row.kind.clone(),
            zone: self.zone.clone(),
        };
        match self.reporter.send(Some(row.tenant), id, 0, found).await {
            Reported::Accepted(_) => {
                tracing::warn!(%resource, external, "{external} at the provider is removed: {} of {resource}", stray.name())
            }
            Reported::Refused(refusal, _) => {
                tracing::info!(%resource, external, %refusal, "{external} stays at the provider: {refusal}");
                return;
            }
            Reported::Unknown => return,
        }
        if stray == Stray::Twin {
            match self.provider.delete(&object.address(), Utc::now() + CALL).await {
                Outcome::Done(()) | Outcome::Absent => {}
                other => tracing::info!(external, ?other, "{external} is not deleted yet; the next sweep finds it again"),
            }
        }
    }
}

/// Whether the log, in which nothing is being done to a resource, has another idea of it than this object of its name.
fn stray(row: &ResourceRow, object: &Object) -> Option<Stray> {
    if row.step().is_some() || object.status == Status::Deleting || object.kind != row.kind.as_str() {
        return None;
    }
    match row.state.as_ref().map(|state| state.phase) {
        None | Some(Phase::Failed) => Some(Stray::Orphan),
        Some(Phase::Active | Phase::Stopped) => row.external.as_ref().filter(|external| **external != object.id).map(|_| Stray::Twin),
        Some(Phase::Creating | Phase::Failing | Phase::Deleting | Phase::Lost) => None,
    }
}

impl Stray {
    fn name(self) -> &'static str {
        match self {
            Self::Orphan => "an orphan",
            Self::Twin => "a twin",
        }
    }
}
