//! What a card states about its examples, and whether they agree.
//!
//! Reads `[facts]`, `[[worked]]` and the split of a [`Card`] and the [`Task`] that it built; writes faults, each with its line.

use serde::Deserialize;

use super::card::fault;
use super::rule::{Example, IGNORED, text};
use super::{Card, Task, n_train};
use crate::error::Fault;

/// A stated loss may differ from the exact one by its rounding to three decimals.
const NATS_TOLERANCE: f64 = 5e-4;

/// What must hold of the examples; unstated facts are not checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// All examples.
    pub examples: Option<usize>,
    /// Examples for training with the card's own fraction.
    pub train_examples: Option<usize>,
    /// Different input tokens.
    pub d_vocab: Option<usize>,
    /// Classes of the loss.
    pub d_vocab_out: Option<usize>,
    /// Positions.
    pub n_ctx: Option<usize>,
    /// ln `d_vocab_out`, to three decimals or more.
    pub chance_loss_nats: Option<f64>,
}

/// One example, worked by hand.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worked {
    /// The operands, without the tokens that every example has; before them the operation's number where a task has several.
    #[serde(rename = "in")]
    pub operands: Vec<u32>,
    /// The target at the one loss position, or the list of all that count.
    pub out: Option<Answers>,
    /// The whole example in words, as `phaselab sample` writes it, for families that draw their examples.
    pub text: Option<String>,
}

/// One target, or several in the order of their positions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Answers {
    /// `out = 2`.
    One(u32),
    /// `out = [2, 4, 6, 9]`.
    Many(Vec<u32>),
}

impl Answers {
    fn list(&self) -> &[u32] {
        match self {
            Answers::One(one) => std::slice::from_ref(one),
            Answers::Many(many) => many,
        }
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.list().iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl Card {
    /// Everything that the card states and `task` contradicts, in line order: the split, facts and worked rows.
    pub fn replay(&self, task: &Task) -> Vec<Fault> {
        let (n, frac) = (task.n_examples(), task.train_frac);
        let mut faults = vec![];
        if !task.stream && n_train(n, frac) == 0 {
            let message = format!("{frac} of {n} examples leaves the training split empty; it must be at least 1/{n}");
            faults.push(fault("split.train_frac", message));
        }
        faults.extend(self.facts.replay(task));
        let rows = self.worked.iter().enumerate();
        faults.extend(rows.filter_map(|(i, row)| Some(fault(format!("worked[{i}]"), row.replay(task)?))));
        self.locate(faults)
    }
}

impl Facts {
    fn replay(&self, task: &Task) -> Vec<Fault> {
        let finite = |stated: Option<usize>| if task.stream { None } else { stated };
        let counts = [
            ("facts.examples", finite(self.examples), task.n_examples()),
            ("facts.train_examples", finite(self.train_examples), n_train(task.n_examples(), task.train_frac)),
            ("facts.d_vocab", self.d_vocab, task.d_vocab),
            ("facts.d_vocab_out", self.d_vocab_out, task.d_vocab_out),
            ("facts.n_ctx", self.n_ctx, task.n_ctx),
        ];
        let differs = |key: &str, stated: String, found: String| {
            fault(key, format!("the card says {stated}, its examples give {found}"))
        };
        let wrong = counts.into_iter().filter_map(|(key, stated, found)| {
            stated.filter(|&stated| stated != found).map(|stated| differs(key, stated.to_string(), found.to_string()))
        });
        let mut faults: Vec<Fault> = wrong.collect();
        let chance = task.chance_loss_nats();
        // A stated NaN is within no tolerance, so it counts as wrong.
        let agrees = |stated: f64| (stated - chance).abs() <= NATS_TOLERANCE;
        if let Some(stated) = self.chance_loss_nats.filter(|&stated| !agrees(stated)) {
            faults.push(differs("facts.chance_loss_nats", stated.to_string(), format!("{chance:.6}")));
        }
        faults
    }
}

impl Worked {
    /// What is wrong with the row, if anything.
    fn replay(&self, task: &Task) -> Option<String> {
        let operands = &self.operands;
        if let Some(rule) = task.rule.as_deref() {
            let mut example = Example::default();
            return match rule.write(operands, &mut example) {
                false => Some(format!("the task has no example with in = {operands:?}")),
                true => self.compare(&example, &text(rule, &example)),
            };
        }
        let Some(example) = task.family.find_example(task, operands) else {
            return Some(format!("the task has no example with in = {operands:?}"));
        };
        let words = task.family.write_example(task, example);
        self.compare(&Example { targets: task.targets_l(example).to_vec(), ..Example::default() }, &words)
    }

    /// What the example with these operands has otherwise than the row states.
    fn compare(&self, example: &Example, words: &str) -> Option<String> {
        let operands = &self.operands;
        let counted = example.targets.iter().copied().filter(|&target| target != IGNORED);
        let found = Answers::Many(counted.collect());
        match (&self.out, &self.text) {
            (None, None) => Some(format!("in = {operands:?} has no `out`")),
            (Some(out), _) if out.list() != found.list() => {
                Some(format!("in = {operands:?}: the card says {out}, its examples give {found} ({words})"))
            }
            (_, Some(text)) if text != words => {
                Some(format!("in = {operands:?}: the card says `{text}`, its examples give `{words}`"))
            }
            _ => None,
        }
    }
}
