//! What a card states about its examples, and whether they agree.
//!
//! Reads `[facts]`, `[[worked]]` and the split of a [`Card`] and the [`Task`] that it built; writes faults, each with its line.

use serde::Deserialize;

use super::card::fault;
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
    /// The target at the one loss position.
    pub out: Option<u32>,
}

impl Card {
    /// Everything that the card states and `task` contradicts, in line order: the split, facts and worked rows.
    pub fn replay(&self, task: &Task) -> Vec<Fault> {
        let (n, frac) = (task.n_examples(), task.train_frac);
        let mut faults = vec![];
        if n_train(n, frac) == 0 {
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
        let counts = [
            ("facts.examples", self.examples, task.n_examples()),
            ("facts.train_examples", self.train_examples, n_train(task.n_examples(), task.train_frac)),
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
        let Some(example) = task.family.find_example(task, operands) else {
            return Some(format!("the task has no example with in = {operands:?}"));
        };
        match (self.out, task.targets_l(example)) {
            (Some(out), &[target]) if out == target => None,
            (Some(out), targets) => {
                let found: Vec<String> = targets.iter().map(u32::to_string).collect();
                let text = task.family.write_example(task, example);
                Some(format!("in = {operands:?}: the card says {out}, its examples give {} ({text})", found.join(", ")))
            }
            (None, _) => Some(format!("in = {operands:?} has no `out`")),
        }
    }
}
