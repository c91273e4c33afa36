//! What holds of every card, checked against a calculation of its own in rational numbers.

use crate::till::*;
use domain::rating::*;
use num_rational::BigRational;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// A card with one line, as drawn; the numbers are what both calculations start from.
#[derive(Debug, Clone)]
struct Drawn {
    kind: Kind,
    /// Width in thousandths of a unit, price in 10^-9, flat amount in hundredths, units in a block in thousandths; the last width does not count.
    tiers: Vec<(u32, u32, u32, u32)>,
    /// Base units of the meter in a pricing unit.
    size: u32,
    included_thousandths: u32,
    discount_percent: u8,
    base_fee: bool,
    minimum: Option<u16>,
    maximum: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Unit,
    Graduated,
    Volume,
    Package,
    AllBlocks,
    TopBlock,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let kind = prop::sample::select(vec![Kind::Unit, Kind::Graduated, Kind::Volume, Kind::Package, Kind::AllBlocks, Kind::TopBlock]);
    let tier = (1..5000u32, 0..4_000_000_000u32, 0..500u32, prop::sample::select(vec![1u32, 7, 250, 1000, 3000]));
    let bounds = (prop::option::of(0..40u16), prop::option::of(40..400u16));
    (
        kind,
        prop::collection::vec(tier, 1..5),
        prop_oneof![Just(1), Just(1000), 100_000_000..4_000_000_000u32],
        prop_oneof![Just(0), 0..3000u32],
        0..=100u8,
        any::<bool>(),
        bounds,
    )
        .prop_map(|(kind, tiers, size, included_thousandths, discount_percent, base_fee, (minimum, maximum))| {
            let tiers = if matches!(kind, Kind::Unit | Kind::Package) { tiers[..1].to_vec() } else { tiers };
            Drawn { kind, tiers, size, included_thousandths, discount_percent, base_fee, minimum, maximum }
        })
}

fn parts() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(0), 0..10u64, 0..2_000_000_000u64, 0..4_000_000_000u64], 1..15)
}

fn scaled(n: u32, decimals: u32) -> String {
    Decimal::new(i64::from(n), decimals).to_string()
}

impl Drawn {
    fn card(&self) -> Vec<PriceLine> {
        let last = self.tiers.len() - 1;
        let mut end = 0;
        let mut tiers = Vec::new();
        let mut blocks = Vec::new();
        for (i, (width, price, flat, block)) in self.tiers.iter().enumerate() {
            end += width;
            let up_to = (i < last).then(|| scaled(end, 3));
            tiers.push(json!({ "up_to": up_to, "unit": scaled(*price, 9), "flat": scaled(*flat, 2) }));
            let max = (i < last).then_some(width % 5 + 1);
            blocks.push(json!({ "block": scaled(*block, 3), "max_blocks": max, "price": scaled(*price, 9) }));
        }
        let (_, price, _, block) = self.tiers[0];
        let model = match self.kind {
            Kind::Unit => json!({ "type": "unit", "price": scaled(price, 9) }),
            Kind::Package => json!({ "type": "package", "size": scaled(block, 3), "price": scaled(price, 9) }),
            Kind::Graduated => json!({ "type": "graduated", "tiers": tiers, "base_fee": self.base_fee }),
            Kind::Volume => json!({ "type": "volume", "tiers": tiers, "base_fee": self.base_fee }),
            Kind::AllBlocks => json!({ "type": "blocks", "tiers": blocks, "charge": "all_tiers" }),
            Kind::TopBlock => json!({ "type": "blocks", "tiers": blocks, "charge": "top_tier" }),
        };
        let with = json!({
            "unit": { "name": "Units", "size": self.size.to_string() },
            "included": scaled(self.included_thousandths, 3),
            "discount": self.discount_percent.to_string(),
            "minimum": self.minimum.map(|m| m.to_string()),
            "maximum": self.maximum.map(|m| m.to_string()),
        });
        vec![line("price", model, with)]
    }

    /// Bounds and prices of the steps: start, end, price, flat amount, block.
    fn steps(&self) -> Vec<(BigRational, Option<BigRational>, BigRational, BigRational, BigRational)> {
        let last = self.tiers.len() - 1;
        let blocks = matches!(self.kind, Kind::AllBlocks | Kind::TopBlock);
        let flats = matches!(self.kind, Kind::Graduated | Kind::Volume);
        let mut start = ratio(0, 1);
        let step = |(i, (width, price, flat, block)): (usize, &(u32, u32, u32, u32))| {
            let width = if blocks { ratio(block * (width % 5 + 1), 1000) } else { ratio(*width, 1000) };
            let begin = start.clone();
            start += width;
            let end = (i < last).then(|| start.clone());
            (begin, end, ratio(*price, 1_000_000_000), if flats { ratio(*flat, 100) } else { ratio(0, 1) }, ratio(*block, 1000))
        };
        self.tiers.iter().enumerate().map(step).collect()
    }

    fn settles_at_close(&self) -> bool {
        matches!(self.kind, Kind::Volume | Kind::TopBlock)
    }

    /// What the model says for all of a period, by its definition: before minimum and maximum.
    fn model(&self, cumulative: u64) -> BigRational {
        let included = ratio(self.included_thousandths, 1000);
        let zero = ratio(0, 1);
        let used = (half_even(BigRational::new(cumulative.into(), self.size.into())) - included).max(zero.clone());
        let steps = self.steps();
        let packages = |quantity: BigRational, block: &BigRational| (quantity / block).ceil();
        let amount = match self.kind {
            Kind::Unit => used * &steps[0].2,
            Kind::Package => packages(used, &steps[0].4) * &steps[0].2,
            Kind::Volume | Kind::TopBlock => {
                let tier = steps.iter().position(|s| s.1.as_ref().is_none_or(|end| used <= *end)).unwrap();
                let (_, _, price, flat, block) = &steps[tier];
                let flat = if used > zero || self.base_fee { flat.clone() } else { zero };
                if self.kind == Kind::Volume { used * price + flat } else { packages(used, block) * price }
            }
            Kind::Graduated | Kind::AllBlocks => {
                let mut amount = zero.clone();
                for (i, (start, end, price, flat, block)) in steps.iter().enumerate() {
                    let inside = (end.clone().map_or(used.clone(), |end| end.min(used.clone())) - start).max(zero.clone());
                    amount += if self.kind == Kind::AllBlocks { packages(inside, block) * price } else { inside * price };
                    if used > *start || i == 0 && self.base_fee {
                        amount += flat;
                    }
                }
                amount
            }
        };
        amount * ratio(100 - u32::from(self.discount_percent), 100)
    }

    fn capped(&self, amount: BigRational) -> BigRational {
        self.maximum.map_or(amount.clone(), |maximum| amount.min(ratio(maximum, 1)))
    }

    fn closed(&self, cumulative: u64) -> BigRational {
        let amount = self.capped(self.model(cumulative));
        self.minimum.map_or(amount.clone(), |minimum| amount.max(ratio(minimum, 1)))
    }
}

fn ratio(n: impl TryInto<u64>, d: u64) -> BigRational {
    BigRational::new(n.try_into().ok().unwrap().into(), d.into())
}

fn rational(d: Decimal) -> BigRational {
    BigRational::new(d.mantissa().into(), 10i128.pow(d.scale()).into())
}

/// To 12 decimals, half even.
fn half_even(n: BigRational) -> BigRational {
    let scale = ratio(1_000_000_000_000u64, 1);
    let (scaled, half) = (&n * &scale, ratio(1, 2));
    let down = scaled.floor();
    let rest = &scaled - &down;
    let odd = (&down / ratio(2, 1)).fract() != ratio(0, 1);
    let up = rest > half || rest == half && odd;
    (down + if up { ratio(1, 1) } else { ratio(0, 1) }) / scale
}

fn sum(lines: &[Line]) -> BigRational {
    total(lines);
    lines.iter().map(|l| rational(l.amount.decimal())).sum()
}

fn uses(till: &mut Till, base_units: u64) -> Vec<Line> {
    till.rates(Usage::new(&server(), &meter("units"), Quantity(base_units.into())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_parts_add_up_to_the_whole_at_every_bound_and_to_what_the_definition_says(card in drawn(), parts in parts()) {
        let mut till = Till::new(card.card());
        let mut cumulative = 0;
        for part in parts {
            uses(&mut till, part);
            cumulative += part;
            if card.settles_at_close() {
                prop_assert!(till.lines.is_empty());
            } else {
                prop_assert_eq!(sum(&till.lines), card.capped(card.model(cumulative)));
            }
            let estimated = till.estimate();
            prop_assert!(estimated.iter().all(|l| l.estimate));
            prop_assert_eq!(sum(&till.lines) + sum(&estimated), card.closed(cumulative));
        }
        till.closes();
        prop_assert_eq!(sum(&till.lines), card.closed(cumulative));
    }

    #[test]
    fn the_order_of_usage_changes_nothing_of_what_a_period_costs(card in drawn(), (parts, order) in parts().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle()))) {
        let closed = |parts: &[u64]| {
            let mut till = Till::new(card.card());
            parts.iter().for_each(|part| drop(uses(&mut till, *part)));
            till.closes();
            sum(&till.lines)
        };
        prop_assert_eq!(closed(&parts), closed(&order));
        prop_assert_eq!(closed(&parts), closed(&[parts.iter().sum()]));
    }

    #[test]
    fn what_comes_and_goes_again_costs_nothing_but_the_flat_amounts_of_the_tiers_it_entered(card in drawn(), stays in 0..4_000_000_000u64, goes in 0..4_000_000_000u64) {
        prop_assume!(!card.settles_at_close() && card.kind != Kind::Graduated);
        let mut once = Till::new(card.card());
        uses(&mut once, stays);
        let mut twice = Till::new(card.card());
        uses(&mut twice, stays);
        uses(&mut twice, goes);
        twice.rates(Usage::new(&server(), &meter("units"), Quantity(-i128::from(goes))));
        prop_assert_eq!(sum(&once.lines), sum(&twice.lines));
    }

    #[test]
    fn exact_arithmetic_is_that_of_rational_numbers_or_an_error(a in any::<i128>(), b in any::<i128>(), (s, t) in (0..28u32, 0..28u32), (x, y) in (0..100u32, 0..100u32)) {
        let decimal = |n: i128, shift: u32, scale| Decimal::from_i128_with_scale((n >> 32 >> (shift % 96)).clamp(-(1 << 95), 1 << 95), scale);
        let (a, b) = (decimal(a, x, s), decimal(b, y, t));
        let (ra, rb) = (rational(a), rational(b));
        if let Ok(product) = exact::multiply(a, b) {
            prop_assert_eq!(rational(product), &ra * &rb);
        }
        if let Ok(sum) = exact::add(a, b) {
            prop_assert_eq!(rational(sum), &ra + &rb);
        }
        if let Ok(difference) = exact::subtract(a, b) {
            prop_assert_eq!(rational(difference), &ra - &rb);
        }
        if !b.is_zero() && let Some(quotient) = exact::divide_half_even(a.mantissa(), b.mantissa(), 12) {
            prop_assert_eq!(rational(quotient), half_even(BigRational::new(a.mantissa().into(), b.mantissa().into())));
        }
    }

    #[test]
    fn a_price_by_time_comes_to_the_same_however_the_time_is_cut(price in 0..4_000_000_000u32, mut cuts in prop::collection::vec(0..MONTH.0, 0..20)) {
        let unit = json!({ "meter": "time", "unit": { "name": "Months", "size": "period" } });
        let mut till = Till::new(vec![line("fee", json!({ "type": "recurring", "price": scaled(price, 9) }), unit)]);
        cuts.extend([0, MONTH.0]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            till.rates(Usage::new(&server(), &meter("time"), Quantity(cut[1] - cut[0])));
        }
        prop_assert_eq!(sum(&till.lines), ratio(price, 1_000_000_000));
    }
}

#[test]
fn the_definition_that_cards_are_compared_with_is_right_by_hand() {
    let card = Drawn {
        kind: Kind::Graduated,
        tiers: vec![(1000, 2_000_000_000, 0, 1), (1000, 1_000_000_000, 50, 1)],
        size: 10,
        included_thousandths: 0,
        discount_percent: 0,
        base_fee: false,
        minimum: None,
        maximum: None,
    };
    assert_eq!(card.model(10), ratio(2, 1));
    assert_eq!(card.model(15), ratio(3, 1), "one at 2, half of one at 1, and the flat amount of the second tier");
    let expected: Value = json!(["tier 1: 1 x 2 = 2", "tier_flat 1: 1 x 0 = 0", "tier 2: 0.5 x 1 = 0.5", "tier_flat 2: 1 x 0.5 = 0.5"]);
    assert_eq!(json!(said(&uses(&mut Till::new(card.card()), 15))), expected);
}
