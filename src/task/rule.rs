//! Tasks that are rules: examples are made from operands, which are drawn at random or listed.
//!
//! Reads a card's `[params]` as the rule itself; writes [`Example`]s, without end where the card says `stream = true`, else as a finite
//! set. A new family implements [`Rule`] and [`Drawn`], and stands in [`FAMILIES`](super::FAMILIES) as `&Of::<ItsRule>::FAMILY`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::card::fault;
use super::{Card, Numbers, Task, TaskFamily, possible_tokens};
use crate::error::{Fault, Result};
use crate::rng::Rng;
use crate::spec::DataSpec;

/// A target that does not count: its weight in the loss is 0.
pub const IGNORED: u32 = u32::MAX;

/// Examples that a set is drawn from in vain, for each that it has, before the task counts as too small.
const TRIES: usize = 200;

/// Examples that a finite set may have.
const MAX_EXAMPLES: usize = 10_000_000;

/// One example as a model reads it: tokens and classes, or real numbers in their place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Example {
    /// `[n_ctx]`.
    pub tokens: Vec<u32>,
    /// `[loss positions]` classes; [`IGNORED`] where nothing is asked.
    pub targets: Vec<u32>,
    /// `[n_ctx, Widths::x]`, for a rule of real numbers.
    pub x: Vec<f64>,
    /// `[loss positions, Widths::y]`, for a rule of real numbers; NaN where nothing is asked.
    pub y: Vec<f64>,
}

/// What the examples of a rule of real numbers consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widths {
    /// Numbers that are read at a position.
    pub x: usize,
    /// Numbers that are asked for at a loss position.
    pub y: usize,
}

/// A way of making examples from operands.
///
/// Operands are whatever decides an example: the list to sort, the two numbers to add, the whole sequence. The same operands give
/// the same example, so that worked rows can name one and a finite set can hold each once.
pub trait Rule: Debug + Send + Sync {
    /// For a rule of real numbers: how many there are. It has no tokens, and no words and classes either.
    fn widths(&self) -> Option<Widths> {
        None
    }

    /// How each input token is written, `[d_vocab]`; none holds a space.
    fn words(&self) -> Vec<String>;

    /// How each class of the answer is written, `[d_vocab_out]`: the input's tokens, unless it says otherwise.
    fn classes(&self) -> Vec<String> {
        self.words()
    }

    /// Positions.
    fn n_ctx(&self) -> usize;

    /// Positions whose logits enter the loss, ascending.
    fn loss_positions(&self) -> Vec<usize>;

    /// Draws the operands of one example into `operands`, which is empty.
    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>);

    /// As [`Rule::draw`], for a batch after `step` updates: only what changes over training reads it.
    fn draw_at(&self, _step: u64, rng: &mut Rng, operands: &mut Vec<u32>) {
        self.draw(rng, operands);
    }

    /// As [`Rule::draw`], for the examples that a stream is tested on: a rule whose examples are few keeps some apart for this.
    fn draw_test(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        self.draw(rng, operands);
    }

    /// The operands of every example there is, where they are few enough to be listed.
    fn all(&self) -> Option<Vec<Vec<u32>>> {
        None
    }

    /// Writes the example of these operands into `to`, which is empty; false when the task has no such example.
    fn write(&self, operands: &[u32], to: &mut Example) -> bool;

    /// What examples are told apart by in measures (`carries`, `length`), if by anything; lower-case letters and `_`.
    fn label_name(&self) -> Option<&'static str> {
        None
    }

    /// The label of the example of these operands.
    fn label(&self, _operands: &[u32]) -> u32 {
        0
    }

    /// `[loss positions]` lists, ascending: the classes that are right there, where several can be (legal moves, brackets that may
    /// follow); an empty list where nothing is asked. None for a task with one answer.
    fn allowed(&self, _operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        None
    }

    /// What the world behind an example consists of (the squares of a board), for probes: lower-case letters, digits and `_`.
    fn state_names(&self) -> Vec<String> {
        vec![]
    }

    /// `[n_ctx, state_names]`: that world once each token is read.
    fn states(&self, _operands: &[u32]) -> Vec<u32> {
        vec![]
    }

    /// Exact predictors that a model is compared with (`bayes`); lower-case letters and `_`.
    fn baselines(&self) -> &'static [&'static str] {
        &[]
    }

    /// `[baselines, loss positions]`: the loss of each on this example, in the unit of the model's (nats; for real numbers the mean
    /// squared error over the outputs); 0 where nothing is asked.
    fn baseline_losses(&self, _operands: &[u32]) -> Vec<f64> {
        vec![]
    }
}

/// A rule that a card's `[params]` describe, with the texts of its family.
pub trait Drawn: Rule + DeserializeOwned + 'static {
    /// Registry name, as a card's `family` writes it.
    const NAME: &'static str;
    /// One line.
    const SUMMARY: &'static str;
    /// The definition, under the headings *What it is / Reads / Unit and range / Value at a known point / Source*.
    const EXPLAIN: &'static str;

    /// Tells the parameters in which folder their card lies, for the files that they name.
    fn beside(&mut self, _folder: &Path) {}

    /// The rule ready for use, after a look at everything that the types cannot tell.
    ///
    /// # Errors
    /// All that is wrong, by name of the parameter.
    fn ready(self) -> Result<Self, Vec<Fault>>;
}

/// The fault of a parameter outside its range, if it is.
pub(super) fn outside(key: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Option<Fault> {
    let message = || format!("{value} is out of range; it must be {} to {}", range.start(), range.end());
    (!range.contains(&value)).then(|| fault(key, message()))
}

/// The words of the numbers below `n`.
pub(super) fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|number| number.to_string()).collect()
}

/// The family of a rule.
pub struct Of<R>(PhantomData<fn() -> R>);

impl<R> Of<R> {
    /// It has no state.
    pub const FAMILY: Of<R> = Of(PhantomData);
}

impl<R: Drawn> Debug for Of<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(R::NAME)
    }
}

/// The rule of a card, or all that is wrong with its parameters and layout.
fn read<R: Drawn>(card: &Card) -> Result<R, Vec<Fault>> {
    let in_params = |fault: Fault| Fault { key: format!("params.{}", fault.key), line: None, ..fault };
    let rule = card.params(|_: &R| vec![]);
    let rule = rule.and_then(|mut rule| {
        rule.beside(card.path.parent().unwrap_or(Path::new("")));
        rule.ready().map_err(|faults| faults.into_iter().map(in_params).collect())
    });
    let layout = (!card.layout.tokens.is_empty())
        .then(|| fault("layout.tokens", format!("the family {} has one layout; remove it", R::NAME)));
    match (rule, layout) {
        (Ok(rule), None) => Ok(rule),
        (rule, layout) => Err(rule.err().into_iter().flatten().chain(layout).collect()),
    }
}

impl<R: Drawn> TaskFamily for Of<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn summary(&self) -> &'static str {
        R::SUMMARY
    }

    fn explain(&self) -> String {
        R::EXPLAIN.to_owned()
    }

    fn faults(&self, card: &Card) -> Vec<Fault> {
        read::<R>(card).err().unwrap_or_default()
    }

    fn can_stream(&self) -> bool {
        true
    }

    fn build(&self, card: &Card, data: &DataSpec) -> Result<Task> {
        let rule: Arc<dyn Rule> = Arc::new(read::<R>(card).map_err(|faults| card.fail(faults))?);
        let stream = data.stream.unwrap_or(card.split.stream);
        let operands = match stream {
            true => test_examples(&*rule, data.test_examples),
            false => examples(&*rule, data.examples.or(card.split.examples)).map_err(|f| card.fail(vec![f]))?,
        };
        Ok(set(rule, operands, card, &Of::<R>::FAMILY, stream))
    }

    fn find_example(&self, _: &Task, _: &[u32]) -> Option<usize> {
        None
    }

    fn write_example(&self, task: &Task, example: usize) -> String {
        let Some(rule) = task.rule.as_deref() else { return String::new() };
        let mut written = Example::default();
        fill(rule, &task.operands[example], &mut written);
        text(rule, &written)
    }
}

/// An example in words: its tokens, an arrow, the answers that count. Real numbers stand in brackets, one a position, to three decimals.
pub(super) fn text(rule: &dyn Rule, example: &Example) -> String {
    if let Some(widths) = rule.widths() {
        let number = |x: &f64| format!("{x:.3}");
        let place = |x: &[f64]| format!("[{}]", x.iter().map(number).collect::<Vec<_>>().join(" "));
        let places = |x: &[f64], width: usize| x.chunks_exact(width).map(place).collect::<Vec<_>>().join(" ");
        let y = example.y.chunks_exact(widths.y).filter(|y| !y[0].is_nan()).map(place).collect::<Vec<_>>();
        return format!("{} -> {}", places(&example.x, widths.x), y.join(" "));
    }
    let (words, classes) = (rule.words(), rule.classes());
    let join = |ids: &mut dyn Iterator<Item = &String>| ids.cloned().collect::<Vec<_>>().join(" ");
    let tokens = join(&mut example.tokens.iter().map(|&token| &words[token as usize]));
    let counted = example.targets.iter().filter(|&&target| target != IGNORED);
    let answers = join(&mut counted.map(|&target| &classes[target as usize]));
    format!("{tokens} -> {answers}")
}

/// Operands of the fixed examples on which a stream is tested: the same for all replicas and seeds.
fn test_examples(rule: &dyn Rule, n: usize) -> Vec<Vec<u32>> {
    let rng = Rng::stream(0, "test examples");
    let draw = |i: usize| {
        let mut operands = vec![];
        rule.draw_test(&mut rng.substream(i as u64), &mut operands);
        operands
    };
    (0..n).map(draw).collect()
}

/// Operands of a finite set: all that there are, or `n` different ones.
fn examples(rule: &dyn Rule, n: Option<usize>) -> Result<Vec<Vec<u32>>, Fault> {
    let all = rule.all();
    let there_are = all.as_ref().map(Vec::len);
    match (n, all) {
        (None, Some(all)) => return Ok(all),
        (None, None) => {
            let message = "missing; how many examples the set has (or stream = true, for fresh ones without end)";
            return Err(fault("split.examples", message));
        }
        (Some(n), _) if n == 0 || n > MAX_EXAMPLES => {
            return Err(fault("split.examples", format!("{n} is out of range; it must be 1 to {MAX_EXAMPLES}")));
        }
        _ => {}
    }
    let n = n.unwrap_or_default();
    let too_few = |found: usize| {
        fault("split.examples", format!("{n} is more than the task has: only {found} different examples were found"))
    };
    if let Some(found) = there_are.filter(|&found| found < n) {
        return Err(too_few(found));
    }
    let mut rng = Rng::stream(0, "examples");
    let (mut seen, mut set) = (BTreeSet::new(), Vec::with_capacity(n));
    for _ in 0..n.saturating_mul(TRIES) {
        let mut operands = vec![];
        rule.draw(&mut rng, &mut operands);
        if seen.insert(operands.clone()) {
            set.push(operands);
        }
        if set.len() == n {
            return Ok(set);
        }
    }
    Err(too_few(set.len()))
}

/// The task of these examples.
fn set(
    rule: Arc<dyn Rule>,
    operands: Vec<Vec<u32>>,
    card: &Card,
    family: &'static dyn TaskFamily,
    stream: bool,
) -> Task {
    let (n_ctx, d_vocab, widths) = (rule.n_ctx(), rule.words().len(), rule.widths());
    let loss_positions = rule.loss_positions();
    let (mut all, mut example) = (Examples::default(), Example::default());
    for operands in &operands {
        fill(&*rule, operands, &mut example);
        all.append(&example, widths);
    }
    let weights_bl = all.weights_bl.contains(&0.0).then_some(all.weights_bl);
    let possible_tokens = match stream {
        _ if widths.is_some() => vec![],
        true => vec![(0..d_vocab as u32).collect(); n_ctx],
        false => possible_tokens(&all.tokens_bt, n_ctx, d_vocab),
    };
    let labels = rule
        .label_name()
        .map(|name| super::Labels { name, of: operands.iter().map(|operands| rule.label(operands)).collect() });
    Task {
        name: card.name.clone(),
        title: card.title.clone(),
        family,
        d_vocab,
        d_vocab_out: widths.map_or_else(|| rule.classes().len(), |widths| widths.y),
        n_ctx,
        loss_positions,
        possible_tokens,
        tokens_bt: all.tokens_bt,
        targets_bl: all.targets_bl,
        numbers: widths.map(|widths| Numbers { x_btn: all.x_btn, y_bln: all.y_bln, widths }),
        weights_bl,
        labels,
        operands,
        train_frac: card.split.train_frac.unwrap_or(0.0),
        modular: None,
        stream,
        rule: Some(rule),
    }
}

/// Examples one after the other, as batches hold them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// `[n, n_ctx]`.
    pub tokens_bt: Vec<u32>,
    /// `[n, loss positions]`.
    pub targets_bl: Vec<u32>,
    /// `[n, n_ctx, Widths::x]`.
    pub x_btn: Vec<f64>,
    /// `[n, loss positions, Widths::y]`.
    pub y_bln: Vec<f64>,
    /// `[n, loss positions]`: 1, or 0 where nothing is asked, which then has class 0 or the numbers 0.
    pub weights_bl: Vec<f64>,
}

impl Examples {
    /// Leaves none, and the room for as many.
    pub fn clear(&mut self) {
        for ids in [&mut self.tokens_bt, &mut self.targets_bl] {
            ids.clear();
        }
        for numbers in [&mut self.x_btn, &mut self.y_bln, &mut self.weights_bl] {
            numbers.clear();
        }
    }

    fn append(&mut self, example: &Example, widths: Option<Widths>) {
        self.tokens_bt.extend(&example.tokens);
        for &target in &example.targets {
            let counts = target != IGNORED;
            self.targets_bl.push(if counts { target } else { 0 });
            self.weights_bl.push(f64::from(u8::from(counts)));
        }
        let Some(widths) = widths else { return };
        self.x_btn.extend(&example.x);
        for y in example.y.chunks_exact(widths.y) {
            let counts = !y[0].is_nan();
            self.y_bln.extend(y.iter().map(|&y| if counts { y } else { 0.0 }));
            self.weights_bl.push(f64::from(u8::from(counts)));
        }
    }
}

/// The example of operands that the rule itself drew or listed.
///
/// # Panics
/// If the rule does not know its own operands, or writes an example of another size than it says.
fn fill(rule: &dyn Rule, operands: &[u32], example: &mut Example) {
    example.tokens.clear();
    example.targets.clear();
    example.x.clear();
    example.y.clear();
    assert!(rule.write(operands, example), "invariant: {rule:?} knows its operands {operands:?}");
}

/// Examples of a stream, drawn for one batch of one replica.
#[derive(Debug, Default)]
pub struct Stream {
    operands: Vec<u32>,
    example: Example,
}

impl Stream {
    /// Appends `n` examples after `step` updates, drawn by `rng`.
    pub fn draw(&mut self, rule: &dyn Rule, (n, step): (usize, u64), rng: &mut Rng, to: &mut Examples) {
        let widths = rule.widths();
        for _ in 0..n {
            self.operands.clear();
            rule.draw_at(step, rng, &mut self.operands);
            fill(rule, &self.operands, &mut self.example);
            to.append(&self.example, widths);
        }
    }
}

/// What the tests of every family share.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod check {
    use super::*;

    /// An example taken apart: operands, tokens and answers in words.
    pub(in crate::task) struct Drawing {
        pub operands: Vec<u32>,
        /// `[n_ctx]`.
        pub words: Vec<String>,
        /// `[loss positions]`; empty where nothing is asked.
        pub answers: Vec<String>,
    }

    /// The card with these parameters, as TOML, of a stream.
    pub(in crate::task) fn card(family: &str, params: &str) -> Result<Card> {
        let text =
            format!("title = \"t\"\nfamily = \"{family}\"\nparams = {{ {params} }}\nsplit = {{ stream = true }}\n");
        Card::parse(std::path::Path::new("t.toml"), &text)
    }

    /// Its rule.
    pub(in crate::task) fn rule(family: &str, params: &str) -> Arc<dyn Rule> {
        let built = card(family, params).and_then(|card| card.build());
        built.unwrap_or_else(|e| panic!("{params}: {:?}", e.cause())).rule.unwrap()
    }

    /// The messages of its faults.
    pub(in crate::task) fn faults(family: &str, params: &str) -> Vec<String> {
        card(family, params).unwrap_err().cause()
    }

    /// Takes the example of these operands apart, after a look at what must hold of every example.
    pub(in crate::task) fn drawing(rule: &dyn Rule, operands: &[u32]) -> Drawing {
        let (words, classes) = (rule.words(), rule.classes());
        let mut example = Example::default();
        assert!(rule.write(operands, &mut example), "{rule:?} does not know {operands:?}");
        assert_eq!(example.tokens.len(), rule.n_ctx(), "{rule:?}");
        assert_eq!(example.targets.len(), rule.loss_positions().len(), "{rule:?}");
        assert!(example.targets.iter().any(|&target| target != IGNORED), "{rule:?} asks nothing for {operands:?}");
        let word = |&token: &u32| words[token as usize].clone();
        let answer = |&target: &u32| if target == IGNORED { String::new() } else { classes[target as usize].clone() };
        Drawing {
            operands: operands.to_vec(),
            words: example.tokens.iter().map(word).collect(),
            answers: example.targets.iter().map(answer).collect(),
        }
    }

    /// Calls `each` with `n` random examples; panics if they are all the same.
    pub(in crate::task) fn samples(rule: &dyn Rule, n: usize, mut each: impl FnMut(&Drawing)) {
        let positions = rule.loss_positions();
        assert!(positions.is_sorted_by(|a, b| a < b) && positions.iter().all(|&t| t < rule.n_ctx()), "{positions:?}");
        assert!(rule.words().iter().chain(&rule.classes()).all(|w| !w.is_empty() && !w.contains(' ')), "{rule:?}");
        let mut rng = Rng::stream(7, "samples");
        let mut seen = BTreeSet::new();
        for _ in 0..n {
            let mut operands = vec![];
            rule.draw(&mut rng, &mut operands);
            each(&drawing(rule, &operands));
            seen.insert(operands);
        }
        assert!(n < 2 || seen.len() > 1, "every example is the same");
    }
}
