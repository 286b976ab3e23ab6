//! The loss of the ReLU output model on one feature at a time, by exact integration.
//!
//! Inputs are t e_i, i one of c features with equal chance, t uniform on [0, 1]; the model gives ReLU(Wᵀ W x + b). Every output is
//! piecewise linear in t, so that the mean of the squared error is a sum of cubic polynomials at the kinks. Source: arXiv 2310.06301,
//! section 2 (the potential of its closed formula).

/// An integral over t from 0 to 1 of a function of an output's slope a and bias b, with its derivatives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Integral {
    /// The integral.
    pub value: f64,
    /// Its derivative with respect to a.
    pub d_slope: f64,
    /// Its derivative with respect to b.
    pub d_bias: f64,
}

impl std::ops::Add for Integral {
    type Output = Integral;

    fn add(self, other: Integral) -> Integral {
        Integral {
            value: self.value + other.value,
            d_slope: self.d_slope + other.d_slope,
            d_bias: self.d_bias + other.d_bias,
        }
    }
}

/// ∫ ReLU(a t + b)² dt: what an output costs whose feature is absent.
pub fn absent(a: f64, b: f64) -> Integral {
    let [ones, ts, squares] = powers(a, b);
    Integral {
        value: a * a * squares + 2.0 * a * b * ts + b * b * ones,
        d_slope: 2.0 * (a * squares + b * ts),
        d_bias: 2.0 * (a * ts + b * ones),
    }
}

/// ∫ (t − ReLU(a t + b))² dt: what an output costs whose feature is present.
pub fn present(a: f64, b: f64) -> Integral {
    let [_, ts, squares] = powers(a, b);
    let relu = absent(a, b);
    Integral {
        value: 1.0 / 3.0 - 2.0 * (a * squares + b * ts) + relu.value,
        d_slope: relu.d_slope - 2.0 * squares,
        d_bias: relu.d_bias - 2.0 * ts,
    }
}

/// ∫ 1, t and t² dt where a t + b > 0.
fn powers(a: f64, b: f64) -> [f64; 3] {
    let (from, to) = match (b > 0.0, a + b > 0.0) {
        (true, true) => (0.0, 1.0),
        (false, true) => (-b / a, 1.0),
        (true, false) => (0.0, -b / a),
        (false, false) => return [0.0; 3],
    };
    let power = |n: i32| (to.powi(n) - from.powi(n)) / f64::from(n);
    [power(1), power(2), power(3)]
}

/// Mean squared error of a model, the squares summed over outputs.
///
/// # Shapes
/// `w_rc` is `[r, c]`, row-major; `b_c` is `[c]`.
///
/// # Panics
/// If `w_rc` is not a whole number of rows of c.
pub fn loss(w_rc: &[f64], b_c: &[f64]) -> f64 {
    let c = b_c.len();
    assert_eq!(w_rc.len() % c, 0, "a row of W has a number for each of the {c} features");
    let product = |i: usize, j: usize| w_rc.chunks_exact(c).map(|row| row[i] * row[j]).sum::<f64>();
    let cost = |i: usize, j: usize| match i == j {
        true => present(product(i, i), b_c[i]).value,
        false => absent(product(i, j), b_c[j]).value,
    };
    (0..c).flat_map(|i| (0..c).map(move |j| (i, j))).map(|(i, j)| cost(i, j)).sum::<f64>() / c as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The integrals against sums over a fine grid, derivatives against differences, over kinks on every side.
    #[test]
    fn integrals_and_their_derivatives() {
        let n = 20_000;
        for is_present in [false, true] {
            let integral = if is_present { present } else { absent };
            let cost = |t: f64, x: f64| (if is_present { t } else { 0.0 } - x.max(0.0)).powi(2);
            for (a, b) in [(1.3, -0.4), (-0.9, 0.5), (0.7, 0.2), (-0.5, -0.1), (0.3, -0.8), (0.0, 0.25), (1.0, 0.0)] {
                let sum: f64 = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).map(|t| cost(t, a * t + b)).sum();
                let found = integral(a, b);
                assert!((found.value - sum / f64::from(n)).abs() < 1e-8, "{a} {b}: {found:?}");
                let slope = |da: f64, db: f64| {
                    (integral(a + da, b + db).value - integral(a - da, b - db).value) / (2.0 * (da + db))
                };
                assert!((found.d_slope - slope(1e-6, 0.0)).abs() < 1e-8, "{a} {b}: {found:?}");
                assert!((found.d_bias - slope(0.0, 1e-6)).abs() < 1e-8, "{a} {b}: {found:?}");
            }
        }
    }

    #[test]
    fn a_model_that_does_nothing_or_everything_has_a_known_loss() {
        // No weights and no bias: the feature's square, 1/3.
        assert!((loss(&[0.0; 6], &[0.0; 3]) - 1.0 / 3.0).abs() < 1e-15);
        // As many dimensions as features.
        let identity = [1.0, 0.0, 0.0, 1.0];
        assert!(loss(&identity, &[0.0; 2]).abs() < 1e-15);
        // An antipodal pair on one axis is told apart by its sign.
        assert!(loss(&[1.0, -1.0], &[0.0; 2]).abs() < 1e-15);
        // A bias of 1/(2c) is the best that a feature without a direction can have: 1/(4c) less of its square.
        let (c, b) = (5.0, 1.0 / 10.0);
        let found = loss(&[0.0; 5], &[b, -1.0, -1.0, -1.0, -1.0]);
        assert!((found - (1.0 / 3.0 - 1.0 / (4.0 * c * c))).abs() < 1e-15, "{found}");
    }

    /// Against the mean over many drawn inputs.
    #[test]
    fn the_loss_is_the_mean_over_inputs() {
        let (r, c, n) = (2, 4, 400_000);
        let mut rng = Rng::stream(3, "tests/theory");
        let (mut w, mut b) = (vec![0.0; r * c], vec![0.0; c]);
        rng.fill_normal(&mut w);
        rng.fill_normal(&mut b);
        b.iter_mut().for_each(|b| *b *= 0.3);
        let mut total = 0.0;
        for _ in 0..n {
            let (i, t) = (rng.below(c as u32) as usize, rng.uniform_f64());
            for j in 0..c {
                let product: f64 = (0..r).map(|row| w[row * c + i] * w[row * c + j]).sum();
                let out = (product * t + b[j]).max(0.0);
                total += (out - if i == j { t } else { 0.0 }).powi(2);
            }
        }
        let (drawn, exact) = (total / f64::from(n), loss(&w, &b));
        assert!((drawn - exact).abs() < 0.02 * exact, "{drawn} drawn, {exact} exact");
    }
}
