//! `privileged_basis`: whether the features of a toy model lie along its neurons.
//!
//! Reads the encoder; writes a number a feature and two a replica.

use crate::error::Result;
use crate::measure::directions::{Directions, LEARNED, feature_axis, toy};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Alignment of features with neurons.
pub struct PrivilegedBasis;

const EXPLAIN: &str = "\
What it is
  Column i of the encoder W is the direction W_i that feature i has in the hidden space, whose axes are the neurons.
  alignment         the largest of the squared entries of W_i over their sum: 1 for a feature that is one neuron's
  kurtosis          m sum_j W_ji^4 / (sum_j W_ji^2)^2, the mean over features with a norm of at least 0.5, m being the
                    hidden dimension: m for features that are one neuron's each, 3m/(m+2) for random directions
  privileged_basis  (kurtosis - 3m/(m+2)) / (m - 3m/(m+2)): the same on a scale from random to aligned
Reads
  W, or W_0 of a model that is not tied.
Unit and range
  alignment: fraction, 1/m to 1. privileged_basis: 0 for random directions, 1 for aligned ones, below 0 for features
  that are spread more evenly than chance would. One hidden dimension has no basis to choose: no value.
Value at a known point
  W the identity: 1. Features that every neuron reads with the same magnitude: -2/m.
Source
  Elhage et al. 2022 (arXiv 2209.10652), privileged bases; kurtosis as the sign of one: Elhage et al. 2023, privileged
  bases in the transformer residual stream.";

impl Measure for PrivilegedBasis {
    fn name(&self) -> &'static str {
        "privileged_basis"
    }

    fn summary(&self) -> &'static str {
        "toy models: whether features lie along neurons, from random directions (0) to aligned ones (1)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toy(setting)?.spec.d_hidden.0[0] {
            1 => Err("one hidden dimension has no basis to choose".into()),
            _ => Ok(()),
        }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        vec![
            Column::along("alignment", "fraction", feature_axis(setting)),
            Column::scalar("kurtosis", "1"),
            Column::scalar("privileged_basis", "1"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let directions = Directions::of(subject.params)?;
        let kurtosis = kurtosis(&directions);
        let m = directions.m as f64;
        let random = 3.0 * m / (m + 2.0);
        let alignment = (0..directions.n).map(|i| alignment(directions.column(i))).collect();
        Ok(vec![alignment, vec![kurtosis], vec![(kurtosis - random) / (m - random)]])
    }
}

fn alignment(w_m: &[f64]) -> f64 {
    let squares = || w_m.iter().map(|x| x * x);
    squares().fold(0.0, f64::max) / squares().sum::<f64>()
}

/// m Σ w⁴ / (Σ w²)², the mean over features that are represented; NaN without one, or where a weight is not finite.
fn kurtosis(directions: &Directions) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for i in 0..directions.n {
        let square = directions.dot(i, i);
        if square.is_nan() || square.sqrt() >= LEARNED {
            sum += directions.column(i).iter().map(|x| x.powi(4)).sum::<f64>() / (square * square);
            n += 1.0;
        }
    }
    directions.m as f64 * sum / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::features::tests::columns;
    use crate::rng::Rng;

    #[test]
    fn aligned_spread_and_random_directions_have_their_kurtosis() {
        let of = |w: &[&[f64]]| kurtosis(&columns(w));
        assert_eq!(of(&[&[0.0, -2.0], &[1.0, 0.0], &[0.1, 0.1]]), 2.0);
        assert!((of(&[&[1.0, -1.0, 1.0]]) - 1.0).abs() < 1e-12);
        assert!(of(&[&[0.1, 0.1]]).is_nan() && of(&[&[1.0, f64::NAN], &[1.0, 0.0]]).is_nan());
        let mut values = vec![0.0; 5 * 40_000];
        Rng::stream(0, "test").fill_normal(&mut values);
        let random = columns(&values.chunks(5).collect::<Vec<_>>());
        // 3m/(m+2), to a hundredth: the deviation over 40,000 directions is below 0.005.
        assert!((kurtosis(&random) - 15.0 / 7.0).abs() < 0.02, "{}", kurtosis(&random));
        assert!((alignment(&[3.0, 4.0]) - 0.64).abs() < 1e-12 && alignment(&[0.0, 0.0]).is_nan());
    }
}
