//! Reads the configuration of CloudKitty's hashmap module as a rate card.
//!
//! How CloudKitty counts, group by group: of the flat mappings that match, the largest is the unit price; all matching rates multiply it. Of the
//! thresholds that are reached, those of fields and of the service together, the one with the highest level counts: one of a field is added
//! to the unit price or multiplies it, one of the service, whose level is the quantity, is added to the amount or multiplies it. Groups
//! add up. So a group becomes a component: its flat mappings the model `highest`, its rates factors, and each threshold an adjustment that
//! holds from its level up to where a higher one takes over. Fields become labels.

use super::{
    card::{Adjustment, Alternative, Card, Change, LabelRange, Model, PriceLine, Range, Scope, When},
    number::{BadNumber, CardName, Currency, Factor, MeterName, Percent, PriceId, PricingUnit, Units},
};
use crate::{Timestamp, id::ServiceName, refusal::Refusal};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One mapping or threshold, with the names of its service, field and group instead of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The service.
    pub service: String,
    /// The field; none for what holds for the whole service.
    #[serde(default)]
    pub field: Option<String>,
    /// What the field must be; for mappings of fields.
    #[serde(default)]
    pub value: Option<String>,
    /// From where on it counts; for thresholds.
    #[serde(default)]
    pub threshold: Option<Level>,
    /// The group.
    #[serde(default = "default_group")]
    pub group: String,
    /// What the cost does.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// A price or a factor.
    pub cost: String,
    /// For this tenant alone, in place of the same rule for all.
    #[serde(default)]
    pub tenant: Option<String>,
}

fn default_group() -> String {
    "_DEFAULT_".into()
}

/// What a cost does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is a price.
    Flat,
    /// It is a factor.
    Rate,
}

/// A level, which CloudKitty gives as a whole number or as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// A whole number.
    Whole(i64),
    /// Any number.
    Number(Units),
}

impl Level {
    fn units(self) -> Units {
        match self {
            Level::Whole(n) => rust_decimal::Decimal::from(n).into(),
            Level::Number(n) => n,
        }
    }
}

/// What a service is measured by, which CloudKitty's hashmap does not know.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The meter.
    pub meter: MeterName,
    /// What CloudKitty collects it in.
    pub unit: PricingUnit,
}

/// What a card needs beside its prices.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its name.
    pub name: CardName,
    /// The currency; CloudKitty has none.
    pub currency: Currency,
    /// From when on it is valid.
    pub valid_from: Timestamp,
}

/// The card of a tenant: the rules for all, and over them its own. A refusal points into `rules`.
pub fn import(rules: &[Rule], tenant: Option<&str>, measured: &BTreeMap<String, Measured>, head: Head) -> Result<Card, Refusal> {
    let mut groups = BTreeMap::<(&str, &str), Vec<(usize, &Rule)>>::new();
    let of_all = rules.iter().enumerate().filter(|(_, rule)| rule.tenant.is_none());
    let own = rules.iter().enumerate().filter(|(_, rule)| rule.tenant.is_some() && rule.tenant.as_deref() == tenant);
    for (i, rule) in of_all.chain(own) {
        let group = groups.entry((&rule.service, &rule.group)).or_default();
        match group.iter_mut().find(|(_, known)| same_place(known, rule)) {
            Some(replaced) => *replaced = (i, rule),
            None => group.push((i, rule)),
        }
    }
    let mut prices = Vec::new();
    for ((service, group), rules) in groups {
        let first = format!("#/{}", rules[0].0);
        let refuse = |problem: String| Refusal::field(format!("{first}/service"), problem);
        let Some(Measured { meter, unit }) = measured.get(service) else {
            return Err(refuse(format!("it is not known by which meter {service} is measured")));
        };
        let (model, adjustments) = price(&rules)?;
        prices.push(PriceLine {
            id: id(service, group).map_err(|e| refuse(e.to_string()))?,
            component: group.to_owned(),
            scope: Scope { service: Some(service.parse::<ServiceName>().map_err(|e| refuse(e.to_string()))?), ..Scope::default() },
            meter: meter.clone(),
            unit: unit.clone(),
            included: Units::ZERO,
            model,
            adjustments,
            discount: Percent::ZERO,
            minimum: None,
            maximum: None,
        });
    }
    let Head { name, currency, valid_from } = head;
    Ok(Card { name, currency, valid_from, valid_to: None, prices, commitments: Vec::new() })
}

/// True when one rule takes the place of the other: CloudKitty keeps one a value and one a level.
fn same_place(a: &Rule, b: &Rule) -> bool {
    a.field == b.field && a.value == b.value && a.threshold.map(Level::units) == b.threshold.map(Level::units)
}

fn id(service: &str, group: &str) -> Result<PriceId, crate::id::BadName> {
    let name: String = format!("{service}.{group}").to_lowercase();
    name.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'), "-").parse()
}

/// The rules of one group as a model and its adjustments.
fn price(rules: &[(usize, &Rule)]) -> Result<(Model, Vec<Adjustment>), Refusal> {
    let mut thresholds: Vec<_> = rules.iter().filter_map(|(i, rule)| Some((*i, *rule, rule.threshold?.units()))).collect();
    // As CloudKitty looks at them: the service first, then its fields; of equal levels the first one counts.
    thresholds.sort_by_key(|(_, rule, level)| (rule.field.clone(), *level));
    let mut prices = Vec::new();
    let mut adjustments = Vec::new();
    for (i, rule) in rules.iter().filter(|(_, rule)| rule.threshold.is_none()) {
        let mut when = When::default();
        match (&rule.field, &rule.value) {
            (None, None) => {}
            (Some(field), Some(value)) => drop(when.scope.labels.insert(field.clone(), value.clone())),
            _ => return Err(Refusal::field(format!("#/{i}/value"), "a mapping of a field has a value, one of a service has none")),
        }
        match rule.kind {
            Kind::Flat => prices.push(Alternative { when, price: cost(*i, rule)? }),
            Kind::Rate => adjustments.push(Adjustment { when, change: Change::Factor { factor: cost::<Factor>(*i, rule)? } }),
        }
    }
    for (n, (i, rule, level)) in thresholds.iter().enumerate() {
        let change = match (rule.kind, &rule.field) {
            (Kind::Rate, _) => Change::Factor { factor: cost(*i, rule)? },
            (Kind::Flat, Some(_)) => Change::PerUnit { price: cost(*i, rule)? },
            (Kind::Flat, None) => Change::PerUsage { price: cost(*i, rule)? },
        };
        let mut reached = BTreeMap::from([(rule.field.as_deref(), Range { from: Some(*level), below: None })]);
        for (other, (_, rival, higher)) in thresholds.iter().enumerate() {
            let wins = higher > level || higher == level && other < n;
            let range = reached.entry(rival.field.as_deref()).or_default();
            if wins && range.below.is_none_or(|below| *higher < below) {
                range.below = Some(*higher);
            }
        }
        let mut when = When { quantity: reached.remove(&None).filter(|range| *range != Range::default()), ..When::default() };
        when.ranges = reached.into_iter().filter_map(|(field, range)| Some(LabelRange { label: field?.to_owned(), range })).collect();
        when.ranges.retain(|r| r.range != Range::default());
        adjustments.push(Adjustment { when, change });
    }
    Ok((Model::Highest { prices }, adjustments))
}

fn cost<N: std::str::FromStr<Err = BadNumber>>(i: usize, rule: &Rule) -> Result<N, Refusal> {
    rule.cost.parse().map_err(|e: BadNumber| Refusal::field(format!("#/{i}/cost"), e.to_string()))
}
