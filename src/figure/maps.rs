//! Square maps over (a, b) or over pairs of Fourier components, in rows and columns.
//!
//! Reads p × p values; adds grids of cells to a [`Drawing`], a across and b up. A page becomes as high as its rows need.

use super::drawing::{Drawing, Point};
use super::heat::{self, Colors};
use super::panel::{Frame, Panel};
use super::scale::Scale;
use super::style::{BLACK, LABEL_SIZE};

/// One map.
pub struct Map<'a> {
    /// `[p, p]`: a (or the component over a) major.
    pub values: &'a [f64],
    /// Cells a side.
    pub p: usize,
    /// The colours of the values.
    pub colors: Colors,
    /// Above it.
    pub name: Option<String>,
}

/// Where maps are.
pub struct Lay {
    /// All of them together.
    pub area: Frame,
    frames: Vec<Frame>,
    columns: usize,
}

/// The largest side of a map, points.
const MAX_SIDE: f64 = 172.0;

impl Lay {
    /// `rows` times `columns` squares at the left of `area`, with room for a colour bar to their right.
    pub fn new(
        drawing: &mut Drawing,
        area: Frame,
        (rows, columns): (usize, usize),
        (colors, gap): (&Colors, Point),
    ) -> Lay {
        let (rows, columns) = (rows.max(1), columns.max(1));
        let (n_rows, n_columns) = (rows as f64, columns as f64);
        let left = area.left + ROW_NAME;
        let room = area.left + area.width - left - heat::bar_room(colors, &area);
        let side = ((room - gap.0 * (n_columns - 1.0)) / n_columns).min(MAX_SIDE);
        let (width, height) = (side * n_columns + gap.0 * (n_columns - 1.0), side * n_rows + gap.1 * (n_rows - 1.0));
        let area = Frame { left, top: area.top, width, height };
        drawing.page.1 = (area.top + height + 44.0).ceil() as u32;
        Lay { area, frames: area.grid(rows, columns, gap), columns }
    }

    /// Draws a map over (a, b) at a row and column, with numbers below where `numbered` and at the left edge of the page.
    pub fn draw(&self, drawing: &mut Drawing, (row, column): (usize, usize), map: &Map, numbered: bool) {
        let frame = self.frames[row * self.columns + column];
        let scale = Scale::Linear { low: -0.5, high: map.p as f64 - 0.5 };
        let panel = Panel { frame, x: scale, y: scale };
        cells(drawing, frame, map);
        panel.outline(drawing);
        panel.x_axis(drawing, numbered.then_some("a"));
        panel.y_axis(drawing, (column == 0).then_some("b"));
        if let Some(name) = &map.name {
            panel.name(drawing, name);
        }
    }

    /// The frame at a row and column.
    pub fn frame(&self, (row, column): (usize, usize)) -> Frame {
        self.frames[row * self.columns + column]
    }

    /// What a row shows, at the left edge of the page.
    pub fn name_row(&self, drawing: &mut Drawing, row: usize, name: &str) {
        let frame = self.frame((row, 0));
        drawing.text_upwards((22.0, frame.top + frame.height / 2.0), name, LABEL_SIZE, BLACK);
    }
}

/// Room for the names of rows, points.
const ROW_NAME: f64 = 8.0;

/// The coloured cells of a map, a (the first index) across and b up.
pub fn cells(drawing: &mut Drawing, frame: Frame, map: &Map) {
    let p = map.p;
    let rgb = (0..p * p).map(|i| map.colors.of(map.values[i % p * p + (p - 1 - i / p)]).rgb).collect();
    drawing.cells((frame.left, frame.top), (frame.width, frame.height), p, rgb);
}

/// Name and axes of a map of Fourier components (constant, cos 1, sin 1, cos 2, …): frequencies as numbers.
pub fn frequency_axes(drawing: &mut Drawing, frame: Frame, p: usize, (name, first): (&str, bool)) {
    // The constant is the first cell, and frequency k the cells 2k − 1 and 2k.
    let scale = Scale::Linear { low: 0.0, high: p as f64 / 2.0 };
    let panel = Panel { frame, x: scale, y: scale };
    panel.outline(drawing);
    panel.x_axis(drawing, Some("frequency of a"));
    panel.y_axis(drawing, first.then_some("frequency of b"));
    panel.name(drawing, name);
}
