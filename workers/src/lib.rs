//! What is done: the decider, provisioning and its drivers.

pub mod decider;
pub mod processes;
pub mod provider;
pub mod provisioning;
