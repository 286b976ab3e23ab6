//! The `list_answer` family: lists and one answer about each, asked at the `=` after it.
//!
//! Operands are the list's items. An example is `4 6 2 9 =`, its answer being the class at `=`; lists of several lengths are padded after
//! it. Source: maxima as in Gross et al. 2024 (arXiv 2406.11779); the others by their usual definitions.

use std::cmp::Reverse;

use serde::Deserialize;

use super::list_map::every_list;
use super::rule::{Drawn, Example, IGNORED, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  A list, then =, where one answer about the list is asked: 4 6 2 9 =. By params.op it is
    min           the least item
    max           the greatest item
    palindrome    yes if the list reads the same from its end, else no
    first_unique  the first item that stands in the list once, or NONE
    majority      the item that stands in the list most often, the least of several
Reads
  params.op. params.values: how many different numbers there are, 2 to 1024. params.length: items a list, 2 to 64.
  params.min_length: lists from this length on, each length as likely, with padding after =; length when unset.
Unit and range
  Items are tokens 0 to values - 1, then =, and PAD where lengths differ. Answers are the items as classes; with
  first_unique NONE is class values; with palindrome no is class 0 and yes class 1.
  Items are drawn independently, except for palindrome: half of the lists are palindromes, and in the others the
  number of places of the first half whose item differs from its mirror image is uniform from 1 on: measures tell
  lists apart by it, as mismatches; for the other ops by length, where lengths differ.
  A finite set without split.examples holds every list, where there are at most 100,000 of each length, few of which
  are palindromes.
Value at a known point
  Of the 4096 lists of max_of_2, 2k + 1 have the answer k. Answering no is right for half of palindrome_8.
Source
  Maxima of four numbers below 64, without the sign =: Gross et al. 2024 (arXiv 2406.11779). The others: the usual
  definitions.
";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Min,
    Max,
    Palindrome,
    FirstUnique,
    Majority,
}

/// `[params]`: lists with one answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListAnswer {
    op: Option<Op>,
    values: usize,
    length: usize,
    min_length: Option<usize>,
}

impl ListAnswer {
    fn op(&self) -> Op {
        self.op.expect("invariant: a rule that is ready has an op")
    }

    fn least(&self) -> usize {
        self.min_length.unwrap_or(self.length)
    }

    fn varies(&self) -> bool {
        self.least() < self.length
    }

    /// The class of a list's answer.
    fn answer(&self, list: &[u32]) -> u32 {
        let count = |item: u32| list.iter().filter(|&&other| other == item).count();
        let mut items = list.iter().copied();
        let answer = match self.op() {
            Op::Min => items.min(),
            Op::Max => items.max(),
            Op::Palindrome => Some(u32::from(mismatches(list) == 0)),
            Op::FirstUnique => items.find(|&item| count(item) == 1).or(Some(self.values as u32)),
            Op::Majority => items.max_by_key(|&item| (count(item), Reverse(item))),
        };
        answer.expect("invariant: no list is empty")
    }

    /// Drawn item by item, few lists would be palindromes, and fewer nearly so.
    fn draw_mirrored(&self, length: usize, rng: &mut Rng, operands: &mut Vec<u32>) {
        let (values, pairs) = (self.values as u32, (length / 2) as u32);
        let is_palindrome = rng.below(2) == 0;
        let mut mismatches = if is_palindrome { 0 } else { 1 + rng.below(pairs) };
        operands.extend((0..length.div_ceil(2)).map(|_| rng.below(values)));
        for pair in (0..pairs).rev() {
            let item = operands[pair as usize];
            // Of the pairs 0 to this one, so many must differ: each set of pairs is as likely.
            if rng.below(pair + 1) < mismatches {
                mismatches -= 1;
                operands.push((item + 1 + rng.below(values - 1)) % values);
            } else {
                operands.push(item);
            }
        }
    }
}

/// Places of the first half whose item differs from its mirror image.
fn mismatches(list: &[u32]) -> usize {
    let mirrored = list.iter().zip(list.iter().rev()).take(list.len() / 2);
    mirrored.filter(|(item, image)| item != image).count()
}

impl Drawn for ListAnswer {
    const NAME: &'static str = "list_answer";
    const SUMMARY: &'static str = "lists with one answer: minimum, maximum, palindrome, first unique item, majority";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<ListAnswer, Vec<Fault>> {
        let least = self.min_length.filter(|least| !(2..=self.length).contains(least));
        let found = [
            self.op.is_none().then(|| fault("op", "missing; min, max, palindrome, first_unique or majority")),
            outside("values", self.values, 2..=1024),
            outside("length", self.length, 2..=64),
            least.map(|least| fault("min_length", format!("{least} is not between 2 and length {}", self.length))),
        ];
        let faults: Vec<Fault> = found.into_iter().flatten().collect();
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for ListAnswer {
    fn words(&self) -> Vec<String> {
        let signs: &[&str] = if self.varies() { &["=", "PAD"] } else { &["="] };
        numbers(self.values).into_iter().chain(signs.iter().map(|&sign| sign.to_owned())).collect()
    }

    fn classes(&self) -> Vec<String> {
        match self.op() {
            Op::Min | Op::Max | Op::Majority => numbers(self.values),
            Op::Palindrome => vec!["no".to_owned(), "yes".to_owned()],
            Op::FirstUnique => numbers(self.values).into_iter().chain(["NONE".to_owned()]).collect(),
        }
    }

    fn n_ctx(&self) -> usize {
        self.length + 1
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.least()..=self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let length = self.least() + rng.below((self.length - self.least() + 1) as u32) as usize;
        match self.op() {
            Op::Palindrome => self.draw_mirrored(length, rng, operands),
            _ => operands.extend((0..length).map(|_| rng.below(self.values as u32))),
        }
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let of_each_length: Option<Vec<_>> =
            (self.least()..=self.length).map(|length| every_list(self.values, length)).collect();
        Some(of_each_length?.into_iter().flatten().collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (equals, length) = (self.values as u32, operands.len());
        if !(self.least()..=self.length).contains(&length) || operands.iter().any(|&item| item >= equals) {
            return false;
        }
        to.tokens.extend(operands);
        to.tokens.push(equals);
        to.tokens.resize(self.n_ctx(), equals + 1);
        let answer = self.answer(operands);
        to.targets.extend((self.least()..=self.length).map(|t| if t == length { answer } else { IGNORED }));
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        match self.op() {
            Op::Palindrome => Some("mismatches"),
            _ => self.varies().then_some("length"),
        }
    }

    fn label(&self, operands: &[u32]) -> u32 {
        match self.op() {
            Op::Palindrome => mismatches(operands) as u32,
            _ => operands.len() as u32,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    type Solve<'a> = &'a dyn Fn(&[u32]) -> String;

    fn sorted(list: &[u32]) -> Vec<u32> {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        sorted
    }

    fn by_reversed_text(list: &[u32]) -> String {
        let reversed: Vec<u32> = list.iter().rev().copied().collect();
        let same = format!("{list:?}") == format!("{reversed:?}");
        if same { "yes".into() } else { "no".into() }
    }

    /// Strikes out the first item with all its copies until one has none.
    fn by_striking_out(list: &[u32]) -> String {
        let mut rest = list.to_vec();
        while let Some(&first) = rest.first() {
            let before = rest.len();
            rest.retain(|&item| item != first);
            if rest.len() + 1 == before {
                return first.to_string();
            }
        }
        "NONE".into()
    }

    /// The first of the longest runs of the sorted list.
    fn by_longest_run(list: &[u32]) -> String {
        let sorted = sorted(list);
        let mut longest: &[u32] = &[];
        for run in sorted.chunk_by(|a, b| a == b) {
            if run.len() > longest.len() {
                longest = run;
            }
        }
        longest[0].to_string()
    }

    #[test]
    fn ten_thousand_lists_have_their_answer() {
        let table: [(&str, Solve<'_>); 7] = [
            ("op = \"min\", values = 20, length = 2", &|list: &[u32]| sorted(list)[0].to_string()),
            ("op = \"max\", values = 20, length = 2", &|list: &[u32]| sorted(list)[1].to_string()),
            ("op = \"max\", values = 5, length = 5, min_length = 3", &|list: &[u32]| {
                sorted(list).pop().unwrap().to_string()
            }),
            ("op = \"palindrome\", values = 3, length = 8, min_length = 2", &by_reversed_text),
            ("op = \"first_unique\", values = 4, length = 8", &by_striking_out),
            ("op = \"majority\", values = 2, length = 9", &by_longest_run),
            ("op = \"majority\", values = 5, length = 10, min_length = 4", &by_longest_run),
        ];
        for (params, solve) in table {
            let rule = rule("list_answer", params);
            let mut answers = std::collections::BTreeSet::new();
            samples(&*rule, 10_000, |d| {
                let equals = d.words.iter().position(|word| word == "=").unwrap();
                let list: Vec<u32> = d.words[..equals].iter().map(|word| word.parse().unwrap()).collect();
                assert_eq!(list, d.operands);
                assert!(d.words[equals + 1..].iter().all(|word| word == "PAD"), "{:?}", d.words);
                let asked: Vec<String> = d.answers.iter().filter(|answer| !answer.is_empty()).cloned().collect();
                assert_eq!(asked, [solve(&list)], "{params}: {:?}", d.words);
                let place = d.answers.iter().position(|answer| !answer.is_empty()).unwrap();
                assert_eq!(rule.loss_positions()[place], equals, "{params}: asked elsewhere than at =");
                answers.insert(asked);
            });
            assert_eq!(answers.len(), rule.classes().len(), "{params}: not every answer occurs");
        }
    }

    #[test]
    fn half_of_the_lists_are_palindromes_and_the_others_near_or_far() {
        let rule = rule("list_answer", "op = \"palindrome\", values = 10, length = 9");
        let mut counts = [0u32; 5];
        samples(&*rule, 10_000, |d| {
            let differs = (0..4).filter(|&i| d.words[i] != d.words[8 - i]).count();
            assert_eq!(rule.label(&d.operands), differs as u32);
            counts[differs] += 1;
        });
        for (found, expected) in counts.into_iter().map(f64::from).zip([5000.0, 1250.0, 1250.0, 1250.0, 1250.0]) {
            assert!((found - expected).abs() < 5.0 * f64::sqrt(expected), "{counts:?}");
        }
        assert_eq!(rule.label_name(), Some("mismatches"));
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let table: [(&str, &[u32], &str); 7] = [
            ("op = \"max\", values = 10, length = 4", &[4, 6, 2, 9], "4 6 2 9 = -> 9"),
            ("op = \"min\", values = 10, length = 4, min_length = 2", &[4, 6], "4 6 = PAD PAD -> 4"),
            ("op = \"palindrome\", values = 10, length = 5", &[4, 6, 2, 6, 4], "4 6 2 6 4 = -> yes"),
            ("op = \"palindrome\", values = 10, length = 5", &[4, 6, 2, 6, 5], "4 6 2 6 5 = -> no"),
            ("op = \"first_unique\", values = 10, length = 4", &[4, 6, 4, 9], "4 6 4 9 = -> 6"),
            ("op = \"first_unique\", values = 10, length = 4", &[4, 6, 4, 6], "4 6 4 6 = -> NONE"),
            ("op = \"majority\", values = 10, length = 4", &[6, 4, 6, 4], "6 4 6 4 = -> 4"),
        ];
        for (params, list, text) in table {
            let rule = rule("list_answer", params);
            let d = drawing(&*rule, list);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.concat()), text);
            for wrong in [&[1][..], &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 10], &[]] {
                assert!(!rule.write(wrong, &mut Example::default()), "{params}: {wrong:?}");
            }
        }
        let varying = rule("list_answer", "op = \"min\", values = 10, length = 4, min_length = 2");
        assert_eq!((varying.label_name(), varying.label(&[4, 6, 7])), (Some("length"), 3));
    }

    #[test]
    fn few_lists_are_all_listed_from_the_shortest_on() {
        let all = rule("list_answer", "op = \"max\", values = 2, length = 3, min_length = 2").all().unwrap();
        assert_eq!(all.len(), 4 + 8);
        assert_eq!(all[..5], [vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1], vec![0, 0, 0]]);
        assert_eq!(rule("list_answer", "op = \"max\", values = 64, length = 3").all(), None);
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("values = 5, length = 4", "params.op: missing; min, max, palindrome, first_unique or majority"),
            ("op = \"max\", values = 1, length = 4", "params.values: 1 is out of range; it must be 2 to 1024"),
            ("op = \"max\", values = 5, length = 1", "params.length: 1 is out of range; it must be 2 to 64"),
            (
                "op = \"max\", values = 5, length = 3, min_length = 4",
                "params.min_length: 4 is not between 2 and length 3",
            ),
            (
                "op = \"max\", values = 5, length = 3, min_length = 1",
                "params.min_length: 1 is not between 2 and length 3",
            ),
        ] {
            let found = faults("list_answer", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
