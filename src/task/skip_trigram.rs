//! The `skip_trigram` family: A … B -> C, an answer that depends on one earlier token, wherever it stands, and on the last token.
//!
//! Operands are the position of the source A, the source, the destination B, and the other tokens. An example is `f3 s1 f0 f2 d2`, its
//! answer being the table's entry for s1 and d2. Source: skip-trigrams as in Elhage et al. 2021 (A Mathematical Framework for Transformer
//! Circuits).

use serde::Deserialize;

use super::list_map::every_list;
use super::rule::{Drawn, Example, Rule, outside};
use crate::error::Fault;
use crate::rng::Rng;

/// Examples that [`Rule::all`] may give.
const MAX_LISTED: usize = 100_000;

const EXPLAIN: &str = "\
What it is
  A ... B -> C: a source A somewhere in the sequence, a destination B at its end, and between and before them tokens
  that do not matter: f3 s1 f0 f2 d2. The answer C is asked at the destination and stands in a table of all pairs of a
  source and a destination, which is, by params.table:
    random   each entry is drawn independently
    shared   the destinations have all different answers for the same source, drawn at random: a head moves the same
             from a source to each destination, so that what it moves cannot be the answer alone
    source   the entry depends on the source alone, and is drawn independently: one head can move the answer
Reads
  params.sources, params.destinations: how many there are, 1 to 256 each. params.answers, params.fillers: how many
  there are, 2 to 1024 and 1 to 1024. params.length: positions, 2 to 512. params.table; random when unset.
  params.table_seed: which table; 0 when unset. The table is the same for all examples and replicas.
Unit and range
  Tokens are the sources s, then the destinations d, then the fillers f, each counted from 0; answers a are classes 0 to
  answers - 1. Position, source, destination and fillers are drawn independently; the source's position is 0 to
  length - 2. Labels in measures: distance, from the source to the destination, 1 to length - 1.
  A finite set without split.examples holds every example, where there are at most 100,000.
Value at a known point
  The answer is certain, so the loss can be 0; a table has sources x destinations entries. With two destinations,
  keep ... in -> mind and keep ... at -> bay are entries of a shared table: one source, two answers.
Source
  Skip-trigrams, and keep ... in mind: Elhage et al. 2021 (A Mathematical Framework for Transformer Circuits). The
  tables: as stated here.
";

/// `[params]`: skip-trigrams to learn.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SkipTrigram {
    sources: usize,
    destinations: usize,
    answers: usize,
    fillers: usize,
    length: usize,
    table: Table,
    table_seed: u64,
    /// `[sources, destinations]`, row-major.
    #[serde(skip)]
    answer: Vec<u32>,
}

/// How answers depend on source and destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Table {
    #[default]
    Random,
    Shared,
    Source,
}

impl SkipTrigram {
    /// The answers of one source, `[destinations]`.
    fn row(&self, rng: &mut Rng) -> Vec<u32> {
        let answers = self.answers as u32;
        match self.table {
            Table::Random => (0..self.destinations).map(|_| rng.below(answers)).collect(),
            Table::Shared => rng.permutation(self.answers)[..self.destinations].to_vec(),
            Table::Source => vec![rng.below(answers); self.destinations],
        }
    }
}

impl Drawn for SkipTrigram {
    const NAME: &'static str = "skip_trigram";
    const SUMMARY: &'static str = "A ... B -> C: the answer depends on one earlier token and the last: f3 s1 f0 f2 d2";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<SkipTrigram, Vec<Fault>> {
        let destinations = match self.table {
            Table::Shared => 2..=self.answers.clamp(2, 256),
            _ => 1..=256,
        };
        let found = [
            outside("sources", self.sources, 1..=256),
            outside("destinations", self.destinations, destinations),
            outside("answers", self.answers, 2..=1024),
            outside("fillers", self.fillers, 1..=1024),
            outside("length", self.length, 2..=512),
        ];
        let faults: Vec<Fault> = found.into_iter().flatten().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut rng = Rng::stream(self.table_seed, "skip-trigrams");
        self.answer = (0..self.sources).flat_map(|_| self.row(&mut rng)).collect();
        Ok(self)
    }
}

impl Rule for SkipTrigram {
    fn words(&self) -> Vec<String> {
        let kinds = [("s", self.sources), ("d", self.destinations), ("f", self.fillers)];
        kinds.iter().flat_map(|&(letter, n)| (0..n).map(move |i| format!("{letter}{i}"))).collect()
    }

    fn classes(&self) -> Vec<String> {
        (0..self.answers).map(|answer| format!("a{answer}")).collect()
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        vec![self.length - 1]
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let trigram = [self.length - 1, self.sources, self.destinations];
        operands.extend(trigram.map(|n| rng.below(n as u32)));
        operands.extend((0..self.length - 2).map(|_| rng.below(self.fillers as u32)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let others = every_list(self.fillers, self.length - 2)?;
        let (positions, pairs) = (self.length - 1, self.answer.len());
        if others.len() * pairs * positions > MAX_LISTED {
            return None;
        }
        let trigram = |code: usize| {
            let pair = code % pairs;
            [code / pairs, pair / self.destinations, pair % self.destinations].map(|part| part as u32)
        };
        let with_others = |code: usize| others.iter().map(move |others| [&trigram(code)[..], others].concat());
        Some((0..positions * pairs).flat_map(with_others).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let &[position, source, destination, ref others @ ..] = operands else { return false };
        let (sources, destinations) = (self.sources as u32, self.destinations as u32);
        let (position, fillers) = (position as usize, self.fillers as u32);
        if others.len() != self.length - 2
            || position > others.len()
            || source >= sources
            || destination >= destinations
            || others.iter().any(|&filler| filler >= fillers)
        {
            return false;
        }
        to.tokens.extend(others.iter().map(|&filler| sources + destinations + filler));
        to.tokens.insert(position, source);
        to.tokens.push(sources + destination);
        to.targets.push(self.answer[(source * destinations + destination) as usize]);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("distance")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands.first().map_or(0, |&position| (self.length as u32 - 1).saturating_sub(position))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// The table as it is learned from `n` examples in words: (source, destination) to answer. Each example must agree with it.
    fn learn(params: &str, n: usize) -> BTreeMap<(String, String), String> {
        let rule = rule("skip_trigram", params);
        let mut table = BTreeMap::new();
        samples(&*rule, n, |d| {
            let (end, before) = d.words.split_last().unwrap();
            let sources: Vec<&String> = before.iter().filter(|word| word.starts_with('s')).collect();
            let fillers = before.iter().filter(|word| word.starts_with('f')).count();
            assert!(sources.len() == 1 && fillers == before.len() - 1 && end.starts_with('d'), "{:?}", d.words);
            let entry = table.entry((sources[0].clone(), end.clone())).or_insert_with(|| d.answers[0].clone());
            assert_eq!(std::slice::from_ref(entry), d.answers, "{params}: {:?}", d.words);
            let at = before.iter().position(|word| word.starts_with('s')).unwrap();
            assert_eq!(rule.label(&d.operands) as usize, before.len() - at);
        });
        table
    }

    #[test]
    fn ten_thousand_examples_have_one_table() {
        for (params, entries) in [
            ("sources = 8, destinations = 8, answers = 16, fillers = 16, length = 16", 64),
            ("sources = 1, destinations = 3, answers = 2, fillers = 1, length = 5", 3),
            ("sources = 20, destinations = 2, answers = 9, fillers = 4, length = 2", 40),
            ("sources = 8, destinations = 4, answers = 4, fillers = 16, length = 9, table = \"shared\"", 32),
            ("sources = 8, destinations = 4, answers = 4, fillers = 16, length = 9, table = \"source\"", 32),
        ] {
            assert_eq!(learn(params, 10_000).len(), entries, "{params}");
        }
    }

    #[test]
    fn tables_are_of_their_sort_and_the_seed_chooses_them() {
        let size = "sources = 20, destinations = 6, answers = 6, fillers = 2, length = 3";
        let different = |table: &BTreeMap<(String, String), String>, source: usize| {
            let row = table.iter().filter(|((s, _), _)| *s == format!("s{source}"));
            row.map(|(_, answer)| answer.clone()).collect::<BTreeSet<String>>().len()
        };
        let counts = |sort: &str| -> Vec<usize> {
            let table = learn(&format!("{size}, table = \"{sort}\""), 5000);
            (0..20).map(|source| different(&table, source)).collect()
        };
        assert_eq!(counts("shared"), [6; 20]);
        assert_eq!(counts("source"), [1; 20]);
        assert!(counts("random").iter().any(|&n| 1 < n && n < 6));
        assert_eq!(learn(size, 5000), learn(&format!("{size}, table = \"random\", table_seed = 0"), 5000));
        assert_ne!(learn(size, 5000), learn(&format!("{size}, table_seed = 1"), 5000));
    }

    /// 10,000 entries of ten answers, the sources 100 tables of 100.
    #[test]
    fn entries_of_random_tables_are_equally_likely() {
        let mut counts = BTreeMap::<String, f64>::new();
        for seed in 0..100 {
            let params =
                format!("sources = 10, destinations = 10, answers = 10, fillers = 1, length = 2, table_seed = {seed}");
            let rule = rule("skip_trigram", &params);
            for operands in rule.all().unwrap() {
                *counts.entry(drawing(&*rule, &operands).answers[0].clone()).or_default() += 1.0;
            }
        }
        let chi_square: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
        // Nine degrees of freedom: 33.7 is passed once in 10,000 times.
        assert!(counts.len() == 10 && chi_square < 33.7, "{counts:?}");
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let rule = rule("skip_trigram", "sources = 2, destinations = 3, answers = 3, fillers = 4, length = 5");
        for (operands, words) in [
            (&[1, 1, 2, 3, 0, 2], "f3 s1 f0 f2 d2"),
            (&[0, 0, 0, 3, 0, 2], "s0 f3 f0 f2 d0"),
            (&[3, 0, 1, 3, 0, 2], "f3 f0 f2 s0 d1"),
        ] {
            assert_eq!(drawing(&*rule, operands).words.join(" "), words);
        }
        assert_eq!((rule.label_name(), rule.label(&[1, 1, 2, 3, 0, 2])), (Some("distance"), 3));
        for wrong in [
            &[][..],
            &[1, 1],
            &[1, 1, 2, 3, 0],
            &[1, 1, 2, 3, 0, 2, 2],
            &[4, 1, 2, 3, 0, 2],
            &[u32::MAX, 1, 2, 3, 0, 2],
            &[1, 2, 2, 3, 0, 2],
            &[1, 1, 3, 3, 0, 2],
            &[1, 1, 2, 4, 0, 2],
        ] {
            assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn few_examples_are_all_listed() {
        let params = "sources = 2, destinations = 3, answers = 3, fillers = 2, length = 4";
        let rule_of_few = rule("skip_trigram", params);
        let all = rule_of_few.all().unwrap();
        let different: BTreeSet<Vec<u32>> = all.iter().cloned().collect();
        assert_eq!((all.len(), different.len()), (72, 72));
        samples(&*rule_of_few, 1000, |d| assert!(different.contains(&d.operands)));
        all.iter().for_each(|operands| assert!(rule_of_few.write(operands, &mut Example::default())));
        let many = "sources = 9, destinations = 9, answers = 3, fillers = 9, length = 6";
        assert_eq!(rule("skip_trigram", many).all(), None);
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            (
                "destinations = 2, answers = 2, fillers = 2, length = 4",
                "params.sources: 0 is out of range; it must be 1 to 256",
            ),
            (
                "sources = 2, destinations = 257, answers = 2, fillers = 2, length = 4",
                "params.destinations: 257 is out of range; it must be 1 to 256",
            ),
            (
                "sources = 2, destinations = 4, answers = 3, fillers = 2, length = 4, table = \"shared\"",
                "params.destinations: 4 is out of range; it must be 2 to 3",
            ),
            (
                "sources = 2, destinations = 2, answers = 1, fillers = 2, length = 4",
                "params.answers: 1 is out of range; it must be 2 to 1024",
            ),
            (
                "sources = 2, destinations = 2, answers = 2, length = 4",
                "params.fillers: 0 is out of range; it must be 1 to 1024",
            ),
            (
                "sources = 2, destinations = 2, answers = 2, fillers = 2, length = 1",
                "params.length: 1 is out of range; it must be 2 to 512",
            ),
        ] {
            let found = faults("skip_trigram", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("skip_trigram", "").len(), 5, "all at once");
    }
}
