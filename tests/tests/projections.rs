//! Read models on a real PostgreSQL: what each makes of commits, that it does so however the commits arrive, and who keeps them up to date.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "projections/database.rs"]
mod database;
#[path = "projections/lists.rs"]
mod lists;
#[path = "projections/models.rs"]
mod models;
#[path = "projections/properties.rs"]
mod properties;
#[path = "projections/rebuilding.rs"]
mod rebuilding;
#[path = "projections/running.rs"]
mod running;
