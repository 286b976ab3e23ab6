//! `k_gon`: regular polygons as critical points of the ReLU output model with two hidden dimensions, on one feature at a time.
//!
//! k columns of W have length l and angles 2π j / k, with bias b; the other c − k columns are 0, with a bias of at most 0. By symmetry
//! (l, b) is a critical point of the whole loss where it is one of its restriction to such polygons. Source: arXiv 2310.06301.

use std::f64::consts::TAU;
use std::sync::OnceLock;

use super::one_hot::{Integral, absent, present};

pub(super) const SUMMARY: &str =
    "regular polygons that trained models of superposition pass through: lengths, biases, loss levels";

/// Polygons in the table of `explain`.
const TABLE: std::ops::RangeInclusive<usize> = 4..=10;

/// A regular polygon at its best length and bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KGon {
    /// Corners.
    pub k: usize,
    /// Length l of the columns of W.
    pub length: f64,
    /// Bias b of the corners.
    pub bias: f64,
    /// What the corners cost: the loss is (h + c − k) / (3c).
    pub h: f64,
}

impl KGon {
    /// The polygon with k corners, 4 at least: the best (l, b), to rounding.
    ///
    /// # Panics
    /// With fewer than 4 corners: two dimensions tell three features apart without loss, in many ways.
    pub fn new(k: usize) -> KGon {
        assert!(k >= 4, "{k} corners; polygons of critical points have 4 at least");
        let [square, bias] = best(k);
        KGon { k, length: square.sqrt(), bias, h: 3.0 * k as f64 * cost(k, square, bias).value }
    }

    /// Loss L(k, c) with c features, c at least k.
    pub fn level(&self, c: usize) -> f64 {
        (self.h + (c - self.k) as f64) / (3.0 * c as f64)
    }

    /// Loss L(k, c) when `positive` of the features without a column have a bias above 0, the best of which is 1 / (2c).
    pub fn level_with_biases(&self, c: usize, positive: usize) -> f64 {
        self.level(c) - positive as f64 / (4.0 * (c * c) as f64)
    }

    /// W `[2, c]` and b `[c]` of the polygon among c features; biases of the others are −1.
    pub fn weights(&self, c: usize) -> (Vec<f64>, Vec<f64>) {
        let angle = |j: usize| TAU * j as f64 / self.k as f64;
        let length = |j: usize| if j < self.k { self.length } else { 0.0 };
        let x = (0..c).map(|j| length(j) * libm::cos(angle(j)));
        let y = (0..c).map(|j| length(j) * libm::sin(angle(j)));
        (x.chain(y).collect(), (0..c).map(|j| if j < self.k { self.bias } else { -1.0 }).collect())
    }
}

/// The polygon with k corners, for 4 to 12; found once.
pub fn known(k: usize) -> Option<&'static KGon> {
    static KNOWN: OnceLock<Vec<KGon>> = OnceLock::new();
    KNOWN.get_or_init(|| (4..=12).map(KGon::new).collect()).iter().find(|gon| gon.k == k)
}

/// Local learning coefficient of a polygon with as many corners as features, c at least 5: a minimum that only rotations leave, of
/// 3c parameters.
pub fn learning_coefficient(c: usize) -> Option<f64> {
    (c >= 5).then(|| (3 * c - 1) as f64 / 2.0)
}

/// What the input of one corner costs, over all corners, as a function of l² and b.
fn cost(k: usize, square: f64, bias: f64) -> Integral {
    let others = (1..k).map(|j| {
        // A right angle has cosine 0, which rounding would miss.
        let cosine = if 4 * j == k || 4 * j == 3 * k { 0.0 } else { libm::cos(TAU * j as f64 / k as f64) };
        let Integral { value, d_slope, d_bias } = absent(square * cosine, bias);
        Integral { value, d_slope: d_slope * cosine, d_bias }
    });
    others.fold(present(square, bias), |sum, other| sum + other)
}

/// (l², b) of the least cost: the best of a grid, then Newton's steps with the Hessian from differences of the exact gradient.
fn best(k: usize) -> [f64; 2] {
    let grid = |steps: u32, low: f64, high: f64| {
        (0..=steps).map(move |i| low + (high - low) * f64::from(i) / f64::from(steps))
    };
    let places = grid(40, 1.0, 3.0).flat_map(|square| grid(40, -2.0, 0.0).map(move |bias| [square, bias]));
    let value = |&[square, bias]: &[f64; 2]| cost(k, square, bias).value;
    let mut at = places.min_by(|x, y| value(x).total_cmp(&value(y))).expect("invariant: the grid has places");
    let gradient = |[square, bias]: [f64; 2]| {
        let Integral { d_slope, d_bias, .. } = cost(k, square, bias);
        [d_slope, d_bias]
    };
    for _ in 0..50 {
        let [x, y] = gradient(at);
        let h = 1e-6;
        let difference = |up: [f64; 2], down: [f64; 2]| [(up[0] - down[0]) / (2.0 * h), (up[1] - down[1]) / (2.0 * h)];
        let [xx, xy] = difference(gradient([at[0] + h, at[1]]), gradient([at[0] - h, at[1]]));
        let [yx, yy] = difference(gradient([at[0], at[1] + h]), gradient([at[0], at[1] - h]));
        let determinant = xx * yy - xy * yx;
        let step = [(yy * x - yx * y) / determinant, (xx * y - xy * x) / determinant];
        if !step.iter().all(|s| s.is_finite()) || step.iter().all(|s| s.abs() < 1e-15) {
            break;
        }
        at = [at[0] - step[0], at[1] - step[1]];
    }
    at
}

/// The text of `phaselab explain k_gon`, with its table.
pub(super) fn explain() -> String {
    let mut text = String::from(
        "\
What it is
  The ReLU output model x' = ReLU(W^T W x + b) with two hidden dimensions and c features, on inputs t e_i: one
  feature at a time, t uniform on [0, 1]. Regular polygons are critical points of its mean squared error: k columns of
  W of length l at angles 2 pi j / k with bias b, the others 0 with a bias below 0. Training stays near one and jumps
  to the next.
Reads
  Nothing: the integrals are exact, their minimum over (l, b) is found to rounding.
Unit and range
  Losses are squared errors summed over outputs, 0 to 1/3. L(k, c) = (h_k + c - k) / (3c); each feature without a
  column whose bias is 1/(2c) instead of below 0 takes 1/(4c^2) off. With k = c at least 5 the local learning
  coefficient is (3c - 1)/2.

   k  l            b             h_k          L(k, 6)      L(k, 10)
",
    );
    for k in TABLE {
        let gon = KGon::new(k);
        let level = |c: usize| if k <= c { format!("{:.8}", gon.level(c)) } else { "".into() };
        text += &format!(
            "  {k:2}  {:.8}   {:11.8}   {:.8}   {:10}   {:10}\n",
            gon.length,
            // No minus before a zero.
            gon.bias + 0.0,
            gon.h,
            level(6),
            level(10)
        );
    }
    text += "\
Value at a known point
  k = 4: l = 1, b = 0, h = 0: two dimensions and their negatives. k = 10: l = -b, the golden ratio, h = 5.
Source
  Chen et al. 2023, arXiv 2310.06301: the critical points and the formula of their levels.
";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theory::one_hot;

    /// Lengths, biases and levels from an independent minimisation (Nelder and Mead, scipy), and closed values.
    #[test]
    fn polygons_have_known_sizes() {
        let table = [
            (5, 1.170459639, -0.282297284, 0.237384406),
            (6, 1.320526330, -0.618135132, 0.867462769),
            (7, 1.448393748, -0.966906331, 1.748695083),
            (8, 1.550449698, -1.291192661, 2.773102434),
            (9, 1.617110854, -1.542320931, 3.871680752),
        ];
        for (k, length, bias, h) in table {
            let gon = KGon::new(k);
            let far = [gon.length - length, gon.bias - bias, gon.h - h].map(f64::abs);
            assert!(far.iter().all(|far| *far < 2e-8), "{gon:?}");
        }
        let square = KGon::new(4);
        assert!((square.length - 1.0).abs() < 1e-12 && square.bias.abs() < 1e-12 && square.h.abs() < 1e-15);
        let (ten, golden) = (KGon::new(10), (1.0 + 5f64.sqrt()) / 2.0);
        assert!((ten.length - golden).abs() < 1e-9 && (ten.bias + golden).abs() < 1e-9 && (ten.h - 5.0).abs() < 1e-12);
    }

    /// The level is the loss of the weights, and no small move of any parameter changes it at first order.
    #[test]
    fn polygons_are_critical_points_of_the_whole_loss() {
        for (k, c) in [(4, 4), (4, 6), (5, 5), (5, 6), (6, 6), (7, 9), (10, 10)] {
            let gon = KGon::new(k);
            let (w, b) = gon.weights(c);
            assert!((one_hot::loss(&w, &b) - gon.level(c)).abs() < 1e-14, "{k} {c}");
            for i in 0..w.len() + c {
                let at = |by: f64| {
                    let (mut w, mut b) = (w.clone(), b.clone());
                    if i < w.len() {
                        w[i] += by
                    } else {
                        b[i - w.len()] += by
                    }
                    one_hot::loss(&w, &b)
                };
                // At k = 4 the curvature has a kink: the step is small.
                let slope = (at(1e-7) - at(-1e-7)) / 2e-7;
                assert!(slope.abs() < 1e-7, "{k} {c}, parameter {i}: {slope}");
            }
        }
        assert_eq!((known(3), known(5).map(|gon| gon.k), known(13)), (None, Some(5), None));
        let gon = KGon::new(5);
        let (w, mut b) = gon.weights(8);
        b[5..7].fill(1.0 / 16.0);
        assert!((one_hot::loss(&w, &b) - gon.level_with_biases(8, 2)).abs() < 1e-14);
        assert_eq!((learning_coefficient(5), learning_coefficient(4)), (Some(7.0), None));
    }

    #[test]
    fn the_table_is_in_the_explanation() {
        let text = explain();
        assert!(text.contains("   5  1.17045964   -0.28229728   0.23738441"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}
