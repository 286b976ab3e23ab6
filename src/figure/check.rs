//! For tests: what a reader would object to on any page.
//!
//! Reads a [`Drawing`]; gives texts that lie over each other, letters that the font lacks and things beyond the page.

use super::drawing::{Drawing, Item, Point, Text};
use super::font;

/// How far texts may reach into each other, points: boxes are taller than most letters.
const TOUCH: f64 = 1.0;

/// Everything wrong with a page, in words.
pub fn faults(drawing: &Drawing) -> Vec<String> {
    let page = (f64::from(drawing.page.0), f64::from(drawing.page.1));
    let inside = |&(x, y): &Point| (0.0..=page.0).contains(&x) && (0.0..=page.1).contains(&y);
    let mut faults = vec![];
    let mut texts: Vec<(&Text, [f64; 4])> = vec![];
    for item in &drawing.items {
        match item {
            Item::Line { points, .. } | Item::Fill { points, .. } => {
                if let Some(point) = points.iter().find(|point| !inside(point)) {
                    faults.push(format!("{point:?} is beyond the page"));
                }
            }
            Item::Cells(cells) => {
                let (left, top) = cells.corner;
                if !inside(&cells.corner) || !inside(&(left + cells.size.0, top + cells.size.1)) {
                    faults.push(format!("cells at {:?} are beyond the page", cells.corner));
                }
                if cells.rgb.len() % cells.columns != 0 {
                    faults.push(format!("{} cells are not rows of {}", cells.rgb.len(), cells.columns));
                }
            }
            Item::Text(text) => {
                let [left, top, right, bottom] = text_box(text);
                if !inside(&(left, top)) || !inside(&(right, bottom)) {
                    faults.push(format!("{:?} is beyond the page", text.text));
                }
                if !font::has_all(&text.text) {
                    faults.push(format!("{:?} has letters that the font lacks", text.text));
                }
                texts.push((text, [left, top, right, bottom]));
            }
        }
    }
    for (i, (one, a)) in texts.iter().enumerate() {
        for (other, b) in &texts[..i] {
            if a[0] + TOUCH < b[2] && b[0] + TOUCH < a[2] && a[1] + TOUCH < b[3] && b[1] + TOUCH < a[3] {
                faults.push(format!("{:?} lies over {:?}", one.text, other.text));
            }
        }
    }
    faults
}

/// Left, top, right and bottom of the capital letters of a text.
fn text_box(text: &Text) -> [f64; 4] {
    let (x, y) = text.start();
    let (length, height) = (font::width(&text.text, text.size), text.size * font::CAP_HEIGHT_EM);
    if text.upwards { [x - height, y - length, x, y] } else { [x, y - height, x + length, y] }
}
