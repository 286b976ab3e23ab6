//! How figures look: sizes, inks, widths.
//!
//! Reads nothing; writes nothing. Lengths are in points of the page (a 700 × 450 page is 6.75 inches of two-column
//! width, so that a size of 11.5 prints at 8 points). Categories have the colours of Okabe and Ito (2008), which people
//! with any of the common colour-vision deficiencies tell apart; sequences have viridis, which is even in lightness.

/// Width and height of a page; the PNG has [`PNG_SCALE`] pixels a point.
pub const PAGE: (u32, u32) = (700, 450);

/// PNG pixels a point of the page.
pub const PNG_SCALE: u32 = 2;

/// Title of a page.
pub const TITLE_SIZE: f64 = 14.0;

/// Axis labels and legends.
pub const LABEL_SIZE: f64 = 12.0;

/// Numbers at ticks, and panel names.
pub const TICK_SIZE: f64 = 11.0;

/// A curve to be read.
pub const CURVE_WIDTH: f64 = 1.6;

/// A median among its replicas.
pub const MEDIAN_WIDTH: f64 = 2.4;

/// One replica among many.
pub const REPLICA_WIDTH: f64 = 0.8;

/// A colour and how much it covers what is below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ink {
    /// Red, green, blue.
    pub rgb: [u8; 3],
    /// 0 (nothing) to 1 (opaque).
    pub alpha: f64,
}

impl Ink {
    /// An opaque ink.
    pub const fn solid(red: u8, green: u8, blue: u8) -> Ink {
        Ink { rgb: [red, green, blue], alpha: 1.0 }
    }

    /// The same colour, covering `alpha` of what is below.
    pub const fn faded(self, alpha: f64) -> Ink {
        Ink { rgb: self.rgb, alpha }
    }
}

/// Text, frames and totals.
pub const BLACK: Ink = Ink::solid(0, 0, 0);
/// Ticks and secondary text.
pub const GREY: Ink = Ink::solid(90, 90, 90);
/// Grid lines.
pub const GRID: Ink = Ink::solid(226, 226, 226);
/// Okabe-Ito blue.
pub const BLUE: Ink = Ink::solid(0, 114, 178);
/// Okabe-Ito vermillion.
pub const VERMILLION: Ink = Ink::solid(213, 94, 0);
/// Okabe-Ito bluish green.
pub const GREEN: Ink = Ink::solid(0, 158, 115);
/// Okabe-Ito reddish purple.
pub const PURPLE: Ink = Ink::solid(204, 121, 167);
/// Okabe-Ito orange.
pub const ORANGE: Ink = Ink::solid(230, 159, 0);
/// Okabe-Ito sky blue.
pub const SKY: Ink = Ink::solid(86, 180, 233);

/// What is measured on training pairs.
pub const TRAIN: Ink = BLUE;
/// What is measured on test pairs.
pub const TEST: Ink = VERMILLION;

/// Categories beside test accuracy, in order of use.
pub const CATEGORIES: [Ink; 5] = [BLUE, GREEN, ORANGE, PURPLE, SKY];

/// Shades behind memorisation, circuit formation and cleanup: apart in lightness as well as in hue.
pub const PHASES: [Ink; 3] = [Ink::solid(236, 236, 236), Ink::solid(255, 246, 204), Ink::solid(214, 234, 248)];

/// Viridis (matplotlib 1.5, CC0) at 0, 1/8, … 1.
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// Blue over white to red: Okabe-Ito blue and vermillion, darkened at the ends so that both halves are even in lightness.
const BLUE_WHITE_RED: [[u8; 3]; 5] = [[0, 60, 120], [86, 157, 208], [255, 255, 255], [238, 140, 90], [140, 40, 0]];

/// A circle of hues of about equal lightness, for phases.
const PHASE: [[u8; 3]; 9] = [
    [213, 94, 0],
    [184, 120, 0],
    [124, 142, 0],
    [0, 154, 90],
    [0, 148, 170],
    [60, 124, 214],
    [150, 96, 206],
    [200, 76, 134],
    [213, 94, 0],
];

/// Viridis at `level` (clamped to 0 to 1).
pub fn viridis(level: f64) -> Ink {
    between(&VIRIDIS, level)
}

/// Blue at 0, white at 1/2, red at 1 (clamped).
pub fn blue_white_red(level: f64) -> Ink {
    between(&BLUE_WHITE_RED, level)
}

/// The hue of a phase, in turns.
pub fn phase(turns: f64) -> Ink {
    between(&PHASE, turns.rem_euclid(1.0))
}

/// Straight lines between evenly spaced knots.
fn between(knots: &[[u8; 3]], level: f64) -> Ink {
    let at = level.clamp(0.0, 1.0) * (knots.len() - 1) as f64;
    let below = (at as usize).min(knots.len() - 2);
    let part = at - below as f64;
    let mixed = |channel: usize| {
        let (low, high) = (f64::from(knots[below][channel]), f64::from(knots[below + 1][channel]));
        (low + (high - low) * part).round() as u8
    };
    Ink { rgb: [mixed(0), mixed(1), mixed(2)], alpha: 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CIE lightness from linear sRGB luminance.
    fn lightness(ink: Ink) -> f64 {
        let linear = |c: u8| (f64::from(c) / 255.0).powf(2.2);
        116.0 * (0.2126 * linear(ink.rgb[0]) + 0.7152 * linear(ink.rgb[1]) + 0.0722 * linear(ink.rgb[2])).cbrt() - 16.0
    }

    #[test]
    fn viridis_rises_evenly_in_lightness_and_keeps_its_ends() {
        assert_eq!(viridis(-1.0), viridis(0.0));
        assert_eq!(viridis(0.0).rgb, [68, 1, 84]);
        assert_eq!(viridis(2.0).rgb, [253, 231, 37]);
        let rises: Vec<f64> = (0..16)
            .map(|i| lightness(viridis(f64::from(i + 1) / 16.0)) - lightness(viridis(f64::from(i) / 16.0)))
            .collect();
        assert!(rises.iter().all(|&rise| (2.5..8.0).contains(&rise)), "{rises:?}");
    }

    #[test]
    fn blue_and_red_are_as_light_as_each_other_at_every_distance_from_white() {
        assert_eq!(blue_white_red(0.5).rgb, [255; 3]);
        for i in 0..=8 {
            let away = f64::from(i) / 16.0;
            let (blue, red) = (lightness(blue_white_red(0.5 - away)), lightness(blue_white_red(0.5 + away)));
            assert!((blue - red).abs() < 8.0, "{away}: {blue} and {red}");
        }
    }

    #[test]
    fn phases_go_round_and_are_about_equally_light() {
        assert_eq!(phase(0.0), phase(1.0));
        assert_eq!(phase(-0.25), phase(0.75));
        let all: Vec<f64> = (0..64).map(|i| lightness(phase(f64::from(i) / 64.0))).collect();
        assert!(all.iter().all(|l| (48.0..62.0).contains(l)), "{all:?}");
    }
}
