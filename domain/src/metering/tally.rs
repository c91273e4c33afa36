//! What the readings of one meter in one slot come to: the same in whatever order they came.

use super::{
    meter::{Aggregation, Evidence, Meter},
    reading::{Key, Measurement, Reading},
};
use crate::{
    Timestamp,
    rating::{BaseUnit, Quantity},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, sync::Arc};

/// What readings come to, how many they were, and a digest of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many readings are in it.
    pub readings: u64,
    /// Of all of them, in whatever order.
    pub digest: SetDigest,
    sum: Quantity,
    max: Option<Quantity>,
    min: Option<Quantity>,
    /// When and by whom, so that of two at the same time always the same one is the latest.
    latest: Option<(Timestamp, Arc<str>, Key, Quantity)>,
    /// The first 16 bytes of SHA-256 of each value.
    distinct: BTreeSet<[u8; 16]>,
}

impl Tally {
    /// Adds a reading that was not there before. What a counter shows is not added here, but to its series.
    pub fn add(&mut self, reading: &Reading, aggregation: Aggregation, value: &Measurement) {
        self.readings += 1;
        self.digest.add(reading, value);
        match value {
            Measurement::Occurrence | Measurement::Counter { .. } => {}
            Measurement::Distinct(text) => {
                self.distinct.insert(first_16(&Sha256::digest(text)));
            }
            Measurement::Amount(amount) => match aggregation {
                Aggregation::Sum | Aggregation::Avg => self.sum.0 = self.sum.0.saturating_add(amount.0),
                Aggregation::Max => self.max = self.max.max(Some(*amount)),
                Aggregation::Min => self.min = Some(self.min.map_or(*amount, |min| min.min(*amount))),
                Aggregation::Latest => {
                    let this = (reading.time, reading.source.clone(), reading.key.clone(), *amount);
                    self.latest = self.latest.take().max(Some(this));
                }
                Aggregation::Count | Aggregation::UniqueCount => {}
            },
        }
    }

    /// Adds what a counter rose by.
    pub fn rise(&mut self, by: Quantity) {
        self.sum.0 = self.sum.0.saturating_add(by.0);
    }

    /// What they come to; nothing when no reading has a level.
    pub fn value(&self, aggregation: Aggregation) -> Option<Quantity> {
        let count = |n: u64| Some(Quantity(i128::from(n)));
        match aggregation {
            Aggregation::Sum => Some(self.sum),
            Aggregation::Count => count(self.readings),
            Aggregation::UniqueCount => count(self.distinct.len() as u64),
            Aggregation::Max => self.max,
            Aggregation::Min => self.min,
            Aggregation::Latest => self.latest.as_ref().map(|(.., value)| *value),
            Aggregation::Avg => half_even(self.sum.0, i128::from(self.readings)),
        }
    }
}

impl Meter {
    /// The quantity of a slot of whose length the resource was there for `microseconds`. A level holds for all of that time where the meter counts
    /// over time: bytes become byte microseconds. Nothing where nothing was measured, or too much.
    pub fn quantity(&self, tally: &Tally, microseconds: i64) -> Option<Quantity> {
        let Evidence::Readings(rule) = &self.from else { return None };
        let value = tally.value(rule.aggregation)?;
        match self.unit {
            BaseUnit::ByteMicroseconds | BaseUnit::CountMicroseconds if rule.aggregation.is_level() => {
                value.0.checked_mul(i128::from(microseconds)).map(Quantity)
            }
            BaseUnit::ByteMicroseconds | BaseUnit::CountMicroseconds => Some(value),
            BaseUnit::Bytes | BaseUnit::Counts | BaseUnit::Microseconds => Some(value),
        }
    }
}

fn half_even(sum: i128, count: i128) -> Option<Quantity> {
    let (whole, rest) = (sum.checked_div(count)?, sum.checked_rem(count)?);
    let up = 2 * rest > count || 2 * rest == count && whole % 2 != 0;
    Some(Quantity(whole + i128::from(up)))
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| digest[i])
}

/// A digest of a set: the sum, modulo 2^256, of SHA-256 of its members. Tells which readings were counted without keeping them, in whatever
/// order they came. It finds loss and error; it does not withstand a sender who looks for two sets with one digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDigest([u8; 32]);

impl SetDigest {
    fn add(&mut self, reading: &Reading, value: &Measurement) {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        part(reading.source.as_bytes());
        match &reading.key {
            Key::Number(number) => part(&number.to_be_bytes()),
            Key::Id(id) => part(id.as_bytes()),
        }
        part(&reading.time.timestamp_micros().to_be_bytes());
        match value {
            Measurement::Occurrence => part(&[]),
            Measurement::Distinct(text) => part(text.as_bytes()),
            Measurement::Amount(amount) | Measurement::Counter { shows: amount, .. } => part(&amount.0.to_be_bytes()),
        }
        let mut carry = 0;
        for (byte, add) in self.0.iter_mut().zip(hasher.finalize()).rev() {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_rounded_half_even() {
        assert_eq!([(10, 4), (14, 4), (11, 4), (0, 3), (2, 3)].map(|(sum, n)| half_even(sum, n).unwrap().0), [2, 4, 3, 0, 1]);
        assert_eq!(half_even(0, 0), None);
    }
}
