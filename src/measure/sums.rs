//! Sums over all pairs (a, b) from which every projection onto waves is found, in one pass.
//!
//! Reads one row of numbers a pair (logits by class, or activations by neuron); writes tables `[order, width]` of sums over the
//! pairs of each a + b, each a − b, each a and each b. cos w_k(a+b) and sin w_k(a+b) depend on a + b alone, and the products of
//! cos and sin of w_k a and w_k b are the waves of a + b and of a − b together, so that these tables are all that is needed: one
//! pass costs O(order² · width), a projection O(order · width), and no table over pairs, classes and frequencies is ever made.
//! Source: arXiv 2301.05217, section 5.1.

use crate::engine::simd::{self, vectorized};
use crate::measure::fourier::waves;
use crate::measure::group::{Group, Pairs};

/// What a wave runs along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// cos and sin of w_k(a + b).
    Sum,
    /// cos and sin of w_k(a − b).
    Difference,
    /// cos and sin of w_k a, constant in b.
    A,
    /// cos and sin of w_k b, constant in a.
    B,
}

/// Columns that are added up together.
const COLUMNS: usize = 64;

/// Sums of one replica's rows over the pairs.
#[derive(Debug, Clone)]
pub struct Sums {
    /// The group of the pairs.
    pub group: Group,
    /// `[N]` elements of each example; none for those that are not in the group, which count nowhere.
    pub pairs: Pairs,
    /// Numbers a row.
    pub width: usize,
    /// `[4, order, width]` in the order of [`Along`].
    tables: Vec<f64>,
    /// `[width]` mean over the pairs: the part along the constant.
    pub mean_w: Vec<f64>,
    /// `[width]` sum of squared deviations from the mean, over the pairs.
    pub variation_w: Vec<f64>,
    /// `[width]` sum of squares over the pairs.
    pub squares_w: Vec<f64>,
}

impl Sums {
    /// Adds up the rows of all pairs.
    ///
    /// # Shapes
    /// `x_nw` `[N, width]`
    pub fn new(group: Group, pairs: Pairs, x_nw: &[f64], width: usize) -> Sums {
        let n = group.order;
        let mut tables = vec![0.0; 4 * n * width];
        let [mut mean_w, mut variation_w, mut squares_w] = [0; 3].map(|_| vec![0.0; width]);
        let n_pairs = (n * n) as f64;
        // Some columns at a time, whose parts of the tables stay in cache.
        for first in (0..width).step_by(COLUMNS) {
            let columns = first..(first + COLUMNS).min(width);
            let rows = || {
                pairs
                    .iter()
                    .zip(x_nw.chunks_exact(width))
                    .filter_map(|(&pair, row_w)| Some((pair?, &row_w[columns.clone()])))
            };
            for ((a, b), row_w) in rows() {
                vectorized!({
                    for (table, element) in [group.sum((a, b)), group.difference((a, b)), a, b].into_iter().enumerate()
                    {
                        simd::add(&mut tables[(table * n + element) * width..][columns.clone()], row_w);
                    }
                    for (sum, x) in squares_w[columns.clone()].iter_mut().zip(row_w) {
                        *sum += x * x;
                    }
                });
            }
            let mean_w = &mut mean_w[columns.clone()];
            tables[..n * width].chunks_exact(width).for_each(|sum_w| add(mean_w, &sum_w[columns.clone()]));
            mean_w.iter_mut().for_each(|x| *x /= n_pairs);
            // A second pass, not squares less the squared mean: the difference of two large numbers would lose the digits.
            for (_, row_w) in rows() {
                vectorized!({
                    for ((sum, x), mean) in variation_w[columns.clone()].iter_mut().zip(row_w).zip(&*mean_w) {
                        *sum += (x - mean) * (x - mean);
                    }
                });
            }
        }
        Sums { group, pairs, width, tables, mean_w, variation_w, squares_w }
    }

    /// `[order, width]` sums over the pairs of each element.
    pub fn table(&self, along: Along) -> &[f64] {
        let size = self.group.order * self.width;
        &self.tables[along as usize * size..][..size]
    }

    /// Means over the pairs of each a + b, the task's answer.
    ///
    /// # Shapes
    /// `[order, width]`
    pub fn mean_by_answer(&self) -> Vec<f64> {
        // Every answer has as many pairs as the group has elements.
        self.table(Along::Sum).iter().map(|sum| sum / self.group.order as f64).collect()
    }

    /// Components along cos and sin of frequency `k`, of norm 1 over the pairs; cos alone at the Nyquist frequency.
    ///
    /// # Shapes
    /// One or two vectors `[width]`.
    pub fn components(&self, along: Along, k: usize) -> Vec<Vec<f64>> {
        let n = self.group.order;
        // Each element has as many pairs as the group has elements: a wave of norm 1 over the elements has √n over the pairs.
        let height = (n as f64).sqrt().recip();
        let component = |wave: Vec<f64>| {
            let mut component_w = vec![0.0; self.width];
            for (x, sum_w) in wave.iter().zip(self.table(along).chunks_exact(self.width)) {
                axpy(&mut component_w, x * height, sum_w);
            }
            component_w
        };
        waves(n, k).into_iter().map(component).collect()
    }

    /// The part of the rows along cos and sin of the frequencies, at each element.
    ///
    /// # Shapes
    /// `[order, width]`
    pub fn part(&self, along: Along, freqs: &[usize]) -> Vec<f64> {
        let n = self.group.order;
        let height = (n as f64).sqrt().recip();
        let mut part_sw = vec![0.0; n * self.width];
        for &k in freqs {
            for (wave, component_w) in waves(n, k).iter().zip(self.components(along, k)) {
                for (x, part_w) in wave.iter().zip(part_sw.chunks_exact_mut(self.width)) {
                    axpy(part_w, x * height, &component_w);
                }
            }
        }
        part_sw
    }

    /// Squared components along cos and sin of frequency `k` together.
    ///
    /// # Shapes
    /// `[width]`
    pub fn power(&self, along: Along, k: usize) -> Vec<f64> {
        let mut power_w = vec![0.0; self.width];
        for component_w in self.components(along, k) {
            power_w.iter_mut().zip(component_w).for_each(|(power, x)| *power += x * x);
        }
        power_w
    }

    /// Whether the rows vary by more than rounding; shares of the variation mean something then alone.
    pub fn varies(&self) -> bool {
        self.variation_w.iter().sum::<f64>() > 1e-24 * self.squares_w.iter().sum::<f64>()
    }
}

/// Whether frequency `k` of a group of that order has a cosine alone, so that its waves of a + b and of a − b are one.
pub fn is_nyquist(order: usize, k: usize) -> bool {
    2 * k == order
}

fn add(out: &mut [f64], x: &[f64]) {
    vectorized!(simd::add(out, x));
}

fn axpy(out: &mut [f64], factor: f64, x: &[f64]) {
    vectorized!(simd::axpy(out, factor, x));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Op;
    use std::f64::consts::TAU;

    /// One column, a function of the pair.
    fn sums(n: usize, x: impl Fn(f64, f64) -> f64) -> Sums {
        let group = Group::new(n, Op::Add).expect("sums have a group");
        let pairs: Vec<_> = (0..n * n).map(|i| Some((i / n, i % n))).collect();
        let x_n: Vec<f64> = (0..n * n).map(|i| x((i / n) as f64, (i % n) as f64)).collect();
        Sums::new(group, pairs, &x_n, 1)
    }

    /// What a wave runs along, of a and b.
    type Argument = fn(f64, f64) -> f64;

    #[test]
    fn a_wave_has_all_its_variation_along_what_it_runs_along() {
        for n in [6, 7] {
            let k = n / 2 - 1;
            let w = TAU * k as f64 / n as f64;
            let waves: [(Along, Argument); 4] = [
                (Along::Sum, |a, b| a + b),
                (Along::Difference, |a, b| a - b),
                (Along::A, |a, _| a),
                (Along::B, |_, b| b),
            ];
            for (along, argument) in waves {
                let sums = sums(n, |a, b| 3.0 + 2.0 * (w * argument(a, b) + 0.4).cos());
                assert!((sums.mean_w[0] - 3.0).abs() < 1e-12);
                // 4 cos² has mean 2.
                assert!((sums.variation_w[0] - 2.0 * (n * n) as f64).abs() < 1e-11);
                for (other, _) in waves {
                    let expected = if other == along { sums.variation_w[0] } else { 0.0 };
                    assert!((sums.power(other, k)[0] - expected).abs() < 1e-11, "{along:?} along {other:?}, order {n}");
                }
            }
        }
    }

    #[test]
    fn blocks_of_cos_and_sin_are_sums_and_differences_together() {
        let (n, k) = (7, 2);
        let w = TAU * k as f64 / n as f64;
        let sums = sums(n, |a, b| (w * a).cos() * (w * b).sin());
        let both = sums.power(Along::Sum, k)[0] + sums.power(Along::Difference, k)[0];
        assert!((both - sums.variation_w[0]).abs() < 1e-12 && (both - (n * n) as f64 / 4.0).abs() < 1e-12);
        let (sum_s, difference_d) = (sums.part(Along::Sum, &[k]), sums.part(Along::Difference, &[k]));
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            let kept = sum_s[(a + b) % n] + difference_d[(a + n - b) % n];
            assert!((kept - (w * a as f64).cos() * (w * b as f64).sin()).abs() < 1e-12);
        }
    }
}
