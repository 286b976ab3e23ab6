//! Factors without negative numbers: X ≈ W H.
//!
//! Reads X `[p, d]`, no number below 0; writes W `[p, k]` and H `[k, d]`. Multiplicative updates of the squared error, W first:
//! W ← W ∘ X Hᵀ / (W H Hᵀ), H ← H ∘ Wᵀ X / (Wᵀ W H). Source: Lee and Seung 2001.

use super::COMPONENTS;
use crate::engine::simd::{LANES, vectorized};
use crate::rng::Rng;

/// Updates of both factors.
const ROUNDS: usize = 500;
/// What a denominator is at least.
const LEAST: f64 = 1e-30;

/// W and H.
pub struct Factors {
    k: usize,
    d: usize,
    /// `[p, k]`
    w_pk: Vec<f64>,
    /// `[k, d]`
    h_kd: Vec<f64>,
}

/// Factors of `x_pd` with `k` components, from random positive numbers of the right size.
pub fn factors(x_pd: &[f64], p: usize, k: usize) -> Factors {
    let d = x_pd.len() / p;
    let mut rng = Rng::stream(0, "measure/nmf");
    let mean = x_pd.iter().sum::<f64>() / x_pd.len() as f64;
    let height = 2.0 * (mean / k.max(1) as f64).sqrt();
    let mut start = |n: usize| (0..n).map(|_| height * (1.0 - rng.uniform_f64())).collect::<Vec<f64>>();
    let (w_pk, h_kd) = (start(p * k), start(k * d));
    from_start(x_pd, w_pk, h_kd, k)
}

/// Factors from given ones.
pub fn from_start(x_pd: &[f64], w_pk: Vec<f64>, h_kd: Vec<f64>, k: usize) -> Factors {
    let d = h_kd.len() / k.max(1);
    let mut factors = Factors { k, d, w_pk, h_kd };
    for _ in 0..ROUNDS {
        factors.update(x_pd);
    }
    factors
}

impl Factors {
    fn update(&mut self, x_pd: &[f64]) {
        // The number of components is known to the compiled loops, so that their sums stay in registers.
        match self.k {
            0 => {}
            1 => vectorized!(self.update_k::<1>(x_pd)),
            2 => vectorized!(self.update_k::<2>(x_pd)),
            3 => vectorized!(self.update_k::<3>(x_pd)),
            4 => vectorized!(self.update_k::<4>(x_pd)),
            5 => vectorized!(self.update_k::<5>(x_pd)),
            6 => vectorized!(self.update_k::<6>(x_pd)),
            k => unreachable!("invariant: {k} components, at most {COMPONENTS}"),
        }
    }

    #[inline(always)]
    fn update_k<const K: usize>(&mut self, x_pd: &[f64]) {
        let d = self.d;
        let hh = products::<K>(&self.h_kd, &self.h_kd, d);
        let hh_kk: [[f64; K]; K] = std::array::from_fn(|i| std::array::from_fn(|j| hh[i * K + j]));
        let above_pk = products::<K>(x_pd, &self.h_kd, d);
        for (w_k, above_k) in self.w_pk.as_chunks_mut::<K>().0.iter_mut().zip(above_pk.as_chunks::<K>().0) {
            let below = hh_kk.map(|hh_k| plain_dot(w_k, &hh_k));
            for i in 0..K {
                w_k[i] *= above_k[i] / below[i].max(LEAST);
            }
        }
        let w_pk = self.w_pk.as_chunks::<K>().0;
        let mut ww_kk = [[0.0; K]; K];
        for w_k in w_pk {
            for (ww_k, w) in ww_kk.iter_mut().zip(w_k) {
                ww_k.iter_mut().zip(w_k).for_each(|(sum, other)| *sum += w * other);
            }
        }
        let mut at = 0;
        while at < d {
            let n = LANES.min(d - at);
            // Whole lanes; those beyond the last column stay 0.
            let mut above = [[0.0; LANES]; K];
            for (w_k, x_d) in w_pk.iter().zip(x_pd.chunks_exact(d)) {
                let x = lanes(&x_d[at..at + n]);
                for i in 0..K {
                    for l in 0..LANES {
                        above[i][l] = w_k[i].mul_add(x[l], above[i][l]);
                    }
                }
            }
            let h: [[f64; LANES]; K] = std::array::from_fn(|i| lanes(&self.h_kd[i * d + at..][..n]));
            for i in 0..K {
                let mut below = [0.0; LANES];
                for j in 0..K {
                    for l in 0..LANES {
                        below[l] = ww_kk[i][j].mul_add(h[j][l], below[l]);
                    }
                }
                for (l, out) in self.h_kd[i * d + at..][..n].iter_mut().enumerate() {
                    *out = h[i][l] * (above[i][l] / below[l].max(LEAST));
                }
            }
            at += n;
        }
    }

    /// ‖X − W H‖², summed over all entries.
    pub fn square_error(&self, x_pd: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (x_d, w_k) in x_pd.chunks_exact(self.d.max(1)).zip(self.w_pk.chunks(self.k.max(1))) {
            for (j, x) in x_d.iter().enumerate() {
                let modelled: f64 = w_k.iter().enumerate().map(|(i, w)| w * self.h_kd[i * self.d + j]).sum();
                sum += (x - modelled) * (x - modelled);
            }
        }
        sum
    }

    /// W and H.
    #[cfg(test)]
    pub fn both(&self) -> [&[f64]; 2] {
        [&self.w_pk, &self.h_kd]
    }

    /// Columns of W, rows of H having norm 1, largest part first.
    pub fn components(&self) -> Vec<Vec<f64>> {
        let component = |(i, h_d): (usize, &[f64])| {
            let norm = plain_dot(h_d, h_d).sqrt();
            self.w_pk.iter().skip(i).step_by(self.k).map(|w| w * norm).collect::<Vec<f64>>()
        };
        let mut components: Vec<Vec<f64>> = self.h_kd.chunks_exact(self.d.max(1)).enumerate().map(component).collect();
        super::sort_by_part(&mut components, |component_p| plain_dot(component_p, component_p));
        components
    }
}

/// `x_nd` times `h_kd` transposed, `[n, K]`; two rows at a time, so that each number of `h_kd` is read half as often.
#[inline(always)]
fn products<const K: usize>(x_nd: &[f64], h_kd: &[f64], d: usize) -> Vec<f64> {
    let mut out_nk = Vec::with_capacity(x_nd.len() / d * K);
    let pairs = x_nd.chunks_exact(2 * d);
    let rest = pairs.remainder();
    for both in pairs {
        out_nk.extend(dots::<K, 2>([&both[..d], &both[d..]], h_kd).as_flattened());
    }
    if !rest.is_empty() {
        out_nk.extend(dots::<K, 1>([rest], h_kd).as_flattened());
    }
    out_nk
}

/// `R` rows times `h_kd` transposed.
#[inline(always)]
fn dots<const K: usize, const R: usize>(rows: [&[f64]; R], h_kd: &[f64]) -> [[f64; K]; R] {
    let d = rows[0].len();
    let mut sums = [[[0.0; LANES]; K]; R];
    let mut at = 0;
    while at < d {
        let n = LANES.min(d - at);
        let x: [[f64; LANES]; R] = std::array::from_fn(
            #[inline(always)]
            |r| lanes(&rows[r][at..at + n]),
        );
        for i in 0..K {
            let h = lanes(&h_kd[i * d + at..][..n]);
            for r in 0..R {
                for l in 0..LANES {
                    sums[r][i][l] = x[r][l].mul_add(h[l], sums[r][i][l]);
                }
            }
        }
        at += n;
    }
    let mut out = [[0.0; K]; R];
    for (out, sums) in out.iter_mut().zip(&sums) {
        for (out, sums) in out.iter_mut().zip(sums) {
            *out = sums.iter().sum();
        }
    }
    out
}

/// Up to [`LANES`] numbers, zeros behind them.
#[inline(always)]
fn lanes(x: &[f64]) -> [f64; LANES] {
    match x.first_chunk::<LANES>() {
        Some(x) => *x,
        None => {
            let mut whole = [0.0; LANES];
            whole[..x.len()].copy_from_slice(x);
            whole
        }
    }
}

fn plain_dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_separate_blocks_is_found_again() {
        // Two components without overlap: rows 0 to 3 and 4 to 6, columns 0, 1 and 2.
        let w = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [1.0, 0.0], [0.0, 5.0], [0.0, 1.0], [0.0, 4.0]];
        let h = [[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]];
        let x: Vec<f64> = w.iter().flat_map(|w| (0..3).map(move |j| w[0] * h[0][j] + w[1] * h[1][j])).collect();
        let found = factors(&x, 7, 2);
        assert!(found.square_error(&x) < 1e-20, "{}", found.square_error(&x));
        let components = found.components();
        // Norms of W's columns with H's at 1: √15 · 5 and √42 · 2.
        let expected = [w.map(|w| 5.0 * w[0]), w.map(|w| 2.0 * w[1])];
        for (component, expected) in components.iter().zip(expected) {
            assert!(component.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-9), "{component:?}");
        }
    }

    #[test]
    fn no_update_makes_the_error_larger() {
        let x: Vec<f64> = (0..40).map(|i| f64::from((i * 7 + 3) % 11)).collect();
        let mut found = factors(&x, 8, 3);
        let mut before = f64::INFINITY;
        for _ in 0..20 {
            found.update(&x);
            let error = found.square_error(&x);
            assert!(error <= before * (1.0 + 1e-12), "{error} after {before}");
            before = error;
        }
    }
}
