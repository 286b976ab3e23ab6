//! Independent components: directions in which whitened numbers are least normal.
//!
//! Reads Z `[k, p]`, rows of mean 0, variance 1 and no correlation; writes sources `[k, p]`. FastICA with g = tanh, all directions at
//! once: W ← decorrelate(E\[g(W Z) Zᵀ\] − diag(E\[g′(W Z)\]) W). Source: Hyvärinen 1999.

use crate::engine::Real;
use crate::engine::simd::vectorized;
use crate::linalg::symmetric_eigen;
use crate::rng::Rng;

const ROUNDS: usize = 1000;
/// Directions that turn by less stand still.
const STILL: f64 = 1e-10;

/// The sources W Z.
pub fn sources(z_kp: &[f64], k: usize, p: usize) -> Vec<f64> {
    let mut start_kk = vec![0.0; k * k];
    Rng::stream(0, "measure/ica").fill_normal(&mut start_kk);
    let w_kk = directions(z_kp, k, p, start_kk);
    product(&w_kk, z_kp, k, p)
}

/// W, from a start.
fn directions(z_kp: &[f64], k: usize, p: usize, start_kk: Vec<f64>) -> Vec<f64> {
    let mut w_kk = decorrelate(start_kk, k);
    for _ in 0..ROUNDS {
        let mut g_kp = product(&w_kk, z_kp, k, p);
        vectorized!(g_kp.iter_mut().for_each(
            #[inline(always)]
            |x| *x = Real::tanh(*x)
        ));
        let mut next_kk = vec![0.0; k * k];
        for (i, g_p) in g_kp.chunks_exact(p).enumerate() {
            let slope = g_p.iter().map(|g| 1.0 - g * g).sum::<f64>() / p as f64;
            for (j, z_p) in z_kp.chunks_exact(p).enumerate() {
                let mean = g_p.iter().zip(z_p).map(|(g, z)| g * z).sum::<f64>() / p as f64;
                next_kk[i * k + j] = mean - slope * w_kk[i * k + j];
            }
        }
        let next_kk = decorrelate(next_kk, k);
        let turned = (next_kk.chunks_exact(k.max(1)).zip(w_kk.chunks_exact(k.max(1))))
            .map(|(next, before)| (next.iter().zip(before).map(|(x, y)| x * y).sum::<f64>().abs() - 1.0).abs())
            .fold(0.0, f64::max);
        w_kk = next_kk;
        if turned < STILL {
            break;
        }
    }
    w_kk
}

/// (W Wᵀ)^(−1/2) W: the nearest rows that are orthonormal.
fn decorrelate(w_kk: Vec<f64>, k: usize) -> Vec<f64> {
    if k == 0 {
        return w_kk;
    }
    let row = |i: usize| &w_kk[i * k..(i + 1) * k];
    let ww: Vec<f64> = (0..k * k).map(|ij| row(ij / k).iter().zip(row(ij % k)).map(|(x, y)| x * y).sum()).collect();
    let eigen = symmetric_eigen(&ww, k);
    let mut root_kk = vec![0.0; k * k];
    for (value, v_k) in eigen.values_n.iter().zip(eigen.vectors_nn.chunks_exact(k)) {
        for (i, x) in v_k.iter().enumerate() {
            root_kk[i * k..(i + 1) * k].iter_mut().zip(v_k).for_each(|(sum, y)| *sum += x * y / value.sqrt());
        }
    }
    product(&root_kk, &w_kk, k, k)
}

/// `a_kk` times `b_kn`.
fn product(a_kk: &[f64], b_kn: &[f64], k: usize, n: usize) -> Vec<f64> {
    let mut out_kn = vec![0.0; k * n];
    for (a_k, out_n) in a_kk.chunks_exact(k.max(1)).zip(out_kn.chunks_exact_mut(n.max(1))) {
        for (a, b_n) in a_k.iter().zip(b_kn.chunks_exact(n)) {
            out_n.iter_mut().zip(b_n).for_each(|(sum, b)| *sum += a * b);
        }
    }
    out_kn
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A saw and a square wave, of mean 0 and variance 1, without correlation, mixed by a rotation.
    #[test]
    fn a_rotation_of_two_sources_is_undone() {
        let n = 60;
        let square: Vec<f64> = (0..n).map(|i| if i % 4 < 2 { 1.0 } else { -1.0 }).collect();
        let saw: Vec<f64> = {
            let raw = (0..n).map(|i| (i / 4) as f64 - 7.0);
            let scale = (raw.clone().map(|x| x * x).sum::<f64>() / n as f64).sqrt();
            raw.map(|x| x / scale).collect()
        };
        let (sin, cos) = 0.7f64.sin_cos();
        let mixed: Vec<f64> = [(cos, sin), (-sin, cos)]
            .iter()
            .flat_map(|&(u, v)| square.iter().zip(&saw).map(move |(x, y)| u * x + v * y))
            .collect();
        let found = sources(&mixed, 2, n);
        for source in [&square, &saw] {
            let best = found.chunks_exact(n).map(|row| row.iter().zip(source).map(|(x, y)| x * y).sum::<f64>().abs());
            let best = best.fold(0.0, f64::max) / n as f64;
            assert!((best - 1.0).abs() < 1e-6, "{best}");
        }
    }

    #[test]
    fn decorrelated_rows_are_orthonormal() {
        let w = decorrelate(vec![2.0, 1.0, 0.5, 0.0, 1.0, -1.0, 3.0, 0.2, 0.7], 3);
        for i in 0..3 {
            for j in 0..3 {
                let dot: f64 = (0..3).map(|n| w[3 * i + n] * w[3 * j + n]).sum();
                assert!((dot - f64::from(i == j)).abs() < 1e-12, "{i} {j}: {dot}");
            }
        }
    }
}
