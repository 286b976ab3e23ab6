//! `feature_dimensionality`: how many dimensions each feature of toy models has, over sparsity.
//!
//! Reads the encoders of a grid; draws m/‖W‖² above, the dimensionality of every feature below with the values of known shapes, and how
//! often each occurs beside it. Source: arXiv 2209.10652, "the geometry of superposition".

use std::collections::BTreeMap;

use super::csv::Table;
use super::drawing::Anchor;
use super::page;
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{BLUE, CURVE_WIDTH, GREY, GRID, TICK_SIZE, VERMILLION};
use super::toys::Toys;
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Directions, Field, LEARNED, Setting, toys_of};

/// See the file's first lines.
pub struct FeatureDimensionality;

/// Dimensionality of a feature in each shape.
const PLATEAUS: [(f64, &str); 6] =
    [(1.0, "1"), (0.75, "3/4"), (2.0 / 3.0, "2/3"), (0.5, "1/2"), (0.4, "2/5"), (0.375, "3/8")];
/// Bars of the histogram.
const BARS: usize = 55;
/// What the axis of dimensionality goes to.
const HIGHEST: f64 = 1.1;
/// Dots closer than this are one, darker dot, points.
const GRAIN: f64 = 0.5;

impl Figure for FeatureDimensionality {
    fn name(&self) -> &'static str {
        "feature_dimensionality"
    }

    fn summary(&self) -> &'static str {
        "toy models over sparsity: dimensions for each feature, with the values of known shapes"
    }

    fn explain(&self) -> String {
        "\
What it is
  Top: m / |W|_F^2, hidden dimensions for each represented feature, over 1/density, density being the chance of the
  first feature; all replicas, joined in order. Bottom: the dimensionality |W_i|^2 / sum_j (W_i/|W_i| . W_j)^2 of every
  feature of every replica, with lines at those of known shapes: a dimension of its own 1, tetrahedron 3/4,
  triangle 2/3, antipodal pair 1/2, pentagon 2/5, square antiprism 3/8. Right: how many features have it, those with
  a norm of at least 0.5.
Reads
  W, or W_0, of every replica at one checkpoint (--step; the last when unset).
Unit and range
  Dimensions for each feature: 0 to 1 below.
Value at a known point
  Dense features of equal importance: m of n have 1. Sparser: nearly all have 1/2.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"the geometry of superposition\"."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        let toy = toys_of(setting)?;
        let first = |r: usize| toy.replicas[r].feature_prob[0];
        match (1..toy.replicas.len()).any(|r| first(r) != first(0)) {
            true => Ok(()),
            false => Err("all replicas have the same density".into()),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let columns = ["seed", "step", "inverse_density", "feature", "norm", "dimensionality", "dims_per_feature"];
        sink.table = Table::with_columns(&columns);
        let shows = format!(
            "Dimensions for each of {} features in {} dimensions, step {}",
            toys.setting.spec.n_features, toys.setting.spec.d_hidden.0[0], toys.step
        );
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &[], 100.0);
        (area.top, area.height) = (area.top - 14.0, area.height + 14.0);
        let top = Frame { height: (area.height - 18.0) * 0.3, ..area };
        let bottom = Frame { top: area.top + top.height + 18.0, height: area.height - top.height - 18.0, ..area };
        let inverse = |r: usize| 1.0 / toys.setting.replicas[r].feature_prob[0];
        let mut order: Vec<usize> = (0..toys.seeds.len()).collect();
        order.sort_by(|x, y| inverse(*x).total_cmp(&inverse(*y)));
        let all: Vec<(usize, Directions)> =
            order.iter().map(|&r| Ok((r, toys.directions(r)?))).collect::<Result<_>>()?;
        let x = match Scale::log_tight(order.iter().map(|&r| inverse(r))) {
            Scale::Log { low, high } => Scale::Log { low: low / 1.15, high: high * 1.15 },
            other => other,
        };
        // Above.
        let dims: Vec<(f64, f64)> = all.iter().map(|(r, d)| (inverse(*r), d.dims_per_feature())).collect();
        let panel = Panel { frame: top, x, y: Scale::Linear { low: 0.0, high: HIGHEST } };
        panel.grid(&mut sink.drawing);
        let line: Vec<_> = dims.iter().filter_map(|&(x, y)| panel.point(x, y)).collect();
        line.iter().for_each(|&at| sink.drawing.dot(at, 2.2, BLUE));
        if toys.points().iter().all(|point| point.replicas.len() == 1) {
            sink.drawing.line(line, BLUE, CURVE_WIDTH);
        }
        panel.axes(&mut sink.drawing, Names { x: None, y: Some("m / ‖W‖² (no unit)"), panel: None });
        // Below.
        let panel = Panel { frame: bottom, x, y: Scale::Linear { low: 0.0, high: HIGHEST } };
        panel.grid_x(&mut sink.drawing);
        let right = bottom.left + bottom.width;
        let mut labelled = f64::INFINITY;
        for (value, name) in PLATEAUS {
            let y = bottom.top + bottom.height * (1.0 - value / HIGHEST);
            sink.drawing.dashed((bottom.left, y), (right, y), GREY.faded(0.8), 0.7);
            sink.drawing.line(vec![(right + 6.0, y), (right + 74.0, y)], GRID, 0.6);
            if (labelled - value) * bottom.height / HIGHEST > TICK_SIZE || labelled.is_infinite() {
                sink.drawing.text((right + 78.0, y + TICK_SIZE * 0.36), name, TICK_SIZE, GREY, Anchor::Start);
                labelled = value;
            }
        }
        let mut bars = [0usize; BARS];
        let mut dots: BTreeMap<[i64; 2], i32> = BTreeMap::new();
        for (r, directions) in &all {
            for i in 0..directions.n {
                let (norm, value) = (directions.norm(i), directions.dimensionality(i));
                let fields = [inverse(*r), norm, value, directions.dims_per_feature()].map(Field);
                sink.table.record(&[&toys.seeds[*r], &toys.step, &fields[0], &i, &fields[1], &fields[2], &fields[3]]);
                // A feature without a direction has nothing of a dimension.
                let shown = if norm < 1e-3 { 0.0 } else { value };
                if let Some((x, y)) = panel.point(inverse(*r), shown) {
                    *dots.entry([x, y].map(|at| (at / GRAIN).round() as i64)).or_insert(0) += 1;
                }
                if norm >= LEARNED && value.is_finite() {
                    bars[((value / HIGHEST * BARS as f64) as usize).min(BARS - 1)] += 1;
                }
            }
        }
        for ([x, y], count) in dots {
            let (x, y) = (x as f64 * GRAIN, y as f64 * GRAIN);
            let alpha = 1.0 - libm::pow(0.65, f64::from(count));
            sink.drawing.rect((x - 1.1, y - 0.9), (x + 1.1, y + 0.9), BLUE.faded(alpha));
        }
        let most = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
        let height = bottom.height / BARS as f64;
        for (k, &count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
            let y = bottom.top + bottom.height - (k + 1) as f64 * height;
            let length = 68.0 * count as f64 / most;
            sink.drawing.rect((right + 6.0, y), (right + 6.0 + length, y + height * 0.85), VERMILLION.faded(0.8));
        }
        let names = Names { x: Some("1 / density (log scale)"), y: Some("dimensionality (no unit)"), panel: None };
        panel.axes(&mut sink.drawing, names);
        sink.drawing.text((right + 6.0, bottom.top + bottom.height + 15.0), "count", TICK_SIZE, GREY, Anchor::Start);
        Ok(())
    }
}
