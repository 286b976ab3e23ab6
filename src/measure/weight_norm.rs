//! `weight_norm`: sum of squared weights, and the norm of each parameter.
//!
//! Reads all parameters; writes 1 + number of parameters numbers. Source: arXiv 2301.05217, section 5.

use crate::error::Result;
use crate::measure::subject::{Matrix, Setting, Subject};
use crate::measure::{Column, Measure};

/// Σw² and Frobenius norms.
pub struct WeightNorm;

const EXPLAIN: &str = "\
What it is
  sum_w2: the sum of the squares of all parameters, biases and embeddings included. Then one column a parameter, by its
  own name: its Frobenius norm, sqrt(sum of squares).
Reads
  All parameters.
Unit and range
  Dimensionless, 0 and up. sum_w2 is the sum of the squares of the other columns.
Value at a known point
  A parameter of n ones has norm sqrt(n) and adds n to sum_w2.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5: it falls during cleanup.";

impl Measure for WeightNorm {
    fn name(&self) -> &'static str {
        "weight_norm"
    }

    fn summary(&self) -> &'static str {
        "sum of squared weights, and the Frobenius norm of each parameter"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, _: &Setting) -> Result<(), String> {
        Ok(())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let norms = setting.params.iter().map(|param| Column::scalar(&param.name, "1"));
        std::iter::once(Column::scalar("sum_w2", "1")).chain(norms).collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let squares =
            |name: &str| -> Result<f64> { Ok(Matrix::of(subject.params, name)?.values.iter().map(|w| w * w).sum()) };
        let sums: Vec<f64> = subject.setting.params.iter().map(|param| squares(&param.name)).collect::<Result<_>>()?;
        let total: f64 = sums.iter().sum();
        Ok(std::iter::once(total).chain(sums.into_iter().map(f64::sqrt)).map(|x| vec![x]).collect())
    }
}
