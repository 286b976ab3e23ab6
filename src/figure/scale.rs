//! How values lie along an axis, and which of them get ticks.
//!
//! Reads the values of curves; gives places between 0 and 1 and [`Tick`]s. A logarithmic axis has no place for zero,
//! negative and non-finite values: a curve has a gap there.

/// An axis from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Equal differences are equally far apart.
    Linear {
        /// Value at the start.
        low: f64,
        /// Value at the end.
        high: f64,
    },
    /// As linear, of whole numbers: so are its ticks.
    Count {
        /// Value at the start.
        low: f64,
        /// Value at the end.
        high: f64,
    },
    /// Equal ratios are equally far apart.
    Log {
        /// Value at the start, positive.
        low: f64,
        /// Value at the end.
        high: f64,
    },
}

/// One mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Where, from 0 to 1.
    pub place: f64,
    /// What it says; a minor tick says nothing.
    pub label: Option<Label>,
}

/// The number at a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The number, or the base of a power.
    pub base: String,
    /// The exponent of a power; empty else.
    pub exponent: String,
}

impl Label {
    fn plain(base: String) -> Label {
        Label { base, exponent: String::new() }
    }
}

/// Decades below which a logarithmic axis has numbers at 2 and 5 as well.
const FEW_DECADES: f64 = 2.5;

/// Room for numbers that a decade needs for its 1, 2 and 5: three, but they are short.
const ROOM_FOR_1_2_5: f64 = 1.9;

impl Scale {
    /// A linear axis that holds all finite values, with a little room at both ends.
    pub fn linear(values: impl IntoIterator<Item = f64>) -> Scale {
        let (low, high) = range(values.into_iter().filter(|x| x.is_finite())).unwrap_or((0.0, 1.0));
        let room = if high > low { (high - low) * 0.04 } else { low.abs().max(1.0) * 0.5 };
        Scale::Linear { low: low - room, high: high + room }
    }

    /// As [`Scale::linear`], of whole numbers.
    pub fn count(values: impl IntoIterator<Item = f64>) -> Scale {
        let (low, high) = range(values.into_iter().filter(|x| x.is_finite())).unwrap_or((0.0, 1.0));
        let room = if high > low { (high - low) * 0.04 } else { 1.2 };
        Scale::Count { low: low - room, high: high + room }
    }

    /// A logarithmic axis that holds all positive finite values, with a little room at both ends.
    pub fn log(values: impl IntoIterator<Item = f64>) -> Scale {
        match Scale::log_tight(values) {
            Scale::Log { low, high } => {
                let room = libm::pow(high / low, 0.04).max(1.5);
                Scale::Log { low: (low / room).max(f64::MIN_POSITIVE), high: (high * room).min(f64::MAX) }
            }
            linear => linear,
        }
    }

    /// A logarithmic axis from the smallest to the largest positive finite value.
    pub fn log_tight(values: impl IntoIterator<Item = f64>) -> Scale {
        let positive = values.into_iter().filter(|x| x.is_finite() && *x > 0.0);
        match range(positive) {
            None => Scale::Log { low: 1.0, high: 10.0 },
            Some((low, high)) if low == high => {
                Scale::Log { low: (low / 2.0).max(f64::MIN_POSITIVE), high: (high * 2.0).min(f64::MAX) }
            }
            Some((low, high)) => Scale::Log { low, high },
        }
    }

    /// Fractions from 0 to 1, with room for the curve at both ends.
    pub fn fraction() -> Scale {
        Scale::Linear { low: -0.03, high: 1.05 }
    }

    /// Where `value` lies, 0 at the start and 1 at the end; `None` where this axis cannot show it.
    pub fn place(&self, value: f64) -> Option<f64> {
        let place = match *self {
            Scale::Linear { low, high } | Scale::Count { low, high } => (value - low) / (high - low),
            Scale::Log { .. } if value <= 0.0 => return None,
            Scale::Log { low, high } => (libm::log(value) - libm::log(low)) / (libm::log(high) - libm::log(low)),
        };
        (place.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&place)).then_some(place)
    }

    /// Where `value` lies, or the end of the axis that is nearest to it.
    pub fn clamp(&self, value: f64) -> f64 {
        let (Scale::Linear { low, high } | Scale::Count { low, high } | Scale::Log { low, high }) = *self;
        self.place(value.clamp(low, high)).unwrap_or(0.0)
    }

    /// Ticks for an axis that has room for about `room` numbers.
    pub fn ticks(&self, room: f64) -> Vec<Tick> {
        match *self {
            Scale::Linear { low, high } => self.linear_ticks(low, high, room.max(2.0)),
            Scale::Count { low, high } => self.linear_ticks(low, high, room.max(2.0).min(high - low)),
            Scale::Log { low, high } => self.log_ticks(libm::log10(low), libm::log10(high), room.max(2.0)),
        }
    }

    fn linear_ticks(&self, low: f64, high: f64, room: f64) -> Vec<Tick> {
        let rough = (high - low) / room;
        let power = libm::pow(10.0, libm::floor(libm::log10(rough)));
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|&s| s >= rough * 0.999);
        let step = step.unwrap_or(power * 10.0);
        // One number does not make a scale.
        let few = |step: f64| libm::floor(high / step) - libm::ceil(low / step) < 1.0;
        let finer =
            [5.0, 2.0, 1.0, 0.5, 0.2].into_iter().map(|part| part * power).find(|&finer| finer < step && !few(finer));
        let step = finer.filter(|_| few(step)).unwrap_or(step);
        let decimals = (-libm::floor(libm::log10(step) + 1e-9)).clamp(0.0, 12.0) as usize;
        // Ticks close together far from 0 need their digits: as powers of ten they would all be the same.
        let largest = low.abs().max(high.abs());
        let plain = largest < 1e9 && (step >= 1e-4 || largest >= 0.1 && step >= 1e-6);
        let first = libm::ceil(low / step);
        let mut ticks = vec![];
        for i in 0..=(2.0 * room) as usize {
            let value = (first + i as f64) * step;
            if let Some(place) = self.place(value) {
                let label = if plain { Label::plain(number(value, decimals)) } else { scientific(value) };
                ticks.push(Tick { place, label: Some(label) });
            }
        }
        ticks
    }

    fn log_ticks(&self, low: f64, high: f64, room: f64) -> Vec<Tick> {
        let few = high - low < FEW_DECADES;
        let exponents = (libm::floor(low) as i32, libm::ceil(high) as i32);
        let stride = libm::ceil((high - low) / room).max(1.0) as i32;
        let plain = low >= -3.0 && high <= 7.0 && (few || low >= -1e-9);
        let mut ticks = vec![];
        for exponent in exponents.0..=exponents.1 {
            for digit in 1..10 {
                let Some(place) = self.place(f64::from(digit) * libm::pow(10.0, f64::from(exponent))) else { continue };
                let numbered = digit == 1 && exponent.rem_euclid(stride) == 0;
                let between = few && (digit == 2 || digit == 5) && room >= ROOM_FOR_1_2_5 * (high - low);
                if numbered || between {
                    ticks.push(Tick { place, label: Some(power(digit, exponent, plain)) });
                } else if digit == 1 || stride == 1 {
                    ticks.push(Tick { place, label: None });
                }
            }
        }
        ticks
    }
}

/// `digit` × 10 to the `exponent`, written out or as a power.
fn power(digit: i32, exponent: i32, plain: bool) -> Label {
    if plain {
        let value = f64::from(digit) * libm::pow(10.0, f64::from(exponent));
        return Label::plain(number(value, (-exponent).max(0) as usize));
    }
    let base = if digit == 1 { "10".into() } else { format!("{digit}×10") };
    Label { base, exponent: exponent.to_string().replace('-', "−") }
}

/// A very large or small number, to two digits.
fn scientific(value: f64) -> Label {
    let text = format!("{value:.1e}").replace('-', "−");
    match text.split_once('e') {
        Some((digits, exponent)) if value != 0.0 => {
            Label { base: format!("{}×10", digits.trim_end_matches(".0")), exponent: exponent.into() }
        }
        _ => Label::plain("0".into()),
    }
}

/// A number for an axis: `0.25`, `−3`, `750`, `2k`, `2.5k`, `1M`.
pub fn number(value: f64, decimals: usize) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if unit.is_empty() { format!("{value:.decimals$}") } else { format!("{value:.3}") };
    let text = if unit.is_empty() { &text } else { text.trim_end_matches('0').trim_end_matches('.') };
    let text = if text.trim_matches(['-', '0', '.']).is_empty() { text.trim_start_matches('-') } else { text };
    format!("{}{unit}", text.replace('-', "−"))
}

/// The label of a logarithmic axis: `loss (nats)` becomes `loss (nats, log scale)`.
pub fn with_log(label: &str) -> String {
    match label.strip_suffix(')') {
        Some(open) => format!("{open}, log scale)"),
        None => format!("{label} (log scale)"),
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, x| match range {
        None => Some((x, x)),
        Some((low, high)) => Some((f64::min(low, x), f64::max(high, x))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, room: f64) -> Vec<String> {
        let join = |label: Label| match label.exponent.as_str() {
            "" => label.base,
            exponent => format!("{}^{exponent}", label.base),
        };
        scale.ticks(room).into_iter().filter_map(|tick| tick.label).map(join).collect()
    }

    #[test]
    fn a_linear_axis_has_two_numbers_at_least() {
        let range = |low, high| Scale::Linear { low, high };
        assert_eq!(labels(range(-0.9, 0.9), 3.5), ["−0.5", "0.0", "0.5"]);
        assert_eq!(labels(range(0.6, 5.4), 2.0), ["2", "4"]);
        assert_eq!(labels(range(-0.4, 9.9), 2.0), ["0", "5"]);
    }

    #[test]
    fn counts_have_whole_numbers() {
        assert_eq!(labels(Scale::count([0.0, 4.0]), 10.0), ["0", "1", "2", "3", "4"]);
        assert_eq!(labels(Scale::count([0.0, 1.0]), 10.0), ["0", "1"]);
        assert_eq!(labels(Scale::count([4.0, 4.0]), 10.0), ["3", "4", "5"]);
        assert_eq!(labels(Scale::count([0.0, 100.0]), 6.0), ["0", "20", "40", "60", "80", "100"]);
    }

    #[test]
    fn numbers_are_short_and_round() {
        assert_eq!(labels(Scale::fraction(), 6.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::Linear { low: 0.0, high: 25_000.0 }, 5.0), ["0", "5k", "10k", "15k", "20k", "25k"]);
        assert_eq!(labels(Scale::Linear { low: -1.0, high: 1.0 }, 4.0), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels(Scale::Linear { low: 0.99985, high: 1.00005 }, 2.5), ["0.9999", "1.0000"]);
        assert_eq!(labels(Scale::Linear { low: 0.0, high: 4e-9 }, 2.0), ["0", "2×10^−9", "4×10^−9"]);
        assert_eq!(labels(Scale::Log { low: 1e-7, high: 10.0 }, 4.0), ["10^−6", "10^−4", "10^−2", "10^0"]);
        assert_eq!(labels(Scale::Log { low: 20.0, high: 40_000.0 }, 6.0), ["100", "1k", "10k"]);
        assert_eq!(labels(Scale::Log { low: 20.0, high: 1000.0 }, 6.0), ["20", "50", "100", "200", "500", "1k"]);
        assert_eq!(labels(Scale::Log { low: 0.04, high: 1.1 }, 6.0), ["0.05", "0.1", "0.2", "0.5", "1"]);
    }

    #[test]
    fn places_are_even_in_ratio_on_a_log_axis_and_what_it_cannot_show_has_none() {
        let scale = Scale::Log { low: 1.0, high: 1e4 };
        assert!((scale.place(100.0).unwrap_or(f64::NAN) - 0.5).abs() < 1e-12);
        for hidden in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e5] {
            assert_eq!(scale.place(hidden), None, "{hidden}");
        }
        assert_eq!(scale.clamp(1e9), 1.0);
        assert_eq!(scale.clamp(0.0), 0.0);
    }

    #[test]
    fn minor_ticks_lie_between_powers_of_ten() {
        let ticks = Scale::Log { low: 1.0, high: 1000.0 }.ticks(4.0);
        assert_eq!(ticks.iter().filter(|tick| tick.label.is_none()).count(), 24);
        assert_eq!(ticks.iter().filter(|tick| tick.label.is_some()).count(), 4);
    }

    #[test]
    fn an_axis_without_values_or_with_one_still_has_a_length() {
        let empty = std::iter::empty::<f64>;
        for scale in [Scale::linear(empty()), Scale::log(empty()), Scale::log([0.0, -3.0]), Scale::log_tight([7.0])] {
            let (Scale::Linear { low, high } | Scale::Count { low, high } | Scale::Log { low, high }) = scale;
            assert!(high > low && !scale.ticks(5.0).is_empty(), "{scale:?}");
        }
        for extreme in [Scale::log([f64::MIN_POSITIVE, f64::MAX]), Scale::linear([0.0, 1e-300])] {
            assert!(extreme.ticks(5.0).len() < 800, "{extreme:?}");
        }
    }
}
