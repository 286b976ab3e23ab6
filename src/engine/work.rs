//! One replica at work in one slot: the stages of a step over a tile.

use super::batch::BatchView;
use super::ctx::{Ctx, Raw};
use super::edit::Change;
use super::op::Tile;
use super::plan::{Plan, SlotLayout, Step};
use super::real::Real;
use super::runner::StepOutcome;
use super::sums::Parts;
use crate::loss;

/// Activations of one replica at work.
pub(super) struct Slot<T> {
    pub(super) values: Vec<T>,
    pub(super) grads: Vec<T>,
    scratch: Vec<T>,
    /// The parameters after edits; empty without any.
    edited: Vec<T>,
    row_loss: Vec<f64>,
    row_correct: Vec<u8>,
}

impl<T: Real> Slot<T> {
    pub(super) fn new(plan: &Plan, layout: &SlotLayout) -> Slot<T> {
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
}

impl<'a, T: Real> Work<'a, T> {
    pub(super) fn new(
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

    pub(super) fn outcome(&self) -> StepOutcome {
        let rows = self.batch.examples * self.plan.shape.loss_positions.len();
        let loss: f64 = self.row_loss.part(0, rows).iter().sum();
        let correct: usize = self.row_correct.part(0, rows).iter().map(|&c| usize::from(c)).sum();
        StepOutcome { loss, acc_frac: correct as f64 / rows as f64, grad_norm: None, finite: loss.is_finite() }
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
