//! Does it hold together: scenarios, simulation, end to end.

pub mod chaos;
pub mod cloud;
pub mod platform;
pub mod quota;
pub mod servers;
#[cfg(test)]
mod simulation;
pub mod trace;
