//! Principal components: of a few points in a large space, through the matrix of their inner products; of the rows of a matrix, through
//! its singular values.
//!
//! Reads S points `[n]`; writes coordinates on the first components and their shares of the variance. Memory is S² numbers
//! beside the points, whatever n. The sign of a component, which the definition leaves open, is that which makes the
//! coordinate of largest magnitude positive (of those that are equal to nine digits, the first).

use crate::engine::simd::{dot, vectorized};
use crate::linalg::{svd, symmetric_eigen};

/// Principal components of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    /// `[S, k]` coordinates of the centred points.
    pub coordinates_sk: Vec<f64>,
    /// `[k]` fraction of the variance along each component; NaN when nothing varies.
    pub explained_k: Vec<f64>,
}

/// The first `k` principal components of `points_sn`, S points of one length; components beyond S − 1 are 0.
///
/// Distances are taken from the last point, so that a small move far from the origin keeps its digits.
pub fn pca(points_sn: &[impl AsRef<[f64]>], k: usize) -> Pca {
    let s = points_sn.len();
    let Some(last_n) = points_sn.last() else { return Pca { coordinates_sk: vec![], explained_k: vec![f64::NAN; k] } };
    let moved = |point: &[f64]| -> Vec<f64> { point.iter().zip(last_n.as_ref()).map(|(x, last)| x - last).collect() };
    let mut gram_ss = vec![0.0; s * s];
    for (i, one) in points_sn.iter().enumerate() {
        let one_n = moved(one.as_ref());
        for (j, other) in points_sn[..=i].iter().enumerate() {
            let product = inner(&one_n, other.as_ref(), last_n.as_ref());
            gram_ss[i * s + j] = product;
            gram_ss[j * s + i] = product;
        }
    }
    center(&mut gram_ss, s);
    let eigen = symmetric_eigen(&gram_ss, s);
    // Rounding leaves eigenvalues of the size of 1e-16 of the largest, of either sign.
    let floor = eigen.values_n[0] * 1e-14;
    let total: f64 = (0..s).map(|i| gram_ss[i * s + i]).sum();
    // A point that is not of numbers leaves no component.
    let nothing = if total.is_finite() { 0.0 } else { f64::NAN };
    let mut coordinates_sk = vec![nothing; s * k];
    let mut explained_k = vec![if total > 0.0 { 0.0 } else { f64::NAN }; k];
    for (component, (&value, vector_s)) in
        eigen.values_n.iter().zip(eigen.vectors_nn.chunks_exact(s)).take(k).enumerate()
    {
        if value <= floor || nothing.is_nan() {
            continue;
        }
        let sign = sign(vector_s);
        for (row_k, &x) in coordinates_sk.chunks_exact_mut(k).zip(vector_s) {
            row_k[component] = sign * value.sqrt() * x;
        }
        explained_k[component] = value / total;
    }
    Pca { coordinates_sk, explained_k }
}

/// (one − last) · (other − last), where `one_n` is moved already; in parts, whose sums are added in order.
fn inner(one_n: &[f64], other_n: &[f64], last_n: &[f64]) -> f64 {
    const PART: usize = 512;
    let mut moved = [0.0; PART];
    let mut sum = 0.0;
    for ((one, other), last) in one_n.chunks(PART).zip(other_n.chunks(PART)).zip(last_n.chunks(PART)) {
        for ((moved, other), last) in moved.iter_mut().zip(other).zip(last) {
            *moved = other - last;
        }
        let moved = &moved[..one.len()];
        sum += vectorized!(dot(one, moved));
    }
    sum
}

/// The inner products of the same points around their mean.
fn center(gram_ss: &mut [f64], s: usize) {
    let mean_s: Vec<f64> = gram_ss.chunks_exact(s).map(|row| row.iter().sum::<f64>() / s as f64).collect();
    let mean = mean_s.iter().sum::<f64>() / s as f64;
    for (row_s, row_mean) in gram_ss.chunks_exact_mut(s).zip(&mean_s) {
        for (x, column_mean) in row_s.iter_mut().zip(&mean_s) {
            *x += mean - row_mean - column_mean;
        }
    }
}

/// The rows of a matrix in principal components.
#[derive(Debug, Clone)]
pub struct Rows {
    /// `[d]`
    pub mean_d: Vec<f64>,
    /// `[p, d]` the rows around their mean.
    pub centered_pd: Vec<f64>,
    /// `[k]` singular values, largest first; those that only rounding fills are left out.
    pub values_k: Vec<f64>,
    /// `[k]` of `[p]` coordinates of norm 1.
    pub left_kp: Vec<Vec<f64>>,
    /// `[k]` of `[d]` directions of norm 1.
    pub right_kd: Vec<Vec<f64>>,
}

impl Rows {
    /// The principal components of the `p` rows of `x_pd`; all are NaN when a number is not finite.
    pub fn new(x_pd: &[f64], p: usize) -> Rows {
        let d = x_pd.len() / p;
        let mean_d: Vec<f64> = (0..d).map(|i| x_pd.iter().skip(i).step_by(d).sum::<f64>() / p as f64).collect();
        let centered_pd: Vec<f64> = x_pd.iter().enumerate().map(|(i, x)| x - mean_d[i % d]).collect();
        let found = svd(&centered_pd, p, d);
        let all = found.values_k.len();
        // Against the largest, and against the numbers themselves, whose mean is rounded.
        let size = x_pd.iter().map(|x| x * x).sum::<f64>().sqrt();
        let real = |value: &&f64| value.is_nan() || **value > (1e-10 * found.values_k[0]).max(1e-12 * size);
        let values_k: Vec<f64> = found.values_k.iter().take_while(real).copied().collect();
        let left = |i: usize| found.left_rk.iter().skip(i).step_by(all).copied().collect();
        let right = |i: usize| found.right_kc[i * d..(i + 1) * d].to_vec();
        let k = values_k.len();
        Rows {
            mean_d,
            centered_pd,
            values_k,
            left_kp: (0..k).map(left).collect(),
            right_kd: (0..k).map(right).collect(),
        }
    }

    /// `[p]` coordinates along component `i`.
    pub fn scores_p(&self, i: usize) -> Vec<f64> {
        self.left_kp[i].iter().map(|x| x * self.values_k[i]).collect()
    }
}

/// 1 or −1: what makes the number of largest magnitude positive; of those that are equal to nine digits, the first.
pub fn sign(numbers: &[f64]) -> f64 {
    let mut top: f64 = 0.0;
    for &x in numbers {
        if x.abs() > top.abs() * (1.0 + 1e-9) {
            top = x;
        }
    }
    if top < 0.0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipse_far_from_the_origin_has_its_axes_as_components() {
        // x = 3 cos t along one direction, y = sin t along another, 1e6 away: variances 9/2 and 1/2.
        let point = |i: usize| {
            let t = std::f64::consts::TAU * i as f64 / 8.0;
            let (x, y) = (3.0 * t.cos(), t.sin());
            (0..700).map(|n| 1e6 + if n % 2 == 0 { x } else { y }).collect::<Vec<f64>>()
        };
        let points: Vec<Vec<f64>> = (0..8).map(point).collect();
        let pca = pca(&points, 3);
        assert!((pca.explained_k[0] - 0.9).abs() < 1e-7 && (pca.explained_k[1] - 0.1).abs() < 1e-7, "{pca:?}");
        assert!(pca.explained_k[2] < 1e-9);
        let root = 350f64.sqrt();
        for (i, xyz) in pca.coordinates_sk.chunks(3).enumerate() {
            let t = std::f64::consts::TAU * i as f64 / 8.0;
            // Of ±3 the first, at t = 0, is made positive; so is sin t at its first maximum.
            assert!((xyz[0] - 3.0 * root * t.cos()).abs() < 1e-6, "{i}: {xyz:?}");
            assert!((xyz[1] - root * t.sin()).abs() < 1e-6, "{i}: {xyz:?}");
        }
    }

    #[test]
    fn rows_have_no_more_components_than_directions_that_they_vary_in() {
        for (p, components) in [(2, 1), (3, 2), (6, 4)] {
            let x_pd: Vec<f64> = (0..p * 4).map(|i| ((i * i * 7 + 3 * i) % 11) as f64 / 3.0).collect();
            let rows = Rows::new(&x_pd, p);
            assert_eq!(
                (rows.values_k.len(), rows.left_kp.len(), rows.right_kd.len()),
                (components, components, components)
            );
            // The parts add up to the rows.
            for (i, x) in x_pd.iter().enumerate() {
                let part = |k: usize| rows.scores_p(k)[i / 4] * rows.right_kd[k][i % 4];
                assert!((rows.mean_d[i % 4] + (0..components).map(part).sum::<f64>() - x).abs() < 1e-12, "{p}: {i}");
            }
        }
        assert!(Rows::new(&[0.1; 12], 3).values_k.is_empty(), "what varies is rounding");
        assert!(Rows::new(&[f64::NAN; 12], 3).values_k.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn one_point_two_points_and_points_that_do_not_move() {
        let one = pca(&[vec![1.0, 2.0]], 2);
        assert!(one.explained_k[0].is_nan() && one.coordinates_sk == [0.0, 0.0]);
        let still = pca(&[vec![5.0], vec![5.0], vec![5.0]], 1);
        assert!(still.explained_k[0].is_nan() && still.coordinates_sk == [0.0; 3]);
        let two = pca(&[vec![0.0, 0.0], vec![3.0, 4.0]], 2);
        assert_eq!(two.explained_k, [1.0, 0.0]);
        assert!((two.coordinates_sk[0] - 2.5).abs() < 1e-15 && (two.coordinates_sk[2] + 2.5).abs() < 1e-15, "{two:?}");
        for spoilt in [f64::NAN, f64::INFINITY] {
            let pca = pca(&[vec![spoilt, 1.0], vec![1.0, 2.0], vec![3.0, 2.0]], 4);
            assert!(pca.coordinates_sk.iter().chain(&pca.explained_k).all(|x| x.is_nan()), "{pca:?}");
        }
    }
}
