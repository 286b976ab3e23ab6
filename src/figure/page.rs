//! What stands around the panels of a figure: title, legend, shades of the phases.
//!
//! Reads titles and keys; adds them to a [`Drawing`] above the panels, so that they cannot cover a curve.

use super::drawing::{Anchor, Drawing, Point};
use super::font;
use super::panel::{Frame, Panel};
use super::scale::Scale;
use super::style::{BLACK, GREY, Ink, LABEL_SIZE, PHASES, TICK_SIZE, TITLE_SIZE};
use crate::measure::Series;
use crate::transition::ReplicaPhases;

/// Label of a logarithmic axis of training steps.
pub const STEP_LOG: &str = "step (updates, log scale)";

/// Radius of the dots of single replicas, points.
pub const DOT: f64 = 3.2;

/// Distance of title and legend from the left edge, points.
const MARGIN: f64 = 16.0;

/// How an entry of the legend is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// A piece of a curve of that width.
    Line(f64),
    /// A piece of a dashed line of that width.
    Dashed(f64),
    /// A filled rectangle.
    Area,
    /// An upright stroke of that width.
    Upright(f64),
    /// A triangle that points to the left.
    Triangle,
    /// A filled circle.
    Dot,
    /// A circle.
    Ring,
}

/// One entry of the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// What it says.
    pub text: String,
    /// Its colour.
    pub ink: Ink,
    /// Its sign.
    pub mark: Mark,
}

impl Key {
    /// A curve.
    pub fn line(text: impl Into<String>, ink: Ink, width: f64) -> Key {
        Key { text: text.into(), ink, mark: Mark::Line(width) }
    }

    /// A band or a shade.
    pub fn area(text: impl Into<String>, ink: Ink) -> Key {
        Key { text: text.into(), ink, mark: Mark::Area }
    }

    /// A triangle beside a panel.
    pub fn marker(text: impl Into<String>) -> Key {
        Key { text: text.into(), ink: BLACK, mark: Mark::Triangle }
    }
}

/// Title, what is shown, and the legend, wrapped; the rest of the page is left for panels, with `right` kept free.
pub fn head(drawing: &mut Drawing, title: &str, shows: &str, keys: &[Key], right: f64) -> Frame {
    let (page_width, page_height) = (f64::from(drawing.page.0), f64::from(drawing.page.1));
    let room = page_width - MARGIN;
    let title = font::fitted(title, TITLE_SIZE, room - MARGIN);
    drawing.text((MARGIN, 22.0), &title, TITLE_SIZE, BLACK, Anchor::Start);
    drawing.text((MARGIN, 38.0), &font::fitted(shows, TICK_SIZE, room - MARGIN), TICK_SIZE, GREY, Anchor::Start);
    let width = |key: &Key| 28.0 + font::width(&key.text, LABEL_SIZE) + 16.0;
    let two_rows = keys.iter().map(width).sum::<f64>() - 16.0 > room - MARGIN;
    let (mut x, mut y) = (MARGIN, 57.0);
    for (i, key) in keys.iter().enumerate() {
        // Shades go together on a row of their own where one row is too short.
        let first_shade = i > 0 && key.mark == Mark::Area && keys[i - 1].mark != Mark::Area;
        if x > MARGIN && (x + width(key) - 16.0 > room || two_rows && first_shade) {
            (x, y) = (MARGIN, y + 17.0);
        }
        draw_key(drawing, key, (x, y));
        x += width(key);
    }
    let (left, top) = (62.0, y + 24.0);
    Frame { left, top, width: page_width - left - right, height: page_height - top - 44.0 }
}

fn draw_key(drawing: &mut Drawing, key: &Key, (x, y): Point) {
    let middle = y - 4.0;
    match key.mark {
        Mark::Line(width) => drawing.line(vec![(x, middle), (x + 22.0, middle)], key.ink, width),
        Mark::Dashed(width) => drawing.dashed((x, middle), (x + 22.0, middle), key.ink, width),
        Mark::Area => drawing.rect((x, middle - 6.0), (x + 22.0, middle + 6.0), key.ink),
        Mark::Upright(width) => drawing.line(vec![(x + 11.0, middle - 6.0), (x + 11.0, middle + 6.0)], key.ink, width),
        Mark::Triangle => triangle(drawing, (x + 8.0, middle)),
        Mark::Dot => drawing.dot((x + 11.0, middle), DOT, key.ink),
        Mark::Ring => drawing.ring((x + 11.0, middle), DOT, key.ink, 1.2),
    }
    drawing.text((x + 28.0, y), &key.text, LABEL_SIZE, BLACK, Anchor::Start);
}

/// A small triangle whose left tip is at (`x`, `y`).
pub fn triangle(drawing: &mut Drawing, (x, y): Point) {
    drawing.fill(vec![(x, y), (x + 6.0, y - 3.2), (x + 6.0, y + 3.2)], BLACK);
}

/// A logarithmic axis over the steps of all `series`; step 0 has no place on it.
pub fn log_steps(series: &[&Series]) -> Scale {
    Scale::log_tight(series.iter().flat_map(|series| series.steps.iter().map(|&step| step as f64)))
}

/// All numbers of all `series`.
pub fn values<'a>(series: &'a [&'a Series]) -> impl Iterator<Item = f64> + 'a {
    series.iter().flat_map(|series| series.values_srw.iter().copied())
}

/// Columns of the grid that shows `n` replicas.
pub fn columns(n: usize) -> usize {
    match n {
        0 | 1 => 1,
        2 | 4 => 2,
        3 | 5 | 6 => 3,
        _ => 4,
    }
}

/// Shades the three phases of a replica, as far as they were found.
pub fn shade_phases(drawing: &mut Drawing, panel: &Panel, phases: &ReplicaPhases) {
    let ends = [phases.memorisation_end_step, phases.circuit_end_step, phases.cleanup_end_step];
    let mut from = 0;
    for (end, ink) in ends.into_iter().zip(PHASES) {
        let Some(end) = end else { return };
        panel.shade(drawing, from as f64, end as f64, ink);
        from = end;
    }
}

/// Legend of the phases that at least one of `phases` has.
pub fn phase_keys<'a>(phases: impl IntoIterator<Item = &'a ReplicaPhases>) -> Vec<Key> {
    let names = ["memorisation", "circuit formation", "cleanup"];
    let mut found = 0;
    for phases in phases {
        let ends = [phases.memorisation_end_step, phases.circuit_end_step, phases.cleanup_end_step];
        found = found.max(ends.iter().take_while(|end| end.is_some()).count());
    }
    names.into_iter().zip(PHASES).take(found).map(|(name, ink)| Key::area(name, ink)).collect()
}
