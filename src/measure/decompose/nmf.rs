//! Factors without negative numbers: X ≈ W H.
//!
//! Reads X `[p, d]`, no number below 0; writes W `[p, k]` and H `[k, d]`. Multiplicative updates of the squared error, W first:
//! W ← W ∘ X Hᵀ / (W H Hᵀ), H ← H ∘ Wᵀ X / (Wᵀ W H). Source: Lee and Seung 2001.

use crate::engine::simd::{axpy, dot, vectorized};
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
        let (k, d) = (self.k, self.d);
        if k == 0 {
            return;
        }
        let h_kd = &self.h_kd;
        let row = |i: usize| &h_kd[i * d..(i + 1) * d];
        let hh_kk: Vec<f64> = (0..k * k).map(|ij| vectorized!(dot(row(ij / k), row(ij % k)))).collect();
        for (w_k, x_d) in self.w_pk.chunks_exact_mut(k).zip(x_pd.chunks_exact(d)) {
            let below: Vec<f64> = hh_kk.chunks_exact(k).map(|hh_k| plain_dot(w_k, hh_k)).collect();
            for (i, (w, below)) in w_k.iter_mut().zip(below).enumerate() {
                *w *= vectorized!(dot(x_d, row(i))) / below.max(LEAST);
            }
        }
        let mut above_kd = vec![0.0; k * d];
        let mut ww_kk = vec![0.0; k * k];
        for (w_k, x_d) in self.w_pk.chunks_exact(k).zip(x_pd.chunks_exact(d)) {
            for (i, &w) in w_k.iter().enumerate() {
                let above_d = &mut above_kd[i * d..(i + 1) * d];
                vectorized!(axpy(above_d, w, x_d));
                ww_kk[i * k..(i + 1) * k].iter_mut().zip(w_k).for_each(|(sum, other)| *sum += w * other);
            }
        }
        let mut below_kd = vec![0.0; k * d];
        for (i, below_d) in below_kd.chunks_exact_mut(d).enumerate() {
            for (j, h_d) in self.h_kd.chunks_exact(d).enumerate() {
                vectorized!(axpy(below_d, ww_kk[i * k + j], h_d));
            }
        }
        for ((h, above), below) in self.h_kd.iter_mut().zip(above_kd).zip(below_kd) {
            *h *= above / below.max(LEAST);
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
