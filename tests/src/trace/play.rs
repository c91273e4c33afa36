//! Playing: opens the tenants, then does what their schedules say.
//!
//! A tenant does one thing at a time and goes on when it is acknowledged, so its order is the order of the schedule, and a machine is deleted
//! after its creation was acknowledged. Tenants are played side by side, those with the most to do first: then nobody is left alone at the end.

use super::{
    BEGIN_S, CELLS,
    client::{Answer, Client, Write},
    figures::Figures,
    machines::Machine,
    schedule::{Act, Schedule, Step},
};
use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use std::{cmp::Reverse, num::NonZeroUsize, time::Duration};
use tokio::time::Instant;

/// Second 0 of the trace, 2026-01-01T00:00:00Z, in Unix time.
const ZERO: i64 = 1_767_225_600;

/// How a trace is played.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Begins the names and idempotency keys of everything.
    pub name: String,
    /// Who administers the tenants: issuer and subject.
    pub administrator: (String, String),
    /// The availability zones, one machine each in turn.
    pub zones: Vec<String>,
    /// Times real time, or without waiting.
    pub speed: Option<f64>,
    /// Most tenants at once when nothing is waited for.
    pub at_once: NonZeroUsize,
}

/// A tenant that was opened for the trace.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// The ids of its cells.
    cells: Vec<String>,
    /// Token of the position of its last acknowledgement.
    pub position: Option<String>,
}

impl Tenant {
    /// A tenant of which nothing but its id is known yet.
    pub fn opened(id: impl Into<String>) -> Self {
        Self { id: id.into(), cells: Vec::new(), position: None }
    }
}

/// Writes that it takes to open the tenants and to play the schedules.
pub fn commands(schedules: &[Schedule]) -> u64 {
    schedules.iter().map(|schedule| (1 + CELLS + schedule.steps.len()) as u64).sum()
}

/// A run.
pub struct Player<'a> {
    /// How.
    pub manner: &'a Manner,
    /// Through what.
    pub client: &'a Client,
    /// Who counts.
    pub figures: &'a Figures,
}

impl Player<'_> {
    /// Opens a tenant for each schedule and plays them all to the end; the tenants in the order of the schedules.
    ///
    /// # Errors
    /// When something is refused, or stays undecided for too long.
    pub async fn play(&self, schedules: &[Schedule]) -> anyhow::Result<Vec<Tenant>> {
        let at_once = self.manner.at_once.get();
        let opened = stream::iter(0..schedules.len()).map(|number| self.open(number)).buffered(at_once);
        let mut tenants: Vec<Tenant> = opened.try_collect().await?;
        let mut parts: Vec<(usize, &mut Tenant, &Schedule)> =
            tenants.iter_mut().zip(schedules).enumerate().map(|(number, (tenant, schedule))| (number, tenant, schedule)).collect();
        parts.sort_by_key(|(_, _, schedule)| Reverse(schedule.steps.len()));
        // At a given speed nobody may be late because somebody else is not through.
        let at_once = if self.manner.speed.is_some() { schedules.len().max(1) } else { at_once };
        let began = Instant::now();
        let parts = stream::iter(parts).map(|(number, tenant, schedule)| self.play_one(number, tenant, schedule, began));
        parts.buffer_unordered(at_once).try_collect::<()>().await?;
        Ok(tenants)
    }

    async fn open(&self, number: usize) -> anyhow::Result<Tenant> {
        let Manner { name, administrator: (issuer, subject), .. } = self.manner;
        let reference = format!("{name}-{number}");
        let unlimited = json!({"servers": "unlimited", "vcpus": "unlimited", "memory_mib": "unlimited"});
        let tenant = json!({
            "reference": reference,
            "name": format!("Trace tenant {number}"),
            "administrator": {"issuer": issuer, "subject": subject},
            "clock": "effective",
            "limits": unlimited,
            "cell_default": unlimited,
        });
        let opened = self.post("/v1/tenants".to_owned(), reference.clone(), tenant, None).await?;
        let mut tenant = Tenant { position: opened.position.clone(), ..Tenant::opened(opened.id()?) };
        for cell in 0..CELLS {
            let path = format!("/v1/tenants/{}/cells", tenant.id);
            let body = json!({"name": format!("cell-{cell}")});
            let created = self.post(path, format!("{reference}-cell-{cell}"), body, tenant.position.as_deref()).await?;
            tenant.cells.push(created.id()?);
            tenant.position = created.position.or(tenant.position);
        }
        Ok(tenant)
    }

    async fn post(&self, path: String, key: String, body: Value, at_least: Option<&str>) -> anyhow::Result<Answer> {
        self.client.write(&Write { method: Method::POST, path, key, body: Some(body), at: None, at_least }).await
    }

    async fn play_one(&self, number: usize, tenant: &mut Tenant, schedule: &Schedule, began: Instant) -> anyhow::Result<()> {
        let mut ids: Vec<Option<String>> = vec![None; schedule.machines.len()];
        for step in &schedule.steps {
            if let Some(speed) = self.manner.speed {
                let after = Duration::from_secs(step.at_s - BEGIN_S).div_f64(speed);
                tokio::time::sleep_until(began + after).await;
            }
            self.figures.reached(number, Some(step.at_s));
            let write = self.write(tenant, &schedule.machines[step.machine], ids[step.machine].as_deref(), *step)?;
            let answer = self.client.write(&write).await?;
            if step.act == Act::Create {
                ids[step.machine] = Some(answer.id()?);
            }
            tenant.position = answer.position.or(tenant.position.take());
        }
        self.figures.reached(number, None);
        Ok(())
    }

    fn write(&self, tenant: &Tenant, machine: &Machine, id: Option<&str>, step: Step) -> anyhow::Result<Write<'static>> {
        let resources = format!("/v1/tenants/{}/resources", tenant.id);
        let (seq, name) = (machine.seq, &self.manner.name);
        let (method, path, key, body) = match step.act {
            Act::Create => {
                let zones = &self.manner.zones;
                let body = json!({
                    "cell": tenant.cells[machine.cell],
                    "kind": "server",
                    "zone": zones[usize::try_from(seq)? % zones.len()],
                    "name": format!("vm-{seq}"),
                    "spec": {"vcpus": machine.vcpus, "memory_mib": machine.memory_mib, "image": "trace"},
                });
                (Method::POST, resources, format!("{name}-vm-{seq}-create"), Some(body))
            }
            Act::Delete => {
                let id = id.context("a machine is scheduled to end before it is created")?;
                (Method::DELETE, format!("{resources}/{id}"), format!("{name}-vm-{seq}-delete"), None)
            }
        };
        Ok(Write { method, path, key, body, at: Some(at(step.at_s)?), at_least: None })
    }
}

/// A second of the trace as in RFC 3339.
fn at(second: u64) -> anyhow::Result<String> {
    let time = DateTime::from_timestamp(ZERO + i64::try_from(second)?, 0).with_context(|| format!("second {second} is no time"))?;
    Ok(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_begins_on_the_twenty_first_of_january_at_eight_in_the_evening() {
        assert_eq!(at(0).unwrap(), "2026-01-01T00:00:00Z");
        assert_eq!(at(BEGIN_S).unwrap(), "2026-01-21T20:00:00Z");
    }
}
