//! Columns with an axis as curves over training: a curve a tick, coloured in the order of the axis.
//!
//! Reads series with an axis; draws a panel a column, one below the other, medians over the replicas, over logarithmic steps. What the
//! figures of positions, labels and heads share.

use super::page::{self, Key, STEP_LOG};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::spread::Quartiles;
use super::style::{CATEGORIES, CURVE_WIDTH, Ink, viridis};
use super::{FigureInput, Sink};
use crate::error::Result;
use crate::measure::Series;

/// One panel.
pub struct Part {
    /// The measure.
    pub measure: &'static str,
    /// Its column.
    pub column: &'static str,
    /// Name of the y axis, with the unit.
    pub label: &'static str,
    /// Whether losses are on a logarithmic axis; fractions have one from 0 to 1.
    pub log: bool,
}

/// Curves that the legend names at most.
const NAMED: usize = 8;

/// Space between panels, points.
const GAP: f64 = 14.0;

/// Draws the panels; `shows` is followed by how many replicas there are.
pub fn draw(input: &FigureInput<'_>, sink: &mut Sink, shows: &str, parts: &[Part]) -> Result<()> {
    let series: Vec<&Series> =
        parts.iter().map(|part| input.series(part.measure, part.column)).collect::<Result<_>>()?;
    let Some(axis) = series.first().and_then(|series| series.axis.as_ref()) else { return Ok(()) };
    let inks = inks(axis.ticks.len());
    let keys: Vec<Key> = named(axis.ticks.len())
        .map(|i| Key::line(format!("{} {}", axis.name, axis.ticks[i]), inks[i], CURVE_WIDTH))
        .collect();
    let shows = format!("{shows}, medians of {} replicas", series[0].seeds.len());
    let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
    let frames = area.grid(parts.len(), 1, (0.0, GAP));
    let x = page::log_steps(&series);
    for (i, (part, series)) in parts.iter().zip(&series).enumerate() {
        let ticks: Vec<Series> = (0..axis.ticks.len()).map(|tick| at_tick(series, tick)).collect();
        let medians: Vec<Quartiles> = ticks.iter().map(Quartiles::of).collect();
        let all = medians.iter().flat_map(|quartiles| quartiles.median.iter().copied());
        let y = if part.log { Scale::log(all) } else { Scale::fraction() };
        let panel = Panel { frame: frames[i], x, y };
        panel.grid(&mut sink.drawing);
        for ((series, quartiles), ink) in ticks.iter().zip(&medians).zip(&inks) {
            panel.curve(&mut sink.drawing, &series.steps, &quartiles.median, (*ink, CURVE_WIDTH));
            sink.table.quartiles(series, quartiles);
        }
        let last = i + 1 == parts.len();
        panel.axes(&mut sink.drawing, Names { x: last.then_some(STEP_LOG), y: Some(part.label), panel: None });
    }
    Ok(())
}

/// Few curves have colours that differ in hue; many run from dark to light.
fn inks(n: usize) -> Vec<Ink> {
    if n <= CATEGORIES.len() {
        return CATEGORIES[..n].to_vec();
    }
    (0..n).map(|i| viridis(0.92 * i as f64 / (n - 1) as f64)).collect()
}

/// The ticks in the legend: all where they are few, else as far apart as it takes, and the last.
fn named(n: usize) -> impl Iterator<Item = usize> {
    let step = n.saturating_sub(1).div_ceil(NAMED - 1).max(1);
    (0..n).step_by(step).map(move |i| if i + step < n { i } else { n - 1 })
}

/// One tick of a series, as a series of its own whose column says which.
fn at_tick(series: &Series, tick: usize) -> Series {
    let width = series.width();
    let name = series.axis.as_ref().map_or(String::new(), |axis| format!(" {} {}", axis.name, axis.ticks[tick]));
    Series {
        measure: series.measure.clone(),
        column: format!("{}{name}", series.column),
        unit: series.unit.clone(),
        key_freqs: None,
        steps: series.steps.clone(),
        seeds: series.seeds.clone(),
        axis: None,
        values_srw: series.values_srw.chunks_exact(width.max(1)).map(|values| values[tick]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_names_first_and_last_and_few_in_full() {
        assert_eq!(named(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(named(8).count(), 8);
        assert_eq!(named(9).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!(named(31).collect::<Vec<_>>(), [0, 5, 10, 15, 20, 25, 30]);
        assert_eq!(named(12).collect::<Vec<_>>(), [0, 2, 4, 6, 8, 11]);
        assert_eq!((named(1).collect::<Vec<_>>(), named(0).count()), (vec![0], 0));
    }
}
