//! Exact t-SNE: points of a plane whose neighbours are those of the rows of a matrix.
//!
//! Reads X `[p, d]`, rows as points, and where the points start; writes the plane's two coordinates `[p]`. Minimises KL(P‖Q) by gradient
//! descent with momentum and gains; P has one width a point, by bisection to the perplexity, Q a Student t of one degree of
//! freedom. No random number. Source: van der Maaten and Hinton 2008; steps and constants are scikit-learn's.

use crate::engine::simd::{dot, sum, vectorized};

const PERPLEXITY: f64 = 30.0;
const EXAGGERATION: f64 = 12.0;
/// Steps and momentum with exaggeration, then without.
const PHASES: [(usize, f64, f64); 2] = [(250, 0.5, EXAGGERATION), (750, 0.8, 1.0)];
const LEAST: f64 = f64::EPSILON;

/// Coordinates of the rows of `x_pd` in the plane, from the first two of `start` (principal components); none without two.
pub fn map(x_pd: &[f64], p: usize, start: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let [one, two, ..] = start else { return vec![] };
    let deviation = (one.iter().map(|x| x * x).sum::<f64>() / p as f64).sqrt();
    let mut y_p2: Vec<[f64; 2]> = one.iter().zip(two).map(|(x, y)| [x, y].map(|x| 1e-4 * x / deviation)).collect();
    let joint_pp = joint(x_pd, p);
    for (steps, momentum, factor) in PHASES {
        descend(&joint_pp, &mut y_p2, (steps, momentum, factor));
    }
    (0..2).map(|axis| y_p2.iter().map(|y| y[axis]).collect()).collect()
}

/// The probabilities of pairs of points, symmetric, sum 1.
fn joint(x_pd: &[f64], p: usize) -> Vec<f64> {
    let d = x_pd.len() / p;
    let row = |i: usize| &x_pd[i * d..(i + 1) * d];
    let square = |i: usize, j: usize| row(i).iter().zip(row(j)).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
    let entropy = PERPLEXITY.min((p as f64 - 1.0) / 3.0).max(1.0).ln();
    let mut of_others_pp = vec![0.0; p * p];
    for (i, out_p) in of_others_pp.chunks_exact_mut(p).enumerate() {
        let squares: Vec<f64> = (0..p).map(|j| square(i, j)).collect();
        neighbours(&squares, i, entropy, out_p);
    }
    let mut joint_pp: Vec<f64> = (0..p * p).map(|ij| of_others_pp[ij] + of_others_pp[ij % p * p + ij / p]).collect();
    let total: f64 = joint_pp.iter().sum();
    joint_pp.iter_mut().for_each(|x| *x = (*x / total).max(LEAST));
    joint_pp
}

/// Probabilities of the other points seen from point `i`: a normal distribution of the width that has this entropy.
fn neighbours(squares: &[f64], i: usize, entropy: f64, out_p: &mut [f64]) {
    let others = || (0..squares.len()).filter(|&j| j != i);
    let nearest = others().map(|j| squares[j]).fold(f64::INFINITY, f64::min);
    let (mut beta, mut low, mut high) = (1.0, 0.0, f64::INFINITY);
    for _ in 0..200 {
        // From the nearest on, so that far points cannot make every weight 0.
        for j in others() {
            out_p[j] = (-(squares[j] - nearest) * beta).exp();
        }
        let sum: f64 = others().map(|j| out_p[j]).sum();
        let spread: f64 = others().map(|j| out_p[j] * (squares[j] - nearest)).sum::<f64>() / sum;
        out_p.iter_mut().for_each(|x| *x /= sum);
        let excess = sum.ln() + beta * spread - entropy;
        if excess.abs() < 1e-10 || excess.is_nan() {
            return;
        }
        if excess > 0.0 {
            low = beta
        } else {
            high = beta
        }
        beta = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * beta };
    }
}

/// One phase of the descent, from standing still.
fn descend(joint_pp: &[f64], y_p2: &mut [[f64; 2]], (steps, momentum, factor): (usize, f64, f64)) {
    let rate = (y_p2.len() as f64 / EXAGGERATION / 4.0).max(50.0);
    let mut moves = vec![[0.0; 2]; y_p2.len()];
    let mut gains = vec![[1.0; 2]; y_p2.len()];
    for _ in 0..steps {
        let gradient = gradient(joint_pp, y_p2, factor);
        for (((y, step), gain), slope) in y_p2.iter_mut().zip(&mut moves).zip(&mut gains).zip(gradient) {
            for axis in 0..2 {
                let turned = step[axis] * slope[axis] < 0.0;
                gain[axis] = f64::max(if turned { gain[axis] + 0.2 } else { gain[axis] * 0.8 }, 0.01);
                step[axis] = momentum * step[axis] - rate * gain[axis] * slope[axis];
                y[axis] += step[axis];
            }
        }
    }
}

/// Gradient of KL(factor · P‖Q) at every point.
fn gradient(joint_pp: &[f64], y_p2: &[[f64; 2]], factor: f64) -> Vec<[f64; 2]> {
    let p = y_p2.len();
    let coordinates = [0, 1].map(|axis| y_p2.iter().map(|y| y[axis]).collect::<Vec<f64>>());
    let (weights_pp, total) = weights(&coordinates);
    let (mut slopes, mut pulls_p) = (vec![[0.0; 2]; p], vec![0.0; p]);
    vectorized!({
        let per_total = 1.0 / total;
        let rows = weights_pp.chunks_exact(p).zip(joint_pp.chunks_exact(p));
        for (((weights_p, joint_p), y), slope) in rows.zip(y_p2).zip(&mut slopes) {
            // The point itself has weight 0.
            for ((pull, weight), joint) in pulls_p.iter_mut().zip(weights_p).zip(joint_p) {
                *pull = 4.0 * (factor * joint - (weight * per_total).max(LEAST)) * weight;
            }
            let all = sum(&pulls_p);
            slope[0] = all * y[0] - dot(&pulls_p, &coordinates[0]);
            slope[1] = all * y[1] - dot(&pulls_p, &coordinates[1]);
        }
    });
    slopes
}

/// Student t of every two points, 0 for a point with itself, and the sum that they are to be divided by.
fn weights([x_p, y_p]: &[Vec<f64>; 2]) -> (Vec<f64>, f64) {
    let p = x_p.len();
    let (mut weights_pp, mut total) = (vec![0.0; p * p], 0.0);
    vectorized!({
        for (i, weights_p) in weights_pp.chunks_exact_mut(p).enumerate() {
            let (x, y) = (x_p[i], y_p[i]);
            for ((weight, x_other), y_other) in weights_p.iter_mut().zip(x_p).zip(y_p) {
                let (x, y) = (x - x_other, y - y_other);
                *weight = 1.0 / (1.0 + x * x + y * y);
            }
            weights_p[i] = 0.0;
            total += sum(weights_p);
        }
    });
    (weights_pp, total)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// KL(P‖Q).
    fn divergence(joint_pp: &[f64], y_p2: &[[f64; 2]]) -> f64 {
        let (weights_pp, total) = weights(&[0, 1].map(|axis| y_p2.iter().map(|y| y[axis]).collect()));
        let off = |&(ij, _): &(usize, &f64)| ij / y_p2.len() != ij % y_p2.len();
        let term = |(ij, pair): (usize, &f64)| pair * (pair / (weights_pp[ij] / total).max(LEAST)).ln();
        joint_pp.iter().enumerate().filter(off).map(term).sum()
    }

    /// For the comparison with scikit-learn: P, and the divergence of a map.
    pub fn joint_and_divergence(x_pd: &[f64], y_p2: &[[f64; 2]]) -> (Vec<f64>, f64) {
        let joint_pp = joint(x_pd, y_p2.len());
        let divergence = divergence(&joint_pp, y_p2);
        (joint_pp, divergence)
    }

    fn cloud() -> (Vec<f64>, Vec<[f64; 2]>) {
        let x = (0..36).map(|i| f64::from((i * 7 + 3) % 11) + if i < 18 { 0.0 } else { 40.0 }).collect();
        let y = (0..12).map(|i| [f64::from(i % 5) - 2.0, f64::from(i * 5 % 7) - 3.0]).collect();
        (x, y)
    }

    #[test]
    fn the_gradient_is_that_of_the_divergence() {
        let (x, y) = cloud();
        let joint_pp = joint(&x, 12);
        let slopes = gradient(&joint_pp, &y, 1.0);
        for (i, axis) in (0..12).flat_map(|i| [(i, 0), (i, 1)]) {
            let at = |by: f64| {
                let mut y = y.clone();
                y[i][axis] += by;
                divergence(&joint_pp, &y)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slopes[i][axis] - slope).abs() < 1e-8, "{i} {axis}: {} against {slope}", slopes[i][axis]);
        }
    }

    #[test]
    fn every_point_has_the_perplexity_that_was_asked_for() {
        let (x, _) = cloud();
        let row = |i: usize| &x[3 * i..3 * i + 3];
        let mut out = [0.0; 12];
        for i in 0..12 {
            let square = |j: usize| row(i).iter().zip(row(j)).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
            neighbours(&(0..12).map(square).collect::<Vec<_>>(), i, 3f64.ln(), &mut out);
            let others = (0..12).filter(|&j| j != i);
            let entropy: f64 = others.map(|j| if out[j] > 0.0 { -out[j] * out[j].ln() } else { 0.0 }).sum();
            assert!((entropy - 3f64.ln()).abs() < 1e-9, "{i}: {entropy}");
        }
    }

    #[test]
    fn two_far_clouds_become_two_groups() {
        let (x, y) = cloud();
        let start: Vec<Vec<f64>> = (0..2).map(|axis| y.iter().map(|y| y[axis]).collect()).collect();
        let found = map(&x, 12, &start);
        let distance = |i: usize, j: usize| (0..2).map(|a| (found[a][i] - found[a][j]).powi(2)).sum::<f64>().sqrt();
        let nearest = |i: usize| {
            let others = (0..12).filter(|&j| j != i);
            others.min_by(|&j, &k| distance(i, j).total_cmp(&distance(i, k))).map(|j| j / 6)
        };
        assert!((0..12).all(|i| nearest(i) == Some(i / 6)), "{found:?}");
        assert!(map(&x, 12, &start[..1]).is_empty());
    }
}
