//! The `in_context_regression` family: linear functions drawn anew for each prompt, to be learned from its points.
//!
//! Operands are the two halves of the number that a prompt is drawn from. An example is `x1 y1 x2 y2 … xk` in real numbers, the answers
//! being y at each x. Source: Garg et al. 2022 (arXiv 2208.01066).

use serde::Deserialize;

use super::least_squares::Fit;
use super::rule::{Drawn, Example, Rule, Widths, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Numbers that the weights of fixed tasks may be together.
const MAX_NUMBERS: usize = 1_000_000;

const EXPLAIN: &str = "\
What it is
  Prompts x1 y1 x2 y2 ... xk of points of a linear function y = A x (+ b) + noise. x, A and b are normal, A and b drawn
  anew for each prompt, or taken from a fixed number of tasks, each as likely. At each x the model is asked for its y,
  noise included, from the points before.
Reads
  params.d: numbers in an x, 1 to 64. params.outputs: numbers in a y, 1 to 64; 1 when unset. params.points: points of
  a prompt, k, 2 to 256. params.noise: deviation of the noise, 0 when unset. params.deviation: that of A's and b's
  numbers; 1 when unset. params.bias: whether there is a b; false when unset. params.tasks: how many fixed tasks there
  are, from 1, with noise; fresh ones when unset. params.tasks_seed: which; 0 when unset.
Unit and range
  Real numbers. A position has d + outputs numbers: [x 0] at the place of an x, [0 y] at that of a y; 2 k - 1 positions.
  The loss is the squared error, its mean over the outputs: loss.kind = \"mse\". With fixed tasks half of the examples
  for testing have fresh ones; the label fresh, 0 or 1, tells them apart. Operands are the low and the high half of a
  64-bit number that everything of a prompt is drawn from, and, with fixed tasks, that label. Baselines, as squared
  errors at each point, from the points before it:
    zero           0
    least_squares  least squares, and of all weights that fit as well those of least norm
    ridge          fixed tasks only: what bayes would be with fresh ones
    bayes          the mean of y given the points: fresh tasks: ridge regression with the weight
                   noise^2 / deviation^2, which without noise is least squares; fixed tasks: the mean over all of
                   them, each weighted by what it gives the points
Value at a known point
  d = 5 without noise: the error of zero is 5, that of least squares 5 - n after n < 5 points, and 0 from then on.
Source
  Garg et al. 2022 (arXiv 2208.01066); fixed tasks and their baselines: Raventos et al. 2023 (arXiv 2306.15063), where
  bayes is called dMMSE.
";

/// `[params]`: linear functions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InContextRegression {
    d: usize,
    outputs: Option<usize>,
    points: usize,
    noise: f64,
    deviation: Option<f64>,
    bias: bool,
    tasks: Option<usize>,
    tasks_seed: u64,
    /// `[tasks]` weights, as [`Prompt::weights`] has them.
    #[serde(skip)]
    fixed: Option<Vec<Vec<f64>>>,
}

/// The numbers of one prompt.
struct Prompt {
    /// `[points, terms]`: x, and 1 where there is a bias.
    x: Vec<f64>,
    /// `[points, outputs]`.
    y: Vec<f64>,
}

impl InContextRegression {
    fn outputs(&self) -> usize {
        self.outputs.unwrap_or(1)
    }

    fn deviation(&self) -> f64 {
        self.deviation.unwrap_or(1.0)
    }

    /// Weights of an output.
    fn terms(&self) -> usize {
        self.d + usize::from(self.bias)
    }

    /// `[terms, outputs]`.
    fn draw_weights(&self, rng: &mut Rng) -> Vec<f64> {
        let mut weights = vec![0.0; self.terms() * self.outputs()];
        rng.fill_normal(&mut weights);
        weights.iter_mut().for_each(|weight| *weight *= self.deviation());
        weights
    }

    /// `[outputs]`: what these weights give at `x [terms]`.
    fn apply<'a>(&'a self, weights: &'a [f64], x: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let weight = move |term: usize, output: usize| weights[term * self.outputs() + output];
        (0..self.outputs()).map(move |output| x.iter().enumerate().map(|(term, x)| x * weight(term, output)).sum())
    }

    /// Everything of the prompt of these operands; none for operands that there are not.
    fn prompt(&self, operands: &[u32]) -> Option<Prompt> {
        let (low, high, fresh) = match (operands, &self.fixed) {
            (&[low, high], None) => (low, high, true),
            (&[low, high, fresh @ (0 | 1)], Some(_)) => (low, high, fresh == 1),
            _ => return None,
        };
        let mut rng = Rng::stream(u64::from(low) | u64::from(high) << 32, "prompt");
        let drawn;
        let weights = match self.fixed.as_ref().filter(|_| !fresh) {
            Some(tasks) => &tasks[rng.below(tasks.len() as u32) as usize],
            None => {
                drawn = self.draw_weights(&mut rng);
                &drawn
            }
        };
        let terms = self.terms();
        let mut x = vec![1.0; self.points * terms];
        for x in x.chunks_exact_mut(terms) {
            rng.fill_normal(&mut x[..self.d]);
        }
        let mut y = vec![0.0; self.points * self.outputs()];
        rng.fill_normal(&mut y);
        for (y, x) in y.chunks_exact_mut(self.outputs()).zip(x.chunks_exact(terms)) {
            for (y, exact) in y.iter_mut().zip(self.apply(weights, x)) {
                *y = exact + self.noise * *y;
            }
        }
        Some(Prompt { x, y })
    }

    /// `[points]`: the errors of a predictor of y `[outputs]` that is shown each point after it has answered.
    fn errors<S>(
        &self,
        prompt: &Prompt,
        mut state: S,
        predict: impl Fn(&S, &[f64]) -> Vec<f64>,
        show: impl Fn(&mut S, &[f64], &[f64]),
    ) -> Vec<f64> {
        let points = prompt.x.chunks_exact(self.terms()).zip(prompt.y.chunks_exact(self.outputs()));
        let error = |(x, y): (&[f64], &[f64])| {
            let squares = predict(&state, x).iter().zip(y).map(|(found, y)| (found - y) * (found - y)).sum::<f64>();
            show(&mut state, x, y);
            squares / self.outputs() as f64
        };
        points.map(error).collect()
    }

    /// Of ridge regression, or of least squares.
    fn linear_errors(&self, prompt: &Prompt, prior: Option<f64>) -> Vec<f64> {
        let fit = Fit::new(self.terms(), self.outputs(), prior);
        let predict = |fit: &Fit, x: &[f64]| (0..self.outputs()).map(|output| fit.predict(x, output)).collect();
        self.errors(prompt, fit, predict, Fit::add)
    }

    /// Of the mean over fixed tasks, the state being the logarithm of each task's likelihood.
    fn mixture_errors(&self, prompt: &Prompt, tasks: &[Vec<f64>]) -> Vec<f64> {
        let predict = |log_likelihood: &Vec<f64>, x: &[f64]| {
            let top = log_likelihood.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut mean, mut total) = (vec![0.0; self.outputs()], 0.0);
            for (task, log_likelihood) in tasks.iter().zip(log_likelihood) {
                let weight = libm::exp(log_likelihood - top);
                total += weight;
                mean.iter_mut().zip(self.apply(task, x)).for_each(|(mean, y)| *mean += weight * y);
            }
            mean.into_iter().map(|mean| mean / total).collect()
        };
        let show = |log_likelihood: &mut Vec<f64>, x: &[f64], y: &[f64]| {
            for (task, log_likelihood) in tasks.iter().zip(log_likelihood) {
                let squares: f64 = self.apply(task, x).zip(y).map(|(found, y)| (found - y) * (found - y)).sum();
                *log_likelihood -= squares / (2.0 * self.noise * self.noise);
            }
        };
        self.errors(prompt, vec![0.0; tasks.len()], predict, show)
    }
}

impl Drawn for InContextRegression {
    const NAME: &'static str = "in_context_regression";
    const SUMMARY: &'static str = "linear functions to learn in context, in real numbers: x1 y1 x2 y2 x3";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<InContextRegression, Vec<Fault>> {
        let ranges = [
            outside("d", self.d, 1..=64),
            outside("outputs", self.outputs(), 1..=64),
            outside("points", self.points, 2..=256),
        ];
        let mut faults: Vec<Fault> = ranges.into_iter().flatten().collect();
        if self.noise != 0.0 && !(1e-4..=100.0).contains(&self.noise) {
            faults.push(fault("noise", format!("{} is out of range; it must be 0, or 0.0001 to 100", self.noise)));
        }
        if !(1e-2..=100.0).contains(&self.deviation()) {
            let message = format!("{} is out of range; it must be 0.01 to 100", self.deviation());
            faults.push(fault("deviation", message));
        }
        if let Some(tasks) = self.tasks {
            let most = MAX_NUMBERS / (self.terms() * self.outputs()).max(1);
            faults.extend(outside("tasks", tasks, 1..=most));
            if self.noise == 0.0 {
                let message = "missing; without noise a single point would tell which of the fixed tasks a prompt has";
                faults.push(fault("noise", message));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.fixed = self.tasks.map(|tasks| {
            let mut rng = Rng::stream(self.tasks_seed, "tasks of a regression");
            (0..tasks).map(|_| self.draw_weights(&mut rng)).collect()
        });
        Ok(self)
    }
}

impl Rule for InContextRegression {
    fn widths(&self) -> Option<Widths> {
        Some(Widths { x: self.d + self.outputs(), y: self.outputs() })
    }

    fn words(&self) -> Vec<String> {
        vec![]
    }

    fn n_ctx(&self) -> usize {
        2 * self.points - 1
    }

    fn loss_positions(&self) -> Vec<usize> {
        (0..self.points).map(|point| 2 * point).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend([rng.next_u32(), rng.next_u32()]);
        operands.extend(self.fixed.as_ref().map(|_| 0));
    }

    fn draw_test(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend([rng.next_u32(), rng.next_u32()]);
        operands.extend(self.fixed.as_ref().map(|_| rng.below(2)));
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some(Prompt { x, y }) = self.prompt(operands) else { return false };
        let (d, outputs) = (self.d, self.outputs());
        for (point, (x, y)) in x.chunks_exact(self.terms()).zip(y.chunks_exact(outputs)).enumerate() {
            to.x.extend(&x[..d]);
            to.x.extend((0..outputs).map(|_| 0.0));
            if point + 1 < self.points {
                to.x.extend((0..d).map(|_| 0.0));
                to.x.extend(y);
            }
        }
        to.y = y;
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        self.fixed.as_ref().map(|_| "fresh")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands.get(2).copied().unwrap_or(0)
    }

    fn baselines(&self) -> &'static [&'static str] {
        match self.tasks {
            None => &["zero", "least_squares", "bayes"],
            Some(_) => &["zero", "least_squares", "ridge", "bayes"],
        }
    }

    fn baseline_losses(&self, operands: &[u32]) -> Vec<f64> {
        let Some(prompt) = self.prompt(operands) else { return vec![] };
        let ratio = self.noise / self.deviation();
        let prior = (self.noise > 0.0).then_some(ratio * ratio);
        let zero = self.errors(&prompt, (), |(), _| vec![0.0; self.outputs()], |(), _, _| ());
        let mixture = self.fixed.as_ref().map_or(vec![], |tasks| self.mixture_errors(&prompt, tasks));
        [zero, self.linear_errors(&prompt, None), self.linear_errors(&prompt, prior), mixture].concat()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::linalg::symmetric_eigen;
    use crate::task::rule::check::{faults, rule};

    /// Mean over `n` prompts of what `of` gives.
    fn mean(rule: &dyn Rule, n: usize, mut of: impl FnMut(&[u32], &Example) -> Vec<f64>) -> Vec<f64> {
        let mut rng = Rng::stream(5, "prompts");
        let mut sums: Vec<f64> = vec![];
        for _ in 0..n {
            let (mut operands, mut example) = (vec![], Example::default());
            rule.draw(&mut rng, &mut operands);
            assert!(rule.write(&operands, &mut example));
            let values = of(&operands, &example);
            sums.resize(values.len(), 0.0);
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / n as f64);
        }
        sums
    }

    #[test]
    fn ten_thousand_prompts_are_points_of_one_function_each() {
        for (params, d, outputs, bias) in [
            ("d = 5, points = 11", 5, 1, false),
            ("d = 2, points = 6, outputs = 3, bias = true, deviation = 2.0", 2, 3, true),
        ] {
            let rule = rule("in_context_regression", params);
            let widths = rule.widths().unwrap();
            let terms = d + usize::from(bias);
            let moments = mean(&*rule, 10_000, |_, example| {
                assert_eq!(example.x.len(), rule.n_ctx() * widths.x);
                assert_eq!(example.y.len(), rule.loss_positions().len() * outputs);
                let places: Vec<&[f64]> = example.x.chunks(widths.x).collect();
                let y: Vec<&[f64]> = example.y.chunks(outputs).collect();
                for (point, y) in y.iter().enumerate() {
                    assert!(places[2 * point][d..].iter().all(|&x| x == 0.0));
                    if let Some(place) = places.get(2 * point + 1) {
                        assert_eq!((&place[d..], place[..d].iter().any(|&x| x != 0.0)), (*y, false));
                    }
                }
                // The columns x and y of all points are linearly dependent: XᵀX has an eigenvalue 0 for each output.
                let row = |point: usize| {
                    let one = bias.then_some(1.0);
                    places[2 * point][..d]
                        .iter()
                        .copied()
                        .chain(one)
                        .chain(y[point].iter().copied())
                        .collect::<Vec<_>>()
                };
                let rows: Vec<Vec<f64>> = (0..y.len()).map(row).collect();
                let n = terms + outputs;
                let gram: Vec<f64> =
                    (0..n * n).map(|at| rows.iter().map(|row| row[at / n] * row[at % n]).sum()).collect();
                let values = symmetric_eigen(&gram, n).values_n;
                assert!(values[terms..].iter().all(|&value| value.abs() < 1e-9 * values[0]), "{values:?}");
                vec![example.x[0], example.x[0].powi(2), example.y[0], example.y[0].powi(2)]
            });
            let variance = terms as f64 * if bias { 4.0 } else { 1.0 };
            let near = |found: f64, exact: f64, width: f64| (found - exact).abs() < 5.0 * width / 100.0;
            assert!(near(moments[0], 0.0, 1.0) && near(moments[1], 1.0, 2f64.sqrt()), "{moments:?}");
            // y is a mixture of normals: its fourth moment is below 9 variance².
            assert!(
                near(moments[2], 0.0, variance.sqrt()) && near(moments[3], variance, 3.0 * variance),
                "{moments:?}"
            );
        }
    }

    #[test]
    fn errors_of_least_squares_fall_by_one_a_point() {
        let rule = rule("in_context_regression", "d = 5, points = 11");
        assert_eq!(rule.baselines(), ["zero", "least_squares", "bayes"]);
        let errors = mean(&*rule, 20_000, |operands, _| rule.baseline_losses(operands));
        let (zero, rest) = errors.split_at(11);
        let (least_squares, bayes) = rest.split_at(11);
        for n in 0..11 {
            let exact = (5.0 - n as f64).max(0.0);
            assert!((zero[n] - 5.0).abs() < 0.3, "{zero:?}");
            assert!(
                (least_squares[n] - exact).abs() < 0.06 * exact + 1e-12,
                "{n}: {} is not {exact}",
                least_squares[n]
            );
            assert!((bayes[n] - least_squares[n]).abs() < 1e-12);
        }
    }

    #[test]
    fn bayes_beats_every_other_where_it_is_exact() {
        let noisy = rule("in_context_regression", "d = 3, points = 8, noise = 0.5");
        let errors = mean(&*noisy, 20_000, |operands, _| noisy.baseline_losses(operands));
        let (least_squares, bayes) = errors[8..].split_at(8);
        assert!((1..8).all(|n| bayes[n] < 0.98 * least_squares[n]), "{errors:?}");
        // The variance of the noise is the least that there is to be had.
        assert!(bayes.iter().all(|&error| error > 0.25) && bayes[7] < 0.5, "{bayes:?}");
        let few = rule("in_context_regression", "d = 3, points = 8, noise = 0.5, tasks = 4");
        let errors = mean(&*few, 20_000, |operands, _| few.baseline_losses(operands));
        let (ridge, bayes) = errors[16..].split_at(8);
        assert!((0..8).all(|n| bayes[n] < 0.98 * ridge[n]) && (bayes[7] - 0.25).abs() < 0.02, "{errors:?}");
    }

    #[test]
    fn the_mean_over_fixed_tasks_is_that_of_their_likelihoods() {
        let params = "d = 1, points = 3, noise = 1.0, tasks = 2, tasks_seed = 4";
        let rule = rule("in_context_regression", params);
        let mut rng = Rng::stream(4, "tasks of a regression");
        let tasks: [f64; 2] = std::array::from_fn(|_| {
            let mut weight = [0.0];
            rng.fill_normal(&mut weight);
            weight[0]
        });
        let mut example = Example::default();
        assert!(rule.write(&[7, 8, 0], &mut example));
        let x = [example.x[0], example.x[4], example.x[8]];
        let bayes = &rule.baseline_losses(&[7, 8, 0])[9..];
        for n in 0..3 {
            let likelihood =
                |weight: f64| (0..n).map(|i| (-(weight * x[i] - example.y[i]).powi(2) / 2.0).exp()).product::<f64>();
            let [a, b] = tasks.map(likelihood);
            let mean = (a * tasks[0] + b * tasks[1]) / (a + b) * x[n];
            assert!((bayes[n] - (mean - example.y[n]).powi(2)).abs() < 1e-12, "{n}");
        }
    }

    #[test]
    fn fixed_tasks_are_told_from_fresh_ones_in_the_test() {
        let rule = rule("in_context_regression", "d = 2, points = 3, noise = 0.1, tasks = 3");
        let mut rng = Rng::stream(1, "test");
        let mut fresh = 0;
        for _ in 0..1000 {
            let (mut training, mut test) = (vec![], vec![]);
            rule.draw(&mut rng, &mut training);
            rule.draw_test(&mut rng, &mut test);
            assert_eq!(rule.label(&training), 0);
            fresh += rule.label(&test);
        }
        assert!((420..580).contains(&fresh), "{fresh}");
        assert!(!rule.write(&[1, 2], &mut Example::default()));
        assert!(!rule.write(&[1, 2, 2], &mut Example::default()));
        assert_eq!(rule.label_name(), Some("fresh"));
    }

    #[test]
    fn faults_name_the_parameter() {
        for (params, message) in [
            ("points = 5", "params.d: 0 is out of range; it must be 1 to 64"),
            ("d = 3, points = 1", "params.points: 1 is out of range; it must be 2 to 256"),
            ("d = 3, points = 4, noise = -1.0", "params.noise: -1 is out of range; it must be 0, or 0.0001 to 100"),
            ("d = 3, points = 4, deviation = 0.0", "params.deviation: 0 is out of range; it must be 0.01 to 100"),
            ("d = 3, points = 4, outputs = 65", "params.outputs: 65 is out of range; it must be 1 to 64"),
            ("d = 3, points = 4, noise = 1.0, tasks = 0", "params.tasks: 0 is out of range; it must be 1 to 333333"),
            (
                "d = 3, points = 4, tasks = 5",
                "params.noise: missing; without noise a single point would tell which of the fixed tasks a prompt has",
            ),
        ] {
            let found = faults("in_context_regression", params);
            assert!(found.iter().any(|fault| fault.contains(message)), "{params}: {found:?}");
        }
    }
}
