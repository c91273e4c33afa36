//! How it is written down: records, events and their versions, JSON Schema, the catalogue.
//!
//! Read in this order:
//!
//! 1. [`record`]: the bytes of the journal, which are hashed as they lie there.
//! 2. [`event`]: the facts inside a commit, and how old versions of them are read.
//! 3. [`command`]: what is asked, on its way to a decider; [`advice`]: what would become of it.
//! 4. [`catalogue`]: what can be ordered, and the check of an order against it.
//! 5. [`reading`]: what collectors send; [`notification`]: what OpenStack tells of what it made.
//! 6. [`schema`] and [`cloudevents`]: the same for programs of others.
//!
//! `README.md` says how to add an event, a version or a service; `golden/` holds a frozen sample of everything that was ever written.

pub mod advice;
pub mod catalogue;
pub mod cloudevents;
pub mod command;
pub mod event;
pub mod notification;
pub mod reading;
pub mod record;
pub mod schema;
