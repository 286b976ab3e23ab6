//! The training loss without the waves of one frequency, for every frequency.
//!
//! Reads logits and, for each frequency, what to take away as tables over a + b and a − b; writes one loss a frequency.
//! exp(logit − wave) is exp(logit) exp(−wave), and the waves' exponentials are tables: the exponentials cost
//! O(pairs · classes + order · classes · frequencies) instead of pairs times classes times frequencies, of which only products
//! and sums are left. Where a number leaves the range of these products the loss is computed as usual.

use crate::engine::Real;
use crate::engine::simd::{LANES, sum, vectorized};
use crate::linalg::product_t;
use crate::measure::loss::cross_entropy;
use crate::measure::projection::row;
use crate::measure::subject::Subject;
use crate::measure::sums::Sums;

/// Above this, products of exponentials could leave the range of numbers. Two waves of this size move a class by at most four times as
/// much against the target: what exp(logit - target's) loses below e^-745 then stays below e^-145.
const MAX_NATS: f64 = 150.0;

/// What is taken away for one frequency: `[order, n_classes]` at each a + b, and at each a − b.
pub struct Taken {
    /// At a + b.
    pub sum_sc: Vec<f64>,
    /// At a − b, if anything.
    pub difference_dc: Option<Vec<f64>>,
}

/// Numbers in the tables of the frequencies that are worked on together: 32 MB.
const AT_ONCE: usize = 1 << 22;

/// Training pairs with the exponentials of their logits, in the order of a + b.
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
        let mut rows: Vec<_> = train
            .filter_map(|((logits_c, pair), _)| {
                pair.map(|pair| (logits_c, sums.group.sum(pair), sums.group.difference(pair)))
            })
            .collect();
        rows.sort_by_key(|&(_, s, _)| s);
        let mut exp_nc = Vec::with_capacity(rows.len() * sums.width);
        for &(logits_c, s, _) in &rows {
            let target = sums.group.residues[s];
            exp_nc.extend(logits_c.iter().map(|x| (x - logits_c[target]).exp()));
            let start = exp_nc.len() - sums.width;
            exp_nc[start + target] = 0.0;
        }
        TrainRows { sums, rows, exp_nc }
    }

    /// The mean loss when what `taken` gives for a frequency is subtracted from the logits, for each of `1..=n_freqs`; NaN without
    /// training pairs.
    pub fn losses_without(&self, n_freqs: usize, taken: impl Fn(usize) -> Taken) -> Vec<f64> {
        let freqs: Vec<usize> = (1..=n_freqs).collect();
        let at_once = (AT_ONCE / (self.sums.group.order * self.sums.width).max(1)).max(1);
        freqs
            .chunks(at_once)
            .flat_map(|freqs| self.losses(&freqs.iter().map(|&k| taken(k)).collect::<Vec<_>>()))
            .collect()
    }

    fn losses(&self, taken_k: &[Taken]) -> Vec<f64> {
        let (width, n_freqs) = (self.sums.width, taken_k.len());
        let small = |table: &[f64]| table.iter().all(|x| x.abs() <= MAX_NATS);
        let is_small: Vec<bool> = taken_k
            .iter()
            .map(|taken| small(&taken.sum_sc) && taken.difference_dc.as_deref().is_none_or(small))
            .collect();
        // `[order, frequencies, n_classes]`, so that what a pair reads lies together.
        let exponentials = |table_k: &[&[f64]]| -> Vec<f64> {
            let mut exp_skc = vec![f64::NAN; self.sums.group.order * n_freqs * width];
            for (i, exp_c) in exp_skc.chunks_exact_mut(width).enumerate() {
                let (s, k) = (i / n_freqs, i % n_freqs);
                if is_small[k] {
                    vectorized!(exp_c.iter_mut().zip(row(table_k[k], width, s)).for_each(
                        #[inline(always)]
                        |(exp, x)| *exp = Real::exp(-*x)
                    ));
                }
            }
            exp_skc
        };
        let sum_skc = exponentials(&taken_k.iter().map(|taken| &taken.sum_sc[..]).collect::<Vec<_>>());
        let differences: Option<Vec<&[f64]>> = taken_k.iter().map(|taken| taken.difference_dc.as_deref()).collect();
        let difference_dkc = differences.map(|table_k| exponentials(&table_k));
        let mut totals = vec![0.0; n_freqs];
        let mut first = 0;
        for rows in self.rows.chunk_by(|one, other| one.1 == other.1) {
            let exp_nc = &self.exp_nc[first * width..][..rows.len() * width];
            let s = rows[0].1;
            let of_sum_kc = row(&sum_skc, n_freqs * width, s);
            let target = self.sums.group.residues[s];
            // Σ over classes, `[pairs, frequencies]`: a matrix product where the pair has no table of its own.
            let others_nk = match &difference_dkc {
                None => product_t(exp_nc, of_sum_kc, width),
                Some(difference_dkc) => {
                    let pairs = rows.iter().zip(exp_nc.chunks_exact(width));
                    let of_pair = |(&(_, _, d), exp_c): (&(_, _, usize), &[f64])| {
                        let of_difference_kc = row(difference_dkc, n_freqs * width, d);
                        let both = of_sum_kc.chunks_exact(width).zip(of_difference_kc.chunks_exact(width));
                        both.map(|(sum_c, difference_c)| vectorized!(dot3(exp_c, sum_c, difference_c)))
                            .collect::<Vec<_>>()
                    };
                    pairs.flat_map(of_pair).collect()
                }
            };
            for (&(logits_c, s, d), others_k) in rows.iter().zip(others_nk.chunks_exact(n_freqs)) {
                for (k, (total, others)) in totals.iter_mut().zip(others_k).enumerate() {
                    let of_difference =
                        difference_dkc.as_ref().map_or(1.0, |table| row(table, n_freqs * width, d)[k * width + target]);
                    let rest = others / (of_sum_kc[k * width + target] * of_difference);
                    *total +=
                        if rest.is_finite() { rest.ln_1p() } else { direct(logits_c, &taken_k[k], (s, d), target) };
                }
            }
            first += rows.len();
        }
        totals.iter().map(|total| total / self.rows.len() as f64).collect()
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

/// Σ a · b · c.
#[inline(always)]
fn dot3(a: &[f64], b: &[f64], c: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for ((a, b), c) in a.chunks(LANES).zip(b.chunks(LANES)).zip(c.chunks(LANES)) {
        lanes.iter_mut().zip(a).zip(b).zip(c).for_each(
            #[inline(always)]
            |(((lane, a), b), c)| *lane += a * b * c,
        );
    }
    sum(&lanes)
}
