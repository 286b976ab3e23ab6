//! Runs a plan on the CPU: steps of many replicas over a few workers, with the same bits however they are shared out.
//!
//! A worker takes a whole replica while replicas are at least as many as workers: forward, loss, backward and gradient sums tile by
//! tile in its own cache, then the update. The replicas left over are taken one at a time by all workers together: a worker takes the next
//! tile, and adds it to one part of the gradients after the other, to each when the tile before has been added there.
//! Both ways add the same numbers in the same order.

use std::sync::{Arc, Mutex};

use super::batch::{Batch, BatchView};
use super::ctx::Raw;
use super::edit::Change;
use super::kept::Failure;
use super::op::Tile;
use super::params::Params;
use super::plan::{Plan, SlotLayout};
use super::real::Real;
use super::simd::{dot, vectorized};
use super::sums::{Parts, gradient_sums};
use super::terms::{Share, Term, TermsAt};
use super::turns::Turns;
use super::work::{Slot, Work, copy_wants};
use super::workers::Workers;
use crate::error::{Error, Result};
use crate::optim::{At, MAX_MOMENTS, Update};
use crate::rng::Rng;
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

impl StepOutcome {
    /// Of a replica that is passed over.
    pub const NOTHING: StepOutcome = StepOutcome { loss: f64::NAN, acc_frac: f64::NAN, grad_norm: None, finite: false };
}

/// A plan with its buffers and workers.
pub struct Runner<T: Real> {
    plan: Arc<Plan>,
    workers: Workers,
    /// One a worker, each for one tile; made when first needed.
    own: Vec<Mutex<Slot<T>>>,
    /// For all workers together, for a tile of each; made when first needed.
    shared: Option<(Slot<T>, SlotLayout)>,
    /// Replicas that steps pass over.
    skipped: Vec<bool>,
    /// `[R]` seeds of what dropout draws; empty where nothing is dropped.
    noise_seeds: Vec<u64>,
    /// 1 for numbers that train, 0 for those that stay 0; none where all train.
    masks: Option<Params<T>>,
    /// Pieces of the flat parameter array that an update works on; frozen parameters are in none.
    blocks: Vec<std::ops::Range<usize>>,
    /// The parameters as a whole, for updates that need them so.
    wholes: Vec<std::ops::Range<usize>>,
    /// Gradient sums that may be worked on at the same time, the batch's first.
    sums: Vec<Parts>,
    /// Of the workers that take tiles of one replica together, at the batch's gradient sums.
    turns: Turns,
    /// Of ops that call functions of others.
    failure: Failure,
    /// Added to the loss.
    terms: Vec<Term>,
    /// Update that terms are at.
    at_step: u64,
    /// `[R, terms]`, of the last step.
    term_values: Vec<f64>,
}

/// Raw views of the replicas' arrays, to be split among workers.
#[derive(Clone, Copy)]
struct Arrays<'a, T> {
    params: Raw<'a, T>,
    grads: Raw<'a, T>,
    moments: [Option<Raw<'a, T>>; MAX_MOMENTS],
    stride: usize,
}

impl<T: Real> Runner<T> {
    /// Prepares buffers for `plan`.
    pub fn new(plan: Arc<Plan>, workers: Workers) -> Runner<T> {
        let frozen = |at: usize| plan.param_edits.iter().any(|e| e.range.start == at && e.change == Change::Freeze);
        let wholes: Vec<std::ops::Range<usize>> = (plan.params.infos.iter())
            .filter(|info| !frozen(info.offset))
            .map(|info| info.offset..info.offset + info.len())
            .collect();
        let in_blocks = |whole: &std::ops::Range<usize>| {
            let end = whole.end;
            whole.clone().step_by(UPDATE_BLOCK).map(move |at| at..(at + UPDATE_BLOCK).min(end))
        };
        let blocks = wholes.iter().flat_map(in_blocks).collect();
        let sums = gradient_sums::<T>(&plan);
        let of_batch = sums.iter().filter(|parts| !plan.steps[parts[0].0].on_pairs).count();
        let turns = Turns::new(of_batch, workers.count());
        Runner {
            plan,
            workers,
            own: vec![],
            shared: None,
            skipped: vec![],
            noise_seeds: vec![],
            masks: None,
            blocks,
            wholes,
            sums,
            turns,
            terms: vec![],
            at_step: 0,
            term_values: vec![],
            failure: Failure::default(),
        }
    }

    /// Lets dropout draw, by the seed of each replica; without seeds nothing is dropped.
    pub fn set_noise(&mut self, seeds: &[u64]) {
        self.noise_seeds = seeds.to_vec();
    }

    /// Keeps the numbers of the parameters at 0 that are 0 in `masks`, the others being 1 there: their gradients are 0, whatever else the
    /// optimiser does.
    pub fn set_masks(&mut self, masks: Option<Params<T>>) {
        self.masks = masks;
    }

    /// The masks, where there are some.
    pub(crate) fn masks(&self) -> Option<&Params<T>> {
        self.masks.as_ref()
    }

    /// Adds `terms` to the loss that steps follow; outcomes tell the loss without them.
    ///
    /// # Errors
    /// [`Error::Value`] for a plan without gradients.
    pub fn set_terms(&mut self, terms: Vec<Term>) -> Result<()> {
        if !self.plan.backward && !terms.is_empty() {
            return Err(Error::Value {
                what: "plan".into(),
                got: "one without gradients".into(),
                expected: "one with gradients, for terms of the loss".into(),
            });
        }
        // Slots have room for the terms that there were when they were made.
        (self.own, self.shared, self.term_values) = (vec![], None, vec![]);
        self.terms = terms;
        Ok(())
    }

    /// The terms, for changing their parameters between steps.
    pub fn terms_mut(&mut self) -> &mut [Term] {
        &mut self.terms
    }

    /// `[R, terms]` values of the terms in the last step: not a number for those that took no part, and for skipped replicas.
    pub fn term_values(&self) -> &[f64] {
        &self.term_values
    }

    /// Has [`Runner::loss_and_grads`] use the terms of the update after `step` others.
    pub fn set_step(&mut self, step: u64) {
        self.at_step = step;
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Passes over a replica from now on: its outcome is NaN and not finite, its numbers stay.
    pub fn skip(&mut self, replica: usize) {
        if self.skipped.len() <= replica {
            self.skipped.resize(replica + 1, false);
        }
        self.skipped[replica] = true;
    }

    /// One step of every replica: loss, gradients, update. Overwrites `grads`. `batches` has one batch a replica, or one for all.
    ///
    /// A replica with a non-finite loss or gradient keeps its parameters and moments, and says so in its outcome.
    ///
    /// # Errors
    /// [`Error::Shape`] when a batch does not have the plan's shape; [`Error::Outside`] when a function from outside fails. Its
    /// replicas then keep their parameters and moments, and others may have been updated.
    pub fn step(
        &mut self,
        state: State<'_, T>,
        batches: &[Batch],
        update: &dyn Update<T>,
        step: u64,
        outcomes: &mut [StepOutcome],
    ) -> Result<()> {
        self.check(state.params, batches)?;
        self.check_state(&state, update.moments(), outcomes.len())?;
        let replicas = state.params.replicas();
        self.at_step = step;
        self.run(arrays(state), replicas, batches, Some((update, step)), outcomes);
        self.failure.check()
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
        self.check_state(&State { params, grads, moments: &mut [] }, 0, outcomes.len())?;
        let replicas = params.replicas();
        self.run(arrays(State { params, grads, moments: &mut [] }), replicas, batches, None, outcomes);
        self.failure.check()
    }

    /// Loss and accuracy of every replica, for a plan without gradients.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub fn evaluate(&mut self, params: &Params<T>, batches: &[Batch], outcomes: &mut [StepOutcome]) -> Result<()> {
        if self.plan.backward || outcomes.len() != params.replicas() {
            return Err(Error::Shape {
                op: "evaluate".into(),
                expected: format!("a plan without gradients and {} outcomes", params.replicas()),
                got: format!("{} outcomes", outcomes.len()),
            });
        }
        self.check(params, batches)?;
        let none = Raw::new(&mut []);
        let arrays = Arrays {
            params: Raw::read_only(&params.flat),
            grads: none,
            moments: [None; MAX_MOMENTS],
            stride: params.layout.stride,
        };
        self.run(arrays, params.replicas(), batches, None, outcomes);
        self.failure.check()
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
        let arrays = Arrays { params, grads: Raw::new(&mut grads), moments: [None; MAX_MOMENTS], stride };
        let mut wanted = self.plan.empty_wants();
        self.make_own();
        let mut slot = self.own[0].lock().expect("invariant: a panic in a worker ends the run");
        let of = (0, TermsAt::none());
        let outcome = self.replica_alone(&mut slot, arrays, of, &batch.view(), &mut |work, tile| {
            let grads = work.grads.part(0, if work.plan.backward { work.layout.len } else { 0 });
            copy_wants(work.plan, work.layout, (work.values.part(0, work.layout.len), grads), tile, &mut wanted);
        });
        drop(slot);
        self.failure.check()?;
        let tensors = (self.plan.wants.iter().zip(wanted))
            .map(|(want, numbers)| {
                let mut shape = vec![batch.examples(), want.rows.len()];
                shape.extend(&self.plan.values[want.id].axes);
                Tensor { name: want.hook.name.clone(), shape, data: T::to_data(numbers) }
            })
            .collect();
        Ok((outcome, tensors))
    }

    /// Everything that the first tile of replica `r` computes on a batch: values and their gradients, as the plan's places of one tile say.
    ///
    /// # Errors
    /// As [`Runner::step`].
    pub(crate) fn trace(&mut self, params: &Params<T>, r: usize, batch: &Batch) -> Result<[Vec<T>; 2]> {
        self.check(params, std::slice::from_ref(batch))?;
        let stride = params.layout.stride;
        let mut grads = vec![T::ZERO; stride];
        let params = Raw::read_only(params.replica(r));
        let arrays = Arrays { params, grads: Raw::new(&mut grads), moments: [None; MAX_MOMENTS], stride };
        self.make_own();
        let mut slot = self.own[0].lock().expect("invariant: a panic in a worker ends the run");
        let mut traced = [vec![], vec![]];
        let noise = self.noise_seeds.get(r).map(|&seed| Rng::stream(seed, "dropout").substream(self.at_step));
        let view = BatchView { noise, ..batch.view() };
        self.replica_alone(&mut slot, arrays, (0, TermsAt::none()), &view, &mut |work, tile| {
            if tile.start == 0 {
                traced = [work.values, work.grads].map(|part| part.part(0, work.layout.len).to_vec());
            }
        });
        drop(slot);
        self.failure.check()?;
        Ok(traced)
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

    fn check_state(&self, state: &State<'_, T>, moments: usize, outcomes: usize) -> Result<()> {
        let len = state.params.flat.len();
        let fits = |p: &Params<T>| p.flat.len() == len;
        let replicas = state.params.replicas();
        if state.moments.len() >= moments && outcomes == replicas && fits(state.grads) && state.moments.iter().all(fits)
        {
            return Ok(());
        }
        Err(Error::Shape {
            op: "step".into(),
            expected: format!("at least {moments} moments, gradients and outcomes for {replicas} replicas"),
            got: format!("{} moments, {outcomes} outcomes", state.moments.len()),
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
        if alone > 0 {
            self.make_own();
        }
        if alone < replicas {
            self.make_shared();
        }
        let (noise_seeds, step) = (std::mem::take(&mut self.noise_seeds), self.at_step);
        let noise = |r: usize| noise_seeds.get(r).map(|&seed| Rng::stream(seed, "dropout").substream(step));
        let batch_of = |r: usize| {
            let batch = &batches[if batches.len() == 1 { 0 } else { r }];
            BatchView { noise: noise(r), ..batch.view() }
        };
        let mut term_values = std::mem::take(&mut self.term_values);
        term_values.resize(replicas * self.terms.len(), f64::NAN);
        term_values.fill(f64::NAN);
        let (out, values) = (Raw::new(outcomes), Raw::new(&mut term_values));
        let skipped = |r: usize| self.skipped.get(r).copied().unwrap_or(false);
        self.workers.each(alone, |r| {
            if skipped(r) {
                // SAFETY: each replica's outcome is written by its own worker.
                unsafe { out.part_mut(r, 1)[0] = StepOutcome::NOTHING };
                return;
            }
            // A single worker runs in the caller's thread, which may be one of another pool.
            let worker = rayon::current_thread_index().unwrap_or(0) % self.own.len();
            let mut own = self.own[worker].try_lock();
            let mut spare = None;
            // A function from outside may wait for threads, and a waiting worker may be handed another replica.
            let slot = match own {
                Ok(ref mut slot) => slot,
                Err(_) => spare.insert(Slot::new(&self.plan, &self.plan.tile_slot, &self.terms)),
            };
            let of = (r, self.terms_at(r, values));
            let mut outcome = self.replica_alone(slot, arrays, of, &batch_of(r), &mut |_, _| {});
            if let Some((update, step)) = update {
                self.update(arrays, r, (update, step), &mut outcome, false);
            }
            // SAFETY: each replica's outcome is written by its own worker.
            unsafe { out.part_mut(r, 1)[0] = outcome };
        });
        for r in alone..replicas {
            if self.skipped.get(r).copied().unwrap_or(false) {
                // SAFETY: only this thread is at work here.
                unsafe { out.part_mut(r, 1)[0] = StepOutcome::NOTHING };
                continue;
            }
            let mut outcome = self.replica_together(arrays, r, &batch_of(r), values);
            if let Some((update, step)) = update {
                self.update(arrays, r, (update, step), &mut outcome, true);
            }
            // SAFETY: only this thread is at work here.
            unsafe { out.part_mut(r, 1)[0] = outcome };
        }
        self.term_values = term_values;
        self.noise_seeds = noise_seeds;
    }

    /// The terms of replica `r` in this step.
    fn terms_at<'b>(&'b self, r: usize, values: Raw<'b, f64>) -> TermsAt<'b> {
        let n = self.terms.len();
        TermsAt { all: &self.terms, step: self.at_step, replica: r, values: values.sub(r * n, n) }
    }

    fn make_own(&mut self) {
        if self.own.is_empty() {
            let slot = || Mutex::new(Slot::new(&self.plan, &self.plan.tile_slot, &self.terms));
            self.own = (0..self.workers.count()).map(|_| slot()).collect();
        }
    }

    fn make_shared(&mut self) {
        if self.shared.is_none() {
            let layout = self.plan.slot(self.at_once());
            self.shared = Some((Slot::new(&self.plan, &layout, &self.terms), layout));
        }
    }

    /// Tiles that all workers together have at a time.
    fn at_once(&self) -> usize {
        self.workers.count().min(self.plan.tiles())
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
    let moments = std::array::from_fn(|_| moments.next());
    Arrays { params: Raw::new(&mut state.params.flat), grads: Raw::new(&mut state.grads.flat), moments, stride }
}

impl<T: Real> Runner<T> {
    fn sums_of(&self, on_pairs: bool) -> impl Iterator<Item = &Parts> {
        self.sums.iter().filter(move |parts| self.plan.steps[parts[0].0].on_pairs == on_pairs)
    }

    /// A whole replica by one worker, tile by tile.
    fn replica_alone(
        &self,
        slot: &mut Slot<T>,
        a: Arrays<'_, T>,
        (r, terms): (usize, TermsAt<'_>),
        batch: &BatchView<'_>,
        after_tile: &mut dyn FnMut(&Work<'_, T>, &Tile),
    ) -> StepOutcome {
        let plan = &*self.plan;
        let (params, grads) = (a.params.part(r * a.stride, a.stride), self.grads_of(a, r));
        let work = Work::new(plan, &plan.tile_slot, slot, (params, grads), (batch, &self.failure), terms);
        for start in (0..plan.n_pairs()).step_by(PAIR_TILE) {
            work.forward(true, &(start..(start + PAIR_TILE).min(plan.n_pairs())), 0);
        }
        if work.needs_all_logits() {
            for tile in (0..plan.tiles()).map(|i| plan.tile(i)) {
                work.forward(false, &tile, tile.start);
                work.keep_logits(&tile, tile.start);
            }
            work.logits_terms(Share::ALONE);
        }
        for i in 0..plan.tiles() {
            let tile = plan.tile(i);
            work.forward(false, &tile, tile.start);
            work.loss(&tile, tile.start);
            work.backward(false, &tile, tile.start);
            for parts in self.sums_of(false) {
                work.reduce(parts, &tile, tile.start);
            }
            after_tile(&work, &tile);
        }
        for start in (0..plan.n_pairs()).step_by(PAIR_TILE) {
            let tile = start..(start + PAIR_TILE).min(plan.n_pairs());
            work.backward(true, &tile, 0);
            for parts in self.sums_of(true) {
                work.reduce(parts, &tile, 0);
            }
        }
        work.finish_grads(params);
        work.params_terms(params);
        work.outcome()
    }

    /// One replica by all workers.
    fn replica_together(
        &mut self,
        a: Arrays<'_, T>,
        r: usize,
        batch: &BatchView<'_>,
        values: Raw<'_, f64>,
    ) -> StepOutcome {
        let (mut slot, layout) = self.shared.take().expect("invariant: made before use");
        let plan = &*self.plan;
        let (params, grads) = (a.params.part(r * a.stride, a.stride), self.grads_of(a, r));
        let outcome = {
            let inputs = (batch, &self.failure);
            let work = Work::new(plan, &layout, &mut slot, (params, grads), inputs, self.terms_at(r, values));
            let pair_tiles = plan.n_pairs().div_ceil(PAIR_TILE);
            let pair_tile = |i: usize| i * PAIR_TILE..((i + 1) * PAIR_TILE).min(plan.n_pairs());
            self.workers.each(pair_tiles, |i| work.forward(true, &pair_tile(i), 0));
            if work.needs_all_logits() {
                self.each_tile(|_, tile, origin| {
                    work.forward(false, tile, origin);
                    work.keep_logits(tile, origin);
                });
                work.logits_terms(Share::all(&self.workers));
            }
            self.each_tile(|i, tile, origin| {
                work.forward(false, tile, origin);
                work.loss(tile, origin);
                work.backward(false, tile, origin);
                for (sum, parts) in self.sums_of(false).enumerate() {
                    self.turns.take(sum, i, || work.reduce(parts, tile, origin));
                }
            });
            self.workers.each(pair_tiles, |i| work.backward(true, &pair_tile(i), 0));
            let first = self.turns.sums();
            self.workers.each(self.sums.len() - first, |i| {
                (0..pair_tiles).for_each(|t| work.reduce(&self.sums[first + i], &pair_tile(t), 0));
            });
            work.finish_grads(params);
            work.params_terms(params);
            work.outcome()
        };
        self.shared = Some((slot, layout));
        outcome
    }

    /// A replica's gradients; nothing for a plan without any.
    fn grads_of<'a>(&self, a: Arrays<'a, T>, r: usize) -> Raw<'a, T> {
        if self.plan.backward { a.grads.sub(r * a.stride, a.stride) } else { a.grads }
    }

    /// Calls `each` with every tile, its number and the origin of its place in the shared slot, tiles beginning in their order.
    fn each_tile(&self, each: impl Fn(usize, &Tile, usize) + Sync) {
        let plan = &*self.plan;
        self.turns.begin();
        self.workers.each(self.at_once(), |place| {
            self.turns.share(plan.tiles(), |i| {
                let tile = plan.tile(i);
                each(i, &tile, tile.start.wrapping_sub(place * plan.tile_examples));
            });
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
        let mask = self.masks.as_ref().map(|masks| &masks.flat[at..at + a.stride]);
        if let Some(mask) = mask {
            // SAFETY: replica `r` is this work's alone, and nothing else reads or writes its gradients now.
            keep(mask, unsafe { a.grads.part_mut(at, a.stride) });
        }
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
        let blocks = if update.whole() { &self.wholes } else { &self.blocks };
        let block = |i: usize| {
            let range = blocks[i].clone();
            let place = At { replica: r, step, first: range.start, grad_scale };
            // SAFETY: blocks are disjoint, and replica `r` is this work's alone.
            unsafe {
                let (start, len) = (at + range.start, range.len());
                let moments = a.moments.map(|m| m.map_or(&mut [][..], |m| m.part_mut(start, len)));
                let params = a.params.part_mut(start, len);
                update.update(place, params, &grads[range.clone()], moments);
                // Updates that mix the numbers of a matrix change those without a gradient too.
                if let Some(mask) = mask {
                    keep(&mask[range], params);
                }
            }
        };
        if together {
            self.workers.each(blocks.len(), block);
        } else {
            (0..blocks.len()).for_each(block);
        }
    }
}

/// Leaves what is 1 in the mask, and sets to 0 what is 0 there and finite.
fn keep<T: Real>(mask: &[T], x: &mut [T]) {
    for (x, &mask) in x.iter_mut().zip(mask) {
        *x *= mask;
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
