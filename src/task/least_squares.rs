//! Linear regression, one point after the other: the weights that fit all points so far best.
//!
//! Reads points (x, y) in turn; keeps weights and what the next point needs of the ones before, so that a point costs width² and not a new
//! fit. With a prior: the posterior mean under normal weights (ridge regression). Without: least squares, and of all weights that
//! fit as well those of least norm. The recursion for the pseudo-inverse is Albert and Sittler's (1965, SIAM J. Control 3, 384).

/// A share of |x|² that counts as rounding: x lies in the span of the points before it.
const ROUNDING: f64 = 1e-12;

/// Weights fitted to the points so far.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    width: usize,
    outputs: usize,
    /// `[width, outputs]`.
    w: Vec<f64>,
    /// `[width, width]`: of the points so far, (XᵀX)⁺, or with a prior (XᵀX + prior I)⁻¹.
    inverse: Vec<f64>,
    /// `[width, width]`: projects on what is orthogonal to all points; 0 with a prior.
    outside: Vec<f64>,
}

impl Fit {
    /// Without any point; `prior` is the noise's variance divided by that of the weights, where they have one.
    pub(super) fn new(width: usize, outputs: usize, prior: Option<f64>) -> Fit {
        let diagonal = |value: f64| {
            let mut matrix = vec![0.0; width * width];
            matrix.iter_mut().step_by(width + 1).for_each(|x| *x = value);
            matrix
        };
        Fit {
            width,
            outputs,
            w: vec![0.0; width * outputs],
            inverse: diagonal(prior.map_or(0.0, f64::recip)),
            outside: diagonal(if prior.is_some() { 0.0 } else { 1.0 }),
        }
    }

    /// Output number `output` at `x [width]`.
    pub(super) fn predict(&self, x: &[f64], output: usize) -> f64 {
        x.iter().zip(self.w.iter().skip(output).step_by(self.outputs)).map(|(x, w)| x * w).sum()
    }

    /// Fits one more point, `x [width]`, `y [outputs]`.
    pub(super) fn add(&mut self, x: &[f64], y: &[f64]) {
        let misses: Vec<f64> = y.iter().enumerate().map(|(output, y)| y - self.predict(x, output)).collect();
        let (known, new) = (times(&self.inverse, x), times(&self.outside, x));
        let spread = 1.0 + dot(x, &known);
        let fresh = dot(&new, &new);
        let gain: Vec<f64> = if fresh > ROUNDING * dot(x, x) {
            let gain: Vec<f64> = new.iter().map(|new| new / fresh).collect();
            for (i, j, inverse, outside) in self.entries() {
                *inverse += spread * gain[i] * gain[j] - known[i] * gain[j] - gain[i] * known[j];
                *outside -= gain[i] * new[j];
            }
            gain
        } else {
            let gain: Vec<f64> = known.iter().map(|known| known / spread).collect();
            for (i, j, inverse, _) in self.entries() {
                *inverse -= gain[i] * known[j];
            }
            gain
        };
        for (w, gain) in self.w.chunks_exact_mut(self.outputs).zip(gain) {
            for (w, miss) in w.iter_mut().zip(&misses) {
                *w += gain * miss;
            }
        }
    }

    fn entries(&mut self) -> impl Iterator<Item = (usize, usize, &mut f64, &mut f64)> {
        let width = self.width;
        let both = self.inverse.iter_mut().zip(&mut self.outside).enumerate();
        both.map(move |(at, (inverse, outside))| (at / width, at % width, inverse, outside))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{product, svd};
    use crate::rng::Rng;

    /// V diag(s / (s² + prior)) Uᵀ Y, singular values near 0 left out.
    fn by_svd(x_nw: &[f64], y_no: &[f64], (width, outputs): (usize, usize), prior: f64) -> Vec<f64> {
        let n = x_nw.len() / width;
        let found = svd(x_nw, n, width);
        let rank = n.min(width);
        let mut w = vec![0.0; width * outputs];
        for k in 0..rank {
            let s = found.values_k[k];
            let factor = if s > 1e-9 { s / (s * s + prior) } else { 0.0 };
            for output in 0..outputs {
                let seen: f64 = (0..n).map(|i| found.left_rk[i * rank + k] * y_no[i * outputs + output]).sum();
                for j in 0..width {
                    w[j * outputs + output] += found.right_kc[k * width + j] * factor * seen;
                }
            }
        }
        w
    }

    #[test]
    fn each_fit_is_that_of_a_singular_value_decomposition() {
        let (width, outputs) = (5, 2);
        let mut rng = Rng::stream(1, "fit");
        let mut x_nw = vec![0.0; 12 * width];
        rng.fill_normal(&mut x_nw);
        // A point that was there, and one between two that were: nothing new before the fifth direction.
        x_nw.copy_within(0..width, 2 * width);
        for j in 0..width {
            x_nw[3 * width + j] = x_nw[j] + 2.0 * x_nw[width + j];
        }
        let mut y_no = vec![0.0; 12 * outputs];
        rng.fill_normal(&mut y_no);
        for prior in [None, Some(0.3)] {
            let mut fit = Fit::new(width, outputs, prior);
            for n in 1..=12 {
                fit.add(&x_nw[(n - 1) * width..n * width], &y_no[(n - 1) * outputs..n * outputs]);
                let (x, y) = (&x_nw[..n * width], &y_no[..n * outputs]);
                let exact = by_svd(x, y, (width, outputs), prior.unwrap_or(0.0));
                for (found, exact) in fit.w.iter().zip(&exact) {
                    assert!((found - exact).abs() < 1e-9, "{n} points, prior {prior:?}: {found} is not {exact}");
                }
                let predicted = product(&x_nw[..width], &exact, width);
                assert!((fit.predict(&x_nw[..width], 1) - predicted[1]).abs() < 1e-9);
            }
        }
    }
}
