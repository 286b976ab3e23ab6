//! Replicas -> rates with an interval, medians with quartiles.
//!
//! Reads counts or one number a replica; writes fractions and numbers in the same unit. Sources: Wilson 1927 (score
//! interval without continuity correction); quartiles by linear interpolation (type 7 of Hyndman and Fan 1996).

/// 97.5 % point of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// How many of n, with Wilson's 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Rate {
    /// Replicas that did.
    pub successes: usize,
    /// Replicas there were.
    pub n: usize,
    /// Lower end, fraction.
    pub low: f64,
    /// Upper end, fraction.
    pub high: f64,
}

impl Rate {
    /// The rate of `successes` out of `n`; 0 to 1 when there is nothing to count.
    pub fn of(successes: usize, n: usize) -> Rate {
        if n == 0 {
            return Rate { successes, n, low: 0.0, high: 1.0 };
        }
        let (count, frac, z2) = (n as f64, successes as f64 / n as f64, Z * Z);
        let centre = (frac + z2 / (2.0 * count)) / (1.0 + z2 / count);
        let half = Z / (1.0 + z2 / count) * (frac * (1.0 - frac) / count + z2 / (4.0 * count * count)).sqrt();
        // At the ends the formula gives 0 and 1 up to rounding.
        let low = if successes == 0 { 0.0 } else { centre - half };
        let high = if successes == n { 1.0 } else { centre + half };
        Rate { successes, n, low, high }
    }

    /// successes / n; NaN when there is nothing to count.
    pub fn frac(&self) -> f64 {
        self.successes as f64 / self.n as f64
    }
}

/// Median and quartiles of the replicas that have a value.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Replicas with a value.
    pub with_value: usize,
    /// Replicas there were.
    pub n: usize,
    /// Lower quartile, median, upper quartile; none when no replica has a value.
    pub quartiles: Option<[f64; 3]>,
}

impl Spread {
    /// The spread over replicas; `None` and NaN are replicas without a value.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>) -> Spread {
        let all: Vec<Option<f64>> = values.into_iter().collect();
        let mut known: Vec<f64> = all.iter().copied().flatten().filter(|x| !x.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let quartiles = (!known.is_empty()).then(|| [0.25, 0.5, 0.75].map(|q| quantile(&known, q)));
        Spread { with_value: known.len(), n: all.len(), quartiles }
    }

    /// The median, if any replica has a value.
    pub fn median(&self) -> Option<f64> {
        self.quartiles.map(|[_, median, _]| median)
    }
}

/// Quantile of ascending numbers, by linear interpolation between the two nearest ranks.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = q * (sorted.len() - 1) as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    sorted[below] + (rank - rank.floor()) * (sorted[above] - sorted[below])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_intervals() {
        // Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3; and 8 of 10.
        let rows = [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (8, 10, 0.4902, 0.9433),
            (10, 10, 0.7225, 1.0),
        ];
        for (successes, n, low, high) in rows {
            let rate = Rate::of(successes, n);
            assert!((rate.low - low).abs() < 5e-5 && (rate.high - high).abs() < 5e-5, "{rate:?}");
        }
        assert_eq!((Rate::of(0, 0).low, Rate::of(0, 0).high), (0.0, 1.0));
    }

    #[test]
    fn quartiles_interpolate_as_numpy_does() {
        // numpy.percentile([1, 2, 4, 8], [25, 50, 75])
        let spread = Spread::of([Some(8.0), None, Some(1.0), Some(4.0), Some(2.0), Some(f64::NAN)]);
        assert_eq!(spread, Spread { with_value: 4, n: 6, quartiles: Some([1.75, 3.0, 5.0]) });
        assert_eq!(Spread::of([Some(7.0)]).quartiles, Some([7.0; 3]));
        assert_eq!(Spread::of([None, None]), Spread { with_value: 0, n: 2, quartiles: None });
        assert_eq!(Spread::of([None]).median(), None);
    }
}
