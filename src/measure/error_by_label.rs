//! `error_by_label`: squared error by what the task tells its examples apart by, beside exact predictors where the task has them.
//!
//! Reads outputs `[N, L, outputs]`, the numbers asked for, labels and the split; writes a number a label and column.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::SplitMean;
use crate::measure::loss_by_label::values;
use crate::measure::loss_by_position::baselines;
use crate::measure::rows::{has_numbers, means, misses};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Error by label.
pub struct ErrorByLabel;

const EXPLAIN: &str = "\
What it is
  For tasks of real numbers: the squared error of the measure error_by_position, its mean over all positions, over the
  examples of each label, as the task's family says (phaselab explain FAMILY); NAME_error is that of the task's exact
  predictors on the same test examples.
Reads
  The outputs for all examples, the numbers asked for, the labels, the split of the replica.
Unit and range
  The square of the numbers' unit, along an axis that has the label's name. A label without examples in a split gives
  no value.
Value at a known point
  A model that always answers 0 has the mean square of the numbers asked for, for every label that does not change it.
Source
  The usual definition; errors on the tasks of training and on fresh ones apart as in Raventos et al. 2023 (arXiv
  2306.15063).";

impl Measure for ErrorByLabel {
    fn name(&self) -> &'static str {
        "error_by_label"
    }

    fn summary(&self) -> &'static str {
        "squared error by the task's label, beside exact predictors, for tasks of real numbers"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_numbers(setting)?;
        if setting.examples.labels.is_none() { Err("the task has no labels".into()) } else { Ok(()) }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let name = setting.examples.labels.map_or("label", |labels| labels.name);
        let axis = Axis { name: name.into(), ticks: values(setting).into_iter().map(f64::from).collect() };
        let names = ["train", "test"].iter().chain(baselines(setting));
        names.map(|name| Column::along(&format!("{name}_error"), "1", axis.clone())).collect()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let (setting, examples) = (subject.setting, subject.setting.examples);
        let Some(labels) = examples.labels else { return Ok(vec![]) };
        let values = values(setting);
        let at = |example: usize| values.binary_search(&labels.of[example]).unwrap_or_default();
        let (places, names) = (examples.n_positions(), baselines(setting));
        let losses = setting.baseline_losses();
        let mut sums = vec![vec![SplitMean::default(); values.len()]; 1 + names.len()];
        for miss in misses(subject) {
            sums[0][at(miss.example)].add(miss.train, miss.error);
            for (baseline, sums) in sums[1..].iter_mut().enumerate() {
                let row = miss.example * names.len() + baseline;
                sums[at(miss.example)].add(miss.train, losses[row * places + miss.place]);
            }
        }
        let mut columns = means(&sums[0]).to_vec();
        columns.extend(sums[1..].iter().map(|of| of.iter().map(SplitMean::test).collect()));
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::fixture::numbered;

    #[test]
    fn each_label_has_its_own_error() {
        let got = numbered(&ErrorByLabel);
        assert!(got[0][0].is_nan() && got[0][1] == 2.0, "{got:?}");
        assert_eq!(got[1], [2.5, 0.5]);
    }
}
