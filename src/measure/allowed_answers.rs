//! `allowed_answers`: how often a model's answer is one of several right ones.
//!
//! Reads logits `[N, L, n_classes]` and, from the task's rule, the classes that are right at each loss position; writes four numbers.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::{SplitMean, argmax};
use crate::measure::rows::answers;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Legal moves, valid brackets, years that are late enough.
pub struct AllowedAnswers;

const EXPLAIN: &str = "\
What it is
  For tasks in which several answers can be right (legal moves, brackets that may follow, any shortest path): the
  fraction of answers whose largest logit is a right class, and the mean probability (softmax) of all right classes
  together, for the training and the test split. The target is one of them, so that the accuracy of loss is lower.
Reads
  The logits of all examples, the operands, the split of the replica.
Unit and range
  fraction, 0 to 1. An empty split, or a logit that is not a number, gives no value.
Value at a known point
  Equal logits over n classes of which k are right: a probability of k/n.
Source
  For Othello: 1 minus the error rate of Li et al. 2023 (arXiv 2210.13382).";

impl Measure for AllowedAnswers {
    fn name(&self) -> &'static str {
        "allowed_answers"
    }

    fn summary(&self) -> &'static str {
        "where several answers are right (legal moves): how often one of them is given"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        let examples = setting.examples;
        let first = examples.operands.first();
        let several = examples.rule.zip(first).and_then(|(rule, operands)| rule.allowed(operands));
        if several.is_some() { Ok(()) } else { Err("the task has one right answer".into()) }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        let names = ["train_allowed_frac", "test_allowed_frac", "train_allowed_prob", "test_allowed_prob"];
        names.map(|name| Column::scalar(name, "fraction")).into()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let examples = subject.setting.examples;
        let Some(rule) = examples.rule else { return Ok(vec![]) };
        let (mut hits, mut mass) = (SplitMean::default(), SplitMean::default());
        let (mut of, mut allowed) = (usize::MAX, vec![]);
        for answer in answers(subject) {
            if of != answer.example {
                of = answer.example;
                allowed = rule.allowed(&examples.operands[of]).unwrap_or_default();
            }
            let [hit, probability] = share(answer.logits, &allowed[answer.place]);
            hits.add(answer.train, hit);
            mass.add(answer.train, probability);
        }
        Ok([hits, mass].iter().flat_map(|of| [vec![of.train()], vec![of.test()]]).collect())
    }
}

/// Whether the largest logit is one of `right`, and the probability of all of them.
fn share(logits: &[f64], right: &[u32]) -> [f64; 2] {
    let top = argmax(logits);
    let weights: Vec<f64> = logits.iter().map(|x| (x - logits[top]).exp()).collect();
    let all: f64 = weights.iter().sum();
    let mass: f64 = right.iter().map(|&class| weights[class as usize]).sum();
    let hit = if all.is_nan() { f64::NAN } else { f64::from(right.contains(&(top as u32))) };
    [hit, mass / all]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_spread_evenly_and_a_large_one_decides() {
        assert_eq!(share(&[0.0; 4], &[1, 2]), [0.0, 0.5]);
        let [hit, mass] = share(&[0.0, 0.0, 3f64.ln(), 0.0], &[1, 2]);
        assert!(hit == 1.0 && (mass - 4.0 / 6.0).abs() < 1e-15);
        assert!(share(&[f64::NAN, 0.0], &[0])[0].is_nan());
    }
}
