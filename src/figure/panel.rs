//! One pair of axes: from values to points of the page.
//!
//! Reads steps and values of a curve; adds lines, bands and shades to a [`Drawing`]. What an axis cannot show (NaN,
//! infinities, zero on a logarithmic axis) leaves a gap; a point between two gaps is a dot.

use super::drawing::{Anchor, Drawing, Point};
use super::font;
use super::scale::{Label, Scale};
use super::style::{BLACK, CURVE_WIDTH, GREY, GRID, Ink, LABEL_SIZE, TICK_SIZE};

/// A rectangle of the page, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Distance from the left edge of the page.
    pub left: f64,
    /// Distance from its top.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A frame with its two axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Panel {
    /// Where it is.
    pub frame: Frame,
    /// Left to right.
    pub x: Scale,
    /// Bottom to top.
    pub y: Scale,
}

/// Names of the axes; an axis without a name has ticks without numbers, because a neighbour has them. An empty name has the
/// numbers alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// Below.
    pub x: Option<&'a str>,
    /// To the left.
    pub y: Option<&'a str>,
    /// What the panel shows, above its left corner.
    pub panel: Option<&'a str>,
}

/// Length of a numbered tick, points.
const TICK: f64 = 4.0;

/// Length of a stroke of a rug, points.
const RUG: f64 = 11.0;

impl Frame {
    /// `rows` times `columns` equal frames, row by row, with a gap to the right and below.
    pub fn grid(&self, rows: usize, columns: usize, gap: Point) -> Vec<Frame> {
        let width = (self.width - gap.0 * (columns as f64 - 1.0)) / columns as f64;
        let height = (self.height - gap.1 * (rows as f64 - 1.0)) / rows as f64;
        let at = |i: usize| ((i % columns) as f64 * (width + gap.0), (i / columns) as f64 * (height + gap.1));
        let frame = |(x, y): Point| Frame { left: self.left + x, top: self.top + y, width, height };
        (0..rows * columns).map(at).map(frame).collect()
    }
}

impl Panel {
    fn x_at(&self, place: f64) -> f64 {
        self.frame.left + place * self.frame.width
    }

    fn y_at(&self, place: f64) -> f64 {
        self.frame.top + (1.0 - place) * self.frame.height
    }

    /// The point of (`x`, `y`), where both axes can show it.
    pub fn point(&self, x: f64, y: f64) -> Option<Point> {
        Some((self.x_at(self.x.place(x)?), self.y_at(self.y.place(y)?)))
    }

    /// Shades the whole height from `from` to `to`, as far as the axis goes.
    pub fn shade(&self, drawing: &mut Drawing, from: f64, to: f64, ink: Ink) {
        let (left, right) = (self.x_at(self.x.clamp(from)), self.x_at(self.x.clamp(to)));
        if right > left {
            drawing.rect((left, self.frame.top), (right, self.frame.top + self.frame.height), ink);
        }
    }

    /// A curve through (`steps`, `values`).
    pub fn curve(&self, drawing: &mut Drawing, steps: &[u64], values: &[f64], (ink, width): (Ink, f64)) {
        let points: Vec<Option<Point>> = steps.iter().zip(values).map(|(&s, &v)| self.point(s as f64, v)).collect();
        for run in points.split(Option::is_none) {
            let run: Vec<Point> = run.iter().copied().flatten().collect();
            match run.as_slice() {
                [only] => drawing.dot(*only, width * 1.2, ink),
                _ => drawing.line(run, ink, width),
            }
        }
    }

    /// The area between two curves, where both can be shown.
    pub fn band(&self, drawing: &mut Drawing, steps: &[u64], low_high: [&[f64]; 2], ink: Ink) {
        let pair = |(s, &step): (usize, &u64)| {
            let step = step as f64;
            Some((self.point(step, low_high[0][s])?, self.point(step, low_high[1][s])?))
        };
        let points: Vec<Option<(Point, Point)>> = steps.iter().enumerate().map(pair).collect();
        for run in points.split(Option::is_none) {
            let lower = run.iter().flatten().map(|pair| pair.0);
            let upper = run.iter().flatten().rev().map(|pair| pair.1);
            if run.len() > 1 {
                drawing.fill(lower.chain(upper).collect(), ink);
            }
        }
    }

    /// Short upright strokes at the bottom: one an event.
    pub fn rug(&self, drawing: &mut Drawing, steps: impl IntoIterator<Item = u64>, ink: Ink) {
        let bottom = self.frame.top + self.frame.height;
        for place in steps.into_iter().filter_map(|step| self.x.place(step as f64)) {
            drawing.line(vec![(self.x_at(place), bottom), (self.x_at(place), bottom - RUG)], ink, CURVE_WIDTH);
        }
    }

    /// Grid lines at the numbered ticks; to be drawn before the curves.
    pub fn grid(&self, drawing: &mut Drawing) {
        self.grid_x(drawing);
        self.grid_y(drawing);
    }

    /// Upright grid lines.
    pub fn grid_x(&self, drawing: &mut Drawing) {
        let Frame { top, height, .. } = self.frame;
        for tick in self.x.ticks(self.room_x()).iter().filter(|tick| tick.label.is_some()) {
            let x = self.x_at(tick.place);
            drawing.line(vec![(x, top), (x, top + height)], GRID, 0.6);
        }
    }

    /// Level grid lines.
    pub fn grid_y(&self, drawing: &mut Drawing) {
        let Frame { left, width, .. } = self.frame;
        for tick in self.y.ticks(self.room_y()).iter().filter(|tick| tick.label.is_some()) {
            let y = self.y_at(tick.place);
            drawing.line(vec![(left, y), (left + width, y)], GRID, 0.6);
        }
    }

    /// Frame, ticks, numbers and names; to be drawn after the curves.
    pub fn axes(&self, drawing: &mut Drawing, names: Names<'_>) {
        self.outline(drawing);
        self.x_axis(drawing, names.x);
        self.y_axis(drawing, names.y);
        if let Some(name) = names.panel {
            self.name(drawing, name);
        }
    }

    /// What the panel shows, above its left corner.
    pub fn name(&self, drawing: &mut Drawing, name: &str) {
        drawing.text((self.frame.left, self.frame.top - 5.0), name, TICK_SIZE, GREY, Anchor::Start);
    }

    /// The frame.
    pub fn outline(&self, drawing: &mut Drawing) {
        let Frame { left, top, width, height } = self.frame;
        let bottom = top + height;
        let corners = vec![(left, top), (left + width, top), (left + width, bottom), (left, bottom), (left, top)];
        drawing.line(corners, BLACK, 0.8);
    }

    /// Ticks below the frame; numbers and the name where there is a name.
    pub fn x_axis(&self, drawing: &mut Drawing, name: Option<&str>) {
        let Frame { left, top, width, height } = self.frame;
        let bottom = top + height;
        for tick in self.x.ticks(self.room_x()) {
            let (x, length) = (self.x_at(tick.place), if tick.label.is_some() { TICK } else { TICK / 2.0 });
            drawing.line(vec![(x, bottom), (x, bottom + length)], BLACK, 0.8);
            if let (Some(label), Some(_)) = (tick.label, name) {
                write_label(drawing, (x, bottom + TICK + 11.0), &label, Anchor::Middle);
            }
        }
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let name = font::fitted(name, LABEL_SIZE, f64::from(drawing.page.0) - 32.0);
            drawing.text((left + width / 2.0, bottom + TICK + 28.0), &name, LABEL_SIZE, BLACK, Anchor::Middle);
        }
    }

    /// Ticks left of the frame; numbers and the name where there is a name.
    pub fn y_axis(&self, drawing: &mut Drawing, name: Option<&str>) {
        let Frame { left, top, height, .. } = self.frame;
        let mut widest: f64 = 0.0;
        for tick in self.y.ticks(self.room_y()) {
            let (y, length) = (self.y_at(tick.place), if tick.label.is_some() { TICK } else { TICK / 2.0 });
            drawing.line(vec![(left - length, y), (left, y)], BLACK, 0.8);
            if let (Some(label), Some(_)) = (tick.label, name) {
                let middle = y + TICK_SIZE * font::CAP_HEIGHT_EM / 2.0;
                write_label(drawing, (left - TICK - 3.0, middle), &label, Anchor::End);
                widest = widest.max(label_width(&label));
            }
        }
        // A name that is longer than the panel has its unit on a line of its own.
        let lines = match name.and_then(|name| Some((name, name.find(" (")?))) {
            Some((name, at)) if font::width(name, LABEL_SIZE) > height + 24.0 => vec![&name[at + 1..], &name[..at]],
            _ => name.into_iter().filter(|name| !name.is_empty()).collect(),
        };
        for (i, line) in lines.into_iter().enumerate() {
            let x = left - TICK - widest - 10.0 - i as f64 * LABEL_SIZE * 1.2;
            drawing.text_upwards((x, top + height / 2.0), line, LABEL_SIZE, BLACK);
        }
    }

    fn room_x(&self) -> f64 {
        self.frame.width / 44.0
    }

    fn room_y(&self) -> f64 {
        self.frame.height / 28.0
    }
}

/// Size of an exponent beside its base.
const EXPONENT: f64 = 0.72;

/// Width of a tick's number.
pub fn label_width(label: &Label) -> f64 {
    font::width(&label.base, TICK_SIZE) + font::width(&label.exponent, TICK_SIZE * EXPONENT)
}

/// A tick's number; `at` is on its baseline.
pub fn write_label(drawing: &mut Drawing, at: Point, label: &Label, anchor: Anchor) {
    let start = match anchor {
        Anchor::Start => at.0,
        Anchor::Middle => at.0 - label_width(label) / 2.0,
        Anchor::End => at.0 - label_width(label),
    };
    drawing.text((start, at.1), &label.base, TICK_SIZE, BLACK, Anchor::Start);
    if !label.exponent.is_empty() {
        let after = start + font::width(&label.base, TICK_SIZE);
        drawing.text((after, at.1 - 4.5), &label.exponent, TICK_SIZE * EXPONENT, BLACK, Anchor::Start);
    }
}
