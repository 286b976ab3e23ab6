//! Examples as a step reads them: inputs, targets, weights, and the pair table's row of every token.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::rng::Rng;

/// What enters a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Tokens `[B, n_ctx]`.
    Ids(Vec<u32>),
    /// Real numbers `[B, n_ctx, width]`.
    Reals {
        /// The numbers.
        x_btn: Vec<f64>,
        /// Numbers a position.
        width: usize,
    },
}

/// What the loss compares with.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Classes `[B, L]`, L the loss positions.
    Classes(Vec<u32>),
    /// Real numbers `[B, L, width]`.
    Reals {
        /// The numbers.
        y_bln: Vec<f64>,
        /// Numbers a position.
        width: usize,
    },
}

impl Targets {
    /// Number of (example, loss position) rows.
    pub fn rows(&self) -> usize {
        match self {
            Targets::Classes(classes) => classes.len(),
            Targets::Reals { y_bln, width } => y_bln.len() / width,
        }
    }
}

/// Examples for one step of one replica; replicas may share one batch or have one each.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Positions an example.
    pub n_ctx: usize,
    /// Inputs.
    pub x: Inputs,
    /// Targets.
    pub targets: Targets,
    /// Weight of each (example, loss position) `[B, L]`; 1 for all when unset. The loss is the weighted mean.
    pub weights: Option<Vec<f64>>,
    /// Row of the plan's pair table at each position `[B, n_ctx]`; empty for plans without a table.
    pub(crate) pairs: Vec<u32>,
}

/// Examples that batches are gathered from.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExampleSet<'a> {
    /// N.
    pub n: usize,
    /// Tokens `[N, n_ctx]`, if it is of tokens.
    pub tokens_bt: &'a [u32],
    /// Classes `[N, L]`, if it is of classes.
    pub targets_bl: &'a [u32],
    /// Real inputs `[N, n_ctx, width]`, if it is of those.
    pub x_btn: &'a [f64],
    /// Real targets `[N, L, width]`, if it is of those.
    pub y_bln: &'a [f64],
    /// Weights of the targets `[N, L]`, where they are not all 1.
    pub weights_bl: Option<&'a [f64]>,
}

/// Rows `indices` of the `n` of `all`.
fn take<T: Copy>(to: &mut Vec<T>, all: &[T], n: usize, indices: &[u32]) {
    let width = all.len() / n;
    to.clear();
    for &i in indices {
        to.extend_from_slice(&all[i as usize * width..][..width]);
    }
}

/// A borrowed [`Batch`].
pub struct BatchView<'a> {
    pub(crate) n_ctx: usize,
    pub(crate) examples: usize,
    pub(crate) x: &'a Inputs,
    pub(crate) targets: &'a Targets,
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) pairs: &'a [u32],
    /// Sum of the weights.
    pub(crate) weight_sum: f64,
    /// What dropout draws from; none outside training.
    pub(crate) noise: Option<Rng>,
}

impl Batch {
    /// Tokens and classes: `tokens_bt [B, n_ctx]`, `targets_bl [B, L]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths do not go together.
    pub fn classes(n_ctx: usize, tokens_bt: Vec<u32>, targets_bl: Vec<u32>) -> Result<Batch> {
        let examples = tokens_bt.len() / n_ctx.max(1);
        if tokens_bt.len() != examples * n_ctx || examples == 0 || !targets_bl.len().is_multiple_of(examples) {
            return Err(Error::Shape {
                op: "batch".into(),
                expected: format!("tokens [B, {n_ctx}] and targets [B, L] with B ≥ 1"),
                got: format!("{} tokens and {} targets", tokens_bt.len(), targets_bl.len()),
            });
        }
        Ok(Batch {
            n_ctx,
            x: Inputs::Ids(tokens_bt),
            targets: Targets::Classes(targets_bl),
            weights: None,
            pairs: vec![],
        })
    }

    /// Real inputs `[B, n_ctx, width]` and real targets `[B, L, width]`.
    pub fn reals(n_ctx: usize, x: (Vec<f64>, usize), y: (Vec<f64>, usize)) -> Batch {
        Batch {
            n_ctx,
            x: Inputs::Reals { x_btn: x.0, width: x.1 },
            targets: Targets::Reals { y_bln: y.0, width: y.1 },
            weights: None,
            pairs: vec![],
        }
    }

    /// No examples, and room for some of these kinds.
    pub(crate) fn empty(n_ctx: usize, x: Inputs, targets: Targets) -> Batch {
        Batch { n_ctx, x, targets, weights: None, pairs: vec![] }
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        match &self.x {
            Inputs::Ids(ids) => ids.len() / self.n_ctx,
            Inputs::Reals { x_btn, width } => x_btn.len() / (self.n_ctx * width),
        }
    }

    /// The tokens; none for real inputs.
    pub fn tokens(&self) -> &[u32] {
        match &self.x {
            Inputs::Ids(ids) => ids,
            Inputs::Reals { .. } => &[],
        }
    }

    /// Replaces the examples by rows `indices` of a larger set, without allocating. Of tokens and classes a set has either these or the
    /// real numbers that this batch has; weights only where they are not all 1.
    pub fn gather(&mut self, all: &ExampleSet<'_>, indices: &[u32]) {
        if let Some(all_bl) = all.weights_bl {
            take(self.weights.get_or_insert_default(), all_bl, all.n, indices);
        }
        match &mut self.x {
            Inputs::Ids(tokens_bt) => take(tokens_bt, all.tokens_bt, all.n, indices),
            Inputs::Reals { x_btn, .. } => take(x_btn, all.x_btn, all.n, indices),
        }
        match &mut self.targets {
            Targets::Classes(targets_bl) => take(targets_bl, all.targets_bl, all.n, indices),
            Targets::Reals { y_bln, .. } => take(y_bln, all.y_bln, all.n, indices),
        }
    }

    /// Looks every token up in a pair table: `row_of[position · d_vocab + token]`.
    pub(crate) fn look_up(&mut self, row_of: &[u32], d_vocab: usize) {
        let Inputs::Ids(tokens) = &self.x else { return };
        self.pairs.clear();
        self.pairs.extend(tokens.iter().enumerate().map(|(i, &t)| row_of[(i % self.n_ctx) * d_vocab + t as usize]));
    }

    pub(crate) fn view(&self) -> BatchView<'_> {
        let weight_sum = self.weights.as_ref().map_or(self.targets.rows() as f64, |w| w.iter().sum());
        BatchView {
            n_ctx: self.n_ctx,
            examples: self.examples(),
            x: &self.x,
            targets: &self.targets,
            weights: self.weights.as_deref(),
            pairs: &self.pairs,
            weight_sum,
            noise: None,
        }
    }
}

impl BatchView<'_> {
    /// No examples.
    pub(crate) fn empty(n_ctx: usize) -> BatchView<'static> {
        static EMPTY: (Inputs, Targets) = (Inputs::Ids(vec![]), Targets::Classes(vec![]));
        BatchView {
            n_ctx,
            examples: 0,
            x: &EMPTY.0,
            targets: &EMPTY.1,
            weights: None,
            pairs: &[],
            weight_sum: 0.0,
            noise: None,
        }
    }

    /// Token at `position` of `example`.
    #[inline(always)]
    pub fn token(&self, example: usize, position: usize) -> usize {
        match self.x {
            Inputs::Ids(ids) => ids[example * self.n_ctx + position] as usize,
            Inputs::Reals { .. } => unreachable!("invariant: graphs that embed tokens get tokens"),
        }
    }

    /// Weights of the rows of `tile`, `per_example` loss positions each.
    #[inline(always)]
    pub fn weights_of(&self, tile: Range<usize>, per_example: usize) -> Option<&[f64]> {
        self.weights.map(|w| &w[tile.start * per_example..tile.end * per_example])
    }
}
