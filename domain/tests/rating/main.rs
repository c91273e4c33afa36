//! What usage costs: cards that are refused, prices that are chosen, the answers of other people's programs, and what holds of every card.
//!
//! The answers are read from `CIRRUS_DATA` (`../shared/data`); a test that does not find them fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests read what they compare with")]

mod rating_cases;
mod rating_cloudkitty;
mod rating_price_list;
mod rating_properties;
mod rating_refusals;
mod rating_stories;
mod till;
