//! Display list -> SVG, through the backend of `plotters`.
//!
//! Reads a [`Drawing`]; gives the text of an SVG file. The backend counts in whole units, so it is given [`UNITS`] of
//! them a point and the page's size in points is put into the header. Text stays text.

use plotters::backend::SVGBackend;
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, IntoFont, RGBAColor, ShapeStyle, TextStyle};

use super::drawing::{Anchor, Drawing, Item, Point, Text};
use super::font;
use super::style::Ink;

/// Units of the view box a point.
const UNITS: f64 = 10.0;

/// The backend writes a font size of `size / 1.24`.
const FONT_SIZE_FACTOR: f64 = 1.24;

/// The backend puts a baseline 0.76 em below the point of a text whose anchor is its top.
const TOP_TO_BASELINE_EM: f64 = 0.76;

/// The page as SVG.
///
/// # Errors
/// The drawing library's words.
pub fn svg(drawing: &Drawing) -> Result<String, String> {
    let (width, height) = drawing.page;
    let (units_wide, units_high) = (width * UNITS as u32, height * UNITS as u32);
    let mut out = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut out, (units_wide, units_high));
        let white = shape(Ink::solid(255, 255, 255), 1.0);
        let page = (units_wide as i32, units_high as i32);
        backend.draw_rect((0, 0), page, &white, true).map_err(|e| e.to_string())?;
        for item in &drawing.items {
            replay(&mut backend, item)?;
        }
        backend.present().map_err(|e| e.to_string())?;
    }
    let (theirs, ours) = (
        format!("<svg width=\"{units_wide}\" height=\"{units_high}\""),
        format!("<svg width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\""),
    );
    Ok(out.replacen(&theirs, &ours, 1))
}

fn replay(backend: &mut SVGBackend<'_>, item: &Item) -> Result<(), String> {
    match item {
        Item::Line { points, ink, width } => backend.draw_path(units(points), &shape(*ink, *width)),
        Item::Fill { points, ink } => backend.fill_polygon(units(points), &shape(*ink, 1.0)),
        Item::Text(text) => return write_text(backend, text),
    }
    .map_err(|e| e.to_string())
}

fn write_text(backend: &mut SVGBackend<'_>, text: &Text) -> Result<(), String> {
    let size = text.size * UNITS;
    let rise = size * TOP_TO_BASELINE_EM;
    let (x, y) = (text.at.0 * UNITS, text.at.1 * UNITS);
    // The rotation is about the point, so that the way from top to baseline turns with it.
    let (x, y, turn) =
        if text.upwards { (x - rise, y, FontTransform::Rotate270) } else { (x, y - rise, FontTransform::None) };
    let across = match text.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let color = color(text.ink);
    let style = TextStyle::from((font::FAMILIES, size * FONT_SIZE_FACTOR).into_font().transform(turn))
        .color(&color)
        .pos(Pos::new(across, VPos::Top));
    backend.draw_text(&text.text, &style, (x.round() as i32, y.round() as i32)).map_err(|e| e.to_string())
}

fn units(points: &[Point]) -> Vec<(i32, i32)> {
    points.iter().map(|&(x, y)| ((x * UNITS).round() as i32, (y * UNITS).round() as i32)).collect()
}

fn color(ink: Ink) -> RGBAColor {
    RGBAColor(ink.rgb[0], ink.rgb[1], ink.rgb[2], ink.alpha)
}

fn shape(ink: Ink, width: f64) -> ShapeStyle {
    ShapeStyle { color: color(ink), filled: true, stroke_width: (width * UNITS).round() as u32 }
}
