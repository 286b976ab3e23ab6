//! Tasks: what a model is trained on, from a card to tokens and targets.
//!
//! Reads `tasks/NAME.toml` (the working folder's, else the one in the binary); writes a [`Task`]: all examples as
//! `tokens_bt [N, n_ctx]` and `targets_bl [N, loss positions]`. A card of a known family is a new file and edits nothing; a
//! new family is one file here and one line in [`FAMILIES`].

mod arithmetic;
mod associative_recall;
mod automaton;
mod automaton_table;
mod board;
mod brackets;
#[cfg(feature = "bpe")]
mod byte_pairs;
pub mod card;
mod corpus;
mod dyck;
mod find;
mod graph;
mod graph_path;
pub mod group;
mod group_table;
mod in_context_regression;
mod induction;
pub mod ioi;
mod ioi_flip;
mod ioi_sentences;
mod layout;
mod least_squares;
mod list_answer;
mod list_map;
mod markov;
mod markov_tables;
mod mixture;
mod mixture_part;
mod mixture_union;
pub mod modular;
pub mod op;
mod operation;
mod othello;
mod program;
pub mod random_labels;
mod random_strings;
mod recurrence;
mod replay;
pub mod rule;
mod sample;
mod skip_trigram;
mod sort;
mod sparse_parity;
mod split;
mod table;
mod table_hdf5;
mod table_lines;
mod table_number_rows;
mod table_numbers;
mod table_rows;
mod table_source;
mod table_tokens;
mod table_vocab;
mod template;
mod template_docstring;
mod template_slots;
mod text;
mod wording;

pub use card::Card;
pub use find::{CARDS, list};
pub use modular::Modular;
pub use op::Op;
pub use operation::{Formula, Operation};
pub use replay::{Facts, Worked};
pub use rule::{Drawn, Example, IGNORED, Rule, Widths};
pub use sample::sample;
pub use split::{Split, n_train, split};

use std::sync::Arc;

use crate::error::{Fault, Result};
use crate::spec::DataSpec;
use rule::Of;

/// Every task family, in the order of `phaselab list`.
pub const FAMILIES: &[&dyn TaskFamily] = &[
    &modular::Family,
    &random_labels::Family,
    &Of::<sort::Sort>::FAMILY,
    &Of::<list_map::ListMap>::FAMILY,
    &Of::<list_answer::ListAnswer>::FAMILY,
    &Of::<arithmetic::Arithmetic>::FAMILY,
    &Of::<recurrence::Recurrence>::FAMILY,
    &Of::<group::Group>::FAMILY,
    &Of::<automaton::Automaton>::FAMILY,
    &Of::<dyck::Dyck>::FAMILY,
    &Of::<graph_path::GraphPath>::FAMILY,
    &Of::<program::Program>::FAMILY,
    &Of::<induction::Induction>::FAMILY,
    &Of::<associative_recall::AssociativeRecall>::FAMILY,
    &Of::<skip_trigram::SkipTrigram>::FAMILY,
    &Of::<markov::Markov>::FAMILY,
    &Of::<in_context_regression::InContextRegression>::FAMILY,
    &Of::<ioi::Ioi>::FAMILY,
    &Of::<template::Template>::FAMILY,
    &Of::<othello::Othello>::FAMILY,
    &Of::<text::Text>::FAMILY,
    &Of::<table::Table>::FAMILY,
    &Of::<mixture::Mixture>::FAMILY,
    &Of::<sparse_parity::SparseParity>::FAMILY,
    &Of::<random_strings::RandomStrings>::FAMILY,
];

/// A way of making examples, which cards set the parameters of.
pub trait TaskFamily: std::fmt::Debug + Sync {
    /// Registry name, as a card's `family` writes it.
    fn name(&self) -> &'static str;

    /// One line.
    fn summary(&self) -> &'static str;

    /// What it is, with the headings *What it is / Reads / Unit and range / Value at a known point / Source*.
    fn explain(&self) -> String;

    /// All that is wrong with the family's own part of a card: `params` and `layout`.
    fn faults(&self, card: &Card) -> Vec<Fault>;

    /// Whether examples can be drawn without end, instead of being a finite set.
    fn can_stream(&self) -> bool {
        false
    }

    /// Makes all examples, or those that a stream is tested on.
    ///
    /// # Errors
    /// [`Error::Spec`](crate::error::Error::Spec) with what [`TaskFamily::faults`] finds, and for a set that cannot be made.
    fn build(&self, card: &Card, data: &DataSpec) -> Result<Task>;

    /// The index of the example with these operands, as a card's worked row gives them; `None` when there is none.
    fn find_example(&self, task: &Task, operands: &[u32]) -> Option<usize>;

    /// An example as a reader would write it, e.g. `5 + 110 = 2 (mod 113)`.
    fn write_example(&self, task: &Task, example: usize) -> String;
}

/// What examples are told apart by: the number of carries of a sum, the length of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// `carries`, `length`, …
    pub name: &'static str,
    /// `[N]`.
    pub of: Vec<u32>,
}

/// Examples of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// `[N, n_ctx, widths.x]`, row-major: what is read.
    pub x_btn: Vec<f64>,
    /// `[N, loss_positions, widths.y]`, row-major: what is asked for; 0 where nothing is.
    pub y_bln: Vec<f64>,
    /// Numbers a position.
    pub widths: Widths,
}

/// A task: all its examples, in a fixed order (`modular`: first operand major, second minor). A stream has no end: its examples here
/// are those that it is tested on, and training draws its own.
#[derive(Debug, Clone)]
pub struct Task {
    /// The card's name, e.g. `mod_add_113`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where it comes from.
    pub family: &'static dyn TaskFamily,
    /// Different input tokens; 0 for real numbers.
    pub d_vocab: usize,
    /// Classes of the loss, or numbers that are asked for at a position: the width of `W_U`.
    pub d_vocab_out: usize,
    /// Positions.
    pub n_ctx: usize,
    /// Positions whose logits enter the loss, ascending.
    pub loss_positions: Vec<usize>,
    /// `[n_ctx]` lists, ascending: the tokens that can stand at each position; empty for real numbers.
    pub possible_tokens: Vec<Vec<u32>>,
    /// `[N, n_ctx]`, row-major; empty for real numbers.
    pub tokens_bt: Vec<u32>,
    /// `[N, loss_positions]`, row-major; empty for real numbers.
    pub targets_bl: Vec<u32>,
    /// Examples of real numbers, in place of tokens and targets.
    pub numbers: Option<Numbers>,
    /// `[N, loss_positions]` weight of each target in the loss; 1 for all when unset.
    pub weights_bl: Option<Vec<f64>>,
    /// What examples are told apart by in measures, if by anything.
    pub labels: Option<Labels>,
    /// `[N]` operands of the examples, as worked rows give them; empty for a family without a rule.
    pub operands: Vec<Vec<u32>>,
    /// The rule that makes examples, where the family has one.
    pub rule: Option<Arc<dyn Rule>>,
    /// Whether training draws fresh examples without end.
    pub stream: bool,
    /// The card's fraction of examples for training; a spec may choose another.
    pub train_frac: f64,
    /// Modulus, operations and operands, for the measures that need them.
    pub modular: Option<Modular>,
}

impl Task {
    /// Reads the card `name`, or the file when it ends in `.toml`, makes the examples and replays the card's facts
    /// and worked rows on them.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is neither in the working folder nor in the binary; [`Error::Missing`]
    /// for a path that is not there; [`Error::Spec`] with all faults of the card; [`Error::Io`].
    ///
    /// [`Error::Unknown`]: crate::error::Error::Unknown
    /// [`Error::Missing`]: crate::error::Error::Missing
    /// [`Error::Spec`]: crate::error::Error::Spec
    /// [`Error::Io`]: crate::error::Error::Io
    pub fn load(name_or_path: &str) -> Result<Task> {
        Task::of(name_or_path, &DataSpec::default())
    }

    /// As [`Task::load`], with the examples that a spec chooses.
    ///
    /// # Errors
    /// As [`Task::load`]; [`Error::Spec`] for a finite set that the task does not have.
    ///
    /// [`Error::Spec`]: crate::error::Error::Spec
    pub fn of(name_or_path: &str, data: &DataSpec) -> Result<Task> {
        let mut card = Card::load(name_or_path)?;
        let mut task = card.build_for(data)?;
        // A card of a stream divides nothing.
        if let Some(frac) = data.train_frac.filter(|_| task.train_frac == 0.0) {
            task.train_frac = frac;
        }
        if data.examples.is_some() || data.train_frac.is_some() {
            // The card counts the examples that it would have itself.
            (card.facts.examples, card.facts.train_examples) = (None, None);
        }
        let faults = card.replay(&task);
        if faults.is_empty() { Ok(task) } else { Err(card.fail(faults)) }
    }

    /// N: how many examples there are.
    pub fn n_examples(&self) -> usize {
        match &self.numbers {
            Some(numbers) => numbers.x_btn.len() / (self.n_ctx * numbers.widths.x),
            None => self.tokens_bt.len() / self.n_ctx,
        }
    }

    /// The tokens of one example, `[n_ctx]`.
    pub fn tokens_t(&self, example: usize) -> &[u32] {
        &self.tokens_bt[example * self.n_ctx..][..self.n_ctx]
    }

    /// The targets of one example, `[loss_positions]`.
    pub fn targets_l(&self, example: usize) -> &[u32] {
        let width = self.loss_positions.len();
        &self.targets_bl[example * width..][..width]
    }

    /// The weights of one example's targets, `[loss_positions]`; none where all are 1.
    pub fn weights_l(&self, example: usize) -> Option<&[f64]> {
        let width = self.loss_positions.len();
        self.weights_bl.as_ref().map(|weights_bl| &weights_bl[example * width..][..width])
    }

    /// The loss of a model that gives every class the same logit: ln `d_vocab_out`, nats.
    pub fn chance_loss_nats(&self) -> f64 {
        (self.d_vocab_out as f64).ln()
    }
}

/// The tokens that occur at each position of `tokens_bt [N, n_ctx]`, ascending: `[n_ctx]` lists.
fn possible_tokens(tokens_bt: &[u32], n_ctx: usize, d_vocab: usize) -> Vec<Vec<u32>> {
    let mut seen_tv = vec![vec![false; d_vocab]; n_ctx];
    for tokens_t in tokens_bt.chunks_exact(n_ctx) {
        for (seen_v, &token) in seen_tv.iter_mut().zip(tokens_t) {
            seen_v[token as usize] = true;
        }
    }
    seen_tv
        .iter()
        .map(|seen_v| (0..).zip(seen_v).filter(|&(_, &seen)| seen).map(|(token, _)| token).collect())
        .collect()
}

/// The family of a registry name.
pub fn family(name: &str) -> Option<&'static dyn TaskFamily> {
    FAMILIES.iter().copied().find(|family| family.name() == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADINGS: [&str; 5] = ["What it is", "Reads", "Unit and range", "Value at a known point", "Source"];

    #[test]
    fn every_card_loads_with_its_facts_and_worked_rows() {
        assert!(CARDS.len() >= 13);
        for &(name, text) in CARDS {
            let card = Card::parse(name.as_ref(), text).unwrap_or_else(|e| panic!("{name}: {:?}", e.cause()));
            let task = card.build().unwrap();
            assert_eq!(card.replay(&task), [], "{name}");
            // A page of real numbers is no example that somebody works.
            let is_page = task.numbers.is_some() && task.n_ctx > 40;
            assert!(card.worked.len() >= 3 || is_page, "{name} has too few worked rows");
            let counted = card.facts.examples.is_some() || task.stream;
            let loss = card.facts.chance_loss_nats.is_some() || task.numbers.is_some();
            assert!(counted && loss, "{name} states no facts");
            let (tokens, targets) = (task.n_examples() * task.n_ctx, task.n_examples() * task.loss_positions.len());
            match &task.numbers {
                Some(numbers) => {
                    assert_eq!(numbers.x_btn.len(), tokens * numbers.widths.x, "{name}");
                    assert_eq!(numbers.y_bln.len(), targets * numbers.widths.y, "{name}");
                }
                None => assert_eq!((task.tokens_bt.len(), task.targets_bl.len()), (tokens, targets), "{name}"),
            }
        }
    }

    #[test]
    fn a_spec_may_choose_other_examples_than_the_card_counts() {
        let finite = DataSpec { stream: Some(false), ..DataSpec::default() };
        let some = DataSpec { examples: Some(40), train_frac: Some(0.5), ..finite.clone() };
        for name in ["parity_16", "add_3_digits", "in_context_regression_5", "s5_compose"] {
            let task = Task::of(name, &some).unwrap_or_else(|e| panic!("{name}: {:?}", e.cause()));
            assert_eq!((task.n_examples(), n_train(40, task.train_frac) > 0), (40, true), "{name}");
        }
        let none = DataSpec { train_frac: Some(0.001), ..some };
        assert!(
            Task::of("in_context_regression_5", &none).unwrap_err().cause()[0]
                .contains("leaves the training split empty")
        );
    }

    #[test]
    fn families_have_different_names_and_explain_themselves() {
        for (i, one) in FAMILIES.iter().enumerate() {
            assert!(FAMILIES[..i].iter().all(|other| other.name() != one.name()), "{} stands twice", one.name());
            assert!(!one.summary().is_empty() && !one.summary().contains('\n'), "{}", one.name());
            let text = one.explain();
            let places: Vec<Option<usize>> = HEADINGS.iter().map(|h| text.find(&format!("{h}\n"))).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}: {places:?}", one.name());
        }
    }
}
