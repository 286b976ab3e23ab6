//! `logits_trajectory`: a replica's way through the principal components of its own logits over training.
//!
//! Reads logits at every checkpoint; writes coordinates. Source: the usual definition; Mao et al. 2024 (arXiv 2305.01604)
//! follow networks through the space of their predictions.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::course::{Course, Scope};
use crate::measure::loss::rows;
use crate::measure::subject::{Examples, Setting, Subject};
use crate::measure::{Column, Measure, trajectory};

/// Principal components of the logits over training.
pub struct LogitsTrajectory;

/// Numbers that a point has at most, unless a single row has more.
const POINT_LEN: usize = 1 << 18;

const EXPLAIN: &str = "\
What it is
  Principal components of what a replica computes, over the checkpoints of the range: each checkpoint is the point of
  its logits (every row around the row's mean, which softmax does not see), around the mean of all checkpoints.
  coordinate is where the checkpoint stands along the first 4 components, explained_frac their share of the variance
  over checkpoints (the same at every step), travelled the length of the way from the first checkpoint through all
  others. A component's sign, which the definition leaves open, makes its coordinate of largest magnitude positive (of
  equal ones the first). Of all (example, loss position) rows every j-th is read, from the first on, with the least j
  at which a point has at most 262,144 numbers and that has no factor in common with the number of rows, so that no
  operand is passed over: j = 1 up to p = 64, 6 at p = 113.
Reads
  The logits at all checkpoints of the range.
Unit and range
  coordinate and travelled: nats, as logits have; both grow with the number of rows. explained_frac: fraction, 0 to 1,
  by component 1 to 4.
Value at a known point
  Logits that only grow by a factor: one component with fraction 1.
Source
  The usual definition, through inner products of the checkpoints (Gram matrix). Networks seen in the space of what
  they predict: Mao et al. 2024 (arXiv 2305.01604), who use probabilities and another distance.";

impl Measure for LogitsTrajectory {
    fn name(&self) -> &'static str {
        "logits_trajectory"
    }

    fn summary(&self) -> &'static str {
        "a replica's way through the principal components of its logits over training"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if setting.examples.targets.is_empty() { Err("the task has no class targets".into()) } else { Ok(()) }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        trajectory::columns("nats")
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Course(self)
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let stride = stride(&subject.setting.examples);
        let kept = rows(subject).step_by(stride).map(|(logits, _)| logits);
        let centered = kept.flat_map(|logits| {
            let mean = logits.iter().sum::<f64>() / logits.len() as f64;
            logits.iter().map(move |x| x - mean)
        });
        Ok(vec![centered.collect()])
    }
}

impl Course for LogitsTrajectory {
    fn point_len(&self, setting: &Setting) -> usize {
        let examples = &setting.examples;
        examples.targets.len().div_ceil(stride(examples)) * examples.n_classes
    }

    fn trace(&self, points_sn: &[Vec<f64>]) -> Vec<Vec<f64>> {
        trajectory::trace(points_sn)
    }
}

/// Every how many rows one is read: the least number at which a point is small enough, without a factor in common with the number of
/// rows (and so with the length of a row of pairs).
fn stride(examples: &Examples) -> usize {
    let (n, rows) = (examples.targets.len(), (POINT_LEN / examples.n_classes.max(1)).max(1));
    let least = n.div_ceil(rows).max(1);
    (least..).find(|&stride| common_factor(stride, n) == 1).unwrap_or(least)
}

/// The greatest number that divides both.
fn common_factor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_factor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stride_is_the_least_that_fits_and_meets_every_operand() {
        let of_rows = |p: usize, n: usize| {
            let targets = vec![0; n];
            stride(&Examples { n_examples: n, n_classes: p, targets: &targets, ..Examples::default() })
        };
        let stride_of = |p: usize| of_rows(p, p * p);
        assert_eq!((stride_of(59), stride_of(63), stride_of(113)), (1, 1, 6));
        assert_eq!(stride_of(64), 1, "64³ is 2¹⁸");
        assert_eq!(stride_of(65), 2);
        // Quotients: rows of p - 1 divisors. 4 would be enough, and divides 96.
        let (p, stride) = (97, of_rows(97, 97 * 96));
        assert_eq!(stride, 5);
        let seen: std::collections::BTreeSet<usize> = (0..p * (p - 1)).step_by(stride).map(|i| i % (p - 1)).collect();
        assert_eq!(seen.len(), p - 1);
    }
}
