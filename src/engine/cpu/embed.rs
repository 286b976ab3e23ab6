//! Embeddings: `x[row, :] = W[index(row), :]`, the index being the row's token (`W_E`) or its position (`W_pos`).
//!
//! Shapes: W `[d_vocab or n_ctx, d_model]`, x `[rows, d_model]`. Backward: `dW[i] += Σ dx[row]` over rows with index i.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, vectorized};

use super::{column_blocks, columns};

/// What picks the row of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    Token,
    Position,
}

#[derive(Debug)]
pub(crate) struct Embed {
    pub(crate) w: ParamId,
    pub(crate) output: ValueId,
    pub(crate) index: Index,
}

impl Op for Embed {
    wiring!(inputs: ; output: output);
    fn params(&self) -> Vec<ParamId> {
        vec![self.w]
    }
}

impl Embed {
    /// Calls `each` with the row's number within `tile` and the matrix row that it shows.
    #[inline(always)]
    fn rows<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile, mut each: impl FnMut(usize, usize)) {
        let pick = |token: usize, position: usize| match self.index {
            Index::Token => token,
            Index::Position => position,
        };
        if c.is_table(self.output) {
            for (i, &(token, position)) in c.plan.pairs[tile.clone()].iter().enumerate() {
                each(i, pick(token as usize, position));
            }
        } else {
            let positions = c.positions(self.output);
            for (b, example) in tile.clone().enumerate() {
                for (i, &position) in positions.iter().enumerate() {
                    let token = if self.index == Index::Token { c.batch.token(example, position) } else { 0 };
                    each(b * positions.len() + i, pick(token, position));
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Embed {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (w, d) = (c.param(self.w), c.width(self.output));
        let x = c.value_mut(self.output, &tile);
        self.rows(
            c,
            &tile,
            #[inline(always)]
            |row, index| {
                x[row * d..(row + 1) * d].copy_from_slice(&w[index * d..(index + 1) * d]);
            },
        );
    }

    fn backward(&self, _c: &Ctx<'_, T>, _tile: Tile) {}

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        column_blocks(c.width(self.output))
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let d = c.width(self.output);
        let cols = columns(owner, d);
        let dx = c.grad(self.output, &tile);
        vectorized!({
            self.rows(
                c,
                &tile,
                #[inline(always)]
                |row, index| {
                    let dw = c.param_grad(self.w, index * d + cols.start..index * d + cols.end);
                    add(dw, &dx[row * d + cols.start..row * d + cols.end]);
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
        for index in [Index::Token, Index::Position] {
            let mut check = OpCheck::new(5, 3);
            let w = check.param("W", &[4, 70]);
            let x = check.value(&[70]);
            check.assert_gradients(Embed { w, output: x, index }, x);
        }
    }
}
