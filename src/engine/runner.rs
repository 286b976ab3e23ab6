//! Runs a plan on the CPU: steps of many replicas over a few workers, with the same bits however they are shared out.
//!
//! A worker takes a whole replica while replicas are at least as many as workers: forward, loss, backward and gradient sums tile by
//! tile in its own cache, then the update. The replicas left over are taken one at a time by all workers together: tiles of
//! examples in parallel, then parts of the gradients in parallel, each part by one owner that adds the tiles in order.
//! Both ways add the same numbers in the same order.

use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::batch::{Batch, BatchView};
use super::ctx::{Ctx, Raw};
use super::edit::Change;
use super::op::Tile;
use super::params::Params;
use super::plan::{Plan, SlotLayout, Step};
use super::real::Real;
use super::simd::{dot, vectorized};
use crate::error::{Error, Result};
use crate::loss;
use crate::optim::{At, Update};
use crate::tensor::Tensor;

/// Rows of a pair table that are worked on together.
const PAIR_TILE: usize = 64;
/// Numbers that one piece of an update has at most.
const UPDATE_BLOCK: usize = 16_384;

/// What one step of one replica gave.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepOutcome {
    /// Weighted mean loss over the batch, before the update; nats for cross-entropy.
    pub loss: f64,
    /// Fraction of the (example, loss position) rows whose target has the largest logit.
    pub acc_frac: f64,
    /// Norm of the gradient; only where clipping asks for it.
    pub grad_norm: Option<f64>,
    /// Loss and gradient were finite; if not, the update was skipped.
    pub finite: bool,
}

/// Threads that work on plans.
#[derive(Debug, Clone)]
pub struct Workers {
    pool: Arc<rayon::ThreadPool>,
    threads: usize,
}

impl Workers {
    /// `threads` workers.
    ///
    /// # Errors
    /// [`Error::Value`] for none, or when the system gives no more threads.
    pub fn new(threads: usize) -> Result<Workers> {
        let fail = |cause: String| Error::Value { what: "threads".into(), got: cause, expected: "at least 1".into() };
        if threads == 0 {
            return Err(fail("0".into()));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| fail(e.to_string()))?;
        Ok(Workers { pool: Arc::new(pool), threads })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.threads
    }

    /// Runs `work` for 0 to `n`, in any order.
    pub fn each(&self, n: usize, work: impl Fn(usize) + Sync + Send) {
        if self.threads == 1 || n <= 1 {
            (0..n).for_each(work);
        } else {
            self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(work));
        }
    }
}

/// Activations of one replica at work.
struct Slot<T> {
    values: Vec<T>,
    grads: Vec<T>,
    scratch: Vec<T>,
    /// The parameters after edits; empty without any.
    edited: Vec<T>,
    row_loss: Vec<f64>,
    row_correct: Vec<u8>,
}

impl<T: Real> Slot<T> {
    fn new(plan: &Plan, layout: &SlotLayout) -> Slot<T> {
        let rows = plan.shape.examples * plan.shape.loss_positions.len();
        Slot {
            values: vec![T::ZERO; layout.len],
            grads: vec![T::ZERO; if plan.backward { layout.len } else { 0 }],
            scratch: vec![T::ZERO; plan.scratch_len],
            edited: vec![T::ZERO; if plan.param_edits.is_empty() { 0 } else { plan.params.stride }],
            row_loss: vec![0.0; rows],
            row_correct: vec![0; rows],
        }
    }
}

/// A plan with its buffers and workers.
pub struct Runner<T: Real> {
    plan: Arc<Plan>,
    workers: Workers,
    /// One a worker, each for one tile; made when first needed.
    own: Vec<Mutex<Slot<T>>>,
    /// For all workers together, for the whole batch; made when first needed.
    shared: Option<Slot<T>>,
    /// Pieces of the flat parameter array that an update works on; frozen parameters are in none.
    blocks: Vec<std::ops::Range<usize>>,
    /// Gradient sums: (step of the plan, owner), or all owners of several steps that add to the same numbers.
    sums: Vec<Vec<(usize, Option<usize>)>>,
}

/// Raw views of the replicas' arrays, to be split among workers.
#[derive(Clone, Copy)]
struct Arrays<'a, T> {
    params: Raw<'a, T>,
    grads: Raw<'a, T>,
    moments: [Option<Raw<'a, T>>; 2],
    stride: usize,
}

impl<T: Real> Runner<T> {
    /// Prepares buffers for `plan`.
    pub fn new(plan: Arc<Plan>, workers: Workers) -> Runner<T> {
        let frozen = |at: usize| plan.param_edits.iter().any(|e| e.range.start == at && e.change == Change::Freeze);
        let blocks = (plan.params.infos.iter())
            .filter(|info| !frozen(info.offset))
            .flat_map(|info| {
                let (start, end) = (info.offset, info.offset + info.len());
                (start..end).step_by(UPDATE_BLOCK).map(move |at| at..(at + UPDATE_BLOCK).min(end))
            })
            .collect();
        let mut runner = Runner { plan, workers, own: vec![], shared: None, blocks, sums: vec![] };
        runner.sums = runner.group_sums();
        runner
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// One step of every replica: loss, gradients, update. Overwrites `grads`. `batches` has one batch a replica, or one for all.
    ///
    /// A replica with a non-finite loss or gradient keeps its parameters and moments, and says so in its outcome.
    ///
    /// # Errors
    /// [`Error::Shape`] when a batch does not have the plan's shape.
    pub fn step(
        &mut self,
        state: State<'_, T>,
        batches: &[Batch],
        update: &dyn Update<T>,
        step: u64,
        outcomes: &mut [StepOutcome],
    ) -> Result<()> {
        self.check(state.params, batches)?;
        let replicas = state.params.replicas();
        self.run(arrays(state), replicas, batches, Some((update, step)), outcomes);
        Ok(())
    }

    /// Loss and gradients of every replica, without an update. Overwrites `grads`.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub fn loss_and_grads(
        &mut self,
        params: &mut Params<T>,
        grads: &mut Params<T>,
        batches: &[Batch],
        outcomes: &mut [StepOutcome],
    ) -> Result<()> {
        self.check(params, batches)?;
        let replicas = params.replicas();
        self.run(arrays(State { params, grads, moments: &mut [] }), replicas, batches, None, outcomes);
        Ok(())
    }

    /// Loss and accuracy of every replica, for a plan without gradients.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub fn evaluate(&mut self, params: &Params<T>, batches: &[Batch], outcomes: &mut [StepOutcome]) -> Result<()> {
        assert!(!self.plan.backward, "evaluation runs plans without gradients");
        self.check(params, batches)?;
        let none = Raw::new(&mut []);
        let arrays = Arrays {
            params: Raw::read_only(&params.flat),
            grads: none,
            moments: [None; 2],
            stride: params.layout.stride,
        };
        self.run(arrays, params.replicas(), batches, None, outcomes);
        Ok(())
    }

    /// The loss and accuracy of replica `r` on a batch, and what the plan's wants hold then.
    ///
    /// Wants come as tensors `[B, positions, axes…]`, in the order they were asked for. Without a loss in the plan only they are filled.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub fn observe(&mut self, params: &Params<T>, r: usize, batch: &Batch) -> Result<(StepOutcome, Vec<Tensor>)> {
        self.check(params, std::slice::from_ref(batch))?;
        let stride = params.layout.stride;
        let mut grads = vec![T::ZERO; if self.plan.backward { stride } else { 0 }];
        let params = Raw::read_only(params.replica(r));
        let arrays = Arrays { params, grads: Raw::new(&mut grads), moments: [None; 2], stride };
        self.make_shared();
        let outcome = self.replica_together(arrays, 0, &batch.view());
        Ok((outcome, self.wanted()))
    }

    fn check(&self, params: &Params<T>, batches: &[Batch]) -> Result<()> {
        let (replicas, want) = (params.replicas(), self.plan.shape.examples);
        let rows = want * self.plan.shape.loss_positions.len();
        let fits = |b: &Batch| {
            b.examples() == want
                && b.n_ctx == self.plan.n_ctx
                && (self.plan.losses.is_empty() || b.targets.rows() == rows)
                && b.weights.as_ref().is_none_or(|w| w.len() == rows)
                && (self.plan.pairs.is_empty() || b.pairs.len() == want * b.n_ctx)
        };
        if (batches.len() == 1 || batches.len() == replicas)
            && batches.iter().all(fits)
            && params.layout == self.plan.params
        {
            return Ok(());
        }
        Err(Error::Shape {
            op: "step".into(),
            expected: format!(
                "1 or {replicas} prepared batches of {want} examples with {rows} targets, and the plan's parameters"
            ),
            got: format!(
                "{} batches of {:?} examples with {:?} targets",
                batches.len(),
                batches.first().map(Batch::examples),
                batches.first().map(|b| b.targets.rows())
            ),
        })
    }

    fn run(
        &mut self,
        arrays: Arrays<'_, T>,
        replicas: usize,
        batches: &[Batch],
        update: Option<(&dyn Update<T>, u64)>,
        outcomes: &mut [StepOutcome],
    ) {
        let alone = replicas / self.workers.count() * self.workers.count();
        if alone > 0 && self.own.is_empty() {
            let slot = || Mutex::new(Slot::new(&self.plan, &self.plan.tile_slot));
            self.own = (0..self.workers.count()).map(|_| slot()).collect();
        }
        if alone < replicas {
            self.make_shared();
        }
        let batch_of = |r: usize| batches[if batches.len() == 1 { 0 } else { r }].view();
        let out = Raw::new(outcomes);
        self.workers.each(alone, |r| {
            // A single worker runs in the caller's thread, which may be one of another pool.
            let worker = rayon::current_thread_index().unwrap_or(0) % self.own.len();
            let mut slot = self.own[worker].lock().expect("invariant: a panic in a worker ends the run");
            let mut outcome = self.replica_alone(&mut slot, arrays, r, &batch_of(r));
            if let Some((update, step)) = update {
                self.update(arrays, r, (update, step), &mut outcome, false);
            }
            // SAFETY: each replica's outcome is written by its own worker.
            unsafe { out.part_mut(r, 1)[0] = outcome };
        });
        for r in alone..replicas {
            let mut outcome = self.replica_together(arrays, r, &batch_of(r));
            if let Some((update, step)) = update {
                self.update(arrays, r, (update, step), &mut outcome, true);
            }
            // SAFETY: only this thread is at work here.
            unsafe { out.part_mut(r, 1)[0] = outcome };
        }
    }

    fn make_shared(&mut self) {
        if self.shared.is_none() {
            self.shared = Some(Slot::new(&self.plan, &self.plan.whole_slot));
        }
    }
}

/// The arrays that a step changes: parameters, gradients, moments, each `[R, stride]`.
pub struct State<'a, T> {
    /// Parameters.
    pub params: &'a mut Params<T>,
    /// Gradients, overwritten.
    pub grads: &'a mut Params<T>,
    /// Moments, as many as the optimiser has.
    pub moments: &'a mut [Params<T>],
}

fn arrays<T: Real>(state: State<'_, T>) -> Arrays<'_, T> {
    let stride = state.params.layout.stride;
    let mut moments = state.moments.iter_mut().map(|m| Raw::new(&mut m.flat));
    let moments = [moments.next(), moments.next()];
    Arrays { params: Raw::new(&mut state.params.flat), grads: Raw::new(&mut state.grads.flat), moments, stride }
}

/// One replica at work in one slot.
struct Work<'a, T: Real> {
    plan: &'a Plan,
    layout: &'a SlotLayout,
    params: &'a [T],
    param_grads: Raw<'a, T>,
    values: Raw<'a, T>,
    grads: Raw<'a, T>,
    scratch: Raw<'a, T>,
    row_loss: Raw<'a, f64>,
    row_correct: Raw<'a, u8>,
    batch: &'a BatchView<'a>,
}

impl<'a, T: Real> Work<'a, T> {
    fn new(
        plan: &'a Plan,
        layout: &'a SlotLayout,
        slot: &'a mut Slot<T>,
        (params, param_grads): (&'a [T], Raw<'a, T>),
        batch: &'a BatchView<'a>,
    ) -> Work<'a, T> {
        if plan.backward {
            // SAFETY: this replica's gradients belong to this work alone.
            unsafe { param_grads.part_mut(0, plan.params.stride) }.fill(T::ZERO);
            slot.grads[..layout.tables_len].fill(T::ZERO);
        }
        let params = if plan.param_edits.is_empty() {
            params
        } else {
            slot.edited.copy_from_slice(params);
            edit_params(plan, &mut slot.edited);
            &slot.edited
        };
        slot.row_loss.fill(0.0);
        let work = Work {
            plan,
            layout,
            params,
            param_grads,
            values: Raw::new(&mut slot.values),
            grads: Raw::new(&mut slot.grads),
            scratch: Raw::new(&mut slot.scratch),
            row_loss: Raw::new(&mut slot.row_loss),
            row_correct: Raw::new(&mut slot.row_correct),
            batch,
        };
        for step in &plan.steps {
            T::kernel(step.op.as_ref()).prepare(&work.ctx(step, 0));
        }
        work
    }

    fn ctx<'b>(&'b self, step: &'b Step, origin: usize) -> Ctx<'b, T> {
        Ctx {
            plan: self.plan,
            places: &self.layout.places,
            site: &step.site,
            params: self.params,
            param_grads: self.param_grads,
            values: self.values,
            grads: self.grads,
            scratch: self.scratch,
            batch: self.batch,
            origin,
        }
    }

    fn forward(&self, on_pairs: bool, tile: &Tile, origin: usize) {
        for step in self.plan.steps.iter().filter(|step| step.on_pairs == on_pairs) {
            T::kernel(step.op.as_ref()).forward(&self.ctx(step, origin), tile.clone());
        }
    }

    fn backward(&self, on_pairs: bool, tile: &Tile, origin: usize) {
        for step in self.plan.steps.iter().rev().filter(|step| step.on_pairs == on_pairs && step.has_grad) {
            T::kernel(step.op.as_ref()).backward(&self.ctx(step, origin), tile.clone());
        }
    }

    /// Adds a tile to one part of the gradients, or to all parts of the steps of a group.
    fn reduce(&self, parts: &[(usize, Option<usize>)], tile: &Tile, origin: usize) {
        for &(step, owner) in parts {
            let step = &self.plan.steps[step];
            let (kernel, c) = (T::kernel(step.op.as_ref()), self.ctx(step, origin));
            let owners = owner.map_or(0..kernel.owners(&c), |o| o..o + 1);
            for owner in owners {
                kernel.reduce(&c, tile.clone(), owner);
            }
        }
    }

    /// Loss of a tile, and with it the gradient of its logits.
    fn loss(&self, tile: &Tile, origin: usize) {
        let (plan, id) = (self.plan, self.plan.logits);
        let place = &self.layout.places[id];
        let (at, len) = ((tile.start - origin) * place.per_example, tile.len() * place.per_example);
        let logits = self.values.part(place.value_at + at * place.width, len * place.width);
        let rows = loss::Rows { logits, width: place.width, per_example: place.per_example, tile: tile.clone() };
        for (i, term) in plan.losses.iter().enumerate() {
            let first_row = tile.start * place.per_example;
            // SAFETY: each tile writes its own rows.
            let (loss, correct, dlogits) = unsafe {
                let dlogits = place.grad_at.map(|g| self.grads.part_mut(g + at * place.width, len * place.width));
                (self.row_loss.part_mut(first_row, len), self.row_correct.part_mut(first_row, len), dlogits)
            };
            let out = loss::Results { dlogits: dlogits.map(|d| (d, i > 0)), loss, correct };
            loss::term(term, self.batch, &rows, out);
        }
    }

    fn outcome(&self) -> StepOutcome {
        let rows = self.batch.examples * self.plan.shape.loss_positions.len();
        let loss: f64 = self.row_loss.part(0, rows).iter().sum();
        let correct: usize = self.row_correct.part(0, rows).iter().map(|&c| usize::from(c)).sum();
        StepOutcome { loss, acc_frac: correct as f64 / rows as f64, grad_norm: None, finite: loss.is_finite() }
    }

    /// Gradients pass through edits of parameters.
    fn finish_grads(&self, unedited: &[T]) {
        for edit in &self.plan.param_edits {
            // SAFETY: all other work on this replica's gradients is done.
            let g = unsafe { self.param_grads.part_mut(edit.range.start, edit.range.len()) };
            for (i, (g, &w)) in g.iter_mut().zip(&unedited[edit.range.clone()]).enumerate() {
                let factor = match &edit.change {
                    Change::Mask(mask) => T::from_f64(mask[i]),
                    Change::Clamp { min, max } if (*min..=*max).contains(&w.to_f64()) => T::ONE,
                    _ => T::ZERO,
                };
                *g *= factor;
            }
        }
    }
}

fn edit_params<T: Real>(plan: &Plan, params: &mut [T]) {
    for edit in &plan.param_edits {
        for (i, w) in params[edit.range.clone()].iter_mut().enumerate() {
            *w = match &edit.change {
                Change::Ablate => T::ZERO,
                Change::Patch(with) => T::from_f64(with[i]),
                Change::Clamp { min, max } => T::from_f64(w.to_f64().clamp(*min, *max)),
                Change::Freeze => *w,
                Change::Mask(mask) => *w * T::from_f64(mask[i]),
            };
        }
    }
}

impl<T: Real> Runner<T> {
    /// Steps that add to the same parameter or table form one group, so that the order of their sums is fixed; the owners
    /// of a step alone in its group are independent.
    fn group_sums(&self) -> Vec<Vec<(usize, Option<usize>)>> {
        let plan = &self.plan;
        let targets = |step: &Step| {
            let tables = step
                .op
                .inputs()
                .into_iter()
                .filter(|&id| plan.values[id].space == super::op::Space::Pairs && !step.on_pairs);
            let mut all: Vec<(bool, usize)> = tables.map(|id| (true, id)).collect();
            all.extend(step.op.params().into_iter().map(|id| (false, id)));
            all
        };
        let mut groups: Vec<(Vec<(bool, usize)>, Vec<usize>)> = vec![];
        for (i, step) in plan.steps.iter().enumerate().rev().filter(|(_, step)| step.has_grad) {
            let mut group = (targets(step), vec![i]);
            if group.0.is_empty() {
                continue;
            }
            let same_stage = |other: &[usize]| plan.steps[other[0]].on_pairs == step.on_pairs;
            while let Some(at) =
                groups.iter().position(|(t, steps)| same_stage(steps) && t.iter().any(|t| group.0.contains(t)))
            {
                let (targets, mut steps) = groups.remove(at);
                group.0.extend(targets);
                steps.append(&mut group.1);
                group.1 = steps;
            }
            group.1.sort_unstable_by(|a, b| b.cmp(a));
            groups.push(group);
        }
        let mut sums = vec![];
        for (_, steps) in groups {
            if let [step] = steps[..] {
                let owners = self.owners(step);
                sums.extend((0..owners).map(|owner| vec![(step, Some(owner))]));
            } else {
                sums.push(steps.into_iter().map(|step| (step, None)).collect());
            }
        }
        // The batch's before the tables', as they are needed.
        sums.sort_by_key(|parts: &Vec<(usize, Option<usize>)>| plan.steps[parts[0].0].on_pairs);
        sums
    }

    /// Owners depend on the plan alone; they are asked for through an empty context.
    fn owners(&self, step: usize) -> usize {
        let step = &self.plan.steps[step];
        let batch = BatchView::empty(self.plan.n_ctx);
        let c = Ctx {
            plan: &self.plan,
            places: &self.plan.tile_slot.places,
            site: &step.site,
            params: &[],
            param_grads: Raw::new(&mut []),
            values: Raw::new(&mut []),
            grads: Raw::new(&mut []),
            scratch: Raw::new(&mut []),
            batch: &batch,
            origin: 0,
        };
        T::kernel(step.op.as_ref()).owners(&c)
    }

    fn sums_of(&self, on_pairs: bool) -> impl Iterator<Item = &Vec<(usize, Option<usize>)>> {
        self.sums.iter().filter(move |parts| self.plan.steps[parts[0].0].on_pairs == on_pairs)
    }

    /// A whole replica by one worker, tile by tile.
    fn replica_alone(&self, slot: &mut Slot<T>, a: Arrays<'_, T>, r: usize, batch: &BatchView<'_>) -> StepOutcome {
        let plan = &*self.plan;
        let (params, grads) = (a.params.part(r * a.stride, a.stride), self.grads_of(a, r));
        let work = Work::new(plan, &plan.tile_slot, slot, (params, grads), batch);
        for start in (0..plan.n_pairs()).step_by(PAIR_TILE) {
            work.forward(true, &(start..(start + PAIR_TILE).min(plan.n_pairs())), 0);
        }
        for i in 0..plan.tiles() {
            let tile = plan.tile(i);
            work.forward(false, &tile, tile.start);
            work.loss(&tile, tile.start);
            work.backward(false, &tile, tile.start);
            for parts in self.sums_of(false) {
                work.reduce(parts, &tile, tile.start);
            }
        }
        for start in (0..plan.n_pairs()).step_by(PAIR_TILE) {
            let tile = start..(start + PAIR_TILE).min(plan.n_pairs());
            work.backward(true, &tile, 0);
            for parts in self.sums_of(true) {
                work.reduce(parts, &tile, 0);
            }
        }
        work.finish_grads(params);
        work.outcome()
    }

    /// One replica by all workers.
    fn replica_together(&mut self, a: Arrays<'_, T>, r: usize, batch: &BatchView<'_>) -> StepOutcome {
        let mut slot = self.shared.take().expect("invariant: made before use");
        let plan = &*self.plan;
        let (params, grads) = (a.params.part(r * a.stride, a.stride), self.grads_of(a, r));
        let work = Work::new(plan, &plan.whole_slot, &mut slot, (params, grads), batch);
        let pair_tiles = plan.n_pairs().div_ceil(PAIR_TILE);
        let pair_tile = |i: usize| i * PAIR_TILE..((i + 1) * PAIR_TILE).min(plan.n_pairs());
        self.workers.each(pair_tiles, |i| work.forward(true, &pair_tile(i), 0));
        self.workers.each(plan.tiles(), |i| {
            let tile = plan.tile(i);
            work.forward(false, &tile, 0);
            work.loss(&tile, 0);
            work.backward(false, &tile, 0);
        });
        self.add_up(&work, false, plan.tiles(), |i| plan.tile(i));
        self.workers.each(pair_tiles, |i| work.backward(true, &pair_tile(i), 0));
        self.add_up(&work, true, pair_tiles, pair_tile);
        work.finish_grads(params);
        let outcome = work.outcome();
        drop(work);
        self.shared = Some(slot);
        outcome
    }

    /// A replica's gradients; nothing for a plan without any.
    fn grads_of<'a>(&self, a: Arrays<'a, T>, r: usize) -> Raw<'a, T> {
        if self.plan.backward { a.grads.sub(r * a.stride, a.stride) } else { a.grads }
    }

    fn add_up(&self, work: &Work<'_, T>, on_pairs: bool, tiles: usize, tile: impl Fn(usize) -> Tile + Sync) {
        let of_stage = |i: &usize| self.plan.steps[self.sums[*i][0].0].on_pairs == on_pairs;
        let first = (0..self.sums.len()).find(of_stage).unwrap_or(0);
        let count = (0..self.sums.len()).filter(of_stage).count();
        self.workers.each(count, |i| {
            for t in 0..tiles {
                work.reduce(&self.sums[first + i], &tile(t), 0);
            }
        });
    }

    /// Finiteness, norm, clipping, update.
    fn update(
        &self,
        a: Arrays<'_, T>,
        r: usize,
        (update, step): (&dyn Update<T>, u64),
        outcome: &mut StepOutcome,
        together: bool,
    ) {
        let at = r * a.stride;
        let grads = a.grads.part(at, a.stride);
        outcome.finite &= vectorized!(all_finite(grads));
        if !outcome.finite {
            return;
        }
        let mut grad_scale = 1.0;
        if let Some(limit) = update.clip_norm(r) {
            let norm = self.blocks.iter().map(|b| vectorized!(square_sum(&grads[b.clone()]))).sum::<f64>().sqrt();
            outcome.grad_norm = Some(norm);
            // As PyTorch's clip_grad_norm_.
            grad_scale = (limit / (norm + 1e-6)).min(1.0);
        }
        let block = |i: usize| {
            let range = self.blocks[i].clone();
            let place = At { replica: r, step, first: range.start, grad_scale };
            // SAFETY: blocks are disjoint, and replica `r` is this work's alone.
            unsafe {
                let (start, len) = (at + range.start, range.len());
                let moments = a.moments.map(|m| m.map_or(&mut [][..], |m| m.part_mut(start, len)));
                update.update(place, a.params.part_mut(start, len), &grads[range], moments);
            }
        };
        if together {
            self.workers.each(self.blocks.len(), block);
        } else {
            (0..self.blocks.len()).for_each(block);
        }
    }

    fn wanted(&self) -> Vec<Tensor> {
        let (plan, slot) = (&self.plan, self.shared.as_ref().expect("invariant: observed just before"));
        (plan.wants.iter())
            .map(|(hook, id)| {
                let (place, value) = (&plan.whole_slot.places[*id], &plan.values[*id]);
                let rows = place.per_example * plan.shape.examples;
                let (from, at) = match (hook.gradient, place.grad_at) {
                    (false, _) => (&slot.values, Some(place.value_at)),
                    (true, at) => (&slot.grads, at),
                };
                let numbers = match at {
                    Some(at) => from[at..at + rows * place.width].to_vec(),
                    None => vec![T::ZERO; rows * place.width],
                };
                let mut shape = vec![plan.shape.examples, place.per_example];
                shape.extend(&value.axes);
                Tensor { name: hook.name.clone(), shape, data: T::to_data(numbers) }
            })
            .collect()
    }
}

/// x · 0 is 0 for finite numbers and NaN for the others.
#[inline(always)]
fn all_finite<T: Real>(x: &[T]) -> bool {
    let mut lanes = [T::ZERO; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += x * T::ZERO;
        }
    }
    lanes.iter().chain(rest).all(|x| x.is_finite())
}

#[inline(always)]
fn square_sum<T: Real>(x: &[T]) -> f64 {
    x.chunks(512).map(|x| dot(x, x).to_f64()).sum()
}
