//! `neuron_weights`: what the hidden neurons of toy models read and write.
//!
//! Reads the encoder and the matrix after it, of the best replica at each point of the grid; draws two rows of maps with a column a point.
//! Source: arXiv 2209.10652, "computation in superposition", which has the same weights as stacked bars.

use super::csv::Table;
use super::heat::{self, Colors};
use super::page;
use super::panel::Panel;
use super::scale::Scale;
use super::style::{BLACK, LABEL_SIZE};
use super::toys::{GridPoint, Toys, chosen};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Directions, Field, READ, Setting, read_out, toys_of};
use crate::tensor::Tensor;

/// See the file's first lines.
pub struct NeuronWeights;

/// Points on a page.
const MAX_POINTS: usize = 5;
/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (24.0, 22.0);
/// The largest side of a panel, points.
const MAX_SIDE: f64 = 210.0;

impl Figure for NeuronWeights {
    fn name(&self) -> &'static str {
        "neuron_weights"
    }

    fn summary(&self) -> &'static str {
        "toy models: what each hidden neuron reads of the features and writes to the outputs"
    }

    fn explain(&self) -> String {
        "\
What it is
  A column for each point of the grid (five of them, evenly chosen, when there are more; for each replica when there is
  no grid). Top: the weights that the neurons of the first hidden layer read features with, a neuron a column, first
  feature on top. Bottom: the weights that they write with. Neurons are in order of the feature that they read most
  strongly (positive weights first), so that neurons of one feature make stairs; a second large weight in a column is a
  polysemantic neuron. Features and outputs after the last one that any neuron reads or writes with a fifth of its
  largest weight are left out. Of several seeds the one with the least loss is shown; --seed takes one.
Reads
  W (of a tied model the bottom is the same), or W_0 and the matrix after it, of every replica at one checkpoint
  (--step; the last when unset); losses of the evaluations.
Unit and range
  Each neuron's weights over the largest magnitude among what it reads with, or writes with: -1 (blue) to 1 (red).
Value at a known point
  Absolute value, dense features: two neurons a feature, one reading it with a positive weight and one with a negative,
  both writing positively.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"computation in superposition\"."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        let spec = toys_of(setting)?.spec;
        match spec.n_features.max(spec.d_hidden.0[0]) {
            size if size <= 400 => Ok(()),
            size => Err(format!("{size} features or neurons are too many to tell apart")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let points = chosen(toys.points(), MAX_POINTS);
        sink.table = Table::with_columns(&["point", "seed", "step", "neuron", "place", "way", "index", "weight"]);
        let shows = format!("Weights of hidden neurons: {}", toys.title());
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &[], 0.0);
        area.top -= 18.0;
        let neurons = |point: &GridPoint| Neurons::of(&toys.params(point.best)?);
        let all: Vec<Neurons> = points.iter().map(neurons).collect::<Result<_>>()?;
        let neurons = |point: &GridPoint| Neurons::of(&toys.params_of_choice(point.best)?);
        let deciding: Vec<Neurons> = points.iter().map(neurons).collect::<Result<_>>()?;
        let colors = Colors::around_zero([1.0]);
        let shown =
            |weights: fn(&Neurons) -> &[f64]| deciding.iter().map(|of| of.shown(weights(of))).max().unwrap_or(1);
        let (n_read, n_written) = (shown(|of| &of.read_jn), shown(|of| &of.write_jo));
        let bar = heat::bar_room(&colors, &area);
        let columns = points.len().max(1);
        let side = ((area.width - bar - GAP.0 * (columns as f64 - 1.0)) / columns as f64).min(MAX_SIDE);
        (area.width, area.height) = (side * columns as f64 + GAP.0 * (columns as f64 - 1.0), 2.0 * side + GAP.1);
        sink.drawing.page.1 = (area.top + area.height + 48.0).ceil() as u32;
        let frames = area.grid(2, columns, GAP);
        for (k, (point, neurons)) in points.iter().zip(&all).enumerate() {
            let order = deciding[k].order();
            let both = [
                ("reads", &neurons.read_jn, n_read, frames[k]),
                ("writes", &neurons.write_jo, n_written, frames[columns + k]),
            ];
            for (way, weights_ji, rows, frame) in both {
                let n = weights_ji.len() / neurons.m;
                for (place, &j) in order.iter().enumerate() {
                    for (i, &weight) in weights_ji[j * n..(j + 1) * n].iter().enumerate() {
                        let seed = toys.seeds[point.best];
                        sink.table.record(&[&point.label, &seed, &toys.step, &j, &place, &way, &i, &Field(weight)]);
                    }
                }
                let largest_j: Vec<f64> = weights_ji.chunks_exact(n).map(largest).collect();
                let cell = |c: usize| {
                    let (i, j) = (c / neurons.m, order[c % neurons.m]);
                    colors.of(weights_ji[j * n + i] / largest_j[j])
                };
                let rgb = (0..rows * neurons.m).map(|c| cell(c).rgb);
                let (corner, size) = ((frame.left, frame.top), (frame.width, frame.height));
                sink.drawing.cells(corner, size, neurons.m, rgb.collect());
                let panel = Panel {
                    frame,
                    x: Scale::Linear { low: 0.0, high: neurons.m as f64 },
                    y: Scale::Linear { low: 0.0, high: rows as f64 },
                };
                panel.outline(&mut sink.drawing);
                if way == "reads" {
                    panel.name(&mut sink.drawing, &point.label);
                }
            }
        }
        for (frame, words, n) in [(frames[0], "reads feature", n_read), (frames[columns], "writes output", n_written)] {
            let at = |left: f64| (left, frame.top + frame.height / 2.0);
            sink.drawing.text_upwards(at(22.0), words, LABEL_SIZE, BLACK);
            sink.drawing.text_upwards(at(40.0), &format!("1 to {n}"), LABEL_SIZE, BLACK);
        }
        let name = (area.left + area.width / 2.0, area.top + area.height + 24.0);
        let words = "neurons, in order of the feature that they read most strongly";
        sink.drawing.text(name, words, LABEL_SIZE, BLACK, super::drawing::Anchor::Middle);
        heat::color_bar(&mut sink.drawing, &area, &colors, "weight / the neuron's largest");
        Ok(())
    }
}

/// The weights of one replica's neurons.
struct Neurons {
    m: usize,
    /// `[m, n]`
    read_jn: Vec<f64>,
    /// `[m, outputs]`
    write_jo: Vec<f64>,
}

impl Neurons {
    fn of(params: &[Tensor]) -> Result<Neurons> {
        let directions = Directions::of(params)?;
        let (m, n) = (directions.m, directions.n);
        let read_jn = (0..m * n).map(|ji| directions.column(ji % n)[ji / n]).collect();
        Ok(Neurons { m, read_jn, write_jo: read_out(params)? })
    }

    /// How many rows are shown: up to the last one that some neuron has a fifth of its largest weight in.
    fn shown(&self, weights_ji: &[f64]) -> usize {
        let n = weights_ji.len() / self.m;
        let last = |row_i: &[f64]| row_i.iter().rposition(|x| x.abs() >= READ * largest(row_i)).map_or(1, |i| i + 1);
        weights_ji.chunks_exact(n.max(1)).filter(|row_i| largest(row_i) > 0.0).map(last).max().unwrap_or(1)
    }

    /// Neurons by the feature that each reads most strongly, those with a positive weight first.
    fn order(&self) -> Vec<usize> {
        let n = self.read_jn.len() / self.m;
        let strongest = |j: usize| {
            let row_n = &self.read_jn[j * n..(j + 1) * n];
            let i = (0..n).max_by(|&x, &y| row_n[x].abs().total_cmp(&row_n[y].abs()).then(y.cmp(&x))).unwrap_or(0);
            (i, row_n[i] < 0.0)
        };
        let mut order: Vec<usize> = (0..self.m).collect();
        order.sort_by_key(|&j| strongest(j));
        order
    }
}

fn largest(weights: &[f64]) -> f64 {
    weights.iter().fold(0.0, |top, x| top.max(x.abs()))
}
