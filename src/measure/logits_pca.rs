//! `logits_pca`: how few directions of class space the logits move in.
//!
//! Reads logits `[N, L, n_classes]`; writes shares of the variance along their principal components. Eigenvalues of the
//! covariance `[n_classes, n_classes]`, sums in example order.

use crate::engine::simd::{axpy, vectorized};
use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::linalg::symmetric_eigen;
use crate::measure::loss::rows;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Shares of the variance of the logits along their principal components.
pub struct LogitsPca;

/// Components that are told apart; those of the canonical model are ten.
const COMPONENTS: usize = 12;

const EXPLAIN: &str = "\
What it is
  Principal components of the logits: the matrix of all (example, loss position) rows by classes, each class around
  its own mean; explained_frac is the fraction of the variance along each of the first 12 components, largest first
  (0 beyond the number of classes). components_90 is how many components have 90 % of it together. Logits that do
  not vary give no value.
Reads
  The logits of all examples.
Unit and range
  explained_frac: fraction, 0 to 1, by component 1 to 12. components_90: components, 1 and up.
Value at a known point
  Logits cos w_k(a+b-c) for one k: 0.5, 0.5, 0 ... and 2 components. Five such frequencies of equal height: 0.1 ten
  times, and 9.
Source
  The usual definition (no rescaling of classes). Nanda et al. 2023 (arXiv 2301.05217), section 4, find that the map
  from neurons to logits has a rank of about 10.";

impl Measure for LogitsPca {
    fn name(&self) -> &'static str {
        "logits_pca"
    }

    fn summary(&self) -> &'static str {
        "variance of the logits along their principal components"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if setting.examples.targets.is_empty() { Err("the task has no class targets".into()) } else { Ok(()) }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        let axis = Axis { name: "component".into(), ticks: (1..=COMPONENTS).map(|i| i as f64).collect() };
        vec![Column::along("explained_frac", "fraction", axis), Column::scalar("components_90", "components")]
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let values = variances(subject);
        let mut explained: Vec<f64> = values.iter().take(COMPONENTS).copied().collect();
        let missing = if values.iter().all(|x| x.is_finite()) { 0.0 } else { f64::NAN };
        explained.resize(COMPONENTS, missing);
        let mut so_far = 0.0;
        let enough = values.iter().position(|x| {
            so_far += x;
            so_far >= 0.9 - 1e-12
        });
        Ok(vec![explained, vec![enough.map_or(f64::NAN, |i| i as f64 + 1.0)]])
    }
}

/// Shares of all components, largest first; NaN when the logits do not vary or are not numbers.
fn variances(subject: &Subject) -> Vec<f64> {
    let c = subject.setting.examples.n_classes;
    let (mut mean_c, mut squares, mut n) = (vec![0.0; c], 0.0, 0.0);
    for (logits, _) in rows(subject) {
        mean_c.iter_mut().zip(logits).for_each(|(mean, x)| *mean += x);
        squares += logits.iter().map(|x| x * x).sum::<f64>();
        n += 1.0;
    }
    mean_c.iter_mut().for_each(|mean| *mean /= n);
    // The lower triangle alone: it is all that the decomposition reads.
    let mut covariance_cc = vec![0.0; c * c];
    let mut centered_c = vec![0.0; c];
    for (logits, _) in rows(subject) {
        for ((centered, x), mean) in centered_c.iter_mut().zip(logits).zip(&mean_c) {
            *centered = x - mean;
        }
        vectorized!(add_outer(&mut covariance_cc, &centered_c));
    }
    let total: f64 = (0..c).map(|i| covariance_cc[i * c + i]).sum();
    // Below this, what varies is rounding.
    if total.is_nan() || total <= 1e-24 * squares {
        return vec![f64::NAN; c];
    }
    symmetric_eigen(&covariance_cc, c).values_n.iter().map(|value| value.max(0.0) / total).collect()
}

/// Lower triangle of a += x xᵀ.
#[inline(always)]
fn add_outer(a_cc: &mut [f64], x_c: &[f64]) {
    for (i, row_c) in a_cc.chunks_exact_mut(x_c.len()).enumerate() {
        axpy(&mut row_c[..=i], x_c[i], &x_c[..=i]);
    }
}
