//! What can be measured.

pub mod append;
pub mod claims;
pub mod fold;
pub mod growth;
pub mod latency;
pub mod million;
pub mod processes;
pub mod projection;
pub mod rating;
pub mod verify;

use crate::measure::{Row, Scale};
use std::path::Path;

/// One line: a claim about speed, and how it is measured.
pub struct Line {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures beside what.
    pub about: &'static str,
    /// Measures it; plots go into the directory.
    pub run: fn(&Scale, &Path) -> anyhow::Result<Vec<Row>>,
}

/// All of them, in the order in which they run.
pub const ALL: &[Line] = &[
    append::LINE,
    verify::LINE,
    fold::LINE,
    projection::LINE,
    claims::LINE,
    claims::http::LINE,
    latency::LINE,
    processes::LINE,
    million::LINE,
    growth::LINE,
    rating::LINE,
];

/// All of them in words.
pub fn help() -> String {
    let lines = ALL.iter().map(|line| format!("  {:<12} {}", line.name, line.about));
    std::iter::once("Lines:".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}
