//! From a JSON value of a reading to whole base units.

use crate::rating::{Quantity, exact};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::Value;

/// Why a value cannot be counted. The first four sentences are OpenMeter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// The event has no data at all.
    #[error("null and missing value property")]
    NoData,
    /// The path finds nothing.
    #[error("missing value property")]
    Missing,
    /// Not a number, says the value itself.
    #[error("value cannot be NaN")]
    NaN,
    /// Endless.
    #[error("value cannot be infinity")]
    Infinite,
    /// A list, an object, a truth, or a text that is no number.
    #[error("value must be a number, or a text that holds one")]
    NotANumber,
    /// Whoever gave something back corrects; a reading does not.
    #[error("value cannot be negative")]
    Negative,
    /// Less than the meter can tell apart.
    #[error("value is not a whole number of what the meter counts in")]
    NotWhole,
    /// Above 28 digits, or beyond what a quantity holds.
    #[error("value has too many digits")]
    TooLong,
    /// A counter never shows the value at which it begins anew.
    #[error("value is not below the one at which the counter rolls over")]
    RolledOver,
    /// Nothing that could be told apart from another.
    #[error("value must be a text, a number or a truth")]
    NotComparable,
}

/// The value times `factor`, which must be whole.
///
/// A JSON number means what every JSON reader takes it for; a number that needs more than 15 digits and a point is written as a text.
pub(super) fn base_units(value: &Value, factor: u64) -> Result<Quantity, BadValue> {
    let number = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(BadValue::NotANumber),
    };
    let number = parse(&number)?;
    if number.is_sign_negative() && !number.is_zero() {
        return Err(BadValue::Negative);
    }
    let units = exact::multiply(number, Decimal::from(factor)).map_err(|_| BadValue::TooLong)?;
    match units.fract().is_zero() {
        true => units.to_i128().map(Quantity).ok_or(BadValue::TooLong),
        false => Err(BadValue::NotWhole),
    }
}

fn parse(text: &str) -> Result<Decimal, BadValue> {
    let lower = text.to_ascii_lowercase();
    match lower.trim_start_matches(['+', '-']) {
        "nan" => return Err(BadValue::NaN),
        "inf" | "infinity" => return Err(BadValue::Infinite),
        _ => {}
    }
    if !is_decimal(&lower) {
        return Err(BadValue::NotANumber);
    }
    let number = match lower.contains('e') {
        // This parser rounds silently what it cannot hold; 28 characters always fit.
        true if lower.len() > 28 => None,
        true => Decimal::from_scientific(&lower).ok(),
        false => Decimal::from_str_exact(&lower).ok(),
    };
    number.ok_or(BadValue::TooLong)
}

/// `-12.5e+3`, with its parts but the digits before the point left out at will.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    digits(whole) && digits(places) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

/// A value as a text by which it can be told from others: equal JSON values are equal, and a number is not a text.
pub(super) fn distinct(value: &Value) -> Result<String, BadValue> {
    match value {
        Value::Array(_) | Value::Object(_) | Value::Null => Err(BadValue::NotComparable),
        scalar => Ok(scalar.to_string()),
    }
}

/// A dimension's value as a text for people; what is absent is empty.
pub(super) fn dimension(value: Option<&Value>) -> Result<String, BadValue> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => distinct(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_counted_exactly_or_refused_with_its_reason() {
        let units = |value: Value, factor| base_units(&value, factor).map(|q| q.0);
        assert_eq!(units(json!("100"), 1), Ok(100));
        assert_eq!(units(json!(100), 1), Ok(100));
        assert_eq!(units(json!(0.001), 1000), Ok(1));
        assert_eq!(units(json!("0.1"), 1_000_000), Ok(100_000));
        assert_eq!(units(json!(1.5e3), 1), Ok(1500));
        assert_eq!(units(json!("1.5e3"), 1), Ok(1500));
        assert_eq!(units(json!(u64::MAX), 1), Ok(i128::from(u64::MAX)));
        assert_eq!(units(json!(-0.0), 1), Ok(0));
        for (value, factor, why) in [
            (json!("NaN"), 1, BadValue::NaN),
            (json!("Inf"), 1, BadValue::Infinite),
            (json!("-infinity"), 1, BadValue::Infinite),
            (json!(-1), 1, BadValue::Negative),
            (json!(0.5), 1, BadValue::NotWhole),
            (json!("0.0000000000000000000000000001"), 10, BadValue::NotWhole),
            (json!("79228162514264337593543950336"), 1, BadValue::TooLong),
            (json!("79228162514264337593543950335"), 10, BadValue::TooLong),
            (json!("1e40"), 1, BadValue::TooLong),
            (json!("0x10"), 1, BadValue::NotANumber),
            (json!("1_000"), 1, BadValue::NotANumber),
            (json!("1.2.3"), 1, BadValue::NotANumber),
            (json!(""), 1, BadValue::NotANumber),
            (json!("١٢"), 1, BadValue::NotANumber),
            (json!([1]), 1, BadValue::NotANumber),
            (json!(true), 1, BadValue::NotANumber),
        ] {
            assert_eq!(units(value.clone(), factor), Err(why), "{value}");
        }
    }

    #[test]
    fn a_number_and_its_text_are_two_values() {
        assert_ne!(distinct(&json!(1)), distinct(&json!("1")));
        assert_eq!(distinct(&json!({})), Err(BadValue::NotComparable));
    }
}
