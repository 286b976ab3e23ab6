//! A panel for each of several measured numbers, over an axis: replicas as dots, their medians as lines, a colour a curve.
//!
//! Reads [`MeasurePanels`]; fills a [`Sink`]. What a grid of toy models and the variants of an experiment have in common.

use std::path::{Path, PathBuf};

use super::csv::Table;
use super::drawing::Anchor;
use super::page::{self, Key};
use super::panel::{Names, Panel};
use super::scale::{Scale, with_log};
use super::style::{BLACK, CATEGORIES, CURVE_WIDTH, LABEL_SIZE};
use super::{Sink, save};
use crate::error::Result;
use crate::measure::Field;
use crate::transition::Spread;

/// A scalar column that says most of its measure.
#[derive(Debug, PartialEq, Eq)]
pub struct Number {
    /// Its measure.
    pub measure: &'static str,
    /// Its column.
    pub column: &'static str,
    /// In words.
    pub label: &'static str,
    /// Its unit as CSV files have it.
    pub unit: &'static str,
    /// Whether its axis is logarithmic.
    pub log: bool,
}

const fn number(measure: &'static str, column: &'static str, unit: &'static str, label: &'static str) -> Number {
    Number { measure, column, label, unit, log: false }
}

/// Those of toy models, in the order of panels.
pub const NUMBERS: [Number; 14] = [
    number("features", "n_represented", "features", "features represented"),
    number("features", "dims_per_feature", "dimensions", "dimensions per feature"),
    number("polysemanticity", "n_monosemantic", "neurons", "monosemantic neurons"),
    number("polysemanticity", "n_polysemantic", "neurons", "polysemantic neurons"),
    number("privileged_basis", "privileged_basis", "score", "privileged basis"),
    number("adversarial_vulnerability", "vulnerability", "ratio", "adversarial vulnerability"),
    number("data_dimensionality", "mean_dimensionality", "dimensions", "dimensionality of data points"),
    number("linear_probes", "mean_probe_r2", "fraction", "explained by linear probes"),
    number("linear_probes", "mean_limit_r2", "fraction", "limit of linear probes"),
    number("linear_probes", "mean_model_r2", "fraction", "explained by the model"),
    number("additivity", "hidden_additive_frac", "fraction", "additive share, last hidden layer"),
    number("learning_coefficient", "llc", "1", "local learning coefficient"),
    number("class_accuracy", "accuracy_frac", "fraction", "accuracy"),
    Number { log: true, ..number("metrics", "test_loss", "loss", "test loss") },
];

/// Curves that colours tell apart.
pub const MAX_CURVES: usize = CATEGORIES.len();

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (62.0, 42.0);
/// Height of a panel.
const HEIGHT: f64 = 150.0;
/// Panels a row.
const COLUMNS: usize = 3;

/// What is drawn.
pub struct MeasurePanels<'a> {
    /// Title of the page.
    pub title: &'a str,
    /// What is shown.
    pub shows: String,
    /// Name of the axis.
    pub x_label: String,
    /// Whether it is logarithmic.
    pub x_log: bool,
    /// A panel each.
    pub numbers: Vec<&'static Number>,
    /// A colour each.
    pub curves: Vec<Curve>,
}

/// Replicas at places of the axis.
pub struct Curve {
    /// In the legend; empty for the only one.
    pub label: String,
    /// `[R]`
    pub seeds: Vec<u64>,
    /// `[R]` places.
    pub x: Vec<f64>,
    /// `[panels][R]`
    pub values: Vec<Vec<f64>>,
}

impl MeasurePanels<'_> {
    /// Draws all panels into `NAME.svg`, `NAME.png` and `NAME.csv` in `folder`; gives their paths.
    ///
    /// # Errors
    /// [`Error::Draw`](crate::error::Error::Draw) and [`Error::Io`](crate::error::Error::Io) from writing.
    pub fn save(&self, name: &str, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut sink = Sink::default();
        self.draw(&mut sink);
        save::save(&sink, name, folder)
    }

    /// Draws all panels, and fills the table.
    pub(super) fn draw(&self, sink: &mut Sink) {
        let color = |c: usize| CATEGORIES[c % CATEGORIES.len()];
        let keys = self.curves.iter().enumerate().filter(|(_, curve)| !curve.label.is_empty());
        let keys: Vec<Key> = keys.map(|(c, curve)| Key::line(curve.label.clone(), color(c), CURVE_WIDTH)).collect();
        sink.table = Table::with_columns(&["curve", "measure", "column", "seed", "x", "value"]);
        let mut area = page::head(&mut sink.drawing, self.title, &self.shows, &keys, 14.0);
        // What has no value anywhere has no panel.
        let has_value = |k: &usize| self.curves.iter().any(|curve| curve.values[*k].iter().any(|x| x.is_finite()));
        let there: Vec<usize> = (0..self.numbers.len()).filter(has_value).collect();
        let panels = there.len();
        let columns = if panels == 4 { 2 } else { panels.clamp(1, COLUMNS) };
        let rows = panels.div_ceil(columns).max(1);
        area.height = HEIGHT * rows as f64 + GAP.1 * (rows as f64 - 1.0);
        sink.drawing.page.1 = (area.top + area.height + 48.0).ceil() as u32;
        let xs = || self.curves.iter().flat_map(|curve| curve.x.iter().copied());
        let x = if self.x_log { Scale::log(xs()) } else { Scale::linear(xs()) };
        let x_label = if self.x_log { with_log(&self.x_label) } else { self.x_label.clone() };
        for (&k, frame) in there.iter().zip(area.grid(rows, columns, GAP)) {
            let number = self.numbers[k];
            let values =
                || self.curves.iter().flat_map(|curve| curve.values[k].iter().copied()).filter(|x| x.is_finite());
            let y = if number.log { Scale::log(values()) } else { Scale::linear(values().chain([0.0])) };
            let panel = Panel { frame, x, y };
            let name = if number.log { with_log(number.label) } else { number.label.to_owned() };
            panel.grid(&mut sink.drawing);
            for (c, curve) in self.curves.iter().enumerate() {
                for ((&seed, &x), &value) in curve.seeds.iter().zip(&curve.x).zip(&curve.values[k]) {
                    sink.table.record(&[
                        &curve.label,
                        &number.measure,
                        &number.column,
                        &seed,
                        &Field(x),
                        &Field(value),
                    ]);
                    if let Some(at) = panel.point(x, value) {
                        sink.drawing.dot(at, 1.8, color(c).faded(0.45));
                    }
                }
            }
            for (c, curve) in self.curves.iter().enumerate() {
                let medians = curve.medians(k).into_iter().filter_map(|(x, y)| panel.point(x, y)).collect();
                sink.drawing.line(medians, color(c), CURVE_WIDTH);
            }
            panel.axes(&mut sink.drawing, Names { x: Some(""), y: Some(""), panel: Some(&name) });
        }
        // Once, below all: a long name has no room below each panel.
        let at = (area.left + area.width / 2.0, area.top + area.height + 34.0);
        sink.drawing.text(at, &x_label, LABEL_SIZE, BLACK, Anchor::Middle);
    }
}

impl Curve {
    /// The median at each place, in the order of places.
    fn medians(&self, panel: usize) -> Vec<(f64, f64)> {
        let mut places = self.x.clone();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let median = |x: f64| {
            let there = self.x.iter().zip(&self.values[panel]).filter(|(at, y)| **at == x && y.is_finite());
            Spread::of(there.map(|(_, y)| Some(*y))).quartiles.map(|[_, median, _]| (x, median))
        };
        places.into_iter().filter_map(median).collect()
    }
}
