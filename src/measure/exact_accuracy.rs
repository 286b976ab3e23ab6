//! `exact_accuracy`: how many examples are answered right at every position.
//!
//! Reads logits `[N, L, n_classes]`, targets and the split; writes two numbers.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::SplitMean;
use crate::measure::rows::{exact, has_classes};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Share of examples without a mistake.
pub struct ExactAccuracy;

const EXPLAIN: &str = "\
What it is
  The fraction of examples of which every answer that is asked for is right, each by its largest logit, given the right
  tokens before it: lists sorted without a mistake, sums with all their digits. Of equal largest logits the lowest
  index counts as the answer. An empty split, or a logit that is not a number, gives no value.
Reads
  The logits of all examples, the targets, the split of the replica.
Unit and range
  train_exact_frac, test_exact_frac: fraction, 0 to 1.
Value at a known point
  A model right at each of L positions with chance q, independently: q^L. With one position it is the accuracy.
Source
  The usual definition, also called sequence accuracy or exact match.";

impl Measure for ExactAccuracy {
    fn name(&self) -> &'static str {
        "exact_accuracy"
    }

    fn summary(&self) -> &'static str {
        "fraction of examples answered right at every position"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_classes(setting)
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        ["train_exact_frac", "test_exact_frac"].map(|name| Column::scalar(name, "fraction")).into()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let mut mean = SplitMean::default();
        for (right, &train) in exact(subject).into_iter().zip(subject.train_mask) {
            mean.add(train, right);
        }
        Ok(vec![vec![mean.train()], vec![mean.test()]])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measure::fixture::answered;

    #[test]
    fn one_wrong_answer_spoils_an_example_and_what_is_not_asked_does_not() {
        // Classes answered, and the targets: two positions, three examples; the last one's second answer is not asked for.
        let got =
            answered(&ExactAccuracy, &[[0, 1], [1, 1], [2, 0]], &[[0, 1], [1, 2], [2, 2]], &[1., 1., 1., 1., 1., 0.]);
        assert_eq!(got, [vec![1.0], vec![0.5]]);
    }
}
