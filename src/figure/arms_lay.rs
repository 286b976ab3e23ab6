//! Where arms are on the page: over an axis of numbers, or one row each.
//!
//! Reads [`ArmsInput`] and the rest of the page; gives panels and the place of each arm. "Along" is the direction of the
//! values (up over an axis, to the right in rows), "across" that of the arms.

use super::arms::ArmsInput;
use super::drawing::{Anchor, Drawing, Point};
use super::font;
use super::panel::{Frame, Panel};
use super::scale::Scale;
use super::style::{BLACK, TICK_SIZE};

/// What stands beside the values.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Whether rates have a panel.
    pub rates: bool,
    /// Whether there is a strip for what has no value.
    pub strip: bool,
}

/// Panels and places.
#[derive(Debug, Clone)]
pub struct Lay {
    /// Whether each arm is a row.
    pub rows: bool,
    /// Where values are; of its axes the one along them counts.
    pub main: Panel,
    /// Beyond the end of the values.
    pub strip: Option<Frame>,
    /// Rates, 0 to 1 along.
    pub rate: Option<Panel>,
    /// Across, on the page: one an arm.
    pub places: Vec<f64>,
    /// Room of each arm across.
    pub slot: f64,
}

/// The widest slot that still looks like one column of dots.
const MAX_SLOT: f64 = 64.0;

/// Room for labels of rows.
const MAX_LABEL: f64 = 210.0;

/// Thickness of the strip and its distance from the values.
const STRIP: (f64, f64) = (20.0, 5.0);

/// Room for the second line of the name of the values.
const SECOND_LINE: f64 = 16.0;

impl Lay {
    /// Divides `area`; a page of rows becomes as high as they need.
    pub fn new(drawing: &mut Drawing, area: Frame, input: &ArmsInput, (value, shape): (Scale, Shape)) -> Lay {
        match input.xs() {
            Some(xs) => Lay::over_axis(area, &xs, input.x_log, (value, shape)),
            None => Lay::in_rows(drawing, area, input, (value, shape)),
        }
    }

    fn over_axis(area: Frame, xs: &[f64], log: bool, (value, shape): (Scale, Shape)) -> Lay {
        let (mut top, bottom) = (area.top, area.top + area.height);
        let (left, width) = (area.left + SECOND_LINE, area.width - SECOND_LINE);
        let x = if log { Scale::log(xs.iter().copied()) } else { roomy(xs) };
        let rate = shape.rates.then(|| {
            let frame = Frame { left, top: top + 12.0, width, height: 84.0 };
            top = frame.top + frame.height + 12.0;
            Panel { frame, x, y: Scale::fraction() }
        });
        let strip = shape.strip.then(|| {
            let frame = Frame { left, top, width, height: STRIP.0 };
            top += STRIP.0 + STRIP.1;
            frame
        });
        let main = Panel { frame: Frame { left, top, width, height: bottom - top }, x, y: value };
        let places: Vec<f64> = xs.iter().map(|&at| left + x.place(at).unwrap_or(0.5) * width).collect();
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        let slot = sorted.windows(2).map(|pair| pair[1] - pair[0]).fold(MAX_SLOT, f64::min);
        Lay { rows: false, main, strip, rate, places, slot }
    }

    fn in_rows(drawing: &mut Drawing, area: Frame, input: &ArmsInput, (value, shape): (Scale, Shape)) -> Lay {
        let n = input.arms.len();
        let row = (280.0 / n as f64).clamp(24.0, 44.0);
        let (top, height) = (area.top, row * n as f64);
        drawing.page.1 = (top + height + 44.0).ceil() as u32;
        let widest = input.arms.iter().map(|arm| font::width(&arm.label, TICK_SIZE)).fold(0.0, f64::max);
        let left = 28.0 + widest.min(MAX_LABEL);
        let mut right = area.left + area.width;
        let rate = shape.rates.then(|| {
            let frame = Frame { left: right - 44.0 - 110.0, top, width: 110.0, height };
            right = frame.left - 24.0;
            Panel { frame, x: Scale::fraction(), y: Scale::fraction() }
        });
        let strip = shape.strip.then(|| {
            let frame = Frame { left: right - 1.6 * STRIP.0, top, width: 1.6 * STRIP.0, height };
            right = frame.left - STRIP.1;
            frame
        });
        let main = Panel { frame: Frame { left, top, width: right - left, height }, x: value, y: Scale::fraction() };
        let places = (0..n).map(|i| top + row * (i as f64 + 0.5)).collect();
        Lay { rows: true, main, strip, rate, places, slot: row * 0.9 }
    }

    /// Where `value` is along the axis of values, points of the page; `None` where the axis cannot show it.
    pub fn along(&self, value: f64) -> Option<f64> {
        let Frame { left, top, width, height } = self.main.frame;
        if self.rows {
            self.main.x.place(value).map(|x| left + x * width)
        } else {
            self.main.y.place(value).map(|y| top + (1.0 - y) * height)
        }
    }

    /// The middle of the strip, along.
    pub fn beyond(&self) -> Option<f64> {
        let middle =
            |strip: Frame| if self.rows { strip.left + strip.width / 2.0 } else { strip.top + strip.height / 2.0 };
        self.strip.map(middle)
    }

    /// The point of the page at `across` and `along`.
    pub fn point(&self, across: f64, along: f64) -> Point {
        if self.rows { (along, across) } else { (across, along) }
    }

    /// The point of a rate.
    pub fn rate_point(&self, panel: &Panel, across: f64, frac: f64) -> Point {
        let place = Scale::fraction().place(frac).unwrap_or(0.0);
        let Frame { left, top, width, height } = panel.frame;
        self.point(across, if self.rows { left + place * width } else { top + (1.0 - place) * height })
    }

    /// The labels of rows, left of the values.
    pub fn labels(&self, drawing: &mut Drawing, input: &ArmsInput) {
        for (arm, place) in input.arms.iter().zip(&self.places) {
            let label = font::fitted(&arm.label, TICK_SIZE, MAX_LABEL);
            let left = self.main.frame.left - 8.0;
            drawing.text((left, place + TICK_SIZE * font::CAP_HEIGHT_EM / 2.0), &label, TICK_SIZE, BLACK, Anchor::End);
        }
    }

    /// What the strip is for, where its axis has numbers.
    pub fn name_strip(&self, drawing: &mut Drawing, strip: &Frame, name: &str) {
        let middle = (strip.left + strip.width / 2.0, strip.top + strip.height / 2.0);
        if self.rows {
            drawing.text((middle.0, strip.top + strip.height + 15.0), name, TICK_SIZE, BLACK, Anchor::Middle);
        } else {
            let baseline = middle.1 + TICK_SIZE * font::CAP_HEIGHT_EM / 2.0;
            drawing.text((strip.left - 7.0, baseline), name, TICK_SIZE, BLACK, Anchor::End);
        }
    }
}

/// A linear axis with room for a column of dots at both ends.
fn roomy(xs: &[f64]) -> Scale {
    match Scale::linear(xs.iter().copied()) {
        Scale::Linear { low, high } => {
            let room = (high - low) * 0.03;
            Scale::Linear { low: low - room, high: high + room }
        }
        log => log,
    }
}
