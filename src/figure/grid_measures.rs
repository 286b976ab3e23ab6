//! `grid_measures`: measures of toy models over an axis of their grid, a panel a number.
//!
//! Reads what was measured of every replica at one checkpoint; draws a colour for each value of the other axis.

use super::measure_panels::{Curve, MeasurePanels, NUMBERS};
use super::toys::{GridPoint, Toys, axis_label, curves_fit, geometric, short};
use super::{Figure, FigureInput, Sink};
use crate::error::{Error, Result};
use crate::measure::Setting;

/// See the file's first lines.
pub struct GridMeasures;

const MEASURES: [&str; 9] = [
    "features",
    "polysemanticity",
    "privileged_basis",
    "adversarial_vulnerability",
    "data_dimensionality",
    "linear_probes",
    "additivity",
    "learning_coefficient",
    "class_accuracy",
];

impl Figure for GridMeasures {
    fn name(&self) -> &'static str {
        "grid_measures"
    }

    fn summary(&self) -> &'static str {
        "toy models over an axis of the grid: what was measured of every replica, a panel a number"
    }

    fn explain(&self) -> String {
        "\
What it is
  A panel for each number that was measured, over the last axis of the grid: a dot a replica, a line through the medians
  over seeds; --seed takes one. With two axes a colour stands for each of the first axis's values, up to five.
Reads
  The scalar columns that say most of features, polysemanticity, privileged_basis, adversarial_vulnerability,
  data_dimensionality, linear_probes, additivity, learning_coefficient and class_accuracy, those that are there, and the
  test loss, at one checkpoint (--step; the last when unset).
Unit and range
  As `phaselab explain` has them for each measure.
Value at a known point
  As `phaselab explain` has them for each measure.
Source
  Elhage et al. 2022 (arXiv 2209.10652) draws adversarial vulnerability over sparsity so."
            .into()
    }

    fn needs_any(&self) -> &'static [&'static str] {
        &MEASURES
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        curves_fit(setting)
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let grid = &toys.setting.spec.grid;
        let axis = &grid[grid.len() - 1];
        let there: Vec<_> = (NUMBERS.iter())
            .filter_map(|number| {
                let series = input.series(number.measure, number.column).ok()?;
                Some((number, series, series.steps.iter().rposition(|&step| step <= toys.step)?))
            })
            .collect();
        if there.iter().all(|(number, ..)| number.measure == "metrics") {
            return Err(Error::Missing {
                what: format!("every measure of {}", MEASURES.join(", ")),
                path: "measures".into(),
                hint: "`phaselab measure` makes them: measure one of these, then draw again".into(),
            });
        }
        let points = toys.points();
        let curve = |chunk: &[GridPoint]| {
            let replicas: Vec<usize> = chunk.iter().flat_map(|point| toys.shown(point)).collect();
            let at = |r: &usize| &toys.setting.replicas[*r].point;
            let first = at(&replicas[0])[0];
            Curve {
                label: if grid.len() > 1 {
                    format!("{}: {}", axis_label(&grid[0]), short(first))
                } else {
                    String::new()
                },
                seeds: replicas.iter().map(|&r| toys.seeds[r]).collect(),
                x: replicas.iter().map(|r| at(r)[grid.len() - 1]).collect(),
                values: (there.iter())
                    .map(|(_, series, s)| replicas.iter().map(|&r| series.at(*s, r)[0]).collect())
                    .collect(),
            }
        };
        let panels = MeasurePanels {
            title: input.title,
            shows: format!(
                "Measures over {}: dots are replicas, lines medians over seeds; step {}",
                axis_label(axis),
                toys.step
            ),
            x_label: axis_label(axis),
            x_log: axis.log || geometric(&axis.numbers()),
            numbers: there.iter().map(|(number, ..)| *number).collect(),
            curves: points.chunks(axis.numbers().len().max(1)).map(curve).collect(),
        };
        panels.draw(sink);
        Ok(())
    }
}
