//! The display list: what is on a page, before it is an SVG or a PNG.
//!
//! Reads nothing; holds lines, filled polygons and texts in points of the page, x to the right and y down from the top
//! left corner. Both pictures are replays of one list, so that they cannot differ in content.

use super::font;
use super::style::{Ink, PAGE};

/// Lengths of a dash and of the gap after it, points.
const DASH: (f64, f64) = (4.0, 3.0);

/// Where something is on the page, in points.
pub type Point = (f64, f64);

/// Which part of a text is at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its first letter.
    Start,
    /// Its middle.
    Middle,
    /// Its last letter.
    End,
}

/// One text in one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The part named by `anchor`, on the baseline.
    pub at: Point,
    /// What it says.
    pub text: String,
    /// Size of an em.
    pub size: f64,
    /// Colour.
    pub ink: Ink,
    /// What is at `at`.
    pub anchor: Anchor,
    /// Whether it reads upwards.
    pub upwards: bool,
}

/// A grid of coloured cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    /// Its top left corner.
    pub corner: Point,
    /// Width and height.
    pub size: Point,
    /// Cells a row.
    pub columns: usize,
    /// Colours, rows from the top.
    pub rgb: Vec<[u8; 3]>,
}

impl Cells {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rgb.len() / self.columns
    }
}

/// One thing on the page.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An open polyline with round corners.
    Line {
        /// Its corners.
        points: Vec<Point>,
        /// Colour.
        ink: Ink,
        /// Width of the stroke.
        width: f64,
    },
    /// A closed polygon, filled.
    Fill {
        /// Its corners.
        points: Vec<Point>,
        /// Colour.
        ink: Ink,
    },
    /// A grid of cells.
    Cells(Cells),
    /// A text.
    Text(Text),
}

/// All that is on a page, from the bottom up.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Width and height of the page.
    pub page: (u32, u32),
    /// The things, in the order in which they are laid on each other.
    pub items: Vec<Item>,
}

impl Default for Drawing {
    fn default() -> Drawing {
        Drawing { page: PAGE, items: vec![] }
    }
}

impl Drawing {
    /// A polyline; nothing where there are fewer than two points.
    pub fn line(&mut self, points: Vec<Point>, ink: Ink, width: f64) {
        if points.len() > 1 {
            self.items.push(Item::Line { points, ink, width });
        }
    }

    /// A straight dashed line.
    pub fn dashed(&mut self, from: Point, to: Point, ink: Ink, width: f64) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |way: f64| {
            let part = (way / length).min(1.0);
            (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
        };
        let mut way = 0.0;
        while way < length {
            self.line(vec![at(way), at(way + DASH.0)], ink, width);
            way += DASH.0 + DASH.1;
        }
    }

    /// A filled polygon.
    pub fn fill(&mut self, points: Vec<Point>, ink: Ink) {
        if points.len() > 2 {
            self.items.push(Item::Fill { points, ink });
        }
    }

    /// A filled rectangle between two corners.
    pub fn rect(&mut self, (left, top): Point, (right, bottom): Point, ink: Ink) {
        self.fill(vec![(left, top), (right, top), (right, bottom), (left, bottom)], ink);
    }

    /// A grid of cells with `columns` a row, rows from the top; nothing where there are none.
    pub fn cells(&mut self, corner: Point, size: Point, columns: usize, rgb: Vec<[u8; 3]>) {
        if columns > 0 && !rgb.is_empty() {
            self.items.push(Item::Cells(Cells { corner, size, columns, rgb }));
        }
    }

    /// A filled circle.
    pub fn dot(&mut self, (x, y): Point, radius: f64, ink: Ink) {
        let corner = |i: u32| {
            let angle = std::f64::consts::TAU * f64::from(i) / 16.0;
            (x + radius * libm::cos(angle), y + radius * libm::sin(angle))
        };
        self.fill((0..16).map(corner).collect(), ink);
    }

    /// A circle.
    pub fn ring(&mut self, (x, y): Point, radius: f64, ink: Ink, width: f64) {
        let corner = |i: u32| {
            let angle = std::f64::consts::TAU * f64::from(i % 16) / 16.0;
            (x + radius * libm::cos(angle), y + radius * libm::sin(angle))
        };
        self.line((0..=16).map(corner).collect(), ink, width);
    }

    /// A text from left to right on the baseline `at`.
    pub fn text(&mut self, at: Point, text: &str, size: f64, ink: Ink, anchor: Anchor) {
        self.items.push(Item::Text(Text { at, text: text.into(), size, ink, anchor, upwards: false }));
    }

    /// A text that reads upwards, centred on `at`.
    pub fn text_upwards(&mut self, at: Point, text: &str, size: f64, ink: Ink) {
        let anchor = Anchor::Middle;
        self.items.push(Item::Text(Text { at, text: text.into(), size, ink, anchor, upwards: true }));
    }
}

impl Text {
    /// Where the first letter starts on the baseline.
    pub fn start(&self) -> Point {
        let before = match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => font::width(&self.text, self.size) / 2.0,
            Anchor::End => font::width(&self.text, self.size),
        };
        if self.upwards { (self.at.0, self.at.1 + before) } else { (self.at.0 - before, self.at.1) }
    }
}
