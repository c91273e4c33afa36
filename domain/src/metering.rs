//! What is measured: meters, readings, what exists, and when.
//!
//! There are two kinds of evidence. What *exists* (processors, memory, volumes, addresses) is measured from the events of the journal: [`Life`]
//! says when a resource was there, [`usage`] what its meters count of that. What *flows* (traffic, requests, stored bytes) is measured from
//! readings: [`Door`] checks what comes in, [`Gathering`] counts each reading once, [`Tally`] and [`Series`] say what they come to. Clouds that were
//! there before Cirrus tell what exists by notifications: [`openstack`] makes intervals of them.
//!
//! Everything is counted in whole base units ([`crate::rating::Quantity`]) and [start, end) in UTC, in whole microseconds, cut by a [`Calendar`]
//! at the hours of UTC and at the midnights of the tenant's time zone. Nothing here is rounded but the average of an hour. The result of readings does
//! not depend on the order in which they come, nor on how often; that of existence only on the facts of the chain.
//!
//! The rules in plain words, with those for late and lost readings, are in `docs/metering.md`.

mod calendar;
mod counter;
mod gathering;
mod life;
mod meter;
mod numbers;
pub mod openstack;
mod reading;
mod tally;
mod usage;
mod value;

pub use calendar::{Calendar, Slot, UnknownZone};
pub use counter::{Rise, Series};
pub use gathering::{Gathering, KEPT, Place, Reason, Verdict};
pub use life::{Life, Origin, Span};
pub use meter::{Aggregation, BadMeter, Counter, Evidence, Existence, Meter, Meters, Readings};
pub use numbers::{GAP_AFTER, Gap, MOST_HOLES, Numbers, Seen};
pub use reading::{
    AHEAD, BadBatch, Dimensions, Door, Fault, Flaw, Key, MOST, Measured, Measurement, Offered, Problem, Reading, Sender, Subjects,
};
pub use tally::{SetDigest, Tally};
pub use usage::{Piece, TooLarge, usage};
pub use value::BadValue;
