//! Each machine at the provider belongs to exactly one resource that is there, and the other way round; once nothing is being done any more.

use crate::chaos::evidence::Evidence;
use domain::resource::Phase;
use std::collections::BTreeMap;

/// What is there and should not be, what is missing, what there is twice, and what is still being done.
pub fn machines(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut built: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &evidence.objects {
        match object.tags.get("resource") {
            Some(resource) => *built.entry(resource).or_default() += 1,
            None => found.push(format!("{} {} belongs to nobody", object.kind, object.id)),
        }
    }
    let tenants = || evidence.ends().flat_map(|end| end.tenants.values());
    for (id, resource) in tenants().flat_map(|tenant| &tenant.resources) {
        if let Some(step) = &resource.step {
            found.push(format!("{id} is {} and still has a step: {}", resource.phase.name(), step.work.name()));
            built.remove(id.to_string().as_str());
            continue;
        }
        let wanted = usize::from(matches!(resource.phase, Phase::Active | Phase::Stopped));
        let there = built.remove(id.to_string().as_str()).unwrap_or(0);
        if there != wanted {
            found.push(format!("{id} is {} and has {there} machines", resource.phase.name()));
        }
    }
    found.extend(tenants().flat_map(|tenant| tenant.remains.keys()).map(|id| format!("remains of {id} are still being removed")));
    found.extend(built.into_iter().map(|(resource, machines)| format!("{machines} machines of {resource}, which is not there")));
    found
}
