//! From lives to quantities: what exists, measured by the meters of its service, cut at every hour and midnight.
//!
//! A quantity is a whole number, an amount times microseconds, so pieces add up to the whole however time is cut.

use super::{
    calendar::{Calendar, Slot},
    life::{Life, Span},
    meter::{Evidence, Existence, Meter},
};
use crate::{
    Timestamp,
    catalogue::Spec,
    rating::{MeterName, Quantity},
};
use std::{ops::Range, sync::Arc};

/// What one meter counted in a part of a slot in which the resource did not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece<'a> {
    /// By which meter.
    pub meter: &'a MeterName,
    /// When: within one slot.
    pub time: Slot,
    /// How much, in base units of the meter; more than zero.
    pub quantity: Quantity,
    /// What the provider ran, of which the price may depend.
    pub spec: Arc<Spec>,
}

/// A spec so large that its usage cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what {0} measures is too large")]
pub struct TooLarge(MeterName);

/// What the meters of existence counted of a resource in `window`, in order of time. What is still there is counted to the window's end.
///
/// # Errors
///
/// Amounts beyond 2^127; orders of that size are refused by every schema.
pub fn usage<'a>(
    life: &Life,
    meters: impl IntoIterator<Item = &'a Meter>,
    calendar: &Calendar,
    window: Range<Timestamp>,
) -> Result<Vec<Piece<'a>>, TooLarge> {
    let meters: Vec<(&MeterName, &Existence)> = meters.into_iter().filter_map(existing).collect();
    let mut pieces = Vec::new();
    for Span { start, end, spec, running } in life.spans() {
        let end = end.map_or(window.end, |end| end.min(window.end));
        let start = start.max(window.start);
        let mut counting = Vec::with_capacity(meters.len());
        for (meter, rule) in meters.iter().filter(|(_, rule)| running || rule.while_stopped) {
            let amount = rule.amount(&spec).ok_or_else(|| TooLarge((*meter).clone()))?;
            counting.extend((amount > 0).then_some((*meter, amount)));
        }
        for time in calendar.slots(start, end) {
            for &(meter, amount) in &counting {
                let quantity = amount.checked_mul(i128::from(time.microseconds())).ok_or_else(|| TooLarge(meter.clone()))?;
                pieces.push(Piece { meter, time, quantity: Quantity(quantity), spec: spec.clone() });
            }
        }
    }
    Ok(pieces)
}

fn existing(meter: &Meter) -> Option<(&MeterName, &Existence)> {
    match &meter.from {
        Evidence::Existence(rule) => Some((&meter.name, rule)),
        Evidence::Readings(_) => None,
    }
}

impl Existence {
    /// The amount of a spec in base units. A field that is absent is none; one that is no whole number was refused when it was ordered.
    fn amount(&self, spec: &Spec) -> Option<i128> {
        let amount = match &self.field {
            None => 1,
            Some(field) => spec.get(field).and_then(Spec::as_u64).unwrap_or(0),
        };
        i128::from(amount).checked_mul(i128::from(self.factor))
    }
}
