//! A read is not older than its token, and shows exactly the fold at the position that it names.

use crate::chaos::{
    evidence::Evidence,
    history::{Answer, Asked},
};
use domain::{
    id::{ResourceId, TenantId},
    resource::Resource,
    tenant::Tenant,
};
use schemas::record::Position;
use serde_json::Value;
use std::collections::BTreeSet;

/// Every successful read of the history.
pub fn reads(evidence: &Evidence) -> Vec<String> {
    let reads = evidence.history.iter().filter(|record| record.asked.key.is_none());
    let answered = reads.filter_map(|record| Some((&record.asked, record.answer.as_ref().filter(|answer| answer.status == 200)?)));
    answered
        .filter_map(|(asked, answer)| wrong(evidence, asked, answer).map(|problem| format!("GET {}: {problem}", asked.path())))
        .collect()
}

fn wrong(evidence: &Evidence, asked: &Asked, answer: &Answer) -> Option<String> {
    let positions = |token: &Option<String>| match token {
        Some(token) => evidence.positions(token).map_err(|problem| Some(format!("a position cannot be read: {problem}"))),
        None => Ok(Vec::new()),
    };
    let (wanted, shown) = match (positions(&asked.at_least), positions(&answer.position)) {
        (Ok(wanted), Ok(shown)) => (wanted, shown),
        (Err(problem), _) | (_, Err(problem)) => return problem,
    };
    let partition = evidence.journal.partition_of(Some(asked.tenant));
    let Some(at) = shown.iter().find(|position| position.partition == partition) else { return Some("names no position".to_owned()) };
    if let Some(missed) = wanted.iter().find(|wanted| wanted.partition == partition && wanted.seq > at.seq) {
        return Some(format!("shows {at}, asked for at least {missed}"));
    }
    let tenant = evidence.state(partition, at.seq).and_then(|state| state.tenants.get(&asked.tenant));
    let Some(tenant) = tenant else { return Some(format!("shows a tenant that is not there at {at}")) };
    match asked.resource {
        Some(id) => differs(tenant, id, &answer.body, *at),
        None => lists(tenant, asked.tenant, &answer.body, *at),
    }
}

fn lists(tenant: &Tenant, id: TenantId, body: &Value, at: Position) -> Option<String> {
    let Some(items) = body["items"].as_array() else { return Some("is no list".to_owned()) };
    let shown: BTreeSet<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
    let there: BTreeSet<String> = tenant.resources.keys().map(ToString::to_string).collect();
    if body["next"].is_null() && !shown.iter().copied().eq(there.iter().map(String::as_str)) {
        return Some(format!("lists {} resources of {id}, of which there are {} at {at}", shown.len(), there.len()));
    }
    items.iter().find_map(|item| differs(tenant, item["id"].as_str()?.parse().ok()?, item, at))
}

fn differs(tenant: &Tenant, id: ResourceId, body: &Value, at: Position) -> Option<String> {
    match tenant.resources.get(&id) {
        None => (body["phase"] != "deleted").then(|| format!("{id} is shown as {} and is gone at {at}", body["phase"])),
        Some(resource) => {
            let shown =
                [&body["phase"], &body["name"], &body["generation"], &body["observed_generation"], &body["spec"], &body["step"]["intent"]];
            let there = truth(resource);
            (!shown.into_iter().eq(there.iter())).then(|| format!("{id} is shown as {shown:?}, and is {there:?} at {at}"))
        }
    }
}

fn truth(resource: &Resource) -> [Value; 6] {
    [
        resource.phase.name().into(),
        resource.name.as_str().into(),
        resource.generation.into(),
        resource.observed_generation.into(),
        resource.terms.spec.clone(),
        resource.step.as_ref().map_or(Value::Null, |step| step.intent.to_string().into()),
    ]
}
