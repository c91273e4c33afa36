//! The story of a tenant or a resource: what, who, when, why.

use crate::{
    chain::{Chain, Read},
    source::Source,
};
use chrono::SecondsFormat;
use domain::{event::Event, people::Actor};
use schemas::event::WireEvent;
use std::io::Write;
use uuid::Uuid;

/// Writes every event about `id`, a tenant's or a resource's, and every refusal of what was asked about it. Says how many lines.
pub fn show(source: &Source, id: Uuid, out: &mut impl Write) -> anyhow::Result<u64> {
    let mut chains = Chain::all(&source.journal())?;
    let text = id.to_string();
    let mut lines = 0;
    source.read(|partition, stored| {
        let Some(read) = chains[partition as usize].read(stored) else { return Ok(()) };
        for event in &read.events {
            if concerns(event, id, &text) {
                lines += 1;
                tell(&read, event, out)?;
            }
        }
        Ok(())
    })?;
    Ok(lines)
}

fn concerns(event: &Event, id: Uuid, text: &str) -> bool {
    match event {
        Event::Resource { tenant, resource, .. } => tenant.0 == id || resource.0 == id,
        Event::Cell { tenant, cell, .. } => tenant.0 == id || cell.0 == id,
        Event::Command(_) | Event::Platform(_) => serde_json::to_string(&WireEvent::of(event)).is_ok_and(|json| json.contains(text)),
        Event::Tenant { tenant, .. } | Event::Member { tenant, .. } => tenant.0 == id,
    }
}

fn tell(read: &Read, event: &Event, out: &mut impl Write) -> std::io::Result<()> {
    let wire = WireEvent::of(event);
    let time = read.commit.time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let actor: Option<Actor> = read.commit.actor.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
    let who = match actor {
        Some(Actor::Principal(principal)) => principal.to_string(),
        Some(Actor::Service(name)) => name,
        None => "nobody".to_owned(),
    };
    writeln!(out, "{time}  {:<14} {}", read.position.to_string(), wire.name)?;
    let about = [wire.cell.map(|c| format!("cell {c}")), wire.resource.map(|r| format!("resource {r}"))];
    let about: Vec<String> = about.into_iter().flatten().collect();
    let request = read.commit.command.as_ref().map(|c| format!(", {} in request {}", c.kind, c.request)).unwrap_or_default();
    writeln!(out, "    by {who}{request}{}{}", if about.is_empty() { "" } else { ", " }, about.join(", "))?;
    if wire.data.as_object().is_some_and(|data| !data.is_empty()) {
        writeln!(out, "    {}", wire.data)?;
    }
    Ok(())
}
