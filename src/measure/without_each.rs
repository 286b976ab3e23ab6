//! The training loss without the waves of one frequency, for every frequency.
//!
//! Reads logits and, for each frequency, what to take away as tables over a + b and a − b; writes one loss a frequency.
//! exp(logit − wave) is exp(logit) exp(−wave), and the waves' exponentials are tables: the exponentials cost
//! O(pairs · classes + order · classes · frequencies) instead of pairs times classes times frequencies, of which only products
//! and sums are left. Where a number leaves the range of these products the loss is computed as usual.

use crate::engine::Real;
use crate::engine::simd::{LANES, sum, vectorized};
use crate::measure::loss::cross_entropy;
use crate::measure::projection::row;
use crate::measure::subject::Subject;
use crate::measure::sums::Sums;

/// Above this, products of exponentials could leave the range of numbers. Two waves of this size move a class by at most four times as
/// much against the target: what exp(logit - target's) loses below e^-745 then stays below e^-145.
const MAX_NATS: f64 = 150.0;

/// What is taken away: `[order, n_classes]` at each a + b, and at each a − b.
pub struct Taken {
    /// At a + b.
    pub sum_sc: Vec<f64>,
    /// At a − b, if anything.
    pub difference_dc: Option<Vec<f64>>,
}

/// Training pairs with the exponentials of their logits.
pub struct TrainRows<'a> {
    sums: &'a Sums,
    /// (logits, a + b, a − b)
    rows: Vec<(&'a [f64], usize, usize)>,
    /// `[rows, n_classes]` exp(logit − target's logit); 0 for the target.
    exp_nc: Vec<f64>,
}

impl<'a> TrainRows<'a> {
    /// The training pairs of a subject.
    pub fn new(subject: &Subject<'a>, sums: &'a Sums) -> TrainRows<'a> {
        let all = subject.logits.chunks_exact(sums.width).zip(&sums.pairs).zip(subject.train_mask);
        let train = all.filter(|(_, train)| **train);
        let rows: Vec<_> = train
            .filter_map(|((logits_c, pair), _)| {
                pair.map(|pair| (logits_c, sums.group.sum(pair), sums.group.difference(pair)))
            })
            .collect();
        let mut exp_nc = Vec::with_capacity(rows.len() * sums.width);
        for &(logits_c, s, _) in &rows {
            let target = sums.group.residues[s];
            exp_nc.extend(logits_c.iter().map(|x| (x - logits_c[target]).exp()));
            let start = exp_nc.len() - sums.width;
            exp_nc[start + target] = 0.0;
        }
        TrainRows { sums, rows, exp_nc }
    }

    /// The mean loss when `taken` is subtracted from the logits; NaN without training pairs.
    pub fn loss_without(&self, taken: &Taken) -> f64 {
        let width = self.sums.width;
        let small = |table: &[f64]| table.iter().all(|x| x.abs() <= MAX_NATS);
        let tables = small(&taken.sum_sc) && taken.difference_dc.as_deref().is_none_or(small);
        let exp = |table: &[f64]| -> Vec<f64> {
            let mut exp = vec![f64::NAN; table.len()];
            if tables {
                vectorized!(exp.iter_mut().zip(table).for_each(
                    #[inline(always)]
                    |(exp, x)| *exp = Real::exp(-*x)
                ));
            }
            exp
        };
        let (sum_sc, difference_dc) = (exp(&taken.sum_sc), taken.difference_dc.as_deref().map(exp));
        let mut total = 0.0;
        for (&(logits_c, s, d), exp_c) in self.rows.iter().zip(self.exp_nc.chunks_exact(width)) {
            let target = self.sums.group.residues[s];
            let of_sum = row(&sum_sc, width, s);
            let rest = match &difference_dc {
                None => vectorized!(dot3(exp_c, of_sum, None)) / of_sum[target],
                Some(difference_dc) => {
                    let of_difference = row(difference_dc, width, d);
                    vectorized!(dot3(exp_c, of_sum, Some(of_difference))) / (of_sum[target] * of_difference[target])
                }
            };
            total += if rest.is_finite() { rest.ln_1p() } else { direct(logits_c, taken, (s, d), target) };
        }
        total / self.rows.len() as f64
    }
}

/// The loss of one pair, without products of exponentials.
fn direct(logits_c: &[f64], taken: &Taken, (s, d): (usize, usize), target: usize) -> f64 {
    let width = logits_c.len();
    let mut left_c: Vec<f64> = logits_c.iter().zip(row(&taken.sum_sc, width, s)).map(|(x, wave)| x - wave).collect();
    if let Some(difference_dc) = &taken.difference_dc {
        left_c.iter_mut().zip(row(difference_dc, width, d)).for_each(|(x, wave)| *x -= wave);
    }
    cross_entropy(&left_c, target as u32)
}

/// Σ a · b, or Σ a · b · c.
#[inline(always)]
fn dot3(a: &[f64], b: &[f64], c: Option<&[f64]>) -> f64 {
    let mut lanes = [0.0; LANES];
    match c {
        None => {
            for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
                lanes.iter_mut().zip(a).zip(b).for_each(
                    #[inline(always)]
                    |((lane, a), b)| *lane += a * b,
                );
            }
        }
        Some(c) => {
            for ((a, b), c) in a.chunks(LANES).zip(b.chunks(LANES)).zip(c.chunks(LANES)) {
                lanes.iter_mut().zip(a).zip(b).zip(c).for_each(
                    #[inline(always)]
                    |(((lane, a), b), c)| *lane += a * b * c,
                );
            }
        }
    }
    sum(&lanes)
}
