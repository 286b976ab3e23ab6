//! Terms that a step adds to the training loss, as the runner sees them; what there is by name is in [`term`](crate::term).
//!
//! A term is a function of some parameters, of every logit or every row of logits by itself, or of all logits of the batch at once. The
//! gradient of the first is added to the gradients of a replica when they are complete, before finiteness and clipping; that of the second to
//! the gradient of the logits, tile by tile; the third needs all logits before any gradient, so a step with one begins with a
//! forward pass over the whole batch. Numbers are f64 whatever the plan's, but for another loss, which has those of the loss itself. Every part
//! of the work has one owner and a fixed order, so that bits do not depend on threads. The loss that a step reports is without terms.

use std::fmt::Debug;
use std::ops::Range;

use super::ctx::Raw;
use super::op::ParamId;
use super::params::ParamLayout;
use super::workers::Workers;
use crate::loss::LossTerm;

/// Numbers that a [`EntriesTerm`] is asked about at a time, at most.
pub const ENTRIES: usize = 128;

/// A function of some parameters of a replica.
pub trait ParamsTerm: Debug + Send + Sync {
    /// The parameters that it reads.
    fn params(&self) -> &[ParamId];

    /// Numbers of scratch.
    fn scratch_len(&self) -> usize {
        0
    }

    /// The value for replica `r`; overwrites `dw` by the gradient.
    ///
    /// # Shapes
    /// `w`, `dw`: the parameters of [`ParamsTerm::params`] one after another, each as the engine stores it.
    fn eval(&self, r: usize, w: &[f64], dw: &mut [f64], scratch: &mut [f64]) -> f64;

    /// Makes frequencies its parameter for replica `r`, where it has any.
    fn set_freqs(&mut self, _r: usize, _freqs: &[usize]) {}
}

/// A function f(l, y) of a logit and its target, averaged over rows.
pub trait EntriesTerm: Debug + Send + Sync {
    /// Writes f and ∂f/∂l of up to [`ENTRIES`] entries of one row of `width` logits; their sum over the row is its value.
    fn eval(&self, width: usize, l: &[f64], y: &[f64], f: &mut [f64], df: &mut [f64]);
}

/// All logits of a batch of classes.
#[derive(Debug, Clone, Copy)]
pub struct LogitRows<'a> {
    /// `[rows, width]`, row = (example, loss position).
    pub logits: &'a [f64],
    /// Classes.
    pub width: usize,
    /// `[rows]` right classes.
    pub targets: &'a [u32],
}

/// A function of all logits of the batch.
pub trait LogitsTerm: Debug + Send + Sync {
    /// Numbers of scratch.
    fn scratch_len(&self) -> usize;

    /// The value for replica `r`; adds `factor` times the gradient to `dlogits`, `[rows, width]`.
    fn add(&self, r: usize, rows: LogitRows<'_>, out: LogitsOut<'_>) -> f64;

    /// Makes frequencies its parameter for replica `r`, where it has any.
    fn set_freqs(&mut self, _r: usize, _freqs: &[usize]) {}
}

/// Where a [`LogitsTerm`] writes.
pub struct LogitsOut<'a> {
    /// Factor on the gradient.
    pub factor: f64,
    /// `[rows, width]`, to add to.
    pub dlogits: &'a mut [f64],
    /// As many numbers as the term asked for; what is in them is left over from other steps.
    pub scratch: &'a mut [f64],
    /// Who shares the work.
    pub share: Share<'a>,
}

/// What a term is a function of.
#[derive(Debug)]
pub enum TermKind {
    /// Parameters.
    Params(Box<dyn ParamsTerm>),
    /// Each logit by itself.
    Entries(Box<dyn EntriesTerm>),
    /// All logits of the batch.
    Logits(Box<dyn LogitsTerm>),
    /// Another loss of each row; its own weight is not looked at.
    Loss(LossTerm),
}

/// A weighted term.
#[derive(Debug)]
pub struct Term {
    /// For lists and files.
    pub name: String,
    /// Factor on its value; with 0 the value is only watched.
    pub weight: f64,
    /// Updates that it takes part in: those that come after so many others.
    pub steps: Range<u64>,
    /// What it is.
    pub kind: TermKind,
}

/// The workers that share a term's work: all of them, or the one that has the replica.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a>(Option<&'a Workers>);

impl Share<'_> {
    /// The caller alone.
    pub const ALONE: Share<'static> = Share(None);

    /// Calls `work` with the number of each chunk of `size` numbers, and the chunk.
    pub fn chunks(self, x: &mut [f64], size: usize, work: impl Fn(usize, &mut [f64]) + Sync + Send) {
        match self.0 {
            Some(workers) => workers.each_chunk(x, size, work),
            None => x.chunks_mut(size).enumerate().for_each(|(i, chunk)| work(i, chunk)),
        }
    }
}

impl<'a> Share<'a> {
    /// All workers.
    pub(super) fn all(workers: &'a Workers) -> Share<'a> {
        Share(Some(workers))
    }
}

impl Term {
    /// Whether it takes part in the update after `step` others.
    pub fn active(&self, step: u64) -> bool {
        self.steps.contains(&step)
    }

    /// Makes frequencies its parameter for replica `r`, where it has any.
    pub fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        match &mut self.kind {
            TermKind::Params(term) => term.set_freqs(r, freqs),
            TermKind::Logits(term) => term.set_freqs(r, freqs),
            TermKind::Entries(_) | TermKind::Loss(_) => {}
        }
    }

    /// Whether its value is a sum over rows, each of which has its own part.
    pub(super) fn by_row(&self) -> bool {
        matches!(self.kind, TermKind::Entries(_) | TermKind::Loss(_))
    }

    /// Numbers of room that it needs for one replica: what it reads, its gradient, its scratch.
    fn room(&self, params: &ParamLayout) -> usize {
        match &self.kind {
            TermKind::Params(term) => 2 * read_len(term.as_ref(), params) + term.scratch_len(),
            TermKind::Logits(term) => term.scratch_len(),
            TermKind::Entries(_) | TermKind::Loss(_) => 0,
        }
    }
}

/// Numbers that a term of parameters reads.
pub(super) fn read_len(term: &dyn ParamsTerm, params: &ParamLayout) -> usize {
    term.params().iter().map(|&id| params.infos[id].len()).sum()
}

/// Room for the terms of one replica at work; empty without any.
pub(super) struct TermRoom {
    /// `[rows, width]`.
    pub(super) logits: Vec<f64>,
    /// `[rows, width]`.
    pub(super) dlogits: Vec<f64>,
    pub(super) scratch: Vec<f64>,
    /// `[terms, rows]`: the parts of the values of terms that each row has by itself.
    pub(super) row_values: Vec<f64>,
}

impl TermRoom {
    pub(super) fn new(terms: &[Term], params: &ParamLayout, (rows, width): (usize, usize)) -> TermRoom {
        let whole = terms.iter().any(|t| matches!(t.kind, TermKind::Logits(_)));
        let by_row = terms.iter().any(Term::by_row);
        let logits = vec![0.0; if whole { rows * width } else { 0 }];
        TermRoom {
            dlogits: logits.clone(),
            logits,
            scratch: vec![0.0; terms.iter().map(|t| t.room(params)).max().unwrap_or(0)],
            row_values: vec![0.0; if by_row { terms.len() * rows } else { 0 }],
        }
    }
}

/// The terms of one replica at one step, and where their values go.
#[derive(Clone, Copy)]
pub(super) struct TermsAt<'a> {
    pub(super) all: &'a [Term],
    pub(super) step: u64,
    pub(super) replica: usize,
    /// `[terms]`; NaN stays where a term takes no part.
    pub(super) values: Raw<'a, f64>,
}

impl<'a> TermsAt<'a> {
    /// No terms.
    pub(super) fn none() -> TermsAt<'a> {
        TermsAt { all: &[], step: 0, replica: 0, values: Raw::new(&mut []) }
    }

    /// Those that take part, with their numbers.
    pub(super) fn active(&self) -> impl Iterator<Item = (usize, &'a Term)> + use<'a> {
        let step = self.step;
        self.all.iter().enumerate().filter(move |(_, term)| term.active(step))
    }

    /// Those of all logits that take part.
    pub(super) fn of_logits(&self) -> impl Iterator<Item = (usize, f64, &'a dyn LogitsTerm)> + use<'a> {
        self.active().filter_map(|(i, term)| match &term.kind {
            TermKind::Logits(kind) => Some((i, term.weight, kind.as_ref())),
            _ => None,
        })
    }

    /// Those of each logit that take part.
    pub(super) fn of_entries(&self) -> impl Iterator<Item = (usize, f64, &'a dyn EntriesTerm)> + use<'a> {
        self.active().filter_map(|(i, term)| match &term.kind {
            TermKind::Entries(kind) => Some((i, term.weight, kind.as_ref())),
            _ => None,
        })
    }

    /// The losses that take part.
    pub(super) fn of_losses(&self) -> impl Iterator<Item = (usize, f64, &'a LossTerm)> + use<'a> {
        self.active().filter_map(|(i, term)| match &term.kind {
            TermKind::Loss(loss) => Some((i, term.weight, loss)),
            _ => None,
        })
    }

    /// Those of parameters that take part.
    pub(super) fn of_params(&self) -> impl Iterator<Item = (usize, f64, &'a dyn ParamsTerm)> + use<'a> {
        self.active().filter_map(|(i, term)| match &term.kind {
            TermKind::Params(kind) => Some((i, term.weight, kind.as_ref())),
            _ => None,
        })
    }

    /// Sets the value of term `i`.
    pub(super) fn set(&self, i: usize, value: f64) {
        // SAFETY: one worker at a time sets the values of a replica.
        unsafe { self.values.part_mut(i, 1)[0] = value };
    }
}
