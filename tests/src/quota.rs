//! Was a quota ever exceeded, and was anything refused that would have fitted? Told from a dump of the log alone, by counting anew: nothing of the
//! decider's own counting is used.

use anyhow::ensure;
use domain::{
    event::{CommandEvent, Event},
    id::{CellId, Dimension, ResourceId, TenantId},
    quota::{Amounts, Level, Limit},
    refusal::Refusal,
    resource::ResourceEvent as E,
    tenant::{CellEvent, TenantEvent},
};
use replay::{chain::Chain, source::Source};
use schemas::record::Position;
use std::{collections::BTreeMap, path::Path};

type Limits = BTreeMap<Dimension, Limit>;

/// What a resource holds of quota, told from its events.
struct Held {
    tenant: TenantId,
    cell: Option<CellId>,
    now: Amounts,
    /// What it held before a change that is under way, and what it will hold after it.
    change: Option<(Amounts, Amounts)>,
}

/// The limits and claims of one partition.
#[derive(Default)]
pub(crate) struct Count {
    tenants: BTreeMap<TenantId, (Limits, Limits)>,
    cells: BTreeMap<CellId, Limits>,
    held: BTreeMap<ResourceId, Held>,
}

/// Fails at the first position at which a limit was exceeded by a claim, or a claim refused that fitted. Says how many of both it looked at.
pub fn check(dump: &Path) -> anyhow::Result<(u64, u64)> {
    let source = Source::directory(dump)?;
    let mut chains = Chain::all(&source.journal())?;
    let mut counts: Vec<Count> = chains.iter().map(|_| Count::default()).collect();
    let (mut claims, mut refusals) = (0, 0);
    source.read(|partition, stored| {
        let Some(read) = chains[partition as usize].read(stored) else { return Ok(()) };
        let (claimed, refused) = counts[partition as usize].judge(read.position, &read.events)?;
        (claims, refusals) = (claims + claimed, refusals + refused);
        Ok(())
    })?;
    ensure!(claims > 0, "the log holds no claims: nothing was checked");
    Ok((claims, refusals))
}

impl Count {
    /// Counts the events of a commit; says how many claims and refusals are among them, or what is wrong with one.
    pub(crate) fn judge(&mut self, at: Position, events: &[Event]) -> anyhow::Result<(u64, u64)> {
        let (mut claims, mut refusals) = (0, 0);
        for event in events {
            claims += u64::from(self.take(event).map_err(|problem| anyhow::anyhow!("{at}: {problem}"))?);
            if let Event::Command(CommandEvent::Refused {
                refusal: Refusal::QuotaExceeded { level, dimension, limit, used, asked }, ..
            }) = event
            {
                refusals += 1;
                ensure!(Limit::At(used + asked) > *limit, "{at}: refused although it fits");
                ensure!(self.somebody_uses(*level, dimension, *used), "{at}: refused at a use of {used} that nobody has");
            }
        }
        Ok((claims, refusals))
    }

    /// Counts an event; says whether it made a claim, or which limit the claim exceeds.
    pub(crate) fn take(&mut self, event: &Event) -> Result<bool, String> {
        match self.apply(event) {
            Some((tenant, cell)) => self.check_limits(tenant, cell).map(|()| true),
            None => Ok(false),
        }
    }

    /// Applies an event; says where a claim was made.
    fn apply(&mut self, event: &Event) -> Option<(TenantId, Option<CellId>)> {
        match event {
            Event::Tenant { tenant, event: TenantEvent::Opened(r) } => {
                self.tenants.insert(*tenant, (r.limits.clone(), r.cell_default.clone()));
            }
            Event::Tenant { tenant, event: TenantEvent::LimitsSet { limits } } => {
                self.tenants.entry(*tenant).or_default().0.extend(limits.clone())
            }
            Event::Cell { cell, event: CellEvent::Created { limits, .. }, .. } => drop(self.cells.insert(*cell, limits.clone())),
            Event::Cell { cell, event: CellEvent::LimitsSet { limits }, .. } => {
                self.cells.entry(*cell).or_default().extend(limits.iter().filter_map(|(d, l)| Some((d.clone(), (*l)?))));
            }
            Event::Resource { tenant, resource, event: E::Requested(r) } => {
                self.held.insert(*resource, Held { tenant: *tenant, cell: r.cell, now: r.terms.claim.clone(), change: None });
                return Some((*tenant, r.cell));
            }
            Event::Resource { resource, event, .. } => return self.apply_to(*resource, event),
            _ => {}
        }
        None
    }

    fn apply_to(&mut self, resource: ResourceId, event: &E) -> Option<(TenantId, Option<CellId>)> {
        let held = self.held.get_mut(&resource)?;
        match event {
            E::ChangeRequested { terms, .. } => {
                held.change = Some((held.now.clone(), terms.claim.clone()));
                held.now = greatest(&held.now, &terms.claim);
                return Some((held.tenant, held.cell));
            }
            E::Changed { .. } => held.now = held.change.take()?.1,
            E::StepFailed { .. } => held.now = held.change.take().map_or_else(|| held.now.clone(), |(before, _)| before),
            E::Deleted { .. } | E::ProvisioningFailed { .. } | E::Cleaned { .. } => drop(self.held.remove(&resource)),
            _ => {}
        }
        None
    }

    fn used(&self, dimension: &Dimension, here: impl Fn(&Held) -> bool) -> u64 {
        self.held.values().filter(|held| here(held)).map(|held| held.now.get(dimension)).sum()
    }

    fn check_limits(&self, tenant: TenantId, cell: Option<CellId>) -> Result<(), String> {
        let Some((limits, defaults)) = self.tenants.get(&tenant) else { return Err(format!("a claim in {tenant}, which is not open")) };
        let own = cell.and_then(|cell| self.cells.get(&cell));
        for (dimension, limit) in limits {
            let used = self.used(dimension, |held| held.tenant == tenant);
            if Limit::At(used) > *limit {
                return Err(format!("the tenant uses {used} {dimension} of {limit}"));
            }
            let of_cell = own.and_then(|own| own.get(dimension)).or(defaults.get(dimension)).unwrap_or(&Limit::Unlimited).min(limit);
            let used = self.used(dimension, |held| held.cell == cell);
            if cell.is_some() && Limit::At(used) > *of_cell {
                return Err(format!("the cell uses {used} {dimension} of {of_cell}"));
            }
        }
        Ok(())
    }

    fn somebody_uses(&self, level: Level, dimension: &Dimension, amount: u64) -> bool {
        match level {
            Level::Tenant => self.tenants.keys().any(|tenant| self.used(dimension, |held| held.tenant == *tenant) == amount),
            Level::Cell => self.cells.keys().any(|cell| self.used(dimension, |held| held.cell == Some(*cell)) == amount),
        }
    }
}

fn greatest(one: &Amounts, other: &Amounts) -> Amounts {
    let dimensions: std::collections::BTreeSet<&Dimension> = one.iter().chain(other.iter()).map(|(dimension, _)| dimension).collect();
    dimensions.into_iter().map(|d| (d.clone(), one.get(d).max(other.get(d)))).collect()
}
