//! Heat maps: a column with an axis over steps, as coloured cells, and their colour bar.
//!
//! Reads one replica of a [`Series`]; adds one rectangle a run of equal colours to a [`Drawing`]. A cell reaches half
//! way to its neighbours on the axis of steps; a missing value is grey. [`Colors`] are those of other maps, too.

use super::drawing::{Anchor, Drawing};
use super::panel::{Frame, Panel, label_width, write_label};
use super::scale::{Scale, Tick};
use super::style::{BLACK, GRID, Ink, LABEL_SIZE, TICK_SIZE, blue_white_red, phase, viridis};
use crate::measure::Series;

/// Colours told apart: 64 steps are finer than the eye, and equal neighbours become one rectangle.
const LEVELS: f64 = 63.0;

/// Checkpoints closer than this are not drawn, points.
const MIN_CELL: f64 = 1.0;

/// How far a cell reaches under the next one, so that no gap shows, points.
const OVERLAP: f64 = 0.4;

/// Distance of a colour bar from its panels, and its width, points.
const BAR_GAP: f64 = 22.0;
/// See [`BAR_GAP`].
const BAR_WIDTH: f64 = 12.0;

/// One replica of a column with an axis.
pub struct Heat<'a> {
    /// The column.
    pub series: &'a Series,
    /// The replica.
    pub r: usize,
    /// The colours of the values.
    pub colors: Colors,
}

impl Heat<'_> {
    /// Draws the map into `panel`, whose y axis counts as the series' axis; gives the checkpoints that were drawn.
    pub fn draw(&self, drawing: &mut Drawing, panel: &Panel) -> Vec<usize> {
        let Frame { left, top, width, height } = panel.frame;
        let shown = self.checkpoints(panel);
        let places: Vec<f64> = shown.iter().map(|&(_, place)| place).collect();
        let edges = edges(&places);
        let rows = self.series.axis.as_ref().map_or(0, |axis| axis.ticks.len());
        let row_height = height / rows.max(1) as f64;
        for row in (0..rows).rev() {
            let y = top + (rows - 1 - row) as f64 * row_height;
            let below = (y + row_height + OVERLAP).min(top + height);
            let colors: Vec<Ink> = shown.iter().map(|&(s, _)| self.colors.of(self.series.at(s, self.r)[row])).collect();
            let mut from = 0;
            for run in colors.chunk_by(|a, b| a == b) {
                let to = from + run.len();
                let right = (left + edges[to] * width + OVERLAP).min(left + width);
                drawing.rect((left + edges[from] * width, y), (right, below), run[0]);
                from = to;
            }
        }
        shown.into_iter().map(|(s, _)| s).collect()
    }

    /// Checkpoints that the axis of steps can show and that are far enough apart, with their places.
    fn checkpoints(&self, panel: &Panel) -> Vec<(usize, f64)> {
        let mut shown: Vec<(usize, f64)> = vec![];
        for (s, &step) in self.series.steps.iter().enumerate() {
            let Some(place) = panel.x.place(step as f64) else { continue };
            if shown.last().is_none_or(|&(_, last)| (place - last) * panel.frame.width >= MIN_CELL) {
                shown.push((s, place));
            }
        }
        shown
    }
}

/// Borders of cells around `places`: half way between neighbours, and both ends of the axis.
fn edges(places: &[f64]) -> Vec<f64> {
    let between = places.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    std::iter::once(0.0).chain(between).chain([1.0]).collect()
}

/// A bar with all colours of `colors`, right of `area`; needs [`bar_room`] there.
pub fn color_bar(drawing: &mut Drawing, area: &Frame, colors: &Colors, name: &str) {
    let (left, right) = (area.left + area.width + BAR_GAP, area.left + area.width + BAR_GAP + BAR_WIDTH);
    let (bottom, step) = (area.top + area.height, area.height / (LEVELS + 1.0));
    for level in (0..=LEVELS as u32).rev() {
        let top = bottom - f64::from(level + 1) * step;
        let ink = (colors.map)(f64::from(level) / LEVELS);
        drawing.rect((left, top), (right, (top + step + OVERLAP).min(bottom)), ink);
    }
    let corners = vec![(left, area.top), (right, area.top), (right, bottom), (left, bottom), (left, area.top)];
    drawing.line(corners, BLACK, 0.8);
    for tick in colors.ticks(area) {
        let y = bottom - tick.place * area.height;
        drawing.line(vec![(right, y), (right + 4.0, y)], BLACK, 0.8);
        if let Some(label) = tick.label {
            write_label(drawing, (right + 7.0, y + TICK_SIZE * 0.36), &label, Anchor::Start);
        }
    }
    let at = (right + 7.0 + colors.label_width(area) + 14.0, area.top + area.height / 2.0);
    drawing.text_upwards(at, name, LABEL_SIZE, BLACK);
}

/// Width that a colour bar beside `area` needs, with its numbers and its name.
pub fn bar_room(colors: &Colors, area: &Frame) -> f64 {
    BAR_GAP + BAR_WIDTH + 7.0 + colors.label_width(area) + 14.0 + 6.0
}

/// Which value has which colour.
#[derive(Debug, Clone, Copy)]
pub struct Colors {
    low: f64,
    high: f64,
    map: fn(f64) -> Ink,
}

impl Colors {
    /// From 0 to `highest`.
    pub fn from_zero(highest: f64) -> Colors {
        Colors { low: 0.0, high: if highest > 0.0 { highest } else { 1.0 }, map: viridis }
    }

    /// From the smallest to the largest of `values`, and 0.
    pub fn between(values: impl IntoIterator<Item = f64>) -> Colors {
        let (low, high) = values.into_iter().fold((0.0, 0.0), |(low, high), x| (f64::min(low, x), f64::max(high, x)));
        Colors { low, high: if high > low { high } else { low + 1.0 }, map: viridis }
    }

    /// From the smallest to the largest of `values`, the largest the darkest; the smallest is still seen on white.
    pub fn of_importance(values: impl IntoIterator<Item = f64>) -> Colors {
        let reach =
            values.into_iter().fold((f64::INFINITY, 0.0), |(low, high), x| (f64::min(low, x), f64::max(high, x)));
        let (low, high) = if reach.0 < reach.1 { reach } else { (0.0, 1.0) };
        Colors { low, high, map: |level| viridis(0.88 * (1.0 - level)) }
    }

    /// Phases, in turns.
    pub fn of_phase() -> Colors {
        Colors { low: 0.0, high: 1.0, map: phase }
    }

    /// As far below 0 as above it, as far as `values` go, with white at 0.
    pub fn around_zero(values: impl IntoIterator<Item = f64>) -> Colors {
        let largest = values.into_iter().map(f64::abs).fold(0.0, f64::max);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        Colors { low: -largest, high: largest, map: blue_white_red }
    }

    /// The colour of `value`; grey where it is no number.
    pub fn of(&self, value: f64) -> Ink {
        if !value.is_finite() {
            return GRID;
        }
        // Halves, so that the ends may be as far apart as numbers go.
        let level = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        (self.map)((level * LEVELS).round() / LEVELS)
    }

    fn ticks(&self, area: &Frame) -> Vec<Tick> {
        Scale::Linear { low: self.low, high: self.high }.ticks((area.height / 36.0).clamp(2.0, 6.0))
    }

    fn label_width(&self, area: &Frame) -> f64 {
        self.ticks(area).into_iter().filter_map(|tick| tick.label).map(|label| label_width(&label)).fold(0.0, f64::max)
    }
}
