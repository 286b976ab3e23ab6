//! The `recurrence` family: sequences in which each number is a fixed sum of the last ones, mod m.
//!
//! Operands are the first numbers, as many as the order. An example is the sequence's beginning, `1 1 2 3 5`, the answers being the next
//! number at each place from which it follows. Source: linear recurrences by their usual definition; Fibonacci's is x + y.

use serde::Deserialize;

use super::list_map::every_list;
use super::rule::{Drawn, Example, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  A sequence whose numbers follow from the last ones: x_n = c_1 x_(n-1) + c_2 x_(n-2) + ... mod m. Fibonacci's has the
  coefficients 1, 1. The model reads length numbers and is asked for the next one at each place from which it follows,
  or at the last place alone. With the first numbers alone, as many as there are coefficients, it is one question: the
  next number.
Reads
  params.modulus: m, 2 to 1024. params.coefficients: one to four numbers below m, c_1 first, the last not 0; m - 1 is
  as good as -1. The order is how many they are. params.length: numbers that the model reads, from the order to 64.
  params.ask: all or last; all when unset.
Unit and range
  Tokens and answers 0 to m - 1, without any sign. Operands are the first numbers, which are drawn independently.
  A finite set without split.examples holds all beginnings, where there are at most 100,000. If length is above the
  order and all is asked, each step of an example is the first step of an example: a split then holds no step out.
Value at a known point
  Fibonacci's sequence mod 59 goes on from 1 1 with 2 3 5 8 13 21 34 55 30, as 34 + 55 = 89. From 0 0 it stays 0.
Source
  The usual definition.
";

/// `[params]`: sequences to go on with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recurrence {
    modulus: usize,
    /// c_1 first.
    coefficients: Vec<usize>,
    length: usize,
    ask: Ask,
}

/// Where the next number is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[default]
    All,
    Last,
}

impl Recurrence {
    fn order(&self) -> usize {
        self.coefficients.len()
    }

    fn first_asked(&self) -> usize {
        match self.ask {
            Ask::All => self.order() - 1,
            Ask::Last => self.length - 1,
        }
    }
}

impl Drawn for Recurrence {
    const NAME: &'static str = "recurrence";
    const SUMMARY: &'static str = "sequences by a linear recurrence mod m, such as Fibonacci's: 1 1 2 3 5 8";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<Recurrence, Vec<Fault>> {
        let mut faults: Vec<Fault> = outside("modulus", self.modulus, 2..=1024).into_iter().collect();
        if !(1..=4).contains(&self.order()) {
            faults.push(fault("coefficients", format!("holds {} numbers; it must be 1 to 4", self.order())));
        }
        if self.coefficients.last() == Some(&0) {
            faults.push(fault("coefficients", "the last one is 0; leave it out"));
        }
        let below_modulus = 0..=self.modulus.saturating_sub(1);
        faults.extend(self.coefficients.iter().find_map(|&c| outside("coefficients", c, below_modulus.clone())));
        faults.extend(outside("length", self.length, self.order().max(1)..=64));
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Recurrence {
    fn words(&self) -> Vec<String> {
        numbers(self.modulus)
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.first_asked()..self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend((0..self.order()).map(|_| rng.below(self.modulus as u32)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        every_list(self.modulus, self.order())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let modulus = self.modulus as u32;
        if operands.len() != self.order() || operands.iter().any(|&number| number >= modulus) {
            return false;
        }
        let tokens = &mut to.tokens;
        tokens.extend(operands);
        // One more than the model reads: the answer at a position is the number after it.
        while tokens.len() <= self.length {
            let terms = self.coefficients.iter().zip(tokens.iter().rev()).map(|(&c, &number)| c as u32 * number);
            let next = terms.sum::<u32>() % modulus;
            tokens.push(next);
        }
        to.targets.extend(&tokens[self.first_asked() + 1..]);
        tokens.truncate(self.length);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// What the next number is congruent to, from the last ones, the last of all at the end.
    type Next<'a> = &'a dyn Fn(&[i64]) -> i64;

    /// Every answer is below m and differs from the sum, written out by hand, by a multiple of m.
    #[test]
    fn ten_thousand_sequences_go_on_by_their_rule() {
        let table: [(&str, i64, usize, Next<'_>); 6] = [
            ("modulus = 59, coefficients = [1, 1], length = 2", 59, 2, &|w: &[i64]| w[0] + w[1]),
            ("modulus = 19, coefficients = [1, 1], length = 10", 19, 2, &|w: &[i64]| w[0] + w[1]),
            ("modulus = 7, coefficients = [3], length = 6", 7, 1, &|w: &[i64]| 3 * w[0]),
            ("modulus = 17, coefficients = [2, 0, 5], length = 9", 17, 3, &|w: &[i64]| 2 * w[2] + 5 * w[0]),
            ("modulus = 1024, coefficients = [1023, 1023, 1023, 1023], length = 64", 1024, 4, &|w: &[i64]| {
                -w.iter().sum::<i64>()
            }),
            ("modulus = 31, coefficients = [1, 2, 3, 4], length = 12, ask = \"last\"", 31, 4, &|w: &[i64]| {
                w[3] + 2 * w[2] + 3 * w[1] + 4 * w[0]
            }),
        ];
        for (params, modulus, order, next) in table {
            let rule = rule("recurrence", params);
            samples(&*rule, 10_000, |d| {
                let parse = |words: &[String]| -> Vec<i64> { words.iter().map(|word| word.parse().unwrap()).collect() };
                let (read, answers) = (parse(&d.words), parse(&d.answers));
                let whole = [&read[..], &answers[answers.len() - 1..]].concat();
                assert_eq!(read[..order], d.operands.iter().map(|&x| x.into()).collect::<Vec<i64>>());
                for window in whole.windows(order + 1) {
                    let found = window[order];
                    assert_eq!((next(&window[..order]) - found).rem_euclid(modulus), 0, "{params}: {whole:?}");
                    assert!((0..modulus).contains(&found), "{params}: {whole:?}");
                }
                let asked = if params.contains("last") { 1 } else { read.len() - order + 1 };
                assert_eq!(answers, whole[whole.len() - asked..], "{params}");
            });
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let fibonacci = rule("recurrence", "modulus = 59, coefficients = [1, 1], length = 10");
        let d = drawing(&*fibonacci, &[1, 1]);
        assert_eq!(d.words.join(" "), "1 1 2 3 5 8 13 21 34 55");
        assert_eq!(d.answers.join(" "), "2 3 5 8 13 21 34 55 30");
        assert_eq!(fibonacci.loss_positions(), (1..10).collect::<Vec<_>>());
        let last = rule("recurrence", "modulus = 10, coefficients = [1, 2, 3], length = 5, ask = \"last\"");
        let d = drawing(&*last, &[1, 0, 1]);
        // 1 + 2·0 + 3·1 = 4; 4 + 2·1 + 3·0 = 6; 6 + 2·4 + 3·1 = 17.
        assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), ("1 0 1 4 6", "7"));
        assert_eq!(last.loss_positions(), [4]);
        for wrong in [&[1][..], &[1, 2, 3, 4], &[1, 2, 10], &[]] {
            assert!(!last.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    /// The periods of Fibonacci's numbers mod 19 and mod 59 are 18 and 58.
    #[test]
    fn fibonacci_numbers_return_with_their_period() {
        for (modulus, period) in [(19, 18), (59, 58)] {
            let params = format!("modulus = {modulus}, coefficients = [1, 1], length = 64");
            let words = drawing(&*rule("recurrence", &params), &[0, 1]).words;
            let returns = (1..60).find(|&t| words[t..t + 2] == words[..2]);
            assert_eq!(returns, Some(period));
        }
    }

    #[test]
    fn all_beginnings_are_listed_where_they_are_few() {
        let all = rule("recurrence", "modulus = 3, coefficients = [1, 1], length = 5").all().unwrap();
        assert_eq!(all, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]);
        assert_eq!(rule("recurrence", "modulus = 47, coefficients = [1, 1, 1], length = 3").all(), None);
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("modulus = 1, coefficients = [1], length = 4", "params.modulus: 1 is out of range; it must be 2 to 1024"),
            ("modulus = 5, length = 4", "params.coefficients: holds 0 numbers; it must be 1 to 4"),
            (
                "modulus = 5, coefficients = [1, 1, 1, 1, 1], length = 6",
                "params.coefficients: holds 5 numbers; it must be 1 to 4",
            ),
            ("modulus = 5, coefficients = [1, 0], length = 6", "params.coefficients: the last one is 0; leave it out"),
            (
                "modulus = 5, coefficients = [5, 1], length = 6",
                "params.coefficients: 5 is out of range; it must be 0 to 4",
            ),
            ("modulus = 5, coefficients = [1, 1], length = 1", "params.length: 1 is out of range; it must be 2 to 64"),
            (
                "modulus = 5, coefficients = [1, 1], length = 65",
                "params.length: 65 is out of range; it must be 2 to 64",
            ),
        ] {
            let found = faults("recurrence", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
