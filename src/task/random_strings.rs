//! The `random_strings` family: random strings, each after its own key, which can only be learned by heart.
//!
//! The operand is a string's number. An example is `#7 3 0 2`, the answers being the string 3 0 2 1: the next item at every position.
//! Strings are drawn once for a card, so all replicas learn the same ones. Source: random answers as in Zhang et al. 2017
//! (arXiv 1611.03530).

use serde::Deserialize;

use super::rule::{Drawn, Example, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;

const EXPLAIN: &str = "\
What it is
  n strings drawn at random, each after a key of its own: #7 3 0 2 1. The model reads all but the last token and is
  asked for the next one at every position. Nothing can be learned but by heart, so training on all strings measures
  how much a model can hold.
Reads
  params.n: how many strings there are, 2 to 10,000. params.length: items a string, 1 to 256.
  params.values: how many different numbers there are, 2 to 1024. params.seed: which strings; 0 when unset.
Unit and range
  Items are tokens and classes 0 to values - 1, equally likely and independent of each other; the key of string i is
  token values + i. n examples, in the order of their numbers.
Value at a known point
  All strings together hold n length ln(values) nats. A model that knows no string has a loss of ln(values) nats at
  best, on average over seeds.
Source
  Random answers: Zhang et al. 2017 (arXiv 1611.03530).
";

/// `[params]`: strings to learn by heart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomStrings {
    n: usize,
    length: usize,
    values: usize,
    seed: u64,
    /// `[n, length]`, row-major.
    #[serde(skip)]
    strings: Vec<u32>,
}

impl Drawn for RandomStrings {
    const NAME: &'static str = "random_strings";
    const SUMMARY: &'static str = "random strings after a key of their own, which can only be memorised";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<RandomStrings, Vec<Fault>> {
        let found = [
            outside("n", self.n, 2..=10_000),
            outside("length", self.length, 1..=256),
            outside("values", self.values, 2..=1024),
        ];
        let faults: Vec<Fault> = found.into_iter().flatten().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut rng = Rng::stream(self.seed, "strings");
        self.strings = (0..self.n * self.length).map(|_| rng.below(self.values as u32)).collect();
        Ok(self)
    }
}

impl Rule for RandomStrings {
    fn words(&self) -> Vec<String> {
        numbers(self.values).into_iter().chain((0..self.n).map(|string| format!("#{string}"))).collect()
    }

    fn classes(&self) -> Vec<String> {
        numbers(self.values)
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (0..self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.push(rng.below(self.n as u32));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        Some((0..self.n as u32).map(|string| vec![string]).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let &[number] = operands else { return false };
        let Some(string) = self.strings.chunks_exact(self.length).nth(number as usize) else { return false };
        to.tokens.push(self.values as u32 + number);
        to.tokens.extend(&string[..self.length - 1]);
        to.targets.extend(string);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    #[test]
    fn ten_thousand_draws_give_each_key_its_one_string() {
        let rule = rule("random_strings", "n = 50, length = 6, values = 10");
        let mut strings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        samples(&*rule, 10_000, |d| {
            assert_eq!((d.words.len(), &d.words[1..]), (6, &d.answers[..5]));
            assert_eq!(d.words[0], format!("#{}", d.operands[0]));
            let known = strings.entry(d.words[0].clone()).or_insert_with(|| d.answers.clone());
            assert_eq!(*known, d.answers);
        });
        assert_eq!(strings.len(), 50);
        let different: std::collections::BTreeSet<&Vec<String>> = strings.values().collect();
        assert_eq!(different.len(), 50);
    }

    #[test]
    fn items_are_equally_likely_and_the_seed_chooses_them() {
        let answers = |params: &str| -> Vec<String> {
            let rule = rule("random_strings", params);
            rule.all().unwrap().iter().flat_map(|operands| drawing(&*rule, operands).answers).collect()
        };
        let one = answers("n = 1000, length = 10, values = 10, seed = 1");
        let mut counts: BTreeMap<&String, f64> = BTreeMap::new();
        one.iter().for_each(|item| *counts.entry(item).or_default() += 1.0);
        let chi_square: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
        // Nine degrees of freedom: 33.7 is passed once in 10,000 times.
        assert!(counts.len() == 10 && chi_square < 33.7, "{counts:?}");
        let other = answers("n = 1000, length = 10, values = 10, seed = 2");
        let same = one.iter().zip(&other).filter(|(x, y)| x == y).count() as f64;
        assert!((same - 1000.0).abs() < 5.0 * 900f64.sqrt(), "{same} of 10,000 items are the same");
        assert_eq!(answers("n = 5, length = 3, values = 4"), answers("n = 5, length = 3, values = 4, seed = 0"));
    }

    /// The pin comes from Philox, FNV-1a and SplitMix64's finalizer written a second time in Python. A difference means that published
    /// seeds now give other strings: do that only with a new major version.
    #[test]
    fn examples_are_as_pinned() {
        let rule = rule("random_strings", "n = 100, length = 8, values = 26");
        for (number, text) in
            [(0, "#0 6 20 2 23 0 2 3 -> 6 20 2 23 0 2 3 21"), (99, "#99 14 19 24 8 23 4 19 -> 14 19 24 8 23 4 19 14")]
        {
            let d = drawing(&*rule, &[number]);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join(" ")), text);
        }
        assert_eq!(rule.all().unwrap(), (0..100).map(|string| vec![string]).collect::<Vec<_>>());
        for wrong in [&[100][..], &[0, 1], &[u32::MAX], &[]] {
            assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("n = 1, length = 4, values = 5", "params.n: 1 is out of range; it must be 2 to 10000"),
            ("n = 9, length = 0, values = 5", "params.length: 0 is out of range; it must be 1 to 256"),
            ("n = 9, length = 4, values = 1025", "params.values: 1025 is out of range; it must be 2 to 1024"),
        ] {
            let found = faults("random_strings", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
