//! The font of figures: Liberation Sans, which has the widths of Arial and Helvetica.
//!
//! Reads `font/LiberationSans-Regular.ttf` (SIL Open Font License, `font/LICENSE`), which is in the binary; gives widths
//! and shapes of letters. In an SVG text stays text, in [`FAMILIES`]: each of them has the same widths.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, GlyphId, OutlinedGlyph, PxScale, ScaleFont, point};

/// Font families of SVG text, the first that the viewer has.
pub const FAMILIES: &str = "Liberation Sans, Arial, Helvetica, Arimo, sans-serif";

/// Height of a capital letter, in ems.
pub const CAP_HEIGHT_EM: f64 = 0.72;

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("font/LiberationSans-Regular.ttf"))
        .expect("invariant: the font in the binary is a font")
});

/// The scale at which an em is `size` pixels: `ab_glyph` counts from the lowest to the highest letter instead.
fn scale(size: f64) -> PxScale {
    let em = FONT.units_per_em().expect("invariant: the font has an em");
    PxScale::from(size as f32 * FONT.height_unscaled() / em)
}

/// Letters with their distances from the start of `text`, and its width, for an em of `size`.
fn advance(text: &str, size: f64) -> (Vec<(GlyphId, f32)>, f32) {
    let scaled = FONT.as_scaled(scale(size));
    let (mut at, mut last, mut letters) = (0.0, None, vec![]);
    for letter in text.chars() {
        let id = scaled.glyph_id(letter);
        at += last.map_or(0.0, |last| scaled.kern(last, id));
        letters.push((id, at));
        at += scaled.h_advance(id);
        last = Some(id);
    }
    (letters, at)
}

/// Width of `text` for an em of `size`, in the unit of `size`.
pub fn width(text: &str, size: f64) -> f64 {
    f64::from(advance(text, size).1)
}

/// `text`, or as much of its start as is at most `room` wide with the sign that some is left out.
pub fn fitted(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.into();
    }
    let mut kept = text.to_owned();
    while kept.pop().is_some() {
        let short = format!("{}…", kept.trim_end());
        if width(&short, size) <= room {
            return short;
        }
    }
    String::new()
}

/// Shapes of the letters of `text` that starts at (`x`, `y`) on the baseline, in pixels.
pub fn outlines(text: &str, size: f64, x: f64, y: f64) -> Vec<OutlinedGlyph> {
    let placed = |(id, at): (GlyphId, f32)| Glyph { id, scale: scale(size), position: point(x as f32 + at, y as f32) };
    advance(text, size).0.into_iter().filter_map(|letter| FONT.outline_glyph(placed(letter))).collect()
}

/// Whether the font has every letter of `text`.
#[cfg(test)]
pub fn has_all(text: &str) -> bool {
    text.chars().all(|letter| FONT.glyph_id(letter) != GlyphId(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_adobe_metrics_of_helvetica() {
        // Helvetica's AFM: H 722, e 556, l 222, o 556 thousandths of an em; digits 556.
        assert!((width("Hello", 1000.0) - (722.0 + 556.0 + 222.0 + 222.0 + 556.0)).abs() < 3.0);
        assert!((width("0123456789", 100.0) - 556.0).abs() < 1.0);
    }

    #[test]
    fn letters_of_labels_are_in_the_font() {
        assert!(has_all("Σw² (log) − · – ≥ × …"));
        assert!(!has_all("⁻"), "exponents are set as small text because the font has no superscript minus");
    }

    #[test]
    fn a_text_that_is_too_wide_ends_in_dots_and_is_no_wider_than_its_room() {
        assert_eq!(fitted("short", 10.0, 100.0), "short");
        let cut = fitted("a title of very many words", 10.0, 60.0);
        assert!(cut.ends_with('…') && cut.starts_with("a title") && width(&cut, 10.0) <= 60.0, "{cut}");
        assert_eq!(fitted("anything", 10.0, 1.0), "");
    }
}
