//! Measuring two sides in turn.

use anyhow::Context;
use serde::Serialize;
use std::time::Instant;

/// How much and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Scale {
    /// Measurements of each side.
    pub runs: usize,
    /// Smaller amounts.
    pub quick: bool,
}

impl Scale {
    /// `full`, or `quick` when little time is to be spent.
    pub fn amount(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// What ours is to be, as a multiple of the peer.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Of a rate.
    AtLeast(f64),
    /// Of a time or an amount.
    AtMost(f64),
}

impl Goal {
    /// Whether this ratio meets it.
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(goal) => ratio >= goal,
            Self::AtMost(goal) => ratio <= goal,
        }
    }
}

/// One figure, and what it was measured beside.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Of all figures in the row.
    pub unit: &'static str,
    /// One figure a run.
    pub ours: Vec<f64>,
    /// The other side.
    pub peer: Option<Peer>,
}

/// The other side of a row.
#[derive(Debug, Clone, Serialize)]
pub struct Peer {
    /// Who or what.
    pub name: String,
    /// One figure a run, taken right after ours.
    pub figures: Vec<f64>,
    /// What ours is to be beside it; none where it only stands there for comparison.
    pub goal: Option<Goal>,
}

impl Row {
    /// A figure that stands alone.
    pub fn alone(what: impl Into<String>, unit: &'static str, ours: Vec<f64>) -> Self {
        Self { what: what.into(), unit, ours, peer: None }
    }

    /// A figure beside a peer's.
    pub fn beside(
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        peer: impl Into<String>,
        figures: &[f64],
        goal: Option<Goal>,
    ) -> Self {
        let peer = Peer { name: peer.into(), figures: figures.to_vec(), goal };
        Self { what: what.into(), unit, ours: ours.to_vec(), peer: Some(peer) }
    }

    /// The median of the ratios of the runs.
    pub fn ratio(&self) -> Option<f64> {
        let peer = self.peer.as_ref()?;
        Some(median(&self.ours.iter().zip(&peer.figures).map(|(ours, peer)| ours / peer).collect::<Vec<_>>()))
    }
}

/// The middle one of the figures; of an even number, the mean of the two in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// One side of a comparison: measures once, and gives its figure.
pub type Side<'a> = Box<dyn FnMut() -> anyhow::Result<f64> + 'a>;

/// Measures all sides in turn, so many times, and gives the figures of each.
pub fn in_turn<const N: usize>(runs: usize, mut sides: [Side<'_>; N]) -> anyhow::Result<[Vec<f64>; N]> {
    let mut figures = [const { Vec::new() }; N];
    for _ in 0..runs {
        for (side, figures) in sides.iter_mut().zip(&mut figures) {
            figures.push(side()?);
        }
    }
    eprintln!("  {figures:.1?}");
    Ok(figures)
}

/// How many of them a second `work` did.
pub fn rate(amount: usize, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(amount as f64 / began.elapsed().as_secs_f64())
}

/// How many of them a second of a core `work` did on this thread: other work on the machine does not count.
pub fn rate_of_core(amount: usize, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = seconds_of_core()?;
    work()?;
    Ok(amount as f64 / (seconds_of_core()? - began))
}

/// What this thread got of a core so far, as Linux counts it.
fn seconds_of_core() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().context("nanoseconds on a core")?.parse::<f64>()? / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_of_a_row_is_taken_run_by_run_so_that_a_slow_minute_hits_both_sides() {
        let row = Row::beside("x", "1/s", &[10.0, 1.0, 9.0], "peer", &[20.0, 2.0, 9.0], Some(Goal::AtLeast(0.5)));
        assert_eq!(row.ratio(), Some(0.5));
        assert!(Goal::AtLeast(0.5).is_met(0.5) && !Goal::AtMost(0.4).is_met(0.5));
    }
}
