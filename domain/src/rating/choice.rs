//! Which lines of a price list hold for a piece of usage.
//!
//! Of each component the most exact line wins: one that names the contract before one that does not, then zone, region, flavor, service, and
//! at last the one with more labels. A card has few kinds of lines by what they name, so a price is found by one look-up a kind.

use super::{
    card::{PriceLine, Scope, Subject},
    number::{ContractName, MeterName},
};
use crate::id::{FlavorName, RegionName, ServiceName, ZoneName};
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher},
};

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
    /// By [`key`]; those of one key with the most labels first. Hashed, since a long price list is asked for every piece of usage; nobody walks it.
    entries: HashMap<String, Vec<Candidate>, BuildHasherDefault<DefaultHasher>>,
}

/// Writes a meter and names into one text. No name holds a control character, so it is unambiguous.
fn key(to: &mut String, meter: &MeterName, names: Names<'_>) {
    to.clear();
    to.push_str(meter.as_str());
    for name in names {
        to.push('\u{1f}');
        to.push_str(name.unwrap_or_default());
    }
}

/// Two lines that are equally exact for the same usage, the later one first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous(pub usize, pub usize);

impl Index {
    /// Sorts the lines of a card, given with the number of their component.
    pub fn new(lines: &[PriceLine], components: &[u32]) -> Result<Self, Ambiguous> {
        let mut index = Index::default();
        let mut text = String::new();
        for (i, line) in lines.iter().enumerate() {
            let names = names(&line.scope);
            let kind = names.map(|n| n.is_some());
            if !index.kinds.contains(&kind) {
                index.kinds.push(kind);
            }
            key(&mut text, &line.meter, names);
            let rivals = index.entries.entry(text.clone()).or_default();
            let equal = |c: &&Candidate| c.component == components[i] && may_both_hold(&lines[c.line], line);
            if let Some(rival) = rivals.iter().find(equal) {
                return Err(Ambiguous(i, rival.line));
            }
            // Equal ones stay in the order of the card.
            let before = rivals.partition_point(|c| lines[c.line].scope.labels.len() >= line.scope.labels.len());
            rivals.insert(before, Candidate { line: i, component: components[i] });
        }
        index.kinds.sort_by(|a, b| b.cmp(a));
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
        let (mut chosen, mut text) = (0u64, String::with_capacity(128));
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
            key(&mut text, meter, wanted);
            for candidate in self.entries.get(&text).into_iter().flatten() {
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
