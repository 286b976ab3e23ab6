//! The `sort` family: lists and the same lists in ascending order.
//!
//! Operands are the list's items. An example is `START 4 6 2 9 MID 2 4 6`, the answers being the next token from `MID` on; with lists of
//! several lengths an `END` follows, and padding. Source: the problem as in Nanda's 200 concrete open problems and ARENA.

use serde::Deserialize;

use super::rule::{Drawn, Example, IGNORED, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  A list and then the same list sorted: START 4 6 2 9 MID 2 4 6 9. The model reads all but the last token and is
  asked for the next one from MID on.
Reads
  params.values: how many different numbers there are, 2 to 1024; or params.words: a list of words instead, which are
  sorted alphabetically. params.length: items a list, 1 to 64. params.min_length: lists from this length on, each
  length as likely; END then follows the sorted list and is asked for too. params.repeats: whether an item may stand
  twice in a list; true when unset.
Unit and range
  Items are tokens 0 to values - 1, then START, MID, and END and PAD where lengths differ. Labels in measures: length.
Value at a known point
  sort_10_of_50: START, ten numbers below 51, MID: loss on ten positions; equal logits have a loss of ln 53 nats.
Source
  A model of 1 layer, 2 heads, d_model 96 with LayerNorm is reported to reach 0.999 of all tokens (ARENA).
";

/// `[params]`: lists to sort.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sort {
    values: Option<usize>,
    words: Option<Vec<String>>,
    length: usize,
    min_length: Option<usize>,
    repeats: Option<bool>,
    /// Place of each item in ascending order.
    #[serde(skip)]
    rank: Vec<u32>,
}

impl Sort {
    fn n_items(&self) -> usize {
        self.rank.len()
    }

    fn varies(&self) -> bool {
        self.min_length.is_some_and(|least| least < self.length)
    }

    fn repeats(&self) -> bool {
        self.repeats.unwrap_or(true)
    }
}

impl Drawn for Sort {
    const NAME: &'static str = "sort";
    const SUMMARY: &'static str = "lists of numbers or words, then the same in order: START 4 6 2 9 MID 2 4 6 9";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Sort, Vec<Fault>> {
        let mut faults = vec![];
        match (&self.values, &self.words) {
            (Some(values), None) => {
                faults.extend(outside("values", *values, 2..=1024));
                self.rank = (0..*values as u32).collect();
            }
            (None, Some(words)) => {
                let mut sorted: Vec<&String> = words.iter().collect();
                sorted.sort();
                sorted.dedup();
                if sorted.len() < words.len() || words.len() < 2 {
                    faults.push(fault("words", "must be two or more words, each once"));
                }
                if let Some(bad) = words.iter().find(|w| w.is_empty() || w.contains(char::is_whitespace)) {
                    faults.push(fault("words", format!("`{bad}` is no word; it must have no space and not be empty")));
                }
                let place = |word: &String| sorted.binary_search(&word).unwrap_or_default() as u32;
                self.rank = words.iter().map(place).collect();
            }
            (None, None) => faults.push(fault("values", "missing; how many numbers, 2 to 1024 (or words = [...])")),
            (Some(_), Some(_)) => faults.push(fault("words", "stands beside values; keep one of them")),
        }
        faults.extend(outside("length", self.length, 1..=64));
        if let Some(least) = self.min_length.filter(|least| !(1..=self.length).contains(least)) {
            faults.push(fault("min_length", format!("{least} is not between 1 and length {}", self.length)));
        }
        if !self.repeats() && self.length > self.n_items() && faults.is_empty() {
            let message =
                format!("{} items without repeats are more than the {} there are", self.length, self.n_items());
            faults.push(fault("length", message));
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Sort {
    fn words(&self) -> Vec<String> {
        let items = self.words.clone().unwrap_or_else(|| numbers(self.n_items()));
        let signs: &[&str] = if self.varies() { &["START", "MID", "END", "PAD"] } else { &["START", "MID"] };
        items.into_iter().chain(signs.iter().map(|&sign| sign.to_owned())).collect()
    }

    fn n_ctx(&self) -> usize {
        2 * self.length + 1 + usize::from(self.varies())
    }

    fn loss_positions(&self) -> Vec<usize> {
        let shortest = self.min_length.unwrap_or(self.length);
        (shortest + 1..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let least = self.min_length.unwrap_or(self.length);
        let length = least + rng.below((self.length - least + 1) as u32) as usize;
        while operands.len() < length {
            let item = rng.below(self.n_items() as u32);
            if self.repeats() || !operands.contains(&item) {
                operands.push(item);
            }
        }
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (n, length) = (self.n_items() as u32, operands.len());
        let repeats = |i: usize| operands[..i].contains(&operands[i]);
        if !(self.min_length.unwrap_or(self.length)..=self.length).contains(&length)
            || operands.iter().any(|&item| item >= n)
            || (!self.repeats() && (0..length).any(repeats))
        {
            return false;
        }
        let [start, mid, end, pad] = [n, n + 1, n + 2, n + 3];
        let (tokens, n_ctx) = (&mut to.tokens, self.n_ctx());
        tokens.push(start);
        tokens.extend(operands);
        tokens.push(mid);
        tokens.extend(operands);
        tokens[length + 2..].sort_unstable_by_key(|&item| self.rank[item as usize]);
        let answers = if self.varies() { length + 1 } else { length };
        tokens.extend(std::iter::repeat_n(end, answers - length));
        // The answer at a position is the token after it.
        let first = self.min_length.unwrap_or(self.length) + 1;
        let asked = |t: usize| (length + 1..length + 1 + answers).contains(&t);
        to.targets.extend((first..n_ctx).map(|t| if asked(t) { tokens[t + 1] } else { IGNORED }));
        tokens.resize(n_ctx, pad);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        self.varies().then_some("length")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands.len() as u32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// Selection by repeated minimum, which shares nothing with the family's sort.
    fn by_minimum(mut items: Vec<String>, key: impl Fn(&String) -> (usize, String)) -> Vec<String> {
        let mut sorted = vec![];
        while !items.is_empty() {
            let least = (0..items.len()).min_by_key(|&i| key(&items[i])).unwrap();
            sorted.push(items.remove(least));
        }
        sorted
    }

    #[test]
    fn ten_thousand_lists_are_sorted() {
        let number = |word: &String| (word.parse().unwrap_or(0), String::new());
        let word = |word: &String| (0, word.clone());
        for (params, is_number) in [
            ("values = 51, length = 10", true),
            ("values = 12, length = 8, min_length = 2, repeats = false", true),
            ("words = [\"pear\", \"fig\", \"apple\", \"plum\"], length = 3", false),
        ] {
            let rule = rule("sort", params);
            samples(&*rule, 10_000, |d| {
                let mid = d.words.iter().position(|word| word == "MID").unwrap();
                assert_eq!((d.words[0].as_str(), mid), ("START", d.operands.len() + 1));
                let list = d.words[1..mid].to_vec();
                let sorted = if is_number { by_minimum(list.clone(), number) } else { by_minimum(list.clone(), word) };
                let asked: Vec<String> = d.answers.iter().filter(|answer| !answer.is_empty()).cloned().collect();
                let end = if params.contains("min_length") { vec!["END".to_owned()] } else { vec![] };
                assert_eq!(asked, [sorted.clone(), end].concat(), "{:?}", d.words);
                assert_eq!(d.words[mid + 1..mid + list.len()], sorted[..list.len() - 1]);
                if params.contains("repeats") {
                    assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]), "{sorted:?}");
                }
            });
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let fixed = rule("sort", "values = 10, length = 4");
        let d = drawing(&*fixed, &[4, 6, 2, 9]);
        assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), ("START 4 6 2 9 MID 2 4 6", "2 4 6 9"));
        let varying = rule("sort", "values = 10, length = 4, min_length = 1");
        let d = drawing(&*varying, &[5, 3]);
        assert_eq!(d.words.join(" "), "START 5 3 MID 3 5 END PAD PAD PAD");
        assert_eq!(d.answers, ["", "3", "5", "END", "", "", "", ""]);
        assert_eq!(varying.label(&[5, 3]), 2);
        for wrong in [&[1, 2, 3, 4, 5][..], &[], &[10]] {
            assert!(!varying.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("length = 4", "params.values: missing; how many numbers, 2 to 1024 (or words = [...])"),
            ("values = 1, length = 4", "params.values: 1 is out of range; it must be 2 to 1024"),
            ("values = 5, length = 0", "params.length: 0 is out of range; it must be 1 to 64"),
            ("values = 5, length = 3, min_length = 4", "params.min_length: 4 is not between 1 and length 3"),
            (
                "values = 5, length = 6, repeats = false",
                "params.length: 6 items without repeats are more than the 5 there are",
            ),
            ("words = [\"a\", \"a\"], length = 2", "params.words: must be two or more words, each once"),
            (
                "words = [\"a b\", \"c\"], length = 2",
                "params.words: `a b` is no word; it must have no space and not be empty",
            ),
        ] {
            let found = faults("sort", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
