//! What is measured: readings that are checked and counted once, and lives that are counted from their first microsecond to their last.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod metering_collector;
mod metering_door;
mod metering_lives;
mod metering_openstack;
mod metering_readings;
