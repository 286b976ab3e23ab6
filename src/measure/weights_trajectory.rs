//! `weights_trajectory`: a replica's way through the principal components of its own checkpoints.
//!
//! Reads all parameters at every checkpoint; writes coordinates. Source: Lorch 2016; the usual definition.

use crate::error::Result;
use crate::measure::course::{Course, Scope};
use crate::measure::subject::{Matrix, Setting, Subject};
use crate::measure::{Column, Measure, trajectory};

/// Principal components of the flattened parameters over training.
pub struct WeightsTrajectory;

const EXPLAIN: &str = "\
What it is
  Principal components of a replica's flattened parameters over the checkpoints of the range: each checkpoint is a
  point of parameter space, around the mean of all of them. coordinate is where the checkpoint stands along the first
  4 components, explained_frac their share of the variance over checkpoints (the same at every step), travelled the
  length of the way from the first checkpoint through all others. A component's sign, which the definition leaves
  open, makes its coordinate of largest magnitude positive (of equal ones the first). The components are those of the
  range and of the replica: other checkpoints give others. Checkpoints that lie closer in step weigh more together.
Reads
  All parameters at all checkpoints of the range, biases and embeddings included, in their own units.
Unit and range
  coordinate and travelled: the parameters' own unit (1). explained_frac: fraction, 0 to 1, by component 1 to 4.
Value at a known point
  Parameters on a straight line: one component with fraction 1. On a circle with even steps: two with 0.5.
Source
  The usual definition, through inner products of the checkpoints (Gram matrix); Lorch 2016, Visualizing deep network
  training trajectories with PCA. A smooth random walk already looks like cosines of the step along its components
  (Antognini and Sohl-Dickstein 2018, arXiv 1806.08805): a curve alone is no phase.";

impl Measure for WeightsTrajectory {
    fn name(&self) -> &'static str {
        "weights_trajectory"
    }

    fn summary(&self) -> &'static str {
        "a replica's way through the principal components of its parameters over training"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if setting.params.is_empty() { Err("the model has no parameters".into()) } else { Ok(()) }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        trajectory::columns("1")
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Course(self)
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let mut point = vec![];
        for param in &subject.setting.params {
            point.extend(Matrix::of(subject.params, &param.name)?.values);
        }
        Ok(vec![point])
    }
}

impl Course for WeightsTrajectory {
    fn point_len(&self, setting: &Setting) -> usize {
        setting.params.iter().map(|param| param.shape.iter().product::<usize>()).sum()
    }

    fn trace(&self, points_sn: &[Vec<f64>]) -> Vec<Vec<f64>> {
        trajectory::trace(points_sn)
    }
}
