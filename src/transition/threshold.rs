//! Curves -> the step at which they pass a level.
//!
//! Reads a [`Curve`]; writes a step or none. Points that are not numbers are passed over as if they were not there.

/// One number over training.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Counts of updates, ascending.
    pub steps: Vec<u64>,
    /// `[steps]`
    pub values: Vec<f64>,
}

impl Curve {
    /// A curve from steps and as many values.
    pub fn new(steps: &[u64], values: &[f64]) -> Curve {
        Curve { steps: steps.to_vec(), values: values.to_vec() }
    }

    /// The points that have a value, in order.
    pub fn points(&self) -> impl Iterator<Item = (u64, f64)> {
        self.steps.iter().copied().zip(self.values.iter().copied()).filter(|(_, x)| !x.is_nan())
    }

    /// The last value at or before `step`.
    pub fn at(&self, step: u64) -> Option<f64> {
        self.points().take_while(|&(s, _)| s <= step).last().map(|(_, x)| x)
    }

    /// The last value; NaN where there is none.
    pub fn last(&self) -> f64 {
        self.points().last().map_or(f64::NAN, |(_, x)| x)
    }

    /// First step at which the value is at least `level`.
    pub fn first_at_least(&self, level: f64) -> Option<u64> {
        self.sustained_at_least(level, 1)
    }

    /// First step of the first `in_a_row` points in a row that are all at least `level`.
    pub fn sustained_at_least(&self, level: f64, in_a_row: usize) -> Option<u64> {
        let points: Vec<(u64, f64)> = self.points().collect();
        points.windows(in_a_row.max(1)).find(|window| window.iter().all(|&(_, x)| x >= level)).map(|window| window[0].0)
    }

    /// How often the value rises to `high` or more after it has been below `low`.
    pub fn rises(&self, low: f64, high: f64) -> usize {
        let (mut count, mut was_low) = (0, false);
        for (_, x) in self.points() {
            if was_low && x >= high {
                count += 1;
            }
            was_low = x < low || (was_low && x < high);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_spike_is_a_first_crossing_and_not_a_sustained_one() {
        let steps: Vec<u64> = (0..8).map(|i| i * 10).collect();
        let curve = Curve::new(&steps, &[0.1, 0.95, 0.2, 0.9, 0.91, 0.5, 0.9, 0.99]);
        assert_eq!(curve.first_at_least(0.9), Some(10));
        assert_eq!(curve.sustained_at_least(0.9, 2), Some(30));
        assert_eq!(curve.sustained_at_least(0.9, 3), None);
        assert_eq!(curve.first_at_least(0.999), None);
    }

    #[test]
    fn a_rise_begins_low_and_ends_high_and_a_plateau_counts_once() {
        let steps: Vec<u64> = (0..9).collect();
        let curve = Curve::new(&steps, &[4.0, 0.05, 0.2, 0.001, 0.05, 0.5, 3.0, 0.05, 0.2]);
        assert_eq!(curve.rises(0.01, 0.1), 1);
        assert_eq!(Curve::new(&steps, &[4.0, 0.0, 0.1, 0.0, 0.0, f64::NAN, 9.0, 9.0, 0.0]).rises(0.01, 0.1), 2);
    }

    #[test]
    fn points_without_a_value_are_passed_over() {
        let curve = Curve::new(&[0, 1, 2, 3], &[f64::NAN, 1.0, f64::NAN, 1.0]);
        assert_eq!(curve.sustained_at_least(1.0, 2), Some(1));
        assert_eq!((curve.at(0), curve.at(2), curve.last()), (None, Some(1.0), 1.0));
        assert!(Curve::default().last().is_nan());
    }
}
