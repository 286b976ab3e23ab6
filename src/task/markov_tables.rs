//! Fixed transition tables of the [`markov`](super::markov) family: how they are drawn, what they draw, and which one a sequence tells of.
//!
//! Reads a seed and the Dirichlet distribution's alpha; writes states, and the losses of the exact mixture of the tables.

use crate::rng::Rng;

/// Tables of the probabilities of the next state.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    states: usize,
    order: usize,
    n: usize,
    /// `[n, states^order, states]`, row-major; contexts count with the last state fastest. None is 0.
    probabilities: Vec<f64>,
}

impl Tables {
    /// `n` tables whose rows are from the Dirichlet distribution with all parameters `alpha`.
    pub(super) fn new((states, order): (usize, usize), n: usize, alpha: f64, seed: u64) -> Tables {
        let mut rng = Rng::stream(seed, "tables");
        let rows = n * states.pow(order as u32);
        let probabilities = (0..rows).flat_map(|_| dirichlet(alpha, states, &mut rng)).collect();
        Tables { states, order, n, probabilities }
    }

    fn contexts(&self) -> usize {
        self.states.pow(self.order as u32)
    }

    /// The context after one more state.
    fn shift(&self, context: usize, state: u32) -> usize {
        (context * self.states + state as usize) % self.contexts()
    }

    /// The probabilities of the next state, `[states]`.
    fn row(&self, table: usize, context: usize) -> &[f64] {
        &self.probabilities[(table * self.contexts() + context) * self.states..][..self.states]
    }

    /// Draws a table, each as likely, and `length` states by it, the first ones uniform.
    pub(super) fn draw(&self, length: usize, rng: &mut Rng, to: &mut Vec<u32>) {
        let table = rng.below(self.n as u32) as usize;
        let mut context = 0;
        for t in 0..length {
            let state = match t < self.order {
                true => rng.below(self.states as u32),
                false => pick(self.row(table, context), rng.uniform_f64()),
            };
            context = self.shift(context, state);
            to.push(state);
        }
    }

    /// `[sequence]` the loss of each state under the mixture of all tables, weighted by what each gives the states before it.
    pub(super) fn losses(&self, sequence: &[u32]) -> impl Iterator<Item = f64> {
        // [n] ln of what each gives the states so far, but for the first ones, which are as likely in all.
        let mut ln_likelihoods = vec![0.0; self.n];
        let mut ln_before = ln_sum_exp(&ln_likelihoods);
        let mut context = 0;
        sequence.iter().enumerate().map(move |(t, &state)| {
            let after = self.shift(context, state);
            let here = std::mem::replace(&mut context, after);
            if t < self.order {
                return libm::log(self.states as f64);
            }
            for (table, ln_likelihood) in ln_likelihoods.iter_mut().enumerate() {
                *ln_likelihood += libm::log(self.row(table, here)[state as usize]);
            }
            let ln_after = ln_sum_exp(&ln_likelihoods);
            std::mem::replace(&mut ln_before, ln_after) - ln_after
        })
    }
}

/// The state at `uniform` of the cumulative probabilities.
fn pick(row: &[f64], uniform: f64) -> u32 {
    let mut left = uniform;
    let passes = |probability: &f64| {
        left -= probability;
        left < 0.0
    };
    // Rounding can leave a little after the last state.
    row.iter().position(passes).unwrap_or(row.len() - 1) as u32
}

/// ln Σ exp, of numbers that are all finite.
fn ln_sum_exp(numbers: &[f64]) -> f64 {
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + libm::log(numbers.iter().map(|number| libm::exp(number - most)).sum())
}

/// A row from the Dirichlet distribution with all parameters `alpha`: gamma variates over their sum.
fn dirichlet(alpha: f64, states: usize, rng: &mut Rng) -> Vec<f64> {
    let mut row: Vec<f64> = (0..states).map(|_| gamma(alpha, rng)).collect();
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|number| *number /= sum);
    row
}

/// A gamma variate of scale 1 by the method of Marsaglia and Tsang 2000, which below shape 1 scales one of the shape plus 1.
fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    if shape < 1.0 {
        let scale = libm::pow(1.0 - rng.uniform_f64(), 1.0 / shape);
        return scale * gamma(shape + 1.0, rng);
    }
    let d = shape - 1.0 / 3.0;
    loop {
        let mut normal = [0.0];
        rng.fill_normal(&mut normal);
        let root = 1.0 + normal[0] / libm::sqrt(9.0 * d);
        let v = root * root * root;
        let ln_uniform = libm::log(1.0 - rng.uniform_f64());
        if v > 0.0 && ln_uniform < 0.5 * normal[0] * normal[0] + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn drawn(tables: &Tables, length: usize, rng: &mut Rng) -> Vec<u32> {
        let mut states = vec![];
        tables.draw(length, rng, &mut states);
        states
    }

    #[test]
    fn gamma_variates_have_their_moments() {
        let mut rng = Rng::stream(0, "gamma");
        for shape in [0.1, 0.5, 1.0, 2.5, 100.0] {
            let numbers: Vec<f64> = (0..50_000).map(|_| gamma(shape, &mut rng)).collect();
            let n = numbers.len() as f64;
            let mean = numbers.iter().sum::<f64>() / n;
            let variance = numbers.iter().map(|x| (x - shape).powi(2)).sum::<f64>() / n;
            assert!((mean - shape).abs() < 5.0 * (shape / n).sqrt(), "shape {shape}: mean {mean}");
            // The fourth central moment is 3 shape² + 6 shape.
            let error = ((2.0 * shape * shape + 6.0 * shape) / n).sqrt();
            assert!((variance - shape).abs() < 5.0 * error, "shape {shape}: variance {variance}");
            // Mean of ln at shape 1: −0.5772, Euler's constant; its variance is π²/6.
            if shape == 1.0 {
                let mean = numbers.iter().map(|x| x.ln()).sum::<f64>() / n;
                assert!((mean + 0.577_215_664_9).abs() < 5.0 * (1.644_934 / n).sqrt(), "{mean}");
            }
        }
    }

    /// A Dirichlet variate of K equal parameters has components of mean 1/K and variance (K − 1) / (K² (K alpha + 1)).
    #[test]
    fn fixed_tables_are_dirichlet_and_the_seed_chooses_them() {
        for alpha in [0.1, 1.0, 3.0] {
            let tables = Tables::new((4, 1), 2000, alpha, 0);
            let rows: Vec<&[f64]> = tables.probabilities.chunks(4).collect();
            assert_eq!(rows.len(), 8000);
            assert!(
                rows.iter().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && row.iter().all(|&p| p > 0.0))
            );
            let exact: f64 = 3.0 / 16.0 / (4.0 * alpha + 1.0);
            let mean = rows.iter().map(|row| row[0]).sum::<f64>() / 8000.0;
            let variance = rows.iter().map(|row| (row[0] - 0.25).powi(2)).sum::<f64>() / 8000.0;
            assert!((mean - 0.25).abs() < 5.0 * (exact / 8000.0).sqrt(), "alpha {alpha}: mean {mean}");
            assert!((variance / exact - 1.0).abs() < 0.1, "alpha {alpha}: variance {variance}, not {exact}");
        }
        let tables = |seed: u64| Tables::new((3, 1), 2, 1.0, seed).probabilities;
        assert_eq!(tables(1), tables(1));
        assert_ne!(tables(1), tables(2));
    }

    #[test]
    fn one_table_is_followed_and_known() {
        let tables = Tables::new((3, 2), 1, 1.0, 0);
        let (mut counts, mut rng) = (vec![0.0; 27], Rng::stream(0, "one table"));
        for _ in 0..5000 {
            let states = drawn(&tables, 40, &mut rng);
            let losses: Vec<f64> = tables.losses(&states).collect();
            assert!(
                losses.len() == 40 && losses[..2].iter().all(|loss| (loss - 3f64.ln()).abs() < 1e-12),
                "{losses:?}"
            );
            for (window, loss) in states.windows(3).zip(&losses[2..]) {
                let at = window.iter().fold(0, |code, &state| 3 * code + state as usize);
                counts[at] += 1.0;
                assert!((loss + tables.probabilities[at].ln()).abs() < 1e-9);
            }
        }
        for (row, probabilities) in counts.chunks(3).zip(tables.probabilities.chunks(3)) {
            let total: f64 = row.iter().sum();
            for (count, p) in row.iter().zip(probabilities) {
                assert!((count - total * p).abs() < 5.0 * (total * p * (1.0 - p)).sqrt(), "{row:?}: {probabilities:?}");
            }
        }
    }

    /// Each table's likelihood by plain products: exact while sequences are short.
    #[test]
    fn the_mixture_weighs_tables_by_their_likelihood() {
        let tables = Tables::new((3, 1), 6, 0.4, 0);
        let mut rng = Rng::stream(0, "mixture");
        for _ in 0..1000 {
            let states = drawn(&tables, 12, &mut rng);
            let step = |table: usize, t: usize| match t {
                0 => 1.0 / 3.0,
                _ => tables.probabilities[table * 9 + states[t - 1] as usize * 3 + states[t] as usize],
            };
            let given = |table: usize, n: usize| (0..n).map(|t| step(table, t)).product::<f64>();
            let likelihood = |n: usize| (0..6).map(|table| given(table, n)).sum::<f64>();
            for (t, loss) in tables.losses(&states).enumerate() {
                let exact = (likelihood(t) / likelihood(t + 1)).ln();
                assert!((loss - exact).abs() < 1e-9, "{loss} is not {exact} at {t} of {states:?}");
            }
        }
    }

    #[test]
    fn states_are_picked_by_their_place_in_the_sum() {
        let row = [0.25, 0.5, 0.25];
        assert_eq!([0.0, 0.24, 0.25, 0.74, 0.75, 0.999].map(|uniform| pick(&row, uniform)), [0, 0, 1, 1, 2, 2]);
        assert_eq!(pick(&[0.3, 0.3, 0.3], 0.95), 2);
    }
}
