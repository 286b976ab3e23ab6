//! An edit of an activation: `y = change(x)` at some positions and columns, `y = x` elsewhere.
//!
//! Shapes: x, y `[B · positions, width]`. Backward: `dx = dy` where x passes, `dy · mask` under a mask, `dy` inside the bounds of a
//! clamp, 0 where x is ablated, patched or frozen.

use std::ops::Range;

use crate::engine::ctx::Ctx;
use crate::engine::edit::Change;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;

#[derive(Debug)]
pub(crate) struct ChangeOp {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) change: Change,
    pub(crate) cols: Range<usize>,
    pub(crate) positions: Option<Vec<usize>>,
}

impl ChangeOp {
    pub(crate) fn new(
        x: ValueId,
        y: ValueId,
        change: Change,
        cols: Range<usize>,
        positions: Option<Vec<usize>>,
    ) -> ChangeOp {
        ChangeOp { x, y, change, cols, positions }
    }

    /// Calls `each` with (first number within the tile's rows, row within the whole batch) of every row that changes.
    fn rows<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile, mut each: impl FnMut(usize, usize)) {
        let (held, width) = (c.positions(self.y), c.width(self.y));
        for example in tile.clone() {
            for (i, position) in held.iter().enumerate() {
                if self.positions.as_ref().is_none_or(|p| p.contains(position)) {
                    each(((example - tile.start) * held.len() + i) * width, example * held.len() + i);
                }
            }
        }
    }
}

impl Op for ChangeOp {
    wiring!(inputs: x; output: y);
    fn keeps_pairs(&self) -> bool {
        false
    }
    fn is_edit(&self) -> bool {
        true
    }
}

/// (y, dy/dx) of column `col` in batch row `row`.
fn apply<T: Real>(change: &Change, x: T, (row, col, width): (usize, usize, usize)) -> (T, T) {
    match change {
        Change::Ablate => (T::ZERO, T::ZERO),
        Change::Patch(with) => {
            let at = if with.len() == width { col } else { row * width + col };
            (T::from_f64(with[at]), T::ZERO)
        }
        Change::Clamp { min, max } => {
            let (min, max) = (T::from_f64(*min), T::from_f64(*max));
            if x < min {
                (min, T::ZERO)
            } else if x > max {
                (max, T::ZERO)
            } else {
                (x, T::ONE)
            }
        }
        Change::Freeze => (x, T::ZERO),
        Change::Mask(factors) => {
            let factor = T::from_f64(factors[col]);
            (x * factor, factor)
        }
    }
}

impl<T: Real> Kernel<T> for ChangeOp {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y, width) = (c.value(self.x, &tile), c.value_mut(self.y, &tile), c.width(self.y));
        y.copy_from_slice(x);
        self.rows(
            c,
            &tile,
            #[inline(always)]
            |at, row| {
                for col in self.cols.clone() {
                    y[at + col] = apply(&self.change, x[at + col], (row, col, width)).0;
                }
            },
        );
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, dy, width) = (c.value(self.x, &tile), c.grad(self.y, &tile), c.width(self.y));
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        if !adding {
            dx.fill(T::ZERO);
        }
        crate::engine::simd::add(dx, dy);
        self.rows(
            c,
            &tile,
            #[inline(always)]
            |at, row| {
                for i in self.cols.clone() {
                    let factor = apply(&self.change, x[at + i], (row, i, width)).1;
                    dx[at + i] += dy[at + i] * (factor - T::ONE);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let changes = [
            Change::Ablate,
            Change::Patch(vec![0.5; 6]),
            Change::Clamp { min: -0.4, max: 0.3 },
            Change::Mask(vec![0.0, 1.0, 2.0, 0.5, -1.0, 1.0]),
        ];
        for change in changes {
            let mut check = OpCheck::new(3, 3);
            let x = check.input(&[6]);
            let y = check.value(&[6]);
            check.assert_gradients(ChangeOp::new(x, y, change, 1..5, Some(vec![0, 2])), y);
        }
    }
}
