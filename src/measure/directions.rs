//! The columns of a toy model's encoder: one direction of the hidden space for each feature.
//!
//! Reads `W`, or `W_0` of a model that is not tied, `[m, n]`, and the matrix after it; nothing is written here. Shared by the measures and
//! figures of toy models.

use crate::error::Result;
use crate::measure::Axis;
use crate::measure::subject::{Matrix, Setting, ToySetting};
use crate::tensor::Tensor;
use crate::toy::{W, W_FIRST, W_OUT, W_SECOND};

/// A feature whose direction is at least this long counts as represented.
pub const LEARNED: f64 = 0.5;

/// Columns of the encoder.
#[derive(Debug, Clone)]
pub struct Directions {
    /// Hidden numbers, m.
    pub m: usize,
    /// Features, n.
    pub n: usize,
    /// `[n, m]`: a feature's direction a row.
    pub w_nm: Vec<f64>,
}

/// The toy models of a run.
///
/// # Errors
/// That the run is of a task, as a clause.
pub fn toy<'s, 'a>(setting: &'s Setting<'a>) -> Result<&'s ToySetting<'a>, String> {
    setting.toy.as_ref().ok_or_else(|| "the run is of a task, not of toy models".into())
}

/// What the neurons of the first hidden layer write with, `[m, outputs of the next layer]`: for a tied model its only matrix.
///
/// # Errors
/// [`Error::Unknown`](crate::error::Error::Unknown) for parameters of another model.
pub fn read_out(params: &[Tensor]) -> Result<Vec<f64>> {
    let has = |name: &str| params.iter().any(|tensor| tensor.name == name);
    if has(W) {
        return Ok(Matrix::of(params, W)?.values.to_vec());
    }
    let Matrix { n_rows, n_cols: m, values } = Matrix::of(params, if has(W_SECOND) { W_SECOND } else { W_OUT })?;
    Ok((0..m).flat_map(|j| (0..n_rows).map(move |o| values[o * m + j])).collect())
}

/// The axis of columns with a number for each feature.
pub(super) fn feature_axis(setting: &Setting) -> Axis {
    let n = toy(setting).map_or(0, |toy| toy.spec.n_features);
    Axis { name: "feature".into(), ticks: (0..n).map(|i| i as f64).collect() }
}

impl Directions {
    /// Those of a replica's parameters.
    ///
    /// # Errors
    /// [`Error::Unknown`](crate::error::Error::Unknown) for parameters of another model.
    pub fn of(params: &[Tensor]) -> Result<Directions> {
        let name = if params.iter().any(|tensor| tensor.name == W) { W } else { W_FIRST };
        let Matrix { n_rows: m, n_cols: n, values } = Matrix::of(params, name)?;
        let w_nm = (0..n).flat_map(|i| (0..m).map(move |j| values[j * n + i])).collect();
        Ok(Directions { m, n, w_nm })
    }

    /// Direction of a feature, `[m]`.
    pub fn column(&self, i: usize) -> &[f64] {
        &self.w_nm[i * self.m..(i + 1) * self.m]
    }

    /// Its length.
    pub fn norm(&self, i: usize) -> f64 {
        self.dot(i, i).sqrt()
    }

    /// Product of two features' directions: an entry of WᵀW.
    pub fn dot(&self, i: usize, j: usize) -> f64 {
        self.column(i).iter().zip(self.column(j)).map(|(x, y)| x * y).sum()
    }

    /// Σ over other features of the squared part of their directions along this one's: 0 for one that is orthogonal to all.
    pub fn interference(&self, i: usize) -> f64 {
        let norm = self.norm(i);
        (0..self.n).filter(|&j| j != i).map(|j| (self.dot(i, j) / norm).powi(2)).sum()
    }

    /// ‖W_i‖² / Σ_j (Ŵ_i · W_j)²: the share of a dimension that the feature has.
    pub fn dimensionality(&self, i: usize) -> f64 {
        let square = self.dot(i, i);
        square / (square + self.interference(i))
    }

    /// m / ‖W‖²_F: dimensions for each feature, where features that are represented have length 1.
    pub fn dims_per_feature(&self) -> f64 {
        self.m as f64 / self.w_nm.iter().map(|x| x * x).sum::<f64>()
    }
}
