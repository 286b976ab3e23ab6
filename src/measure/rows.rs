//! How a model answers row by row: what measures of sequences gather over examples, positions and labels.
//!
//! Reads the logits of all examples; gives one [`Answer`] for each answer that is asked for.

use crate::measure::loss::{SplitMean, rows, score};
use crate::measure::subject::{Setting, Subject};

/// One answer of the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// Its example.
    pub(super) example: usize,
    /// Which of the loss positions it stands at.
    pub(super) place: usize,
    /// Whether the example is in the training split.
    pub(super) train: bool,
    /// The right answer.
    pub(super) target: u32,
    /// `[n_classes]`.
    pub(super) logits: &'a [f64],
}

impl Answer<'_> {
    /// Cross-entropy, nats, and 1 or 0 for right or wrong; NaN where a logit is.
    pub(super) fn score(&self) -> [f64; 2] {
        score(self.logits, self.target)
    }
}

/// Every answer that is asked for, in example order.
pub(super) fn answers<'a>(subject: &Subject<'a>) -> impl Iterator<Item = Answer<'a>> {
    let examples = subject.setting.examples;
    let (positions, train_mask) = (examples.n_positions(), subject.train_mask);
    let asked = move |row: usize| examples.weights.is_none_or(|weights| weights[row] != 0.0);
    rows(subject).enumerate().filter(move |&(row, _)| asked(row)).map(move |(row, (logits, &target))| {
        let (example, place) = (row / positions, row % positions);
        Answer { example, place, train: train_mask[example], target, logits }
    })
}

/// One squared error of a model of real numbers: its mean over the outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Miss {
    /// Its example.
    pub(super) example: usize,
    /// Which of the loss positions it stands at.
    pub(super) place: usize,
    /// Whether the example is in the training split.
    pub(super) train: bool,
    /// The squared error.
    pub(super) error: f64,
}

/// Every answer in real numbers that is asked for, in example order.
pub(super) fn misses<'a>(subject: &Subject<'a>) -> impl Iterator<Item = Miss> + 'a {
    let examples = subject.setting.examples;
    let (positions, train_mask, width) = (examples.n_positions(), subject.train_mask, examples.n_classes);
    let targets = examples.numbers.map_or(&[][..], |numbers| &numbers.y_bln).chunks_exact(width);
    let asked = move |row: usize| examples.weights.is_none_or(|weights| weights[row] != 0.0);
    let rows = subject.logits.chunks_exact(width).zip(targets).enumerate();
    rows.filter(move |&(row, _)| asked(row)).map(move |(row, (found, y))| {
        let (example, place) = (row / positions, row % positions);
        let squares: f64 = found.iter().zip(y).map(|(found, y)| (found - y) * (found - y)).sum();
        Miss { example, place, train: train_mask[example], error: squares / width as f64 }
    })
}

/// Whether the task asks for real numbers.
///
/// # Errors
/// The reason why not.
pub(super) fn has_numbers(setting: &Setting) -> Result<(), String> {
    if setting.examples.numbers.is_none() { Err("the task asks for classes".into()) } else { Ok(()) }
}

/// Whether the task asks for classes.
///
/// # Errors
/// The reason why not.
pub(super) fn has_classes(setting: &Setting) -> Result<(), String> {
    if setting.examples.targets.is_empty() { Err("the task has no class targets".into()) } else { Ok(()) }
}

/// Means of the training split, then of the test split.
pub(super) fn means(of: &[SplitMean]) -> [Vec<f64>; 2] {
    [of.iter().map(SplitMean::train).collect(), of.iter().map(SplitMean::test).collect()]
}

/// The whole examples: 1 where every answer that is asked for is right, 0 where one is wrong, NaN where a logit is; by example.
pub(super) fn exact(subject: &Subject) -> Vec<f64> {
    let mut right = vec![1.0; subject.setting.examples.n_examples];
    for answer in answers(subject) {
        right[answer.example] *= answer.score()[1];
    }
    right
}
