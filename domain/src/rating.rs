//! What usage costs: rate cards, the choice of a price, and the evaluator.
//!
//! Money and quantities are decimals, never floats, and nothing here is rounded but one thing: the cumulative quantity of a period is divided once
//! into the pricing unit, half even, to 12 decimals. What a piece of usage adds is the difference of two of these, so however usage is cut
//! into pieces, the pieces add up to the whole. Everything after that is exact, and what cannot be exact is an error. Rounding to what a
//! currency is paid in ([`Amount::rounded`]) is for invoices.
//!
//! A [`Card`] is what people write. [`Tariff::publish`] checks it, and a tariff is all that can be rated by. A [`Period`] remembers what was used
//! so far; [`rate`] turns one more piece of [`Usage`] into [`Line`]s, and [`close`] adds what only the end of the period can tell; until then
//! [`estimate`] says what that would be. Every line has the quantity, the unit price, what was taken off and why, the amount, and the [`Rule`]
//! that made it.
//!
//! | what people call it | how a card says it |
//! |---|---|
//! | per unit, flat rate of CloudKitty | `unit`, `highest` |
//! | graduated, volume (Stripe, OpenMeter, Lago) | `graduated`, `volume` |
//! | package, blocks (Lago, Kill Bill) | `package`, `blocks`; several units are several price lines |
//! | percentage, transaction fee | `percentage`; by tiers: `graduated` on a meter that counts value, the share as price |
//! | free tier, included | `included` |
//! | factor, surcharge, threshold | `adjustments`, with the condition when they count |
//! | group (CloudKitty) | `component` |
//! | setup fee, base fee, subscription | `one_time`, `recurring`; prorated if the unit is the period |
//! | seats prorated by day | `graduated` or `volume`, with [`Usage::full`] beside the prorated quantity |
//! | minimum and maximum spend, discount | `minimum`, `maximum`, `discount` |
//! | prepaid commitment, reserved units, minimum of a contract | `commitments` |

mod card;
mod choice;
mod close;
pub mod cloudkitty;
mod evaluate;
pub mod exact;
mod number;
mod period;
mod tariff;

pub use card::{
    Adjustment, Alternative, BlockCharge, BlockTier, Card, Change, Commitment, LabelRange, Model, PriceLine, Range, Scope, Subject, Terms,
    Tier, When,
};
pub use close::{close, estimate};
pub use evaluate::{rate, rate_into};
pub use number::{
    Amount, BadNumber, BaseUnit, CardName, CommitmentName, ContractName, Currency, Factor, MeterName, Percent, Price, PriceId, PricingUnit,
    Quantity, Size, Units,
};
pub use period::{Line, Period, RatingError, Rule, Unpriced, Usage};
pub use tariff::{Offer, Tariff};
