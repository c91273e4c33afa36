//! The API end to end: real Kafka, real PostgreSQL, a decider, a projector, and two API processes' worth of API in one test process.
//!
//! All tests share one platform and keep apart by tenants.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cloud;
mod lists;
mod people;
mod promises;
mod writes;
