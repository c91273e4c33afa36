//! The evaluator: one for all models.
//!
//! A model is a list of steps of the cumulative quantity (see [`super::tariff`]): a price for each unit is one open step, tiers are several,
//! included units are a step that costs nothing. Usage moves the cumulative quantity, and pays for the way in every step that it passes. So it
//! does not matter in how many pieces usage comes. Percentages, whose events differ, have a way of their own.

use super::{
    card::{Change, Commitment, Model, PriceLine, Terms, When},
    choice::MOST_COMPONENTS,
    exact::{add, multiply, share, subtract, times},
    number::{Amount, CommitmentName, ContractName, Price, PriceId, Quantity, Units},
    period::{Drawn, Line, Period, RatingError, Rule, Tally, Usage},
    tariff::{self, Step, StepKind, Tariff},
};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// What one more piece of usage comes to, by the prices of `tariff`, after what `period` has seen.
///
/// Of models that settle at the close there is nothing to see yet; see [`super::estimate`]. Usage without a price makes no line and is listed in
/// the period.
pub fn rate(tariff: &Tariff, usage: &Usage<'_>, period: &mut Period) -> Result<Vec<Line>, RatingError> {
    let mut lines = Vec::new();
    rate_into(tariff, usage, period, &mut lines).map(|()| lines)
}

/// [`rate`] for many pieces of usage: the lines are added to `lines`, and for usage with one price nothing else is allocated.
pub fn rate_into(tariff: &Tariff, usage: &Usage<'_>, period: &mut Period, lines: &mut Vec<Line>) -> Result<(), RatingError> {
    let (mut chosen, mut count) = ([0; MOST_COMPONENTS], 0);
    tariff.choose(usage.subject, period.contract.as_ref(), usage.meter, |line| {
        chosen[count] = line;
        count += 1;
    });
    if count == 0 {
        period.note_unpriced(usage);
    }
    let (before, mut undo) = (lines.len(), Vec::new());
    for (n, &line) in chosen[..count].iter().enumerate() {
        let mut evaluation = Evaluation::new(tariff, period, line, lines);
        match evaluation.usage(usage, period.contract.as_ref(), period.length) {
            Ok(()) => {
                let after = evaluation.state();
                let before = period.swap(after);
                if n + 1 < count {
                    undo.push(before);
                }
            }
            Err(error) => {
                for before in undo.into_iter().rev() {
                    period.swap(before);
                }
                lines.truncate(before);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// What evaluating a line changes: its tally, and how far the commitment that covers it was used. Nothing is what was not there before.
pub(super) struct State<'a> {
    tally: (&'a PriceId, Option<Tally>),
    drawn: Option<(&'a CommitmentName, Option<Drawn>)>,
}

impl Period {
    /// Puts a state in the place of the one that was there.
    pub(super) fn swap<'a>(&mut self, state: State<'a>) -> State<'a> {
        let (price, tally) = state.tally;
        let tally = (price, swap(&mut self.tallies, price, tally));
        State { tally, drawn: state.drawn.map(|(name, drawn)| (name, swap(&mut self.drawn, name, drawn))) }
    }
}

fn swap<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) -> Option<V> {
    match (value, map.get_mut(key)) {
        (Some(value), Some(place)) => Some(std::mem::replace(place, value)),
        (Some(value), None) => map.insert(key.clone(), value),
        (None, _) => map.remove(key),
    }
}

/// One line of the price list at work.
pub(super) struct Evaluation<'t, 'l> {
    pub price: &'t PriceLine,
    pub line: &'t tariff::Line,
    pub tally: Tally,
    pub closing: bool,
    commitment: Option<(&'t Commitment, Drawn)>,
    /// What adjustments add to the unit price, and multiply it with.
    plus: Decimal,
    factor: Decimal,
    lines: &'l mut Vec<Line>,
}

impl<'t, 'l> Evaluation<'t, 'l> {
    pub fn new(tariff: &'t Tariff, period: &Period, line: usize, lines: &'l mut Vec<Line>) -> Self {
        let (price, worked_out) = (&tariff.card().prices[line], &tariff.lines[line]);
        let covering = worked_out.commitments.iter().find(|(contract, _)| Some(contract) == period.contract.as_ref());
        let commitment = covering.map(|(_, c)| &tariff.card().commitments[*c]);
        let commitment = commitment.map(|c| (c, period.drawn.get(&c.name).copied().unwrap_or_default()));
        let tally = period.tallies.get(&price.id).copied().unwrap_or_default();
        Self { price, line: worked_out, tally, closing: false, commitment, plus: Decimal::ZERO, factor: Decimal::ONE, lines }
    }

    pub fn state(self) -> State<'t> {
        let drawn = self.commitment.map(|(commitment, drawn)| (&commitment.name, Some(drawn)));
        State { tally: (&self.price.id, Some(self.tally)), drawn }
    }

    fn usage(&mut self, usage: &Usage<'_>, contract: Option<&ContractName>, length: Quantity) -> Result<(), RatingError> {
        let price = self.price;
        if self.tally.settled {
            return Err(RatingError::Closed(price.id.clone()));
        }
        let own = || price.unit.size.units(usage.quantity, length);
        let holds = |when: &When| when.always() || when.holds(usage.subject, contract, own);
        self.adjust(holds)?;
        let first = !std::mem::replace(&mut self.tally.begun, true);
        let from = self.tally.level.decimal();
        let part = self.advance(usage, length)?;
        let to = self.tally.level.decimal();
        match &price.model {
            Model::Free => self.push(Rule::Free, part, Decimal::ZERO)?,
            Model::Percentage { .. } => self.percentage(usage.events, part)?,
            _ if self.line.at_close => {}
            Model::Highest { prices } => {
                let highest = prices.iter().filter(|p| holds(&p.when)).map(|p| p.price).max();
                let unit = highest.unwrap_or_default().decimal();
                self.walk(&Way { from, to, part, first, unit: Some(unit) })?;
            }
            _ => self.walk(&Way { from, to, part, first, unit: None })?,
        }
        self.tally.top = self.tally.top.max(self.tally.level);
        for (n, adjustment) in price.adjustments.iter().enumerate() {
            if let Change::PerUsage { price } = adjustment.change
                && holds(&adjustment.when)
            {
                self.push(Rule::PerUsage { adjustment: n }, Decimal::ONE, price.decimal())?;
            }
        }
        Ok(())
    }

    /// Works out what the adjustments whose condition holds add to the unit price and multiply it with.
    pub fn adjust(&mut self, holds: impl Fn(&When) -> bool) -> Result<(), RatingError> {
        for adjustment in self.price.adjustments.iter().filter(|a| holds(&a.when)) {
            match adjustment.change {
                Change::PerUnit { price } => self.plus = add(self.plus, price.decimal())?,
                Change::Factor { factor } => self.factor = multiply(self.factor, factor.decimal())?,
                Change::PerUsage { .. } => {}
            }
        }
        Ok(())
    }

    /// Moves the cumulative quantities; returns the part that is paid, in pricing units.
    ///
    /// What is prorated to nothing never was there in this period: it enters no tier, and its end leaves none.
    fn advance(&mut self, usage: &Usage<'_>, length: Quantity) -> Result<Decimal, RatingError> {
        let (price, tally) = (self.price, &mut self.tally);
        let units = |quantity| price.unit.size.units(quantity, length);
        let too_large = || RatingError::QuantityTooLarge(price.id.clone());
        let more = usage.full.unwrap_or(usage.quantity).0;
        let full = tally.full.0.checked_add(more).ok_or_else(too_large)?;
        if usage.full.is_some() && usage.quantity.0 == 0 && (more > 0 || full < 0) {
            return Ok(Decimal::ZERO);
        }
        let before = tally.units.decimal();
        tally.quantity.0 = tally.quantity.0.checked_add(usage.quantity.0).ok_or_else(too_large)?;
        tally.units = units(tally.quantity).ok_or_else(too_large)?;
        tally.full.0 = full;
        tally.level = if tally.full == tally.quantity { tally.units } else { units(tally.full).ok_or_else(too_large)? };
        Ok(subtract(tally.units.decimal(), before)?)
    }

    /// Pays for the way from one level to another, step by step, and the flat amounts of the tiers that are entered.
    fn walk(&mut self, way: &Way) -> Result<(), RatingError> {
        let (line, top) = (self.line, self.tally.top.decimal());
        if way.to < way.from {
            return line.steps.iter().rev().try_for_each(|step| self.pass(step, way));
        }
        for step in &line.steps {
            self.pass(step, way)?;
            let due = if line.base_fee && step.tier == 1 { way.first } else { top <= step.start && step.start < way.to };
            if due && let Some(flat) = step.flat {
                self.flat(step.tier, flat)?;
            }
        }
        Ok(())
    }

    /// Pays for the part of the way that lies in a step. Below zero is as the first step.
    fn pass(&mut self, step: &Step, way: &Way) -> Result<(), RatingError> {
        let Way { from, to, part, .. } = *way;
        let (least, most) = (from.min(to), from.max(to));
        let lowest = self.line.steps.first().is_some_and(|first| first.start == step.start);
        let begin = if lowest { least } else { step.start };
        let (low, high) = (least.max(begin), step.end.map_or(most, |end| most.min(end)));
        // Where the level stays and something is paid nevertheless, it is paid where the level is.
        let stays = from == to && !part.is_zero() && low == high && (lowest || begin < to);
        if low >= high && !stays {
            return Ok(());
        }
        if let Some(block) = step.block {
            let blocks = |level: Decimal| times(subtract(level.max(step.start), step.start)?, block);
            let begun = subtract(blocks(high)?, blocks(low)?)?;
            return self.unit(step, if to < from { -begun } else { begun }, None);
        }
        let distance = subtract(most, least)?;
        let paid = if stays || (low, high) == (least, most) {
            part
        } else if subtract(to, from)? == part {
            let paid = subtract(high, low)?;
            if to < from { -paid } else { paid }
        } else {
            // Shares are counted from where the way began, so that they add up.
            let (before, after) =
                if to < from { (subtract(most, high)?, subtract(most, low)?) } else { (subtract(low, least)?, subtract(high, least)?) };
            let share =
                |way| share(part, way, distance, Units::DECIMALS).ok_or_else(|| RatingError::QuantityTooLarge(self.price.id.clone()));
            subtract(share(after)?, share(before)?)?
        };
        self.unit(step, paid, way.unit)
    }

    /// The units, packages or blocks of a step, if it has a price for them; `instead` replaces that price.
    pub fn unit(&mut self, step: &Step, quantity: Decimal, instead: Option<Decimal>) -> Result<(), RatingError> {
        let rule = match step.kind {
            StepKind::Included if quantity.is_zero() => return Ok(()),
            StepKind::Included => return self.push(Rule::Included, quantity, Decimal::ZERO),
            StepKind::Plain => Rule::Unit,
            StepKind::Tier => Rule::Tier { tier: step.tier },
            StepKind::Package => Rule::Package,
            StepKind::Block => Rule::Block { tier: step.tier },
        };
        match instead.or(step.unit) {
            Some(unit) if !quantity.is_zero() => self.push(rule, quantity, multiply(add(unit, self.plus)?, self.factor)?),
            _ => Ok(()),
        }
    }

    /// The flat amount of a tier.
    pub fn flat(&mut self, tier: u16, flat: Decimal) -> Result<(), RatingError> {
        self.push(Rule::TierFlat { tier }, Decimal::ONE, multiply(flat, self.factor)?)
    }

    /// A share of the value of events, and so much an event.
    fn percentage(&mut self, events: u64, value: Decimal) -> Result<(), RatingError> {
        let Model::Percentage { percent, per_event, free_events, free_value, event_minimum, event_maximum } = &self.price.model else {
            return Ok(());
        };
        if value.is_zero() {
            return Ok(());
        }
        let bounded = event_minimum.is_some() || event_maximum.is_some();
        let allowance = (*free_events > 0 || *free_value > Units::ZERO) && !self.tally.allowance_over;
        if events > 1 && (bounded || allowance) {
            return Err(RatingError::EventsTogether(self.price.id.clone()));
        }
        let mut paid = value;
        if allowance {
            let after = add(self.tally.free_value.decimal(), value)?;
            let over = *free_value > Units::ZERO && after > free_value.decimal();
            paid = if over { subtract(after, free_value.decimal())? } else { Decimal::ZERO };
            self.tally.free_events += 1;
            self.tally.free_value = after.into();
            self.tally.allowance_over = over || after == free_value.decimal() || self.tally.free_events == *free_events;
            self.push(Rule::Included, subtract(value, paid)?, Decimal::ZERO)?;
            if !over {
                return Ok(());
            }
        }
        let rate = multiply(multiply(percent.decimal(), Decimal::new(1, 2))?, self.factor)?;
        let fixed = multiply(per_event.decimal(), self.factor)?;
        self.push(Rule::Percentage, paid, rate)?;
        // What is given back is an amount, not an event.
        let events = if paid > Decimal::ZERO { Decimal::from(events) } else { Decimal::ZERO };
        if !fixed.is_zero() && !events.is_zero() {
            self.push(Rule::PerEvent, events, fixed)?;
        }
        if bounded && !events.is_zero() {
            let amount = add(multiply(paid, rate)?, fixed)?;
            let least = event_minimum.map_or(amount, |minimum| amount.max(minimum.decimal()));
            let within = event_maximum.map_or(least, |maximum| least.min(maximum.decimal()));
            if within != amount {
                self.push(Rule::EventBound, Decimal::ONE, subtract(within, amount)?)?;
            }
        }
        Ok(())
    }

    /// A line of the model: discount, then minimum and maximum, then the commitment.
    fn push(&mut self, rule: Rule, quantity: Decimal, unit_price: Decimal) -> Result<(), RatingError> {
        let list = multiply(quantity, unit_price)?;
        let discounted = if self.line.discount.is_zero() { Decimal::ZERO } else { multiply(list, self.line.discount)? };
        let net = subtract(list, discounted)?;
        let total = add(self.tally.net.decimal(), net)?;
        let bounded = self.price.maximum.map(Price::decimal).map_or(total, |maximum| total.min(maximum)).max(Decimal::ZERO);
        let amount = subtract(bounded, self.tally.bounded.decimal())?;
        self.tally.net = total.into();
        self.tally.bounded = bounded.into();
        self.charge(Line {
            price: Some(self.price.id.clone()),
            rule,
            quantity: quantity.into(),
            unit_price: unit_price.into(),
            discounted: discounted.into(),
            capped: subtract(net, amount)?.into(),
            covered: Amount::ZERO,
            amount: amount.into(),
            estimate: amount != net && !self.closing,
        })
    }

    /// What the amount of the line lacks to a least amount.
    pub fn at_least(&mut self, minimum: Decimal) -> Result<(), RatingError> {
        let missing = subtract(minimum, self.tally.bounded.decimal())?;
        if missing <= Decimal::ZERO {
            return Ok(());
        }
        self.tally.bounded = minimum.into();
        self.charge(Line::of(Some(self.price.id.clone()), Rule::Minimum, Decimal::ONE, missing, missing))
    }

    /// Lets the commitment pay what it covers.
    fn charge(&mut self, mut line: Line) -> Result<(), RatingError> {
        if let Some((commitment, Drawn { used, .. })) = &mut self.commitment {
            let covers = commitment.terms.covers();
            let by_units = matches!(commitment.terms, Terms::Usage { .. });
            let moved = match (by_units, &line.rule) {
                (false, _) => line.amount.decimal(),
                (true, Rule::Unit) => line.quantity.decimal(),
                (true, _) => Decimal::ZERO,
            };
            let within = |used: Units| used.decimal().max(Decimal::ZERO).min(covers);
            let before = within(*used);
            *used = add(used.decimal(), moved)?.into();
            let mut covered = subtract(within(*used), before)?;
            if by_units {
                let list = multiply(covered, line.unit_price.decimal())?;
                covered = subtract(list, multiply(list, self.line.discount)?)?;
            }
            line.covered = covered.into();
            line.amount = subtract(line.amount.decimal(), covered)?.into();
        }
        self.lines.push(line);
        Ok(())
    }
}

/// The way of the cumulative quantity.
struct Way {
    from: Decimal,
    to: Decimal,
    /// What of it is paid: all of it, unless it is prorated.
    part: Decimal,
    /// True when nothing was used before, not even nothing.
    first: bool,
    /// The price that replaces that of the steps.
    unit: Option<Decimal>,
}
