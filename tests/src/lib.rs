//! Does it hold together: scenarios, simulation, end to end.

pub mod servers;
pub mod trace;
