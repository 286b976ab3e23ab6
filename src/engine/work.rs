//! One replica at work in one slot: the stages of a step over a tile.

use super::batch::{BatchView, Targets};
use super::ctx::{Ctx, Raw};
use super::edit::Change;
use super::kept::{Failure, Kept};
use super::op::Tile;
use super::plan::{Plan, SlotLayout, Step};
use super::real::Real;
use super::runner::StepOutcome;
use super::sums::Parts;
use super::terms::{ENTRIES, EntriesTerm, LogitRows, LogitsOut, Share, Term, TermRoom, TermsAt, read_len};
use crate::loss::{self, LossTerm};

/// Activations of one replica at work.
pub(super) struct Slot<T> {
    pub(super) values: Vec<T>,
    pub(super) grads: Vec<T>,
    scratch: Vec<T>,
    /// The parameters after edits; empty without any.
    edited: Vec<T>,
    row_loss: Vec<f64>,
    row_correct: Vec<u8>,
    kept: Kept,
    room: TermRoom,
}

impl<T: Real> Slot<T> {
    pub(super) fn new(plan: &Plan, layout: &SlotLayout, terms: &[Term]) -> Slot<T> {
        let rows = plan.shape.examples * plan.shape.loss_positions.len();
        Slot {
            values: vec![T::ZERO; layout.len],
            grads: vec![T::ZERO; if plan.backward { layout.len } else { 0 }],
            scratch: vec![T::ZERO; plan.scratch_len],
            edited: vec![T::ZERO; if plan.param_edits.is_empty() { 0 } else { plan.params.stride }],
            row_loss: vec![0.0; rows],
            row_correct: vec![0; rows],
            kept: Kept::default(),
            room: TermRoom::new(terms, &plan.params, (rows, plan.values[plan.logits].width)),
        }
    }
}

/// One replica at work in one slot.
pub(super) struct Work<'a, T: Real> {
    pub(super) plan: &'a Plan,
    pub(super) layout: &'a SlotLayout,
    params: &'a [T],
    param_grads: Raw<'a, T>,
    pub(super) values: Raw<'a, T>,
    pub(super) grads: Raw<'a, T>,
    scratch: Raw<'a, T>,
    row_loss: Raw<'a, f64>,
    row_correct: Raw<'a, u8>,
    batch: &'a BatchView<'a>,
    kept: &'a Kept,
    failure: &'a Failure,
    terms: TermsAt<'a>,
    room: Room<'a>,
}

/// Views of a [`TermRoom`].
struct Room<'a> {
    logits: Raw<'a, f64>,
    dlogits: Raw<'a, f64>,
    scratch: Raw<'a, f64>,
    row_values: Raw<'a, f64>,
}

impl<'a, T: Real> Work<'a, T> {
    pub(super) fn new(
        plan: &'a Plan,
        layout: &'a SlotLayout,
        slot: &'a mut Slot<T>,
        (params, param_grads): (&'a [T], Raw<'a, T>),
        (batch, failure): (&'a BatchView<'a>, &'a Failure),
        terms: TermsAt<'a>,
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
        slot.room.dlogits.fill(0.0);
        let room = Room {
            logits: Raw::new(&mut slot.room.logits),
            dlogits: Raw::new(&mut slot.room.dlogits),
            scratch: Raw::new(&mut slot.room.scratch),
            row_values: Raw::new(&mut slot.room.row_values),
        };
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
            kept: &slot.kept,
            failure,
            terms,
            room,
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
            kept: self.kept,
            failure: self.failure,
        }
    }

    pub(super) fn forward(&self, on_pairs: bool, tile: &Tile, origin: usize) {
        for step in self.plan.steps.iter().filter(|step| step.on_pairs == on_pairs) {
            T::kernel(step.op.as_ref()).forward(&self.ctx(step, origin), tile.clone());
        }
    }

    pub(super) fn backward(&self, on_pairs: bool, tile: &Tile, origin: usize) {
        for step in self.plan.steps.iter().rev().filter(|step| step.on_pairs == on_pairs && step.has_grad) {
            T::kernel(step.op.as_ref()).backward(&self.ctx(step, origin), tile.clone());
        }
    }

    /// Adds a tile to one part of the gradients, or to all parts of the steps of a group.
    pub(super) fn reduce(&self, parts: &Parts, tile: &Tile, origin: usize) {
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
    pub(super) fn loss(&self, tile: &Tile, origin: usize) {
        let (plan, id) = (self.plan, self.plan.logits);
        let place = &self.layout.places[id];
        let (at, len) = (tile.start.wrapping_sub(origin) * place.per_example, tile.len() * place.per_example);
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
            if let Err(e) = loss::term(term, self.batch, &rows, out) {
                self.failure.note(e);
            }
        }
        if !self.terms.all.is_empty() {
            self.add_to_dlogits(&rows, at);
        }
    }

    /// Whether a term needs the logits of all rows before the first gradient.
    pub(super) fn needs_all_logits(&self) -> bool {
        self.terms.of_logits().next().is_some()
    }

    /// Keeps the logits of a tile for the terms of all of them.
    pub(super) fn keep_logits(&self, tile: &Tile, origin: usize) {
        let place = &self.layout.places[self.plan.logits];
        let unit = place.per_example * place.width;
        let logits = self.values.part(place.value_at + tile.start.wrapping_sub(origin) * unit, tile.len() * unit);
        // SAFETY: each tile writes its own rows.
        let kept = unsafe { self.room.logits.part_mut(tile.start * unit, tile.len() * unit) };
        kept.iter_mut().zip(logits).for_each(|(kept, l)| *kept = l.to_f64());
    }

    /// Values of the terms of all logits, and their gradient, ready for [`Work::loss`].
    pub(super) fn logits_terms(&self, share: Share<'_>) {
        let place = &self.layout.places[self.plan.logits];
        let len = self.plan.shape.examples * place.per_example * place.width;
        let targets: &[u32] = match self.batch.targets {
            Targets::Classes(classes) => classes,
            Targets::Reals { .. } => &[],
        };
        let rows = LogitRows { logits: self.room.logits.part(0, len), width: place.width, targets };
        for (i, factor, term) in self.terms.of_logits() {
            // SAFETY: all other work on this replica waits.
            let (dlogits, scratch) =
                unsafe { (self.room.dlogits.part_mut(0, len), self.room.scratch.part_mut(0, term.scratch_len())) };
            let out = LogitsOut { factor, dlogits, scratch, share };
            self.terms.set(i, term.add(self.terms.replica, rows, out));
        }
    }

    /// Adds the gradient of terms to that of a tile's logits, which begin `at` rows into the buffers.
    fn add_to_dlogits(&self, rows: &loss::Rows<'_, T>, at: usize) {
        let place = &self.layout.places[self.plan.logits];
        let Some(grad_at) = place.grad_at else { return };
        let (first, len) = (rows.tile.start * rows.per_example, rows.tile.len() * rows.per_example);
        // SAFETY: each tile writes its own rows.
        let dlogits = unsafe { self.grads.part_mut(grad_at + at * rows.width, len * rows.width) };
        if self.terms.of_logits().any(|(_, weight, _)| weight != 0.0) {
            let more = self.room.dlogits.part(first * rows.width, len * rows.width);
            dlogits.iter_mut().zip(more).for_each(|(d, &x)| *d += T::from_f64(x));
        }
        let weights = self.batch.weights_of(rows.tile.clone(), rows.per_example);
        let all_rows = self.plan.shape.examples * rows.per_example;
        for (i, weight, term) in self.terms.of_entries() {
            // SAFETY: each tile writes its own rows.
            let values = unsafe { self.room.row_values.part_mut(i * all_rows + first, len) };
            for (row, (d, value)) in dlogits.chunks_exact_mut(rows.width).zip(values).enumerate() {
                let share = weights.map_or(1.0, |w| w[row]) / self.batch.weight_sum;
                let logits = &rows.logits[row * rows.width..(row + 1) * rows.width];
                *value = share * self.entries(term, logits, first + row, (weight * share, d));
            }
        }
        for (i, weight, term) in self.terms.of_losses() {
            let watched = weight == 0.0;
            let term = LossTerm { weight: if watched { 1.0 } else { weight }, ..term.clone() };
            // SAFETY: each tile writes its own rows.
            let (values, correct) = unsafe {
                (self.room.row_values.part_mut(i * all_rows + first, len), self.row_correct.part_mut(first, len))
            };
            values.fill(0.0);
            let out = loss::Results { dlogits: (!watched).then_some((&mut *dlogits, true)), loss: values, correct };
            if let Err(e) = loss::term(&term, self.batch, rows, out) {
                self.failure.note(e);
            }
            values.iter_mut().for_each(|value| *value /= term.weight);
        }
    }

    /// The value of one row, and `factor` times its gradient added to `d`.
    fn entries(&self, term: &dyn EntriesTerm, logits: &[T], row: usize, (factor, d): (f64, &mut [T])) -> f64 {
        let [mut l, mut y, mut f, mut df] = [[0.0; ENTRIES]; 4];
        let mut total = 0.0;
        for (block, (logits, d)) in logits.chunks(ENTRIES).zip(d.chunks_mut(ENTRIES)).enumerate() {
            let n = logits.len();
            l.iter_mut().zip(logits).for_each(|(l, x)| *l = x.to_f64());
            match self.batch.targets {
                Targets::Classes(classes) => {
                    y.fill(0.0);
                    let class = (classes[row] as usize).wrapping_sub(block * ENTRIES);
                    y[..n].get_mut(class).into_iter().for_each(|y| *y = 1.0);
                }
                Targets::Reals { y_bln, width } => {
                    y[..n].copy_from_slice(&y_bln[row * width + block * ENTRIES..][..n]);
                }
            }
            term.eval(self.layout.places[self.plan.logits].width, &l[..n], &y[..n], &mut f[..n], &mut df[..n]);
            total += f[..n].iter().sum::<f64>();
            if factor != 0.0 {
                d.iter_mut().zip(&df).for_each(|(d, df)| *d += T::from_f64(factor * df));
            }
        }
        total
    }

    /// Adds the gradient of the terms of parameters to the gradients, which are complete but for them.
    ///
    /// These terms read parameters as they are, without edits.
    pub(super) fn params_terms(&self, params: &[T]) {
        for (i, weight, term) in self.terms.of_params() {
            let layout = &self.plan.params;
            let n = read_len(term, layout);
            // SAFETY: all other work on this replica waits.
            let room = unsafe { self.room.scratch.part_mut(0, 2 * n + term.scratch_len()) };
            let (w, rest) = room.split_at_mut(n);
            let (dw, scratch) = rest.split_at_mut(n);
            let parts = || {
                term.params().iter().scan(0, |at, &id| {
                    let (info, start) = (&layout.infos[id], *at);
                    *at += info.len();
                    Some((info.offset, start..*at))
                })
            };
            for (offset, part) in parts() {
                let own = &params[offset..offset + part.len()];
                w[part].iter_mut().zip(own).for_each(|(w, x)| *w = x.to_f64());
            }
            self.terms.set(i, term.eval(self.terms.replica, w, dw, scratch));
            if weight == 0.0 {
                continue;
            }
            for (offset, part) in parts() {
                // SAFETY: as above.
                let grads = unsafe { self.param_grads.part_mut(offset, part.len()) };
                grads.iter_mut().zip(&dw[part]).for_each(|(g, d)| *g += T::from_f64(weight * d));
            }
        }
    }

    pub(super) fn outcome(&self) -> StepOutcome {
        let mut outcome = self.plain_outcome();
        let rows = self.plan.shape.examples * self.plan.shape.loss_positions.len();
        for (i, _) in self.terms.active().filter(|(_, term)| term.by_row()) {
            self.terms.set(i, self.room.row_values.part(i * rows, rows).iter().sum());
        }
        outcome.finite &= self.terms.active().all(|(i, _)| self.terms.values.part(i, 1)[0].is_finite());
        outcome
    }

    fn plain_outcome(&self) -> StepOutcome {
        let rows = self.batch.examples * self.plan.shape.loss_positions.len();
        let loss: f64 = self.row_loss.part(0, rows).iter().sum();
        let is_classes = matches!(self.batch.targets, Targets::Classes(_));
        let correct = self.row_correct.part(0, rows).iter().map(|&correct| f64::from(correct));
        let correct: f64 = match self.batch.weights {
            Some(weights) => correct.zip(weights).map(|(correct, weight)| correct * weight).sum(),
            None => correct.sum(),
        };
        // Of real numbers none is right or wrong.
        let acc_frac = if is_classes { correct / self.batch.weight_sum } else { f64::NAN };
        StepOutcome { loss, acc_frac, grad_norm: None, finite: loss.is_finite() }
    }

    /// Gradients pass through edits of parameters.
    pub(super) fn finish_grads(&self, unedited: &[T]) {
        if !self.plan.backward {
            return;
        }
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

/// Copies the rows of `tile` of every want, from a slot that starts at the tile.
pub(super) fn copy_wants<T: Real>(
    plan: &Plan,
    layout: &SlotLayout,
    (values, grads): (&[T], &[T]),
    tile: &Tile,
    wanted: &mut [Vec<T>],
) {
    for (want, wanted) in plan.wants.iter().zip(wanted) {
        let place = &layout.places[want.id];
        let (width, kept) = (place.width, want.rows.len() * place.width);
        let gradient = || place.grad_at.map(|at| &grads[at..]);
        let from = if want.hook.gradient { gradient() } else { Some(&values[place.value_at..]) };
        // A gradient that the loss does not reach is zero.
        let Some(from) = from else { continue };
        let examples = from.chunks(place.per_example * width).take(tile.len());
        for (from, to) in examples.zip(wanted[tile.start * kept..].chunks_exact_mut(kept)) {
            for (&row, to) in want.rows.iter().zip(to.chunks_exact_mut(width)) {
                to.copy_from_slice(&from[row * width..(row + 1) * width]);
            }
        }
    }
}
