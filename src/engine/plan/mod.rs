//! A graph -> an executable plan: rewrites, then buffers, once, before the first step.
//!
//! Rewrites are found by liveness from what the caller asks for (loss positions, wants, edits), never by model:
//! - [`rewrite::needed_positions`]: values are computed only at positions that reach the loss or a want.
//! - [`rewrite::pair_tables`]: values that depend on (token, position) alone are computed once for each pair that the
//!   task can show, when those are fewer than the batch's rows.
//! - [`rewrite::fuse_sums`]: a sum with a fresh matrix product becomes part of the product.
//! - [`rewrite::fuse_attention`]: scores, pattern and mixed values of a head are computed while it lies in cache.
//!
//! A want or an edit at a value switches off what would drop it.

mod edits;
mod place;
mod rewrite;

use std::sync::Arc;

use super::batch::{Batch, Targets};
use super::edit::{Edit, Hook};
use super::graph::Graph;
use super::op::{Op, Space, Value, ValueId};
use super::params::ParamLayout;
use super::real::Real;
use crate::error::{Error, Result};
use crate::loss::LossTerm;

pub(crate) use edits::ParamEdit;
pub(crate) use place::{Place, Site, SlotLayout};

/// Rows that a tile has at most: no matrix product adds more terms of a gradient in one call.
pub const MAX_TILE_ROWS: usize = 512;
/// Rows that a tile aims for: few enough that what one op writes is still near when the next reads it.
const AIM_TILE_ROWS: usize = 256;

/// The hook of the logits at the positions that the loss reads, `[B, L, d_vocab_out]`; `logits` are those at all positions.
pub const LOSS_LOGITS: &str = "logits.at_loss";

/// Sizes of a batch, and what the task can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchShape {
    /// Examples a step.
    pub examples: usize,
    /// Input tokens.
    pub d_vocab: usize,
    /// Tokens that can stand at each position; unknown when unset (then nothing is tabulated).
    pub possible_tokens: Option<Vec<Vec<u32>>>,
    /// Positions whose logits enter the loss.
    pub loss_positions: Vec<usize>,
}

/// Which savings a plan may use; all of them by default. For tests and for measuring what each one brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savings {
    /// Only the positions that reach the loss.
    pub positions: bool,
    /// (token, position) tables.
    pub pairs: bool,
    /// Sums inside matrix products.
    pub fusion: bool,
    /// What will run the plan.
    pub target: Target,
}

/// What runs a plan; what pays differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The processor: attention reads tables in place, and is joined where 16 heads lie in cache.
    Processor,
    /// A GPU: what attention reads from tables is gathered first, and attention over few keys is always joined.
    Gpu,
}

impl Default for Savings {
    fn default() -> Savings {
        Savings { positions: true, pairs: true, fusion: true, target: Target::Processor }
    }
}

/// One op of a plan with what was decided for it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) op: Box<dyn Op>,
    pub(crate) site: Site,
    /// Whether it works on the pair table's rows.
    pub(crate) on_pairs: bool,
    /// Whether the loss's gradient passes through it.
    pub(crate) has_grad: bool,
}

/// A hook that was asked for, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) hook: Hook,
    pub(crate) id: ValueId,
    /// Which of the value's rows of an example.
    pub(crate) rows: Vec<usize>,
}

/// An executable list of ops over preallocated buffers.
#[derive(Debug)]
pub struct Plan {
    pub(crate) values: Vec<Value>,
    /// Of a slot that holds one tile.
    pub(crate) tile_slot: SlotLayout,
    pub(crate) scratch_len: usize,
    pub(crate) steps: Vec<Step>,
    pub(crate) params: Arc<ParamLayout>,
    pub(crate) param_edits: Vec<ParamEdit>,
    pub(crate) losses: Vec<LossTerm>,
    pub(crate) logits: ValueId,
    pub(crate) wants: Vec<Want>,
    pub(crate) shape: BatchShape,
    pub(crate) n_ctx: usize,
    pub(crate) pairs: Vec<(u32, usize)>,
    pub(crate) row_of: Vec<u32>,
    /// Positions that the table has; the others have no rows and need none.
    tabulated: Vec<bool>,
    pub(crate) tile_examples: usize,
    /// Whether there is a backward pass.
    pub(crate) backward: bool,
}

impl Plan {
    /// Compiles `graph` for batches of `shape`, with all savings. Wants are kept at all positions,
    /// [`LOSS_LOGITS`] at the loss's.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a hook or parameter that the graph lacks, [`Error::Shape`] for numbers of an edit that do not
    /// fit, [`Error::Value`] for an edit or want that its place does not allow.
    pub fn build(
        graph: Graph,
        shape: &BatchShape,
        losses: &[LossTerm],
        wants: &[Hook],
        edits: &[Edit],
    ) -> Result<Plan> {
        Plan::build_with(Savings::default(), graph, shape, losses, wants, edits)
    }

    /// A plan without gradients, for evaluation.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn build_forward(
        graph: Graph,
        shape: &BatchShape,
        losses: &[LossTerm],
        wants: &[Hook],
        edits: &[Edit],
    ) -> Result<Plan> {
        Plan::build_forward_with(Savings::default(), graph, shape, losses, wants, edits)
    }

    /// [`Plan::build_forward`] with a choice of savings.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn build_forward_with(
        savings: Savings,
        graph: Graph,
        shape: &BatchShape,
        losses: &[LossTerm],
        wants: &[Hook],
        edits: &[Edit],
    ) -> Result<Plan> {
        let mut plan = Plan::build_with(savings, graph, shape, losses, wants, edits)?;
        if let Some(hook) = wants.iter().find(|hook| hook.gradient) {
            return Err(no_gradient(hook, "this plan has no backward pass"));
        }
        plan.drop_gradients();
        Ok(plan)
    }

    fn drop_gradients(&mut self) {
        for step in &mut self.steps {
            step.has_grad = false;
            step.site.input_grads.fill(None);
        }
        for place in &mut self.tile_slot.places {
            place.grad_at = None;
        }
        self.backward = false;
    }

    /// [`Plan::build`] with a choice of savings.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn build_with(
        savings: Savings,
        mut graph: Graph,
        shape: &BatchShape,
        losses: &[LossTerm],
        wants: &[Hook],
        edits: &[Edit],
    ) -> Result<Plan> {
        if let Some(fault) = graph.fault.take() {
            return Err(fault);
        }
        let at = &shape.loss_positions;
        if at.is_empty() || at.iter().any(|&t| t >= graph.n_ctx) || !at.is_sorted_by(|a, b| a < b) {
            return Err(Error::Value {
                what: "loss positions".into(),
                got: format!("{at:?}"),
                expected: format!("one or more of 0 to {}, ascending", graph.n_ctx - 1),
            });
        }
        let param_edits = edits::insert(&mut graph, shape, edits)?;
        let mut wanted = wanted_values(&graph, wants)?;
        if losses.is_empty()
            && let Some(hook) = wants.iter().find(|hook| hook.gradient)
        {
            return Err(no_gradient(hook, "this plan has no loss"));
        }
        let at_hooks = wanted.iter().filter(|(hook, _)| hook.name != LOSS_LOGITS);
        let kept_at: Vec<_> = (at_hooks.map(|(hook, id)| (*id, hook.positions.as_deref())))
            .chain(edits::edited(&graph).into_iter().map(|id| (id, None)))
            .collect();
        let keep: Vec<ValueId> = kept_at.iter().map(|&(id, _)| id).collect();

        rewrite::needed_positions(&mut graph, &shape.loss_positions, &kept_at, savings.positions);
        rewrite::loss_rows(&mut graph, &shape.loss_positions);
        for (_, id) in wanted.iter_mut().filter(|(hook, _)| hook.name == LOSS_LOGITS) {
            *id = graph.logits;
        }
        let pairs = if savings.pairs { rewrite::pair_tables(&mut graph, shape, &keep) } else { vec![] };
        rewrite::select_rows(&mut graph, savings.target);
        if savings.fusion {
            rewrite::fuse_sums(&mut graph, &keep);
            rewrite::fuse_attention(&mut graph, &keep, savings.target);
        }
        for op in &mut graph.ops {
            op.settle(&graph.values);
        }
        Ok(Plan::lay_out(graph, shape, losses, wanted, (pairs, param_edits)))
    }

    fn lay_out(
        graph: Graph,
        shape: &BatchShape,
        losses: &[LossTerm],
        wants: Vec<(Hook, ValueId)>,
        (pairs, param_edits): (Vec<(u32, usize)>, Vec<ParamEdit>),
    ) -> Plan {
        let wants = wants.into_iter().map(|(hook, id)| want(&graph.values[id], hook, id)).collect();
        let tabulated = (0..graph.n_ctx).map(|position| pairs.iter().any(|pair| pair.1 == position)).collect();
        let mut row_of = vec![u32::MAX; if pairs.is_empty() { 0 } else { shape.d_vocab * graph.n_ctx }];
        for (row, &(token, position)) in pairs.iter().enumerate() {
            row_of[position * shape.d_vocab + token as usize] = row as u32;
        }
        let tile_examples = tile_examples(&graph, shape.examples);
        let reach = place::loss_reaches(&graph, !losses.is_empty());
        let tile_slot = place::place(&graph.values, &reach, tile_examples, pairs.len());
        let scratch_len = graph.ops.iter().map(|op| op.scratch_len().next_multiple_of(16)).sum();
        let sites = place::sites(&graph, &reach);
        let steps = (graph.ops.into_iter().zip(sites))
            .map(|(op, site)| {
                let output = op.outputs()[0];
                let on_pairs = graph.values[output].space == Space::Pairs;
                Step { on_pairs, has_grad: reach[output], op, site }
            })
            .collect();
        Plan {
            values: graph.values,
            tile_slot,
            scratch_len,
            steps,
            params: Arc::new(graph.params),
            param_edits,
            losses: losses.to_vec(),
            logits: graph.logits,
            wants,
            shape: shape.clone(),
            n_ctx: graph.n_ctx,
            pairs,
            row_of,
            tabulated,
            tile_examples,
            backward: !losses.is_empty(),
        }
    }

    /// The parameters' names, shapes and places.
    pub fn params(&self) -> &Arc<ParamLayout> {
        &self.params
    }

    /// Rows of the (token, position) table; 0 when the plan has none.
    pub fn n_pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Makes a batch ready for this plan: looks its tokens up in the pair table.
    ///
    /// # Errors
    /// [`Error::Value`] for a token that the task cannot show at its position, or that the vocabulary lacks, and for a class
    /// that the logits lack.
    pub fn prepare(&self, batch: &mut Batch) -> Result<()> {
        let d_vocab = self.shape.d_vocab;
        let known = |position: usize, token: usize| {
            token < d_vocab && (!self.tabulated[position] || self.row_of[position * d_vocab + token] < u32::MAX)
        };
        let bad = batch.tokens().iter().enumerate().find(|&(i, &token)| !known(i % self.n_ctx, token as usize));
        if let Some((i, token)) = bad {
            return Err(Error::Value {
                what: format!("token at position {} of example {}", i % self.n_ctx, i / self.n_ctx),
                got: token.to_string(),
                expected: format!("one that the task can show there (vocabulary {d_vocab})"),
            });
        }
        let classes = self.values[self.logits].width;
        if let Targets::Classes(targets) = &batch.targets
            && let Some(bad) = targets.iter().find(|&&c| c as usize >= classes)
        {
            return Err(Error::Value {
                what: "target class".into(),
                got: bad.to_string(),
                expected: format!("below {classes}"),
            });
        }
        self.look_up(batch);
        Ok(())
    }

    /// The part of [`Plan::prepare`] that changes the batch, for tokens that are known to be right.
    pub(crate) fn look_up(&self, batch: &mut Batch) {
        if !self.row_of.is_empty() {
            batch.look_up(&self.row_of, self.shape.d_vocab);
        }
    }

    /// Layout of a slot that holds `tiles` tiles, each of which may be a whole one: at which place the batch's last and shorter one comes
    /// to lie, nobody knows.
    pub(crate) fn slot(&self, tiles: usize) -> SlotLayout {
        let reach: Vec<bool> = self.tile_slot.places.iter().map(|place| place.grad_at.is_some()).collect();
        place::place(&self.values, &reach, tiles * self.tile_examples, self.n_pairs())
    }

    /// Room for every want, all zero.
    pub(crate) fn empty_wants<T: Real>(&self) -> Vec<Vec<T>> {
        let len = |want: &Want| want.rows.len() * self.shape.examples * self.values[want.id].width;
        self.wants.iter().map(|want| vec![T::ZERO; len(want)]).collect()
    }

    /// Tiles of the batch.
    pub(crate) fn tiles(&self) -> usize {
        self.shape.examples.div_ceil(self.tile_examples)
    }

    /// Examples of tile `i`.
    pub(crate) fn tile(&self, i: usize) -> std::ops::Range<usize> {
        i * self.tile_examples..((i + 1) * self.tile_examples).min(self.shape.examples)
    }

    /// Floating-point operations of the matrix products of one step of one replica, after savings: two for each
    /// multiply-add, once forward and twice backward (once for inputs, once for weights).
    pub fn flops_per_step(&self) -> f64 {
        (self.steps.iter())
            .map(|step| {
                let output = step.op.outputs()[0];
                let rows = match &self.values[output].space {
                    Space::Batch(positions) => self.shape.examples * positions.len(),
                    Space::Pairs => self.pairs.len(),
                };
                let inputs = if step.site.input_grads.iter().any(Option::is_some) { 1.0 } else { 0.0 };
                let passes = if step.has_grad { 2.0 + inputs } else { 1.0 };
                2.0 * passes * (rows * step.op.macs_per_row()) as f64
            })
            .sum()
    }

    /// A number that changes with every decision that the bits of a step depend on: ops, spaces, tiles, losses, layout.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{:?} {:?} {} ", self.params, self.losses, self.tile_examples);
        for step in &self.steps {
            let outputs: Vec<_> = step.op.outputs().iter().map(|&id| &self.values[id]).collect();
            text += &format!("{:?} {outputs:?} {:?}\n", step.op, step.site);
        }
        text += &format!("{:?} {:?}", self.pairs, self.param_edits);
        format!("{:08x}-{:08x}", crc32fast::hash(text.as_bytes()), text.len())
    }
}

/// Examples a tile: the same whatever the number of threads; a multiple of eight tiles where there is work for them.
fn tile_examples(graph: &Graph, examples: usize) -> usize {
    let per_example = (graph.values.iter())
        .filter_map(|v| match &v.space {
            Space::Batch(positions) => Some(positions.len()),
            Space::Pairs => None,
        })
        .max()
        .unwrap_or(1);
    let tiles = (examples * per_example).div_ceil(AIM_TILE_ROWS);
    let tiles = if tiles > 4 { tiles.next_multiple_of(8) } else { tiles.max(1) };
    examples.div_ceil(tiles).max(1)
}

fn wanted_values(graph: &Graph, wants: &[Hook]) -> Result<Vec<(Hook, ValueId)>> {
    let wanted = |hook: &Hook| {
        // It has no value of its own yet: rows at the loss's positions are taken out of `logits` later.
        let id = if hook.name == LOSS_LOGITS { graph.logits } else { graph.find(&hook.name)? };
        if hook.gradient && graph.ops.iter().any(|op| op.outputs()[1..].contains(&id)) {
            return Err(no_gradient(hook, "its op differentiates through without it"));
        }
        if let (Space::Batch(there), Some(asked)) = (&graph.values[id].space, &hook.positions)
            && (asked.is_empty() || !asked.iter().all(|t| there.contains(t)))
        {
            return Err(Error::Value {
                what: format!("want at {}", hook.name),
                got: format!("positions {asked:?}"),
                expected: format!("one or more of {there:?}"),
            });
        }
        Ok((hook.clone(), id))
    };
    wants.iter().map(wanted).collect()
}

/// The rows of an example that a hook asks for, of those that its value has.
fn want(value: &Value, hook: Hook, id: ValueId) -> Want {
    let Space::Batch(there) = &value.space else { unreachable!("invariant: wanted values are in no table") };
    let asked = |t: &usize| hook.positions.as_ref().is_none_or(|positions| positions.contains(t));
    let rows = (0..there.len()).filter(|&i| asked(&there[i])).collect();
    Want { hook, id, rows }
}

fn no_gradient(hook: &Hook, why: &str) -> Error {
    Error::Value {
        what: format!("want at {}", hook.name),
        got: "a gradient".into(),
        expected: format!("a value: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::spec::{LossKind, ModelSpec};

    /// 401 examples of three positions: the last tile is shorter than the others.
    #[test]
    fn a_slot_has_room_for_a_whole_tile_at_each_place() {
        let task = model::TaskShape {
            numbers: None,
            d_vocab: 24,
            d_vocab_out: 23,
            n_ctx: 3,
            loss_positions: vec![2],
            varying_positions: vec![0, 1],
            varying_tokens: 23,
        };
        let shape = BatchShape { examples: 401, d_vocab: 24, possible_tokens: None, loss_positions: vec![2] };
        let loss = [LossTerm::new(LossKind::CrossEntropy, false)];
        let plan = Plan::build(model::graph(&ModelSpec::default(), &task), &shape, &loss, &[], &[]).expect("builds");
        assert!(plan.tiles() > 1 && plan.tile(plan.tiles() - 1).len() < plan.tile_examples);
        let slot = plan.slot(plan.tiles());
        for place in &slot.places {
            let rows = plan.tiles() * plan.tile_examples * place.per_example;
            assert!(place.value_at + rows * place.width <= slot.len, "{place:?}");
        }
    }
}
