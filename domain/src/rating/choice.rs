//! Which lines of a price list hold for a piece of usage.
//!
//! Of each component the most exact line wins: one that names the contract before one that does not, then zone, region, flavor, service, and
//! at last the one with more labels. A card has few kinds of lines by what they name, so a price is found by one look-up a kind.

use super::{
    card::{PriceLine, Scope, Subject},
    number::{ContractName, MeterName},
};
use crate::id::{FlavorName, RegionName, ServiceName, ZoneName};

/// What a line names, the most exact first: contract, zone, region, flavor, service.
type Names<'a> = [Option<&'a str>; 5];

fn names(scope: &Scope) -> Names<'_> {
    [
        scope.contract.as_ref().map(ContractName::as_str),
        scope.zone.as_ref().map(ZoneName::as_str),
        scope.region.as_ref().map(RegionName::as_str),
        scope.flavor.as_ref().map(FlavorName::as_str),
        scope.service.as_ref().map(ServiceName::as_str),
    ]
}

/// At most so many components in a card: one bit each while lines are chosen.
pub(super) const MOST_COMPONENTS: usize = 64;

/// A line as the index has it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    line: usize,
    component: u32,
}

/// The lines of a card by meter and by what they name.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Which names a line gives, in all combinations that occur, the most exact first.
    kinds: Vec<[bool; 5]>,
    /// Sorted by meter and names; those of one key with the most labels first.
    entries: Vec<(Key, Vec<Candidate>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    meter: MeterName,
    names: [Option<Box<str>>; 5],
}

impl Key {
    fn borrowed(&self) -> (&str, Names<'_>) {
        (self.meter.as_str(), self.names.each_ref().map(Option::as_deref))
    }
}

/// Two lines that are equally exact for the same usage, the later one first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous(pub usize, pub usize);

impl Index {
    /// Sorts the lines of a card, given with the number of their component.
    pub fn new(lines: &[PriceLine], components: &[u32]) -> Result<Self, Ambiguous> {
        let mut index = Index::default();
        let mut by_key = std::collections::BTreeMap::<Key, Vec<Candidate>>::new();
        for (i, line) in lines.iter().enumerate() {
            let names = names(&line.scope);
            let kind = names.map(|n| n.is_some());
            if !index.kinds.contains(&kind) {
                index.kinds.push(kind);
            }
            let key = Key { meter: line.meter.clone(), names: names.map(|n| n.map(Box::from)) };
            let rivals = by_key.entry(key).or_default();
            let equal = |c: &&Candidate| c.component == components[i] && may_both_hold(&lines[c.line], line);
            if let Some(rival) = rivals.iter().find(equal) {
                return Err(Ambiguous(i, rival.line));
            }
            rivals.push(Candidate { line: i, component: components[i] });
        }
        index.kinds.sort_by(|a, b| b.cmp(a));
        index.entries = by_key.into_iter().collect();
        for (_, candidates) in &mut index.entries {
            candidates.sort_by_key(|c| std::cmp::Reverse(lines[c.line].scope.labels.len()));
        }
        Ok(index)
    }

    /// Calls `each` with every line that holds, one a component.
    pub fn choose(
        &self,
        lines: &[PriceLine],
        subject: &Subject,
        contract: Option<&ContractName>,
        meter: &MeterName,
        mut each: impl FnMut(usize),
    ) {
        let of = [
            contract.map(ContractName::as_str),
            subject.zone.as_ref().map(ZoneName::as_str),
            subject.region.as_ref().map(RegionName::as_str),
            subject.flavor.as_ref().map(FlavorName::as_str),
            Some(subject.service.as_str()),
        ];
        let mut chosen = 0u64;
        for kind in &self.kinds {
            let mut wanted = of;
            for (name, named) in wanted.iter_mut().zip(kind) {
                if !named {
                    *name = None;
                }
            }
            if wanted.map(|n| n.is_some()) != *kind {
                continue;
            }
            let Ok(found) = self.entries.binary_search_by(|(key, _)| key.borrowed().cmp(&(meter.as_str(), wanted))) else { continue };
            for candidate in &self.entries[found].1 {
                let labels = || lines[candidate.line].scope.labels.iter().all(|(label, value)| subject.labels.get(label) == Some(value));
                if chosen & 1 << candidate.component == 0 && labels() {
                    chosen |= 1 << candidate.component;
                    each(candidate.line);
                }
            }
        }
    }
}

/// True when two lines that name the same are equally exact and there may be usage for both: as many labels, none with two values.
fn may_both_hold(a: &PriceLine, b: &PriceLine) -> bool {
    let (a, b) = (&a.scope.labels, &b.scope.labels);
    a.len() == b.len() && a.iter().all(|(label, value)| b.get(label).is_none_or(|other| other == value))
}
