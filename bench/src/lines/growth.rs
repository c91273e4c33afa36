//! How cost grows with partitions and with resources: flat or linear is what is hoped for, and a plot shows it.

use super::{Line, append, fold::Folded};
use crate::{
    history,
    measure::{Row, Scale, median, rate_of_core},
};
use plotters::prelude::*;
use std::path::Path;
use tests::servers::Kafka;

/// See the module.
pub const LINE: Line = Line { name: "growth", about: "append by partitions and fold by resources, as plots", run };

fn run(scale: &Scale, into: &Path) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (records, mut appended) = (scale.amount(100_000, 25_600), Vec::new());
    for partitions in [1, 4, 16, 64] {
        let rates = repeated(scale, || append::ours(Kafka::shared(), partitions, records))?;
        appended.push((f64::from(partitions), median(&rates)));
        rows.push(Row::alone(format!("append and observe, {partitions} partitions"), "commits/s", rates));
    }
    plot(&into.join("append-by-partitions.svg"), "Commits/s appended and observed, by partitions", &appended)?;
    let sizes: &[usize] = if scale.quick { &[1_000, 10_000, 30_000] } else { &[10_000, 100_000, 1_000_000] };
    let mut folded = Vec::new();
    for resources in sizes {
        let log = Folded::of(&history::of_servers(*resources))?;
        let rates = repeated(scale, || rate_of_core(log.events, || log.fold()))?;
        folded.push((*resources as f64, median(&rates)));
        rows.push(Row::alone(format!("fold up to {resources} resources"), "events/s", rates));
    }
    plot(&into.join("fold-by-resources.svg"), "Events/s folded, by resources at the end", &folded)?;
    Ok(rows)
}

fn repeated(scale: &Scale, mut measure: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
    (0..scale.runs).map(|_| measure()).collect()
}

/// Rates over a quantity that grows by factors.
fn plot(path: &Path, title: &str, points: &[(f64, f64)]) -> anyhow::Result<()> {
    let range =
        |values: &mut dyn Iterator<Item = f64>| values.fold((f64::MAX, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
    let (first, last) = range(&mut points.iter().map(|(x, _)| *x));
    let (_, highest) = range(&mut points.iter().map(|(_, y)| *y));
    let area = SVGBackend::new(path, (720, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d((first..last).log_scale(), 0.0..highest * 1.1)?;
    chart.configure_mesh().light_line_style(WHITE).y_label_formatter(&|rate| format!("{rate:.0}")).draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), BLUE.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, BLUE.filled())))?;
    area.present()?;
    Ok(())
}
