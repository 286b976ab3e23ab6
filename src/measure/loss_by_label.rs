//! `loss_by_label`: cross-entropy, accuracy and whole examples by what the task tells its examples apart by.
//!
//! Reads logits `[N, L, n_classes]`, targets, labels and the split; writes a number a label and column.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::SplitMean;
use crate::measure::rows::{answers, exact, has_classes, means};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Loss by carries, length, depth, …
pub struct LossByLabel;

const EXPLAIN: &str = "\
What it is
  The loss and accuracy of the measure loss, and exact_accuracy, over the examples of each label: the number of
  carries of a sum, the length of a list, the depth of brackets, as the task's family says (phaselab explain FAMILY).
Reads
  The logits of all examples, the targets, the labels, the split of the replica.
Unit and range
  nats and fractions, along an axis that has the label's name. A label without examples in a split gives no value.
Value at a known point
  Equal logits over n classes: ln n nats for every label.
Source
  The usual definitions.";

impl Measure for LossByLabel {
    fn name(&self) -> &'static str {
        "loss_by_label"
    }

    fn summary(&self) -> &'static str {
        "cross-entropy and accuracy by the task's label: carries, length, depth, ..."
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_classes(setting)?;
        if setting.examples.labels.is_none() { Err("the task has no labels".into()) } else { Ok(()) }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let name = setting.examples.labels.map_or("label", |labels| labels.name);
        let axis = Axis { name: name.into(), ticks: values(setting).into_iter().map(f64::from).collect() };
        let names = ["loss_nats", "acc_frac", "exact_frac"];
        let along = |name: &str, split: &str| {
            let unit = if name == "loss_nats" { "nats" } else { "fraction" };
            Column::along(&format!("{split}_{name}"), unit, axis.clone())
        };
        names.iter().flat_map(|name| ["train", "test"].map(|split| along(name, split))).collect()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let values = values(subject.setting);
        let Some(labels) = subject.setting.examples.labels else { return Ok(vec![]) };
        let at = |example: usize| values.binary_search(&labels.of[example]).unwrap_or_default();
        let none = vec![SplitMean::default(); values.len()];
        let (mut loss, mut acc, mut whole) = (none.clone(), none.clone(), none);
        for answer in answers(subject) {
            let [nats, right] = answer.score();
            loss[at(answer.example)].add(answer.train, nats);
            acc[at(answer.example)].add(answer.train, right);
        }
        for (example, right) in exact(subject).into_iter().enumerate() {
            whole[at(example)].add(subject.train_mask[example], right);
        }
        Ok([loss, acc, whole].iter().flat_map(|of| means(of)).collect())
    }
}

/// The labels that occur, ascending.
pub(super) fn values(setting: &Setting) -> Vec<u32> {
    let mut values = setting.examples.labels.map(|labels| labels.of.clone()).unwrap_or_default();
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measure::fixture::answered;

    #[test]
    fn each_label_has_its_own_numbers() {
        // Labels of the three examples are 3, 1, 3; the first is for training.
        let got = answered(&LossByLabel, &[[0, 1], [1, 1], [2, 0]], &[[0, 1], [1, 2], [2, 2]], &[1.; 6]);
        let [train_acc, test_acc, train_exact, test_exact] = [2, 3, 4, 5].map(|i| &got[i]);
        assert!(train_acc[0].is_nan() && train_acc[1] == 1.0 && train_exact[1] == 1.0, "{got:?}");
        assert_eq!((test_acc, test_exact), (&vec![0.5, 0.5], &vec![0.0, 0.0]));
    }
}
