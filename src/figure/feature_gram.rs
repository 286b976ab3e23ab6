//! `feature_gram`: WᵀW of toy models, and the norm of each feature coloured by its superposition.
//!
//! Reads the encoder of the best replica at each point of the grid; draws two rows with a column a point.
//! Source: arXiv 2209.10652, "demonstrating superposition".

use super::csv::Table;
use super::drawing::Anchor;
use super::heat::{self, Colors};
use super::maps::{Map, cells};
use super::page;
use super::panel::{Frame, Panel};
use super::scale::Scale;
use super::style::{BLACK, LABEL_SIZE};
use super::toys::{Toys, chosen};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Setting, toys_of};

/// See the file's first lines.
pub struct FeatureGram;

/// Points on a page.
const MAX_POINTS: usize = 5;
/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (24.0, 22.0);

impl Figure for FeatureGram {
    fn name(&self) -> &'static str {
        "feature_gram"
    }

    fn summary(&self) -> &'static str {
        "toy models: products of all features' directions, and each feature's norm and superposition"
    }

    fn explain(&self) -> String {
        "\
What it is
  A column for each point of the grid (five of them, evenly chosen, when there are more; for each replica when there is
  no grid). Top: W^T W, the product of the directions of every two features, first feature at the top left. Bottom: a
  bar for the norm of each feature, first feature on top; its colour is the interference of the others,
  sum over j of (W_i/|W_i| . W_j)^2. Of several seeds the one with the least loss is shown; --seed takes one.
Reads
  W, or W_0, of every replica at one checkpoint (--step; the last when unset); losses of the evaluations.
Unit and range
  Without unit. Colours of W^T W go from -1 to 1, those of interference from 0 to 1; what is beyond has the end's.
Value at a known point
  A feature with a dimension of its own: 1 on the diagonal, nothing beside it, a dark bar of length 1. Antipodal
  pairs: -1 beside the diagonal, bright bars.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"demonstrating superposition\"."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toys_of(setting)?.spec.n_features {
            n if n <= 400 => Ok(()),
            n => Err(format!("{n} features are too many to tell apart")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let points = chosen(toys.points(), MAX_POINTS);
        sink.table = Table::with_columns(&["point", "seed", "step", "feature", "other", "product", "interference"]);
        let shows = format!("Products of features' directions, and norms: {}", toys.title());
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &[], 0.0);
        area.top -= 18.0;
        let (products, interference) = (Colors::around_zero([1.0]), Colors::from_zero(1.0));
        let bar = heat::bar_room(&products, &area);
        let columns = points.len().max(1);
        let side = ((area.width - bar - GAP.0 * (columns as f64 - 1.0)) / columns as f64).min(190.0);
        (area.width, area.height) = (side * columns as f64 + GAP.0 * (columns as f64 - 1.0), 2.0 * side + GAP.1);
        sink.drawing.page.1 = (area.top + area.height + 48.0).ceil() as u32;
        let frames = area.grid(2, columns, GAP);
        let all: Vec<_> = points.iter().map(|point| toys.directions(point.best)).collect::<Result<_>>()?;
        let longest = toys.reach(&points, |d| (0..d.n).map(|i| d.norm(i)).fold(0.0, f64::max))?;
        for (k, (point, directions)) in points.iter().zip(&all).enumerate() {
            let n = directions.n;
            let seed = toys.seeds[point.best];
            // Cells are drawn with the second index upwards; the first feature is to be at the top.
            let values: Vec<f64> =
                (0..n * n).map(|ij| directions.dot(ij / n, n - 1 - ij % n).clamp(-1.0, 1.0)).collect();
            cells(&mut sink.drawing, frames[k], &Map { values: &values, p: n, colors: products, name: None });
            let side = Scale::Linear { low: 0.0, high: n as f64 };
            let panel = Panel { frame: frames[k], x: side, y: side };
            panel.outline(&mut sink.drawing);
            panel.name(&mut sink.drawing, &point.label);
            let frame = frames[columns + k];
            let panel = Panel { frame, x: Scale::Linear { low: 0.0, high: longest * 1.08 }, y: side };
            panel.grid_x(&mut sink.drawing);
            let Frame { left, top, width, height } = frame;
            for i in 0..n {
                for j in 0..n {
                    let fields = [directions.dot(i, j), directions.interference(i)].map(Field);
                    sink.table.record(&[&point.label, &seed, &toys.step, &i, &j, &fields[0], &fields[1]]);
                }
                let (from, to) = (top + height * i as f64 / n as f64, top + height * (i + 1) as f64 / n as f64);
                let thick = ((to - from) * 0.1).min(1.0);
                let norm = directions.norm(i);
                if norm.is_finite() {
                    let right = left + width * norm / (longest * 1.08);
                    let ink = interference.of(directions.interference(i).min(1.0));
                    sink.drawing.rect((left, from + thick), (right, to - thick), ink);
                }
            }
            panel.outline(&mut sink.drawing);
            panel.x_axis(&mut sink.drawing, Some(""));
        }
        let at = |frame: Frame| (24.0, frame.top + frame.height / 2.0);
        sink.drawing.text_upwards(at(frames[0]), "feature", LABEL_SIZE, BLACK);
        sink.drawing.text_upwards(at(frames[columns]), "feature", LABEL_SIZE, BLACK);
        let name = (area.left + area.width / 2.0, area.top + area.height + 34.0);
        sink.drawing.text(name, "norm of the feature's direction (no unit)", LABEL_SIZE, BLACK, Anchor::Middle);
        let row = |first: Frame| Frame { width: area.width, ..first };
        heat::color_bar(&mut sink.drawing, &row(frames[0]), &products, "product (no unit)");
        heat::color_bar(&mut sink.drawing, &row(frames[columns]), &interference, "interference");
        Ok(())
    }
}
