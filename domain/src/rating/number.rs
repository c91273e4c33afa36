//! Prices, amounts and quantities. On the wire each is a decimal in a string, since JSON's own numbers are floats to most readers.

use super::exact::{self, LostDigit};
use crate::id::BadName;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

pub use iso_currency::Currency;

/// Why a text is not a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a decimal number of at most 28 digits, such as \"0.0125\"")]
pub struct BadNumber(String);

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String", extend("pattern" = r"^-?[0-9]+(\.[0-9]+)?$")))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Decimal);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(Decimal::ZERO);

            /// The number itself.
            pub fn decimal(self) -> Decimal { self.0 }
        }
        impl From<Decimal> for $name {
            fn from(d: Decimal) -> Self { Self(d) }
        }
        impl FromStr for $name {
            type Err = BadNumber;
            fn from_str(s: &str) -> Result<Self, BadNumber> {
                let plain = !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'-'));
                let number = if plain { Decimal::from_str_exact(s).ok() } else { None };
                number.map(Self::from).ok_or_else(|| BadNumber(s.chars().take(80).collect()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadNumber;
            fn try_from(s: String) -> Result<Self, BadNumber> { s.parse() }
        }
        impl From<$name> for String {
            fn from(n: $name) -> String { n.to_string() }
        }
        impl fmt::Display for $name {
            /// Without zeros at the end, so that equal numbers are equal bytes.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.normalize().fmt(f) }
        }
    )*};
}

numbers! {
    /// Money for one pricing unit, block, event or period, in the currency of the card. At most 9 decimals, never below zero: a discount is a
    /// discount, not a negative price.
    Price,
    /// Money, exact: what a part of a line comes to before the line is rounded. May be below zero.
    Amount,
    /// A quantity in the pricing unit of its price, at most 12 decimals.
    Units,
    /// What a price is multiplied with.
    Factor,
    /// Hundredths: `"2.9"` is 2.9 %.
    Percent,
}

impl Price {
    /// Prices have at most this many decimals.
    pub const DECIMALS: u32 = 9;
}

impl Units {
    /// Quantities in the pricing unit are kept to this many decimals.
    pub const DECIMALS: u32 = 12;
}

impl Amount {
    /// The sum of amounts.
    pub fn sum(amounts: impl IntoIterator<Item = Amount>) -> Result<Amount, LostDigit> {
        amounts.into_iter().try_fold(Amount::ZERO, |sum, a| exact::add(sum.0, a.0).map(Amount::from))
    }

    /// Rounded half even to what the currency can be paid in; nothing for currencies that are not paid in, such as gold.
    pub fn rounded(self, currency: Currency) -> Option<Amount> {
        let digits = u32::from(currency.exponent()?);
        Some(Amount(self.0.round_dp_with_strategy(digits, RoundingStrategy::MidpointNearestEven)))
    }
}

/// What a meter counts in. The unit is part of its name because it can never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaseUnit {
    /// Time of existence.
    Microseconds,
    /// Traffic, requests by size.
    Bytes,
    /// Requests, installations, addresses.
    Counts,
    /// Stored bytes, memory: bytes times the time for which they were there.
    ByteMicroseconds,
    /// Processors, addresses: a count times the time for which they were there.
    CountMicroseconds,
}

/// A metered quantity: whole base units of its meter, below zero where something was given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String", extend("pattern" = "^-?[0-9]+$")))]
#[serde(try_from = "String", into = "String")]
pub struct Quantity(pub i128);

impl TryFrom<String> for Quantity {
    type Error = BadNumber;
    fn try_from(s: String) -> Result<Self, BadNumber> {
        s.parse().map(Quantity).map_err(|_| BadNumber(s.chars().take(80).collect()))
    }
}

impl From<Quantity> for String {
    fn from(q: Quantity) -> String {
        q.0.to_string()
    }
}

/// What a price is for: `GiB-Hours`, of 2^30 * 3,600,000,000 byte microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PricingUnit {
    /// The name on invoices, by FOCUS' rules for units: `Core-Hours`, `GiB-Hours`, `1000 Requests`.
    pub name: String,
    /// How much makes one.
    pub size: Size,
}

/// How much makes one pricing unit. On the wire `"3600000000"` or `"period"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String", extend("pattern" = "^([1-9][0-9]*|period)$")))]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// So many base units of the meter, more than zero.
    Of(Quantity),
    /// The billing period, however long: what was there for a part of it pays that part.
    Period,
}

impl TryFrom<String> for Size {
    type Error = BadNumber;
    fn try_from(s: String) -> Result<Self, BadNumber> {
        if s == "period" { Ok(Size::Period) } else { s.try_into().map(Size::Of) }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        match size {
            Size::Of(quantity) => quantity.into(),
            Size::Period => "period".into(),
        }
    }
}

impl Size {
    /// A cumulative quantity in units of this size, half even, to 12 decimals, in a period of `length` microseconds. Nothing when it is too
    /// large.
    ///
    /// The quantity of a part is the difference of two of these, never a division of its own: so hours add up to months.
    pub fn units(self, cumulative: Quantity, length: Quantity) -> Option<Units> {
        let size = match self {
            Size::Of(size) => size,
            Size::Period => length,
        };
        exact::divide_half_even(cumulative.0, size.0, Units::DECIMALS).map(Units)
    }
}

names! {
    /// A meter of the catalogue: `server.hours`, `traffic.egress_bytes`.
    MeterName,
    /// A line of a price list, for ever: never used again with another meaning.
    PriceId,
    /// A rate card.
    CardName,
    /// A contract of a tenant with the provider.
    ContractName,
    /// A commitment of a tenant: so much a period.
    CommitmentName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_on_the_wire_is_a_string_and_nothing_else() {
        assert_eq!(serde_json::from_str::<Price>(r#""0.10""#).unwrap(), "0.1".parse().unwrap());
        assert_eq!(serde_json::to_string(&"0.10".parse::<Price>().unwrap()).unwrap(), r#""0.1""#);
        for bad in ["0.1", "1", r#""""#, r#""1e3""#, r#""1_000""#, r#"" 1""#, r#""0.12345678901234567890123456789""#, "null"] {
            assert!(serde_json::from_str::<Price>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_month_in_hours_is_the_sum_of_its_parts_though_no_part_is_a_whole_hour() {
        let hours = |us| Size::Of(Quantity(3_600_000_000)).units(Quantity(us), Quantity::default()).unwrap().decimal();
        let sum: Decimal = (0..1000).map(|i| hours((i + 1) * 1_234_567) - hours(i * 1_234_567)).sum();
        assert_eq!(sum, hours(1_234_567_000));
        assert_eq!(sum.to_string(), "0.342935277778");
    }

    #[test]
    fn money_is_rounded_to_what_the_currency_is_paid_in() {
        let rounded = |amount: &str, currency| amount.parse::<Amount>().unwrap().rounded(currency).map(|a| a.to_string());
        assert_eq!(rounded("2.345", Currency::EUR).as_deref(), Some("2.34"));
        assert_eq!(rounded("2.355", Currency::EUR).as_deref(), Some("2.36"));
        assert_eq!(rounded("2.5", Currency::JPY).as_deref(), Some("2"));
        assert_eq!(rounded("-2.3455", Currency::KWD).as_deref(), Some("-2.346"));
        assert_eq!(rounded("2.5", Currency::XAU), None);
    }
}
