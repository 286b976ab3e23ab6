//! The `random_labels` family: pairs of numbers with answers drawn at random, which can only be memorised.
//!
//! Reads `params.n`, `params.classes`, `params.seed` and `layout.tokens` of a card; writes every pair, `a` major and `b` minor, as
//! `tokens_bt [n², 3]` and its label as `targets_bl [n², 1]`. Labels are drawn once for a card, so all replicas learn the same ones. Source:
//! Zhang et al. 2017 (arXiv 1611.03530); beside grokking, Power et al. 2022 (arXiv 2201.02177).

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::card::fault;
use super::layout::Layout;
use super::{Card, Task, TaskFamily, possible_tokens};
use crate::error::{Fault, Result};
use crate::rng::Rng;
use crate::spec::DataSpec;

/// As many numbers as the `modular` family has.
const RANGE: RangeInclusive<u32> = 2..=1024;

const EXPLAIN: &str = "\
What it is
  Every pair of numbers a, b below n, with an answer drawn at random: nothing can be learned but by heart, and no
  test example follows from the training ones. The baseline for what memorisation alone does to losses and weights.
Reads
  params.n: how many numbers there are, 2 to 1024. params.classes: how many answers, 2 to 1024; n when unset.
  params.seed: which labels; 0 when unset. layout.tokens: `a b =`; a number is its own token, `=` is token n.
Unit and range
  Answers 0 to classes - 1, equally likely, independent of each other; n^2 examples, a major and b minor.
Value at a known point
  A model's test loss cannot stay below ln(classes) nats: the training answers tell nothing of the test answers.
Source
  Zhang et al. 2017 (arXiv 1611.03530).
";

/// The family.
#[derive(Debug)]
pub struct Family;

/// `[params]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    n: Option<u32>,
    classes: Option<u32>,
    seed: Option<u64>,
}

impl Params {
    fn faults(&self) -> Vec<Fault> {
        let (least, most) = RANGE.into_inner();
        let outside = |key: &str, number: Option<u32>| {
            let number = number.filter(|number| !RANGE.contains(number))?;
            Some(fault(key, format!("{number} is out of range; it must be {least} to {most}")))
        };
        let missing = self.n.is_none().then(|| fault("n", format!("missing; how many numbers, {least} to {most}")));
        [missing, outside("n", self.n), outside("classes", self.classes)].into_iter().flatten().collect()
    }
}

/// n, classes, seed and layout, or all that is wrong with them.
fn read(card: &Card) -> Result<(u32, u32, u64, Layout), Vec<Fault>> {
    let params = card.params(Params::faults);
    match (params, Layout::read(card, &[Layout::TwoAndEquals])) {
        (Ok(Params { n: Some(n), classes, seed }), Ok(layout)) => {
            Ok((n, classes.unwrap_or(n), seed.unwrap_or_default(), layout))
        }
        (params, layout) => Err([params.err(), layout.err()].into_iter().flatten().flatten().collect()),
    }
}

impl TaskFamily for Family {
    fn name(&self) -> &'static str {
        "random_labels"
    }

    fn summary(&self) -> &'static str {
        "pairs of numbers with random answers, which can only be memorised"
    }

    fn explain(&self) -> String {
        EXPLAIN.to_owned()
    }

    fn faults(&self, card: &Card) -> Vec<Fault> {
        read(card).err().unwrap_or_default()
    }

    fn build(&self, card: &Card, _: &DataSpec) -> Result<Task> {
        let (n, classes, seed, layout) = read(card).map_err(|faults| card.fail(faults))?;
        let (n_ctx, d_vocab) = (layout.n_ctx(), layout.d_vocab(n, 0));
        let (mut tokens_bt, mut labels) = (vec![], Rng::stream(seed, "labels"));
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            layout.push([a, b], 0, n, 0, &mut tokens_bt);
        }
        Ok(Task {
            name: card.name.clone(),
            title: card.title.clone(),
            family: &Family,
            d_vocab,
            d_vocab_out: classes as usize,
            n_ctx,
            loss_positions: vec![n_ctx - 1],
            possible_tokens: possible_tokens(&tokens_bt, n_ctx, d_vocab),
            targets_bl: (0..n * n).map(|_| labels.below(classes)).collect(),
            numbers: None,
            tokens_bt,
            weights_bl: None,
            labels: None,
            operands: vec![],
            rule: None,
            stream: false,
            train_frac: card.split.train_frac.unwrap_or_default(),
            modular: None,
        })
    }

    fn find_example(&self, task: &Task, operands: &[u32]) -> Option<usize> {
        let &[a, b] = operands else { return None };
        let n = task.d_vocab as u32 - 1;
        (a < n && b < n).then(|| (a * n + b) as usize)
    }

    fn write_example(&self, task: &Task, example: usize) -> String {
        let tokens = task.tokens_t(example);
        format!("{}, {} -> {}", tokens[0], tokens[1], task.targets_l(example)[0])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn card(params: &str) -> Result<Card> {
        let text = format!(
            "title = \"t\"\nfamily = \"random_labels\"\nparams = {{ {params} }}\n\
             layout = {{ tokens = \"a b =\" }}\nsplit = {{ train_frac = 0.5 }}\n"
        );
        Card::parse(std::path::Path::new("t.toml"), &text)
    }

    fn task(params: &str) -> Task {
        card(params).unwrap().build().unwrap()
    }

    #[test]
    fn labels_are_equally_likely_and_the_seed_chooses_them() {
        let one = task("n = 100, classes = 10, seed = 1");
        assert_eq!((one.n_examples(), one.d_vocab, one.d_vocab_out, one.n_ctx), (10_000, 101, 10, 3));
        let mut counts = [0u32; 10];
        one.targets_bl.iter().for_each(|&label| counts[label as usize] += 1);
        let chi_square: f64 = counts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        // Nine degrees of freedom: 33.7 is passed once in 10,000 times.
        assert!(chi_square < 33.7, "{counts:?}");
        assert_eq!(one.targets_bl, task("n = 100, classes = 10, seed = 1").targets_bl);
        let other = task("n = 100, classes = 10, seed = 2");
        let same = one.targets_bl.iter().zip(&other.targets_bl).filter(|(x, y)| x == y).count() as f64;
        assert!((same - 1000.0).abs() < 5.0 * 900f64.sqrt(), "{same} of 10,000 labels are the same");
        assert_eq!(task("n = 5").targets_bl, task("n = 5, classes = 5, seed = 0").targets_bl);
    }

    #[test]
    fn examples_are_found_and_written() {
        let task = task("n = 7, classes = 3");
        for (example, [a, b]) in (0..7).flat_map(|a| (0..7).map(move |b| [a, b])).enumerate() {
            assert_eq!(task.tokens_t(example), [a, b, 7]);
            assert_eq!(Family.find_example(&task, &[a, b]), Some(example));
            let label = task.targets_l(example)[0];
            assert_eq!(Family.write_example(&task, example), format!("{a}, {b} -> {label}"));
        }
        assert_eq!((Family.find_example(&task, &[7, 0]), Family.find_example(&task, &[1])), (None, None));
    }

    #[test]
    fn faults_name_their_key() {
        let faults = card("n = 1, classes = 2000").unwrap_err().cause();
        assert_eq!(
            faults,
            [
                "line 3: params.classes: 2000 is out of range; it must be 2 to 1024",
                "line 3: params.n: 1 is out of range; it must be 2 to 1024",
            ]
        );
        assert_eq!(card("").unwrap_err().cause(), ["line 3: params.n: missing; how many numbers, 2 to 1024"]);
    }
}
