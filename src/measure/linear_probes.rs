//! `linear_probes`: how well each feature of a toy model can be read off its narrowest layer by a linear probe, and by the model itself.
//!
//! Reads the encoder and the examples of evaluations; writes three numbers a feature and three a replica.

use crate::error::Result;
use crate::linalg::symmetric_eigen;
use crate::measure::directions::{Directions, feature_axis, toy};
use crate::measure::subject::{Evaluated, Setting, Subject};
use crate::measure::{Column, Measure};
use crate::spec::ToyLoss;

/// Probes of the narrowest hidden layer.
pub struct LinearProbes;

/// Directions with less than this share of the largest variance carry nothing.
const RANK: f64 = 1e-10;

const EXPLAIN: &str = "\
What it is
  A linear probe of feature i predicts x_i from the narrowest hidden layer (the first of those) by least squares, with
  a constant, on the examples of the evaluation.
  probe_r2     share of the feature's variance that the probe explains
  limit_r2     what a probe can explain of independent features behind a linear layer, the leverage of feature i:
               var_i W_i^T (sum_j var_j W_j W_j^T)^+ W_i with the features' variances var; none where the narrowest
               layer is not the first
  model_r2     share that the model's own output explains, 1 - mean (x_i - x'_i)^2 / var_i, where the target is x and
               the loss the squared error
  mean_probe_r2, mean_limit_r2, mean_model_r2  their means over features
  The limits of all features add up to the rank of W, at most m: however many features a model represents, linear
  probes find m features' worth of variance, and a model finds more by its activation alone.
Reads
  The weights, and 4,096 (toy.eval_examples) examples.
Unit and range
  Fractions. probe_r2, limit_r2: 0 to 1. model_r2: up to 1; below 0 for an output that is worse than the mean. A
  feature that does not vary has none.
Value at a known point
  Orthogonal features: 1. Two antipodal features of equal variance: 1/2 each, whatever the model reads.
Source
  Alain and Bengio 2016 (arXiv 1610.01644); the limit is ordinary least squares.";

impl Measure for LinearProbes {
    fn name(&self) -> &'static str {
        "linear_probes"
    }

    fn summary(&self) -> &'static str {
        "toy models: what a linear probe of the hidden layer explains of each feature, its limit, and the model's own output"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        toy(setting).map(drop)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let axis = feature_axis(setting);
        let each = |name: &str| Column::along(name, "fraction", axis.clone());
        let one = |name: &str| Column::scalar(name, "fraction");
        vec![
            each("probe_r2"),
            each("limit_r2"),
            each("model_r2"),
            one("mean_probe_r2"),
            one("mean_limit_r2"),
            one("mean_model_r2"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let Ok(toy) = toy(subject.setting) else { return Ok(vec![]) };
        let n = toy.spec.n_features;
        let Evaluated { x_bn, layers, .. } = toy.evaluated(subject.replica, subject.params)?;
        let widths = &toy.spec.d_hidden.0;
        let narrowest = (0..widths.len()).min_by_key(|&l| widths[l]).unwrap_or(0);
        let (hidden_bm, output_bo) = (&layers[narrowest], &layers[layers.len() - 1]);
        let variance_n = variances(&x_bn, n);
        let probe = probes(hidden_bm, &x_bn, &variance_n);
        let limit = match narrowest {
            0 => limits(&Directions::of(subject.params)?, &variance_n),
            _ => vec![f64::NAN; n],
        };
        let model = match toy.spec.copies() && toy.spec.loss == ToyLoss::SquaredError {
            true => explained(output_bo, &x_bn, &variance_n),
            false => vec![f64::NAN; n],
        };
        let mean = |r2: &[f64]| {
            let there: Vec<f64> = r2.iter().zip(&variance_n).filter(|(_, v)| **v > 0.0).map(|(x, _)| *x).collect();
            vec![there.iter().sum::<f64>() / there.len() as f64]
        };
        let means = [&probe, &limit, &model].map(|r2| mean(r2));
        Ok([probe, limit, model].into_iter().chain(means).collect())
    }
}

/// Variance of each column; 0 where it is rounding alone.
pub(super) fn variances(x_bn: &[f64], n: usize) -> Vec<f64> {
    let count = (x_bn.len() / n) as f64;
    let column = |i: usize| x_bn.iter().skip(i).step_by(n);
    let of = |i: usize| {
        let mean = column(i).sum::<f64>() / count;
        let (spread, squares) = column(i).fold((0.0, 0.0), |(d, s), x| (d + (x - mean) * (x - mean), s + x * x));
        // Below this, what varies is rounding.
        if spread <= 1e-20 * squares { 0.0 } else { spread / count }
    };
    (0..n).map(of).collect()
}

/// R² of the least-squares prediction of each column of `x_bn` from `hidden_bm`.
pub(super) fn probes(hidden_bm: &[f64], x_bn: &[f64], variance_n: &[f64]) -> Vec<f64> {
    let n = variance_n.len();
    let count = x_bn.len() / n;
    let m = hidden_bm.len() / count;
    let mean = |values: &[f64], width: usize| -> Vec<f64> {
        (0..width).map(|j| values.iter().skip(j).step_by(width).sum::<f64>() / count as f64).collect()
    };
    let (mean_m, mean_n) = (mean(hidden_bm, m), mean(x_bn, n));
    let (mut hh_mm, mut hx_mn) = (vec![0.0; m * m], vec![0.0; m * n]);
    for (h_m, x_n) in hidden_bm.chunks_exact(m).zip(x_bn.chunks_exact(n)) {
        for j in 0..m {
            let h = (h_m[j] - mean_m[j]) / count as f64;
            hh_mm[j * m..(j + 1) * m]
                .iter_mut()
                .zip(h_m)
                .zip(&mean_m)
                .for_each(|((sum, x), mean)| *sum += h * (x - mean));
            hx_mn[j * n..(j + 1) * n]
                .iter_mut()
                .zip(x_n)
                .zip(&mean_n)
                .for_each(|((sum, x), mean)| *sum += h * (x - mean));
        }
    }
    let covariance = |i: usize| (0..m).map(|j| hx_mn[j * n + i]).collect::<Vec<f64>>();
    leverages(&hh_mm, m, (0..n).map(covariance)).iter().zip(variance_n).map(|(x, variance)| x / variance).collect()
}

/// The same for independent features behind a linear layer.
fn limits(directions: &Directions, variance_n: &[f64]) -> Vec<f64> {
    let (m, n) = (directions.m, directions.n);
    let mut hh_mm = vec![0.0; m * m];
    for (i, variance) in variance_n.iter().enumerate() {
        let w_m = directions.column(i);
        (0..m * m).for_each(|jk| hh_mm[jk] += variance * w_m[jk / m] * w_m[jk % m]);
    }
    let columns = (0..n).map(|i| directions.column(i).to_vec());
    let leverages = leverages(&hh_mm, m, columns);
    leverages.iter().zip(variance_n).map(|(x, v)| if *v == 0.0 { f64::NAN } else { x * v }).collect()
}

/// cᵀ A⁺ c for each of some vectors, A symmetric and not negative.
fn leverages(a_mm: &[f64], m: usize, vectors: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let eigen = symmetric_eigen(a_mm, m);
    let least = RANK * eigen.values_n[0].max(0.0);
    let of = |c_m: Vec<f64>| {
        let terms = eigen.values_n.iter().zip(eigen.vectors_nn.chunks_exact(m)).map(|(value, v_m)| {
            let along: f64 = v_m.iter().zip(&c_m).map(|(v, c)| v * c).sum();
            if *value > least || value.is_nan() { along * along / value } else { 0.0 }
        });
        terms.sum()
    };
    vectors.map(of).collect()
}

/// 1 − mean squared error / variance.
fn explained(output_bn: &[f64], x_bn: &[f64], variance_n: &[f64]) -> Vec<f64> {
    let n = variance_n.len();
    let count = (x_bn.len() / n) as f64;
    let error = |i: usize| {
        let pairs = output_bn.iter().skip(i).step_by(n).zip(x_bn.iter().skip(i).step_by(n));
        pairs.map(|(y, x)| (y - x) * (y - x)).sum::<f64>() / count
    };
    (0..n).map(|i| 1.0 - error(i) / variance_n[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::features::tests::columns;
    use crate::rng::Rng;

    #[test]
    fn limits_are_leverages_and_add_up_to_the_rank() {
        let near = |x: &[f64], y: &[f64]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-12);
        assert!(near(&limits(&columns(&[&[1.0], &[-1.0]]), &[0.3, 0.3]), &[0.5, 0.5]));
        assert!(near(&limits(&columns(&[&[2.0, 0.0], &[0.0, 0.1], &[0.0, 0.0]]), &[1.0, 2.0, 3.0]), &[1.0, 1.0, 0.0]));
        // 4 of variance 1 against 1 of variance 4 in one dimension.
        assert!(near(&limits(&columns(&[&[2.0], &[1.0]]), &[1.0, 4.0]), &[0.5, 0.5]));
        let three = columns(&[&[1.0, 0.2], &[-0.4, 1.0], &[0.7, -0.9]]);
        let sum: f64 = limits(&three, &[0.2, 0.5, 0.9]).iter().sum();
        assert!((sum - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_probe_explains_what_a_linear_layer_lets_it_and_a_perfect_output_everything() {
        // Independent uniform features through a matrix: R² is the leverage, but for the noise of 40,000 examples.
        let (n, count) = (3, 40_000);
        let mut rng = Rng::stream(0, "test");
        let x_bn: Vec<f64> = (0..n * count).map(|i| (1 + i % n) as f64 * rng.uniform_f64()).collect();
        let w = columns(&[&[1.0, 0.2], &[-0.4, 1.0], &[0.7, -0.9]]);
        let hidden = |x_n: &[f64]| {
            (0..2).map(|j| (0..n).map(|i| w.column(i)[j] * x_n[i]).sum::<f64>() + 5.0).collect::<Vec<_>>()
        };
        let hidden_bm: Vec<f64> = x_bn.chunks(n).flat_map(hidden).collect();
        let variance_n = variances(&x_bn, n);
        for (i, variance) in variance_n.iter().enumerate() {
            assert!((variance / ((i + 1) as f64).powi(2) - 1.0 / 12.0).abs() < 2e-3, "{variance}");
        }
        let (found, limit) = (probes(&hidden_bm, &x_bn, &variance_n), limits(&w, &variance_n));
        assert!(found.iter().zip(&limit).all(|(x, y)| (x - y).abs() < 0.01), "{found:?} against {limit:?}");
        assert_eq!(explained(&x_bn, &x_bn, &variance_n), [1.0; 3]);
        // What does not vary but for rounding has no share.
        let constant = variances(&[0.3; 4096], 1);
        assert_eq!(constant, [0.0]);
        assert!(limits(&columns(&[&[1.0]]), &constant)[0].is_nan());
    }
}
