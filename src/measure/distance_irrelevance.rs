//! `distance_irrelevance`: whether the logits care how far apart the operands are: a clock does not, a pizza does.
//!
//! Reads logits over all pairs; writes two numbers. Source: arXiv 2306.17844, definition 4.2.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::group;
use crate::measure::loss::rows;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// How little of the logits' spread is due to the operands' distance.
pub struct DistanceIrrelevance;

const EXPLAIN: &str = "\
What it is
  Let L[a,b] be the logit of the right answer of a+b. For each distance d = a-b mod p take the standard deviation of
  L over the p pairs with that distance; distance_irrelevance is the mean of these over d, divided by the standard
  deviation of L over all pairs (both of a population, without correction). For x-y the distance is a+b; for x*y and
  x/y, a and b are discrete logarithms, so that it is a/b and a*b, and pairs with 0 are left out.
  largest_wrong_logit is the same number of the largest logit among the other classes, as the published code writes
  into its table of runs. All L equal give no value.
Reads
  The logits of all pairs.
Unit and range
  Dimensionless, 0 (the distance decides) to 1 (it says nothing).
Value at a known point
  L = f(a-b): 0. L = f(a+b): 1 for odd p. The paper's pizza has 0.17, its clock 0.85; it puts the border near 0.4.
Source
  Zhong et al. 2023 (arXiv 2306.17844), definition 4.2, and train-main.py of its published code.";

impl Measure for DistanceIrrelevance {
    fn name(&self) -> &'static str {
        "distance_irrelevance"
    }

    fn summary(&self) -> &'static str {
        "clock (near 1) or pizza (near 0): whether logits ignore the operands' distance"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        group::sum_fits(setting).map(|_| ())
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("distance_irrelevance", "1"), Column::scalar("largest_wrong_logit", "1")]
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let (group, pairs) = subject.pairs()?;
        let mut right_d: Vec<Vec<f64>> = vec![vec![]; group.order];
        let mut wrong_d = right_d.clone();
        for ((logits, &target), &pair) in rows(subject).zip(&pairs) {
            let Some(pair) = pair else { continue };
            let distance = group.difference(pair);
            let target = target as usize;
            right_d[distance].push(logits[target]);
            let others = logits[..target].iter().chain(&logits[target + 1..]);
            wrong_d[distance].push(others.fold(f64::NEG_INFINITY, |top, &x| if x <= top { top } else { x }));
        }
        Ok(vec![vec![irrelevance(&right_d)], vec![irrelevance(&wrong_d)]])
    }
}

/// Mean of the deviations within groups over the deviation of all; NaN when nothing varies.
fn irrelevance(groups: &[Vec<f64>]) -> f64 {
    let within = groups.iter().map(|group| deviation(group.iter())).sum::<f64>() / groups.len() as f64;
    let all = deviation(groups.iter().flatten());
    let size = groups.iter().flatten().map(|x| x.abs()).fold(0.0, f64::max);
    // Below this, what varies is rounding.
    if all > 1e-12 * size { within / all } else { f64::NAN }
}

/// Standard deviation of a population.
fn deviation<'a>(x: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    let n = x.clone().count() as f64;
    let mean = x.clone().sum::<f64>() / n;
    (x.map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_group_is_0_and_what_does_not_is_1() {
        assert_eq!(irrelevance(&[vec![1.0, 1.0], vec![5.0, 5.0]]), 0.0);
        assert!((irrelevance(&[vec![1.0, 5.0], vec![5.0, 1.0]]) - 1.0).abs() < 1e-15);
        // Deviations 1 and 3 within, means 0 and 0: √5 in all.
        assert!((irrelevance(&[vec![-1.0, 1.0], vec![3.0, -3.0]]) - 2.0 / 5f64.sqrt()).abs() < 1e-15);
        assert!(irrelevance(&[vec![0.1, 0.1], vec![0.1, 0.1]]).is_nan());
        assert!(irrelevance(&[vec![f64::NAN, 1.0], vec![2.0, 3.0]]).is_nan());
    }
}
