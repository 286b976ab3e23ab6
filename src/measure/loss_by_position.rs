//! `loss_by_position`: cross-entropy and accuracy at each position that is asked, beside exact predictors where the task has them.
//!
//! Reads logits `[N, L, n_classes]`, targets, the split; writes a number a loss position and column.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::SplitMean;
use crate::measure::rows::{answers, has_classes, means};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Loss along the sequence.
pub struct LossByPosition;

const EXPLAIN: &str = "\
What it is
  The loss and accuracy of the measure loss, at each position whose logits enter the loss: the digits of a sum, the
  items of a list, the tokens of a text. For tasks with exact predictors (bayes, unigram) NAME_loss_nats is the mean
  loss of theirs on the same test examples: what there is to be had. in_context_score_nats is the test loss at the last
  position that is asked minus the one a tenth of the way there: below 0 where a model predicts late tokens better
  than early ones. Positions where an example asks nothing do not count.
Reads
  The logits of all examples, the targets, the split of the replica.
Unit and range
  nats and fractions, along the axis position, counted from 0. A split without examples gives no value.
Value at a known point
  Equal logits over n classes: ln n nats at every position, and an in-context score of 0.
Source
  The usual definitions; the in-context score as in Olsson et al. 2022 (arXiv 2209.11895), which takes the 500th token
  and the 50th.";

impl Measure for LossByPosition {
    fn name(&self) -> &'static str {
        "loss_by_position"
    }

    fn summary(&self) -> &'static str {
        "cross-entropy and accuracy at each position, beside exact predictors; in-context score"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_classes(setting)?;
        if setting.loss_positions.is_empty() {
            Err("nobody knows at which positions it is asked".into())
        } else {
            Ok(())
        }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let ticks = setting.loss_positions.iter().map(|&t| t as f64).collect();
        let axis = Axis { name: "position".into(), ticks };
        let along = |name: &str, unit| Column::along(name, unit, axis.clone());
        let mut columns = vec![
            along("train_loss_nats", "nats"),
            along("test_loss_nats", "nats"),
            along("train_acc_frac", "fraction"),
            along("test_acc_frac", "fraction"),
        ];
        columns.extend(baselines(setting).iter().map(|name| along(&format!("{name}_loss_nats"), "nats")));
        columns.push(Column::scalar("in_context_score_nats", "nats"));
        columns
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let places = subject.setting.loss_positions.len();
        let (mut loss, mut acc) = (vec![SplitMean::default(); places], vec![SplitMean::default(); places]);
        for answer in answers(subject) {
            let [nats, right] = answer.score();
            loss[answer.place].add(answer.train, nats);
            acc[answer.place].add(answer.train, right);
        }
        let ([train_loss, test_loss], [train_acc, test_acc]) = (means(&loss), means(&acc));
        let in_context = test_loss[places - 1] - test_loss[places / 10];
        let mut columns = vec![train_loss, test_loss, train_acc, test_acc];
        columns.extend(baseline_losses(subject, places));
        columns.push(vec![in_context]);
        Ok(columns)
    }
}

pub(super) fn baselines(setting: &Setting) -> &'static [&'static str] {
    setting.examples.rule.map_or(&[], |rule| rule.baselines())
}

/// The mean loss of each exact predictor over the test examples, `[baselines][places]`.
pub(super) fn baseline_losses(subject: &Subject, places: usize) -> Vec<Vec<f64>> {
    let examples = subject.setting.examples;
    let names = baselines(subject.setting);
    if names.is_empty() {
        return vec![];
    }
    let mut sums = vec![vec![SplitMean::default(); places]; names.len()];
    for (example, losses) in subject.setting.baseline_losses().chunks_exact(names.len() * places).enumerate() {
        for (sums, losses) in sums.iter_mut().zip(losses.chunks_exact(places)) {
            for (place, (sum, &loss)) in sums.iter_mut().zip(losses).enumerate() {
                if examples.weights.is_none_or(|weights| weights[example * places + place] != 0.0) {
                    sum.add(subject.train_mask[example], loss);
                }
            }
        }
    }
    sums.iter().map(|of| of.iter().map(SplitMean::test).collect()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measure::fixture::answered;

    #[test]
    fn each_position_has_its_own_loss() {
        let got =
            answered(&LossByPosition, &[[0, 1], [1, 1], [2, 0]], &[[0, 1], [1, 2], [2, 2]], &[1., 1., 1., 1., 1., 0.]);
        // Logits are 4 for the answer and 0 for the two others; the first example is for training.
        let (right, wrong) = ((2.0 * (-4f64).exp()).ln_1p(), (1.0 + 4f64.exp() + 1.0).ln());
        let close = |got: &[f64], expected: &[f64]| got.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12);
        assert!(close(&got[0], &[right, right]) && close(&got[1], &[right, wrong]), "{got:?}");
        assert_eq!((&got[2], &got[3]), (&vec![1.0, 1.0], &vec![1.0, 0.0]));
        assert!(close(&got[4], &[wrong - right]));
    }
}
