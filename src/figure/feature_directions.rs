//! `feature_directions`: the features of toy models as arrows in their two hidden dimensions.
//!
//! Reads the encoder of the best replica at each point of the grid; draws a panel a point, colours by importance.
//! Source: arXiv 2209.10652, its introduction.

use super::csv::Table;
use super::drawing::Anchor;
use super::heat::{self, Colors};
use super::page;
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{BLACK, CURVE_WIDTH, GRID, LABEL_SIZE};
use super::toys::{Toys, chosen};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Setting, toys_of};

/// See the file's first lines.
pub struct FeatureDirections;

/// Panels on a page.
const MAX_PANELS: usize = 10;
/// Panels a row.
const COLUMNS: usize = 5;
/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (10.0, 26.0);

impl Figure for FeatureDirections {
    fn name(&self) -> &'static str {
        "feature_directions"
    }

    fn summary(&self) -> &'static str {
        "toy models with two hidden dimensions: the direction of each feature"
    }

    fn explain(&self) -> String {
        "\
What it is
  One panel for each point of the grid (ten of them, evenly chosen, when there are more; for each replica when there is
  no grid): the columns of the encoder W, one line a feature from the origin to W_i. Of several seeds the one with the
  least loss is shown; --seed takes one. Dark features are the most important.
Reads
  W, or W_0, of every replica at one checkpoint (--step; the last when unset); losses of the evaluations.
Unit and range
  Without unit: a feature that is represented has about length 1.
Value at a known point
  Dense features: the two most important ones, at a right angle, the others at the origin. Sparse ones: antipodal pairs,
  then five corners of a pentagon.
Source
  Elhage et al. 2022 (arXiv 2209.10652), introduction."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toys_of(setting)?.spec.d_hidden.0[0] {
            2 => Ok(()),
            m => Err(format!("the hidden space has {m} dimensions, not 2")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let points = chosen(toys.points(), MAX_PANELS);
        sink.table = Table::with_columns(&["point", "seed", "step", "feature", "importance", "x", "y"]);
        let shows = format!("Directions of {} features: {}", toys.setting.spec.n_features, toys.title());
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &[], 0.0);
        let importance = |r: usize, i: usize| toys.setting.replicas[r].importance.get(i).copied().unwrap_or(1.0);
        let all = points.iter().flat_map(|point| (0..toys.setting.spec.n_features).map(|i| importance(point.best, i)));
        let colors = Colors::of_importance(all.clone());
        let first = all.clone().next();
        let differ = all.clone().any(|x| Some(x) != first);
        (area.left, area.width) = (area.left - 30.0, area.width + 30.0);
        area.top -= 18.0;
        let columns = points.len().clamp(1, COLUMNS);
        let rows = points.len().div_ceil(columns).max(1);
        let bar = if differ { heat::bar_room(&colors, &area) } else { 12.0 };
        let side = (area.width - bar - GAP.0 * (columns as f64 - 1.0)) / columns as f64;
        let side = side.min(190.0);
        let length = |n: usize, gap: f64| side * n as f64 + gap * (n as f64 - 1.0);
        (area.width, area.height) = (length(columns, GAP.0), length(rows, GAP.1));
        sink.drawing.page.1 = (area.top + area.height + 40.0).ceil() as u32;
        let columns_of: Vec<_> = points.iter().map(|point| toys.directions(point.best)).collect::<Result<_>>()?;
        let reach = 1.15 * toys.reach(&points, |d| d.w_nm.iter().fold(0.0, |top, x| top.max(x.abs())))?;
        let scale = Scale::Linear { low: -reach, high: reach };
        for (k, ((point, directions), frame)) in
            points.iter().zip(&columns_of).zip(area.grid(rows, columns, GAP)).enumerate()
        {
            let panel = Panel { frame, x: scale, y: scale };
            let Frame { left, top, width, height } = frame;
            let middle = (left + width / 2.0, top + height / 2.0);
            sink.drawing.line(vec![(left, middle.1), (left + width, middle.1)], GRID, 0.8);
            sink.drawing.line(vec![(middle.0, top), (middle.0, top + height)], GRID, 0.8);
            // The most important ones on top.
            for i in (0..directions.n).rev() {
                let (x, y) = (directions.column(i)[0], directions.column(i)[1]);
                let ink = colors.of(importance(point.best, i));
                let seed = toys.seeds[point.best];
                let fields = [importance(point.best, i), x, y].map(Field);
                sink.table.record(&[&point.label, &seed, &toys.step, &i, &fields[0], &fields[1], &fields[2]]);
                if let Some(at) = panel.point(x, y) {
                    sink.drawing.line(vec![middle, at], ink, CURVE_WIDTH);
                    sink.drawing.dot(at, 3.0, ink);
                }
            }
            let first = k % columns == 0;
            let bottom = k + columns >= points.len();
            panel.axes(
                &mut sink.drawing,
                Names { x: bottom.then_some(""), y: first.then_some(""), panel: Some(&point.label) },
            );
        }
        let name = (area.left + area.width / 2.0, area.top + area.height + 32.0);
        sink.drawing.text(name, "hidden dimension 1 (no unit); upwards: 2", LABEL_SIZE, BLACK, Anchor::Middle);
        if differ {
            heat::color_bar(&mut sink.drawing, &area, &colors, "importance (no unit)");
        }
        Ok(())
    }
}
