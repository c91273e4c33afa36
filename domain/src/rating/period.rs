//! What a tenant has used in a billing period so far, and the lines that come out of it.

use super::{
    card::{Subject, Terms},
    exact::LostDigit,
    number::{Amount, CommitmentName, ContractName, MeterName, PriceId, Quantity, Units},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A piece of usage: what a meter counted of a subject.
#[derive(Debug, Clone, Copy)]
pub struct Usage<'a> {
    /// Of what.
    pub subject: &'a Subject,
    /// By which meter.
    pub meter: &'a MeterName,
    /// How much there was more, in base units of the meter; less than zero where something was given back.
    pub quantity: Quantity,
    /// How much there would be more if what changed had been there for the whole period: it decides about tiers, while `quantity` is paid.
    /// Only for what is prorated; otherwise the quantity itself decides. Packages and blocks are counted by it and not prorated.
    pub full: Option<Quantity>,
    /// Of how many events it is the sum. Matters only to percentages.
    pub events: u64,
}

impl<'a> Usage<'a> {
    /// Usage of one event that is not prorated.
    pub fn new(subject: &'a Subject, meter: &'a MeterName, quantity: Quantity) -> Self {
        Self { subject, meter, quantity, full: None, events: 1 }
    }
}

/// A line: this quantity at this unit price, by this rule.
///
/// `amount = quantity * unit_price - discounted - capped - covered`, to the last digit. Not rounded: lines of an invoice are sums of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Line {
    /// The line of the price list; none for what a commitment brings itself.
    pub price: Option<PriceId>,
    /// What made it.
    pub rule: Rule,
    /// In the pricing unit; in packages, blocks, events or one, where the rule says so.
    pub quantity: Units,
    /// Of one, with its factors and without discount.
    pub unit_price: Amount,
    /// What the percentage discount took off.
    pub discounted: Amount,
    /// What the maximum took off; below zero what a period that came to less than nothing was given back.
    pub capped: Amount,
    /// What a commitment paid.
    pub covered: Amount,
    /// What is owed.
    pub amount: Amount,
    /// True while the close of the period may still change it.
    pub estimate: bool,
}

impl Line {
    /// A line from which nothing is taken.
    pub(super) fn of(price: Option<PriceId>, rule: Rule, quantity: Decimal, unit_price: Decimal, amount: Decimal) -> Self {
        let (discounted, capped, covered) = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
        let (quantity, unit_price, amount) = (quantity.into(), unit_price.into(), amount.into());
        Line { price, rule, quantity, unit_price, discounted, capped, covered, amount, estimate: false }
    }
}

/// What makes a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum Rule {
    /// The price list says `free`.
    Free,
    /// Included, or before the allowance of a percentage was used up.
    Included,
    /// A price for each unit.
    Unit,
    /// The units that fell in a tier; the first is 1.
    Tier { tier: u16 },
    /// The flat amount of a tier.
    TierFlat { tier: u16 },
    /// Packages that were begun.
    Package,
    /// Blocks of a tier that were begun.
    Block { tier: u16 },
    /// A share of the value.
    Percentage,
    /// The price of an event.
    PerEvent,
    /// To the least or the most that one event costs.
    EventBound,
    /// What an adjustment of the price line adds to each piece of usage; counted from 0.
    PerUsage { adjustment: usize },
    /// To the minimum of the price line.
    Minimum,
    /// The fee of a commitment.
    Fee { commitment: CommitmentName },
    /// What of a commitment expired unused: units, or money as units of one.
    Unused { commitment: CommitmentName },
    /// To the minimum of a commitment.
    Shortfall { commitment: CommitmentName },
}

/// Why usage cannot be rated. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// An amount has more digits than are kept.
    #[error("an amount cannot be exact")]
    LostDigit(#[from] LostDigit),
    /// The quantity of a period has outgrown what is kept.
    #[error("the quantity of {0} in this period is too large")]
    QuantityTooLarge(PriceId),
    /// Which of several events are free, or bounded, cannot be told from their sum.
    #[error("events of {0} must be rated one by one")]
    EventsTogether(PriceId),
    /// The period was closed for this price.
    #[error("the period is closed for {0}")]
    Closed(PriceId),
    /// Usage has no price: the period cannot be closed.
    #[error("usage of {0} kinds has no price")]
    Unpriced(usize),
}

/// Usage that no line of the price list holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unpriced {
    /// Of what.
    pub subject: Subject,
    /// By which meter.
    pub meter: MeterName,
    /// How much so far.
    pub quantity: Quantity,
}

/// A period so far. Tiers, included units, minimum and maximum count over all usage that is rated into it: one for a tenant pools them, one
/// for a resource gives each its own.
///
/// It knows prices and commitments by their ids, so one that goes on under a card that supersedes another within the period goes on counting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// How long it is, in microseconds.
    pub(super) length: Quantity,
    pub(super) contract: Option<ContractName>,
    pub(super) tallies: BTreeMap<PriceId, Tally>,
    pub(super) drawn: BTreeMap<CommitmentName, Drawn>,
    pub(super) unpriced: Vec<Unpriced>,
}

/// How far a commitment was used: money or units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drawn {
    pub used: Units,
    pub settled: bool,
}

/// What one line of the price list has seen of a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// True from the first usage on, be it of nothing.
    pub begun: bool,
    /// What is paid, in base units and in pricing units.
    pub quantity: Quantity,
    pub units: Units,
    /// What decides about tiers, likewise.
    pub full: Quantity,
    pub level: Units,
    /// The highest level so far: the tiers up to there were entered.
    pub top: Units,
    /// Events and their value, as long as they are free.
    pub free_events: u64,
    pub free_value: Units,
    pub allowance_over: bool,
    /// Amounts before minimum, maximum and commitments, and after minimum and maximum.
    pub net: Amount,
    pub bounded: Amount,
    /// True when the period was closed for the line.
    pub settled: bool,
}

impl Period {
    /// Nothing used yet, in a period of `length` microseconds, by a tenant with this contract.
    pub fn open(length: Quantity, contract: Option<ContractName>) -> Self {
        Self { length, contract, tallies: BTreeMap::new(), drawn: BTreeMap::new(), unpriced: Vec::new() }
    }

    /// Usage without a price: it stops the close.
    pub fn unpriced(&self) -> &[Unpriced] {
        &self.unpriced
    }

    /// What a price has come to, after its maximum and before commitments.
    pub fn amount(&self, price: &PriceId) -> Amount {
        self.tallies.get(price).map_or(Amount::ZERO, |t| t.bounded)
    }

    pub(super) fn note_unpriced(&mut self, usage: &Usage<'_>) {
        match self.unpriced.iter_mut().find(|u| u.subject == *usage.subject && u.meter == *usage.meter) {
            Some(known) => known.quantity.0 = known.quantity.0.saturating_add(usage.quantity.0),
            None => {
                let (subject, meter) = (usage.subject.clone(), usage.meter.clone());
                self.unpriced.push(Unpriced { subject, meter, quantity: usage.quantity });
            }
        }
    }
}

impl Terms {
    /// How much of it covers usage: money, or units.
    pub(super) fn covers(&self) -> Decimal {
        match self {
            Terms::Spend { amount, .. } => amount.decimal(),
            Terms::Usage { quantity, .. } => quantity.decimal(),
            Terms::Minimum { .. } => Decimal::ZERO,
        }
    }
}
