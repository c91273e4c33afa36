//! What is known only when a period is over: volume and top tiers, minimum and maximum, and what commitments owe.

use super::{
    card::{Commitment, Terms},
    evaluate::Evaluation,
    exact::{subtract, times},
    number::Price,
    period::{Line, Period, RatingError, Rule},
    tariff::{StepKind, Tariff},
};
use rust_decimal::Decimal;

/// What is still to be added to the lines of a period, now that it is over. Usage without a price stops it.
///
/// It closes the prices and commitments of this card, once: to close them again adds nothing, and to rate by them is an error. Where a card
/// superseded another within the period, the later one is closed first, and then the earlier one for what only that one has.
pub fn close(tariff: &Tariff, period: &mut Period) -> Result<Vec<Line>, RatingError> {
    if !period.unpriced.is_empty() {
        return Err(RatingError::Unpriced(period.unpriced.len()));
    }
    let mut closed = period.clone();
    let lines = settle(tariff, &mut closed)?;
    *period = closed;
    Ok(lines)
}

/// What the close would add if the period were over now. Every line is marked as an estimate.
pub fn estimate(tariff: &Tariff, period: &Period) -> Result<Vec<Line>, RatingError> {
    let mut lines = settle(tariff, &mut period.clone())?;
    lines.iter_mut().for_each(|line| line.estimate = true);
    Ok(lines)
}

fn settle(tariff: &Tariff, period: &mut Period) -> Result<Vec<Line>, RatingError> {
    let mut lines = Vec::new();
    for (i, price) in tariff.card().prices.iter().enumerate() {
        let contracted = price.scope.contract.is_some() && price.scope.contract == period.contract;
        if period.tallies.get(&price.id).map_or(contracted, |tally| !tally.settled) {
            let mut evaluation = Evaluation::new(tariff, period, i, &mut lines);
            evaluation.settle()?;
            let settled = evaluation.state();
            period.swap(settled);
        }
    }
    for commitment in tariff.card().commitments.iter().filter(|c| Some(&c.contract) == period.contract.as_ref()) {
        let drawn = period.drawn.entry(commitment.name.clone()).or_default();
        if !std::mem::replace(&mut drawn.settled, true) {
            owed(commitment, drawn.used.decimal(), &mut lines)?;
        }
    }
    Ok(lines)
}

/// What a commitment owes by itself, when so much of it was used.
fn owed(commitment: &Commitment, used: Decimal, lines: &mut Vec<Line>) -> Result<(), RatingError> {
    let name = || commitment.name.clone();
    let mut owes = |rule, quantity, unit_price, amount| lines.push(Line::of(None, rule, quantity, unit_price, amount));
    match &commitment.terms {
        Terms::Spend { fee, .. } | Terms::Usage { fee, .. } => {
            owes(Rule::Fee { commitment: name() }, Decimal::ONE, fee.decimal(), fee.decimal());
            let unused = subtract(commitment.terms.covers(), used.max(Decimal::ZERO))?;
            if unused > Decimal::ZERO {
                owes(Rule::Unused { commitment: name() }, unused, Decimal::ZERO, Decimal::ZERO);
            }
        }
        Terms::Minimum { amount } => {
            let missing = subtract(amount.decimal(), used)?;
            if missing > Decimal::ZERO {
                owes(Rule::Shortfall { commitment: name() }, Decimal::ONE, missing, missing);
            }
        }
    }
    Ok(())
}

impl Evaluation<'_, '_> {
    fn settle(&mut self) -> Result<(), RatingError> {
        self.closing = true;
        self.tally.settled = true;
        self.adjust(|when| when.always())?;
        let (line, first) = (self.line, !self.tally.begun);
        let base = line.steps.iter().find(|step| step.tier == 1).filter(|_| line.base_fee);
        if line.at_close {
            self.settle_volume()?;
        } else if first && let Some(flat) = base.and_then(|step| step.flat) {
            self.flat(1, flat)?;
        }
        self.price.minimum.map(Price::decimal).map_or(Ok(()), |minimum| self.at_least(minimum))
    }

    /// All units of the period at the price of the tier that they reached.
    fn settle_volume(&mut self) -> Result<(), RatingError> {
        let line = self.line;
        let (units, level) = (self.tally.units.decimal(), self.tally.level.decimal());
        let mut steps = line.steps.iter();
        let mut free = Decimal::ZERO;
        if let Some(step) = steps.clone().next().filter(|step| step.kind == StepKind::Included) {
            steps.next();
            free = step.end.map_or(units, |end| units.min(end)).max(Decimal::ZERO);
            self.unit(step, free, None)?;
        }
        let Some(step) = steps.find(|step| step.end.is_none_or(|end| level <= end)) else { return Ok(()) };
        if (level > step.start || line.base_fee)
            && let Some(flat) = step.flat
        {
            self.flat(step.tier, flat)?;
        }
        let quantity = match step.block {
            Some(block) => times(subtract(level, free)?.max(Decimal::ZERO), block)?,
            None => subtract(units, free)?,
        };
        self.unit(step, quantity, None)
    }
}
