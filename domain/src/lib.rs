//! What is true: the aggregates of a cloud, the commands that may change them, the events that did, and the refusals.
//!
//! Everything here is pure. Time, ids and reference data come in as arguments; nothing reads a clock, draws a number or does I/O, so that a
//! replay on another machine, years later, gives the same answer. Read in this order:
//!
//! 1. [`partition`]: the fold of one chain; [`partition::Partition::handle`] is where a command meets the state.
//! 2. [`tenant`]: the consistency boundary, with its [`quota`], its [`people`] and its [`resource`]s.
//! 3. [`platform`]: what all tenants share: regions, zones, the [`catalogue`], flavors, operators.
//! 4. [`metering`]: what is measured, from what exists and from readings.
//! 5. [`rating`]: what usage costs: rate cards, and the evaluator that turns usage into lines.

pub mod catalogue;
pub mod command;
pub mod event;
#[macro_use]
pub mod id;
pub mod metering;
pub mod partition;
pub mod people;
pub mod platform;
pub mod quota;
pub mod rating;
pub mod refusal;
pub mod resource;
pub mod tenant;

/// A point in time: UTC, microseconds on the wire.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Labels of a tenant or resource: small, ordered, chosen by people.
pub type Labels = std::collections::BTreeMap<String, String>;
