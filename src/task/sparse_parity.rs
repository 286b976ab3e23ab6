//! The `sparse_parity` family: bits, and whether the number of ones among a few of them is odd.
//!
//! Operands are the bits. An example is `0 1 1 0 =`, its answer, 0 or 1, being asked at `=`. Source: Barak et al. 2022 (arXiv 2207.08799).

use serde::Deserialize;

use super::list_map::every_list;
use super::rule::{Drawn, Example, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  n random bits, then =, where the parity of k of them is asked: 1 if an odd number of these k bits are 1, else 0.
  Which k, a card fixes; the model has to find them.
Reads
  params.n: how many bits there are, 1 to 512. params.bits: the places of the k that count, from 0, each once.
Unit and range
  Bits are the tokens 0 and 1, = is token 2; answers are the classes 0 and 1, each as likely.
  A finite set without split.examples holds all 2^n rows of bits, where n is at most 16.
Value at a known point
  Whoever knows the values of all but one of the k bits is right half of the time, with a loss of ln 2 = 0.693 nats.
Source
  Barak et al. 2022 (arXiv 2207.08799), whose networks read the bits as -1 and 1 in one vector.
";

/// `[params]`: bits, some of which count.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SparseParity {
    n: usize,
    bits: Vec<usize>,
}

impl Drawn for SparseParity {
    const NAME: &'static str = "sparse_parity";
    const SUMMARY: &'static str = "the parity of k of n bits: 0 1 1 0 = 1";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<SparseParity, Vec<Fault>> {
        let mut faults: Vec<Fault> = outside("n", self.n, 1..=512).into_iter().collect();
        if self.bits.is_empty() {
            faults.push(fault("bits", "missing; the places of the bits that count, from 0"));
        }
        if let Some(bit) = self.bits.iter().find(|&&bit| bit >= self.n) {
            faults.push(fault("bits", format!("there is no place {bit} among {} bits, counted from 0", self.n)));
        }
        if let Some(i) = (0..self.bits.len()).find(|&i| self.bits[..i].contains(&self.bits[i])) {
            faults.push(fault("bits", format!("{} stands twice", self.bits[i])));
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for SparseParity {
    fn words(&self) -> Vec<String> {
        numbers(2).into_iter().chain(["=".to_owned()]).collect()
    }

    fn classes(&self) -> Vec<String> {
        numbers(2)
    }

    fn n_ctx(&self) -> usize {
        self.n + 1
    }

    fn loss_positions(&self) -> Vec<usize> {
        vec![self.n]
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        while operands.len() < self.n {
            let (word, bits) = (rng.next_u32(), (self.n - operands.len()).min(32));
            operands.extend((0..bits).map(|bit| (word >> bit) & 1));
        }
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        every_list(2, self.n)
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        if operands.len() != self.n || operands.iter().any(|&bit| bit > 1) {
            return false;
        }
        to.tokens.extend(operands);
        to.tokens.push(2);
        to.targets.push(self.bits.iter().fold(0, |parity, &bit| parity ^ operands[bit]));
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    #[test]
    fn ten_thousand_rows_of_bits_have_their_parity() {
        let table: [(&str, &[usize]); 4] = [
            ("n = 20, bits = [2, 7, 13]", &[2, 7, 13]),
            ("n = 10, bits = [9, 0]", &[0, 9]),
            ("n = 5, bits = [0, 1, 2, 3, 4]", &[0, 1, 2, 3, 4]),
            ("n = 70, bits = [33, 69, 31, 64]", &[31, 33, 64, 69]),
        ];
        for (params, bits) in table {
            let rule = rule("sparse_parity", params);
            let mut ones = vec![0u32; rule.n_ctx()];
            samples(&*rule, 10_000, |d| {
                let n_ones = bits.iter().filter(|&&bit| d.words[bit] == "1").count();
                assert_eq!(d.answers, [if n_ones % 2 == 1 { "1" } else { "0" }], "{params}: {:?}", d.words);
                assert_eq!(d.words.last().unwrap(), "=");
                for (count, word) in ones.iter_mut().zip(&d.words[..d.words.len() - 1]) {
                    *count += u32::from(word == "1");
                }
                *ones.last_mut().unwrap() += u32::from(d.answers[0] == "1");
            });
            // Five standard errors of a fair coin: every bit and the answer.
            assert!(ones.iter().all(|&count| (f64::from(count) - 5000.0).abs() < 250.0), "{params}: {ones:?}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let rule = rule("sparse_parity", "n = 4, bits = [0, 2, 3]");
        for (bits, text) in [([0, 1, 1, 0], "0 1 1 0 = -> 1"), ([1, 0, 1, 0], "1 0 1 0 = -> 0")] {
            let d = drawing(&*rule, &bits);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.concat()), text);
        }
        for wrong in [&[1, 0, 1][..], &[1, 0, 1, 0, 1], &[1, 0, 1, 2], &[]] {
            assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn up_to_sixteen_bits_are_all_listed() {
        let all = rule("sparse_parity", "n = 2, bits = [1]").all().unwrap();
        assert_eq!(all, [[0, 0], [0, 1], [1, 0], [1, 1]]);
        assert_eq!(rule("sparse_parity", "n = 16, bits = [1]").all().unwrap().len(), 65_536);
        assert_eq!(rule("sparse_parity", "n = 17, bits = [1]").all(), None);
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("n = 513, bits = [1]", "params.n: 513 is out of range; it must be 1 to 512"),
            ("n = 5", "params.bits: missing; the places of the bits that count, from 0"),
            ("n = 5, bits = [1, 5]", "params.bits: there is no place 5 among 5 bits, counted from 0"),
            ("n = 5, bits = [1, 2, 1]", "params.bits: 1 stands twice"),
        ] {
            let found = faults("sparse_parity", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
