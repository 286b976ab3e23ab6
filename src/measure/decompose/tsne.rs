//! Exact t-SNE: points of a plane whose neighbours are those of the rows of a matrix.
//!
//! Reads X `[p, d]`, rows as points, and where the points start; writes the plane's two coordinates `[p]`. Minimises KL(P‖Q) by gradient
//! descent with momentum and gains; P has one width a point, by bisection to the perplexity, Q a Student t of one degree of
//! freedom. No random number. Source: van der Maaten and Hinton 2008; steps and constants are scikit-learn's.

use crate::engine::Real;
use crate::engine::simd::{LANES, dot, fold_sum, sum, vectorized};

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
    let joint_pq = in_lanes(&joint(x_pd, p), p);
    for (steps, momentum, factor) in PHASES {
        descend(&joint_pq, &mut y_p2, (steps, momentum, factor));
    }
    (0..2).map(|axis| y_p2.iter().map(|y| y[axis]).collect()).collect()
}

/// The probabilities of pairs of points, symmetric, sum 1.
fn joint(x_pd: &[f64], p: usize) -> Vec<f64> {
    let d = x_pd.len() / p;
    let row = |i: usize| &x_pd[i * d..(i + 1) * d];
    let square = |i: usize, j: usize| vectorized!(square_distance(row(i), row(j)));
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

/// Σ (x − y)².
#[inline(always)]
fn square_distance(x_d: &[f64], y_d: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((x16, x_rest), (y16, y_rest)) = (x_d.as_chunks::<LANES>(), y_d.as_chunks::<LANES>());
    for (x, y) in x16.iter().zip(y16) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += (x - y) * (x - y);
        }
    }
    fold_sum(lanes) + x_rest.iter().zip(y_rest).map(|(x, y)| (x - y) * (x - y)).sum::<f64>()
}

/// Probabilities of the other points seen from point `i`: a normal distribution of the width that has this entropy.
fn neighbours(squares: &[f64], i: usize, entropy: f64, out_p: &mut [f64]) {
    let others = squares.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, square)| *square);
    let nearest = others.fold(f64::INFINITY, f64::min);
    // From the nearest on, so that far points cannot make every weight 0.
    let mut beyond: Vec<f64> = squares.iter().map(|square| square - nearest).collect();
    beyond[i] = 0.0;
    let (mut beta, mut low, mut high) = (1.0, 0.0, f64::INFINITY);
    for _ in 0..200 {
        vectorized!(for (out, beyond) in out_p.iter_mut().zip(&beyond) {
            *out = Real::exp(-beyond * beta);
        });
        out_p[i] = 0.0;
        let (sum, moment) = vectorized!((sum(out_p), dot(out_p, &beyond)));
        let spread = moment / sum;
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
fn descend(joint_pq: &[f64], y_p2: &mut [[f64; 2]], (steps, momentum, factor): (usize, f64, f64)) {
    let rate = (y_p2.len() as f64 / EXAGGERATION / 4.0).max(50.0);
    let mut moves = vec![[0.0; 2]; y_p2.len()];
    let mut gains = vec![[1.0; 2]; y_p2.len()];
    for _ in 0..steps {
        let gradient = gradient(joint_pq, y_p2, factor);
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

/// Rows of `p` numbers with zeros behind them, to whole lanes.
fn in_lanes(x_pp: &[f64], p: usize) -> Vec<f64> {
    let zeros = vec![0.0; p.next_multiple_of(LANES) - p];
    x_pp.chunks_exact(p).flat_map(|x_p| [x_p, &zeros].concat()).collect()
}

/// Gradient of KL(factor · P‖Q) at every point, in one pass over the pairs: what joins points is added apart from what drives them away,
/// since that is to be divided by the sum of all weights.
///
/// # Shapes
/// `joint_pq` `[p, p in whole lanes]`
fn gradient(joint_pq: &[f64], y_p2: &[[f64; 2]], factor: f64) -> Vec<[f64; 2]> {
    let p = y_p2.len();
    let [x_q, y_q] = [0, 1].map(|axis| in_lanes(&y_p2.iter().map(|y| y[axis]).collect::<Vec<f64>>(), p));
    // Lanes beyond the last point count nothing.
    let there_q = in_lanes(&vec![1.0; p], p);
    let others = [&x_q, &y_q, &there_q].map(|x| x.as_chunks::<LANES>().0);
    let mut pairs_p = vec![Pairs::default(); p];
    vectorized!(for ((pairs, joint_q), y) in pairs_p.iter_mut().zip(joint_pq.chunks_exact(x_q.len())).zip(y_p2) {
        *pairs = Pairs::of(*y, joint_q.as_chunks().0, others);
    });
    // A point's weight with itself is 1.
    let total = pairs_p.iter().map(|pairs| pairs.weight - 1.0).sum::<f64>();
    let slope = |pairs: &Pairs| [0, 1].map(|axis| 4.0 * (factor * pairs.joined[axis] - pairs.apart[axis] / total));
    pairs_p.iter().map(slope).collect()
}

/// Sums over all points as one of them sees them, itself among them.
#[derive(Clone, Copy, Default)]
struct Pairs {
    /// Of Student t weights w.
    weight: f64,
    /// Of P · w times what the point is off the other, by axis.
    joined: [f64; 2],
    /// Of w² times that.
    apart: [f64; 2],
}

impl Pairs {
    /// `others`: coordinates of all points, and 1 where there is one.
    #[inline(always)]
    fn of([x, y]: [f64; 2], joint: &[[f64; LANES]], [others_x, others_y, there]: [&[[f64; LANES]]; 3]) -> Pairs {
        let mut lanes = [[0.0; LANES]; 5];
        for (((joint, others_x), others_y), there) in joint.iter().zip(others_x).zip(others_y).zip(there) {
            for l in 0..LANES {
                let (dx, dy) = (x - others_x[l], y - others_y[l]);
                let weight = there[l] / dx.mul_add(dx, dy.mul_add(dy, 1.0));
                let (joined, apart) = (joint[l] * weight, weight * weight);
                lanes[0][l] += weight;
                lanes[1][l] = joined.mul_add(dx, lanes[1][l]);
                lanes[2][l] = joined.mul_add(dy, lanes[2][l]);
                lanes[3][l] = apart.mul_add(dx, lanes[3][l]);
                lanes[4][l] = apart.mul_add(dy, lanes[4][l]);
            }
        }
        Pairs {
            weight: fold_sum(lanes[0]),
            joined: [fold_sum(lanes[1]), fold_sum(lanes[2])],
            apart: [fold_sum(lanes[3]), fold_sum(lanes[4])],
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// KL(P‖Q).
    fn divergence(joint_pp: &[f64], y_p2: &[[f64; 2]]) -> f64 {
        let p = y_p2.len();
        let off = || (0..p * p).filter(|ij| ij / p != ij % p);
        let weight = |ij: usize| {
            let ([x, y], [other_x, other_y]) = (y_p2[ij / p], y_p2[ij % p]);
            1.0 / (1.0 + (x - other_x).powi(2) + (y - other_y).powi(2))
        };
        let total: f64 = off().map(weight).sum();
        off().map(|ij| joint_pp[ij] * (joint_pp[ij] / (weight(ij) / total).max(LEAST)).ln()).sum()
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
        let slopes = gradient(&in_lanes(&joint_pp, 12), &y, 1.0);
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
