//! `grid_losses`: training and test loss of toy models over an axis of their grid, a curve for each value of the other axis.
//!
//! Reads the losses of the last evaluation; draws the best seed at each point, both losses, on logarithmic axes.
//! Source: Henighan et al. 2023, whose figures have the loss over the number of points so.

use super::csv::Table;
use super::page::{self, Key, Mark};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::style::{BLACK, CATEGORIES, CURVE_WIDTH};
use super::toys::{Toys, axis_label, curves_fit, geometric, short};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Setting};

/// See the file's first lines.
pub struct GridLosses;

/// Losses below this share of the least test loss are not drawn: a few memorised points have losses of rounding alone.
const SMALLEST: f64 = 1e-3;

impl Figure for GridLosses {
    fn name(&self) -> &'static str {
        "grid_losses"
    }

    fn summary(&self) -> &'static str {
        "toy models over an axis of the grid: training and test loss, a curve for each value of the other"
    }

    fn explain(&self) -> String {
        "\
What it is
  The loss over the last axis of the grid: of evaluations (full lines) and of the batch or the fixed points that are
  trained on (dashed). With two axes a colour stands for each of the first axis's values, up to five; black is the best
  of them by test loss. At each point of the grid the seed with the least test loss is shown. Training losses below
  a thousandth of the least test loss have no place.
Reads
  Losses of the last evaluation until the chosen step (--step; the last when unset), as the run's metrics have them.
Unit and range
  As trained: squared error, the sum over outputs or their mean, or nats; logarithmic axis.
Value at a known point
  Few fixed points: the training loss is near 0 and the test loss is not. Fresh examples: both agree but for noise.
Source
  Henighan et al. 2023, superposition, memorization and double descent, has the loss over the number of points so."
            .into()
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
        let [test, train] = [input.series("metrics", "test_loss")?, input.series("metrics", "train_loss")?];
        let s = test.steps.iter().rposition(|&step| step <= toys.step).unwrap_or(0);
        let points = toys.points();
        // One curve a value of the first axis: the last axis goes fastest.
        let curves: Vec<Vec<(f64, f64, f64)>> = (points.chunks(axis.numbers().len().max(1)))
            .map(|chunk| {
                let point = |r: usize| {
                    let at = &toys.setting.replicas[r].point;
                    (at[at.len() - 1], test.at(s, r)[0], train.at(s, r)[0])
                };
                chunk.iter().map(|p| point(p.best)).collect()
            })
            .collect();
        sink.table = Table::with_columns(&["first_axis", &axis.name, "seed", "test_loss", "train_loss"]);
        for (point, (x, test, train)) in points.iter().zip(curves.iter().flatten()) {
            let first = toys.setting.replicas[point.best].point[0];
            let fields = [first, *x, *test, *train].map(Field);
            sink.table.record(&[&fields[0], &fields[1], &toys.seeds[point.best], &fields[2], &fields[3]]);
        }
        let name = |k: usize| match grid.len() {
            1 => "test loss".to_owned(),
            _ => format!("{}: {}", axis_label(&grid[0]), short(grid[0].numbers()[k])),
        };
        let several = curves.len() > 1;
        let mut keys: Vec<Key> =
            (0..curves.len()).map(|k| Key::line(name(k), CATEGORIES[k % CATEGORIES.len()], CURVE_WIDTH)).collect();
        if several {
            keys.push(Key::line("best of them", BLACK, CURVE_WIDTH));
        }
        keys.push(Key { text: "training loss".into(), ink: CATEGORIES[0], mark: Mark::Dashed(CURVE_WIDTH) });
        let shows = format!("Loss over {}: {}", axis_label(axis), toys.title());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 20.0);
        let values = || curves.iter().flatten();
        let xs = values().map(|point| point.0);
        let x = if axis.log || geometric(&axis.numbers()) { Scale::log(xs) } else { Scale::linear(xs) };
        let least = values().map(|point| point.1).filter(|x| x.is_finite()).fold(f64::INFINITY, f64::min);
        let shown = values().flat_map(|point| [point.1, point.2]).filter(|loss| *loss >= least * SMALLEST);
        let panel = Panel { frame: area, x, y: Scale::log(shown) };
        panel.grid(&mut sink.drawing);
        for (k, curve) in curves.iter().enumerate() {
            let ink = CATEGORIES[k % CATEGORIES.len()];
            line(sink, &panel, curve.iter().map(|point| (point.0, point.1)), (ink, true));
            for pair in curve.windows(2) {
                let [from, to] = [pair[0], pair[1]].map(|point| panel.point(point.0, point.2));
                if let (Some(from), Some(to)) = (from, to) {
                    sink.drawing.dashed(from, to, ink, CURVE_WIDTH * 0.7);
                }
            }
        }
        if several {
            let best = |i: usize| {
                let least =
                    curves.iter().map(|curve| curve[i].1).filter(|x| x.is_finite()).fold(f64::INFINITY, f64::min);
                (curves[0][i].0, least)
            };
            line(sink, &panel, (0..curves[0].len()).map(best), (BLACK, false));
        }
        let log = matches!(x, Scale::Log { .. });
        let name = if log { format!("{} (log scale)", axis_label(axis)) } else { axis_label(axis) };
        panel.axes(&mut sink.drawing, Names { x: Some(&name), y: Some("loss (log scale)"), panel: None });
        Ok(())
    }
}

/// A curve through points that the panel can show, with dots where asked for.
fn line(
    sink: &mut Sink,
    panel: &Panel,
    points: impl Iterator<Item = (f64, f64)>,
    (ink, dots): (super::style::Ink, bool),
) {
    let shown: Vec<_> = points.filter_map(|(x, y)| panel.point(x, y)).collect();
    if dots {
        shown.iter().for_each(|&at| sink.drawing.dot(at, 2.4, ink));
    }
    sink.drawing.line(shown, ink, CURVE_WIDTH);
}
