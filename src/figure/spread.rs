//! Replicas -> median and interquartile range, step by step.
//!
//! Reads a scalar [`Series`]; gives three curves. Quartiles interpolate between ranks as [`crate::transition::Spread`]
//! does; a replica without a value at a step is left out there.

use crate::measure::Series;
use crate::transition::Spread;

/// Quartiles over replicas at every checkpoint of a series; NaN where no replica has a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Quartiles {
    /// Lower quartile.
    pub low: Vec<f64>,
    /// Median.
    pub median: Vec<f64>,
    /// Upper quartile.
    pub high: Vec<f64>,
}

impl Quartiles {
    /// Over all replicas of a scalar column.
    pub fn of(series: &Series) -> Quartiles {
        let at = |s: usize| {
            let values = (0..series.seeds.len()).map(|r| Some(series.at(s, r)[0]));
            Spread::of(values).quartiles.unwrap_or([f64::NAN; 3])
        };
        let all: Vec<[f64; 3]> = (0..series.steps.len()).map(at).collect();
        let curve = |i: usize| all.iter().map(|quartiles| quartiles[i]).collect();
        Quartiles { low: curve(0), median: curve(1), high: curve(2) }
    }
}
