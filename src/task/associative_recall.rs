//! The `associative_recall` family: keys and values in pairs, and then the value of a key that stood before.
//!
//! Operands are the pairs in order, key and value by turns, the last pair being the one that is asked. An example is
//! `k1 v4 k0 v2 ? k1`, its answer being v4; or `k1 v4 k0 v2 k1`, asked at every key that stood before. Source: associative recall by
//! its usual definition.

use serde::Deserialize;

use super::rule::{Drawn, Example, IGNORED, Rule, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Values that one key may stand with.
const MAX_CONTINUATIONS: usize = 16;

const EXPLAIN: &str = "\
What it is
  Pairs of a key and a value, drawn anew for each example, and then a key of which the value is asked, by params.ask:
    last   pairs, then ? and one of their keys: k1 v4 k0 v2 ? k1. Asked at the end.
    every  pairs in which keys recur: k1 v4 k0 v2 k1 v4 k0. Asked at every key that stood before with this value.
  With every and one continuation this is few-shot labelling: keys are the items and values their labels, each example
  draws a new random label for each item, and the label is asked for wherever its item has been seen.
Reads
  params.keys, params.values: how many there are, 2 to 1024 each. params.pairs: pairs before the question (last), 1 to
  128, or with the one that is asked at the end (every), 2 to 128. params.ask; last when unset.
  params.continuations: up to how many different values a key may stand with, 1 to 16; 1 when unset.
Unit and range
  Keys are tokens 0 to keys - 1, then values, then ? with last. Answers are values, as classes 0 to values - 1.
  Values are drawn independently of other keys' values. With last no pair stands twice before the question, which is
  one of these pairs, each as likely. With every the keys are drawn independently, except that the last is that of an
  earlier pair, each as likely; a key has as many slots as continuations, each occurrence draws one of them, an empty
  slot is filled with a value that the key does not have yet, and nothing is asked there.
  With several continuations the target is one of the key's values so far, and all of them count as right. Labels in
  measures (last): continuations, how many values are right.
Value at a known point
  With one continuation the loss can be 0. With several it is at best the mean of ln(right values); in the pairs
  k0 v1 k0 v2 k1 v0 the question k0 has two right values, so ln 2 nats.
Source
  The usual definition.
";

/// `[params]`: pairs to recall.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssociativeRecall {
    keys: usize,
    values: usize,
    pairs: usize,
    ask: Ask,
    continuations: Option<usize>,
}

/// Where values are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[default]
    Last,
    Every,
}

/// The different values that a key stands with, in order of appearance.
struct Known {
    values: [u32; MAX_CONTINUATIONS],
    n: usize,
}

impl Known {
    fn of(key: u32, pairs: &[[u32; 2]]) -> Known {
        let mut known = Known { values: [0; MAX_CONTINUATIONS], n: 0 };
        for &[_, value] in pairs.iter().filter(|pair| pair[0] == key) {
            if known.n < MAX_CONTINUATIONS && !known.list().contains(&value) {
                known.values[known.n] = value;
                known.n += 1;
            }
        }
        known
    }

    fn list(&self) -> &[u32] {
        &self.values[..self.n]
    }
}

impl AssociativeRecall {
    fn continuations(&self) -> usize {
        self.continuations.unwrap_or(1)
    }

    fn every(&self) -> bool {
        self.ask == Ask::Every
    }

    /// Pairs of an example, the asked one included.
    fn n_pairs(&self) -> usize {
        self.pairs + usize::from(!self.every())
    }

    /// Whether a pair may stand after those before it.
    fn may_follow(&self, pair: [u32; 2], before: &[[u32; 2]]) -> bool {
        match (before.contains(&pair), before.len() + 1 == self.n_pairs()) {
            (stood, true) => stood,
            (true, false) => self.every(),
            (false, false) => Known::of(pair[0], before).n < self.continuations(),
        }
    }

    /// A value that the key does not have yet.
    fn new_value(&self, known: &Known, rng: &mut Rng) -> u32 {
        loop {
            let value = rng.below(self.values as u32);
            if !known.list().contains(&value) {
                return value;
            }
        }
    }

    /// A pair that no other one before it equals.
    fn draw_new(&self, before: &[[u32; 2]], rng: &mut Rng) -> [u32; 2] {
        loop {
            let key = rng.below(self.keys as u32);
            let known = Known::of(key, before);
            if known.n < self.continuations() {
                return [key, self.new_value(&known, rng)];
            }
        }
    }

    /// Any key, with a value that it has or, from an empty slot, with a new one.
    fn draw_any(&self, before: &[[u32; 2]], rng: &mut Rng) -> [u32; 2] {
        let key = rng.below(self.keys as u32);
        let known = Known::of(key, before);
        let slot = rng.below(self.continuations() as u32) as usize;
        [key, known.list().get(slot).copied().unwrap_or_else(|| self.new_value(&known, rng))]
    }

    /// The pair that is asked at the end: with `every` a key may stand with one value more often, which does not make it likelier.
    fn draw_question(before: &[[u32; 2]], rng: &mut Rng) -> [u32; 2] {
        let [key, _] = before[rng.below(before.len() as u32) as usize];
        let known = Known::of(key, before);
        [key, known.values[rng.below(known.n as u32) as usize]]
    }
}

impl Drawn for AssociativeRecall {
    const NAME: &'static str = "associative_recall";
    const SUMMARY: &'static str = "key-value pairs and then the value of a key, also few-shot labels: k1 v4 k0 v2 ? k1";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<AssociativeRecall, Vec<Fault>> {
        let continuations = self.continuations();
        let most = MAX_CONTINUATIONS.min(self.values.max(1));
        let found = [
            outside("keys", self.keys, 2..=1024),
            outside("values", self.values, 2..=1024),
            outside("pairs", self.pairs, if self.every() { 2..=128 } else { 1..=128 }),
            outside("continuations", continuations, 1..=most),
        ];
        let mut faults: Vec<Fault> = found.into_iter().flatten().collect();
        let there_are = self.keys.saturating_mul(continuations);
        if faults.is_empty() && !self.every() && self.pairs > there_are {
            let message = format!("{} different pairs are more than keys × continuations = {there_are}", self.pairs);
            faults.push(fault("pairs", message));
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for AssociativeRecall {
    fn words(&self) -> Vec<String> {
        let keys = (0..self.keys).map(|key| format!("k{key}"));
        let query = (!self.every()).then(|| "?".to_owned());
        keys.chain(self.classes()).chain(query).collect()
    }

    fn classes(&self) -> Vec<String> {
        (0..self.values).map(|value| format!("v{value}")).collect()
    }

    fn n_ctx(&self) -> usize {
        if self.every() { 2 * self.pairs - 1 } else { 2 * self.pairs + 2 }
    }

    fn loss_positions(&self) -> Vec<usize> {
        match self.ask {
            Ask::Last => vec![self.n_ctx() - 1],
            Ask::Every => (1..self.pairs).map(|pair| 2 * pair).collect(),
        }
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        for place in 0..self.n_pairs() {
            let before = operands.as_chunks::<2>().0;
            let pair = match self.ask {
                _ if place + 1 == self.n_pairs() => Self::draw_question(before, rng),
                Ask::Last => self.draw_new(before, rng),
                Ask::Every => self.draw_any(before, rng),
            };
            operands.extend(pair);
        }
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (keys, values) = (self.keys as u32, self.values as u32);
        let (pairs, rest) = operands.as_chunks::<2>();
        if pairs.len() != self.n_pairs()
            || !rest.is_empty()
            || pairs.iter().any(|&[key, value]| key >= keys || value >= values)
            || !(0..pairs.len()).all(|i| self.may_follow(pairs[i], &pairs[..i]))
        {
            return false;
        }
        let [question, answer] = pairs[pairs.len() - 1];
        for &[key, value] in &pairs[..pairs.len() - 1] {
            to.tokens.extend([key, keys + value]);
        }
        to.tokens.extend((!self.every()).then_some(keys + values));
        to.tokens.push(question);
        if self.every() {
            let asked = |i: usize| if pairs[..i].contains(&pairs[i]) { pairs[i][1] } else { IGNORED };
            to.targets.extend((1..pairs.len()).map(asked));
        } else {
            to.targets.push(answer);
        }
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        (!self.every() && self.continuations() > 1).then_some("continuations")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        let last = operands.as_chunks::<2>().0.split_last();
        last.map_or(0, |(&[key, _], before)| Known::of(key, before).n as u32)
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        if self.continuations() == 1 {
            return None;
        }
        let pairs = operands.as_chunks::<2>().0;
        let right = |i: usize| {
            let known = Known::of(pairs[i][0], &pairs[..i]);
            let mut right = if known.list().contains(&pairs[i][1]) { known.list().to_vec() } else { vec![] };
            right.sort_unstable();
            right
        };
        let first = if self.every() { 1 } else { self.pairs };
        Some((first..pairs.len()).map(right).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    type Dictionary = BTreeMap<String, BTreeSet<String>>;

    /// The dictionary of `k1 v4 k0 v2 …`, read word by word.
    fn read(words: &[String]) -> Dictionary {
        let mut dictionary = Dictionary::new();
        for pair in words.chunks(2) {
            assert!(pair[0].starts_with('k') && pair[1].starts_with('v'), "{words:?}");
            dictionary.entry(pair[0].clone()).or_default().insert(pair[1].clone());
        }
        dictionary
    }

    /// The words of the classes that are right, as the rule says.
    fn allowed(rule: &dyn Rule, operands: &[u32]) -> Vec<BTreeSet<String>> {
        let classes = rule.classes();
        let words = |ids: &Vec<u32>| {
            assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
            ids.iter().map(|&id| classes[id as usize].clone()).collect()
        };
        rule.allowed(operands).unwrap().iter().map(words).collect()
    }

    #[test]
    fn ten_thousand_questions_are_answered_from_the_dictionary() {
        for (params, most) in [
            ("keys = 32, values = 32, pairs = 8", 1),
            ("keys = 5, values = 2, pairs = 5", 1),
            ("keys = 4, values = 16, pairs = 8, continuations = 3", 3),
            ("keys = 2, values = 4, pairs = 8, continuations = 4", 4),
        ] {
            let rule = rule("associative_recall", params);
            let mut targets = BTreeMap::<(usize, usize), f64>::new();
            samples(&*rule, 10_000, |d| {
                let (question, pairs) = (d.words.last().unwrap(), &d.words[..d.words.len() - 2]);
                assert_eq!((d.words[d.words.len() - 2].as_str(), d.answers.len()), ("?", 1));
                let dictionary = read(pairs);
                let right = &dictionary[question];
                assert!(right.contains(&d.answers[0]), "{:?} -> {:?}", d.words, d.answers);
                assert!(dictionary.values().all(|values| (1..=most).contains(&values.len())), "{:?}", d.words);
                assert_eq!(dictionary.values().map(BTreeSet::len).sum::<usize>(), pairs.len() / 2, "{:?}", d.words);
                let place = right.iter().position(|value| *value == d.answers[0]).unwrap();
                *targets.entry((right.len(), place)).or_default() += 1.0;
                if most > 1 {
                    assert_eq!(allowed(&*rule, &d.operands), std::slice::from_ref(right));
                    assert_eq!(rule.label(&d.operands) as usize, right.len());
                } else {
                    assert_eq!((rule.allowed(&d.operands), rule.label_name()), (None, None));
                }
            });
            for (&(n, place), count) in &targets {
                let all: f64 = targets.iter().filter(|(key, _)| key.0 == n).map(|(_, count)| count).sum();
                let p = 1.0 / n as f64;
                let error = (all * p * (1.0 - p)).sqrt();
                assert!((count - all * p).abs() <= 5.0 * error, "{params}: value {place} of {n}: {count} of {all}");
            }
        }
    }

    #[test]
    fn ten_thousand_prompts_are_labelled_by_what_stood_before() {
        for (params, most) in [
            ("keys = 8, values = 4, pairs = 16, ask = \"every\"", 1),
            ("keys = 50, values = 2, pairs = 2, ask = \"every\"", 1),
            ("keys = 3, values = 9, pairs = 20, ask = \"every\", continuations = 3", 3),
        ] {
            let rule = rule("associative_recall", params);
            let mut labels = BTreeMap::<String, f64>::new();
            samples(&*rule, 10_000, |d| {
                let mut dictionary = Dictionary::new();
                let lists = (most > 1).then(|| allowed(&*rule, &d.operands));
                for t in (0..d.words.len()).step_by(2) {
                    let known = dictionary.entry(d.words[t].clone()).or_default();
                    let asked = if t == 0 { "" } else { d.answers[t / 2 - 1].as_str() };
                    let value = d.words.get(t + 1).map_or(asked, String::as_str).to_owned();
                    assert_eq!(asked, if known.contains(&value) { value.as_str() } else { "" }, "{:?} at {t}", d.words);
                    if let Some(lists) = lists.as_ref().filter(|_| t > 0) {
                        let right = if asked.is_empty() { BTreeSet::new() } else { known.clone() };
                        assert_eq!(lists[t / 2 - 1], right, "{:?} at {t}", d.words);
                    }
                    known.insert(value);
                    assert!(known.len() <= most, "{:?}", d.words);
                }
                assert!(!d.answers.last().unwrap().is_empty());
                *labels.entry(d.words[1].clone()).or_default() += 1.0;
            });
            let expected = 10_000.0 / labels.len() as f64;
            let chi_square: f64 = labels.values().map(|count| (count - expected).powi(2) / expected).sum();
            // Up to eight degrees of freedom: 31.8 is passed once in 10,000 times.
            assert!(labels.len() == rule.classes().len() && chi_square < 31.8, "{params}: {labels:?}");
        }
    }

    /// Of two slots, a key with one value so far fills the other half of the times; one with two values takes each as often.
    #[test]
    fn slots_are_equally_likely() {
        let rule = rule("associative_recall", "keys = 2, values = 8, pairs = 12, ask = \"every\", continuations = 2");
        let mut counts = [[0.0f64; 2]; 2];
        samples(&*rule, 10_000, |d| {
            let mut known = BTreeMap::<&str, Vec<&str>>::new();
            for pair in d.words[..22].chunks(2) {
                let values = known.entry(&pair[0]).or_default();
                let slot = values.iter().position(|value| *value == pair[1]);
                if !values.is_empty() {
                    counts[values.len() - 1][slot.unwrap_or(1)] += 1.0;
                }
                if slot.is_none() {
                    values.push(&pair[1]);
                }
            }
        });
        for [first, second] in counts {
            assert!((first - second).abs() < 5.0 * (first + second).sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, operands, text) in [
            ("keys = 3, values = 5, pairs = 2", &[1, 4, 0, 2, 1, 4][..], "k1 v4 k0 v2 ? k1 -> v4"),
            (
                "keys = 3, values = 5, pairs = 3, continuations = 2",
                &[0, 1, 0, 2, 1, 0, 0, 2],
                "k0 v1 k0 v2 k1 v0 ? k0 -> v2",
            ),
            (
                "keys = 3, values = 5, pairs = 5, ask = \"every\"",
                &[1, 4, 0, 2, 1, 4, 2, 0, 0, 2],
                "k1 v4 k0 v2 k1 v4 k2 v0 k0 -> v4 v2",
            ),
        ] {
            let d = drawing(&*rule("associative_recall", params), operands);
            let answers: Vec<String> = d.answers.iter().filter(|answer| !answer.is_empty()).cloned().collect();
            assert_eq!(format!("{} -> {}", d.words.join(" "), answers.join(" ")), text);
        }
        let two = rule("associative_recall", "keys = 3, values = 5, pairs = 3, continuations = 2");
        assert_eq!(two.allowed(&[0, 2, 0, 1, 1, 0, 0, 2]), Some(vec![vec![1, 2]]));
        assert_eq!((two.label_name(), two.label(&[0, 2, 0, 1, 1, 0, 0, 2])), (Some("continuations"), 2));
    }

    #[test]
    fn operands_that_are_no_example_are_refused() {
        let last = "keys = 3, values = 5, pairs = 2";
        let every = "keys = 3, values = 5, pairs = 3, ask = \"every\"";
        let several = "keys = 3, values = 5, pairs = 4, ask = \"every\", continuations = 2";
        for (params, wrong) in [
            (last, &[][..]),
            (last, &[1, 4, 0, 2, 1]),
            (last, &[1, 4, 0, 2, 1, 4, 1]),
            (last, &[1, 4, 0, 2, 1, 2]),
            (last, &[1, 4, 0, 2, 2, 2]),
            (last, &[1, 4, 1, 2, 1, 4]),
            (last, &[1, 4, 1, 4, 1, 4]),
            (last, &[3, 4, 0, 2, 0, 2]),
            (last, &[1, 5, 0, 2, 0, 2]),
            (every, &[1, 4, 0, 2, 2, 2]),
            (every, &[1, 4, 1, 2, 1, 2]),
            (several, &[1, 4, 1, 2, 1, 3, 1, 3]),
        ] {
            let rule = rule("associative_recall", params);
            assert!(!rule.write(wrong, &mut Example::default()), "{params}: {wrong:?}");
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("keys = 1, values = 5, pairs = 1", "params.keys: 1 is out of range; it must be 2 to 1024"),
            ("keys = 5, values = 1025, pairs = 1", "params.values: 1025 is out of range; it must be 2 to 1024"),
            ("keys = 5, values = 5", "params.pairs: 0 is out of range; it must be 1 to 128"),
            (
                "keys = 5, values = 5, pairs = 1, ask = \"every\"",
                "params.pairs: 1 is out of range; it must be 2 to 128",
            ),
            (
                "keys = 5, values = 5, pairs = 2, continuations = 6",
                "params.continuations: 6 is out of range; it must be 1 to 5",
            ),
            (
                "keys = 5, values = 50, pairs = 2, continuations = 0",
                "params.continuations: 0 is out of range; it must be 1 to 16",
            ),
            (
                "keys = 5, values = 5, pairs = 11, continuations = 2",
                "params.pairs: 11 different pairs are more than keys × continuations = 10",
            ),
        ] {
            let found = faults("associative_recall", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("associative_recall", "").len(), 3, "all at once");
    }
}
