//! Rate cards as people write and publish them. What is checked about them is in [`super::Tariff::publish`].

use super::number::{
    Amount, CardName, CommitmentName, ContractName, Currency, Factor, MeterName, Percent, Price, PriceId, PricingUnit, Units,
};
use crate::{
    Labels, Timestamp,
    id::{FlavorName, RegionName, ServiceName, ZoneName},
};
use serde::{Deserialize, Serialize};

/// What everything costs from a moment on, in one currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its name.
    pub name: CardName,
    /// In which everything is priced; nothing is ever converted.
    pub currency: Currency,
    /// It prices usage from here on.
    pub valid_from: Timestamp,
    /// It prices usage before this time; without one until it is superseded.
    #[serde(default)]
    pub valid_to: Option<Timestamp>,
    /// The price list.
    pub prices: Vec<PriceLine>,
    /// What tenants have committed themselves to by contract.
    #[serde(default)]
    pub commitments: Vec<Commitment>,
}

/// One line of a price list: for what, by which meter, and how the price comes about.
///
/// In this order: `included`, `model`, `adjustments`, `discount`, `minimum` and `maximum`, and then the commitment that covers the line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PriceLine {
    /// Its id, for ever.
    pub id: PriceId,
    /// Lines of different components add up on the same usage, as a machine and its licence; of one component the most exact one counts.
    #[serde(default)]
    pub component: String,
    /// For what it holds.
    #[serde(default)]
    pub scope: Scope,
    /// Whose quantities it prices.
    pub meter: MeterName,
    /// What the price is for.
    pub unit: PricingUnit,
    /// Free in every period, before everything else.
    #[serde(default)]
    pub included: Units,
    /// How the quantity becomes an amount.
    pub model: Model,
    /// What changes the price of some usage.
    #[serde(default)]
    pub adjustments: Vec<Adjustment>,
    /// Taken off every amount.
    #[serde(default)]
    pub discount: Percent,
    /// The least that the line comes to in a period in which it was used, or in any if it is of a contract.
    #[serde(default)]
    pub minimum: Option<Price>,
    /// The most that the line comes to in a period.
    #[serde(default)]
    pub maximum: Option<Price>,
}

/// For what a price or a condition holds. What is not named holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Tenants with this contract.
    pub contract: Option<ContractName>,
    /// Usage in this zone.
    pub zone: Option<ZoneName>,
    /// Usage in this region.
    pub region: Option<RegionName>,
    /// Usage of this flavor.
    pub flavor: Option<FlavorName>,
    /// Usage of this service.
    pub service: Option<ServiceName>,
    /// Usage with these labels, which operators set; those of customers price nothing.
    pub labels: Labels,
}

/// How a quantity becomes an amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum Model {
    /// Costs nothing, on purpose.
    Free,
    /// So much a unit.
    Unit { price: Price },
    /// Each unit at the price of the tier in which it falls. With `base_fee` the flat amount of the first tier is due before anything is used.
    Graduated {
        tiers: Vec<Tier>,
        #[serde(default = "yes")]
        base_fee: bool,
    },
    /// All units of the period at the price of the tier that their sum reached. Settles at the close.
    Volume {
        tiers: Vec<Tier>,
        #[serde(default = "yes")]
        base_fee: bool,
    },
    /// So much for every package of `size` units that was begun.
    Package { size: Units, price: Price },
    /// Packages whose size and price differ by tier.
    Blocks { tiers: Vec<BlockTier>, charge: BlockCharge },
    /// A share of the value that was handled, and so much an event. The quantity is the value; one without value costs nothing. Free are the
    /// first events until there were `free_events`, or until they came to `free_value`; zero means without such a bound, and none is free
    /// if both are zero. What one event costs can be bounded.
    Percentage {
        percent: Percent,
        #[serde(default)]
        per_event: Price,
        #[serde(default)]
        free_events: u64,
        #[serde(default)]
        free_value: Units,
        #[serde(default)]
        event_minimum: Option<Price>,
        #[serde(default)]
        event_maximum: Option<Price>,
    },
    /// Once for each: an installation, an order.
    OneTime { price: Price },
    /// Every period: for the part of it, if the unit is the period, or else for each that is counted.
    Recurring { price: Price },
    /// The highest of the prices whose condition holds; nothing if none does. CloudKitty's flat mappings are of this kind.
    Highest { prices: Vec<Alternative> },
}

fn yes() -> bool {
    true
}

/// A tier holds what is more than the `up_to` before it and at most its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Tier {
    /// Where it begins, for readers and as a check: the `up_to` before it, or zero.
    pub from: Option<Units>,
    /// Where it ends; the last one, and only that one, is open.
    pub up_to: Option<Units>,
    /// For each unit in it.
    pub unit: Option<Price>,
    /// Once a period, when it is entered.
    pub flat: Option<Price>,
}

/// A tier of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BlockTier {
    /// The units in a block.
    pub block: Units,
    /// How many blocks are in the tier; the last one, and only that one, is open.
    #[serde(default)]
    pub max_blocks: Option<u64>,
    /// For every block that was begun.
    pub price: Price,
}

/// Which tiers of blocks are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BlockCharge {
    /// Each for what falls in it.
    AllTiers,
    /// The one that the sum of the period reached, for all of it. Settles at the close.
    TopTier,
}

/// One of several prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// When it counts.
    #[serde(default)]
    pub when: When,
    /// For each unit.
    pub price: Price,
}

/// A change of the price of some usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// Of which usage.
    #[serde(default)]
    pub when: When,
    /// What changes.
    pub change: Change,
}

/// What an adjustment changes. First all additions to the unit price, then all factors, then what is added to the amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum Change {
    /// Is added to the price of each unit.
    PerUnit { price: Price },
    /// Multiplies unit prices and flat amounts.
    Factor { factor: Factor },
    /// Is added once to each piece of usage, after the factors.
    PerUsage { price: Price },
}

/// A condition on one piece of usage; without anything in it, it always holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Of whom and what.
    pub scope: Scope,
    /// Labels that are numbers, within bounds.
    pub ranges: Vec<LabelRange>,
    /// The quantity of this piece alone.
    pub quantity: Option<Range>,
}

/// A label that is a number, within bounds. Without a lower bound it holds for what lacks the label, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LabelRange {
    /// The label.
    pub label: String,
    /// Its bounds.
    pub range: Range,
}

/// At least `from`, and less than `below`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// The least that is within.
    pub from: Option<Units>,
    /// The least that is above.
    pub below: Option<Units>,
}

/// What a tenant is bound to, period by period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// Its name.
    pub name: CommitmentName,
    /// Tenants with this contract have it.
    pub contract: ContractName,
    /// The lines that it covers; a line is covered by one commitment of a contract at most.
    pub prices: Vec<PriceId>,
    /// To what.
    pub terms: Terms,
}

/// To what a tenant is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum Terms {
    /// The fee is paid whatever happens, and what the lines come to is covered up to `amount`. The rest expires with the period.
    Spend { amount: Amount, fee: Price },
    /// The fee is paid whatever happens, and so many units of the lines are covered, all priced in one unit. The rest expires with the period.
    Usage { quantity: Units, fee: Price },
    /// Everything is paid as usual, and at the close what the lines lack to `amount`.
    Minimum { amount: Amount },
}

/// What usage is of, as prices see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The service.
    pub service: ServiceName,
    /// The flavor, if it has one.
    #[serde(default)]
    pub flavor: Option<FlavorName>,
    /// The zone, if it lives in one.
    #[serde(default)]
    pub zone: Option<ZoneName>,
    /// The region.
    #[serde(default)]
    pub region: Option<RegionName>,
    /// Labels that operators set.
    #[serde(default)]
    pub labels: Labels,
}

impl Scope {
    /// True when usage of `subject` under `contract` is within.
    pub fn holds(&self, subject: &Subject, contract: Option<&ContractName>) -> bool {
        let within = |wanted: Option<&str>, is: Option<&str>| wanted.is_none() || wanted == is;
        within(self.contract.as_ref().map(ContractName::as_str), contract.map(ContractName::as_str))
            && within(self.zone.as_ref().map(ZoneName::as_str), subject.zone.as_ref().map(ZoneName::as_str))
            && within(self.region.as_ref().map(RegionName::as_str), subject.region.as_ref().map(RegionName::as_str))
            && within(self.flavor.as_ref().map(FlavorName::as_str), subject.flavor.as_ref().map(FlavorName::as_str))
            && within(self.service.as_ref().map(ServiceName::as_str), Some(subject.service.as_str()))
            && self.labels.iter().all(|(label, value)| subject.labels.get(label) == Some(value))
    }
}

impl Range {
    fn holds(self, n: Units) -> bool {
        self.from.is_none_or(|from| n >= from) && self.below.is_none_or(|below| n < below)
    }
}

impl When {
    /// True when there is nothing in it.
    pub fn always(&self) -> bool {
        *self == When::default()
    }

    /// What it asks about; conditions that ask for the same things and differ seldom hold together.
    pub(super) fn asks(&self) -> Vec<&str> {
        let Scope { contract, zone, region, flavor, service, labels } = &self.scope;
        let fixed = [
            ("/contract", contract.is_some()),
            ("/zone", zone.is_some()),
            ("/region", region.is_some()),
            ("/flavor", flavor.is_some()),
            ("/service", service.is_some()),
            ("/quantity", self.quantity.is_some()),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, asked)| asked.then_some(name));
        fixed.chain(labels.keys().map(String::as_str)).chain(self.ranges.iter().map(|r| r.label.as_str())).collect()
    }

    /// True when it holds for a piece of usage; `quantity` is that of the piece, asked for only if it matters.
    pub(super) fn holds(&self, subject: &Subject, contract: Option<&ContractName>, quantity: impl Fn() -> Option<Units>) -> bool {
        let label = |r: &LabelRange| match subject.labels.get(&r.label).and_then(|value| value.parse().ok()) {
            Some(n) => r.range.holds(n),
            None => r.range.from.is_none(),
        };
        self.scope.holds(subject, contract)
            && self.ranges.iter().all(label)
            && self.quantity.is_none_or(|range| quantity().is_some_and(|n| range.holds(n)))
    }
}
