//! Joins the embeddings of several positions into one row: their sum, or one after another.
//!
//! Shapes: x `[B · positions, d]` (or a pair table), y `[B, d]` (sum) or `[B, n · d]` (concat), n the joined positions.
//! Backward: each joined row gets `dy`, or its part of it; for a table the sums cross examples and blocks of columns are owners.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, vectorized};
use crate::spec;

use super::scores::Operand;
use super::{column_blocks, columns};

#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    /// Positions joined, in order.
    pub(crate) positions: Vec<usize>,
    pub(crate) how: spec::Join,
}

impl Op for Join {
    wiring!(inputs: x; output: y);
    fn row_wise(&self) -> bool {
        false
    }
    fn reads_positions(&self, _input: usize, _out: &[usize]) -> Vec<usize> {
        self.positions.clone()
    }
}

impl Join {
    /// Start of joined position `j` in an output row.
    fn shift(&self, j: usize, d: usize) -> usize {
        if self.how == spec::Join::Sum { 0 } else { j * d }
    }

    /// Calls `each` with (output row within the tile, start within that row, row of x); all loss positions read the same.
    #[inline(always)]
    fn parts<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile, mut each: impl FnMut(usize, usize, usize)) {
        let (x, d) = (Operand::new(c, self.x, tile), c.width(self.x));
        let (held, outputs) = (c.positions(self.x), c.positions(self.y).len());
        for example in tile.clone() {
            for (j, &position) in self.positions.iter().enumerate() {
                let i = held.iter().position(|&p| p == position).unwrap_or(0);
                for output in 0..outputs {
                    let row = (example - tile.start) * outputs + output;
                    each(row, self.shift(j, d), x.row(example, i, position));
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Join {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (y, width, d) = (c.value_mut(self.y, &tile), c.width(self.y), c.width(self.x));
        let x = Operand::new(c, self.x, &tile).rows;
        y.fill(T::ZERO);
        vectorized!({
            self.parts(
                c,
                &tile,
                #[inline(always)]
                |b, start, row| {
                    let at = b * width + start;
                    add(&mut y[at..at + d], &x[row * d..(row + 1) * d]);
                },
            );
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        if c.is_table(self.x) {
            return;
        }
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        if !adding {
            dx.fill(T::ZERO);
        }
        let (dy, width, d) = (c.grad(self.y, &tile), c.width(self.y), c.width(self.x));
        vectorized!({
            self.parts(
                c,
                &tile,
                #[inline(always)]
                |b, start, row| {
                    let at = b * width + start;
                    add(&mut dx[row * d..(row + 1) * d], &dy[at..at + d]);
                },
            );
        });
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        if c.is_table(self.x) && c.wants_grad(0) { column_blocks(c.width(self.x)) } else { 0 }
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let (dy, width) = (c.grad(self.y, &tile), c.width(self.y));
        let cols = columns(owner, c.width(self.x));
        vectorized!({
            self.parts(
                c,
                &tile,
                #[inline(always)]
                |b, start, row| {
                    let at = b * width + start;
                    add(c.table_grad(self.x, row, cols.clone()), &dy[at + cols.start..at + cols.end]);
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for how in [spec::Join::Sum, spec::Join::Concat] {
            let mut check = OpCheck::new(3, 4);
            let x = check.input(&[5]);
            let width = if how == spec::Join::Sum { 5 } else { 10 };
            let y = check.value_at(&[width], vec![1, 3]);
            check.assert_gradients(Join { x, y, positions: vec![0, 2], how }, y);
        }
    }
}
