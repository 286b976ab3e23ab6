//! The loss of a small ReLU output model over all inputs, by exact integration, and its numerical optimum.
//!
//! Features are present independently, each by its chance, and then uniform on [0, 1]; the model gives ReLU(Wᵀ W x + b). Over the
//! present features an output's squared error is a polynomial of degree 2 on each side of the plane where its ReLU begins. The integral
//! over one variable is taken in pieces between the kinks that the others can cause, by a Gauss-Legendre rule that is exact for the degree
//! that the inner integrals have; so the sum is exact but for rounding. Source: the loss of arXiv 2209.10652; the border of its
//! phase diagram is derived in [`border`].

use crate::rng::Rng;

/// Features that are integrated over at most; the cost grows with 2ⁿ and the kinks of n variables.
pub const MAX_FEATURES: usize = 4;

/// Nodes and weights on [0, 1], exact to degree 7: an integrand of degree 2 has at most degree 2 + 3 after three inner integrals.
const NODES: [(f64, f64); 4] = [
    (0.069_431_844_202_973_71, 0.173_927_422_568_726_93),
    (0.330_009_478_207_571_87, 0.326_072_577_431_273_07),
    (0.669_990_521_792_428_1, 0.326_072_577_431_273_07),
    (0.930_568_155_797_026_3, 0.173_927_422_568_726_93),
];

/// What the features of a model are.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `[n]` chance of each.
    pub prob: Vec<f64>,
    /// `[n]` factor on its squared error.
    pub importance: Vec<f64>,
}

/// The mean over all inputs of Σ importance · (x − x')², and its gradient.
///
/// # Shapes
/// `w_mn` `[m, n]`, `b_n` `[n]`; the gradient has W's numbers, then b's.
pub fn loss(setting: &Setting, w_mn: &[f64], b_n: &[f64]) -> (f64, Vec<f64>) {
    let n = b_n.len();
    assert!(n <= MAX_FEATURES, "exact integration goes to {MAX_FEATURES} features");
    let m = w_mn.len() / n;
    let gram = |i: usize, j: usize| (0..m).map(|r| w_mn[r * n + i] * w_mn[r * n + j]).sum::<f64>();
    let (mut total, mut d_gram, mut d_bias) = (0.0, vec![0.0; n * n], vec![0.0; n]);
    for present in 0..1usize << n {
        let on: Vec<usize> = (0..n).filter(|i| present >> i & 1 == 1).collect();
        let chance: f64 =
            (0..n).map(|i| if present >> i & 1 == 1 { setting.prob[i] } else { 1.0 - setting.prob[i] }).product();
        if chance == 0.0 {
            continue;
        }
        for i in 0..n {
            let weight = chance * setting.importance[i];
            let slopes: Vec<f64> = on.iter().map(|&j| gram(i, j)).collect();
            let own = on.iter().position(|&j| j == i);
            let mut at = vec![0.0; on.len()];
            integrate(&slopes, b_n[i], 0, &mut at, weight, &mut |x, weight, z| {
                let target = own.map_or(0.0, |own| x[own]);
                let error = if z > 0.0 { z - target } else { -target };
                total += weight * error * error;
                if z > 0.0 {
                    for (&j, x) in on.iter().zip(x) {
                        d_gram[i * n + j] += 2.0 * weight * error * x;
                    }
                    d_bias[i] += 2.0 * weight * error;
                }
            });
        }
    }
    // G = WᵀW, so that dW = W (dG + dGᵀ).
    let mut gradient = vec![0.0; m * n];
    for r in 0..m {
        for j in 0..n {
            gradient[r * n + j] = (0..n).map(|i| w_mn[r * n + i] * (d_gram[i * n + j] + d_gram[j * n + i])).sum();
        }
    }
    gradient.extend(d_bias);
    (total, gradient)
}

/// Calls `each(x, weight, z)` with z = slopes · x + offset at points of the unit cube over variables `from` on, so that weighted sums are
/// integrals of what is a polynomial on each side of z = 0.
fn integrate(
    slopes: &[f64],
    offset: f64,
    from: usize,
    at: &mut Vec<f64>,
    weight: f64,
    each: &mut dyn FnMut(&[f64], f64, f64),
) {
    let Some(&slope) = slopes.get(from) else { return each(at, weight, offset) };
    // Where z is 0 at a corner of the cube of the further variables.
    let rest = &slopes[from + 1..];
    let mut kinks: Vec<f64> = (0..1usize << rest.len())
        .map(|corner| {
            let z: f64 = rest.iter().enumerate().filter(|(j, _)| corner >> j & 1 == 1).map(|(_, slope)| slope).sum();
            -(offset + z) / slope
        })
        .filter(|x| *x > 0.0 && *x < 1.0)
        .chain([0.0, 1.0])
        .collect();
    kinks.sort_by(f64::total_cmp);
    for piece in kinks.windows(2) {
        let width = piece[1] - piece[0];
        if width <= 0.0 {
            continue;
        }
        for (node, share) in NODES {
            at[from] = piece[0] + width * node;
            integrate(slopes, offset + slope * at[from], from + 1, at, weight * width * share, each);
        }
    }
}

/// A model of least loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimum {
    /// Its loss.
    pub loss: f64,
    /// `[m, n]`
    pub w_mn: Vec<f64>,
    /// `[n]`
    pub b_n: Vec<f64>,
}

impl Optimum {
    /// Length of a feature's direction.
    pub fn norm(&self, i: usize) -> f64 {
        let n = self.b_n.len();
        self.w_mn.iter().skip(i).step_by(n).map(|w| w * w).sum::<f64>().sqrt()
    }
}

/// Random starts beside the planned ones.
const RANDOM_STARTS: usize = 6;
/// Steps of a descent at most.
const STEPS: usize = 400;

/// The best model of `m` hidden dimensions that descents from several starts find: from each choice of features with dimensions of their
/// own, from antipodal pairs in the first dimension, and from random numbers (stream `theory/population` of seed 0).
pub fn optimum(setting: &Setting, m: usize) -> Optimum {
    let n = setting.prob.len();
    let mut starts: Vec<Vec<f64>> = vec![];
    // Unrepresented features start a little off 0, where their gradient would vanish.
    let unit = |places: &[(usize, usize, f64)]| {
        let mut start: Vec<f64> = (0..m * n + n).map(|i| 0.01 * ((i * 7 + 3) % 5) as f64 - 0.02).collect();
        start[m * n..].fill(0.0);
        places.iter().for_each(|&(r, i, w)| start[r * n + i] = w);
        start
    };
    for chosen in (0..1usize << n).filter(|chosen| chosen.count_ones() as usize <= m) {
        let features = (0..n).filter(|i| chosen >> i & 1 == 1);
        let mut start = unit(&features.enumerate().map(|(r, i)| (r, i, 1.0)).collect::<Vec<_>>());
        // What is dropped is best answered by its mean.
        for i in (0..n).filter(|i| chosen >> i & 1 == 0) {
            start[m * n + i] = setting.prob[i] / 2.0;
        }
        starts.push(start);
    }
    for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
        let others = (0..n).filter(|&k| k != i && k != j).take(m - 1);
        let rest: Vec<(usize, usize, f64)> = others.enumerate().map(|(r, k)| (r + 1, k, 1.0)).collect();
        starts.push(unit(&[&[(0, i, 1.0), (0, j, -1.0)][..], &rest].concat()));
    }
    let mut rng = Rng::stream(0, "theory/population");
    for _ in 0..RANDOM_STARTS {
        let mut start = vec![0.0; m * n + n];
        rng.fill_normal(&mut start);
        start[m * n..].iter_mut().for_each(|b| *b *= 0.1);
        starts.push(start);
    }
    let value = |x: &[f64]| loss(setting, &x[..m * n], &x[m * n..]);
    let ends = starts.into_iter().map(|start| descend(&value, start));
    let (loss, x) = ends.min_by(|one, other| one.0.total_cmp(&other.0)).expect("invariant: there are starts");
    Optimum { loss, w_mn: x[..m * n].to_vec(), b_n: x[m * n..].to_vec() }
}

/// A loss, with the gradient there or the place.
type Valued = (f64, Vec<f64>);

/// BFGS with steps halved until the loss falls enough (Armijo); gives the loss and the place.
fn descend(value: &dyn Fn(&[f64]) -> Valued, start: Vec<f64>) -> Valued {
    let d = start.len();
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let identity = || (0..d * d).map(|ij| f64::from(u8::from(ij / d == ij % d))).collect::<Vec<f64>>();
    let (mut x, mut inverse) = (start, identity());
    let (mut here, mut gradient) = value(&x);
    for _ in 0..STEPS {
        let mut way: Vec<f64> = inverse.chunks_exact(d).map(|row| -dot(row, &gradient)).collect();
        if dot(&way, &gradient) >= 0.0 {
            inverse = identity();
            way = gradient.iter().map(|g| -g).collect();
        }
        let slope = dot(&way, &gradient);
        let mut size = 1.0;
        let next = loop {
            let moved: Vec<f64> = x.iter().zip(&way).map(|(x, w)| x + size * w).collect();
            let (there, gradient) = value(&moved);
            if there <= here + 1e-4 * size * slope {
                break Some((moved, there, gradient));
            }
            size *= 0.5;
            if size < 1e-12 {
                break None;
            }
        };
        let Some((moved, there, new)) = next else { break };
        let step: Vec<f64> = moved.iter().zip(&x).map(|(y, x)| y - x).collect();
        let change: Vec<f64> = new.iter().zip(&gradient).map(|(y, x)| y - x).collect();
        let along = dot(&step, &change);
        if along > 1e-14 {
            let turned: Vec<f64> = inverse.chunks_exact(d).map(|row| dot(row, &change)).collect();
            let factor = (1.0 + dot(&change, &turned) / along) / along;
            for i in 0..d {
                for j in 0..d {
                    inverse[i * d + j] +=
                        factor * step[i] * step[j] - (turned[i] * step[j] + step[i] * turned[j]) / along;
                }
            }
        }
        let fell = here - there;
        (x, here, gradient) = (moved, there, new);
        if fell < 1e-15 && dot(&gradient, &gradient) < 1e-16 {
            break;
        }
    }
    (here, x)
}

/// Losses of the simple solutions of n = 2, m = 1: importances 1 and `importance`, both features present by the chance `p`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Border {
    /// W = [1, −1] without bias: both are told apart unless both are present, p² (1 + I) / 6.
    pub antipodal: f64,
    /// W = [1, 0], the second answered by its best bias: I (p/3 − p²/4).
    pub second_dropped: f64,
    /// W = [0, 1], the first by its best bias: p/3 − p²/4.
    pub first_dropped: f64,
}

/// Those losses. Antipodal is the least where p < 4 I / (2 + 5 I) (I at most 1; for I above 1, 4 / (5 + 2 I)).
pub fn border(importance: f64, p: f64) -> Border {
    let dropped = p / 3.0 - p * p / 4.0;
    Border { antipodal: p * p * (1.0 + importance) / 6.0, second_dropped: importance * dropped, first_dropped: dropped }
}

/// The density below which the antipodal solution wins, by [`border`]'s formulas.
pub fn border_density(importance: f64) -> f64 {
    if importance <= 1.0 { 4.0 * importance / (2.0 + 5.0 * importance) } else { 4.0 / (5.0 + 2.0 * importance) }
}

/// One line for lists.
pub(super) const SUMMARY: &str =
    "exact loss of small ReLU output models, and the border of the n = 2, m = 1 phase diagram";

/// The text of `phaselab explain phase_border`, with its table.
pub(super) fn explain() -> String {
    let mut text = String::from(
        "\
What it is
  The ReLU output model x' = ReLU(W^T W x + b) with two features and one hidden dimension: importances 1 and I, each
  present by the chance p (density, 1 - S), then uniform on [0, 1]. Three solutions compete:
    antipodal       W = [1, -1], no bias    loss p^2 (1 + I) / 6
    second dropped  W = [1, 0], b2 = p/2    loss I (p/3 - p^2/4)
    first dropped   W = [0, 1], b1 = p/2    loss p/3 - p^2/4
  For I at most 1 superposition wins where p < 4 I / (2 + 5 I), for I above 1 where p < 4 / (5 + 2 I). That is good for
  small p; near I = 1 and at larger p biases and mixed solutions matter. The optimum is that of the exact loss
  over (W, b), found by descents from 12 starts.
Reads
  Nothing: the loss is integrated exactly (up to 4 features), piece by piece.
Unit and range
  Losses are squared errors times importance, summed over outputs, per input.

     I      p       antipodal    2nd dropped  1st dropped  optimum      |W_1|   |W_2|
",
    );
    for importance in [0.1, 0.5, 1.0, 2.0] {
        for p in [0.05, 0.2, 0.5, 0.9] {
            let Border { antipodal, second_dropped, first_dropped } = border(importance, p);
            let best = optimum(&Setting { prob: vec![p; 2], importance: vec![1.0, importance] }, 1);
            text += &format!(
                "  {importance:4}   {p:4}   {antipodal:10.8}   {second_dropped:10.8}   {first_dropped:10.8}   {:10.8}   {:.3}   {:.3}\n",
                best.loss,
                best.norm(0),
                best.norm(1)
            );
        }
    }
    text += "\
Value at a known point
  I = 1, p = 4/7: antipodal and dropped cost the same by the formulas.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"superposition as a phase change\"; the formulas are derived from its loss.
";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(n: usize, m: usize) -> (Setting, Vec<f64>, Vec<f64>) {
        let mut rng = Rng::stream(5, "tests/population");
        let (mut w, mut b) = (vec![0.0; m * n], vec![0.0; n]);
        rng.fill_normal(&mut w);
        rng.fill_normal(&mut b);
        b.iter_mut().for_each(|b| *b *= 0.2);
        let prob = (0..n).map(|i| 0.3 + 0.15 * i as f64).collect();
        let importance = (0..n).map(|i| 1.0 / (1.0 + i as f64)).collect();
        (Setting { prob, importance }, w, b)
    }

    #[test]
    fn the_loss_is_the_mean_over_drawn_inputs() {
        for (n, m) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
            let (setting, w, b) = random(n, m);
            let mut rng = Rng::stream(6, "tests/population");
            let draws = 400_000;
            let (mut total, mut squares) = (0.0, 0.0);
            for _ in 0..draws {
                let x: Vec<f64> =
                    (0..n).map(|i| if rng.uniform_f64() < setting.prob[i] { rng.uniform_f64() } else { 0.0 }).collect();
                let h: Vec<f64> = (0..m).map(|r| (0..n).map(|i| w[r * n + i] * x[i]).sum()).collect();
                let cost: f64 = (0..n)
                    .map(|i| {
                        let z = b[i] + (0..m).map(|r| w[r * n + i] * h[r]).sum::<f64>();
                        setting.importance[i] * (x[i] - z.max(0.0)).powi(2)
                    })
                    .sum();
                total += cost;
                squares += cost * cost;
            }
            let (mean, square) = (total / f64::from(draws), squares / f64::from(draws));
            let error = ((square - mean * mean) / f64::from(draws)).sqrt();
            let exact = loss(&setting, &w, &b).0;
            assert!((mean - exact).abs() < 5.0 * error, "{n}: {mean} drawn, {exact} exact, error {error}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        for (n, m) in [(2, 1), (3, 2), (4, 3)] {
            let (setting, w, b) = random(n, m);
            let (_, gradient) = loss(&setting, &w, &b);
            let mut x = [&w[..], &b].concat();
            for i in 0..x.len() {
                let mut moved = |by: f64| {
                    x[i] += by;
                    let value = loss(&setting, &x[..m * n], &x[m * n..]).0;
                    x[i] -= by;
                    value
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((gradient[i] - slope).abs() < 1e-8, "{n} {i}: {} against {slope}", gradient[i]);
            }
        }
    }

    /// One feature at a time: the other exact integration of this folder.
    #[test]
    fn features_that_never_meet_are_those_of_one_at_a_time() {
        let (_, w, b) = random(3, 2);
        let p = 1e-6;
        let setting = Setting { prob: vec![p; 3], importance: vec![1.0; 3] };
        let nothing: f64 = b.iter().map(|b| b.max(0.0).powi(2)).sum();
        let of_one = 3.0 * super::super::one_hot::loss(&w, &b);
        let expected = (1.0 - 3.0 * p) * nothing + p * of_one;
        assert!((loss(&setting, &w, &b).0 - expected).abs() < 1e-10);
    }

    #[test]
    fn simple_solutions_have_the_losses_of_the_border() {
        for (importance, p) in [(0.4, 0.1), (1.0, 0.5), (3.0, 0.2)] {
            let setting = Setting { prob: vec![p; 2], importance: vec![1.0, importance] };
            let known = border(importance, p);
            let of = |w: [f64; 2], b: [f64; 2]| loss(&setting, &w, &b).0;
            assert!((of([1.0, -1.0], [0.0; 2]) - known.antipodal).abs() < 1e-14);
            assert!((of([1.0, 0.0], [0.0, p / 2.0]) - known.second_dropped).abs() < 1e-14);
            assert!((of([0.0, 1.0], [p / 2.0, 0.0]) - known.first_dropped).abs() < 1e-14);
            // On the border two of them cost the same.
            let at = border(importance, border_density(importance));
            let other = at.second_dropped.min(at.first_dropped);
            assert!((at.antipodal - other).abs() < 1e-14, "{importance}");
        }
    }

    /// Nothing is better than the optimum, its gradient vanishes, and at low density it is what the formula says.
    #[test]
    fn the_optimum_is_a_minimum_and_agrees_with_the_formula_at_low_density() {
        for (importance, p) in [(0.3, 0.05), (0.3, 0.15), (0.05, 0.2), (1.0, 0.1), (4.0, 0.2), (40.0, 0.2)] {
            let setting = Setting { prob: vec![p; 2], importance: vec![1.0, importance] };
            let best = optimum(&setting, 1);
            let known = border(importance, p);
            let least = known.antipodal.min(known.second_dropped).min(known.first_dropped);
            assert!(best.loss <= least + 1e-12, "{importance} {p}");
            let (at, gradient) = loss(&setting, &best.w_mn, &best.b_n);
            assert!((at - best.loss).abs() < 1e-15 && gradient.iter().all(|g| g.abs() < 1e-5), "{gradient:?}");
            let both = best.norm(0) > 0.5 && best.norm(1) > 0.5;
            assert_eq!(both, p < border_density(importance), "{importance} {p}: {best:?}");
        }
    }
}
