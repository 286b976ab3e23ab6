//! Display list -> SVG.
//!
//! Reads a [`Drawing`]; gives the text of an SVG file in points of the page. Text stays text; a grid of cells is a PNG
//! inside the file, so that a picture of a hundred times a hundred cells stays small.

use std::fmt::Write;

use super::drawing::{Anchor, Cells, Drawing, Item, Point, Text};
use super::style::Ink;
use super::{font, png};

/// The page as SVG.
///
/// # Errors
/// The PNG encoder's words.
pub fn svg(drawing: &Drawing) -> Result<String, String> {
    let (width, height) = drawing.page;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"{}\" stroke-linejoin=\"round\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\"/>\n",
        font::FAMILIES
    );
    for item in &drawing.items {
        let element = match item {
            Item::Line { points, ink, width } => format!(
                "<polyline points=\"{}\" fill=\"none\" {} stroke-width=\"{}\"/>",
                list(points),
                color("stroke", *ink),
                number(*width)
            ),
            Item::Fill { points, ink } => format!("<polygon points=\"{}\" {}/>", list(points), color("fill", *ink)),
            Item::Cells(cells) => image(cells)?,
            Item::Text(text) => text_element(text),
        };
        out += &element;
        out.push('\n');
    }
    Ok(out + "</svg>\n")
}

fn text_element(text: &Text) -> String {
    let (x, y) = (number(text.at.0), number(text.at.1));
    let anchor = match text.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let turn = if text.upwards { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" text-anchor=\"{anchor}\" {}{turn}>{}</text>",
        number(text.size),
        color("fill", text.ink),
        escaped(&text.text)
    )
}

fn image(cells: &Cells) -> Result<String, String> {
    let (left, top) = cells.corner;
    let (width, height) = cells.size;
    let file = png::encode(cells.columns as u32, cells.rows() as u32, &cells.rgb.concat())?;
    Ok(format!(
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
        number(left),
        number(top),
        number(width),
        number(height),
        base64(&file)
    ))
}

fn list(points: &[Point]) -> String {
    let mut list = String::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        let _infallible = write!(list, "{}{},{}", if i > 0 { " " } else { "" }, number(x), number(y));
    }
    list
}

/// To a hundredth of a point.
fn number(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn color(attribute: &str, ink: Ink) -> String {
    let [red, green, blue] = ink.rgb;
    let opaque = format!("{attribute}=\"#{red:02X}{green:02X}{blue:02X}\"");
    if ink.alpha < 1.0 { format!("{opaque} {attribute}-opacity=\"{}\"", number(ink.alpha)) } else { opaque }
}

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().enumerate().fold(0u32, |all, (i, &byte)| all | u32::from(byte) << (16 - 8 * i));
        for i in 0..4 {
            let letter = char::from(LETTERS[(all >> (18 - 6 * i)) as usize & 63]);
            out.push(if i > chunk.len() { '=' } else { letter });
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::style::BLACK;
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[251, 255]), "+/8=");
    }

    #[test]
    fn each_thing_is_one_element_in_points_of_the_page() {
        let mut drawing = Drawing { page: (40, 30), ..Drawing::default() };
        drawing.line(vec![(1.0, 2.0), (3.456, -0.001)], BLACK.faded(0.5), 1.5);
        drawing.text_upwards((5.0, 6.0), "a < b & c", 10.0, BLACK);
        drawing.cells((0.0, 0.0), (20.0, 10.0), 2, vec![[1, 2, 3]; 4]);
        let text = svg(&drawing).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("width=\"40\" height=\"30\" viewBox=\"0 0 40 30\""), "{}", lines[0]);
        assert_eq!(
            lines[2],
            "<polyline points=\"1,2 3.46,0\" fill=\"none\" stroke=\"#000000\" stroke-opacity=\"0.5\" stroke-width=\"1.5\"/>"
        );
        assert_eq!(
            lines[3],
            "<text x=\"5\" y=\"6\" font-size=\"10\" text-anchor=\"middle\" fill=\"#000000\" transform=\"rotate(-90 5 6)\">\
             a &lt; b &amp; c</text>"
        );
        assert!(
            lines[4].starts_with("<image x=\"0\" y=\"0\" width=\"20\" height=\"10\"") && lines[4].ends_with("=\"/>")
        );
    }
}
