//! Pictures of what the processes of a run held: one a measure, a line a process, broken where it started again.

use super::{
    flat::{MEASURES, Measure, START, lives},
    watch::Sample,
};
use plotters::prelude::*;
use std::{collections::BTreeMap, path::Path};

/// Writes `memory.svg`, `open-files.svg` and `connections.svg`.
pub fn plot(samples: &[Sample], into: &Path) -> anyhow::Result<()> {
    for measure in &MEASURES {
        one(measure, samples, &into.join(format!("{}.svg", measure.name.replace(' ', "-"))))?;
    }
    Ok(())
}

/// On a logarithmic scale, where brokers and workers can be seen at once.
fn one(measure: &Measure, samples: &[Sample], path: &Path) -> anyhow::Result<()> {
    let value = |sample: &Sample| (measure.of)(sample).max(1.0);
    let minute = |second: u64| second as f64 / 60.0;
    let highest = samples.iter().map(value).fold(10.0, f64::max);
    let last = samples.iter().map(|sample| sample.second).max().unwrap_or(1);
    let area = SVGBackend::new(path, (1_100, 640)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}{} of each process, by minutes", measure.name, measure.unit), ("sans-serif", 20))
        .margin(16)
        // Room for the legend.
        .margin_right(180)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..minute(last), (1.0..highest * 1.2).log_scale())?;
    chart.configure_mesh().light_line_style(WHITE).y_label_formatter(&|value| format!("{value:.0}")).draw()?;
    chart.draw_series(LineSeries::new([(minute(START), 1.0), (minute(START), highest)], BLACK.mix(0.3)))?;
    let mut colours: BTreeMap<&str, usize> = BTreeMap::new();
    for ((process, _), life) in lives(samples) {
        let fresh = colours.len();
        let place = *colours.entry(process).or_insert(fresh);
        let colour = Palette99::pick(place).to_rgba();
        let line = life.iter().map(|sample| (minute(sample.second), value(sample)));
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        if place == fresh {
            let at = (930, 60 + 20 * i32::try_from(place)?);
            area.draw(&Text::new(process.to_owned(), at, ("sans-serif", 15).into_font().color(&colour)))?;
        }
    }
    area.present()?;
    Ok(())
}
