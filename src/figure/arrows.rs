//! Panels of lines from the origin: vectors of a plane, one panel a model.
//!
//! Reads [`ArrowPage`]; fills a [`Sink`]. The directions of features and the hidden vectors of data points are drawn so.

use std::fmt::Display;

use super::Sink;
use super::csv::Table;
use super::drawing::Anchor;
use super::font;
use super::heat::{self, Colors};
use super::page;
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::style::{BLACK, CURVE_WIDTH, GREY, GRID, LABEL_SIZE, TICK_SIZE};
use crate::measure::{Directions, Field};

/// Panels on a page.
pub const MAX_PANELS: usize = 10;
/// Panels a row.
const COLUMNS: usize = 5;
/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (10.0, 26.0);

/// Vectors of one panel beyond which they are drawn finer.
const MANY: usize = 40;

/// What is drawn.
pub struct ArrowPage<'a> {
    /// Title of the page.
    pub title: &'a str,
    /// What is shown.
    pub shows: String,
    /// Count of updates.
    pub step: u64,
    /// The panels.
    pub panels: Vec<Arrows<'a>>,
    /// The largest coordinate that axes show.
    pub reach: f64,
    /// What a vector is of, in the table.
    pub what: &'static str,
    /// What the colours mean; nothing for vectors that are all alike.
    pub weight: Option<&'static str>,
}

/// The vectors of one model.
pub struct Arrows<'a> {
    /// Above the panel.
    pub label: &'a str,
    /// The model's seed.
    pub seed: u64,
    /// The vectors, in two dimensions.
    pub directions: Directions,
    /// `[n]` what their colours are taken from.
    pub weights: Vec<f64>,
    /// What they form, in words.
    pub shape: Option<String>,
}

impl ArrowPage<'_> {
    /// Draws all panels, and fills the table.
    pub fn draw(&self, sink: &mut Sink) {
        let weight = self.weight.unwrap_or("weight");
        let columns = ["point", "seed", "step", self.what, weight, "x", "y", "shape"];
        let has_shapes = self.panels.iter().any(|panel| panel.shape.is_some());
        sink.table = Table::with_columns(&columns[..if has_shapes { 8 } else { 7 }]);
        let mut area = page::head(&mut sink.drawing, self.title, &self.shows, &[], 0.0);
        let all = || self.panels.iter().flat_map(|panel| panel.weights.iter().copied());
        let colors = Colors::of_importance(all());
        let differ = self.weight.is_some() && all().any(|x| Some(x) != all().next());
        (area.left, area.width) = (area.left - 30.0, area.width + 30.0);
        area.top -= 18.0;
        let columns = self.panels.len().clamp(1, COLUMNS);
        let rows = self.panels.len().div_ceil(columns).max(1);
        let bar = if differ { heat::bar_room(&colors, &area) } else { 12.0 };
        let side = (area.width - bar - GAP.0 * (columns as f64 - 1.0)) / columns as f64;
        let side = side.min(190.0);
        let length = |n: usize, gap: f64| side * n as f64 + gap * (n as f64 - 1.0);
        (area.width, area.height) = (length(columns, GAP.0), length(rows, GAP.1));
        sink.drawing.page.1 = (area.top + area.height + 40.0).ceil() as u32;
        let scale = Scale::Linear { low: -1.15 * self.reach, high: 1.15 * self.reach };
        for (k, (arrows, frame)) in self.panels.iter().zip(area.grid(rows, columns, GAP)).enumerate() {
            let panel = Panel { frame, x: scale, y: scale };
            let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
            let middle = (frame.left + frame.width / 2.0, frame.top + frame.height / 2.0);
            sink.drawing.line(vec![(frame.left, middle.1), (right, middle.1)], GRID, 0.8);
            sink.drawing.line(vec![(middle.0, frame.top), (middle.0, bottom)], GRID, 0.8);
            let (width, dot) = if arrows.directions.n > MANY { (0.5, 1.3) } else { (CURVE_WIDTH, 3.0) };
            // The most important ones on top.
            for i in (0..arrows.directions.n).rev() {
                let (x, y) = (arrows.directions.column(i)[0], arrows.directions.column(i)[1]);
                let ink = colors.of(arrows.weights[i]);
                let fields = [arrows.weights[i], x, y].map(Field);
                let mut record: Vec<&dyn Display> =
                    vec![&arrows.label, &arrows.seed, &self.step, &i, &fields[0], &fields[1], &fields[2]];
                record.extend(arrows.shape.as_ref().map(|shape| shape as &dyn Display));
                sink.table.record(&record);
                if let Some(at) = panel.point(x, y) {
                    sink.drawing.line(vec![middle, at], ink, width);
                    sink.drawing.dot(at, dot, ink);
                }
            }
            // Where it has room beside the panel's name; the table has it in any case.
            let width = |text: &str| font::width(text, TICK_SIZE);
            let has_room = |shape: &&String| width(arrows.label) + width(shape) + 8.0 <= frame.width;
            if let Some(shape) = arrows.shape.as_ref().filter(has_room) {
                sink.drawing.text((right, frame.top - 5.0), shape, TICK_SIZE, GREY, Anchor::End);
            }
            let (is_first, is_last) = (k % columns == 0, k + columns >= self.panels.len());
            panel.axes(
                &mut sink.drawing,
                Names { x: is_last.then_some(""), y: is_first.then_some(""), panel: Some(arrows.label) },
            );
        }
        let name = (area.left + area.width / 2.0, area.top + area.height + 32.0);
        sink.drawing.text(name, "hidden dimension 1 (no unit); upwards: 2", LABEL_SIZE, BLACK, Anchor::Middle);
        if differ {
            heat::color_bar(&mut sink.drawing, &area, &colors, &format!("{weight} (no unit)"));
        }
    }
}
