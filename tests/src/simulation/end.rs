//! What must hold once faults are off and virtual time has passed.

use super::{checker::Violated, world::World};
use domain::resource::{Phase, Resource};
use std::collections::BTreeMap;
use workers::provisioning::plan::provider_name;

impl World {
    /// Nobody waits, nothing is on its way, and no step is open that is not shown as overdue.
    pub fn has_converged(&self) -> bool {
        self.clients().iter().all(|client| client.is_done())
            && self.network().is_idle()
            && self.checker.all_answered(self.network())
            && self.deciders().all(|decider| decider.waiting() == 0)
            && self.open_steps().next().is_none()
    }

    fn open_steps(&self) -> impl Iterator<Item = String> {
        let tenants = self.checker.chains.iter().flat_map(|chain| chain.fold.tenants.values());
        tenants.flat_map(|tenant| {
            let steps = tenant.resources.iter().filter_map(|(id, r)| Some((id, r.step.as_ref()?)));
            let open = steps.chain(tenant.remains.iter().map(|(id, r)| (id, &r.step)));
            open.map(|(id, step)| format!("{} of {id}{}", step.work.name(), if step.overdue { ", overdue" } else { "" }))
        })
    }

    pub fn what_is_open(&self) -> String {
        let clients = self.clients().iter().filter(|client| !client.is_done()).map(|client| client.name.clone());
        let deciders = self.deciders().filter(|d| d.waiting() > 0).map(|d| format!("{} has {} waiting", d.name, d.waiting()));
        clients.chain(deciders).chain(self.open_steps()).collect::<Vec<_>>().join("; ")
    }

    /// The log is what it was, all deciders hold it, and the provider holds what it says.
    pub fn check_end(&self) -> Result<(), Violated> {
        self.checker.read_again(self.network())?;
        for decider in self.deciders() {
            for (partition, (stored, observed)) in decider.snapshots() {
                if stored.reader.state.seq != self.checker.chains[partition as usize].seq {
                    return Err(format!("{} has not read p{partition} to its end", decider.name));
                }
                self.checker.agrees(&decider.name, partition, &stored, &observed)?;
            }
        }
        self.provider_is_as_the_log_says()
    }

    fn provider_is_as_the_log_says(&self) -> Result<(), Violated> {
        let mut machines: BTreeMap<String, usize> = BTreeMap::new();
        for (name, _) in self.objects() {
            *machines.entry(name).or_default() += 1;
        }
        let tenants = self.checker.chains.iter().flat_map(|chain| chain.fold.tenants.values());
        for (id, resource) in tenants.flat_map(|tenant| &tenant.resources) {
            let name = provider_name(resource.made_by);
            let found = machines.remove(&name).unwrap_or(0);
            // What vanished is for the sweep to find.
            let fits = match found {
                0 => !should_be_there(resource) || self.vanished.contains(&name),
                1 => should_be_there(resource),
                _ => false,
            };
            if !fits {
                return Err(format!("{id} is {} and the provider has {found} of {name}", resource.phase.name()));
            }
        }
        match machines.first_key_value() {
            Some((name, count)) => Err(format!("the provider has {count} of {name}, which no resource is")),
            None => Ok(()),
        }
    }
}

fn should_be_there(resource: &Resource) -> bool {
    matches!(resource.phase, Phase::Active | Phase::Stopped)
}
