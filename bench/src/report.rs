//! What was measured: figures for programs, a table for people.

use crate::{
    machine::Machine,
    measure::{Goal, Row, Scale, median},
};
use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::path::Path;

/// Everything that one line brought.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub line: &'static str,
    /// How much and how often.
    pub scale: Scale,
    /// Where.
    pub machine: Machine,
    /// Load average of the machine before and after.
    pub load: [f64; 2],
    /// The figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// Writes `<line>.json`.
    pub fn keep(&self, into: &Path) -> anyhow::Result<()> {
        let path = into.join(format!("{}.json", self.line));
        std::fs::write(&path, serde_json::to_string_pretty(self)?).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// All of them in one table.
pub fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["what", "ours", "beside", "theirs", "ratio", "goal", "", "load"]);
    for column in [1, 3, 4, 7] {
        table.column_mut(column).expect("the header has it").set_cell_alignment(CellAlignment::Right);
    }
    for report in reports {
        let [before, after] = report.load;
        for row in &report.rows {
            let (name, theirs, goal) = match &row.peer {
                Some(peer) => (peer.name.as_str(), figure(median(&peer.figures), row.unit), peer.goal),
                None => ("", String::new(), None),
            };
            let verdict = row.ratio().zip(goal).map_or("", |(ratio, goal)| if goal.is_met(ratio) { "met" } else { "NOT MET" });
            table.add_row([
                row.what.clone(),
                figure(median(&row.ours), row.unit),
                name.to_owned(),
                theirs,
                row.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}")),
                goal.map_or(String::new(), words),
                verdict.to_owned(),
                format!("{before:.0}-{after:.0}"),
            ]);
        }
    }
    table
}

fn words(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(goal) => format!("at least {goal}"),
        Goal::AtMost(goal) => format!("at most {goal}"),
    }
}

/// Three significant digits and the unit.
fn figure(value: f64, unit: &str) -> String {
    let decimals = if value == 0.0 { 0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 4.0) as usize };
    format!("{value:.decimals$} {unit}")
}
