//! The `markov` family: sequences of Markov chains whose transition tables are drawn anew, to be learned in context.
//!
//! Operands are the states drawn, one more than the model reads. An example is `BOS 0 1 1 0`, the answers being the next state at every
//! position. Source: in-context Markov chains as in Edelman et al. 2024 (arXiv 2402.11004).

use serde::Deserialize;

use super::markov_tables::Tables;
use super::rule::{Drawn, Example, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// States that a sequence may have.
const MAX_LENGTH: usize = 512;

/// Numbers that fixed tables may have together.
const MAX_NUMBERS: usize = 4_000_000;

/// Bounds of alpha: within them no probability of a table rounds to 0.
const ALPHAS: std::ops::RangeInclusive<f64> = 0.1..=100.0;

const EXPLAIN: &str = "\
What it is
  BOS and then a sequence of states in which each state is drawn by a table's row for the last states, as many as the
  order: a Markov chain or, by another name, an n-gram model with n = order + 1. Each row of a table is drawn from the
  Dirichlet distribution with all parameters alpha. Each example has a table of its own, or one of a fixed number of
  tables, each as likely. The first states, as many as the order, are uniform and independent, so that they tell
  nothing of the table. The model reads all but the last state and is asked for the next one at every position.
Reads
  params.states: how many there are, 2 to 64. params.order: 1 to 3; 1 when unset. params.length: positions that the
  model reads, BOS being the first, from order + 1 to 512. params.alpha: 0.1 to 100; 1, uniform rows, when unset.
  params.tables: how many fixed tables there are, from 1; a fresh one for each example when unset. With one table the
  task is that table's n-grams. params.tables_seed: which fixed tables; 0 when unset.
Unit and range
  Tokens and answers 0 to states - 1; BOS is token states and no answer. Operands are all states, length of them.
  Fresh tables are not written down: a state is drawn given those before it by Polya's urn (with n times this context
  so far, one of its successors with probability n / (n + states alpha), else any state), which gives sequences the
  same distribution. Baselines, as losses of each answer:
    bayes    fresh tables: (count + alpha) / (total + states alpha), of the successors of the context so far, which is
             the exact posterior mean; fixed tables: the exact mixture of all tables, weighted by what each gives the
             sequence so far
    fresh    fixed tables only: bayes as it would be with fresh tables
    unigram  (count + alpha) / (total + states alpha), of all states so far
Value at a known point
  Three states, order 1, alpha 1: after 0 0 0 the context 0 has had the successor 0 twice, so bayes gives another 0
  the probability (2 + 1) / (2 + 3) and unigram (3 + 1) / (3 + 3). The first order + 1 answers cost bayes ln states.
Source
  Markov chains drawn from a Dirichlet prior, and models that pass from unigrams to bigrams: Edelman et al. 2024
  (arXiv 2402.11004). Gamma variates for fixed tables: Marsaglia and Tsang 2000.
";

/// `[params]`: chains to predict.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Markov {
    states: usize,
    order: Option<usize>,
    length: usize,
    alpha: Option<f64>,
    tables: Option<usize>,
    tables_seed: u64,
    #[serde(skip)]
    fixed: Option<Tables>,
}

impl Markov {
    fn order(&self) -> usize {
        self.order.unwrap_or(1)
    }

    fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(1.0)
    }

    /// What has followed, so far, on the states that stand at the end.
    fn successors<'a>(&self, past: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let order = self.order();
        let context = &past[past.len().saturating_sub(order)..];
        let recurs = move |window: &&[u32]| window.iter().zip(context).all(|(one, other)| one == other);
        past.windows(order + 1).filter(recurs).map(move |window| window[order])
    }

    fn draw_fresh(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let (states, prior) = (self.states as u32, self.alpha() * self.states as f64);
        let n_contexts = states.pow(self.order() as u32);
        // The number of each state's context; the first states have none.
        let mut contexts = [u32::MAX; MAX_LENGTH];
        let mut context = 0;
        for t in 0..self.length {
            let mut seen = None;
            if t >= self.order() {
                // Polya's urn: the balls in it are the successors so far and, of weight alpha, each state.
                let before = &contexts[..t];
                let count = before.iter().filter(|&&other| other == context).count();
                let ball = (rng.uniform_f64() * (count as f64 + prior)) as usize;
                let recurrence = before.iter().zip(&*operands).filter(|&(&other, _)| other == context);
                seen = (ball < count).then(|| recurrence.map(|(_, &state)| state).nth(ball)).flatten();
                contexts[t] = context;
            }
            let state = seen.unwrap_or_else(|| rng.below(states));
            operands.push(state);
            context = (context * states + state) % n_contexts;
        }
    }

    /// −ln of the posterior mean of a state that came `count` of `total` times.
    fn loss_of_counts(&self, (count, total): (usize, usize)) -> f64 {
        let prior = self.alpha() * self.states as f64;
        -libm::log((count as f64 + self.alpha()) / (total as f64 + prior))
    }

    /// The losses of the posterior mean under fresh tables.
    fn fresh_losses(&self, operands: &[u32]) -> impl Iterator<Item = f64> {
        let count = |t: usize| {
            let next = operands[t];
            let add = |(count, total): (usize, usize), state: u32| (count + usize::from(state == next), total + 1);
            self.successors(&operands[..t]).fold((0, 0), add)
        };
        (0..operands.len()).map(move |t| self.loss_of_counts(count(t)))
    }

    fn unigram_losses(&self, operands: &[u32]) -> impl Iterator<Item = f64> {
        let count = |t: usize| operands[..t].iter().filter(|&&state| state == operands[t]).count();
        (0..operands.len()).map(move |t| self.loss_of_counts((count(t), t)))
    }

    fn numbers_fault(&self) -> Option<Fault> {
        let tables = self.tables?;
        if tables == 0 {
            return Some(fault("tables", "0 is out of range; it must be 1 or more, or be left out for fresh tables"));
        }
        let each = self.states.pow(self.order() as u32 + 1);
        let message = format!("{tables} tables of {each} numbers are more than {MAX_NUMBERS} numbers");
        (tables > MAX_NUMBERS / each).then(|| fault("tables", message))
    }
}

impl Drawn for Markov {
    const NAME: &'static str = "markov";
    const SUMMARY: &'static str = "Markov chains of tables to learn in context, of order 1 to 3: BOS 0 1 1 0 1 1";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Markov, Vec<Fault>> {
        let alpha = self.alpha();
        let ranges = [
            outside("states", self.states, 2..=64),
            outside("order", self.order(), 1..=3),
            outside("length", self.length, self.order().min(3) + 1..=MAX_LENGTH),
        ];
        let mut faults: Vec<Fault> = ranges.into_iter().flatten().collect();
        if faults.is_empty() {
            faults.extend(self.numbers_fault());
        }
        if !ALPHAS.contains(&alpha) {
            let (least, most) = (ALPHAS.start(), ALPHAS.end());
            faults.push(fault("alpha", format!("{alpha} is out of range; it must be {least} to {most}")));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let tables = |n: usize| Tables::new((self.states, self.order()), n, alpha, self.tables_seed);
        self.fixed = self.tables.map(tables);
        Ok(self)
    }
}

impl Rule for Markov {
    fn words(&self) -> Vec<String> {
        numbers(self.states).into_iter().chain(["BOS".to_owned()]).collect()
    }

    fn classes(&self) -> Vec<String> {
        numbers(self.states)
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (0..self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        match &self.fixed {
            None => self.draw_fresh(rng, operands),
            Some(tables) => tables.draw(self.length, rng, operands),
        }
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let bos = self.states as u32;
        if operands.len() != self.length || operands.iter().any(|&state| state >= bos) {
            return false;
        }
        to.tokens.push(bos);
        to.tokens.extend(&operands[..self.length - 1]);
        to.targets.extend(operands);
        true
    }

    fn baselines(&self) -> &'static [&'static str] {
        match self.tables {
            None => &["bayes", "unigram"],
            Some(_) => &["bayes", "fresh", "unigram"],
        }
    }

    fn baseline_losses(&self, operands: &[u32]) -> Vec<f64> {
        let mixture = self.fixed.as_ref().map(|tables| tables.losses(operands));
        let fresh = self.fresh_losses(operands);
        mixture.into_iter().flatten().chain(fresh).chain(self.unigram_losses(operands)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use rand_distr::Distribution;

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    fn assert_near(found: &[f64], exact: &[f64], what: &str) {
        assert_eq!(found.len(), exact.len(), "{what}");
        for (t, (found, exact)) in found.iter().zip(exact).enumerate() {
            assert!((found - exact).abs() < 1e-9, "{what}: {found} is not {exact} at {t}");
        }
    }

    /// Losses from counts by text: of each word's successors after the last `order` words, where `order` of them are there.
    fn by_text(words: &[String], order: usize, (alpha, states): (f64, f64)) -> Vec<f64> {
        let mut books = BTreeMap::<String, BTreeMap<&str, f64>>::new();
        let mut losses = vec![];
        for (t, word) in words.iter().enumerate() {
            let context = if t < order { format!("start {t}") } else { words[t - order..t].join(" ") };
            let book = books.entry(context).or_default();
            let total: f64 = book.values().sum();
            let count = book.get(word.as_str()).copied().unwrap_or(0.0);
            losses.push(-((count + alpha) / (total + alpha * states)).ln());
            if t >= order {
                *book.entry(word).or_default() += 1.0;
            }
        }
        losses
    }

    #[test]
    fn ten_thousand_chains_go_on_and_have_the_losses_of_their_counts() {
        for (params, order, prior) in [
            ("states = 3, length = 64", 1, (1.0, 3.0)),
            ("states = 2, length = 30, order = 2, alpha = 0.5", 2, (0.5, 2.0)),
            ("states = 2, length = 16, order = 3, alpha = 2.5", 3, (2.5, 2.0)),
            ("states = 3, length = 20, tables = 4", 1, (1.0, 3.0)),
        ] {
            let rule = rule("markov", params);
            let fixed = rule.baselines().contains(&"fresh");
            samples(&*rule, 10_000, |d| {
                assert_eq!((d.words[0].as_str(), &d.words[1..]), ("BOS", &d.answers[..d.answers.len() - 1]));
                let losses = rule.baseline_losses(&d.operands);
                let n = d.answers.len();
                assert_eq!(losses.len(), n * rule.baselines().len());
                let by_text = [by_text(&d.answers, order, prior), by_text(&d.answers, 0, prior)].concat();
                assert_near(&losses[if fixed { n } else { 0 }..], &by_text, params);
            });
        }
    }

    /// The mean of p(sequence) over tables of two rows, (1 − θ, θ) each, summed over a grid of both θ = sin² φ, in which the prior's
    /// density is (sin φ cos φ)^(2 alpha − 1).
    fn by_integration(sequence: &[u32], alpha: f64) -> f64 {
        let grid: Vec<(f64, f64)> = (0..400)
            .map(|i| (f64::from(i) + 0.5) / 400.0 * std::f64::consts::FRAC_PI_2)
            .map(|phi| (phi.sin().powi(2), (phi.sin() * phi.cos()).powf(2.0 * alpha - 1.0)))
            .collect();
        let (mut mean, mut mass) = (0.0, 0.0);
        for &(after_0, weight_0) in &grid {
            for &(after_1, weight_1) in &grid {
                let one = |before: u32| if before == 0 { after_0 } else { after_1 };
                let step = |pair: &[u32]| if pair[1] == 1 { one(pair[0]) } else { 1.0 - one(pair[0]) };
                mean += weight_0 * weight_1 * 0.5 * sequence.windows(2).map(step).product::<f64>();
                mass += weight_0 * weight_1;
            }
        }
        mean / mass
    }

    #[test]
    fn bayes_is_the_integral_over_all_tables() {
        for alpha in [0.5, 1.0, 2.0] {
            let rule = rule("markov", &format!("states = 2, length = 8, alpha = {alpha:?}"));
            for sequence in [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1, 0, 0]] {
                let exact: Vec<f64> =
                    (0..=8).map(|n| if n == 0 { 1.0 } else { by_integration(&sequence[..n], alpha) }).collect();
                let exact: Vec<f64> = exact.windows(2).map(|pair| -(pair[1] / pair[0]).ln()).collect();
                for (found, exact) in rule.baseline_losses(&sequence)[..8].iter().zip(exact) {
                    assert!((found - exact).abs() < 1e-4, "alpha {alpha}, {sequence:?}: {found} is not {exact}");
                }
            }
        }
    }

    /// All sequences of six states, how often they come from tables that are drawn first, by another crate, and how often from `draw`.
    #[test]
    fn the_urn_draws_as_tables_would() {
        for (order, alpha) in [(1, 0.5), (1, 2.0), (2, 0.5), (3, 1.0)] {
            let rule = rule("markov", &format!("states = 2, length = 6, order = {order}, alpha = {alpha:?}"));
            let mut rng = Rng::stream(1, "two ways");
            let gamma = rand_distr::Gamma::new(alpha, 1.0).unwrap();
            let by_table = |rng: &mut Rng| {
                let ones: [f64; 8] = std::array::from_fn(|_| {
                    let [zero, one] = [gamma.sample(rng), gamma.sample(rng)];
                    one / (zero + one)
                });
                (0..6).fold(0, |code: usize, t| {
                    let one = if t < order { 0.5 } else { ones[code % (1 << order)] };
                    2 * code + usize::from(rng.uniform_f64() < one)
                })
            };
            let by_urn = |rng: &mut Rng| {
                let mut operands = vec![];
                rule.draw(rng, &mut operands);
                operands.iter().fold(0, |code, &state| 2 * code + state as usize)
            };
            let mut counts = [[0f64; 64]; 2];
            for _ in 0..30_000 {
                counts[0][by_table(&mut rng)] += 1.0;
                counts[1][by_urn(&mut rng)] += 1.0;
            }
            // 63 degrees of freedom: mean 63, deviation √126.
            let term = |i: usize| (counts[0][i] - counts[1][i]).powi(2) / (counts[0][i] + counts[1][i]);
            let chi_square: f64 = (0..64).map(term).sum();
            assert!(chi_square < 63.0 + 5.0 * 126f64.sqrt(), "order {order}, alpha {alpha}: {chi_square}");
        }
    }

    #[test]
    fn the_probabilities_of_all_sequences_sum_to_one() {
        for params in [
            "states = 3, length = 6, order = 2, alpha = 0.7",
            "states = 3, length = 6, tables = 5, alpha = 0.3",
            "states = 3, length = 6, tables = 2, order = 3",
        ] {
            let rule = rule("markov", params);
            let mut sums = vec![0.0; rule.baselines().len()];
            for operands in crate::task::list_map::every_list(3, 6).unwrap() {
                for (sum, losses) in sums.iter_mut().zip(rule.baseline_losses(&operands).chunks(6)) {
                    *sum += (-losses.iter().sum::<f64>()).exp();
                }
            }
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-9), "{params}: {sums:?}");
        }
    }

    /// What order the baselines have, on average: who knows the tables loses least.
    #[test]
    fn better_knowledge_loses_less() {
        let rule = rule("markov", "states = 3, length = 64, tables = 8, alpha = 0.5");
        let mut sums = [0.0; 3];
        samples(&*rule, 2000, |d| {
            let losses = rule.baseline_losses(&d.operands);
            sums.iter_mut().zip(losses.chunks(64)).for_each(|(sum, losses)| *sum += losses.iter().sum::<f64>());
        });
        let [bayes, fresh, unigram] = sums.map(|sum| sum / 2000.0 / 64.0);
        assert!(bayes < fresh - 0.01 && fresh < unigram - 0.01 && unigram < 3f64.ln(), "{bayes} {fresh} {unigram}");
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let rule = rule("markov", "states = 3, length = 4");
        let d = drawing(&*rule, &[0, 0, 0, 0]);
        assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), ("BOS 0 0 0", "0 0 0 0"));
        let ln = |numerator: f64, denominator: f64| (denominator / numerator).ln();
        let bayes = [ln(1.0, 3.0), ln(1.0, 3.0), ln(2.0, 4.0), ln(3.0, 5.0)];
        let unigram = [ln(1.0, 3.0), ln(2.0, 4.0), ln(3.0, 5.0), ln(4.0, 6.0)];
        assert_near(&rule.baseline_losses(&[0, 0, 0, 0]), &[bayes, unigram].concat(), "0 0 0 0");
        assert_eq!((rule.baselines(), rule.loss_positions()), (&["bayes", "unigram"][..], vec![0, 1, 2, 3]));
        for wrong in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 0], &[0, 0, 0, 3]] {
            assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("states = 1, length = 8", "params.states: 1 is out of range; it must be 2 to 64"),
            ("states = 2, length = 8, order = 4", "params.order: 4 is out of range; it must be 1 to 3"),
            ("states = 2, length = 3, order = 3", "params.length: 3 is out of range; it must be 4 to 512"),
            ("states = 2, length = 8, alpha = 0.05", "params.alpha: 0.05 is out of range; it must be 0.1 to 100"),
            ("states = 2, length = 8, alpha = nan", "params.alpha: NaN is out of range; it must be 0.1 to 100"),
            (
                "states = 2, length = 8, tables = 0",
                "params.tables: 0 is out of range; it must be 1 or more, or be left out for fresh tables",
            ),
            (
                "states = 64, length = 8, order = 3, tables = 1",
                "params.tables: 1 tables of 16777216 numbers are more than 4000000 numbers",
            ),
        ] {
            let found = faults("markov", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("markov", "alpha = 0.0").len(), 3, "all at once");
    }
}
