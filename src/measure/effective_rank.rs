//! `effective_rank`: how many directions each weight matrix uses.
//!
//! Reads all matrices, and W_L; writes two numbers a matrix. Sources: Roy and Vetterli 2007; Rudelson and Vershynin 2007.

use crate::error::Result;
use crate::linalg::singular_values;
use crate::measure::subject::{Matrix, Setting, Subject};
use crate::measure::weights::w_l_fits;
use crate::measure::{Column, Measure};

/// Effective and stable rank of each weight matrix.
pub struct EffectiveRank;

const EXPLAIN: &str = "\
What it is
  With s_i the singular values of a matrix and q_i = s_i / sum_j s_j: NAME.effective_rank = exp(-sum_i q_i ln q_i), the
  exponential of their entropy; NAME.stable_rank = sum_i s_i^2 / max_i s_i^2, the squared Frobenius norm over the
  squared spectral norm. The heads of W_Q, W_K and W_V stand side by side, [d_model, n_heads d_head], those of W_O one
  above the other, [n_heads d_head, d_model]. W_L = W_out W_U (as key_freqs_w_l) is added for modular tasks. Biases
  have none.
Reads
  All parameters with two or more axes.
Unit and range
  Dimensionless, 1 to the smaller side of the matrix; stable_rank is at most the rank. No value for a matrix of zeros.
Value at a known point
  An orthogonal n x n matrix: n and n. A matrix of rank 1: 1 and 1. Singular values 3 and 1: 1.755 and 10/9.
Source
  Roy and Vetterli 2007, \"The effective rank: a measure of effective dimensionality\" (EUSIPCO); Rudelson and Vershynin
  2007 (J. ACM 54) for the stable rank.";

impl Measure for EffectiveRank {
    fn name(&self) -> &'static str {
        "effective_rank"
    }

    fn summary(&self) -> &'static str {
        "effective rank (exp of entropy) and stable rank of each weight matrix"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if names(setting).next().is_some() { Ok(()) } else { Err("the model has no weight matrix".into()) }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let all = names(setting).map(str::to_owned).chain(w_l_fits(setting).is_ok().then(|| "W_L".to_owned()));
        let two =
            |name: String| ["effective_rank", "stable_rank"].map(|rank| Column::scalar(&format!("{name}.{rank}"), "1"));
        all.flat_map(two).collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let mut numbers = vec![];
        for name in names(subject.setting) {
            let shape = subject.setting.shape(name).unwrap_or_default();
            let (values, n_cols) = side_by_side(Matrix::of(subject.params, name)?, name, shape);
            numbers.extend(ranks(&values, n_cols));
        }
        if let Ok(group) = w_l_fits(subject.setting) {
            let w_l = subject.w_l()?;
            numbers.extend(ranks(w_l, w_l.len() / group.order));
        }
        Ok(numbers.into_iter().map(|x| vec![x]).collect())
    }
}

/// Parameters that are matrices.
fn names<'a>(setting: &'a Setting) -> impl Iterator<Item = &'a str> {
    let is_bias = |name: &str| name.rsplit('.').next().is_some_and(|last| last.starts_with("b_"));
    let matrices = setting.params.iter().filter(move |param| param.shape.len() >= 2 && !is_bias(&param.name));
    matrices.map(|param| param.name.as_str())
}

/// The numbers and columns of a matrix, with the heads of W_Q, W_K and W_V side by side.
fn side_by_side(matrix: Matrix, name: &str, shape: &[usize]) -> (Vec<f64>, usize) {
    let (&[n_heads, d_model, d_head], false) = (shape, name.ends_with("W_O")) else {
        return (matrix.values.to_vec(), matrix.n_cols);
    };
    let at = |d: usize, h: usize| &matrix.values[(h * d_model + d) * d_head..][..d_head];
    let rows = (0..d_model).flat_map(|d| (0..n_heads).flat_map(move |h| at(d, h)));
    (rows.copied().collect(), n_heads * d_head)
}

/// Effective and stable rank.
fn ranks(values: &[f64], n_cols: usize) -> [f64; 2] {
    let singular = singular_values(values, values.len() / n_cols, n_cols);
    let sum: f64 = singular.iter().sum();
    let squares: f64 = singular.iter().map(|s| s * s).sum();
    let largest = singular.first().copied().unwrap_or(0.0);
    if sum.is_nan() || largest <= 0.0 {
        return [f64::NAN; 2];
    }
    let entropy: f64 = singular.iter().map(|s| s / sum).filter(|&q| q > 0.0).map(|q| -q * q.ln()).sum();
    [entropy.exp(), squares / (largest * largest)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_known_singular_values() {
        let close = |got: [f64; 2], expected: [f64; 2]| got.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12);
        assert!(close(ranks(&[1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0], 3), [3.0, 3.0]));
        assert!(close(ranks(&[1.0, 2.0, 2.0, 4.0], 2), [1.0, 1.0]));
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!(close(ranks(&[3.0, 0.0, 0.0, 1.0], 2), [entropy.exp(), 10.0 / 9.0]));
        assert!(ranks(&[0.0; 4], 2)[0].is_nan() && ranks(&[f64::NAN; 4], 2)[1].is_nan());
    }

    #[test]
    fn heads_of_the_three_projections_stand_side_by_side() {
        let values: Vec<f64> = (0..8).map(f64::from).collect();
        let matrix = Matrix { n_rows: 4, n_cols: 2, values: &values };
        let (joined, n_cols) = side_by_side(matrix, "blocks.0.attn.W_Q", &[2, 2, 2]);
        assert_eq!((joined, n_cols), (vec![0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0], 4));
        assert_eq!(side_by_side(matrix, "blocks.0.attn.W_O", &[2, 2, 2]), (values.clone(), 2));
    }
}
