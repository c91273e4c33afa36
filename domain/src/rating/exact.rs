//! Decimal arithmetic that never loses a digit.
//!
//! [`Decimal`] holds 96 bits and 28 decimals, and its own operators round what does not fit. These do not: what cannot be held is [`LostDigit`].
//! Trailing zeros are no digits: they are dropped where that makes room.

use rust_decimal::Decimal;

/// The result has more digits than a decimal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{left} {operation} {right} has more digits than a decimal holds")]
pub struct LostDigit {
    left: Decimal,
    operation: char,
    right: Decimal,
}

/// `a` times `b`.
pub fn multiply(a: Decimal, b: Decimal) -> Result<Decimal, LostDigit> {
    let product = |a: Decimal, b: Decimal| fit(a.mantissa().checked_mul(b.mantissa())?, a.scale() + b.scale());
    // Zeros at the end are dropped only when they are in the way: dropping them costs more than the product.
    product(a, b).or_else(|| product(a.normalize(), b.normalize())).ok_or(LostDigit { left: a, operation: '*', right: b })
}

/// `a` plus `b`.
pub fn add(a: Decimal, b: Decimal) -> Result<Decimal, LostDigit> {
    sum(a, b).or_else(|| sum(a.normalize(), b.normalize())).ok_or(LostDigit { left: a, operation: '+', right: b })
}

/// `a` minus `b`.
pub fn subtract(a: Decimal, b: Decimal) -> Result<Decimal, LostDigit> {
    add(a, -b).map_err(|_| LostDigit { left: a, operation: '-', right: b })
}

fn sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale().max(b.scale());
    fit(at_scale(a, scale)?.checked_add(at_scale(b, scale)?)?, scale)
}

/// How many times `part` goes into `whole`, the last time perhaps not in full: rounded up, and down for what is below zero.
pub fn times(whole: Decimal, part: Decimal) -> Result<Decimal, LostDigit> {
    let scale = whole.scale().max(part.scale());
    let count = || {
        let (whole, part) = (at_scale(whole, scale)?, at_scale(part, scale)?);
        let (count, rest) = (whole.checked_div(part)?, whole.checked_rem(part)?);
        fit(count + rest.signum() * part.signum(), 0)
    };
    count().ok_or(LostDigit { left: whole, operation: '/', right: part })
}

/// `numerator / denominator`, half even, to `decimals`: the only place where a digit may go.
pub fn divide_half_even(numerator: i128, denominator: i128, decimals: u32) -> Option<Decimal> {
    let (whole, rest) = (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?);
    let power = 10i128.pow(decimals);
    let (places, left) = {
        let scaled = rest.checked_mul(power)?;
        (scaled / denominator, scaled % denominator)
    };
    let mantissa = whole.checked_mul(power)?.checked_add(places)?;
    let (twice, size) = (left.unsigned_abs() * 2, denominator.unsigned_abs());
    let up = twice > size || twice == size && mantissa % 2 != 0;
    let away = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
    fit(mantissa + if up { away } else { 0 }, decimals)
}

/// `whole * part / parts`, half even, to `decimals`: what falls to a part of something that is divided evenly. All have at most `decimals`.
pub fn share(whole: Decimal, part: Decimal, parts: Decimal, decimals: u32) -> Option<Decimal> {
    if part == parts {
        return Some(whole);
    }
    let numerator = at_scale(whole, decimals)?.checked_mul(at_scale(part, decimals)?)?;
    let quotient = divide_half_even(numerator, at_scale(parts, decimals)?, 0)?;
    fit(quotient.mantissa(), decimals)
}

fn at_scale(d: Decimal, scale: u32) -> Option<i128> {
    d.mantissa().checked_mul(10i128.pow(scale.checked_sub(d.scale())?))
}

fn fit(mut mantissa: i128, mut scale: u32) -> Option<Decimal> {
    while scale > Decimal::MAX_SCALE || mantissa.unsigned_abs() >= 1 << 96 {
        if scale == 0 || mantissa % 10 != 0 {
            return None;
        }
        (mantissa, scale) = (mantissa / 10, scale - 1);
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(s: &str) -> Decimal {
        Decimal::from_str_exact(s).unwrap()
    }

    #[test]
    fn a_product_that_would_be_rounded_is_an_error_instead() {
        assert_eq!(multiply(d("0.00000000000001"), d("0.00000000000001")), Ok(d("0.0000000000000000000000000001")));
        assert!(multiply(d("0.00000000000001"), d("0.000000000000001")).is_err());
        assert!(multiply(d("79228162514264337593543950335"), d("2")).is_err());
    }

    #[test]
    fn zeros_at_the_end_are_no_digits() {
        assert_eq!(multiply(d("5.00000000000000"), d("2.0000000000000000")), Ok(d("10")));
        assert_eq!(multiply(d("0.000000000000002"), d("0.00000000000005")), Ok(d("0.0000000000000000000000000001")));
        assert_eq!(add(d("70000000000000000000000000000"), d("0.0000000")), Ok(d("70000000000000000000000000000")));
    }

    #[test]
    fn a_sum_that_would_be_rounded_is_an_error_instead() {
        assert!(add(d("70000000000000000000000000000"), d("0.1")).is_err());
        assert_eq!(subtract(d("1"), d("0.000000000000000000000000001")), Ok(d("0.999999999999999999999999999")));
    }

    #[test]
    fn halves_go_to_the_even_neighbour_on_both_sides_of_zero() {
        for (numerator, rounded) in [(5, "0.2"), (15, "0.8"), (6, "0.3"), (4, "0.2"), (-5, "-0.2"), (-15, "-0.8"), (-6, "-0.3")] {
            assert_eq!(divide_half_even(numerator, 20, 1), Some(d(rounded)), "{numerator}/20");
        }
    }

    #[test]
    fn a_part_of_a_block_counts_as_a_whole_one() {
        for (whole, count) in [("0", "0"), ("0.1", "1"), ("10", "1"), ("10.000000000001", "2"), ("-0.1", "-1")] {
            assert_eq!(times(d(whole), d("10")), Ok(d(count)), "{whole}");
        }
    }
}
