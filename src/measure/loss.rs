//! `loss`: cross-entropy and accuracy on the training and the test split.
//!
//! Reads logits `[N, L, n_classes]`, targets and the split; writes four numbers. All sums in f64, in example order.

use crate::engine::simd::{LANES, sum, vectorized};
use crate::engine::{Hook, LOSS_LOGITS, Real};
use crate::error::Result;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Cross-entropy and accuracy by split.
pub struct Loss;

const EXPLAIN: &str = "\
What it is
  Mean over examples and loss positions of -log softmax(logits)[target], and the fraction of them whose largest logit
  is the target's, for the training and the test split apart. Log-softmax is computed in f64. Of equal largest logits
  the lowest index counts as the answer. Positions where nothing is asked do not count. An empty split, or a logit
  that is not a number, gives no value.
Reads
  The logits of all examples, the targets, the split of the replica.
Unit and range
  train_loss_nats, test_loss_nats: nats, 0 and up. train_acc_frac, test_acc_frac: fraction, 0 to 1.
Value at a known point
  Equal logits over n classes: ln n nats (4.727 for n = 113).
Source
  The usual definitions; f64 as in Nanda et al. 2023 (arXiv 2301.05217).";

impl Measure for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn summary(&self) -> &'static str {
        "cross-entropy and accuracy on the training and the test split"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if setting.examples.targets.is_empty() { Err("the task has no class targets".into()) } else { Ok(()) }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![
            Column::scalar("train_loss_nats", "nats"),
            Column::scalar("test_loss_nats", "nats"),
            Column::scalar("train_acc_frac", "fraction"),
            Column::scalar("test_acc_frac", "fraction"),
        ]
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let examples = &subject.setting.examples;
        let (mut loss, mut acc) = (SplitMean::default(), SplitMean::default());
        for (row, (logits, &target)) in rows(subject).enumerate() {
            if examples.weights.is_some_and(|weights| weights[row] == 0.0) {
                continue;
            }
            let train = subject.train_mask[row / examples.n_positions()];
            let [nats, right] = score(logits, target);
            loss.add(train, nats);
            acc.add(train, right);
        }
        Ok(vec![vec![loss.train()], vec![loss.test()], vec![acc.train()], vec![acc.test()]])
    }
}

/// Every row of logits `[n_classes]` with its target, in example order.
pub fn rows<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (&'a [f64], &'a u32)> {
    let examples = &subject.setting.examples;
    subject.logits.chunks_exact(examples.n_classes).zip(examples.targets)
}

/// Cross-entropy, and whether the largest logit is the target's: 1 or 0, and NaN where the cross-entropy is.
pub fn score(logits: &[f64], target: u32) -> [f64; 2] {
    let nats = cross_entropy(logits, target);
    [nats, if nats.is_nan() { nats } else { f64::from(argmax(logits) == target as usize) }]
}

/// Whether the largest logit is the target's: 1 or 0, and NaN where a logit is not finite.
pub fn is_right(logits: &[f64], target: u32) -> f64 {
    match logits.iter().all(|x| x.is_finite()) {
        true => f64::from(argmax(logits) == target as usize),
        false => f64::NAN,
    }
}

/// −log softmax(logits)\[target\], nats.
///
/// ln(1 + Σ exp(logit − target's)) over the other classes, so that a loss of 1e-12 keeps its digits.
pub fn cross_entropy(logits: &[f64], target: u32) -> f64 {
    let own = logits[target as usize];
    let mut others = logits.to_vec();
    others[target as usize] = f64::NEG_INFINITY;
    let rest = vectorized!(sum_exp(&others, own));
    if rest.is_finite() { rest.ln_1p() } else { far_cross_entropy(logits, target) }
}

/// The same when logits lie hundreds of nats above the target's.
fn far_cross_entropy(logits: &[f64], target: u32) -> f64 {
    let top = argmax(logits);
    let max = logits[top];
    let rest: f64 = logits.iter().enumerate().filter(|&(i, _)| i != top).map(|(_, x)| (x - max).exp()).sum();
    rest.ln_1p() + (max - logits[target as usize])
}

/// Σ exp(x − shift).
#[inline(always)]
fn sum_exp(x: &[f64], shift: f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x16, rest) = x.as_chunks::<LANES>();
    for x in x16 {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane += Real::exp(x - shift);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += Real::exp(x - shift);
    }
    sum(&lanes)
}

/// Index of the largest number; the lowest of equal ones.
pub fn argmax(logits: &[f64]) -> usize {
    let mut top = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[top] {
            top = i;
        }
    }
    top
}

/// Means over the training examples, the test examples and all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SplitMean {
    sums: [f64; 2],
    counts: [usize; 2],
}

impl SplitMean {
    /// Takes one number in.
    pub fn add(&mut self, train: bool, x: f64) {
        self.sums[usize::from(train)] += x;
        self.counts[usize::from(train)] += 1;
    }

    /// Mean over the training split; NaN when it is empty.
    pub fn train(&self) -> f64 {
        self.sums[1] / self.counts[1] as f64
    }

    /// Mean over the test split; NaN when it is empty.
    pub fn test(&self) -> f64 {
        self.sums[0] / self.counts[0] as f64
    }

    /// Mean over both; NaN when both are empty.
    pub fn all(&self) -> f64 {
        (self.sums[0] + self.sums[1]) / (self.counts[0] + self.counts[1]) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_ln_n_and_the_lowest_index_wins() {
        let logits = [0.5; 113];
        assert!((cross_entropy(&logits, 60) - 113f64.ln()).abs() < 1e-13);
        assert_eq!(argmax(&logits), 0);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }

    #[test]
    fn a_tiny_loss_keeps_its_digits() {
        // -ln(1 / (1 + e^-40)) = e^-40 to first order; through ln(sum) it would round to 0.
        let loss = cross_entropy(&[40.0, 0.0], 0);
        assert!((loss / (-40f64).exp() - 1.0).abs() < 1e-12, "{loss:e}");
    }

    #[test]
    fn far_and_near_agree_and_a_target_hundreds_of_nats_below_still_has_a_loss() {
        for logits in [[0.3, -2.0, 5.0], [600.0, -100.0, 0.0], [-40.0, 40.0, 3.0]] {
            for target in 0..3 {
                let (near, far) = (cross_entropy(&logits, target), far_cross_entropy(&logits, target));
                assert!((near - far).abs() <= 1e-14 * far, "{logits:?}, {target}: {near} and {far}");
            }
        }
        assert_eq!(cross_entropy(&[0.0, 2000.0], 0), 2000.0);
    }

    #[test]
    fn nan_logits_and_empty_splits_give_no_number() {
        assert!(cross_entropy(&[f64::NAN, 0.0], 1).is_nan() && cross_entropy(&[0.0, f64::NAN], 0).is_nan());
        let mut mean = SplitMean::default();
        mean.add(true, 2.0);
        mean.add(true, 4.0);
        assert_eq!((mean.train(), mean.all()), (3.0, 3.0));
        assert!(mean.test().is_nan());
    }
}
