//! `error_by_position`: squared error at each position that is asked, beside exact predictors where the task has them.
//!
//! Reads outputs `[N, L, outputs]`, the numbers asked for, the split; writes a number a loss position and column.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::SplitMean;
use crate::measure::loss_by_position::{baseline_losses, baselines};
use crate::measure::rows::{has_numbers, means, misses};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Error along the sequence.
pub struct ErrorByPosition;

const EXPLAIN: &str = "\
What it is
  For tasks of real numbers: the squared error, its mean over the outputs, at each position where numbers are asked
  for. For tasks with exact predictors (least_squares, bayes) NAME_error is the mean of theirs on the same test
  examples: what there is to be had. Positions where an example asks nothing do not count.
Reads
  The outputs for all examples, the numbers asked for, the split of the replica.
Unit and range
  The square of the numbers' unit, along the axis position, counted from 0. A split without examples gives no value.
Value at a known point
  A model that always answers 0 has the mean square of the numbers asked for: 5 for linear functions of 5 numbers.
Source
  The usual definition; beside least squares as in Garg et al. 2022 (arXiv 2208.01066), whose figures divide by the
  numbers in x.";

impl Measure for ErrorByPosition {
    fn name(&self) -> &'static str {
        "error_by_position"
    }

    fn summary(&self) -> &'static str {
        "squared error at each position, beside exact predictors, for tasks of real numbers"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_numbers(setting)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let ticks = setting.loss_positions.iter().map(|&t| t as f64).collect();
        let axis = Axis { name: "position".into(), ticks };
        let names = ["train", "test"].iter().chain(baselines(setting));
        names.map(|name| Column::along(&format!("{name}_error"), "1", axis.clone())).collect()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let places = subject.setting.loss_positions.len();
        let mut errors = vec![SplitMean::default(); places];
        for miss in misses(subject) {
            errors[miss.place].add(miss.train, miss.error);
        }
        let mut columns = means(&errors).to_vec();
        columns.extend(baseline_losses(subject, places));
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::fixture::numbered;

    #[test]
    fn each_position_has_its_own_error() {
        assert_eq!(numbered(&ErrorByPosition), [[2.0, 2.0], [2.5, 0.5]]);
    }
}
