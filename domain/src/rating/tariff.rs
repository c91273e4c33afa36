//! A rate card that was checked: the only kind that can be rated by.

use super::{
    card::{BlockCharge, BlockTier, Card, Change, Model, PriceLine, Subject, Terms, Tier, When},
    choice::{Ambiguous, Index, MOST_COMPONENTS},
    number::{BaseUnit, ContractName, MeterName, Price, PriceId, Quantity, Size, Units},
};
use crate::refusal::Refusal;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// The largest bound of a tier: two of them can be added, with all decimals that quantities have.
const LARGEST: Decimal = Decimal::from_parts(1_874_919_424, 2_328_306, 0, false, 0);

/// What is sold and measured: the catalogue as a card must cover it.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// The meters there are.
    pub meters: BTreeMap<MeterName, BaseUnit>,
    /// What can be ordered, by what is measured of it. Each must have a price, or a line that says `free`.
    pub skus: Vec<(Subject, MeterName)>,
}

/// A published rate card.
#[derive(Debug, Clone)]
pub struct Tariff {
    card: Card,
    index: Index,
    pub(super) lines: Vec<Line>,
}

/// What the evaluator needs of a price line, worked out once.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// The model as steps of the cumulative quantity; the included units are the first. Empty for percentages.
    pub steps: Vec<Step>,
    /// True when the steps are known only at the close.
    pub at_close: bool,
    /// True when the flat amount of the first tier is due whatever is used.
    pub base_fee: bool,
    /// The discount as a fraction.
    pub discount: Decimal,
    /// Which commitment covers the line, by contract.
    pub commitments: Vec<(ContractName, usize)>,
}

/// Units between two bounds of the cumulative quantity.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub kind: StepKind,
    /// The first tier is 1.
    pub tier: u16,
    /// It holds what is more than this.
    pub start: Decimal,
    /// It holds at most this.
    pub end: Option<Decimal>,
    /// Units that are priced together.
    pub block: Option<Decimal>,
    pub unit: Option<Decimal>,
    pub flat: Option<Decimal>,
}

/// What a step is called on an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    Included,
    Plain,
    Tier,
    Package,
    Block,
}

impl Tariff {
    /// Checks a card against what is offered. The refusal names the place in the card.
    pub fn publish(card: Card, offer: &Offer) -> Result<Self, Refusal> {
        if card.valid_to.is_some_and(|to| to <= card.valid_from) {
            return Err(Refusal::field("#/valid_to", "must be after valid_from"));
        }
        if card.currency.exponent().is_none() {
            return Err(Refusal::field("#/currency", "nothing is paid in it"));
        }
        let mut components = BTreeMap::new();
        let mut numbers = Vec::new();
        let mut ids = BTreeSet::new();
        let mut lines = Vec::new();
        for (i, price) in card.prices.iter().enumerate() {
            let at = format!("#/prices/{i}");
            if !ids.insert(&price.id) {
                return Err(Refusal::field(format!("{at}/id"), format!("{} is the id of another line", price.id)));
            }
            let next = components.len() as u32;
            numbers.push(*components.entry(&price.component).or_insert(next));
            if components.len() > MOST_COMPONENTS {
                return Err(Refusal::field(format!("{at}/component"), format!("a card has at most {MOST_COMPONENTS} components")));
            }
            lines.push(Line::new(price, &at, offer)?);
        }
        let index = Index::new(&card.prices, &numbers).map_err(|Ambiguous(later, earlier)| {
            let problem = format!("{} is as exact as {} for the same usage", card.prices[later].id, card.prices[earlier].id);
            Refusal::field(format!("#/prices/{later}/scope"), problem)
        })?;
        check_commitments(&card, &mut lines)?;
        let tariff = Tariff { card, index, lines };
        if let Some((subject, meter)) = tariff.unpriced(offer).next() {
            let flavor = subject.flavor.as_ref().map(|f| format!(" of flavor {f}")).unwrap_or_default();
            let place = subject.zone.as_ref().map(|z| format!(" in {z}")).unwrap_or_default();
            let problem = format!("{meter} of {}{flavor}{place} has no price; what costs nothing must say `free`", subject.service);
            return Err(Refusal::field("#/prices", problem));
        }
        Ok(tariff)
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The line of a price.
    pub fn price(&self, id: &PriceId) -> Option<&PriceLine> {
        self.card.prices.iter().find(|p| p.id == *id)
    }

    /// The lines that hold for usage of `subject` under `contract`, by their place in the card; one a component, none if it has no price.
    pub fn prices(&self, subject: &Subject, contract: Option<&ContractName>, meter: &MeterName) -> Vec<usize> {
        let mut found = Vec::new();
        self.choose(subject, contract, meter, |i| found.push(i));
        found
    }

    /// What is offered without a price.
    pub fn unpriced<'a>(&'a self, offer: &'a Offer) -> impl Iterator<Item = &'a (Subject, MeterName)> {
        offer.skus.iter().filter(|(subject, meter)| {
            let mut priced = false;
            self.choose(subject, None, meter, |_| priced = true);
            !priced
        })
    }

    pub(super) fn choose(&self, subject: &Subject, contract: Option<&ContractName>, meter: &MeterName, each: impl FnMut(usize)) {
        self.index.choose(&self.card.prices, subject, contract, meter, each);
    }
}

impl Line {
    fn new(price: &PriceLine, at: &str, offer: &Offer) -> Result<Self, Refusal> {
        let refuse = |field: &str, problem: String| Err(Refusal::field(format!("{at}/{field}"), problem));
        let Some(base) = offer.meters.get(&price.meter) else {
            return refuse("meter", format!("there is no meter {}", price.meter));
        };
        let timed = matches!(base, BaseUnit::Microseconds | BaseUnit::CountMicroseconds);
        match (price.unit.size, &price.model) {
            (Size::Of(Quantity(..=0)), _) => return refuse("unit/size", "must be more than zero".into()),
            (Size::Period, _) if !timed => return refuse("unit/size", format!("{} does not measure time", price.meter)),
            (size, Model::OneTime { .. }) if size == Size::Period || *base != BaseUnit::Counts => {
                return refuse("model", format!("is charged once, and {} does not count", price.meter));
            }
            (Size::Of(_), Model::Recurring { .. }) if *base != BaseUnit::Counts => {
                return refuse("unit/size", "a recurring price is for the period, or for what is counted in it".into());
            }
            _ => {}
        }
        check_units(&format!("{at}/included"), price.included)?;
        if !(Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&price.discount.decimal()) {
            return refuse("discount", "must be from 0 to 100".into());
        }
        for (field, bound) in [("minimum", price.minimum), ("maximum", price.maximum)] {
            bound.map_or(Ok(()), |b| check_price(&format!("{at}/{field}"), b))?;
        }
        if price.minimum.zip(price.maximum).is_some_and(|(minimum, maximum)| minimum > maximum) {
            return refuse("maximum", "is below the minimum".into());
        }
        let (at_close, base_fee) = match &price.model {
            Model::Volume { base_fee, .. } => (true, *base_fee),
            Model::Graduated { base_fee, .. } => (false, *base_fee),
            Model::Blocks { charge, .. } => (*charge == BlockCharge::TopTier, false),
            _ => (false, false),
        };
        let steps = steps(price, &format!("{at}/model"))?;
        for (i, adjustment) in price.adjustments.iter().enumerate() {
            let at = format!("{at}/adjustments/{i}");
            let per_usage = match &adjustment.change {
                Change::PerUnit { price } => check_price(&format!("{at}/change/price"), *price).map(|()| false)?,
                Change::PerUsage { price } => check_price(&format!("{at}/change/price"), *price).map(|()| true)?,
                Change::Factor { factor } if factor.decimal() < Decimal::ZERO || factor.decimal().scale() > Price::DECIMALS => {
                    return Err(Refusal::field(format!("{at}/change/factor"), "must not be below zero or have more than 9 decimals"));
                }
                Change::Factor { .. } => false,
            };
            if at_close && (per_usage || !adjustment.when.always()) {
                return Err(Refusal::field(at, "a price of all usage together cannot depend on a part of it"));
            }
            check_when(&format!("{at}/when"), &adjustment.when)?;
        }
        let hundredth = Decimal::new(1, 2);
        let discount = super::exact::multiply(price.discount.decimal(), hundredth);
        let discount = discount.map_err(|_| Refusal::field(format!("{at}/discount"), "has too many decimals"))?;
        let kept = Decimal::MAX_SCALE;
        let needed = decimals(price, &steps) + decimals_of(discount);
        if needed > kept {
            let problem = format!("quantity, price, factors and discount together can have {needed} decimals, and {kept} are kept");
            return Err(Refusal::field(at, problem));
        }
        Ok(Line { steps, at_close, base_fee, discount, commitments: Vec::new() })
    }
}

fn decimals_of(number: Decimal) -> u32 {
    number.normalize().scale()
}

/// How many decimals an amount of the line can have before the discount. Of factors that ask for the same things only one is thought to hold.
fn decimals(price: &PriceLine, steps: &[Step]) -> u32 {
    let (mut unit, mut always) = (0, 0);
    let mut sometimes = BTreeMap::<Vec<&str>, u32>::new();
    match &price.model {
        Model::Percentage { percent, .. } => unit = decimals_of(percent.decimal()) + 2,
        Model::Highest { prices } => unit = prices.iter().map(|p| decimals_of(p.price.decimal())).max().unwrap_or(0),
        _ => unit = steps.iter().filter_map(|step| step.unit).map(decimals_of).fold(unit, u32::max),
    }
    for adjustment in &price.adjustments {
        match &adjustment.change {
            Change::PerUnit { price } => unit = unit.max(decimals_of(price.decimal())),
            Change::Factor { factor } if adjustment.when.always() => always += decimals_of(factor.decimal()),
            Change::Factor { factor } => {
                let most = sometimes.entry(adjustment.when.asks()).or_default();
                *most = decimals_of(factor.decimal()).max(*most);
            }
            Change::PerUsage { .. } => {}
        }
    }
    Units::DECIMALS + unit + always + sometimes.values().sum::<u32>()
}

/// The model as steps of the cumulative quantity.
fn steps(price: &PriceLine, at: &str) -> Result<Vec<Step>, Refusal> {
    let one = |kind, unit: Price, block: Option<Units>| {
        check_price(&format!("{at}/price"), unit)?;
        let block = block.map(Units::decimal);
        Ok(vec![Step { kind, tier: 1, start: Decimal::ZERO, end: None, block, unit: Some(unit.decimal()), flat: None }])
    };
    let mut steps = match &price.model {
        Model::Unit { price } | Model::OneTime { price } | Model::Recurring { price } => one(StepKind::Plain, *price, None)?,
        Model::Package { size, price } => {
            check_positive(&format!("{at}/size"), *size)?;
            one(StepKind::Package, *price, Some(*size))?
        }
        Model::Highest { prices } => {
            for (i, alternative) in prices.iter().enumerate() {
                check_price(&format!("{at}/prices/{i}/price"), alternative.price)?;
                check_when(&format!("{at}/prices/{i}/when"), &alternative.when)?;
            }
            one(StepKind::Plain, Price::ZERO, None)?
        }
        Model::Graduated { tiers, .. } | Model::Volume { tiers, .. } => tier_steps(tiers, &format!("{at}/tiers"))?,
        Model::Blocks { tiers, .. } => block_steps(tiers, &format!("{at}/tiers"))?,
        Model::Percentage { percent, per_event, free_value, event_minimum, event_maximum, .. } => {
            if percent.decimal() < Decimal::ZERO || percent.decimal().scale() > Price::DECIMALS - 2 {
                return Err(Refusal::field(format!("{at}/percent"), "must not be below zero or have more than 7 decimals"));
            }
            check_price(&format!("{at}/per_event"), *per_event)?;
            check_units(&format!("{at}/free_value"), *free_value)?;
            for (field, bound) in [("event_minimum", event_minimum), ("event_maximum", event_maximum)] {
                bound.map_or(Ok(()), |b| check_price(&format!("{at}/{field}"), b))?;
            }
            if event_minimum.zip(*event_maximum).is_some_and(|(minimum, maximum)| minimum > maximum) {
                return Err(Refusal::field(format!("{at}/event_maximum"), "is below the minimum"));
            }
            Vec::new()
        }
        Model::Free => Vec::new(),
    };
    let included = price.included.decimal();
    if included > Decimal::ZERO {
        if steps.is_empty() {
            let instead = if price.model == Model::Free { "is free anyway" } else { "is `free_value` in a percentage" };
            return Err(Refusal::field(format!("{}/included", at.trim_end_matches("/model")), instead));
        }
        for step in &mut steps {
            step.start += included;
            step.end = step.end.map(|end| end + included);
        }
        let free =
            Step { kind: StepKind::Included, tier: 0, start: Decimal::ZERO, end: Some(included), block: None, unit: None, flat: None };
        steps.insert(0, free);
    }
    Ok(steps)
}

fn tier_steps(tiers: &[Tier], at: &str) -> Result<Vec<Step>, Refusal> {
    let mut start = Some(Units::ZERO);
    let mut steps = Vec::new();
    for (i, tier) in tiers.iter().enumerate() {
        let at = format!("{at}/{i}");
        let begin = start.ok_or_else(|| Refusal::field(&at, "overlaps the tier before it, which has no end"))?;
        if let Some(from) = tier.from.filter(|from| *from != begin) {
            let what = if from > begin { "leaves a gap after" } else { "overlaps" };
            return Err(Refusal::field(format!("{at}/from"), format!("{what} what ends at {begin}")));
        }
        if let Some(up_to) = tier.up_to {
            check_units(&format!("{at}/up_to"), up_to)?;
            if up_to <= begin {
                return Err(Refusal::field(format!("{at}/up_to"), format!("overlaps what ends at {begin}")));
            }
        }
        for (field, price) in [("unit", tier.unit), ("flat", tier.flat)] {
            price.map_or(Ok(()), |p| check_price(&format!("{at}/{field}"), p))?;
        }
        steps.push(Step {
            kind: StepKind::Tier,
            tier: i as u16 + 1,
            start: begin.decimal(),
            end: tier.up_to.map(Units::decimal),
            block: None,
            unit: tier.unit.map(Price::decimal),
            flat: tier.flat.map(Price::decimal),
        });
        start = tier.up_to;
    }
    check_end(at, tiers.len(), start)?;
    Ok(steps)
}

fn block_steps(tiers: &[BlockTier], at: &str) -> Result<Vec<Step>, Refusal> {
    let mut start = Some(Units::ZERO);
    let mut steps = Vec::new();
    for (i, tier) in tiers.iter().enumerate() {
        let at = format!("{at}/{i}");
        let begin = start.ok_or_else(|| Refusal::field(&at, "overlaps the tier before it, which has no end"))?.decimal();
        check_positive(&format!("{at}/block"), tier.block)?;
        check_price(&format!("{at}/price"), tier.price)?;
        let end = tier.max_blocks.map(|blocks| {
            let width = super::exact::multiply(tier.block.decimal(), Decimal::from(blocks));
            let end = width.and_then(|width| super::exact::add(begin, width)).ok().filter(|end| *end > begin && *end <= LARGEST);
            end.ok_or_else(|| Refusal::field(format!("{at}/max_blocks"), "must be more than zero, and the tier not too large"))
        });
        let end = end.transpose()?;
        steps.push(Step {
            kind: StepKind::Block,
            tier: i as u16 + 1,
            start: begin,
            end,
            block: Some(tier.block.decimal()),
            unit: Some(tier.price.decimal()),
            flat: None,
        });
        start = end.map(Units::from);
    }
    check_end(at, tiers.len(), start)?;
    Ok(steps)
}

fn check_end(at: &str, tiers: usize, end: Option<Units>) -> Result<(), Refusal> {
    match end {
        _ if tiers == 0 || tiers > usize::from(u16::MAX) => Err(Refusal::field(at, "must be from 1 to 65535 tiers")),
        Some(end) => Err(Refusal::field(format!("{at}/{}", tiers - 1), format!("leaves a gap after {end}: the last tier must be open"))),
        None => Ok(()),
    }
}

fn check_price(at: &str, price: Price) -> Result<(), Refusal> {
    let number = price.decimal();
    if number < Decimal::ZERO {
        return Err(Refusal::field(at, "must not be below zero; give a discount instead"));
    }
    if number.normalize().scale() > Price::DECIMALS {
        return Err(Refusal::field(at, format!("has more than {} decimals", Price::DECIMALS)));
    }
    Ok(())
}

fn check_units(at: &str, units: Units) -> Result<(), Refusal> {
    let number = units.decimal();
    if number < Decimal::ZERO || number.normalize().scale() > Units::DECIMALS || number > LARGEST {
        return Err(Refusal::field(at, format!("must be from 0 to {LARGEST} with at most {} decimals", Units::DECIMALS)));
    }
    Ok(())
}

fn check_positive(at: &str, units: Units) -> Result<(), Refusal> {
    check_units(at, units)?;
    if units == Units::ZERO { Err(Refusal::field(at, "must be more than zero")) } else { Ok(()) }
}

fn check_when(at: &str, when: &When) -> Result<(), Refusal> {
    let ranges = when.ranges.iter().enumerate().map(|(i, r)| (format!("{at}/ranges/{i}/range"), r.range));
    for (at, range) in ranges.chain(when.quantity.map(|range| (format!("{at}/quantity"), range))) {
        if range.from.zip(range.below).is_some_and(|(from, below)| below <= from) {
            return Err(Refusal::field(at, "is empty"));
        }
    }
    Ok(())
}

/// Checks commitments and notes in each line which ones cover it.
fn check_commitments(card: &Card, lines: &mut [Line]) -> Result<(), Refusal> {
    let mut known = BTreeSet::new();
    for (c, commitment) in card.commitments.iter().enumerate() {
        let at = format!("#/commitments/{c}");
        if !known.insert(&commitment.name) {
            return Err(Refusal::field(format!("{at}/name"), "is the name of another commitment"));
        }
        let amount = match &commitment.terms {
            Terms::Spend { amount, fee } => check_price(&format!("{at}/terms/fee"), *fee).map(|()| *amount)?,
            Terms::Usage { quantity, fee } => {
                check_positive(&format!("{at}/terms/quantity"), *quantity)?;
                check_price(&format!("{at}/terms/fee"), *fee).map(|()| super::number::Amount::ZERO)?
            }
            Terms::Minimum { amount } => *amount,
        };
        check_price(&format!("{at}/terms/amount"), Price::from(amount.decimal()))?;
        let mut unit = None;
        for (p, id) in commitment.prices.iter().enumerate() {
            let at = format!("{at}/prices/{p}");
            let Some(i) = card.prices.iter().position(|price| price.id == *id) else {
                return Err(Refusal::field(at, format!("there is no price {id}")));
            };
            if lines[i].commitments.iter().any(|(contract, _)| *contract == commitment.contract) {
                return Err(Refusal::field(at, format!("{id} is covered by another commitment of {}", commitment.contract)));
            }
            let price = &card.prices[i];
            if matches!(commitment.terms, Terms::Usage { .. }) {
                let plain = matches!(price.model, Model::Unit { .. } | Model::Highest { .. } | Model::Recurring { .. });
                if !plain || price.maximum.is_some() {
                    return Err(Refusal::field(at, "units are covered only of a price for each unit without a maximum"));
                }
                if *unit.get_or_insert(&price.unit) != &price.unit {
                    return Err(Refusal::field(at, "the lines are priced in different units"));
                }
            }
            lines[i].commitments.push((commitment.contract.clone(), c));
        }
    }
    Ok(())
}
