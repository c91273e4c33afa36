//! One outcome a key, and one order for everybody.

use super::said;
use crate::chaos::{
    evidence::Evidence,
    history::{Answer, Asked},
    load::ISSUER,
};
use domain::{
    event::{CommandEvent, Event},
    id::{CommandId, TenantId},
    refusal::Refusal,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A key has at most one outcome that stands, everything that repeats it points there, and every success told under it is equal.
pub fn one_outcome(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut standing: BTreeMap<CommandId, u64> = BTreeMap::new();
    for entry in evidence.log.iter().flatten() {
        let Some(id) = entry.command.as_ref().map(|command| CommandId(command.id)) else { continue };
        let first = standing.get(&id).copied();
        match (first, &entry.events[..]) {
            (first, [Event::Command(CommandEvent::Repeated { of })]) if first != Some(*of) => {
                found.push(format!("{} repeats {of}, which does not decide {id}", entry.position));
            }
            (Some(first), events) if stands(events) => found.push(format!("{id} is decided at {first} and again at {}", entry.position)),
            (None, events) if stands(events) => drop(standing.insert(id, entry.position.seq)),
            _ => {}
        }
    }
    let mut told: BTreeMap<(&str, TenantId, &str), (&Answer, &Value)> = BTreeMap::new();
    for record in &evidence.history {
        let (Asked { key: Some(key), route, tenant, .. }, Some(answer)) = (&record.asked, &record.answer) else { continue };
        if answer.is_done() {
            let (first, first_body) = *told.entry((key, *tenant, route)).or_insert((answer, &record.asked.body));
            if *first_body != record.asked.body {
                found.push(format!("{key} was done as {first_body} and as {}", record.asked.body));
            }
            if (first.status, &first.body) != (answer.status, &answer.body) {
                found.push(format!("{key} was answered {} {} and {} {}", first.status, first.body, answer.status, answer.body));
            }
        }
    }
    found
}

/// What decides a command for good.
fn stands(events: &[Event]) -> bool {
    events.iter().all(|event| match event {
        Event::Command(CommandEvent::Refused { refusal, .. }) => !refusal.is_worth_retrying() && *refusal != Refusal::KeyReused,
        Event::Command(CommandEvent::NothingToDo { .. }) => true,
        Event::Command(_) => false,
        _ => true,
    })
}

/// When a decision was asked for first, and when somebody knew it first.
struct Interval<'a> {
    began: u64,
    ended: u64,
    key: &'a str,
}

/// A request that ended before another of the same tenant began has the lower seq.
///
/// The log is the witness of the order, so nothing is searched for: a decision may take effect anywhere between the first sending of its key and the
/// first answer that names its commit, and the seqs must fit into these intervals.
pub fn in_order(evidence: &Evidence) -> Vec<String> {
    let mut first_sent: BTreeMap<CommandId, u64> = BTreeMap::new();
    for record in &evidence.history {
        if let Ok(id) = record.asked.command(ISSUER) {
            let began = first_sent.entry(id).or_insert(record.began);
            *began = record.began.min(*began);
        }
    }
    let mut tenants: BTreeMap<TenantId, BTreeMap<u64, Interval<'_>>> = BTreeMap::new();
    for record in &evidence.history {
        let (Ok(id), Some(answer)) = (record.asked.command(ISSUER), &record.answer) else { continue };
        let Ok(Some(at)) = said::position(evidence, answer) else { continue };
        let fresh = Interval { began: first_sent[&id], ended: record.ended, key: said::key(&record.asked) };
        let interval = tenants.entry(record.asked.tenant).or_default().entry(at.seq).or_insert(fresh);
        interval.ended = record.ended.min(interval.ended);
    }
    let mut found = Vec::new();
    for (tenant, decisions) in &tenants {
        let mut latest: Option<(u64, &Interval<'_>)> = None;
        for (seq, interval) in decisions {
            if let Some((before, earlier)) = latest
                && interval.ended < earlier.began
            {
                let (one, other) = (interval.key, earlier.key);
                found.push(format!("{tenant}: {one} ended before {other} began, and has seq {seq} after {before}"));
            }
            if latest.is_none_or(|(_, earlier)| earlier.began < interval.began) {
                latest = Some((*seq, interval));
            }
        }
    }
    found
}
