//! Stories of the domain: given what happened, when somebody asks or a worker reports, then these facts follow or that refusal.
//!
//! Every story runs through [`domain::partition::Partition::handle`] and `apply`, as in production, and ends with the proof that a replay of its
//! log gives the state that it left behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogue;
mod cloud;
mod keys;
mod late;
mod life;
mod people;
mod platform;
mod properties;
mod quota;
mod references;
mod refusals;
mod tenancy;
mod time;
