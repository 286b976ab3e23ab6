//! What a kernel sees of one replica's step: values, gradients, parameters, scratch, batch.
//!
//! Buffers are reached through raw pointers, since workers write disjoint rows of one buffer at once. The rules that make this
//! sound are few: a kernel writes only the rows of its tile, or the part of a crossing gradient that it owns, and never
//! borrows a buffer for writing while it holds it for reading.

use std::marker::PhantomData;

use super::batch::BatchView;
use super::kept::{Failure, Kept};
use super::op::{ParamId, Space, Tile, ValueId};
use super::plan::{Place, Plan, Site};
use super::real::Real;

/// A buffer shared among workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Raw` is a borrowed slice; who may write which part of it at a time is the rule at the head of this file.
unsafe impl<T: Send> Send for Raw<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Raw<'_, T> {}

impl<'a, T> Raw<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Raw<'a, T> {
        Raw { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// A buffer that is only ever read.
    pub(crate) fn read_only(slice: &'a [T]) -> Raw<'a, T> {
        Raw { start: slice.as_ptr().cast_mut(), len: slice.len(), owner: PhantomData }
    }

    /// A part for reading.
    #[inline(always)]
    pub(crate) fn part(&self, start: usize, len: usize) -> &'a [T] {
        assert!(start + len <= self.len, "invariant: a part lies inside its buffer");
        // SAFETY: in bounds by the assertion; nobody writes it meanwhile by the rule at the head of this file.
        unsafe { std::slice::from_raw_parts(self.start.add(start), len) }
    }

    /// A part as a buffer of its own.
    pub(crate) fn sub(&self, start: usize, len: usize) -> Raw<'a, T> {
        Raw { start: self.pointer(start, len), len, owner: PhantomData }
    }

    /// Where a part begins.
    #[inline(always)]
    pub(crate) fn pointer(&self, start: usize, len: usize) -> *mut T {
        assert!(start + len <= self.len, "invariant: a part lies inside its buffer");
        self.start.wrapping_add(start)
    }

    /// A part for writing.
    ///
    /// # Safety
    /// Nobody else reads or writes these elements while the slice lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part_mut(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start + len <= self.len, "invariant: a part lies inside its buffer");
        // SAFETY: in bounds by the assertion; exclusive by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// One replica's step, for one op.
pub struct Ctx<'a, T: Real> {
    pub(crate) plan: &'a Plan,
    pub(crate) places: &'a [Place],
    pub(crate) site: &'a Site,
    pub(crate) params: &'a [T],
    pub(crate) param_grads: Raw<'a, T>,
    pub(crate) values: Raw<'a, T>,
    pub(crate) grads: Raw<'a, T>,
    pub(crate) scratch: Raw<'a, T>,
    /// Tokens, targets, weights.
    pub batch: &'a BatchView<'a>,
    /// First example that the batch-space buffers hold; where a tile lies further back than it would from the first one on, it wraps.
    pub(crate) origin: usize,
    /// What ops keep from one stage to the next.
    #[cfg_attr(not(feature = "candle"), allow(dead_code))]
    pub(crate) kept: &'a Kept,
    /// Where an op says that it failed; the step then ends with that error.
    #[cfg_attr(not(feature = "candle"), allow(dead_code))]
    pub(crate) failure: &'a Failure,
}

impl<'a, T: Real> Ctx<'a, T> {
    /// Offset and length of the rows of `tile` in the buffer of `id`.
    #[inline(always)]
    fn rows(&self, id: ValueId, tile: &Tile) -> (usize, usize) {
        let place = &self.places[id];
        let origin = if place.per_example > 0 { self.origin } else { 0 };
        let unit = place.per_example.max(1) * place.width;
        (tile.start.wrapping_sub(origin) * unit, tile.len() * unit)
    }

    #[inline(always)]
    fn grad_at(&self, id: ValueId) -> usize {
        self.places[id].grad_at.expect("invariant: only gradients that reach the loss are asked for")
    }

    /// The rows of `tile` of a value in the tile's own space.
    #[inline(always)]
    pub fn value(&self, id: ValueId, tile: &Tile) -> &'a [T] {
        let (start, len) = self.rows(id, tile);
        self.values.part(self.places[id].value_at + start, len)
    }

    /// The same, for writing.
    #[inline(always)]
    pub fn value_mut(&self, id: ValueId, tile: &Tile) -> &'a mut [T] {
        let (start, len) = self.rows(id, tile);
        // SAFETY: a kernel writes only its own outputs and only the rows of its tile.
        unsafe { self.values.part_mut(self.places[id].value_at + start, len) }
    }

    /// Gradient rows of `tile`.
    #[inline(always)]
    pub fn grad(&self, id: ValueId, tile: &Tile) -> &'a [T] {
        let (start, len) = self.rows(id, tile);
        self.grads.part(self.grad_at(id) + start, len)
    }

    /// Gradient rows of `tile` for writing; `None` when nobody needs that gradient. The flag says whether to add to what
    /// is there (true) or to overwrite it (false).
    #[inline(always)]
    pub fn input_grad(&self, input: usize, tile: &Tile) -> Option<(&'a mut [T], bool)> {
        let add = self.site.input_grads[input]?;
        let id = self.site.inputs[input];
        let (start, len) = self.rows(id, tile);
        // SAFETY: a kernel writes only the gradients of its inputs and only the rows of its tile.
        Some((unsafe { self.grads.part_mut(self.grad_at(id) + start, len) }, add))
    }

    /// A whole pair table.
    #[inline(always)]
    pub fn table(&self, id: ValueId) -> &'a [T] {
        let place = &self.places[id];
        self.values.part(place.value_at, self.plan.n_pairs() * place.width)
    }

    /// Row `row`, columns `cols` of the gradient of a pair table, for adding to.
    #[inline(always)]
    pub fn table_grad(&self, id: ValueId, row: usize, cols: std::ops::Range<usize>) -> &'a mut [T] {
        let at = self.grad_at(id) + row * self.places[id].width + cols.start;
        // SAFETY: an owner touches only its columns.
        unsafe { self.grads.part_mut(at, cols.len()) }
    }

    /// Whether a value is a pair table.
    #[inline(always)]
    pub fn is_table(&self, id: ValueId) -> bool {
        self.plan.values[id].space == Space::Pairs
    }

    /// Whether anybody needs the gradient of input number `input`.
    #[inline(always)]
    pub fn wants_grad(&self, input: usize) -> bool {
        self.site.input_grads[input].is_some()
    }

    /// Row of the pair table that `example` shows at `position`.
    #[inline(always)]
    pub fn pair(&self, example: usize, position: usize) -> usize {
        self.batch.pairs[example * self.batch.n_ctx + position] as usize
    }

    /// A parameter, in the engine's layout.
    #[inline(always)]
    pub fn param(&self, id: ParamId) -> &'a [T] {
        let info = &self.plan.params.infos[id];
        &self.params[info.offset..info.offset + info.len()]
    }

    /// A part of a parameter's gradient, for adding to.
    #[inline(always)]
    pub fn param_grad(&self, id: ParamId, part: std::ops::Range<usize>) -> &'a mut [T] {
        let info = &self.plan.params.infos[id];
        debug_assert!(part.end <= info.len());
        // SAFETY: an owner touches only its part.
        unsafe { self.param_grads.part_mut(info.offset + part.start, part.len()) }
    }

    /// Pointer to a parameter's gradient, for strided matrix products over an owner's block.
    #[inline(always)]
    pub(crate) fn param_grad_ptr(&self, id: ParamId) -> *mut T {
        let info = &self.plan.params.infos[id];
        self.param_grads.pointer(info.offset, info.len())
    }

    /// Scratch of this op.
    #[inline(always)]
    pub fn scratch(&self) -> &'a [T] {
        self.scratch.part(self.site.scratch_at, self.site.scratch_len)
    }

    /// Scratch of this op, for [`prepare`](super::op::Kernel::prepare).
    #[inline(always)]
    pub fn scratch_mut(&self) -> &'a mut [T] {
        // SAFETY: only this op's `prepare` writes its scratch, once, before all tiles.
        unsafe { self.scratch.part_mut(self.site.scratch_at, self.site.scratch_len) }
    }

    /// Positions of a batch-space value.
    #[inline(always)]
    pub fn positions(&self, id: ValueId) -> &'a [usize] {
        match &self.plan.values[id].space {
            Space::Batch(positions) => positions,
            Space::Pairs => &[],
        }
    }

    /// Calls `each` with (row within `tile`, position) for the rows of a value.
    #[inline(always)]
    pub(crate) fn each_position(&self, id: ValueId, tile: &Tile, mut each: impl FnMut(usize, usize)) {
        match &self.plan.values[id].space {
            Space::Pairs => {
                for (row, &(_, position)) in self.plan.pairs[tile.clone()].iter().enumerate() {
                    each(row, position);
                }
            }
            Space::Batch(positions) => {
                for b in 0..tile.len() {
                    for (i, &position) in positions.iter().enumerate() {
                        each(b * positions.len() + i, position);
                    }
                }
            }
        }
    }

    /// Width of a value.
    #[inline(always)]
    pub fn width(&self, id: ValueId) -> usize {
        self.places[id].width
    }
}
