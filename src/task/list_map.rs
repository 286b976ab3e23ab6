//! The `list_map` family: lists and what becomes of each item, reversed, shifted, summed or counted.
//!
//! Operands are the list's items. Where answers are items, an example is `START 4 6 2 9 MID 9 2 6`, the answers being the next token
//! from `MID` on; sums are asked at the items themselves, counts at a second copy of the list. Source: list problems as in Weiss et al.
//! 2021 (arXiv 2106.06981).

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::rule::{Drawn, Example, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Lists that [`every_list`] may give.
const MAX_LISTED: usize = 100_000;

const UNREAD: &str = "this op does not read it; remove it";

const EXPLAIN: &str = "\
What it is
  A list and another one as long, which is, by params.op:
    reverse         the list from its end to its start
    copy            the list
    permute         at place i the item at place permutation[i]
    caesar          each item plus shift, mod values
    cumulative_sum  at each place the sum of the items up to it, mod modulus
    moving_sum      at each place the sum of the last items up to it, window of them or all there are, mod modulus
    histogram       at each place how often its item stands in the list
  The first four are written START 4 6 2 9 MID 9 2 6 4: the model reads all but the last token and is asked for the
  next one from MID on. Sums depend on earlier items alone, so they are asked at the items themselves: START 4 6 2 9.
  Counts depend on later items too, which a causal model does not see; so the list stands twice, START 4 6 4 MID 4 6 4,
  and is asked at its second copy.
Reads
  params.op. params.values: how many different numbers there are, 2 to 1024. params.length: items a list, 1 to 64.
  params.permutation (permute): places counted from 0, each once. params.shift (caesar): 1 to values - 1.
  params.window (moving_sum): 2 to length. params.modulus (sums): 2 to 1024; values when unset.
Unit and range
  Items are tokens 0 to values - 1, then START and, except with sums, MID. Answers are tokens; sums are classes 0 to
  modulus - 1, and a count is the class of its number, of which class 0 never occurs.
  A finite set without split.examples holds every list, where there are at most 100,000.
Value at a known point
  START 4 6 2 9 has the cumulative sums 4 0 2 1 mod 10. START 4 6 4 MID 4 6 4 has the counts 2 1 2.
Source
  Reversal and histograms: Weiss et al. 2021 (arXiv 2106.06981). The others: the usual definitions.
";

/// What becomes of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Reverse,
    Copy,
    Permute,
    Caesar,
    CumulativeSum,
    MovingSum,
    Histogram,
}

/// `[params]`: lists to turn into others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListMap {
    op: Option<Op>,
    values: usize,
    length: usize,
    permutation: Option<Vec<usize>>,
    shift: Option<usize>,
    window: Option<usize>,
    modulus: Option<usize>,
    /// `[length]`: the place that each answer is taken from, where answers are items.
    #[serde(skip)]
    from: Vec<usize>,
}

impl ListMap {
    fn is(&self, op: Op) -> bool {
        self.op == Some(op)
    }

    fn sums(&self) -> bool {
        self.is(Op::CumulativeSum) || self.is(Op::MovingSum)
    }

    fn modulus(&self) -> usize {
        self.modulus.unwrap_or(self.values)
    }

    fn permutation_fault(&self) -> Option<Fault> {
        let is_order = |places: &[usize]| {
            let mut sorted = places.to_vec();
            sorted.sort_unstable();
            sorted.into_iter().eq(0..self.length)
        };
        let message = match (&self.permutation, self.is(Op::Permute)) {
            (None, true) => "missing; the place that each answer is taken from, counted from 0".to_owned(),
            (Some(_), false) => UNREAD.to_owned(),
            (Some(places), true) if !is_order(places) => {
                format!("must hold each number below length {} once", self.length)
            }
            _ => return None,
        };
        Some(fault("permutation", message))
    }
}

/// The fault of a number that the op reads or not, if it has one.
fn number_fault(key: &str, number: Option<usize>, read: bool, range: RangeInclusive<usize>) -> Option<Fault> {
    match (number, read) {
        (Some(number), true) => outside(key, number, range),
        (Some(_), false) => Some(fault(key, UNREAD)),
        (None, true) => Some(fault(key, format!("missing; {} to {}", range.start(), range.end()))),
        (None, false) => None,
    }
}

/// Every list of `length` numbers below `values`, the last number fastest, where they are few enough to be listed.
pub(super) fn every_list(values: usize, length: usize) -> Option<Vec<Vec<u32>>> {
    let count = values.checked_pow(length as u32).filter(|&count| count <= MAX_LISTED)?;
    let item = |code: usize, place: usize| (code / values.pow((length - 1 - place) as u32) % values) as u32;
    Some((0..count).map(|code| (0..length).map(|place| item(code, place)).collect()).collect())
}

impl Drawn for ListMap {
    const NAME: &'static str = "list_map";
    const SUMMARY: &'static str = "lists to reverse, copy, permute, shift, sum up or count: START 4 6 2 9 MID 9 2 6 4";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<ListMap, Vec<Fault>> {
        let (values, length) = (self.values, self.length);
        let missing = "missing; reverse, copy, permute, caesar, cumulative_sum, moving_sum or histogram";
        let found = [
            self.op.is_none().then(|| fault("op", missing)),
            outside("values", values, 2..=1024),
            outside("length", length, 1..=64),
            self.permutation_fault(),
            number_fault("shift", self.shift, self.is(Op::Caesar), 1..=values.saturating_sub(1)),
            number_fault("window", self.window, self.is(Op::MovingSum), 2..=length),
            number_fault("modulus", self.modulus, self.sums() && self.modulus.is_some(), 2..=1024),
        ];
        let faults: Vec<Fault> = found.into_iter().flatten().collect();
        self.from = match &self.permutation {
            Some(places) => places.clone(),
            None if self.is(Op::Reverse) => (0..length).rev().collect(),
            None => (0..length).collect(),
        };
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for ListMap {
    fn words(&self) -> Vec<String> {
        let signs: &[&str] = if self.sums() { &["START"] } else { &["START", "MID"] };
        numbers(self.values).into_iter().chain(signs.iter().map(|&sign| sign.to_owned())).collect()
    }

    fn classes(&self) -> Vec<String> {
        match self.is(Op::Histogram) {
            true => numbers(self.length + 1),
            false if self.sums() => numbers(self.modulus()),
            false => self.words(),
        }
    }

    fn n_ctx(&self) -> usize {
        match self.is(Op::Histogram) {
            true => 2 * self.length + 2,
            false if self.sums() => self.length + 1,
            false => 2 * self.length + 1,
        }
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.n_ctx() - self.length..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend((0..self.length).map(|_| rng.below(self.values as u32)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        every_list(self.values, self.length)
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let start = self.values as u32;
        if operands.len() != self.length || operands.iter().any(|&item| item >= start) {
            return false;
        }
        to.tokens.push(start);
        to.tokens.extend(operands);
        if self.sums() {
            let (window, modulus) = (self.window.unwrap_or(self.length), self.modulus() as u32);
            let sum = |i: usize| operands[(i + 1).saturating_sub(window)..=i].iter().sum::<u32>() % modulus;
            to.targets.extend((0..self.length).map(sum));
            return true;
        }
        to.tokens.push(start + 1);
        if self.is(Op::Histogram) {
            let count = |item: &u32| operands.iter().filter(|&other| other == item).count() as u32;
            to.tokens.extend(operands);
            to.targets.extend(operands.iter().map(count));
        } else {
            let shift = self.shift.unwrap_or(0) as u32;
            to.targets.extend(self.from.iter().map(|&place| (operands[place] + shift) % start));
            // The answer at a position is the token after it.
            to.tokens.extend(&to.targets[..self.length - 1]);
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    type Solve<'a> = &'a dyn Fn(&[u32]) -> Vec<u32>;

    /// The number `steps` after `from` where 0 follows `n - 1`: uses neither `%` nor a sum.
    fn count_on(from: u32, steps: u32, n: u32) -> u32 {
        (0..steps).fold(from, |at, _| if at + 1 == n { 0 } else { at + 1 })
    }

    fn by_stack(list: &[u32]) -> Vec<u32> {
        let (mut stack, mut reversed) = (list.to_vec(), vec![]);
        while let Some(item) = stack.pop() {
            reversed.push(item);
        }
        reversed
    }

    fn by_counting_on(list: &[u32], modulus: u32) -> Vec<u32> {
        let mut at = 0;
        let step = |&item: &u32| {
            at = count_on(at, item, modulus);
            at
        };
        list.iter().map(step).collect()
    }

    /// The items of each window, found by striking out the oldest of a queue.
    fn by_queue(list: &[u32], window: usize, modulus: u32) -> Vec<u32> {
        let mut queue = std::collections::VecDeque::new();
        let mut sums = vec![];
        for &item in list {
            queue.push_back(item);
            if queue.len() > window {
                queue.pop_front();
            }
            sums.push(queue.iter().fold(0, |at, &item| count_on(at, item, modulus)));
        }
        sums
    }

    /// How far apart the first and the last of an item stand in the sorted list.
    fn by_sorting(list: &[u32]) -> Vec<u32> {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        let count = |item: u32| {
            let first = sorted.iter().position(|&other| other == item).unwrap();
            let last = sorted.iter().rposition(|&other| other == item).unwrap();
            (last - first + 1) as u32
        };
        list.iter().map(|&item| count(item)).collect()
    }

    #[test]
    fn ten_thousand_lists_become_what_the_op_says() {
        let table: [(&str, Solve<'_>); 10] = [
            ("op = \"reverse\", values = 20, length = 8", &by_stack),
            ("op = \"copy\", values = 20, length = 8", &|list: &[u32]| list.to_vec()),
            ("op = \"permute\", values = 20, length = 4, permutation = [2, 0, 3, 1]", &|list: &[u32]| {
                vec![list[2], list[0], list[3], list[1]]
            }),
            ("op = \"caesar\", values = 26, length = 5, shift = 3", &|list: &[u32]| {
                list.iter().map(|&item| count_on(item, 3, 26)).collect()
            }),
            ("op = \"cumulative_sum\", values = 10, length = 8", &|list: &[u32]| by_counting_on(list, 10)),
            ("op = \"cumulative_sum\", values = 5, length = 9, modulus = 100", &|list: &[u32]| {
                by_counting_on(list, 100)
            }),
            ("op = \"moving_sum\", values = 10, length = 8, window = 3", &|list: &[u32]| by_queue(list, 3, 10)),
            ("op = \"moving_sum\", values = 9, length = 6, window = 6, modulus = 4", &|list: &[u32]| {
                by_queue(list, 6, 4)
            }),
            ("op = \"histogram\", values = 4, length = 8", &by_sorting),
            ("op = \"histogram\", values = 20, length = 3", &by_sorting),
        ];
        for (params, solve) in table {
            let rule = rule("list_map", params);
            samples(&*rule, 10_000, |d| {
                let list: Vec<u32> = d.words[1..=d.operands.len()].iter().map(|word| word.parse().unwrap()).collect();
                let answers: Vec<u32> = d.answers.iter().map(|word| word.parse().unwrap()).collect();
                assert_eq!(answers, solve(&list), "{params}: {:?}", d.words);
            });
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, text) in [
            ("op = \"reverse\", values = 10, length = 4", "START 4 6 4 9 MID 9 4 6 -> 9 4 6 4"),
            ("op = \"copy\", values = 10, length = 4", "START 4 6 4 9 MID 4 6 4 -> 4 6 4 9"),
            (
                "op = \"permute\", values = 10, length = 4, permutation = [3, 0, 1, 2]",
                "START 4 6 4 9 MID 9 4 6 -> 9 4 6 4",
            ),
            ("op = \"caesar\", values = 10, length = 4, shift = 3", "START 4 6 4 9 MID 7 9 7 -> 7 9 7 2"),
            ("op = \"cumulative_sum\", values = 10, length = 4", "START 4 6 4 9 -> 4 0 4 3"),
            ("op = \"moving_sum\", values = 10, length = 4, window = 2, modulus = 20", "START 4 6 4 9 -> 4 10 10 13"),
            ("op = \"histogram\", values = 10, length = 4", "START 4 6 4 9 MID 4 6 4 9 -> 2 1 2 1"),
        ] {
            let rule = rule("list_map", params);
            let d = drawing(&*rule, &[4, 6, 4, 9]);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join(" ")), text);
            for wrong in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 10], &[]] {
                assert!(!rule.write(wrong, &mut Example::default()), "{params}: {wrong:?}");
            }
        }
    }

    #[test]
    fn few_lists_are_all_listed() {
        let all = rule("list_map", "op = \"copy\", values = 3, length = 2").all().unwrap();
        assert_eq!(all, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]);
        assert_eq!(every_list(10, 5).unwrap().len(), 100_000);
        assert_eq!((every_list(2, 17), every_list(1024, 64)), (None, None));
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            (
                "values = 5, length = 4",
                "params.op: missing; reverse, copy, permute, caesar, cumulative_sum, moving_sum or histogram",
            ),
            ("op = \"copy\", values = 1, length = 4", "params.values: 1 is out of range; it must be 2 to 1024"),
            ("op = \"copy\", values = 5, length = 65", "params.length: 65 is out of range; it must be 1 to 64"),
            (
                "op = \"permute\", values = 5, length = 2",
                "params.permutation: missing; the place that each answer is taken from, counted from 0",
            ),
            (
                "op = \"permute\", values = 5, length = 3, permutation = [0, 2, 2]",
                "params.permutation: must hold each number below length 3 once",
            ),
            (
                "op = \"permute\", values = 5, length = 3, permutation = [0, 1]",
                "params.permutation: must hold each number below length 3 once",
            ),
            (
                "op = \"copy\", values = 5, length = 2, permutation = [1, 0]",
                "params.permutation: this op does not read it; remove it",
            ),
            ("op = \"caesar\", values = 5, length = 2", "params.shift: missing; 1 to 4"),
            (
                "op = \"caesar\", values = 5, length = 2, shift = 5",
                "params.shift: 5 is out of range; it must be 1 to 4",
            ),
            ("op = \"copy\", values = 5, length = 2, shift = 1", "params.shift: this op does not read it; remove it"),
            ("op = \"moving_sum\", values = 5, length = 6", "params.window: missing; 2 to 6"),
            (
                "op = \"moving_sum\", values = 5, length = 6, window = 7",
                "params.window: 7 is out of range; it must be 2 to 6",
            ),
            (
                "op = \"cumulative_sum\", values = 5, length = 6, window = 2",
                "params.window: this op does not read it; remove it",
            ),
            (
                "op = \"cumulative_sum\", values = 5, length = 6, modulus = 1",
                "params.modulus: 1 is out of range; it must be 2 to 1024",
            ),
            (
                "op = \"histogram\", values = 5, length = 6, modulus = 3",
                "params.modulus: this op does not read it; remove it",
            ),
        ] {
            let found = faults("list_map", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
