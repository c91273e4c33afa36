//! What is done: the decider, provisioning and its drivers.

pub mod decider;
pub mod provider;
pub mod provisioning;
