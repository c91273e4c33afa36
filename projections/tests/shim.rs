extern crate self as tests;
#[path = "../../tests/src/servers.rs"]
pub mod servers;
#[path = "../../tests/tests/projections.rs"]
mod all;
